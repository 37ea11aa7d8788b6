//! Produce, Fetch, ListOffsets, DeleteRecords, OffsetForLeaderEpoch and DescribeProducers.

use bytes::Bytes;
use ottla_protocol::batch::crc32c;
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::super::fetch::fetch_request;
use super::super::producers::{numbered_batch, transactional_batch};
use super::super::records::produce_request;
use super::super::{NOW, TIMEOUT_MS, plain_batch};
use super::{
    ENORMOUS_LIST, GROWN, NO_TOPIC, NOBODY, Story, Swept, TOO_LONG_FOR_A_TOPIC, long, many, text,
    twice, versions,
};

/// Where the fields of a batch stand.
const LENGTH_AT: usize = 8;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const LAST_DELTA_AT: usize = 23;
const COUNT_AT: usize = 57;
const RECORDS_AT: usize = 61;
/// More than `max.message.bytes` allows.
const TOO_MANY_BYTES: usize = 1_100_000;
/// No producer has been given this id.
const NO_PRODUCER: i64 = 1 << 40;
/// Ahead of the clock by more than an hour, which a record may be.
const A_DAY_MS: i64 = 86_400_000;

impl Story<'_> {
    pub(super) fn sweep_records(&mut self, swept: &Swept) {
        self.sweep_produce();
        self.produce_twice();
        self.sweep_fetch(swept);
        self.sweep_list_offsets(swept);
        self.sweep_epochs(swept);
        self.sweep_describe_producers(swept);
        self.sweep_delete_records();
    }

    /// Into topics of their own, so that the others stay as they are, and what one version left behind
    /// does not move the offsets of the next.
    fn sweep_produce(&mut self) {
        let absent = self.name("absent");
        for version in versions::<ProduceRequest>() {
            let topic = self.name(&format!("sweep-produced-{version}"));
            let id = self.make_topic(&topic, 2);
            self.write(&topic, 1);
            let good = produce_request(version, &topic, id, 0, plain_batch(2));
            let records = |records: Bytes| {
                move |it: &mut ProduceRequest| {
                    it.topic_data[0].partition_data[0].records = Some(records.clone());
                }
            };
            let partition = |index| {
                move |it: &mut ProduceRequest| it.topic_data[0].partition_data[0].index = index
            };
            // Up to v12 by name, then by id.
            let to = |name: &Text, id: Uuid| {
                let topic = produce_request(version, name, id, 0, plain_batch(1)).topic_data;
                move |it: &mut ProduceRequest| it.topic_data = topic.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topic_data)),
                    (GROWN, &|it| twice(&mut it.topic_data[0].partition_data)),
                    ("acks 2", &|it| it.acks = 2),
                    ("acks -2", &|it| it.acks = -2),
                    ("least acks", &|it| it.acks = i16::MIN),
                    ("absent partition", &partition(44)),
                    ("negative partition", &partition(-1)),
                    ("least partition", &partition(i32::MIN)),
                    ("absent topic", &to(&absent, NO_TOPIC)),
                    ("bad name", &to(&text("no/name"), NO_TOPIC)),
                    ("empty name", &to(&Text::new(), Uuid::ZERO)),
                    ("too long", &to(&long(TOO_LONG_FOR_A_TOPIC), NO_TOPIC)),
                    ("nothing", &|it| it.topic_data.clear()),
                    ("no partitions", &|it| {
                        it.topic_data[0].partition_data.clear()
                    }),
                    // Apache never answers: once is enough.
                    ("null records", &|it| {
                        if version == *versions::<ProduceRequest>().end() {
                            it.topic_data[0].partition_data[0].records = None;
                        }
                    }),
                    ("no records", &records(Bytes::new())),
                    ("a byte of records", &records(Bytes::from_static(&[0]))),
                    ("half a batch", &records(half(&plain_batch(2)))),
                    (
                        "a wrong checksum",
                        &records(with(plain_batch(1), CRC_AT, &[1, 2, 3, 4])),
                    ),
                    ("magic 1", &records(with(plain_batch(1), MAGIC_AT, &[1]))),
                    ("magic 3", &records(with(plain_batch(1), MAGIC_AT, &[3]))),
                    (
                        "magic -1",
                        &records(with(plain_batch(1), MAGIC_AT, &[0xff])),
                    ),
                    (
                        "an enormous length",
                        &records(with(plain_batch(1), LENGTH_AT, &[0x7f])),
                    ),
                    (
                        "a negative length",
                        &records(with(plain_batch(1), LENGTH_AT, &[0xff])),
                    ),
                    (
                        "too short a length",
                        &records(with(plain_batch(1), LENGTH_AT + 3, &[9])),
                    ),
                    (
                        "a leader epoch",
                        &records(with(plain_batch(1), LEADER_EPOCH_AT, &[7])),
                    ),
                    (
                        "a codec that is none",
                        &records(signed(plain_batch(1), ATTRIBUTES_AT + 1, &[7])),
                    ),
                    (
                        "gzip that is none",
                        &records(signed(plain_batch(1), ATTRIBUTES_AT + 1, &[1])),
                    ),
                    (
                        "zstd that is none",
                        &records(signed(plain_batch(1), ATTRIBUTES_AT + 1, &[4])),
                    ),
                    (
                        "more records than there are",
                        &records(signed(plain_batch(1), COUNT_AT + 3, &[2])),
                    ),
                    (
                        "fewer records than there are",
                        &records(signed(plain_batch(2), COUNT_AT + 3, &[1])),
                    ),
                    (
                        "-1 records",
                        &records(signed(plain_batch(1), COUNT_AT, &[0xff; 4])),
                    ),
                    (
                        "0 records",
                        &records(signed(plain_batch(1), COUNT_AT + 3, &[0])),
                    ),
                    (
                        "a wrong last offset",
                        &records(signed(plain_batch(2), LAST_DELTA_AT + 3, &[5])),
                    ),
                    (
                        "a record without end",
                        &records(signed(plain_batch(1), RECORDS_AT, &[0xfe])),
                    ),
                    (
                        "a record of length 0",
                        &records(signed(plain_batch(1), RECORDS_AT, &[0])),
                    ),
                    (
                        "two batches",
                        &records([plain_batch(1), plain_batch(1)].concat().into()),
                    ),
                    (
                        "a batch and a half",
                        &records([plain_batch(1), half(&plain_batch(1))].concat().into()),
                    ),
                    ("too large", &records(large())),
                    ("of tomorrow", &records(stamped(*NOW + A_DAY_MS))),
                    ("before time began", &records(stamped(-5))),
                    ("a control batch", &records(marker())),
                    (
                        "of an unknown producer",
                        &records(numbered_batch(NO_PRODUCER, 0, 5, 1)),
                    ),
                    (
                        "of a producer's negative epoch",
                        &records(numbered_batch(NO_PRODUCER, -2, 0, 1)),
                    ),
                    (
                        "of a negative sequence",
                        &records(numbered_batch(NO_PRODUCER + 1, 0, -2, 1)),
                    ),
                    (
                        "of a transaction without a name",
                        &records(transactional_batch(NO_PRODUCER, 0, 0, 1)),
                    ),
                    ("plain, with the name of a transaction", &|it| {
                        it.transactional_id = Some(text("nobodys"));
                    }),
                    ("of a transaction that is not open", &|it| {
                        it.transactional_id = Some(text("nobodys"));
                        records(transactional_batch(NO_PRODUCER, 0, 0, 1))(it);
                    }),
                    ("an empty name of a transaction", &|it| {
                        it.transactional_id = Some(Text::new());
                    }),
                    ("good and bad", &|it| {
                        let mut other = it.topic_data[0].partition_data[0].clone();
                        other.index = 44;
                        it.topic_data[0].partition_data.push(other);
                    }),
                ],
            );
        }
    }

    /// A batch that is named twice is written once, so nothing else is asked of these topics.
    fn produce_twice(&mut self) {
        for version in versions::<ProduceRequest>() {
            for label in ["topic twice", "partition twice"] {
                let topic = self.name(&format!("sweep-{}-{version}", label.replace(' ', "-")));
                let id = self.make_topic(&topic, 1);
                self.write(&topic, 1);
                let mut request = produce_request(version, &topic, id, 0, plain_batch(2));
                match label {
                    "topic twice" => twice(&mut request.topic_data),
                    _ => twice(&mut request.topic_data[0].partition_data),
                }
                self.bad(label, version, &request);
                self.bad(&format!("{label}, and then once"), version, &{
                    produce_request(version, &topic, id, 0, plain_batch(1))
                });
            }
        }
    }

    fn sweep_fetch(&mut self, swept: &Swept) {
        let absent = self.name("absent");
        for version in versions::<FetchRequest>() {
            let mut good = fetch_request(version, &swept.topic, swept.id, 0, 0);
            // The session that a full fetch opens has a number of the broker's own.
            good.rack_id = Text::new();
            let part = |spoil: fn(&mut FetchPartition)| {
                move |it: &mut FetchRequest| spoil(&mut it.topics[0].partitions[0])
            };
            let from = |name: &Text, id: Uuid| {
                let topics = fetch_request(version, name, id, 0, 0).topics;
                move |it: &mut FetchRequest| it.topics = topics.clone()
            };
            let forgotten = |name: &Text, topic_id| FetchForgottenTopic {
                topic: name.clone(),
                topic_id,
                partitions: vec![0],
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    (GROWN, &|it| twice(&mut it.topics[0].partitions)),
                    ("absent partition", &part(|it| it.partition = 44)),
                    ("negative partition", &part(|it| it.partition = -1)),
                    ("negative offset", &part(|it| it.fetch_offset = -1)),
                    ("least offset", &part(|it| it.fetch_offset = i64::MIN)),
                    ("greatest offset", &part(|it| it.fetch_offset = i64::MAX)),
                    ("one above the end", &part(|it| it.fetch_offset = 21)),
                    (
                        "epoch from the future",
                        &part(|it| it.current_leader_epoch = 99),
                    ),
                    ("epoch -5", &part(|it| it.current_leader_epoch = -5)),
                    (
                        "last epoch from the future",
                        &part(|it| it.last_fetched_epoch = 99),
                    ),
                    ("last epoch -5", &part(|it| it.last_fetched_epoch = -5)),
                    (
                        "0 bytes of a partition",
                        &part(|it| it.partition_max_bytes = 0),
                    ),
                    (
                        "-1 bytes of a partition",
                        &part(|it| it.partition_max_bytes = -1),
                    ),
                    ("start of a log", &part(|it| it.log_start_offset = 5)),
                    ("absent topic", &from(&absent, NO_TOPIC)),
                    ("bad name", &from(&text("no/name"), NO_TOPIC)),
                    ("empty name", &from(&Text::new(), Uuid::ZERO)),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("partition twice", &|it| twice(&mut it.topics[0].partitions)),
                    ("good and bad", &|it| {
                        let mut other = it.topics[0].partitions[0].clone();
                        other.partition = 44;
                        it.topics[0].partitions.push(other);
                    }),
                    ("many partitions", &|it| {
                        let one = it.topics[0].partitions[0].clone();
                        let other = |partition| FetchPartition {
                            partition,
                            ..one.clone()
                        };
                        it.topics[0].partitions =
                            (100..100 + ENORMOUS_LIST as i32).map(other).collect();
                    }),
                    ("nothing", &|it| it.topics.clear()),
                    ("no partitions", &|it| it.topics[0].partitions.clear()),
                    ("0 bytes", &|it| it.max_bytes = 0),
                    ("-1 bytes", &|it| it.max_bytes = -1),
                    ("at least -1 bytes", &|it| it.min_bytes = -1),
                    ("waits -1", &|it| it.max_wait_ms = -1),
                    ("isolation 2", &|it| it.isolation_level = 2),
                    ("isolation -1", &|it| it.isolation_level = -1),
                    ("unknown session", &|it| {
                        it.session_id = 77;
                        it.session_epoch = 1;
                    }),
                    ("session without a number", &|it| it.session_epoch = 1),
                    ("session epoch -2", &|it| it.session_epoch = -2),
                    ("ends an unknown session", &|it| it.session_id = 77),
                    ("forgets what is not in it", &|it| {
                        it.forgotten_topics_data = vec![forgotten(&absent, NO_TOPIC)];
                    }),
                    ("an unknown follower", &|it| match version {
                        15.. => it.replica_state.replica_id = NOBODY,
                        _ => it.replica_id = NOBODY,
                    }),
                    ("replica -3", &|it| match version {
                        15.. => it.replica_state.replica_id = -3,
                        _ => it.replica_id = -3,
                    }),
                    ("an epoch of no replica", &|it| {
                        it.replica_state.replica_epoch = 5
                    }),
                    ("another cluster", &|it| {
                        it.cluster_id = Some(text("another"))
                    }),
                ],
            );
        }
    }

    fn sweep_list_offsets(&mut self, swept: &Swept) {
        let absent = self.name("absent");
        for version in versions::<ListOffsetsRequest>() {
            let good = ListOffsetsRequest {
                replica_id: -1,
                topics: vec![ListOffsetsTopic {
                    name: swept.topic.clone(),
                    partitions: vec![ListOffsetsPartition {
                        partition_index: 0,
                        current_leader_epoch: -1,
                        timestamp: ListOffsetsRequest::LATEST,
                    }],
                }],
                timeout_ms: TIMEOUT_MS,
                ..Default::default()
            };
            let part = |spoil: fn(&mut ListOffsetsPartition)| {
                move |it: &mut ListOffsetsRequest| spoil(&mut it.topics[0].partitions[0])
            };
            let named = |name: &Text| {
                let name = name.clone();
                move |it: &mut ListOffsetsRequest| it.topics[0].name = name.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    (GROWN, &|it| twice(&mut it.topics[0].partitions)),
                    ("absent partition", &part(|it| it.partition_index = 44)),
                    ("negative partition", &part(|it| it.partition_index = -1)),
                    ("time -7", &part(|it| it.timestamp = -7)),
                    ("least time", &part(|it| it.timestamp = i64::MIN)),
                    ("greatest time", &part(|it| it.timestamp = i64::MAX)),
                    (
                        "epoch from the future",
                        &part(|it| it.current_leader_epoch = 99),
                    ),
                    ("epoch -5", &part(|it| it.current_leader_epoch = -5)),
                    ("absent topic", &named(&absent)),
                    ("bad name", &named(&text("no/name"))),
                    ("empty name", &named(&Text::new())),
                    ("too long", &named(&long(TOO_LONG_FOR_A_TOPIC))),
                    ("nothing", &|it| it.topics.clear()),
                    ("no partitions", &|it| it.topics[0].partitions.clear()),
                    ("partition twice", &|it| twice(&mut it.topics[0].partitions)),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("partition twice, unlike", &|it| {
                        let mut other = it.topics[0].partitions[0].clone();
                        other.timestamp = ListOffsetsRequest::EARLIEST;
                        it.topics[0].partitions.push(other);
                    }),
                    ("isolation 2", &|it| it.isolation_level = 2),
                    ("isolation -1", &|it| it.isolation_level = -1),
                    ("an unknown follower", &|it| it.replica_id = NOBODY),
                    ("replica -3", &|it| it.replica_id = -3),
                    ("no time at all", &|it| it.timeout_ms = -1),
                    ("many topics", &|it| {
                        let partitions = it.topics[0].partitions.clone();
                        let topic = |name| ListOffsetsTopic {
                            name,
                            partitions: partitions.clone(),
                        };
                        it.topics = many().map(topic).collect();
                    }),
                ],
            );
        }
    }

    fn sweep_epochs(&mut self, swept: &Swept) {
        let absent = self.name("absent");
        for version in versions::<OffsetForLeaderEpochRequest>() {
            let good = OffsetForLeaderEpochRequest {
                replica_id: -1,
                topics: vec![OffsetForLeaderTopic {
                    topic: swept.topic.clone(),
                    partitions: vec![OffsetForLeaderPartition {
                        partition: 0,
                        current_leader_epoch: -1,
                        leader_epoch: 0,
                    }],
                }],
            };
            let part = |spoil: fn(&mut OffsetForLeaderPartition)| {
                move |it: &mut OffsetForLeaderEpochRequest| spoil(&mut it.topics[0].partitions[0])
            };
            let named = |name: &Text| {
                let name = name.clone();
                move |it: &mut OffsetForLeaderEpochRequest| it.topics[0].topic = name.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    (GROWN, &|it| twice(&mut it.topics[0].partitions)),
                    ("absent partition", &part(|it| it.partition = 44)),
                    ("negative partition", &part(|it| it.partition = -1)),
                    (
                        "epoch from the future",
                        &part(|it| it.current_leader_epoch = 99),
                    ),
                    ("epoch -5", &part(|it| it.current_leader_epoch = -5)),
                    ("an epoch that never was", &part(|it| it.leader_epoch = 99)),
                    ("negative epoch", &part(|it| it.leader_epoch = -1)),
                    ("least epoch", &part(|it| it.leader_epoch = i32::MIN)),
                    ("absent topic", &named(&absent)),
                    ("bad name", &named(&text("no/name"))),
                    ("empty name", &named(&Text::new())),
                    ("nothing", &|it| it.topics.clear()),
                    ("no partitions", &|it| it.topics[0].partitions.clear()),
                    ("partition twice", &|it| twice(&mut it.topics[0].partitions)),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("an unknown follower", &|it| it.replica_id = NOBODY),
                    ("replica -3", &|it| it.replica_id = -3),
                ],
            );
        }
    }

    fn sweep_describe_producers(&mut self, swept: &Swept) {
        let absent = self.name("absent");
        let of = |name: &Text, partition_indexes: Vec<i32>| DescribeProducersTopicRequest {
            name: name.clone(),
            partition_indexes,
        };
        for version in versions::<DescribeProducersRequest>() {
            let good = DescribeProducersRequest {
                topics: vec![of(&swept.topic, vec![0, 1])],
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    (GROWN, &|it| twice(&mut it.topics[0].partition_indexes)),
                    ("absent partition", &|it| {
                        it.topics = vec![of(&swept.topic, vec![44])]
                    }),
                    ("negative partition", &|it| {
                        it.topics = vec![of(&swept.topic, vec![-1])]
                    }),
                    ("absent topic", &|it| it.topics = vec![of(&absent, vec![0])]),
                    ("bad name", &|it| {
                        it.topics = vec![of(&text("no/name"), vec![0])]
                    }),
                    ("empty name", &|it| {
                        it.topics = vec![of(&Text::new(), vec![0])]
                    }),
                    ("too long", &|it| {
                        it.topics = vec![of(&long(TOO_LONG_FOR_A_TOPIC), vec![0])];
                    }),
                    ("nothing", &|it| it.topics.clear()),
                    ("no partitions", &|it| {
                        it.topics[0].partition_indexes.clear()
                    }),
                    ("partition twice", &|it| {
                        twice(&mut it.topics[0].partition_indexes)
                    }),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("good and bad", &|it| it.topics.push(of(&absent, vec![0]))),
                    ("many partitions", &|it| {
                        it.topics[0].partition_indexes = (0..ENORMOUS_LIST as i32).collect();
                    }),
                ],
            );
        }
    }

    /// From a topic of its own, a record at a time.
    fn sweep_delete_records(&mut self) {
        let topic = self.name("sweep-shortened");
        self.make_topic(&topic, 2);
        self.write(&topic, 20);
        let absent = self.name("absent");
        for version in versions::<DeleteRecordsRequest>() {
            let good = DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: topic.clone(),
                    partitions: vec![DeleteRecordsPartition {
                        partition_index: 0,
                        offset: 1 + i64::from(version),
                    }],
                }],
                timeout_ms: TIMEOUT_MS,
            };
            let part = |spoil: fn(&mut DeleteRecordsPartition)| {
                move |it: &mut DeleteRecordsRequest| spoil(&mut it.topics[0].partitions[0])
            };
            let named = |name: &Text| {
                let name = name.clone();
                move |it: &mut DeleteRecordsRequest| it.topics[0].name = name.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    (GROWN, &|it| twice(&mut it.topics[0].partitions)),
                    ("absent partition", &part(|it| it.partition_index = 44)),
                    ("negative partition", &part(|it| it.partition_index = -1)),
                    ("above the end", &part(|it| it.offset = 21)),
                    ("greatest offset", &part(|it| it.offset = i64::MAX)),
                    ("offset -2", &part(|it| it.offset = -2)),
                    ("least offset", &part(|it| it.offset = i64::MIN)),
                    ("below the start", &part(|it| it.offset = 0)),
                    ("absent topic", &named(&absent)),
                    ("bad name", &named(&text("no/name"))),
                    ("empty name", &named(&Text::new())),
                    ("too long", &named(&long(TOO_LONG_FOR_A_TOPIC))),
                    ("of the quorum", &named(&text("__cluster_metadata"))),
                    ("nothing", &|it| it.topics.clear()),
                    ("no partitions", &|it| it.topics[0].partitions.clear()),
                    ("partition twice", &|it| twice(&mut it.topics[0].partitions)),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("good and bad", &|it| {
                        let mut other = it.topics[0].partitions[0].clone();
                        other.partition_index = 44;
                        it.topics[0].partitions.push(other);
                    }),
                    ("no time at all", &|it| it.timeout_ms = -1),
                ],
            );
        }
    }
}

fn with(batch: Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut batch = batch.to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    batch.into()
}

/// As `with`, and the checksum holds.
fn signed(batch: Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let batch = with(batch, at, bytes);
    let crc = crc32c(&batch[ATTRIBUTES_AT..]).to_be_bytes();
    with(batch, CRC_AT, &crc)
}

fn half(batch: &Bytes) -> Bytes {
    batch.slice(..batch.len() / 2)
}

fn large() -> Bytes {
    let mut batch = BatchBuilder::data(Codec::None);
    batch.push(*NOW, Some(b"key"), Some(&vec![b'v'; TOO_MANY_BYTES]));
    batch.finish()
}

fn marker() -> Bytes {
    let marker = EndMarker {
        is_commit: true,
        coordinator_epoch: 0,
    };
    marker.batch(1, 0, *NOW)
}

fn stamped(timestamp: i64) -> Bytes {
    let mut batch = BatchBuilder::data(Codec::None);
    batch.push(timestamp, Some(b"key"), Some(b"value"));
    batch.finish()
}

#[cfg(test)]
mod tests {
    use ottla_protocol::batch::Batch;

    use super::*;

    #[test]
    fn a_signed_batch_holds_its_checksum_and_a_changed_one_does_not() {
        let is_sound = |batch: Bytes| Batch::parse(&batch).is_ok_and(|it| it.verify_crc().is_ok());
        assert!(is_sound(signed(plain_batch(1), LAST_DELTA_AT + 3, &[5])));
        assert!(!is_sound(with(plain_batch(1), LAST_DELTA_AT + 3, &[5])));
    }
}

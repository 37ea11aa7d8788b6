//! Produce and Fetch.

use bytes::Bytes;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::{NOW, Story, TIMEOUT_MS, plain_batch, settle, versions};

impl Story<'_> {
    pub fn records(&mut self) {
        let topic = self.name("records");
        let id = self.make_topic(&topic, 2);
        self.write(&topic, 5);
        let stamped = self.make_stamped_topic();
        for version in versions::<ProduceRequest>() {
            self.produce(version, &topic, id, &stamped);
        }
        for version in versions::<FetchRequest>() {
            self.fetch(version, &topic, id, &stamped);
        }
        self.elsewhere();
    }

    /// A compacted topic with LogAppendTime: it stamps, and refuses records without a key.
    fn make_stamped_topic(&mut self) -> (Text, Uuid) {
        let name = self.name("stamped");
        let setting = |name: &str, value: &str| CreatableTopicConfig {
            name: Text::from(name),
            value: Some(Text::from(value)),
        };
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: 1,
            replication_factor: 1,
            configs: vec![
                setting("message.timestamp.type", "LogAppendTime"),
                setting("cleanup.policy", "compact"),
            ],
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        let answer = self.prepare(7, &request);
        let id = answer
            .and_then(|a| a.topics.first().map(|t| t.topic_id))
            .unwrap_or_default();
        self.wait_for_topic(&name);
        self.write(&name, 3);
        self.prepare(
            2,
            &DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: name.clone(),
                    partitions: vec![DeleteRecordsPartition {
                        partition_index: 0,
                        offset: 2,
                    }],
                }],
                timeout_ms: TIMEOUT_MS,
            },
        );
        settle();
        (name, id)
    }

    fn produce(&mut self, version: i16, topic: &Text, id: Uuid, stamped: &(Text, Uuid)) {
        for codec in [
            Codec::None,
            Codec::Gzip,
            Codec::Snappy,
            Codec::Lz4,
            Codec::Zstd,
        ] {
            let batch = compressed_batch(codec);
            self.ask(
                &format!("{codec:?}"),
                version,
                &produce_request(version, topic, id, 0, batch),
            );
        }
        let (name, stamped_id) = stamped;
        let request = produce_request(version, name, *stamped_id, 0, plain_batch(2));
        self.ask("stamped by the broker", version, &request);
        let mut keyless = BatchBuilder::data(Codec::None);
        keyless.push(NOW, Some(b"key"), Some(b"value"));
        keyless.push(NOW, None, Some(b"value"));
        let request = produce_request(version, name, *stamped_id, 0, keyless.finish());
        self.ask("without a key, compacted", version, &request);
        let request = produce_request(version, topic, id, 44, plain_batch(1));
        self.ask("absent partition", version, &request);
        let absent = Uuid::from_u128(1 << 81);
        let request = produce_request(version, &self.name("absent"), absent, 0, plain_batch(1));
        self.ask("absent topic", version, &request);
        let mut request = produce_request(version, topic, id, 1, damaged(plain_batch(1)));
        self.ask("damaged", version, &request);
        request.acks = 7;
        self.ask("acks 7", version, &request);
        request = produce_request(version, topic, id, 1, Bytes::new());
        self.ask("no batch", version, &request);
        request = produce_request(version, topic, id, 1, plain_batch(1));
        request.transactional_id = Some(self.name("no-transaction"));
        self.ask("transactional id without a transaction", version, &request);
        request.transactional_id = None;
        request.acks = 1;
        self.ask("acks 1", version, &request);
        request.acks = 0;
        if self.serves::<ProduceRequest>(version)
            && let Err(why) = self.unthrottled.tell(version, &request)
        {
            println!("note: acks 0 at v{version}: {why}");
        }
    }

    fn fetch(&mut self, version: i16, topic: &Text, id: Uuid, stamped: &(Text, Uuid)) {
        let unthrottled = self.unthrottled.clone();
        let first = fetch_request(version, topic, id, 0, 0);
        self.ask("throttled", version, &first);
        // How much a throttled answer holds is the quota's affair.
        self.steps.pop();
        self.ask_at(&unthrottled, "first records", version, &first);
        let (name, stamped_id) = stamped;
        let request = fetch_request(version, name, *stamped_id, 0, 2);
        self.ask_at(
            &unthrottled,
            "after the start was raised",
            version,
            &request,
        );
        let mut committed = first.clone();
        committed.isolation_level = 1;
        self.ask_at(&unthrottled, "committed", version, &committed);
        for (label, index, offset) in [
            ("below the start", 0, -5),
            ("above the end", 0, 1_000_000),
            ("absent partition", 44, 0),
        ] {
            let request = fetch_request(version, topic, id, index, offset);
            self.ask_at(&unthrottled, label, version, &request);
        }
        let absent = Uuid::from_u128(1 << 82);
        let request = fetch_request(version, &self.name("absent"), absent, 0, 0);
        self.ask_at(&unthrottled, "absent topic", version, &request);
        if version >= 9 {
            let mut request = first.clone();
            request.topics[0].partitions[0].current_leader_epoch = 9;
            self.ask_at(&unthrottled, "epoch from the future", version, &request);
        }
        if version >= 12 {
            let mut request = fetch_request(version, topic, id, 0, 1_000_000);
            request.topics[0].partitions[0].last_fetched_epoch = 0;
            self.ask_at(&unthrottled, "diverging", version, &request);
        }
        if version >= 7 {
            self.fetch_in_a_session(version, first);
        }
    }

    fn fetch_in_a_session(&mut self, version: i16, mut request: FetchRequest) {
        let unthrottled = self.unthrottled.clone();
        request.session_epoch = 0;
        let opened = self.ask_at(&unthrottled, "open a session", version, &request);
        let Some(opened) = opened else { return };
        request.session_id = opened.session_id;
        request.session_epoch = 1;
        self.ask_at(&unthrottled, "go on in the session", version, &request);
        let topics = std::mem::take(&mut request.topics);
        let forget = |topic: FetchTopic| FetchForgottenTopic {
            topic: topic.topic,
            topic_id: topic.topic_id,
            partitions: vec![0],
        };
        request.forgotten_topics_data = topics.into_iter().map(forget).collect();
        request.session_epoch = 2;
        self.ask_at(&unthrottled, "forget the topic", version, &request);
        self.ask_at(&unthrottled, "an old session epoch", version, &request);
        request.session_id = 1;
        self.ask_at(&unthrottled, "another session", version, &request);
    }

    /// A topic that is led by the broker that never runs: the answers say where the leader is.
    fn elsewhere(&mut self) {
        let name = self.name("elsewhere");
        let Some(id) = self.make_topic_elsewhere(&name) else {
            return;
        };
        for version in versions::<ProduceRequest>() {
            let request = produce_request(version, &name, id, 0, plain_batch(1));
            self.ask("led by another", version, &request);
        }
        for version in versions::<FetchRequest>() {
            let request = fetch_request(version, &name, id, 0, 0);
            self.ask("led by another", version, &request);
        }
        self.fence_the_second_broker(true);
    }

    /// Appends as part of a transaction, until that works.
    pub fn write_batch_as(&mut self, transactional_id: &Text, topic: &Text, batch: Bytes) -> bool {
        for _ in 0..super::TRIES {
            let mut request = produce_request(9, topic, Uuid::ZERO, 0, batch.clone());
            request.transactional_id = Some(transactional_id.clone());
            let answer = self.prepare(9, &request);
            if answer.is_some_and(|answer| produce_error(&answer) == Some(0)) {
                return true;
            }
            settle();
        }
        println!("note: a transactional batch was not taken");
        false
    }
}

pub fn produce_request(
    version: i16,
    topic: &Text,
    id: Uuid,
    index: i32,
    records: Bytes,
) -> ProduceRequest {
    let partition_data = vec![PartitionProduceData {
        index,
        records: Some(records),
    }];
    let topic = match version {
        13.. => TopicProduceData {
            name: Text::new(),
            topic_id: id,
            partition_data,
        },
        _ => TopicProduceData {
            name: topic.clone(),
            topic_id: Uuid::ZERO,
            partition_data,
        },
    };
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![topic],
    }
}

fn fetch_request(
    version: i16,
    topic: &Text,
    id: Uuid,
    partition: i32,
    fetch_offset: i64,
) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch: if version >= 9 { 0 } else { -1 },
        partition_max_bytes: 100_000,
        ..Default::default()
    };
    let (topic, topic_id) = match version {
        13.. => (Text::new(), id),
        _ => (topic.clone(), Uuid::ZERO),
    };
    let topic = FetchTopic {
        topic,
        topic_id,
        partitions: vec![partition],
    };
    FetchRequest {
        max_wait_ms: 50,
        min_bytes: 1,
        max_bytes: 1_000_000,
        topics: vec![topic],
        rack_id: Text::from(if version >= 11 { "RACK1" } else { "" }),
        ..Default::default()
    }
}

pub fn produce_error(answer: &ProduceResponse) -> Option<i16> {
    Some(
        answer
            .responses
            .first()?
            .partition_responses
            .first()?
            .error_code,
    )
}

fn compressed_batch(codec: Codec) -> Bytes {
    let mut batch = BatchBuilder::data(codec);
    for at in 0..10 {
        batch.push(NOW + at, Some(b"key"), Some(b"value, value, value"));
    }
    batch.finish()
}

/// Another byte in the last record: the checksum does not hold.
fn damaged(batch: Bytes) -> Bytes {
    let mut bytes = batch.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    Bytes::from(bytes)
}

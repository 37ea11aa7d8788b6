//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit, EndTxn, WriteTxnMarkers,
//! DescribeTransactions and ListTransactions.

use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::{
    Bad, ENORMOUS_LIST, ENORMOUS_TEXT, GROWN, Story, Swept, TOO_LONG_FOR_A_TOPIC, long, many,
    settle, text, twice, versions,
};

/// No transaction is given up while the sweep lasts: the most that a broker allows.
const TRANSACTION_MS: i32 = 900_000;
/// No producer has been given this id.
const NO_PRODUCER: i64 = 1 << 40;

/// A producer with a transactional id.
#[derive(Clone)]
struct Producer {
    name: Text,
    id: i64,
    epoch: i16,
}

impl Story<'_> {
    pub(super) fn sweep_transactions(&mut self, swept: &Swept) {
        if !self.serves::<AddPartitionsToTxnRequest>(3) {
            return;
        }
        self.wait_for_transactions();
        self.sweep_init_producer_id();
        self.sweep_add_partitions(swept);
        self.sweep_add_offsets();
        self.sweep_txn_offset_commit(swept);
        self.sweep_end_txn(swept);
        self.sweep_write_markers(swept);
        self.sweep_describe_transactions();
        self.sweep_list_transactions();
    }

    fn sweep_init_producer_id(&mut self) {
        for version in versions::<InitProducerIdRequest>() {
            let good = InitProducerIdRequest {
                transactional_id: Some(self.name(&format!("sweep-init-{version}"))),
                transaction_timeout_ms: TRANSACTION_MS,
                ..Default::default()
            };
            let as_producer = |id, epoch| {
                move |it: &mut InitProducerIdRequest| {
                    it.producer_id = id;
                    it.producer_epoch = epoch;
                }
            };
            let nameless = |id, epoch| {
                move |it: &mut InitProducerIdRequest| {
                    it.transactional_id = None;
                    it.producer_id = id;
                    it.producer_epoch = epoch;
                }
            };
            self.questions(
                version,
                &good,
                &[
                    ("no name", &|it| it.transactional_id = Some(Text::new())),
                    ("a name of blanks, for no time", &|it| {
                        it.transactional_id = Some(text(" "));
                        it.transaction_timeout_ms = 0;
                    }),
                    ("for no time", &|it| it.transaction_timeout_ms = 0),
                    ("for -1 ms", &|it| it.transaction_timeout_ms = -1),
                    ("for the least time", &|it| {
                        it.transaction_timeout_ms = i32::MIN
                    }),
                    ("for too long", &|it| {
                        it.transaction_timeout_ms = TRANSACTION_MS + 1
                    }),
                    ("for the longest time", &|it| {
                        it.transaction_timeout_ms = i32::MAX
                    }),
                    ("no name, for -1 ms", &|it| {
                        it.transactional_id = Some(Text::new());
                        it.transaction_timeout_ms = -1;
                    }),
                    ("an id without an epoch", &as_producer(NO_PRODUCER, -1)),
                    ("an epoch without an id", &as_producer(-1, 3)),
                    ("an unknown id", &as_producer(NO_PRODUCER, 3)),
                    ("id -5", &as_producer(-5, 3)),
                    ("epoch -2", &as_producer(NO_PRODUCER, -2)),
                    ("greatest epoch", &as_producer(NO_PRODUCER, i16::MAX)),
                    ("idempotent, an id without an epoch", &nameless(5, -1)),
                    ("idempotent, an epoch without an id", &nameless(-1, 0)),
                    ("idempotent, least id", &nameless(i64::MIN, -1)),
                ],
            );
        }
    }

    /// A producer with an id and an epoch, and no transaction yet.
    fn producer(&mut self, name: &str) -> Option<Producer> {
        let name = self.name(name);
        let init = InitProducerIdRequest {
            transactional_id: Some(name.clone()),
            transaction_timeout_ms: TRANSACTION_MS,
            ..Default::default()
        };
        let answer = self.prepare_until(4, &init, |answer| answer.error_code)?;
        Some(Producer {
            name,
            id: answer.producer_id,
            epoch: answer.producer_epoch,
        })
    }

    fn sweep_add_partitions(&mut self, swept: &Swept) {
        let absent = self.name("absent");
        for version in versions::<AddPartitionsToTxnRequest>() {
            let Some(producer) = self.producer(&format!("sweep-adds-{version}")) else {
                return;
            };
            let good = add(version, &producer, vec![of(&swept.topic, vec![0])]);
            let to = |topics: Vec<AddPartitionsToTxnTopic>| {
                let asked = add(version, &producer, topics);
                move |it: &mut AddPartitionsToTxnRequest| *it = asked.clone()
            };
            let by = |spoil: fn(&mut Producer)| {
                let mut producer = producer.clone();
                spoil(&mut producer);
                let asked = add(version, &producer, vec![of(&swept.topic, vec![1])]);
                move |it: &mut AddPartitionsToTxnRequest| *it = asked.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| {
                        twice(&mut it.transactions);
                        twice(&mut it.v3_and_below_topics);
                    }),
                    ("no name", &by(|it| it.name = Text::new())),
                    ("unknown name", &by(|it| it.name = text("nobodys"))),
                    ("enormous name", &by(|it| it.name = long(ENORMOUS_TEXT))),
                    ("unknown id", &by(|it| it.id = NO_PRODUCER)),
                    ("id -1", &by(|it| it.id = -1)),
                    ("epoch ahead", &by(|it| it.epoch += 1)),
                    ("epoch behind", &by(|it| it.epoch -= 1)),
                    ("least epoch", &by(|it| it.epoch = i16::MIN)),
                    ("absent topic", &to(vec![of(&absent, vec![0])])),
                    ("bad name", &to(vec![of(&text("no/name"), vec![0])])),
                    ("empty name", &to(vec![of(&Text::new(), vec![0])])),
                    (
                        "too long",
                        &to(vec![of(&long(TOO_LONG_FOR_A_TOPIC), vec![0])]),
                    ),
                    ("absent partition", &to(vec![of(&swept.topic, vec![44])])),
                    ("negative partition", &to(vec![of(&swept.topic, vec![-1])])),
                    ("partition twice", &to(vec![of(&swept.topic, vec![0, 0])])),
                    (
                        "topic twice",
                        &to(vec![of(&swept.topic, vec![0]), of(&swept.topic, vec![0])]),
                    ),
                    ("nothing", &to(Vec::new())),
                    ("no partitions", &to(vec![of(&swept.topic, Vec::new())])),
                    (
                        "good and bad",
                        &to(vec![of(&swept.topic, vec![1]), of(&absent, vec![0])]),
                    ),
                    (
                        "many partitions",
                        &to(vec![of(
                            &swept.topic,
                            (100..100 + ENORMOUS_LIST as i32).collect(),
                        )]),
                    ),
                    // Not asked: no transactions, and one twice. Apache counts its answers against
                    // the transactions asked for, and then never sends one.
                    ("checks what is not in it", &|it| {
                        for transaction in &mut it.transactions {
                            transaction.verify_only = true;
                            transaction.topics = vec![of(&swept.topic, vec![1])];
                        }
                    }),
                    ("checks of an unknown id", &|it| {
                        for transaction in &mut it.transactions {
                            transaction.verify_only = true;
                            transaction.producer_id = NO_PRODUCER;
                        }
                    }),
                ],
            );
        }
    }

    fn sweep_add_offsets(&mut self) {
        for version in versions::<AddOffsetsToTxnRequest>() {
            let Some(producer) = self.producer(&format!("sweep-offsets-{version}")) else {
                return;
            };
            let good = add_offsets(&producer, &self.name("sweep-of-transactions"));
            self.questions(
                version,
                &good,
                &[
                    ("no name", &|it| it.transactional_id = Text::new()),
                    ("unknown name", &|it| it.transactional_id = text("nobodys")),
                    ("enormous name", &|it| {
                        it.transactional_id = long(ENORMOUS_TEXT)
                    }),
                    ("unknown id", &|it| it.producer_id = NO_PRODUCER),
                    ("id -1", &|it| it.producer_id = -1),
                    ("epoch ahead", &|it| it.producer_epoch += 1),
                    ("epoch behind", &|it| it.producer_epoch -= 1),
                    ("least epoch", &|it| it.producer_epoch = i16::MIN),
                    ("no group, of an unknown id", &|it| {
                        it.group_id = Text::new();
                        it.producer_id = NO_PRODUCER;
                    }),
                    ("no group", &|it| it.group_id = Text::new()),
                    ("enormous group", &|it| it.group_id = long(ENORMOUS_TEXT)),
                ],
            );
        }
    }

    fn sweep_txn_offset_commit(&mut self, swept: &Swept) {
        let absent = self.name("absent");
        for version in versions::<TxnOffsetCommitRequest>() {
            let Some(producer) = self.producer(&format!("sweep-txn-commits-{version}")) else {
                return;
            };
            let group = self.name(&format!("sweep-txn-group-{version}"));
            self.prepare(3, &add_offsets(&producer, &group));
            let good = TxnOffsetCommitRequest {
                transactional_id: producer.name.clone(),
                group_id: group.clone(),
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                topics: vec![TxnOffsetCommitRequestTopic {
                    name: swept.topic.clone(),
                    partitions: vec![TxnOffsetCommitRequestPartition {
                        partition_index: 0,
                        committed_offset: 3,
                        committed_metadata: Some(text("note")),
                        ..Default::default()
                    }],
                }],
                ..Default::default()
            };
            let part = |spoil: fn(&mut TxnOffsetCommitRequestPartition)| {
                move |it: &mut TxnOffsetCommitRequest| spoil(&mut it.topics[0].partitions[0])
            };
            let named = |name: &Text| {
                let name = name.clone();
                move |it: &mut TxnOffsetCommitRequest| it.topics[0].name = name.clone()
            };
            let inhabited = self.name("sweep-described");
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    (GROWN, &|it| twice(&mut it.topics[0].partitions)),
                    ("no name", &|it| it.transactional_id = Text::new()),
                    ("unknown name", &|it| it.transactional_id = text("nobodys")),
                    ("no group", &|it| it.group_id = Text::new()),
                    ("a group that is not in it", &|it| {
                        it.group_id = text("nobodys-group")
                    }),
                    ("a group with members that is not in it", &|it| {
                        it.group_id = inhabited.clone()
                    }),
                    ("unknown id", &|it| it.producer_id = NO_PRODUCER),
                    ("id -1", &|it| it.producer_id = -1),
                    ("epoch ahead", &|it| it.producer_epoch += 1),
                    ("epoch behind", &|it| it.producer_epoch -= 1),
                    ("generation 3", &|it| it.generation_id = 3),
                    ("generation -2", &|it| it.generation_id = -2),
                    ("a member that is not there", &|it| {
                        it.member_id = text("nobody");
                        it.generation_id = 1;
                    }),
                    ("a member without a generation", &|it| {
                        it.member_id = text("nobody")
                    }),
                    ("an instance that is not there", &|it| {
                        it.group_instance_id = Some(text("nobody"));
                    }),
                    ("offset -1", &part(|it| it.committed_offset = -1)),
                    ("least offset", &part(|it| it.committed_offset = i64::MIN)),
                    ("epoch -5", &part(|it| it.committed_leader_epoch = -5)),
                    ("absent partition", &part(|it| it.partition_index = 44)),
                    ("negative partition", &part(|it| it.partition_index = -1)),
                    ("null note", &part(|it| it.committed_metadata = None)),
                    (
                        "too long a note",
                        &part(|it| it.committed_metadata = Some(long(4_097))),
                    ),
                    ("absent topic", &named(&absent)),
                    ("bad name", &named(&text("no/name"))),
                    ("empty name", &named(&Text::new())),
                    ("nothing", &|it| it.topics.clear()),
                    ("no partitions", &|it| it.topics[0].partitions.clear()),
                    ("partition twice", &|it| twice(&mut it.topics[0].partitions)),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("good and bad", &|it| {
                        let mut bad = it.topics[0].partitions[0].clone();
                        bad.partition_index = 44;
                        it.topics[0].partitions.push(bad);
                    }),
                ],
            );
        }
    }

    fn sweep_end_txn(&mut self, swept: &Swept) {
        for version in versions::<EndTxnRequest>() {
            let Some(producer) = self.producer(&format!("sweep-ends-{version}")) else {
                return;
            };
            let end = EndTxnRequest {
                transactional_id: producer.name.clone(),
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                committed: true,
            };
            self.bad("before it began", version, &end);
            settle();
            // What began nothing may have cost an epoch.
            let Some(producer) = self.producer(&format!("sweep-ends-{version}")) else {
                return;
            };
            let topics = vec![of(&swept.topic, vec![0])];
            self.prepare(3, &add(3, &producer, topics));
            let good = EndTxnRequest {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                ..end
            };
            let bad: &[Bad<'_, EndTxnRequest>] = &[
                ("no name", &|it| it.transactional_id = Text::new()),
                ("unknown name", &|it| it.transactional_id = text("nobodys")),
                ("enormous name", &|it| {
                    it.transactional_id = long(ENORMOUS_TEXT)
                }),
                ("unknown id", &|it| it.producer_id = NO_PRODUCER),
                ("id -1", &|it| it.producer_id = -1),
                ("epoch 7 ahead", &|it| it.producer_epoch += 7),
                ("epoch behind", &|it| it.producer_epoch -= 1),
                ("least epoch", &|it| it.producer_epoch = i16::MIN),
                ("an unknown id gives up", &|it| {
                    it.producer_id = NO_PRODUCER;
                    it.committed = false;
                }),
                ("gives up what was kept", &|it| it.committed = false),
            ];
            // The markers are written behind the answer: a moment later it has ended.
            // The markers of a busy broker take their time, and until then everybody has to wait.
            let until_written = || (0..4).for_each(|_| settle());
            self.questions_after(version, &good, until_written, bad);
        }
    }

    fn sweep_write_markers(&mut self, swept: &Swept) {
        let absent = self.name("absent");
        let Some(producer) = self.producer("sweep-marked") else {
            return;
        };
        let topic = |name: &Text, partition_indexes: Vec<i32>| WritableTxnMarkerTopic {
            name: name.clone(),
            partition_indexes,
        };
        for version in versions::<WriteTxnMarkersRequest>() {
            let good = WriteTxnMarkersRequest {
                markers: vec![WritableTxnMarker {
                    producer_id: producer.id,
                    producer_epoch: producer.epoch,
                    transaction_result: false,
                    topics: vec![topic(&swept.topic, vec![1])],
                    coordinator_epoch: 0,
                    transaction_version: 0,
                }],
            };
            let marker = |spoil: fn(&mut WritableTxnMarker)| {
                move |it: &mut WriteTxnMarkersRequest| spoil(&mut it.markers[0])
            };
            let to = |name: &Text, partitions: Vec<i32>| {
                let topics = vec![topic(name, partitions)];
                move |it: &mut WriteTxnMarkersRequest| it.markers[0].topics = topics.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.markers)),
                    (GROWN, &|it| twice(&mut it.markers[0].topics)),
                    ("absent topic", &to(&absent, vec![0])),
                    ("bad name", &to(&text("no/name"), vec![0])),
                    ("empty name", &to(&Text::new(), vec![0])),
                    ("absent partition", &to(&swept.topic, vec![44])),
                    ("negative partition", &to(&swept.topic, vec![-1])),
                    ("no partitions", &to(&swept.topic, Vec::new())),
                    ("good and bad", &to(&swept.topic, vec![1, 44])),
                    ("no topics", &|it| it.markers[0].topics.clear()),
                    ("nothing", &|it| it.markers.clear()),
                    ("coordinator of -1", &marker(|it| it.coordinator_epoch = -1)),
                    ("coordinator of -5", &marker(|it| it.coordinator_epoch = -5)),
                    ("epoch behind", &marker(|it| it.producer_epoch -= 1)),
                    ("epoch -1", &marker(|it| it.producer_epoch = -1)),
                    ("id -1", &marker(|it| it.producer_id = -1)),
                    (
                        "version 9 of transactions",
                        &marker(|it| it.transaction_version = 9),
                    ),
                    (
                        "version -1 of transactions",
                        &marker(|it| it.transaction_version = -1),
                    ),
                    ("absent topic of many", &|it| {
                        it.markers[0].topics = many().map(|name| topic(&name, vec![0])).collect();
                    }),
                ],
            );
        }
    }

    fn sweep_describe_transactions(&mut self) {
        let Some(producer) = self.producer("sweep-seen") else {
            return;
        };
        for version in versions::<DescribeTransactionsRequest>() {
            let good = DescribeTransactionsRequest {
                transactional_ids: vec![producer.name.clone()],
            };
            let of = |names: Vec<Text>| {
                move |it: &mut DescribeTransactionsRequest| it.transactional_ids = names.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.transactional_ids)),
                    ("unknown name", &of(vec![text("nobodys")])),
                    ("no name", &of(vec![Text::new()])),
                    ("a name of blanks", &of(vec![text(" ")])),
                    ("enormous name", &of(vec![long(ENORMOUS_TEXT)])),
                    ("nothing", &of(Vec::new())),
                    ("name twice", &|it| twice(&mut it.transactional_ids)),
                    (
                        "unknown name twice",
                        &of(vec![text("nobodys"), text("nobodys")]),
                    ),
                    (
                        "good and bad",
                        &of(vec![producer.name.clone(), Text::new(), text("nobodys")]),
                    ),
                    ("many", &of(many().collect())),
                ],
            );
        }
    }

    fn sweep_list_transactions(&mut self) {
        settle();
        for version in versions::<ListTransactionsRequest>() {
            let states = |states: &'static [&'static str]| {
                move |it: &mut ListTransactionsRequest| {
                    it.state_filters = states.iter().copied().map(text).collect();
                }
            };
            let pattern = |pattern: Text| {
                move |it: &mut ListTransactionsRequest| {
                    it.transactional_id_pattern = Some(pattern.clone());
                }
            };
            self.questions(
                version,
                &ListTransactionsRequest::default(),
                &[
                    (GROWN, &|it| it.state_filters.push(text("x"))),
                    ("unknown state", &states(&["NoSuchState"])),
                    ("state without a name", &states(&[""])),
                    ("state in capitals", &states(&["ONGOING"])),
                    ("state twice", &states(&["Empty", "Empty"])),
                    ("unknown state twice", &states(&["No", "No"])),
                    ("good and bad", &states(&["Empty", "NoSuchState"])),
                    ("dead ones", &states(&["Dead"])),
                    ("enormous state", &|it| {
                        it.state_filters = vec![long(ENORMOUS_TEXT)]
                    }),
                    ("many states", &|it| it.state_filters = many().collect()),
                    ("of an unknown id", &|it| {
                        it.producer_id_filters = vec![NO_PRODUCER]
                    }),
                    ("of id -1", &|it| {
                        it.producer_id_filters = vec![-1, i64::MIN]
                    }),
                    ("of many ids", &|it| {
                        it.producer_id_filters = (NO_PRODUCER..).take(ENORMOUS_LIST).collect();
                    }),
                    ("for -2 ms", &|it| it.duration_filter = -2),
                    ("for the longest time", &|it| it.duration_filter = i64::MAX),
                    ("a pattern that is none", &pattern(text("("))),
                    ("a pattern of nothing", &pattern(Text::new())),
                    ("a pattern that looks behind", &pattern(text("(?<=a)b"))),
                    ("a pattern of nobody", &pattern(text("nobodys"))),
                    ("an enormous pattern", &pattern(long(ENORMOUS_TEXT))),
                ],
            );
        }
    }
}

fn of(name: &Text, partitions: Vec<i32>) -> AddPartitionsToTxnTopic {
    AddPartitionsToTxnTopic {
        name: name.clone(),
        partitions,
    }
}

/// Up to v3 a client's, then a broker's.
fn add(
    version: i16,
    producer: &Producer,
    topics: Vec<AddPartitionsToTxnTopic>,
) -> AddPartitionsToTxnRequest {
    match version {
        4.. => AddPartitionsToTxnRequest {
            transactions: vec![AddPartitionsToTxnTransaction {
                transactional_id: producer.name.clone(),
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                verify_only: false,
                topics,
            }],
            ..Default::default()
        },
        _ => AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: producer.name.clone(),
            v3_and_below_producer_id: producer.id,
            v3_and_below_producer_epoch: producer.epoch,
            v3_and_below_topics: topics,
            ..Default::default()
        },
    }
}

fn add_offsets(producer: &Producer, group: &Text) -> AddOffsetsToTxnRequest {
    AddOffsetsToTxnRequest {
        transactional_id: producer.name.clone(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: group.clone(),
    }
}

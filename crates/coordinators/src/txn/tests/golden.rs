//! What a real Kafka wrote is read, written again byte for byte, and written by the ledger itself
//! when it is asked the same at the same times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::batch::batches;
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction, EndTxnRequest,
    InitProducerIdRequest,
};
use ottla_protocol::{Offset, ProducerId, Text};

use crate::entry::{Corrupt, decode_value, with_number};
use crate::ledger::Now;
use crate::txn::records::{TransactionLogValue, Unknown};
use crate::txn::{
    Partitions, Transaction, TransactionState, TransactionVersion, TxnDecision, TxnLedger,
    TxnRecord, TxnSettings,
};

/// Far above any batch in the test data.
const PAYLOAD_MAX: usize = 1 << 20;
const OFFSETS_TOPIC: &str = "__consumer_offsets";

fn segment() -> Vec<(Bytes, Option<Bytes>)> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/testdata/kafka/transaction_state_0.log"
    );
    let bytes = std::fs::read(path).expect("the segment is there");
    let mut stored = Vec::new();
    for batch in batches(&bytes) {
        let batch = batch.expect("Kafka wrote it");
        let payload = batch.payload(PAYLOAD_MAX).expect("it is not compressed");
        for record in payload.records() {
            let record = record.expect("Kafka wrote it");
            let key = Bytes::copy_from_slice(record.key.unwrap_or_default());
            stored.push((key, record.value.map(Bytes::copy_from_slice)));
        }
    }
    stored
}

fn read(key: &Bytes, value: Option<&Bytes>) -> TxnRecord {
    let decoded = TxnRecord::decode(key, value).expect("Kafka wrote it");
    decoded.expect("its versions are known")
}

#[test]
fn every_record_is_written_again_as_it_was() {
    let stored = segment();
    assert_eq!(stored.len(), 84);
    for (key, value) in &stored {
        let value = value.as_ref().expect("no tombstones here");
        let (wire, version) = decode_value::<TransactionLogValue>("value", value).expect("Kafka's");
        assert_eq!(with_number(version, &wire, version), value);
        let record = read(key, Some(value));
        let (key_again, value_again) = record.encode();
        assert_eq!(&key_again, key);
        // Kafka's order of partitions is that of a hash table, ours is sorted.
        assert_eq!(value_again, Some(sorted(wire, version)));
    }
}

fn sorted(mut wire: TransactionLogValue, version: i16) -> Bytes {
    if let Some(topics) = &mut wire.transaction_partitions {
        topics.sort_by(|a, b| a.topic.cmp(&b.topic));
        topics
            .iter_mut()
            .for_each(|topic| topic.partition_ids.sort_unstable());
    }
    with_number(version, &wire, version)
}

/// Says to a ledger of our own what led Kafka from one record to the next.
struct Follower {
    ledger: TxnLedger,
    offset: Offset,
}

impl Follower {
    fn write(&mut self, decision: &TxnDecision) -> Option<TxnRecord> {
        let mut records = decision.records();
        let record = records.next()?.clone();
        assert!(records.next().is_none(), "one step at a time");
        self.ledger.replay(self.offset, &record);
        self.offset += 1;
        self.ledger.committed(self.offset);
        Some(record)
    }

    /// What the ledger writes where Kafka wrote `next`.
    fn follow(
        &mut self,
        id: &str,
        former: Option<&Transaction>,
        next: &Transaction,
        level: TransactionVersion,
    ) -> Option<TxnRecord> {
        let now = Now {
            monotonic: Duration::from_millis(next.update_ms.unsigned_abs()),
            wall_ms: next.update_ms,
        };
        let mut fresh: Option<ProducerId> = former.is_none().then_some(next.producer_id);
        let is_new_client = level == TransactionVersion::V2;
        match next.state {
            TransactionState::Empty => {
                let decision = self.init(id, next.timeout_ms, level, &mut fresh, now);
                self.write(&decision)
            }
            TransactionState::Ongoing => {
                let decision = self.add(id, former?, next, is_new_client, level, now);
                self.write(&decision)
            }
            TransactionState::PrepareAbort if id.ends_with("late") => {
                let mut due =
                    std::iter::from_fn(|| self.ledger.handle_timeout(level, &mut fresh, now));
                let decision = due.find(|decision| !decision.writes_nothing())?;
                self.write(&decision)
            }
            TransactionState::PrepareAbort if id.ends_with("left") => {
                let decision = self.init(id, 30_000, level, &mut fresh, now);
                self.write(&decision)
            }
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                let former = former?;
                let request = EndTxnRequest {
                    transactional_id: Text::from(id),
                    producer_id: former.producer_id,
                    producer_epoch: former.epoch,
                    committed: next.state == TransactionState::PrepareCommit,
                };
                let version = if is_new_client { 5 } else { 4 };
                let decision = self.ledger.end(&request, version, level, &mut fresh, now);
                self.write(&decision)
            }
            _ => {
                assert!(self.ledger.awaits_commit(), "a demand is there");
                let demand = self.ledger.next_markers()?;
                assert!(!self.ledger.awaits_commit(), "and handed out");
                let done = demand.partitions.clone();
                let decision = self.ledger.handle_markers_done(&demand, &done, level, now);
                self.write(&decision)
            }
        }
    }

    fn init(
        &mut self,
        id: &str,
        transaction_timeout_ms: i32,
        level: TransactionVersion,
        fresh: &mut Option<ProducerId>,
        now: Now,
    ) -> TxnDecision {
        let request = InitProducerIdRequest {
            transactional_id: Some(Text::from(id)),
            transaction_timeout_ms,
            ..InitProducerIdRequest::default()
        };
        self.ledger.init(&request, 5, level, fresh, now)
    }

    /// An old client adds the offsets by a request of their own.
    fn add(
        &mut self,
        id: &str,
        former: &Transaction,
        next: &Transaction,
        is_new_client: bool,
        level: TransactionVersion,
        now: Now,
    ) -> TxnDecision {
        let new = next.partitions.iter();
        let new: Partitions = new
            .filter(|(topic, index)| !former.partitions.contains(topic, *index))
            .collect();
        let offsets = new.iter().find(|(topic, _)| *topic == OFFSETS_TOPIC);
        if let Some((_, partition)) = offsets
            && !is_new_client
        {
            let request = AddOffsetsToTxnRequest {
                transactional_id: Text::from(id),
                producer_id: former.producer_id,
                producer_epoch: former.epoch,
                group_id: Text::from_static("g"),
            };
            return self.ledger.add_offsets(&request, 4, partition, level, now);
        }
        let topics = new.topics().map(|(name, indexes)| AddPartitionsToTxnTopic {
            name: Text::from(&**name),
            partitions: indexes.iter().copied().collect(),
        });
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: Text::from(id),
            producer_id: former.producer_id,
            producer_epoch: former.epoch,
            verify_only: false,
            topics: topics.collect(),
        };
        let version = if is_new_client { 5 } else { 3 };
        self.ledger
            .add_partitions(&transaction, version, level, now)
    }
}

#[test]
fn asked_the_same_the_ledger_writes_what_kafka_wrote() {
    let mut ledger = TxnLedger::new(TxnSettings::default(), 0);
    let _ = ledger.loaded(
        TransactionVersion::V2,
        Now {
            monotonic: Duration::ZERO,
            wall_ms: 0,
        },
    );
    let mut follower = Follower { ledger, offset: 0 };
    let mut latest: BTreeMap<Arc<str>, Transaction> = BTreeMap::new();
    for (key, value) in segment() {
        let theirs = read(&key, value.as_ref());
        let id = theirs.transactional_id.clone();
        let next = theirs.transaction.clone().expect("no tombstones here");
        let level = match &id[..2] {
            "v2" => TransactionVersion::V2,
            "v1" => TransactionVersion::V1,
            _ => TransactionVersion::V0,
        };
        let ours = follower.follow(&id, latest.get(&id), &next, level);
        let ours = ours.unwrap_or_else(|| panic!("{id}: nothing for {next:?}"));
        let (our_key, our_value) = ours.encode();
        let (their_key, their_value) = theirs.encode();
        assert_eq!(
            (our_key, our_value),
            (their_key, their_value),
            "{id} {next:?}"
        );
        latest.insert(id, next);
    }
    assert_eq!(latest.len(), 12);
}

#[test]
fn a_log_of_kafkas_is_loaded() {
    let mut ledger = TxnLedger::new(TxnSettings::default(), 5);
    for (offset, (key, value)) in (0..).zip(segment()) {
        assert_eq!(ledger.load(offset, Some(&key), value.as_ref()), Ok(()));
    }
    let now = Now {
        monotonic: Duration::ZERO,
        wall_ms: 1_795_262_190_000,
    };
    let decision = ledger.loaded(TransactionVersion::V2, now);
    assert!(decision.writes_nothing(), "nothing was left prepared");
    ledger.validate();
    let open = ledger.describe("v2-open").reply;
    assert_eq!(&*open.transaction_state, "Ongoing");
    assert_eq!((open.producer_id, open.producer_epoch), (3, 0));
    assert_eq!(open.transaction_start_time_ms, 1_795_262_181_976);
    assert_eq!(&*open.topics[0].topic, "t1");
    assert_eq!(open.topics[0].partitions, [0]);
}

// ---- bad input ----

fn good() -> (Bytes, Bytes) {
    let (key, value) = segment().swap_remove(1);
    (key, value.expect("no tombstones here"))
}

#[test]
fn cut_records_say_so_and_change_nothing() {
    let (key, value) = good();
    let mut ledger = TxnLedger::new(TxnSettings::default(), 0);
    for end in 0..key.len() {
        let cut = key.slice(..end);
        assert!(
            ledger.load(0, Some(&cut), Some(&value)).is_err(),
            "key {end}"
        );
    }
    for end in 0..value.len() {
        let cut = value.slice(..end);
        assert!(
            ledger.load(0, Some(&key), Some(&cut)).is_err(),
            "value {end}"
        );
    }
    let missing = Corrupt::Truncated { what: "record key" };
    assert_eq!(ledger.load(0, None, Some(&value)), Err(missing));
    assert!(ledger.saved.is_empty());
    // A tombstone of an unknown id is no harm.
    assert_eq!(ledger.load(0, Some(&key), None), Ok(()));
    assert_eq!(ledger.load(0, Some(&key), Some(&value)), Ok(()));
    assert_eq!(ledger.load(1, Some(&key), None), Ok(()));
    assert!(ledger.saved.is_empty() && ledger.open.is_empty());
}

#[test]
fn no_flipped_byte_panics() {
    let (key, value) = good();
    for at in 0..value.len() {
        for bit in 0..8 {
            let mut flipped = value.to_vec();
            flipped[at] ^= 1 << bit;
            let mut ledger = TxnLedger::new(TxnSettings::default(), 0);
            let _ = ledger.load(0, Some(&key), Some(&Bytes::from(flipped)));
            let now = Now {
                monotonic: Duration::ZERO,
                wall_ms: i64::MAX,
            };
            let _ = ledger.loaded(TransactionVersion::V2, now);
            while ledger
                .handle_timeout(TransactionVersion::V2, &mut None, now)
                .is_some()
            {}
            ledger.validate();
        }
    }
}

#[test]
fn what_nobody_knows_is_skipped_as_kafka_does() {
    let (key, value) = good();
    let numbered = |bytes: &Bytes, number: i16| {
        let mut changed = bytes.to_vec();
        changed[..2].copy_from_slice(&number.to_be_bytes());
        Bytes::from(changed)
    };
    let mut ledger = TxnLedger::new(TxnSettings::default(), 0);
    for number in [-1, 1, 2, i16::MAX] {
        let other = numbered(&key, number);
        let decoded = TxnRecord::decode(&other, Some(&value));
        assert_eq!(decoded, Ok(Err(Unknown::Key(number))));
        assert_eq!(ledger.load(0, Some(&other), Some(&value)), Ok(()));
    }
    for number in [-1, 2, i16::MIN] {
        let other = numbered(&value, number);
        let decoded = TxnRecord::decode(&key, Some(&other));
        assert_eq!(decoded, Ok(Err(Unknown::Value(number))));
        assert_eq!(ledger.load(0, Some(&key), Some(&other)), Ok(()));
    }
    assert_eq!(ledger.counts().skipped_records, 7);
    assert_eq!(ledger.first_skipped(), Some((0, Unknown::Key(-1))));
    assert!(ledger.saved.is_empty());
}

#[test]
fn what_contradicts_itself_is_corrupt() {
    let (key, value) = good();
    let (wire, version) = decode_value::<TransactionLogValue>("value", &value).expect("Kafka's");
    let load = |wire: &TransactionLogValue| {
        let value = with_number(version, wire, version);
        TxnRecord::decode(&key, Some(&value)).map_err(|corrupt| corrupt.to_string())
    };
    assert!(load(&wire).is_ok());
    for status in [6, 7, 8, -1] {
        let broken = TransactionLogValue {
            transaction_status: status,
            ..wire.clone()
        };
        let told = load(&broken).expect_err("no such state is stored");
        assert!(told.contains(&format!("no record is written in state {status}")));
    }
    let broken = TransactionLogValue {
        transaction_partitions: None,
        ..wire.clone()
    };
    let told = load(&broken).expect_err("an open transaction has partitions");
    assert!(
        told.contains("partitions are missing in state Ongoing"),
        "{told}"
    );
    let broken = TransactionLogValue {
        client_transaction_version: 3,
        ..wire
    };
    let told = load(&broken).expect_err("not known");
    assert!(
        told.contains("transaction version 3 is not known here"),
        "{told}"
    );
}

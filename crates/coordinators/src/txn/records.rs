//! Keys and values of `__transaction_state`, byte for byte as Kafka writes them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::{Message, Text};

use super::partitions::Partitions;
use super::settings::TransactionVersion;
use super::states::TransactionState;
use super::transaction::{NO_EPOCH, Transaction};
use crate::entry::{Corrupt, decode_key, decode_value, number, with_number};

/// The only type of key.
const TRANSACTION: i16 = 0;
const KEY: &str = "TransactionLogKey";
const VALUE: &str = "TransactionLogValue";

/// Which transactional id.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 0, versions = "0", flexible = "none")]
pub struct TransactionLogKey {
    /// The id.
    pub transactional_id: Text,
}

/// What is known of a transactional id.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 0, versions = "0-1", flexible = "1+")]
pub struct TransactionLogValue {
    /// The producer id in use.
    pub producer_id: i64,
    /// The one before this record.
    #[field(versions = "1+", tag = 0, default = -1, ignorable)]
    pub previous_producer_id: i64,
    /// The one that takes its place when the transaction is complete; -1 none.
    #[field(versions = "1+", tag = 1, default = -1, ignorable)]
    pub next_producer_id: i64,
    /// The epoch in use.
    pub producer_epoch: i16,
    /// Written by nobody.
    #[field(versions = "1+", tag = 3, default = -1, ignorable)]
    pub next_producer_epoch: i16,
    /// How long a transaction may be open.
    pub transaction_timeout_ms: i32,
    /// The state's number.
    pub transaction_status: i8,
    /// Absent in state Empty, and only there.
    #[field(nullable = "0+")]
    pub transaction_partitions: Option<Vec<PartitionsSchema>>,
    /// When this record was decided on.
    pub transaction_last_update_timestamp_ms: i64,
    /// When the transaction began; -1 if it did not.
    pub transaction_start_timestamp_ms: i64,
    /// The `transaction.version` that the client went by.
    #[field(versions = "1+", tag = 2, default = 0, ignorable)]
    pub client_transaction_version: i16,
}

/// Partitions of one topic.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct PartitionsSchema {
    /// The topic.
    pub topic: Text,
    /// Its partitions.
    pub partition_ids: Vec<i32>,
}

/// One record of `__transaction_state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnRecord {
    /// Whose.
    pub transactional_id: Arc<str>,
    /// `None` forgets the id.
    pub transaction: Option<Transaction>,
    /// The version to write the value in: 1 from `transaction.version` 1 on.
    pub value_version: i16,
}

/// A key or value in a version that nobody knows. Kafka skips such records, and so do we.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The type that opens the key.
    Key(i16),
    /// The version that opens the value.
    Value(i16),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(number) => write!(f, "a key of type {number}"),
            Self::Value(version) => write!(f, "a value of version {version}"),
        }
    }
}

impl TxnRecord {
    /// A record of the log; `Ok(Err(..))` for one that is to be skipped.
    pub fn decode(key: &Bytes, value: Option<&Bytes>) -> Result<Result<Self, Unknown>, Corrupt> {
        let kind = number(key, "record key")?;
        if kind != TRANSACTION {
            return Ok(Err(Unknown::Key(kind)));
        }
        let key: TransactionLogKey = decode_key(KEY, key)?;
        let (transaction, value_version) = match value.map(|v| decode_value(VALUE, v)) {
            None => (None, 0),
            Some(Ok((value, version))) => (Some(Transaction::from_wire(&value)?), version),
            Some(Err(Corrupt::ValueVersion { version, .. })) => {
                return Ok(Err(Unknown::Value(version)));
            }
            Some(Err(corrupt)) => return Err(corrupt),
        };
        Ok(Ok(Self {
            transactional_id: (&*key.transactional_id).into(),
            transaction,
            value_version,
        }))
    }

    /// Key and value for the log.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let key = TransactionLogKey {
            transactional_id: Text::from(&*self.transactional_id),
        };
        let value = self.transaction.as_ref().map(|transaction| {
            with_number(
                self.value_version,
                &transaction.to_wire(),
                self.value_version,
            )
        });
        (with_number(TRANSACTION, &key, 0), value)
    }
}

impl Transaction {
    fn from_wire(value: &TransactionLogValue) -> Result<Self, Corrupt> {
        let corrupt = |why: String| Corrupt::Body { record: VALUE, why };
        let status = value.transaction_status;
        let state = TransactionState::from_id(status)
            .filter(|state| *state <= TransactionState::CompleteAbort)
            .ok_or_else(|| corrupt(format!("no record is written in state {status}")))?;
        let level = value.client_transaction_version;
        if !(0..=TransactionVersion::V2.level()).contains(&level) {
            return Err(corrupt(format!(
                "transaction version {level} is not known here"
            )));
        }
        let partitions = match (&value.transaction_partitions, state) {
            (_, TransactionState::Empty) => Partitions::default(),
            (None, _) => {
                let state = state.name();
                return Err(corrupt(format!("partitions are missing in state {state}")));
            }
            (Some(topics), _) => topics
                .iter()
                .flat_map(|topic| {
                    let indexes = topic.partition_ids.iter();
                    indexes.map(|index| (&*topic.topic, *index))
                })
                .collect(),
        };
        Ok(Self {
            producer_id: value.producer_id,
            previous_producer_id: value.previous_producer_id,
            next_producer_id: value.next_producer_id,
            epoch: value.producer_epoch,
            last_epoch: NO_EPOCH,
            timeout_ms: value.transaction_timeout_ms,
            state,
            partitions,
            start_ms: value.transaction_start_timestamp_ms,
            update_ms: value.transaction_last_update_timestamp_ms,
            client_version: TransactionVersion::from_level(level),
        })
    }

    fn to_wire(&self) -> TransactionLogValue {
        let topics = self
            .partitions
            .topics()
            .map(|(topic, indexes)| PartitionsSchema {
                topic: Text::from(&**topic),
                partition_ids: indexes.iter().copied().collect(),
            });
        TransactionLogValue {
            producer_id: self.producer_id,
            previous_producer_id: self.previous_producer_id,
            next_producer_id: self.next_producer_id,
            producer_epoch: self.epoch,
            next_producer_epoch: NO_EPOCH,
            transaction_timeout_ms: self.timeout_ms,
            transaction_status: self.state as i8,
            transaction_partitions: (self.state != TransactionState::Empty)
                .then(|| topics.collect()),
            transaction_last_update_timestamp_ms: self.update_ms,
            transaction_start_timestamp_ms: self.start_ms,
            client_transaction_version: self.client_version.level(),
        }
    }
}

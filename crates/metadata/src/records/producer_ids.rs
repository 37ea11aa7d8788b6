//! Blocks of producer ids, and the markers of the metadata log itself.

use ottla_protocol::{Message, NodeId, ProducerId, Text};

/// A block was handed out; `next_producer_id` is the first of the next one.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 15, versions = "0", flexible = "0+")]
pub struct ProducerIdsRecord {
    pub broker_id: NodeId,
    #[field(default = -1)]
    pub broker_epoch: i64,
    pub next_producer_id: ProducerId,
}

/// Says that the controller is alive.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 20, versions = "0", flexible = "0+")]
pub struct NoOpRecord {}

/// What follows counts only if an `EndTransactionRecord` comes.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 23, versions = "0", flexible = "0+")]
pub struct BeginTransactionRecord {
    #[field(nullable = "0+", tag = 0, default = None)]
    pub name: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 24, versions = "0", flexible = "0+")]
pub struct EndTransactionRecord {}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 25, versions = "0", flexible = "0+")]
pub struct AbortTransactionRecord {
    #[field(nullable = "0+", tag = 0, default = None)]
    pub reason: Option<Text>,
}

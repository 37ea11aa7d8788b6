//! ConsumerProtocolSubscription and ConsumerProtocolAssignment (no key, versions 0-3): what members
//! of a classic consumer group tell each other through JoinGroup and SyncGroup.
//!
//! The broker passes these bytes on unread, except where it must know which topics a group reads
//! (OffsetDelete). An i16 with the version stands before the body. A version above ours is read as
//! ours: fields are only ever added at the end, so surplus bytes are no fault.
//!
//! - v1: the partitions that a member still owns, for cooperative rebalancing (KIP-429).
//! - v2: the generation in which it owned them, so that a stale claim is seen (KIP-792).
//! - v3: the rack (KIP-881).

use bytes::Bytes;

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(value, versions = "0-3", flexible = "none")]
pub struct ConsumerProtocolSubscription {
    pub topics: Vec<Text>,
    #[field(nullable = "0+", default = None)]
    pub user_data: Option<Bytes>,
    #[field(versions = "1+", ignorable)]
    pub owned_partitions: Vec<ConsumerProtocolTopicPartition>,
    #[field(versions = "2+", default = -1, ignorable)]
    pub generation_id: i32,
    #[field(versions = "3+", nullable = "3+", default = None, ignorable)]
    pub rack_id: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ConsumerProtocolTopicPartition {
    pub topic: Text,
    pub partitions: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(value, versions = "0-3", flexible = "none")]
pub struct ConsumerProtocolAssignment {
    pub assigned_partitions: Vec<ConsumerProtocolTopicPartition>,
    #[field(nullable = "0+", default = None)]
    pub user_data: Option<Bytes>,
}

//! OffsetCommit (key 8, versions 2-10): a group stores how far it has read.
//!
//! - v2: the lowest served: retention time may be given.
//! - v3: throttle time.
//! - v4: throttled answers are sent before muting.
//! - v5: retention is the broker's affair.
//! - v6: leader epoch of the committed record.
//! - v7: static members.
//! - v8: flexible.
//! - v9: groups of the consumer protocol: the generation is the member epoch; STALE_MEMBER_EPOCH
//!   and GROUP_ID_NOT_FOUND may be answered (KIP-848).
//! - v10: topic ids replace names.

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 8, versions = "2-10", flexible = "8+", response = OffsetCommitResponse)]
pub struct OffsetCommitRequest {
    pub group_id: Text,
    /// -1 for a client that is no member (simple consumer, tools).
    #[field(default = -1, ignorable)]
    pub generation_id_or_member_epoch: i32,
    #[field(ignorable)]
    pub member_id: Text,
    #[field(versions = "7+", nullable = "7+", default = None)]
    pub group_instance_id: Option<Text>,
    /// -1 takes the broker's `offsets.retention.minutes`.
    #[field(versions = "2-4", default = -1, ignorable)]
    pub retention_time_ms: i64,
    pub topics: Vec<OffsetCommitRequestTopic>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 8, versions = "2-10", flexible = "8+")]
pub struct OffsetCommitResponse {
    #[field(versions = "3+", ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<OffsetCommitResponseTopic>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetCommitRequestTopic {
    #[field(versions = "2-9", ignorable)]
    pub name: Text,
    #[field(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    pub partitions: Vec<OffsetCommitRequestPartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetCommitRequestPartition {
    pub partition_index: i32,
    pub committed_offset: i64,
    #[field(versions = "6+", default = -1, ignorable)]
    pub committed_leader_epoch: i32,
    #[field(nullable = "0+")]
    pub committed_metadata: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetCommitResponseTopic {
    #[field(versions = "2-9", ignorable)]
    pub name: Text,
    #[field(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    pub partitions: Vec<OffsetCommitResponsePartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetCommitResponsePartition {
    pub partition_index: i32,
    pub error_code: i16,
}

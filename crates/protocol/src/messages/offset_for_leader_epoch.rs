//! OffsetForLeaderEpoch (key 23, versions 2-4): where an epoch ended in the leader's log, which
//! tells the asker where to truncate.
//!
//! - v2: the lowest served: current leader epoch, for fencing.
//! - v3: the replica that asks.
//! - v4: flexible.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 23, versions = "2-4", flexible = "4+", response = OffsetForLeaderEpochResponse)]
pub struct OffsetForLeaderEpochRequest {
    /// -2 stands for a consumer that may look above the high watermark, the meaning of v2.
    #[field(versions = "3+", default = -2, ignorable)]
    pub replica_id: i32,
    pub topics: Vec<OffsetForLeaderTopic>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 23, versions = "2-4", flexible = "4+")]
pub struct OffsetForLeaderEpochResponse {
    #[field(ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<OffsetForLeaderTopicResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetForLeaderTopic {
    pub topic: Text,
    pub partitions: Vec<OffsetForLeaderPartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetForLeaderPartition {
    pub partition: i32,
    #[field(default = -1, ignorable)]
    pub current_leader_epoch: i32,
    pub leader_epoch: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetForLeaderTopicResult {
    pub topic: Text,
    pub partitions: Vec<OffsetForLeaderEpochEndOffset>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetForLeaderEpochEndOffset {
    pub error_code: i16,
    pub partition: i32,
    #[field(default = -1, ignorable)]
    pub leader_epoch: i32,
    /// Exclusive; -1 where the epoch is unknown.
    #[field(default = -1)]
    pub end_offset: i64,
}

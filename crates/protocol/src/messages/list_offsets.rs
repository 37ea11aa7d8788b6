//! ListOffsets (key 2, versions 1-11): the offset that belongs to a timestamp, or one of the
//! special positions.
//!
//! - v1: the lowest served: one offset and its timestamp for each partition.
//! - v2: isolation level; throttle time.
//! - v3: throttled answers are sent before muting.
//! - v4: leader epoch, asked and answered.
//! - v5: OFFSET_NOT_AVAILABLE while a new leader does not know its high watermark.
//! - v6: flexible.
//! - v7: `MAX_TIMESTAMP` (KIP-734).
//! - v8: `EARLIEST_LOCAL` (KIP-405).
//! - v9: `LATEST_TIERED` (KIP-1005).
//! - v10: a time limit for lookups in remote storage (KIP-1075).
//! - v11: `EARLIEST_PENDING_UPLOAD` (KIP-1023).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 2, versions = "1-11", flexible = "6+", response = ListOffsetsResponse)]
pub struct ListOffsetsRequest {
    /// -1 for consumers; -2 for a consumer that may look above the high watermark.
    pub replica_id: i32,
    /// 0 read uncommitted, 1 read committed.
    #[field(versions = "2+")]
    pub isolation_level: i8,
    pub topics: Vec<ListOffsetsTopic>,
    #[field(versions = "10+", ignorable)]
    pub timeout_ms: i32,
}

/// The special positions that stand in a timestamp's place.
impl ListOffsetsRequest {
    pub const LATEST: i64 = -1;
    pub const EARLIEST: i64 = -2;
    pub const MAX_TIMESTAMP: i64 = -3;
    pub const EARLIEST_LOCAL: i64 = -4;
    pub const LATEST_TIERED: i64 = -5;
    pub const EARLIEST_PENDING_UPLOAD: i64 = -6;
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 2, versions = "1-11", flexible = "6+")]
pub struct ListOffsetsResponse {
    #[field(versions = "2+", ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<ListOffsetsTopicResponse>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ListOffsetsTopic {
    pub name: Text,
    pub partitions: Vec<ListOffsetsPartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ListOffsetsPartition {
    pub partition_index: i32,
    #[field(versions = "4+", default = -1, ignorable)]
    pub current_leader_epoch: i32,
    /// Milliseconds, or one of the special positions of [`ListOffsetsRequest`].
    pub timestamp: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ListOffsetsTopicResponse {
    pub name: Text,
    pub partitions: Vec<ListOffsetsPartitionResponse>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ListOffsetsPartitionResponse {
    pub partition_index: i32,
    pub error_code: i16,
    /// -1 where the position has none.
    #[field(default = -1)]
    pub timestamp: i64,
    #[field(default = -1)]
    pub offset: i64,
    #[field(versions = "4+", default = -1)]
    pub leader_epoch: i32,
}

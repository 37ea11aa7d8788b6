//! DeleteRecords (key 21, versions 0-2): raise the start of partitions, forgetting what lies
//! before.
//!
//! - v1: throttled answers are sent before muting.
//! - v2: flexible.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 21, versions = "0-2", flexible = "2+", response = DeleteRecordsResponse)]
pub struct DeleteRecordsRequest {
    pub topics: Vec<DeleteRecordsTopic>,
    pub timeout_ms: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 21, versions = "0-2", flexible = "2+")]
pub struct DeleteRecordsResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<DeleteRecordsTopicResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DeleteRecordsTopic {
    pub name: Text,
    pub partitions: Vec<DeleteRecordsPartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DeleteRecordsPartition {
    pub partition_index: i32,
    /// The first offset that is kept; -1 for the high watermark.
    pub offset: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DeleteRecordsTopicResult {
    pub name: Text,
    pub partitions: Vec<DeleteRecordsPartitionResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DeleteRecordsPartitionResult {
    pub partition_index: i32,
    pub low_watermark: i64,
    pub error_code: i16,
}

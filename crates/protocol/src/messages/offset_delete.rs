//! OffsetDelete (key 47, version 0): forget committed offsets of a group (KIP-496).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 47, versions = "0", flexible = "none", response = OffsetDeleteResponse)]
pub struct OffsetDeleteRequest {
    pub group_id: Text,
    pub topics: Vec<OffsetDeleteRequestTopic>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 47, versions = "0", flexible = "none")]
pub struct OffsetDeleteResponse {
    pub error_code: i16,
    #[field(ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<OffsetDeleteResponseTopic>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetDeleteRequestTopic {
    pub name: Text,
    pub partitions: Vec<OffsetDeleteRequestPartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetDeleteRequestPartition {
    pub partition_index: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetDeleteResponseTopic {
    pub name: Text,
    pub partitions: Vec<OffsetDeleteResponsePartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetDeleteResponsePartition {
    pub partition_index: i32,
    pub error_code: i16,
}

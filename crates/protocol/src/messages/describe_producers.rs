//! DescribeProducers (key 61, version 0): the producers that a partition remembers (KIP-664).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 61, versions = "0", flexible = "0+", response = DescribeProducersResponse)]
pub struct DescribeProducersRequest {
    pub topics: Vec<DescribeProducersTopicRequest>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 61, versions = "0", flexible = "0+")]
pub struct DescribeProducersResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<DescribeProducersTopicResponse>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeProducersTopicRequest {
    pub name: Text,
    pub partition_indexes: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeProducersTopicResponse {
    pub name: Text,
    pub partitions: Vec<DescribeProducersPartitionResponse>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeProducersPartitionResponse {
    pub partition_index: i32,
    pub error_code: i16,
    #[field(nullable = "0+", default = None)]
    pub error_message: Option<Text>,
    pub active_producers: Vec<DescribeProducersProducerState>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeProducersProducerState {
    pub producer_id: i64,
    pub producer_epoch: i32,
    #[field(default = -1)]
    pub last_sequence: i32,
    #[field(default = -1)]
    pub last_timestamp: i64,
    pub coordinator_epoch: i32,
    /// -1 where no transaction is open.
    #[field(default = -1)]
    pub current_txn_start_offset: i64,
}

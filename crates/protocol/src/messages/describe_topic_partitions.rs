//! DescribeTopicPartitions (key 75, version 0): partitions of topics page by page, with their
//! eligible leader replicas (KIP-966).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 75, versions = "0", flexible = "0+", response = DescribeTopicPartitionsResponse)]
pub struct DescribeTopicPartitionsRequest {
    pub topics: Vec<DescribeTopicPartitionsTopicRequest>,
    #[field(default = 2000)]
    pub response_partition_limit: i32,
    #[field(nullable = "0+", default = None)]
    pub cursor: Option<DescribeTopicPartitionsCursor>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 75, versions = "0", flexible = "0+")]
pub struct DescribeTopicPartitionsResponse {
    #[field(ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Where to go on; `None` at the end.
    #[field(nullable = "0+", default = None)]
    pub next_cursor: Option<DescribeTopicPartitionsCursor>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeTopicPartitionsTopicRequest {
    pub name: Text,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeTopicPartitionsCursor {
    pub topic_name: Text,
    pub partition_index: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeTopicPartitionsResponseTopic {
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub name: Option<Text>,
    #[field(ignorable)]
    pub topic_id: Uuid,
    #[field(ignorable)]
    pub is_internal: bool,
    pub partitions: Vec<DescribeTopicPartitionsResponsePartition>,
    #[field(default = i32::MIN)]
    pub topic_authorized_operations: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeTopicPartitionsResponsePartition {
    pub error_code: i16,
    pub partition_index: i32,
    pub leader_id: i32,
    #[field(default = -1, ignorable)]
    pub leader_epoch: i32,
    pub replica_nodes: Vec<i32>,
    pub isr_nodes: Vec<i32>,
    #[field(nullable = "0+", default = None)]
    pub eligible_leader_replicas: Option<Vec<i32>>,
    #[field(nullable = "0+", default = None)]
    pub last_known_elr: Option<Vec<i32>>,
    #[field(ignorable)]
    pub offline_replicas: Vec<i32>,
}

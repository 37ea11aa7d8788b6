//! ListPartitionReassignments (key 46, version 0): which partitions are moving (KIP-455).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 46, versions = "0", flexible = "0+", response = ListPartitionReassignmentsResponse)]
pub struct ListPartitionReassignmentsRequest {
    #[field(default = 60000)]
    pub timeout_ms: i32,
    #[field(nullable = "0+", default = None)]
    pub topics: Option<Vec<ListPartitionReassignmentsTopics>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 46, versions = "0", flexible = "0+")]
pub struct ListPartitionReassignmentsResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub topics: Vec<OngoingTopicReassignment>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ListPartitionReassignmentsTopics {
    pub name: Text,
    pub partition_indexes: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OngoingTopicReassignment {
    pub name: Text,
    pub partitions: Vec<OngoingPartitionReassignment>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OngoingPartitionReassignment {
    pub partition_index: i32,
    pub replicas: Vec<i32>,
    pub adding_replicas: Vec<i32>,
    pub removing_replicas: Vec<i32>,
}

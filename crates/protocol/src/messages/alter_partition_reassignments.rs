//! AlterPartitionReassignments (key 45, versions 0-1): move partitions to other replicas, or stop
//! moving (KIP-455).
//!
//! - v1: a change of the replication factor may be forbidden (KIP-860).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 45, versions = "0-1", flexible = "0+", response = AlterPartitionReassignmentsResponse)]
pub struct AlterPartitionReassignmentsRequest {
    #[field(default = 60000)]
    pub timeout_ms: i32,
    #[field(versions = "1+", default = true)]
    pub allow_replication_factor_change: bool,
    pub topics: Vec<ReassignableTopic>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 45, versions = "0-1", flexible = "0+")]
pub struct AlterPartitionReassignmentsResponse {
    pub throttle_time_ms: i32,
    #[field(versions = "1+", default = true, ignorable)]
    pub allow_replication_factor_change: bool,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub responses: Vec<ReassignableTopicResponse>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ReassignableTopic {
    pub name: Text,
    pub partitions: Vec<ReassignablePartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ReassignablePartition {
    pub partition_index: i32,
    #[field(nullable = "0+", default = None)]
    pub replicas: Option<Vec<i32>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ReassignableTopicResponse {
    pub name: Text,
    pub partitions: Vec<ReassignablePartitionResponse>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ReassignablePartitionResponse {
    pub partition_index: i32,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
}

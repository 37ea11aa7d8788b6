//! ElectLeaders (key 43, versions 0-2): elect preferred, or unclean, leaders.
//!
//! - v1: the kind of election (KIP-460); an error for the whole answer.
//! - v2: flexible.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 43, versions = "0-2", flexible = "2+", response = ElectLeadersResponse)]
pub struct ElectLeadersRequest {
    #[field(versions = "1+")]
    pub election_type: i8,
    #[field(nullable = "0+")]
    pub topic_partitions: Option<Vec<ElectLeadersTopicPartitions>>,
    #[field(default = 60000)]
    pub timeout_ms: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 43, versions = "0-2", flexible = "2+")]
pub struct ElectLeadersResponse {
    pub throttle_time_ms: i32,
    #[field(versions = "1+")]
    pub error_code: i16,
    pub replica_election_results: Vec<ReplicaElectionResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ElectLeadersTopicPartitions {
    pub topic: Text,
    pub partitions: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ReplicaElectionResult {
    pub topic: Text,
    pub partition_result: Vec<ElectLeadersPartitionResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ElectLeadersPartitionResult {
    pub partition_id: i32,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
}

//! EndQuorumEpoch (key 54, versions 0-1): a leader resigns and says who should follow.
//!
//! - v1: flexible; successors with directory ids, and the leader's addresses (KIP-853).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 54, versions = "0-1", flexible = "1+", response = EndQuorumEpochResponse)]
pub struct EndQuorumEpochRequest {
    #[field(nullable = "0+", default = None)]
    pub cluster_id: Option<Text>,
    pub topics: Vec<EndQuorumEpochRequestTopicData>,
    #[field(versions = "1+", ignorable)]
    pub leader_endpoints: Vec<EndQuorumEpochLeaderEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 54, versions = "0-1", flexible = "1+")]
pub struct EndQuorumEpochResponse {
    pub error_code: i16,
    pub topics: Vec<EndQuorumEpochResponseTopicData>,
    #[field(versions = "1+", tag = 0)]
    pub node_endpoints: Vec<EndQuorumEpochNodeEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct EndQuorumEpochRequestTopicData {
    pub topic_name: Text,
    pub partitions: Vec<EndQuorumEpochRequestPartitionData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct EndQuorumEpochRequestPartitionData {
    pub partition_index: i32,
    pub leader_id: i32,
    pub leader_epoch: i32,
    #[field(versions = "0", ignorable)]
    pub preferred_successors: Vec<i32>,
    #[field(versions = "1+", ignorable)]
    pub preferred_candidates: Vec<EndQuorumEpochReplicaInfo>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct EndQuorumEpochReplicaInfo {
    pub candidate_id: i32,
    pub candidate_directory_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct EndQuorumEpochLeaderEndpoint {
    pub name: Text,
    pub host: Text,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct EndQuorumEpochResponseTopicData {
    pub topic_name: Text,
    pub partitions: Vec<EndQuorumEpochResponsePartitionData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct EndQuorumEpochResponsePartitionData {
    pub partition_index: i32,
    pub error_code: i16,
    pub leader_id: i32,
    pub leader_epoch: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct EndQuorumEpochNodeEndpoint {
    pub node_id: i32,
    pub host: Text,
    pub port: u16,
}

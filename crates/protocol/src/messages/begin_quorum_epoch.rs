//! BeginQuorumEpoch (key 53, versions 0-1): a new leader makes itself known to the voters.
//!
//! - v1: flexible; voter ids and the leader's addresses (KIP-853).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 53, versions = "0-1", flexible = "1+", response = BeginQuorumEpochResponse)]
pub struct BeginQuorumEpochRequest {
    #[field(nullable = "0+", default = None)]
    pub cluster_id: Option<Text>,
    #[field(versions = "1+", default = -1, ignorable)]
    pub voter_id: i32,
    pub topics: Vec<BeginQuorumEpochRequestTopicData>,
    #[field(versions = "1+", ignorable)]
    pub leader_endpoints: Vec<BeginQuorumEpochLeaderEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 53, versions = "0-1", flexible = "1+")]
pub struct BeginQuorumEpochResponse {
    pub error_code: i16,
    pub topics: Vec<BeginQuorumEpochResponseTopicData>,
    #[field(versions = "1+", tag = 0)]
    pub node_endpoints: Vec<BeginQuorumEpochNodeEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BeginQuorumEpochRequestTopicData {
    pub topic_name: Text,
    pub partitions: Vec<BeginQuorumEpochRequestPartitionData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BeginQuorumEpochRequestPartitionData {
    pub partition_index: i32,
    #[field(versions = "1+", ignorable)]
    pub voter_directory_id: Uuid,
    pub leader_id: i32,
    pub leader_epoch: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BeginQuorumEpochLeaderEndpoint {
    pub name: Text,
    pub host: Text,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BeginQuorumEpochResponseTopicData {
    pub topic_name: Text,
    pub partitions: Vec<BeginQuorumEpochResponsePartitionData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BeginQuorumEpochResponsePartitionData {
    pub partition_index: i32,
    pub error_code: i16,
    pub leader_id: i32,
    pub leader_epoch: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BeginQuorumEpochNodeEndpoint {
    pub node_id: i32,
    pub host: Text,
    pub port: u16,
}

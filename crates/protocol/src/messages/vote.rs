//! Vote (key 52, versions 0-2): a candidate asks for a vote in the metadata quorum.
//!
//! - v1: voter and directory ids, so that a replaced disk is a stranger (KIP-853); the leader's
//!   address.
//! - v2: pre-votes: the same question without raising the epoch (KIP-996).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 52, versions = "0-2", flexible = "0+", response = VoteResponse)]
pub struct VoteRequest {
    #[field(nullable = "0+", default = None)]
    pub cluster_id: Option<Text>,
    #[field(versions = "1+", default = -1, ignorable)]
    pub voter_id: i32,
    pub topics: Vec<VoteRequestTopicData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 52, versions = "0-2", flexible = "0+")]
pub struct VoteResponse {
    pub error_code: i16,
    pub topics: Vec<VoteResponseTopicData>,
    #[field(versions = "1+", tag = 0)]
    pub node_endpoints: Vec<VoteNodeEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct VoteRequestTopicData {
    pub topic_name: Text,
    pub partitions: Vec<VoteRequestPartitionData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct VoteRequestPartitionData {
    pub partition_index: i32,
    pub replica_epoch: i32,
    pub replica_id: i32,
    #[field(versions = "1+", ignorable)]
    pub replica_directory_id: Uuid,
    #[field(versions = "1+", ignorable)]
    pub voter_directory_id: Uuid,
    pub last_offset_epoch: i32,
    pub last_offset: i64,
    #[field(versions = "2+")]
    pub pre_vote: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct VoteResponseTopicData {
    pub topic_name: Text,
    pub partitions: Vec<VoteResponsePartitionData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct VoteResponsePartitionData {
    pub partition_index: i32,
    pub error_code: i16,
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub vote_granted: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct VoteNodeEndpoint {
    pub node_id: i32,
    pub host: Text,
    pub port: u16,
}

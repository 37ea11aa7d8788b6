//! DescribeQuorum (key 55, versions 0-2): leader, voters and observers of the metadata quorum, and
//! how far each is (KIP-595).
//!
//! - v1: times of the last fetch and of the last moment without lag (KIP-836).
//! - v2: error messages, directory ids and the listeners of the voters (KIP-853).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 55, versions = "0-2", flexible = "0+", response = DescribeQuorumResponse)]
pub struct DescribeQuorumRequest {
    pub topics: Vec<DescribeQuorumRequestTopicData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 55, versions = "0-2", flexible = "0+")]
pub struct DescribeQuorumResponse {
    pub error_code: i16,
    #[field(versions = "2+", nullable = "2+", ignorable)]
    pub error_message: Option<Text>,
    pub topics: Vec<DescribeQuorumResponseTopicData>,
    #[field(versions = "2+")]
    pub nodes: Vec<DescribeQuorumNode>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeQuorumRequestTopicData {
    pub topic_name: Text,
    pub partitions: Vec<DescribeQuorumRequestPartitionData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeQuorumRequestPartitionData {
    pub partition_index: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeQuorumResponseTopicData {
    pub topic_name: Text,
    pub partitions: Vec<DescribeQuorumResponsePartitionData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeQuorumResponsePartitionData {
    pub partition_index: i32,
    pub error_code: i16,
    #[field(versions = "2+", nullable = "2+", ignorable)]
    pub error_message: Option<Text>,
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub high_watermark: i64,
    pub current_voters: Vec<DescribeQuorumReplicaState>,
    pub observers: Vec<DescribeQuorumReplicaState>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeQuorumReplicaState {
    pub replica_id: i32,
    #[field(versions = "2+")]
    pub replica_directory_id: Uuid,
    /// -1 where the leader does not know.
    pub log_end_offset: i64,
    #[field(versions = "1+", default = -1, ignorable)]
    pub last_fetch_timestamp: i64,
    #[field(versions = "1+", default = -1, ignorable)]
    pub last_caught_up_timestamp: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeQuorumNode {
    pub node_id: i32,
    pub listeners: Vec<DescribeQuorumListener>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeQuorumListener {
    pub name: Text,
    pub host: Text,
    pub port: u16,
}

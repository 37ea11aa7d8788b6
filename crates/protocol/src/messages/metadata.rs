//! Metadata (key 3, versions 0-13): which brokers, topics and partitions there are, and who leads
//! them.
//!
//! - v1: null topics ask for all of them and an empty list for none (in v0 an empty list asks for
//!   all); rack, controller id and the internal flag in the answer.
//! - v2: cluster id.
//! - v3: throttle time.
//! - v4: the client may forbid the creation of missing topics; before, asking creates.
//! - v5: offline replicas.
//! - v6: throttled answers are sent before muting.
//! - v7: leader epoch.
//! - v8: authorized operations on request.
//! - v9: flexible.
//! - v10: topic ids in the answer; the request has the field, but servers do not look up by id yet.
//! - v11: the cluster's authorized operations move to DescribeCluster.
//! - v12: lookup by topic id; a topic that is asked for by an unknown id has no name in the answer.
//! - v13: an error for the whole answer (REBOOTSTRAP_REQUIRED, KIP-1102).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 3, versions = "0-13", flexible = "9+", response = MetadataResponse)]
pub struct MetadataRequest {
    /// `None` asks for all topics (v1+). In v0 an empty list does.
    #[field(nullable = "1+")]
    pub topics: Option<Vec<MetadataRequestTopic>>,
    #[field(versions = "4+", default = true)]
    pub allow_auto_topic_creation: bool,
    #[field(versions = "8-10")]
    pub include_cluster_authorized_operations: bool,
    #[field(versions = "8+")]
    pub include_topic_authorized_operations: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 3, versions = "0-13", flexible = "9+")]
pub struct MetadataResponse {
    #[field(versions = "3+", ignorable)]
    pub throttle_time_ms: i32,
    pub brokers: Vec<MetadataResponseBroker>,
    #[field(versions = "2+", nullable = "2+", default = None, ignorable)]
    pub cluster_id: Option<Text>,
    /// Under KRaft any live broker, which forwards; clients never learn the active controller here.
    #[field(versions = "1+", default = -1, ignorable)]
    pub controller_id: i32,
    pub topics: Vec<MetadataResponseTopic>,
    /// `i32::MIN` where it was not asked for.
    #[field(versions = "8-10", default = i32::MIN)]
    pub cluster_authorized_operations: i32,
    #[field(versions = "13+", ignorable)]
    pub error_code: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct MetadataRequestTopic {
    #[field(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    /// `None` when the topic is asked for by id.
    #[field(nullable = "10+")]
    pub name: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct MetadataResponseBroker {
    pub node_id: i32,
    pub host: Text,
    pub port: i32,
    #[field(versions = "1+", nullable = "1+", default = None, ignorable)]
    pub rack: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct MetadataResponseTopic {
    pub error_code: i16,
    #[field(nullable = "12+")]
    pub name: Option<Text>,
    #[field(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    #[field(versions = "1+", ignorable)]
    pub is_internal: bool,
    pub partitions: Vec<MetadataResponsePartition>,
    /// `i32::MIN` where it was not asked for.
    #[field(versions = "8+", default = i32::MIN)]
    pub topic_authorized_operations: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct MetadataResponsePartition {
    pub error_code: i16,
    pub partition_index: i32,
    pub leader_id: i32,
    #[field(versions = "7+", default = -1, ignorable)]
    pub leader_epoch: i32,
    pub replica_nodes: Vec<i32>,
    pub isr_nodes: Vec<i32>,
    #[field(versions = "5+", ignorable)]
    pub offline_replicas: Vec<i32>,
}

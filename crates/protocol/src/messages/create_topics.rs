//! CreateTopics (key 19, versions 2-7): make topics.
//!
//! - v2: the lowest served.
//! - v3: throttled answers are sent before muting.
//! - v4: -1 partitions or replicas mean the broker's default (KIP-464).
//! - v5: flexible; the answer tells size and settings of the new topic (KIP-525).
//! - v6: THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599).
//! - v7: the answer tells the topic id.

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 19, versions = "2-7", flexible = "5+", response = CreateTopicsResponse)]
pub struct CreateTopicsRequest {
    pub topics: Vec<CreatableTopic>,
    #[field(default = 60000)]
    pub timeout_ms: i32,
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 19, versions = "2-7", flexible = "5+")]
pub struct CreateTopicsResponse {
    #[field(ignorable)]
    pub throttle_time_ms: i32,
    pub topics: Vec<CreatableTopicResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CreatableTopic {
    pub name: Text,
    /// -1 with assignments, or (v4+) for the broker's default.
    pub num_partitions: i32,
    /// -1 with assignments, or (v4+) for the broker's default.
    pub replication_factor: i16,
    pub assignments: Vec<CreatableReplicaAssignment>,
    pub configs: Vec<CreatableTopicConfig>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CreatableReplicaAssignment {
    pub partition_index: i32,
    pub broker_ids: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CreatableTopicConfig {
    pub name: Text,
    #[field(nullable = "0+")]
    pub value: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CreatableTopicResult {
    pub name: Text,
    #[field(versions = "7+", ignorable)]
    pub topic_id: Uuid,
    pub error_code: i16,
    #[field(nullable = "0+", ignorable)]
    pub error_message: Option<Text>,
    /// Set where the caller may create the topic but not see its settings.
    #[field(versions = "5+", tag = 0, ignorable)]
    pub topic_config_error_code: i16,
    #[field(versions = "5+", default = -1, ignorable)]
    pub num_partitions: i32,
    #[field(versions = "5+", default = -1, ignorable)]
    pub replication_factor: i16,
    #[field(versions = "5+", nullable = "5+", ignorable)]
    pub configs: Option<Vec<CreatableTopicConfigs>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CreatableTopicConfigs {
    pub name: Text,
    #[field(nullable = "0+")]
    pub value: Option<Text>,
    pub read_only: bool,
    #[field(default = -1, ignorable)]
    pub config_source: i8,
    pub is_sensitive: bool,
}

//! DeleteTopics (key 20, versions 1-6): remove topics.
//!
//! - v1: the lowest served.
//! - v2: throttled answers are sent before muting.
//! - v3: TOPIC_DELETION_DISABLED may be answered.
//! - v4: flexible.
//! - v5: error messages; THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599).
//! - v6: topics by name or by id, one of both.

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 20, versions = "1-6", flexible = "4+", response = DeleteTopicsResponse)]
pub struct DeleteTopicsRequest {
    #[field(versions = "6+")]
    pub topics: Vec<DeleteTopicState>,
    #[field(versions = "1-5", ignorable)]
    pub topic_names: Vec<Text>,
    pub timeout_ms: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 20, versions = "1-6", flexible = "4+")]
pub struct DeleteTopicsResponse {
    #[field(ignorable)]
    pub throttle_time_ms: i32,
    pub responses: Vec<DeletableTopicResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DeleteTopicState {
    /// `None` when the topic is named by its id.
    #[field(nullable = "0+", default = None)]
    pub name: Option<Text>,
    pub topic_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DeletableTopicResult {
    #[field(nullable = "6+")]
    pub name: Option<Text>,
    #[field(versions = "6+", ignorable)]
    pub topic_id: Uuid,
    pub error_code: i16,
    #[field(versions = "5+", nullable = "5+", default = None, ignorable)]
    pub error_message: Option<Text>,
}

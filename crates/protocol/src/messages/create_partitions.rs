//! CreatePartitions (key 37, versions 0-3): give topics more partitions.
//!
//! - v1: throttled answers are sent before muting.
//! - v2: flexible.
//! - v3: THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 37, versions = "0-3", flexible = "2+", response = CreatePartitionsResponse)]
pub struct CreatePartitionsRequest {
    pub topics: Vec<CreatePartitionsTopic>,
    pub timeout_ms: i32,
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 37, versions = "0-3", flexible = "2+")]
pub struct CreatePartitionsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<CreatePartitionsTopicResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CreatePartitionsTopic {
    pub name: Text,
    /// The total afterwards, not the number to add.
    pub count: i32,
    /// One for each new partition, or `None` to let the controller place them.
    #[field(nullable = "0+")]
    pub assignments: Option<Vec<CreatePartitionsAssignment>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CreatePartitionsAssignment {
    pub broker_ids: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CreatePartitionsTopicResult {
    pub name: Text,
    pub error_code: i16,
    #[field(nullable = "0+", default = None)]
    pub error_message: Option<Text>,
}

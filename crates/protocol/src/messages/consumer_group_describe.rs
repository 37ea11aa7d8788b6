//! ConsumerGroupDescribe (key 69, versions 0-1): state and members of groups of the consumer
//! protocol.
//!
//! - v1: which protocol each member speaks (KIP-1099).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 69, versions = "0-1", flexible = "0+", response = ConsumerGroupDescribeResponse)]
pub struct ConsumerGroupDescribeRequest {
    pub group_ids: Vec<Text>,
    pub include_authorized_operations: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 69, versions = "0-1", flexible = "0+")]
pub struct ConsumerGroupDescribeResponse {
    pub throttle_time_ms: i32,
    pub groups: Vec<ConsumerGroupDescribeGroup>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ConsumerGroupDescribeGroup {
    pub error_code: i16,
    #[field(nullable = "0+", default = None)]
    pub error_message: Option<Text>,
    pub group_id: Text,
    pub group_state: Text,
    pub group_epoch: i32,
    pub assignment_epoch: i32,
    pub assignor_name: Text,
    pub members: Vec<ConsumerGroupDescribeMember>,
    /// The lowest number: not asked for.
    #[field(default = i32::MIN)]
    pub authorized_operations: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ConsumerGroupDescribeMember {
    pub member_id: Text,
    #[field(nullable = "0+", default = None)]
    pub instance_id: Option<Text>,
    #[field(nullable = "0+", default = None)]
    pub rack_id: Option<Text>,
    pub member_epoch: i32,
    pub client_id: Text,
    pub client_host: Text,
    pub subscribed_topic_names: Vec<Text>,
    #[field(nullable = "0+", default = None)]
    pub subscribed_topic_regex: Option<Text>,
    /// What it has, and what it is still giving up.
    pub assignment: ConsumerGroupDescribeAssignment,
    pub target_assignment: ConsumerGroupDescribeAssignment,
    /// -1 unknown, 0 classic, 1 consumer.
    #[field(versions = "1+", default = -1, ignorable)]
    pub member_type: i8,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ConsumerGroupDescribeAssignment {
    pub topic_partitions: Vec<ConsumerGroupDescribeTopicPartitions>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ConsumerGroupDescribeTopicPartitions {
    pub topic_id: Uuid,
    pub topic_name: Text,
    pub partitions: Vec<i32>,
}

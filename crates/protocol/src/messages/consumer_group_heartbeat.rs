//! ConsumerGroupHeartbeat (key 68, versions 0-1): the one request of the consumer protocol
//! (KIP-848). A member joins, lives, gives up partitions and leaves with it.
//!
//! - v1: subscription by pattern, and the client makes its member id itself (KIP-1082).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 68, versions = "0-1", flexible = "0+", response = ConsumerGroupHeartbeatResponse)]
pub struct ConsumerGroupHeartbeatRequest {
    pub group_id: Text,
    pub member_id: Text,
    /// 0 joins, -1 leaves, -2 leaves for a while (static members).
    pub member_epoch: i32,
    /// From here on, null and -1 mean: as it was.
    #[field(nullable = "0+", default = None)]
    pub instance_id: Option<Text>,
    #[field(nullable = "0+", default = None)]
    pub rack_id: Option<Text>,
    #[field(default = -1)]
    pub rebalance_timeout_ms: i32,
    #[field(nullable = "0+", default = None)]
    pub subscribed_topic_names: Option<Vec<Text>>,
    #[field(versions = "1+", nullable = "1+", default = None)]
    pub subscribed_topic_regex: Option<Text>,
    #[field(nullable = "0+", default = None)]
    pub server_assignor: Option<Text>,
    /// What the member has.
    #[field(nullable = "0+", default = None)]
    pub topic_partitions: Option<Vec<ConsumerGroupHeartbeatTopicPartitions>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 68, versions = "0-1", flexible = "0+")]
pub struct ConsumerGroupHeartbeatResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+", default = None)]
    pub error_message: Option<Text>,
    #[field(nullable = "0+", default = None)]
    pub member_id: Option<Text>,
    pub member_epoch: i32,
    pub heartbeat_interval_ms: i32,
    /// Null if it is as it was.
    #[field(nullable = "0+", default = None)]
    pub assignment: Option<ConsumerGroupHeartbeatAssignment>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ConsumerGroupHeartbeatAssignment {
    pub topic_partitions: Vec<ConsumerGroupHeartbeatTopicPartitions>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ConsumerGroupHeartbeatTopicPartitions {
    pub topic_id: Uuid,
    pub partitions: Vec<i32>,
}

//! AlterPartition (key 56, versions 2-3): a leader proposes the in-sync replicas to the controller
//! (KIP-497).
//!
//! - v2: the lowest served: topics by id (KIP-841); the leader's recovery state (KIP-704).
//! - v3: in-sync replicas carry their broker epoch, so that a restarted one is not mistaken
//!   (KIP-903).

use crate::{Message, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 56, versions = "2-3", flexible = "0+", response = AlterPartitionResponse)]
pub struct AlterPartitionRequest {
    pub broker_id: i32,
    #[field(default = -1)]
    pub broker_epoch: i64,
    pub topics: Vec<AlterPartitionRequestTopicData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 56, versions = "2-3", flexible = "0+")]
pub struct AlterPartitionResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub topics: Vec<AlterPartitionResponseTopicData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterPartitionRequestTopicData {
    #[field(ignorable)]
    pub topic_id: Uuid,
    pub partitions: Vec<AlterPartitionRequestPartitionData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterPartitionRequestPartitionData {
    pub partition_index: i32,
    pub leader_epoch: i32,
    #[field(versions = "2")]
    pub new_isr: Vec<i32>,
    #[field(versions = "3+")]
    pub new_isr_with_epochs: Vec<AlterPartitionBrokerState>,
    pub leader_recovery_state: i8,
    pub partition_epoch: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterPartitionBrokerState {
    pub broker_id: i32,
    #[field(default = -1)]
    pub broker_epoch: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterPartitionResponseTopicData {
    #[field(ignorable)]
    pub topic_id: Uuid,
    pub partitions: Vec<AlterPartitionResponsePartitionData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterPartitionResponsePartitionData {
    pub partition_index: i32,
    pub error_code: i16,
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub isr: Vec<i32>,
    #[field(ignorable)]
    pub leader_recovery_state: i8,
    pub partition_epoch: i32,
}

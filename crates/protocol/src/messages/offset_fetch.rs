//! OffsetFetch (key 9, versions 1-10): how far a group has read.
//!
//! - v1: the lowest served: offsets come from `__consumer_offsets`.
//! - v2: null topics ask for all; an error for the whole group.
//! - v3: throttle time.
//! - v4: throttled answers are sent before muting.
//! - v5: leader epoch.
//! - v6: flexible.
//! - v7: `require_stable`: UNSTABLE_OFFSET_COMMIT while a transaction has offsets pending
//!   (KIP-447).
//! - v8: several groups at once; the fields for one group are gone.
//! - v9: groups of the consumer protocol: member id and epoch are checked (KIP-848).
//! - v10: topic ids replace names; UNKNOWN_TOPIC_ID may be answered.

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 9, versions = "1-10", flexible = "6+", response = OffsetFetchResponse)]
pub struct OffsetFetchRequest {
    #[field(versions = "1-7")]
    pub group_id: Text,
    /// `None` asks for all topics of the group.
    #[field(versions = "1-7", nullable = "2-7")]
    pub topics: Option<Vec<OffsetFetchRequestTopic>>,
    #[field(versions = "8+")]
    pub groups: Vec<OffsetFetchRequestGroup>,
    #[field(versions = "7+")]
    pub require_stable: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 9, versions = "1-10", flexible = "6+")]
pub struct OffsetFetchResponse {
    #[field(versions = "3+", ignorable)]
    pub throttle_time_ms: i32,
    #[field(versions = "1-7")]
    pub topics: Vec<OffsetFetchResponseTopic>,
    #[field(versions = "2-7", ignorable)]
    pub error_code: i16,
    #[field(versions = "8+")]
    pub groups: Vec<OffsetFetchResponseGroup>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetFetchRequestTopic {
    pub name: Text,
    pub partition_indexes: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetFetchRequestGroup {
    pub group_id: Text,
    #[field(versions = "9+", nullable = "9+", default = None, ignorable)]
    pub member_id: Option<Text>,
    #[field(versions = "9+", default = -1, ignorable)]
    pub member_epoch: i32,
    /// `None` asks for all topics of the group.
    #[field(nullable = "0+")]
    pub topics: Option<Vec<OffsetFetchRequestTopics>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetFetchRequestTopics {
    #[field(versions = "8-9", ignorable)]
    pub name: Text,
    #[field(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    pub partition_indexes: Vec<i32>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetFetchResponseTopic {
    pub name: Text,
    pub partitions: Vec<OffsetFetchResponsePartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetFetchResponsePartition {
    pub partition_index: i32,
    /// -1 where the group has committed nothing.
    pub committed_offset: i64,
    #[field(versions = "5-7", default = -1, ignorable)]
    pub committed_leader_epoch: i32,
    #[field(nullable = "0+")]
    pub metadata: Option<Text>,
    pub error_code: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetFetchResponseGroup {
    pub group_id: Text,
    pub topics: Vec<OffsetFetchResponseTopics>,
    pub error_code: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetFetchResponseTopics {
    #[field(versions = "8-9", ignorable)]
    pub name: Text,
    #[field(versions = "10+", ignorable)]
    pub topic_id: Uuid,
    pub partitions: Vec<OffsetFetchResponsePartitions>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct OffsetFetchResponsePartitions {
    pub partition_index: i32,
    /// -1 where the group has committed nothing.
    pub committed_offset: i64,
    #[field(default = -1, ignorable)]
    pub committed_leader_epoch: i32,
    #[field(nullable = "0+")]
    pub metadata: Option<Text>,
    pub error_code: i16,
}

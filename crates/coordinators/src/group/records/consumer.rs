//! Groups of the consumer protocol (KIP-848): types 3 to 8 and 16.

use bytes::Bytes;
use ottla_protocol::{Message, Text, Uuid};

/// Type 3, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 3, versions = "0", flexible = "none")]
pub struct ConsumerGroupMetadataKey {
    /// Which group.
    pub group_id: Text,
}

/// Type 3, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 3, versions = "0", flexible = "0+")]
pub struct ConsumerGroupMetadataValue {
    /// Counts the changes.
    pub epoch: i32,
    /// Of the topics it was computed for.
    #[field(tag = 0)]
    pub metadata_hash: i64,
}

/// Type 4, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 4, versions = "0", flexible = "none")]
pub struct ConsumerGroupPartitionMetadataKey {
    /// Which group.
    pub group_id: Text,
}

/// Type 4, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 4, versions = "0", flexible = "0+")]
pub struct ConsumerGroupPartitionMetadataValue {
    /// The topics.
    pub topics: Vec<ConsumerGroupTopic>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ConsumerGroupTopic {
    /// Which topic.
    pub topic_id: Uuid,
    /// Its name.
    pub topic_name: Text,
    /// How many.
    pub num_partitions: i32,
    /// One per partition.
    pub partition_metadata: Vec<ConsumerGroupTopicPartition>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ConsumerGroupTopicPartition {
    /// Which partition.
    pub partition: i32,
    /// Where its replicas are.
    pub racks: Vec<Text>,
}

/// Type 5, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 5, versions = "0", flexible = "none")]
pub struct ConsumerGroupMemberMetadataKey {
    /// Which group.
    pub group_id: Text,
    /// Which member.
    pub member_id: Text,
}

/// Type 5, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 5, versions = "0", flexible = "0+")]
pub struct ConsumerGroupMemberMetadataValue {
    /// Set for a static member.
    #[field(nullable = "0+")]
    pub instance_id: Option<Text>,
    /// Where it runs.
    #[field(nullable = "0+")]
    pub rack_id: Option<Text>,
    /// From the request header.
    pub client_id: Text,
    /// Where it came from.
    pub client_host: Text,
    /// What it asked for.
    pub subscribed_topic_names: Vec<Text>,
    /// What it asked for, as a pattern.
    #[field(nullable = "0+")]
    pub subscribed_topic_regex: Option<Text>,
    /// How long it may take to give up partitions.
    #[field(default = -1)]
    pub rebalance_timeout_ms: i32,
    /// Its vote.
    #[field(nullable = "0+")]
    pub server_assignor: Option<Text>,
    /// Set if it speaks the classic protocol.
    #[field(nullable = "0+", tag = 0)]
    pub classic_member_metadata: Option<ClassicMemberMetadata>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ClassicMemberMetadata {
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Its protocols.
    pub supported_protocols: Vec<ClassicProtocol>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ClassicProtocol {
    /// Its name.
    pub name: Text,
    /// Opaque.
    pub metadata: Bytes,
}

/// Type 6, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 6, versions = "0", flexible = "none")]
pub struct ConsumerGroupTargetAssignmentMetadataKey {
    /// Which group.
    pub group_id: Text,
}

/// Type 6, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 6, versions = "0", flexible = "0+")]
pub struct ConsumerGroupTargetAssignmentMetadataValue {
    /// The group epoch it was computed for.
    pub assignment_epoch: i32,
    /// When it was computed.
    #[field(tag = 0)]
    pub assignment_timestamp: i64,
}

/// Type 7, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 7, versions = "0", flexible = "none")]
pub struct ConsumerGroupTargetAssignmentMemberKey {
    /// Which group.
    pub group_id: Text,
    /// Which member.
    pub member_id: Text,
}

/// Type 7, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 7, versions = "0", flexible = "0+")]
pub struct ConsumerGroupTargetAssignmentMemberValue {
    /// What it shall have.
    pub topic_partitions: Vec<TargetTopicPartitions>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct TargetTopicPartitions {
    /// Which topic.
    pub topic_id: Uuid,
    /// Which partitions.
    pub partitions: Vec<i32>,
}

/// Type 8, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 8, versions = "0", flexible = "none")]
pub struct ConsumerGroupCurrentMemberAssignmentKey {
    /// Which group.
    pub group_id: Text,
    /// Which member.
    pub member_id: Text,
}

/// Type 8, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 8, versions = "0", flexible = "0+")]
pub struct ConsumerGroupCurrentMemberAssignmentValue {
    /// What the member has reached.
    pub member_epoch: i32,
    /// What it had before.
    pub previous_member_epoch: i32,
    /// Where it stands in the reconciliation.
    pub state: i8,
    /// What it has.
    pub assigned_partitions: Vec<CurrentTopicPartitions>,
    /// What it must give up.
    pub partitions_pending_revocation: Vec<CurrentTopicPartitions>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CurrentTopicPartitions {
    /// Which topic.
    pub topic_id: Uuid,
    /// Which partitions.
    pub partitions: Vec<i32>,
    /// When each was assigned.
    #[field(nullable = "0+", tag = 0)]
    pub assignment_epochs: Option<Vec<i32>>,
}

/// Type 16, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 16, versions = "0", flexible = "none")]
pub struct ConsumerGroupRegularExpressionKey {
    /// Which group.
    pub group_id: Text,
    /// The pattern.
    pub regular_expression: Text,
}

/// Type 16, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 16, versions = "0", flexible = "0+")]
pub struct ConsumerGroupRegularExpressionValue {
    /// The topics.
    pub topics: Vec<Text>,
    /// Of the metadata it was resolved with.
    pub version: i64,
    /// When it was resolved.
    pub timestamp: i64,
}

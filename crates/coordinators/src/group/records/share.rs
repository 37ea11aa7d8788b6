//! Share groups (KIP-932): types 10 to 15. Checked and kept, not served.

use ottla_protocol::{Message, Text, Uuid};

/// Type 10, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 10, versions = "0", flexible = "none")]
pub struct ShareGroupMemberMetadataKey {
    /// Which group.
    pub group_id: Text,
    /// Which member.
    pub member_id: Text,
}

/// Type 10, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 10, versions = "0", flexible = "0+")]
pub struct ShareGroupMemberMetadataValue {
    /// Where it runs.
    #[field(nullable = "0+")]
    pub rack_id: Option<Text>,
    /// From the request header.
    pub client_id: Text,
    /// Where it came from.
    pub client_host: Text,
    /// What it asked for.
    pub subscribed_topic_names: Vec<Text>,
}

/// Type 11, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 11, versions = "0", flexible = "none")]
pub struct ShareGroupMetadataKey {
    /// Which group.
    pub group_id: Text,
}

/// Type 11, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 11, versions = "0", flexible = "0+")]
pub struct ShareGroupMetadataValue {
    /// Counts the changes.
    pub epoch: i32,
    /// Of the topics it was computed for.
    pub metadata_hash: i64,
}

/// Type 12, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 12, versions = "0", flexible = "none")]
pub struct ShareGroupTargetAssignmentMetadataKey {
    /// Which group.
    pub group_id: Text,
}

/// Type 12, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 12, versions = "0", flexible = "0+")]
pub struct ShareGroupTargetAssignmentMetadataValue {
    /// The group epoch it was computed for.
    pub assignment_epoch: i32,
    /// When it was computed.
    #[field(tag = 0)]
    pub assignment_timestamp: i64,
}

/// Type 13, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 13, versions = "0", flexible = "none")]
pub struct ShareGroupTargetAssignmentMemberKey {
    /// Which group.
    pub group_id: Text,
    /// Which member.
    pub member_id: Text,
}

/// Type 13, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 13, versions = "0", flexible = "0+")]
pub struct ShareGroupTargetAssignmentMemberValue {
    /// What it shall have.
    pub topic_partitions: Vec<ShareTopicPartitions>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ShareTopicPartitions {
    /// Which topic.
    pub topic_id: Uuid,
    /// Which partitions.
    pub partitions: Vec<i32>,
}

/// Type 14, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 14, versions = "0", flexible = "none")]
pub struct ShareGroupCurrentMemberAssignmentKey {
    /// Which group.
    pub group_id: Text,
    /// Which member.
    pub member_id: Text,
}

/// Type 14, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 14, versions = "0", flexible = "0+")]
pub struct ShareGroupCurrentMemberAssignmentValue {
    /// What the member has reached.
    pub member_epoch: i32,
    /// What it had before.
    pub previous_member_epoch: i32,
    /// Where it stands in the reconciliation.
    pub state: i8,
    /// What it has.
    pub assigned_partitions: Vec<ShareTopicPartitions>,
}

/// Type 15, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 15, versions = "0", flexible = "none")]
pub struct ShareGroupStatePartitionMetadataKey {
    /// Which group.
    pub group_id: Text,
}

/// Type 15, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 15, versions = "0", flexible = "0+")]
pub struct ShareGroupStatePartitionMetadataValue {
    /// Being set up.
    pub initializing_topics: Vec<ShareStateTopicPartitions>,
    /// Set up.
    pub initialized_topics: Vec<ShareStateTopicPartitions>,
    /// Being removed.
    pub deleting_topics: Vec<ShareStateTopic>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ShareStateTopicPartitions {
    /// Which topic.
    pub topic_id: Uuid,
    /// Its name.
    pub topic_name: Text,
    /// Which partitions.
    pub partitions: Vec<i32>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ShareStateTopic {
    /// Which topic.
    pub topic_id: Uuid,
    /// Its name.
    pub topic_name: Text,
}

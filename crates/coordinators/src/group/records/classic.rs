//! Offsets and classic groups: types 0, 1 and 2.

use bytes::Bytes;
use ottla_protocol::{Message, Text, Uuid};

/// An offset's place before Kafka 0.9; read only.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 0, versions = "0", flexible = "none")]
pub struct LegacyOffsetCommitKey {
    /// Which group.
    pub group_id: Text,
    /// Which topic.
    pub topic: Text,
    /// Which partition.
    pub partition: i32,
}

/// An offset before Kafka 0.9; read only.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 0, versions = "0", flexible = "none")]
pub struct LegacyOffsetCommitValue {
    /// The committed offset.
    pub offset: i64,
    /// The client's own words.
    pub metadata: Text,
    /// When it was committed.
    pub commit_timestamp: i64,
}

/// Which group and partition an offset belongs to.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 1, versions = "0", flexible = "none")]
pub struct OffsetCommitKey {
    /// Which group.
    pub group_id: Text,
    /// Which topic.
    pub topic: Text,
    /// Which partition.
    pub partition: i32,
}

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 1, versions = "0-4", flexible = "4+")]
pub struct OffsetCommitValue {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 unknown.
    #[field(versions = "3+", default = -1, ignorable)]
    pub leader_epoch: i32,
    /// The client's own words.
    pub metadata: Text,
    /// When it was committed.
    pub commit_timestamp: i64,
    /// An expiry of its own, from OffsetCommit v2 to v4; -1 none.
    #[field(versions = "1", default = -1, ignorable)]
    pub expire_timestamp: i64,
    /// The topic it was committed for; zero in older records.
    #[field(versions = "4+", tag = 0, ignorable)]
    pub topic_id: Uuid,
}

impl OffsetCommitValue {
    /// No expiry of its own.
    pub const NEVER: i64 = -1;
}

/// Which classic group.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 2, versions = "0", flexible = "none")]
pub struct GroupMetadataKey {
    /// Which group.
    pub group_id: Text,
}

/// A classic group's generation.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 2, versions = "0-4", flexible = "4+")]
pub struct GroupMetadataValue {
    /// "consumer", "connect", ...; empty for a group that never had members.
    pub protocol_type: Text,
    /// Counts the rebalances.
    pub generation: i32,
    /// The protocol that was chosen; none in an empty group.
    #[field(nullable = "0+")]
    pub protocol: Option<Text>,
    /// The member that assigns.
    #[field(nullable = "0+")]
    pub leader: Option<Text>,
    /// Since when the group is in its state; -1 unknown.
    #[field(versions = "2+", default = -1, ignorable)]
    pub current_state_timestamp: i64,
    /// All members of the generation; none in an empty group.
    pub members: Vec<MemberMetadata>,
}

/// One member of a generation.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct MemberMetadata {
    /// The id we gave it.
    pub member_id: Text,
    /// Set for a static member.
    #[field(versions = "3+", nullable = "3+", default = None, ignorable)]
    pub group_instance_id: Option<Text>,
    /// From the request header.
    pub client_id: Text,
    /// The address it came from, with a slash before it.
    pub client_host: Text,
    /// How long it may take to join again; -1 takes the session timeout.
    #[field(versions = "1+", default = -1, ignorable)]
    pub rebalance_timeout: i32,
    /// How long it may be silent.
    pub session_timeout: i32,
    /// Its metadata for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

impl From<LegacyOffsetCommitKey> for OffsetCommitKey {
    fn from(old: LegacyOffsetCommitKey) -> Self {
        Self {
            group_id: old.group_id,
            topic: old.topic,
            partition: old.partition,
        }
    }
}

impl From<LegacyOffsetCommitValue> for OffsetCommitValue {
    fn from(old: LegacyOffsetCommitValue) -> Self {
        Self {
            offset: old.offset,
            metadata: old.metadata,
            commit_timestamp: old.commit_timestamp,
            ..Self::default()
        }
    }
}

//! One record of a group of the consumer protocol, key and value taken apart.

use bytes::Bytes;
use ottla_protocol::{Text, Versioned};

use super::consumer::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey,
    ConsumerGroupPartitionMetadataValue, ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
};
use super::{Corrupt, RecordKind, decode_key, decode_value, with_number};

/// The version in which Kafka 4.3 writes all values of these groups.
const VALUE_VERSION: i16 = 0;

/// A record of types 3 to 8 or 16. `None` for a value is a tombstone.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    missing_docs,
    reason = "keys and values are described where they are defined"
)]
pub enum ConsumerRecord {
    /// Type 3: the group and its epoch.
    Group {
        key: ConsumerGroupMetadataKey,
        value: Option<ConsumerGroupMetadataValue>,
    },
    /// Type 4: what brokers before 4.1 knew of the topics.
    Topics {
        key: ConsumerGroupPartitionMetadataKey,
        value: Option<ConsumerGroupPartitionMetadataValue>,
    },
    /// Type 5: who a member is and what it wants.
    Member {
        key: ConsumerGroupMemberMetadataKey,
        value: Option<ConsumerGroupMemberMetadataValue>,
    },
    /// Type 6: the epoch that the target assignment was computed for.
    TargetEpoch {
        key: ConsumerGroupTargetAssignmentMetadataKey,
        value: Option<ConsumerGroupTargetAssignmentMetadataValue>,
    },
    /// Type 7: what a member shall have.
    Target {
        key: ConsumerGroupTargetAssignmentMemberKey,
        value: Option<ConsumerGroupTargetAssignmentMemberValue>,
    },
    /// Type 8: what a member has.
    Current {
        key: ConsumerGroupCurrentMemberAssignmentKey,
        value: Option<ConsumerGroupCurrentMemberAssignmentValue>,
    },
    /// Type 16: the topics that a pattern stands for.
    Pattern {
        key: ConsumerGroupRegularExpressionKey,
        value: Option<ConsumerGroupRegularExpressionValue>,
    },
}

impl ConsumerRecord {
    /// A record of the log; `None` if its kind belongs to another protocol.
    pub(super) fn decode(
        kind: RecordKind,
        key: &Bytes,
        value: Option<&Bytes>,
    ) -> Result<Option<Self>, Corrupt> {
        Ok(Some(match kind {
            RecordKind::ConsumerGroupMetadata => Self::Group {
                key: decode_key(kind.name(), key)?,
                value: optional(kind, value)?,
            },
            RecordKind::ConsumerGroupPartitionMetadata => Self::Topics {
                key: decode_key(kind.name(), key)?,
                value: optional(kind, value)?,
            },
            RecordKind::ConsumerGroupMemberMetadata => Self::Member {
                key: decode_key(kind.name(), key)?,
                value: optional(kind, value)?,
            },
            RecordKind::ConsumerGroupTargetAssignmentMetadata => Self::TargetEpoch {
                key: decode_key(kind.name(), key)?,
                value: optional(kind, value)?,
            },
            RecordKind::ConsumerGroupTargetAssignmentMember => Self::Target {
                key: decode_key(kind.name(), key)?,
                value: optional(kind, value)?,
            },
            RecordKind::ConsumerGroupCurrentMemberAssignment => Self::Current {
                key: decode_key(kind.name(), key)?,
                value: optional(kind, value)?,
            },
            RecordKind::ConsumerGroupRegularExpression => Self::Pattern {
                key: decode_key(kind.name(), key)?,
                value: optional(kind, value)?,
            },
            _ => return Ok(None),
        }))
    }

    /// Key and value for the log.
    pub(super) fn encode(&self) -> (Bytes, Option<Bytes>) {
        use RecordKind::*;
        match self {
            Self::Group { key, value } => written(ConsumerGroupMetadata, key, value),
            Self::Topics { key, value } => written(ConsumerGroupPartitionMetadata, key, value),
            Self::Member { key, value } => written(ConsumerGroupMemberMetadata, key, value),
            Self::TargetEpoch { key, value } => {
                written(ConsumerGroupTargetAssignmentMetadata, key, value)
            }
            Self::Target { key, value } => written(ConsumerGroupTargetAssignmentMember, key, value),
            Self::Current { key, value } => {
                written(ConsumerGroupCurrentMemberAssignment, key, value)
            }
            Self::Pattern { key, value } => written(ConsumerGroupRegularExpression, key, value),
        }
    }

    /// The group it is about.
    pub fn group(&self) -> &Text {
        match self {
            Self::Group { key, .. } => &key.group_id,
            Self::Topics { key, .. } => &key.group_id,
            Self::Member { key, .. } => &key.group_id,
            Self::TargetEpoch { key, .. } => &key.group_id,
            Self::Target { key, .. } => &key.group_id,
            Self::Current { key, .. } => &key.group_id,
            Self::Pattern { key, .. } => &key.group_id,
        }
    }

    /// Whether it takes something away.
    pub fn is_tombstone(&self) -> bool {
        match self {
            Self::Group { value, .. } => value.is_none(),
            Self::Topics { value, .. } => value.is_none(),
            Self::Member { value, .. } => value.is_none(),
            Self::TargetEpoch { value, .. } => value.is_none(),
            Self::Target { value, .. } => value.is_none(),
            Self::Current { value, .. } => value.is_none(),
            Self::Pattern { value, .. } => value.is_none(),
        }
    }
}

fn optional<V: Versioned>(kind: RecordKind, value: Option<&Bytes>) -> Result<Option<V>, Corrupt> {
    let value = value.map(|value| decode_value(kind.name(), value));
    Ok(value.transpose()?.map(|(value, _)| value))
}

fn written<K: Versioned, V: Versioned>(
    kind: RecordKind,
    key: &K,
    value: &Option<V>,
) -> (Bytes, Option<Bytes>) {
    let value = value
        .as_ref()
        .map(|value| with_number(VALUE_VERSION, value, VALUE_VERSION));
    (with_number(kind as i16, key, 0), value)
}

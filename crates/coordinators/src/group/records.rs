//! Keys and values of `__consumer_offsets`, byte for byte as Kafka writes them.
//!
//! A key is `i16 type` + body, a value `i16 version` + body or absent (a tombstone). Types 1 to 8
//! and 16 are ours to judge. Share and streams groups are not served: their records are checked (a
//! value version nobody knows makes the load fail, as in Kafka) and kept as the bytes they were.

pub mod classic;
pub mod consumer;
mod consumer_record;
pub mod share;
pub mod streams;

use bytes::Bytes;
use ottla_protocol::{Text, Versioned};

pub use crate::entry::Corrupt;
use crate::entry::{decode_key, decode_value, number, with_number};

pub use classic::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, LegacyOffsetCommitValue,
    MemberMetadata, OffsetCommitKey, OffsetCommitValue,
};
pub use consumer_record::ConsumerRecord;

/// The value version Kafka 4.1 and later write for group metadata.
const GROUP_METADATA_VERSION: i16 = 3;
/// The value version Kafka 4.1 and later write for an offset.
const OFFSET_COMMIT_VERSION: i16 = 4;
/// The only value version that has a field for an expiry of its own.
const OFFSET_COMMIT_VERSION_WITH_EXPIRY: i16 = 1;

/// One record of `__consumer_offsets`, as the ledger reads and writes it.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupRecord {
    /// Types 0 and 1: what a group has committed for one partition; a tombstone forgets it.
    OffsetCommit {
        /// Which group and partition.
        key: OffsetCommitKey,
        /// `None` forgets the offset.
        value: Option<OffsetCommitValue>,
    },
    /// Type 2: a classic group's generation; a tombstone deletes the group.
    GroupMetadata {
        /// Which group.
        key: GroupMetadataKey,
        /// `None` deletes the group.
        value: Option<GroupMetadataValue>,
    },
    /// Types 3 to 8 and 16: a group of the consumer protocol.
    Consumer(ConsumerRecord),
    /// The other types that Kafka 4.3 knows.
    Other(OtherRecord),
}

/// A record of a group whose protocol is not served, as it stood in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherRecord {
    /// What it describes.
    pub kind: RecordKind,
    /// The group it belongs to.
    pub group: Text,
    /// Type and key.
    pub key: Bytes,
    /// Version and value; `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// A key whose type nobody knows. Kafka skips such records, and so do we.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownType(pub i16);

macro_rules! kinds {
    ($($name:ident = $id:literal: $key:ty, $value:ty;)*) => {
        /// The record types of Kafka 4.3, by the number that opens a key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        #[allow(missing_docs, reason = "the names are Kafka's")]
        pub enum RecordKind { $($name = $id,)* }

        impl RecordKind {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The type that opens a key, if it is known.
            pub fn from_id(id: i16) -> Result<Self, UnknownType> {
                match id { $($id => Ok(Self::$name),)* other => Err(UnknownType(other)) }
            }

            /// Whether a group of this kind is judged here, not only kept.
            pub fn is_ours(self) -> bool {
                matches!(self as i16, 0..=8 | 16)
            }

            /// Kafka's name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Parse key and value and write them again: proof that nothing in them is unknown.
            pub fn rewrite(self, key: &Bytes, value: Option<&Bytes>) -> Result<(Bytes, Option<Bytes>), Corrupt> {
                match self {
                    $(Self::$name => {
                        let name = stringify!($name);
                        let key_again = with_number($id, &decode_key::<$key>(name, key)?, 0);
                        let value_again = value.map(|value| rewrite_value::<$value>(name, value)).transpose()?;
                        Ok((key_again, value_again))
                    })*
                }
            }

            /// The group that a key of this type names, or why it does not parse.
            fn group_of(self, key: &Bytes) -> Result<Text, Corrupt> {
                match self {
                    $(Self::$name => Ok(decode_key::<$key>(stringify!($name), key)?.group().clone()),)*
                }
            }

            /// Refuses a value that Kafka 4.3 would not load either.
            fn check_value(self, value: &Bytes) -> Result<(), Corrupt> {
                match self {
                    $(Self::$name => decode_value::<$value>(stringify!($name), value).map(|_| ()),)*
                }
            }
        }

        $(impl NamesGroup for $key {
            fn group(&self) -> &Text { &self.group_id }
        })*
    };
}

/// Every key names its group first.
trait NamesGroup {
    fn group(&self) -> &Text;
}

kinds! {
    LegacyOffsetCommit = 0: LegacyOffsetCommitKey, LegacyOffsetCommitValue;
    OffsetCommit = 1: OffsetCommitKey, OffsetCommitValue;
    GroupMetadata = 2: GroupMetadataKey, GroupMetadataValue;
    ConsumerGroupMetadata = 3: consumer::ConsumerGroupMetadataKey, consumer::ConsumerGroupMetadataValue;
    ConsumerGroupPartitionMetadata = 4: consumer::ConsumerGroupPartitionMetadataKey, consumer::ConsumerGroupPartitionMetadataValue;
    ConsumerGroupMemberMetadata = 5: consumer::ConsumerGroupMemberMetadataKey, consumer::ConsumerGroupMemberMetadataValue;
    ConsumerGroupTargetAssignmentMetadata = 6: consumer::ConsumerGroupTargetAssignmentMetadataKey, consumer::ConsumerGroupTargetAssignmentMetadataValue;
    ConsumerGroupTargetAssignmentMember = 7: consumer::ConsumerGroupTargetAssignmentMemberKey, consumer::ConsumerGroupTargetAssignmentMemberValue;
    ConsumerGroupCurrentMemberAssignment = 8: consumer::ConsumerGroupCurrentMemberAssignmentKey, consumer::ConsumerGroupCurrentMemberAssignmentValue;
    ShareGroupMemberMetadata = 10: share::ShareGroupMemberMetadataKey, share::ShareGroupMemberMetadataValue;
    ShareGroupMetadata = 11: share::ShareGroupMetadataKey, share::ShareGroupMetadataValue;
    ShareGroupTargetAssignmentMetadata = 12: share::ShareGroupTargetAssignmentMetadataKey, share::ShareGroupTargetAssignmentMetadataValue;
    ShareGroupTargetAssignmentMember = 13: share::ShareGroupTargetAssignmentMemberKey, share::ShareGroupTargetAssignmentMemberValue;
    ShareGroupCurrentMemberAssignment = 14: share::ShareGroupCurrentMemberAssignmentKey, share::ShareGroupCurrentMemberAssignmentValue;
    ShareGroupStatePartitionMetadata = 15: share::ShareGroupStatePartitionMetadataKey, share::ShareGroupStatePartitionMetadataValue;
    ConsumerGroupRegularExpression = 16: consumer::ConsumerGroupRegularExpressionKey, consumer::ConsumerGroupRegularExpressionValue;
    StreamsGroupMetadata = 17: streams::StreamsGroupMetadataKey, streams::StreamsGroupMetadataValue;
    StreamsGroupMemberMetadata = 19: streams::StreamsGroupMemberMetadataKey, streams::StreamsGroupMemberMetadataValue;
    StreamsGroupTargetAssignmentMetadata = 20: streams::StreamsGroupTargetAssignmentMetadataKey, streams::StreamsGroupTargetAssignmentMetadataValue;
    StreamsGroupTargetAssignmentMember = 21: streams::StreamsGroupTargetAssignmentMemberKey, streams::StreamsGroupTargetAssignmentMemberValue;
    StreamsGroupCurrentMemberAssignment = 22: streams::StreamsGroupCurrentMemberAssignmentKey, streams::StreamsGroupCurrentMemberAssignmentValue;
    StreamsGroupTopology = 23: streams::StreamsGroupTopologyKey, streams::StreamsGroupTopologyValue;
}

impl GroupRecord {
    /// A record of the log; `Ok(Err(..))` for a type that is to be skipped.
    pub fn decode(
        key: &Bytes,
        value: Option<&Bytes>,
    ) -> Result<Result<Self, UnknownType>, Corrupt> {
        let kind = match RecordKind::from_id(number(key, "record key")?) {
            Ok(kind) => kind,
            Err(unknown) => return Ok(Err(unknown)),
        };
        let record = match kind {
            RecordKind::LegacyOffsetCommit => {
                let old: LegacyOffsetCommitKey = decode_key(kind.name(), key)?;
                let value = value.map(|v| decode_value::<LegacyOffsetCommitValue>(kind.name(), v));
                Self::OffsetCommit {
                    key: old.into(),
                    value: value.transpose()?.map(|(value, _)| value.into()),
                }
            }
            RecordKind::OffsetCommit => Self::OffsetCommit {
                key: decode_key(kind.name(), key)?,
                value: value
                    .map(|v| decode_value(kind.name(), v))
                    .transpose()?
                    .map(|(v, _)| v),
            },
            RecordKind::GroupMetadata => Self::GroupMetadata {
                key: decode_key(kind.name(), key)?,
                value: value
                    .map(|v| decode_value(kind.name(), v))
                    .transpose()?
                    .map(|(v, _)| v),
            },
            _ => match ConsumerRecord::decode(kind, key, value)? {
                Some(record) => Self::Consumer(record),
                None => {
                    value.map(|value| kind.check_value(value)).transpose()?;
                    Self::Other(OtherRecord {
                        kind,
                        group: kind.group_of(key)?,
                        key: key.clone(),
                        value: value.cloned(),
                    })
                }
            },
        };
        Ok(Ok(record))
    }

    /// Key and value for the log, in the versions that Kafka 4.3 writes.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Self::OffsetCommit { key, value } => (
                with_number(RecordKind::OffsetCommit as i16, key, 0),
                value.as_ref().map(|value| {
                    let version = if value.expire_timestamp == OffsetCommitValue::NEVER {
                        OFFSET_COMMIT_VERSION
                    } else {
                        OFFSET_COMMIT_VERSION_WITH_EXPIRY
                    };
                    with_number(version, value, version)
                }),
            ),
            Self::GroupMetadata { key, value } => (
                with_number(RecordKind::GroupMetadata as i16, key, 0),
                value.as_ref().map(|value| {
                    with_number(GROUP_METADATA_VERSION, value, GROUP_METADATA_VERSION)
                }),
            ),
            Self::Consumer(record) => record.encode(),
            Self::Other(record) => (record.key.clone(), record.value.clone()),
        }
    }

    /// The group it is about.
    pub fn group(&self) -> &Text {
        match self {
            Self::OffsetCommit { key, .. } => &key.group_id,
            Self::GroupMetadata { key, .. } => &key.group_id,
            Self::Consumer(record) => record.group(),
            Self::Other(record) => &record.group,
        }
    }
}

fn rewrite_value<V: Versioned>(record: &'static str, value: &Bytes) -> Result<Bytes, Corrupt> {
    let (decoded, version) = decode_value::<V>(record, value)?;
    Ok(with_number(version, &decoded, version))
}

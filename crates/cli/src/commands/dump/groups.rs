//! Records of `__consumer_offsets`.

use bytes::Bytes;
use ottla_coordinators::group::records::{
    GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, LegacyOffsetCommitValue,
    OffsetCommitKey, OffsetCommitValue, RecordKind, consumer, share, streams,
};
use ottla_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::{Message, Reader, Versioned, decode_body};
use std::fmt::Debug;

use super::json::Json;
use super::shown;

/// Keys have no versions.
const KEY_VERSION: i16 = 0;
pub(super) const TOMBSTONE: &str = "<DELETE>";

type Shown = (Option<String>, Option<String>);

/// A record that could be read: its type, its key, and its value with the version it is written in.
#[derive(Debug)]
pub(in crate::commands) struct Known {
    pub(in crate::commands) kind: i16,
    pub(in crate::commands) key: Json,
    pub(in crate::commands) value: Option<(i16, Json)>,
}

/// Key and payload, as far as they can be read.
pub(super) fn record(key: Option<&[u8]>, value: Option<&[u8]>, offset: i64) -> Shown {
    let known = match read(key, value) {
        Ok(Some(known)) => known,
        Ok(None) => {
            let number = key.and_then(numbered).map_or(0, |(number, _)| number);
            let why = format!("Unknown record type {number} at offset {offset}, skipping.");
            return (Some(why), None);
        }
        Err(why) => {
            return (
                Some(format!("Error at offset {offset}, skipping. {why}")),
                None,
            );
        }
    };
    let key = Json::object([
        ("type", Json::Text(known.kind.to_string())),
        ("data", known.key),
    ]);
    let value = match known.value {
        None => TOMBSTONE.to_owned(),
        Some((version, mut data)) => {
            open_members(&mut data);
            let version = Json::Text(version.to_string());
            Json::object([("version", version), ("data", data)]).to_string()
        }
    };
    (Some(key.to_string()), Some(value))
}

/// `None` for a type that is not known.
pub(in crate::commands) fn read(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<Option<Known>, String> {
    let (number, key) = key.and_then(numbered).ok_or("it has no key")?;
    let Ok(kind) = RecordKind::from_id(number) else {
        return Ok(None);
    };
    let (key, value) = kinds(kind, key, value)?;
    Ok(Some(Known {
        kind: number,
        key,
        value,
    }))
}

macro_rules! shown_as {
    ($kind:expr, $key:expr, $value:expr, $($variant:ident => $keys:ty, $values:ty;)*) => {
        match $kind {
            $(RecordKind::$variant => both::<$keys, $values>($key, $value),)*
        }
    };
}

type Both = (Json, Option<(i16, Json)>);

fn kinds(kind: RecordKind, key: Bytes, value: Option<&[u8]>) -> Result<Both, String> {
    use consumer::*;
    use share::*;
    use streams::*;
    shown_as! {
        kind, key, value,
        LegacyOffsetCommit => LegacyOffsetCommitKey, LegacyOffsetCommitValue;
        OffsetCommit => OffsetCommitKey, OffsetCommitValue;
        GroupMetadata => GroupMetadataKey, GroupMetadataValue;
        ConsumerGroupMetadata => ConsumerGroupMetadataKey, ConsumerGroupMetadataValue;
        ConsumerGroupPartitionMetadata => ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue;
        ConsumerGroupMemberMetadata => ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue;
        ConsumerGroupTargetAssignmentMetadata => ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue;
        ConsumerGroupTargetAssignmentMember => ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue;
        ConsumerGroupCurrentMemberAssignment => ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue;
        ConsumerGroupRegularExpression => ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue;
        ShareGroupMemberMetadata => ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue;
        ShareGroupMetadata => ShareGroupMetadataKey, ShareGroupMetadataValue;
        ShareGroupTargetAssignmentMetadata => ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue;
        ShareGroupTargetAssignmentMember => ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue;
        ShareGroupCurrentMemberAssignment => ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue;
        ShareGroupStatePartitionMetadata => ShareGroupStatePartitionMetadataKey, ShareGroupStatePartitionMetadataValue;
        StreamsGroupMetadata => StreamsGroupMetadataKey, StreamsGroupMetadataValue;
        StreamsGroupMemberMetadata => StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue;
        StreamsGroupTargetAssignmentMetadata => StreamsGroupTargetAssignmentMetadataKey, StreamsGroupTargetAssignmentMetadataValue;
        StreamsGroupTargetAssignmentMember => StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMemberValue;
        StreamsGroupCurrentMemberAssignment => StreamsGroupCurrentMemberAssignmentKey, StreamsGroupCurrentMemberAssignmentValue;
        StreamsGroupTopology => StreamsGroupTopologyKey, StreamsGroupTopologyValue;
    }
}

fn both<K, V>(key: Bytes, value: Option<&[u8]>) -> Result<Both, String>
where
    K: Versioned + Debug,
    V: Versioned + Debug,
{
    let key: K = decode_body(key, KEY_VERSION).map_err(|malformed| malformed.to_string())?;
    let key = shown::json(&key, KEY_VERSION);
    let Some(value) = value else {
        return Ok((key, None));
    };
    let (version, body) = numbered(value).ok_or("its value has no version")?;
    let value: V = decode_body(body, version).map_err(|malformed| malformed.to_string())?;
    Ok((key, Some((version, shown::json(&value, version)))))
}

/// Members of a group of consumers speak a protocol that we can read.
fn open_members(data: &mut Json) {
    let is_consumers = data
        .field_mut("protocolType")
        .is_some_and(|kind| *kind == Json::Text("consumer".to_owned()));
    let Some(Json::List(members)) = data.field_mut("members").filter(|_| is_consumers) else {
        return;
    };
    for member in members {
        open::<ConsumerProtocolSubscription>(member.field_mut("subscription"));
        open::<ConsumerProtocolAssignment>(member.field_mut("assignment"));
    }
}

/// Bytes that cannot be read stay as they are.
fn open<M: Versioned + Debug>(field: Option<&mut Json>) {
    let Some(field) = field else {
        return;
    };
    if let Json::Bytes(bytes) = &*field
        && let Some(json) = opened::<M>(bytes)
    {
        *field = json;
    }
}

fn opened<M: Versioned + Debug>(bytes: &[u8]) -> Option<Json> {
    let (version, body) = numbered(bytes)?;
    let mut reader = Reader::new(body);
    let known = version.clamp(M::VERSIONS.0, M::VERSIONS.1);
    let message = <M as Message>::decode(&mut reader, M::version(known)).ok()?;
    Some(shown::json(&message, known))
}

/// A number of two bytes, and what follows it.
fn numbered(bytes: &[u8]) -> Option<(i16, Bytes)> {
    let (number, rest) = bytes.split_first_chunk::<2>()?;
    Some((i16::from_be_bytes(*number), Bytes::copy_from_slice(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_coordinators::group::records::GroupRecord;
    use ottla_protocol::Text;

    #[test]
    fn offsets_are_shown_with_type_and_version() {
        let committed = GroupRecord::OffsetCommit {
            key: OffsetCommitKey {
                group_id: Text::from_static("g"),
                topic: Text::from_static("t"),
                partition: 1,
            },
            value: None,
        };
        let (key, value) = committed.encode();
        let (key, value) = record(Some(&key), value.as_deref(), 7);
        assert_eq!(
            key.as_deref(),
            Some("{\"type\":\"1\",\"data\":{\"group\":\"g\",\"topic\":\"t\",\"partition\":1}}")
        );
        assert_eq!(value.as_deref(), Some("<DELETE>"));
    }

    #[test]
    fn what_is_unknown_is_passed_over() {
        let (key, value) = record(Some(&[0, 99]), None, 7);
        assert_eq!(
            key.as_deref(),
            Some("Unknown record type 99 at offset 7, skipping.")
        );
        assert_eq!(value, None);
        let (key, _) = record(None, None, 7);
        assert_eq!(
            key.as_deref(),
            Some("Error at offset 7, skipping. it has no key")
        );
    }
}

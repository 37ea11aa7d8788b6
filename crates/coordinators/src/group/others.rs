//! Groups of the newest protocols (share, streams) that stand in the log.
//!
//! They are not served: nobody can join them here. Their records are kept as they are, so that
//! the groups can be named, their offsets read, and nothing is lost for a broker that does serve
//! them. An empty one can be deleted, or taken over by the classic protocol, as in Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::Text;

use super::records::{GroupRecord, OtherRecord, RecordKind};

/// Which protocol a group speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum OtherKind {
    Share,
    Streams,
}

impl OtherKind {
    /// Kafka's name of the group type in listings, which is the name of the protocol type, too.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Streams => "streams",
        }
    }

    fn of(kind: RecordKind) -> Self {
        match kind as i16 {
            17.. => Self::Streams,
            _ => Self::Share,
        }
    }
}

/// The records of one group, the newest of each key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OtherGroup {
    pub(crate) kind: OtherKind,
    records: BTreeMap<(DeletionOrder, Bytes), (RecordKind, Bytes)>,
}

/// Kafka's loader accepts tombstones in this order only: what members have, members, then the
/// group (interop-spec 9.2).
type DeletionOrder = u8;

fn deletion_order(kind: RecordKind) -> DeletionOrder {
    use RecordKind::*;
    match kind {
        ShareGroupCurrentMemberAssignment | StreamsGroupCurrentMemberAssignment => 0,
        ShareGroupTargetAssignmentMember | StreamsGroupTargetAssignmentMember => 1,
        ShareGroupMemberMetadata | StreamsGroupMemberMetadata => 2,
        ShareGroupTargetAssignmentMetadata | StreamsGroupTargetAssignmentMetadata => 3,
        ShareGroupStatePartitionMetadata | StreamsGroupTopology => 4,
        _ => 5,
    }
}

impl OtherGroup {
    /// Whether it has no members.
    pub(crate) fn is_empty(&self) -> bool {
        !self
            .records
            .values()
            .any(|(kind, _)| deletion_order(*kind) == 2)
    }

    /// Kafka's name of its state, as far as it can be told without serving it: members that cannot
    /// be reached are in whatever assignment they were last given.
    pub(crate) fn state(&self) -> &'static str {
        if self.is_empty() { "Empty" } else { "Stable" }
    }

    /// Tombstones for all its records, in the order that Kafka can load.
    pub(crate) fn tombstones(&self, group: &str) -> Vec<GroupRecord> {
        let tombstone = |((_, key), (kind, _)): (&(DeletionOrder, Bytes), &(RecordKind, Bytes))| {
            GroupRecord::Other(OtherRecord {
                kind: *kind,
                group: Text::from(group),
                key: key.clone(),
                value: None,
            })
        };
        self.records.iter().map(tombstone).collect()
    }
}

/// Keeps one record, or forgets it.
pub(crate) fn replay(groups: &mut BTreeMap<Arc<str>, OtherGroup>, record: &OtherRecord) {
    let order = deletion_order(record.kind);
    let Some(value) = &record.value else {
        if let Some(group) = groups.get_mut(&*record.group) {
            group.records.remove(&(order, record.key.clone()));
            if group.records.is_empty() {
                groups.remove(&*record.group);
            }
        }
        return;
    };
    let kind = OtherKind::of(record.kind);
    let group = groups
        .entry((*record.group).into())
        .or_insert_with(|| OtherGroup {
            kind,
            records: BTreeMap::new(),
        });
    group.kind = kind;
    // Copied: the slices would keep the whole batch alive.
    let key = Bytes::copy_from_slice(&record.key);
    group
        .records
        .insert((order, key), (record.kind, Bytes::copy_from_slice(value)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: RecordKind, key: &'static [u8], value: Option<&'static [u8]>) -> OtherRecord {
        OtherRecord {
            kind,
            group: Text::from_static("g"),
            key: Bytes::from_static(key),
            value: value.map(Bytes::from_static),
        }
    }

    #[test]
    fn a_group_lives_as_long_as_its_records() {
        let mut groups = BTreeMap::new();
        replay(
            &mut groups,
            &record(RecordKind::StreamsGroupMetadata, b"3g", Some(b"v")),
        );
        assert_eq!(groups["g"].state(), "Empty");
        replay(
            &mut groups,
            &record(RecordKind::StreamsGroupMemberMetadata, b"5gm", Some(b"v")),
        );
        assert_eq!(
            (groups["g"].state(), groups["g"].is_empty()),
            ("Stable", false)
        );
        replay(
            &mut groups,
            &record(RecordKind::StreamsGroupMemberMetadata, b"5gm", None),
        );
        replay(
            &mut groups,
            &record(RecordKind::StreamsGroupMetadata, b"3g", None),
        );
        replay(
            &mut groups,
            &record(RecordKind::StreamsGroupMetadata, b"3g", None),
        );
        assert!(groups.is_empty());
    }

    #[test]
    fn tombstones_go_from_the_leaves_to_the_root() {
        let mut groups = BTreeMap::new();
        for (kind, key) in [
            (RecordKind::StreamsGroupMetadata, b"3"),
            (RecordKind::StreamsGroupMemberMetadata, b"5"),
            (RecordKind::StreamsGroupTargetAssignmentMetadata, b"6"),
            (RecordKind::StreamsGroupTargetAssignmentMember, b"7"),
            (RecordKind::StreamsGroupCurrentMemberAssignment, b"8"),
        ] {
            replay(&mut groups, &record(kind, key, Some(b"v")));
        }
        let keys: Vec<Bytes> = groups["g"]
            .tombstones("g")
            .iter()
            .map(|record| record.encode().0)
            .collect();
        assert_eq!(keys, ["8", "7", "5", "6", "3"].map(Bytes::from));
    }

    #[test]
    fn kinds_follow_the_record_types() {
        let others = RecordKind::ALL.iter().filter(|kind| !kind.is_ours());
        for kind in others {
            assert!(
                kind.name()
                    .to_lowercase()
                    .starts_with(OtherKind::of(*kind).type_name()),
                "{kind:?}"
            );
        }
    }
}

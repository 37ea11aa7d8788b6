//! A group as it was before records that are foreseen: what they change, and how to undo it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ConsumerGroup, Member, Resolved};
use crate::group::assign::Partitions;
use crate::group::records::ConsumerRecord;

/// Of members, targets and patterns those that have been changed since; `None` for what was not
/// there.
#[derive(Debug)]
pub(in crate::group) struct Former {
    epoch: i32,
    metadata_hash: i64,
    target_epoch: i32,
    target_at_ms: i64,
    has_topics_record: bool,
    members: BTreeMap<Arc<str>, Option<Member>>,
    targets: BTreeMap<Arc<str>, Option<Partitions>>,
    resolved: BTreeMap<Arc<str>, Option<Resolved>>,
}

impl Former {
    /// Remembers what a record is about to change.
    fn keep(&mut self, group: &ConsumerGroup, record: &ConsumerRecord) {
        match record {
            ConsumerRecord::Member { key, value } => {
                remember(&mut self.members, &key.member_id, &group.members);
                if value.is_none() {
                    remember(&mut self.targets, &key.member_id, &group.target);
                }
            }
            ConsumerRecord::Current { key, .. } => {
                remember(&mut self.members, &key.member_id, &group.members);
            }
            ConsumerRecord::Target { key, .. } => {
                remember(&mut self.targets, &key.member_id, &group.target);
            }
            ConsumerRecord::Pattern { key, .. } => {
                remember(&mut self.resolved, &key.regular_expression, &group.resolved);
            }
            ConsumerRecord::Group { .. }
            | ConsumerRecord::Topics { .. }
            | ConsumerRecord::TargetEpoch { .. } => {}
        }
    }
}

/// The first time only: later it is not what it was.
fn remember<T: Clone>(
    former: &mut BTreeMap<Arc<str>, Option<T>>,
    key: &str,
    all: &BTreeMap<Arc<str>, T>,
) {
    if former.contains_key(key) {
        return;
    }
    let known = all.get_key_value(key);
    let id = known.map_or_else(|| key.into(), |(id, _)| id.clone());
    former.insert(id, known.map(|(_, it)| it.clone()));
}

impl ConsumerGroup {
    pub(in crate::group) fn has_classic_members(&self) -> bool {
        self.members.values().any(Member::speaks_classic)
    }

    /// As it is now.
    pub(in crate::group) fn former(&self) -> Former {
        Former {
            epoch: self.epoch,
            metadata_hash: self.metadata_hash,
            target_epoch: self.target_epoch,
            target_at_ms: self.target_at_ms,
            has_topics_record: self.has_topics_record,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            resolved: BTreeMap::new(),
        }
    }

    /// Takes in a record that may not come to be.
    pub(in crate::group) fn foresee(&mut self, record: &ConsumerRecord, former: &mut Former) {
        former.keep(self, record);
        self.replay(record);
    }

    /// Makes it what it was.
    pub(in crate::group) fn restore(&mut self, former: Former) {
        self.epoch = former.epoch;
        self.metadata_hash = former.metadata_hash;
        self.target_epoch = former.target_epoch;
        self.target_at_ms = former.target_at_ms;
        self.has_topics_record = former.has_topics_record;
        // All go before any comes back: an instance may have passed from one to another.
        for id in former.members.keys() {
            self.take(id);
        }
        for member in former.members.into_values().flatten() {
            self.put(member);
        }
        for (id, target) in former.targets {
            match target {
                Some(target) => self.target.insert(id, target),
                None => self.target.remove(&id),
            };
        }
        for (pattern, resolved) in former.resolved {
            self.resolve(&pattern, resolved);
        }
        // What was looked at since has come to nothing.
        self.abandoned();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ottla_protocol::Uuid;

    use super::super::member::Held;
    use super::*;
    use crate::group::records::GroupRecord;

    const TOPIC: Uuid = Uuid::from_u128(7);

    /// Two members: one has a pattern and partitions, the other is static and has nothing.
    fn group() -> ConsumerGroup {
        let mut group = ConsumerGroup::new("g".into());
        let mut first = Member::new("a".into());
        first.topics = Arc::new(BTreeSet::from(["t".into()]));
        first.pattern = Some("p.*".into());
        first.assigned = Held::from([(TOPIC, [(1, 2)].into())]);
        let mut second = Member::new("b".into());
        second.instance = Some("i".into());
        let target = Partitions::from([(TOPIC, [1, 2].into())]);
        let records = [
            group.member_record(&first),
            group.member_record(&second),
            group.epoch_record(3, 9),
            group.target_record("a", &target),
            group.target_epoch_record(Some((3, 5))),
            group.current_record(&first),
            group.current_record(&second),
        ];
        take_in(&mut group, &records, None);
        group.validate();
        group
    }

    fn take_in(
        group: &mut ConsumerGroup,
        records: &[GroupRecord],
        mut former: Option<&mut Former>,
    ) {
        for record in records {
            let GroupRecord::Consumer(record) = record else {
                panic!("{record:?} is of another protocol");
            };
            match &mut former {
                Some(former) => group.foresee(record, former),
                None => group.replay(record),
            }
        }
    }

    /// The static one is back under another id, the other has changed its mind and is gone.
    fn changes(group: &ConsumerGroup) -> Vec<GroupRecord> {
        let (first, second) = (&group.members["a"], &group.members["b"]);
        let mut moved = first.clone();
        moved.pattern = Some("".into());
        let heir = Member {
            id: "0".into(),
            assigned: first.assigned.clone(),
            ..second.clone()
        };
        let found = Resolved {
            topics: BTreeSet::from(["pp".into()]),
            version: 1,
            at_ms: 2,
        };
        let mut records = vec![
            group.pattern_record(&"p.*".into(), Some(&found)),
            group.member_record(&moved),
            group.current_record(&moved),
            group.epoch_record(4, 10),
            group.target_record("a", &Partitions::new()),
            group.target_record("0", &Partitions::new()),
            group.target_epoch_record(None),
        ];
        records.extend(group.member_tombstones("b"));
        records.extend(group.member_tombstones("a"));
        records.push(group.member_record(&heir));
        records.push(group.current_record(&heir));
        records
    }

    #[test]
    fn what_was_foreseen_can_be_undone() {
        let mut group = group();
        let before = format!("{:?}", group.durable());
        let mut former = group.former();
        let changes = changes(&group);
        take_in(&mut group, &changes, Some(&mut former));
        group.validate();
        assert_eq!(group.static_member("i").map(|it| &*it.id), Some("0"));
        assert_eq!((group.members.len(), group.epochs()), (1, (4, -1)));
        group.restore(former);
        group.validate();
        assert_eq!(format!("{:?}", group.durable()), before);
    }

    #[test]
    fn half_of_it_can_be_undone_too() {
        let before = format!("{:?}", group().durable());
        let changes = changes(&group());
        for n in 0..changes.len() {
            let mut group = group();
            let mut former = group.former();
            take_in(&mut group, &changes[..n], Some(&mut former));
            group.restore(former);
            group.validate();
            assert_eq!(format!("{:?}", group.durable()), before, "{n} records");
        }
    }
}

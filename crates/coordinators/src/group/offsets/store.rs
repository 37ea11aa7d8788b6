//! What groups have committed, and what open transactions may still commit for them.
//!
//! Everything is exactly what the replayed records say. `open` indexes `pending` the other way
//! round: a group's partition is in it if and only if some producer has a pending offset for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::{Offset, ProducerId, Uuid};

use crate::group::records::{OffsetCommitKey, OffsetCommitValue};

/// Something of one group, by topic and partition.
type ByPartition<V> = BTreeMap<Arc<str>, BTreeMap<i32, V>>;
/// Something by group, topic and partition.
type ByGroup<V> = BTreeMap<Arc<str>, ByPartition<V>>;
/// What one group has committed.
pub(crate) type GroupOffsets = ByPartition<Committed>;

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Box<str>,
    pub(crate) commit_ms: i64,
    /// An expiry of its own, which old clients could ask for.
    pub(crate) expire_ms: Option<i64>,
    /// Zero in records before Kafka 4.1.
    pub(crate) topic_id: Uuid,
    /// Where its record stands: of a plain and a transactional commit, the later one counts.
    record_offset: Offset,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct OffsetStore {
    committed: ByGroup<Committed>,
    pending: BTreeMap<ProducerId, ByGroup<Committed>>,
    open: ByGroup<BTreeSet<ProducerId>>,
    n_committed: usize,
}

impl OffsetStore {
    /// How many offsets are committed, over all groups.
    pub(crate) fn len(&self) -> usize {
        self.n_committed
    }

    pub(crate) fn of_group(&self, group: &str) -> Option<&GroupOffsets> {
        self.committed.get(group)
    }

    pub(crate) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&Committed> {
        self.committed.get(group)?.get(topic)?.get(&partition)
    }

    /// Whether an open transaction may still change this offset.
    pub(crate) fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        let partitions = self.open.get(group).and_then(|topics| topics.get(topic));
        partitions.is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// Whether an open transaction may still change any offset of the group.
    pub(crate) fn has_pending(&self, group: &str) -> bool {
        self.open.contains_key(group)
    }

    /// The partitions of a group that open transactions have offsets for.
    pub(crate) fn pending_of(&self, group: &str) -> impl Iterator<Item = (&Arc<str>, i32)> {
        let topics = self.open.get(group).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| partitions.keys().map(move |p| (topic, *p)))
    }

    /// Every partition of this topic that is committed or pending in any group, with the topic id
    /// it was committed under.
    pub(crate) fn of_topic(&self, topic: &str) -> BTreeSet<(Arc<str>, i32, Uuid)> {
        let pending = self.pending.values().flatten();
        let all = self.committed.iter().chain(pending);
        all.filter_map(|(group, topics)| Some((group, topics.get(topic)?)))
            .flat_map(|(group, partitions)| {
                partitions
                    .iter()
                    .map(|(p, committed)| (group.clone(), *p, committed.topic_id))
            })
            .collect()
    }

    /// A commit record that belongs to no transaction.
    pub(crate) fn commit(&mut self, at: Offset, key: &OffsetCommitKey, value: &OffsetCommitValue) {
        let group = entry(&mut self.committed, &key.group_id);
        let before = entry(group, &key.topic).insert(key.partition, Committed::new(at, value));
        self.n_committed += usize::from(before.is_none());
    }

    /// A commit record inside a producer's transaction.
    pub(crate) fn commit_later(
        &mut self,
        at: Offset,
        producer: ProducerId,
        key: &OffsetCommitKey,
        value: &OffsetCommitValue,
    ) {
        let groups = self.pending.entry(producer).or_default();
        let topics = entry(groups, &key.group_id);
        entry(topics, &key.topic).insert(key.partition, Committed::new(at, value));
        let topics = entry(&mut self.open, &key.group_id);
        let partitions = entry(topics, &key.topic);
        partitions
            .entry(key.partition)
            .or_default()
            .insert(producer);
    }

    /// A tombstone: the offset is gone, and so is what transactions would have made of it.
    pub(crate) fn forget(&mut self, key: &OffsetCommitKey) {
        let (group, topic, partition) = (&*key.group_id, &*key.topic, key.partition);
        if remove(&mut self.committed, group, topic, partition).is_some() {
            self.n_committed -= 1;
        }
        for producer in remove(&mut self.open, group, topic, partition).unwrap_or_default() {
            // A transaction whose offsets were all forgotten stays known: its marker is still due.
            if let Some(groups) = self.pending.get_mut(&producer) {
                remove(groups, group, topic, partition);
            }
        }
    }

    /// The producer's transaction ends here; the groups that it had offsets of.
    pub(crate) fn end_transaction(
        &mut self,
        producer: ProducerId,
        committed: bool,
    ) -> Vec<Arc<str>> {
        let mut touched = Vec::new();
        for (group, topics) in self.pending.remove(&producer).unwrap_or_default() {
            for (topic, partitions) in topics {
                for (partition, offset) in partitions {
                    self.close(producer, &group, &topic, partition);
                    if committed {
                        self.settle(&group, &topic, partition, offset);
                    }
                }
            }
            touched.push(group);
        }
        touched
    }

    fn close(&mut self, producer: ProducerId, group: &str, topic: &str, partition: i32) {
        let topics = self
            .open
            .get_mut(group)
            .and_then(|topics| topics.get_mut(topic));
        let Some(producers) = topics.and_then(|partitions| partitions.get_mut(&partition)) else {
            return;
        };
        producers.remove(&producer);
        if producers.is_empty() {
            remove(&mut self.open, group, topic, partition);
        }
    }

    /// Compaction may have moved a plain commit before the transactional one that it overtook, so
    /// places in the log decide, not the order of replay.
    fn settle(&mut self, group: &Arc<str>, topic: &Arc<str>, partition: i32, offset: Committed) {
        let topics = self.committed.entry(group.clone()).or_default();
        let partitions = topics.entry(topic.clone()).or_default();
        match partitions.get(&partition) {
            Some(newer) if newer.record_offset >= offset.record_offset => {}
            before => {
                self.n_committed += usize::from(before.is_none());
                partitions.insert(partition, offset);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn validate(&self) {
        let count = self
            .committed
            .values()
            .flat_map(BTreeMap::values)
            .map(BTreeMap::len)
            .sum();
        assert_eq!(self.n_committed, count, "offsets are counted once");
        let mut open = BTreeSet::new();
        for (producer, groups) in &self.pending {
            for (group, topics) in groups {
                for (topic, partitions) in topics {
                    for partition in partitions.keys() {
                        open.insert((group.clone(), topic.clone(), *partition, *producer));
                    }
                }
            }
        }
        let indexed = self.open.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                partitions.iter().flat_map(move |(partition, producers)| {
                    assert!(!producers.is_empty(), "no empty sets are left behind");
                    let one = |p: &ProducerId| (group.clone(), topic.clone(), *partition, *p);
                    producers.iter().map(one).collect::<Vec<_>>()
                })
            })
        });
        assert_eq!(
            indexed.collect::<BTreeSet<_>>(),
            open,
            "open mirrors pending"
        );
    }
}

impl Committed {
    fn new(record_offset: Offset, value: &OffsetCommitValue) -> Self {
        let expires = value.expire_timestamp != OffsetCommitValue::NEVER;
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: (*value.metadata).into(),
            commit_ms: value.commit_timestamp,
            expire_ms: expires.then_some(value.expire_timestamp),
            topic_id: value.topic_id,
            record_offset,
        }
    }
}

/// Names are copied out of the frame only where they are new.
fn entry<'a, V: Default>(map: &'a mut BTreeMap<Arc<str>, V>, name: &str) -> &'a mut V {
    let known = map.get_key_value(name).map(|(known, _)| known.clone());
    map.entry(known.unwrap_or_else(|| name.into())).or_default()
}

/// Removes one leaf and the branches that it leaves empty.
fn remove<V>(groups: &mut ByGroup<V>, group: &str, topic: &str, partition: i32) -> Option<V> {
    let topics = groups.get_mut(group)?;
    let partitions = topics.get_mut(topic)?;
    let removed = partitions.remove(&partition)?;
    if partitions.is_empty() {
        topics.remove(topic);
    }
    if topics.is_empty() {
        groups.remove(group);
    }
    Some(removed)
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Text;

    use super::*;

    fn key(partition: i32) -> OffsetCommitKey {
        let text = Text::from_static;
        OffsetCommitKey {
            group_id: text("g"),
            topic: text("t"),
            partition,
        }
    }

    fn value(offset: i64) -> OffsetCommitValue {
        OffsetCommitValue {
            offset,
            ..OffsetCommitValue::default()
        }
    }

    fn offset(store: &OffsetStore, partition: i32) -> Option<i64> {
        store.validate();
        store
            .get("g", "t", partition)
            .map(|committed| committed.offset)
    }

    #[test]
    fn a_plain_commit_counts_at_once_and_a_tombstone_forgets_it() {
        let mut store = OffsetStore::default();
        store.commit(0, &key(0), &value(5));
        store.commit(1, &key(0), &value(6));
        assert_eq!((offset(&store, 0), store.len()), (Some(6), 1));
        store.forget(&key(0));
        assert_eq!((offset(&store, 0), store.len()), (None, 0));
        assert!(store.of_group("g").is_none());
    }

    #[test]
    fn a_transactional_commit_counts_with_its_marker() {
        let mut store = OffsetStore::default();
        store.commit_later(0, 9, &key(0), &value(5));
        assert!(store.is_pending("g", "t", 0) && store.has_pending("g"));
        assert_eq!(offset(&store, 0), None);
        store.end_transaction(9, true);
        assert_eq!(offset(&store, 0), Some(5));
        assert!(!store.is_pending("g", "t", 0) && !store.has_pending("g"));

        store.commit_later(1, 9, &key(0), &value(7));
        store.end_transaction(9, false);
        assert_eq!(offset(&store, 0), Some(5));
    }

    #[test]
    fn of_two_commits_the_later_record_wins() {
        let mut store = OffsetStore::default();
        store.commit_later(0, 9, &key(0), &value(5));
        store.commit(1, &key(0), &value(6));
        store.end_transaction(9, true);
        assert_eq!(offset(&store, 0), Some(6));
    }

    #[test]
    fn a_tombstone_takes_pending_offsets_with_it() {
        let mut store = OffsetStore::default();
        store.commit_later(0, 9, &key(0), &value(5));
        store.commit_later(1, 8, &key(0), &value(5));
        store.commit_later(2, 8, &key(1), &value(5));
        store.forget(&key(0));
        store.validate();
        assert!(!store.is_pending("g", "t", 0));
        store.end_transaction(9, true);
        store.end_transaction(8, true);
        assert_eq!((offset(&store, 0), offset(&store, 1)), (None, Some(5)));
    }

    #[test]
    fn two_producers_hold_one_offset_until_both_are_done() {
        let mut store = OffsetStore::default();
        store.commit_later(0, 9, &key(0), &value(5));
        store.commit_later(1, 8, &key(0), &value(6));
        store.end_transaction(8, true);
        assert!(store.is_pending("g", "t", 0));
        store.end_transaction(9, true);
        assert_eq!(
            offset(&store, 0),
            Some(6),
            "the later record wins, not the later marker"
        );
    }

    #[test]
    fn a_topic_is_found_in_every_group() {
        let mut store = OffsetStore::default();
        store.commit(0, &key(0), &value(5));
        store.commit_later(1, 8, &key(1), &value(5));
        let found: Vec<i32> = store.of_topic("t").into_iter().map(|(_, p, _)| p).collect();
        assert_eq!(found, [0, 1]);
        assert!(store.of_topic("u").is_empty());
    }
}

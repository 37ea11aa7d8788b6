//! What was promised to whom: kept by the world, from what it hears and sees, without asking any
//! ledger or log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_coordinators::txn::{TransactionState, TxnRecord};
use ottla_protocol::{Offset, ProducerEpoch, ProducerId};

use super::place::place_of;

/// How a transaction ended, as far as its producer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Unknown,
    Committed,
    Aborted,
}

/// One transaction of one process.
#[derive(Debug)]
pub(super) struct Story {
    /// Whose: the transactional id, and the partition of the source.
    pub(super) id: usize,
    /// What of the source it has read; nothing if it only writes.
    pub(super) read: std::ops::Range<i64>,
    /// What it has written or wanted to: places and values.
    pub(super) writes: Vec<(usize, String)>,
    /// A commit was asked for: from here on it may be committed.
    pub(super) is_asked: bool,
    pub(super) fate: Fate,
}

/// The latest record of a transactional id.
#[derive(Debug, Clone)]
pub(super) struct Saved {
    pub(super) offset: Offset,
    pub(super) record: TxnRecord,
    /// When it was written, in moments.
    moment: u64,
}

/// The end of a transaction in one partition.
#[derive(Debug, Clone, Copy)]
struct Mark {
    moment: u64,
    offset: Offset,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) stories: Vec<Story>,
    pub(super) saved: BTreeMap<Arc<str>, Saved>,
    /// By producer, epoch, outcome and place.
    marks: BTreeMap<(ProducerId, ProducerEpoch, bool, usize), Vec<Mark>>,
    /// Who was told to use which producer id in which epoch.
    granted: BTreeMap<(ProducerId, ProducerEpoch), usize>,
    /// To which transactional id a producer id belongs.
    owners: BTreeMap<ProducerId, Arc<str>>,
    moments: u64,
}

impl Book {
    pub(super) fn begin(
        &mut self,
        id: usize,
        read: std::ops::Range<i64>,
        writes: Vec<(usize, String)>,
    ) {
        self.stories.push(Story {
            id,
            read,
            writes,
            is_asked: false,
            fate: Fate::Unknown,
        });
    }

    /// A producer is told to use this; whether nobody else was.
    pub(super) fn granted(&mut self, producer: (ProducerId, ProducerEpoch), client: usize) -> bool {
        *self.granted.entry(producer).or_insert(client) == client
    }

    /// A record of `__transaction_state` has been appended; which step this is. `is_there` says
    /// whether an offset of a place is committed.
    pub(super) fn wrote(
        &mut self,
        offset: Offset,
        record: &TxnRecord,
        is_there: impl Fn(usize, Offset) -> bool,
    ) -> (&'static str, &'static str) {
        self.moments += 1;
        let id = &record.transactional_id;
        let former = self.saved.get(id);
        let from = former.map_or("none", |former| state_of(former).name());
        let Some(next) = &record.transaction else {
            let former = former.expect("a tombstone forgets something");
            assert!(
                state_of(former).may_expire(),
                "forgotten while {:?}",
                state_of(former)
            );
            self.saved.remove(id);
            return (from, "none");
        };
        match former {
            None => assert_eq!(next.state, TransactionState::Empty, "{id} begins so"),
            Some(former) => {
                assert!(
                    next.state.may_follow(state_of(former)),
                    "{id}: {:?} after {:?}",
                    next.state,
                    state_of(former)
                );
                self.check_complete(former, next.state, is_there);
            }
        }
        let owner = self.owners.entry(next.producer_id);
        let owner = owner.or_insert_with(|| id.clone());
        assert_eq!(&*owner, id, "producer {} changes hands", next.producer_id);
        let to = next.state.name();
        let saved = Saved {
            offset,
            record: record.clone(),
            moment: self.moments,
        };
        self.saved.insert(id.clone(), saved);
        (from, to)
    }

    /// A transaction is complete when each of its partitions has its marker, and keeps it.
    fn check_complete(
        &self,
        former: &Saved,
        to: TransactionState,
        is_there: impl Fn(usize, Offset) -> bool,
    ) {
        let is_commit = match to {
            TransactionState::CompleteCommit => true,
            TransactionState::CompleteAbort => false,
            _ => return,
        };
        let Some(prepared) = &former.record.transaction else {
            return;
        };
        for (topic, index) in prepared.partitions.iter() {
            let place = place_of(topic, index);
            let key = (prepared.producer_id, prepared.epoch, is_commit, place);
            let marks = self.marks.get(&key);
            // Of one that was sent again the first counts.
            let is_marked = marks
                .into_iter()
                .flatten()
                .any(|mark| mark.moment > former.moment && is_there(place, mark.offset));
            assert!(
                is_marked,
                "{to:?} of {key:?}, prepared at {}, and its markers are {marks:?}",
                former.moment
            );
        }
    }

    /// A marker has been appended.
    pub(super) fn marked(
        &mut self,
        producer: (ProducerId, ProducerEpoch),
        is_commit: bool,
        place: usize,
        offset: Offset,
    ) {
        self.moments += 1;
        let mark = Mark {
            moment: self.moments,
            offset,
        };
        let key = (producer.0, producer.1, is_commit, place);
        self.marks.entry(key).or_default().push(mark);
    }

    /// Somebody has read `__transaction_state` anew: these are the latest records, with their
    /// offsets. What lies below `promised` was committed, and must be there.
    pub(super) fn reloaded(
        &mut self,
        latest: &BTreeMap<Arc<str>, (Offset, TxnRecord)>,
        promised: Offset,
    ) {
        for (id, saved) in &self.saved {
            if saved.offset >= promised {
                continue;
            }
            let Some((offset, record)) = latest.get(id) else {
                panic!(
                    "{id} is gone, and its record at {} was committed",
                    saved.offset
                );
            };
            assert!(
                *offset >= saved.offset,
                "{id} is older than what was committed"
            );
            if *offset == saved.offset {
                assert_eq!(record.encode(), saved.record.encode(), "{id} at {offset}");
            }
        }
        // A step that was taken and lost is taken anew, perhaps another: what was known of markers
        // stays true, since they count from the record on that is there.
        let known = std::mem::take(&mut self.saved);
        for (id, (offset, record)) in latest {
            if record.transaction.is_none() {
                continue;
            }
            let moment = known
                .get(id)
                .filter(|known| known.offset == *offset)
                .map_or(self.moments, |known| known.moment);
            let saved = Saved {
                offset: *offset,
                record: record.clone(),
                moment,
            };
            self.saved.insert(id.clone(), saved);
        }
    }

    /// Ids that are in the midst of something.
    pub(super) fn unfinished(&self) -> Vec<String> {
        let saved = self.saved.iter();
        saved
            .filter(|(_, saved)| !state_of(saved).may_expire())
            .map(|(id, saved)| format!("{id}: {:?}", saved.record.transaction))
            .collect()
    }

    /// What readers of committed records were given, by place, and how far the group has come with
    /// each partition of its source: each committed transaction once and whole, no other.
    pub(super) fn check(&self, seen: &[(usize, Vec<String>)], committed: &[i64]) {
        let visible = self.visible(seen);
        let mut reads: BTreeMap<usize, BTreeMap<i64, i64>> = BTreeMap::new();
        for (label, story) in self.stories.iter().enumerate() {
            let is_visible = visible.contains(&label);
            match story.fate {
                Fate::Committed => assert!(
                    is_visible,
                    "{label} is committed, and nobody sees it: {story:?}"
                ),
                Fate::Aborted => assert!(!is_visible, "{label} is aborted, and seen: {story:?}"),
                Fate::Unknown => assert!(
                    !is_visible || story.is_asked,
                    "nobody asked for {label} to be committed: {story:?}"
                ),
            }
            if is_visible && !story.read.is_empty() {
                let reads = reads.entry(story.id).or_default();
                let before = reads.insert(story.read.start, story.read.end);
                assert!(
                    before.is_none(),
                    "what {story:?} has read was read and committed before"
                );
            }
        }
        for (id, committed) in committed.iter().enumerate() {
            let mut at = 0;
            for (start, end) in reads.remove(&id).unwrap_or_default() {
                assert_eq!(start, at, "source {id}: read twice, or not at all");
                at = end;
            }
            assert_eq!(
                at,
                (*committed).max(0),
                "source {id}: outputs and offsets of its transactions differ"
            );
        }
    }

    /// The transactions that are seen, each of them whole, once, and in order.
    fn visible(&self, seen: &[(usize, Vec<String>)]) -> BTreeSet<usize> {
        let mut found: BTreeMap<usize, Vec<(usize, &str)>> = BTreeMap::new();
        for (place, values) in seen {
            let mut furthest: BTreeMap<&str, i64> = BTreeMap::new();
            for value in values {
                let mut parts = value.split(':');
                let label = parts.next().and_then(|part| part.parse().ok());
                let Some(label) = label else {
                    continue; // Of no transaction.
                };
                found.entry(label).or_default().push((*place, &**value));
                let (source, n) = (parts.next(), parts.next().and_then(|n| n.parse().ok()));
                if let (Some(source), Some(n)) = (source.filter(|source| *source != "-"), n) {
                    let before = furthest.insert(source, n);
                    assert!(
                        before.is_none_or(|before| before < n),
                        "place {place}: {value} after {before:?}"
                    );
                }
            }
        }
        for (label, mut found) in found.iter().map(|(label, found)| (label, found.clone())) {
            let story = &self.stories[*label];
            let writes = story.writes.iter();
            let mut wanted: Vec<(usize, &str)> =
                writes.map(|(place, value)| (*place, &**value)).collect();
            wanted.sort_unstable();
            found.sort_unstable();
            assert_eq!(
                found, wanted,
                "{label} is not seen whole and once: {story:?}"
            );
        }
        found.into_keys().collect()
    }
}

fn state_of(saved: &Saved) -> TransactionState {
    let transaction = saved.record.transaction.as_ref();
    transaction.map_or(TransactionState::Dead, |transaction| transaction.state)
}

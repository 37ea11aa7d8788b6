//! What a log must hold, kept the simple way: all batches ever appended, one behind the other.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::rc::Rc;

use bytes::Bytes;
use ottla_protocol::batch::{Batch, OPENED_BYTES_MAX};
use ottla_protocol::batch_builder::EndMarker;
use ottla_protocol::epochs::{EpochCache, EpochStart};
use ottla_storage::AbortedTransaction;

/// A batch as it is on the disk, taken apart.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) base: i64,
    pub(crate) last: i64,
    pub(crate) epoch: i32,
    pub(crate) max_timestamp: i64,
    pub(crate) bytes: Bytes,
    /// Id, epoch, first sequence.
    pub(crate) producer: Option<(i64, i16, i32)>,
    pub(crate) is_transactional: bool,
    pub(crate) is_control: bool,
    /// `None` of a control batch: compaction has emptied it.
    pub(crate) marker: Option<EndMarker>,
    /// From when on compaction may drop its tombstones, or its marker.
    pub(crate) horizon: Option<i64>,
    pub(crate) records: Vec<Entry>,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Vec<u8>,
    /// `None`: a tombstone.
    pub(crate) value: Option<Vec<u8>>,
}

impl Sent {
    pub(crate) fn of(bytes: Bytes) -> Rc<Self> {
        let batch = Batch::parse(&bytes).expect("a batch that was made here");
        let payload = batch
            .payload(OPENED_BYTES_MAX)
            .expect("a batch that was made here");
        let records: Vec<_> = payload
            .records()
            .map(|record| record.expect("a batch that was made here"))
            .collect();
        let marker = records
            .first()
            .filter(|_| batch.is_control())
            .and_then(|record| EndMarker::parse(record.key?, record.value?));
        let producer = batch.has_producer_id().then(|| {
            (
                batch.producer_id(),
                batch.producer_epoch(),
                batch.base_sequence(),
            )
        });
        let records = records
            .iter()
            .map(|record| Entry {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.unwrap_or_default().to_vec(),
                value: record.value.map(<[u8]>::to_vec),
            })
            .collect();
        Rc::new(Self {
            base: batch.base_offset(),
            last: batch.last_offset(),
            epoch: batch.leader_epoch(),
            max_timestamp: batch.max_timestamp(),
            producer,
            is_transactional: batch.is_transactional(),
            is_control: batch.is_control(),
            marker,
            horizon: batch.delete_horizon(),
            records,
            bytes: bytes.clone(),
        })
    }
}

/// Batches one behind the other, without a gap but where compaction took something away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    /// Where it ends if it has no batch.
    pub(crate) origin: i64,
    pub(crate) batches: Vec<Rc<Sent>>,
    /// As they were written: those that compaction has dropped, or written anew.
    pub(crate) gone: BTreeMap<i64, Rc<Sent>>,
    /// The end is not below this, whatever the last batch says.
    pub(crate) end_min: i64,
    /// A power cut took something from the middle of what was not flushed: from here on nobody can
    /// say what is remembered of producers.
    pub(crate) is_gapped: bool,
}

impl Timeline {
    pub(crate) fn from(origin: i64) -> Self {
        Self {
            origin,
            batches: Vec::new(),
            gone: BTreeMap::new(),
            end_min: origin,
            is_gapped: false,
        }
    }

    pub(crate) fn end(&self) -> i64 {
        self.batches
            .last()
            .map_or(self.origin, |batch| batch.last + 1)
            .max(self.end_min)
    }

    /// The index of the first batch that reaches `offset`.
    pub(crate) fn at(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.last < offset)
    }

    /// Without the batch that holds `to` and all behind it.
    pub(crate) fn cut(&mut self, to: i64) {
        let n = self.at(to);
        self.batches.truncate(n);
        self.end_min = self.end_min.min(to);
        self.gone.retain(|_, batch| batch.last < to);
    }

    /// All that was ever written, as if nothing had been compacted.
    pub(crate) fn history(&self) -> Self {
        if self.gone.is_empty() {
            return self.clone();
        }
        let mut all: BTreeMap<i64, Rc<Sent>> = BTreeMap::new();
        all.extend(self.batches.iter().map(|batch| (batch.base, batch.clone())));
        all.extend(self.gone.iter().map(|(base, batch)| (*base, batch.clone())));
        Self {
            origin: self.origin,
            batches: all.into_values().collect(),
            gone: BTreeMap::new(),
            end_min: self.end_min,
            is_gapped: self.is_gapped,
        }
    }

    /// Whether compaction has touched something of this producer.
    pub(crate) fn is_compacted(&self, producer_id: i64) -> bool {
        let mut gone = self.gone.values();
        gone.any(|batch| batch.producer.is_some_and(|(id, _, _)| id == producer_id))
    }

    /// Compaction has put `compacted` in the place of all that lies in `[from, to)`, as far as this
    /// goes back.
    pub(crate) fn replace(&mut self, from: i64, to: i64, compacted: &[Rc<Sent>]) {
        let from = from.max(self.batches.first().map_or(to, |first| first.base));
        if from >= to {
            return;
        }
        let compacted = &compacted[compacted.partition_point(|batch| batch.base < from)..];
        let (first, behind) = (self.at(from), self.at(to));
        let replaced = self
            .batches
            .splice(first..behind, compacted.iter().cloned());
        for batch in replaced {
            let at = compacted.binary_search_by_key(&batch.base, |it| it.base);
            let is_whole = at.is_ok_and(|at| compacted[at].bytes == batch.bytes);
            if !is_whole {
                self.gone.entry(batch.base).or_insert(batch);
            }
        }
    }

    /// What reaches `start` or lies behind it.
    pub(crate) fn since(&self, start: i64) -> Self {
        Self {
            origin: self.origin,
            batches: self.batches[self.at(start)..].to_vec(),
            gone: BTreeMap::new(),
            end_min: self.end_min,
            is_gapped: self.is_gapped,
        }
    }

    /// The two hold the same up to `end`, as far as both go back.
    pub(crate) fn agrees(&self, other: &Self, end: i64) -> bool {
        let is_below = |batch: &&Rc<Sent>| batch.last < end;
        let ours = self.batches.iter().rev().skip_while(|b| !is_below(b));
        let theirs = other.batches.iter().rev().skip_while(|b| !is_below(b));
        ours.zip(theirs)
            .all(|(a, b)| Rc::ptr_eq(a, b) || a.bytes == b.bytes)
    }

    /// Which epoch starts where, for what is at or behind `start`.
    pub(crate) fn epochs(&self, start: i64) -> EpochCache {
        let mut epochs = EpochCache::default();
        for batch in &self.batches {
            let entry = EpochStart {
                epoch: batch.epoch,
                start_offset: batch.base,
            };
            epochs.assign(entry.epoch, entry.start_offset);
        }
        epochs.truncate_from_start(start);
        epochs
    }

    /// The first record at or behind `start` with at least this timestamp.
    pub(crate) fn first_since(&self, timestamp: i64, start: i64) -> Option<(i64, i64)> {
        self.batches
            .iter()
            .flat_map(|batch| &batch.records)
            .find(|record| record.offset >= start && record.timestamp >= timestamp)
            .map(|record| (record.offset, record.timestamp))
    }

    /// All that its batches say of producers and transactions.
    pub(crate) fn replay(&self) -> Remembered {
        let mut remembered = Remembered::default();
        for batch in &self.batches {
            remembered.apply(batch);
        }
        remembered
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) first_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) last_offset: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writer {
    pub(crate) epoch: i16,
    pub(crate) seen: VecDeque<Seen>,
    pub(crate) coordinator_epoch: i32,
    /// Of the marker that told it.
    pub(crate) coordinator_timestamp: i64,
    pub(crate) open_since: Option<i64>,
    pub(crate) last_timestamp: i64,
    /// Of the newest batch or marker.
    pub(crate) last_heard: i64,
    /// The log has forgotten its batches and not its epoch, as they lie below the start. What it
    /// sends next in that epoch is out of order, so it goes on in the next one, as clients do.
    pub(crate) is_forgotten: bool,
}

/// What is remembered of who wrote.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remembered {
    pub(crate) writers: BTreeMap<i64, Writer>,
    pub(crate) aborted: Vec<AbortedTransaction>,
    /// First offset → offset of the marker, of transactions that ended.
    pub(crate) ended: BTreeMap<i64, i64>,
    /// Those of before the last start, which only the log itself may remember.
    pub(crate) ended_before: BTreeMap<i64, i64>,
}

impl Remembered {
    pub(crate) fn apply(&mut self, batch: &Sent) {
        let Some((id, epoch, first_sequence)) = batch.producer else {
            return;
        };
        if batch.is_control && batch.marker.is_none() {
            return;
        }
        let writer = self.writers.entry(id).or_insert(Writer {
            epoch: -1,
            seen: VecDeque::new(),
            coordinator_epoch: -1,
            coordinator_timestamp: -1,
            open_since: None,
            last_timestamp: -1,
            last_heard: -1,
            is_forgotten: false,
        });
        if writer.epoch != epoch {
            writer.epoch = epoch;
            writer.seen.clear();
        }
        writer.last_timestamp = batch.max_timestamp;
        writer.last_heard = batch.last;
        let Some(marker) = batch.marker else {
            writer.is_forgotten = false;
            writer.seen.push_back(Seen {
                first_sequence,
                last_sequence: first_sequence + (batch.last - batch.base) as i32,
                last_offset: batch.last,
            });
            if writer.seen.len() > 5 {
                writer.seen.pop_front();
            }
            if batch.is_transactional && writer.open_since.is_none() {
                writer.open_since = Some(batch.base);
            }
            return;
        };
        writer.coordinator_epoch = marker.coordinator_epoch;
        writer.coordinator_timestamp = batch.max_timestamp;
        let Some(first_offset) = writer.open_since.take() else {
            return;
        };
        self.ended.insert(first_offset, batch.base);
        if !marker.is_commit {
            let last_stable = self.first_open().unwrap_or(batch.base + 1);
            self.aborted.push(AbortedTransaction {
                producer_id: id,
                first_offset,
                last_offset: batch.base,
                last_stable,
            });
        }
    }

    pub(crate) fn first_open(&self) -> Option<i64> {
        self.writers
            .values()
            .filter_map(|writer| writer.open_since)
            .min()
    }

    /// Where the last stable offset may be.
    pub(crate) fn last_stable(&self, high_watermark: i64) -> RangeInclusive<i64> {
        let first = |ended: &BTreeMap<i64, i64>| {
            let first = ended.iter().find(|(_, marker)| **marker >= high_watermark);
            first.map_or(high_watermark, |(first, _)| *first)
        };
        let open = self.first_open().unwrap_or(high_watermark);
        let most = open.min(high_watermark).min(first(&self.ended));
        most.min(first(&self.ended_before))..=most
    }
}

/// The whole of it.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// What the log holds, and what it held before its start moved.
    pub(crate) timeline: Timeline,
    /// What it may hold instead after a crash, as far as it is not flushed.
    pub(crate) branches: Vec<Timeline>,
    pub(crate) remembered: Remembered,
    pub(crate) start: i64,
    /// What was promised to stay deleted.
    pub(crate) start_min: i64,
    /// How far the start was ever moved.
    pub(crate) start_max: i64,
    /// As `start_max`, but not taken back by a crash: what lies below may be known in part only.
    pub(crate) deepest_start: i64,
    /// Below this the disk has promised.
    pub(crate) flushed: i64,
    pub(crate) epochs: EpochCache,
    /// A round of compaction that was not seen to its end.
    pub(crate) compacting: Option<Compacting>,
    /// A power cut may have left holes that pass for compaction's.
    pub(crate) may_gape: bool,
    /// Up to here some round may have come.
    pub(crate) compacted: i64,
    /// Aborted transactions of which compaction has taken all records.
    pub(crate) forgotten: Vec<AbortedTransaction>,
}

/// What a round of compaction may do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compacting {
    /// The start of the first segment that it may not touch.
    pub(crate) end: i64,
    pub(crate) now_ms: i64,
    pub(crate) delete_retention_ms: i64,
    /// How often the log had been truncated when it began.
    pub(crate) n_truncations: u64,
}

/// More than a handful of truncations between two flushes tell nothing new.
const BRANCHES_MAX: usize = 64;

impl Model {
    pub(crate) fn append(&mut self, batch: Rc<Sent>) {
        self.epochs.assign(batch.epoch, batch.base);
        self.remembered.apply(&batch);
        self.timeline.batches.push(batch);
    }

    /// The log may be this after a crash: something is under way, or was given up.
    pub(crate) fn may_be(&mut self, timeline: Timeline) {
        self.branches.push(timeline);
        let (now, flushed) = (&self.timeline, self.flushed);
        self.branches.retain(|branch| branch.agrees(now, flushed));
        if self.branches.len() > BRANCHES_MAX {
            self.branches.remove(0);
        }
    }

    pub(crate) fn raise_start(&mut self, to: i64) {
        self.start = to;
        self.start_max = self.start_max.max(to);
        self.deepest_start = self.deepest_start.max(self.start_max);
        self.epochs.truncate_from_start(to);
    }
}

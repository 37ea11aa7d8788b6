//! What a log must hold, kept the simple way: all batches ever appended, one behind the other.

use std::collections::{BTreeMap, HashMap, VecDeque};
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
    pub(crate) marker: Option<EndMarker>,
    /// Offset and timestamp of each record.
    pub(crate) records: Vec<(i64, i64)>,
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
            .map(|record| (record.offset, record.timestamp))
            .collect();
        Rc::new(Self {
            base: batch.base_offset(),
            last: batch.last_offset(),
            epoch: batch.leader_epoch(),
            max_timestamp: batch.max_timestamp(),
            producer,
            is_transactional: batch.is_transactional(),
            marker,
            records,
            bytes: bytes.clone(),
        })
    }
}

/// Batches one behind the other, without a gap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timeline {
    /// Where it ends if it has no batch.
    pub(crate) origin: i64,
    pub(crate) batches: Vec<Rc<Sent>>,
}

impl Timeline {
    pub(crate) fn from(origin: i64) -> Self {
        Self {
            origin,
            batches: Vec::new(),
        }
    }

    pub(crate) fn end(&self) -> i64 {
        self.batches
            .last()
            .map_or(self.origin, |batch| batch.last + 1)
    }

    /// The index of the first batch that reaches `offset`.
    pub(crate) fn at(&self, offset: i64) -> usize {
        self.batches.partition_point(|batch| batch.last < offset)
    }

    /// Without the batch that holds `to` and all behind it.
    pub(crate) fn cut(&mut self, to: i64) {
        let n = self.at(to);
        self.batches.truncate(n);
    }

    /// What reaches `start` or lies behind it.
    pub(crate) fn since(&self, start: i64) -> Self {
        Self {
            origin: self.origin,
            batches: self.batches[self.at(start)..].to_vec(),
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
            .find(|(offset, time)| *offset >= start && *time >= timestamp)
            .copied()
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
}

/// What is remembered of who wrote.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remembered {
    pub(crate) writers: HashMap<i64, Writer>,
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
        let writer = self.writers.entry(id).or_insert(Writer {
            epoch: -1,
            seen: VecDeque::new(),
            coordinator_epoch: -1,
            coordinator_timestamp: -1,
            open_since: None,
            last_timestamp: -1,
            last_heard: -1,
        });
        if writer.epoch != epoch {
            writer.epoch = epoch;
            writer.seen.clear();
        }
        writer.last_timestamp = batch.max_timestamp;
        writer.last_heard = batch.last;
        let Some(marker) = batch.marker else {
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

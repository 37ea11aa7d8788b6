//! Rounds of compaction, with other work on the log in between, and what a round may take.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::rc::Rc;

use bytes::Bytes;
use ottla_protocol::batch::{Batch, Header};
use ottla_storage::{Cleaned, Fault, Host, Log, Newest, Outcome, Picture, Round, compact};

use crate::model::{Compacting, Entry, Sent, Timeline};
use crate::world::{World, partition};

/// Lends the log to a round, and does something to it whenever it is asked for.
struct Lender<'a> {
    world: RefCell<&'a mut World>,
    n_starts: u64,
}

impl Host for Lender<'_> {
    fn with_log(
        &self,
        work: &mut dyn FnMut(&mut Log) -> Result<(), Fault>,
    ) -> Option<Result<(), Fault>> {
        let mut world = self.world.borrow_mut();
        if world.dice.percent(10) {
            world.meanwhile();
        }
        // The process that began this round may be gone.
        (world.n_starts == self.n_starts).then(|| work(world.log()))
    }

    fn may_go_on(&self, _: usize) -> bool {
        let mut world = self.world.borrow_mut();
        world.n_starts == self.n_starts && !world.dice.percent(1)
    }
}

impl World {
    /// As a node's cleaner does it.
    pub(crate) fn compact(&mut self) {
        if !self.config.cleanup_compact || self.is_moving() {
            return;
        }
        if self.settle_log().is_err() {
            return;
        }
        let (picture, now_ms) = (Picture::take(self.log()), self.now_ms);
        let cleaned = self.directory().cleaned(&partition());
        let dirt = match picture.dirt(cleaned, now_ms) {
            Ok(dirt) => dirt,
            Err(fault) => return self.failed(&fault, &"look for dirt"),
        };
        if dirt.is_reset && !self.write_cleaned(dirt.first_dirty) {
            return;
        }
        if dirt.cleanable_bytes == 0 {
            return;
        }
        let compacting = Compacting {
            end: dirt.first_uncleanable,
            now_ms,
            delete_retention_ms: self.config.delete_retention_ms,
            n_truncations: self.totals.truncations,
        };
        self.model.compacting = Some(compacting);
        self.model.compacted = self.model.compacted.max(compacting.end);
        let round = Round {
            picture,
            dirt,
            now_ms,
            io_bytes: 200 + self.dice.index(3000),
        };
        // Now and then there is no room for all keys.
        let n_bytes = if self.dice.percent(15) { 240 } else { 1 << 16 };
        let n_starts = self.n_starts;
        self.trace(|| format!("compact [{}, {})", dirt.first_dirty, dirt.first_uncleanable));
        if self.dice.percent(15) {
            let n = self.dice.below(60);
            self.sim.die_in(n);
        }
        let lender = Lender {
            n_starts,
            world: RefCell::new(self),
        };
        let outcome = compact(&round, &mut Newest::new(n_bytes, 0.9), &lender);
        self.trace(|| format!("compacted: {outcome:?}"));
        if self.n_starts != n_starts || self.sim.is_dead() {
            self.totals.rounds_cut_short += 1;
            return;
        }
        match outcome {
            Ok(Outcome::Done(cleaned)) => self.compacted(&round, &cleaned),
            Ok(Outcome::GivenUp) => self.totals.rounds_given_up += 1,
            Err(fault) => {
                assert!(
                    !matches!(fault, Fault::Corrupt { .. }) || n_bytes < 1000,
                    "a sound log is not compacted: {fault}"
                );
                self.totals.rounds_failed += 1;
                self.failed(&fault, &"compact");
            }
        }
        if !self.sim.is_dead() {
            self.settle_compaction();
        }
    }

    /// Of the keys of the dirty part only the newest record is left, and nothing that was aborted.
    fn compacted(&mut self, round: &Round, cleaned: &Cleaned) {
        self.totals.rounds += 1;
        let (before, end) = (self.model.timeline.clone(), cleaned.end);
        self.settle_compaction();
        let aborted = Aborted::of(&before, self.model.deepest_start);
        let newest = newest(&before, round.dirt.first_dirty, end, |base| {
            !aborted.sure.contains(&base) && !aborted.perhaps.contains(&base)
        });
        let first = self.first_base();
        let left = self.model.timeline.batches.iter();
        for batch in left.filter(|it| (first..end).contains(&it.base) && !it.is_control) {
            assert!(
                batch.records.is_empty() || !aborted.sure.contains(&batch.base),
                "compaction left aborted records at {}",
                batch.base
            );
            for record in batch.records.iter().filter(|it| it.offset < end) {
                let newest = newest.get(record.key.as_slice());
                assert!(
                    newest.is_none_or(|newest| *newest <= record.offset),
                    "compaction left {} though {newest:?} has the same key",
                    record.offset
                );
            }
        }
        self.write_cleaned(end);
    }

    /// Looks whether a round has taken only what it may, and takes over what it has left.
    pub(crate) fn settle_compaction(&mut self) {
        let Some(compacting) = self.model.compacting.take() else {
            return;
        };
        let timeline = &self.model.timeline;
        let known_from = timeline.batches.first().map_or(i64::MAX, |it| it.base);
        let (from, to) = (known_from.max(self.first_base()), compacting.end);
        if from >= to {
            return;
        }
        let left = self.batches_on_disk(from, to);
        let law = Law::new(self, &left, compacting);
        let before: Vec<_> = timeline
            .batches
            .iter()
            .filter(|batch| (from..to).contains(&batch.base))
            .collect();
        for batch in &before {
            law.check(batch);
        }
        for batch in &left {
            let is_known = before.iter().any(|it| it.base == batch.base);
            assert!(is_known, "compaction made up a batch at {}", batch.base);
        }
        let n_records =
            |batches: &[&Rc<Sent>]| -> usize { batches.iter().map(|it| it.records.len()).sum() };
        let n_left = n_records(&left.iter().collect::<Vec<_>>());
        self.totals.records_compacted += (n_records(&before) - n_left) as u64;
        self.totals.batches_compacted += (before.len() - left.len()) as u64;
        let model = &mut self.model;
        for timeline in [&mut model.timeline].into_iter().chain(&mut model.branches) {
            timeline.replace(from, to, &left);
        }
        let still = self.model.timeline.replay().aborted;
        let aborted = std::mem::take(&mut self.model.remembered.aborted);
        let (left, gone): (Vec<_>, Vec<_>) = aborted.into_iter().partition(|it| {
            it.last_offset >= to
                || it.first_offset < from
                || still
                    .iter()
                    .any(|still| still.last_offset == it.last_offset)
        });
        self.model.remembered.aborted = left;
        self.model.forgotten.extend(gone);
    }

    /// As far as it came: the log is looked at while it is compacted.
    pub(crate) fn look_at_compaction(&mut self) {
        let compacting = self.model.compacting;
        self.settle_compaction();
        self.model.compacting = compacting;
    }

    /// Everything below the end is on the disk, and a crash reads nothing again.
    fn settle_log(&mut self) -> Result<(), ()> {
        let planned = self.log().recovery_plan();
        let target = match planned {
            Ok(Some(target)) => target,
            Ok(None) => return self.write_point(),
            Err(fault) => {
                self.failed(&fault, &"plan a flush before a round");
                return Err(());
            }
        };
        if let Err(fault) = target.sync() {
            self.log().poison(&fault);
            self.failed(&fault, &"sync before a round");
            return Err(());
        }
        self.log().flushed_to(&target);
        self.flushed();
        self.write_point()
    }

    fn write_point(&mut self) -> Result<(), ()> {
        let written = self.write_recovery_points();
        written.map_err(|fault| self.failed(&fault, &"write the recovery point before a round"))
    }

    fn write_cleaned(&mut self, offset: i64) -> bool {
        match self.directory().write_cleaned(&partition(), offset) {
            Ok(()) => true,
            Err(fault) => {
                self.failed(&fault, &"write how far it is compacted");
                false
            }
        }
    }

    /// What others do to a log while it is compacted.
    fn meanwhile(&mut self) {
        if self.sim.is_dead() {
            return;
        }
        self.totals.meanwhile += 1;
        match self.dice.below(10) {
            0..6 => self.append_anything(),
            6 => self.flush(),
            7 => self.roll(),
            8 => self.raise_high_watermark(),
            _ => self.truncate_unreplicated(),
        }
    }

    /// The base of the first segment.
    fn first_base(&self) -> i64 {
        self.bases().first().copied().unwrap_or(0)
    }

    fn bases(&self) -> Vec<i64> {
        let directory = self.home().join(format!("{}", partition()));
        let entries = fs::read_dir(directory).expect("the partition has a directory");
        let mut bases: Vec<i64> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
            .collect();
        bases.sort_unstable();
        bases
    }

    /// The batches of all segments, also below the start.
    fn batches_on_disk(&self, from: i64, to: i64) -> Vec<Rc<Sent>> {
        let directory = self.home().join(format!("{}", partition()));
        let mut found = Vec::new();
        for base in self.bases().into_iter().filter(|base| *base < to) {
            let bytes = fs::read(directory.join(format!("{base:020}.log")));
            let bytes = Bytes::from(bytes.expect("a segment can be read"));
            let mut position = 0;
            while let Ok(header) = Header::parse(&bytes[position..]) {
                let end = position + header.size();
                let is_ours = (from..to).contains(&header.base_offset());
                if end > bytes.len() {
                    break;
                }
                if is_ours {
                    let batch = bytes.slice(position..end);
                    let whole = Batch::parse(&batch).expect("a batch of a closed segment");
                    whole.verify_crc().expect("a sound batch");
                    found.push(Sent::of(batch));
                }
                position = end;
            }
        }
        assert!(
            found.is_sorted_by_key(|batch| batch.base),
            "segments overlap"
        );
        found
    }
}

/// The newest record of each key in `[from, to)`, of the batches that count.
fn newest(
    timeline: &Timeline,
    from: i64,
    to: i64,
    counts: impl Fn(i64) -> bool,
) -> HashMap<&[u8], i64> {
    let mut newest = HashMap::new();
    let batches = timeline.batches.iter();
    for batch in batches.filter(|batch| !batch.is_control && counts(batch.base)) {
        for record in &batch.records {
            if (from..to).contains(&record.offset) {
                newest.insert(record.key.as_slice(), record.offset);
            }
        }
    }
    newest
}

/// Batches of aborted transactions, by their bases.
#[derive(Default)]
struct Aborted {
    sure: HashSet<i64>,
    /// Of transactions that began below the start: the log may not know of them.
    perhaps: HashSet<i64>,
}

impl Aborted {
    fn of(timeline: &Timeline, deepest_start: i64) -> Self {
        let mut aborted = Self::default();
        let mut open: HashMap<i64, Vec<i64>> = HashMap::new();
        for batch in &timeline.history().batches {
            let Some((id, _, _)) = batch.producer.filter(|_| batch.is_transactional) else {
                continue;
            };
            match batch.marker {
                Some(marker) => {
                    let bases = open.remove(&id).unwrap_or_default();
                    let began = bases.first().copied().unwrap_or_default();
                    match marker.is_commit {
                        true => {}
                        false if began < deepest_start => aborted.perhaps.extend(bases),
                        false => aborted.sure.extend(bases),
                    }
                }
                None if batch.is_control => {}
                None => open.entry(id).or_default().push(batch.base),
            }
        }
        aborted
    }
}

/// What a round may do to a log.
struct Law<'a> {
    compacting: Compacting,
    start: i64,
    left: BTreeMap<i64, &'a Sent>,
    newest: HashMap<&'a [u8], i64>,
    aborted: Aborted,
    /// By the marker: the batches of its transaction.
    marked: HashMap<i64, Vec<i64>>,
    /// Last offsets of the newest batches of producers.
    lasts: HashSet<i64>,
}

impl<'a> Law<'a> {
    fn new(world: &'a World, left: &'a [Rc<Sent>], compacting: Compacting) -> Self {
        let timeline = &world.model.timeline;
        let mut open: HashMap<i64, Vec<i64>> = HashMap::new();
        let mut marked = HashMap::new();
        for batch in &timeline.batches {
            let Some((id, _, _)) = batch.producer else {
                continue;
            };
            if batch.is_control {
                marked.insert(batch.base, open.remove(&id).unwrap_or_default());
            } else if batch.is_transactional {
                open.entry(id).or_default().push(batch.base);
            }
        }
        let writers = world.model.remembered.writers.values();
        let is_as_it_was = world.totals.truncations == compacting.n_truncations;
        let lasts = writers
            .filter_map(|writer| writer.seen.back())
            .filter(|_| is_as_it_was)
            .map(|seen| seen.last_offset);
        let aborted = Aborted::of(timeline, world.model.deepest_start);
        Self {
            compacting,
            start: world.model.deepest_start,
            left: left.iter().map(|batch| (batch.base, &**batch)).collect(),
            newest: newest(timeline, i64::MIN, compacting.end, |base| {
                !aborted.sure.contains(&base)
            }),
            aborted,
            marked,
            lasts: lasts.collect(),
        }
    }

    fn check(&self, batch: &Sent) {
        let left = self.left.get(&batch.base);
        if let Some(left) = left {
            self.check_header(batch, left);
        } else {
            assert!(
                batch.is_control || batch.producer.is_none() || !self.lasts.contains(&batch.last),
                "the newest batch of {:?}, at {}, is gone",
                batch.producer,
                batch.base
            );
        }
        let kept: &[Entry] = left.map_or(&[], |left| left.records.as_slice());
        for record in kept {
            assert!(
                batch.records.contains(record),
                "{record:?} is not what was written"
            );
        }
        let gone = batch.records.iter().filter(|it| !kept.contains(it));
        for record in gone {
            let may_go = match batch.is_control {
                true => self.may_drop_marker(batch),
                false => self.may_drop(batch, record),
            };
            assert!(
                may_go,
                "compaction of what lies below {} dropped {record:?} of [{}, {}]",
                self.compacting.end, batch.base, batch.last
            );
        }
    }

    fn check_header(&self, batch: &Sent, left: &Sent) {
        let told = |it: &Sent| {
            (
                it.last,
                it.epoch,
                it.producer,
                it.is_transactional,
                it.is_control,
            )
        };
        assert_eq!(told(batch), told(left), "the batch at {}", batch.base);
        let new = self.compacting.now_ms + self.compacting.delete_retention_ms;
        let is_kept = left.horizon == batch.horizon || left.records.is_empty();
        assert!(
            is_kept || batch.horizon.is_none() && left.horizon == Some(new),
            "the horizon of {} was {:?} and is {:?}",
            batch.base,
            batch.horizon,
            left.horizon
        );
    }

    fn is_past(&self, batch: &Sent) -> bool {
        batch
            .horizon
            .is_some_and(|horizon| horizon <= self.compacting.now_ms)
    }

    fn may_drop_marker(&self, marker: &Sent) -> bool {
        // As its records it is deleted already, and a power cut may have taken it before the round.
        if marker.base < self.start {
            return true;
        }
        let is_left = |base: &i64| self.left.contains_key(base);
        let has_records = self
            .marked
            .get(&marker.base)
            .is_some_and(|bases| bases.iter().any(is_left));
        self.is_past(marker) && !has_records
    }

    fn may_drop(&self, batch: &Sent, record: &Entry) -> bool {
        if self.aborted.sure.contains(&batch.base) || self.aborted.perhaps.contains(&batch.base) {
            return true;
        }
        // It is deleted already.
        if record.offset < self.start {
            return true;
        }
        let newest = self.newest.get(record.key.as_slice());
        if newest.is_some_and(|newest| *newest > record.offset) {
            return true;
        }
        // A deletion may be forgotten once there is nothing left that it deletes.
        record.value.is_none() && self.is_past(batch) && !self.has_older(record)
    }

    fn has_older(&self, tombstone: &Entry) -> bool {
        let counts =
            |base: &i64| !self.aborted.sure.contains(base) && !self.aborted.perhaps.contains(base);
        let older = self.left.range(..tombstone.offset);
        let older = older.filter(|(base, batch)| !batch.is_control && counts(base));
        older
            .flat_map(|(_, batch)| &batch.records)
            .any(|it| it.offset < tombstone.offset && it.key == tombstone.key)
    }
}

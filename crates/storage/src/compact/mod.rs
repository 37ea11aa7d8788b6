//! Compaction: of each key the newest record stays.
//!
//! One round over one log, start to finish: take note of the newest offset of every key in the
//! dirty part (`newest`), then copy the closed segments from the oldest on without what is replaced
//! (`rewrite`, `transactions`), small ones together (`plan`), and swap each copy in
//! (`log::replace`). The log is locked for moments only; who it belongs to is the [`Host`].
//!
//! If the log changes underneath (truncated, deleted, its start raised), the round is given up.

mod newest;
mod plan;
mod rewrite;
mod target;
mod transactions;

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::Offset;
use ottla_protocol::batch::legacy::LegacyBatch;
use ottla_protocol::batch::{Batch, CorruptBatch, OPENED_BYTES_MAX};

use self::newest::Full;
pub use self::newest::Newest;
pub use self::plan::Dirt;
use self::plan::{Facts, Limits, Room, Sizes};
use self::rewrite::{Kept, Sieve, Terms};
pub(crate) use self::rewrite::{LastOfProducer, LastOfProducers};
use self::target::Targets;
use self::transactions::{Standing, Transactions};
use crate::disk::Disk;
use crate::error::Fault;
use crate::heads::{Head, Scan, Scanned};
use crate::index::AbortedTransaction;
use crate::log::{Log, Replacement};
use crate::log_config::LogConfig;
use crate::log_view::{LogView, Segments};
use crate::segment::{SEGMENT_BYTES_MAX, Segment};

/// Who has the log that is compacted.
pub trait Host {
    /// Runs `work` on the log, under its lock; `None` if the log is gone.
    fn with_log(
        &self,
        work: &mut dyn FnMut(&mut Log) -> Result<(), Fault>,
    ) -> Option<Result<(), Fault>>;

    /// So many bytes were read or written: waits if that was too fast. False: stop here.
    fn may_go_on(&self, n_bytes: usize) -> bool;
}

/// A log as compaction looks at it: taken under the lock, looked at without.
#[derive(Debug, Clone)]
pub struct Picture {
    disk: Disk,
    directory: PathBuf,
    view: LogView,
    config: LogConfig,
    n_truncations: u64,
    is_decided: bool,
}

/// What to compact, and how.
#[derive(Debug, Clone)]
pub struct Round {
    pub picture: Picture,
    pub dirt: Dirt,
    pub now_ms: i64,
    /// How much is read and written at a time.
    pub io_bytes: usize,
}

/// How a round ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done(Cleaned),
    /// The log changed underneath, or the host said stop. What was swapped in already stays.
    GivenUp,
}

/// A round that was carried through.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaned {
    /// The next dirty part begins here: for the cleaner's checkpoint.
    pub end: Offset,
    pub figures: Figures,
}

/// What a round has read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    pub map_bytes_read: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub records_read: u64,
    pub records_written: u64,
    /// Records without a key: there should be none.
    pub invalid_records: u64,
    /// How full the table of keys was: 0 to 1.
    pub utilization: f64,
    pub n_segments_before: usize,
    pub n_segments_after: usize,
}

impl Picture {
    pub fn take(log: &Log) -> Self {
        Self {
            disk: log.disk().clone(),
            directory: log.directory().to_owned(),
            view: log.view(),
            config: log.config().clone(),
            n_truncations: log.n_truncations(),
            is_decided: log.is_decided(),
        }
    }

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// What compaction would find. Reads timestamps where the settings ask for them.
    pub fn dirt(&self, checkpoint: Option<Offset>, now_ms: i64) -> Result<Dirt, Fault> {
        let settled = match self.is_decided {
            true => self.view.last_stable().min(self.view.flushed()),
            false => self.view.start(),
        };
        let limits = Limits {
            start: self.view.start(),
            end: self.view.end(),
            settled,
            min_lag_ms: self.config.min_compaction_lag_ms.max(0),
            max_lag_ms: self.config.max_compaction_lag_ms,
            now_ms,
        };
        let mut facts = self.sizes();
        let (first_dirty, _) = plan::first_dirty(checkpoint, &limits);
        let dirty_from = plan::holder(&facts, first_dirty);
        let n_closed = facts.len().saturating_sub(1);
        let closed = facts
            .iter_mut()
            .zip(self.view.segments.iter())
            .take(n_closed);
        for (facts, segment) in closed.skip(dirty_from) {
            if limits.min_lag_ms > 0 {
                facts.largest_timestamp = Some(segment.largest()?.timestamp);
            }
            if limits.max_lag_ms < i64::MAX {
                facts.first_timestamp = segment.first_timestamp()?;
            }
        }
        Ok(plan::survey(&facts, checkpoint, &limits))
    }

    fn sizes(&self) -> Vec<Facts> {
        let segments = self.view.segments.iter().map(|segment| Facts {
            base: segment.base(),
            size: segment.size().into(),
            first_timestamp: None,
            largest_timestamp: None,
        });
        segments.collect()
    }

    /// The segments that begin below `end`, and before them only the one that holds `start`.
    fn segments(&self, start: Offset, end: Offset) -> &[Arc<Segment>] {
        let all = &self.view.segments;
        let first = self.view.segment_of(start);
        let last = all.partition_point(|segment| segment.base() < end);
        all.get(first..last).unwrap_or_default()
    }

    /// Where the segment behind this one begins.
    fn behind(&self, segment: &Segment) -> Offset {
        let all = &self.view.segments;
        let at = all.partition_point(|it| it.base() <= segment.base());
        all.get(at).map_or(Offset::MAX, |it| it.base())
    }

    /// As Kafka has it: when the newest part that was compacted already was written, less the time for
    /// which tombstones stay.
    fn old_horizon_ms(&self, first_dirty: Offset) -> Result<i64, Fault> {
        let segments = self.view.segments.iter();
        let clean = segments.take_while(|segment| segment.base() < first_dirty);
        match clean.last() {
            None => Ok(0),
            Some(last) => Ok(last
                .modified_ms()?
                .saturating_sub(self.config.delete_retention_ms)),
        }
    }

    /// The aborted transactions that touch `[start, end)`.
    fn aborted(&self, start: Offset, end: Offset) -> Result<Vec<AbortedTransaction>, Fault> {
        let mut found = Vec::new();
        for segment in self.view.segments.iter().skip(self.view.segment_of(start)) {
            if segment.txns.collect(start, end, &mut found)? {
                break;
            }
        }
        Ok(found)
    }
}

/// Why a round ends early.
enum Early {
    GivenUp,
    Fault(Fault),
}

impl From<Fault> for Early {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Carries out one round. `keys` is given back empty. The log's recovery point must have reached
/// `first_uncleanable`, or the round is given up.
///
/// # Errors
/// The disk's; `Fault::Corrupt` where the log cannot be understood, so that trying again is no use.
pub fn compact(round: &Round, keys: &mut Newest, host: &dyn Host) -> Result<Outcome, Fault> {
    keys.clear();
    let done = Work {
        round,
        host,
        figures: Figures::default(),
        old_horizon_ms: 0,
    }
    .carry_out(keys);
    keys.clear();
    match done {
        Ok(cleaned) => Ok(Outcome::Done(cleaned)),
        Err(Early::GivenUp) => Ok(Outcome::GivenUp),
        // A fault of a log that is no longer what we looked at is none.
        Err(Early::Fault(fault)) => match is_unchanged(round, host) {
            true => Err(fault),
            false => Ok(Outcome::GivenUp),
        },
    }
}

fn is_unchanged(round: &Round, host: &dyn Host) -> bool {
    let mut is_unchanged = false;
    let looked = host.with_log(&mut |log| {
        is_unchanged = log.n_truncations() == round.picture.n_truncations;
        Ok(())
    });
    looked.is_some() && is_unchanged
}

struct Work<'a> {
    round: &'a Round,
    host: &'a dyn Host,
    figures: Figures,
    /// Tombstones of old formats stay in segments that were written later.
    old_horizon_ms: i64,
}

impl Work<'_> {
    fn carry_out(mut self, keys: &mut Newest) -> Result<Cleaned, Early> {
        let Dirt {
            first_dirty,
            first_uncleanable,
            ..
        } = self.round.dirt;
        // What goes is not read again after a crash: epochs and producers must not rest on it.
        self.locked(|log| Ok(log.recovery_point() >= first_uncleanable))?;
        self.old_horizon_ms = self.round.picture.old_horizon_ms(first_dirty)?;
        self.note_keys(keys)?;
        self.figures.utilization = keys.utilization();
        let end = keys.latest() + 1;
        if end <= first_dirty {
            let why = "the keys of not even one batch fit into log.cleaner.dedupe.buffer.size";
            return Err(self.corrupt(why).into());
        }
        let picture = &self.round.picture;
        let sources = picture.segments(Offset::MIN, end);
        let room = Room {
            log: u64::from(picture.config.segment_bytes.min(SEGMENT_BYTES_MAX)),
            index: picture.config.segment_index_bytes.into(),
        };
        let sizes: Vec<Sizes> = sources.iter().map(|segment| sizes_of(segment)).collect();
        let mut transactions = Transactions::default();
        let mut rest = sources;
        for n in plan::group(&sizes, room, first_uncleanable) {
            let (group, behind) = rest.split_at(n.min(rest.len()));
            let next = behind.first().map(|segment| segment.base());
            self.clean_group(group, next, keys, &mut transactions)?;
            rest = behind;
        }
        Ok(Cleaned {
            end,
            figures: self.figures,
        })
    }

    /// Fills the table from the dirty part, as far as it goes.
    fn note_keys(&mut self, keys: &mut Newest) -> Result<(), Early> {
        let Dirt {
            first_dirty,
            first_uncleanable,
            ..
        } = self.round.dirt;
        let picture = &self.round.picture;
        let segments = picture.segments(first_dirty, first_uncleanable);
        let mut transactions = Transactions::default();
        transactions.add(picture.aborted(first_dirty, first_uncleanable)?);
        for (at, segment) in segments.iter().enumerate() {
            let start = segment.index_position(first_dirty)?;
            let behind = picture.behind(segment);
            let mut scan = self.scan(segment, start);
            loop {
                let (noted, last);
                match scan.next()? {
                    Scanned::End => break,
                    Scanned::Torn(why) => return Err(corrupt(segment, &why.to_string()).into()),
                    Scanned::Legacy(head, batch) => {
                        noted = note_legacy(batch, keys, first_dirty);
                        last = head;
                    }
                    Scanned::Batch(head, batch) => {
                        noted = note_batch(batch, keys, &mut transactions, first_dirty);
                        last = head;
                    }
                }
                check_reach(segment, &last, behind)?;
                self.pace(last.size)?;
                self.figures.map_bytes_read += u64::from(last.size);
                if noted.map_err(|why| corrupt(segment, &why.to_string()))? == Err(Full) {
                    return Ok(());
                }
                if last.last_offset >= first_dirty {
                    keys.looked_up_to(last.last_offset);
                }
            }
            // Offsets that nothing has any more were looked at, too.
            let next = segments
                .get(at + 1)
                .map_or(first_uncleanable, |it| it.base());
            keys.looked_up_to(next - 1);
        }
        Ok(())
    }

    /// Makes one segment of some, and puts it in their place. `next` is the base of what follows.
    fn clean_group(
        &mut self,
        group: &[Arc<Segment>],
        next: Option<Offset>,
        keys: &Newest,
        transactions: &mut Transactions,
    ) -> Result<(), Early> {
        let sources: Segments = group.to_vec();
        let mut lasts = LastOfProducers::new();
        self.locked(|log| {
            if !log.may_replace(&sources, self.round.picture.n_truncations) {
                return Ok(false);
            }
            lasts = log.lasts_of_producers();
            Ok(true)
        })?;
        let mut targets = Targets::new(self.round, self.host);
        let copied = self
            .copy_group(group, next, keys, transactions, &lasts, &mut targets)
            .and_then(|()| targets.finish(group));
        let segments = match copied {
            Ok(segments) => segments,
            Err(early) => {
                targets.remove();
                return Err(early);
            }
        };
        self.figures.n_segments_before += group.len();
        self.figures.n_segments_after += segments.len();
        let swapped = self.swap(Replacement {
            sources,
            targets: segments,
            n_truncations: self.round.picture.n_truncations,
        });
        if swapped.is_err() {
            self.host.with_log(&mut Log::stop_replacement);
            targets.remove();
        }
        swapped
    }

    fn copy_group(
        &mut self,
        group: &[Arc<Segment>],
        next: Option<Offset>,
        keys: &Newest,
        transactions: &mut Transactions,
        lasts: &LastOfProducers,
        targets: &mut Targets<'_>,
    ) -> Result<(), Early> {
        let Some(first) = group.first() else {
            return Ok(());
        };
        targets.begin(first.base())?;
        for (at, segment) in group.iter().enumerate() {
            let picture = &self.round.picture;
            let behind = picture.behind(segment);
            let next = group.get(at + 1).map(|segment| segment.base()).or(next);
            let end = next.unwrap_or(self.round.dirt.first_uncleanable);
            transactions.add(picture.aborted(segment.base(), end.max(segment.base() + 1))?);
            let terms = self.terms(segment)?;
            let mut scan = self.scan(segment, 0);
            loop {
                let mut sieve = Sieve {
                    newest: keys,
                    transactions,
                    lasts,
                    terms,
                };
                let (head, sifted, whole) = match scan.next()? {
                    Scanned::End => break,
                    Scanned::Torn(why) => return Err(corrupt(segment, &why.to_string()).into()),
                    Scanned::Legacy(head, batch) => (head, sieve.sift_legacy(batch), batch.bytes()),
                    Scanned::Batch(head, batch) => {
                        let sound = batch.verify_crc();
                        (head, sound.and_then(|()| sieve.sift(batch)), batch.bytes())
                    }
                };
                check_reach(segment, &head, behind)?;
                let sifted = sifted.map_err(|why| corrupt(segment, &why.to_string()))?;
                self.figures.invalid_records += sifted.n_invalid;
                targets.note(sifted.abort);
                let n_bytes = match &sifted.kept {
                    Kept::Whole => targets.write(head, whole)?,
                    Kept::Rewritten(bytes) => {
                        let rewritten = Batch::parse(bytes)
                            .map_err(|why| corrupt(segment, &why.to_string()))?;
                        targets.write(Head::of(&rewritten), bytes)?
                    }
                    Kept::Nothing => 0,
                };
                self.count(head, n_bytes, sifted.n_read, sifted.n_kept);
                self.pace(head.size + n_bytes as u32)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, head: Head, n_bytes: usize, n_read: u64, n_kept: u64) {
        self.figures.bytes_read += u64::from(head.size);
        self.figures.bytes_written += n_bytes as u64;
        self.figures.records_read += n_read;
        self.figures.records_written += n_kept;
    }

    /// See `log::replace`.
    fn swap(&self, replacement: Replacement) -> Result<(), Early> {
        let now_ms = self.round.now_ms;
        let mut replacement = Some(replacement);
        self.locked(|log| match replacement.take() {
            Some(replacement) => log.begin_replacement(replacement),
            None => Ok(false),
        })?;
        self.sync_names()?;
        self.locked(|log| log.retire_replaced(now_ms))?;
        self.sync_names()?;
        self.locked(|log| log.finish_replacement(now_ms))?;
        self.sync_names()
    }

    fn sync_names(&self) -> Result<(), Early> {
        let Picture {
            disk, directory, ..
        } = &self.round.picture;
        Ok(disk.sync_directory(directory)?)
    }

    /// Runs a step under the log's lock; it says whether the round still makes sense.
    fn locked(&self, mut step: impl FnMut(&mut Log) -> Result<bool, Fault>) -> Result<(), Early> {
        let mut goes_on = false;
        let done = self.host.with_log(&mut |log| {
            goes_on = step(log)?;
            Ok(())
        });
        match done {
            Some(Ok(())) if goes_on => Ok(()),
            Some(Err(fault)) => Err(fault.into()),
            _ => Err(Early::GivenUp),
        }
    }

    fn pace(&self, n_bytes: u32) -> Result<(), Early> {
        match self.host.may_go_on(n_bytes as usize) {
            true => Ok(()),
            false => Err(Early::GivenUp),
        }
    }

    fn terms(&self, segment: &Segment) -> Result<Terms, Fault> {
        Ok(Terms {
            now_ms: self.round.now_ms,
            delete_retention_ms: self.round.picture.config.delete_retention_ms,
            end: self.round.dirt.first_uncleanable,
            keeps_old_tombstones: segment.modified_ms()? > self.old_horizon_ms,
        })
    }

    fn scan<'s>(&self, segment: &'s Segment, start: u32) -> Scan<'s> {
        let chunk = self.round.io_bytes;
        Scan::in_chunks(segment.log_file(), start, segment.size(), chunk)
    }

    fn corrupt(&self, why: &str) -> Fault {
        Fault::corrupt(&self.round.picture.directory, why)
    }
}

/// The outer error: it cannot be read; the inner one: there is no more room.
fn note_batch(
    batch: Batch<'_>,
    keys: &mut Newest,
    transactions: &mut Transactions,
    start: Offset,
) -> Result<Result<(), Full>, CorruptBatch> {
    batch.verify_crc()?;
    if transactions.judge(batch) != Standing::Records || batch.last_offset() < start {
        return Ok(Ok(()));
    }
    let payload = batch.payload(OPENED_BYTES_MAX)?;
    for record in payload.records() {
        let record = record?;
        let Some(key) = record.key.filter(|_| record.offset >= start) else {
            continue;
        };
        if keys.put(key, record.offset).is_err() {
            return Ok(Err(Full));
        }
    }
    Ok(Ok(()))
}

fn note_legacy(
    batch: LegacyBatch<'_>,
    keys: &mut Newest,
    start: Offset,
) -> Result<Result<(), Full>, CorruptBatch> {
    if batch.last_offset() < start {
        return Ok(Ok(()));
    }
    for record in batch.payload(OPENED_BYTES_MAX)?.records() {
        let record = record?;
        let Some(key) = record.key.filter(|_| record.offset >= start) else {
            continue;
        };
        if keys.put(key, record.offset).is_err() {
            return Ok(Err(Full));
        }
    }
    Ok(Ok(()))
}

fn sizes_of(segment: &Segment) -> Sizes {
    let lengths = segment.lengths();
    Sizes {
        base: segment.base(),
        log: lengths.log,
        offsets: lengths.offsets,
        times: lengths.times,
    }
}

/// A batch that lies behind the next segment could only go into one that ends the log.
fn check_reach(segment: &Segment, head: &Head, behind: Offset) -> Result<(), Fault> {
    if head.last_offset < behind {
        return Ok(());
    }
    let why = format!("offset {} lies behind the next segment", head.last_offset);
    Err(corrupt(segment, &why))
}

fn corrupt(segment: &Segment, why: &str) -> Fault {
    Fault::corrupt(segment.path(), why)
}

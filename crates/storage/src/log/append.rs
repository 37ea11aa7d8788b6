//! How a log grows. The order of effects is Kafka's, except that a batch that its producer's state
//! refuses leaves no trace at all: epoch cache, roll, bytes and entries of all indexes, producer
//! state, and then, in one step, what readers see.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ottla_protocol::batch::{Batch, HEADER_LEN, Header, batches};
use ottla_protocol::batch_builder::EndMarker;
use ottla_protocol::epochs::EpochCache;
use ottla_protocol::{LeaderEpoch, Offset, Refusal, Refused};

use super::{Fault, Log, Mark, NotDone, Segment, place_of_end};
use crate::heads::Head;
use crate::index::AbortedTransaction;
use crate::open_files::LazyFile;
use crate::producer::{
    Appender, CompletedTransaction, Duplicate, Producers, TransactionVersion, Verdict, Verified,
};
use crate::segment::{FailedAppend, RollCheck};
use crate::validate::{Checked, assign};

/// In whose name a leader appends.
#[derive(Debug, Clone, Copy)]
pub struct LeaderAppend {
    pub leader_epoch: LeaderEpoch,
    pub appender: Appender,
    /// Of the coordinator whose marker this is; of no meaning for other batches.
    pub transaction_version: TransactionVersion,
    /// What a transactional batch shows; of no meaning for markers.
    pub verified: Verified,
    pub now_ms: i64,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendOutcome {
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// The time that the log gave the records, or -1 where the producer's stays.
    pub append_time_ms: i64,
    pub log_start: Offset,
    /// The producer had sent this batch before: nothing was written, these are its old offsets.
    pub is_duplicate: bool,
    pub n_bytes: usize,
    pub has_rolled: bool,
    /// `flush.messages` is reached, or a segment is complete: Kafka flushes those at once, so that
    /// a crash need not read them again.
    pub flush_is_due: bool,
}

/// Batches to write as they are, in one piece.
struct Piece<'a> {
    first: &'a [u8],
    rest: &'a [u8],
    heads: &'a [Head],
    /// The transaction that is given up by the marker that these are.
    aborted: Option<AbortedTransaction>,
    now_ms: i64,
}

impl Log {
    /// Appends the batch that `validate::check` has passed, giving it offsets, time and epoch.
    ///
    /// `bytes` is what was checked and stays as it is: the header is stamped in a copy of its own.
    pub fn append_as_leader(
        &mut self,
        bytes: &[u8],
        checked: &Checked,
        append: LeaderAppend,
    ) -> Result<AppendOutcome, NotDone> {
        self.check_writable()?;
        let bytes = checked.rebuilt.as_deref().unwrap_or(bytes);
        let Some((header, body)) = bytes
            .get(..checked.size)
            .and_then(|batch| batch.split_first_chunk::<HEADER_LEN>())
        else {
            return Err(Refused::new(Refusal::CorruptMessage, "not the batch checked").into());
        };
        let mut header = *header;
        let base = self.end();
        if base.checked_add(checked.n_records.into()).is_none() {
            let why = format!("no {} offsets are left behind {base}", checked.n_records);
            return Err(Refused::new(Refusal::UnknownServerError, why).into());
        }
        let assigned = assign(
            &mut header,
            checked,
            base,
            append.leader_epoch,
            append.now_ms,
        );
        let stamped = Header::parse(&header)
            .map_err(|corrupt| Refused::new(Refusal::CorruptMessage, corrupt.to_string()))?;
        let marker = marker_of(bytes.get(..checked.size).unwrap_or_default());
        if let Some(duplicate) = self.decide(stamped, marker, append)? {
            return Ok(self.duplicate(duplicate));
        }
        let heads = [Head::of(&stamped)];
        let piece = Piece {
            first: &header,
            rest: body,
            heads: &heads,
            aborted: marker.and_then(|marker| self.aborted_by(stamped, marker)),
            now_ms: append.now_ms,
        };
        let has_rolled = self.write(piece)?;
        if marker.is_some() {
            self.apply_marker(&[&header, body].concat());
        } else {
            self.producers.apply_header(stamped);
        }
        self.publish(None);
        let append_time_ms = assigned.append_time.unwrap_or(-1);
        Ok(self.outcome(base, append_time_ms, HEADER_LEN + body.len(), has_rolled))
    }

    /// What the producer's state says to this batch.
    fn decide(
        &self,
        header: Header<'_>,
        marker: Option<EndMarker>,
        append: LeaderAppend,
    ) -> Result<Option<Duplicate>, Refused> {
        if let Some(marker) = marker {
            let (id, epoch) = (header.producer_id(), header.producer_epoch());
            self.producers
                .decide_marker(id, epoch, marker, append.transaction_version)?;
            return Ok(None);
        }
        match self
            .producers
            .decide(header, append.appender, append.verified)?
        {
            Verdict::Accept => Ok(None),
            Verdict::Duplicate(duplicate) => Ok(Some(duplicate)),
        }
    }

    /// Appends what the leader sent, as it is. Batches of a later epoch than `leader_epoch` and
    /// all behind them are left out, and so is a torn rest; `None`: there was nothing to append.
    ///
    /// A log that holds nothing takes a first batch that straddles its end (its start was raised
    /// into the middle of it) by starting anew at that batch.
    pub fn append_as_follower(
        &mut self,
        bytes: &[u8],
        leader_epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Option<AppendOutcome>, NotDone> {
        self.check_writable()?;
        let heads = heads_of(bytes, leader_epoch)?;
        self.append_heads(bytes, &heads, now_ms)
    }

    pub(super) fn append_heads(
        &mut self,
        bytes: &[u8],
        heads: &[Head],
        now_ms: i64,
    ) -> Result<Option<AppendOutcome>, NotDone> {
        let (Some(first), Some(last)) = (heads.first(), heads.last()) else {
            return Ok(None);
        };
        if first.base_offset < self.end() {
            let is_straddled = first.last_offset >= self.end();
            if self.start() != self.end() || !is_straddled {
                return Err(self.unexpected(first, last).into());
            }
            self.start_anew(first.base_offset, now_ms)?;
        }
        self.append_verbatim(bytes, heads, now_ms).map(Some)
    }

    /// Appends what the quorum's leader made: batches that already have offsets and epoch.
    pub fn append_as_quorum_leader(
        &mut self,
        bytes: &[u8],
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<AppendOutcome, NotDone> {
        self.check_writable()?;
        let heads = heads_of(bytes, epoch)?;
        let refused = |why: String| NotDone::from(Refused::new(Refusal::InvalidRecord, why));
        let Some(first) = heads.first() else {
            return Err(refused("no batch".into()));
        };
        if first.base_offset != self.end() {
            let why = format!(
                "offset {} does not follow {}",
                first.base_offset,
                self.end()
            );
            return Err(refused(why));
        }
        for head in &heads {
            if head.leader_epoch != epoch {
                return Err(refused(format!(
                    "epoch {} is not {epoch}",
                    head.leader_epoch
                )));
            }
            if head.size > self.config.max_message_bytes {
                let why = format!("a batch of {} bytes", head.size);
                return Err(Refused::new(Refusal::MessageTooLarge, why).into());
            }
        }
        self.append_verbatim(bytes, &heads, now_ms)
    }

    fn append_verbatim(
        &mut self,
        bytes: &[u8],
        heads: &[Head],
        now_ms: i64,
    ) -> Result<AppendOutcome, NotDone> {
        let first_offset = heads.first().map_or(self.end(), |first| first.base_offset);
        let mut has_rolled = false;
        let mut n_bytes = 0;
        for run in runs(heads, self.config.segment_bytes as usize) {
            let size = run.iter().map(|head| head.size as usize).sum::<usize>();
            let rest = bytes.get(n_bytes..n_bytes + size).unwrap_or_default();
            has_rolled |= self.write(Piece {
                first: &[],
                rest,
                heads: run,
                aborted: None,
                now_ms,
            })?;
            self.apply(rest)?;
            self.publish(None);
            n_bytes += size;
        }
        Ok(self.outcome(first_offset, -1, n_bytes, has_rolled))
    }

    /// Epochs, roll, bytes and index entries. Afterwards the end has moved, and readers do not
    /// know yet. If it fails, the log is as before, or poisoned.
    fn write(&mut self, piece: Piece<'_>) -> Result<bool, NotDone> {
        match self.try_write(&piece) {
            // The room may be what we hold ourselves.
            Err(NotDone::Fault(fault)) if fault.is_passing() && self.give_back_room() > 0 => {
                self.try_write(&piece)
            }
            done => done,
        }
    }

    fn try_write(&mut self, piece: &Piece<'_>) -> Result<bool, NotDone> {
        let Some(last) = piece.heads.last() else {
            return Ok(false);
        };
        let before = self.note_epochs_of(piece.heads)?;
        let has_rolled = self.write_batches(piece).inspect_err(|_| {
            // What comes instead may be of epochs before those.
            if let Some(before) = before {
                self.note_epochs(|epochs| {
                    *epochs = before;
                    true
                });
            }
        })?;
        let end = Mark {
            offset: last.last_offset + 1,
            place: place_of_end(&self.segments),
        };
        self.ends.end = end;
        self.recent.push(end);
        let n_bytes = piece.first.len() + piece.rest.len();
        self.unsynced.wrote(piece.now_ms);
        self.recovery_point.wrote(n_bytes);
        self.room.wrote(n_bytes, piece.now_ms);
        Ok(has_rolled)
    }

    /// Notes the epochs that begin with these batches. What was known before, if that is a change.
    fn note_epochs_of(&mut self, heads: &[Head]) -> Result<Option<EpochCache>, Fault> {
        let mut before = None;
        for head in heads {
            // One that was noted further on has no records, and was never written.
            let is_known = self.epochs.latest().is_some_and(|latest| {
                latest.epoch == head.leader_epoch && latest.start_offset <= head.base_offset
            });
            if !is_known && head.leader_epoch >= 0 {
                before.get_or_insert_with(|| self.epochs.clone());
                self.assign_epoch(head.leader_epoch, head.base_offset)?;
            }
        }
        Ok(before)
    }

    fn write_batches(&mut self, piece: &Piece<'_>) -> Result<bool, Fault> {
        let n_bytes = piece.first.len() + piece.rest.len();
        let has_rolled = self.roll_if_due(piece.heads, n_bytes, piece.now_ms)?;
        let active = Arc::clone(self.active());
        let bytes = (piece.first, piece.rest);
        if let Err(failed) = active.append(bytes, piece.heads, piece.aborted, &self.config) {
            let FailedAppend { fault, is_clean } = failed;
            self.unsynced.cut_back(active);
            if !(is_clean && fault.is_passing()) {
                self.poison(&fault);
            }
            return Err(fault);
        }
        Ok(has_rolled)
    }

    /// What a marker is about to give up.
    fn aborted_by(&self, header: Header<'_>, marker: EndMarker) -> Option<AbortedTransaction> {
        let completed = self.producers.completed_by(header, marker)?;
        aborted(&completed, &self.producers)
    }

    /// Tells the producer state of a marker whose transaction, if aborted, was noted with it.
    fn apply_marker(&mut self, bytes: &[u8]) {
        if let Ok(batch) = Batch::parse(bytes)
            && let Some(completed) = self.producers.apply(batch)
        {
            self.producers.complete(&completed);
        }
    }

    /// Tells the producer state what a leader's batches were, and notes aborted transactions: how
    /// many there are, and what the last stable offset is after each, is known only on the way.
    fn apply(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        for batch in batches(bytes).flatten() {
            if let Some(completed) = self.producers.apply(batch) {
                let active = Arc::clone(self.active());
                let noted = note_aborted(&active, &completed, &self.producers);
                self.or_poison(noted)?;
                self.producers.complete(&completed);
            }
        }
        Ok(())
    }

    fn roll_if_due(&mut self, heads: &[Head], n_bytes: usize, now_ms: i64) -> Result<bool, Fault> {
        let (Some(first), Some(last)) = (heads.first(), heads.last()) else {
            return Ok(false);
        };
        let check = RollCheck {
            n_bytes,
            max_timestamp: heads
                .iter()
                .map(|head| head.max_timestamp)
                .max()
                .unwrap_or(-1),
            last_offset: last.last_offset,
            now_ms,
            jitter_ms: self.jitter_ms(),
        };
        if !self.active().must_roll(&self.config, check)? {
            return Ok(false);
        }
        // Where the leader's offsets have a gap the new segment begins before its first batch, as
        // it may: so a hole between two segments tells of one that lost its tail.
        let reaches = last.last_offset - self.end() <= i64::from(i32::MAX);
        let base = if reaches {
            self.end()
        } else {
            first.base_offset
        };
        self.roll_at(base, now_ms)
    }

    /// Rolls even though nothing asks for it; an empty active segment stays.
    pub fn roll(&mut self, now_ms: i64) -> Result<(), Fault> {
        self.check_writable()?;
        self.roll_at(self.end(), now_ms).map(|_| ())
    }

    pub(super) fn roll_at(&mut self, base: Offset, now_ms: i64) -> Result<bool, Fault> {
        let base = base.max(self.end());
        if self.active().base() == base {
            return Ok(false);
        }
        let rolled = self.try_roll(base, now_ms);
        match rolled {
            // Nothing of it is visible, and the next append tries again.
            Err(fault) if fault.is_passing() => {
                let undone = Segment::remove(&self.disk, &self.directory, base);
                self.or_poison(undone)?;
                self.unsynced.names_changed(&self.directory);
                Err(fault)
            }
            rolled => self.or_poison(rolled).map(|()| true),
        }
    }

    /// The last words of the segment that ends at `base`.
    fn complete(&mut self, old: &Segment, base: Offset) -> Result<Option<LazyFile>, Fault> {
        old.finish(&self.config)?;
        self.producers.set_end_offset(base);
        self.producer_files.take(&self.producers)
    }

    fn try_roll(&mut self, base: Offset, now_ms: i64) -> Result<(), Fault> {
        let segment = Segment::create(&self.disk, &self.directory, base, &self.config, now_ms)?;
        let old = Arc::clone(self.active());
        let snapshot = self.complete(&old, base)?;
        old.cool();
        self.room.completed(&old);
        self.unsynced.rolled(old, snapshot, &self.directory);
        self.segments.push(Arc::new(segment));
        self.ends.end.place = place_of_end(&self.segments);
        self.publish_segments();
        self.events.rolled(&self.partition, base);
        Ok(())
    }

    /// A share of `segment.jitter.ms` of its own for each segment, so that the logs of a node do
    /// not all roll at once. Derived from names, so that no randomness is needed here.
    fn jitter_ms(&self) -> i64 {
        let most = self.config.segment_jitter_ms.min(self.config.segment_ms);
        let Ok(most @ 1..) = u64::try_from(most) else {
            return 0;
        };
        let mut hasher = DefaultHasher::new();
        (&self.partition, self.active().base()).hash(&mut hasher);
        (hasher.finish() % most) as i64
    }

    fn outcome(
        &self,
        first_offset: Offset,
        append_time_ms: i64,
        n_bytes: usize,
        has_rolled: bool,
    ) -> AppendOutcome {
        let last_offset = self.end() - 1;
        self.events
            .appended(&self.partition, n_bytes, first_offset, last_offset);
        AppendOutcome {
            first_offset,
            last_offset,
            append_time_ms,
            log_start: self.start(),
            is_duplicate: false,
            n_bytes,
            has_rolled,
            flush_is_due: has_rolled || self.end() - self.flushed() >= self.config.flush_messages,
        }
    }

    fn duplicate(&self, duplicate: Duplicate) -> AppendOutcome {
        AppendOutcome {
            first_offset: duplicate.base_offset,
            last_offset: duplicate.last_offset,
            append_time_ms: duplicate.timestamp,
            log_start: self.start(),
            is_duplicate: true,
            n_bytes: 0,
            has_rolled: false,
            flush_is_due: false,
        }
    }

    fn unexpected(&self, first: &Head, last: &Head) -> Refused {
        let message = format!(
            "batches [{}, {}] do not follow the end of the log, {}",
            first.base_offset,
            last.last_offset,
            self.end()
        );
        Refused::new(Refusal::OffsetOutOfRange, message)
    }
}

/// Writes an aborted transaction down in the segment that has its marker.
pub(crate) fn note_aborted(
    segment: &Segment,
    completed: &CompletedTransaction,
    producers: &Producers,
) -> Result<(), Fault> {
    aborted(completed, producers).map_or(Ok(()), |aborted| segment.txns.append(aborted))
}

fn aborted(completed: &CompletedTransaction, producers: &Producers) -> Option<AbortedTransaction> {
    completed.is_abort.then(|| AbortedTransaction {
        producer_id: completed.producer_id,
        first_offset: completed.first_offset,
        last_offset: completed.last_offset,
        last_stable: producers.last_stable_offset_after(completed),
    })
}

/// The end of a transaction, if that is what a batch is.
fn marker_of(bytes: &[u8]) -> Option<EndMarker> {
    /// A marker is one record of a few bytes.
    const MARKER_BYTES_MAX: usize = 64 * 1024;
    let batch = Batch::parse(bytes)
        .ok()
        .filter(|batch| batch.is_control())?;
    let payload = batch.payload(MARKER_BYTES_MAX).ok()?;
    let record = payload.records().next()?.ok()?;
    EndMarker::parse(record.key?, record.value?)
}

/// Checks what was sent to be appended as it is, up to the first batch of a later epoch.
fn heads_of(bytes: &[u8], leader_epoch: LeaderEpoch) -> Result<Vec<Head>, Refused> {
    let corrupt = |why: String| Refused::new(Refusal::CorruptMessage, why);
    let mut heads: Vec<Head> = Vec::new();
    for batch in batches(bytes) {
        let batch = batch.map_err(|e| corrupt(e.to_string()))?;
        if batch.leader_epoch() > leader_epoch {
            break;
        }
        batch.verify_crc().map_err(|e| corrupt(e.to_string()))?;
        let head = Head::of(&batch).checked();
        let head = head.map_err(|e| corrupt(e.to_string()))?;
        let follows = heads
            .last()
            .is_none_or(|last| head.base_offset > last.last_offset);
        if !follows {
            return Err(corrupt(format!(
                "batch at offset {} is out of order",
                head.base_offset
            )));
        }
        heads.push(head);
    }
    Ok(heads)
}

/// Splits batches into runs that each fit into one segment.
fn runs(heads: &[Head], n_bytes_max: usize) -> impl Iterator<Item = &[Head]> {
    let mut rest = heads;
    std::iter::from_fn(move || {
        let mut size = 0;
        let fits = |head: &&Head| {
            size += head.size as usize;
            size <= n_bytes_max
        };
        // A single batch that is too large gets a segment of its own.
        let n = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (run, behind) = rest
            .split_at_checked(n)
            .filter(|(run, _)| !run.is_empty())?;
        rest = behind;
        Some(run)
    })
}

/// Where recent appends ended: the high watermark moves from one to the next, and its place in the
/// files is then known without looking there.
#[derive(Debug, Default)]
pub(super) struct RecentEnds(VecDeque<Mark>);

/// Enough for the appends between two fetches of a follower, or during one fsync.
const RECENT_ENDS_MAX: usize = 1024;

impl RecentEnds {
    pub(super) fn push(&mut self, end: Mark) {
        if self.0.len() >= RECENT_ENDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(end);
    }

    /// Forgets what lies before: watermarks rarely go back.
    pub(super) fn mark_of(&mut self, offset: Offset) -> Mark {
        while self.0.front().is_some_and(|mark| mark.offset < offset) {
            self.0.pop_front();
        }
        let found = self.0.front().copied().filter(|mark| mark.offset == offset);
        found.unwrap_or(Mark::unplaced(offset))
    }

    pub(super) fn restart(&mut self, end: Mark) {
        self.0.clear();
        self.0.push_back(end);
    }
}

//! Opening a log: after a shutdown in order without looking at the data, after a crash by reading
//! what may be torn.
//!
//! From the recovery point on every batch is checked; index entries, leader epochs, aborted
//! transactions and the producers are made anew from it, and the file is cut behind the last good
//! batch. What lies behind a cut is no longer part of the log. Below the point, sane index entries
//! are believed; an index that is missing or cannot be right is rebuilt in any case.
//!
//! That holds for a point that we wrote, all below which was synced with it. Kafka takes its own for
//! less, and reads the segment that holds it from the start; so do we with a point of Kafka's, and
//! cut where it would.

use std::cell::Cell;
use std::sync::Arc;

use ottla_protocol::batch::{Batch, NO_LEADER_EPOCH};
use ottla_protocol::epochs::EpochCache;
use ottla_protocol::{Offset, ProducerEpoch, ProducerId};

use crate::checkpoint::read_epochs;
use crate::disk::Disk;
use crate::error::Fault;
use crate::file_names::LEADER_EPOCHS;
use crate::heads::{Head, Scan, Scanned};
use crate::leftovers::{self, SegmentFiles};
use crate::log::{OpenLog, note_aborted};
use crate::log_view::Segments;
use crate::open_files::LazyFile;
use crate::producer::{Producers, SeenBatch};
use crate::producer_files::{ProducerFiles, Remember};
use crate::segment::Segment;
use crate::split::{is_in_reach, is_overflow, split};

/// A log in order.
pub(crate) struct Recovered {
    pub(crate) segments: Segments,
    pub(crate) epochs: EpochCache,
    pub(crate) producers: Producers,
    pub(crate) producer_files: ProducerFiles,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) flushed: Offset,
    pub(crate) recovery_point: Offset,
    /// The file of leader epochs does not say what `epochs` does.
    pub(crate) epochs_changed: bool,
    /// Segments whose files were changed and must be synced.
    pub(crate) rebuilt: Vec<Arc<Segment>>,
    pub(crate) snapshots: Vec<LazyFile>,
    /// The directory must be synced too.
    pub(crate) has_new_names: bool,
    pub(crate) n_scanned: usize,
    pub(crate) n_bytes_scanned: u64,
    pub(crate) n_bytes_cut: u64,
}

/// A file whose blocks hold so much more than its length had room reserved when the process ended:
/// file systems round up by less.
const BEHIND_MIN: u64 = 256 << 10;

/// Writes down a lower recovery point.
pub(crate) type Lower<'a> = dyn Fn(Offset) -> Result<(), Fault> + 'a;

/// Why an opening does not come to its end.
enum Early {
    Fault(Fault),
    /// The segment reaches too far, and becomes several before the log is opened.
    Overflow(Arc<Segment>),
}

impl From<Fault> for Early {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// See the head of this file.
pub(crate) fn recover(how: &OpenLog, lower: &Lower<'_>) -> Result<Recovered, Fault> {
    let mut how = how.clone();
    loop {
        match open(&how, lower) {
            Ok(recovered) => return Ok(recovered),
            Err(Early::Fault(fault)) => return Err(fault),
            // What comes of it is in reach, so this ends.
            Err(Early::Overflow(segment)) => split(&how.disk, &how.directory, &segment)?,
        }
        // A Kafka has compacted this log, whatever its settings are now.
        how.is_point_ours = false;
    }
}

fn open(how: &OpenLog, lower: &Lower<'_>) -> Result<Recovered, Early> {
    let listed = leftovers::resolve(&how.disk, &how.directory)?;
    let known_epochs = read_epochs(&how.disk, &how.directory.join(LEADER_EPOCHS))?;
    let mut opening = Opening {
        how,
        lower,
        epochs: known_epochs.clone(),
        known_epochs,
        bases: listed.segments.keys().copied().collect(),
        files: ProducerFiles::new(&how.disk, &how.directory, listed.snapshots),
        segments: Vec::new(),
        producers: None,
        epochs_untold: None,
        unflushed_end: None,
        rebuilt: Vec::new(),
        snapshots: Vec::new(),
        has_new_names: listed.has_changed || !how.is_clean,
        first_rebuilt: None,
        n_scanned: 0,
        n_bytes_scanned: 0,
        n_bytes_cut: 0,
    };
    let bases = opening.bases.clone();
    let unflushed = if how.is_clean {
        Offset::MAX
    } else {
        how.recovery_point
    };
    // The segment that holds the recovery point is the first one that may be torn. One of ours that
    // ends right there, too: it may have been completed afterwards, its indexes' last words not synced.
    let n_vouched_for = match unflushed {
        Offset::MAX => bases.len() + 1,
        point if how.is_point_ours => bases.partition_point(|base| *base < point),
        point => bases.partition_point(|base| *base <= point),
    };
    let first_unflushed = n_vouched_for.saturating_sub(1);
    for (at, (base, files)) in listed.segments.iter().enumerate() {
        let is_unflushed = at >= first_unflushed;
        let state = match (is_unflushed, at + 1 == bases.len()) {
            (false, _) => State::Flushed {
                is_last: !how.is_clean && !how.is_point_ours && at + 1 == first_unflushed,
            },
            (true, is_last) => State::Unflushed { is_last },
        };
        let is_cut = opening.open_segment(*base, *files, state)?;
        let behind = bases.get(at + 1..).unwrap_or_default();
        let ends_log = is_cut && !opening.is_whole_before(behind.first());
        if ends_log || is_unflushed && !opening.joins(behind.first()) {
            opening.drop_files_behind(behind)?;
            break;
        }
    }
    opening.finish()
}

/// What is to be believed of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The last one below a point of Kafka's may have been completed afterwards, as above.
    Flushed {
        is_last: bool,
    },
    Unflushed {
        is_last: bool,
    },
}

struct Opening<'a> {
    how: &'a OpenLog,
    lower: &'a Lower<'a>,
    epochs: EpochCache,
    /// As the file has them.
    known_epochs: EpochCache,
    /// Of all segments that are there.
    bases: Vec<Offset>,
    files: ProducerFiles,
    segments: Segments,
    /// The producers at the end of the last segment, if it was scanned.
    producers: Option<Producers>,
    /// Behind the last batch that was scanned, if one was: of what was compacted away from there on only
    /// the file of epochs knows.
    epochs_untold: Option<Offset>,
    /// Where the last segment ends, if it is one that the recovery point does not vouch for.
    unflushed_end: Option<Offset>,
    rebuilt: Vec<Arc<Segment>>,
    snapshots: Vec<LazyFile>,
    has_new_names: bool,
    /// The first segment whose indexes were made anew.
    first_rebuilt: Option<Offset>,
    n_scanned: usize,
    n_bytes_scanned: u64,
    n_bytes_cut: u64,
}

impl Opening<'_> {
    fn disk(&self) -> &Disk {
        &self.how.disk
    }

    fn remember(&self) -> Remember {
        let expiration_ms = self.how.config.producer_id_expiration_ms;
        Remember {
            now_ms: self.how.now_ms,
            expiration_ms,
            recalls: !self.how.is_clean,
        }
    }

    /// Returns whether the log ends here, because this segment was cut.
    fn open_segment(
        &mut self,
        base: Offset,
        files: SegmentFiles,
        state: State,
    ) -> Result<bool, Early> {
        let is_unflushed = matches!(state, State::Unflushed { .. });
        let is_last_flushed = state == State::Flushed { is_last: true };
        let (disk, now_ms) = (&self.how.disk, self.how.now_ms);
        let segment = Segment::open(disk, &self.how.directory, base, files.lengths, now_ms)?;
        let segment = Arc::new(segment);
        let cut = if let State::Unflushed { is_last } = state {
            self.resume(&segment, files, is_last)?
        } else if files.has_offsets
            && segment.has_sound_indexes(files.lengths)?
            && (!is_last_flushed || segment.has_true_last_time()?)
            && segment.has_indexes_below(self.base_behind(base).unwrap_or(Offset::MAX))?
        {
            if !files.has_times {
                segment.times.create()?;
                self.has_new_names = true;
            }
            self.producers = None;
            0
        } else {
            tracing::warn!("{}: its indexes are rebuilt", segment.path().display());
            self.scan(&segment, is_unflushed)?
        };
        if files.n_bytes_behind >= BEHIND_MIN
            && let Err(fault) = segment.free_behind_end()
        {
            tracing::debug!(%fault, "reserved room was not given back");
        }
        self.segments.push(segment);
        Ok(is_unflushed && cut > 0)
    }

    /// Scans a segment from the recovery point on, if it lies inside, is ours, and all below can be
    /// believed; else the whole of it.
    fn resume(
        &mut self,
        segment: &Arc<Segment>,
        files: SegmentFiles,
        is_last: bool,
    ) -> Result<u32, Early> {
        let point = self.how.recovery_point;
        let n_indexed = segment.n_index_entries();
        let is_whole = files.has_offsets && files.has_times && files.lengths.are_of_entries();
        let may_resume = is_whole && self.how.is_point_ours;
        let has_lowered = Cell::new(false);
        let lower = || match has_lowered.replace(true) {
            true => Ok(()),
            false => (self.lower)(segment.base()),
        };
        let resumed = if may_resume && point > segment.base() {
            segment.resume_at(point, &self.how.config, &lower)?
        } else {
            None
        };
        let Some((position, end)) = resumed else {
            return self.scan(segment, true);
        };
        if has_lowered.get() {
            self.first_rebuilt.get_or_insert(segment.base());
        }
        let is_untouched = !has_lowered.get() && segment.n_index_entries() == n_indexed;
        // One that is not the last was complete, and its indexes may lack their last words.
        if is_last && position == segment.size() && is_untouched {
            self.producers = None;
            self.unflushed_end = Some(segment.read_end()?);
            return Ok(0);
        }
        // IMPORTANT: not at the point. Where less is there than it vouches for, because something was
        // being thrown away, the snapshots behind it know of batches that are gone.
        self.files.delete_above(end)?;
        let mut above = self.segments.clone();
        above.push(Arc::clone(segment));
        let (start, how) = (self.start_of_log(segment.base()), self.remember());
        let producers = rebuild_producers(&above, &mut self.files, start, end, how)?;
        self.scan_from(segment, position, point, producers, true)
    }

    fn scan(&mut self, segment: &Arc<Segment>, is_unflushed: bool) -> Result<u32, Early> {
        let base = segment.base();
        if is_unflushed {
            // What they know may be of batches that are about to be cut.
            self.files.delete_above(base)?;
        }
        let producers = match self.producers.take() {
            Some(mut producers) => {
                producers.set_end_offset(base);
                producers
            }
            None => {
                let start = self.start_of_log(base);
                let how = self.remember();
                rebuild_producers(&self.segments, &mut self.files, start, base, how)?
            }
        };
        if base < self.how.recovery_point {
            (self.lower)(base)?;
        }
        segment.reset()?;
        self.first_rebuilt.get_or_insert(base);
        self.scan_from(segment, 0, base, producers, is_unflushed)
    }

    fn scan_from(
        &mut self,
        segment: &Arc<Segment>,
        position: u32,
        offset: Offset,
        mut producers: Producers,
        is_unflushed: bool,
    ) -> Result<u32, Early> {
        if is_unflushed {
            // As with producers: batches from here on tell their epochs again.
            self.epochs.truncate_from_end(offset);
        }
        let n_bytes = segment.size().saturating_sub(position);
        let from = (position, offset);
        let bounds = (from, self.base_behind(segment.base()));
        let untold = self.epochs_untold.get_or_insert(offset);
        let epochs = (&self.known_epochs, &mut self.epochs, untold);
        let cut = scan_segment(segment, bounds, self.how, epochs, &mut producers)?;
        if is_unflushed {
            let snapshot = self.files.take(&producers)?;
            self.snapshots.extend(snapshot);
        }
        self.unflushed_end = Some(producers.end_offset());
        self.producers = Some(producers);
        self.rebuilt.push(Arc::clone(segment));
        self.n_scanned += 1;
        self.n_bytes_scanned += u64::from(n_bytes);
        self.n_bytes_cut += u64::from(cut);
        if cut > 0 {
            tracing::warn!("{}: {cut} torn bytes are cut off", segment.path().display());
        }
        Ok(cut)
    }

    /// Whether nothing is missing between the segment that was scanned last and the next one. What was
    /// cut off was no batch then: spare bytes of Kafka's `preallocate`, say, whose trimming a power cut
    /// took back. Kafka, which scans such a segment more seldom, throws away what is behind it.
    fn is_whole_before(&self, next: Option<&Offset>) -> bool {
        self.how.is_point_ours && next.is_some() && self.unflushed_end == next.copied()
    }

    /// Whether the next segment goes on where the one that was scanned last ends. Without
    /// compaction a hole between them tells of a tail that was lost between two batches (in what is
    /// ours: of a log of Kafka's we do not know what it was once); an overlap tells of a segment that
    /// was removed, and came back with the power.
    fn joins(&self, next: Option<&Offset>) -> bool {
        let (Some(end), Some(next)) = (self.unflushed_end, next) else {
            return true;
        };
        // What does not fit into one segment was never its tail.
        let base = self.segments.last().map_or(end, |last| last.base());
        let is_far = *next - base > i64::from(i32::MAX);
        let may_gape = is_far || self.how.config.cleanup_compact || !self.how.is_point_ours;
        let joins = end == *next || end < *next && may_gape;
        if !joins {
            let path = self.how.directory.display();
            tracing::warn!("{path}: segment {next} does not follow {end}, where the log ends now");
        }
        joins
    }

    /// Where the next segment begins.
    fn base_behind(&self, base: Offset) -> Option<Offset> {
        let at = self.bases.partition_point(|it| *it <= base);
        self.bases.get(at).copied()
    }

    fn start_of_log(&self, otherwise: Offset) -> Offset {
        let first = self
            .segments
            .first()
            .map_or(otherwise, |first| first.base());
        self.how.start.max(first)
    }

    /// The files of segments that come behind one that was cut. IMPORTANT: they are gone for good
    /// before anything is appended, or they would come back behind it.
    fn drop_files_behind(&mut self, bases: &[Offset]) -> Result<(), Fault> {
        use crate::file_names::{FileKind, segment_file};
        if bases.is_empty() {
            return Ok(());
        }
        for base in bases.iter().rev() {
            for kind in FileKind::OF_SEGMENT {
                self.disk()
                    .remove(&segment_file(&self.how.directory, *base, kind))?;
            }
        }
        self.disk().sync_directory(&self.how.directory)
    }

    fn finish(mut self) -> Result<Recovered, Early> {
        let mut end = self.read_end()?;
        // A last segment without records may begin behind some that compaction has taken.
        if let Some(untold) = self.epochs_untold {
            adopt(&mut self.epochs, &self.known_epochs, untold, end, i32::MAX);
        }
        if end < self.how.start {
            tracing::warn!(
                "{}: the log ends at {end}, below its start {}; it starts anew there",
                self.how.directory.display(),
                self.how.start
            );
            let bases: Vec<Offset> = self.segments.drain(..).map(|s| s.base()).collect();
            self.drop_files_behind(&bases)?;
            self.rebuilt.clear();
            self.epochs.clear();
            self.files.delete_all()?;
        }
        if self.segments.is_empty() {
            let OpenLog {
                disk,
                directory,
                start,
                config,
                now_ms,
                ..
            } = self.how;
            let segment = Segment::create(disk, directory, *start, config, *now_ms)?;
            self.segments.push(Arc::new(segment));
            self.has_new_names = true;
            self.producers = None;
            end = *start;
        }
        let start = self.start_of_log(end).min(end);
        self.epochs.truncate_from_end(end);
        self.epochs.truncate_from_start(start);
        let epochs_changed = self.epochs != self.known_epochs;
        let producers = self.producers_at(start, end)?;
        // A clean shutdown has synced everything; after a crash only the checkpoint is to be
        // believed, whatever we have read back just now.
        let is_settled = self.how.is_clean && self.n_scanned == 0;
        let flushed = if is_settled {
            end
        } else {
            self.how.recovery_point.clamp(0, end)
        };
        Ok(Recovered {
            segments: self.segments,
            epochs: self.epochs,
            producers,
            producer_files: self.files,
            start,
            end,
            flushed,
            recovery_point: self
                .first_rebuilt
                .map_or(flushed, |rebuilt| rebuilt.min(flushed)),
            epochs_changed,
            rebuilt: self.rebuilt,
            snapshots: self.snapshots,
            has_new_names: self.has_new_names,
            n_scanned: self.n_scanned,
            n_bytes_scanned: self.n_bytes_scanned,
            n_bytes_cut: self.n_bytes_cut,
        })
    }

    /// Reads headers behind the last index entry; if they make no sense, or not with the indexes, the
    /// whole segment.
    fn read_end(&mut self) -> Result<Offset, Early> {
        let Some(active) = self.segments.last().map(Arc::clone) else {
            return Ok(self.how.start);
        };
        let is_scanned = self.producers.is_some();
        match active.read_end() {
            Err(Fault::Corrupt { .. }) if !is_scanned => {}
            Ok(end) if !is_scanned && !active.has_indexes_below(end)? => {}
            end => return Ok(end?),
        }
        self.segments.pop();
        let scanned = self.scan(&active, true);
        self.segments.push(Arc::clone(&active));
        scanned?;
        Ok(active.read_end()?)
    }

    fn producers_at(&mut self, start: Offset, end: Offset) -> Result<Producers, Fault> {
        let is_old = self.how.is_clean && self.files.is_empty();
        self.files.delete_above(end)?;
        let mut producers = match self.producers.take() {
            Some(producers) => producers,
            // Shut down in order by something that knew no snapshots: there were no producers.
            None if is_old => Producers::empty(start),
            None => {
                let how = self.remember();
                rebuild_producers(&self.segments, &mut self.files, start, end, how)?
            }
        };
        producers.set_end_offset(end);
        // IMPORTANT: now, when the newest is known to read well. A write that failed leaves one that does
        // not, and it would take the place of the one that was needed.
        let bases: Vec<Offset> = self.segments.iter().map(|segment| segment.base()).collect();
        self.files.delete_strays(&bases)?;
        let snapshot = self.files.take(&producers)?;
        self.snapshots.extend(snapshot);
        Ok(producers)
    }
}

/// The producers of a log at `end`: the newest snapshot, and what was appended since.
pub(crate) fn rebuild_producers(
    segments: &Segments,
    files: &mut ProducerFiles,
    start: Offset,
    end: Offset,
    how: Remember,
) -> Result<Producers, Fault> {
    let mut producers = files.load(start, end, how)?;
    if how.recalls {
        recall(segments, start, &mut producers)?;
    }
    let from = producers.end_offset().max(start);
    if from < end {
        let first = segments
            .partition_point(|segment| segment.base() <= from)
            .saturating_sub(1);
        for segment in segments
            .iter()
            .skip(first)
            .take_while(|segment| segment.base() < end)
        {
            replay(segment, from, end, &mut producers)?;
        }
    }
    producers.set_end_offset(end);
    Ok(producers)
}

/// How far below a snapshot headers are read once more, in entries of the offset index, which are a page
/// apart or a batch that is larger. What a producer may send again, five batches at most, was among
/// the last that were written. The first steps are all that is read if nobody can lack anything
/// behind them: what lies there may have to come from the disk, a page for each entry.
const RECALLED_ENTRIES: [u32; 3] = [8, 64, 256];

/// A snapshot knows of each producer the newest batch. Those before it whose answers a crash took come
/// again, and must not be taken for new ones, or for gaps.
fn recall(segments: &Segments, start: Offset, producers: &mut Producers) -> Result<(), Fault> {
    let end = producers.end_offset();
    if !producers.lack_batches_from(start) {
        return Ok(());
    }
    let [.., most] = RECALLED_ENTRIES;
    // One more: an entry may name what lies behind the batch that it leads to (before Kafka 4.0).
    let Some((.., lowest)) = stretches_before(segments, start, end, most + 1)?.pop() else {
        return Ok(());
    };
    for n_entries in RECALLED_ENTRIES {
        if !producers.lack_batches_from(lowest) {
            break;
        }
        // From the newest back.
        for (segment, position, _) in stretches_before(segments, start, end, n_entries)? {
            let seen = seen_between(segment, position, (start, end))?;
            for (producer_id, epoch, batch) in seen.into_iter().rev() {
                producers.recall(producer_id, epoch, batch);
            }
        }
    }
    Ok(())
}

/// Where to begin in each segment to see the last `n` entries below `end`, newest segment first; and
/// the offset of the entry there.
fn stretches_before(
    segments: &Segments,
    start: Offset,
    end: Offset,
    n: u32,
) -> Result<Vec<(&Segment, u32, Offset)>, Fault> {
    let mut n_left = n;
    let mut stretches = Vec::new();
    for segment in segments.iter().rev().skip_while(|it| it.base() >= end) {
        if n_left == 0 {
            break;
        }
        let (place, n) = segment.place_before(end, n_left)?;
        stretches.push((&**segment, place.position, place.offset));
        let is_first = segment.base() <= start;
        // The first batch of a segment has no entry.
        n_left = if is_first {
            0
        } else {
            n_left.saturating_sub(n + 1)
        };
    }
    Ok(stretches)
}

/// The batches of producers from `position` on that reach into `[start, end)`.
fn seen_between(
    segment: &Segment,
    position: u32,
    (start, end): (Offset, Offset),
) -> Result<Vec<(ProducerId, ProducerEpoch, SeenBatch)>, Fault> {
    let mut seen = Vec::new();
    let mut heads = segment.heads(position);
    while let Some(head) = heads.next() {
        let head = match head {
            // What lies below the recovery point is somebody else's to judge.
            Err(Fault::Corrupt { .. }) => break,
            head => head?,
        };
        if head.base_offset >= end {
            break;
        }
        let header = heads.header_of(&head).filter(|_| head.last_offset >= start);
        if let Some(header) = header.filter(|it| it.has_producer_id() && !it.is_control()) {
            let batch = SeenBatch::of(header);
            seen.push((header.producer_id(), header.producer_epoch(), batch));
        }
    }
    Ok(seen)
}

fn replay(
    segment: &Segment,
    from: Offset,
    end: Offset,
    producers: &mut Producers,
) -> Result<(), Fault> {
    let mut scan = Scan::new(
        segment.log_file(),
        segment.index_position(from)?,
        segment.size(),
    );
    loop {
        match scan.next()? {
            Scanned::Batch(head, _) if head.base_offset >= end => return Ok(()),
            Scanned::Batch(head, batch) if head.last_offset >= from => {
                if let Some(completed) = producers.apply(batch) {
                    producers.complete(&completed);
                }
            }
            Scanned::Batch(..) | Scanned::Legacy(..) => {}
            Scanned::End | Scanned::Torn(_) => return Ok(()),
        }
    }
}

/// Checks every batch of a segment from a position on, at which no batch below `from` starts; adds
/// it to the indexes and cuts what is not good. Returns how many bytes were cut. `next` is the base
/// of what follows; no batch has told of epochs from `untold` on.
fn scan_segment(
    segment: &Arc<Segment>,
    ((position, offset), next): ((u32, Offset), Option<Offset>),
    how: &OpenLog,
    (known_epochs, epochs, untold): (&EpochCache, &mut EpochCache, &mut Offset),
    producers: &mut Producers,
) -> Result<u32, Early> {
    let mut scan = Scan::new(segment.log_file(), position, segment.size());
    let mut last_offset = offset - 1;
    let mut good = position;
    let why = loop {
        let (head, batch) = match scan.next()? {
            Scanned::End => break None,
            Scanned::Torn(why) => break Some(why.to_string()),
            Scanned::Legacy(head, _) => (head, None),
            Scanned::Batch(head, batch) => (head, Some(batch)),
        };
        if let Some(Err(why)) = batch.map(Batch::verify_crc) {
            break Some(why.to_string());
        }
        if !is_in_reach(segment.base(), &head) && is_overflow(segment, &head, next)? {
            return Err(Early::Overflow(Arc::clone(segment)));
        }
        if !follows(&head, last_offset, segment.base()) {
            let (first, last) = (head.base_offset, head.last_offset);
            break Some(format!("[{first}, {last}] follows offset {last_offset}"));
        }
        *untold = note_epoch(epochs, known_epochs, &head, *untold);
        if let Some(batch) = batch
            && let Some(completed) = producers.apply(batch)
        {
            note_aborted(segment, &completed, producers)?;
            producers.complete(&completed);
        }
        segment.index_batch(head, head.position, &how.config)?;
        last_offset = head.last_offset;
        good = scan.position();
    };
    if let Some(why) = why {
        tracing::warn!("{} at position {good}: {why}", segment.path().display());
    }
    producers.set_end_offset(last_offset + 1);
    let cut = segment.cut(good)?;
    segment.finish(&how.config)?;
    Ok(cut)
}

/// What a batch says of epochs; and what the file says from `untold` on of the batches before it that
/// compaction has taken, unless it contradicts what is there. One that names no epoch has what the
/// file says. Returns from where on epochs are not told.
fn note_epoch(epochs: &mut EpochCache, known: &EpochCache, head: &Head, untold: Offset) -> Offset {
    let is_named = head.leader_epoch != NO_LEADER_EPOCH;
    let most = if is_named {
        head.leader_epoch
    } else {
        i32::MAX
    };
    adopt(epochs, known, untold, head.base_offset + 1, most);
    if !is_named {
        return head.base_offset + 1;
    }
    if epochs.latest_epoch() < Some(head.leader_epoch) {
        epochs.assign(head.leader_epoch, head.base_offset);
    }
    head.last_offset + 1
}

/// Epochs up to `most` that start in `[from, to)`, of which no batch tells.
fn adopt(epochs: &mut EpochCache, known: &EpochCache, from: Offset, to: Offset, most: i32) {
    let first = known.entries().partition_point(|it| it.start_offset < from);
    let untold = known.entries()[first..]
        .iter()
        .take_while(|it| it.start_offset < to);
    for entry in untold.filter(|it| it.epoch <= most) {
        if epochs.latest_epoch() < Some(entry.epoch) {
            epochs.assign(entry.epoch, entry.start_offset);
        }
    }
}

fn follows(head: &Head, last_offset: Offset, base: Offset) -> bool {
    head.base_offset > last_offset && is_in_reach(base, head)
}

//! One segment: a `.log` file and its three indexes; what it takes, and when the next one begins.
//!
//! One writer, the log; any number of readers, which see only what is below `size`. The files are
//! exactly as long as what they hold, so that a segment needs no trimming when it stops being
//! active (except with `preallocate`).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};

use ottla_protocol::Offset;
use ottla_protocol::batch::Header;
use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, Opened};
use crate::error::Fault;
use crate::file_names::{FileKind, Stage, segment_file, staged_file};
use crate::heads::{Head, Heads};
use crate::index::{
    AbortedTransaction, OffsetIndex, OffsetPosition, TimeIndex, TimestampOffset, TxnIndex,
};
use crate::log_config::LogConfig;
use crate::open_files::LazyFile;
use crate::split::is_in_reach;

/// Positions are i32 in the indexes, so no segment reaches this.
pub(crate) const SEGMENT_BYTES_MAX: u32 = i32::MAX as u32;
/// "Not known yet" in `first_timestamp`.
const UNKNOWN: i64 = i64::MIN;

#[derive(Debug)]
pub(crate) struct Segment {
    base: Offset,
    disk: Disk,
    directory: PathBuf,
    log: LazyFile,
    /// Bytes of whole batches; the file may be longer while a write is under way.
    size: AtomicU32,
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
    pub(crate) txns: TxnIndex,
    /// The largest timestamp so far; `None` until it is asked for after an open.
    largest: Mutex<Option<TimestampOffset>>,
    /// The largest timestamp of the first batch, which decides when to roll by time.
    first_timestamp: AtomicI64,
    created_ms: AtomicI64,
    /// Bytes written since the newest index entry. Only the writer looks.
    since_entry: AtomicU32,
    /// Its names are gone: what is not open yet cannot be opened any more.
    is_retired: AtomicBool,
}

/// How long a segment's files are, as a listing of the directory found them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lengths {
    pub(crate) log: u64,
    pub(crate) offsets: u64,
    pub(crate) times: u64,
    pub(crate) txns: u64,
}

impl Lengths {
    /// Whether the indexes are made of whole entries.
    pub(crate) fn are_of_entries(&self) -> bool {
        self.offsets.is_multiple_of(8)
            && self.times.is_multiple_of(12)
            && self.txns.is_multiple_of(34)
    }
}

/// What a roll is decided by; see `Segment::must_roll`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RollCheck {
    pub(crate) n_bytes: usize,
    pub(crate) max_timestamp: i64,
    pub(crate) last_offset: Offset,
    pub(crate) now_ms: i64,
    /// This segment's share of `segment.jitter.ms`.
    pub(crate) jitter_ms: i64,
}

/// The state before an append, to go back to when it fails half-way.
#[derive(Debug, Clone, Copy)]
struct Mark {
    size: u32,
    n_offsets: u32,
    n_times: u32,
    n_aborted: u32,
    since_entry: u32,
    largest: TimestampOffset,
}

impl Segment {
    /// A new, empty segment. What an unfinished roll left under its names is removed.
    pub(crate) fn create(
        disk: &Disk,
        directory: &Path,
        base: Offset,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<Self, Fault> {
        disk.remove(&segment_file(directory, base, FileKind::TxnIndex))?;
        let place = (directory, base, Stage::Final);
        let segment = Self::over(disk, place, Lengths::default(), now_ms);
        segment.log.create()?;
        if config.preallocate {
            let n_bytes = u64::from(config.segment_bytes);
            segment.log.with(|log| log.set_length(n_bytes))?;
        }
        segment.prepare()?;
        Ok(segment)
    }

    /// A new, empty segment under the names of one that compaction is writing.
    pub(crate) fn create_cleaned(
        disk: &Disk,
        directory: &Path,
        base: Offset,
        now_ms: i64,
    ) -> Result<Self, Fault> {
        let name = |kind| staged_file(directory, base, kind, Stage::Cleaned);
        disk.remove(&name(FileKind::TxnIndex))?;
        let place = (directory, base, Stage::Cleaned);
        let segment = Self::over(disk, place, Lengths::default(), now_ms);
        // IMPORTANT: its directory may get another name while it is written.
        for file in segment.all_files() {
            file.keep_open();
        }
        segment.log.create()?;
        segment.prepare()?;
        Ok(segment)
    }

    fn prepare(&self) -> Result<(), Fault> {
        self.offsets.create()?;
        self.times.create()?;
        *self.largest.lock() = Some(TimestampOffset {
            timestamp: -1,
            offset: self.base,
        });
        Ok(())
    }

    /// Takes back what `create` made. IMPORTANT: a roll that failed must leave no file: records that
    /// go on into the segment before it would be hidden by an empty one with their offset.
    pub(crate) fn remove(disk: &Disk, directory: &Path, base: Offset) -> Result<(), Fault> {
        let remove = |kind| disk.remove(&segment_file(directory, base, kind));
        FileKind::OF_SEGMENT.into_iter().try_for_each(remove)
    }

    /// An existing segment. Nothing is opened yet, and no data is read.
    pub(crate) fn open(
        disk: &Disk,
        directory: &Path,
        base: Offset,
        lengths: Lengths,
        now_ms: i64,
    ) -> Result<Self, Fault> {
        let path = segment_file(directory, base, FileKind::Log);
        if lengths.log > u64::from(SEGMENT_BYTES_MAX) {
            return Err(Fault::corrupt(
                &path,
                format!("{} bytes are too many", lengths.log),
            ));
        }
        let place = (directory, base, Stage::Final);
        Ok(Self::over(disk, place, lengths, now_ms))
    }

    fn over(
        disk: &Disk,
        (directory, base, stage): (&Path, Offset, Stage),
        lengths: Lengths,
        now_ms: i64,
    ) -> Self {
        let name = |kind| staged_file(directory, base, kind, stage);
        Self {
            base,
            disk: disk.clone(),
            directory: directory.to_owned(),
            log: LazyFile::closed_unguessed(disk, name(FileKind::Log)),
            size: AtomicU32::new(lengths.log as u32),
            offsets: OffsetIndex::new(disk, name(FileKind::OffsetIndex), base, lengths.offsets),
            times: TimeIndex::new(disk, name(FileKind::TimeIndex), base, lengths.times),
            txns: TxnIndex::new(disk, name(FileKind::TxnIndex), base, lengths.txns),
            largest: Mutex::new(None),
            first_timestamp: AtomicI64::new(UNKNOWN),
            created_ms: AtomicI64::new(now_ms),
            since_entry: AtomicU32::new(0),
            is_retired: AtomicBool::new(false),
        }
    }

    pub(crate) fn base(&self) -> Offset {
        self.base
    }

    pub(crate) fn size(&self) -> u32 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn n_index_entries(&self) -> (u32, u32, u32) {
        (
            self.offsets.n_entries(),
            self.times.n_entries(),
            self.txns.n_entries(),
        )
    }

    pub(crate) fn log_file(&self) -> &LazyFile {
        &self.log
    }

    fn all_files(&self) -> [&LazyFile; 4] {
        [
            &self.log,
            self.offsets.file(),
            self.times.file(),
            self.txns.file(),
        ]
    }

    pub(crate) fn path(&self) -> &Path {
        self.log.path()
    }

    /// Every file that must be synced for this segment, which has had its last words, to need no
    /// recovery. Of one that goes on, what its indexes have in memory alone is not among it.
    pub(crate) fn files(&self) -> Result<Vec<DiskFile>, Fault> {
        let mut files = self.open_index_files()?;
        files.push(self.log.get()?);
        Ok(files)
    }

    /// The indexes with all their entries, to be synced.
    pub(crate) fn index_files(&self) -> Result<Vec<DiskFile>, Fault> {
        self.write_out_indexes()?;
        self.open_index_files()
    }

    fn open_index_files(&self) -> Result<Vec<DiskFile>, Fault> {
        let mut files = vec![self.offsets.file().get()?, self.times.file().get()?];
        // One that was emptied must be synced, too: its old entries would come back. Until then it
        // is open.
        if self.txns.n_entries() > 0 || self.txns.file().is_open() {
            files.push(self.txns.file().get()?);
        }
        Ok(files)
    }

    /// Writes entries that are in memory alone. Returns whether there were any.
    fn write_out_indexes(&self) -> Result<bool, Fault> {
        let has_written = self.offsets.write_out()?;
        Ok(self.times.write_out()? || has_written)
    }

    /// Whether there is a transaction index.
    pub(crate) fn has_aborted(&self) -> bool {
        self.txns.n_entries() > 0
    }

    /// How long its files are.
    pub(crate) fn lengths(&self) -> Lengths {
        Lengths {
            log: self.size().into(),
            offsets: self.offsets.n_bytes(),
            times: self.times.n_bytes(),
            txns: self.txns.n_bytes(),
        }
    }

    /// When its data was last written.
    pub(crate) fn modified_ms(&self) -> Result<i64, Fault> {
        self.log.with(|log| log.modified_ms())
    }

    /// What says since when its records wait for compaction: the largest timestamp of its first
    /// batch; `None` if there is no batch.
    pub(crate) fn first_timestamp(&self) -> Result<Option<i64>, Fault> {
        let first = match self.first_timestamp.load(Ordering::Relaxed) {
            UNKNOWN => self.load_first_timestamp()?,
            known => known,
        };
        Ok(Some(first).filter(|first| *first != UNKNOWN))
    }

    /// Kafka's four reasons; any of them is enough.
    pub(crate) fn must_roll(&self, config: &LogConfig, check: RollCheck) -> Result<bool, Fault> {
        let size = u64::from(self.size());
        let limit = u64::from(config.segment_bytes.min(SEGMENT_BYTES_MAX));
        if size + check.n_bytes as u64 > limit
            || check.last_offset.saturating_sub(self.base) > i64::from(i32::MAX)
            || self.offsets.is_full(config.segment_index_bytes)
            || self.times.is_full(config.segment_index_bytes)
        {
            return Ok(true);
        }
        let waited = self.waited_ms(check.max_timestamp, check.now_ms)?;
        Ok(size > 0 && waited > config.roll_after_ms().saturating_sub(check.jitter_ms))
    }

    /// How old this segment is: by the records' time if they have one, else by the wall clock.
    fn waited_ms(&self, max_timestamp: i64, now_ms: i64) -> Result<i64, Fault> {
        let first = match self.first_timestamp.load(Ordering::Relaxed) {
            UNKNOWN => self.load_first_timestamp()?,
            known => known,
        };
        if first >= 0 {
            return Ok(max_timestamp.saturating_sub(first));
        }
        Ok(now_ms.saturating_sub(self.created_ms.load(Ordering::Relaxed)))
    }

    fn load_first_timestamp(&self) -> Result<i64, Fault> {
        let Some(first) = self.heads(0).next().transpose()? else {
            return Ok(UNKNOWN);
        };
        self.first_timestamp
            .store(first.max_timestamp, Ordering::Relaxed);
        Ok(first.max_timestamp)
    }

    /// Writes whole batches at the end and their index entries. `heads` are those batches, their
    /// bytes are `first` and then `rest`. If any part of it fails, the segment is put back as it
    /// was; if even that fails (`is_clean` false), the log must be poisoned.
    pub(crate) fn append(
        &self,
        bytes: (&[u8], &[u8]),
        heads: &[Head],
        aborted: Option<AbortedTransaction>,
        config: &LogConfig,
    ) -> Result<(), FailedAppend> {
        let mark = self.mark().map_err(FailedAppend::before)?;
        let append = |log: &Opened| Ok(self.append_to(log, mark, bytes, heads, aborted, config));
        // The outer failure: it could not be opened.
        self.log.with(append).map_err(FailedAppend::before)?
    }

    fn append_to(
        &self,
        log: &Opened,
        mark: Mark,
        (first, rest): (&[u8], &[u8]),
        heads: &[Head],
        aborted: Option<AbortedTransaction>,
        config: &LogConfig,
    ) -> Result<(), FailedAppend> {
        let n_bytes = first.len() + rest.len();
        let written = log
            .write_both_at(first, rest, u64::from(mark.size))
            .and_then(|()| self.index(heads, mark.size, config))
            .and_then(|()| aborted.map_or(Ok(()), |aborted| self.txns.append(aborted)));
        match written {
            Ok(()) => {
                self.size
                    .store(mark.size + n_bytes as u32, Ordering::Release);
                Ok(())
            }
            Err(fault) => {
                let is_clean = self.go_back(log, mark, config).is_ok();
                Err(FailedAppend { fault, is_clean })
            }
        }
    }

    fn index(&self, heads: &[Head], position: u32, config: &LogConfig) -> Result<(), Fault> {
        let mut position = position;
        for head in heads {
            self.index_batch(*head, position, config)?;
            position += head.size;
        }
        Ok(())
    }

    /// Takes note of one batch that starts at `position`: recovery does the same.
    pub(crate) fn index_batch(
        &self,
        head: Head,
        position: u32,
        config: &LogConfig,
    ) -> Result<(), Fault> {
        if self.first_timestamp.load(Ordering::Relaxed) == UNKNOWN && position == 0 {
            self.first_timestamp
                .store(head.max_timestamp, Ordering::Relaxed);
        }
        let largest = self.note_largest(&head)?;
        let mut since = self.since_entry.load(Ordering::Relaxed);
        if self.is_entry_due(config) {
            self.offsets.append(head.last_offset, position)?;
            self.times
                .append(largest, config.segment_index_bytes, false)?;
            since = 0;
        }
        self.since_entry
            .store(since.saturating_add(head.size), Ordering::Relaxed);
        Ok(())
    }

    /// Whether the next batch gets an entry in the indexes.
    fn is_entry_due(&self, config: &LogConfig) -> bool {
        self.since_entry.load(Ordering::Relaxed) > config.index_interval_bytes
    }

    /// The largest timestamp, this batch included.
    fn note_largest(&self, head: &Head) -> Result<TimestampOffset, Fault> {
        let mut largest = self.largest()?;
        if head.max_timestamp > largest.timestamp {
            largest = TimestampOffset {
                timestamp: head.max_timestamp,
                offset: head.last_offset,
            };
            *self.largest.lock() = Some(largest);
        }
        Ok(largest)
    }

    fn mark(&self) -> Result<Mark, Fault> {
        Ok(Mark {
            size: self.size(),
            n_offsets: self.offsets.n_entries(),
            n_times: self.times.n_entries(),
            n_aborted: self.txns.n_entries(),
            since_entry: self.since_entry.load(Ordering::Relaxed),
            largest: self.largest()?,
        })
    }

    fn go_back(&self, log: &Opened, mark: Mark, config: &LogConfig) -> Result<(), Fault> {
        self.since_entry.store(mark.since_entry, Ordering::Relaxed);
        *self.largest.lock() = Some(mark.largest);
        if mark.size == 0 {
            self.first_timestamp.store(UNKNOWN, Ordering::Relaxed);
        }
        self.offsets.keep(mark.n_offsets)?;
        self.times.keep(mark.n_times)?;
        self.txns.keep(mark.n_aborted)?;
        log.set_length(u64::from(mark.size))?;
        self.preallocate(mark.size, config)
    }

    /// Frees the blocks that are reserved behind the end. IMPORTANT: under the log's lock, as is
    /// everything that sets a length.
    pub(crate) fn free_behind_end(&self) -> Result<(), Fault> {
        let size = u64::from(self.size());
        let log = self.log.get()?;
        if log.length()? != size {
            // Spare bytes of Kafka's `preallocate`: `finish` trims those, and has them synced.
            return Ok(());
        }
        // Setting the length makes the file look modified, even if it stays.
        let modified_ms = log.modified_ms()?;
        log.set_length(size)?;
        log.set_modified_ms(modified_ms)
    }

    /// IMPORTANT: a segment may hold more than `segment.bytes` says by now, and keeps it.
    fn preallocate(&self, size: u32, config: &LogConfig) -> Result<(), Fault> {
        if config.preallocate && config.segment_bytes > size {
            self.set_length(config.segment_bytes)?;
        }
        Ok(())
    }

    fn set_length(&self, size: u32) -> Result<(), Fault> {
        self.log.with(|log| log.set_length(u64::from(size)))
    }

    /// The largest timestamp, and the last offset of its batch. (-1, base) if there is none.
    pub(crate) fn largest(&self) -> Result<TimestampOffset, Fault> {
        let mut largest = self.largest.lock();
        if let Some(known) = *largest {
            return Ok(known);
        }
        // A segment closed in order ends its time index with this entry.
        let last = self.times.last()?;
        *largest = Some(last);
        Ok(last)
    }

    /// What retention by time goes by: the largest timestamp, or when the file was last written.
    pub(crate) fn age_mark_ms(&self) -> Result<i64, Fault> {
        let largest = self.largest()?;
        if largest.timestamp >= 0 {
            Ok(largest.timestamp)
        } else {
            self.modified_ms()
        }
    }

    /// The batch that holds `offset`, or the first one behind it; `None` if there is none.
    pub(crate) fn find(&self, offset: Offset) -> Result<Option<Head>, Fault> {
        let start = self.index_position(offset)?;
        for head in self.heads(start) {
            let head = head?;
            if head.last_offset >= offset {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// Where to start looking for `offset`. An index that points past the data is not believed.
    pub(crate) fn index_position(&self, offset: Offset) -> Result<u32, Fault> {
        match self.offsets.lookup(offset) {
            Ok(found) if found.position < self.size() => Ok(found.position),
            Ok(_) => Ok(0),
            Err(_) if self.is_retired() => Ok(0),
            Err(fault) => Err(fault),
        }
    }

    /// Where to begin to see the last `n` stretches below `offset`, as far as the index tells them
    /// apart, and how many they are.
    pub(crate) fn place_before(
        &self,
        offset: Offset,
        n: u32,
    ) -> Result<(OffsetPosition, u32), Fault> {
        let (place, n) = self.offsets.place_before(offset, n)?;
        let is_inside = place.position < self.size();
        Ok((
            if is_inside {
                place
            } else {
                self.offsets.start()
            },
            n,
        ))
    }

    /// The batch headers from `position`, which must be the start of a batch.
    pub(crate) fn heads(&self, position: u32) -> Heads<'_> {
        Heads::new(&self.log, position, self.size())
    }

    /// An offset at or behind everything that starts below `position`, from the index alone;
    /// `None` if the index does not reach that far.
    pub(crate) fn offset_behind(&self, position: u64) -> Result<Option<Offset>, Fault> {
        self.offsets.first_at_or_behind(position)
    }

    /// The bytes of one batch.
    pub(crate) fn read_batch(&self, head: &Head) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; head.size as usize];
        let n_read = self
            .log
            .with(|log| log.read_at(&mut bytes, u64::from(head.position)))?;
        bytes.truncate(n_read);
        Ok(bytes)
    }

    /// The offset behind the last batch. Reads headers from the last index entry on. Bytes behind
    /// that are no whole batch are corrupt: what is appended to them could never be read.
    pub(crate) fn read_end(&self) -> Result<Offset, Fault> {
        let mut position = self.index_position(Offset::MAX)?;
        let mut end = self.base;
        for head in self.heads(position) {
            let head = head?;
            end = head.last_offset.saturating_add(1);
            position = head.position + head.size;
        }
        if position < self.size() {
            let why = format!("what is at position {position} is no whole batch");
            return Err(Fault::corrupt(self.path(), why));
        }
        Ok(end)
    }

    /// Drops the batch that holds `offset` and all behind it.
    pub(crate) fn truncate(
        &self,
        offset: Offset,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let found = self.find(offset)?;
        self.offsets.truncate(offset)?;
        self.times.truncate(offset)?;
        self.txns.truncate(offset)?;
        if let Some(head) = found {
            self.size.store(head.position, Ordering::Release);
            self.set_length(head.position)?;
            self.preallocate(head.position, config)?;
        }
        if self.size() == 0 {
            self.created_ms.store(now_ms, Ordering::Relaxed);
            self.first_timestamp.store(UNKNOWN, Ordering::Relaxed);
        }
        self.since_entry.store(0, Ordering::Relaxed);
        self.reload_largest()
    }

    /// Learns the largest timestamp from the time index and the batches behind its last entry.
    pub(crate) fn reload_largest(&self) -> Result<(), Fault> {
        let mut largest = self.times.last()?;
        for head in self.heads(self.index_position(largest.offset)?) {
            let head = head?;
            if head.max_timestamp > largest.timestamp {
                largest = TimestampOffset {
                    timestamp: head.max_timestamp,
                    offset: head.last_offset,
                };
            }
        }
        *self.largest.lock() = Some(largest);
        Ok(())
    }

    /// Forgets the indexes and what was derived from the data; recovery builds them again.
    pub(crate) fn reset(&self) -> Result<(), Fault> {
        self.offsets.create()?;
        self.times.create()?;
        self.txns.clear()?;
        self.since_entry.store(0, Ordering::Relaxed);
        self.first_timestamp.store(UNKNOWN, Ordering::Relaxed);
        *self.largest.lock() = Some(TimestampOffset {
            timestamp: -1,
            offset: self.base,
        });
        Ok(())
    }

    /// Where the batch at `point` starts (or would start), and the offset behind the last one below
    /// it, if the indexes can be believed. They keep what they know of batches below; if `None`, they
    /// are as before, or to be made anew. `lower` is called before an entry is added of what lies below
    /// `point`, which does not vouch for that.
    ///
    /// All below `point` was synced at some time, so its batches are not looked into: they are
    /// walked from the last index entry on, which also finds out about an index that lacks entries.
    pub(crate) fn resume_at(
        &self,
        point: Offset,
        config: &LogConfig,
        lower: &dyn Fn() -> Result<(), Fault>,
    ) -> Result<Option<(u32, Offset)>, Fault> {
        let (Some(n_offsets), Some(n_times), true) = (
            self.offsets.n_sane_below(point, self.size())?,
            self.times.n_sane_below(point, self.size())?,
            self.txns.is_sound()?,
        ) else {
            return Ok(None);
        };
        self.offsets.keep(n_offsets)?;
        self.times.keep(n_times)?;
        self.txns.truncate(point)?;
        let largest = self.times.last()?;
        // Entries that were not synced may be any bytes, also such as look like earlier ones.
        if n_times > 0 && !self.has_batch_of(largest)? {
            return Ok(None);
        }
        *self.largest.lock() = Some(largest);
        self.since_entry.store(0, Ordering::Relaxed);
        let indexed = self.offsets.last()?;
        if let Some(entry) = indexed
            && !self.has_batch_at(entry)?
        {
            return Ok(None);
        }
        let mut position = indexed.map_or(0, |entry| entry.position);
        if !self.learn_largest_below(position)? {
            return Ok(None);
        }
        let mut before = self.base - 1;
        for head in self.heads(position) {
            let head = match head {
                Err(Fault::Corrupt { .. }) => return Ok(None),
                head => head?,
            };
            if head.base_offset >= point {
                break;
            }
            // One that goes back has lost its front: a torn batch, or no batch.
            let goes_on = head.base_offset > before && head.last_offset >= head.base_offset;
            if !goes_on || head.last_offset >= point || !is_in_reach(self.base, &head) {
                return Ok(None);
            }
            before = head.last_offset;
            match indexed.filter(|entry| entry.position == head.position) {
                Some(_) => {
                    self.note_largest(&head)?;
                    self.since_entry.store(head.size, Ordering::Relaxed);
                }
                None => {
                    if self.is_entry_due(config) {
                        lower()?;
                    }
                    self.index_batch(head, head.position, config)?;
                }
            }
            position += head.size;
        }
        // A truncation that did not come to its end may have left entries of what is gone.
        let end = before.saturating_add(1);
        self.txns.truncate(end)?;
        // What is left is new, or torn, or nothing: scanning tells.
        Ok(self.has_marker_of_last_abort()?.then_some((position, end)))
    }

    /// Learns the largest timestamp of the batches before `position`: a time index that was full may
    /// lack that of some between its last entry and the last one of the offset index. False: there is
    /// something that is no batch.
    fn learn_largest_below(&self, position: u32) -> Result<bool, Fault> {
        let indexed = self.largest()?;
        for head in self.heads(self.index_position(indexed.offset)?) {
            match head {
                Err(Fault::Corrupt { .. }) => return Ok(false),
                Ok(head) if head.position >= position => break,
                head => self.note_largest(&head?)?,
            };
        }
        Ok(true)
    }

    /// Whether the last entry of the time index is of the batch that holds its offset. (Brokers before
    /// 4.0 name the record, not the end of the batch.)
    pub(crate) fn has_true_last_time(&self) -> Result<bool, Fault> {
        if self.times.n_entries() == 0 {
            return Ok(true);
        }
        let last = self.times.last()?;
        match self.find(last.offset) {
            Err(Fault::Corrupt { .. }) | Ok(None) => Ok(false),
            Ok(Some(head)) => Ok(head.max_timestamp == last.timestamp),
            Err(fault) => Err(fault),
        }
    }

    /// Whether the newest aborted transaction was ended where its entry says. Those before it are
    /// as old as the recovery point.
    fn has_marker_of_last_abort(&self) -> Result<bool, Fault> {
        let Some(last) = self.txns.last()? else {
            return Ok(true);
        };
        let found = match self.find(last.last_offset) {
            Err(Fault::Corrupt { .. }) => None,
            found => found?.filter(|head| head.base_offset == last.last_offset),
        };
        let Some(head) = found else {
            return Ok(false);
        };
        let bytes = self.read_batch(&head)?;
        Ok(Header::parse(&bytes)
            .is_ok_and(|it| it.is_control() && it.producer_id() == last.producer_id))
    }

    fn has_batch_at(&self, entry: OffsetPosition) -> Result<bool, Fault> {
        match self.heads(entry.position).next() {
            None | Some(Err(Fault::Corrupt { .. })) => Ok(false),
            Some(head) => Ok(head?.last_offset == entry.offset),
        }
    }

    fn has_batch_of(&self, entry: TimestampOffset) -> Result<bool, Fault> {
        match self.find(entry.offset) {
            Err(Fault::Corrupt { .. }) | Ok(None) => Ok(false),
            Ok(Some(head)) => {
                Ok(head.last_offset == entry.offset && head.max_timestamp == entry.timestamp)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Cuts the file behind the last good batch; returns how many bytes went.
    pub(crate) fn cut(&self, size: u32) -> Result<u32, Fault> {
        let cut = self.size().saturating_sub(size);
        if cut > 0 {
            self.size.store(size, Ordering::Release);
            self.set_length(size)?;
        }
        Ok(cut)
    }

    /// Ends a segment's active life: the final word of the time index, no spare bytes anywhere.
    /// Returns whether a file was changed, and so is to be synced.
    pub(crate) fn finish(&self, config: &LogConfig) -> Result<bool, Fault> {
        self.times
            .append(self.largest()?, config.segment_index_bytes, true)?;
        let has_written = self.write_out_indexes()?;
        // Only if need be: setting the length would make the file look modified.
        let size = self.size();
        let has_spare = self.log.with(|log| log.length())? != u64::from(size);
        if has_spare {
            self.set_length(size)?;
        }
        Ok(has_spare || has_written)
    }

    /// It is not the active one any more.
    pub(crate) fn cool(&self) {
        self.offsets.cool();
        self.times.cool();
    }

    /// Whether the indexes can be those of this segment, as far as lengths and last entries tell.
    pub(crate) fn has_sound_indexes(&self, lengths: Lengths) -> Result<bool, Fault> {
        Ok(lengths.are_of_entries()
            && self.offsets.is_sound(self.size())?
            && self.times.is_sound()?
            && self.txns.is_sound()?)
    }

    /// Whether the indexes name nothing at or behind `end`, where the next segment begins, or the log
    /// ends: what comes later would not follow it.
    pub(crate) fn has_indexes_below(&self, end: Offset) -> Result<bool, Fault> {
        let is_above = self.times.n_entries() > 0 && self.times.last()?.offset >= end;
        Ok(!is_above && self.offsets.last()?.is_none_or(|last| last.offset < end))
    }

    /// Gives the files the names of things to be unlinked, and says where they are.
    pub(crate) fn retire(&self) -> Result<Vec<PathBuf>, Fault> {
        // Readers may still hold this segment; what is not there they do without.
        let _ = self.open_all();
        self.mark_retired();
        let mut retired = Vec::new();
        for kind in FileKind::OF_SEGMENT {
            let path = segment_file(&self.directory, self.base, kind);
            if !self.disk.exists(&path) {
                continue;
            }
            let mut renamed = path.clone().into_os_string();
            renamed.push(Stage::Deleted.suffix());
            let renamed = PathBuf::from(renamed);
            self.disk.rename(&path, &renamed)?;
            retired.push(renamed);
        }
        Ok(retired)
    }

    /// Opens what would be opened at the first need, before another segment gets these names. It is
    /// not closed again as long as somebody has what is returned.
    pub(crate) fn open_all(&self) -> Result<Vec<DiskFile>, Fault> {
        let mut files = vec![self.log.get()?];
        files.push(self.offsets.file().get()?);
        files.push(self.times.file().get()?);
        if self.txns.n_entries() > 0 {
            files.push(self.txns.file().get()?);
        }
        Ok(files)
    }

    /// Its names are about to go. What is open stays open, and the rest is not opened any more.
    pub(crate) fn mark_retired(&self) {
        self.is_retired.store(true, Ordering::Release);
        for file in self.all_files() {
            file.lose_name();
        }
    }

    /// The names are back.
    pub(crate) fn mark_in_use(&self) {
        for file in self.all_files() {
            file.keep_name();
        }
        self.is_retired.store(false, Ordering::Release);
    }

    /// This segment, of which all is written, where its directory has another name now.
    pub(crate) fn moved_to(&self, directory: &Path) -> Result<Self, Fault> {
        let created_ms = self.created_ms.load(Ordering::Relaxed);
        let moved = Self::open(&self.disk, directory, self.base, self.lengths(), created_ms)?;
        *moved.largest.lock() = *self.largest.lock();
        let first = self.first_timestamp.load(Ordering::Relaxed);
        moved.first_timestamp.store(first, Ordering::Relaxed);
        let since_entry = self.since_entry.load(Ordering::Relaxed);
        moved.since_entry.store(since_entry, Ordering::Relaxed);
        Ok(moved)
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Acquire)
    }
}

/// An append that did not happen.
#[derive(Debug)]
pub(crate) struct FailedAppend {
    pub(crate) fault: Fault,
    /// The segment is as it was before.
    pub(crate) is_clean: bool,
}

impl FailedAppend {
    fn before(fault: Fault) -> Self {
        Self {
            fault,
            is_clean: true,
        }
    }
}

//! One partition's log.
//!
//! Keeps `start ≤ last stable ≤ high watermark ≤ end`. The lock around it is the caller's; what may
//! block for long is not done under it (see `flush`). Time comes in as an argument.
//!
//! Opening is in `recover`, reading in `read`. Here: what a log is; in `append` how it grows, in
//! `shrink` how it loses records at either end, in `replace` how compacted segments take the place
//! of old ones, in `durable` how it gets to the disk and is closed, in `room`
//! what is reserved for it there, in `recovery_point` from where
//! on it is read after a crash, in `copy` how it becomes another log's copy in another directory.

mod append;
mod copy;
mod durable;
mod recovery_point;
mod replace;
mod room;
mod shrink;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::epochs::EpochCache;
use ottla_protocol::{LeaderEpoch, Offset, Refused, TopicPartition, Uuid};

use self::append::RecentEnds;
use self::durable::Unsynced;
use self::recovery_point::RecoveryPoint;
use self::replace::Replacing;
use self::room::Room;
use self::shrink::Retired;
use crate::disk::Disk;
use crate::epoch_file::EpochFile;
use crate::error::{Fault, NotDone};
use crate::events::LogEvents;
use crate::flush::UnwrittenEpochs;
use crate::log_config::LogConfig;
use crate::log_view::{Ends, LogReader, LogView, Mark, Published, Segments};
use crate::partition_metadata;
use crate::producer::{Guard, Producers, Unverified};
use crate::producer_files::{ProducerFiles, Remember};
use crate::recover::{self, Lower, Recovered};
use crate::segment::Segment;
use crate::written::{FarReads, HandedOut, Window};

pub(crate) use self::append::note_aborted;
pub use self::append::{AppendOutcome, LeaderAppend};
pub use self::copy::NotCopied;
pub use self::durable::Closed;
pub(crate) use self::replace::Replacement;

/// How to open a log.
#[derive(Clone)]
pub struct OpenLog {
    pub disk: Disk,
    /// The partition's own directory.
    pub directory: PathBuf,
    pub partition: TopicPartition,
    pub config: LogConfig,
    /// From `recovery-point-offset-checkpoint`; 0 if it has no line for this log.
    pub recovery_point: Offset,
    /// It was us who wrote that down. Of one that a Kafka wrote the segment that holds it is read from
    /// its start, as Kafka does.
    pub is_point_ours: bool,
    /// From `log-start-offset-checkpoint`; 0 if it has no line.
    pub start: Offset,
    /// From `replication-offset-checkpoint`; 0 if it has no line.
    pub high_watermark: Offset,
    /// The directory was shut down in order. The metadata log is never opened as clean.
    pub is_clean: bool,
    pub now_ms: i64,
    pub events: Arc<dyn LogEvents>,
}

/// See the head of this file.
pub struct Log {
    disk: Disk,
    directory: PathBuf,
    partition: TopicPartition,
    topic_id: Option<Uuid>,
    config: LogConfig,
    events: Arc<dyn LogEvents>,
    /// Never empty; bases strictly increase; the last one is the active one.
    segments: Segments,
    epochs: EpochCache,
    epoch_file: Arc<EpochFile>,
    /// Counts the changes of `epochs`.
    n_epoch_changes: u64,
    producers: Producers,
    producer_files: ProducerFiles,
    /// See `Ends::validate`.
    ends: Ends,
    recent: RecentEnds,
    published: Arc<Published>,
    unsynced: Unsynced,
    recovery_point: RecoveryPoint,
    handed_out: HandedOut,
    far_reads: FarReads,
    room: Room,
    /// Counts what made offsets mean other records than before.
    n_truncations: u64,
    /// The end as it was when this was opened or cut. Which transactions have their marker between
    /// the high watermark and there is not remembered.
    undecided_below: Offset,
    retired: VecDeque<Retired>,
    /// Compacted segments that are about to take their place.
    replacing: Option<Replacing>,
    /// Why no more is written, if so.
    poisoned: Option<String>,
}

impl Log {
    /// Opens a log that need not be there yet: its directory, `partition.metadata`, a segment.
    pub fn create(how: OpenLog, topic_id: Option<Uuid>) -> Result<Self, Fault> {
        how.disk.make_directory(&how.directory)?;
        if let Some(topic_id) = topic_id
            && partition_metadata::read(&how.disk, &how.directory)?.is_none()
        {
            partition_metadata::write(&how.disk, &how.directory, topic_id)?;
        }
        Self::open(how)
    }

    /// Opens what is there and puts it in order. See `recover`.
    ///
    /// After a crash only what the recovery point says counts as flushed, and what was rebuilt is
    /// not synced: plan a flush.
    pub fn open(how: OpenLog) -> Result<Self, Fault> {
        Self::open_lowering(how, &|_| Ok(()))
    }

    /// The same. `lower` is told of a lower recovery point before what lies below the one that is
    /// known is made anew: a power cut meanwhile leaves nothing there that can be believed.
    pub(crate) fn open_lowering(how: OpenLog, lower: &Lower<'_>) -> Result<Self, Fault> {
        let topic_id = partition_metadata::read(&how.disk, &how.directory)?;
        let recovered = recover::recover(&how, lower)?;
        let OpenLog {
            disk,
            directory,
            partition,
            config,
            events,
            ..
        } = how;
        let Recovered {
            segments,
            epochs,
            producers,
            producer_files,
            start,
            end,
            flushed,
            recovery_point,
            ..
        } = recovered;
        let end = Mark {
            offset: end,
            place: place_of_end(&segments),
        };
        if how.high_watermark > end.offset {
            tracing::warn!(
                "{}: the log ends at offset {}, before its high watermark {}: records are missing",
                directory.display(),
                end.offset,
                how.high_watermark
            );
        }
        let high_watermark = how.high_watermark.clamp(start, end.offset);
        let ends = Ends {
            start,
            last_stable: Mark::unplaced(start),
            high_watermark: Mark::unplaced(high_watermark),
            end,
            flushed,
        };
        let published = Published::new(partition.clone(), segments.clone(), epochs.clone(), ends);
        published.checkpointed_high(high_watermark);
        let epoch_file = Arc::new(EpochFile::new(&disk, &directory));
        let handed_out = HandedOut::new(end.place.unwrap_or_default());
        let far_reads = published.far_reads().clone();
        let mut log = Self {
            epoch_file,
            n_epoch_changes: recovered.epochs_changed.into(),
            disk,
            directory,
            partition,
            topic_id,
            config,
            events,
            segments,
            epochs,
            producers,
            producer_files,
            ends,
            recent: RecentEnds::default(),
            published: Arc::new(published),
            unsynced: Unsynced::default(),
            recovery_point: RecoveryPoint::at(recovery_point, recovered.n_bytes_scanned),
            handed_out,
            far_reads,
            room: Room::default(),
            n_truncations: 0,
            undecided_below: end.offset,
            retired: VecDeque::new(),
            replacing: None,
            poisoned: None,
        };
        log.recent.push(end);
        log.note_recovered(
            recovered.rebuilt,
            recovered.snapshots,
            recovered.has_new_names,
        );
        if recovered.n_scanned > 0 {
            let (n, n_bytes) = (recovered.n_scanned, recovered.n_bytes_cut);
            log.events.recovered(&log.partition, n, n_bytes);
        }
        log.set_high_watermark(high_watermark);
        Ok(log)
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The partition's own directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// As `partition.metadata` has it.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// A handle for readers, which need no lock.
    pub fn reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.published))
    }

    pub fn view(&self) -> LogView {
        self.reader().view()
    }

    /// The first offset that may be read.
    pub fn start(&self) -> Offset {
        self.ends.start
    }

    pub fn high_watermark(&self) -> Offset {
        self.ends.high_watermark.offset
    }

    /// See `LogReader::checkpoint_high_watermark`.
    pub fn checkpoint_high_watermark(&self) -> Offset {
        self.reader().checkpoint_high_watermark()
    }

    pub fn last_stable(&self) -> Offset {
        self.ends.last_stable.offset
    }

    /// Whether what the markers say of anything below the last stable offset stays so.
    ///
    /// After an opening or a truncation the high watermark comes from further back, and a marker
    /// above it may yet be replaced by its contrary.
    pub(crate) fn is_decided(&self) -> bool {
        self.high_watermark() >= self.undecided_below
    }

    /// The offset that the next record gets.
    pub fn end(&self) -> Offset {
        self.ends.end.offset
    }

    /// Everything below survives a power cut.
    pub fn flushed(&self) -> Offset {
        self.ends.flushed
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| u64::from(segment.size()))
            .sum()
    }

    pub fn n_segments(&self) -> usize {
        self.segments.len()
    }

    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// What is remembered of those who wrote here: for DescribeProducers.
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// A producer wants to write into a transaction: the guard under which its coordinator must be
    /// asked first. None if the transaction is open here already.
    pub fn begin_verification(&mut self, asked: Unverified) -> Result<Option<Guard>, Refused> {
        self.producers.begin_verification(asked)
    }

    /// Forgets producers that were silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now_ms: i64) {
        self.producers
            .expire(now_ms, self.config.producer_id_expiration_ms);
        self.published.publish_producers(&self.producers);
    }

    /// This node leads from here on. To be called even if nothing is ever written in that epoch.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start: Offset) -> Result<(), Fault> {
        self.note_epochs(|epochs| epochs.assign(epoch, start));
        Ok(())
    }

    /// Moves the high watermark, kept within start and end; returns where it is now.
    pub fn set_high_watermark(&mut self, offset: Offset) -> Offset {
        let offset = offset.clamp(self.start(), self.end());
        self.ends.high_watermark = self.recent.mark_of(offset);
        self.producers.high_watermark_moved(offset);
        self.publish(None);
        offset
    }

    /// Tells readers where the log is. The last stable offset follows from the rest.
    fn publish(&mut self, segments: Option<&Segments>) {
        let high = self.ends.high_watermark;
        let first_unstable = self.producers.first_unstable_offset();
        self.ends.last_stable = match first_unstable {
            Some(first) if first < high.offset => Mark::unplaced(first.max(self.ends.start)),
            _ => high,
        };
        self.published.publish_producers(&self.producers);
        self.published.publish(&self.ends, segments);
    }

    fn publish_segments(&mut self) {
        let segments = std::mem::take(&mut self.segments);
        self.publish(Some(&segments));
        self.segments = segments;
    }

    /// What was written since the last window, if that is enough for another.
    pub fn take_window(&mut self) -> Option<Window> {
        let end = (self.active().base(), self.active().size());
        let stretch = self.handed_out.next(end)?;
        let file = self.active().log_file().get().ok()?;
        Some(Window::new(file.raw(), stretch, &self.far_reads))
    }

    fn active(&self) -> &Arc<Segment> {
        self.segments
            .last()
            .expect("a log has at least one segment")
    }

    /// The file is replaced before anybody sees the change.
    fn change_epochs(&mut self, change: impl FnOnce(&mut EpochCache) -> bool) -> Result<(), Fault> {
        let mut epochs = self.epochs.clone();
        if change(&mut epochs) {
            let written = self.epoch_file.write(self.n_epoch_changes + 1, &epochs);
            if let Err(fault) = written {
                if !fault.is_passing() {
                    self.poison(&fault);
                }
                return Err(fault);
            }
            self.n_epoch_changes += 1;
            self.published.publish_epochs(&epochs);
            self.epochs = epochs;
        }
        Ok(())
    }

    /// A change that the file learns later: see `epoch_file`.
    fn note_epochs(&mut self, change: impl FnOnce(&mut EpochCache) -> bool) {
        if change(&mut self.epochs) {
            self.n_epoch_changes += 1;
            self.published.publish_epochs(&self.epochs);
        }
    }

    /// What the file of epochs lacks. An epoch without a record is none: whoever leads next starts
    /// at the same offset, and takes its place.
    fn unwritten_epochs(&self) -> Option<UnwrittenEpochs> {
        let newest = self.epochs.entries().last();
        let has_records = newest.is_some_and(|newest| newest.start_offset < self.end());
        // Without it, those before may be new.
        let needed = self.n_epoch_changes.saturating_sub(u64::from(!has_records));
        self.epoch_file.is_behind(needed).then(|| UnwrittenEpochs {
            file: Arc::clone(&self.epoch_file),
            change: self.n_epoch_changes,
            epochs: self.epochs.clone(),
        })
    }

    fn check_writable(&self) -> Result<(), Fault> {
        match &self.poisoned {
            None => Ok(()),
            Some(why) => Err(Fault::Poisoned {
                path: self.directory.clone(),
                why: why.clone(),
            }),
        }
    }

    /// Gives up the log without closing it, because its directory is about to get another name.
    pub(crate) fn release(mut self) -> PathBuf {
        self.give_back_room();
        for segment in &self.segments {
            segment.mark_retired();
        }
        self.directory
    }

    /// No more writes: what is on the disk is uncertain. Reading goes on.
    pub fn poison(&mut self, why: &Fault) {
        if self.poisoned.is_none() {
            self.poisoned = Some(why.to_string());
        }
    }

    /// For steps that cannot be taken back: if one fails, the files and our picture of them differ.
    fn or_poison<T>(&mut self, done: Result<T, Fault>) -> Result<T, Fault> {
        done.inspect_err(|fault| self.poison(fault))
    }

    fn remember(&self, now_ms: i64) -> Remember {
        Remember {
            now_ms,
            expiration_ms: self.config.producer_id_expiration_ms,
            recalls: true,
        }
    }
}

fn place_of_end(segments: &Segments) -> Option<(Offset, u32)> {
    segments.last().map(|active| (active.base(), active.size()))
}

//! How a log becomes the copy of another one of its name in another directory, and takes its place.
//!
//! The copy takes batches as they are, of whatever format, and follows the other's start and high
//! watermark. What its batches cannot tell (producers whose records are gone) it takes over with
//! `take_producers`, so that it is the same log in the end. Readers of the other one keep their
//! handle: the copy publishes there once it has taken its place.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::{Offset, Refusal, Refused};

use super::{Fault, Log, Mark, NotDone, place_of_end};
use crate::epoch_file::EpochFile;
use crate::heads::{Head, whole_heads};
use crate::log_view::{Isolation, LogView, Segments};
use crate::producer_files::ProducerFiles;
use crate::read::ReadFrom;

/// Formats of before Kafka 0.11 know neither producers nor epochs.
const LEGACY_MAGIC_LAST: i8 = 1;

/// What is read at a time.
const READ_BYTES: usize = 1 << 20;

/// Why a step of a copy came to nothing.
#[derive(Debug)]
pub struct NotCopied {
    /// The log that is read is at fault; else the copy is.
    pub is_source: bool,
    pub why: NotDone,
}

impl NotCopied {
    fn reading(why: impl Into<NotDone>) -> Self {
        Self {
            is_source: true,
            why: why.into(),
        }
    }

    fn writing(why: impl Into<NotDone>) -> Self {
        Self {
            is_source: false,
            why: why.into(),
        }
    }
}

impl Log {
    /// A step: copies about `n_bytes_max` of what this log lacks, at least a batch if there is one;
    /// how many bytes it was.
    pub fn copy_from(
        &mut self,
        source: &LogView,
        n_bytes_max: usize,
        now_ms: i64,
    ) -> Result<usize, NotCopied> {
        self.follow(source, now_ms).map_err(NotCopied::writing)?;
        let mut n_bytes = 0;
        while self.end() < source.end() && n_bytes < n_bytes_max.max(1) {
            let from = ReadFrom {
                offset: self.end(),
                isolation: Isolation::LogEnd,
                max_bytes: READ_BYTES.min(n_bytes_max - n_bytes),
                at_least_one: true,
                with_aborted: false,
            };
            let fetched = source.read(from).map_err(NotCopied::reading)?;
            let Some(slice) = fetched.slice else {
                if !self.config.cleanup_compact {
                    // A header that is damaged reads like a hole, too.
                    return Err(NotCopied::reading(Refused::new(
                        Refusal::CorruptMessage,
                        format!("no batch at or behind offset {}", from.offset),
                    )));
                }
                self.skip_to(source.end(), now_ms)
                    .map_err(NotCopied::writing)?;
                break;
            };
            let bytes = slice.read().map_err(NotCopied::reading)?;
            let heads = whole_heads(&bytes)
                .ok()
                .filter(|heads| !heads.is_empty())
                .ok_or_else(|| {
                    let why = format!("no sound batch at offset {}", from.offset);
                    NotCopied::reading(Refused::new(Refusal::CorruptMessage, why))
                })?;
            self.append_runs(&bytes, &heads, now_ms)
                .map_err(NotCopied::writing)?;
            n_bytes += bytes.len();
        }
        self.follow(source, now_ms).map_err(NotCopied::writing)?;
        Ok(n_bytes)
    }

    fn append_runs(&mut self, bytes: &[u8], heads: &[Head], now_ms: i64) -> Result<(), NotDone> {
        self.check_writable()?;
        let mut rest = bytes;
        for run in heads.chunk_by(|a, b| is_legacy(a) == is_legacy(b)) {
            let n_bytes: usize = run.iter().map(|head| head.size as usize).sum();
            let (these, behind) = rest.split_at_checked(n_bytes).unwrap_or((rest, &[]));
            self.append_heads(these, run, now_ms)?;
            rest = behind;
        }
        Ok(())
    }

    /// The other log has no batch between the end of this one and `end`: compaction took them.
    fn skip_to(&mut self, end: Offset, now_ms: i64) -> Result<(), Fault> {
        self.check_writable()?;
        if end <= self.end() {
            return Ok(());
        }
        self.roll_at(end, now_ms)?;
        let end = Mark {
            offset: end,
            place: place_of_end(&self.segments),
        };
        self.ends.end = end;
        self.recent.push(end);
        self.publish(None);
        Ok(())
    }

    /// Begins and is committed where the other log does, as far as this one reaches.
    fn follow(&mut self, source: &LogView, now_ms: i64) -> Result<(), NotDone> {
        if source.start() > self.end() {
            // All that was copied is gone there.
            self.start_anew(source.start(), now_ms)?;
        }
        self.set_high_watermark(source.high_watermark());
        if source.start() <= self.high_watermark() {
            self.raise_start(source.start())?;
        }
        Ok(())
    }

    /// Cuts what the other log does not have, or may not have: it may have lost its tail in a crash,
    /// or something in the middle, and have gone on with other records. Whether there was something.
    pub fn cut_to(&mut self, source: &LogView, now_ms: i64) -> Result<bool, Fault> {
        // What was not synced may have holes after a crash, and a hole may pass for compaction's. That
        // goes for both: a copy that is found counts as flushed no further than its log did.
        let agreed = self.agreed_end(source).min(self.flushed());
        if agreed >= self.end() {
            return Ok(false);
        }
        if agreed < self.start().max(source.start()) {
            self.start_anew(source.start(), now_ms)?;
            return Ok(true);
        }
        self.truncate(agreed, now_ms)
    }

    /// Up to where the two hold the same records, by their leader epochs.
    fn agreed_end(&self, source: &LogView) -> Offset {
        let mut end = self.end().min(source.end());
        for ours in self.epochs.entries().iter().rev() {
            if ours.start_offset >= end {
                continue;
            }
            let theirs = source.end_offset_for(ours.epoch);
            if theirs.epoch == ours.epoch {
                return end.min(theirs.end_offset);
            }
            end = ours.start_offset;
        }
        end
    }

    /// Whether this copy holds all that the other log holds.
    pub fn has_all_of(&self, source: &Self) -> bool {
        self.end() == source.end() && self.start() == source.start()
    }

    /// Remembers the producers that the other log remembers. Both end at the same offset.
    pub fn take_producers(&mut self, source: &Self) -> Result<(), Fault> {
        let (end, of_source) = (self.end(), source.end());
        assert!(
            end == of_source,
            "the copy ends at {end}, its source at {of_source}"
        );
        self.producers = source.producers.clone();
        self.producers.set_end_offset(end);
        // One that was taken here before knows less. IMPORTANT: a recovery point here stood on that, and
        // must be made anew: `recovery_plan`.
        self.recovery_point.moved_back_to((end - 1).max(0));
        self.producer_files.delete(end)
    }

    /// Takes the place of `old`, whose readers see this log from here on. Neither is published to
    /// in between: the caller has both.
    pub(crate) fn take_place_of(&mut self, old: &mut Self) {
        assert!(
            self.has_all_of(old),
            "the copy is [{}, {}), its source [{}, {})",
            self.start(),
            self.end(),
            old.start(),
            old.end()
        );
        self.producers = std::mem::take(&mut old.producers);
        self.config = old.config.clone();
        // Whatever was planned for the old one says nothing of this one.
        self.n_truncations = self.n_truncations.max(old.n_truncations) + 1;
        self.undecided_below = old.undecided_below;
        let high = old.ends.high_watermark.offset;
        self.ends.high_watermark = match high == self.end() {
            true => self.ends.end,
            false => Mark::unplaced(high),
        };
        self.published = Arc::clone(&old.published);
        self.far_reads = self.published.far_reads().clone();
        self.published.publish_epochs(&self.epochs);
        self.publish_segments();
    }

    /// Nothing of this copy is waiting for a sync, no file is about to go, and its file of epochs says
    /// what is known of them in its source: its directory may get another name.
    pub(crate) fn settle(&mut self, source: &Self) -> Result<(), Fault> {
        // Batches do not tell of an epoch that has none, nor where one began of which compaction took
        // the first records.
        self.change_epochs(|ours| {
            let is_change = *ours != source.epochs;
            ours.clone_from(&source.epochs);
            is_change
        })?;
        self.give_back_room();
        self.unlink_due(i64::MAX)?;
        // A file that is open under its old name would tell of a failed write-out; it is about to be
        // closed.
        for file in self.active().index_files()? {
            file.sync()?;
        }
        self.flush()
    }

    /// The directory has another name now; see `settle`.
    pub(crate) fn moved_to(&mut self, directory: PathBuf) -> Result<(), Fault> {
        let mut segments = Segments::with_capacity(self.segments.len());
        for segment in &self.segments {
            segments.push(Arc::new(segment.moved_to(&directory)?));
        }
        self.segments = segments;
        self.producer_files = ProducerFiles::new(
            &self.disk,
            &directory,
            self.producer_files.offsets().clone(),
        );
        self.epoch_file = Arc::new(EpochFile::new(&self.disk, &directory));
        // The new one has not been asked to write anything; that costs one write.
        self.n_epoch_changes += 1;
        self.directory = directory;
        Ok(())
    }

    /// Its directory is about to get another name, and what is not open cannot be opened any more;
    /// or that has come to nothing.
    pub(crate) fn set_retired(&self, is_retired: bool) {
        for segment in &self.segments {
            match is_retired {
                true => segment.mark_retired(),
                false => segment.mark_in_use(),
            }
        }
    }
}

fn is_legacy(head: &Head) -> bool {
    head.magic <= LEGACY_MAGIC_LAST
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::read_epochs;
    use crate::disk::Disk;
    use crate::events::NoEvents;
    use crate::file_names::LEADER_EPOCHS;
    use crate::log::OpenLog;
    use crate::log_config::LogConfig;
    use ottla_protocol::TopicPartition;
    use ottla_protocol::batch_builder::BatchBuilder;
    use ottla_protocol::compress::Codec;

    const NOW: i64 = 1_700_000_000_000;

    fn open(directory: &std::path::Path, cleanup_compact: bool) -> Log {
        let how = OpenLog {
            disk: Disk::new(),
            directory: directory.to_owned(),
            partition: TopicPartition::new("t", 0),
            config: LogConfig {
                cleanup_compact,
                ..LogConfig::default()
            },
            recovery_point: 0,
            is_point_ours: true,
            start: 0,
            high_watermark: 0,
            is_clean: false,
            now_ms: NOW,
            events: Arc::new(NoEvents),
        };
        Log::create(how, None).unwrap()
    }

    /// The end of the first log is a hole of 9 offsets, as compaction leaves one where a tombstone was.
    fn with_hole(directory: &std::path::Path, cleanup_compact: bool) -> Log {
        let mut log = open(directory, cleanup_compact);
        let mut builder = BatchBuilder::data(Codec::None);
        builder.push(NOW, Some(b"k"), Some(b"v"));
        log.append_as_follower(&builder.finish(), 0, NOW).unwrap();
        log.skip_to(10, NOW).unwrap();
        log
    }

    #[test]
    fn a_hole_at_the_end_is_skipped_if_compaction_may_have_made_it() {
        let place = tempfile::tempdir().unwrap();
        let source = with_hole(&place.path().join("a"), true);
        let mut copy = open(&place.path().join("b"), true);
        copy.copy_from(&source.view(), 1 << 20, NOW).unwrap();
        assert!(copy.has_all_of(&source));
        assert_eq!(copy.end(), 10);
        drop(copy);
        assert_eq!(open(&place.path().join("b"), true).end(), 10, "it lasts");
    }

    #[test]
    fn a_copy_knows_where_epochs_began_before_it_gets_its_name() {
        let place = tempfile::tempdir().unwrap();
        let mut source = open(&place.path().join("a"), true);
        // The first records of epoch 3 are gone.
        source.note_epochs(|epochs| epochs.assign(3, 0));
        source.skip_to(5, NOW).unwrap();
        let builder = BatchBuilder::data(Codec::None);
        let mut builder = builder.base_offset(5).leader_epoch(3);
        builder.push(NOW, Some(b"k"), Some(b"v"));
        source
            .append_as_follower(&builder.finish(), 3, NOW)
            .unwrap();
        let mut copy = open(&place.path().join("b"), true);
        copy.copy_from(&source.view(), 1 << 20, NOW).unwrap();
        assert_ne!(copy.epochs(), source.epochs(), "its batches cannot tell");
        copy.settle(&source).unwrap();
        let file = place.path().join("b").join(LEADER_EPOCHS);
        assert_eq!(&read_epochs(&copy.disk, &file).unwrap(), source.epochs());
    }

    #[test]
    fn without_compaction_a_hole_is_damage() {
        let place = tempfile::tempdir().unwrap();
        let source = with_hole(&place.path().join("a"), false);
        let mut copy = open(&place.path().join("b"), false);
        let not = copy.copy_from(&source.view(), 1 << 20, NOW).unwrap_err();
        assert!(not.is_source, "{not:?}");
    }
}

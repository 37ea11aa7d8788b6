//! How a log loses records: from its end when a leader says that they never were, from its start
//! when they are too old, too many, or asked to go.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::{Offset, Refusal, Refused};

use super::{Fault, Log, Mark, NotDone, place_of_end};
use crate::events::DeletedFor;
use crate::log_view::Segments;
use crate::producer::Producers;
use crate::recover::rebuild_producers;
use crate::retain::{self, Facts};
use crate::segment::Segment;

/// Files that have lost their names and wait to be unlinked.
#[derive(Debug)]
pub(super) struct Retired {
    pub(super) due_ms: i64,
    pub(super) paths: Vec<PathBuf>,
}

impl Retired {
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

impl Log {
    /// Drops everything at or above `to`. Returns whether there was something.
    ///
    /// Afterwards, and before anything is appended, the caller tells the directory: of the recovery
    /// point (`Directory::lower_recovery_points`), of what is compacted (`cut_cleaned`), and of the
    /// start if that went back (`write_log_starts`).
    pub fn truncate(&mut self, to: Offset, now_ms: i64) -> Result<bool, Fault> {
        self.check_writable()?;
        let end = self.end();
        if to >= end {
            // The epoch may have been assigned here without any record in it.
            self.change_epochs(|epochs| epochs.truncate_from_end(end))?;
            return Ok(false);
        }
        let first = self.segments.first().map_or(0, |segment| segment.base());
        if to < first {
            self.start_anew(to, now_ms)?;
            return Ok(true);
        }
        // What cannot be opened now must not be missed half-way.
        let keep = self
            .segments
            .partition_point(|segment| segment.base() <= to);
        let kept = self.segments.get(keep - 1).map(|kept| kept.open_all());
        let held = kept.transpose()?;
        let truncated = self.try_truncate(to, now_ms);
        drop(held);
        self.or_poison(truncated)?;
        Ok(true)
    }

    fn try_truncate(&mut self, to: Offset, now_ms: i64) -> Result<(), Fault> {
        self.settle_replacement()?;
        self.give_back_room();
        let keep = self
            .segments
            .partition_point(|segment| segment.base() <= to);
        let gone = self.segments.split_off(keep);
        self.retire_from_end(&gone, now_ms)?;
        self.producer_files.delete_above(to)?;
        self.disk.sync_directory(&self.directory)?;
        self.active().truncate(to, &self.config, now_ms)?;
        // IMPORTANT: on the disk before the epochs say so and before anything is appended. A tail
        // that came back after a power cut would pass for records of the epochs that follow.
        for file in self.active().files()? {
            file.sync()?;
        }
        self.change_epochs(|epochs| epochs.truncate_from_end(to))?;
        self.moved_back_to(to);
        self.ends.start = self.ends.start.min(to);
        let how = self.remember(now_ms);
        let start = self.ends.start;
        self.producers =
            rebuild_producers(&self.segments, &mut self.producer_files, start, to, how)?;
        self.producers.high_watermark_moved(self.high_watermark());
        self.publish_segments();
        self.events.truncated(&self.partition, to);
        Ok(())
    }

    /// Drops everything and starts anew at `start`.
    pub fn start_anew(&mut self, start: Offset, now_ms: i64) -> Result<(), Fault> {
        self.check_writable()?;
        let started = self.try_start_anew(start, now_ms);
        self.or_poison(started)
    }

    fn try_start_anew(&mut self, start: Offset, now_ms: i64) -> Result<(), Fault> {
        self.settle_replacement()?;
        // They stay in the list until there is another one: a log that is poisoned half-way has one, too.
        let gone = self.segments.clone();
        self.retire_from_end(&gone, now_ms)?;
        self.producer_files.delete_all()?;
        let segment = Segment::create(&self.disk, &self.directory, start, &self.config, now_ms)?;
        self.segments = vec![Arc::new(segment)];
        self.disk.sync_directory(&self.directory)?;
        self.change_epochs(|epochs| {
            let changed = !epochs.is_empty();
            epochs.clear();
            changed
        })?;
        self.producers = Producers::empty(start);
        self.moved_back_to(start);
        // The new start may also lie ahead of the old end.
        self.ends.start = start;
        let end = Mark {
            offset: start,
            place: place_of_end(&self.segments),
        };
        self.ends.end = end;
        self.ends.high_watermark = end;
        self.ends.flushed = start;
        self.publish_segments();
        self.events.truncated(&self.partition, start);
        Ok(())
    }

    /// The end is at `to` again.
    fn moved_back_to(&mut self, to: Offset) {
        self.n_truncations += 1;
        let end = Mark {
            offset: to,
            place: place_of_end(&self.segments),
        };
        self.ends.end = end;
        self.recent.restart(end);
        self.ends.flushed = self.ends.flushed.min(to);
        self.recovery_point.moved_back_to(to);
        self.undecided_below = to;
        self.published.cut_checkpointed_high(to);
        if self.ends.high_watermark.offset >= to {
            self.ends.high_watermark = end;
        }
        let bases: Vec<Offset> = self.segments.iter().map(|segment| segment.base()).collect();
        self.unsynced.keep_only(&bases);
    }

    /// DeleteRecords, retention, and followers that hear of either: refused above the high
    /// watermark. Returns whether the start moved; segments below it go at the next `retain`.
    pub fn raise_start(&mut self, to: Offset) -> Result<bool, NotDone> {
        self.check_writable()?;
        if to > self.high_watermark() {
            let high = self.high_watermark();
            let message = format!("offset {to} is above the high watermark, {high}");
            return Err(Refused::new(Refusal::OffsetOutOfRange, message).into());
        }
        if to <= self.start() {
            return Ok(false);
        }
        self.change_epochs(|epochs| epochs.truncate_from_start(to))?;
        self.ends.start = to;
        self.producers.start_offset_moved(to);
        self.publish(None);
        Ok(true)
    }

    /// Retention by start, size and time, in this order. Returns what went, and why.
    pub fn retain(&mut self, now_ms: i64) -> Result<Vec<(DeletedFor, usize)>, Fault> {
        self.check_writable()?;
        if self.replacing.is_some() {
            // For moments only; what is to go will still be there the next time.
            return Ok(Vec::new());
        }
        let mut deleted = Vec::new();
        let high = self.high_watermark();
        let n = retain::below_start(&self.facts()?, self.start(), high);
        self.delete_oldest(n, DeletedFor::Start, now_ms, &mut deleted)?;
        if self.config.cleanup_delete {
            let n = retain::above_size(&self.facts()?, self.config.retention_bytes, high);
            self.delete_oldest(n, DeletedFor::Size, now_ms, &mut deleted)?;
            let n = retain::above_age(&self.facts()?, self.config.retention_ms, now_ms, high);
            self.delete_oldest(n, DeletedFor::Age, now_ms, &mut deleted)?;
        }
        Ok(deleted)
    }

    fn facts(&self) -> Result<Vec<Facts>, Fault> {
        let bases = self.segments.iter().skip(1).map(|next| next.base());
        let ends = bases.chain([self.end()]);
        let facts = self.segments.iter().zip(ends).map(|(segment, end)| {
            let size = u64::from(segment.size());
            Ok(Facts {
                size,
                age_mark_ms: segment.age_mark_ms()?,
                end,
            })
        });
        facts.collect()
    }

    fn delete_oldest(
        &mut self,
        n: usize,
        why: DeletedFor,
        now_ms: i64,
        deleted: &mut Vec<(DeletedFor, usize)>,
    ) -> Result<(), Fault> {
        if n == 0 {
            return Ok(());
        }
        if n == self.segments.len() {
            // One must always be there.
            self.roll_at(self.end(), now_ms)?;
        }
        let n = n.min(self.segments.len() - 1);
        let first_kept = self
            .segments
            .get(n)
            .map_or(self.end(), |segment| segment.base());
        // IMPORTANT: the start moves first, so that no reader is told of an offset that is gone.
        match self.raise_start(first_kept) {
            Ok(_) => {}
            Err(NotDone::Fault(fault)) => return Err(fault),
            Err(NotDone::Refused(_)) => return Ok(()),
        }
        let gone: Segments = self.segments.drain(..n).collect();
        self.publish_segments();
        let retired = self.retire(&gone, now_ms);
        self.or_poison(retired)?;
        self.unsynced.names_changed(&self.directory);
        self.events.deleted(&self.partition, n, why);
        deleted.push((why, n));
        Ok(())
    }

    /// As `retire`, the last segment first: whatever a crash leaves has no hole.
    fn retire_from_end(&mut self, gone: &Segments, now_ms: i64) -> Result<(), Fault> {
        let backwards: Segments = gone.iter().rev().cloned().collect();
        self.retire(&backwards, now_ms)
    }

    /// Renames the files of segments that are no longer part of the log, in this order.
    fn retire(&mut self, gone: &Segments, now_ms: i64) -> Result<(), Fault> {
        if gone.is_empty() {
            return Ok(());
        }
        let mut paths = Vec::new();
        for segment in gone {
            self.unsynced.forget(segment.base());
            paths.extend(segment.retire()?);
            paths.extend(self.producer_files.retire(segment.base())?);
        }
        let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
        self.retired.push_back(Retired { due_ms, paths });
        Ok(())
    }

    /// Whether there is something to unlink, now or later.
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// Unlinks retired files whose delay (`file.delete.delay.ms`) is over.
    pub fn unlink_due(&mut self, now_ms: i64) -> Result<(), Fault> {
        while let Some(retired) = self
            .retired
            .front()
            .filter(|retired| retired.due_ms <= now_ms)
        {
            for path in &retired.paths {
                self.disk.remove(path)?;
            }
            self.retired.pop_front();
        }
        Ok(())
    }
}

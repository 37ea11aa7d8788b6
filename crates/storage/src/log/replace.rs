//! How compacted segments take the place of old ones.
//!
//! They lie there under `.cleaned`, whole and synced. Three short steps, each under the lock, and a
//! sync of the directory, not under it, between one and the next: they are named `.swap`; the old
//! ones are named `.deleted`; they get their final names. Before `.swap` is on the disk a crash
//! leaves the old log, from there on the new one (see `leftovers`). The sync between is what makes
//! that true on any file system: no name may be seen without those that were given before.
//!
//! Whatever else changes closed segments settles a replacement that is under way first.

use std::sync::Arc;

use ottla_protocol::Offset;

use super::shrink::Retired;
use super::{Fault, Log, Mark};
use crate::compact::{LastOfProducer, LastOfProducers};
use crate::file_names::{FileKind, Stage, staged_file};
use crate::log_view::Segments;
use crate::segment::{Lengths, Segment};

/// What is to take the place of what.
#[derive(Debug)]
pub(crate) struct Replacement {
    /// Neighbours in the log.
    pub(crate) sources: Segments,
    /// Bases and lengths of the `.cleaned` segments; the first base is that of the first source.
    pub(crate) targets: Vec<(Offset, Lengths)>,
    /// As it was when the sources were looked at.
    pub(crate) n_truncations: u64,
}

/// A replacement under way.
#[derive(Debug)]
pub(super) struct Replacing {
    replacement: Replacement,
    /// All old ones have lost their names: there is no way back.
    is_retired: bool,
}

impl Log {
    pub(crate) fn n_truncations(&self) -> u64 {
        self.n_truncations
    }

    /// For each producer, what compaction must leave.
    pub(crate) fn lasts_of_producers(&self) -> LastOfProducers {
        let lasts = self.producers.iter().map(|producer| {
            let offset = Some(producer.last_offset()).filter(|offset| *offset >= 0);
            let epoch = producer.epoch();
            (producer.id(), LastOfProducer { offset, epoch })
        });
        lasts.collect()
    }

    /// Whether these are still closed segments of this log, and it is still to be compacted.
    pub(crate) fn may_replace(&self, sources: &Segments, n_truncations: u64) -> bool {
        self.config.cleanup_compact
            && self.n_truncations == n_truncations
            && self.replacing.is_none()
            && self.position_of(sources).is_some()
    }

    fn position_of(&self, sources: &Segments) -> Option<usize> {
        let first = sources.first()?;
        let at = self
            .segments
            .iter()
            .position(|segment| Arc::ptr_eq(segment, first))?;
        let n_closed = self.segments.len() - 1;
        let here = self.segments.get(at..at + sources.len())?;
        let are_same = here
            .iter()
            .zip(sources)
            .all(|(ours, source)| Arc::ptr_eq(ours, source));
        (are_same && at + sources.len() <= n_closed).then_some(at)
    }

    /// Step one. False: the log has changed meanwhile, and the new segments are of no use.
    pub(crate) fn begin_replacement(&mut self, replacement: Replacement) -> Result<bool, Fault> {
        self.check_writable()?;
        if !self.may_replace(&replacement.sources, replacement.n_truncations) {
            return Ok(false);
        }
        for source in &replacement.sources {
            // Before anything is done that cannot be taken back: they must be open when they are
            // retired.
            source.open_all()?;
        }
        let bases: Vec<Offset> = replacement.targets.iter().map(|(base, _)| *base).collect();
        self.replacing = Some(Replacing {
            replacement,
            is_retired: false,
        });
        // From the highest base down, so that a crash in between is seen for what it is.
        for base in bases.iter().rev() {
            if let Err(fault) = self.rename_stage(*base, Stage::Cleaned, Stage::Swap) {
                self.stop_replacement()?;
                return Err(fault);
            }
        }
        Ok(true)
    }

    /// Step two. False: the replacement was given up meanwhile.
    pub(crate) fn retire_replaced(&mut self, now_ms: i64) -> Result<bool, Fault> {
        let Some(replacing) = self.replacing.take().filter(|it| !it.is_retired) else {
            return Ok(false);
        };
        let retired = self.try_retire_replaced(&replacing.replacement, now_ms);
        // IMPORTANT: if it failed half-way, the new ones stay `.swap`, and whoever opens the log next
        // carries it through. With their final names they would stand beside old ones that hold the
        // same offsets, and nothing would tell.
        self.or_poison(retired)?;
        self.replacing = Some(Replacing {
            is_retired: true,
            ..replacing
        });
        Ok(true)
    }

    fn try_retire_replaced(&mut self, it: &Replacement, now_ms: i64) -> Result<(), Fault> {
        let mut paths = Vec::new();
        for source in &it.sources {
            self.unsynced.forget(source.base());
            paths.extend(source.retire()?);
            let stays = it.targets.iter().any(|(base, _)| *base == source.base());
            if !stays {
                paths.extend(self.producer_files.retire(source.base())?);
            }
        }
        let due_ms = now_ms.saturating_add(self.config.file_delete_delay_ms);
        self.retired.push_back(Retired { due_ms, paths });
        Ok(())
    }

    /// Step three. False: something else has finished it.
    pub(crate) fn finish_replacement(&mut self, now_ms: i64) -> Result<bool, Fault> {
        let Some(replacing) = self.replacing.take() else {
            return Ok(false);
        };
        let finished = self.try_finish(&replacing.replacement, now_ms);
        self.or_poison(finished).map(|()| true)
    }

    fn try_finish(&mut self, it: &Replacement, now_ms: i64) -> Result<(), Fault> {
        let mut targets = Segments::new();
        for (base, lengths) in &it.targets {
            self.rename_stage(*base, Stage::Swap, Stage::Final)?;
            let segment = Segment::open(&self.disk, &self.directory, *base, *lengths, now_ms)?;
            targets.push(Arc::new(segment));
        }
        if let Some(at) = self.position_of(&it.sources) {
            self.segments.splice(at..at + it.sources.len(), targets);
        }
        self.forget_places();
        self.publish_segments();
        Ok(())
    }

    /// Positions in old files say nothing of the new ones; the end lies in the active segment.
    fn forget_places(&mut self) {
        let high = self.ends.high_watermark;
        if high != self.ends.end {
            self.ends.high_watermark = Mark::unplaced(high.offset);
        }
        self.recent.restart(self.ends.end);
    }

    /// A step, or the sync behind it, has failed.
    pub(crate) fn stop_replacement(&mut self) -> Result<(), Fault> {
        let settled = self.settle_replacement();
        self.or_poison(settled)
    }

    /// Ends a replacement that is under way, back or forth.
    pub(super) fn settle_replacement(&mut self) -> Result<(), Fault> {
        let Some(replacing) = self.replacing.take() else {
            return Ok(());
        };
        self.disk.sync_directory(&self.directory)?;
        if replacing.is_retired {
            self.try_finish(&replacing.replacement, 0)?;
        } else {
            self.take_back(&replacing.replacement.targets)?;
        }
        self.disk.sync_directory(&self.directory)
    }

    /// IMPORTANT: the lowest one is named `.cleaned` again first, and goes last: whatever a crash
    /// leaves is then a replacement that was never made. Else it might leave an index alone, and
    /// that would take the place of the old segment's.
    fn take_back(&self, targets: &[(Offset, Lengths)]) -> Result<(), Fault> {
        if let Some((lowest, _)) = targets.first() {
            self.rename_stage(*lowest, Stage::Swap, Stage::Cleaned)?;
        }
        for (base, _) in targets.iter().rev() {
            self.remove_stage(*base, Stage::Swap)?;
            self.remove_stage(*base, Stage::Cleaned)?;
        }
        Ok(())
    }

    /// The files of a compacted segment that is not wanted any more. IMPORTANT: a replacement that
    /// could not be taken back is told from one that was made by what is still `.cleaned`.
    pub(crate) fn remove_cleaned(&self, base: Offset) -> Result<(), Fault> {
        self.check_writable()?;
        self.remove_stage(base, Stage::Cleaned)
    }

    fn remove_stage(&self, base: Offset, stage: Stage) -> Result<(), Fault> {
        for kind in FileKind::OF_SEGMENT {
            self.disk
                .remove(&staged_file(&self.directory, base, kind, stage))?;
        }
        Ok(())
    }

    fn rename_stage(&self, base: Offset, from: Stage, to: Stage) -> Result<(), Fault> {
        for kind in FileKind::OF_SEGMENT {
            let source = staged_file(&self.directory, base, kind, from);
            if self.disk.exists(&source) {
                let target = staged_file(&self.directory, base, kind, to);
                self.disk.rename(&source, &target)?;
            }
        }
        Ok(())
    }

    /// A new `.cleaned` segment. Under the lock, because the directory must still be this log's.
    pub(crate) fn create_cleaned(&self, base: Offset, now_ms: i64) -> Result<Segment, Fault> {
        self.check_writable()?;
        Segment::create_cleaned(&self.disk, &self.directory, base, now_ms)
    }
}

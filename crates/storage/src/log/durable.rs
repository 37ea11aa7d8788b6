//! How a log gets to the disk: what is not synced yet, group commit, and the clean close.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::Offset;

use super::{Fault, Log};
use crate::disk::parent;
use crate::flush::FlushTarget;
use crate::open_files::LazyFile;
use crate::segment::Segment;

/// A log that was closed: what the checkpoints of its directory must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    pub start: Offset,
    pub high_watermark: Offset,
    /// Also the recovery point.
    pub end: Offset,
    /// Whether `start` needs a line in the checkpoint: only if it is not a segment's base.
    pub start_is_inside: bool,
}

/// What was written and not synced, besides the bytes of the active segment.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Goes up with every change, so that a sync knows what it was planned for.
    n_changes: u64,
    /// Segments that are complete, with their indexes.
    segments: Vec<(u64, Arc<Segment>)>,
    /// Producer snapshots. One that is closed was synced.
    files: Vec<(u64, LazyFile)>,
    /// Directories with new names in them.
    directories: Vec<(u64, PathBuf)>,
    /// When the oldest record that is not synced was written.
    since_ms: Option<i64>,
}

impl Unsynced {
    pub(super) fn wrote(&mut self, now_ms: i64) {
        self.since_ms.get_or_insert(now_ms);
    }

    pub(super) fn rolled(
        &mut self,
        old: Arc<Segment>,
        snapshot: Option<LazyFile>,
        directory: &Path,
    ) {
        self.n_changes += 1;
        self.segments.push((self.n_changes, old));
        self.files
            .extend(snapshot.map(|file| (self.n_changes, file)));
        self.directories
            .push((self.n_changes, directory.to_owned()));
    }

    /// Bytes that were not to be there were taken away again: they may come back with the power.
    pub(super) fn cut_back(&mut self, segment: Arc<Segment>) {
        self.n_changes += 1;
        self.forget(segment.base());
        self.segments.push((self.n_changes, segment));
    }

    pub(super) fn names_changed(&mut self, directory: &Path) {
        self.n_changes += 1;
        self.directories
            .push((self.n_changes, directory.to_owned()));
    }

    pub(super) fn forget(&mut self, base: Offset) {
        self.segments.retain(|(_, segment)| segment.base() != base);
    }

    pub(super) fn keep_only(&mut self, bases: &[Offset]) {
        self.segments
            .retain(|(_, segment)| bases.contains(&segment.base()));
    }

    /// All up to this change are on the disk.
    fn synced(&mut self, up_to: u64) {
        self.segments.retain(|(change, _)| *change > up_to);
        self.files.retain(|(change, _)| *change > up_to);
        self.directories.retain(|(change, _)| *change > up_to);
    }

    fn has_new_names(&self) -> bool {
        !self.directories.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.files.is_empty() && self.directories.is_empty()
    }
}

impl Log {
    /// What to sync so that all of the log is durable; `None`: nothing. See `flush`.
    pub fn flush_plan(&self) -> Result<Option<FlushTarget>, Fault> {
        self.check_writable()?;
        let has_records = self.flushed() < self.end();
        if !has_records && self.unsynced.is_empty() {
            return Ok(None);
        }
        self.target().map(Some)
    }

    /// All that is not on the disk, besides the indexes of the active segment.
    pub(super) fn target(&self) -> Result<FlushTarget, Fault> {
        let mut files = Vec::new();
        for (_, segment) in &self.unsynced.segments {
            files.extend(segment.files()?);
        }
        let snapshots = self.unsynced.files.iter();
        files.extend(snapshots.filter_map(|(_, file)| file.get_if_open()));
        let active = self.active();
        let mut segments = self.unsynced.segments.iter();
        if !segments.any(|(_, segment)| Arc::ptr_eq(segment, active)) {
            files.push(active.log_file().get()?);
        }
        let directories: BTreeSet<PathBuf> = self
            .unsynced
            .directories
            .iter()
            .map(|(_, path)| path.clone())
            .collect();
        Ok(FlushTarget {
            disk: self.disk.clone(),
            files,
            directories: directories.into_iter().collect(),
            up_to: self.end(),
            n_truncations: self.n_truncations,
            n_changes: self.unsynced.n_changes,
            epochs: None,
            recovery: None,
        })
    }

    /// `target` was synced. Returns the flushed end.
    ///
    /// A target of before a truncation says nothing about what is there now, and is ignored.
    pub fn flushed_to(&mut self, target: &FlushTarget) -> Offset {
        if target.n_truncations == self.n_truncations && self.poisoned.is_none() {
            self.unsynced.synced(target.n_changes);
            self.recovery_point.synced(target);
            if target.up_to > self.flushed() {
                self.ends.flushed = target.up_to;
                self.publish(None);
                self.events.flushed(&self.partition, target.up_to);
            }
            if self.flushed() == self.end() {
                self.unsynced.since_ms = None;
            }
        }
        self.flushed()
    }

    /// Whether this was planned for files of this log, and not for those of one whose place it has
    /// taken since: what becomes of them is nothing to it.
    pub fn is_of(&self, target: &FlushTarget) -> bool {
        let mut files = target.files.iter();
        files.all(|file| file.path().starts_with(&self.directory))
    }

    /// `flush.messages` or `flush.ms` ask for a flush.
    pub fn flush_is_due(&self, now_ms: i64) -> bool {
        let waited = self
            .unsynced
            .since_ms
            .map(|since| now_ms.saturating_sub(since));
        let is_late = waited.is_some_and(|waited| waited >= self.config.flush_ms);
        is_late || self.end() - self.flushed() >= self.config.flush_messages
    }

    /// Plan, sync and note, in one: for who may block.
    pub fn flush(&mut self) -> Result<(), Fault> {
        if let Some(target) = self.flush_plan()? {
            let synced = target.sync();
            self.or_poison(synced)?;
            self.flushed_to(&target);
        }
        Ok(())
    }

    /// Flushes, takes the producer snapshot, leaves everything as a clean shutdown should.
    pub fn close(mut self) -> Result<Closed, Fault> {
        if let Some(target) = self.prepare_close()? {
            target.sync()?;
            self.flushed_to(&target);
        }
        self.finish_close()
    }

    /// The first half of `close`: what to sync before the second; `None`: nothing.
    pub(crate) fn prepare_close(&mut self) -> Result<Option<FlushTarget>, Fault> {
        self.check_writable()?;
        self.settle_replacement()?;
        // IMPORTANT: spare bytes that came back with the power would stand before the next batch.
        let has_last_words = self.active().finish(&self.config)?;
        self.give_back_room();
        self.producers.set_end_offset(self.end());
        let snapshot = self.producer_files.take(&self.producers)?;
        let active = Arc::clone(self.active());
        let is_settled = self.recovery_point() == self.end() && self.unsynced.is_empty();
        if has_last_words || snapshot.is_some() || !is_settled {
            // One that is there already may not be on the disk.
            let snapshot = match snapshot {
                None => self.producer_files.open(self.end())?,
                taken => taken,
            };
            let directory = self.directory.clone();
            self.unsynced.rolled(active, snapshot, &directory);
        }
        let epochs = self.unwritten_epochs();
        if epochs.is_none() && self.unsynced.is_empty() {
            return Ok(None);
        }
        let mut target = self.target()?;
        target.epochs = epochs;
        Ok(Some(target))
    }

    /// The second half, after the sync.
    pub(crate) fn finish_close(mut self) -> Result<Closed, Fault> {
        for retired in std::mem::take(&mut self.retired) {
            for path in retired.paths() {
                self.disk.remove(path)?;
            }
        }
        let start = self.start();
        Ok(Closed {
            start,
            high_watermark: self.checkpoint_high_watermark(),
            end: self.end(),
            start_is_inside: self.start_is_inside(),
        })
    }

    /// Whether `log-start-offset-checkpoint` needs a line for this log: only if its start is not
    /// what the first segment says anyway, even if a power cut brings segments back that were
    /// deleted just now.
    pub fn start_is_inside(&self) -> bool {
        let is_inside = |first: &Arc<Segment>| self.start() > first.base();
        self.start() > 0
            && (self.unsynced.has_new_names() || self.segments.first().is_some_and(is_inside))
    }

    /// What opening the log left to be synced.
    pub(super) fn note_recovered(
        &mut self,
        rebuilt: Vec<Arc<Segment>>,
        snapshots: Vec<LazyFile>,
        has_new_names: bool,
    ) {
        for segment in rebuilt {
            let directory = self.directory.clone();
            self.unsynced.rolled(segment, None, &directory);
        }
        self.unsynced.n_changes += 1;
        let change = self.unsynced.n_changes;
        self.unsynced
            .files
            .extend(snapshots.into_iter().map(|file| (change, file)));
        if has_new_names {
            let above = parent(&self.directory).to_owned();
            self.unsynced
                .directories
                .push((change, self.directory.clone()));
            self.unsynced.directories.push((change, above));
        }
    }
}

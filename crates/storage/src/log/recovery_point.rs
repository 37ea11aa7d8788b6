//! From where on a log is read after a crash.
//!
//! Everything below the recovery point is believed: records, index entries, leader epochs, and the
//! producers in the newest snapshot at or below it. So it follows only what was synced: the files
//! of the active segment with its indexes, a snapshot of the producers at that offset, the file of
//! epochs and the names of all of these.

use ottla_protocol::Offset;

use super::{Fault, Log};
use crate::flush::{FlushTarget, RecoveryMark};
use crate::open_files::LazyFile;

#[derive(Debug)]
pub(super) struct RecoveryPoint {
    /// Never above what is flushed.
    offset: Offset,
    /// Bytes written since the log was opened, and those that were below the last point.
    n_bytes_written: u64,
    n_bytes_behind: u64,
    /// Bytes above the point that were there when the log was opened.
    n_bytes_found: u64,
    /// Snapshots that were made for a point and are not at the start of a segment. The newest
    /// is the one that is needed.
    snapshots: Vec<Offset>,
}

impl RecoveryPoint {
    pub(super) fn at(offset: Offset, n_bytes_above: u64) -> Self {
        Self {
            offset,
            n_bytes_written: 0,
            n_bytes_behind: 0,
            n_bytes_found: n_bytes_above,
            snapshots: Vec::new(),
        }
    }

    pub(super) fn wrote(&mut self, n_bytes: usize) {
        self.n_bytes_written += n_bytes as u64;
    }

    pub(super) fn moved_back_to(&mut self, offset: Offset) {
        self.offset = self.offset.min(offset);
        self.snapshots.retain(|snapshot| *snapshot <= offset);
    }

    pub(super) fn synced(&mut self, target: &FlushTarget) {
        if let Some(mark) = target.recovery {
            self.offset = self.offset.max(target.up_to);
            self.n_bytes_behind = self.n_bytes_behind.max(mark.n_bytes_written);
            self.n_bytes_found = 0;
            self.snapshots.extend(mark.snapshot);
        }
    }
}

impl Log {
    /// What `recovery-point-offset-checkpoint` may say.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point.offset.min(self.flushed())
    }

    /// Bytes that would be read again after a crash now.
    pub fn n_bytes_above_recovery_point(&self) -> u64 {
        let point = &self.recovery_point;
        (point.n_bytes_written - point.n_bytes_behind).saturating_add(point.n_bytes_found)
    }

    /// What to sync so that the recovery point is where the end is now; `None`: it is there.
    /// As with `flush_plan`, syncing is done without the log's lock, and told to `flushed_to`.
    pub fn recovery_plan(&mut self) -> Result<Option<FlushTarget>, Fault> {
        self.check_writable()?;
        if self.recovery_point() == self.end() && self.unwritten_epochs().is_none() {
            return Ok(None);
        }
        self.delete_older_snapshots()?;
        let end = self.end();
        self.producers.set_end_offset(end);
        // IMPORTANT: the snapshot comes last. One that is there and in no plan would never be synced.
        let mut target = self.target()?;
        let indexes = self.active().index_files()?;
        let snapshot = self.producer_files.take(&self.producers)?;
        let mark = RecoveryMark {
            n_bytes_written: self.recovery_point.n_bytes_written,
            snapshot: snapshot.is_some().then_some(end),
        };
        // The snapshot's name may be new, and that of the transaction index.
        let has_new_names = snapshot.is_some() || self.active().has_aborted();
        if has_new_names && !target.directories.contains(&self.directory) {
            target.directories.push(self.directory.clone());
        }
        let snapshot = snapshot.as_ref().and_then(LazyFile::get_if_open);
        let others = indexes.into_iter().chain(snapshot);
        target.files.splice(0..0, others);
        target.epochs = self.unwritten_epochs();
        target.recovery = Some(mark);
        Ok(Some(target))
    }

    /// Those before the one that the checkpoint may name now.
    fn delete_older_snapshots(&mut self) -> Result<(), Fault> {
        let older = self.recovery_point.snapshots.len().saturating_sub(1);
        let older: Vec<Offset> = self.recovery_point.snapshots.drain(..older).collect();
        for offset in older {
            let is_base = self
                .segments
                .binary_search_by_key(&offset, |segment| segment.base())
                .is_ok();
            if !is_base {
                self.producer_files.delete(offset)?;
            }
        }
        Ok(())
    }
}

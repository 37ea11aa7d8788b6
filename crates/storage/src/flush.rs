//! Making a log durable without holding its lock.
//!
//! Three steps: `Log::flush_plan` under the lock says what must be synced, `FlushTarget::sync` does
//! it with no lock held, and `Log::flushed_to` under the lock takes the news. A sync that failed must
//! be told to `Log::poison`: after a failed fsync the kernel may have dropped the dirty pages, so
//! a second try that succeeds would prove nothing.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::Offset;
use ottla_protocol::epochs::EpochCache;

use crate::disk::{Disk, DiskFile};
use crate::epoch_file::EpochFile;
use crate::error::Fault;
use crate::together::device_of;

/// Leader epochs to be written where the log's lock is not held.
#[derive(Debug, Clone)]
pub(crate) struct UnwrittenEpochs {
    pub(crate) file: Arc<EpochFile>,
    pub(crate) change: u64,
    pub(crate) epochs: EpochCache,
}

/// What a flush means for the recovery point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecoveryMark {
    /// Of the log's bytes, counted since it was opened.
    pub(crate) n_bytes_written: u64,
    /// A snapshot of the producers that was made for it.
    pub(crate) snapshot: Option<Offset>,
}

/// What to sync so that a log is durable up to an offset.
#[derive(Debug, Clone)]
pub struct FlushTarget {
    pub(crate) disk: Disk,
    /// The active segment's file comes last.
    pub(crate) files: Vec<DiskFile>,
    /// Directories in which names are new. Synced after the files.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) up_to: Offset,
    /// How often the log had been truncated when this was planned; see `Log::flushed_to`.
    pub(crate) n_truncations: u64,
    /// Which changes besides the records this covers.
    pub(crate) n_changes: u64,
    pub(crate) epochs: Option<UnwrittenEpochs>,
    /// Set if recovery may start at `up_to` once this is synced.
    pub(crate) recovery: Option<RecoveryMark>,
}

impl FlushTarget {
    /// One file that is not a log's yet.
    pub(crate) fn of_file(disk: &Disk, file: DiskFile) -> Self {
        Self {
            disk: disk.clone(),
            files: vec![file],
            directories: Vec::new(),
            up_to: 0,
            n_truncations: 0,
            n_changes: 0,
            epochs: None,
            recovery: None,
        }
    }

    /// Exclusive: everything below is durable after `sync`.
    pub fn up_to(&self) -> Offset {
        self.up_to
    }

    /// The files to sync. Usually one.
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.files.iter().map(|file| file.raw())
    }

    /// The directories to sync after the files.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Whether one `fdatasync` is all: the usual case, and the only one cheap enough to be done
    /// in the middle of a round.
    pub fn is_one_file(&self) -> bool {
        self.files.len() == 1 && self.directories.is_empty() && self.epochs.is_none()
    }

    /// Blocks until everything named here is on the disk.
    pub fn sync(&self) -> Result<(), Fault> {
        for file in &self.files {
            file.sync()?;
        }
        for directory in &self.directories {
            self.disk.sync_directory(directory)?;
        }
        self.write_epochs()
    }
    /// How often `sync` waits for the disk.
    pub(crate) fn n_calls(&self) -> usize {
        self.files.len() + self.directories.len() + 2 * usize::from(self.has_epochs())
    }

    /// Whether all of it is on one device.
    pub(crate) fn is_on(&self, device: u64) -> bool {
        let is_there = |file: &DiskFile| device_of(file.raw()) == Some(device);
        self.files.iter().all(is_there)
    }

    // The same in steps, for many targets together.

    pub(crate) fn has_epochs(&self) -> bool {
        self.epochs.is_some()
    }

    pub(crate) fn prepare_epochs(&self) -> Result<(), Fault> {
        match &self.epochs {
            Some(unwritten) => unwritten.file.prepare(unwritten.change, &unwritten.epochs),
            None => Ok(()),
        }
    }

    pub(crate) fn sync_files(&self) -> Result<(), Fault> {
        for file in &self.files {
            file.sync()?;
        }
        for directory in &self.directories {
            self.disk.sync_directory(directory)?;
        }
        match &self.epochs {
            Some(unwritten) => unwritten.file.sync_next(),
            None => Ok(()),
        }
    }

    pub(crate) fn name_epochs(&self) -> Result<(), Fault> {
        match &self.epochs {
            Some(unwritten) => unwritten.file.name(unwritten.change),
            None => Ok(()),
        }
    }

    pub(crate) fn sync_names(&self) -> Result<(), Fault> {
        match &self.epochs {
            Some(unwritten) => unwritten.file.sync_name(),
            None => Ok(()),
        }
    }

    fn write_epochs(&self) -> Result<(), Fault> {
        match &self.epochs {
            Some(unwritten) => unwritten.file.write(unwritten.change, &unwritten.epochs),
            None => Ok(()),
        }
    }
}

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

use crate::disk::{Disk, DiskFile};
use crate::error::Fault;

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
}

impl FlushTarget {
    /// Exclusive: everything below is durable after `sync`.
    pub fn up_to(&self) -> Offset {
        self.up_to
    }

    /// The files to sync. Usually one.
    pub fn files(&self) -> impl Iterator<Item = &Arc<File>> {
        self.files.iter().map(DiskFile::raw)
    }

    /// The directories to sync after the files.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Whether one `fdatasync` is all: the usual case, and the only one cheap enough to be done
    /// in the middle of a round.
    pub fn is_one_file(&self) -> bool {
        self.files.len() == 1 && self.directories.is_empty()
    }

    /// Blocks until everything named here is on the disk.
    pub fn sync(&self) -> Result<(), Fault> {
        for file in &self.files {
            file.sync()?;
        }
        for directory in &self.directories {
            self.disk.sync_directory(directory)?;
        }
        Ok(())
    }
}

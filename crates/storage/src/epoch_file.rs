//! `leader-epoch-checkpoint` of a log, and whether it says what the log knows.
//!
//! An epoch that was just assigned need not be in it: what lies above the recovery point is read
//! again after a crash, and every batch names its epoch. So it is written when the recovery point
//! moves, when epochs are taken away, and when the log is closed, and not in the way of an append.

use std::path::{Path, PathBuf};

use ottla_protocol::epochs::EpochCache;
use parking_lot::Mutex;

use crate::checkpoint::{format_epochs, write_epochs};
use crate::disk::{Disk, parent};
use crate::error::Fault;
use crate::file_names::LEADER_EPOCHS;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct EpochFile {
    disk: Disk,
    path: PathBuf,
    /// The number of the change that is in the file.
    written: Mutex<u64>,
}

impl EpochFile {
    /// A file that says what change number 0 left.
    pub(crate) fn new(disk: &Disk, directory: &Path) -> Self {
        Self {
            disk: disk.clone(),
            path: directory.join(LEADER_EPOCHS),
            written: Mutex::new(0),
        }
    }

    pub(crate) fn is_behind(&self, change: u64) -> bool {
        *self.written.lock() < change
    }

    /// The first of three steps that do what `write` does, with a sync of many files at once between
    /// them: the next contents beside the file.
    pub(crate) fn prepare(&self, change: u64, epochs: &EpochCache) -> Result<(), Fault> {
        if self.is_behind(change) {
            let file = self.disk.create(&self.next())?;
            file.write_all_at(format_epochs(epochs).as_bytes(), 0)?;
        }
        Ok(())
    }

    /// The second step, after a sync: what was prepared takes the name.
    pub(crate) fn name(&self, change: u64) -> Result<(), Fault> {
        let mut written = self.written.lock();
        if *written < change {
            self.disk.rename(&self.next(), &self.path)?;
            *written = change;
            Ok(())
        } else {
            self.disk.remove(&self.next())
        }
    }

    /// The third step, if each name is synced by itself.
    pub(crate) fn sync_name(&self) -> Result<(), Fault> {
        self.disk.sync_directory(parent(&self.path))
    }

    pub(crate) fn sync_next(&self) -> Result<(), Fault> {
        if self.disk.exists(&self.next()) {
            self.disk.open(&self.next())?.sync()
        } else {
            Ok(())
        }
    }

    /// Not the name under which `write` prepares its own.
    fn next(&self) -> PathBuf {
        let mut next = self.path.clone().into_os_string();
        next.push(".next");
        next.into()
    }

    /// Replaces the file, unless a later change is in it already.
    pub(crate) fn write(&self, change: u64, epochs: &EpochCache) -> Result<(), Fault> {
        let mut written = self.written.lock();
        if *written < change {
            write_epochs(&self.disk, &self.path, epochs)?;
            *written = change;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::read_epochs;

    #[test]
    fn in_steps_it_is_the_same_file() {
        let place = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let file = EpochFile::new(&disk, place.path());
        let mut epochs = EpochCache::from_entries(Vec::new());
        epochs.assign(3, 0);
        file.prepare(1, &epochs).unwrap();
        file.sync_next().unwrap();
        file.name(1).unwrap();
        assert!(!file.is_behind(1));
        let names: Vec<_> = disk.list(place.path()).unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
        let read = read_epochs(&disk, &place.path().join(LEADER_EPOCHS)).unwrap();
        assert_eq!(read, epochs);
        // A later change got there first.
        let older = epochs.clone();
        epochs.assign(4, 10);
        file.prepare(2, &older).unwrap();
        file.write(3, &epochs).unwrap();
        file.name(2).unwrap();
        let read = read_epochs(&disk, &place.path().join(LEADER_EPOCHS)).unwrap();
        assert_eq!(read, epochs);
        assert_eq!(disk.list(place.path()).unwrap().len(), 1);
    }

    #[test]
    fn an_older_change_does_not_overwrite_a_newer_one() {
        let place = tempfile::tempdir().unwrap();
        let disk = Disk::new();
        let file = EpochFile::new(&disk, place.path());
        let mut epochs = EpochCache::from_entries(Vec::new());
        epochs.assign(3, 0);
        let older = epochs.clone();
        epochs.assign(4, 10);
        assert!(file.is_behind(2));
        file.write(2, &epochs).unwrap();
        file.write(1, &older).unwrap();
        assert!(!file.is_behind(2));
        let read = read_epochs(&disk, &place.path().join(LEADER_EPOCHS)).unwrap();
        assert_eq!(read, epochs);
    }
}

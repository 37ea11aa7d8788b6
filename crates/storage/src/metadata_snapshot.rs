//! The `.checkpoint` files of the metadata log: listed, written, read, deleted later. What is in
//! them is the caller's affair. Also `bootstrap.checkpoint`, which lies beside the log.
//!
//! A snapshot appears whole or not at all: `.part`, fsync, rename, fsync of the directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::disk::Disk;
use crate::error::Fault;
use crate::fetch_slice::FetchSlice;
use crate::file_names::{SnapshotId, SnapshotName};

/// How long a deleted snapshot can still be read by who has begun to.
const UNLINK_DELAY_MS: i64 = 60_000;
const BOOTSTRAP: &str = "bootstrap.checkpoint";

/// The snapshots in the directory of the metadata log.
#[derive(Debug)]
pub struct MetadataSnapshots {
    disk: Disk,
    directory: PathBuf,
    /// With the sizes of their files.
    snapshots: BTreeMap<SnapshotId, u64>,
    retired: Vec<(i64, PathBuf)>,
}

impl MetadataSnapshots {
    /// Lists what is there and removes what is half written or already deleted.
    pub fn open(disk: Disk, directory: PathBuf) -> Result<Self, Fault> {
        let mut snapshots = BTreeMap::new();
        disk.make_directory(&directory)?;
        for entry in disk.list(&directory)? {
            match SnapshotId::parse(&entry.name) {
                Some(SnapshotName::Whole(id)) => {
                    snapshots.insert(id, entry.n_bytes);
                }
                Some(SnapshotName::Part | SnapshotName::Deleted(_)) => {
                    disk.remove(&directory.join(&entry.name))?;
                }
                None => {}
            }
        }
        Ok(Self {
            disk,
            directory,
            snapshots,
            retired: Vec::new(),
        })
    }

    /// Oldest first.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = SnapshotId> + '_ {
        self.snapshots.keys().copied()
    }

    pub fn latest(&self) -> Option<SnapshotId> {
        self.ids().next_back()
    }

    pub fn earliest(&self) -> Option<SnapshotId> {
        self.ids().next()
    }

    pub fn contains(&self, id: SnapshotId) -> bool {
        self.snapshots.contains_key(&id)
    }

    /// The size of one snapshot.
    pub fn size_of(&self, id: SnapshotId) -> Option<u64> {
        self.snapshots.get(&id).copied()
    }

    /// Bytes of all snapshots.
    pub fn size(&self) -> u64 {
        self.snapshots.values().sum()
    }

    /// When a snapshot was written.
    pub fn written_ms(&self, id: SnapshotId) -> Result<i64, Fault> {
        self.disk.modified_ms(&self.path(id))
    }

    /// All batches of a snapshot.
    pub fn read(&self, id: SnapshotId) -> Result<Bytes, Fault> {
        let path = self.path(id);
        match self.disk.read_if_exists(&path)? {
            Some(bytes) => Ok(Bytes::from(bytes)),
            None => Err(Fault::corrupt(&path, "the snapshot is gone")),
        }
    }

    /// A snapshot's file, for who sends it on.
    pub fn slice(&self, id: SnapshotId) -> Result<FetchSlice, Fault> {
        let file = self.disk.open_to_read(&self.path(id))?;
        let length = usize::try_from(file.length()?).unwrap_or(usize::MAX);
        Ok(FetchSlice::new(file, 0, length))
    }

    /// Makes a snapshot of these batches; durable on return. One that exists stays as it is.
    pub fn write(&mut self, id: SnapshotId, batches: &[Bytes]) -> Result<(), Fault> {
        if self.contains(id) {
            return Ok(());
        }
        let mut part = self.path(id).into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = self.disk.create(&part)?;
        let mut size = 0;
        for batch in batches {
            file.write_all_at(batch, size)?;
            size += batch.len() as u64;
        }
        file.sync_all()?;
        self.disk.set_read_only(&part)?;
        self.disk.rename(&part, &self.path(id))?;
        self.disk.sync_directory(&self.directory)?;
        self.snapshots.insert(id, size);
        Ok(())
    }

    /// Renamed now, unlinked after a minute by `unlink_due`.
    pub fn delete(&mut self, id: SnapshotId, now_ms: i64) -> Result<(), Fault> {
        if self.snapshots.remove(&id).is_none() {
            return Ok(());
        }
        let path = self.path(id);
        let mut renamed = path.clone().into_os_string();
        renamed.push(".deleted");
        let renamed = PathBuf::from(renamed);
        self.disk.rename(&path, &renamed)?;
        self.retired
            .push((now_ms.saturating_add(UNLINK_DELAY_MS), renamed));
        Ok(())
    }

    pub fn unlink_due(&mut self, now_ms: i64) -> Result<(), Fault> {
        let due: Vec<_> = self
            .retired
            .extract_if(.., |(due_ms, _)| *due_ms <= now_ms)
            .collect();
        due.iter().try_for_each(|(_, path)| self.disk.remove(path))
    }

    fn path(&self, id: SnapshotId) -> PathBuf {
        self.directory.join(id.file_name())
    }

    /// The batches that a formatted directory starts its metadata with; `None` if it has none.
    pub fn read_bootstrap(disk: &Disk, log_directory: &Path) -> Result<Option<Bytes>, Fault> {
        Ok(disk
            .read_if_exists(&log_directory.join(BOOTSTRAP))?
            .map(Bytes::from))
    }

    pub fn write_bootstrap(disk: &Disk, log_directory: &Path, batches: &[u8]) -> Result<(), Fault> {
        disk.replace(&log_directory.join(BOOTSTRAP), batches)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const FIRST: SnapshotId = SnapshotId {
        end_offset: 10,
        epoch: 1,
    };
    const SECOND: SnapshotId = SnapshotId {
        end_offset: 20,
        epoch: 1,
    };

    fn open(path: &Path) -> MetadataSnapshots {
        MetadataSnapshots::open(Disk::new(), path.to_owned()).unwrap()
    }

    #[test]
    fn written_read_and_deleted() {
        let place = tempfile::tempdir().unwrap();
        let mut snapshots = open(place.path());
        assert_eq!(snapshots.latest(), None);
        snapshots
            .write(
                FIRST,
                &[Bytes::from_static(b"ab"), Bytes::from_static(b"c")],
            )
            .unwrap();
        snapshots
            .write(SECOND, &[Bytes::from_static(b"d")])
            .unwrap();
        assert_eq!(snapshots.read(FIRST).unwrap(), "abc");
        assert_eq!(snapshots.slice(FIRST).unwrap().length, 3);
        assert_eq!(snapshots.size(), 4);
        let mode = fs::metadata(place.path().join(FIRST.file_name()))
            .unwrap()
            .permissions();
        assert!(mode.readonly());
        snapshots.delete(FIRST, 0).unwrap();
        assert_eq!(snapshots.ids().collect::<Vec<_>>(), [SECOND]);
        snapshots.unlink_due(UNLINK_DELAY_MS - 1).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
        snapshots.unlink_due(UNLINK_DELAY_MS).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_start_removes_what_is_not_whole() {
        let place = tempfile::tempdir().unwrap();
        let mut snapshots = open(place.path());
        snapshots
            .write(FIRST, &[Bytes::from_static(b"ab")])
            .unwrap();
        snapshots
            .write(SECOND, &[Bytes::from_static(b"cd")])
            .unwrap();
        snapshots.delete(FIRST, 0).unwrap();
        let part = "00000000000000000030-0000000001-8273.checkpoint.part";
        fs::write(place.path().join(part), b"x").unwrap();
        fs::write(place.path().join("quorum-state"), b"{}").unwrap();
        let snapshots = open(place.path());
        assert_eq!(snapshots.ids().collect::<Vec<_>>(), [SECOND]);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }
}

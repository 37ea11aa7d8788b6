//! The `.checkpoint` files of the metadata log: listed, written, read, deleted later.

use std::path::PathBuf;

use bytes::Bytes;

use crate::disk::Disk;
use crate::error::Fault;
use crate::file_names::SnapshotId;

/// The snapshots in the directory of the metadata log.
#[derive(Debug)]
pub struct MetadataSnapshots {}

impl MetadataSnapshots {
    /// Lists what is there and removes what is half written or already deleted.
    pub fn open(_disk: Disk, _directory: PathBuf) -> Result<Self, Fault> {
        todo!()
    }

    /// Oldest first.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = SnapshotId> + '_ {
        [].into_iter()
    }

    pub fn latest(&self) -> Option<SnapshotId> {
        self.ids().next_back()
    }

    /// All batches of a snapshot.
    pub fn read(&self, _id: SnapshotId) -> Result<Bytes, Fault> {
        todo!()
    }

    /// Makes a snapshot of these batches; durable on return.
    pub fn write(&mut self, _id: SnapshotId, _batches: &[Bytes]) -> Result<(), Fault> {
        todo!()
    }

    /// Renamed now, unlinked after a minute by `unlink_due`.
    pub fn delete(&mut self, _id: SnapshotId, _now_ms: i64) -> Result<(), Fault> {
        todo!()
    }

    pub fn unlink_due(&mut self, _now_ms: i64) -> Result<(), Fault> {
        todo!()
    }
}

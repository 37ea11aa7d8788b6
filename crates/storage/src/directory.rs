//! One log directory: its lock, its identity (`meta.properties`), its checkpoints, and whether it
//! was shut down in order.

use std::path::{Path, PathBuf};

use ottla_protocol::{NodeId, Offset, TopicPartition, Uuid};

use crate::checkpoint::Offsets;
use crate::disk::Disk;
use crate::error::Fault;

/// `meta.properties`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// Missing in what was formatted before Kafka 3.7; then one is made at start.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    pub fn read(_disk: &Disk, _directory: &Path) -> Result<Option<Self>, Fault> {
        todo!()
    }

    pub fn write(&self, _disk: &Disk, _directory: &Path) -> Result<(), Fault> {
        todo!()
    }
}

/// A log directory that this process has locked. Unlocked when dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn id(&self) -> Uuid {
        todo!()
    }

    /// An offline directory serves nothing; only a restart brings it back.
    pub fn is_online(&self) -> bool {
        todo!()
    }

    pub fn take_offline(&self, _why: &Fault) {
        todo!()
    }

    /// (total, usable) bytes.
    pub fn space(&self) -> Result<(u64, u64), Fault> {
        todo!()
    }

    pub fn write_recovery_points(&self, _offsets: &Offsets) -> Result<(), Fault> {
        todo!()
    }

    pub fn write_log_starts(&self, _offsets: &Offsets) -> Result<(), Fault> {
        todo!()
    }

    pub fn write_high_watermarks(&self, _offsets: &Offsets) -> Result<(), Fault> {
        todo!()
    }

    pub fn high_watermark(&self, _partition: &TopicPartition) -> Offset {
        todo!()
    }

    /// The last step of a shutdown, after all checkpoints.
    pub fn write_clean_shutdown(&self, _broker_epoch: i64) -> Result<(), Fault> {
        todo!()
    }
}

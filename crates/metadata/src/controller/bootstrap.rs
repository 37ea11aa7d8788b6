//! The first records of a cluster, and the repair of a log whose controller died in the middle.

use ottla_protocol::Uuid;

use super::{Controller, Decision};
use crate::records::{MetadataVersion, Record};

/// What the format tool prepared (`bootstrap.checkpoint`), or the default.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap {
    pub level: MetadataVersion,
    /// In order; the metadata.version first.
    pub records: Vec<Record>,
}

impl Bootstrap {
    /// What `kafka-storage.sh format` of 4.3.1 gives a fresh cluster at `level`: the level, then
    /// every feature that is on by default there, by name.
    pub fn for_level(level: MetadataVersion) -> Self {
        let _ = (level, Uuid::ZERO);
        todo!()
    }

    /// From the records of a `bootstrap.checkpoint`; `None` without a metadata.version.
    pub fn from_records(records: Vec<Record>) -> Option<Self> {
        let _ = records;
        todo!()
    }
}

impl Controller {
    /// What a controller writes first when it becomes active: the bootstrap records into an empty
    /// log, the end of a transaction that its predecessor left open, or nothing.
    pub fn activate(&self, bootstrap: &Bootstrap) -> Decision<()> {
        let _ = bootstrap;
        todo!()
    }
}

//! All log directories of a node: open them together, place new logs, load the old ones, delete
//! later, take one offline.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_protocol::{NodeId, Offset, TopicPartition, Uuid};

use crate::directory::Directory;
use crate::disk::Disk;
use crate::error::Fault;
use crate::events::LogEvents;
use crate::log::Log;
use crate::log_config::LogConfig;

/// How to open the directories of a node.
pub struct OpenDirectories {
    pub disk: Disk,
    /// `log.dirs`, and `metadata.log.dir` if it is not one of them.
    pub paths: Vec<PathBuf>,
    /// Where the metadata log lives: must be one of `paths`, and must be formatted.
    pub metadata_path: PathBuf,
    pub node_id: NodeId,
    pub events: Arc<dyn LogEvents>,
}

/// See the head of this file.
pub struct Directories {}

/// The logs that were found at start.
#[derive(Default)]
pub struct LoadedLogs {
    pub logs: Vec<LoadedLog>,
    /// The broker epoch of the last clean shutdown, if all directories agree on one.
    pub previous_broker_epoch: Option<i64>,
}

/// One log that was found at start.
pub struct LoadedLog {
    pub log: Log,
    pub directory: Arc<Directory>,
    /// From `replication-offset-checkpoint`.
    pub high_watermark: Offset,
}

impl Directories {
    /// Locks all directories and checks that they belong together and to this node. Directories
    /// that cannot be read are offline from the start, except the metadata one, which is a fault.
    pub fn open(_how: OpenDirectories) -> Result<Self, Fault> {
        todo!()
    }

    pub fn cluster_id(&self) -> &str {
        todo!()
    }

    /// Those that are online and those that are not.
    pub fn all(&self) -> &[Arc<Directory>] {
        todo!()
    }

    pub fn metadata(&self) -> &Arc<Directory> {
        todo!()
    }

    /// Opens every log in the online directories, some at a time. `config_of` gives a topic's
    /// settings. A directory that fails goes offline.
    pub fn load(
        &self,
        _config_of: &(dyn Fn(&TopicPartition) -> LogConfig + Sync),
        _n_threads: usize,
        _now_ms: i64,
    ) -> Result<LoadedLogs, Fault> {
        todo!()
    }

    /// Where a new log goes: the online directory with the fewest partitions.
    pub fn place(&self) -> Option<Arc<Directory>> {
        todo!()
    }

    pub fn create_log(
        &self,
        _directory: &Arc<Directory>,
        _partition: TopicPartition,
        _topic_id: Uuid,
        _config: LogConfig,
        _now_ms: i64,
    ) -> Result<Log, Fault> {
        todo!()
    }

    /// Takes a log out of service: renamed now, unlinked by `unlink_due` after the delay.
    pub fn delete_log(&self, _log: Log, _now_ms: i64) -> Result<(), Fault> {
        todo!()
    }

    /// Sets a log aside that metadata does not assign here.
    pub fn set_aside(&self, _log: Log) -> Result<(), Fault> {
        todo!()
    }

    /// Unlinks what was deleted long enough ago. Call it now and then.
    pub fn unlink_due(&self, _now_ms: i64) -> Result<(), Fault> {
        todo!()
    }
}

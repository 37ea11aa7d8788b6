//! The data plane: find a partition; turn changes of the metadata into partitions led and dropped.

mod partition;
mod fetch_sessions;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use ottla_metadata::config::Overrides;
use ottla_metadata::image::{self, Image, Published, Resource, ResourceKind, directory};
use ottla_protocol::{Refusal, TopicPartition, Uuid};
use ottla_replication::Assignment;
use ottla_storage::{Directories, Directory, Fault, LoadedLogs, LogConfig, Offsets};
use parking_lot::RwLock;

pub use fetch_sessions::{Ask, FetchPlan, FetchSessions, Told, TopicRef, Wanted};
pub use partition::{ActiveProducer, AppendRefused, Appended, Partition};
pub(crate) use partition::{ScanFailed, Surroundings, read_slice};
pub(crate) use settings::{log_config, metadata_log_config};

use crate::group_flush::GroupFlush;
use crate::services::Configured;

type ByIndex = BTreeMap<i32, Arc<Partition>>;

/// All partitions of this node.
pub struct Partitions {
    directories: Arc<Directories>,
    flushers: HashMap<PathBuf, Arc<GroupFlush>>,
    around: Surroundings,
    by_topic: RwLock<HashMap<Arc<str>, ByIndex>>,
}

impl Partitions {
    pub(crate) fn new(
        directories: Arc<Directories>,
        flushers: HashMap<PathBuf, Arc<GroupFlush>>,
        around: Surroundings,
    ) -> Arc<Self> {
        Arc::new(Self {
            directories,
            flushers,
            around,
            by_topic: RwLock::default(),
        })
    }

    /// A partition that is on this node.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`
    pub fn find(&self, topic: &str, index: i32) -> Result<Arc<Partition>, Refusal> {
        let by_topic = self.by_topic.read();
        let partition = by_topic
            .get(topic)
            .and_then(|partitions| partitions.get(&index));
        partition.cloned().ok_or(Refusal::UnknownTopicOrPartition)
    }

    /// A partition that this node leads and whose disk works.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER`, `KAFKA_STORAGE_ERROR`
    pub fn leader_of(&self, topic: &str, index: i32) -> Result<Arc<Partition>, Refusal> {
        let partition = self.find(topic, index)?;
        if !partition.directory().is_online() {
            return Err(Refusal::KafkaStorageError);
        }
        partition
            .leader_epoch()
            .ok_or(Refusal::NotLeaderOrFollower)?;
        Ok(partition)
    }

    /// Every partition, in the order of names and indexes within a topic.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let by_topic = self.by_topic.read();
        let mut all: Vec<_> = by_topic
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect();
        all.sort_by(|a, b| a.id().cmp(b.id()));
        all
    }

    /// Those that are compacted, in no order.
    pub(crate) fn compacted(&self) -> Vec<Arc<Partition>> {
        let by_topic = self.by_topic.read();
        let all = by_topic.values().flat_map(BTreeMap::values);
        all.filter(|partition| partition.is_compacted())
            .cloned()
            .collect()
    }

    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// Writes down where these partitions start, once for each directory: what DeleteRecords has
    /// answered holds after a crash, too.
    ///
    /// # Errors
    /// The disk's. The records are gone all the same until then.
    pub fn write_starts(&self, changed: &[Arc<Partition>]) -> Result<(), Fault> {
        for directory in self.directories.all() {
            let (mut starts, mut high_watermarks) = (Offsets::new(), Offsets::new());
            for partition in changed {
                if !Arc::ptr_eq(partition.directory(), directory) {
                    continue;
                }
                if let Some(start) = partition.start_inside() {
                    starts.insert(partition.id().clone(), start);
                    high_watermarks.insert(partition.id().clone(), partition.high_watermark());
                }
            }
            if !starts.is_empty() {
                directory.raise_log_starts(&starts, &high_watermarks)?;
            }
        }
        Ok(())
    }

    /// Partitions whose newest records are not on the disk.
    pub fn n_waiting_for_flush(&self) -> usize {
        self.flushers
            .values()
            .map(|flusher| flusher.n_waiting())
            .sum()
    }

    // ---- from the metadata ----

    /// Takes in the logs that were found at start. Those that the metadata does not assign to
    /// this node are set aside.
    pub(crate) fn adopt(&self, loaded: LoadedLogs, image: &Image) {
        for found in loaded.logs {
            let id = found.log.partition().clone();
            let topic = found
                .log
                .topic_id()
                .and_then(|id| image.topics.find_by_id(id));
            let is_ours = topic.is_some_and(|topic| {
                topic.name == id.topic
                    && topic
                        .partition(id.partition)
                        .is_some_and(|partition| partition.replicas.contains(&self.around.node_id))
            });
            match topic.filter(|_| is_ours) {
                Some(topic) => {
                    if let Some(flush) = self.flushers.get(found.directory.path()) {
                        let partition = Partition::new(
                            found.log,
                            topic.id,
                            found.directory,
                            flush.clone(),
                            self.around.clone(),
                        );
                        self.insert(partition);
                    }
                }
                None => {
                    tracing::warn!(partition = %id, "log is not assigned to this node; it is set aside as stray");
                    if let Err(fault) = self.directories.set_aside(&found.directory, found.log) {
                        tracing::error!(partition = %id, %fault, "stray log could not be set aside");
                    }
                }
            }
        }
    }

    /// Makes, leads and drops what a whole image says. For the start.
    pub(crate) fn take_all(&self, image: &Image, configured: &Configured) {
        for topic in image.topics.iter() {
            for index in topic.partitions.keys() {
                self.take(topic, *index, image, configured);
            }
        }
    }

    /// Takes in what changed.
    pub(crate) fn change(&self, published: &Published, configured: &Configured) {
        let Published { image, changes } = published;
        for topic in changes.deleted_topics.values() {
            self.drop_topic(topic);
        }
        for (id, indexes) in &changes.topics {
            let Some(topic) = image.topics.find_by_id(*id) else {
                continue;
            };
            for index in indexes {
                self.take(topic, *index, image, configured);
            }
        }
        let broker_changed = changes
            .configs
            .iter()
            .any(|resource| resource.kind == ResourceKind::Broker);
        for topic in image.topics.iter() {
            let is_touched =
                broker_changed || changes.configs.contains(&Resource::topic(&topic.name));
            if is_touched {
                self.configure(topic, image, configured);
            }
        }
    }

    fn take(&self, topic: &image::Topic, index: i32, image: &Image, configured: &Configured) {
        let Some(assigned) = topic.partition(index) else {
            return;
        };
        if !assigned.replicas.contains(&self.around.node_id) {
            return;
        }
        let id = TopicPartition {
            topic: topic.name.clone(),
            partition: index,
        };
        let (log, min_in_sync) = self.settings_of(topic, image, configured);
        let partition = match self.find(&topic.name, index) {
            Ok(partition) => partition,
            Err(_) => match self.create(&id, topic.id, assigned, log) {
                Ok(partition) => partition,
                Err(fault) => {
                    tracing::error!(partition = %id, %fault, "log could not be made");
                    return;
                }
            },
        };
        let result = if assigned.leader == Some(self.around.node_id) {
            partition.lead(Assignment {
                leader_epoch: assigned.leader_epoch,
                partition_epoch: assigned.partition_epoch,
                replicas: assigned.replicas.clone(),
                in_sync: assigned.in_sync.clone(),
                min_in_sync,
            })
        } else {
            partition.resign();
            Ok(())
        };
        if let Err(fault) = result {
            tracing::error!(partition = %id, %fault, "partition cannot be led");
        }
    }

    fn create(
        &self,
        id: &TopicPartition,
        topic_id: Uuid,
        assigned: &image::Partition,
        config: LogConfig,
    ) -> Result<Arc<Partition>, Fault> {
        let directory = self
            .directory_for(assigned)
            .ok_or_else(|| Fault::Poisoned {
                path: PathBuf::new(),
                why: "no log directory is online".into(),
            })?;
        let now_ms = self.around.clock.wall_ms();
        let log = self
            .directories
            .create_log(&directory, id.clone(), topic_id, config, now_ms)?;
        let flush = self
            .flushers
            .get(directory.path())
            .cloned()
            .ok_or_else(|| Fault::Poisoned {
                path: directory.path().to_owned(),
                why: "the directory has no flusher".into(),
            })?;
        let partition = Partition::new(log, topic_id, directory, flush, self.around.clone());
        self.insert(partition.clone());
        Ok(partition)
    }

    /// Where the metadata puts the replica, or the directory with the fewest partitions.
    fn directory_for(&self, assigned: &image::Partition) -> Option<Arc<Directory>> {
        let wanted = assigned.directory_of(self.around.node_id).filter(|id| {
            ![directory::UNASSIGNED, directory::MIGRATING, directory::LOST].contains(id)
        });
        let named = wanted.and_then(|wanted| {
            let all = self.directories.all().iter();
            all.filter(|directory| directory.is_online())
                .find(|directory| directory.id() == wanted)
        });
        named.cloned().or_else(|| self.directories.place())
    }

    fn insert(&self, partition: Arc<Partition>) {
        let id = partition.id().clone();
        self.by_topic
            .write()
            .entry(id.topic)
            .or_default()
            .insert(id.partition, partition);
    }

    fn drop_topic(&self, topic: &image::Topic) {
        let Some(partitions) = self.by_topic.write().remove(&topic.name) else {
            return;
        };
        let now_ms = self.around.clock.wall_ms();
        for partition in partitions.values() {
            let Some(log) = partition.retire() else {
                continue;
            };
            if let Err(fault) = self
                .directories
                .delete_log(partition.directory(), log, now_ms)
            {
                tracing::error!(partition = %partition.id(), %fault, "log could not be deleted");
            }
        }
        self.around.metrics.forget_topic(&topic.name);
        tracing::info!(topic = %topic.name, id = %topic.id, "topic deleted");
    }

    fn configure(&self, topic: &image::Topic, image: &Image, configured: &Configured) {
        let (log, min_in_sync) = self.settings_of(topic, image, configured);
        let partitions = self
            .by_topic
            .read()
            .get(&topic.name)
            .cloned()
            .unwrap_or_default();
        for partition in partitions.values() {
            partition.configure(log.clone(), min_in_sync);
        }
    }

    fn settings_of(
        &self,
        topic: &image::Topic,
        image: &Image,
        configured: &Configured,
    ) -> (LogConfig, i32) {
        log_settings(&topic.name, image, configured)
    }

    /// Takes every log away from its partition. For the end of the node's life.
    pub(crate) fn retire_all(&self) -> Vec<(Arc<Partition>, ottla_storage::Log)> {
        let by_topic = std::mem::take(&mut *self.by_topic.write());
        let partitions = by_topic.into_values().flat_map(BTreeMap::into_values);
        partitions
            .filter_map(|partition| partition.retire().map(|log| (partition, log)))
            .collect()
    }
}

/// A topic's settings, as its log takes them, and its `min.insync.replicas`.
pub(crate) fn log_settings(
    topic: &str,
    image: &Image,
    configured: &Configured,
) -> (LogConfig, i32) {
    let overrides = image.configs.overrides(&Resource::topic(topic));
    let typed = configured.config.topic_config(&overrides).or_else(|why| {
        // The controller checked them, so another version wrote this one: go on with the defaults.
        tracing::warn!(topic, %why, "topic settings cannot be read; the defaults are used");
        configured.config.topic_config(&Overrides::new())
    });
    let expiration = Some(i64::from(configured.settings.producers.id_expiration_ms));
    match typed {
        Ok(typed) => (log_config(&typed, expiration), typed.min_insync_replicas),
        Err(_) => (LogConfig::default(), 1),
    }
}

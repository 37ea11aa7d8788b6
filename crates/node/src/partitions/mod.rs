//! The data plane: find a partition; turn changes of the metadata into partitions led and dropped.

mod partition;
mod fetch_sessions;
mod settings;
mod awaited;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_metadata::config::Overrides;
use ottla_metadata::image::{self, Image, Published, Resource, ResourceKind, directory};
use ottla_protocol::{Refusal, TopicPartition, Uuid};
use ottla_replication::Assignment;
use ottla_storage::{
    Directories, Directory, Fault, Found, LoadedLog, Log, LogConfig, NewLog, Offsets,
};
use parking_lot::{Mutex, RwLock};

use awaited::Awaited;
pub use fetch_sessions::{Ask, FetchPlan, FetchSessions, Told, TopicRef, Wanted};
pub use partition::{ActiveProducer, AppendRefused, Appended, Partition};
pub(crate) use partition::{Place, ScanFailed, Surroundings, Swapped, read_slice};
pub(crate) use settings::{log_config, metadata_log_config};

use crate::appends::Appends;
use crate::group_flush::GroupFlush;
use crate::moves::Moves;
use crate::news::News;
use crate::services::Configured;

type ByIndex = BTreeMap<i32, Arc<Partition>>;

/// All partitions of this node.
pub struct Partitions {
    directories: Arc<Directories>,
    flushers: HashMap<PathBuf, Arc<GroupFlush>>,
    around: Surroundings,
    moves: Arc<Moves>,
    by_topic: RwLock<HashMap<Arc<str>, ByIndex>>,
    /// Partitions whose logs are in directories that are offline since the start.
    away: RwLock<HashSet<TopicPartition>>,
    /// Held while the metadata is taken in, so that a log that is opened meanwhile finds either
    /// the picture before or the one behind.
    awaited: Mutex<Awaited>,
}

impl Partitions {
    pub(crate) fn new(
        directories: Arc<Directories>,
        flushers: HashMap<PathBuf, Arc<GroupFlush>>,
        around: Surroundings,
        moves: Arc<Moves>,
    ) -> Arc<Self> {
        Arc::new(Self {
            directories,
            flushers,
            around,
            moves,
            by_topic: RwLock::default(),
            away: RwLock::default(),
            awaited: Mutex::default(),
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
        if !partition.is_online() {
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

    /// Replicas on their way to another directory.
    pub(crate) fn moves(&self) -> &Arc<Moves> {
        &self.moves
    }

    /// Whether the log of this partition is in a directory that is offline since the start.
    pub fn is_away(&self, topic: &str, index: i32) -> bool {
        let away = self.away.read();
        !away.is_empty() && away.contains(&TopicPartition::new(topic, index))
    }

    /// Writes down where these partitions start, once for each directory: what DeleteRecords has
    /// answered holds after a crash, too.
    ///
    /// # Errors
    /// The disk's. The records are gone all the same until then.
    pub fn write_starts(&self, changed: &[Arc<Partition>]) -> Result<(), Fault> {
        // No log may change its directory between the collecting and the writing.
        let _whole = self.moves.checkpoints();
        for directory in self.directories.all() {
            let (mut starts, mut high_watermarks) = (Offsets::new(), Offsets::new());
            for partition in changed {
                if !partition.is_in(directory) {
                    continue;
                }
                if let Some(start) = partition.start_inside() {
                    starts.insert(partition.id().clone(), start);
                    let high_watermark = partition.checkpoint_high_watermark();
                    high_watermarks.insert(partition.id().clone(), high_watermark);
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

    /// Room that is reserved ahead of what is written in a log directory.
    pub(crate) fn n_bytes_reserved(&self, directory: &Path) -> u64 {
        let flusher = self.flushers.get(directory);
        flusher.map_or(0, |flusher| flusher.pages().room().n_bytes_held())
    }

    /// Reads that wait for the disk of a log directory.
    pub(crate) fn n_cold_reads(&self, directory: &Path) -> usize {
        let flusher = self.flushers.get(directory);
        flusher.map_or(0, |flusher| flusher.cold().n_waiting())
    }

    pub(crate) fn appends_in(&self, directory: &Path) -> Option<&Appends> {
        self.flushers
            .get(directory)
            .map(|flusher| &**flusher.appends())
    }

    // ---- from the metadata ----

    /// These logs are there and about to be opened: nothing is made in their place.
    pub(crate) fn expect(&self, found: &Found, image: &Image) {
        let mut awaited = self.awaited.lock();
        awaited.expect(found.logs(), &image.topics);
        let mut all = self.directories.all().iter();
        if all.all(|directory| directory.is_online()) {
            return;
        }
        for topic in image.topics.iter() {
            for (index, assigned) in &topic.partitions {
                if assigned.replicas.contains(&self.around.node_id) {
                    self.note_away(topic, *index, &mut awaited);
                }
            }
        }
    }

    /// Whether logs of this directory were found and are not open.
    pub(crate) fn awaits_in(&self, directory: &Arc<Directory>) -> bool {
        self.awaited.lock().is_in(directory)
    }

    /// Takes in a log that was found at the start. One that the metadata does not assign to this
    /// node is set aside.
    pub(crate) fn admit(
        &self,
        opened: Result<LoadedLog, TopicPartition>,
        now: &dyn Fn() -> (Arc<Image>, Arc<Configured>),
    ) -> Option<Arc<Partition>> {
        let mut awaited = self.awaited.lock();
        let (image, configured) = now();
        let id = match &opened {
            Ok(found) => found.log.partition().clone(),
            Err(id) => id.clone(),
        };
        awaited.came(&id);
        match opened {
            Ok(mut found) => {
                if let Some(topic) = self.topic_of(&found, &image) {
                    let read = || log_settings(&topic.name, &image, &configured);
                    found
                        .log
                        .set_config(awaited.settings_of(&topic.name, read).0);
                    let flush = self.flushers.get(found.directory.path())?.clone();
                    let around = self.around.clone();
                    self.insert(Partition::new(
                        found.log,
                        topic.id,
                        found.directory,
                        flush,
                        around,
                    ));
                } else {
                    self.put_away(found, |topic| awaited.was_deleted(topic, &image.topics));
                }
            }
            // Its directory is offline, and says so.
            Err(id) if awaited.is_missed(&id, &image.topics) => {
                self.away.write().insert(id.clone());
                awaited.failed(id);
                return None;
            }
            Err(_) => {}
        }
        let topic = image.topics.find(&id.topic)?;
        let mut making = Vec::new();
        self.take(
            topic,
            id.partition,
            &mut awaited,
            &image,
            &configured,
            &mut making,
        );
        self.make(making);
        awaited.forget_if_done();
        drop(awaited);
        self.find(&id.topic, id.partition).ok()
    }

    /// The topic that a log belongs to, if it is one of this node's.
    fn topic_of<'a>(&self, found: &LoadedLog, image: &'a Image) -> Option<&'a image::Topic> {
        let id = found.log.partition();
        let topic = image.topics.find_by_id(found.log.topic_id()?)?;
        let assigned = topic.partition(id.partition)?;
        let is_ours = topic.name == id.topic && assigned.replicas.contains(&self.around.node_id);
        is_ours.then_some(topic)
    }

    /// A log that belongs to no topic here: deleted if its topic was deleted while it was opened, or
    /// if a crash came while it was made; else it is a stray that somebody may want to see.
    fn put_away(&self, found: LoadedLog, was_deleted: impl Fn(Uuid) -> bool) {
        let LoadedLog { log, directory } = found;
        let id = log.partition().clone();
        let is_deleted = match log.topic_id() {
            Some(topic_id) => was_deleted(topic_id),
            None => log.end() == 0,
        };
        if is_deleted {
            let now_ms = self.around.clock.wall_ms();
            if let Err(fault) = self.directories.delete_log(&directory, log, now_ms) {
                tracing::error!(partition = %id, %fault, "log could not be deleted");
            }
            return;
        }
        tracing::warn!(
            partition = %id,
            topic_id = log.topic_id().map_or_else(|| "none".to_owned(), |id| id.to_string()),
            directory = %log.directory().display(),
            "log is not assigned to this node; it is set aside as stray"
        );
        if let Err(fault) = self.directories.set_aside(&directory, log) {
            tracing::error!(partition = %id, %fault, "stray log could not be set aside");
        }
    }

    /// Makes, leads and drops what a whole image says. For the start.
    pub(crate) fn take_all(&self, now: &dyn Fn() -> (Arc<Image>, Arc<Configured>)) {
        let mut awaited = self.awaited.lock();
        let (image, configured) = now();
        let mut making = Vec::new();
        for topic in image.topics.iter() {
            for index in topic.partitions.keys() {
                self.take(
                    topic,
                    *index,
                    &mut awaited,
                    &image,
                    &configured,
                    &mut making,
                );
            }
        }
        self.make(making);
        awaited.forget_if_done();
    }

    /// Takes in what changed.
    pub(crate) fn change(&self, published: &Published, configured: &Configured) {
        let Published { image, changes } = published;
        let mut awaited = self.awaited.lock();
        awaited.forget_settings();
        for topic in changes.deleted_topics.values() {
            awaited.deleted(&topic.name);
            self.drop_topic(topic);
        }
        let mut making = Vec::new();
        for (id, indexes) in &changes.topics {
            let Some(topic) = image.topics.find_by_id(*id) else {
                continue;
            };
            for index in indexes {
                self.take(topic, *index, &mut awaited, image, configured, &mut making);
            }
        }
        self.make(making);
        awaited.forget_if_done();
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

    /// A log that was not found while a directory is offline may be in there: an empty one elsewhere
    /// would pass for it.
    fn note_away(&self, topic: &image::Topic, index: i32, awaited: &mut Awaited) {
        let id = TopicPartition {
            topic: topic.name.clone(),
            partition: index,
        };
        if !awaited.contains(&id) {
            tracing::warn!(partition = %id, "its log was not found, and a log directory is offline");
            self.away.write().insert(id.clone());
            awaited.failed(id);
        }
    }

    /// Tells the controller where a replica lies, if it does not know.
    fn tell_directory(&self, topic: Uuid, assigned: &image::Partition, partition: &Partition) {
        let known = assigned.directory_of(self.around.node_id);
        let actual = partition.directory().id();
        if known != Some(actual) && !self.moves.has(partition.id()) {
            let index = partition.id().partition;
            self.around.assignments.tell(topic, index, actual, None);
        }
    }

    /// Leads or leaves a partition that is here; one that is not is put among those to be made.
    fn take(
        &self,
        topic: &image::Topic,
        index: i32,
        awaited: &mut Awaited,
        image: &Image,
        configured: &Configured,
        making: &mut Vec<Making>,
    ) {
        let Some(assigned) = topic.partition(index) else {
            return;
        };
        let id = TopicPartition {
            topic: topic.name.clone(),
            partition: index,
        };
        if !assigned.replicas.contains(&self.around.node_id) || awaited.contains(&id) {
            return;
        }
        let settings =
            awaited.settings_of(&topic.name, || log_settings(&topic.name, image, configured));
        let (log, min_in_sync) = settings;
        let assignment = (assigned.leader == Some(self.around.node_id)).then(|| Assignment {
            leader_epoch: assigned.leader_epoch,
            partition_epoch: assigned.partition_epoch,
            replicas: assigned.replicas.clone(),
            in_sync: assigned.in_sync.clone(),
            min_in_sync,
        });
        match self.find(&topic.name, index) {
            Ok(partition) => {
                self.tell_directory(topic.id, assigned, &partition);
                lead_or_resign(&partition, assignment);
            }
            Err(_) => {
                let remembered = self.moves.take_remembered(&id);
                making.push(Making {
                    known: assigned.directory_of(self.around.node_id),
                    new: NewLog {
                        partition: id,
                        topic_id: topic.id,
                        config: log,
                        directory: remembered.or_else(|| self.directory_for(assigned)),
                    },
                    assignment,
                });
            }
        }
    }

    /// Makes logs, all together, and leads what was made.
    fn make(&self, making: Vec<Making>) {
        if making.is_empty() {
            return;
        }
        let now_ms = self.around.clock.wall_ms();
        let (new, assigned): (Vec<_>, Vec<_>) = making
            .into_iter()
            .map(|making| {
                let Making {
                    new,
                    assignment,
                    known,
                } = making;
                let id = (new.partition.clone(), new.topic_id);
                (new, (id, assignment, known))
            })
            .unzip();
        let made = self.directories.create_logs(new, now_ms);
        for (made, ((id, topic_id), assignment, known)) in made.into_iter().zip(assigned) {
            let made = made.map(|LoadedLog { log, directory }| {
                let flush = self.flushers.get(directory.path()).cloned()?;
                Some(Partition::new(
                    log,
                    topic_id,
                    directory,
                    flush,
                    self.around.clone(),
                ))
            });
            match made {
                Ok(Some(partition)) => {
                    self.insert(partition.clone());
                    let actual = partition.directory().id();
                    if known != Some(actual) {
                        let assignments = &self.around.assignments;
                        assignments.tell(topic_id, id.partition, actual, None);
                    }
                    lead_or_resign(&partition, assignment);
                }
                Ok(None) => tracing::error!(partition = %id, "its directory has no flusher"),
                Err(fault) => tracing::error!(partition = %id, %fault, "log could not be made"),
            }
        }
    }

    /// Where the metadata puts the replica; `None`: wherever there is room.
    fn directory_for(&self, assigned: &image::Partition) -> Option<Arc<Directory>> {
        let wanted = assigned.directory_of(self.around.node_id).filter(|id| {
            ![directory::UNASSIGNED, directory::MIGRATING, directory::LOST].contains(id)
        });
        let named = wanted.and_then(|wanted| {
            let all = self.directories.all().iter();
            all.filter(|directory| directory.is_online())
                .find(|directory| directory.id() == wanted)
        });
        named.cloned()
    }

    fn insert(&self, partition: Arc<Partition>) {
        let id = partition.id().clone();
        self.by_topic
            .write()
            .entry(id.topic)
            .or_default()
            .insert(id.partition, partition);
        self.news().tell();
    }

    pub(crate) fn news(&self) -> &News {
        &self.around.news
    }

    fn drop_topic(&self, topic: &image::Topic) {
        self.away.write().retain(|id| id.topic != topic.name);
        let (gone, is_all) = self.take_out(topic);
        if gone.is_empty() {
            return;
        }
        let mut logs_of: HashMap<PathBuf, Vec<Log>> = HashMap::new();
        for partition in gone {
            // IMPORTANT: first. Until then a move may put the log into another directory, and a move
            // that begins must find the log gone, or be found here.
            let log = partition.retire();
            self.moves.abandon(partition.id());
            let path = partition.directory().path().to_owned();
            logs_of.entry(path).or_default().extend(log);
        }
        let now_ms = self.around.clock.wall_ms();
        for directory in self.directories.all() {
            let logs = logs_of.remove(directory.path()).unwrap_or_default();
            if logs.is_empty() {
                continue;
            }
            if let Err(fault) = self.directories.delete_logs(directory, logs, now_ms) {
                tracing::error!(topic = %topic.name, %fault, "logs could not be deleted");
            }
        }
        self.news().tell();
        if is_all {
            self.around.metrics.forget_topic(&topic.name);
        }
        tracing::info!(topic = %topic.name, id = %topic.id, "topic deleted");
    }

    /// The partitions of a topic, which are found no more; whether none is left under its name. A log
    /// that is opened meets the newest metadata, so those of the next topic of that name may be here
    /// before this one is dropped.
    fn take_out(&self, topic: &image::Topic) -> (Vec<Arc<Partition>>, bool) {
        let mut by_topic = self.by_topic.write();
        let all = by_topic.remove(&topic.name).unwrap_or_default();
        let is_of = |(_, partition): &(i32, Arc<Partition>)| partition.topic_id() == topic.id;
        let (gone, others): (ByIndex, ByIndex) = all.into_iter().partition(is_of);
        let is_all = others.is_empty();
        if !is_all {
            by_topic.insert(topic.name.clone(), others);
        }
        (gone.into_values().collect(), is_all)
    }

    fn configure(&self, topic: &image::Topic, image: &Image, configured: &Configured) {
        let (log, min_in_sync) = log_settings(&topic.name, image, configured);
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

    /// Takes every log away from its partition. For the end of the node's life.
    pub(crate) fn retire_all(&self) -> Vec<(Arc<Partition>, Log)> {
        let by_topic = std::mem::take(&mut *self.by_topic.write());
        let partitions = by_topic.into_values().flat_map(BTreeMap::into_values);
        partitions
            .filter_map(|partition| partition.retire().map(|log| (partition, log)))
            .collect()
    }
}

/// A log to be made, and what it leads if it does.
struct Making {
    new: NewLog,
    /// The directory that the metadata names.
    known: Option<Uuid>,
    assignment: Option<Assignment>,
}

fn lead_or_resign(partition: &Arc<Partition>, assignment: Option<Assignment>) {
    let led = match assignment {
        Some(assignment) => partition.lead(assignment),
        None => {
            partition.resign();
            Ok(())
        }
    };
    if let Err(fault) = led {
        tracing::error!(partition = %partition.id(), %fault, "partition cannot be led");
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

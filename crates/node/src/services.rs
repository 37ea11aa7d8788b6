//! The handles that an API file may touch.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use ottla_metadata::config::{BrokerConfig, NodeSettings};
use ottla_metadata::controller::{ByName, CreatedTopic, Decision, Mutations, NewTopic, Unmetered};
use ottla_metadata::image::Image;
use ottla_protocol::{NodeId, Refusal, TopicPartition, Uuid};
use ottla_storage::{Directory, Disk};
use tokio::sync::Notify;

use crate::assignments::Assignments;
use crate::cleaner::Cleaner;
use crate::clock::Clock;
use crate::coordinators::{
    FinalizedLevel, GroupHost, MarkerWriter, ProducerIds, TopicVersions, TxnHost,
};
use crate::descriptors::Descriptors;
use crate::log_levels::LogLevels;
use crate::metrics::Metrics;
use crate::moves::{FutureReplica, is_named};
use crate::on_demand::OnDemand;
use crate::opening::Opening;
use crate::partitions::{FetchSessions, Partition, Partitions};
use crate::quorum::{ControllerHandle, ImageFeed};
use crate::quotas::{MutationMeter, Quotas};
use crate::telemetry::Telemetry;

/// `kafka.server:type=KafkaServer,name=BrokerState`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BrokerState {
    Starting = 1,
    Recovery = 2,
    Running = 3,
    LeavingInOrder = 6,
    ShuttingDown = 7,
}

/// The typed settings in force, and the texts they come from. Replaced whole when a dynamic
/// value changes.
pub struct Configured {
    pub settings: NodeSettings,
    pub config: BrokerConfig,
}

/// A running node, as its API handlers see it.
pub struct Services {
    pub(crate) clock: Clock,
    pub(crate) cluster_id: Arc<str>,
    pub(crate) configured: Arc<ArcSwap<Configured>>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) feed: Arc<ImageFeed>,
    pub(crate) controller: ControllerHandle,
    pub(crate) groups: Arc<GroupHost>,
    pub(crate) topic_versions: Arc<TopicVersions>,
    pub(crate) transactions: Arc<TxnHost>,
    pub(crate) markers: Arc<MarkerWriter>,
    pub(crate) transaction_level: Arc<FinalizedLevel>,
    pub(crate) producer_ids: Arc<ProducerIds>,
    pub(crate) cleaner: Arc<Cleaner>,
    pub(crate) fetch_sessions: FetchSessions,
    pub(crate) on_demand: OnDemand,
    pub(crate) quotas: Arc<Quotas>,
    pub(crate) telemetry: Telemetry,
    /// Told when finalized features have changed.
    pub(crate) levels_changed: Notify,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log_levels: OnceLock<Box<dyn LogLevels>>,
    pub(crate) broker_epoch: AtomicI64,
    pub(crate) state: AtomicU8,
    pub(crate) opening: Arc<Opening>,
    pub(crate) descriptors: Descriptors,
    /// The way to the file system.
    pub(crate) disk: Disk,
    pub(crate) assignments: Arc<Assignments>,
}

impl Services {
    /// So many connections are open: the files of logs get what they leave.
    pub fn connections_are(&self, n_open: usize) {
        let n_files = self.descriptors.files_beside(n_open);
        self.disk.open_files().allow(n_files);
    }

    /// What the file descriptors of this process are for.
    pub fn descriptors(&self) -> Descriptors {
        self.descriptors
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub fn node_id(&self) -> NodeId {
        self.configured.load().settings.node_id
    }

    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch.load(Ordering::Acquire)
    }

    pub fn configured(&self) -> Arc<Configured> {
        self.configured.load_full()
    }

    pub fn settings(&self) -> NodeSettings {
        self.configured.load().settings.clone()
    }

    pub fn config(&self) -> BrokerConfig {
        self.configured.load().config.clone()
    }

    pub fn image(&self) -> Arc<Image> {
        self.feed.image()
    }

    pub fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    pub fn controller(&self) -> &ControllerHandle {
        &self.controller
    }

    pub fn groups(&self) -> &GroupHost {
        &self.groups
    }

    pub fn transactions(&self) -> &TxnHost {
        &self.transactions
    }

    pub fn markers(&self) -> &MarkerWriter {
        &self.markers
    }

    pub fn producer_ids(&self) -> &Arc<ProducerIds> {
        &self.producer_ids
    }

    pub fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// What a request that makes or deletes partitions takes of its client's quota.
    pub fn mutation_meter(&self, client_id: &str, is_strict: bool) -> MutationMeter {
        MutationMeter {
            quotas: self.quotas.clone(),
            client_id: Arc::from(client_id),
            is_strict,
            pause: None,
        }
    }

    pub fn fetch_sessions(&self) -> &FetchSessions {
        &self.fetch_sessions
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn metrics_handle(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// The log of the process, where it can be changed.
    pub fn log_levels(&self) -> Option<&dyn LogLevels> {
        self.log_levels.get().map(AsRef::as_ref)
    }

    /// Hand over the log of the process; the first one counts.
    pub fn take_log_levels(&self, levels: Box<dyn LogLevels>) {
        let _ = self.log_levels.set(levels);
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The name of a topic that exists.
    pub fn topic_name(&self, id: Uuid) -> Option<Arc<str>> {
        self.feed
            .image()
            .topics
            .find_by_id(id)
            .map(|topic| topic.name.clone())
    }

    /// Does what may wait for a disk where it holds up nobody else. `None`: it panicked.
    pub async fn where_it_may_wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Partitions) -> T + Send + 'static,
    ) -> Option<T> {
        let partitions = self.partitions.clone();
        let done = tokio::task::spawn_blocking(move || work(&partitions));
        done.await.ok()
    }

    /// A partition that this node leads and whose disk works.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER` (also for a partition of other nodes),
    /// `KAFKA_STORAGE_ERROR`
    pub fn leader_of(&self, topic: &str, index: i32) -> Result<Arc<Partition>, Refusal> {
        self.elsewhere(self.partitions.leader_of(topic, index), topic, index)
    }

    /// A partition that is on this node and whose disk works, led here or not.
    ///
    /// # Errors
    /// As [`Self::leader_of`].
    pub fn replica_of(&self, topic: &str, index: i32) -> Result<Arc<Partition>, Refusal> {
        let found = self.partitions.find(topic, index).and_then(|partition| {
            if partition.is_online() {
                Ok(partition)
            } else {
                Err(Refusal::KafkaStorageError)
            }
        });
        self.elsewhere(found, topic, index)
    }

    fn elsewhere(
        &self,
        found: Result<Arc<Partition>, Refusal>,
        topic: &str,
        index: i32,
    ) -> Result<Arc<Partition>, Refusal> {
        found.map_err(|refusal| {
            let is_known = || self.feed.image().topics.partition(topic, index).is_some();
            match refusal {
                Refusal::UnknownTopicOrPartition if self.partitions.is_away(topic, index) => {
                    Refusal::KafkaStorageError
                }
                Refusal::UnknownTopicOrPartition if is_known() => Refusal::NotLeaderOrFollower,
                refusal => refusal,
            }
        })
    }

    // ---- log directories ----

    /// AlterReplicaLogDirs: moves a replica to the directory at `path`, which is a line of `log.dirs`
    /// made absolute.
    ///
    /// # Errors
    /// `LOG_DIR_NOT_FOUND`, `KAFKA_STORAGE_ERROR`, `INVALID_REPLICA_ASSIGNMENT` (the directory is
    /// cordoned), `UNKNOWN_TOPIC_OR_PARTITION` and `REPLICA_NOT_AVAILABLE` (none is here: the directory is
    /// remembered for when it is made), `INVALID_TOPIC_EXCEPTION` (the name is too long)
    pub async fn alter_log_dirs(
        &self,
        wanted: BTreeMap<TopicPartition, Arc<str>>,
    ) -> Vec<(TopicPartition, Result<(), Refusal>)> {
        let partitions = self.partitions.clone();
        let configured = self.configured();
        let image = self.image();
        let cordoned = self.cordoned_log_dirs();
        let names: Vec<TopicPartition> = wanted.keys().cloned().collect();
        let asked = tokio::task::spawn_blocking(move || {
            let dirs = &configured.settings.log_dirs;
            let is_shown = |path: &str| dirs.iter().any(|dir| is_named(Path::new(dir), path));
            let outcomes = wanted.into_iter().map(|(id, path)| {
                let all = partitions.directories().all().iter();
                let target = all
                    .filter(|_| is_shown(&path))
                    .find(|directory| is_named(directory.path(), &path));
                let partition = partitions.find(&id.topic, id.partition).ok();
                if partition.is_none() && partitions.is_away(&id.topic, id.partition) {
                    return (id, Err(Refusal::KafkaStorageError));
                }
                let is_cordoned = is_cordoned(&cordoned, Path::new(&*path));
                let done = partitions.moves().ask(&id, partition, target, is_cordoned);
                let is_known = || image.topics.partition(&id.topic, id.partition).is_some();
                let done = done.map_err(|refusal| match refusal {
                    Refusal::ReplicaNotAvailable if !is_known() => Refusal::UnknownTopicOrPartition,
                    refusal => refusal,
                });
                (id, done)
            });
            outcomes.collect::<Vec<_>>()
        });
        asked.await.unwrap_or_else(|_| {
            let failed = |id| (id, Err(Refusal::UnknownServerError));
            names.into_iter().map(failed).collect()
        })
    }

    /// Copies in a directory that are about to take the place of their logs.
    pub fn futures_in(&self, directory: &Arc<Directory>) -> Vec<FutureReplica> {
        self.partitions.moves().futures_in(directory)
    }

    /// `cordoned.log.dirs`, as far as the cluster's level knows it (KIP-1066).
    pub fn cordoned_log_dirs(&self) -> Vec<String> {
        let level = self.image().features.metadata_version();
        if !level.is_some_and(|level| level.has_cordoned_directories()) {
            return Vec::new();
        }
        let config = self.config();
        let text = config.value("cordoned.log.dirs").unwrap_or_default();
        text.split(',')
            .map(|path| path.trim().to_owned())
            .filter(|path| !path.is_empty())
            .collect()
    }

    /// Creates topics; one outcome for each name.
    ///
    /// # Errors
    /// `NOT_CONTROLLER`
    pub async fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Result<ByName<CreatedTopic>, Refusal> {
        self.create_metered(topics, validate_only, Unmetered)
            .await
            .map(|(created, _)| created)
    }

    /// As [`Self::create_topics`], as far as a client's quota goes; what is left of it comes back.
    ///
    /// # Errors
    /// `NOT_CONTROLLER`
    pub async fn create_metered<Q: Mutations + Send + 'static>(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
        mut quota: Q,
    ) -> Result<(ByName<CreatedTopic>, Q), Refusal> {
        let config = self.config();
        self.controller
            .decide(move |ledger, _| {
                let Decision { batches, reply } = ledger.create_topics(
                    &topics,
                    validate_only,
                    &config,
                    &mut random_uuid,
                    &mut quota,
                );
                let reply = (reply, quota);
                Decision { batches, reply }
            })
            .await
    }

    pub fn state(&self) -> BrokerState {
        match self.state.load(Ordering::Acquire) {
            2 => BrokerState::Recovery,
            3 if self.opening.is_done() => BrokerState::Running,
            3 => BrokerState::Recovery,
            6 => BrokerState::LeavingInOrder,
            7 => BrokerState::ShuttingDown,
            _ => BrokerState::Starting,
        }
    }

    /// Resolves when every log that was found at the start is open, or cannot be opened.
    pub async fn logs_opened(&self) {
        self.opening.done().await;
    }

    /// Clients are served from here on.
    pub fn enter_running(&self) {
        self.enter(BrokerState::Running);
    }

    pub(crate) fn enter(&self, state: BrokerState) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// Why clients are not served now; none if they are.
    pub fn not_ready(&self) -> Option<String> {
        match self.state() {
            BrokerState::Running => {
                let directories = self.partitions.directories().all();
                let offline: Vec<String> = directories
                    .iter()
                    .filter(|directory| !directory.is_online())
                    .map(|directory| directory.path().display().to_string())
                    .collect();
                (offline.len() == directories.len())
                    .then(|| format!("every log directory has failed: {}", offline.join(", ")))
            }
            BrokerState::Recovery => {
                let progress = self.opening.progress();
                let (done, total) = (progress.n_done(), progress.n_logs());
                Some(format!(
                    "the node opens its logs: {done} of {total} are open"
                ))
            }
            state => Some(format!("the node is {state:?}")),
        }
    }
}

/// Whether a directory, given by its absolute path, is among those that take no new replicas.
pub fn is_cordoned(cordoned: &[String], directory: &Path) -> bool {
    let is_it = |one: &String| {
        let one = Path::new(one);
        std::path::absolute(one).is_ok_and(|absolute| absolute == directory)
    };
    cordoned.iter().any(|one| one == "*" || is_it(one))
}

/// Sixteen random bytes.
pub(crate) fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    // Without randomness no id is unique: nothing that needs one may go on.
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}

/// A fresh random id that Kafka would also give out.
pub fn random_uuid() -> Uuid {
    loop {
        if let Some(id) = Uuid::random(random_bytes()) {
            return id;
        }
    }
}

/// A random number.
pub fn random_i32() -> i32 {
    let [a, b, c, d, ..] = random_bytes();
    i32::from_be_bytes([a, b, c, d])
}

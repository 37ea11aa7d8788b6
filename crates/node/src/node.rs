//! Start and stop of a node, in order, on one page.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_coordinators::group::{
    Assignor, ConsumerSettings, MigrationPolicy, OneGroup, OwnSettings,
};
use ottla_coordinators::{GroupSettings, TxnSettings};
use ottla_metadata::config::{
    BadValue, BrokerConfig, ConsumerGroupSettings, NodeSettings, Standing,
};
use ottla_metadata::image::{Endpoint, Image, Published, Resource, ResourceKind};
use ottla_protocol::{Refused, TopicPartition, Uuid};
use ottla_replication::Durability;
use ottla_storage::{
    Directories, Directory, Disk, Fault, Found, LoadedLog, Log, NoEvents, OpenDirectories,
};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::appends::{Appends, Place};
use crate::assignments::{self, Assignments};
use crate::cleaner::Cleaner;
use crate::clock::Clock;
use crate::cold_reads::ColdReads;
use crate::coordinators::{
    Carrier, FinalizedLevel, GROUP_METADATA_TOPIC, GroupAround, GroupHost, Host, Ledger,
    MarkerWriter, NewHost, PatternReader, ProducerIds, TRANSACTION_STATE_TOPIC, TopicVersions,
    TxnAround, TxnHost, is_internal_topic,
};
use crate::descriptors::Descriptors;
use crate::directory_watch;
use crate::group_flush::GroupFlush;
use crate::level;
use crate::metrics::Metrics;
use crate::moves::{self, Moves};
use crate::on_demand::OnDemand;
use crate::opening::Opening;
use crate::partitions::{FetchSessions, Partitions, Surroundings, log_settings};
use crate::quorum::{self, CannotStart, ImageFeed, Registration, Started, Subscriber};
use crate::quotas::Quotas;
use crate::room::Room;
use crate::services::{BrokerState, Configured, Services, random_uuid};
use crate::telemetry::Telemetry;
use crate::upkeep;

/// The feature that says how transactions end.
const TRANSACTION_VERSION: &str = "transaction.version";
/// How long the start waits for logs: as long as nobody minds.
const OPENING_PATIENCE: Duration = Duration::from_millis(200);
/// How long a stop waits for the controller's consent, which needs the metadata log: that may be full.
/// Docker kills what has not ended after ten seconds, and logs that are not closed are read again.
const LEAVING_PATIENCE: Duration = Duration::from_secs(5);

/// Why a node does not start, as a sentence.
#[derive(Debug)]
pub enum StartFailed {
    Setting(BadValue),
    Fault(Fault),
    Quorum(CannotStart),
    Refused(Refused),
    Io(&'static str, std::io::Error),
    TimedOut(Duration),
}

impl fmt::Display for StartFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(bad) => bad.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
            Self::Quorum(why) => why.fmt(f),
            Self::Refused(refused) => match &refused.message {
                Some(message) => write!(f, "the controller refuses this broker: {message}"),
                None => write!(
                    f,
                    "the controller refuses this broker: {}",
                    refused.refusal.name()
                ),
            },
            Self::Io(doing, error) => write!(f, "cannot {doing}: {error}"),
            Self::TimedOut(patience) => write!(
                f,
                "the controller did not become active within \
                 initial.broker.registration.timeout.ms={}; is the disk very slow, or does \
                 controller.quorum.voters name others?",
                patience.as_millis()
            ),
        }
    }
}

impl std::error::Error for StartFailed {}

impl From<Fault> for StartFailed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<BadValue> for StartFailed {
    fn from(bad: BadValue) -> Self {
        Self::Setting(bad)
    }
}

impl From<Refused> for StartFailed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// What a node is started with.
pub struct Start {
    pub config: BrokerConfig,
    /// The way to the file system.
    pub disk: Disk,
    pub descriptors: Descriptors,
    /// The client listeners as bound and advertised.
    pub endpoints: Vec<Endpoint>,
    /// The runtime of quorum, group coordinators and timers; never waits for a disk.
    pub control: Handle,
    /// The runtime that serves producers and consumers, and coordinates transactions: each of their
    /// decisions is an append.
    pub data: Handle,
}

/// A running node.
pub struct Node {
    services: Arc<Services>,
    directories: Arc<Directories>,
    registration: Registration,
    flushers: HashMap<PathBuf, Arc<GroupFlush>>,
    flush_threads: Vec<JoinHandle<()>>,
    log_thread: JoinHandle<()>,
    quorum_task: tokio::task::JoinHandle<Result<(), Fault>>,
    upkeep: Option<tokio::task::JoinHandle<()>>,
    open_thread: Option<JoinHandle<()>>,
    /// Why the node cannot go on, once that is so.
    end: watch::Receiver<Option<String>>,
    stop: watch::Sender<bool>,
}

impl Node {
    /// Opens the directories, takes part in the quorum, loads the logs, and leads.
    ///
    /// # Errors
    /// A sentence that names the file or setting at fault.
    pub async fn start(start: Start) -> Result<Self, StartFailed> {
        let settings = start.config.node_settings()?;
        let clock = Clock::default();
        let metrics = Arc::new(Metrics::default());
        let directories = Arc::new(open_directories(&settings, start.disk.clone())?);
        let opening = Arc::<Opening>::default();
        let (flushers, flush_threads) =
            start_flushers(&directories, &settings, &metrics, &opening)?;
        let Started {
            controller,
            feed,
            log_thread,
            task,
        } = quorum::start(
            &settings,
            &start.config,
            &directories,
            &start.disk,
            &clock,
            &start.control,
        )
        .map_err(StartFailed::Quorum)?;
        // A controller of one voter is active in milliseconds.
        let patience_ms = settings.metadata.registration_timeout_ms;
        let patience = Duration::from_millis(u64::try_from(patience_ms).unwrap_or(0));
        tokio::time::timeout(patience, controller.active())
            .await
            .map_err(|_| StartFailed::TimedOut(patience))?
            .map_err(Refused::from)?;
        let assignments = Arc::<Assignments>::default();
        let around = Surroundings {
            node_id: settings.node_id,
            clock: clock.clone(),
            metrics: metrics.clone(),
            news: Arc::default(),
            assignments: assignments.clone(),
            durability: if settings.ottla.flush_before_ack {
                Durability::Flushed
            } else {
                Durability::Written
            },
        };
        let moves = Moves::new(
            moves::Around {
                directories: directories.clone(),
                flushers: flushers.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
                assignments: assignments.clone(),
            },
            settings.logs.n_move_threads,
        );
        moves.set_rate(settings.logs.move_bytes_per_second_max);
        let partitions = Partitions::new(directories.clone(), flushers.clone(), around, moves);
        let runtimes = (&start.control, &start.data);
        let hosts = Hosts::start(&settings, runtimes, &clock, &partitions, &feed, &metrics);
        let (stop, stopping) = watch::channel(false);
        let services = Arc::new(Services {
            cluster_id: Arc::from(directories.cluster_id()),
            configured: Arc::new(ArcSwap::from_pointee(Configured {
                settings: settings.clone(),
                config: start.config.clone(),
            })),
            fetch_sessions: FetchSessions::new(
                usize::try_from(settings.logs.fetch_session_slots).unwrap_or(0),
            ),
            cleaner: Cleaner::new(&partitions, clock.clone(), settings.cleaner.clone()),
            telemetry: Telemetry::new(
                settings.ottla.client_telemetry,
                settings.quotas.telemetry_bytes_max,
            ),
            levels_changed: Notify::new(),
            quotas: Arc::new(Quotas::new(&settings.quotas, clock.clone())),
            clock,
            partitions,
            feed,
            controller,
            groups: hosts.groups,
            topic_versions: hosts.versions,
            transactions: hosts.transactions,
            markers: hosts.markers,
            transaction_level: hosts.level,
            producer_ids: hosts.ids,
            on_demand: OnDemand::default(),
            metrics,
            log_levels: OnceLock::new(),
            broker_epoch: AtomicI64::new(-1),
            state: AtomicU8::new(BrokerState::Starting as u8),
            opening,
            descriptors: start.descriptors,
            disk: start.disk.clone(),
            assignments,
        });
        let (end, ended) = watch::channel(None);
        let mut node = Self {
            registration: Registration::new(
                &settings,
                &directories,
                start.endpoints,
                random_uuid(),
                None,
            ),
            services,
            directories,
            flushers,
            flush_threads,
            log_thread,
            quorum_task: task,
            upkeep: None,
            open_thread: None,
            end: ended,
            stop,
        };
        node.join().await?;
        let services = node.services.clone();
        start
            .control
            .spawn(assignments::run(services.clone(), stopping.clone()));
        start.control.spawn(level::run(
            node.registration.clone(),
            services.clone(),
            stopping.clone(),
        ));
        start.control.spawn(directory_watch::run(
            services.clone(),
            stopping.clone(),
            end,
        ));
        node.upkeep = Some(start.control.spawn(async move {
            let mut ended = stopping.clone();
            // A checkpoint has a line for each log, so it waits until all are there.
            tokio::select! {
                // IMPORTANT: looked at first. A stop ends the opening, too, and that is not done.
                biased;
                _ = ended.changed() => return,
                () = services.opening.done() => {}
            }
            resume_moves(&services).await;
            services.cleaner.start();
            upkeep::run(services, stopping).await;
        }));
        Ok(node)
    }

    /// Registers, begins to open the logs that are here, and asks to lead.
    async fn join(&mut self) -> Result<(), StartFailed> {
        let services = self.services.clone();
        services.enter(BrokerState::Recovery);
        // The image is whole once something that we asked for is in it.
        services
            .controller
            .decide(|ledger, _| ledger.no_op())
            .await
            .map_err(Refused::from)?;
        note_unserved(&services.image());
        refresh_config(&services);
        let mut found = self.find().await?;
        self.registration.remember(found.previous_broker_epoch);
        services.partitions.moves().expect(found.take_futures());
        let image = services.image();
        services.partitions.expect(&found, &image);
        expect(&image, &services.groups, &found);
        expect(&image, &services.transactions, &found);
        services.topic_versions.start(services.image());
        services.feed.subscribe(subscribers(&services)).await;
        let epoch = self.registration.register(&services.controller).await?;
        services.broker_epoch.store(epoch, Ordering::Release);
        // Not before: until here the metadata may name leaders of our last life.
        self.open(found)?;
        let taken = services.clone();
        let took = tokio::task::spawn_blocking(move || {
            let now = || (taken.image(), taken.configured());
            taken.partitions.take_all(&now);
        });
        took.await
            .map_err(|panic| StartFailed::Io("take in the metadata", panic.into()))?;
        lead_coordinators(&services, &services.image());
        services.quotas.take_in(&services.image().quotas);
        services.telemetry.take_in(&services.image().configs);
        let offset = services.image().provenance.end_offset - 1;
        self.registration
            .unfence(&services.controller, epoch, offset)
            .await?;
        // A node with little to open comes up whole: no client is sent away for nothing.
        let _ = tokio::time::timeout(OPENING_PATIENCE, services.opening.done()).await;
        Ok(())
    }

    /// The logs that are here.
    async fn find(&self) -> Result<Found, StartFailed> {
        let (directories, services) = (self.directories.clone(), self.services.clone());
        let found = tokio::task::spawn_blocking(move || {
            let (image, configured) = (services.image(), services.configured());
            let settings = parking_lot::Mutex::new(HashMap::new());
            let config_of = |id: &TopicPartition| {
                let mut settings = settings.lock();
                let of_topic = settings
                    .entry(id.topic.clone())
                    .or_insert_with(|| log_settings(&id.topic, &image, &configured).0);
                of_topic.clone()
            };
            let node = services.node_id();
            let is_assigned = |id: &TopicPartition, directory: Uuid| {
                let partition = image.topics.partition(&id.topic, id.partition);
                partition.is_some_and(|it| it.directory_of(node) == Some(directory))
            };
            directories.find(&config_of, &is_assigned, services.clock.wall_ms())
        });
        let mut found = found
            .await
            .map_err(|panic| StartFailed::Io("look for logs", panic.into()))??;
        // Coordinators have to read theirs back before anybody goes on.
        found.put_first(|id| is_internal_topic(&id.topic));
        Ok(found)
    }

    /// Opens logs on threads of their own; each partition is led as soon as its log is open.
    fn open(&mut self, found: Found) -> Result<(), StartFailed> {
        let settings = self.services.settings();
        let per_directory = usize::try_from(settings.logs.recovery_threads_per_dir).unwrap_or(1);
        let n_threads = per_directory.max(1) * self.directories.all().len();
        let weak = Arc::downgrade(&self.services);
        let admit = move |opened: Result<LoadedLog, TopicPartition>| {
            let Some(services) = weak.upgrade() else {
                return;
            };
            let id = match &opened {
                Ok(loaded) => loaded.log.partition().clone(),
                Err(id) => id.clone(),
            };
            let now = || (services.image(), services.configured());
            services.partitions.admit(opened, &now);
            came(&services, &services.groups, &id);
            came(&services, &services.transactions, &id);
        };
        let opening = self.services.opening.clone();
        let thread = opening
            .begin(self.directories.clone(), found, n_threads, admit)
            .map_err(|error| StartFailed::Io("start the threads that open logs", error))?;
        self.open_thread = Some(thread);
        Ok(())
    }

    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Leaves in order: nothing that was acknowledged is lost either way, but the next start
    /// need not look at the data.
    ///
    /// # Errors
    /// What could not be written. The rest is closed all the same.
    pub async fn stop(self) -> Result<(), Fault> {
        self.services.enter(BrokerState::LeavingInOrder);
        let epoch = self.services.broker_epoch();
        let offset = self.services.image().provenance.end_offset - 1;
        let leave = self
            .registration
            .leave(&self.services.controller, epoch, offset);
        match tokio::time::timeout(LEAVING_PATIENCE, leave).await {
            Ok(Ok(_)) => {}
            Ok(Err(refused)) => {
                tracing::warn!(?refused, "the controller did not let this broker go");
            }
            Err(_) => tracing::warn!(
                "the controller did not let this broker go within {LEAVING_PATIENCE:?}; it goes all the same"
            ),
        }
        self.services.enter(BrokerState::ShuttingDown);
        self.stop.send_replace(true);
        self.services.feed.subscribe(Vec::new()).await;
        self.services.opening.stop();
        if let Some(thread) = self.open_thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        // Not before: a change of the metadata and a log that is opened take chairs.
        self.services.groups.resign_all();
        self.services.transactions.resign_all();
        // A checkpoint that it writes now would be of logs that are closed.
        if let Some(upkeep) = self.upkeep {
            let _ = upkeep.await;
        }
        let partitions = self.services.partitions.clone();
        let cleaner = self.services.cleaner.clone();
        let directories = self.directories.clone();
        let flushers = self.flushers;
        let threads = self.flush_threads;
        let closed = tokio::task::spawn_blocking(move || {
            cleaner.stop();
            let copies = partitions.moves().stop();
            for flusher in flushers.values() {
                flusher.stop();
            }
            for thread in threads {
                let _ = thread.join();
            }
            close_logs(&partitions, copies, &directories, epoch)
        });
        let closed = closed.await.unwrap_or_else(|panic| {
            Err(Fault::Poisoned {
                path: PathBuf::new(),
                why: format!("logs were not closed: {panic}"),
            })
        });
        self.services.controller.stop();
        let ended = self.quorum_task.await;
        let log_thread = self.log_thread;
        let _ = tokio::task::spawn_blocking(move || log_thread.join()).await;
        closed.and(ended.unwrap_or(Ok(())))
    }

    /// Resolves when the node cannot go on: the controller has ended by itself, because the metadata
    /// log has failed, or every log directory has failed. The reason, as a sentence.
    pub async fn failed(&mut self) -> String {
        let quorum = async {
            match (&mut self.quorum_task).await {
                Ok(Err(fault)) => format!("the metadata log has failed: {fault}"),
                Ok(Ok(())) => "the controller has ended".to_owned(),
                Err(panic) => format!("the controller has ended: {panic}"),
            }
        };
        let directories = async {
            match self.end.wait_for(Option::is_some).await {
                Ok(why) => (*why).clone().unwrap_or_default(),
                // Whoever watches the directories has ended, because the node stops.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            why = quorum => why,
            why = directories => why,
        }
    }
}

/// Copies that were found at the start go on now that their logs are open.
async fn resume_moves(services: &Arc<Services>) {
    let taken = services.clone();
    let resumed = tokio::task::spawn_blocking(move || {
        let partitions = &taken.partitions;
        let find = |id: &TopicPartition| partitions.find(&id.topic, id.partition).ok();
        partitions.moves().resume(find, &taken.image());
    });
    if let Err(panic) = resumed.await {
        tracing::error!(%panic, "moves between log directories do not go on");
    }
}

fn open_directories(settings: &NodeSettings, disk: Disk) -> Result<Directories, Fault> {
    let mut paths: Vec<PathBuf> = settings.log_dirs.iter().map(PathBuf::from).collect();
    let metadata_path = PathBuf::from(&settings.metadata_log_dir);
    if !paths.contains(&metadata_path) {
        paths.push(metadata_path.clone());
    }
    Directories::open(OpenDirectories {
        disk,
        paths,
        metadata_path,
        node_id: settings.node_id,
        events: Arc::new(NoEvents),
    })
}

/// Threads of the data plane: one for each processor.
fn n_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

type Flushers = (HashMap<PathBuf, Arc<GroupFlush>>, Vec<JoinHandle<()>>);

fn start_flushers(
    directories: &Directories,
    settings: &NodeSettings,
    metrics: &Arc<Metrics>,
    opening: &Arc<Opening>,
) -> Result<Flushers, StartFailed> {
    // Negative: everything stays.
    let n_bytes_hot = u64::try_from(settings.ottla.page_cache_bytes).unwrap_or(u64::MAX);
    // On a single disk there is nobody to be left a thread.
    let n_inline_max = match directories.all().len() {
        1 => usize::MAX,
        _ => n_threads().saturating_sub(1).max(1),
    };
    let n_cold = usize::try_from(settings.ottla.cold_read_threads).unwrap_or(0);
    let n_bytes_ahead = u64::try_from(settings.ottla.preallocate_bytes).unwrap_or(0);
    let (mut flushers, mut threads) = (HashMap::new(), Vec::new());
    for (n, directory) in directories.all().iter().enumerate() {
        let measured = directory.clone();
        let usable = move || measured.space().map_or(0, |(_, usable)| usable);
        let room = Room::new(n_bytes_ahead, usable);
        let cold = ColdReads::new(n_cold, metrics.clone());
        let appends = Appends::new(Place::of(&settings.ottla.append_mode), n_inline_max);
        let (flusher, started) = GroupFlush::start(
            &n.to_string(),
            n_bytes_hot,
            room,
            cold,
            appends,
            opening.clone(),
        )
        .map_err(|error| StartFailed::Io("start the flush threads", error))?;
        flushers.insert(directory.path().to_owned(), flusher);
        threads.extend(started);
    }
    Ok((flushers, threads))
}

/// The coordinators, and what carries from one to the other.
struct Hosts {
    groups: Arc<GroupHost>,
    transactions: Arc<TxnHost>,
    markers: Arc<MarkerWriter>,
    level: Arc<FinalizedLevel>,
    ids: Arc<ProducerIds>,
    versions: Arc<TopicVersions>,
}

impl Hosts {
    fn start(
        settings: &NodeSettings,
        (control, data): (&Handle, &Handle),
        clock: &Clock,
        partitions: &Arc<Partitions>,
        feed: &Arc<ImageFeed>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let commit_ms = settings.groups.offsets_commit_timeout_ms;
        let versions = Arc::<TopicVersions>::default();
        let reader = PatternReader::new(control.clone(), clock.clone());
        let read = reader.clone();
        let groups = Arc::new(GroupHost::new(NewHost {
            runtime: control.clone(),
            appends_here: false,
            settings: group_settings(settings, &feed.image()),
            around: GroupAround {
                feed: feed.clone(),
                versions: versions.clone(),
            },
            errands: Arc::new(move |errand| read.read(errand)),
            clock: clock.clone(),
            commit_timeout: Duration::from_millis(u64::try_from(commit_ms).unwrap_or(0)),
        }));
        reader.serve(&groups);
        let request_ms = settings.transactions.request_timeout_ms;
        let request_timeout = Duration::from_millis(u64::try_from(request_ms).unwrap_or(0));
        let markers = Arc::new(MarkerWriter::new(
            partitions.clone(),
            groups.clone(),
            clock.clone(),
            request_timeout,
        ));
        let carrier = Carrier::new(data.clone(), markers.clone(), feed.clone(), metrics.clone());
        let (ids, level) = (
            Arc::<ProducerIds>::default(),
            Arc::<FinalizedLevel>::default(),
        );
        let carry = carrier.clone();
        let transactions = Arc::new(TxnHost::new(NewHost {
            runtime: data.clone(),
            // Where each waits for the disk a change of thread costs nothing beside that, and a write
            // to a file that is being synced would hold a thread of the data plane.
            appends_here: !settings.ottla.flush_before_ack,
            settings: txn_settings(settings),
            around: TxnAround {
                ids: ids.clone(),
                level: level.clone(),
            },
            errands: Arc::new(move |demand| carry.carry(demand)),
            clock: clock.clone(),
            commit_timeout: request_timeout,
        }));
        carrier.serve(&transactions);
        Self {
            groups,
            transactions,
            markers,
            level,
            ids,
            versions,
        }
    }
}

fn txn_settings(settings: &NodeSettings) -> TxnSettings {
    let transactions = &settings.transactions;
    TxnSettings {
        max_timeout_ms: transactions.timeout_ms_max,
        id_expiration_ms: i64::from(transactions.transactional_id_expiration_ms),
        abort_timed_out_interval_ms: i64::from(transactions.abort_timed_out_interval_ms),
        remove_expired_interval_ms: i64::from(transactions.remove_expired_interval_ms),
    }
}

fn group_settings(settings: &NodeSettings, image: &Image) -> GroupSettings {
    let groups = &settings.groups;
    GroupSettings {
        min_session_timeout_ms: groups.min_session_timeout_ms,
        max_session_timeout_ms: groups.max_session_timeout_ms,
        initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms,
        max_size: usize::try_from(groups.max_size).unwrap_or(0),
        offsets_retention_ms: i64::from(groups.offsets_retention_minutes) * 60_000,
        offsets_retention_check_interval_ms: groups.offsets_retention_check_interval_ms,
        offset_metadata_max: usize::try_from(groups.offset_metadata_max_bytes).unwrap_or(0),
        consumer: consumer_settings(&settings.consumer_groups, image),
    }
}

/// Settings of consumer groups: the broker's, and each group's own, which may have been set when
/// the bounds were wider.
fn consumer_settings(settings: &ConsumerGroupSettings, image: &Image) -> ConsumerSettings {
    let assignors = settings.assignors.iter();
    let of_groups = image.configs.resources();
    let of_groups = of_groups.filter(|resource| resource.kind == ResourceKind::Group);
    let own = |group: &Resource| {
        let within = |name, least: i32, most: i32| {
            let own = image.configs.value(group, name)?.parse::<i32>().ok()?;
            Some(own.min(most).max(least))
        };
        OwnSettings {
            session_timeout_ms: within(
                "consumer.session.timeout.ms",
                settings.session_timeout_ms_min,
                settings.session_timeout_ms_max,
            ),
            heartbeat_interval_ms: within(
                "consumer.heartbeat.interval.ms",
                settings.heartbeat_interval_ms_min,
                settings.heartbeat_interval_ms_max,
            ),
            assignment_interval_ms: within(
                "consumer.assignment.interval.ms",
                settings.assignment_interval_ms_min,
                settings.assignment_interval_ms_max,
            ),
        }
    };
    ConsumerSettings {
        default: OneGroup {
            session_timeout_ms: settings.session_timeout_ms,
            heartbeat_interval_ms: settings.heartbeat_interval_ms,
            assignment_interval_ms: settings.assignment_interval_ms,
        },
        max_size: usize::try_from(settings.max_size).unwrap_or(0),
        assignors: assignors
            .filter_map(|name| Assignor::from_name(name))
            .collect(),
        regex_refresh_interval_ms: settings.regex_refresh_interval_ms,
        migration: MigrationPolicy::from_name(&settings.migration_policy),
        own: Arc::new(
            of_groups
                .map(|group| (Arc::from(&*group.name), own(group)))
                .collect(),
        ),
    }
}

/// Who is told of a new image, in this order: settings first, since the others read them.
fn subscribers(services: &Arc<Services>) -> Vec<Subscriber> {
    // Weak: the feed belongs to the services.
    let weak = Arc::downgrade(services);
    vec![Box::new(move |published: &Published| {
        let Some(services) = weak.upgrade() else {
            return;
        };
        let sets_us = |resource: &Resource| {
            matches!(resource.kind, ResourceKind::Broker | ResourceKind::Group)
        };
        if published.changes.configs.iter().any(sets_us) {
            refresh_config(&services);
        }
        if published.changes.features {
            services.levels_changed.notify_one();
        }
        let subscribes = |resource: &Resource| resource.kind == ResourceKind::ClientMetrics;
        if published.changes.configs.iter().any(subscribes) {
            services.telemetry.take_in(&published.image.configs);
        }
        if published.changes.quotas {
            services.quotas.take_in(&published.image.quotas);
        }
        services.topic_versions.take_in(published);
        services
            .partitions
            .change(published, &services.configured());
        for topic in published.changes.deleted_topics.values() {
            services.groups.topic_deleted(&topic.name, topic.id);
            if &*topic.name == GROUP_METADATA_TOPIC {
                services.groups.resign_all();
            }
            if &*topic.name == TRANSACTION_STATE_TOPIC {
                services.transactions.resign_all();
            }
        }
        lead_coordinators(&services, &published.image);
    })]
}

/// Puts the dynamic values of the image in force.
fn refresh_config(services: &Services) {
    let image = services.image();
    let before = services.configured();
    let cluster = image.configs.overrides(&Resource::cluster());
    let own = image
        .configs
        .overrides(&Resource::broker(before.settings.node_id));
    let config = before.config.with_dynamic(cluster, own);
    match config.node_settings() {
        Ok(settings) => {
            note_changes(&before.config, &config);
            services
                .groups
                .change_settings(group_settings(&settings, &image));
            services.cleaner.configure(&settings.cleaner);
            let move_rate = settings.logs.move_bytes_per_second_max;
            services.partitions.moves().set_rate(move_rate);
            services
                .transactions
                .change_settings(txn_settings(&settings));
            services
                .configured
                .store(Arc::new(Configured { settings, config }));
        }
        Err(why) => tracing::error!(%why, "dynamic settings are not put in force"),
    }
}

/// Says which dynamic settings are new or gone; of those that nothing reads, that too. Values may be secret.
fn note_changes(before: &BrokerConfig, after: &BrokerConfig) {
    for name in after.changed_since(before) {
        match Standing::of(&name) {
            Standing::Honoured => tracing::info!(name, "setting changed"),
            Standing::Unhonoured => {
                tracing::warn!("{name} is known and not honoured yet (dynamic)")
            }
            Standing::Unknown => {
                tracing::warn!("{name} is no setting that Kafka or Ottla knows (dynamic)")
            }
        }
    }
}

/// Takes the chair of every partition of the coordinators' topics that this node leads.
fn lead_coordinators(services: &Services, image: &Image) {
    services
        .transaction_level
        .set(image.features.level(TRANSACTION_VERSION));
    lead(services, image, &services.groups);
    lead(services, image, &services.transactions);
}

fn lead<L: Ledger>(services: &Services, image: &Image, host: &Arc<Host<L>>) {
    let Some(topic) = image.topics.find(L::TOPIC) else {
        return;
    };
    for index in topic.partitions.keys() {
        lead_one(services, host, *index);
    }
}

/// IMPORTANT: nothing of the metadata is read before it is this thread's turn to settle the chair: it
/// would be older than what another one has settled meanwhile.
fn lead_one<L: Ledger>(services: &Services, host: &Arc<Host<L>>, index: i32) {
    host.settle(index, || {
        let n_partitions = n_partitions_of(&services.image(), L::TOPIC);
        let leader = services.partitions.leader_of(L::TOPIC, index).ok();
        leader
            .filter(|_| n_partitions > 0)
            .map(|leader| (n_partitions, leader))
    });
}

fn n_partitions_of(image: &Image, topic: &str) -> i32 {
    let topic = image.topics.find(topic);
    topic.map_or(0, |topic| {
        i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)
    })
}

/// Who asks for a coordinator is told to wait for logs that are about to be opened, not to look
/// elsewhere.
fn expect<L: Ledger>(image: &Image, host: &Host<L>, found: &Found) {
    if let n_partitions @ 1.. = n_partitions_of(image, L::TOPIC) {
        let logs = found.logs().filter(|(id, _)| &*id.topic == L::TOPIC);
        host.expect(n_partitions, logs.map(|(id, _)| id.partition));
    }
}

/// A log of a coordinator's topic is open, or cannot be opened.
fn came<L: Ledger>(services: &Services, host: &Arc<Host<L>>, id: &TopicPartition) {
    if &*id.topic == L::TOPIC {
        lead_one(services, host, id.partition);
        host.came(id.partition);
    }
}

fn note_unserved(image: &Image) {
    for (what, n) in image.unserved() {
        tracing::warn!(
            n,
            "the metadata has {what}, which are kept but not served yet"
        );
    }
}

/// Closes every log, then writes what the next start needs, the sign of an orderly end last.
/// Copies that are not whole are closed like the logs: the next start goes on with them.
fn close_logs(
    partitions: &Partitions,
    copies: Vec<(Arc<Directory>, Log)>,
    directories: &Directories,
    epoch: i64,
) -> Result<(), Fault> {
    let logs = partitions.retire_all();
    let mut first_fault = None;
    let mut logs_of: HashMap<PathBuf, Vec<Log>> = HashMap::new();
    for (directory, copy) in copies {
        let path = directory.path().to_owned();
        logs_of.entry(path).or_default().push(copy);
    }
    for (partition, log) in logs {
        let path = partition.directory().path().to_owned();
        logs_of.entry(path).or_default().push(log);
    }
    for directory in directories.all() {
        let here = directory.close_together(logs_of.remove(directory.path()).unwrap_or_default());
        let mut lines = Vec::new();
        // If not all are open, what the checkpoints say of the others must stay.
        let mut is_whole = directory.is_online() && !partitions.awaits_in(directory);
        for (id, closed) in here {
            match closed {
                Ok(closed) => lines.push((id, closed)),
                Err(fault) => {
                    tracing::error!(partition = %id, %fault, "log not closed in order");
                    is_whole = false;
                }
            }
        }
        if !is_whole {
            continue;
        }
        let written = directory
            .write_closed(&lines)
            .and_then(|()| directory.write_clean_shutdown(epoch));
        if let Err(fault) = written {
            tracing::error!(directory = %directory.path().display(), %fault, "checkpoints not written");
            first_fault.get_or_insert(fault);
        }
    }
    first_fault.map_or(Ok(()), Err)
}

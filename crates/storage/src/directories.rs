//! All log directories of a node: opened together, new logs placed, old ones loaded, deleted logs
//! unlinked later. A directory that fails goes offline by itself; the others go on.

mod fate;
mod relocate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ottla_protocol::{NodeId, TopicPartition, Uuid};
use parking_lot::Mutex;

pub use self::relocate::{NotSwapped, Swap};
use crate::checkpoint::Offsets;
use crate::directory::{Checkpoints, Directory, Shutdown, lock};
use crate::disk::{Disk, DiskFile, random};
use crate::error::Fault;
use crate::events::LogEvents;
use crate::file_names::{
    DirectoryName, FileKind, OffsetName, Stage, delete_directory, is_of_a_directory,
    metadata_log_directory, partition_directory, stray_directory,
};
use crate::log::{Log, OpenLog};
use crate::log_config::LogConfig;
use crate::meta_properties::MetaProperties;
use crate::together::in_parallel;

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
pub struct Directories {
    disk: Disk,
    cluster_id: String,
    directories: Vec<Arc<Directory>>,
    metadata: Arc<Directory>,
    events: Arc<dyn LogEvents>,
    graves: Mutex<Vec<Grave>>,
}

/// A directory of a deleted log.
struct Grave {
    path: PathBuf,
    due_ms: i64,
}

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
}

/// A log to be made.
pub struct NewLog {
    pub partition: TopicPartition,
    pub topic_id: Uuid,
    pub config: LogConfig,
    /// `None`: the online directory with the fewest partitions.
    pub directory: Option<Arc<Directory>>,
}

/// The logs that are there to be opened.
pub struct Found {
    waiting: Vec<(Arc<Directory>, OpenLog)>,
    /// Copies of logs that are being moved, and go on.
    futures: Vec<(Arc<Directory>, OpenLog)>,
    /// As in `LoadedLogs`.
    pub previous_broker_epoch: Option<i64>,
}

/// How far `Directories::open_found` is. Shared with who wants to know, or to end it.
#[derive(Debug, Default)]
pub struct Progress {
    n_logs: AtomicUsize,
    n_done: AtomicUsize,
    n_bytes_left: AtomicU64,
    is_stopped: AtomicBool,
}

impl Progress {
    /// Logs to open in all.
    pub fn n_logs(&self) -> usize {
        self.n_logs.load(Ordering::Relaxed)
    }

    /// Logs that are open, or cannot be opened.
    pub fn n_done(&self) -> usize {
        self.n_done.load(Ordering::Relaxed)
    }

    /// Bytes that are in segments from the recovery points on and not looked at yet. Not all of
    /// them are read.
    pub fn n_bytes_left(&self) -> u64 {
        self.n_bytes_left.load(Ordering::Relaxed)
    }

    /// Nothing more is opened: the rest stays as it is.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }
}

impl Found {
    pub fn logs(&self) -> impl Iterator<Item = (&TopicPartition, &Arc<Directory>)> {
        let logs = self.waiting.iter();
        logs.map(|(directory, how)| (&how.partition, directory))
    }

    /// Copies of logs that are being moved, to be opened by `Directories::open_future`.
    pub fn take_futures(&mut self) -> Vec<(Arc<Directory>, OpenLog)> {
        std::mem::take(&mut self.futures)
    }

    /// These are opened before the others.
    pub fn put_first(&mut self, is_first: impl Fn(&TopicPartition) -> bool) {
        self.waiting
            .sort_by_key(|(_, how)| !is_first(&how.partition));
    }
}

/// What is in a directory.
struct Survey {
    shutdown: Shutdown,
    logs: Vec<OpenLog>,
    futures: Vec<OpenLog>,
}

/// A directory that was locked, and what it says it is.
struct Locked {
    path: PathBuf,
    lock: DiskFile,
    meta: Option<MetaProperties>,
}

impl Directories {
    /// Locks all directories and checks that they belong together and to this node.
    ///
    /// A directory that was never formatted is formatted like the others; one that cannot be read
    /// is offline from the start. Neither may be the metadata directory.
    pub fn open(how: OpenDirectories) -> Result<Self, Fault> {
        let mut opened = Vec::new();
        let mut failed = Vec::new();
        for path in &how.paths {
            match open_one(&how.disk, path) {
                Ok(locked) => opened.push(locked),
                Err(fault @ Fault::Io { .. }) if *path != how.metadata_path => {
                    tracing::error!("{fault}; this log directory is offline");
                    how.events.directory_failed(path);
                    failed.push(Arc::new(Directory::failed(&how.disk, path, &fault)));
                }
                Err(fault) => return Err(fault),
            }
        }
        let cluster_id = agree(&opened, &how)?;
        let mut directories = Vec::new();
        for locked in opened {
            directories.push(Arc::new(identify(&how, locked, &cluster_id)?));
        }
        check_ids(&directories)?;
        let is_metadata = |directory: &&Arc<Directory>| directory.path() == how.metadata_path;
        let Some(metadata) = directories.iter().find(is_metadata).map(Arc::clone) else {
            return Err(Fault::NotFormatted {
                path: how.metadata_path,
            });
        };
        directories.extend(failed);
        let (disk, events) = (how.disk, how.events);
        let graves = Mutex::new(Vec::new());
        Ok(Self {
            disk,
            cluster_id,
            directories,
            metadata,
            events,
            graves,
        })
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Closes files of logs that are more than may be open. Call it now and then.
    pub fn trim_open_files(&self) {
        self.disk.open_files().trim();
    }

    /// Those that are online and those that are not.
    pub fn all(&self) -> &[Arc<Directory>] {
        &self.directories
    }

    pub fn metadata(&self) -> &Arc<Directory> {
        &self.metadata
    }

    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Directory>> {
        self.directories
            .iter()
            .find(|directory| directory.id() == id)
    }

    fn online(&self) -> impl Iterator<Item = &Arc<Directory>> {
        self.directories
            .iter()
            .filter(|directory| directory.is_online())
    }

    /// Opens every log in the online directories, `n_threads` at a time. `config_of` gives a
    /// topic's settings.
    pub fn load(
        &self,
        config_of: &(dyn Fn(&TopicPartition) -> LogConfig + Sync),
        n_threads: usize,
        now_ms: i64,
    ) -> Result<LoadedLogs, Fault> {
        let found = self.find(config_of, &|_, _| false, now_ms)?;
        let previous_broker_epoch = found.previous_broker_epoch;
        let logs = Mutex::new(Vec::new());
        self.open_found(found, n_threads, &Progress::default(), &|opened| {
            logs.lock().extend(opened.ok());
        });
        let mut logs = logs.into_inner();
        logs.retain(|loaded: &LoadedLog| loaded.directory.is_online());
        Ok(LoadedLogs {
            logs,
            previous_broker_epoch,
        })
    }

    /// Looks for logs in the online directories. A directory that fails goes offline; what must
    /// not be anywhere (a log in two directories, a directory that is no partition's) is a fault.
    /// `is_assigned`: whether the metadata has the partition in the directory of that id.
    pub fn find(
        &self,
        config_of: &(dyn Fn(&TopicPartition) -> LogConfig + Sync),
        is_assigned: &dyn Fn(&TopicPartition, Uuid) -> bool,
        now_ms: i64,
    ) -> Result<Found, Fault> {
        let mut shutdowns = Vec::new();
        let (mut waiting, mut futures) = (Vec::new(), Vec::new());
        for directory in self.online() {
            match self.survey(directory, config_of, now_ms) {
                Ok(survey) => {
                    shutdowns.push(survey.shutdown);
                    let here = |log| (Arc::clone(directory), log);
                    waiting.extend(survey.logs.into_iter().map(here));
                    futures.extend(survey.futures.into_iter().map(here));
                }
                Err(fault @ Fault::Foreign { .. }) => return Err(fault),
                Err(fault) => self.fail(directory, &fault),
            }
        }
        check_unique(&waiting)?;
        let mut found = Found {
            waiting,
            futures: Vec::new(),
            previous_broker_epoch: self.agreed_epoch(&shutdowns),
        };
        self.judge_futures(&mut found, futures, is_assigned)?;
        for (directory, _) in &found.waiting {
            directory.count_logs(1);
        }
        Ok(found)
    }

    /// Opens what was found, `n_threads` logs at a time, and tells of each as soon as it is open; of
    /// those that cannot be opened only the name. A directory that fails goes offline.
    pub fn open_found(
        &self,
        found: Found,
        n_threads: usize,
        progress: &Progress,
        tell: &(dyn Fn(Result<LoadedLog, TopicPartition>) + Sync),
    ) {
        let waiting = found.waiting;
        progress.n_logs.store(waiting.len(), Ordering::Relaxed);
        let n_bytes = in_parallel(&waiting, n_threads, |(_, how)| self.n_bytes_to_open(how));
        let total: u64 = n_bytes.iter().sum();
        progress.n_bytes_left.store(total, Ordering::Relaxed);
        let waiting: Vec<_> = waiting.into_iter().zip(n_bytes).collect();
        in_parallel(&waiting, n_threads, |((directory, how), n_bytes)| {
            if progress.is_stopped() {
                return;
            }
            let opened = if directory.is_online() {
                open_patiently(directory, how, progress)
                    .map_err(|fault| self.fail(directory, &fault))
            } else {
                Err(())
            };
            progress.n_done.fetch_add(1, Ordering::Relaxed);
            progress.n_bytes_left.fetch_sub(*n_bytes, Ordering::Relaxed);
            let loaded = opened.map(|log| LoadedLog {
                log,
                directory: Arc::clone(directory),
            });
            tell(loaded.map_err(|()| how.partition.clone()));
        });
    }

    /// An estimate: it costs no more than a look at names.
    fn n_bytes_to_open(&self, how: &OpenLog) -> u64 {
        if how.is_clean {
            return 0;
        }
        let Ok(entries) = self.disk.list(&how.directory) else {
            return 0;
        };
        let mut n_bytes = 0;
        // Sorted by name, hence by offset: the last one at or below the point holds it.
        for entry in &entries {
            match OffsetName::parse(&entry.name) {
                Some(name) if name.kind == FileKind::Log && name.stage == Stage::Final => {
                    let holds_point = name.offset <= how.recovery_point;
                    n_bytes = if holds_point { 0 } else { n_bytes } + entry.n_bytes;
                }
                _ => {}
            }
        }
        n_bytes
    }

    /// What is in a directory. Its mark of a clean shutdown is taken away before anything else.
    fn survey(
        &self,
        directory: &Directory,
        config_of: &(dyn Fn(&TopicPartition) -> LogConfig + Sync),
        now_ms: i64,
    ) -> Result<Survey, Fault> {
        let shutdown = directory.take_clean_shutdown()?;
        let checkpoints = directory.read_checkpoints()?;
        let (mut logs, mut futures) = (Vec::new(), Vec::new());
        for entry in &self.disk.list(directory.path())? {
            let path = directory.path().join(&entry.name);
            if !entry.is_directory {
                if !is_of_a_directory(&entry.name) {
                    tracing::warn!(
                        "{}: no file of a log directory; it is left alone",
                        path.display()
                    );
                }
                continue;
            }
            match DirectoryName::parse(&entry.name) {
                Some(DirectoryName::Partition(partition)) => {
                    let config = config_of(&partition);
                    let clean = shutdown.is_clean;
                    logs.push(self.how(path, partition, config, &checkpoints, clean, now_ms));
                }
                Some(DirectoryName::Delete) => {
                    self.graves.lock().push(Grave {
                        path,
                        due_ms: now_ms,
                    });
                }
                Some(DirectoryName::Stray(partition)) => {
                    tracing::warn!("{}: a stray copy of {partition} is kept", path.display());
                }
                Some(DirectoryName::Future(partition)) => {
                    let config = config_of(&partition);
                    let clean = shutdown.is_clean;
                    futures.push(self.how(path, partition, config, &checkpoints, clean, now_ms));
                }
                Some(DirectoryName::MetadataLog | DirectoryName::RemoteIndexCache) => {}
                None if entry.name == "lost+found" => {}
                None => {
                    let why = "it is not in the form topic-partition; move it away".to_owned();
                    return Err(Fault::Foreign { path, why });
                }
            }
        }
        Ok(Survey {
            shutdown,
            logs,
            futures,
        })
    }

    fn how(
        &self,
        directory: PathBuf,
        partition: TopicPartition,
        config: LogConfig,
        checkpoints: &Checkpoints,
        is_clean: bool,
        now_ms: i64,
    ) -> OpenLog {
        OpenLog {
            disk: self.disk.clone(),
            directory,
            recovery_point: checkpoints
                .recovery_points
                .get(&partition)
                .copied()
                .unwrap_or(0),
            is_point_ours: checkpoints.are_points_ours,
            start: checkpoints.log_starts.get(&partition).copied().unwrap_or(0),
            high_watermark: checkpoints
                .high_watermarks
                .get(&partition)
                .copied()
                .unwrap_or(0),
            partition,
            config,
            is_clean,
            now_ms,
            events: Arc::clone(&self.events),
        }
    }

    /// A disk fault: the directory serves no more.
    pub fn fail(&self, directory: &Directory, fault: &Fault) {
        if directory.take_offline(fault) {
            tracing::error!(
                "{fault}; log directory {} goes offline",
                directory.path().display()
            );
            self.events.directory_failed(directory.path());
        }
    }

    fn agreed_epoch(&self, shutdowns: &[Shutdown]) -> Option<i64> {
        let first = shutdowns.first()?.broker_epoch?;
        let all = shutdowns.len() == self.directories.len()
            && shutdowns
                .iter()
                .all(|shutdown| shutdown.broker_epoch == Some(first));
        all.then_some(first)
    }

    /// Where a new log goes: the online directory with the fewest partitions.
    pub fn place(&self) -> Option<Arc<Directory>> {
        self.online()
            .min_by_key(|directory| directory.n_logs())
            .map(Arc::clone)
    }

    pub fn create_log(
        &self,
        directory: &Arc<Directory>,
        partition: TopicPartition,
        topic_id: Uuid,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<Log, Fault> {
        let new = NewLog {
            partition,
            topic_id,
            config,
            directory: Some(Arc::clone(directory)),
        };
        let mut created = self.create_logs(vec![new], now_ms);
        created.remove(0).map(|loaded| loaded.log)
    }

    /// Makes logs; one outcome for each. What is made outlives a power cut, names and all.
    pub fn create_logs(&self, new: Vec<NewLog>, now_ms: i64) -> Vec<Result<LoadedLog, Fault>> {
        let placed: Vec<_> = new
            .into_iter()
            .map(|new| {
                let directory = new.directory.clone().or_else(|| self.place());
                if let Some(directory) = &directory {
                    directory.count_logs(1);
                }
                (directory, new)
            })
            .collect();
        let mut created: Vec<Result<LoadedLog, Fault>> = placed
            .iter()
            .map(|_| {
                Err(Fault::Poisoned {
                    path: PathBuf::new(),
                    why: "no log directory is online".into(),
                })
            })
            .collect();
        for directory in self.online() {
            let is_here = |of: &Option<Arc<Directory>>| {
                of.as_ref().is_some_and(|of| Arc::ptr_eq(of, directory))
            };
            let (at, here): (Vec<usize>, Vec<&NewLog>) = placed
                .iter()
                .enumerate()
                .filter(|(_, (of, _))| is_here(of))
                .map(|(at, (_, new))| (at, new))
                .unzip();
            for (at, log) in at.iter().zip(self.create_in(directory, &here, now_ms)) {
                let loaded = log.map(|log| LoadedLog {
                    log,
                    directory: Arc::clone(directory),
                });
                if let Some(outcome) = created.get_mut(*at) {
                    *outcome = loaded;
                }
            }
        }
        for ((directory, _), outcome) in placed.iter().zip(&created) {
            if let (Some(directory), Err(_)) = (directory, outcome) {
                directory.count_logs(-1);
            }
        }
        created
    }

    fn create_in(
        &self,
        directory: &Directory,
        new: &[&NewLog],
        now_ms: i64,
    ) -> Vec<Result<Log, Fault>> {
        if let Err(fault) = directory.forget(new.iter().map(|new| &new.partition)) {
            let why = fault.to_string();
            let failed = |_: &&NewLog| {
                Err(Fault::Poisoned {
                    path: directory.path().to_owned(),
                    why: why.clone(),
                })
            };
            return new.iter().map(failed).collect();
        }
        let none = Checkpoints::default();
        let hows: Vec<(OpenLog, Uuid)> = new
            .iter()
            .map(|new| {
                let path = directory.path().join(partition_directory(&new.partition));
                let (partition, config) = (new.partition.clone(), new.config.clone());
                let how = self.how(path, partition, config, &none, false, now_ms);
                (how, new.topic_id)
            })
            .collect();
        directory.create_together(&hows)
    }

    /// How to open the metadata log: after whatever shutdown, all of it is checked.
    pub fn metadata_log(&self, config: LogConfig, now_ms: i64) -> OpenLog {
        let path = self.metadata.path().join(metadata_log_directory());
        let partition = TopicPartition::new("__cluster_metadata", 0);
        self.how(
            path,
            partition,
            config,
            &Checkpoints::default(),
            false,
            now_ms,
        )
    }

    /// The metadata log, made if it is not there.
    pub fn open_metadata_log(&self, config: LogConfig, now_ms: i64) -> Result<Log, Fault> {
        Log::create(
            self.metadata_log(config, now_ms),
            Some(Uuid::METADATA_TOPIC),
        )
    }

    /// Takes a log out of service: renamed now, unlinked by `unlink_due` after the delay.
    pub fn delete_log(&self, directory: &Directory, log: Log, now_ms: i64) -> Result<(), Fault> {
        self.delete_logs(directory, vec![log], now_ms)
    }

    /// The same for many logs of one directory. One that cannot be renamed holds up no other; a fault
    /// that comes behind the renaming (a full disk keeps checkpoints from being written) leaves no log
    /// in service, and their room is freed all the same.
    pub fn delete_logs(
        &self,
        directory: &Directory,
        logs: Vec<Log>,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let buried = |path, delay_ms| {
            let due_ms = now_ms.saturating_add(delay_ms);
            self.graves.lock().push(Grave { path, due_ms });
        };
        self.rename_logs(directory, logs, delete_directory, buried)
    }

    /// Sets a log aside that metadata does not assign here. Nothing deletes it.
    pub fn set_aside(&self, directory: &Directory, log: Log) -> Result<(), Fault> {
        self.rename_logs(directory, vec![log], stray_directory, |_, _| {})
    }

    /// `renamed` is told the new name of each and its `file.delete.delay.ms`, whatever fails later.
    /// Returns the first fault.
    fn rename_logs(
        &self,
        directory: &Directory,
        logs: Vec<Log>,
        name: fn(&TopicPartition, u128) -> String,
        renamed: impl Fn(PathBuf, i64),
    ) -> Result<(), Fault> {
        let mut first_fault = Ok(());
        let mut partitions = Vec::new();
        for log in logs {
            let partition = log.partition().clone();
            let delay_ms = log.config().file_delete_delay_ms;
            let target = directory.path().join(name(&partition, self.disk.unique()));
            if let Err(fault) = self.disk.rename(&log.release(), &target) {
                first_fault = first_fault.and(Err(fault));
                continue;
            }
            directory.count_logs(-1);
            renamed(target, delay_ms);
            partitions.push(partition);
        }
        let forgotten = self
            .disk
            .sync_directory(directory.path())
            .and_then(|()| directory.forget(partitions.iter()));
        first_fault.and(forgotten)
    }

    /// Unlinks what was deleted long enough ago. Call it now and then, where it may block.
    pub fn unlink_due(&self, now_ms: i64) -> Result<(), Fault> {
        let due: Vec<Grave> = self
            .graves
            .lock()
            .extract_if(.., |grave| grave.due_ms <= now_ms)
            .collect();
        // One that cannot be removed holds up no other, and is tried again the next time.
        let mut first_fault = Ok(());
        for grave in due {
            if let Err(fault) = self.disk.remove_tree(&grave.path) {
                self.graves.lock().push(grave);
                first_fault = first_fault.and(Err(fault));
            }
        }
        first_fault
    }
}

fn open_one(disk: &Disk, path: &Path) -> Result<Locked, Fault> {
    let lock = lock(disk, path)?;
    let meta = MetaProperties::read(disk, path)?;
    Ok(Locked {
        path: path.to_owned(),
        lock,
        meta,
    })
}

/// Between two tries to open a log, where there is no descriptor to do it with.
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// That no descriptor is left says nothing about the disk: waits until there is one.
fn open_patiently(directory: &Directory, how: &OpenLog, progress: &Progress) -> Result<Log, Fault> {
    let mut is_first = true;
    loop {
        match open_log(directory, how.clone()) {
            Err(fault @ Fault::NoDescriptor { .. }) if !progress.is_stopped() => {
                if std::mem::take(&mut is_first) {
                    tracing::warn!("{fault}; its log is opened later");
                }
                std::thread::park_timeout(DESCRIPTOR_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// A log that came back shorter than its recovery point says so before it grows again: else the
/// next crash would leave unread what was never synced.
fn open_log(directory: &Directory, how: OpenLog) -> Result<Log, Fault> {
    let (partition, point) = (how.partition.clone(), how.recovery_point);
    let lower = |to| directory.lower_recovery_points(&Offsets::from([(partition.clone(), to)]));
    let log = Log::open_lowering(how, &lower)?;
    if log.recovery_point() < point {
        lower(log.recovery_point())?;
    }
    Ok(log)
}

/// The cluster that all formatted directories belong to.
fn agree(opened: &[Locked], how: &OpenDirectories) -> Result<String, Fault> {
    let metadata = opened
        .iter()
        .find(|locked| locked.path == how.metadata_path);
    let Some(first) = metadata.and_then(|locked| locked.meta.as_ref()) else {
        return Err(Fault::NotFormatted {
            path: how.metadata_path.clone(),
        });
    };
    for Locked { path, meta, .. } in opened {
        let Some(meta) = meta else { continue };
        let foreign = |why: String| {
            Err(Fault::Foreign {
                path: path.clone(),
                why,
            })
        };
        if meta.node_id != how.node_id {
            let why = format!(
                "it belongs to node {}, this is node {}",
                meta.node_id, how.node_id
            );
            return foreign(why);
        }
        if meta.cluster_id != first.cluster_id {
            let (its, ours) = (&meta.cluster_id, &first.cluster_id);
            return foreign(format!(
                "it belongs to cluster {its}, the metadata log to {ours}"
            ));
        }
    }
    Ok(first.cluster_id.clone())
}

/// Gives a directory what it lacks: an identity, or an id of its own.
fn identify(how: &OpenDirectories, locked: Locked, cluster_id: &str) -> Result<Directory, Fault> {
    let Locked { path, lock, meta } = locked;
    if path != how.metadata_path && how.disk.exists(&path.join(metadata_log_directory())) {
        let why = format!(
            "it has a metadata log, which must be in {}",
            how.metadata_path.display()
        );
        return Err(Fault::Foreign { path, why });
    }
    let known = meta.as_ref().and_then(|meta| meta.directory_id);
    let id = match known {
        Some(id) => id,
        None => {
            let id = new_id();
            let meta = MetaProperties {
                cluster_id: cluster_id.to_owned(),
                node_id: how.node_id,
                directory_id: Some(id),
            };
            meta.write(&how.disk, &path)?;
            id
        }
    };
    Ok(Directory::new(&how.disk, &path, id, lock))
}

fn check_ids(directories: &[Arc<Directory>]) -> Result<(), Fault> {
    let mut seen: BTreeMap<Uuid, &Path> = BTreeMap::new();
    for directory in directories {
        if let Some(other) = seen.insert(directory.id(), directory.path()) {
            let why = format!("it has the same directory.id as {}", other.display());
            return Err(Fault::Foreign {
                path: directory.path().to_owned(),
                why,
            });
        }
    }
    Ok(())
}

fn check_unique(waiting: &[(Arc<Directory>, OpenLog)]) -> Result<(), Fault> {
    let mut seen: BTreeMap<&TopicPartition, &Path> = BTreeMap::new();
    for (_, how) in waiting {
        if let Some(other) = seen.insert(&how.partition, &how.directory) {
            let why = format!("{} is also in {}", how.partition, other.display());
            return Err(Fault::Foreign {
                path: how.directory.clone(),
                why,
            });
        }
    }
    Ok(())
}

/// An id for a directory.
pub fn new_id() -> Uuid {
    loop {
        if let Some(id) = Uuid::random(random().to_be_bytes()) {
            return id;
        }
    }
}

//! One log, its host and its disk, driven by dice. The host does what a node does: checkpoints, group
//! commit in three steps, retention, a clean stop; besides it is killed, and the power fails.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ottla_protocol::batch::TimestampKind;
use ottla_protocol::compress::{Codec, Compression};
use ottla_protocol::{TopicPartition, Uuid};
use ottla_storage::{
    Closed, Directories, Directory, Fault, FlushTarget, LoadedLog, Log, LogConfig, LogEvents,
    MetaProperties, NotDone, Offsets, OpenDirectories, Progress, Stretch,
};

use crate::chance::Chance;
use crate::check;
use crate::disk::SimulatedDisk;
use crate::model::{Model, Timeline};
use crate::moving::Moving;
use crate::totals::Totals;

pub(crate) const TOPIC_ID: u128 = 0x1234_5678_9abc_def0_1234_5678_9abc_def0;
pub(crate) const EXPIRATION_MS: i64 = 60_000;
/// How far a producer's records lie from the time at which they are written.
pub(crate) const TIMESTAMP_SPREAD_MS: i64 = 2500;

/// The log directories, with their ids.
const DIRECTORIES: [(&str, u128); 2] = [("a", 7), ("b", 8)];

/// How the last process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Clean,
    /// What it wrote is in the page cache, all of it.
    Killed,
    PowerCut,
}

/// A running process.
pub(crate) struct Host {
    pub(crate) directories: Directories,
    pub(crate) directory: Arc<Directory>,
    pub(crate) log: Log,
    pub(crate) moving: Option<Moving>,
}

pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) sim: Arc<SimulatedDisk>,
    pub(crate) dice: Chance,
    pub(crate) now_ms: i64,
    pub(crate) config: LogConfig,
    pub(crate) epoch: i32,
    /// The high watermark waits for the flush, as with `ottla.flush.before.ack`.
    pub(crate) flushes_first: bool,
    pub(crate) model: Model,
    pub(crate) totals: Totals,
    pub(crate) producers: Vec<i64>,
    pub(crate) n_producers: i64,
    /// A group commit under way: planned, and perhaps synced.
    pub(crate) flushing: Option<(FlushTarget, bool)>,
    /// Room that is about to be reserved.
    pub(crate) reserving: Option<Stretch>,
    pub(crate) host: Option<Host>,
    /// `cleanup.policy` has `compact`. It stays so: recovery cannot tell a hole of compaction from a
    /// lost tail, and asks the settings (`Opening::joins`).
    pub(crate) is_compacted: bool,
    /// How often a process was started.
    pub(crate) n_starts: u64,
    pub(crate) traces: bool,
    /// The log moves between the directories; see `moving`.
    pub(crate) moves: bool,
    /// The directory where the log was last.
    pub(crate) home: PathBuf,
    cuts: Arc<Cuts>,
}

/// Counts the bytes that recovery cuts off.
#[derive(Debug, Default)]
struct Cuts(AtomicU64);

impl LogEvents for Cuts {
    fn recovered(&self, _log: &TopicPartition, _n_segments: usize, n_bytes_cut: u64) {
        self.0.fetch_add(n_bytes_cut, Ordering::Relaxed);
    }
}

pub(crate) fn partition() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

impl World {
    pub(crate) fn new(root: &Path, seed: u64, traces: bool) -> Self {
        let mut dice = Chance::from_seed(seed);
        let sim = SimulatedDisk::new(root, dice.fork());
        for (name, id) in DIRECTORIES {
            let meta = MetaProperties {
                cluster_id: "a-cluster".into(),
                node_id: 1,
                directory_id: Some(Uuid::from_u128(id << 80)),
            };
            let formatted = Directory::format(&sim.disk(), &root.join(name), &meta);
            formatted.expect("a directory can be formatted");
        }
        let named = sim.disk().sync_directory(root);
        named.expect("the directories can be named");
        let mut world = Self {
            root: root.to_owned(),
            sim,
            now_ms: 1_700_000_000_000,
            config: LogConfig::default(),
            epoch: 0,
            flushes_first: dice.percent(70),
            model: Model::default(),
            totals: Totals::default(),
            producers: Vec::new(),
            n_producers: 0,
            flushing: None,
            reserving: None,
            host: None,
            n_starts: 0,
            is_compacted: dice.percent(35),
            moves: dice.percent(25),
            home: root.join(DIRECTORIES[0].0),
            dice,
            traces,
            cuts: Arc::default(),
        };
        world.config = world.any_config();
        world.open(Ending::Killed);
        world
    }

    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if self.traces {
            let (what, host) = (what(), self.host.as_ref());
            match host.map(|host| &host.log) {
                Some(log) => eprintln!(
                    "[{} {} {} {}] {what}",
                    log.start(),
                    log.flushed(),
                    log.high_watermark(),
                    log.end()
                ),
                None => eprintln!("[down] {what}"),
            }
        }
    }

    /// What lies on the disk, for who looks into a seed.
    pub(crate) fn files(&self) -> String {
        let mut lines = Vec::new();
        for path in [self.home.join("orders-0"), self.home.clone()] {
            for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
                let n_bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                let name = entry.file_name().into_string().unwrap_or_default();
                lines.push(format!("{name} {n_bytes}"));
            }
        }
        lines.sort();
        let point = std::fs::read_to_string(self.home.join("recovery-point-offset-checkpoint"));
        format!("{} {point:?}", lines.join(", "))
    }

    /// The directory of the log.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn log(&mut self) -> &mut Log {
        &mut self.host.as_mut().expect("the host is up").log
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.host.as_ref().expect("the host is up").directory
    }

    pub(crate) fn any_config(&mut self) -> LogConfig {
        let dice = &mut self.dice;
        let codecs = [Codec::None, Codec::Lz4, Codec::Snappy];
        let cleanup_compact = self.is_compacted;
        LogConfig {
            cleanup_compact,
            cleanup_delete: !cleanup_compact || dice.percent(50),
            delete_retention_ms: dice.within(0, 15_000),
            min_compaction_lag_ms: if dice.percent(20) { 5000 } else { 0 },
            segment_bytes: dice.within(900, 7000) as u32,
            segment_ms: if dice.percent(30) { 20_000 } else { 1 << 40 },
            segment_index_bytes: dice.within(60, 400) as u32,
            index_interval_bytes: dice.within(50, 1000) as u32,
            retention_ms: if dice.percent(40) { 30_000 } else { -1 },
            retention_bytes: if dice.percent(40) { 15_000 } else { -1 },
            timestamp_kind: match dice.below(4) {
                0 => TimestampKind::LogAppendTime,
                _ => TimestampKind::CreateTime,
            },
            compression: dice.percent(30).then(|| Compression {
                codec: codecs[dice.index(codecs.len())],
                level: None,
            }),
            file_delete_delay_ms: dice.within(0, 5000),
            preallocate: dice.percent(15),
            producer_id_expiration_ms: EXPIRATION_MS,
            ..LogConfig::default()
        }
    }

    /// Starts a process over what is on the disk, and looks whether all is there.
    pub(crate) fn open(&mut self, mut ending: Ending) {
        self.flushing = None;
        self.reserving = None;
        self.n_starts += 1;
        for attempt in 0.. {
            let dies = attempt < 3 && ending != Ending::Clean && self.dice.percent(15);
            if dies {
                let n = self.dice.below(25);
                self.sim.die_in(n);
            }
            let opened = self.start();
            if !self.sim.is_dead() {
                self.sim.heal();
                self.host = Some(opened.unwrap_or_else(|fault| {
                    panic!("after {ending:?} the log does not open: {fault}")
                }));
                break;
            }
            // It died while it was putting things in order.
            drop(opened);
            self.sim.heal();
            if self.dice.percent(50) {
                self.cut_power();
                ending = Ending::PowerCut;
            }
        }
        self.totals.bytes_cut += self.cuts.0.swap(0, Ordering::Relaxed);
        match ending {
            Ending::Clean => self.totals.reopened_clean += 1,
            Ending::Killed => self.totals.reopened_killed += 1,
            Ending::PowerCut => {}
        }
        self.trace(|| format!("open after {ending:?}: {}", self.files()));
        check::reopened(self, ending);
    }

    fn start(&mut self) -> Result<Host, Fault> {
        let directories = Directories::open(OpenDirectories {
            disk: self.sim.disk(),
            paths: DIRECTORIES.map(|(name, _)| self.root.join(name)).to_vec(),
            metadata_path: self.root.join(DIRECTORIES[0].0),
            node_id: 1,
            events: Arc::clone(&self.cuts) as Arc<dyn LogEvents>,
        })?;
        let config = self.config.clone();
        let config_of = move |_: &TopicPartition| config.clone();
        let mut found = directories.find(&config_of, &|_, _| false, self.now_ms)?;
        let futures = found.take_futures();
        let opened = Mutex::new(None);
        directories.open_found(found, 1, &Progress::default(), &|log| {
            *opened.lock().expect("nobody panics") = log.ok();
        });
        for directory in directories.all() {
            if let Some(why) = directory.offline_because() {
                let path = directory.path().to_owned();
                return Err(Fault::Poisoned { path, why });
            }
        }
        let opened = opened.into_inner().expect("nobody panics");
        let mut directory = Arc::clone(directories.metadata());
        let log = match opened {
            Some(LoadedLog {
                log,
                directory: its,
            }) if log.topic_id().is_some() => {
                directory = its;
                log
            }
            unfinished => {
                // It never came to its first flush.
                check::nothing_is_promised(&self.model);
                self.model = Model::default();
                if let Some(unfinished) = unfinished {
                    let its = unfinished.directory;
                    directories.delete_log(&its, unfinished.log, self.now_ms)?;
                }
                let (id, config) = (Uuid::from_u128(TOPIC_ID), self.config.clone());
                directories.create_log(&directory, partition(), id, config, self.now_ms)?
            }
        };
        self.home = directory.path().to_owned();
        let mut moving = None;
        for (target, how) in futures {
            if self.dice.percent(30) {
                directories.delete_found(&target, &how, self.now_ms)?;
                continue;
            }
            let mut copy = directories.open_future(&target, how)?;
            copy.cut_to(&log.view(), self.now_ms)?;
            self.totals.moves_resumed += 1;
            moving = Some(Moving {
                log: copy,
                target,
                cleaned: directory.cleaned(&partition()),
                settled_start: None,
            });
        }
        Ok(Host {
            directories,
            directory,
            log,
            moving,
        })
    }

    pub(crate) fn cut_power(&mut self) {
        self.host = None;
        self.flushing = None;
        self.reserving = None;
        self.trace(|| format!("before the cut: {}", self.files()));
        self.sim.cut_power();
        self.trace(|| format!("behind the cut: {}", self.files()));
        if self.dice.percent(12) {
            self.flip_a_bit();
        }
        if self.dice.percent(8) {
            self.disown_point();
        }
    }

    /// The process is gone from one moment to the next; then, perhaps, the power too.
    pub(crate) fn crash(&mut self, is_power_cut: bool) {
        self.sim.heal();
        self.host = None;
        self.flushing = None;
        self.reserving = None;
        let ending = if is_power_cut {
            self.trace(|| "power cut".into());
            self.cut_power();
            Ending::PowerCut
        } else {
            self.trace(|| "kill".into());
            Ending::Killed
        };
        self.open(ending);
    }

    /// A stop in order, as `node` does it.
    pub(crate) fn stop_and_start(&mut self) {
        self.sim.heal();
        self.flushing = None;
        self.reserving = None;
        let Host {
            directories,
            directory,
            log,
            moving,
        } = self.host.take().expect("the host is up");
        let closed = log.close().and_then(|closed| {
            let lines: [(TopicPartition, Closed); 1] = [(partition(), closed)];
            directory.write_closed(&lines)?;
            directory.write_clean_shutdown(1)
        });
        // A copy is left as it is.
        drop((directory, directories, moving));
        closed.unwrap_or_else(|fault| panic!("a sound log does not close: {fault}"));
        self.model.flushed = self.model.timeline.end();
        self.model.branches.clear();
        if self.dice.percent(40) {
            self.trace(|| "power cut after a clean stop".into());
            self.sim.cut_power();
        }
        self.open(Ending::Clean);
    }

    /// What a fault has done: nothing, or the log takes no more writes and the process ends.
    pub(crate) fn failed(&mut self, fault: &Fault, what: &dyn Debug) {
        self.trace(|| format!("{what:?} failed: {fault}"));
        if self.sim.is_dead() {
            return;
        }
        let is_poisoned = matches!(self.log().flush_plan(), Err(Fault::Poisoned { .. }));
        if is_poisoned {
            self.totals.poisoned += 1;
            check::takes_no_writes(self);
            // What a failed sync left in the page cache only a restart of the machine tells from
            // what is on the disk.
            let is_power_cut = self.sim.is_in_doubt() || self.dice.percent(60);
            self.crash(is_power_cut);
        } else {
            check::is_unchanged(self, what);
        }
    }

    pub(crate) fn not_done(&mut self, not_done: &NotDone, what: &dyn Debug) {
        match not_done {
            NotDone::Refused(refused) => panic!("{what:?} was refused: {refused:?}"),
            NotDone::Fault(fault) => self.failed(fault, what),
        }
    }

    // ---- the host's checkpoints ----

    pub(crate) fn write_recovery_points(&mut self) -> Result<(), Fault> {
        let host = self.host.as_ref().expect("the host is up");
        let offsets = Offsets::from([(partition(), host.log.recovery_point())]);
        host.directory.write_recovery_points(&offsets)
    }

    /// After a truncation.
    pub(crate) fn lower_recovery_points(&mut self) -> Result<(), Fault> {
        let host = self.host.as_ref().expect("the host is up");
        let offsets = Offsets::from([(partition(), host.log.recovery_point())]);
        host.directory.lower_recovery_points(&offsets)
    }

    /// Likewise: what is new was never compacted.
    pub(crate) fn cut_cleaned(&mut self) -> Result<(), Fault> {
        let end = self.end();
        self.directory().cut_cleaned(&partition(), end)
    }

    pub(crate) fn write_log_starts(&mut self) -> Result<(), Fault> {
        let host = self.host.as_ref().expect("the host is up");
        let mut offsets = Offsets::new();
        if host.log.start_is_inside() {
            offsets.insert(partition(), host.log.start());
        }
        host.directory.write_log_starts(&offsets)
    }

    pub(crate) fn write_high_watermarks(&mut self) -> Result<(), Fault> {
        let host = self.host.as_ref().expect("the host is up");
        let offsets = Offsets::from([(partition(), host.log.high_watermark())]);
        host.directory.write_high_watermarks(&offsets)
    }

    pub(crate) fn end(&self) -> i64 {
        self.model.timeline.end()
    }

    /// A power cut may show this instead of what is there now.
    pub(crate) fn may_be(&mut self, timeline: Timeline) {
        self.model.may_be(timeline);
    }
}

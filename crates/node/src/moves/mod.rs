//! Replicas on their way from one log directory of this node to another (KIP-113, KIP-858).
//!
//! A few threads copy, each a bounded step of one move at a time, in turn. A copy that has caught up
//! is synced, then the controller is told, and only when that is committed it takes the place of its
//! log (`partitions/partition/relocate`): so whatever a crash leaves, the metadata names a directory
//! that holds all. Compaction of a log rests while it is copied, so that what the cleaner's
//! checkpoint says of the log is true of the copy. What to answer is decided in `ask`; a single move
//! is in `one`.

mod ask;
mod one;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_protocol::{Offset, Refusal, TopicPartition};
use ottla_storage::{Directories, Directory, Log, OpenLog, can_be_moved};
use parking_lot::{Condvar, Mutex, RwLock, RwLockReadGuard};

use self::ask::{Asked, Replica, Target, Verdict, judge};
use self::one::{Future, Move, Next};
use crate::assignments::Assignments;
use crate::clock::Clock;
use crate::group_flush::GroupFlush;
use crate::metrics::Metrics;
use crate::partitions::Partition;
use crate::throttle::Throttle;

/// More threads than this are of no use on any machine.
const THREADS_MAX: usize = 16;
/// Directories that are remembered for partitions to come. Kafka has no bound; a client could fill our
/// memory.
const REMEMBERED_MAX: usize = 10_000;

/// A step that takes no more than some milliseconds; one that is not mostly overhead; and how many
/// there are in a second, if so little may be copied.
const STEP_BYTES_MAX: usize = 8 << 20;
const STEP_BYTES_MIN: usize = 64 << 10;
const STEPS_PER_SECOND_MIN: f64 = 4.0;
/// Between two looks whether more may be copied.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Kept with the partitions that move.
pub(crate) struct Moves {
    around: Around,
    n_threads: usize,
    /// Held from the look at a move of a partition until there is another one, so that no partition has
    /// two: a client may ask again while the first is being begun. Taken before any other lock.
    asking: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
    throttle: Mutex<Throttle>,
    /// Read while checkpoints are collected and written, written while a log changes its directory.
    checkpoints: RwLock<()>,
    n_dead: AtomicUsize,
    /// What is copied in a step. The next one may be another move's.
    step_bytes: AtomicUsize,
}

/// What a move has to do with.
pub(crate) struct Around {
    pub(crate) directories: Arc<Directories>,
    pub(crate) flushers: HashMap<PathBuf, Arc<GroupFlush>>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) assignments: Arc<Assignments>,
}

#[derive(Default)]
struct State {
    moves: BTreeMap<TopicPartition, Arc<Move>>,
    /// When each is due, by the node's clock.
    line: VecDeque<(Duration, Arc<Move>)>,
    remembered: HashMap<TopicPartition, Arc<Directory>>,
    /// Copies that were found at the start, until the logs are open.
    found: Vec<(Arc<Directory>, OpenLog)>,
    threads: Vec<JoinHandle<()>>,
    is_stopping: bool,
}

/// A copy under way, as DescribeLogDirs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FutureReplica {
    pub id: TopicPartition,
    pub size: u64,
    /// Records that are missing; `None`: its log is offline.
    pub lag: Option<Offset>,
}

impl Moves {
    /// `n_threads`: none means one for each directory.
    pub(crate) fn new(around: Around, n_threads: Option<i32>) -> Arc<Self> {
        let n_directories = around.directories.all().len();
        let n_threads = n_threads.map(|n| usize::try_from(n).unwrap_or(0));
        Arc::new(Self {
            n_threads: n_threads.unwrap_or(n_directories).clamp(1, THREADS_MAX),
            around,
            asking: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            throttle: Mutex::new(Throttle::new(f64::MAX)),
            checkpoints: RwLock::new(()),
            n_dead: AtomicUsize::new(0),
            step_bytes: AtomicUsize::new(STEP_BYTES_MAX),
        })
    }

    /// `replica.alter.log.dirs.io.max.bytes.per.second`.
    pub(crate) fn set_rate(&self, bytes_per_second: Option<i64>) {
        let rate = bytes_per_second.map_or(f64::MAX, |rate| rate as f64);
        let now = self.around.clock.monotonic();
        self.throttle.lock().set_rate(rate, now);
        let step = (rate / STEPS_PER_SECOND_MIN) as usize;
        let step = step.clamp(STEP_BYTES_MIN, STEP_BYTES_MAX);
        self.step_bytes.store(step, Ordering::Relaxed);
    }

    /// AlterReplicaLogDirs for one partition. May wait for a disk.
    ///
    /// # Errors
    /// Kafka's, as `ask` says.
    pub(crate) fn ask(
        self: &Arc<Self>,
        id: &TopicPartition,
        partition: Option<Arc<Partition>>,
        target: Option<&Arc<Directory>>,
        is_cordoned: bool,
    ) -> Result<(), Refusal> {
        let _alone = self.asking.lock();
        if let Some(over) = self.find(id).filter(|it| it.is_cancelled()) {
            // Its topic was deleted.
            self.cancel(&over);
        }
        let partition = partition.as_ref();
        let mut verdict = judge(self.asked(id, partition, target, is_cordoned));
        if verdict.cancels
            && let Some(it) = self.find(id)
        {
            tracing::info!(partition = %id, "the move to another log directory is cancelled");
            self.cancel(&it);
            // It may have come to its end just before.
            verdict = judge(self.asked(id, partition, target, is_cordoned));
        }
        let Verdict {
            remembers,
            begins,
            refusal,
            ..
        } = verdict;
        let Some(target) = target else {
            return refusal.map_or(Ok(()), Err);
        };
        if remembers {
            let mut state = self.state.lock();
            if state.remembered.len() < REMEMBERED_MAX || state.remembered.contains_key(id) {
                state.remembered.insert(id.clone(), target.clone());
            }
        }
        if let Some(partition) = partition.filter(|_| begins) {
            self.begin(partition.clone(), target)?;
        }
        refusal.map_or(Ok(()), Err)
    }

    fn asked(
        &self,
        id: &TopicPartition,
        partition: Option<&Arc<Partition>>,
        target: Option<&Arc<Directory>>,
        is_cordoned: bool,
    ) -> Asked {
        let is_target = |directory: &Arc<Directory>| {
            target.is_some_and(|target| Arc::ptr_eq(directory, target))
        };
        let mut all = self.around.directories.all().iter();
        Asked {
            has_name: can_be_moved(id),
            target: match target {
                None => Target::Unknown,
                Some(target) if !target.is_online() => Target::Offline,
                Some(_) if is_cordoned => Target::Cordoned,
                Some(_) => Target::Online,
            },
            replica: match partition {
                None => Replica::None,
                Some(partition) if !partition.is_online() => Replica::Offline,
                Some(partition) if is_target(&partition.directory()) => Replica::There,
                Some(_) => Replica::Elsewhere,
            },
            copy_is_there: self.find(id).map(|it| is_target(&it.target)),
            all_online: all.all(|directory| directory.is_online()),
        }
    }

    /// IMPORTANT: with `asking` held.
    fn begin(
        self: &Arc<Self>,
        partition: Arc<Partition>,
        target: &Arc<Directory>,
    ) -> Result<(), Refusal> {
        let id = partition.id().clone();
        partition.set_moving(true);
        let config = partition.with_log(|log| Ok(log.config().clone()));
        let Some(Ok(config)) = config else {
            partition.set_moving(false);
            return Err(Refusal::ReplicaNotAvailable);
        };
        let (topic_id, now_ms) = (partition.topic_id(), self.around.clock.wall_ms());
        let made = self
            .around
            .directories
            .create_future(target, &id, topic_id, config, now_ms);
        match made {
            Ok(log) => {
                tracing::info!(
                    partition = %id,
                    from = %partition.directory().path().display(),
                    to = %target.path().display(),
                    "the replica moves to another log directory"
                );
                let it = Move::new(partition, target.clone(), Future::Open(Box::new(log)));
                match self.add(it) {
                    true => Ok(()),
                    false => Err(Refusal::ReplicaNotAvailable),
                }
            }
            Err(fault) => {
                partition.set_moving(false);
                self.blame(target, &fault);
                Err(Refusal::KafkaStorageError)
            }
        }
    }

    /// Whether there is still a log to be moved.
    fn add(self: &Arc<Self>, it: Move) -> bool {
        let it = Arc::new(it);
        let mut state = self.state.lock();
        state.moves.insert(it.partition.id().clone(), it.clone());
        state.line.push_back((Duration::ZERO, it.clone()));
        self.start_threads(&mut state);
        drop(state);
        self.changed.notify_one();
        // IMPORTANT: behind it. Who deletes a topic takes the logs away first and then abandons the
        // moves that are there: either we find the log gone, or this move was found.
        let has_log = it.partition.with_log(|_| Ok(())).is_some();
        if !has_log {
            it.set_cancelled();
            self.wake(&it);
        }
        has_log
    }

    /// Threads are there only once there is something to do.
    fn start_threads(self: &Arc<Self>, state: &mut State) {
        while state.threads.len() < self.n_threads.min(state.moves.len()) && !state.is_stopping {
            let weak = Arc::downgrade(self);
            let started = std::thread::Builder::new()
                .name(format!("move-logs-{}", state.threads.len()))
                .spawn(move || run(&weak));
            match started {
                Ok(thread) => state.threads.push(thread),
                Err(error) => {
                    tracing::error!(%error, "a thread that moves logs did not start");
                    return;
                }
            }
        }
    }

    fn find(&self, id: &TopicPartition) -> Option<Arc<Move>> {
        self.state.lock().moves.get(id).cloned()
    }

    /// Whether a copy of this partition is being made, so that where it lies is about to change.
    pub(crate) fn has(&self, id: &TopicPartition) -> bool {
        self.state.lock().moves.contains_key(id)
    }

    /// Where a partition that is made now was asked to lie; forgotten with that.
    pub(crate) fn take_remembered(&self, id: &TopicPartition) -> Option<Arc<Directory>> {
        let directory = self.state.lock().remembered.remove(id)?;
        directory.is_online().then_some(directory)
    }

    /// Ends a move and takes its copy away. May wait for a step of it.
    fn cancel(&self, it: &Arc<Move>) {
        it.cancel(self);
        self.remove(it);
    }

    fn remove(&self, it: &Arc<Move>) {
        let mut state = self.state.lock();
        let id = it.partition.id();
        if state
            .moves
            .get(id)
            .is_some_and(|known| Arc::ptr_eq(known, it))
        {
            state.moves.remove(id);
        }
    }

    /// The topic is gone: its moves end, on their own threads.
    pub(crate) fn abandon(&self, id: &TopicPartition) {
        let mut state = self.state.lock();
        state.remembered.remove(id);
        if let Some(it) = state.moves.get(id).cloned() {
            it.set_cancelled();
            state.line.push_back((Duration::ZERO, it));
            drop(state);
            self.changed.notify_one();
        }
    }

    fn wake(&self, it: &Arc<Move>) {
        let mut state = self.state.lock();
        state.line.push_back((Duration::ZERO, it.clone()));
        drop(state);
        self.changed.notify_one();
    }

    // ---- over a restart ----

    /// Copies that were found; nothing is done about them until their logs are open.
    pub(crate) fn expect(&self, found: Vec<(Arc<Directory>, OpenLog)>) {
        self.state.lock().found = found;
    }

    /// The logs are open: the copies go on.
    pub(crate) fn resume(
        self: &Arc<Self>,
        find: impl Fn(&TopicPartition) -> Option<Arc<Partition>>,
        image: &Image,
    ) {
        let _alone = self.asking.lock();
        let found = std::mem::take(&mut self.state.lock().found);
        for (directory, how) in found {
            let id = how.partition.clone();
            match find(&id) {
                // Who asked meanwhile has begun another one.
                Some(partition) if !partition.is_in(&directory) && !self.has(&id) => {
                    partition.set_moving(true);
                    tracing::info!(partition = %id, to = %directory.path().display(), "the replica goes on moving");
                    self.add(Move::new(
                        partition,
                        directory,
                        Future::Found(Box::new(how)),
                    ));
                }
                None if image.topics.partition(&id.topic, id.partition).is_some() => {
                    tracing::warn!(partition = %id, "a move does not go on, since the log is not there");
                }
                _ => {
                    let now_ms = self.around.clock.wall_ms();
                    let deleted = self
                        .around
                        .directories
                        .delete_found(&directory, &how, now_ms);
                    if let Err(fault) = deleted {
                        self.blame(&directory, &fault);
                    }
                }
            }
        }
    }

    /// Ends the threads; the copies, to be closed.
    pub(crate) fn stop(&self) -> Vec<(Arc<Directory>, Log)> {
        let mut state = self.state.lock();
        state.is_stopping = true;
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.changed.notify_all();
        for thread in threads {
            let _ = thread.join();
        }
        let moves = std::mem::take(&mut self.state.lock().moves);
        moves
            .into_values()
            .filter_map(|it| Some((it.target.clone(), it.take_log()?)))
            .collect()
    }

    // ---- what others must know ----

    /// No log changes its directory as long as this is held.
    pub(crate) fn checkpoints(&self) -> RwLockReadGuard<'_, ()> {
        self.checkpoints.read()
    }

    fn all_in(&self, directory: &Arc<Directory>) -> Vec<Arc<Move>> {
        let state = self.state.lock();
        let all = state.moves.values();
        all.filter(|it| Arc::ptr_eq(&it.target, directory))
            .cloned()
            .collect()
    }

    /// The copies in a directory.
    pub(crate) fn futures_in(&self, directory: &Arc<Directory>) -> Vec<FutureReplica> {
        let here = self.all_in(directory);
        here.iter().filter_map(|it| it.shown()).collect()
    }

    pub(crate) fn n_dead(&self) -> usize {
        self.n_dead.load(Ordering::Relaxed)
    }

    pub(crate) fn n_failed(&self) -> usize {
        let state = self.state.lock();
        state.moves.values().filter(|it| it.has_failed()).count()
    }

    /// How many there are, and the records that the one that is furthest behind lacks.
    pub(crate) fn n_and_lag(&self) -> (usize, Offset) {
        let moves: Vec<Arc<Move>> = self.state.lock().moves.values().cloned().collect();
        let lags = moves.iter().filter_map(|it| it.shown()?.lag);
        (moves.len(), lags.max().unwrap_or(0).max(0))
    }

    fn blame(&self, directory: &Arc<Directory>, fault: &ottla_storage::Fault) {
        if fault.is_passing() {
            tracing::warn!("{fault}");
        } else {
            self.around.directories.fail(directory, fault);
        }
    }

    // ---- a thread ----

    /// The next that is due; `None`: the node stops.
    fn next(&self) -> Option<Arc<Move>> {
        let mut state = self.state.lock();
        loop {
            if state.is_stopping {
                return None;
            }
            let now = self.around.clock.monotonic();
            if let Some(at) = state.line.iter().position(|(due, _)| *due <= now) {
                return state.line.remove(at).map(|(_, it)| it);
            }
            match state.line.iter().map(|(due, _)| *due).min() {
                Some(due) => {
                    self.changed.wait_for(&mut state, due.saturating_sub(now));
                }
                None => self.changed.wait(&mut state),
            }
        }
    }

    fn work(self: &Arc<Self>, it: &Arc<Move>) {
        let next = it.step(self);
        match next {
            Next::Again => self.wake(it),
            Next::Later(pause) => {
                let due = self.around.clock.monotonic().saturating_add(pause);
                self.state.lock().line.push_back((due, it.clone()));
            }
            Next::Rests => {}
            Next::Over => self.remove(it),
        }
    }

    fn step_bytes(&self) -> usize {
        self.step_bytes.load(Ordering::Relaxed)
    }

    /// How long to wait before more is copied, looked at again soon: the rate may change.
    fn owed(&self) -> Duration {
        let now = self.around.clock.monotonic();
        self.throttle.lock().owed(now).min(PAUSE_MAX)
    }

    fn count(&self, n_bytes: usize) {
        let now = self.around.clock.monotonic();
        self.throttle.lock().count(n_bytes, now);
    }
}

fn run(moves: &Weak<Moves>) {
    let Some(moves) = moves.upgrade() else { return };
    let _dying = Dying(&moves);
    while let Some(it) = moves.next() {
        moves.work(&it);
    }
}

/// Counts a thread that ends because of a panic.
struct Dying<'a>(&'a Moves);

impl Drop for Dying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.n_dead.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a path that a client named is this directory's: letter by letter, as in Kafka.
pub(crate) fn is_named(directory: &Path, path: &str) -> bool {
    let absolute = std::path::absolute(directory);
    // A slash at the end is none of the name.
    absolute.is_ok_and(|absolute| {
        let plain: PathBuf = absolute.components().collect();
        plain.as_os_str() == path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_by_its_absolute_path() {
        let directory = Path::new("/data//a/");
        assert!(is_named(directory, "/data/a"));
        for other in ["/data/a/", "/data//a", "a", "", "/data"] {
            assert!(!is_named(directory, other), "{other}");
        }
        let here = std::env::current_dir().unwrap().join("logs");
        assert!(is_named(Path::new("logs"), here.to_str().unwrap()));
    }
}

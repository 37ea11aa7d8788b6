//! The log cleaner: threads that compact, one log each at a time, the dirtiest first.
//!
//! What to compact and how is `ottla_storage::compact`. Here: which log is next, how many threads
//! and how fast, what is never tried again (until the next start) because it failed, and what is
//! measured. An idle cleaner holds no memory: the table of keys is made for a round and dropped.

mod work;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_metadata::config::CleanerSettings;
use ottla_protocol::{TopicPartition, Uuid};
use ottla_storage::{Dirt, Figures, Picture};
use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::partitions::{Partition, Partitions};
use crate::throttle::Throttle;

/// More threads than this are of no use on any machine.
const THREADS_MAX: usize = 64;

/// A log of this life of its topic.
type LogId = (TopicPartition, Uuid);

fn id_of(partition: &Partition) -> LogId {
    (partition.id().clone(), partition.topic_id())
}

/// What a thread has done last.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    figures: Figures,
    seconds: f64,
    max_delay_ms: i64,
}

/// What the threads share.
struct State {
    settings: CleanerSettings,
    /// Settings may change before the logs are open.
    is_started: bool,
    is_stopping: bool,
    threads: Vec<Option<JoinHandle<()>>>,
    in_progress: HashSet<LogId>,
    uncleanable: HashSet<LogId>,
    last: BTreeMap<usize, Last>,
    max_dirty_ratio: f64,
}

/// See the head of this file.
pub(crate) struct Cleaner {
    partitions: Weak<Partitions>,
    clock: Clock,
    state: Mutex<State>,
    changed: Condvar,
    is_stopping: AtomicBool,
    throttle: Mutex<Throttle>,
    last_run_ms: AtomicI64,
    n_dead: AtomicUsize,
}

/// A log that is to be compacted next.
struct Chosen {
    partition: Arc<Partition>,
    picture: Picture,
    dirt: Dirt,
    now_ms: i64,
    max_delay_ms: i64,
}

impl Cleaner {
    pub(crate) fn new(
        partitions: &Arc<Partitions>,
        clock: Clock,
        settings: CleanerSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            partitions: Arc::downgrade(partitions),
            throttle: Mutex::new(Throttle::new(settings.io_bytes_per_second_max)),
            last_run_ms: AtomicI64::new(clock.wall_ms()),
            clock,
            state: Mutex::new(State {
                settings,
                is_started: false,
                is_stopping: false,
                threads: Vec::new(),
                in_progress: HashSet::new(),
                uncleanable: HashSet::new(),
                last: BTreeMap::new(),
                max_dirty_ratio: 0.0,
            }),
            changed: Condvar::new(),
            is_stopping: AtomicBool::new(false),
            n_dead: AtomicUsize::new(0),
        })
    }

    /// Starts as many threads as the settings ask for, and lets go those that are too many.
    pub(crate) fn start(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.is_started = true;
        let n_wanted = state.n_threads();
        for n in 0..n_wanted {
            let is_running = |thread: &Option<JoinHandle<()>>| {
                thread.as_ref().is_some_and(|thread| !thread.is_finished())
            };
            if state.threads.get(n).is_some_and(is_running) {
                continue;
            }
            let cleaner = self.clone();
            let started = std::thread::Builder::new()
                .name(format!("log-cleaner-{n}"))
                .spawn(move || cleaner.run(n));
            match started {
                Ok(thread) => {
                    let n_slots = state.threads.len().max(n + 1);
                    state.threads.resize_with(n_slots, || None);
                    if let Some(slot) = state.threads.get_mut(n) {
                        *slot = Some(thread);
                    }
                }
                Err(error) => tracing::error!(%error, "a thread of the log cleaner did not start"),
            }
        }
        state.last.retain(|n, _| *n < n_wanted);
        drop(state);
        self.changed.notify_all();
    }

    /// Takes in changed settings.
    pub(crate) fn configure(self: &Arc<Self>, settings: &CleanerSettings) {
        let mut state = self.state.lock();
        if state.settings == *settings || state.is_stopping {
            return;
        }
        self.throttle
            .lock()
            .set_rate(settings.io_bytes_per_second_max, self.clock.monotonic());
        state.settings = settings.clone();
        let is_started = state.is_started;
        drop(state);
        if is_started {
            self.start();
        }
    }

    /// Ends all threads; a round under way is given up. Blocks until they have ended.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        let mut state = self.state.lock();
        state.is_stopping = true;
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.changed.notify_all();
        for thread in threads.into_iter().flatten() {
            let _ = thread.join();
        }
    }

    /// The life of a thread.
    fn run(&self, n: usize) {
        let _dying = Dying(self);
        loop {
            let settings = {
                let state = self.state.lock();
                if state.is_stopping || n >= state.n_threads() {
                    return;
                }
                state.settings.clone()
            };
            let Some(chosen) = self.choose() else {
                self.rest(n, settings.backoff_ms);
                continue;
            };
            let id = id_of(&chosen.partition);
            let is_fine = self.clean(n, chosen, &settings);
            self.state.lock().in_progress.remove(&id);
            if !is_fine {
                self.rest(n, settings.backoff_ms);
            }
        }
    }

    fn rest(&self, n: usize, backoff_ms: i64) {
        let mut state = self.state.lock();
        if state.is_stopping || n >= state.n_threads() {
            return;
        }
        // A pause of zero would keep a processor busy.
        let pause = Duration::from_millis(u64::try_from(backoff_ms).unwrap_or(0).max(1));
        self.changed.wait_for(&mut state, pause);
    }

    /// The dirtiest log of those that are due.
    fn choose(&self) -> Option<Chosen> {
        let now_ms = self.clock.wall_ms();
        self.last_run_ms.store(now_ms, Ordering::Relaxed);
        let partitions = self.partitions.upgrade()?;
        let all = partitions.compacted();
        self.forget_gone(&all);
        let (mut best, mut max_ratio, mut max_delay_ms) = (None::<Chosen>, 0.0, 0);
        for partition in all {
            if self.is_stopping.load(Ordering::Acquire) {
                return None;
            }
            let Some((picture, dirt)) = self.look(&partition, now_ms) else {
                continue;
            };
            max_ratio = f64::max(max_ratio, dirt.ratio());
            max_delay_ms = max_delay_ms.max(dirt.delay_ms);
            let is_due = dirt.is_due(picture.config().min_cleanable_dirty_ratio);
            let is_best = |best: &Chosen| dirt.ratio() > best.dirt.ratio();
            if is_due && best.as_ref().is_none_or(is_best) {
                best = Some(Chosen {
                    partition,
                    picture,
                    dirt,
                    now_ms,
                    max_delay_ms: 0,
                });
            }
        }
        let mut state = self.state.lock();
        state.max_dirty_ratio = max_ratio;
        // Another thread may have been quicker.
        best.filter(|chosen| state.in_progress.insert(id_of(&chosen.partition)))
            .map(|chosen| Chosen {
                max_delay_ms,
                ..chosen
            })
    }

    /// What there is to do in one log; `None`: it is not to be touched.
    fn look(&self, partition: &Arc<Partition>, now_ms: i64) -> Option<(Picture, Dirt)> {
        let id = id_of(partition);
        let directory = partition.directory();
        {
            let state = self.state.lock();
            if state.in_progress.contains(&id)
                || state.uncleanable.contains(&id)
                || !directory.is_online()
                || partition.is_moving()
            {
                return None;
            }
        }
        let picture = partition.with_log(|log| Ok(Picture::take(log)))?.ok()?;
        if !picture.config().cleanup_compact {
            return None;
        }
        let looked = picture.dirt(directory.cleaned(partition.id()), now_ms);
        match looked {
            Ok(dirt) => {
                if dirt.is_reset {
                    self.checkpoint(partition, dirt.first_dirty);
                }
                Some((picture, dirt))
            }
            Err(fault) => {
                self.give_up_on(partition, &fault);
                None
            }
        }
    }

    /// Logs that failed and are gone since need not be remembered.
    fn forget_gone(&self, all: &[Arc<Partition>]) {
        let mut state = self.state.lock();
        if !state.uncleanable.is_empty() {
            let known: HashSet<LogId> = all.iter().map(|partition| id_of(partition)).collect();
            state.uncleanable.retain(|id| known.contains(id));
        }
    }

    /// How many partitions of a directory were given up, and how many bytes wait in them. Who asks does
    /// not wait: a log that somebody is at work in counts with no bytes.
    pub(crate) fn uncleanable(&self, directory: &Path) -> (usize, u64) {
        let uncleanable = self.state.lock().uncleanable.clone();
        let Some(partitions) = self.partitions.upgrade() else {
            return (0, 0);
        };
        let (mut n, mut n_bytes) = (0, 0);
        for (id, topic_id) in uncleanable {
            let Ok(partition) = partitions.find(&id.topic, id.partition) else {
                continue;
            };
            if partition.topic_id() != topic_id || partition.directory().path() != directory {
                continue;
            }
            n += 1;
            if !partition.is_free_within(Duration::ZERO) {
                continue;
            }
            let picture = partition.with_log(|log| Ok(Picture::take(log)));
            if let Some(Ok(picture)) = picture
                && let Ok(dirt) =
                    picture.dirt(partition.directory().cleaned(&id), self.clock.wall_ms())
            {
                n_bytes += dirt.cleanable_bytes;
            }
        }
        (n, n_bytes)
    }

    pub(crate) fn n_dead(&self) -> usize {
        self.n_dead.load(Ordering::Relaxed)
    }

    pub(crate) fn since_last_run_ms(&self) -> i64 {
        self.clock.wall_ms() - self.last_run_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn max_dirty_ratio(&self) -> f64 {
        self.state.lock().max_dirty_ratio
    }

    pub(crate) fn max_utilization(&self) -> f64 {
        self.max_over(|last| last.figures.utilization)
    }

    pub(crate) fn max_seconds(&self) -> f64 {
        self.max_over(|last| last.seconds)
    }

    pub(crate) fn max_delay_seconds(&self) -> f64 {
        self.max_over(|last| last.max_delay_ms as f64 / 1000.0)
    }

    /// Bytes written for each byte read, in the last rounds.
    pub(crate) fn recopy_ratio(&self) -> f64 {
        let state = self.state.lock();
        let sum = |of: fn(&Last) -> u64| state.last.values().map(of).sum::<u64>();
        let read = sum(|last| last.figures.bytes_read).max(1);
        sum(|last| last.figures.bytes_written) as f64 / read as f64
    }

    fn max_over(&self, of: impl Fn(&Last) -> f64) -> f64 {
        self.state.lock().last.values().map(of).fold(0.0, f64::max)
    }
}

impl State {
    fn n_threads(&self) -> usize {
        match self.settings.is_enabled {
            true => usize::try_from(self.settings.n_threads)
                .unwrap_or(0)
                .min(THREADS_MAX),
            false => 0,
        }
    }
}

/// Counts a thread that ends because of a panic.
struct Dying<'a>(&'a Cleaner);

impl Drop for Dying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.n_dead.fetch_add(1, Ordering::Relaxed);
        }
    }
}

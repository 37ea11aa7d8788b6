//! One fsync for all that waits: a few threads for each log directory flush the partitions that
//! have new records. While a partition is being flushed, all that arrives waits for its next turn.
//! When many partitions stand in the line, they are flushed together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla_storage::Directory;
use parking_lot::{Condvar, Mutex};

use crate::appends::Appends;
use crate::cold_reads::ColdReads;
use crate::opening::Opening;
use crate::page_cache::PageCache;
use crate::partitions::Partition;
use crate::room::Room;

/// Flushes of one directory under way at once. Measured: four files in parallel get twice the
/// syncs a second of one, sixteen hardly more than eight.
const N_THREADS: usize = 4;

/// From so many in the line on they are flushed together: measured, see `ottla-storage`'s `together`.
const TOGETHER_MIN: usize = 64;
/// More wait for the next turn, so that the first are not kept waiting for all.
const TOGETHER_MAX: usize = 1024;

/// How long one waits for others while logs are opened after a crash: each has files to be synced, and
/// those of hundreds take one call. Clients notice nothing of so little.
const GATHERING: Duration = Duration::from_millis(20);

/// Between two tries to flush what there is no descriptor for.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const FLUSHING: u8 = 2;
/// Flushing, and dirty again.
const FLUSHING_DIRTY: u8 = 3;

/// A partition's place in the line, kept in the partition.
#[derive(Debug, Default)]
pub(crate) struct FlushTurn(AtomicU8);

impl FlushTurn {
    /// Whether the partition must be put in the line now.
    fn ask(&self) -> bool {
        let ask = |turn| match turn {
            IDLE => Some(QUEUED),
            FLUSHING => Some(FLUSHING_DIRTY),
            _ => None,
        };
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, ask)
            == Ok(IDLE)
    }

    fn begin(&self) {
        self.0.store(FLUSHING, Ordering::Release);
    }

    /// Whether the partition must be put in the line again.
    fn end(&self) -> bool {
        let end = |turn| Some(if turn == FLUSHING_DIRTY { QUEUED } else { IDLE });
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, end)
            == Ok(FLUSHING_DIRTY)
    }
}

#[derive(Default)]
struct Line {
    partitions: VecDeque<Arc<Partition>>,
    is_stopping: bool,
}

/// The flushers of one log directory.
pub(crate) struct GroupFlush {
    line: Mutex<Line>,
    work: Condvar,
    pages: PageCache,
    cold: Arc<ColdReads>,
    appends: Arc<Appends>,
    opening: Arc<Opening>,
    /// Somebody has to try again.
    pauses: AtomicBool,
}

impl GroupFlush {
    /// Starts the threads; they end after [`Self::stop`].
    pub(crate) fn start(
        name: &str,
        n_bytes_hot: u64,
        room: Room,
        cold: ColdReads,
        appends: Appends,
        opening: Arc<Opening>,
    ) -> std::io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let (pages, page_thread) = PageCache::start(name, n_bytes_hot, room)?;
        let flush = Arc::new(Self {
            line: Mutex::default(),
            work: Condvar::new(),
            pages,
            cold: Arc::new(cold),
            appends: Arc::new(appends),
            opening,
            pauses: AtomicBool::new(false),
        });
        let flushers = (0..N_THREADS)
            .map(|n| {
                let flush = flush.clone();
                std::thread::Builder::new()
                    .name(format!("flush-{name}-{n}"))
                    .spawn(move || flush.run())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let threads = flushers.into_iter().chain([page_thread]).collect();
        Ok((flush, threads))
    }

    /// A partition has records that are not on the disk.
    pub(crate) fn ask(&self, partition: &Arc<Partition>) {
        if partition.flush_turn().ask() {
            self.line.lock().partitions.push_back(partition.clone());
            self.work.notify_one();
        }
    }

    /// It could not be flushed, and nothing is wrong with it: another turn, after a pause.
    pub(crate) fn ask_again(&self, partition: &Arc<Partition>) {
        self.pauses.store(true, Ordering::Relaxed);
        self.ask(partition);
    }

    /// Who looks after the page cache of this directory.
    pub(crate) fn pages(&self) -> &PageCache {
        &self.pages
    }

    /// Who reads what is not in memory.
    pub(crate) fn cold(&self) -> &Arc<ColdReads> {
        &self.cold
    }

    /// Where appends are done.
    pub(crate) fn appends(&self) -> &Arc<Appends> {
        &self.appends
    }

    /// Partitions that wait for their turn.
    pub(crate) fn n_waiting(&self) -> usize {
        self.line.lock().partitions.len()
    }

    /// Ends the threads once the line is empty.
    pub(crate) fn stop(&self) {
        self.line.lock().is_stopping = true;
        self.work.notify_all();
        self.pages.stop();
    }

    fn run(&self) {
        while let Some(partitions) = self.next() {
            for partition in &partitions {
                partition.flush_turn().begin();
            }
            let sync = self.cold.syncs().begin();
            match partitions.as_slice() {
                [partition] => partition.flush(),
                many => flush_together(many),
            }
            drop(sync);
            if self.pauses.swap(false, Ordering::Relaxed) {
                std::thread::park_timeout(AGAIN_AFTER);
            }
            for partition in partitions {
                if partition.flush_turn().end() {
                    self.line.lock().partitions.push_back(partition);
                    self.work.notify_one();
                }
            }
        }
    }

    fn next(&self) -> Option<Vec<Arc<Partition>>> {
        let mut line = self.line.lock();
        let mut gathers_until = None;
        loop {
            let n_waiting = line.partitions.len();
            let gathers = n_waiting > 0 && !line.is_stopping && !self.opening.is_done();
            if gathers && n_waiting < TOGETHER_MAX {
                let until = *gathers_until.get_or_insert_with(|| Instant::now() + GATHERING);
                if !self.work.wait_until(&mut line, until).timed_out() {
                    continue;
                }
            }
            let n = share(line.partitions.len(), gathers);
            if n > 0 {
                return Some(line.partitions.drain(..n).collect());
            }
            if line.is_stopping {
                return None;
            }
            gathers_until = None;
            self.work.wait(&mut line);
        }
    }
}

/// How many of those in the line are flushed in one go.
fn share(n_waiting: usize, are_gathered: bool) -> usize {
    match n_waiting {
        0..TOGETHER_MIN if !are_gathered => n_waiting.min(1),
        many => many.min(TOGETHER_MAX),
    }
}

/// All of one directory, since each directory has its own line; but for one that has just moved.
fn flush_together(partitions: &[Arc<Partition>]) {
    let Some(directory) = partitions.first().map(|first| first.directory()) else {
        return;
    };
    for some in partitions.chunks(directory.n_together()) {
        flush_some(&directory, some);
    }
}

fn flush_some(directory: &Arc<Directory>, partitions: &[Arc<Partition>]) {
    let started = Instant::now();
    let (mut dirty, mut targets) = (Vec::new(), Vec::new());
    for partition in partitions {
        let planned = partition.flush_plan();
        // IMPORTANT: looked at after the plan: else the plan may be of a log somewhere else.
        if !partition.is_in(directory) {
            partition.flush();
        } else if let Some(target) = planned {
            dirty.push(partition);
            targets.push(target);
        }
    }
    let synced = directory.sync_together(&targets);
    for ((partition, target), outcome) in dirty.iter().zip(&targets).zip(synced) {
        partition.synced(target, outcome);
        partition.flush_took(started.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_unless_many_wait() {
        let of = |n| share(n, false);
        assert_eq!([0, 1, 63, 64, 5000].map(of), [0, 1, 1, 64, 1024]);
        let gathered = |n| share(n, true);
        assert_eq!([0, 1, 63, 5000].map(gathered), [0, 1, 63, 1024]);
    }

    #[test]
    fn a_partition_stands_in_the_line_once_and_comes_back_if_it_got_dirty() {
        let turn = FlushTurn::default();
        assert!(turn.ask());
        assert!(!turn.ask());
        turn.begin();
        assert!(!turn.ask(), "it is being flushed: no second place");
        assert!(turn.end(), "but another turn");
        turn.begin();
        assert!(!turn.end());
        assert!(turn.ask());
    }
}

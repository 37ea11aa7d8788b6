//! One replica on its way to another directory: a step at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla_protocol::Offset;
use ottla_storage::{Directory, Fault, Log, LogReader, NotCopied, NotDone, OpenLog};
use parking_lot::Mutex;

use super::{FutureReplica, Moves};
use crate::partitions::{Partition, Place, Swapped};

/// What may be copied while appends wait: a few milliseconds.
const TAIL_BYTES: usize = 1 << 20;
/// Between two tries on a full disk.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(2);
/// Between two tries to take the place of a log that grows fast.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// The copy.
pub(super) enum Future {
    /// Found at the start, and not open yet.
    Found(Box<OpenLog>),
    Open(Box<Log>),
    /// It is the log now, or it was deleted, or its directory has failed.
    Gone,
}

/// What comes next for a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Again,
    Later(Duration),
    /// Nothing until somebody wakes it.
    Rests,
    Over,
}

struct Work {
    future: Future,
    /// Where the log began when the copy was synced and its directory was told; `None`: not yet.
    settled_start: Option<Offset>,
    /// The controller was told of the new directory.
    is_told: bool,
}

pub(super) struct Move {
    pub(super) partition: Arc<Partition>,
    pub(super) target: Arc<Directory>,
    /// Below this offset the log was compacted when the copy was begun.
    cleaned: Option<Offset>,
    work: Mutex<Work>,
    reader: Mutex<Option<LogReader>>,
    /// The controller has it that the replica is in the new directory.
    is_accepted: AtomicBool,
    is_cancelled: AtomicBool,
    has_failed: AtomicBool,
}

fn of_copy(fault: Fault) -> NotCopied {
    NotCopied {
        is_source: false,
        why: fault.into(),
    }
}

impl Move {
    pub(super) fn new(partition: Arc<Partition>, target: Arc<Directory>, future: Future) -> Self {
        let reader = match &future {
            Future::Open(log) => Some(log.reader()),
            _ => None,
        };
        Self {
            cleaned: partition.directory().cleaned(partition.id()),
            partition,
            target,
            work: Mutex::new(Work {
                future,
                settled_start: None,
                is_told: false,
            }),
            reader: Mutex::new(reader),
            is_accepted: AtomicBool::new(false),
            is_cancelled: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Acquire)
    }

    pub(super) fn set_cancelled(&self) {
        self.is_cancelled.store(true, Ordering::Release);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// `None`: it is not open yet, or not there any more.
    pub(super) fn shown(&self) -> Option<FutureReplica> {
        let reader = self.reader.lock().clone()?;
        let copy = reader.view();
        let is_online = self.partition.is_online();
        Some(FutureReplica {
            id: self.partition.id().clone(),
            size: copy.size(),
            lag: is_online.then(|| self.partition.view().end() - copy.end()),
        })
    }

    pub(super) fn take_log(&self) -> Option<Log> {
        match std::mem::replace(&mut self.work.lock().future, Future::Gone) {
            Future::Open(log) => Some(*log),
            _ => None,
        }
    }

    /// Ends it and takes the copy away, unless it has just become the log.
    pub(super) fn cancel(&self, moves: &Moves) {
        self.set_cancelled();
        let mut work = self.work.lock();
        self.give_up(&mut work, moves);
    }

    fn give_up(&self, work: &mut Work, moves: &Moves) {
        let (directories, now_ms) = (&moves.around.directories, moves.around.clock.wall_ms());
        let deleted = match std::mem::replace(&mut work.future, Future::Gone) {
            Future::Open(log) => directories.delete_log(&self.target, *log, now_ms),
            Future::Found(how) => directories.delete_found(&self.target, &how, now_ms),
            Future::Gone => return,
        };
        if let Err(fault) = deleted {
            moves.blame(&self.target, &fault);
        }
        self.leave(work, moves);
    }

    /// The partition stays where it is, and the controller must know.
    fn leave(&self, work: &mut Work, moves: &Moves) {
        *self.reader.lock() = None;
        let partition = &self.partition;
        if std::mem::take(&mut work.is_told) {
            let (topic, index) = (partition.topic_id(), partition.id().partition);
            let directory = partition.directory().id();
            moves.around.assignments.tell(topic, index, directory, None);
        }
        partition.set_moving(false);
    }

    /// Nothing more can be done; it stays to be seen, and to be cancelled.
    fn fail(&self, why: &dyn std::fmt::Display) -> Next {
        tracing::error!(partition = %self.partition.id(), to = %self.target.path().display(), "the replica does not move on: {why}");
        self.has_failed.store(true, Ordering::Release);
        Next::Rests
    }

    pub(super) fn step(self: &Arc<Self>, moves: &Arc<Moves>) -> Next {
        let mut work = self.work.lock();
        if self.is_cancelled() {
            self.give_up(&mut work, moves);
            return Next::Over;
        }
        if !self.target.is_online() {
            // As in Kafka: what is in there is none of ours until the next start.
            work.future = Future::Gone;
            self.leave(&mut work, moves);
            return Next::Over;
        }
        if !self.partition.is_online() {
            return self.fail(&"its log directory has failed");
        }
        match self.advance(&mut work, moves) {
            Ok(next) => next,
            Err(not) => self.not_done(&mut work, moves, not),
        }
    }

    fn not_done(&self, work: &mut Work, moves: &Moves, not: NotCopied) -> Next {
        match not.why {
            NotDone::Fault(fault) if fault.is_passing() => {
                tracing::warn!(partition = %self.partition.id(), "{fault}; the move waits");
                Next::Later(FULL_DISK_PAUSE)
            }
            NotDone::Fault(fault @ Fault::Io { .. }) if not.is_source => {
                self.partition.failed(&fault);
                self.fail(&fault)
            }
            NotDone::Fault(fault) if !not.is_source => {
                moves.blame(&self.target, &fault);
                work.future = Future::Gone;
                self.leave(work, moves);
                Next::Over
            }
            why => self.fail(&why),
        }
    }

    fn advance(self: &Arc<Self>, work: &mut Work, moves: &Arc<Moves>) -> Result<Next, NotCopied> {
        let now_ms = moves.around.clock.wall_ms();
        if let Future::Found(how) = &work.future {
            let opened = moves
                .around
                .directories
                .open_future(&self.target, (**how).clone());
            let mut log = Box::new(opened.map_err(of_copy)?);
            if log.topic_id() != Some(self.partition.topic_id()) {
                // Of an earlier topic of that name.
                work.future = Future::Open(log);
                self.give_up(work, moves);
                return Ok(Next::Over);
            }
            log.cut_to(&self.partition.view(), now_ms)
                .map_err(of_copy)?;
            *self.reader.lock() = Some(log.reader());
            work.future = Future::Open(log);
            return Ok(Next::Again);
        }
        let Future::Open(log) = &mut work.future else {
            return Ok(Next::Over);
        };
        let pause = moves.owed();
        if !pause.is_zero() {
            return Ok(Next::Later(pause));
        }
        let view = self.partition.view();
        let n_bytes = log.copy_from(&view, moves.step_bytes(), now_ms)?;
        moves.around.metrics.moved_bytes.add(n_bytes as u64);
        if let (Some(window), Some(flush)) = (
            log.take_window(),
            moves.around.flushers.get(self.target.path()),
        ) {
            flush.pages().written(window);
        }
        moves.count(n_bytes);
        if log.end() < view.end() {
            return Ok(Next::Again);
        }
        if work.settled_start != Some(view.start()) {
            return self.settle(work);
        }
        if !work.is_told {
            work.is_told = true;
            self.tell(moves);
        }
        if !self.is_accepted.load(Ordering::Acquire) {
            return Ok(Next::Rests);
        }
        self.swap(work, moves)
    }

    /// The copy is at the log's end, remembers its producers, and is synced; its directory is told what
    /// the next start must know.
    fn settle(&self, work: &mut Work) -> Result<Next, NotCopied> {
        let Future::Open(log) = &mut work.future else {
            return Ok(Next::Over);
        };
        match self.partition.level(log, TAIL_BYTES) {
            None => return Ok(Next::Rests),
            Some(Ok(true)) => {}
            Some(Ok(false)) => return Ok(Next::Later(BUSY_PAUSE)),
            Some(Err(not)) => return Err(not),
        }
        if let Some(target) = log.recovery_plan().map_err(of_copy)? {
            target.sync().map_err(of_copy)?;
            log.flushed_to(&target);
        }
        work.settled_start = Some(log.start());
        Ok(Next::Again)
    }

    fn tell(self: &Arc<Self>, moves: &Arc<Moves>) {
        let (it, of_all) = (self.clone(), Arc::downgrade(moves));
        let accepted = Box::new(move || {
            it.is_accepted.store(true, Ordering::Release);
            if let Some(moves) = of_all.upgrade() {
                moves.wake(&it);
            }
        });
        let (topic, index) = (self.partition.topic_id(), self.partition.id().partition);
        let directory = self.target.id();
        moves
            .around
            .assignments
            .tell(topic, index, directory, Some(accepted));
    }

    fn swap(&self, work: &mut Work, moves: &Moves) -> Result<Next, NotCopied> {
        let Some(start) = work.settled_start else {
            return Ok(Next::Again);
        };
        let Some(flush) = moves.around.flushers.get(self.target.path()) else {
            return Ok(self.fail(&"its directory has no flusher"));
        };
        let Future::Open(log) = &mut work.future else {
            return Ok(Next::Over);
        };
        // Most of it now, so that little is left while appends wait.
        log.flush().map_err(of_copy)?;
        if self.is_cancelled() {
            return Ok(Next::Again);
        }
        let Some(_whole) = moves.checkpoints.try_write() else {
            return Ok(Next::Later(BUSY_PAUSE));
        };
        let directories = &moves.around.directories;
        directories
            .prepare_swap(&self.target, log, self.cleaned)
            .map_err(of_copy)?;
        let Future::Open(log) = std::mem::replace(&mut work.future, Future::Gone) else {
            return Ok(Next::Over);
        };
        let target = Place {
            directory: self.target.clone(),
            flush: flush.clone(),
        };
        match self
            .partition
            .swap(log, target, directories, start, TAIL_BYTES)
        {
            Swapped::Done => {
                *self.reader.lock() = None;
                self.partition.set_moving(false);
                tracing::info!(partition = %self.partition.id(), to = %self.target.path().display(), "the replica has moved to another log directory");
                Ok(Next::Over)
            }
            Swapped::NotYet(log) => {
                work.future = Future::Open(log);
                Ok(Next::Later(BUSY_PAUSE))
            }
            Swapped::Gone(log) => {
                // Deleted, or the node stops: whoever took the log away says which.
                work.future = Future::Open(log);
                Ok(Next::Rests)
            }
            Swapped::NotCopied(log, not) => {
                work.future = Future::Open(log);
                Err(not)
            }
            Swapped::Failed(log, failed, fault) => {
                let is_source = !Arc::ptr_eq(&failed, &self.target);
                moves.blame(&failed, &fault);
                match log {
                    Some(log) if is_source => {
                        work.future = Future::Open(log);
                        Ok(self.fail(&fault))
                    }
                    Some(_) => {
                        self.leave(work, moves);
                        Ok(Next::Over)
                    }
                    None => {
                        self.partition.failed(&fault);
                        self.partition.set_moving(false);
                        Ok(Next::Over)
                    }
                }
            }
        }
    }
}

//! The log of a partition changes its directory: the last of its copy, and then the copy takes its
//! place. Appends wait as long as that takes, readers do not notice.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ottla_protocol::Offset;
use ottla_storage::{Directories, Directory, Fault, Log, NotCopied, NotSwapped, Swap};

use super::{Partition, Place};

/// What came of a try.
pub(crate) enum Swapped {
    Done,
    /// The log has grown by too much, or begins elsewhere now.
    NotYet(Box<Log>),
    /// The partition is not on this node any more.
    Gone(Box<Log>),
    NotCopied(Box<Log>, NotCopied),
    /// The fault of a directory. `None`: the copy is in nobody's hands.
    Failed(Option<Box<Log>>, Arc<Directory>, Fault),
}

impl Partition {
    /// Whether its log is not to be compacted now, since a copy of it is being made.
    pub(crate) fn is_moving(&self) -> bool {
        self.is_moving.load(Ordering::Acquire)
    }

    pub(crate) fn set_moving(&self, is_moving: bool) {
        self.is_moving.store(is_moving, Ordering::Release);
    }

    /// The copy comes to where the log is, if no more than `n_bytes_max` are missing, and remembers the
    /// same producers. Whether it did; `None`: the log is gone.
    pub(crate) fn level(
        &self,
        future: &mut Log,
        n_bytes_max: usize,
    ) -> Option<Result<bool, NotCopied>> {
        let now_ms = self.around.clock.wall_ms();
        let guard = self.writer.lock();
        let log = &guard.as_ref()?.log;
        let copied = future.copy_from(&log.view(), n_bytes_max, now_ms);
        Some(copied.and_then(|_| {
            if !future.has_all_of(log) {
                return Ok(false);
            }
            let taken = future.take_producers(log);
            taken.map(|()| true).map_err(|fault| NotCopied {
                is_source: false,
                why: fault.into(),
            })
        }))
    }

    /// The copy takes the place of the log, if what is missing is little, and if both begin at `start`,
    /// which the copy's directory has on its disk.
    pub(crate) fn swap(
        self: &Arc<Self>,
        mut future: Box<Log>,
        target: Place,
        directories: &Directories,
        start: Offset,
        n_bytes_max: usize,
    ) -> Swapped {
        let now_ms = self.around.clock.wall_ms();
        let mut guard = self.writer.lock();
        let Some(writer) = guard.as_mut() else {
            return Swapped::Gone(future);
        };
        if let Err(not) = future.copy_from(&writer.log.view(), n_bytes_max, now_ms) {
            return Swapped::NotCopied(future, not);
        }
        if !future.has_all_of(&writer.log) || future.start() != start {
            return Swapped::NotYet(future);
        }
        let source = self.directory();
        let swapped = directories.swap(
            Swap {
                current: &mut writer.log,
                source: &source,
                future: *future,
                target: &target.directory,
            },
            now_ms,
        );
        if let Err(not) = swapped {
            let NotSwapped {
                future,
                failed,
                fault,
            } = not;
            if future.is_none() {
                writer.log.poison(&fault);
                self.place.store(Arc::new(target));
            }
            return Swapped::Failed(future, failed, fault);
        }
        self.place.store(Arc::new(target));
        let flushed = writer.log.flushed();
        if let Some(leader) = writer.leader.as_mut() {
            leader.handle_flushed(flushed);
        }
        let moved = self.noted(writer.carry_out());
        drop(guard);
        self.after(moved, false);
        directories.forget_moved(&source, &self.id);
        Swapped::Done
    }
}

//! Many logs of one directory at once: made, synced, closed. One after the other, each would wait for
//! the disk by itself; together they wait as often as one does.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_protocol::{TopicPartition, Uuid};
use parking_lot::Mutex;

use crate::directory::Directory;
use crate::error::Fault;
use crate::flush::FlushTarget;
use crate::log::{Closed, Log, OpenLog};
use crate::partition_metadata;

/// Syncs under way at once. Measured: eight files in parallel take half of the time of four, sixteen
/// as long as eight.
const N_PARALLEL: usize = 8;
/// Above this many files and directories the whole file system is synced with one call. Measured
/// on files with a page of news each: 64 of them in parallel take 7 ms and by one call 0.3 ms, 1000
/// take 70 ms and 6 ms. It also waits for what others have written to that file system, so that a
/// handful of files is better synced by itself.
const ALL_AT_ONCE: usize = 64;

/// Logs that are made, flushed or closed together at most.
const TOGETHER_MAX: usize = 1024;
/// Of the files that may be open, one log gets so many parts: it has up to five, and others are at
/// work at the same time.
const FILES_TOGETHER: usize = 16;

impl Directory {
    /// Makes all targets durable, each as `FlushTarget::sync` would; one outcome for each.
    pub fn sync_together(&self, targets: &[FlushTarget]) -> Vec<Result<(), Fault>> {
        let n_calls: usize = targets.iter().map(FlushTarget::n_calls).sum();
        if n_calls < ALL_AT_ONCE || !self.can_sync_all() {
            return in_parallel(targets, N_PARALLEL, FlushTarget::sync);
        }
        let mut outcomes = in_parallel(targets, N_PARALLEL, FlushTarget::prepare_epochs);
        self.sync_all(targets, &mut outcomes, FlushTarget::sync_files);
        if targets.iter().any(FlushTarget::has_epochs) {
            // What could not be written whole takes no name.
            let whole = (targets.iter().zip(&outcomes)).filter(|(_, outcome)| outcome.is_ok());
            let whole: Vec<&FlushTarget> = whole.map(|(target, _)| target).collect();
            let named = in_parallel(&whole, N_PARALLEL, |target| target.name_epochs());
            let done = outcomes.iter_mut().filter(|outcome| outcome.is_ok());
            done.zip(named)
                .for_each(|(outcome, named)| *outcome = named);
            self.sync_all(targets, &mut outcomes, FlushTarget::sync_names);
        }
        outcomes
    }

    /// One call for all that is on this directory's file system; `alone` for the rest (partition
    /// directories may be links to elsewhere).
    fn sync_all(
        &self,
        targets: &[FlushTarget],
        outcomes: &mut [Result<(), Fault>],
        alone: impl Fn(&FlushTarget) -> Result<(), Fault>,
    ) {
        let begun = |target: &FlushTarget| target.files.iter().all(|it| it.sync_begins().is_ok());
        let begun: Vec<bool> = targets.iter().map(begun).collect();
        let device = self.sync_file_system();
        if device.is_err() {
            let files = targets.iter().flat_map(|target| &target.files);
            files.for_each(|file| file.note_change());
        }
        for ((target, begun), outcome) in targets.iter().zip(begun).zip(outcomes) {
            if outcome.is_err() {
                continue;
            }
            *outcome = match &device {
                Ok(Some(device)) if begun && target.is_on(*device) => Ok(()),
                Ok(_) => alone(target),
                Err(error) => Err(Fault::Io {
                    doing: "sync the file system of",
                    path: self.path().to_owned(),
                    source: error.kind().into(),
                }),
            };
        }
    }

    /// Makes logs in this directory, each as `Log::create` would, and syncs them with their names.
    pub(crate) fn create_together(&self, new: &[(OpenLog, Uuid)]) -> Vec<Result<Log, Fault>> {
        let some = new.chunks(self.n_together());
        some.flat_map(|some| self.create_some(some)).collect()
    }

    /// How many logs may be worked on together: all their files are open for that long.
    pub fn n_together(&self) -> usize {
        (self.n_files_max() / FILES_TOGETHER).clamp(1, TOGETHER_MAX)
    }

    fn create_some(&self, new: &[(OpenLog, Uuid)]) -> Vec<Result<Log, Fault>> {
        let prepared = in_parallel(new, N_PARALLEL, |(how, topic_id)| prepare(how, *topic_id));
        let synced = self.sync_planned(prepared);
        let named: Vec<_> = new.iter().zip(synced).collect();
        let named: Vec<_> = named
            .into_iter()
            .map(|(new, synced)| (new, Mutex::new(Some(synced))))
            .collect();
        let opened = in_parallel(&named, N_PARALLEL, |((how, _), synced)| {
            let is_prepared = synced.lock().take().unwrap_or(Ok(false))?;
            if is_prepared {
                partition_metadata::name(&how.disk, &how.directory)?;
            }
            let log = Log::open(how.clone())?;
            let names = log.flush_plan()?;
            Ok((log, names))
        });
        let mut logs = Vec::new();
        let mut plans = Vec::new();
        for opened in opened {
            match opened {
                Ok((log, names)) => {
                    logs.push(Ok((log, names.clone())));
                    plans.push(Ok(names));
                }
                Err(fault) => {
                    logs.push(Err(fault));
                    plans.push(Ok(None));
                }
            }
        }
        let synced = self.sync_planned(plans);
        let finished = logs.into_iter().zip(synced).map(|(log, synced)| {
            let (mut log, names) = log?;
            synced?;
            if let Some(names) = names {
                log.flushed_to(&names);
            }
            Ok(log)
        });
        finished.collect()
    }

    /// Syncs what was planned, as far as planning has succeeded. Whether there was something.
    fn sync_planned(
        &self,
        plans: Vec<Result<Option<FlushTarget>, Fault>>,
    ) -> Vec<Result<bool, Fault>> {
        let mut targets = Vec::new();
        let mut outcomes = Vec::new();
        for plan in plans {
            outcomes.push(plan.map(|target| {
                target.is_some_and(|target| {
                    targets.push(target);
                    true
                })
            }));
        }
        let mut synced = self.sync_together(&targets).into_iter();
        for outcome in &mut outcomes {
            if matches!(outcome, Ok(true))
                && let Some(Err(fault)) = synced.next()
            {
                *outcome = Err(fault);
            }
        }
        outcomes
    }

    /// Closes logs of this directory, each as `Log::close` would.
    pub fn close_together(&self, logs: Vec<Log>) -> Vec<(TopicPartition, Result<Closed, Fault>)> {
        let (mut logs, mut closed) = (logs, Vec::new());
        while !logs.is_empty() {
            let rest = logs.split_off(self.n_together().min(logs.len()));
            closed.extend(self.close_some(logs));
            logs = rest;
        }
        closed
    }

    fn close_some(&self, logs: Vec<Log>) -> Vec<(TopicPartition, Result<Closed, Fault>)> {
        let closing: Vec<Mutex<Option<Log>>> =
            logs.into_iter().map(|log| Mutex::new(Some(log))).collect();
        let planned = in_parallel(&closing, N_PARALLEL, |log| {
            let planned = log.lock().as_mut().map(Log::prepare_close).transpose();
            planned.map(Option::flatten)
        });
        let synced = self.sync_planned(planned);
        let finished = closing.into_iter().zip(synced).filter_map(|(log, synced)| {
            let log = log.into_inner()?;
            let id = log.partition().clone();
            Some((id, synced.and_then(|_| log.finish_close())))
        });
        finished.collect()
    }
}

/// A log's directory and the file that names its topic, which is to be synced; `None` if it is there.
fn prepare(how: &OpenLog, topic_id: Uuid) -> Result<Option<FlushTarget>, Fault> {
    how.disk.make_directory(&how.directory)?;
    if partition_metadata::read(&how.disk, &how.directory)?.is_some() {
        return Ok(None);
    }
    let file = partition_metadata::prepare(&how.disk, &how.directory, topic_id)?;
    Ok(Some(FlushTarget::of_file(&how.disk, file)))
}

/// Runs `work` on all items, some at a time; the outcomes are in the order of the items.
pub(crate) fn in_parallel<T: Sync, Out: Send>(
    items: &[T],
    n_threads: usize,
    work: impl Fn(&T) -> Out + Sync,
) -> Vec<Out> {
    if items.len() <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let share = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else {
                return done;
            };
            done.push((at, work(item)));
        }
    };
    let mut outcomes: Vec<(usize, Out)> = std::thread::scope(|scope| {
        let n_threads = n_threads.min(items.len());
        let threads: Vec<_> = (1..n_threads).map(|_| scope.spawn(share)).collect();
        let mut outcomes = share();
        for thread in threads {
            match thread.join() {
                Ok(done) => outcomes.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outcomes
    });
    outcomes.sort_unstable_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The device that a file is on.
pub(crate) fn device_of(file: &std::fs::File) -> Option<u64> {
    file.metadata().ok().map(|metadata| metadata.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_in_the_order_of_the_items() {
        for n in [0, 1, 2, 100] {
            let items: Vec<usize> = (0..n).collect();
            assert_eq!(in_parallel(&items, 4, |item| *item), items);
        }
    }
}

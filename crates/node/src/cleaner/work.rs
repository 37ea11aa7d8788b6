//! One round of one thread: compacted, written down, counted; and what becomes of a failure.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ottla_metadata::config::CleanerSettings;
use ottla_protocol::Offset;
use ottla_storage::{Fault, Host, Log, Newest, Offsets, Outcome, Round, compact};

use super::{Chosen, Cleaner, Last, id_of};
use crate::partitions::Partition;

/// A thread that waits for its share of the disk looks up this often.
const WAIT_MAX: Duration = Duration::from_millis(100);
/// Shares of the buffer below this make many small reads.
const IO_BYTES_MIN: usize = 4096;

/// A partition whose log is compacted.
struct Owner<'a> {
    cleaner: &'a Cleaner,
    partition: &'a Arc<Partition>,
}

impl Host for Owner<'_> {
    fn with_log(
        &self,
        work: &mut dyn FnMut(&mut Log) -> Result<(), Fault>,
    ) -> Option<Result<(), Fault>> {
        self.partition.with_log(work)
    }

    fn may_go_on(&self, n_bytes: usize) -> bool {
        let cleaner = self.cleaner;
        let now = cleaner.clock.monotonic();
        let wait = cleaner.throttle.lock().count(n_bytes, now);
        let until = now.saturating_add(wait);
        loop {
            if cleaner.is_stopping.load(Ordering::Acquire)
                || self.partition.append_fault().is_some()
                || !self.partition.is_compacted()
                || self.partition.is_moving()
            {
                return false;
            }
            let now = cleaner.clock.monotonic();
            // The limit may be lifted meanwhile.
            let owed = cleaner.throttle.lock().owed(now);
            let left = until.saturating_sub(now).min(owed);
            if wait.is_zero() || left.is_zero() {
                return true;
            }
            let mut state = cleaner.state.lock();
            if !state.is_stopping {
                cleaner.changed.wait_for(&mut state, left.min(WAIT_MAX));
            }
        }
    }
}

/// What goes must not be read again after a crash: where compaction took something away recovery
/// would miss it. So all is synced first, and the recovery point written down.
fn settle(partition: &Arc<Partition>) -> Result<(), Fault> {
    if let Some(target) = partition.recovery_plan() {
        partition.synced(&target, target.sync());
    }
    let point = || partition.with_log(|log| Ok(log.recovery_point()));
    let line = |point| Offsets::from([(partition.id().clone(), point)]);
    let Some(reached) = point().transpose()? else {
        return Ok(());
    };
    let directory = partition.directory();
    directory.raise_recovery_points(&line(reached))?;
    // Not under the log's lock, since that takes a sync: a truncation may have come between, or the log
    // was deleted, and the line would be another one's of its name.
    match point().transpose()? {
        Some(now) if now >= reached => Ok(()),
        now => directory.lower_recovery_points(&line(now.unwrap_or(0))),
    }
}

impl Cleaner {
    /// Whether the next log may be looked for at once.
    pub(super) fn clean(&self, n: usize, chosen: Chosen, settings: &CleanerSettings) -> bool {
        let Chosen {
            partition,
            picture,
            dirt,
            now_ms,
            max_delay_ms,
        } = chosen;
        let started = Instant::now();
        if let Err(fault) = settle(&partition) {
            self.give_up_on(&partition, &fault);
            return false;
        }
        let share = |bytes: i64| {
            let share = bytes / i64::from(settings.n_threads.max(1));
            usize::try_from(share).unwrap_or(0)
        };
        let mut keys = Newest::new(share(settings.dedupe_buffer_bytes), settings.load_factor);
        // Half of it is for reading, half for writing.
        let io_bytes = (share(settings.io_buffer_bytes.into()) / 2).max(IO_BYTES_MIN);
        let round = Round {
            picture,
            dirt,
            now_ms,
            io_bytes,
        };
        let owner = Owner {
            cleaner: self,
            partition: &partition,
        };
        let outcome = match compact(&round, &mut keys, &owner) {
            Ok(outcome) => outcome,
            Err(fault) => {
                self.give_up_on(&partition, &fault);
                return false;
            }
        };
        let Outcome::Done(cleaned) = outcome else {
            tracing::debug!(partition = %partition.id(), "compaction given up, the log has changed");
            return false;
        };
        self.checkpoint(&partition, cleaned.end);
        partition.news().tell();
        let figures = cleaned.figures;
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(
            partition = %partition.id(),
            from = dirt.first_dirty,
            to = cleaned.end,
            bytes_before = figures.bytes_read,
            bytes_after = figures.bytes_written,
            records_before = figures.records_read,
            records_after = figures.records_written,
            segments_before = figures.n_segments_before,
            segments_after = figures.n_segments_after,
            seconds,
            "log compacted"
        );
        if figures.invalid_records > 0 {
            tracing::warn!(partition = %partition.id(), n = figures.invalid_records, "records without a key were dropped by compaction");
        }
        self.state.lock().last.insert(
            n,
            Last {
                figures,
                seconds,
                max_delay_ms,
            },
        );
        true
    }

    /// Writes down how far a log was compacted. Not under the log's lock, since that takes a sync: a
    /// log that was taken away meanwhile must not leave a line for the next one of its name.
    pub(super) fn checkpoint(&self, partition: &Arc<Partition>, offset: Offset) {
        let (directory, id) = (partition.directory(), partition.id());
        let written = directory.write_cleaned(id, offset).and_then(|()| {
            match partition.with_log(|_| Ok(())) {
                Some(_) => Ok(()),
                None => directory.forget_cleaned(id),
            }
        });
        if let Err(fault) = written {
            tracing::error!(partition = %id, %fault, "the cleaner's checkpoint is not written");
        }
    }

    /// Compaction failed. A full disk passes; a disk that fails takes its directory along; what
    /// cannot be understood now cannot be later.
    pub(super) fn give_up_on(&self, partition: &Arc<Partition>, fault: &Fault) {
        match fault {
            // Its log may have changed the directory in the middle of a round.
            _ if partition.is_moving() => {
                tracing::debug!(partition = %partition.id(), %fault, "compaction given up, the log moves");
            }
            fault if fault.is_passing() => {
                tracing::warn!(partition = %partition.id(), %fault, "compaction is tried again later");
            }
            Fault::Io { .. } => partition.failed(fault),
            _ => {
                tracing::warn!(partition = %partition.id(), %fault, "compaction failed; this log is not compacted until the next start");
                self.state.lock().uncleanable.insert(id_of(partition));
            }
        }
    }
}

//! What a node does when nobody asks: retention, checkpoints, expiry, late deletions.
//!
//! A timetable on the control plane; the work itself touches disks and so runs on blocking
//! threads, one job at a time.

use std::sync::Arc;
use std::time::Duration;

use ottla_storage::{Collected, Offsets};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::clock::Clock;
use crate::news::For;
use crate::partitions::{Partition, Partitions};
use crate::services::Services;

/// How often files are looked for whose deletion delay is over.
const UNLINK_INTERVAL: Duration = Duration::from_secs(5);
/// How often the recovery points are moved when much is written, ahead of their own interval.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(5);
/// What is much: so many bytes are read again in about a tenth of a second after a crash.
const BACKLOG_BYTES: u64 = 256 << 20;
/// A log with less than this behind its recovery point is left alone: reading that much again is
/// cheaper than syncing its indexes now.
const LOG_BACKLOG_BYTES: u64 = 64 << 10;
/// Logs whose recovery points are moved together.
const TOGETHER_MAX: usize = 256;
/// How often lines for a checkpoint are collected anew because single ones were changed meanwhile. Then
/// it is left to the next time: what the file says is older, and true.
const COLLECTED_MAX: usize = 4;
/// No interval of Kafka's is meant to be longer; a timer cannot be.
const INTERVAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

fn every(ms: i64, first: Duration) -> tokio::time::Interval {
    let period = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let period = period.clamp(Duration::from_millis(1), INTERVAL_MAX);
    let mut interval = interval_at(Instant::now() + first.min(INTERVAL_MAX), period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Runs until the node stops.
pub(crate) async fn run(services: Arc<Services>, mut stopping: watch::Receiver<bool>) {
    let settings = services.settings();
    let first =
        Duration::from_millis(u64::try_from(settings.logs.initial_task_delay_ms).unwrap_or(0));
    let logs = &settings.logs;
    let mut retention = every(logs.retention_check_interval_ms, first);
    let mut recovery_points = every(i64::from(logs.flush_offset_checkpoint_interval_ms), first);
    let mut log_starts = every(
        i64::from(logs.flush_start_offset_checkpoint_interval_ms),
        first,
    );
    let watermark_ms = logs.high_watermark_checkpoint_interval_ms;
    let mut high_watermarks = every(
        watermark_ms,
        Duration::from_millis(u64::try_from(watermark_ms).unwrap_or(0)),
    );
    // Not after `log.initial.task.delay.ms`, as the others: Kafka looks first when one interval is over.
    let expiration_ms = settings.producers.id_expiration_check_interval_ms;
    let mut producers = every(
        i64::from(expiration_ms),
        Duration::from_millis(u64::try_from(expiration_ms).unwrap_or(0)),
    );
    let mut flushes = every(logs.flush_scheduler_interval_ms, first);
    let mut unlinks = tokio::time::interval(UNLINK_INTERVAL);
    let mut backlog = tokio::time::interval(BACKLOG_INTERVAL);
    let mut n_bytes_behind = 0;
    loop {
        let job: fn(&Partitions, &Clock) = tokio::select! {
            _ = retention.tick() => retain,
            _ = recovery_points.tick() => move_recovery_points,
            _ = backlog.tick() => {
                let n_bytes = services.metrics.log_bytes.get();
                if n_bytes - n_bytes_behind < BACKLOG_BYTES {
                    continue;
                }
                n_bytes_behind = n_bytes;
                move_recovery_points
            }
            _ = log_starts.tick() => write_log_starts,
            _ = high_watermarks.tick() => write_high_watermarks,
            _ = producers.tick() => expire_producers,
            _ = flushes.tick() => flush_due,
            _ = unlinks.tick() => unlink_due,
            _ = stopping.changed() => return,
        };
        let (partitions, clock) = (services.partitions.clone(), services.clock.clone());
        if let Err(panic) = tokio::task::spawn_blocking(move || job(&partitions, &clock)).await {
            tracing::error!(%panic, "a task of upkeep ended early");
        }
    }
}

fn retain(partitions: &Partitions, clock: &Clock) {
    for partition in partitions.all() {
        match partition.with_log(|log| log.retain(clock.wall_ms())) {
            Some(Ok(gone)) => {
                if !gone.is_empty() {
                    partition.news().tell();
                }
                for (why, n_segments) in gone {
                    tracing::info!(partition = %partition.id(), n_segments, ?why, "segments deleted by retention");
                }
            }
            Some(Err(fault)) => {
                tracing::error!(partition = %partition.id(), %fault, "retention failed")
            }
            None => {}
        }
    }
}

fn expire_producers(partitions: &Partitions, clock: &Clock) {
    for partition in partitions.all() {
        partition.with_log(|log| {
            log.expire_producers(clock.wall_ms());
            Ok(())
        });
    }
}

fn flush_due(partitions: &Partitions, clock: &Clock) {
    let news = partitions.news();
    if !news.take(For::Flushing) {
        return;
    }
    for partition in partitions.all() {
        let is_due = partition.with_log(|log| {
            let is_behind = log.flushed() < log.end();
            Ok((is_behind, log.flush_is_due(clock.wall_ms())))
        });
        let Some(Ok((is_behind, is_due))) = is_due else {
            continue;
        };
        if is_due {
            partition.flush();
        } else if is_behind {
            news.remind(For::Flushing);
        }
    }
}

fn unlink_due(partitions: &Partitions, clock: &Clock) {
    partitions.directories().trim_open_files();
    if let Err(fault) = partitions.directories().unlink_due(clock.wall_ms()) {
        tracing::warn!(%fault, "deleted logs could not be removed");
    }
    let news = partitions.news();
    if !news.take(For::Unlinking) {
        return;
    }
    for partition in partitions.all() {
        let unlinked = partition.with_log(|log| {
            let unlinked = log.unlink_due(clock.wall_ms());
            if log.has_retired() {
                news.remind(For::Unlinking);
            }
            unlinked
        });
        if let Some(Err(fault)) = unlinked {
            tracing::warn!(partition = %partition.id(), %fault, "deleted segments could not be removed");
        }
    }
}

/// Makes recovery after a crash short: what was written is synced with its indexes, and then need
/// not be read again.
fn move_recovery_points(partitions: &Partitions, _: &Clock) {
    let news = partitions.news();
    if !news.take(For::RecoveryPoints) {
        return;
    }
    let all = partitions.all();
    for directory in partitions.directories().all() {
        let is_behind = |partition: &&Arc<Partition>| {
            let behind = partition.with_log(|log| Ok(log.n_bytes_above_recovery_point()));
            matches!(behind, Some(Ok(LOG_BACKLOG_BYTES..)))
        };
        let behind: Vec<&Arc<Partition>> = all
            .iter()
            .filter(|partition| partition.is_in(directory))
            .filter(is_behind)
            .collect();
        for some in behind.chunks(directory.n_together().min(TOGETHER_MAX)) {
            let planned = some
                .iter()
                .filter_map(|partition| Some((*partition, partition.recovery_plan()?)))
                // One that has just moved is synced with those of its new directory, the next time.
                .filter(|(partition, _)| partition.is_in(directory));
            let (some, targets): (Vec<_>, Vec<_>) = planned.unzip();
            let synced = directory.sync_together(&targets);
            for ((partition, target), outcome) in some.iter().zip(&targets).zip(synced) {
                partition.synced(target, outcome);
            }
        }
    }
    write(partitions, Collected::RecoveryPoints, |partition| {
        partition.with_log(|log| Ok(log.recovery_point()))?.ok()
    });
}

fn write_log_starts(partitions: &Partitions, _: &Clock) {
    if !partitions.news().take(For::LogStarts) {
        return;
    }
    write(partitions, Collected::LogStarts, Partition::start_inside);
}

fn write_high_watermarks(partitions: &Partitions, _: &Clock) {
    if !partitions.news().take(For::HighWatermarks) {
        return;
    }
    write(partitions, Collected::HighWatermarks, |partition| {
        Some(partition.checkpoint_high_watermark())
    });
}

fn write(partitions: &Partitions, what: Collected, offset_of: impl Fn(&Partition) -> Option<i64>) {
    for directory in partitions.directories().all() {
        if !directory.is_online() {
            continue;
        }
        // What is written has a line for each log: what is known of the others must stay.
        if partitions.awaits_in(directory) {
            partitions.news().tell();
            continue;
        }
        // No log may change its directory between the collecting and the writing.
        let _whole = partitions.moves().checkpoints();
        let attempt = || {
            let n_changes = directory.n_checkpoint_changes();
            let all = partitions.all();
            let here = all.iter().filter(|partition| partition.is_in(directory));
            let offsets: Offsets = here
                .filter_map(|partition| Some((partition.id().clone(), offset_of(partition)?)))
                .collect();
            directory.write_collected(what, &offsets, n_changes)
        };
        let written = (0..COLLECTED_MAX)
            .map(|_| attempt())
            .find(|written| !matches!(written, Ok(false)));
        if written.is_none() {
            partitions.news().tell();
        }
        if let Some(Err(fault)) = written {
            partitions.news().tell();
            tracing::error!(directory = %directory.path().display(), %fault, "checkpoint not written");
            if !fault.is_passing() {
                partitions.directories().fail(directory, &fault);
            }
        }
    }
}

//! One log directory: its lock, its identity (`meta.properties`), its checkpoints, whether it was
//! shut down in order, and whether it still works.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use ottla_protocol::{NodeId, Offset, TopicPartition, Uuid};
use parking_lot::{Mutex, MutexGuard};

use crate::checkpoint::{Offsets, read_offsets, read_points, write_offsets, write_points};
use crate::disk::{Disk, DiskFile};
use crate::error::Fault;
use crate::file_names::{
    CLEAN_SHUTDOWN, CLEANED, HIGH_WATERMARKS, LOCK, LOG_STARTS, RECOVERY_POINTS,
};
use crate::file_system::FileSystem;
use crate::log::Closed;
use crate::meta_properties::MetaProperties;

/// A log directory that this process has locked. Unlocked when dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    disk: Disk,
    id: Uuid,
    /// `None` if the directory was unreadable from the start.
    lock: Option<DiskFile>,
    file_system: FileSystem,
    offline: Mutex<Option<String>>,
    is_online: AtomicBool,
    /// Device and inode when it was locked.
    identity: Option<(u64, u64)>,
    /// Partitions placed here, so that a new one goes where there are the fewest.
    n_logs: AtomicI64,
    checkpoints: Mutex<Checkpoints>,
    /// Files of offsets whose last write failed: they may hold what was tried, or what was before.
    in_doubt: Mutex<BTreeSet<String>>,
}

/// How a directory was left at the last shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shutdown {
    pub(crate) is_clean: bool,
    pub(crate) broker_epoch: Option<i64>,
}

/// What the files of offsets hold: as they were read, and later as they were last written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checkpoints {
    pub(crate) recovery_points: Offsets,
    /// It was us who wrote them.
    pub(crate) are_points_ours: bool,
    pub(crate) log_starts: Offsets,
    pub(crate) high_watermarks: Offsets,
    /// Where the part of each log begins that was never compacted.
    pub(crate) cleaned: Offsets,
    /// How often single lines were changed, which who collects lines for all logs may not have seen.
    n_changes: u64,
}

/// A file of offsets that has a line for each log, as `Directory::write_collected` writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collected {
    RecoveryPoints,
    LogStarts,
    HighWatermarks,
}

/// Takes the lock of a directory, which is made if it is not there.
pub(crate) fn lock(disk: &Disk, path: &Path) -> Result<DiskFile, Fault> {
    disk.make_directory(path)?;
    let lock = disk.open_or_create(&path.join(LOCK))?;
    lock.lock()?;
    Ok(lock)
}

impl Directory {
    pub(crate) fn new(disk: &Disk, path: &Path, id: Uuid, lock: DiskFile) -> Self {
        Self {
            path: path.to_owned(),
            disk: disk.clone(),
            id,
            lock: Some(lock),
            file_system: FileSystem::of(path),
            identity: disk.identity(path).ok(),
            offline: Mutex::new(None),
            is_online: AtomicBool::new(true),
            n_logs: AtomicI64::new(0),
            checkpoints: Mutex::default(),
            in_doubt: Mutex::default(),
        }
    }

    /// Files of logs that may be open at once, of this directory and of all others.
    pub(crate) fn n_files_max(&self) -> usize {
        self.disk.open_files().n_max()
    }

    /// A directory that could not even be opened.
    pub(crate) fn failed(disk: &Disk, path: &Path, why: &Fault) -> Self {
        Self {
            path: path.to_owned(),
            disk: disk.clone(),
            id: Uuid::ZERO,
            lock: None,
            file_system: FileSystem::of(path),
            identity: None,
            offline: Mutex::new(Some(why.to_string())),
            is_online: AtomicBool::new(false),
            n_logs: AtomicI64::new(0),
            checkpoints: Mutex::default(),
            in_doubt: Mutex::default(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Zero if the directory could not be read.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// An offline directory serves nothing; only a restart brings it back.
    pub fn is_online(&self) -> bool {
        self.is_online.load(Ordering::Acquire)
    }

    /// Why it is offline, if it is.
    pub fn offline_because(&self) -> Option<String> {
        self.offline.lock().clone()
    }

    /// Returns whether it was online until now.
    pub fn take_offline(&self, why: &Fault) -> bool {
        self.offline.lock().get_or_insert_with(|| why.to_string());
        self.is_online.swap(false, Ordering::AcqRel)
    }

    /// Whether the directory that was locked is still what its path leads to. Files that are open in one
    /// that was taken away go on without a complaint.
    pub fn probe(&self) -> Result<(), Fault> {
        let now = self.disk.identity(&self.path)?;
        match self.identity {
            Some(then) if then != now => Err(Fault::Foreign {
                path: self.path.clone(),
                why: "it is another directory than the one that was locked".into(),
            }),
            _ => Ok(()),
        }
    }

    /// (total, usable) bytes of its file system.
    pub fn space(&self) -> Result<(u64, u64), Fault> {
        self.disk.space(&self.path)
    }

    /// Whether one call can sync all of its file system, and tells of errors. A disk that tests break
    /// is synced file by file, so that each of them can be broken.
    pub(crate) fn can_sync_all(&self) -> bool {
        self.lock.is_some() && !self.disk.is_breakable() && self.file_system.tells_errors()
    }

    /// The device that was synced; `None`: nobody could be asked.
    pub(crate) fn sync_file_system(&self) -> std::io::Result<Option<u64>> {
        self.file_system.sync()
    }

    pub fn n_logs(&self) -> usize {
        usize::try_from(self.n_logs.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(crate) fn count_logs(&self, more: i64) {
        self.n_logs.fetch_add(more, Ordering::Relaxed);
    }

    /// How often lines of single logs were changed: to be asked before lines are collected.
    pub fn n_checkpoint_changes(&self) -> u64 {
        self.checkpoints.lock().n_changes
    }

    /// Writes what was collected from all logs after the `n_changes`th change of single lines. Returns
    /// `false`, and writes nothing, if there was another since: what was collected may be of a log that
    /// is gone, or from before a deletion that was answered.
    pub fn write_collected(
        &self,
        what: Collected,
        offsets: &Offsets,
        n_changes: u64,
    ) -> Result<bool, Fault> {
        let mut held = self.checkpoints.lock();
        if held.n_changes != n_changes {
            return Ok(false);
        }
        self.write_whole(&mut held, what, offsets).map(|()| true)
    }

    fn write_whole(
        &self,
        held: &mut Checkpoints,
        what: Collected,
        offsets: &Offsets,
    ) -> Result<(), Fault> {
        match what {
            Collected::RecoveryPoints => self.write_points(held, offsets, true),
            Collected::LogStarts => self.write(LOG_STARTS, &mut held.log_starts, offsets),
            Collected::HighWatermarks => {
                self.write(HIGH_WATERMARKS, &mut held.high_watermarks, offsets)
            }
        }
    }

    /// The checkpoints, of which single lines are about to be changed.
    fn change_lines(&self) -> MutexGuard<'_, Checkpoints> {
        let mut held = self.checkpoints.lock();
        held.n_changes += 1;
        held
    }

    /// `recovery-point-offset-checkpoint`, written whole: one line for each log in here.
    pub fn write_recovery_points(&self, offsets: &Offsets) -> Result<(), Fault> {
        self.write_whole(
            &mut self.checkpoints.lock(),
            Collected::RecoveryPoints,
            offsets,
        )
    }

    /// The same file with these lines lowered: for logs that were truncated or came back shorter,
    /// before anything is appended to them. A crash leaves unread what lies below a point.
    pub fn lower_recovery_points(&self, points: &Offsets) -> Result<(), Fault> {
        let mut held = self.change_lines();
        let mut offsets = held.recovery_points.clone();
        for (partition, to) in points {
            if let Some(line) = offsets.get_mut(partition) {
                *line = (*line).min(*to);
            }
        }
        let are_ours = held.are_points_ours;
        self.write_points(&mut held, &offsets, are_ours)
    }

    /// The same file with these lines raised: before a log is compacted below its point.
    pub fn raise_recovery_points(&self, points: &Offsets) -> Result<(), Fault> {
        let mut held = self.change_lines();
        let offsets = raised(&held.recovery_points, points);
        let are_ours = held.are_points_ours;
        self.write_points(&mut held, &offsets, are_ours)
    }

    /// IMPORTANT: as ours only where each line is of a log that we have open, or had.
    fn write_points(
        &self,
        held: &mut Checkpoints,
        points: &Offsets,
        are_ours: bool,
    ) -> Result<(), Fault> {
        let mut in_doubt = self.in_doubt.lock();
        let is_as_held = held.recovery_points == *points && held.are_points_ours == are_ours;
        if is_as_held && !in_doubt.contains(RECOVERY_POINTS) {
            return Ok(());
        }
        in_doubt.insert(RECOVERY_POINTS.to_owned());
        let path = self.path.join(RECOVERY_POINTS);
        write_points(&self.disk, &path, points, are_ours)?;
        in_doubt.remove(RECOVERY_POINTS);
        // Only now: what is held is what the file says.
        held.recovery_points.clone_from(points);
        held.are_points_ours = are_ours;
        Ok(())
    }

    /// `log-start-offset-checkpoint`: only logs whose start is inside a segment.
    pub fn write_log_starts(&self, offsets: &Offsets) -> Result<(), Fault> {
        self.write_whole(&mut self.checkpoints.lock(), Collected::LogStarts, offsets)
    }

    /// The same file with these starts raised, so that a deletion that was answered outlives a crash.
    /// The logs' high watermarks go first: Kafka warns of a log that starts behind its own.
    pub fn raise_log_starts(
        &self,
        starts: &Offsets,
        high_watermarks: &Offsets,
    ) -> Result<(), Fault> {
        let mut held = self.change_lines();
        self.raise(HIGH_WATERMARKS, &mut held.high_watermarks, high_watermarks)?;
        self.raise(LOG_STARTS, &mut held.log_starts, starts)
    }

    fn raise(&self, name: &str, held: &mut Offsets, to: &Offsets) -> Result<(), Fault> {
        let offsets = raised(held, to);
        self.write(name, held, &offsets)
    }

    /// `replication-offset-checkpoint`.
    pub fn write_high_watermarks(&self, offsets: &Offsets) -> Result<(), Fault> {
        self.write_whole(
            &mut self.checkpoints.lock(),
            Collected::HighWatermarks,
            offsets,
        )
    }

    /// What `cleaner-offset-checkpoint` says of a log: the first offset that was never compacted.
    pub fn cleaned(&self, partition: &TopicPartition) -> Option<Offset> {
        self.checkpoints.lock().cleaned.get(partition).copied()
    }

    /// Writes it: a log was compacted below `offset`.
    pub fn write_cleaned(&self, partition: &TopicPartition, offset: Offset) -> Result<(), Fault> {
        let mut held = self.checkpoints.lock();
        let mut offsets = held.cleaned.clone();
        if offsets.insert(partition.clone(), offset) == Some(offset) {
            return Ok(());
        }
        self.write(CLEANED, &mut held.cleaned, &offsets)
    }

    /// A log was truncated to `to`: what comes there now was never compacted.
    pub fn cut_cleaned(&self, partition: &TopicPartition, to: Offset) -> Result<(), Fault> {
        match self.cleaned(partition) {
            Some(offset) if offset > to => self.write_cleaned(partition, to),
            _ => Ok(()),
        }
    }

    /// The log that was compacted is gone.
    pub fn forget_cleaned(&self, partition: &TopicPartition) -> Result<(), Fault> {
        let mut held = self.checkpoints.lock();
        let mut offsets = held.cleaned.clone();
        if offsets.remove(partition).is_none() {
            return Ok(());
        }
        self.write(CLEANED, &mut held.cleaned, &offsets)
    }

    /// All three for logs that were closed: the step before `write_clean_shutdown`.
    pub fn write_closed(&self, closed: &[(TopicPartition, Closed)]) -> Result<(), Fault> {
        let offsets = |of: &dyn Fn(&Closed) -> Option<Offset>| -> Offsets {
            let lines = closed
                .iter()
                .filter_map(|(log, it)| Some((log.clone(), of(it)?)));
            lines.collect()
        };
        self.write_recovery_points(&offsets(&|it| Some(it.end)))?;
        self.write_log_starts(&offsets(&|it| it.start_is_inside.then_some(it.start)))?;
        self.write_high_watermarks(&offsets(&|it| Some(it.high_watermark)))
    }

    /// Nothing that is checkpointed of earlier logs of these names may be taken for the new ones': a
    /// start from there would throw their records away.
    pub(crate) fn forget<'a>(
        &self,
        partitions: impl Iterator<Item = &'a TopicPartition> + Clone,
    ) -> Result<(), Fault> {
        let mut held = self.change_lines();
        let mut points = held.recovery_points.clone();
        for partition in partitions.clone() {
            points.remove(partition);
        }
        let are_ours = held.are_points_ours;
        self.write_points(&mut held, &points, are_ours)?;
        let Checkpoints {
            log_starts,
            high_watermarks,
            cleaned,
            ..
        } = &mut *held;
        let files = [
            (CLEANED, cleaned),
            (LOG_STARTS, log_starts),
            (HIGH_WATERMARKS, high_watermarks),
        ];
        for (name, held) in files {
            let mut offsets = held.clone();
            for partition in partitions.clone() {
                offsets.remove(partition);
            }
            self.write(name, held, &offsets)?;
        }
        Ok(())
    }

    /// A log is about to be here: what is checkpointed of it, in all four files. `None`: no line.
    pub(crate) fn expect_log(
        &self,
        partition: &TopicPartition,
        recovery_point: Offset,
        start: Option<Offset>,
        high_watermark: Offset,
        cleaned: Option<Offset>,
    ) -> Result<(), Fault> {
        let mut held = self.change_lines();
        let mut points = held.recovery_points.clone();
        points.insert(partition.clone(), recovery_point);
        let are_ours = held.are_points_ours || held.recovery_points.is_empty();
        self.write_points(&mut held, &points, are_ours)?;
        let Checkpoints {
            log_starts,
            high_watermarks,
            cleaned: held_cleaned,
            ..
        } = &mut *held;
        let lines = [
            (CLEANED, held_cleaned, cleaned),
            // Kafka warns of a log that starts behind its own high watermark.
            (HIGH_WATERMARKS, high_watermarks, Some(high_watermark)),
            (LOG_STARTS, log_starts, start),
        ];
        for (name, held, line) in lines {
            let mut offsets = held.clone();
            match line {
                Some(offset) => offsets.insert(partition.clone(), offset),
                None => offsets.remove(partition),
            };
            self.write(name, held, &offsets)?;
        }
        Ok(())
    }

    fn write(&self, name: &str, held: &mut Offsets, offsets: &Offsets) -> Result<(), Fault> {
        let mut in_doubt = self.in_doubt.lock();
        if held == offsets && !in_doubt.contains(name) {
            return Ok(());
        }
        in_doubt.insert(name.to_owned());
        write_offsets(&self.disk, &self.path.join(name), offsets)?;
        in_doubt.remove(name);
        // Only now: what is held is what the file says.
        held.clone_from(offsets);
        Ok(())
    }

    /// The last step of a shutdown, after all checkpoints, and only if all logs were closed.
    pub fn write_clean_shutdown(&self, broker_epoch: i64) -> Result<(), Fault> {
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        self.disk
            .replace(&self.path.join(CLEAN_SHUTDOWN), text.as_bytes())
    }

    /// Whether it was shut down in order. The mark is removed: from here on it is not.
    pub(crate) fn take_clean_shutdown(&self) -> Result<Shutdown, Fault> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        let Some(bytes) = self.disk.read_if_exists(&path)? else {
            return Ok(Shutdown {
                is_clean: false,
                broker_epoch: None,
            });
        };
        self.disk.remove(&path)?;
        self.disk.sync_directory(&self.path)?;
        // Other contents than ours still mean that the shutdown was in order.
        let content: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
        let broker_epoch = content.and_then(|content| content.get("brokerEpoch")?.as_i64());
        Ok(Shutdown {
            is_clean: true,
            broker_epoch,
        })
    }

    /// Broken files of offsets are taken for empty ones: then more is read, and nothing lost. (Not
    /// so the high watermarks, as in Kafka: without them a leader might show too little.)
    pub(crate) fn read_checkpoints(&self) -> Result<Checkpoints, Fault> {
        let or_empty = |name: &str| {
            read_offsets(&self.disk, &self.path.join(name)).unwrap_or_else(|fault| {
                tracing::warn!("{fault}; going on without it");
                Offsets::new()
            })
        };
        let points = read_points(&self.disk, &self.path.join(RECOVERY_POINTS));
        let (recovery_points, are_points_ours) = points.unwrap_or_else(|fault| {
            tracing::warn!("{fault}; going on without it");
            Default::default()
        });
        let checkpoints = Checkpoints {
            recovery_points,
            are_points_ours,
            log_starts: or_empty(LOG_STARTS),
            cleaned: or_empty(CLEANED),
            n_changes: 0,
            high_watermarks: read_offsets(&self.disk, &self.path.join(HIGH_WATERMARKS))?,
        };
        self.checkpoints.lock().clone_from(&checkpoints);
        Ok(checkpoints)
    }

    /// Writes a directory's identity: formatting. Fails if it has one.
    pub fn format(disk: &Disk, path: &Path, meta: &MetaProperties) -> Result<(), Fault> {
        disk.make_directory(path)?;
        if MetaProperties::read(disk, path)?.is_some() {
            let why = "it is formatted already".to_owned();
            return Err(Fault::Foreign {
                path: path.to_owned(),
                why,
            });
        }
        meta.write(disk, path)
    }

    /// Whether nothing but what a file system puts there (`lost+found`) is in a directory, or the
    /// directory is not there.
    pub fn is_unused(disk: &Disk, path: &Path) -> Result<bool, Fault> {
        if !disk.exists(path) {
            return Ok(true);
        }
        let entries = disk.list(path)?;
        Ok(entries
            .iter()
            .all(|entry| entry.name == "lost+found" || entry.name == LOCK))
    }

    /// The identity's node, if the directory is formatted.
    pub fn node_id(disk: &Disk, path: &Path) -> Result<Option<NodeId>, Fault> {
        Ok(MetaProperties::read(disk, path)?.map(|meta| meta.node_id))
    }
}

fn raised(held: &Offsets, to: &Offsets) -> Offsets {
    let mut offsets = held.clone();
    for (partition, to) in to {
        let line = offsets.entry(partition.clone()).or_insert(*to);
        *line = (*line).max(*to);
    }
    offsets
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::{DiskCall, DiskFaults, DiskVerdict};

    fn directory(path: &Path) -> Directory {
        let disk = Disk::new();
        let lock = lock(&disk, path).unwrap();
        Directory::new(&disk, path, Uuid::from_u128(1 << 90), lock)
    }

    #[test]
    fn two_cannot_have_the_same_directory() {
        let place = tempfile::tempdir().unwrap();
        let first = directory(place.path());
        let fault = lock(&Disk::new(), place.path()).unwrap_err();
        assert!(matches!(fault, Fault::Locked { .. }), "{fault}");
        drop(first);
        lock(&Disk::new(), place.path()).unwrap();
    }

    #[test]
    fn a_clean_shutdown_is_believed_once() {
        let place = tempfile::tempdir().unwrap();
        let directory = directory(place.path());
        let unclean = Shutdown {
            is_clean: false,
            broker_epoch: None,
        };
        assert_eq!(directory.take_clean_shutdown().unwrap(), unclean);
        directory.write_clean_shutdown(17).unwrap();
        let text = std::fs::read_to_string(place.path().join(CLEAN_SHUTDOWN)).unwrap();
        assert_eq!(text, r#"{"version":0,"brokerEpoch":17}"#);
        let clean = Shutdown {
            is_clean: true,
            broker_epoch: Some(17),
        };
        assert_eq!(directory.take_clean_shutdown().unwrap(), clean);
        assert_eq!(directory.take_clean_shutdown().unwrap(), unclean);
    }

    #[test]
    fn an_old_mark_of_a_clean_shutdown_has_no_epoch() {
        let place = tempfile::tempdir().unwrap();
        let directory = directory(place.path());
        std::fs::write(place.path().join(CLEAN_SHUTDOWN), "").unwrap();
        let clean = Shutdown {
            is_clean: true,
            broker_epoch: None,
        };
        assert_eq!(directory.take_clean_shutdown().unwrap(), clean);
    }

    /// Fails once, in a call of one kind.
    struct FailsOnce(DiskCall, AtomicBool);

    impl DiskFaults for FailsOnce {
        fn before(&self, call: DiskCall, _: &Path, _: usize) -> DiskVerdict {
            match call == self.0 && self.1.swap(false, Ordering::AcqRel) {
                true => DiskVerdict::Fail(std::io::ErrorKind::Other),
                false => DiskVerdict::Proceed,
            }
        }
    }

    #[test]
    fn a_file_of_offsets_that_may_hold_what_could_not_be_written_is_written_again() {
        let place = tempfile::tempdir().unwrap();
        let faults = Arc::new(FailsOnce(DiskCall::SyncDirectory, false.into()));
        let disk = Disk::breakable(faults.clone());
        let lock = lock(&disk, place.path()).unwrap();
        let directory = Directory::new(&disk, place.path(), Uuid::from_u128(1 << 90), lock);
        let log = TopicPartition::new("a", 3);
        let at = |offset| Offsets::from([(log.clone(), offset)]);
        directory.write_recovery_points(&at(100)).unwrap();
        faults.1.store(true, Ordering::Release);
        directory.write_recovery_points(&at(200)).unwrap_err();
        let file = place.path().join(RECOVERY_POINTS);
        assert_eq!(read_offsets(&disk, &file).unwrap(), at(200), "renamed");
        // Nothing to lower, as far as is known.
        directory.lower_recovery_points(&at(150)).unwrap();
        assert_eq!(read_offsets(&disk, &file).unwrap(), at(100));
    }

    #[test]
    fn how_far_a_log_was_compacted_is_written_cut_and_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let log = TopicPartition::new("a", 3);
        let file = place.path().join("cleaner-offset-checkpoint");
        let held = |directory: &Directory| {
            directory.read_checkpoints().unwrap();
            directory.cleaned(&log)
        };
        let directory = directory(place.path());
        assert_eq!(held(&directory), None);
        directory.write_cleaned(&log, 17).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "0\n1\na 3 17\n");
        directory.cut_cleaned(&log, 20).unwrap();
        assert_eq!(held(&directory), Some(17));
        directory.cut_cleaned(&log, 5).unwrap();
        assert_eq!(held(&directory), Some(5));
        std::fs::write(&file, "0\nx\n").unwrap();
        assert_eq!(held(&directory), None, "then everything is dirty");
        directory.write_cleaned(&log, 17).unwrap();
        directory.forget([&log].into_iter()).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "0\n0\n");
    }

    #[test]
    fn what_was_collected_before_a_line_changed_is_not_written() {
        let place = tempfile::tempdir().unwrap();
        let directory = directory(place.path());
        let log = TopicPartition::new("t", 0);
        let at = |offset| Offsets::from([(log.clone(), offset)]);
        let read = |name| read_offsets(&Disk::new(), &place.path().join(name)).unwrap();
        directory.write_log_starts(&at(5)).unwrap();
        directory.write_recovery_points(&at(9)).unwrap();

        // A deletion of records that was answered.
        let before = directory.n_checkpoint_changes();
        directory.raise_log_starts(&at(7), &at(8)).unwrap();
        let write = |what, before| directory.write_collected(what, &at(5), before);
        assert!(!write(Collected::LogStarts, before).unwrap());
        assert_eq!(read(LOG_STARTS), at(7));

        // A log that is gone.
        let before = directory.n_checkpoint_changes();
        directory.forget([&log].into_iter()).unwrap();
        for (what, name) in [
            (Collected::RecoveryPoints, RECOVERY_POINTS),
            (Collected::LogStarts, LOG_STARTS),
            (Collected::HighWatermarks, HIGH_WATERMARKS),
        ] {
            assert!(!write(what, before).unwrap());
            assert!(read(name).is_empty(), "{name}");
            assert!(write(what, directory.n_checkpoint_changes()).unwrap());
            assert_eq!(read(name), at(5), "{name}");
        }
    }

    #[test]
    fn a_broken_recovery_point_file_costs_only_time() {
        let place = tempfile::tempdir().unwrap();
        let directory = directory(place.path());
        std::fs::write(place.path().join(RECOVERY_POINTS), "0\n9\n").unwrap();
        assert!(
            directory
                .read_checkpoints()
                .unwrap()
                .recovery_points
                .is_empty()
        );
        std::fs::write(place.path().join(HIGH_WATERMARKS), "0\n9\n").unwrap();
        assert!(matches!(
            directory.read_checkpoints(),
            Err(Fault::Corrupt { .. })
        ));
    }
}

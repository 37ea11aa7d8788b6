//! A log moves to another directory of the node: copied in steps, swapped, finished after a crash.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use ottla_protocol::batch::batches;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::{TopicPartition, Uuid};
use ottla_storage::producer::Appender;
use ottla_storage::{
    Directories, Directory, Disk, DiskCall, DiskChange, DiskFaults, DiskVerdict, Isolation,
    LoadedLog, Log, LogConfig, MetaProperties, NoEvents, NotSwapped, Offsets, OpenDirectories,
    OpenLog, Progress, ReadFrom, Swap,
};

use crate::stand::*;

const TOPIC_ID: u128 = 1000;

struct Place {
    _place: tempfile::TempDir,
    paths: Vec<PathBuf>,
    directories: Directories,
    disk: Disk,
}

fn id() -> TopicPartition {
    TopicPartition::new("t", 0)
}

impl Place {
    fn new() -> Self {
        Self::over(Disk::new())
    }

    fn over(disk: Disk) -> Self {
        let place = tempfile::tempdir().unwrap();
        let paths = vec![place.path().join("a"), place.path().join("b")];
        for (path, id) in paths.iter().zip([7_u128, 8]) {
            let meta = MetaProperties {
                cluster_id: "c".into(),
                node_id: 1,
                directory_id: Some(Uuid::from_u128(id << 64)),
            };
            Directory::format(&disk, path, &meta).unwrap();
        }
        let directories = open(&paths, &disk);
        Self {
            _place: place,
            paths,
            directories,
            disk,
        }
    }

    fn directory(&self, n: usize) -> Arc<Directory> {
        self.directories.all()[n].clone()
    }

    fn create(&self, n: usize, config: LogConfig) -> Log {
        self.directories
            .create_log(
                &self.directory(n),
                id(),
                Uuid::from_u128(TOPIC_ID),
                config,
                NOW,
            )
            .unwrap()
    }

    fn future(&self, n: usize, config: LogConfig) -> Log {
        let topic_id = Uuid::from_u128(TOPIC_ID);
        self.directories
            .create_future(&self.directory(n), &id(), topic_id, config, NOW)
            .unwrap()
    }

    /// The process dies and comes back.
    fn restart(&mut self) {
        let spare = tempfile::tempdir().unwrap();
        let path = spare.path().to_owned();
        let meta = MetaProperties {
            cluster_id: "c".into(),
            node_id: 1,
            directory_id: Some(Uuid::from_u128(9 << 64)),
        };
        Directory::format(&self.disk, &path, &meta).unwrap();
        // The old one must give its locks back first.
        self.directories = open(&[path], &self.disk);
        self.directories = open(&self.paths, &self.disk);
    }

    /// What a start finds: the log, opened as one that is compacted, and its copy.
    fn find_both(&self) -> (Log, (Arc<Directory>, OpenLog)) {
        let config = LogConfig {
            cleanup_compact: true,
            ..small()
        };
        let found = self
            .directories
            .find(&|_| config.clone(), &|_, _| true, NOW);
        let mut found = found.unwrap();
        let copy = found.take_futures().remove(0);
        let opened = Mutex::new(None);
        let tell = |log: Result<LoadedLog, _>| *opened.lock().unwrap() = log.ok();
        let progress = Progress::default();
        self.directories.open_found(found, 1, &progress, &tell);
        (opened.into_inner().unwrap().unwrap().log, copy)
    }

    fn names(&self, n: usize) -> Vec<String> {
        let entries = fs::read_dir(&self.paths[n]).unwrap().map(Result::unwrap);
        let mut names: Vec<String> = entries
            .filter(|e| e.file_type().unwrap().is_dir())
            .map(|e| e.file_name().into_string().unwrap())
            .map(|name| match name.rsplit_once('-') {
                Some((_, mark @ ("delete" | "future"))) => format!("t-0.{mark}"),
                _ => name,
            })
            .collect();
        names.sort();
        names
    }

    fn swap(&self, current: &mut Log, mut future: Log) -> Result<(), NotSwapped> {
        settle(&mut future);
        let (source, target) = (self.directory(0), self.directory(1));
        let cleaned = source.cleaned(&id());
        self.directories
            .prepare_swap(&target, &future, cleaned)
            .unwrap();
        let swap = Swap {
            current,
            source: &source,
            future,
            target: &target,
        };
        self.directories.swap(swap, NOW)?;
        self.directories.forget_moved(&source, &id());
        Ok(())
    }
}

fn open(paths: &[PathBuf], disk: &Disk) -> Directories {
    Directories::open(OpenDirectories {
        disk: disk.clone(),
        paths: paths.to_vec(),
        metadata_path: paths[0].clone(),
        node_id: 1,
        events: Arc::new(NoEvents),
    })
    .unwrap()
}

fn copy_all(current: &Log, future: &mut Log) {
    let mut n_steps = 0;
    while future.end() < current.end() || future.start() < current.start() {
        future.copy_from(&current.view(), 700, NOW).unwrap();
        n_steps += 1;
        assert!(n_steps < 10_000, "the copy does not end");
    }
}

fn line(directory: &Path, name: &str) -> Option<i64> {
    let text = fs::read_to_string(directory.join(name)).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("t 0 "))?;
    line.split_whitespace().next_back()?.parse().ok()
}

/// A batch of an idempotent producer, or of a transaction.
fn of_producer(id: i64, sequence: i32, is_transactional: bool) -> bytes::Bytes {
    let mut builder = BatchBuilder::data(Codec::None).producer(id, 0, sequence);
    if is_transactional {
        builder = builder.transactional();
    }
    builder.push(NOW, None, Some(b"record 00000000"));
    builder.finish()
}

#[test]
fn a_copy_takes_the_place_of_its_log_and_is_the_same() {
    let mut place = Place::new();
    let mut log = place.create(0, small());
    fill(&mut log, 300);
    log.set_high_watermark(300);
    log.raise_start(100).unwrap();
    log.retain(NOW).unwrap();
    let reader = log.reader();
    let mut future = place.future(1, small());
    assert_eq!(place.names(1), ["t-0.future"]);
    copy_all(&log, &mut future);
    // It goes on growing meanwhile.
    fill(&mut log, 330);
    log.set_high_watermark(330);
    copy_all(&log, &mut future);
    assert!(future.has_all_of(&log));
    let before = reader.view();
    place
        .swap(&mut log, future)
        .map_err(|not| not.fault)
        .unwrap();
    assert_eq!(place.names(0), ["t-0.delete"]);
    assert_eq!(place.names(1), ["t-0"]);
    assert_eq!((log.high_watermark(), log.flushed()), (330, 330));
    assert_holds(&log, 100, 330);
    // Who read before goes on, in the old picture and with the old handle.
    assert!(before.is_retired() && !reader.view().is_retired());
    assert_eq!(read_all(&before, Isolation::LogEnd).len(), 230);
    fill(&mut log, 360);
    log.set_high_watermark(360);
    assert_eq!(reader.view().high_watermark(), 360);
    assert_eq!(
        read_all(&reader.view(), Isolation::HighWatermark).len(),
        260
    );
    // The checkpoints came along, and nothing is left behind.
    assert_eq!(
        line(&place.paths[1], "recovery-point-offset-checkpoint"),
        Some(330)
    );
    assert_eq!(
        line(&place.paths[1], "log-start-offset-checkpoint"),
        Some(100)
    );
    assert_eq!(
        line(&place.paths[1], "replication-offset-checkpoint"),
        Some(330)
    );
    assert_eq!(line(&place.paths[0], "log-start-offset-checkpoint"), None);
    let counts: Vec<usize> = place.directories.all().iter().map(|d| d.n_logs()).collect();
    assert_eq!(counts, [0, 1]);
    log.flush().unwrap();
    drop(log);
    place.restart();
    let loaded = place.directories.load(&|_| small(), 1, NOW).unwrap();
    assert_eq!(loaded.logs.len(), 1);
    assert_holds(&loaded.logs[0].log, 100, 360);
    place.directories.unlink_due(NOW + 60_000).unwrap();
    assert!(place.names(0).is_empty());
}

#[test]
fn producers_and_open_transactions_are_the_same_after_the_move() {
    let mut place = Place::new();
    let mut log = place.create(0, small());
    // This one is known only by a snapshot: its records are gone.
    append(&mut log, &of_producer(5, 0, false)).unwrap();
    log.roll(NOW).unwrap();
    log.set_high_watermark(log.end());
    log.raise_start(1).unwrap();
    log.retain(NOW).unwrap();
    append(&mut log, &of_producer(6, 0, false)).unwrap();
    append_in(&mut log, &of_producer(7, 0, true), 0, Appender::Coordinator).unwrap();
    fill(&mut log, 3 + 60);
    log.set_high_watermark(log.end());
    let stable = log.last_stable();
    assert_eq!(stable, 2, "the transaction is open");
    let mut future = place.future(1, small());
    copy_all(&log, &mut future);
    future.take_producers(&log).unwrap();
    place
        .swap(&mut log, future)
        .map_err(|not| not.fault)
        .unwrap();
    let known = |log: &Log| {
        let mut known: Vec<(i64, i32, Option<i64>)> = log
            .producers()
            .iter()
            .map(|p| (p.id(), p.last_sequence(), p.transaction_start()))
            .collect();
        known.sort_unstable();
        known
    };
    let expected = [(5, 0, None), (6, 0, None), (7, 0, Some(2))];
    assert_eq!(known(&log), expected);
    assert_eq!(log.last_stable(), stable);
    let again = append(&mut log, &of_producer(6, 0, false)).unwrap();
    assert!(again.is_duplicate, "{again:?}");
    let end = log.end();
    drop(log);
    place.restart();
    let loaded = place.directories.load(&|_| small(), 1, NOW).unwrap();
    let log = &loaded.logs[0].log;
    assert_eq!(log.end(), end);
    assert_eq!(known(log), expected);
}

/// The log's start moves, and no record comes, between the copy's getting ready and the swap.
#[test]
fn producers_whose_records_are_gone_are_known_after_a_move_and_a_crash() {
    for n_left in [60, 0] {
        let mut place = Place::new();
        let mut log = place.create(0, small());
        append(&mut log, &of_producer(5, 0, false)).unwrap();
        log.roll(NOW).unwrap();
        fill_by(&mut log, n_left);
        log.set_high_watermark(log.end());
        log.raise_start(1).unwrap();
        log.retain(NOW).unwrap();
        let mut future = place.future(1, small());
        copy_all(&log, &mut future);
        future.take_producers(&log).unwrap();
        settle(&mut future);
        log.raise_start(log.end().min(10)).unwrap();
        copy_all(&log, &mut future);
        future.take_producers(&log).unwrap();
        let swapped = place.swap(&mut log, future);
        swapped.map_err(|not| not.fault).unwrap();
        let known = |log: &Log| log.producers().iter().map(|p| p.id()).collect::<Vec<_>>();
        assert_eq!(known(&log), [5]);
        drop(log);
        place.restart();
        let loaded = place.directories.load(&|_| small(), 1, NOW).unwrap();
        assert_eq!(known(&loaded.logs[0].log), [5], "{n_left} records");
    }
}

fn fill_by(log: &mut Log, n: i64) {
    for at in 0..n / 3 {
        append(log, &records(1 + 3 * at, 3)).unwrap();
    }
}

#[test]
fn a_copy_is_cut_where_its_log_lost_a_tail_and_went_on() {
    let place = Place::new();
    let mut log = place.create(0, small());
    let mut future = place.future(1, small());
    let grow = |log: &mut Log, to: i64, epoch: i32| {
        while log.end() < to {
            let batch = records(log.end(), 3);
            append_in(log, &batch, epoch, Appender::Client).unwrap();
        }
    };
    grow(&mut log, 60, 0);
    future.copy_from(&log.view(), usize::MAX, NOW).unwrap();
    settle(&mut future);
    log.truncate(45, NOW).unwrap();
    grow(&mut log, 90, 1);
    assert!(future.cut_to(&log.view(), NOW).unwrap());
    assert_eq!(future.end(), 45);
    copy_all(&log, &mut future);
    settle(&mut future);
    assert!(!future.cut_to(&log.view(), NOW).unwrap());
    assert_eq!(future.epochs(), log.epochs());
    assert_holds(&future, 0, 90);
    // All that the copy has is older than what is there.
    log.set_high_watermark(90);
    log.start_anew(200, NOW).unwrap();
    assert!(future.cut_to(&log.view(), NOW).unwrap());
    assert_eq!((future.start(), future.end()), (200, 200));
}

#[test]
fn what_a_crash_took_from_the_middle_does_not_come_back_with_the_copy() {
    // Before anybody looks at the copy, the log is flushed with its hole, and the node killed or stopped.
    for between in [&[][..], &[false], &[true], &[false, true]] {
        let mut place = Place::new();
        let n_kept = with_copy_and_torn(&place);
        place.restart();
        for is_clean in between {
            let (mut log, copy) = place.find_both();
            drop(copy);
            settle(&mut log);
            let home = place.directory(0);
            let point = Offsets::from([(id(), log.end())]);
            home.write_recovery_points(&point).unwrap();
            if *is_clean {
                home.write_closed(&[(id(), log.close().unwrap())]).unwrap();
                for directory in place.directories.all() {
                    directory.write_clean_shutdown(1).unwrap();
                }
            } else {
                drop(log);
            }
            drop(home);
            place.restart();
        }
        let (mut log, (target, how)) = place.find_both();
        let at_first = offsets(&log);
        assert_eq!((log.end(), at_first.len()), (150, n_kept), "{between:?}");
        log.flush().unwrap();
        let mut future = place.directories.open_future(&target, how).unwrap();
        assert!(future.cut_to(&log.view(), NOW).unwrap(), "{between:?}");
        copy_all(&log, &mut future);
        assert_eq!(offsets(&future), at_first, "{between:?}");
    }
}

/// A log of 150 records, flushed up to 45, with a copy that was about to take its place; then a power
/// cut took the end of a segment. How many records are left.
fn with_copy_and_torn(place: &Place) -> usize {
    let mut log = place.create(0, small());
    fill(&mut log, 45);
    settle(&mut log);
    let point = Offsets::from([(id(), log.recovery_point())]);
    place.directory(0).write_recovery_points(&point).unwrap();
    fill(&mut log, 150);
    let mut future = place.future(1, small());
    copy_all(&log, &mut future);
    settle(&mut future);
    let target = place.directory(1);
    let prepared = place.directories.prepare_swap(&target, &future, None);
    prepared.unwrap();
    let home = place.paths[0].join("t-0");
    let segments = files_ending(&home, ".log");
    let (torn, bytes) = segments.iter().nth_back(1).unwrap();
    assert!(torn.as_str() > "00000000000000000045.log");
    let sizes: Vec<usize> = batches(bytes).map(|it| it.unwrap().size()).collect();
    fs::write(home.join(torn), &bytes[..sizes[0]]).unwrap();
    150 - 3 * (sizes.len() - 1)
}

fn offsets(log: &Log) -> Vec<i64> {
    let records = read_all(&log.view(), Isolation::LogEnd);
    records.into_iter().map(|(offset, _)| offset).collect()
}

#[test]
fn what_was_deleted_before_it_was_copied_is_not_missed() {
    let place = Place::new();
    let mut log = place.create(0, small());
    fill(&mut log, 300);
    log.set_high_watermark(300);
    let mut future = place.future(1, small());
    future.copy_from(&log.view(), 1, NOW).unwrap();
    assert_eq!(future.end(), 3);
    // Into the middle of a batch.
    log.raise_start(151).unwrap();
    log.retain(NOW).unwrap();
    copy_all(&log, &mut future);
    assert!(future.has_all_of(&log));
    assert_holds(&future, 151, 300);
}

/// A read that is damaged on the way ends the copy, and the fault is the source's.
#[test]
fn a_corrupt_batch_is_not_copied() {
    let place = Place::new();
    let mut log = place.create(0, LogConfig::default());
    fill(&mut log, 30);
    log.flush().unwrap();
    let path = place.paths[0].join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 + 70;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let mut future = place.future(1, small());
    let not = loop {
        match future.copy_from(&log.view(), 1, NOW) {
            Ok(0) => panic!("it was copied"),
            Ok(_) => {}
            Err(not) => break not,
        }
    };
    assert!(not.is_source, "{not:?}");
    assert!(future.end() > 0 && future.end() < 30);
}

/// Lets the steps of a swap pass, and fails one and all after it, or some.
#[derive(Default)]
struct Renames {
    fails_from: AtomicU32,
    fails: Mutex<Vec<u32>>,
    n_seen: AtomicU32,
    /// Where a rename is that a power cut may take back.
    unsynced: Mutex<BTreeSet<PathBuf>>,
}

impl DiskFaults for Renames {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let from = self.fails_from.load(Ordering::Relaxed);
        let some = self.fails.lock().unwrap();
        let is_step = match call {
            DiskCall::Rename => path.file_name().is_some_and(|name| {
                let name = name.to_string_lossy();
                name == "t-0" || name.ends_with("-future") || name.ends_with("-delete")
            }),
            DiskCall::SyncDirectory => path.file_name().is_some_and(|n| n == "a" || n == "b"),
            _ => false,
        };
        if (from == 0 && some.is_empty()) || !is_step {
            return DiskVerdict::Proceed;
        }
        let step = self.n_seen.fetch_add(1, Ordering::Relaxed) + 1;
        if (from > 0 && step >= from) || some.contains(&step) {
            return DiskVerdict::Fail(std::io::ErrorKind::Other);
        }
        DiskVerdict::Proceed
    }

    fn after(&self, change: DiskChange<'_>) {
        let mut unsynced = self.unsynced.lock().unwrap();
        match change {
            DiskChange::Renamed { target, .. } => {
                unsynced.extend(target.parent().map(Path::to_owned));
            }
            DiskChange::DirectorySynced { path } => {
                unsynced.remove(path);
            }
            _ => {}
        }
    }
}

/// A log of 90 records, and its copy, which may take its place.
fn about_to_swap(faults: &Arc<Renames>) -> (Place, Log, Log) {
    let place = Place::over(Disk::breakable(faults.clone()));
    let mut log = place.create(0, small());
    fill(&mut log, 90);
    log.set_high_watermark(90);
    log.flush().unwrap();
    let mut future = place.future(1, small());
    copy_all(&log, &mut future);
    settle(&mut future);
    let target = place.directory(1);
    place
        .directories
        .prepare_swap(&target, &future, None)
        .unwrap();
    (place, log, future)
}

/// A process that dies at any step of the swap leaves a directory from which the next start takes
/// the whole log; renames that failed once are the same as a process that died.
#[test]
fn a_swap_that_is_cut_short_at_any_step_loses_nothing() {
    for step in 1..=5 {
        let faults = Arc::new(Renames::default());
        let (mut place, mut log, future) = about_to_swap(&faults);
        let (source, target) = (place.directory(0), place.directory(1));
        faults.fails_from.store(step, Ordering::Relaxed);
        let swap = Swap {
            current: &mut log,
            source: &source,
            future,
            target: &target,
        };
        let swapped = place.directories.swap(swap, NOW);
        assert_eq!(swapped.is_ok(), step == 5, "step {step}");
        faults.fails_from.store(0, Ordering::Relaxed);
        drop((log, swapped, source, target));
        place.restart();
        let found = place.directories.load(&|_| small(), 1, NOW).unwrap();
        assert_eq!(
            found.logs.len(),
            1,
            "step {step}: {:?} {:?}",
            place.names(0),
            place.names(1)
        );
        assert_holds(&found.logs[0].log, 0, 90);
    }
}

/// The log goes on where it was only if that outlives a power cut; else its directory fails.
#[test]
fn a_swap_that_comes_to_nothing_is_taken_back_for_good_or_the_directory_fails() {
    // Steps that fail, and whether the two directories go on without the caller's blame.
    let cases: &[(&[u32], [bool; 2])] = &[
        (&[2], [true, true]),
        (&[2, 4], [false, true]),
        (&[3], [true, true]),
        (&[3, 4], [false, true]),
        (&[3, 5], [false, true]),
        (&[4], [true, true]),
        (&[4, 6], [true, false]),
        (&[4, 8], [false, true]),
    ];
    for (failing, go_on) in cases {
        let faults = Arc::new(Renames::default());
        let (mut place, mut log, future) = about_to_swap(&faults);
        let (source, target) = (place.directory(0), place.directory(1));
        *faults.fails.lock().unwrap() = failing.to_vec();
        let swap = Swap {
            current: &mut log,
            source: &source,
            future,
            target: &target,
        };
        let not = place.directories.swap(swap, NOW).unwrap_err();
        faults.fails.lock().unwrap().clear();
        assert_eq!(Arc::ptr_eq(&not.failed, &source), failing[0] <= 2);
        let online = [source.is_online(), target.is_online()];
        assert_eq!(online, *go_on, "{failing:?}");
        let unsynced = faults.unsynced.lock().unwrap().clone();
        for (path, goes_on) in place.paths.iter().zip(go_on) {
            assert!(!(*goes_on && unsynced.contains(path)), "{failing:?}");
        }
        if !go_on[0] {
            continue;
        }
        fill(&mut log, 120);
        log.flush().unwrap();
        drop((log, not, source, target));
        place.restart();
        let found = place.directories.load(&|_| small(), 1, NOW).unwrap();
        assert_holds(&found.logs[0].log, 0, 120);
    }
}

/// A disk that is full, as far as one directory's checkpoints are concerned.
#[derive(Default)]
struct Full(AtomicBool);

impl DiskFaults for Full {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let is_checkpoint = path
            .to_string_lossy()
            .ends_with("a/recovery-point-offset-checkpoint.tmp");
        match call == DiskCall::Write && is_checkpoint && self.0.load(Ordering::Relaxed) {
            true => DiskVerdict::Fail(std::io::ErrorKind::StorageFull),
            false => DiskVerdict::Proceed,
        }
    }
}

#[test]
fn a_directory_that_a_replica_leaves_because_it_is_full_stays_online() {
    let faults = Arc::new(Full::default());
    let mut place = Place::over(Disk::breakable(faults.clone()));
    let mut log = place.create(0, small());
    fill(&mut log, 90);
    log.set_high_watermark(90);
    log.raise_start(50).unwrap();
    log.flush().unwrap();
    let at = |offset| Offsets::from([(id(), offset)]);
    let source = place.directory(0);
    source.write_recovery_points(&at(90)).unwrap();
    source.write_log_starts(&at(50)).unwrap();
    source.write_high_watermarks(&at(90)).unwrap();
    source.write_cleaned(&id(), 40).unwrap();
    let mut future = place.future(1, small());
    copy_all(&log, &mut future);
    faults.0.store(true, Ordering::Relaxed);
    let swapped = place.swap(&mut log, future);
    swapped.map_err(|not| not.fault).unwrap();
    assert!(source.is_online());
    fill(&mut log, 120);
    let files = [
        "recovery-point-offset-checkpoint",
        "log-start-offset-checkpoint",
        "replication-offset-checkpoint",
        "cleaner-offset-checkpoint",
    ];
    let stale = |place: &Place| files.map(|name| line(&place.paths[0], name));
    assert_eq!(stale(&place), [90, 50, 90, 40].map(Some));

    // The lines that stay say nothing of the log where it is now, nor of another one that comes.
    faults.0.store(false, Ordering::Relaxed);
    log.flush().unwrap();
    drop((log, source));
    place.restart();
    let loaded = place.directories.load(&|_| small(), 1, NOW).unwrap();
    assert_holds(&loaded.logs[0].log, 50, 120);
    let source = place.directory(0);
    source.write_recovery_points(&Offsets::new()).unwrap();
    source.write_log_starts(&Offsets::new()).unwrap();
    source.write_high_watermarks(&Offsets::new()).unwrap();
    assert_eq!(stale(&place), [None, None, None, Some(40)]);
    let copy = place.future(0, small());
    assert_eq!((copy.start(), stale(&place)), (0, [None; 4]));
}

#[test]
fn a_copy_that_is_found_goes_on_or_is_given_up() {
    let mut place = Place::new();
    let mut log = place.create(0, small());
    fill(&mut log, 90);
    log.set_high_watermark(90);
    log.flush().unwrap();
    let mut future = place.future(1, small());
    future.copy_from(&log.view(), 700, NOW).unwrap();
    let copied = future.end();
    assert!(copied < 90);
    drop((log, future));
    place.restart();
    let mut found = place
        .directories
        .find(&|_| small(), &|_, _| true, NOW)
        .unwrap();
    let mut futures = found.take_futures();
    assert_eq!((found.logs().count(), futures.len()), (1, 1));
    let (directory, how) = futures.remove(0);
    let future = place
        .directories
        .open_future(&directory, how.clone())
        .unwrap();
    assert_eq!(future.end(), copied);
    drop(future);
    place
        .directories
        .delete_found(&directory, &how, NOW)
        .unwrap();
    assert_eq!(place.names(1), ["t-0.delete"]);
    drop((directory, found));
    place.restart();
    let loaded = place.directories.load(&|_| small(), 1, NOW).unwrap();
    assert_holds(&loaded.logs[0].log, 0, 90);
}

#[test]
fn of_two_copies_one_goes_on_and_without_their_log_they_are_refused_by_name() {
    let mut place = Place::new();
    drop(place.create(0, small()));
    drop(place.future(1, small()));
    drop(place.future(1, small()));
    // Nor one that was not made to its end.
    let name = format!("t-0.{}-future", "0".repeat(32));
    fs::create_dir(place.paths[1].join(name)).unwrap();
    place.restart();
    let find = |place: &Place| {
        let directories = &place.directories;
        let mut found = directories.find(&|_| small(), &|_, _| false, NOW)?;
        Ok::<_, ottla_storage::Fault>((found.logs().count(), found.take_futures().len()))
    };
    assert_eq!(find(&place).unwrap(), (1, 1));
    let names = ["t-0.delete", "t-0.delete", "t-0.future"];
    assert_eq!(place.names(1), names);
    fs::remove_dir_all(place.paths[0].join("t-0")).unwrap();
    drop(place.future(0, small()));
    place.restart();
    let fault = find(&place).unwrap_err();
    assert!(fault.to_string().contains("t-0 is also in"), "{fault}");
}

#[test]
fn a_directory_that_was_taken_away_is_noticed() {
    let place = Place::new();
    let directory = place.directory(1);
    directory.probe().unwrap();
    fs::rename(&place.paths[1], place.paths[1].with_extension("away")).unwrap();
    let fault = directory.probe().unwrap_err();
    assert!(fault.to_string().contains("cannot look at"), "{fault}");
    fs::create_dir(&place.paths[1]).unwrap();
    let fault = directory.probe().unwrap_err();
    assert!(fault.to_string().contains("another directory"), "{fault}");
}

#[test]
fn nothing_is_read_where_there_is_nothing() {
    let place = Place::new();
    let log = place.create(0, small());
    let mut future = place.future(1, small());
    assert_eq!(future.copy_from(&log.view(), 1 << 20, NOW).unwrap(), 0);
    let from = ReadFrom {
        offset: 0,
        isolation: Isolation::LogEnd,
        max_bytes: 1,
        at_least_one: true,
        with_aborted: false,
    };
    assert!(future.view().read(from).unwrap().slice.is_none());
    assert!(future.has_all_of(&log));
}

//! Several log directories: what they must agree on, where logs go, how they come back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ottla_protocol::{TopicPartition, Uuid};
use ottla_storage::{
    Directories, Directory, Disk, DiskCall, DiskFaults, DiskVerdict, Fault, LogConfig,
    MetaProperties, NoEvents, Offsets, OpenDirectories,
};

use crate::stand::*;

fn meta(node_id: i32, cluster_id: &str, id: u128) -> MetaProperties {
    let directory_id = Some(Uuid::from_u128(id << 64));
    MetaProperties {
        cluster_id: cluster_id.into(),
        node_id,
        directory_id,
    }
}

/// Two formatted directories.
fn two() -> (tempfile::TempDir, Vec<PathBuf>) {
    let place = tempfile::tempdir().unwrap();
    let paths = vec![place.path().join("a"), place.path().join("b")];
    for (path, id) in paths.iter().zip([7, 8]) {
        Directory::format(&Disk::new(), path, &meta(1, "c", id)).unwrap();
    }
    (place, paths)
}

fn how(paths: &[PathBuf], disk: Disk) -> OpenDirectories {
    OpenDirectories {
        disk,
        paths: paths.to_vec(),
        metadata_path: paths[0].clone(),
        node_id: 1,
        events: Arc::new(NoEvents),
    }
}

fn open_two(paths: &[PathBuf]) -> Directories {
    Directories::open(how(paths, Disk::new())).unwrap()
}

fn refused(paths: &[PathBuf]) -> String {
    Directories::open(how(paths, Disk::new()))
        .err()
        .unwrap()
        .to_string()
}

fn set(path: &Path, meta: &MetaProperties) {
    meta.write(&Disk::new(), path).unwrap();
}

#[test]
fn logs_go_where_there_are_fewest_and_come_back() {
    let (_place, paths) = two();
    let directories = open_two(&paths);
    let mut logs = Vec::new();
    for i in 0..5 {
        let place = directories.place().unwrap();
        let topic_id = Uuid::from_u128(1000 + i as u128);
        let partition = TopicPartition::new("t", i);
        let mut log = directories
            .create_log(&place, partition, topic_id, small(), NOW)
            .unwrap();
        fill(&mut log, 30 * (i64::from(i) + 1));
        log.set_high_watermark(20);
        logs.push((place, log));
    }
    let counts: Vec<usize> = directories.all().iter().map(|d| d.n_logs()).collect();
    assert_eq!(counts, [3, 2]);
    let mut closed = [Vec::new(), Vec::new()];
    for (directory, log) in logs {
        let at = directories
            .all()
            .iter()
            .position(|d| d.id() == directory.id())
            .unwrap();
        let partition = log.partition().clone();
        closed[at].push((partition, log.close().unwrap()));
    }
    for (directory, closed) in directories.all().iter().zip(&closed) {
        directory.write_closed(closed).unwrap();
        directory.write_clean_shutdown(5).unwrap();
    }
    drop(directories);
    let directories = open_two(&paths);
    let loaded = directories.load(&|_| small(), 2, NOW).unwrap();
    assert_eq!(loaded.previous_broker_epoch, Some(5));
    let mut found: Vec<_> = loaded
        .logs
        .iter()
        .map(|l| {
            (
                l.log.partition().partition,
                l.log.end(),
                l.log.high_watermark(),
                l.log.topic_id(),
            )
        })
        .collect();
    found.sort();
    let expected: Vec<_> = (0..5)
        .map(|i| {
            (
                i,
                30 * (i64::from(i) + 1),
                20,
                Some(Uuid::from_u128(1000 + i as u128)),
            )
        })
        .collect();
    assert_eq!(found, expected);
    assert!(
        !paths[0].join(".kafka_cleanshutdown").exists(),
        "it holds for one start"
    );
}

#[test]
fn a_deleted_log_is_renamed_and_later_unlinked() {
    let (_place, paths) = two();
    let directories = open_two(&paths);
    let place = directories.place().unwrap();
    let partition = TopicPartition::new("t", 0);
    let create = || {
        directories
            .create_log(
                &place,
                partition.clone(),
                Uuid::from_u128(1000),
                small(),
                NOW,
            )
            .unwrap()
    };
    let mut log = create();
    fill(&mut log, 90);
    log.set_high_watermark(90);
    log.raise_start(80).unwrap();
    let offsets = [(partition.clone(), 80)].into_iter().collect();
    place.write_log_starts(&offsets).unwrap();
    place.write_recovery_points(&offsets).unwrap();
    directories.delete_log(&place, log, NOW).unwrap();
    let names = || -> Vec<String> {
        let entries = fs::read_dir(place.path()).unwrap().map(Result::unwrap);
        entries
            .filter(|e| e.file_type().unwrap().is_dir())
            .map(|e| e.file_name().into_string().unwrap())
            .collect()
    };
    assert!(
        names()[0].starts_with("t-0.") && names()[0].ends_with("-delete"),
        "{:?}",
        names()
    );
    // A new one of the same name knows nothing of the old one, not even after a crash.
    let mut log = create();
    fill(&mut log, 30);
    drop(log);
    directories.unlink_due(NOW + 59_999).unwrap();
    assert_eq!(names().len(), 2);
    drop((directories, place));
    let directories = open_two(&paths);
    let loaded = directories.load(&|_| small(), 2, NOW).unwrap();
    assert_holds(&loaded.logs[0].log, 0, 30);
    // Found at start, a deletion is not delayed again.
    directories.unlink_due(NOW).unwrap();
    assert_eq!(
        fs::read_dir(&paths[0])
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().is_dir())
            .count(),
        1
    );
}

/// The first removal fails.
struct OneFault(AtomicBool);

impl DiskFaults for OneFault {
    fn before(&self, call: DiskCall, path: &Path, _n_bytes: usize) -> DiskVerdict {
        let is_grave = path.to_string_lossy().ends_with("-delete");
        let is_removal = matches!(call, DiskCall::Remove) && is_grave;
        match is_removal && self.0.swap(false, Ordering::Relaxed) {
            true => DiskVerdict::Fail(std::io::ErrorKind::Other),
            false => DiskVerdict::Proceed,
        }
    }
}

#[test]
fn a_fault_of_one_removal_holds_up_no_other_and_is_tried_again() {
    let (_place, paths) = two();
    let faults = Arc::new(OneFault(true.into()));
    let directories = Directories::open(how(&paths, Disk::breakable(faults))).unwrap();
    let place = directories.place().unwrap();
    for index in 0..3 {
        let partition = TopicPartition::new("t", index);
        let log = directories
            .create_log(&place, partition, Uuid::from_u128(1000), small(), NOW)
            .unwrap();
        directories.delete_log(&place, log, NOW).unwrap();
    }
    let n_graves = || {
        let entries = fs::read_dir(place.path()).unwrap().map(Result::unwrap);
        entries.filter(|e| e.path().is_dir()).count()
    };
    assert_eq!(n_graves(), 3);
    directories.unlink_due(NOW + 60_000).unwrap_err();
    assert_eq!(n_graves(), 1, "the others are gone");
    directories.unlink_due(NOW + 60_000).unwrap();
    assert_eq!(n_graves(), 0);
}

/// Fails calls of one kind about files whose name ends so, from when it is told to.
struct FailsNamed {
    call: DiskCall,
    ending: &'static str,
    kind: std::io::ErrorKind,
    is_on: AtomicBool,
}

impl DiskFaults for FailsNamed {
    fn before(&self, call: DiskCall, path: &Path, _n_bytes: usize) -> DiskVerdict {
        let is_meant = call == self.call && path.to_string_lossy().ends_with(self.ending);
        match is_meant && self.is_on.load(Ordering::Relaxed) {
            true => DiskVerdict::Fail(self.kind),
            false => DiskVerdict::Proceed,
        }
    }
}

#[test]
fn logs_that_were_deleted_free_their_room_whatever_else_fails() {
    use std::io::ErrorKind::{Other, StorageFull};
    // What fails, how, and how many logs keep their name.
    let point = "recovery-point-offset-checkpoint.tmp";
    for (call, ending, kind, n_left) in [
        (DiskCall::Write, point, StorageFull, 0),
        (DiskCall::Rename, "t-1", Other, 1),
        (DiskCall::SyncDirectory, "a", Other, 0),
    ] {
        let (_place, paths) = two();
        let faults = Arc::new(FailsNamed {
            call,
            ending,
            kind,
            is_on: false.into(),
        });
        let disk = Disk::breakable(faults.clone());
        let directories = Directories::open(how(&paths, disk)).unwrap();
        let place = &directories.all()[0];
        let mut points = Offsets::new();
        let logs = (0..3).map(|index| {
            let partition = TopicPartition::new("t", index);
            points.insert(partition.clone(), 0);
            directories
                .create_log(place, partition, Uuid::from_u128(1000), small(), NOW)
                .unwrap()
        });
        let logs = logs.collect();
        place.write_recovery_points(&points).unwrap();
        faults.is_on.store(true, Ordering::Relaxed);
        let fault = directories.delete_logs(place, logs, NOW).unwrap_err();
        assert_eq!(fault.is_passing(), kind == StorageFull, "{fault}");
        assert_eq!(place.n_logs(), n_left);
        let n_there = || {
            let entries = fs::read_dir(place.path()).unwrap().map(Result::unwrap);
            entries.filter(|e| e.path().is_dir()).count()
        };
        assert_eq!(n_there(), 3);
        directories.unlink_due(NOW + 60_000).unwrap();
        assert_eq!(n_there(), n_left, "{fault}");
    }
}

#[test]
fn strays_are_set_aside_and_not_loaded() {
    let (_place, paths) = two();
    let directories = open_two(&paths);
    let place = directories.place().unwrap();
    let partition = TopicPartition::new("t", 0);
    let log = directories
        .create_log(&place, partition, Uuid::from_u128(1000), small(), NOW)
        .unwrap();
    directories.set_aside(&place, log).unwrap();
    assert_eq!(place.n_logs(), 0);
    drop((directories, place));
    let directories = open_two(&paths);
    assert!(
        directories
            .load(&|_| small(), 2, NOW)
            .unwrap()
            .logs
            .is_empty()
    );
    directories.unlink_due(i64::MAX).unwrap();
    let strays = fs::read_dir(&paths[0])
        .unwrap()
        .filter(|e| {
            e.as_ref()
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .ends_with("-stray")
        })
        .count();
    assert_eq!(strays, 1);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (_place, paths) = two();
    let held = open_two(&paths);
    assert!(refused(&paths).contains("another process is using this directory"));
    drop(held);
    set(&paths[1], &meta(2, "c", 8));
    assert!(refused(&paths).contains("it belongs to node 2, this is node 1"));
    set(&paths[1], &meta(1, "d", 8));
    assert!(refused(&paths).contains("it belongs to cluster d, the metadata log to c"));
    set(&paths[1], &meta(1, "c", 7));
    assert!(refused(&paths).contains("it has the same directory.id as"));
    set(&paths[1], &meta(1, "c", 8));
    fs::create_dir(paths[1].join("__cluster_metadata-0")).unwrap();
    assert!(refused(&paths).contains("it has a metadata log, which must be in"));
    fs::remove_dir(paths[1].join("__cluster_metadata-0")).unwrap();
    fs::remove_file(paths[0].join("meta.properties")).unwrap();
    assert!(refused(&paths).contains("is not formatted"));
}

#[test]
fn a_directory_that_is_no_partition_s_is_refused() {
    let (_place, paths) = two();
    fs::create_dir(paths[1].join("backup")).unwrap();
    fs::create_dir(paths[1].join("lost+found")).unwrap();
    let directories = open_two(&paths);
    let fault = directories.load(&|_| small(), 1, NOW).err().unwrap();
    assert!(
        fault
            .to_string()
            .contains("backup: it is not in the form topic-partition"),
        "{fault}"
    );
}

#[test]
fn a_log_in_two_directories_is_refused() {
    let (_place, paths) = two();
    for path in &paths {
        fs::create_dir(path.join("t-0")).unwrap();
    }
    let fault = open_two(&paths).load(&|_| small(), 1, NOW).err().unwrap();
    assert!(fault.to_string().contains("t-0 is also in"), "{fault}");
}

#[test]
fn an_unformatted_data_directory_is_formatted_like_the_others() {
    let (_place, paths) = two();
    fs::remove_file(paths[1].join("meta.properties")).unwrap();
    let mut old = meta(1, "c", 7);
    old.directory_id = None;
    set(&paths[0], &old);
    let ids: Vec<Uuid> = open_two(&paths).all().iter().map(|d| d.id()).collect();
    assert!(ids[0] != ids[1] && ids.iter().all(|id| !id.is_reserved()));
    let again: Vec<Uuid> = open_two(&paths).all().iter().map(|d| d.id()).collect();
    assert_eq!(ids, again);
    assert!(Directory::format(&Disk::new(), &paths[0], &old).is_err());
    assert!(!Directory::is_unused(&Disk::new(), &paths[0]).unwrap());
}

/// Fails everything in one directory.
struct Dead(PathBuf);

impl DiskFaults for Dead {
    fn before(&self, _call: DiskCall, path: &Path, _n_bytes: usize) -> DiskVerdict {
        if path.starts_with(&self.0) {
            DiskVerdict::Fail(std::io::ErrorKind::Other)
        } else {
            DiskVerdict::Proceed
        }
    }
}

#[test]
fn a_directory_that_fails_is_offline_and_the_other_serves() {
    let (_place, paths) = two();
    let directories = open_two(&paths);
    for (i, directory) in directories.all().iter().enumerate() {
        let partition = TopicPartition::new("t", i as i32);
        let mut log = directories
            .create_log(directory, partition, Uuid::from_u128(1000), small(), NOW)
            .unwrap();
        fill(&mut log, 30);
    }
    drop(directories);
    // Dead from the start, or only one of its logs.
    for dead in [paths[1].clone(), paths[1].join("t-1")] {
        let disk = Disk::breakable(Arc::new(Dead(dead)));
        let directories = Directories::open(how(&paths, disk)).unwrap();
        let loaded = directories.load(&|_| small(), 2, NOW).unwrap();
        assert_eq!(loaded.logs.len(), 1);
        assert_holds(&loaded.logs[0].log, 0, 30);
        let online: Vec<bool> = directories.all().iter().map(|d| d.is_online()).collect();
        assert_eq!(online.iter().filter(|it| **it).count(), 1);
        assert_eq!(directories.place().unwrap().path(), paths[0]);
    }
    let disk = Disk::breakable(Arc::new(Dead(paths[0].clone())));
    let fault = Directories::open(how(&paths, disk)).err().unwrap();
    assert!(
        matches!(fault, Fault::Io { .. }),
        "without the metadata directory nothing goes"
    );
}

#[test]
fn many_logs_come_back_after_a_crash() {
    let (_place, paths) = two();
    let directories = open_two(&paths);
    for i in 0..200 {
        let place = directories.place().unwrap();
        let partition = TopicPartition::new("t", i);
        let mut log = directories
            .create_log(
                &place,
                partition,
                Uuid::from_u128(1000),
                LogConfig::default(),
                NOW,
            )
            .unwrap();
        append(&mut log, &records(0, 3)).unwrap();
    }
    drop(directories);
    let directories = open_two(&paths);
    assert_eq!(
        directories
            .load(&|_| LogConfig::default(), 2, NOW)
            .unwrap()
            .logs
            .len(),
        200
    );
}

#[test]
fn what_is_foreign_is_left_alone_and_a_link_to_nothing_is_a_fault_of_its_name() {
    let (_place, paths) = two();
    let partition = |name: &str| paths[1].join("t-0").join(name);
    let directories = open_two(&paths);
    let other = &directories.all()[1];
    let id = TopicPartition::new("t", 0);
    let mut log = directories
        .create_log(other, id, Uuid::from_u128(1000), small(), NOW)
        .unwrap();
    fill(&mut log, 90);
    drop((log, directories));
    for name in [
        "notes.txt",
        "1.log",
        "abc.index",
        "000000000000000000001.log",
    ] {
        fs::write(partition(name), "what is this").unwrap();
    }
    fs::write(paths[1].join("notes.txt"), "what is this").unwrap();
    std::os::unix::fs::symlink("/nowhere", paths[1].join("u-0")).unwrap();
    let load = || {
        let directories = open_two(&paths);
        let loaded = directories.load(&|_| small(), 1, NOW).unwrap();
        (directories, loaded.logs)
    };
    let (directories, logs) = load();
    assert_holds(&logs[0].log, 0, 90);
    drop((directories, logs));
    assert_eq!(fs::read(partition("1.log")).unwrap(), b"what is this");

    // A segment that was moved to another place works through a link, and not without what it names.
    let (name, elsewhere) = ("00000000000000000000.log", paths[0].join("moved"));
    fs::rename(partition(name), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, partition(name)).unwrap();
    let (directories, logs) = load();
    assert_holds(&logs[0].log, 0, 90);
    drop((directories, logs));
    fs::remove_file(&elsewhere).unwrap();
    let (directories, logs) = load();
    assert!(logs.is_empty());
    let why = directories.all()[1].offline_because().unwrap();
    assert!(why.contains(name), "{why}");
    assert!(
        partition("00000000000000000000.index").exists(),
        "nothing is removed"
    );
}

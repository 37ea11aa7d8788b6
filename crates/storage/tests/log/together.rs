//! Many logs at once: made, closed and deleted with few waits for the disk, and no less safely.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::{TopicPartition, Uuid};
use ottla_storage::{
    Directories, Directory, Disk, DiskCall, DiskFaults, DiskVerdict, LoadedLog, MetaProperties,
    NewLog, NoEvents, OpenDirectories, Progress,
};
use parking_lot::Mutex;

use crate::stand::*;

/// More than are synced one by one.
const MANY: i32 = 70;

fn directories(path: &Path, disk: Disk) -> Directories {
    if !path.exists() {
        let meta = MetaProperties {
            node_id: 1,
            cluster_id: "c".into(),
            directory_id: Some(Uuid::from_u128(7 << 64)),
        };
        Directory::format(&Disk::new(), path, &meta).unwrap();
    }
    Directories::open(OpenDirectories {
        disk,
        paths: vec![path.to_owned()],
        metadata_path: path.to_owned(),
        node_id: 1,
        events: Arc::new(NoEvents),
    })
    .unwrap()
}

fn new(n: i32) -> Vec<NewLog> {
    let log = |i| NewLog {
        partition: TopicPartition::new("t", i),
        topic_id: Uuid::from_u128(1000),
        config: small(),
        directory: None,
    };
    (0..n).map(log).collect()
}

/// What was synced, and what was done to files and names that is not synced yet.
#[derive(Default)]
struct Ledger {
    unsynced: Mutex<BTreeSet<PathBuf>>,
    fail_syncs_of: Mutex<Option<&'static str>>,
}

impl DiskFaults for Ledger {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let mut unsynced = self.unsynced.lock();
        let parent = path.parent().unwrap().to_owned();
        match call {
            DiskCall::Create | DiskCall::Rename | DiskCall::MakeDirectory => {
                unsynced.insert(parent);
            }
            DiskCall::Write => {
                unsynced.insert(path.to_owned());
            }
            DiskCall::Sync | DiskCall::SyncDirectory => {
                let broken = *self.fail_syncs_of.lock();
                if broken.is_some_and(|name| path.to_string_lossy().contains(name)) {
                    return DiskVerdict::Fail(ErrorKind::Other);
                }
                unsynced.remove(path);
            }
            _ => {}
        }
        if call == DiskCall::Rename {
            // The bytes go on under the new name, and must be safe before they take it.
            assert!(
                !unsynced.contains(path),
                "{} is renamed unsynced",
                path.display()
            );
        }
        DiskVerdict::Proceed
    }
}

#[test]
fn logs_that_are_made_together_are_synced_with_all_their_names() {
    for n in [1, 3, MANY] {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        let ledger = Arc::new(Ledger::default());
        let disk = Disk::breakable(Arc::clone(&ledger) as Arc<dyn DiskFaults>);
        let directories = directories(&path, disk);
        ledger.unsynced.lock().clear();
        let made = directories.create_logs(new(n), NOW);
        assert!(made.iter().all(Result::is_ok));
        let left = ledger.unsynced.lock().clone();
        assert!(left.is_empty(), "{n} logs: {left:?}");
        let needs_flush = |loaded: &LoadedLog| loaded.log.flush_plan().unwrap().is_some();
        assert!(!made.iter().flatten().any(needs_flush));
        assert_eq!(directories.all()[0].n_logs(), n as usize);
    }
}

#[test]
fn one_log_that_cannot_be_synced_does_not_spoil_the_others() {
    for broken in ["t-1/partition.metadata.tmp", "t-1/00000000000000000000.log"] {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        let ledger = Arc::new(Ledger::default());
        let disk = Disk::breakable(Arc::clone(&ledger) as Arc<dyn DiskFaults>);
        let directories = directories(&path, disk);
        *ledger.fail_syncs_of.lock() = Some(broken);
        let made = directories.create_logs(new(3), NOW);
        let outcomes: Vec<bool> = made.iter().map(Result::is_ok).collect();
        assert_eq!(outcomes, [true, false, true], "{broken}");
        assert_eq!(directories.all()[0].n_logs(), 2);
    }
}

#[test]
fn many_logs_come_back_from_an_orderly_end_and_from_a_crash() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    let first = directories(&path, Disk::new());
    let made = first.create_logs(new(MANY), NOW);
    let mut logs = Vec::new();
    for (i, loaded) in made.into_iter().enumerate() {
        let mut log = loaded.unwrap().log;
        fill(&mut log, 3 * i as i64);
        logs.push(log);
    }
    let directory = Arc::clone(&first.all()[0]);
    let closed: Vec<_> = directory
        .close_together(logs)
        .into_iter()
        .map(|(id, closed)| (id, closed.unwrap()))
        .collect();
    directory.write_closed(&closed).unwrap();
    directory.write_clean_shutdown(5).unwrap();
    drop((first, directory));
    for is_clean in [true, false] {
        let again = directories(&path, Disk::new());
        let found = again.find(&|_| small(), &|_, _| false, NOW).unwrap();
        assert_eq!(found.previous_broker_epoch, is_clean.then_some(5));
        assert_eq!(found.logs().count(), MANY as usize);
        let progress = Progress::default();
        let ends = Mutex::new(Vec::new());
        again.open_found(found, 2, &progress, &|opened| {
            let LoadedLog { mut log, .. } = opened.unwrap();
            assert_eq!(log.topic_id(), Some(Uuid::from_u128(1000)));
            assert_holds(&log, 0, log.end());
            // Not closed: the next round finds what a crash leaves.
            fill(&mut log, 3 * i64::from(MANY));
            ends.lock().push((log.partition().partition, log.end()));
        });
        assert_eq!((progress.n_done(), progress.n_bytes_left()), (70, 0));
        assert_eq!(ends.into_inner().len(), MANY as usize);
    }
}

#[test]
fn opening_ends_when_it_is_told_to() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    let first = directories(&path, Disk::new());
    assert!(first.create_logs(new(9), NOW).iter().all(Result::is_ok));
    drop(first);
    let again = directories(&path, Disk::new());
    let found = again.find(&|_| small(), &|_, _| false, NOW).unwrap();
    let progress = Progress::default();
    again.open_found(found, 1, &progress, &|_| progress.stop());
    assert_eq!((progress.n_done(), progress.n_logs()), (1, 9));
}

#[test]
fn logs_that_are_deleted_together_are_unlinked_together() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    let directories = directories(&path, Disk::new());
    let made = directories.create_logs(new(9), NOW);
    let logs: Vec<_> = made.into_iter().map(|loaded| loaded.unwrap().log).collect();
    let directory = Arc::clone(&directories.all()[0]);
    directories.delete_logs(&directory, logs, NOW).unwrap();
    assert_eq!(directory.n_logs(), 0);
    let n_left = || {
        let entries = std::fs::read_dir(&path).unwrap().map(Result::unwrap);
        entries.filter(|entry| entry.path().is_dir()).count()
    };
    assert_eq!(n_left(), 9, "they are renamed");
    directories.unlink_due(NOW + 60_000).unwrap();
    assert_eq!(n_left(), 0);
}

/// A disk on which one log keeps its name.
struct KeepsName;

impl DiskFaults for KeepsName {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        match call == DiskCall::Rename && path.ends_with("t-3") {
            true => DiskVerdict::Fail(ErrorKind::PermissionDenied),
            false => DiskVerdict::Proceed,
        }
    }
}

#[test]
fn a_log_that_cannot_be_deleted_keeps_no_other_from_it() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("a");
    let directories = directories(&path, Disk::breakable(Arc::new(KeepsName)));
    let made = directories.create_logs(new(9), NOW);
    let logs: Vec<_> = made.into_iter().map(|loaded| loaded.unwrap().log).collect();
    let directory = Arc::clone(&directories.all()[0]);
    assert!(directories.delete_logs(&directory, logs, NOW).is_err());
    assert_eq!(directory.n_logs(), 1);
    directories.unlink_due(NOW + 60_000).unwrap();
    let entries = std::fs::read_dir(&path).unwrap().map(Result::unwrap);
    let left: Vec<_> = entries.filter(|entry| entry.path().is_dir()).collect();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].file_name(), "t-3");
}

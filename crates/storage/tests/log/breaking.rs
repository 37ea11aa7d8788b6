//! Disks that fail: whatever call, whenever, what was appended stays and what was not is not there.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::compress::Codec;
use ottla_storage::producer::Appender;
use ottla_storage::{
    Disk, DiskCall, DiskFaults, DiskVerdict, Fault, Isolation, Log, LogConfig, NotDone, OpenLog,
};
use parking_lot::Mutex;

use crate::stand::*;

/// Fails the calls that a rule picks.
struct Broken {
    n_calls: AtomicUsize,
    is_armed: AtomicBool,
    #[allow(clippy::type_complexity)]
    rule: Mutex<Box<dyn FnMut(usize, DiskCall, &Path, usize) -> DiskVerdict + Send>>,
}

impl Broken {
    fn by(
        rule: impl FnMut(usize, DiskCall, &Path, usize) -> DiskVerdict + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            n_calls: AtomicUsize::new(0),
            is_armed: AtomicBool::new(true),
            rule: Mutex::new(Box::new(rule)),
        })
    }

    fn heal(&self) {
        self.is_armed.store(false, Ordering::Relaxed);
    }

    fn disk(self: &Arc<Self>) -> Disk {
        Disk::breakable(Arc::clone(self) as Arc<dyn DiskFaults>)
    }
}

impl DiskFaults for Broken {
    fn before(&self, call: DiskCall, path: &Path, n_bytes: usize) -> DiskVerdict {
        if !self.is_armed.load(Ordering::Relaxed) {
            return DiskVerdict::Proceed;
        }
        let n = self.n_calls.fetch_add(1, Ordering::Relaxed);
        (self.rule.lock())(n, call, path, n_bytes)
    }
}

fn open_on(place: &Path, disk: Disk, recovery_point: i64) -> Result<Log, Fault> {
    Log::open(OpenLog {
        recovery_point,
        ..how(place, small(), disk)
    })
}

/// Appends, rolls, flushes and cuts until it is done or the disk fails; returns how far records
/// were accepted and how far they were flushed.
fn work(log: &mut Log) -> (i64, i64, Option<Fault>) {
    let mut accepted = log.end();
    while log.end() < 60 {
        match append(log, &records(accepted, 3)) {
            Ok(outcome) => accepted = outcome.last_offset + 1,
            Err(NotDone::Fault(fault)) => return (accepted, log.flushed(), Some(fault)),
            Err(refused) => panic!("{refused}"),
        }
        if accepted % 15 == 0
            && let Err(fault) = log.flush()
        {
            return (accepted, log.flushed(), Some(fault));
        }
    }
    (accepted, log.flushed(), None)
}

#[test]
fn any_call_may_fail_and_a_restart_finds_what_was_accepted() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        for fail_at in 0.. {
            let place = tempfile::tempdir().unwrap();
            let broken = Broken::by(move |n, _, _, _| {
                if n == fail_at {
                    DiskVerdict::Fail(kind)
                } else {
                    DiskVerdict::Proceed
                }
            });
            let (accepted, flushed, fault) = match open_on(place.path(), broken.disk(), 0) {
                Ok(mut log) => work(&mut log),
                Err(fault) => (0, 0, Some(fault)),
            };
            let log = open_on(place.path(), Disk::new(), flushed).unwrap();
            assert!(flushed <= accepted);
            assert_holds(&log, 0, accepted);
            if fault.is_none() {
                assert!(fail_at > 50, "{fail_at} calls were enough");
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    for fail_at in 0.. {
        let place = tempfile::tempdir().unwrap();
        let broken = Broken::by(move |n, call, _, _| {
            let takes_room = matches!(call, DiskCall::Write | DiskCall::Create);
            if n >= fail_at && takes_room {
                DiskVerdict::Fail(ErrorKind::StorageFull)
            } else {
                DiskVerdict::Proceed
            }
        });
        let Ok(mut log) = open_on(place.path(), broken.disk(), 0) else {
            continue;
        };
        let (accepted, _, fault) = work(&mut log);
        let Some(fault) = fault else { break };
        assert!(matches!(fault, Fault::OutOfSpace { .. }), "{fault}");
        assert!(append(&mut log, &records(accepted, 3)).is_err());
        assert_holds(&log, 0, accepted);
        broken.heal();
        let (accepted, _, fault) = work(&mut log);
        assert!(
            fault.is_none(),
            "failed at call {fail_at}, and again: {fault:?}"
        );
        assert_holds(&log, 0, accepted);
        log.flush().unwrap();
        drop(log);
        assert_holds(
            &open_on(place.path(), Disk::new(), accepted).unwrap(),
            0,
            accepted,
        );
    }
}

#[test]
fn a_write_may_come_in_pieces_and_stop_in_the_middle() {
    for stop_after in 0..40 {
        let place = tempfile::tempdir().unwrap();
        let mut n_pieces = 0;
        let broken = Broken::by(move |_, call, path, _| {
            if call != DiskCall::Write || path.extension().is_none_or(|e| e != "log") {
                return DiskVerdict::Proceed;
            }
            n_pieces += 1;
            if n_pieces <= 20 + stop_after {
                DiskVerdict::Short(13)
            } else {
                DiskVerdict::Fail(ErrorKind::StorageFull)
            }
        });
        let mut log = open_on(place.path(), broken.disk(), 0).unwrap();
        let (accepted, _, fault) = work(&mut log);
        assert!(fault.is_some());
        assert_holds(&log, 0, accepted);
        let on_disk: u64 = files_ending(place.path(), ".log")
            .values()
            .map(|bytes| bytes.len() as u64)
            .sum();
        assert_eq!(on_disk, log.size(), "the torn piece was taken back");
        broken.heal();
        work(&mut log);
        assert_holds(&log, 0, 60);
    }
}

#[test]
fn a_failed_sync_poisons() {
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        check_failed_sync(kind);
    }
}

fn check_failed_sync(kind: ErrorKind) {
    let place = tempfile::tempdir().unwrap();
    let broken = Broken::by(move |_, call, _, _| match call {
        DiskCall::Sync => DiskVerdict::Fail(kind),
        _ => DiskVerdict::Proceed,
    });
    broken.heal();
    let mut log = open_on(place.path(), broken.disk(), 0).unwrap();
    fill(&mut log, 30);
    let target = log.flush_plan().unwrap().unwrap();
    broken.is_armed.store(true, Ordering::Relaxed);
    let fault = target.sync().unwrap_err();
    assert!(!fault.is_passing(), "{fault}");
    log.poison(&fault);
    broken.heal();
    // A later one that succeeds would prove nothing, and is not asked for.
    target.sync().unwrap_err();
    log.flushed_to(&target);
    assert_eq!(log.flushed(), 0);
    let refused = append(&mut log, &records(30, 3)).unwrap_err();
    assert!(
        matches!(refused, NotDone::Fault(Fault::Poisoned { .. })),
        "{refused}"
    );
    assert!(log.flush().is_err());
    assert_holds(&log, 0, 30);
    assert!(log.close().is_err());
}

#[test]
fn an_error_while_writing_poisons() {
    let place = tempfile::tempdir().unwrap();
    let broken = Broken::by(|_, call, _, _| match call {
        DiskCall::Write => DiskVerdict::Fail(ErrorKind::Other),
        _ => DiskVerdict::Proceed,
    });
    broken.heal();
    let mut log = open_on(place.path(), broken.disk(), 0).unwrap();
    fill(&mut log, 30);
    broken.is_armed.store(true, Ordering::Relaxed);
    assert!(append(&mut log, &records(30, 3)).is_err());
    broken.heal();
    let refused = append(&mut log, &records(30, 3)).unwrap_err();
    assert!(
        matches!(refused, NotDone::Fault(Fault::Poisoned { .. })),
        "{refused}"
    );
    assert_holds(&log, 0, 30);
}

#[test]
fn a_flush_covers_what_was_there_when_it_was_planned() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    fill(&mut log, 3);
    let first = log.flush_plan().unwrap().unwrap();
    assert!(
        first.directories().len() == 2,
        "a new log is a new name, in two directories"
    );
    fill(&mut log, 60);
    let second = log.flush_plan().unwrap().unwrap();
    first.sync().unwrap();
    assert_eq!(log.flushed_to(&first), 3);
    assert!(log.recovery_point() <= 3);
    second.sync().unwrap();
    assert_eq!(log.flushed_to(&second), 60);
    assert_eq!(log.recovery_point(), 0, "the indexes may be missing");
    let third = log.recovery_plan().unwrap().unwrap();
    fill(&mut log, 63);
    third.sync().unwrap();
    assert_eq!((log.flushed_to(&third), log.recovery_point()), (60, 60));
    log.flush().unwrap();
    assert_eq!((log.flushed(), log.recovery_point()), (63, 60));
    assert!(log.flush_plan().unwrap().is_none());
    fill(&mut log, 66);
    log.flush().unwrap();
    fill(&mut log, 69);
    let third = log.flush_plan().unwrap().unwrap();
    assert!(third.is_one_file());
    // A truncation in between: the target speaks of records that are gone.
    log.truncate(30, NOW).unwrap();
    fill(&mut log, 69);
    third.sync().unwrap();
    assert_eq!(log.flushed_to(&third), 30);
    assert_eq!(log.view().flushed(), 30);
}

#[test]
fn flushes_fall_due_by_records_and_by_time() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        flush_messages: 10,
        flush_ms: 1000,
        ..LogConfig::default()
    };
    let mut log = open(place.path(), config);
    assert!(!log.flush_is_due(NOW + 5000));
    assert!(!append(&mut log, &records(0, 9)).unwrap().flush_is_due);
    assert!(!log.flush_is_due(NOW + 999));
    assert!(log.flush_is_due(NOW + 1000));
    assert!(append(&mut log, &records(9, 1)).unwrap().flush_is_due);
    log.flush().unwrap();
    assert!(!log.flush_is_due(NOW + 5000));
}

fn transactional(producer: i64, first: i64) -> Bytes {
    let builder = BatchBuilder::data(Codec::None);
    records_with(builder.producer(producer, 0, 0).transactional(), first, 2)
}

/// The producers whose transactions a reader is told to skip.
fn who_aborted(log: &Log) -> Vec<i64> {
    let aborted = aborted(log, Isolation::LastStable);
    aborted.iter().map(|it| it.producer_id).collect()
}

/// Wherever the disk is full while a transaction is given up, it stays open, and can be given up
/// when there is room: never a marker whose transaction the index does not know.
#[test]
fn a_full_disk_leaves_no_half_of_an_abort() {
    const ABORT: EndMarker = EndMarker {
        is_commit: false,
        coordinator_epoch: 0,
    };
    let abort = |log: &mut Log, n: i64| {
        let marker = ABORT.batch(n, 0, NOW);
        append_in(log, &marker, 0, Appender::Coordinator)
    };
    for verdict in [
        DiskVerdict::Fail(ErrorKind::StorageFull),
        DiskVerdict::NoDescriptor,
    ] {
        let mut n_refused = 0;
        for fail_at in 0.. {
            let place = tempfile::tempdir().unwrap();
            let broken = Broken::by(move |n, call, _, _| {
                let takes_room = matches!(call, DiskCall::Write | DiskCall::Create);
                if n >= fail_at && takes_room {
                    verdict
                } else {
                    DiskVerdict::Proceed
                }
            });
            broken.heal();
            let mut log = open_on(place.path(), broken.disk(), 0).unwrap();
            for producer in 1..=3 {
                let first = log.end();
                append(&mut log, &transactional(producer, first)).unwrap();
            }
            broken.is_armed.store(true, Ordering::Relaxed);
            let (end, refused) = (log.end(), abort(&mut log, 1).is_err());
            broken.heal();
            if refused {
                n_refused += 1;
                assert_eq!(log.end(), end);
                abort(&mut log, 1).unwrap();
            }
            abort(&mut log, 2).unwrap();
            abort(&mut log, 3).unwrap();
            log.flush().unwrap();
            log.set_high_watermark(log.end());
            assert_eq!(who_aborted(&log), [1, 2, 3]);
            assert_eq!(log.last_stable(), log.end());
            drop(log);
            let mut log = open_on(place.path(), Disk::new(), 0).unwrap();
            log.set_high_watermark(log.end());
            assert_eq!(who_aborted(&log), [1, 2, 3], "read again");
            if !refused {
                break;
            }
        }
        assert!(n_refused >= 1, "nothing failed");
    }
}

/// One segment of many index entries, more than wait in memory.
fn open_wide(place: &Path, broken: &Arc<Broken>) -> Log {
    let config = LogConfig {
        index_interval_bytes: 200,
        ..LogConfig::default()
    };
    Log::open(how(place, config, broken.disk())).unwrap()
}

/// Appends until the index takes no more.
fn fill_up(log: &mut Log, each: impl Fn(&mut Log)) {
    let room = 100_000;
    while log.size() < room {
        each(log);
        let batch = records(log.end(), 3);
        if append(log, &batch).is_err() {
            return;
        }
    }
    panic!("nothing was refused");
}

/// Refuses to write indexes, as if the disk had got full behind the batch.
fn full_behind_the_batch() -> Arc<Broken> {
    let broken = Broken::by(|_, call, path, _| {
        let is_index = path.extension().is_some_and(|e| e == "index");
        match call == DiskCall::Write && is_index {
            true => DiskVerdict::Fail(ErrorKind::StorageFull),
            false => DiskVerdict::Proceed,
        }
    });
    broken.heal();
    broken
}

#[test]
fn what_was_taken_back_must_be_gone_from_the_disk_too() {
    let place = tempfile::tempdir().unwrap();
    let broken = full_behind_the_batch();
    let mut log = open_wide(place.path(), &broken);
    broken.is_armed.store(true, Ordering::Relaxed);
    fill_up(&mut log, |log| {
        log.flush().unwrap();
        assert!(log.flush_plan().unwrap().is_none());
    });
    assert_eq!(log.end(), log.flushed());
    let plan = log.flush_plan().unwrap();
    assert!(plan.is_some(), "it may come back with the power");
    log.flush().unwrap();
    assert!(log.flush_plan().unwrap().is_none());
}

#[test]
fn what_is_in_the_log_is_flushed_though_the_disk_is_full() {
    let place = tempfile::tempdir().unwrap();
    let broken = full_behind_the_batch();
    let mut log = open_wide(place.path(), &broken);
    broken.is_armed.store(true, Ordering::Relaxed);
    fill_up(&mut log, |_| {});
    assert!(log.flushed() < log.end());
    log.flush().unwrap();
    assert_eq!(log.flushed(), log.end());
    // The index has to wait for room, and so has the recovery point.
    assert!(log.recovery_plan().is_err());
    broken.heal();
    settle(&mut log);
    let end = log.end();
    drop(log);
    let log = open_wide(place.path(), &broken);
    assert_eq!(log.end(), end);
}

#[test]
fn batches_that_came_to_nothing_leave_no_epoch() {
    let of_epoch = |base, epoch| {
        let builder = BatchBuilder::data(Codec::None);
        let mut builder = builder.base_offset(base).leader_epoch(epoch);
        builder.push(NOW, None, Some(&[b'v'; 200]));
        builder.finish()
    };
    let place = tempfile::tempdir().unwrap();
    let broken = full_behind_the_batch();
    let mut log = open_on(place.path(), broken.disk(), 0).unwrap();
    broken.is_armed.store(true, Ordering::Relaxed);
    // A few entries of an index wait in memory.
    while log
        .append_as_follower(&of_epoch(log.end(), 5), 5, NOW)
        .is_ok()
    {}
    let (end, before) = (log.end(), log.epochs().clone());
    let both = [of_epoch(end, 5), of_epoch(end + 1, 6)].concat();
    log.append_as_follower(&both, 6, NOW).unwrap_err();
    assert_eq!(log.epochs(), &before);
    broken.heal();
    // The leader of epoch 6 lost its own.
    log.append_as_follower(&of_epoch(end, 5), 6, NOW).unwrap();
    log.truncate(end, NOW).unwrap();
    assert_eq!(log.epochs(), &before);
}

//! Few descriptors for many logs, and none at all: slower, or refused, and nothing lost.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ottla_storage::{
    Disk, DiskCall, DiskFaults, DiskVerdict, Fault, Isolation, Log, LogConfig, NotDone, OpenLog,
};

use crate::stand::*;

fn open_on(place: &Path, disk: &Disk) -> Result<Log, Fault> {
    fs::create_dir_all(place).unwrap();
    Log::open(how(place, small(), disk.clone()))
}

fn assert_whole(log: &Log, end: i64) {
    let found = read_all(&log.view(), Isolation::LogEnd);
    assert_eq!(found.len() as i64, end - log.start());
    assert!(
        found
            .iter()
            .all(|(at, value)| value.starts_with(&format!("record {at:08}")))
    );
}

#[test]
fn forty_logs_of_many_segments_live_on_sixteen_descriptors() {
    const N_LOGS: usize = 40;
    let place = tempfile::tempdir().unwrap();
    let disk = Disk::with_files_at_most(16);
    let at = |n: usize| place.path().join(format!("orders-{n}"));
    let mut logs: Vec<Log> = (0..N_LOGS)
        .map(|n| open_on(&at(n), &disk).unwrap())
        .collect();
    for _ in 0..40 {
        for log in &mut logs {
            let batch = records(log.end(), 3);
            append(log, &batch).unwrap();
            if log.end() % 30 == 0 {
                log.flush().unwrap();
            }
            if log.end() % 60 == 0 {
                settle(log);
            }
        }
        // A flush holds what it syncs: a log that has rolled has some files more.
        assert!(disk.open_files().n_open() <= 24, "{:?}", disk.open_files());
    }
    for log in &mut logs {
        assert!(log.n_segments() > 3);
        assert_whole(log, 120);
        assert!(log.truncate(99, NOW).unwrap());
        assert_whole(log, 99);
        log.set_high_watermark(99);
        log.raise_start(51).unwrap();
        log.retain(NOW).unwrap();
        assert!(disk.open_files().n_open() <= 32, "{:?}", disk.open_files());
    }
    let closed: Vec<i64> = logs.drain(..).map(|log| log.close().unwrap().end).collect();
    assert_eq!(closed, [99; N_LOGS]);
    assert_eq!(disk.open_files().n_open(), 0);
    for n in 0..N_LOGS {
        let how = how(&at(n), small(), disk.clone());
        let log = Log::open(OpenLog {
            is_clean: true,
            start: 51,
            ..how
        })
        .unwrap();
        assert_whole(&log, 99);
    }
}

#[test]
fn who_holds_a_view_reads_on_whatever_is_closed_or_deleted() {
    let place = tempfile::tempdir().unwrap();
    let disk = Disk::with_files_at_most(8);
    let mut log = open_on(&place.path().join("orders-0"), &disk).unwrap();
    fill(&mut log, 150);
    let view = log.view();
    for n in 1..20 {
        let mut other = open_on(&place.path().join(format!("orders-{n}")), &disk).unwrap();
        fill(&mut other, 60);
        assert_whole(&other, 60);
    }
    log.set_high_watermark(150);
    log.raise_start(120).unwrap();
    log.retain(NOW).unwrap();
    log.unlink_due(i64::MAX).unwrap();
    assert_eq!(read_all(&view, Isolation::LogEnd).len(), 150);
}

/// Says that no descriptor is left when something is opened, from some opening on.
struct NoneLeft {
    n_opened: AtomicUsize,
    from: AtomicUsize,
    is_over: AtomicBool,
}

impl NoneLeft {
    fn from(from: usize) -> Arc<Self> {
        Arc::new(Self {
            n_opened: AtomicUsize::new(0),
            from: AtomicUsize::new(from),
            is_over: AtomicBool::new(false),
        })
    }
}

impl DiskFaults for NoneLeft {
    fn before(&self, call: DiskCall, _: &Path, _: usize) -> DiskVerdict {
        if self.is_over.load(Ordering::Relaxed)
            || !matches!(call, DiskCall::Open | DiskCall::Create)
        {
            return DiskVerdict::Proceed;
        }
        if self.n_opened.fetch_add(1, Ordering::Relaxed) >= self.from.load(Ordering::Relaxed) {
            DiskVerdict::NoDescriptor
        } else {
            DiskVerdict::Proceed
        }
    }
}

/// Appends, rolls, flushes, moves the recovery point and deletes, as far as it goes.
fn work(log: &mut Log) -> (i64, Option<Fault>) {
    let mut accepted = log.end();
    while log.end() < 60 {
        match append(log, &records(accepted, 3)) {
            Ok(outcome) => accepted = outcome.last_offset + 1,
            Err(NotDone::Fault(fault)) => return (accepted, Some(fault)),
            Err(refused) => panic!("{refused}"),
        }
        let target = match accepted % 2 {
            0 => log.flush_plan(),
            _ => log.recovery_plan(),
        };
        let synced = target.and_then(|target| match target {
            Some(target) => target.sync().map(|()| log.flushed_to(&target)).map(drop),
            None => Ok(()),
        });
        let tidied = synced.and_then(|()| log.retain(NOW)).map(drop);
        if let Err(fault) = tidied {
            return (accepted, Some(fault));
        }
    }
    (accepted, None)
}

#[test]
fn without_a_descriptor_an_append_or_a_roll_is_refused_and_all_goes_on_when_there_is_one() {
    // The same with files that are closed in between, so that they must be opened again.
    for (n_files_max, step) in [(usize::MAX, 1), (2, 5)] {
        for from in (0..).step_by(step) {
            let place = tempfile::tempdir().unwrap();
            let none = NoneLeft::from(from);
            let disk = Disk::breakable_at_most(none.clone(), n_files_max);
            let mut log = match open_on(place.path(), &disk) {
                Ok(log) => log,
                Err(fault) => {
                    assert!(matches!(fault, Fault::NoDescriptor { .. }), "{fault}");
                    none.is_over.store(true, Ordering::Relaxed);
                    open_on(place.path(), &disk).unwrap()
                }
            };
            let (accepted, fault) = work(&mut log);
            if let Some(fault) = &fault {
                assert!(matches!(fault, Fault::NoDescriptor { .. }), "{fault}");
                assert!(fault.is_passing());
                assert!(fault.to_string().contains("ulimit"), "{fault}");
                none.is_over.store(true, Ordering::Relaxed);
                assert_whole(&log, accepted);
                let (accepted, fault) = work(&mut log);
                assert!(
                    fault.is_none(),
                    "from opening {from} on, and again: {fault:?}"
                );
                assert_whole(&log, accepted);
            }
            log.flush().unwrap();
            let flushed = log.flushed();
            drop(log);
            let again = OpenLog {
                recovery_point: flushed,
                ..how(place.path(), small(), Disk::new())
            };
            assert_whole(&Log::open(again).unwrap(), 60);
            let was_never_missed = none.n_opened.load(Ordering::Relaxed) < from;
            if was_never_missed {
                assert!(from > 10, "{from} openings were enough");
                break;
            }
        }
    }
}

#[test]
fn a_truncation_without_a_descriptor_has_not_happened() {
    let place = tempfile::tempdir().unwrap();
    let none = NoneLeft::from(usize::MAX);
    let disk = Disk::breakable_at_most(none.clone(), 2);
    let mut log = open_on(&place.path().join("orders-0"), &disk).unwrap();
    fill(&mut log, 90);
    settle(&mut log);
    for n in 1..6 {
        let mut other = open_on(&place.path().join(format!("orders-{n}")), &disk).unwrap();
        fill(&mut other, 60);
        settle(&mut other);
    }
    none.from.store(0, Ordering::Relaxed);
    let fault = log.truncate(30, NOW).unwrap_err();
    assert!(matches!(fault, Fault::NoDescriptor { .. }), "{fault}");
    none.is_over.store(true, Ordering::Relaxed);
    assert_whole(&log, 90);
    append(&mut log, &records(90, 3)).unwrap();
    assert!(log.truncate(30, NOW).unwrap());
    assert_whole(&log, 30);
}

#[test]
fn nothing_is_opened_that_nobody_reads() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open_on(place.path(), &Disk::new()).unwrap();
    fill(&mut log, 300);
    let n_segments = log.n_segments();
    log.close().unwrap();
    let disk = Disk::new();
    let config = LogConfig { ..small() };
    let how = how(place.path(), config, disk.clone());
    let log = Log::open(OpenLog {
        is_clean: true,
        ..how
    })
    .unwrap();
    assert!(n_segments > 5);
    // The last entries of the indexes are looked at, and the end of the active segment.
    assert!(
        disk.open_files().n_open() <= 2 * n_segments + 1,
        "{:?}",
        disk.open_files()
    );
    assert_whole(&log, 300);
}

//! Compaction on a disk that fails, fills up, or holds what is damaged.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_storage::{DiskCall, DiskFaults, DiskVerdict};

use super::*;

/// Fails every call from one on: what a crash leaves.
struct Crash {
    n_calls: AtomicUsize,
    at: usize,
}

impl DiskFaults for Crash {
    fn before(&self, _: DiskCall, _: &Path, _: usize) -> DiskVerdict {
        match self.n_calls.fetch_add(1, Ordering::Relaxed) < self.at {
            true => DiskVerdict::Proceed,
            false => DiskVerdict::Fail(ErrorKind::Other),
        }
    }
}

#[test]
fn a_crash_at_any_step_leaves_the_old_log_or_the_new_one() {
    let mut n_crashes = 0;
    for seed in 100..102 {
        let original = tempfile::tempdir().unwrap();
        let model = filled(original.path(), seed);
        let files = files(original.path());
        for at in 0.. {
            let place = tempfile::tempdir().unwrap();
            for (name, bytes) in &files {
                std::fs::write(place.path().join(name), bytes).unwrap();
            }
            let reopen = |disk, is_clean, end| {
                let log = Log::open(OpenLog {
                    is_clean,
                    recovery_point: end,
                    high_watermark: i64::MAX,
                    ..how(place.path(), config(), disk)
                });
                log.unwrap()
            };
            let log = reopen(Disk::new(), true, 0);
            let end = log.end();
            drop(log);
            let crash = Arc::new(Crash {
                n_calls: AtomicUsize::new(0),
                at,
            });
            let disk = Disk::breakable(crash);
            let Ok(log) = Log::open(OpenLog {
                is_clean: true,
                high_watermark: i64::MAX,
                ..how(place.path(), config(), disk)
            }) else {
                continue;
            };
            let owner = Owner::of(log);
            let done = clean(&owner, 0, NOW);
            drop(owner);
            let why = format!("seed {seed}, crash at call {at}");
            let log = reopen(Disk::new(), false, end);
            assert_eq!(log.end(), end, "{why}");
            model.assert_fits(&log.view(), &why);
            // The next round does what this one did not.
            if at % 8 == 0 {
                let owner = Owner::of(log);
                let again = cleaned(clean(&owner, 0, NOW + 1).unwrap()).end;
                let log = owner.take();
                model.assert_compacted(&log.view(), again, &why);
            }
            if matches!(done, Ok(Outcome::Done(_))) {
                break;
            }
            n_crashes += 1;
        }
    }
    assert!(n_crashes > 100, "{n_crashes}");
}

/// Fails some calls, and goes on.
struct SomeCalls {
    n_calls: AtomicUsize,
    failing: Range<usize>,
}

impl DiskFaults for SomeCalls {
    fn before(&self, _: DiskCall, _: &Path, _: usize) -> DiskVerdict {
        let n = self.n_calls.fetch_add(1, Ordering::Relaxed);
        match self.failing.contains(&n) {
            true => DiskVerdict::Fail(ErrorKind::Other),
            false => DiskVerdict::Proceed,
        }
    }
}

#[test]
fn calls_that_fail_at_any_step_leave_no_two_segments_with_the_same_records() {
    for n_failing in [1, 2, 3, 5, 1000] {
        check_failing_calls(n_failing);
    }
}

fn check_failing_calls(n_failing: usize) {
    let original = tempfile::tempdir().unwrap();
    let model = filled(original.path(), 100);
    let files = files(original.path());
    // Several segments become one.
    let config = LogConfig {
        segment_bytes: 4500,
        ..config()
    };
    for at in 0.. {
        let place = tempfile::tempdir().unwrap();
        for (name, bytes) in &files {
            std::fs::write(place.path().join(name), bytes).unwrap();
        }
        let fault = Arc::new(SomeCalls {
            n_calls: AtomicUsize::new(0),
            failing: at..at + n_failing,
        });
        let Ok(log) = Log::open(OpenLog {
            is_clean: true,
            high_watermark: i64::MAX,
            ..how(place.path(), config.clone(), Disk::breakable(fault.clone()))
        }) else {
            continue;
        };
        let end = log.end();
        let owner = Owner::of(log);
        let _ = clean(&owner, 0, NOW);
        if fault.n_calls.load(Ordering::Relaxed) <= at {
            break;
        }
        let why = format!("{n_failing} from call {at} on fail");
        if fault.n_calls.load(Ordering::Relaxed) >= at + n_failing {
            model.assert_fits(&owner.log.borrow().as_ref().unwrap().view(), &why);
        }
        drop(owner);
        // The second start reads all of it again, and cuts where segments overlap.
        let (mut end, mut model) = (end, model.clone());
        for recovery_point in [end, 0] {
            let mut log = Log::open(OpenLog {
                recovery_point,
                high_watermark: i64::MAX,
                ..how(place.path(), config.clone(), Disk::new())
            })
            .unwrap();
            assert_eq!(log.end(), end, "{why}, read from {recovery_point}");
            model.assert_fits(&log.view(), &why);
            append(&mut log, &keyed("more", Some("1"))).unwrap();
            let value = Some(format!("1 {}", "x".repeat(100)));
            let key = "more".to_owned();
            model.committed.insert(end, Written { key, value });
            end += 1;
        }
    }
}

/// Refuses to take more bytes while it is full.
struct Filling(std::sync::atomic::AtomicBool);

impl DiskFaults for Filling {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let takes_room = matches!(call, DiskCall::Write | DiskCall::Create);
        let is_cleaned = path.to_string_lossy().ends_with(".cleaned");
        match takes_room && is_cleaned && self.0.load(Ordering::Relaxed) {
            true => DiskVerdict::Fail(ErrorKind::StorageFull),
            false => DiskVerdict::Proceed,
        }
    }
}

#[test]
fn a_full_disk_is_no_harm_and_the_next_round_succeeds() {
    let place = tempfile::tempdir().unwrap();
    let full = Arc::new(Filling(true.into()));
    let disk = Disk::breakable(full.clone());
    let mut log = Log::open(how(place.path(), config(), disk)).unwrap();
    fill_keys(&mut log, 60, 3);
    let owner = Owner::of(log);
    let fault = clean(&owner, 0, NOW).unwrap_err();
    assert!(fault.is_passing(), "{fault}");
    assert!(files_ending(place.path(), ".cleaned").is_empty());
    assert_eq!(
        read_committed(&owner.log.borrow().as_ref().unwrap().view()).len(),
        60
    );
    full.0.store(false, Ordering::Relaxed);
    cleaned(clean(&owner, 0, NOW).unwrap());
    let mut log = owner.take();
    append(&mut log, &keyed("more", Some("1"))).unwrap();
    assert!(read_committed(&log.view()).len() < 20);
}

/// Has room for so many writes, and then none until it is told.
struct Filled {
    n_left: AtomicUsize,
    is_armed: std::sync::atomic::AtomicBool,
}

impl DiskFaults for Filled {
    fn before(&self, call: DiskCall, _: &Path, _: usize) -> DiskVerdict {
        let takes_room = matches!(call, DiskCall::Write | DiskCall::Create);
        if !takes_room || !self.is_armed.load(Ordering::Relaxed) {
            return DiskVerdict::Proceed;
        }
        let one_less = |n: usize| n.checked_sub(1);
        match self
            .n_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
        {
            Ok(_) => DiskVerdict::Proceed,
            Err(_) => DiskVerdict::Fail(ErrorKind::StorageFull),
        }
    }
}

#[test]
fn a_disk_that_fills_up_at_any_step_is_no_harm_and_the_next_round_succeeds() {
    let original = tempfile::tempdir().unwrap();
    let model = filled(original.path(), 300);
    let files = files(original.path());
    for at in 0.. {
        let place = tempfile::tempdir().unwrap();
        for (name, bytes) in &files {
            std::fs::write(place.path().join(name), bytes).unwrap();
        }
        let full = Arc::new(Filled {
            n_left: at.into(),
            is_armed: false.into(),
        });
        let log = Log::open(OpenLog {
            is_clean: true,
            high_watermark: i64::MAX,
            ..how(place.path(), config(), Disk::breakable(full.clone()))
        });
        let owner = Owner::of(log.unwrap());
        full.is_armed.store(true, Ordering::Relaxed);
        let done = clean(&owner, 0, NOW);
        full.is_armed.store(false, Ordering::Relaxed);
        let why = format!("room for {at} writes");
        let is_done = match done {
            Ok(outcome) => {
                cleaned(outcome);
                true
            }
            Err(fault) => {
                assert!(fault.is_passing(), "{why}: {fault}");
                model.assert_fits(&owner.log.borrow().as_ref().unwrap().view(), &why);
                false
            }
        };
        if is_done {
            assert!(at > 10, "{why} was enough");
            break;
        }
        let again = cleaned(clean(&owner, 0, NOW).unwrap()).end;
        let mut log = owner.take();
        model.assert_compacted(&log.view(), again, &why);
        append(&mut log, &keyed("more", Some("1"))).unwrap();
        for left in [".cleaned", ".swap"] {
            assert!(files_ending(place.path(), left).is_empty(), "{why}: {left}");
        }
    }
}

#[test]
fn a_broken_batch_ends_the_round_and_is_not_copied() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), config());
    fill_keys(&mut log, 60, 3);
    log.close().unwrap();
    // In the clean part and in the dirty one; a header, a record, a length that leads nowhere.
    for (checkpoint, position, byte) in [(0, 300, 0xff), (40, 300, 0xff), (0, 8, 0x7f), (0, 16, 9)]
    {
        let path = place.path().join("00000000000000000000.log");
        let whole = std::fs::read(&path).unwrap();
        let mut broken = whole.clone();
        broken[position] ^= byte;
        std::fs::write(&path, &broken).unwrap();
        let names: Vec<String> = files(place.path()).into_keys().collect();
        let log = Log::open(OpenLog {
            is_clean: true,
            high_watermark: 60,
            ..how(place.path(), config(), Disk::new())
        })
        .unwrap();
        let owner = Owner::of(log);
        let fault = clean(&owner, checkpoint, NOW).unwrap_err();
        assert!(matches!(fault, Fault::Corrupt { .. }), "{fault}");
        assert!(
            fault.to_string().contains("00000000000000000000.log"),
            "{fault}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), broken);
        drop(owner);
        let after: Vec<String> = files(place.path()).into_keys().collect();
        assert_eq!(after, names);
        std::fs::write(&path, &whole).unwrap();
    }
}

/// More than an index can tell from 0.
const FAR: i64 = i32::MAX as i64 * 3;

/// A segment of records with keys of their own, which a clean start does not look into.
fn write_segment(place: &Path, base: i64, offsets: &[i64]) {
    let batches = offsets.iter().flat_map(|offset| {
        let mut batch = keyed(&offset.to_string(), Some("v")).to_vec();
        ottla_protocol::batch::stamp(&mut batch, *offset, 0);
        batch
    });
    let bytes: Vec<u8> = batches.collect();
    for (ending, bytes) in [("log", &*bytes), ("index", b""), ("timeindex", b"")] {
        std::fs::write(place.join(format!("{base:020}.{ending}")), bytes).unwrap();
    }
}

fn offsets(log: &Log) -> Vec<i64> {
    let found = read_all(&log.view(), Isolation::LogEnd).into_iter();
    found.map(|(offset, _)| offset).collect()
}

#[test]
fn a_segment_that_holds_offsets_of_the_next_is_told_and_stays() {
    for behind in [4, 10, FAR] {
        let place = tempfile::tempdir().unwrap();
        for (base, offsets) in [(0, &[0, behind][..]), (4, &[4]), (5, &[5])] {
            write_segment(place.path(), base, offsets);
        }
        let owner = Owner::of(open_clean(place.path(), config()));
        let fault = clean(&owner, 0, NOW).expect_err(&format!("{behind}"));
        assert!(matches!(fault, Fault::Corrupt { .. }), "{fault}");
        let is_named = fault.to_string().contains("00000000000000000000.log");
        assert!(is_named, "{fault}");
        let log = owner.take();
        assert_eq!(log.end(), 6);
        log.close().unwrap();
        assert_eq!(open_clean(place.path(), config()).end(), 6);
    }
}

/// One segment becomes several, of which a crash may find some.
#[test]
fn calls_that_fail_at_any_step_leave_all_of_a_segment_that_reaches_too_far() {
    let inside = [0, 5, FAR, FAR + 5, 2 * FAR, 2 * FAR + 5];
    let all = [&inside[..], &[3 * FAR, 3 * FAR + 1]].concat();
    for n_failing in [1, 2, 3, 5, 1000] {
        for at in 0.. {
            let place = tempfile::tempdir().unwrap();
            write_segment(place.path(), 0, &inside);
            write_segment(place.path(), 3 * FAR, &[3 * FAR]);
            write_segment(place.path(), 3 * FAR + 1, &[3 * FAR + 1]);
            let fault = Arc::new(SomeCalls {
                n_calls: AtomicUsize::new(0),
                failing: at..at + n_failing,
            });
            let open = |disk, is_clean| {
                Log::open(OpenLog {
                    is_clean,
                    recovery_point: if is_clean { 3 * FAR + 2 } else { 0 },
                    high_watermark: i64::MAX,
                    ..how(place.path(), config(), disk)
                })
            };
            let Ok(log) = open(Disk::breakable(fault.clone()), true) else {
                continue;
            };
            let owner = Owner::of(log);
            let _ = clean(&owner, 0, NOW);
            drop(owner);
            let why = format!("{n_failing} from call {at} on fail");
            let log = open(Disk::new(), false).unwrap();
            assert_eq!(offsets(&log), all, "{why}");
            if fault.n_calls.load(Ordering::Relaxed) <= at {
                assert_eq!(log.n_segments(), 5, "it became three");
                break;
            }
        }
    }
}

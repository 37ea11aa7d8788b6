//! Room that is reserved ahead: nobody can tell from the files, and all of it comes back.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_storage::{Disk, DiskCall, DiskFaults, DiskVerdict, Log, LogConfig, NoRoom, StepBytes};

use crate::stand::*;

const MIB: u64 = 1 << 20;
const BYTES: StepBytes = StepBytes::new(MIB, 64 * MIB);
/// What a file system may take besides, for its own accounts and for the last block.
const ROUNDING: u64 = 64 << 10;

fn batch() -> Bytes {
    let mut builder = BatchBuilder::data(Codec::None);
    builder.push(NOW, None, Some(&vec![b'x'; MIB as usize - 1000]));
    builder.finish()
}

/// Reserves what the log wants now. False: the file system does not do it.
fn reserve(log: &mut Log) -> bool {
    let Some(stretch) = log.plan_room(NOW, &BYTES) else {
        return true;
    };
    let outcome = stretch.reserve();
    log.took_room(&stretch, outcome);
    outcome.is_ok()
}

/// Bytes that the file's blocks hold behind its end.
fn behind(path: &Path) -> u64 {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.blocks() * 512).saturating_sub(metadata.len())
}

fn segment(directory: &Path, base: i64) -> std::path::PathBuf {
    directory.join(format!("{base:020}.log"))
}

/// A log of three batches, each of a MiB, that holds room for three more; `None` where the file
/// system of this machine's temporary files does not do it.
fn with_room(directory: &Path, config: LogConfig) -> Option<Log> {
    let mut log = open(directory, config);
    assert!(!log.wants_room(NOW, &BYTES), "it has not written anything");
    for _ in 0..3 {
        append(&mut log, &batch()).unwrap();
    }
    assert!(log.wants_room(NOW, &BYTES));
    if !reserve(&mut log) {
        eprintln!("no room can be reserved in {}", directory.display());
        return None;
    }
    assert!(!log.wants_room(NOW, &BYTES));
    Some(log)
}

#[test]
fn a_busy_log_holds_as_much_again_and_its_file_stays_as_long_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    let Some(mut log) = with_room(place.path(), LogConfig::default()) else {
        return;
    };
    let path = segment(place.path(), 0);
    assert_eq!(
        File::open(&path).unwrap().metadata().unwrap().len(),
        log.size()
    );
    let held = log.n_bytes_ahead();
    assert!((2 * MIB..=3 * MIB).contains(&held), "{held}");
    log.flush().unwrap();
    assert!(behind(&path) >= held, "{}", behind(&path));
    append(&mut log, &batch()).unwrap();
    assert!(log.n_bytes_ahead() < held, "it is written into");
    append(&mut log, &batch()).unwrap();
    assert!(log.wants_room(NOW, &BYTES), "half of it is used up");
    // Two spans later it rests.
    assert!(!log.wants_room(NOW + 10_000, &BYTES));
    log.tidy_room(NOW + 10_000, &BYTES);
    log.flush().unwrap();
    assert_eq!(log.n_bytes_ahead(), 0);
    assert!(behind(&path) < ROUNDING, "{}", behind(&path));
    assert_eq!(log.end(), 5);
    assert_eq!(
        read_all(&log.view(), ottla_storage::Isolation::LogEnd).len(),
        5
    );
}

#[test]
fn giving_back_does_not_make_a_file_look_modified() {
    let place = tempfile::tempdir().unwrap();
    let Some(mut log) = with_room(place.path(), LogConfig::default()) else {
        return;
    };
    let path = segment(place.path(), 0);
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
    assert!(log.give_back_room() > 0);
    assert_eq!(
        std::fs::metadata(&path).unwrap().modified().unwrap(),
        long_ago
    );
}

#[test]
fn a_roll_leaves_nothing_behind_and_a_close_neither() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_bytes: 7 * MIB as u32,
        ..LogConfig::default()
    };
    let Some(mut log) = with_room(place.path(), config) else {
        return;
    };
    log.roll(NOW).unwrap();
    assert!(
        log.wants_room(NOW, &BYTES),
        "somebody must come for what is left"
    );
    log.tidy_room(NOW, &BYTES);
    log.flush().unwrap();
    assert!(behind(&segment(place.path(), 0)) < ROUNDING);
    assert!(reserve(&mut log));
    assert!(log.n_bytes_ahead() > 0);
    log.close().unwrap();
    assert!(behind(&segment(place.path(), 3)) < ROUNDING);
}

#[test]
fn room_is_never_reserved_past_the_segment() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_bytes: 4 * MIB as u32,
        ..LogConfig::default()
    };
    let Some(mut log) = with_room(place.path(), config) else {
        return;
    };
    assert!(
        log.n_bytes_ahead() <= MIB + 10_000,
        "{}",
        log.n_bytes_ahead()
    );
    let preallocated = LogConfig {
        preallocate: true,
        ..LogConfig::default()
    };
    log.set_config(preallocated);
    append(&mut log, &batch()).unwrap();
    assert!(
        log.plan_room(NOW, &BYTES).is_none(),
        "the file has its length already"
    );
}

#[test]
fn what_a_killed_process_held_comes_back_at_the_next_opening() {
    let place = tempfile::tempdir().unwrap();
    let Some(mut log) = with_room(place.path(), LogConfig::default()) else {
        return;
    };
    log.flush().unwrap();
    let path = segment(place.path(), 0);
    drop(log);
    assert!(behind(&path) > ROUNDING);
    let log = open(place.path(), LogConfig::default());
    assert!(behind(&path) < ROUNDING, "{}", behind(&path));
    assert_eq!((log.end(), log.n_bytes_ahead()), (3, 0));
}

#[test]
fn what_comes_too_late_goes_back_at_once() {
    let place = tempfile::tempdir().unwrap();
    let Some(mut log) = with_room(place.path(), LogConfig::default()) else {
        return;
    };
    for _ in 0..2 {
        append(&mut log, &batch()).unwrap();
    }
    let late = log.plan_room(NOW, &BYTES).unwrap();
    log.roll(NOW).unwrap();
    late.reserve().unwrap();
    log.took_room(&late, Ok(()));
    log.tidy_room(NOW, &BYTES);
    log.flush().unwrap();
    assert!(behind(&segment(place.path(), 0)) < ROUNDING);
    assert_eq!(log.n_bytes_ahead(), 0);
    // And one whose segment is gone altogether.
    for _ in 0..2 {
        append(&mut log, &batch()).unwrap();
    }
    let late = log.plan_room(NOW, &BYTES).unwrap();
    log.start_anew(100, NOW).unwrap();
    log.took_room(&late, late.reserve());
    assert_eq!(log.n_bytes_ahead(), 0);
}

#[test]
fn a_truncation_gives_back_and_cuts_where_it_should() {
    let place = tempfile::tempdir().unwrap();
    let Some(mut log) = with_room(place.path(), LogConfig::default()) else {
        return;
    };
    log.truncate(2, NOW).unwrap();
    assert_eq!((log.end(), log.n_bytes_ahead()), (2, 0));
    assert!(behind(&segment(place.path(), 0)) < ROUNDING);
    append(&mut log, &batch()).unwrap();
    assert_eq!(
        read_all(&log.view(), ottla_storage::Isolation::LogEnd).len(),
        3
    );
}

/// A disk that is full of what was reserved on it.
#[derive(Default)]
struct Full {
    is_full: AtomicBool,
    n_refused: AtomicUsize,
}

impl DiskFaults for Full {
    fn before(&self, call: DiskCall, _: &Path, _: usize) -> DiskVerdict {
        match call {
            DiskCall::SetLength => self.is_full.store(false, Ordering::Relaxed),
            DiskCall::Write | DiskCall::Create if self.is_full.load(Ordering::Relaxed) => {
                self.n_refused.fetch_add(1, Ordering::Relaxed);
                return DiskVerdict::Fail(ErrorKind::StorageFull);
            }
            _ => {}
        }
        DiskVerdict::Proceed
    }
}

#[test]
fn an_append_takes_the_room_that_its_own_log_holds() {
    let place = tempfile::tempdir().unwrap();
    let full = Arc::new(Full::default());
    let disk = Disk::breakable(Arc::clone(&full) as Arc<dyn DiskFaults>);
    let mut log = Log::open(how(place.path(), LogConfig::default(), disk)).unwrap();
    for _ in 0..3 {
        append(&mut log, &batch()).unwrap();
    }
    let stretch = log.plan_room(NOW, &BYTES).unwrap();
    log.took_room(&stretch, Ok(()));
    full.is_full.store(true, Ordering::Relaxed);
    append(&mut log, &batch()).unwrap();
    assert_eq!(full.n_refused.load(Ordering::Relaxed), 1);
    assert_eq!((log.end(), log.n_bytes_ahead()), (4, 0));
}

/// Refuses to reserve.
struct Refuses(ErrorKind);

impl DiskFaults for Refuses {
    fn before(&self, call: DiskCall, _: &Path, _: usize) -> DiskVerdict {
        match call {
            DiskCall::Reserve => DiskVerdict::Fail(self.0),
            _ => DiskVerdict::Proceed,
        }
    }
}

#[test]
fn a_refusal_is_no_fault_of_the_log() {
    let refusals = [
        (ErrorKind::StorageFull, NoRoom::Full),
        (ErrorKind::QuotaExceeded, NoRoom::Full),
        (ErrorKind::Unsupported, NoRoom::Unsupported),
        (ErrorKind::InvalidInput, NoRoom::Unsupported),
        (ErrorKind::Other, NoRoom::Unsupported),
    ];
    for (kind, expected) in refusals {
        let place = tempfile::tempdir().unwrap();
        let disk = Disk::breakable(Arc::new(Refuses(kind)));
        let mut log = Log::open(how(place.path(), LogConfig::default(), disk)).unwrap();
        for _ in 0..3 {
            append(&mut log, &batch()).unwrap();
        }
        let stretch = log.plan_room(NOW, &BYTES).unwrap().shortened(MIB);
        assert_eq!(stretch.n_bytes(), MIB);
        let outcome = stretch.reserve();
        assert_eq!(outcome, Err(expected), "{kind}");
        log.took_room(&stretch, outcome);
        append(&mut log, &batch()).unwrap();
        assert_eq!((log.end(), log.n_bytes_ahead()), (4, 0));
    }
}

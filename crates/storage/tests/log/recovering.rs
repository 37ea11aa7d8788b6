//! What a crash, a missing or a broken file leaves, and what is made of it.

mod clean_stops;
mod epochs;
mod indexes;
mod points;
mod producers;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::compress::Codec;
use ottla_storage::producer::Appender;
use ottla_storage::{
    Disk, DiskCall, DiskFaults, DiskVerdict, Isolation, Log, LogConfig, OffsetQuery, OpenLog,
};

use crate::stand::*;

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let origin = tempfile::tempdir().unwrap();
    let mut log = open(origin.path(), small());
    fill(&mut log, 66);
    let before = log.size();
    let active_before = fs::metadata(last_file(origin.path(), ".log"))
        .unwrap()
        .len();
    let good = tempfile::tempdir().unwrap();
    copy_directory(origin.path(), good.path());
    append(&mut log, &records(66, 3)).unwrap();
    let active_after = fs::metadata(last_file(origin.path(), ".log"))
        .unwrap()
        .len();
    assert_eq!(
        log.size() - before,
        active_after - active_before,
        "it did not roll"
    );
    drop(log);
    drop(open(good.path(), small()));
    let expected = files(good.path());
    for length in active_before..active_after {
        let place = tempfile::tempdir().unwrap();
        copy_directory(origin.path(), place.path());
        let file = fs::OpenOptions::new()
            .write(true)
            .open(last_file(place.path(), ".log"))
            .unwrap();
        file.set_len(length).unwrap();
        let mut log = open(place.path(), small());
        assert_holds(&log, 0, 66);
        assert!(files(place.path()) == expected, "cut at {length}");
        append(&mut log, &records(66, 3)).unwrap();
        assert_holds(&log, 0, 69);
    }
}

#[test]
fn a_byte_that_flips_ends_the_log_there() {
    let origin = tempfile::tempdir().unwrap();
    let mut log = open(origin.path(), small());
    fill(&mut log, 60);
    drop(log);
    let name = "00000000000000000000.log";
    let length = fs::metadata(origin.path().join(name)).unwrap().len();
    let bytes = fs::read(origin.path().join(name)).unwrap();
    let size = ottla_protocol::batch::peek(&bytes).unwrap().unwrap().size as u64;
    for at in (0..length).step_by(7) {
        // Base offset and leader epoch are outside the checksum.
        if matches!(at % size, 0..8 | 12..16) {
            continue;
        }
        let place = tempfile::tempdir().unwrap();
        copy_directory(origin.path(), place.path());
        let mut bytes = fs::read(place.path().join(name)).unwrap();
        bytes[at as usize] ^= 0x10;
        fs::write(place.path().join(name), &bytes).unwrap();
        let log = open(place.path(), small());
        let end = log.end();
        assert_eq!(end, at as i64 / size as i64 * 3, "flipped at {at}");
        assert_holds(&log, 0, end);
        assert_eq!(files_ending(place.path(), ".index").len(), 1);
    }
}

fn open_killed(place: &std::path::Path, high_watermark: i64) -> Log {
    let how = OpenLog {
        high_watermark,
        ..how(place, small(), Disk::new())
    };
    Log::open(how).unwrap()
}

/// After a crash a leader begins at what is flushed, which may be less.
#[test]
fn a_high_watermark_that_was_checkpointed_is_not_written_lower() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    fill(&mut log, 300);
    drop(log);
    let mut log = open_killed(place.path(), 240);
    assert_eq!(log.checkpoint_high_watermark(), 240);
    log.set_high_watermark(0);
    assert_eq!(log.high_watermark(), 0);
    assert_eq!(log.checkpoint_high_watermark(), 240);
    assert_eq!(log.reader().checkpoint_high_watermark(), 240);
    assert_eq!(log.close().unwrap().high_watermark, 240);

    let mut log = open_killed(place.path(), 240);
    log.set_high_watermark(270);
    assert_eq!(log.checkpoint_high_watermark(), 270, "it has advanced");
    log.set_high_watermark(0);
    log.truncate(150, NOW).unwrap();
    fill(&mut log, 300);
    let high = log.checkpoint_high_watermark();
    assert_eq!(high, 150, "what came behind the cut is new");
    log.start_anew(500, NOW).unwrap();
    assert_eq!(log.checkpoint_high_watermark(), 500);
    drop(log);

    let torn = tempfile::tempdir().unwrap();
    let mut log = open(torn.path(), small());
    fill(&mut log, 30);
    drop(log);
    let log = open_killed(torn.path(), 240);
    assert_eq!(log.checkpoint_high_watermark(), 30, "not above the end");
}

/// One segment with an index entry for every few batches.
fn one_segment() -> LogConfig {
    LogConfig {
        index_interval_bytes: 200,
        ..Default::default()
    }
}

/// Appends batches of three records of producer 1, in epochs that change now and then.
fn fill_as_producer(log: &mut Log, end: i64) {
    while log.end() < end {
        let first = log.end();
        let builder = BatchBuilder::data(Codec::None).producer(1, 0, first as i32);
        let epoch = (first / 90) as i32;
        append_in(
            log,
            &records_with(builder, first, 3),
            epoch,
            Appender::Client,
        )
        .unwrap();
    }
}

fn open_at(place: &std::path::Path, recovery_point: i64, disk: Disk) -> Log {
    Log::open(OpenLog {
        recovery_point,
        ..how(place, one_segment(), disk)
    })
    .unwrap()
}

/// What was last done to a `.log` file, besides reading.
#[derive(Default)]
struct LastCall(parking_lot::Mutex<Option<DiskCall>>);

impl DiskFaults for LastCall {
    fn before(&self, call: DiskCall, path: &std::path::Path, _: usize) -> DiskVerdict {
        let is_log = path.extension().is_some_and(|e| e == "log");
        if is_log && !matches!(call, DiskCall::Read | DiskCall::Open) {
            *self.0.lock() = Some(call);
        }
        DiskVerdict::Proceed
    }
}

/// Counts the bytes read from `.log` files.
#[derive(Default)]
struct Watch {
    of_logs: AtomicUsize,
}

impl DiskFaults for Watch {
    fn before(&self, call: DiskCall, path: &std::path::Path, n_bytes: usize) -> DiskVerdict {
        if call == DiskCall::Read && path.extension().is_some_and(|e| e == "log") {
            self.of_logs.fetch_add(n_bytes, Ordering::Relaxed);
        }
        DiskVerdict::Proceed
    }
}

#[test]
fn interrupted_replacements_are_resolved() {
    let origin = tempfile::tempdir().unwrap();
    let mut log = open(origin.path(), small());
    fill(&mut log, 90);
    log.close().unwrap();
    let bases: Vec<String> = files_ending(origin.path(), ".log")
        .into_keys()
        .map(|name| name.trim_end_matches(".log").to_owned())
        .collect();
    let renamed = |base: &str, suffix: &str, place: &std::path::Path| {
        for ending in ["log", "index", "timeindex"] {
            let path = place.join(format!("{base}.{ending}"));
            fs::rename(&path, path.with_extension(format!("{ending}.{suffix}"))).unwrap();
        }
    };
    // A swap that stands for the first two segments: both are replaced by it.
    let place = tempfile::tempdir().unwrap();
    copy_directory(origin.path(), place.path());
    let mut both = fs::read(place.path().join(format!("{}.log", bases[0]))).unwrap();
    both.extend(fs::read(place.path().join(format!("{}.log", bases[1]))).unwrap());
    fs::write(place.path().join(format!("{}.log.swap", bases[0])), &both).unwrap();
    let log = open(place.path(), small());
    assert_holds(&log, 0, 90);
    assert_eq!(log.n_segments(), bases.len() - 1);
    drop(log);
    // A cleaned file and swaps at or above it: the old segments stay.
    let place = tempfile::tempdir().unwrap();
    copy_directory(origin.path(), place.path());
    fs::write(
        place.path().join(format!("{}.log.cleaned", bases[0])),
        b"half",
    )
    .unwrap();
    fs::write(place.path().join(format!("{}.log.swap", bases[1])), b"half").unwrap();
    fs::write(
        place.path().join(format!("{}.log.deleted", bases[1])),
        b"old",
    )
    .unwrap();
    let log = open(place.path(), small());
    assert_holds(&log, 0, 90);
    drop(log);
    let left: Vec<String> = files(place.path())
        .into_keys()
        .filter(|name| {
            ["cleaned", "swap", "deleted"]
                .iter()
                .any(|s| name.ends_with(s))
        })
        .collect();
    assert_eq!(left, [""; 0]);
    // A swap whose old files are gone already only needs its name.
    let place = tempfile::tempdir().unwrap();
    copy_directory(origin.path(), place.path());
    renamed(&bases[1], "swap", place.path());
    assert_holds(&open(place.path(), small()), 0, 90);
}

#[test]
fn a_log_that_ends_below_its_start_starts_anew() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    fill(&mut log, 60);
    drop(log);
    let how = OpenLog {
        start: 100,
        ..how(place.path(), small(), Disk::new())
    };
    let mut log = Log::open(how).unwrap();
    assert_eq!((log.start(), log.end(), log.n_segments()), (100, 100, 1));
    append(&mut log, &records(100, 3)).unwrap();
    assert_holds(&log, 100, 103);
}

#[test]
fn a_gap_before_a_follower_s_batch_starts_a_segment_in_reach() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    fill(&mut log, 3);
    let mut far = records(0, 3).to_vec();
    let base = i64::from(i32::MAX) * 3;
    ottla_protocol::batch::stamp(&mut far, base, 0);
    log.append_as_follower(&far, 0, NOW).unwrap().unwrap();
    assert_eq!((log.n_segments(), log.end()), (2, base + 3));
    drop(log);
    let log = open(place.path(), small());
    assert_eq!((log.n_segments(), log.end()), (2, base + 3));
}

//! Segments of old brokers that reach further than an index can say, and what is made of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ottla_protocol::batch::legacy::written::{message, packed};
use ottla_protocol::batch::stamp;
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::compress::Codec;
use ottla_storage::{
    Disk, DiskCall, DiskFaults, DiskVerdict, Isolation, Log, LogConfig, OpenLog, ReadFrom,
};

use crate::stand::*;

const REACH: i64 = i32::MAX as i64;
/// In reach of 0 the last three, then two leaps.
const OFFSETS: [i64; 8] = [
    0,
    REACH - 5,
    REACH - 2,
    REACH + 10,
    REACH + 13,
    2 * REACH + 10,
    2 * REACH + 11,
    2 * REACH + 20,
];
const BASES: [i64; 3] = [0, REACH + 10, 2 * REACH + 11];
const NEXT: i64 = 3 * REACH;

fn compacted() -> LogConfig {
    LogConfig {
        cleanup_compact: true,
        ..small()
    }
}

fn batch(offset: i64) -> Bytes {
    let mut builder = BatchBuilder::data(Codec::None);
    let value = format!("record {offset:08}");
    builder.push(NOW + offset % 1000, Some(b"k"), Some(value.as_bytes()));
    let mut bytes = builder.finish().to_vec();
    stamp(&mut bytes, offset, 0);
    bytes.into()
}

fn bytes_at(offsets: &[i64]) -> Vec<u8> {
    let batches = offsets.iter().map(|offset| batch(*offset));
    batches.flat_map(|batch| batch.to_vec()).collect()
}

fn name(base: i64, ending: &str) -> String {
    format!("{base:020}.{ending}")
}

/// The segment, and one behind it.
fn write(place: &Path, base: i64, offsets: &[i64]) {
    fs::write(place.join(name(base, "log")), bytes_at(offsets)).unwrap();
    fs::write(place.join(name(NEXT, "log")), bytes_at(&[NEXT])).unwrap();
}

fn logs(place: &Path) -> BTreeMap<String, Vec<u8>> {
    files_ending(place, ".log")
}

fn offsets_of(log: &Log) -> Vec<i64> {
    let found = read_all(&log.view(), Isolation::LogEnd);
    for (offset, value) in &found {
        assert_eq!(*value, format!("record {offset:08}"));
    }
    found.into_iter().map(|(offset, _)| offset).collect()
}

fn expected() -> Vec<i64> {
    OFFSETS.into_iter().chain([NEXT]).collect()
}

fn assert_is_split(place: &Path, log: &Log) {
    assert_eq!(offsets_of(log), expected());
    let found = logs(place);
    let bases = BASES
        .into_iter()
        .chain([NEXT])
        .map(|base| name(base, "log"));
    assert!(
        found.keys().eq(&bases.collect::<Vec<_>>()),
        "{:?}",
        found.keys()
    );
    let of_segment = BASES.map(|base| found[&name(base, "log")].clone());
    assert!(of_segment.concat() == bytes_at(&OFFSETS));
    for suffix in [".cleaned", ".swap", ".deleted"] {
        assert!(files_ending(place, suffix).is_empty(), "{suffix}");
    }
}

#[test]
fn a_segment_that_reaches_too_far_becomes_several() {
    for is_clean in [false, true] {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), 0, &OFFSETS);
        let old = fs::File::open(place.path().join(name(0, "log"))).unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        old.set_modified(long_ago).unwrap();
        let open = |is_clean| {
            Log::open(OpenLog {
                is_clean,
                recovery_point: NEXT + 1,
                ..how(place.path(), small(), Disk::new())
            })
        };
        let mut log = open(is_clean).unwrap();
        assert_is_split(place.path(), &log);
        for base in BASES {
            let written = fs::metadata(place.path().join(name(base, "log"))).unwrap();
            assert_eq!(written.modified().unwrap(), long_ago);
        }
        append(&mut log, &records(0, 1)).unwrap();
        log.flush().unwrap();
        log.close().unwrap();
        let log = open(true).unwrap();
        assert_eq!(log.end(), NEXT + 2);
    }
}

/// As brokers wrote them: what does not fit has wrapped around.
#[test]
fn an_index_whose_entries_wrapped_around_is_not_believed() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), 0, &OFFSETS);
    let mut index = Vec::new();
    for (at, offset) in OFFSETS.iter().enumerate().skip(1) {
        index.extend((*offset as i32).to_be_bytes());
        index.extend((bytes_at(&OFFSETS[..at]).len() as u32).to_be_bytes());
    }
    // The last one is of a batch in the second stretch.
    index.truncate(4 * 8);
    fs::write(place.path().join(name(0, "index")), index).unwrap();
    let log = open_clean(place.path(), small());
    assert_is_split(place.path(), &log);
}

/// Nothing that a clean opening looks at tells. It is served as it is, and compaction splits it.
#[test]
fn one_that_nobody_looks_into_is_served_as_it_is() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), 0, &OFFSETS);
    for ending in ["index", "timeindex"] {
        fs::write(place.path().join(name(0, ending)), b"").unwrap();
        fs::write(place.path().join(name(NEXT, ending)), b"").unwrap();
    }
    let log = open_clean(place.path(), small());
    assert_eq!(log.n_segments(), 2);
    assert_eq!(offsets_of(&log), expected());
    // From inside of it, too.
    for (at, offset) in OFFSETS.iter().enumerate() {
        let from = ReadFrom {
            offset: *offset,
            isolation: Isolation::LogEnd,
            max_bytes: 1,
            at_least_one: true,
            with_aborted: false,
        };
        let slice = log.view().read(from).unwrap().slice.unwrap();
        assert_eq!(bytes_of(&slice), batch(OFFSETS[at]));
    }
}

/// The first new segment is named by what is in it, as in Kafka: not by the old name.
#[test]
fn one_whose_first_batches_are_gone_gets_another_name() {
    let place = tempfile::tempdir().unwrap();
    write(place.path(), 0, &OFFSETS[1..]);
    let log = open(place.path(), small());
    assert_eq!(offsets_of(&log), expected()[1..]);
    let bases = [OFFSETS[1], 2 * REACH + 10, NEXT];
    let bases = bases.map(|base| name(base, "log"));
    assert!(
        logs(place.path()).keys().eq(&bases),
        "{:?}",
        logs(place.path()).keys()
    );
    assert_eq!(log.start(), OFFSETS[1]);
}

#[test]
fn what_is_torn_or_wrong_is_cut_as_ever() {
    let long = bytes_at(&OFFSETS);
    let flip = |at: usize| {
        let mut bytes = long.clone();
        let length = bytes.len();
        bytes[at % length] ^= 1;
        bytes
    };
    let n_before = |count: usize| bytes_at(&OFFSETS[..count]).len();
    let cases = [
        // Torn in the last part; what is behind goes, too.
        (long[..long.len() - 1].to_vec(), &OFFSETS[..7], 3),
        // A broken batch before the first leap: nothing is known to leap.
        (flip(n_before(2) + 70), &OFFSETS[..2], 1),
        // And behind it.
        (flip(n_before(6) + 70), &OFFSETS[..6], 3),
        // Offsets go back: no segment was ever merged like that.
        (bytes_at(&[0, 5, REACH + 3, 7, 9]), &[0, 5], 1),
        // It would reach into the next segment.
        (bytes_at(&[0, 5, NEXT]), &[0, 5], 1),
        (bytes_at(&[0, 5, i64::MAX]), &[0, 5], 1),
    ];
    for (at, (bytes, left, n_segments)) in cases.into_iter().enumerate() {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), 0, &OFFSETS);
        fs::write(place.path().join(name(0, "log")), bytes).unwrap();
        let log = open(place.path(), small());
        assert_eq!(offsets_of(&log), left, "case {at}");
        assert_eq!(log.n_segments(), n_segments, "case {at}");
    }
}

/// Of a packed message whose first record claims to be far away from its last.
#[test]
fn a_message_that_reaches_too_far_by_itself_is_split_off_once() {
    let place = tempfile::tempdir().unwrap();
    let far = 5 * REACH;
    let mut bytes = message(0, 0, (0, NOW), None, Some(b"v"));
    let inner = message(0, 0, (3, NOW), None, Some(b"v"));
    bytes.extend(packed(0, Codec::Gzip, (far, NOW), &inner));
    fs::write(place.path().join(name(0, "log")), bytes).unwrap();
    let log = open(place.path(), small());
    assert_eq!((log.n_segments(), log.end()), (2, far + 1));
    let bases = [name(0, "log"), name(far - REACH, "log")];
    assert!(
        logs(place.path()).keys().eq(&bases),
        "{:?}",
        logs(place.path()).keys()
    );
}

#[test]
fn aborted_transactions_stay_aborted() {
    let place = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    let mut add = |batch: &[u8], offset| {
        let mut batch = batch.to_vec();
        stamp(&mut batch, offset, 0);
        bytes.extend(batch);
    };
    add(&batch(0), 0);
    let mut given_up = BatchBuilder::data(Codec::None)
        .producer(7, 0, 0)
        .transactional();
    given_up.push(NOW, Some(b"k"), Some(b"never"));
    add(&given_up.finish(), 9);
    let marker = EndMarker {
        is_commit: false,
        coordinator_epoch: 0,
    };
    add(&marker.batch(7, 0, NOW), REACH + 5);
    add(&batch(REACH + 6), REACH + 6);
    fs::write(place.path().join(name(0, "log")), bytes).unwrap();
    for is_clean in [true, false] {
        let log = Log::open(OpenLog {
            is_clean,
            high_watermark: i64::MAX,
            recovery_point: REACH + 7,
            ..how(place.path(), small(), Disk::new())
        })
        .unwrap();
        assert_eq!((log.n_segments(), log.last_stable()), (2, REACH + 7));
        let aborted = aborted(&log, Isolation::LastStable);
        assert_eq!(aborted.len(), 1);
        assert_eq!(
            (aborted[0].first_offset, aborted[0].last_offset),
            (9, REACH + 5)
        );
        log.close().unwrap();
    }
}

/// Ends at a call, and at all that follow.
struct Crash {
    n_calls: AtomicUsize,
    at: usize,
}

impl DiskFaults for Crash {
    fn before(&self, call: DiskCall, _path: &Path, _n_bytes: usize) -> DiskVerdict {
        let is_change = !matches!(call, DiskCall::Read | DiskCall::Open | DiskCall::List);
        let n = self
            .n_calls
            .fetch_add(usize::from(is_change), Ordering::Relaxed);
        if n < self.at {
            DiskVerdict::Proceed
        } else {
            DiskVerdict::Fail(ErrorKind::Other)
        }
    }
}

#[test]
fn a_crash_at_any_step_leaves_every_record_where_it_was() {
    let mut n_crashes = 0;
    for (base, first) in [(0, 0), (0, 1)] {
        for is_clean in [false, true] {
            for at in 0.. {
                let place = tempfile::tempdir().unwrap();
                write(place.path(), base, &OFFSETS[first..]);
                let open = |disk, is_clean| {
                    Log::open(OpenLog {
                        is_clean,
                        recovery_point: NEXT,
                        ..how(place.path(), compacted(), disk)
                    })
                };
                let crash = Arc::new(Crash {
                    n_calls: AtomicUsize::new(0),
                    at,
                });
                let is_done = open(Disk::breakable(crash), is_clean).is_ok();
                let log = open(Disk::new(), false).unwrap();
                let why = format!("crash at call {at}");
                assert_eq!(offsets_of(&log), expected()[first..], "{why}");
                assert!(files_ending(place.path(), ".swap").is_empty(), "{why}");
                let whole: Vec<u8> = logs(place.path()).into_values().flatten().collect();
                let once: Vec<u8> = bytes_at(&expected()[first..]);
                assert!(whole == once, "{why}: {:?}", logs(place.path()).keys());
                if is_done {
                    break;
                }
                n_crashes += 1;
            }
        }
    }
    assert!(n_crashes > 60, "{n_crashes}");
}

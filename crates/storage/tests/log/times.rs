//! Times that nobody expects: of 1970, of 2100, none at all, and a clock that goes back. What stays, what
//! goes and where segments end is as at Apache (`conformance/differential --only effects`).

use bytes::Bytes;
use ottla_protocol::batch::TimestampKind;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_storage::producer::{Appender, TransactionVersion, Verified};
use ottla_storage::validate::{Origin, check};
use ottla_storage::{Isolation, LeaderAppend, Log, LogConfig, OffsetQuery};

use crate::stand::*;

const YEAR_2100: i64 = 4_102_444_800_000;
const HOUR: i64 = 3_600_000;

/// Any time is taken, four of its batches fill a segment, and what is older than an hour goes.
fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 2000,
        message_timestamp_after_max_ms: i64::MAX,
        retention_ms: HOUR,
        ..LogConfig::default()
    }
}

fn at(time: i64) -> Bytes {
    let mut batch = BatchBuilder::data(Codec::None);
    batch.push(time, Some(b"key"), Some(&[b'v'; 400]));
    batch.finish()
}

/// Appends a batch of that time while the clock says `now_ms`.
fn append_at(log: &mut Log, time: i64, now_ms: i64) {
    let origin = Origin::Client { may_use_zstd: true };
    let batch = at(time);
    let checked = check(&batch, origin, &log.config().rules(), now_ms).unwrap();
    let append = LeaderAppend {
        leader_epoch: 0,
        appender: Appender::Client,
        transaction_version: TransactionVersion::SameEpoch,
        verified: Verified::NotAsked,
        now_ms,
    };
    log.append_as_leader(&batch, &checked, append).unwrap();
    log.set_high_watermark(log.end());
}

/// A log with these times, one batch each, written at `NOW`.
fn with(times: &[i64]) -> (tempfile::TempDir, Log) {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), config());
    for time in times {
        append_at(&mut log, *time, NOW);
    }
    (place, log)
}

fn found(log: &Log, timestamp: i64) -> Option<(i64, i64)> {
    let query = OffsetQuery::At(timestamp);
    let found = log.view().find_offset(query, Isolation::LogEnd).unwrap();
    found.map(|found| (found.offset, found.timestamp))
}

#[test]
fn a_record_of_2100_keeps_its_segment_and_all_behind_it() {
    // It is a week younger than those before it, and so begins a segment.
    let mut times = vec![NOW; 20];
    times[9] = YEAR_2100;
    let (place, mut log) = with(&times);
    log.retain(NOW + 2 * HOUR).unwrap();
    assert_eq!((log.start(), log.end()), (9, 20));
    assert_eq!(found(&log, NOW + 1), Some((9, YEAR_2100)));
    assert_eq!(found(&log, YEAR_2100 + 1), None);
    drop(log);
    let log = open(place.path(), config());
    assert_eq!((log.start(), log.end()), (9, 20));
    assert_eq!(found(&log, NOW + 1), Some((9, YEAR_2100)));
}

#[test]
fn a_record_of_2100_ends_the_segment_before_it() {
    let (_place, mut log) = with(&[NOW, NOW]);
    log.set_config(LogConfig {
        segment_bytes: 1 << 20,
        ..config()
    });
    append_at(&mut log, YEAR_2100, NOW);
    assert_eq!(log.n_segments(), 2);
    // Those behind it are younger than it by less than nothing.
    append_at(&mut log, NOW, NOW);
    assert_eq!(log.n_segments(), 2);
}

#[test]
fn records_of_1970_go_at_once_and_no_others() {
    let times: Vec<i64> = (0..8).chain([NOW; 6]).collect();
    let (_place, mut log) = with(&times);
    assert_eq!(found(&log, 5), Some((5, 5)));
    log.retain(NOW).unwrap();
    assert_eq!((log.start(), log.end()), (8, 14));
    assert_eq!(found(&log, 0), Some((8, NOW)));
}

#[test]
fn records_without_a_time_are_as_old_as_their_file() {
    let (_place, mut log) = with(&[-1; 10]);
    let written = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let written_ms = written.as_millis() as i64;
    assert!(log.retain(written_ms).unwrap().is_empty());
    assert_eq!(found(&log, 0), None);
    assert!(!log.retain(written_ms + 2 * HOUR).unwrap().is_empty());
    assert_eq!((log.start(), log.end()), (10, 10));
}

#[test]
fn a_clock_that_goes_back_rolls_nothing_deletes_nothing_and_loses_nothing() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        timestamp_kind: TimestampKind::LogAppendTime,
        segment_bytes: 1 << 20,
        segment_ms: HOUR,
        ..config()
    };
    let mut log = open(place.path(), config.clone());
    let clock = [NOW, NOW - 30 * HOUR, 0, NOW - HOUR, NOW];
    for now_ms in clock {
        append_at(&mut log, NOW, now_ms);
    }
    assert_eq!((log.n_segments(), log.end()), (1, 5));
    for now_ms in [0, NOW - 30 * HOUR, NOW] {
        assert!(log.retain(now_ms).unwrap().is_empty(), "at {now_ms}");
        log.expire_producers(now_ms);
        log.unlink_due(now_ms).unwrap();
    }
    // The first that reaches a time, in the order of the log.
    assert_eq!(found(&log, NOW), Some((0, NOW)));
    assert_eq!(found(&log, 1), Some((0, NOW)));
    append_at(&mut log, NOW, NOW + 2 * HOUR);
    assert_eq!(log.n_segments(), 2);
    drop(log);
    let log = open(place.path(), config);
    assert_eq!((log.start(), log.end()), (0, 6));
    assert_eq!(read_all(&log.view(), Isolation::LogEnd).len(), 6);
}

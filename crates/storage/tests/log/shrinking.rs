//! Truncation, deletion from the start, retention.

use ottla_protocol::Refusal;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_storage::{DeletedFor, LogConfig};

use crate::stand::*;

#[test]
fn truncation_at_every_offset_leaves_a_log_that_goes_on() {
    for to in 0..=61 {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), small());
        fill(&mut log, 60);
        log.set_high_watermark(60);
        assert_eq!(log.truncate(to, NOW).unwrap(), to < 60);
        assert_eq!(log.end(), to.min(60), "the end is where it was asked for");
        assert_eq!(log.high_watermark(), to.min(60));
        // A batch that held the offset is gone as a whole; its offsets stay a gap.
        let kept = to.min(60) / 3 * 3;
        let found = read_all(&log.view(), ottla_storage::Isolation::LogEnd);
        assert_eq!(found.len() as i64, kept);
        let next = log.end();
        append(&mut log, &records(next, 3)).unwrap();
        assert_eq!(
            read_all(&log.view(), ottla_storage::Isolation::LogEnd).len() as i64,
            kept + 3
        );
        let before = files(place.path());
        drop(log);
        let log = open(place.path(), small());
        assert_eq!(log.end(), next + 3, "after a crash, truncated to {to}");
        let now = files(place.path());
        for ending in [".log", ".index"] {
            let of = |files: &std::collections::BTreeMap<String, Vec<u8>>| -> Vec<_> {
                files
                    .iter()
                    .filter(|(n, _)| n.ends_with(ending))
                    .map(|(n, b)| (n.clone(), b.clone()))
                    .collect()
            };
            if ending == ".log" {
                assert_eq!(of(&before), of(&now));
            }
        }
    }
}

#[test]
fn truncation_takes_back_producers_and_epochs() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    let batch = |sequence: i32| {
        let builder = BatchBuilder::data(Codec::None).producer(9, 0, sequence);
        records_with(builder, i64::from(sequence), 3)
    };
    for (epoch, sequence) in (0..60).step_by(3).enumerate() {
        append_in(
            &mut log,
            &batch(sequence),
            epoch as i32,
            ottla_storage::producer::Appender::Client,
        )
        .unwrap();
    }
    log.truncate(30, NOW).unwrap();
    assert_eq!(log.epochs().latest_epoch(), Some(9));
    assert_eq!(log.producers().get(9).unwrap().last_sequence(), 29);
    assert!(append(&mut log, &batch(33)).is_err());
    append_in(
        &mut log,
        &batch(30),
        10,
        ottla_storage::producer::Appender::Client,
    )
    .unwrap();
    assert_holds(&log, 0, 33);
    drop(log);
    let log = open(place.path(), small());
    assert_eq!(log.epochs().latest_epoch(), Some(10));
    assert_eq!(log.producers().get(9).unwrap().last_sequence(), 32);
}

#[test]
fn the_start_is_raised_up_to_the_high_watermark() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    fill(&mut log, 90);
    log.set_high_watermark(60);
    assert_eq!(
        log.raise_start(61).unwrap_err().refusal(),
        Refusal::OffsetOutOfRange
    );
    assert!(log.raise_start(50).unwrap());
    assert!(!log.raise_start(50).unwrap());
    assert_holds(&log, 50, 90);
    let n_before = log.n_segments();
    let deleted = log.retain(NOW).unwrap();
    assert!(
        matches!(deleted[..], [(DeletedFor::Start, _)]),
        "{deleted:?}"
    );
    assert!(log.n_segments() < n_before);
    assert_holds(&log, 50, 90);
    assert!(log.start_is_inside());
    assert_eq!(log.epochs().earliest().unwrap().start_offset, 50);
    // The old files wait a minute for readers that are under way.
    assert!(!files_ending(place.path(), ".deleted").is_empty());
    log.unlink_due(NOW + 59_999).unwrap();
    assert!(!files_ending(place.path(), ".deleted").is_empty());
    log.unlink_due(NOW + 60_000).unwrap();
    assert!(files_ending(place.path(), ".deleted").is_empty());
    let closed = log.close().unwrap();
    assert_eq!(
        (
            closed.start,
            closed.high_watermark,
            closed.end,
            closed.start_is_inside
        ),
        (50, 60, 90, true)
    );
}

#[test]
fn retention_by_size_and_time() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    fill(&mut log, 90);
    log.set_high_watermark(90);
    log.set_config(LogConfig {
        retention_bytes: 3000,
        ..small()
    });
    let deleted = log.retain(NOW).unwrap();
    assert!(
        matches!(deleted[..], [(DeletedFor::Size, _)]),
        "{deleted:?}"
    );
    assert!(
        log.size() >= 3000 && log.size() < 5000,
        "{} bytes stay",
        log.size()
    );
    let (start, end) = (log.start(), log.end());
    assert_holds(&log, start, end);
    // All of it is old: an empty segment takes the place of the last one.
    log.set_config(LogConfig {
        retention_ms: 1000,
        ..small()
    });
    assert!(log.retain(NOW + 1000).unwrap().is_empty());
    let deleted = log.retain(NOW + 2000).unwrap();
    assert!(matches!(deleted[..], [(DeletedFor::Age, _)]), "{deleted:?}");
    assert_eq!(
        (log.start(), log.end(), log.n_segments(), log.size()),
        (90, 90, 1, 0)
    );
    fill(&mut log, 120);
    assert_holds(&log, 90, 120);
    drop(log);
    assert_holds(&open(place.path(), small()), 90, 120);
}

#[test]
fn nothing_above_the_high_watermark_is_deleted() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(
        place.path(),
        LogConfig {
            retention_bytes: 0,
            ..small()
        },
    );
    fill(&mut log, 90);
    assert!(log.retain(NOW).unwrap().is_empty());
    log.set_high_watermark(40);
    log.retain(NOW).unwrap();
    assert!(log.start() <= 40 && log.start() > 0);
    let start = log.start();
    assert_holds(&log, start, 90);
}

#[test]
fn a_compacted_log_is_only_cut_below_its_start() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        cleanup_delete: false,
        retention_bytes: 0,
        retention_ms: 0,
        ..small()
    };
    let mut log = open(place.path(), config);
    fill(&mut log, 60);
    log.set_high_watermark(60);
    assert!(log.retain(NOW + 1_000_000).unwrap().is_empty());
    assert_holds(&log, 0, 60);
}

#[test]
fn producers_survive_the_deletion_of_their_records() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    let batch = |sequence: i32| {
        let builder = BatchBuilder::data(Codec::None).producer(9, 0, sequence);
        records_with(builder, i64::from(sequence), 3)
    };
    for sequence in (0..60).step_by(3) {
        append(&mut log, &batch(sequence)).unwrap();
    }
    log.set_high_watermark(60);
    log.set_config(LogConfig {
        retention_bytes: 0,
        ..small()
    });
    log.retain(NOW).unwrap();
    assert_eq!((log.start(), log.end()), (60, 60));
    assert!(append(&mut log, &batch(57)).unwrap().is_duplicate);
    log.close().unwrap();
    let mut log = open_clean(place.path(), small());
    assert!(append(&mut log, &batch(57)).unwrap().is_duplicate);
}

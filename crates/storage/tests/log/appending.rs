//! Appends as a leader, a follower and a quorum's leader; rolls; what readers are shown.

use std::fs;

use ottla_protocol::Refusal;
use ottla_protocol::batch::{TimestampKind, batches, stamp};
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::compress::Codec;
use ottla_storage::producer::Appender;
use ottla_storage::{Isolation, LogConfig, NotDone};

use crate::stand::*;

#[test]
fn a_leader_gives_offsets_epoch_and_rolls() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    let first = append_in(&mut log, &records(0, 5), 0, Appender::Client).unwrap();
    assert_eq!(
        (first.first_offset, first.last_offset, first.append_time_ms),
        (0, 4, -1)
    );
    fill(&mut log, 5 + 60);
    assert_holds(&log, 0, log.end());
    assert!(log.n_segments() > 2, "{} segments", log.n_segments());
    for (name, bytes) in files_ending(place.path(), ".log") {
        assert!(bytes.len() <= 2000, "{name} has {} bytes", bytes.len());
        let first = batches(&bytes).next();
        let base = first.map_or(log.end(), |batch| batch.unwrap().base_offset());
        assert_eq!(name, format!("{base:020}.log"));
    }
    let epochs: Vec<_> = log
        .epochs()
        .entries()
        .iter()
        .map(|e| (e.epoch, e.start_offset))
        .collect();
    assert_eq!(epochs, [(0, 0)]);
}

#[test]
fn log_append_time_replaces_the_producers() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        timestamp_kind: TimestampKind::LogAppendTime,
        ..LogConfig::default()
    };
    let mut log = open(place.path(), config);
    let batch = records_with(BatchBuilder::data(Codec::Lz4), 100, 3);
    assert_eq!(append(&mut log, &batch).unwrap().append_time_ms, NOW);
    let bytes = files_ending(place.path(), ".log").pop_first().unwrap().1;
    let written = batches(&bytes).next().unwrap().unwrap();
    written.verify_crc().unwrap();
    assert_eq!(written.max_timestamp(), NOW);
    assert_eq!(written.timestamp_kind(), TimestampKind::LogAppendTime);
}

#[test]
fn an_idempotent_producer_is_written_once() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    let batch = |sequence: i32| {
        let builder = BatchBuilder::data(Codec::None).producer(9, 0, sequence);
        records_with(builder, i64::from(sequence), 3)
    };
    append(&mut log, &batch(0)).unwrap();
    append(&mut log, &batch(3)).unwrap();
    let again = append(&mut log, &batch(0)).unwrap();
    assert!(again.is_duplicate);
    assert_eq!((again.first_offset, again.last_offset), (0, 2));
    let gap = append(&mut log, &batch(9)).unwrap_err();
    assert_eq!(gap.refusal(), Refusal::OutOfOrderSequenceNumber);
    assert_holds(&log, 0, 6);
    // Remembered over a restart of either kind.
    drop(log);
    let mut log = open(place.path(), small());
    assert!(append(&mut log, &batch(3)).unwrap().is_duplicate);
    log.close().unwrap();
    let mut log = open_clean(place.path(), small());
    assert!(append(&mut log, &batch(3)).unwrap().is_duplicate);
    append(&mut log, &batch(6)).unwrap();
    assert_holds(&log, 0, 9);
}

#[test]
fn transactions_hold_back_who_reads_committed() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    let transactional = |id: i64, sequence: i32, first: i64| {
        let builder = BatchBuilder::data(Codec::None)
            .producer(id, 0, sequence)
            .transactional();
        records_with(builder, first, 2)
    };
    let marker = |id: i64, is_commit: bool| {
        EndMarker {
            is_commit,
            coordinator_epoch: 0,
        }
        .batch(id, 0, NOW)
    };
    append(&mut log, &records(0, 2)).unwrap();
    append(&mut log, &transactional(1, 0, 2)).unwrap();
    append(&mut log, &transactional(2, 0, 4)).unwrap();
    log.set_high_watermark(log.end());
    assert_eq!((log.high_watermark(), log.last_stable()), (6, 2));
    append_in(&mut log, &marker(1, false), 0, Appender::Coordinator).unwrap();
    assert_eq!(log.last_stable(), 2, "the marker is not replicated yet");
    log.set_high_watermark(log.end());
    assert_eq!(log.last_stable(), 4);
    append_in(&mut log, &marker(2, true), 0, Appender::Coordinator).unwrap();
    log.set_high_watermark(log.end());
    assert_eq!((log.high_watermark(), log.last_stable()), (8, 8));
    let found = aborted(&log, Isolation::LastStable);
    let told: Vec<_> = found
        .iter()
        .map(|it| (it.producer_id, it.first_offset, it.last_offset))
        .collect();
    assert_eq!(told, [(1, 2, 6)]);
    // A crash recovery writes the same transaction index.
    let index = files_ending(place.path(), ".txnindex");
    assert_eq!(index.values().map(Vec::len).sum::<usize>(), 34);
    drop(log);
    let log = open(place.path(), small());
    assert_eq!(files_ending(place.path(), ".txnindex"), index);
    assert_eq!(aborted(&log, Isolation::LogEnd), found);
}

#[test]
fn a_follower_copies_byte_for_byte() {
    let (leader_place, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut leader = open(leader_place.path(), LogConfig::default());
    fill(&mut leader, 90);
    let bytes = files_ending(leader_place.path(), ".log")
        .pop_first()
        .unwrap()
        .1;
    // With a torn rest behind, and in segments smaller than what is sent at once.
    let torn = &bytes[..bytes.len() - 3];
    let mut log = open(place.path(), small());
    let outcome = log.append_as_follower(torn, 0, NOW).unwrap().unwrap();
    assert_eq!((outcome.first_offset, outcome.last_offset), (0, 86));
    assert!(log.n_segments() > 2);
    assert_holds(&log, 0, 87);
    let copied: Vec<u8> = files_ending(place.path(), ".log")
        .into_values()
        .flatten()
        .collect();
    assert_eq!(copied, bytes[..copied.len()]);
    // The same again does not follow.
    let again = log.append_as_follower(&bytes, 0, NOW).unwrap_err();
    assert!(matches!(again, NotDone::Refused(_)), "{again}");
    assert_holds(&log, 0, 87);
}

/// `i64::MAX` is an end at most.
#[test]
fn offsets_come_to_an_end() {
    let place = tempfile::tempdir().unwrap();
    let at = |offset| {
        let mut batch = records(0, 1).to_vec();
        stamp(&mut batch, offset, 0);
        batch
    };
    let mut log = open(place.path(), small());
    let refused = |outcome| match outcome {
        Err(NotDone::Refused(refused)) => refused.code(),
        other => panic!("{other:?}"),
    };
    for none in [i64::MAX, i64::MIN, -1] {
        let copied = log.append_as_follower(&at(none), 0, NOW);
        assert_eq!(refused(copied), Refusal::CorruptMessage.code());
    }
    log.append_as_follower(&at(i64::MAX - 2), 0, NOW)
        .unwrap()
        .unwrap();
    let two = append(&mut log, &records(0, 2)).map(Some);
    assert_eq!(refused(two), Refusal::UnknownServerError.code());
    append(&mut log, &records(0, 1)).unwrap();
    let one = append(&mut log, &records(0, 1)).map(Some);
    assert_eq!(refused(one), Refusal::UnknownServerError.code());
    log.close().unwrap();
    // Found in a file, it is no batch.
    let last = last_file(place.path(), ".log");
    let sound = fs::read(&last).unwrap();
    for none in [i64::MAX, i64::MIN, -1] {
        fs::write(&last, [&*sound, &at(none)].concat()).unwrap();
        let log = open(place.path(), small());
        assert_eq!(log.end(), i64::MAX);
        assert_eq!(fs::read(&last).unwrap(), sound);
    }
}

#[test]
fn a_follower_leaves_out_what_a_later_leader_wrote() {
    let (leader_place, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut leader = open(leader_place.path(), LogConfig::default());
    append_in(&mut leader, &records(0, 3), 1, Appender::Client).unwrap();
    append_in(&mut leader, &records(3, 3), 2, Appender::Client).unwrap();
    let bytes = files_ending(leader_place.path(), ".log")
        .pop_first()
        .unwrap()
        .1;
    let mut log = open(place.path(), small());
    log.append_as_follower(&bytes, 1, NOW).unwrap().unwrap();
    assert_holds(&log, 0, 3);
    let rest = &bytes[log.size() as usize..];
    assert_eq!(log.append_as_follower(rest, 1, NOW).unwrap(), None);
    log.append_as_follower(rest, 2, NOW).unwrap().unwrap();
    let epochs: Vec<_> = log
        .epochs()
        .entries()
        .iter()
        .map(|e| (e.epoch, e.start_offset))
        .collect();
    assert_eq!(epochs, [(1, 0), (2, 3)]);
    assert_eq!(log.view().end_offset_for(1).end_offset, 3);
}

#[test]
fn an_empty_follower_takes_a_batch_that_straddles_its_start() {
    let (leader_place, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut leader = open(leader_place.path(), LogConfig::default());
    append(&mut leader, &records(0, 10)).unwrap();
    let bytes = files_ending(leader_place.path(), ".log")
        .pop_first()
        .unwrap()
        .1;
    let mut log = open(place.path(), small());
    log.start_anew(5, NOW).unwrap();
    log.append_as_follower(&bytes, 0, NOW).unwrap().unwrap();
    assert_holds(&log, 0, 10);
}

#[test]
fn a_quorums_leader_brings_its_own_offsets() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), LogConfig::metadata(1 << 20, i64::MAX));
    let batch = |base: i64, epoch: i32| {
        let mut builder = BatchBuilder::internal(base, epoch);
        builder.push(NOW, None, Some(b"x"));
        builder.push(NOW, None, Some(b"y"));
        builder.finish()
    };
    log.append_as_quorum_leader(&batch(0, 3), 3, NOW).unwrap();
    log.append_as_quorum_leader(&batch(2, 3), 3, NOW).unwrap();
    assert_eq!(log.end(), 4);
    let gap = log
        .append_as_quorum_leader(&batch(5, 3), 3, NOW)
        .unwrap_err();
    assert_eq!(gap.refusal(), Refusal::InvalidRecord);
    let epoch = log
        .append_as_quorum_leader(&batch(4, 2), 3, NOW)
        .unwrap_err();
    assert_eq!(epoch.refusal(), Refusal::InvalidRecord);
    assert_eq!(log.epochs().latest_epoch(), Some(3));
}

#[test]
fn segments_roll_by_the_time_of_records() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_ms: 10,
        ..LogConfig::default()
    };
    let mut log = open(place.path(), config);
    // Batches at 0..3, 3..6, ...: more than 10 ms behind the first batch's largest time rolls.
    fill(&mut log, 30);
    let bases: Vec<String> = files_ending(place.path(), ".log").into_keys().collect();
    assert_eq!(
        bases,
        [
            "00000000000000000000.log",
            "00000000000000000012.log",
            "00000000000000000024.log"
        ]
    );
}

#[test]
fn a_full_index_rolls() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_index_bytes: 36,
        index_interval_bytes: 1,
        ..LogConfig::default()
    };
    let mut log = open(place.path(), config);
    fill(&mut log, 30);
    assert_holds(&log, 0, 30);
    // Two entries fit besides the reserved one: the first batch has none, so three batches.
    assert_eq!(log.n_segments(), 4);
    for (name, bytes) in files_ending(place.path(), ".timeindex") {
        assert!(bytes.len() <= 36, "{name} has {} bytes", bytes.len());
    }
}

#[test]
fn preallocated_segments_are_trimmed() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        preallocate: true,
        ..small()
    };
    let mut log = open(place.path(), config.clone());
    fill(&mut log, 60);
    let lengths: Vec<usize> = files_ending(place.path(), ".log")
        .into_values()
        .map(|b| b.len())
        .collect();
    assert_eq!(*lengths.last().unwrap(), 2000);
    assert!(lengths[0] < 2000);
    drop(log);
    let log = open(place.path(), config.clone());
    assert_holds(&log, 0, 60);
    log.close().unwrap();
    let log = open_clean(place.path(), config);
    assert_holds(&log, 0, 60);
    let total: usize = files_ending(place.path(), ".log")
        .into_values()
        .map(|b| b.len())
        .sum();
    assert_eq!(total as u64, log.size());
}

#[test]
fn readers_see_whole_appends_while_the_writer_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    let reader = log.reader();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last_end = 0;
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                let view = reader.view();
                assert!(view.end() >= last_end && view.high_watermark() <= view.end());
                last_end = view.end();
                let found = read_all(&view, Isolation::HighWatermark);
                let offsets: Vec<i64> = found.iter().map(|(offset, _)| *offset).collect();
                assert_eq!(offsets, (0..view.high_watermark()).collect::<Vec<_>>());
            }
        });
        for _ in 0..300 {
            let end = log.end();
            append(&mut log, &records(end, 3)).unwrap();
            log.set_high_watermark(end);
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

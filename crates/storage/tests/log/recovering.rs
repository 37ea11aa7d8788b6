//! What a crash, a missing or a broken file leaves, and what is made of it.

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
fn an_epoch_starts_where_it_did_though_its_first_batches_were_compacted_away() {
    let config = LogConfig {
        cleanup_compact: true,
        ..small()
    };
    for (file, expected) in [
        ("0\n2\n0 0\n2 12\n", vec![(0, 0), (2, 12)]),
        // Nothing is left of epoch 1.
        ("0\n3\n0 0\n1 9\n2 12\n", vec![(0, 0), (1, 9), (2, 12)]),
        ("0\n3\n0 0\n1 12\n2 20\n", vec![(0, 0), (1, 12), (2, 20)]),
        // What the batches contradict is not believed.
        ("0\n2\n0 0\n2 5\n", vec![(0, 0), (2, 20)]),
        ("0\n2\n0 0\n2 21\n", vec![(0, 0), (2, 20)]),
        ("0\n3\n0 0\n1 8\n2 12\n", vec![(0, 0), (2, 12)]),
        ("0\n2\n0 0\n3 12\n", vec![(0, 0), (2, 20)]),
    ] {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), config.clone());
        for (offset, epoch) in [(3, 0), (6, 0), (20, 2), (23, 2)] {
            let mut batch = records(0, 3).to_vec();
            ottla_protocol::batch::stamp(&mut batch, offset, epoch);
            log.append_as_follower(&batch, epoch, NOW).unwrap().unwrap();
        }
        drop(log);
        fs::write(place.path().join("leader-epoch-checkpoint"), file).unwrap();
        let log = open(place.path(), config.clone());
        let found = log.epochs().entries().iter();
        let found: Vec<_> = found.map(|e| (e.epoch, e.start_offset)).collect();
        assert_eq!(found, expected, "{file}");
    }
}

#[test]
fn an_epoch_is_known_though_all_of_it_was_compacted_away_before_an_empty_segment() {
    let config = LogConfig {
        cleanup_compact: true,
        ..small()
    };
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    append(&mut log, &records(0, 3)).unwrap();
    drop(log);
    fs::write(place.path().join("00000000000000000030.log"), "").unwrap();
    let file = "0\n3\n0 0\n1 20\n2 30\n";
    fs::write(place.path().join("leader-epoch-checkpoint"), file).unwrap();
    let log = open(place.path(), config);
    assert_eq!(log.end(), 30);
    let found = log.epochs().entries().iter();
    let found: Vec<_> = found.map(|e| (e.epoch, e.start_offset)).collect();
    assert_eq!(found, [(0, 0), (1, 20)]);
}

/// Kafka does not look, and appends behind it what nobody can read.
#[test]
fn a_tail_torn_in_spite_of_a_clean_shutdown_is_cut() {
    for n_bytes in [1, 30, 100] {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), small());
        fill(&mut log, 66);
        log.close().unwrap();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(last_file(place.path(), ".log"))
            .unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - n_bytes).unwrap();
        let mut log = open_clean(place.path(), small());
        assert_holds(&log, 0, 63);
        append(&mut log, &records(63, 3)).unwrap();
        assert_holds(&log, 0, 66);
        log.close().unwrap();
        assert_holds(&open_clean(place.path(), small()), 0, 66);
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

#[test]
fn what_lies_below_the_recovery_point_is_not_read() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    fill(&mut log, 120);
    settle(&mut log);
    let point = log.recovery_point();
    fill(&mut log, 150);
    drop(log);
    let watch = Arc::new(Watch::default());
    let disk = Disk::breakable(Arc::clone(&watch) as Arc<dyn DiskFaults>);
    let log = Log::open(OpenLog {
        recovery_point: point,
        ..how(place.path(), small(), disk)
    })
    .unwrap();
    let (n_read, total) = (watch.of_logs.load(Ordering::Relaxed), log.size() as usize);
    assert!(n_read < total, "{n_read} of {total} bytes were read");
    assert_eq!(log.flushed(), point);
    assert_holds(&log, 0, 150);
}

/// One segment with an index entry for every few batches.
fn one_segment() -> LogConfig {
    LogConfig {
        index_interval_bytes: 200,
        ..Default::default()
    }
}

/// What Kafka does after a crash, and where it cuts: it takes no point for more than a segment.
#[test]
fn the_segment_that_holds_a_point_of_kafka_s_is_read_from_its_start() {
    let origin = tempfile::tempdir().unwrap();
    let mut log = open(origin.path(), small());
    fill(&mut log, 150);
    settle(&mut log);
    drop(log);
    let path = last_file(origin.path(), ".log");
    let name = path.file_stem().unwrap().to_str().unwrap();
    let base: i64 = name.parse().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let size = ottla_protocol::batch::peek(&bytes).unwrap().unwrap().size;
    assert!(base + 6 < 150 && bytes.len() > 3 * size, "{base}");
    // In the second batch of the last segment.
    bytes[2 * size - 5] ^= 1;
    fs::write(&path, bytes).unwrap();
    for (recovery_point, is_point_ours, end) in [
        (150, true, 150),
        (150, false, base + 3),
        (base + 1, false, base + 3),
        (base, false, base + 3),
        (base, true, base + 3),
        (0, true, base + 3),
    ] {
        let place = tempfile::tempdir().unwrap();
        copy_directory(origin.path(), place.path());
        let log = Log::open(OpenLog {
            recovery_point,
            is_point_ours,
            ..how(place.path(), small(), Disk::new())
        });
        assert_eq!(log.unwrap().end(), end, "{recovery_point}, {is_point_ours}");
    }
    // One that ends at the point is none of those that are read.
    let place = tempfile::tempdir().unwrap();
    copy_directory(origin.path(), place.path());
    let logs = files_ending(place.path(), ".log");
    let (before, mut bytes) = logs.into_iter().rev().nth(1).unwrap();
    bytes[size - 5] ^= 1;
    fs::write(place.path().join(before), bytes).unwrap();
    let log = Log::open(OpenLog {
        recovery_point: base,
        is_point_ours: false,
        ..how(place.path(), small(), Disk::new())
    });
    assert_eq!(log.unwrap().end(), base + 3);
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

#[test]
fn recovery_starts_inside_a_segment_and_finds_what_a_scan_of_all_finds() {
    let origin = tempfile::tempdir().unwrap();
    let mut log = open(origin.path(), one_segment());
    fill_as_producer(&mut log, 6000);
    settle(&mut log);
    let tail_starts = log.size();
    fill_as_producer(&mut log, 6030);
    let size = log.size();
    drop(log);
    for length in (tail_starts..=size).step_by(151).chain([size]) {
        let (whole, tail) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for place in [&whole, &tail] {
            copy_directory(origin.path(), place.path());
            let log = fs::OpenOptions::new()
                .write(true)
                .open(last_file(place.path(), ".log"))
                .unwrap();
            log.set_len(length).unwrap();
        }
        let mut expected = open_at(whole.path(), 0, Disk::new());
        let watch = Arc::new(Watch::default());
        let disk = Disk::breakable(Arc::clone(&watch) as Arc<dyn DiskFaults>);
        let mut log = open_at(tail.path(), 6000, disk);
        let n_read = watch.of_logs.load(Ordering::Relaxed) as u64;
        // And the headers that tell what a producer may send again.
        assert!(n_read < size / 10, "{n_read} of {size} bytes were read");
        assert_eq!(log.recovery_point(), 6000);
        assert_eq!(log.n_bytes_above_recovery_point(), length - tail_starts);
        assert_holds(&log, 0, expected.end());
        assert_eq!(log.epochs(), expected.epochs());
        assert_eq!(
            log.producers().get(1).unwrap().last_sequence() + 1,
            log.end() as i32
        );
        for log in [&mut log, &mut expected] {
            let end = log.end();
            fill_as_producer(log, end + 60);
            settle(log);
        }
        // The time index of what was scanned has its last word. Where nothing was to be scanned, that
        // comes with the end of the segment.
        let times = (length > tail_starts).then_some(".timeindex");
        for ending in [".log", ".index", "checkpoint"].into_iter().chain(times) {
            let (ours, theirs) = (
                files_ending(tail.path(), ending),
                files_ending(whole.path(), ending),
            );
            assert!(ours == theirs, "cut at {length}: {ending} differs");
        }
    }
}

#[test]
fn an_index_that_cannot_be_right_below_the_recovery_point_is_not_believed() {
    let origin = tempfile::tempdir().unwrap();
    let mut log = open(origin.path(), one_segment());
    fill_as_producer(&mut log, 600);
    settle(&mut log);
    fill_as_producer(&mut log, 603);
    drop(log);
    drop(open_at(origin.path(), 0, Disk::new()));
    let (index, times) = (
        last_file(origin.path(), ".index"),
        last_file(origin.path(), ".timeindex"),
    );
    for (path, width, at) in [
        (&index, 8, 3),
        (&index, 8, 7),
        (&times, 12, 5),
        (&times, 12, 11),
    ] {
        let place = tempfile::tempdir().unwrap();
        copy_directory(origin.path(), place.path());
        let name = path.file_name().unwrap();
        let whole = fs::read(path).unwrap();
        let mut bytes = whole.clone();
        // In the middle, where the last entries tell nothing of it.
        let entry = whole.len() / width / 2 * width;
        bytes[entry + at - 3..=entry + at].fill(0);
        fs::write(place.path().join(name), &bytes).unwrap();
        let log = open_at(place.path(), 600, Disk::new());
        assert_holds(&log, 0, 603);
        assert!(
            fs::read(place.path().join(name)).unwrap() == whole,
            "{name:?} at {at}"
        );
    }
}

#[test]
fn an_aborted_transaction_that_a_power_cut_made_up_is_not_believed() {
    let origin = tempfile::tempdir().unwrap();
    let mut log = open(origin.path(), one_segment());
    let builder = BatchBuilder::data(Codec::None)
        .producer(7, 0, 0)
        .transactional();
    append(&mut log, &records_with(builder, 0, 3)).unwrap();
    fill(&mut log, 30);
    let abort = EndMarker {
        is_commit: false,
        coordinator_epoch: 0,
    };
    append_in(&mut log, &abort.batch(7, 0, NOW), 0, Appender::Coordinator).unwrap();
    settle(&mut log);
    let point = log.recovery_point();
    append(&mut log, &records(31, 3)).unwrap();
    drop(log);
    let path = last_file(origin.path(), ".txnindex");
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), 34);
    // The length of an entry came through, its bytes did not, or only some of them.
    let zeros = vec![0; 34];
    let torn = [&whole[..], &whole[..25], &[20], &whole[26..]].concat();
    let twice = [&whole[..], &whole[..]].concat();
    let elsewhere = [&whole[..25], &[29], &whole[26..]].concat();
    let behind = [&whole[..], &zeros].concat();
    for (n, broken) in [zeros, behind, torn, twice, elsewhere].iter().enumerate() {
        let place = tempfile::tempdir().unwrap();
        copy_directory(origin.path(), place.path());
        let index = place.path().join(path.file_name().unwrap());
        fs::write(&index, broken).unwrap();
        let log = open_at(place.path(), point, Disk::new());
        assert_eq!(log.end(), 34);
        assert!(fs::read(&index).unwrap() == whole, "broken in way {n}");
    }
}

#[test]
fn entries_that_an_index_lacks_below_the_recovery_point_are_made() {
    let origin = tempfile::tempdir().unwrap();
    let mut log = open(origin.path(), one_segment());
    fill_as_producer(&mut log, 600);
    settle(&mut log);
    drop(log);
    drop(open_at(origin.path(), 0, Disk::new()));
    let expected = files_ending(origin.path(), "index");
    for path in [".index", ".timeindex"].map(|ending| last_file(origin.path(), ending)) {
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 48 * 24]).unwrap();
    }
    let log = open_at(origin.path(), 600, Disk::new());
    assert_holds(&log, 0, 600);
    assert!(files_ending(origin.path(), "index") == expected);
}

#[test]
fn a_batch_at_the_recovery_point_that_lost_its_front_is_cut() {
    let origin = tempfile::tempdir().unwrap();
    let mut log = open(origin.path(), one_segment());
    fill_as_producer(&mut log, 600);
    settle(&mut log);
    let tail_starts = log.size() as usize;
    fill_as_producer(&mut log, 606);
    drop(log);
    // As a power cut leaves it: the rear of an unsynced write came through, its front did not.
    for n_lost in [7, 8, 12] {
        for index_interval_bytes in [1, 200, 100_000] {
            let place = tempfile::tempdir().unwrap();
            copy_directory(origin.path(), place.path());
            let path = last_file(place.path(), ".log");
            let mut bytes = fs::read(&path).unwrap();
            bytes[tail_starts..tail_starts + n_lost].fill(0);
            fs::write(&path, bytes).unwrap();
            let config = LogConfig {
                index_interval_bytes,
                ..one_segment()
            };
            let log = Log::open(OpenLog {
                recovery_point: 600,
                ..how(place.path(), config, Disk::new())
            })
            .unwrap();
            assert_holds(&log, 0, 600);
        }
    }
}

#[test]
fn producers_of_batches_that_are_gone_are_not_believed() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), one_segment());
    fill_as_producer(&mut log, 300);
    let n_left = log.size();
    fill_as_producer(&mut log, 600);
    settle(&mut log);
    drop(log);
    // As it is when all was to be thrown away, and that was cut short: less than the recovery point
    // says, and the snapshot that was made for it.
    let path = last_file(place.path(), ".log");
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(n_left).unwrap();
    for ending in [".index", ".timeindex"] {
        fs::write(last_file(place.path(), ending), b"").unwrap();
    }
    assert_eq!(files_ending(place.path(), "600.snapshot").len(), 1);
    let mut log = open_at(place.path(), 600, Disk::new());
    assert_holds(&log, 0, 300);
    assert_eq!(log.producers().get(1).unwrap().last_sequence(), 299);
    // What was lost is written when it comes again, not answered as if it were there.
    fill_as_producer(&mut log, 600);
    assert_holds(&log, 0, 600);
}

#[test]
fn spare_bytes_that_came_back_with_the_power_take_nothing_along() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    fill_as_producer(&mut log, 240);
    drop(log);
    let logs = files_ending(place.path(), ".log");
    assert!(logs.len() > 2);
    let (name, bytes) = logs.iter().next().unwrap();
    fs::write(place.path().join(name), [&bytes[..], &[0; 4000]].concat()).unwrap();
    let second: i64 = logs.keys().nth(1).unwrap()[..20].parse().unwrap();
    // From the start of the log, within that segment, and right behind it.
    for point in [0, second / 2 / 3 * 3, second] {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(place.path(), copy.path());
        let log = Log::open(OpenLog {
            recovery_point: point,
            ..how(copy.path(), small(), Disk::new())
        })
        .unwrap();
        assert_holds(&log, 0, 240);
        assert_eq!(files_ending(copy.path(), ".log"), logs, "point {point}");
    }
}

#[test]
fn the_recovery_point_does_not_vouch_for_entries_that_were_added_below_it() {
    let place = tempfile::tempdir().unwrap();
    let sparse = LogConfig {
        index_interval_bytes: 2000,
        ..one_segment()
    };
    let mut log = open(place.path(), sparse.clone());
    fill_as_producer(&mut log, 288);
    settle(&mut log);
    let size = log.size();
    drop(log);
    let opened_with = |config: LogConfig| {
        let how = OpenLog {
            recovery_point: 288,
            ..how(place.path(), config, Disk::new())
        };
        Log::open(how).unwrap()
    };
    let log = opened_with(sparse);
    assert_eq!(log.recovery_point(), 288);
    drop(log);
    let mut log = opened_with(one_segment());
    assert_eq!(
        (log.recovery_point(), log.size()),
        (0, size),
        "there are new ones"
    );
    settle(&mut log);
    drop(log);
    assert_eq!(opened_with(one_segment()).recovery_point(), 288);
}

#[test]
fn snapshots_of_recovery_points_do_not_pile_up() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), one_segment());
    for end in (30..600).step_by(30) {
        fill_as_producer(&mut log, end);
        settle(&mut log);
        assert!(log.recovery_plan().unwrap().is_none(), "nothing is new");
        let snapshots = files_ending(place.path(), ".snapshot");
        assert!(snapshots.len() <= 2, "{:?}", snapshots.keys());
        let newest = format!("{end:020}.snapshot");
        assert!(snapshots.contains_key(&newest), "{newest} is missing");
    }
}

#[test]
fn a_recovery_point_does_not_outlive_a_truncation() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), one_segment());
    fill(&mut log, 60);
    let target = log.recovery_plan().unwrap().unwrap();
    log.truncate(30, NOW).unwrap();
    fill(&mut log, 60);
    target.sync().unwrap();
    log.flushed_to(&target);
    assert_eq!(log.recovery_point(), 0, "it was planned before the cut");
    settle(&mut log);
    log.truncate(45, NOW).unwrap();
    assert_eq!(log.recovery_point(), 45);
}

#[test]
fn after_a_clean_shutdown_no_data_is_read() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig::default();
    let mut log = open(place.path(), config.clone());
    for first in (0..3000).step_by(100) {
        let builder = BatchBuilder::data(Codec::None).producer(1, 0, first as i32);
        append(&mut log, &records_with(builder, first, 100)).unwrap();
    }
    let size = log.size();
    let closed = log.close().unwrap();
    let before = files(place.path());
    let watch = Arc::new(Watch::default());
    let disk = Disk::breakable(Arc::clone(&watch) as Arc<dyn DiskFaults>);
    let how = OpenLog {
        is_clean: true,
        recovery_point: closed.end,
        high_watermark: closed.high_watermark,
        ..how(place.path(), config, disk)
    };
    let log = Log::open(how).unwrap();
    assert_eq!((log.end(), log.flushed()), (3000, 3000));
    assert_eq!(log.producers().get(1).unwrap().last_sequence(), 2999);
    let n_read = watch.of_logs.load(Ordering::Relaxed);
    assert!(n_read <= 8192, "{n_read} of {size} bytes were read");
    log.close().unwrap();
    assert!(
        files(place.path()) == before,
        "opening and closing changed files"
    );
}

#[test]
fn what_a_clean_stop_trims_is_synced() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        preallocate: true,
        segment_bytes: 100_000,
        // Each batch has an entry: the stop has no last words for an index.
        index_interval_bytes: 0,
        ..Default::default()
    };
    let last = Arc::new(LastCall::default());
    let disk = Disk::breakable(Arc::clone(&last) as Arc<dyn DiskFaults>);
    let mut log = Log::open(how(place.path(), config, disk)).unwrap();
    fill_as_producer(&mut log, 30);
    settle(&mut log);
    let size = log.size();
    log.close().unwrap();
    let path = last_file(place.path(), ".log");
    assert_eq!(fs::metadata(path).unwrap().len(), size);
    // Else a power cut brings zeros back behind the last batch, and the next one comes behind them.
    assert_eq!(*last.0.lock(), Some(DiskCall::Sync));
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

type Damage<'a> = &'a dyn Fn(&std::path::Path);

#[test]
fn missing_and_broken_indexes_are_rebuilt() {
    let origin = tempfile::tempdir().unwrap();
    let mut log = open(origin.path(), small());
    fill(&mut log, 120);
    log.close().unwrap();
    let expected = files(origin.path());
    let first = "00000000000000000000";
    let index_of_last = last_file(origin.path(), ".index");
    let last = index_of_last.file_stem().unwrap().to_str().unwrap();
    for base in [first, last] {
        let damages: [(&str, Damage<'_>); 6] = [
            (".index", &|path| fs::remove_file(path).unwrap()),
            (".index", &|path| {
                fs::write(path, b"garbage, 16 long").unwrap()
            }),
            (".index", &|path| fs::write(path, [0; 13]).unwrap()),
            (".index", &|path| {
                // Preallocated and never trimmed.
                let mut bytes = fs::read(path).unwrap();
                bytes.resize(4096, 0);
                fs::write(path, bytes).unwrap();
            }),
            (".timeindex", &|path| fs::write(path, [0; 36]).unwrap()),
            (".txnindex", &|path| fs::write(path, [9; 34]).unwrap()),
        ];
        for (at, (ending, damage)) in damages.into_iter().enumerate() {
            let place = tempfile::tempdir().unwrap();
            copy_directory(origin.path(), place.path());
            damage(&place.path().join(format!("{base}{ending}")));
            let log = open_clean(place.path(), small());
            assert_holds(&log, 0, 120);
            drop(log);
            let mut found = files(place.path());
            found.retain(|name, bytes| !(name.ends_with(".txnindex") && bytes.is_empty()));
            assert!(found == expected, "damage {at} of {base}{ending}");
        }
    }
}

/// What is appended would not follow them, and the next opening would find them broken.
#[test]
fn index_entries_from_behind_the_end_are_not_believed() {
    for (is_active, ending, entry) in [
        (true, "timeindex", vec![0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0]),
        (true, "index", vec![0, 0, 3, 0, 0, 0, 0, 9]),
        (false, "timeindex", vec![0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0]),
        (false, "index", vec![0, 0, 3, 0, 0, 0, 0, 9]),
    ] {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), small());
        fill(&mut log, 90);
        log.close().unwrap();
        let (good, mut all) = (files(place.path()), files_ending(place.path(), ending));
        let (name, _) = match is_active {
            true => all.pop_last().unwrap(),
            false => all.pop_first().unwrap(),
        };
        fs::write(place.path().join(&name), entry).unwrap();
        let log = open_clean(place.path(), small());
        assert_holds(&log, 0, 90);
        log.close().unwrap();
        assert!(files(place.path())[&name] == good[&name], "{name}");
    }
}

#[test]
fn indexes_without_a_segment_go() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    fill(&mut log, 30);
    drop(log);
    for name in [
        "00000000000000000777.index",
        "00000000000000000777.timeindex",
    ] {
        fs::write(place.path().join(name), [0; 24]).unwrap();
    }
    let log = open(place.path(), small());
    assert_holds(&log, 0, 30);
    assert!(!place.path().join("00000000000000000777.index").exists());
}

#[test]
fn a_broken_producer_snapshot_is_replaced_from_the_log() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    for sequence in (0..60).step_by(3) {
        let builder = BatchBuilder::data(Codec::None).producer(9, 0, sequence);
        append(&mut log, &records_with(builder, i64::from(sequence), 3)).unwrap();
    }
    log.close().unwrap();
    let snapshots = files_ending(place.path(), ".snapshot");
    assert!(snapshots.len() >= 2);
    for is_clean in [true, false] {
        for name in snapshots.keys() {
            fs::write(place.path().join(name), b"broken").unwrap();
        }
        let how = OpenLog {
            is_clean,
            ..how(place.path(), small(), Disk::new())
        };
        let log = Log::open(how).unwrap();
        assert_eq!(
            log.producers().get(9).unwrap().last_sequence(),
            59,
            "clean: {is_clean}"
        );
    }
}

#[test]
fn a_snapshot_that_was_not_written_costs_no_producers() {
    let place = tempfile::tempdir().unwrap();
    let full = Arc::new(FullForSnapshots::default());
    let disk = Disk::breakable(Arc::clone(&full) as Arc<dyn DiskFaults>);
    let mut log = Log::open(how(place.path(), one_segment(), disk)).unwrap();
    fill_as_producer(&mut log, 60);
    full.0.store(true, Ordering::Relaxed);
    log.recovery_plan().unwrap_err();
    let left = files_ending(place.path(), ".snapshot");
    assert!(left.is_empty(), "{left:?}");
    full.0.store(false, Ordering::Relaxed);
    log.truncate(30, NOW).unwrap();
    log.close().unwrap();
    let written = files_ending(place.path(), ".snapshot");
    assert_eq!(written.len(), 1, "{written:?}");
    // Or the process was killed before it could take the file away.
    for left_at in [20, 60] {
        let broken = place.path().join(format!("{left_at:020}.snapshot"));
        for is_clean in [true, false] {
            fs::write(&broken, b"").unwrap();
            let how = OpenLog {
                is_clean,
                recovery_point: 30,
                ..how(place.path(), one_segment(), Disk::new())
            };
            let log = Log::open(how).unwrap();
            let known = log.producers().get(1).map(|it| it.last_sequence());
            assert_eq!(known, Some(29), "{left_at}, clean: {is_clean}");
            assert_eq!(files_ending(place.path(), ".snapshot"), written);
        }
    }
}

/// No snapshot can be written.
#[derive(Default)]
struct FullForSnapshots(AtomicBool);

impl DiskFaults for FullForSnapshots {
    fn before(&self, call: DiskCall, path: &std::path::Path, _: usize) -> DiskVerdict {
        let is_snapshot = path.extension().is_some_and(|e| e == "snapshot");
        match is_snapshot && call == DiskCall::Write && self.0.load(Ordering::Relaxed) {
            true => DiskVerdict::Fail(std::io::ErrorKind::StorageFull),
            false => DiskVerdict::Proceed,
        }
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

#[test]
fn the_largest_timestamp_is_known_though_the_time_index_was_full() {
    let config = LogConfig {
        segment_index_bytes: 36,
        index_interval_bytes: 1,
        ..small()
    };
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), config.clone());
    // In one piece, so that nothing rolls in between.
    let batches: Vec<u8> = (0..6)
        .flat_map(|n| {
            let mut batch = records(3 * n, 3).to_vec();
            ottla_protocol::batch::stamp(&mut batch, 3 * n, 0);
            batch
        })
        .collect();
    log.append_as_follower(&batches, 0, NOW).unwrap().unwrap();
    settle(&mut log);
    drop(log);
    let n_entries =
        |ending, width| fs::read(last_file(place.path(), ending)).unwrap().len() / width;
    assert!(
        n_entries(".timeindex", 12) < n_entries(".index", 8),
        "it was full"
    );
    let log = Log::open(OpenLog {
        recovery_point: 18,
        ..how(place.path(), config, Disk::new())
    })
    .unwrap();
    let view = log.view();
    let newest = view.find_offset(OffsetQuery::MaxTimestamp, Isolation::LogEnd);
    assert_eq!(newest.unwrap().unwrap().offset, 17);
}

#[test]
fn a_time_index_that_was_completed_behind_a_point_of_kafka_s_is_looked_at() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), small());
    fill(&mut log, 150);
    settle(&mut log);
    drop(log);
    let before = files_ending(place.path(), ".timeindex");
    let (name, bytes) = before.iter().rev().nth(1).unwrap();
    let torn = [&bytes[..bytes.len() - 12], &[0; 12]].concat();
    fs::write(place.path().join(name), torn).unwrap();
    let stem = last_file(place.path(), ".log");
    let base: i64 = stem.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let log = Log::open(OpenLog {
        recovery_point: base,
        is_point_ours: false,
        ..how(place.path(), small(), Disk::new())
    });
    assert_eq!(log.unwrap().end(), 150);
    assert_eq!(&files_ending(place.path(), ".timeindex")[name], bytes);
}

//! What a recovery point vouches for, and what not.

use super::*;

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

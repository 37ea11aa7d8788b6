//! What a producer may send again after a crash is known.

use super::*;

#[test]
fn batches_of_a_producer_are_known_again_though_others_wrote_between_them() {
    for n_between in [3, 30, 90] {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), one_segment());
        let of_seldom = |log: &mut Log, sequence: i32| {
            let builder = BatchBuilder::data(Codec::None).producer(2, 0, sequence);
            let batch = records_with(builder, log.end(), 3);
            append_in(log, &batch, 9, Appender::Client).unwrap()
        };
        // More than are remembered: the first sequence does not tell that there are no others.
        let mut written = Vec::new();
        for n in 0..7 {
            written.push(of_seldom(&mut log, n * 3).first_offset);
            for other in 0..n_between {
                let sequence = (n * n_between + other) * 3;
                let builder = BatchBuilder::data(Codec::None).producer(1, 0, sequence);
                let batch = records_with(builder, log.end(), 3);
                append_in(&mut log, &batch, 9, Appender::Client).unwrap();
            }
        }
        settle(&mut log);
        drop(log);
        let mut log = Log::open(OpenLog {
            recovery_point: i64::MAX,
            ..how(place.path(), one_segment(), Disk::new())
        })
        .unwrap();
        for n in 2..7 {
            let again = of_seldom(&mut log, n * 3);
            let before = written[n as usize];
            assert!(again.is_duplicate, "{n}: {again:?}");
            assert_eq!(again.first_offset, before, "{n_between} between");
        }
    }
}

#[test]
fn five_batches_of_a_producer_are_known_again_wherever_the_recovery_point_is() {
    for (config, n) in [(one_segment(), 600), (small(), 120)] {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), config.clone());
        fill_as_producer(&mut log, n);
        settle(&mut log);
        drop(log);
        // The answers to the last five were lost with the process.
        let mut log = Log::open(OpenLog {
            recovery_point: n,
            ..how(place.path(), config, Disk::new())
        })
        .unwrap();
        let mut again = |first: i64| {
            let builder = BatchBuilder::data(Codec::None).producer(1, 0, first as i32);
            append_in(
                &mut log,
                &records_with(builder, first, 3),
                9,
                Appender::Client,
            )
        };
        for first in (n - 15..n).step_by(3) {
            let outcome = again(first).unwrap();
            assert!(outcome.is_duplicate, "{outcome:?}");
            assert_eq!(
                (outcome.first_offset, outcome.last_offset),
                (first, first + 2)
            );
        }
        assert!(again(n - 18).is_err());
        assert!(!again(n).unwrap().is_duplicate);
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

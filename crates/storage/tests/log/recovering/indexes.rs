//! Indexes that are missing, broken, or not to be believed.

use super::*;

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

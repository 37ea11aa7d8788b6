//! Leader epochs after a crash.

use super::*;

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

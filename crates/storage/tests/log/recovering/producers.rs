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

//! Sequences, epochs and transactions as one partition sees them; snapshots as Kafka writes them.

use expect_test::{Expect, expect};
use ottla_protocol::batch::{self, NO_SEQUENCE};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400_000;

/// A partition under test: its producers and its end.
#[derive(Default)]
struct Partition {
    producers: Producers,
    end: i64,
}

fn records(id: i64, epoch: i16, sequence: i32, n: i32, end: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::data(Codec::None)
        .producer(id, epoch, sequence)
        .base_offset(end);
    for i in 0..n {
        builder.push(end + i64::from(i), None, Some(b"v"));
    }
    builder
}

impl Partition {
    /// Decide and, if accepted, write.
    fn send(&mut self, builder: BatchBuilder) -> String {
        let bytes = builder.finish();
        let batch = Batch::parse(&bytes).unwrap();
        match self
            .producers
            .decide(*batch, Appender::Client, Verified::NotAsked)
        {
            Ok(Verdict::Accept) => {
                self.producers.apply(batch);
                self.end = batch.next_offset();
                format!("{}..={}", batch.base_offset(), batch.last_offset())
            }
            Ok(Verdict::Duplicate(old)) => {
                format!(
                    "duplicate of {}..={} at {}",
                    old.base_offset, old.last_offset, old.timestamp
                )
            }
            Err(refused) => refused.to_string(),
        }
    }

    fn plain(&mut self, id: i64, epoch: i16, sequence: i32, n: i32) -> String {
        self.send(records(id, epoch, sequence, n, self.end))
    }

    fn in_transaction(&mut self, id: i64, epoch: i16, sequence: i32) -> String {
        self.send(records(id, epoch, sequence, 1, self.end).transactional())
    }

    fn end_transaction(
        &mut self,
        id: i64,
        epoch: i16,
        is_commit: bool,
    ) -> Option<CompletedTransaction> {
        let marker = EndMarker {
            is_commit,
            coordinator_epoch: 0,
        };
        let mut bytes = marker.batch(id, epoch, 5_000).to_vec();
        batch::stamp(&mut bytes, self.end, 0);
        self.end += 1;
        self.producers.apply(Batch::parse(&bytes).unwrap())
    }

    fn marker(
        &self,
        id: i64,
        epoch: i16,
        coordinator_epoch: i32,
        version: TransactionVersion,
    ) -> String {
        let marker = EndMarker {
            is_commit: true,
            coordinator_epoch,
        };
        match self.producers.decide_marker(id, epoch, marker, version) {
            Ok(()) => "fine".to_owned(),
            Err(refused) => refused.to_string(),
        }
    }
}

fn assert_lines(lines: impl IntoIterator<Item = String>, expect: Expect) {
    expect.assert_eq(&lines.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn sequences_follow_each_other() {
    let mut it = Partition::default();
    assert_lines(
        [
            it.plain(1, 0, 0, 10),
            it.plain(1, 0, 10, 5),
            it.plain(1, 0, 16, 1),
            it.plain(1, 0, 14, 2),
            it.plain(1, 0, 15, 1),
            it.plain(2, 0, 77, 1),
            it.plain(2, 0, 78, 1),
            it.plain(-1, -1, NO_SEQUENCE, 3),
        ],
        expect![[r#"
            0..=9
            10..=14
            OUT_OF_ORDER_SEQUENCE_NUMBER: producer 1 of epoch 0 sent sequence 16, expected is 15
            OUT_OF_ORDER_SEQUENCE_NUMBER: producer 1 of epoch 0 sent sequence 14, expected is 15
            15..=15
            16..=16
            17..=17
            18..=20"#]],
    );
    assert_eq!((it.producers.end_offset(), it.producers.len()), (21, 2));
}

#[test]
fn five_batches_are_known_again() {
    let mut it = Partition::default();
    for i in 0..6 {
        it.plain(1, 0, i * 10, 10);
    }
    assert_lines(
        [
            it.plain(1, 0, 0, 10),
            it.plain(1, 0, 10, 10),
            it.plain(1, 0, 50, 10),
            // The same start, another number of records.
            it.plain(1, 0, 50, 9),
        ],
        expect![[r#"
            OUT_OF_ORDER_SEQUENCE_NUMBER: producer 1 of epoch 0 sent sequence 0, expected is 60
            duplicate of 10..=19 at 19
            duplicate of 50..=59 at 59
            OUT_OF_ORDER_SEQUENCE_NUMBER: producer 1 of epoch 0 sent sequence 50, expected is 60"#]],
    );
}

#[test]
fn epochs_fence_and_start_anew() {
    let mut it = Partition::default();
    assert_lines(
        [
            it.plain(1, 3, 0, 1),
            it.plain(1, 2, 1, 1),
            it.plain(1, 4, 1, 1),
            it.plain(1, 4, 0, 1),
            it.plain(1, 3, 0, 1),
            it.plain(1, 4, 0, 1),
        ],
        expect![[r#"
            0..=0
            INVALID_PRODUCER_EPOCH: producer 1 has epoch 3, not 2
            OUT_OF_ORDER_SEQUENCE_NUMBER: producer 1 of epoch 4 sent sequence 1, expected is 0
            1..=1
            INVALID_PRODUCER_EPOCH: producer 1 has epoch 4, not 3
            duplicate of 1..=1 at 1"#]],
    );
}

#[test]
fn sequences_wrap() {
    let mut it = Partition::default();
    assert_lines(
        [
            it.plain(1, 0, i32::MAX - 1, 4),
            it.plain(1, 0, 2, 1),
            it.plain(1, 0, i32::MAX - 1, 4),
            it.plain(1, 0, i32::MAX, 1),
        ],
        expect![[r#"
            0..=3
            4..=4
            duplicate of 0..=3 at 3
            OUT_OF_ORDER_SEQUENCE_NUMBER: producer 1 of epoch 0 sent sequence 2147483647, expected is 3"#]],
    );
}

#[test]
fn readers_wait_for_transactions() {
    let mut it = Partition::default();
    it.plain(9, 0, 0, 5);
    it.in_transaction(1, 0, 0);
    it.in_transaction(2, 0, 0);
    it.in_transaction(1, 0, 1);
    assert_eq!(it.producers.first_unstable_offset(), Some(5));
    assert_eq!(it.producers.oldest_transaction_wrote_at(), Some(7));
    assert_eq!(
        (
            it.producers.last_stable_offset(4),
            it.producers.last_stable_offset(8)
        ),
        (4, 5)
    );

    let ended = it.end_transaction(1, 0, false).unwrap();
    expect![[r#"
        CompletedTransaction {
            producer_id: 1,
            first_offset: 5,
            last_offset: 8,
            is_abort: true,
        }
    "#]]
    .assert_debug_eq(&ended);
    assert_eq!(
        it.producers.first_unstable_offset(),
        Some(5),
        "not complete yet"
    );
    assert_eq!(it.producers.last_stable_offset_after(&ended), 6);
    it.producers.complete(&ended);
    assert_eq!(
        it.producers.first_unstable_offset(),
        Some(5),
        "not replicated yet"
    );
    it.producers.high_watermark_moved(8);
    assert_eq!(
        it.producers.first_unstable_offset(),
        Some(5),
        "the marker is at 8"
    );
    it.producers.high_watermark_moved(9);
    assert_eq!(it.producers.first_unstable_offset(), Some(6));

    let ended = it.end_transaction(2, 0, true).unwrap();
    assert!(!ended.is_abort);
    assert_eq!(it.producers.last_stable_offset_after(&ended), 10);
    assert_eq!(it.producers.oldest_transaction_wrote_at(), Some(5_000));
    it.producers.complete(&ended);
    assert_eq!(it.producers.oldest_transaction_wrote_at(), None);
    it.producers.start_offset_moved(10);
    assert_eq!(
        (
            it.producers.first_unstable_offset(),
            it.producers.last_stable_offset(10)
        ),
        (None, 10)
    );
    assert_eq!(it.end_transaction(2, 0, true), None, "nothing was open");
}

#[test]
fn no_plain_records_within_a_transaction() {
    let mut it = Partition::default();
    assert_lines(
        [
            it.in_transaction(1, 0, 0),
            it.plain(1, 0, 1, 1),
            it.in_transaction(1, 0, 1),
        ],
        expect![[r#"
            0..=0
            INVALID_TXN_STATE: producer 1 has an open transaction in this partition
            1..=1"#]],
    );
}

#[test]
fn markers() {
    use TransactionVersion::{BumpedEpoch, SameEpoch};
    let mut it = Partition::default();
    it.in_transaction(1, 5, 0);
    it.in_transaction(2, i16::MAX, 0);
    let open = [
        it.marker(1, 4, 0, SameEpoch),
        it.marker(1, 5, 0, SameEpoch),
        it.marker(1, 5, 0, BumpedEpoch),
        it.marker(1, 6, 0, BumpedEpoch),
        it.marker(2, i16::MAX, 0, BumpedEpoch),
        it.marker(3, 0, 0, BumpedEpoch),
    ];
    it.end_transaction(1, 6, true);
    let ended = [
        it.marker(1, 6, 0, BumpedEpoch),
        it.marker(1, 5, 0, BumpedEpoch),
        it.marker(1, 6, -1, BumpedEpoch),
        it.plain(1, 6, 1, 1),
        it.plain(1, 6, 0, 1),
    ];
    assert_lines(
        open.into_iter().chain(ended),
        expect![[r#"
        INVALID_PRODUCER_EPOCH: producer 1 has epoch 5, not 4
        fine
        INVALID_PRODUCER_EPOCH: producer 1 has epoch 5, not 5
        fine
        fine
        fine
        fine
        INVALID_PRODUCER_EPOCH: producer 1 has epoch 6, not 5
        TRANSACTION_COORDINATOR_FENCED: coordinator epoch -1 is behind 0
        OUT_OF_ORDER_SEQUENCE_NUMBER: producer 1 of epoch 6 sent sequence 1, expected is 0
        3..=3"#]],
    );
}

#[test]
fn a_transaction_begins_only_under_the_guard_that_was_verified() {
    let mut it = Partition::default();
    let decide = |it: &Partition, epoch, sequence, guard| {
        let batch = records(1, epoch, sequence, 1, it.end).transactional();
        let bytes = batch.finish();
        let batch = Batch::parse(&bytes).unwrap();
        let verified = Verified::Under(guard);
        match it.producers.decide(*batch, Appender::Client, verified) {
            Ok(verdict) => format!("{verdict:?}"),
            Err(refused) => refused.to_string(),
        }
    };
    let begin = |it: &mut Partition, producer_epoch, base_sequence| {
        let asked = Unverified {
            producer_id: 1,
            producer_epoch,
            base_sequence,
            bumps_epoch: true,
            now_ms: 0,
        };
        it.producers.begin_verification(asked)
    };
    let unasked = decide(&it, 0, 0, None);
    let guard = begin(&mut it, 0, 3).unwrap();
    let late_start = decide(&it, 0, 3, guard);
    assert_eq!(begin(&mut it, 0, 0).unwrap(), guard);
    let overtaking = decide(&it, 0, 3, guard);
    let first = decide(&it, 0, 0, guard);
    it.in_transaction(1, 0, 0);
    assert_eq!(begin(&mut it, 0, 1).unwrap(), None, "it is open");
    let second = decide(&it, 0, 1, None);
    it.end_transaction(1, 1, false);
    let after_the_end = decide(&it, 0, 1, guard);
    let fenced = begin(&mut it, 0, 1).unwrap_err().to_string();
    let next = begin(&mut it, 1, 0).unwrap();
    let old_guard = decide(&it, 1, 0, guard);
    let next = decide(&it, 1, 0, next);
    assert_lines(
        [
            unasked,
            late_start,
            overtaking,
            first,
            second,
            after_the_end,
            fenced,
            old_guard,
            next,
        ],
        expect![[r#"
            INVALID_TXN_STATE: Record was not part of an ongoing transaction
            OUT_OF_ORDER_SEQUENCE_NUMBER: producer 1 sent sequence 3 into a new transaction, expected is 0
            OUT_OF_ORDER_SEQUENCE_NUMBER: producer 1 sent sequence 3 into a new transaction, expected is 0
            Accept
            Accept
            INVALID_PRODUCER_EPOCH: producer 1 has epoch 1, not 0
            INVALID_PRODUCER_EPOCH: producer 1 has epoch 1, not 0
            INVALID_TXN_STATE: Record was not part of an ongoing transaction
            Accept"#]],
    );
}

#[test]
fn coordinators_have_no_sequences() {
    let mut it = Partition::default();
    it.in_transaction(1, 2, 0);
    let decide = |epoch| {
        let bytes = records(1, epoch, NO_SEQUENCE, 1, 9)
            .transactional()
            .finish();
        it.producers.decide(
            *Batch::parse(&bytes).unwrap(),
            Appender::Coordinator,
            Verified::NotAsked,
        )
    };
    assert_eq!(decide(2), Ok(Verdict::Accept));
    assert_eq!(
        decide(1).unwrap_err().refusal,
        ottla_protocol::Refusal::InvalidProducerEpoch
    );
}

#[test]
fn idle_producers_expire() {
    let mut it = Partition::default();
    it.plain(1, 0, 0, 1);
    it.in_transaction(2, 0, 0);
    assert_eq!(it.producers.expire(DAY - 1, DAY), 0);
    assert_eq!(it.producers.expire(2 * DAY, DAY), 1);
    assert!(it.producers.get(1).is_none() && it.producers.get(2).is_some());
    assert!(
        it.plain(1, 0, 55, 1).starts_with("2.."),
        "any sequence begins its story again"
    );
}

#[test]
fn memory_is_bounded() {
    let mut it = Partition::default();
    it.in_transaction(0, 0, 0);
    for id in 1..=PRODUCERS_MAX as i64 {
        it.plain(id, 0, 0, 1);
    }
    assert_eq!(it.producers.len(), PRODUCERS_MAX + 1 - FORGOTTEN_AT_ONCE);
    assert!(
        it.producers.get(0).is_some(),
        "an open transaction is never forgotten"
    );
    assert!(it.producers.get(1).is_none() && it.producers.get(PRODUCERS_MAX as i64).is_some());
}

/// Replaying a log that Kafka wrote gives the snapshot that Kafka wrote.
fn replay(log: &[u8]) -> Producers {
    let mut producers = Producers::empty(0);
    for batch in batch::batches(log) {
        if let Some(ended) = producers.apply(batch.unwrap()) {
            producers.complete(&ended);
        }
    }
    producers
}

#[test]
fn snapshots_written_by_kafka() {
    let check = |log: &[u8], snapshot: &[u8], end_offset| {
        let producers = replay(log);
        assert_eq!(producers.end_offset(), end_offset);
        assert_eq!(snapshot::encode(&producers), snapshot);
        let decoded = snapshot::decode(snapshot).unwrap();
        let loaded = Producers::load(decoded, end_offset, 0, DAY);
        assert_eq!(snapshot::encode(&loaded), snapshot);
        loaded
    };
    check(
        include_bytes!("../../testdata/producer/idempotent.log"),
        include_bytes!("../../testdata/producer/idempotent.snapshot"),
        16,
    );
    let loaded = check(
        include_bytes!("../../testdata/producer/transactions.log"),
        include_bytes!("../../testdata/producer/transactions.snapshot"),
        303,
    );
    check(
        b"",
        include_bytes!("../../testdata/producer/empty.snapshot"),
        0,
    );
    let summary = |it: &Producer| {
        let last = (it.last_sequence(), it.last_offset(), it.last_timestamp());
        let transaction = (it.coordinator_epoch(), it.transaction_start());
        format!(
            "{} in epoch {}: {last:?} {transaction:?}",
            it.id(),
            it.epoch()
        )
    };
    assert_lines(
        loaded.iter().map(summary),
        expect!["5 in epoch 3: (-1, -1, 1795250656157) (0, None)"],
    );
}

#[test]
fn snapshot_keeps_the_newest_batch_and_the_transaction() {
    let mut it = Partition::default();
    it.plain(3, 1, 0, 4);
    it.plain(3, 1, 4, 2);
    it.in_transaction(1, 0, 0);
    it.end_transaction(2, 4, true);
    let bytes = snapshot::encode(&it.producers);
    assert_eq!(bytes.len(), 10 + 3 * 46);
    let mut again = Partition {
        producers: Producers::load(snapshot::decode(&bytes).unwrap(), it.end, 5, DAY),
        end: it.end,
    };
    assert_eq!(again.producers.first_unstable_offset(), Some(6));
    assert_eq!(snapshot::encode(&again.producers), bytes);
    assert_lines(
        [
            again.plain(3, 1, 4, 2),
            again.plain(3, 1, 0, 4),
            again.plain(3, 1, 6, 1),
            again.plain(2, 4, 0, 1),
        ],
        expect![[r#"
            duplicate of 4..=5 at 5
            OUT_OF_ORDER_SEQUENCE_NUMBER: producer 3 of epoch 1 sent sequence 0, expected is 6
            8..=8
            9..=9"#]],
    );
    let later = Producers::load(snapshot::decode(&bytes).unwrap(), it.end, 3 * DAY, DAY);
    assert_eq!(later.len(), 1, "only the open transaction does not expire");
}

#[test]
fn what_a_snapshot_lacks_is_recalled_from_the_log() {
    let mut it = Partition::default();
    it.plain(4, 0, 0, 1);
    for i in 0..7 {
        it.plain(3, 1, i * 2, 2);
    }
    let bytes = snapshot::encode(&it.producers);
    let mut again = Partition {
        producers: Producers::load(snapshot::decode(&bytes).unwrap(), it.end, 5, DAY),
        end: it.end,
    };
    let mut recall = |builder: BatchBuilder| {
        let bytes = builder.finish();
        let header = Header::parse(&bytes).unwrap();
        let (id, epoch) = (header.producer_id(), header.producer_epoch());
        again.producers.recall(id, epoch, SeenBatch::of(header));
        again.producers.lack_batches_from(0)
    };
    // What the snapshot has, of an epoch that is over, and of nobody.
    assert!(recall(records(3, 1, 12, 2, 13)));
    assert!(recall(records(3, 0, 90, 2, 0)));
    assert!(recall(records(5, 0, 0, 1, 0)));
    let lacks = [5, 4, 3, 2, 1, 0].map(|i| recall(records(3, 1, i * 2, 2, 1 + i64::from(i) * 2)));
    assert_eq!(lacks, [true, true, true, false, false, false]);
    assert_eq!(again.producers.get(3), it.producers.get(3));
    assert_eq!(again.producers.len(), 2);
    assert_lines(
        [again.plain(3, 1, 4, 2), again.plain(3, 1, 2, 2)],
        expect![[r#"
            duplicate of 5..=6 at 6
            OUT_OF_ORDER_SEQUENCE_NUMBER: producer 3 of epoch 1 sent sequence 2, expected is 14"#]],
    );
}

#[test]
fn damaged_snapshots() {
    let good: &[u8] = include_bytes!("../../testdata/producer/transactions.snapshot");
    for cut in 0..good.len() {
        assert!(snapshot::decode(&good[..cut]).is_err(), "{cut}");
    }
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0x10;
        assert!(snapshot::decode(&bad).is_err(), "{at}");
    }
    let claiming = |count: i32| {
        let mut bytes = good.to_vec();
        bytes[6..10].copy_from_slice(&count.to_be_bytes());
        let crc = batch::crc32c(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        snapshot::decode(&bytes).map(|entries| entries.len())
    };
    assert_lines(
        [-1, 0, 1, 2, i32::MAX].map(|count| format!("{:?}", claiming(count))),
        expect![[r#"
            Err(Count(-1))
            Ok(0)
            Ok(1)
            Err(Count(2))
            Err(Count(2147483647))"#]],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_snapshot(bytes: Vec<u8>) {
        let _ = snapshot::decode(&bytes);
    }

    /// One producer that repeats and skips at will: what is in the log has no gap and no double.
    #[test]
    fn log_stays_in_sequence(sends in proptest::collection::vec((0_i32..40, 1_i32..6), 1..60)) {
        let mut it = Partition::default();
        it.plain(1, 0, 0, 1);
        let mut next = 1;
        for (sequence, n) in sends {
            let before = it.end;
            let answer = it.plain(1, 0, sequence, n);
            if it.end > before {
                prop_assert_eq!(sequence, next, "{}", answer);
                next += n;
            }
        }
        prop_assert_eq!(i64::from(next), it.end);
    }

    /// Headers from outside may say anything.
    #[test]
    fn any_header(fields in proptest::collection::vec((23_usize..61, any::<u8>()), 0..20), control: bool) {
        let mut it = Partition::default();
        it.in_transaction(1, 0, 0);
        let mut bytes = records(1, 0, 1, 2, 1).finish().to_vec();
        for (at, to) in fields {
            bytes[at] = to;
        }
        if control {
            bytes[22] |= 0x20;
        }
        let batch = Batch::parse(&bytes).unwrap();
        let _ = it.producers.decide(*batch, Appender::Client, Verified::NotAsked);
        it.producers.apply(batch);
        let again = snapshot::decode(&snapshot::encode(&it.producers)).unwrap();
        prop_assert_eq!(again.len(), it.producers.len());
    }
}

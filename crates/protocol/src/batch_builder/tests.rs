//! What is built is what is read, byte for byte like Kafka's where we have its bytes.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::batch::{self, OPENED_BYTES_MAX, scan};

const CONSOLE: &[u8] = include_bytes!("../../testdata/batches/console-none.log");
const KRAFT_CONTROL: &[u8] = include_bytes!("../../testdata/batches/kraft-control.log");

fn check(actual: impl std::fmt::Debug, expect: Expect) {
    expect.assert_debug_eq(&actual);
}

/// Read a batch and build it again: the same bytes.
fn again(bytes: &[u8]) {
    let batch = Batch::parse(bytes).unwrap();
    let payload = batch.payload(OPENED_BYTES_MAX).unwrap();
    let mut builder = match batch.is_control() {
        true => BatchBuilder::control(batch.base_offset(), batch.leader_epoch()),
        false => BatchBuilder::internal(batch.base_offset(), batch.leader_epoch()),
    }
    .producer(
        batch.producer_id(),
        batch.producer_epoch(),
        batch.base_sequence(),
    );
    for record in payload.records() {
        let record = record.unwrap();
        let headers: Vec<_> = record.headers.iter().map(|it| (it.key, it.value)).collect();
        builder.push_with_headers(record.timestamp, record.key, record.value, &headers);
    }
    assert_eq!(builder.size(), batch.size());
    assert_eq!(builder.next_offset(), batch.next_offset());
    assert_eq!(builder.finish(), batch.bytes());
}

#[test]
fn kafkas_bytes_again() {
    for batch in batch::batches(CONSOLE) {
        again(batch.unwrap().bytes());
    }
    again(KRAFT_CONTROL);
}

#[test]
fn marker() {
    let marker = EndMarker {
        is_commit: true,
        coordinator_epoch: 12,
    };
    let bytes = marker.batch(9, 3, 5_000);
    let batch = Batch::parse(&bytes).unwrap();
    batch.verify_crc().unwrap();
    assert!(batch.is_control() && batch.is_transactional());
    let payload = batch.payload(OPENED_BYTES_MAX).unwrap();
    let record = payload.records().next().unwrap().unwrap();
    check(
        (batch, record.key, record.value),
        expect![[r#"
        (
            Batch {
                base_offset: 0,
                last_offset: 0,
                leader_epoch: -1,
                size: 78,
                attributes: 0x30,
                base_timestamp: 5000,
                max_timestamp: 5000,
                producer: (
                    9,
                    3,
                ),
                base_sequence: -1,
                n_records: 1,
            },
            Some(
                [
                    0,
                    0,
                    0,
                    1,
                ],
            ),
            Some(
                [
                    0,
                    0,
                    0,
                    0,
                    0,
                    12,
                ],
            ),
        )
    "#]],
    );
    assert_eq!(
        EndMarker::parse(record.key.unwrap(), record.value.unwrap()),
        Some(marker)
    );
    assert_eq!(
        EndMarker::parse(&ControlKind::LeaderChange.key(), &[0; 6]),
        None
    );
    assert_eq!(EndMarker::parse(&ControlKind::Abort.key(), &[0; 5]), None);
    assert_eq!(EndMarker::parse(&[0, 0, 0], &[0; 6]), None);
}

#[test]
fn control_kinds() {
    for number in [0, 1, 2, 3, 4, 5, 6, 7, -1] {
        let kind = ControlKind::from_number(number);
        assert_eq!(
            (kind.number(), ControlKind::from_key(&kind.key())),
            (number, Some(kind))
        );
    }
}

#[test]
fn empty_batch() {
    let bytes = BatchBuilder::internal(40, 2).finish();
    let batch = Batch::parse(&bytes).unwrap();
    assert_eq!(
        (batch.next_offset(), batch.n_records(), batch.verify_crc()),
        (40, 0, Ok(()))
    );
    assert_eq!(scan(batch, 0, |_| ()), Ok(0));
}

#[test]
fn append_time() {
    let mut builder = BatchBuilder::data(Codec::Lz4).append_time(77);
    builder.push(5, None, Some(b"a"));
    builder.push(500, None, Some(b"b"));
    let bytes = builder.finish();
    let payload = Batch::parse(&bytes)
        .unwrap()
        .payload(OPENED_BYTES_MAX)
        .unwrap();
    assert!(
        payload
            .records()
            .all(|record| record.unwrap().timestamp == 77)
    );
}

#[test]
fn rebuilt_with_dense_offsets() {
    let mut builder = BatchBuilder::data(Codec::Gzip)
        .producer(4, 2, 10)
        .transactional();
    for delta in [3, 5, 9] {
        builder.push_at(
            delta,
            100 - i64::from(delta),
            None,
            Some(b"v"),
            [].into_iter(),
        );
    }
    let source = builder.base_offset(70).leader_epoch(8).finish();
    let rebuilt = rebuild(
        Batch::parse(&source).unwrap(),
        Codec::Zstd.into(),
        OPENED_BYTES_MAX,
    )
    .unwrap();
    let batch = Batch::parse(&rebuilt).unwrap();
    let payload = batch.payload(OPENED_BYTES_MAX).unwrap();
    let records: Vec<_> = payload
        .records()
        .map(|it| it.unwrap())
        .map(|it| (it.offset, it.timestamp))
        .collect();
    assert!(batch.is_transactional());
    check(
        (batch, records),
        expect![[r#"
        (
            Batch {
                base_offset: 0,
                last_offset: 2,
                leader_epoch: -1,
                size: 94,
                attributes: 0x14,
                base_timestamp: 97,
                max_timestamp: 97,
                producer: (
                    4,
                    2,
                ),
                base_sequence: 10,
                n_records: 3,
            },
            [
                (
                    0,
                    97,
                ),
                (
                    1,
                    95,
                ),
                (
                    2,
                    91,
                ),
            ],
        )
    "#]],
    );
}

#[test]
fn rebuild_refuses_a_bomb() {
    let mut builder = BatchBuilder::data(Codec::Gzip);
    builder.push(0, None, Some(&[0; 5000]));
    let source = builder.finish();
    assert!(rebuild(Batch::parse(&source).unwrap(), Codec::None.into(), 4000).is_err());
}

type Field = Option<Vec<u8>>;

fn field() -> impl Strategy<Value = Field> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_goes_in_comes_out(
        records in proptest::collection::vec((any::<i64>(), field(), field()), 0..20),
        headers in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..9), field()), 0..4),
        bits in 0_u8..5,
    ) {
        let mut builder = BatchBuilder::data(Codec::from_bits(bits).unwrap());
        let headers: Vec<NewHeader<'_>> =
            headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
        for (timestamp, key, value) in &records {
            builder.push_with_headers(*timestamp, key.as_deref(), value.as_deref(), &headers);
        }
        let bytes = builder.finish();
        let batch = Batch::parse(&bytes).unwrap();
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        let payload = batch.payload(OPENED_BYTES_MAX).unwrap();
        let mut n = 0;
        for (record, (timestamp, key, value)) in payload.records().zip(&records) {
            let record = record.unwrap();
            prop_assert_eq!((record.offset, record.timestamp), (n, *timestamp));
            prop_assert_eq!((record.key, record.value), (key.as_deref(), value.as_deref()));
            prop_assert!(record.headers.iter().map(|it| (it.key, it.value)).eq(headers.iter().copied()));
            n += 1;
        }
        prop_assert_eq!(n, records.len() as i64);
        let mut max = -1;
        let size = scan(batch, OPENED_BYTES_MAX, |record| max = record.timestamp.max(max));
        prop_assert_eq!((size, max), (Ok(payload.bytes().len()), batch.max_timestamp()));
    }
}

//! Batches recorded from Kafka, and batches that nobody should send.

use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::ops::ControlFlow;

use super::*;
use crate::batch_builder::BatchBuilder;

const CONSOLE: [(Codec, &[u8]); 5] = [
    (
        Codec::None,
        include_bytes!("../../testdata/batches/console-none.log"),
    ),
    (
        Codec::Gzip,
        include_bytes!("../../testdata/batches/console-gzip.log"),
    ),
    (
        Codec::Snappy,
        include_bytes!("../../testdata/batches/console-snappy.log"),
    ),
    (
        Codec::Lz4,
        include_bytes!("../../testdata/batches/console-lz4.log"),
    ),
    (
        Codec::Zstd,
        include_bytes!("../../testdata/batches/console-zstd.log"),
    ),
];
const BIG: [(Codec, &[u8]); 4] = [
    (
        Codec::Gzip,
        include_bytes!("../../testdata/batches/big-gzip.log"),
    ),
    (
        Codec::Snappy,
        include_bytes!("../../testdata/batches/big-snappy.log"),
    ),
    (
        Codec::Lz4,
        include_bytes!("../../testdata/batches/big-lz4.log"),
    ),
    (
        Codec::Zstd,
        include_bytes!("../../testdata/batches/big-zstd.log"),
    ),
];
const KRAFT_CONTROL: &[u8] = include_bytes!("../../testdata/batches/kraft-control.log");

fn check(actual: impl fmt::Debug, expect: Expect) {
    expect.assert_debug_eq(&actual);
}

fn only(bytes: &[u8]) -> Batch<'_> {
    let batch = Batch::parse(bytes).unwrap();
    assert_eq!(batch.size(), bytes.len());
    batch
}

fn sample(codec: Codec, n: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::data(codec).producer(7, 1, 0);
    for i in 0..n {
        let value = format!("value {i} value {i} value {i}");
        builder.push(1_000 + i64::from(i), Some(b"key"), Some(value.as_bytes()));
    }
    builder.finish().to_vec()
}

/// What `scan` says, as far as it goes.
fn scanned(bytes: &[u8]) -> Result<usize, CorruptBatch> {
    scan(Batch::parse(bytes)?, OPENED_BYTES_MAX, |_| ())
}

/// What the iterator says: both walks must agree.
fn iterated(bytes: &[u8]) -> Result<usize, CorruptBatch> {
    let payload = Batch::parse(bytes)?.payload(OPENED_BYTES_MAX)?;
    payload
        .records()
        .try_fold(0, |n, record| Ok(n + record?.size))
}

#[test]
fn header_written_by_kafka() {
    let batch = Batch::parse(CONSOLE[3].1).unwrap();
    batch.verify_crc().unwrap();
    check(
        (
            batch,
            batch.codec(),
            batch.timestamp_kind(),
            batch.last_sequence(),
            batch.is_control(),
        ),
        expect![[r#"
            (
                Batch {
                    base_offset: 0,
                    last_offset: 15,
                    leader_epoch: 0,
                    size: 484,
                    attributes: 0x03,
                    base_timestamp: 1795250633719,
                    max_timestamp: 1795250633725,
                    producer: (
                        3,
                        0,
                    ),
                    base_sequence: 0,
                    n_records: 16,
                },
                Ok(
                    Lz4,
                ),
                CreateTime,
                15,
                false,
            )
        "#]],
    );
}

#[test]
fn control_batch_of_the_quorum() {
    let batch = only(KRAFT_CONTROL);
    batch.verify_crc().unwrap();
    assert!(batch.is_control() && !batch.is_transactional() && !batch.has_producer_id());
    let payload = batch.payload(OPENED_BYTES_MAX).unwrap();
    let kinds: Vec<_> = payload
        .records()
        .map(|record| crate::batch_builder::ControlKind::from_key(record.unwrap().key.unwrap()))
        .collect();
    check(
        kinds,
        expect![[r#"
        [
            Some(
                LeaderChange,
            ),
            Some(
                KraftVersion,
            ),
            Some(
                KraftVoters,
            ),
        ]
    "#]],
    );
}

#[test]
fn records_of_each_codec_written_by_kafka() {
    let mut first_of_all = None;
    for (codec, bytes) in CONSOLE {
        let mut n = 0;
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            assert_eq!(batch.codec(), Ok(codec));
            batch.verify_crc().unwrap();
            let payload = batch.payload(OPENED_BYTES_MAX).unwrap();
            for record in payload.records() {
                let record = record.unwrap();
                assert_eq!(record.offset, n);
                let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
                assert!(value.contains(codec.name()), "{value}");
                let headers: Vec<_> = record
                    .headers
                    .iter()
                    .map(|it| (it.key_text().into_owned(), it.value))
                    .collect();
                assert_eq!(headers.len(), 3);
                if first_of_all.is_none() {
                    first_of_all = Some(format!("{:?} {headers:?}", record.key.map(<[u8]>::len)));
                }
                n += 1;
            }
            let mut seen = 0;
            let size = scan(batch, OPENED_BYTES_MAX, |record| {
                assert_eq!((record.index, record.offset_delta), (seen, seen));
                assert!(record.has_key && record.timestamp <= batch.max_timestamp());
                seen += 1;
            });
            assert_eq!((size, seen), (Ok(payload.bytes().len()), batch.n_records()));
        }
        assert_eq!(n, 16, "{codec:?}");
    }
    check(
        first_of_all,
        expect![[r#"
        Some(
            "Some(5) [(\"h1\", Some([118, 49])), (\"h1\", Some([97, 103, 97, 105, 110])), (\"h2\", Some([120]))]",
        )
    "#]],
    );
}

#[test]
fn many_blocks_written_by_kafka() {
    for (codec, bytes) in BIG {
        let batch = only(bytes);
        assert_eq!(batch.codec(), Ok(codec));
        let payload = batch.payload(OPENED_BYTES_MAX).unwrap();
        let sizes: Vec<_> = payload
            .records()
            .map(|it| it.unwrap().value.map(<[u8]>::len))
            .collect();
        assert_eq!(sizes.len(), 3, "{codec:?}");
        assert!(
            sizes
                .iter()
                .all(|size| size.is_some_and(|size| size > 47_000))
        );
        assert_eq!(
            scan(batch, OPENED_BYTES_MAX, |_| ()),
            Ok(payload.bytes().len())
        );
    }
}

#[test]
fn batches_one_behind_the_other() {
    let mut bytes = sample(Codec::None, 2);
    let whole = bytes.len();
    bytes.extend(sample(Codec::Zstd, 3));
    let both = bytes.len();
    bytes.extend_from_slice(&sample(Codec::None, 1)[..80]);
    let mut walk = batches(&bytes);
    let counts: Vec<_> = walk
        .by_ref()
        .map(|batch| batch.unwrap().n_records())
        .collect();
    assert_eq!((counts, walk.position()), (vec![2, 3], both));

    bytes[whole + AT_MAGIC] = 1;
    let mut walk = batches(&bytes);
    assert!(walk.next().unwrap().is_ok());
    check(
        (
            walk.next().map(|it| it.err()),
            walk.next().is_none(),
            walk.position() == whole,
        ),
        expect![[r#"
            (
                Some(
                    Some(
                        Magic {
                            magic: 1,
                        },
                    ),
                ),
                true,
                true,
            )
        "#]],
    );
}

#[test]
fn prefix_of_any_magic() {
    let legacy = |magic: u8, length: i32| {
        let mut bytes = [0; PREFIX_LEN];
        bytes[7] = 42;
        bytes[AT_LENGTH..AT_LENGTH + 4].copy_from_slice(&length.to_be_bytes());
        bytes[AT_MAGIC] = magic;
        bytes
    };
    check(
        [
            peek(&legacy(0, 14)),
            peek(&legacy(1, 13)),
            peek(&legacy(2, 48)),
            peek(&legacy(2, 49)),
            peek(&legacy(2, -1)),
            peek(&legacy(2, i32::MAX)),
            peek(&legacy(2, 49)[..16]),
        ],
        expect![[r#"
            [
                Some(
                    Ok(
                        Prefix {
                            offset: 42,
                            size: 26,
                            magic: 0,
                        },
                    ),
                ),
                Some(
                    Err(
                        Length {
                            claimed: 13,
                        },
                    ),
                ),
                Some(
                    Err(
                        Length {
                            claimed: 48,
                        },
                    ),
                ),
                Some(
                    Ok(
                        Prefix {
                            offset: 42,
                            size: 61,
                            magic: 2,
                        },
                    ),
                ),
                Some(
                    Err(
                        Length {
                            claimed: -1,
                        },
                    ),
                ),
                Some(
                    Ok(
                        Prefix {
                            offset: 42,
                            size: 2147483659,
                            magic: 2,
                        },
                    ),
                ),
                None,
            ]
        "#]],
    );
}

#[test]
fn stamps_outside_the_crc() {
    let mut bytes = sample(Codec::Lz4, 3);
    stamp(&mut bytes, 1_000, 5);
    let batch = only(&bytes);
    batch.verify_crc().unwrap();
    let offsets: Vec<_> = batch
        .payload(OPENED_BYTES_MAX)
        .unwrap()
        .records()
        .map(|record| record.unwrap().offset)
        .collect();
    assert_eq!(
        (offsets, batch.leader_epoch(), batch.next_offset()),
        (vec![1000, 1001, 1002], 5, 1003)
    );
}

#[test]
fn append_time_is_everybodys_time() {
    let mut bytes = sample(Codec::None, 2);
    assert!(!stamp_timestamp(
        &mut bytes,
        TimestampKind::CreateTime,
        1_001
    ));
    assert!(stamp_timestamp(
        &mut bytes,
        TimestampKind::LogAppendTime,
        99
    ));
    let batch = only(&bytes);
    batch.verify_crc().unwrap();
    let payload = batch.payload(OPENED_BYTES_MAX).unwrap();
    assert!(
        payload
            .records()
            .all(|record| record.unwrap().timestamp == 99)
    );
}

#[test]
fn a_producer_sends_the_same_records_again() {
    let mut bytes = sample(Codec::Lz4, 3);
    let body = bytes[HEADER_LEN..].to_vec();
    stamp_producer(&mut bytes[..HEADER_LEN], 77, (9, 2, 41));
    let batch = only(&bytes);
    batch.verify_crc().unwrap();
    assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (77, 77));
    assert_eq!((batch.producer_id(), batch.producer_epoch()), (9, 2));
    assert_eq!((batch.base_sequence(), batch.body()), (41, &body[..]));
}

proptest! {
    /// The corrected CRC is the computed one, whatever the size of the body.
    #[test]
    fn corrected_crc_is_right(n in 0..200_i32, time: i64, append_time: bool) {
        let mut bytes = sample(Codec::None, n);
        let kind = if append_time { TimestampKind::LogAppendTime } else { TimestampKind::CreateTime };
        stamp_timestamp(&mut bytes, kind, time);
        let batch = Batch::parse(&bytes).unwrap();
        prop_assert_eq!(batch.verify_crc(), Ok(()));
        prop_assert_eq!((batch.timestamp_kind(), batch.max_timestamp()), (kind, time));
    }

    /// Whatever the bytes: no panic, and both walks find the same.
    #[test]
    fn any_byte_changed(at in 0_usize..400, to: u8, bits in 0_u8..5) {
        let mut bytes = sample(Codec::from_bits(bits).unwrap(), 9);
        let at = at % bytes.len();
        bytes[at] = to;
        let (scanned, iterated) = (scanned(&bytes), iterated(&bytes));
        prop_assert_eq!(scanned.is_ok(), iterated.is_ok(), "{:?} {:?}", scanned, iterated);
    }

    #[test]
    fn any_bytes(mut bytes: Vec<u8>) {
        let _ = (scanned(&bytes), iterated(&bytes), batches(&bytes).count());
        if bytes.len() > AT_MAGIC {
            bytes[AT_MAGIC] = 2;
            bytes[AT_LENGTH..AT_LENGTH + 4].copy_from_slice(&[0, 0, 0, 49]);
        }
        let _ = (scanned(&bytes), iterated(&bytes));
    }

    #[test]
    fn sequences_wrap_and_come_back(sequence in 0..=i32::MAX, n in 0..=i32::MAX) {
        let next = advance_sequence(sequence, n);
        prop_assert!(next >= 0);
        prop_assert_eq!(i64::from(next), (i64::from(sequence) + i64::from(n)) % (1 << 31));
        prop_assert_eq!(rewind_sequence(next, n), sequence);
    }
}

#[test]
fn extremes_do_not_overflow() {
    let mut bytes = sample(Codec::None, 1);
    put(&mut bytes, 0, &i64::MAX.to_be_bytes());
    put(&mut bytes, AT_LAST_OFFSET_DELTA, &i32::MAX.to_be_bytes());
    put(&mut bytes, AT_BASE_TIMESTAMP, &i64::MAX.to_be_bytes());
    put(&mut bytes, AT_BASE_SEQUENCE, &i32::MAX.to_be_bytes());
    let batch = only(&bytes);
    assert_eq!(
        (batch.last_offset(), batch.next_offset()),
        (i64::MAX, i64::MAX)
    );
    assert_eq!(batch.last_sequence(), i32::MAX - 1);
    put(&mut bytes, AT_LAST_OFFSET_DELTA, &i32::MIN.to_be_bytes());
    put(&mut bytes, AT_BASE_SEQUENCE, &i32::MIN.to_be_bytes());
    let batch = only(&bytes);
    let _ = (
        batch.n_offsets(),
        batch.last_sequence(),
        batch.last_offset(),
    );
    assert!(iterated(&bytes).is_ok());
}

/// Change the record bytes of a batch of one plain record and walk it.
fn with_record(record: &[u8], n: i32) -> Result<usize, CorruptBatch> {
    let mut bytes = sample(Codec::None, 0);
    bytes.extend_from_slice(record);
    let length = (bytes.len() - LOG_OVERHEAD) as i32;
    put(&mut bytes, AT_LENGTH, &length.to_be_bytes());
    put(&mut bytes, AT_N_RECORDS, &n.to_be_bytes());
    let scanned = scanned(&bytes);
    assert_eq!(scanned, iterated(&bytes));
    scanned
}

#[test]
fn records_that_lie() {
    check(
        [
            // length, attributes, time, offset, key -1, value -1, headers
            with_record(&[12, 0, 0, 0, 1, 1, 0], 1),
            with_record(&[12, 0, 0, 0, 1, 1, 0], 2),
            with_record(&[12, 0, 0, 0, 1, 1, 0], 0),
            with_record(&[12, 0, 0, 0, 1, 1, 0], -1),
            with_record(&[14, 0, 0, 0, 1, 1, 0], 1),
            with_record(&[14, 0, 0, 0, 1, 1, 0, 0], 1),
            with_record(&[10, 0, 0, 0, 1, 1, 0], 1),
            with_record(&[11, 0, 0, 0, 1, 1, 0], 1),
            // a key of 5 bytes where 2 are left
            with_record(&[12, 0, 0, 0, 10, 1, 0], 1),
            // headers: a negative number, too many, one without a key, one cut, one that is right
            with_record(&[12, 0, 0, 0, 1, 1, 1], 1),
            with_record(&[12, 0, 0, 0, 1, 1, 20], 1),
            with_record(&[16, 0, 0, 0, 1, 1, 2, 1, 1], 1),
            with_record(&[16, 0, 0, 0, 1, 1, 2, 2, b'k'], 1),
            with_record(&[18, 0, 0, 0, 1, 1, 2, 2, b'k', 1], 1),
            // numbers that do not end, and one that ends with the bytes
            with_record(&[0x80; 20], 1),
            with_record(&[12, 0, 0x80], 1),
            with_record(&[], 1),
        ],
        expect![[r#"
            [
                Ok(
                    7,
                ),
                Err(
                    Record {
                        index: 1,
                        why: "ends before it should",
                    },
                ),
                Err(
                    Count {
                        claimed: 0,
                        why: "bytes are left behind the last",
                    },
                ),
                Err(
                    Count {
                        claimed: -1,
                        why: "a count is not negative",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "has another length than its fields",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "has another length than its fields",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "is shorter than any record",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "has a negative length",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "has a field longer than itself",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "has a negative number of headers",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "has more headers than bytes",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "has a header without a key",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "ends before it should",
                    },
                ),
                Ok(
                    10,
                ),
                Err(
                    Record {
                        index: 0,
                        why: "has a number that does not end",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "ends before it should",
                    },
                ),
                Err(
                    Record {
                        index: 0,
                        why: "ends before it should",
                    },
                ),
            ]
        "#]],
    );
}

#[test]
fn claims_that_do_not_fit() {
    let crc = |mut bytes: Vec<u8>| {
        bytes[HEADER_LEN] ^= 1;
        only(&bytes)
            .verify_crc()
            .map_err(|corrupt| matches!(corrupt, CorruptBatch::Crc { .. }))
    };
    assert_eq!(crc(sample(Codec::Gzip, 3)), Err(true));
    for codec in Codec::ALL {
        for n in [i32::MIN, -1, 0, 2, 4, i32::MAX] {
            let mut bytes = sample(codec, 3);
            put(&mut bytes, AT_N_RECORDS, &n.to_be_bytes());
            assert_eq!(scanned(&bytes).is_err(), iterated(&bytes).is_err());
            assert!(scanned(&bytes).is_err(), "{codec:?} {n}");
        }
    }
    let mut bytes = sample(Codec::None, 3);
    bytes[AT_ATTRIBUTES + 1] |= 5;
    assert_eq!(scanned(&bytes), Err(CorruptBatch::Codec { bits: 5 }));
}

#[test]
fn bomb_is_cut_at_the_limit() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::data(codec);
        builder.push(0, None, Some(&vec![0; 8 << 20]));
        let bytes = builder.finish();
        let limit = 1 << 20;
        let too_large = CorruptBatch::Compression(BadCompression::TooLarge { limit });
        assert_eq!(
            scan(only(&bytes), limit, |_| ()),
            Err(too_large.clone()),
            "{codec:?}"
        );
        assert_eq!(
            only(&bytes).payload(limit).err(),
            Some(too_large),
            "{codec:?}"
        );
        assert!(scan(only(&bytes), 9 << 20, |_| ()).is_ok());
    }
}

#[test]
fn who_has_seen_enough_opens_no_more() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::data(codec);
        builder.push(0, None, Some(b"first"));
        builder.push(1, None, Some(&vec![0; 8 << 20]));
        let bytes = builder.finish();
        let mut n_seen = 0;
        let stop = |_| {
            n_seen += 1;
            ControlFlow::Break(())
        };
        assert!(scan_until(only(&bytes), 1 << 20, stop).is_ok_and(|n| n < 100));
        assert_eq!(n_seen, 1, "{codec:?}");
    }
}

#[test]
fn what_was_left_half_open_does_not_show_in_the_next() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for n in [25_000_u32, 100_000, 400_000] {
            let mut builder = BatchBuilder::data(codec);
            builder.push(0, None, Some(b"first"));
            // Several blocks, which do not all look alike.
            let value: Vec<u8> = (0..n).flat_map(u32::to_be_bytes).collect();
            builder.push(1, None, Some(&value));
            let bytes = builder.finish();
            let whole = scanned(&bytes);
            assert!(whole.is_ok());
            let stopped = scan_until(only(&bytes), 1 << 20, |_| ControlFlow::Break(()));
            assert!(stopped.is_ok());
            assert_eq!(scanned(&bytes), whole, "{codec:?} {n}");
        }
    }
}

#[test]
fn headers_keep_order_and_duplicates() {
    let headers: [(&[u8], Option<&[u8]>); 4] = [
        (b"b", Some(b"1")),
        (b"a", None),
        (b"b", Some(b"")),
        (b"\xff", Some(b"2")),
    ];
    let mut builder = BatchBuilder::data(Codec::Zstd);
    builder.push_with_headers(-5, None, None, &headers);
    let bytes = builder.finish();
    let payload = only(&bytes).payload(OPENED_BYTES_MAX).unwrap();
    let record = payload.records().next().unwrap().unwrap();
    check(
        (
            record.timestamp,
            record.headers.len(),
            record
                .headers
                .iter()
                .map(|it| (it.key_text(), it.value))
                .collect::<Vec<_>>(),
        ),
        expect![[r#"
            (
                -5,
                4,
                [
                    (
                        "b",
                        Some(
                            [
                                49,
                            ],
                        ),
                    ),
                    (
                        "a",
                        None,
                    ),
                    (
                        "b",
                        Some(
                            [],
                        ),
                    ),
                    (
                        "�",
                        Some(
                            [
                                50,
                            ],
                        ),
                    ),
                ],
            )
        "#]],
    );
}

//! What a leader takes, what it changes, and what it refuses with which code.

use expect_test::{Expect, expect};
use ottla_protocol::batch::HEADER_LEN;
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_000_000;
const CLIENT: Origin = Origin::Client { may_use_zstd: true };

fn rules() -> Rules {
    Rules {
        max_message_bytes: 1 << 20,
        segment_bytes: 1 << 30,
        compression: None,
        is_compacted: false,
        timestamp_kind: TimestampKind::CreateTime,
        before_max_ms: i64::MAX,
        after_max_ms: 3_600_000,
    }
}

fn builder(codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::data(codec).producer(7, 0, 10);
    for i in 0..3 {
        builder.push(NOW + i, Some(b"key"), Some(b"value value value value"));
    }
    builder
}

fn good(codec: Codec) -> Vec<u8> {
    builder(codec).finish().to_vec()
}

/// Change header bytes and make the CRC right again.
fn with(mut bytes: Vec<u8>, at: usize, field: &[u8]) -> Vec<u8> {
    bytes[at..at + field.len()].copy_from_slice(field);
    let crc = batch::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn refusal(records: &[u8], rules: &Rules) -> String {
    refusal_of(records, CLIENT, rules)
}

fn refusal_of(records: &[u8], origin: Origin, rules: &Rules) -> String {
    match check(records, origin, rules, NOW) {
        Ok(_) => "accepted".to_owned(),
        Err(rejected) => {
            assert!(rejected.record_errors.is_empty());
            format!("{} {}", rejected.refusal.name(), rejected.message)
        }
    }
}

fn assert_lines(lines: impl IntoIterator<Item = String>, expect: Expect) {
    expect.assert_eq(&lines.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn each_codec_is_stamped_in_place() {
    for codec in Codec::ALL {
        let mut bytes = good(codec);
        let body = bytes[HEADER_LEN..].to_vec();
        let checked = check(&bytes, CLIENT, &rules(), NOW).unwrap();
        assert!(checked.rebuilt.is_none());
        assert_eq!((checked.size, checked.n_records), (bytes.len(), 3));
        let assigned = assign(&mut bytes, &checked, 500, 4, NOW);
        let expected = Assigned {
            base_offset: 500,
            last_offset: 502,
            max_timestamp: NOW + 2,
            append_time: None,
        };
        assert_eq!(assigned, expected);
        let batch = Batch::parse(&bytes).unwrap();
        batch.verify_crc().unwrap();
        assert_eq!(
            (
                batch.base_offset(),
                batch.last_offset(),
                batch.leader_epoch()
            ),
            (500, 502, 4)
        );
        assert_eq!(batch.body(), body, "records are not touched");
    }
}

#[test]
fn header_alone_can_be_stamped() {
    let bytes = good(Codec::Lz4);
    let checked = check(
        &bytes,
        CLIENT,
        &Rules {
            timestamp_kind: TimestampKind::LogAppendTime,
            ..rules()
        },
        NOW,
    )
    .unwrap();
    let mut head = bytes[..HEADER_LEN].to_vec();
    let assigned = assign(&mut head, &checked, 9, 1, NOW + 50);
    assert_eq!(
        (assigned.append_time, assigned.max_timestamp),
        (Some(NOW + 50), NOW + 50)
    );
    let whole = [&head, &bytes[HEADER_LEN..]].concat();
    let batch = Batch::parse(&whole).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.timestamp_kind(), TimestampKind::LogAppendTime);
}

#[test]
fn lying_max_timestamp_is_corrected() {
    let mut bytes = with(good(Codec::Zstd), 35, &i64::MAX.to_be_bytes());
    let checked = check(&bytes, CLIENT, &rules(), NOW).unwrap();
    assign(&mut bytes, &checked, 0, 0, NOW);
    let batch = Batch::parse(&bytes).unwrap();
    assert_eq!(
        (batch.max_timestamp(), batch.verify_crc()),
        (NOW + 2, Ok(()))
    );
}

#[test]
fn torn_rest_is_left_out() {
    let whole = good(Codec::None);
    let bytes = [&whole[..], &whole[..30]].concat();
    assert_eq!(
        check(&bytes, CLIENT, &rules(), NOW).unwrap().size,
        whole.len()
    );
}

#[test]
fn frames_that_are_not_one_batch() {
    let one = good(Codec::None);
    let two = [&one[..], &one[..]].concat();
    assert_lines(
        [
            refusal(&[], &rules()),
            refusal(&one[..60], &rules()),
            refusal(&one[..one.len() - 1], &rules()),
            refusal(&two, &rules()),
            refusal(&with(one.clone(), 8, &10_i32.to_be_bytes()), &rules()),
            refusal(&with(one.clone(), 8, &(-1_i32).to_be_bytes()), &rules()),
            refusal(&with(one.clone(), 16, &[1]), &rules()),
            refusal(&with(one.clone(), 16, &[0]), &rules()),
            refusal(&with(one.clone(), 16, &[3]), &rules()),
            refusal(&with(one.clone(), 16, &[0xff]), &rules()),
        ],
        expect![[r#"
            INVALID_RECORD there is no whole batch
            INVALID_RECORD there is no whole batch
            INVALID_RECORD there is no whole batch
            INVALID_RECORD there is more than one batch
            CORRUPT_MESSAGE batch length 10 is impossible
            CORRUPT_MESSAGE batch length -1 is impossible
            INVALID_RECORD batch has magic 1, not 2
            INVALID_RECORD batch has magic 0, not 2
            CORRUPT_MESSAGE batch has magic 3, not 2
            CORRUPT_MESSAGE batch has magic -1, not 2"#]],
    );
}

#[test]
fn claims_that_do_not_fit() {
    let one = good(Codec::None);
    let header = |at, field: &[u8]| refusal(&with(one.clone(), at, field), &rules());
    let mut wrong_crc = one.clone();
    wrong_crc[17..21].copy_from_slice(&[0; 4]);
    assert_lines(
        [
            refusal(&wrong_crc, &rules()),
            header(0, &5_i64.to_be_bytes()),
            header(22, &[5]),
            header(22, &[0x20]),
            header(23, &(-1_i32).to_be_bytes()),
            header(23, &i32::MAX.to_be_bytes()),
            header(53, &(-1_i32).to_be_bytes()),
            header(57, &0_i32.to_be_bytes()),
            header(57, &(-3_i32).to_be_bytes()),
            header(57, &4_i32.to_be_bytes()),
            refusal(
                &with(with(one.clone(), 57, &[0, 0, 0, 4]), 23, &[0, 0, 0, 3]),
                &rules(),
            ),
            refusal(
                &with(with(one.clone(), 57, &[0, 0, 0, 2]), 23, &[0, 0, 0, 1]),
                &rules(),
            ),
            refusal(&with(one.clone(), 61, &[0]), &rules()),
        ],
        expect![[r#"
            CORRUPT_MESSAGE batch has CRC 0x00000000, its bytes have 0x118bf414
            INVALID_RECORD base offset is 5, not 0
            UNSUPPORTED_COMPRESSION_TYPE no codec has the number 5
            INVALID_RECORD clients may not write control records
            INVALID_RECORD last offset delta is -1
            INVALID_RECORD 2147483648 offsets for 3 records
            INVALID_RECORD sequence -1 with a producer id
            INVALID_RECORD the batch claims 0 records
            INVALID_RECORD the batch claims -3 records
            INVALID_RECORD 3 offsets for 4 records
            INVALID_RECORD record 3: ends before it should
            INVALID_RECORD batch claims 2 records: bytes are left behind the last
            INVALID_RECORD record 0: is shorter than any record"#]],
    );
}

#[test]
fn sizes() {
    let bytes = good(Codec::None);
    let limit = |max_message_bytes, segment_bytes| Rules {
        max_message_bytes,
        segment_bytes,
        ..rules()
    };
    let gzip = Rules {
        compression: Some(Codec::None.into()),
        ..limit(bytes.len() - 1, 1 << 20)
    };
    assert_lines(
        [
            refusal(&bytes, &limit(bytes.len(), bytes.len())),
            refusal(&bytes, &limit(bytes.len() - 1, bytes.len())),
            refusal(&bytes, &limit(bytes.len(), bytes.len() - 1)),
            // Small enough as it comes, too large as it would be written.
            refusal(&good(Codec::Gzip), &gzip),
        ],
        expect![[r#"
            accepted
            MESSAGE_TOO_LARGE a batch of 160 bytes is above the maximum of 159
            RECORD_LIST_TOO_LARGE a batch of 160 bytes does not fit into a segment
            MESSAGE_TOO_LARGE a batch of 160 bytes is above the maximum of 159"#]],
    );
}

#[test]
fn compressed_badly() {
    let mut bomb = BatchBuilder::data(Codec::Zstd);
    bomb.push(NOW, None, Some(&vec![0; OPENED_BYTES_MAX + 1]));
    let bomb = bomb.finish();
    assert!(bomb.len() < 20_000);
    let zstd = good(Codec::Zstd);
    let garbage = with(zstd.clone(), 61, b"garbage");
    let cut = with(
        zstd[..zstd.len() - 3].to_vec(),
        8,
        &(zstd.len() as i32 - 15).to_be_bytes(),
    );
    let lz4_linked = with(good(Codec::Lz4), 65, &[0x40]);
    let old = Origin::Client {
        may_use_zstd: false,
    };
    assert_lines(
        [
            refusal(&bomb, &rules()),
            refusal(&garbage, &rules()),
            refusal(&cut, &rules()),
            refusal(&lz4_linked, &rules()),
            refusal(&with(good(Codec::Gzip), 22, &[4]), &rules()),
            refusal(&with(good(Codec::None), 22, &[2]), &rules()),
            refusal_of(&zstd, old, &rules()),
            refusal_of(&good(Codec::Gzip), old, &rules()),
        ],
        expect![[r#"
            MESSAGE_TOO_LARGE compressed records: more than 104857600 bytes come out
            UNKNOWN_SERVER_ERROR compressed records: zstd: Unknown frame descriptor
            INVALID_RECORD compressed records: the compressed stream ends early
            UNKNOWN_SERVER_ERROR compressed records: lz4: blocks that depend on each other are not supported
            UNKNOWN_SERVER_ERROR compressed records: zstd: Unknown frame descriptor
            UNKNOWN_SERVER_ERROR compressed records: snappy: snappy: corrupt input (expected valid offset but got offset 1982757221; dst position: 2)
            UNSUPPORTED_COMPRESSION_TYPE zstd needs version 7 of Produce or later
            accepted"#]],
    );
}

#[test]
fn other_codec_is_encoded_anew() {
    for source in Codec::ALL {
        for target in Codec::ALL {
            let bytes = builder(source).transactional().finish();
            let rules = Rules {
                compression: Some(target.into()),
                ..rules()
            };
            let mut checked = check(&bytes, CLIENT, &rules, NOW).unwrap();
            assert_eq!(checked.rebuilt.is_some(), source != target);
            let Some(mut rebuilt) = checked.rebuilt.take() else {
                continue;
            };
            assert_eq!(rebuilt.len(), checked.size);
            assign(&mut rebuilt, &checked, 70, 2, NOW);
            let batch = Batch::parse(&rebuilt).unwrap();
            batch.verify_crc().unwrap();
            assert_eq!((batch.codec(), batch.last_offset()), (Ok(target), 72));
            assert_eq!((batch.producer_id(), batch.base_sequence()), (7, 10));
            assert!(batch.is_transactional());
            let payload = batch.payload(1 << 20).unwrap();
            let times: Vec<_> = payload.records().map(|it| it.unwrap().timestamp).collect();
            assert_eq!(times, [NOW, NOW + 1, NOW + 2]);
        }
    }
}

#[test]
fn gaps_are_closed() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::data(codec);
        for delta in [0, 2, 2] {
            builder.push_at(delta, NOW, None, Some(b"v"), [].into_iter());
        }
        let checked = check(&builder.finish(), CLIENT, &rules(), NOW).unwrap();
        let rebuilt = checked.rebuilt.unwrap();
        let payload = Batch::parse(&rebuilt).unwrap().payload(1 << 20).unwrap();
        let offsets: Vec<_> = payload.records().map(|it| it.unwrap().offset).collect();
        assert_eq!(offsets, [0, 1, 2]);
    }
}

fn record_errors(bytes: &[u8], rules: &Rules) -> String {
    let rejected = check(bytes, CLIENT, rules, NOW).unwrap_err();
    let errors = rejected
        .record_errors
        .iter()
        .map(|it| format!("\n  {} {}", it.batch_index, it.message));
    format!(
        "{} {}{}",
        rejected.refusal.name(),
        rejected.message,
        errors.collect::<String>()
    )
}

#[test]
fn single_records_at_fault() {
    let mut mixed = BatchBuilder::data(Codec::Snappy);
    for (timestamp, key) in [
        (NOW, Some(&b"k"[..])),
        (NOW, None),
        (NOW - 1_001, Some(b"k")),
        (NOW - 1_000, Some(b"k")),
        (NOW + 501, Some(b"k")),
        (NOW + 500, Some(b"k")),
        (-1, Some(b"k")),
        (i64::MIN, None),
        (i64::MAX, Some(b"k")),
    ] {
        mixed.push(timestamp, key, None);
    }
    let mixed = mixed.finish();
    let bounded = Rules {
        before_max_ms: 1_000,
        after_max_ms: 500,
        ..rules()
    };
    let compacted = Rules {
        is_compacted: true,
        after_max_ms: i64::MAX,
        ..rules()
    };
    let mut no_key = BatchBuilder::data(Codec::None);
    no_key.push(NOW, None, Some(b"v"));
    let flagged = with(good(Codec::None), 22, &[8]);
    let append_time = Rules {
        timestamp_kind: TimestampKind::LogAppendTime,
        ..rules()
    };
    assert_lines(
        [
            record_errors(&mixed, &bounded),
            record_errors(
                &mixed,
                &Rules {
                    is_compacted: true,
                    ..bounded.clone()
                },
            ),
            record_errors(&no_key.finish(), &compacted),
            record_errors(&flagged, &append_time),
        ],
        expect![[r#"
            INVALID_TIMESTAMP 4 records are rejected; the first: timestamp 998999 is not within [999000, 1000500]
              2 timestamp 998999 is not within [999000, 1000500]
              4 timestamp 1000501 is not within [999000, 1000500]
              7 timestamp -9223372036854775808 is not within [999000, 1000500]
              8 timestamp 9223372036854775807 is not within [999000, 1000500]
            INVALID_TIMESTAMP 5 records are rejected; the first: Compacted topic cannot accept message without key
              1 Compacted topic cannot accept message without key
              2 timestamp 998999 is not within [999000, 1000500]
              4 timestamp 1000501 is not within [999000, 1000500]
              7 Compacted topic cannot accept message without key
              8 timestamp 9223372036854775807 is not within [999000, 1000500]
            INVALID_RECORD 1 records are rejected; the first: Compacted topic cannot accept message without key
              0 Compacted topic cannot accept message without key
            INVALID_TIMESTAMP 3 records are rejected; the first: a producer may not set LogAppendTime
              0 a producer may not set LogAppendTime
              1 a producer may not set LogAppendTime
              2 a producer may not set LogAppendTime"#]],
    );
    // The producer's times do not matter where the leader sets its own.
    assert!(
        check(
            &mixed,
            CLIENT,
            &Rules {
                timestamp_kind: TimestampKind::LogAppendTime,
                ..bounded
            },
            NOW
        )
        .is_ok()
    );
}

#[test]
fn list_of_record_errors_is_bounded() {
    let mut builder = BatchBuilder::data(Codec::Gzip);
    for _ in 0..RECORD_ERRORS_MAX + 10 {
        builder.push(NOW, None, None);
    }
    let rejected = check(
        &builder.finish(),
        CLIENT,
        &Rules {
            is_compacted: true,
            ..rules()
        },
        NOW,
    )
    .unwrap_err();
    assert_eq!(rejected.record_errors.len(), RECORD_ERRORS_MAX);
    assert!(rejected.message.starts_with("1010 records"));
}

#[test]
fn coordinators_write_markers_and_base_offsets() {
    let marker = EndMarker {
        is_commit: false,
        coordinator_epoch: 3,
    }
    .batch(7, 1, NOW);
    let rules = Rules {
        compression: Some(Codec::Gzip.into()),
        ..rules()
    };
    let checked = check(&marker, Origin::Coordinator, &rules, NOW).unwrap();
    assert!(checked.rebuilt.is_none(), "markers are never compressed");
    assert_lines(
        [refusal(&marker, &rules)],
        expect!["INVALID_RECORD clients may not write control records"],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is sent: an answer, no panic; what is accepted has a right CRC after the stamp.
    #[test]
    fn any_change(at: usize, to: u8, bits in 0_u8..5, fix_crc: bool, cut in 0_usize..200) {
        let mut bytes = good(Codec::from_bits(bits).unwrap());
        let at = at % bytes.len();
        bytes[at] = to;
        if fix_crc {
            bytes = with(bytes, at, &[to]);
        }
        if cut < 20 {
            bytes.truncate(bytes.len() - cut);
        }
        if let Ok(mut checked) = check(&bytes, CLIENT, &rules(), NOW) {
            let mut bytes = match checked.rebuilt.take() {
                Some(rebuilt) => rebuilt.to_vec(),
                None => bytes,
            };
            let assigned = assign(&mut bytes, &checked, 10, 0, NOW);
            let batch = Batch::parse(&bytes).unwrap();
            prop_assert_eq!(batch.verify_crc(), Ok(()));
            prop_assert_eq!(batch.last_offset(), assigned.last_offset);
            prop_assert_eq!(scan(batch, OPENED_BYTES_MAX, |_| ()).is_ok(), true);
        }
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>) {
        prop_assert!(check(&bytes, CLIENT, &rules(), NOW).is_err());
    }
}

#[test]
fn what_is_opened_is_taken_from_what_is_left() {
    let zeros = |codec, n: usize| {
        let mut builder = BatchBuilder::data(codec);
        builder.push(NOW, None, Some(&vec![0; n]));
        builder.finish()
    };
    let within = |left: &mut usize, bytes: &[u8], rules: &Rules| {
        check_within(left, bytes, CLIENT, rules, NOW).map(|checked| checked.is_ok())
    };
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut left = 1 << 20;
        let small = zeros(codec, 1 << 18);
        for n in 1..=3 {
            assert_eq!(within(&mut left, &small, &rules()), Some(true));
            assert!(((1 << 20) - n * (1 << 18) - left) < 100);
        }
        assert_eq!(within(&mut left, &small, &rules()), None, "{codec:?}");
        assert_eq!(left, 0);
        assert_eq!(within(&mut left, &small, &rules()), None);
        let plain = zeros(Codec::None, 1 << 18);
        assert_eq!(within(&mut left, &plain, &rules()), Some(true));
        assert!(check(&small, CLIENT, &rules(), NOW).is_ok());
    }
}

#[test]
fn what_is_encoded_anew_is_taken_too() {
    let gzip = Rules {
        compression: Some(Compression::from(Codec::Gzip)),
        ..rules()
    };
    let within = |left: &mut usize, bytes: &[u8]| {
        check_within(left, bytes, CLIENT, &gzip, NOW).map(|checked| checked.unwrap().rebuilt)
    };
    let plain = good(Codec::None);
    let mut left = 1000;
    assert!(within(&mut left, &plain).is_some_and(|rebuilt| rebuilt.is_some()));
    assert_eq!(left, 1000 - (plain.len() - HEADER_LEN));
    left = 10;
    assert!(within(&mut left, &plain).is_some());
    assert_eq!(left, 0);
    assert!(within(&mut left, &plain).is_none());
}

#[test]
fn what_does_not_open_leaves_nothing() {
    let mut left = 1 << 20;
    let plain = with(good(Codec::None), HEADER_LEN, &[0x7f]);
    let refused = check_within(&mut left, &plain, CLIENT, &rules(), NOW);
    assert!(refused.is_some_and(|checked| checked.is_err()));
    assert_eq!(left, 1 << 20);
    let torn = with(good(Codec::Zstd), HEADER_LEN, &[0; 4]);
    assert!(check_within(&mut left, &torn, CLIENT, &rules(), NOW).is_none());
    assert_eq!(left, 0);
}

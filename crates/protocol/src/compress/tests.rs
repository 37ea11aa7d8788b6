//! Each codec both ways, and streams that lie.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const LIMIT: usize = 16 << 20;

fn there(codec: Codec, input: &[u8]) -> Vec<u8> {
    let mut out = b"kept".to_vec();
    compress(codec.into(), input, &mut out);
    assert_eq!(out.drain(..4).as_slice(), b"kept");
    out
}

fn back(codec: Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, BadCompression> {
    let mut out = b"kept".to_vec();
    let result = decompress(codec, input, limit, &mut out);
    assert_eq!(out.drain(..4).as_slice(), b"kept");
    result.map(|()| out)
}

fn check(actual: impl fmt::Debug, expect: Expect) {
    expect.assert_debug_eq(&actual);
}

#[test]
fn there_and_back() {
    let text = b"all work and no play ".repeat(20_000);
    for codec in Codec::ALL {
        for input in [&text[..], &text[..1], b""] {
            assert_eq!(
                back(codec, &there(codec, input), LIMIT).as_deref(),
                Ok(input),
                "{codec:?}"
            );
        }
    }
}

#[test]
fn levels_are_used() {
    let text: Vec<u8> = (0..200_000_u32)
        .flat_map(|i| (i % 977).to_be_bytes())
        .collect();
    for (codec, low, high) in [(Codec::Gzip, 1, 9), (Codec::Zstd, -50, 19)] {
        let size = |level| {
            let mut out = Vec::new();
            compress(
                Compression {
                    codec,
                    level: Some(level),
                },
                &text,
                &mut out,
            );
            assert_eq!(back(codec, &out, LIMIT).as_deref(), Ok(&text[..]));
            out.len()
        };
        assert!(size(low) > size(high), "{codec:?}");
    }
}

#[test]
fn framing_that_java_reads() {
    let input = vec![b'x'; 70_000];
    let snappy = there(Codec::Snappy, &input);
    assert_eq!(snappy[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let lz4 = there(Codec::Lz4, &input);
    // Magic, version 01 with independent blocks and nothing else, blocks of 64 KiB, header checksum.
    check(
        &lz4[..7],
        expect![[r#"
        [
            4,
            34,
            77,
            24,
            96,
            64,
            130,
        ]
    "#]],
    );
    assert_eq!(
        lz4[lz4.len() - 4..],
        [0; 4],
        "an end mark and no content checksum"
    );
    assert_eq!(there(Codec::Gzip, &input)[..3], [0x1f, 0x8b, 8]);
}

#[test]
fn snappy_without_frame_and_frames_behind_each_other() {
    let raw = snap::raw::Encoder::new()
        .compress_vec(b"raw as librdkafka may send it")
        .unwrap();
    assert_eq!(
        back(Codec::Snappy, &raw, LIMIT).unwrap(),
        b"raw as librdkafka may send it"
    );
    let mut two = there(Codec::Snappy, b"one ");
    two.extend(there(Codec::Snappy, b"two"));
    assert_eq!(back(Codec::Snappy, &two, LIMIT).unwrap(), b"one two");
}

#[test]
fn limit_is_exact() {
    let input = vec![0; 300_000];
    for codec in Codec::ALL {
        let compressed = there(codec, &input);
        assert_eq!(
            back(codec, &compressed, input.len()).map(|out| out.len()),
            Ok(300_000)
        );
        let limit = input.len() - 1;
        assert_eq!(
            back(codec, &compressed, limit),
            Err(BadCompression::TooLarge { limit })
        );
        assert_eq!(
            back(codec, &compressed, 0),
            Err(BadCompression::TooLarge { limit: 0 })
        );
    }
}

#[test]
fn every_cut_is_noticed() {
    let input: Vec<u8> = (0..40_000_u32)
        .flat_map(|i| (i.wrapping_mul(i) % 977).to_be_bytes())
        .collect();
    for codec in COMPRESSED {
        let compressed = there(codec, &input);
        for cut in (0..compressed.len())
            .step_by(97)
            .chain([compressed.len() - 1])
        {
            let opened = back(codec, &compressed[..cut], LIMIT);
            // Between two blocks of snappy, and before its first, nothing tells that one is missing.
            if opened.is_ok() {
                assert_eq!((codec, cut), (Codec::Snappy, 0));
            }
        }
    }
}

#[test]
fn claims_are_not_believed() {
    // A raw snappy block that says it is 4 GiB.
    assert!(back(Codec::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0], LIMIT).is_err());
    // The same in a frame, and a block longer than the stream.
    let mut framed = there(Codec::Snappy, b"");
    framed.extend_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0]);
    assert_eq!(
        back(Codec::Snappy, &framed, LIMIT),
        Err(BadCompression::EndsEarly)
    );
    framed[16] = 0xff;
    check(
        back(Codec::Snappy, &framed, LIMIT),
        expect![[r#"
        Err(
            Corrupt {
                codec: Snappy,
                why: "a block has a negative length",
            },
        )
    "#]],
    );
}

#[test]
fn lz4_that_java_cannot_read() {
    let good = there(Codec::Lz4, b"some text");
    let flags = |flags: u8| {
        let mut bad = good.clone();
        bad[4] = flags;
        back(Codec::Lz4, &bad, LIMIT).unwrap_err().to_string()
    };
    check(
        [
            flags(0x40),
            flags(0x20),
            flags(0x61),
            flags(0x62),
            flags(0x64),
        ],
        expect![[r#"
            [
                "lz4: blocks that depend on each other are not supported",
                "lz4: unknown frame version",
                "lz4: reserved flags or a dictionary",
                "lz4: reserved flags or a dictionary",
                "lz4: the checksum of the header is wrong",
            ]
        "#]],
    );
    let mut not_magic = good.clone();
    not_magic[0] = 0;
    check(
        back(Codec::Lz4, &not_magic, LIMIT),
        expect![[r#"
        Err(
            Corrupt {
                codec: Lz4,
                why: "no frame starts here",
            },
        )
    "#]],
    );
    let mut bad_checksum = good;
    bad_checksum[6] ^= 0xff;
    check(
        back(Codec::Lz4, &bad_checksum, LIMIT),
        expect![[r#"
        Err(
            Corrupt {
                codec: Lz4,
                why: "the checksum of the header is wrong",
            },
        )
    "#]],
    );
}

/// A context that failed must serve the next stream as if new.
#[test]
fn failure_leaves_nothing_behind() {
    let compressed = there(Codec::Zstd, &vec![7; 500_000]);
    for _ in 0..3 {
        assert!(back(Codec::Zstd, &compressed[..compressed.len() / 2], LIMIT).is_err());
        assert!(back(Codec::Zstd, &compressed, 1000).is_err());
        assert!(back(Codec::Zstd, b"garbage that is no frame", LIMIT).is_err());
        assert_eq!(
            back(Codec::Zstd, &compressed, LIMIT).map(|out| out.len()),
            Ok(500_000)
        );
    }
}

#[test]
fn names_and_bits() {
    for (bits, codec) in Codec::ALL.into_iter().enumerate() {
        assert_eq!(Codec::from_bits(bits as u8), Some(codec));
        assert_eq!(
            (usize::from(codec.bits()), Codec::from_name(codec.name())),
            (bits, Some(codec))
        );
    }
    assert_eq!(
        (Codec::from_bits(5), Codec::from_name("producer")),
        (None, None)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_input_comes_back(input: Vec<u8>, bits in 0_u8..5) {
        let codec = Codec::from_bits(bits).unwrap();
        prop_assert_eq!(back(codec, &there(codec, &input), LIMIT), Ok(input));
    }

    #[test]
    fn any_stream_ends(mut input: Vec<u8>, like in 0_u8..5, bits in 0_u8..5, at: usize) {
        let codec = Codec::from_bits(bits).unwrap();
        let _ = back(codec, &input, 1 << 16);
        // Close to a real one.
        let mut stream = there(Codec::from_bits(like).unwrap(), &input.repeat(50));
        if !stream.is_empty() {
            let at = at % stream.len();
            stream[at] ^= 1 << (at % 8);
        }
        let _ = back(codec, &stream, 1 << 16);
        input.splice(0..0, there(codec, b"start"));
        let _ = back(codec, &input, 1 << 16);
    }
}

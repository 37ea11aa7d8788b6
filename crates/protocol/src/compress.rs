//! The five codecs of a record batch, each with a bound on what may come out.
//!
//! What we write is what a Java consumer reads: gzip in one member, snappy in xerial's blocks of
//! 32 KiB, lz4 frames of independent 64 KiB blocks, zstd frames. Opening is a stream ([`open`]):
//! what a stream claims about its size is never believed.

mod lz4_frame;
mod open;
#[cfg(test)]
mod tests;
mod xerial;

use std::cell::RefCell;
use std::fmt;
use std::io::Write;

use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

use self::open::open_old_lz4;
pub(crate) use self::open::{Opened, open};

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// From the low three bits of a batch's attributes.
    pub fn from_bits(bits: u8) -> Option<Self> {
        Self::ALL.get(usize::from(bits)).copied()
    }

    pub fn bits(self) -> u8 {
        self as u8
    }

    /// As in `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

/// A codec and how hard it tries (`compression.gzip.level` and its like). Snappy has no levels,
/// and our lz4 has one: its level is accepted and changes nothing but the ratio that Kafka would get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compression {
    pub codec: Codec,
    /// `None`: the codec's default.
    pub level: Option<i32>,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Self { codec, level: None }
    }
}

/// Why compressed bytes do not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadCompression {
    /// The stream stops in the middle.
    EndsEarly,
    /// More comes out than the caller allows.
    TooLarge { limit: usize },
    /// The codec refuses it.
    Corrupt { codec: Codec, why: String },
}

impl fmt::Display for BadCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndsEarly => write!(f, "the compressed stream ends early"),
            Self::TooLarge { limit } => write!(f, "more than {limit} bytes come out"),
            Self::Corrupt { codec, why } => write!(f, "{}: {why}", codec.name()),
        }
    }
}

impl std::error::Error for BadCompression {}

/// Append the compressed form of `input` to `out`.
pub fn compress(how: Compression, input: &[u8], out: &mut Vec<u8>) {
    match how.codec {
        Codec::None => out.extend_from_slice(input),
        Codec::Gzip => gzip(how.level, input, out),
        Codec::Snappy => xerial::write(input, out),
        Codec::Lz4 => lz4_frame::write(input, out),
        Codec::Zstd => zstd(how.level, input, out),
    }
}

/// Append what `input` decompresses to, at most `limit` bytes; `out` grows with what has arrived.
pub fn decompress(
    codec: Codec,
    input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), BadCompression> {
    open(codec, input, limit, |stream| stream.read_all(out))?
}

/// The same of an LZ4 frame as Kafka's first clients wrote it, with a wrong checksum of its header.
pub(crate) fn decompress_old_lz4(
    input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), BadCompression> {
    open_old_lz4(input, limit)?.read_all(out)
}

const WRITES: &str = "writing to memory does not fail";

fn gzip(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    let level = match level.and_then(|level| u32::try_from(level).ok()) {
        Some(level) => flate2::Compression::new(level.min(9)),
        // -1 is zlib's "default" and Kafka's.
        None => flate2::Compression::default(),
    };
    let mut encoder = flate2::write::GzEncoder::new(out, level);
    encoder.write_all(input).expect(WRITES);
    encoder.finish().expect(WRITES);
}

/// A context that grew beyond this on unusual input (zstd windows go up to 128 MiB) is not kept:
/// one batch must not decide what a thread holds for ever.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// A zstd context is dear to make and cheap to use again (`measurements.md`: twice as fast on 16 KiB),
/// so each thread keeps one, with the level that it was last set to.
struct KeptCompressor {
    level: i32,
    compressor: Compressor<'static>,
}

thread_local! {
    static COMPRESSOR: RefCell<Option<KeptCompressor>> = const { RefCell::new(None) };
}

fn zstd(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) {
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
    let mut kept = COMPRESSOR
        .take()
        .filter(|kept| kept.level == level)
        .unwrap_or_else(|| {
            let compressor = Compressor::new(level).expect("zstd takes any level");
            KeptCompressor { level, compressor }
        });
    let start = out.len();
    out.resize(start + compress_bound(input.len()), 0);
    let n = kept
        .compressor
        .compress_to_buffer(input, &mut out[start..])
        .expect("the output has room for the worst case");
    out.truncate(start + n);
    if kept.compressor.context_mut().sizeof() <= KEPT_BYTES_MAX {
        COMPRESSOR.set(Some(kept));
    }
}

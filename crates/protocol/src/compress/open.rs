//! Compressed bytes as a stream that stops at a limit.

use std::cell::Cell;
use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;
use zstd::zstd_safe::DCtx;

use super::{BadCompression, Codec, KEPT_BYTES_MAX, lz4_frame, xerial};

/// What comes out of a codec, never more than the limit.
pub(crate) struct Opened<'a> {
    decoder: Decoder<'a>,
    codec: Codec,
    limit: usize,
    /// How many bytes came out; `n_out ≤ limit`.
    n_out: usize,
}

enum Decoder<'a> {
    Plain(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Snappy(xerial::Blocks<'a>),
    Lz4(Box<lz4_frame::Blocks<'a>>),
    Zstd(ZstdDecoder<'a, &'a [u8]>),
}

thread_local! {
    static ZSTD_CONTEXT: Cell<Option<DCtx<'static>>> = const { Cell::new(None) };
}

/// Hand the stream to `use_it`. A zstd context is dear to make, so each thread keeps the one it
/// used last; that is why the stream is lent and not returned.
pub(crate) fn open<T>(
    codec: Codec,
    input: &[u8],
    limit: usize,
    use_it: impl FnOnce(&mut Opened<'_>) -> T,
) -> Result<T, BadCompression> {
    let mut context = None;
    let decoder = match codec {
        Codec::None => Decoder::Plain(input),
        Codec::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(input))),
        Codec::Snappy => Decoder::Snappy(xerial::Blocks::new(input)),
        Codec::Lz4 => Decoder::Lz4(Box::new(lz4_frame::Blocks::new(input)?)),
        Codec::Zstd => {
            let context = context.insert(ZSTD_CONTEXT.take().unwrap_or_else(DCtx::create));
            Decoder::Zstd(ZstdDecoder::with_context(input, context))
        }
    };
    let mut opened = Opened {
        decoder,
        codec,
        limit,
        n_out: 0,
    };
    let result = use_it(&mut opened);
    drop(opened);
    if let Some(context) = context.filter(|context| context.sizeof() <= KEPT_BYTES_MAX) {
        ZSTD_CONTEXT.set(Some(context));
    }
    Ok(result)
}

/// An LZ4 frame whose header may have any checksum.
pub(super) fn open_old_lz4(input: &[u8], limit: usize) -> Result<Opened<'_>, BadCompression> {
    Ok(Opened {
        decoder: Decoder::Lz4(Box::new(lz4_frame::Blocks::unchecked(input)?)),
        codec: Codec::Lz4,
        limit,
        n_out: 0,
    })
}

/// First room for what comes out, when nothing better is known than the compressed size.
const ROOM_MIN: usize = 4 * 1024;

impl Opened<'_> {
    /// Fill some of `buffer`; 0 only at the end of the stream (or for an empty buffer).
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BadCompression> {
        let n = match &mut self.decoder {
            Decoder::Plain(input) => input.read(buffer),
            Decoder::Gzip(decoder) => decoder.read(buffer),
            Decoder::Snappy(blocks) => {
                let n = blocks.read(buffer, self.limit - self.n_out, self.limit)?;
                return self.count(n);
            }
            Decoder::Lz4(blocks) => {
                let n = blocks.read(buffer)?;
                return self.count(n);
            }
            Decoder::Zstd(decoder) => decoder.read(buffer),
        };
        let n = n.map_err(|error| refused(self.codec, &error))?;
        self.count(n)
    }

    fn count(&mut self, n: usize) -> Result<usize, BadCompression> {
        if n > self.limit - self.n_out {
            return Err(BadCompression::TooLarge { limit: self.limit });
        }
        self.n_out += n;
        Ok(n)
    }

    pub(crate) fn read_all(&mut self, out: &mut Vec<u8>) -> Result<(), BadCompression> {
        let mut filled = out.len();
        loop {
            if filled == out.len() {
                // Doubling what has arrived: the claims of the stream have no say.
                let room = (out.len()).clamp(ROOM_MIN, self.limit.max(ROOM_MIN));
                out.resize(out.len() + room, 0);
            }
            match self.read(&mut out[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(why) => {
                    out.truncate(filled);
                    return Err(why);
                }
            }
        }
        out.truncate(filled);
        Ok(())
    }
}

fn refused(codec: Codec, error: &io::Error) -> BadCompression {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BadCompression::EndsEarly,
        _ => BadCompression::Corrupt {
            codec,
            why: error.to_string(),
        },
    }
}

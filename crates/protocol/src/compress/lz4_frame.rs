//! LZ4 frames as the Java client reads them: magic, version 01, blocks independent of each other,
//! no dictionary. What a Java consumer could not read is refused here, at the leader.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::{BadCompression, Codec, WRITES};

const MAGIC: u32 = 0x184D_2204;
const VERSION_BITS: u8 = 0b1100_0000;
const VERSION_01: u8 = 0b0100_0000;
const INDEPENDENT_BIT: u8 = 0b0010_0000;
const BLOCK_CHECKSUM_BIT: u8 = 0b0001_0000;
const CONTENT_SIZE_BIT: u8 = 0b0000_1000;
const CONTENT_CHECKSUM_BIT: u8 = 0b0000_0100;
/// One reserved bit, and the dictionary id that nobody could resolve.
const FORBIDDEN_BITS: u8 = 0b0000_0011;
/// In a block's length: these bytes were not worth compressing.
const PLAIN_BLOCK_BIT: u32 = 1 << 31;

pub(super) fn write(input: &[u8], out: &mut Vec<u8>) {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(input).expect(WRITES);
    encoder.finish().expect(WRITES);
}

/// The frame at the start of `input`, its blocks whole and its end mark there. What follows the
/// frame is ignored, as Java ignores it.
pub(super) fn find(input: &[u8]) -> Result<&[u8], BadCompression> {
    let mut rest = input;
    if u32::from_le_bytes(*take(&mut rest)?) != MAGIC {
        return Err(corrupt("no frame starts here"));
    }
    let [flags, _block_size] = *take(&mut rest)?;
    if flags & VERSION_BITS != VERSION_01 {
        return Err(corrupt("unknown frame version"));
    }
    if flags & INDEPENDENT_BIT == 0 {
        return Err(corrupt(
            "blocks that depend on each other are not supported",
        ));
    }
    if flags & FORBIDDEN_BITS != 0 {
        return Err(corrupt("reserved flags or a dictionary"));
    }
    if flags & CONTENT_SIZE_BIT != 0 {
        skip(&mut rest, 8)?;
    }
    skip(&mut rest, 1)?;
    skip_blocks(&mut rest, flags & BLOCK_CHECKSUM_BIT != 0)?;
    if flags & CONTENT_CHECKSUM_BIT != 0 {
        skip(&mut rest, 4)?;
    }
    Ok(input.get(..input.len() - rest.len()).unwrap_or_default())
}

fn skip_blocks(rest: &mut &[u8], have_checksums: bool) -> Result<(), BadCompression> {
    loop {
        let length = u32::from_le_bytes(*take(rest)?);
        if length == 0 {
            return Ok(());
        }
        skip(rest, (length & !PLAIN_BLOCK_BIT) as usize)?;
        if have_checksums {
            skip(rest, 4)?;
        }
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], BadCompression> {
    let (taken, after) = rest.split_first_chunk().ok_or(BadCompression::EndsEarly)?;
    *rest = after;
    Ok(taken)
}

fn skip(rest: &mut &[u8], n: usize) -> Result<(), BadCompression> {
    *rest = rest.get(n..).ok_or(BadCompression::EndsEarly)?;
    Ok(())
}

fn corrupt(why: &str) -> BadCompression {
    BadCompression::Corrupt {
        codec: Codec::Lz4,
        why: why.to_owned(),
    }
}

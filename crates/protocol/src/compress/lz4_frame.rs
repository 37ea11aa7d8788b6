//! LZ4 frames as the Java client reads them: magic, version 01, blocks independent of each other,
//! no dictionary. What a Java consumer could not read is refused here, at the leader.
//!
//! The framing is read here and not by the codec's crate, so that a block is opened straight into
//! the buffer of who reads, with no buffers made for each batch.

use std::hash::Hasher;
use std::io::Write;

use lz4_flex::block::decompress_into;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

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
/// Of the byte that says how large blocks may be: all but three bits are reserved.
const BLOCK_SIZE_BITS: u8 = 0b0111_0000;
/// In a block's length: these bytes were not worth compressing.
const PLAIN_BLOCK_BIT: u32 = 1 << 31;
const SEED: u32 = 0;

pub(super) fn write(input: &[u8], out: &mut Vec<u8>) {
    let info = FrameInfo::new()
        .block_size(BlockSize::Max64KB)
        .block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(input).expect(WRITES);
    encoder.finish().expect(WRITES);
}

/// The blocks of the frame at the start of an input, opened one at a time. What follows the frame
/// is ignored, as Java ignores it.
pub(super) struct Blocks<'a> {
    input: &'a [u8],
    block_len_max: usize,
    have_checksums: bool,
    content_size: Option<u64>,
    content_hash: Option<XxHash32>,
    n_out: u64,
    /// What is left of a block that lies in the input as it is.
    plain: &'a [u8],
    /// An opened block that was too large for the reader's buffer, and how much of it was taken.
    opened: Vec<u8>,
    taken: usize,
    is_over: bool,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(input: &'a [u8]) -> Result<Self, BadCompression> {
        Self::over(input, true)
    }

    /// Whatever the checksum of the header is.
    pub(super) fn unchecked(input: &'a [u8]) -> Result<Self, BadCompression> {
        Self::over(input, false)
    }

    fn over(input: &'a [u8], is_checked: bool) -> Result<Self, BadCompression> {
        let mut rest = input;
        if u32::from_le_bytes(*take(&mut rest)?) != MAGIC {
            return Err(corrupt("no frame starts here"));
        }
        let described = rest;
        let [flags, sizes] = *take(&mut rest)?;
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
        let block_len_max = block_len_max(sizes)?;
        let content_size = match flags & CONTENT_SIZE_BIT {
            0 => None,
            _ => Some(u64::from_le_bytes(*take(&mut rest)?)),
        };
        let described = described
            .get(..described.len() - rest.len())
            .unwrap_or_default();
        let [checksum] = *take(&mut rest)?;
        let [_, second, _, _] = XxHash32::oneshot(SEED, described).to_le_bytes();
        if is_checked && checksum != second {
            return Err(corrupt("the checksum of the header is wrong"));
        }
        Ok(Self {
            input: rest,
            block_len_max,
            have_checksums: flags & BLOCK_CHECKSUM_BIT != 0,
            content_size,
            content_hash: (flags & CONTENT_CHECKSUM_BIT != 0).then(|| XxHash32::with_seed(SEED)),
            n_out: 0,
            plain: &[],
            opened: Vec::new(),
            taken: 0,
            is_over: false,
        })
    }

    /// Fill some of `buffer`; 0 only at the end of the frame (or for an empty buffer).
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, BadCompression> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let n = loop {
            if !self.plain.is_empty() {
                break copy(&mut self.plain, buffer);
            }
            if self.taken < self.opened.len() {
                let mut rest = self.opened.get(self.taken..).unwrap_or_default();
                let n = copy(&mut rest, buffer);
                self.taken += n;
                break n;
            }
            match self.next_block()? {
                None => return Ok(0),
                Some(Block::Plain(bytes)) => self.plain = bytes,
                Some(Block::Packed(bytes)) => match self.open_block(bytes, buffer)? {
                    0 => {}
                    n => break n,
                },
            }
        };
        if let (Some(hash), Some(out)) = (&mut self.content_hash, buffer.get(..n)) {
            hash.write(out);
        }
        self.n_out += n as u64;
        Ok(n)
    }

    /// Opens a block into `buffer`, or beside it (and returns 0) if it may not fit there.
    fn open_block(&mut self, bytes: &[u8], buffer: &mut [u8]) -> Result<usize, BadCompression> {
        let beside = match buffer.get_mut(..self.block_len_max) {
            Some(room) => return decompress_into(bytes, room).map_err(corrupt),
            None => &mut self.opened,
        };
        beside.resize(self.block_len_max, 0);
        self.taken = beside.len();
        let n = decompress_into(bytes, beside).map_err(corrupt)?;
        beside.truncate(n);
        self.taken = 0;
        Ok(0)
    }

    fn next_block(&mut self) -> Result<Option<Block<'a>>, BadCompression> {
        if self.is_over {
            return Ok(None);
        }
        let word = u32::from_le_bytes(*take(&mut self.input)?);
        if word == 0 {
            self.is_over = true;
            return self.check_end().map(|()| None);
        }
        let length = (word & !PLAIN_BLOCK_BIT) as usize;
        if length > self.block_len_max {
            return Err(corrupt("a block is larger than the header says"));
        }
        let (bytes, rest) = self
            .input
            .split_at_checked(length)
            .ok_or(BadCompression::EndsEarly)?;
        self.input = rest;
        if self.have_checksums {
            let claimed = u32::from_le_bytes(*take(&mut self.input)?);
            if XxHash32::oneshot(SEED, bytes) != claimed {
                return Err(corrupt("the checksum of a block is wrong"));
            }
        }
        Ok(Some(match word & PLAIN_BLOCK_BIT {
            0 => Block::Packed(bytes),
            _ => Block::Plain(bytes),
        }))
    }

    fn check_end(&mut self) -> Result<(), BadCompression> {
        if let Some(hash) = &self.content_hash {
            let claimed = u32::from_le_bytes(*take(&mut self.input)?);
            if hash.finish_32() != claimed {
                return Err(corrupt("the checksum of the content is wrong"));
            }
        }
        if self.content_size.is_some_and(|size| size != self.n_out) {
            return Err(corrupt("the content has another size than the header says"));
        }
        Ok(())
    }
}

enum Block<'a> {
    Plain(&'a [u8]),
    Packed(&'a [u8]),
}

fn block_len_max(sizes: u8) -> Result<usize, BadCompression> {
    if sizes & !BLOCK_SIZE_BITS != 0 {
        return Err(corrupt("reserved bits beside the block size"));
    }
    match sizes >> 4 {
        4 => Ok(64 << 10),
        5 => Ok(256 << 10),
        6 => Ok(1 << 20),
        7 => Ok(4 << 20),
        _ => Err(corrupt("unknown block size")),
    }
}

/// As much as there is and fits.
fn copy(from: &mut &[u8], to: &mut [u8]) -> usize {
    let n = from.len().min(to.len());
    let (now, later) = from.split_at(n);
    to[..n].copy_from_slice(now);
    *from = later;
    n
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], BadCompression> {
    let (taken, after) = rest.split_first_chunk().ok_or(BadCompression::EndsEarly)?;
    *rest = after;
    Ok(taken)
}

fn corrupt(why: impl ToString) -> BadCompression {
    BadCompression::Corrupt {
        codec: Codec::Lz4,
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of frame that the crate's own encoder makes, read through buffers of every kind.
    #[test]
    fn frames_of_all_shapes_through_buffers_of_all_sizes() {
        let mut input: Vec<u8> = (0..200_000_u32)
            .flat_map(|i| (i % 977).to_be_bytes())
            .collect();
        // A stretch that is not worth compressing.
        let mut x = 1_u32;
        input.extend((0..300_000).map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 24) as u8
        }));
        for size in [
            BlockSize::Max64KB,
            BlockSize::Max256KB,
            BlockSize::Max1MB,
            BlockSize::Max4MB,
        ] {
            for has_extras in [false, true] {
                let info = FrameInfo::new()
                    .block_size(size)
                    .block_mode(BlockMode::Independent)
                    .block_checksums(has_extras)
                    .content_checksum(has_extras)
                    .content_size(has_extras.then_some(input.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(&input).unwrap();
                let frame = encoder.finish().unwrap();
                for room in [1000, 70_000, 5 << 20] {
                    assert_eq!(read_all(&frame, room).unwrap(), input, "{size:?} {room}");
                }
                if has_extras {
                    flipped_bytes_are_noticed(&frame);
                }
            }
        }
    }

    fn flipped_bytes_are_noticed(frame: &[u8]) {
        for at in (4..frame.len()).step_by(frame.len() / 50) {
            let mut bad = frame.to_vec();
            bad[at] ^= 4;
            assert!(read_all(&bad, 70_000).is_err(), "{at}");
        }
    }

    #[test]
    fn what_lies_behind_the_frame_is_ignored() {
        let mut frame = Vec::new();
        write(b"content", &mut frame);
        frame.extend_from_slice(b"more");
        assert_eq!(read_all(&frame, 100).unwrap(), b"content");
    }

    #[test]
    fn a_block_stays_within_the_size_that_the_header_names() {
        let mut frame = Vec::new();
        write(&[b'x'; 70_000], &mut frame);
        // The second block's length, made larger than 64 KiB.
        let first = u32::from_le_bytes(frame[7..11].try_into().unwrap()) as usize;
        frame[11 + first..15 + first].copy_from_slice(&70_000_u32.to_le_bytes());
        let why = read_all(&frame, 70_000).unwrap_err().to_string();
        assert_eq!(why, "lz4: a block is larger than the header says");
        // And one that opens to more than that.
        let mut frame = frame[..7].to_vec();
        let packed = lz4_flex::block::compress(&[b'x'; 70_000]);
        frame.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        frame.extend_from_slice(&packed);
        frame.extend_from_slice(&[0; 4]);
        for room in [1000, 1 << 20] {
            assert!(read_all(&frame, room).is_err());
        }
    }

    fn read_all(frame: &[u8], room: usize) -> Result<Vec<u8>, BadCompression> {
        let (mut blocks, mut buffer) = (Blocks::new(frame)?, vec![0; room]);
        let mut out = Vec::new();
        loop {
            match blocks.read(&mut buffer)? {
                0 => return Ok(out),
                n => out.extend_from_slice(&buffer[..n]),
            }
        }
    }
}

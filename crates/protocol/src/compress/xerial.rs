//! Snappy in the framing of the xerial library, which is what Java clients write and expect:
//! a header of 16 bytes, then blocks with their length before them.
//!
//! Other clients send one raw block without header; we read that, and never write it.

use super::{BadCompression, Codec};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_LEN: usize = 16;
/// Xerial's own default: what goes into one block.
const BLOCK_LEN: usize = 32 * 1024;
/// No element of snappy makes more of its bytes: a copy of 64 is written in 3.
const GROWTH_MAX: usize = 22;

pub(super) fn write(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(BLOCK_LEN) {
        let length_at = out.len();
        let start = length_at + 4;
        out.resize(start + snap::raw::max_compress_len(block.len()), 0);
        let n = encoder
            .compress(block, &mut out[start..])
            .expect("the output has room for the worst case");
        out.truncate(start + n);
        out[length_at..start].copy_from_slice(&(n as u32).to_be_bytes());
    }
}

/// The blocks of a stream, opened one at a time.
pub(super) struct Blocks<'a> {
    input: &'a [u8],
    is_framed: bool,
    block: Vec<u8>,
    /// How much of `block` was handed out.
    taken: usize,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        let is_framed = input.len() >= HEADER_LEN && input.starts_with(&MAGIC);
        Self {
            input,
            is_framed,
            block: Vec::new(),
            taken: 0,
        }
    }

    /// Fill some of `buffer`; a block of more than `room` bytes is above the `limit`.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        room: usize,
        limit: usize,
    ) -> Result<usize, BadCompression> {
        while self.taken == self.block.len() {
            let Some(block) = self.next_block()? else {
                return Ok(0);
            };
            self.open_block(block, room, limit)?;
        }
        let rest = self.block.get(self.taken..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        self.taken += n;
        Ok(n)
    }

    fn next_block(&mut self) -> Result<Option<&'a [u8]>, BadCompression> {
        if self.input.is_empty() {
            return Ok(None);
        }
        if !self.is_framed {
            return Ok(Some(std::mem::take(&mut self.input)));
        }
        // Streams written one behind the other repeat the header; its first byte is no length.
        while self.input.starts_with(&MAGIC) {
            self.input = self
                .input
                .get(HEADER_LEN..)
                .ok_or(BadCompression::EndsEarly)?;
        }
        if self.input.is_empty() {
            return Ok(None);
        }
        let (length, rest) = self
            .input
            .split_first_chunk()
            .ok_or(BadCompression::EndsEarly)?;
        let length = usize::try_from(i32::from_be_bytes(*length))
            .map_err(|_| corrupt("a block has a negative length"))?;
        let (block, rest) = rest
            .split_at_checked(length)
            .ok_or(BadCompression::EndsEarly)?;
        self.input = rest;
        Ok(Some(block))
    }

    fn open_block(
        &mut self,
        block: &[u8],
        room: usize,
        limit: usize,
    ) -> Result<(), BadCompression> {
        let claimed = snap::raw::decompress_len(block).map_err(corrupt)?;
        if claimed > block.len().saturating_mul(GROWTH_MAX) {
            return Err(corrupt("a block claims more than it can hold"));
        }
        if claimed > room {
            return Err(BadCompression::TooLarge { limit });
        }
        self.taken = 0;
        self.block.clear();
        self.block.resize(claimed, 0);
        let opened = snap::raw::Decoder::new().decompress(block, &mut self.block);
        // A block that failed must not be read from.
        self.taken = if opened.is_ok() { 0 } else { claimed };
        opened.map(|_| ()).map_err(corrupt)
    }
}

fn corrupt(why: impl ToString) -> BadCompression {
    BadCompression::Corrupt {
        codec: Codec::Snappy,
        why: why.to_string(),
    }
}

//! Batches of a file, one behind the other, by their headers alone or whole.
//! Sizes that a file claims are checked against the file before anything is reserved for them.

use ottla_protocol::LeaderEpoch;
use ottla_protocol::Offset;
use ottla_protocol::batch::legacy::LegacyBatch;
use ottla_protocol::batch::{Batch, CorruptBatch, HEADER_LEN, Header, PREFIX_LEN, peek};

use crate::error::Fault;
use crate::open_files::LazyFile;

/// What one read fetches when batches are small: a page, the distance of two index entries.
const CHUNK_BYTES: usize = 4096;
/// What a walk that goes on asks the disk for at a time.
const WALK_BYTES: u64 = 128 << 10;
/// What a scan of whole batches reads at a time.
const SCAN_BYTES: usize = 1 << 20;
/// What the disk is asked for beyond what is read at the moment, where more is read than that.
const AHEAD_BYTES: u64 = 1 << 20;

/// A batch of a file, seen through its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) position: u32,
    pub(crate) size: u32,
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) max_timestamp: i64,
    /// -1 in formats that have none.
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) magic: i8,
}

impl Head {
    pub(crate) fn of(batch: &Header<'_>) -> Self {
        Self {
            position: 0,
            size: batch.size() as u32,
            base_offset: batch.base_offset(),
            last_offset: batch.last_offset(),
            max_timestamp: batch.max_timestamp(),
            leader_epoch: batch.leader_epoch(),
            magic: batch.magic(),
        }
    }

    /// `None`: these bytes do not reach far enough.
    fn parse(bytes: &[u8]) -> Option<Result<Self, CorruptBatch>> {
        let prefix = match peek(bytes)? {
            Ok(prefix) => prefix,
            Err(corrupt) => return Some(Err(corrupt)),
        };
        let head = match prefix.magic {
            2 if bytes.len() < HEADER_LEN => return None,
            0 | 1 => Ok(Self::legacy(
                bytes,
                prefix.offset,
                prefix.size,
                prefix.magic,
            )),
            _ => Header::parse(bytes).map(|header| Self::of(&header)),
        };
        Some(head.and_then(Self::checked))
    }

    /// IMPORTANT: what comes out of a file is counted with: behind the last offset there is another.
    pub(crate) fn checked(self) -> Result<Self, CorruptBatch> {
        let (first, last) = (self.base_offset, self.last_offset);
        match 0 <= first && first <= last && last < Offset::MAX {
            true => Ok(self),
            false => Err(CorruptBatch::Offsets { first, last }),
        }
    }

    /// A message of before Kafka 0.11. The offset is that of its last record.
    fn legacy(bytes: &[u8], offset: Offset, size: usize, magic: i8) -> Self {
        const AT_TIMESTAMP: usize = 18;
        let timestamp = bytes
            .get(AT_TIMESTAMP..)
            .and_then(|rest| rest.first_chunk::<8>());
        Self {
            position: 0,
            size: size as u32,
            base_offset: offset,
            last_offset: offset,
            max_timestamp: match timestamp {
                Some(timestamp) if magic == 1 => i64::from_be_bytes(*timestamp),
                _ => -1,
            },
            leader_epoch: -1,
            magic,
        }
    }
}

/// The whole batches of `bytes`, of whatever format, each with its checksum right. A torn rest is left
/// out.
pub(crate) fn whole_heads(bytes: &[u8]) -> Result<Vec<Head>, CorruptBatch> {
    let mut heads = Vec::new();
    let mut rest = bytes;
    while let Some(prefix) = peek(rest) {
        let prefix = prefix?;
        let Some((batch, behind)) = rest.split_at_checked(prefix.size) else {
            break;
        };
        match Head::parse(batch) {
            Some(head) => {
                let head = head?;
                match head.magic {
                    0 | 1 => LegacyBatch::parse(batch)?.verify_crc()?,
                    _ => Batch::parse(batch)?.verify_crc()?,
                }
                heads.push(head);
            }
            None => break,
        }
        rest = behind;
    }
    Ok(heads)
}

/// Walks headers; ends at `end`, or before a batch that is not whole.
pub(crate) struct Heads<'a> {
    file: &'a LazyFile,
    position: u32,
    end: u32,
    chunk: Vec<u8>,
    /// Where in the file `chunk` starts.
    chunk_at: u32,
    want: usize,
    /// How far the disk was asked for what comes next.
    asked_to: u64,
}

impl<'a> Heads<'a> {
    pub(crate) fn new(file: &'a LazyFile, position: u32, end: u32) -> Self {
        Self {
            file,
            position,
            end,
            chunk: Vec::new(),
            chunk_at: position,
            want: CHUNK_BYTES,
            asked_to: 0,
        }
    }

    fn step(&mut self) -> Result<Option<Head>, Fault> {
        let left = self.end.saturating_sub(self.position) as usize;
        if left < PREFIX_LEN {
            return Ok(None);
        }
        let head = match self.buffered() {
            Some(head) => head,
            None => {
                self.fill(left)?;
                match self.buffered() {
                    Some(head) => head,
                    None => return Ok(None),
                }
            }
        };
        let mut head = head.map_err(|e| {
            Fault::corrupt(
                self.file.path(),
                format!("at position {}: {e}", self.position),
            )
        })?;
        if head.size as usize > left {
            return Ok(None);
        }
        head.position = self.position;
        self.position += head.size;
        // Behind a large batch another large one is likely: then its header is all we want.
        self.want = if head.size as usize > CHUNK_BYTES {
            HEADER_LEN
        } else {
            CHUNK_BYTES
        };
        Ok(Some(head))
    }

    /// All of the header of the batch that came last; `None` of an old format.
    pub(crate) fn header_of(&self, head: &Head) -> Option<Header<'_>> {
        let at = head.position.checked_sub(self.chunk_at)? as usize;
        Header::parse(self.chunk.get(at..)?).ok()
    }

    fn buffered(&self) -> Option<Result<Head, CorruptBatch>> {
        let at = self.position.checked_sub(self.chunk_at)? as usize;
        Head::parse(self.chunk.get(at..)?)
    }

    fn fill(&mut self, left: usize) -> Result<(), Fault> {
        // Where batches are small it is page after page. (Most walks end within the first.)
        let is_next = self.chunk_at < self.position && self.want == CHUNK_BYTES;
        self.chunk.resize(self.want.min(left), 0);
        let (chunk, position) = (&mut self.chunk, u64::from(self.position));
        let asks_ahead = is_next && position >= self.asked_to;
        if asks_ahead {
            self.asked_to = position + WALK_BYTES.min(left as u64);
        }
        let n_read = self.file.with(|file| {
            if asks_ahead {
                file.begin_to_read(position, self.asked_to - position);
            }
            file.read_at(chunk, position)
        })?;
        self.chunk.truncate(n_read);
        self.chunk_at = self.position;
        Ok(())
    }
}

impl Iterator for Heads<'_> {
    type Item = Result<Head, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// Walks whole batches, for recovery and for what must look into records.
pub(crate) struct Scan<'a> {
    file: &'a LazyFile,
    end: u64,
    buffer: Vec<u8>,
    /// Where in the file `buffer` starts.
    buffer_at: u64,
    position: u64,
    chunk: usize,
}

/// The next thing a scan found.
pub(crate) enum Scanned<'a> {
    Batch(Head, Batch<'a>),
    /// A message of an older format, its checksum right.
    Legacy(Head, LegacyBatch<'a>),
    End,
    /// From here on the file is not made of whole batches.
    Torn(CorruptBatch),
}

impl<'a> Scan<'a> {
    pub(crate) fn new(file: &'a LazyFile, start: u32, end: u32) -> Self {
        Self::in_chunks(file, start, end, SCAN_BYTES)
    }

    /// A scan that reads `chunk` bytes at a time, or a whole batch where that is more.
    pub(crate) fn in_chunks(file: &'a LazyFile, start: u32, end: u32, chunk: usize) -> Self {
        let start = u64::from(start);
        Self {
            chunk,
            file,
            end: end.into(),
            buffer: Vec::new(),
            buffer_at: start,
            position: start,
        }
    }

    /// Behind the last batch that was returned.
    pub(crate) fn position(&self) -> u32 {
        self.position as u32
    }

    pub(crate) fn next(&mut self) -> Result<Scanned<'_>, Fault> {
        let left = (self.end - self.position) as usize;
        if left == 0 {
            return Ok(Scanned::End);
        }
        self.need(HEADER_LEN.min(left))?;
        let prefix = match peek(self.ahead()) {
            Some(Ok(prefix)) => prefix,
            Some(Err(corrupt)) => return Ok(Scanned::Torn(corrupt)),
            None => return Ok(torn(PREFIX_LEN, left)),
        };
        if prefix.size > left {
            return Ok(torn(prefix.size, left));
        }
        self.need(prefix.size)?;
        let at = self.position;
        let start = (at - self.buffer_at) as usize;
        let Some(bytes) = self.buffer.get(start..start + prefix.size) else {
            return Ok(torn(prefix.size, self.buffer.len().saturating_sub(start)));
        };
        let mut head = match Head::parse(bytes) {
            Some(Ok(head)) => head,
            Some(Err(corrupt)) => return Ok(Scanned::Torn(corrupt)),
            None => return Ok(torn(HEADER_LEN, bytes.len())),
        };
        head.position = at as u32;
        if head.magic < 2 {
            let batch = LegacyBatch::parse(bytes);
            return Ok(match batch.and_then(|it| it.verify_crc().map(|()| it)) {
                Ok(batch) => {
                    self.position += u64::from(head.size);
                    Scanned::Legacy(head, batch)
                }
                Err(corrupt) => Scanned::Torn(corrupt),
            });
        }
        match Batch::parse(bytes) {
            Ok(batch) => {
                self.position += u64::from(head.size);
                Ok(Scanned::Batch(head, batch))
            }
            Err(corrupt) => Ok(Scanned::Torn(corrupt)),
        }
    }

    fn ahead(&self) -> &[u8] {
        let start = (self.position - self.buffer_at) as usize;
        self.buffer.get(start..).unwrap_or_default()
    }

    /// Makes at least `n_bytes` from the position on present, if the file has them.
    fn need(&mut self, n_bytes: usize) -> Result<(), Fault> {
        if self.ahead().len() >= n_bytes {
            return Ok(());
        }
        let left = (self.end - self.position) as usize;
        let start = (self.position - self.buffer_at) as usize;
        self.buffer.drain(..start.min(self.buffer.len()));
        self.buffer_at = self.position;
        let present = self.buffer.len();
        self.buffer.resize(n_bytes.max(self.chunk).min(left), 0);
        let rest = self.buffer.get_mut(present..).unwrap_or_default();
        let at = self.position + present as u64;
        let n_behind = self.end.saturating_sub(at + rest.len() as u64);
        let n_read = self.file.with(|file| {
            if n_behind > 0 {
                let n_ahead = n_behind.min(AHEAD_BYTES);
                file.begin_to_read(at, rest.len() as u64 + n_ahead);
            }
            file.read_at(rest, at)
        })?;
        self.buffer.truncate(present + n_read);
        Ok(())
    }
}

fn torn<'a>(needed: usize, present: usize) -> Scanned<'a> {
    Scanned::Torn(CorruptBatch::Truncated { needed, present })
}

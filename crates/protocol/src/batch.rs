//! A record batch (magic 2) seen through its 61-byte header, records untouched.
//!
//! Nothing here copies: a [`Batch`] borrows the bytes it was parsed from, and what a broker writes
//! into a producer's batch (base offset, leader epoch, time of the append) is stamped in place.
//! Magic 0 and 1 are recognised ([`peek`]); what is in their messages is in [`legacy`].
//!
//! Records are in [`record`], the walk over compressed ones that keeps memory small in [`scan`].

pub mod legacy;
mod record;
mod scan;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Deref;

use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc};

pub use self::record::{Headers, Payload, Record, RecordHeader, Records};
pub use self::scan::{RecordShape, scan, scan_until};
use crate::compress::{BadCompression, Codec};

/// The header of a magic 2 batch; also the smallest legal batch, since compaction leaves empty ones.
pub const HEADER_LEN: usize = 61;
/// Base offset and length: what precedes the bytes that the length field counts.
pub const LOG_OVERHEAD: usize = 12;
/// The prefix that every magic shares: enough to learn size and magic.
pub const PREFIX_LEN: usize = 17;
/// Smallest length field that can be: the overhead of an empty magic 0 message.
const LEGACY_LENGTH_MIN: i32 = 14;
/// What a batch may decompress to, at most. Kafka has no such limit; ours is the scale of its
/// largest request (`socket.request.max.bytes`), so that a few kilobytes cannot cost minutes.
pub const OPENED_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Of messages before magic 2.
const AT_LEGACY_CRC: usize = 12;
const AT_LENGTH: usize = 8;
const AT_LEADER_EPOCH: usize = 12;
const AT_MAGIC: usize = 16;
const AT_CRC: usize = 17;
const AT_ATTRIBUTES: usize = 21;
const AT_LAST_OFFSET_DELTA: usize = 23;
const AT_BASE_TIMESTAMP: usize = 27;
const AT_MAX_TIMESTAMP: usize = 35;
const AT_PRODUCER_ID: usize = 43;
const AT_PRODUCER_EPOCH: usize = 51;
const AT_BASE_SEQUENCE: usize = 53;
const AT_N_RECORDS: usize = 57;

pub(crate) const CODEC_BITS: u8 = 0b0000_0111;
pub(crate) const APPEND_TIME_BIT: u8 = 0b0000_1000;
pub(crate) const TRANSACTIONAL_BIT: u8 = 0b0001_0000;
pub(crate) const CONTROL_BIT: u8 = 0b0010_0000;
pub(crate) const DELETE_HORIZON_BIT: u8 = 0b0100_0000;

/// Why bytes are not a batch that we can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorruptBatch {
    /// Fewer bytes than the batch says it has, or than any header needs.
    Truncated { needed: usize, present: usize },
    /// A length field that no batch of this magic can have.
    Length { claimed: i32 },
    /// Another format than magic 2.
    Magic { magic: i8 },
    /// The checksum does not fit the bytes.
    Crc { stored: u32, computed: u32 },
    /// Attribute bits that name no codec.
    Codec { bits: u8 },
    /// The compressed bytes do not open.
    Compression(BadCompression),
    /// A record breaks its own layout.
    Record { index: i32, why: &'static str },
    /// The header claims another number of records than there are.
    Count { claimed: i32, why: &'static str },
    /// Offsets that no log gives: they begin at 0, and another one follows each.
    Offsets { first: i64, last: i64 },
}

impl fmt::Display for CorruptBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, present } => {
                write!(f, "batch needs {needed} bytes, {present} are there")
            }
            Self::Length { claimed } => write!(f, "batch length {claimed} is impossible"),
            Self::Magic { magic } => write!(f, "batch has magic {magic}, not 2"),
            Self::Crc { stored, computed } => {
                write!(
                    f,
                    "batch has CRC {stored:#010x}, its bytes have {computed:#010x}"
                )
            }
            Self::Codec { bits } => write!(f, "no codec has the number {bits}"),
            Self::Compression(why) => write!(f, "compressed records: {why}"),
            Self::Record { index, why } => write!(f, "record {index}: {why}"),
            Self::Count { claimed, why } => write!(f, "batch claims {claimed} records: {why}"),
            Self::Offsets { first, last } => write!(f, "no batch has offsets {first} to {last}"),
        }
    }
}

impl std::error::Error for CorruptBatch {}

impl From<BadCompression> for CorruptBatch {
    fn from(why: BadCompression) -> Self {
        Self::Compression(why)
    }
}

/// What every batch or legacy message shows in its first [`PREFIX_LEN`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Base offset for magic 2; for a legacy compressed message the offset of its last record.
    pub offset: i64,
    /// All bytes of the batch, length field and offset included.
    pub size: usize,
    pub magic: i8,
}

/// Learn size and magic from the first bytes; `None` if they do not reach that far.
pub fn peek(bytes: &[u8]) -> Option<Result<Prefix, CorruptBatch>> {
    let prefix: &[u8; PREFIX_LEN] = bytes.first_chunk()?;
    let claimed = i32_at(prefix, AT_LENGTH);
    let magic = prefix[AT_MAGIC] as i8;
    let least = if magic >= 2 {
        (HEADER_LEN - LOG_OVERHEAD) as i32
    } else {
        LEGACY_LENGTH_MIN
    };
    if claimed < least {
        return Some(Err(CorruptBatch::Length { claimed }));
    }
    let size = LOG_OVERHEAD + claimed as usize;
    Some(Ok(Prefix {
        offset: i64_at(prefix, 0),
        size,
        magic,
    }))
}

/// Whose time a batch carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampKind {
    /// The producer's, record by record.
    CreateTime,
    /// The leader's at the append: one time, the maximum, for all records.
    LogAppendTime,
}

/// The header of a batch, alone: enough to find, order and skip batches without their records.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    bytes: &'a [u8; HEADER_LEN],
}

impl<'a> Header<'a> {
    /// Read the header at the start of `bytes`; the records need not be there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CorruptBatch> {
        let magic = match peek(bytes) {
            Some(prefix) => prefix?.magic,
            None => return Err(truncated(HEADER_LEN, bytes)),
        };
        if magic != 2 {
            return Err(CorruptBatch::Magic { magic });
        }
        let bytes = bytes
            .first_chunk()
            .ok_or_else(|| truncated(HEADER_LEN, bytes))?;
        Ok(Self { bytes })
    }

    pub fn base_offset(self) -> i64 {
        i64_at(self.bytes, 0)
    }

    /// All bytes of the batch, header included.
    pub fn size(self) -> usize {
        LOG_OVERHEAD + i32_at(self.bytes, AT_LENGTH).max(0) as usize
    }

    pub fn leader_epoch(self) -> i32 {
        i32_at(self.bytes, AT_LEADER_EPOCH)
    }

    pub fn magic(self) -> i8 {
        self.bytes[AT_MAGIC] as i8
    }

    pub fn crc(self) -> u32 {
        i32_at(self.bytes, AT_CRC) as u32
    }

    /// The low byte of the attributes; the high byte is unused and written as zero.
    pub fn attributes(self) -> u8 {
        self.bytes[AT_ATTRIBUTES + 1]
    }

    pub fn codec(self) -> Result<Codec, CorruptBatch> {
        let bits = self.attributes() & CODEC_BITS;
        Codec::from_bits(bits).ok_or(CorruptBatch::Codec { bits })
    }

    pub fn timestamp_kind(self) -> TimestampKind {
        match self.attributes() & APPEND_TIME_BIT {
            0 => TimestampKind::CreateTime,
            _ => TimestampKind::LogAppendTime,
        }
    }

    pub fn is_transactional(self) -> bool {
        self.attributes() & TRANSACTIONAL_BIT != 0
    }

    pub fn is_control(self) -> bool {
        self.attributes() & CONTROL_BIT != 0
    }

    pub fn has_delete_horizon(self) -> bool {
        self.attributes() & DELETE_HORIZON_BIT != 0
    }

    /// When the tombstones and markers of this batch may go, if compaction decided that already.
    pub fn delete_horizon(self) -> Option<i64> {
        self.has_delete_horizon().then(|| self.base_timestamp())
    }

    pub fn last_offset_delta(self) -> i32 {
        i32_at(self.bytes, AT_LAST_OFFSET_DELTA)
    }

    /// Offset of the last record slot; compaction keeps it even if that record is gone.
    pub fn last_offset(self) -> i64 {
        self.base_offset()
            .saturating_add(i64::from(self.last_offset_delta()))
    }

    pub fn next_offset(self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// What the record's timestamps count from; the delete horizon where there is one.
    pub fn base_timestamp(self) -> i64 {
        i64_at(self.bytes, AT_BASE_TIMESTAMP)
    }

    pub fn max_timestamp(self) -> i64 {
        i64_at(self.bytes, AT_MAX_TIMESTAMP)
    }

    /// -1: no producer id, hence neither idempotent nor transactional.
    pub fn producer_id(self) -> i64 {
        i64_at(self.bytes, AT_PRODUCER_ID)
    }

    pub fn has_producer_id(self) -> bool {
        self.producer_id() > NO_PRODUCER_ID
    }

    pub fn producer_epoch(self) -> i16 {
        i16::from_be_bytes([
            self.bytes[AT_PRODUCER_EPOCH],
            self.bytes[AT_PRODUCER_EPOCH + 1],
        ])
    }

    pub fn base_sequence(self) -> i32 {
        i32_at(self.bytes, AT_BASE_SEQUENCE)
    }

    pub fn last_sequence(self) -> i32 {
        match self.base_sequence() {
            NO_SEQUENCE => NO_SEQUENCE,
            base => advance_sequence(base, self.last_offset_delta()),
        }
    }

    /// Records present, as the header claims; nobody has counted them yet.
    pub fn n_records(self) -> i32 {
        i32_at(self.bytes, AT_N_RECORDS)
    }

    /// The slots from base to last offset: equal to `n_records` until compaction removes some.
    pub fn n_offsets(self) -> i64 {
        i64::from(self.last_offset_delta()) + 1
    }
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("base_offset", &self.base_offset())
            .field("last_offset", &self.last_offset())
            .field("leader_epoch", &self.leader_epoch())
            .field("size", &self.size())
            .field("attributes", &format_args!("{:#04x}", self.attributes()))
            .field("base_timestamp", &self.base_timestamp())
            .field("max_timestamp", &self.max_timestamp())
            .field("producer", &(self.producer_id(), self.producer_epoch()))
            .field("base_sequence", &self.base_sequence())
            .field("n_records", &self.n_records())
            .finish()
    }
}

/// One whole batch: its header, and its records still as bytes.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    header: Header<'a>,
    /// Exactly `header.size()` bytes.
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch at the start of `bytes`; what follows it is not looked at. The CRC is not checked.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CorruptBatch> {
        let header = Header::parse(bytes)?;
        let bytes = bytes
            .get(..header.size())
            .ok_or_else(|| truncated(header.size(), bytes))?;
        Ok(Self { header, bytes })
    }

    pub fn header(self) -> Header<'a> {
        self.header
    }

    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: records, or one compressed stream of them.
    pub fn body(self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    pub fn verify_crc(self) -> Result<(), CorruptBatch> {
        let (stored, computed) = (self.crc(), crc_of(self.bytes));
        if stored == computed {
            Ok(())
        } else {
            Err(CorruptBatch::Crc { stored, computed })
        }
    }

    /// Open the records: borrowed if they are plain, decompressed to at most `limit` bytes if not.
    pub fn payload(self, limit: usize) -> Result<Payload<'a>, CorruptBatch> {
        Payload::open(self, limit)
    }
}

impl<'a> Deref for Batch<'a> {
    type Target = Header<'a>;

    fn deref(&self) -> &Header<'a> {
        &self.header
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header.fmt(f)
    }
}

/// The batches that lie one behind the other in `bytes`.
///
/// Ends silently at a trailing partial batch; `position` tells where. A batch that is corrupt or of
/// a legacy magic is yielded as an error and is the last item.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches {
        bytes,
        position: 0,
        is_done: false,
    }
}

#[derive(Debug, Clone)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    is_done: bool,
}

impl Batches<'_> {
    /// Where the next batch starts; after the end, how many bytes were whole batches.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, CorruptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        match Batch::parse(self.bytes.get(self.position..)?) {
            Ok(batch) => {
                self.position += batch.size();
                Some(Ok(batch))
            }
            Err(CorruptBatch::Truncated { .. }) => {
                self.is_done = true;
                None
            }
            Err(corrupt) => {
                self.is_done = true;
                Some(Err(corrupt))
            }
        }
    }
}

/// Write base offset and leader epoch: both lie outside the CRC, so nothing else changes.
/// `bytes` starts at a batch; only the first [`HEADER_LEN`] bytes are touched.
pub fn stamp(bytes: &mut [u8], base_offset: i64, leader_epoch: i32) {
    assert!(bytes.len() >= HEADER_LEN, "only whole headers are stamped");
    put(bytes, 0, &base_offset.to_be_bytes());
    put(bytes, AT_LEADER_EPOCH, &leader_epoch.to_be_bytes());
}

/// Write whose time the batch carries and its largest; returns whether anything changed.
///
/// These are inside the CRC, which must be right before: it is corrected, not computed anew, so the
/// records are not read again (a CRC is linear: the difference of two headers, shifted past the
/// body, is the difference of the two checksums). Only the first [`HEADER_LEN`] bytes are touched,
/// and only they need to be given.
pub fn stamp_timestamp(bytes: &mut [u8], kind: TimestampKind, max_timestamp: i64) -> bool {
    let header = Header::parse(bytes).expect("only parsed batches are stamped");
    if header.timestamp_kind() == kind && header.max_timestamp() == max_timestamp {
        return false;
    }
    let attributes = match kind {
        TimestampKind::CreateTime => header.attributes() & !APPEND_TIME_BIT,
        TimestampKind::LogAppendTime => header.attributes() | APPEND_TIME_BIT,
    };
    under_crc(bytes, |bytes| {
        bytes[AT_ATTRIBUTES + 1] = attributes;
        put(bytes, AT_MAX_TIMESTAMP, &max_timestamp.to_be_bytes());
    });
    true
}

/// Write what a producer changes when it sends the same records once more: their time (all records
/// have that of the batch), and who it is. The CRC is corrected as in [`stamp_timestamp`].
pub fn stamp_producer(
    bytes: &mut [u8],
    timestamp: i64,
    (id, epoch, base_sequence): (i64, i16, i32),
) {
    under_crc(bytes, |bytes| {
        put(bytes, AT_BASE_TIMESTAMP, &timestamp.to_be_bytes());
        put(bytes, AT_MAX_TIMESTAMP, &timestamp.to_be_bytes());
        put(bytes, AT_PRODUCER_ID, &id.to_be_bytes());
        put(bytes, AT_PRODUCER_EPOCH, &epoch.to_be_bytes());
        put(bytes, AT_BASE_SEQUENCE, &base_sequence.to_be_bytes());
    });
}

/// Change what the CRC covers of the first [`HEADER_LEN`] bytes, and correct the CRC.
fn under_crc(bytes: &mut [u8], change: impl FnOnce(&mut [u8])) {
    let header = Header::parse(bytes).expect("only parsed batches are stamped");
    let n_body = (header.size() - HEADER_LEN) as u64;
    let stored = header.crc();
    let before = crc32c(&header.bytes[AT_ATTRIBUTES..]);
    change(bytes);
    let difference = before ^ crc32c(&bytes[AT_ATTRIBUTES..HEADER_LEN]);
    let corrected =
        crc_fast::checksum_combine(Crc32Iscsi, u64::from(difference), u64::from(stored), n_body)
            as u32;
    put(bytes, AT_CRC, &corrected.to_be_bytes());
}

/// Compute and write the CRC of a batch just built.
pub(crate) fn seal(bytes: &mut [u8]) {
    let crc = crc_of(bytes);
    put(bytes, AT_CRC, &crc.to_be_bytes());
}

/// The header as plain values, for those who write one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderFields {
    pub(crate) base_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) attributes: u8,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) n_records: i32,
}

impl HeaderFields {
    /// Write the header over the first bytes of `batch`, CRC included.
    pub(crate) fn write(&self, batch: &mut [u8]) {
        let length = i32::try_from(batch.len() - LOG_OVERHEAD).expect("a batch is below 2 GiB");
        put(batch, AT_LENGTH, &length.to_be_bytes());
        batch[AT_MAGIC] = 2;
        put(
            batch,
            AT_ATTRIBUTES,
            &i16::from(self.attributes).to_be_bytes(),
        );
        put(
            batch,
            AT_LAST_OFFSET_DELTA,
            &self.last_offset_delta.to_be_bytes(),
        );
        put(batch, AT_BASE_TIMESTAMP, &self.base_timestamp.to_be_bytes());
        put(batch, AT_MAX_TIMESTAMP, &self.max_timestamp.to_be_bytes());
        put(batch, AT_PRODUCER_ID, &self.producer_id.to_be_bytes());
        put(batch, AT_PRODUCER_EPOCH, &self.producer_epoch.to_be_bytes());
        put(batch, AT_BASE_SEQUENCE, &self.base_sequence.to_be_bytes());
        put(batch, AT_N_RECORDS, &self.n_records.to_be_bytes());
        stamp(batch, self.base_offset, self.leader_epoch);
        seal(batch);
    }
}

pub const NO_PRODUCER_ID: i64 = -1;
pub const NO_PRODUCER_EPOCH: i16 = -1;
pub const NO_SEQUENCE: i32 = -1;
pub const NO_TIMESTAMP: i64 = -1;
pub const NO_LEADER_EPOCH: i32 = -1;

/// The sequence `n` records further on: after `i32::MAX` comes 0. Defined for what is not negative;
/// for anything else it is some number, since headers from outside can say anything.
pub fn advance_sequence(sequence: i32, n: i32) -> i32 {
    match sequence.checked_add(n) {
        Some(next) => next,
        None => n
            .wrapping_sub(i32::MAX.wrapping_sub(sequence))
            .wrapping_sub(1),
    }
}

/// The sequence `n` records before: before 0 comes `i32::MAX`.
pub fn rewind_sequence(sequence: i32, n: i32) -> i32 {
    if sequence >= n {
        sequence.wrapping_sub(n)
    } else {
        i32::MAX
            .wrapping_sub(n.wrapping_sub(sequence))
            .wrapping_add(1)
    }
}

fn crc_of(batch: &[u8]) -> u32 {
    crc32c(batch.get(AT_ATTRIBUTES..).unwrap_or_default())
}

/// Whether a message of magic 0 or 1, from its offset on, is what was written.
pub fn verify_legacy_crc(message: &[u8]) -> Result<(), CorruptBatch> {
    let (Some(stored), Some(covered)) = (
        message.get(AT_LEGACY_CRC..).and_then(<[u8]>::first_chunk),
        message.get(AT_LEGACY_CRC + 4..),
    ) else {
        return Err(truncated(AT_LEGACY_CRC + 4, message));
    };
    let stored = u32::from_be_bytes(*stored);
    let computed = crc_fast::checksum(Crc32IsoHdlc, covered) as u32;
    if stored == computed {
        Ok(())
    } else {
        Err(CorruptBatch::Crc { stored, computed })
    }
}

/// Castagnoli's CRC-32, as Kafka has it in batches and producer snapshots.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(Crc32Iscsi, bytes) as u32
}

fn truncated(needed: usize, bytes: &[u8]) -> CorruptBatch {
    CorruptBatch::Truncated {
        needed,
        present: bytes.len(),
    }
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

fn i64_at<const N: usize>(bytes: &[u8; N], at: usize) -> i64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(field)
}

fn i32_at<const N: usize>(bytes: &[u8; N], at: usize) -> i32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(field)
}

//! The bytes of a `.snapshot` file: every producer of a partition with its newest batch.
//!
//! Version 1: i16 version, u32 CRC-32C of all that follows it, i32 count, then 46 bytes a producer.

use std::fmt;

use ottla_protocol::batch::crc32c;

use super::{Producer, Producers, SeenBatch};

const VERSION: i16 = 1;
const ENTRY_LEN: usize = 46;
/// What precedes the bytes that the CRC covers.
const UNCHECKED_LEN: usize = 6;

/// Why bytes are no snapshot; such a file is deleted and the next older one taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorruptSnapshot {
    Truncated,
    Version(i16),
    Crc { stored: u32, computed: u32 },
    Count(i32),
}

impl fmt::Display for CorruptSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the snapshot ends early"),
            Self::Version(version) => write!(f, "snapshot version {version} is unknown"),
            Self::Crc { stored, computed } => {
                write!(
                    f,
                    "snapshot has CRC {stored:#010x}, its bytes have {computed:#010x}"
                )
            }
            Self::Count(count) => write!(f, "the snapshot claims {count} producers"),
        }
    }
}

impl std::error::Error for CorruptSnapshot {}

/// The snapshot of all producers, ordered by id.
pub fn encode(producers: &Producers) -> Vec<u8> {
    let mut entries: Vec<&Producer> = producers.iter().collect();
    entries.sort_unstable_by_key(|producer| producer.id());
    let mut out = Vec::with_capacity(UNCHECKED_LEN + 4 + entries.len() * ENTRY_LEN);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(entries.len() as i32).to_be_bytes());
    for producer in entries {
        encode_entry(producer, &mut out);
    }
    let crc = crc32c(&out[UNCHECKED_LEN..]);
    out[2..UNCHECKED_LEN].copy_from_slice(&crc.to_be_bytes());
    out
}

fn encode_entry(producer: &Producer, out: &mut Vec<u8>) {
    let newest = producer.newest();
    out.extend_from_slice(&producer.id().to_be_bytes());
    out.extend_from_slice(&producer.epoch().to_be_bytes());
    out.extend_from_slice(&producer.last_sequence().to_be_bytes());
    out.extend_from_slice(&producer.last_offset().to_be_bytes());
    out.extend_from_slice(&newest.map_or(0, |batch| batch.offset_delta).to_be_bytes());
    out.extend_from_slice(&producer.last_timestamp().to_be_bytes());
    out.extend_from_slice(&producer.coordinator_epoch().to_be_bytes());
    out.extend_from_slice(&producer.transaction_start().unwrap_or(-1).to_be_bytes());
}

/// Read a snapshot. The claimed count must fit the bytes, so it costs nothing to believe it.
pub fn decode(bytes: &[u8]) -> Result<Vec<Producer>, CorruptSnapshot> {
    let mut rest = Fields(bytes);
    let version = i16::from_be_bytes(rest.take()?);
    if version != VERSION {
        return Err(CorruptSnapshot::Version(version));
    }
    let stored = u32::from_be_bytes(rest.take()?);
    let computed = crc32c(rest.0);
    if stored != computed {
        return Err(CorruptSnapshot::Crc { stored, computed });
    }
    let count = i32::from_be_bytes(rest.take()?);
    let n = usize::try_from(count).map_err(|_| CorruptSnapshot::Count(count))?;
    if n > rest.0.len() / ENTRY_LEN {
        return Err(CorruptSnapshot::Count(count));
    }
    (0..n).map(|_| decode_entry(&mut rest)).collect()
}

fn decode_entry(rest: &mut Fields<'_>) -> Result<Producer, CorruptSnapshot> {
    let id = i64::from_be_bytes(rest.take()?);
    let epoch = i16::from_be_bytes(rest.take()?);
    let last_sequence = i32::from_be_bytes(rest.take()?);
    let last_offset = i64::from_be_bytes(rest.take()?);
    let offset_delta = i32::from_be_bytes(rest.take()?);
    let timestamp = i64::from_be_bytes(rest.take()?);
    let coordinator_epoch = i32::from_be_bytes(rest.take()?);
    let transaction_start = i64::from_be_bytes(rest.take()?);
    let newest = SeenBatch {
        last_sequence,
        last_offset,
        offset_delta,
        timestamp,
    };
    Ok(Producer::restored(
        id,
        epoch,
        (last_offset >= 0).then_some(newest),
        coordinator_epoch,
        (transaction_start >= 0).then_some(transaction_start),
        timestamp,
    ))
}

/// Bytes not read yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CorruptSnapshot> {
        let (field, rest) = self
            .0
            .split_first_chunk()
            .ok_or(CorruptSnapshot::Truncated)?;
        self.0 = rest;
        Ok(*field)
    }
}

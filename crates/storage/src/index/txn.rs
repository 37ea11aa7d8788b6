//! `.txnindex`: the aborted transactions whose marker lies in this segment. Made at the first one.
//! Entry, 34 bytes: version (i16, 0), producer id, first offset, last offset (the marker's), last
//! stable offset once the marker was there. Last offsets strictly increase.

use std::path::PathBuf;

use ottla_protocol::{Offset, ProducerId};

use super::IndexFile;
use crate::disk::Disk;
use crate::error::Fault;
use crate::open_files::LazyFile;

const WIDTH: usize = 34;
/// How many entries are read at a time.
const BLOCK_ENTRIES: u32 = 128;

#[derive(Debug)]
pub(crate) struct TxnIndex {
    base: Offset,
    entries: IndexFile<WIDTH>,
}

/// A transaction that was given up: its records are to be skipped by who reads committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The offset of the marker.
    pub last_offset: Offset,
    /// The last stable offset right after the marker.
    pub last_stable: Offset,
}

impl TxnIndex {
    pub(crate) fn new(disk: &Disk, path: PathBuf, base: Offset, n_bytes: u64) -> Self {
        Self {
            base,
            entries: IndexFile::new(disk, path, n_bytes),
        }
    }

    pub(crate) fn n_entries(&self) -> u32 {
        self.entries.n_entries()
    }

    pub(crate) fn create(&self) -> Result<(), Fault> {
        self.entries.create()
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        u64::from(self.n_entries()) * WIDTH as u64
    }

    pub(crate) fn append(&self, aborted: AbortedTransaction) -> Result<(), Fault> {
        let mut entry = [0; WIDTH];
        entry[2..10].copy_from_slice(&aborted.producer_id.to_be_bytes());
        entry[10..18].copy_from_slice(&aborted.first_offset.to_be_bytes());
        entry[18..26].copy_from_slice(&aborted.last_offset.to_be_bytes());
        entry[26..34].copy_from_slice(&aborted.last_stable.to_be_bytes());
        self.entries.append_written(entry)
    }

    /// Adds what touches `[start, end)` to `found`. True: later segments have nothing to add.
    pub(crate) fn collect(
        &self,
        start: Offset,
        end: Offset,
        found: &mut Vec<AbortedTransaction>,
    ) -> Result<bool, Fault> {
        let n = self.n_entries();
        if n == 0 {
            return Ok(false);
        }
        let mut at = self
            .entries
            .partition_point(|entry| decode(entry).last_offset < start)?;
        while at < n {
            let block = self.entries.entries(at, n.min(at + BLOCK_ENTRIES))?;
            if block.is_empty() {
                break;
            }
            at += block.len() as u32;
            for aborted in block.iter().map(decode) {
                if aborted.first_offset < end {
                    found.push(aborted);
                }
                if aborted.last_stable >= end {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Keeps the first `n` entries.
    pub(crate) fn keep(&self, n: u32) -> Result<(), Fault> {
        self.entries.truncate(n)
    }

    /// Drops entries whose marker is at or above `offset`.
    pub(crate) fn truncate(&self, offset: Offset) -> Result<(), Fault> {
        if self.n_entries() == 0 {
            return Ok(());
        }
        let n = self
            .entries
            .partition_point(|entry| decode(entry).last_offset < offset)?;
        self.entries.truncate(n)
    }

    /// Whether all entries are of a version that we know, belong to this segment, and can be right
    /// behind the one before. Zeros cannot, not even where offsets begin with 0: a marker lies
    /// behind what it ends.
    pub(crate) fn is_sound(&self) -> Result<bool, Fault> {
        let n = self.n_entries();
        let mut at = 0;
        let mut before = self.base - 1;
        while at < n {
            let block = self.entries.entries(at, n.min(at + BLOCK_ENTRIES))?;
            let is_sound = |entry: &[u8; WIDTH]| {
                let it = decode(entry);
                let follows = it.last_offset > before && it.first_offset < it.last_offset;
                before = it.last_offset;
                entry.starts_with(&[0, 0]) && follows
            };
            if block.is_empty() || !block.iter().all(is_sound) {
                return Ok(false);
            }
            at += block.len() as u32;
        }
        Ok(true)
    }

    pub(crate) fn last(&self) -> Result<Option<AbortedTransaction>, Fault> {
        Ok(self.entries.last()?.map(|entry| decode(&entry)))
    }

    /// Drops everything; makes no file where there is none.
    pub(crate) fn clear(&self) -> Result<(), Fault> {
        self.entries.clear_if_exists()
    }

    pub(crate) fn file(&self) -> &LazyFile {
        self.entries.file()
    }
}

fn decode(entry: &[u8; WIDTH]) -> AbortedTransaction {
    let number = |at: usize| {
        let bytes = entry.get(at..).and_then(|rest| rest.first_chunk::<8>());
        bytes.map_or(-1, |bytes| i64::from_be_bytes(*bytes))
    };
    AbortedTransaction {
        producer_id: number(2),
        first_offset: number(10),
        last_offset: number(18),
        last_stable: number(26),
    }
}

//! `.timeindex`: every record up to this offset has at most this timestamp.
//! Entry, 12 bytes: timestamp (i64), offset relative to the base (i32); the offset is the *last*
//! one of the batch that carries the timestamp. Timestamps strictly increase. One slot below the
//! limit stays free, so that the final entry fits when the segment stops being active.

use std::path::PathBuf;

use ottla_protocol::Offset;

use super::{IndexFile, relative};
use crate::disk::Disk;
use crate::error::Fault;
use crate::open_files::LazyFile;

const WIDTH: usize = 12;

#[derive(Debug)]
pub(crate) struct TimeIndex {
    base: Offset,
    entries: IndexFile<WIDTH>,
}

/// A timestamp, and the last offset of the batch it was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimestampOffset {
    /// -1: no batch has a timestamp.
    pub(crate) timestamp: i64,
    pub(crate) offset: Offset,
}

impl TimeIndex {
    pub(crate) fn new(disk: &Disk, path: PathBuf, base: Offset, n_bytes: u64) -> Self {
        Self {
            base,
            entries: IndexFile::new(disk, path, n_bytes),
        }
    }

    pub(crate) fn create(&self) -> Result<(), Fault> {
        self.entries.create()
    }

    pub(crate) fn n_entries(&self) -> u32 {
        self.entries.n_entries()
    }

    pub(crate) fn n_bytes(&self) -> u64 {
        u64::from(self.n_entries()) * WIDTH as u64
    }

    pub(crate) fn is_full(&self, n_bytes: u32) -> bool {
        self.n_entries() >= (n_bytes / WIDTH as u32).saturating_sub(1)
    }

    /// Appends if `largest` says something new and, unless it is the `last` word of this segment,
    /// if a slot is free besides the reserved one.
    pub(crate) fn append(
        &self,
        largest: TimestampOffset,
        n_bytes: u32,
        is_last: bool,
    ) -> Result<(), Fault> {
        let last = self.last()?;
        if (!is_last && self.is_full(n_bytes)) || largest.timestamp <= last.timestamp {
            return Ok(());
        }
        let Some(relative) = relative(self.base, largest.offset) else {
            if is_last {
                // Of a segment that was never split, since it was closed in order.
                return Ok(());
            }
            let why = format!("offset {} is too far from {}", largest.offset, self.base);
            return Err(Fault::corrupt(self.entries.path(), why));
        };
        let mut entry = [0; WIDTH];
        entry[..8].copy_from_slice(&largest.timestamp.to_be_bytes());
        entry[8..].copy_from_slice(&relative.to_be_bytes());
        self.entries.append(entry)
    }

    /// (-1, base) if there is none.
    pub(crate) fn last(&self) -> Result<TimestampOffset, Fault> {
        let last = self.entries.last()?.map(|entry| self.decode(&entry));
        Ok(last.unwrap_or(TimestampOffset {
            timestamp: -1,
            offset: self.base,
        }))
    }

    /// The greatest entry with at most this timestamp, else (-1, base).
    pub(crate) fn lookup(&self, timestamp: i64) -> Result<TimestampOffset, Fault> {
        let n = self
            .entries
            .partition_point(|entry| self.decode(entry).timestamp <= timestamp)?;
        let found = match n.checked_sub(1) {
            Some(at) => self.entries.entry(at)?.map(|entry| self.decode(&entry)),
            None => None,
        };
        Ok(found.unwrap_or(TimestampOffset {
            timestamp: -1,
            offset: self.base,
        }))
    }

    /// Whether the last entry can be right, by itself and behind the one before.
    pub(crate) fn is_sound(&self) -> Result<bool, Fault> {
        let n = self.n_entries();
        let Some(before) = n.checked_sub(2) else {
            return Ok(n == 0 || self.last()?.offset >= self.base);
        };
        let last = self.last()?;
        let before = self.entries.entry(before)?.map(|entry| self.decode(&entry));
        Ok(before.is_some_and(|before| {
            before.timestamp < last.timestamp && before.offset <= last.offset
        }))
    }

    /// How many entries are of batches that end below `offset`, if each of them can be right behind
    /// the one before, in a segment of `n_bytes`.
    pub(crate) fn n_sane_below(&self, offset: Offset, n_bytes: u32) -> Result<Option<u32>, Fault> {
        let mut before = TimestampOffset {
            timestamp: -1,
            offset: self.base,
        };
        self.entries.n_sane(n_bytes, |entry| {
            let entry = self.decode(entry);
            if entry.offset >= offset {
                return Some(false);
            }
            let follows = entry.timestamp > before.timestamp && entry.offset >= before.offset;
            before = entry;
            follows.then_some(true)
        })
    }

    /// Drops entries at or above `offset`.
    pub(crate) fn truncate(&self, offset: Offset) -> Result<(), Fault> {
        let n = self
            .entries
            .partition_point(|entry| self.decode(entry).offset < offset)?;
        self.entries.truncate(n)
    }

    /// Drops the entries behind the first `n`.
    pub(crate) fn keep(&self, n: u32) -> Result<(), Fault> {
        self.entries.truncate(n)
    }

    /// See `IndexFile`.
    pub(crate) fn write_out(&self) -> Result<bool, Fault> {
        self.entries.write_out()
    }

    pub(crate) fn cool(&self) {
        self.entries.cool();
    }

    pub(crate) fn file(&self) -> &LazyFile {
        self.entries.file()
    }

    fn decode(&self, entry: &[u8; WIDTH]) -> TimestampOffset {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *entry;
        TimestampOffset {
            timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            offset: self
                .base
                .saturating_add(i32::from_be_bytes([i, j, k, l]).into()),
        }
    }
}

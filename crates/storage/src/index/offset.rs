//! `.index`: the last offset of a batch → the position where that batch starts.
//! Entry, 8 bytes: offset relative to the segment's base (i32), position (i32).
//! Offsets strictly increase. A segment's first batch has no entry.

use std::path::PathBuf;

use ottla_protocol::Offset;

use super::{IndexFile, relative};
use crate::disk::Disk;
use crate::error::Fault;
use crate::open_files::LazyFile;

const WIDTH: usize = 8;

#[derive(Debug)]
pub(crate) struct OffsetIndex {
    base: Offset,
    entries: IndexFile<WIDTH>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetPosition {
    pub(crate) offset: Offset,
    pub(crate) position: u32,
}

impl OffsetIndex {
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

    /// Whether an index of at most `n_bytes` takes no further entry.
    pub(crate) fn is_full(&self, n_bytes: u32) -> bool {
        self.n_entries() >= n_bytes / WIDTH as u32
    }

    pub(crate) fn append(&self, offset: Offset, position: u32) -> Result<(), Fault> {
        if let Some(last) = self.last()?
            && offset <= last.offset
        {
            let why = format!(
                "offset {offset} is not above the last entry, {}",
                last.offset
            );
            return Err(Fault::corrupt(self.entries.path(), why));
        }
        let Some(relative) = relative(self.base, offset) else {
            let why = format!("offset {offset} is too far from the base {}", self.base);
            return Err(Fault::corrupt(self.entries.path(), why));
        };
        let mut entry = [0; WIDTH];
        entry[..4].copy_from_slice(&relative.to_be_bytes());
        entry[4..].copy_from_slice(&position.to_be_bytes());
        self.entries.append(entry)
    }

    pub(crate) fn last(&self) -> Result<Option<OffsetPosition>, Fault> {
        Ok(self.entries.last()?.map(|entry| self.decode(&entry)))
    }

    /// Where to start looking for `offset`: the greatest entry at or below it, else the start.
    pub(crate) fn lookup(&self, offset: Offset) -> Result<OffsetPosition, Fault> {
        let n = self
            .entries
            .partition_point(|entry| self.decode(entry).offset <= offset)?;
        let found = match n.checked_sub(1) {
            Some(at) => self.entries.entry(at)?.map(|entry| self.decode(&entry)),
            None => None,
        };
        Ok(found.unwrap_or(self.start()))
    }

    /// The entry that has `n` behind it among those at or below `offset`, and how many there are; if
    /// they are not so many, the start.
    pub(crate) fn place_before(
        &self,
        offset: Offset,
        n: u32,
    ) -> Result<(OffsetPosition, u32), Fault> {
        let n_below = self
            .entries
            .partition_point(|entry| self.decode(entry).offset <= offset)?;
        let entry = match n_below.checked_sub(n.saturating_add(1)) {
            Some(at) => self.entries.entry(at)?,
            None => None,
        };
        let place = entry.map_or(self.start(), |entry| self.decode(&entry));
        Ok((place, n_below.min(n)))
    }

    /// The offset of the first entry at or behind `position`. Like Kafka's search, it takes the
    /// second one for a position that is exactly the first one's.
    pub(crate) fn first_at_or_behind(&self, position: u64) -> Result<Option<Offset>, Fault> {
        let position_of = |entry: &[u8; WIDTH]| u64::from(self.decode(entry).position);
        let mut at = self
            .entries
            .partition_point(|entry| position_of(entry) < position)?;
        if at == 0
            && let Some(first) = self.entries.entry(0)?
            && position_of(&first) == position
        {
            at = 1;
        }
        if at >= self.n_entries() {
            return Ok(None);
        }
        Ok(self
            .entries
            .entry(at)?
            .map(|entry| self.decode(&entry).offset))
    }

    /// Whether the last entry can be one of a segment of `n_bytes`: a file that was preallocated
    /// and never trimmed ends in zeros.
    pub(crate) fn is_sound(&self, n_bytes: u32) -> Result<bool, Fault> {
        Ok(self.last()?.is_none_or(|last| {
            last.offset >= self.base && last.position > 0 && last.position < n_bytes
        }))
    }

    /// How many entries are below `offset`, if each of them can be right behind the one before and
    /// lies in a segment of `n_bytes`.
    pub(crate) fn n_sane_below(&self, offset: Offset, n_bytes: u32) -> Result<Option<u32>, Fault> {
        let mut before = self.start();
        self.entries.n_sane(n_bytes, |entry| {
            let entry = self.decode(entry);
            if entry.offset >= offset {
                return Some(false);
            }
            let follows = entry.offset > before.offset && entry.position > before.position;
            before = entry;
            (follows && entry.position < n_bytes).then_some(true)
        })
    }

    /// Drops entries at or above `offset`.
    pub(crate) fn truncate(&self, offset: Offset) -> Result<(), Fault> {
        let n = self
            .entries
            .partition_point(|entry| self.decode(entry).offset < offset)?;
        self.entries.truncate(n)
    }

    /// Drops the entries behind the first `n`: takes back an append that failed half-way.
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

    /// The first batch, which has no entry.
    pub(crate) fn start(&self) -> OffsetPosition {
        OffsetPosition {
            offset: self.base,
            position: 0,
        }
    }

    fn decode(&self, entry: &[u8; WIDTH]) -> OffsetPosition {
        let [a, b, c, d, e, f, g, h] = *entry;
        OffsetPosition {
            offset: self
                .base
                .saturating_add(i32::from_be_bytes([a, b, c, d]).into()),
            position: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::disk::{DiskCall, DiskFaults, DiskVerdict};

    #[test]
    fn what_is_behind_a_position_is_what_kafka_says() {
        let place = tempfile::tempdir().unwrap();
        let index = OffsetIndex::new(&Disk::new(), place.path().join("x"), 100, 0);
        index.create().unwrap();
        assert_eq!(index.first_at_or_behind(0).unwrap(), None);
        index.append(110, 1000).unwrap();
        assert_eq!(index.first_at_or_behind(999).unwrap(), Some(110));
        assert_eq!(index.first_at_or_behind(1000).unwrap(), None);
        index.append(120, 2000).unwrap();
        index.append(130, 3000).unwrap();
        for (position, offset) in [
            (0, Some(110)),
            (999, Some(110)),
            (1000, Some(120)),
            (1001, Some(120)),
            (2000, Some(120)),
            (2001, Some(130)),
            (3000, Some(130)),
            (3001, None),
        ] {
            assert_eq!(index.first_at_or_behind(position).unwrap(), offset);
        }
    }

    #[test]
    fn an_index_with_more_entries_than_a_segment_can_have_batches_is_not_sane() {
        let place = tempfile::tempdir().unwrap();
        let index = OffsetIndex::new(&Disk::new(), place.path().join("x"), 100, 0);
        index.create().unwrap();
        for n in 1..=10 {
            index.append(100 + i64::from(n), n * 26).unwrap();
        }
        index.write_out().unwrap();
        // Ten batches that have entries, and the first one, which has none.
        assert_eq!(index.n_sane_below(1000, 11 * 26).unwrap(), Some(10));
        assert_eq!(index.n_sane_below(105, 11 * 26).unwrap(), Some(4));
        assert_eq!(index.n_sane_below(105, 10 * 26 - 1).unwrap(), None);
    }

    /// The most that was read at once.
    #[derive(Default)]
    struct Reads(AtomicUsize);

    impl DiskFaults for Reads {
        fn before(&self, call: DiskCall, _: &Path, n_bytes: usize) -> DiskVerdict {
            if call == DiskCall::Read {
                self.0.fetch_max(n_bytes, Ordering::Relaxed);
            }
            DiskVerdict::Proceed
        }
    }

    #[test]
    fn a_long_file_of_nothing_is_not_read_into_memory() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x");
        let n_bytes = 64 << 20;
        File::create(&path).unwrap().set_len(n_bytes).unwrap();
        let reads = Arc::new(Reads::default());
        let disk = Disk::breakable(reads.clone());
        for n_bytes_of_segment in [1 << 20, u32::MAX] {
            let index = OffsetIndex::new(&disk, path.clone(), 100, n_bytes);
            let n_sane = index.n_sane_below(1000, n_bytes_of_segment).unwrap();
            assert_eq!(n_sane, None);
        }
        assert!(reads.0.load(Ordering::Relaxed) <= 1 << 16);
    }
}

//! A sorted file of fixed-size entries, found by bisection.
//!
//! Written with `pwrite` only: a mapping on a full disk is a signal, not an error. The file is never
//! longer than its entries (the JVM takes every byte of it for one), so nothing needs trimming. The
//! newest entries are kept in memory, since that is where most lookups go; the file is opened when
//! there is need, and so several entries are written at once. Those that a crash takes belong to
//! batches above the recovery point, from which on they are made anew in any case.

mod offset;
mod time;
mod txn;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use ottla_protocol::Offset;
use parking_lot::RwLock;

use crate::disk::Disk;
use crate::error::Fault;
use crate::open_files::LazyFile;

pub(crate) use offset::{OffsetIndex, OffsetPosition};
pub(crate) use time::{TimeIndex, TimestampOffset};
pub use txn::AbortedTransaction;
pub(crate) use txn::TxnIndex;

/// How many of the newest entries stay in memory: 8 KiB of offsets span the last 4 MiB of log.
const TAIL_ENTRIES_MAX: usize = 1024;
/// How many of them may be in memory alone: enough that writing them costs next to nothing.
const UNWRITTEN_MAX: u32 = 32;
/// Below this many candidates the rest is read at once: one page or two.
const BLOCK_ENTRIES: u32 = 512;
/// A message of magic 0 with neither key nor value. No batch is smaller.
const BATCH_BYTES_MIN: u32 = 26;

type Entry<const WIDTH: usize> = [u8; WIDTH];

/// An offset as entries have it; `None`: it does not fit.
fn relative(base: Offset, offset: Offset) -> Option<i32> {
    let relative = i32::try_from(offset.checked_sub(base)?).ok()?;
    (relative >= 0).then_some(relative)
}

/// See the head of this file. One writer; any number of readers.
#[derive(Debug)]
pub(crate) struct IndexFile<const WIDTH: usize> {
    disk: Disk,
    file: LazyFile,
    n_entries: AtomicU32,
    /// How many of them the file has. Never below `tail.first`.
    n_written: AtomicU32,
    tail: RwLock<Tail<WIDTH>>,
}

/// Invariant: `first + entries.len() == n_entries`.
#[derive(Debug)]
struct Tail<const WIDTH: usize> {
    first: u32,
    entries: Vec<Entry<WIDTH>>,
}

impl<const WIDTH: usize> IndexFile<WIDTH> {
    /// An index whose file has `n_bytes`; zero if there is no file. Nothing is opened yet.
    pub(crate) fn new(disk: &Disk, path: PathBuf, n_bytes: u64) -> Self {
        let n_entries = u32::try_from(n_bytes / WIDTH as u64).unwrap_or(u32::MAX);
        Self {
            disk: disk.clone(),
            file: LazyFile::closed(disk, path),
            n_entries: AtomicU32::new(n_entries),
            n_written: AtomicU32::new(n_entries),
            tail: RwLock::new(Tail {
                first: n_entries,
                entries: Vec::new(),
            }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn n_entries(&self) -> u32 {
        self.n_entries.load(Ordering::Acquire)
    }

    /// Makes the file, empty, even though there is nothing to write yet.
    pub(crate) fn create(&self) -> Result<(), Fault> {
        self.file.create()?;
        self.forget_from(0);
        Ok(())
    }

    /// IMPORTANT: what vouches for the entries, a sync or another name, calls `write_out` first.
    pub(crate) fn append(&self, entry: Entry<WIDTH>) -> Result<(), Fault> {
        if self.n_entries() - self.n_written() >= UNWRITTEN_MAX {
            self.write_out()?;
        }
        self.push(entry);
        Ok(())
    }

    /// The same; the file has it at once.
    pub(crate) fn append_written(&self, entry: Entry<WIDTH>) -> Result<(), Fault> {
        self.write_out()?;
        self.write(&entry)?;
        self.push(entry);
        self.n_written.store(self.n_entries(), Ordering::Release);
        Ok(())
    }

    /// Writes what is in memory alone. Returns whether there was anything.
    pub(crate) fn write_out(&self) -> Result<bool, Fault> {
        let (n_entries, n_written) = (self.n_entries(), self.n_written());
        if n_written == n_entries {
            return Ok(false);
        }
        let bytes = {
            let tail = self.tail.read();
            let first = (n_written - tail.first) as usize;
            tail.entries.get(first..).unwrap_or_default().concat()
        };
        self.write(&bytes)?;
        self.n_written.store(n_entries, Ordering::Release);
        Ok(true)
    }

    /// Entries behind those that the file has.
    fn write(&self, entries: &[u8]) -> Result<(), Fault> {
        let position = u64::from(self.n_written()) * WIDTH as u64;
        let file = self.file.get_or_create()?;
        file.write_all_at(entries, position).or_else(|fault| {
            // A full disk may have taken a part of it.
            file.set_length(position)?;
            Err(fault)
        })
    }

    fn push(&self, entry: Entry<WIDTH>) {
        let mut tail = self.tail.write();
        if tail.entries.len() >= TAIL_ENTRIES_MAX {
            tail.entries.drain(..TAIL_ENTRIES_MAX / 2);
            tail.first += (TAIL_ENTRIES_MAX / 2) as u32;
        }
        tail.entries.push(entry);
        self.n_entries.fetch_add(1, Ordering::AcqRel);
    }

    fn n_written(&self) -> u32 {
        self.n_written.load(Ordering::Acquire)
    }

    /// Keeps the first `n` entries.
    pub(crate) fn truncate(&self, n: u32) -> Result<(), Fault> {
        if n >= self.n_entries() {
            return Ok(());
        }
        if n >= self.n_written() {
            self.forget_from(n);
            return Ok(());
        }
        let file = self.file.get()?;
        self.forget_from(n);
        file.set_length(u64::from(n) * WIDTH as u64)
    }

    /// Empties the file, if there is one.
    pub(crate) fn clear_if_exists(&self) -> Result<(), Fault> {
        if self.disk.exists(self.path()) {
            self.create()
        } else {
            Ok(())
        }
    }

    pub(crate) fn last(&self) -> Result<Option<Entry<WIDTH>>, Fault> {
        match self.n_entries().checked_sub(1) {
            Some(last) => self.entry(last),
            None => Ok(None),
        }
    }

    /// `None` if the file has become shorter since `at` was learnt.
    pub(crate) fn entry(&self, at: u32) -> Result<Option<Entry<WIDTH>>, Fault> {
        let in_memory = {
            let tail = self.tail.read();
            at.checked_sub(tail.first)
                .and_then(|i| tail.entries.get(i as usize).copied())
        };
        if in_memory.is_some() {
            return Ok(in_memory);
        }
        let mut entry = [0; WIDTH];
        let n_read = self
            .file
            .with(|file| file.read_at(&mut entry, u64::from(at) * WIDTH as u64))?;
        Ok((n_read == WIDTH).then_some(entry))
    }

    /// How many entries from the start are `before`: `before` must be true up to some entry and
    /// false from there on.
    pub(crate) fn partition_point(
        &self,
        before: impl Fn(&Entry<WIDTH>) -> bool,
    ) -> Result<u32, Fault> {
        let in_file = {
            let tail = self.tail.read();
            match tail.entries.first() {
                Some(first) if before(first) => {
                    let n = tail.entries.partition_point(before);
                    return Ok(tail.first + n as u32);
                }
                Some(_) => tail.first,
                None => self.n_entries(),
            }
        };
        let (mut low, mut high) = (0, in_file);
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            match self.entry(middle)? {
                Some(entry) if before(&entry) => low = middle + 1,
                _ => high = middle,
            }
        }
        if low == high {
            return Ok(low);
        }
        let block = self.entries(low, high)?;
        Ok(low + block.partition_point(before) as u32)
    }

    /// How many entries from the start are `below`, of an index of a segment of `n_bytes`. `None`: they
    /// cannot be right: there are more than the segment can have batches, or `below` says `None` of one,
    /// or the file has become shorter. IMPORTANT: a damaged file may be of any length, and is not read at
    /// once.
    pub(crate) fn n_sane(
        &self,
        n_bytes: u32,
        mut below: impl FnMut(&Entry<WIDTH>) -> Option<bool>,
    ) -> Result<Option<u32>, Fault> {
        let n_entries = self.n_entries();
        if n_entries > n_bytes / BATCH_BYTES_MIN {
            return Ok(None);
        }
        let mut at = 0;
        while at < n_entries {
            let block = self.entries(at, n_entries.min(at + BLOCK_ENTRIES))?;
            if block.is_empty() {
                return Ok(None);
            }
            for entry in &block {
                match below(entry) {
                    Some(true) => at += 1,
                    Some(false) => return Ok(Some(at)),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(n_entries))
    }

    /// The entries in `[start, end)`, as far as the file has them. Those in memory alone are not among
    /// them.
    pub(crate) fn entries(&self, start: u32, end: u32) -> Result<Vec<Entry<WIDTH>>, Fault> {
        let mut bytes = vec![0; end.saturating_sub(start) as usize * WIDTH];
        let position = u64::from(start) * WIDTH as u64;
        let n_read = self.file.with(|file| file.read_at(&mut bytes, position))?;
        bytes.truncate(n_read);
        let (entries, _) = bytes.as_chunks::<WIDTH>();
        Ok(entries.to_vec())
    }

    pub(crate) fn file(&self) -> &LazyFile {
        &self.file
    }

    /// Gives the memory back, as far as the file has what is there: an old segment is seldom asked.
    pub(crate) fn cool(&self) {
        let mut tail = self.tail.write();
        let n_written = self.n_written();
        let first = (n_written - tail.first) as usize;
        tail.entries = tail.entries.get(first..).unwrap_or_default().to_vec();
        tail.first = n_written;
    }

    fn forget_from(&self, n: u32) {
        let mut tail = self.tail.write();
        if n <= tail.first {
            tail.entries.clear();
            tail.first = n;
        } else {
            let keep = (n - tail.first) as usize;
            tail.entries.truncate(keep);
        }
        self.n_entries.store(n, Ordering::Release);
        self.n_written.fetch_min(n, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::disk::{DiskCall, DiskFaults, DiskVerdict};

    fn filled(n: u32) -> (tempfile::TempDir, IndexFile<8>) {
        let directory = tempfile::tempdir().unwrap();
        let index = IndexFile::new(&Disk::new(), directory.path().join("x"), 0);
        index.create().unwrap();
        for i in 0..n {
            index.append(u64::from(i * 2).to_be_bytes()).unwrap();
        }
        (directory, index)
    }

    fn below(index: &IndexFile<8>, bound: u64) -> u32 {
        index
            .partition_point(|entry| u64::from_be_bytes(*entry) < bound)
            .unwrap()
    }

    #[test]
    fn bisection_agrees_in_memory_and_in_the_file() {
        for n in [0, 1, 511, 512, 513, 1023, 1024, 1025, 5000] {
            let (_directory, index) = filled(n);
            index.write_out().unwrap();
            let cold = IndexFile::<8>::new(&Disk::new(), index.path().into(), u64::from(n) * 8);
            for bound in [0, 1, 2, 3, 1000, 1023, 1024, 2047, 2048, 9997, 9998, 20_000] {
                let expected = (bound as u32).div_ceil(2).min(n);
                assert_eq!(
                    below(&index, bound),
                    expected,
                    "warm, {n} entries, below {bound}"
                );
                assert_eq!(
                    below(&cold, bound),
                    expected,
                    "cold, {n} entries, below {bound}"
                );
            }
        }
    }

    /// Takes five bytes of each entry while it is full.
    #[derive(Default)]
    struct FillsUp {
        is_full: AtomicBool,
        n_asked: AtomicU32,
    }

    impl DiskFaults for FillsUp {
        fn before(&self, call: DiskCall, _: &Path, _: usize) -> DiskVerdict {
            if call != DiskCall::Write || !self.is_full.load(Ordering::Relaxed) {
                return DiskVerdict::Proceed;
            }
            match self.n_asked.fetch_add(1, Ordering::Relaxed) % 2 {
                0 => DiskVerdict::Short(5),
                _ => DiskVerdict::Fail(ErrorKind::StorageFull),
            }
        }
    }

    #[test]
    fn a_full_disk_leaves_no_part_of_an_entry() {
        let directory = tempfile::tempdir().unwrap();
        let faults = Arc::new(FillsUp::default());
        let disk = Disk::breakable(faults.clone());
        let index = IndexFile::new(&disk, directory.path().join("x"), 0);
        index.append_written([1; 8]).unwrap();
        faults.is_full.store(true, Ordering::Relaxed);
        index.append_written([2; 8]).unwrap_err();
        assert_eq!(index.last().unwrap(), Some([1; 8]));
        index.append([2; 8]).unwrap();
        index.write_out().unwrap_err();
        assert_eq!(std::fs::read(index.path()).unwrap(), [1; 8]);
        faults.is_full.store(false, Ordering::Relaxed);
        index.append([3; 8]).unwrap();
        assert!(index.write_out().unwrap());
        assert_eq!(index.last().unwrap(), Some([3; 8]));
        let written = [[1; 8], [2; 8], [3; 8]].concat();
        assert_eq!(std::fs::read(index.path()).unwrap(), written);
    }

    #[test]
    fn a_few_entries_are_in_memory_alone_until_somebody_vouches_for_them() {
        let (_directory, index) = filled(3);
        let in_file = || std::fs::read(index.path()).unwrap().len() / 8;
        assert_eq!((in_file(), index.n_entries()), (0, 3));
        assert_eq!(
            (below(&index, 3), index.entry(1).unwrap()),
            (2, Some(2u64.to_be_bytes()))
        );
        assert!(index.write_out().unwrap() && !index.write_out().unwrap());
        assert_eq!(in_file(), 3);
        for i in 3..100u64 {
            index.append((i * 2).to_be_bytes()).unwrap();
            assert!(index.n_entries() as usize - in_file() <= UNWRITTEN_MAX as usize);
        }
        let before = in_file();
        assert!(before < 100);
        index.cool();
        assert_eq!(
            below(&index, 1000),
            100,
            "what is nowhere else stays in memory"
        );
        index.truncate(before as u32 + 1).unwrap();
        assert_eq!(
            (in_file(), below(&index, 1000)),
            (before, before as u32 + 1)
        );
        index.truncate(before as u32 - 1).unwrap();
        assert_eq!(in_file(), before - 1);
        index.append([9; 8]).unwrap();
        index.write_out().unwrap();
        assert_eq!((in_file(), index.last().unwrap()), (before, Some([9; 8])));
    }

    #[test]
    fn truncation_reaches_memory_and_file() {
        for keep in [0, 1, 900, 1499, 1500, 2000] {
            let (_directory, index) = filled(1500);
            index.write_out().unwrap();
            index.truncate(keep).unwrap();
            let kept = keep.min(1500);
            assert_eq!(index.n_entries(), kept);
            assert_eq!(
                index.file().get().unwrap().length().unwrap(),
                u64::from(kept) * 8
            );
            index.append(99_999u64.to_be_bytes()).unwrap();
            assert_eq!(index.last().unwrap(), Some(99_999u64.to_be_bytes()));
            assert_eq!(below(&index, 4), kept.min(2));
        }
    }
}

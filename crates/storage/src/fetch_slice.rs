//! A stretch of a segment's file on its way to a client, and whether sending it would wait for a disk.

use std::fs::File;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::error::Fault;

/// How far apart one looks whether a stretch is in memory: twice what the disk is asked for at a
/// time. Each look costs half a microsecond.
const LOOK_STEP: usize = 256 << 10;
/// How far apart one waits for the disk.
const WAIT_STEP: usize = 128 << 10;
/// How far ahead of what is waited for the disk reads: enough to keep it busy, and little enough
/// for a sync, which comes behind. Measured on a disk of 1 GB/s: three quarters of its pace or more are
/// left, and the p99 of a sync beside it is 1 to 3 ms; behind 8 MiB, a machine's own setting, 6 ms.
const AHEAD: usize = 128 << 10;

/// Bytes of a file. It keeps the file open.
#[derive(Debug, Clone)]
pub struct FetchSlice {
    file: DiskFile,
    pub position: u64,
    pub length: usize,
}

impl FetchSlice {
    pub(crate) fn new(file: DiskFile, position: u64, length: usize) -> Self {
        Self {
            file,
            position,
            length,
        }
    }

    /// The file itself, for `sendfile`.
    pub fn file(&self) -> &Arc<File> {
        self.file.raw()
    }

    /// All of it, copied out of the file; less, if the file has become shorter.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Fault> {
        self.begin();
        let mut bytes = vec![0; self.length];
        let n_read = self.file.read_at(&mut bytes, self.position)?;
        bytes.truncate(n_read);
        Ok(bytes)
    }

    /// Has the disk begin to read it, and a little of what lies behind. Waits for nothing.
    pub fn begin(&self) {
        let n_bytes = (self.length + AHEAD) as u64;
        self.file.begin_to_read(self.position, n_bytes);
    }

    /// The part that begins at `position` of the file, and has at most `length` bytes.
    #[must_use]
    pub fn part(&self, position: u64, length: usize) -> Self {
        let end = self.position + self.length as u64;
        let position = position.clamp(self.position, end);
        let left = usize::try_from(end - position).unwrap_or(usize::MAX);
        Self::new(self.file.clone(), position, length.min(left))
    }

    /// Whether it is in memory, as far as one can tell by looking here and there.
    pub fn is_in_memory(&self) -> bool {
        let last = self.length.saturating_sub(1);
        let mut looks = (0..last).step_by(LOOK_STEP).chain([last]);
        // From the end: what the disk is reading now comes in from the front.
        self.length == 0 || self.is_there(last) && looks.all(|at| at == last || self.is_there(at))
    }

    fn is_there(&self, at: usize) -> bool {
        self.file.is_in_memory(self.position + at as u64)
    }

    /// Has the disk read all of it into memory, and waits for that; it goes on with what lies behind:
    /// who is far behind asks for it next. Nothing is copied: a byte here and there is waited for, and
    /// what lies between was asked for with it. Each time before it asks for more it calls `give_way`.
    pub fn bring_in(&self, give_way: impl Fn()) -> Result<(), Fault> {
        let Some(last) = self.length.checked_sub(1) else {
            return Ok(());
        };
        give_way();
        self.file.begin_to_read(self.position, AHEAD as u64);
        for at in (0..last).step_by(WAIT_STEP).chain([last]) {
            let ahead = self.position + (at + AHEAD) as u64;
            give_way();
            self.file.begin_to_read(ahead, WAIT_STEP as u64);
            if self.file.read_at(&mut [0], self.position + at as u64)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// A copy, if all of it is in memory.
    pub fn copy_in_memory(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        let n_read = self.file.read_in_memory(&mut bytes, self.position)?;
        (n_read == self.length).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use parking_lot::Mutex;

    use super::*;
    use crate::disk::{Disk, DiskCall, DiskFaults, DiskVerdict};

    /// Says where one has looked, and that nothing is there.
    #[derive(Default)]
    struct Looks(Mutex<Vec<(DiskCall, usize)>>);

    impl DiskFaults for Looks {
        fn before(&self, call: DiskCall, _: &Path, n_bytes: usize) -> DiskVerdict {
            self.0.lock().push((call, n_bytes));
            match call {
                DiskCall::ReadInMemory => DiskVerdict::Fail(std::io::ErrorKind::WouldBlock),
                _ => DiskVerdict::Proceed,
            }
        }
    }

    fn file(disk: &Disk, n_bytes: usize) -> (tempfile::TempDir, DiskFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = disk.create(&directory.path().join("x")).unwrap();
        let bytes: Vec<u8> = (0..n_bytes).map(|at| at as u8).collect();
        file.write_all_at(&bytes, 0).unwrap();
        (directory, file)
    }

    #[test]
    fn what_was_written_just_now_is_in_memory_and_copied_from_there() {
        let (_directory, file) = file(&Disk::new(), 1 << 20);
        let slice = FetchSlice::new(file, 1000, 600_000);
        assert!(slice.is_in_memory());
        let copy = slice.copy_in_memory().unwrap();
        assert_eq!((copy.len(), copy[0]), (600_000, 1000_usize as u8));
        slice.bring_in(|| {}).unwrap();
    }

    #[test]
    fn a_stretch_that_is_not_there_is_known_by_one_look() {
        let looks = Arc::new(Looks::default());
        let (_directory, file) = file(&Disk::breakable(looks.clone()), 1 << 20);
        let slice = FetchSlice::new(file, 0, 1 << 20);
        looks.0.lock().clear();
        assert!(!slice.is_in_memory());
        assert_eq!(*looks.0.lock(), [(DiskCall::ReadInMemory, 1)]);
        assert!(slice.copy_in_memory().is_none());
        looks.0.lock().clear();
        let n_asked = Cell::new(0);
        slice.bring_in(|| n_asked.set(n_asked.get() + 1)).unwrap();
        let waits = [(DiskCall::Read, 1); 9];
        assert_eq!(
            n_asked.get(),
            10,
            "before each of them, and the first stretch"
        );
        assert_eq!(
            *looks.0.lock(),
            waits,
            "an eighth of a MiB apart, and the end"
        );
    }

    #[test]
    fn nothing_is_always_in_memory() {
        let (_directory, file) = file(&Disk::breakable(Arc::new(Looks::default())), 10);
        assert!(FetchSlice::new(file, 5, 0).is_in_memory());
    }

    #[test]
    fn parts_lie_within_the_whole() {
        let (_directory, file) = file(&Disk::new(), 100);
        let slice = FetchSlice::new(file, 20, 50);
        let part = |position, length| {
            let part = slice.part(position, length);
            (part.position, part.length)
        };
        assert_eq!(part(20, 50), (20, 50));
        assert_eq!(part(60, 50), (60, 10));
        assert_eq!(part(0, 10), (20, 10));
        assert_eq!(part(90, 10), (70, 0));
    }

    #[test]
    fn a_file_that_became_shorter_ends_the_reading() {
        let (_directory, file) = file(&Disk::new(), 100);
        let slice = FetchSlice::new(file, 50, 200);
        slice.bring_in(|| {}).unwrap();
        assert!(
            slice.copy_in_memory().is_none(),
            "it is not what was promised"
        );
    }
}

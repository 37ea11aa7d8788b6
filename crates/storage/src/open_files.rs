//! How many files are open at once, and which.
//!
//! A log is many files, most of them at rest: each is opened at the first need, and closed again when
//! others need the room. `LazyFile` is a file that may be closed at the moment; `OpenFiles` counts
//! what is open and closes what has rested longest (a clock: who was used since the hand came by
//! last gets another turn). A file that is open costs whoever uses it no lock and no call of the
//! system. Nobody ticks: room is made by those who open.
//!
//! IMPORTANT: a file is closed only if all that was written to it is synced. While somebody has it
//! open, the kernel remembers that a write-out failed, and the next sync tells; with the last
//! descriptor gone it may forget. And what has lost its name is never closed: it could not be
//! opened again, or another file could.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, Opened};
use crate::error::Fault;
use crate::in_memory;
use crate::together::in_parallel;

/// Files looked at for each that is opened where there is no room: an opening is cheap, too.
const N_LOOKS: usize = 32;
/// Files closed at most for each that is opened.
const N_CLOSED: usize = 4;
/// Files that are synced at a time so that they may be closed, when all that could be closed are not. Measured:
/// 256 in parallel take 20 ms.
const N_SYNCED: usize = 256;
/// Syncs of them under way at once.
const N_PARALLEL: usize = 8;
/// How long who opens a file waits for others' syncs: some times what they take on a disk that works.
const PATIENCE: Duration = Duration::from_millis(100);

/// The files that are open. See the head of this file.
pub struct OpenFiles {
    n_max: AtomicUsize,
    n_open: AtomicUsize,
    n_closed: AtomicU64,
    /// Those that may be closed, and some that are no more.
    clock: Mutex<VecDeque<Weak<Slot>>>,
    /// The turn to sync files so that they may be closed.
    syncing: Mutex<()>,
}

impl OpenFiles {
    /// More than `n_max` are open only while they are all in use.
    pub(crate) fn at_most(n_max: usize) -> Self {
        Self {
            n_max: AtomicUsize::new(n_max),
            n_open: AtomicUsize::new(0),
            n_closed: AtomicU64::new(0),
            clock: Mutex::default(),
            syncing: Mutex::default(),
        }
    }

    pub fn n_max(&self) -> usize {
        self.n_max.load(Ordering::Relaxed)
    }

    /// From here on. What is too much is closed by and by.
    pub fn allow(&self, n_max: usize) {
        self.n_max.store(n_max, Ordering::Relaxed);
    }

    pub fn n_open(&self) -> usize {
        self.n_open.load(Ordering::Relaxed)
    }

    /// How many were closed because others needed the room.
    pub fn n_closed(&self) -> u64 {
        self.n_closed.load(Ordering::Relaxed)
    }

    pub(crate) fn opened_one(&self) {
        self.n_open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed_one(&self) {
        self.n_open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The system has no descriptor left: closes what can be closed.
    pub(crate) fn relieve(&self) {
        self.close_idle(usize::MAX, N_SYNCED);
    }

    /// Closes what is too much: more may be open while it is in use, and nobody opens any more.
    pub fn trim(&self) {
        // The first time the hand comes by, it only takes note of what was used.
        for _ in 0..2 {
            let n_surplus = self.n_open().saturating_sub(self.n_max());
            if n_surplus > 0 {
                self.close_idle(usize::MAX, n_surplus);
            }
        }
    }

    /// One is about to be opened.
    fn make_room(&self) {
        if self.n_open() < self.n_max() {
            return;
        }
        if self.close_idle(N_LOOKS, N_CLOSED) > 0 || !self.is_overfull() {
            return;
        }
        // Who opens faster than the disk syncs is held up, and by a disk that stalls not for long.
        let Some(_turn) = self.syncing.try_lock_for(PATIENCE) else {
            return;
        };
        // Who had the turn before may have made room enough.
        if self.is_overfull() {
            self.sync_some();
            self.close_idle(usize::MAX, N_SYNCED);
        }
    }

    fn is_overfull(&self) -> bool {
        let n_max = self.n_max();
        self.n_open() > n_max.saturating_add(n_max / 8)
    }

    fn close_idle(&self, n_looks: usize, n_wanted: usize) -> usize {
        let mut closed = Vec::new();
        let mut clock = self.clock.lock();
        for _ in 0..n_looks.min(clock.len()) {
            let Some(one) = clock.pop_front() else { break };
            let Some(slot) = one.upgrade() else { continue };
            let rested = !slot.was_used.swap(false, Ordering::Relaxed);
            match rested.then(|| slot.take()).flatten() {
                Some(file) => closed.push(file),
                None => clock.push_back(one),
            }
            if closed.len() >= n_wanted {
                break;
            }
        }
        drop(clock);
        self.n_closed
            .fetch_add(closed.len() as u64, Ordering::Relaxed);
        closed.len()
    }

    /// Everything that rests is waiting to be synced: does that for some. The clock goes on meanwhile,
    /// since a disk that stalls is no matter of those who open files elsewhere.
    fn sync_some(&self) {
        // IMPORTANT: held until the sync is over and what failed is noted. A file counts as synced from
        // the sync's beginning on, and is not closed only because somebody has it.
        let files = self.some_unsynced();
        // What fails is told to whoever flushes the file.
        in_parallel(&files, N_PARALLEL, |file: &DiskFile| file.sync_for_others());
    }

    fn some_unsynced(&self) -> Vec<DiskFile> {
        let mut clock = self.clock.lock();
        let mut files = Vec::new();
        for _ in 0..clock.len() {
            let Some(one) = clock.pop_front() else { break };
            let file = one.upgrade().and_then(|slot| slot.unsynced());
            if one.strong_count() > 0 {
                clock.push_back(one);
            }
            files.extend(file);
            if files.len() >= N_SYNCED {
                break;
            }
        }
        files
    }

    fn watch(&self, slot: &Arc<Slot>) {
        let mut clock = self.clock.lock();
        // Of a file that is no more an entry stays until the hand comes by.
        if clock.len() > 2 * self.n_open() + N_LOOKS {
            clock.retain(|one| one.strong_count() > 0);
        }
        clock.push_back(Arc::downgrade(slot));
    }
}

impl fmt::Debug for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenFiles({} of {})", self.n_open(), self.n_max())
    }
}

/// A file that may be closed at the moment. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct LazyFile(Arc<Slot>);

#[derive(Debug)]
struct Slot {
    disk: Disk,
    path: Arc<Path>,
    is_unguessed: bool,
    file: ArcSwapOption<Opened>,
    was_used: AtomicBool,
    /// It is not closed again.
    stays: AtomicBool,
    /// Its name is gone, and so it is not opened again.
    is_gone: AtomicBool,
}

impl Slot {
    /// Takes the file away to be closed, unless it must stay or is in use.
    fn take(&self) -> Option<Arc<Opened>> {
        let may_go = |file: &Arc<Opened>, n_ours: usize| {
            Arc::strong_count(file) <= n_ours
                && !file.is_unsynced()
                && !self.stays.load(Ordering::SeqCst)
        };
        {
            let file = self.file.load_full()?;
            if !may_go(&file, 2) {
                return None;
            }
        }
        let taken = self.file.swap(None)?;
        // IMPORTANT: looked at once more, now that nobody can come to it any more. Whoever is using it
        // is counted, and marks what he writes before he lets go.
        if may_go(&taken, 1) {
            return Some(taken);
        }
        let other = self
            .file
            .compare_and_swap(&None::<Arc<Opened>>, Some(taken));
        // If somebody has opened it meanwhile, what he has will tell of failed writes to this one.
        if let Some(other) = &*other {
            other.note_change();
        }
        None
    }

    fn unsynced(&self) -> Option<DiskFile> {
        let file = self.file.load_full()?;
        let waits = file.is_unsynced() && !self.stays.load(Ordering::SeqCst);
        waits.then(|| DiskFile::from(file))
    }
}

impl LazyFile {
    /// A file that is there, and not open.
    pub(crate) fn closed(disk: &Disk, path: impl AsRef<Path>) -> Self {
        Self::new(disk, path, false)
    }

    /// One of which the disk reads what it is asked for, and nothing ahead of that.
    pub(crate) fn closed_unguessed(disk: &Disk, path: impl AsRef<Path>) -> Self {
        Self::new(disk, path, true)
    }

    fn new(disk: &Disk, path: impl AsRef<Path>, is_unguessed: bool) -> Self {
        Self(Arc::new(Slot {
            disk: disk.clone(),
            path: path.as_ref().into(),
            is_unguessed,
            file: ArcSwapOption::empty(),
            was_used: AtomicBool::new(false),
            stays: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
        }))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether that file was got from here, now or earlier.
    pub(crate) fn is_of(&self, file: &DiskFile) -> bool {
        *self.path() == *file.path()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.file.load().is_some()
    }

    /// It is not closed any more.
    pub(crate) fn keep_open(&self) {
        self.0.stays.store(true, Ordering::SeqCst);
    }

    /// Its name goes away, or begins to mean another file.
    pub(crate) fn lose_name(&self) {
        self.keep_open();
        self.0.is_gone.store(true, Ordering::SeqCst);
    }

    /// The name that was to go has stayed.
    pub(crate) fn keep_name(&self) {
        self.0.is_gone.store(false, Ordering::SeqCst);
        self.0.stays.store(false, Ordering::SeqCst);
    }

    /// The open file, unless it is closed.
    pub(crate) fn get_if_open(&self) -> Option<DiskFile> {
        self.0.file.load_full().map(DiskFile::from)
    }

    /// The open file. While it is held it stays open.
    pub(crate) fn get(&self) -> Result<DiskFile, Fault> {
        self.get_or_open(Disk::open)
    }

    /// The same; makes an empty file if there is none.
    pub(crate) fn get_or_create(&self) -> Result<DiskFile, Fault> {
        self.get_or_open(Disk::open_or_create)
    }

    /// Makes it an empty file.
    pub(crate) fn create(&self) -> Result<(), Fault> {
        self.get_or_create()?.set_length(0)
    }

    /// Uses the open file without a trace in the usual case, that it is open.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&Opened) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let file = self.0.file.load();
        if let Some(file) = &*file {
            self.note_use();
            return work(file);
        }
        work(&*self.get()?)
    }

    fn note_use(&self) {
        if !self.0.was_used.load(Ordering::Relaxed) {
            self.0.was_used.store(true, Ordering::Relaxed);
        }
    }

    fn get_or_open(
        &self,
        open: impl FnOnce(&Disk, &Path) -> Result<DiskFile, Fault>,
    ) -> Result<DiskFile, Fault> {
        let slot = &*self.0;
        self.note_use();
        if let Some(file) = slot.file.load_full() {
            return Ok(file.into());
        }
        self.check_name()?;
        // Making room may take syncs, and who may not wait for a read may not wait for those.
        if in_memory::is_required() {
            let path = self.path().to_owned();
            return Err(Fault::NotInMemory { path });
        }
        slot.disk.open_files().make_room();
        let opened = open(&slot.disk, &slot.path)?.into_opened();
        if slot.is_unguessed {
            opened.read_as_asked();
        }
        // Somebody may have been faster: then both have his.
        let before = slot
            .file
            .compare_and_swap(&None::<Arc<Opened>>, Some(opened.clone()));
        if let Some(before) = &*before {
            return Ok(before.clone().into());
        }
        slot.disk.open_files().watch(&self.0);
        // The name may have gone meanwhile: this is not to be trusted.
        if let Err(gone) = self.check_name() {
            slot.file.store(None);
            return Err(gone);
        }
        Ok(opened.into())
    }

    fn check_name(&self) -> Result<(), Fault> {
        if self.0.is_gone.load(Ordering::SeqCst) {
            let path = self.path().to_owned();
            return Err(Fault::Gone { path });
        }
        Ok(())
    }
}

/// Whether the system, or this process, has no descriptor left.
pub(crate) fn are_descriptors_out(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskCall, DiskFaults, DiskVerdict};

    struct Place {
        disk: Disk,
        directory: tempfile::TempDir,
    }

    impl Place {
        fn new(disk: Disk) -> Self {
            let directory = tempfile::tempdir().unwrap();
            Self { disk, directory }
        }

        /// Files that are there, closed, and each says which it is.
        fn files(&self, n: u8) -> Vec<LazyFile> {
            let made = (0..n).map(|at| {
                let path = self.directory.path().join(at.to_string());
                std::fs::write(&path, [at; 10]).unwrap();
                LazyFile::closed(&self.disk, path)
            });
            made.collect()
        }
    }

    fn n_open(files: &[LazyFile]) -> usize {
        files.iter().filter(|file| file.is_open()).count()
    }

    fn first_byte(file: &LazyFile) -> u8 {
        let mut byte = [99];
        file.with(|file| file.read_at(&mut byte, 0)).unwrap();
        byte[0]
    }

    #[test]
    fn as_many_as_may_be_are_open_and_all_can_be_read_and_written() {
        let place = Place::new(Disk::with_files_at_most(4));
        let files = place.files(20);
        for round in 0..3 {
            for (at, file) in files.iter().enumerate() {
                if round == 0 {
                    assert_eq!(usize::from(first_byte(file)), at);
                }
                file.with(|file| file.write_all_at(&[at as u8 + 1], 0))
                    .unwrap();
                file.get().unwrap().sync().unwrap();
                assert!(n_open(&files) <= 5, "{} are open", n_open(&files));
                assert_eq!(n_open(&files), place.disk.open_files().n_open());
                assert_eq!(usize::from(first_byte(file)), at + 1);
            }
        }
        assert!(place.disk.open_files().n_closed() > 50);
    }

    #[test]
    fn who_is_used_again_and_again_stays() {
        let place = Place::new(Disk::with_files_at_most(4));
        let files = place.files(40);
        let favourite = files[0].get().unwrap();
        let raw = Arc::downgrade(favourite.raw());
        drop(favourite);
        for file in &files {
            first_byte(file);
            first_byte(&files[0]);
        }
        assert!(raw.upgrade().is_some(), "it was closed and opened again");
    }

    #[test]
    fn what_is_held_or_must_stay_is_not_closed() {
        let place = Place::new(Disk::with_files_at_most(4));
        let files = place.files(40);
        let held = files[0].get().unwrap();
        files[1].keep_open();
        files[2].get().unwrap();
        files[2].lose_name();
        files[1].get().unwrap();
        files.iter().for_each(|file| {
            let _ = file.get();
        });
        assert!(files[..3].iter().all(LazyFile::is_open));
        assert!(n_open(&files) <= 8);
        drop(held);
    }

    #[test]
    fn what_was_held_is_closed_later() {
        let place = Place::new(Disk::with_files_at_most(4));
        let files = place.files(40);
        let held: Vec<DiskFile> = files.iter().map(|file| file.get().unwrap()).collect();
        place.disk.open_files().trim();
        assert_eq!(n_open(&files), 40);
        drop(held);
        place.disk.open_files().trim();
        assert_eq!(n_open(&files), 4);
    }

    #[test]
    fn a_name_that_is_gone_is_not_opened() {
        let place = Place::new(Disk::new());
        let files = place.files(2);
        let open = files[0].get().unwrap();
        files.iter().for_each(LazyFile::lose_name);
        assert!(matches!(files[1].get(), Err(Fault::Gone { .. })));
        assert_eq!(first_byte(&files[0]), 0, "what is open goes on");
        drop(open);
    }

    /// Counts syncs; fails them if it is told to.
    #[derive(Default)]
    struct Syncs {
        n: AtomicUsize,
        fail: AtomicBool,
    }

    impl DiskFaults for Syncs {
        fn before(&self, call: DiskCall, _: &Path, _: usize) -> DiskVerdict {
            if call != DiskCall::Sync {
                return DiskVerdict::Proceed;
            }
            self.n.fetch_add(1, Ordering::Relaxed);
            match self.fail.load(Ordering::Relaxed) {
                true => DiskVerdict::Fail(io::ErrorKind::Other),
                false => DiskVerdict::Proceed,
            }
        }
    }

    #[test]
    fn what_is_written_is_synced_before_it_is_closed() {
        let syncs = Arc::new(Syncs::default());
        let place = Place::new(Disk::breakable_at_most(syncs.clone(), 16));
        let files = place.files(100);
        for file in &files {
            file.with(|file| file.write_all_at(b"new", 0)).unwrap();
        }
        let (n_open, n_synced) = (n_open(&files), syncs.n.load(Ordering::Relaxed));
        assert!(n_open <= 20, "{n_open} are open");
        assert!(n_synced + n_open >= 100, "{n_synced} were synced");
    }

    #[test]
    fn a_sync_for_others_that_fails_is_told_to_who_asks_for_the_next() {
        let syncs = Arc::new(Syncs::default());
        let place = Place::new(Disk::breakable_at_most(syncs.clone(), 16));
        let files = place.files(100);
        syncs.fail.store(true, Ordering::Relaxed);
        for file in &files {
            file.with(|file| file.write_all_at(b"new", 0)).unwrap();
        }
        assert!(syncs.n.load(Ordering::Relaxed) > 0);
        syncs.fail.store(false, Ordering::Relaxed);
        assert_eq!(n_open(&files), 100, "none of them may be closed");
        let fails = |file: &&LazyFile| file.get().unwrap().sync().is_err();
        assert!(files.iter().filter(fails).count() > 0);
    }

    /// Syncs do not come back while this is locked.
    #[derive(Default)]
    struct Stalls {
        gate: Mutex<()>,
        n: AtomicUsize,
    }

    impl DiskFaults for Stalls {
        fn before(&self, call: DiskCall, _: &Path, _: usize) -> DiskVerdict {
            if call == DiskCall::Sync {
                self.n.fetch_add(1, Ordering::SeqCst);
                drop(self.gate.lock());
            }
            DiskVerdict::Proceed
        }
    }

    #[test]
    fn a_disk_that_stalls_holds_up_no_opening_elsewhere_and_nothing_is_closed_too_early() {
        let stalls = Arc::new(Stalls::default());
        let place = Place::new(Disk::breakable_at_most(stalls.clone(), 16));
        let (files, others) = (place.files(100), place.files(100));
        let held: Vec<DiskFile> = files[..50].iter().map(|file| file.get().unwrap()).collect();
        for file in &held {
            file.write_all_at(b"new", 0).unwrap();
        }
        drop(held);
        let gate = stalls.gate.lock();
        std::thread::scope(|scope| {
            scope.spawn(|| files[50].get().unwrap());
            while stalls.n.load(Ordering::SeqCst) < N_PARALLEL {
                std::thread::yield_now();
            }
            let (tell, told) = std::sync::mpsc::channel();
            let others = &others;
            scope.spawn(move || {
                others[..10].iter().for_each(|file| drop(file.get()));
                tell.send(()).ok();
            });
            let is_done = told.recv_timeout(Duration::from_secs(20)).is_ok();
            if is_done {
                place.disk.open_files().trim();
            }
            let n_left = n_open(&files[..50]);
            drop(gate);
            assert!(is_done, "it waits for the stalled disk");
            assert_eq!(n_left, 50, "what is being synced is open");
        });
        place.disk.open_files().trim();
        assert!(place.disk.open_files().n_open() <= 16);
    }

    #[test]
    fn who_wants_only_what_is_in_memory_waits_for_no_sync() {
        let syncs = Arc::new(Syncs::default());
        let place = Place::new(Disk::breakable_at_most(syncs.clone(), 16));
        let files = place.files(100);
        let held: Vec<DiskFile> = files[1..].iter().map(|file| file.get().unwrap()).collect();
        for file in &held {
            file.write_all_at(b"new", 0).unwrap();
        }
        drop(held);
        let got = in_memory::in_memory_only(|| files[0].get());
        assert!(matches!(got, Err(Fault::NotInMemory { .. })));
        assert_eq!(syncs.n.load(Ordering::Relaxed), 0);
        files[0].get().unwrap();
        assert!(syncs.n.load(Ordering::Relaxed) > 0, "there was no room");
    }

    #[test]
    fn many_threads_use_more_files_than_may_be_open() {
        let place = Place::new(Disk::with_files_at_most(4));
        let files = place.files(32);
        std::thread::scope(|scope| {
            for thread in 0..4usize {
                let files = &files;
                scope.spawn(move || {
                    for turn in 0..2000 {
                        let at = (turn * 7 + thread * 13) % files.len();
                        let place = 10 + thread as u64 * 8;
                        let number = (turn as u64).to_be_bytes();
                        let mut read = [0; 8];
                        files[at]
                            .with(|file| file.write_all_at(&number, place))
                            .unwrap();
                        files[at]
                            .with(|file| file.read_at(&mut read, place))
                            .unwrap();
                        assert_eq!(read, number);
                    }
                });
            }
        });
        assert!(n_open(&files) <= 10, "{} are open", n_open(&files));
    }
}

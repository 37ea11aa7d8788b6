//! The only file that calls `std::fs`. Everything that touches a disk passes here, so a test can
//! make any single call fail, write short, or run out of space.
//! Every error leaves with the path and what was being done to it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::ahead::NoRoom;
use crate::error::Fault;
use crate::in_memory;
use crate::open_files::{OpenFiles, are_descriptors_out};

/// A way to the file system. Cheap to clone.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

struct Shared {
    faults: Option<Arc<dyn DiskFaults>>,
    files: OpenFiles,
    /// A descriptor that is given up for what must be opened now.
    spare: Mutex<Option<File>>,
}

/// Decides, before each call, whether it may happen, and is told what did. For tests.
pub trait DiskFaults: Send + Sync {
    fn before(&self, call: DiskCall, path: &Path, n_bytes: usize) -> DiskVerdict;

    /// For who must know what a power cut can take back.
    fn after(&self, _change: DiskChange<'_>) {}

    /// A number for a name that nobody has used; `None`: a random one. For who must see the same names
    /// each time.
    fn unique(&self) -> Option<u128> {
        None
    }
}

/// What was changed, or made to last.
#[derive(Debug, Clone, Copy)]
pub enum DiskChange<'a> {
    /// Opened for writing; made, if there was none.
    Opened {
        path: &'a Path,
        file: &'a File,
    },
    Wrote {
        file: &'a File,
        position: u64,
        bytes: &'a [u8],
    },
    LengthSet {
        file: &'a File,
        length: u64,
    },
    Synced {
        file: &'a File,
    },
    SyncFailed {
        file: &'a File,
    },
    DirectorySynced {
        path: &'a Path,
    },
    Renamed {
        source: &'a Path,
        target: &'a Path,
    },
    Removed {
        path: &'a Path,
    },
    DirectoryMade {
        path: &'a Path,
    },
}

/// The kinds of call that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskCall {
    Open,
    Create,
    Read,
    /// A read that takes only what is in memory. One that fails has not found it there.
    ReadInMemory,
    Write,
    SetLength,
    Reserve,
    Sync,
    SyncDirectory,
    Rename,
    Remove,
    List,
    MakeDirectory,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskVerdict {
    Proceed,
    Fail(io::ErrorKind),
    /// There is no descriptor left.
    NoDescriptor,
    /// A write takes at most this many bytes; the rest is asked for again.
    Short(usize),
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.faults.is_some() {
            "Disk(breakable)"
        } else {
            "Disk"
        })
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::with(None, usize::MAX)
    }
}

impl Disk {
    /// With as many files open as there are.
    pub fn new() -> Self {
        Self::default()
    }

    /// With at most so many files open, those aside that are in use.
    pub fn with_files_at_most(n_max: usize) -> Self {
        Self::with(None, n_max)
    }

    /// A disk that asks `faults` before each call.
    pub fn breakable(faults: Arc<dyn DiskFaults>) -> Self {
        Self::breakable_at_most(faults, usize::MAX)
    }

    /// Both.
    pub fn breakable_at_most(faults: Arc<dyn DiskFaults>, n_files_max: usize) -> Self {
        Self::with(Some(faults), n_files_max)
    }

    fn with(faults: Option<Arc<dyn DiskFaults>>, n_files_max: usize) -> Self {
        Self(Arc::new(Shared {
            spare: Mutex::new(open_nothing().ok()),
            files: OpenFiles::at_most(n_files_max),
            faults,
        }))
    }

    pub fn open_files(&self) -> &OpenFiles {
        &self.0.files
    }

    /// Opens an existing file for reading and writing.
    pub(crate) fn open(&self, path: &Path) -> Result<DiskFile, Fault> {
        if in_memory::is_required() {
            let path = path.to_owned();
            return Err(Fault::NotInMemory { path });
        }
        let file = self
            .descriptor(|| {
                self.ask(DiskCall::Open, path, 0)?;
                OpenOptions::new().read(true).write(true).open(path)
            })
            .map_err(|e| Fault::io("open", path, e))?;
        Ok(self.file(file, path))
    }

    /// Opens a file that may be protected against writing.
    pub(crate) fn open_to_read(&self, path: &Path) -> Result<DiskFile, Fault> {
        let file = self
            .descriptor(|| {
                self.ask(DiskCall::Open, path, 0)?;
                File::open(path)
            })
            .map_err(|e| Fault::io("open", path, e))?;
        Ok(self.file(file, path))
    }

    /// Opens a file for reading and writing, making an empty one if there is none.
    pub(crate) fn open_or_create(&self, path: &Path) -> Result<DiskFile, Fault> {
        let file = self
            .descriptor(|| {
                self.ask(DiskCall::Create, path, 0)?;
                let mut how = OpenOptions::new();
                let how = how.read(true).write(true).create(true).truncate(false);
                how.open(path)
            })
            .map_err(|e| Fault::io("create", path, e))?;
        self.tell(DiskChange::Opened { path, file: &file });
        Ok(self.file(file, path))
    }

    /// Makes an empty file, emptying one that is there.
    pub(crate) fn create(&self, path: &Path) -> Result<DiskFile, Fault> {
        let file = self.open_or_create(path)?;
        file.set_length(0)?;
        Ok(file)
    }

    /// The whole of a small file; `None` if there is no such file.
    pub fn read_if_exists(&self, path: &Path) -> Result<Option<Vec<u8>>, Fault> {
        let read = self.descriptor(|| {
            self.ask(DiskCall::Read, path, 0)?;
            fs::read(path)
        });
        match read {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Fault::io("read", path, e)),
        }
    }

    /// Replaces a file so that after a crash it is either the old or the new one, whole:
    /// temporary file, fsync, rename, fsync of the directory.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), Fault> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let file = self.create(&temporary)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        self.rename(&temporary, path)?;
        self.sync_directory(parent(path))
    }

    pub(crate) fn rename(&self, source: &Path, target: &Path) -> Result<(), Fault> {
        self.ask(DiskCall::Rename, source, 0)
            .and_then(|()| fs::rename(source, target))
            .map(|()| self.tell(DiskChange::Renamed { source, target }))
            .map_err(|e| Fault::io("rename", source, e))
    }

    /// Removes a file; one that is already gone is no error.
    pub fn remove(&self, path: &Path) -> Result<(), Fault> {
        let removed = self
            .ask(DiskCall::Remove, path, 0)
            .and_then(|()| fs::remove_file(path))
            .map(|()| self.tell(DiskChange::Removed { path }));
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Fault::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    /// Removes a directory with all that is in it; one that is already gone is no error.
    pub(crate) fn remove_tree(&self, path: &Path) -> Result<(), Fault> {
        let removed = self
            .ask(DiskCall::Remove, path, 0)
            .and_then(|()| fs::remove_dir_all(path))
            .map(|()| self.tell(DiskChange::Removed { path }));
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Fault::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    pub fn make_directory(&self, path: &Path) -> Result<(), Fault> {
        self.ask(DiskCall::MakeDirectory, path, 0)
            .and_then(|()| fs::create_dir_all(path))
            .map(|()| self.tell(DiskChange::DirectoryMade { path }))
            .map_err(|e| Fault::io("make the directory", path, e))
    }

    /// Makes names that were created, renamed or removed in `path` survive a power cut.
    pub fn sync_directory(&self, path: &Path) -> Result<(), Fault> {
        self.ask(DiskCall::SyncDirectory, path, 0)
            .and_then(|()| self.descriptor(|| File::open(path))?.sync_all())
            .map(|()| self.tell(DiskChange::DirectorySynced { path }))
            .map_err(|e| Fault::io("sync the directory", path, e))
    }

    /// What is in a directory, sorted by name. Names that are not UTF-8 are none of ours.
    pub(crate) fn list(&self, path: &Path) -> Result<Vec<Entry>, Fault> {
        self.ask(DiskCall::List, path, 0)
            .and_then(|()| self.descriptor(|| list(path)))
            .map_err(|e| Fault::io("list", path, e))
    }

    pub fn exists(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok()
    }

    /// What tells a directory from any other: device and inode.
    pub(crate) fn identity(&self, path: &Path) -> Result<(u64, u64), Fault> {
        self.ask(DiskCall::List, path, 0)
            .and_then(|()| fs::metadata(path))
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .map_err(|e| Fault::io("look at", path, e))
    }

    /// A number for a name that nobody has used.
    pub(crate) fn unique(&self) -> u128 {
        let told = self.0.faults.as_ref().and_then(|faults| faults.unique());
        told.unwrap_or_else(random)
    }

    /// When a file was last written, in milliseconds since 1970.
    pub(crate) fn modified_ms(&self, path: &Path) -> Result<i64, Fault> {
        fs::metadata(path)
            .and_then(|m| m.modified())
            .map(ms_since_1970)
            .map_err(|e| Fault::io("look at", path, e))
    }

    pub(crate) fn set_read_only(&self, path: &Path) -> Result<(), Fault> {
        fs::metadata(path)
            .and_then(|m| {
                let mut permissions = m.permissions();
                permissions.set_readonly(true);
                fs::set_permissions(path, permissions)
            })
            .map_err(|e| Fault::io("protect", path, e))
    }

    /// (total, usable) bytes of the file system below `path`.
    pub fn space(&self, path: &Path) -> Result<(u64, u64), Fault> {
        let stat = rustix::fs::statvfs(path).map_err(|e| Fault::io("measure", path, e.into()))?;
        let total = stat.f_blocks.saturating_mul(stat.f_frsize);
        Ok((total, stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    /// Whether a test may break any call on it.
    pub(crate) fn is_breakable(&self) -> bool {
        self.0.faults.is_some()
    }

    fn file(&self, file: File, path: &Path) -> DiskFile {
        self.open_files().opened_one();
        DiskFile(Arc::new(Opened {
            disk: self.clone(),
            file: Arc::new(file),
            path: path.into(),
            is_unsynced: AtomicBool::new(false),
            syncing: Mutex::new(()),
            has_failed: AtomicBool::new(false),
        }))
    }

    /// Tries again if there was no descriptor left and there may be one now.
    fn descriptor<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let is_out = |opened: &io::Result<T>| opened.as_ref().is_err_and(are_descriptors_out);
        let mut opened = open();
        if is_out(&opened) {
            self.open_files().relieve();
            opened = open();
        }
        if is_out(&opened) {
            let mut spare = self.0.spare.lock();
            drop(spare.take());
            opened = open();
            *spare = open_nothing().ok();
        }
        opened
    }

    fn tell(&self, change: DiskChange<'_>) {
        if let Some(faults) = &self.0.faults {
            faults.after(change);
        }
    }

    fn ask(&self, call: DiskCall, path: &Path, n_bytes: usize) -> io::Result<()> {
        match self.verdict(call, path, n_bytes) {
            DiskVerdict::Fail(kind) => Err(kind.into()),
            DiskVerdict::NoDescriptor => Err(rustix::io::Errno::MFILE.into()),
            _ => Ok(()),
        }
    }

    fn verdict(&self, call: DiskCall, path: &Path, n_bytes: usize) -> DiskVerdict {
        match &self.0.faults {
            Some(faults) => faults.before(call, path, n_bytes),
            None => DiskVerdict::Proceed,
        }
    }
}

pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    u128::from_be_bytes(bytes)
}

const NOTHING: &str = "/dev/null";

fn open_nothing() -> io::Result<File> {
    File::open(NOTHING)
}

fn ms_since_1970(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The unit in which the system counts what a file takes, whatever the file system's own is.
const BLOCK: u64 = 512;

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_directory: bool,
    pub(crate) n_bytes: u64,
    /// What its blocks hold: more than its length where room is reserved behind the end.
    pub(crate) n_bytes_held: u64,
}

fn list(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // Follows a symbolic link, as Kafka does. A name that vanished meanwhile is not there; a link to
        // nothing is, and whoever opens it is told.
        let metadata = match fs::metadata(entry.path()) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match fs::symlink_metadata(entry.path()) {
                    Ok(link) => link,
                    Err(_) => continue,
                }
            }
            Err(error) => return Err(error),
        };
        entries.push(Entry {
            name,
            is_directory: metadata.is_dir(),
            n_bytes: if metadata.is_dir() { 0 } else { metadata.len() },
            n_bytes_held: metadata.blocks().saturating_mul(BLOCK),
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The directory a file is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Has the kernel begin to write a stretch of a file. Advice: what goes wrong here shows at the sync.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(crate) fn begin_write_out(file: &File, from: u64, length: u64) {
    use std::os::fd::AsRawFd;
    let (Ok(from), Ok(length)) = (i64::try_from(from), i64::try_from(length)) else {
        return;
    };
    // SAFETY: four numbers, one of them the descriptor of a file that is borrowed and so open. No
    // crate at hand wraps this call; `fdatasync` instead would flush the disk's own cache each time.
    let _ = unsafe {
        libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE)
    };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn begin_write_out(_file: &File, _from: u64, _length: u64) {}

/// Takes blocks for a stretch, and leaves the length as it is.
#[cfg(target_os = "linux")]
fn reserve(file: &File, from: u64, length: u64) -> io::Result<()> {
    let keeps_length = rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, keeps_length, from, length).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _from: u64, _length: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Has the kernel drop the pages of a stretch of a file that are clean.
#[cfg(target_os = "linux")]
pub(crate) fn give_back_pages(file: &File, from: u64, length: u64) {
    let length = std::num::NonZeroU64::new(length);
    let _ = rustix::fs::fadvise(file, from, length, rustix::fs::Advice::DontNeed);
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn give_back_pages(_file: &File, _from: u64, _length: u64) {}

/// How much the disk is asked for at once: what the kernel reads ahead by default, and so the least
/// that it takes from one call.
const ASK_STEP: u64 = 128 << 10;

/// Has the kernel read a stretch of a file in the background. Advice.
#[cfg(target_os = "linux")]
fn begin_to_read(file: &File, from: u64, length: u64) {
    let length = std::num::NonZeroU64::new(length);
    let _ = rustix::fs::fadvise(file, from, length, rustix::fs::Advice::WillNeed);
}

#[cfg(not(target_os = "linux"))]
fn begin_to_read(_file: &File, _from: u64, _length: u64) {}

/// Has the kernel read what it is asked for, and guess nothing. Advice.
#[cfg(target_os = "linux")]
fn read_as_asked(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
}

#[cfg(not(target_os = "linux"))]
fn read_as_asked(_file: &File) {}

/// Fails where the bytes would have to come from the disk. File systems that cannot tell read as ever.
#[cfg(target_os = "linux")]
fn read_without_waiting(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let slices = &mut [io::IoSliceMut::new(buffer)];
    match preadv2(file, slices, position, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => file.read_at(buffer, position),
        read => read.map_err(io::Error::from),
    }
}

#[cfg(not(target_os = "linux"))]
fn read_without_waiting(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    file.read_at(buffer, position)
}

/// An open file that knows its name. Cheap to clone; all clones are the same file.
#[derive(Debug, Clone)]
pub struct DiskFile(Arc<Opened>);

/// The file itself, for whoever holds it.
#[derive(Debug)]
pub struct Opened {
    disk: Disk,
    file: Arc<File>,
    path: Arc<Path>,
    /// Something was written here since the last sync began.
    is_unsynced: AtomicBool,
    /// Held while it is synced.
    syncing: Mutex<()>,
    /// A sync failed. That another one succeeds proves nothing of what was written before.
    has_failed: AtomicBool,
}

impl Deref for DiskFile {
    type Target = Opened;

    fn deref(&self) -> &Opened {
        &self.0
    }
}

impl From<Arc<Opened>> for DiskFile {
    fn from(opened: Arc<Opened>) -> Self {
        Self(opened)
    }
}

impl DiskFile {
    pub(crate) fn into_opened(self) -> Arc<Opened> {
        self.0
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.disk.open_files().closed_one();
    }
}

impl Opened {
    /// The file itself, for `sendfile`.
    pub fn raw(&self) -> &Arc<File> {
        &self.file
    }

    /// The name under which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> Result<u64, Fault> {
        self.file
            .metadata()
            .map(|m| m.len())
            .map_err(|e| Fault::io("measure", &self.path, e))
    }

    /// When it was last written, in milliseconds since 1970.
    pub(crate) fn modified_ms(&self) -> Result<i64, Fault> {
        self.file
            .metadata()
            .and_then(|m| m.modified())
            .map(ms_since_1970)
            .map_err(|e| Fault::io("look at", &self.path, e))
    }

    /// Makes it look as if it had been written then.
    pub(crate) fn set_modified_ms(&self, ms: i64) -> Result<(), Fault> {
        let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        self.file
            .set_modified(UNIX_EPOCH + since)
            .map_err(|e| Fault::io("date", &self.path, e))
    }

    /// Whether a sync would have something to do.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.is_unsynced.load(Ordering::SeqCst)
    }

    /// IMPORTANT: behind the change, and while the file is held: see `open_files`.
    pub(crate) fn note_change(&self) {
        if !self.is_unsynced.load(Ordering::Relaxed) {
            self.is_unsynced.store(true, Ordering::SeqCst);
        }
    }

    pub(crate) fn write_all_at(&self, bytes: &[u8], position: u64) -> Result<(), Fault> {
        let written = self.try_write_all_at(bytes, position);
        self.note_change();
        written
    }

    fn try_write_all_at(&self, mut bytes: &[u8], mut position: u64) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let allowed = match self.disk.verdict(DiskCall::Write, &self.path, bytes.len()) {
                DiskVerdict::Proceed => bytes,
                DiskVerdict::Short(n) => bytes.get(..n).unwrap_or(bytes),
                DiskVerdict::Fail(kind) => return Err(Fault::io("write", &self.path, kind.into())),
                DiskVerdict::NoDescriptor => bytes,
            };
            match self.file.write_at(allowed, position) {
                Ok(0) if !allowed.is_empty() => {
                    let source = io::ErrorKind::WriteZero.into();
                    return Err(Fault::io("write", &self.path, source));
                }
                Ok(n) => {
                    self.disk.tell(DiskChange::Wrote {
                        file: &self.file,
                        position,
                        bytes: bytes.get(..n).unwrap_or_default(),
                    });
                    bytes = bytes.get(n..).unwrap_or_default();
                    position += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::io("write", &self.path, e)),
            }
        }
        Ok(())
    }

    /// As `write_all_at`, for bytes in two places: one call of the system in the usual case.
    pub(crate) fn write_both_at(
        &self,
        first: &[u8],
        rest: &[u8],
        position: u64,
    ) -> Result<(), Fault> {
        if first.is_empty() || rest.is_empty() || self.disk.0.faults.is_some() {
            self.write_all_at(first, position)?;
            return self.write_all_at(rest, position + first.len() as u64);
        }
        let slices = [IoSlice::new(first), IoSlice::new(rest)];
        let written = rustix::io::pwritev(&*self.file, &slices, position);
        self.note_change();
        let n = match written {
            Ok(n) => n,
            Err(rustix::io::Errno::INTR) => 0,
            Err(e) => return Err(Fault::io("write", &self.path, e.into())),
        };
        // What a short write left over goes the slow way.
        let n_first = n.min(first.len());
        self.write_all_at(
            first.get(n_first..).unwrap_or_default(),
            position + n as u64,
        )?;
        let n_rest = n - n_first;
        let at = position + (first.len() + n_rest) as u64;
        self.write_all_at(rest.get(n_rest..).unwrap_or_default(), at)
    }

    /// Reads until `buffer` is full or the file ends; returns how much was read.
    pub(crate) fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, Fault> {
        if in_memory::is_required() {
            return match self.read_in_memory(buffer, position) {
                Some(n_read) => Ok(n_read),
                None => Err(Fault::NotInMemory {
                    path: self.path.to_path_buf(),
                }),
            };
        }
        self.disk
            .ask(DiskCall::Read, &self.path, buffer.len())
            .map_err(|e| Fault::io("read", &self.path, e))?;
        let mut n_read = 0;
        while let Some(rest) = buffer.get_mut(n_read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, position + n_read as u64) {
                Ok(0) => break,
                Ok(n) => n_read += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::io("read", &self.path, e)),
            }
        }
        Ok(n_read)
    }

    /// As `read_at`, if all of it is in memory. Where the system cannot tell, it is.
    pub(crate) fn read_in_memory(&self, buffer: &mut [u8], position: u64) -> Option<usize> {
        let asked = self
            .disk
            .ask(DiskCall::ReadInMemory, &self.path, buffer.len());
        asked.ok()?;
        let mut n_read = 0;
        while let Some(rest) = buffer.get_mut(n_read..).filter(|rest| !rest.is_empty()) {
            match read_without_waiting(&self.file, rest, position + n_read as u64) {
                Ok(0) => break,
                Ok(n) => n_read += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        Some(n_read)
    }

    /// Whether a byte of the file is in memory, and so its page.
    pub(crate) fn is_in_memory(&self, position: u64) -> bool {
        self.read_in_memory(&mut [0], position).is_some()
    }

    /// Has the disk begin with a stretch that will be read soon. Costs a look at each page that is in
    /// memory already.
    pub(crate) fn begin_to_read(&self, from: u64, length: u64) {
        let end = from.saturating_add(length);
        for at in (from..end).step_by(ASK_STEP as usize) {
            begin_to_read(&self.file, at, ASK_STEP.min(end - at));
        }
    }

    /// From now on the disk reads what it is asked for by `begin_to_read` and by reads, and does not
    /// guess what comes next. How much it would guess, from 128 KiB to 8 MiB, is a setting of the
    /// machine, and all of that stands before the next sync.
    pub(crate) fn read_as_asked(&self) {
        read_as_asked(&self.file);
    }

    pub(crate) fn set_length(&self, length: u64) -> Result<(), Fault> {
        self.disk
            .ask(DiskCall::SetLength, &self.path, 0)
            .and_then(|()| self.file.set_len(length))
            .map(|()| {
                self.note_change();
                self.disk.tell(DiskChange::LengthSet {
                    file: &self.file,
                    length,
                });
            })
            .map_err(|e| Fault::io("set the length of", &self.path, e))
    }

    /// Takes blocks for a stretch, and leaves the length as it is.
    pub(crate) fn reserve(&self, from: u64, length: u64) -> Result<(), NoRoom> {
        let n_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        self.disk
            .ask(DiskCall::Reserve, &self.path, n_bytes)
            .and_then(|()| reserve(&self.file, from, length))
            .map_err(|error| match error.kind() {
                // Interrupted by a signal: another time.
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::Interrupted => NoRoom::Full,
                _ => NoRoom::Unsupported,
            })
    }

    /// Makes the bytes survive a power cut (`fdatasync`).
    ///
    /// A full disk is no passing trouble here: the bytes were accepted before, and may be lost.
    pub fn sync(&self) -> Result<(), Fault> {
        // IMPORTANT: one after the other. Of two at once the kernel tells only one of a write that failed.
        let _alone = self.syncing.lock();
        self.sync_begins()
            .and_then(|()| self.disk.ask(DiskCall::Sync, &self.path, 0))
            .and_then(|()| self.file.sync_data())
            .inspect(|()| self.disk.tell(DiskChange::Synced { file: &self.file }))
            .map_err(|source| {
                self.has_failed.store(true, Ordering::SeqCst);
                self.note_change();
                self.disk.tell(DiskChange::SyncFailed { file: &self.file });
                let path = self.path.to_path_buf();
                Fault::Io {
                    doing: "sync",
                    path,
                    source,
                }
            })
    }

    /// What is written from here on is for the next sync. Fails if an earlier one has failed.
    pub(crate) fn sync_begins(&self) -> io::Result<()> {
        self.is_unsynced.store(false, Ordering::SeqCst);
        if self.has_failed.load(Ordering::SeqCst) {
            return Err(io::Error::other("an earlier sync has failed"));
        }
        Ok(())
    }

    /// As `sync`, for the sake of others: if it fails, so does the next one that is asked for.
    pub(crate) fn sync_for_others(&self) {
        if let Err(fault) = self.sync() {
            tracing::error!("{fault}");
        }
    }

    /// Makes bytes and file attributes survive a power cut (`fsync`).
    pub(crate) fn sync_all(&self) -> Result<(), Fault> {
        self.sync_begins()
            .and_then(|()| self.disk.ask(DiskCall::Sync, &self.path, 0))
            .and_then(|()| self.file.sync_all())
            .inspect(|()| self.disk.tell(DiskChange::Synced { file: &self.file }))
            .inspect_err(|_| self.note_change())
            .map_err(|e| Fault::io("sync", &self.path, e))
    }

    /// Takes the file for this process alone, or says that another has it.
    ///
    /// Two locks, because two families look: `flock` keeps out a second opener in any process,
    /// ours included, and the POSIX lock is the one that a Java `FileChannel.tryLock` sees.
    pub(crate) fn lock(&self) -> Result<(), Fault> {
        match self.file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Fault::Locked {
                    path: parent(&self.path).to_owned(),
                });
            }
            Err(fs::TryLockError::Error(e)) => return Err(Fault::io("lock", &self.path, e)),
        }
        let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        match rustix::fs::fcntl_lock(&*self.file, operation) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::AGAIN) => Err(Fault::Locked {
                path: parent(&self.path).to_owned(),
            }),
            Err(e) => Err(Fault::io("lock", &self.path, e.into())),
        }
    }
}

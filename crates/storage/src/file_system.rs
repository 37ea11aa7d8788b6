//! Syncing all of a directory's file system with one call, for who has many files to sync (`syncfs`).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// See the head of this file.
///
/// The kernel tells each open file once of a write that failed somewhere on the file system, and then no
/// more. Two callers with one file would share that answer, and the one that was not told would take
/// its records for safe. So each has a file of its own for as long as it asks, and after a failure nobody
/// gets another answer.
#[derive(Debug)]
pub(crate) struct FileSystem {
    path: PathBuf,
    /// Not in use; at most as many as have ever asked at once.
    rested: Mutex<Vec<File>>,
    has_failed: AtomicBool,
    tells_errors: bool,
}

impl FileSystem {
    /// That of a directory. What fails to be written from here on is told.
    pub(crate) fn of(path: &Path) -> Self {
        let first = File::open(path).ok();
        Self {
            path: path.to_owned(),
            rested: Mutex::new(first.into_iter().collect()),
            has_failed: AtomicBool::new(false),
            tells_errors: *TELLS_ERRORS && is_known(path),
        }
    }

    /// Makes everything on it survive a power cut; its device. `None`: there is no descriptor to ask with,
    /// and nothing is known.
    pub(crate) fn sync(&self) -> io::Result<Option<u64>> {
        self.ask(sync_all_of)
    }

    fn ask<T>(&self, sync: impl FnOnce(&File) -> io::Result<T>) -> io::Result<Option<T>> {
        let rested = self.rested.lock().pop();
        // A new one is told of what nobody was told of yet; of the rest `has_failed` knows.
        let Some(file) = rested.or_else(|| File::open(&self.path).ok()) else {
            return Ok(None);
        };
        let outcome = sync(&file);
        if outcome.is_err() {
            self.has_failed.store(true, Ordering::SeqCst);
        }
        // IMPORTANT: the file rests after that, so that who takes it next sees what it was told.
        self.rested.lock().push(file);
        match self.has_failed.load(Ordering::SeqCst) {
            true => outcome.and_then(|_| Err(io::Error::other("an earlier sync has failed"))),
            false => outcome.map(Some),
        }
    }

    /// Whether `sync` tells of every write that failed.
    pub(crate) fn tells_errors(&self) -> bool {
        self.tells_errors
    }
}

#[cfg(target_os = "linux")]
fn sync_all_of(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    rustix::fs::syncfs(file)?;
    Ok(file.metadata()?.dev())
}

#[cfg(not(target_os = "linux"))]
fn sync_all_of(_: &File) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Linux does from 5.8 on; elsewhere it proves nothing.
static TELLS_ERRORS: LazyLock<bool> = LazyLock::new(|| {
    let name = rustix::system::uname();
    let release = name.release().to_str().unwrap_or_default();
    cfg!(target_os = "linux") && version_of(release) >= (5, 8)
});

/// The first two numbers of a kernel's version.
fn version_of(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Of a file system that lies upon others (overlayfs, FUSE) nothing is known.
#[cfg(target_os = "linux")]
fn is_known(path: &Path) -> bool {
    /// What statfs(2) says of ext2 to ext4, XFS and Btrfs.
    const KNOWN: [rustix::fs::FsWord; 3] = [0xef53, 0x5846_5342, 0x9123_683e];
    rustix::fs::statfs(path).is_ok_and(|it| KNOWN.contains(&it.f_type))
}

#[cfg(not(target_os = "linux"))]
fn is_known(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_at_the_same_time_does_so_through_a_file_of_its_own() {
        use std::os::fd::AsRawFd;
        let place = tempfile::tempdir().unwrap();
        let system = FileSystem::of(place.path());
        let outer = system.ask(|file| {
            let inner = system.ask(|file| Ok(file.as_raw_fd())).unwrap();
            assert_ne!(inner.unwrap(), file.as_raw_fd());
            Ok(())
        });
        outer.unwrap();
        assert_eq!(system.rested.lock().len(), 2);
    }

    #[test]
    fn after_a_failure_nobody_is_told_that_all_is_well() {
        let place = tempfile::tempdir().unwrap();
        let system = FileSystem::of(place.path());
        system.ask(|_| Ok(())).unwrap();
        // Nor who began before it, and ends after it.
        let around = system.ask(|_| {
            let failed = system.ask(|_| Err::<(), _>(io::ErrorKind::StorageFull.into()));
            assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
            Ok(())
        });
        assert!(around.is_err());
        assert!(system.ask(|_| Ok(())).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_synced_is_the_device_of_the_directory() {
        use std::os::unix::fs::MetadataExt;
        let place = tempfile::tempdir().unwrap();
        let device = place.path().metadata().unwrap().dev();
        assert_eq!(FileSystem::of(place.path()).sync().unwrap(), Some(device));
        assert!(!FileSystem::of(Path::new("/proc")).tells_errors());
    }

    #[test]
    fn without_a_descriptor_nothing_is_said_and_nothing_has_failed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x");
        let system = FileSystem::of(&path);
        assert_eq!(system.ask(|_| Ok(())).unwrap(), None);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(system.ask(|_| Ok(())).unwrap(), Some(()));
    }

    #[test]
    fn versions_of_kernels() {
        assert_eq!(version_of("6.18.44-fc-v669"), (6, 18));
        assert_eq!(version_of("5.8"), (5, 8));
        assert_eq!(version_of("4.19.0-27-amd64"), (4, 19));
        assert_eq!(version_of(""), (0, 0));
    }
}

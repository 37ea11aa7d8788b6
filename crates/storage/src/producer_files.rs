//! The `.snapshot` files of a log: which there are, written, loaded, deleted.
//! Their bytes are `producer::snapshot`'s. A file that does not read is deleted and the next older
//! one taken, so writing one needs neither fsync nor rename.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ottla_protocol::Offset;

use crate::disk::Disk;
use crate::error::Fault;
use crate::file_names::{FileKind, Stage, segment_file};
use crate::open_files::LazyFile;
use crate::producer::{Producers, snapshot};

#[derive(Debug)]
pub(crate) struct ProducerFiles {
    disk: Disk,
    directory: PathBuf,
    offsets: BTreeSet<Offset>,
}

/// How producers are remembered over a restart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remember {
    pub(crate) now_ms: i64,
    pub(crate) expiration_ms: i64,
    /// Batches of before a snapshot may come again: answers to them may have been lost.
    pub(crate) recalls: bool,
}

impl ProducerFiles {
    pub(crate) fn new(disk: &Disk, directory: &Path, offsets: BTreeSet<Offset>) -> Self {
        Self {
            disk: disk.clone(),
            directory: directory.to_owned(),
            offsets,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    pub(crate) fn offsets(&self) -> &BTreeSet<Offset> {
        &self.offsets
    }

    pub(crate) fn contains(&self, offset: Offset) -> bool {
        self.offsets.contains(&offset)
    }

    /// A snapshot of where `producers` are now; `None` if there already is one at that offset.
    pub(crate) fn take(&mut self, producers: &Producers) -> Result<Option<LazyFile>, Fault> {
        let offset = producers.end_offset();
        // Before the first record there is nothing to remember.
        if offset == 0 || self.contains(offset) {
            return Ok(None);
        }
        let file = LazyFile::closed(&self.disk, self.path(offset));
        let open = file.get_or_create()?;
        let written = open
            .set_length(0)
            .and_then(|()| open.write_all_at(&snapshot::encode(producers), 0));
        if let Err(fault) = written {
            // If it stays all the same, it does not read, and the next start deletes it.
            self.disk.remove(&self.path(offset)).ok();
            return Err(fault);
        }
        self.offsets.insert(offset);
        Ok(Some(file))
    }

    /// The snapshot at `offset`, to be synced; `None` if there is none.
    pub(crate) fn open(&self, offset: Offset) -> Result<Option<LazyFile>, Fault> {
        if !self.contains(offset) {
            return Ok(None);
        }
        let file = LazyFile::closed(&self.disk, self.path(offset));
        // What another process wrote counts as a change of ours.
        file.get()?.note_change();
        Ok(Some(file))
    }

    /// The newest snapshot in `[start, end]` that reads well; none at all is an empty one at
    /// `start`. What does not read is deleted. (Kafka leaves out one at `start` itself, and so
    /// forgets the producers of a log whose records were all deleted.)
    pub(crate) fn load(
        &mut self,
        start: Offset,
        end: Offset,
        how: Remember,
    ) -> Result<Producers, Fault> {
        while let Some(offset) = self.offsets.range(..=end).next_back().copied() {
            if offset < start {
                break;
            }
            let bytes = self
                .disk
                .read_if_exists(&self.path(offset))?
                .unwrap_or_default();
            match snapshot::decode(&bytes) {
                Ok(entries) => {
                    let Remember {
                        now_ms,
                        expiration_ms,
                        ..
                    } = how;
                    return Ok(Producers::load(entries, offset, now_ms, expiration_ms));
                }
                Err(why) => {
                    let path = self.path(offset);
                    tracing::warn!(
                        "producer snapshot {}: {why}; an older one is used",
                        path.display()
                    );
                    self.delete(offset)?;
                }
            }
        }
        Ok(Producers::empty(start))
    }

    pub(crate) fn delete(&mut self, offset: Offset) -> Result<(), Fault> {
        self.offsets.remove(&offset);
        self.disk.remove(&self.path(offset))
    }

    /// Deletes the snapshots that know of more than a log which ends at `end` has.
    pub(crate) fn delete_above(&mut self, end: Offset) -> Result<(), Fault> {
        for offset in self.offsets.split_off(&end.saturating_add(1)) {
            self.disk.remove(&self.path(offset))?;
        }
        Ok(())
    }

    pub(crate) fn delete_all(&mut self) -> Result<(), Fault> {
        self.delete_above(-1)
    }

    /// Keeps the snapshots at segment bases and, if it lies behind the last base, the newest one.
    pub(crate) fn delete_strays(&mut self, bases: &[Offset]) -> Result<(), Fault> {
        let last_base = bases.last().copied().unwrap_or(-1);
        let newest = self
            .offsets
            .last()
            .copied()
            .filter(|newest| *newest > last_base);
        let is_stray = |offset: &Offset| !bases.contains(offset) && Some(*offset) != newest;
        let strays: Vec<Offset> = self.offsets.iter().copied().filter(is_stray).collect();
        strays
            .into_iter()
            .try_for_each(|offset| self.delete(offset))
    }

    /// Gives a snapshot the name of a thing to be unlinked, and says where it is.
    pub(crate) fn retire(&mut self, offset: Offset) -> Result<Option<PathBuf>, Fault> {
        if !self.offsets.remove(&offset) {
            return Ok(None);
        }
        let path = self.path(offset);
        let mut renamed = path.clone().into_os_string();
        renamed.push(Stage::Deleted.suffix());
        let renamed = PathBuf::from(renamed);
        self.disk.rename(&path, &renamed)?;
        Ok(Some(renamed))
    }

    fn path(&self, offset: Offset) -> PathBuf {
        segment_file(&self.directory, offset, FileKind::ProducerSnapshot)
    }
}

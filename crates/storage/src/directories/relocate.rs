//! A log moves from one directory of the node to another (KIP-113).
//!
//! Its copy grows in `<topic>-<partition>.<uuid>-future` (`log/copy`). Once it holds all and is
//! synced: the old directory is named `-delete`, then the copy gets the final name, each made to
//! last before the next. (Kafka does it the other way round, and after a crash in between does not
//! start, since the log is in two places.) What a crash leaves is put in order by `find`; see `fate`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::{Offset, TopicPartition, Uuid};

use super::fate::{Fate, Found as FateFound, fate};
use super::{Directories, Found, Grave, open_log};
use crate::checkpoint::Offsets;
use crate::directory::{Checkpoints, Directory};
use crate::error::Fault;
use crate::file_names::{delete_directory, future_directory, partition_directory};
use crate::log::{Log, OpenLog};
use crate::log_config::LogConfig;
use crate::partition_metadata;

/// A log and the copy that is to take its place, each with its directory.
pub struct Swap<'a> {
    pub current: &'a mut Log,
    pub source: &'a Arc<Directory>,
    pub future: Log,
    pub target: &'a Arc<Directory>,
}

/// A swap that did not take place.
pub struct NotSwapped {
    /// `None`: it is in nobody's hands any more, and the directory that failed has it.
    pub future: Option<Box<Log>>,
    /// Whose fault it is.
    pub failed: Arc<Directory>,
    pub fault: Fault,
}

impl Directories {
    /// Makes the copy of a log, with nothing in it.
    pub fn create_future(
        &self,
        directory: &Arc<Directory>,
        partition: &TopicPartition,
        topic_id: Uuid,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<Log, Fault> {
        let Some(name) = future_directory(partition, self.disk.unique()) else {
            let why = "the topic's name is too long for a copy".to_owned();
            let path = directory.path().join(partition_directory(partition));
            return Err(Fault::Foreign { path, why });
        };
        directory.forget(std::iter::once(partition))?;
        let path = directory.path().join(name);
        let none = Checkpoints::default();
        let how = self.how(
            path.clone(),
            partition.clone(),
            config,
            &none,
            false,
            now_ms,
        );
        let mut made = directory.create_together(&[(how, topic_id)]);
        match made.remove(0) {
            Ok(log) => {
                directory.count_logs(1);
                Ok(log)
            }
            Err(fault) => {
                // What cannot be removed either is known for what it is at the next start.
                let _ = self.disk.remove_tree(&path);
                Err(fault)
            }
        }
    }

    /// Opens a copy that was found at the start.
    pub fn open_future(&self, directory: &Arc<Directory>, mut how: OpenLog) -> Result<Log, Fault> {
        let mut log = open_log(directory, how.clone())?;
        if how.is_clean && how.recovery_point < log.end() {
            // The process before did not come to it, and has not closed it with the others.
            drop(log);
            how.is_clean = false;
            log = open_log(directory, how)?;
        }
        directory.count_logs(1);
        Ok(log)
    }

    /// Writes down what the target directory must know of a log that is about to be there. The copy is
    /// synced up to its recovery point; below `cleaned` its source was compacted when it was begun.
    pub fn prepare_swap(
        &self,
        target: &Directory,
        future: &Log,
        cleaned: Option<Offset>,
    ) -> Result<(), Fault> {
        let start = future.start_is_inside().then(|| future.start());
        let (point, high) = (future.recovery_point(), future.high_watermark());
        target.expect_log(future.partition(), point, start, high, cleaned)
    }

    /// A copy that was found, and is not wanted any more.
    pub fn delete_found(
        &self,
        directory: &Directory,
        how: &OpenLog,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let grave = directory
            .path()
            .join(delete_directory(&how.partition, self.disk.unique()));
        self.disk.rename(&how.directory, &grave)?;
        self.disk.sync_directory(directory.path())?;
        let due_ms = now_ms.saturating_add(how.config.file_delete_delay_ms);
        self.graves.lock().push(Grave {
            path: grave,
            due_ms,
        });
        Ok(())
    }

    /// The copy, which holds all and is synced, takes the place of the log. Under the lock of both. The
    /// caller then has the source directory forget the log: `forget_moved`.
    pub fn swap(&self, swap: Swap<'_>, now_ms: i64) -> Result<(), NotSwapped> {
        let Swap {
            current,
            source,
            mut future,
            target,
        } = swap;
        if let Err(fault) = future.settle(current) {
            return Err(NotSwapped {
                future: Some(Box::new(future)),
                failed: target.clone(),
                fault,
            });
        }
        let id = future.partition().clone();
        let names = Names {
            log: current.directory().to_owned(),
            grave: source
                .path()
                .join(delete_directory(&id, self.disk.unique())),
            copy: future.directory().to_owned(),
            home: target.path().join(partition_directory(&id)),
        };
        current.set_retired(true);
        if let Err((is_source, fault)) = self.rename_both(&names, source, target) {
            current.set_retired(false);
            let failed = if is_source { source } else { target };
            return Err(NotSwapped {
                future: Some(Box::new(future)),
                failed: failed.clone(),
                fault,
            });
        }
        if let Err(fault) = future.moved_to(names.home) {
            // The files are where they belong, and the next start finds them.
            return Err(NotSwapped {
                future: None,
                failed: target.clone(),
                fault,
            });
        }
        future.take_place_of(current);
        let old = std::mem::replace(current, future);
        let due_ms = now_ms.saturating_add(old.config().file_delete_delay_ms);
        drop(old.release());
        source.count_logs(-1);
        self.graves.lock().push(Grave {
            path: names.grave,
            due_ms,
        });
        Ok(())
    }

    /// Both renamings, or none. If it fails: whether it was the source's fault. Another directory fails
    /// here and now if it cannot be put back as it was.
    fn rename_both(
        &self,
        names: &Names,
        source: &Directory,
        target: &Directory,
    ) -> Result<(), (bool, Fault)> {
        let disk = &self.disk;
        // IMPORTANT: that must last, too. The source goes on and acknowledges, and with a power cut all
        // of it would be in a directory of a deleted log.
        let back = |from: &Path, to: &Path, directory: &Directory| {
            let taken_back = disk
                .rename(from, to)
                .and_then(|()| disk.sync_directory(directory.path()));
            if let Err(fault) = taken_back {
                tracing::error!("{fault}; a move that failed could not be taken back");
                self.fail(directory, &fault);
            }
        };
        disk.rename(&names.log, &names.grave)
            .map_err(|fault| (true, fault))?;
        if let Err(fault) = disk.sync_directory(source.path()) {
            back(&names.grave, &names.log, source);
            return Err((true, fault));
        }
        if let Err(fault) = disk.rename(&names.copy, &names.home) {
            back(&names.grave, &names.log, source);
            return Err((false, fault));
        }
        if let Err(fault) = disk.sync_directory(target.path()) {
            // First this one, since a log in two directories is refused at the next start.
            back(&names.home, &names.copy, target);
            back(&names.grave, &names.log, source);
            return Err((false, fault));
        }
        Ok(())
    }

    /// After a swap: nothing that is checkpointed of the log that was here may be taken for another.
    /// Where a full disk is in the way, lines of it stay: they go with the next checkpoint that is written,
    /// or at the latest before another log of that name is made here, and until then nobody asks.
    pub fn forget_moved(&self, source: &Directory, partition: &TopicPartition) {
        match source.forget(std::iter::once(partition)) {
            Ok(()) => {}
            Err(fault) if fault.is_passing() => {
                tracing::warn!("{fault}; what it says of {partition} is of no use any more");
            }
            Err(fault) => self.fail(source, &fault),
        }
    }

    /// A log that was not shut down in order may have lost what its copy still has, and not only at its
    /// end. IMPORTANT: that is written down before the log is opened and flushed, since the copy may be
    /// looked at much later, by another process even.
    fn doubt(&self, found: &Found, directory: &Directory, copy: &mut OpenLog) -> Result<(), Fault> {
        let mut logs = found.waiting.iter().map(|(_, log)| log);
        let Some(log) = logs.find(|log| log.partition == copy.partition && !log.is_clean) else {
            return Ok(());
        };
        copy.is_clean = false;
        let sure = if log.is_point_ours {
            log.recovery_point
        } else {
            0
        };
        if sure < copy.recovery_point {
            directory.lower_recovery_points(&Offsets::from([(copy.partition.clone(), sure)]))?;
            copy.recovery_point = sure;
        }
        Ok(())
    }

    /// Decides what becomes of the copies that were found.
    pub(super) fn judge_futures(
        &self,
        found: &mut Found,
        futures: Vec<(Arc<Directory>, OpenLog)>,
        is_assigned: &dyn Fn(&TopicPartition, Uuid) -> bool,
    ) -> Result<(), Fault> {
        let all_online = self.online().count() == self.directories.len();
        let has_log = |found: &Found, id: &TopicPartition| found.logs().any(|(log, _)| log == id);
        let mut kept: Vec<(Arc<Directory>, OpenLog)> = Vec::new();
        for (directory, how) in futures {
            // One that a crash or a full disk did not let be made, or the second one after that.
            let is_unfinished = partition_metadata::read(&self.disk, &how.directory)
                .is_ok_and(|topic_id| topic_id.is_none());
            let is_surplus = has_log(found, &how.partition)
                && kept
                    .iter()
                    .any(|(_, other)| other.partition == how.partition);
            if !is_unfinished && !is_surplus {
                kept.push((directory, how));
                continue;
            }
            tracing::info!(copy = %how.directory.display(), "a copy that nobody needs is deleted");
            if let Err(fault) = self.delete_found(&directory, &how, how.now_ms) {
                self.fail(&directory, &fault);
            }
        }
        super::check_unique(&kept)?;
        for (directory, mut how) in kept {
            let facts = FateFound {
                has_log: has_log(found, &how.partition),
                is_assigned: is_assigned(&how.partition, directory.id()),
                all_online,
            };
            let path = how.directory.display().to_string();
            match fate(facts) {
                Fate::Continues => match self.doubt(found, &directory, &mut how) {
                    Ok(()) => found.futures.push((directory, how)),
                    Err(fault) => self.fail(&directory, &fault),
                },
                Fate::Waits => {
                    tracing::warn!(
                        "{path}: an unfinished move of {}, whose log is in no directory that is online",
                        how.partition
                    );
                }
                Fate::TakesOver => {
                    tracing::info!(partition = %how.partition, from = path, "a move is finished that was cut short");
                    let home = directory.path().join(partition_directory(&how.partition));
                    let named = self
                        .disk
                        .rename(&how.directory, &home)
                        .and_then(|()| self.disk.sync_directory(directory.path()));
                    match named {
                        Ok(()) => {
                            how.directory = home;
                            found.waiting.push((directory, how));
                        }
                        Err(fault) => self.fail(&directory, &fault),
                    }
                }
            }
        }
        Ok(())
    }
}

/// The directories of a swap, before and after.
struct Names {
    log: PathBuf,
    grave: PathBuf,
    copy: PathBuf,
    home: PathBuf,
}

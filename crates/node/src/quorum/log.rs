//! `__cluster_metadata-0` as the quorum sees it: one thread owns its files, so that neither
//! runtime ever waits for this disk.

use std::path::PathBuf;
use std::thread::JoinHandle;

use bytes::Bytes;
use ottla_protocol::batch::batches;
use ottla_protocol::{LeaderEpoch, Offset};
use ottla_raft::snapshot::{SnapshotContent, SnapshotId};
use ottla_storage::{
    Directories, Disk, Fault, Isolation, Log, LogConfig, MetadataSnapshots, ReadFrom,
};
use tokio::sync::{mpsc, oneshot};

use crate::partitions::read_slice;

pub(crate) const TOPIC: &str = "__cluster_metadata";
const QUORUM_STATE: &str = "quorum-state";
/// Bytes read at a time while the log is read at start.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// Work waiting for the thread: the controller awaits each piece, so there is hardly more than one.
const QUEUE_MAX: usize = 16;

/// The files, before the thread takes them.
pub(crate) struct MetadataLog {
    disk: Disk,
    directory: PathBuf,
    log: Log,
    snapshots: MetadataSnapshots,
}

impl MetadataLog {
    /// Opens the log, or makes an empty one. It is never taken for clean: every start checks it
    /// from the beginning.
    pub(crate) fn open(
        directories: &Directories,
        disk: Disk,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<Self, Fault> {
        let mut log = directories.open_metadata_log(config, now_ms)?;
        let path = log.directory().to_owned();
        let snapshots = MetadataSnapshots::open(disk.clone(), path.clone())?;
        if let Some(newest) = snapshots.latest()
            && newest.end_offset > log.end()
        {
            // The log lost what the snapshot contains: it goes on behind it.
            log.start_anew(newest.end_offset, now_ms)?;
            log.assign_epoch(newest.epoch, newest.end_offset)?;
        }
        if log.start() > 0
            && snapshots
                .latest()
                .is_none_or(|newest| newest.end_offset < log.start())
        {
            return Err(Fault::corrupt(
                &path,
                format!(
                    "the log starts at {} and no snapshot covers what came before",
                    log.start()
                ),
            ));
        }
        Ok(Self {
            disk,
            directory: path,
            log,
            snapshots,
        })
    }

    /// The text of `quorum-state`, if there is one.
    pub(crate) fn saved_election(&self) -> Result<Option<String>, Fault> {
        let bytes = self
            .disk
            .read_if_exists(&self.directory.join(QUORUM_STATE))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The newest snapshot.
    pub(crate) fn newest_snapshot(&self) -> Result<Option<(SnapshotId, SnapshotContent)>, Fault> {
        let Some(id) = self.snapshots.latest() else {
            return Ok(None);
        };
        let bytes = self.snapshots.read(id)?;
        let content = SnapshotContent::read(&bytes).map_err(|why| {
            Fault::corrupt(
                &self.directory,
                format!(
                    "snapshot {:020}-{:010}: {}",
                    id.end_offset, id.epoch, why.why
                ),
            )
        })?;
        Ok(Some((
            SnapshotId {
                end_offset: id.end_offset,
                epoch: id.epoch,
            },
            content,
        )))
    }

    /// Every batch of the log, in order.
    pub(crate) fn read_all(
        &self,
        mut visit: impl FnMut(ottla_protocol::batch::Batch<'_>) -> Result<(), String>,
    ) -> Result<(), Fault> {
        let corrupt = |why| Fault::corrupt(&self.directory, why);
        let view = self.log.view();
        let mut offset = view.start();
        while offset < view.end() {
            let from = ReadFrom {
                offset,
                isolation: Isolation::LogEnd,
                max_bytes: READ_BYTES,
                at_least_one: true,
                with_aborted: false,
            };
            let fetched = view.read(from).map_err(|why| corrupt(why.to_string()))?;
            let Some(slice) = fetched.slice else { break };
            let bytes = read_slice(&slice).map_err(|why| corrupt(why.to_string()))?;
            let before = offset;
            for batch in batches(&bytes) {
                let batch = batch.map_err(|why| corrupt(why.to_string()))?;
                visit(batch).map_err(corrupt)?;
                offset = batch.header().next_offset();
            }
            if offset == before {
                return Err(corrupt(format!("no batch follows offset {offset}")));
            }
        }
        Ok(())
    }

    /// Gives the files to a thread of their own.
    pub(crate) fn spawn(self) -> std::io::Result<(LogHandle, JoinHandle<()>)> {
        let (work, incoming) = mpsc::channel(QUEUE_MAX);
        let thread = std::thread::Builder::new()
            .name("metadata-log".to_owned())
            .spawn(move || self.run(incoming))?;
        Ok((LogHandle { work }, thread))
    }

    fn run(mut self, mut incoming: mpsc::Receiver<Work>) {
        while let Some(work) = incoming.blocking_recv() {
            match work {
                Work::SaveElection(text, done) => {
                    let path = self.directory.join(QUORUM_STATE);
                    let _ = done.send(self.disk.replace(&path, text.as_bytes()));
                }
                Work::Append {
                    batches,
                    epoch,
                    now_ms,
                    done,
                } => {
                    let _ = done.send(self.append(&batches, epoch, now_ms));
                }
                Work::Snapshot { id, batches, done } => {
                    let _ = done.send(self.write_snapshot(id, &batches));
                }
                Work::Retain {
                    max_bytes,
                    max_age_ms,
                    now_ms,
                } => {
                    if let Err(fault) = self.retain(max_bytes, max_age_ms, now_ms) {
                        tracing::warn!(%fault, "old metadata snapshots cannot be deleted");
                    }
                }
            }
        }
        if let Err(fault) = self.log.close() {
            tracing::error!(%fault, "the metadata log could not be closed");
        }
    }

    fn append(&mut self, batches: &[Bytes], epoch: LeaderEpoch, now_ms: i64) -> Result<(), Fault> {
        for batch in batches {
            if is_written(batch, self.log.end()) {
                continue;
            }
            self.log
                .append_as_quorum_leader(batch, epoch, now_ms)
                .map_err(|why| match why {
                    ottla_storage::NotDone::Fault(fault) => fault,
                    ottla_storage::NotDone::Refused(refused) => Fault::corrupt(
                        &self.directory,
                        format!("a batch of our own was refused: {refused:?}"),
                    ),
                })?;
        }
        self.log.flush()?;
        let end = self.log.end();
        self.log.set_high_watermark(end);
        Ok(())
    }

    fn write_snapshot(&mut self, id: SnapshotId, batches: &[Bytes]) -> Result<(), Fault> {
        let id = ottla_storage::SnapshotId {
            end_offset: id.end_offset,
            epoch: id.epoch,
        };
        self.snapshots.write(id, batches)
    }

    /// Deletes the oldest snapshots, and the log below the oldest that stays.
    fn retain(&mut self, max_bytes: i64, max_age_ms: i64, now_ms: i64) -> Result<(), Fault> {
        use ottla_raft::snapshot::{Limits, StoredSnapshot, retain};
        let mut stored = Vec::new();
        let ids: Vec<_> = self.snapshots.ids().collect();
        for id in &ids {
            let bytes = self.snapshots.read(*id)?;
            let timestamp = SnapshotContent::read(&bytes)
                .map_or(now_ms, |content| content.last_contained_timestamp);
            stored.push(StoredSnapshot {
                id: SnapshotId {
                    end_offset: id.end_offset,
                    epoch: id.epoch,
                },
                bytes: bytes.len() as u64,
                last_contained_timestamp: timestamp,
            });
        }
        let limits = Limits {
            max_bytes: u64::try_from(max_bytes).ok(),
            max_age_ms: Some(max_age_ms).filter(|age| *age >= 0),
        };
        let kept = retain(&stored, self.log.view().size(), limits, now_ms);
        for id in kept.delete {
            let id = ottla_storage::SnapshotId {
                end_offset: id.end_offset,
                epoch: id.epoch,
            };
            self.snapshots.delete(id, now_ms)?;
        }
        if let Some(start) = kept.log_start
            && start > self.log.start()
        {
            self.log
                .raise_start(start)
                .map_err(|why| Fault::corrupt(&self.directory, why.to_string()))?;
            self.log.retain(now_ms)?;
        }
        self.log.unlink_due(now_ms)?;
        self.snapshots.unlink_due(now_ms)
    }
}

/// Whether an earlier attempt that was cut short got as far as this batch.
fn is_written(batch: &[u8], end: Offset) -> bool {
    matches!(ottla_protocol::batch::peek(batch), Some(Ok(prefix)) if prefix.offset < end)
}

enum Work {
    SaveElection(String, oneshot::Sender<Result<(), Fault>>),
    Append {
        batches: Vec<Bytes>,
        epoch: LeaderEpoch,
        now_ms: i64,
        done: oneshot::Sender<Result<(), Fault>>,
    },
    Snapshot {
        id: SnapshotId,
        batches: Vec<Bytes>,
        done: oneshot::Sender<Result<(), Fault>>,
    },
    Retain {
        max_bytes: i64,
        max_age_ms: i64,
        now_ms: i64,
    },
}

/// The way to the thread. It ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct LogHandle {
    work: mpsc::Sender<Work>,
}

/// The thread is gone: it panicked, or the node is at its end.
fn gone<T>(_: T) -> Fault {
    Fault::Poisoned {
        path: PathBuf::from(TOPIC),
        why: "the metadata log's thread has ended".into(),
    }
}

impl LogHandle {
    /// Replaces `quorum-state`; durable on return.
    pub(crate) async fn save_election(&self, text: String) -> Result<(), Fault> {
        let (done, saved) = oneshot::channel();
        self.work
            .send(Work::SaveElection(text, done))
            .await
            .map_err(gone)?;
        saved.await.map_err(gone)?
    }

    /// Appends batches that have their offsets, and flushes once behind them.
    pub(crate) async fn append(
        &self,
        batches: Vec<Bytes>,
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let (done, appended) = oneshot::channel();
        self.work
            .send(Work::Append {
                batches,
                epoch,
                now_ms,
                done,
            })
            .await
            .map_err(gone)?;
        appended.await.map_err(gone)?
    }

    /// Writes a snapshot; the answer comes when it is durable.
    pub(crate) async fn snapshot(&self, id: SnapshotId, batches: Vec<Bytes>) -> Result<(), Fault> {
        let (done, written) = oneshot::channel();
        self.work
            .send(Work::Snapshot { id, batches, done })
            .await
            .map_err(gone)?;
        written.await.map_err(gone)?
    }

    pub(crate) async fn retain(&self, max_bytes: i64, max_age_ms: i64, now_ms: i64) {
        let _ = self
            .work
            .send(Work::Retain {
                max_bytes,
                max_age_ms,
                now_ms,
            })
            .await;
    }
}

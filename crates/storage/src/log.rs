//! One partition's log: append, roll, truncate, close.
//!
//! Keeps `start ≤ last stable ≤ high watermark ≤ end`. The lock around it is the caller's; what may
//! block for long is not done under it (see `flush`). Time comes in as an argument.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::epochs::EpochCache;
use ottla_protocol::{LeaderEpoch, Offset, TopicPartition, Uuid};

use crate::disk::Disk;
use crate::error::{Fault, NotDone};
use crate::events::{DeletedFor, LogEvents};
use crate::flush::FlushTarget;
use crate::log_config::LogConfig;
use crate::log_view::{LogReader, LogView};
use crate::producer::{Appender, Producers, TransactionVersion};
use crate::validate::Checked;

/// How to open a log.
#[derive(Clone)]
pub struct OpenLog {
    pub disk: Disk,
    /// The partition's own directory.
    pub directory: PathBuf,
    pub partition: TopicPartition,
    pub config: LogConfig,
    /// From `recovery-point-offset-checkpoint`; 0 if it has no line for this log.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`; 0 if it has no line.
    pub start: Offset,
    /// From `replication-offset-checkpoint`; 0 if it has no line.
    pub high_watermark: Offset,
    /// The directory was shut down in order. The metadata log is never opened as clean.
    pub is_clean: bool,
    pub now_ms: i64,
    pub events: Arc<dyn LogEvents>,
}

/// What an append did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendOutcome {
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// The time that the log gave the records, or -1 where the producer's stays.
    pub append_time_ms: i64,
    pub log_start: Offset,
    /// The producer had sent this batch before: nothing was written, these are its old offsets.
    pub is_duplicate: bool,
    pub n_bytes: usize,
    pub has_rolled: bool,
    /// `flush.messages` is reached.
    pub flush_is_due: bool,
}

/// In whose name a leader appends.
#[derive(Debug, Clone, Copy)]
pub struct LeaderAppend {
    pub leader_epoch: LeaderEpoch,
    pub appender: Appender,
    /// Of the coordinator whose marker this is; of no meaning for other batches.
    pub transaction_version: TransactionVersion,
    pub now_ms: i64,
}

/// A log that was closed: what the checkpoints of its directory must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    pub start: Offset,
    pub high_watermark: Offset,
    pub end: Offset,
    /// Whether `start` needs a line in the checkpoint: only if it is not a segment's base.
    pub start_is_inside: bool,
}

/// See the head of this file.
pub struct Log {}

impl Log {
    /// A new, empty log: its directory, `partition.metadata` (not for the metadata log), a segment.
    pub fn create(_how: OpenLog, _topic_id: Option<Uuid>) -> Result<Self, Fault> {
        todo!()
    }

    /// Opens what is there and puts it in order. See `recover`.
    pub fn open(_how: OpenLog) -> Result<Self, Fault> {
        todo!()
    }

    pub fn partition(&self) -> &TopicPartition {
        todo!()
    }

    pub fn directory(&self) -> &Path {
        todo!()
    }

    /// As `partition.metadata` has it.
    pub fn topic_id(&self) -> Option<Uuid> {
        todo!()
    }

    pub fn config(&self) -> &LogConfig {
        todo!()
    }

    pub fn set_config(&mut self, _config: LogConfig) {
        todo!()
    }

    /// A handle for readers, which need no lock.
    pub fn reader(&self) -> LogReader {
        todo!()
    }

    pub fn view(&self) -> LogView {
        todo!()
    }

    pub fn start(&self) -> Offset {
        todo!()
    }

    pub fn high_watermark(&self) -> Offset {
        todo!()
    }

    pub fn last_stable(&self) -> Offset {
        todo!()
    }

    pub fn end(&self) -> Offset {
        todo!()
    }

    /// Everything below survives a power cut; also the recovery point.
    pub fn flushed(&self) -> Offset {
        todo!()
    }

    pub fn epochs(&self) -> &EpochCache {
        todo!()
    }

    /// What is remembered of those who wrote here: for DescribeProducers.
    pub fn producers(&self) -> &Producers {
        todo!()
    }

    /// Appends the batch that `validate::check` has passed, giving it offsets, time and epoch.
    ///
    /// `bytes` is what was checked and stays as it is: the header is stamped in a copy of its own.
    pub fn append_as_leader(
        &mut self,
        _bytes: &[u8],
        _checked: &Checked,
        _append: LeaderAppend,
    ) -> Result<AppendOutcome, NotDone> {
        todo!()
    }

    /// Appends what the leader sent, as it is. Batches of a later epoch than `leader_epoch` and
    /// all behind them are left out; `None`: nothing was to be appended.
    pub fn append_as_follower(
        &mut self,
        _bytes: &[u8],
        _leader_epoch: LeaderEpoch,
        _now_ms: i64,
    ) -> Result<Option<AppendOutcome>, NotDone> {
        todo!()
    }

    /// Appends what the quorum's leader made: batches that already have offsets and epoch.
    pub fn append_as_quorum_leader(
        &mut self,
        _bytes: &[u8],
        _epoch: LeaderEpoch,
        _now_ms: i64,
    ) -> Result<AppendOutcome, NotDone> {
        todo!()
    }

    /// This node leads from here on. To be called even if nothing is ever written in that epoch.
    pub fn assign_epoch(&mut self, _epoch: LeaderEpoch, _start: Offset) -> Result<(), Fault> {
        todo!()
    }

    /// Moves the high watermark, kept within start and end; returns where it is now.
    pub fn set_high_watermark(&mut self, _offset: Offset) -> Offset {
        todo!()
    }

    /// DeleteRecords, and followers that hear of it: refused above the high watermark. Returns
    /// whether the start moved.
    pub fn raise_start(&mut self, _to: Offset) -> Result<bool, NotDone> {
        todo!()
    }

    /// Drops everything at or above `to`. Returns whether there was something.
    pub fn truncate(&mut self, _to: Offset, _now_ms: i64) -> Result<bool, Fault> {
        todo!()
    }

    /// Drops everything and starts anew at `start`.
    pub fn start_anew(&mut self, _start: Offset, _now_ms: i64) -> Result<(), Fault> {
        todo!()
    }

    /// Rolls even though nothing asks for it.
    pub fn roll(&mut self, _now_ms: i64) -> Result<(), Fault> {
        todo!()
    }

    /// Retention by time, size and start. Returns what went, and why.
    pub fn retain(&mut self, _now_ms: i64) -> Result<Vec<(DeletedFor, usize)>, Fault> {
        todo!()
    }

    /// Unlinks retired files whose delay (`file.delete.delay.ms`) is over.
    pub fn unlink_due(&mut self, _now_ms: i64) -> Result<(), Fault> {
        todo!()
    }

    /// Forgets producers that were silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, _now_ms: i64) {
        todo!()
    }

    /// What to sync so that all of the log is durable; `None`: nothing. See `flush`.
    pub fn flush_plan(&mut self) -> Result<Option<FlushTarget>, Fault> {
        todo!()
    }

    /// `target` was synced. Returns the flushed end.
    pub fn flushed_to(&mut self, _target: &FlushTarget) -> Offset {
        todo!()
    }

    /// `flush.messages` or `flush.ms` ask for a flush.
    pub fn flush_is_due(&self, _now_ms: i64) -> bool {
        todo!()
    }

    /// Plan, sync and note, in one: for who may block.
    pub fn flush(&mut self) -> Result<(), Fault> {
        todo!()
    }

    /// No more writes: what is on the disk is uncertain.
    pub fn poison(&mut self, _why: &Fault) {
        todo!()
    }

    /// Flushes, takes the producer snapshot, leaves everything as a clean shutdown should.
    pub fn close(self) -> Result<Closed, Fault> {
        todo!()
    }
}

//! A shadow of the log: what a voter must know of it to take part, without reading it.

use ottla_protocol::{LeaderEpoch, Offset};

use crate::snapshot::SnapshotId;

/// Invariant: `flushed ≤ end`, and `last_epoch` is 0 only while nothing was ever written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTail {
    end: Offset,
    flushed: Offset,
    last_epoch: LeaderEpoch,
    last_timestamp: i64,
}

impl LogTail {
    /// A log that continues a snapshot.
    pub fn after_snapshot(id: SnapshotId, last_timestamp: i64) -> Self {
        Self {
            end: id.end_offset,
            flushed: id.end_offset,
            last_epoch: id.epoch,
            last_timestamp,
        }
    }

    /// A batch of `epoch` that ends at `end` was found or written.
    pub fn extend(&mut self, end: Offset, epoch: LeaderEpoch, max_timestamp: i64) {
        self.end = self.end.max(end);
        self.last_epoch = self.last_epoch.max(epoch);
        self.last_timestamp = max_timestamp;
    }

    pub fn flush(&mut self, end: Offset) {
        self.flushed = self.flushed.max(end.min(self.end));
    }

    pub fn end(&self) -> Offset {
        self.end
    }

    pub fn flushed(&self) -> Offset {
        self.flushed
    }

    pub fn last_epoch(&self) -> LeaderEpoch {
        self.last_epoch
    }

    pub fn last_timestamp(&self) -> i64 {
        self.last_timestamp
    }
}

//! The rules of a partition's leader: may this append happen, and how far have all copies come.
//!
//! With one replica the only copy is our own log; what followers have fetched joins the minimum
//! in `counted_ends` and nothing else changes.

use ottla_protocol::{LeaderEpoch, NodeId, Offset, Refusal};

use crate::command::Command;
use crate::in_sync::InSync;
use crate::watermark::{self, Durability};

/// What the metadata log says about the partition that we lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    pub replicas: Vec<NodeId>,
    pub in_sync: Vec<NodeId>,
    /// The topic's `min.insync.replicas`.
    pub min_in_sync: i32,
}

/// Where our own log stands when we become leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnds {
    pub end: Offset,
    /// Everything below it survives a power cut.
    pub durable_end: Offset,
    /// From the checkpoint file, or from the time as a follower.
    pub high_watermark: Offset,
    /// The first offset of the oldest open transaction.
    pub first_unstable: Option<Offset>,
}

/// What can be said to a producer that waits with acks=all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// Not all copies have it yet: wait for the high watermark.
    Wait,
    Done,
    /// It is written, but the in-sync set has become too small meanwhile
    /// (NOT_ENOUGH_REPLICAS_AFTER_APPEND).
    TooFew,
}

impl Acknowledgement {
    /// For a producer that wrote up to `required` (exclusive), as the leader and its in-sync set are.
    pub fn of(required: Offset, high_watermark: Offset, is_enough: bool) -> Self {
        if high_watermark < required {
            Self::Wait
        } else if is_enough {
            Self::Done
        } else {
            Self::TooFew
        }
    }
}

/// What an assignment did to the in-sync set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InSyncChange {
    pub has_shrunk: bool,
    pub has_grown: bool,
}

/// The leader of one partition for one leader epoch.
///
/// Invariant: `high_watermark ≤ counted end ≤ end`, `durable_end ≤ end`.
#[derive(Debug, Clone)]
pub struct Leader {
    leader_epoch: LeaderEpoch,
    partition_epoch: i32,
    epoch_start: Offset,
    durability: Durability,
    in_sync: InSync,
    end: Offset,
    durable_end: Offset,
    high_watermark: Offset,
    first_unstable: Option<Offset>,
    epoch_unassigned: bool,
    watermark_unpublished: bool,
}

impl Leader {
    /// Take the chair. The first commands are the epoch's start and the watermark we begin with.
    pub fn new(assignment: Assignment, log: LogEnds, durability: Durability) -> Self {
        let mut leader = Self {
            leader_epoch: assignment.leader_epoch,
            partition_epoch: assignment.partition_epoch,
            epoch_start: log.end,
            durability,
            in_sync: in_sync_of(&assignment),
            end: log.end,
            durable_end: log.durable_end.min(log.end),
            // A checkpoint may be newer than a log that lost its tail.
            high_watermark: log.high_watermark.min(log.end),
            first_unstable: log.first_unstable,
            epoch_unassigned: true,
            watermark_unpublished: true,
        };
        if durability == Durability::Flushed {
            leader.high_watermark = leader.high_watermark.min(leader.durable_end);
        }
        leader.advance();
        leader
    }

    /// May a batch with `acks` be appended? Asked before anything is written.
    pub fn may_append(&self, acks: i16) -> Result<(), Refusal> {
        match acks {
            0 | 1 => Ok(()),
            -1 if self.in_sync.is_enough() => Ok(()),
            -1 => Err(Refusal::NotEnoughReplicas),
            _ => Err(Refusal::InvalidRequiredAcks),
        }
    }

    /// The log now ends at `end` (written, not necessarily flushed).
    pub fn handle_appended(&mut self, end: Offset) {
        self.end = self.end.max(end);
        if self.durability == Durability::Written {
            self.advance();
        }
    }

    /// Everything below `durable_end` has been flushed.
    pub fn handle_flushed(&mut self, durable_end: Offset) {
        self.durable_end = self.durable_end.max(durable_end.min(self.end));
        if self.durability == Durability::Flushed {
            self.advance();
        }
    }

    /// The oldest open transaction changed.
    pub fn handle_first_unstable(&mut self, first_unstable: Option<Offset>) {
        self.first_unstable = first_unstable;
    }

    /// News from the metadata log in the same leader epoch. An older partition epoch is ignored,
    /// an equal one is fine: a record may arrive before or after the answer that announced it.
    pub fn handle_assignment(&mut self, assignment: Assignment) -> InSyncChange {
        if assignment.leader_epoch != self.leader_epoch
            || assignment.partition_epoch < self.partition_epoch
        {
            return InSyncChange::default();
        }
        self.partition_epoch = assignment.partition_epoch;
        let before = std::mem::replace(&mut self.in_sync, in_sync_of(&assignment));
        self.advance();
        InSyncChange {
            has_shrunk: before.has_other_than(&self.in_sync),
            has_grown: self.in_sync.has_other_than(&before),
        }
    }

    /// `min.insync.replicas` of the topic changed.
    pub fn handle_min_in_sync(&mut self, min_in_sync: i32) {
        self.in_sync.require(min_in_sync);
        self.advance();
    }

    /// The next thing for the host to do.
    pub fn next_command(&mut self) -> Option<Command> {
        if std::mem::take(&mut self.epoch_unassigned) {
            return Some(Command::AssignEpoch {
                epoch: self.leader_epoch,
                start: self.epoch_start,
            });
        }
        if std::mem::take(&mut self.watermark_unpublished) {
            return Some(Command::HighWatermark(self.high_watermark));
        }
        None
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    /// Where this leader epoch began in the log.
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    pub fn in_sync(&self) -> &InSync {
        &self.in_sync
    }

    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    pub fn last_stable(&self) -> Offset {
        watermark::last_stable(self.high_watermark, self.first_unstable)
    }

    /// Panics if an invariant is broken.
    pub fn validate(&self) {
        assert!(
            self.durable_end <= self.end,
            "{} ≤ {}",
            self.durable_end,
            self.end
        );
        assert!(
            self.high_watermark <= self.counted_end(),
            "{} ≤ {}",
            self.high_watermark,
            self.counted_end()
        );
    }

    fn counted_end(&self) -> Offset {
        match self.durability {
            Durability::Flushed => self.durable_end,
            Durability::Written => self.end,
        }
    }

    fn advance(&mut self) {
        let next = watermark::high_watermark(
            self.high_watermark,
            self.counted_ends(),
            self.in_sync.is_enough(),
        );
        if next != self.high_watermark {
            self.high_watermark = next;
            self.watermark_unpublished = true;
        }
    }

    /// The end of every copy that must have a record before it counts. Of an in-sync follower
    /// that has not fetched yet nothing is known, so it holds the watermark where it is.
    fn counted_ends(&self) -> impl Iterator<Item = Offset> + use<> {
        let n_followers = self.in_sync.committed().len().saturating_sub(1);
        std::iter::once(self.counted_end()).chain(std::iter::repeat_n(0, n_followers))
    }
}

fn in_sync_of(assignment: &Assignment) -> InSync {
    InSync::new(
        assignment.in_sync.clone(),
        assignment.replicas.len(),
        assignment.min_in_sync,
    )
}

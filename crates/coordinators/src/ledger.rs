//! What every ledger says and is told: decisions, tickets, deadlines, and the two clocks.
//!
//! A decision is a value. Nothing in it has happened yet, except to soft state (who waits, which
//! timer runs), which no record describes.

use std::time::Duration;

use ottla_protocol::{Offset, ProducerEpoch, ProducerId};

/// Both clocks: timers run on the one, records store the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since any fixed moment of this process; never goes back.
    pub monotonic: Duration,
    /// Milliseconds since 1970; what goes into records.
    pub wall_ms: i64,
}

/// A reply that is owed. The host keeps the way back to the caller under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Call the ledger's `handle_timeout` at this moment of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Duration);

/// What must be committed before a reply may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The answer rests on soft state or on the request alone. Heartbeats are here: a log that
    /// stalls must cost no member its session.
    AtOnce,
    /// The answer rests on records that were appended before; this is the offset of the last one.
    AfterOffset(Offset),
    /// The answer rests on the records of its own decision.
    AfterAppend,
}

/// The verdict's answer to the one who asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer<Reply> {
    /// This reply, when it may leave.
    Now(Reply, When),
    /// The caller waits. A later decision frees the ticket (this one may, too).
    Later(Ticket),
    /// Nobody asked: a timer fired, or a partition was loaded.
    Nobody,
}

/// A reply that a decision sets free for someone who waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Freed<Reply> {
    /// Who waits.
    pub ticket: Ticket,
    /// What they are told.
    pub reply: Reply,
    /// What must be committed first.
    pub when: When,
}

/// Whose records these are, in a log that also carries transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An ordinary batch.
    Plain,
    /// A batch inside a transaction: it counts once that producer's commit marker is there.
    Transactional {
        /// The producer whose marker decides.
        producer: ProducerId,
        /// Its epoch.
        epoch: ProducerEpoch,
    },
    /// A control batch that ends the producer's transaction here.
    Marker {
        /// The producer whose records it decides.
        producer: ProducerId,
        /// Commit, or else abort.
        committed: bool,
    },
}

/// Records that are appended all or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<Record> {
    /// In this order.
    pub records: Vec<Record>,
    /// Written as what.
    pub origin: Origin,
}

/// What should be done about a request or a timer.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a decision does nothing by itself: append its batches, replay them, send its replies"]
pub struct Decision<Record, Reply> {
    /// To append, then to replay; each all or nothing.
    pub batches: Vec<Batch<Record>>,
    /// To the caller.
    pub reply: Answer<Reply>,
    /// To others who waited (or to the caller itself, under the ticket in `reply`).
    pub released: Vec<Freed<Reply>>,
    /// The ledger's earliest deadline from now on; it replaces the former. `None`: nothing runs.
    /// Replaying the batches may stop a timer, so the ledger may be woken for nothing.
    pub deadline: Option<Deadline>,
}

impl<Record, Reply> Decision<Record, Reply> {
    /// The records of all batches, in order.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.batches.iter().flat_map(|batch| &batch.records)
    }

    /// Whether nothing is to be appended.
    pub fn writes_nothing(&self) -> bool {
        self.batches.iter().all(|batch| batch.records.is_empty())
    }
}

/// An answer that changes nothing, and what must be committed before it may leave.
#[derive(Debug, Clone, PartialEq)]
pub struct Read<Reply> {
    /// The answer.
    pub reply: Reply,
    /// Not `AfterAppend`.
    pub when: When,
}

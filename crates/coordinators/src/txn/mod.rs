//! All transactions of one `__transaction_state` partition.
//!
//! Durable state (`saved`) changes in `replay` only. Which markers are still owed and which timers
//! run is soft state: a load builds it anew from what is durable.
//!
//! # What a host does besides carrying out decisions
//!
//! * It keeps a fresh producer id at hand and lends it to each call that takes `fresh`. What is
//!   taken is used up; an empty hand is answered with `COORDINATOR_LOAD_IN_PROGRESS` where an id is
//!   needed (a new transactional id, an epoch that has run out), and nowhere else.
//! * After a load and after every [`TxnLedger::committed`] it asks [`TxnLedger::next_markers`] until
//!   there are none, and carries each demand to the leaders of its partitions. It repeats what fails
//!   and says so by [`TxnLedger::handle_markers_done`]; `Complete` comes out of that.
//! * `level` is the finalized level of `transaction.version` at the moment of the call.

mod settings;
mod states;
mod transaction;
mod partitions;
pub mod records;
mod reply;
mod markers;
mod begin;
mod add;
mod end;
mod expire;
mod describe;
mod log;
mod counts;
#[cfg(test)]
mod tests;

pub use add::{add_partitions_response, add_partitions_result, single_transaction};
pub use begin::init_idempotent;
pub use counts::{Counts, Sizes};
pub use describe::TransactionFilter;
pub use markers::Markers;
pub use partitions::Partitions;
pub use records::{TxnRecord, Unknown};
pub use reply::{OtherReply, TxnReply};
pub use settings::{TransactionVersion, TxnSettings};
pub use states::TransactionState;
pub use transaction::Transaction;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::{Offset, Refusal};

use crate::ledger::{Answer, Batch, Deadline, Decision, Now, Origin, When};
use crate::uncommitted::Uncommitted;
use expire::Timers;
use markers::Owed;

/// What the transaction ledger decides.
pub type TxnDecision = Decision<TxnRecord, TxnReply>;

/// All transactions of one `__transaction_state` partition.
///
/// * an id is in `owed` if and only if it is prepared
/// * `unsent` holds those of them whose demand has not been handed out, by their Prepare
/// * `open` holds the ongoing ones that have a deadline, by deadline
/// * `overdue` holds ids to be aborted one by one, as a look at `open` found them
///
/// How many ids there are is bounded by `transactional.id.expiration.ms` alone, and how many
/// partitions a transaction has by what exists and by the topic's `max.message.bytes`, as in Kafka.
#[derive(Debug)]
pub struct TxnLedger {
    settings: TxnSettings,
    coordinator_epoch: i32,
    // Durable: what the records say.
    saved: BTreeMap<Arc<str>, Transaction>,
    // Soft: what follows from it.
    owed: BTreeMap<Arc<str>, Owed>,
    unsent: BTreeMap<Offset, Arc<str>>,
    committed_end: Offset,
    open: BTreeSet<(i64, Arc<str>)>,
    overdue: VecDeque<Arc<str>>,
    timers: Timers,
    uncommitted: Uncommitted,
    is_loading: bool,
    /// The first of those that `counts` says were skipped.
    skipped: Option<(Offset, Unknown)>,
    counts: Counts,
}

impl TxnLedger {
    /// Empty. `load` its records next, then say `loaded`. Markers will carry `coordinator_epoch`,
    /// the leader epoch of the partition.
    pub fn new(settings: TxnSettings, coordinator_epoch: i32) -> Self {
        Self {
            settings,
            coordinator_epoch,
            saved: BTreeMap::new(),
            owed: BTreeMap::new(),
            unsent: BTreeMap::new(),
            committed_end: 0,
            open: BTreeSet::new(),
            overdue: VecDeque::new(),
            timers: Timers::default(),
            uncommitted: Uncommitted::default(),
            is_loading: true,
            skipped: None,
            counts: Counts::default(),
        }
    }

    /// Settings changed while running. Transactions keep the time-outs they have.
    pub fn change_settings(&mut self, settings: TxnSettings) {
        self.settings = settings;
    }

    /// When `handle_timeout` is due.
    pub fn next_timeout(&self) -> Option<Deadline> {
        if self.overdue.is_empty() {
            self.timers.next()
        } else {
            Some(Deadline(Duration::ZERO))
        }
    }

    /// What must be committed before a reply may leave that rests on this id's records.
    fn seen(&self, transactional_id: &str) -> When {
        self.uncommitted.when(transactional_id)
    }

    /// As `seen`, for a refusal. That something is under way may be said at once.
    fn when_refused(&self, transactional_id: &str, refusal: Refusal) -> When {
        match refusal {
            Refusal::ConcurrentTransactions => When::AtOnce,
            _ => self.seen(transactional_id),
        }
    }

    /// The transaction that a request of a producer is about.
    fn known(&self, transactional_id: &str) -> Result<&Transaction, Refusal> {
        if transactional_id.is_empty() {
            return Err(Refusal::InvalidRequest);
        }
        let known = self.saved.get(transactional_id);
        known.ok_or(Refusal::InvalidProducerIdMapping)
    }

    fn record(&self, id: &str, next: Transaction, level: TransactionVersion) -> TxnRecord {
        let known = self.saved.get_key_value(id);
        TxnRecord {
            transactional_id: known.map_or_else(|| id.into(), |(id, _)| id.clone()),
            transaction: Some(next),
            value_version: level.value_version(),
        }
    }

    /// The records of a transaction that is decided now: without partitions it is complete at once.
    fn decided(
        &self,
        id: &str,
        prepared: Transaction,
        level: TransactionVersion,
        now: Now,
    ) -> Vec<TxnRecord> {
        let complete = prepared
            .partitions
            .is_empty()
            .then(|| self.record(id, prepared.completed(now), level));
        let prepare = self.record(id, prepared, level);
        [prepare].into_iter().chain(complete).collect()
    }

    /// Records of one decision stand or fall together.
    fn decision(&self, records: Vec<TxnRecord>, reply: Answer<TxnReply>) -> TxnDecision {
        let batch = Batch {
            records,
            origin: Origin::Plain,
        };
        Decision {
            batches: if batch.records.is_empty() {
                Vec::new()
            } else {
                vec![batch]
            },
            reply,
            released: Vec::new(),
            deadline: self.next_timeout(),
        }
    }

    /// Records, and a reply that rests on them.
    fn write(&self, records: Vec<TxnRecord>, reply: TxnReply) -> TxnDecision {
        self.decision(records, Answer::Now(reply, When::AfterAppend))
    }

    /// An answer that changes nothing.
    fn answer(&self, reply: TxnReply, when: When) -> TxnDecision {
        self.decision(Vec::new(), Answer::Now(reply, when))
    }
}

#[cfg(test)]
impl TxnLedger {
    /// The invariants of the struct.
    fn validate(&self) {
        for (id, transaction) in &self.saved {
            let is_prepared = transaction.state.is_prepared();
            assert_eq!(self.owed.contains_key(id), is_prepared, "{id}: owed");
            let deadline = transaction.deadline_ms();
            let is_open = deadline.is_some_and(|at| self.open.contains(&(at, id.clone())));
            assert_eq!(is_open, deadline.is_some(), "{id}: open");
        }
        let n_open = self
            .saved
            .values()
            .filter(|one| one.deadline_ms().is_some());
        assert_eq!(self.open.len(), n_open.count());
        assert!(self.owed.keys().all(|id| self.saved.contains_key(id)));
        for (id, owed) in &self.owed {
            let all = &self.saved[id].partitions;
            assert!(all.contains_all(&owed.left), "{id}: {owed:?}");
        }
    }
}

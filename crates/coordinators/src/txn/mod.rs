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

pub use add::{add_partitions_response, add_partitions_result, single_transaction};
pub use begin::init_idempotent;
pub use counts::{Counts, Sizes};
pub use describe::TransactionFilter;
pub use markers::Markers;
pub use partitions::Partitions;
pub use records::{Transaction, TxnRecord};
pub use reply::{OtherReply, TxnReply};
pub use settings::{TransactionVersion, TxnSettings};
pub use states::TransactionState;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::ledger::{Answer, Batch, Deadline, Decision, Origin, When};
use crate::uncommitted::Uncommitted;
use expire::Timers;
use markers::Owed;

/// What the transaction ledger decides.
pub type TxnDecision = Decision<TxnRecord, TxnReply>;

/// All transactions of one `__transaction_state` partition.
///
/// * an id is in `owed` if and only if it is prepared
/// * `open` holds the ongoing ones that have a deadline, by deadline
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
    due: VecDeque<Arc<str>>,
    open: BTreeSet<(i64, Arc<str>)>,
    timers: Timers,
    uncommitted: Uncommitted,
    is_loading: bool,
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
            due: VecDeque::new(),
            open: BTreeSet::new(),
            timers: Timers::default(),
            uncommitted: Uncommitted::default(),
            is_loading: true,
            counts: Counts::default(),
        }
    }

    /// Settings changed while running. Transactions keep the time-outs they have.
    pub fn change_settings(&mut self, settings: TxnSettings) {
        self.settings = settings;
    }

    /// When `handle_timeout` is due.
    pub fn next_timeout(&self) -> Option<Deadline> {
        self.timers.next()
    }

    /// What must be committed before a reply may leave that rests on this id's records.
    fn seen(&self, transactional_id: &str) -> When {
        self.uncommitted.when(transactional_id)
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
            deadline: self.timers.next(),
        }
    }

    /// An answer that changes nothing.
    fn answer(&self, reply: TxnReply, when: When) -> TxnDecision {
        self.decision(Vec::new(), Answer::Now(reply, when))
    }
}

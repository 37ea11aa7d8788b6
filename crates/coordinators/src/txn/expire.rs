//! What time does: transactions that ran out of it, ids that nobody uses, and second attempts.

use std::sync::Arc;

use ottla_protocol::ProducerId;

use super::settings::TransactionVersion;
use super::{TxnDecision, TxnLedger};
use crate::ledger::Now;

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// Look for transactions that are open for too long.
    TimedOut,
    /// Look for transactional ids that nobody uses.
    Expired,
    /// Try again to write this id's Complete.
    Complete(Arc<str>),
}

pub(super) type Timers = crate::timers::Timers<Timer>;

impl TxnLedger {
    /// Handles one thing that is due: a transaction is aborted, unused ids are forgotten, a Complete
    /// is tried again. Call it until it says `None`.
    pub fn handle_timeout(
        &mut self,
        level: TransactionVersion,
        fresh: &mut Option<ProducerId>,
        now: Now,
    ) -> Option<TxnDecision> {
        let _ = (level, fresh, now);
        todo!()
    }
}

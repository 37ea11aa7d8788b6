//! What operators count: events since the ledger was made, and how much there is now.

use std::collections::BTreeMap;

use super::TxnLedger;
use super::states::TransactionState;

/// Events since the ledger was made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Transactions that were committed: CompleteCommit is in the log.
    pub committed: u64,
    /// Transactions that were aborted: CompleteAbort is in the log.
    pub aborted: u64,
    /// Of those that were decided to abort, the ones that were open for too long.
    pub timed_out: u64,
    /// Of those that were decided to abort, the ones that a newer producer shut out.
    pub fenced: u64,
    /// Transactional ids that nobody used for too long.
    pub expired_ids: u64,
    /// Checks of a partition that was not in the transaction.
    pub failed_verifications: u64,
    /// Demands for markers that a leader refused for good.
    pub refused_markers: u64,
    /// Records of types and versions that nobody knows, which were skipped while loading.
    pub skipped_records: u64,
}

/// How much there is now.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Transactional ids by state.
    pub by_state: BTreeMap<TransactionState, usize>,
}

impl TxnLedger {
    /// Events since the ledger was made.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Transactions that are open now.
    pub fn n_open(&self) -> usize {
        self.open.len()
    }

    /// How much there is now; walks all ids.
    pub fn sizes(&self) -> Sizes {
        let mut by_state = BTreeMap::new();
        for transaction in self.saved.values() {
            *by_state.entry(transaction.state).or_default() += 1;
        }
        Sizes { by_state }
    }
}

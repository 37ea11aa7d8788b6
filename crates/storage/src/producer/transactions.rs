//! The transactions of one partition that readers of committed records must wait for.

use std::collections::BTreeMap;

/// A transaction whose marker was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedTransaction {
    pub producer_id: i64,
    pub first_offset: i64,
    /// Of the marker.
    pub last_offset: i64,
    pub is_abort: bool,
}

/// Each under its first offset; an offset is in at most one of the maps.
#[derive(Debug, Clone, Default)]
pub(super) struct Transactions {
    /// Open, with its producer.
    open: BTreeMap<i64, i64>,
    /// Ended by a marker at the given offset, which may not be replicated yet.
    ended: BTreeMap<i64, i64>,
}

impl Transactions {
    pub(super) fn start(&mut self, first_offset: i64, producer_id: i64) {
        self.open.insert(first_offset, producer_id);
    }

    pub(super) fn complete(&mut self, transaction: &CompletedTransaction) {
        if self.open.remove(&transaction.first_offset).is_some() {
            self.ended
                .insert(transaction.first_offset, transaction.last_offset);
        }
    }

    /// Markers below `offset` hold nobody back any more.
    pub(super) fn replicated(&mut self, offset: i64) {
        self.ended
            .retain(|_, marker_offset| *marker_offset >= offset);
    }

    pub(super) fn first_unstable_offset(&self) -> Option<i64> {
        let first_open = self.open.keys().next();
        let first_ended = self.ended.keys().next();
        first_open.into_iter().chain(first_ended).min().copied()
    }

    /// Of the open transaction that began first.
    pub(super) fn oldest_producer(&self) -> Option<i64> {
        self.open.first_key_value().map(|(_, id)| *id)
    }

    pub(super) fn last_stable_offset_after(&self, transaction: &CompletedTransaction) -> i64 {
        let others = self
            .open
            .iter()
            .filter(|(_, id)| **id != transaction.producer_id);
        others
            .map(|(first_offset, _)| *first_offset)
            .next()
            .unwrap_or(transaction.last_offset + 1)
    }
}

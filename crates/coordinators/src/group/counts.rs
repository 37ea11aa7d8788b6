//! What operators count: events since the ledger was made, and how much there is now.

use std::collections::BTreeMap;

use super::GroupLedger;
use super::classic::ClassicState;
use super::consumer::ConsumerState;

/// Events since the ledger was made.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Rebalances of classic groups that ended with an assignment.
    pub completed_rebalances: u64,
    /// New epochs of groups of the consumer protocol.
    pub consumer_rebalances: u64,
    /// Offsets that members and others have committed.
    pub offset_commits: u64,
    /// Offsets that were too old.
    pub offset_expirations: u64,
    /// Offsets that were deleted on request.
    pub offset_deletions: u64,
    /// Records of types that nobody knows, which were skipped while loading.
    pub skipped_records: u64,
}

/// How much there is now.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// Committed offsets.
    pub offsets: usize,
    /// Classic groups by state.
    pub classic: BTreeMap<ClassicState, usize>,
    /// Groups of the consumer protocol by state.
    pub consumer: BTreeMap<ConsumerState, usize>,
    /// Groups of protocols that are not served here, which the log keeps.
    pub others: usize,
}

impl GroupLedger {
    /// Events since the ledger was made.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How much there is now; walks all groups.
    pub fn sizes(&self) -> Sizes {
        let mut classic = BTreeMap::new();
        for group in self.live.values() {
            *classic.entry(group.state()).or_default() += 1;
        }
        let mut consumer = BTreeMap::new();
        for group in self.consumers.values() {
            *consumer.entry(group.state()).or_default() += 1;
        }
        Sizes {
            offsets: self.offsets.len(),
            classic,
            consumer,
            others: self.others.len(),
        }
    }
}

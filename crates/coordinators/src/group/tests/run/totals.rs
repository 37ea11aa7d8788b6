//! How often each thing happened.

use std::collections::BTreeMap;
use std::fmt;

/// What may not be zero in a long run. Transitions are those of the group as its coordinator sees
/// it, from one step to the next.
const ALL: &[&str] = &[
    // What clients, topics, the log and the coordinator do.
    "operations",
    "reload",
    "compaction",
    "append failed",
    "answer lost",
    "crash",
    "died",
    "left",
    "left for a while",
    "other protocol",
    "other subscription",
    "topic made",
    "topic grown",
    "topic deleted",
    "group deleted",
    "offsets deleted",
    "offsets expired",
    "settings changed",
    "member removed by an operator",
    "commit",
    "commit refused",
    "commit of an older epoch",
    "commit in a transaction",
    "transaction committed",
    "transaction aborted",
    "commit without members",
    // States of groups and of members.
    "classic Empty",
    "classic PreparingRebalance",
    "classic CompletingRebalance",
    "classic Stable",
    "consumer Empty",
    "consumer Assigning",
    "consumer Reconciling",
    "consumer Stable",
    "none",
    "member Stable",
    "member UnrevokedPartitions",
    "member UnreleasedPartitions",
    "classic member Stable",
    "classic member UnrevokedPartitions",
    "classic member UnreleasedPartitions",
    // Transitions within a protocol.
    "none > classic PreparingRebalance",
    "none > consumer Stable",
    "classic Empty > classic PreparingRebalance",
    "classic PreparingRebalance > classic CompletingRebalance",
    "classic PreparingRebalance > classic Empty",
    "classic CompletingRebalance > classic PreparingRebalance",
    "classic CompletingRebalance > classic Stable",
    "classic Stable > classic PreparingRebalance",
    "classic Empty > none",
    "consumer Empty > none",
    "consumer Empty > consumer Stable",
    "consumer Empty > consumer Assigning",
    "consumer Assigning > consumer Empty",
    "consumer Assigning > consumer Reconciling",
    "consumer Assigning > consumer Stable",
    "consumer Reconciling > consumer Assigning",
    "consumer Reconciling > consumer Stable",
    "consumer Reconciling > consumer Empty",
    "consumer Stable > consumer Assigning",
    "consumer Stable > consumer Reconciling",
    "consumer Stable > consumer Empty",
    // Transitions from one to the other.
    "classic Empty > consumer Stable",
    "classic PreparingRebalance > consumer Reconciling",
    "classic CompletingRebalance > consumer Reconciling",
    "classic Stable > consumer Reconciling",
    "consumer Empty > classic PreparingRebalance",
    "consumer Assigning > classic PreparingRebalance",
    "consumer Reconciling > classic PreparingRebalance",
    "consumer Stable > classic PreparingRebalance",
    "consumer Stable > classic Stable",
    // What clients hear.
    "UNKNOWN_MEMBER_ID",
    "ILLEGAL_GENERATION",
    "REBALANCE_IN_PROGRESS",
    "MEMBER_ID_REQUIRED",
    "FENCED_INSTANCE_ID",
    "FENCED_MEMBER_EPOCH",
    "UNRELEASED_INSTANCE_ID",
    "STALE_MEMBER_EPOCH",
    "GROUP_ID_NOT_FOUND",
    "GROUP_MAX_SIZE_REACHED",
    "INCONSISTENT_GROUP_PROTOCOL",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
    "NON_EMPTY_GROUP",
    "GROUP_SUBSCRIBED_TO_TOPIC",
    "skipped assignment",
    "leader joins again",
];

#[derive(Default, Clone)]
pub(super) struct Totals {
    counts: BTreeMap<String, u64>,
    /// The most rounds that any seed took until everything was shared out.
    most_rounds: u64,
}

impl Totals {
    pub(super) fn count(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(n) => *n += 1,
            None => drop(self.counts.insert(what.to_owned(), 1)),
        }
    }

    pub(super) fn took_rounds(&mut self, n: u64) {
        self.most_rounds = self.most_rounds.max(n);
    }

    pub(super) fn n(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, more: &Self) {
        for (what, n) in &more.counts {
            *self.counts.entry(what.clone()).or_default() += n;
        }
        self.took_rounds(more.most_rounds);
    }

    pub(super) fn never(&self) -> Vec<&'static str> {
        let never = ALL.iter().copied().filter(|what| self.n(what) == 0);
        never.collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, n) in &self.counts {
            let unexpected = if ALL.contains(&&**what) { "" } else { " *" };
            writeln!(f, "{n:>12}  {what}{unexpected}")?;
        }
        write!(
            f,
            "{:>12}  rounds until all was shared out, at most",
            self.most_rounds
        )
    }
}

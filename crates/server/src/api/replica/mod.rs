//! Replicas as an administrator moves them: who leads, and where copies are.

pub(crate) mod alter_partition_reassignments;
pub(crate) mod elect_leaders;
pub(crate) mod list_partition_reassignments;

// What the answers of the first two have in common.
mod by_partition;

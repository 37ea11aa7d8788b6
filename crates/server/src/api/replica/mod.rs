//! Replicas as an administrator moves them: who leads, and where copies are.

pub(crate) mod alter_partition_reassignments;
pub(crate) mod elect_leaders;
pub(crate) mod list_partition_reassignments;

//! Snapshots of the metadata log: how a file is laid out, when to take one, which to keep.
//!
//! What stands in one (records of an image) is the host's; where it is stored is `storage`'s.

mod file;
mod retain;
mod schedule;

pub use file::{CorruptSnapshot, SnapshotContent, SnapshotWriter};
pub use retain::{Kept, Limits, StoredSnapshot, retain};
pub use schedule::{Reason, Schedule};

use ottla_protocol::{LeaderEpoch, Offset};

/// Everything below `end_offset`, whose last record is of `epoch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    pub end_offset: Offset,
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    /// Written by the format tool: voters only, never served to others.
    pub const BOOTSTRAP: Self = Self {
        end_offset: 0,
        epoch: 0,
    };
}

//! What the host must do because the leader's rules say so.

use ottla_protocol::{LeaderEpoch, Offset};

/// One thing to do, in the order in which `Leader::next_command` hands them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Note in the log's epoch cache that `epoch` begins at `start`, even if nothing is ever
    /// written in it: a follower that asks where we diverged depends on it.
    AssignEpoch { epoch: LeaderEpoch, start: Offset },
    /// Publish this high watermark to readers and wake whoever waits for it.
    HighWatermark(Offset),
}

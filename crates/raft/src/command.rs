//! What the host must do, in order, each one done before it takes the next.

use bytes::Bytes;
use ottla_protocol::{LeaderEpoch, NodeId, Offset};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Replace the `quorum-state` file by this text: temporary file, flush, rename, flush of the
    /// directory.
    ///
    /// IMPORTANT: durable before the next command is taken. Everything after it rests on it.
    SaveElection { text: String },
    /// Append this one batch to the log as it is; offsets and epoch are already in it. Then
    /// `Quorum::handle_appended`, and after the flush `Quorum::handle_flushed`. Several may be
    /// written before one flush.
    Append {
        base_offset: Offset,
        end_offset: Offset,
        batch: Bytes,
    },
    /// Who leads, as far as this node knows. For answers to clients and for forwarding.
    LeaderChanged {
        epoch: LeaderEpoch,
        leader: Option<NodeId>,
    },
    /// We lead, and the first record of our epoch is committed: everything below `start` has been
    /// handed out by a `HighWatermark` before, so the controller may judge from here on.
    Lead { epoch: LeaderEpoch, start: Offset },
    /// Everything below is agreed: hand its records to whoever builds an image.
    HighWatermark(Offset),
}

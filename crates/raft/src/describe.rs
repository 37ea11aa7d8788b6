//! What DescribeQuorum tells about the quorum, as its leader sees it.

use ottla_protocol::{LeaderEpoch, NodeId, Offset, Uuid};

use crate::voters::Voter;

/// How far one replica of the metadata log has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaProgress {
    pub id: NodeId,
    /// Zero where it is not known.
    pub directory_id: Uuid,
    pub log_end: Offset,
    /// Wall clock, milliseconds. The leader itself is always "now".
    pub last_fetch_ms: i64,
    pub last_caught_up_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub leader_id: NodeId,
    pub leader_epoch: LeaderEpoch,
    pub high_watermark: Offset,
    pub voters: Vec<ReplicaProgress>,
    pub observers: Vec<ReplicaProgress>,
    /// The voters with their endpoints.
    pub nodes: Vec<Voter>,
}

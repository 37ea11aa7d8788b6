//! Asks whether it could win before it raises the epoch (pre-vote, KIP-996). Nothing is persisted
//! for it.

use ottla_protocol::NodeId;

use super::Ballot;

#[derive(Debug)]
pub(crate) struct Prospective {
    pub(crate) leader: Option<NodeId>,
    pub(crate) ballot: Ballot,
}

//! The roles of a voter, and the table of allowed changes.
//!
//! ```text
//!   Unattached ──> Prospective ──> Candidate ──> Leader ──> Resigned
//!                       ^                                      │
//!                       └──────────────────────────────────────┘
//! ```
//!
//! A candidacy starts from Prospective only (pre-vote), so that a voter that merely lost touch
//! does not depose a healthy leader. A sole voter runs through both at once.

mod candidate;
mod leader;
mod prospective;
mod resigned;
mod unattached;

pub(crate) use candidate::Candidate;
pub(crate) use leader::Leader;
pub(crate) use prospective::Prospective;
pub(crate) use resigned::Resigned;
pub(crate) use unattached::Unattached;

use ottla_protocol::NodeId;

#[derive(Debug)]
pub(crate) enum Role {
    Unattached(Unattached),
    Prospective(Prospective),
    Candidate(Candidate),
    Leader(Box<Leader>),
    Resigned(Resigned),
}

impl Role {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Unattached(_) => "Unattached",
            Self::Prospective(_) => "Prospective",
            Self::Candidate(_) => "Candidate",
            Self::Leader(_) => "Leader",
            Self::Resigned(_) => "Resigned",
        }
    }

    pub(crate) fn may_become(&self, next: &Self) -> bool {
        matches!(
            (self, next),
            (
                Self::Unattached(_) | Self::Resigned(_),
                Self::Prospective(_)
            ) | (Self::Prospective(_), Self::Candidate(_))
                | (Self::Candidate(_), Self::Leader(_))
                | (Self::Leader(_), Self::Resigned(_))
        )
    }

    /// The leader of the epoch that we are in, as far as this role knows.
    pub(crate) fn leader(&self, me: NodeId) -> Option<NodeId> {
        match self {
            Self::Leader(_) => Some(me),
            Self::Unattached(role) => role.leader,
            Self::Prospective(role) => role.leader,
            Self::Candidate(_) | Self::Resigned(_) => None,
        }
    }
}

/// Votes or pre-votes that were granted.
#[derive(Debug, Clone)]
pub(crate) struct Ballot {
    granted: Vec<NodeId>,
}

impl Ballot {
    /// A candidate's own vote is the first.
    pub(crate) fn with(voter: NodeId) -> Self {
        Self {
            granted: vec![voter],
        }
    }

    pub(crate) fn is_won(&self, majority: usize) -> bool {
        self.granted.len() >= majority
    }

    pub(crate) fn granted(&self) -> &[NodeId] {
        &self.granted
    }
}

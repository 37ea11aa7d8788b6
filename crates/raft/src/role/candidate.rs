//! Raised the epoch, voted for itself (persisted), and collects votes.

use super::Ballot;

#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) ballot: Ballot,
}

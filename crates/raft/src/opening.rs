//! What a voter must know of its snapshot and log before it takes part: fed by the host while it
//! reads them, once, at start.

use ottla_protocol::batch::Batch;

use crate::control::{Control, CorruptControl};
use crate::log_tail::LogTail;
use crate::saved::ReplicaKey;
use crate::snapshot::{SnapshotContent, SnapshotId};
use crate::voters::{VoterHistory, VoterSet};

/// Collected while snapshot and log are read.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    pub(crate) tail: LogTail,
    pub(crate) voters: VoterHistory,
}

/// Why this node cannot be a voter on what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CannotOpen {
    /// Nobody votes: neither settings nor log name a voter.
    NoVoters,
    NotAVoter {
        me: ReplicaKey,
        voters: Vec<i32>,
    },
    /// Quorums of several voters come with the next floor.
    SeveralVoters {
        voters: Vec<i32>,
    },
    /// The log needs a kraft.version that we do not run.
    KraftVersion {
        level: i16,
    },
    /// File or log claim the last epoch there is: no election can follow.
    NoEpochLeft,
}

impl std::fmt::Display for CannotOpen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoVoters => f.write_str("neither the settings nor the log name a voter"),
            Self::NotAVoter { me, voters } => {
                write!(f, "node {} (directory ", me.id)?;
                match me.directory_id {
                    Some(directory) => write!(f, "{directory}")?,
                    None => f.write_str("unknown")?,
                }
                write!(f, ") is not among the voters {voters:?}")
            }
            Self::SeveralVoters { voters } => {
                write!(f, "a quorum of several voters {voters:?} is not served yet")
            }
            Self::KraftVersion { level } => {
                write!(
                    f,
                    "the metadata log has kraft.version {level}, newer than ours"
                )
            }
            Self::NoEpochLeft => {
                f.write_str("no leader epoch is left: quorum-state or log are damaged")
            }
        }
    }
}

impl std::error::Error for CannotOpen {}

impl Opening {
    /// `fixed` is `controller.quorum.voters`; empty if the voters are in the log.
    pub fn new(fixed: VoterSet) -> Self {
        Self {
            tail: LogTail::default(),
            voters: VoterHistory::new(fixed),
        }
    }

    /// The newest snapshot, before any batch of the log.
    pub fn handle_snapshot(&mut self, id: SnapshotId, snapshot: &SnapshotContent) {
        let offset = if id == SnapshotId::BOOTSTRAP {
            VoterHistory::BEFORE_THE_LOG
        } else {
            id.end_offset
        };
        if let Some(level) = snapshot.kraft_version {
            self.voters.note_kraft_version(offset, level);
        }
        if let Some(voters) = &snapshot.voters {
            self.voters.note_voters(offset, voters.clone());
        }
        self.tail = LogTail::after_snapshot(id, snapshot.last_contained_timestamp);
    }

    /// One whole batch of the log, in order, from its start. Batches that the snapshot contains
    /// may be given too; they change nothing.
    pub fn handle_batch(&mut self, batch: Batch<'_>) -> Result<(), CorruptControl> {
        if batch.next_offset() <= self.tail.end() {
            return Ok(());
        }
        for (offset, control) in Control::of_batch(batch)? {
            self.voters.note(offset, &control);
        }
        self.tail.extend(
            batch.next_offset(),
            batch.leader_epoch(),
            batch.max_timestamp(),
        );
        Ok(())
    }
}

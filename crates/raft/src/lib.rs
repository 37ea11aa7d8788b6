//! How voters agree on the metadata log, as a value: no files, no sockets, no clock, no random,
//! and no knowledge of what the agreed records mean.
//!
//! ```text
//!   append(values) ──┐                       ┌─> SaveElection   the quorum-state file
//!   handle_flushed ──┤                       ├─> Append         a batch for the log
//!   handle_timeout ──┼─> Quorum ─next_command┼─> LeaderChanged  who leads which epoch
//!   handle_shutdown ─┘                       ├─> Lead           our epoch is committed: act
//!                                            └─> HighWatermark  committed up to here
//! ```
//!
//! The host carries commands out **in order, each one done before it takes the next**, and sends
//! whatever a `handle_*` returned only when no command is left. So an epoch or a vote is on the
//! disk before anything that rests on it happens.
//!
//! What must stay true: a vote is given at most once per epoch, an epoch never falls, and the
//! high watermark is only moved by a record of the own epoch that a majority has flushed.
//!
//! Here today: the quorum of one voter, complete. Votes of others and followers stand beside it
//! (`role/follower.rs`, `vote.rs`, `progress.rs`) when they come.

mod quorum;
mod command;
mod opening;
mod role;
mod log_tail;
mod accumulate;
mod control;
mod voters;
mod saved;
mod describe;
pub mod snapshot;

pub use accumulate::{MAX_BATCH_BYTES, fits_a_batch};
pub use command::Command;
pub use control::{Control, CorruptControl};
pub use describe::{Description, ReplicaProgress};
pub use log_tail::LogTail;
pub use opening::{CannotOpen, Opening};
pub use quorum::{CannotAppend, Identity, Now, Quorum, Settings};
pub use saved::{NotAQuorumState, ReplicaKey, SavedElection};
pub use snapshot::SnapshotId;
pub use voters::{Endpoint, KraftVersions, Voter, VoterSet};

//! Judges: who belongs to a group, what it has committed, what others are told about it.
//!
//! Everything here is a *ledger*: durable state is exactly what the replayed records say, a request
//! is answered by a [`Decision`] that names the records to append, and nothing is sent from here.
//! No files, sockets, clocks, randomness or threads; time and fresh ids come in as arguments.
//!
//! | place | what lives there |
//! |---|---|
//! | `ledger` | [`Decision`], [`Ticket`], [`Deadline`], [`Now`]: the shape every judge shares |
//! | `group` | [`GroupLedger`]: all groups of one `__consumer_offsets` partition |
//! | `group/records` | keys and values of `__consumer_offsets`, as Kafka writes them |
//! | `group/classic` | the classic protocol: join, sync, heartbeat, leave, expiry |
//! | `group/consumer` | the consumer protocol (KIP-848): one request, three epochs |
//! | `group/assign` | who shall have which partitions of a group of the consumer protocol |
//! | `group/offsets` | commit, fetch, delete and expire offsets |
//! | `group/describe` | list, describe and delete groups |
//! | `txn` | [`TxnLedger`]: all transactions of one `__transaction_state` partition |
//! | `txn/records` | keys and values of `__transaction_state`, as Kafka writes them |
//!
//! Requests and replies are the wire structs of `ottla_protocol::messages`: the rules depend on API
//! versions in a dozen places, and a second set of structs would only be copied field by field.
//! Whatever is kept longer than the request is copied out of the frame first.
//!
//! # How a host drives a ledger
//!
//! One queue per ledger. For each request: *decide*, append `decision.batches`, `replay` each
//! appended record with its offset, then let each reply go when its [`When`] allows. These four
//! steps are not interleaved with other requests of the same ledger; only the waiting for the
//! commit is. If the append fails, the decision goes back through [`GroupLedger::abandoned`], and
//! the decision that comes out of it takes its place.
//!
//! Decisions about different groups may share an append: each is made before any of them is
//! replayed. So may decisions about one group, if [`GroupLedger::foresee`] says so of each but the
//! last; when not all of them could be written, [`GroupLedger::take_back`] comes first. Nothing is
//! looked at while something is foreseen.

#![warn(missing_docs)]

pub mod ledger;
mod entry;
mod pattern;
mod placement;
mod refused_append;
mod timers;
mod uncommitted;
#[cfg(test)]
mod story;
pub mod group;
pub mod txn;

pub use entry::Corrupt;
pub use group::{Client, GroupDecision, GroupLedger, GroupReply, GroupSettings, Topics};
pub use ledger::{Answer, Batch, Deadline, Decision, Freed, Now, Origin, Read, Ticket, When};
pub use placement::{partition_for_group, partition_for_transaction};
pub use txn::{
    Markers, Partitions, TransactionVersion, TxnDecision, TxnLedger, TxnReply, TxnSettings,
};

//! Our own Kafka client: how the command line and the nodes speak to brokers.
//!
//! What lives here: connections, what the cluster looks like, and calls on top of that: produce,
//! consume, administer. No files, no storage, no rules of the cluster. Every wait has an end, every
//! queue a bound, and every failure is a sentence.
//!
//! | file | what lives there |
//! |---|---|
//! | `address`, `settings`, `error` | what every call shares |
//! | `connection`, `handshake` | one socket, and the versions agreed on it |
//! | `pool`, `cluster` | all sockets, and who leads what |
//! | `offsets` | where partitions begin and end, what groups committed |
//! | `produce` | partition, batch, send, retry, idempotence |
//! | `consume` | fetch loop, positions, a member of a classic group |
//! | `admin` | topics, configs, groups, offsets: one call each |

// What every call shares.
mod address;
mod error;
mod random;
mod settings;

// From one socket to the whole cluster.
mod handshake;

mod connection;
mod pool;

mod cluster;

// What it is for.
mod offsets;

pub mod produce;

pub mod consume;

pub mod admin;

pub use address::{Address, BadAddress};
pub use cluster::{Ask, Cluster, Doors, Node, PartitionView, TopicView, View, serves};
pub use connection::{Answer, Connection};
pub use error::{ClientError, is_retriable};
pub use handshake::Versions;
pub use offsets::{At, Committed, Committer, FoundOffset, Isolation, OffsetAnswers};
pub use pool::{Lane, Pool};
pub use settings::{ClientSettings, MAX_IN_FLIGHT};

//! Our own Kafka client: for the command line, and for talk between nodes.
//!
//! It speaks to any broker: each connection asks which versions there are and uses the newest both
//! know. It is simple on purpose: the producer keeps one request per leader on the way and is not
//! idempotent; the group member knows the classic protocol with the range assignor.
//!
//! | file | what lives there |
//! |---|---|
//! | `fault` | what can go wrong between here and a broker |
//! | `connection` | one socket, many requests on the way, answers in order |
//! | `handshake` | which versions does the broker speak |
//! | `pool` | a connection per node; back-off |
//! | `cluster` | who leads what; refresh, retry |
//! | `partition` | ★ a key's partition |
//! | `produce` | records into batches, batches to leaders |
//! | `fetched` | ★ batches into records, aborted transactions left out |
//! | `consume` | the fetch loop |
//! | `assign` | ★ the range assignor |
//! | `member` | a member of a classic group: join, heartbeat, commit |
//! | `admin` | topics, configurations, groups, offsets: one call each |

mod fault;
mod connection;
mod handshake;
mod pool;
mod cluster;
mod partition;
mod produce;
mod fetched;
mod consume;
mod assign;
mod member;
pub mod admin;

pub use assign::{Assigned, range};
pub use cluster::{Broker, Cluster, ClusterSettings, Partition, Topic, View, Which};
pub use connection::Connection;
pub use consume::{Consumer, ConsumerSettings, Isolation, Reset, Start};
pub use fault::Fault;
pub use fetched::Consumed;
pub use member::{Member, MemberSettings, Wanted, assigned_partitions};
pub use partition::partition_for_key;
pub use produce::{Acks, NewRecord, Producer, ProducerSettings, Undelivered};

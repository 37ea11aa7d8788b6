//! Hosts of the ledgers: one task for each partition of `__consumer_offsets` and
//! `__transaction_state` that is led here.
//!
//! Those of groups run on the control plane and never touch a disk themselves: loads and appends go
//! to blocking threads. While an append is under way, heartbeats are still decided (they rest on soft
//! state), everything else of that partition waits in line; so a disk that stalls costs no member its
//! session.
//!
//! Those of transactions, and what carries their ends, run on the data plane: nearly all they do is
//! appends, and these are done there as a producer's are, on the spot as long as the disk is fast.
//!
//! | to know | read |
//! |---|---|
//! | what every ledger and its host have in common | `ledger`, `host`, `shard`, `readings`, `gathered`, `heard`, `writing` |
//! | what is particular to groups, and to transactions | `groups`, `transactions` |
//! | what groups know of topics, and their patterns | `group_topics`, `patterns` |
//! | how a decided transaction ends in its partitions, and who waits for that | `txn_markers`, `txn_awaited` |
//! | what is asked before a transaction's first write | `txn_join` |

mod ledger;
mod host;
mod writing;
mod readings;
mod gathered;
mod heard;
mod shard;
mod groups;
mod group_topics;
mod patterns;
mod transactions;
mod txn_markers;
mod txn_awaited;
mod txn_join;
mod internal_topics;
mod producer_ids;

pub use group_topics::KnownTopics;
pub(crate) use group_topics::TopicVersions;
pub(crate) use groups::{GroupAround, GroupCounts};
pub use groups::{GroupHost, Groups};
pub use host::Pace;
pub(crate) use host::{Host, NewHost};
pub(crate) use internal_topics::on_demand;
pub use internal_topics::{
    GROUP_METADATA_TOPIC, SHARE_STATE_TOPIC, TRANSACTION_STATE_TOPIC, create_group_topic,
    create_transaction_topic, is_internal_topic,
};
pub(crate) use ledger::Ledger;
pub(crate) use patterns::PatternReader;
pub use producer_ids::ProducerIds;
pub(crate) use transactions::{FinalizedLevel, TxnAround, TxnCounts};
pub use transactions::{Transactions, TxnHost};
pub use txn_join::{JoinAs, Joined, Joining, JoiningProducer, Questions};
pub(crate) use txn_markers::Carrier;
pub use txn_markers::{Marked, Marker, MarkerWriter};

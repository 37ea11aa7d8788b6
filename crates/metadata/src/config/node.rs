//! Settings of a node, by subject.

mod identity;
mod network;
mod topics;
mod log;
mod replication;
mod quorum;
mod groups;
mod transactions;
mod remote;
mod metrics;
mod security;

use super::definition::Definition;

/// All of them, in the order of the documents, with the heading of each part.
pub(super) static NODE: &[(&str, &[Definition])] = &[
    ("Who the node is and what it does", identity::IDENTITY),
    ("Listeners, connections and requests", network::NETWORK),
    ("Making, describing and deleting topics", topics::TOPICS),
    ("Logs on disk", log::LOG),
    ("Replicas", replication::REPLICATION),
    ("Quorum and metadata log", quorum::QUORUM),
    ("Groups", groups::GROUPS),
    (
        "Transactions and idempotent producers",
        transactions::TRANSACTIONS,
    ),
    ("Tiered storage", remote::REMOTE),
    ("Metrics and quotas", metrics::METRICS),
    ("Security", security::SECURITY),
];

//! One file per command.

pub(crate) mod server;
pub(crate) mod format;
pub(crate) mod storage;
pub(crate) mod topics;
pub(crate) mod configs;
pub(crate) mod produce;
pub(crate) mod consume;
pub(crate) mod groups;
pub(crate) mod list_groups;
pub(crate) mod get_offsets;
pub(crate) mod delete_records;
pub(crate) mod log_dirs;
pub(crate) mod cluster;
pub(crate) mod features;
pub(crate) mod quorum;
pub(crate) mod client_metrics;
pub(crate) mod transactions;
pub(crate) mod elect_leaders;
pub(crate) mod reassign;
pub(crate) mod api_versions;
pub(crate) mod dump;
pub(crate) mod bench;
pub(crate) mod install;

// What those share that talk to a cluster.
pub(crate) mod admin;
pub(crate) mod connect;
pub(crate) mod duration;
pub(crate) mod stop;
pub(crate) mod table;

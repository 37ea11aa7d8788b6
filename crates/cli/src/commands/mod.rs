//! One file per command.

pub(crate) mod server;
pub(crate) mod format;
pub(crate) mod topics;
pub(crate) mod produce;
pub(crate) mod consume;
pub(crate) mod groups;
pub(crate) mod dump;
pub(crate) mod bench;

// What those share that talk to a cluster.
pub(crate) mod connect;
pub(crate) mod duration;
pub(crate) mod stop;

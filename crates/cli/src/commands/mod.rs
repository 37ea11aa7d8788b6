//! One file per command.

pub(crate) mod server;
pub(crate) mod format;

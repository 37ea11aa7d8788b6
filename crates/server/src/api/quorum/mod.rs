//! The metadata quorum, as it shows itself to clients.

pub(crate) mod describe_quorum;

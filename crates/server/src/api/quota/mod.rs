//! Client quotas: what is set, and setting it.

pub(crate) mod alter_client_quotas;
pub(crate) mod describe_client_quotas;

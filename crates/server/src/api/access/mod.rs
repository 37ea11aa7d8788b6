//! Who may come in: the SCRAM credentials of users.

pub(crate) mod describe_user_scram_credentials;
pub(crate) mod alter_user_scram_credentials;

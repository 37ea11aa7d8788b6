//! Producers and their transactions. Transactions are not served yet; ids for idempotent producers
//! are.

pub(crate) mod init_producer_id;

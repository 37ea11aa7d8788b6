//! Producers and their transactions. Each file routes to the coordinator, or to the partitions,
//! and says what is answered when there is none; what becomes of a transaction is decided in the
//! transaction ledger.

pub(crate) mod init_producer_id;
pub(crate) mod add_partitions_to_txn;
pub(crate) mod add_offsets_to_txn;
pub(crate) mod txn_offset_commit;
pub(crate) mod end_txn;
pub(crate) mod write_txn_markers;
pub(crate) mod describe_transactions;
pub(crate) mod list_transactions;

use ottla_protocol::{Refusal, Text};

/// An id that says nothing belongs to nobody.
fn check_id(transactional_id: &Text) -> Result<(), Refusal> {
    match transactional_id.is_empty() {
        true => Err(Refusal::InvalidRequest),
        false => Ok(()),
    }
}

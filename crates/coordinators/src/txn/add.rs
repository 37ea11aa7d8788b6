//! AddPartitionsToTxn and AddOffsetsToTxn: partitions join a transaction, or are looked up in it.

use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTransaction,
};

use super::settings::TransactionVersion;
use super::{TxnDecision, TxnLedger};
use crate::ledger::Now;

/// The one transaction of a client's request (v0-3), in the shape of v4.
pub fn single_transaction(request: &AddPartitionsToTxnRequest) -> AddPartitionsToTxnTransaction {
    let _ = request;
    todo!()
}

/// One transaction's results, from an error code for each partition.
pub fn add_partitions_result(
    transaction: &AddPartitionsToTxnTransaction,
    code_of: impl Fn(&str, i32) -> i16,
) -> AddPartitionsToTxnResult {
    let _ = (transaction, code_of);
    todo!()
}

/// The response of a version, from the results of all its transactions.
pub fn add_partitions_response(
    results: Vec<AddPartitionsToTxnResult>,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let _ = (results, version);
    todo!()
}

impl TxnLedger {
    /// AddPartitionsToTxn, one of its transactions: `verify_only` looks its partitions up
    /// (`TRANSACTION_ABORTABLE` for those that are not in the transaction), else they join it. That
    /// they exist and that the client may write to them is the caller's to check beforehand: if one
    /// fails, none joins.
    pub fn add_partitions(
        &mut self,
        transaction: &AddPartitionsToTxnTransaction,
        version: i16,
        level: TransactionVersion,
        now: Now,
    ) -> TxnDecision {
        let _ = (transaction, version, level, now);
        todo!()
    }

    /// AddOffsetsToTxn: the partition of `__consumer_offsets` that the group lives in joins the
    /// transaction.
    pub fn add_offsets(
        &mut self,
        request: &AddOffsetsToTxnRequest,
        version: i16,
        offsets_partition: i32,
        level: TransactionVersion,
        now: Now,
    ) -> TxnDecision {
        let _ = (request, version, offsets_partition, level, now);
        todo!()
    }
}

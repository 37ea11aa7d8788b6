//! EndTxn: a transaction is decided.

use ottla_protocol::messages::{EndTxnRequest, EndTxnResponse};
use ottla_protocol::{ProducerId, Refusal};

use super::settings::TransactionVersion;
use super::{TxnDecision, TxnLedger};
use crate::ledger::Now;

impl TxnLedger {
    /// EndTxn. The answer leaves when Prepare is committed; markers and Complete follow.
    pub fn end(
        &mut self,
        request: &EndTxnRequest,
        version: i16,
        level: TransactionVersion,
        fresh: &mut Option<ProducerId>,
        now: Now,
    ) -> TxnDecision {
        let _ = (request, version, level, fresh, now);
        todo!()
    }

    /// Whether `end` by a client of version 5 or later would take a fresh producer id now.
    pub fn end_wants_fresh_id(&self, transactional_id: &str) -> bool {
        let _ = transactional_id;
        todo!()
    }
}

/// A refused EndTxn.
pub(crate) fn end_refused(refusal: Refusal) -> EndTxnResponse {
    EndTxnResponse {
        error_code: refusal.code(),
        producer_id: super::records::NO_PRODUCER_ID,
        producer_epoch: super::records::NO_EPOCH,
        ..EndTxnResponse::default()
    }
}

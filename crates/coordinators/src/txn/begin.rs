//! InitProducerId: producer ids, epochs, and shutting out older producers.

use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_protocol::{ProducerId, Refusal};

use super::settings::TransactionVersion;
use super::{TxnDecision, TxnLedger};
use crate::ledger::Now;

/// The answer to a producer that is only idempotent: no ledger is needed.
pub fn init_idempotent(
    request: &InitProducerIdRequest,
    fresh: &mut Option<ProducerId>,
) -> InitProducerIdResponse {
    let _ = (request, fresh);
    todo!()
}

impl TxnLedger {
    /// Whether `init` would take a fresh producer id now. A hint: an `init` that needs one and has
    /// none is refused, and the client comes back.
    pub fn init_wants_fresh_id(&self, transactional_id: &str) -> bool {
        let _ = transactional_id;
        todo!()
    }

    /// InitProducerId with a transactional id. If a transaction is open, it is aborted and the
    /// client told to come back (`CONCURRENT_TRANSACTIONS`).
    pub fn init(
        &mut self,
        request: &InitProducerIdRequest,
        version: i16,
        level: TransactionVersion,
        fresh: &mut Option<ProducerId>,
        now: Now,
    ) -> TxnDecision {
        let _ = (request, version, level, fresh, now);
        todo!()
    }
}

/// A refused InitProducerId.
pub(crate) fn init_refused(refusal: Refusal) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: refusal.code(),
        producer_id: super::records::NO_PRODUCER_ID,
        producer_epoch: super::records::NO_EPOCH,
        ..InitProducerIdResponse::default()
    }
}

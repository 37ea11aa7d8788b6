//! InitProducerId (key 22): producer ids, epochs, and shutting out older producers.
//! v3 a producer that has an id may go on with it (KIP-360) · v4 knows `PRODUCER_FENCED`.

use ottla_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal, Text};

use super::settings::TransactionVersion;
use super::states::TransactionState;
use super::transaction::{
    NO_EPOCH, NO_PRODUCER_ID, Transaction, fenced_before, is_exhausted, take,
};
use super::{TxnDecision, TxnLedger, TxnReply};
use crate::ledger::{Now, When};

/// From here on clients know `PRODUCER_FENCED`.
const PRODUCER_FENCED_FROM: i16 = 4;

/// What a producer holds that wants to go on.
#[derive(Debug, Clone, Copy)]
struct Held {
    producer_id: ProducerId,
    epoch: ProducerEpoch,
}

/// The answer to a producer that is only idempotent: no ledger is needed.
pub fn init_idempotent(
    request: &InitProducerIdRequest,
    fresh: &mut Option<ProducerId>,
) -> InitProducerIdResponse {
    match held(request).and_then(|_| take(fresh)) {
        Ok(producer_id) => granted(producer_id, 0),
        Err(refusal) => init_refused(refusal),
    }
}

impl TxnLedger {
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
        let Some(id) = &request.transactional_id else {
            let reply = init_idempotent(request, fresh);
            return self.answer(TxnReply::Init(reply), When::AtOnce);
        };
        let begun = held(request)
            .and_then(|held| {
                self.check_begin(id, request.transaction_timeout_ms)
                    .map(|()| held)
            })
            .and_then(|held| self.begin(id, request, held, level, fresh, now));
        match begun {
            Ok(next) if next.state == TransactionState::Empty => {
                let reply = TxnReply::Init(granted(next.producer_id, next.epoch));
                let record = self.record(id, next, level);
                self.write(vec![record], reply)
            }
            Ok(aborted) => {
                self.counts.fenced += 1;
                let come_back = init_refused(Refusal::ConcurrentTransactions);
                let records = self.decided(id, aborted, level, now);
                self.write(records, TxnReply::Init(come_back))
            }
            Err(refusal) => {
                let refusal = fenced_before(PRODUCER_FENCED_FROM, version, refusal);
                let when = self.when_refused(id, refusal);
                self.answer(TxnReply::Init(init_refused(refusal)), when)
            }
        }
    }

    fn check_begin(&self, id: &Text, timeout_ms: i32) -> Result<(), Refusal> {
        if id.is_empty() {
            return Err(Refusal::InvalidRequest);
        }
        if timeout_ms <= 0 || timeout_ms > self.settings.max_timeout_ms {
            return Err(Refusal::InvalidTransactionTimeout);
        }
        Ok(())
    }

    /// The transaction as it is to be: Empty, or an abort that comes first.
    fn begin(
        &self,
        id: &Text,
        request: &InitProducerIdRequest,
        held: Option<Held>,
        level: TransactionVersion,
        fresh: &mut Option<ProducerId>,
        now: Now,
    ) -> Result<Transaction, Refusal> {
        let timeout_ms = request.transaction_timeout_ms;
        let Some(current) = self.saved.get(&**id) else {
            // Whatever the producer holds: the id was forgotten, and it gets a new one.
            return Ok(Transaction::first(take(fresh)?, timeout_ms, now));
        };
        if current.state.is_prepared() {
            return Err(Refusal::ConcurrentTransactions);
        }
        if held.is_some_and(|held| !may_go_on(held, current)) {
            return Err(Refusal::ProducerFenced);
        }
        if current.state == TransactionState::Ongoing {
            return current.fenced(level, fresh, now);
        }
        begin_again(current, held, timeout_ms, fresh, now)
    }
}

/// Whether the producer is the one that is known, or one whose id was replaced without its hearing
/// of it. Its epoch is looked at later.
fn may_go_on(held: Held, current: &Transaction) -> bool {
    held.producer_id == current.producer_id
        || (held.producer_id == current.previous_producer_id && is_exhausted(held.epoch))
}

/// The next epoch, or another producer id.
fn begin_again(
    current: &Transaction,
    held: Option<Held>,
    timeout_ms: i32,
    fresh: &mut Option<ProducerId>,
    now: Now,
) -> Result<Transaction, Refusal> {
    let (producer_id, epoch) = (current.producer_id, current.epoch);
    let again = |producer_id, epoch, last_epoch| {
        Ok(current.begun(producer_id, epoch, last_epoch, timeout_ms, now))
    };
    let is_up_to_date = held.is_none_or(|held| held.epoch == epoch);
    let last_epoch = if held.is_some() { epoch } else { NO_EPOCH };
    if is_exhausted(epoch) {
        if is_up_to_date {
            return again(take(fresh)?, 0, last_epoch);
        }
        // Kafka trips over this one, and so it answers.
        return Err(Refusal::UnknownServerError);
    }
    if is_up_to_date {
        return again(producer_id, epoch.saturating_add(1), last_epoch);
    }
    match held {
        // The answer to the same request was lost.
        Some(held) if held.epoch == current.last_epoch => {
            again(producer_id, epoch, current.last_epoch)
        }
        _ => Err(Refusal::ProducerFenced),
    }
}

fn held(request: &InitProducerIdRequest) -> Result<Option<Held>, Refusal> {
    match (request.producer_id, request.producer_epoch) {
        (NO_PRODUCER_ID, NO_EPOCH) => Ok(None),
        (NO_PRODUCER_ID, _) | (_, NO_EPOCH) => Err(Refusal::InvalidRequest),
        (producer_id, epoch) => Ok(Some(Held { producer_id, epoch })),
    }
}

fn granted(producer_id: ProducerId, producer_epoch: ProducerEpoch) -> InitProducerIdResponse {
    InitProducerIdResponse {
        producer_id,
        producer_epoch,
        ..InitProducerIdResponse::default()
    }
}

/// A refused InitProducerId.
pub(super) fn init_refused(refusal: Refusal) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: refusal.code(),
        ..granted(NO_PRODUCER_ID, NO_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotent_producer_gets_an_id_and_the_first_epoch() {
        let request = InitProducerIdRequest::default();
        assert_eq!((request.producer_id, request.producer_epoch), (-1, -1));
        let mut hand = Some(9);
        assert_eq!(init_idempotent(&request, &mut hand), granted(9, 0));
        let none_left = init_refused(Refusal::CoordinatorLoadInProgress);
        assert_eq!(init_idempotent(&request, &mut hand), none_left);
        let half = InitProducerIdRequest {
            producer_id: 9,
            ..request
        };
        let mut hand = Some(10);
        let refused = init_refused(Refusal::InvalidRequest);
        assert_eq!(init_idempotent(&half, &mut hand), refused);
        assert_eq!(hand, Some(10));
    }
}

//! EndTxn (key 26): a transaction is decided. v2 knows `PRODUCER_FENCED` · v5 takes the next epoch
//! with each transaction and is told id and epoch (KIP-890).

use ottla_protocol::messages::{EndTxnRequest, EndTxnResponse};
use ottla_protocol::{NONE, ProducerId, Refusal};

use super::settings::TransactionVersion;
use super::states::TransactionState;
use super::transaction::{
    LAST_EPOCH, NO_EPOCH, NO_PRODUCER_ID, Transaction, fenced_before, is_exhausted,
};
use super::{TxnDecision, TxnLedger, TxnReply};
use crate::ledger::Now;

/// From here on clients know `PRODUCER_FENCED`.
const PRODUCER_FENCED_FROM: i16 = 2;
/// From here on the client goes by `transaction.version` 2.
const EPOCH_BUMP_FROM: i16 = 5;

/// What a request to end a transaction comes to.
enum Verdict {
    /// It is to be decided.
    Decide,
    /// It was, and this is the same request again.
    Done,
}

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
        let id = &request.transactional_id;
        let client_version = if version >= EPOCH_BUMP_FROM {
            TransactionVersion::V2
        } else {
            TransactionVersion::V0
        };
        let ended =
            self.known(id).and_then(
                |current| match check_end(current, request, client_version)? {
                    Verdict::Done => Ok(Err(granted(current, client_version))),
                    Verdict::Decide => current
                        .decided(request.committed, client_version, fresh, now)
                        .map(Ok),
                },
            );
        match ended {
            Ok(Ok(prepared)) => {
                let reply = granted(&prepared.completed(now), client_version);
                let records = self.decided(id, prepared, level, now);
                self.write(records, TxnReply::End(reply))
            }
            Ok(Err(again)) => self.answer(TxnReply::End(again), self.seen(id)),
            Err(refusal) => {
                let refusal = fenced_before(PRODUCER_FENCED_FROM, version, refusal);
                let when = self.when_refused(id, refusal);
                self.answer(TxnReply::End(end_refused(refusal)), when)
            }
        }
    }
}

fn check_end(
    current: &Transaction,
    request: &EndTxnRequest,
    client_version: TransactionVersion,
) -> Result<Verdict, Refusal> {
    if client_version.bumps_epochs() {
        check_end_with_bump(current, request)
    } else {
        check_end_without_bump(current, request)
    }
}

/// `transaction.version` 0 and 1: the epoch stays, so the state alone tells a repetition.
fn check_end_without_bump(
    current: &Transaction,
    request: &EndTxnRequest,
) -> Result<Verdict, Refusal> {
    use TransactionState::*;
    current.check_producer(request.producer_id, request.producer_epoch)?;
    match (current.state, request.committed) {
        (PrepareCommit | PrepareAbort, _) => Err(Refusal::ConcurrentTransactions),
        (Ongoing, _) => Ok(Verdict::Decide),
        (CompleteCommit, true) | (CompleteAbort, false) => Ok(Verdict::Done),
        _ => Err(Refusal::InvalidTxnState),
    }
}

/// `transaction.version` 2: the epoch tells a repetition, for it was raised by the first one.
fn check_end_with_bump(current: &Transaction, request: &EndTxnRequest) -> Result<Verdict, Refusal> {
    use TransactionState::*;
    // First of all: while it is prepared, its producer id may be about to change.
    if current.state.is_prepared() {
        return Err(Refusal::ConcurrentTransactions);
    }
    let was_rotated = current.previous_producer_id == request.producer_id
        && request.producer_epoch == LAST_EPOCH
        && current.epoch == 0;
    // IMPORTANT: nobody is given the epoch above the last one, for its owner could not be shut out.
    // (Who ended in the last epoch by this protocol has another id by now; who finds that above it was
    // shut out by the old one. Apache Kafka 4.3 takes that for a repetition, and gives it away.)
    let was_bumped = !is_exhausted(request.producer_epoch)
        && request.producer_epoch.checked_add(1) == Some(current.epoch);
    if current.producer_id != request.producer_id && !was_rotated {
        return Err(Refusal::InvalidProducerIdMapping);
    }
    let is_over = matches!(current.state, CompleteCommit | CompleteAbort);
    let is_repeated = is_over && (was_rotated || was_bumped);
    if !is_repeated && request.producer_epoch != current.epoch {
        return Err(Refusal::ProducerFenced);
    }
    match (current.state, request.committed) {
        (Ongoing, _) => Ok(Verdict::Decide),
        (CompleteCommit, true) | (CompleteAbort, false) if is_repeated => Ok(Verdict::Done),
        // The client cannot know whether anything has joined yet.
        (Empty | CompleteCommit | CompleteAbort, false) if !is_repeated => Ok(Verdict::Decide),
        _ => Err(Refusal::InvalidTxnState),
    }
}

/// Id and epoch for the next transaction; only those who had their epoch raised are told.
fn granted(after: &Transaction, client_version: TransactionVersion) -> EndTxnResponse {
    let (producer_id, producer_epoch) = if client_version.bumps_epochs() {
        (after.producer_id, after.epoch)
    } else {
        (NO_PRODUCER_ID, NO_EPOCH)
    };
    EndTxnResponse {
        error_code: NONE,
        producer_id,
        producer_epoch,
        ..EndTxnResponse::default()
    }
}

/// A refused EndTxn.
pub(super) fn end_refused(refusal: Refusal) -> EndTxnResponse {
    EndTxnResponse {
        error_code: refusal.code(),
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_EPOCH,
        ..EndTxnResponse::default()
    }
}

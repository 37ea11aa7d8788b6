//! One transactional id, and what each step makes of it.
//!
//! Every step is a whole new value: it becomes a record, and counts once that is replayed.

use ottla_protocol::{ProducerEpoch, ProducerId, Refusal};

use super::partitions::Partitions;
use super::settings::TransactionVersion;
use super::states::TransactionState;
use crate::ledger::Now;

/// No producer id, or none that is known.
pub(crate) const NO_PRODUCER_ID: ProducerId = -1;
/// No epoch, or none that is known.
pub(crate) const NO_EPOCH: ProducerEpoch = -1;
/// A transaction that has not begun.
pub(crate) const NO_TIME: i64 = -1;

/// The last epoch that a client may hold. The one above it is kept back, so that whoever holds this
/// one can still be shut out.
pub(super) const LAST_EPOCH: ProducerEpoch = ProducerEpoch::MAX - 1;

/// Whether a producer with this epoch needs another id before its next one.
pub(super) fn is_exhausted(epoch: ProducerEpoch) -> bool {
    epoch >= LAST_EPOCH
}

/// What is known of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// The producer id in use.
    pub producer_id: ProducerId,
    /// The one before the latest change.
    pub previous_producer_id: ProducerId,
    /// The one that takes its place when the transaction is complete; -1 none.
    pub next_producer_id: ProducerId,
    /// The epoch in use.
    pub epoch: ProducerEpoch,
    /// The epoch before, which a retried request may still carry; -1 none. Records have no place
    /// for it: after a load it is -1, and such a retry is refused, as in Kafka.
    pub last_epoch: ProducerEpoch,
    /// How long a transaction may be open.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: TransactionState,
    /// Where its records and offsets are.
    pub partitions: Partitions,
    /// When it began, or -1.
    pub start_ms: i64,
    /// When it last changed.
    pub update_ms: i64,
    /// What the client went by at the latest change that it asked for.
    pub client_version: TransactionVersion,
}

impl Transaction {
    /// The first record of a transactional id.
    pub(super) fn first(producer_id: ProducerId, timeout_ms: i32, now: Now) -> Self {
        Self {
            producer_id,
            previous_producer_id: producer_id,
            next_producer_id: NO_PRODUCER_ID,
            epoch: 0,
            last_epoch: NO_EPOCH,
            timeout_ms,
            state: TransactionState::Empty,
            partitions: Partitions::default(),
            start_ms: NO_TIME,
            update_ms: now.wall_ms,
            client_version: TransactionVersion::V0,
        }
    }

    /// What all steps have in common. The time of a record never goes back, even if the clock does.
    fn step(&self, state: TransactionState, now: Now) -> Self {
        debug_assert!(
            state.may_follow(self.state),
            "{:?} to {state:?}",
            self.state
        );
        Self {
            previous_producer_id: self.producer_id,
            state,
            update_ms: now.wall_ms.max(self.update_ms),
            ..self.clone()
        }
    }

    /// A producer begins anew, or again.
    pub(super) fn begun(
        &self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        last_epoch: ProducerEpoch,
        timeout_ms: i32,
        now: Now,
    ) -> Self {
        Self {
            producer_id,
            epoch,
            last_epoch,
            timeout_ms,
            partitions: Partitions::default(),
            start_ms: NO_TIME,
            ..self.step(TransactionState::Empty, now)
        }
    }

    /// Partitions join; the first ones begin the transaction.
    pub(super) fn joined_by(
        &self,
        partitions: &Partitions,
        client_version: TransactionVersion,
        now: Now,
    ) -> Self {
        let mut next = Self {
            client_version,
            ..self.step(TransactionState::Ongoing, now)
        };
        next.partitions.extend(partitions);
        if self.state != TransactionState::Ongoing {
            next.start_ms = next.update_ms;
        }
        next
    }

    /// The transaction is decided. From `transaction.version` 2 on this takes the next epoch, and if
    /// that is the last one, `fresh` is used up for the producer id that will follow.
    pub(super) fn decided(
        &self,
        committed: bool,
        client_version: TransactionVersion,
        fresh: &mut Option<ProducerId>,
        now: Now,
    ) -> Result<Self, Refusal> {
        let state = if committed {
            TransactionState::PrepareCommit
        } else {
            TransactionState::PrepareAbort
        };
        let mut next = Self {
            next_producer_id: NO_PRODUCER_ID,
            client_version,
            ..self.step(state, now)
        };
        if client_version.bumps_epochs() {
            if is_exhausted(self.epoch) {
                next.next_producer_id = take(fresh)?;
            }
            next.last_epoch = self.epoch;
            next.epoch = match self.epoch.checked_add(1) {
                Some(bumped) => bumped,
                // Nobody was ever given this epoch. An abort must be possible nevertheless.
                None if !committed => self.epoch,
                None => return Err(Refusal::UnknownServerError),
            };
        }
        if self.state != TransactionState::Ongoing {
            // Nothing had joined, so it begins with its end.
            next.start_ms = next.update_ms;
        }
        Ok(next)
    }

    /// An open transaction is aborted by the coordinator, with an epoch that shuts its producer out.
    pub(super) fn fenced(
        &self,
        level: TransactionVersion,
        fresh: &mut Option<ProducerId>,
        now: Now,
    ) -> Result<Self, Refusal> {
        if level.bumps_epochs() {
            return self.decided(false, level, fresh, now);
        }
        let mut next = self.decided(false, TransactionVersion::V0, fresh, now)?;
        next.epoch = self.epoch.saturating_add(1);
        next.last_epoch = NO_EPOCH;
        Ok(next)
    }

    /// Every partition has its marker.
    pub(super) fn completed(&self, now: Now) -> Self {
        let state = if self.state == TransactionState::PrepareCommit {
            TransactionState::CompleteCommit
        } else {
            TransactionState::CompleteAbort
        };
        let mut next = Self {
            next_producer_id: NO_PRODUCER_ID,
            partitions: Partitions::default(),
            ..self.step(state, now)
        };
        if self.client_version.bumps_epochs() && self.next_producer_id != NO_PRODUCER_ID {
            next.producer_id = self.next_producer_id;
            next.epoch = 0;
        }
        next
    }

    /// Whether a request comes from the producer that the id belongs to.
    pub(super) fn check_producer(
        &self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
    ) -> Result<(), Refusal> {
        if producer_id != self.producer_id {
            return Err(Refusal::InvalidProducerIdMapping);
        }
        if epoch != self.epoch {
            return Err(Refusal::ProducerFenced);
        }
        Ok(())
    }

    /// Whether it has been open for too long. The longest time-out of all stands for none.
    pub(super) fn is_timed_out(&self, now: Now) -> bool {
        self.deadline_ms()
            .is_some_and(|deadline| deadline < now.wall_ms)
    }

    /// After which moment it has been open for too long, if it is open.
    pub(super) fn deadline_ms(&self) -> Option<i64> {
        let has_one = self.state == TransactionState::Ongoing && self.timeout_ms != i32::MAX;
        has_one.then(|| self.start_ms.saturating_add(i64::from(self.timeout_ms)))
    }
}

/// The fresh producer id; if there is none at hand, the client is to come back.
pub(super) fn take(fresh: &mut Option<ProducerId>) -> Result<ProducerId, Refusal> {
    fresh.take().ok_or(Refusal::CoordinatorLoadInProgress)
}

/// An older client does not know `PRODUCER_FENCED`; `INVALID_PRODUCER_EPOCH` makes it do the same.
pub(super) fn fenced_before(known_from: i16, version: i16, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::ProducerFenced if version < known_from => Refusal::InvalidProducerEpoch,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(wall_ms: i64) -> Now {
        Now {
            monotonic: Duration::ZERO,
            wall_ms,
        }
    }

    fn open(epoch: ProducerEpoch) -> Transaction {
        let mut first = Transaction::first(7, 1_000, at(100));
        first.epoch = epoch;
        let partitions = Partitions::from_iter([("t", 0)]);
        first.joined_by(&partitions, TransactionVersion::V2, at(200))
    }

    #[test]
    fn the_epoch_above_the_last_can_be_aborted_only() {
        let stuck = open(ProducerEpoch::MAX);
        let commit = stuck.decided(true, TransactionVersion::V2, &mut Some(8), at(300));
        assert_eq!(commit, Err(Refusal::UnknownServerError));
        let abort = stuck.decided(false, TransactionVersion::V2, &mut Some(8), at(300));
        let abort = abort.expect("it must be possible");
        assert_eq!((abort.producer_id, abort.epoch), (7, ProducerEpoch::MAX));
        let over = abort.completed(at(400));
        assert_eq!((over.producer_id, over.epoch), (8, 0));
        let fenced = stuck.fenced(TransactionVersion::V1, &mut None, at(300));
        assert_eq!(fenced.map(|next| next.epoch), Ok(ProducerEpoch::MAX));
    }

    #[test]
    fn a_producer_id_is_used_up_only_where_the_epoch_runs_out() {
        let mut hand = Some(8);
        for epoch in [0, 5, LAST_EPOCH - 1] {
            let next = open(epoch).decided(true, TransactionVersion::V2, &mut hand, at(300));
            assert_eq!(next.map(|next| next.next_producer_id), Ok(NO_PRODUCER_ID));
            assert_eq!(hand, Some(8));
        }
        let old = open(LAST_EPOCH).decided(true, TransactionVersion::V0, &mut hand, at(300));
        assert_eq!(old.map(|next| next.epoch), Ok(LAST_EPOCH));
        assert_eq!(hand, Some(8));
        let last = open(LAST_EPOCH).decided(true, TransactionVersion::V2, &mut hand, at(300));
        assert_eq!(last.map(|next| next.next_producer_id), Ok(8));
        let none_left = open(LAST_EPOCH).decided(true, TransactionVersion::V2, &mut hand, at(300));
        assert_eq!(none_left, Err(Refusal::CoordinatorLoadInProgress));
    }

    #[test]
    fn it_is_too_late_only_after_the_deadline() {
        let open = open(0);
        assert_eq!(open.deadline_ms(), Some(1_200));
        assert!(!open.is_timed_out(at(1_200)));
        assert!(open.is_timed_out(at(1_201)));
        let endless = Transaction {
            timeout_ms: i32::MAX,
            ..open.clone()
        };
        assert!(!endless.is_timed_out(at(i64::MAX)));
        let decided = open.decided(true, TransactionVersion::V2, &mut None, at(300));
        assert!(!decided.expect("it is open").is_timed_out(at(i64::MAX)));
    }

    #[test]
    fn a_clock_that_goes_back_takes_no_record_back() {
        let open = open(0);
        let next = open.joined_by(&Partitions::default(), TransactionVersion::V2, at(50));
        assert_eq!((next.start_ms, next.update_ms), (200, 200));
    }

    #[test]
    fn old_clients_hear_a_word_that_they_know() {
        let told = |version| fenced_before(2, version, Refusal::ProducerFenced);
        assert_eq!(told(1), Refusal::InvalidProducerEpoch);
        assert_eq!(told(2), Refusal::ProducerFenced);
        let other = fenced_before(2, 1, Refusal::InvalidTxnState);
        assert_eq!(other, Refusal::InvalidTxnState);
    }
}

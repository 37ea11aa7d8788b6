//! Which producers asked to write into a transaction that this partition does not have yet.
//!
//! The first batch of a transaction is written only after its coordinator has said that the
//! partition belongs to it. Between question and answer the transaction may end: then the guard
//! that was given out with the question fits no more, and the batch is refused. So no transaction
//! can be left open here that its coordinator knows nothing of.

use std::collections::HashMap;

use ottla_protocol::{Refusal, Refused};

/// Questions that may be open at once. Kafka has no such limit; what was asked longest ago is
/// forgotten first, which costs that producer one refused batch.
const UNVERIFIED_MAX: usize = 10_000;

/// Ties an answer of the coordinator to the question it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard(u64);

/// What is asked about the first batch of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unverified {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    /// The producer's epoch rises with each transaction (transaction version 2): then its
    /// sequences begin at 0 in each.
    pub bumps_epoch: bool,
    pub now_ms: i64,
}

/// What a transactional batch must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Nothing: `transaction.partition.verification.enable` is off.
    NotAsked,
    /// That it was verified under this guard, or that its transaction is open here already.
    Under(Option<Guard>),
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    guard: Guard,
    asked_ms: i64,
    epoch: i16,
    /// While an earlier batch is not verified yet, a later one must not be written before it.
    lowest_sequence: i32,
    bumps_epoch: bool,
}

/// The open questions of one partition, by producer.
#[derive(Debug, Clone, Default)]
pub(super) struct Verifications {
    entries: HashMap<i64, Entry>,
    n_guards: u64,
}

impl Verifications {
    pub(super) fn begin(&mut self, asked: Unverified) -> Guard {
        self.forget_oldest();
        let n_guards = &mut self.n_guards;
        let entry = self.entries.entry(asked.producer_id).or_insert_with(|| {
            *n_guards += 1;
            Entry {
                guard: Guard(*n_guards),
                asked_ms: asked.now_ms,
                epoch: asked.producer_epoch,
                lowest_sequence: asked.base_sequence,
                bumps_epoch: asked.bumps_epoch,
            }
        });
        if asked.producer_epoch == entry.epoch {
            entry.lowest_sequence = entry.lowest_sequence.min(asked.base_sequence);
        } else if asked.producer_epoch > entry.epoch {
            entry.epoch = asked.producer_epoch;
            entry.lowest_sequence = asked.base_sequence;
        }
        entry.guard
    }

    pub(super) fn check(&self, producer_id: i64, verified: Verified) -> Result<(), Refused> {
        let Verified::Under(guard) = verified else {
            return Ok(());
        };
        let expected = self.entries.get(&producer_id).map(|entry| entry.guard);
        if guard.is_some() && guard == expected {
            return Ok(());
        }
        let why = "Record was not part of an ongoing transaction".to_owned();
        Err(Refused::new(Refusal::InvalidTxnState, why))
    }

    /// The rules for sequences that hold until the first batch of the transaction is written.
    pub(super) fn check_sequence(
        &self,
        producer_id: i64,
        sequence: i32,
        has_history: bool,
    ) -> Result<(), Refused> {
        let Some(entry) = self.entries.get(&producer_id) else {
            return Ok(());
        };
        let expected = match entry.bumps_epoch && !has_history && sequence != 0 {
            true => 0,
            false if sequence > entry.lowest_sequence => entry.lowest_sequence,
            false => return Ok(()),
        };
        let why = format!(
            "producer {producer_id} sent sequence {sequence} into a new transaction, expected is {expected}"
        );
        Err(Refused::new(Refusal::OutOfOrderSequenceNumber, why))
    }

    /// A transactional batch was written, or a marker: the question is settled. But the marker of
    /// one transaction must not settle what the next one asks, whose epoch is the marker's.
    pub(super) fn settle(&mut self, producer_id: i64, marker_epoch: Option<i16>) {
        let belongs_to_the_next = self
            .entries
            .get(&producer_id)
            .is_some_and(|entry| entry.bumps_epoch && marker_epoch == Some(entry.epoch));
        if !belongs_to_the_next {
            self.entries.remove(&producer_id);
        }
    }

    pub(super) fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.entries
            .retain(|_, entry| now_ms.saturating_sub(entry.asked_ms) < expiration_ms);
    }

    fn forget_oldest(&mut self) {
        if self.entries.len() < UNVERIFIED_MAX {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.guard.0);
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.entries.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(producer_epoch: i16, base_sequence: i32) -> Unverified {
        Unverified {
            producer_id: 1,
            producer_epoch,
            base_sequence,
            bumps_epoch: true,
            now_ms: 0,
        }
    }

    #[test]
    fn a_guard_fits_until_its_question_is_settled() {
        let mut open = Verifications::default();
        let first = open.begin(asked(0, 0));
        assert_eq!(open.begin(asked(0, 5)), first, "one question a producer");
        assert!(open.check(1, Verified::Under(Some(first))).is_ok());
        assert!(open.check(1, Verified::Under(None)).is_err());
        assert!(open.check(2, Verified::Under(Some(first))).is_err());
        open.settle(1, None);
        assert!(open.check(1, Verified::Under(Some(first))).is_err());
        assert_ne!(open.begin(asked(0, 0)), first, "a late answer fits nothing");
        assert!(open.check(1, Verified::Under(Some(first))).is_err());
        assert!(open.check(1, Verified::NotAsked).is_ok());
    }

    #[test]
    fn the_marker_of_the_last_transaction_does_not_settle_the_next_one() {
        let mut open = Verifications::default();
        let guard = open.begin(asked(4, 0));
        open.settle(1, Some(4));
        assert!(open.check(1, Verified::Under(Some(guard))).is_ok());
        open.settle(1, Some(5));
        assert!(open.check(1, Verified::Under(Some(guard))).is_err());
        let old_client = Unverified {
            bumps_epoch: false,
            ..asked(4, 0)
        };
        let guard = open.begin(old_client);
        open.settle(1, Some(4));
        assert!(open.check(1, Verified::Under(Some(guard))).is_err());
    }

    #[test]
    fn no_sequence_overtakes_the_lowest_that_waits() {
        let mut open = Verifications::default();
        assert!(open.check_sequence(1, 9, false).is_ok(), "nothing is asked");
        open.begin(asked(0, 7));
        open.begin(asked(0, 3));
        assert!(open.check_sequence(1, 3, true).is_ok());
        assert!(open.check_sequence(1, 7, true).is_err());
        assert!(open.check_sequence(1, 3, false).is_err(), "it must be 0");
        open.begin(asked(1, 9));
        assert!(open.check_sequence(1, 9, true).is_ok(), "another epoch");
    }

    #[test]
    fn questions_are_bounded_and_expire() {
        let mut open = Verifications::default();
        for id in 0..=UNVERIFIED_MAX as i64 {
            open.begin(Unverified {
                producer_id: id,
                ..asked(0, 0)
            });
        }
        assert_eq!(open.entries.len(), UNVERIFIED_MAX);
        assert!(!open.entries.contains_key(&0));
        open.expire(10, 11);
        assert_eq!(open.entries.len(), UNVERIFIED_MAX);
        open.expire(11, 11);
        assert!(open.entries.is_empty());
    }
}

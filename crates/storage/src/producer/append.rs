//! What one batch does to one producer: duplicate, gap, fenced, fine.

use ottla_protocol::batch::{Header, NO_PRODUCER_EPOCH, advance_sequence};
use ottla_protocol::batch_builder::EndMarker;
use ottla_protocol::{Refusal, Refused};

use super::{Guard, Producer, Producers, Unverified, Verified};

/// Who writes the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appender {
    /// A producer: its sequences are checked.
    Client,
    /// A coordinator, for a producer: offsets that a transaction commits have no sequences.
    Coordinator,
}

/// What becomes of a batch that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    /// It was written before: answer as then, write nothing.
    Duplicate(Duplicate),
}

/// Where a batch already is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duplicate {
    pub base_offset: i64,
    pub last_offset: i64,
    /// Its largest timestamp, which is the append time where the topic sets that.
    pub timestamp: i64,
}

/// How the coordinator ends transactions (KIP-890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionVersion {
    /// Versions 0 and 1: a marker carries the epoch of its records.
    SameEpoch,
    /// Version 2: each transaction ends in an epoch above that of its records.
    BumpedEpoch,
}

impl Producers {
    /// May this batch of records be written? Markers ask [`Self::decide_marker`].
    pub fn decide(
        &self,
        batch: Header<'_>,
        appender: Appender,
        verified: Verified,
    ) -> Result<Verdict, Refused> {
        if !batch.has_producer_id() {
            return Ok(Verdict::Accept);
        }
        let producer = self.get(batch.producer_id());
        if appender == Appender::Client
            && let Some(duplicate) = producer.and_then(|producer| find_duplicate(producer, batch))
        {
            return Ok(Verdict::Duplicate(duplicate));
        }
        if let Some(producer) = producer {
            check_epoch(producer, batch.producer_epoch())?;
        }
        let id = batch.producer_id();
        if batch.is_transactional() && !is_open(producer, batch.producer_epoch()) {
            self.verifications.check(id, verified)?;
        }
        if appender == Appender::Client {
            let has_history = producer.is_some_and(|producer| producer.newest().is_some());
            self.verifications
                .check_sequence(id, batch.base_sequence(), has_history)?;
        }
        let Some(producer) = producer else {
            // Expired, or its records are deleted, or new: any sequence begins its story.
            return Ok(Verdict::Accept);
        };
        if appender == Appender::Client {
            check_sequence(producer, batch)?;
        }
        if producer.transaction_start().is_some() && !batch.is_transactional() {
            let message = format!(
                "producer {} has an open transaction in this partition",
                producer.id()
            );
            return Err(Refused::new(Refusal::InvalidTxnState, message));
        }
        Ok(Verdict::Accept)
    }

    /// A producer wants to write into a transaction: the guard under which its coordinator must be
    /// asked first. None if the transaction is open here already.
    pub fn begin_verification(&mut self, asked: Unverified) -> Result<Option<Guard>, Refused> {
        let producer = self.get(asked.producer_id);
        if let Some(producer) = producer {
            check_epoch(producer, asked.producer_epoch)?;
        }
        if is_open(producer, asked.producer_epoch) {
            return Ok(None);
        }
        Ok(Some(self.verifications.begin(asked)))
    }

    /// May this transaction marker be written?
    pub fn decide_marker(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        marker: EndMarker,
        version: TransactionVersion,
    ) -> Result<(), Refused> {
        let Some(producer) = self.get(producer_id) else {
            return Ok(());
        };
        check_marker_epoch(producer, producer_epoch, version)?;
        if marker.coordinator_epoch < producer.coordinator_epoch() {
            let message = format!(
                "coordinator epoch {} is behind {}",
                marker.coordinator_epoch,
                producer.coordinator_epoch()
            );
            return Err(Refused::new(Refusal::TransactionCoordinatorFenced, message));
        }
        Ok(())
    }
}

fn find_duplicate(producer: &Producer, batch: Header<'_>) -> Option<Duplicate> {
    if batch.producer_epoch() != producer.epoch() {
        return None;
    }
    let range = (batch.base_sequence(), batch.last_sequence());
    let is_same = |seen: &&super::SeenBatch| (seen.first_sequence(), seen.last_sequence) == range;
    let seen = producer.seen().iter().find(is_same)?;
    Some(Duplicate {
        base_offset: seen.first_offset(),
        last_offset: seen.last_offset,
        timestamp: seen.timestamp,
    })
}

fn check_epoch(producer: &Producer, epoch: i16) -> Result<(), Refused> {
    if epoch >= producer.epoch() {
        return Ok(());
    }
    Err(fenced(producer, epoch))
}

/// Whether a transaction of this epoch is open here. One of an earlier epoch is another one.
fn is_open(producer: Option<&Producer>, epoch: i16) -> bool {
    producer
        .is_some_and(|producer| producer.transaction_start().is_some() && producer.epoch() == epoch)
}

fn check_sequence(producer: &Producer, batch: Header<'_>) -> Result<(), Refused> {
    let sequence = batch.base_sequence();
    let expected = match producer.newest() {
        // Nothing is stored that a sequence could follow.
        _ if producer.epoch() == NO_PRODUCER_EPOCH => return Ok(()),
        _ if producer.epoch() != batch.producer_epoch() => 0,
        // Only a marker was seen in this epoch: its records start anew.
        None => 0,
        Some(newest) => advance_sequence(newest.last_sequence, 1),
    };
    if sequence == expected {
        return Ok(());
    }
    let message = format!(
        "producer {} of epoch {} sent sequence {sequence}, expected is {expected}",
        producer.id(),
        batch.producer_epoch(),
    );
    Err(Refused::new(Refusal::OutOfOrderSequenceNumber, message))
}

fn check_marker_epoch(
    producer: &Producer,
    epoch: i16,
    version: TransactionVersion,
) -> Result<(), Refused> {
    let is_fine = match version {
        TransactionVersion::SameEpoch => epoch >= producer.epoch(),
        TransactionVersion::BumpedEpoch => {
            // The coordinator repeats a marker whose answer it missed: nothing is open then. And an
            // epoch that cannot be bumped further must end somehow.
            let is_repeat = epoch == producer.epoch()
                && (producer.transaction_start().is_none() || epoch == i16::MAX);
            epoch > producer.epoch() || is_repeat
        }
    };
    if is_fine {
        Ok(())
    } else {
        Err(fenced(producer, epoch))
    }
}

fn fenced(producer: &Producer, epoch: i16) -> Refused {
    let message = format!(
        "producer {} has epoch {}, not {epoch}",
        producer.id(),
        producer.epoch()
    );
    Refused::new(Refusal::InvalidProducerEpoch, message)
}

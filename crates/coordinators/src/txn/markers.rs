//! Markers that are owed: what the ledger asks of its host once a Prepare is committed.

use std::sync::Arc;

use ottla_protocol::{Offset, ProducerEpoch, ProducerId};

use super::partitions::Partitions;
use super::settings::TransactionVersion;
use super::states::TransactionState;
use super::{TxnDecision, TxnLedger, TxnRecord};
use crate::ledger::{Answer, Now};

/// A demand: write this marker at the end of each of these partitions. It is good until every
/// partition is reported, or until the ledger is dropped; the host repeats what fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markers {
    /// Whose transaction ends.
    pub transactional_id: Arc<str>,
    /// Whose records the marker decides.
    pub producer_id: ProducerId,
    /// The epoch that the marker carries.
    pub producer_epoch: ProducerEpoch,
    /// The leader epoch of the `__transaction_state` partition.
    pub coordinator_epoch: i32,
    /// Commit, or else abort.
    pub committed: bool,
    /// For `WriteTxnMarkers` v2: which rule its receiver checks the epoch by (KIP-1228).
    pub transaction_version: i8,
    /// Where the marker goes; never empty.
    pub partitions: Partitions,
    /// Where the Prepare stands in the log. Before `transaction.version` 2 the next transaction may have
    /// the same producer, epoch and outcome: news of this one are none of that.
    pub prepared_at: Offset,
}

/// What is still owed for a prepared transaction.
#[derive(Debug)]
pub(super) struct Owed {
    /// Where the Prepare stands in the log.
    pub(super) prepared_at: Offset,
    /// The partitions that have not been reported.
    pub(super) left: Partitions,
}

impl TxnLedger {
    /// A demand that has not been handed out; `None` while loading, or if there is nothing to do.
    /// A demand is handed out once its Prepare is committed.
    pub fn next_markers(&mut self) -> Option<Markers> {
        if self.is_loading {
            return None;
        }
        let (first, _) = self.unsent.first_key_value()?;
        if *first >= self.committed_end {
            return None;
        }
        let (prepared_at, id) = self.unsent.pop_first()?;
        let transaction = self.saved.get(&id)?;
        Some(Markers {
            producer_id: transaction.producer_id,
            producer_epoch: transaction.epoch,
            coordinator_epoch: self.coordinator_epoch,
            committed: transaction.state == TransactionState::PrepareCommit,
            transaction_version: transaction.client_version.marker_version(),
            partitions: transaction.partitions.clone(),
            prepared_at,
            transactional_id: id,
        })
    }

    /// Whether the transaction of this id is decided and not at its end: until then it can have no
    /// other.
    pub fn is_prepared(&self, transactional_id: &str) -> bool {
        self.owed.contains_key(transactional_id)
    }

    /// Whether a demand waits until its Prepare is committed: news of the log's committed end are
    /// wanted, though no reply waits for them.
    pub fn awaits_commit(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// These partitions of a demand have their marker, or have no need of one: the cluster's
    /// metadata know no such partition any more, or its answer was `UNSUPPORTED_VERSION` or
    /// `UNSUPPORTED_FOR_MESSAGE_FORMAT`. News that comes late or twice changes nothing. With the
    /// last partition comes the decision to write Complete.
    ///
    /// A partition's leader that answers `UNKNOWN_TOPIC_OR_PARTITION`, `NOT_LEADER_OR_FOLLOWER`,
    /// `NOT_ENOUGH_REPLICAS`, `NOT_ENOUGH_REPLICAS_AFTER_APPEND`, `REQUEST_TIMED_OUT` or
    /// `KAFKA_STORAGE_ERROR`, or none at all, is asked again, after another look at the metadata.
    pub fn handle_markers_done(
        &mut self,
        demand: &Markers,
        done: &Partitions,
        level: TransactionVersion,
        now: Now,
    ) -> TxnDecision {
        let id = &demand.transactional_id;
        if !self.is_current(demand) {
            return self.decision(Vec::new(), Answer::Nobody);
        }
        if let Some(owed) = self.owed.get_mut(id) {
            for (topic, partition) in done.iter() {
                owed.left.remove(topic, partition);
            }
        }
        let complete = self.complete(id, level, now);
        self.decision(complete.into_iter().collect(), Answer::Nobody)
    }

    /// A leader answered `INVALID_PRODUCER_EPOCH` or `TRANSACTION_COORDINATOR_FENCED`: somebody else
    /// has gone on with this producer. The host stops carrying this demand; the transaction stays
    /// prepared until the partition is loaded again, as in Kafka.
    pub fn handle_markers_refused(&mut self, demand: &Markers) {
        if self.is_current(demand) {
            self.counts.refused_markers += 1;
        }
    }

    /// The record that ends a prepared transaction, if nothing is owed any more.
    pub(super) fn complete(
        &self,
        id: &str,
        level: TransactionVersion,
        now: Now,
    ) -> Option<TxnRecord> {
        self.owed.get(id).filter(|owed| owed.left.is_empty())?;
        let prepared = self.saved.get(id)?;
        Some(self.record(id, prepared.completed(now), level))
    }

    /// Whether a demand is about the transaction that is prepared now.
    fn is_current(&self, demand: &Markers) -> bool {
        let id = &demand.transactional_id;
        let owed = self.owed.get(id);
        owed.is_some_and(|owed| owed.prepared_at == demand.prepared_at)
            && self.coordinator_epoch == demand.coordinator_epoch
            && self.saved.get(id).is_some_and(|transaction| {
                transaction.producer_id == demand.producer_id
                    && transaction.epoch == demand.producer_epoch
                    && (transaction.state == TransactionState::PrepareCommit) == demand.committed
            })
    }
}

//! Markers that are owed: what the ledger asks of its host once a Prepare is committed.

use std::sync::Arc;

use ottla_protocol::{Offset, ProducerEpoch, ProducerId};

use super::partitions::Partitions;
use super::settings::TransactionVersion;
use super::{TxnDecision, TxnLedger};
use crate::ledger::Now;

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
        todo!()
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
        let _ = (demand, done, level, now);
        todo!()
    }

    /// A leader answered `INVALID_PRODUCER_EPOCH` or `TRANSACTION_COORDINATOR_FENCED`: somebody else
    /// has gone on with this producer. The host stops carrying this demand; the transaction stays
    /// prepared until the partition is loaded again, as in Kafka.
    pub fn handle_markers_refused(&mut self, demand: &Markers) {
        let _ = demand;
        todo!()
    }
}

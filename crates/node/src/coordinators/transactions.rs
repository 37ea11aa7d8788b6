//! The transaction ledger in its host's hands: what it is lent, and what it is asked.

use std::sync::atomic::{AtomicI16, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use ottla_coordinators::txn::{Counts, Sizes, TransactionState, TxnRecord};
use ottla_coordinators::{
    Answer, Corrupt, Deadline, Freed, Markers, Now, Origin, Partitions as PartitionSet,
    TransactionVersion, TxnDecision, TxnLedger, TxnReply, TxnSettings, When,
    partition_for_transaction,
};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTransaction, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse,
};
use ottla_protocol::{LeaderEpoch, Offset, ProducerId, Refusal};
use ottla_storage::producer::Verified;
use tokio::sync::oneshot;

use super::host::{Host, Pace};
use super::internal_topics::TRANSACTION_STATE_TOPIC;
use super::ledger::Ledger;
use super::producer_ids::ProducerIds;
use super::txn_awaited::AwaitedEnds;
use crate::partitions::Partition;
use crate::services::Services;

/// What every transaction ledger of a node is lent.
#[derive(Clone)]
pub(crate) struct TxnAround {
    pub(crate) ids: Arc<ProducerIds>,
    pub(crate) level: Arc<FinalizedLevel>,
}

/// The finalized level of `transaction.version`.
#[derive(Debug, Default)]
pub(crate) struct FinalizedLevel(AtomicI16);

impl FinalizedLevel {
    pub(crate) fn set(&self, level: i16) {
        self.0.store(level, Ordering::Release);
    }

    fn version(&self) -> TransactionVersion {
        TransactionVersion::from_level(self.0.load(Ordering::Acquire))
    }
}

/// The transactions of one partition of `__transaction_state`.
pub struct Transactions {
    ledger: TxnLedger,
    around: TxnAround,
    awaited: AwaitedEnds,
    /// What our demands hold on to.
    is_read: Arc<()>,
}

/// What a ledger demands, while that is the ledger of its partition.
pub(crate) struct TxnErrand {
    pub(super) demand: Markers,
    of: Weak<()>,
}

impl TxnErrand {
    /// Another one has read the log since, and demands what is left of this anew.
    pub(super) fn is_void(&self) -> bool {
        self.of.strong_count() == 0
    }
}

/// The transaction coordinators of this node.
pub type TxnHost = Host<Transactions>;

impl TxnHost {
    /// InitProducerId with a transactional id.
    ///
    /// # Errors
    /// `NOT_COORDINATOR`, `COORDINATOR_LOAD_IN_PROGRESS`, `COORDINATOR_NOT_AVAILABLE`.
    pub async fn init(
        &self,
        services: &Services,
        request: InitProducerIdRequest,
        version: i16,
    ) -> Result<InitProducerIdResponse, Refusal> {
        let key = request.transactional_id.clone().unwrap_or_default();
        self.stock_up(services).await;
        let run = move |it: &mut Transactions, now| it.init(&request, version, now);
        self.decide(&key, run).await
    }

    /// EndTxn.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub async fn end(
        &self,
        services: &Services,
        request: EndTxnRequest,
        version: i16,
    ) -> Result<EndTxnResponse, Refusal> {
        let key = request.transactional_id.clone();
        self.stock_up(services).await;
        let run = move |it: &mut Transactions, now| it.end(&request, version, now);
        self.decide(&key, run).await
    }

    /// AddPartitionsToTxn, one of its transactions.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub async fn add_partitions(
        &self,
        transaction: AddPartitionsToTxnTransaction,
        version: i16,
    ) -> Result<AddPartitionsToTxnResult, Refusal> {
        let key = transaction.transactional_id.clone();
        let run = move |it: &mut Transactions, now| it.add_partitions(&transaction, version, now);
        self.decide(&key, run).await
    }

    /// As [`Self::add_partitions`]. If the producer's last transaction is still being ended, what comes
    /// second hears when it is; else it hears nothing and is closed.
    pub(super) async fn join(
        &self,
        transaction: AddPartitionsToTxnTransaction,
        version: i16,
    ) -> (
        Result<AddPartitionsToTxnResult, Refusal>,
        oneshot::Receiver<()>,
    ) {
        let key = transaction.transactional_id.clone();
        let (waiter, ended) = oneshot::channel();
        let run = move |it: &mut Transactions, now| {
            if it.ledger.is_prepared(&transaction.transactional_id) {
                it.awaited.add(&transaction.transactional_id, waiter);
            }
            it.add_partitions(&transaction, version, now)
        };
        (self.decide(&key, run).await, ended)
    }

    /// AddOffsetsToTxn of a group that lives in this partition of `__consumer_offsets`.
    ///
    /// # Errors
    /// As [`Self::init`].
    pub async fn add_offsets(
        &self,
        request: AddOffsetsToTxnRequest,
        version: i16,
        offsets_partition: i32,
    ) -> Result<AddOffsetsToTxnResponse, Refusal> {
        let key = request.transactional_id.clone();
        let run = move |it: &mut Transactions, now| {
            it.add_offsets(&request, version, offsets_partition, now)
        };
        self.decide(&key, run).await
    }

    async fn decide<Reply>(
        &self,
        key: &str,
        run: impl FnOnce(&mut Transactions, Now) -> TxnDecision + Send + 'static,
    ) -> Result<Reply, Refusal>
    where
        Reply: TryFrom<TxnReply>,
    {
        self.decide_on(key, Pace::InLine, Verified::NotAsked, run)
            .await
    }

    /// Without an id at hand the ledger refuses what needs one, and the client asks again.
    async fn stock_up(&self, services: &Services) {
        if let Err(refused) = services.producer_ids().stock_up(services).await {
            tracing::warn!(%refused, "no producer id can be given out");
        }
    }

    pub(super) async fn markers_done(
        &self,
        index: i32,
        demand: Markers,
        done: PartitionSet,
    ) -> Result<(), Refusal> {
        let about = demand.transactional_id.clone();
        let run = move |it: &mut Transactions, now| it.markers_done(&demand, &done, now);
        self.tell(index, Some(&about), run).await
    }

    pub(super) async fn markers_refused(&self, index: i32, demand: Markers) -> Result<(), Refusal> {
        let about = demand.transactional_id.clone();
        let run = move |it: &mut Transactions, _| it.markers_refused(&demand);
        self.tell(index, Some(&about), run).await
    }
}

/// What metrics show of one partition of `__transaction_state`.
#[derive(Debug, Default, Clone)]
pub(crate) struct TxnCounts {
    pub by_state: Vec<(TransactionState, usize)>,
    pub n_open: usize,
    pub events: Counts,
}

impl Transactions {
    /// For what only looks.
    pub fn ledger(&self) -> &TxnLedger {
        &self.ledger
    }

    fn init(&mut self, request: &InitProducerIdRequest, version: i16, now: Now) -> TxnDecision {
        let level = self.around.level.version();
        let ledger = &mut self.ledger;
        self.around
            .ids
            .lend(|fresh| ledger.init(request, version, level, fresh, now))
    }

    fn end(&mut self, request: &EndTxnRequest, version: i16, now: Now) -> TxnDecision {
        let level = self.around.level.version();
        let ledger = &mut self.ledger;
        self.around
            .ids
            .lend(|fresh| ledger.end(request, version, level, fresh, now))
    }

    fn add_partitions(
        &mut self,
        transaction: &AddPartitionsToTxnTransaction,
        version: i16,
        now: Now,
    ) -> TxnDecision {
        let level = self.around.level.version();
        self.ledger.add_partitions(transaction, version, level, now)
    }

    fn add_offsets(
        &mut self,
        request: &AddOffsetsToTxnRequest,
        version: i16,
        offsets_partition: i32,
        now: Now,
    ) -> TxnDecision {
        let level = self.around.level.version();
        self.ledger
            .add_offsets(request, version, offsets_partition, level, now)
    }

    fn markers_done(&mut self, demand: &Markers, done: &PartitionSet, now: Now) -> TxnDecision {
        let level = self.around.level.version();
        self.ledger.handle_markers_done(demand, done, level, now)
    }

    fn markers_refused(&mut self, demand: &Markers) -> TxnDecision {
        self.ledger.handle_markers_refused(demand);
        TxnDecision {
            batches: Vec::new(),
            reply: Answer::Now(TxnReply::Done, When::AtOnce),
            released: Vec::new(),
            deadline: self.ledger.next_timeout(),
        }
    }
}

impl Ledger for Transactions {
    type Record = TxnRecord;
    type Reply = TxnReply;
    type Settings = TxnSettings;
    type Around = TxnAround;
    type Errand = TxnErrand;
    type Counts = TxnCounts;

    const WHAT: &'static str = "transactions";
    const TOPIC: &'static str = TRANSACTION_STATE_TOPIC;
    /// What is wrong here ends transactions of others wrongly, in their logs.
    const CHECKS_SUMS: bool = true;
    const UNAVAILABLE: Refusal = Refusal::CoordinatorNotAvailable;

    fn partition_for(key: &str, n_partitions: i32) -> i32 {
        partition_for_transaction(key, n_partitions)
    }

    fn new(settings: TxnSettings, around: &TxnAround, epoch: LeaderEpoch) -> Self {
        Self {
            ledger: TxnLedger::new(settings, epoch),
            around: around.clone(),
            awaited: AwaitedEnds::default(),
            is_read: Arc::new(()),
        }
    }

    /// Control batches, which the topic should not have, say nothing here.
    fn load(
        &mut self,
        offset: Offset,
        origin: Origin,
        key: Option<&Bytes>,
        value: Option<&Bytes>,
    ) -> Result<(), Corrupt> {
        match origin {
            Origin::Marker { .. } => Ok(()),
            _ => self.ledger.load(offset, key, value),
        }
    }

    fn loaded(&mut self, now: Now) -> TxnDecision {
        self.ledger.loaded(self.around.level.version(), now)
    }

    fn note_loaded(&self, partition: &Partition) {
        let Some((offset, what)) = self.ledger.first_skipped() else {
            return;
        };
        let n_skipped = self.ledger.counts().skipped_records;
        tracing::warn!(partition = %partition.id(), n_skipped, offset, %what, "records of unknown types or versions were skipped; the first is told");
    }

    fn encode(record: &TxnRecord) -> (Bytes, Option<Bytes>) {
        record.encode()
    }

    fn replay(&mut self, offset: Offset, _origin: Origin, record: &TxnRecord) {
        self.ledger.replay(offset, record);
        let id = &record.transactional_id;
        if !self.awaited.is_empty() && !self.ledger.is_prepared(id) {
            self.awaited.ended(id);
        }
    }

    /// No transaction writes here.
    fn end_transaction(&mut self, _: Offset, _: ProducerId, _: bool) {}

    fn committed(&mut self, end: Offset) {
        self.ledger.committed(end);
    }

    fn awaits_commit(&self) -> bool {
        self.ledger.awaits_commit()
    }

    fn next_errand(&mut self) -> Option<TxnErrand> {
        let demand = self.ledger.next_markers()?;
        let of = Arc::downgrade(&self.is_read);
        Some(TxnErrand { demand, of })
    }

    fn next_timeout(&self) -> Option<Deadline> {
        self.ledger.next_timeout()
    }

    fn handle_timeout(&mut self, now: Now) -> Option<TxnDecision> {
        let level = self.around.level.version();
        let ledger = &mut self.ledger;
        self.around
            .ids
            .lend(|fresh| ledger.handle_timeout(level, fresh, now))
    }

    fn abandoned(&mut self, decision: TxnDecision, cause: Refusal, now: Now) -> TxnDecision {
        self.ledger.abandoned(decision, cause, now)
    }

    /// Nobody waits here for anything but their own records.
    fn unload(self, _refusal: Refusal) -> Vec<Freed<TxnReply>> {
        Vec::new()
    }

    fn change_settings(&mut self, settings: TxnSettings) {
        self.ledger.change_settings(settings);
    }

    fn refused(reply: TxnReply, refusal: Refusal) -> TxnReply {
        reply.refused(refusal)
    }

    fn count(&self, counts: &mut TxnCounts, walk: bool) {
        if walk {
            let Sizes { by_state } = self.ledger.sizes();
            counts.by_state = by_state.into_iter().collect();
        }
        counts.n_open = self.ledger.n_open();
        counts.events = self.ledger.counts();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ottla_coordinators::txn::Transaction;

    use super::*;

    #[test]
    fn what_a_ledger_demands_is_void_once_another_has_read_the_log() {
        let around = TxnAround {
            ids: Arc::default(),
            level: Arc::default(),
        };
        let prepared = Transaction {
            producer_id: 7,
            previous_producer_id: -1,
            next_producer_id: -1,
            epoch: 0,
            last_epoch: -1,
            timeout_ms: 60_000,
            state: TransactionState::PrepareCommit,
            partitions: [("t", 0)].into_iter().collect(),
            start_ms: 1,
            update_ms: 2,
            client_version: TransactionVersion::from_level(0),
        };
        let record = TxnRecord {
            transactional_id: "id".into(),
            transaction: Some(prepared),
            value_version: 0,
        };
        let (key, value) = record.encode();
        let now = Now {
            monotonic: Duration::ZERO,
            wall_ms: 3,
        };
        let read = || {
            let mut read = Transactions::new(TxnSettings::default(), &around, 1);
            let loaded = read.ledger.load(0, Some(&key), value.as_ref());
            loaded.unwrap();
            assert!(read.loaded(now).batches.is_empty());
            read.committed(1);
            read
        };
        let mut first = read();
        let errand = first.next_errand().unwrap();
        assert!(!errand.is_void());
        let mut second = read();
        drop(first);
        assert!(errand.is_void());
        let again = second.next_errand().unwrap();
        assert_eq!(again.demand, errand.demand);
        assert!(!again.is_void());
    }
}

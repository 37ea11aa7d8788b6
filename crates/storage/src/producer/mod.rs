//! What one partition remembers of the producers that wrote to it: sequences, epochs, transactions.
//!
//! Pure. The log asks [`Producers::decide`] before it writes a batch and calls
//! [`Producers::apply`] after; replaying a log is `apply` alone. Nothing here knows files: the bytes
//! of a snapshot are in [`snapshot`], when to write and delete one is the log's business.

mod append;
mod entry;
pub mod snapshot;
#[cfg(test)]
mod tests;
mod transactions;
mod verification;

use std::collections::HashMap;

use ottla_protocol::batch::{Batch, Header};
use ottla_protocol::batch_builder::EndMarker;

pub use self::append::{Appender, Duplicate, TransactionVersion, Verdict};
pub use self::entry::{Producer, SeenBatch};
pub use self::transactions::CompletedTransaction;
use self::transactions::Transactions;
use self::verification::Verifications;
pub use self::verification::{Guard, Unverified, Verified};

/// Most producers remembered for one partition. Kafka has no such limit; a client that invents ids
/// would fill our memory. What was seen longest ago is forgotten first, which costs that producer
/// nothing unless it retries a batch from then.
const PRODUCERS_MAX: usize = 100_000;
/// How many are forgotten at once, so that the search for the oldest is rare.
const FORGOTTEN_AT_ONCE: usize = PRODUCERS_MAX / 10;

/// The producers of one partition.
#[derive(Debug, Clone, Default)]
pub struct Producers {
    entries: HashMap<i64, Producer>,
    transactions: Transactions,
    /// Not part of what a snapshot holds: a restart asks again.
    verifications: Verifications,
    /// Where the log was when the last batch was applied: the offset of a snapshot taken now.
    end_offset: i64,
}

impl Producers {
    /// Nothing remembered, for a log that continues at `end_offset`.
    pub fn empty(end_offset: i64) -> Self {
        Self {
            end_offset,
            ..Self::default()
        }
    }

    /// From the entries of the snapshot at `end_offset`, without those that expired since.
    pub fn load(
        entries: impl IntoIterator<Item = Producer>,
        end_offset: i64,
        now: i64,
        expiration_ms: i64,
    ) -> Self {
        let mut producers = Self::empty(end_offset);
        for producer in entries
            .into_iter()
            .filter(|it| !it.is_expired(now, expiration_ms))
        {
            if let Some(first_offset) = producer.transaction_start() {
                producers.transactions.start(first_offset, producer.id());
            }
            producers.entries.insert(producer.id(), producer);
        }
        producers
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn get(&self, producer_id: i64) -> Option<&Producer> {
        self.entries.get(&producer_id)
    }

    /// All that are remembered, in no order: what DescribeProducers lists and a snapshot holds.
    pub fn iter(&self) -> impl Iterator<Item = &Producer> {
        self.entries.values()
    }

    /// One past the last batch applied.
    pub fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Batches without a producer pass by `apply` too, or the log says so here.
    pub fn set_end_offset(&mut self, end_offset: i64) {
        self.end_offset = end_offset;
    }

    /// A batch was written, here or by the leader, or is replayed: remember it.
    ///
    /// Returns the transaction that its marker ends. It stays open until [`Self::complete`], which
    /// the log calls when an aborted one is in the transaction index.
    pub fn apply(&mut self, batch: Batch<'_>) -> Option<CompletedTransaction> {
        self.end_offset = batch.next_offset();
        if !batch.has_producer_id() {
            return None;
        }
        if batch.is_control() {
            self.apply_marker(batch)
        } else {
            self.apply_records(*batch);
            None
        }
    }

    /// As [`Self::apply`], for a batch of records (no marker) of which only the header is at hand.
    pub fn apply_header(&mut self, batch: Header<'_>) {
        self.end_offset = batch.next_offset();
        if batch.has_producer_id() {
            self.apply_records(batch);
        }
    }

    /// A batch of records of before the snapshot that this was loaded from, which has only the newest
    /// of each producer. They come from the newest back; one that is known says nothing new.
    pub fn recall(&mut self, producer_id: i64, epoch: i16, batch: SeenBatch) {
        if let Some(producer) = self.entries.get_mut(&producer_id) {
            producer.recall(epoch, batch);
        }
    }

    /// Whether somebody whose newest batch ends at or behind `offset` may have written more of those
    /// that are remembered than are known here.
    pub fn lack_batches_from(&self, offset: i64) -> bool {
        let mut producers = self.entries.values();
        producers.any(|it| it.last_offset() >= offset && it.lacks_batches())
    }

    fn apply_records(&mut self, batch: Header<'_>) {
        let (id, first_offset) = (batch.producer_id(), batch.base_offset());
        let producer = self
            .entries
            .entry(id)
            .or_insert_with(|| Producer::unknown(id));
        producer.append(batch);
        if batch.is_transactional() {
            self.verifications.settle(id, None);
            if producer.transaction_start().is_none() {
                producer.begin_transaction(first_offset);
                self.transactions.start(first_offset, id);
            }
        }
        self.forget_some();
    }

    /// A marker that compaction emptied ends nothing: its whole transaction is gone.
    fn apply_marker(&mut self, batch: Batch<'_>) -> Option<CompletedTransaction> {
        let payload = batch.payload(MARKER_BYTES_MAX).ok()?;
        let record = payload.records().next()?.ok()?;
        let marker = EndMarker::parse(record.key?, record.value?)?;
        let completed = self.completed_by(batch.header(), marker);
        let id = batch.producer_id();
        let producer = self
            .entries
            .entry(id)
            .or_insert_with(|| Producer::unknown(id));
        producer.end_transaction(
            batch.producer_epoch(),
            marker.coordinator_epoch,
            record.timestamp,
        );
        self.verifications.settle(id, Some(batch.producer_epoch()));
        self.forget_some();
        completed
    }

    /// The transaction that this marker ends once it is applied.
    pub fn completed_by(
        &self,
        header: Header<'_>,
        marker: EndMarker,
    ) -> Option<CompletedTransaction> {
        let producer = self.get(header.producer_id())?;
        Some(CompletedTransaction {
            producer_id: producer.id(),
            first_offset: producer.transaction_start()?,
            last_offset: header.base_offset(),
            is_abort: !marker.is_commit,
        })
    }

    /// The transaction's end is on record: it holds readers back only until it is replicated.
    pub fn complete(&mut self, transaction: &CompletedTransaction) {
        self.transactions.complete(transaction);
    }

    /// What the last stable offset will be once `transaction` is complete: an entry of the
    /// transaction index carries it.
    pub fn last_stable_offset_after(&self, transaction: &CompletedTransaction) -> i64 {
        self.transactions.last_stable_offset_after(transaction)
    }

    /// First offset of a transaction that is open, or ended above the high watermark.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        self.transactions.first_unstable_offset()
    }

    /// When the producer of the oldest open transaction wrote last, by its own clock or the log's.
    pub fn oldest_transaction_wrote_at(&self) -> Option<i64> {
        let id = self.transactions.oldest_producer()?;
        self.get(id).map(Producer::last_timestamp)
    }

    /// What a reader of committed records may see of a log replicated up to `high_watermark`.
    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        self.first_unstable_offset()
            .map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// Ends of transactions below `high_watermark` are replicated now.
    pub fn high_watermark_moved(&mut self, high_watermark: i64) {
        self.transactions.replicated(high_watermark);
    }

    /// The log begins at `start_offset` now. Producers stay: they may still retry.
    pub fn start_offset_moved(&mut self, start_offset: i64) {
        self.transactions.replicated(start_offset);
        self.end_offset = self.end_offset.max(start_offset);
    }

    /// Forget producers that were idle for `expiration_ms` (`producer.id.expiration.ms`) and have no
    /// open transaction. Returns how many.
    pub fn expire(&mut self, now: i64, expiration_ms: i64) -> usize {
        let before = self.entries.len();
        self.entries
            .retain(|_, producer| !producer.is_expired(now, expiration_ms));
        self.verifications.expire(now, expiration_ms);
        before - self.entries.len()
    }

    fn forget_some(&mut self) {
        if self.entries.len() <= PRODUCERS_MAX {
            return;
        }
        let mut idle: Vec<(i64, i64)> = self
            .iter()
            .filter(|producer| producer.transaction_start().is_none())
            .map(|producer| (producer.last_offset(), producer.id()))
            .collect();
        if idle.len() > FORGOTTEN_AT_ONCE {
            idle.select_nth_unstable(FORGOTTEN_AT_ONCE);
        }
        for (_, id) in idle.into_iter().take(FORGOTTEN_AT_ONCE) {
            self.entries.remove(&id);
        }
    }
}

/// Markers are one record of a few bytes; more is not a marker.
const MARKER_BYTES_MAX: usize = 64 * 1024;

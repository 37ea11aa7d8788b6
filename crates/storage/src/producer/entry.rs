//! One producer as a partition remembers it.

use ottla_protocol::batch::{
    Header, NO_PRODUCER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP, rewind_sequence,
};

/// How many batches of a producer are remembered: as many as it may have in flight.
pub(super) const SEEN_MAX: usize = 5;
/// No coordinator has ended a transaction of this producer here.
pub(super) const NO_COORDINATOR_EPOCH: i32 = -1;

/// A batch that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenBatch {
    pub last_sequence: i32,
    pub last_offset: i64,
    /// Last minus first, of offsets and of sequences.
    pub offset_delta: i32,
    pub timestamp: i64,
}

impl SeenBatch {
    pub fn of(batch: Header<'_>) -> Self {
        Self {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta(),
            timestamp: batch.max_timestamp(),
        }
    }

    pub fn first_sequence(&self) -> i32 {
        match self.last_sequence {
            NO_SEQUENCE => NO_SEQUENCE,
            last => rewind_sequence(last, self.offset_delta),
        }
    }

    pub fn first_offset(&self) -> i64 {
        self.last_offset
            .saturating_sub(i64::from(self.offset_delta))
    }
}

/// One producer id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    id: i64,
    /// -1 until a batch or marker was seen.
    epoch: i16,
    /// Batches of `epoch`, oldest first; the first `n_seen` are set.
    seen: [SeenBatch; SEEN_MAX],
    n_seen: usize,
    coordinator_epoch: i32,
    transaction_start: Option<i64>,
    last_timestamp: i64,
}

const NOTHING_SEEN: SeenBatch = SeenBatch {
    last_sequence: NO_SEQUENCE,
    last_offset: -1,
    offset_delta: 0,
    timestamp: -1,
};

impl Producer {
    pub(super) fn unknown(id: i64) -> Self {
        Self {
            id,
            epoch: NO_PRODUCER_EPOCH,
            seen: [NOTHING_SEEN; SEEN_MAX],
            n_seen: 0,
            coordinator_epoch: NO_COORDINATOR_EPOCH,
            transaction_start: None,
            last_timestamp: NO_TIMESTAMP,
        }
    }

    /// As a snapshot has it: at most the newest batch survives there.
    pub(super) fn restored(
        id: i64,
        epoch: i16,
        newest: Option<SeenBatch>,
        coordinator_epoch: i32,
        transaction_start: Option<i64>,
        last_timestamp: i64,
    ) -> Self {
        let mut producer = Self::unknown(id);
        producer.epoch = epoch;
        producer.coordinator_epoch = coordinator_epoch;
        producer.transaction_start = transaction_start;
        producer.last_timestamp = last_timestamp;
        if let Some(newest) = newest {
            producer.remember(newest);
        }
        producer
    }

    pub fn id(&self) -> i64 {
        self.id
    }

    pub fn epoch(&self) -> i16 {
        self.epoch
    }

    /// -1 if only a marker was seen in this epoch.
    pub fn last_sequence(&self) -> i32 {
        self.newest()
            .map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// -1 likewise.
    pub fn last_offset(&self) -> i64 {
        self.newest().map_or(-1, |batch| batch.last_offset)
    }

    pub fn last_timestamp(&self) -> i64 {
        self.last_timestamp
    }

    /// -1 if no transaction of this producer ended here.
    pub fn coordinator_epoch(&self) -> i32 {
        self.coordinator_epoch
    }

    /// First offset of the transaction that is open.
    pub fn transaction_start(&self) -> Option<i64> {
        self.transaction_start
    }

    /// The batches remembered, oldest first.
    pub fn seen(&self) -> &[SeenBatch] {
        self.seen.get(..self.n_seen).unwrap_or_default()
    }

    pub(super) fn newest(&self) -> Option<&SeenBatch> {
        self.seen().last()
    }

    pub fn is_expired(&self, now: i64, expiration_ms: i64) -> bool {
        self.transaction_start.is_none() && now.saturating_sub(self.last_timestamp) >= expiration_ms
    }

    pub(super) fn append(&mut self, batch: Header<'_>) {
        self.enter_epoch(batch.producer_epoch());
        self.last_timestamp = batch.max_timestamp();
        self.remember(SeenBatch::of(batch));
    }

    /// A batch that was written before those that are known.
    pub(super) fn recall(&mut self, epoch: i16, batch: SeenBatch) {
        let is_older = |oldest: &SeenBatch| batch.last_offset < oldest.last_offset;
        if self.lacks_batches() && epoch == self.epoch && self.seen().first().is_some_and(is_older)
        {
            self.remember(batch);
            self.seen[..self.n_seen].rotate_right(1);
        }
    }

    /// Whether there may be batches of this epoch that are to be remembered besides those that are
    /// known. If none is, a marker came last; and 0 is the first sequence of an epoch (or the one
    /// behind the last of all, once in 2^31).
    pub(super) fn lacks_batches(&self) -> bool {
        let oldest = self.seen().first();
        self.n_seen < SEEN_MAX && oldest.is_some_and(|it| it.first_sequence() != 0)
    }

    pub(super) fn begin_transaction(&mut self, first_offset: i64) {
        self.transaction_start = Some(first_offset);
    }

    /// Returns where the transaction began, if one was open.
    pub(super) fn end_transaction(&mut self, epoch: i16, coordinator_epoch: i32, timestamp: i64) {
        self.enter_epoch(epoch);
        self.coordinator_epoch = coordinator_epoch;
        self.last_timestamp = timestamp;
        self.transaction_start = None;
    }

    /// Sequences of another epoch say nothing about this one.
    fn enter_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.n_seen = 0;
        }
    }

    fn remember(&mut self, batch: SeenBatch) {
        if self.n_seen == SEEN_MAX {
            self.seen.rotate_left(1);
            self.n_seen -= 1;
        }
        self.seen[self.n_seen] = batch;
        self.n_seen += 1;
    }
}

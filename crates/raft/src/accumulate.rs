//! Records of the leader become batches: by size, by linger, and at once while the log is idle.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::batch::HEADER_LEN;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::{LeaderEpoch, Offset};

use crate::control::Control;
use crate::quorum::Now;

/// The largest batch that the metadata log takes, as in Kafka: a reader may refuse a larger one.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What a record needs besides its value: five varints of at most five bytes (length, offset
/// delta, value length) or one (attributes, timestamp delta, key length, header count), rounded up.
const RECORD_OVERHEAD_MAX: usize = 20;

/// Whether one batch can hold all of `values`.
pub fn fits_a_batch(values: &[Bytes]) -> bool {
    HEADER_LEN + needed(values) <= MAX_BATCH_BYTES
}

fn needed(values: &[Bytes]) -> usize {
    let sizes = values.iter().map(|value| value.len() + RECORD_OVERHEAD_MAX);
    sizes.sum()
}

/// A finished batch, ready for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) base_offset: Offset,
    pub(crate) end_offset: Offset,
    pub(crate) bytes: Bytes,
}

/// Invariant: offsets are dense from the first batch to `next_offset`.
#[derive(Debug)]
pub(crate) struct Accumulator {
    epoch: LeaderEpoch,
    next_offset: Offset,
    linger: Duration,
    open: Option<Open>,
    ready: VecDeque<Ready>,
}

#[derive(Debug)]
struct Open {
    base_offset: Offset,
    builder: BatchBuilder,
    wall_ms: i64,
    due: Duration,
}

impl Accumulator {
    pub(crate) fn new(epoch: LeaderEpoch, next_offset: Offset, linger: Duration) -> Self {
        Self {
            epoch,
            next_offset,
            linger,
            open: None,
            ready: VecDeque::new(),
        }
    }

    /// The offset that the next record gets.
    pub(crate) fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// All of `values` in one batch, or nothing (`false`) if no batch can hold them.
    pub(crate) fn append(&mut self, values: &[Bytes], now: Now) -> bool {
        if !fits_a_batch(values) {
            return false;
        }
        let needed = needed(values);
        let is_full = |open: &Open| open.builder.size() + needed > MAX_BATCH_BYTES;
        if self.open.as_ref().is_some_and(is_full) {
            self.close();
        }
        self.push_all(values, now);
        true
    }

    /// Values that are known to fit, in a batch of their own. A record that came out of a batch
    /// fits into one again, though the rounded overhead may say no.
    pub(crate) fn append_alone(&mut self, values: &[Bytes], now: Now) {
        self.close();
        self.push_all(values, now);
        self.close();
    }

    fn push_all(&mut self, values: &[Bytes], now: Now) {
        let open = self.open.get_or_insert_with(|| Open {
            base_offset: self.next_offset,
            builder: BatchBuilder::internal(self.next_offset, self.epoch),
            wall_ms: now.wall_ms,
            due: now.monotonic + self.linger,
        });
        for value in values {
            // All records of a metadata batch share one time: readers refuse any other delta.
            open.builder.push(open.wall_ms, None, Some(value));
        }
        self.next_offset = open.builder.next_offset();
    }

    /// Control records are a batch of their own.
    pub(crate) fn append_control(&mut self, records: &[Control], now: Now) {
        self.close();
        let base_offset = self.next_offset;
        let mut builder = BatchBuilder::control(base_offset, self.epoch);
        for record in records {
            record.push_to(&mut builder, now.wall_ms);
        }
        self.next_offset = builder.next_offset();
        self.ready.push_back(Ready {
            base_offset,
            end_offset: self.next_offset,
            bytes: builder.finish(),
        });
    }

    /// The next batch for the log. An open batch leaves when its linger has passed, and at once
    /// if `is_idle`: while nothing is on its way to the disk, waiting would only cost time.
    pub(crate) fn next(&mut self, is_idle: bool, now: Now) -> Option<Ready> {
        let is_due = self
            .open
            .as_ref()
            .is_some_and(|open| is_idle || open.due <= now.monotonic);
        if is_due {
            self.close();
        }
        self.ready.pop_front()
    }

    /// When an open batch wants to leave by itself.
    pub(crate) fn next_timeout(&self) -> Option<Duration> {
        self.open.as_ref().map(|open| open.due)
    }

    pub(crate) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.ready.push_back(Ready {
                base_offset: open.base_offset,
                end_offset: open.builder.next_offset(),
                bytes: open.builder.finish(),
            });
        }
    }
}

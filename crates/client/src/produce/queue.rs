//! One partition's queue of batches: which may go, and what an answer means. No clock and no
//! network; moments come in as arguments.
//!
//! Batches keep their order. Several may be in flight; when one fails, the queue holds still until
//! all of them are back, then sends again from the front, with the sequences they had: the broker
//! knows which it has already.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_protocol::batch::{NO_SEQUENCE, advance_sequence};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Compression;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{NewRecord, Placed};
use crate::error::ClientError;

pub(super) type Waiter = oneshot::Sender<Result<Placed, ClientError>>;

/// Who writes: the id and epoch that a broker gave us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Names batches, since places in the queue move.
    next_name: u64,
    batches: VecDeque<Pending>,
    next_sequence: i32,
    n_in_flight: usize,
    /// One failed: wait for the others.
    is_held: bool,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) name: u64,
    content: Content,
    waiters: Vec<Waiter>,
    /// Room that it takes in the producer's buffer.
    pub(super) memory: usize,
    pub(super) since: Instant,
    is_in_flight: bool,
    pub(super) n_attempts: u32,
    pub(super) not_before: Option<Instant>,
}

#[derive(Debug)]
enum Content {
    Growing(BatchBuilder),
    Sealed(Bytes),
}

impl Queue {
    pub(super) fn push(
        &mut self,
        record: &NewRecord,
        memory: usize,
        waiter: Waiter,
        compression: Compression,
        batch_size: usize,
        now: Instant,
    ) {
        let batch = match self.batches.back_mut() {
            Some(last) if last.has_room(memory, batch_size) => last,
            _ => {
                let name = self.next_name;
                self.next_name += 1;
                self.batches.push_back(Pending::new(name, compression, now));
                let Some(last) = self.batches.back_mut() else {
                    return;
                };
                last
            }
        };
        batch.push(record, memory, waiter);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// When something here is due next, if time alone makes it so.
    pub(super) fn due(&self, linger: std::time::Duration) -> Option<Instant> {
        let next = self.next()?;
        Some(next.not_before.unwrap_or(next.since + linger))
    }

    fn next(&self) -> Option<&Pending> {
        if self.is_held {
            return None;
        }
        self.batches.iter().find(|batch| !batch.is_in_flight)
    }

    /// The next batch that may go now, sealed, with its sequence. It is in flight from here on.
    pub(super) fn take(
        &mut self,
        identity: Option<Identity>,
        max_in_flight: usize,
        is_ready: impl Fn(&Pending, bool) -> bool,
    ) -> Option<(u64, Bytes)> {
        if self.is_held || self.n_in_flight >= max_in_flight {
            return None;
        }
        let place = self.batches.iter().position(|batch| !batch.is_in_flight)?;
        let has_more = place + 1 < self.batches.len();
        let batch = self.batches.get_mut(place)?;
        if !is_ready(batch, has_more) {
            return None;
        }
        let bytes = batch.seal(identity, &mut self.next_sequence);
        batch.is_in_flight = true;
        batch.n_attempts = batch.n_attempts.saturating_add(1);
        self.n_in_flight += 1;
        Some((batch.name, bytes))
    }

    pub(super) fn is_front(&self, name: u64) -> bool {
        self.batches.front().is_some_and(|batch| batch.name == name)
    }

    pub(super) fn n_attempts(&self, name: u64) -> u32 {
        let batch = self.batches.iter().find(|batch| batch.name == name);
        batch.map_or(0, |batch| batch.n_attempts)
    }

    /// It is over for this batch. Gives back the room that it took.
    pub(super) fn settle(&mut self, name: u64, result: Result<Placed, ClientError>) -> usize {
        let Some(place) = self.batches.iter().position(|batch| batch.name == name) else {
            return 0;
        };
        let Some(batch) = self.batches.remove(place) else {
            return 0;
        };
        if batch.is_in_flight {
            self.landed();
        }
        let memory = batch.memory;
        batch.tell(result);
        memory
    }

    /// It has to go again.
    pub(super) fn again(&mut self, name: u64, not_before: Instant) {
        if let Some(batch) = self.batches.iter_mut().find(|batch| batch.name == name) {
            batch.is_in_flight = false;
            batch.not_before = Some(not_before);
            self.is_held = true;
            self.landed();
        }
    }

    /// It was too large as a whole: its records go as two batches in its place. False if it is one
    /// record already.
    pub(super) fn split(&mut self, name: u64, compression: Compression, limit: usize) -> bool {
        let Some(place) = self.batches.iter().position(|batch| batch.name == name) else {
            return false;
        };
        let names = (self.next_name, self.next_name + 1);
        let Some((first, second)) = self
            .batches
            .get_mut(place)
            .and_then(|batch| batch.halves(names, compression, limit))
        else {
            return false;
        };
        self.next_name += 2;
        self.batches.remove(place);
        self.batches.insert(place, second);
        self.batches.insert(place, first);
        self.is_held = true;
        self.landed();
        true
    }

    /// Batches that waited since before this moment and are not in flight.
    pub(super) fn overdue(&self, before: Instant) -> Vec<u64> {
        let idle = self.batches.iter().filter(|batch| !batch.is_in_flight);
        idle.filter(|batch| batch.since < before)
            .map(|batch| batch.name)
            .collect()
    }

    /// The identity is gone: what carries its sequences cannot be sent again.
    pub(super) fn sealed(&self) -> Vec<u64> {
        let is_sealed = |batch: &&Pending| matches!(batch.content, Content::Sealed(_));
        self.batches
            .iter()
            .filter(is_sealed)
            .map(|batch| batch.name)
            .collect()
    }

    pub(super) fn restart_sequences(&mut self) {
        self.next_sequence = 0;
    }

    pub(super) fn all(&self) -> Vec<u64> {
        self.batches.iter().map(|batch| batch.name).collect()
    }

    pub(super) fn n_in_flight(&self) -> usize {
        self.n_in_flight
    }

    fn landed(&mut self) {
        self.n_in_flight = self.n_in_flight.saturating_sub(1);
        if self.n_in_flight == 0 {
            self.is_held = false;
        }
    }
}

impl Pending {
    fn new(name: u64, compression: Compression, since: Instant) -> Self {
        Self {
            name,
            content: Content::Growing(BatchBuilder::data(compression)),
            waiters: Vec::new(),
            memory: 0,
            since,
            is_in_flight: false,
            n_attempts: 0,
            not_before: None,
        }
    }

    fn has_room(&self, more: usize, batch_size: usize) -> bool {
        match &self.content {
            Content::Growing(builder) => builder.size() + more <= batch_size,
            Content::Sealed(_) => false,
        }
    }

    fn push(&mut self, record: &NewRecord, memory: usize, waiter: Waiter) {
        if let Content::Growing(builder) = &mut self.content {
            let headers = record.headers.iter();
            let headers: Vec<_> = headers
                .map(|(key, value)| (&key[..], value.as_deref()))
                .collect();
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builder.push_with_headers(record.timestamp, key, value, &headers);
            self.memory += memory;
            self.waiters.push(waiter);
        }
    }

    fn seal(&mut self, identity: Option<Identity>, next_sequence: &mut i32) -> Bytes {
        let empty = Content::Sealed(Bytes::new());
        let bytes = match std::mem::replace(&mut self.content, empty) {
            Content::Sealed(bytes) => bytes,
            Content::Growing(builder) => {
                let n_records = builder.n_records();
                let builder = match identity {
                    Some(Identity { id, epoch }) => {
                        let sequence = *next_sequence;
                        *next_sequence = advance_sequence(sequence, n_records);
                        builder.producer(id, epoch, sequence)
                    }
                    None => builder,
                };
                builder.finish()
            }
        };
        self.content = Content::Sealed(bytes.clone());
        bytes
    }

    fn halves(
        &mut self,
        names: (u64, u64),
        compression: Compression,
        limit: usize,
    ) -> Option<(Self, Self)> {
        let Content::Sealed(bytes) = &self.content else {
            return None;
        };
        let batch = ottla_protocol::batch::Batch::parse(bytes).ok()?;
        let n = batch.n_records();
        if n < 2 {
            return None;
        }
        let half = n / 2;
        let payload = batch.payload(limit).ok()?;
        let (mut first, mut second) = (
            BatchBuilder::data(compression),
            BatchBuilder::data(compression),
        );
        if batch.base_sequence() != NO_SEQUENCE {
            let (id, epoch, sequence) = (
                batch.producer_id(),
                batch.producer_epoch(),
                batch.base_sequence(),
            );
            first = first.producer(id, epoch, sequence);
            second = second.producer(id, epoch, advance_sequence(sequence, half));
        }
        for (place, record) in (0..n).zip(payload.records()) {
            let record = record.ok()?;
            let headers: Vec<_> = record.headers.iter().map(|h| (h.key, h.value)).collect();
            let target = if place < half {
                &mut first
            } else {
                &mut second
            };
            target.push_with_headers(record.timestamp, record.key, record.value, &headers);
        }
        let half = usize::try_from(half).ok()?;
        let later = self.waiters.split_off(half.min(self.waiters.len()));
        let earlier = std::mem::take(&mut self.waiters);
        let part = |name, builder: BatchBuilder, waiters, memory| Self {
            name,
            content: Content::Sealed(builder.finish()),
            waiters,
            memory,
            since: self.since,
            is_in_flight: false,
            // It was sent: its sequences are the broker's business from here on.
            n_attempts: self.n_attempts,
            not_before: None,
        };
        let memory = self.memory / 2;
        Some((
            part(names.0, first, earlier, memory),
            part(names.1, second, later, self.memory - memory),
        ))
    }

    fn tell(self, result: Result<Placed, ClientError>) {
        for (delta, waiter) in (0..).zip(self.waiters) {
            let mine = result.clone().map(|placed| Placed {
                offset: if placed.offset < 0 {
                    -1
                } else {
                    placed.offset + delta
                },
                ..placed
            });
            // Nobody has to wait for it.
            let _ = waiter.send(mine);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::batch::Batch;

    const ME: Option<Identity> = Some(Identity { id: 7, epoch: 0 });

    fn filled(
        n: usize,
        batch_size: usize,
    ) -> (Queue, Vec<oneshot::Receiver<Result<Placed, ClientError>>>) {
        let mut queue = Queue::default();
        let record = NewRecord {
            value: Some(Bytes::from_static(b"0123456789")),
            ..NewRecord::default()
        };
        let receivers = (0..n).map(|_| {
            let (waiter, receiver) = oneshot::channel();
            let size = record.size();
            queue.push(
                &record,
                size,
                waiter,
                Compression::default(),
                batch_size,
                Instant::now(),
            );
            receiver
        });
        let receivers = receivers.collect();
        (queue, receivers)
    }

    fn take(queue: &mut Queue) -> Option<(u64, i32)> {
        let (name, bytes) = queue.take(ME, 5, |_, _| true)?;
        Some((name, Batch::parse(&bytes).unwrap().base_sequence()))
    }

    #[test]
    fn batches_go_in_order_with_their_sequences() {
        // Two records fit into each batch.
        let (mut queue, mut receivers) = filled(5, 61 + 62);
        assert_eq!(take(&mut queue), Some((0, 0)));
        assert_eq!(take(&mut queue), Some((1, 2)));
        assert_eq!(take(&mut queue), Some((2, 4)));
        assert_eq!(take(&mut queue), None);
        let placed = Placed {
            partition: 3,
            offset: 100,
        };
        assert_eq!(queue.settle(0, Ok(placed)), 62);
        assert_eq!(receivers[0].try_recv().unwrap().unwrap().offset, 100);
        assert_eq!(receivers[1].try_recv().unwrap().unwrap().offset, 101);
        assert!(queue.is_front(1));
    }

    #[test]
    fn after_a_failure_all_come_back_before_any_goes_again() {
        let (mut queue, _receivers) = filled(6, 61 + 62);
        for expected in [(0, 0), (1, 2), (2, 4)] {
            assert_eq!(take(&mut queue), Some(expected));
        }
        let now = Instant::now();
        queue.again(0, now);
        assert_eq!(take(&mut queue), None);
        queue.again(1, now);
        queue.settle(
            2,
            Ok(Placed {
                partition: 0,
                offset: -1,
            }),
        );
        assert_eq!(take(&mut queue), Some((0, 0)));
        assert_eq!(take(&mut queue), Some((1, 2)));
        assert_eq!(queue.n_attempts(1), 2);
    }

    #[test]
    fn what_is_too_large_goes_in_halves() {
        let (mut queue, mut receivers) = filled(3, 1000);
        assert_eq!(take(&mut queue), Some((0, 0)));
        assert!(queue.split(0, Compression::default(), 1000));
        assert_eq!((queue.n_attempts(1), queue.n_attempts(2)), (1, 1));
        assert_eq!(take(&mut queue), Some((1, 0)));
        assert_eq!(take(&mut queue), Some((2, 1)));
        assert!(!queue.split(1, Compression::default(), 1000));
        queue.settle(
            1,
            Ok(Placed {
                partition: 0,
                offset: 9,
            }),
        );
        queue.settle(
            2,
            Ok(Placed {
                partition: 0,
                offset: 10,
            }),
        );
        let offsets: Vec<_> = receivers
            .iter_mut()
            .map(|r| r.try_recv().unwrap().unwrap().offset)
            .collect();
        assert_eq!(offsets, [9, 10, 11]);
        assert!(queue.is_empty());
    }
}

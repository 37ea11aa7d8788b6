//! One connection that produces: so many requests in flight, each at its moment.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use ottla_client::ClientError;
use ottla_protocol::batch::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, advance_sequence};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::{ApiVersionsRequest, ProduceResponse};

use super::batch::{Cargo, PRODUCE_VERSION, Stamp};
use super::schedule::{Nanos, Pace};
use super::tally::{Amount, Tally};
use super::turns::{Next, Scene, Speaker};
use super::wire::{Came, Outgoing, Wire};

/// Requests of one turn; then others of the same thread have theirs.
const SENDS: usize = 16;
/// An answer to Produce has some fifty bytes, and a few are read at once.
const ANSWER_CHUNK: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Producer {
    cargo: Cargo,
    outgoing: Outgoing,
    topic: Arc<str>,
    /// Served in turn.
    targets: VecDeque<Target>,
    identity: Option<(i64, i16)>,
    pace: Pace,
    is_paced: bool,
    is_answered: bool,
    n_in_flight_max: usize,
    in_flight: VecDeque<Sent>,
    next_correlation: i32,
    /// Without answers the end is one request that has one: then all before it were taken up.
    fence: Fence,
}

#[derive(Debug)]
struct Target {
    partition: i32,
    next_sequence: i32,
}

#[derive(Debug)]
struct Sent {
    correlation_id: i32,
    due: Nanos,
    /// `None` for the fence.
    batch: Option<(i32, Amount)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    Needless,
    ToBeSent,
    Sent,
}

/// What makes one producer.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) cargo: Cargo,
    pub(super) topic: Arc<str>,
    pub(super) partitions: Vec<i32>,
    /// Id and epoch, if it is idempotent.
    pub(super) identity: Option<(i64, i16)>,
    pub(super) pace: Pace,
    /// Whether acks are wanted at all.
    pub(super) is_answered: bool,
    pub(super) n_in_flight_max: usize,
}

impl Producer {
    pub(super) fn new(parts: Parts) -> Self {
        let targets = parts.partitions.into_iter().map(|partition| Target {
            partition,
            next_sequence: 0,
        });
        Self {
            cargo: parts.cargo,
            outgoing: Outgoing::default(),
            topic: parts.topic,
            targets: targets.collect(),
            identity: parts.identity,
            is_paced: matches!(parts.pace, Pace::Fixed(_)),
            pace: parts.pace,
            is_answered: parts.is_answered,
            n_in_flight_max: parts.n_in_flight_max,
            in_flight: VecDeque::new(),
            next_correlation: 0,
            fence: if parts.is_answered {
                Fence::Needless
            } else {
                Fence::ToBeSent
            },
        }
    }

    fn send(&mut self, due: Nanos, now: Nanos, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        let n_records = self.cargo.n_records();
        let Some(mut target) = self.targets.pop_front() else {
            bail!("no partition is to be written to");
        };
        let producer = match self.identity {
            Some((id, epoch)) => (id, epoch, target.next_sequence),
            None => (NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE),
        };
        let partition = target.partition;
        let n = i32::try_from(n_records).unwrap_or(i32::MAX);
        target.next_sequence = advance_sequence(target.next_sequence, n);
        self.targets.push_back(target);
        let stamp = Stamp {
            correlation_id: self.correlation_id(),
            partition,
            due,
            wall_ms: scene.clock.wall_ms(now),
            producer,
        };
        let amount = self.cargo.load(&mut self.outgoing, &stamp)?;
        self.pace.sent();
        if self.is_paced {
            scene.tally.sent(due, now);
        }
        if self.is_answered {
            self.in_flight.push_back(Sent {
                correlation_id: stamp.correlation_id,
                due,
                batch: Some((partition, amount)),
            });
        } else {
            scene.tally.done(now, amount);
        }
        Ok(())
    }

    fn correlation_id(&mut self) -> i32 {
        self.next_correlation = self.next_correlation.wrapping_add(1) & i32::MAX;
        self.next_correlation
    }

    fn send_fence(&mut self, now: Nanos) -> anyhow::Result<()> {
        let correlation_id = self.correlation_id();
        let frame = request_frame(&ApiVersionsRequest::default(), 0, correlation_id, None)
            .context("the request cannot be written")?;
        self.outgoing.load(&frame, None);
        self.fence = Fence::Sent;
        self.in_flight.push_back(Sent {
            correlation_id,
            due: now,
            batch: None,
        });
        Ok(())
    }

    fn take_answers(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        loop {
            let came = wire.receive(ANSWER_CHUNK)?;
            let now = scene.clock.now();
            while let Some(frame) = wire.frame()? {
                self.take_answer(frame, now, scene.tally)?;
                wire.take_frame()?;
            }
            if came == Came::All {
                return Ok(());
            }
        }
    }

    fn take_answer(&mut self, frame: &[u8], now: Nanos, tally: &mut Tally) -> anyhow::Result<()> {
        let sent = self.in_flight.pop_front();
        let Some(sent) =
            sent.filter(|sent| frame.first_chunk() == Some(&sent.correlation_id.to_be_bytes()))
        else {
            bail!("the broker answered what was not asked");
        };
        let Some((partition, amount)) = sent.batch else {
            return Ok(());
        };
        let frame = Bytes::copy_from_slice(frame);
        let (_, answer) = decode_response::<ProduceResponse>(frame, PRODUCE_VERSION)
            .context("an answer to Produce cannot be read")?;
        let of_partition = answer
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first());
        let of_partition =
            of_partition.context("an answer to Produce says nothing of its partition")?;
        let what = format_args!("records were not written to {}-{partition}", self.topic);
        if of_partition.error_code != ottla_protocol::NONE {
            let message = of_partition.error_message.as_deref();
            ClientError::from_code(&what.to_string(), of_partition.error_code, message)?;
        }
        tally.done(now, amount);
        tally.answered(sent.due, now);
        Ok(())
    }
}

impl Speaker for Producer {
    fn turn(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<Next> {
        wire.send(&mut self.outgoing)?;
        self.take_answers(wire, scene)?;
        for _ in 0..SENDS {
            if !self.outgoing.is_written() || self.in_flight.len() >= self.n_in_flight_max {
                return Ok(Next::News);
            }
            let now = scene.clock.now();
            match self.pace.due(now) {
                Some(due) if due > now => return Ok(Next::At(due)),
                Some(due) => self.send(due, now, scene)?,
                None if self.fence == Fence::ToBeSent => self.send_fence(now)?,
                None if self.in_flight.is_empty() => return Ok(Next::Finished),
                None => return Ok(Next::News),
            }
            wire.send(&mut self.outgoing)?;
        }
        Ok(Next::At(scene.clock.now()))
    }

    fn give_up(&mut self, now: Nanos, tally: &mut Tally) {
        for sent in self.in_flight.drain(..) {
            tally.unanswered(sent.due, now);
        }
        for due in self.pace.overdue(now) {
            tally.unanswered(due, now);
        }
    }
}

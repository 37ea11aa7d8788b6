//! One connection that fetches: all its partitions in every request, one request at a time, as a
//! consumer does; which partition stands first goes round, so that each has its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};
use bytes::Bytes;
use ottla_client::consume::Aborted;
use ottla_client::{ClientError, Isolation};
use ottla_protocol::batch::{OPENED_BYTES_MAX, batches};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ottla_protocol::{NONE, Offset, Text, Uuid};

use super::batch::read_stamp;
use super::schedule::Nanos;
use super::skim::{FETCH_VERSION, Fetched, Skim, Then};
use super::tally::{Amount, Tally};
use super::turns::{Next, Scene, Speaker};
use super::wire::{Came, Outgoing, Wire};

/// A broker that has nothing new answers after this time.
pub(super) const MAX_WAIT_MS: i32 = 500;
/// Of a request without a session.
const NO_SESSION_EPOCH: i32 = -1;
/// Batches larger than this are thrown away from their header on; smaller ones are read many at once.
const LARGE_BATCH: usize = 8 << 10;
/// What is read to see the header of a large batch, and to see many small ones.
const GLANCE: usize = 512;
const CHUNK: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct Fetcher {
    client_id: Text,
    topic: Text,
    /// By partition.
    positions: Vec<Position>,
    /// Which of them stands first.
    first: usize,
    fetch_bytes: i32,
    isolation: Isolation,
    reading: Reading,
    end: End,
    outgoing: Outgoing,
    /// When the request was sent whose answer is awaited.
    asked: Option<Nanos>,
    next_correlation: i32,
    /// Records of this run that came.
    n_stamped: u64,
}

/// Where a partition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) partition: i32,
    pub(super) next: Offset,
    /// What was there at the start: `begin ≤ end`.
    pub(super) begin: Offset,
    pub(super) end: Offset,
}

/// How much of an answer is looked at.
#[derive(Debug)]
pub(super) enum Reading {
    /// The headers of batches.
    Skim(Skim),
    /// Everything, checksums included.
    Records,
    /// The stamps of records of this run.
    Stamps { run: u64 },
}

/// When it is over.
#[derive(Debug)]
pub(super) enum End {
    /// Time is up; who is at the end before begins anew.
    Again,
    /// All that was there at the start is read.
    Once,
    /// Time is up; who is at the end waits for more.
    Follow,
    /// All records of this run are here, whoever of us got them.
    All {
        n_expected: u64,
        n_received: Arc<AtomicU64>,
    },
}

impl Fetcher {
    pub(super) fn new(
        (client_id, topic): (&str, &str),
        mut positions: Vec<Position>,
        fetch_bytes: i32,
        isolation: Isolation,
        reading: Reading,
        end: End,
    ) -> Self {
        positions.sort_by_key(|position| position.partition);
        Self {
            client_id: Text::from(client_id),
            topic: Text::from(topic),
            positions,
            first: 0,
            fetch_bytes,
            isolation,
            reading,
            end,
            outgoing: Outgoing::default(),
            asked: None,
            next_correlation: 0,
            n_stamped: 0,
        }
    }

    fn ask(&mut self, now: Nanos) -> anyhow::Result<()> {
        self.next_correlation = self.next_correlation.wrapping_add(1) & i32::MAX;
        let n = self.positions.len().max(1);
        self.first = (self.first + 1) % n;
        let in_turn = self
            .positions
            .iter()
            .cycle()
            .skip(self.first)
            .take(self.positions.len());
        let partitions = in_turn.map(|position| FetchPartition {
            partition: position.partition,
            fetch_offset: position.next,
            partition_max_bytes: self.fetch_bytes,
            ..FetchPartition::default()
        });
        let request = FetchRequest {
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            max_bytes: self.fetch_bytes,
            isolation_level: self.isolation.number(),
            session_epoch: NO_SESSION_EPOCH,
            topics: vec![FetchTopic {
                topic: self.topic.clone(),
                topic_id: Uuid::ZERO,
                partitions: partitions.collect(),
            }],
            ..FetchRequest::default()
        };
        let client_id = Some(self.client_id.clone());
        let frame = request_frame(&request, FETCH_VERSION, self.next_correlation, client_id)
            .context("the request cannot be written")?;
        self.outgoing.load(&frame, None);
        self.asked = Some(now);
        Ok(())
    }

    /// Take in what is here of the answer.
    fn receive(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        match &self.reading {
            Reading::Skim(_) => self.skim(wire, scene),
            Reading::Records | Reading::Stamps { .. } => self.read(wire, scene),
        }
    }

    fn skim(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        loop {
            let Reading::Skim(skim) = &mut self.reading else {
                return Ok(());
            };
            let (used, then) = skim.look(wire.here())?;
            wire.take(used);
            let came = match then {
                Then::Done => {
                    let (id, error) = (skim.correlation_id, skim.error_code);
                    let found = std::mem::take(&mut skim.found);
                    skim.reset();
                    self.take_answer(id, error, &found, scene)?;
                    // Nothing else is asked: only the end can come.
                    wire.receive(GLANCE)?
                }
                Then::Need(n) => {
                    let is_large = skim.last_batch() > LARGE_BATCH;
                    wire.receive(n.clamp(if is_large { GLANCE } else { CHUNK }, CHUNK))?
                }
                Then::Discard(n) => {
                    let (n, came) = wire.discard(n)?;
                    skim.discarded(n)?;
                    came
                }
            };
            if came == Came::All && wire.here().is_empty() {
                return Ok(());
            }
            if came == Came::All && matches!(then, Then::Need(n) if n > wire.here().len()) {
                return Ok(());
            }
        }
    }

    fn read(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        loop {
            let came = wire.receive(CHUNK)?;
            while let Some(frame) = wire.frame()? {
                let frame = Bytes::copy_from_slice(frame);
                wire.take_frame()?;
                let (header, answer) = decode_response::<FetchResponse>(frame, FETCH_VERSION)
                    .context("an answer to Fetch cannot be read")?;
                let now = scene.clock.now();
                let found = self.open(&answer, now, scene.tally)?;
                self.take_answer(header.correlation_id, answer.error_code, &found, scene)?;
            }
            if came == Came::All {
                return Ok(());
            }
        }
    }

    /// Look at every record of an answer; those of aborted transactions, if the broker tells of them,
    /// do not count.
    fn open(
        &mut self,
        answer: &FetchResponse,
        now: Nanos,
        tally: &mut Tally,
    ) -> anyhow::Result<Vec<Fetched>> {
        let mut all = Vec::new();
        for partition in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let mut found = Fetched {
                partition: partition.partition_index,
                error_code: partition.error_code,
                ..Fetched::default()
            };
            let bytes = partition.records.as_deref().unwrap_or_default();
            let asked = self
                .position(found.partition)
                .map_or(0, |position| position.next);
            let aborted = partition.aborted_transactions.as_deref();
            let mut aborted = Aborted::new(aborted.unwrap_or_default());
            for batch in batches(bytes) {
                let what = || format!("a batch of {}-{} is broken", self.topic, found.partition);
                let batch = batch.with_context(what)?;
                batch.verify_crc().with_context(what)?;
                let is_seen = aborted.lets_pass(batch).with_context(what)?;
                let payload = batch.payload(OPENED_BYTES_MAX).with_context(what)?;
                for record in payload.records() {
                    let record = record.with_context(what)?;
                    if record.offset < asked || !is_seen {
                        continue;
                    }
                    found.n_records += 1;
                    if let Reading::Stamps { run } = &self.reading
                        && let Some(due) = record.value.and_then(|value| read_stamp(value, *run))
                    {
                        tally.arrived(due, now);
                        self.n_stamped += 1;
                    }
                }
                found.next_offset = Some(batch.next_offset());
                found.n_batches += 1;
                found.bytes += batch.bytes().len() as u64;
            }
            all.push(found);
        }
        Ok(all)
    }

    fn position(&mut self, partition: i32) -> Option<&mut Position> {
        let at = self
            .positions
            .binary_search_by_key(&partition, |position| position.partition);
        self.positions.get_mut(at.ok()?)
    }

    fn take_answer(
        &mut self,
        correlation_id: i32,
        error_code: i16,
        found: &[Fetched],
        scene: &mut Scene<'_>,
    ) -> anyhow::Result<()> {
        let now = scene.clock.now();
        let Some(asked) = self
            .asked
            .take()
            .filter(|_| correlation_id == self.next_correlation)
        else {
            bail!("the broker answered what was not asked");
        };
        ClientError::from_code("records were not given", error_code, None)?;
        let mut amount = Amount {
            requests: 1,
            ..Amount::default()
        };
        for one in found {
            if one.error_code != NONE {
                let what = format!("records of {}-{} were not given", self.topic, one.partition);
                ClientError::from_code(&what, one.error_code, None)?;
            }
            amount.records += one.n_records;
            amount.bytes += one.bytes;
            if let Some(next) = one.next_offset
                && let Some(position) = self.position(one.partition)
            {
                position.next = next;
            }
        }
        scene.tally.done(now, amount);
        // An answer that waited for records says nothing about the broker.
        if amount.records > 0 {
            scene.tally.answered(asked, now);
        }
        if let End::All { n_received, .. } = &self.end {
            n_received.fetch_add(std::mem::take(&mut self.n_stamped), Ordering::Relaxed);
        }
        self.turn_back();
        Ok(())
    }

    /// Who has read all that was there.
    fn turn_back(&mut self) {
        match self.end {
            End::Again => {
                for position in &mut self.positions {
                    if position.next >= position.end {
                        position.next = position.begin;
                    }
                }
            }
            End::Once => self
                .positions
                .retain(|position| position.next < position.end),
            End::Follow | End::All { .. } => {}
        }
    }

    fn is_over(&self, now: Nanos, until: Nanos) -> bool {
        match &self.end {
            End::Again | End::Follow => now >= until,
            End::Once => self.positions.is_empty(),
            End::All {
                n_expected,
                n_received,
            } => n_received.load(Ordering::Relaxed) >= *n_expected,
        }
    }
}

impl Speaker for Fetcher {
    fn turn(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<Next> {
        wire.send(&mut self.outgoing)?;
        self.receive(wire, scene)?;
        if self.asked.is_none() {
            let now = scene.clock.now();
            if self.is_over(now, scene.tally.window().until) {
                return Ok(Next::Finished);
            }
            self.ask(now)?;
            wire.send(&mut self.outgoing)?;
        }
        Ok(Next::News)
    }

    fn give_up(&mut self, now: Nanos, tally: &mut Tally) {
        // One that waits for records is no failure.
        let patience = 2 * u64::from(MAX_WAIT_MS.unsigned_abs()) * 1_000_000;
        if let Some(asked) = self.asked.filter(|asked| now > asked + patience) {
            tally.unanswered(asked, now);
        }
    }
}

//! A process that reads, processes and writes in transactions, as one with Kafka's client library
//! does: it asks one thing at a time, asks again when it hears nothing, and gives a transaction up
//! when it cannot know what became of a part of it. What it makes of answers is in `hear`.
//!
//! The outcome of its work is checked by what readers see: it claims nothing but what it was told.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use ottla_coordinators::TransactionVersion;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction, EndTxnRequest,
    InitProducerIdRequest, TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
};
use ottla_protocol::{ProducerEpoch, ProducerId, Text};

use super::place::{FIRST_OUT, PLACES};
use super::wire::{Call, Event, Joins, Produce, Request};
use super::world::{IDS, TIMEOUT_MAX_MS, World};

pub(super) const GROUP: &str = "g";
pub(super) const SOURCE: &str = "in";

/// What a process is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    /// Cannot raise its epoch by itself (KIP-360): where it would have to, it ends.
    Ancient,
    Old,
    /// Goes by `transaction.version` 2 where the cluster does.
    New,
}

/// What it does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asks for a producer id; `again`: it has one, and wants the next epoch.
    Init {
        again: bool,
    },
    /// Asks where to go on reading.
    Fetch,
    Idle,
    Step(usize),
    End {
        commits: bool,
    },
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Join(Vec<usize>),
    Write(usize, Vec<String>),
    JoinOffsets,
    Offsets,
}

#[derive(Debug)]
pub(super) struct Txn {
    pub(super) label: usize,
    /// Of the new protocol.
    pub(super) is_new: bool,
    pub(super) steps: Vec<Step>,
    pub(super) commits: bool,
    pub(super) read: Range<i64>,
    /// Not in the same epoch again: something of it may yet arrive, or be refused for its sequence,
    /// or the next one goes by the new protocol.
    pub(super) bumps: bool,
}

/// A request whose answer is awaited.
#[derive(Debug, Clone)]
pub(super) struct Waits {
    pub(super) request: Request,
    /// Of the latest attempt.
    pub(super) last: u64,
    /// Attempts of which nothing was heard in time.
    pub(super) n_unheard: u32,
    /// With a request to come back.
    pub(super) is_answered: bool,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: usize,
    pub(super) is_alive: bool,
    pub(super) library: Library,
    pub(super) timeout_ms: i32,
    pub(super) stage: Stage,
    pub(super) producer: (ProducerId, ProducerEpoch),
    /// The next sequence of each place.
    pub(super) sequences: BTreeMap<usize, i32>,
    /// Where it goes on reading.
    pub(super) position: i64,
    pub(super) txn: Option<Txn>,
    pub(super) waits: Option<Waits>,
    /// Transactions that have ended as it wished.
    pub(super) n_done: u64,
    /// A long pause of its machine.
    pub(super) sleeps_until: i64,
    /// Copies of requests before this one were on connections that are closed.
    pub(super) current: u64,
    gives_up_after: u32,
    /// The level of `transaction.version` that it has heard of last.
    level: TransactionVersion,
    n: u64,
    wake: u64,
}

impl World {
    pub(super) fn start_process(&mut self, id: usize) {
        let dice = &mut self.dice;
        let library = match dice.below(10) {
            0 => Library::Ancient,
            1..4 => Library::Old,
            _ => Library::New,
        };
        let timeouts = [5_000, 15_000, TIMEOUT_MAX_MS, TIMEOUT_MAX_MS + 1];
        let client = Client {
            id,
            is_alive: true,
            library,
            timeout_ms: timeouts[dice.index(timeouts.len())],
            stage: Stage::Init { again: false },
            producer: (-1, -1),
            sequences: BTreeMap::new(),
            position: 0,
            txn: None,
            waits: None,
            n_done: 0,
            sleeps_until: 0,
            current: 0,
            gives_up_after: dice.within(2, 8) as u32,
            level: self.level,
            n: 0,
            wake: 0,
        };
        self.clients.push(client);
        let at = self.clients.len() - 1;
        self.trace(|_| format!("process {at} of {} starts, {library:?}", IDS[id]));
        let ms = self.dice.within(0, 50);
        self.wake_in(at, ms);
    }

    pub(super) fn wake_in(&mut self, at: usize, ms: i64) {
        let client = &mut self.clients[at];
        client.wake += 1;
        let n = client.wake;
        self.after(ms, Event::Wake { client: at, n });
    }

    /// It has thought enough, or waited enough.
    pub(super) fn wake(&mut self, at: usize, n: u64) {
        let client = &self.clients[at];
        if !client.is_alive || client.wake != n {
            return;
        }
        if client.sleeps_until > self.now_ms {
            let ms = client.sleeps_until - self.now_ms;
            return self.after(ms, Event::Wake { client: at, n });
        }
        let may_give_up = matches!(client.stage, Stage::Step(_));
        match &client.waits {
            None => self.act(at),
            Some(waits) if may_give_up && waits.n_unheard >= client.gives_up_after => {
                self.totals.count("client: gave a transaction up");
                self.clients[at].waits = None;
                self.abort(at, true);
            }
            Some(waits) => {
                let request = waits.request.clone();
                if !waits.is_answered {
                    self.totals.count("client: asked again, unheard");
                }
                self.ask_broker(at, request);
            }
        }
    }

    fn act(&mut self, at: usize) {
        let stage = self.clients[at].stage;
        let request = match stage {
            Stage::Init { again } => self.clients[at].init(again),
            Stage::Fetch => Request::FetchOffset(self.clients[at].id as i32),
            Stage::Idle => {
                self.begin_transaction(at);
                return self.act(at);
            }
            Stage::Step(n) => self.next_step(at, n),
            Stage::End { commits } => {
                self.hear_of_level(at, true);
                let client = &self.clients[at];
                if let Some(txn) = client.txn.as_ref().filter(|_| commits) {
                    self.book.stories[txn.label].is_asked = true;
                }
                client.end(commits)
            }
        };
        self.ask_broker(at, request);
    }

    fn ask_broker(&mut self, at: usize, request: Request) {
        let client = &mut self.clients[at];
        client.n += 1;
        let n = client.n;
        let before = client.waits.take();
        if before.is_none() {
            client.current = n;
        }
        client.waits = Some(Waits {
            request: request.clone(),
            last: n,
            n_unheard: before.map_or(0, |waits| waits.n_unheard + u32::from(!waits.is_answered)),
            is_answered: false,
        });
        self.send(Event::Request(Call { client: at, n }, request));
        let ms = self.dice.within(150, 3_000);
        self.wake_in(at, ms);
    }

    /// Levels change while it runs; between transactions it goes by what it has heard. To go from the
    /// old protocol to the new one takes another epoch: markers of the last transaction may be on their
    /// way, and what is written meanwhile, in the same epoch, would be theirs.
    pub(super) fn hear_of_level(&mut self, at: usize, is_ending: bool) {
        if self.dice.percent(15) {
            return;
        }
        let client = &mut self.clients[at];
        let was_new = client.is_new();
        client.level = self.level;
        let is_new = client.is_new();
        let txn = client.txn.as_mut().filter(|_| is_ending);
        if let Some(txn) = txn
            && !was_new
            && is_new
        {
            txn.bumps = true;
            self.totals.count("client: goes on to the new protocol");
        }
    }

    /// What it will do in its next transaction.
    fn begin_transaction(&mut self, at: usize) {
        let label = self.book.stories.len();
        let dice = &mut self.dice;
        let client = &mut self.clients[at];
        let is_new = client.is_new();
        let n = dice.within(1, 4);
        let first = client.position;
        let read = if dice.percent(85) {
            first..first + n
        } else {
            first..first
        };
        let mut writes: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for k in 0..n {
            let value = match read.is_empty() {
                false => format!("{label}:{}:{}", client.id, first + k),
                true => format!("{label}:-:{k}"),
            };
            let place = FIRST_OUT + dice.index(PLACES.len() - FIRST_OUT);
            writes.entry(place).or_default().push(value);
        }
        let all = writes.iter();
        let all = all.flat_map(|(place, values)| values.iter().map(move |it| (*place, it.clone())));
        self.book.begin(client.id, read.clone(), all.collect());
        let joins_at_once = dice.percent(60);
        let mut steps = Vec::new();
        if !is_new && joins_at_once {
            steps.push(Step::Join(writes.keys().copied().collect()));
        }
        for (place, values) in writes {
            if !is_new && !joins_at_once {
                steps.push(Step::Join(vec![place]));
            }
            let n = if dice.percent(30) { 1 } else { values.len() };
            let (first, rest) = values.split_at(n);
            steps.push(Step::Write(place, first.to_vec()));
            if !rest.is_empty() {
                steps.push(Step::Write(place, rest.to_vec()));
            }
        }
        if !read.is_empty() {
            let mut offsets = vec![Step::JoinOffsets, Step::Offsets];
            if is_new {
                offsets.remove(0);
            }
            if dice.percent(30) {
                offsets.append(&mut steps);
                steps = offsets;
            } else {
                steps.append(&mut offsets);
            }
        }
        let commits = dice.percent(80);
        if !commits {
            steps.truncate(1 + dice.index(steps.len()));
        }
        client.stage = Stage::Step(0);
        client.txn = Some(Txn {
            label,
            is_new,
            steps,
            commits,
            read,
            bumps: false,
        });
        self.totals.count(match is_new {
            true => "transactions of the new protocol",
            false => "transactions of the old protocol",
        });
    }

    fn next_step(&mut self, at: usize, n: usize) -> Request {
        let now_ms = self.wall_ms();
        let codec = match self.dice.percent(15) {
            true => Codec::Lz4,
            false => Codec::None,
        };
        let client = &self.clients[at];
        let txn = client.txn.as_ref().expect("it is in a transaction");
        let (step, is_new, end) = (txn.steps[n].clone(), txn.is_new, txn.read.end);
        match step {
            Step::Join(places) => client.join(&places),
            Step::Write(place, values) => {
                Request::Produce(client.produce(place, &values, is_new, codec, now_ms))
            }
            Step::JoinOffsets => client.join_offsets(),
            Step::Offsets => client.commit_offsets(is_new, end),
        }
    }

    /// It gives its transaction up.
    pub(super) fn abort(&mut self, at: usize, bumps: bool) {
        let client = &mut self.clients[at];
        let txn = client.txn.as_mut().expect("it is in a transaction");
        txn.commits = false;
        txn.bumps |= bumps;
        client.stage = Stage::End { commits: false };
        self.wake_in(at, 1);
    }
}

impl Client {
    /// Whether its next transaction goes by the new protocol.
    fn is_new(&self) -> bool {
        self.library == Library::New && self.level == TransactionVersion::V2
    }

    fn text(&self) -> Text {
        Text::from_static(IDS[self.id])
    }

    fn init(&self, again: bool) -> Request {
        let (producer_id, producer_epoch) = if again { self.producer } else { (-1, -1) };
        let request = InitProducerIdRequest {
            transactional_id: Some(self.text()),
            transaction_timeout_ms: self.timeout_ms,
            producer_id,
            producer_epoch,
        };
        let version = match self.library {
            Library::Ancient => 1,
            Library::Old => 3,
            Library::New => 5,
        };
        Request::Init(request, version)
    }

    fn join(&self, places: &[usize]) -> Request {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, index) in places.iter().map(|place| PLACES[*place]) {
            topics.entry(topic).or_default().push(index);
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| AddPartitionsToTxnTopic {
                name: Text::from(name),
                partitions,
            });
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: self.text(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            verify_only: false,
            topics: topics.collect(),
        };
        let version = if self.library == Library::Ancient {
            1
        } else {
            3
        };
        Request::AddPartitions(transaction, version)
    }

    fn produce(
        &self,
        place: usize,
        values: &[String],
        is_new: bool,
        codec: Codec,
        now_ms: i64,
    ) -> Produce {
        let sequence = self.sequences.get(&place).copied().unwrap_or(0);
        let builder = BatchBuilder::data(codec);
        let builder = builder.producer(self.producer.0, self.producer.1, sequence);
        let mut builder = builder.transactional();
        for value in values {
            builder.push(now_ms, Some(value.as_bytes()), Some(value.as_bytes()));
        }
        let batch: Bytes = builder.finish();
        Produce {
            transactional_id: self.text(),
            place,
            batch,
            joins: match self.library {
                _ if is_new => Joins::Add,
                Library::New => Joins::VerifyAbortable,
                _ => Joins::Verify,
            },
        }
    }

    fn join_offsets(&self) -> Request {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.text(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            group_id: Text::from_static(GROUP),
        };
        let version = match self.library {
            Library::Ancient => 1,
            Library::Old => 3,
            Library::New => 4,
        };
        Request::AddOffsets(request, version)
    }

    fn commit_offsets(&self, is_new: bool, offset: i64) -> Request {
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: self.id as i32,
            committed_offset: offset,
            committed_metadata: Some(Text::default()),
            ..TxnOffsetCommitRequestPartition::default()
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.text(),
            group_id: Text::from_static(GROUP),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: Text::from_static(SOURCE),
                partitions: vec![partition],
            }],
            ..TxnOffsetCommitRequest::default()
        };
        let version = match self.library {
            _ if is_new => 5,
            Library::Ancient => 1,
            Library::Old => 3,
            Library::New => 4,
        };
        Request::CommitOffsets(request, version)
    }

    fn end(&self, committed: bool) -> Request {
        let request = EndTxnRequest {
            transactional_id: self.text(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            committed,
        };
        let is_new = self.txn.as_ref().is_some_and(|txn| txn.is_new);
        let version = match self.library {
            _ if is_new => 5,
            Library::Ancient => 1,
            Library::Old => 3,
            Library::New => 4,
        };
        Request::End(request, version)
    }
}

//! What a process makes of its answers, as Kafka's client library does.

use ottla_protocol::Refusal;
use ottla_protocol::batch::advance_sequence;

use super::book::Fate;
use super::client::{Library, Stage, Step, Waits};
use super::wire::{Call, Event, Reply};
use super::world::{TIMEOUT_MAX_MS, World};

impl World {
    pub(super) fn hear(&mut self, call: Call, reply: Reply) {
        let at = call.client;
        let Some(client) = self.clients.get(at).filter(|client| client.is_alive) else {
            return;
        };
        if client.sleeps_until > self.now_ms {
            // It lies in the socket meanwhile.
            let ms = client.sleeps_until - self.now_ms;
            return self.after(ms, Event::Reply(call, reply));
        }
        let is_awaited = |waits: &Waits| waits.last == call.n && !waits.is_answered;
        if !client.waits.as_ref().is_some_and(is_awaited) {
            return;
        }
        self.trace(|world| {
            let client = &world.clients[at];
            format!("process {at} in {:?} hears {reply:?}", client.stage)
        });
        match reply.refusal {
            None => self.heard_yes(at, reply),
            Some(refusal) if comes_back(refusal) => {
                if let Some(waits) = &mut self.clients[at].waits {
                    waits.is_answered = true;
                }
                let ms = self.dice.within(20, 120);
                self.wake_in(at, ms);
            }
            Some(refusal) => self.heard_no(at, refusal),
        }
    }

    fn heard_yes(&mut self, at: usize, reply: Reply) {
        let client = &mut self.clients[at];
        client.waits = None;
        let stage = client.stage;
        match stage {
            Stage::Init { .. } => {
                client.stage = Stage::Fetch;
                self.take_producer(at, reply);
                self.hear_of_level(at, false);
            }
            Stage::Fetch => {
                client.position = reply.offset.max(0);
                client.stage = Stage::Idle;
            }
            Stage::Step(n) => self.did_step(at, n),
            Stage::End { commits } => self.ended(at, commits, reply),
            Stage::Idle => panic!("nobody was asked"),
        }
        let ms = match self.dice.below(60) {
            0 if !self.is_calm => self.dice.within(500, 8_000),
            _ => self.dice.within(0, 25),
        };
        self.wake_in(at, ms);
    }

    fn take_producer(&mut self, at: usize, reply: Reply) {
        let is_new = self.book.granted(reply.producer, at);
        if !is_new {
            let is_end = self.clients[at].stage != Stage::Fetch || self.clients[at].n_done > 0;
            assert!(is_end, "{:?} was granted twice", reply.producer);
            // Where the old and the new protocol share an id, Kafka takes the EndTxn of a zombie for
            // one that its successor has asked already, and so do we: it is given that one's epoch.
            self.totals
                .count("a zombie was given its successor's epoch");
            return self.end_process(at, "it is a zombie");
        }
        let client = &mut self.clients[at];
        client.producer = reply.producer;
        client.sequences.clear();
    }

    fn did_step(&mut self, at: usize, n: usize) {
        let client = &mut self.clients[at];
        let txn = client.txn.as_ref().expect("it is in a transaction");
        if let Step::Write(place, values) = &txn.steps[n] {
            let next = client.sequences.entry(*place).or_insert(0);
            *next = advance_sequence(*next, values.len() as i32);
        }
        client.stage = if n + 1 < txn.steps.len() {
            Stage::Step(n + 1)
        } else {
            Stage::End {
                commits: txn.commits,
            }
        };
    }

    fn ended(&mut self, at: usize, commits: bool, reply: Reply) {
        let client = &mut self.clients[at];
        let txn = client.txn.take().expect("it was in a transaction");
        client.n_done += 1;
        let story = &mut self.book.stories[txn.label];
        if commits {
            story.fate = Fate::Committed;
            client.position = txn.read.end;
            client.stage = Stage::Idle;
            self.totals.count("transactions committed");
        } else {
            story.fate = Fate::Aborted;
            client.stage = Stage::Fetch;
            self.totals.count("transactions aborted by their producers");
        }
        if txn.is_new {
            self.take_producer(at, reply);
        } else if txn.bumps {
            match self.clients[at].library {
                Library::Ancient => self.end_process(at, "it needs another epoch"),
                _ => self.clients[at].stage = Stage::Init { again: true },
            }
        }
    }

    fn heard_no(&mut self, at: usize, refusal: Refusal) {
        let client = &mut self.clients[at];
        client.waits = None;
        let stage = client.stage;
        match stage {
            Stage::Init { .. } if refusal == Refusal::InvalidTransactionTimeout => {
                client.timeout_ms = TIMEOUT_MAX_MS;
                self.wake_in(at, 10);
            }
            Stage::Init { .. } => match refusal {
                Refusal::ProducerFenced
                | Refusal::InvalidProducerEpoch
                | Refusal::UnknownServerError => self.end_process(at, refusal.name()),
                other => panic!("InitProducerId is answered {}", other.name()),
            },
            Stage::Step(_) => match refusal {
                Refusal::ProducerFenced => self.end_process(at, refusal.name()),
                Refusal::InvalidProducerEpoch
                | Refusal::InvalidProducerIdMapping
                | Refusal::OutOfOrderSequenceNumber
                | Refusal::InvalidTxnState
                | Refusal::TransactionAbortable => self.abort(at, true),
                other => panic!("a step is answered {}", other.name()),
            },
            Stage::End { .. } => match refusal {
                Refusal::ProducerFenced
                | Refusal::InvalidProducerEpoch
                | Refusal::InvalidProducerIdMapping
                | Refusal::InvalidTxnState
                | Refusal::UnknownServerError => self.end_process(at, refusal.name()),
                other => panic!("EndTxn is answered {}", other.name()),
            },
            Stage::Fetch | Stage::Idle => panic!("OffsetFetch is answered {}", refusal.name()),
        }
    }

    /// It is gone, and what it knew with it.
    pub(super) fn end_process(&mut self, at: usize, why: &str) {
        self.trace(|_| format!("process {at} ends: {why}"));
        self.totals.count(&format!("process ends: {why}"));
        self.clients[at].is_alive = false;
    }
}

/// The same request may be granted in a moment.
fn comes_back(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::CoordinatorLoadInProgress
            | Refusal::CoordinatorNotAvailable
            | Refusal::NotCoordinator
            | Refusal::ConcurrentTransactions
            | Refusal::NotLeaderOrFollower
            | Refusal::NotEnoughReplicas
            | Refusal::KafkaStorageError
            | Refusal::RequestTimedOut
            | Refusal::UnstableOffsetCommit
    )
}

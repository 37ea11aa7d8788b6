//! Random histories: producers that retry, zombies with old ids and epochs, requests that come late
//! or twice, appends that fail, coordinators that die, features that change. Whatever happens, each
//! decision is carried to its end once, and the log alone says what is durable.
//!
//! The log is judged by `judge`, which knows nothing of the ledger's inside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction, EndTxnRequest,
    InitProducerIdRequest,
};
use ottla_protocol::{NONE, ProducerEpoch, ProducerId, Refusal, Text};

use super::host::{Host, Step};
use super::judge::Judge;
use crate::txn::{
    Partitions, Transaction, TransactionState, TransactionVersion, TxnRecord, TxnReply, TxnSettings,
};

/// More histories with `OTTLA_TXN_SEEDS=10000`; one of them with `OTTLA_TXN_SEED=7`.
const SEEDS: u64 = 250;
const STEPS: usize = 150;
const IDS: [&str; 3] = ["x", "y", "z"];
const TOPICS: [&str; 2] = ["t1", "t2"];

/// Splitmix64: the same history for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.roll() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// What is asked of the ledger; kept, so that it can come again.
#[derive(Debug, Clone)]
enum Request {
    Init(InitProducerIdRequest, i16),
    Add(AddPartitionsToTxnTransaction, i16),
    AddOffsets(AddOffsetsToTxnRequest, i16),
    End(EndTxnRequest, i16),
}

/// How often what was seen, over all histories.
#[derive(Default)]
struct Totals(BTreeMap<String, u64>);

impl Totals {
    fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }
}

struct History<'a> {
    host: Host,
    dice: Dice,
    judge: Judge,
    /// Ids and epochs that were given for each transactional id, the latest last.
    given: BTreeMap<&'static str, Vec<(ProducerId, ProducerEpoch)>>,
    sent: Vec<Request>,
    totals: &'a mut Totals,
}

impl<'a> History<'a> {
    fn new(seed: u64, totals: &'a mut Totals) -> Self {
        let settings = TxnSettings {
            id_expiration_ms: 3_600_000,
            ..TxnSettings::default()
        };
        let mut history = Self {
            host: Host::new(settings),
            dice: Dice(seed),
            judge: Judge::default(),
            given: BTreeMap::new(),
            sent: Vec::new(),
            totals,
        };
        history.change_level();
        if history.dice.one_in(2) {
            history.near_the_last_epoch();
        }
        history
    }

    /// An id that has lived long.
    fn near_the_last_epoch(&mut self) {
        let mut old = Transaction::first(900, 60_000, self.host.now);
        old.epoch = ProducerEpoch::MAX - 2 - self.dice.below(4) as i16;
        self.given.insert("x", vec![(900, old.epoch)]);
        let record = TxnRecord {
            transactional_id: "x".into(),
            transaction: Some(old),
            value_version: 1,
        };
        self.host.log.push(record.encode());
        self.judge.appended(&record);
        self.load();
    }

    fn happen(&mut self) {
        match self.dice.below(100) {
            0..=11 => self.init(),
            12..=34 => self.add(),
            35..=39 => self.add_offsets(),
            40..=61 => self.end(),
            62..=67 => self.again(),
            68..=84 => self.report(),
            85..=90 => self.pass(),
            91..=92 => {
                self.totals.count("fault: append fails");
                self.host.fail = Some(*self.dice.pick(&[
                    Refusal::NotEnoughReplicas,
                    Refusal::KafkaStorageError,
                    Refusal::MessageTooLarge,
                ]));
            }
            93..=94 => {
                self.totals.count("fault: coordinator dies");
                self.restart();
            }
            95 => self.change_level(),
            96..=97 => {
                self.totals.count("fault: commit stalls");
                self.host.is_stalled = !self.host.is_stalled;
                let n_new = self.host.commit();
                self.demanded(n_new);
            }
            98 => {
                self.totals.count("fault: no producer id at hand");
                let next = self.judge.next_fresh_id();
                self.host.next_id = if self.host.next_id.is_some() {
                    None
                } else {
                    Some(next)
                };
            }
            _ => self.refuse_markers(),
        }
    }

    // ---- who asks what ----

    fn id(&mut self) -> &'static str {
        IDS[self.dice.below(IDS.len())]
    }

    /// Mostly what was given last, sometimes what was given to a zombie, rarely nonsense.
    fn held(&mut self, id: &'static str) -> (ProducerId, ProducerEpoch) {
        let given = self.given.get(id).cloned().unwrap_or_default();
        match (given.last(), self.dice.below(20)) {
            (Some(latest), 0..=14) => *latest,
            (Some(_), 15..=18) => *self.dice.pick(&given),
            (Some((producer, epoch)), _) => (*producer, epoch.wrapping_add(1)),
            (None, _) => (5_000, 3),
        }
    }

    fn init(&mut self) {
        let id = self.id();
        let (producer_id, producer_epoch) = if self.dice.one_in(2) {
            self.held(id)
        } else {
            (-1, -1)
        };
        let request = InitProducerIdRequest {
            transactional_id: Some(Text::from_static(id)),
            transaction_timeout_ms: *self.dice.pick(&[15_000, 60_000, 900_000, 900_001]),
            producer_id,
            producer_epoch,
        };
        let version = self.dice.below(6) as i16;
        self.send(Request::Init(request, version));
    }

    fn add(&mut self) {
        let id = self.id();
        let (producer_id, producer_epoch) = self.held(id);
        let version = *self.dice.pick(&[0, 1, 3, 4, 5, 5]);
        let mut topics = Vec::new();
        for name in TOPICS {
            let partitions: Vec<i32> = (0..3).filter(|_| self.dice.one_in(3)).collect();
            if !partitions.is_empty() {
                let name = Text::from_static(name);
                topics.push(AddPartitionsToTxnTopic { name, partitions });
            }
        }
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: Text::from_static(id),
            producer_id,
            producer_epoch,
            verify_only: version >= 4 && self.dice.one_in(4),
            topics,
        };
        self.send(Request::Add(transaction, version));
    }

    fn add_offsets(&mut self) {
        let id = self.id();
        let (producer_id, producer_epoch) = self.held(id);
        let request = AddOffsetsToTxnRequest {
            transactional_id: Text::from_static(id),
            producer_id,
            producer_epoch,
            group_id: Text::from_static("g"),
        };
        let version = self.dice.below(5) as i16;
        self.send(Request::AddOffsets(request, version));
    }

    fn end(&mut self) {
        let id = self.id();
        let (producer_id, producer_epoch) = self.held(id);
        let request = EndTxnRequest {
            transactional_id: Text::from_static(id),
            producer_id,
            producer_epoch,
            committed: self.dice.one_in(2),
        };
        let version = *self.dice.pick(&[1, 3, 4, 5, 5, 5]);
        self.send(Request::End(request, version));
    }

    /// A request that was sent before, once more: a retry, or one that was delayed on its way.
    fn again(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let back = self.dice.below(self.sent.len().min(12));
        let request = self.sent[self.sent.len() - 1 - back].clone();
        self.totals.count("fault: request comes again");
        self.ask(&request);
    }

    fn send(&mut self, request: Request) {
        self.ask(&request);
        self.sent.push(request);
    }

    fn ask(&mut self, request: &Request) {
        let step = match request {
            Request::Init(request, version) => self.host.step(|ledger, level, fresh, now| {
                ledger.init(request, *version, level, fresh, now)
            }),
            Request::Add(transaction, version) => self.host.step(|ledger, level, _, now| {
                ledger.add_partitions(transaction, *version, level, now)
            }),
            Request::AddOffsets(request, version) => self
                .host
                .step(|ledger, level, _, now| ledger.add_offsets(request, *version, 7, level, now)),
            Request::End(request, version) => self
                .host
                .step(|ledger, level, fresh, now| ledger.end(request, *version, level, fresh, now)),
        };
        let reply = step.reply.clone();
        if let Request::Init(..) = request {
            self.judge.shut_out(&step.records);
        }
        self.appended(step);
        if let Some(reply) = reply {
            self.told(request, &reply);
        }
    }

    // ---- what else happens ----

    /// Leaders have written some of the markers of some demand, perhaps of an old one.
    fn report(&mut self) {
        if self.host.demands.is_empty() {
            return;
        }
        let back = self.dice.below(self.host.demands.len().min(4));
        let demand = self.host.demands[self.host.demands.len() - 1 - back].clone();
        let all = self.dice.one_in(2);
        let done: Partitions = demand
            .partitions
            .iter()
            .filter(|_| all || self.dice.one_in(2))
            .collect();
        self.judge.reported(&demand, &done);
        let step = self
            .host
            .step(|ledger, level, _, now| ledger.handle_markers_done(&demand, &done, level, now));
        self.appended(step);
    }

    fn refuse_markers(&mut self) {
        if let Some(demand) = self.host.demands.last().cloned() {
            self.totals.count("fault: markers refused");
            self.host.ledger.handle_markers_refused(&demand);
        }
    }

    fn pass(&mut self) {
        let ms = *self
            .dice
            .pick(&[0, 100, 5_000, 20_000, 70_000, 1_000_000, 8_000_000]);
        for step in self.host.pass(ms) {
            self.judge.shut_out(&step.records);
            self.appended(step);
        }
    }

    fn restart(&mut self) {
        self.compare_with_log();
        self.load();
    }

    fn load(&mut self) {
        self.host.is_stalled = false;
        self.judge.coordinator_died();
        let step = self.host.restart();
        self.appended(step);
    }

    fn change_level(&mut self) {
        let level = self.dice.below(4).min(2) as i16;
        self.host.level = TransactionVersion::from_level(level);
        self.totals.count(format!("level {level}"));
    }

    // ---- what must hold ----

    fn appended(&mut self, step: Step) {
        for record in &step.records {
            let (from, to) = self.judge.appended(record);
            self.totals.count(format!("state {to}"));
            self.totals.count(format!("transition {from} > {to}"));
        }
        self.demanded(step.n_demands);
    }

    fn demanded(&mut self, n_new: usize) {
        let known = self.judge.n_demands;
        let new = &self.host.demands[known..known + n_new];
        self.judge.demanded(new, self.host.is_stalled);
    }

    fn told(&mut self, request: &Request, reply: &TxnReply) {
        let (api, code) = match reply {
            TxnReply::Init(response) => ("InitProducerId", response.error_code),
            TxnReply::End(response) => ("EndTxn", response.error_code),
            TxnReply::AddOffsets(response) => ("AddOffsetsToTxn", response.error_code),
            TxnReply::AddPartitions(result) => {
                let mut codes = result
                    .topic_results
                    .iter()
                    .flat_map(|topic| &topic.results_by_partition)
                    .map(|partition| partition.partition_error_code);
                ("AddPartitionsToTxn", codes.next().unwrap_or(NONE))
            }
            TxnReply::Done => unreachable!("somebody asked"),
        };
        let word = Refusal::from_code(code).map_or("ok", Refusal::name);
        self.totals.count(format!("reply {api} {word}"));
        if code != NONE {
            return;
        }
        match (request, reply) {
            (Request::Init(request, _), TxnReply::Init(response)) => {
                let id = request.transactional_id.as_deref().unwrap_or_default();
                let is_new = self
                    .judge
                    .granted(id, response.producer_id, response.producer_epoch);
                // Twice only to one who asks again with what it held before.
                let before = response.producer_epoch - 1;
                let is_again = match response.producer_epoch {
                    0 => request.producer_epoch >= ProducerEpoch::MAX - 1,
                    _ => request.producer_epoch == before,
                };
                assert!(is_new || is_again, "{request:?} was given {response:?}");
                self.remember(id, response.producer_id, response.producer_epoch);
            }
            (Request::End(request, version), TxnReply::End(response)) => {
                self.judge.ended(request, *version);
                if *version >= 5 {
                    let (producer, epoch) = (response.producer_id, response.producer_epoch);
                    self.judge
                        .granted(&request.transactional_id, producer, epoch);
                    self.remember(&request.transactional_id, producer, epoch);
                }
            }
            _ => {}
        }
    }

    fn remember(&mut self, id: &str, producer: ProducerId, epoch: ProducerEpoch) {
        let id = IDS.iter().find(|known| **known == id).expect("one of ours");
        let given = self.given.entry(id).or_default();
        given.retain(|held| *held != (producer, epoch));
        given.push((producer, epoch));
    }

    /// The log, read again, gives the same durable state: all that a record has room for.
    fn compare_with_log(&self) {
        let again = self.host.reload();
        let mut here = self.host.ledger.saved.clone();
        for (id, transaction) in &mut here {
            transaction.last_epoch = -1;
            if self.judge.value_version(id) == 0 {
                transaction.previous_producer_id = -1;
                transaction.next_producer_id = -1;
                transaction.client_version = TransactionVersion::V0;
            }
        }
        assert_eq!(again.saved, here);
    }

    /// Everything that was decided comes to its end once the cluster is well again.
    fn settle(&mut self) {
        self.host.fail = None;
        self.host.is_stalled = false;
        self.host.next_id = Some(self.judge.next_fresh_id());
        self.restart();
        for _ in 0..3 {
            let n_new = self.host.commit();
            self.demanded(n_new);
            for demand in self.host.demands.clone() {
                let done = demand.partitions.clone();
                self.judge.reported(&demand, &done);
                let step = self.host.step(|ledger, level, _, now| {
                    ledger.handle_markers_done(&demand, &done, level, now)
                });
                self.appended(step);
            }
            for step in self.host.pass(1_000_000) {
                self.appended(step);
            }
        }
        for (id, transaction) in &self.host.ledger.saved {
            assert!(
                transaction.state.may_expire(),
                "{id} hangs: {transaction:?}"
            );
        }
        self.judge.settled();
        self.compare_with_log();
    }
}

#[test]
fn every_decision_is_carried_to_its_end_once() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("OTTLA_TXN_SEED") {
        Some(one) => one..one + 1,
        None => 0..number("OTTLA_TXN_SEEDS").unwrap_or(SEEDS),
    };
    let is_whole_run = seeds.end - seeds.start >= SEEDS;
    let mut totals = Totals::default();
    for seed in seeds {
        let told = std::panic::AssertUnwindSafe(&mut totals);
        let ran = std::panic::catch_unwind(move || {
            let told = told;
            let mut history = History::new(seed, told.0);
            for _ in 0..STEPS {
                history.happen();
            }
            history.settle();
        });
        assert!(ran.is_ok(), "seed {seed}");
    }
    let mut table = String::new();
    for (what, n) in &totals.0 {
        let _ = writeln!(table, "{n:>8} {what}");
    }
    if is_whole_run {
        expect_all(&totals, &table);
    }
    eprintln!("{table}");
}

/// Every state, every transition that can be stored, and every answer occurs.
fn expect_all(totals: &Totals, table: &str) {
    let seen: BTreeSet<&str> = totals.0.keys().map(String::as_str).collect();
    let stored = &TransactionState::ALL[..6];
    let mut missing = Vec::new();
    for to in stored {
        for from in stored.iter().filter(|from| to.may_follow(**from)) {
            let wanted = format!("transition {} > {}", from.name(), to.name());
            if !seen.contains(&*wanted) {
                missing.push(wanted);
            }
        }
    }
    for wanted in [
        "transition none > Empty",
        "transition Empty > none",
        "transition CompleteCommit > none",
        "transition CompleteAbort > none",
        "reply InitProducerId ok",
        "reply InitProducerId CONCURRENT_TRANSACTIONS",
        "reply InitProducerId PRODUCER_FENCED",
        "reply InitProducerId INVALID_PRODUCER_EPOCH",
        "reply InitProducerId INVALID_TRANSACTION_TIMEOUT",
        "reply InitProducerId COORDINATOR_LOAD_IN_PROGRESS",
        "reply InitProducerId COORDINATOR_NOT_AVAILABLE",
        "reply InitProducerId UNKNOWN_SERVER_ERROR",
        "reply AddPartitionsToTxn ok",
        "reply AddPartitionsToTxn CONCURRENT_TRANSACTIONS",
        "reply AddPartitionsToTxn PRODUCER_FENCED",
        "reply AddPartitionsToTxn INVALID_PRODUCER_EPOCH",
        "reply AddPartitionsToTxn INVALID_PRODUCER_ID_MAPPING",
        "reply AddPartitionsToTxn TRANSACTION_ABORTABLE",
        "reply AddOffsetsToTxn ok",
        "reply AddOffsetsToTxn CONCURRENT_TRANSACTIONS",
        "reply EndTxn ok",
        "reply EndTxn CONCURRENT_TRANSACTIONS",
        "reply EndTxn INVALID_TXN_STATE",
        "reply EndTxn PRODUCER_FENCED",
        "reply EndTxn INVALID_PRODUCER_EPOCH",
        "reply EndTxn INVALID_PRODUCER_ID_MAPPING",
        "reply EndTxn COORDINATOR_LOAD_IN_PROGRESS",
        "reply EndTxn NOT_COORDINATOR",
        "fault: append fails",
        "fault: coordinator dies",
        "fault: commit stalls",
        "fault: no producer id at hand",
        "fault: request comes again",
        "fault: markers refused",
    ] {
        if !seen.contains(wanted) {
            missing.push(wanted.to_owned());
        }
    }
    assert!(missing.is_empty(), "never seen: {missing:#?}\n{table}");
}

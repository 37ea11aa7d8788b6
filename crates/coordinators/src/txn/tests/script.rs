//! Stories in `testdata/txn`: one directive and what comes of it. `REWRITE=1 cargo test` writes the
//! outcome anew.
//!
//! Producers have names; each remembers the id and epoch that it was given. A record is printed as
//! `id state producer-id/epoch`, then what is not as usual.

use std::collections::BTreeMap;
use std::fmt::Write;

use datadriven::{TestCase, walk};
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction, EndTxnRequest,
    InitProducerIdRequest, ListTransactionsRequest,
};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal, Text};

use super::host::{Host, Step};
use crate::ledger::When;
use crate::story::Args;
use crate::txn::{
    Markers, Partitions, Transaction, TransactionFilter, TransactionState, TransactionVersion,
    TxnRecord, TxnReply, TxnSettings,
};

#[test]
fn stories() {
    walk("testdata/txn", |file| {
        let mut story = Story {
            host: Host::new(TxnSettings::default()),
            producers: BTreeMap::new(),
        };
        file.run(|case| story.tell(case));
    });
}

#[derive(Clone, Copy)]
struct Producer {
    id: ProducerId,
    epoch: ProducerEpoch,
}

struct Story {
    host: Host,
    producers: BTreeMap<String, Producer>,
}

impl Story {
    fn tell(&mut self, case: &TestCase) -> String {
        let mut args = Args::of(case);
        if let Some(refusal) = args.take("append-fails") {
            self.host.fail = Some(refusal_named(&refusal));
        }
        let told = match case.directive.as_str() {
            "settings" => self.settings(&mut args),
            "level" => self.level(&mut args),
            "pass" => self.pass(&mut args),
            "restart" => {
                let step = self.host.restart();
                self.outcome("", step)
            }
            "stall" => {
                self.host.is_stalled = true;
                String::new()
            }
            "go-on" => {
                self.host.is_stalled = false;
                let new = self.host.commit();
                self.new_demands(new)
            }
            "no-ids" => {
                self.host.next_id = None;
                String::new()
            }
            "next-id" => {
                self.host.next_id = args.number("is");
                String::new()
            }
            "stored" => self.stored(&mut args),
            "init" => self.init(&mut args),
            "add" => self.add(&mut args, false),
            "verify" => self.add(&mut args, true),
            "add-offsets" => self.add_offsets(&mut args),
            "commit" => self.end(&mut args, true),
            "abort" => self.end(&mut args, false),
            "written" => self.written(&mut args),
            "refused" => self.refused(&mut args),
            "describe" => self.describe(&mut args),
            "list" => self.list(&mut args, &case.input),
            "counts" => format!("{:?}\n", self.host.ledger.counts()),
            other => panic!("no such directive: {other}"),
        };
        args.finish();
        assert_eq!(self.host.fail, None, "nothing was appended that could fail");
        if told.is_empty() { "ok\n".into() } else { told }
    }

    fn settings(&mut self, args: &mut Args) -> String {
        let settings = &mut self.host.settings;
        if let Some(ms) = args.number("max-timeout") {
            settings.max_timeout_ms = ms as i32;
        }
        if let Some(ms) = args.number("expiration") {
            settings.id_expiration_ms = ms;
        }
        self.host.ledger.change_settings(settings.clone());
        String::new()
    }

    fn level(&mut self, args: &mut Args) -> String {
        let level = args.number("is").unwrap_or_default() as i16;
        self.host.level = TransactionVersion::from_level(level);
        String::new()
    }

    fn pass(&mut self, args: &mut Args) -> String {
        let ms = args.number("ms").unwrap_or_default() as u64;
        let steps = self.host.pass(ms);
        steps
            .into_iter()
            .map(|step| self.outcome("", step))
            .collect()
    }

    /// A record that stands in the log already, and a ledger that has read it.
    fn stored(&mut self, args: &mut Args) -> String {
        let name = args.name();
        let now = self.host.now;
        let state = args.take("state").unwrap_or("Empty".into());
        let mut transaction = Transaction::first(
            args.number("producer").unwrap_or_default(),
            args.number("timeout").unwrap_or(60_000) as i32,
            now,
        );
        transaction.epoch = args.number("epoch").unwrap_or_default() as i16;
        transaction.state = TransactionState::from_name(&state).expect("a state");
        transaction.partitions = partitions(args);
        if let Some(next) = args.number("next") {
            transaction.next_producer_id = next;
        }
        let client = args.number("client").unwrap_or_default() as i16;
        transaction.client_version = TransactionVersion::from_level(client);
        if transaction.state != TransactionState::Empty {
            transaction.start_ms = now.wall_ms;
        }
        let producer = Producer {
            id: transaction.producer_id,
            epoch: transaction.epoch,
        };
        self.producers.insert(name, producer);
        let record = TxnRecord {
            transactional_id: args.take("id").unwrap_or("x".into()).into(),
            transaction: Some(transaction),
            value_version: 1,
        };
        self.host.log.push(record.encode());
        let step = self.host.restart();
        self.outcome("", step)
    }

    fn init(&mut self, args: &mut Args) -> String {
        let name = args.name();
        let held = match args.take("held") {
            None => Producer { id: -1, epoch: -1 },
            Some(own) if own.is_empty() => self.producers[&name],
            Some(given) => producer(&given),
        };
        let request = InitProducerIdRequest {
            transactional_id: Some(id(args)),
            transaction_timeout_ms: args.number("timeout").unwrap_or(60_000) as i32,
            producer_id: held.id,
            producer_epoch: held.epoch,
        };
        let version = args.version(5);
        // The last answer is told.
        for _ in 1..args.number("times").unwrap_or(1) {
            let _ = self.host.step(|ledger, level, fresh, now| {
                ledger.init(&request, version, level, fresh, now)
            });
        }
        let step = self
            .host
            .step(|ledger, level, fresh, now| ledger.init(&request, version, level, fresh, now));
        self.outcome(&name, step)
    }

    fn add(&mut self, args: &mut Args, verify_only: bool) -> String {
        let (name, producer) = self.producer(args);
        let asked = partitions(args);
        let topics = asked
            .topics()
            .map(|(name, indexes)| AddPartitionsToTxnTopic {
                name: Text::from(&**name),
                partitions: indexes.iter().copied().collect(),
            });
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: id(args),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            verify_only,
            topics: topics.collect(),
        };
        let version = args.version(5);
        let step = self
            .host
            .step(|ledger, level, _, now| ledger.add_partitions(&transaction, version, level, now));
        self.outcome(&name, step)
    }

    fn add_offsets(&mut self, args: &mut Args) -> String {
        let (name, producer) = self.producer(args);
        let request = AddOffsetsToTxnRequest {
            transactional_id: id(args),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            group_id: Text::from_static("g"),
        };
        let version = args.version(4);
        let step = self
            .host
            .step(|ledger, level, _, now| ledger.add_offsets(&request, version, 7, level, now));
        self.outcome(&name, step)
    }

    fn end(&mut self, args: &mut Args, committed: bool) -> String {
        let (name, producer) = self.producer(args);
        let request = EndTxnRequest {
            transactional_id: id(args),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed,
        };
        let version = args.version(5);
        let step = self
            .host
            .step(|ledger, level, fresh, now| ledger.end(&request, version, level, fresh, now));
        self.outcome(&name, step)
    }

    /// All partitions of the id's latest demand, or those that are named; of an older demand with
    /// `demand=`.
    fn written(&mut self, args: &mut Args) -> String {
        let demand = self.demand(args);
        let named = partitions(args);
        let done = if named.is_empty() {
            demand.partitions.clone()
        } else {
            named
        };
        let step = self
            .host
            .step(|ledger, level, _, now| ledger.handle_markers_done(&demand, &done, level, now));
        self.outcome("", step)
    }

    fn refused(&mut self, args: &mut Args) -> String {
        let demand = self.demand(args);
        self.host.ledger.handle_markers_refused(&demand);
        String::new()
    }

    fn describe(&mut self, args: &mut Args) -> String {
        let read = self.host.ledger.describe(&id(args));
        let shown = read.reply;
        if let Some(refusal) = Refusal::from_code(shown.error_code) {
            return format!("{}{}\n", refusal.name(), waits_for(Some(read.when)));
        }
        let topics: Vec<String> = shown
            .topics
            .iter()
            .map(|topic| format!("{}{:?}", topic.topic, topic.partitions))
            .collect();
        format!(
            "{} {} {}/{} timeout={} start={} {}{}\n",
            shown.transactional_id,
            shown.transaction_state,
            shown.producer_id,
            shown.producer_epoch,
            shown.transaction_timeout_ms,
            shown.transaction_start_time_ms,
            topics.join(" "),
            waits_for(Some(read.when)),
        )
    }

    /// The pattern stands on the lines after the directive.
    fn list(&mut self, args: &mut Args, pattern: &str) -> String {
        let words = |given: Option<String>| -> Vec<Text> {
            let given = given.unwrap_or_default();
            let words = given.split(',').filter(|word| !word.is_empty());
            words.map(Text::from).collect()
        };
        let producers = words(args.take("producers"));
        let request = ListTransactionsRequest {
            state_filters: words(args.take("states")),
            producer_id_filters: producers
                .iter()
                .map(|id| id.parse().expect("a number"))
                .collect(),
            duration_filter: args.number("longer").unwrap_or(-1),
            transactional_id_pattern: Some(Text::from(pattern.trim_end())),
        };
        let filter = match TransactionFilter::new(&request) {
            Ok(filter) => filter,
            Err(refusal) => return format!("{}\n", refusal.name()),
        };
        let read = self.host.ledger.list(&filter, self.host.now);
        let mut told = String::new();
        for one in read.reply {
            let (id, state) = (one.transactional_id, one.transaction_state);
            let _ = writeln!(told, "{id} {state} {}", one.producer_id);
        }
        for unknown in filter.unknown_states() {
            let _ = writeln!(told, "no such state: {unknown}");
        }
        if told.is_empty() {
            "none\n".into()
        } else {
            told
        }
    }

    // ---- who asks, and what came of it ----

    fn producer(&mut self, args: &mut Args) -> (String, Producer) {
        let name = args.name();
        let producer = match args.take("as") {
            Some(given) => producer(&given),
            None => self.producers[&name],
        };
        (name, producer)
    }

    fn demand(&self, args: &mut Args) -> Markers {
        let id = id(args);
        let mut demands = self.host.demands.iter();
        let nth = args.number("demand").map(|nth| nth as usize);
        let found = match nth {
            Some(nth) => demands.nth(nth),
            None => demands.rfind(|demand| *demand.transactional_id == *id),
        };
        found.expect("a demand").clone()
    }

    fn outcome(&mut self, asker: &str, step: Step) -> String {
        let mut told = String::new();
        for record in &step.records {
            let _ = writeln!(told, "log: {}", written_as(record));
        }
        if let Some(reply) = step.reply {
            self.learn(asker, &reply);
            let _ = writeln!(told, "{asker}: {}{}", said(&reply), waits_for(step.when));
        }
        told + &self.new_demands(step.n_demands)
    }

    fn new_demands(&self, n: usize) -> String {
        let new = self.host.demands.iter().rev().take(n).rev();
        new.map(|demand| {
            format!(
                "{} {} {}/{} by coordinator {} v{} to {}\n",
                if demand.committed { "commit" } else { "abort" },
                demand.transactional_id,
                demand.producer_id,
                demand.producer_epoch,
                demand.coordinator_epoch,
                demand.transaction_version,
                listed(&demand.partitions),
            )
        })
        .collect()
    }

    fn learn(&mut self, name: &str, reply: &TxnReply) {
        let (id, epoch) = match reply {
            TxnReply::Init(response) => (response.producer_id, response.producer_epoch),
            TxnReply::End(response) => (response.producer_id, response.producer_epoch),
            _ => return,
        };
        if id >= 0 {
            self.producers.insert(name.into(), Producer { id, epoch });
        }
    }
}

fn id(args: &mut Args) -> Text {
    Text::from(args.take("id").unwrap_or("x".into()))
}

/// `7.3` is producer id 7 with epoch 3.
fn producer(text: &str) -> Producer {
    let (id, epoch) = text.split_once('.').expect("id.epoch");
    Producer {
        id: id.parse().expect("a producer id"),
        epoch: epoch.parse().expect("an epoch"),
    }
}

fn partitions(args: &mut Args) -> Partitions {
    let given = args.take("to").unwrap_or_default();
    let given = given.split(',').filter(|one| !one.is_empty());
    given
        .map(|one| {
            let (topic, index) = one.split_once('-').expect("topic-index");
            (topic, index.parse().expect("an index"))
        })
        .collect()
}

fn listed(partitions: &Partitions) -> String {
    let all: Vec<String> = partitions
        .iter()
        .map(|(topic, index)| format!("{topic}-{index}"))
        .collect();
    format!("[{}]", all.join(" "))
}

fn written_as(record: &TxnRecord) -> String {
    let id = &record.transactional_id;
    let Some(transaction) = &record.transaction else {
        return format!("{id} forgotten");
    };
    let mut told = format!(
        "{id} {} {}/{}",
        transaction.state.name(),
        transaction.producer_id,
        transaction.epoch,
    );
    if transaction.previous_producer_id != transaction.producer_id {
        let _ = write!(told, " previous={}", transaction.previous_producer_id);
    }
    if transaction.next_producer_id >= 0 {
        let _ = write!(told, " next={}", transaction.next_producer_id);
    }
    if transaction.last_epoch >= 0 {
        let _ = write!(told, " last={}", transaction.last_epoch);
    }
    if transaction.state != TransactionState::Empty {
        let _ = write!(told, " {}", listed(&transaction.partitions));
    }
    let start = transaction.start_ms;
    let update = transaction.update_ms;
    let client = transaction.client_version.level();
    let version = record.value_version;
    let _ = write!(
        told,
        " start={start} update={update} client={client} v{version}"
    );
    told
}

fn said(reply: &TxnReply) -> String {
    let word = |code: i16| Refusal::from_code(code).map_or("ok", Refusal::name);
    match reply {
        TxnReply::Init(response) => {
            let (id, epoch) = (response.producer_id, response.producer_epoch);
            format!("{} {id}/{epoch}", word(response.error_code))
        }
        TxnReply::End(response) => {
            let (id, epoch) = (response.producer_id, response.producer_epoch);
            format!("{} {id}/{epoch}", word(response.error_code))
        }
        TxnReply::AddOffsets(response) => word(response.error_code).into(),
        TxnReply::AddPartitions(result) => {
            let topics = result.topic_results.iter();
            let all: Vec<String> = topics
                .flat_map(|topic| {
                    topic.results_by_partition.iter().map(|partition| {
                        let code = word(partition.partition_error_code);
                        format!("{}-{}={code}", topic.name, partition.partition_index)
                    })
                })
                .collect();
            all.join(" ")
        }
        TxnReply::Done => "done".into(),
    }
}

fn waits_for(when: Option<When>) -> String {
    match when {
        Some(When::AfterOffset(offset)) => format!(" (after {offset})"),
        _ => String::new(),
    }
}

fn refusal_named(name: &str) -> Refusal {
    let found = Refusal::ALL.iter().find(|refusal| refusal.name() == name);
    *found.unwrap_or_else(|| panic!("no such refusal: {name}"))
}

//! Appends of transactions that panic, or hang: who carries the end of a transaction goes on, the
//! coordinator is read again from its log, and one disk that does not answer holds up no transaction
//! that has nothing on it.
#![allow(clippy::disallowed_methods, reason = "a test waits for other threads")]

mod stand;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_node::{Disk, DiskCall, DiskFaults, DiskVerdict};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Refusal};
use parking_lot::{Condvar, Mutex};

use crate::stand::{Client, PATIENCE, Running, produce};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Panics,
    Hangs,
}

/// What becomes of the next write to the log of one partition.
#[derive(Default)]
struct Trap {
    next: Mutex<Option<(&'static str, What)>>,
    /// Writes that hang, and whether they still do.
    held: Mutex<(usize, bool)>,
    let_go: Condvar,
}

impl Trap {
    fn set(&self, partition: &'static str, what: What) {
        *self.held.lock() = (0, true);
        *self.next.lock() = Some((partition, what));
    }

    fn is_set(&self) -> bool {
        self.next.lock().is_some()
    }

    fn n_held(&self) -> usize {
        self.held.lock().0
    }

    fn release(&self) {
        self.held.lock().1 = false;
        self.let_go.notify_all();
    }
}

impl DiskFaults for Trap {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        if call != DiskCall::Write || !is_log {
            return DiskVerdict::Proceed;
        }
        let mut next = self.next.lock();
        let what = match *next {
            Some((partition, what)) if path.parent().is_some_and(|it| it.ends_with(partition)) => {
                what
            }
            _ => return DiskVerdict::Proceed,
        };
        if what == What::Panics {
            *next = None;
            drop(next);
            panic!("on purpose");
        }
        drop(next);
        let mut held = self.held.lock();
        held.0 += 1;
        while held.1 {
            self.let_go.wait(&mut held);
        }
        DiskVerdict::Proceed
    }
}

/// Lets the disk go on, however the test ends.
struct Release(Arc<Trap>);

impl Drop for Release {
    fn drop(&mut self) {
        *self.0.next.lock() = None;
        self.0.release();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Transactional {
    client: Client,
    id: &'static str,
    producer: (i64, i16),
}

impl Transactional {
    fn begin(port: u16, id: &'static str) -> Self {
        let (client, producer) = (Client::connect(port), (-1, -1));
        let mut it = Self {
            client,
            id,
            producer,
        };
        let find = FindCoordinatorRequest {
            key_type: FindCoordinatorRequest::TRANSACTION,
            coordinator_keys: vec![id.into()],
            ..Default::default()
        };
        wait_until("no coordinator", || {
            it.client.call(&find, 4).coordinators[0].error_code == NONE && it.again() == NONE
        });
        it
    }

    fn init(&self) -> InitProducerIdRequest {
        InitProducerIdRequest {
            transactional_id: Some(self.id.into()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        }
    }

    /// Takes the next epoch.
    fn again(&mut self) -> i16 {
        let answer = self.client.call(&self.init(), 4);
        if answer.error_code == NONE {
            self.producer = (answer.producer_id, answer.producer_epoch);
        }
        answer.error_code
    }

    fn add(&mut self, topic: &str, n_partitions: i32) {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.into(),
            v3_and_below_producer_id: self.producer.0,
            v3_and_below_producer_epoch: self.producer.1,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.into(),
                partitions: (0..n_partitions).collect(),
            }],
            ..Default::default()
        };
        let answer = self.client.call(&request, 3);
        let results = answer.results_by_topic_v3_and_below.iter();
        let results = results.flat_map(|topic| &topic.results_by_partition);
        let codes: Vec<_> = results.map(|it| it.partition_error_code).collect();
        assert_eq!(codes, vec![NONE; n_partitions as usize]);
    }

    fn commit(&mut self) {
        let request = EndTxnRequest {
            transactional_id: self.id.into(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            committed: true,
        };
        assert_eq!(self.client.call(&request, 3).error_code, NONE);
    }

    fn state(&mut self) -> String {
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![self.id.into()],
        };
        let answer = self.client.call(&request, 0);
        answer.transaction_states[0].transaction_state.to_string()
    }

    fn completes(&mut self) {
        wait_until("it does not end", || self.state() == "CompleteCommit");
    }
}

fn create(port: u16, topic: &str, num_partitions: i32) {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let answer = Client::connect(port).call(&request, 7);
    assert_eq!(answer.topics[0].error_code, NONE);
}

fn start(directory: &Path, trap: &Arc<Trap>) -> Running {
    let path = |name: &str| directory.join(name).display().to_string();
    let both = format!("{},{}", path("data"), path("more"));
    let disk = Disk::breakable(trap.clone());
    Running::start(directory, disk, &[("log.dirs", &*both)])
}

#[test]
fn an_append_that_panics_costs_no_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let trap = Arc::new(Trap::default());
    let running = start(directory.path(), &trap);
    create(running.port, "t", 1);
    create(running.port, "many", 40);
    let mut it = Transactional::begin(running.port, "it");

    // So few markers that they are written where they are carried, and so many that they are not.
    for (topic, n_partitions, partition) in [("t", 1, "t-0"), ("many", 40, "many-30")] {
        it.add(topic, n_partitions);
        trap.set(partition, What::Panics);
        it.commit();
        it.completes();
        assert!(!trap.is_set(), "{partition}");
    }

    // The coordinator reads its log again, and knows what it has told.
    let (id, epoch) = it.producer;
    trap.set("__transaction_state-0", What::Panics);
    let code = it.client.call(&it.init(), 4).error_code;
    assert_eq!(
        Refusal::from_code(code),
        Some(Refusal::NotCoordinator),
        "{code}"
    );
    assert!(!trap.is_set());
    wait_until("it does not come back", || it.again() == NONE);
    assert_eq!(it.producer, (id, epoch + 1));
    it.add("t", 1);
    it.commit();
    it.completes();
    running.stop();
}

#[test]
fn a_disk_that_does_not_answer_holds_up_no_transaction_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let trap = Arc::new(Trap::default());
    let running = start(directory.path(), &trap);
    for topic in ["a", "b"] {
        create(running.port, topic, 1);
    }
    let mut held = Transactional::begin(running.port, "held");
    let mut free = Transactional::begin(running.port, "free");
    let place = |partition: &str| {
        let all = [directory.path().join("data"), directory.path().join("more")];
        all.into_iter().find(|it| it.join(partition).is_dir())
    };
    let ours = place("__transaction_state-0");
    let (slow, partition, fast) = match place("a-0") == ours {
        false => ("a", "a-0", "b"),
        true => ("b", "b-0", "a"),
    };
    assert_ne!(place(partition), ours, "two disks");

    // The marker of one hangs.
    let _release = Release(trap.clone());
    held.add(slow, 1);
    trap.set(partition, What::Hangs);
    held.commit();
    wait_until("nobody writes", || trap.n_held() > 0);
    for _ in 0..5 {
        free.add(fast, 1);
        free.commit();
        free.completes();
    }
    assert_eq!(held.state(), "PrepareCommit");
    *trap.next.lock() = None;
    trap.release();
    held.completes();

    // The coordinator hangs, and others go on.
    trap.set("__transaction_state-0", What::Hangs);
    let init = free.init();
    free.client.send(&init, 4);
    wait_until("nobody writes", || trap.n_held() > 0);
    for _ in 0..5 {
        let answer = held.client.call(&produce(slow, b"v"), 9);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, NONE);
    }
    *trap.next.lock() = None;
    trap.release();
    let answer = free.client.receive::<InitProducerIdRequest>(4);
    assert_eq!(answer.error_code, NONE);
    running.stop();
}

#[test]
fn a_controller_that_does_not_answer_holds_up_no_transaction_that_needs_no_producer_id() {
    let directory = tempfile::tempdir().unwrap();
    let trap = Arc::new(Trap::default());
    let running = start(directory.path(), &trap);
    create(running.port, "t", 1);
    let mut it = Transactional::begin(running.port, "it");
    // Ids come by the thousand, and few of them are left.
    let idempotent = InitProducerIdRequest {
        transactional_id: None,
        ..it.init()
    };
    let mut last = it.producer.0;
    while last % 1000 < 950 {
        let answer = it.client.call(&idempotent, 4);
        assert_eq!(answer.error_code, NONE);
        last = answer.producer_id;
    }
    let release = Release(trap.clone());
    it.add("t", 1);
    trap.set("__cluster_metadata-0", What::Hangs);
    it.commit();
    it.completes();
    assert_eq!(it.again(), NONE);
    assert_eq!(trap.n_held(), 1, "it was asked for ids");
    drop(release);
    running.stop();
}

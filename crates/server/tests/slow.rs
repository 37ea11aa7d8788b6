//! A log directory whose disk does not answer holds up its own partitions only, and what is sent to
//! it keeps its order.
#![allow(clippy::disallowed_methods, reason = "a test waits for other threads")]

mod stand;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ottla_node::{Disk, DiskCall, DiskFaults, DiskVerdict};
use ottla_protocol::NONE;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::*;

use crate::stand::{Client, N_DATA_THREADS, Running, create, produce};

/// Writes to the log of one partition that take their time, or never end.
#[derive(Default)]
struct Slow {
    is_stalled: AtomicBool,
    takes_ms: AtomicU64,
    n_held: AtomicUsize,
}

impl DiskFaults for Slow {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let is_it = path
            .parent()
            .is_some_and(|parent| parent.ends_with("slow-0"));
        if is_it && call == DiskCall::Write {
            self.n_held.fetch_add(1, Ordering::AcqRel);
            std::thread::sleep(Duration::from_millis(self.takes_ms.load(Ordering::Acquire)));
            while self.is_stalled.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        DiskVerdict::Proceed
    }
}

/// Lets the disk go on, however the test ends.
struct EndStall(Arc<Slow>);

impl Drop for EndStall {
    fn drop(&mut self) {
        self.0.is_stalled.store(false, Ordering::Release);
    }
}

fn start(directory: &Path, slow: &Arc<Slow>, more: &[(&str, &str)]) -> (Running, Client) {
    let path = |name: &str| directory.join(name).display().to_string();
    let both = format!("{},{}", path("data"), path("more"));
    let mut settings = vec![("log.dirs", &*both)];
    settings.extend(more);
    let running = Running::start(directory, Disk::breakable(slow.clone()), &settings);
    let mut client = Client::connect(running.port);
    for topic in ["slow", "fast"] {
        create(&mut client, topic);
    }
    let place = |topic: &str| -> PathBuf {
        let all = [directory.join("data"), directory.join("more")];
        let found = all.into_iter().find(|it| it.join(topic).is_dir());
        found.unwrap()
    };
    assert_ne!(place("slow-0"), place("fast-0"), "two disks");
    (running, client)
}

fn offset_of(answer: &ProduceResponse) -> i64 {
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, NONE);
    partition.base_offset
}

#[test]
fn other_directories_do_not_notice_one_that_does_not_answer() {
    let directory = tempfile::tempdir().unwrap();
    let slow = Arc::new(Slow::default());
    let (running, mut client) = start(directory.path(), &slow, &[]);
    assert_eq!(offset_of(&client.call(&produce("slow", b"v"), 9)), 0);

    let _end = EndStall(slow.clone());
    slow.is_stalled.store(true, Ordering::Release);
    slow.n_held.store(0, Ordering::Release);
    // More of them than threads that serve partitions.
    let mut producers: Vec<Client> = (0..2 * N_DATA_THREADS + 2)
        .map(|_| Client::connect(running.port))
        .collect();
    for producer in &mut producers {
        producer.send(&produce("slow", b"v"), 9);
    }
    let began = Instant::now();
    while slow.n_held.load(Ordering::Acquire) == 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody writes");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(100));
    for at in 0..20 {
        let asked = Instant::now();
        assert_eq!(offset_of(&client.call(&produce("fast", b"v"), 9)), at);
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{:?}",
            asked.elapsed()
        );
    }
    slow.is_stalled.store(false, Ordering::Release);
    let answers = producers
        .iter_mut()
        .map(|it| it.receive::<ProduceRequest>(9));
    let mut offsets: Vec<i64> = answers.map(|answer| offset_of(&answer)).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=producers.len() as i64).collect::<Vec<_>>());
    running.stop();
}

/// Requests that follow each other on one connection, while the disk is slow, fast, and slow again.
#[test]
fn a_connections_batches_keep_their_order_wherever_they_are_appended() {
    for mode in ["auto", "thread", "inline"] {
        let directory = tempfile::tempdir().unwrap();
        let slow = Arc::new(Slow::default());
        let more = [("ottla.append.mode", mode)];
        let (running, mut client) = start(directory.path(), &slow, &more);
        let (mut sent, mut received) = (0, 0);
        for takes_ms in [0, 20, 0, 20, 0] {
            slow.takes_ms.store(takes_ms, Ordering::Release);
            for _ in 0..30 {
                client.send(&produce("slow", b"v"), 9);
                sent += 1;
                if sent - received == 5 {
                    let answer = client.receive::<ProduceRequest>(9);
                    assert_eq!(offset_of(&answer), received, "{mode}");
                    received += 1;
                }
            }
        }
        while received < sent {
            let answer = client.receive::<ProduceRequest>(9);
            assert_eq!(offset_of(&answer), received, "{mode}");
            received += 1;
        }
        running.stop();
    }
}

/// A producer of transactions, by the new protocol.
struct Transactional {
    client: Client,
    id: String,
    producer_id: i64,
    epoch: i16,
}

impl Transactional {
    fn new(port: u16, id: String) -> Self {
        let mut client = Client::connect(port);
        // Who asks for the first one has its topic made.
        let find = FindCoordinatorRequest {
            key_type: 1,
            coordinator_keys: vec![id.as_str().into()],
            ..Default::default()
        };
        client.call(&find, 5);
        let init = InitProducerIdRequest {
            transactional_id: Some(id.as_str().into()),
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
        };
        let began = Instant::now();
        let answer = loop {
            let answer = client.call(&init, 5);
            if answer.error_code == NONE {
                break answer;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        };
        Self {
            client,
            id,
            producer_id: answer.producer_id,
            epoch: answer.producer_epoch,
        }
    }

    fn write(&self, topic: &str) -> ProduceRequest {
        let builder = BatchBuilder::data(Codec::None);
        let mut builder = builder
            .producer(self.producer_id, self.epoch, 0)
            .transactional();
        builder.push(0, Some(b"k"), Some(b"v"));
        let mut request = produce(topic, b"");
        request.transactional_id = Some(self.id.as_str().into());
        request.topic_data[0].partition_data[0].records = Some(builder.finish());
        request
    }

    fn begin(&mut self, topic: &str) {
        let write = self.write(topic);
        offset_of(&self.client.call(&write, 12));
    }

    fn commit(&mut self) {
        let end = EndTxnRequest {
            transactional_id: self.id.as_str().into(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            committed: true,
        };
        let answer = self.client.call(&end, 5);
        assert_eq!(answer.error_code, NONE);
        (self.producer_id, self.epoch) = (answer.producer_id, answer.producer_epoch);
    }
}

/// Ends and beginnings that wait for one disk, far more than there are threads: transactions on
/// another go on.
#[test]
fn transactions_do_not_notice_other_directories_that_do_not_answer() {
    const N_ENDING: usize = 100;
    let directory = tempfile::tempdir().unwrap();
    let slow = Arc::new(Slow::default());
    let (running, _client) = start(directory.path(), &slow, &[]);
    let all = |name: &str, n: usize| -> Vec<Transactional> {
        let ids = (0..n).map(|i| format!("{name}-{i}"));
        ids.map(|id| Transactional::new(running.port, id)).collect()
    };
    let mut ending = all("ends", N_ENDING);
    let mut beginning = all("begins", 2 * N_DATA_THREADS + 2);
    let mut other = Transactional::new(running.port, "other".to_owned());
    for one in &mut ending {
        one.begin("slow");
    }

    let _end = EndStall(slow.clone());
    slow.is_stalled.store(true, Ordering::Release);
    for one in &mut ending {
        one.commit();
    }
    for one in &mut beginning {
        let write = one.write("slow");
        one.client.send(&write, 12);
    }
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..5 {
        let asked = Instant::now();
        other.begin("fast");
        other.commit();
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    slow.is_stalled.store(false, Ordering::Release);
    for one in &mut beginning {
        offset_of(&one.client.receive::<ProduceRequest>(12));
        one.commit();
    }
    for one in &mut ending {
        one.begin("slow");
    }
    running.stop();
}

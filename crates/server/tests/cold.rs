//! Consumers of what is not in memory, on a disk that does not answer, hold up nobody else.
#![allow(clippy::disallowed_methods, reason = "a test waits for other threads")]

mod stand;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ottla_node::{Disk, DiskCall, DiskFaults, DiskVerdict};
use ottla_protocol::NONE;
use ottla_protocol::messages::*;

use crate::stand::{Client, N_DATA_THREADS, Running, create, produce};

/// Nothing of one topic is in memory, and while it is stalled nothing of it can be read.
#[derive(Default)]
struct Cold {
    is_cold: AtomicBool,
    is_stalled: AtomicBool,
    n_held: AtomicUsize,
}

impl DiskFaults for Cold {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let is_it = path
            .parent()
            .is_some_and(|parent| parent.ends_with("cold-0"));
        if !is_it || !self.is_cold.load(Ordering::Acquire) {
            return DiskVerdict::Proceed;
        }
        match call {
            DiskCall::ReadInMemory => DiskVerdict::Fail(std::io::ErrorKind::WouldBlock),
            DiskCall::Read => {
                self.n_held.fetch_add(1, Ordering::AcqRel);
                while self.is_stalled.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                DiskVerdict::Proceed
            }
            _ => DiskVerdict::Proceed,
        }
    }
}

/// Lets the disk go on, however the test ends.
struct EndStall(Arc<Cold>);

impl Drop for EndStall {
    fn drop(&mut self) {
        self.0.is_stalled.store(false, Ordering::Release);
    }
}

fn fetch(topic: &str, offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        fetch_offset: offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: topic.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 10_000,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// Asks for the first record that is not older than the first one.
fn list_offsets(topic: &str) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition {
        partition_index: 0,
        current_leader_epoch: -1,
        timestamp: 0,
    };
    let topic = ListOffsetsTopic {
        name: topic.into(),
        partitions: vec![partition],
    };
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![topic],
        ..Default::default()
    }
}

/// The bytes of the records in an answer.
fn records(answer: &FetchResponse) -> &[u8] {
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, NONE);
    partition.records.as_deref().unwrap_or_default()
}

fn written(client: &mut Client, topic: &str, value: &[u8]) {
    let answer = client.call(&produce(topic, value), 9);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, NONE);
}

/// Large enough to be sent from the file, and small enough to be copied.
const VALUES: [usize; 2] = [500_000, 1000];

#[test]
fn whoever_reads_at_the_tail_does_not_notice_who_reads_what_is_cold() {
    let directory = tempfile::tempdir().unwrap();
    let cold = Arc::new(Cold::default());
    let disk = Disk::breakable(cold.clone());
    let running = Running::start(directory.path(), disk, &[("ottla.cold.read.threads", "2")]);
    let mut client = Client::connect(running.port);
    for topic in ["cold", "hot"] {
        create(&mut client, topic);
    }
    for n in VALUES {
        written(&mut client, "cold", &vec![b'x'; n]);
    }
    let warm: FetchResponse = client.call(&fetch("cold", 0), 11);
    let warm = records(&warm).to_vec();
    assert!(warm.len() > VALUES[0]);
    let warm_tail: FetchResponse = client.call(&fetch("cold", 1), 11);
    let warm_tail = records(&warm_tail).to_vec();

    let _end = EndStall(cold.clone());
    cold.is_cold.store(true, Ordering::Release);
    cold.is_stalled.store(true, Ordering::Release);
    // More of them than threads that serve partitions.
    let mut readers: Vec<Client> = (0..2 * N_DATA_THREADS + 2)
        .map(|_| Client::connect(running.port))
        .collect();
    for (at, reader) in readers.iter_mut().enumerate() {
        reader.send(&fetch("cold", at as i64 % 2), 11);
    }
    let mut seekers: Vec<Client> = (0..N_DATA_THREADS + 1)
        .map(|_| Client::connect(running.port))
        .collect();
    for seeker in &mut seekers {
        seeker.send(&list_offsets("cold"), 7);
    }
    let began = Instant::now();
    while cold.n_held.load(Ordering::Acquire) < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody reads");
        std::thread::sleep(Duration::from_millis(5));
    }
    for at in 0..20 {
        let asked = Instant::now();
        written(&mut client, "hot", b"v");
        let answer: FetchResponse = client.call(&fetch("hot", at), 11);
        assert!(!records(&answer).is_empty());
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{:?}",
            asked.elapsed()
        );
    }
    let n_held = cold.n_held.load(Ordering::Acquire);
    assert_eq!(n_held, 2, "no more at once than the setting says");

    cold.is_stalled.store(false, Ordering::Release);
    for (at, reader) in readers.iter_mut().enumerate() {
        let answer = reader.receive::<FetchRequest>(11);
        let expected = if at % 2 == 0 { &warm } else { &warm_tail };
        assert!(records(&answer) == expected, "reader {at}");
    }
    for seeker in &mut seekers {
        let answer = seeker.receive::<ListOffsetsRequest>(7);
        let found = &answer.topics[0].partitions[0];
        assert_eq!((found.error_code, found.offset), (NONE, 0));
    }
    running.stop();
}

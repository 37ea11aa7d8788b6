//! A disk that stalls costs no group member its session, no health check its answer, and no partition on
//! another disk its threads.
#![allow(clippy::disallowed_methods, reason = "a test waits for other threads")]

mod stand;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla_node::{Disk, DiskCall, DiskFaults, DiskVerdict};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Refusal};

use crate::stand::{Client, N_DATA_THREADS, PATIENCE, Running, create, produce};

/// Longer than any session below, many times over.
const STALL: Duration = Duration::from_secs(20);

/// Holds every write to a log while it is stalled.
#[derive(Default)]
struct Stall {
    /// Of these partitions only, if any is named.
    only: Option<&'static str>,
    is_stalled: AtomicBool,
    n_held: AtomicUsize,
}

impl DiskFaults for Stall {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let is_write = matches!(call, DiskCall::Write | DiskCall::Sync);
        let is_meant = |only: &str| path.parent().is_some_and(|it| it.ends_with(only));
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        if is_write && is_log && self.only.is_none_or(is_meant) {
            let mut is_counted = false;
            while self.is_stalled.load(Ordering::Acquire) {
                if !is_counted {
                    self.n_held.fetch_add(1, Ordering::AcqRel);
                    is_counted = true;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        DiskVerdict::Proceed
    }
}

/// Lets the disk go on, however the test ends.
struct EndStall(Arc<Stall>);

impl Drop for EndStall {
    fn drop(&mut self) {
        self.0.is_stalled.store(false, Ordering::Release);
    }
}

/// Joins as the only member and takes an assignment: member id and generation.
fn join(client: &mut Client) -> (String, i32) {
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.call(&find, 4).coordinators[0].error_code != NONE {
        assert!(Instant::now() < deadline, "no coordinator");
    }
    let mut request = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 6000,
        rebalance_timeout_ms: 6000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::new(),
        }],
        ..Default::default()
    };
    let joined = loop {
        let joined = client.call(&request, 5);
        match Refusal::from_code(joined.error_code) {
            None => break joined,
            Some(Refusal::MemberIdRequired) => request.member_id = joined.member_id,
            Some(Refusal::CoordinatorLoadInProgress | Refusal::NotCoordinator) => {}
            Some(refusal) => panic!("{refusal:?}"),
        }
        assert!(Instant::now() < deadline);
    };
    let sync = SyncGroupRequest {
        group_id: "g".into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(b"a"),
        }],
        ..Default::default()
    };
    assert_eq!(client.call(&sync, 3).error_code, NONE);
    (joined.member_id.to_string(), joined.generation_id)
}

/// Becomes the producer of a transactional id; the request again, for the next time.
fn begin(client: &mut Client) -> InitProducerIdRequest {
    let find = FindCoordinatorRequest {
        key_type: FindCoordinatorRequest::TRANSACTION,
        coordinator_keys: vec!["x".into()],
        ..Default::default()
    };
    let init = InitProducerIdRequest {
        transactional_id: Some("x".into()),
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let deadline = Instant::now() + PATIENCE;
    while client.call(&find, 4).coordinators[0].error_code != NONE
        || client.call(&init, 4).error_code != NONE
    {
        assert!(Instant::now() < deadline, "no coordinator");
        std::thread::sleep(Duration::from_millis(20));
    }
    init
}

fn is_live(port: u16) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    stream
        .write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).is_ok() && page.contains("200 OK")
}

#[test]
fn members_and_health_checks_do_not_notice_a_stall() {
    let directory = tempfile::tempdir().unwrap();
    let stall = Arc::new(Stall::default());
    let running = Running::start(directory.path(), Disk::breakable(stall.clone()), &[]);
    let (port, http_port) = (running.port, running.http_port);

    let mut member = Client::connect(port);
    create(&mut member, "t");
    let (member_id, generation_id) = join(&mut member);
    let heartbeat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.into(),
        ..Default::default()
    };

    let mut transactional = Client::connect(port);
    let init = begin(&mut transactional);

    // A failed assertion must not leave the runtimes waiting for the disk.
    let _end = EndStall(stall.clone());
    stall.is_stalled.store(true, Ordering::Release);
    // More producers than data-plane threads: every one of these threads hangs in a write.
    let mut producers: Vec<Client> = (0..4).map(|_| Client::connect(port)).collect();
    for producer in &mut producers {
        producer.send(&produce("t", b"v"), 9);
    }
    // The coordinator of transactions is on the data plane, and hangs with it.
    transactional.send(&init, 4);
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    while start.elapsed() < STALL {
        let asked = Instant::now();
        assert_eq!(
            member.call(&heartbeat, 4).error_code,
            NONE,
            "after {:?}",
            start.elapsed()
        );
        assert!(is_live(http_port));
        slowest = slowest.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(
        stall.n_held.load(Ordering::Acquire) > 0,
        "the disk did stall"
    );
    assert!(
        slowest < Duration::from_secs(3),
        "a heartbeat and a health check took {slowest:?}"
    );

    stall.is_stalled.store(false, Ordering::Release);
    for producer in &mut producers {
        let answer = producer.receive::<ProduceRequest>(9);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, NONE);
    }
    let answer = transactional.receive::<InitProducerIdRequest>(4);
    assert_eq!(answer.error_code, NONE);
    assert_eq!(
        member.call(&heartbeat, 4).error_code,
        NONE,
        "still in the same generation"
    );
    running.stop();
}

#[test]
fn who_asks_about_a_partition_whose_disk_stalls_holds_up_no_other_disk() {
    let directory = tempfile::tempdir().unwrap();
    let stall = Arc::new(Stall {
        only: Some("t-0"),
        ..Default::default()
    });
    let log_dirs = ["a", "b"].map(|name| directory.path().join(name).display().to_string());
    let more = [("log.dirs", &*log_dirs.join(","))];
    let running = Running::start(directory.path(), Disk::breakable(stall.clone()), &more);
    let mut elsewhere = Client::connect(running.port);
    create(&mut elsewhere, "t");
    create(&mut elsewhere, "u");
    let is_beside = |log_dir: &String| {
        let has = |name| Path::new(log_dir).join(name).is_dir();
        has("t-0") != has("u-0")
    };
    assert!(log_dirs.iter().all(is_beside), "two disks");
    let answer = elsewhere.call(&produce("t", b"v"), 9);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, NONE);

    let _end = EndStall(stall.clone());
    stall.is_stalled.store(true, Ordering::Release);
    let mut producer = Client::connect(running.port);
    producer.send(&produce("t", b"v"), 9);
    let deadline = Instant::now() + PATIENCE;
    while stall.n_held.load(Ordering::Acquire) == 0 {
        assert!(Instant::now() < deadline, "the disk did not stall");
        std::thread::sleep(Duration::from_millis(10));
    }
    // More of each than there are threads that serve partitions.
    let connect = |_| Client::connect(running.port);
    let mut deleting: Vec<Client> = (0..2 * N_DATA_THREADS).map(connect).collect();
    let delete = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: 0,
                offset: 1,
            }],
        }],
        timeout_ms: 60_000,
    };
    let mut describing: Vec<Client> = (0..2 * N_DATA_THREADS).map(connect).collect();
    let describe = DescribeProducersRequest {
        topics: vec![DescribeProducersTopicRequest {
            name: "t".into(),
            partition_indexes: vec![0],
        }],
    };
    deleting.iter_mut().for_each(|it| it.send(&delete, 2));
    describing.iter_mut().for_each(|it| it.send(&describe, 0));

    // Nor does the controller wait for that partition.
    let alter = IncrementalAlterConfigsRequest {
        resources: vec![IncrementalAlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![IncrementalAlterableConfig {
                name: "segment.bytes".into(),
                config_operation: IncrementalAlterConfigsRequest::SET,
                value: Some("2000000".into()),
            }],
        }],
        validate_only: false,
    };
    let asked = Instant::now();
    assert_eq!(elsewhere.call(&alter, 1).responses[0].error_code, NONE);
    create(&mut elsewhere, "w");
    assert!(asked.elapsed() < Duration::from_secs(3));

    for _ in 0..20 {
        let asked = Instant::now();
        let answer = elsewhere.call(&produce("u", b"v"), 9);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, NONE);
        assert!(asked.elapsed() < Duration::from_secs(3));
        std::thread::sleep(Duration::from_millis(50));
    }

    stall.is_stalled.store(false, Ordering::Release);
    let answer = producer.receive::<ProduceRequest>(9);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, NONE);
    for client in &mut deleting {
        let answer = client.receive::<DeleteRecordsRequest>(2);
        assert_eq!(answer.topics[0].partitions[0].low_watermark, 1);
    }
    for client in &mut describing {
        let answer = client.receive::<DescribeProducersRequest>(0);
        assert_eq!(answer.topics[0].partitions[0].error_code, NONE);
    }
    running.stop();
}

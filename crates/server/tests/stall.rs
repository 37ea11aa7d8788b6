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
use ottla_protocol::{NONE, Refusal, Text};

use crate::stand::{Client, N_DATA_THREADS, PATIENCE, Running, commit, create, produce};

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

impl Stall {
    /// Of the only partition that coordinates groups.
    fn of_groups() -> Arc<Self> {
        Arc::new(Self {
            only: Some("__consumer_offsets-0"),
            ..Self::default()
        })
    }

    /// Waits until somebody hangs.
    fn is_noticed(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.n_held.load(Ordering::Acquire) == 0 {
            assert!(Instant::now() < deadline, "the disk did not stall");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
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

/// Waits until there is a coordinator.
fn find(client: &mut Client) {
    let find = FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while client.call(&find, 4).coordinators[0].error_code != NONE {
        assert!(Instant::now() < deadline, "no coordinator");
    }
}

/// Joins as the only member and takes an assignment: member id and generation.
fn join(client: &mut Client) -> (String, i32) {
    find(client);
    let deadline = Instant::now() + Duration::from_secs(20);
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
    stall.is_noticed();
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

/// Longer than the sessions and rebalances of those who wait behind it in line.
const STALL_OF_LINE: Duration = Duration::from_secs(4);

#[test]
fn a_heartbeat_that_waits_behind_a_write_is_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let stall = Stall::of_groups();
    let short = [
        ("group.consumer.min.session.timeout.ms", "2000"),
        ("group.consumer.session.timeout.ms", "2000"),
        ("group.consumer.min.heartbeat.interval.ms", "500"),
        ("group.consumer.heartbeat.interval.ms", "500"),
    ];
    let running = Running::start(directory.path(), Disk::breakable(stall.clone()), &short);
    let (mut member, mut other) = (Client::connect(running.port), Client::connect(running.port));
    create(&mut member, "t");
    find(&mut member);
    let mut heartbeat = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let deadline = Instant::now() + PATIENCE;
    let joined = loop {
        let joined = member.call(&heartbeat, 1);
        if joined.error_code == NONE {
            break joined;
        }
        assert!(Instant::now() < deadline, "{joined:?}");
    };
    heartbeat = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        member_epoch: joined.member_epoch,
        rebalance_timeout_ms: -1,
        ..Default::default()
    };

    let _end = EndStall(stall.clone());
    stall.is_stalled.store(true, Ordering::Release);
    other.send(&commit("another"), 8);
    stall.is_noticed();
    member.send(&heartbeat, 1);
    std::thread::sleep(STALL_OF_LINE);
    stall.is_stalled.store(false, Ordering::Release);
    let answer = member.receive::<ConsumerGroupHeartbeatRequest>(1);
    let told = (answer.error_code, answer.member_epoch);
    assert_eq!(told, (NONE, joined.member_epoch), "{answer:?}");
    let answer = other.receive::<OffsetCommitRequest>(8);
    assert_eq!(answer.topics[0].partitions[0].error_code, NONE);

    // Who is silent is gone then.
    std::thread::sleep(STALL_OF_LINE);
    let answer = member.call(&heartbeat, 1);
    let refusal = Refusal::from_code(answer.error_code);
    assert_eq!(refusal, Some(Refusal::UnknownMemberId));
    running.stop();
}

#[test]
fn who_syncs_behind_a_leader_whose_assignment_is_being_written_is_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let stall = Stall::of_groups();
    let running = Running::start(directory.path(), Disk::breakable(stall.clone()), &[]);
    let connect = || Client::connect(running.port);
    let (mut leader, mut follower) = (connect(), connect());
    find(&mut leader);
    let mut join = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 20_000,
        rebalance_timeout_ms: 3000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::new(),
        }],
        ..Default::default()
    };
    let deadline = Instant::now() + PATIENCE;
    let first = loop {
        let first = leader.call(&join, 3);
        if first.error_code == NONE {
            break first;
        }
        assert!(Instant::now() < deadline, "{first:?}");
    };
    follower.send(&join, 3);
    join.member_id = first.member_id;
    let second = loop {
        let second = leader.call(&join, 3);
        assert_eq!(second.error_code, NONE);
        if second.members.len() == 2 {
            break second;
        }
    };
    let followed = follower.receive::<JoinGroupRequest>(3);
    assert_eq!(followed.generation_id, second.generation_id);
    let sync = |member_id: &Text, of: &[&Text]| SyncGroupRequest {
        group_id: "g".into(),
        generation_id: second.generation_id,
        member_id: member_id.clone(),
        assignments: of
            .iter()
            .map(|&member_id| SyncGroupRequestAssignment {
                member_id: member_id.clone(),
                assignment: Bytes::from_static(b"a"),
            })
            .collect(),
        ..Default::default()
    };

    let _end = EndStall(stall.clone());
    stall.is_stalled.store(true, Ordering::Release);
    let all = [&second.member_id, &followed.member_id];
    leader.send(&sync(&second.member_id, &all), 2);
    stall.is_noticed();
    follower.send(&sync(&followed.member_id, &[]), 2);
    std::thread::sleep(STALL_OF_LINE);
    stall.is_stalled.store(false, Ordering::Release);
    assert_eq!(leader.receive::<SyncGroupRequest>(2).error_code, NONE);
    let synced = follower.receive::<SyncGroupRequest>(2);
    assert_eq!((synced.error_code, &*synced.assignment), (NONE, &b"a"[..]));
    let heartbeat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: second.generation_id,
        member_id: followed.member_id,
        ..Default::default()
    };
    assert_eq!(follower.call(&heartbeat, 3).error_code, NONE);
    running.stop();
}

//! Many connections, and slow ones: what each costs, and that it costs the others nothing.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for another process"
)]

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Node, PATIENCE, run};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Request};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// Room for one frame of the largest size, and for less than two beside it.
const TIGHT: [&str; 2] = [
    "socket.request.max.bytes=1048576",
    "queued.max.request.bytes=3145728",
];
const LARGE: usize = 500_000;

fn send<R: Request>(stream: &mut TcpStream, request: &R, version: i16) {
    let frame = request_frame(request, version, 1, Some("many".into())).unwrap();
    stream.write_all(&frame).unwrap();
}

fn receive<R: Request>(stream: &mut TcpStream, version: i16) -> R::Response {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).unwrap();
    decode_response::<R::Response>(Bytes::from(frame), version)
        .unwrap()
        .1
}

/// A client that claims a Produce of a megabyte, sends most of it, and nothing more.
fn half_a_frame(node: &Node) -> TcpStream {
    let mut stream = node.connect();
    let mut sent = (1i32 << 20).to_be_bytes().to_vec();
    sent.extend([0, 0, 0, 9]);
    sent.resize(950_000, 0);
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    // Those for whom there is no memory are not read.
    let _ = stream.write_all(&sent);
    stream
}

fn config(node: &Node) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", node.bootstrap())
        .set("message.timeout.ms", "60000");
    config
}

/// The next `n` values of partition 0, from the start.
fn values(node: &Node, topic: &str, n: usize) -> Vec<Vec<u8>> {
    let consumer: BaseConsumer = config(node)
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let (mut found, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while found.len() < n {
        assert!(Instant::now() < deadline, "{} of {n} came", found.len());
        if let Some(record) = consumer.poll(Duration::from_millis(100)) {
            found.push(record.unwrap().payload().unwrap().to_vec());
        }
    }
    found
}

#[test]
fn large_records_pass_when_others_stop_in_the_middle_of_theirs() {
    let node = Node::start(&TIGHT);
    let _slow: Vec<TcpStream> = (0..3).map(|_| half_a_frame(&node)).collect();
    node.wait_until("is short of memory", || {
        metric(&node, "ottla_connections_waiting_for_memory") >= 1.0
    });
    let producer: BaseProducer = config(&node).create().unwrap();
    let record = vec![b'x'; LARGE];
    for _ in 0..4 {
        let record = BaseRecord::<(), _>::to("large").payload(&record);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE * 2).unwrap();
    assert_eq!(values(&node, "large", 4), vec![record; 4]);
    let log = node.log_text();
    assert!(log.contains("queued.max.request.bytes"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn an_idempotent_producer_with_five_requests_in_flight_keeps_its_order() {
    const N: usize = 3000;
    let node = Node::start(&[]);
    let producer: BaseProducer = config(&node)
        .set("enable.idempotence", "true")
        .set("max.in.flight.requests.per.connection", "5")
        // Many small requests instead of few large ones.
        .set("linger.ms", "0")
        .set("batch.num.messages", "3")
        .create()
        .unwrap();
    for n in 0..N {
        let value = n.to_string();
        let record = BaseRecord::<(), _>::to("ordered")
            .partition(0)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
    let expected: Vec<Vec<u8>> = (0..N).map(|n| n.to_string().into_bytes()).collect();
    assert!(values(&node, "ordered", N) == expected);
}

#[test]
#[ignore = "needs kcat"]
fn kcat_writes_and_reads_large_records_beside_clients_that_stop_half_way() {
    let node = Node::start(&TIGHT);
    let _slow: Vec<TcpStream> = (0..3).map(|_| half_a_frame(&node)).collect();
    let record = node.directory.path().join("record");
    std::fs::write(&record, "k".repeat(LARGE)).unwrap();
    let mut kcat = Command::new("kcat");
    kcat.args(["-b", &node.bootstrap(), "-t", "large"]);
    let settings = ["-P", "-X", "enable.idempotence=true", "-p", "0"];
    let (code, _, err) = run(kcat.args(settings).args([&record, &record, &record]));
    assert_eq!(code, 0, "{err}");
    let read = Command::new("kcat")
        .args(["-C", "-b", &node.bootstrap(), "-t", "large", "-e", "-q"])
        .args(["-f", "%S\n"])
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let sizes = String::from_utf8(read.stdout).unwrap();
    assert_eq!(sizes, format!("{LARGE}\n").repeat(3));
}

fn metric(node: &Node, name: &str) -> f64 {
    let page = node.http("/metrics").unwrap();
    let line = page
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value.and_then(|value| value.parse().ok()).unwrap()
}

fn memory_kib(node: &Node) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse().ok()).unwrap()
}

/// Ticks of the processor that the node has used, 100 a second.
fn cpu_ticks(node: &Node) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.pid())).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum()
}

fn produce() -> ProduceRequest {
    let mut builder = BatchBuilder::data(Codec::None);
    builder.push(0, None, Some(&[b'v'; 1000]));
    ProduceRequest {
        acks: 1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "many".into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(builder.finish()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn long_poll(offset: i64) -> FetchRequest {
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 60_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: "many".into(),
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// CPU seconds for each of many requests of one producer.
fn cpu_per_request(node: &Node, producer: &mut TcpStream) -> f64 {
    const N: usize = 5000;
    let before = cpu_ticks(node);
    for _ in 0..N {
        send(producer, &produce(), 9);
        let answer = receive::<ProduceRequest>(producer, 9);
        assert_eq!(answer.responses[0].partition_responses[0].error_code, NONE);
    }
    (cpu_ticks(node) - before) / 100.0 / N as f64
}

/// Lets all connections wait for records, writes one, and gives the time until all have it, and the
/// KiB that each took while it waited.
fn wake_all(node: &Node, clients: &mut [TcpStream], producer: &mut TcpStream) -> (Duration, f64) {
    send(producer, &produce(), 9);
    let written = receive::<ProduceRequest>(producer, 9);
    let end = written.responses[0].partition_responses[0].base_offset + 1;
    let before = memory_kib(node);
    let n = clients.len() as f64;
    for client in clients.iter_mut() {
        send(client, &long_poll(end), 11);
    }
    node.wait_until("has all waiting", || {
        metric(node, "ottla_requests_in_flight") >= n
    });
    let each = (memory_kib(node) - before) / n;
    let start = Instant::now();
    send(producer, &produce(), 9);
    receive::<ProduceRequest>(producer, 9);
    for client in clients {
        let answer = receive::<FetchRequest>(client, 11);
        assert_eq!(answer.responses[0].partitions[0].error_code, NONE);
    }
    (start.elapsed(), each)
}

/// Run with `--ignored --nocapture`, on the release build for figures that mean something.
#[test]
#[ignore = "opens 10,000 connections and measures what they cost"]
#[allow(clippy::print_stdout, reason = "it tells what it measured")]
fn ten_thousand_connections() {
    const N: usize = 10_000;
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let most = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let node = Node::start(&[
        "ottla.flush.before.ack=false",
        // All come at once: with Kafka's 50 most of the time goes by until clients knock again.
        "socket.listen.backlog.size=4096",
    ]);
    let mut producer = node.connect();
    let create = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: "many".into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 10_000,
        ..Default::default()
    };
    send(&mut producer, &create, 7);
    let made = receive::<CreateTopicsRequest>(&mut producer, 7);
    assert_eq!(made.topics[0].error_code, NONE);
    cpu_per_request(&node, &mut producer);
    let alone = cpu_per_request(&node, &mut producer);

    let before = memory_kib(&node);
    let start = Instant::now();
    let mut clients: Vec<TcpStream> = (0..N).map(|_| node.connect()).collect();
    node.wait_until("has accepted all", || {
        metric(&node, "kafka_server_socket_server_metrics_connection_count") > N as f64
    });
    println!("{N} connections accepted in {:?}", start.elapsed());
    let each = |since: f64| (memory_kib(&node) - since) / N as f64;
    println!("KiB of each that has said nothing: {:.2}", each(before));
    let versions = ApiVersionsRequest::default();
    for client in &mut clients {
        send(client, &versions, 0);
        receive::<ApiVersionsRequest>(client, 0);
    }
    println!("KiB of each that has said hello: {:.2}", each(before));
    let (quarter, _) = wake_all(&node, &mut clients[..N / 4], &mut producer);
    let (whole, waiting) = wake_all(&node, &mut clients, &mut producer);
    let idle = each(before);
    println!(
        "KiB of each that has fetched and is idle: {idle:.2}; while it waits, more: {waiting:.2}"
    );
    println!(
        "one record to {} that wait: {quarter:?}; to {N}: {whole:?}",
        N / 4
    );
    let beside = cpu_per_request(&node, &mut producer);
    println!(
        "CPU of a Produce: {:.1} µs alone, {:.1} µs beside {N} idle connections",
        alone * 1e6,
        beside * 1e6
    );
    assert!(idle < 8.0, "{idle} KiB for each connection");
    assert!(beside <= 2.0 * alone, "idle connections cost the others");
    // Four times as many take four times as long, not sixteen.
    assert!(whole < 9 * quarter.max(Duration::from_millis(50)));
    let start = Instant::now();
    drop(clients);
    node.wait_until("has closed all", || {
        metric(&node, "kafka_server_socket_server_metrics_connection_count") <= 1.0
    });
    println!("closed in {:?}", start.elapsed());
}

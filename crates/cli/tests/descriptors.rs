//! Few descriptors: many partitions are served all the same, and connections wait for their turn
//! instead of taking what logs need.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for another process"
)]

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::{Node, PATIENCE, ottla, run};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Up to 144 of them are for files of logs, and up to 128 for connections.
const N_FILES_MAX: u32 = 256;
const N_PARTITIONS: i32 = 300;
const N_CONNECTIONS: usize = 128;
const TOPIC: &str = "wide";

fn client(node: &Node) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", node.bootstrap())
        .set("group.id", "none")
        .set("enable.auto.commit", "false")
        .set("message.timeout.ms", "60000");
    config
}

/// A record into each partition.
fn produce(producer: &BaseProducer, round: usize) {
    let value = format!("round {round}");
    for partition in 0..N_PARTITIONS {
        let record: BaseRecord<'_, (), _> = BaseRecord::to(TOPIC).payload(&value);
        producer.send(record.partition(partition)).unwrap();
    }
    producer.flush(PATIENCE).expect("all are acknowledged");
}

/// What each partition holds, in order.
fn consume(node: &Node, n_each: usize) -> Vec<Vec<String>> {
    let consumer: BaseConsumer = client(node).create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..N_PARTITIONS {
        all.add_partition_offset(TOPIC, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&all).unwrap();
    let mut found = vec![Vec::new(); N_PARTITIONS as usize];
    let deadline = Instant::now() + 2 * PATIENCE;
    let mut n_missing = n_each * found.len();
    while n_missing > 0 {
        assert!(Instant::now() < deadline, "{n_missing} records are missing");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message.expect("a record");
        let value = String::from_utf8_lossy(message.payload().unwrap()).into_owned();
        found[message.partition() as usize].push(value);
        n_missing -= 1;
    }
    found
}

fn metric(node: &Node, name: &str) -> f64 {
    let page = node.http("/metrics").expect("a page of metrics");
    let line = page.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split(' ').next_back());
    value.expect("the metric").parse().expect("a number")
}

fn n_descriptors(node: &Node) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.pid()))
        .expect("its descriptors")
        .count()
}

/// Whether somebody answers an ApiVersions on this connection within the time.
fn is_served(stream: &mut TcpStream, patience: Duration) -> bool {
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.write_all(&request).unwrap();
    stream.read_exact(&mut [0; 8]).is_ok()
}

#[test]
fn three_hundred_partitions_and_a_crowd_of_clients_live_on_256_descriptors() {
    let mut node = Node::prepared(&["log.segment.bytes=1048576"]);
    node.limit_files(N_FILES_MAX);
    node.restart();
    let shares = "raised_to=256 log_files=144 connections=128";
    assert!(node.log_text().contains(shares), "{}", node.log_text());
    let mut create = ottla();
    create.args(["topics", "--bootstrap-server", &node.bootstrap()]);
    create.args(["--create", "--topic", TOPIC, "--partitions"]);
    let (code, _, err) = run(create.arg(N_PARTITIONS.to_string()));
    assert_eq!(code, 0, "{err}");
    let producer: BaseProducer = client(&node).create().unwrap();
    produce(&producer, 0);
    produce(&producer, 1);
    let expected = vec![vec!["round 0".to_owned(), "round 1".to_owned()]; N_PARTITIONS as usize];
    assert_eq!(consume(&node, 2), expected);
    let n_open = metric(&node, "ottla_open_files ");
    assert!(n_open <= 180.0, "{n_open} files are open");
    assert!(metric(&node, "ottla_files_closed_total ") > 0.0);
    assert!(n_descriptors(&node) < N_FILES_MAX as usize);

    // As many connections as there may be, and ten more.
    let mut crowd: Vec<TcpStream> = (0..N_CONNECTIONS + 10).map(|_| node.connect()).collect();
    let mut late = crowd.pop().expect("a connection");
    assert!(!is_served(&mut late, Duration::from_secs(1)));
    node.wait_until("says why connections wait", || {
        node.log_text().contains("ulimit -n")
    });
    // The logs have theirs: what was connected before is served on, in every partition.
    produce(&producer, 2);
    assert!(n_descriptors(&node) <= N_FILES_MAX as usize);
    drop(crowd);
    late.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(late.read_exact(&mut [0; 8]).is_ok(), "its turn never came");
    drop((late, producer));

    node.kill();
    node.restart();
    let expected: Vec<Vec<String>> = expected
        .into_iter()
        .map(|of_one| [of_one, vec!["round 2".to_owned()]].concat())
        .collect();
    assert_eq!(consume(&node, 3), expected);
    assert!(node.stop().success());
    node.restart();
    assert_eq!(consume(&node, 3), expected);
    for word in ["goes offline", "serves no more writes", "ERROR"] {
        assert!(!node.log_text().contains(word), "{}", node.log_text());
    }
}

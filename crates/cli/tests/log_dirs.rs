//! Several log directories: a replica moves from one to another while clients (librdkafka) write and
//! read, through `kill -9`; one directory is taken away and the others go on; and what a node says
//! when none is left.

#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for another process"
)]

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Node, PATIENCE, ottla, run};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
    DescribeLogDirsRequest, MetadataRequest, MetadataRequestTopic,
};
use ottla_protocol::{NONE, Refusal, Request};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

/// Two directories, the metadata log in the first.
fn two(settings: &[&str]) -> Node {
    let mut node = Node::prepared(settings);
    let dirs = format!("log.dirs={},{}", dir(&node, "a"), dir(&node, "b"));
    node.set(&dirs);
    node.set("offsets.topic.num.partitions=1");
    node.restart();
    node
}

fn dir(node: &Node, name: &str) -> String {
    node.directory.path().join(name).display().to_string()
}

fn call<R: Request>(node: &Node, request: &R, version: i16) -> R::Response {
    let mut stream = node.connect();
    let frame = request_frame(request, version, 1, Some("t".into())).unwrap();
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    if let Err(error) = stream.read_exact(&mut length) {
        panic!("{error}; the node's log:\n{}", node.log_text());
    }
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    decode_response::<R::Response>(Bytes::from(answer), version)
        .unwrap()
        .1
}

/// AlterReplicaLogDirs for one partition; `None`: no error.
fn alter(node: &Node, topic: &str, partition: i32, path: &str) -> Option<Refusal> {
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: path.into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: topic.into(),
                partitions: vec![partition],
            }],
        }],
    };
    let [old, new] = [1, 2].map(|version| {
        let answer = call(node, &request, version);
        answer.results[0].partitions[0].error_code
    });
    assert_eq!(old, new, "asking again; {}", node.log_text());
    (new != NONE).then(|| Refusal::from_code(new).unwrap())
}

/// Where a partition lies: (directory, whether it is a copy, size, lag).
fn places(node: &Node, topic: &str, partition: i32) -> Vec<(String, bool, i64, i64)> {
    let answer = call(node, &DescribeLogDirsRequest { topics: None }, 4);
    let mut places = Vec::new();
    for result in answer.results {
        for found in result.topics.iter().filter(|found| *found.name == *topic) {
            for it in found
                .partitions
                .iter()
                .filter(|it| it.partition_index == partition)
            {
                let name = Path::new(&*result.log_dir).file_name().unwrap();
                let name = name.to_string_lossy().into_owned();
                places.push((name, it.is_future_key, it.partition_size, it.offset_lag));
            }
        }
    }
    places
}

fn lies_in(node: &Node, topic: &str, partition: i32) -> Option<String> {
    match &places(node, topic, partition)[..] {
        [(name, false, ..)] => Some(name.clone()),
        _ => None,
    }
}

fn other(name: &str) -> &'static str {
    if name == "a" { "b" } else { "a" }
}

fn topics(node: &Node, arguments: &[&str]) {
    let mut command = ottla();
    command.args(["topics", "--bootstrap-server", &node.bootstrap()]);
    let (code, out, err) = run(command.args(arguments));
    assert_eq!(code, 0, "{out}{err}");
}

fn create(node: &Node, topic: &str, n: i32, config: &[&str]) {
    let n = n.to_string();
    let mut arguments = vec!["--create", "--topic", topic, "--partitions", &n];
    for one in config {
        arguments.extend(["--config", one]);
    }
    topics(node, &arguments);
}

fn client(node: &Node) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", node.bootstrap());
    config
}

/// Writes records `first..end` to partition 0; each must be acknowledged.
fn write(node: &Node, topic: &str, first: usize, end: usize) {
    let mut config = client(node);
    config.set("enable.idempotence", "true");
    config.set("batch.num.messages", "100");
    config.set("message.timeout.ms", "30000");
    let producer: BaseProducer = config.create().unwrap();
    for i in first..end {
        let value = format!("{i:08} {}", "x".repeat(i % 997));
        loop {
            let record = BaseRecord::<str, str>::to(topic)
                .partition(0)
                .payload(&value);
            match producer.send(record) {
                Ok(()) => break,
                Err(_) => producer.poll(Duration::from_millis(10)),
            }
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// The numbers of all records of partition 0.
fn read(node: &Node, topic: &str, n: usize) -> Vec<usize> {
    let mut config = client(node);
    config.set("group.id", "reader");
    config.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&list).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut found = Vec::new();
    while found.len() < n {
        assert!(
            Instant::now() < deadline,
            "{} of {n}; {}",
            found.len(),
            node.log_text()
        );
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            let value = String::from_utf8_lossy(message.payload().unwrap()).into_owned();
            found.push(value[..8].parse().unwrap());
        }
    }
    found
}

fn all(n: usize) -> Vec<usize> {
    (0..n).collect()
}

#[test]
fn a_replica_moves_while_it_is_written_and_read() {
    let mut node = two(&["log.segment.bytes=1048576"]);
    create(&node, "t", 1, &[]);
    let home = lies_in(&node, "t", 0).unwrap();
    write(&node, "t", 0, 6000);
    let is_over = AtomicBool::new(false);
    let n = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n = 6000;
            while !is_over.load(Ordering::Acquire) {
                write(&node, "t", n, n + 500);
                n += 500;
            }
            n
        });
        let mut at = home.clone();
        for _ in 0..4 {
            let to = other(&at);
            let refused = alter(&node, "t", 0, &dir(&node, to));
            assert_eq!(refused, None, "{}", node.log_text());
            node.wait_until("moved", || lies_in(&node, "t", 0).as_deref() == Some(to));
            at = to.to_owned();
        }
        is_over.store(true, Ordering::Release);
        writer.join().unwrap()
    });
    assert_eq!(read(&node, "t", n), all(n));
    assert_eq!(lies_in(&node, "t", 0), Some(home.clone()));
    let page = node.http("/metrics").unwrap();
    assert!(page.contains("\nottla_replica_moves 0\n"), "{page}");
    assert!(page.contains("kafka_server_replicaalterlogdirsmanager_failedpartitionscount"));
    // The controller knows where it lies: the next start has it there, whatever the other one says.
    node.kill();
    node.restart();
    assert_eq!(read(&node, "t", n), all(n));
    assert_eq!(lies_in(&node, "t", 0), Some(home));
    assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
    assert!(!node.log_text().contains("ERROR"), "{}", node.log_text());
}

#[test]
fn a_move_goes_on_after_a_kill_and_a_stop_and_can_be_cancelled() {
    let slow = "replica.alter.log.dirs.io.max.bytes.per.second=400000";
    let mut node = two(&["log.segment.bytes=1048576", slow]);
    create(&node, "t", 1, &["file.delete.delay.ms=0"]);
    write(&node, "t", 0, 20_000);
    let home = lies_in(&node, "t", 0).unwrap();
    let there = other(&home);
    assert_eq!(alter(&node, "t", 0, &dir(&node, there)), None);
    let copy = |node: &Node| {
        let places = places(node, "t", 0);
        let copy = places.into_iter().find(|(_, is_future, ..)| *is_future);
        copy.map(|(name, _, size, lag)| (name, size, lag))
    };
    node.wait_until("has copied some", || {
        copy(&node).is_some_and(|(_, size, _)| size > 100_000)
    });
    let (name, _, lag) = copy(&node).unwrap();
    assert_eq!(name, there);
    assert!(lag > 0, "{lag}");
    node.kill();
    node.restart();
    node.wait_until("goes on", || {
        copy(&node).is_some_and(|(_, size, _)| size > 100_000)
    });
    assert!(node.stop().success());
    node.restart();
    node.wait_until("goes on", || copy(&node).is_some());
    // The directory where it lies: it stays there.
    assert_eq!(alter(&node, "t", 0, &dir(&node, &home)), None);
    assert_eq!(
        lies_in(&node, "t", 0),
        Some(home.clone()),
        "{:?}; the node's log:\n{}",
        places(&node, "t", 0),
        node.log_text()
    );
    node.wait_until("has removed the copy", || {
        let names = fs::read_dir(dir(&node, there)).unwrap().flatten();
        !names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .any(|name| name.starts_with("t-0"))
    });
    // And once more, to the end, without the brake.
    node.kill();
    node.set("replica.alter.log.dirs.io.max.bytes.per.second=1000000000");
    node.restart();
    assert_eq!(alter(&node, "t", 0, &dir(&node, there)), None);
    node.wait_until("moved", || lies_in(&node, "t", 0).as_deref() == Some(there));
    assert_eq!(read(&node, "t", 20_000), all(20_000));
    assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
}

#[test]
fn what_cannot_be_moved_is_told_in_kafkas_words() {
    let node = two(&[]);
    create(&node, "t", 1, &[]);
    let long = "l".repeat(230);
    create(&node, &long, 1, &[]);
    let b = dir(&node, "b");
    assert_eq!(
        alter(&node, "t", 0, "/nowhere"),
        Some(Refusal::LogDirNotFound)
    );
    assert_eq!(
        alter(&node, "t", 0, &format!("{b}/")),
        Some(Refusal::LogDirNotFound),
        "letter by letter"
    );
    assert_eq!(alter(&node, "t", 0, "b"), Some(Refusal::LogDirNotFound));
    assert_eq!(alter(&node, "t", 0, ""), Some(Refusal::LogDirNotFound));
    assert_eq!(
        alter(&node, &long, 0, &b),
        Some(Refusal::InvalidTopicException)
    );
    for partition in [7, -1, i32::MAX] {
        assert_eq!(
            alter(&node, "t", partition, &b),
            Some(Refusal::UnknownTopicOrPartition)
        );
    }
    assert_eq!(
        alter(&node, "__cluster_metadata", 0, &b),
        Some(Refusal::UnknownTopicOrPartition)
    );
    // A directory for what is not there yet is remembered.
    for name in ["a", "b"] {
        let topic = format!("later-{name}");
        assert_eq!(
            alter(&node, &topic, 0, &dir(&node, name)),
            Some(Refusal::UnknownTopicOrPartition)
        );
        create(&node, &topic, 1, &[]);
        assert_eq!(lies_in(&node, &topic, 0).as_deref(), Some(name));
    }
    // A topic that goes away takes its move along.
    create(&node, "gone", 1, &[]);
    write(&node, "gone", 0, 3000);
    let to = other(&lies_in(&node, "gone", 0).unwrap());
    assert_eq!(alter(&node, "gone", 0, &dir(&node, to)), None);
    topics(&node, &["--delete", "--topic", "gone"]);
    node.wait_until("forgets it", || places(&node, "gone", 0).is_empty());
    assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
}

fn leader(node: &Node, topic: &str, partition: i32) -> (i16, i32, usize) {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(topic.into()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    let answer = call(node, &request, 9);
    let partitions = &answer.topics[0].partitions;
    let found = partitions
        .iter()
        .find(|it| it.partition_index == partition)
        .unwrap();
    (
        found.error_code,
        found.leader_id,
        found.offline_replicas.len(),
    )
}

/// The numbers of the partitions in each directory.
fn split(node: &Node, topic: &str, n: i32) -> (Vec<i32>, Vec<i32>) {
    (0..n).partition(|partition| lies_in(node, topic, *partition).as_deref() == Some("a"))
}

fn kcat(node: &Node, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new("kcat");
    command.args(["-b", &node.bootstrap(), "-X", "message.timeout.ms=3000"]);
    run(command.args(arguments))
}

#[test]
fn a_directory_that_is_taken_away_leaves_the_other_serving() {
    let mut node = two(&[]);
    create(&node, "t", 4, &[]);
    let (in_a, in_b) = split(&node, "t", 4);
    assert_eq!((in_a.len(), in_b.len()), (2, 2));
    let file = node.directory.path().join("line");
    fs::write(&file, "before\n").unwrap();
    let file = file.display().to_string();
    let say = |node: &Node, partition: i32| {
        let partition = partition.to_string();
        kcat(node, &["-P", "-t", "t", "-p", &partition, "-l", &file])
    };
    for partition in 0..4 {
        let (code, out, err) = say(&node, partition);
        assert_eq!(code, 0, "{out}{err}");
    }
    let (b, away) = (PathBuf::from(dir(&node, "b")), dir(&node, "away"));
    fs::rename(&b, &away).unwrap();
    node.wait_until("tells the controller", || {
        leader(&node, "t", in_b[0]) == (Refusal::LeaderNotAvailable.code(), -1, 1)
    });
    for partition in &in_a {
        let (code, out, err) = say(&node, *partition);
        assert_eq!(code, 0, "{out}{err}");
        assert_eq!(leader(&node, "t", *partition).1, 1);
    }
    for partition in &in_b {
        assert_eq!(leader(&node, "t", *partition).1, -1);
        let (_, out, err) = say(&node, *partition);
        let said = format!("{out}{err}");
        assert!(said.contains("rror") || said.contains("ailed"), "{said}");
        assert_eq!(
            alter(&node, "t", *partition, &dir(&node, "a")),
            Some(Refusal::KafkaStorageError)
        );
    }
    assert_eq!(
        alter(&node, "t", in_a[0], &b.display().to_string()),
        Some(Refusal::KafkaStorageError)
    );
    let answer = call(&node, &DescribeLogDirsRequest { topics: None }, 4);
    let codes: Vec<(String, i16)> = answer
        .results
        .iter()
        .map(|it| (it.log_dir.to_string(), it.error_code))
        .collect();
    let failed = Refusal::KafkaStorageError.code();
    assert!(codes.contains(&(dir(&node, "a"), NONE)), "{codes:?}");
    assert!(codes.contains(&(dir(&node, "b"), failed)), "{codes:?}");
    let page = node.http("/metrics").unwrap();
    assert!(page.contains("kafka_log_logmanager_offlinelogdirectorycount 1"));
    // New topics go where there is a place.
    create(&node, "new", 2, &[]);
    assert_eq!(split(&node, "new", 2).0, [0, 1]);
    // While it is away, a start makes no empty logs in place of those in it.
    node.kill();
    fs::write(&b, "not a directory").unwrap();
    node.restart();
    assert_eq!(leader(&node, "t", in_b[0]).1, -1, "{}", node.log_text());
    assert_eq!(leader(&node, "t", in_a[0]).1, 1);
    assert_eq!(lies_in(&node, "t", in_b[0]), None);
    node.kill();
    fs::remove_file(&b).unwrap();
    fs::rename(&away, &b).unwrap();
    node.restart();
    for partition in 0..4 {
        node.wait_until("leads again", || leader(&node, "t", partition).1 == 1);
        let partition = partition.to_string();
        let (code, out, err) = kcat(
            &node,
            &["-C", "-t", "t", "-p", &partition, "-o", "beginning", "-e"],
        );
        assert_eq!(code, 0, "{err}");
        assert!(out.starts_with("before\n"), "{out}{err}");
    }
    assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
}

#[test]
fn without_a_directory_the_node_ends_with_a_sentence() {
    let mut node = two(&[]);
    fs::rename(dir(&node, "a"), dir(&node, "away")).unwrap();
    node.wait_until("ends", || {
        node.log_text()
            .contains("the directory of the metadata log has failed")
    });
    let deadline = Instant::now() + PATIENCE;
    while node.is_running() {
        assert!(Instant::now() < deadline, "{}", node.log_text());
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = node.log_text();
    // Who closes the metadata log meanwhile may have a word after it.
    let sentence = said.lines().find(|line| line.starts_with("ottla: "));
    assert!(
        sentence.is_some_and(|sentence| sentence.contains("metadata log has failed")),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
}

//! Log directories that were damaged while the node was down: what is served then, beside it and of it,
//! and that one line names the file. As at Apache, except that files of offsets that can be done without
//! are (there they take the directory offline).

#![allow(clippy::disallowed_methods, reason = "a test waits for a checkpoint")]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{Node, files_below, run};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const N_RECORDS: i64 = 40;
const GARBAGE: &[u8] = b"what is \xff this\n";

fn client(node: &Node) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", node.bootstrap());
    config
}

/// A topic of several segments.
fn fill(node: &Node, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = client(node).create().unwrap();
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1))
        .set("internal.segment.bytes", "20000")
        .set("index.interval.bytes", "100");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new()));
    assert!(made.unwrap()[0].is_ok());
    let producer: BaseProducer = client(node)
        .set("enable.idempotence", "true")
        .create()
        .unwrap();
    for n in 0..N_RECORDS {
        let value = format!("{n:04} {}", "x".repeat(4000));
        producer
            .send(BaseRecord::to(topic).key("k").payload(&value))
            .unwrap();
        producer.flush(Duration::from_secs(20)).unwrap();
    }
}

/// Where a topic starts and ends, with everything between read and right; `None`: not served yet.
fn served(node: &Node, topic: &str) -> Option<(i64, i64)> {
    let consumer: BaseConsumer = client(node)
        .set("group.id", "g")
        // Else it waits at its end for a coordinator, whose directory may be the one that is offline.
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let (start, end) = consumer
        .fetch_watermarks(topic, 0, Duration::from_secs(3))
        .ok()?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Offset(start))
        .unwrap();
    consumer.assign(&from).unwrap();
    for n in start..end {
        let record = consumer.poll(Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!(record.offset(), n);
        assert!(
            record
                .payload()
                .unwrap()
                .starts_with(format!("{n:04} ").as_bytes())
        );
    }
    Some((start, end))
}

/// The files of a partition with this ending, in the order of their offsets.
fn files(partition: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files = files_below(partition);
    files.retain(|path| path.to_string_lossy().ends_with(ending));
    files
}

fn base_of(segment: &Path) -> i64 {
    segment
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

fn middle(partition: &Path, ending: &str) -> PathBuf {
    let files = files(partition, ending);
    files[files.len() / 2].clone()
}

fn last(partition: &Path, ending: &str) -> PathBuf {
    files(partition, ending).pop().unwrap()
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let status = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success());
}

/// How the node went down before.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Stop,
    Kill,
}

/// What happens to the partition `u-0` and its log directory, what of it is served then (`Some(offset)`:
/// up to there; `None`: its directory is offline), and what the node says.
type Damage = (After, fn(&Path, &Path) -> Option<i64>, &'static str);

const DAMAGES: &[Damage] = &[
    (
        After::Stop,
        |u, _| emptied(&last(u, ".log")),
        "records are missing",
    ),
    (
        After::Kill,
        |u, _| emptied(&last(u, ".log")),
        "records are missing",
    ),
    (
        After::Kill,
        |u, _| emptied(&middle(u, ".log")),
        "does not follow",
    ),
    (
        After::Kill,
        |u, _| garbled(&last(u, ".log")),
        "torn bytes are cut off",
    ),
    (
        After::Stop,
        |u, _| whole(&middle(u, ".index"), GARBAGE),
        "its indexes are rebuilt",
    ),
    (
        After::Stop,
        |u, _| whole(&middle(u, ".timeindex"), GARBAGE),
        "its indexes are rebuilt",
    ),
    (
        After::Stop,
        |u, _| whole(&last(u, ".snapshot"), b""),
        ".snapshot: the snapshot ends early",
    ),
    (
        After::Stop,
        |u, _| whole(&last(u, ".snapshot"), GARBAGE),
        ".snapshot",
    ),
    (
        After::Stop,
        |_, d| whole(&d.join("recovery-point-offset-checkpoint"), GARBAGE),
        "recovery-point-offset-checkpoint is corrupt",
    ),
    (
        After::Stop,
        |_, d| whole(&d.join("recovery-point-offset-checkpoint"), b""),
        "",
    ),
    (
        After::Stop,
        |_, d| whole(&d.join("log-start-offset-checkpoint"), GARBAGE),
        "log-start-offset-checkpoint is corrupt",
    ),
    (
        After::Stop,
        |_, d| whole(&d.join("cleaner-offset-checkpoint"), GARBAGE),
        "cleaner-offset-checkpoint is corrupt",
    ),
    (
        After::Stop,
        |_, d| whole(&d.join("replication-offset-checkpoint"), b""),
        "",
    ),
    (
        After::Stop,
        |_, d| whole(&d.join(".kafka_cleanshutdown"), GARBAGE),
        "",
    ),
    (
        After::Stop,
        |u, _| whole(&u.join("notes.txt"), GARBAGE),
        "u-0/notes.txt: no file of a log",
    ),
    (
        After::Stop,
        |u, _| whole(&u.join("1.log"), GARBAGE),
        "u-0/1.log: no file of a log",
    ),
    (
        After::Stop,
        |_, d| whole(&d.join("notes.txt"), GARBAGE),
        "data/notes.txt: no file of a log directory",
    ),
    (
        After::Stop,
        |u, d| linked(u, &d.join("..").join("elsewhere")),
        "",
    ),
    (
        After::Stop,
        |u, d| linked(&middle(u, ".log"), &d.join("..").join("elsewhere")),
        "",
    ),
    // The directory goes offline.
    (
        After::Stop,
        |_, d| lost(&d.join("replication-offset-checkpoint")),
        "replication-offset-checkpoint is corrupt",
    ),
    (
        After::Stop,
        |u, _| lost(&u.join("leader-epoch-checkpoint")),
        "leader-epoch-checkpoint is corrupt",
    ),
    (
        After::Stop,
        |u, _| lost(&u.join("partition.metadata")),
        "partition.metadata is corrupt",
    ),
    (
        After::Stop,
        |u, _| {
            let segment = middle(u, ".log");
            fs::remove_file(&segment).unwrap();
            std::os::unix::fs::symlink("/nowhere", &segment).unwrap();
            None
        },
        ".log: No such file or directory",
    ),
];

fn emptied(segment: &Path) -> Option<i64> {
    fs::write(segment, b"").unwrap();
    Some(base_of(segment))
}

fn garbled(segment: &Path) -> Option<i64> {
    let mut bytes = fs::read(segment).unwrap();
    bytes.fill(0x5a);
    fs::write(segment, bytes).unwrap();
    Some(base_of(segment))
}

fn whole(file: &Path, content: &[u8]) -> Option<i64> {
    fs::write(file, content).unwrap();
    Some(N_RECORDS)
}

fn lost(file: &Path) -> Option<i64> {
    fs::write(file, GARBAGE).unwrap();
    None
}

fn linked(path: &Path, elsewhere: &Path) -> Option<i64> {
    fs::rename(path, elsewhere).unwrap();
    std::os::unix::fs::symlink(elsewhere, path).unwrap();
    Some(N_RECORDS)
}

#[test]
fn a_damaged_directory_loses_what_is_damaged_and_says_so() {
    let mut node = Node::prepared(&["log.initial.task.delay.ms=0"]);
    let root = node.directory.path().to_owned();
    let (other, data) = (root.join("other"), root.join("data"));
    node.set(&format!("log.dirs={},{}", other.display(), data.display()));
    node.set("replica.high.watermark.checkpoint.interval.ms=100");
    node.restart();
    fill(&node, "t");
    fill(&node, "u");
    assert!(data.join("u-0").exists() && other.join("t-0").exists());
    let settle = |node: &Node| {
        node.wait_until("wrote its high watermarks", || {
            let checkpoint = fs::read_to_string(data.join("replication-offset-checkpoint"));
            checkpoint.is_ok_and(|text| text.contains(&format!("u 0 {N_RECORDS}")))
        });
    };
    settle(&node);
    let places = ["other", "data"];
    let keep = |after: &str| {
        for place in places {
            copy(&root.join(place), &root.join(format!("{place}.{after}")));
        }
    };
    node.kill();
    keep("kill");
    node.restart();
    // After a crash nothing counts as durable until it is synced again.
    node.wait_until("serves it all", || {
        served(&node, "u") == Some((0, N_RECORDS))
    });
    settle(&node);
    assert!(node.stop().success());
    keep("stop");
    for (n, (after, damage, words)) in DAMAGES.iter().enumerate() {
        let after = if *after == After::Kill {
            "kill"
        } else {
            "stop"
        };
        for place in places {
            copy(&root.join(format!("{place}.{after}")), &root.join(place));
        }
        let _ = fs::remove_dir_all(root.join("elsewhere"));
        let _ = fs::remove_file(root.join("elsewhere"));
        let expected = damage(&data.join("u-0"), &data).map(|end| (0, end));
        let said_before = node.log_text().len();
        node.restart();
        // Logs are opened, and what was not synced is, while the node serves already.
        node.wait_until(&format!("served the other topic, damage {n}"), || {
            served(&node, "t") == Some((0, N_RECORDS))
        });
        let said = || node.log_text().split_off(said_before);
        node.wait_until(&format!("said {words}, damage {n}"), || {
            said().contains(words)
        });
        if expected.is_some() {
            node.wait_until(&format!("served {expected:?}, damage {n}"), || {
                served(&node, "u") == expected
            });
        }
        assert!(!said().contains("panicked"), "damage {n}: {}", said());
        node.kill();
    }
}

/// What a search by time or by offset comes across long after it was synced costs its own answer.
#[test]
fn bytes_that_went_bad_cost_nobody_else_anything() {
    let mut node = Node::start(&[]);
    fill(&node, "u");
    assert!(node.stop().success());
    let segment = middle(&node.data().join("u-0"), ".log");
    let mut bytes = fs::read(&segment).unwrap();
    let size = |at: usize| 12 + i32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap());
    let second = size(0) as usize;
    let timestamp = i64::from_be_bytes(bytes[35..43].try_into().unwrap());
    // The first batch has one record, which now ends in -1 headers; the second one has no length.
    bytes[second - 1] = 1;
    bytes[second + 8..second + 12].fill(0);
    fs::write(&segment, bytes).unwrap();
    node.restart();
    let consumer: BaseConsumer = client(&node).set("group.id", "g").create().unwrap();
    let mut at = TopicPartitionList::new();
    at.add_partition_offset("u", 0, Offset::Offset(timestamp))
        .unwrap();
    let found = consumer.offsets_for_times(at, Duration::from_secs(20));
    let code = found.unwrap_err().rdkafka_error_code();
    assert_eq!(code, Some(RDKafkaErrorCode::InvalidRecord));
    assert!(node.log_text().contains("has a negative number of headers"));

    let mut from = TopicPartitionList::new();
    from.add_partition_offset("u", 0, Offset::Offset(base_of(&segment) + 1))
        .unwrap();
    consumer.assign(&from).unwrap();
    node.wait_until("came across the batch without a length", || {
        let came = consumer.poll(Duration::from_millis(100));
        assert!(!matches!(came, Some(Ok(_))));
        node.log_text().contains("batch length 0 is impossible")
    });
    fill(&node, "t");
    assert_eq!(served(&node, "t"), Some((0, N_RECORDS)));
    let said = node.log_text();
    assert!(!said.contains("serves no more writes"), "{said}");
    assert!(said.matches("is corrupt").count() < 4, "{said}");
}

#[test]
fn a_damaged_memory_of_the_cluster_stops_the_start_and_is_named() {
    let mut node = Node::start(&[]);
    assert!(node.stop().success());
    let kept = node.directory.path().join("kept");
    copy(&node.data(), &kept);
    for (file, content) in [
        ("meta.properties", &b""[..]),
        ("meta.properties", GARBAGE),
        ("bootstrap.checkpoint", b""),
        ("bootstrap.checkpoint", GARBAGE),
        ("__cluster_metadata-0/quorum-state", b""),
        ("__cluster_metadata-0/quorum-state", GARBAGE),
    ] {
        copy(&kept, &node.data());
        let path = node.data().join(file);
        assert!(path.exists(), "{file}");
        fs::write(&path, content).unwrap();
        let (code, out, err) = run(&mut node.command());
        assert_ne!(code, 0, "{file}");
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            err.contains(name) && !err.contains("panicked"),
            "{file}: {out}{err}"
        );
    }
    copy(&kept, &node.data());
    node.restart();
}

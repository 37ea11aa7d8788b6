//! Logs of transactions that were damaged while the node was down. What cannot be read of
//! `__transaction_state` is told with its place, and its partition answers that there is no
//! coordinator (Apache Kafka 4.3 goes on with what it read before, and forgets the rest); what nobody
//! knows is skipped, as there; the end of a transaction that was cut is written again.

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use harness::{Node, PATIENCE};
use ottla_protocol::batch::{Batch, batches};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::{
    CreatableTopic, CreateTopicsRequest, EndTxnRequest, InitProducerIdRequest,
};
use ottla_protocol::{Offset, Refusal, Request, Text};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, TopicPartitionList};

/// Of two partitions of `__transaction_state` the second has "a", and the first has "b".
const SETTINGS: [&str; 2] = [
    "transaction.state.log.num.partitions=2",
    "offsets.topic.num.partitions=1",
];
const OF_A: &str = "__transaction_state-1";
/// The key of "a": type 0, and a string.
const KEY: &[u8] = b"\0\0\0\x01a";

/// Key and value of a record, and why it cannot be read.
type Case<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, &'a str);

struct Stranger(TcpStream);

impl Stranger {
    fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let frame = request_frame(request, version, 7, None).unwrap();
        self.0.write_all(&frame).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("an answer");
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut answer).unwrap();
        decode_response(answer.into(), version).unwrap().1
    }

    fn init(&mut self, id: &str) -> &'static str {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        name(self.ask(&request, 4).error_code)
    }

    fn end(&mut self, id: &str) -> &'static str {
        let request = EndTxnRequest {
            transactional_id: id.into(),
            producer_id: 1,
            producer_epoch: 0,
            committed: true,
        };
        name(self.ask(&request, 3).error_code)
    }
}

fn name(code: i16) -> &'static str {
    Refusal::from_code(code).map_or("NONE", Refusal::name)
}

/// A node with a topic.
fn start() -> Node {
    let node = Node::start(&SETTINGS);
    let topic = CreatableTopic {
        name: Text::from_static("t"),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 20_000,
        ..Default::default()
    };
    let made = Stranger(node.connect()).ask(&request, 5);
    assert_eq!(name(made.topics[0].error_code), "NONE");
    node
}

fn client(node: &Node) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", node.bootstrap());
    config
}

/// One transaction of one record.
fn write(node: &Node, id: &str, value: &str) {
    let producer: BaseProducer = client(node).set("transactional.id", id).create().unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::to("t").partition(0).key("k").payload(value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
    producer.commit_transaction(PATIENCE).unwrap();
}

/// What is committed.
fn values(node: &Node) -> Vec<String> {
    let consumer: BaseConsumer = client(node)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset("t", 0, rdkafka::Offset::Beginning)
        .unwrap();
    consumer.assign(&from).unwrap();
    let mut values = Vec::new();
    loop {
        match consumer.poll(PATIENCE).expect("a record or the end") {
            Ok(record) => {
                let value = record.payload().unwrap().to_vec();
                values.push(String::from_utf8(value).unwrap());
            }
            Err(KafkaError::PartitionEOF(_)) => return values,
            Err(why) => panic!("{why}"),
        }
    }
}

/// The only segment of a partition.
fn log(node: &Node, partition: &str) -> PathBuf {
    let directory = node.data().join(partition);
    directory.join("00000000000000000000.log")
}

fn all(bytes: &[u8]) -> Vec<Batch<'_>> {
    batches(bytes).map(Result::unwrap).collect()
}

/// `clean` with a record behind it, in a batch that is right; its offset.
fn with_record(log: &Path, clean: &[u8], key: Option<&[u8]>, value: Option<&[u8]>) -> Offset {
    let batches = all(clean);
    let last = batches.last().unwrap();
    let at = last.next_offset();
    let mut builder = BatchBuilder::internal(at, last.leader_epoch());
    builder.push(1, key, value);
    fs::write(log, [clean, &builder.finish()].concat()).unwrap();
    at
}

/// A line of the node's log that has all these words.
fn says(node: &Node, words: &[&str]) -> bool {
    let text = node.log_text();
    text.lines()
        .any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn what_cannot_be_read_makes_its_partition_unavailable_and_no_other() {
    let mut node = start();
    write(&node, "a", "of a");
    write(&node, "b", "of b");
    node.kill();
    let log = log(&node, OF_A);
    let clean = fs::read(&log).unwrap();
    let cases: [Case<'_>; 5] = [
        (
            Some(KEY),
            Some(b"\0\x01 not a transaction"),
            "TransactionLogValue does not parse",
        ),
        (
            Some(KEY),
            Some(b"\0"),
            "the value version is missing or cut",
        ),
        (
            Some(b"\0\0\0\x09a"),
            None,
            "TransactionLogKey does not parse",
        ),
        (Some(b"\0"), None, "the record key is missing or cut"),
        (None, Some(b"\0\0"), "the record key is missing or cut"),
    ];
    for (n, (key, value, why)) in cases.iter().enumerate() {
        let at = with_record(&log, &clean, *key, *value);
        node.restart();
        let place = format!("partition={OF_A}");
        let what = format!("record at {at}: {why}");
        node.wait_until("says what it cannot read", || {
            says(&node, &["transactions cannot be loaded", &place, &what])
        });
        let mut stranger = Stranger(node.connect());
        assert_eq!(stranger.init("a"), "COORDINATOR_NOT_AVAILABLE", "{why}");
        assert_eq!(stranger.end("a"), "COORDINATOR_NOT_AVAILABLE", "{why}");
        write(&node, "b", &format!("again {n}"));
        node.kill();
        // Nothing of it is changed, and nothing is written behind it.
        assert_eq!(all(&fs::read(&log).unwrap()).len(), all(&clean).len() + 1);
    }
    fs::write(&log, &clean).unwrap();
    node.restart();
    write(&node, "a", "mended");
    assert_eq!(values(&node).len(), 3 + cases.len());
    assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
}

#[test]
fn a_byte_that_went_bad_is_found_though_it_parses() {
    let mut node = start();
    write(&node, "a", "of a");
    assert!(node.stop().success());
    let log = log(&node, OF_A);
    let mut bytes = fs::read(&log).unwrap();
    // Of the id that the producer had before, which is the last of a record.
    let base = all(&bytes).last().unwrap().base_offset();
    let n = bytes.len();
    bytes[n - 9] ^= 1;
    fs::write(&log, &bytes).unwrap();
    node.restart();
    let (place, what) = (format!("partition={OF_A}"), format!("batch at {base}: "));
    node.wait_until("says what it cannot read", || {
        says(
            &node,
            &["transactions cannot be loaded", &place, &what, "CRC"],
        )
    });
    let mut stranger = Stranger(node.connect());
    assert_eq!(stranger.init("a"), "COORDINATOR_NOT_AVAILABLE");
    write(&node, "b", "of b");
    assert_eq!(values(&node), ["of a", "of b"]);
}

#[test]
fn what_nobody_knows_is_skipped_and_told() {
    let mut node = start();
    write(&node, "a", "of a");
    node.kill();
    let log = log(&node, OF_A);
    let first = with_record(
        &log,
        &fs::read(&log).unwrap(),
        Some(b"\0\x07what"),
        Some(b"is this"),
    );
    let second = with_record(
        &log,
        &fs::read(&log).unwrap(),
        Some(KEY),
        Some(b"\0\x09new"),
    );
    assert_eq!(second, first + 1);
    node.restart();
    let (place, at) = (format!("partition={OF_A}"), format!("offset={first}"));
    node.wait_until("says what it skips", || {
        says(
            &node,
            &[
                &place,
                "n_skipped=2",
                &at,
                "what=a key of type 7",
                "skipped",
            ],
        )
    });
    write(&node, "a", "goes on");
    assert_eq!(values(&node), ["of a", "goes on"]);
}

#[test]
fn half_a_marker_is_cut_and_the_transaction_ends_again() {
    let mut node = start();
    write(&node, "a", "of a");
    node.wait_until("has ended the transaction", || {
        let page = node.http("/metrics").unwrap_or_default();
        page.lines().any(|line| {
            let n = line.strip_prefix("ottla_transactions_committed_total ");
            n.is_some_and(|n| n.parse() == Ok(1.0))
        })
    });
    node.kill();
    // As it is when the lights go out between the marker's first and last byte: the coordinator knows
    // that the transaction is committed, and not that it is at its end.
    let (data, states) = (log(&node, "t-0"), log(&node, OF_A));
    let bytes = fs::read(&states).unwrap();
    let written = all(&bytes);
    assert_eq!(
        written.len(),
        4,
        "Empty, Ongoing, PrepareCommit, CompleteCommit"
    );
    let n_complete = written[3].bytes().len();
    fs::write(&states, &bytes[..bytes.len() - n_complete]).unwrap();
    let bytes = fs::read(&data).unwrap();
    let written = all(&bytes);
    assert!(written.len() == 2 && written[1].is_control());
    let n_marker = written[1].bytes().len();
    fs::write(&data, &bytes[..bytes.len() - n_marker / 2]).unwrap();
    node.restart();
    node.wait_until("shows what is committed", || values(&node) == ["of a"]);
    write(&node, "a", "goes on");
    assert_eq!(values(&node), ["of a", "goes on"]);
    node.kill();
    let bytes = fs::read(&data).unwrap();
    let is_control = all(&bytes).into_iter().map(|batch| batch.is_control());
    let is_control: Vec<_> = is_control.collect();
    assert_eq!(is_control, [false, true, false, true]);
    assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
}

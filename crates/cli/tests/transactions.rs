//! Transactions under a foreign client (librdkafka): all of one is seen or nothing, next to readers,
//! over kills, between two producers of one id, after its time, and through compaction.

mod harness;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Node, PATIENCE, run};
use ottla_protocol::batch::{OPENED_BYTES_MAX, batches};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

/// Small coordinator topics are made sooner.
const SMALL: [&str; 2] = [
    "transaction.state.log.num.partitions=3",
    "offsets.topic.num.partitions=1",
];

type Writer = ThreadedProducer<DefaultProducerContext>;

fn client(node: &Node, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", node.bootstrap());
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

fn create(node: &Node, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client(node, &[]).create().unwrap();
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new()));
    assert!(made.unwrap()[0].is_ok());
}

/// A producer of this id that has ended what an earlier one left open.
fn writer(node: &Node, id: &str, settings: &[(&str, &str)]) -> Writer {
    let mut config = client(node, settings);
    config.set("transactional.id", id);
    let writer: Writer = config.create().unwrap();
    writer.init_transactions(PATIENCE).unwrap();
    writer
}

fn send(writer: &Writer, topic: &str, partition: i32, key: &str, value: &str) {
    let record = BaseRecord::to(topic)
        .partition(partition)
        .key(key)
        .payload(value);
    writer.send(record).map_err(|(error, _)| error).unwrap();
}

/// Sends a value in a transaction that stays open, and waits until the log has it.
fn send_open(writer: &Writer, topic: &str, value: &str) {
    writer.begin_transaction().unwrap();
    send(writer, topic, 0, "k", value);
    writer.flush(PATIENCE).unwrap();
}

fn send_whole(writer: &Writer, topic: &str, value: &str) {
    send_open(writer, topic, value);
    writer.commit_transaction(PATIENCE).unwrap();
}

fn from_the_start(node: &Node, topic: &str, partitions: i32, isolation: &str) -> BaseConsumer {
    let consumer: BaseConsumer = client(
        node,
        &[
            ("group.id", "reader"),
            ("isolation.level", isolation),
            ("enable.auto.commit", "false"),
            ("enable.partition.eof", "true"),
            ("fetch.wait.max.ms", "50"),
        ],
    )
    .create()
    .unwrap();
    let mut from = TopicPartitionList::new();
    for partition in 0..partitions {
        from.add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&from).unwrap();
    consumer
}

/// The next record as key and value, or nothing at the end of a partition.
fn next(consumer: &BaseConsumer) -> Option<(String, Option<String>)> {
    loop {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match consumer.poll(PATIENCE).expect("a record or the end") {
            Ok(record) => {
                let key = record.key().map(text).unwrap_or_default();
                return Some((key, record.payload().map(text)));
            }
            Err(KafkaError::PartitionEOF(_)) => return None,
            // The node is away; the client goes on by itself.
            Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            )) => {}
            Err(why) => panic!("{why}"),
        }
    }
}

/// The values up to the end that a reader of this isolation sees in partition 0.
fn values(node: &Node, topic: &str, isolation: &str) -> Vec<String> {
    let reader = from_the_start(node, topic, 1, isolation);
    let records = std::iter::from_fn(|| next(&reader));
    records.map(|(_, value)| value.unwrap()).collect()
}

/// What a reader that goes on sees next.
fn next_values(reader: &BaseConsumer, n: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut values = Vec::new();
    while values.len() < n {
        assert!(Instant::now() < deadline, "only {values:?}");
        values.extend(next(reader).and_then(|(_, value)| value));
    }
    values
}

/// How librdkafka calls an error, and whether the producer is at its end with it.
fn kind<T: std::fmt::Debug>(outcome: Result<T, KafkaError>) -> (RDKafkaErrorCode, bool) {
    match outcome {
        Err(KafkaError::Transaction(error)) => (error.code(), error.is_fatal()),
        other => panic!("{other:?}"),
    }
}

const FENCED: (RDKafkaErrorCode, bool) = (RDKafkaErrorCode::Fenced, true);

#[test]
fn readers_next_to_a_writer_see_whole_transactions_or_everything() {
    const N: usize = 40;
    const N_RECORDS: usize = 6;
    let node = Node::start(&SMALL);
    create(&node, "t", 2, &[]);
    let is_kept = |n: usize| n % 3 != 1;
    let (n_ending, n_dirty) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let numbers = |value: &str| -> (usize, usize) {
        let (n, i) = value.split_once('-').unwrap();
        (n.parse().unwrap(), i.parse().unwrap())
    };
    let read = |isolation: &str, n: usize, seen: &dyn Fn(usize)| {
        let reader = from_the_start(&node, "t", 2, isolation);
        let mut of_partition: [Vec<(usize, usize)>; 2] = Default::default();
        for value in next_values(&reader, n) {
            let (transaction, i) = numbers(&value);
            seen(transaction);
            of_partition[i % 2].push((transaction, i));
        }
        of_partition
    };
    let expected = |is_seen: &dyn Fn(usize) -> bool| {
        [0, 1].map(|partition| {
            let seen = (0..N).filter(|n| is_seen(*n));
            let all = seen.flat_map(|n| (0..N_RECORDS).map(move |i| (n, i)));
            all.filter(|(_, i)| i % 2 == partition).collect::<Vec<_>>()
        })
    };
    std::thread::scope(|scope| {
        let committed = scope.spawn(|| {
            let n = (0..N).filter(|n| is_kept(*n)).count() * N_RECORDS;
            read("read_committed", n, &|transaction| {
                // One more than the last that may be on its way to its end.
                assert!(transaction < n_ending.load(Ordering::SeqCst), "seen open");
            })
        });
        let dirty = scope.spawn(|| {
            let reader = from_the_start(&node, "t", 2, "read_uncommitted");
            let mut of_partition: [Vec<(usize, usize)>; 2] = Default::default();
            for _ in 0..N * N_RECORDS {
                let (transaction, i) = numbers(&next_values(&reader, 1)[0]);
                of_partition[i % 2].push((transaction, i));
                n_dirty.fetch_add(1, Ordering::SeqCst);
            }
            of_partition
        });
        let writer = writer(&node, "id", &[]);
        for n in 0..N {
            writer.begin_transaction().unwrap();
            for i in 0..N_RECORDS {
                send(&writer, "t", (i % 2) as i32, "k", &format!("{n}-{i}"));
            }
            writer.flush(PATIENCE).unwrap();
            if n % 8 == 0 {
                // Who reads everything has it all while it is still open.
                node.wait_until("shows open transactions", || {
                    n_dirty.load(Ordering::SeqCst) == (n + 1) * N_RECORDS
                });
            }
            if is_kept(n) {
                n_ending.store(n + 1, Ordering::SeqCst);
                writer.commit_transaction(PATIENCE).unwrap();
            } else {
                writer.abort_transaction(PATIENCE).unwrap();
            }
        }
        assert_eq!(committed.join().unwrap(), expected(&is_kept));
        assert_eq!(dirty.join().unwrap(), expected(&|_| true));
    });
    assert!(!node.log_text().contains("ERROR"), "{}", node.log_text());
}

/// How far a group has got, for one that waits for open transactions and one that does not.
fn committed_offset(node: &Node, group: &str, isolation: &str) -> Result<Offset, KafkaError> {
    let asked: BaseConsumer = client(node, &[("group.id", group), ("isolation.level", isolation)])
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition("in", 0);
    let found = asked.committed_offsets(list, Duration::from_secs(2))?;
    Ok(found.elements()[0].offset())
}

/// Sends how far the group has got in `in`, as part of the transaction.
fn send_offset(node: &Node, writer: &Writer, group: &str, offset: i64) {
    let reader: BaseConsumer = client(node, &[("group.id", group)]).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("in", 0, Offset::Offset(offset))
        .unwrap();
    let group = reader.group_metadata().expect("a group");
    writer
        .send_offsets_to_transaction(&list, &group, PATIENCE)
        .unwrap();
}

#[test]
fn offsets_are_seen_together_with_the_records() {
    let node = Node::start(&SMALL);
    create(&node, "in", 1, &[]);
    create(&node, "out", 1, &[]);
    let writer = writer(&node, "id", &[]);
    let at = |isolation| committed_offset(&node, "g", isolation);
    let (mut kept, mut before) = (Vec::new(), Offset::Invalid);
    for (offset, is_kept) in [(17, true), (20, false), (30, true)] {
        let value = offset.to_string();
        send_open(&writer, "out", &value);
        send_offset(&node, &writer, "g", offset);
        assert_eq!(at("read_uncommitted"), Ok(before), "{offset} is not yet");
        let unstable = at("read_committed").unwrap_err();
        assert_eq!(
            unstable.rdkafka_error_code(),
            Some(RDKafkaErrorCode::OperationTimedOut),
            "asked again and again while it is open"
        );
        assert_eq!(values(&node, "out", "read_committed"), kept);
        if is_kept {
            writer.commit_transaction(PATIENCE).unwrap();
            kept.push(value);
            before = Offset::Offset(offset);
        } else {
            writer.abort_transaction(PATIENCE).unwrap();
        }
        assert_eq!(at("read_uncommitted"), Ok(before));
        assert_eq!(at("read_committed"), Ok(before));
        assert_eq!(values(&node, "out", "read_committed"), kept);
    }
    assert_eq!(values(&node, "out", "read_uncommitted"), ["17", "20", "30"]);
}

#[test]
fn a_transaction_open_at_a_kill_is_aborted_by_the_next_producer_of_its_id() {
    let mut node = Node::start(&SMALL);
    create(&node, "in", 1, &[]);
    create(&node, "out", 1, &[]);
    let reader = from_the_start(&node, "out", 1, "read_committed");
    let first = writer(&node, "id", &[]);
    send_whole(&first, "out", "before");
    send_open(&first, "out", "open");
    send_offset(&node, &first, "g", 5);
    assert_eq!(next_values(&reader, 1), ["before"]);
    node.kill();
    node.restart();
    assert_eq!(values(&node, "out", "read_committed"), ["before"]);
    assert_eq!(
        committed_offset(&node, "g", "read_uncommitted"),
        Ok(Offset::Invalid)
    );
    let second = writer(&node, "id", &[]);
    send_whole(&second, "out", "after");
    assert_eq!(next_values(&reader, 1), ["after"]);
    assert_eq!(kind(first.commit_transaction(PATIENCE)), FENCED);
    assert_eq!(
        committed_offset(&node, "g", "read_committed"),
        Ok(Offset::Invalid)
    );
    assert_eq!(
        values(&node, "out", "read_uncommitted"),
        ["before", "open", "after"]
    );
}

#[test]
fn a_transaction_goes_on_over_a_kill_and_a_stop() {
    let mut node = Node::start(&SMALL);
    create(&node, "out", 1, &[]);
    let writer = writer(&node, "id", &[]);
    send_open(&writer, "out", "1");
    node.kill();
    node.restart();
    send(&writer, "out", 0, "k", "2");
    writer.flush(PATIENCE).unwrap();
    assert!(node.stop().success());
    node.restart();
    send(&writer, "out", 0, "k", "3");
    assert!(values(&node, "out", "read_committed").is_empty());
    writer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(values(&node, "out", "read_committed"), ["1", "2", "3"]);
}

#[test]
fn what_was_committed_is_whole_after_a_kill() {
    let mut node = Node::start(&SMALL);
    create(&node, "in", 1, &[]);
    create(&node, "out", 3, &[]);
    let mut expected = Vec::new();
    for lap in 1..=3 {
        let writer = writer(&node, "id", &[]);
        writer.begin_transaction().unwrap();
        for i in 0..60 {
            let value = format!("{lap}-{i}");
            send(&writer, "out", i % 3, "k", &value);
            expected.push(value);
        }
        send_offset(&node, &writer, "g", lap);
        writer.commit_transaction(PATIENCE).unwrap();
        node.kill();
        node.restart();
        let reader = from_the_start(&node, "out", 3, "read_committed");
        let mut found = next_values(&reader, expected.len());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "lap {lap}");
        assert_eq!(
            committed_offset(&node, "g", "read_committed"),
            Ok(Offset::Offset(lap))
        );
    }
}

#[test]
fn the_second_producer_of_an_id_fences_the_first() {
    let node = Node::start(&SMALL);
    create(&node, "out", 1, &[]);
    let first = writer(&node, "id", &[]);
    let other = writer(&node, "other", &[]);
    send_whole(&first, "out", "first");
    send_open(&first, "out", "open");
    send_open(&other, "out", "other");
    let second = writer(&node, "id", &[]);
    assert_eq!(kind(first.commit_transaction(PATIENCE)), FENCED);
    assert_eq!(kind(first.begin_transaction()), FENCED);
    send_whole(&second, "out", "second");
    other.commit_transaction(PATIENCE).unwrap();
    // One that learns of it by a record.
    let third = writer(&node, "id", &[]);
    second.begin_transaction().unwrap();
    send(&second, "out", 0, "k", "fenced");
    assert_eq!(kind(second.commit_transaction(PATIENCE)), FENCED);
    send_whole(&third, "out", "third");
    assert_eq!(
        values(&node, "out", "read_committed"),
        ["first", "other", "second", "third"]
    );
    assert_eq!(
        values(&node, "out", "read_uncommitted"),
        ["first", "open", "other", "second", "third"]
    );
}

#[test]
fn a_transaction_is_aborted_when_its_time_is_over() {
    let mut settings = SMALL.to_vec();
    settings.push("transaction.abort.timed.out.transaction.cleanup.interval.ms=100");
    let mut node = Node::start(&settings);
    create(&node, "out", 1, &[]);
    // Long enough for a busy machine to look in between.
    let timed = [("transaction.timeout.ms", "6000")];
    let other = writer(&node, "other", &[]);
    for over_a_kill in [false, true] {
        let slow = writer(&node, "slow", &timed);
        send_open(&slow, "out", "slow");
        send_whole(&other, "out", "other");
        let n_seen = values(&node, "out", "read_committed").len();
        assert_eq!(n_seen, usize::from(over_a_kill), "held back");
        if over_a_kill {
            node.kill();
            node.restart();
        }
        node.wait_until("aborts it", || {
            values(&node, "out", "read_committed").len() == n_seen + 1
        });
        let (_, is_fatal) = kind(slow.commit_transaction(PATIENCE));
        assert!(is_fatal);
    }
    assert_eq!(
        values(&node, "out", "read_committed"),
        ["other", "other"],
        "nothing of the slow one"
    );
    let slow = writer(&node, "slow", &timed);
    send_whole(&slow, "out", "in time");
    assert_eq!(
        values(&node, "out", "read_committed"),
        ["other", "other", "in time"]
    );
}

/// The value of a metric without labels.
fn metric(node: &Node, name: &str) -> f64 {
    let page = node.http("/metrics").unwrap_or_default();
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or(f64::NAN)
}

#[test]
fn metrics_tell_what_becomes_of_transactions() {
    let mut settings = SMALL.to_vec();
    settings.push("transaction.abort.timed.out.transaction.cleanup.interval.ms=100");
    let node = Node::start(&settings);
    create(&node, "out", 1, &[]);
    let names = [
        "ottla_transactions_open",
        "ottla_transactions_committed_total",
        "ottla_transactions_aborted_total",
        "ottla_transactions_timed_out_total",
        "ottla_transaction_marker_duration_ms_count",
        "kafka_server_replicamanager_partitionswithlatetransactionscount",
    ];
    let wait_for = |what: &str, expected: [f64; 6]| {
        node.wait_until(what, || names.map(|name| metric(&node, name)) == expected);
    };
    let writer = writer(&node, "id", &[("transaction.timeout.ms", "60000")]);
    wait_for("begins with nothing", [0.0; 6]);
    writer.begin_transaction().unwrap();
    // As of its own clock it has been silent since 1970.
    let old = BaseRecord::<str, str>::to("out")
        .payload("old")
        .timestamp(1);
    writer.send(old).map_err(|(error, _)| error).unwrap();
    writer.flush(PATIENCE).unwrap();
    wait_for("has one that is late", [1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    send(&writer, "out", 0, "k", "new");
    writer.flush(PATIENCE).unwrap();
    wait_for("has one that is not", [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    writer.commit_transaction(PATIENCE).unwrap();
    wait_for("has committed it", [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    send_open(&writer, "out", "aborted");
    writer.abort_transaction(PATIENCE).unwrap();
    wait_for("has aborted one", [0.0, 1.0, 1.0, 0.0, 2.0, 0.0]);
    let slow = self::writer(&node, "slow", &[("transaction.timeout.ms", "1000")]);
    send_open(&slow, "out", "slow");
    wait_for("has timed one out", [0.0, 1.0, 2.0, 1.0, 3.0, 0.0]);
}

/// What a reader from the start ends up with, and how many records that took.
fn replay(node: &Node, topic: &str) -> (BTreeMap<String, String>, usize) {
    let reader = from_the_start(node, topic, 1, "read_committed");
    let (mut map, mut n) = (BTreeMap::new(), 0);
    while let Some((key, value)) = next(&reader) {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
        n += 1;
    }
    (map, n)
}

#[test]
fn compaction_keeps_the_committed_and_forgets_the_aborted() {
    let mut settings = SMALL.to_vec();
    settings.extend([
        "log.cleaner.backoff.ms=50",
        "log.cleaner.min.cleanable.ratio=0.01",
    ]);
    let mut node = Node::start(&settings);
    let compact = [
        ("cleanup.policy", "compact"),
        ("internal.segment.bytes", "10000"),
        ("delete.retention.ms", "1"),
        ("file.delete.delay.ms", "100"),
    ];
    create(&node, "t", 1, &compact);
    let n_rounds = |node: &Node| {
        let text = node.log_text();
        let lines = text.lines().filter(|line| line.contains("log compacted"));
        lines.filter(|line| line.contains("partition=t-0 ")).count()
    };
    let (mut newest, mut n_written) = (BTreeMap::new(), 0);
    for lap in 0..3 {
        let before = n_rounds(&node);
        let writer = writer(&node, "id", &[]);
        for n in 0..60 {
            writer.begin_transaction().unwrap();
            let is_kept = n % 2 == 0;
            for i in 0..20 {
                let key = format!("k{}", (n * 7 + i) % 37);
                let value = format!("{lap}-{n}-{i} {}", "x".repeat(40));
                send(&writer, "t", 0, &key, &value);
                if is_kept {
                    newest.insert(key, value);
                    n_written += 1;
                }
            }
            writer.flush(PATIENCE).unwrap();
            match is_kept {
                true => writer.commit_transaction(PATIENCE).unwrap(),
                false => writer.abort_transaction(PATIENCE).unwrap(),
            }
        }
        node.wait_until("compacted", || n_rounds(&node) > before);
        let (found, n) = replay(&node, "t");
        assert_eq!(found, newest, "lap {lap}");
        assert!(n < n_written / 2, "lap {lap}: {n} of {n_written}");
        // Open when the node dies, and aborted by the next producer.
        send_open(&writer, "t", "open");
        node.kill();
        node.restart();
        assert_eq!(replay(&node, "t").0, newest, "lap {lap}, after a kill");
    }
    assert!(!node.log_text().contains("ERROR"), "{}", node.log_text());
}

/// Requests of this name since the node was started.
fn n_requests(node: &Node, name: &str) -> f64 {
    let page = node.http("/metrics").unwrap_or_default();
    let counts = page.lines().filter_map(|line| {
        let rest = line.strip_prefix("kafka_network_requestmetrics_requests_total{")?;
        let (labels, count) = rest.rsplit_once(' ')?;
        let is_it = labels.contains(name);
        is_it.then(|| count.parse::<f64>().unwrap())
    });
    counts.sum()
}

/// In which version the last state of a transactional id is written.
fn last_state_version(node: &Node) -> i16 {
    let log = node.data().join("__transaction_state-0");
    let bytes = std::fs::read(log.join("00000000000000000000.log")).unwrap();
    // One may be half written.
    let last = batches(&bytes).map_while(Result::ok).last().unwrap();
    let payload = last.payload(OPENED_BYTES_MAX).unwrap();
    let record = payload.records().last().unwrap().unwrap();
    i16::from_be_bytes(*record.value.unwrap().first_chunk().unwrap())
}

#[test]
#[ignore = "needs KAFKA_HOME"]
fn javas_and_librdkafkas_transactions_go_on_at_each_level_of_the_protocol() {
    let node = Node::start(&[
        "transaction.state.log.num.partitions=1",
        "offsets.topic.num.partitions=1",
    ]);
    create(&node, "t", 1, &[]);
    // It stays open while a Java tool starts, which takes its time on a busy machine.
    let across = writer(&node, "across", &[("transaction.timeout.ms", "600000")]);
    let (mut level, mut n_committed) = (2, 0);
    for next in [2, 1, 0, 1, 2] {
        // One that is open while the level changes.
        send_open(&across, "t", "across");
        if next != level {
            let way = if next < level { "downgrade" } else { "upgrade" };
            let feature = format!("transaction.version={next}");
            let mut features = node.kafkas_script("kafka-features.sh");
            let (code, out, err) = run(features.args([way, "--feature", &feature]));
            assert_eq!(code, 0, "{out}{err}");
            level = next;
        }
        across.commit_transaction(PATIENCE).unwrap();

        let n_before = n_requests(&node, "AddPartitionsToTxn");
        let mut java = node.kafkas_script("kafka-producer-perf-test.sh");
        java.args(["--topic", "t", "--num-records", "30", "--record-size", "10"]);
        java.args(["--throughput", "300", "--transaction-duration-ms", "20"]);
        let (code, out, err) = run(java.args(["--transactional-id", "java"]));
        assert!(code == 0 && out.contains("30 records sent"), "{out}{err}");
        let has_added = n_requests(&node, "AddPartitionsToTxn") > n_before;
        assert_eq!(
            has_added,
            level < 2,
            "only the old protocol says what joins"
        );

        let native = writer(&node, "native", &[]);
        send_whole(&native, "t", "kept");
        send_open(&native, "t", "dropped");
        native.abort_transaction(PATIENCE).unwrap();
        n_committed += 32;
        node.wait_until("shows what is committed", || {
            values(&node, "t", "read_committed").len() == n_committed
        });
        assert_eq!(last_state_version(&node), level.min(1), "level {level}");
    }
    let found = values(&node, "t", "read_committed");
    assert!(!found.iter().any(|value| value == "dropped"));
    assert!(!node.log_text().contains("ERROR"), "{}", node.log_text());
}

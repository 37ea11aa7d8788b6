//! A node's life with a foreign client (librdkafka): records in and out, groups, stops and kills.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use harness::{Node, PATIENCE};
use ottla_protocol::Request;
use ottla_protocol::header::request_frame;
use ottla_protocol::messages::{
    AlterClientQuotasEntityData, AlterClientQuotasOpData, AlterClientQuotasRequest,
    AlterClientQuotasRequestEntryData, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource, IncrementalAlterableConfig,
};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

fn producer(node: &Node, settings: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", node.bootstrap())
        .set("message.timeout.ms", "20000");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

fn consumer(node: &Node, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", node.bootstrap())
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000")
        .create()
        .unwrap()
}

fn create(node: &Node, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", node.bootstrap())
        .create()
        .unwrap();
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let made = runtime
        .block_on(admin.create_topics([&new], &AdminOptions::new()))
        .unwrap();
    assert!(made[0].is_ok(), "{made:?}");
}

fn send(producer: &BaseProducer, topic: &str, ids: std::ops::Range<usize>) {
    for id in ids {
        let (key, value) = (format!("k{}", id % 10), id.to_string());
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "h",
                value: Some("a"),
            })
            .insert(Header {
                key: "h",
                value: None::<&str>,
            });
        let mut record = BaseRecord::to(topic)
            .key(&key)
            .payload(&value)
            .headers(headers);
        while let Err((error, back)) = producer.send(record) {
            assert_eq!(
                error.rdkafka_error_code(),
                Some(rdkafka::types::RDKafkaErrorCode::QueueFull)
            );
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer.flush(PATIENCE).unwrap();
}

/// Reads `n` records and gives the values of each partition in order.
fn read(consumer: &BaseConsumer, n: usize) -> BTreeMap<i32, Vec<usize>> {
    let mut values: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    let mut n_read = 0;
    while n_read < n {
        assert!(Instant::now() < deadline, "{n_read} of {n} records came");
        let Some(record) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let record = record.unwrap();
        let value = std::str::from_utf8(record.payload().unwrap())
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(record.headers().map(Headers::count), Some(2));
        values.entry(record.partition()).or_default().push(value);
        n_read += 1;
    }
    values
}

fn assert_all_once(values: &BTreeMap<i32, Vec<usize>>, n: usize) {
    let mut all: Vec<usize> = values.values().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..n).collect::<Vec<_>>());
    for values in values.values() {
        for key in 0..10 {
            let of_key: Vec<_> = values.iter().filter(|value| *value % 10 == key).collect();
            assert!(of_key.is_sorted(), "records of a key are in order");
        }
    }
}

#[test]
fn records_in_every_codec_come_back_once_and_in_order() {
    let node = Node::start(&[]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        create(&node, codec, 3, &[]);
        let producer = producer(
            &node,
            &[("compression.type", codec), ("enable.idempotence", "true")],
        );
        send(&producer, codec, 0..2000);
        let consumer = consumer(&node, &format!("group-{codec}"));
        consumer.subscribe(&[codec]).unwrap();
        assert_all_once(&read(&consumer, 2000), 2000);
    }
}

#[test]
fn everything_is_there_after_a_stop_and_after_a_kill() {
    let mut node = Node::start(&["log.segment.bytes=1048576"]);
    create(&node, "t", 2, &[]);
    let mut n = 0;
    for round in 0..4 {
        send(
            &producer(&node, &[("enable.idempotence", "true")]),
            "t",
            n..n + 500,
        );
        n += 500;
        let reader = consumer(&node, "g");
        let mut all = TopicPartitionList::new();
        all.add_partition_offset("t", 0, Offset::Beginning).unwrap();
        all.add_partition_offset("t", 1, Offset::Beginning).unwrap();
        reader.assign(&all).unwrap();
        assert_all_once(&read(&reader, n), n);
        drop(reader);
        if round % 2 == 0 {
            node.kill();
        } else {
            assert!(node.stop().success());
            assert!(node.data().join(".kafka_cleanshutdown").exists());
        }
        node.restart();
    }
}

#[test]
fn many_partitions_come_back_after_a_kill_and_after_a_stop() {
    let mut node = Node::start(&["log.flush.offset.checkpoint.interval.ms=500"]);
    create(&node, "many", 200, &[]);
    let producer = producer(&node, &[("enable.idempotence", "true")]);
    // Enough for recovery points inside the segments.
    let text = "x".repeat(20_000);
    for id in 0..2000 {
        let mut record = BaseRecord::<(), _>::to("many")
            .partition(id % 200)
            .payload(&text);
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer.flush(PATIENCE).unwrap();
    let points = || std::fs::read_to_string(node.data().join("recovery-point-offset-checkpoint"));
    node.wait_until("moves its recovery points", || {
        let points = points().unwrap_or_default();
        let n_moved = points.lines().filter(|line| {
            let mut words = line.split(' ');
            words.next() == Some("many") && words.nth(1) == Some("10")
        });
        n_moved.count() == 200
    });
    for n_before in [2000, 4000] {
        if n_before == 2000 {
            node.kill();
        } else {
            assert!(node.stop().success());
        }
        node.restart();
        let again = self::producer(&node, &[("enable.idempotence", "true")]);
        send(&again, "many", 0..2000);
        let mut n_records = 0;
        for partition in 0..200 {
            let (low, high) = again
                .client()
                .fetch_watermarks("many", partition, PATIENCE)
                .unwrap();
            assert_eq!(low, 0);
            n_records += high;
        }
        assert_eq!(n_records, n_before + 2000);
    }
    let page = node.http("/metrics").unwrap();
    assert!(page.contains("ottla_logs_opened 200"), "{page}");
}

#[test]
fn a_group_goes_on_where_it_committed_even_after_a_kill() {
    let mut node = Node::start(&[]);
    create(&node, "t", 4, &[]);
    send(&producer(&node, &[]), "t", 0..1000);
    let first = consumer(&node, "g");
    first.subscribe(&["t"]).unwrap();
    let seen = read(&first, 1000);
    first.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(first);
    node.kill();
    node.restart();
    send(&producer(&node, &[]), "t", 1000..1100);
    let second = consumer(&node, "g");
    second.subscribe(&["t"]).unwrap();
    let mut again: Vec<usize> = read(&second, 100).into_values().flatten().collect();
    again.sort_unstable();
    assert_eq!(again, (1000..1100).collect::<Vec<_>>());
    assert_eq!(seen.values().map(Vec::len).sum::<usize>(), 1000);
}

#[test]
fn two_members_share_a_topic_and_one_inherits_when_the_other_leaves() {
    let node = Node::start(&[]);
    create(&node, "t", 4, &[]);
    let (a, b) = (consumer(&node, "g"), consumer(&node, "g"));
    a.subscribe(&["t"]).unwrap();
    b.subscribe(&["t"]).unwrap();
    let owned = |consumer: &BaseConsumer| consumer.assignment().unwrap().count();
    node.wait_until("gives each member two partitions", || {
        a.poll(Duration::from_millis(50));
        b.poll(Duration::from_millis(50));
        owned(&a) == 2 && owned(&b) == 2
    });
    drop(b);
    node.wait_until("gives the rest to the one who stays", || {
        a.poll(Duration::from_millis(50));
        owned(&a) == 4
    });
}

#[test]
fn offsets_are_found_by_timestamp() {
    let node = Node::start(&[]);
    create(&node, "t", 1, &[]);
    let producer = producer(&node, &[]);
    for (timestamp, value) in [(1000, "0"), (2000, "1"), (3000, "2")] {
        producer
            .send(
                BaseRecord::to("t")
                    .key("k")
                    .payload(value)
                    .timestamp(timestamp),
            )
            .map_err(|(error, _)| error)
            .unwrap();
        producer.flush(PATIENCE).unwrap();
    }
    let consumer = consumer(&node, "g");
    let mut asked = TopicPartitionList::new();
    asked
        .add_partition_offset("t", 0, Offset::Offset(1500))
        .unwrap();
    let found = consumer.offsets_for_times(asked, PATIENCE).unwrap();
    assert_eq!(found.elements()[0].offset(), Offset::Offset(1));
    assert_eq!(consumer.fetch_watermarks("t", 0, PATIENCE).unwrap(), (0, 3));
}

#[test]
fn metrics_show_what_happened() {
    let node = Node::start(&[]);
    create(&node, "seen", 1, &[]);
    send(&producer(&node, &[]), "seen", 0..10);
    let page = node.http("/metrics").unwrap();
    for line in [
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"seen\"} 10",
        "kafka_log_log_logendoffset{topic=\"seen\",partition=\"0\"} 10",
        "kafka_controller_kafkacontroller_activecontrollercount 1",
        "kafka_server_replicamanager_underreplicatedpartitions 0",
        "kafka_server_kafkaserver_brokerstate 3",
    ] {
        assert!(page.contains(line), "{line} in\n{page}");
    }
    assert!(node.http("/health/live").unwrap().contains("200 OK"));
}

/// Clients are measured while anybody is limited.
fn limit_everybody(node: &Node) {
    let limit = |key: &'static str| AlterClientQuotasOpData {
        key: key.into(),
        value: 1e9,
        remove: false,
    };
    let keys = [
        "producer_byte_rate",
        "consumer_byte_rate",
        "request_percentage",
        "controller_mutation_rate",
    ];
    let request = AlterClientQuotasRequest {
        entries: vec![AlterClientQuotasRequestEntryData {
            entity: vec![AlterClientQuotasEntityData {
                entity_type: "user".into(),
                entity_name: None,
            }],
            ops: keys.into_iter().map(limit).collect(),
        }],
        validate_only: false,
    };
    send_raw(node, &request);
}

/// Clients push their metrics when they are asked for them.
fn ask_for_metrics(node: &Node) {
    let set = |(name, value): (&'static str, &'static str)| IncrementalAlterableConfig {
        name: name.into(),
        config_operation: 0,
        value: Some(value.into()),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![IncrementalAlterConfigsResource {
            resource_type: DescribeConfigsRequest::CLIENT_METRICS,
            resource_name: "all".into(),
            configs: [("metrics", "*"), ("interval.ms", "200")].map(set).into(),
        }],
        validate_only: false,
    };
    send_raw(node, &request);
}

fn send_raw<R: Request>(node: &Node, request: &R) {
    let mut stream = node.connect();
    let frame = request_frame(request, 1, 1, None).unwrap();
    stream.write_all(&frame).unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
}

/// docs/metrics.md names what a node shows, all of it and nothing else.
#[test]
fn every_documented_metric_is_shown() {
    let documented: BTreeSet<(String, String)> = include_str!("../../../docs/metrics.md")
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((name.to_owned(), cells.next()?.to_owned()))
        })
        .collect();
    assert!(documented.len() > 50, "{documented:?}");
    let node = Node::start(&["ottla.client.telemetry=true"]);
    limit_everybody(&node);
    ask_for_metrics(&node);
    create(&node, "shown", 1, &[]);
    send(&producer(&node, &[]), "shown", 0..10);
    // Joining begins with a refusal, MEMBER_ID_REQUIRED: an error to be counted.
    let reader = consumer(&node, "g");
    reader.subscribe(&["shown"]).unwrap();
    assert_all_once(&read(&reader, 10), 10);
    reader.commit_consumer_state(CommitMode::Sync).unwrap();
    // Transactional ids are counted now and then, when there is something to do.
    let transactional = producer(&node, &[("transactional.id", "shown")]);
    transactional.init_transactions(PATIENCE).unwrap();
    let mut page = String::new();
    node.wait_until("counted a transactional id", || {
        transactional.begin_transaction().unwrap();
        send(&transactional, "shown", 0..1);
        transactional.commit_transaction(PATIENCE).unwrap();
        page = node.http("/metrics").unwrap();
        let shown = ["ottla_transactional_ids", "ottla_client_metric"];
        let is_shown = |name: &&str| page.contains(&format!("# TYPE {name} "));
        shown.iter().all(is_shown)
    });
    let shown: BTreeSet<(String, String)> = page
        .lines()
        .filter_map(|line| {
            let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
            Some((name.to_owned(), kind.to_owned()))
        })
        .collect();
    assert_eq!(documented, shown);
    for (name, _) in &shown {
        let has_sample = page.lines().any(|line| {
            line.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        assert!(has_sample, "{name} has no sample in\n{page}");
    }
}

#[test]
fn several_directories_share_the_partitions_and_are_found_again() {
    let mut node = Node::prepared(&[]);
    let (one, other) = (
        node.directory.path().join("one"),
        node.directory.path().join("other"),
    );
    node.set(&format!("log.dirs={},{}", one.display(), other.display()));
    node.restart();
    create(&node, "t", 4, &[]);
    send(&producer(&node, &[]), "t", 0..100);
    let n_partitions = |directory: &std::path::Path| {
        let entries = std::fs::read_dir(directory).unwrap().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("t-"))
            .count()
    };
    assert_eq!((n_partitions(&one), n_partitions(&other)), (2, 2));
    assert!(node.stop().success());
    assert!(
        one.join(".kafka_cleanshutdown").exists() && other.join(".kafka_cleanshutdown").exists()
    );
    node.restart();
    let reader = consumer(&node, "g");
    reader.subscribe(&["t"]).unwrap();
    assert_all_once(&read(&reader, 100), 100);
}

#[test]
fn each_listener_answers_with_its_own_address() {
    let mut node = Node::prepared(&[]);
    let inside = harness::free_port();
    node.set(&format!(
        "listeners=PLAINTEXT://127.0.0.1:{},INSIDE://127.0.0.1:{inside},CONTROLLER://127.0.0.1:{}",
        node.port, node.controller_port
    ));
    node.set(
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
    );
    node.set(&format!(
        "advertised.listeners=PLAINTEXT://localhost:{},INSIDE://127.0.0.1:{inside}",
        node.port
    ));
    node.restart();
    for (port, host) in [(node.port, "localhost"), (inside, "127.0.0.1")] {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", format!("127.0.0.1:{port}"))
            .create()
            .unwrap();
        let metadata = client.fetch_metadata(None, PATIENCE).unwrap();
        let broker = &metadata.brokers()[0];
        assert_eq!((broker.host(), broker.port()), (host, i32::from(port)));
    }
}

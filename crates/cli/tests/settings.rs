//! Settings that are changed while a node runs, by foreign clients (librdkafka; Kafka's own tools where
//! `KAFKA_HOME` names them): each acts on the logs that are there, and holds after a restart.
#![allow(
    clippy::disallowed_methods,
    reason = "a test that sees whether nothing happens waits"
)]

mod harness;

use std::path::Path;
use std::time::Duration;

use harness::{Node, files_below, run};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{ClientConfig, Message, Offset, Timestamp, TopicPartitionList};

/// Retention and compaction look all the time.
const BUSY: [&str; 3] = [
    "log.initial.task.delay.ms=0",
    "log.retention.check.interval.ms=50",
    "log.cleaner.backoff.ms=50",
];
const NODE_ID: i32 = 1;
/// More than a small segment holds four of.
const VALUE: usize = 300_000;
/// 2100-01-01
const YEAR_2100: i64 = 4_102_444_800_000;

struct Cluster<'a> {
    node: &'a Node,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Cluster<'a> {
    fn new(node: &'a Node) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self { node, runtime }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.node.bootstrap());
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    fn create(&self, topic: &str, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let (admin, options) = (self.admin(), AdminOptions::new());
        let made = self.runtime.block_on(admin.create_topics([&new], &options));
        assert!(made.unwrap()[0].is_ok());
    }

    /// Sets these and nothing else.
    fn alter(&self, whose: ResourceSpecifier<'_>, settings: &[(&str, &str)]) {
        let mut wanted = AlterConfig::new(whose);
        for (name, value) in settings {
            wanted = wanted.set(name, value);
        }
        let (admin, options) = (self.admin(), AdminOptions::new());
        let altered = self
            .runtime
            .block_on(admin.alter_configs([&wanted], &options));
        assert!(altered.unwrap()[0].is_ok(), "{settings:?}");
    }

    fn alter_topic(&self, topic: &str, settings: &[(&str, &str)]) {
        self.alter(ResourceSpecifier::Topic(topic), settings);
    }

    /// Sends one record and says what became of it.
    fn send(&self, topic: &str, key: &str, size: usize, time: Option<i64>) -> Result<(), Code> {
        let producer: FutureProducer = self
            .client()
            .set("message.max.bytes", "10000000")
            .set("message.timeout.ms", "20000")
            .set("message.send.max.retries", "0")
            .create()
            .unwrap();
        let payload = vec![b'v'; size];
        let mut record = FutureRecord::to(topic).payload(&payload).key(key);
        record.timestamp = time;
        let sent = producer.send(record, Duration::from_secs(20));
        match self.runtime.block_on(sent) {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Unknown)),
        }
    }

    fn send_many(&self, topic: &str, n: usize) {
        for i in 0..n {
            assert_eq!(
                self.send(topic, &format!("k{}", i % 3), VALUE, None),
                Ok(())
            );
        }
    }

    fn newest_time(&self, topic: &str) -> Timestamp {
        let consumer: BaseConsumer = self.client().set("group.id", "g").create().unwrap();
        let mut from = TopicPartitionList::new();
        let last = Offset::Offset(self.watermarks(topic).1 - 1);
        from.add_partition_offset(topic, 0, last).unwrap();
        consumer.assign(&from).unwrap();
        let record = consumer.poll(Duration::from_secs(20)).unwrap().unwrap();
        record.timestamp()
    }

    fn watermarks(&self, topic: &str) -> (i64, i64) {
        let consumer: BaseConsumer = self.client().set("group.id", "w").create().unwrap();
        consumer
            .fetch_watermarks(topic, 0, Duration::from_secs(20))
            .unwrap()
    }
}

fn n_files(partition: &Path, ending: &str) -> usize {
    let files = files_below(partition);
    files
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .count()
}

#[test]
fn files_follow_what_a_topic_asks_for() {
    let node = Node::start(&BUSY);
    let cluster = Cluster::new(&node);
    let partition = node.data().join("t-0");
    cluster.create("t", &[]);
    cluster.send_many("t", 6);
    assert_eq!(n_files(&partition, ".log"), 1);
    let small = ("segment.bytes", "1048576");
    cluster.alter_topic("t", &[small]);
    cluster.send_many("t", 6);
    let n_segments = n_files(&partition, ".log");
    assert!(n_segments >= 3, "{n_segments}");

    cluster.alter_topic("t", &[small, ("retention.bytes", "700000")]);
    node.wait_until("deleted by size", || cluster.watermarks("t").0 > 0);
    let (start, end) = cluster.watermarks("t");
    assert!(start < end);
    let nothing = [small, ("retention.ms", "0"), ("file.delete.delay.ms", "0")];
    cluster.alter_topic("t", &nothing);
    node.wait_until("deleted by time", || cluster.watermarks("t").0 == end);

    // What had its old delay keeps it.
    assert!(n_files(&partition, ".deleted") > 0);
    cluster.alter_topic(
        "t",
        &[
            small,
            ("file.delete.delay.ms", "0"),
            ("preallocate", "true"),
        ],
    );
    cluster.send_many("t", 4);
    let lengths = files_below(&partition)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "log"))
        .map(|path| std::fs::metadata(path).unwrap().len());
    assert_eq!(
        lengths.max(),
        Some(1_048_576),
        "a new segment has its whole size"
    );
}

#[test]
fn the_next_batch_is_judged_by_what_holds_now() {
    let node = Node::start(&BUSY);
    let cluster = Cluster::new(&node);
    let now = None;
    // What is answered is committed; the partition may take it in a moment later, as in Kafka.
    let becomes = |size, time, expected: Result<(), Code>| {
        node.wait_until(&format!("said {expected:?}"), || {
            cluster.send("t", "k", size, time) == expected
        });
    };
    let judged = |settings: &[(&str, &str)], size, time, expected| {
        cluster.alter_topic("t", settings);
        becomes(size, time, expected);
    };
    cluster.create("t", &[]);
    becomes(5000, now, Ok(()));
    let smaller = [("max.message.bytes", "4000")];
    judged(&smaller, 5000, now, Err(Code::MessageSizeTooLarge));
    let long_ago = Some(1_000 * 3_600);
    let young = [("message.timestamp.before.max.ms", "1000")];
    judged(&young, 10, long_ago, Err(Code::InvalidTimestamp));
    judged(&[], 10, Some(YEAR_2100), Err(Code::InvalidTimestamp));
    let far = [("message.timestamp.after.max.ms", "9223372036854775807")];
    judged(&far, 10, Some(YEAR_2100), Ok(()));
    // A broker's own value for all topics that say nothing, and no longer.
    let broker = |settings: &[(&str, &str)]| {
        cluster.alter(ResourceSpecifier::Broker(NODE_ID), settings);
    };
    broker(&[("message.max.bytes", "3000")]);
    becomes(5000, now, Err(Code::MessageSizeTooLarge));
    judged(&[("max.message.bytes", "9000")], 5000, now, Ok(()));
    judged(&[], 5000, now, Err(Code::MessageSizeTooLarge));
    broker(&[]);
    becomes(5000, now, Ok(()));

    cluster.alter_topic("t", &[("message.timestamp.type", "LogAppendTime")]);
    node.wait_until("stamped", || {
        assert_eq!(cluster.send("t", "k", 10, long_ago), Ok(()));
        matches!(cluster.newest_time("t"), Timestamp::LogAppendTime(_))
    });
}

fn threads_of(node: &Node) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap();
    let names = tasks.flatten().map(|task| task.path().join("comm"));
    names
        .filter_map(|name| std::fs::read_to_string(name).ok())
        .collect()
}

fn n_cleaners(node: &Node) -> usize {
    threads_of(node)
        .iter()
        .filter(|name| name.starts_with("log-cleaner-"))
        .count()
}

#[test]
fn the_cleaner_follows_its_settings() {
    let mut node = Node::start(&BUSY);
    let cluster = Cluster::new(&node);
    let broker = |settings: &[(&str, &str)]| {
        cluster.alter(ResourceSpecifier::Broker(NODE_ID), settings);
    };
    node.wait_until("cleans", || n_cleaners(&node) == 1);
    broker(&[("log.cleaner.threads", "2")]);
    node.wait_until("cleans with two", || n_cleaners(&node) == 2);
    broker(&[("log.cleaner.threads", "1")]);
    node.wait_until("cleans with one", || n_cleaners(&node) == 1);

    // At a byte per second nothing comes to an end; without the limit it does, at once.
    let slow = ("log.cleaner.io.max.bytes.per.second", "1.0");
    broker(&[slow]);
    cluster.create(
        "t",
        &[("segment.bytes", "1048576"), ("cleanup.policy", "compact")],
    );
    cluster.send_many("t", 12);
    cluster.alter_topic(
        "t",
        &[
            ("segment.bytes", "1048576"),
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.01"),
        ],
    );
    std::thread::sleep(Duration::from_millis(500));
    assert!(!node.log_text().contains("log compacted"));
    broker(&[("num.io.threads", "9")]);
    node.wait_until("compacted", || node.log_text().contains("log compacted"));
    let told = "num.io.threads is known and not honoured yet (dynamic)";
    let n_told = |node: &Node| node.log_text().matches(told).count();
    node.wait_until("told", || n_told(&node) == 1);
    assert!(node.stop().success());
    node.restart();
    assert_eq!(n_told(&node), 2);
}

/// Kafka's own tool sees each value, and who wins.
#[test]
#[ignore = "needs KAFKA_HOME"]
fn kafkas_tool_sets_and_shows_them() {
    let node = Node::start(&BUSY);
    let cluster = Cluster::new(&node);
    cluster.create("t", &[]);
    let tool = |arguments: &[&str]| {
        let mut tool = node.kafkas_script("kafka-configs.sh");
        tool.args(arguments);
        tool
    };
    let alter = |whose: &[&str], change: &[&str]| {
        let (code, out, err) = run(tool(&["--alter"]).args(whose).args(change));
        format!("{code} {out}{err}")
    };
    let cluster_wide: &[&str] = &["--entity-type", "brokers", "--entity-default"];
    let own: &[&str] = &["--entity-type", "brokers", "--entity-name", "1"];
    let topic: &[&str] = &["--entity-type", "topics", "--entity-name", "t"];
    let sizes = [
        (cluster_wide, "message.max.bytes=3000"),
        (own, "message.max.bytes=4000"),
        (topic, "max.message.bytes=5000"),
    ];
    for (at, (whose, change)) in sizes.into_iter().enumerate() {
        let said = alter(whose, &["--add-config", change]);
        assert!(said.starts_with("0 Completed updating"), "{said}");
        let size = 2500 + 1000 * at;
        assert_eq!(cluster.send("t", "k", size, None), Ok(()), "{change}");
        assert!(
            cluster.send("t", "k", size + 1000, None).is_err(),
            "{change}"
        );
    }
    let (_, shown, _) = run(&mut tool(&[
        "--describe",
        "--all",
        "--entity-type",
        "topics",
        "--entity-name",
        "t",
    ]));
    let line = "max.message.bytes=5000 sensitive=false synonyms={\
                DYNAMIC_TOPIC_CONFIG:max.message.bytes=5000, \
                DYNAMIC_BROKER_CONFIG:message.max.bytes=4000, \
                DYNAMIC_DEFAULT_BROKER_CONFIG:message.max.bytes=3000, \
                DEFAULT_CONFIG:message.max.bytes=1048588}";
    assert!(shown.contains(line), "{shown}");
    for (whose, change, words) in [
        (topic, "retention.ms=-5", "Value must be at least -1"),
        (topic, "no.such=1", "Unknown topic config name: no.such"),
        (
            own,
            "log.dirs=/x",
            "Cannot update these configs dynamically: [log.dirs]",
        ),
        (
            cluster_wide,
            "log.cleaner.threads=9",
            "Log cleaner threads cannot be increased",
        ),
    ] {
        let said = alter(whose, &["--add-config", change]);
        assert!(!said.starts_with('0') && said.contains(words), "{said}");
    }
    for (whose, name) in [
        (topic, "max.message.bytes"),
        (own, "message.max.bytes"),
        (cluster_wide, "message.max.bytes"),
    ] {
        let said = alter(whose, &["--delete-config", name]);
        assert!(said.starts_with("0 Completed updating"), "{said}");
    }
    assert_eq!(cluster.send("t", "k", 100_000, None), Ok(()));
}

//! Compaction under a foreign client (librdkafka): what a reader ends up with is what was written
//! last, while it goes on, after a stop and after kills; and groups remember through it.

mod harness;

use std::collections::BTreeMap;
use std::time::Duration;

use harness::{Node, files_below};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

/// The cleaner looks for work all the time.
const BUSY: [&str; 2] = [
    "log.cleaner.backoff.ms=50",
    "log.cleaner.min.cleanable.ratio=0.01",
];

fn client(node: &Node, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", node.bootstrap());
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

fn create(node: &Node, topic: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client(node, &[]).create().unwrap();
    let mut new = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
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

/// Writes values and tombstones over few keys, from number `first` on; returns what is newest.
fn write(node: &Node, topic: &str, first: usize, newest: &mut BTreeMap<String, String>) {
    let producer: BaseProducer = client(
        node,
        &[
            ("enable.idempotence", "true"),
            ("compression.codec", "lz4"),
            ("batch.num.messages", "50"),
        ],
    )
    .create()
    .unwrap();
    for i in first..first + 4000 {
        let key = format!("k{}", i * 7919 % 301);
        let value = format!("{i} {}", "x".repeat(i % 97));
        let record = BaseRecord::<str, str>::to(topic).key(&key);
        if i % 9 == 0 {
            newest.remove(&key);
            producer.send(record).unwrap();
        } else {
            producer.send(record.payload(&value)).unwrap();
            newest.insert(key, value);
        }
        if i % 500 == 0 {
            producer.flush(Duration::from_secs(20)).unwrap();
        }
    }
    producer.flush(Duration::from_secs(20)).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
}

/// What a reader from the start ends up with, and how many records that took.
fn replay(node: &Node, topic: &str) -> (BTreeMap<String, String>, usize) {
    let consumer: BaseConsumer = client(
        node,
        &[("group.id", "replay"), ("enable.partition.eof", "true")],
    )
    .create()
    .unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)
        .unwrap();
    consumer.assign(&from).unwrap();
    let (mut map, mut n) = (BTreeMap::new(), 0);
    loop {
        match consumer.poll(Duration::from_secs(20)).unwrap() {
            Ok(record) => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let key = text(record.key().unwrap());
                match record.payload() {
                    Some(value) => map.insert(key, text(value)),
                    None => map.remove(&key),
                };
                n += 1;
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(0)) => return (map, n),
            Err(why) => panic!("{why}"),
        }
    }
}

fn n_rounds(node: &Node, partition: &str) -> usize {
    let text = node.log_text();
    let of_it = format!("partition={partition} ");
    let lines = text.lines().filter(|line| line.contains("log compacted"));
    lines.filter(|line| line.contains(&of_it)).count()
}

#[test]
fn a_reader_ends_up_with_what_was_written_last() {
    let mut node = Node::start(&BUSY);
    let settings = [
        ("cleanup.policy", "compact"),
        ("internal.segment.bytes", "20000"),
        ("delete.retention.ms", "1"),
        ("file.delete.delay.ms", "100"),
    ];
    create(&node, "t", &settings);
    let (mut newest, mut n_written) = (BTreeMap::new(), 0);
    for lap in 0..4 {
        let before = n_rounds(&node, "t-0");
        write(&node, "t", n_written, &mut newest);
        n_written += 4000;
        node.wait_until("compacted", || n_rounds(&node, "t-0") > before);
        let (found, n) = replay(&node, "t");
        assert_eq!(found, newest, "lap {lap}");
        assert!(n < n_written / 2, "lap {lap}: {n} of {n_written}");
        match lap {
            0 => assert!(node.stop().success()),
            _ => node.kill(),
        }
        node.restart();
        assert_eq!(replay(&node, "t").0, newest, "lap {lap}, after a restart");
    }
    let checkpoint = node.data().join("cleaner-offset-checkpoint");
    let checkpoint = std::fs::read_to_string(checkpoint).unwrap();
    assert!(
        checkpoint.lines().any(|line| line.starts_with("t 0 ")),
        "{checkpoint}"
    );
    assert!(!node.log_text().contains("ERROR"), "{}", node.log_text());
    node.wait_until("unlinked", || {
        let files = files_below(&node.data().join("t-0"));
        !files
            .iter()
            .any(|file| file.to_string_lossy().ends_with(".deleted"))
    });
    let metrics = node.http("/metrics").unwrap();
    assert!(
        metrics.contains("kafka_log_logcleaner_deadthreadcount 0"),
        "{metrics}"
    );
}

#[test]
fn groups_remember_through_compaction() {
    let mut settings = BUSY.to_vec();
    settings.extend([
        "offsets.topic.num.partitions=1",
        "offsets.topic.segment.bytes=1048576",
    ]);
    let mut node = Node::start(&settings);
    create(&node, "t", &[]);
    let consumer = |node: &Node, group: &str| -> BaseConsumer {
        client(
            node,
            &[("group.id", group), ("enable.auto.commit", "false")],
        )
        .create()
        .unwrap()
    };
    let at = |offset| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("t", 0, Offset::Offset(offset))
            .unwrap();
        // Long ones fill a segment soon.
        list.find_partition("t", 0)
            .unwrap()
            .set_metadata("m".repeat(4000));
        list
    };
    // The client says at once that it does not know the coordinator yet, or any more.
    let commit = |node: &Node, consumer: &BaseConsumer, offset| {
        let list = at(offset);
        node.wait_until("took a commit", || {
            consumer.commit(&list, CommitMode::Sync).is_ok()
        });
    };
    let once = consumer(&node, "once");
    commit(&node, &once, 17);
    let often = consumer(&node, "often");
    for lap in 1..=2 {
        let before = n_rounds(&node, "__consumer_offsets-0");
        for i in 0..300 {
            commit(&node, &often, lap * 1000 + i);
        }
        node.wait_until("compacted", || {
            n_rounds(&node, "__consumer_offsets-0") > before
        });
        node.kill();
        node.restart();
        for (group, expected) in [("once", 17), ("often", lap * 1000 + 299)] {
            let mut list = TopicPartitionList::new();
            list.add_partition("t", 0);
            let asked = consumer(&node, group);
            let found = asked
                .committed_offsets(list, Duration::from_secs(20))
                .unwrap();
            let offset = found.elements()[0].offset();
            assert_eq!(offset, Offset::Offset(expected), "{group}, lap {lap}");
        }
    }
    assert!(!node.log_text().contains("ERROR"), "{}", node.log_text());
}

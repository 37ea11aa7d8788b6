//! Client quotas: set, kept and put in force; each client above its limit is answered at once, told
//! for how long to wait, and not heard for as long.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Node, run};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Refusal, Request, Text};

/// One second over two samples: what is allowed at once is one second's worth.
const QUICK: [&str; 2] = ["quota.window.num=2", "controller.quota.window.num=1"];

struct Client {
    stream: TcpStream,
    id: &'static str,
}

impl Client {
    fn new(node: &Node, id: &'static str) -> Self {
        let stream = node.connect();
        Self { stream, id }
    }

    fn send<R: Request>(&mut self, request: &R, version: i16) {
        let id = Some(Text::from_static(self.id));
        let frame = request_frame(request, version, 1, id).unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    fn answer<R: Request>(&mut self, version: i16) -> R::Response {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; i32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).unwrap();
        let answer = decode_response::<R::Response>(Bytes::from(answer), version);
        answer.unwrap().1
    }

    fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        self.answer::<R>(version)
    }

    /// How long an answer takes that is ready at once.
    fn wait(&mut self) -> Duration {
        let begun = Instant::now();
        self.call(&ApiVersionsRequest::default(), 0);
        begun.elapsed()
    }

    fn produce(&mut self, n_bytes: usize) -> ProduceResponse {
        let mut builder = BatchBuilder::data(Codec::None);
        builder.push(0, None, Some(&vec![b'x'; n_bytes]));
        let records = builder.finish();
        let request = ProduceRequest {
            acks: 1,
            timeout_ms: 10_000,
            topic_data: vec![TopicProduceData {
                name: "t".into(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(records),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        self.call(&request, 9)
    }

    fn fetch(&mut self) -> FetchResponse {
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: i32::MAX,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: "t".into(),
                partitions: vec![FetchPartition {
                    partition: 0,
                    fetch_offset: 0,
                    partition_max_bytes: i32::MAX,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        self.call(&request, 11)
    }

    fn create(&mut self, topic: String, num_partitions: i32, version: i16) -> CreateTopicsResponse {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.into(),
                num_partitions,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 20_000,
            ..Default::default()
        };
        self.call(&request, version)
    }

    fn limit(
        &mut self,
        entity: &[(&'static str, Option<&'static str>)],
        key: &'static str,
        value: Option<f64>,
    ) {
        let part =
            |(kind, name): &(&'static str, Option<&'static str>)| AlterClientQuotasEntityData {
                entity_type: (*kind).into(),
                entity_name: name.map(Into::into),
            };
        let request = AlterClientQuotasRequest {
            entries: vec![AlterClientQuotasRequestEntryData {
                entity: entity.iter().map(part).collect(),
                ops: vec![AlterClientQuotasOpData {
                    key: key.into(),
                    value: value.unwrap_or_default(),
                    remove: value.is_none(),
                }],
            }],
            validate_only: false,
        };
        let answer = self.call(&request, 1);
        assert_eq!(answer.entries[0].error_code, NONE, "{answer:?}");
    }
}

/// Whoever waits as long as it was told, or longer, has waited.
fn assert_waits(client: &mut Client, told_ms: i32) {
    assert!(told_ms > 0);
    let waited = client.wait();
    // The answer took a moment to get here.
    let least = Duration::from_millis(told_ms.unsigned_abs().saturating_sub(100).into());
    assert!(waited >= least, "told {told_ms} ms, waited {waited:?}");
}

#[test]
fn producers_and_consumers_keep_their_rates() {
    let node = Node::start(&QUICK);
    let mut admin = Client::new(&node, "admin");
    assert_eq!(
        admin.create("t".to_owned(), 1, 5).topics[0].error_code,
        NONE
    );
    admin.limit(
        &[("client-id", Some("slow"))],
        "producer_byte_rate",
        Some(50_000.0),
    );
    let mut slow = Client::new(&node, "slow");
    assert_eq!(slow.produce(20_000).throttle_time_ms, 0);
    let told = slow.produce(60_000);
    assert_eq!(told.responses[0].partition_responses[0].error_code, NONE);
    assert_waits(&mut slow, told.throttle_time_ms);
    assert_eq!(
        Client::new(&node, "quick")
            .produce(500_000)
            .throttle_time_ms,
        0
    );

    // A consumer gets no more at once than a window lets through, and nothing while it must pause.
    admin.limit(&[("user", None)], "consumer_byte_rate", Some(100_000.0));
    let mut consumer = Client::new(&node, "c");
    // What surrounds the records counts, too: the first answer may have to wait a millisecond.
    let mut answers = (0..20).map(|_| consumer.fetch());
    let first = answers.find(|answer| !answer.responses.is_empty());
    let first = first.expect("records");
    let records = first.responses[0].partitions[0].records.as_ref();
    let n_bytes = records.map_or(0, Bytes::len);
    assert!((20_000..=100_000).contains(&n_bytes), "{n_bytes}");
    let mut paused = None;
    for _ in 0..10 {
        let answer = consumer.fetch();
        if answer.throttle_time_ms > 0 {
            paused = Some(answer);
            break;
        }
    }
    let paused = paused.expect("a pause");
    assert!(paused.responses.is_empty());
    assert_waits(&mut consumer, paused.throttle_time_ms);
    let page = node.http("/metrics").unwrap();
    for metric in [
        "kafka_server_produce_byte_rate{user=\"\",client_id=\"slow\"}",
        "kafka_server_produce_throttle_time{user=\"\",client_id=\"slow\"}",
        "kafka_server_fetch_throttle_time{user=\"ANONYMOUS\",client_id=\"\"}",
        "kafka_server_fetch_queue_size 0",
    ] {
        assert!(page.contains(metric), "{metric}\n{page}");
    }
    admin.limit(&[("client-id", Some("slow"))], "producer_byte_rate", None);
    assert_eq!(slow.produce(500_000).throttle_time_ms, 0);
}

#[test]
fn the_time_of_requests_and_changes_of_partitions_are_limited() {
    let mut node = Node::start(&QUICK);
    let mut admin = Client::new(&node, "admin");
    admin.limit(
        &[("client-id", Some("busy"))],
        "request_percentage",
        Some(0.000_001),
    );
    let mut busy = Client::new(&node, "busy");
    let answer = busy.call(&MetadataRequest::default(), 9);
    assert!(
        (1..=1000).contains(&answer.throttle_time_ms),
        "{}",
        answer.throttle_time_ms
    );
    assert_waits(&mut busy, answer.throttle_time_ms);

    admin.limit(
        &[("user", Some("ANONYMOUS"))],
        "controller_mutation_rate",
        Some(1.0),
    );
    let mut maker = Client::new(&node, "maker");
    assert_eq!(
        maker.create("many".to_owned(), 4, 7).topics[0].error_code,
        NONE
    );
    let refused = maker.create("more".to_owned(), 1, 7);
    let code = Refusal::ThrottlingQuotaExceeded.code();
    assert_eq!(refused.topics[0].error_code, code);
    assert!(
        (1000..=3000).contains(&refused.throttle_time_ms),
        "{}",
        refused.throttle_time_ms
    );
    // Older clients know no such error: theirs is done, and they pause.
    let mut older = Client::new(&node, "older");
    let done = older.create("older".to_owned(), 1, 5);
    assert_eq!(done.topics[0].error_code, NONE);
    assert!(done.throttle_time_ms > 0);

    // What is set is there after a restart, and in force.
    node.kill();
    node.restart();
    let mut maker = Client::new(&node, "maker");
    assert_eq!(
        maker.create("again".to_owned(), 4, 7).topics[0].error_code,
        NONE
    );
    assert_eq!(
        maker.create("another".to_owned(), 1, 7).topics[0].error_code,
        code
    );
    let asked = DescribeClientQuotasRequest {
        components: Vec::new(),
        strict: false,
    };
    let set = Client::new(&node, "admin").call(&asked, 1).entries.unwrap();
    assert_eq!(set.len(), 2, "{set:?}");
}

#[test]
fn topics_made_on_demand_count_for_who_asks() {
    let settings = ["auto.create.topics.enable=true", "num.partitions=4"];
    let node = Node::start(&[&QUICK[..], &settings[..]].concat());
    let mut admin = Client::new(&node, "admin");
    admin.limit(
        &[("client-id", Some("asker"))],
        "controller_mutation_rate",
        Some(1.0),
    );
    let is_there = |client: &mut Client, topic: &'static str| {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(topic.into()),
                ..Default::default()
            }]),
            allow_auto_topic_creation: client.id != "admin",
            ..Default::default()
        };
        client.call(&request, 9).topics[0].error_code == NONE
    };
    let mut asker = Client::new(&node, "asker");
    let begun = Instant::now();
    assert!(!is_there(&mut asker, "first"), "it is only on its way");
    node.wait_until("made it", || is_there(&mut admin, "first"));

    // Four partitions at one a second: for three seconds there is no other.
    is_there(&mut asker, "second");
    let mut other = Client::new(&node, "other");
    is_there(&mut other, "third");
    node.wait_until("made it", || is_there(&mut admin, "third"));
    if begun.elapsed() < Duration::from_secs(2) {
        assert!(!is_there(&mut admin, "second"));
    }
    node.wait_until("made it", || is_there(&mut asker, "second"));
}

#[test]
fn an_address_opens_connections_at_its_rate() {
    let node = Node::start(&["quota.window.num=2"]);
    let mut admin = Client::new(&node, "admin");
    admin.limit(
        &[("ip", Some("127.0.0.1"))],
        "connection_creation_rate",
        Some(2.0),
    );
    // Above the rate a connection is kept a while and closed; nobody is served on it.
    let is_served = |mut stream: TcpStream| {
        let frame = request_frame(&ApiVersionsRequest::default(), 0, 1, None).unwrap();
        stream.write_all(&frame).is_ok() && stream.read(&mut [0; 4]).is_ok_and(|n| n > 0)
    };
    let served = (0..6).filter(|_| is_served(node.connect())).count();
    assert!((2..6).contains(&served), "{served} of 6 were served");
    let page = node.http("/metrics").unwrap();
    assert!(
        !page.contains("ottla_connections_refused_by_rate_total 0\n"),
        "{page}"
    );
    admin.limit(
        &[("ip", Some("127.0.0.1"))],
        "connection_creation_rate",
        None,
    );
    assert!((0..6).all(|_| is_served(node.connect())));
}

/// Apache's own tool sets, shows and takes away what it shows of its own broker.
#[test]
#[ignore = "needs KAFKA_HOME"]
fn kafkas_tool_sets_and_shows_them() {
    let node = Node::start(&[]);
    let tool = |arguments: &[&str]| {
        let (code, out, err) = run(node.kafkas_script("kafka-configs.sh").args(arguments));
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    };
    let entities: [(&[&str], &str, &str); 4] = [
        (
            &["--entity-type", "clients", "--entity-name", "c"],
            "producer_byte_rate=1024",
            "Quota configs for client-id 'c' are producer_byte_rate=1024.0",
        ),
        (
            &["--entity-type", "users", "--entity-default"],
            "request_percentage=50.5",
            "Quota configs for the default user-principal are request_percentage=50.5",
        ),
        (
            &[
                "--entity-type",
                "users",
                "--entity-name",
                "u",
                "--entity-type",
                "clients",
                "--entity-name",
                "c",
            ],
            "consumer_byte_rate=7,controller_mutation_rate=3",
            "Quota configs for user-principal 'u', client-id 'c' are ",
        ),
        (
            &["--entity-type", "ips", "--entity-name", "127.0.0.1"],
            "connection_creation_rate=1000",
            "Quota configs for ip '127.0.0.1' are connection_creation_rate=1000.0",
        ),
    ];
    for (entity, quota, shown) in entities {
        tool(&[&["--alter", "--add-config", quota], entity].concat());
        let out = tool(&[&["--describe"], entity].concat());
        assert!(out.contains(shown), "{out}");
        let names: Vec<&str> = quota
            .split(',')
            .filter_map(|one| one.split('=').next())
            .collect();
        tool(&[&["--alter", "--delete-config", &names.join(",")], entity].concat());
        assert!(!tool(&[&["--describe"], entity].concat()).contains("Quota configs"));
    }
}

//! Strangers on the line: each gets Kafka's answer, and nobody else notices.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::Node;
use ottla_protocol::Refusal;
use ottla_protocol::header::decode_response;
use ottla_protocol::messages::MetadataResponse;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// Key, version, correlation id and client id, before a body.
fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7i32.to_be_bytes());
    frame.extend(4i16.to_be_bytes());
    frame.extend(b"test");
    frame.extend(body);
    let mut framed = i32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    framed.extend(frame);
    framed
}

/// The next answer, or nothing if the node closed the connection.
fn answer(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).ok()?];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

fn sent(node: &Node, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = node.connect();
    stream.write_all(bytes).unwrap();
    answer(&mut stream)
}

/// Another client is served as if nothing had happened.
fn assert_unharmed(node: &Node) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", node.bootstrap())
        .set("message.timeout.ms", "20000")
        .create()
        .unwrap();
    producer
        .send(BaseRecord::to("unharmed").key("k").payload("v"))
        .map_err(|(error, _)| error)
        .unwrap();
    producer.flush(Duration::from_secs(20)).unwrap();
}

#[test]
fn frames_that_cannot_be_read_end_their_connection_only() {
    let mut node = Node::start(&[]);
    assert_eq!(
        sent(&node, &(-1i32).to_be_bytes()),
        None,
        "a negative length"
    );
    assert_eq!(
        sent(&node, &i32::MAX.to_be_bytes()),
        None,
        "a length above socket.request.max.bytes"
    );
    assert_eq!(
        sent(&node, &[0, 0, 0, 2, 0, 3]),
        None,
        "a frame without a header"
    );
    assert_eq!(
        sent(&node, b"GET / HTTP/1.1\r\nhost: kafka\r\n\r\n"),
        None,
        "another protocol"
    );
    assert_eq!(
        sent(&node, &request(3, 0, &i32::MAX.to_be_bytes())),
        None,
        "an array longer than the frame"
    );
    assert_eq!(
        sent(
            &node,
            &request(3, 12, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0])
        ),
        None,
        "a compact array of 2^32"
    );
    assert_eq!(sent(&node, &request(999, 0, &[])), None, "an unknown key");
    assert_eq!(
        sent(&node, &request(3, 99, &[])),
        None,
        "an unknown version"
    );
    assert_eq!(
        sent(&node, &request(4, 0, &[])),
        None,
        "a key that Kafka 4 has retired"
    );
    assert_eq!(
        sent(&node, &request(0, 2, &[])),
        None,
        "a Produce version that is only advertised"
    );
    assert_unharmed(&node);
    assert!(node.is_running());
    assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
}

#[test]
fn an_api_versions_request_of_the_future_is_answered_in_version_0() {
    let node = Node::start(&[]);
    let answer = sent(&node, &request(18, 99, &[])).expect("an answer");
    assert_eq!(&answer[..4], 7i32.to_be_bytes(), "the correlation id");
    assert_eq!(&answer[4..6], 35i16.to_be_bytes(), "UNSUPPORTED_VERSION");
    let n_apis = i32::from_be_bytes(answer[6..10].try_into().unwrap());
    assert!(n_apis >= 1, "the range of ApiVersions itself is named");
    assert!(
        answer[10..].chunks(6).any(|row| row == [0, 18, 0, 0, 0, 4]),
        "ApiVersions 0 to 4"
    );
}

#[test]
fn requests_sent_together_are_answered_one_after_the_other() {
    let node = Node::start(&[]);
    let mut stream = node.connect();
    let mut together = request(18, 0, &[]);
    // All topics, then ApiVersions again: no answer may overtake another.
    together.extend(request(3, 1, &(-1i32).to_be_bytes()));
    together.extend(request(18, 0, &[]));
    stream.write_all(&together).unwrap();
    let answers: Vec<_> = (0..3)
        .map(|_| answer(&mut stream).expect("an answer").len())
        .collect();
    assert_eq!(answers[0], answers[2]);
    assert_ne!(answers[0], answers[1]);
}

#[test]
fn what_follows_a_request_in_its_frame_is_passed_over() {
    let node = Node::start(&[]);
    // All topics as librdkafka asks for them: null, two flags, no tags, and three idle bytes.
    let body = [0, 0, 1, 0, 0, 0, 0, 0];
    assert!(sent(&node, &request(3, 12, &body)).is_some());
}

#[test]
fn a_topic_that_is_asked_for_is_there_when_asked_again() {
    let node = Node::start(&[]);
    let ask = || {
        let body = b"\0\0\0\x01\0\x03new\x01";
        let answer = sent(&node, &request(3, 4, body)).expect("an answer");
        let (_, response) = decode_response::<MetadataResponse>(answer.into(), 4).unwrap();
        Refusal::from_code(response.topics[0].error_code)
    };
    assert_eq!(ask(), Some(Refusal::UnknownTopicOrPartition));
    node.wait_until("has the topic", || ask().is_none());
}

#[test]
fn garbage_after_a_handshake_ends_the_connection() {
    let node = Node::start(&[]);
    let mut stream = node.connect();
    stream.write_all(&request(18, 0, &[])).unwrap();
    assert!(answer(&mut stream).is_some());
    stream.write_all(&[0xff; 64]).unwrap();
    assert_eq!(answer(&mut stream), None);
    assert_unharmed(&node);
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let mut text = i16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    text.extend(bytes);
    text
}

/// AlterClientQuotas, version 0, of one limit of one client id.
fn limit(client_id: &[u8], limit: &[u8]) -> Vec<u8> {
    let one = 1i32.to_be_bytes().to_vec();
    let entity = [one.clone(), text(b"client-id"), text(client_id)].concat();
    let value = 1f64.to_be_bytes().to_vec();
    let ops = [one.clone(), text(limit), value, vec![0]].concat();
    request(49, 0, &[one, entity, ops, vec![0]].concat())
}

/// JoinGroup, version 2, of one member that knows one protocol.
fn join(group: &[u8]) -> Vec<u8> {
    let times = [10_000i32.to_be_bytes(); 2].concat();
    let protocols = [vec![0, 0, 0, 1], text(b"range"), vec![0; 4]].concat();
    let member = [text(b""), text(b"consumer"), protocols].concat();
    request(11, 2, &[text(group), times, member].concat())
}

#[test]
fn names_that_are_too_long_for_a_record_are_kept_nowhere() {
    let node = Node::start(&[]);
    // Each byte that is not UTF-8 becomes three.
    let outgrows = [0xff; 10_923];
    let longest = [b'a'; i16::MAX as usize];
    for (refused, taken) in [
        (
            limit(&outgrows, b"producer_byte_rate"),
            limit(b"x", &longest),
        ),
        (join(&outgrows), join(&longest)),
    ] {
        assert_eq!(sent(&node, &refused), None);
        // With its words, where there are any, the name is longer than an answer may say.
        let _ = sent(&node, &taken);
        assert_unharmed(&node);
    }
    let fits = limit(&outgrows[1..], b"producer_byte_rate");
    assert!(sent(&node, &fits).is_some());
    assert_unharmed(&node);
}

#[test]
fn a_client_that_never_reads_and_thousands_that_never_speak_cost_little() {
    let node = Node::start(&["max.connections=20000"]);
    let before = memory_kib(&node);
    let idle: Vec<TcpStream> = (0..2000).map(|_| node.connect()).collect();
    let mut deaf = node.connect();
    deaf.set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let versions = request(18, 0, &[]);
    for _ in 0..100_000 {
        if deaf.write_all(&versions).is_err() {
            break;
        }
    }
    assert_unharmed(&node);
    let grown = memory_kib(&node).saturating_sub(before);
    assert!(
        grown < 64 * 1024,
        "{grown} KiB for {} idle connections and a deaf one",
        idle.len()
    );
}

/// IncrementalAlterConfigs, version 0, of one client metrics subscription: which clients it is about.
fn subscription(patterns: &[u8]) -> Vec<u8> {
    const CLIENT_METRICS: u8 = 16;
    const SET: u8 = 0;
    let one = 1i32.to_be_bytes().to_vec();
    let config = [one.clone(), text(b"match"), vec![SET], text(patterns)].concat();
    let resource = [one, vec![CLIENT_METRICS], text(b"s"), config, vec![0]].concat();
    request(44, 0, &resource)
}

#[test]
fn a_subscription_of_very_many_patterns_costs_little_at_any_start() {
    let mut node = Node::start(&[]);
    let before = peak_kib(&node);
    let patterns = vec!["client_id=a{20000}"; 1_700].join(",");
    let answer = sent(&node, &subscription(patterns.as_bytes())).expect("an answer");
    // Behind the correlation id, the throttle time and the number of resources.
    assert_eq!(answer[12..14], [0, 0], "taken");
    assert_unharmed(&node);
    for setting in [
        "ottla.client.telemetry=false",
        "ottla.client.telemetry=true",
    ] {
        node.kill();
        node.set(setting);
        node.restart();
        assert_unharmed(&node);
        let grown = peak_kib(&node).saturating_sub(before);
        assert!(grown < 128 * 1024, "{grown} KiB with {setting}");
    }
}

#[test]
fn a_resource_that_is_named_very_often_is_described_within_bounds() {
    const BROKER: u8 = 4;
    const GROUP: u8 = 32;
    let node = Node::start(&[]);
    let before = peak_kib(&node);
    let n_resources = 20_000;
    for (kind, name) in [(BROKER, "1"), (GROUP, "g")] {
        let all_settings = (-1i32).to_be_bytes().to_vec();
        let one = [vec![kind], text(name.as_bytes()), all_settings].concat();
        let number = i32::to_be_bytes(n_resources as i32).to_vec();
        let with_synonyms = vec![1];
        let body = [number.clone(), one.repeat(n_resources), with_synonyms].concat();
        let answer = sent(&node, &request(32, 1, &body)).expect("an answer");
        assert_eq!(answer[8..12], number, "each is answered");
        assert_unharmed(&node);
        let grown = peak_kib(&node).saturating_sub(before);
        assert!(grown < 512 * 1024, "{grown} KiB after {name}");
    }
}

fn memory_kib(node: &Node) -> u64 {
    status_kib(node, "VmRSS:")
}

/// The most that it has taken since it started.
fn peak_kib(node: &Node) -> u64 {
    status_kib(node, "VmHWM:")
}

fn status_kib(node: &Node, entry: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(entry)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn connections_above_the_limits_are_refused_or_wait() {
    let node = Node::start(&["max.connections.per.ip=3"]);
    let mut held: Vec<TcpStream> = (0..3).map(|_| node.connect()).collect();
    for stream in &mut held {
        stream.write_all(&request(18, 0, &[])).unwrap();
        assert!(answer(stream).is_some());
    }
    assert_eq!(
        sent(&node, &request(18, 0, &[])),
        None,
        "the fourth is closed"
    );
    drop(held);
    node.wait_until("accepts again", || {
        sent(&node, &request(18, 0, &[])).is_some()
    });
}

#[test]
fn an_idle_connection_is_closed() {
    let node = Node::start(&["connections.max.idle.ms=300"]);
    let mut stream = node.connect();
    assert_eq!(answer(&mut stream), None, "closed by the node");
}

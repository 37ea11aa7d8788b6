//! Clients push their metrics (KIP-714): librdkafka does so by itself once it is asked for them, and
//! what it says of itself is on `/metrics`.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use harness::{Node, run};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Request, Uuid};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const ON: &str = "ottla.client.telemetry=true";

fn try_call<R: Request>(
    stream: &mut TcpStream,
    request: &R,
    version: i16,
) -> std::io::Result<R::Response> {
    let frame = request_frame(request, version, 1, Some("raw".into())).unwrap();
    stream.write_all(&frame)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    let answer = decode_response::<R::Response>(Bytes::from(answer), version);
    Ok(answer.unwrap().1)
}

fn subscribe(node: &Node, values: &[(&'static str, &'static str)]) -> i16 {
    const SET: i8 = 0;
    let set = |(name, value): &(&'static str, &'static str)| IncrementalAlterableConfig {
        name: (*name).into(),
        config_operation: SET,
        value: Some((*value).into()),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![IncrementalAlterConfigsResource {
            resource_type: DescribeConfigsRequest::CLIENT_METRICS,
            resource_name: "s".into(),
            configs: values.iter().map(set).collect(),
        }],
        validate_only: false,
    };
    let answer = try_call(&mut node.connect(), &request, 1).unwrap();
    answer.responses[0].error_code
}

fn advertised(node: &Node) -> bool {
    let answer = try_call(&mut node.connect(), &ApiVersionsRequest::default(), 0).unwrap();
    let keys = answer.api_keys.iter().map(|api| api.api_key);
    keys.filter(|key| *key == 71 || *key == 72).count() == 2
}

#[test]
fn what_librdkafka_pushes_is_shown() {
    let node = Node::start(&[ON]);
    assert!(advertised(&node));
    assert_eq!(
        subscribe(
            &node,
            &[
                ("metrics", "*"),
                ("interval.ms", "200"),
                ("match", "client_id=push.*")
            ]
        ),
        NONE
    );
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", node.bootstrap())
        .set("client.id", "pusher")
        .create()
        .unwrap();
    let mut page = String::new();
    node.wait_until("showed what the client pushed", || {
        let _ = producer.send(BaseRecord::to("t").key("k").payload("v"));
        let _ = producer.flush(std::time::Duration::from_secs(1));
        page = node.http("/metrics").unwrap_or_default();
        page.contains("ottla_client_metric{") && page.contains("client_id=\"pusher\"")
    });
    assert!(
        page.contains("metric=\"org.apache.kafka.producer."),
        "{page}"
    );
    drop(producer);
    node.wait_until("forgot the client that left", || {
        !node
            .http("/metrics")
            .unwrap_or_default()
            .contains("client_id=\"pusher\"")
    });
}

#[test]
fn nobody_is_told_unless_it_is_switched_on() {
    let node = Node::start(&[]);
    assert!(!advertised(&node));
    let request = GetTelemetrySubscriptionsRequest::default();
    let mut stream = node.connect();
    assert!(
        try_call(&mut stream, &request, 0).is_err(),
        "Kafka ends the connection"
    );
    assert!(
        !node
            .http("/metrics")
            .unwrap()
            .contains("client_metrics_instance_count")
    );
}

#[test]
fn strangers_get_kafkas_errors() {
    let node = Node::start(&[ON, "telemetry.max.bytes=100"]);
    assert_eq!(subscribe(&node, &[("interval.ms", "99")]), 42);
    assert_eq!(subscribe(&node, &[("match", "colour=red")]), 40);
    assert_eq!(subscribe(&node, &[("no.such", "1")]), 42);
    assert_eq!(
        subscribe(&node, &[("metrics", "*"), ("interval.ms", "3600000")]),
        NONE
    );
    let mut stream = node.connect();
    let ask = GetTelemetrySubscriptionsRequest::default();
    let told = try_call(&mut stream, &ask, 0).unwrap();
    assert_eq!(
        (
            told.error_code,
            told.push_interval_ms,
            told.telemetry_max_bytes
        ),
        (NONE, 300_000, 100)
    );
    assert_eq!(told.accepted_compression_types, [4, 3, 1, 2]);
    let again = GetTelemetrySubscriptionsRequest {
        client_instance_id: told.client_instance_id,
    };
    assert_eq!(try_call(&mut stream, &again, 0).unwrap().error_code, 89);
    let push = |spoil: &dyn Fn(&mut PushTelemetryRequest)| {
        // Each a client of its own: one that is refused must wait for its next turn.
        let mut stream = node.connect();
        let told = try_call(&mut stream, &ask, 0).unwrap();
        let mut request = PushTelemetryRequest {
            client_instance_id: told.client_instance_id,
            subscription_id: told.subscription_id,
            ..Default::default()
        };
        spoil(&mut request);
        try_call(&mut stream, &request, 0).unwrap().error_code
    };
    assert_eq!(push(&|_| {}), NONE);
    assert_eq!(push(&|it| it.subscription_id ^= 1), 117);
    assert_eq!(push(&|it| it.compression_type = 5), 76);
    assert_eq!(push(&|it| it.compression_type = -1), 76);
    assert_eq!(push(&|it| it.metrics = Bytes::from(vec![0; 101])), 118);
    assert_eq!(push(&|it| it.metrics = Bytes::from(vec![0xff; 50])), 87);
    assert_eq!(push(&|it| it.client_instance_id = Uuid::ZERO), 42);
}

#[test]
#[ignore = "needs KAFKA_HOME"]
fn kafkas_tool_keeps_subscriptions_and_a_java_client_pushes() {
    let node = Node::start(&[ON]);
    let tool = |name: &str, arguments: &[&str]| {
        let (code, out, err) = run(node.kafkas_script(name).args(arguments));
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    };
    let subscriptions = |arguments: &[&str]| tool("kafka-client-metrics.sh", arguments);
    subscriptions(&[
        "--alter",
        "--name",
        "java",
        "--metrics",
        "org.apache.kafka.producer.",
        "--interval",
        "500",
        "--match",
        "client_software_name=apache-kafka-java",
    ]);
    let out = subscriptions(&["--describe", "--name", "java"]);
    for line in [
        "interval.ms=500",
        "match=client_software_name=apache-kafka-java",
        "metrics=org.apache.kafka.producer.",
    ] {
        assert!(out.contains(line), "{out}");
    }
    assert!(subscriptions(&["--list"]).contains("java"));
    let mut shown = false;
    for _ in 0..5 {
        let bench = [
            "--topic",
            "t",
            "--num-records",
            "60",
            "--record-size",
            "10",
            "--throughput",
            "10",
            "--command-property",
            "client.id=java-producer",
        ];
        let mut java = node
            .kafkas_script("kafka-producer-perf-test.sh")
            .args(bench)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while java.try_wait().unwrap().is_none() {
            let page = node.http("/metrics").unwrap_or_default();
            shown |= page.contains("metric=\"org.apache.kafka.producer.")
                && page.contains("client_id=\"java-producer\"");
        }
        if shown {
            break;
        }
    }
    assert!(shown, "{}", node.log_text());
    subscriptions(&["--delete", "--name", "java"]);
    assert!(!subscriptions(&["--list"]).contains("java"));
}

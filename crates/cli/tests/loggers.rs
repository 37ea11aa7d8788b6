//! Loggers are settings of a running node: shown, changed for as long as the process lives, and
//! nothing is done that was only to be judged.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;

use harness::Node;
use ottla_protocol::Request;
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResource, IncrementalAlterableConfig,
};

const SET: i8 = 0;
const DELETE: i8 = 1;

fn ask<R: Request>(stream: &mut TcpStream, request: &R, version: i16) -> R::Response {
    let frame = request_frame(request, version, 1, None).unwrap();
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    decode_response(answer.into(), version).unwrap().1
}

fn level(stream: &mut TcpStream, logger: &str) -> String {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: DescribeConfigsRequest::BROKER_LOGGER,
            resource_name: "1".into(),
            configuration_keys: Some(vec![logger.into()]),
        }],
        ..DescribeConfigsRequest::default()
    };
    let answer = ask(stream, &request, 4);
    let value = answer.results[0].configs[0].value.as_deref();
    value.unwrap_or_default().to_owned()
}

/// The error code of one resource of one change.
fn alter(
    stream: &mut TcpStream,
    logger: &str,
    operation: i8,
    level: &str,
    validate_only: bool,
) -> i16 {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![IncrementalAlterConfigsResource {
            resource_type: DescribeConfigsRequest::BROKER_LOGGER,
            resource_name: "1".into(),
            configs: vec![IncrementalAlterableConfig {
                name: logger.into(),
                config_operation: operation,
                value: Some(level.into()),
            }],
        }],
        validate_only,
    };
    ask(stream, &request, 1).responses[0].error_code
}

#[test]
fn levels_change_while_the_node_runs() {
    let mut node = Node::start(&[]);
    let stream = &mut node.connect();
    assert_eq!(level(stream, "ottla_server"), "INFO");
    assert_eq!(alter(stream, "ottla_server", SET, "TRACE", true), 0);
    assert_eq!(level(stream, "ottla_server"), "INFO");

    assert_eq!(alter(stream, "ottla_server", SET, "DEBUG", false), 0);
    assert_eq!(level(stream, "ottla_server"), "DEBUG");
    assert_eq!(level(stream, "ottla_node"), "INFO");
    assert_eq!(alter(stream, "root", SET, "ERROR", false), 0);
    assert_eq!(level(stream, "root"), "ERROR");
    assert_eq!(level(stream, "ottla_server"), "DEBUG");
    assert_eq!(alter(stream, "ottla_server", DELETE, "", false), 0);
    assert_eq!(level(stream, "ottla_server"), "ERROR");

    // INVALID_CONFIG, INVALID_REQUEST
    assert_eq!(
        alter(stream, "kafka.server.KafkaApis", SET, "INFO", false),
        40
    );
    assert_eq!(alter(stream, "root", DELETE, "", false), 42);
    assert!(
        node.log_text()
            .contains("updated the log level of root to error")
    );

    // Nothing of it is kept.
    node.kill();
    node.restart();
    assert_eq!(level(&mut node.connect(), "root"), "INFO");
}

/// What is said of a connection that does not speak in frames shows which filter is in force.
#[test]
fn lines_come_and_go_with_their_level() {
    const SAID: &str = "connection closed: frame with negative length";
    let node = Node::start(&[]);
    let no_frame = || {
        let mut stream = node.connect();
        stream.write_all(&[0xff; 4]).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    };
    let stream = &mut node.connect();
    assert_eq!(alter(stream, "ottla_server", SET, "WARN", false), 0);
    no_frame();
    // A connection is counted until everything about its end has been said.
    let alone = "kafka_server_socket_server_metrics_connection_count 1\n";
    node.wait_until("was alone with us", || {
        node.http("/metrics")
            .is_some_and(|page| page.contains(alone))
    });
    assert_eq!(alter(stream, "ottla_server", DELETE, "", false), 0);
    assert!(!node.log_text().contains(SAID), "{}", node.log_text());
    node.wait_until("said that a connection was closed", || {
        no_frame();
        node.log_text().contains(SAID)
    });
}

//! SCRAM credentials of users: kept, shown and taken away, also by Apache's own tool; what is wrong is told by
//! Kafka's codes, and no request is too much for the node.

mod harness;

use std::io::{Read, Write};

use bytes::Bytes;
use harness::{Node, ottla, run};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::*;
use ottla_protocol::{Request, Text};

fn call<R: Request>(node: &Node, request: &R) -> R::Response {
    let mut stream = node.connect();
    let frame = request_frame(request, 0, 1, Some(Text::from_static("test"))).unwrap();
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    let answer = decode_response::<R::Response>(Bytes::from(answer), 0);
    answer.unwrap().1
}

fn new(user: &'static str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion {
        name: user.into(),
        mechanism,
        iterations,
        salt: Bytes::from_static(b"0123456789abcdef"),
        salted_password: Bytes::from_static(&[b'p'; 32]),
    }
}

fn gone(user: &'static str, mechanism: i8) -> ScramCredentialDeletion {
    let name = user.into();
    ScramCredentialDeletion { name, mechanism }
}

/// Users with the codes that they are told.
fn alter(
    node: &Node,
    deletions: Vec<ScramCredentialDeletion>,
    upsertions: Vec<ScramCredentialUpsertion>,
) -> Vec<(String, i16)> {
    let request = AlterUserScramCredentialsRequest {
        deletions,
        upsertions,
    };
    let results = call(node, &request).results.into_iter();
    results
        .map(|one| (one.user.to_string(), one.error_code))
        .collect()
}

/// `user: code mechanism=iterations …`, a line each.
fn described(node: &Node, users: Option<&[&'static str]>) -> Vec<String> {
    let users = users.map(|users| {
        let named = users
            .iter()
            .map(|name| DescribeUserScramCredentialsUserName {
                name: (*name).into(),
            });
        named.collect()
    });
    let answer = call(node, &DescribeUserScramCredentialsRequest { users });
    assert_eq!(answer.error_code, 0);
    let results = answer.results.iter();
    results
        .map(|one| {
            let infos = one.credential_infos.iter();
            let infos = infos.map(|it| format!(" {}={}", it.mechanism, it.iterations));
            format!(
                "{}: {}{}",
                one.user,
                one.error_code,
                infos.collect::<String>()
            )
        })
        .collect()
}

#[test]
fn credentials_outlive_the_node_and_bad_requests_change_nothing() {
    let mut node = Node::start(&[]);
    assert!(described(&node, None).is_empty());
    let one = |user: &str, code| vec![(user.to_owned(), code)];
    let good = alter(&node, vec![], vec![new("alice", 1, 8192)]);
    assert_eq!(good, one("alice", 0));
    let good = alter(&node, vec![], vec![new("alice", 2, 4096)]);
    assert_eq!(good, one("alice", 0));
    let all = ["alice: 0 1=8192 2=4096"];
    assert_eq!(described(&node, None), all);
    let some = described(&node, Some(&["nobody", "alice", "twice", "twice"]));
    assert_eq!(some, ["nobody: 91", all[0], "twice: 92"]);

    for (deletions, upsertions, told) in [
        (vec![], vec![], vec![]),
        (vec![gone("bob", 1)], vec![], one("bob", 91)),
        (vec![gone("alice", 3)], vec![], one("alice", 33)),
        (vec![gone("", 1)], vec![], one("", 93)),
        (vec![], vec![new("bob", 0, 4096)], one("bob", 33)),
        (vec![], vec![new("bob", 1, 4095)], one("bob", 93)),
        (vec![], vec![new("bob", 2, 16_385)], one("bob", 93)),
        (
            vec![gone("alice", 1)],
            vec![new("alice", 2, 8192)],
            one("alice", 92),
        ),
    ] {
        assert_eq!(alter(&node, deletions, upsertions), told);
    }
    assert_eq!(described(&node, None), all);

    node.kill();
    node.restart();
    assert_eq!(described(&node, None), all);
    assert_eq!(
        alter(&node, vec![gone("alice", 1)], vec![]),
        one("alice", 0)
    );
    assert_eq!(described(&node, None), ["alice: 0 2=4096"]);
    assert_eq!(
        alter(&node, vec![gone("alice", 1)], vec![]),
        one("alice", 91)
    );
    let page = node.http("/metrics").unwrap();
    let is_counted = |line: &str| {
        line.starts_with("kafka_network_requestmetrics_errors_total{")
            && line.contains("AlterUserScramCredentials")
            && line.contains("RESOURCE_NOT_FOUND")
            && line.ends_with(" 1")
    };
    assert!(page.lines().any(is_counted), "{page}");
}

/// A batch of the metadata log has 8 MiB: who asks for more is refused, and nobody else notices.
#[test]
fn more_than_the_metadata_log_takes_at_once_is_refused() {
    let mut node = Node::start(&[]);
    let large = ScramCredentialUpsertion {
        salt: Bytes::from(vec![b's'; 9 << 20]),
        ..new("large", 1, 4096)
    };
    let refused = alter(&node, vec![], vec![large, new("small", 1, 4096)]);
    let expected = [("large".to_owned(), 18), ("small".to_owned(), 18)];
    assert_eq!(refused, expected);
    assert!(described(&node, None).is_empty());
    assert_eq!(
        alter(&node, vec![], vec![new("small", 1, 4096)]),
        [("small".to_owned(), 0)]
    );
    // Other requests, too, say how much is written.
    let entries = (0..300).map(|n| AlterClientQuotasRequestEntryData {
        entity: vec![AlterClientQuotasEntityData {
            entity_type: "user".into(),
            entity_name: Some(format!("{n:032000}").into()),
        }],
        ops: vec![AlterClientQuotasOpData {
            key: "producer_byte_rate".into(),
            value: 1e9,
            remove: false,
        }],
    });
    let quotas = AlterClientQuotasRequest {
        entries: entries.collect(),
        validate_only: false,
    };
    let answer = call(&node, &quotas);
    assert!(answer.entries.iter().all(|one| one.error_code == 18));
    assert!(node.is_running());
    assert_eq!(described(&node, None), ["small: 0 1=4096"]);
}

#[test]
fn our_tool_keeps_shows_and_takes_away() {
    let node = Node::start(&[]);
    let tool = |arguments: &[&str]| {
        let bootstrap = node.bootstrap();
        let mut command = ottla();
        command.args(["configs", "--bootstrap-server", &bootstrap]);
        run(command.args(["--entity-type", "users"]).args(arguments))
    };
    keeps_shows_and_takes_away(&tool);
}

/// A client that others wrote, with what it prints of its own broker.
#[test]
#[ignore = "needs KAFKA_HOME"]
fn kafkas_tool_keeps_shows_and_takes_away() {
    let node = Node::start(&[]);
    let tool = |arguments: &[&str]| {
        let mut script = node.kafkas_script("kafka-configs.sh");
        run(script.args(["--entity-type", "users"]).args(arguments))
    };
    keeps_shows_and_takes_away(&tool);
}

/// Exit code, standard output and standard error of a tool that is given these arguments.
type Tool<'a> = &'a dyn Fn(&[&str]) -> (i32, String, String);

fn keeps_shows_and_takes_away(tool: Tool<'_>) {
    let done = |arguments: &[&str]| {
        let (code, out, err) = tool(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    };
    let alice = |what: &[&str]| done(&[&["--alter", "--entity-name", "alice"], what].concat());
    alice(&["--add-config", "SCRAM-SHA-256=[iterations=8192,password=x]"]);
    alice(&["--add-config", "producer_byte_rate=1024"]);
    let out = done(&["--describe"]);
    let quota = "Quota configs for user-principal 'alice' are producer_byte_rate=1024.0\n";
    let shown = "SCRAM credential configs for user-principal 'alice' are \
                 SCRAM-SHA-256=iterations=8192\n";
    assert_eq!(out, format!("{quota}{shown}"));
    alice(&["--delete-config", "SCRAM-SHA-256"]);
    assert_eq!(done(&["--describe"]), quota);
    let (_, out, err) = tool(&[
        "--alter",
        "--entity-name",
        "alice",
        "--delete-config",
        "SCRAM-SHA-256",
    ]);
    assert!(
        format!("{out}{err}").contains("user alice has no credential of SCRAM-SHA-256"),
        "{out}{err}"
    );
}

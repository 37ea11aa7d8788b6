//! The commands against a node of their own: what a person types, and what is printed.

mod harness;

use std::io::Write;
use std::process::{Command, Stdio};

use harness::{Node, ottla, run};

fn tool(node: &Node, command: &str, arguments: &[&str]) -> Command {
    let mut tool = ottla();
    tool.args([command, "--bootstrap-server", &node.bootstrap()])
        .args(arguments);
    tool
}

/// What a command prints that must succeed.
fn said(command: &mut Command) -> String {
    let (code, out, err) = run(command);
    assert_eq!(code, 0, "{out}{err}");
    out
}

fn typed(mut command: Command, input: &str) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
}

#[test]
fn a_topic_is_made_filled_read_and_removed() {
    let mut node = Node::start(&["offsets.topic.num.partitions=3"]);
    let create = [
        "--create",
        "--topic",
        "t",
        "--partitions",
        "3",
        "--config",
        "retention.ms=1000000000",
    ];
    assert_eq!(
        said(&mut tool(&node, "topics", &create)),
        "Created topic t.\n"
    );
    let described = said(&mut tool(&node, "topics", &["--describe", "--topic", "t"]));
    assert!(
        described.contains("PartitionCount: 3") && described.contains("retention.ms=1000000000")
    );
    let (code, _, err) = run(&mut tool(&node, "topics", &create));
    assert_eq!(code, 1, "a topic that exists");
    assert!(err.contains("already exists"), "{err}");

    let keyed = [
        "--topic",
        "t",
        "--property",
        "parse.key=true",
        "--property",
        "key.separator=:",
    ];
    typed(tool(&node, "produce", &keyed), "a:1\nb:2\na:3\n");
    let read = [
        "--topic",
        "t",
        "--group",
        "g",
        "--from-beginning",
        "--max-messages",
        "3",
        "--property",
        "print.key=true",
    ];
    let records = said(&mut tool(&node, "consume", &read));
    let mut lines: Vec<&str> = records.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a\t1", "a\t3", "b\t2"]);

    assert_eq!(said(&mut tool(&node, "groups", &["--list"])), "g\n");
    let offsets = said(&mut tool(&node, "groups", &["--describe", "--group", "g"]));
    assert!(
        offsets.contains("CURRENT-OFFSET") && offsets.contains("LAG"),
        "{offsets}"
    );
    said(&mut tool(&node, "groups", &["--delete", "--group", "g"]));
    assert_eq!(said(&mut tool(&node, "groups", &["--list"])).trim(), "");

    assert!(node.stop().success());
    let segments: Vec<String> = harness::files_below(&node.data())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "log"))
        .map(|path| path.display().to_string())
        .filter(|path| path.contains("/t-"))
        .collect();
    let dumped = said(ottla().args(["dump", "--print-data-log", "--files", &segments.join(",")]));
    assert!(
        dumped.contains("payload: 2") && dumped.contains("key: b"),
        "{dumped}"
    );
    let objects = |dumped: String| -> Vec<serde_json::Value> {
        let object = |line| serde_json::from_str(line).expect("an object on each line");
        dumped.lines().map(object).collect()
    };
    let records = ["dump", "--json", "--print-data-log", "--files"];
    let records = objects(said(ottla().args(records).arg(segments.join(","))));
    let is_second = |it: &serde_json::Value| it["key"] == "b" && it["value"] == "2";
    assert!(records.iter().any(is_second), "{records:?}");
    let metadata = node
        .data()
        .join("__cluster_metadata-0/00000000000000000000.log");
    let dumped = said(
        ottla()
            .args(["dump", "--cluster-metadata-decoder", "--files"])
            .arg(&metadata),
    );
    assert!(
        dumped.contains("TOPIC_RECORD") && dumped.contains("\"name\":\"t\""),
        "{dumped}"
    );
    let decoded = ["dump", "--json", "--cluster-metadata-decoder", "--files"];
    let decoded = objects(said(ottla().args(decoded).arg(&metadata)));
    let is_topic = |it: &serde_json::Value| {
        it["value"]["type"] == "TOPIC_RECORD" && it["value"]["data"]["name"] == "t"
    };
    assert!(decoded.iter().any(is_topic), "{decoded:?}");
    let is_change = |it: &serde_json::Value| it["control"]["data"]["leaderId"].is_number();
    assert!(decoded.iter().any(is_change), "{decoded:?}");

    node.restart();
    said(&mut tool(&node, "topics", &["--delete", "--topic", "t"]));
    assert!(
        !said(&mut tool(&node, "topics", &["--list"]))
            .lines()
            .any(|topic| topic == "t")
    );
}

#[test]
fn nobody_home_is_one_sentence() {
    let port = harness::free_port();
    let (code, out, err) = run(ottla().args([
        "topics",
        "--list",
        "--bootstrap-server",
        &format!("127.0.0.1:{port}"),
    ]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(
        err.contains(&port.to_string()) && !err.contains("panicked"),
        "{err}"
    );
    let (code, _, err) = run(ottla().args(["topics", "--no-such-flag"]));
    assert_eq!(code, 1);
    assert!(err.contains("--no-such-flag"), "{err}");
}

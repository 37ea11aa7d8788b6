//! `ottla bench` against a node of its own: each mode for a moment, counted again by a client that
//! we did not write. Nothing is said about speed.
#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for another process"
)]

mod harness;

use std::process::{Command, Stdio};

use harness::{Node, ottla, run};
use serde_json::Value;

fn bench(node: &Node, mode: &str, arguments: &[&str]) -> Command {
    let mut command = ottla();
    command.args(["bench", mode, "--bootstrap-server", &node.bootstrap()]);
    command.args(arguments);
    command
}

/// What a run that must succeed reports.
fn measured(node: &Node, mode: &str, arguments: &[&str]) -> Value {
    let mut command = bench(node, mode, arguments);
    command.args(["--json", "--warm-up", "0.2"]);
    if !arguments.contains(&"--duration") {
        command.args(["--duration", "1"]);
    }
    parsed(&mut command)
}

fn parsed(command: &mut Command) -> Value {
    let (code, out, err) = run(command);
    assert_eq!(code, 0, "{command:?}: {out}{err}");
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).unwrap()
}

fn number(report: &Value, path: &str) -> f64 {
    let found = report.pointer(path).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("{path} in {report}"))
}

/// Every quantile is there, and none is above the next.
fn check_quantiles(report: &Value, key: &str) {
    let of = |name: &str| number(report, &format!("/{key}/{name}"));
    let names = ["p50", "p90", "p99", "p99.9", "max"];
    assert!(names.map(of).is_sorted(), "{report}");
    assert!(
        of("p50") > 0.0 && of("n") > 0.0 && of("mean") > 0.0,
        "{report}"
    );
    // Nothing that happens in a test of a few seconds takes a minute.
    assert!(of("max") < 60e6, "{report}");
}

fn topic(node: &Node, name: &str, partitions: &str) {
    let mut command = ottla();
    command.args([
        "topics",
        "--bootstrap-server",
        &node.bootstrap(),
        "--create",
    ]);
    command.args(["--topic", name, "--partitions", partitions]);
    let (code, out, err) = run(&mut command);
    assert_eq!(code, 0, "{out}{err}");
}

/// The sizes of all values of a topic, by librdkafka.
fn sizes(node: &Node, topic: &str) -> Vec<usize> {
    let output = Command::new("kcat")
        .args([
            "-C",
            "-b",
            &node.bootstrap(),
            "-t",
            topic,
            "-e",
            "-q",
            "-f",
            "%S\\n",
        ])
        .args(["-X", "check.crcs=true"])
        .stdin(Stdio::null())
        .output()
        .expect("kcat runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn has_kcat() -> bool {
    Command::new("kcat").arg("-V").output().is_ok()
}

#[test]
fn what_is_produced_is_there() {
    let node = Node::start(&[]);
    let cases: [(&str, &[&str]); 5] = [
        ("plain", &["--connections", "3", "--rate", "4000"]),
        (
            "one",
            &["--batch-size", "0", "--acks", "1", "--rate", "500"],
        ),
        (
            "told",
            &["--acks", "0", "--rate", "3000", "--connections", "2"],
        ),
        (
            "exactly",
            &[
                "--idempotent",
                "--connections",
                "2",
                "--threads",
                "2",
                "--rate",
                "5000",
            ],
        ),
        (
            "small",
            &["--compression", "zstd", "--idempotent", "--rate", "5000"],
        ),
    ];
    for (name, arguments) in cases {
        topic(&node, name, "4");
        let mut all = vec!["--topic", name, "--record-size", "100"];
        if !arguments.contains(&"--batch-size") {
            all.extend(["--batch-size", "1000"]);
        }
        all.extend(arguments);
        let report = measured(&node, "produce", &all);
        let records = number(&report, "/total/records");
        // 1.2 seconds at the rate, in whole batches.
        let rate: f64 = arguments[arguments.iter().position(|a| *a == "--rate").unwrap() + 1]
            .parse()
            .unwrap();
        let slack = number(&report, "/records_per_batch") * 4.0;
        assert!((records - rate * 1.2).abs() <= slack, "{name}: {report}");
        assert!(number(&report, "/counted/records") <= records, "{report}");
        assert_eq!(number(&report, "/total/value_bytes"), records * 100.0);
        assert_eq!(number(&report, "/unanswered"), 0.0);
        if name == "told" {
            assert_eq!(report.get("latency_us"), None, "nobody answered");
        } else {
            check_quantiles(&report, "latency_us");
        }
        check_quantiles(&report, "late_us");
        if has_kcat() {
            // Without acks=all the last ones are answered before they are flushed and can be read.
            let mut found = Vec::new();
            node.wait_until("shows all that was written", || {
                found = sizes(&node, name);
                found.len() as f64 >= records
            });
            assert_eq!(found.len() as f64, records, "{name}");
            assert!(found.iter().all(|size| *size == 100), "{name}");
        }
    }
}

#[test]
fn as_fast_as_it_goes_and_back_again() {
    let node = Node::start(&[]);
    topic(&node, "t", "3");
    let report = measured(
        &node,
        "produce",
        &[
            "--topic",
            "t",
            "--connections",
            "4",
            // With 1 the last of them may not be on the disk yet, and so not be shown.
            "--acks",
            "all",
            "--duration",
            "0.5",
        ],
    );
    let records = number(&report, "/total/records");
    assert!(
        records > 0.0 && number(&report, "/mb_per_s") > 0.0,
        "{report}"
    );
    check_quantiles(&report, "latency_us");
    assert_eq!(report.get("late_us"), None, "nothing is due at a moment");

    // All of it once, unread and read.
    for how in [
        &[][..],
        &["--decode"],
        &["--fetch-size", "100"],
        &["--fetch-size", "100000", "--decode"],
    ] {
        let mut command = bench(&node, "consume", &["--topic", "t", "--once", "--json"]);
        let once = parsed(command.args(how));
        assert_eq!(number(&once, "/total/records"), records, "{how:?}");
        assert_eq!(
            number(&once, "/total/bytes"),
            number(&report, "/total/bytes"),
            "{how:?}"
        );
        check_quantiles(&once, "latency_us");
    }
    // Again and again, by more connections than partitions.
    let again = measured(
        &node,
        "consume",
        &["--topic", "t", "--connections", "5", "--threads", "2"],
    );
    assert!(number(&again, "/counted/records") > 0.0, "{again}");
    // From the end there is nothing, and that is no failure.
    let none = measured(&node, "consume", &["--topic", "t", "--from", "end"]);
    assert_eq!(number(&none, "/total/records"), 0.0);
    if has_kcat() {
        assert_eq!(sizes(&node, "t").len() as f64, records);
    }
}

#[test]
fn records_are_followed_from_end_to_end() {
    let node = Node::start(&[]);
    topic(&node, "t", "3");
    // What others wrote is not ours.
    measured(
        &node,
        "produce",
        &["--topic", "t", "--rate", "100", "--record-size", "20"],
    );
    let before = if has_kcat() {
        sizes(&node, "t").len()
    } else {
        0
    };
    let report = measured(
        &node,
        "end-to-end",
        &[
            "--topic",
            "t",
            "--rate",
            "600",
            "--connections",
            "2",
            "--record-size",
            "64",
            "--records-per-batch",
            "2",
        ],
    );
    assert_eq!(number(&report, "/sent"), 720.0);
    assert_eq!(number(&report, "/received"), 720.0);
    assert_eq!(number(&report, "/end_to_end_us/n"), 600.0);
    for key in ["end_to_end_us", "latency_us", "late_us"] {
        check_quantiles(&report, key);
    }
    if has_kcat() {
        let sizes = sizes(&node, "t");
        assert_eq!(sizes.len(), before + 720);
        assert!(sizes[..].iter().filter(|size| **size == 64).count() >= 720);
    }
}

#[test]
fn many_connections_are_held() {
    let node = Node::start(&[]);
    let idle = measured(
        &node,
        "connections",
        &["--connections", "200", "--ask-rate", "50"],
    );
    assert_eq!(number(&idle, "/open_us/n"), 200.0);
    assert_eq!(number(&idle, "/latency_us/n"), 50.0);
    assert_eq!(number(&idle, "/total/requests"), 60.0);
    check_quantiles(&idle, "open_us");
    check_quantiles(&idle, "latency_us");
    let asking = measured(
        &node,
        "connections",
        &[
            "--connections",
            "100",
            "--idle-ask-ms",
            "400",
            "--threads",
            "2",
            "--ask-rate",
            "50",
        ],
    );
    // Three rounds of a hundred in 1.2 s, and what one asks.
    assert_eq!(number(&asking, "/total/requests"), 360.0);
    assert_eq!(number(&asking, "/latency_us/n"), 50.0);
}

/// The shortest waits that a broker allows, as far as a test needs them.
const QUICK_GROUPS: [&str; 4] = [
    "group.initial.rebalance.delay.ms=0",
    "group.consumer.min.heartbeat.interval.ms=5",
    "group.consumer.heartbeat.interval.ms=5",
    "group.consumer.assignment.interval.ms=0",
];

/// The groups that the broker lists, each with its state.
fn groups(node: &Node) -> Vec<String> {
    let mut command = ottla();
    command.args(["groups", "--bootstrap-server", &node.bootstrap()]);
    command.args(["--list", "--state"]);
    let (code, out, err) = run(&mut command);
    assert_eq!(code, 0, "{out}{err}");
    out.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn groups_come_together_and_part() {
    let node = Node::start(&QUICK_GROUPS);
    topic(&node, "t", "7");
    let pid = node.pid().to_string();
    for (protocol, members) in [
        ("classic", "1"),
        ("classic", "5"),
        ("classic", "9"),
        ("consumer", "1"),
        ("consumer", "5"),
        ("consumer", "9"),
    ] {
        let report = measured(
            &node,
            "groups",
            &[
                "--topic",
                "t",
                "--protocol",
                protocol,
                "--members",
                members,
                "--heartbeat-ms",
                "20",
                "--hold",
                "0.1",
                "--threads",
                "2",
                "--broker-pid",
                &pid,
                "--duration",
                "0.5",
            ],
        );
        let n_groups = number(&report, "/groups");
        assert!(n_groups >= 1.0, "{report}");
        for key in ["assigned_us", "gathered_us", "latency_us"] {
            check_quantiles(&report, key);
        }
        assert_eq!(number(&report, "/assigned_us/n"), n_groups);
        assert!(
            number(&report, "/assigned_us/max") <= number(&report, "/gathered_us/max"),
            "{report}"
        );
        assert!(number(&report, "/broker_cpu_ms_per_group") >= 0.0);
        assert_eq!(number(&report, "/partitions"), 7.0);
    }
    // Nobody is left in any of them.
    let left = groups(&node);
    assert!(left.iter().all(|group| group.contains("Empty")), "{left:?}");
}

#[test]
fn offsets_are_committed_by_many_groups() {
    let node = Node::start(&QUICK_GROUPS);
    topic(&node, "t", "3");
    let pid = node.pid().to_string();
    let mut arguments = vec!["--topic", "t", "--groups", "20", "--partitions", "2"];
    arguments.extend([
        "--rate",
        "400",
        "--threads",
        "2",
        "--broker-pid",
        pid.as_str(),
    ]);
    let report = measured(&node, "commits", &arguments);
    // 1.2 seconds at the rate, of which one counts.
    assert_eq!(number(&report, "/total/requests"), 480.0, "{report}");
    assert_eq!(number(&report, "/latency_us/n"), 400.0, "{report}");
    assert!(number(&report, "/broker_cpu_us_per_commit") > 0.0);
    check_quantiles(&report, "latency_us");
    check_quantiles(&report, "late_us");
    let metrics = node.http("/metrics").unwrap();
    let counted = metrics.lines().find_map(|line| {
        let count = line.strip_prefix("kafka_network_requestmetrics_requests_total{")?;
        let (labels, n) = count.rsplit_once(' ')?;
        labels.contains("OffsetCommit").then(|| n.to_owned())
    });
    assert_eq!(counted.as_deref(), Some("480"), "{metrics}");
    let fast = measured(
        &node,
        "commits",
        &["--topic", "t", "--groups", "3", "--duration", "0.3"],
    );
    assert!(number(&fast, "/commits_per_s") > 0.0, "{fast}");
    assert_eq!(groups(&node), Vec::<String>::new(), "none is left behind");
}

#[test]
fn transactions_are_whole_ended_and_counted() {
    let node = Node::start(&["transaction.state.log.num.partitions=3"]);
    topic(&node, "t", "3");
    let pid = node.pid().to_string();
    let mut arguments = vec!["--topic", "t", "--producers", "5", "--threads", "2"];
    arguments.extend([
        "--records",
        "2",
        "--record-size",
        "30",
        "--abort-every",
        "4",
    ]);
    arguments.extend(["--rate", "200", "--broker-pid", pid.as_str()]);
    let report = measured(&node, "transactions", &arguments);
    // 1.2 seconds at the rate, of which one counts; each producer has 48, and aborts 12.
    assert_eq!(number(&report, "/total/requests"), 240.0, "{report}");
    assert_eq!(number(&report, "/total/records"), 480.0, "{report}");
    assert_eq!(number(&report, "/aborted"), 60.0, "{report}");
    assert_eq!(number(&report, "/latency_us/n"), 200.0, "{report}");
    assert!(number(&report, "/broker_cpu_us_per_transaction") > 0.0);
    for key in ["latency_us", "written_us", "ended_us", "late_us"] {
        check_quantiles(&report, key);
    }
    // An end is answered before the partitions have it.
    let list = || {
        let mut command = ottla();
        command.args([
            "transactions",
            "--bootstrap-server",
            &node.bootstrap(),
            "list",
        ]);
        run(&mut command).1
    };
    node.wait_until("ends all transactions", || {
        let left = list();
        left.matches("Complete").count() == 5
    });
    let read = |arguments: &[&str]| {
        let all = [&["--topic", "t", "--once"][..], arguments].concat();
        let mut command = bench(&node, "consume", &all);
        number(&parsed(command.arg("--json")), "/total/records")
    };
    let committed = ["--isolation-level", "read_committed"];
    assert_eq!(read(&["--decode"]), 480.0);
    assert_eq!(read(&[&committed[..], &["--decode"]].concat()), 360.0);
    // Unread, what was aborted counts, and so does the end of each transaction.
    assert_eq!(read(&committed), 720.0);
    if has_kcat() {
        // By default librdkafka reads what is committed.
        let sizes = sizes(&node, "t");
        assert_eq!(sizes.len(), 360);
        assert!(sizes.iter().all(|size| *size == 30));
    }
    let fast = measured(
        &node,
        "transactions",
        &["--topic", "t", "--producers", "3", "--duration", "0.3"],
    );
    assert!(number(&fast, "/transactions_per_s") > 0.0, "{fast}");

    // Who speaks this protocol needs a cluster that has agreed on it.
    let mut downgrade = ottla();
    downgrade.args(["features", "--bootstrap-server", &node.bootstrap()]);
    downgrade.args(["downgrade", "--feature", "transaction.version=1"]);
    let (code, out, err) = run(&mut downgrade);
    assert_eq!(code, 0, "{out}{err}");
    node.wait_until("goes back to the former protocol", || {
        let (code, _, err) = run(&mut bench(
            &node,
            "transactions",
            &["--topic", "t", "--duration", "0.1"],
        ));
        code == 1 && err.contains("the cluster's transaction.version is 1, and 2 is needed")
    });
}

#[test]
fn a_transaction_begins_as_soon_as_the_last_has_ended() {
    // If nobody told of that end, each would wait for a minute.
    let node = Node::start(&[
        "transaction.state.log.num.partitions=1",
        "add.partitions.to.txn.retry.backoff.ms=60000",
        "add.partitions.to.txn.retry.backoff.max.ms=60000",
    ]);
    topic(&node, "t", "1");
    let report = measured(&node, "transactions", &["--topic", "t"]);
    assert!(number(&report, "/total/requests") > 5.0, "{report}");
    assert_eq!(number(&report, "/repeated"), 0.0, "{report}");
    assert!(number(&report, "/latency_us/max") < 30e6, "{report}");
}

#[test]
fn people_see_a_table() {
    let node = Node::start(&[]);
    topic(&node, "t", "1");
    let arguments = [
        "--topic",
        "t",
        "--rate",
        "200",
        "--duration",
        "0.3",
        "--warm-up",
        "0",
    ];
    let (code, out, err) = run(&mut bench(&node, "produce", &arguments));
    assert_eq!((code, &*err), (0, ""), "{out}");
    for word in [
        "produce: 0.3 s",
        "MB/s",
        "p99.9",
        "acknowledged",
        "sent late",
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
}

#[test]
fn what_cannot_be_measured_is_told_in_a_sentence() {
    let node = Node::start(&[
        "max.connections.per.ip=20",
        "message.max.bytes=10000",
        "group.initial.rebalance.delay.ms=0",
        "group.max.size=3",
        "group.consumer.max.size=3",
    ]);
    topic(&node, "t", "1");
    topic(&node, "empty", "1");
    let cases: &[(&str, &[&str], &str)] = &[
        (
            "produce",
            &["--topic", "nowhere"],
            "there is no topic nowhere",
        ),
        (
            "consume",
            &["--topic", "nowhere"],
            "there is no topic nowhere",
        ),
        (
            "end-to-end",
            &["--topic", "nowhere"],
            "there is no topic nowhere",
        ),
        ("produce", &["--topic", "not/a/name"], "not/a/name"),
        (
            "produce",
            &["--topic", "t", "--partitions", "2"],
            "has 1 partitions, and not 2",
        ),
        (
            "produce",
            &["--topic", "t", "--partitions", "0"],
            "--partitions",
        ),
        ("produce", &["--topic", "t", "--rate", "0"], "--rate"),
        ("produce", &["--topic", "t", "--rate", "-5"], "-5"),
        ("end-to-end", &["--topic", "t", "--rate", "0"], "--rate"),
        ("connections", &["--ask-rate", "0"], "--ask-rate"),
        (
            "produce",
            &["--topic", "t", "--connections", "0"],
            "--connections",
        ),
        ("produce", &["--topic", "t", "--threads", "0"], "--threads"),
        (
            "produce",
            &["--topic", "t", "--in-flight", "0"],
            "--in-flight",
        ),
        ("produce", &["--topic", "t", "--duration", "0"], "no time"),
        (
            "produce",
            &["--topic", "t", "--duration", "soon"],
            "no number",
        ),
        ("produce", &["--topic", "t", "--warm-up", "-1"], "-1"),
        (
            "produce",
            &["--topic", "t", "--acks", "2"],
            "--acks 2 is not usable",
        ),
        (
            "produce",
            &["--topic", "t", "--acks", "1", "--idempotent"],
            "--idempotent needs",
        ),
        (
            "produce",
            &["--topic", "t", "--compression", "rar"],
            "rar is not known",
        ),
        (
            "produce",
            &["--topic", "t", "--record-size", "99999999999"],
            "is too large",
        ),
        (
            "produce",
            &["--topic", "t", "--batch-size", "18446744073709551615"],
            "is too large",
        ),
        (
            "produce",
            &["--topic", "t", "--batch-size", "20000"],
            "MESSAGE_TOO_LARGE",
        ),
        (
            "produce",
            &["--topic", "t", "--connections", "30", "--batch-size", "0"],
            "connection",
        ),
        (
            "consume",
            &["--topic", "t", "--fetch-size", "0"],
            "--fetch-size",
        ),
        ("consume", &["--topic", "empty"], "is empty"),
        (
            "consume",
            &["--topic", "t", "--once", "--from", "end"],
            "--once",
        ),
        (
            "consume",
            &["--topic", "t", "--once", "--duration", "1"],
            "--once",
        ),
        (
            "end-to-end",
            &["--topic", "t", "--record-size", "15"],
            "is too small",
        ),
        (
            "end-to-end",
            &[
                "--topic",
                "t",
                "--record-size",
                "1000000",
                "--records-per-batch",
                "1000",
            ],
            "is too large",
        ),
        (
            "connections",
            &["--connections", "30"],
            "of 30: the broker at",
        ),
        (
            "connections",
            &["--connections", "4000000000"],
            "--connections",
        ),
        (
            "groups",
            &["--topic", "nowhere"],
            "there is no topic nowhere",
        ),
        ("groups", &["--topic", "t", "--members", "0"], "--members"),
        (
            "groups",
            &["--topic", "t", "--protocol", "streams"],
            "--protocol",
        ),
        (
            "groups",
            &["--topic", "t", "--heartbeat-ms", "0"],
            "--heartbeat-ms",
        ),
        ("groups", &["--topic", "t", "--hold", "-1"], "-1"),
        (
            "groups",
            &["--topic", "t", "--broker-pid", "4294967295"],
            "is no process of this machine",
        ),
        (
            "groups",
            &["--topic", "t", "--members", "30"],
            "of 30: the broker at",
        ),
        (
            "groups",
            &["--topic", "t", "--members", "4"],
            "GROUP_MAX_SIZE_REACHED",
        ),
        (
            "groups",
            &["--topic", "t", "--members", "4", "--protocol", "consumer"],
            "GROUP_MAX_SIZE_REACHED",
        ),
        (
            "commits",
            &["--topic", "nowhere"],
            "there is no topic nowhere",
        ),
        ("commits", &["--topic", "t", "--groups", "0"], "--groups"),
        ("commits", &["--topic", "t", "--rate", "0"], "--rate"),
        (
            "commits",
            &["--topic", "t", "--partitions", "2"],
            "has 1 partitions, and not 2",
        ),
        ("commits", &["--topic", "t", "--groups", "30"], "connection"),
        (
            "transactions",
            &["--topic", "nowhere"],
            "there is no topic nowhere",
        ),
        (
            "transactions",
            &["--topic", "t", "--partitions", "2"],
            "has 1 partitions, and not 2",
        ),
        (
            "transactions",
            &["--topic", "t", "--producers", "0"],
            "--producers",
        ),
        (
            "transactions",
            &["--topic", "t", "--producers", "30"],
            "connection",
        ),
        (
            "transactions",
            &["--topic", "t", "--records", "0"],
            "--records",
        ),
        (
            "transactions",
            &["--topic", "t", "--records", "1000000"],
            "is too large",
        ),
        (
            "transactions",
            &["--topic", "t", "--records", "200"],
            "MESSAGE_TOO_LARGE",
        ),
        (
            "transactions",
            &["--topic", "t", "--abort-every", "0"],
            "--abort-every",
        ),
        ("transactions", &["--topic", "t", "--rate", "0"], "--rate"),
        (
            "consume",
            &["--topic", "t", "--isolation-level", "serializable"],
            "--isolation-level",
        ),
    ];
    for (mode, arguments, words) in cases {
        let (code, out, err) = run(&mut bench(&node, mode, arguments));
        assert_eq!(code, 1, "{mode} {arguments:?}: {out}{err}");
        assert!(err.contains(words), "{mode} {arguments:?}: {err}");
        assert!(!err.contains("panicked"), "{err}");
    }
    let nobody = format!("127.0.0.1:{}", harness::free_port());
    let http = format!("127.0.0.1:{}", node.http_port);
    for (server, words) in [
        (nobody.as_str(), "cannot be reached"),
        (http.as_str(), "does not speak Kafka's protocol"),
        ("no-such-host.invalid:9092", "cannot be reached"),
        ("nonsense", "--bootstrap-server is not usable"),
    ] {
        let mut command = ottla();
        command.args([
            "bench",
            "produce",
            "--topic",
            "t",
            "--bootstrap-server",
            server,
        ]);
        let (code, _, err) = run(&mut command);
        assert!(code == 1 && err.contains(words), "{server}: {err}");
    }
}

#[test]
fn a_broker_that_dies_ends_the_run() {
    let mut node = Node::start(&QUICK_GROUPS);
    topic(&node, "t", "2");
    // So that there are coordinators when the others begin.
    measured(&node, "groups", &["--topic", "t", "--members", "1"]);
    measured(&node, "transactions", &["--topic", "t"]);
    let cases: [(&str, &[&str]); 6] = [
        ("produce", &["--topic", "t", "--duration", "60"]),
        ("end-to-end", &["--topic", "t", "--duration", "60"]),
        ("connections", &["--connections", "10", "--duration", "60"]),
        ("groups", &["--topic", "t", "--hold", "60"]),
        (
            "commits",
            &["--topic", "t", "--groups", "5", "--duration", "60"],
        ),
        (
            "transactions",
            &["--topic", "t", "--producers", "5", "--duration", "60"],
        ),
    ];
    for (mode, arguments) in cases {
        let mut running = bench(&node, mode, arguments);
        let child = running
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(700));
        node.kill();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{mode}: {said}");
        let is_sentence = said.contains("connection") || said.contains("cannot be reached");
        assert!(is_sentence && !said.contains("panicked"), "{mode}: {said}");
        node.restart();
    }
}

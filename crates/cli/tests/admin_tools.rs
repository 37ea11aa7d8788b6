//! The commands of administration against a node of their own, by our names and by those of Kafka's
//! scripts: what a person types, what is printed, and how it ends.

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{Node, ottla, run};

fn tool(node: &Node, words: &str) -> Command {
    let mut tool = ottla();
    tool.args(words.split_whitespace())
        .args(["--bootstrap-server", &node.bootstrap()]);
    tool
}

/// What a command prints that must succeed.
fn said(command: &mut Command) -> String {
    let (code, out, err) = run(command);
    assert_eq!(code, 0, "{out}{err}");
    out
}

fn publish(node: &Node, topic: &str, lines: &str) {
    let mut child = tool(node, &format!("produce --topic {topic}"))
        .stdin(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let input = child.stdin.take().expect("an input");
    std::io::Write::write_all(&mut { input }, lines.as_bytes()).expect("it is read");
    assert!(child.wait().expect("it ends").success());
}

/// Links named as Kafka's scripts.
fn scripts(directory: &Path) -> PathBuf {
    let bin = directory.join("bin");
    said(ottla().args(["install", "links"]).arg(&bin));
    bin
}

fn script(node: &Node, bin: &Path, words: &str) -> Command {
    let (name, rest) = words.split_once(' ').expect("a script and its flags");
    let mut script = Command::new(bin.join(name));
    script
        .args(rest.split_whitespace())
        .args(["--bootstrap-server", &node.bootstrap()]);
    script
}

#[test]
fn settings_offsets_records_and_directories() {
    let node = Node::start(&["offsets.topic.num.partitions=3"]);
    said(&mut tool(&node, "topics --create --topic t --partitions 2"));
    publish(&node, "t", "one\ntwo\nthree\n");

    let set = "configs --alter --topic t --add-config retention.ms=1000000,cleanup.policy=[compact,delete]";
    assert_eq!(
        said(&mut tool(&node, set)),
        "Completed updating config for topic t.\n"
    );
    let described = said(&mut tool(&node, "configs --describe --topic t"));
    let mut lines = described.lines();
    assert_eq!(lines.next(), Some("Dynamic configs for topic t are:"));
    assert!(
        described.contains(
            "\n  retention.ms=1000000 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=1000000"
        ),
        "{described}"
    );
    let json = said(&mut tool(&node, "configs --describe --topic t --json"));
    assert!(
        json.contains("\"name\":\"cleanup.policy\"")
            && json.contains("\"value\":\"compact,delete\""),
        "{json}"
    );
    said(&mut tool(
        &node,
        "configs --alter --entity-type topics --entity-name t --delete-config retention.ms,cleanup.policy",
    ));
    let described = said(&mut tool(&node, "configs --describe --topic t"));
    assert!(!described.contains("retention.ms="), "{described}");
    let (code, out, err) = run(&mut tool(
        &node,
        "configs --alter --topic t --add-config retention.ms=soon",
    ));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("hint: "), "{err}");
    let (code, _, err) = run(&mut tool(
        &node,
        "configs --describe --topic t --add-config a=b",
    ));
    assert_eq!(code, 1);
    assert!(err.contains("--add-config"), "{err}");

    let ends = said(&mut tool(&node, "get-offsets --topic t"));
    let sum: i64 = ends
        .lines()
        .filter_map(|line| line.rsplit(':').next()?.parse::<i64>().ok())
        .sum();
    assert_eq!(sum, 3, "{ends}");
    let (code, _, err) = run(&mut tool(&node, "get-offsets --topic nowhere"));
    assert_eq!(code, 1);
    assert!(
        err.contains("Could not match any topic-partitions"),
        "{err}"
    );

    let full = ends
        .lines()
        .find(|line| !line.ends_with(":0"))
        .expect("a partition with records");
    let partition = full.split(':').nth(1).expect("its number");
    let file = node.directory.path().join("delete.json");
    let entry = |offset: i64| {
        format!(
            "{{\"partitions\":[{{\"topic\":\"t\",\"partition\":{partition},\"offset\":{offset}}}]}}"
        )
    };
    std::fs::write(&file, entry(1)).expect("a file");
    let delete = format!("delete-records --offset-json-file {}", file.display());
    assert!(
        said(&mut tool(&node, &delete))
            .contains(&format!("partition: t-{partition}\tlow_watermark: 1\n"))
    );
    std::fs::write(&file, entry(100)).expect("a file");
    let (code, out, _) = run(&mut tool(&node, &delete));
    assert_eq!(code, 1);
    assert!(
        out.contains("error: org.apache.kafka.common.errors.OffsetOutOfRangeException: "),
        "{out}"
    );

    let directories = said(&mut tool(
        &node,
        "log-dirs --describe --topic-list t --json",
    ));
    assert!(
        directories.contains("\"partition\":\"t-0\"") && directories.contains("\"isFuture\":false"),
        "{directories}"
    );
    let (code, _, err) = run(&mut tool(&node, "log-dirs --describe --broker-list 9"));
    assert_eq!(code, 1);
    assert!(err.contains("do not exist from --broker-list: 9"), "{err}");
}

#[test]
fn the_cluster_its_features_and_its_quorum() {
    let node = Node::start(&[]);
    let id = said(&mut tool(&node, "cluster cluster-id"));
    let id = id
        .trim()
        .strip_prefix("Cluster ID: ")
        .expect("an id")
        .to_owned();
    let endpoints = said(&mut tool(&node, "cluster list-endpoints"));
    assert!(
        endpoints.contains("unfenced") && endpoints.starts_with("ID "),
        "{endpoints}"
    );
    let controllers = said(
        ottla()
            .args(["cluster", "list-endpoints", "-C"])
            .arg(format!("127.0.0.1:{}", node.controller_port)),
    );
    assert!(controllers.contains("controller"), "{controllers}");
    let (code, out, err) = run(&mut tool(&node, "cluster unregister --id 99"));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("ottla: "), "{err}");

    let features = said(&mut tool(&node, "features describe"));
    assert!(
        features.contains("Feature: metadata.version ") && features.contains("4.3-IV0"),
        "{features}"
    );
    let mapping = said(ottla().args(["features", "version-mapping", "--release-version", "4.0"]));
    assert!(
        mapping.starts_with("metadata.version=25 (4.0)\n"),
        "{mapping}"
    );

    let status = said(&mut tool(&node, "quorum describe --status"));
    assert!(
        status.starts_with(&format!(
            "ClusterId:              {id}\nLeaderId:               "
        )),
        "{status}"
    );
    assert!(
        status.contains("\"endpoints\": [\"CONTROLLER://"),
        "{status}"
    );
    let replication = said(&mut tool(&node, "quorum describe --replication --json"));
    assert!(
        replication.contains("\"status\":\"Leader\""),
        "{replication}"
    );

    let versions = said(&mut tool(&node, "api-versions"));
    assert!(
        versions.contains("\tMetadata(3): 0 to 13 [usable: 13],\n"),
        "{versions}"
    );
    let info = said(ottla().args(["storage", "random-uuid"]));
    assert_eq!(info.trim().len(), 22);
}

#[test]
fn a_link_named_as_a_script_says_what_the_script_says() {
    let node = Node::start(&["offsets.topic.num.partitions=3"]);
    let bin = scripts(node.directory.path());
    let create = "kafka-topics.sh --create --topic t --partitions 1";
    assert_eq!(said(&mut script(&node, &bin, create)), "Created topic t.\n");
    let (code, out, _) = run(&mut script(&node, &bin, create));
    assert_eq!(code, 1);
    assert!(
        out.starts_with("Error while executing topic command : "),
        "{out}"
    );
    let (code, out, err) = run(&mut tool(&node, "topics --create --topic t"));
    assert_eq!(
        (code, out.as_str()),
        (1, ""),
        "by our own name it is no output"
    );
    assert!(
        err.contains("hint: ") && err.contains("--if-not-exists"),
        "{err}"
    );

    let unknown = "kafka-consumer-groups.sh --describe --group strangers";
    let (code, out, err) = run(&mut script(&node, &bin, unknown));
    assert_eq!(code, 0, "so does Kafka's");
    assert!(
        out.starts_with("\nError: Executing consumer group command failed due to org.apache.kafka.common.errors.GroupIdNotFoundException: "),
        "{out}{err}"
    );
    let (code, out, _) = run(&mut tool(&node, "groups --describe --group strangers"));
    assert_eq!((code, out.as_str()), (1, ""));

    let (code, _, err) = run(Command::new(bin.join("kafka-topics.sh")).arg("--list"));
    assert_eq!(code, 1, "Kafka's scripts assume no address");
    assert!(err.contains("bootstrap-server"), "{err}");
    let (code, _, err) = run(&mut script(
        &node,
        &bin,
        "kafka-consumer-groups.sh --list --execute",
    ));
    assert_eq!(code, 1);
    assert!(err.contains("--execute"), "{err}");
    assert_eq!(
        said(&mut script(&node, &bin, "kafka-transactions.sh list")),
        "TransactionalId\tCoordinator\tProducerId\tTransactionState\t\n"
    );
    let elected = "kafka-leader-election.sh --election-type neither --all-topic-partitions";
    assert_eq!(run(&mut script(&node, &bin, elected)).0, 1);
}

#[test]
fn groups_are_listed_and_watched() {
    let node = Node::start(&["offsets.topic.num.partitions=3"]);
    said(&mut tool(&node, "topics --create --topic t --partitions 1"));
    publish(&node, "t", "one\ntwo\n");
    said(&mut tool(
        &node,
        "consume --topic t --group g --from-beginning --max-messages 1",
    ));
    let listed = said(&mut tool(&node, "list-groups --list"));
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(
        listed.contains("g                    Classic              consumer"),
        "{listed}"
    );
    let json = said(&mut tool(&node, "groups --list --json"));
    assert_eq!(
        json,
        "{\"group\":\"g\",\"state\":\"Empty\",\"type\":\"Classic\"}\n"
    );

    let mut watching = tool(&node, "groups --describe --group g --watch 0.2");
    let child = watching
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.expect("the command starts");
    let out = child.stdout.take().expect("an output");
    let mut seen = String::new();
    for line in std::io::BufRead::lines(std::io::BufReader::new(out)) {
        seen.push_str(&line.expect("text"));
        seen.push('\n');
        if seen.contains("as before") {
            break;
        }
    }
    let _ = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(child.wait().expect("it ends").success());
    assert!(
        seen.contains("g: lag 1\n") && seen.contains("g: lag 1, as before\n"),
        "{seen}"
    );
}

#[test]
fn a_group_by_the_consumer_protocol_and_what_it_leaves_behind() {
    let node = Node::start(&[
        "offsets.topic.num.partitions=1",
        "group.consumer.min.heartbeat.interval.ms=100",
        "group.consumer.heartbeat.interval.ms=100",
    ]);
    said(&mut tool(&node, "topics --create --topic t --partitions 2"));
    publish(&node, "t", "one\ntwo\nthree\n");
    let read = "consume --topic t --group modern --from-beginning --max-messages 3 --json \
                --command-property group.protocol=consumer --command-property group.remote.assignor=range";
    let records = said(&mut tool(&node, read));
    assert_eq!(records.lines().count(), 3);
    assert!(records.contains("\"value\":\"two\""), "{records}");
    let listed = said(&mut tool(&node, "list-groups --list --json"));
    assert_eq!(
        listed,
        "{\"group\":\"modern\",\"protocol\":\"consumer\",\"type\":\"Consumer\"}\n"
    );
    let state = said(&mut tool(
        &node,
        "groups --describe --group modern --state --json",
    ));
    assert!(
        state.contains("\"state\":\"Empty\"") && state.contains("\"members\":0"),
        "the member has left: {state}"
    );
    let offsets = said(&mut tool(&node, "groups --describe --group modern --json"));
    assert_eq!(offsets.matches("\"lag\":0").count(), 2, "{offsets}");

    let internal = "consume --topic __consumer_offsets --from-beginning --timeout-ms 2000 \
                    --formatter org.apache.kafka.tools.consumer.OffsetsMessageFormatter";
    let committed = said(&mut tool(&node, internal));
    assert!(
        committed.contains("{\"key\":{\"type\":1,\"data\":{\"group\":\"modern\",\"topic\":\"t\","),
        "{committed}"
    );

    let odd = "consume --topic t --group odd --timeout-ms 5000 --command-property group.protocol=consumer \
               --command-property group.remote.assignor=lottery";
    let (code, _, err) = run(&mut tool(&node, odd));
    assert_eq!(code, 1);
    assert!(err.contains("lottery"), "{err}");
    let (code, _, err) = run(&mut tool(
        &node,
        "consume --topic t --command-property group.protocol=neither",
    ));
    assert_eq!(code, 1);
    assert!(err.contains("group.protocol=neither"), "{err}");
}

#[test]
fn fixed_voters_go_into_the_log_when_their_level_rises() {
    let mut node = Node::prepared(&[]);
    let voters = format!("1@127.0.0.1:{}", node.controller_port);
    node.set(&format!("controller.quorum.voters={voters}"));
    node.restart();
    let level = |node: &Node| {
        let described = said(&mut tool(node, "features describe --json"));
        let features = described.lines().map(|line| {
            let feature: serde_json::Value = serde_json::from_str(line).expect("an object");
            feature
        });
        let mut found = features.filter(|it| it["feature"] == "kraft.version");
        found.next().map(|it| it["finalizedVersionLevel"].clone())
    };
    let status = |node: &Node| said(&mut tool(node, "quorum describe --status"));
    assert_eq!(level(&node), Some(0.into()));
    assert!(!status(&node).contains("directoryId"));
    let raise = "features upgrade --feature kraft.version=1";
    said(&mut tool(&node, &format!("{raise} --dry-run")));
    assert_eq!(level(&node), Some(0.into()));
    said(&mut tool(&node, raise));
    said(&mut tool(&node, raise));
    assert_eq!(level(&node), Some(1.into()));
    let (code, out, _) = run(&mut tool(
        &node,
        "features downgrade --feature kraft.version=0",
    ));
    assert_eq!(code, 1);
    assert!(out.contains("Can't downgrade the version of this feature."));

    node.kill();
    node.restart();
    assert_eq!(level(&node), Some(1.into()));
    assert!(status(&node).contains("directoryId"));
    // Who votes stands in the log: the setting is needed no more.
    assert!(node.stop().success());
    node.set("controller.quorum.voters=");
    node.restart();
    said(&mut tool(&node, "topics --create --topic t"));
    assert_eq!(level(&node), Some(1.into()));
}

#[test]
fn an_advertised_address_that_nobody_answers_is_told_as_such() {
    let nowhere = harness::free_port();
    let advertised = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{nowhere}");
    let node = Node::start(&[&advertised]);
    let file = node.directory.path().join("client.properties");
    std::fs::write(&file, "default.api.timeout.ms=500\n").expect("a file");
    let words = format!("log-dirs --describe --command-config {}", file.display());
    let (code, _, err) = run(&mut tool(&node, &words));
    assert_eq!(code, 1);
    assert!(
        err.contains(&format!("127.0.0.1:{nowhere}")) && err.contains("advertised.listeners"),
        "{err}"
    );
}

#[test]
fn what_belongs_beside_the_binary_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let man = directory.path().join("man1");
    said(ottla().args(["install", "man"]).arg(&man));
    for page in ["ottla.1", "ottla-groups.1", "ottla-quorum-describe.1"] {
        assert!(man.join(page).exists(), "{page}");
    }
    let script = said(ottla().args(["install", "completions", "bash"]));
    assert!(script.contains("delete-records"), "{script}");
    let bin = scripts(directory.path());
    let twice = scripts(directory.path());
    assert_eq!(bin, twice, "what is there is replaced");
    assert!(std::fs::symlink_metadata(bin.join("kafka-topics.sh")).is_ok());
    let version = said(Command::new(bin.join("kafka-topics.sh")).arg("--version"));
    assert_eq!(version, "4.3.1\n", "the Kafka whose script it is");
    let (code, out, _) = run(Command::new(bin.join("kafka-cluster.sh")).arg("--version"));
    assert_eq!((code, out.as_str()), (1, ""), "this one has no such flag");
    let version = said(ottla().arg("--version"));
    assert!(version.starts_with("ottla "), "{version}");
}

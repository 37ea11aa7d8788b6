//! What an administrator asks of one node about leaders, replicas and feature levels: the answers
//! that Kafka gives, and Apache's own tools (where `KAFKA_HOME` names them).

mod harness;

use std::io::{Read, Write};

use bytes::Bytes;
use harness::{Node, ottla, run};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Request};

fn call<R: Request>(node: &Node, request: &R, version: i16) -> R::Response {
    let mut stream = node.connect();
    let frame = request_frame(request, version, 1, Some("t".into())).unwrap();
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    let answer = decode_response::<R::Response>(Bytes::from(answer), version);
    answer.unwrap().1
}

fn create(node: &Node, topic: &'static str) {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions: 2,
            replication_factor: 1,
            ..Default::default()
        }],
        timeout_ms: 20_000,
        ..Default::default()
    };
    assert_eq!(call(node, &request, 7).topics[0].error_code, NONE);
}

fn elect(node: &Node, kind: i8, topic: &'static str, partition: i32) -> (i16, i16) {
    let request = ElectLeadersRequest {
        election_type: kind,
        topic_partitions: Some(vec![ElectLeadersTopicPartitions {
            topic: topic.into(),
            partitions: vec![partition],
        }]),
        ..Default::default()
    };
    let answer = call(node, &request, 2);
    let result = &answer.replica_election_results[0].partition_result[0];
    (answer.error_code, result.error_code)
}

#[test]
fn leaders_are_elected_where_one_is_missing() {
    let node = Node::start(&[]);
    create(&node, "t");
    assert_eq!(elect(&node, 0, "t", 0), (0, 84));
    assert_eq!(elect(&node, 1, "t", 1), (0, 84));
    assert_eq!(elect(&node, 0, "t", 2), (0, 3));
    assert_eq!(elect(&node, 0, "absent", 0), (0, 3));
    assert_eq!(elect(&node, 9, "t", 0), (42, 42));
    let all = ElectLeadersRequest::default();
    let all = ElectLeadersRequest {
        topic_partitions: None,
        ..all
    };
    let answer = call(&node, &all, 2);
    let results = &answer.replica_election_results;
    assert!(
        results
            .iter()
            .all(|topic| topic.partition_result.is_empty()),
        "{results:?}"
    );
}

#[test]
fn a_node_alone_has_nowhere_to_move_a_partition() {
    let node = Node::start(&[]);
    create(&node, "t");
    let reassign = |topic: &'static str, index, replicas: Option<Vec<i32>>| {
        let request = AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic {
                name: topic.into(),
                partitions: vec![ReassignablePartition {
                    partition_index: index,
                    replicas,
                }],
            }],
            ..Default::default()
        };
        let answer = call(&node, &request, 1);
        (
            answer.error_code,
            answer.responses[0].partitions[0].error_code,
        )
    };
    assert_eq!(reassign("t", 0, Some(vec![1])), (0, 0));
    assert_eq!(reassign("t", 0, None), (0, 85));
    assert_eq!(reassign("t", 0, Some(vec![2])), (0, 39));
    assert_eq!(reassign("t", 0, Some(vec![])), (0, 39));
    assert_eq!(reassign("t", 9, Some(vec![1])), (0, 3));
    assert_eq!(reassign("absent", 0, Some(vec![1])), (0, 3));
    let listed = call(&node, &ListPartitionReassignmentsRequest::default(), 0);
    assert!(listed.error_code == NONE && listed.topics.is_empty());
}

fn update(node: &Node, feature: &'static str, level: i16, kind: i8, dry: bool) -> (i16, String) {
    let request = UpdateFeaturesRequest {
        feature_updates: vec![FeatureUpdateKey {
            feature: feature.into(),
            max_version_level: level,
            upgrade_type: kind,
            ..Default::default()
        }],
        validate_only: dry,
        ..Default::default()
    };
    let answer = call(node, &request, 2);
    (
        answer.error_code,
        answer.error_message.as_deref().unwrap_or("").to_owned(),
    )
}

fn level(node: &Node, feature: &str) -> i16 {
    let request = ApiVersionsRequest {
        client_software_name: "t".into(),
        client_software_version: "1".into(),
    };
    let finalized = call(node, &request, 4).finalized_features;
    let found = finalized.iter().find(|one| *one.name == *feature);
    found.map_or(0, |one| one.max_version_level)
}

/// Formats at an older level, as a directory of an older broker is.
fn at_level(release: &str) -> Node {
    let mut node = Node::prepared(&[]);
    let settings = node.directory.path().join("server.properties");
    let text = format!(
        "node.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{}\nlog.dirs={}\n",
        node.port,
        node.controller_port,
        node.controller_port,
        node.data().display()
    );
    std::fs::write(&settings, text).unwrap();
    let mut format = ottla();
    format.args([
        "format",
        "--standalone",
        "--release-version",
        release,
        "--cluster-id",
        "MkU3OEVBNTcwNTJENDM2Qg",
        "--config",
    ]);
    let (code, out, err) = run(format.arg(&settings));
    assert_eq!(code, 0, "{out}{err}");
    node.restart();
    node
}

const UPGRADE: i8 = 1;
const SAFE: i8 = 2;
const UNSAFE: i8 = 3;

#[test]
fn a_directory_of_an_older_level_is_raised_and_serves_on() {
    let mut node = at_level("3.9");
    create(&node, "before");
    assert_eq!(level(&node, "metadata.version"), 21);
    assert_eq!(update(&node, "metadata.version", 30, UPGRADE, true).0, NONE);
    assert_eq!(level(&node, "metadata.version"), 21, "it was only asked");
    assert_eq!(
        update(&node, "metadata.version", 30, UPGRADE, false).0,
        NONE
    );
    assert_eq!(level(&node, "metadata.version"), 30);
    for (feature, to) in [
        ("group.version", 1),
        ("transaction.version", 2),
        ("eligible.leader.replicas.version", 1),
    ] {
        assert_eq!(
            update(&node, feature, to, UPGRADE, false),
            (NONE, String::new()),
            "{feature}"
        );
        assert_eq!(level(&node, feature), to);
    }
    create(&node, "after");
    node.kill();
    node.restart();
    assert_eq!(level(&node, "metadata.version"), 30);
    assert_eq!(elect(&node, 0, "before", 0), (0, 84), "it is led");
    assert_eq!(elect(&node, 0, "after", 0), (0, 84));
}

#[test]
fn levels_fall_where_nothing_is_lost() {
    let node = Node::start(&[]);
    let begun = level(&node, "metadata.version");
    assert_eq!(begun, 30);
    for (kind, words) in [
        (
            UPGRADE,
            "Can't downgrade the version of this feature without setting the upgrade type",
        ),
        (
            SAFE,
            "Refusing to perform the requested downgrade because it might delete metadata",
        ),
        (
            UNSAFE,
            "Unsafe metadata downgrade is not supported in this version.",
        ),
    ] {
        let (code, told) = update(&node, "metadata.version", 29, kind, false);
        assert!(code == 95 && told.contains(words), "{code} {told}");
    }
    assert_eq!(level(&node, "group.version"), 1);
    assert_eq!(update(&node, "group.version", 0, SAFE, false).0, NONE);
    assert_eq!(level(&node, "group.version"), 0);
    for (feature, to, kind) in [
        ("metadata.version", 99, UPGRADE),
        ("group.version", -1, SAFE),
        ("group.version", 1, 7),
        ("absent", 1, UPGRADE),
    ] {
        assert_eq!(update(&node, feature, to, kind, false).0, 95, "{feature}");
    }
}

/// From the first level that Kafka 4 opens: its registrations have no directories, and no controllers.
#[test]
fn the_oldest_level_is_raised_too() {
    let mut node = at_level("3.3-IV3");
    create(&node, "t");
    assert_eq!(
        update(&node, "metadata.version", 30, UPGRADE, false).0,
        NONE
    );
    node.wait_until("registers again", || {
        node.log_text()
            .contains("registered again at metadata.version 4.3-IV0")
    });
    create(&node, "u");
    node.kill();
    node.restart();
    for topic in ["t", "u"] {
        assert_eq!(elect(&node, 0, topic, 1), (0, 84), "{topic} is led");
    }
}

#[test]
fn a_broker_is_forgotten_and_comes_back_with_its_next_start() {
    let mut node = Node::start(&[]);
    create(&node, "t");
    let unregister = |node: &Node, broker_id| {
        let request = UnregisterBrokerRequest { broker_id };
        call(node, &request, 0).error_code
    };
    for id in [0, 2, -1, i32::MIN, i32::MAX] {
        assert_eq!(unregister(&node, id), 102, "{id}");
    }
    assert_eq!(unregister(&node, 1), NONE);
    assert_eq!(unregister(&node, 1), 102);
    assert!(node.log_text().contains("this broker was unregistered"));
    node.kill();
    node.restart();
    assert_eq!(elect(&node, 0, "t", 0), (0, 84), "it leads again");
    assert_eq!(elect(&node, 0, "t", 1), (0, 84));
}

/// Apache's own tools, with what they print for their own broker.
#[test]
#[ignore = "needs KAFKA_HOME"]
fn kafkas_tools_move_elect_and_raise() {
    let mut node = Node::prepared(&[]);
    let dir = |name: &str| node.directory.path().join(name).display().to_string();
    let (a, b) = (dir("a"), dir("b"));
    node.set(&format!("log.dirs={a},{b}"));
    node.restart();
    create(&node, "t");
    let tool = |name: &str, arguments: &[&str]| {
        let (code, out, err) = run(node.kafkas_script(name).args(arguments));
        (code, format!("{out}{err}"))
    };
    let plan = |name: &str, text: &str| {
        let path = node.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let line = |dir: &str| {
        format!(
            "{{\"version\":1,\"partitions\":[{{\"topic\":\"t\",\"partition\":0,\"replicas\":[1],\"log_dirs\":[\"{dir}\"]}}]}}"
        )
    };
    let move_to = |target: &str| {
        let file = plan("plan.json", &line(target));
        let (code, out) = tool(
            "kafka-reassign-partitions.sh",
            &["--execute", "--reassignment-json-file", &file],
        );
        assert!(
            code == 0 && out.contains("Successfully started partition reassignment for t-0"),
            "{out}"
        );
        node.wait_until("moves the replica", || {
            let (_, out) = tool(
                "kafka-reassign-partitions.sh",
                &["--verify", "--reassignment-json-file", &file],
            );
            out.contains("Reassignment of partition t-0 is completed.")
                && out.contains("Reassignment of replica t-0-1 completed successfully.")
        });
    };
    move_to(&b);
    move_to(&a);
    let file = plan(
        "cancel.json",
        "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"replicas\":[1]}]}",
    );
    let (code, out) = tool(
        "kafka-reassign-partitions.sh",
        &["--cancel", "--reassignment-json-file", &file],
    );
    assert!(
        code == 0 && out.contains("None of the specified partition reassignments are active."),
        "{out}"
    );
    let (code, out) = tool("kafka-reassign-partitions.sh", &["--list"]);
    assert!(
        code == 0 && out.contains("No partition reassignments found."),
        "{out}"
    );
    let (code, out) = tool(
        "kafka-leader-election.sh",
        &[
            "--election-type",
            "preferred",
            "--topic",
            "t",
            "--partition",
            "0",
        ],
    );
    assert!(
        code == 0 && out.contains("Valid replica already elected for partitions t-0"),
        "{out}"
    );
    let (_, out) = tool(
        "kafka-leader-election.sh",
        &["--election-type", "unclean", "--all-topic-partitions"],
    );
    assert!(!out.contains("Error"), "{out}");
    let (code, out) = tool("kafka-features.sh", &["describe"]);
    assert!(
        code == 0 && out.contains("FinalizedVersionLevel: 4.3-IV0"),
        "{out}"
    );
    let (code, out) = tool(
        "kafka-features.sh",
        &["downgrade", "--feature", "group.version=0"],
    );
    assert!(
        code == 0 && out.contains("group.version was downgraded to 0."),
        "{out}"
    );
    let (code, out) = tool(
        "kafka-features.sh",
        &["upgrade", "--feature", "group.version=1"],
    );
    assert!(
        code == 0 && out.contains("group.version was upgraded to 1."),
        "{out}"
    );
    let (code, out) = tool(
        "kafka-features.sh",
        &["disable", "--feature", "share.version"],
    );
    assert!(
        code == 0 && out.contains("share.version was disabled."),
        "{out}"
    );
    let (code, out) = tool("kafka-features.sh", &["downgrade", "--metadata", "3.7"]);
    assert!(
        code != 0 && out.contains("Refusing to perform the requested downgrade"),
        "{out}"
    );
}

//! Data directories that a node must not touch, and disks that are full: one clear sentence each.

#![allow(
    clippy::disallowed_methods,
    reason = "a test waits for another process"
)]

mod harness;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::{Node, PATIENCE, run};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::{
    FetchPartition, FetchRequest, FetchTopic, PartitionProduceData, ProduceRequest,
    TopicProduceData,
};
use ottla_protocol::{NONE, Refusal, Request};

/// Runs `ottla server`, which must refuse; what it says.
fn refused(node: &Node, settings: &[&str]) -> String {
    let mut command = node.command();
    for setting in settings {
        command.args(["--override", setting]);
    }
    let (code, _, said) = run(&mut command);
    assert_eq!(code, 1, "{said}");
    let last = said.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("ottla: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    last
}

/// A directory with a node's life in it, at rest.
fn used() -> Node {
    let mut node = Node::start(&["auto.create.topics.enable=true"]);
    assert!(node.stop().success());
    node
}

#[test]
fn a_directory_in_use_is_locked() {
    let node = Node::start(&[]);
    let other = Node::prepared(&[]);
    let data = format!("log.dirs={}", node.data().display());
    let said = refused(&other, &[&data]);
    assert!(said.contains("is locked"), "{said}");
}

#[test]
fn a_directory_of_another_node_or_cluster_is_left_alone() {
    let node = used();
    let said = refused(&node, &["node.id=7"]);
    assert!(
        said.contains("belongs to node 1") && said.contains("node 7"),
        "{said}"
    );
    let other = used();
    let both = format!(
        "log.dirs={},{}",
        node.data().display(),
        other.data().display()
    );
    let said = refused(&node, &[&both]);
    assert!(said.contains("cluster"), "{said}");
}

#[test]
fn a_newer_format_is_refused_in_one_sentence() {
    let node = used();
    let meta = node.data().join("meta.properties");
    let text = fs::read_to_string(&meta)
        .unwrap()
        .replace("version=1", "version=9");
    fs::write(&meta, text).unwrap();
    let said = refused(&node, &[]);
    assert!(
        said.contains("meta.properties") && said.contains('9'),
        "{said}"
    );
}

#[test]
fn a_directory_that_is_not_empty_is_not_formatted() {
    let node = Node::prepared(&[]);
    fs::create_dir_all(node.data()).unwrap();
    fs::write(node.data().join("mine.txt"), "mine").unwrap();
    let said = refused(&node, &[]);
    assert!(said.contains("mine.txt"), "{said}");
    assert_eq!(
        harness::files_below(&node.data()).len(),
        1,
        "nothing was added"
    );
}

#[test]
fn a_setting_that_cannot_be_is_told_with_its_place() {
    let node = Node::prepared(&[]);
    let file = node.directory.path().join("server.properties");
    fs::write(
        &file,
        "process.roles=broker,controller\nnum.partitions=none\nnode.id=1\ncontroller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://:0,CONTROLLER://:0\n",
    )
    .unwrap();
    let (code, _, said) = run(harness::ottla().arg("server").arg(&file));
    assert_eq!(code, 1);
    for word in ["server.properties", "line 2", "num.partitions", "none"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    let said = refused(
        &node,
        &["listeners=SSL://127.0.0.1:0,CONTROLLER://127.0.0.1:0"],
    );
    assert!(said.contains("SSL"), "{said}");
}

#[test]
fn a_busy_port_is_told() {
    let node = Node::start(&[]);
    let other = Node::prepared(&[]);
    let busy = format!(
        "listeners=PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}",
        node.port, other.controller_port
    );
    let said = refused(&other, &[&busy]);
    assert!(
        said.contains("in use") && said.contains(&node.port.to_string()),
        "{said}"
    );
}

/// The command as somebody who is not root. Only root can become somebody else.
fn as_nobody(command: &Command) -> Command {
    let mut unprivileged = Command::new("setpriv");
    unprivileged.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    unprivileged
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        unprivileged.current_dir(directory);
    }
    unprivileged
}

#[test]
fn a_directory_that_cannot_be_read_or_belongs_to_somebody_else_is_told() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this case needs root, to become somebody who may not read"
    );
    let node = used();
    open_to_all(node.directory.path());
    // The binary must be reachable for the other user.
    let binary = node.directory.path().join("ottla");
    fs::copy(env!("CARGO_BIN_EXE_ottla"), &binary).unwrap();
    let command = |node: &Node| {
        let mut command = Command::new(&binary);
        command
            .args(node.command().get_args())
            .current_dir(node.directory.path());
        as_nobody(&command)
    };
    fs::set_permissions(node.data(), fs::Permissions::from_mode(0o700)).unwrap();
    let (code, _, said) = run(&mut command(&node));
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("ermission denied") && !said.contains("panicked"),
        "{said}"
    );
    // Readable, but of another owner: nothing can be locked or written there.
    fs::set_permissions(node.data(), fs::Permissions::from_mode(0o755)).unwrap();
    let (code, _, said) = run(&mut command(&node));
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("ermission denied") && !said.contains("panicked"),
        "{said}"
    );
    for path in harness::files_below(&node.data()) {
        chown(&path, Some(0), Some(0)).unwrap();
    }
}

fn open_to_all(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A small file system, unmounted at the end.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(path)
            .status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "this case needs root, to mount a small file system at {}",
            path.display()
        );
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn call<R: Request>(node: &Node, request: &R, version: i16) -> R::Response {
    let mut stream = node.connect();
    let frame = request_frame(request, version, 1, Some("t".into())).unwrap();
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    decode_response::<R::Response>(Bytes::from(answer), version)
        .unwrap()
        .1
}

fn produce(node: &Node) -> Option<Refusal> {
    let mut builder = BatchBuilder::data(Codec::None);
    builder.push(1, None, Some(&[7; 100_000]));
    let partition_data = vec![PartitionProduceData {
        index: 0,
        records: Some(builder.finish()),
    }];
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: "full".into(),
            partition_data,
            ..Default::default()
        }],
        ..Default::default()
    };
    Refusal::from_code(call(node, &request, 9).responses[0].partition_responses[0].error_code)
}

fn readable_bytes(node: &Node) -> usize {
    let partition = FetchPartition {
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let request = FetchRequest {
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: "full".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = call(node, &request, 12);
    let data = &answer.responses[0].partitions[0];
    assert_eq!(data.error_code, NONE);
    data.records.as_ref().map_or(0, Bytes::len)
}

#[test]
fn a_full_disk_is_an_error_and_no_more_once_there_is_room() {
    let mut node = Node::prepared(&[
        "log.segment.bytes=1048576",
        "offsets.topic.num.partitions=1",
    ]);
    let disk = SmallDisk::mount(&node.data(), "32m");
    node.restart();
    let filler = node.data().join("filler");
    fs::write(&filler, vec![0; 12 << 20]).unwrap();
    let metadata = ottla_protocol::messages::MetadataRequest {
        topics: Some(vec![ottla_protocol::messages::MetadataRequestTopic {
            name: Some("full".into()),
            ..Default::default()
        }]),
        ..Default::default()
    };
    call(&node, &metadata, 4);
    node.wait_until("has the topic", || produce(&node).is_none());
    let deadline = Instant::now() + PATIENCE;
    let refusal = loop {
        assert!(Instant::now() < deadline, "the disk never became full");
        if let Some(refusal) = produce(&node) {
            break refusal;
        }
    };
    assert_eq!(refusal, Refusal::KafkaStorageError);
    assert!(readable_bytes(&node) > 100_000, "what is there can be read");
    std::thread::sleep(Duration::from_secs(2));
    assert!(node.is_running(), "{}", node.log_text());
    fs::remove_file(&filler).unwrap();
    node.wait_until("takes records again", || produce(&node).is_none());
    assert!(readable_bytes(&node) > 100_000);
    assert!(!node.log_text().contains("panicked"), "{}", node.log_text());
    node.kill();
    drop(disk);
}

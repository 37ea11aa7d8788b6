//! A node without doors: it starts, leads, appends, flushes, stops, crashes, and starts again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinators::{GroupDecision, GroupLedger, GroupReply, Now};
use ottla_metadata::config::{BrokerConfig, Overrides};
use ottla_metadata::controller::{NewTopic, Unmetered};
use ottla_metadata::image::Endpoint;
use ottla_node::{
    Acknowledgement, BrokerState, Disk, DiskCall, DiskFaults, DiskVerdict, GroupTopics, Node, Pace,
    Page, Partition, Start, StartFailed, Verified, auto_format, create_group_topic, random_uuid,
};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::{
    DeletableGroupResult, OffsetCommitRequest, OffsetCommitRequestPartition,
    OffsetCommitRequestTopic, OffsetCommitResponse,
};
use ottla_protocol::{Refusal, Text, Uuid};
use tokio::runtime::{Handle, Runtime};

mod moving;

fn config(directory: &Path, more: &[(&str, &str)]) -> BrokerConfig {
    let data = directory.join("data").display().to_string();
    let mut settings: Overrides = [
        ("node.id", "1"),
        ("process.roles", "broker,controller"),
        (
            "listeners",
            "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
        ),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.bootstrap.servers", "127.0.0.1:9093"),
        ("log.dirs", &data),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    settings.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    BrokerConfig::new(settings)
}

async fn start(config: &BrokerConfig) -> Node {
    let node = try_start(config).await.unwrap();
    node.services().logs_opened().await;
    node
}

async fn try_start(config: &BrokerConfig) -> Result<Node, StartFailed> {
    start_on(config, Disk::new()).await
}

async fn start_on(config: &BrokerConfig, disk: Disk) -> Result<Node, StartFailed> {
    let settings = config.node_settings().unwrap();
    if let Some(format) = auto_format(&settings, None, &[], &disk, random_uuid).unwrap() {
        format.run(&disk, 0, random_uuid).unwrap();
    }
    let endpoints = vec![Endpoint {
        listener: Arc::from("PLAINTEXT"),
        host: Arc::from("127.0.0.1"),
        port: 9092,
        security_protocol: 0,
    }];
    let start = Start {
        config: config.clone(),
        disk,
        descriptors: ottla_node::Descriptors::UNLIMITED,
        endpoints,
        control: Handle::current(),
        data: Handle::current(),
    };
    Node::start(start).await
}

async fn create(node: &Node, name: &str) {
    let topic = NewTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let made = node
        .services()
        .create_topics(vec![topic], false)
        .await
        .unwrap();
    assert!(made[0].1.is_ok(), "{made:?}");
}

fn batch(value: &str) -> Bytes {
    let mut builder = BatchBuilder::data(Codec::None);
    builder.push(1, None, Some(value.as_bytes()));
    builder.finish()
}

async fn acknowledged(partition: &Partition, end: i64) {
    for _ in 0..1000 {
        if partition.acknowledgement(end) == Acknowledgement::Done {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never acknowledged up to {end}");
}

async fn append(node: &Node, topic: &str, n: i64) {
    let partition = node.services().partitions().leader_of(topic, 0).unwrap();
    let first = partition.view().end();
    for index in 0..n {
        let appended = partition
            .append(&batch(&index.to_string()), -1, true, Verified::NotAsked)
            .unwrap();
        assert_eq!(appended.base_offset, first + index);
    }
    acknowledged(&partition, first + n).await;
}

/// As `cp -r`, of a directory that is in use: what goes away meanwhile (a file that was about to take
/// another's place) is left out, as a crash would have it.
fn copy(from: &Path, to: &Path) {
    let name = from.file_name().unwrap();
    let to = &(if to.is_dir() {
        to.join(name)
    } else {
        to.to_owned()
    });
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else if let Err(error) = std::fs::copy(&from, &to) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{from:?}");
        }
    }
}

/// How many entries of a directory have names that end like this.
fn names(directory: &Path, end: &str) -> usize {
    let entries = std::fs::read_dir(directory).unwrap();
    entries
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().ends_with(end)
        })
        .count()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn what_was_acknowledged_is_there_after_a_stop_and_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    let first = runtime();
    first.block_on(async {
        let node = start(&config).await;
        create(&node, "t").await;
        append(&node, "t", 3).await;
        node.stop().await.unwrap();
    });
    let clean = directory.path().join("data/.kafka_cleanshutdown");
    assert!(clean.exists());
    let second = runtime();
    let id = second.block_on(async {
        let node = start(&config).await;
        assert!(!clean.exists(), "the sign of a clean stop is used up");
        let partition = node.services().partitions().leader_of("t", 0).unwrap();
        assert_eq!((partition.view().start(), partition.view().end()), (0, 3));
        append(&node, "t", 2).await;
        assert_eq!(partition.delete_records(Some(1)), Ok(1));
        let partitions = node.services().partitions();
        partitions
            .write_starts(std::slice::from_ref(&partition))
            .unwrap();
        let id = partition.topic_id();
        // A crash: nothing is closed. The locks go with the handles.
        std::mem::forget(node);
        id
    });
    second.shutdown_background();
    let copy = tempfile::tempdir().unwrap();
    self::copy(&directory.path().join("data"), copy.path());
    let config = self::config(copy.path(), &[]);
    runtime().block_on(async {
        let node = start(&config).await;
        let partition = node.services().partitions().leader_of("t", 0).unwrap();
        assert_eq!((partition.view().start(), partition.view().end()), (1, 5));
        assert_eq!(partition.topic_id(), id);
        acknowledged(&partition, 5).await;
        append(&node, "t", 1).await;
        node.stop().await.unwrap();
    });
}

#[test]
fn a_controller_is_waited_for_as_long_as_the_setting_says() {
    let no_patience = [("initial.broker.registration.timeout.ms", "0")];
    // On a busy machine it may be active before anybody looks.
    let tried = (0..10).find_map(|_| {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), &no_patience);
        let runtime = runtime();
        let started = runtime.block_on(try_start(&config));
        runtime.shutdown_background();
        started.err()
    });
    let why = tried.expect("no controller is active at once");
    let setting = "initial.broker.registration.timeout.ms=0";
    assert!(why.to_string().contains(setting), "{why}");
}

#[test]
fn dynamic_settings_and_deleted_topics_outlive_a_restart() {
    use ottla_metadata::config::{ConfigChange, ConfigOperation};
    use ottla_metadata::controller::{ConfigAlteration, DeleteTarget};
    use ottla_metadata::image::Resource;
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    runtime().block_on(async {
        let node = start(&config).await;
        create(&node, "keep").await;
        create(&node, "drop").await;
        append(&node, "drop", 1).await;
        let services = node.services().clone();
        let rules = services.config();
        let alteration = ConfigAlteration {
            resource: Resource::cluster(),
            changes: vec![ConfigChange {
                name: "log.segment.bytes".to_owned(),
                operation: ConfigOperation::Set,
                value: Some("2000000".to_owned()),
            }],
        };
        let altered = services
            .controller()
            .decide(move |ledger, _| ledger.incremental_alter_configs(&[alteration], false, &rules))
            .await
            .unwrap();
        assert!(altered[0].is_ok(), "{altered:?}");
        let held = services.partitions().leader_of("drop", 0).unwrap();
        assert_eq!(held.append_fault(), None);
        let data = directory.path().join("data");
        let (there, aside) = (data.join("drop-0"), directory.path().join("aside"));
        copy(&there, &aside);
        let dropped = services
            .controller()
            .decide(|ledger, _| {
                ledger.delete_topics(&[DeleteTarget::Name("drop".to_owned())], &mut Unmetered)
            })
            .await
            .unwrap();
        assert!(dropped[0].outcome.is_ok());
        assert!(services.partitions().find("drop", 0).is_err());
        assert_eq!(held.append_fault(), Some(Refusal::NotLeaderOrFollower));
        assert_eq!(names(&data, "-delete"), 1, "it is unlinked later");
        drop((held, services));
        node.stop().await.unwrap();
        // As if the node had been killed between the decision and the renaming.
        copy(&aside, &there);
        let node = start(&config).await;
        let services = node.services();
        assert_eq!(
            services.config().value("log.segment.bytes").as_deref(),
            Some("2000000")
        );
        assert!(services.partitions().leader_of("keep", 0).is_ok());
        assert!(services.partitions().find("drop", 0).is_err());
        // As in Kafka: what nobody knows is set aside and kept, what was on its way out goes.
        assert!(!there.exists());
        assert_eq!(names(&data, "-stray"), 1);
        for _ in 0..1000 {
            if names(&data, "-delete") == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(names(&data, "-delete"), 0);
        node.stop().await.unwrap();
        assert_eq!(names(&data, "-stray"), 1);
    });
}

#[test]
fn a_refusal_tells_where_the_log_starts_unless_it_is_not_about_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    runtime().block_on(async {
        let node = start(&config).await;
        create(&node, "t").await;
        let partition = node.services().partitions().leader_of("t", 0).unwrap();
        let numbered = |sequence| {
            let mut builder = BatchBuilder::data(Codec::None).producer(7, 0, sequence);
            builder.push(1, None, Some(b"v"));
            builder.finish()
        };
        assert!(
            partition
                .append(&numbered(0), 1, true, Verified::NotAsked)
                .is_ok()
        );
        let gap = partition
            .append(&numbered(5), 1, true, Verified::NotAsked)
            .unwrap_err();
        assert_eq!((gap.refused.refusal.code(), gap.log_start), (45, 0));
        let mut damaged = numbered(1).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let damaged = partition
            .append(&damaged.into(), 1, true, Verified::NotAsked)
            .unwrap_err();
        assert_eq!((damaged.refused.refusal.code(), damaged.log_start), (2, -1));
        node.stop().await.unwrap();
    });
}

struct OneTopic(Uuid);

impl GroupTopics for OneTopic {
    fn id(&self, name: &str) -> Option<Uuid> {
        (name == "t").then_some(self.0)
    }

    fn name(&self, id: Uuid) -> Option<Text> {
        (id == self.0).then(|| Text::from_static("t"))
    }

    fn has_partition(&self, name: &str, partition: i32) -> bool {
        name == "t" && partition == 0
    }
}

fn commit(offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: Text::from_static("g"),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: Text::from_static("t"),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Asks the coordinator of group `g` until there is one.
async fn ask<R: TryFrom<GroupReply>>(
    node: &Node,
    ask: impl Fn(&mut GroupLedger, Now) -> GroupDecision + Clone + Send + 'static,
) -> R {
    for _ in 0..1000 {
        match node
            .services()
            .groups()
            .decide("g", Pace::InLine, ask.clone())
            .await
        {
            Ok(reply) => return reply,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    panic!("no coordinator");
}

/// All groups in one partition; `g` has committed 7 in topic `t`, whose id is told.
async fn start_with_a_group(directory: &Path) -> (Node, Uuid) {
    let few = [
        ("offsets.topic.num.partitions", "1"),
        ("offsets.topic.replication.factor", "1"),
    ];
    let node = start(&config(directory, &few)).await;
    create(&node, "t").await;
    create_group_topic(node.services()).await.unwrap();
    let image = node.services().image();
    let id = image.topics.find("t").map(|topic| topic.id).unwrap();
    let committed: OffsetCommitResponse = ask(&node, move |ledger, now| {
        ledger.commit_offsets(&commit(7), 8, &OneTopic(id), now)
    })
    .await;
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    (node, id)
}

#[test]
fn groups_that_contradict_themselves_are_loaded_again() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (node, id) = start_with_a_group(directory.path()).await;
        let groups = node.services().groups();
        let panicked: Result<OffsetCommitResponse, Refusal> = groups
            .decide("g", Pace::InLine, |_, _| panic!("on purpose"))
            .await;
        assert_eq!(panicked, Err(Refusal::NotCoordinator));
        // Until the groups are there again the coordinator is not; then it knows what it knew.
        let again: OffsetCommitResponse = ask(&node, move |ledger, now| {
            let described = ledger.describe_group("g", 6).reply;
            assert_eq!(&*described.group_state, "Empty");
            ledger.commit_offsets(&commit(8), 8, &OneTopic(id), now)
        })
        .await;
        assert_eq!(again.topics[0].partitions[0].error_code, 0);
        node.stop().await.unwrap();
    });
}

#[test]
fn who_deletes_several_groups_sees_what_was_asked_before() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (node, id) = start_with_a_group(directory.path()).await;
        let groups = node.services().groups();
        for round in 0..200 {
            let other = Text::from(format!("other-{round}"));
            let request = OffsetCommitRequest {
                group_id: other.clone(),
                ..commit(round)
            };
            let commits = groups.decide::<OffsetCommitResponse>(&other, Pace::InLine, {
                move |ledger, now| ledger.commit_offsets(&request, 8, &OneTopic(id), now)
            });
            let both = [Text::from_static("g"), other.clone()];
            let deletes = groups.decide_on_several::<Vec<DeletableGroupResult>>("g", {
                move |ledger, now| ledger.delete_groups(&both, now)
            });
            let (committed, deleted) = tokio::join!(commits, deletes);
            assert_eq!(committed.unwrap().topics[0].partitions[0].error_code, 0);
            assert_eq!(deleted.unwrap()[1].error_code, 0, "round {round}");
        }
        node.stop().await.unwrap();
    });
}

/// Holds up who opens the log of a partition, until it is told not to.
#[derive(Default)]
struct Gate {
    is_shut: std::sync::Mutex<bool>,
    opened: std::sync::Condvar,
}

impl Gate {
    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.opened.notify_all();
    }
}

impl DiskFaults for Gate {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let is_held = ["slow-0/", "gone-0/", "__consumer_offsets-"]
            .iter()
            .any(|name| path.to_string_lossy().contains(name));
        if is_held && call == DiskCall::Read && path.ends_with("partition.metadata") {
            let mut is_shut = self.is_shut.lock().unwrap();
            while *is_shut {
                is_shut = self.opened.wait(is_shut).unwrap();
            }
        }
        DiskVerdict::Proceed
    }
}

#[test]
fn the_node_serves_while_its_logs_are_being_opened() {
    use ottla_metadata::controller::DeleteTarget;
    use ottla_protocol::Refusal;
    let directory = tempfile::tempdir().unwrap();
    // One thread would stand at the first log that is held up.
    let threads = ("num.recovery.threads.per.data.dir", "60");
    let alone = ("offsets.topic.replication.factor", "1");
    let config = config(directory.path(), &[threads, alone]);
    let gate = Arc::new(Gate::default());
    let disk = || Disk::breakable(gate.clone() as Arc<dyn DiskFaults>);
    let first = runtime();
    first.block_on(async {
        let node = start(&config).await;
        for topic in ["slow", "gone", "quick"] {
            create(&node, topic).await;
            append(&node, topic, 3).await;
        }
        create_group_topic(node.services()).await.unwrap();
        node.stop().await.unwrap();
    });
    gate.set(true);
    runtime().block_on(async {
        let node = start_on(&config, disk()).await.unwrap();
        let services = node.services().clone();
        services.enter_running();
        assert_eq!(services.state(), BrokerState::Recovery);
        let why = services.not_ready().unwrap();
        assert!(why.contains("of 53 are open"), "{why}");
        append(&node, "quick", 1).await;
        let refused = services.leader_of("slow", 0).err();
        assert_eq!(refused, Some(Refusal::NotLeaderOrFollower));
        let looked = services
            .groups()
            .look_everywhere(|ledger, _| ledger.list_groups(&Default::default()));
        assert_eq!(looked.await.err(), Some(Refusal::CoordinatorLoadInProgress));
        assert!(
            services.groups().is_seated("g"),
            "it is to be asked again here"
        );
        // The metadata changes meanwhile: nothing is made where a log is waited for.
        create(&node, "new").await;
        append(&node, "new", 1).await;
        let gone = services.image().topics.find("gone").unwrap().id;
        let deleted = services
            .controller()
            .decide(move |ledger, _| {
                ledger.delete_topics(&[DeleteTarget::Id(gone)], &mut Unmetered)
            })
            .await
            .unwrap();
        assert!(deleted[0].outcome.is_ok(), "{deleted:?}");
        create(&node, "gone").await;
        gate.set(false);
        services.logs_opened().await;
        assert_eq!(services.not_ready(), None);
        append(&node, "slow", 1).await;
        let slow = services.leader_of("slow", 0).unwrap();
        assert_eq!(slow.view().end(), 4);
        let anew = services.leader_of("gone", 0).unwrap();
        assert_eq!(anew.view().end(), 0, "another topic of the same name");
        append(&node, "gone", 1).await;
        node.stop().await.unwrap();
    });
    let names: Vec<String> = std::fs::read_dir(directory.path().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !names.iter().any(|name| name.ends_with("-stray")),
        "{names:?}"
    );
}

#[test]
fn a_node_that_is_stopped_while_it_opens_its_logs_forgets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    let gate = Arc::new(Gate::default());
    runtime().block_on(async {
        let node = start(&config).await;
        create(&node, "slow").await;
        append(&node, "slow", 5).await;
        let slow = node.services().leader_of("slow", 0).unwrap();
        assert_eq!(slow.delete_records(Some(2)), Ok(2));
        node.stop().await.unwrap();
    });
    gate.set(true);
    runtime().block_on(async {
        let disk = Disk::breakable(gate.clone() as Arc<dyn DiskFaults>);
        let node = start_on(&config, disk).await.unwrap();
        let release = gate.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            release.set(false);
        });
        node.stop().await.unwrap();
    });
    runtime().block_on(async {
        let node = start(&config).await;
        let slow = node.services().leader_of("slow", 0).unwrap();
        assert_eq!((slow.view().start(), slow.view().end()), (2, 5));
        node.stop().await.unwrap();
    });
}

/// Keeps the records of a partition from being flushed, until it is told not to.
#[derive(Default)]
struct Unflushed {
    is_held: std::sync::Mutex<bool>,
    released: std::sync::Condvar,
}

impl Unflushed {
    fn set(&self, is_held: bool) {
        *self.is_held.lock().unwrap() = is_held;
        self.released.notify_all();
    }
}

impl DiskFaults for Unflushed {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        if call == DiskCall::Sync && path.to_string_lossy().contains("t-0/") {
            let mut is_held = self.is_held.lock().unwrap();
            while *is_held {
                is_held = self.released.wait(is_held).unwrap();
            }
        }
        DiskVerdict::Proceed
    }
}

#[test]
fn a_high_watermark_that_was_checkpointed_outlives_a_crash_and_what_follows() {
    let often = ("replica.high.watermark.checkpoint.interval.ms", "10");
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[often]);
    let line = |directory: &Path| {
        let path = directory.join("data/replication-offset-checkpoint");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("t 0 "));
        line.map(str::to_owned)
    };
    let first = runtime();
    first.block_on(async {
        let node = start(&config).await;
        create(&node, "t").await;
        append(&node, "t", 5).await;
        while line(directory.path()).as_deref() != Some("t 0 5") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::mem::forget(node);
    });
    first.shutdown_background();
    let copy = tempfile::tempdir().unwrap();
    self::copy(&directory.path().join("data"), copy.path());
    let config = self::config(copy.path(), &[often]);
    let unflushed = Arc::new(Unflushed::default());
    unflushed.set(true);
    runtime().block_on(async {
        let disk = Disk::breakable(unflushed.clone() as Arc<dyn DiskFaults>);
        let node = start_on(&config, disk).await.unwrap();
        node.services().logs_opened().await;
        let t = node.services().leader_of("t", 0).unwrap();
        assert_eq!(t.high_watermark(), 0, "nothing is known to be flushed");
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(line(copy.path()).as_deref(), Some("t 0 5"));
        }
        unflushed.set(false);
        acknowledged(&t, 5).await;
        node.stop().await.unwrap();
    });
    assert_eq!(line(copy.path()).as_deref(), Some("t 0 5"));
}

/// A batch of a MiB, less what it needs around it.
fn large_batch() -> Bytes {
    let mut builder = BatchBuilder::data(Codec::None);
    builder.push(1, None, Some(&vec![b'x'; (1 << 20) - 1000]));
    builder.finish()
}

/// What a metric shows, summed over its labels.
fn metric(node: &Node, name: &str) -> f64 {
    let mut page = Page::default();
    node.services().write_samples(&mut page);
    node.services().metrics().write(&mut page, |_| None);
    let text = page.text();
    let samples = text.lines().filter_map(|line| {
        let (label, value) = line.rsplit_once(' ')?;
        (label.split('{').next() == Some(name)).then(|| value.parse::<f64>().unwrap())
    });
    samples.sum()
}

/// Writes eight MiB.
async fn fill(node: &Node, topic: &str) {
    let partition = node.services().partitions().leader_of(topic, 0).unwrap();
    let end = partition.view().end() + 8;
    while partition.view().end() < end {
        let batch = large_batch();
        let appended = partition.append(&batch, -1, true, Verified::NotAsked);
        appended.unwrap();
    }
    acknowledged(&partition, end).await;
}

const RESERVED: &str = "ottla_preallocated_bytes";
const RESERVATIONS: &str = "ottla_preallocation_duration_ms_count";

/// Whether the metric comes to be so before long.
async fn becomes(node: &Node, name: &str, is_so: impl Fn(f64) -> bool) -> bool {
    for _ in 0..2000 {
        if is_so(metric(node, name)) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

/// Whether files on the disk of this test can have room reserved behind their end.
async fn has_room_reserved(node: &Node) -> bool {
    assert!(
        becomes(node, RESERVATIONS, |n| n > 0.0).await,
        "nothing was tried"
    );
    // What was reserved is counted a moment later.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let has = metric(node, RESERVED) > 0.0;
    if !has {
        eprintln!("no room can be reserved among this machine's temporary files");
    }
    has
}

/// Bytes that the blocks of a partition's first segment hold behind its end.
fn n_bytes_behind(directory: &Path, partition: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let path = directory.join(format!("data/{partition}/00000000000000000000.log"));
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.blocks() * 512).saturating_sub(metadata.len())
}

#[test]
fn room_is_reserved_ahead_of_a_busy_partition_and_comes_back() {
    const MIB: u64 = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[("ottla.preallocate.bytes", "4194304")]);
    let behind = |partition| n_bytes_behind(directory.path(), partition);
    runtime().block_on(async {
        let node = start(&config).await;
        for topic in ["busy", "quiet"] {
            create(&node, topic).await;
        }
        append(&node, "quiet", 3).await;
        fill(&node, "busy").await;
        if !has_room_reserved(&node).await {
            return node.stop().await.unwrap();
        }
        assert!((MIB..=5 * MIB).contains(&behind("busy-0")));
        assert!(behind("quiet-0") < MIB / 8);
        assert!(becomes(&node, RESERVED, |n| n == 0.0).await, "it rests");
        assert!(behind("busy-0") < MIB / 8);
        fill(&node, "busy").await;
        assert!(becomes(&node, RESERVED, |n| n > 0.0).await);
        node.stop().await.unwrap();
        assert!(behind("busy-0") < MIB / 8, "a stop leaves nothing");
        let node = start(&config).await;
        let partition = node.services().partitions().leader_of("busy", 0).unwrap();
        assert_eq!(partition.view().end(), 16);
        node.stop().await.unwrap();
    });
}

#[test]
fn nothing_is_reserved_where_the_setting_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[("ottla.preallocate.bytes", "0")]);
    runtime().block_on(async {
        let node = start(&config).await;
        create(&node, "busy").await;
        fill(&node, "busy").await;
        fill(&node, "busy").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(metric(&node, RESERVATIONS), 0.0);
        node.stop().await.unwrap();
    });
}

/// A disk whose last room is what one partition holds reserved.
#[derive(Default)]
struct LastRoom {
    is_full: AtomicBool,
}

impl DiskFaults for LastRoom {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let is_of = |partition: &str| {
            path.parent()
                .is_some_and(|parent| parent.ends_with(partition))
        };
        if call == DiskCall::SetLength && is_of("holder-0") {
            self.is_full.store(false, Ordering::Release);
        }
        if call == DiskCall::Write && is_of("other-0") && self.is_full.load(Ordering::Acquire) {
            return DiskVerdict::Fail(std::io::ErrorKind::StorageFull);
        }
        DiskVerdict::Proceed
    }
}

#[test]
fn a_full_disk_is_not_full_of_reserved_room() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    let faults = Arc::new(LastRoom::default());
    let disk = Disk::breakable(faults.clone());
    runtime().block_on(async {
        let node = start_on(&config, disk).await.unwrap();
        node.services().logs_opened().await;
        for topic in ["holder", "other"] {
            create(&node, topic).await;
        }
        fill(&node, "holder").await;
        if has_room_reserved(&node).await {
            faults.is_full.store(true, Ordering::Release);
            append(&node, "other", 1).await;
            assert!(!faults.is_full.load(Ordering::Acquire), "it was given back");
        }
        node.stop().await.unwrap();
    });
}

/// A disk without room for metadata.
#[derive(Default)]
struct NoRoomForMetadata {
    is_full: AtomicBool,
}

impl DiskFaults for NoRoomForMetadata {
    fn before(&self, call: DiskCall, path: &Path, _: usize) -> DiskVerdict {
        let is_metadata = path.to_string_lossy().contains("__cluster_metadata-0/");
        match is_metadata && call == DiskCall::Write && self.is_full.load(Ordering::Acquire) {
            true => DiskVerdict::Fail(std::io::ErrorKind::StorageFull),
            false => DiskVerdict::Proceed,
        }
    }
}

#[test]
fn a_node_stops_though_there_is_no_room_for_metadata() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &[]);
    let faults = Arc::new(NoRoomForMetadata::default());
    runtime().block_on(async {
        let disk = Disk::breakable(faults.clone());
        let node = start_on(&config, disk).await.unwrap();
        node.services().logs_opened().await;
        create(&node, "t").await;
        append(&node, "t", 3).await;
        faults.is_full.store(true, Ordering::Release);
        let made = tokio::time::timeout(Duration::from_millis(300), create(&node, "late"));
        assert!(made.await.is_err(), "it waits for room");
        let stopped = tokio::time::timeout(Duration::from_secs(60), node.stop()).await;
        let told = stopped.expect("a stop waits for no room");
        assert!(told.is_err_and(|fault| fault.is_passing()));
    });
    let clean = directory.path().join("data/.kafka_cleanshutdown");
    assert!(clean.exists(), "all that is in the logs was closed");
    runtime().block_on(async {
        let node = start(&config).await;
        let t = node.services().leader_of("t", 0).unwrap();
        assert_eq!(t.view().end(), 3);
        create(&node, "late").await;
        node.stop().await.unwrap();
    });
}

#[test]
fn a_request_for_what_no_record_holds_is_refused_and_ends_nothing() {
    use ottla_metadata::controller::QuotaAlteration;
    let place = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let node = start(&config(place.path(), &[])).await;
        let name = "n".repeat(i16::MAX as usize + 1);
        let alteration = QuotaAlteration {
            entity: vec![("client-id".into(), Some(name.into()))],
            limits: vec![("producer_byte_rate".to_owned(), Some(1.0))],
        };
        let altered = node
            .services()
            .controller()
            .decide(move |ledger, _| ledger.alter_client_quotas(&[alteration], false, &|_| true));
        assert_eq!(altered.await.unwrap_err(), Refusal::UnknownServerError);
        create(&node, "t").await;
        node.stop().await.unwrap();
    });
}

#[test]
fn a_decision_that_contradicts_what_is_true_is_refused_and_ends_nothing() {
    use ottla_metadata::controller::{Batch, Decision};
    use ottla_metadata::records::{MetadataVersion, RemoveTopicRecord};
    let place = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let node = start(&config(place.path(), &[])).await;
        let topic_id = Uuid::from_u128(77);
        let batch = Batch {
            records: vec![RemoveTopicRecord { topic_id }.into()],
            level: MetadataVersion::MAX,
            kraft_version: None,
        };
        let batches = vec![batch];
        let decided = node
            .services()
            .controller()
            .decide(move |_, _| Decision { batches, reply: () });
        assert_eq!(decided.await.unwrap_err(), Refusal::UnknownServerError);
        create(&node, "t").await;
        node.stop().await.unwrap();
    });
}

#[test]
fn a_decision_of_several_batches_is_answered_when_all_of_them_are_in() {
    use ottla_metadata::controller::{Batch, Decision};
    use ottla_metadata::records::{MetadataVersion, TopicRecord};
    let place = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let node = start(&config(place.path(), &[])).await;
        let batch = |number: u128| Batch {
            records: vec![
                TopicRecord {
                    name: format!("t{number}").into(),
                    topic_id: Uuid::from_u128(1000 + number),
                }
                .into(),
            ],
            level: MetadataVersion::MAX,
            kraft_version: None,
        };
        let batches: Vec<Batch> = (0..20).map(batch).collect();
        let decided = node
            .services()
            .controller()
            .decide(move |_, _| Decision { batches, reply: () });
        decided.await.unwrap();
        assert_eq!(node.services().image().topics.len(), 20);
        node.stop().await.unwrap();
        let node = start(&config(place.path(), &[])).await;
        assert_eq!(node.services().image().topics.len(), 20);
        node.stop().await.unwrap();
    });
}

//! Groups of the consumer protocol (KIP-848) against a node of their own, over the wire: members
//! share partitions out, offsets follow their epochs, a restart costs nobody anything, and bad
//! requests get Kafka's codes.

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::{Node, PATIENCE};
use ottla_protocol::header::{decode_response, request_frame};
use ottla_protocol::messages::*;
use ottla_protocol::{NONE, Refusal, Request, Text, Uuid};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message};

const GROUP: &str = "g";

struct Wire(TcpStream);

impl Wire {
    fn to(node: &Node) -> Self {
        Self(node.connect())
    }

    fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let frame = request_frame(request, version, 7, Some("test".into())).unwrap();
        self.0.write_all(&frame).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("an answer");
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut answer).unwrap();
        decode_response(answer.into(), version).unwrap().1
    }

    fn create(&mut self, topic: &'static str, num_partitions: i32) {
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Text::from_static(topic),
                num_partitions,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: 10_000,
            ..Default::default()
        };
        assert_eq!(self.ask(&request, 7).topics[0].error_code, NONE);
    }

    /// Until the group's coordinator is there and has loaded it.
    fn await_coordinator(&mut self, node: &Node) {
        let find = FindCoordinatorRequest {
            coordinator_keys: vec![Text::from_static(GROUP)],
            ..Default::default()
        };
        node.wait_until("names a coordinator", || {
            let loading = Refusal::CoordinatorLoadInProgress.code();
            self.ask(&find, 4).coordinators[0].error_code == NONE
                && self.describe().error_code != loading
        });
    }

    fn describe(&mut self) -> ConsumerGroupDescribeGroup {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![Text::from_static(GROUP)],
            ..Default::default()
        };
        self.ask(&request, 1).groups.remove(0)
    }

    fn commit(&mut self, member: &Member, offset: i64) -> Option<Refusal> {
        let request = OffsetCommitRequest {
            group_id: Text::from_static(GROUP),
            member_id: member.id.clone(),
            generation_id_or_member_epoch: member.epoch,
            topics: vec![OffsetCommitRequestTopic {
                name: Text::from_static("t"),
                partitions: vec![OffsetCommitRequestPartition {
                    committed_offset: offset,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let response = self.ask(&request, 9);
        Refusal::from_code(response.topics[0].partitions[0].error_code)
    }

    fn committed(&mut self, member: &Member) -> Result<i64, Refusal> {
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: Text::from_static(GROUP),
                member_id: Some(member.id.clone()),
                member_epoch: member.epoch,
                topics: None,
            }],
            ..Default::default()
        };
        let group = self.ask(&request, 9).groups.remove(0);
        match Refusal::from_code(group.error_code) {
            Some(refusal) => Err(refusal),
            None => Ok(group.topics[0].partitions[0].committed_offset),
        }
    }
}

struct Member {
    id: Text,
    epoch: i32,
    using: BTreeMap<Uuid, BTreeSet<i32>>,
}

impl Member {
    fn new(id: &'static str) -> Self {
        Self {
            id: Text::from_static(id),
            epoch: 0,
            using: BTreeMap::new(),
        }
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let using = self.using.iter();
        let using = using.map(
            |(topic_id, partitions)| ConsumerGroupHeartbeatTopicPartitions {
                topic_id: *topic_id,
                partitions: partitions.iter().copied().collect(),
            },
        );
        let joins = self.epoch == 0;
        ConsumerGroupHeartbeatRequest {
            group_id: Text::from_static(GROUP),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if joins { 30_000 } else { -1 },
            subscribed_topic_names: joins.then(Vec::new),
            subscribed_topic_regex: joins.then(|| Text::from_static("t.*")),
            topic_partitions: Some(using.collect()),
            ..Default::default()
        }
    }

    fn beat(&mut self, wire: &mut Wire) {
        let response = wire.ask(&self.request(), 1);
        assert_eq!(response.error_code, NONE, "{response:?}");
        self.epoch = response.member_epoch;
        if let Some(assignment) = response.assignment {
            let topics = assignment.topic_partitions.into_iter();
            self.using = topics
                .map(|topic| (topic.topic_id, topic.partitions.into_iter().collect()))
                .collect();
        }
    }

    fn n_using(&self) -> usize {
        self.using.values().map(BTreeSet::len).sum()
    }
}

/// Everybody beats until all have so many partitions.
fn settle(node: &Node, wire: &mut Wire, members: &mut [Member], loads: &[usize]) {
    node.wait_until("shares everything out", || {
        members.iter_mut().for_each(|member| member.beat(wire));
        let mut found: Vec<usize> = members.iter().map(Member::n_using).collect();
        found.sort_unstable();
        found == loads && &*wire.describe().group_state == "Stable"
    });
}

#[test]
fn members_share_out_and_survive_a_restart() {
    let mut node = Node::start(&[
        "offsets.topic.num.partitions=3",
        "group.consumer.assignment.interval.ms=100",
        "group.consumer.regex.refresh.interval.ms=10000",
    ]);
    let mut wire = Wire::to(&node);
    wire.create("t", 5);
    wire.await_coordinator(&node);
    let mut members = vec![Member::new("a")];
    settle(&node, &mut wire, &mut members, &[5]);
    members.push(Member::new("b"));
    settle(&node, &mut wire, &mut members, &[2, 3]);
    let owners: BTreeSet<i32> = members
        .iter()
        .flat_map(|member| member.using.values().flatten().copied())
        .collect();
    assert_eq!(owners, BTreeSet::from_iter(0..5), "each has one owner");

    assert_eq!(wire.commit(&members[0], 7), None);
    assert_eq!(wire.committed(&members[0]), Ok(7));
    let epoch = members[0].epoch;
    members[0].epoch = epoch + 1;
    assert_eq!(wire.commit(&members[0], 8), Some(Refusal::StaleMemberEpoch));
    assert_eq!(wire.committed(&members[0]), Err(Refusal::StaleMemberEpoch));
    members[0].epoch = epoch;

    node.kill();
    node.restart();
    let mut wire = Wire::to(&node);
    wire.await_coordinator(&node);
    let before: Vec<_> = members
        .iter()
        .map(|it| (it.epoch, it.using.clone()))
        .collect();
    settle(&node, &mut wire, &mut members, &[2, 3]);
    let after: Vec<_> = members
        .iter()
        .map(|it| (it.epoch, it.using.clone()))
        .collect();
    assert_eq!(before, after, "nobody has noticed");
    assert_eq!(wire.committed(&members[0]), Ok(7));

    let listed = wire.ask(&ListGroupsRequest::default(), 5).groups.remove(0);
    let listed = (&*listed.group_id, &*listed.group_state, &*listed.group_type);
    assert_eq!(listed, (GROUP, "Stable", "consumer"));
    // What there is is counted now and then, when something happens.
    node.wait_until("counts the group", || {
        members[0].beat(&mut wire);
        let page = node.http("/metrics").unwrap();
        page.contains("consumer_group_count{state=\"Stable\"} 1")
    });
    node.stop();
}

#[test]
fn bad_requests_get_kafkas_codes() {
    let mut node = Node::start(&[
        "offsets.topic.num.partitions=1",
        "group.consumer.max.size=1",
    ]);
    let mut wire = Wire::to(&node);
    wire.create("t", 2);
    wire.await_coordinator(&node);
    assert_eq!(wire.describe().error_code, Refusal::GroupIdNotFound.code());
    let code = |wire: &mut Wire, request: &ConsumerGroupHeartbeatRequest| {
        let response = wire.ask(request, 1);
        let refusal = Refusal::from_code(response.error_code);
        assert_eq!(response.error_message.is_some(), refusal.is_some());
        refusal
    };
    let join = Member::new("a").request();
    let with = |change: fn(&mut ConsumerGroupHeartbeatRequest)| {
        let mut request = join.clone();
        change(&mut request);
        request
    };
    let refused = [
        (
            with(|it| it.group_id = Text::default()),
            Refusal::InvalidRequest,
        ),
        (
            with(|it| it.member_id = Text::default()),
            Refusal::InvalidRequest,
        ),
        (
            with(|it| it.rebalance_timeout_ms = -1),
            Refusal::InvalidRequest,
        ),
        (
            with(|it| it.topic_partitions = None),
            Refusal::InvalidRequest,
        ),
        (with(|it| it.member_epoch = -3), Refusal::InvalidRequest),
        (with(|it| it.member_epoch = -2), Refusal::InvalidRequest),
        (with(|it| it.member_epoch = 1), Refusal::GroupIdNotFound),
        (with(|it| it.member_epoch = -1), Refusal::GroupIdNotFound),
        (
            with(|it| it.server_assignor = Some(Text::from_static("mine"))),
            Refusal::UnsupportedAssignor,
        ),
        (
            with(|it| it.subscribed_topic_regex = Some(Text::from_static("("))),
            Refusal::InvalidRegularExpression,
        ),
    ];
    for (request, refusal) in &refused {
        assert_eq!(code(&mut wire, request), Some(*refusal), "{request:?}");
    }
    assert_eq!(
        wire.describe().error_code,
        Refusal::GroupIdNotFound.code(),
        "nothing came of it"
    );
    assert_eq!(code(&mut wire, &join), None);
    let full = Member::new("b").request();
    assert_eq!(code(&mut wire, &full), Some(Refusal::GroupMaxSizeReached));
    let newer = with(|it| it.member_epoch = 99);
    assert_eq!(code(&mut wire, &newer), Some(Refusal::FencedMemberEpoch));
    // Who speaks the classic protocol finds no room either.
    let classic = JoinGroupRequest {
        group_id: Text::from_static(GROUP),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: Text::from_static("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Text::from_static("range"),
            ..Default::default()
        }],
        ..Default::default()
    };
    let outside = wire.ask(&classic, 9).error_code;
    assert_eq!(outside, Refusal::GroupMaxSizeReached.code());
    node.stop();
}

fn librdkafka(node: &Node, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", node.bootstrap());
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// A client that we did not write speaks the protocol from end to end.
#[test]
fn librdkafka_shares_out_commits_and_leaves() {
    let mut node = Node::start(&[
        "offsets.topic.num.partitions=3",
        "group.consumer.min.heartbeat.interval.ms=100",
        "group.consumer.heartbeat.interval.ms=200",
    ]);
    Wire::to(&node).create("t", 4);
    let producer: BaseProducer = librdkafka(&node, &[]).create().unwrap();
    for n in 0..100 {
        let (key, value) = (format!("k{n}"), n.to_string());
        let record = BaseRecord::to("t").key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();

    let consumer = || -> BaseConsumer {
        let settings = [
            ("group.id", GROUP),
            ("group.protocol", "consumer"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
        ];
        librdkafka(&node, &settings).create().unwrap()
    };
    let owned = |consumer: &BaseConsumer| consumer.assignment().unwrap().count();
    let a = consumer();
    a.subscribe(&["t"]).unwrap();
    let mut values = BTreeSet::new();
    node.wait_until("gives the first member everything", || {
        if let Some(record) = a.poll(Duration::from_millis(50)) {
            let value = std::str::from_utf8(record.unwrap().payload().unwrap())
                .unwrap()
                .to_owned();
            values.insert(value);
        }
        values.len() == 100
    });
    a.commit_consumer_state(CommitMode::Sync).unwrap();
    let b = consumer();
    b.subscribe(&["^t.*"]).unwrap();
    node.wait_until("gives each member two partitions", || {
        for consumer in [&a, &b] {
            if let Some(record) = consumer.poll(Duration::from_millis(50)) {
                record.unwrap();
                panic!("what was committed is not read again");
            }
        }
        owned(&a) == 2 && owned(&b) == 2
    });
    drop(b);
    node.wait_until("gives the rest to the one who stays", || {
        a.poll(Duration::from_millis(50));
        owned(&a) == 4
    });
    drop(a);
    assert_eq!(&*Wire::to(&node).describe().group_state, "Empty");
    node.stop();
}

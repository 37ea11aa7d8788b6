//! The rules of the consumer protocol, one by one, from a client's side.

use expect_test::expect;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, DeletableGroupResult, LeaveGroupRequest, MemberIdentity,
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetFetchRequestGroup,
};
use ottla_protocol::{NONE, Refusal, Text, Uuid};

use super::consumers::{Consumer, Crowd, GROUP};
use super::host::{Step, To};
use crate::group::records::{ConsumerRecord, GroupRecord};
use crate::group::{GroupFilter, GroupReply, GroupSettings, OwnSettings};

fn crowd(names: &[&str]) -> Crowd {
    let consumers = names.iter().map(|name| Consumer::new(name, &["t1"]));
    Crowd::new(GroupSettings::default(), consumers.collect())
}

fn refusal(code: i16) -> Option<Refusal> {
    Refusal::from_code(code)
}

/// The records of a step, in short.
fn told(step: &Step) -> Vec<String> {
    let records = step.records.iter();
    let one = |record: GroupRecord| match record {
        GroupRecord::Consumer(record) => {
            let shown = format!("{record:?}");
            let kind = shown.split(' ').next().unwrap_or_default().to_owned();
            let sign = if record.is_tombstone() { "-" } else { "+" };
            let value = match record {
                ConsumerRecord::Group {
                    value: Some(it), ..
                } => format!(" {}", it.epoch),
                ConsumerRecord::TargetEpoch {
                    value: Some(it), ..
                } => {
                    format!(" {}", it.assignment_epoch)
                }
                ConsumerRecord::Current {
                    value: Some(it), ..
                } => {
                    format!(
                        " {} after {} in {}",
                        it.member_epoch, it.previous_member_epoch, it.state
                    )
                }
                _ => String::new(),
            };
            format!("{sign}{kind}{value}")
        }
        GroupRecord::GroupMetadata { value, .. } => format!("classic {}", value.is_some()),
        GroupRecord::OffsetCommit { value, .. } => format!("offset {}", value.is_some()),
        GroupRecord::Other(_) => "other".into(),
    };
    records
        .map(|(key, value)| one(GroupRecord::decode(key, value.as_ref()).unwrap().unwrap()))
        .collect()
}

#[test]
fn the_first_member_gets_everything_at_once() {
    let mut crowd = crowd(&["a"]);
    let (step, response) = crowd.ask_at(&crowd.consumers[0].request(), 1);
    expect![[r#"
        [
            "+Member",
            "+Group 2",
            "+Target",
            "+TargetEpoch 2",
            "+Current 2 after 0 in 0",
        ]
    "#]]
    .assert_debug_eq(&told(&step));
    assert_eq!(
        (response.member_epoch, response.heartbeat_interval_ms),
        (2, 5_000)
    );
    let assignment = response.assignment.unwrap().topic_partitions;
    assert_eq!(assignment[0].partitions, Vec::from_iter(0..10));
    // From then on nothing is written, and nothing is said twice.
    crowd.beat(0);
    let (step, response) = crowd.ask_at(&crowd.consumers[0].request(), 1);
    assert!(step.records.is_empty());
    assert_eq!(response.assignment, None);
    assert_eq!(crowd.state(), "Stable");
}

#[test]
fn a_member_gives_up_before_another_gets() {
    let mut crowd = crowd(&["a", "b"]);
    crowd.beat(0);
    crowd.host.pass(1_000);
    let joined = crowd.beat(1);
    assert_eq!((joined.member_epoch, crowd.loads()), (3, vec![10, 0]));
    assert_eq!(crowd.state(), "Reconciling");
    // `a` hears that it has less, and stays in its epoch until it says that it has given up.
    let response = crowd.beat(0);
    assert_eq!(response.member_epoch, 2);
    assert_eq!(
        response.assignment.unwrap().topic_partitions[0]
            .partitions
            .len(),
        5
    );
    assert_eq!(crowd.beat(1).assignment, None, "nothing is free yet");
    assert_eq!(crowd.beat(0).member_epoch, 3);
    crowd.beat(1);
    assert_eq!((crowd.loads(), crowd.state()), (vec![5, 5], "Stable"));
    crowd.check();
}

#[test]
fn targets_are_computed_once_an_interval() {
    let mut crowd = crowd(&["a", "b", "c"]);
    crowd.beat(0);
    crowd.beat(1);
    crowd.beat(2);
    assert_eq!((crowd.state(), crowd.consumers[1].epoch), ("Assigning", 2));
    crowd.settle(5);
    let mut loads = crowd.loads();
    loads.sort_unstable();
    assert_eq!((loads, crowd.state()), (vec![3, 3, 4], "Stable"));
    assert_eq!(crowd.consumers[0].epoch, 4);
}

#[test]
fn a_lost_answer_is_given_again() {
    let mut crowd = crowd(&["a"]);
    crowd.beat(0);
    crowd.host.topics.grow("t1", 12);
    crowd.host.pass(1_000);
    crowd.beat_unheard(0);
    assert_eq!(crowd.consumers[0].epoch, 2);
    let response = crowd.beat(0);
    assert_eq!((response.error_code, response.member_epoch), (NONE, 3));
    assert_eq!(crowd.loads(), [12]);
    // Two epochs behind, or with something that it may not have, it is fenced.
    let mut late = crowd.consumers[0].clone();
    late.epoch = 2;
    late.using
        .entry(Uuid::from_u128(999))
        .or_default()
        .insert(0);
    let fenced = crowd.ask(&late.request());
    assert_eq!(refusal(fenced.error_code), Some(Refusal::FencedMemberEpoch));
    late.epoch = 1;
    late.using.clear();
    let fenced = crowd.ask(&late.request());
    assert_eq!(refusal(fenced.error_code), Some(Refusal::FencedMemberEpoch));
    late.epoch = 4;
    let fenced = crowd.ask(&late.request());
    assert_eq!(refusal(fenced.error_code), Some(Refusal::FencedMemberEpoch));
    // Without saying what it has, it cannot be believed.
    let silent = ConsumerGroupHeartbeatRequest {
        member_epoch: 2,
        topic_partitions: None,
        ..crowd.consumers[0].request()
    };
    let fenced = crowd.ask(&silent);
    assert_eq!(refusal(fenced.error_code), Some(Refusal::FencedMemberEpoch));
}

#[test]
fn a_fenced_member_joins_again_under_its_id() {
    let mut crowd = crowd(&["a"]);
    crowd.beat(0);
    crowd.consumers[0].restart();
    let response = crowd.beat(0);
    assert_eq!((response.member_epoch, crowd.loads()), (2, vec![10]));
}

#[test]
fn silence_ends_a_session() {
    let mut crowd = crowd(&["a", "b"]);
    crowd.settle(4);
    assert_eq!(crowd.loads(), [5, 5]);
    crowd.consumers[0].is_up = false;
    crowd.settle(44);
    assert_eq!(crowd.loads()[1], 5);
    crowd.settle(3);
    assert_eq!(crowd.loads()[1], 10);
    let response = crowd.beat(0);
    assert_eq!(refusal(response.error_code), Some(Refusal::UnknownMemberId));
    crowd.settle(3);
    assert_eq!(crowd.loads(), [5, 5]);
    crowd.check();
}

#[test]
fn who_does_not_give_up_in_time_is_thrown_out() {
    let mut crowd = crowd(&["a", "b"]);
    crowd.consumers[0].rebalance_timeout_ms = 9_000;
    crowd.beat(0);
    crowd.host.pass(1_000);
    crowd.beat(1);
    // It goes on reading, and says so.
    let stubborn = crowd.consumers[0].request();
    for _ in 0..9 {
        assert_eq!(crowd.ask(&stubborn).error_code, NONE);
        crowd.beat(1);
        crowd.host.pass(1_000);
    }
    let thrown_out = crowd.ask(&stubborn).error_code;
    assert_eq!(refusal(thrown_out), Some(Refusal::UnknownMemberId));
    crowd.consumers[0].is_up = false;
    crowd.settle(2);
    assert_eq!(crowd.loads()[1], 10);
}

#[test]
fn leaving_frees_what_one_had() {
    let mut crowd = crowd(&["a", "b"]);
    crowd.settle(4);
    assert_eq!(crowd.leave(0, -1), None);
    assert_eq!(crowd.leave(0, -1), Some(Refusal::UnknownMemberId));
    crowd.settle(2);
    assert_eq!(crowd.loads(), [0, 10]);
    assert_eq!(crowd.leave(1, -1), None);
    assert_eq!(crowd.state(), "Empty");
}

#[test]
fn a_static_member_is_away_and_back() {
    let mut crowd = crowd(&["a", "b"]);
    crowd.consumers[0].instance = Some(Text::from_static("i"));
    crowd.settle(4);
    let before = crowd.consumers[0].using.clone();
    let mut other = Consumer::new("c", &["t1"]);
    other.instance = Some(Text::from_static("i"));
    let unreleased = crowd.ask(&other.request()).error_code;
    assert_eq!(refusal(unreleased), Some(Refusal::UnreleasedInstanceId));
    assert_eq!(crowd.leave(0, -2), None);
    crowd.settle(3);
    assert_eq!(crowd.loads(), [0, 5], "its partitions wait for it");
    crowd.consumers[0] = other;
    let epoch = crowd.consumers[1].epoch;
    let response = crowd.beat(0);
    assert_eq!(
        (response.member_epoch, &crowd.consumers[0].using),
        (epoch, &before)
    );
    assert_eq!(crowd.state(), "Stable", "nobody else noticed");
    // Its former self is fenced, in whatever it asks.
    let mut former = Consumer::new("a", &["t1"]);
    former.instance = Some(Text::from_static("i"));
    former.epoch = epoch;
    let fenced = crowd.ask(&former.request()).error_code;
    assert_eq!(refusal(fenced), Some(Refusal::FencedInstanceId));
    former.instance = Some(Text::from_static("j"));
    let unknown = crowd.ask(&former.request()).error_code;
    assert_eq!(refusal(unknown), Some(Refusal::UnknownMemberId));
    crowd.check();
}

#[test]
fn a_static_member_that_stays_away_is_out() {
    let mut crowd = crowd(&["a", "b"]);
    crowd.consumers[0].instance = Some(Text::from_static("i"));
    crowd.settle(4);
    crowd.leave(0, -2);
    crowd.settle(50);
    assert_eq!(crowd.loads(), [0, 10]);
}

#[test]
fn new_and_grown_topics_are_shared_out() {
    let mut crowd = crowd(&["a"]);
    crowd.consumers[0].subscribe(&["t1", "t9"]);
    crowd.settle(2);
    assert_eq!(crowd.loads(), [10]);
    crowd.host.topics.create("t9", 3);
    crowd.settle(2);
    assert_eq!(crowd.loads(), [13]);
    crowd.host.topics.grow("t9", 5);
    crowd.settle(2);
    assert_eq!(crowd.loads(), [15]);
    crowd.host.topics.remove("t1");
    crowd.settle(3);
    assert_eq!(crowd.loads(), [5]);
}

#[test]
fn other_topics_are_given_up_at_once() {
    let mut crowd = crowd(&["a"]);
    crowd.settle(2);
    crowd.consumers[0].subscribe(&["t2"]);
    crowd.settle(4);
    let topics: Vec<Uuid> = crowd.consumers[0].using.keys().copied().collect();
    assert_eq!(topics, [Uuid::from_u128(102)]);
    assert_eq!((crowd.loads(), crowd.state()), (vec![10], "Stable"));
}

#[test]
fn patterns_are_resolved_elsewhere_and_again_for_new_topics() {
    let mut crowd = crowd(&["a"]);
    crowd.consumers[0].subscribe(&[]);
    crowd.consumers[0].pattern = Some("t[12]|x.*");
    crowd.beat(0);
    assert_eq!((crowd.loads(), crowd.state()), (vec![0], "Stable"));
    crowd.run_errands();
    assert_eq!(crowd.state(), "Assigning");
    crowd.settle(2);
    assert_eq!(crowd.loads(), [20]);
    crowd.host.topics.create("x9", 4);
    crowd.settle(13);
    assert_eq!(crowd.loads(), [24]);
    // Nobody is subscribed to it any more: its topics are forgotten.
    crowd.consumers[0].pattern = Some("");
    crowd.consumers[0].subscribe(&["t3"]);
    crowd.settle(3);
    assert_eq!(crowd.loads(), [10]);
    crowd.consumers[0].pattern = Some("(");
    crowd.consumers[0].subscribe(&[]);
    let response = crowd.ask(&crowd.consumers[0].request());
    assert_eq!(
        refusal(response.error_code),
        Some(Refusal::InvalidRegularExpression)
    );
    assert!(response.error_message.is_some_and(|why| why.contains('(')));
}

#[test]
fn votes_choose_the_assignor() {
    let mut crowd = crowd(&["a", "b"]);
    for consumer in &mut crowd.consumers {
        consumer.assignor = Some("range");
        consumer.subscribe(&["t1", "t2"]);
    }
    crowd.settle(5);
    let [a, b] = &crowd.consumers[..] else {
        unreachable!()
    };
    assert!(
        a.using.values().all(|it| it.iter().copied().eq(0..5)),
        "{a:?}"
    );
    assert!(
        b.using.values().all(|it| it.iter().copied().eq(5..10)),
        "{b:?}"
    );
    let topics = &crowd.host.topics;
    let described = crowd
        .host
        .ledger
        .describe_consumer_group(GROUP, topics)
        .reply;
    assert_eq!(&*described.assignor_name, "range");
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut settings = GroupSettings::default();
    settings.consumer.max_size = 1;
    let consumers = ["a", "b"].map(|name| Consumer::new(name, &["t1"]));
    let mut crowd = Crowd::new(settings, consumers.to_vec());
    crowd.beat(0);
    let full = crowd.ask(&crowd.consumers[1].request()).error_code;
    assert_eq!(refusal(full), Some(Refusal::GroupMaxSizeReached));
    assert_eq!(crowd.beat(0).error_code, NONE);
}

#[test]
fn a_group_may_have_settings_of_its_own() {
    let mut settings = GroupSettings::default();
    let own = OwnSettings {
        session_timeout_ms: Some(50_000),
        heartbeat_interval_ms: Some(7_000),
        assignment_interval_ms: Some(0),
    };
    settings.consumer.own = std::sync::Arc::new([(GROUP.into(), own)].into());
    let consumers = ["a", "b"].map(|name| Consumer::new(name, &["t1"]));
    let mut crowd = Crowd::new(settings, consumers.to_vec());
    assert_eq!(crowd.beat(0).heartbeat_interval_ms, 7_000);
    assert_eq!(crowd.beat(1).member_epoch, 3, "no interval to wait for");
    crowd.host.pass(49_999);
    assert_eq!(crowd.beat(0).error_code, NONE);
    crowd.host.pass(1);
    assert_eq!(
        refusal(crowd.beat(1).error_code),
        Some(Refusal::UnknownMemberId)
    );
}

#[test]
fn an_append_that_fails_has_not_happened() {
    let mut crowd = crowd(&["a", "b"]);
    crowd.host.fail = Some(Refusal::NotEnoughReplicas);
    let failed = crowd.beat(0);
    assert_eq!(
        refusal(failed.error_code),
        Some(Refusal::CoordinatorNotAvailable)
    );
    assert_eq!(crowd.state(), "Dead");
    crowd.settle(4);
    assert_eq!(crowd.loads(), [5, 5]);
    // Somebody falls silent, and that cannot be written at first.
    crowd.consumers[0].is_up = false;
    crowd.host.fail = Some(Refusal::NotEnoughReplicas);
    crowd.host.topics.grow("t1", 11);
    crowd.beat(1);
    crowd.settle(50);
    assert_eq!(crowd.loads()[1], 11);
}

#[test]
fn strangers_and_missing_groups() {
    let mut crowd = crowd(&["a"]);
    let mut stranger = Consumer::new("x", &["t1"]);
    stranger.epoch = 1;
    let missing = crowd.ask(&stranger.request()).error_code;
    assert_eq!(refusal(missing), Some(Refusal::GroupIdNotFound));
    assert_eq!(crowd.leave(0, -1), Some(Refusal::GroupIdNotFound));
    crowd.consumers[0].restart();
    crowd.beat(0);
    let unknown = crowd.ask(&stranger.request()).error_code;
    assert_eq!(refusal(unknown), Some(Refusal::UnknownMemberId));
    // Old clients may be given an id.
    let mut nameless = Consumer::new("", &["t1"]).request();
    let (_, named) = crowd.ask_at(&nameless, 0);
    assert_eq!(named.member_id.unwrap().len(), 22);
    nameless.member_epoch = 1;
    let (_, unnamed) = crowd.ask_at(&nameless, 0);
    assert_eq!(refusal(unnamed.error_code), Some(Refusal::InvalidRequest));
}

#[test]
fn offsets_follow_the_member_epoch() {
    let mut crowd = crowd(&["a"]);
    crowd.beat(0);
    let commit = |crowd: &mut Crowd, member: &str, epoch, version| {
        let request = OffsetCommitRequest {
            group_id: Text::from_static(GROUP),
            member_id: Text::from(member),
            generation_id_or_member_epoch: epoch,
            topics: vec![OffsetCommitRequestTopic {
                name: Text::from_static("t1"),
                partitions: vec![OffsetCommitRequestPartition {
                    committed_offset: 5,
                    ..OffsetCommitRequestPartition::default()
                }],
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let topics = crowd.host.topics.clone();
        let step = crowd
            .host
            .step(|ledger, now, _| ledger.commit_offsets(&request, version, &topics, now));
        match &step.replies[0] {
            (To::Asker, GroupReply::CommitOffsets(reply)) => {
                refusal(reply.topics[0].partitions[0].error_code)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(commit(&mut crowd, "a", 2, 9), None);
    assert_eq!(
        commit(&mut crowd, "a", 2, 8),
        Some(Refusal::UnsupportedVersion)
    );
    assert_eq!(
        commit(&mut crowd, "a", 3, 9),
        Some(Refusal::StaleMemberEpoch)
    );
    assert_eq!(
        commit(&mut crowd, "", -1, 9),
        Some(Refusal::UnknownMemberId)
    );
    crowd.host.topics.grow("t1", 11);
    crowd.settle(2);
    assert_eq!(crowd.consumers[0].epoch, 3);
    assert_eq!(commit(&mut crowd, "a", 2, 9), None, "assigned since then");
    assert_eq!(
        commit(&mut crowd, "a", 1, 9),
        Some(Refusal::StaleMemberEpoch)
    );
    let fetch = |crowd: &Crowd, member: Option<&'static str>, epoch| {
        let request = OffsetFetchRequestGroup {
            group_id: Text::from_static(GROUP),
            member_id: member.map(Text::from_static),
            member_epoch: epoch,
            topics: None,
        };
        let ledger = &crowd.host.ledger;
        let reply = ledger
            .fetch_offsets(&request, 9, true, &crowd.host.topics)
            .reply;
        (refusal(reply.error_code), reply.topics.len())
    };
    assert_eq!(fetch(&crowd, Some("a"), 3), (None, 1));
    assert_eq!(fetch(&crowd, None, -1), (None, 1));
    assert_eq!(
        fetch(&crowd, Some("a"), 2),
        (Some(Refusal::StaleMemberEpoch), 0)
    );
    assert_eq!(
        fetch(&crowd, Some("x"), 3),
        (Some(Refusal::UnknownMemberId), 0)
    );
    crowd.leave(0, -1);
    assert_eq!(commit(&mut crowd, "", -1, 9), None, "nobody is in");
    assert_eq!(fetch(&crowd, None, -1), (None, 1));
}

#[test]
fn administrators_see_and_remove() {
    let mut crowd = crowd(&["a", "b"]);
    crowd.consumers[1].instance = Some(Text::from_static("i"));
    crowd.settle(4);
    let listed = crowd.host.ledger.list_groups(&GroupFilter::default()).reply;
    assert_eq!(listed.len(), 1);
    let all = (
        &*listed[0].protocol_type,
        &*listed[0].group_state,
        &*listed[0].group_type,
    );
    assert_eq!(all, ("consumer", "Stable", "consumer"));
    let classic = crowd.host.ledger.describe_group(GROUP, 6).reply;
    assert_eq!(refusal(classic.error_code), Some(Refusal::GroupIdNotFound));
    let delete = |crowd: &mut Crowd| {
        let groups = [Text::from_static(GROUP)];
        let step = crowd
            .host
            .step(|ledger, now, _| ledger.delete_groups(&groups, now));
        match &step.replies[0].1 {
            GroupReply::DeleteGroups(results) => {
                let [DeletableGroupResult { error_code, .. }] = &results[..] else {
                    unreachable!()
                };
                (refusal(*error_code), told(&step))
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(delete(&mut crowd).0, Some(Refusal::NonEmptyGroup));
    let identity = |member: &'static str, instance: Option<&'static str>| MemberIdentity {
        member_id: Text::from_static(member),
        group_instance_id: instance.map(Text::from_static),
        ..MemberIdentity::default()
    };
    let request = LeaveGroupRequest {
        group_id: Text::from_static(GROUP),
        members: vec![
            identity("a", None),
            identity("", Some("i")),
            identity("x", None),
            identity("a", Some("i")),
        ],
        ..LeaveGroupRequest::default()
    };
    let topics = crowd.host.topics.clone();
    let step = crowd
        .host
        .step(|ledger, now, _| ledger.leave_group(&request, 5, &topics, now));
    let GroupReply::Leave(reply) = &step.replies[0].1 else {
        panic!("{step:?}")
    };
    let codes: Vec<_> = reply
        .members
        .iter()
        .map(|it| refusal(it.error_code))
        .collect();
    let fenced = Some(Refusal::FencedInstanceId);
    assert_eq!(codes, [None, None, Some(Refusal::UnknownMemberId), fenced]);
    assert_eq!(crowd.state(), "Empty");
    let (deleted, records) = delete(&mut crowd);
    assert_eq!(deleted, None);
    assert_eq!(records, ["-TargetEpoch", "-Topics", "-Group"]);
    assert_eq!(crowd.state(), "Dead");
}

#[test]
fn a_restart_costs_nobody_anything() {
    let mut crowd = crowd(&["a", "b", "c"]);
    crowd.settle(6);
    let before: Vec<_> = crowd
        .consumers
        .iter()
        .map(|it| (it.epoch, it.using.clone()))
        .collect();
    crowd.host.restart();
    crowd.settle(3);
    let after: Vec<_> = crowd
        .consumers
        .iter()
        .map(|it| (it.epoch, it.using.clone()))
        .collect();
    assert_eq!(before, after);
    // Sessions begin with the load.
    crowd.host.restart();
    crowd.host.pass(44_999);
    assert_eq!(crowd.state(), "Stable");
    crowd.host.pass(1);
    assert_eq!(crowd.state(), "Empty");
}

//! Decisions about one group that share an append, and what becomes of them when that fails.

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, OffsetCommitRequest, OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
};
use ottla_protocol::{NONE, Refusal, Text, Uuid};

use super::consumers::GROUP;
use super::host::SomeTopics;
use crate::group::{Client, GroupDecision, GroupLedger, GroupReply, GroupSettings};
use crate::ledger::{Answer, Now, Origin, When};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const CLIENT: Client<'static> = Client {
    id: "c",
    host: "/h",
};
const NOW: Now = Now {
    monotonic: std::time::Duration::ZERO,
    wall_ms: 1_000,
};

fn ledger() -> GroupLedger {
    let mut settings = GroupSettings::default();
    settings.consumer.default.assignment_interval_ms = 0;
    let mut ledger = GroupLedger::new(settings);
    let _ = ledger.loaded(NOW);
    ledger
}

fn beat(ledger: &mut GroupLedger, name: &str, epoch: i32) -> GroupDecision {
    let joins = epoch == 0;
    let request = ConsumerGroupHeartbeatRequest {
        group_id: Text::from_static(GROUP),
        member_id: Text::from(name),
        member_epoch: epoch,
        rebalance_timeout_ms: if joins { 1_000 } else { -1 },
        subscribed_topic_names: joins.then(|| vec![Text::from_static("t1")]),
        topic_partitions: joins.then(Vec::new),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let topics = SomeTopics::default();
    ledger.consumer_group_heartbeat(&request, 1, CLIENT, Uuid::from_u128(0), &topics, NOW)
}

fn replay(ledger: &mut GroupLedger, decision: &GroupDecision, next: &mut i64) {
    for record in decision.records() {
        ledger.replay(*next, Origin::Plain, record);
        *next += 1;
    }
}

fn reply(decision: &GroupDecision) -> (Option<Refusal>, When) {
    match &decision.reply {
        Answer::Now(GroupReply::ConsumerHeartbeat(it), when) => {
            (Refusal::from_code(it.error_code), *when)
        }
        other => panic!("{other:?} is no answer to a heartbeat"),
    }
}

/// All join, and each but the last is foreseen.
fn joined_ahead(ledger: &mut GroupLedger) -> Vec<GroupDecision> {
    let mut decisions = Vec::new();
    for name in NAMES {
        let decision = beat(ledger, name, 0);
        assert_eq!(reply(&decision), (None, When::AfterAppend));
        decisions.push(decision);
        if decisions.len() < NAMES.len() {
            assert!(ledger.foresee(&decisions[decisions.len() - 1]));
        }
    }
    decisions
}

#[test]
fn what_is_foreseen_is_what_would_have_been_written() {
    let (mut ahead, mut behind) = (ledger(), ledger());
    let decisions = joined_ahead(&mut ahead);
    let mut next = 0;
    for (name, decision) in NAMES.iter().zip(&decisions) {
        let alone = beat(&mut behind, name, 0);
        assert_eq!(alone.batches, decision.batches);
        replay(&mut behind, &alone, &mut next);
    }
    let mut next = 0;
    for decision in &decisions {
        replay(&mut ahead, decision, &mut next);
    }
    ahead.validate();
    let shown = |ledger: &GroupLedger| format!("{:?}", ledger.durable());
    assert_eq!(shown(&ahead), shown(&behind));
    // It is in the log now: who hears of it waits for that to be committed, as ever.
    let waits = beat(&mut ahead, "d", 5);
    replay(&mut ahead, &waits, &mut next);
    let told = reply(&beat(&mut ahead, "d", 5));
    assert_eq!(told, (None, When::AfterOffset(next - 1)));
    ahead.committed(next);
    assert_eq!(reply(&beat(&mut ahead, "d", 5)), (None, When::AtOnce));
}

#[test]
fn what_rests_on_it_waits_for_the_same_append() {
    let mut ledger = ledger();
    let joins = beat(&mut ledger, "a", 0);
    assert!(ledger.foresee(&joins));
    let beats = beat(&mut ledger, "a", 2);
    assert!(beats.writes_nothing());
    assert_eq!(reply(&beats), (None, When::AfterAppend));
}

#[test]
fn what_does_not_come_has_never_been() {
    let mut ledger = ledger();
    let before = format!("{:?}", ledger.durable());
    let decisions = joined_ahead(&mut ledger);
    ledger.take_back();
    assert_eq!(format!("{:?}", ledger.durable()), before);
    for decision in decisions {
        let instead = ledger.abandoned(decision, Refusal::KafkaStorageError, NOW);
        let told = (Some(Refusal::NotCoordinator), When::AtOnce);
        assert_eq!(reply(&instead), told);
        assert!(instead.writes_nothing());
    }
    ledger.validate();
    let again = beat(&mut ledger, "b", 0);
    assert_eq!(reply(&again), (None, When::AfterAppend));
    assert_eq!(again.records().count(), 5, "of a group that is new");
}

#[test]
fn half_of_it_may_stand_in_the_log() {
    let (mut ledger, mut other) = (ledger(), ledger());
    let decisions = joined_ahead(&mut ledger);
    ledger.take_back();
    let (mut next, mut next_of_other) = (0, 0);
    for decision in &decisions[..2] {
        replay(&mut ledger, decision, &mut next);
        replay(&mut other, decision, &mut next_of_other);
    }
    for decision in &decisions[2..] {
        let _ = ledger.abandoned(decision.clone(), Refusal::KafkaStorageError, NOW);
    }
    ledger.validate();
    let shown = |ledger: &GroupLedger| format!("{:?}", ledger.durable());
    assert_eq!(shown(&ledger), shown(&other));
    // Who is in goes on; who is not has to come again.
    assert_eq!(reply(&beat(&mut ledger, "b", 3)).0, None);
    let stranger = reply(&beat(&mut ledger, "c", 4)).0;
    assert_eq!(stranger, Some(Refusal::UnknownMemberId));
}

#[test]
fn other_groups_and_ends_are_not_foreseen() {
    let mut ledger = ledger();
    let mut next = 0;
    let commit = OffsetCommitRequest {
        group_id: Text::from_static("simple"),
        topics: vec![OffsetCommitRequestTopic {
            name: Text::from_static("t1"),
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    };
    let committed = ledger.commit_offsets(&commit, 9, &SomeTopics::default(), NOW);
    assert!(!committed.writes_nothing() && !ledger.foresee(&committed));
    replay(&mut ledger, &committed, &mut next);
    let joined = beat(&mut ledger, "a", 0);
    replay(&mut ledger, &joined, &mut next);
    let left = beat(&mut ledger, "a", -1);
    assert!(ledger.foresee(&left));
    replay(&mut ledger, &left, &mut next);
    let deleted = ledger.delete_groups(&[Text::from_static(GROUP)], NOW);
    assert!(!deleted.writes_nothing() && !ledger.foresee(&deleted));
    match &deleted.reply {
        Answer::Now(GroupReply::DeleteGroups(results), _) => {
            assert_eq!(results[0].error_code, NONE);
        }
        other => panic!("{other:?} is no answer"),
    }
    ledger.validate();
}

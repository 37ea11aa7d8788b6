//! A member of the classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup; as the leader it
//! shares out one topic. Pure.
//!
//! The versions are those that every Kafka from 2.5 on serves.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use ottla_client::consume::read_assignment;
use ottla_protocol::field::write_body;
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, ConsumerProtocolTopicPartition,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupRequestProtocol,
    JoinGroupResponse, JoinGroupResponseMember, LeaveGroupRequest, MemberIdentity,
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use ottla_protocol::{Text, Versioned, Writer};

use super::dialogue::{framed, read};
use super::member::{Member, Share, Terms, Verdict, judge};
use super::schedule::Nanos;

pub(super) const JOIN_VERSION: i16 = 7;
pub(super) const SYNC_VERSION: i16 = 5;
pub(super) const HEARTBEAT_VERSION: i16 = 4;
pub(super) const LEAVE_VERSION: i16 = 4;
/// Of what members tell each other: Kafka's consumers write this one.
const EMBEDDED_VERSION: i16 = 3;
/// How long the others are waited for; Kafka's `max.poll.interval.ms`.
const REBALANCE_MS: i32 = 300_000;
const PROTOCOL_TYPE: Text = Text::from_static("consumer");
const RANGE: Text = Text::from_static("range");

#[derive(Debug)]
pub(super) struct ClassicMember {
    terms: Arc<Terms>,
    id: Text,
    generation: i32,
    step: Step,
    due: Nanos,
    asked: Nanos,
}

/// What is said next, or was just said.
#[derive(Debug)]
enum Step {
    Join,
    /// What the leader hands in; nothing from the others.
    Sync(Vec<SyncGroupRequestAssignment>),
    Beat,
    Leave,
    Left,
}

impl ClassicMember {
    pub(super) fn new(terms: Arc<Terms>) -> Self {
        Self {
            terms,
            id: Text::new(),
            generation: -1,
            step: Step::Join,
            due: 0,
            asked: 0,
        }
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(super) fn id(&self) -> &Text {
        &self.id
    }

    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    fn join_request(&self) -> anyhow::Result<JoinGroupRequest> {
        let subscription = ConsumerProtocolSubscription {
            topics: vec![self.terms.topic.clone()],
            ..ConsumerProtocolSubscription::default()
        };
        Ok(JoinGroupRequest {
            group_id: self.terms.group.clone(),
            session_timeout_ms: self.terms.session_ms,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: self.id.clone(),
            protocol_type: PROTOCOL_TYPE,
            protocols: vec![JoinGroupRequestProtocol {
                name: RANGE,
                metadata: embedded(&subscription)?,
            }],
            ..JoinGroupRequest::default()
        })
    }

    fn sync_request(&self, assignments: &[SyncGroupRequestAssignment]) -> SyncGroupRequest {
        SyncGroupRequest {
            group_id: self.terms.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            protocol_type: Some(PROTOCOL_TYPE),
            protocol_name: Some(RANGE),
            assignments: assignments.to_vec(),
            ..SyncGroupRequest::default()
        }
    }

    fn heartbeat_request(&self) -> HeartbeatRequest {
        HeartbeatRequest {
            group_id: self.terms.group.clone(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            ..HeartbeatRequest::default()
        }
    }

    fn leave_request(&self) -> LeaveGroupRequest {
        LeaveGroupRequest {
            group_id: self.terms.group.clone(),
            members: vec![MemberIdentity {
                member_id: self.id.clone(),
                ..MemberIdentity::default()
            }],
            ..LeaveGroupRequest::default()
        }
    }

    fn joined(&mut self, frame: Bytes, now: Nanos) -> anyhow::Result<()> {
        let answer: JoinGroupResponse = read(frame, JOIN_VERSION)?;
        if !answer.member_id.is_empty() {
            // Not the slice of the frame, which may hold what all members told.
            self.id = Text::from(&*answer.member_id);
        }
        if self.is_done("JoinGroup", answer.error_code, now)? {
            let is_leader = answer.leader == answer.member_id;
            let members = if is_leader {
                answer.members
            } else {
                Vec::new()
            };
            self.generation = answer.generation_id;
            self.step = Step::Sync(share_out(&self.terms, &members)?);
            self.due = now;
        }
        Ok(())
    }

    fn synced(&mut self, frame: Bytes, now: Nanos) -> anyhow::Result<Option<Share>> {
        let answer: SyncGroupResponse = read(frame, SYNC_VERSION)?;
        if !self.is_done("SyncGroup", answer.error_code, now)? {
            return Ok(None);
        }
        self.step = Step::Beat;
        self.due = now + self.terms.heartbeat;
        let assigned = read_assignment(answer.assignment)?;
        let partitions = assigned.into_iter().map(|named| named.partition);
        Ok(Some(Share {
            generation: self.generation,
            partitions: partitions.collect(),
        }))
    }

    fn beaten(&mut self, frame: Bytes, now: Nanos) -> anyhow::Result<()> {
        let answer: HeartbeatResponse = read(frame, HEARTBEAT_VERSION)?;
        if self.is_done("Heartbeat", answer.error_code, now)? {
            self.due = now.max(self.asked + self.terms.heartbeat);
        }
        Ok(())
    }

    /// Whether it was done. If not, what follows is set.
    fn is_done(&mut self, what: &str, code: i16, now: Nanos) -> anyhow::Result<bool> {
        match judge(what, &self.terms.group, (code, None), now)? {
            Verdict::Done => return Ok(true),
            Verdict::Later(moment) => self.due = moment,
            verdict @ (Verdict::Rejoin | Verdict::Lost) => {
                if verdict == Verdict::Lost {
                    self.id = Text::new();
                }
                self.step = Step::Join;
                self.due = now;
            }
        }
        Ok(false)
    }
}

impl Member for ClassicMember {
    fn due(&self) -> Nanos {
        self.due
    }

    fn question(&mut self, correlation_id: i32, now: Nanos) -> anyhow::Result<Bytes> {
        self.asked = now;
        match &self.step {
            Step::Join => framed(&self.join_request()?, JOIN_VERSION, correlation_id),
            Step::Sync(assignments) => {
                let request = self.sync_request(assignments);
                framed(&request, SYNC_VERSION, correlation_id)
            }
            Step::Beat => framed(&self.heartbeat_request(), HEARTBEAT_VERSION, correlation_id),
            Step::Leave | Step::Left => {
                framed(&self.leave_request(), LEAVE_VERSION, correlation_id)
            }
        }
    }

    fn is_beating(&self) -> bool {
        matches!(self.step, Step::Beat)
    }

    fn answer(&mut self, frame: Bytes, now: Nanos) -> anyhow::Result<Option<Share>> {
        match self.step {
            Step::Join => self.joined(frame, now)?,
            Step::Sync(_) => return self.synced(frame, now),
            Step::Beat => self.beaten(frame, now)?,
            // Whether it was still known there or not, it is gone.
            Step::Leave | Step::Left => self.step = Step::Left,
        }
        Ok(None)
    }

    fn leave(&mut self) {
        if !self.has_left() {
            self.step = Step::Leave;
            self.due = 0;
        }
    }

    fn has_left(&self) -> bool {
        matches!(self.step, Step::Left)
    }
}

/// The partitions of the topic, among these in their order.
fn share_out(
    terms: &Terms,
    members: &[JoinGroupResponseMember],
) -> anyhow::Result<Vec<SyncGroupRequestAssignment>> {
    let n_partitions = usize::try_from(terms.n_partitions).unwrap_or_default();
    let shares = split(n_partitions, members.len());
    let assigned = members.iter().zip(shares).map(|(member, share)| {
        let partitions = share.filter_map(|partition| i32::try_from(partition).ok());
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: vec![ConsumerProtocolTopicPartition {
                topic: terms.topic.clone(),
                partitions: partitions.collect(),
            }],
            ..ConsumerProtocolAssignment::default()
        };
        Ok(SyncGroupRequestAssignment {
            member_id: member.member_id.clone(),
            assignment: embedded(&assignment)?,
        })
    });
    assigned.collect()
}

/// So many in so many parts, as even as it comes out.
fn split(n: usize, n_parts: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n_parts).map(move |part| part * n / n_parts..(part + 1) * n / n_parts)
}

fn embedded<M: Versioned>(message: &M) -> anyhow::Result<Bytes> {
    let mut writer = Writer::new();
    writer.i16(EMBEDDED_VERSION);
    write_body(message, EMBEDDED_VERSION, &mut writer)
        .with_context(|| format!("{} cannot be written", M::NAME))?;
    Ok(writer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::frame::LENGTH_BYTES;
    use ottla_protocol::header::response_frame;
    use ottla_protocol::{Refusal, decode_request};

    fn member() -> ClassicMember {
        ClassicMember::new(Arc::new(Terms {
            group: "g".into(),
            topic: "t".into(),
            n_partitions: 5,
            session_ms: 45_000,
            heartbeat: 10,
        }))
    }

    /// The body of what it says: behind length, key, version, correlation id, client id and, if the
    /// version is flexible, no tags.
    fn said<R: ottla_protocol::Request>(member: &mut ClassicMember, version: i16, now: Nanos) -> R {
        let frame = member.question(1, now).unwrap();
        let client_id = super::super::target::CLIENT_ID.len();
        let header = LENGTH_BYTES + 10 + client_id + usize::from(R::version(version).flexible);
        assert_eq!(frame[LENGTH_BYTES..LENGTH_BYTES + 2], R::KEY.to_be_bytes());
        decode_request(frame.slice(header..), version).unwrap()
    }

    fn hears<M: Versioned>(
        member: &mut ClassicMember,
        message: &M,
        version: i16,
        now: Nanos,
    ) -> anyhow::Result<Option<Share>> {
        let frame = response_frame(message, version, 1).unwrap();
        member.answer(frame.slice(LENGTH_BYTES..), now)
    }

    fn joined(leader: &str, members: &[&str]) -> JoinGroupResponse {
        let members = members.iter().map(|id| JoinGroupResponseMember {
            member_id: Text::from(*id),
            ..JoinGroupResponseMember::default()
        });
        JoinGroupResponse {
            generation_id: 7,
            protocol_name: Some(RANGE),
            leader: leader.into(),
            member_id: "a".into(),
            members: members.collect(),
            ..JoinGroupResponse::default()
        }
    }

    #[test]
    fn a_leader_joins_with_the_id_it_is_given_and_shares_out() {
        let mut member = member();
        let first: JoinGroupRequest = said(&mut member, JOIN_VERSION, 0);
        assert_eq!((&*first.member_id, first.session_timeout_ms), ("", 45_000));
        let named = JoinGroupResponse {
            error_code: Refusal::MemberIdRequired.code(),
            protocol_name: Some(RANGE),
            member_id: "a".into(),
            ..JoinGroupResponse::default()
        };
        assert_eq!(hears(&mut member, &named, JOIN_VERSION, 3).unwrap(), None);
        assert_eq!(member.due(), 3);
        let second: JoinGroupRequest = said(&mut member, JOIN_VERSION, 3);
        assert_eq!(&*second.member_id, "a");
        let answer = joined("a", &["b", "a"]);
        assert_eq!(hears(&mut member, &answer, JOIN_VERSION, 4).unwrap(), None);
        let sync: SyncGroupRequest = said(&mut member, SYNC_VERSION, 4);
        assert_eq!((sync.generation_id, sync.assignments.len()), (7, 2));
        let mine = sync.assignments[1].clone();
        assert_eq!(&*mine.member_id, "a");
        let answer = SyncGroupResponse {
            assignment: mine.assignment,
            ..SyncGroupResponse::default()
        };
        let share = hears(&mut member, &answer, SYNC_VERSION, 5).unwrap();
        let expected = Share {
            generation: 7,
            partitions: vec![2, 3, 4],
        };
        assert_eq!(share, Some(expected));
        assert_eq!((member.is_beating(), member.due()), (true, 15));
    }

    #[test]
    fn heartbeats_keep_their_interval_and_end_with_the_generation() {
        let mut member = member();
        hears(&mut member, &joined("b", &[]), JOIN_VERSION, 0).unwrap();
        let sync: SyncGroupRequest = said(&mut member, SYNC_VERSION, 0);
        assert!(sync.assignments.is_empty());
        hears(&mut member, &SyncGroupResponse::default(), SYNC_VERSION, 1).unwrap();
        for (asked, answered, due) in [(11, 13, 21), (21, 40, 40)] {
            let beat: HeartbeatRequest = said(&mut member, HEARTBEAT_VERSION, asked);
            assert_eq!((beat.generation_id, &*beat.member_id), (7, "a"));
            let fine = HeartbeatResponse::default();
            hears(&mut member, &fine, HEARTBEAT_VERSION, answered).unwrap();
            assert_eq!(member.due(), due);
        }
        let over = HeartbeatResponse {
            error_code: Refusal::RebalanceInProgress.code(),
            ..HeartbeatResponse::default()
        };
        hears(&mut member, &over, HEARTBEAT_VERSION, 50).unwrap();
        let again: JoinGroupRequest = said(&mut member, JOIN_VERSION, 50);
        assert_eq!(&*again.member_id, "a");
    }

    #[test]
    fn who_is_unknown_joins_as_somebody_new_and_who_cannot_says_why() {
        let mut member = member();
        hears(&mut member, &joined("b", &[]), JOIN_VERSION, 0).unwrap();
        let refused = |refusal: Refusal| SyncGroupResponse {
            error_code: refusal.code(),
            ..SyncGroupResponse::default()
        };
        let busy = refused(Refusal::CoordinatorLoadInProgress);
        hears(&mut member, &busy, SYNC_VERSION, 1).unwrap();
        assert!(member.due() > 1);
        let due = member.due();
        said::<SyncGroupRequest>(&mut member, SYNC_VERSION, due);
        hears(
            &mut member,
            &refused(Refusal::UnknownMemberId),
            SYNC_VERSION,
            1,
        )
        .unwrap();
        let again: JoinGroupRequest = said(&mut member, JOIN_VERSION, 1);
        assert_eq!(&*again.member_id, "");
        let full = JoinGroupResponse {
            error_code: Refusal::GroupMaxSizeReached.code(),
            protocol_name: Some(RANGE),
            ..JoinGroupResponse::default()
        };
        let why = hears(&mut member, &full, JOIN_VERSION, 2)
            .unwrap_err()
            .to_string();
        assert!(why.starts_with("JoinGroup of group g was refused"), "{why}");
        assert!(member.answer(Bytes::from_static(&[0; 7]), 3).is_err());
    }

    #[test]
    fn who_leaves_is_gone_once_that_is_answered() {
        let mut member = member();
        hears(&mut member, &joined("b", &[]), JOIN_VERSION, 0).unwrap();
        member.leave();
        let leave: LeaveGroupRequest = said(&mut member, LEAVE_VERSION, 1);
        assert_eq!(&*leave.members[0].member_id, "a");
        assert!(!member.has_left());
        let gone = ottla_protocol::messages::LeaveGroupResponse::default();
        hears(&mut member, &gone, LEAVE_VERSION, 2).unwrap();
        member.leave();
        assert!(member.has_left());
    }

    #[test]
    fn parts_are_even_and_lack_nothing() {
        for n in 0..20 {
            for n_parts in 1..25 {
                let parts: Vec<_> = split(n, n_parts).collect();
                let all: Vec<_> = parts.iter().cloned().flatten().collect();
                assert_eq!(all, (0..n).collect::<Vec<_>>());
                let most = parts.iter().map(Range::len).max().unwrap();
                let least = parts.iter().map(Range::len).min().unwrap();
                assert!(most - least <= 1, "{n} in {n_parts}");
            }
        }
        assert_eq!(split(5, 0).count(), 0);
    }
}

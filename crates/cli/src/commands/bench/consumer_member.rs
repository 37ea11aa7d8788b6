//! A member of the consumer protocol (KIP-848): one heartbeat says everything. Pure.
//!
//! What it is assigned it has at once, and what it is to give up it has no more: its next heartbeat,
//! which is due then, tells so.

use std::sync::Arc;

use anyhow::ensure;
use bytes::Bytes;
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatAssignment, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, ConsumerGroupHeartbeatTopicPartitions,
};
use ottla_protocol::{Text, Uuid};

use super::dialogue::{framed, read};
use super::member::{Member, Share, Terms, Verdict, judge};
use super::schedule::Nanos;

/// Members name themselves from this version on.
pub(super) const VERSION: i16 = 1;
const REBALANCE_MS: i32 = 300_000;
const MILLISECOND: Nanos = 1_000_000;
/// Epochs that mean something else.
const JOINS: i32 = 0;
const LEAVES: i32 = -1;

#[derive(Debug)]
pub(super) struct ConsumerMember {
    terms: Arc<Terms>,
    topic_id: Uuid,
    id: Text,
    epoch: i32,
    owned: Vec<i32>,
    is_owned_told: bool,
    is_leaving: bool,
    has_left: bool,
    due: Nanos,
    asked: Nanos,
}

impl ConsumerMember {
    pub(super) fn new(terms: Arc<Terms>, topic_id: Uuid, id: Text) -> Self {
        Self {
            terms,
            topic_id,
            id,
            epoch: JOINS,
            owned: Vec::new(),
            is_owned_told: false,
            is_leaving: false,
            has_left: false,
            due: 0,
            asked: 0,
        }
    }

    /// What the coordinator does not know; everything when joining.
    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.terms.group.clone(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if self.is_leaving {
            return ConsumerGroupHeartbeatRequest {
                member_epoch: LEAVES,
                ..request
            };
        }
        if self.epoch == JOINS {
            return ConsumerGroupHeartbeatRequest {
                rebalance_timeout_ms: REBALANCE_MS,
                subscribed_topic_names: Some(vec![self.terms.topic.clone()]),
                topic_partitions: Some(Vec::new()),
                ..request
            };
        }
        let topic_partitions = (!self.is_owned_told).then(|| self.owned_topics());
        ConsumerGroupHeartbeatRequest {
            topic_partitions,
            ..request
        }
    }

    fn owned_topics(&self) -> Vec<ConsumerGroupHeartbeatTopicPartitions> {
        if self.owned.is_empty() {
            return Vec::new();
        }
        vec![ConsumerGroupHeartbeatTopicPartitions {
            topic_id: self.topic_id,
            partitions: self.owned.clone(),
        }]
    }

    /// Whether that is news.
    fn take(&mut self, assignment: ConsumerGroupHeartbeatAssignment) -> anyhow::Result<bool> {
        let mut owned = Vec::new();
        for topic in assignment.topic_partitions {
            ensure!(
                topic.topic_id == self.topic_id,
                "group {} was assigned a topic that it does not read",
                self.terms.group
            );
            owned.extend(topic.partitions);
        }
        owned.sort_unstable();
        let is_news = owned != self.owned;
        self.owned = owned;
        Ok(is_news)
    }

    fn share(&self) -> Share {
        Share {
            generation: 0,
            partitions: self.owned.clone(),
        }
    }

    fn join_again(&mut self, now: Nanos) {
        self.epoch = JOINS;
        self.owned.clear();
        self.is_owned_told = false;
        self.due = now;
    }
}

impl Member for ConsumerMember {
    fn due(&self) -> Nanos {
        self.due
    }

    fn question(&mut self, correlation_id: i32, now: Nanos) -> anyhow::Result<Bytes> {
        self.asked = now;
        framed(&self.request(), VERSION, correlation_id)
    }

    fn is_beating(&self) -> bool {
        self.epoch > JOINS && !self.is_leaving
    }

    fn answer(&mut self, frame: Bytes, now: Nanos) -> anyhow::Result<Option<Share>> {
        if self.is_leaving {
            // Whether it was still known there or not, it is gone.
            self.has_left = true;
            return Ok(None);
        }
        let answer: ConsumerGroupHeartbeatResponse = read(frame, VERSION)?;
        let refused = (answer.error_code, answer.error_message.as_deref());
        match judge("ConsumerGroupHeartbeat", &self.terms.group, refused, now)? {
            Verdict::Done => {}
            Verdict::Later(moment) => {
                self.due = moment;
                return Ok(None);
            }
            Verdict::Rejoin | Verdict::Lost => {
                self.join_again(now);
                return Ok(Some(self.share()));
            }
        }
        let was_joining = self.epoch == JOINS;
        self.epoch = answer.member_epoch;
        let is_news = match answer.assignment {
            Some(assignment) => self.take(assignment)?,
            None => false,
        };
        self.is_owned_told = !is_news;
        self.due = if is_news {
            now
        } else {
            let ms = Nanos::try_from(answer.heartbeat_interval_ms).unwrap_or_default();
            now.max(self.asked + ms * MILLISECOND)
        };
        Ok((is_news || was_joining).then(|| self.share()))
    }

    fn leave(&mut self) {
        self.is_leaving = true;
        self.due = 0;
    }

    fn has_left(&self) -> bool {
        self.has_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::Refusal;
    use ottla_protocol::frame::LENGTH_BYTES;
    use ottla_protocol::header::response_frame;

    const TOPIC: Uuid = Uuid::from_u128(1_000);

    fn member() -> ConsumerMember {
        let terms = Terms {
            group: "g".into(),
            topic: "t".into(),
            n_partitions: 5,
            session_ms: 45_000,
            heartbeat: 10,
        };
        ConsumerMember::new(Arc::new(terms), TOPIC, "m".into())
    }

    /// What it asks at this moment.
    fn asks(member: &mut ConsumerMember, now: Nanos) -> ConsumerGroupHeartbeatRequest {
        member.question(1, now).unwrap();
        member.request()
    }

    fn answer(epoch: i32, partitions: Option<&[i32]>) -> ConsumerGroupHeartbeatResponse {
        let assignment = partitions.map(|partitions| ConsumerGroupHeartbeatAssignment {
            topic_partitions: vec![ConsumerGroupHeartbeatTopicPartitions {
                topic_id: TOPIC,
                partitions: partitions.to_vec(),
            }],
        });
        ConsumerGroupHeartbeatResponse {
            member_epoch: epoch,
            heartbeat_interval_ms: 2,
            assignment,
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }

    fn hears(
        member: &mut ConsumerMember,
        message: &ConsumerGroupHeartbeatResponse,
        now: Nanos,
    ) -> anyhow::Result<Option<Vec<i32>>> {
        let frame = response_frame(message, VERSION, 1).unwrap();
        let share = member.answer(frame.slice(LENGTH_BYTES..), now)?;
        Ok(share.map(|share| share.partitions))
    }

    #[test]
    fn what_is_assigned_is_told_at_once_and_only_once() {
        let mut member = member();
        let join = asks(&mut member, 5);
        assert_eq!((join.member_epoch, &*join.member_id), (JOINS, "m"));
        assert_eq!(join.topic_partitions, Some(vec![]));
        assert!(!member.is_beating());
        let heard = hears(&mut member, &answer(1, Some(&[3, 1])), 7).unwrap();
        assert_eq!(heard, Some(vec![1, 3]));
        assert_eq!((member.due(), member.is_beating()), (7, true));
        let told = asks(&mut member, 7);
        assert_eq!((told.member_epoch, told.rebalance_timeout_ms), (1, -1));
        assert_eq!(told.topic_partitions.unwrap()[0].partitions, [1, 3]);
        assert_eq!(told.subscribed_topic_names, None);
        assert_eq!(hears(&mut member, &answer(2, None), 9).unwrap(), None);
        assert_eq!(member.due(), 7 + 2 * MILLISECOND);
        assert_eq!(asks(&mut member, 10).topic_partitions, None);
        // The same again is no news, and none is.
        let same = answer(2, Some(&[1, 3]));
        assert_eq!(hears(&mut member, &same, 11).unwrap(), None);
        let heard = hears(&mut member, &answer(2, Some(&[])), 12).unwrap();
        assert_eq!(heard, Some(vec![]));
        assert_eq!(asks(&mut member, 12).topic_partitions, Some(vec![]));
    }

    #[test]
    fn who_joins_has_a_share_even_if_it_is_nothing() {
        let mut member = member();
        assert_eq!(
            hears(&mut member, &answer(1, None), 5).unwrap(),
            Some(vec![])
        );
        assert_eq!(hears(&mut member, &answer(1, None), 6).unwrap(), None);
    }

    #[test]
    fn who_is_fenced_has_nothing_and_joins_again() {
        let mut member = member();
        hears(&mut member, &answer(3, Some(&[0])), 5).unwrap();
        let refused = |refusal: Refusal| ConsumerGroupHeartbeatResponse {
            error_code: refusal.code(),
            error_message: Some("so it is".into()),
            ..ConsumerGroupHeartbeatResponse::default()
        };
        let busy = refused(Refusal::CoordinatorLoadInProgress);
        assert_eq!(hears(&mut member, &busy, 6).unwrap(), None);
        assert!(member.due() > 6);
        assert!(asks(&mut member, 7).topic_partitions.is_some());
        let fenced = refused(Refusal::FencedMemberEpoch);
        assert_eq!(hears(&mut member, &fenced, 8).unwrap(), Some(vec![]));
        assert_eq!(asks(&mut member, 8).member_epoch, JOINS);
        let full = hears(&mut member, &refused(Refusal::GroupMaxSizeReached), 9);
        let why = full.unwrap_err().to_string();
        assert!(
            why.contains("group g was refused") && why.contains("so it is"),
            "{why}"
        );
    }

    #[test]
    fn another_topic_is_no_assignment() {
        let mut member = member();
        let mut other = answer(1, Some(&[0]));
        other.assignment.as_mut().unwrap().topic_partitions[0].topic_id = Uuid::from_u128(7_777);
        assert!(hears(&mut member, &other, 5).is_err());
    }

    #[test]
    fn who_leaves_is_gone_once_that_is_answered() {
        let mut member = member();
        hears(&mut member, &answer(3, Some(&[0])), 5).unwrap();
        member.leave();
        assert_eq!((member.due(), member.is_beating()), (0, false));
        let leave = asks(&mut member, 6);
        assert_eq!((leave.member_epoch, leave.topic_partitions), (LEAVES, None));
        hears(&mut member, &answer(LEAVES, None), 7).unwrap();
        assert!(member.has_left());
    }
}

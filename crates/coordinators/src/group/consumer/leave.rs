//! Members go: because they say so, because nobody hears from them, or because they do not give up
//! what they must.

use ottla_protocol::Text;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::check::UnfitRequest;
use super::downgrade::Change;
use super::member::AWAY_EPOCH;
use super::{ConsumerGroup, Member, MemberState};
use crate::group::TopicImage;
use crate::group::timers::Timer;
use crate::group::topic_hash::TopicHashes;
use crate::group::turn::Turn;

impl ConsumerGroup {
    /// A heartbeat of someone who leaves, for good or for a while.
    pub(in crate::group) fn leave(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn TopicImage,
        hashes: &mut TopicHashes,
        turn: &mut Turn<'_>,
    ) -> Result<ConsumerGroupHeartbeatResponse, UnfitRequest> {
        let member = match request.instance_id.as_deref() {
            Some(instance) => self.holder(instance, &request.member_id)?,
            None => match self.member(&request.member_id) {
                Some(member) => member,
                None => return Err(self.stranger(&request.member_id)),
            },
        };
        match request.instance_id {
            Some(_) if request.member_epoch == AWAY_EPOCH => self.go_away(member, turn),
            _ => self.fence(&[member], topics, hashes, turn),
        }
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(Text::from(&*member.id)),
            member_epoch: request.member_epoch,
            ..ConsumerGroupHeartbeatResponse::default()
        })
    }

    /// A static member keeps its partitions until it is back, or its session is over. They count as
    /// assigned from the start then: the member comes back under another id.
    fn go_away(&self, member: &Member, turn: &mut Turn<'_>) {
        let mut away = member.clone();
        away.epoch = AWAY_EPOCH;
        away.revoking.clear();
        for since in away.assigned.values_mut().flat_map(|it| it.values_mut()) {
            *since = 0;
        }
        turn.write(self.current_record(&away));
    }

    /// Takes members out; what they had goes to others with the next target assignment. If those who
    /// stay speak the classic protocol, the group becomes a classic one.
    pub(in crate::group) fn fence(
        &self,
        members: &[&Member],
        topics: &dyn TopicImage,
        hashes: &mut TopicHashes,
        turn: &mut Turn<'_>,
    ) {
        if self.may_downgrade_without(members, turn.settings) {
            let change = Change {
                leaving: members,
                replaced: None,
                rebalances: true,
            };
            if self.downgrade(&change, topics, turn) {
                return;
            }
        }
        let mut left = self.subscriptions();
        for member in members {
            let tombstones = self.member_tombstones(&member.id);
            tombstones.into_iter().for_each(|record| turn.write(record));
            left.lose(self, member);
            self.stop_clocks_of(&member.id, turn);
        }
        for pattern in self.patterns.keys() {
            if !left.patterns.contains_key(pattern) {
                turn.write(self.pattern_record(pattern, None));
            }
        }
        let hash = hashes.of_group(left.topics.keys(), topics);
        turn.write(self.epoch_record(self.epoch.saturating_add(1), hash));
    }

    /// Whether a member that has had enough time is still not done.
    pub(in crate::group) fn is_slow(&self, member: &Member) -> bool {
        member.state == MemberState::UnrevokedPartitions && member.epoch != AWAY_EPOCH
    }

    /// The group has just been loaded, or what was decided about it has not been written: clocks
    /// that do not run are started.
    pub(in crate::group) fn start_clocks(&self, turn: &mut Turn<'_>) {
        let session_ms = turn
            .settings
            .consumer
            .of(&self.id)
            .session_timeout_ms
            .into();
        for member in self.members.values() {
            let session = Timer::ConsumerSession(self.id.clone(), member.id.clone());
            turn.timers.set_if_absent(session, turn.now, session_ms);
            if self.is_slow(member) {
                let rebalance = Timer::Rebalance(self.id.clone(), member.id.clone());
                let ms = member.rebalance_timeout_ms.into();
                turn.timers.set_if_absent(rebalance, turn.now, ms);
            }
        }
    }
}

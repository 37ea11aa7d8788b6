//! The consumer protocol's requests and timers, up to the group they are about.

use std::sync::Arc;

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, MemberIdentity, MemberResponse,
};
use ottla_protocol::{NONE, Refusal, Uuid};

use super::check::{UnfitRequest, check};
use super::heartbeat::{Beat, Beaten};
use super::member::{AWAY_EPOCH, JOIN_EPOCH, LEAVE_EPOCH};
use super::pattern::{PatternErrand, ResolvedPatterns};
use super::{ConsumerGroup, Member};
use crate::group::classic::ClassicState;
use crate::group::offsets::group_tombstone;
use crate::group::records::GroupRecord;
use crate::group::turn::{Outcome, Turn};
use crate::group::{Client, GroupDecision, GroupLedger, GroupReply, TopicImage};
use crate::ledger::{Answer, Now, When};

impl GroupLedger {
    /// ConsumerGroupHeartbeat. `fresh_id` becomes the member id, if the request brings none.
    pub fn consumer_group_heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        version: i16,
        client: Client<'_>,
        fresh_id: Uuid,
        topics: &dyn TopicImage,
        now: Now,
    ) -> GroupDecision {
        let decided =
            check(request, version, &self.settings.consumer.assignors).and_then(|()| match request
                .member_epoch
            {
                LEAVE_EPOCH | AWAY_EPOCH => self.leave_consumer_group(request, topics, now),
                _ => self.beat_consumer_group(request, client, fresh_id, topics, now),
            });
        match decided {
            Ok(decision) => decision,
            Err(unfit) => self.at_once(refused(unfit)),
        }
    }

    fn beat_consumer_group(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        client: Client<'_>,
        fresh_id: Uuid,
        topics: &dyn TopicImage,
        now: Now,
    ) -> Result<GroupDecision, UnfitRequest> {
        let group_id = &*request.group_id;
        let joins = request.member_epoch == JOIN_EPOCH;
        let gone = match self.consumers.contains_key(group_id) {
            true => None,
            false => self.make_consumer_group(group_id, joins)?,
        };
        let is_resolving = self.resolving.contains(group_id);
        let (beaten, outcome) = self.on_consumer_group(group_id, now, |group, turn, hashes| {
            gone.into_iter().for_each(|record| turn.write(record));
            let mut beat = Beat {
                request,
                client,
                fresh_id,
                topics,
                hashes,
                is_resolving,
            };
            group.beat(&mut beat, turn)
        });
        let beaten = beaten?;
        Ok(self.beaten(group_id, beaten, outcome))
    }

    fn beaten(&mut self, group_id: &str, beaten: Beaten, outcome: Outcome) -> GroupDecision {
        self.counts.consumer_rebalances += u64::from(beaten.has_new_epoch);
        if let Some(group) = self.consumers.get_mut(group_id)
            && beaten.looked_at.is_some()
        {
            group.looked_at = beaten.looked_at;
        }
        if let Some(errand) = beaten.errand {
            self.resolving.insert(errand.group.clone());
            self.errands.push_back(errand);
        }
        let reply = GroupReply::ConsumerHeartbeat(beaten.response);
        self.consumer_decision(group_id, outcome, reply)
    }

    /// The records of what has to go before a group of this name can be made. A classic group that
    /// has members keeps its name: members do not change the protocol while they are in.
    fn make_consumer_group(
        &self,
        group_id: &str,
        joins: bool,
    ) -> Result<Option<GroupRecord>, UnfitRequest> {
        let not_found = |why: &str| {
            let why = format!("Group {group_id} {why}.");
            Err(UnfitRequest::new(Refusal::GroupIdNotFound, why))
        };
        match self.live.get_key_value(group_id) {
            Some((id, group)) if joins && group.state() == ClassicState::Empty => {
                Ok(Some(group_tombstone(id)))
            }
            Some(_) if joins => not_found(
                "is a classic group with members, which cannot become a consumer group here",
            ),
            None if joins && !self.others.contains_key(group_id) => Ok(None),
            None if !self.others.contains_key(group_id) => not_found("not found"),
            _ => not_found("is not a consumer group"),
        }
    }

    fn leave_consumer_group(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn TopicImage,
        now: Now,
    ) -> Result<GroupDecision, UnfitRequest> {
        let group_id = &*request.group_id;
        if !self.consumers.contains_key(group_id) {
            self.make_consumer_group(group_id, false)?;
        }
        let (left, outcome) = self.on_consumer_group(group_id, now, |group, turn, hashes| {
            group.leave(request, topics, hashes, turn)
        });
        let reply = GroupReply::ConsumerHeartbeat(left?);
        Ok(self.consumer_decision(group_id, outcome, reply))
    }

    /// LeaveGroup, which administrators use to take members out, whatever protocol they speak.
    pub(in crate::group) fn remove_consumers(
        &mut self,
        group_id: &str,
        leaving: &[MemberIdentity],
        topics: &dyn TopicImage,
        now: Now,
    ) -> (Vec<MemberResponse>, Outcome) {
        self.on_consumer_group(group_id, now, |group, turn, hashes| {
            let mut fenced: Vec<&Member> = Vec::new();
            let responses = leaving.iter().map(|identity| {
                let found = group.identified(identity);
                if let Ok(member) = found
                    && !fenced.iter().any(|known| known.id == member.id)
                {
                    fenced.push(member);
                }
                MemberResponse {
                    member_id: identity.member_id.clone(),
                    group_instance_id: identity.group_instance_id.clone(),
                    error_code: found.map_or_else(Refusal::code, |_| NONE),
                }
            });
            let responses = responses.collect();
            if !fenced.is_empty() {
                group.fence(&fenced, topics, hashes, turn);
            }
            responses
        })
    }

    /// A member has been silent for too long, or has not given up in time what it must.
    pub(in crate::group) fn consumer_timed_out(
        &mut self,
        group_id: &str,
        member_id: &str,
        only_if_slow: bool,
        topics: &dyn TopicImage,
        now: Now,
    ) -> GroupDecision {
        let ((), outcome) = self.on_consumer_group(group_id, now, |group, turn, hashes| {
            if let Some(member) = group.member(member_id)
                && (!only_if_slow || group.is_slow(member))
            {
                group.fence(&[member], topics, hashes, turn);
            }
        });
        self.decision(outcome, Answer::Nobody)
    }

    /// What an errand has brought back.
    pub fn patterns_resolved(
        &mut self,
        resolved: &ResolvedPatterns,
        topics: &dyn TopicImage,
        now: Now,
    ) -> GroupDecision {
        self.resolving.remove(&resolved.group);
        if !self.consumers.contains_key(&resolved.group) {
            return self.plain_decision(Vec::new(), Answer::Nobody);
        }
        let (moves_on, outcome) =
            self.on_consumer_group(&resolved.group, now, |group, turn, hashes| {
                group.take_resolved(resolved, topics, hashes, turn)
            });
        self.counts.consumer_rebalances += u64::from(moves_on);
        self.decision(outcome, Answer::Nobody)
    }

    /// Patterns that are to be held against all topics.
    pub fn next_errand(&mut self) -> Option<PatternErrand> {
        self.errands.pop_front()
    }

    /// Lets `decide` loose on one group, or on a new one, which is there once its records are.
    fn on_consumer_group<T>(
        &mut self,
        group_id: &str,
        now: Now,
        decide: impl FnOnce(&ConsumerGroup, &mut Turn<'_>, &mut crate::group::TopicHashes) -> T,
    ) -> (T, Outcome) {
        let seen = self.seen(group_id);
        let Self {
            consumers,
            settings,
            timers,
            tickets,
            hashes,
            ..
        } = self;
        let new;
        let group = match consumers.get(group_id) {
            Some(group) => group,
            None => {
                new = ConsumerGroup::new(Arc::from(group_id));
                &new
            }
        };
        let mut turn = Turn::new(now, settings, timers, tickets, seen);
        let verdict = decide(group, &mut turn, hashes);
        (verdict, turn.done())
    }

    /// The reply rests on the records of this decision, or on those that the group wrote last.
    fn consumer_decision(
        &self,
        group_id: &str,
        outcome: Outcome,
        reply: GroupReply,
    ) -> GroupDecision {
        let when = match outcome.records.is_empty() {
            true => self.seen(group_id),
            false => When::AfterAppend,
        };
        self.decision(outcome, Answer::Now(reply, when))
    }
}

impl ConsumerGroup {
    /// An administrator may name a static member by its instance alone.
    fn identified(&self, identity: &MemberIdentity) -> Result<&Member, Refusal> {
        let found = match identity.group_instance_id.as_deref() {
            None => self.member(&identity.member_id),
            Some(instance) if identity.member_id.is_empty() => self.static_member(instance),
            Some(instance) => {
                let holder = self.holder(instance, &identity.member_id);
                return holder.map_err(|unfit| unfit.refusal);
            }
        };
        found.ok_or(Refusal::UnknownMemberId)
    }
}

fn refused(unfit: UnfitRequest) -> GroupReply {
    GroupReply::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
        error_code: unfit.refusal.code(),
        error_message: Some(unfit.why.into()),
        ..ConsumerGroupHeartbeatResponse::default()
    })
}

//! The consumer protocol's requests and timers, up to the group they are about.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest,
    JoinGroupRequest, MemberIdentity, MemberResponse, SyncGroupRequest,
};
use ottla_protocol::{NONE, Refusal, Uuid};

use super::advance::Around;
use super::check::{UnfitRequest, check};
use super::classic_members::ClassicJoin;
use super::heartbeat::{Beat, Beaten};
use super::member::{AWAY_EPOCH, JOIN_EPOCH, LEAVE_EPOCH};
use super::pattern::{PatternErrand, ResolvedPatterns};
use super::upgrade::may_upgrade;
use super::{ConsumerGroup, Member};
use crate::group::classic::{ClassicState, join_refused, sync_refused};
use crate::group::offsets::group_tombstone;
use crate::group::records::GroupRecord;
use crate::group::topic_hash::TopicHashes;
use crate::group::turn::{Outcome, Turn};
use crate::group::{Client, GroupDecision, GroupLedger, GroupReply, TopicImage};
use crate::ledger::{Answer, Now, When};

/// A group that is not there yet.
struct Made {
    group: ConsumerGroup,
    /// What has to be written before anything of its members is.
    records: Vec<GroupRecord>,
}

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
        let made = match self.consumers.contains_key(group_id) {
            true => None,
            false => Some(self.make_consumer_group(group_id, joins, topics)?),
        };
        let is_resolving = self.resolving.contains(group_id);
        let decide = |group: &ConsumerGroup, turn: &mut Turn<'_>, hashes: &mut TopicHashes| {
            let around = Around {
                topics,
                hashes,
                is_resolving,
            };
            let mut beat = Beat {
                request,
                client,
                fresh_id,
                around,
            };
            group.beat(&mut beat, turn)
        };
        let (beaten, mut outcome) = match made {
            None => self.on_consumer_group(group_id, now, decide),
            Some(made) => self.on_made_group(&made, now, decide),
        };
        let beaten = beaten?;
        // A classic group that changes its protocol owes its members answers: they come again.
        let told = self.on_group(group_id, now, |group, turn| {
            group.refuse_all(Refusal::RebalanceInProgress, turn);
        });
        let told = told.into_iter().flat_map(|(_, told)| told.released);
        outcome.released.extend(told);
        Ok(self.beaten(group_id, beaten, outcome))
    }

    /// JoinGroup of a group of the consumer protocol that has members.
    pub(in crate::group) fn join_consumers(
        &mut self,
        request: &JoinGroupRequest,
        version: i16,
        client: Client<'_>,
        fresh_id: Uuid,
        topics: &dyn TopicImage,
        now: Now,
    ) -> GroupDecision {
        let group_id = &*request.group_id;
        let is_resolving = self.resolving.contains(group_id);
        let (joined, outcome) = self.on_consumer_group(group_id, now, |group, turn, hashes| {
            let around = Around {
                topics,
                hashes,
                is_resolving,
            };
            let mut join = ClassicJoin {
                request,
                version,
                client,
                fresh_id,
                around,
            };
            group.join_classic(&mut join, turn)
        });
        match joined {
            Ok(joined) => self.beaten(group_id, joined, outcome),
            Err(unfit) => self.at_once(join_refused(version, "", unfit.refusal)),
        }
    }

    /// SyncGroup of a group of the consumer protocol.
    pub(in crate::group) fn sync_consumers(
        &mut self,
        request: &SyncGroupRequest,
        topics: &dyn TopicImage,
        now: Now,
    ) -> GroupDecision {
        let group_id = &*request.group_id;
        let (synced, outcome) = self.on_consumer_group(group_id, now, |group, turn, _| {
            group.sync_classic(request, topics, turn)
        });
        match synced {
            Ok(response) => self.consumer_decision(group_id, outcome, GroupReply::Sync(response)),
            Err(refusal) => self.at_once(sync_refused(refusal)),
        }
    }

    /// Heartbeat of a member of a group of the consumer protocol.
    pub(in crate::group) fn beat_consumers(
        &mut self,
        request: &HeartbeatRequest,
        topics: &dyn TopicImage,
        now: Now,
    ) -> Result<(), Refusal> {
        let beat = |group: &ConsumerGroup, turn: &mut Turn<'_>, hashes: &mut TopicHashes| {
            let mut around = Around {
                topics,
                hashes,
                is_resolving: false,
            };
            group.beat_classic(request, &mut around, turn)
        };
        let (verdict, _) = self.on_consumer_group(&request.group_id, now, beat);
        if verdict.is_ok()
            && let Some(group) = self.consumers.get_mut(&*request.group_id)
        {
            group.has_looked(topics.topics_version());
        }
        verdict
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
        self.consumer_decision(group_id, outcome, beaten.reply)
    }

    /// A group that is not there yet, and the records that come before its own. A classic group that
    /// has members takes them along.
    fn make_consumer_group(
        &mut self,
        group_id: &str,
        joins: bool,
        topics: &dyn TopicImage,
    ) -> Result<Made, UnfitRequest> {
        let Self {
            live,
            settings,
            hashes,
            ..
        } = self;
        match live.get_key_value(group_id) {
            Some((id, group)) if joins && group.state() == ClassicState::Empty => Ok(Made {
                group: ConsumerGroup::new(id.clone()),
                records: vec![group_tombstone(id)],
            }),
            Some((id, classic)) if joins => {
                may_upgrade(classic, &settings.consumer)?;
                let group = ConsumerGroup::of_classic(classic, topics, hashes)?;
                let mut records = vec![group_tombstone(id)];
                records.extend(group.founding_records());
                Ok(Made { group, records })
            }
            None if joins && !self.others.contains_key(group_id) => Ok(Made {
                group: ConsumerGroup::new(group_id.into()),
                records: Vec::new(),
            }),
            _ => Err(self.not_there(group_id)),
        }
    }

    fn not_there(&self, group_id: &str) -> UnfitRequest {
        let is_other = self.live.contains_key(group_id) || self.others.contains_key(group_id);
        let why = match is_other {
            true => "is not a consumer group",
            false => "not found",
        };
        let why = format!("Group {group_id} {why}.");
        UnfitRequest::new(Refusal::GroupIdNotFound, why)
    }

    fn leave_consumer_group(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        topics: &dyn TopicImage,
        now: Now,
    ) -> Result<GroupDecision, UnfitRequest> {
        let group_id = &*request.group_id;
        if !self.consumers.contains_key(group_id) {
            return Err(self.not_there(group_id));
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
            let (fenced, responses) = group.leavers(leaving);
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

    /// Lets `decide` loose on one group; one that does not exist has no members.
    fn on_consumer_group<T>(
        &mut self,
        group_id: &str,
        now: Now,
        decide: impl FnOnce(&ConsumerGroup, &mut Turn<'_>, &mut TopicHashes) -> T,
    ) -> (T, Outcome) {
        let seen = self.seen(group_id);
        let Self {
            consumers,
            settings,
            timers,
            tickets,
            hashes,
            live,
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
        let mut outcome = turn.done();
        if let Some(classic) = outcome.successor.take() {
            live.insert(classic.id().clone(), classic);
        }
        (verdict, outcome)
    }

    /// Lets `decide` loose on a group that is there once its records are.
    fn on_made_group<T>(
        &mut self,
        made: &Made,
        now: Now,
        decide: impl FnOnce(&ConsumerGroup, &mut Turn<'_>, &mut TopicHashes) -> T,
    ) -> (T, Outcome) {
        let seen = self.seen(&made.group.id);
        let Self {
            settings,
            timers,
            tickets,
            hashes,
            ..
        } = self;
        let mut turn = Turn::new(now, settings, timers, tickets, seen);
        made.records.iter().for_each(|it| turn.write(it.clone()));
        made.group.watch_classic(&mut turn);
        let verdict = decide(&made.group, &mut turn, hashes);
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
    /// Who is named, each once, and what is answered of each name.
    fn leavers(&self, leaving: &[MemberIdentity]) -> (Vec<&Member>, Vec<MemberResponse>) {
        let (mut seen, mut fenced) = (HashSet::new(), Vec::new());
        let responses = leaving.iter().map(|identity| {
            let found = self.identified(identity);
            if let Ok(member) = found
                && seen.insert(&*member.id)
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
        (fenced, responses)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_great_many_members_leave_each_once() {
        const N: usize = 100_000;
        let mut group = ConsumerGroup::new("g".into());
        for n in 0..N {
            group.put(Member::new(format!("m{n}").into()));
        }
        let twice = (0..N).chain(0..N);
        let identities = twice.map(|n| MemberIdentity {
            member_id: format!("m{n}").into(),
            ..MemberIdentity::default()
        });
        let (fenced, responses) = group.leavers(&identities.collect::<Vec<_>>());
        assert_eq!((fenced.len(), responses.len()), (N, 2 * N));
        assert!(responses.iter().all(|response| response.error_code == NONE));
    }
}

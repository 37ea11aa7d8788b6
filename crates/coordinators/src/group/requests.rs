//! The classic protocol's requests, up to the group they are about, and all timers.

use ottla_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, LeaveGroupRequest, LeaveGroupResponse,
    MemberIdentity, MemberResponse, SyncGroupRequest,
};
use ottla_protocol::{NONE, Refusal, Uuid};

use super::classic::{ClassicGroup, Joining, join_refused, sync_refused};
use super::others::OtherKind;
use super::records::GroupRecord;
use super::timers::Timer;
use super::turn::Turn;
use super::{Client, GroupDecision, GroupLedger, GroupReply, TopicImage};
use crate::ledger::{Answer, Now, When};

/// LeaveGroup names several members from here on.
const SEVERAL_LEAVE_FROM: i16 = 3;
/// SyncGroup must name the protocol from here on.
const SYNC_NAMES_PROTOCOL_FROM: i16 = 5;

impl GroupLedger {
    /// JoinGroup. `fresh_id` becomes part of the member id, if one is given out.
    pub fn join_group(
        &mut self,
        request: &JoinGroupRequest,
        version: i16,
        client: Client<'_>,
        fresh_id: Uuid,
        topics: &dyn TopicImage,
        now: Now,
    ) -> GroupDecision {
        if let Err((member_id, refusal)) = self.may_join(request) {
            return self.at_once(join_refused(version, member_id, refusal));
        }
        let request = &with_rebalance_timeout(request, version);
        if self.has_consumers(&request.group_id) {
            return self.join_consumers(request, version, client, fresh_id, topics, now);
        }
        let mut born = Vec::new();
        let is_new = !self.live.contains_key(&*request.group_id);
        if is_new {
            born = self.take_over(&request.group_id);
        }
        let joining = Joining {
            request,
            version,
            client,
            fresh_id,
        };
        let (reply, outcome) = self.on_group_or_new(&request.group_id, now, |group, turn| {
            let reply = group.join(joining, turn);
            // A group that is only just there is written down, or its members would be strangers
            // to the broker that comes after us.
            if is_new && turn.writes_nothing() {
                born.drain(..).for_each(|record| turn.write(record));
                turn.write(group.birth_record());
            }
            reply
        });
        self.decision(outcome, reply)
    }

    /// The member id to answer with, and why not.
    fn may_join<'a>(&self, request: &'a JoinGroupRequest) -> Result<(), (&'a str, Refusal)> {
        let member_id = &*request.member_id;
        let sessions = self.settings.min_session_timeout_ms..=self.settings.max_session_timeout_ms;
        if request.group_id.is_empty() {
            return Err((member_id, Refusal::InvalidGroupId));
        }
        if !sessions.contains(&request.session_timeout_ms) {
            return Err((member_id, Refusal::InvalidSessionTimeout));
        }
        if let Some(other) = self.others.get(&*request.group_id)
            && (!other.is_empty() || other.kind == OtherKind::Share)
        {
            return Err(("", Refusal::InconsistentGroupProtocol));
        }
        let is_there = self.live.contains_key(&*request.group_id);
        if !member_id.is_empty() && !is_there && !self.has_consumers(&request.group_id) {
            return Err((member_id, Refusal::UnknownMemberId));
        }
        Ok(())
    }

    /// Whether the group is of the consumer protocol and has members.
    fn has_consumers(&self, group_id: &str) -> bool {
        let group = self.consumers.get(group_id);
        group.is_some_and(|group| !group.is_empty())
    }

    /// An empty group of another protocol gives its name to a classic one.
    fn take_over(&self, group_id: &str) -> Vec<GroupRecord> {
        if let Some(group) = self.consumers.get(group_id) {
            return group.tombstones();
        }
        self.others
            .get(group_id)
            .map(|other| other.tombstones(group_id))
            .unwrap_or_default()
    }

    /// SyncGroup.
    pub fn sync_group(
        &mut self,
        request: &SyncGroupRequest,
        version: i16,
        topics: &dyn TopicImage,
        now: Now,
    ) -> GroupDecision {
        let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
        if version >= SYNC_NAMES_PROTOCOL_FROM && !names_protocol {
            return self.at_once(sync_refused(Refusal::InconsistentGroupProtocol));
        }
        if request.group_id.is_empty() {
            return self.at_once(sync_refused(Refusal::InvalidGroupId));
        }
        if self.has_consumers(&request.group_id) {
            return self.sync_consumers(request, topics, now);
        }
        match self.on_group(&request.group_id, now, |group, turn| {
            group.sync(request, turn)
        }) {
            Some((reply, outcome)) => self.decision(outcome, reply),
            None => self.at_once(sync_refused(Refusal::UnknownMemberId)),
        }
    }

    /// Heartbeat. The reply never waits for the log.
    pub fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        topics: &dyn TopicImage,
        now: Now,
    ) -> GroupDecision {
        let beat = |group: &mut ClassicGroup, turn: &mut Turn<'_>| {
            let instance = request.group_instance_id.as_deref();
            group.heartbeat(&request.member_id, instance, request.generation_id, turn)
        };
        let verdict = if request.group_id.is_empty() {
            Err(Refusal::InvalidGroupId)
        } else if self.consumers.contains_key(&*request.group_id) {
            self.beat_consumers(request, topics, now)
        } else {
            let beaten = self.on_group(&request.group_id, now, beat);
            beaten.map_or(Err(Refusal::UnknownMemberId), |(verdict, _)| verdict)
        };
        let error_code = verdict.map_or_else(Refusal::code, |()| NONE);
        let response = HeartbeatResponse {
            error_code,
            ..HeartbeatResponse::default()
        };
        self.at_once(GroupReply::Heartbeat(response))
    }

    /// LeaveGroup.
    pub fn leave_group(
        &mut self,
        request: &LeaveGroupRequest,
        version: i16,
        topics: &dyn TopicImage,
        now: Now,
    ) -> GroupDecision {
        if request.group_id.is_empty() {
            return self.at_once(left(Vec::new(), Some(Refusal::InvalidGroupId), version));
        }
        let the_one;
        let leaving = if version >= SEVERAL_LEAVE_FROM {
            &request.members[..]
        } else {
            let member_id = request.member_id.clone();
            the_one = [MemberIdentity {
                member_id,
                ..MemberIdentity::default()
            }];
            &the_one
        };
        let left_group = match self.consumers.contains_key(&*request.group_id) {
            true => Some(self.remove_consumers(&request.group_id, leaving, topics, now)),
            false => self.on_group(&request.group_id, now, |group, turn| {
                group.leave(leaving, turn)
            }),
        };
        match left_group {
            Some((responses, outcome)) => {
                let reply = left(responses, None, version);
                // Who was the last leaves a record that says so, and waits for it.
                let when = match outcome.records.is_empty() {
                    true => When::AtOnce,
                    false => When::AfterAppend,
                };
                self.decision(outcome, Answer::Now(reply, when))
            }
            None => self.at_once(left(leaving.iter().map(stranger).collect(), None, version)),
        }
    }

    /// Handles one timer that is due. Call it until it says `None`.
    pub fn handle_timeout(&mut self, topics: &dyn TopicImage, now: Now) -> Option<GroupDecision> {
        let timer = self.timers.pop_due(now)?;
        let outcome = match &timer {
            Timer::Retention => return Some(self.expire(now)),
            Timer::ConsumerSession(group_id, member_id)
            | Timer::MemberJoin(group_id, member_id)
            | Timer::MemberSync(group_id, member_id) => {
                return Some(self.consumer_timed_out(group_id, member_id, false, topics, now));
            }
            Timer::Rebalance(group_id, member_id) => {
                return Some(self.consumer_timed_out(group_id, member_id, true, topics, now));
            }
            Timer::Join(group_id) => {
                self.on_group(group_id, now, |group, turn| group.join_timed_out(turn))
            }
            Timer::Sync(group_id) => {
                self.on_group(group_id, now, |group, turn| group.sync_timed_out(turn))
            }
            Timer::Session(group_id, member_id) => self.on_group(group_id, now, |group, turn| {
                group.session_timed_out(member_id, turn)
            }),
        };
        Some(match outcome {
            Some((_, outcome)) => self.decision(outcome, Answer::Nobody),
            None => self.plain_decision(Vec::new(), Answer::Nobody),
        })
    }
}

/// v0 has one timeout for both.
fn with_rebalance_timeout(request: &JoinGroupRequest, version: i16) -> JoinGroupRequest {
    let mut request = request.clone();
    if version == 0 {
        request.rebalance_timeout_ms = request.session_timeout_ms;
    }
    request
}

fn stranger(identity: &MemberIdentity) -> MemberResponse {
    MemberResponse {
        member_id: identity.member_id.clone(),
        group_instance_id: identity.group_instance_id.clone(),
        error_code: Refusal::UnknownMemberId.code(),
    }
}

/// Before v3 the fate of the one member is the fate of the request.
fn left(members: Vec<MemberResponse>, refusal: Option<Refusal>, version: i16) -> GroupReply {
    let mut response = LeaveGroupResponse {
        error_code: refusal.map_or(NONE, Refusal::code),
        ..LeaveGroupResponse::default()
    };
    if version >= SEVERAL_LEAVE_FROM {
        response.members = members;
    } else if let Some(only) = members.first().filter(|_| refusal.is_none()) {
        response.error_code = only.error_code;
    }
    GroupReply::Leave(response)
}

//! JoinGroup: who may come in, under which id, and whether that starts a rebalance.
//! v4 newcomers get an id first · v5 static members · v9 a static leader that returns may skip the
//! assignment (KIP-814).

use std::sync::Arc;

use ottla_protocol::messages::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
};
use ottla_protocol::{Refusal, Text, Uuid};

use super::member::{Member, Parked, text};
use super::{Arriving, ClassicGroup, ClassicState, Reply, at_once, join_refused};
use crate::group::Client;
use crate::group::reply::GroupReply;
use crate::group::settings::NEW_MEMBER_JOIN_TIMEOUT_MS;
use crate::group::timers::Timer;
use crate::group::turn::Turn;
use crate::ledger::{Answer, When};

/// The first version whose newcomers know how to come back with the id they were given.
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
/// The longest text that records and responses can hold: a longer member id could not be written
/// down, nor told to the member.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;
/// The first version with `skip_assignment`.
const SKIP_ASSIGNMENT_FROM: i16 = 9;

/// One JoinGroup on its way through the rules.
#[derive(Clone, Copy)]
pub(crate) struct Joining<'a> {
    /// Its rebalance timeout is set, also for v0, which has none of its own.
    pub(crate) request: &'a JoinGroupRequest,
    pub(crate) version: i16,
    pub(crate) client: Client<'a>,
    pub(crate) fresh_id: Uuid,
}

impl Joining<'_> {
    fn instance(&self) -> Option<&str> {
        self.request.group_instance_id.as_deref()
    }

    fn refused(&self, member_id: &str, refusal: Refusal) -> Reply {
        at_once(join_refused(self.version, member_id, refusal))
    }

    /// The id of a newcomer: what it calls itself, and something nobody else has.
    fn new_member_id(&self) -> Arc<str> {
        let unique = hyphenated(self.fresh_id);
        let prefix = self.instance().unwrap_or(self.client.id);
        let mut end = prefix.len().min(TEXT_BYTES_MAX - unique.len() - 1);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}-{unique}", &prefix[..end]).into()
    }
}

impl ClassicGroup {
    pub(crate) fn join(&mut self, joining: Joining<'_>, turn: &mut Turn<'_>) -> Reply {
        let request = joining.request;
        let member_id = &*request.member_id;
        if !self.has_room_for(member_id, turn.settings.max_size) {
            self.remove(member_id, turn);
            joining.refused("", Refusal::GroupMaxSizeReached)
        } else if !self.supports(&request.protocol_type, &request.protocols) {
            joining.refused(member_id, Refusal::InconsistentGroupProtocol)
        } else if member_id.is_empty() {
            self.join_as_newcomer(joining, turn)
        } else if self.pending_joins.contains(member_id) && joining.instance().is_none() {
            self.add(joining, member_id.into(), turn)
        } else {
            match self.check_member(member_id, joining.instance()) {
                Ok(()) => self.join_again(joining, turn),
                Err(refusal) => joining.refused(member_id, refusal),
            }
        }
    }

    /// While preparing, those who wait count, not the members: the limit may have been lowered, and
    /// then the last to come back have no room.
    fn has_room_for(&self, member_id: &str, max_size: usize) -> bool {
        match self.state {
            ClassicState::Empty => true,
            ClassicState::PreparingRebalance => {
                let waits = |member: &Member| member.joining.is_some();
                self.members.get(member_id).is_some_and(waits) || self.n_joining() < max_size
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                self.members.contains_key(member_id) || self.members.len() < max_size
            }
        }
    }

    fn join_as_newcomer(&mut self, joining: Joining<'_>, turn: &mut Turn<'_>) -> Reply {
        let new_id = joining.new_member_id();
        match joining.instance() {
            Some(instance) => match self.static_member(instance).cloned() {
                Some(old) => self.join_in_place_of(old, instance, joining, new_id, turn),
                None => self.add(joining, new_id, turn),
            },
            None if joining.version >= MEMBER_ID_REQUIRED_FROM => {
                self.pending_joins.insert(new_id.clone());
                let timer = Timer::Session(self.id.clone(), new_id.clone());
                turn.timers
                    .set(timer, turn.now, joining.request.session_timeout_ms.into());
                joining.refused(&new_id, Refusal::MemberIdRequired)
            }
            None => self.add(joining, new_id, turn),
        }
    }

    /// A new member, whose reply waits for the rebalance that it causes.
    fn add(&mut self, joining: Joining<'_>, id: Arc<str>, turn: &mut Turn<'_>) -> Reply {
        if let Some(first) = &mut self.first_rebalance {
            first.joined_meanwhile = true;
        }
        let mut member = Member::newcomer(id, joining.request, joining.client);
        let ticket = turn.ticket();
        member.joining = Some(Parked {
            ticket,
            version: joining.version,
        });
        self.session_in(&member, NEW_MEMBER_JOIN_TIMEOUT_MS, turn);
        self.insert(member, &joining.request.protocol_type);
        self.rebalance(turn);
        Answer::Later(ticket)
    }

    /// A member that we know sends its metadata again.
    fn join_again(&mut self, joining: Joining<'_>, turn: &mut Turn<'_>) -> Reply {
        let member_id = &*joining.request.member_id;
        let unchanged = self.matches(member_id, &joining.request.protocols);
        match self.state {
            ClassicState::PreparingRebalance => self.park_and_rebalance(joining, turn),
            // It has lost the answer to its join: here it is again.
            ClassicState::CompletingRebalance if unchanged => {
                at_once(self.generation_as_seen_by(member_id))
            }
            // The leader joins again to have everything assigned anew: topics may have changed.
            ClassicState::Stable if unchanged && !self.is_leader(member_id) => {
                at_once(self.generation_as_seen_by(member_id))
            }
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                self.park_and_rebalance(joining, turn)
            }
            ClassicState::Empty => joining.refused(member_id, Refusal::UnknownMemberId),
        }
    }

    fn matches(&self, member_id: &str, protocols: &[JoinGroupRequestProtocol]) -> bool {
        self.members
            .get(member_id)
            .is_some_and(|member| member.matches(protocols))
    }

    fn park_and_rebalance(&mut self, joining: Joining<'_>, turn: &mut Turn<'_>) -> Reply {
        let ticket = self.park(&joining.request.member_id, joining, turn);
        self.rebalance(turn);
        Answer::Later(ticket)
    }

    /// The member takes its new metadata and waits.
    fn park(
        &mut self,
        member_id: &str,
        joining: Joining<'_>,
        turn: &mut Turn<'_>,
    ) -> crate::ledger::Ticket {
        let ticket = turn.ticket();
        if let Some(member) = self.members.get_mut(member_id) {
            super::protocols::uncount(&mut self.support, member);
            member.update(joining.request);
            super::protocols::count(&mut self.support, member);
            member.park_join(
                Parked {
                    ticket,
                    version: joining.version,
                },
                turn,
            );
        }
        ticket
    }

    /// A static member comes back without its member id: it has restarted.
    fn join_in_place_of(
        &mut self,
        old: Member,
        instance: &str,
        joining: Joining<'_>,
        new_id: Arc<str>,
        turn: &mut Turn<'_>,
    ) -> Reply {
        if self.state == ClassicState::Stable {
            let next = self.next_protocol_with(instance, &joining.request.protocols);
            if next.as_deref() == self.protocol() {
                return self.return_without_rebalance(old, instance, joining, new_id, turn);
            }
        }
        self.replace(instance, old, &new_id, turn);
        let ticket = self.park(&new_id, joining, turn);
        self.saw(&new_id, turn);
        match self.state {
            // The leader may be assigning to the old id at this moment: all have to join again.
            ClassicState::CompletingRebalance | ClassicState::Stable => {
                self.prepare_rebalance(turn);
            }
            ClassicState::PreparingRebalance | ClassicState::Empty => {
                self.complete_join_if_all_are_in(turn);
            }
        }
        Answer::Later(ticket)
    }

    /// The assignment stays as it is; only the member id changes, and that must be stored: after a
    /// restart the old id would be taken for the member otherwise.
    fn return_without_rebalance(
        &mut self,
        old: Member,
        instance: &str,
        joining: Joining<'_>,
        new_id: Arc<str>,
        turn: &mut Turn<'_>,
    ) -> Reply {
        let old_id = old.id.clone();
        let mut member = Member {
            id: new_id,
            is_new: false,
            ..old
        };
        member.update(joining.request);
        let leader = self.leader.clone();
        let was_leader = self.is_leader(&old_id);
        self.session_in(&member, member.session_timeout_ms, turn);
        turn.write(self.record_with(&old_id, &member));
        let reply = self.returned(&member, joining.version, was_leader, leader);
        let instance = instance.into();
        self.arriving = Some(Arriving { instance, member });
        Answer::Now(reply, When::AfterAppend)
    }

    fn returned(
        &self,
        member: &Member,
        version: i16,
        was_leader: bool,
        old_leader: Option<Arc<str>>,
    ) -> GroupReply {
        let mut response = self.generation_response(&member.id);
        if version >= SKIP_ASSIGNMENT_FROM {
            if was_leader {
                response.leader = Text::from(&*member.id);
                response.members = self.listed_with(member);
                response.skip_assignment = true;
            }
        } else {
            // Before v9 a leader that returns must not take itself for one: it would assign.
            response.leader = text(old_leader.as_ref()).unwrap_or_default();
        }
        GroupReply::Join(response)
    }

    /// The group's record with `member` in place of `old_id`.
    fn record_with(&self, old_id: &str, member: &Member) -> crate::group::records::GroupRecord {
        let mut record = self.record(|member| member.assignment.clone());
        if let crate::group::records::GroupRecord::GroupMetadata {
            value: Some(value), ..
        } = &mut record
        {
            if value.leader.as_deref() == Some(old_id) {
                value.leader = Some(Text::from(&*member.id));
            }
            for saved in value
                .members
                .iter_mut()
                .filter(|saved| *saved.member_id == *old_id)
            {
                saved.member_id = Text::from(&*member.id);
                saved.rebalance_timeout = member.rebalance_timeout_ms;
                saved.session_timeout = member.session_timeout_ms;
                saved.subscription = member.metadata(self.protocol());
            }
            value.members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
        }
        record
    }

    fn listed_with(&self, arriving: &Member) -> Vec<JoinGroupResponseMember> {
        let others = self
            .members
            .values()
            .filter(|member| member.instance != arriving.instance);
        others
            .chain([arriving])
            .map(|member| self.listed(member))
            .collect()
    }

    /// The record that renames a static member has been appended.
    pub(super) fn take_arriving(&mut self) {
        let Some(Arriving { instance, member }) = self.arriving.take() else {
            return;
        };
        let old = self.static_members.insert(instance, member.id.clone());
        if let Some(old) = old.and_then(|id| self.members.remove(&id)) {
            super::protocols::uncount(&mut self.support, &old);
            self.pending_syncs.remove(&old.id);
            if self.is_leader(&old.id) {
                self.leader = Some(member.id.clone());
            }
        }
        super::protocols::count(&mut self.support, &member);
        self.members.insert(member.id.clone(), member);
    }

    // ---- replies ----

    /// The current generation, for one of its members; only the leader sees the others.
    pub(super) fn generation_as_seen_by(&self, member_id: &str) -> GroupReply {
        let mut response = self.generation_response(member_id);
        // A stable group's leader never gets here: it starts a rebalance.
        if self.is_leader(member_id) {
            response.members = self
                .members
                .values()
                .map(|member| self.listed(member))
                .collect();
        }
        GroupReply::Join(response)
    }

    fn generation_response(&self, member_id: &str) -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: text(self.protocol_type.as_ref()),
            protocol_name: Some(text(self.protocol.as_ref()).unwrap_or_default()),
            leader: text(self.leader.as_ref()).unwrap_or_default(),
            member_id: Text::from(member_id),
            ..JoinGroupResponse::default()
        }
    }

    fn listed(&self, member: &Member) -> JoinGroupResponseMember {
        JoinGroupResponseMember {
            member_id: Text::from(&*member.id),
            group_instance_id: text(member.instance.as_ref()),
            metadata: member.metadata(self.protocol()),
        }
    }
}

/// As Java prints a UUID; operators and tools know member ids by this look.
fn hyphenated(id: Uuid) -> String {
    let hex = format!("{:032x}", id.as_u128());
    let (time, rest) = hex.split_at(8);
    let (mid, rest) = rest.split_at(4);
    let (high, rest) = rest.split_at(4);
    let (clock, node) = rest.split_at(4);
    format!("{time}-{mid}-{high}-{clock}-{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_javas() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        assert_eq!(hyphenated(id), "01234567-89ab-cdef-0011-223344556677");
    }

    #[test]
    fn an_id_is_never_longer_than_a_record_can_hold() {
        let (id, request) = (
            "x".to_owned() + &"ü".repeat(16_383),
            JoinGroupRequest::default(),
        );
        assert_eq!(id.len(), TEXT_BYTES_MAX, "as long as a header can name it");
        let client = Client {
            id: &id,
            host: "/::1",
        };
        let joining = Joining {
            request: &request,
            version: 3,
            client,
            fresh_id: Uuid::from_u128(1),
        };
        let member_id = joining.new_member_id();
        assert!((TEXT_BYTES_MAX - 1..=TEXT_BYTES_MAX).contains(&member_id.len()));
        assert!(member_id.ends_with("ü-00000000-0000-0000-0000-000000000001"));
    }
}

//! A classic group: its members, and how far they have agreed.
//!
//! This is soft state. What outlives a restart is the group's last `GroupMetadataValue`, written
//! when a leader hands in its assignment, when the last member leaves, and when a static member
//! comes back under a new member id.

mod member;
mod protocols;
mod join;
mod rebalance;
mod sync;
mod leave;
mod succeed;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use ottla_protocol::{Refusal, Text};

use super::records::{GroupMetadataKey, GroupMetadataValue, GroupRecord, MemberMetadata};
use super::reply::GroupReply;
use super::timers::Timer;
use super::turn::Turn;
use crate::ledger::{Answer, Now, When};
pub(super) use join::Joining;
pub(super) use member::{Member, distinct};
pub(super) use succeed::Heir;

/// Where a group stands. A group that is deleted is gone; only answers call it "Dead".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClassicState {
    /// No members; perhaps offsets.
    Empty,
    /// Members are asked to join (again); those who did wait.
    PreparingRebalance,
    /// All have joined; the leader is to say who gets what.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
}

impl ClassicState {
    /// Kafka's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// The protocol type of consumers, whose metadata the coordinator reads.
pub(super) const CONSUMER: &str = "consumer";

/// One group of the classic protocol.
///
/// * `Empty` ⇔ no members, except that the last may just have left a rebalance under way
/// * a member is in `members` or in `pending_joins`, never in both
/// * `pending_syncs` ⊆ `members`, and empty unless completing or stable
/// * nobody waits in a join unless preparing, nobody in a sync unless completing
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    id: Arc<str>,
    state: ClassicState,
    /// Preparing for the first members of an empty group: wait a little for more of them.
    first_rebalance: Option<FirstRebalance>,
    /// Since when it is in its state; unknown for records of old brokers.
    since_ms: Option<i64>,
    protocol_type: Option<Arc<str>>,
    protocol: Option<Arc<str>>,
    generation: i32,
    leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, Member>,
    /// Instance id → member id.
    static_members: HashMap<Arc<str>, Arc<str>>,
    /// Told to join again with these ids.
    pending_joins: BTreeSet<Arc<str>>,
    /// Have not asked for their assignment of this generation yet.
    pending_syncs: BTreeSet<Arc<str>>,
    /// How many members support each protocol.
    support: HashMap<Arc<str>, usize>,
    /// Topics of all members, if they are consumers whose metadata we could read.
    subscribed: Option<BTreeSet<Text>>,
    /// A static member under its new id, while the record that says so is being appended.
    arriving: Option<Arriving>,
}

/// A static member that comes back: its instance id, and the member under its new id.
#[derive(Debug)]
struct Arriving {
    instance: Arc<str>,
    member: Member,
}

/// `group.initial.rebalance.delay.ms` at work: each newcomer prolongs the wait, up to the
/// rebalance timeout.
#[derive(Debug, Clone, Copy)]
struct FirstRebalance {
    delay_ms: i32,
    remaining_ms: i32,
    joined_meanwhile: bool,
}

/// A join or sync that can be answered at once or must wait.
pub(super) type Reply = Answer<GroupReply>;

impl ClassicGroup {
    pub(super) fn new(id: Arc<str>, now: Now) -> Self {
        Self {
            id,
            state: ClassicState::Empty,
            first_rebalance: None,
            since_ms: Some(now.wall_ms),
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: HashMap::new(),
            pending_joins: BTreeSet::new(),
            pending_syncs: BTreeSet::new(),
            support: HashMap::new(),
            subscribed: None,
            arriving: None,
        }
    }

    /// A group that somebody outside of it has committed offsets for. Its age does not matter: each
    /// offset has its own.
    pub(super) fn simple(id: Arc<str>) -> Self {
        let unknown = Now {
            monotonic: std::time::Duration::ZERO,
            wall_ms: 0,
        };
        Self {
            since_ms: None,
            ..Self::new(id, unknown)
        }
    }

    /// What its last record says; without members empty, otherwise stable.
    pub(super) fn from_record(id: Arc<str>, value: &GroupMetadataValue, now: Now) -> Self {
        let mut group = Self::new(id, now);
        group.generation = value.generation;
        group.protocol = value.protocol.as_deref().map(Into::into);
        group.since_ms =
            (value.current_state_timestamp != -1).then_some(value.current_state_timestamp);
        for saved in &value.members {
            let mut member = Member::from_record(saved, group.protocol.as_ref());
            // Nobody writes an id twice, but a file may say anything: the first one has it.
            if group.members.contains_key(&member.id) {
                continue;
            }
            member
                .instance
                .take_if(|instance| group.static_members.contains_key(instance));
            group.insert(member, &value.protocol_type);
        }
        // Members were inserted as into an empty group; now they are what the record says.
        let protocol_type = &*value.protocol_type;
        group.protocol_type = (!protocol_type.is_empty()).then(|| protocol_type.into());
        if let Some(leader) = value.leader.as_deref()
            && group.members.contains_key(leader)
        {
            group.leader = Some(leader.into());
        }
        if !group.members.is_empty() {
            group.state = ClassicState::Stable;
        }
        group.subscribed = group.subscribed_topics();
        group
    }

    /// Its own record as it should stand in the log now.
    fn record(&self, assignment: impl Fn(&Member) -> Bytes) -> GroupRecord {
        let protocol = self.protocol.as_deref();
        let members = self.members.values().map(|member| MemberMetadata {
            member_id: Text::from(&*member.id),
            group_instance_id: member.instance.as_deref().map(Text::from),
            client_id: Text::from(&*member.client_id),
            client_host: Text::from(&*member.client_host),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: assignment(member),
        });
        self.record_of(members.collect())
    }

    fn record_of(&self, members: Vec<MemberMetadata>) -> GroupRecord {
        GroupRecord::GroupMetadata {
            key: GroupMetadataKey {
                group_id: Text::from(&*self.id),
            },
            value: Some(GroupMetadataValue {
                protocol_type: self
                    .protocol_type
                    .as_deref()
                    .map(Text::from)
                    .unwrap_or_default(),
                generation: self.generation,
                protocol: self.protocol.as_deref().map(Text::from),
                leader: self.leader.as_deref().map(Text::from),
                current_state_timestamp: self.since_ms.unwrap_or(-1),
                members,
            }),
        }
    }

    /// The record of a group that is only just there.
    pub(super) fn birth_record(&self) -> GroupRecord {
        GroupRecord::GroupMetadata {
            key: GroupMetadataKey {
                group_id: Text::from(&*self.id),
            },
            value: Some(GroupMetadataValue {
                protocol: None,
                leader: None,
                current_state_timestamp: self.since_ms.unwrap_or(-1),
                ..GroupMetadataValue::default()
            }),
        }
    }

    // ---- looking ----

    pub(super) fn id(&self) -> &Arc<str> {
        &self.id
    }

    pub(super) fn state(&self) -> ClassicState {
        self.state
    }

    pub(super) fn since_ms(&self) -> Option<i64> {
        self.since_ms
    }

    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(super) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(super) fn speaks_consumer(&self) -> bool {
        self.protocol_type() == Some(CONSUMER)
    }

    /// Whether we know what its members are subscribed to.
    pub(super) fn knows_subscriptions(&self) -> bool {
        self.subscribed.is_some()
    }

    /// Consumers whose metadata we cannot read may be subscribed to anything.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.speaks_consumer(),
        }
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn all_have_joined(&self) -> bool {
        self.pending_joins.is_empty()
            && self.members.values().all(|member| member.joining.is_some())
    }

    fn n_joining(&self) -> usize {
        self.members
            .values()
            .filter(|member| member.joining.is_some())
            .count()
    }

    /// The slowest member's.
    fn rebalance_timeout_ms(&self) -> i32 {
        self.members
            .values()
            .map(|member| member.rebalance_timeout_ms)
            .max()
            .unwrap_or(0)
    }

    /// Whether the request comes from a member, under the id that it has now.
    pub(super) fn check_member(
        &self,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(), Refusal> {
        if let Some(instance) = instance {
            match self.static_members.get(instance) {
                None => return Err(Refusal::UnknownMemberId),
                Some(current) if **current != *member_id => return Err(Refusal::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(Refusal::UnknownMemberId)
        }
    }

    // ---- changing who is in ----

    fn move_to(&mut self, state: ClassicState, now: Now) {
        let legal = match state {
            ClassicState::Empty | ClassicState::CompletingRebalance => {
                self.state == ClassicState::PreparingRebalance
            }
            ClassicState::PreparingRebalance => self.state != ClassicState::PreparingRebalance,
            ClassicState::Stable => self.state == ClassicState::CompletingRebalance,
        };
        assert!(
            legal,
            "a group does not go from {:?} to {state:?}",
            self.state
        );
        self.state = state;
        self.since_ms = Some(now.wall_ms);
    }

    fn insert(&mut self, member: Member, protocol_type: &str) {
        if let Some(instance) = &member.instance {
            let before = self
                .static_members
                .insert(instance.clone(), member.id.clone());
            assert!(
                before.is_none(),
                "an instance id has one member, not {before:?} and another"
            );
        }
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.into());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_joins.remove(&*member.id);
        protocols::count(&mut self.support, &member);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out, wherever it is; whoever waits under its name is told so.
    fn remove(&mut self, member_id: &str, turn: &mut Turn<'_>) {
        turn.timers
            .cancel(&Timer::Session(self.id.clone(), member_id.into()));
        self.pending_joins.remove(member_id);
        self.pending_syncs.remove(member_id);
        if let Some(mut member) = self.members.remove(member_id) {
            protocols::uncount(&mut self.support, &member);
            if let Some(instance) = &member.instance {
                self.static_members.remove(instance);
            }
            member.refuse_waiting(Refusal::UnknownMemberId, turn);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// The member of this instance, if it has one.
    fn static_member(&self, instance: &str) -> Option<&Member> {
        self.members.get(self.static_members.get(instance)?)
    }

    /// `old`, a member of the group, under a new id. The old id is fenced wherever it waits.
    fn replace(&mut self, instance: &str, mut old: Member, new_id: &Arc<str>, turn: &mut Turn<'_>) {
        self.members.remove(&old.id);
        self.static_members.insert(instance.into(), new_id.clone());
        old.refuse_waiting(Refusal::FencedInstanceId, turn);
        turn.timers
            .cancel(&Timer::Session(self.id.clone(), old.id.clone()));
        if self.is_leader(&old.id) {
            self.leader = Some(new_id.clone());
        }
        // A pending sync of the old id cannot come any more; the rebalance that callers start
        // clears the set, except in a group that is already preparing, where it is empty.
        self.pending_syncs.remove(&old.id);
        let renamed = Member {
            id: new_id.clone(),
            is_new: false,
            ..old
        };
        self.members.insert(new_id.clone(), renamed);
    }

    fn restart_session(&self, member: &Member, turn: &mut Turn<'_>) {
        self.session_in(member, member.session_timeout_ms, turn);
    }

    fn session_in(&self, member: &Member, timeout_ms: i32, turn: &mut Turn<'_>) {
        let timer = Timer::Session(self.id.clone(), member.id.clone());
        turn.timers.set(timer, turn.now, timeout_ms.into());
    }

    /// A member has shown that it lives.
    pub(super) fn saw(&self, member_id: &str, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get(member_id) {
            self.restart_session(member, turn);
        }
    }

    // ---- around the log ----

    /// The group has just been loaded: its members get a session each.
    pub(super) fn loaded(&mut self, turn: &mut Turn<'_>) {
        self.members
            .values()
            .for_each(|member| self.restart_session(member, turn));
        // `group.max.size` may have been lowered. A rebalance gives members a chance to commit.
        if self.members.len() > turn.settings.max_size {
            self.prepare_rebalance(turn);
        }
    }

    /// The group's record has been appended. Takes what it made true into the soft state.
    /// Returns whether a rebalance was completed by it.
    pub(super) fn replayed(&mut self, value: &GroupMetadataValue) -> bool {
        if value.generation != self.generation || value.members.is_empty() {
            return false;
        }
        match self.state {
            ClassicState::CompletingRebalance => {
                for saved in &value.members {
                    if let Some(member) = self.members.get_mut(&*saved.member_id) {
                        member.assignment = saved.assignment.clone();
                    }
                }
                self.state = ClassicState::Stable;
                true
            }
            ClassicState::Stable => {
                self.take_arriving();
                false
            }
            _ => false,
        }
    }

    /// The append of the group's record has failed.
    pub(super) fn abandoned(&mut self, turn: &mut Turn<'_>) {
        self.arriving = None;
        if self.state == ClassicState::CompletingRebalance {
            self.prepare_rebalance(turn);
        }
    }

    /// Everybody who waits is told so; for a group that goes away with its partition.
    pub(super) fn refuse_all(&mut self, refusal: Refusal, turn: &mut Turn<'_>) {
        self.members
            .values_mut()
            .for_each(|member| member.refuse_waiting(refusal, turn));
    }

    /// Stops its timers; for a group that is deleted.
    pub(super) fn stop_timers(&self, turn: &mut super::timers::Timers) {
        turn.cancel(&Timer::Join(self.id.clone()));
        turn.cancel(&Timer::Sync(self.id.clone()));
        for member in self.members.keys().chain(&self.pending_joins) {
            turn.cancel(&Timer::Session(self.id.clone(), member.clone()));
        }
    }

    /// The invariants of the struct.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        use ClassicState::*;
        let preparing = self.state == PreparingRebalance;
        assert!(!self.members.is_empty() || matches!(self.state, Empty | PreparingRebalance));
        assert!(
            self.members.is_empty() || self.state != Empty,
            "{}",
            self.id
        );
        assert_eq!(
            self.leader.is_some(),
            !self.members.is_empty(),
            "{:?}",
            self.leader
        );
        if let Some(leader) = &self.leader {
            assert!(self.members.contains_key(leader), "the leader is a member");
        }
        for (id, member) in &self.members {
            assert_eq!(*id, member.id);
            assert!(!self.pending_joins.contains(id), "joined and pending: {id}");
            assert!(
                member.joining.is_none() || preparing,
                "nobody joins when {:?}",
                self.state
            );
            assert!(member.syncing.is_none() || self.state == CompletingRebalance);
            if let Some(instance) = &member.instance {
                assert_eq!(self.static_members.get(instance), Some(id));
            }
        }
        let statics = self
            .members
            .values()
            .filter(|member| member.instance.is_some())
            .count();
        assert_eq!(self.static_members.len(), statics);
        assert!(
            self.pending_syncs
                .iter()
                .all(|id| self.members.contains_key(id))
        );
        assert!(
            self.pending_syncs.is_empty() || matches!(self.state, CompletingRebalance | Stable)
        );
        assert!(self.first_rebalance.is_none() || preparing);
        assert!(self.arriving.is_none(), "the host replays what it appends");
        let mut support = HashMap::new();
        self.members
            .values()
            .for_each(|member| protocols::count(&mut support, member));
        assert_eq!(self.support, support, "support is counted");
    }
}

/// A join that is refused. Before v7 the protocol has no null.
pub(super) fn join_refused(version: i16, member_id: &str, refusal: Refusal) -> GroupReply {
    GroupReply::Join(JoinGroupResponse {
        member_id: Text::from(member_id),
        error_code: refusal.code(),
        protocol_name: (version < 7).then(Text::default),
        ..JoinGroupResponse::default()
    })
}

pub(super) fn sync_refused(refusal: Refusal) -> GroupReply {
    GroupReply::Sync(SyncGroupResponse {
        error_code: refusal.code(),
        ..SyncGroupResponse::default()
    })
}

fn at_once(reply: GroupReply) -> Reply {
    Answer::Now(reply, When::AtOnce)
}

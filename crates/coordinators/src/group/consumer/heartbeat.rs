//! One heartbeat, one decision: who the member is, what it wants now, what it shall have, and how
//! much of that it may have already.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatAssignment, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, ConsumerGroupHeartbeatTopicPartitions as Owned,
};
use ottla_protocol::{Refusal, Text, Uuid};

use super::advance::{Around, Taken};
use super::check::UnfitRequest;
use super::member::{AWAY_EPOCH, Held, JOIN_EPOCH};
use super::pattern::PatternErrand;
use super::reconcile::Step;
use super::{ConsumerGroup, LookedAt, Member};
use crate::group::Client;
use crate::group::reply::GroupReply;
use crate::group::timers::Timer;
use crate::group::turn::Turn;

/// One request on its way through the rules.
pub(in crate::group) struct Beat<'a> {
    pub(in crate::group) request: &'a ConsumerGroupHeartbeatRequest,
    pub(in crate::group) client: Client<'a>,
    /// Becomes the member's id, if it brings none.
    pub(in crate::group) fresh_id: Uuid,
    pub(in crate::group) around: Around<'a>,
}

/// What is answered, and what is to be remembered that no record says.
pub(in crate::group) struct Beaten {
    pub(in crate::group) reply: GroupReply,
    pub(in crate::group) looked_at: Option<LookedAt>,
    pub(in crate::group) errand: Option<PatternErrand>,
    pub(in crate::group) has_new_epoch: bool,
}

impl ConsumerGroup {
    /// A heartbeat of someone who is in, or comes.
    pub(in crate::group) fn beat(
        &self,
        beat: &mut Beat<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Beaten, UnfitRequest> {
        let request = beat.request;
        self.check_room(&request.member_id, turn)?;
        let member_id: Arc<str> = match &*request.member_id {
            "" => beat.fresh_id.to_string().into(),
            given => given.into(),
        };
        let before = self.who(request, member_id, turn)?;
        let mut after = updated(&before, beat);
        let taken = self.take_word(&before, &after, &mut beat.around, turn)?;
        let topics = beat.around.topics;
        let target = self.update_target(taken.epoch, &before, &after, topics, turn);
        let step = Step {
            target: &target,
            wants_other: taken.wants_other,
            owned: request.topic_partitions.as_deref(),
            topics,
        };
        after = self.advance(after, &step, turn)?;
        let session = Timer::ConsumerSession(self.id.clone(), after.id.clone());
        let settings = turn.settings.consumer.of(&self.id);
        turn.timers
            .set(session, turn.now, settings.session_timeout_ms.into());
        let tells = is_full(request) || before.assigned != after.assigned;
        let response = ConsumerGroupHeartbeatResponse {
            member_id: Some(Text::from(&*after.id)),
            member_epoch: after.epoch,
            heartbeat_interval_ms: settings.heartbeat_interval_ms,
            assignment: tells.then(|| assignment(&after.assigned)),
            ..ConsumerGroupHeartbeatResponse::default()
        };
        Ok(self.beaten(GroupReply::ConsumerHeartbeat(response), taken))
    }

    pub(super) fn beaten(&self, reply: GroupReply, taken: Taken) -> Beaten {
        Beaten {
            reply,
            looked_at: taken.looked_at,
            errand: taken.errand,
            has_new_epoch: taken.epoch != self.epoch,
        }
    }

    pub(super) fn check_room(&self, member_id: &str, turn: &Turn<'_>) -> Result<(), UnfitRequest> {
        let most = turn.settings.consumer.max_size;
        if self.members.len() < most || self.members.contains_key(member_id) {
            return Ok(());
        }
        let why = format!("The group is full: it has {most} members.");
        Err(UnfitRequest::new(Refusal::GroupMaxSizeReached, why))
    }

    /// The member as it is, or as it starts. A static member that is back is written under its new
    /// id first.
    fn who(
        &self,
        request: &ConsumerGroupHeartbeatRequest,
        member_id: Arc<str>,
        turn: &mut Turn<'_>,
    ) -> Result<Member, UnfitRequest> {
        let joins = request.member_epoch == JOIN_EPOCH;
        let known = match request.instance_id.as_deref() {
            None => self.members.get(&member_id),
            Some(instance) if joins => match self.static_member(instance) {
                Some(holder) => {
                    check_released(holder)?;
                    return Ok(self.take_over(holder, member_id, turn));
                }
                None => self.members.get(&member_id),
            },
            Some(instance) => Some(self.holder(instance, &member_id)?),
        };
        match known {
            Some(member) => {
                check_epoch(member, request)?;
                Ok(member.clone())
            }
            None if joins => Ok(Member::new(member_id)),
            None => Err(self.stranger(&member_id)),
        }
    }

    pub(super) fn stranger(&self, member_id: &str) -> UnfitRequest {
        let why = format!("{member_id} is not a member of the group {}.", self.id);
        UnfitRequest::new(Refusal::UnknownMemberId, why)
    }

    /// The static member of this instance, if it has this id.
    pub(super) fn holder(&self, instance: &str, member_id: &str) -> Result<&Member, UnfitRequest> {
        let Some(holder) = self.static_member(instance) else {
            let why = format!(
                "Nobody in the group {} has the instance id {instance}.",
                self.id
            );
            return Err(UnfitRequest::new(Refusal::UnknownMemberId, why));
        };
        if *holder.id == *member_id {
            return Ok(holder);
        }
        let why = format!(
            "The instance id {instance} belongs to the member {}.",
            holder.id
        );
        Err(UnfitRequest::new(Refusal::FencedInstanceId, why))
    }

    /// A static member comes back under another id, and finds everything as it left it.
    pub(super) fn take_over(
        &self,
        holder: &Member,
        member_id: Arc<str>,
        turn: &mut Turn<'_>,
    ) -> Member {
        let member = Member {
            id: member_id,
            epoch: 0,
            previous_epoch: 0,
            ..holder.clone()
        };
        self.member_tombstones(&holder.id)
            .into_iter()
            .for_each(|record| turn.write(record));
        turn.write(self.member_record(&member));
        let target = self.target.get(&holder.id).cloned().unwrap_or_default();
        turn.write(self.target_record(&member.id, &target));
        turn.write(self.current_record(&member));
        member
    }
}

/// Of two that speak the consumer protocol the first must have left.
fn check_released(holder: &Member) -> Result<(), UnfitRequest> {
    if holder.epoch == AWAY_EPOCH || holder.speaks_classic() {
        return Ok(());
    }
    let why = format!(
        "The member {} has not left: the instance id is taken.",
        holder.id
    );
    Err(UnfitRequest::new(Refusal::UnreleasedInstanceId, why))
}

/// A member's epoch says which of its answers it has seen. The one before the last is good, too, if
/// the member has nothing that it may not have: the last answer was lost.
fn check_epoch(
    member: &Member,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(), UnfitRequest> {
    let epoch = request.member_epoch;
    let is_behind_by_one = epoch == member.previous_epoch
        && epoch < member.epoch
        && is_within(request.topic_partitions.as_deref(), &member.assigned);
    if epoch == JOIN_EPOCH || epoch == member.epoch || is_behind_by_one {
        return Ok(());
    }
    let why = format!(
        "The member is at epoch {}, not {epoch}: it must give up all partitions and join again.",
        member.epoch
    );
    Err(UnfitRequest::new(Refusal::FencedMemberEpoch, why))
}

fn is_within(owned: Option<&[Owned]>, assigned: &Held) -> bool {
    owned.is_some_and(|owned| {
        owned.iter().all(|topic| {
            let assigned = assigned.get(&topic.topic_id);
            assigned.is_some_and(|it| topic.partitions.iter().all(|p| it.contains_key(p)))
        })
    })
}

/// The member with what the request says anew.
fn updated(before: &Member, beat: &Beat<'_>) -> Member {
    let request = beat.request;
    let mut after = before.clone();
    let copy = |text: &Text| Some(Arc::<str>::from(&**text));
    let set = |field: &mut Option<Arc<str>>, said: &Option<Text>| {
        if let Some(said) = said
            && field.as_deref() != Some(&**said)
        {
            *field = copy(said);
        }
    };
    set(&mut after.instance, &request.instance_id);
    set(&mut after.rack, &request.rack_id);
    set(&mut after.assignor, &request.server_assignor);
    set(&mut after.pattern, &request.subscribed_topic_regex);
    if request.rebalance_timeout_ms != -1 {
        after.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(names) = &request.subscribed_topic_names {
        let names: BTreeSet<Arc<str>> = names.iter().map(|name| (**name).into()).collect();
        if names != *after.topics {
            after.topics = Arc::new(names);
        }
    }
    if *after.client_id != *beat.client.id {
        after.client_id = beat.client.id.into();
    }
    if *after.client_host != *beat.client.host {
        after.client_host = beat.client.host.into();
    }
    after.classic = None;
    after
}

/// Who says everything wants to hear everything: it joins, or has lost the thread.
fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    let subscribes =
        request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    request.member_epoch == JOIN_EPOCH
        || (request.rebalance_timeout_ms != -1 && subscribes && request.topic_partitions.is_some())
}

fn assignment(held: &Held) -> ConsumerGroupHeartbeatAssignment {
    let topic = |(topic_id, partitions): (&Uuid, &std::collections::BTreeMap<i32, i32>)| Owned {
        topic_id: *topic_id,
        partitions: partitions.keys().copied().collect(),
    };
    ConsumerGroupHeartbeatAssignment {
        topic_partitions: held
            .iter()
            .filter(|(_, it)| !it.is_empty())
            .map(topic)
            .collect(),
    }
}

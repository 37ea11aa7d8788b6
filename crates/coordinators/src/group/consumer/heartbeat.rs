//! One heartbeat, one decision: who the member is, what it wants now, what it shall have, and how
//! much of that it may have already.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatAssignment, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, ConsumerGroupHeartbeatTopicPartitions as Owned,
};
use ottla_protocol::{Refusal, Text, Uuid};

use super::check::UnfitRequest;
use super::member::{AWAY_EPOCH, Held, JOIN_EPOCH};
use super::pattern::{PatternChange, PatternErrand};
use super::reconcile::Step;
use super::{ConsumerGroup, LookedAt, Member, MemberState};
use crate::group::timers::Timer;
use crate::group::topic_hash::TopicHashes;
use crate::group::turn::Turn;
use crate::group::{Client, TopicImage};

/// One request on its way through the rules.
pub(in crate::group) struct Beat<'a> {
    pub(in crate::group) request: &'a ConsumerGroupHeartbeatRequest,
    pub(in crate::group) client: Client<'a>,
    /// Becomes the member's id, if it brings none.
    pub(in crate::group) fresh_id: Uuid,
    pub(in crate::group) topics: &'a dyn TopicImage,
    pub(in crate::group) hashes: &'a mut TopicHashes,
    /// The group's patterns are being resolved elsewhere.
    pub(in crate::group) is_resolving: bool,
}

/// What is answered, and what is to be remembered that no record says.
pub(in crate::group) struct Beaten {
    pub(in crate::group) response: ConsumerGroupHeartbeatResponse,
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
        let names_changed = after.topics != before.topics;
        if after != before {
            turn.write(self.member_record(&after));
        }
        let (pattern, errand) = self.change_pattern(&before, &after, beat, turn)?;
        let bumps = names_changed || pattern == PatternChange::Resolved;
        let mut epoch = self.epoch;
        let mut looked_at = None;
        if bumps || self.should_look(beat.topics.topics_version()) {
            epoch = self.look(bumps, &before, &after, beat, turn);
            looked_at = Some(LookedAt {
                topics_version: beat.topics.topics_version(),
                epoch,
            });
        }
        let target = self.update_target(epoch, &before, &after, beat.topics, turn);
        let wants_other = names_changed || pattern != PatternChange::None;
        if wants_other || !after.is_reconciled_to(target.epoch) {
            let step = Step {
                target: &target,
                wants_other,
                owned: request.topic_partitions.as_deref(),
                topics: beat.topics,
            };
            let next = self.step(&after, &step)?;
            self.keep_reconciled(&after, &next, turn);
            after = next;
        }
        let session = Timer::Session(self.id.clone(), after.id.clone());
        let settings = turn.settings.consumer.of(&self.id);
        turn.timers
            .set(session, turn.now, settings.session_timeout_ms.into());
        let tells = is_full(request) || before.assigned != after.assigned;
        Ok(Beaten {
            response: ConsumerGroupHeartbeatResponse {
                member_id: Some(Text::from(&*after.id)),
                member_epoch: after.epoch,
                heartbeat_interval_ms: settings.heartbeat_interval_ms,
                assignment: tells.then(|| assignment(&after.assigned)),
                ..ConsumerGroupHeartbeatResponse::default()
            },
            looked_at,
            errand,
            has_new_epoch: epoch != self.epoch,
        })
    }

    fn check_room(&self, member_id: &str, turn: &Turn<'_>) -> Result<(), UnfitRequest> {
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
                Some(holder) => return self.take_over(holder, member_id, turn),
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
    fn take_over(
        &self,
        holder: &Member,
        member_id: Arc<str>,
        turn: &mut Turn<'_>,
    ) -> Result<Member, UnfitRequest> {
        if holder.epoch != AWAY_EPOCH && !holder.speaks_classic() {
            let why = format!(
                "The member {} has not left: the instance id is taken.",
                holder.id
            );
            return Err(UnfitRequest::new(Refusal::UnreleasedInstanceId, why));
        }
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
        Ok(member)
    }

    /// Whether topics have changed since they were looked at, or nobody knows.
    fn should_look(&self, topics_version: i64) -> bool {
        let Some(looked_at) = self.looked_at else {
            return true;
        };
        looked_at.topics_version != topics_version || self.epoch < looked_at.epoch
    }

    /// Compares the topics with those that the group's epoch stands for. The epoch to go on with.
    fn look(
        &self,
        bumps: bool,
        before: &Member,
        after: &Member,
        beat: &mut Beat<'_>,
        turn: &mut Turn<'_>,
    ) -> i32 {
        let subscriptions = self.subscriptions_after(before, after);
        let hash = beat
            .hashes
            .of_group(subscriptions.topics.keys(), beat.topics);
        let bumps = bumps || hash != self.metadata_hash;
        let epoch = self.epoch.saturating_add(i32::from(bumps));
        if bumps {
            turn.write(self.epoch_record(epoch, hash));
        }
        if self.has_topics_record {
            turn.write(self.topics_tombstone());
        }
        epoch
    }

    fn keep_reconciled(&self, before: &Member, after: &Member, turn: &mut Turn<'_>) {
        if before == after {
            return;
        }
        turn.write(self.current_record(after));
        let timer = Timer::Rebalance(self.id.clone(), after.id.clone());
        match after.state {
            MemberState::UnrevokedPartitions => {
                let ms = after.rebalance_timeout_ms.into();
                turn.timers.set(timer, turn.now, ms);
            }
            _ => turn.timers.cancel(&timer),
        }
    }
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

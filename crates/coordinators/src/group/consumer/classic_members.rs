//! Members that speak the classic protocol in a group of the consumer protocol. They join, ask for
//! their assignment and beat as ever; a JoinGroup is to them what a full heartbeat is to the others:
//! it says what they want and have, and the generation of its answer is their epoch.
//!
//! No leader assigns: each is answered as a follower.

use std::sync::Arc;

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatTopicPartitions as Owned, ConsumerProtocolSubscription, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use ottla_protocol::{Refusal, Text, Uuid};

use super::advance::Around;
use super::check::UnfitRequest;
use super::downgrade::Change;
use super::heartbeat::Beaten;
use super::reconcile::Step;
use super::target::Target;
use super::upgrade::rack;
use super::{CONSUMER, ConsumerGroup, Member, MemberState};
use crate::group::assign::Partitions;
use crate::group::classic::{distinct, join_refused};
use crate::group::embedded;
use crate::group::records::consumer::{ClassicMemberMetadata, ClassicProtocol};
use crate::group::reply::GroupReply;
use crate::group::settings::MigrationPolicy;
use crate::group::timers::Timer;
use crate::group::turn::Turn;
use crate::group::{Client, TopicImage};

/// The first version whose newcomers know how to come back with the id they were given.
const MEMBER_ID_REQUIRED_FROM: i16 = 4;

/// One JoinGroup on its way through the rules.
pub(in crate::group) struct ClassicJoin<'a> {
    /// Its rebalance timeout is set, also for v0, which has none of its own.
    pub(in crate::group) request: &'a JoinGroupRequest,
    pub(in crate::group) version: i16,
    pub(in crate::group) client: Client<'a>,
    pub(in crate::group) fresh_id: Uuid,
    pub(in crate::group) around: Around<'a>,
}

impl ConsumerGroup {
    /// JoinGroup.
    pub(in crate::group) fn join_classic(
        &self,
        join: &mut ClassicJoin<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Beaten, UnfitRequest> {
        let request = join.request;
        let is_newcomer = request.member_id.is_empty();
        let member_id: Arc<str> = match is_newcomer {
            true => join.fresh_id.to_string().into(),
            false => (*request.member_id).into(),
        };
        self.may_join_classic(request, &member_id, turn)?;
        let is_dynamic = request.group_instance_id.is_none();
        if is_newcomer && is_dynamic && join.version >= MEMBER_ID_REQUIRED_FROM {
            let refusal = Refusal::MemberIdRequired;
            return Ok(Beaten {
                reply: join_refused(join.version, &member_id, refusal),
                looked_at: None,
                errand: None,
                has_new_epoch: false,
            });
        }
        let Some(subscription) = said(request) else {
            let why = format!("The metadata of the member {member_id} is malformed.");
            return Err(UnfitRequest::new(Refusal::UnknownServerError, why));
        };
        let before = self.who_joins(request, member_id, turn)?;
        let mut after = rejoined(&before, join, &subscription);
        let taken = self.take_word(&before, &after, &mut join.around, turn)?;
        let owned = owned(&subscription, join.around.topics);
        let topics = join.around.topics;
        let wants_other = taken.wants_other;
        let is_downgraded = match self.classic_in_place_of(request, turn) {
            Some(holder) => {
                let is_behind = self.target_epoch < taken.epoch;
                if !is_behind {
                    let target = Target {
                        epoch: self.target_epoch,
                        partitions: std::borrow::Cow::Borrowed(self.target_of(&after)),
                    };
                    let step = step(&target, wants_other, &owned, topics);
                    after = self.advance(after, &step, turn)?;
                }
                let change = Change {
                    leaving: &[],
                    replaced: Some((holder, &after)),
                    rebalances: is_behind || !self.all_have_their_target_but(holder, &after),
                };
                self.downgrade(&change, topics, turn)
            }
            None => false,
        };
        if !is_downgraded {
            let target = self.update_target(taken.epoch, &before, &after, topics, turn);
            let step = step(&target, wants_other, &owned, topics);
            after = self.advance(after, &step, turn)?;
            self.expect_sync(&after, request, turn);
        }
        Ok(self.beaten(joined(&after), taken))
    }

    fn may_join_classic(
        &self,
        request: &JoinGroupRequest,
        member_id: &str,
        turn: &Turn<'_>,
    ) -> Result<(), UnfitRequest> {
        if turn.settings.consumer.migration == MigrationPolicy::Disabled {
            let why = "group.consumer.migration.policy keeps classic members out.";
            return Err(UnfitRequest::new(Refusal::InconsistentGroupProtocol, why));
        }
        self.check_room(member_id, turn)?;
        if *request.protocol_type == *CONSUMER && self.has_in_common(request) {
            return Ok(());
        }
        let why = format!("The protocols of the member {member_id} are not those of the others.");
        Err(UnfitRequest::new(Refusal::InconsistentGroupProtocol, why))
    }

    /// Whether one of the protocols is spoken by all that speak the classic protocol.
    fn has_in_common(&self, request: &JoinGroupRequest) -> bool {
        let mut asked = request.protocols.iter();
        asked.any(|protocol| self.support.is_by_all(&protocol.name))
    }

    /// The member as it is, or as it starts. Whoever names an id is believed, as in Kafka: it may be
    /// an id that it was told to come back with.
    fn who_joins(
        &self,
        request: &JoinGroupRequest,
        member_id: Arc<str>,
        turn: &mut Turn<'_>,
    ) -> Result<Member, UnfitRequest> {
        let known = match request.group_instance_id.as_deref() {
            None => self.members.get(&member_id),
            Some(instance) if request.member_id.is_empty() => match self.static_member(instance) {
                Some(holder) => return Ok(self.take_over(holder, member_id, turn)),
                None => None,
            },
            Some(instance) => Some(self.holder(instance, &member_id)?),
        };
        Ok(known.cloned().unwrap_or_else(|| Member::new(member_id)))
    }

    /// The static member whose place is taken, if its going makes the group a classic one.
    fn classic_in_place_of(&self, request: &JoinGroupRequest, turn: &Turn<'_>) -> Option<&Member> {
        let instance = request.group_instance_id.as_deref()?;
        let holder = self.static_member(instance)?;
        self.may_downgrade_in_place_of(holder, turn.settings)
            .then_some(holder)
    }

    /// A classic group gives each its target at once. Kafka does so even while a member still reads
    /// what another is to have; here they join again first.
    fn all_have_their_target_but(&self, holder: &Member, after: &Member) -> bool {
        let others = self.members.values().filter(|it| it.id != holder.id);
        others
            .chain([after])
            .all(|member| member.is_reconciled_to(self.target_epoch))
    }

    fn expect_sync(&self, member: &Member, request: &JoinGroupRequest, turn: &mut Turn<'_>) {
        let timer =
            |kind: fn(Arc<str>, Arc<str>) -> Timer| kind(self.id.clone(), member.id.clone());
        turn.timers.cancel(&timer(Timer::MemberJoin));
        let session_ms = request.session_timeout_ms.into();
        turn.timers
            .set(timer(Timer::ConsumerSession), turn.now, session_ms);
        let rebalance_ms = request.rebalance_timeout_ms.into();
        turn.timers
            .set(timer(Timer::MemberSync), turn.now, rebalance_ms);
    }

    /// SyncGroup.
    pub(in crate::group) fn sync_classic(
        &self,
        request: &SyncGroupRequest,
        topics: &dyn TopicImage,
        turn: &mut Turn<'_>,
    ) -> Result<SyncGroupResponse, Refusal> {
        let instance = request.group_instance_id.as_deref();
        let (member, classic) = self.classic_member(&request.member_id, instance)?;
        if request.generation_id != member.epoch {
            return Err(Refusal::IllegalGeneration);
        }
        let Some(protocol) = classic.supported_protocols.first() else {
            return Err(Refusal::UnknownServerError);
        };
        let differs = |asked: Option<&Text>, is: &str| asked.is_some_and(|asked| **asked != *is);
        if differs(request.protocol_type.as_ref(), CONSUMER)
            || differs(request.protocol_name.as_ref(), &protocol.name)
        {
            return Err(Refusal::InconsistentGroupProtocol);
        }
        if self.target_epoch > member.epoch && member.state != MemberState::UnrevokedPartitions {
            self.expect_join(member, turn);
            return Err(Refusal::RebalanceInProgress);
        }
        let given = without_epochs(member);
        let Some(assignment) = embedded::assignment_bytes(&protocol.metadata, &given, topics)
        else {
            return Err(Refusal::UnknownServerError);
        };
        let sync = Timer::MemberSync(self.id.clone(), member.id.clone());
        turn.timers.cancel(&sync);
        self.saw_classic(member, classic, turn);
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..SyncGroupResponse::default()
        })
    }

    /// Heartbeat: whether the member may go on as it is.
    pub(in crate::group) fn beat_classic(
        &self,
        request: &HeartbeatRequest,
        around: &mut Around<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Refusal> {
        let instance = request.group_instance_id.as_deref();
        let (member, classic) = self.classic_member(&request.member_id, instance)?;
        if request.generation_id != member.epoch {
            return Err(Refusal::IllegalGeneration);
        }
        self.saw_classic(member, classic, turn);
        // It joins again to catch up, to say that it has given up what it must, or to get what has
        // become free.
        let must_join = member.epoch < self.target_epoch
            || match member.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !self.waits_for_others(member),
                MemberState::Stable | MemberState::Unknown(_) => false,
            };
        if !must_join && !self.waits_for_a_join(around, turn) {
            return Ok(());
        }
        self.expect_join(member, turn);
        Err(Refusal::RebalanceInProgress)
    }

    /// Nobody is in whose heartbeat would look at topics and compute the next target: a JoinGroup
    /// has to. (Kafka's coordinator waits for one, and does not ask for it.)
    fn waits_for_a_join(&self, around: &mut Around<'_>, turn: &Turn<'_>) -> bool {
        let interval_ms = turn.settings.consumer.of(&self.id).assignment_interval_ms;
        let is_due =
            self.epoch > self.target_epoch && self.may_compute(interval_ms, turn.now.wall_ms);
        let is_other = |around: &mut Around<'_>| {
            let names = self.subscribed.keys();
            around.hashes.of_group(names, around.topics) != self.metadata_hash
        };
        (is_due || (self.should_look(around.topics.topics_version()) && is_other(around)))
            && self.members.values().all(Member::speaks_classic)
    }

    fn classic_member(
        &self,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(&Member, &ClassicMemberMetadata), Refusal> {
        let member = match instance {
            None => self.member(member_id).ok_or(Refusal::UnknownMemberId)?,
            Some(instance) => self
                .holder(instance, member_id)
                .map_err(|unfit| unfit.refusal)?,
        };
        let classic = member.classic.as_ref();
        Ok((member, classic.ok_or(Refusal::UnknownMemberId)?))
    }

    /// Whether something that the member is to have is still another's.
    fn waits_for_others(&self, member: &Member) -> bool {
        let target = self.target.get(&member.id).into_iter().flatten();
        target.into_iter().any(|(topic, partitions)| {
            let has = member.assigned.get(topic);
            partitions.iter().any(|partition| {
                !has.is_some_and(|has| has.contains_key(partition))
                    && self.owners.is_owned(*topic, *partition)
            })
        })
    }

    /// Those who speak the classic protocol are watched, each for its own session.
    pub(in crate::group) fn watch_classic(&self, turn: &mut Turn<'_>) {
        for member in self.members.values() {
            if let Some(classic) = &member.classic {
                self.saw_classic(member, classic, turn);
            }
        }
    }

    fn saw_classic(&self, member: &Member, classic: &ClassicMemberMetadata, turn: &mut Turn<'_>) {
        let session = Timer::ConsumerSession(self.id.clone(), member.id.clone());
        let ms = classic.session_timeout_ms.into();
        turn.timers.set(session, turn.now, ms);
    }

    fn expect_join(&self, member: &Member, turn: &mut Turn<'_>) {
        let timer = Timer::MemberJoin(self.id.clone(), member.id.clone());
        let ms = member.rebalance_timeout_ms.into();
        turn.timers.set_if_absent(timer, turn.now, ms);
    }
}

fn step<'a>(
    target: &'a Target<'a>,
    wants_other: bool,
    owned: &'a [Owned],
    topics: &'a dyn TopicImage,
) -> Step<'a> {
    Step {
        target,
        wants_other,
        owned: Some(owned),
        topics,
    }
}

/// The metadata of the protocol that the member likes best.
fn said(request: &JoinGroupRequest) -> Option<ConsumerProtocolSubscription> {
    embedded::subscription(&request.protocols.first()?.metadata)
}

/// The member with what the request says anew.
fn rejoined(
    before: &Member,
    join: &ClassicJoin<'_>,
    subscription: &ConsumerProtocolSubscription,
) -> Member {
    let request = join.request;
    let mut after = before.clone();
    if let Some(instance) = request.group_instance_id.as_deref() {
        after.instance = Some(instance.into());
    }
    if let Some(rack) = rack(subscription.rack_id.as_ref()) {
        after.rack = Some(rack);
    }
    if request.rebalance_timeout_ms != -1 {
        after.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    let topics = subscription.topics.iter();
    after.topics = Arc::new(topics.map(|topic| (**topic).into()).collect());
    after.pattern = Some("".into());
    after.client_id = join.client.id.into();
    after.client_host = join.client.host.into();
    // Copied: the slices would keep the whole request alive.
    let protocols = distinct(&request.protocols).map(|asked| ClassicProtocol {
        name: Text::from(&*asked.name),
        metadata: bytes::Bytes::copy_from_slice(&asked.metadata),
    });
    after.classic = Some(ClassicMemberMetadata {
        session_timeout_ms: request.session_timeout_ms,
        supported_protocols: protocols.collect(),
    });
    after
}

/// What the member says it still has, of topics that exist.
fn owned(subscription: &ConsumerProtocolSubscription, topics: &dyn TopicImage) -> Vec<Owned> {
    let topics_with_ids = subscription.owned_partitions.iter().filter_map(|topic| {
        Some(Owned {
            topic_id: topics.id(&topic.topic)?,
            partitions: topic.partitions.clone(),
        })
    });
    topics_with_ids.collect()
}

fn joined(member: &Member) -> GroupReply {
    let protocols = member.classic.as_ref().map(|it| &it.supported_protocols);
    let protocol = protocols.and_then(|it| it.first());
    GroupReply::Join(JoinGroupResponse {
        generation_id: member.epoch,
        protocol_type: Some(Text::from_static(CONSUMER)),
        protocol_name: Some(protocol.map(|it| it.name.clone()).unwrap_or_default()),
        member_id: Text::from(&*member.id),
        ..JoinGroupResponse::default()
    })
}

fn without_epochs(member: &Member) -> Partitions {
    let assigned = member.assigned.iter();
    assigned
        .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
        .collect()
}

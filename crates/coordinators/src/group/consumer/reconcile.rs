//! One step of a member towards its target: first it gives up, then it gets, and it gets nothing
//! that another still has.

use std::collections::BTreeSet;

use ottla_protocol::messages::ConsumerGroupHeartbeatTopicPartitions as Owned;
use ottla_protocol::{Refusal, Uuid};

use super::check::UnfitRequest;
use super::member::Held;
use super::target::Target;
use super::{ConsumerGroup, Member, MemberState};
use crate::group::TopicImage;

/// What a step depends on.
pub(super) struct Step<'a> {
    pub(super) target: &'a Target<'a>,
    /// The member has just changed what it wants.
    pub(super) wants_other: bool,
    /// What the member says it has; it says so when it joins and when that changes.
    pub(super) owned: Option<&'a [Owned]>,
    pub(super) topics: &'a dyn TopicImage,
}

impl ConsumerGroup {
    /// The member one step further, or as it was if it has to wait.
    pub(super) fn step(&self, member: &Member, step: &Step<'_>) -> Result<Member, UnfitRequest> {
        match member.state {
            MemberState::Stable if member.epoch != step.target.epoch => {
                Ok(self.next(member, member.epoch, step))
            }
            MemberState::Stable if step.wants_other => Ok(self.unsubscribed(member, step)),
            MemberState::Stable => Ok(member.clone()),
            MemberState::UnrevokedPartitions if still_has(step.owned, &member.revoking) => {
                Ok(match step.wants_other {
                    true => self.unsubscribed(member, step),
                    false => member.clone(),
                })
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                Ok(self.next(member, member.epoch, step))
            }
            MemberState::Unknown(_) if step.owned.is_none_or(|owned| !owned.is_empty()) => {
                let why = "The member's state was written by a newer broker: it must give up all \
                           partitions and join again.";
                Err(UnfitRequest::new(Refusal::FencedMemberEpoch, why))
            }
            MemberState::Unknown(_) => Ok(self.next(member, step.target.epoch, step)),
        }
    }

    /// Takes topics away that the member does not want any more; the rest waits for the target.
    fn unsubscribed(&self, member: &Member, step: &Step<'_>) -> Member {
        let mut next = member.clone();
        next.assigned
            .retain(|topic, _| self.may_have(member, *topic, step.topics));
        if next.assigned.len() == member.assigned.len() {
            return next;
        }
        for (topic, partitions) in &member.assigned {
            if !next.assigned.contains_key(topic) {
                next.revoking.entry(*topic).or_default().extend(partitions);
            }
        }
        next.advance_to(member.epoch);
        if still_has(step.owned, &next.revoking) {
            next.state = MemberState::UnrevokedPartitions;
        } else {
            // It has let go of them already.
            next.revoking.clone_from(&member.revoking);
        }
        next
    }

    fn next(&self, member: &Member, epoch: i32, step: &Step<'_>) -> Member {
        let (mut kept, mut revoking) = (Held::new(), Held::new());
        let (mut fresh, mut has_unreleased) = (Vec::new(), false);
        let target = &step.target.partitions;
        let all: BTreeSet<Uuid> = target
            .keys()
            .chain(member.assigned.keys())
            .copied()
            .collect();
        for topic in all {
            let wanted = target
                .get(&topic)
                .filter(|_| self.may_have(member, topic, step.topics));
            let shall_have = |partition: &i32| wanted.is_some_and(|it| it.contains(partition));
            let has = member.assigned.get(&topic);
            for (partition, since) in has.into_iter().flatten() {
                let held = match shall_have(partition) {
                    true => &mut kept,
                    false => &mut revoking,
                };
                held.entry(topic).or_default().insert(*partition, *since);
            }
            for partition in wanted.into_iter().flatten() {
                if has.is_some_and(|has| has.contains_key(partition)) {
                    continue;
                }
                // What the member itself is giving up is not another's.
                let own = member.revoking.get(&topic);
                let is_own = own.is_some_and(|own| own.contains_key(partition));
                if self.owners.is_owned(topic, *partition) && !is_own {
                    has_unreleased = true;
                } else {
                    fresh.push((topic, *partition));
                }
            }
        }
        let mut next = member.clone();
        next.assigned = kept;
        if still_has(step.owned, &revoking) {
            next.state = MemberState::UnrevokedPartitions;
            next.revoking = revoking;
            next.advance_to(epoch);
            return next;
        }
        for (topic, partition) in fresh {
            let partitions = next.assigned.entry(topic).or_default();
            partitions.insert(partition, step.target.epoch);
        }
        next.revoking.clear();
        next.state = match has_unreleased {
            true => MemberState::UnreleasedPartitions,
            false => MemberState::Stable,
        };
        next.advance_to(step.target.epoch);
        next
    }

    /// Whether the topic exists and the member is subscribed to it.
    fn may_have(&self, member: &Member, topic: Uuid, topics: &dyn TopicImage) -> bool {
        topics
            .name(topic)
            .is_some_and(|name| self.wants(member, &name))
    }
}

/// Whether the member may still use some of these. If it does not say, it does.
fn still_has(owned: Option<&[Owned]>, held: &Held) -> bool {
    if held.is_empty() {
        return false;
    }
    let Some(owned) = owned else {
        return true;
    };
    owned.iter().any(|topic| {
        let held = held.get(&topic.topic_id);
        held.is_some_and(|held| topic.partitions.iter().any(|p| held.contains_key(p)))
    })
}

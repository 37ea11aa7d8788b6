//! The target assignment: what each member shall have, for one group epoch.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ptr;
use std::sync::Arc;

use ottla_protocol::Uuid;

use super::{ConsumerGroup, Member};
use crate::group::TopicImage;
use crate::group::assign::{Assignor, Partitions, Wanted, Wish};
use crate::group::turn::Turn;

static NOTHING: Partitions = Partitions::new();

/// Where a member is to go.
pub(super) struct Target<'a> {
    pub(super) epoch: i32,
    pub(super) partitions: Cow<'a, Partitions>,
}

impl ConsumerGroup {
    /// The target of `after`. It is computed anew if the group has moved on since it was, and not
    /// more often than the interval allows: who comes meanwhile is served at the next heartbeat.
    pub(super) fn update_target(
        &self,
        epoch: i32,
        before: &Member,
        after: &Member,
        topics: &dyn TopicImage,
        turn: &mut Turn<'_>,
    ) -> Target<'_> {
        let interval_ms = turn.settings.consumer.of(&self.id).assignment_interval_ms;
        if self.target_epoch >= epoch || !self.may_compute(interval_ms, turn.now.wall_ms) {
            return Target {
                epoch: self.target_epoch,
                partitions: Cow::Borrowed(self.target_of(after)),
            };
        }
        let assignor = self.preferred_assignor(before, after, &turn.settings.consumer.assignors);
        let members = self.members_with(after);
        let written = self.targets_of(&members);
        let is_homogeneous = self.subscriptions_after(before, after).are_homogeneous();
        let wanted = self.wanted(&members, &written, is_homogeneous, topics);
        let mut mine = Cow::Borrowed(self.target_of(after));
        let given = assignor.assign(&wanted);
        for ((wish, written), given) in wanted.members.iter().zip(&written).zip(given) {
            let target = given.as_ref().unwrap_or(wish.before);
            let is_written = |known: &Partitions| ptr::eq(known, target) || known == target;
            if !written.is_some_and(is_written) {
                turn.write(self.target_record(wish.member, target));
            }
            if *wish.member == *after.id
                && let Some(given) = given
            {
                mine = Cow::Owned(given);
            }
        }
        turn.write(self.target_epoch_record(Some((epoch, turn.now.wall_ms))));
        Target {
            epoch,
            partitions: mine,
        }
    }

    /// A target of unknown age may be replaced at once.
    pub(super) fn may_compute(&self, interval_ms: i32, now_ms: i64) -> bool {
        self.target_at_ms == 0
            || interval_ms == 0
            || now_ms >= self.target_at_ms.saturating_add(interval_ms.into())
    }

    /// A static member that is back finds the target of its former id.
    pub(super) fn target_of(&self, member: &Member) -> &Partitions {
        let known_as = match &member.instance {
            None => Some(&member.id),
            Some(instance) => self.statics.get(instance),
        };
        let target = known_as.and_then(|id| self.target.get(id));
        target.unwrap_or(&NOTHING)
    }

    /// What most members vote for; of equals the one that is offered first.
    fn preferred_assignor(
        &self,
        before: &Member,
        after: &Member,
        offered: &[Assignor],
    ) -> Assignor {
        let others = self
            .members
            .values()
            .filter(|member| member.id != before.id);
        let votes = others
            .chain([after])
            .filter_map(|member| member.assignor.as_deref());
        elected(votes, offered)
    }

    /// What it would be computed with.
    pub(super) fn assignor(&self, offered: &[Assignor]) -> Assignor {
        let votes = self.members.values();
        elected(
            votes.filter_map(|member| member.assignor.as_deref()),
            offered,
        )
    }

    /// All members, with `after` in its place, or in that of the static member that it replaces; by
    /// their ids.
    fn members_with<'a>(&'a self, after: &'a Member) -> Vec<&'a Member> {
        let replaced = after.instance.as_ref().and_then(|it| self.statics.get(it));
        let mut members: Vec<&Member> = self
            .members
            .values()
            .filter(|member| replaced != Some(&member.id))
            .collect();
        match members.binary_search_by(|member| member.id.cmp(&after.id)) {
            Ok(place) => members[place] = after,
            Err(place) => members.insert(place, after),
        }
        members
    }

    /// What stands under the ids of these members, which come in the order of their ids.
    fn targets_of(&self, members: &[&Member]) -> Vec<Option<&Partitions>> {
        let mut targets = self.target.iter().peekable();
        let target_of = |member: &&Member| {
            while targets.next_if(|(id, _)| **id < member.id).is_some() {}
            let target = targets.next_if(|(id, _)| **id == member.id);
            target.map(|(_, target)| target)
        };
        members.iter().map(target_of).collect()
    }

    fn wanted<'a>(
        &'a self,
        members: &[&'a Member],
        written: &[Option<&'a Partitions>],
        is_homogeneous: bool,
        topics: &dyn TopicImage,
    ) -> Wanted<'a> {
        let mut n_partitions = BTreeMap::new();
        // Most members of a group share their topics, which are looked up once.
        let mut known: HashMap<_, Arc<BTreeSet<Uuid>>> = HashMap::new();
        let wishes = members.iter().zip(written).map(|(member, written)| {
            let pattern = member.pattern().map(|pattern| &**pattern);
            let wish = known
                .entry((Arc::as_ptr(&member.topics), pattern))
                .or_insert_with(|| {
                    let mut ids = BTreeSet::new();
                    for name in self.topics_of(member) {
                        if let Some(id) = topics.id(name) {
                            n_partitions.insert(id, topics.n_partitions(name));
                            ids.insert(id);
                        }
                    }
                    Arc::new(ids)
                });
            Wish {
                member: &member.id,
                instance: member.instance.as_deref(),
                topics: wish.clone(),
                before: match member.instance {
                    None => written.unwrap_or(&NOTHING),
                    Some(_) => self.target_of(member),
                },
            }
        });
        Wanted {
            members: wishes.collect(),
            is_homogeneous,
            n_partitions,
        }
    }

    /// Everything that a member is subscribed to; a pattern that is not resolved stands for nothing.
    fn topics_of<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a Arc<str>> {
        let resolved = member
            .pattern()
            .and_then(|pattern| self.resolved.get(pattern));
        member
            .topics
            .iter()
            .chain(resolved.into_iter().flat_map(|resolved| &resolved.topics))
    }

    /// Whether a member is subscribed to a topic.
    pub(super) fn wants(&self, member: &Member, topic: &str) -> bool {
        let resolved = member
            .pattern()
            .and_then(|pattern| self.resolved.get(pattern));
        member.topics.contains(topic) || resolved.is_some_and(|it| it.topics.contains(topic))
    }
}

fn elected<'a>(votes: impl Iterator<Item = &'a str>, offered: &[Assignor]) -> Assignor {
    let mut n_votes: HashMap<Assignor, usize> = HashMap::new();
    for assignor in votes.filter_map(Assignor::from_name) {
        *n_votes.entry(assignor).or_default() += 1;
    }
    let most = offered
        .iter()
        .rev()
        .max_by_key(|assignor| n_votes.get(assignor).copied().unwrap_or(0));
    most.copied().unwrap_or(Assignor::Uniform)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_votes_win_and_the_first_offered_wins_a_draw() {
        let offered = [Assignor::Uniform, Assignor::Range];
        let elect = |votes: &[&'static str]| elected(votes.iter().copied(), &offered).name();
        assert_eq!(elect(&[]), "uniform");
        assert_eq!(elect(&["range"]), "range");
        assert_eq!(elect(&["range", "uniform"]), "uniform");
        assert_eq!(elect(&["range", "uniform", "range"]), "range");
        assert_eq!(
            elect(&["org.example.Mine", "org.example.Mine", "range"]),
            "range"
        );
        assert_eq!(
            elected(std::iter::empty(), &[Assignor::Range]),
            Assignor::Range
        );
    }

    #[test]
    fn a_target_is_kept_for_the_interval() {
        let mut group = ConsumerGroup::new("g".into());
        assert!(group.may_compute(1000, 5));
        group.target_at_ms = 5_000;
        assert!(!group.may_compute(1000, 5_999));
        assert!(group.may_compute(1000, 6_000) && group.may_compute(0, 5_000));
    }
}

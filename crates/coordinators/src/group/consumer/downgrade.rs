//! A group of the consumer protocol becomes a classic one while members are in: the last that spoke
//! the consumer protocol goes, or its static place is taken by one that does not.

use std::collections::BTreeMap;

use super::{ConsumerGroup, Member};
use crate::group::TopicImage;
use crate::group::classic::{ClassicGroup, Heir};
use crate::group::settings::GroupSettings;
use crate::group::timers::Timer;
use crate::group::turn::Turn;

/// Who goes, and who comes in place of one of them.
pub(super) struct Change<'a> {
    pub(super) leaving: &'a [&'a Member],
    /// The member that stood there, and the one that has its place.
    pub(super) replaced: Option<(&'a Member, &'a Member)>,
    /// What members have does not fit what they want any more.
    pub(super) rebalances: bool,
}

impl ConsumerGroup {
    /// Whether those who stay when some leave make a classic group.
    pub(super) fn may_downgrade_without(
        &self,
        leaving: &[&Member],
        settings: &GroupSettings,
    ) -> bool {
        let stays = |member: &&Member| !leaving.iter().any(|it| it.id == member.id);
        let mut staying = self.members.values().filter(stays).peekable();
        staying.peek().is_some()
            && staying.all(Member::speaks_classic)
            && settings.consumer.migration.downgrades()
            && self.members.len() - leaving.len() <= settings.max_size
    }

    /// Whether the group is classic once a member that speaks the classic protocol has taken the
    /// place of this one.
    pub(super) fn may_downgrade_in_place_of(
        &self,
        holder: &Member,
        settings: &GroupSettings,
    ) -> bool {
        let mut others = self.members.values().filter(|it| it.id != holder.id);
        !holder.speaks_classic()
            && others.all(Member::speaks_classic)
            && settings.consumer.migration.downgrades()
            && self.members.len() <= settings.max_size
    }

    /// Writes the group off, and the classic one that takes its place. `false`: what members say of
    /// themselves does not make one, and nothing is written.
    pub(super) fn downgrade(
        &self,
        change: &Change<'_>,
        topics: &dyn TopicImage,
        turn: &mut Turn<'_>,
    ) -> bool {
        let heirs = self.heirs(change);
        let made = ClassicGroup::of_consumers(&self.id, self.epoch, heirs, topics, turn.now);
        let Some(mut classic) = made else {
            return false;
        };
        let renamed = change.replaced.map(|(old, new)| (&*old.id, &*new.id));
        let gone = self.tombstones_renamed(renamed);
        gone.into_iter().for_each(|record| turn.write(record));
        turn.write(classic.written());
        for id in self.members.keys() {
            self.stop_clocks_of(id, turn);
        }
        classic.succeed(change.rebalances, turn);
        turn.succeeded_by(classic);
        true
    }

    fn heirs<'a>(&'a self, change: &Change<'a>) -> Vec<Heir<'a>> {
        let leaves = |member: &Member| change.leaving.iter().any(|it| it.id == member.id);
        let mut heirs: BTreeMap<&str, Heir<'a>> = BTreeMap::new();
        for member in self.members.values().filter(|member| !leaves(member)) {
            let member = match change.replaced {
                Some((old, new)) if old.id == member.id => new,
                _ => member,
            };
            let heir = Heir {
                id: &member.id,
                instance: member.instance.as_ref(),
                client_id: &member.client_id,
                client_host: &member.client_host,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                classic: member.classic.as_ref(),
                target: self.target_of(member),
            };
            heirs.insert(&member.id, heir);
        }
        heirs.into_values().collect()
    }

    /// The member is not watched any more.
    pub(super) fn stop_clocks_of(&self, id: &std::sync::Arc<str>, turn: &mut Turn<'_>) {
        let (group, id) = (self.id.clone(), id.clone());
        for timer in [
            Timer::ConsumerSession(group.clone(), id.clone()),
            Timer::Rebalance(group.clone(), id.clone()),
            Timer::MemberJoin(group.clone(), id.clone()),
            Timer::MemberSync(group, id),
        ] {
            turn.timers.cancel(&timer);
        }
    }
}

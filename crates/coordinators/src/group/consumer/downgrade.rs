//! A group of the consumer protocol becomes a classic one while members are in: the last that spoke
//! the consumer protocol goes, or its static place is taken by one that does not.

use std::collections::{BTreeMap, HashSet};

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
    /// Whether those who stay when some leave, each of them named once, make a classic group.
    pub(super) fn may_downgrade_without(
        &self,
        leaving: &[&Member],
        settings: &GroupSettings,
    ) -> bool {
        let leaving_classic = leaving.iter().filter(|member| member.speaks_classic());
        let n_staying = self.members.len() - leaving.len();
        n_staying > 0
            && self.support.n_members() - leaving_classic.count() == n_staying
            && settings.consumer.migration.downgrades()
            && n_staying <= settings.max_size
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
        let leaving = change.leaving.iter();
        let leaving: HashSet<&str> = leaving.map(|member| &*member.id).collect();
        let mut heirs: BTreeMap<&str, Heir<'a>> = BTreeMap::new();
        for member in self
            .members
            .values()
            .filter(|it| !leaving.contains(&*it.id))
        {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::records::consumer::ClassicMemberMetadata;

    fn member(id: String, speaks_classic: bool) -> Member {
        Member {
            classic: speaks_classic.then(|| ClassicMemberMetadata {
                session_timeout_ms: 1,
                supported_protocols: Vec::new(),
            }),
            ..Member::new(id.into())
        }
    }

    #[test]
    fn the_group_is_classic_when_all_who_stay_are() {
        let mut group = ConsumerGroup::new("g".into());
        for (id, speaks_classic) in [("a", true), ("b", false), ("c", true)] {
            group.put(member(id.into(), speaks_classic));
        }
        let settings = GroupSettings::default();
        let may = |leaving: &[&str]| {
            let leaving: Vec<&Member> = leaving.iter().map(|id| &group.members[*id]).collect();
            group.may_downgrade_without(&leaving, &settings)
        };
        assert!(may(&["b"]) && may(&["a", "b"]));
        assert!(!may(&["a"]) && !may(&["a", "c"]) && !may(&["a", "b", "c"]));
    }

    #[test]
    fn a_great_many_members_stay_when_as_many_leave() {
        const N: usize = 50_000;
        let mut group = ConsumerGroup::new("g".into());
        for n in 0..2 * N {
            group.put(member(format!("m{n:06}"), n >= N));
        }
        let leaving: Vec<&Member> = group.members.values().take(N).collect();
        assert!(group.may_downgrade_without(&leaving, &GroupSettings::default()));
        let change = Change {
            leaving: &leaving,
            replaced: None,
            rebalances: true,
        };
        let heirs = group.heirs(&change);
        assert_eq!((heirs.len(), heirs[0].id), (N, &"m050000".into()));
    }
}

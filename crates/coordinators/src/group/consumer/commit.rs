//! Who may store offsets for a group, and who may read them, by member epoch.

use ottla_protocol::{Refusal, Uuid};

use super::ConsumerGroup;

/// Who wants to commit.
pub(in crate::group) struct Committer<'a> {
    pub(in crate::group) member_id: &'a str,
    pub(in crate::group) epoch: i32,
    /// Its request can carry a member epoch.
    pub(in crate::group) speaks_consumer: bool,
}

impl ConsumerGroup {
    /// Without members anybody may. A member commits at its epoch; at an older one only what it has
    /// had since then, so that a commit that was on its way while the member moved on counts.
    pub(in crate::group) fn may_commit(
        &self,
        who: &Committer<'_>,
        mut partitions: impl Iterator<Item = (Uuid, i32)>,
    ) -> Result<(), Refusal> {
        if who.epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.member(who.member_id).ok_or(Refusal::UnknownMemberId)?;
        if !who.speaks_consumer && !member.speaks_classic() {
            return Err(Refusal::UnsupportedVersion);
        }
        let is_since = |(topic, partition)| {
            let since = member.assignment_epoch(topic, partition);
            since.is_some_and(|since| since <= who.epoch)
        };
        if who.epoch == member.epoch || (who.epoch < member.epoch && partitions.all(is_since)) {
            return Ok(());
        }
        Err(behind(member.speaks_classic()))
    }

    /// A member reads at its epoch, so that it does not start where it had been before.
    pub(in crate::group) fn may_fetch(&self, member_id: &str, epoch: i32) -> Result<(), Refusal> {
        let member = self.member(member_id).ok_or(Refusal::UnknownMemberId)?;
        match epoch == member.epoch {
            true => Ok(()),
            false => Err(behind(member.speaks_classic())),
        }
    }
}

fn behind(speaks_classic: bool) -> Refusal {
    match speaks_classic {
        true => Refusal::IllegalGeneration,
        false => Refusal::StaleMemberEpoch,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Member;
    use super::super::member::Held;
    use super::*;

    const TOPIC: Uuid = Uuid::from_u128(101);

    fn group() -> ConsumerGroup {
        let mut group = ConsumerGroup::new("g".into());
        let mut member = Member::new("m".into());
        member.epoch = 9;
        member.assigned = Held::from([(TOPIC, [(0, 5), (1, 9)].into())]);
        member.revoking = Held::from([(TOPIC, [(2, 3)].into())]);
        group.put(member);
        group
    }

    fn commit(epoch: i32, partitions: &[i32]) -> Result<(), Refusal> {
        let who = Committer {
            member_id: "m",
            epoch,
            speaks_consumer: true,
        };
        group().may_commit(&who, partitions.iter().map(|partition| (TOPIC, *partition)))
    }

    #[test]
    fn an_older_epoch_commits_what_was_assigned_by_then() {
        let stale = Err(Refusal::StaleMemberEpoch);
        assert_eq!(commit(9, &[0, 1, 2, 7]), Ok(()));
        assert_eq!(commit(5, &[0]), Ok(()));
        assert_eq!(commit(5, &[0, 2]), Ok(()));
        assert_eq!(commit(5, &[0, 1]), stale);
        assert_eq!(commit(4, &[0]), stale);
        assert_eq!(commit(8, &[7]), stale);
        assert_eq!(commit(10, &[0]), stale);
        assert_eq!(commit(-1, &[0]), stale);
    }

    #[test]
    fn strangers_and_old_clients_are_told_so() {
        let who = |member_id, speaks_consumer| Committer {
            member_id,
            epoch: 9,
            speaks_consumer,
        };
        let ask = |who| group().may_commit(&who, [(TOPIC, 0)].into_iter());
        assert_eq!(ask(who("x", true)), Err(Refusal::UnknownMemberId));
        assert_eq!(ask(who("m", false)), Err(Refusal::UnsupportedVersion));
        assert_eq!(group().may_fetch("m", 8), Err(Refusal::StaleMemberEpoch));
        assert_eq!(group().may_fetch("m", 9), Ok(()));
        assert_eq!(group().may_fetch("x", 9), Err(Refusal::UnknownMemberId));
    }

    #[test]
    fn without_members_anybody_commits() {
        let empty = ConsumerGroup::new("g".into());
        let who = Committer {
            member_id: "",
            epoch: -1,
            speaks_consumer: true,
        };
        assert_eq!(empty.may_commit(&who, [(TOPIC, 0)].into_iter()), Ok(()));
    }
}

//! `uniform`, when all members want the same topics: everybody gets the same number, give or take
//! one, and keeps what it had up to that number.
//!
//! Each member that joins has this computed anew, and the shares of most others stay as they are:
//! those are counted, not copied.

use std::collections::BTreeMap;
use std::mem;

use ottla_protocol::Uuid;

use super::{Partitions, Wanted};

pub(super) fn assign(wanted: &Wanted<'_>) -> Vec<Option<Partitions>> {
    let Kept {
        mut given,
        claimed,
        surplus,
        room,
    } = keep(wanted);
    let mut free = claimed.others().chain(surplus);
    for (place, room) in room {
        let share = given[place].get_or_insert_with(|| wanted.members[place].before.clone());
        for (topic, partition) in free.by_ref().take(room) {
            share.entry(topic).or_default().insert(partition);
        }
    }
    assert!(free.next().is_none(), "there is room for every partition");
    given
}

/// What comes of what members had.
struct Kept {
    /// `None` for everything.
    given: Vec<Option<Partitions>>,
    /// Had by someone, kept or not.
    claimed: Claimed,
    /// More than their owners may keep.
    surplus: Vec<(Uuid, i32)>,
    /// Who may have how many more.
    room: Vec<(usize, usize)>,
}

fn keep(wanted: &Wanted<'_>) -> Kept {
    let n_members = wanted.members.len();
    let mut kept = Kept {
        given: Vec::with_capacity(n_members),
        claimed: Claimed::none_of(&wanted.n_partitions),
        surplus: Vec::new(),
        room: Vec::new(),
    };
    // So many members have one more than the others.
    let total = kept.claimed.n_partitions();
    let (each, mut one_more) = (total / n_members, total % n_members);
    let mut lost = Vec::new();
    for (place, wish) in wanted.members.iter().enumerate() {
        let mut may_have_more = one_more > 0;
        let most = each + usize::from(may_have_more);
        let mut room = most - kept.share(wish.before, most, &mut lost);
        // Whoever does not have one more already leaves it to those who come, unless there are no
        // more of them than must take one.
        if room > 0 && may_have_more && n_members - place > one_more {
            room -= 1;
            may_have_more = false;
        }
        one_more -= usize::from(may_have_more);
        if room > 0 {
            kept.room.push((place, room));
        }
        kept.given.push(without(wish.before, &lost));
        lost.clear();
    }
    kept
}

impl Kept {
    /// How many a member keeps of what it had, which are `most` at most. The others are `lost`.
    fn share(&mut self, before: &Partitions, most: usize, lost: &mut Vec<(Uuid, i32)>) -> usize {
        let mut n = 0;
        for (topic, partitions) in before {
            let mut claimed = self.claimed.0.get_mut(topic);
            for partition in partitions {
                // A log may say anything; of two owners the first counts.
                let is_first = claim(claimed.as_deref_mut(), *partition);
                if is_first && n < most {
                    n += 1;
                    continue;
                }
                if is_first {
                    self.surplus.push((*topic, *partition));
                }
                lost.push((*topic, *partition));
            }
        }
        n
    }
}

/// Of each topic what somebody had, by partition.
struct Claimed(BTreeMap<Uuid, Vec<bool>>);

impl Claimed {
    fn none_of(n_partitions: &BTreeMap<Uuid, i32>) -> Self {
        let none = |n: &i32| vec![false; usize::try_from(*n).unwrap_or(0)];
        Self(n_partitions.iter().map(|(id, n)| (*id, none(n))).collect())
    }

    fn n_partitions(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// What nobody had.
    fn others(&self) -> impl Iterator<Item = (Uuid, i32)> {
        self.0.iter().flat_map(|(topic, claimed)| {
            let others = (0..).zip(claimed).filter(|(_, is_claimed)| !**is_claimed);
            others.map(move |(partition, _)| (*topic, partition))
        })
    }
}

/// Whether the partition exists and nobody had it.
fn claim(claimed: Option<&mut Vec<bool>>, partition: i32) -> bool {
    let at = usize::try_from(partition).ok();
    let mark = claimed.zip(at).and_then(|(all, at)| all.get_mut(at));
    mark.is_some_and(|mark| !mem::replace(mark, true))
}

/// What is left, unless that is everything.
fn without(before: &Partitions, lost: &[(Uuid, i32)]) -> Option<Partitions> {
    if lost.is_empty() {
        return None;
    }
    let mut left = before.clone();
    for (topic, partition) in lost {
        if let Some(partitions) = left.get_mut(topic) {
            partitions.remove(partition);
            if partitions.is_empty() {
                left.remove(topic);
            }
        }
    }
    Some(left)
}

//! `uniform` for members that all want the same, written down plainly: every share is built anew.

use std::collections::HashSet;

use ottla_protocol::Uuid;

use super::{Partitions, Wanted};

pub(super) fn assign(wanted: &Wanted<'_>) -> Vec<Partitions> {
    let mut kept = keep(wanted);
    let mut free = unowned(wanted, &kept.claimed);
    free.append(&mut kept.surplus);
    let mut free = free.into_iter();
    for (place, room) in kept.room {
        for (topic, partition) in free.by_ref().take(room) {
            kept.given[place]
                .entry(topic)
                .or_default()
                .insert(partition);
        }
    }
    assert!(free.next().is_none(), "there is room for every partition");
    kept.given
}

/// What comes of what members had.
struct Kept {
    given: Vec<Partitions>,
    /// Had by someone, kept or not.
    claimed: HashSet<(Uuid, i32)>,
    /// More than their owners may keep.
    surplus: Vec<(Uuid, i32)>,
    /// Who may have how many more.
    room: Vec<(usize, usize)>,
}

fn keep(wanted: &Wanted<'_>) -> Kept {
    let n_members = wanted.members.len();
    let total: usize = wanted
        .n_partitions
        .values()
        .map(|n| usize::try_from(*n).unwrap_or(0))
        .sum();
    // So many members have one more than the others.
    let (each, mut one_more) = (total / n_members, total % n_members);
    let mut kept = Kept {
        given: Vec::with_capacity(n_members),
        claimed: HashSet::with_capacity(total),
        surplus: Vec::new(),
        room: Vec::new(),
    };
    for (place, wish) in wanted.members.iter().enumerate() {
        let mut may_have_more = one_more > 0;
        let most = each + usize::from(may_have_more);
        let mut n = 0;
        let mut given = Partitions::new();
        for (topic, partitions) in wish.before {
            for partition in partitions {
                let exists = (0..wanted.n_partitions(*topic)).contains(partition);
                // A log may say anything; of two owners the first counts.
                if !exists || !kept.claimed.insert((*topic, *partition)) {
                    continue;
                }
                if n < most {
                    n += 1;
                    given.entry(*topic).or_default().insert(*partition);
                } else {
                    kept.surplus.push((*topic, *partition));
                }
            }
        }
        let mut room = most - n;
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
        kept.given.push(given);
    }
    kept
}

fn unowned(wanted: &Wanted<'_>, claimed: &HashSet<(Uuid, i32)>) -> Vec<(Uuid, i32)> {
    let topics = wanted.n_partitions.iter();
    topics
        .flat_map(|(topic, n)| (0..*n).map(move |partition| (*topic, partition)))
        .filter(|partition| !claimed.contains(partition))
        .collect()
}

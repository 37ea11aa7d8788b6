//! `range`: of every topic each subscriber gets a run of neighbours; the first ones get one more
//! where it does not come out even. Topics of one size and the same subscribers are cut at the same
//! places, so that equal keys of two topics meet at one member.

use std::collections::BTreeSet;

use super::{Partitions, Wanted};

pub(super) fn assign(wanted: &Wanted<'_>) -> Vec<Partitions> {
    let mut given = vec![Partitions::new(); wanted.members.len()];
    let rank = ranks(wanted);
    for (topic, mut subscribers) in wanted.subscribers() {
        subscribers.sort_unstable_by_key(|place| rank[*place]);
        let n = wanted.n_partitions(topic);
        let n_subscribers = i32::try_from(subscribers.len()).unwrap_or(i32::MAX);
        let (each, mut one_more) = (n / n_subscribers, n % n_subscribers);
        let mut start = 0;
        for place in subscribers {
            let end = start + each + i32::from(one_more > 0);
            one_more -= i32::from(one_more > 0);
            if start < end {
                given[place].insert(topic, BTreeSet::from_iter(start..end));
            }
            start = end;
        }
    }
    given
}

/// The place of each member in the order in which runs are dealt out: static members first, by
/// their instance ids, which outlive a restart; the others by their member ids.
fn ranks(wanted: &Wanted<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..wanted.members.len()).collect();
    order.sort_unstable_by_key(|place| {
        let wish = &wanted.members[*place];
        let name = wish.instance.unwrap_or(wish.member);
        (wish.instance.is_none(), name, wish.member)
    });
    let mut rank = vec![0; order.len()];
    for (at, place) in order.into_iter().enumerate() {
        rank[place] = at;
    }
    rank
}

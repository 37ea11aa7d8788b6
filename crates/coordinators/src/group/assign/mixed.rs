//! `uniform`, when members want different topics: members keep what they still want, what nobody
//! has goes to whoever has least, and then partitions move one by one from those who have most to
//! those who have least, as long as that makes it more even.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::Uuid;

use super::{Partitions, Wanted};

/// How often all topics are gone through. One round does when the subscribers of a topic want the
/// same otherwise; subscriptions that overlap take more, each about halving what is left.
const ROUNDS_MAX: usize = 16;

pub(super) fn assign(wanted: &Wanted<'_>) -> Vec<Partitions> {
    let mut balance = Balance::new(wanted);
    let topics = balance.topics_in_order();
    for topic in &topics {
        balance.hand_out(*topic);
    }
    for _ in 0..ROUNDS_MAX {
        let moved: usize = topics.iter().map(|topic| balance.even_out(*topic)).sum();
        if moved == 0 {
            break;
        }
    }
    balance.given()
}

/// * `load[place]` is how many partitions `place` owns
/// * an owner of a topic's partition is among its subscribers
struct Balance<'a> {
    wanted: &'a Wanted<'a>,
    subscribers: BTreeMap<Uuid, Vec<usize>>,
    /// By topic and partition.
    owners: BTreeMap<Uuid, Vec<Option<usize>>>,
    load: Vec<usize>,
}

impl<'a> Balance<'a> {
    /// Everybody keeps what they had and still want.
    fn new(wanted: &'a Wanted<'a>) -> Self {
        let empty = |n: &i32| vec![None; usize::try_from(*n).unwrap_or(0)];
        let owners = wanted.n_partitions.iter();
        let mut balance = Self {
            wanted,
            subscribers: wanted.subscribers(),
            owners: owners.map(|(topic, n)| (*topic, empty(n))).collect(),
            load: vec![0; wanted.members.len()],
        };
        for (place, wish) in wanted.members.iter().enumerate() {
            for (topic, partitions) in wish.before {
                if !wish.topics.contains(topic) {
                    continue;
                }
                for partition in partitions {
                    balance.keep(*topic, *partition, place);
                }
            }
        }
        balance
    }

    fn keep(&mut self, topic: Uuid, partition: i32, place: usize) {
        let owners = self.owners.get_mut(&topic);
        let owner = owners.zip(usize::try_from(partition).ok());
        // A log may say anything; of two owners the first counts.
        if let Some(free @ None) = owner.and_then(|(owners, at)| owners.get_mut(at)) {
            *free = Some(place);
            self.load[place] += 1;
        }
    }

    /// Those with most partitions for each subscriber first; then those with fewer subscribers.
    fn topics_in_order(&self) -> Vec<Uuid> {
        let mut topics: Vec<Uuid> = self.subscribers.keys().copied().collect();
        let size = |topic: &Uuid| {
            let n_partitions = self.owners.get(topic).map_or(0, Vec::len);
            let n_subscribers = self.subscribers.get(topic).map_or(0, Vec::len);
            (n_partitions, n_subscribers)
        };
        topics.sort_by(|a, b| {
            let ((partitions_a, subscribers_a), (partitions_b, subscribers_b)) = (size(a), size(b));
            let by_share = (partitions_b * subscribers_a).cmp(&(partitions_a * subscribers_b));
            by_share.then(subscribers_a.cmp(&subscribers_b))
        });
        topics
    }

    /// Each partition that nobody has goes to the subscriber with the least.
    fn hand_out(&mut self, topic: Uuid) {
        let (Some(subscribers), Some(owners)) =
            (self.subscribers.get(&topic), self.owners.get_mut(&topic))
        else {
            return;
        };
        let mut by_load = by_load(subscribers, &self.load);
        for owner in owners.iter_mut().filter(|owner| owner.is_none()) {
            let Some((load, place)) = by_load.pop_first() else {
                return;
            };
            *owner = Some(place);
            self.load[place] += 1;
            by_load.insert((load + 1, place));
        }
    }

    /// Moves partitions of one topic from those with most to those with least. How many moved.
    fn even_out(&mut self, topic: Uuid) -> usize {
        let (Some(subscribers), Some(owners)) =
            (self.subscribers.get(&topic), self.owners.get_mut(&topic))
        else {
            return 0;
        };
        let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (partition, owner) in owners.iter().enumerate() {
            if let Some(place) = owner {
                owned.entry(*place).or_default().push(partition);
            }
        }
        let mut all = by_load(subscribers, &self.load);
        let mut givers: BTreeSet<(usize, usize)> = owned
            .keys()
            .map(|place| (self.load[*place], *place))
            .collect();
        let mut n_moved = 0;
        while let (Some((most, giver)), Some((least, taker))) =
            (givers.last().copied(), all.first().copied())
        {
            if most < least + 2 {
                break;
            }
            givers.pop_last();
            let Some(partition) = owned.get_mut(&giver).and_then(Vec::pop) else {
                continue;
            };
            owners[partition] = Some(taker);
            n_moved += 1;
            self.load[giver] -= 1;
            self.load[taker] += 1;
            all.remove(&(most, giver));
            all.remove(&(least, taker));
            all.extend([(most - 1, giver), (least + 1, taker)]);
            givers.insert((most - 1, giver));
            // What the taker has just got stays with it; what else it has it may still give.
            if givers.remove(&(least, taker)) {
                givers.insert((least + 1, taker));
            }
        }
        n_moved
    }

    fn given(&self) -> Vec<Partitions> {
        let mut given = vec![Partitions::new(); self.wanted.members.len()];
        for (topic, owners) in &self.owners {
            for (partition, owner) in (0..).zip(owners) {
                if let Some(place) = owner {
                    given[*place].entry(*topic).or_default().insert(partition);
                }
            }
        }
        given
    }
}

fn by_load(subscribers: &[usize], load: &[usize]) -> BTreeSet<(usize, usize)> {
    subscribers
        .iter()
        .map(|place| (load[*place], *place))
        .collect()
}

//! Balance, stickiness, and that nothing is given twice or forgotten, over random groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::Uuid;
use proptest::prelude::*;

use super::{Assignor, Partitions, Wanted, Wish, plain};

/// Members by name: instance id, topics by number.
type Group = BTreeMap<String, (Option<String>, BTreeSet<u128>)>;

struct World {
    group: Group,
    sizes: BTreeMap<u128, i32>,
    target: BTreeMap<String, Partitions>,
}

impl World {
    fn new(sizes: &[i32]) -> Self {
        Self {
            group: Group::new(),
            sizes: (1..).zip(sizes.iter().copied()).collect(),
            target: BTreeMap::new(),
        }
    }

    fn join(&mut self, name: &str, topics: &[u128]) {
        let topics = topics.iter().copied().collect();
        self.group.insert(name.into(), (None, topics));
    }

    fn leave(&mut self, name: &str) {
        self.group.remove(name);
        self.target.remove(name);
    }

    /// Assigns anew, and says how many partitions have changed hands from a member that stays.
    fn assign(&mut self, assignor: Assignor) -> usize {
        let nothing = Partitions::new();
        let ids = |topics: &BTreeSet<u128>| topics.iter().map(|it| Uuid::from_u128(*it)).collect();
        let all: BTreeSet<&BTreeSet<u128>> =
            self.group.values().map(|(_, topics)| topics).collect();
        let wanted = Wanted {
            members: self
                .group
                .iter()
                .map(|(name, (instance, topics))| Wish {
                    member: name,
                    instance: instance.as_deref(),
                    topics: Arc::new(ids(topics)),
                    before: self.target.get(name).unwrap_or(&nothing),
                })
                .collect(),
            is_homogeneous: all.len() <= 1,
            n_partitions: self
                .sizes
                .iter()
                .filter(|(topic, _)| all.iter().any(|topics| topics.contains(topic)))
                .map(|(topic, n)| (Uuid::from_u128(*topic), *n))
                .collect(),
        };
        let given = whole(&wanted, assignor.assign(&wanted));
        if assignor == Assignor::Uniform && wanted.is_homogeneous && !wanted.members.is_empty() {
            assert_eq!(given, plain::assign(&wanted));
        }
        let target: BTreeMap<String, Partitions> = self.group.keys().cloned().zip(given).collect();
        let owner = |target: &BTreeMap<String, Partitions>| {
            let mut owners = BTreeMap::new();
            for (name, partitions) in target {
                for (topic, partitions) in partitions {
                    for partition in partitions {
                        let before = owners.insert((*topic, *partition), name.clone());
                        assert_eq!(before, None, "{topic:?}-{partition} has two owners");
                    }
                }
            }
            owners
        };
        let (before, after) = (owner(&self.target), owner(&target));
        let moved = before.iter().filter(|(partition, name)| {
            self.group.contains_key(*name) && after.get(*partition) != Some(*name)
        });
        let moved = moved.count();
        self.target = target;
        self.check_complete(&after);
        moved
    }

    /// Every partition of a topic that somebody wants has an owner who wants it.
    fn check_complete(&self, owners: &BTreeMap<(Uuid, i32), String>) {
        for (topic, n) in &self.sizes {
            let is_wanted = self
                .group
                .values()
                .any(|(_, topics)| topics.contains(topic));
            for partition in 0..*n {
                let owner = owners.get(&(Uuid::from_u128(*topic), partition));
                assert_eq!(owner.is_some(), is_wanted, "{topic}-{partition}");
                let wants = owner.is_none_or(|name| self.group[name].1.contains(topic));
                assert!(wants, "{owner:?} does not want {topic}");
            }
        }
    }

    fn loads(&self) -> Vec<usize> {
        let load = |it: &Partitions| it.values().map(BTreeSet::len).sum();
        self.target.values().map(load).collect()
    }

    fn imbalance(&self) -> usize {
        let loads = self.loads();
        let most = loads.iter().max().copied().unwrap_or(0);
        most - loads.iter().min().copied().unwrap_or(0)
    }

    fn shown(&self) -> String {
        let one = |(name, target): (&String, &Partitions)| {
            let topics = target
                .iter()
                .map(|(topic, partitions)| format!("{}:{partitions:?}", topic.as_u128()));
            format!("{name} {}", topics.collect::<Vec<_>>().join(" "))
        };
        self.target.iter().map(one).collect::<Vec<_>>().join("\n")
    }
}

/// Everybody's share, changed or not.
fn whole(wanted: &Wanted<'_>, given: Vec<Option<Partitions>>) -> Vec<Partitions> {
    let both = wanted.members.iter().zip(given);
    both.map(|(wish, given)| given.unwrap_or_else(|| wish.before.clone()))
        .collect()
}

#[test]
fn range_gives_neighbours_and_the_same_of_equal_topics() {
    let mut world = World::new(&[3, 3, 4]);
    world.join("a", &[1, 2]);
    world.join("b", &[1, 2, 3]);
    world.assign(Assignor::Range);
    assert_eq!(
        world.shown(),
        "a 1:{0, 1} 2:{0, 1}\nb 1:{2} 2:{2} 3:{0, 1, 2, 3}"
    );
    // Static members come first, by instance, whatever their ids are.
    world
        .group
        .insert("c".into(), (Some("i".into()), BTreeSet::from([1])));
    world.assign(Assignor::Range);
    assert_eq!(
        world.shown(),
        "a 1:{1} 2:{0, 1}\nb 1:{2} 2:{2} 3:{0, 1, 2, 3}\nc 1:{0}"
    );
}

#[test]
fn whoever_joins_takes_from_all_and_nobody_else_moves() {
    let mut world = World::new(&[150, 50]);
    for n in 0..40usize {
        world.join(&format!("m{n:02}"), &[1, 2]);
        let moved = world.assign(Assignor::Uniform);
        let share = 200 / (n + 1);
        assert!(n == 0 || (share..=share + 1).contains(&moved), "{moved}");
    }
    assert_eq!(world.loads(), [5; 40]);
}

#[test]
fn more_members_than_partitions() {
    for assignor in [Assignor::Range, Assignor::Uniform] {
        let mut world = World::new(&[2]);
        for name in ["a", "b", "c"] {
            world.join(name, &[1]);
        }
        world.assign(assignor);
        let mut loads = world.loads();
        loads.sort_unstable();
        assert_eq!(loads, [0, 1, 1]);
    }
}

#[test]
fn nobody_wants_anything() {
    for assignor in [Assignor::Range, Assignor::Uniform] {
        let mut world = World::new(&[2]);
        assert_eq!(world.assign(assignor), 0);
        world.join("a", &[]);
        world.assign(assignor);
        assert_eq!(world.loads(), [0]);
    }
}

#[test]
fn subscriptions_that_overlap_are_evened_out() {
    let mut world = World::new(&[10, 2]);
    world.join("a", &[1, 2]);
    world.join("b", &[1]);
    world.assign(Assignor::Uniform);
    assert_eq!(world.loads(), [6, 6]);
    // Whoever comes takes from both, and no more than it must.
    world.join("c", &[1, 2]);
    assert_eq!(world.assign(Assignor::Uniform), 4);
    assert_eq!(world.loads(), [4, 4, 4]);
}

#[derive(Debug, Clone)]
enum Change {
    Join(u8, BTreeSet<u128>),
    Leave(u8),
    Grow(u128, i32),
}

fn change(same_topics: bool) -> impl Strategy<Value = Change> {
    let some = proptest::collection::btree_set(1u128..5, 0..5);
    let topics = match same_topics {
        true => Just(BTreeSet::from([1u128, 2, 3])).boxed(),
        false => some.boxed(),
    };
    prop_oneof![
        4 => (0u8..12, topics).prop_map(|(name, topics)| Change::Join(name, topics)),
        2 => (0u8..12).prop_map(Change::Leave),
        1 => (1u128..5, 1i32..9).prop_map(|(topic, more)| Change::Grow(topic, more)),
    ]
}

fn apply(world: &mut World, change: &Change) -> bool {
    match change {
        Change::Join(name, topics) => {
            let topics: Vec<u128> = topics.iter().copied().collect();
            let name = format!("m{name}");
            let is_new = !world.group.contains_key(&name);
            world.join(&name, &topics);
            is_new
        }
        Change::Leave(name) => {
            world.leave(&format!("m{name}"));
            false
        }
        Change::Grow(topic, more) => {
            *world.sizes.entry(*topic).or_default() += more;
            false
        }
    }
}

proptest! {
    #[test]
    fn uniform_is_even_and_moves_no_more_than_it_must(
        changes in proptest::collection::vec(change(true), 1..40)
    ) {
        let mut world = World::new(&[7, 12, 1, 5]);
        for change in &changes {
            let joined = apply(&mut world, change);
            let total: i32 = [1, 2, 3].iter().map(|topic| world.sizes[topic]).sum();
            let moved = world.assign(Assignor::Uniform);
            prop_assert!(world.imbalance() <= 1, "{:?}", world.loads());
            // A newcomer's share is taken from others; who leaves and what grows moves nothing of
            // the rest, except what makes it even.
            let n = world.group.len().max(1);
            let share = usize::try_from(total).unwrap().div_ceil(n);
            let most = if joined { share } else { n };
            prop_assert!(moved <= most, "{moved} moved, {most} expected, {:?}", world.loads());
            prop_assert_eq!(world.assign(Assignor::Uniform), 0, "nothing moves for nothing");
        }
    }

    #[test]
    fn mixed_groups_are_complete_and_settle(
        changes in proptest::collection::vec(change(false), 1..40)
    ) {
        let mut world = World::new(&[7, 12, 1, 5]);
        for change in &changes {
            apply(&mut world, change);
            world.assign(Assignor::Uniform);
            let loads = world.loads();
            // Evening out may stop early, but not start again with nothing changed, unless it
            // makes it more even.
            let again = world.assign(Assignor::Uniform);
            let square = |loads: &[usize]| loads.iter().map(|n| n * n).sum::<usize>();
            prop_assert!(again == 0 || square(&world.loads()) < square(&loads));
        }
    }

    #[test]
    fn range_is_complete(changes in proptest::collection::vec(change(false), 1..40)) {
        let mut world = World::new(&[7, 12, 1, 5]);
        for change in &changes {
            apply(&mut world, change);
            world.assign(Assignor::Range);
            prop_assert_eq!(world.assign(Assignor::Range), 0);
        }
    }

    /// A log may promise partitions that do not exist, or one to two members.
    #[test]
    fn what_was_promised_may_be_nonsense(
        promised in proptest::collection::vec((0u8..4, 0u128..5, -2i32..14), 0..40),
        mixed in any::<bool>(),
    ) {
        let mut world = World::new(&[7, 12]);
        for name in ["m0", "m1", "m2"] {
            world.join(name, if mixed && name == "m1" { &[1] } else { &[1, 2] });
        }
        let mut before = vec![Partitions::new(); 3];
        for (name, topic, partition) in promised {
            if let Some(before) = before.get_mut(usize::from(name)) {
                before.entry(Uuid::from_u128(topic)).or_default().insert(partition);
            }
        }
        let members: Vec<Wish<'_>> = world.group.iter().zip(&before).map(|((name, it), before)| Wish {
            member: name,
            instance: None,
            topics: Arc::new(it.1.iter().map(|it| Uuid::from_u128(*it)).collect()),
            before,
        }).collect();
        let n_partitions = world.sizes.iter().map(|(it, n)| (Uuid::from_u128(*it), *n)).collect();
        let wanted = Wanted { members, is_homogeneous: !mixed, n_partitions };
        let given = whole(&wanted, Assignor::Uniform.assign(&wanted));
        if !mixed {
            prop_assert_eq!(&given, &plain::assign(&wanted));
        }
        let total: usize = given.iter().flat_map(BTreeMap::values).map(BTreeSet::len).sum();
        prop_assert_eq!(total, 19);
    }
}

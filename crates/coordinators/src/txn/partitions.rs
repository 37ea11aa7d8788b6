//! A set of partitions, by topic, in a fixed order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A set of partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partitions(BTreeMap<Arc<str>, BTreeSet<i32>>);

impl Partitions {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether this one is among them.
    pub fn contains(&self, topic: &str, partition: i32) -> bool {
        self.0
            .get(topic)
            .is_some_and(|indexes| indexes.contains(&partition))
    }

    /// Adds one; says whether it was new.
    pub fn insert(&mut self, topic: &str, partition: i32) -> bool {
        match self.0.get_mut(topic) {
            Some(indexes) => indexes.insert(partition),
            None => {
                self.0.insert(topic.into(), BTreeSet::from([partition]));
                true
            }
        }
    }

    /// Takes one out; says whether it was there.
    pub fn remove(&mut self, topic: &str, partition: i32) -> bool {
        let Some(indexes) = self.0.get_mut(topic) else {
            return false;
        };
        let was_there = indexes.remove(&partition);
        if indexes.is_empty() {
            self.0.remove(topic);
        }
        was_there
    }

    /// By topic.
    pub fn topics(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeSet<i32>)> {
        self.0.iter()
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32)> {
        self.topics()
            .flat_map(|(topic, indexes)| indexes.iter().map(|index| (&**topic, *index)))
    }

    /// Adds all of the others.
    pub fn extend(&mut self, others: &Self) {
        for (topic, partition) in others.iter() {
            self.insert(topic, partition);
        }
    }

    /// Whether all of the others are among these.
    pub fn contains_all(&self, others: &Self) -> bool {
        others
            .iter()
            .all(|(topic, partition)| self.contains(topic, partition))
    }
}

impl<'a> FromIterator<(&'a str, i32)> for Partitions {
    fn from_iter<I: IntoIterator<Item = (&'a str, i32)>>(partitions: I) -> Self {
        let mut set = Self::default();
        for (topic, partition) in partitions {
            set.insert(topic, partition);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_a_set() {
        let mut set = Partitions::from_iter([("b", 1), ("a", 2), ("b", 0), ("b", 1)]);
        assert_eq!(set.len(), 3);
        let all: Vec<(&str, i32)> = set.iter().collect();
        assert_eq!(all, [("a", 2), ("b", 0), ("b", 1)]);
        assert!(set.contains_all(&Partitions::from_iter([("a", 2)])));
        assert!(!set.contains_all(&Partitions::from_iter([("a", 2), ("c", 2)])));
        assert!(set.remove("a", 2) && !set.remove("a", 2) && !set.remove("b", 7));
        assert_eq!(set.topics().count(), 1);
        assert!(set.remove("b", 0) && set.remove("b", 1) && set.is_empty());
    }
}

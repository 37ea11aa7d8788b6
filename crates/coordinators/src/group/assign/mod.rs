//! Who shall have which partitions of a group of the consumer protocol: arithmetic, nothing else.
//!
//! | assignor | what it gives |
//! |---|---|
//! | `range` | of each topic a run of neighbours, the same run of topics of equal size |
//! | `uniform` | everybody the same number, give or take one, and as much as may be of what they had |
//!
//! `uniform` has two ways, for members that all want the same topics and for those that do not
//! (`mixed`). Racks are told and not used, as in Kafka 4.3 (KAFKA-19387).

mod range;
mod uniform;
mod mixed;
#[cfg(test)]
mod plain;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::Uuid;

/// Partitions by topic; no topic is without any.
pub(crate) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// The assignors that Kafka brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assignor {
    /// Balanced and sticky.
    Uniform,
    /// Neighbours, for topics that are read side by side.
    Range,
}

impl Assignor {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// What each member shall have, in the order of `wanted.members`; `None` for what it had before.
    pub(crate) fn assign(self, wanted: &Wanted<'_>) -> Vec<Option<Partitions>> {
        match self {
            _ if wanted.members.is_empty() => Vec::new(),
            Self::Range => wanted.news(range::assign(wanted)),
            Self::Uniform if wanted.is_homogeneous => uniform::assign(wanted),
            Self::Uniform => wanted.news(mixed::assign(wanted)),
        }
    }
}

/// What the members of a group want, and what there is.
pub(crate) struct Wanted<'a> {
    pub(crate) members: Vec<Wish<'a>>,
    /// All want the same topics.
    pub(crate) is_homogeneous: bool,
    /// Every topic that anyone wants, and how many partitions it has.
    pub(crate) n_partitions: BTreeMap<Uuid, i32>,
}

/// What one member wants and was promised before.
pub(crate) struct Wish<'a> {
    pub(crate) member: &'a str,
    pub(crate) instance: Option<&'a str>,
    /// Those that exist.
    pub(crate) topics: Arc<BTreeSet<Uuid>>,
    pub(crate) before: &'a Partitions,
}

impl Wanted<'_> {
    /// What is something else than before.
    fn news(&self, given: Vec<Partitions>) -> Vec<Option<Partitions>> {
        let both = self.members.iter().zip(given);
        both.map(|(wish, given)| (*wish.before != given).then_some(given))
            .collect()
    }

    /// How many partitions a topic has; none, if nobody wants it.
    fn n_partitions(&self, topic: Uuid) -> i32 {
        self.n_partitions.get(&topic).copied().unwrap_or(0)
    }

    /// Members by the topics that they want, as places in `members`, ascending.
    fn subscribers(&self) -> BTreeMap<Uuid, Vec<usize>> {
        let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        for (place, wish) in self.members.iter().enumerate() {
            for topic in wish.topics.iter() {
                subscribers.entry(*topic).or_default().push(place);
            }
        }
        subscribers
    }
}

//! Which partitions of a group somebody has, or is giving up.
//!
//! IMPORTANT: members are replayed one by one, and a log that was written in another order than it
//! is read (a compacted one) may name two owners for a moment. So owners are counted: a partition
//! is free when the last of them has let go.

use std::collections::HashMap;

use ottla_protocol::Uuid;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Owners(HashMap<(Uuid, i32), u32>);

impl Owners {
    pub(super) fn add(&mut self, partitions: impl Iterator<Item = (Uuid, i32)>) {
        for partition in partitions {
            *self.0.entry(partition).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, partitions: impl Iterator<Item = (Uuid, i32)>) {
        for partition in partitions {
            if let Some(n) = self.0.get_mut(&partition) {
                *n -= 1;
                if *n == 0 {
                    self.0.remove(&partition);
                }
            }
        }
    }

    pub(super) fn is_owned(&self, topic: Uuid, partition: i32) -> bool {
        self.0.contains_key(&(topic, partition))
    }

    /// Outside of a replay a partition has one owner.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        let twice = self.0.iter().find(|(_, n)| **n != 1);
        assert_eq!(twice, None, "a partition has one owner");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_free_when_the_last_has_let_go() {
        let (mut owners, topic) = (Owners::default(), Uuid::from_u128(1));
        owners.add([(topic, 0), (topic, 1)].into_iter());
        owners.add([(topic, 0)].into_iter());
        owners.remove([(topic, 0)].into_iter());
        assert!(owners.is_owned(topic, 0));
        owners.remove([(topic, 0), (topic, 1), (topic, 2)].into_iter());
        assert_eq!(owners, Owners::default());
    }
}

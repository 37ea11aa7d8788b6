//! The in-sync set: which copies must have a record before it counts.

use ottla_protocol::NodeId;

/// The in-sync set that the metadata log has committed, with what is needed to judge it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InSync {
    committed: Vec<NodeId>,
    n_replicas: usize,
    min_in_sync: usize,
}

impl InSync {
    /// `min_in_sync` is the topic's `min.insync.replicas`.
    pub fn new(committed: Vec<NodeId>, n_replicas: usize, min_in_sync: i32) -> Self {
        let mut this = Self {
            committed,
            n_replicas,
            min_in_sync: 0,
        };
        this.require(min_in_sync);
        this
    }

    /// The topic's `min.insync.replicas` changed.
    pub fn require(&mut self, min_in_sync: i32) {
        self.min_in_sync = usize::try_from(min_in_sync).unwrap_or(0);
    }

    pub fn committed(&self) -> &[NodeId] {
        &self.committed
    }

    /// Somebody is in this set and not in the other.
    pub(crate) fn has_other_than(&self, other: &Self) -> bool {
        self.committed
            .iter()
            .any(|node| !other.committed.contains(node))
    }

    /// `min.insync.replicas`, but never more than there are replicas: a topic with one copy stays
    /// writable whatever the setting says.
    pub fn effective_min(&self) -> usize {
        self.min_in_sync.min(self.n_replicas)
    }

    pub fn is_enough(&self) -> bool {
        self.committed.len() >= self.effective_min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_is_capped_by_the_number_of_replicas() {
        assert!(InSync::new(vec![1], 1, 2).is_enough());
        assert!(!InSync::new(vec![1], 2, 2).is_enough());
        assert!(InSync::new(vec![1, 2], 3, 2).is_enough());
    }

    #[test]
    fn nobody_in_sync_is_never_enough_for_one() {
        assert!(!InSync::new(vec![], 1, 1).is_enough());
    }
}

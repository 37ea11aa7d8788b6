//! Partitions as the clients of a listener see them; what Metadata and DescribeTopicPartitions share.

use ottla_metadata::controller::check_topic_name;
use ottla_metadata::image::{Image, Partition};
use ottla_protocol::{NodeId, Refusal};

/// "Nobody" and "not known".
pub(super) const NOBODY: NodeId = -1;

/// The image through the eyes of one listener.
pub(super) struct Picture<'a> {
    pub(super) image: &'a Image,
    pub(super) listener: &'a str,
}

impl Picture<'_> {
    /// The leader, if clients of this listener can go there.
    pub(super) fn leader(&self, partition: &Partition) -> Option<NodeId> {
        partition.leader.filter(|leader| {
            let broker = self.image.nodes.broker(*leader);
            broker.is_some_and(|broker| broker.endpoint(self.listener).is_some())
        })
    }

    /// Alive, and with this listener.
    pub(super) fn is_reachable(&self, node: NodeId) -> bool {
        let broker = self.image.nodes.broker(node);
        broker.is_some_and(|broker| !broker.is_fenced && broker.endpoint(self.listener).is_some())
    }

    /// Replicas whose broker or directory is away.
    pub(super) fn offline(&self, partition: &Partition) -> Vec<NodeId> {
        let is_offline = |node: &NodeId| {
            let has_directory = || {
                let directory = partition.directory_of(*node).unwrap_or_default();
                self.image
                    .nodes
                    .broker(*node)
                    .is_some_and(|broker| broker.has_online(directory))
            };
            !self.is_reachable(*node) || !has_directory()
        };
        partition
            .replicas
            .iter()
            .copied()
            .filter(is_offline)
            .collect()
    }

    /// Whom a client may take for the controller: under KRaft any broker that lives, since brokers
    /// forward. `preferred` is this node.
    pub(super) fn controller(&self, preferred: NodeId) -> NodeId {
        let is_alive = |id: &NodeId| {
            self.image
                .nodes
                .broker(*id)
                .is_some_and(|one| !one.is_fenced)
        };
        let ids = self.image.nodes.brokers.keys().copied();
        [preferred]
            .into_iter()
            .chain(ids)
            .find(is_alive)
            .unwrap_or(NOBODY)
    }
}

/// What is wrong with a topic that does not exist.
pub(super) fn missing(name: &str) -> Refusal {
    match check_topic_name(name) {
        Ok(()) => Refusal::UnknownTopicOrPartition,
        Err(_) => Refusal::InvalidTopicException,
    }
}

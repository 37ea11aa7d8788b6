//! Replicas that move between log directories of one broker: where they are, and how that is told.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::Cluster;
use ottla_protocol::{NodeId, TopicPartition};

use super::plan::{Directories, Replicas};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Move {
    /// The broker has no such replica, or is not there.
    NoReplica,
    Done,
    /// It is there, and nobody moves it.
    NotMoving {
        current: String,
    },
    /// It goes there from where it is.
    Moving {
        current: String,
        future: String,
    },
}

/// Where each replica of these brokers lies, and where it is being moved.
#[derive(Debug, Default)]
pub(super) struct Places {
    current: Directories,
    future: Directories,
}

impl Places {
    pub(super) async fn look(cluster: &Cluster, brokers: BTreeSet<NodeId>) -> anyhow::Result<Self> {
        let view = cluster.view();
        let mut places = Self::default();
        for broker in brokers.into_iter().filter(|id| view.nodes.contains_key(id)) {
            for directory in cluster.log_directories(broker).await? {
                for replica in directory.replicas {
                    let place = match replica.is_future {
                        true => &mut places.future,
                        false => &mut places.current,
                    };
                    place.insert((broker, replica.partition), directory.path.clone());
                }
            }
        }
        Ok(places)
    }

    pub(super) async fn of(cluster: &Cluster, replicas: &Replicas) -> anyhow::Result<Self> {
        let brokers = replicas.values().flatten().copied().collect();
        Self::look(cluster, brokers).await
    }

    pub(super) fn current(&self) -> &Directories {
        &self.current
    }

    pub(super) fn state(&self, replica: &(NodeId, TopicPartition), target: &str) -> Move {
        match (self.current.get(replica), self.future.get(replica)) {
            (None, _) => Move::NoReplica,
            (Some(current), None) if current == target => Move::Done,
            (Some(current), None) => Move::NotMoving {
                current: current.clone(),
            },
            (Some(current), Some(future)) => Move::Moving {
                current: current.clone(),
                future: future.clone(),
            },
        }
    }
}

impl Move {
    pub(super) fn is_over(&self) -> bool {
        !matches!(self, Self::Moving { .. })
    }

    pub(super) fn line(
        &self,
        (broker, partition): &(NodeId, TopicPartition),
        target: &str,
    ) -> String {
        match self {
            Self::NoReplica => format!(
                "Partition {partition} is not found in any live log dir on broker {broker}. There \
                 is likely an offline log directory on the broker."
            ),
            Self::Done => {
                format!("Reassignment of replica {partition}-{broker} completed successfully.")
            }
            Self::NotMoving { current } => format!(
                "Partition {partition} on broker {broker} is not being moved from log dir {current} \
                 to {target}."
            ),
            Self::Moving { future, .. } if future == target => {
                format!("Reassignment of replica {partition}-{broker} is still in progress.")
            }
            Self::Moving { future, .. } => format!(
                "Partition {partition} on broker {broker} is being moved to log dir {future} \
                 instead of {target}."
            ),
        }
    }
}

/// By broker, as they are asked for.
pub(super) fn by_broker(
    targets: &Directories,
) -> BTreeMap<NodeId, BTreeMap<TopicPartition, String>> {
    let mut brokers: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for ((broker, partition), path) in targets {
        let of_broker = brokers.entry(*broker).or_default();
        of_broker.insert(partition.clone(), path.clone());
    }
    brokers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(replica: &(NodeId, TopicPartition), dirs: &[&str]) -> Directories {
        let dirs = dirs.iter().map(|dir| (replica.clone(), (*dir).to_owned()));
        dirs.collect()
    }

    #[test]
    fn a_move_is_over_when_nothing_is_under_way() {
        let replica = (1, TopicPartition::new("t", 0));
        let places = |current: &[&str], future: &[&str]| Places {
            current: at(&replica, current),
            future: at(&replica, future),
        };
        for (places, line, is_over) in [
            (places(&[], &[]), "is not found in any live log dir", true),
            (places(&["/b"], &[]), "replica t-0-1 completed", true),
            (
                places(&["/a"], &[]),
                "not being moved from log dir /a to /b.",
                true,
            ),
            (
                places(&["/a"], &["/b"]),
                "replica t-0-1 is still in progress",
                false,
            ),
            (
                places(&["/a"], &["/c"]),
                "moved to log dir /c instead of /b",
                false,
            ),
        ] {
            let state = places.state(&replica, "/b");
            let told = state.line(&replica, "/b");
            assert!(told.contains(line), "{told}");
            assert_eq!(state.is_over(), is_over);
        }
    }
}

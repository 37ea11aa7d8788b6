//! Throttles while partitions move: rates of brokers, and the replicas of topics that they are for.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::Cluster;
use ottla_client::admin::{ConfigChange, ConfigKind, ConfigResource, Reassignment};
use ottla_protocol::{NodeId, TopicPartition};
use serde_json::json;

use super::plan::Replicas;
use super::plural;
use crate::output::Output;

const LEADER_RATE: &str = "leader.replication.throttled.rate";
const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
const DIRECTORY_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const LEADER_REPLICAS: &str = "leader.replication.throttled.replicas";
const FOLLOWER_REPLICAS: &str = "follower.replication.throttled.replicas";

type Changes = BTreeMap<ConfigResource, Vec<(String, ConfigChange)>>;

/// Take all throttles of these partitions' topics, and of all brokers, away.
pub(super) async fn clear(
    cluster: &Cluster,
    replicas: &Replicas,
    output: &mut Output,
) -> anyhow::Result<()> {
    let view = cluster.view();
    let brokers: BTreeSet<NodeId> = view.nodes.keys().copied().collect();
    let brokers: Vec<NodeId> = brokers
        .union(&replicas.values().flatten().copied().collect())
        .copied()
        .collect();
    let topics: BTreeSet<&str> = replicas.keys().map(|it| &*it.topic).collect();
    let topics: Vec<&str> = topics.into_iter().collect();
    if output.is_json() {
        output.line(json!({ "cleared": { "brokers": brokers, "topics": topics } }))?;
    } else {
        output.line(format_args!(
            "Clearing broker-level throttles on broker{} {}",
            plural(brokers.len()),
            super::comma(&brokers)
        ))?;
    }
    let gone = |names: &[&str]| {
        let gone = names
            .iter()
            .map(|it| ((*it).to_owned(), ConfigChange::Delete));
        gone.collect::<Vec<_>>()
    };
    let rates = gone(&[LEADER_RATE, FOLLOWER_RATE, DIRECTORY_RATE]);
    let of_brokers = brokers.iter().map(|id| (broker(*id), rates.clone()));
    cluster.alter_configs(&of_brokers.collect()).await?;
    if !output.is_json() {
        output.line(format_args!(
            "Clearing topic-level throttles on topic{} {}",
            plural(topics.len()),
            topics.join(",")
        ))?;
    }
    let lists = gone(&[LEADER_REPLICAS, FOLLOWER_REPLICAS]);
    let of_topics = topics.iter().map(|name| (topic(name), lists.clone()));
    Ok(cluster.alter_configs(&of_topics.collect()).await?)
}

/// Limit what goes between brokers.
pub(super) async fn between_brokers(
    cluster: &Cluster,
    moves: &Moves,
    rate: i64,
    output: &mut Output,
) -> anyhow::Result<()> {
    cluster.alter_configs(&moves.throttled()).await?;
    let set = |name: &str| (name.to_owned(), ConfigChange::Set(rate.to_string()));
    let rates = vec![set(LEADER_RATE), set(FOLLOWER_RATE)];
    let brokers = moves.brokers();
    let brokers = brokers.iter().map(|id| (broker(*id), rates.clone()));
    cluster.alter_configs(&brokers.collect()).await?;
    let sentence = format!("The inter-broker throttle limit was set to {rate} B/s");
    Ok(output.say(sentence, &json!({ "interBrokerThrottle": rate }))?)
}

/// Limit what goes between log directories.
pub(super) async fn between_directories(
    cluster: &Cluster,
    brokers: &BTreeSet<NodeId>,
    rate: i64,
    output: &mut Output,
) -> anyhow::Result<()> {
    let set = (
        DIRECTORY_RATE.to_owned(),
        ConfigChange::Set(rate.to_string()),
    );
    let changes = brokers.iter().map(|id| (broker(*id), vec![set.clone()]));
    cluster.alter_configs(&changes.collect()).await?;
    let sentence = format!("The replica-alter-dir throttle limit was set to {rate} B/s");
    Ok(output.say(sentence, &json!({ "replicaAlterLogDirsThrottle": rate }))?)
}

fn broker(id: NodeId) -> ConfigResource {
    ConfigResource::new(ConfigKind::Broker, id.to_string())
}

fn topic(name: &str) -> ConfigResource {
    ConfigResource::new(ConfigKind::Topic, name)
}

/// From where to where each partition moves.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves(BTreeMap<TopicPartition, (BTreeSet<NodeId>, BTreeSet<NodeId>)>);

impl Moves {
    /// Those under way, and those that are to come.
    pub(super) fn of(
        moving: &BTreeMap<TopicPartition, Reassignment>,
        current: &Replicas,
        proposed: &Replicas,
    ) -> Self {
        let mut moves = BTreeMap::new();
        for (partition, moving) in moving {
            let targets: BTreeSet<NodeId> = moving.adding.iter().copied().collect();
            let all = moving.replicas.iter().copied();
            let sources: BTreeSet<NodeId> = all.filter(|id| !targets.contains(id)).collect();
            moves.insert(partition.clone(), (sources, targets));
        }
        for (partition, replicas) in proposed {
            let known = moves.get(partition).map(|(sources, _)| sources.clone());
            let sources: BTreeSet<NodeId> = known.unwrap_or_else(|| {
                let current = current.get(partition);
                current.into_iter().flatten().copied().collect()
            });
            let targets = replicas.iter().copied().filter(|id| !sources.contains(id));
            let targets = targets.collect();
            moves.insert(partition.clone(), (sources, targets));
        }
        Self(moves)
    }

    fn brokers(&self) -> BTreeSet<NodeId> {
        let both = self
            .0
            .values()
            .flat_map(|(sources, targets)| sources.union(targets));
        both.copied().collect()
    }

    /// `partition:broker` of each topic, of those that send and of those that receive.
    fn throttled(&self) -> Changes {
        let mut topics: BTreeMap<&str, [BTreeSet<String>; 2]> = BTreeMap::new();
        for (partition, (sources, targets)) in &self.0 {
            let [leaders, followers] = topics.entry(&partition.topic).or_default();
            let shown = |id: &NodeId| format!("{}:{id}", partition.partition);
            leaders.extend(sources.iter().map(shown));
            followers.extend(targets.iter().map(shown));
        }
        let set = |name: &str, list: BTreeSet<String>| {
            let list: Vec<_> = list.into_iter().collect();
            (name.to_owned(), ConfigChange::Set(list.join(",")))
        };
        let topics = topics.into_iter().map(|(name, [leaders, followers])| {
            let changes = vec![
                set(LEADER_REPLICAS, leaders),
                set(FOLLOWER_REPLICAS, followers),
            ];
            (topic(name), changes)
        });
        topics.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_and_who_receives_is_throttled() {
        let partition = |n| TopicPartition::new("t", n);
        let moving = Reassignment {
            replicas: vec![1, 2, 3],
            adding: vec![3],
            removing: vec![1],
        };
        let moving = BTreeMap::from([(partition(0), moving)]);
        let current = Replicas::from([(partition(1), vec![1])]);
        let proposed = Replicas::from([(partition(1), vec![1, 4])]);
        let moves = Moves::of(&moving, &current, &proposed);
        assert_eq!(moves.brokers(), BTreeSet::from([1, 2, 3, 4]));
        let set = |name: &str, value: &str| (name.to_owned(), ConfigChange::Set(value.to_owned()));
        assert_eq!(
            moves.throttled()[&topic("t")],
            [
                set(LEADER_REPLICAS, "0:1,0:2,1:1"),
                set(FOLLOWER_REPLICAS, "0:3,1:4")
            ]
        );
    }
}

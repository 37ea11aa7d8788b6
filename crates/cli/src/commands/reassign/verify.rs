//! `ottla reassign --verify`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_client::Cluster;
use ottla_client::admin::Reassignment;
use ottla_protocol::{NodeId, TopicPartition};
use serde_json::json;

use super::moves::Places;
use super::plan::{Plan, Replicas};
use super::{Args, comma, throttle};
use crate::output::Output;

pub(super) async fn verify(
    args: &Args,
    cluster: &Cluster,
    plan: &Plan,
    output: &mut Output,
) -> anyhow::Result<()> {
    let moving = cluster.reassignments().await?;
    let current = replicas_of(cluster, plan.replicas.keys()).await?;
    let mut lines = vec!["Status of partition reassignment:".to_owned()];
    let mut objects = Vec::new();
    for (partition, target) in &plan.replicas {
        let state = state(partition, target, &moving, &current);
        lines.push(state.line(partition, target));
        objects.push(json!({
            "partition": partition.to_string(),
            "isDone": matches!(state, State::Done),
            "isInProgress": matches!(state, State::InProgress),
        }));
    }
    let brokers: BTreeSet<NodeId> = plan.directories.keys().map(|(id, _)| *id).collect();
    let places = Places::look(cluster, brokers).await?;
    let mut are_moves_over = true;
    if plan.directories.is_empty() {
        // Kafka's tool prints the empty list of moves as an empty line.
        lines.push(String::new());
    }
    for (replica, target) in &plan.directories {
        let state = places.state(replica, target);
        are_moves_over &= state.is_over();
        lines.push(state.line(replica, target));
        objects.push(json!({
            "partition": replica.1.to_string(),
            "broker": replica.0,
            "logDir": target,
            "isInProgress": !state.is_over(),
        }));
    }
    output.rows(lines, objects)?;
    if moving.is_empty() && are_moves_over && !args.preserve_throttles {
        throttle::clear(cluster, &plan.replicas, output).await?;
    }
    Ok(())
}

/// The replicas of those partitions that there are.
pub(super) async fn replicas_of(
    cluster: &Cluster,
    partitions: impl Iterator<Item = &TopicPartition>,
) -> anyhow::Result<Replicas> {
    let wanted: BTreeSet<_> = partitions.cloned().collect();
    let names: BTreeSet<_> = wanted.iter().map(|it| Arc::clone(&it.topic)).collect();
    let names: Vec<_> = names.into_iter().collect();
    let view = cluster.refresh(ottla_client::Ask::Named(&names)).await?;
    let mut found = BTreeMap::new();
    for name in names {
        let topic = view.topics.get(&name);
        for (number, partition) in topic.iter().flat_map(|topic| &topic.partitions) {
            let key = TopicPartition::new(Arc::clone(&name), *number);
            if wanted.contains(&key) {
                found.insert(key, partition.replicas.clone());
            }
        }
    }
    Ok(found)
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    InProgress,
    Done,
    Elsewhere(Vec<NodeId>),
}

fn state(
    partition: &TopicPartition,
    target: &[NodeId],
    moving: &BTreeMap<TopicPartition, Reassignment>,
    current: &Replicas,
) -> State {
    let current = current.get(partition).cloned().unwrap_or_default();
    if moving.contains_key(partition) {
        State::InProgress
    } else if current == target {
        State::Done
    } else {
        State::Elsewhere(current)
    }
}

impl State {
    fn line(&self, partition: &TopicPartition, target: &[NodeId]) -> String {
        match self {
            Self::InProgress => {
                format!("Reassignment of partition {partition} is still in progress.")
            }
            Self::Done => format!("Reassignment of partition {partition} is completed."),
            Self::Elsewhere(current) => format!(
                "There is no active reassignment of partition {partition}, but replica set is {} \
                 rather than {}.",
                comma(current),
                comma(target)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_where_it_should_be_or_on_its_way_or_elsewhere() {
        let partition = TopicPartition::new("t", 0);
        let current = Replicas::from([(partition.clone(), vec![1, 2])]);
        let still = BTreeMap::new();
        let state_of = |target: &[NodeId]| state(&partition, target, &still, &current);
        assert_eq!(state_of(&[1, 2]), State::Done);
        let elsewhere = state_of(&[2, 3]);
        assert_eq!(
            elsewhere.line(&partition, &[2, 3]),
            "There is no active reassignment of partition t-0, but replica set is 1,2 rather than \
             2,3."
        );
        let reassignment = Reassignment {
            replicas: vec![1, 2],
            adding: Vec::new(),
            removing: Vec::new(),
        };
        let moving = BTreeMap::from([(partition.clone(), reassignment)]);
        assert_eq!(
            state(&partition, &[1, 2], &moving, &current),
            State::InProgress
        );
    }
}

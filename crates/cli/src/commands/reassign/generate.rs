//! `ottla reassign --generate`.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use ottla_client::Cluster;
use ottla_protocol::{NodeId, TopicPartition};
use serde_json::{Value, json};

use super::moves::Places;
use super::place::{Brokers, place};
use super::plan::{self, Directories, Replicas};
use crate::output::Output;

pub(super) async fn generate(
    cluster: &Cluster,
    topics: Vec<String>,
    brokers: Vec<NodeId>,
    is_rack_aware: bool,
    output: &mut Output,
) -> anyhow::Result<()> {
    let names: Vec<Arc<str>> = topics.into_iter().map(Arc::from).collect();
    let mut current = Replicas::new();
    for topic in cluster.describe_topics(&names, None).await? {
        for partition in topic.partitions {
            let key = TopicPartition::new(Arc::clone(&topic.name), partition.number);
            current.insert(key, partition.replicas);
        }
    }
    let places = Places::of(cluster, &current).await?;
    let view = cluster.view();
    let known = brokers.into_iter().filter_map(|id| view.nodes.get(&id));
    let racks: Vec<_> = known
        .map(|node| (node.id, node.rack.clone().filter(|_| is_rack_aware)))
        .collect();
    let without = racks.iter().filter(|(_, rack)| rack.is_none()).count();
    ensure!(
        !is_rack_aware || without == 0 || without == racks.len(),
        "Not all brokers have rack information. Add --disable-rack-aware in command line to make \
         replica assignment without rack information."
    );
    let seed = *ottla_storage::new_id().as_bytes();
    let proposed = proposed(&current, &Brokers::new(racks), u128::from_be_bytes(seed))?;
    let before = plan::format(&current, places.current());
    let after = plan::format(&proposed, &Directories::new());
    let json = |text: &str| serde_json::from_str::<Value>(text).context("what was written is JSON");
    Ok(output.say(
        format_args!(
            "Current partition replica assignment\n{before}\n\n\
             Proposed partition reassignment configuration\n{after}"
        ),
        &json!({ "current": json(&before)?, "proposed": json(&after)? }),
    )?)
}

/// As many replicas as the first partition of each topic has now.
fn proposed(current: &Replicas, brokers: &Brokers, seed: u128) -> anyhow::Result<Replicas> {
    let mut topics: BTreeMap<&Arc<str>, (usize, usize)> = BTreeMap::new();
    for (partition, replicas) in current {
        let (n, _) = topics
            .entry(&partition.topic)
            .or_insert((0, replicas.len()));
        *n += 1;
    }
    let mut proposed = Replicas::new();
    for (topic, (n_partitions, n_replicas)) in topics {
        let placed = place(brokers, n_partitions, n_replicas, seed)?;
        let numbered = (0..).zip(placed);
        proposed.extend(
            numbered.map(|(n, replicas)| (TopicPartition::new(Arc::clone(topic), n), replicas)),
        );
    }
    Ok(proposed)
}

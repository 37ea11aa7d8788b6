//! `ottla topics --describe`.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::sync::Arc;

use anyhow::bail;
use ottla_client::Cluster;
use ottla_client::admin::{
    ConfigEntry, ConfigSource, PartitionDescription, Reassignment, TopicDescription,
};
use ottla_protocol::{NodeId, TopicPartition};
use serde_json::{Value, json};

use super::Args;
use crate::output::Output;

pub(super) async fn describe(
    args: &Args,
    cluster: &Cluster,
    output: &mut Output,
) -> anyhow::Result<()> {
    let names = meant(args, cluster).await?;
    if names.is_empty() {
        return Ok(());
    }
    let limit = args.partition_size_limit_per_response;
    let topics = cluster.describe_topics(&names, limit).await?;
    let configs = cluster.topic_configs(&names).await?;
    let moving = cluster.reassignments().await?;
    let live: BTreeSet<NodeId> = cluster.view().nodes.keys().copied().collect();
    let choice = Choice::of(args);
    for mut topic in topics {
        let entries = configs.get(&topic.name).map_or(&[][..], Vec::as_slice);
        topic.partitions.sort_by_key(|partition| partition.number);
        let moved = |number| moving.get(&TopicPartition::new(Arc::clone(&topic.name), number));
        let has_own = entries.iter().any(is_own);
        if output.is_json() {
            if args.topics_with_overrides && !has_own {
                continue;
            }
            let minimum = min_in_sync(entries);
            topic.partitions.retain(|partition| {
                let line = Line {
                    topic: &topic.name,
                    partition,
                    moving: moved(partition.number),
                };
                choice.is_everything() || choice.wants(&line, minimum, &live)
            });
            if choice.is_everything() || !topic.partitions.is_empty() {
                output.line(json(&topic, entries))?;
            }
            continue;
        }
        if choice.is_everything() && (!args.topics_with_overrides || has_own) {
            output.line(heading(&topic, entries, moved(0)))?;
        }
        if args.topics_with_overrides {
            continue;
        }
        for partition in &topic.partitions {
            let line = Line {
                topic: &topic.name,
                partition,
                moving: moved(partition.number),
            };
            if choice.is_everything() || choice.wants(&line, min_in_sync(entries), &live) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}

async fn meant(args: &Args, cluster: &Cluster) -> anyhow::Result<Vec<Arc<str>>> {
    let Some(id) = args.topic_id.filter(|id| !id.is_zero()) else {
        let names = super::matching(args, cluster).await?;
        super::expect_some(args, &names)?;
        return Ok(names);
    };
    let all = cluster.list_topics().await?;
    let found = all.into_iter().find(|(_, topic)| topic.id == id);
    match found {
        Some((name, _)) => Ok(vec![name]),
        None if args.if_exists => Ok(Vec::new()),
        None => bail!("TopicId '{id}' does not exist as expected"),
    }
}

fn is_own(entry: &ConfigEntry) -> bool {
    entry.source != ConfigSource::DEFAULT
}

fn json(topic: &TopicDescription, entries: &[ConfigEntry]) -> Value {
    let own = entries.iter().filter(|entry| is_own(entry));
    let own = own.map(|entry| (entry.name.clone(), Value::from(entry.value.clone())));
    let partitions = topic.partitions.iter().map(|partition| {
        json!({
            "partition": partition.number,
            "leader": partition.leader,
            "replicas": partition.replicas,
            "isr": partition.in_sync,
            "elr": partition.eligible,
            "lastKnownElr": partition.last_known_eligible,
        })
    });
    json!({
        "topic": &*topic.name,
        "topicId": topic.id.to_string(),
        "isInternal": topic.is_internal,
        "configs": Value::Object(own.collect()),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

fn min_in_sync(entries: &[ConfigEntry]) -> usize {
    let entry = entries
        .iter()
        .find(|entry| entry.name == "min.insync.replicas");
    let value = entry.and_then(|entry| entry.value.as_deref());
    value.and_then(|value| value.parse().ok()).unwrap_or(1)
}

fn heading(
    topic: &TopicDescription,
    entries: &[ConfigEntry],
    moving: Option<&Reassignment>,
) -> String {
    let own = entries.iter().filter(|entry| is_own(entry));
    let own = own.map(|entry| {
        let value = entry.value.as_deref().unwrap_or("null");
        format!("{}={value}", entry.name)
    });
    let own: Vec<_> = own.collect();
    let id = if topic.id.is_zero() {
        String::new()
    } else {
        format!("\tTopicId: {}", topic.id)
    };
    let factor = topic
        .partitions
        .first()
        .map_or(0, |first| replication_factor(first, moving));
    format!(
        "Topic: {}{id}\tPartitionCount: {}\tReplicationFactor: {factor}\tConfigs: {}",
        topic.name,
        topic.partitions.len(),
        own.join(",")
    )
}

/// While replicas are added, those do not count yet.
fn replication_factor(partition: &PartitionDescription, moving: Option<&Reassignment>) -> usize {
    let is_moving = |moving: &&Reassignment| {
        let mut changing = moving.adding.iter().chain(&moving.removing);
        changing.any(|id| partition.replicas.contains(id))
    };
    match moving.filter(is_moving) {
        Some(moving) => moving.replicas.len() - moving.adding.len().min(moving.replicas.len()),
        None => partition.replicas.len(),
    }
}

/// Which partitions are shown.
#[derive(Debug, Clone, Copy)]
struct Choice {
    under_replicated: bool,
    unavailable: bool,
    under_min: bool,
    at_min: bool,
}

impl Choice {
    fn of(args: &Args) -> Self {
        Self {
            under_replicated: args.under_replicated_partitions,
            unavailable: args.unavailable_partitions,
            under_min: args.under_min_isr_partitions,
            at_min: args.at_min_isr_partitions,
        }
    }

    fn is_everything(self) -> bool {
        !(self.under_replicated || self.unavailable || self.under_min || self.at_min)
    }

    fn wants(self, line: &Line<'_>, min_in_sync: usize, live: &BTreeSet<NodeId>) -> bool {
        let partition = line.partition;
        let in_sync = partition.in_sync.len();
        let is_led = partition
            .leader
            .is_some_and(|leader| live.contains(&leader));
        self.under_replicated && replication_factor(partition, line.moving) > in_sync
            || self.unavailable && !is_led
            || self.under_min && (partition.leader.is_none() || in_sync < min_in_sync)
            || self.at_min && in_sync == min_in_sync
    }
}

struct Line<'a> {
    topic: &'a str,
    partition: &'a PartitionDescription,
    moving: Option<&'a Reassignment>,
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            partition,
            moving,
        } = self;
        write!(
            f,
            "\tTopic: {topic}\tPartition: {}\tLeader: ",
            partition.number
        )?;
        match partition.leader {
            Some(leader) => write!(f, "{leader}")?,
            None => f.write_str("none")?,
        }
        write!(f, "\tReplicas: {}", ids(&partition.replicas))?;
        write!(f, "\tIsr: {}", ids(&partition.in_sync))?;
        if let Some(moving) = moving {
            write!(f, "\tAdding Replicas: {}", ids(&moving.adding))?;
            write!(f, "\tRemoving Replicas: {}", ids(&moving.removing))?;
        }
        let told =
            |list: &Option<Vec<NodeId>>| list.as_deref().map_or_else(|| "N/A".to_owned(), ids);
        write!(f, "\tElr: {}", told(&partition.eligible))?;
        write!(
            f,
            "\tLastKnownElr: {}",
            told(&partition.last_known_eligible)
        )
    }
}

fn ids(nodes: &[NodeId]) -> String {
    let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    nodes.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::Uuid;

    fn partition(replicas: &[i32], in_sync: &[i32], leader: Option<i32>) -> PartitionDescription {
        PartitionDescription {
            number: 0,
            leader,
            replicas: replicas.to_vec(),
            in_sync: in_sync.to_vec(),
            eligible: Some(vec![]),
            last_known_eligible: None,
        }
    }

    #[test]
    fn lines_are_laid_out_as_kafkas() {
        let partition = partition(&[1, 2], &[1], None);
        let line = Line {
            topic: "t",
            partition: &partition,
            moving: None,
        };
        let expected = "\tTopic: t\tPartition: 0\tLeader: none\tReplicas: 1,2\tIsr: 1\tElr: \tLastKnownElr: N/A";
        assert_eq!(line.to_string(), expected);
        let topic = TopicDescription {
            name: Arc::from("t"),
            id: Uuid::ZERO,
            is_internal: false,
            partitions: vec![partition],
        };
        let entry = |name: &str, source| ConfigEntry {
            name: name.to_owned(),
            value: Some("1".to_owned()),
            source: ConfigSource(source),
            is_sensitive: false,
            is_read_only: false,
            synonyms: Vec::new(),
        };
        let entries = [entry("a", 1), entry("b", 5), entry("c", 4)];
        let expected = "Topic: t\tPartitionCount: 1\tReplicationFactor: 2\tConfigs: a=1,c=1";
        assert_eq!(heading(&topic, &entries, None), expected);
    }

    #[test]
    fn reports_choose_partitions() {
        let live = BTreeSet::from([1]);
        let chosen = |partition: &PartitionDescription| {
            let line = Line {
                topic: "t",
                partition,
                moving: None,
            };
            let none = Choice {
                under_replicated: false,
                unavailable: false,
                under_min: false,
                at_min: false,
            };
            [
                Choice {
                    under_replicated: true,
                    ..none
                },
                Choice {
                    unavailable: true,
                    ..none
                },
                Choice {
                    under_min: true,
                    ..none
                },
                Choice {
                    at_min: true,
                    ..none
                },
            ]
            .map(|choice| choice.wants(&line, 2, &live))
        };
        assert_eq!(
            chosen(&partition(&[1, 2], &[1, 2], Some(1))),
            [false, false, false, true]
        );
        assert_eq!(
            chosen(&partition(&[1, 2], &[1], Some(1))),
            [true, false, true, false]
        );
        assert_eq!(
            chosen(&partition(&[1, 2, 3], &[1, 2], Some(2))),
            [true, true, false, true]
        );
        assert_eq!(
            chosen(&partition(&[1], &[], None)),
            [true, true, true, false]
        );
    }
}

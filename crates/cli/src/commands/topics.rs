//! `ottla topics`: create, list, describe, alter, delete; the flags and the layout of
//! `kafka-topics.sh`.

mod describe;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{bail, ensure};
use ottla_client::admin::NewTopic;
use ottla_client::{ClientError, Cluster, TopicView};
use ottla_protocol::{NodeId, Refusal};
use serde_json::json;

use super::admin::Admin;
use super::connect::topic_pattern;
use crate::output::{self, Output};

/// Create, delete, describe, or change a topic
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true))]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin,

    /// Create a new topic
    #[arg(long, group = "action", requires = "topic")]
    create: bool,
    /// List all available topics
    #[arg(long, group = "action")]
    list: bool,
    /// Show partitions, leaders, replicas and configuration of topics
    #[arg(long, group = "action")]
    describe: bool,
    /// Alter the number of partitions
    #[arg(long, group = "action", requires = "topic", requires = "partitions")]
    alter: bool,
    /// Delete a topic
    #[arg(long, group = "action", requires = "topic")]
    delete: bool,

    /// The topic; a regular expression, except for --create
    #[arg(long)]
    topic: Option<String>,
    /// The id of the topic to describe
    #[arg(long, requires = "describe")]
    topic_id: Option<ottla_protocol::Uuid>,
    /// A configuration of the new topic; may be given several times
    #[arg(long, value_name = "NAME=VALUE", conflicts_with_all = ["list", "describe", "alter", "delete"])]
    config: Vec<String>,
    /// The number of partitions; without it the cluster's default
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with_all = ["list", "describe", "delete"])]
    partitions: Option<i32>,
    /// The replicas of each partition; without it the cluster's default
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        requires = "create"
    )]
    replication_factor: Option<i32>,
    /// The replicas of each partition, first the preferred leader
    #[arg(
        long,
        value_name = "ID:ID,ID:ID,...",
        conflicts_with_all = ["list", "describe", "delete", "replication_factor"]
    )]
    replica_assignment: Option<String>,

    /// Show only partitions with fewer replicas in sync than they have
    #[arg(long, requires = "describe")]
    under_replicated_partitions: bool,
    /// Show only partitions whose leader is not available
    #[arg(long, requires = "describe")]
    unavailable_partitions: bool,
    /// Show only partitions with fewer replicas in sync than configured
    #[arg(long, requires = "describe")]
    under_min_isr_partitions: bool,
    /// Show only partitions with exactly as many replicas in sync as configured
    #[arg(long, requires = "describe")]
    at_min_isr_partitions: bool,
    /// Show only topics with configurations of their own
    #[arg(
        long,
        requires = "describe",
        conflicts_with_all = [
            "under_replicated_partitions", "unavailable_partitions",
            "under_min_isr_partitions", "at_min_isr_partitions",
        ]
    )]
    topics_with_overrides: bool,

    /// Do nothing if the topic does not exist
    #[arg(long, conflicts_with_all = ["create", "list"])]
    if_exists: bool,
    /// Do nothing if the topic exists already
    #[arg(long, requires = "create")]
    if_not_exists: bool,
    /// Leave out internal topics
    #[arg(long, conflicts_with_all = ["create", "alter", "delete"])]
    exclude_internal: bool,
    /// The most partitions in one answer
    #[arg(long, value_name = "N", requires = "describe")]
    partition_size_limit_per_response: Option<i32>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| act(&args, output).await;
    args.admin.run_as("topic", act).await
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    // What is wrong with the words needs no cluster to be said.
    let assignment = assignment(args.replica_assignment.as_deref())?;
    let configs = configs(&args.config)?;
    ensure!(
        args.replica_assignment.is_none() || !args.create || args.partitions.is_none(),
        "Option \"--replica-assignment\" can't be used with option \"--partitions\""
    );
    let cluster = args.admin.cluster("ottla-topics").await?;
    if args.create {
        create(args, &cluster, assignment, configs, output).await
    } else if args.list {
        let topics = matching(args, &cluster).await?;
        let lines = topics.iter().map(ToString::to_string);
        output.rows(
            lines,
            topics.iter().map(|topic| json!({ "topic": &**topic })),
        )?;
        Ok(())
    } else if args.describe {
        describe::describe(args, &cluster, output).await
    } else if args.alter {
        alter(args, &cluster, &assignment).await
    } else {
        let topics = matching(args, &cluster).await?;
        expect_some(args, &topics)?;
        Ok(cluster.delete_topics(&topics).await?)
    }
}

async fn create(
    args: &Args,
    cluster: &Cluster,
    assignment: Vec<Vec<NodeId>>,
    configs: BTreeMap<String, String>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let name = args.topic.clone().unwrap_or_default();
    if name.contains(['.', '_']) {
        output::note(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore \
             ('_') could collide. To avoid issues it is best to use either, but not both.",
        );
    }
    let factor = args
        .replication_factor
        .map(|n| i16::try_from(n).ok().filter(|n| *n >= 1));
    ensure!(
        factor != Some(None),
        "The replication factor must be between 1 and {} inclusive",
        i16::MAX
    );
    ensure!(
        args.partitions.is_none_or(|n| n >= 1),
        "The partitions must be greater than 0"
    );
    let topic = NewTopic {
        name,
        partitions: args.partitions,
        replication_factor: factor.flatten(),
        assignment,
        configs,
    };
    match cluster.create_topic(&topic).await {
        Ok(id) => {
            let json = json!({ "topic": topic.name, "topicId": id.to_string() });
            Ok(output.say(format_args!("Created topic {}.", topic.name), &json)?)
        }
        Err(error) if args.if_not_exists && exists(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn exists(error: &ClientError) -> bool {
    error.refusal() == Some(Refusal::TopicAlreadyExists)
}

async fn alter(args: &Args, cluster: &Cluster, replicas: &[Vec<NodeId>]) -> anyhow::Result<()> {
    let topics = matching(args, cluster).await?;
    expect_some(args, &topics)?;
    let count = args.partitions.unwrap_or_default();
    let described = cluster.describe_topics(&topics, None).await?;
    for topic in described {
        // Replicas of partitions that exist are not changed by this command.
        let new = replicas.get(topic.partitions.len()..).unwrap_or_default();
        let new = (!replicas.is_empty()).then_some(new);
        cluster.create_partitions(&topic.name, count, new).await?;
    }
    Ok(())
}

/// Names in order, of the topics that were meant.
async fn matching(args: &Args, cluster: &Cluster) -> anyhow::Result<Vec<Arc<str>>> {
    let all = cluster.list_topics().await?;
    let pattern = args.topic.as_deref().map(topic_pattern).transpose()?;
    let is_meant = |(name, topic): &(Arc<str>, TopicView)| {
        let is_named = pattern
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(name));
        is_named && !(args.exclude_internal && topic.is_internal)
    };
    Ok(all
        .into_iter()
        .filter(is_meant)
        .map(|(name, _)| name)
        .collect())
}

fn expect_some(args: &Args, found: &[Arc<str>]) -> anyhow::Result<()> {
    match args.topic.as_deref().filter(|topic| !topic.is_empty()) {
        Some(topic) if found.is_empty() && !args.if_exists => {
            bail!("Topic '{topic}' does not exist as expected")
        }
        _ => Ok(()),
    }
}

fn configs(typed: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |text: &String| match text.split('=').map(str::trim).collect::<Vec<_>>()[..] {
        [name, value] if !value.is_empty() => Some((name.to_owned(), value.to_owned())),
        _ => None,
    };
    let pairs: Option<_> = typed.iter().map(pair).collect();
    pairs.ok_or_else(|| {
        anyhow::anyhow!(
            "requirement failed: Invalid topic config: all configs to be added must be in the \
             format \"key=val\"."
        )
    })
}

fn assignment(text: Option<&str>) -> anyhow::Result<Vec<Vec<NodeId>>> {
    let mut partitions: Vec<Vec<NodeId>> = Vec::new();
    for (n, partition) in text
        .into_iter()
        .flat_map(|text| text.split(','))
        .enumerate()
    {
        let mut replicas = Vec::new();
        for id in partition.split(':') {
            let Ok(id) = id.trim().parse() else {
                bail!("{id} in --replica-assignment is no broker id");
            };
            replicas.push(id);
        }
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<_> = replicas.iter().filter(|id| !seen.insert(**id)).collect();
        if !twice.is_empty() {
            let twice: Vec<_> = twice.into_iter().map(ToString::to_string).collect();
            bail!(
                "Partition replica lists may not contain duplicate entries: {}",
                twice.join(",")
            );
        }
        if partitions
            .first()
            .is_some_and(|first| first.len() != replicas.len())
        {
            bail!("Partition {n} has different replication factor: {replicas:?}");
        }
        partitions.push(replicas);
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_lists_of_lists() {
        assert_eq!(assignment(None).unwrap(), Vec::<Vec<NodeId>>::new());
        assert_eq!(assignment(Some("0:1, 1:2")).unwrap(), [[0, 1], [1, 2]]);
        for (bad, why) in [
            (
                "0:0",
                "Partition replica lists may not contain duplicate entries: 0",
            ),
            (
                "0,0:1",
                "Partition 1 has different replication factor: [0, 1]",
            ),
            ("a", "a in --replica-assignment is no broker id"),
        ] {
            assert_eq!(assignment(Some(bad)).unwrap_err().to_string(), why);
        }
    }

    #[test]
    fn configs_are_pairs() {
        let read = configs(&["a = b".to_owned(), "c=d,e".to_owned()]).unwrap();
        assert_eq!(read.get("a").map(String::as_str), Some("b"));
        assert_eq!(read.get("c").map(String::as_str), Some("d,e"));
        for bad in ["a", "a=", "a=b=c"] {
            assert!(configs(&[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}

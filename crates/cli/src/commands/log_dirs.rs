//! `ottla log-dirs`: what lies in which log directory; the flags and the layout of
//! `kafka-log-dirs.sh`.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use ottla_client::admin::LogDirectory;
use ottla_protocol::NodeId;
use serde_json::{Value, json};

use super::admin::Admin;
use crate::kafkas;
use crate::output::Output;

/// Query the log directories of brokers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin,

    /// Describe the log directories; there is nothing else to do
    #[arg(long, required = true)]
    describe: bool,
    /// Only partitions of these topics, as a,b,c
    #[arg(
        long,
        value_name = "TOPICS",
        default_value = "",
        hide_default_value = true
    )]
    topic_list: String,
    /// Only these brokers, as 0,1,2
    #[arg(
        long,
        value_name = "IDS",
        default_value = "",
        hide_default_value = true
    )]
    broker_list: String,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| act(&args, output).await;
    args.admin.run(act).await
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    let topics: BTreeSet<&str> = parts(&args.topic_list).collect();
    let named = parts(&args.broker_list).map(|id| {
        let id = id.trim().parse();
        id.with_context(|| format!("--broker-list {}: ids are numbers", args.broker_list))
    });
    let named: BTreeSet<NodeId> = named.collect::<Result<_, _>>()?;
    let cluster = args.admin.cluster("log-dirs-tool").await?;
    let known: BTreeSet<NodeId> = cluster.view().nodes.keys().copied().collect();
    let unknown: BTreeSet<NodeId> = named.difference(&known).copied().collect();
    ensure!(
        unknown.is_empty(),
        "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
        list(&unknown),
        list(&known)
    );
    let asked = if named.is_empty() { known } else { named };
    if !output.is_json() {
        output.line("Querying brokers for log directories information")?;
    }
    let mut brokers = Vec::new();
    for &broker in &asked {
        let directories = cluster.log_directories(broker).await?;
        let directories: Vec<_> = directories.iter().map(|it| shown(it, &topics)).collect();
        brokers.push(json!({ "broker": broker, "logDirs": directories }));
    }
    if !output.is_json() {
        output.line(format_args!(
            "Received log directory information from brokers {}",
            list(&asked)
        ))?;
    }
    Ok(output.line(json!({ "version": 1, "brokers": brokers }))?)
}

fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|part| !part.is_empty())
}

fn list(ids: &BTreeSet<NodeId>) -> String {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}

fn shown(directory: &LogDirectory, topics: &BTreeSet<&str>) -> Value {
    let replicas = directory.replicas.iter();
    let replicas = replicas
        .filter(|replica| topics.is_empty() || topics.contains(&*replica.partition.topic))
        .map(|replica| {
            json!({
                "partition": replica.partition.to_string(),
                "size": replica.size,
                "offsetLag": replica.lag,
                "isFuture": replica.is_future,
            })
        });
    json!({
        "logDir": directory.path,
        "error": directory.refusal.map(kafkas::class_path),
        "partitions": replicas.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_client::admin::LogDirReplica;
    use ottla_protocol::{Refusal, TopicPartition};

    #[test]
    fn a_directory_shows_the_topics_that_were_asked_for() {
        let replica = |topic: &str| LogDirReplica {
            partition: TopicPartition::new(topic, 1),
            size: 10,
            lag: 0,
            is_future: false,
        };
        let directory = LogDirectory {
            path: "/data".to_owned(),
            refusal: Some(Refusal::KafkaStorageError),
            replicas: vec![replica("a"), replica("b")],
            total: None,
            usable: None,
        };
        let some = shown(&directory, &BTreeSet::from(["b"]));
        assert_eq!(some["partitions"].as_array().map(Vec::len), Some(1));
        assert_eq!(some["partitions"][0]["partition"], "b-1");
        assert_eq!(
            some["error"],
            "org.apache.kafka.common.errors.KafkaStorageException"
        );
        let all = shown(&directory, &BTreeSet::new());
        assert_eq!(all["partitions"].as_array().map(Vec::len), Some(2));
    }
}

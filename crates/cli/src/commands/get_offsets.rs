//! `ottla get-offsets`: where partitions begin and end, or were at a moment; the flags and the
//! layout of `kafka-get-offsets.sh`.

mod filter;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{bail, ensure};
use ottla_client::{At, Cluster, Isolation};
use ottla_protocol::TopicPartition;
use serde_json::json;

use self::filter::Filter;
use super::admin::Admin;
use crate::output::{self, Output};

/// Get the offsets of partitions
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin,

    /// The topic; a regular expression. All topics without it
    #[arg(long, conflicts_with = "topic_partitions")]
    topic: Option<String>,
    /// Only these partitions, as 0,1,2
    #[arg(long, value_name = "NUMBERS", conflicts_with = "topic_partitions")]
    partitions: Option<String>,
    /// Topics, each a regular expression, with partitions: a:1,b:0-3,c,d:5-,:-3
    #[arg(long, value_name = "PATTERNS")]
    topic_partitions: Option<String>,
    /// When: milliseconds since 1970; latest or -1, earliest or -2, max-timestamp or -3,
    /// earliest-local or -4, latest-tiered or -5, earliest-pending-upload or -6
    #[arg(
        long,
        value_name = "TIME",
        default_value = "latest",
        allow_hyphen_values = true
    )]
    time: String,
    /// Leave out internal topics
    #[arg(long)]
    exclude_internal_topics: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let complain = |error: &anyhow::Error, output: &mut Output| {
        output.flush()?;
        output::note(format_args!("Error occurred: {error:#}"));
        output::advise(error);
        Ok(ExitCode::FAILURE)
    };
    let act = async |output: &mut Output| act(&args, output).await;
    output::command(args.admin.shape, act, complain).await
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    let at = moment(&args.time)?;
    let filter = match &args.topic_partitions {
        Some(patterns) => Filter::of_patterns(patterns)?,
        None => Filter::of_topic(args.topic.as_deref(), args.partitions.as_deref())?,
    };
    let cluster = args.admin.cluster("GetOffsetShell").await?;
    let mut wanted = partitions(args, &cluster, &filter).await?;
    ensure!(
        !wanted.is_empty(),
        "Could not match any topic-partitions with the specified filters"
    );
    // Kafka's tool sorts by what is printed: 10 comes before 2.
    wanted.sort_by_cached_key(ToString::to_string);
    let asked: Vec<_> = wanted
        .iter()
        .map(|partition| (partition.clone(), at))
        .collect();
    let mut answers = cluster
        .list_offsets(&asked, Isolation::ReadUncommitted)
        .await;
    for partition in wanted {
        let found = match answers.remove(&partition) {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                output::note(format_args!(
                    "Skip getting offsets for topic-partition {partition} due to error: {error}"
                ));
                continue;
            }
            None => continue,
        };
        if found.offset < 0 {
            continue;
        }
        let TopicPartition { topic, partition } = &partition;
        let json = json!({ "topic": &**topic, "partition": partition, "offset": found.offset });
        output.say(format_args!("{topic}:{partition}:{}", found.offset), &json)?;
    }
    Ok(())
}

async fn partitions(
    args: &Args,
    cluster: &Cluster,
    filter: &Filter,
) -> anyhow::Result<Vec<TopicPartition>> {
    let mut found = Vec::new();
    for (name, topic) in cluster.list_topics().await? {
        if args.exclude_internal_topics && topic.is_internal {
            continue;
        }
        let numbers = topic.partitions.keys();
        let chosen = numbers.filter(|number| filter.takes(&name, **number));
        found.extend(chosen.map(|number| TopicPartition::new(Arc::clone(&name), *number)));
    }
    Ok(found)
}

fn moment(text: &str) -> anyhow::Result<At> {
    Ok(match text {
        "latest" => At::Latest,
        "earliest" => At::Earliest,
        "max-timestamp" => At::MaxTimestamp,
        "earliest-local" => At::EarliestLocal,
        "latest-tiered" => At::LatestTiered,
        "earliest-pending-upload" => At::EarliestPendingUpload,
        number => match number.parse() {
            Ok(-1) => At::Latest,
            Ok(-2) => At::Earliest,
            Ok(-3) => At::MaxTimestamp,
            Ok(-4) => At::EarliestLocal,
            Ok(-5) => At::LatestTiered,
            Ok(-6) => At::EarliestPendingUpload,
            Ok(time) => At::Timestamp(time),
            Err(_) => bail!(
                "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or \
                 max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or \
                 earliest-pending-upload, or a specified long format timestamp"
            ),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_have_names_and_numbers() {
        for (text, at) in [
            ("latest", At::Latest),
            ("-1", At::Latest),
            ("-5", At::LatestTiered),
            ("1000", At::Timestamp(1000)),
            ("-7", At::Timestamp(-7)),
        ] {
            assert_eq!(moment(text).unwrap(), at, "{text}");
        }
        assert!(moment("soon").is_err());
    }
}

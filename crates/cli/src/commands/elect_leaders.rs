//! `ottla elect-leaders`: elect preferred or unclean leaders; the flags and the layout of
//! `kafka-leader-election.sh`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use ottla_client::ClientError;
use ottla_client::admin::Election;
use ottla_protocol::{Refusal, TopicPartition};
use serde_json::{Value, json};

use super::admin::Admin;
use crate::kafkas;
use crate::output::Output;

/// Elect leaders of partitions
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin,

    /// preferred: the first replica leads again; unclean: any replica may lead where none does
    #[arg(long, value_name = "TYPE")]
    election_type: String,
    /// The topic
    #[arg(long, group = "which", requires = "partition")]
    topic: Option<String>,
    /// The partition
    #[arg(long, value_name = "N", requires = "topic")]
    partition: Option<i32>,
    /// All partitions that need it
    #[arg(long, group = "which")]
    all_topic_partitions: bool,
    /// A file that names partitions: {"partitions": [{"topic": "foo", "partition": 1}]}
    #[arg(long, value_name = "FILE", group = "which")]
    path_to_json_file: Option<PathBuf>,
    /// The old name of --command-config
    #[arg(
        long = "admin.config",
        value_name = "FILE",
        hide = true,
        conflicts_with = "command_config"
    )]
    admin_config: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| act(&args, output).await;
    args.admin.run(act).await
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    let election = match args.election_type.to_ascii_lowercase().as_str() {
        "preferred" => Election::Preferred,
        "unclean" => Election::Unclean,
        other => bail!("--election-type {other} is not usable: preferred or unclean is"),
    };
    let partitions = match (&args.topic, args.partition, &args.path_to_json_file) {
        (Some(topic), Some(number), _) => Some(vec![TopicPartition::new(topic.as_str(), number)]),
        (_, _, Some(path)) => Some(read(path)?),
        _ => None,
    };
    if args.admin_config.is_some() {
        output.complain(
            "Option --admin.config has been deprecated and will be removed in a future version. \
             Use --command-config instead.",
        )?;
    }
    let file = args.admin.config_file.or(args.admin_config.as_ref());
    let settings = file.properties()?.client("ottla-elect-leaders")?;
    let cluster = args.admin.cluster_with(settings).await?;
    let answers = cluster
        .elect_leaders(election, partitions.as_deref())
        .await?;
    tell(election, answers, output)
}

fn tell(
    election: Election,
    answers: impl IntoIterator<Item = (TopicPartition, Result<(), ClientError>)>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let kind = match election {
        Election::Preferred => "PREFERRED",
        Election::Unclean => "UNCLEAN",
    };
    let (mut elected, mut unneeded, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (partition, answer) in answers {
        let result = match answer {
            Ok(()) => {
                elected.push(partition.to_string());
                "elected"
            }
            Err(error) if error.refusal() == Some(Refusal::ElectionNotNeeded) => {
                unneeded.push(partition.to_string());
                "notNeeded"
            }
            Err(error) => {
                failed.push((partition.clone(), kafkas::exception(&error)));
                "failed"
            }
        };
        if output.is_json() {
            let TopicPartition { topic, partition } = &partition;
            let error = failed
                .last()
                .filter(|_| result == "failed")
                .map(|(_, why)| why);
            output.line(json!({
                "topic": &**topic, "partition": partition, "result": result, "error": error,
            }))?;
        }
    }
    if !output.is_json() {
        if !elected.is_empty() {
            let list = elected.join(", ");
            output.line(format_args!(
                "Successfully completed leader election ({kind}) for partitions {list}"
            ))?;
        }
        if !unneeded.is_empty() {
            let list = unneeded.join(", ");
            output.line(format_args!(
                "Valid replica already elected for partitions {list}"
            ))?;
        }
        for (partition, why) in &failed {
            output.line(format_args!(
                "Error completing leader election ({kind}) for partition: {partition}: {why}"
            ))?;
        }
    }
    ensure!(
        failed.is_empty(),
        "{} replica(s) could not be elected",
        failed.len()
    );
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<TopicPartition>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> anyhow::Result<Vec<TopicPartition>> {
    let json: Value = serde_json::from_str(text).context("Replica election data is no JSON")?;
    let list = json.get("partitions").and_then(Value::as_array);
    let list = list.context("Replica election data is missing \"partitions\" field")?;
    let mut found = BTreeSet::new();
    for entry in list {
        let topic = entry.get("topic").and_then(Value::as_str);
        let number = entry.get("partition").and_then(Value::as_i64);
        let number = number.and_then(|number| i32::try_from(number).ok());
        let (Some(topic), Some(number)) = (topic, number) else {
            bail!("{entry} does not name topic and partition");
        };
        let partition = TopicPartition::new(topic, number);
        ensure!(
            found.insert(partition.clone()),
            "Replica election data contains duplicate partitions: [{partition}]"
        );
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_partitions_once() {
        let one = "{\"topic\":\"t\",\"partition\":1}";
        let file = |list: &str| format!("{{\"partitions\":[{list}]}}");
        assert_eq!(parse(&file(one)).unwrap(), [TopicPartition::new("t", 1)]);
        for bad in [
            file(&format!("{one},{one}")),
            file("{\"topic\":\"t\"}"),
            "{}".to_owned(),
            "[".to_owned(),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}

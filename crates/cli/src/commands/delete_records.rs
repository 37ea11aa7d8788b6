//! `ottla delete-records`: forget the records before an offset; the flags and the layout of
//! `kafka-delete-records.sh`. A partition that fails ends it with status 1, where Kafka's tool
//! says 0.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ottla_client::ClientError;
use ottla_protocol::{Offset, TopicPartition};
use serde_json::{Value, json};

use super::admin::Admin;
use crate::output::{self, Output};
use crate::{advice, kafkas};

/// Delete records of partitions up to an offset
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin,

    /// A file that names the first offset of each partition that is kept, -1 for the end:
    /// {"partitions": [{"topic": "foo", "partition": 1, "offset": 1}], "version": 1}
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    offset_json_file: PathBuf,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| act(&args, output).await;
    args.admin.run(act).await
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<ExitCode> {
    let path = &args.offset_json_file;
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{} cannot be read", path.display()))?;
    let before = read(&text).with_context(|| path.display().to_string())?;
    let cluster = args.admin.cluster("ottla-delete-records").await?;
    if !output.is_json() {
        output.line("Executing records delete operation")?;
    }
    let answers = cluster.delete_records(&before).await?;
    if !output.is_json() {
        output.line("Records delete operation completed:")?;
    }
    let mut is_done = true;
    for (partition, answer) in answers {
        is_done &= answer.is_ok();
        tell(&partition, answer, output)?;
    }
    Ok(if is_done || output::is_kafkas_manner() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(
    partition: &TopicPartition,
    answer: Result<Offset, ClientError>,
    output: &mut Output,
) -> std::io::Result<()> {
    let topic = &*partition.topic;
    let number = partition.partition;
    match answer {
        Ok(low) => {
            let json = json!({ "topic": topic, "partition": number, "lowWatermark": low });
            output.say(
                format_args!("partition: {partition}\tlow_watermark: {low}"),
                &json,
            )
        }
        Err(error) => {
            let exception = kafkas::exception(&error);
            let json = json!({ "topic": topic, "partition": number, "error": exception });
            output.say(
                format_args!("partition: {partition}\terror: {exception}"),
                &json,
            )?;
            match advice::on(&error.into()) {
                Some(advice) if !output::is_kafkas_manner() => {
                    output.complain(format_args!("hint: {advice}"))
                }
                _ => Ok(()),
            }
        }
    }
}

/// The offsets of a file. Each partition may be named once.
fn read(text: &str) -> anyhow::Result<BTreeMap<TopicPartition, Offset>> {
    let json: Value = serde_json::from_str(text).context("The input string is not a valid JSON")?;
    match json.get("version").map(Value::as_i64) {
        None | Some(Some(1)) => {}
        Some(_) => bail!("Not supported version field value {}", json["version"]),
    }
    let partitions = json.get("partitions").and_then(Value::as_array);
    let partitions = partitions.context("Missing partitions field")?;
    let mut before = BTreeMap::new();
    let mut twice = BTreeSet::new();
    for entry in partitions {
        let number = |name| entry.get(name).and_then(Value::as_i64);
        let partition = number("partition").and_then(|n| i32::try_from(n).ok());
        let topic = entry.get("topic").and_then(Value::as_str);
        let (Some(topic), Some(partition), Some(offset)) = (topic, partition, number("offset"))
        else {
            bail!("{entry} does not name topic, partition and offset");
        };
        let partition = TopicPartition::new(topic, partition);
        if before.insert(partition.clone(), offset).is_some() {
            twice.insert(partition.to_string());
        }
    }
    if !twice.is_empty() {
        let twice: Vec<_> = twice.into_iter().collect();
        bail!(
            "Offset json file contains duplicate topic partitions: {}",
            twice.join(",")
        );
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_offsets() {
        let entry = "{\"topic\":\"t\",\"partition\":0,\"offset\":-1}";
        let file = |entries: &str| format!("{{\"partitions\":[{entries}],\"version\":1}}");
        let read_one = read(&file(entry)).unwrap();
        assert_eq!(
            read_one,
            BTreeMap::from([(TopicPartition::new("t", 0), -1)])
        );
        let twice = file(&format!("{entry},{entry}"));
        for (bad, why) in [
            (twice.as_str(), "duplicate topic partitions: t-0"),
            ("{", "not a valid JSON"),
            ("{}", "Missing partitions field"),
            ("{\"version\":2}", "version field value 2"),
            ("{\"partitions\":[{\"topic\":\"t\"}]}", "does not name"),
        ] {
            let told = format!("{:#}", read(bad).unwrap_err());
            assert!(told.contains(why), "{told}");
        }
    }
}

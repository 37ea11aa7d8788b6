//! `ottla reassign`: move partitions between brokers and log directories; the flags and the layout
//! of `kafka-reassign-partitions.sh`.

mod cancel;
mod execute;
mod generate;
mod moves;
mod place;
mod plan;
mod throttle;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use ottla_client::admin::Reassignment;
use ottla_client::{ClientError, Cluster};
use ottla_protocol::{NodeId, TopicPartition};
use serde_json::json;

use super::admin::Admin;
use super::connect::ConnectAny;
use crate::kafkas;
use crate::output::{self, Output};

/// Move partitions between brokers and log directories
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true))]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin<ConnectAny>,

    /// Propose where partitions may go; nothing is moved
    #[arg(
        long,
        group = "action",
        requires = "topics_to_move_json_file",
        requires = "broker_list"
    )]
    generate: bool,
    /// Move partitions
    #[arg(long, group = "action", requires = "reassignment_json_file")]
    execute: bool,
    /// Say whether moves are complete; throttles go when all are
    #[arg(long, group = "action", requires = "reassignment_json_file")]
    verify: bool,
    /// Stop moving
    #[arg(long, group = "action", requires = "reassignment_json_file")]
    cancel: bool,
    /// List what is being moved
    #[arg(long, group = "action")]
    list: bool,

    /// A file that names replicas, as --generate prints it:
    /// {"version": 1, "partitions": [{"topic": "foo", "partition": 1, "replicas": [1, 2],
    /// "log_dirs": ["any", "/data"]}]}
    #[arg(long, value_name = "FILE", verbatim_doc_comment, conflicts_with_all = ["generate", "list"])]
    reassignment_json_file: Option<PathBuf>,
    /// A file that names topics: {"version": 1, "topics": [{"topic": "foo"}]}
    #[arg(long, value_name = "FILE", conflicts_with_all = ["execute", "verify", "cancel", "list"])]
    topics_to_move_json_file: Option<PathBuf>,
    /// The brokers that partitions may go to, as 0,1,2
    #[arg(long, value_name = "IDS", conflicts_with_all = ["execute", "verify", "cancel", "list"])]
    broker_list: Option<String>,
    /// Do not look at racks
    #[arg(long, conflicts_with_all = ["execute", "verify", "cancel", "list"])]
    disable_rack_aware: bool,
    /// Move these although others are moving
    #[arg(long, conflicts_with_all = ["generate", "verify", "cancel", "list"])]
    additional: bool,
    /// Bytes per second between brokers while partitions move
    #[arg(long, value_name = "RATE", default_value_t = -1, hide_default_value = true, allow_negative_numbers = true)]
    throttle: i64,
    /// Bytes per second between log directories
    #[arg(long, value_name = "RATE", default_value_t = -1, hide_default_value = true, allow_negative_numbers = true)]
    replica_alter_log_dirs_throttle: i64,
    /// How long to wait until moves between log directories have begun
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    timeout: u64,
    /// Leave throttles as they are
    #[arg(long, conflicts_with_all = ["generate", "execute", "list"])]
    preserve_throttles: bool,
    /// Refuse another number of replicas
    #[arg(long, conflicts_with_all = ["generate", "verify", "cancel", "list"])]
    disallow_replication_factor_change: bool,
}

/// A sentence that Kafka's tool prints as it is; others it puts behind "Error: ".
#[derive(Debug)]
struct Terse(String);

impl std::fmt::Display for Terse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Terse {}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| act(&args, output).await;
    let complain = |error: &anyhow::Error, output: &mut Output| {
        if error.is::<Terse>() {
            output.complain(error)?;
        } else if output::is_kafkas_manner() {
            tell_as_kafka(error, output)?;
        } else {
            output.flush()?;
            output::error(error);
        }
        Ok(ExitCode::FAILURE)
    };
    output::command(args.admin.shape, act, complain).await
}

/// The sentence, and the classes of its exceptions below; all on standard output.
fn tell_as_kafka(error: &anyhow::Error, output: &mut Output) -> std::io::Result<()> {
    let own = "org.apache.kafka.tools.AdminCommandFailedException";
    let execution = "java.util.concurrent.ExecutionException";
    let refused = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<ClientError>());
    let exception = refused.map(kafkas::exception);
    match exception {
        None => {
            output.line(format_args!("Error: {error:#}"))?;
            output.line(format_args!("{own}: {error:#}"))
        }
        // `is` looks below a context, too: what stands on top is what is shown.
        Some(exception) if error.chain().count() == 1 => {
            output.line(format_args!("Error: {exception}"))?;
            output.line(format_args!("{execution}: {exception}"))?;
            output.line(format_args!("Caused by: {exception}"))
        }
        Some(exception) => {
            output.line(format_args!("Error: {error}"))?;
            output.line(format_args!("{own}: {error}"))?;
            output.line(format_args!("Caused by: {execution}: {exception}"))?;
            output.line(format_args!("Caused by: {exception}"))
        }
    }
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    let settings = args.admin.settings("reassign-partitions-tool")?;
    let read = |path: &Option<PathBuf>| read(path.as_deref().unwrap_or(Path::new("")));
    if args.list {
        let cluster = args.admin.cluster_with(settings).await?;
        return list(&cluster, output).await;
    }
    if args.generate {
        let topics = plan::topics(&read(&args.topics_to_move_json_file)?)?;
        let brokers = plan::brokers(args.broker_list.as_deref().unwrap_or_default())?;
        let cluster = args.admin.cluster_with(settings).await?;
        let is_rack_aware = !args.disable_rack_aware;
        return generate::generate(&cluster, topics, brokers, is_rack_aware, output).await;
    }
    let text = read(&args.reassignment_json_file)?;
    if args.execute {
        let plan = plan::to_execute(&text)?;
        let cluster = args.admin.cluster_with(settings).await?;
        execute::execute(args, &cluster, &plan, output).await
    } else {
        let plan = plan::read(&text)?;
        let cluster = args.admin.cluster_with(settings).await?;
        if args.verify {
            verify::verify(args, &cluster, &plan, output).await
        } else {
            cancel::cancel(args, &cluster, &plan, output).await
        }
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

async fn list(cluster: &Cluster, output: &mut Output) -> anyhow::Result<()> {
    let moving = cluster.reassignments().await?;
    let mut lines = Vec::new();
    for (partition, reassignment) in &moving {
        lines.push(moving_line(partition, reassignment));
    }
    let head = match lines.is_empty() {
        true => "No partition reassignments found.",
        false => "Current partition reassignments:",
    };
    let objects = moving.iter().map(|(partition, reassignment)| {
        json!({
            "topic": &*partition.topic,
            "partition": partition.partition,
            "replicas": reassignment.replicas,
            "addingReplicas": reassignment.adding,
            "removingReplicas": reassignment.removing,
        })
    });
    Ok(output.rows(std::iter::once(head.to_owned()).chain(lines), objects)?)
}

fn moving_line(partition: &TopicPartition, moving: &Reassignment) -> String {
    let part = |what: &str, ids: &[NodeId]| match ids {
        [] => String::new(),
        ids => format!(" {what}: {}.", comma(ids)),
    };
    format!(
        "{partition}: replicas: {}.{}{}",
        comma(&moving.replicas),
        part("adding", &moving.adding),
        part("removing", &moving.removing)
    )
}

fn comma(ids: &[NodeId]) -> String {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}

/// `s` where there is not just one.
fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_laid_out_as_kafkas() {
        let moving = Reassignment {
            replicas: vec![1, 2, 3],
            adding: vec![3],
            removing: Vec::new(),
        };
        assert_eq!(
            moving_line(&TopicPartition::new("t", 0), &moving),
            "t-0: replicas: 1,2,3. adding: 3."
        );
    }
}

//! `ottla transactions`: list, describe and end transactions, and find those that nobody will end;
//! the flags and the layout of `kafka-transactions.sh`.

mod abort;
mod hanging;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Subcommand;
use ottla_client::admin::{ProducerDescription, TransactionFilter};
use ottla_client::{ClientError, Cluster};
use ottla_protocol::{NodeId, TopicPartition};
use serde_json::{Value, json};

use super::admin::Admin;
use super::duration::now_ms;
use super::table::{Column, Table};
use crate::kafkas;
use crate::output::{self, Output};

/// Look at the transactions of producers, and end hanging ones
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the transactional ids that coordinators know
    List {
        /// Only transactions that are open for longer than so many milliseconds
        #[arg(long, value_name = "MS", allow_negative_numbers = true)]
        duration_filter: Option<i64>,
        /// Only transactional ids that match this regular expression
        #[arg(long, value_name = "REGEX")]
        transactional_id_pattern: Option<String>,
    },
    /// Describe the transaction of a transactional id
    Describe {
        /// The transactional id
        #[arg(long, value_name = "ID")]
        transactional_id: String,
    },
    /// Describe the producers that a partition remembers
    DescribeProducers {
        #[command(flatten)]
        place: Place,
        /// Ask this broker instead of the partition's leader
        #[arg(long, value_name = "ID")]
        broker_id: Option<NodeId>,
    },
    /// Abort a hanging transaction in one partition
    Abort(abort::Args),
    /// Find transactions that are open for longer than they may be and that nobody will end
    FindHanging(hanging::Args),
    /// Abort whatever a transactional id has open, and fence who uses it
    #[command(alias = "forceTerminateTransaction")]
    ForceTerminate {
        /// The transactional id
        #[arg(long, value_name = "ID", alias = "transactionalId")]
        transactional_id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The topic
    #[arg(long)]
    topic: String,
    /// The partition
    #[arg(long, value_name = "N")]
    partition: i32,
}

impl Place {
    fn partition(&self) -> TopicPartition {
        TopicPartition::new(self.topic.as_str(), self.partition)
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| act(&args, output).await;
    args.admin.run(act).await
}

impl Args {
    async fn cluster(&self) -> anyhow::Result<Arc<Cluster>> {
        self.admin.cluster("ottla-transactions").await
    }
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    match &args.action {
        Action::List {
            duration_filter,
            transactional_id_pattern,
        } => {
            let filter = TransactionFilter {
                open_ms_min: *duration_filter,
                pattern: transactional_id_pattern.clone(),
                ..TransactionFilter::default()
            };
            list(&*args.cluster().await?, &filter, output).await
        }
        Action::Describe { transactional_id } => {
            describe(&*args.cluster().await?, transactional_id, output).await
        }
        Action::DescribeProducers { place, broker_id } => {
            let cluster = args.cluster().await?;
            describe_producers(&cluster, &place.partition(), *broker_id, output).await
        }
        Action::Abort(how) => {
            how.check()?;
            how.run(&*args.cluster().await?, output).await
        }
        Action::FindHanging(how) => {
            how.check()?;
            how.run(&*args.cluster().await?, output).await
        }
        Action::ForceTerminate { transactional_id } => {
            let cluster = args.cluster().await?;
            let what = format!("Failed to force terminate transactionalId `{transactional_id}`");
            let fenced = cluster.fence_producer(transactional_id).await;
            fenced.map_err(|error| failed(&what, error))?;
            if output.is_json() {
                output.line(json!({ "terminated": transactional_id }))?;
            }
            Ok(())
        }
    }
}

/// The sentence of Kafka's tool; the failure stays behind it.
fn failed(what: &str, error: ClientError) -> anyhow::Error {
    if !output::is_kafkas_manner() {
        return anyhow::Error::from(error).context(what.to_owned());
    }
    let why = match &error {
        ClientError::Refused { refused, .. } => kafkas::words(refused).to_owned(),
        other => other.to_string(),
    };
    anyhow!("{what}: {why}. Enable debug logging for additional detail.")
}

async fn list(
    cluster: &Cluster,
    filter: &TransactionFilter,
    output: &mut Output,
) -> anyhow::Result<()> {
    let listed = cluster.list_transactions(filter).await;
    let listed = listed.map_err(|error| failed("Failed to list transactions", error))?;
    let mut table = Table::tabbed(vec![
        Column::last("TransactionalId"),
        Column::last("Coordinator").number(),
        Column::last("ProducerId").number(),
        Column::last("TransactionState"),
    ]);
    for listing in listed {
        table.push(vec![
            listing.id,
            listing.coordinator.to_string(),
            listing.producer_id.to_string(),
            listing.state,
        ]);
    }
    Ok(output.rows(table.lines(), table.objects())?)
}

async fn describe(cluster: &Cluster, id: &str, output: &mut Output) -> anyhow::Result<()> {
    let what = format!("Failed to describe transaction state of transactional-id `{id}`");
    let described = cluster.describe_transaction(id).await;
    let described = described.map_err(|error| failed(&what, error))?;
    let mut table = Table::tabbed(vec![
        Column::last("CoordinatorId").number(),
        Column::last("TransactionalId"),
        Column::last("ProducerId").number(),
        Column::last("ProducerEpoch").number(),
        Column::last("TransactionState"),
        Column::last("TransactionTimeoutMs").number(),
        Column::last("CurrentTransactionStartTimeMs").number(),
        Column::last("TransactionDurationMs").number(),
        Column::last("TopicPartitions"),
    ]);
    let partitions = described.partitions.iter().map(ToString::to_string);
    let partitions: Vec<_> = partitions.collect();
    let duration = described.started.map(|started| now_ms() - started);
    table.push(vec![
        described.coordinator.to_string(),
        id.to_owned(),
        described.producer_id.to_string(),
        described.producer_epoch.to_string(),
        described.state.clone(),
        described.timeout_ms.to_string(),
        or_none(described.started),
        or_none(duration),
        partitions.join(","),
    ]);
    let objects = table.objects().map(|mut object| {
        object["topicPartitions"] = Value::from(partitions.clone());
        object
    });
    Ok(output.rows(table.lines(), objects)?)
}

async fn describe_producers(
    cluster: &Cluster,
    partition: &TopicPartition,
    broker: Option<NodeId>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let whom = broker.map_or_else(|| "leader".to_owned(), |id| format!("broker {id}"));
    let what = format!("Failed to describe producers for partition {partition} on {whom}");
    let producers = producers_of(cluster, partition, broker).await;
    let producers = producers.map_err(|error| failed(&what, error))?;
    let mut table = Table::tabbed(vec![
        Column::last("ProducerId").number(),
        Column::last("ProducerEpoch").number(),
        Column::last("LatestCoordinatorEpoch").number(),
        Column::last("LastSequence").number(),
        Column::last("LastTimestamp").number(),
        Column::last("CurrentTransactionStartOffset").number(),
    ]);
    for producer in producers {
        table.push(vec![
            producer.id.to_string(),
            producer.epoch.to_string(),
            producer.coordinator_epoch.unwrap_or(-1).to_string(),
            producer.last_sequence.to_string(),
            producer.last_timestamp.to_string(),
            or_none(producer.open_since),
        ]);
    }
    Ok(output.rows(table.lines(), table.objects())?)
}

async fn producers_of(
    cluster: &Cluster,
    partition: &TopicPartition,
    broker: Option<NodeId>,
) -> Result<Vec<ProducerDescription>, ClientError> {
    let asked = std::slice::from_ref(partition);
    let mut answers = cluster.describe_producers(asked, broker).await?;
    answers.remove(partition).unwrap_or(Ok(Vec::new()))
}

fn or_none(number: Option<i64>) -> String {
    number.map_or_else(|| "None".to_owned(), |number| number.to_string())
}

//! Transactions that hang: open in a partition for longer than any may be, and unknown to whoever
//! should end them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::ensure;
use ottla_client::Cluster;
use ottla_client::admin::{
    ProducerDescription, TransactionDescription, TransactionFilter, is_unknown_transaction,
};
use ottla_protocol::{NodeId, TopicPartition};

use super::failed;
use crate::commands::duration::now_ms;
use crate::commands::table::{Column, Table};
use crate::output::{Output, Progress};

/// Partitions that a broker is asked about at once.
const AT_ONCE: usize = 500;
const MINUTE_MS: i64 = 60_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only partitions of this broker, as it knows them
    #[arg(long, value_name = "ID")]
    broker_id: Option<NodeId>,
    /// How many minutes a transaction may take
    #[arg(long, value_name = "MINUTES", default_value_t = 15)]
    max_transaction_timeout: i64,
    /// Only this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only this partition of it
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
}

type Open = (TopicPartition, ProducerDescription);

impl Args {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.topic.is_some() || self.broker_id.is_some(),
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope \
             of the search"
        );
        ensure!(
            self.partition.is_none() || self.topic.is_some(),
            "The --partition argument requires --topic to be provided"
        );
        Ok(())
    }

    pub(super) async fn run(&self, cluster: &Cluster, output: &mut Output) -> anyhow::Result<()> {
        let partitions = self.partitions(cluster).await?;
        let open = self.long_open(cluster, &partitions).await?;
        let now = now_ms();
        let mut hanging = Vec::new();
        if !open.is_empty() {
            let ids: BTreeSet<i64> = open.iter().map(|(_, producer)| producer.id).collect();
            let known = transactions_of(cluster, &ids).await?;
            hanging = open;
            hanging.retain(|(partition, producer)| is_hanging(partition, known.get(&producer.id)));
        }
        let table = table(&hanging, now);
        Ok(output.rows(table.lines(), table.objects())?)
    }

    async fn partitions(&self, cluster: &Cluster) -> anyhow::Result<Vec<TopicPartition>> {
        let names: Vec<Arc<str>> = match (&self.topic, self.partition) {
            (Some(topic), Some(number)) => {
                return Ok(vec![TopicPartition::new(topic.as_str(), number)]);
            }
            (Some(topic), None) => vec![Arc::from(topic.as_str())],
            (None, _) => cluster.list_topics().await?.into_keys().collect(),
        };
        let mut found = Vec::new();
        for names in names.chunks(AT_ONCE) {
            let what = format!("Failed to describe {} topics", names.len());
            let described = cluster.describe_topics(names, None).await;
            for topic in described.map_err(|error| failed(&what, error))? {
                let numbers = topic.partitions.iter();
                let numbers =
                    numbers.filter(|it| self.broker_id.is_none_or(|id| it.replicas.contains(&id)));
                found.extend(
                    numbers.map(|it| TopicPartition::new(Arc::clone(&topic.name), it.number)),
                );
            }
        }
        Ok(found)
    }

    /// What has been open for longer than a transaction may be.
    async fn long_open(
        &self,
        cluster: &Cluster,
        partitions: &[TopicPartition],
    ) -> anyhow::Result<Vec<Open>> {
        let mut progress = Progress::new();
        let mut found = Vec::new();
        let limit = self.max_transaction_timeout.saturating_mul(MINUTE_MS);
        for (n, partitions) in partitions.chunks(AT_ONCE).enumerate() {
            progress.show(format_args!("{} partitions searched", n * AT_ONCE));
            let described = cluster.describe_producers(partitions, self.broker_id).await;
            let what = format!(
                "Failed to describe producers for {} partitions on broker {:?}",
                partitions.len(),
                self.broker_id
            );
            for (partition, producers) in described.map_err(|error| failed(&what, error))? {
                let producers = producers.map_err(|error| failed(&what, error))?;
                let late = producers.into_iter().filter(|producer| {
                    producer.open_since.is_some() && now_ms() - producer.last_timestamp > limit
                });
                found.extend(late.map(|producer| (partition.clone(), producer)));
            }
        }
        Ok(found)
    }
}

/// What coordinators know of these producers.
async fn transactions_of(
    cluster: &Cluster,
    producer_ids: &BTreeSet<i64>,
) -> anyhow::Result<BTreeMap<i64, TransactionDescription>> {
    let filter = TransactionFilter {
        producer_ids: producer_ids.iter().copied().collect(),
        ..TransactionFilter::default()
    };
    let what = format!(
        "Failed to list transactions for {} producers",
        producer_ids.len()
    );
    let listed = cluster.list_transactions(&filter).await;
    let mut known = BTreeMap::new();
    for listing in listed.map_err(|error| failed(&what, error))? {
        if !producer_ids.contains(&listing.producer_id) {
            continue;
        }
        match cluster.describe_transaction(&listing.id).await {
            Ok(described) => {
                known.insert(listing.producer_id, described);
            }
            Err(error) if is_unknown_transaction(&error) => {}
            Err(error) => return Err(failed("Failed to describe transactions", error)),
        }
    }
    Ok(known)
}

/// A coordinator names the partitions to which it still owes a marker; to others nobody does.
fn is_hanging(partition: &TopicPartition, known: Option<&TransactionDescription>) -> bool {
    known.is_none_or(|known| !known.partitions.contains(partition))
}

fn table(hanging: &[Open], now: i64) -> Table {
    let mut table = Table::tabbed(vec![
        Column::last("Topic"),
        Column::last("Partition").number(),
        Column::last("ProducerId").number(),
        Column::last("ProducerEpoch").number(),
        Column::last("CoordinatorEpoch").number(),
        Column::last("StartOffset").number(),
        Column::last("LastTimestamp").number(),
        Column::last("Duration(min)").number(),
    ]);
    for (partition, producer) in hanging {
        table.push(vec![
            partition.topic.to_string(),
            partition.partition.to_string(),
            producer.id.to_string(),
            producer.epoch.to_string(),
            producer.coordinator_epoch.unwrap_or(-1).to_string(),
            producer.open_since.unwrap_or(-1).to_string(),
            producer.last_timestamp.to_string(),
            ((now - producer.last_timestamp) / MINUTE_MS).to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_coordinator_still_owes_does_not_hang() {
        let (owed, other) = (TopicPartition::new("t", 0), TopicPartition::new("t", 1));
        let known = TransactionDescription {
            coordinator: 0,
            producer_id: 1,
            producer_epoch: 0,
            state: "Ongoing".to_owned(),
            timeout_ms: 1,
            started: Some(1),
            partitions: vec![owed.clone()],
        };
        assert!(!is_hanging(&owed, Some(&known)));
        assert!(is_hanging(&other, Some(&known)));
        assert!(is_hanging(&owed, None));
    }

    #[test]
    fn durations_are_minutes() {
        let producer = ProducerDescription {
            id: 1,
            epoch: 2,
            last_sequence: 3,
            last_timestamp: 1000,
            coordinator_epoch: None,
            open_since: Some(5),
        };
        let open = [(TopicPartition::new("t", 0), producer)];
        let object = table(&open, 1000 + 3 * MINUTE_MS + 1)
            .objects()
            .next()
            .unwrap();
        assert_eq!(object["durationMin"], 3);
        assert_eq!(object["coordinatorEpoch"], -1);
    }
}

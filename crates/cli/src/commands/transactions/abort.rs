//! Ending a transaction in one partition, by its marker.

use anyhow::{Context, bail};
use ottla_client::Cluster;
use ottla_protocol::Offset;
use serde_json::json;

use super::{Place, failed, producers_of};
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// Where the transaction begins
    #[arg(long, value_name = "OFFSET")]
    start_offset: Option<Offset>,
    /// Instead of the offset, for brokers older than 3.0, together with the two that follow
    #[arg(long, value_name = "ID")]
    producer_id: Option<i64>,
    /// The producer's epoch
    #[arg(long, value_name = "EPOCH")]
    producer_epoch: Option<i16>,
    /// The coordinator's epoch
    #[arg(long, value_name = "EPOCH", allow_negative_numbers = true)]
    coordinator_epoch: Option<i32>,
}

/// Who wrote what is to be aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Writer {
    id: i64,
    epoch: i16,
    coordinator_epoch: i32,
}

impl Args {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.start_offset.is_none() {
            self.named()?;
        }
        Ok(())
    }

    fn named(&self) -> anyhow::Result<Writer> {
        let Some(id) = self.producer_id else {
            bail!(
                "The transaction to abort must be identified either with --start-offset (for \
                 brokers on 3.0 or above) or with --producer-id, --producer-epoch, and \
                 --coordinator-epoch (for older brokers)"
            );
        };
        let epoch = self.producer_epoch;
        let epoch = epoch.context("Missing required argument --producer-epoch")?;
        let coordinator = self.coordinator_epoch;
        let coordinator = coordinator.context("Missing required argument --coordinator-epoch")?;
        Ok(Writer {
            id,
            epoch,
            // A producer whose first transaction hangs has met no coordinator yet: -1. No leader
            // refuses 0 for being old.
            coordinator_epoch: coordinator.max(0),
        })
    }

    pub(super) async fn run(&self, cluster: &Cluster, output: &mut Output) -> anyhow::Result<()> {
        let partition = self.place.partition();
        let writer = match self.start_offset {
            Some(start) => {
                let what = format!("Failed to validate producer state for partition {partition}");
                let producers = producers_of(cluster, &partition, None).await;
                let producers = producers.map_err(|error| failed(&what, error))?;
                let found = producers
                    .into_iter()
                    .find(|it| it.open_since == Some(start));
                let found = found.with_context(|| {
                    format!(
                        "Could not find any open transactions starting at offset {start} on \
                         partition {partition}"
                    )
                })?;
                Writer {
                    id: found.id,
                    epoch: i16::try_from(found.epoch)?,
                    coordinator_epoch: found.coordinator_epoch.unwrap_or_default(),
                }
            }
            None => self.named()?,
        };
        let Writer {
            id,
            epoch,
            coordinator_epoch,
        } = writer;
        let aborted = cluster
            .abort_transaction(&partition, id, epoch, coordinator_epoch)
            .await;
        let what = format!(
            "Failed to abort transaction of producer {id} (epoch {epoch}, coordinator epoch \
             {coordinator_epoch}) on partition {partition}"
        );
        aborted.map_err(|error| failed(&what, error))?;
        if output.is_json() {
            output.line(
                json!({ "aborted": { "partition": partition.to_string(), "producerId": id } }),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_offset_the_producer_is_named_in_full() {
        let mut args = Args {
            place: Place {
                topic: "t".to_owned(),
                partition: 0,
            },
            start_offset: None,
            producer_id: None,
            producer_epoch: Some(1),
            coordinator_epoch: None,
        };
        assert!(args.check().is_err());
        args.producer_id = Some(7);
        assert!(
            args.check()
                .unwrap_err()
                .to_string()
                .contains("--coordinator-epoch")
        );
        args.coordinator_epoch = Some(-1);
        assert_eq!(
            args.named().unwrap(),
            Writer {
                id: 7,
                epoch: 1,
                coordinator_epoch: 0
            }
        );
    }
}

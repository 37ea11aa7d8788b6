//! `.snapshot` and `.txnindex` files: what a partition knew of its producers, and which transactions
//! were aborted.

use std::fmt::Write;
use std::path::Path;

use anyhow::ensure;
use ottla_storage::producer::snapshot as producer_snapshot;
use serde_json::json;

use super::objects;
use crate::output::Output;

const ABORTED_ENTRY: usize = 34;

pub(super) fn snapshot(path: &Path, output: &mut Output) -> anyhow::Result<()> {
    for producer in producer_snapshot::decode(&std::fs::read(path)?)? {
        if output.is_json() {
            let seen = producer.seen().first();
            let last_batch = seen.map(|batch| {
                json!({
                    "firstSequence": batch.first_sequence(),
                    "lastSequence": batch.last_sequence,
                    "lastOffset": batch.last_offset,
                    "offsetDelta": batch.offset_delta,
                    "timestamp": batch.timestamp,
                })
            });
            let json = json!({
                "producerId": producer.id(),
                "producerEpoch": producer.epoch(),
                "coordinatorEpoch": producer.coordinator_epoch(),
                "currentTxnFirstOffset": producer.transaction_start(),
                "lastTimestamp": producer.last_timestamp(),
                "lastBatch": last_batch,
            });
            output.line(objects::of_file(path, json))?;
            continue;
        }
        let transaction = match producer.transaction_start() {
            Some(offset) => format!("OptionalLong[{offset}]"),
            None => "OptionalLong.empty".to_owned(),
        };
        let mut line = format!(
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: \
             {transaction} lastTimestamp: {}",
            producer.id(),
            producer.epoch(),
            producer.coordinator_epoch(),
            producer.last_timestamp(),
        );
        if let Some(batch) = producer.seen().first() {
            write!(
                line,
                " firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                batch.first_sequence(),
                batch.last_sequence,
                batch.last_offset,
                batch.offset_delta,
                batch.timestamp
            )?;
        }
        output.line(line)?;
    }
    Ok(())
}

pub(super) fn aborted(path: &Path, output: &mut Output) -> anyhow::Result<()> {
    let bytes = std::fs::read(path)?;
    let (entries, rest) = bytes.as_chunks::<ABORTED_ENTRY>();
    ensure!(
        rest.is_empty(),
        "its {} bytes are no whole entries",
        bytes.len()
    );
    for entry in entries {
        let version = i16::from_be_bytes([entry[0], entry[1]]);
        let (fields, _) = entry[2..].as_chunks::<8>();
        let fields: Vec<_> = fields
            .iter()
            .map(|field| i64::from_be_bytes(*field))
            .collect();
        if let [producer_id, first, last, stable] = fields[..] {
            let json = json!({
                "version": version,
                "producerId": producer_id,
                "firstOffset": first,
                "lastOffset": last,
                "lastStableOffset": stable,
            });
            output.say(
                format_args!(
                    "version: {version} producerId: {producer_id} firstOffset: {first} \
                     lastOffset: {last} lastStableOffset: {stable}"
                ),
                &objects::of_file(path, json),
            )?;
        }
    }
    Ok(())
}

//! The records of one batch of the metadata log.

use bytes::Bytes;
use ottla_protocol::Offset;
use ottla_protocol::batch::{Batch, CorruptBatch, OPENED_BYTES_MAX};

use super::{Record, Unreadable};

/// A batch that is no batch of metadata records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableBatch {
    /// Where the batch or the record stands.
    pub offset: Offset,
    pub why: String,
}

impl std::fmt::Display for UnreadableBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "metadata log at offset {}: {}", self.offset, self.why)
    }
}

impl std::error::Error for UnreadableBatch {}

/// Every record of a batch with its offset; none of a control batch, which is the quorum's.
pub fn read_batch(batch: Batch<'_>) -> Result<Vec<(Offset, Record)>, UnreadableBatch> {
    if batch.is_control() {
        return Ok(Vec::new());
    }
    let offset = batch.base_offset();
    let broken = |error: CorruptBatch| UnreadableBatch {
        offset,
        why: error.to_string(),
    };
    let payload = batch.payload(OPENED_BYTES_MAX).map_err(broken)?;
    payload
        .records()
        .map(|record| {
            let record = record.map_err(broken)?;
            let refuse = |why: &str| UnreadableBatch {
                offset: record.offset,
                why: why.to_owned(),
            };
            // Kafka's reader insists on all of this, so nobody may have written anything else.
            if record.key.is_some() {
                return Err(refuse("a record with a key"));
            }
            if !record.headers.is_empty() {
                return Err(refuse("a record with headers"));
            }
            if record.timestamp_delta != 0 {
                return Err(refuse("a record with a time of its own"));
            }
            let value = record
                .value
                .ok_or_else(|| refuse("a record without a value"))?;
            let (decoded, _) = Record::decode(&Bytes::copy_from_slice(value))
                .map_err(|unreadable: Unreadable| refuse(&unreadable.to_string()))?;
            Ok((record.offset, decoded))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{MetadataVersion, NoOpRecord};
    use expect_test::{Expect, expect};
    use ottla_protocol::batch_builder::BatchBuilder;

    fn check(push: impl FnOnce(&mut BatchBuilder, &[u8]), expected: Expect) {
        let value = Record::from(NoOpRecord {})
            .encode(MetadataVersion::MAX)
            .unwrap();
        let mut builder = BatchBuilder::internal(7, 1);
        builder.push(5, None, Some(&value));
        push(&mut builder, &value);
        let bytes = builder.finish();
        let told = match read_batch(Batch::parse(&bytes).unwrap()) {
            Ok(records) => format!("{records:?}"),
            Err(refused) => refused.to_string(),
        };
        expected.assert_eq(&told);
    }

    #[test]
    fn plain_values_are_records() {
        check(
            |builder, value| builder.push(5, None, Some(value)),
            expect!["[(7, NoOp(NoOpRecord)), (8, NoOp(NoOpRecord))]"],
        );
    }

    #[test]
    fn what_kafka_refuses_is_refused() {
        check(
            |builder, value| builder.push(5, Some(b"k"), Some(value)),
            expect!["metadata log at offset 8: a record with a key"],
        );
        check(
            |builder, _| builder.push(5, None, None),
            expect!["metadata log at offset 8: a record without a value"],
        );
        check(
            |builder, value| builder.push(6, None, Some(value)),
            expect!["metadata log at offset 8: a record with a time of its own"],
        );
        check(
            |builder, value| builder.push_with_headers(5, None, Some(value), &[(b"h", None)]),
            expect!["metadata log at offset 8: a record with headers"],
        );
    }
}

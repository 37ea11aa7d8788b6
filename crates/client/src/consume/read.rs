//! From the bytes of a fetched partition to records: open batches, leave out what comes before the
//! position, what is control, and, when reading committed, what was aborted.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::Offset;
use ottla_protocol::batch::{Batch, CorruptBatch, OPENED_BYTES_MAX, batches};
use ottla_protocol::messages::FetchPartitionData;

use super::aborted::Aborted;
use super::fetch::Wanted;
use super::{ConsumedRecord, ConsumerSettings};
use crate::error::ClientError;

#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) records: Vec<ConsumedRecord>,
    pub(super) next: Offset,
    pub(super) leader_epoch: Option<i32>,
}

pub(super) fn records(
    asked: &Wanted,
    answer: &FetchPartitionData<Bytes>,
    settings: &ConsumerSettings,
) -> Result<Read, ClientError> {
    let mut read = Read {
        next: asked.offset,
        ..Read::default()
    };
    let bytes = answer.records.as_ref().map_or(&[][..], |bytes| &bytes[..]);
    let mut aborted = Aborted::new(answer.aborted_transactions.as_deref().unwrap_or_default());
    for batch in batches(bytes) {
        let result = batch.and_then(|batch| {
            if settings.check_crcs {
                batch.verify_crc()?;
            }
            take_batch(batch, asked, &mut aborted, &mut read)
        });
        result.map_err(|corrupt| ClientError::BadAnswer {
            api: "FetchRequest",
            why: format!("{} at offset {}: {corrupt}", asked.partition, read.next),
        })?;
    }
    Ok(read)
}

fn take_batch(
    batch: Batch<'_>,
    asked: &Wanted,
    aborted: &mut Aborted,
    read: &mut Read,
) -> Result<(), CorruptBatch> {
    if aborted.lets_pass(batch)? {
        for record in batch.payload(OPENED_BYTES_MAX)?.records() {
            let record = record?;
            if record.offset < read.next {
                continue;
            }
            let owned = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
            let headers = record.headers.iter();
            read.records.push(ConsumedRecord {
                topic: Arc::clone(&asked.partition.topic),
                partition: asked.partition.partition,
                offset: record.offset,
                leader_epoch: batch.leader_epoch(),
                timestamp: record.timestamp,
                timestamp_kind: batch.timestamp_kind(),
                key: record.key.map(owned),
                value: record.value.map(owned),
                headers: headers
                    .map(|h| (owned(h.key), h.value.map(owned)))
                    .collect(),
            });
        }
    }
    read.next = read.next.max(batch.next_offset());
    read.leader_epoch = Some(batch.leader_epoch());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
    use ottla_protocol::compress::Codec;
    use ottla_protocol::messages::AbortedTransaction;
    use ottla_protocol::{TopicPartition, Uuid};

    fn batch(base: i64, n: usize, producer: Option<i64>) -> Bytes {
        let mut builder = BatchBuilder::data(Codec::Gzip).base_offset(base);
        if let Some(id) = producer {
            builder = builder.producer(id, 0, 0).transactional();
        }
        for n in 0..n {
            builder.push(5, None, Some(format!("v{n}").as_bytes()));
        }
        builder.finish()
    }

    fn marker(base: i64, producer: i64, is_commit: bool) -> Vec<u8> {
        let marker = EndMarker {
            is_commit,
            coordinator_epoch: 0,
        };
        let mut bytes = marker.batch(producer, 0, 5).to_vec();
        ottla_protocol::batch::stamp(&mut bytes, base, 0);
        bytes
    }

    fn offsets(from: i64, parts: &[&[u8]], aborted: &[(i64, i64)]) -> (Vec<i64>, i64) {
        let asked = Wanted {
            partition: TopicPartition::new("t", 0),
            topic_id: Uuid::ZERO,
            offset: from,
            leader_epoch: -1,
        };
        let aborted = aborted
            .iter()
            .map(|&(producer_id, first_offset)| AbortedTransaction {
                producer_id,
                first_offset,
            });
        let answer = FetchPartitionData {
            aborted_transactions: Some(aborted.collect()),
            records: Some(Bytes::from(parts.concat())),
            ..FetchPartitionData::default()
        };
        let read = records(&asked, &answer, &ConsumerSettings::default()).unwrap();
        (
            read.records.iter().map(|record| record.offset).collect(),
            read.next,
        )
    }

    #[test]
    fn reading_starts_within_a_batch_and_ends_before_a_partial_one() {
        let (first, second) = (batch(10, 3, None), batch(13, 2, None));
        let cut = &second[..second.len() - 1];
        assert_eq!(offsets(11, &[&first, cut], &[]), (vec![11, 12], 13));
        assert_eq!(
            offsets(10, &[&first, &second], &[]),
            (vec![10, 11, 12, 13, 14], 15)
        );
    }

    #[test]
    fn aborted_records_and_markers_are_left_out() {
        let parts = [
            &batch(0, 2, Some(7))[..],
            &batch(2, 1, Some(8)),
            &marker(3, 7, false),
            &batch(4, 1, Some(7)),
            &marker(5, 8, true),
        ];
        assert_eq!(offsets(0, &parts, &[(7, 0)]), (vec![2, 4], 6));
        assert_eq!(offsets(0, &parts, &[]), (vec![0, 1, 2, 4], 6));
    }

    #[test]
    fn a_broken_batch_is_an_error() {
        let mut broken = batch(0, 2, None).to_vec();
        *broken.last_mut().unwrap() ^= 1;
        let asked = Wanted {
            partition: TopicPartition::new("t", 0),
            topic_id: Uuid::ZERO,
            offset: 0,
            leader_epoch: -1,
        };
        let answer = FetchPartitionData {
            records: Some(Bytes::from(broken)),
            ..FetchPartitionData::default()
        };
        assert!(records(&asked, &answer, &ConsumerSettings::default()).is_err());
    }
}

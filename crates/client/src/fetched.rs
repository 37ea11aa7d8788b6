//! Fetched batches into records; what aborted transactions wrote is left out.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::Offset;
use ottla_protocol::batch::{Batch, CorruptBatch, TimestampKind, batches};
use ottla_protocol::batch_builder::EndMarker;
use ottla_protocol::messages::AbortedTransaction;

/// What one batch may decompress to. Far above what a broker accepts by default, and still a bound.
const PAYLOAD_MAX: usize = 1 << 30;

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: Offset,
    pub timestamp: i64,
    pub timestamp_kind: TimestampKind,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// The records at and after `from`, and where to go on. `aborted` is `None` when everything is
/// wanted, committed or not.
pub(crate) fn records(
    topic: &Arc<str>,
    partition: i32,
    bytes: &[u8],
    from: Offset,
    aborted: Option<&[AbortedTransaction]>,
) -> Result<(Vec<Consumed>, Offset), CorruptBatch> {
    let mut aborted = aborted.map(Aborted::new);
    let mut found = Vec::new();
    let mut next = from;
    for batch in batches(bytes) {
        let batch = batch?;
        let header = batch.header();
        next = next.max(header.next_offset());
        let is_aborted = match &mut aborted {
            Some(aborted) => aborted.covers(batch)?,
            None => false,
        };
        if header.is_control() || is_aborted {
            continue;
        }
        let payload = batch.payload(PAYLOAD_MAX)?;
        for record in payload.records() {
            let record = record?;
            if record.offset < from {
                continue;
            }
            let headers = record.headers.iter();
            found.push(Consumed {
                topic: topic.clone(),
                partition,
                offset: record.offset,
                timestamp: record.timestamp,
                timestamp_kind: header.timestamp_kind(),
                key: record.key.map(Bytes::copy_from_slice),
                value: record.value.map(Bytes::copy_from_slice),
                headers: headers
                    .map(|h| {
                        (
                            h.key_text().into_owned(),
                            h.value.map(Bytes::copy_from_slice),
                        )
                    })
                    .collect(),
            });
        }
    }
    Ok((found, next))
}

/// Which producers' transactions are aborted at the batch under hand.
struct Aborted {
    /// By the offset where each begins; those before the batch are taken out.
    begin: BTreeMap<Offset, Vec<i64>>,
    now: HashSet<i64>,
}

impl Aborted {
    fn new(transactions: &[AbortedTransaction]) -> Self {
        let mut begin: BTreeMap<Offset, Vec<i64>> = BTreeMap::new();
        for transaction in transactions {
            begin
                .entry(transaction.first_offset)
                .or_default()
                .push(transaction.producer_id);
        }
        Self {
            begin,
            now: HashSet::new(),
        }
    }

    fn covers(&mut self, batch: Batch<'_>) -> Result<bool, CorruptBatch> {
        let header = batch.header();
        while let Some(entry) = self.begin.first_entry()
            && *entry.key() <= header.last_offset()
        {
            self.now.extend(entry.remove());
        }
        if header.is_control() {
            // The marker ends what was aborted; what the producer writes next is another matter.
            if is_abort(batch)? {
                self.now.remove(&header.producer_id());
            }
            return Ok(false);
        }
        Ok(header.is_transactional() && self.now.contains(&header.producer_id()))
    }
}

fn is_abort(batch: Batch<'_>) -> Result<bool, CorruptBatch> {
    let payload = batch.payload(PAYLOAD_MAX)?;
    let Some(record) = payload.records().next() else {
        return Ok(false);
    };
    let record = record?;
    let marker = EndMarker::parse(
        record.key.unwrap_or_default(),
        record.value.unwrap_or_default(),
    );
    Ok(marker.is_some_and(|marker| !marker.is_commit))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::batch_builder::BatchBuilder;
    use ottla_protocol::compress::Codec;

    use super::*;

    fn data(base: Offset, producer: i64, values: &[&str]) -> Bytes {
        let mut batch = BatchBuilder::data(Codec::Lz4).base_offset(base);
        if producer >= 0 {
            batch = batch.producer(producer, 0, 0).transactional();
        }
        for value in values {
            batch.push(1, None, Some(value.as_bytes()));
        }
        batch.finish()
    }

    fn marker(base: Offset, producer: i64, is_commit: bool) -> Bytes {
        let mut bytes = EndMarker {
            is_commit,
            coordinator_epoch: 0,
        }
        .batch(producer, 0, 1)
        .to_vec();
        ottla_protocol::batch::stamp(&mut bytes, base, 0);
        bytes.into()
    }

    fn seen(bytes: &[Bytes], from: Offset, aborted: Option<&[AbortedTransaction]>) -> String {
        let (found, next) = records(&"t".into(), 0, &bytes.concat(), from, aborted).unwrap();
        let values = found.iter().map(|record| {
            String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
        });
        format!("{} then {next}", values.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_batch_that_begins_before_is_cut() {
        let bytes = [data(0, -1, &["a", "b", "c"]), data(3, -1, &["d"])];
        assert_eq!(seen(&bytes, 1, None), "b c d then 4");
        assert_eq!(seen(&[], 7, None), " then 7");
    }

    #[test]
    fn aborted_transactions_are_left_out() {
        let bytes = [
            data(0, 1, &["a1"]),
            data(1, 2, &["c1"]),
            data(2, -1, &["plain"]),
            marker(3, 1, false),
            data(4, 1, &["c2"]),
            marker(5, 1, true),
            marker(6, 2, true),
        ];
        let aborted = [AbortedTransaction {
            producer_id: 1,
            first_offset: 0,
        }];
        assert_eq!(seen(&bytes, 0, Some(&aborted)), "c1 plain c2 then 7");
        assert_eq!(seen(&bytes, 0, Some(&[])), "a1 c1 plain c2 then 7");
        assert_eq!(seen(&bytes, 0, None), "a1 c1 plain c2 then 7");
    }
}

//! Which batches belong to aborted transactions, and which markers have nothing left to mark.
//! Pure: fed with the batches of a log in their order, and with its transaction index.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use ottla_protocol::batch::Batch;
use ottla_protocol::batch_builder::EndMarker;
use ottla_protocol::{Offset, ProducerId};

use crate::index::AbortedTransaction;

/// A marker is one record of a few bytes.
const MARKER_BYTES_MAX: usize = 64 * 1024;

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    /// Aborted ones that begin further on, by their first offset.
    ahead: BinaryHeap<Reverse<ByFirst>>,
    aborted: HashMap<ProducerId, Aborted>,
    /// Producers with records of a transaction that is not known to be aborted.
    committed: HashSet<ProducerId>,
}

#[derive(Debug)]
struct Aborted {
    entry: AbortedTransaction,
    /// Some of its records are still in the log.
    has_records: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct ByFirst(AbortedTransaction);

impl Ord for ByFirst {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |it: &Self| (it.0.first_offset, it.0.last_offset, it.0.producer_id);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for ByFirst {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What is known of a batch from its place among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Records that count.
    Records,
    /// Records of an aborted transaction: nobody may see them.
    AbortedRecords,
    /// A control batch that is still needed. An abort's entry of the transaction index stays, too.
    Marker { abort: Option<AbortedTransaction> },
    /// A control batch whose transaction has no records left.
    IdleMarker,
}

impl Transactions {
    /// Aborted transactions that touch what comes next. Some may be known already.
    pub(crate) fn add(&mut self, aborted: Vec<AbortedTransaction>) {
        let aborted = aborted.into_iter().map(|entry| Reverse(ByFirst(entry)));
        self.ahead.extend(aborted);
    }

    pub(crate) fn judge(&mut self, batch: Batch<'_>) -> Standing {
        self.begin_up_to(batch.last_offset());
        let id = batch.producer_id();
        if batch.is_control() {
            return self.judge_marker(batch);
        }
        if !batch.is_transactional() {
            return Standing::Records;
        }
        match self.aborted.get_mut(&id) {
            Some(aborted) => {
                aborted.has_records = true;
                Standing::AbortedRecords
            }
            None => {
                self.committed.insert(id);
                Standing::Records
            }
        }
    }

    fn judge_marker(&mut self, batch: Batch<'_>) -> Standing {
        let id = batch.producer_id();
        match content(batch) {
            Content::Nothing => Standing::IdleMarker,
            Content::Other => Standing::Marker { abort: None },
            Content::End { is_commit: true } => match self.committed.remove(&id) {
                true => Standing::Marker { abort: None },
                false => Standing::IdleMarker,
            },
            Content::End { is_commit: false } => match self.aborted.remove(&id) {
                Some(aborted) if aborted.has_records => Standing::Marker {
                    abort: Some(aborted.entry),
                },
                _ => Standing::IdleMarker,
            },
        }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        let is_here = |next: &Reverse<ByFirst>| next.0.0.first_offset <= offset;
        while self.ahead.peek().is_some_and(is_here) {
            let Some(Reverse(ByFirst(entry))) = self.ahead.pop() else {
                return;
            };
            self.aborted.entry(entry.producer_id).or_insert(Aborted {
                entry,
                has_records: false,
            });
        }
    }
}

enum Content {
    /// An earlier round has emptied it.
    Nothing,
    End {
        is_commit: bool,
    },
    /// Not a transaction's, or not readable: kept.
    Other,
}

fn content(batch: Batch<'_>) -> Content {
    let Ok(payload) = batch.payload(MARKER_BYTES_MAX) else {
        return Content::Other;
    };
    match payload.records().next() {
        None => Content::Nothing,
        Some(Err(_)) => Content::Other,
        Some(Ok(record)) => {
            let end = record
                .key
                .zip(record.value)
                .and_then(|(key, value)| EndMarker::parse(key, value));
            end.map_or(Content::Other, |end| Content::End {
                is_commit: end.is_commit,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_protocol::batch::stamp;
    use ottla_protocol::batch_builder::{BatchBuilder, emptied};
    use ottla_protocol::compress::Codec;

    use super::*;

    fn records(offset: Offset, id: ProducerId) -> Bytes {
        let mut builder = BatchBuilder::data(Codec::None)
            .base_offset(offset)
            .producer(id, 0, 0)
            .transactional();
        builder.push(0, Some(b"k"), Some(b"v"));
        builder.finish()
    }

    fn marker(offset: Offset, id: ProducerId, is_commit: bool) -> Bytes {
        let end = EndMarker {
            is_commit,
            coordinator_epoch: 0,
        };
        let mut bytes = end.batch(id, 0, 0).to_vec();
        stamp(&mut bytes, offset, 0);
        bytes.into()
    }

    fn aborted(id: ProducerId, first_offset: Offset, last_offset: Offset) -> AbortedTransaction {
        AbortedTransaction {
            producer_id: id,
            first_offset,
            last_offset,
            last_stable: last_offset + 1,
        }
    }

    fn judge(transactions: &mut Transactions, bytes: &[u8]) -> Standing {
        transactions.judge(Batch::parse(bytes).unwrap())
    }

    #[test]
    fn aborted_records_are_told_from_committed_ones() {
        let mut all = Transactions::default();
        let entry = aborted(2, 1, 4);
        all.add(vec![aborted(1, 7, 9), entry]);
        assert_eq!(judge(&mut all, &records(0, 1)), Standing::Records);
        assert_eq!(judge(&mut all, &records(1, 2)), Standing::AbortedRecords);
        let kept = Standing::Marker { abort: None };
        assert_eq!(judge(&mut all, &marker(3, 1, true)), kept);
        let kept = Standing::Marker { abort: Some(entry) };
        assert_eq!(judge(&mut all, &marker(4, 2, false)), kept);
        // The same producer again: now a transaction that commits, then one that does not.
        assert_eq!(judge(&mut all, &records(5, 2)), Standing::Records);
        assert_eq!(judge(&mut all, &records(7, 1)), Standing::AbortedRecords);
    }

    #[test]
    fn a_marker_is_idle_once_its_records_are_gone() {
        let mut all = Transactions::default();
        all.add(vec![aborted(2, 1, 4), aborted(2, 1, 4)]);
        assert_eq!(judge(&mut all, &marker(3, 1, true)), Standing::IdleMarker);
        assert_eq!(judge(&mut all, &marker(4, 2, false)), Standing::IdleMarker);
        let empty = marker(5, 3, true);
        let empty = emptied(Batch::parse(&empty).unwrap().header());
        assert_eq!(judge(&mut all, &empty), Standing::IdleMarker);
    }

    #[test]
    fn other_control_records_are_left_alone() {
        let mut builder = BatchBuilder::control(0, 0);
        let kind = ottla_protocol::batch_builder::ControlKind::Unknown(77);
        builder.push_control(0, kind, b"");
        let kept = Standing::Marker { abort: None };
        assert_eq!(judge(&mut Transactions::default(), &builder.finish()), kept);
    }
}

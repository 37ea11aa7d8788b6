//! What of each batch survives. Pure.
//!
//! A record goes when its key has a newer one; a tombstone once its delete horizon has passed; what
//! was aborted at once; a marker when its transaction has no records left and its horizon has
//! passed. A batch that holds a producer's last sequence, or the last offset of what is compacted,
//! stays even when it is empty.
//!
//! Messages of old formats become batches of the present one. Their tombstones go once the segment
//! they are in is old enough beside what was compacted before; they have no horizon of their own.

use std::collections::HashMap;

use bytes::Bytes;
use ottla_protocol::batch::legacy::{LegacyBatch, LegacyRecord};
use ottla_protocol::batch::{Batch, CorruptBatch, Header, OPENED_BYTES_MAX, Record};
use ottla_protocol::batch_builder::{converted, emptied, hollow, survivors};
use ottla_protocol::{Offset, ProducerEpoch, ProducerId};

use super::newest::Newest;
use super::transactions::{Standing, Transactions};
use crate::index::AbortedTransaction;

/// What must outlive a producer's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastOfProducer {
    /// The last offset of its newest batch of records, if it has one.
    pub(crate) offset: Option<Offset>,
    pub(crate) epoch: ProducerEpoch,
}

pub(crate) type LastOfProducers = HashMap<ProducerId, LastOfProducer>;

/// How one round of compaction decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) now_ms: i64,
    pub(crate) delete_retention_ms: i64,
    /// Behind the last offset that this round may touch.
    pub(crate) end: Offset,
    /// Tombstones of old formats stay.
    pub(crate) keeps_old_tombstones: bool,
}

impl Terms {
    /// From when on a tombstone that is seen now may go.
    fn horizon(&self) -> i64 {
        self.now_ms.saturating_add(self.delete_retention_ms)
    }
}

/// See the head of this file.
pub(crate) struct Sieve<'a> {
    pub(crate) newest: &'a Newest,
    pub(crate) transactions: &'a mut Transactions,
    pub(crate) lasts: &'a LastOfProducers,
    pub(crate) terms: Terms,
}

/// What is to be written in place of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    Whole,
    Rewritten(Bytes),
    Nothing,
}

/// A batch that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sifted {
    pub(crate) kept: Kept,
    /// The entry of the transaction index that goes with it.
    pub(crate) abort: Option<AbortedTransaction>,
    pub(crate) n_read: u64,
    pub(crate) n_kept: u64,
    /// Records without a key, which nothing can be said of.
    pub(crate) n_invalid: u64,
}

/// What of a record one decides by.
#[derive(Debug, Clone, Copy)]
struct Seen<'a> {
    offset: Offset,
    key: Option<&'a [u8]>,
    is_tombstone: bool,
}

impl<'a> Seen<'a> {
    fn of(record: Record<'a>) -> Self {
        Self {
            offset: record.offset,
            key: record.key,
            is_tombstone: record.value.is_none(),
        }
    }

    fn of_legacy(record: LegacyRecord<'a>) -> Self {
        Self {
            offset: record.offset,
            key: record.key,
            is_tombstone: record.value.is_none(),
        }
    }
}

/// Which records of a batch stay.
struct Choice {
    keep: Vec<bool>,
    n_kept: usize,
    n_invalid: u64,
    has_tombstones: bool,
}

impl Sieve<'_> {
    pub(crate) fn sift(&mut self, batch: Batch<'_>) -> Result<Sifted, CorruptBatch> {
        let standing = self.transactions.judge(batch);
        let horizon = batch.delete_horizon();
        let is_past = horizon.is_some_and(|horizon| horizon <= self.terms.now_ms);
        let payload = batch.payload(OPENED_BYTES_MAX)?;
        let records = payload.records().map(|it| it.map(Seen::of));
        let choice = match standing {
            Standing::AbortedRecords => choose(records, |_| Some(false))?,
            Standing::IdleMarker if is_past => choose(records, |_| Some(false))?,
            Standing::IdleMarker | Standing::Marker { .. } => choose(records, |_| Some(true))?,
            Standing::Records => choose(records, |record| self.keeps(record, is_past))?,
        };
        let is_to_go = choice.has_tombstones || standing == Standing::IdleMarker;
        let new_horizon = (is_to_go && horizon.is_none()).then(|| self.terms.horizon());
        let kept = if choice.n_kept == 0 {
            match self.must_stay(*batch) {
                true => Kept::Rewritten(emptied(batch.header())),
                false => Kept::Nothing,
            }
        } else if choice.n_kept == choice.keep.len() && new_horizon.is_none() {
            Kept::Whole
        } else {
            let mut keep = choice.keep.iter().copied();
            let is_kept = |_: &Record<'_>| keep.next().unwrap_or(true);
            Kept::Rewritten(survivors(
                batch,
                &payload,
                new_horizon.or(horizon),
                is_kept,
            )?)
        };
        let abort = match standing {
            Standing::Marker { abort } => abort,
            _ => None,
        };
        Ok(Sifted {
            kept,
            abort,
            n_read: choice.keep.len() as u64,
            n_kept: choice.n_kept as u64,
            n_invalid: choice.n_invalid,
        })
    }

    /// The same for a message of an old format.
    pub(crate) fn sift_legacy(&self, batch: LegacyBatch<'_>) -> Result<Sifted, CorruptBatch> {
        let payload = batch.payload(OPENED_BYTES_MAX)?;
        let records = payload.records().map(|it| it.map(Seen::of_legacy));
        let may_go = !self.terms.keeps_old_tombstones;
        let choice = choose(records, |record| self.keeps(record, may_go))?;
        let horizon = choice.has_tombstones.then(|| self.terms.horizon());
        let mut keep = choice.keep.iter().copied();
        let is_kept = |_: &LegacyRecord<'_>| keep.next().unwrap_or(true);
        let is_last = batch.last_offset().checked_add(1) == Some(self.terms.end);
        let kept = match converted(batch, &payload, horizon, is_kept)? {
            Some(bytes) => Kept::Rewritten(bytes),
            None if is_last => Kept::Rewritten(hollow(batch)),
            None => Kept::Nothing,
        };
        Ok(Sifted {
            kept,
            abort: None,
            n_read: choice.keep.len() as u64,
            n_kept: choice.n_kept as u64,
            n_invalid: choice.n_invalid,
        })
    }

    /// `None`: a record without a key, which goes.
    fn keeps(&self, record: Seen<'_>, may_tombstones_go: bool) -> Option<bool> {
        if record.offset > self.newest.latest() {
            return Some(true);
        }
        let is_newest = record.offset >= self.newest.newest(record.key?);
        Some(is_newest && (!record.is_tombstone || !may_tombstones_go))
    }

    fn must_stay(&self, batch: Header<'_>) -> bool {
        if batch.next_offset() == self.terms.end {
            return true;
        }
        if !batch.has_producer_id() {
            return false;
        }
        let last = self.lasts.get(&batch.producer_id());
        last.is_some_and(|last| match last.offset {
            Some(offset) => batch.last_offset() == offset,
            // All that is left of it is a marker, which has the epoch that fences older ones off.
            None => batch.is_control() && batch.producer_epoch() == last.epoch,
        })
    }
}

fn choose<'a>(
    records: impl Iterator<Item = Result<Seen<'a>, CorruptBatch>>,
    keeps: impl Fn(Seen<'_>) -> Option<bool>,
) -> Result<Choice, CorruptBatch> {
    let mut choice = Choice {
        keep: Vec::new(),
        n_kept: 0,
        n_invalid: 0,
        has_tombstones: false,
    };
    for record in records {
        let record = record?;
        let keep = keeps(record);
        choice.n_invalid += u64::from(keep.is_none());
        let keep = keep.unwrap_or(false);
        choice.n_kept += usize::from(keep);
        choice.has_tombstones |= keep && record.is_tombstone;
        choice.keep.push(keep);
    }
    Ok(choice)
}

#[cfg(test)]
mod tests {
    use ottla_protocol::batch::legacy::written::{message, packed};
    use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
    use ottla_protocol::compress::Codec;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn terms() -> Terms {
        Terms {
            now_ms: NOW,
            delete_retention_ms: 500,
            end: 1000,
            keeps_old_tombstones: true,
        }
    }

    fn batch(base: Offset, records: &[(&str, Option<&str>)]) -> Bytes {
        build(BatchBuilder::data(Codec::None).base_offset(base), records)
    }

    fn build(mut builder: BatchBuilder, records: &[(&str, Option<&str>)]) -> Bytes {
        for (key, value) in records {
            let key = Some(key.as_bytes()).filter(|key| !key.is_empty());
            builder.push(77, key, value.map(str::as_bytes));
        }
        builder.finish()
    }

    fn newest(keys: &[(&str, Offset)], latest: Offset) -> Newest {
        let mut newest = Newest::new(1 << 20, 0.9);
        for (key, offset) in keys {
            newest.put(key.as_bytes(), *offset).unwrap();
        }
        newest.looked_up_to(latest);
        newest
    }

    fn sift(bytes: &[u8], newest: &Newest, lasts: &LastOfProducers, terms: Terms) -> Sifted {
        let mut transactions = Transactions::default();
        let mut sieve = Sieve {
            newest,
            transactions: &mut transactions,
            lasts,
            terms,
        };
        sieve.sift(Batch::parse(bytes).unwrap()).unwrap()
    }

    fn offsets(kept: &Kept) -> (Vec<Offset>, Option<i64>) {
        let Kept::Rewritten(bytes) = kept else {
            panic!("{kept:?}");
        };
        let batch = Batch::parse(bytes).unwrap();
        batch.verify_crc().unwrap();
        let payload = batch.payload(1 << 20).unwrap();
        let offsets = payload.records().map(|record| record.unwrap().offset);
        (offsets.collect(), batch.delete_horizon())
    }

    #[test]
    fn the_newest_of_each_key_stays() {
        let bytes = batch(10, &[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
        let none = LastOfProducers::new();
        let all = newest(&[("a", 10), ("b", 11), ("c", 12)], 12);
        assert_eq!(sift(&bytes, &all, &none, terms()).kept, Kept::Whole);
        let some = newest(&[("a", 50), ("b", 11)], 60);
        let sifted = sift(&bytes, &some, &none, terms());
        assert_eq!(offsets(&sifted.kept), (vec![11, 12], None));
        assert_eq!((sifted.n_read, sifted.n_kept), (3, 2));
        let nothing = newest(&[("a", 50), ("b", 51), ("c", 52)], 60);
        assert_eq!(sift(&bytes, &nothing, &none, terms()).kept, Kept::Nothing);
        // What was not looked at cannot be judged.
        let short = newest(&[("a", 50)], 10);
        let sifted = sift(&bytes, &short, &none, terms());
        assert_eq!(offsets(&sifted.kept), (vec![11, 12], None));
    }

    #[test]
    fn a_record_without_a_key_goes() {
        let bytes = batch(10, &[("", Some("1")), ("b", Some("2"))]);
        let sifted = sift(&bytes, &newest(&[], 60), &LastOfProducers::new(), terms());
        assert_eq!(offsets(&sifted.kept).0, [11]);
        assert_eq!(sifted.n_invalid, 1);
    }

    #[test]
    fn a_tombstone_gets_a_horizon_and_goes_when_it_has_passed() {
        let bytes = batch(10, &[("a", None), ("b", Some("2"))]);
        let (keys, none) = (newest(&[], 60), LastOfProducers::new());
        let first = sift(&bytes, &keys, &none, terms()).kept;
        assert_eq!(offsets(&first), (vec![10, 11], Some(NOW + 500)));
        let Kept::Rewritten(bytes) = first else {
            panic!();
        };
        let at = |now_ms| Terms { now_ms, ..terms() };
        let early = sift(&bytes, &keys, &none, at(NOW + 499)).kept;
        assert_eq!(early, Kept::Whole);
        let late = sift(&bytes, &keys, &none, at(NOW + 500)).kept;
        assert_eq!(offsets(&late), (vec![11], Some(NOW + 500)));
    }

    fn sift_legacy(bytes: &[u8], newest: &Newest, terms: Terms) -> Sifted {
        let sieve = Sieve {
            newest,
            transactions: &mut Transactions::default(),
            lasts: &LastOfProducers::new(),
            terms,
        };
        sieve
            .sift_legacy(LegacyBatch::parse(bytes).unwrap())
            .unwrap()
    }

    #[test]
    fn messages_of_old_formats_become_batches() {
        let mut inner = message(1, 0, (0, 50), Some(b"a"), Some(b"1"));
        inner.extend(message(1, 0, (1, 60), Some(b"b"), None));
        inner.extend(message(1, 0, (2, 60), None, Some(b"no key")));
        inner.extend(message(1, 0, (3, 60), Some(b"a"), Some(b"2")));
        let bytes = packed(1, Codec::Lz4, (23, 60), &inner);
        let keys = newest(&[("a", 23), ("b", 21)], 60);
        let sifted = sift_legacy(&bytes, &keys, terms());
        assert_eq!(offsets(&sifted.kept), (vec![21, 23], Some(NOW + 500)));
        assert_eq!((sifted.n_read, sifted.n_kept, sifted.n_invalid), (4, 2, 1));
        let late = Terms {
            keeps_old_tombstones: false,
            ..terms()
        };
        let sifted = sift_legacy(&bytes, &keys, late);
        assert_eq!(offsets(&sifted.kept), (vec![23], None));
        let newer = newest(&[("a", 50), ("b", 51)], 60);
        assert_eq!(sift_legacy(&bytes, &newer, late).kept, Kept::Nothing);
        let last = Terms { end: 24, ..late };
        assert_eq!(
            offsets(&sift_legacy(&bytes, &newer, last).kept),
            (vec![], None)
        );
        // One whole message has no need to go, and becomes a batch all the same.
        let bytes = message(0, 0, (21, 0), Some(b"b"), Some(b"v"));
        assert_eq!(
            offsets(&sift_legacy(&bytes, &keys, terms()).kept),
            (vec![21], None)
        );
    }

    #[test]
    fn an_empty_batch_keeps_a_last_sequence_and_the_end() {
        let builder = BatchBuilder::data(Codec::Lz4)
            .base_offset(10)
            .producer(4, 1, 0);
        let bytes = build(builder, &[("a", Some("1")), ("a", Some("2"))]);
        let keys = newest(&[("a", 50)], 60);
        let last = |offset| LastOfProducers::from([(4, LastOfProducer { offset, epoch: 1 })]);
        let kept = |lasts: &LastOfProducers, terms| sift(&bytes, &keys, lasts, terms).kept;
        assert_eq!(
            kept(&last(Some(11)), terms()),
            Kept::Rewritten(emptied(Batch::parse(&bytes).unwrap().header()))
        );
        assert_eq!(kept(&last(Some(12)), terms()), Kept::Nothing);
        assert_eq!(kept(&last(None), terms()), Kept::Nothing);
        let at_the_end = Terms { end: 12, ..terms() };
        assert!(
            offsets(&kept(&LastOfProducers::new(), at_the_end))
                .0
                .is_empty()
        );
    }

    #[test]
    fn an_idle_marker_goes_like_a_tombstone_but_the_last_one_of_a_producer_stays_empty() {
        let end = EndMarker {
            is_commit: true,
            coordinator_epoch: 3,
        };
        let bytes = end.batch(4, 1, 77);
        let (keys, none) = (newest(&[], 60), LastOfProducers::new());
        let marked = sift(&bytes, &keys, &none, terms()).kept;
        assert_eq!(offsets(&marked), (vec![0], Some(NOW + 500)));
        let Kept::Rewritten(bytes) = marked else {
            panic!();
        };
        let late = Terms {
            now_ms: NOW + 500,
            ..terms()
        };
        assert_eq!(sift(&bytes, &keys, &none, late).kept, Kept::Nothing);
        let offset = None;
        let last = LastOfProducers::from([(4, LastOfProducer { offset, epoch: 1 })]);
        assert!(offsets(&sift(&bytes, &keys, &last, late).kept).0.is_empty());
    }
}

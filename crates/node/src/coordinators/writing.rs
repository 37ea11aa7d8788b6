//! What decisions have to write, as batches: those that may stand in one do.

use bytes::Bytes;
use ottla_coordinators::{Batch, Decision, Now, Origin};
use ottla_protocol::batch::NO_SEQUENCE;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::{Offset, Refusal};

use super::ledger::Ledger;

/// A batch takes no more in when it would be larger. A decision's own may be larger than that.
const SHARED_BYTES_MAX: usize = 64 << 10;

/// What a record adds to its key and value at most: lengths, differences, attributes.
const RECORD_OVERHEAD_MAX: usize = 32;

/// What became of one decision's batches.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// The first offset of each batch that stands in the log now.
    pub(super) firsts: Vec<Offset>,
    /// Why the batch after these does not.
    pub(super) refused: Option<Refusal>,
}

/// Writes all of them in their order. A batch that is refused is so for those whose records it has,
/// and of them nothing more is written: what is wrong with it is nobody else's affair, but of those
/// who rest on them: of each decision `rests_on` says which one that is, if any. `to_log` appends a
/// batch and tells its offset; it takes batches of at most `batch_bytes_max`.
pub(super) fn append<L: Ledger>(
    decisions: &[Decision<L::Record, L::Reply>],
    rests_on: &[Option<usize>],
    now: Now,
    batch_bytes_max: usize,
    to_log: impl FnMut(&Bytes) -> Result<Offset, Refusal>,
) -> Vec<Written> {
    let mut writing = Writing {
        to_log,
        shared_bytes_max: SHARED_BYTES_MAX.min(batch_bytes_max),
        open: BatchBuilder::internal(0, 0),
        parts: Vec::new(),
        rests_on,
        written: decisions.iter().map(|_| Written::default()).collect(),
    };
    for (place, decision) in decisions.iter().enumerate() {
        for batch in &decision.batches {
            writing.one::<L>(place, batch, now);
        }
    }
    writing.close();
    // Also those that have nothing to write.
    (0..decisions.len()).for_each(|place| writing.share_fate(place));
    writing.written
}

struct Writing<'a, ToLog> {
    to_log: ToLog,
    shared_bytes_max: usize,
    open: BatchBuilder,
    /// Whose records are in the open batch, and how many stand before them.
    parts: Vec<(usize, Offset)>,
    /// Of each decision the one before it that it rests on.
    rests_on: &'a [Option<usize>],
    written: Vec<Written>,
}

impl<ToLog: FnMut(&Bytes) -> Result<Offset, Refusal>> Writing<'_, ToLog> {
    fn one<L: Ledger>(&mut self, place: usize, batch: &Batch<L::Record>, now: Now) {
        let encoded: Vec<_> = batch.records.iter().map(L::encode).collect();
        let size = |(key, value): &(Bytes, Option<Bytes>)| {
            key.len() + value.as_ref().map_or(0, Bytes::len) + RECORD_OVERHEAD_MAX
        };
        let n_bytes: usize = encoded.iter().map(size).sum();
        let is_plain = batch.origin == Origin::Plain;
        if !is_plain || self.open.size() + n_bytes > self.shared_bytes_max {
            self.close();
        }
        // Perhaps just now.
        self.share_fate(place);
        if self.is_refused(place) {
            return;
        }
        if let Origin::Transactional { producer, epoch } = batch.origin {
            self.open = BatchBuilder::internal(0, 0)
                .producer(producer, epoch, NO_SEQUENCE)
                .transactional();
        }
        self.parts.push((place, self.open.n_records().into()));
        for (key, value) in &encoded {
            self.open.push(now.wall_ms, Some(key), value.as_deref());
        }
        if !is_plain {
            self.close();
        }
    }

    /// A decision is refused with the one that it rests on.
    fn share_fate(&mut self, place: usize) {
        let before = self.rests_on.get(place).copied().flatten();
        let before = before.and_then(|before| self.written.get(before));
        let refused = before.and_then(|before| before.refused);
        if let Some(written) = self.written.get_mut(place) {
            written.refused = written.refused.or(refused);
        }
    }

    fn is_refused(&self, place: usize) -> bool {
        let written = self.written.get(place);
        written.is_some_and(|written| written.refused.is_some())
    }

    /// Appends what is open.
    fn close(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.open, BatchBuilder::internal(0, 0));
        let appended = (self.to_log)(&batch.finish());
        for (place, n_before) in self.parts.drain(..) {
            let Some(written) = self.written.get_mut(place) else {
                continue;
            };
            match appended {
                Ok(first) => written.firsts.push(first + n_before),
                Err(refusal) => written.refused = Some(refusal),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinators::Groups;
    use ottla_coordinators::group::records::{GroupRecord, OffsetCommitKey};
    use ottla_coordinators::{Answer, GroupReply};
    use ottla_protocol::Text;
    use std::time::Duration;

    const NOW: Now = Now {
        monotonic: Duration::ZERO,
        wall_ms: 5,
    };
    const IN_TRANSACTION: Origin = Origin::Transactional {
        producer: 7,
        epoch: 1,
    };

    /// A decision with batches of so many records, whose keys are so long.
    fn decision(
        batches: &[(usize, Origin)],
        key_bytes: usize,
    ) -> Decision<GroupRecord, GroupReply> {
        let record = GroupRecord::OffsetCommit {
            key: OffsetCommitKey {
                group_id: Text::from("g".repeat(key_bytes)),
                topic: "t".into(),
                partition: 0,
            },
            value: None,
        };
        let batches = batches.iter().map(|(n, origin)| Batch {
            records: vec![record.clone(); *n],
            origin: *origin,
        });
        Decision {
            batches: batches.collect(),
            reply: Answer::Nobody,
            released: Vec::new(),
            deadline: None,
        }
    }

    /// A log that takes so many batches: how many records each had, and what became of all.
    fn appended(
        decisions: &[Decision<GroupRecord, GroupReply>],
        n_batches: usize,
    ) -> (Vec<i32>, Vec<Written>) {
        appended_below(1 << 20, decisions, n_batches)
    }

    fn appended_below(
        batch_bytes_max: usize,
        decisions: &[Decision<GroupRecord, GroupReply>],
        n_batches: usize,
    ) -> (Vec<i32>, Vec<Written>) {
        appended_unless(batch_bytes_max, decisions, |batch, n_before| {
            assert!(batch.len() <= batch_bytes_max);
            (n_before == n_batches).then_some(Refusal::KafkaStorageError)
        })
    }

    /// A log that says what is wrong with a batch, of which it has taken so many before.
    fn appended_unless(
        batch_bytes_max: usize,
        decisions: &[Decision<GroupRecord, GroupReply>],
        wrong: impl Fn(&[u8], usize) -> Option<Refusal>,
    ) -> (Vec<i32>, Vec<Written>) {
        appended_resting(batch_bytes_max, decisions, &[], wrong)
    }

    fn appended_resting(
        batch_bytes_max: usize,
        decisions: &[Decision<GroupRecord, GroupReply>],
        rests_on: &[Option<usize>],
        wrong: impl Fn(&[u8], usize) -> Option<Refusal>,
    ) -> (Vec<i32>, Vec<Written>) {
        let mut sizes: Vec<i32> = Vec::new();
        let written = append::<Groups>(decisions, rests_on, NOW, batch_bytes_max, |batch| {
            if let Some(refusal) = wrong(batch, sizes.len()) {
                return Err(refusal);
            }
            let first = 100 + i64::from(sizes.iter().sum::<i32>());
            // Where a batch says how many records it has.
            sizes.push(i32::from_be_bytes(batch[57..61].try_into().unwrap()));
            Ok(first)
        });
        (sizes, written)
    }

    fn written(firsts: &[Offset], refused: Option<Refusal>) -> Written {
        Written {
            firsts: firsts.to_vec(),
            refused,
        }
    }

    #[test]
    fn small_decisions_share_a_batch() {
        let plain = |n| decision(&[(n, Origin::Plain)], 1);
        let (sizes, found) = appended(&[plain(1), plain(3), plain(2)], 9);
        assert_eq!(sizes, [6]);
        let expected = [100, 101, 104].map(|first| written(&[first], None));
        assert_eq!(found, expected);
        assert_eq!(appended(&[], 9), (vec![], vec![]));
    }

    #[test]
    fn what_is_in_a_transaction_stands_alone() {
        let mixed = decision(&[(1, Origin::Plain), (2, IN_TRANSACTION)], 1);
        let (sizes, found) = appended(&[mixed.clone(), mixed], 9);
        assert_eq!(sizes, [1, 2, 1, 2]);
        let expected = [written(&[100, 101], None), written(&[103, 104], None)];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_large_is_not_made_larger() {
        let large = || decision(&[(1, Origin::Plain)], 30_000);
        let small = || decision(&[(1, Origin::Plain)], 1);
        let huge = decision(&[(5, Origin::Plain)], 30_000);
        let (sizes, _) = appended(&[large(), small(), large(), large(), huge, small()], 9);
        assert_eq!(sizes, [3, 1, 5, 1]);
    }

    #[test]
    fn a_shared_batch_is_one_that_the_topic_takes() {
        let decisions = vec![decision(&[(1, Origin::Plain)], 100); 20];
        let (sizes, found) = appended_below(1000, &decisions, 99);
        assert_eq!(sizes.iter().sum::<i32>(), 20);
        assert!(sizes.iter().all(|n| (2..10).contains(n)), "{sizes:?}");
        assert_eq!(found.last(), Some(&written(&[119], None)));
    }

    #[test]
    fn a_log_that_takes_nothing_more_is_told_to_all() {
        let half = decision(&[(2, Origin::Plain)], 20_000);
        let two = decision(&[(1, Origin::Plain), (1, Origin::Plain)], 1);
        let refused = Some(Refusal::KafkaStorageError);
        let (sizes, found) = appended(&[half.clone(), two.clone(), half.clone(), two], 1);
        assert_eq!(sizes, [4]);
        let expected = [
            written(&[100], None),
            written(&[102, 103], None),
            written(&[], refused),
            written(&[], refused),
        ];
        assert_eq!(found, expected);
        assert_eq!(appended(&[half], 0).1, [written(&[], refused)]);
    }

    #[test]
    fn what_is_wrong_with_one_is_nobody_elses_affair() {
        let small = || decision(&[(1, Origin::Plain)], 1);
        let huge = decision(&[(5, Origin::Plain)], 30_000);
        let zombie = decision(
            &[(1, Origin::Plain), (1, IN_TRANSACTION), (1, Origin::Plain)],
            1,
        );
        let all = [small(), huge, small(), zombie, small()];
        let (sizes, found) = appended_unless(1 << 20, &all, |batch, _| {
            // Where a batch says that it belongs to a transaction.
            let is_transactional = batch[22] & 0x10 != 0;
            let is_huge = batch.len() > 100_000;
            let wrong = is_huge.then_some(Refusal::MessageTooLarge);
            wrong.or(is_transactional.then_some(Refusal::InvalidProducerEpoch))
        });
        assert_eq!(sizes, [1, 2, 1]);
        let expected = [
            written(&[100], None),
            written(&[], Some(Refusal::MessageTooLarge)),
            written(&[101], None),
            written(&[102], Some(Refusal::InvalidProducerEpoch)),
            written(&[103], None),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn who_rests_on_what_is_refused_is_refused() {
        let small = || decision(&[(1, Origin::Plain)], 1);
        let nothing = || decision(&[], 1);
        let huge = decision(&[(5, Origin::Plain)], 30_000);
        let all = [
            nothing(),
            huge,
            small(),
            nothing(),
            small(),
            small(),
            nothing(),
        ];
        let rests_on = [None, None, Some(1), Some(2), None, Some(2), Some(4)];
        let (sizes, found) = appended_resting(1 << 20, &all, &rests_on, |batch, _| {
            (batch.len() > 100_000).then_some(Refusal::MessageTooLarge)
        });
        assert_eq!(sizes, [1]);
        let refused = || written(&[], Some(Refusal::MessageTooLarge));
        let expected = [
            written(&[], None),
            refused(),
            refused(),
            refused(),
            written(&[100], None),
            refused(),
            written(&[], None),
        ];
        assert_eq!(found, expected);
    }
}

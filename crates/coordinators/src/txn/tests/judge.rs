//! Judges a log of `__transaction_state`, and what the host was asked to do, without knowing how
//! the ledger came to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::messages::EndTxnRequest;
use ottla_protocol::{ProducerEpoch, ProducerId};

use crate::txn::{
    Markers, Partitions, Transaction, TransactionState, TransactionVersion, TxnRecord,
};

#[derive(Default)]
pub(super) struct Judge {
    /// The latest record of each id, its version, and where it stands.
    latest: BTreeMap<Arc<str>, (Transaction, i16, usize)>,
    n_records: usize,
    n_committed: usize,
    /// To whom a producer id belongs, and its highest epoch.
    producers: BTreeMap<ProducerId, (Arc<str>, ProducerEpoch)>,
    /// How the transactions that ended with an epoch of their own have ended.
    ends: BTreeMap<(ProducerId, ProducerEpoch), bool>,
    /// All prepared epochs, and how: an epoch of the old protocol may have both.
    prepared: BTreeSet<(ProducerId, ProducerEpoch, bool)>,
    /// What producers were told to use.
    granted: BTreeSet<(ProducerId, ProducerEpoch)>,
    /// Demands that have been looked at.
    pub(super) n_demands: usize,
    coordinator_epoch: i32,
    /// Where markers are, of what is prepared now.
    written: BTreeMap<Arc<str>, Partitions>,
}

impl Judge {
    /// A record has been appended; which state it came from and which it leads to.
    pub(super) fn appended(&mut self, record: &TxnRecord) -> (&'static str, &'static str) {
        let id = &record.transactional_id;
        let place = self.n_records;
        self.n_records += 1;
        let former = self.latest.get(id).map(|(former, ..)| former.clone());
        let from = former.as_ref().map_or("none", |former| former.state.name());
        let Some(next) = &record.transaction else {
            let former = former.expect("a tombstone forgets something");
            assert!(
                TransactionState::Dead.may_follow(former.state),
                "{former:?}"
            );
            self.latest.remove(id);
            return (from, "none");
        };
        if let Some(former) = &former {
            assert!(
                next.state.may_follow(former.state),
                "{former:?} to {next:?}"
            );
            assert!(next.update_ms >= former.update_ms, "time goes on");
            self.check_step(id, former, next);
        } else {
            assert_eq!(next.state, TransactionState::Empty, "{next:?}");
        }
        self.check_epoch(id, former.as_ref(), next);
        if next.state.is_prepared() {
            self.prepare(next);
            self.written.insert(id.clone(), Partitions::default());
        }
        let latest = (next.clone(), record.value_version, place);
        self.latest.insert(id.clone(), latest);
        (from, next.state.name())
    }

    /// These records are no producer's wish: whoever has a transaction open is to be shut out.
    pub(super) fn shut_out(&self, records: &[TxnRecord]) {
        for record in records {
            let former = self.latest.get(&record.transactional_id);
            if let (Some((former, ..)), Some(next)) = (former, &record.transaction)
                && former.state == TransactionState::Ongoing
                && next.state.is_prepared()
            {
                assert_eq!(next.state, TransactionState::PrepareAbort);
                let is_last = former.epoch == ProducerEpoch::MAX;
                assert!(
                    next.epoch > former.epoch || is_last,
                    "{former:?} is not shut out"
                );
            }
        }
    }

    fn check_step(&self, id: &Arc<str>, former: &Transaction, next: &Transaction) {
        use TransactionState::*;
        match next.state {
            PrepareCommit | PrepareAbort => {
                assert_eq!(next.partitions, former.partitions, "all are to be told");
            }
            CompleteCommit | CompleteAbort => {
                let written = &self.written[id];
                assert!(
                    written.contains_all(&former.partitions),
                    "{id} is complete, but {:?} is all that has markers of {former:?}",
                    written
                );
                assert!(next.partitions.is_empty());
            }
            Ongoing => assert!(next.partitions.contains_all(&former.partitions)),
            _ => assert!(next.partitions.is_empty() && next.start_ms == -1),
        }
    }

    /// Epochs never go back, and a producer id belongs to one transactional id for ever.
    fn check_epoch(&mut self, id: &Arc<str>, former: Option<&Transaction>, next: &Transaction) {
        let entry = self.producers.entry(next.producer_id);
        let known = entry.or_insert_with(|| (id.clone(), next.epoch));
        assert_eq!(&known.0, id, "producer {} changes hands", next.producer_id);
        assert!(next.epoch >= known.1, "{} after {}", next.epoch, known.1);
        known.1 = next.epoch;
        let changed = former.filter(|former| former.producer_id != next.producer_id);
        if let Some(former) = changed {
            assert_eq!(next.epoch, 0, "a new id begins anew");
            assert_eq!(next.previous_producer_id, former.producer_id);
            assert!(
                former.epoch >= ProducerEpoch::MAX - 1,
                "{former:?} was not exhausted"
            );
        }
    }

    fn prepare(&mut self, next: &Transaction) {
        let committed = next.state == TransactionState::PrepareCommit;
        let end = (next.producer_id, next.epoch);
        if next.client_version == TransactionVersion::V2 {
            let former = self.ends.insert(end, committed);
            // The epoch above the last is the one that nobody can raise any more.
            let is_last = next.epoch == ProducerEpoch::MAX;
            assert!(former.is_none() || is_last, "{end:?} ends twice");
            assert!(
                former.is_none_or(|former| former == committed),
                "{end:?} ends both ways"
            );
        }
        self.prepared.insert((end.0, end.1, committed));
    }

    /// Whether a producer has been told something that nobody was told before.
    pub(super) fn granted(&mut self, id: &str, producer: ProducerId, epoch: ProducerEpoch) -> bool {
        // Fencing leaves an epoch that nobody holds: what is granted may be ahead of the log only
        // by a rotation that is still to come.
        let (latest, ..) = &self.latest[id];
        let is_here = (latest.producer_id, latest.epoch) == (producer, epoch);
        let is_next = latest.next_producer_id == producer && epoch == 0;
        assert!(is_here || is_next, "{producer}/{epoch} is not {latest:?}");
        self.granted.insert((producer, epoch))
    }

    /// A producer was told that its transaction has ended as it wished.
    pub(super) fn ended(&self, request: &EndTxnRequest, version: i16) {
        let epoch = match version {
            5.. => request.producer_epoch.saturating_add(1),
            _ => request.producer_epoch,
        };
        let end = (request.producer_id, epoch, request.committed);
        // The state alone tells the old protocol that the end was asked for before.
        let (latest, ..) = &self.latest[&*request.transactional_id];
        let is_over = match request.committed {
            true => latest.state == TransactionState::CompleteCommit,
            false => latest.state == TransactionState::CompleteAbort,
        };
        let is_taken_for_again = version < 5
            && is_over
            && (latest.producer_id, latest.epoch) == (request.producer_id, request.producer_epoch);
        assert!(
            self.prepared.contains(&end) || is_taken_for_again,
            "{end:?} was never decided"
        );
    }

    /// Demands are for what is prepared, all of it, and only once that is committed.
    pub(super) fn demanded(&mut self, new: &[Markers], is_stalled: bool) {
        if !is_stalled {
            self.n_committed = self.n_records;
        }
        for demand in new {
            let (latest, _, place) = &self.latest[&demand.transactional_id];
            assert!(latest.state.is_prepared(), "{demand:?} for {latest:?}");
            assert_eq!(demand.partitions, latest.partitions);
            assert_eq!(demand.producer_id, latest.producer_id);
            assert_eq!(demand.producer_epoch, latest.epoch);
            let is_commit = latest.state == TransactionState::PrepareCommit;
            assert_eq!(demand.committed, is_commit);
            let level = latest.client_version.level();
            assert_eq!(i16::from(demand.transaction_version), level);
            assert!(*place < self.n_committed, "not committed");
        }
        self.n_demands += new.len();
    }

    /// Leaders have written these markers.
    pub(super) fn reported(&mut self, demand: &Markers, done: &Partitions) {
        let Some((latest, ..)) = self.latest.get(&demand.transactional_id) else {
            return;
        };
        let is_commit = latest.state == TransactionState::PrepareCommit;
        let is_meant = latest.state.is_prepared()
            && demand.coordinator_epoch == self.coordinator_epoch
            && (latest.producer_id, latest.epoch) == (demand.producer_id, demand.producer_epoch)
            && demand.committed == is_commit;
        if let Some(written) = self.written.get_mut(&demand.transactional_id)
            && is_meant
        {
            written.extend(done);
        }
    }

    /// Markers are asked for again from now on.
    pub(super) fn coordinator_died(&mut self) {
        self.coordinator_epoch += 1;
        for written in self.written.values_mut() {
            *written = Partitions::default();
        }
        // What is not stored is forgotten: next ids of records without room for them, too.
        for (latest, version, _) in self.latest.values_mut() {
            if *version == 0 {
                latest.next_producer_id = -1;
                latest.client_version = TransactionVersion::V0;
            }
        }
    }

    pub(super) fn value_version(&self, id: &str) -> i16 {
        self.latest[id].1
    }

    /// A producer id that nobody has had.
    pub(super) fn next_fresh_id(&self) -> ProducerId {
        let mut highest = self.producers.keys().next_back().copied().unwrap_or(0);
        for (latest, ..) in self.latest.values() {
            highest = highest.max(latest.next_producer_id);
        }
        highest + 100_000
    }

    /// The world is quiet: nothing is left half done.
    pub(super) fn settled(&self) {
        for (id, (latest, ..)) in &self.latest {
            assert!(
                !latest.state.is_prepared(),
                "{id} is never complete: {latest:?}"
            );
        }
    }
}

//! Between the ledger and its log: load, replay, and what to do when an append fails.

use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::{Offset, Refusal};

use super::markers::Owed;
use super::records::{TxnRecord, Unknown};
use super::settings::TransactionVersion;
use super::states::TransactionState;
use super::{TxnDecision, TxnLedger};
use crate::entry::Corrupt;
use crate::ledger::{Answer, Batch, Decision, Now, Origin, When};
use crate::refused_append::append_refusal;

impl TxnLedger {
    /// One record of the log while loading, from its start to its end. Control batches, which the
    /// topic should not have, are not handed in.
    ///
    /// # Errors
    /// The record does not parse: the partition is not to be served.
    pub fn load(
        &mut self,
        offset: Offset,
        key: Option<&Bytes>,
        value: Option<&Bytes>,
    ) -> Result<(), Corrupt> {
        let key = key.ok_or(Corrupt::Truncated { what: "record key" })?;
        match TxnRecord::decode(key, value)? {
            Ok(record) => self.apply(offset, &record),
            Err(unknown) => {
                self.counts.skipped_records += 1;
                self.skipped.get_or_insert((offset, unknown));
            }
        }
        Ok(())
    }

    /// The first record that nobody knows, which was skipped while loading, and its offset.
    pub fn first_skipped(&self) -> Option<(Offset, Unknown)> {
        self.skipped
    }

    /// The log has been read to its end. Say `committed` next: prepared transactions that were found
    /// have their markers sent again.
    pub fn loaded(&mut self, level: TransactionVersion, now: Now) -> TxnDecision {
        self.is_loading = false;
        self.start_timers(now);
        let prepared = self.owed.keys();
        let complete = prepared.filter_map(|id| self.complete(id, level, now));
        let complete = complete.map(|record| Batch {
            records: vec![record],
            origin: Origin::Plain,
        });
        Decision {
            batches: complete.collect(),
            ..self.decision(Vec::new(), Answer::Nobody)
        }
    }

    /// A record of a decision has been appended at `offset`.
    pub fn replay(&mut self, offset: Offset, record: &TxnRecord) {
        self.uncommitted.appended(&record.transactional_id, offset);
        self.apply(offset, record);
    }

    /// Everything before `end` is committed.
    pub fn committed(&mut self, end: Offset) {
        self.uncommitted.committed(end);
        self.committed_end = self.committed_end.max(end);
    }

    /// The append of this decision failed, and nothing of it is in the log. What comes out takes its
    /// place: nothing to append, and the reply that rested on the append refused.
    pub fn abandoned(&mut self, decision: TxnDecision, cause: Refusal, now: Now) -> TxnDecision {
        let refusal = append_refusal(cause);
        for record in decision.records() {
            // Its markers are written and reported; only this record is missing.
            let id = &record.transactional_id;
            if self.owed.get(id).is_some_and(|owed| owed.left.is_empty()) {
                self.try_complete_later(id, now);
            }
        }
        let reply = match decision.reply {
            Answer::Now(reply, When::AfterAppend) => {
                Answer::Now(reply.refused(refusal), When::AtOnce)
            }
            other => other,
        };
        self.decision(Vec::new(), reply)
    }

    /// The only place where durable state changes.
    fn apply(&mut self, offset: Offset, record: &TxnRecord) {
        let id = &record.transactional_id;
        self.forget_what_followed(id);
        let Some(next) = record.transaction.clone() else {
            let was_known = self.saved.remove(id).is_some();
            self.counts.expired_ids += u64::from(was_known && !self.is_loading);
            return;
        };
        if next.state.is_prepared() {
            let owed = Owed {
                prepared_at: offset,
                left: next.partitions.clone(),
            };
            if !owed.left.is_empty() {
                self.unsent.insert(offset, id.clone());
            }
            self.owed.insert(id.clone(), owed);
        }
        if let Some(deadline_ms) = next.deadline_ms() {
            self.open.insert((deadline_ms, id.clone()));
        }
        if !self.is_loading {
            self.counts.committed += u64::from(next.state == TransactionState::CompleteCommit);
            self.counts.aborted += u64::from(next.state == TransactionState::CompleteAbort);
        }
        self.saved.insert(id.clone(), next);
    }

    /// The soft state that followed from an id's former record.
    fn forget_what_followed(&mut self, id: &Arc<str>) {
        let Some(former) = self.saved.get(id) else {
            return;
        };
        if let Some(deadline_ms) = former.deadline_ms() {
            self.open.remove(&(deadline_ms, id.clone()));
        }
        if let Some(owed) = self.owed.remove(id) {
            self.unsent.remove(&owed.prepared_at);
            self.no_complete_later(id);
        }
    }
}

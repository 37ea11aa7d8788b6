//! Between the ledger and its log: load, replay, and what to do when an append fails.

use bytes::Bytes;
use ottla_protocol::{Offset, Refusal};

use super::records::TxnRecord;
use super::settings::TransactionVersion;
use super::{TxnDecision, TxnLedger};
use crate::entry::Corrupt;
use crate::ledger::Now;

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
        let _ = (offset, key, value);
        todo!()
    }

    /// The log has been read to its end. Say `committed` next: prepared transactions that were found
    /// have their markers sent again.
    pub fn loaded(&mut self, level: TransactionVersion, now: Now) -> TxnDecision {
        let _ = (level, now);
        todo!()
    }

    /// A record of a decision has been appended at `offset`.
    pub fn replay(&mut self, offset: Offset, record: &TxnRecord) {
        let _ = (offset, record);
        todo!()
    }

    /// Everything before `end` is committed.
    pub fn committed(&mut self, end: Offset) {
        let _ = end;
        todo!()
    }

    /// The append of this decision failed, and nothing of it is in the log. What comes out takes its
    /// place: nothing to append, and the reply that rested on the append refused.
    pub fn abandoned(&mut self, decision: TxnDecision, cause: Refusal, now: Now) -> TxnDecision {
        let _ = (decision, cause, now);
        todo!()
    }
}

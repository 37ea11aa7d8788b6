//! Which batches of a fetched partition a reader of what is committed does not see.

use std::collections::HashSet;

use ottla_protocol::Offset;
use ottla_protocol::batch::{Batch, CorruptBatch, OPENED_BYTES_MAX};
use ottla_protocol::batch_builder::EndMarker;
use ottla_protocol::messages::AbortedTransaction;

/// The aborted transactions that reach into what was fetched.
#[derive(Debug)]
pub struct Aborted {
    /// By their first offset, latest first.
    to_come: Vec<AbortedTransaction>,
    /// Producers whose records are of an aborted transaction here.
    open: HashSet<i64>,
}

impl Aborted {
    /// As the broker told them with the batches.
    pub fn new(told: &[AbortedTransaction]) -> Self {
        let mut to_come = told.to_vec();
        to_come.sort_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
        Self {
            to_come,
            open: HashSet::new(),
        }
    }

    /// Whether the records of this batch, the one behind those that were shown before, are to be
    /// seen. Those of a control batch never are.
    ///
    /// # Errors
    /// It is a control batch that cannot be read.
    pub fn lets_pass(&mut self, batch: Batch<'_>) -> Result<bool, CorruptBatch> {
        self.begin_up_to(batch.last_offset());
        if !batch.is_control() {
            return Ok(!(batch.is_transactional() && self.open.contains(&batch.producer_id())));
        }
        for record in batch.payload(OPENED_BYTES_MAX)?.records() {
            let record = record?;
            let marker = EndMarker::parse(
                record.key.unwrap_or_default(),
                record.value.unwrap_or_default(),
            );
            if marker.is_some_and(|marker| !marker.is_commit) {
                self.open.remove(&batch.producer_id());
            }
        }
        Ok(false)
    }

    fn begin_up_to(&mut self, last_offset: Offset) {
        while let Some(next) = self.to_come.pop_if(|next| next.first_offset <= last_offset) {
            self.open.insert(next.producer_id);
        }
    }
}

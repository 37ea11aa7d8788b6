//! Records out: reads of the log's published view, which take no lock and may wait for the disk only
//! where that is nobody else's time.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_protocol::batch::{Batch, batches};
use ottla_protocol::batch_builder::modern;
use ottla_protocol::{Refusal, Refused};
use ottla_storage::{
    AbortedTransaction, Fault, FetchSlice, Fetched, FoundOffset, Isolation, LogView, NotDone,
    OffsetQuery, ReadFrom,
};

use super::Partition;
use crate::file_slice::FileSlice;

/// Bytes that are read at a time when a whole partition is read (coordinators at load).
const SCAN_BYTES: usize = 1024 * 1024;

/// Why a scan of a whole partition ended early.
#[derive(Debug)]
pub(crate) enum ScanFailed {
    Fault(String),
    /// The visitor refused, with its reason.
    Refused(String),
}

impl Partition {
    /// Reads below the isolation's bound.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER`, `OFFSET_OUT_OF_RANGE`, `KAFKA_STORAGE_ERROR`, `CORRUPT_MESSAGE`.
    pub fn read(&self, view: &LogView, from: ReadFrom) -> Result<Fetched, Refused> {
        self.look(view, |view| view.read(from))
    }

    /// Looks something up in a picture of the log. Its files may have lost their names meanwhile,
    /// because the log has moved to another directory: then in a new one.
    fn look<T>(
        &self,
        view: &LogView,
        look: impl Fn(&LogView) -> Result<T, NotDone>,
    ) -> Result<T, Refused> {
        let found = match look(view) {
            Err(NotDone::Fault(_)) if view.is_retired() => look(&self.view()),
            found => found,
        };
        match found {
            // It was deleted.
            Err(NotDone::Fault(_)) if self.view().is_retired() => {
                Err(Refusal::NotLeaderOrFollower.into())
            }
            found => found.map_err(|not_done| self.not_read(not_done)),
        }
    }

    /// Bytes that went bad are no reason to do without the rest of the directory.
    fn not_read(&self, not_done: NotDone) -> Refused {
        match not_done {
            NotDone::Fault(fault @ Fault::Corrupt { refusal, .. }) => {
                let message = fault.to_string();
                // A consumer asks again and again.
                let mut told = self.told_corrupt.lock();
                if told.as_deref() != Some(&*message) {
                    tracing::error!(partition = %self.id, "{message}");
                    *told = Some(message.as_str().into());
                }
                Refused::new(refusal, message)
            }
            not_done => self.not_done(not_done).refused,
        }
    }

    /// As `read`, for who may not wait for the disk: what is not in memory is looked up elsewhere.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn fetch(
        self: &Arc<Self>,
        view: &LogView,
        from: ReadFrom,
    ) -> Result<(FileSlice, Vec<AbortedTransaction>), Refused> {
        let flush = self.flush_of();
        let cold = flush.cold();
        let in_memory = if cold.are_off() {
            Some(self.read(view, from))
        } else {
            view.read_in_memory(from)
                .map(|done| done.or_else(|_| self.read(view, from)))
        };
        let fetched = match in_memory {
            Some(done) => done?,
            None => {
                let (partition, view) = (self.clone(), view.clone());
                let read = cold.run(move || partition.read(&view, from)).await;
                read.map_err(|_| Refused::from(Refusal::KafkaStorageError))??
            }
        };
        let slice = fetched
            .slice
            .map(|slice| FileSlice::new(slice, cold.clone()));
        Ok((slice.unwrap_or_default(), fetched.aborted))
    }

    /// Answers a question of ListOffsets; what is not in memory is looked up where one may wait.
    ///
    /// # Errors
    /// `KAFKA_STORAGE_ERROR`; what is wrong with the batch that it leads to (`INVALID_RECORD`, …).
    pub async fn find_offset(
        self: &Arc<Self>,
        query: OffsetQuery,
        isolation: Isolation,
    ) -> Result<Option<FoundOffset>, Refused> {
        let flush = self.flush_of();
        let cold = flush.cold();
        let view = self.view();
        let here = |view: &LogView| self.look(view, |view| view.find_offset(query, isolation));
        let in_memory = if cold.are_off() {
            Some(here(&view))
        } else {
            view.find_offset_in_memory(query, isolation)
                .map(|done| done.or_else(|_| here(&view)))
        };
        if let Some(done) = in_memory {
            return done;
        }
        let looked_up = view.clone();
        let found = cold.run(move || looked_up.find_offset(query, isolation));
        match found.await {
            Ok(found) => found.or_else(|_| here(&view)),
            Err(_) => Err(Refusal::KafkaStorageError.into()),
        }
    }

    /// Reads every batch from the start to the end, committed or not.
    pub(crate) fn scan(
        &self,
        mut visit: impl FnMut(Batch<'_>) -> Result<(), String>,
    ) -> Result<(), ScanFailed> {
        let mut view = self.view();
        let (mut offset, end) = (view.start(), view.end());
        while offset < end {
            if view.is_retired() {
                // The log has moved to another directory.
                view = self.view();
            }
            let from = ReadFrom {
                offset,
                isolation: Isolation::LogEnd,
                max_bytes: SCAN_BYTES,
                at_least_one: true,
                with_aborted: false,
            };
            let fetched = view
                .read(from)
                .map_err(|why| ScanFailed::Fault(why.to_string()))?;
            let Some(slice) = fetched.slice else { break };
            let bytes = read_slice(&slice).map_err(|why| ScanFailed::Fault(why.to_string()))?;
            let before = offset;
            let bytes = modern(&bytes).map_err(|why| ScanFailed::Refused(why.to_string()))?;
            for batch in batches(&bytes) {
                let batch = batch.map_err(|why| ScanFailed::Refused(why.to_string()))?;
                if batch.header().last_offset() >= before {
                    visit(batch).map_err(ScanFailed::Refused)?;
                }
                offset = batch.header().next_offset();
            }
            if offset == before {
                return Err(ScanFailed::Refused(format!(
                    "no batch follows offset {offset}"
                )));
            }
        }
        Ok(())
    }
}

/// Copies a slice out of its file.
pub(crate) fn read_slice(slice: &FetchSlice) -> std::io::Result<Bytes> {
    use std::os::unix::fs::FileExt;
    slice.begin();
    let mut bytes = BytesMut::zeroed(slice.length);
    slice.file().read_exact_at(&mut bytes, slice.position)?;
    Ok(bytes.freeze())
}

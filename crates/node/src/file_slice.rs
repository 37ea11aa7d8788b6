//! A stretch of a segment's file in an answer: sent by the kernel, never opened here.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::RecordSet;
use ottla_storage::FetchSlice;

use crate::cold_reads::ColdReads;
use crate::partitions::read_slice;

/// Record bytes of an answer; nothing at all where there are none.
#[derive(Clone, Default)]
pub struct FileSlice(Option<Lying>);

/// Where they lie, and who reads them if they are not in memory.
#[derive(Clone)]
struct Lying {
    slice: FetchSlice,
    cold: Arc<ColdReads>,
}

impl FileSlice {
    pub(crate) fn new(slice: FetchSlice, cold: Arc<ColdReads>) -> Self {
        Self(Some(Lying { slice, cold }))
    }

    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |lying| lying.slice.length)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file and where the stretch begins in it.
    pub fn place(&self) -> Option<(&File, u64)> {
        let lying = self.0.as_ref()?;
        Some((lying.slice.file(), lying.slice.position))
    }

    /// Resolves when the part of the stretch at this position of the file is in memory. What cannot
    /// be read there fails when it is sent.
    pub async fn bring_in(&self, position: u64, length: usize) {
        let Some(Lying { slice, cold }) = &self.0 else {
            return;
        };
        let part = slice.part(position, length);
        if cold.are_off() {
            part.begin();
            return;
        }
        if !part.is_in_memory() {
            let syncs = cold.syncs().clone();
            let read = cold.run(move || part.bring_in(|| syncs.give_way()));
            if let Ok(Err(fault)) = read.await {
                tracing::debug!(%fault, "what is to be sent cannot be read");
            }
        }
    }

    /// Copies the stretch.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub async fn read(&self) -> io::Result<Bytes> {
        let Some(Lying { slice, cold }) = &self.0 else {
            return Ok(Bytes::new());
        };
        if cold.are_off() {
            return read_slice(slice);
        }
        if let Some(bytes) = slice.copy_in_memory() {
            return Ok(bytes.into());
        }
        let (slice, syncs) = (slice.clone(), cold.syncs().clone());
        let read = move || {
            // What cannot be read fails below.
            let _ = slice.bring_in(|| syncs.give_way());
            read_slice(&slice)
        };
        cold.run(read).await?
    }
}

impl std::fmt::Debug for FileSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slice = self.0.as_ref().map(|lying| &lying.slice);
        f.debug_tuple("FileSlice").field(&slice).finish()
    }
}

impl RecordSet for FileSlice {
    fn n_bytes(&self) -> usize {
        self.len()
    }
}

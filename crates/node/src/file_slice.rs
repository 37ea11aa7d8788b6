//! A stretch of a segment's file in an answer: sent by the kernel, never opened here.

use std::fs::File;
use std::io;

use bytes::Bytes;
use ottla_protocol::messages::RecordSet;
use ottla_storage::FetchSlice;

use crate::partitions::read_slice;

/// Record bytes of an answer; nothing at all where there are none.
#[derive(Debug, Clone, Default)]
pub struct FileSlice(Option<FetchSlice>);

impl FileSlice {
    pub fn new(slice: FetchSlice) -> Self {
        Self(Some(slice))
    }

    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |slice| slice.length)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file and where the stretch begins in it.
    pub fn place(&self) -> Option<(&File, u64)> {
        self.0.as_ref().map(|slice| (&*slice.file, slice.position))
    }

    /// Copies the stretch.
    ///
    /// # Errors
    /// The file cannot be read, or has become shorter.
    pub fn read(&self) -> io::Result<Bytes> {
        self.0.as_ref().map_or_else(|| Ok(Bytes::new()), read_slice)
    }
}

impl RecordSet for FileSlice {
    fn n_bytes(&self) -> usize {
        self.len()
    }
}

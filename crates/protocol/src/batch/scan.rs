//! Walk every record of a batch without keeping any: what a leader does with each batch it takes.
//!
//! Compressed records pass through a small window, so that a batch costs the memory of that window
//! whatever it decompresses to.

use super::{Batch, CorruptBatch};

/// What the walk tells of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordShape {
    pub index: i32,
    pub offset_delta: i32,
    /// The producer's: base timestamp plus delta, whatever the batch's timestamp kind.
    pub timestamp: i64,
    pub has_key: bool,
}

/// Walk all records, calling `seen` for each, reading at most `limit` decompressed bytes.
///
/// The layout, the claimed count and the absence of surplus bytes are checked; returns how many
/// bytes the records have uncompressed.
pub fn scan(
    batch: Batch<'_>,
    limit: usize,
    seen: impl FnMut(RecordShape),
) -> Result<usize, CorruptBatch> {
    let _ = (batch, limit, seen);
    todo!()
}

//! What a log tells about itself while it works. Metrics hang here; nothing may depend on it.
//! Called with the partition's lock held: an implementation counts and returns.

use std::path::Path;

use ottla_protocol::{Offset, TopicPartition};

/// Listens to the logs of a node. Every method may be left out.
pub trait LogEvents: Send + Sync {
    fn appended(&self, _log: &TopicPartition, _n_bytes: usize, _first: Offset, _last: Offset) {}
    fn rolled(&self, _log: &TopicPartition, _base: Offset) {}
    fn flushed(&self, _log: &TopicPartition, _up_to: Offset) {}
    fn deleted(&self, _log: &TopicPartition, _n_segments: usize, _why: DeletedFor) {}
    fn truncated(&self, _log: &TopicPartition, _to: Offset) {}
    /// A crash left this log behind, and it was put in order.
    fn recovered(&self, _log: &TopicPartition, _n_segments: usize, _n_bytes_cut: u64) {}
    fn directory_failed(&self, _directory: &Path) {}
}

/// Why segments went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletedFor {
    Age,
    Size,
    /// They lie below the log start.
    Start,
    /// The log was truncated or started anew.
    Truncation,
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl LogEvents for NoEvents {}

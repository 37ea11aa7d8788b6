//! Turns records into batches, moves the high watermark, and says when its epoch is committed.

use ottla_protocol::Offset;

use crate::accumulate::Accumulator;
use crate::log_tail::LogTail;

#[derive(Debug)]
pub(crate) struct Leader {
    /// Where our epoch begins; the record there is LEADER_CHANGE.
    pub(crate) epoch_start: Offset,
    pub(crate) accumulator: Accumulator,
    /// End of what the host was told to append.
    pub(crate) handed_out: Offset,
    /// `Command::Lead` was given.
    pub(crate) has_claimed: bool,
}

impl Leader {
    /// Nothing is on its way to the disk.
    pub(crate) fn is_idle(&self, log: &LogTail) -> bool {
        self.handed_out <= log.flushed()
    }

    /// The high watermark that the voters' flushed ends allow. Records of earlier epochs only
    /// count once a record of ours does: they might still be overwritten by another leader.
    pub(crate) fn high_watermark(&self, flushed_ends: Vec<Offset>) -> Option<Offset> {
        majority_offset(flushed_ends).filter(|offset| *offset > self.epoch_start)
    }
}

/// The largest offset that a majority has reached.
fn majority_offset(mut ends: Vec<Offset>) -> Option<Offset> {
    ends.sort_unstable_by(|left, right| right.cmp(left));
    ends.get(ends.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_has_reached_it() {
        assert_eq!(majority_offset(vec![7]), Some(7));
        assert_eq!(majority_offset(vec![7, 3]), Some(3));
        assert_eq!(majority_offset(vec![3, 9, 7]), Some(7));
        assert_eq!(majority_offset(vec![3, 9, 7, 8]), Some(7));
        assert_eq!(majority_offset(vec![]), None);
    }
}

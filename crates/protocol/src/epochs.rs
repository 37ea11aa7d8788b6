//! Which leader epoch starts at which offset; answers "where did our logs diverge".
//!
//! One cache a log, kept beside it in `leader-epoch-checkpoint`. Both columns strictly increase.

/// One epoch and the first offset written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: i32,
    pub start_offset: i64,
}

/// What a follower is told: the largest epoch at or below the one asked for, and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    pub epoch: i32,
    pub end_offset: i64,
}

impl EpochEnd {
    /// Nothing is known: an undefined or a future epoch was asked for, or the cache is empty.
    pub const UNKNOWN: Self = Self {
        epoch: -1,
        end_offset: -1,
    };
}

/// The leader epochs of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochCache {
    /// Invariant: epochs and offsets both strictly increase; see `validate`.
    entries: Vec<EpochStart>,
}

impl EpochCache {
    /// From a list as the checkpoint file has it. Entries that break the order drop what they
    /// contradict, as they would have if assigned one by one.
    pub fn from_entries(entries: impl IntoIterator<Item = EpochStart>) -> Self {
        let mut cache = Self::default();
        for EpochStart {
            epoch,
            start_offset,
        } in entries
        {
            cache.assign(epoch, start_offset);
        }
        cache
    }

    /// Oldest first; what the checkpoint file holds.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn latest(&self) -> Option<EpochStart> {
        self.entries.last().copied()
    }

    pub fn latest_epoch(&self) -> Option<i32> {
        self.latest().map(|last| last.epoch)
    }

    pub fn earliest(&self) -> Option<EpochStart> {
        self.entries.first().copied()
    }

    /// `epoch` starts at `start_offset`: entries it contradicts go. Returns whether anything changed.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        // -1 is "unknown" on the wire and never an epoch of a log.
        if epoch < 0 || start_offset < 0 {
            return false;
        }
        match self.entries.last() {
            // Every batch of an epoch comes by here; only the first one says something new.
            Some(last) if last.epoch == epoch && last.start_offset <= start_offset => return false,
            _ => {}
        }
        while self
            .entries
            .last()
            .is_some_and(|last| last.epoch >= epoch || last.start_offset >= start_offset)
        {
            self.entries.pop();
        }
        self.entries.push(EpochStart {
            epoch,
            start_offset,
        });
        self.validate();
        true
    }

    /// The log now ends at `end_offset`. Returns whether anything changed.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let kept = self
            .entries
            .partition_point(|entry| entry.start_offset < end_offset);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// The log now starts at `start_offset`: the epoch that is current there starts there.
    /// Returns whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let passed = self
            .entries
            .partition_point(|entry| entry.start_offset <= start_offset);
        let Some(current) = passed.checked_sub(1) else {
            return false;
        };
        if current == 0 && self.entries[0].start_offset == start_offset {
            return false;
        }
        self.entries.drain(..current);
        self.entries[0].start_offset = start_offset;
        self.validate();
        true
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The epoch in which the record at `offset` was written.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= offset);
        Some(self.entries.get(after.checked_sub(1)?)?.epoch)
    }

    /// Where `epoch` ends in this log, whose end is `log_end_offset`.
    pub fn end_offset_for(&self, epoch: i32, log_end_offset: i64) -> EpochEnd {
        let Some(latest) = self.latest_epoch() else {
            return EpochEnd::UNKNOWN;
        };
        if epoch < 0 || epoch > latest {
            return EpochEnd::UNKNOWN;
        }
        if epoch == latest {
            return EpochEnd {
                epoch,
                end_offset: log_end_offset,
            };
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end_offset = self.entries[above].start_offset;
        // Older than all we know: the follower's epoch ended before our log begins.
        let epoch = above
            .checked_sub(1)
            .map_or(epoch, |floor| self.entries[floor].epoch);
        EpochEnd { epoch, end_offset }
    }

    fn validate(&self) {
        let is_ordered = |pair: &[EpochStart]| {
            pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset
        };
        debug_assert!(
            self.entries.windows(2).all(is_ordered),
            "leader epochs out of order"
        );
    }
}

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
        // Another negative epoch is older than all, as in Kafka.
        if epoch == EpochEnd::UNKNOWN.epoch || epoch > latest {
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

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        EpochCache::from_entries(entries.iter().map(|&(epoch, start_offset)| EpochStart {
            epoch,
            start_offset,
        }))
    }

    fn listed(cache: &EpochCache) -> String {
        let entries: Vec<_> = cache
            .entries()
            .iter()
            .map(|it| format!("{}@{}", it.epoch, it.start_offset))
            .collect();
        entries.join(" ")
    }

    fn check(actual: impl ToString, expect: Expect) {
        expect.assert_eq(&actual.to_string());
    }

    #[test]
    fn assign_drops_what_it_contradicts() {
        let assigned = |epoch, start| {
            let mut cache = cache(&[(1, 10), (3, 30), (5, 50)]);
            let changed = cache.assign(epoch, start);
            format!("{} {changed}", listed(&cache))
        };
        let all = [
            assigned(5, 50),
            assigned(5, 70),
            assigned(5, 40),
            assigned(7, 70),
            assigned(7, 50),
            assigned(7, 30),
            assigned(2, 60),
            assigned(0, 0),
            assigned(-1, 70),
            assigned(7, -1),
        ];
        check(
            all.join("\n"),
            expect![[r#"
            1@10 3@30 5@50 false
            1@10 3@30 5@50 false
            1@10 3@30 5@40 true
            1@10 3@30 5@50 7@70 true
            1@10 3@30 7@50 true
            1@10 7@30 true
            1@10 2@60 true
            0@0 true
            1@10 3@30 5@50 false
            1@10 3@30 5@50 false"#]],
        );
    }

    #[test]
    fn end_offsets() {
        let cache = cache(&[(2, 20), (4, 40), (7, 70)]);
        let all: Vec<_> = (-1..=8)
            .map(|epoch| {
                let end = cache.end_offset_for(epoch, 100);
                format!("{epoch}: {} ends at {}", end.epoch, end.end_offset)
            })
            .collect();
        check(
            all.join("\n"),
            expect![[r#"
            -1: -1 ends at -1
            0: 0 ends at 20
            1: 1 ends at 20
            2: 2 ends at 40
            3: 2 ends at 40
            4: 4 ends at 70
            5: 4 ends at 70
            6: 4 ends at 70
            7: 7 ends at 100
            8: -1 ends at -1"#]],
        );
        assert_eq!(
            EpochCache::default().end_offset_for(0, 100),
            EpochEnd::UNKNOWN
        );
        let before_all = cache.end_offset_for(i32::MIN, 100);
        assert_eq!((before_all.epoch, before_all.end_offset), (i32::MIN, 20));
    }

    #[test]
    fn truncate() {
        let from_end = |offset| {
            let mut cache = cache(&[(1, 10), (3, 30), (5, 50)]);
            let changed = cache.truncate_from_end(offset);
            format!("end {offset}: {} {changed}", listed(&cache))
        };
        let from_start = |offset| {
            let mut cache = cache(&[(1, 10), (3, 30), (5, 50)]);
            let changed = cache.truncate_from_start(offset);
            format!("start {offset}: {} {changed}", listed(&cache))
        };
        let all: Vec<_> = [60, 51, 50, 30, 10, 0]
            .map(from_end)
            .into_iter()
            .chain([0, 10, 11, 30, 49, 50, 90].map(from_start))
            .collect();
        check(
            all.join("\n"),
            expect![[r#"
            end 60: 1@10 3@30 5@50 false
            end 51: 1@10 3@30 5@50 false
            end 50: 1@10 3@30 true
            end 30: 1@10 true
            end 10:  true
            end 0:  true
            start 0: 1@10 3@30 5@50 false
            start 10: 1@10 3@30 5@50 false
            start 11: 1@11 3@30 5@50 true
            start 30: 3@30 5@50 true
            start 49: 3@49 5@50 true
            start 50: 5@50 true
            start 90: 5@90 true"#]],
        );
    }

    #[test]
    fn epoch_of_an_offset() {
        let cache = cache(&[(1, 10), (3, 30)]);
        let epochs = [9, 10, 29, 30, i64::MAX].map(|offset| cache.epoch_for_offset(offset));
        assert_eq!(epochs, [None, Some(1), Some(1), Some(3), Some(3)]);
    }

    /// A damaged checkpoint must not make a damaged cache.
    #[test]
    fn from_entries_out_of_order() {
        check(
            listed(&cache(&[(5, 50), (3, 60), (4, 10), (6, 10), (9, 90)])),
            expect!["6@10 9@90"],
        );
    }
}

//! What of a log is dirty, what of that may be compacted now, and which segments become one. Pure.
//!
//! Whole segments only, never the active one, never past what is decided, replicated and on the
//! disk: a record that replaces another must be safe before the other goes.

use ottla_protocol::Offset;

/// What the plan looks at in one segment, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) base: Offset,
    pub(crate) size: u64,
    /// The largest timestamp of the first batch; `None` where nobody asks or there is none.
    pub(crate) first_timestamp: Option<i64>,
    /// The largest timestamp; `None` where nobody asks.
    pub(crate) largest_timestamp: Option<i64>,
}

/// Up to where a log may be compacted at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    /// The lower of the last stable offset and the flushed end.
    pub(crate) settled: Offset,
    pub(crate) min_lag_ms: i64,
    pub(crate) max_lag_ms: i64,
    pub(crate) now_ms: i64,
}

/// What compaction would find in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dirt {
    /// The first offset that was never compacted.
    pub first_dirty: Offset,
    /// The first offset that must stay as it is for now: a segment's base.
    pub first_uncleanable: Offset,
    pub clean_bytes: u64,
    pub cleanable_bytes: u64,
    /// By how much `max.compaction.lag.ms` is overrun; 0 if it is not.
    pub delay_ms: i64,
    /// What the checkpoint said cannot be, and must be replaced by `first_dirty`.
    pub is_reset: bool,
}

impl Dirt {
    /// The cleanable share of what would be looked at.
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes + self.cleanable_bytes;
        if total == 0 {
            0.0
        } else {
            self.cleanable_bytes as f64 / total as f64
        }
    }

    /// Whether there is enough to do, or it has waited long enough.
    pub fn is_due(&self, min_ratio: f64) -> bool {
        self.cleanable_bytes > 0 && (self.delay_ms > 0 || self.ratio() > min_ratio)
    }
}

/// Where the dirty part begins, if the checkpoint is worth something.
pub(crate) fn first_dirty(checkpoint: Option<Offset>, limits: &Limits) -> (Offset, bool) {
    match checkpoint {
        Some(at) if (limits.start..=limits.end).contains(&at) => (at, false),
        Some(_) => (limits.start, true),
        None => (limits.start, false),
    }
}

/// The position in `bases` of the segment that holds `offset`.
pub(crate) fn holder(segments: &[Facts], offset: Offset) -> usize {
    segments
        .partition_point(|segment| segment.base <= offset)
        .saturating_sub(1)
}

/// See [`Dirt`]. The last of `segments` is the active one.
pub(crate) fn survey(segments: &[Facts], checkpoint: Option<Offset>, limits: &Limits) -> Dirt {
    let (first_dirty, is_reset) = first_dirty(checkpoint, limits);
    let n_closed = segments.len().saturating_sub(1);
    let dirty_from = holder(segments, first_dirty);
    let dirty = segments.get(dirty_from..n_closed).unwrap_or_default();
    let is_young = |segment: &&Facts| {
        let largest = segment.largest_timestamp;
        largest.is_some_and(|at| at > limits.now_ms.saturating_sub(limits.min_lag_ms))
    };
    let young = dirty.iter().find(is_young).map(|segment| segment.base);
    let settled = young.map_or(limits.settled, |base| base.min(limits.settled));
    let uncleanable = holder(segments, settled).min(n_closed);
    let first_uncleanable = segments
        .get(uncleanable)
        .map_or(first_dirty, |segment| segment.base);
    let size_of = |range: &[Facts]| range.iter().map(|segment| segment.size).sum();
    let n_clean = segments.partition_point(|segment| segment.base < first_dirty);
    Dirt {
        first_dirty,
        first_uncleanable: first_uncleanable.max(first_dirty),
        clean_bytes: size_of(segments.get(..n_clean).unwrap_or_default()),
        cleanable_bytes: size_of(segments.get(dirty_from..uncleanable).unwrap_or_default()),
        delay_ms: delay(dirty, limits),
        is_reset,
    }
}

fn delay(dirty: &[Facts], limits: &Limits) -> i64 {
    let timestamps = dirty.iter().filter_map(|segment| segment.first_timestamp);
    let Some(oldest) = timestamps.filter(|timestamp| *timestamp > 0).min() else {
        return 0;
    };
    let due = limits.now_ms.saturating_sub(limits.max_lag_ms.max(0));
    due.saturating_sub(oldest).max(0)
}

/// What grouping looks at in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) base: Offset,
    pub(crate) log: u64,
    pub(crate) offsets: u64,
    pub(crate) times: u64,
}

/// The most that goes into one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) log: u64,
    pub(crate) index: u64,
}

/// How many segments go into each new one, from the oldest on. `end` is behind the last.
pub(crate) fn group(segments: &[Sizes], room: Room, end: Offset) -> Vec<usize> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(first) = rest.first() {
        let mut sum = *first;
        let mut n = 1;
        while let Some(next) = rest.get(n) {
            let last = rest.get(n + 1).map_or(end, |behind| behind.base) - 1;
            let fits = sum.log + next.log <= room.log
                && sum.offsets + next.offsets <= room.index
                && sum.times + next.times <= room.index
                && (next.log == 0 || last - first.base <= i64::from(i32::MAX));
            if !fits {
                break;
            }
            sum.log += next.log;
            sum.offsets += next.offsets;
            sum.times += next.times;
            n += 1;
        }
        groups.push(n);
        rest = rest.get(n..).unwrap_or_default();
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of 100 bytes and 10 offsets; the last is active and begins at 40.
    fn five() -> Vec<Facts> {
        (0..5)
            .map(|i| Facts {
                base: i * 10,
                size: 100,
                first_timestamp: Some(1000 + i * 10),
                largest_timestamp: Some(1009 + i * 10),
            })
            .collect()
    }

    fn limits() -> Limits {
        Limits {
            start: 0,
            end: 45,
            settled: 45,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            now_ms: 2000,
        }
    }

    fn bounds(checkpoint: Option<Offset>, limits: Limits) -> (Offset, Offset) {
        let dirt = survey(&five(), checkpoint, &limits);
        (dirt.first_dirty, dirt.first_uncleanable)
    }

    #[test]
    fn everything_but_the_active_segment() {
        let dirt = survey(&five(), None, &limits());
        assert_eq!((dirt.first_dirty, dirt.first_uncleanable), (0, 40));
        assert_eq!((dirt.clean_bytes, dirt.cleanable_bytes), (0, 400));
        assert!(dirt.is_due(0.99) && !dirt.is_reset);
        let dirt = survey(&five(), Some(30), &limits());
        assert_eq!((dirt.clean_bytes, dirt.cleanable_bytes), (300, 100));
        assert!(dirt.is_due(0.24) && !dirt.is_due(0.25));
        let dirt = survey(&five(), Some(40), &limits());
        assert_eq!(dirt.cleanable_bytes, 0);
        assert!(!dirt.is_due(0.0));
    }

    #[test]
    fn not_past_what_is_settled() {
        for (settled, expected) in [(0, 0), (9, 0), (10, 10), (39, 30), (40, 40), (44, 40)] {
            let limits = Limits {
                settled,
                ..limits()
            };
            assert_eq!(bounds(None, limits), (0, expected), "settled {settled}");
            // A log that was compacted further already is left alone.
            assert_eq!(bounds(Some(35), limits).1, expected.max(35));
        }
    }

    #[test]
    fn a_checkpoint_outside_the_log_is_none() {
        for (checkpoint, is_reset) in [(4, true), (5, false), (45, false), (46, true)] {
            let limits = Limits {
                start: 5,
                ..limits()
            };
            let dirt = survey(&five(), Some(checkpoint), &limits);
            assert_eq!(dirt.is_reset, is_reset, "checkpoint {checkpoint}");
            assert_eq!(dirt.first_dirty, if is_reset { 5 } else { checkpoint });
        }
    }

    #[test]
    fn young_records_stay_untouched() {
        for (now_ms, expected) in [(1109, 10), (1108, 0), (1129, 30), (1128, 20), (5000, 40)] {
            let limits = Limits {
                min_lag_ms: 100,
                now_ms,
                ..limits()
            };
            assert_eq!(bounds(None, limits), (0, expected), "at {now_ms}");
        }
    }

    #[test]
    fn what_waited_too_long_is_due_whatever_the_ratio() {
        let limits = |now_ms| Limits {
            max_lag_ms: 500,
            now_ms,
            ..limits()
        };
        assert_eq!(survey(&five(), Some(30), &limits(1530)).delay_ms, 0);
        let dirt = survey(&five(), Some(30), &limits(1531));
        assert_eq!(dirt.delay_ms, 1);
        assert!(dirt.is_due(1.0));
        // Nothing that could be compacted: no reason to begin.
        let dirt = survey(&five(), Some(40), &limits(9000));
        assert!(!dirt.is_due(0.0));
    }

    fn sizes(logs: &[u64]) -> Vec<Sizes> {
        let one = |(i, log): (usize, &u64)| Sizes {
            base: i as i64 * 10,
            log: *log,
            offsets: *log / 10,
            times: *log / 20,
        };
        logs.iter().enumerate().map(one).collect()
    }

    #[test]
    fn small_segments_become_one() {
        let room = |log, index| Room { log, index };
        let groups = |logs: &[u64], room| group(&sizes(logs), room, 1000);
        assert_eq!(groups(&[100, 100, 100], room(300, 100)), [3]);
        assert_eq!(groups(&[100, 100, 100], room(299, 100)), [2, 1]);
        assert_eq!(groups(&[500, 10, 500, 500], room(500, 100)), [1, 1, 1, 1]);
        assert_eq!(groups(&[500, 0, 0, 500], room(500, 100)), [3, 1]);
        assert_eq!(groups(&[100, 100, 100], room(300, 20)), [2, 1]);
        assert_eq!(groups(&[], room(1, 1)), [0; 0]);
    }

    #[test]
    fn offsets_of_one_segment_fit_its_index() {
        let mut segments = sizes(&[10, 10, 10]);
        for (segment, base) in segments.iter_mut().zip([0, 1 << 30, (1 << 31) - 10]) {
            segment.base = base;
        }
        let room = Room {
            log: 1000,
            index: 1000,
        };
        assert_eq!(group(&segments, room, 1 << 31), [3]);
        assert_eq!(group(&segments, room, (1 << 31) + 1), [2, 1]);
    }
}

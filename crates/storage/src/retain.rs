//! Which segments may go: too old, too much, or below the start. Pure.
//! Always a prefix, never past the high watermark, never an empty last segment.

use ottla_protocol::Offset;

/// What retention looks at in one segment, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) size: u64,
    /// The largest timestamp, or when the file was written if its records have none.
    pub(crate) age_mark_ms: i64,
    /// The base of the next segment, or the end of the log for the last one.
    pub(crate) end: Offset,
}

/// How many of the oldest segments lie below the log start. The last one never does.
pub(crate) fn below_start(segments: &[Facts], start: Offset, high_watermark: Offset) -> usize {
    let n_closed = segments.len().saturating_sub(1);
    let closed = segments.get(..n_closed).unwrap_or_default();
    prefix(closed, high_watermark, |segment| segment.end <= start)
}

/// How many of the oldest segments can go so that at least `retention_bytes` stay.
pub(crate) fn above_size(
    segments: &[Facts],
    retention_bytes: i64,
    high_watermark: Offset,
) -> usize {
    let Ok(retention_bytes) = u64::try_from(retention_bytes) else {
        return 0;
    };
    let size: u64 = segments.iter().map(|segment| segment.size).sum();
    let Some(mut excess) = size.checked_sub(retention_bytes) else {
        return 0;
    };
    prefix(segments, high_watermark, |segment| {
        match excess.checked_sub(segment.size) {
            Some(rest) => {
                excess = rest;
                true
            }
            None => false,
        }
    })
}

/// How many of the oldest segments hold nothing younger than `retention_ms`.
pub(crate) fn above_age(
    segments: &[Facts],
    retention_ms: i64,
    now_ms: i64,
    high_watermark: Offset,
) -> usize {
    if retention_ms < 0 {
        return 0;
    }
    prefix(segments, high_watermark, |segment| {
        now_ms.saturating_sub(segment.age_mark_ms) > retention_ms
    })
}

fn prefix(
    segments: &[Facts],
    high_watermark: Offset,
    mut may_go: impl FnMut(&Facts) -> bool,
) -> usize {
    let last = segments.len().saturating_sub(1);
    segments
        .iter()
        .enumerate()
        .take_while(|(at, segment)| {
            let is_empty_last = *at == last && segment.size == 0;
            segment.end <= high_watermark && !is_empty_last && may_go(segment)
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three segments of 100 bytes and 10 records, one millisecond a record.
    fn three() -> Vec<Facts> {
        (1..=3)
            .map(|i| Facts {
                size: 100,
                age_mark_ms: i * 10,
                end: i * 10,
            })
            .collect()
    }

    #[test]
    fn by_age() {
        for (now, expected) in [(0, 0), (109, 0), (110, 0), (111, 1), (121, 2), (131, 3)] {
            assert_eq!(above_age(&three(), 100, now, 30), expected, "at {now}");
        }
        assert_eq!(above_age(&three(), -1, i64::MAX, 30), 0);
        assert_eq!(above_age(&three(), 0, 11, 30), 1);
    }

    #[test]
    fn by_size() {
        for (bytes, expected) in [
            (-1, 0),
            (0, 3),
            (1, 2),
            (100, 2),
            (199, 1),
            (200, 1),
            (300, 0),
        ] {
            assert_eq!(above_size(&three(), bytes, 30), expected, "{bytes} bytes");
        }
    }

    #[test]
    fn by_start() {
        for (start, expected) in [(0, 0), (9, 0), (10, 1), (20, 2), (30, 2)] {
            assert_eq!(below_start(&three(), start, 30), expected, "start {start}");
        }
    }

    #[test]
    fn never_past_the_high_watermark() {
        for (high_watermark, expected) in [(0, 0), (9, 0), (10, 1), (29, 2), (30, 3)] {
            assert_eq!(above_size(&three(), 0, high_watermark), expected);
            assert_eq!(above_age(&three(), 0, 1000, high_watermark), expected);
        }
    }

    #[test]
    fn an_empty_last_segment_stays() {
        let mut segments = three();
        segments.push(Facts {
            size: 0,
            age_mark_ms: 0,
            end: 30,
        });
        assert_eq!(above_age(&segments, 0, 1000, 30), 3);
        assert_eq!(above_size(&segments, 0, 30), 3);
    }
}

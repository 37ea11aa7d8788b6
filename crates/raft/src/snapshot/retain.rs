//! Which snapshots to keep, and where the log may begin after that.

use ottla_protocol::Offset;

use super::SnapshotId;

/// `metadata.max.retention.bytes` and `metadata.max.retention.ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of all snapshots and the log together; `None` without bound.
    pub max_bytes: Option<u64>,
    pub max_age_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSnapshot {
    pub id: SnapshotId,
    pub bytes: u64,
    /// From its header.
    pub last_contained_timestamp: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Oldest first.
    pub delete: Vec<SnapshotId>,
    /// The log may drop whole segments below this; `None`: leave it alone.
    pub log_start: Option<Offset>,
}

/// `stored` oldest first. The newest always stays: a log that does not begin at 0 needs one.
pub fn retain(stored: &[StoredSnapshot], log_bytes: u64, limits: Limits, wall_ms: i64) -> Kept {
    let mut total = stored.iter().fold(log_bytes, |sum, snapshot| {
        sum.saturating_add(snapshot.bytes)
    });
    let mut delete = Vec::new();
    let mut kept = stored;
    while let [oldest, rest @ ..] = kept {
        let is_too_big = limits.max_bytes.is_some_and(|max| total > max);
        let is_too_old = limits
            .max_age_ms
            .is_some_and(|max| wall_ms.saturating_sub(oldest.last_contained_timestamp) > max);
        if rest.is_empty() || !(is_too_big || is_too_old) {
            break;
        }
        delete.push(oldest.id);
        total = total.saturating_sub(oldest.bytes);
        kept = rest;
    }
    let log_start = kept
        .first()
        .filter(|_| !delete.is_empty())
        .map(|first| first.id.end_offset);
    Kept { delete, log_start }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(end_offset: Offset, bytes: u64, timestamp: i64) -> StoredSnapshot {
        StoredSnapshot {
            id: SnapshotId {
                end_offset,
                epoch: 1,
            },
            bytes,
            last_contained_timestamp: timestamp,
        }
    }

    const NO_LIMITS: Limits = Limits {
        max_bytes: None,
        max_age_ms: None,
    };

    #[test]
    fn the_newest_always_stays() {
        let limits = Limits {
            max_bytes: Some(1),
            max_age_ms: Some(1),
        };
        let kept = retain(&[stored(10, 5, 0), stored(20, 5, 0)], 100, limits, 1_000);
        assert_eq!(
            kept.delete,
            [SnapshotId {
                end_offset: 10,
                epoch: 1
            }]
        );
        assert_eq!(kept.log_start, Some(20));
    }

    #[test]
    fn within_the_limits_nothing_goes() {
        let kept = retain(&[stored(10, 5, 0), stored(20, 5, 0)], 100, NO_LIMITS, 1_000);
        assert_eq!(
            kept,
            Kept {
                delete: vec![],
                log_start: None
            }
        );
    }

    #[test]
    fn only_the_old_ones_go() {
        let limits = Limits {
            max_age_ms: Some(100),
            ..NO_LIMITS
        };
        let kept = retain(
            &[stored(1, 5, 0), stored(2, 5, 950), stored(3, 5, 990)],
            0,
            limits,
            1_000,
        );
        assert_eq!(
            kept.delete,
            [SnapshotId {
                end_offset: 1,
                epoch: 1
            }]
        );
        assert_eq!(kept.log_start, Some(2));
    }
}

//! High watermark and last stable offset: how far readers may see.

use ottla_protocol::Offset;

/// How much of the leader's own log counts towards the high watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Only what has been flushed (`ottla.flush.before.ack=true`).
    Flushed,
    /// All that has been written (Kafka's habit: durability comes from the other copies).
    Written,
}

/// The next high watermark: the smallest counted end, never below the current one, and not moved
/// at all while too few replicas are in sync (KIP-966: strict min ISR, whatever the acks).
pub fn high_watermark(
    current: Offset,
    counted_ends: impl IntoIterator<Item = Offset>,
    enough_in_sync: bool,
) -> Offset {
    if !enough_in_sync {
        return current;
    }
    counted_ends
        .into_iter()
        .min()
        .map_or(current, |smallest| smallest.max(current))
}

/// The last stable offset: everything below it is decided. `first_unstable` is the first offset of
/// the oldest transaction that is still open.
pub fn last_stable(high_watermark: Offset, first_unstable: Option<Offset>) -> Offset {
    first_unstable.map_or(high_watermark, |first| first.min(high_watermark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_replica_decides() {
        assert_eq!(high_watermark(3, [10, 7, 9], true), 7);
    }

    #[test]
    fn it_never_falls() {
        assert_eq!(high_watermark(8, [10, 7], true), 8);
    }

    #[test]
    fn it_stands_still_while_too_few_are_in_sync() {
        assert_eq!(high_watermark(3, [10], false), 3);
    }

    #[test]
    fn an_open_transaction_holds_the_stable_offset_back() {
        assert_eq!(last_stable(10, Some(4)), 4);
        assert_eq!(last_stable(10, Some(12)), 10);
        assert_eq!(last_stable(10, None), 10);
    }
}

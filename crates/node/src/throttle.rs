//! How fast the threads of a background work may read and write, all together. Pure.

use std::time::Duration;

/// What was not used is not saved up for longer than this.
const BURST: Duration = Duration::from_millis(300);

/// Counts bytes against a rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    bytes_per_second: f64,
    /// When all that was counted so far may be done.
    paid_up_to: Duration,
}

impl Throttle {
    pub(crate) fn new(bytes_per_second: f64) -> Self {
        Self {
            bytes_per_second,
            paid_up_to: Duration::ZERO,
        }
    }

    /// From now on. What was counted and not waited for is waited for at the new rate, too: otherwise
    /// one chunk at a byte per second would hold compaction up for days after the limit is lifted.
    pub(crate) fn set_rate(&mut self, bytes_per_second: f64, now: Duration) {
        let owed = self.paid_up_to.saturating_sub(now).as_secs_f64();
        let owed = owed * self.bytes_per_second / bytes_per_second.max(f64::MIN_POSITIVE);
        let owed = Duration::try_from_secs_f64(owed).unwrap_or(Duration::MAX);
        self.paid_up_to = self.paid_up_to.min(now).saturating_add(owed);
        self.bytes_per_second = bytes_per_second;
    }

    /// How long until all that was counted may be done.
    pub(crate) fn owed(&self, now: Duration) -> Duration {
        self.paid_up_to.saturating_sub(now)
    }

    /// Counts `n_bytes` that were done at `now`; how long to wait before more is done.
    pub(crate) fn count(&mut self, n_bytes: usize, now: Duration) -> Duration {
        let seconds = n_bytes as f64 / self.bytes_per_second.max(f64::MIN_POSITIVE);
        let cost = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        let from = self.paid_up_to.max(now.saturating_sub(BURST));
        self.paid_up_to = from.saturating_add(cost);
        self.paid_up_to.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn bytes_take_their_time() {
        let mut throttle = Throttle::new(1000.0);
        assert_eq!(throttle.count(1000, ms(10_000)), ms(700));
        assert_eq!(throttle.count(500, ms(10_700)), ms(500));
        // A pause is not made good by a rush.
        assert_eq!(throttle.count(1000, ms(60_000)), ms(700));
        throttle.set_rate(2000.0, ms(60_700));
        assert_eq!(throttle.count(1000, ms(60_700)), ms(500));
    }

    #[test]
    fn a_new_rate_holds_for_what_is_owed_too() {
        let mut throttle = Throttle::new(1.0);
        throttle.count(100_300, ms(10_000));
        assert_eq!(throttle.owed(ms(10_000)), ms(100_300 * 1000 - 300));
        throttle.set_rate(1000.0, ms(10_000));
        assert_eq!(
            throttle.owed(ms(10_000)),
            Duration::from_micros(100_299_700)
        );
        throttle.set_rate(f64::MAX, ms(20_000));
        assert_eq!(throttle.owed(ms(20_000)), Duration::ZERO);
        throttle.set_rate(1.0, ms(20_000));
        assert_eq!(throttle.owed(ms(20_000)), Duration::ZERO);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let mut throttle = Throttle::new(f64::MAX);
        for _ in 0..1000 {
            assert_eq!(throttle.count(1 << 30, ms(1)), Duration::ZERO);
        }
    }
}

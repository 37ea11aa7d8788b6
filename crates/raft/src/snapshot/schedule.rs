//! When to take a snapshot: after so many new bytes, or so much time with anything new.

use std::time::Duration;

use crate::quorum::Now;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `metadata.log.max.record.bytes.between.snapshots`
    Bytes,
    /// `metadata.log.max.snapshot.interval.ms`
    Time,
}

/// Fed with what an image has taken in; asked whether a snapshot of it is due.
#[derive(Debug, Clone)]
pub struct Schedule {
    max_bytes: u64,
    /// `None`: never by time.
    max_interval: Option<Duration>,
    new_bytes: u64,
    last: Duration,
}

impl Schedule {
    pub fn new(max_bytes: u64, max_interval: Option<Duration>, now: Now) -> Self {
        Self {
            max_bytes,
            max_interval,
            new_bytes: 0,
            last: now.monotonic,
        }
    }

    /// The image has taken in `bytes` more of the log.
    pub fn handle_applied(&mut self, bytes: u64) {
        self.new_bytes = self.new_bytes.saturating_add(bytes);
    }

    /// A snapshot was begun.
    pub fn handle_taken(&mut self, now: Now) {
        self.new_bytes = 0;
        self.last = now.monotonic;
    }

    pub fn due(&self, now: Now) -> Option<Reason> {
        if self.new_bytes == 0 {
            return None;
        }
        if self.new_bytes >= self.max_bytes {
            return Some(Reason::Bytes);
        }
        self.next_timeout()
            .is_some_and(|due| due <= now.monotonic)
            .then_some(Reason::Time)
    }

    /// When time alone makes a snapshot due; `None` while there is nothing new.
    pub fn next_timeout(&self) -> Option<Duration> {
        (self.new_bytes > 0).then_some(self.last + self.max_interval?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now {
            monotonic: Duration::from_secs(seconds),
            wall_ms: 0,
        }
    }

    #[test]
    fn nothing_new_is_never_due() {
        let schedule = Schedule::new(100, Some(Duration::from_secs(10)), at(0));
        assert_eq!(schedule.due(at(1000)), None);
        assert_eq!(schedule.next_timeout(), None);
    }

    #[test]
    fn bytes_or_time_make_it_due() {
        let mut schedule = Schedule::new(100, Some(Duration::from_secs(10)), at(0));
        schedule.handle_applied(99);
        assert_eq!(schedule.due(at(9)), None);
        assert_eq!(schedule.due(at(10)), Some(Reason::Time));
        schedule.handle_applied(1);
        assert_eq!(schedule.due(at(9)), Some(Reason::Bytes));
        schedule.handle_taken(at(9));
        assert_eq!(schedule.due(at(30)), None);
    }

    #[test]
    fn time_can_be_switched_off() {
        let mut schedule = Schedule::new(100, None, at(0));
        schedule.handle_applied(1);
        assert_eq!(schedule.due(at(1_000_000)), None);
    }
}

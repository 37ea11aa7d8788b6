//! The clocks that run for a ledger. Soft state: a restart arms them anew.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use crate::ledger::{Deadline, Now};

/// What runs, by what it is for. Setting one again moves it.
#[derive(Debug)]
pub(crate) struct Timers<Timer> {
    /// Same entries as `at`, the other way round.
    queue: BTreeSet<(Duration, Timer)>,
    at: HashMap<Timer, Duration>,
}

impl<Timer> Default for Timers<Timer> {
    fn default() -> Self {
        Self {
            queue: BTreeSet::new(),
            at: HashMap::new(),
        }
    }
}

impl<Timer: Clone + Ord + Hash> Timers<Timer> {
    /// Let it fire `after_ms` from now, and not when it was to fire before.
    pub(crate) fn set(&mut self, timer: Timer, now: Now, after_ms: i64) {
        self.cancel(&timer);
        let at = now.monotonic + Duration::from_millis(after_ms.max(0).unsigned_abs());
        self.at.insert(timer.clone(), at);
        self.queue.insert((at, timer));
    }

    /// As [`Self::set`], unless it runs already.
    pub(crate) fn set_if_absent(&mut self, timer: Timer, now: Now, after_ms: i64) {
        if !self.at.contains_key(&timer) {
            self.set(timer, now, after_ms);
        }
    }

    pub(crate) fn cancel(&mut self, timer: &Timer) {
        if let Some((timer, at)) = self.at.remove_entry(timer) {
            self.queue.remove(&(at, timer));
        }
    }

    /// Takes the earliest timer whose moment has come.
    pub(crate) fn pop_due(&mut self, now: Now) -> Option<Timer> {
        if self.queue.first()?.0 > now.monotonic {
            return None;
        }
        let (_, timer) = self.queue.pop_first()?;
        self.at.remove(&timer);
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Deadline> {
        self.queue.first().map(|(at, _)| Deadline(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            monotonic: Duration::from_millis(ms),
            wall_ms: 0,
        }
    }

    #[test]
    fn setting_again_moves_and_each_fires_once() {
        let mut timers = Timers::default();
        let session = "a session";
        timers.set(session, at(0), 10);
        timers.set("retention", at(0), 16);
        timers.set(session, at(5), 10);
        assert_eq!(timers.next(), Some(Deadline(Duration::from_millis(15))));
        assert_eq!(timers.pop_due(at(14)), None);
        assert_eq!(timers.pop_due(at(15)), Some(session));
        assert_eq!(timers.pop_due(at(16)), Some("retention"));
        assert_eq!(timers.pop_due(at(99)), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn cancelled_timers_do_not_fire() {
        let mut timers = Timers::default();
        timers.set("join", at(0), -5);
        timers.set_if_absent("join", at(0), 50);
        assert_eq!(timers.next(), Some(Deadline(Duration::ZERO)));
        timers.cancel(&"join");
        timers.cancel(&"sync");
        assert_eq!(timers.pop_due(at(99)), None);
    }
}

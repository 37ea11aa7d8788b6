//! The clocks that run for groups. Soft state: a restart arms them anew.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::ledger::{Deadline, Now};

/// What a timer is for. Setting one again moves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// Members of this group have had enough time to join.
    Join(Arc<str>),
    /// Members of this group have had enough time to ask for their assignment.
    Sync(Arc<str>),
    /// This member of this group has been silent for too long.
    Session(Arc<str>, Arc<str>),
    /// Look for offsets that are too old.
    Retention,
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// Same entries as `at`, the other way round.
    queue: BTreeSet<(Duration, Timer)>,
    at: HashMap<Timer, Duration>,
}

impl Timers {
    /// Let it fire `after_ms` from now, and not when it was to fire before.
    pub(crate) fn set(&mut self, timer: Timer, now: Now, after_ms: i64) {
        self.cancel(&timer);
        let at = now.monotonic + Duration::from_millis(after_ms.max(0).unsigned_abs());
        self.at.insert(timer.clone(), at);
        self.queue.insert((at, timer));
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
        let session = Timer::Session("g".into(), "m".into());
        timers.set(session.clone(), at(0), 10);
        timers.set(Timer::Retention, at(0), 15);
        timers.set(session.clone(), at(5), 10);
        assert_eq!(timers.next(), Some(Deadline(Duration::from_millis(15))));
        assert_eq!(timers.pop_due(at(14)), None);
        assert_eq!(timers.pop_due(at(15)), Some(session));
        assert_eq!(timers.pop_due(at(15)), Some(Timer::Retention));
        assert_eq!(timers.pop_due(at(99)), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn cancelled_timers_do_not_fire() {
        let mut timers = Timers::default();
        timers.set(Timer::Join("g".into()), at(0), -5);
        timers.cancel(&Timer::Join("g".into()));
        timers.cancel(&Timer::Sync("g".into()));
        assert_eq!(timers.pop_due(at(99)), None);
    }
}

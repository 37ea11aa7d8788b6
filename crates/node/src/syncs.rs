//! The syncs of one log directory under way, and who lets them go first.
//!
//! A sync is several commands to the disk, one after the other, and each of them would stand behind
//! what a consumer far behind reads: a little with each command, and somebody waits for the sum.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How long a reader waits for a sync before it asks the disk for more: several times what one takes
/// on a disk that is worth the trouble, and little enough that a slow one is still read.
const GIVE_WAY_MAX: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(crate) struct Syncs {
    n_under_way: AtomicUsize,
    n_ended: Mutex<u64>,
    ended: Condvar,
}

/// A sync, as long as it lives.
pub(crate) struct UnderWay<'a>(&'a Syncs);

impl Syncs {
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.n_under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay(self)
    }

    /// Returns at once if nothing is being synced; else when one sync has ended. One, and not all: where
    /// there is always another, reading goes on between them.
    pub(crate) fn give_way(&self) {
        self.give_way_until(|| Instant::now() + GIVE_WAY_MAX);
    }

    fn give_way_until(&self, patience: impl FnOnce() -> Instant) {
        if self.are_none() {
            return;
        }
        let until = patience();
        let mut n_ended = self.n_ended.lock();
        let n_before = *n_ended;
        while *n_ended == n_before && !self.are_none() {
            if self.ended.wait_until(&mut n_ended, until).timed_out() {
                return;
            }
        }
    }

    fn are_none(&self) -> bool {
        self.n_under_way.load(Ordering::Acquire) == 0
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let Syncs {
            n_under_way,
            n_ended,
            ended,
        } = self.0;
        n_under_way.fetch_sub(1, Ordering::AcqRel);
        *n_ended.lock() += 1;
        ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_a_minute() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn nobody_waits_where_nothing_is_synced() {
        let syncs = Syncs::default();
        let never = || -> Instant { panic!("nothing to wait for") };
        syncs.give_way_until(never);
        drop(syncs.begin());
        syncs.give_way_until(never);
    }

    #[test]
    fn who_reads_goes_on_when_one_of_several_has_ended() {
        let syncs = Syncs::default();
        let _goes_on = syncs.begin();
        let started = Instant::now();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| syncs.give_way_until(in_a_minute));
            while !reader.is_finished() {
                drop(syncs.begin());
            }
        });
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_sync_that_hangs_is_not_waited_for() {
        let syncs = Syncs::default();
        let _hangs = syncs.begin();
        syncs.give_way_until(Instant::now);
    }
}

//! Every request that waits for a partition: for its high watermark, or for more to read.
//!
//! A request that waits leaves a [`Waiter`] at each partition that may release it. Whoever moves
//! the partition calls [`Parking::wake`], which costs the waiters of that partition only.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One waiting request. Dropping it takes it out of every parking place.
#[derive(Debug, Default)]
pub struct Waiter {
    woken: AtomicBool,
    notify: Notify,
}

impl Waiter {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Resolves once something has happened since the last call.
    pub async fn woken(&self) {
        loop {
            let notified = self.notify.notified();
            if self.woken.swap(false, Ordering::AcqRel) {
                return;
            }
            notified.await;
        }
    }

    fn wake(&self) {
        self.woken.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub struct Parking {
    /// How many entries `waiters` may hold: read without the lock by those who have nobody to wake.
    n_waiters: AtomicUsize,
    waiters: Mutex<Vec<Weak<Waiter>>>,
}

impl Parking {
    /// Leaves a waiter. The caller must look at the partition again after this and before it
    /// waits: what happened in between wakes nobody.
    pub fn park(&self, waiter: &Arc<Waiter>) {
        let mut waiters = self.waiters.lock();
        if waiters.len() == waiters.capacity() {
            // Who waits at several partitions parks again at all of them when one has moved.
            waiters.retain(|waiter| waiter.strong_count() > 0);
            waiters.sort_unstable_by_key(Weak::as_ptr);
            waiters.dedup_by(|a, b| a.ptr_eq(b));
            // Where most still wait, the next look is as many entries away: not one for each.
            let n_waiting = waiters.len();
            waiters.reserve(n_waiting);
        }
        waiters.push(Arc::downgrade(waiter));
        // IMPORTANT: published before the caller looks at the partition again.
        self.n_waiters.store(waiters.len(), Ordering::SeqCst);
    }

    /// Wakes every waiter; each parks again if it is not content.
    pub fn wake(&self) {
        if self.n_waiters.load(Ordering::SeqCst) == 0 {
            return;
        }
        let woken = {
            let mut waiters = self.waiters.lock();
            self.n_waiters.store(0, Ordering::SeqCst);
            std::mem::take(&mut *waiters)
        };
        for waiter in woken.iter().filter_map(Weak::upgrade) {
            waiter.wake();
        }
    }

    /// Requests that wait here now.
    pub fn n_waiting(&self) -> usize {
        let waiters = self.waiters.lock();
        let waiting = waiters.iter().filter(|waiter| waiter.strong_count() > 0);
        waiting.map(Weak::as_ptr).collect::<HashSet<_>>().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_is_woken_once_for_what_happened() {
        let (parking, waiter) = (Parking::default(), Waiter::new());
        parking.park(&waiter);
        parking.wake();
        parking.wake();
        waiter.woken().await;
        let again = tokio::time::timeout(std::time::Duration::from_millis(5), waiter.woken());
        assert!(again.await.is_err());
    }

    #[tokio::test]
    async fn those_who_left_take_no_place() {
        let parking = Parking::default();
        for _ in 0..1000 {
            parking.park(&Waiter::new());
        }
        assert!(parking.waiters.lock().len() < 1000);
        assert_eq!(parking.n_waiting(), 0);
    }

    #[test]
    fn ten_thousand_that_wait_are_not_looked_through_for_each_that_comes() {
        let parking = Parking::default();
        let waiting: Vec<_> = (0..10_000).map(|_| Waiter::new()).collect();
        waiting.iter().for_each(|waiter| parking.park(waiter));
        // Full to the last place, and one comes and goes again and again.
        let room = |waiters: &Vec<_>| waiters.capacity() - waiters.len();
        let mut n_looks = 0;
        for _ in 0..50_000 {
            n_looks += usize::from(room(&parking.waiters.lock()) == 0);
            parking.park(&Waiter::new());
        }
        assert!(n_looks < 10, "{n_looks} looks through all");
    }

    #[tokio::test]
    async fn who_parks_again_and_again_takes_one_place() {
        let (parking, waiters) = (Parking::default(), [Waiter::new(), Waiter::new()]);
        for _ in 0..1000 {
            waiters.iter().for_each(|waiter| parking.park(waiter));
        }
        assert!(parking.waiters.lock().len() < 100);
        assert_eq!(parking.n_waiting(), 2);
        parking.wake();
        for waiter in &waiters {
            waiter.woken().await;
        }
    }
}

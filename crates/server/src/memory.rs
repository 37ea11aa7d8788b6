//! How much memory large request frames may take, over all connections (`queued.max.request.bytes`).
//!
//! A frame takes memory as its bytes arrive and gives it back when they have been used: a record
//! batch when it is in the file, not when it is acknowledged. What must stay true: the parts below
//! are never more than the setting together; a frame that is half here never waits for ever for
//! another one that is, since room for one frame of the largest size is kept for the first in line.
//!
//! Frames up to [`SMALL_FRAME`] draw on nothing: they pass when large ones have taken everything,
//! and a connection holds one of them at most before it is started.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Frames up to here are not counted: heartbeats, commits, most fetches.
pub(crate) const SMALL_FRAME: usize = 64 * 1024;
/// What the semaphores count. Bytes would not fit the number of permits taken at once.
const UNIT: usize = 1024;
/// The share of the whole that is kept for [`Lane::Inner`].
const INNER_SHARE: usize = 16;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Common,
    /// Fetches, and everything on a controller listener: a follower's fetch is what parked
    /// acks=all requests wait for, so those must never keep it out.
    Inner,
}

/// The memory of a node for request frames.
#[derive(Debug)]
pub(crate) struct RequestMemory {
    common: Arc<Semaphore>,
    inner: Arc<Semaphore>,
    /// One permit: room for a frame of the largest size, whatever has been taken.
    last: Arc<Semaphore>,
    common_units: usize,
    inner_units: usize,
    last_units: usize,
    n_waiting: AtomicUsize,
}

impl RequestMemory {
    /// `n_bytes` in all; more if a frame of `largest` bytes would not fit beside the reserve.
    pub(crate) fn new(n_bytes: usize, largest: usize) -> Arc<Self> {
        let last_units = units(largest);
        let asked = (n_bytes / UNIT).min(Semaphore::MAX_PERMITS);
        let inner_units = (asked / INNER_SHARE).max(SMALL_FRAME / UNIT);
        let common_units = asked.saturating_sub(last_units + inner_units);
        Arc::new(Self {
            common: Arc::new(Semaphore::new(common_units)),
            inner: Arc::new(Semaphore::new(inner_units)),
            last: Arc::new(Semaphore::new(1)),
            common_units,
            inner_units,
            last_units,
            n_waiting: AtomicUsize::new(0),
        })
    }

    /// The bytes of all parts.
    pub(crate) fn n_bytes(&self) -> usize {
        (self.common_units + self.inner_units + self.last_units) * UNIT
    }

    /// The bytes that frames hold now; the last part counts whole.
    pub(crate) fn n_bytes_used(&self) -> usize {
        let last_free = self.last_units * self.last.available_permits();
        let free = self.common.available_permits() + self.inner.available_permits() + last_free;
        self.n_bytes().saturating_sub(free * UNIT)
    }

    /// Connections that wait for memory.
    pub(crate) fn n_waiting(&self) -> usize {
        self.n_waiting.load(Ordering::Acquire)
    }

    /// Whether there is so much that a frame may be believed its length for a stretch.
    pub(crate) fn is_at_ease(&self) -> bool {
        self.common.available_permits() > self.common_units / 2
    }

    /// Takes memory if there is enough now.
    pub(crate) fn try_take(&self, lane: Lane, n_bytes: usize) -> Option<Piece> {
        let n_units = u32::try_from(units(n_bytes)).ok()?;
        let take = |part: &Arc<Semaphore>| part.clone().try_acquire_many_owned(n_units).ok();
        let inner = match lane {
            Lane::Common => None,
            Lane::Inner => take(&self.inner).map(Piece::Inner),
        };
        inner.or_else(|| take(&self.common).map(Piece::Common))
    }

    /// Waits for memory. Those who wait are served in the order in which they came.
    pub(crate) async fn take(self: Arc<Self>, lane: Lane, n_bytes: usize) -> Piece {
        let _counted = Waiting::new(&self.n_waiting);
        let n_units = units(n_bytes);
        let of_common = acquire(&self.common, n_units, self.common_units);
        let of_inner = match lane {
            // No semaphore holds so much: never.
            Lane::Common => acquire(&self.inner, usize::MAX, self.inner_units),
            Lane::Inner => acquire(&self.inner, n_units, self.inner_units),
        };
        tokio::select! {
            biased;
            permit = of_inner => Piece::Inner(permit),
            permit = of_common => Piece::Common(permit),
            permit = acquire(&self.last, 1, 1) => Piece::Last(permit),
        }
    }
}

/// Resolves with `n` permits of a semaphore that holds `all`; never if it never had so many, since
/// who waits for too much would keep everybody behind him waiting.
async fn acquire(part: &Arc<Semaphore>, n: usize, all: usize) -> OwnedSemaphorePermit {
    let n = u32::try_from(n).ok().filter(|_| n <= all);
    if let Some(n) = n
        && let Ok(permit) = part.clone().acquire_many_owned(n).await
    {
        return permit;
    }
    std::future::pending().await
}

fn units(n_bytes: usize) -> usize {
    n_bytes.div_ceil(UNIT)
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(n_waiting: &'a AtomicUsize) -> Self {
        n_waiting.fetch_add(1, Ordering::AcqRel);
        Self(n_waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Memory that was granted.
#[derive(Debug)]
pub(crate) enum Piece {
    Common(OwnedSemaphorePermit),
    Inner(OwnedSemaphorePermit),
    /// All that the frame may still need.
    Last(OwnedSemaphorePermit),
}

/// What one frame holds. It is given back once: when it is said to be, or with its last owner.
#[derive(Debug, Default)]
pub(crate) struct Share(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    common: Option<OwnedSemaphorePermit>,
    inner: Option<OwnedSemaphorePermit>,
    last: Option<OwnedSemaphorePermit>,
}

impl Share {
    pub(crate) fn add(&self, piece: Piece) {
        let mut held = self.0.lock();
        match piece {
            Piece::Common(permit) => merge(&mut held.common, permit),
            Piece::Inner(permit) => merge(&mut held.inner, permit),
            // There is room for the whole frame in it: what was taken before is for others.
            Piece::Last(permit) => {
                *held = Held {
                    last: Some(permit),
                    ..Held::default()
                }
            }
        }
    }

    /// Whether the rest of the frame needs to ask for nothing.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.lock().last.is_some()
    }

    pub(crate) fn give_back(&self) {
        *self.0.lock() = Held::default();
    }
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match held {
        Some(permit) => permit.merge(more),
        None => *held = Some(more),
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const KIB: usize = 1024;
    const LARGEST: usize = 1000 * KIB;

    /// 1000 KiB for the last, 200 KiB inner, 2000 KiB common.
    fn memory() -> Arc<RequestMemory> {
        RequestMemory::new(3200 * KIB, LARGEST)
    }

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn share(piece: Piece) -> Share {
        let share = Share::default();
        share.add(piece);
        share
    }

    #[test]
    fn the_parts_are_what_was_asked_for_and_hold_the_largest_frame() {
        assert_eq!(memory().n_bytes(), 3200 * KIB);
        let little = RequestMemory::new(KIB, LARGEST);
        assert_eq!(little.n_bytes(), LARGEST + SMALL_FRAME);
        assert!(little.try_take(Lane::Common, 1).is_none());
        let Poll::Ready(Piece::Last(_)) = poll(pin!(little.clone().take(Lane::Common, LARGEST)))
        else {
            panic!("the largest frame fits alone");
        };
        let huge = RequestMemory::new(usize::MAX, LARGEST);
        assert!(huge.n_bytes() > 1 << 50);
    }

    #[test]
    fn what_is_given_back_is_free_again() {
        let memory = memory();
        let held = share(memory.try_take(Lane::Common, 1500 * KIB).unwrap());
        assert_eq!(memory.n_bytes_used(), 1500 * KIB);
        assert!(!memory.is_at_ease());
        assert!(memory.try_take(Lane::Common, 501 * KIB).is_none());
        held.add(memory.try_take(Lane::Common, 500 * KIB).unwrap());
        assert_eq!(memory.n_bytes_used(), 2000 * KIB);
        held.give_back();
        assert_eq!(memory.n_bytes_used(), 0);
        held.give_back();
        drop(held);
        assert_eq!(memory.n_bytes_used(), 0, "once, not twice");
        assert!(memory.is_at_ease());
    }

    #[test]
    fn a_reserve_is_left_for_fetches_and_controllers() {
        let memory = memory();
        let _all = memory.try_take(Lane::Common, 2000 * KIB).unwrap();
        assert!(memory.try_take(Lane::Common, KIB).is_none());
        let inner = memory.try_take(Lane::Inner, 200 * KIB);
        assert!(matches!(inner, Some(Piece::Inner(_))));
        assert!(memory.try_take(Lane::Inner, KIB).is_none());
    }

    #[test]
    fn the_first_who_waits_can_be_finished_and_after_it_the_second() {
        let memory = memory();
        let halves = [1000 * KIB, 1000 * KIB];
        let halves = halves.map(|n| share(memory.try_take(Lane::Common, n).unwrap()));
        let mut first = pin!(memory.clone().take(Lane::Common, 400 * KIB));
        let mut second = pin!(memory.clone().take(Lane::Common, 400 * KIB));
        let Poll::Ready(piece) = poll(first.as_mut()) else {
            panic!("half frames wait for one another");
        };
        halves[0].add(piece);
        assert!(halves[0].is_whole());
        // It needs none of what it held before: the second goes on, too.
        let Poll::Ready(Piece::Common(_)) = poll(second.as_mut()) else {
            panic!("there is room again");
        };
        let _third = memory.try_take(Lane::Common, 1000 * KIB).unwrap();
        let mut fourth = pin!(memory.clone().take(Lane::Common, 400 * KIB));
        assert!(poll(fourth.as_mut()).is_pending());
        assert_eq!(memory.n_waiting(), 1);
        halves[0].give_back();
        assert!(matches!(poll(fourth.as_mut()), Poll::Ready(Piece::Last(_))));
    }

    #[test]
    fn those_who_wait_are_served_in_order_and_leave_no_trace_when_they_go() {
        let memory = memory();
        let all = share(memory.try_take(Lane::Common, 2000 * KIB).unwrap());
        let last = memory.last.clone().try_acquire_owned().unwrap();
        {
            let mut gone = pin!(memory.clone().take(Lane::Common, 2000 * KIB));
            let mut too_much = pin!(memory.clone().take(Lane::Common, 2001 * KIB));
            assert!(poll(gone.as_mut()).is_pending());
            assert!(poll(too_much.as_mut()).is_pending());
            assert_eq!(memory.n_waiting(), 2);
        }
        assert_eq!(memory.n_waiting(), 0);
        let mut first = pin!(memory.clone().take(Lane::Common, 1500 * KIB));
        let mut second = pin!(memory.clone().take(Lane::Common, 600 * KIB));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        all.give_back();
        assert!(
            memory.try_take(Lane::Common, 500 * KIB).is_none(),
            "the second stands before who comes now"
        );
        let Poll::Ready(piece) = poll(first.as_mut()) else {
            panic!("it was its turn");
        };
        assert!(poll(second.as_mut()).is_pending());
        drop(piece);
        assert!(poll(second.as_mut()).is_ready());
        drop(last);
    }
}

//! Where the appends of one log directory are done: on the thread that serves the request, which is
//! fastest, or on a thread of the directory's own, while its disk is slow: then the runtime's threads
//! go on serving what lies on other disks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::in_turn::in_turn;

/// A disk is slow when its writes take longer than this on average: by then a hop to another thread
/// and back, a twentieth of it, costs nothing.
pub(crate) const SLOW: Duration = Duration::from_millis(2);
/// And fast again when they take less than this.
const FAST_AGAIN: Duration = Duration::from_millis(1);
/// The average is over about so many appends.
const AVERAGED: u64 = 16;

/// What `ottla.append.mode` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It follows the disk.
    Auto,
    Inline,
    Thread,
}

impl Place {
    pub(crate) fn of(setting: &str) -> Self {
        match setting {
            "inline" => Self::Inline,
            "thread" => Self::Thread,
            _ => Self::Auto,
        }
    }
}

/// How long appends take, averaged so that the newest count most.
#[derive(Debug, Default)]
struct Pace {
    /// Microseconds, times `AVERAGED`.
    sum: AtomicU64,
    is_slow: AtomicBool,
}

impl Pace {
    fn observe(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX / (2 * AVERAGED));
        let took = took.min(u64::MAX / (2 * AVERAGED));
        // An observation that is lost to another thread's is no harm.
        let sum = self.sum.load(Ordering::Relaxed);
        self.sum
            .store(sum - sum / AVERAGED + took, Ordering::Relaxed);
        let average = self.average();
        if average > SLOW {
            self.is_slow.store(true, Ordering::Relaxed);
        } else if average < FAST_AGAIN {
            self.is_slow.store(false, Ordering::Relaxed);
        }
    }

    fn average(&self) -> Duration {
        Duration::from_micros(self.sum.load(Ordering::Relaxed) / AVERAGED)
    }

    fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Appends {
    place: Place,
    /// How many of the runtime's threads may be in appends of this directory at once, so that a disk
    /// that stops answering, from one moment to the next, leaves one for the others.
    n_inline_max: usize,
    n_inline: AtomicUsize,
    began: Instant,
    /// When the first of those that are under way began, or one ended: since `began`, in microseconds.
    progressed: AtomicU64,
    pace: Pace,
    thread: Arc<Semaphore>,
    n_elsewhere: AtomicU64,
}

/// A thread that serves requests is in appends of a log directory, until this is dropped.
#[derive(Debug)]
struct Turn(Arc<Appends>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.note_progress();
        self.0.n_inline.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The directories in whose appends the thread is that serves a request. IMPORTANT: not to be kept
/// while anything is awaited.
#[derive(Debug, Default)]
pub struct Turns {
    first: Option<Turn>,
    more: Vec<Turn>,
}

impl Turns {
    /// Whether what follows may be appended on this thread.
    pub(crate) fn enter(&mut self, appends: &Arc<Appends>) -> bool {
        let mut all = self.first.iter().chain(&self.more);
        if all.any(|turn| Arc::ptr_eq(&turn.0, appends)) {
            return true;
        }
        let Some(turn) = Appends::begin(appends) else {
            return false;
        };
        match self.first {
            None => self.first = Some(turn),
            Some(_) => self.more.push(turn),
        }
        true
    }
}

impl Appends {
    pub(crate) fn new(place: Place, n_inline_max: usize) -> Self {
        Self {
            place,
            n_inline_max,
            n_inline: AtomicUsize::new(0),
            began: Instant::now(),
            progressed: AtomicU64::new(0),
            pace: Pace::default(),
            thread: Arc::new(Semaphore::new(1)),
            n_elsewhere: AtomicU64::new(0),
        }
    }

    fn is_stuck(&self, n_inline: usize) -> bool {
        let since = self
            .now()
            .saturating_sub(self.progressed.load(Ordering::Acquire));
        n_inline > 0 && u128::from(since) > SLOW.as_micros()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note_progress(&self) {
        self.progressed.store(self.now(), Ordering::Release);
    }

    /// A turn on this thread; `None`: it had better be left to the directory's own.
    fn begin(self: &Arc<Self>) -> Option<Turn> {
        let n_max = match self.place {
            Place::Thread => return None,
            Place::Inline => usize::MAX,
            Place::Auto if self.pace.is_slow() => return None,
            Place::Auto => self.n_inline_max,
        };
        let n_inline = self.n_inline.load(Ordering::Acquire);
        if self.place == Place::Auto && self.is_stuck(n_inline) {
            return None;
        }
        // IMPORTANT: noted before it is counted, or it would look stuck at once.
        if n_inline == 0 {
            self.note_progress();
        }
        // IMPORTANT: looked at and counted in one, or two threads would enter where one may.
        let enter = |n_inline| (n_inline < n_max).then_some(n_inline + 1);
        self.n_inline
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, enter)
            .is_ok()
            .then(|| Turn(self.clone()))
    }

    /// A write to this directory's disk took so long.
    pub(crate) fn took(&self, took: Duration) {
        self.pace.observe(took);
        self.note_progress();
    }

    pub(crate) fn average(&self) -> Duration {
        self.pace.average()
    }

    /// Appends that were left to the thread.
    pub(crate) fn n_elsewhere(&self) -> u64 {
        self.n_elsewhere.load(Ordering::Relaxed)
    }

    /// Runs an append on the directory's thread, after those that asked before. `None`: it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        append: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.n_elsewhere.fetch_add(1, Ordering::Relaxed);
        in_turn(&self.thread, append).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(20);

    fn auto(n_inline_max: usize) -> Arc<Appends> {
        Arc::new(Appends::new(Place::Auto, n_inline_max))
    }

    fn are_elsewhere(appends: &Arc<Appends>) -> bool {
        Appends::begin(appends).is_none()
    }

    fn observe(appends: &Appends, took: Duration, n: usize) {
        for _ in 0..n {
            appends.took(took);
        }
    }

    #[test]
    fn a_disk_is_slow_by_its_average_and_fast_again_by_a_lower_one() {
        let appends = auto(usize::MAX);
        observe(&appends, FAST, 1000);
        assert!(!are_elsewhere(&appends));
        observe(&appends, Duration::from_millis(20), 1);
        assert!(!are_elsewhere(&appends), "one hiccup of 20 ms is none");
        observe(&appends, Duration::from_millis(3), 100);
        assert!(are_elsewhere(&appends));
        observe(&appends, Duration::from_micros(1500), 1000);
        assert!(are_elsewhere(&appends), "between the two it stays");
        observe(&appends, FAST, 100);
        assert!(!are_elsewhere(&appends));
        observe(&appends, Duration::MAX, 3);
        assert!(are_elsewhere(&appends));
        assert!(appends.average() > SLOW);
    }

    #[test]
    fn the_setting_has_the_last_word() {
        let (inline, thread) = (Place::of("inline"), Place::of("thread"));
        let inline = Arc::new(Appends::new(inline, 1));
        observe(&inline, Duration::from_secs(1), 100);
        assert!(!are_elsewhere(&inline));
        assert!(are_elsewhere(&Arc::new(Appends::new(thread, usize::MAX))));
        assert_eq!(Place::of("auto"), Place::Auto);
    }

    #[test]
    fn not_all_threads_enter_a_directory() {
        let appends = auto(2);
        let first = Appends::begin(&appends);
        assert!(!are_elsewhere(&appends));
        let second = Appends::begin(&appends);
        assert!(are_elsewhere(&appends));
        drop(first);
        assert!(!are_elsewhere(&appends));
        drop(second);
    }

    #[test]
    fn no_more_enter_at_once_than_may() {
        let appends = auto(1);
        let n_inside = Arc::new(AtomicUsize::new(0));
        let enter = || {
            let (appends, n_inside) = (appends.clone(), n_inside.clone());
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    let Some(_turn) = Appends::begin(&appends) else {
                        continue;
                    };
                    assert_eq!(n_inside.fetch_add(1, Ordering::AcqRel), 0);
                    n_inside.fetch_sub(1, Ordering::AcqRel);
                }
            })
        };
        for thread in [enter(), enter(), enter()] {
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_request_has_one_turn_for_each_directory() {
        let (one, other) = (auto(1), auto(1));
        let mut turns = Turns::default();
        for _ in 0..2 {
            assert!(turns.enter(&one) && turns.enter(&other));
        }
        let mut second = Turns::default();
        assert!(!second.enter(&one));
        drop(turns);
        assert!(second.enter(&other) && second.enter(&one));
    }

    #[test]
    fn an_append_that_does_not_come_back_is_seen_before_it_does() {
        let appends = auto(usize::MAX);
        let first = Appends::begin(&appends);
        appends.progressed.store(0, Ordering::Release);
        while appends.now() <= 2000 {
            std::hint::spin_loop();
        }
        assert!(are_elsewhere(&appends));
        drop(first);
        assert!(!are_elsewhere(&appends), "it came back");
    }

    #[test]
    fn on_the_thread_one_goes_after_the_other() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let appends = Arc::new(Appends::new(Place::Thread, 1));
            let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
            let all = (0..20).map(|n| {
                let (appends, order) = (appends.clone(), order.clone());
                tokio::spawn(async move { appends.run(move || order.lock().push(n)).await })
            });
            for one in all.collect::<Vec<_>>() {
                one.await.unwrap().unwrap();
            }
            assert_eq!(*order.lock(), (0..20).collect::<Vec<_>>());
            assert_eq!(appends.n_elsewhere(), 20);
            let panicked = appends.run(|| -> i32 { panic!("on purpose") }).await;
            assert_eq!(panicked, None);
            assert_eq!(
                appends.run(|| 1).await,
                Some(1),
                "and the next has its turn"
            );
        });
    }
}

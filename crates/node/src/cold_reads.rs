//! Reads that have to wait for one log directory's disk, off the runtime: a few at a time, so that a
//! consumer far behind its partition holds up nobody but itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::in_turn::in_turn;
use crate::metrics::Metrics;
use crate::syncs::Syncs;

/// The blocking threads that one directory's cold reads may take up.
pub(crate) struct ColdReads {
    /// None: everything is read where it is asked for.
    threads: Option<Arc<Semaphore>>,
    n_waiting: AtomicUsize,
    syncs: Arc<Syncs>,
    metrics: Arc<Metrics>,
}

impl ColdReads {
    /// `n_threads` zero switches it off.
    pub(crate) fn new(n_threads: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            threads: (n_threads > 0).then(|| Arc::new(Semaphore::new(n_threads))),
            n_waiting: AtomicUsize::new(0),
            syncs: Arc::default(),
            metrics,
        }
    }

    pub(crate) fn are_off(&self) -> bool {
        self.threads.is_none()
    }

    /// What these reads give way to.
    pub(crate) fn syncs(&self) -> &Arc<Syncs> {
        &self.syncs
    }

    /// Reads that wait for a thread, or for the disk.
    pub(crate) fn n_waiting(&self) -> usize {
        self.n_waiting.load(Ordering::Relaxed)
    }

    /// Runs `read` where it may wait. Turns are in the order of asking.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let _waiting = Waiting::among(&self.n_waiting);
        let started = Instant::now();
        let done = match &self.threads {
            Some(threads) => in_turn(threads, read).await,
            None => tokio::task::spawn_blocking(read).await.ok(),
        };
        self.metrics.cold_reads.observe(started.elapsed());
        done.ok_or_else(|| io::Error::other("a read has panicked"))
    }
}

/// Counts while it lives: who asked may leave before it is done.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(n: &'a AtomicUsize) -> Self {
        n.fetch_add(1, Ordering::Relaxed);
        Self(n)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn no_more_at_a_time_than_there_are_threads_even_if_who_asked_has_left() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let cold = Arc::new(ColdReads::new(1, Arc::default()));
            let (release, held) = channel::<()>();
            let (begun, has_begun) = tokio::sync::oneshot::channel();
            let first = cold.clone();
            let first = tokio::spawn(async move {
                let read = move || {
                    let _ = begun.send(());
                    held.recv().unwrap();
                };
                first.run(read).await
            });
            has_begun.await.unwrap();
            first.abort();
            assert!(first.await.unwrap_err().is_cancelled());
            let mut second = Box::pin(cold.run(|| 2));
            let is_early = tokio::select! {
                biased;
                _ = &mut second => true,
                () = tokio::task::yield_now() => false,
            };
            assert!(!is_early, "the first still waits for the disk");
            assert_eq!(cold.n_waiting(), 1);
            release.send(()).unwrap();
            assert_eq!(second.await.unwrap(), 2);
            assert_eq!(cold.n_waiting(), 0);
        });
    }

    #[test]
    fn a_read_that_panics_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let cold = ColdReads::new(1, Arc::default());
        let read = || -> i32 { panic!("on purpose") };
        assert!(runtime.block_on(cold.run(read)).is_err());
        assert_eq!(runtime.block_on(cold.run(|| 1)).unwrap(), 1);
    }
}

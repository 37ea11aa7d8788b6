//! Work for a few blocking threads, in the order of asking.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, spawn_blocking};

/// Does `work` when a thread is free. `None`: it panicked. Who leaves before it has begun gives up its
/// turn; what has begun is finished in it.
pub(crate) async fn in_turn<T: Send + 'static>(
    threads: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let begin = |turn: OwnedSemaphorePermit| {
        spawn_blocking(move || {
            let _turn = turn;
            work()
        })
    };
    let mut asked = Box::pin(threads.clone().acquire_owned());
    // IMPORTANT: asked here, which settles the order.
    let turn = poll_fn(|context| match asked.as_mut().poll(context) {
        Poll::Ready(turn) => Poll::Ready(Some(turn)),
        Poll::Pending => Poll::Ready(None),
    });
    if let Some(turn) = turn.await {
        return begin(turn.ok()?).await.ok();
    }
    // IMPORTANT: waited for on a task of its own. Who asks may not look for long, since its client does
    // not read, and would keep a turn that it was given from everybody behind it.
    let mut waiting = JoinSet::new();
    waiting.spawn(async move {
        let turn: Result<OwnedSemaphorePermit, AcquireError> = asked.await;
        begin(turn.ok()?).await.ok()
    });
    // With the set the task goes, too.
    waiting.join_next().await?.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(test);
    }

    /// Has asked; nobody looks whether it is done.
    async fn ask_once<T>(asked: &mut (impl Future<Output = T> + Unpin)) {
        let is_done = poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut *asked).poll(context)));
        assert!(is_done.await.is_pending());
    }

    #[test]
    fn who_does_not_look_keeps_nobody_from_a_turn() {
        run(async {
            let threads = Arc::new(Semaphore::new(1));
            let (release, held) = channel::<()>();
            let mut first = Box::pin(in_turn(&threads, move || held.recv().unwrap()));
            ask_once(&mut first).await;
            let (tell, told) = channel();
            let mut second = Box::pin(in_turn(&threads, move || tell.send("second").unwrap()));
            ask_once(&mut second).await;
            let third = in_turn(&threads, move || told.recv_timeout(Duration::ZERO));
            release.send(()).unwrap();
            assert_eq!(third.await.unwrap(), Ok("second"), "in the order of asking");
        });
    }

    #[test]
    fn who_leaves_gives_up_a_turn_that_has_not_begun() {
        run(async {
            let threads = Arc::new(Semaphore::new(1));
            let (release, held) = channel::<()>();
            let mut first = Box::pin(in_turn(&threads, move || held.recv().unwrap()));
            ask_once(&mut first).await;
            let mut second = Box::pin(in_turn(&threads, || panic!("nobody waits for it")));
            ask_once(&mut second).await;
            drop(second);
            release.send(()).unwrap();
            assert_eq!(in_turn(&threads, || 3).await, Some(3));
            first.await.unwrap();
        });
    }

    #[test]
    fn work_that_panics_ends_its_turn() {
        run(async {
            let threads = Arc::new(Semaphore::new(1));
            let work = || -> i32 { panic!("on purpose") };
            assert_eq!(in_turn(&threads, work).await, None);
            assert_eq!(in_turn(&threads, || 1).await, Some(1));
        });
    }
}

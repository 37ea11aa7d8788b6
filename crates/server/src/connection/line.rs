//! The answers that a connection owes, in the order of its requests.
//!
//! What must stay true: a request is started only if all that wait before it allow it
//! (`overlap.rs`), its first poll is its decision, and nobody's answer overtakes another's. What is
//! owed is bounded: in number, and in bytes that are ready and cannot leave yet.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use ottla_node::Metrics;

use crate::answer::Answer;
use crate::dispatch::Started;
use crate::memory::Share;
use crate::overlap::Overlap;
use crate::session::Session;

/// Answers owed to one client before its socket is left unread. Clients keep five to a hundred
/// requests in flight; beyond that, nothing is gained.
const UNANSWERED_MAX: usize = 64;
/// Bytes of answers that are ready and stand behind one that is not; another megabyte of metadata
/// for a client that waits for something else helps nobody.
const DUE_BYTES_MAX: usize = 1024 * 1024;

/// See the head of this file.
pub(super) struct Line {
    owed: VecDeque<Owed>,
    /// Of all that are ready.
    n_bytes_due: usize,
    metrics: Arc<Metrics>,
}

/// An answer owed: its place in line is its place in the queue.
struct Owed {
    key: i16,
    started: Instant,
    overlap: Overlap,
    stage: Stage,
}

enum Stage {
    /// It waits: for a flush, for records, for a coordinator.
    Waiting(Pin<Box<dyn Future<Output = Answer> + Send>>),
    Due(Answer),
}

impl Owed {
    /// Whether the answer is ready; its bytes, if it has just become so.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let Stage::Waiting(answer) = &mut self.stage else {
            return Poll::Ready(0);
        };
        let answer = ready!(answer.as_mut().poll(context));
        let n_bytes = answer.n_bytes();
        self.stage = Stage::Due(answer);
        Poll::Ready(n_bytes)
    }
}

impl Line {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            owed: VecDeque::new(),
            n_bytes_due: 0,
            metrics,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Whether there is room for one more, whatever it is.
    pub(super) fn has_room(&self) -> bool {
        self.owed.len() < UNANSWERED_MAX && self.n_bytes_due <= DUE_BYTES_MAX
    }

    /// Whether a request of this kind may be worked on now.
    pub(super) fn lets_start(&self, overlap: Overlap) -> bool {
        let lets = |owed: &Owed| match &owed.stage {
            Stage::Waiting(_) => overlap.may_start_behind(owed.overlap),
            // The connection ends here: what comes behind has never been asked.
            Stage::Due(Answer::Close(_)) => false,
            Stage::Due(_) => true,
        };
        self.has_room() && self.owed.iter().all(lets)
    }

    /// Puts a request at the end of the line and lets it decide.
    pub(super) fn push(&mut self, started: Started, share: Option<&Share>) {
        let Started {
            key,
            overlap,
            answer,
        } = started;
        let mut owed = Owed {
            key,
            started: Instant::now(),
            overlap,
            stage: Stage::Waiting(answer),
        };
        self.metrics.requests_in_flight.add(1);
        // The first poll is the decision: an append is done here, in the order of arrival.
        if let Poll::Ready(n_bytes) = owed.poll(&mut Context::from_waker(Waker::noop())) {
            self.n_bytes_due += n_bytes;
        }
        self.owed.push_back(owed);
        if let Some(share) = share.filter(|_| overlap != Overlap::Append) {
            // As in Kafka: only record batches are kept as they came, until they are in the file.
            share.give_back();
        }
    }

    /// The answers at the head of the line that are ready.
    pub(super) async fn take_due(&mut self) -> Vec<Answer> {
        let mut due = Vec::new();
        std::future::poll_fn(|context| {
            while let Some(head) = self.owed.front_mut() {
                let Poll::Ready(n_bytes) = head.poll(context) else {
                    break;
                };
                self.n_bytes_due += n_bytes;
                let Some(Owed {
                    key,
                    started,
                    stage: Stage::Due(answer),
                    ..
                }) = self.owed.pop_front()
                else {
                    break;
                };
                self.n_bytes_due -= answer.n_bytes();
                self.metrics.requests_in_flight.sub(1);
                self.metrics.request_done(key, started.elapsed());
                due.push(answer);
            }
            Poll::Ready(())
        })
        .await;
        due
    }

    /// Resolves when the answer at the head of the line is ready, and leaves it there. Those behind
    /// it are looked at only while there are some that are not decided yet.
    pub(super) async fn head_is_due(&mut self, session: &Session) {
        std::future::poll_fn(|context| {
            let mut owed = self.owed.iter_mut();
            let Some(head) = owed.next() else {
                return Poll::Pending;
            };
            let head = head
                .poll(context)
                .map(|n_bytes| self.n_bytes_due += n_bytes);
            for one in owed {
                if session.undecided.is_empty() {
                    break;
                }
                if let Poll::Ready(n_bytes) = one.poll(context) {
                    self.n_bytes_due += n_bytes;
                }
            }
            head
        })
        .await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let n = i64::try_from(self.owed.len()).unwrap_or(i64::MAX);
        self.metrics.requests_in_flight.sub(n);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::*;
    use crate::memory::{Lane, RequestMemory};

    fn line() -> Line {
        Line::new(Arc::default())
    }

    fn answer(n_bytes: usize) -> Answer {
        Answer::bytes(Bytes::from(vec![0; n_bytes]))
    }

    /// A request that is answered when the sender says so.
    fn waiting(overlap: Overlap) -> (oneshot::Sender<Answer>, Started) {
        let (sender, receiver) = oneshot::channel();
        let answer = Box::pin(async { receiver.await.unwrap_or(Answer::Nothing) });
        let started = Started {
            key: 0,
            overlap,
            answer,
        };
        (sender, started)
    }

    fn ready(answer: Answer) -> Started {
        Started {
            key: 0,
            overlap: Overlap::Look,
            answer: Box::pin(std::future::ready(answer)),
        }
    }

    fn sizes(due: &[Answer]) -> Vec<usize> {
        due.iter().map(Answer::n_bytes).collect()
    }

    #[tokio::test]
    async fn nobody_overtakes_and_nobody_is_forgotten() {
        let mut line = line();
        let (first, started) = waiting(Overlap::LongPoll);
        line.push(started, None);
        let (second, started) = waiting(Overlap::Append);
        line.push(started, None);
        line.push(ready(answer(3)), None);
        second.send(answer(2)).unwrap();
        assert!(line.take_due().await.is_empty());
        assert_eq!(line.metrics.requests_in_flight.get(), 3);
        first.send(answer(1)).unwrap();
        assert_eq!(sizes(&line.take_due().await), [1, 2, 3]);
        assert!(line.is_empty());
        assert_eq!(
            (line.n_bytes_due, line.metrics.requests_in_flight.get()),
            (0, 0)
        );
    }

    #[test]
    fn answers_that_cannot_leave_are_bounded_in_number_and_in_bytes() {
        for (n_bytes, n) in [(0, UNANSWERED_MAX), (DUE_BYTES_MAX / 4, 1 + 5)] {
            let mut line = line();
            let (_first, started) = waiting(Overlap::LongPoll);
            line.push(started, None);
            let mut n_owed = 1;
            while line.lets_start(Overlap::Look) {
                line.push(ready(answer(n_bytes)), None);
                n_owed += 1;
            }
            assert_eq!(n_owed, n, "of {n_bytes} bytes each");
        }
    }

    #[test]
    fn order_is_a_matter_of_those_who_wait() {
        let mut line = line();
        line.push(ready(answer(1)), None);
        assert!(line.lets_start(Overlap::Alone), "what is done is done");
        let (_fetch, started) = waiting(Overlap::LongPoll);
        line.push(started, None);
        assert!(!line.lets_start(Overlap::Alone));
        assert!(line.lets_start(Overlap::BehindFetches));
        let (_produce, started) = waiting(Overlap::Append);
        line.push(started, None);
        assert!(!line.lets_start(Overlap::BehindFetches));
        assert!(line.lets_start(Overlap::Append));
        line.push(ready(Answer::Close("over".to_owned())), None);
        assert!(
            !line.lets_start(Overlap::Append),
            "nobody is heard after the end"
        );
    }

    #[test]
    fn memory_is_kept_for_records_only() {
        let memory = RequestMemory::new(8 << 20, 1 << 20);
        let share = || {
            let share = Share::default();
            share.add(memory.try_take(Lane::Common, 1 << 20).unwrap());
            share
        };
        let (mut line, of_join, of_produce) = (line(), share(), share());
        let (_join, started) = waiting(Overlap::Alone);
        line.push(started, Some(&of_join));
        assert_eq!(memory.n_bytes_used(), 1 << 20);
        let (_produce, started) = waiting(Overlap::Append);
        line.push(started, Some(&of_produce));
        assert_eq!(
            memory.n_bytes_used(),
            1 << 20,
            "it holds its frame until it drops it"
        );
        drop(of_produce);
        assert_eq!(memory.n_bytes_used(), 0);
    }

    #[test]
    fn a_line_that_is_dropped_owes_nothing() {
        let mut line = line();
        let metrics = line.metrics.clone();
        let (_first, started) = waiting(Overlap::Append);
        line.push(started, None);
        drop(line);
        assert_eq!(metrics.requests_in_flight.get(), 0);
    }
}

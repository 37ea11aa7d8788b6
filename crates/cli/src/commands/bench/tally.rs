//! What a run has seen. One a thread; added up in the end.

use super::histogram::Histogram;
use super::schedule::{Nanos, Window};

#[derive(Debug, Clone)]
pub(super) struct Tally {
    window: Window,
    /// Answered within the window.
    pub(super) counted: Amount,
    /// Answered at all.
    pub(super) total: Amount,
    /// From the moment a request was due (without a rate: was sent) to its answer.
    pub(super) latency: Histogram,
    /// From the moment that a record was due to the moment a consumer had it.
    pub(super) end_to_end: Histogram,
    /// From the moment a request was due to the moment we began to send it: what of the latency is
    /// ours, or the doing of an answer that was waited for.
    pub(super) late: Histogram,
    /// Due or sent, and without an answer when we gave up.
    pub(super) n_unanswered: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) requests: u64,
    pub(super) records: u64,
    /// Of batches, as they go over the wire.
    pub(super) bytes: u64,
    /// Of values, before compression; where they were looked at.
    pub(super) value_bytes: u64,
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.records += other.records;
        self.bytes += other.bytes;
        self.value_bytes += other.value_bytes;
    }
}

impl Tally {
    pub(super) fn new(window: Window) -> Self {
        Self {
            window,
            counted: Amount::default(),
            total: Amount::default(),
            latency: Histogram::new(),
            end_to_end: Histogram::new(),
            late: Histogram::new(),
            n_unanswered: 0,
        }
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// This much was done at this moment.
    pub(super) fn done(&mut self, now: Nanos, amount: Amount) {
        self.total.add(amount);
        if self.window.counts(now) {
            self.counted.add(amount);
        }
    }

    /// IMPORTANT: what was due within the window counts, however late its answer is; else the
    /// slowest would be left out.
    pub(super) fn answered(&mut self, due: Nanos, now: Nanos) {
        if self.window.counts(due) {
            self.latency.record(now.saturating_sub(due));
        }
    }

    pub(super) fn arrived(&mut self, due: Nanos, now: Nanos) {
        if self.window.counts(due) {
            self.end_to_end.record(now.saturating_sub(due));
        }
    }

    pub(super) fn sent(&mut self, due: Nanos, now: Nanos) {
        if self.window.counts(due) {
            self.late.record(now.saturating_sub(due));
        }
    }

    /// No answer came: it would have taken this long at least.
    pub(super) fn unanswered(&mut self, due: Nanos, now: Nanos) {
        self.n_unanswered += 1;
        self.answered(due, now);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.counted.add(other.counted);
        self.total.add(other.total);
        self.latency.add(&other.latency);
        self.end_to_end.add(&other.end_to_end);
        self.late.add(&other.late);
        self.n_unanswered += other.n_unanswered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_answers_count_even_after_the_end() {
        let window = Window {
            start: 0,
            from: 10,
            until: 20,
            give_up: 100,
        };
        let mut tally = Tally::new(window);
        let amount = Amount {
            requests: 1,
            records: 5,
            bytes: 50,
            value_bytes: 40,
        };
        for (due, now) in [(5, 12), (15, 18), (19, 60), (20, 21)] {
            tally.done(now, amount);
            tally.answered(due, now);
        }
        tally.unanswered(19, 100);
        assert_eq!((tally.counted.requests, tally.total.records), (2, 20));
        assert_eq!((tally.latency.len(), tally.latency.max()), (3, 81));
        let mut twice = tally.clone();
        twice.add(&tally);
        assert_eq!(
            (twice.total.bytes, twice.n_unanswered, twice.latency.len()),
            (400, 2, 6)
        );
    }
}

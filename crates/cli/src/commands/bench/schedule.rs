//! When what is to be sent: at a fixed rate, or as fast as it goes. Pure: time is an argument.
//!
//! With a rate every send has its moment, whether the broker keeps up or not, and what is measured
//! counts from it. A broker that stops for a second so shows that second in a thousand sends, not
//! in one ("coordinated omission").

/// Nanoseconds since the run's clock was started.
pub(super) type Nanos = u64;

pub(super) const SECOND: Nanos = 1_000_000_000;

/// What part of a run counts: not the warm-up, not what comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// `start ≤ from ≤ until ≤ give_up`.
    pub(super) start: Nanos,
    pub(super) from: Nanos,
    pub(super) until: Nanos,
    /// Answers are awaited so long.
    pub(super) give_up: Nanos,
}

impl Window {
    pub(super) fn counts(&self, moment: Nanos) -> bool {
        (self.from..self.until).contains(&moment)
    }

    pub(super) fn length(&self) -> Nanos {
        self.until - self.from
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pace {
    AsFastAsItGoes { until: Nanos },
    Fixed(Schedule),
}

impl Pace {
    /// The moment of the next send, in the past if it is late; `None` when all is sent.
    pub(super) fn due(&self, now: Nanos) -> Option<Nanos> {
        match self {
            Self::AsFastAsItGoes { until } => (now < *until).then_some(now),
            Self::Fixed(schedule) => schedule.due(),
        }
    }

    pub(super) fn sent(&mut self) {
        if let Self::Fixed(schedule) = self {
            schedule.n_sent += 1;
        }
    }

    /// What is due by `now` and not sent.
    pub(super) fn overdue(&self, now: Nanos) -> impl Iterator<Item = Nanos> {
        let schedule = match self {
            Self::AsFastAsItGoes { .. } => None,
            Self::Fixed(schedule) => Some(schedule.clone()),
        };
        schedule.into_iter().flat_map(move |mut schedule| {
            std::iter::from_fn(move || {
                let due = schedule.due().filter(|due| *due <= now)?;
                schedule.n_sent += 1;
                Some(due)
            })
        })
    }
}

/// The share that one of several connections has of a rate: they take turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Records a second, over all connections, and records of one send.
    rate: u64,
    n_records: u64,
    start: Nanos,
    until: Nanos,
    /// This is connection `lane` of `n_lanes`.
    lane: u64,
    n_lanes: u64,
    n_sent: u64,
}

impl Schedule {
    /// `rate` is at least 1.
    pub(super) fn new(
        rate: u64,
        n_records: u64,
        window: &Window,
        (lane, n_lanes): (usize, usize),
    ) -> Self {
        Self {
            rate,
            n_records,
            start: window.start,
            until: window.until,
            lane: lane as u64,
            n_lanes: n_lanes as u64,
            n_sent: 0,
        }
    }

    /// Counted from the start each time, so that nothing adds up over a long run.
    fn due(&self) -> Option<Nanos> {
        let n = u128::from(self.n_sent) * u128::from(self.n_lanes) + u128::from(self.lane);
        let after = n * u128::from(self.n_records) * u128::from(SECOND);
        let after = after.checked_div(u128::from(self.rate))?;
        let due = u64::try_from(after).ok()?.checked_add(self.start)?;
        (due < self.until).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        start: 1_000,
        from: 2_000,
        until: 1_000 + SECOND,
        give_up: 1_000 + 2 * SECOND,
    };

    fn all(rate: u64, n_records: u64, lanes: usize) -> Vec<Nanos> {
        let mut moments = Vec::new();
        for lane in 0..lanes {
            let mut pace = Pace::Fixed(Schedule::new(rate, n_records, &WINDOW, (lane, lanes)));
            while let Some(due) = pace.due(0) {
                moments.push(due);
                pace.sent();
            }
            assert_eq!(pace.overdue(u64::MAX).count(), 0);
        }
        moments.sort_unstable();
        moments
    }

    #[test]
    fn a_second_holds_the_rate_whoever_sends() {
        for (rate, n_records, lanes) in [
            (1000, 1, 1),
            (1000, 1, 7),
            (7, 1, 3),
            (1000, 10, 4),
            (1, 1, 5),
        ] {
            let moments = all(rate, n_records, lanes);
            assert_eq!(
                moments.len() as u64 * n_records,
                rate,
                "{rate} over {lanes}"
            );
            assert_eq!(moments[0], WINDOW.start);
            let gap = n_records * SECOND / rate;
            assert!(
                moments
                    .windows(2)
                    .all(|pair| pair[1] - pair[0] >= gap && pair[1] - pair[0] <= gap + 1)
            );
        }
    }

    #[test]
    fn a_batch_larger_than_the_rate_comes_seldom() {
        let window = Window {
            until: WINDOW.start + 10 * SECOND,
            ..WINDOW
        };
        let mut pace = Pace::Fixed(Schedule::new(2, 10, &window, (0, 1)));
        assert_eq!(pace.due(0), Some(window.start));
        pace.sent();
        assert_eq!(pace.due(0), Some(window.start + 5 * SECOND));
        pace.sent();
        assert_eq!(pace.due(0), None);
    }

    #[test]
    fn what_a_stall_held_up_is_still_due_at_its_moment() {
        let mut pace = Pace::Fixed(Schedule::new(10, 1, &WINDOW, (0, 1)));
        let stall = WINDOW.start + SECOND / 2;
        assert_eq!(pace.due(stall), Some(WINDOW.start));
        let overdue: Vec<_> = pace.overdue(stall).collect();
        assert_eq!(overdue.len(), 6);
        assert_eq!(overdue.last(), Some(&stall));
        pace.sent();
        assert_eq!(pace.due(stall), Some(WINDOW.start + SECOND / 10));
        assert_eq!(pace.overdue(stall).count(), 5);
    }

    #[test]
    fn without_a_rate_it_is_always_time_until_the_end() {
        let mut pace = Pace::AsFastAsItGoes { until: 5 };
        for now in 0..5 {
            assert_eq!(pace.due(now), Some(now));
            pace.sent();
        }
        assert_eq!(pace.due(5), None);
        assert_eq!(pace.overdue(5).count(), 0);
    }

    #[test]
    fn only_the_window_counts() {
        assert!(!WINDOW.counts(1_999) && WINDOW.counts(2_000));
        assert!(!WINDOW.counts(WINDOW.until));
        assert_eq!(WINDOW.length(), SECOND - 1_000);
    }
}

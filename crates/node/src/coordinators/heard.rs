//! Which timers may fire: a member's heartbeat that waits in line behind a write that stalls came in
//! time, so what came before is decided first. What comes later is not waited for: a line that is
//! never empty must not keep sessions from ending.

use std::time::Duration;

use ottla_coordinators::Deadline;

/// All that came until a moment of the monotonic clock is decided.
#[derive(Debug, Default)]
pub(super) struct Heard {
    until: Duration,
    next: Option<Next>,
}

/// A later moment, and how much is still in line of what came until then.
#[derive(Debug)]
struct Next {
    until: Duration,
    n_ahead: usize,
}

impl Heard {
    /// Whether what is due by now may fire, with so many in line.
    pub(super) fn lets_fire(&mut self, due: Deadline, n_in_line: usize, now: Duration) -> bool {
        if due.0 > self.until && due.0 <= now && self.next.is_none() {
            self.next = Some(Next {
                until: now,
                n_ahead: n_in_line,
            });
            self.arrive();
        }
        due.0 <= self.until
    }

    /// The head of the line is taken out of it.
    pub(super) fn one(&mut self) {
        if let Some(next) = &mut self.next {
            next.n_ahead = next.n_ahead.saturating_sub(1);
            self.arrive();
        }
    }

    fn arrive(&mut self) {
        if let Some(next) = self.next.take_if(|next| next.n_ahead == 0) {
            self.until = next.until;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_timer_waits_for_what_came_before_and_for_nothing_else() {
        let (mut heard, due) = (Heard::default(), Deadline(at(6)));
        assert!(!heard.lets_fire(due, 0, at(5)), "it is not due");
        assert!(!heard.lets_fire(due, 2, at(9)));
        heard.one();
        // Others come all the time.
        assert!(!heard.lets_fire(due, 7, at(10)));
        heard.one();
        assert!(heard.lets_fire(due, 6, at(10)));
        let others = [(at(9), true), (at(10), false)];
        for (due, fires) in others {
            assert_eq!(heard.lets_fire(Deadline(due), 6, at(10)), fires, "{due:?}");
        }
    }

    #[test]
    fn where_nobody_is_in_line_a_timer_fires_at_once() {
        let mut heard = Heard::default();
        heard.one();
        assert!(heard.lets_fire(Deadline(at(6)), 0, at(6)));
        assert!(!heard.lets_fire(Deadline(at(8)), 0, at(7)));
        assert!(heard.lets_fire(Deadline(at(8)), 0, at(8)));
    }
}

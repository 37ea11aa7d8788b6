//! What the controller does unasked.

use std::time::Duration;

use super::{Controller, Decision};
use crate::records::NoOpRecord;

/// Knows when the log has been silent for too long. Soft state of the host.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// `metadata.max.idle.interval.ms`; `None` switches it off.
    pub interval: Option<Duration>,
    pub last_append: Duration,
}

impl Idle {
    /// When a NoOp is due if nothing else is written.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.interval.map(|interval| self.last_append + interval)
    }
}

impl Controller {
    /// A record that says no more than that the controller is alive.
    pub fn no_op(&self) -> Decision<()> {
        self.decide(vec![NoOpRecord {}.into()], ())
    }
}

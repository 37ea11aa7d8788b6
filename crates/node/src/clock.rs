//! The clocks of a node. Rules get their time from here, as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Both clocks, the monotonic one counted from the start of the node.
#[derive(Debug, Clone)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock {
    /// Milliseconds since 1970.
    pub fn wall_ms(&self) -> i64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// Time since the node started.
    pub fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    /// The moment of a deadline that rules gave as a time since the start.
    pub fn instant(&self, monotonic: Duration) -> Instant {
        self.start + monotonic
    }

    pub fn now(&self) -> ottla_coordinators::Now {
        ottla_coordinators::Now {
            monotonic: self.monotonic(),
            wall_ms: self.wall_ms(),
        }
    }

    pub(crate) fn quorum_now(&self) -> ottla_raft::Now {
        ottla_raft::Now {
            monotonic: self.monotonic(),
            wall_ms: self.wall_ms(),
        }
    }
}

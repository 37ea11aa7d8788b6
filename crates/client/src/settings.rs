//! What every use of the client shares: names, patience, bounds. The defaults are Kafka's.

use std::time::Duration;

/// Largest answer that we take. A fetch is bounded by what it asks for, everything else by the
/// size of a cluster.
const MAX_FRAME: usize = 128 << 20;

/// Requests of one connection that wait for their answers: Kafka's
/// `max.in.flight.requests.per.connection`, and the number of batches that a broker remembers of
/// an idempotent producer.
pub const MAX_IN_FLIGHT: usize = 5;

#[derive(Debug, Clone)]
pub struct ClientSettings {
    pub client_id: String,
    /// Until a socket is open and versions are agreed.
    pub connect_timeout: Duration,
    /// Until one answer is here; a connection that misses it is given up.
    pub request_timeout: Duration,
    /// Until a call is done, all its retries included.
    pub api_timeout: Duration,
    /// Between attempts to connect to a node that does not answer; doubles up to the second.
    pub reconnect_backoff: (Duration, Duration),
    /// Between attempts of a request; doubles up to the second.
    pub retry_backoff: (Duration, Duration),
    /// Metadata older than this is asked for again.
    pub metadata_max_age: Duration,
    pub max_frame: usize,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            client_id: "ottla".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            reconnect_backoff: (Duration::from_millis(50), Duration::from_secs(1)),
            retry_backoff: (Duration::from_millis(100), Duration::from_secs(1)),
            metadata_max_age: Duration::from_secs(300),
            max_frame: MAX_FRAME,
        }
    }
}

/// The `n`th pause, from 0: doubled each time, up to the limit, and spread by a fifth, so that
/// clients which failed together do not come back together.
pub(crate) fn pause((first, limit): (Duration, Duration), n: u32) -> Duration {
    let doubled = first.saturating_mul(1 << n.min(16)).min(limit);
    doubled.mul_f64(0.8 + 0.4 * crate::random::fraction())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_limit() {
        let range = (Duration::from_millis(100), Duration::from_secs(1));
        for (n, ms) in [(0, 100), (1, 200), (3, 800), (4, 1000), (40, 1000)] {
            let pause = pause(range, n).as_millis();
            assert!(
                (ms * 8 / 10..=ms * 12 / 10).contains(&pause),
                "{n}: {pause}"
            );
        }
    }
}

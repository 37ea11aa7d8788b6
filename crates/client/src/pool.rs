//! A connection per address, and patience with those that cannot be reached.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::fault::Fault;

/// The first wait after a failure; doubled with each further one.
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
/// And not more than this: a broker that comes back is found soon.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Pool {
    client_id: String,
    request_timeout: Duration,
    lines: Mutex<HashMap<String, Line>>,
}

#[derive(Debug, Default)]
struct Line {
    connection: Option<Connection>,
    failures: u32,
    not_before: Option<Instant>,
}

impl Pool {
    pub(crate) fn new(client_id: String, request_timeout: Duration) -> Self {
        Self {
            client_id,
            request_timeout,
            lines: Mutex::default(),
        }
    }

    /// The open connection to this address, or a new one.
    pub(crate) async fn to(&self, address: &str) -> Result<Connection, Fault> {
        if let Some(wait) = self.wait_for(address).await {
            tokio::time::sleep_until(wait).await;
        }
        if let Some(open) = self.open(address).await {
            return Ok(open);
        }
        // Not under the lock: one broker that hangs must not hold up talk with the others.
        let opened = Connection::open(address, &self.client_id, self.request_timeout).await;
        let mut lines = self.lines.lock().await;
        let line = lines.entry(address.to_owned()).or_default();
        match opened {
            Ok(connection) => {
                *line = Line {
                    connection: Some(connection.clone()),
                    ..Line::default()
                };
                Ok(connection)
            }
            Err(fault) => {
                let doubled = BACK_OFF_MIN * 2u32.saturating_pow(line.failures.min(10));
                line.failures += 1;
                line.not_before = Some(Instant::now() + doubled.min(BACK_OFF_MAX));
                Err(fault)
            }
        }
    }

    async fn wait_for(&self, address: &str) -> Option<Instant> {
        self.lines.lock().await.get(address)?.not_before
    }

    async fn open(&self, address: &str) -> Option<Connection> {
        let mut lines = self.lines.lock().await;
        let line = lines.get_mut(address)?;
        line.connection.take_if(|connection| connection.is_closed());
        line.connection.clone()
    }
}

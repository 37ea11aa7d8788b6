//! Connections by node, opened when needed and kept; a node that does not answer is left alone for
//! a while that grows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ottla_protocol::NodeId;
use tokio::time::{Instant, sleep_until};

use crate::address::Address;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::settings::{ClientSettings, pause};

/// A broker takes up the requests of one connection one after the other, so what may wait there
/// (Fetch, JoinGroup) must not stand before what must not (Heartbeat, Produce).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Metadata and administration.
    Calls,
    Produce,
    Fetch,
    /// JoinGroup and SyncGroup wait for other members.
    Group,
    Heartbeat,
}

#[derive(Debug)]
pub struct Pool {
    settings: Arc<ClientSettings>,
    slots: Mutex<HashMap<(NodeId, Lane), Arc<Slot>>>,
}

/// The lock is held while one caller connects, so that the others wait for the same connection.
type Slot = tokio::sync::Mutex<Line>;

#[derive(Debug, Default)]
struct Line {
    connection: Option<Arc<Connection>>,
    n_failures: u32,
    not_before: Option<Instant>,
}

impl Pool {
    pub fn new(settings: Arc<ClientSettings>) -> Self {
        Self {
            settings,
            slots: Mutex::default(),
        }
    }

    /// The connection to a node, opened if there is none. A node that moved gets a new one.
    pub async fn connection(
        &self,
        node: NodeId,
        address: &Address,
        lane: Lane,
    ) -> Result<Arc<Connection>, ClientError> {
        let slot = self.slot(node, lane);
        let mut line = slot.lock().await;
        if let Some(connection) = &line.connection
            && !connection.is_closed()
            && connection.address() == address
        {
            return Ok(Arc::clone(connection));
        }
        line.connection = None;
        if let Some(moment) = line.not_before {
            sleep_until(moment).await;
        }
        match Connection::open(address, &self.settings).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *line = Line {
                    connection: Some(Arc::clone(&connection)),
                    ..Line::default()
                };
                Ok(connection)
            }
            Err(error) => {
                let wait = pause(self.settings.reconnect_backoff, line.n_failures);
                line.n_failures = line.n_failures.saturating_add(1);
                line.not_before = Some(Instant::now() + wait);
                Err(error)
            }
        }
    }

    fn slot(&self, node: NodeId, lane: Lane) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry((node, lane)).or_default())
    }
}

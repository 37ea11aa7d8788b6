//! Holds all topics against the patterns that groups are subscribed to. There may be many of both,
//! so it is done beside the groups' lines, and what was found goes back into the line.

use std::sync::{Arc, OnceLock, Weak};

use ottla_coordinators::group::{PatternErrand, ResolvedPatterns};
use ottla_protocol::Refusal;
use tokio::runtime::Handle;

use super::groups::GroupHost;
use crate::Clock;

/// Runs the errands of the group ledgers of this node.
pub(crate) struct PatternReader {
    control: Handle,
    clock: Clock,
    /// Whose errands these are. It holds us, so we do not hold it.
    host: OnceLock<Weak<GroupHost>>,
}

impl PatternReader {
    pub(crate) fn new(control: Handle, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            control,
            clock,
            host: OnceLock::new(),
        })
    }

    pub(crate) fn serve(&self, host: &Arc<GroupHost>) {
        let _ = self.host.set(Arc::downgrade(host));
    }

    pub(crate) fn read(self: &Arc<Self>, errand: PatternErrand) {
        let reader = self.clone();
        self.control.spawn(async move {
            if let Err(refusal) = reader.run(errand).await {
                // The ledger is gone; whoever loads its log next resolves them again.
                tracing::debug!(refusal = refusal.name(), "patterns are not resolved");
            }
        });
    }

    async fn run(&self, errand: PatternErrand) -> Result<(), Refusal> {
        let host = self.host.get().and_then(Weak::upgrade);
        let host = host.ok_or(Refusal::NotCoordinator)?;
        let (topics, now_ms) = (host.topics(), self.clock.wall_ms());
        let resolved: ResolvedPatterns = tokio::task::spawn_blocking(move || {
            errand.resolve(topics.names(), topics.version(), now_ms)
        })
        .await
        .map_err(|_| Refusal::UnknownServerError)?;
        host.patterns_resolved(resolved).await
    }
}

//! Ids for idempotent producers, a block at a time from the controller.

use ottla_metadata::controller::ProducerIdBlock;
use ottla_protocol::{ProducerId, Refused};
use tokio::sync::Mutex;

use crate::services::Services;

/// What is left of the current block.
#[derive(Debug, Default)]
pub struct ProducerIds {
    block: Mutex<Option<ProducerIdBlock>>,
}

impl ProducerIds {
    /// An id that nobody else has or will get.
    ///
    /// # Errors
    /// What the controller says about a new block.
    pub async fn next(&self, services: &Services) -> Result<ProducerId, Refused> {
        let mut block = self.block.lock().await;
        let current = match block.filter(|block| block.len > 0) {
            Some(current) => current,
            None => {
                let (node, epoch) = (services.node_id(), services.broker_epoch());
                let decide = move |ledger: &ottla_metadata::controller::Controller, _| {
                    ledger.allocate_producer_ids(node, epoch)
                };
                services.controller().decide(decide).await??
            }
        };
        *block = Some(ProducerIdBlock {
            first: current.first + 1,
            len: current.len - 1,
        });
        Ok(current.first)
    }
}

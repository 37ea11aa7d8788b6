//! Ids for producers, a block at a time from the controller.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::controller::ProducerIdBlock;
use ottla_protocol::{ProducerId, Refusal, Refused};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::services::Services;

/// A new block is fetched when fewer are left: who takes an id within a decision cannot wait.
const LOW: i32 = 100;
/// How long one who finds some waits for more, which usually come within milliseconds: many who ask at
/// once would use up the last ones, and be sent away.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is left of the current block, and the next one.
#[derive(Debug, Default)]
pub struct ProducerIds {
    blocks: Mutex<VecDeque<ProducerIdBlock>>,
    /// Held while a block is fetched: the others wait for the same one.
    fetching: tokio::sync::Mutex<()>,
}

impl ProducerIds {
    /// An id that nobody else has or will get.
    ///
    /// # Errors
    /// What the controller says about a new block.
    pub async fn next(self: &Arc<Self>, services: &Services) -> Result<ProducerId, Refused> {
        loop {
            if let Some(id) = self.lend(Option::take) {
                return Ok(id);
            }
            self.fetch(services, 1).await?;
        }
    }

    /// Sees to it that some are at hand for [`Self::lend`]. While there are, a controller that does not
    /// answer is not waited for: most of those who may want one do without.
    ///
    /// # Errors
    /// As [`Self::next`], if there is none at all.
    pub async fn stock_up(self: &Arc<Self>, services: &Services) -> Result<(), Refused> {
        if self.n_left() >= LOW {
            return Ok(());
        }
        let fetched = match self.n_left() {
            0 => self.fetch(services, LOW).await,
            _ => timeout(PATIENCE, self.fetch(services, LOW))
                .await
                .unwrap_or(Ok(())),
        };
        match fetched {
            Err(refused) if self.n_left() == 0 => Err(refused),
            _ => Ok(()),
        }
    }

    /// Lends an id, if one is at hand; what is taken is used up.
    pub(crate) fn lend<T>(&self, borrow: impl FnOnce(&mut Option<ProducerId>) -> T) -> T {
        let mut blocks = self.blocks.lock();
        while blocks.front().is_some_and(|block| block.len <= 0) {
            blocks.pop_front();
        }
        let mut hand = blocks.front().map(|block| block.first);
        let done = borrow(&mut hand);
        if hand.is_none()
            && let Some(block) = blocks.front_mut()
        {
            block.first += 1;
            block.len -= 1;
        }
        done
    }

    fn n_left(&self) -> i32 {
        self.blocks.lock().iter().map(|block| block.len).sum()
    }

    /// IMPORTANT: on a task of its own. Who asks may not look for long, since its client does not read, and
    /// would hold the lock meanwhile.
    async fn fetch(self: &Arc<Self>, services: &Services, enough: i32) -> Result<(), Refused> {
        let (ids, controller) = (self.clone(), services.controller().clone());
        let (node, epoch) = (services.node_id(), services.broker_epoch());
        let fetched = tokio::spawn(async move {
            let _fetching = ids.fetching.lock().await;
            if ids.n_left() >= enough {
                return Ok(());
            }
            let decide = move |ledger: &ottla_metadata::controller::Controller, _| {
                ledger.allocate_producer_ids(node, epoch)
            };
            let block = controller.decide(decide).await??;
            ids.blocks.lock().push_back(block);
            Ok(())
        });
        fetched
            .await
            .unwrap_or_else(|_| Err(Refusal::UnknownServerError.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_and_not_taken_is_there_for_the_next() {
        let ids = ProducerIds::default();
        assert_eq!(ids.lend(Option::take), None);
        let mut blocks = ids.blocks.lock();
        blocks.push_back(ProducerIdBlock { first: 7, len: 2 });
        blocks.push_back(ProducerIdBlock { first: 50, len: 1 });
        drop(blocks);
        assert_eq!(ids.lend(|hand| *hand), Some(7));
        assert_eq!(ids.lend(Option::take), Some(7));
        assert_eq!(ids.lend(Option::take), Some(8));
        assert_eq!(ids.lend(Option::take), Some(50));
        assert_eq!(ids.lend(Option::take), None);
    }
}

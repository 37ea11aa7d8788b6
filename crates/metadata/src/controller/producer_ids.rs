//! Hand out a block of producer ids.

use ottla_protocol::{NodeId, ProducerId};

use super::{Controller, Decision, Outcome};

/// Ids from `first` on, to be given out by one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub first: ProducerId,
    pub len: i32,
}

impl ProducerIdBlock {
    /// As in Kafka.
    pub const LEN: i32 = 1000;
}

impl Controller {
    /// The next block, for a broker that shows its current epoch.
    pub fn allocate_producer_ids(
        &self,
        broker: NodeId,
        broker_epoch: i64,
    ) -> Decision<Outcome<ProducerIdBlock>> {
        let _ = (broker, broker_epoch);
        todo!()
    }
}

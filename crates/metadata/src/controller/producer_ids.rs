//! Hand out a block of producer ids.

use ottla_protocol::{NodeId, ProducerId, Refusal, Refused};

use super::{Controller, Decision, Outcome};
use crate::records::ProducerIdsRecord;

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
        if let Err(refused) = self.check_broker_epoch(broker, broker_epoch) {
            return Decision::reply(Err(refused));
        }
        let first = self.image().producer_ids.next();
        let Some(next_producer_id) = first.checked_add(i64::from(ProducerIdBlock::LEN)) else {
            return Decision::reply(Err(Refused::new(
                Refusal::UnknownServerError,
                "Exhausted all producerIds as the next block's end producerId has exceeded the \
                 int64 type limit",
            )));
        };
        let record = ProducerIdsRecord {
            broker_id: broker,
            broker_epoch,
            next_producer_id,
        };
        let block = ProducerIdBlock {
            first,
            len: ProducerIdBlock::LEN,
        };
        self.decide(vec![record.into()], Ok(block))
    }
}

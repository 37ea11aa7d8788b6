//! The next free block of producer ids.

use ottla_protocol::ProducerId;

use super::Corrupt;
use crate::records::{ProducerIdsRecord, Record};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerIds {
    next: Option<ProducerId>,
}

impl ProducerIds {
    /// The first id that was never handed out.
    pub fn next(&self) -> ProducerId {
        self.next.unwrap_or(0)
    }

    pub(super) fn replay(&mut self, record: &ProducerIdsRecord) -> Result<(), Corrupt> {
        // The same number again would hand out a block twice.
        if self
            .next
            .is_some_and(|next| record.next_producer_id <= next)
        {
            return Err(Corrupt::new(format!(
                "producer ids fall from {} to {}",
                self.next(),
                record.next_producer_id
            )));
        }
        self.next = Some(record.next_producer_id);
        Ok(())
    }

    pub(super) fn write(&self, records: &mut Vec<Record>) {
        if let Some(next_producer_id) = self.next {
            let nobody = -1;
            records.push(
                ProducerIdsRecord {
                    broker_id: nobody,
                    broker_epoch: -1,
                    next_producer_id,
                }
                .into(),
            );
        }
    }
}

//! Transactions, as preparation: where they are not served, nothing happens here.

use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::producers::transactional_batch;
use super::{Story, settle};

impl Story<'_> {
    /// Appends two records in a transaction of a producer in its `inits`th incarnation, and ends
    /// it: committed, aborted, or not at all.
    pub fn transaction(&mut self, name: &str, topic: &Text, inits: usize, committed: Option<bool>) {
        if !self.serves::<AddPartitionsToTxnRequest>(3) {
            return;
        }
        self.wait_for_transactions();
        let transactional_id = self.name(name);
        let init = InitProducerIdRequest {
            transactional_id: Some(transactional_id.clone()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let mut producer = None;
        for _ in 0..inits {
            producer = self.prepare_until(4, &init, |answer| answer.error_code);
        }
        let Some(producer) = producer else { return };
        let (id, epoch) = (producer.producer_id, producer.producer_epoch);
        let topics = vec![AddPartitionsToTxnTopic {
            name: topic.clone(),
            partitions: vec![0],
        }];
        let add = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: transactional_id.clone(),
            v3_and_below_producer_id: id,
            v3_and_below_producer_epoch: epoch,
            v3_and_below_topics: topics,
            ..Default::default()
        };
        self.prepare_until(3, &add, |answer| {
            answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
        });
        let batch = transactional_batch(id, epoch, 0, 2);
        self.write_batch_as(&transactional_id, topic, batch);
        if let Some(committed) = committed {
            let end = EndTxnRequest {
                transactional_id,
                producer_id: id,
                producer_epoch: epoch,
                committed,
            };
            self.prepare_until(3, &end, |answer| answer.error_code);
            settle();
        }
    }

    /// Where transactions are served, their coordinator needs a moment at first.
    pub fn wait_for_transactions(&mut self) {
        if !self.serves::<AddPartitionsToTxnRequest>(3) {
            return;
        }
        let name = self.name("txn-first");
        let find = FindCoordinatorRequest {
            key_type: FindCoordinatorRequest::TRANSACTION,
            coordinator_keys: vec![name.clone()],
            ..Default::default()
        };
        self.prepare_until(4, &find, |answer| answer.coordinators[0].error_code);
        let first = InitProducerIdRequest {
            transactional_id: Some(name),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        self.prepare_until(4, &first, |answer| answer.error_code);
    }
}

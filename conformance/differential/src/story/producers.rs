//! Producers get ids, and partitions remember them.

use bytes::Bytes;
use ottla_protocol::Text;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::*;

use super::{NOW, Story, settle, versions};

impl Story<'_> {
    pub fn producers(&mut self) {
        self.init_producer_ids();
        self.describe_producers();
    }

    fn init_producer_ids(&mut self) {
        for version in versions::<InitProducerIdRequest>() {
            let mut request = InitProducerIdRequest {
                transactional_id: None,
                ..Default::default()
            };
            request.transaction_timeout_ms = i32::MAX;
            self.ask("idempotent", version, &request);
            if version >= 3 {
                request.producer_id = 1_000_000;
                request.producer_epoch = 3;
                self.ask("idempotent, with an id", version, &request);
                request.producer_epoch = -1;
                self.ask("idempotent, an id without epoch", version, &request);
            }
            request = InitProducerIdRequest {
                transactional_id: Some(self.name(&format!("txn-{version}"))),
                transaction_timeout_ms: 60_000,
                ..Default::default()
            };
            self.wait_for_transactions(&request);
            self.ask("transactional", version, &request);
            let again = self.ask("transactional, again", version, &request);
            if version >= 3
                && let Some(again) = again
            {
                request.producer_id = again.producer_id;
                request.producer_epoch = again.producer_epoch;
                self.ask("transactional, with its id", version, &request);
                request.producer_epoch = 0;
                self.ask("transactional, from the past", version, &request);
            }
            request.transaction_timeout_ms = 0;
            self.ask("no timeout", version, &request);
            request.transactional_id = Some(Text::new());
            self.ask("empty transactional id", version, &request);
        }
    }

    /// Where transactions are served, their coordinator needs a moment at first.
    fn wait_for_transactions(&mut self, request: &InitProducerIdRequest) {
        if self.serves::<AddOffsetsToTxnRequest>(3) {
            let key = request.transactional_id.clone().unwrap_or_default();
            let find = FindCoordinatorRequest {
                key_type: FindCoordinatorRequest::TRANSACTION,
                coordinator_keys: vec![key],
                ..Default::default()
            };
            self.prepare_until(4, &find, |answer| answer.coordinators[0].error_code);
            let first = InitProducerIdRequest {
                transactional_id: Some(self.name("txn-first")),
                transaction_timeout_ms: 60_000,
                ..Default::default()
            };
            self.prepare_until(4, &first, |answer| answer.error_code);
        }
    }

    fn describe_producers(&mut self) {
        let topic = self.name("producers");
        self.make_topic(&topic, 2);
        let request = InitProducerIdRequest {
            transactional_id: None,
            ..Default::default()
        };
        if let Some(producer) = self.prepare(4, &request) {
            let (id, epoch) = (producer.producer_id, producer.producer_epoch);
            self.write_batch(&topic, numbered_batch(id, epoch, 0, 5));
            self.write_batch(&topic, numbered_batch(id, epoch, 5, 5));
        }
        self.transactions(&topic);
        let known = DescribeProducersTopicRequest {
            name: topic,
            partition_indexes: vec![0, 1, 44],
        };
        let absent = DescribeProducersTopicRequest {
            name: self.name("absent"),
            partition_indexes: vec![0],
        };
        let bad = DescribeProducersTopicRequest {
            name: Text::from("not/a/name"),
            partition_indexes: vec![0],
        };
        self.ask(
            "describe",
            0,
            &DescribeProducersRequest {
                topics: vec![known, absent, bad],
            },
        );
    }

    /// One that is committed, twice fenced by itself, and one that stays open.
    fn transactions(&mut self, topic: &Text) {
        for (name, inits, ends) in [("txn-ended", 3, true), ("txn-open", 2, false)] {
            let transactional_id = self.name(name);
            let init = InitProducerIdRequest {
                transactional_id: Some(transactional_id.clone()),
                transaction_timeout_ms: 60_000,
                ..Default::default()
            };
            if !self.serves::<AddPartitionsToTxnRequest>(3) {
                return;
            }
            let mut producer = None;
            for _ in 0..inits {
                producer = self.prepare_until(4, &init, |answer| answer.error_code);
            }
            let Some(producer) = producer else { return };
            let (id, epoch) = (producer.producer_id, producer.producer_epoch);
            let add = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: transactional_id.clone(),
                v3_and_below_producer_id: id,
                v3_and_below_producer_epoch: epoch,
                v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                    name: topic.clone(),
                    partitions: vec![0],
                }],
                ..Default::default()
            };
            self.prepare_until(3, &add, |answer| {
                answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
            });
            self.write_batch_as(
                &transactional_id,
                topic,
                transactional_batch(id, epoch, 0, 2),
            );
            if ends {
                let end = EndTxnRequest {
                    transactional_id,
                    producer_id: id,
                    producer_epoch: epoch,
                    committed: true,
                };
                self.prepare_until(3, &end, |answer| answer.error_code);
                settle();
            }
        }
    }
}

pub fn numbered_batch(id: i64, epoch: i16, sequence: i32, n: i64) -> Bytes {
    numbered(
        BatchBuilder::data(Codec::None).producer(id, epoch, sequence),
        n,
    )
}

pub fn transactional_batch(id: i64, epoch: i16, sequence: i32, n: i64) -> Bytes {
    numbered(
        BatchBuilder::data(Codec::None)
            .producer(id, epoch, sequence)
            .transactional(),
        n,
    )
}

fn numbered(mut batch: BatchBuilder, n: i64) -> Bytes {
    for at in 0..n {
        batch.push(NOW + at, Some(b"key"), Some(b"numbered"));
    }
    batch.finish()
}

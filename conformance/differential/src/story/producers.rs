//! Producers get ids, and partitions remember them.

use bytes::Bytes;
use ottla_protocol::Text;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::*;

use super::{NOW, Story, versions};

impl Story<'_> {
    pub fn producers(&mut self) {
        self.init_producer_ids();
        self.describe_producers();
    }

    fn init_producer_ids(&mut self) {
        self.wait_for_transactions();
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
        // Three incarnations, the last of which commits; and one that stays open.
        self.transaction("txn-ended", &topic, 3, Some(true));
        self.transaction("txn-open", &topic, 2, None);
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
        batch.push(*NOW + at, Some(b"key"), Some(b"numbered"));
    }
    batch.finish()
}

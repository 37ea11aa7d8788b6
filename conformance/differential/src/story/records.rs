//! Produce, in all codecs and with all that can be wrong.

use bytes::Bytes;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::{NOW, Story, TIMEOUT_MS, plain_batch, settle, versions};

impl Story<'_> {
    pub fn records(&mut self) {
        let topic = self.name("records");
        let id = self.make_topic(&topic, 2);
        self.write(&topic, 5);
        let stamped = self.make_stamped_topic();
        for version in versions::<ProduceRequest>() {
            self.produce(version, &topic, id, &stamped);
        }
        self.fetches(&topic, id, &stamped);
    }

    /// A compacted topic with LogAppendTime: it stamps, and refuses records without a key.
    fn make_stamped_topic(&mut self) -> (Text, Uuid) {
        let name = self.name("stamped");
        let setting = |name: &str, value: &str| CreatableTopicConfig {
            name: Text::from(name),
            value: Some(Text::from(value)),
        };
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: 1,
            replication_factor: 1,
            configs: vec![
                setting("message.timestamp.type", "LogAppendTime"),
                setting("cleanup.policy", "compact"),
            ],
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        let answer = self.prepare(7, &request);
        let id = answer
            .and_then(|a| a.topics.first().map(|t| t.topic_id))
            .unwrap_or_default();
        self.wait_for_topic(&name);
        self.write(&name, 3);
        self.prepare(
            2,
            &DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: name.clone(),
                    partitions: vec![DeleteRecordsPartition {
                        partition_index: 0,
                        offset: 2,
                    }],
                }],
                timeout_ms: TIMEOUT_MS,
            },
        );
        settle();
        (name, id)
    }

    fn produce(&mut self, version: i16, topic: &Text, id: Uuid, stamped: &(Text, Uuid)) {
        for codec in Codec::ALL {
            let batch = compressed_batch(codec);
            self.ask(
                &format!("{codec:?}"),
                version,
                &produce_request(version, topic, id, 0, batch),
            );
        }
        let (name, stamped_id) = stamped;
        let request = produce_request(version, name, *stamped_id, 0, plain_batch(2));
        self.ask("stamped by the broker", version, &request);
        let mut keyless = BatchBuilder::data(Codec::None);
        keyless.push(*NOW, Some(b"key"), Some(b"value"));
        keyless.push(*NOW, None, Some(b"value"));
        let request = produce_request(version, name, *stamped_id, 0, keyless.finish());
        self.ask("without a key, compacted", version, &request);
        let request = produce_request(version, topic, id, 44, plain_batch(1));
        self.ask("absent partition", version, &request);
        let absent = Uuid::from_u128(1 << 81);
        let request = produce_request(version, &self.name("absent"), absent, 0, plain_batch(1));
        self.ask("absent topic", version, &request);
        let mut request = produce_request(version, topic, id, 1, damaged(plain_batch(1)));
        self.ask("damaged", version, &request);
        request.acks = 7;
        self.ask("acks 7", version, &request);
        request = produce_request(version, topic, id, 1, Bytes::new());
        self.ask("no batch", version, &request);
        request = produce_request(version, topic, id, 1, plain_batch(1));
        request.transactional_id = Some(self.name("no-transaction"));
        self.ask("transactional id without a transaction", version, &request);
        request.transactional_id = None;
        request.acks = 1;
        self.ask("acks 1", version, &request);
        request.acks = 0;
        if self.serves::<ProduceRequest>(version)
            && let Err(why) = self.unthrottled.tell(version, &request)
        {
            println!("note: acks 0 at v{version}: {why}");
        }
    }

    /// Appends as part of a transaction, until that works.
    pub fn write_batch_as(&mut self, transactional_id: &Text, topic: &Text, batch: Bytes) -> bool {
        for _ in 0..super::TRIES {
            let mut request = produce_request(9, topic, Uuid::ZERO, 0, batch.clone());
            request.transactional_id = Some(transactional_id.clone());
            let answer = self.prepare(9, &request);
            if answer.is_some_and(|answer| produce_error(&answer) == Some(0)) {
                return true;
            }
            settle();
        }
        println!("note: a transactional batch was not taken");
        false
    }
}

pub fn produce_request(
    version: i16,
    topic: &Text,
    id: Uuid,
    index: i32,
    records: Bytes,
) -> ProduceRequest {
    let partition_data = vec![PartitionProduceData {
        index,
        records: Some(records),
    }];
    let topic = match version {
        13.. => TopicProduceData {
            name: Text::new(),
            topic_id: id,
            partition_data,
        },
        _ => TopicProduceData {
            name: topic.clone(),
            topic_id: Uuid::ZERO,
            partition_data,
        },
    };
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![topic],
    }
}

pub fn produce_error(answer: &ProduceResponse) -> Option<i16> {
    Some(
        answer
            .responses
            .first()?
            .partition_responses
            .first()?
            .error_code,
    )
}

fn compressed_batch(codec: Codec) -> Bytes {
    let mut batch = BatchBuilder::data(codec);
    for at in 0..10 {
        batch.push(*NOW + at, Some(b"key"), Some(b"value, value, value"));
    }
    batch.finish()
}

/// Another byte in the last record: the checksum does not hold.
fn damaged(batch: Bytes) -> Bytes {
    let mut bytes = batch.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    Bytes::from(bytes)
}

//! DescribeProducers (key 61, version 0): the producers that partitions remember (KIP-664).

use ottla_metadata::controller::check_topic_name;
use ottla_metadata::image::Image;
use ottla_node::{ActiveProducer, Services};
use ottla_protocol::messages::{
    DescribeProducersPartitionResponse, DescribeProducersProducerState, DescribeProducersRequest,
    DescribeProducersResponse, DescribeProducersTopicResponse,
};
use ottla_protocol::{Refusal, Refused};

use crate::api::{code, count_errors};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let image = services.image();
    let mut response = DescribeProducersResponse::default();
    for topic in request.topics {
        let checked = check_topic(&image, &topic.name);
        let mut partitions = Vec::new();
        for index in topic.partition_indexes {
            partitions.push(match &checked {
                Ok(()) => producers(services, &topic.name, index).await,
                Err(refused) => DescribeProducersPartitionResponse {
                    partition_index: index,
                    error_code: refused.code(),
                    error_message: Some(refused.words().into()),
                    ..Default::default()
                },
            });
        }
        response.topics.push(DescribeProducersTopicResponse {
            name: topic.name,
            partitions,
        });
    }
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    count_errors(
        services,
        call,
        partitions.map(|partition| partition.error_code),
    );
    response
}

fn check_topic(image: &Image, name: &str) -> Result<(), Refused> {
    check_topic_name(name)?;
    image
        .topics
        .find(name)
        .map(drop)
        .ok_or_else(|| Refusal::UnknownTopicOrPartition.into())
}

/// Any replica can tell; that a partition is not here is said without words, as in Kafka.
async fn producers(
    services: &Services,
    topic: &str,
    index: i32,
) -> DescribeProducersPartitionResponse {
    let found = match services.replica_of(topic, index) {
        Ok(partition) => services
            .where_it_may_wait(move |_| partition.active_producers())
            .await
            .unwrap_or(Err(Refusal::UnknownServerError)),
        Err(refusal) => Err(refusal),
    };
    let found = found.map_err(Refused::from);
    DescribeProducersPartitionResponse {
        partition_index: index,
        error_code: code(&found),
        active_producers: found.unwrap_or_default().into_iter().map(state).collect(),
        ..Default::default()
    }
}

fn state(producer: ActiveProducer) -> DescribeProducersProducerState {
    const NO_TRANSACTION: i64 = -1;
    DescribeProducersProducerState {
        producer_id: producer.id,
        producer_epoch: i32::from(producer.epoch),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.transaction_start.unwrap_or(NO_TRANSACTION),
    }
}

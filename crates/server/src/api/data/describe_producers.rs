//! DescribeProducers (key 61, version 0): the producers that partitions remember (KIP-664).

use std::sync::Arc;

use ottla_metadata::controller::check_topic_name;
use ottla_metadata::image::Image;
use ottla_node::{ActiveProducer, Partition, Services};
use ottla_protocol::messages::{
    DescribeProducersPartitionResponse, DescribeProducersProducerState, DescribeProducersRequest,
    DescribeProducersResponse, DescribeProducersTopicResponse,
};
use ottla_protocol::{Refusal, Refused, Text};

use crate::api::{Room, code, count_errors};
use crate::session::Call;

/// Producers that one answer tells, however often a partition is named.
const PRODUCERS_MAX: usize = 1_000_000;
const WORDS_BYTES_MAX: usize = 1 << 20;

/// What a partition remembers.
type Found = Result<Vec<ActiveProducer>, Refusal>;
/// Where in the answer a partition stands: which topic, and which of its partitions.
type Place = (usize, usize);

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let image = services.image();
    let (mut topics, mut here) = (Vec::new(), Vec::new());
    let mut room = Room::of(WORDS_BYTES_MAX);
    for topic in request.topics {
        let checked = check_topic(&image, &topic.name);
        let checked = checked.map_err(|refused| (refused.code(), Text::from(refused.words())));
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            partitions.push(match &checked {
                Ok(()) => match services.replica_of(&topic.name, index) {
                    Ok(partition) => {
                        here.push(((topics.len(), partitions.len()), partition));
                        described(index, Ok(Vec::new()))
                    }
                    Err(refusal) => described(index, Err(refusal)),
                },
                Err((error_code, words)) => DescribeProducersPartitionResponse {
                    partition_index: index,
                    error_code: *error_code,
                    error_message: room.words(words),
                    ..Default::default()
                },
            });
        }
        topics.push(DescribeProducersTopicResponse {
            name: topic.name,
            partitions,
        });
    }
    let (places, here): (Vec<Place>, Vec<Arc<Partition>>) = here.into_iter().unzip();
    fill(&mut topics, &places, producers(services, here).await);
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    count_errors(
        services,
        call,
        partitions.map(|partition| partition.error_code),
    );
    DescribeProducersResponse {
        topics,
        ..Default::default()
    }
}

fn check_topic(image: &Image, name: &str) -> Result<(), Refused> {
    check_topic_name(name)?;
    image
        .topics
        .find(name)
        .map(drop)
        .ok_or_else(|| Refusal::UnknownTopicOrPartition.into())
}

/// Of each of these. All are asked in one go: their logs may be in use by somebody whose disk does
/// not answer.
async fn producers(services: &Services, partitions: Vec<Arc<Partition>>) -> Vec<Found> {
    let n_partitions = partitions.len();
    let all = move || {
        let producers = partitions.iter().map(|it| || it.active_producers());
        bounded(producers, PRODUCERS_MAX)
    };
    let found = services.where_it_may_wait(move |_| all()).await;
    found.unwrap_or_else(|| vec![Err(Refusal::UnknownServerError); n_partitions])
}

/// Asks one after the other until there is more than an answer may tell.
fn bounded(
    partitions: impl Iterator<Item = impl FnOnce() -> Found>,
    producers_max: usize,
) -> Vec<Found> {
    let mut n_left = producers_max;
    partitions
        .map(|producers| {
            if n_left == 0 {
                return Err(Refusal::PolicyViolation);
            }
            let found = producers();
            n_left = n_left.saturating_sub(found.as_ref().map_or(0, Vec::len));
            found
        })
        .collect()
}

/// Puts what was found into its places.
fn fill(topics: &mut [DescribeProducersTopicResponse], places: &[Place], found: Vec<Found>) {
    for ((topic, at), found) in places.iter().zip(found) {
        let topic = topics.get_mut(*topic);
        if let Some(partition) = topic.and_then(|topic| topic.partitions.get_mut(*at)) {
            *partition = described(partition.partition_index, found);
        }
    }
}

/// Any replica can tell; that a partition is not here is said without words, as in Kafka.
fn described(index: i32, found: Found) -> DescribeProducersPartitionResponse {
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

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCER: ActiveProducer = ActiveProducer {
        id: 7,
        epoch: 1,
        last_sequence: 2,
        last_timestamp: 3,
        coordinator_epoch: 4,
        transaction_start: None,
    };

    #[test]
    fn every_partition_is_told_in_its_place() {
        let topic = |indexes: &[i32]| DescribeProducersTopicResponse {
            partitions: indexes
                .iter()
                .map(|it| described(*it, Ok(vec![])))
                .collect(),
            ..Default::default()
        };
        let mut topics = [topic(&[5, 3]), topic(&[]), topic(&[5])];
        let found = vec![Ok(vec![PRODUCER]), Err(Refusal::KafkaStorageError)];
        fill(&mut topics, &[(0, 1), (2, 0)], found);
        let told = topics.iter().flat_map(|topic| &topic.partitions);
        let told: Vec<_> = told
            .map(|it| (it.partition_index, it.error_code, it.active_producers.len()))
            .collect();
        assert_eq!(told, [(5, 0, 0), (3, 0, 1), (5, 56, 0)]);
    }

    #[test]
    fn an_answer_has_an_end_however_often_a_partition_is_named() {
        let two = [0; 4].map(|_| || Ok(vec![PRODUCER; 2]));
        let told = bounded(two.into_iter(), 3);
        let told = told.iter().map(|found| found.as_ref().map(Vec::len));
        let refused = Err(&Refusal::PolicyViolation);
        assert_eq!(told.collect::<Vec<_>>(), [Ok(2), Ok(2), refused, refused]);
    }
}

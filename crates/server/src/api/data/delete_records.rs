//! DeleteRecords (key 21, versions 0-2): raise the start of partitions, forgetting what lies before.
//! v2 flexible. -1 stands for the high watermark.
//! The answer is there at once: no other replica has to follow, so the timeout has nothing to limit.

use std::sync::Arc;

use ottla_metadata::image::{Image, Resource};
use ottla_node::{Partition, Services, is_internal_topic};
use ottla_protocol::messages::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopic, DeleteRecordsTopicResult,
};
use ottla_protocol::{Offset, Refusal, Text};

use super::by_topic::ByTopic;
use super::last_words::last_words;
use crate::api::count_errors;
use crate::session::Call;

const HIGH_WATERMARK: Offset = -1;
const NO_WATERMARK: Offset = -1;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut changed = Vec::new();
    let mut by_topic = ByTopic::default();
    let image = services.image();
    for (topic, asked) in asked(&request.topics) {
        let deleted = delete(services, &image, &topic, &asked).map(|(partition, start)| {
            changed.push(partition);
            start
        });
        by_topic.put(&topic, result(asked.partition_index, deleted));
    }
    let topics = by_topic.lay_out(|name, partitions| DeleteRecordsTopicResult { name, partitions });
    if let Err(fault) = services.partitions().write_starts(&changed) {
        tracing::error!(%fault, "the new starts are not written down; after a crash records may be back");
    }
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    count_errors(
        services,
        call,
        partitions.map(|partition| partition.error_code),
    );
    DeleteRecordsResponse {
        topics,
        ..Default::default()
    }
}

/// Every partition once.
fn asked(topics: &[DeleteRecordsTopic]) -> Vec<(Text, DeleteRecordsPartition)> {
    let all = topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| (topic.name.clone(), partition.clone()))
    });
    last_words(all, |(topic, asked)| (topic.clone(), asked.partition_index))
}

fn result(partition_index: i32, deleted: Result<Offset, Refusal>) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult {
        partition_index,
        error_code: deleted.as_ref().err().map_or(0, |refusal| refusal.code()),
        low_watermark: deleted.unwrap_or(NO_WATERMARK),
    }
}

/// The partition and its new start.
fn delete(
    services: &Services,
    image: &Image,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<(Arc<Partition>, Offset), Refusal> {
    if image
        .topics
        .partition(topic, asked.partition_index)
        .is_none()
    {
        return Err(Refusal::UnknownTopicOrPartition);
    }
    if is_internal_topic(topic) {
        return Err(Refusal::InvalidTopicException);
    }
    let partition = services.leader_of(topic, asked.partition_index)?;
    if is_only_compacted(services, image, topic) {
        return Err(Refusal::PolicyViolation);
    }
    let to = match asked.offset {
        HIGH_WATERMARK => None,
        ..0 => return Err(Refusal::OffsetOutOfRange),
        offset => Some(offset),
    };
    match partition.delete_records(to) {
        Ok(start) => Ok((partition, start)),
        Err(refused) => Err(refused.refusal),
    }
}

/// Such a topic keeps the last record of each key for ever; nothing of it may go.
fn is_only_compacted(services: &Services, image: &Image, topic: &str) -> bool {
    let overrides = image.configs.overrides(&Resource::topic(topic));
    let config = services.configured();
    config
        .config
        .topic_config(&overrides)
        .is_ok_and(|topic| topic.cleanup_policy.compact && !topic.cleanup_policy.delete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_partition_that_is_named_twice_the_last_word_counts() {
        let topic = |offsets: &[(i32, i64)]| DeleteRecordsTopic {
            name: Text::from_static("a"),
            partitions: offsets
                .iter()
                .map(|(partition_index, offset)| DeleteRecordsPartition {
                    partition_index: *partition_index,
                    offset: *offset,
                })
                .collect(),
        };
        let asked = asked(&[topic(&[(0, 5), (1, 6)]), topic(&[(0, 7)]), topic(&[])]);
        let offsets: Vec<_> = asked
            .iter()
            .map(|(_, asked)| (asked.partition_index, asked.offset))
            .collect();
        assert_eq!(offsets, [(0, 7), (1, 6)]);
    }
}

//! DeleteRecords (key 21, versions 0-2): raise the start of partitions, forgetting what lies before.
//! v2 flexible. -1 stands for the high watermark.
//! The answer is there at once: no other replica has to follow, so the timeout has nothing to limit.

use std::sync::Arc;

use ottla_metadata::image::{Image, Resource};
use ottla_node::{Partition, Partitions, Services, is_internal_topic};
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
    let image = services.image();
    let asked = asked(&request.topics).into_iter().map(|(topic, asked)| {
        let checked = check(services, &image, &topic, &asked);
        (topic, asked.partition_index, checked)
    });
    let asked: Vec<_> = asked.collect();
    let names: Vec<(Text, i32)> = (asked.iter())
        .map(|(topic, index, _)| (topic.clone(), *index))
        .collect();
    // Logs and checkpoints may be in use by somebody whose disk does not answer.
    let deleted = services.where_it_may_wait(move |partitions| delete(partitions, asked));
    let deleted = deleted
        .await
        .unwrap_or_else(|| vec![Err(Refusal::UnknownServerError); names.len()]);
    let mut by_topic = ByTopic::default();
    for ((topic, index), deleted) in names.into_iter().zip(deleted) {
        by_topic.put(&topic, result(index, deleted));
    }
    let topics = by_topic.lay_out(|name, partitions| DeleteRecordsTopicResult { name, partitions });
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

/// A partition, and the new start that it was asked for; `None`: its high watermark.
type Checked = Result<(Arc<Partition>, Option<Offset>), Refusal>;

/// The new starts, one for each.
fn delete(
    partitions: &Partitions,
    asked: Vec<(Text, i32, Checked)>,
) -> Vec<Result<Offset, Refusal>> {
    let mut changed = Vec::new();
    let deleted = asked.into_iter().map(|(_, _, checked)| {
        let (partition, to) = checked?;
        let start = partition
            .delete_records(to)
            .map_err(|refused| refused.refusal)?;
        changed.push(partition);
        Ok(start)
    });
    let deleted = deleted.collect();
    if let Err(fault) = partitions.write_starts(&changed) {
        tracing::error!(%fault, "the new starts are not written down; after a crash records may be back");
    }
    deleted
}

fn check(
    services: &Services,
    image: &Image,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Checked {
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
    match asked.offset {
        HIGH_WATERMARK => Ok((partition, None)),
        ..0 => Err(Refusal::OffsetOutOfRange),
        offset => Ok((partition, Some(offset))),
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

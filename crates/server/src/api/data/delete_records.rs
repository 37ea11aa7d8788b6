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
use ottla_protocol::{Offset, Refusal};

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
    let topics: Vec<_> = request
        .topics
        .into_iter()
        .map(|topic| delete_in(services, topic, &mut changed))
        .collect();
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

fn delete_in(
    services: &Services,
    topic: DeleteRecordsTopic,
    changed: &mut Vec<Arc<Partition>>,
) -> DeleteRecordsTopicResult {
    let image = services.image();
    let partitions = topic.partitions.iter().map(|asked| {
        let deleted = delete(services, &image, &topic.name, asked).map(|(partition, start)| {
            changed.push(partition);
            start
        });
        let error_code = deleted.as_ref().err().map_or(0, |refusal| refusal.code());
        DeleteRecordsPartitionResult {
            partition_index: asked.partition_index,
            low_watermark: deleted.unwrap_or(NO_WATERMARK),
            error_code,
        }
    });
    DeleteRecordsTopicResult {
        partitions: partitions.collect(),
        name: topic.name.clone(),
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

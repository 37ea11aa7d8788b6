//! OffsetDelete (key 47, version 0): forget committed offsets of a group (KIP-496).
//! Topics and partitions that do not exist are refused here; an error of the group replaces all.

use ottla_node::{GroupTopics, Pace, Services};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let (known, unknown) = split(request.topics, &services.groups().topics());
    let request = OffsetDeleteRequest {
        group_id: request.group_id,
        topics: known,
    };
    let response = merge(delete(services, request).await, unknown);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let codes = partitions.map(|partition| partition.error_code);
    count_errors(services, call, codes.chain([response.error_code]));
    response
}

async fn delete(services: &Services, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let refused = |refusal: Refusal| OffsetDeleteResponse {
        error_code: refusal.code(),
        ..Default::default()
    };
    if request.group_id.is_empty() {
        return refused(Refusal::InvalidGroupId);
    }
    let group_id = request.group_id.clone();
    let deleted = services
        .groups()
        .decide(&group_id, Pace::InLine, move |ledger, now| {
            ledger.delete_offsets(&request, now)
        });
    deleted.await.unwrap_or_else(refused)
}

/// What exists goes to the coordinator, the rest is answered here.
fn split(
    topics: Vec<OffsetDeleteRequestTopic>,
    known: &dyn GroupTopics,
) -> (
    Vec<OffsetDeleteRequestTopic>,
    Vec<OffsetDeleteResponseTopic>,
) {
    let (mut existing, mut missing) = (Vec::new(), Vec::new());
    for topic in topics {
        let exists = |index| known.has_partition(&topic.name, index);
        let (there, away): (Vec<_>, Vec<_>) = topic
            .partitions
            .into_iter()
            .partition(|partition| exists(partition.partition_index));
        if !there.is_empty() {
            let name = topic.name.clone();
            existing.push(OffsetDeleteRequestTopic {
                name,
                partitions: there,
            });
        }
        if !away.is_empty() {
            let partitions = away
                .into_iter()
                .map(|partition| OffsetDeleteResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: Refusal::UnknownTopicOrPartition.code(),
                });
            let partitions = partitions.collect();
            missing.push(OffsetDeleteResponseTopic {
                name: topic.name,
                partitions,
            });
        }
    }
    (existing, missing)
}

fn merge(
    mut response: OffsetDeleteResponse,
    missing: Vec<OffsetDeleteResponseTopic>,
) -> OffsetDeleteResponse {
    if response.error_code != 0 {
        return response;
    }
    for topic in missing {
        match response
            .topics
            .iter_mut()
            .find(|known| known.name == topic.name)
        {
            Some(known) => known.partitions.extend(topic.partitions),
            None => response.topics.push(topic),
        }
    }
    response
}

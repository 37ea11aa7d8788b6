//! AddOffsetsToTxn (key 25, versions 0-4): the offsets of a group join a transaction.
//! v2 PRODUCER_FENCED · v3 flexible · v4 TRANSACTION_ABORTABLE.

use ottla_node::{GROUP_METADATA_TOPIC, Services, create_group_topic, partition_for_group};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::check_id;
use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let added = add(services, call, request).await;
    let response = added.unwrap_or_else(|refusal| AddOffsetsToTxnResponse {
        error_code: refusal.code(),
        ..Default::default()
    });
    count_errors(services, call, [response.error_code].into_iter());
    response
}

async fn add(
    services: &Services,
    call: &Call,
    request: AddOffsetsToTxnRequest,
) -> Result<AddOffsetsToTxnResponse, Refusal> {
    check_id(&request.transactional_id)?;
    let partition = offsets_partition(services, &request.group_id).await?;
    services
        .transactions()
        .add_offsets(request, call.version, partition)
        .await
}

/// Where the group's offsets live. Kafka counts on the setting while there is no topic; the
/// partition must exist here before it can have a marker.
async fn offsets_partition(services: &Services, group_id: &str) -> Result<i32, Refusal> {
    if let Err(refused) = create_group_topic(services).await {
        tracing::warn!(%refused, "{GROUP_METADATA_TOPIC} cannot be created");
        return Err(Refusal::CoordinatorNotAvailable);
    }
    let image = services.image();
    let topic = image.topics.find(GROUP_METADATA_TOPIC);
    let n_partitions = topic.map_or(0, |topic| topic.partitions.len());
    match i32::try_from(n_partitions) {
        Ok(n) if n > 0 => Ok(partition_for_group(group_id, n)),
        _ => Err(Refusal::CoordinatorNotAvailable),
    }
}

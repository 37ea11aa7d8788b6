//! ConsumerGroupHeartbeat (key 68, versions 0-1): a member of a consumer group joins, lives, gives
//! up partitions and leaves.
//! v1 subscription by pattern, and the client makes its member id itself.

use ottla_node::{GroupClient, Pace, Services, random_uuid};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::check_consumer_protocol;
use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let response = beat(services, call, request).await.unwrap_or_else(refused);
    count_errors(services, call, [response.error_code].into_iter());
    response
}

async fn beat(
    services: &Services,
    call: &Call,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    check_consumer_protocol(services)?;
    let group_id = request.group_id.clone();
    let (version, fresh_id) = (call.version, random_uuid());
    let (id, host) = (call.client().to_owned(), call.client_host());
    let topics = services.groups().topics();
    let beaten = services
        .groups()
        .decide(&group_id, Pace::InLine, move |ledger, now| {
            let client = GroupClient {
                id: &id,
                host: &host,
            };
            ledger.consumer_group_heartbeat(&request, version, client, fresh_id, &topics, now)
        });
    beaten.await
}

fn refused(refusal: Refusal) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: refusal.code(),
        ..Default::default()
    }
}

//! JoinGroup (key 11, versions 0-9): a member enters a group, or stays in it for another generation.
//! v1 rebalance timeout · v4 the member id is given out first (MEMBER_ID_REQUIRED) · v5 static
//! members · v6 flexible · v7 protocol type and name · v8 a reason · v9 skipped assignments.
//! The answer comes when the generation is complete, which may take as long as the rebalance.

use ottla_node::{GroupClient, Pace, Services, random_uuid};
use ottla_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use ottla_protocol::{Refusal, Text};

use crate::api::count_errors;
use crate::session::Call;

const NULL_PROTOCOL_SINCE: i16 = 7;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let response = join(services, call, request).await;
    count_errors(services, call, [response.error_code].into_iter());
    response
}

async fn join(services: &Services, call: &Call, request: JoinGroupRequest) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    let refused = |refusal: Refusal| JoinGroupResponse {
        error_code: refusal.code(),
        member_id,
        ..Default::default()
    };
    if request.group_id.is_empty() {
        return JoinGroupResponse {
            // Where the protocol can be null, there is none.
            protocol_name: (call.version < NULL_PROTOCOL_SINCE).then(Text::new),
            ..refused(Refusal::InvalidGroupId)
        };
    }
    let group_id = request.group_id.clone();
    let (version, fresh_id) = (call.version, random_uuid());
    let (id, host) = (call.client().to_owned(), call.client_host());
    let topics = services.groups().topics();
    let joined = services
        .groups()
        .decide(&group_id, Pace::InLine, move |ledger, now| {
            let client = GroupClient {
                id: &id,
                host: &host,
            };
            ledger.join_group(&request, version, client, fresh_id, &topics, now)
        });
    joined.await.unwrap_or_else(refused)
}

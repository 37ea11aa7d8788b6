//! SyncGroup (key 14, versions 0-5): the leader of a generation hands in the assignment, every
//! member fetches its part.
//! v3 static members · v4 flexible · v5 protocol type and name, which must be there.

use ottla_node::{Pace, Services};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::api::count_errors;
use crate::session::Call;

const PROTOCOL_SINCE: i16 = 5;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let response = match check(&request, call.version) {
        Ok(()) => {
            let (group_id, version) = (request.group_id.clone(), call.version);
            let topics = services.groups().topics();
            let synced = services
                .groups()
                .decide(&group_id, Pace::InLine, move |ledger, now| {
                    ledger.sync_group(&request, version, &topics, now)
                });
            synced.await.unwrap_or_else(refused)
        }
        Err(refusal) => refused(refusal),
    };
    count_errors(services, call, [response.error_code].into_iter());
    response
}

/// What is wrong whoever the coordinator is.
fn check(request: &SyncGroupRequest, version: i16) -> Result<(), Refusal> {
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= PROTOCOL_SINCE && !names_protocol {
        return Err(Refusal::InconsistentGroupProtocol);
    }
    if request.group_id.is_empty() {
        return Err(Refusal::InvalidGroupId);
    }
    Ok(())
}

fn refused(refusal: Refusal) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: refusal.code(),
        ..Default::default()
    }
}

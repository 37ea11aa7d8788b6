//! LeaveGroup (key 13, versions 0-5): members leave a group.
//! v3 several at once, by member or instance id, each with an answer of its own · v4 flexible · v5
//! a reason, for the log.

use ottla_node::{Pace, Services};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let response = if request.group_id.is_empty() {
        refused(Refusal::InvalidGroupId)
    } else {
        let (group_id, version) = (request.group_id.clone(), call.version);
        let topics = services.groups().topics();
        let left = services
            .groups()
            .decide(&group_id, Pace::InLine, move |ledger, now| {
                ledger.leave_group(&request, version, &topics, now)
            });
        left.await.unwrap_or_else(refused)
    };
    let members = response.members.iter().map(|member| member.error_code);
    count_errors(services, call, members.chain([response.error_code]));
    response
}

fn refused(refusal: Refusal) -> LeaveGroupResponse {
    LeaveGroupResponse {
        error_code: refusal.code(),
        ..Default::default()
    }
}

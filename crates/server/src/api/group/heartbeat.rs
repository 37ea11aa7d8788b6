//! Heartbeat (key 12, versions 0-4): a member is alive, and hears whether the group rebalances.
//! v3 static members · v4 flexible.
//! It rests on what the coordinator has in memory and waits for no disk.

use ottla_node::{Pace, Services};
use ottla_protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use ottla_protocol::{NONE, Refusal};

use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let group_id = request.group_id.clone();
    let topics = services.groups().topics();
    let beaten = services
        .groups()
        .decide(&group_id, Pace::AtOnce, move |ledger, now| {
            ledger.heartbeat(&request, &topics, now)
        });
    let response = beaten.await.unwrap_or_else(refused);
    count_errors(services, call, [response.error_code].into_iter());
    response
}

fn refused(refusal: Refusal) -> HeartbeatResponse {
    let error_code = match refusal {
        // While groups are loaded nobody can be missed; a member that hears an error would rejoin.
        Refusal::CoordinatorLoadInProgress => NONE,
        refusal => refusal.code(),
    };
    HeartbeatResponse {
        error_code,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_left_in_peace_while_groups_are_loaded() {
        assert_eq!(refused(Refusal::CoordinatorLoadInProgress).error_code, NONE);
        assert_eq!(refused(Refusal::NotCoordinator).error_code, 16);
    }
}

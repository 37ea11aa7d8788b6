//! OffsetFetch (key 9, versions 1-10): how far groups have read.
//! v2 null topics ask for all · v6 flexible · v7 stable offsets only · v8 several groups · v9
//! members of the consumer protocol · v10 topic ids.

use ottla_node::{Services, offset_fetch_groups, offset_fetch_refused, offset_fetch_response};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
};

use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let mut fetched = Vec::new();
    for group in offset_fetch_groups(&request, call.version) {
        fetched.push(fetch(services, call.version, group, request.require_stable).await);
    }
    let partitions = fetched
        .iter()
        .flat_map(|group| &group.topics)
        .flat_map(|t| &t.partitions);
    let codes = partitions.map(|partition| partition.error_code);
    count_errors(
        services,
        call,
        codes.chain(fetched.iter().map(|group| group.error_code)),
    );
    offset_fetch_response(fetched, call.version)
}

async fn fetch(
    services: &Services,
    version: i16,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let known = services.groups().topics();
    let asked = group.clone();
    let found = services.groups().look(&group.group_id, move |ledger| {
        ledger.fetch_offsets(&asked, version, require_stable, &known)
    });
    found
        .await
        .unwrap_or_else(|refusal| offset_fetch_refused(&group, told(refusal), version))
}

/// Java consumers before 3.9 give up on COORDINATOR_NOT_AVAILABLE here.
fn told(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::CoordinatorNotAvailable => Refusal::NotCoordinator,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_be_answered_now_is_told_to_look_for_the_coordinator() {
        assert_eq!(
            told(Refusal::CoordinatorNotAvailable),
            Refusal::NotCoordinator
        );
        let loading = Refusal::CoordinatorLoadInProgress;
        assert_eq!(told(loading), loading);
    }
}

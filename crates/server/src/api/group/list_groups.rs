//! ListGroups (key 16, versions 0-5): the groups that this broker coordinates.
//! v3 flexible · v4 filter by state · v5 filter by type.

use std::sync::Arc;

use ottla_node::{GroupFilter, Services};
use ottla_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let filter = Arc::new(GroupFilter::new(&request));
    let found = services
        .groups()
        .look_everywhere(move |ledger, _| ledger.list_groups(&filter))
        .await;
    let response = match found {
        Ok(groups) => ListGroupsResponse {
            groups: groups.into_iter().flatten().collect(),
            ..Default::default()
        },
        Err(refusal) => ListGroupsResponse {
            error_code: refusal.code(),
            ..Default::default()
        },
    };
    count_errors(services, call, [response.error_code].into_iter());
    response
}

//! ConsumerGroupDescribe (key 69, versions 0-1): state, epochs and members of consumer groups.
//! v1 which protocol each member speaks.

use ottla_node::Services;
use ottla_protocol::messages::{
    ConsumerGroupDescribeGroup, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use ottla_protocol::{NONE, Refusal, Text};

use super::check_consumer_protocol;
use crate::api::count_errors;
use crate::authorized;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for group_id in request.group_ids {
        let mut group = describe(services, group_id).await;
        if request.include_authorized_operations && group.error_code == NONE {
            group.authorized_operations = authorized::ON_GROUP;
        }
        groups.push(group);
    }
    count_errors(services, call, groups.iter().map(|group| group.error_code));
    ConsumerGroupDescribeResponse {
        groups,
        ..Default::default()
    }
}

async fn describe(services: &Services, group_id: Text) -> ConsumerGroupDescribeGroup {
    let refused = |refusal: Refusal| ConsumerGroupDescribeGroup {
        error_code: refusal.code(),
        group_id: group_id.clone(),
        ..Default::default()
    };
    if let Err(refusal) = check_consumer_protocol(services) {
        return refused(refusal);
    }
    if group_id.is_empty() {
        return refused(Refusal::InvalidGroupId);
    }
    let (asked, topics) = (group_id.clone(), services.groups().topics());
    let found = services.groups().look(&group_id, move |groups| {
        groups.describe_consumer_group(&asked, &topics)
    });
    found.await.unwrap_or_else(refused)
}

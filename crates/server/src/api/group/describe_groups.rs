//! DescribeGroups (key 15, versions 0-6): state and members of classic groups.
//! v3 authorized operations · v4 static members · v5 flexible · v6 an unknown group is
//! GROUP_ID_NOT_FOUND; before, it is "Dead".

use ottla_node::Services;
use ottla_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use ottla_protocol::{NONE, Refusal, Text};

use crate::api::{Repeats, count_errors};
use crate::authorized;
use crate::session::Call;

const OPERATIONS_SINCE: i16 = 3;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let wants_operations =
        request.include_authorized_operations && call.version >= OPERATIONS_SINCE;
    let mut groups = Vec::with_capacity(request.groups.len());
    let mut repeats = Repeats::default();
    for group_id in request.groups {
        let mut group = match repeats.may_name(&group_id) {
            true => describe(services, group_id, call.version).await,
            false => refused(group_id, Refusal::PolicyViolation),
        };
        repeats.count(weight(&group));
        tokio::task::consume_budget().await;
        if wants_operations && group.error_code == NONE {
            group.authorized_operations = authorized::ON_GROUP;
        }
        groups.push(group);
    }
    count_errors(services, call, groups.iter().map(|group| group.error_code));
    DescribeGroupsResponse {
        groups,
        ..Default::default()
    }
}

async fn describe(services: &Services, group_id: Text, version: i16) -> DescribedGroup {
    let asked = group_id.clone();
    let found = services.groups().look(&group_id, move |ledger| {
        ledger.describe_group(&asked, version)
    });
    found
        .await
        .unwrap_or_else(|refusal| refused(group_id, refusal))
}

fn refused(group_id: Text, refusal: Refusal) -> DescribedGroup {
    DescribedGroup {
        error_code: refusal.code(),
        group_id,
        ..Default::default()
    }
}

/// What is kept of it until it is written.
fn weight(group: &DescribedGroup) -> usize {
    let of = |member: &DescribedGroupMember| {
        let instance_id = member.group_instance_id.as_ref();
        size_of_val(member)
            + member.member_id.len()
            + instance_id.map_or(0, |id| id.len())
            + member.client_id.len()
            + member.client_host.len()
            + member.member_metadata.len()
            + member.member_assignment.len()
    };
    size_of_val(group) + group.group_id.len() + group.members.iter().map(of).sum::<usize>()
}

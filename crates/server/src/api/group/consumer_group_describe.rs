//! ConsumerGroupDescribe (key 69, versions 0-1): state, epochs and members of consumer groups.
//! v1 which protocol each member speaks.

use ottla_node::Services;
use ottla_protocol::messages::{
    ConsumerGroupDescribeAssignment, ConsumerGroupDescribeGroup, ConsumerGroupDescribeMember,
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
};
use ottla_protocol::{NONE, Refusal, Text};

use super::check_consumer_protocol;
use crate::api::{Repeats, count_errors};
use crate::authorized;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let mut groups = Vec::with_capacity(request.group_ids.len());
    let mut repeats = Repeats::default();
    for group_id in request.group_ids {
        let mut group = match repeats.may_name(&group_id) {
            true => describe(services, group_id).await,
            false => refused(group_id, Refusal::PolicyViolation),
        };
        repeats.count(weight(&group));
        tokio::task::consume_budget().await;
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
    if let Err(refusal) = check_consumer_protocol(services) {
        return refused(group_id, refusal);
    }
    if group_id.is_empty() {
        return refused(group_id, Refusal::InvalidGroupId);
    }
    let (asked, topics) = (group_id.clone(), services.groups().topics());
    let found = services.groups().look(&group_id, move |groups| {
        groups.describe_consumer_group(&asked, &topics)
    });
    found
        .await
        .unwrap_or_else(|refusal| refused(group_id, refusal))
}

fn refused(group_id: Text, refusal: Refusal) -> ConsumerGroupDescribeGroup {
    ConsumerGroupDescribeGroup {
        error_code: refusal.code(),
        group_id,
        ..Default::default()
    }
}

/// What is kept of it until it is written.
fn weight(group: &ConsumerGroupDescribeGroup) -> usize {
    let text = |text: &Option<Text>| text.as_ref().map_or(0, |text| text.len());
    let assignment = |assigned: &ConsumerGroupDescribeAssignment| -> usize {
        let topics = assigned.topic_partitions.iter();
        let of = topics.map(|it| {
            size_of_val(it) + it.topic_name.len() + size_of_val(it.partitions.as_slice())
        });
        of.sum()
    };
    let of = |member: &ConsumerGroupDescribeMember| {
        let topics = member.subscribed_topic_names.iter();
        size_of_val(member)
            + member.member_id.len()
            + text(&member.instance_id)
            + text(&member.rack_id)
            + member.client_id.len()
            + member.client_host.len()
            + topics
                .map(|name| size_of_val(name) + name.len())
                .sum::<usize>()
            + text(&member.subscribed_topic_regex)
            + assignment(&member.assignment)
            + assignment(&member.target_assignment)
    };
    let members: usize = group.members.iter().map(of).sum();
    size_of_val(group) + group.group_id.len() + text(&group.error_message) + members
}

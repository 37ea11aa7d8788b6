//! ConsumerGroupDescribe (key 69): state, epochs and members of one group.

use std::collections::BTreeMap;

use ottla_protocol::messages::{
    ConsumerGroupDescribeAssignment, ConsumerGroupDescribeGroup, ConsumerGroupDescribeMember,
    ConsumerGroupDescribeTopicPartitions,
};
use ottla_protocol::{Refusal, Text, Uuid};

use super::{ConsumerGroup, Member};
use crate::group::assign::Partitions;
use crate::group::{GroupLedger, TopicImage};
use crate::ledger::Read;

/// Which protocol a member speaks.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

impl GroupLedger {
    /// ConsumerGroupDescribe: one group.
    pub fn describe_consumer_group(
        &self,
        group_id: &str,
        topics: &dyn TopicImage,
    ) -> Read<ConsumerGroupDescribeGroup> {
        let reply = match self.consumers.get(group_id) {
            Some(group) => {
                let assignor = group.assignor(&self.settings.consumer.assignors);
                group.described(assignor.name(), topics)
            }
            None => self.no_consumer_group(group_id),
        };
        Read {
            reply,
            when: self.seen(group_id),
        }
    }

    fn no_consumer_group(&self, group_id: &str) -> ConsumerGroupDescribeGroup {
        let is_other = self.live.contains_key(group_id) || self.others.contains_key(group_id);
        let why = match is_other {
            true => format!("Group {group_id} is not a consumer group."),
            false => format!("Group {group_id} not found."),
        };
        ConsumerGroupDescribeGroup {
            error_code: Refusal::GroupIdNotFound.code(),
            error_message: Some(why.into()),
            group_id: Text::from(group_id),
            ..ConsumerGroupDescribeGroup::default()
        }
    }
}

impl ConsumerGroup {
    fn described(
        &self,
        assignor: &'static str,
        topics: &dyn TopicImage,
    ) -> ConsumerGroupDescribeGroup {
        let members = self.members.values();
        ConsumerGroupDescribeGroup {
            group_id: Text::from(&*self.id),
            group_state: Text::from_static(self.state().name()),
            group_epoch: self.epoch,
            assignment_epoch: self.target_epoch,
            assignor_name: Text::from_static(assignor),
            members: members
                .map(|member| self.described_member(member, topics))
                .collect(),
            ..ConsumerGroupDescribeGroup::default()
        }
    }

    fn described_member(
        &self,
        member: &Member,
        topics: &dyn TopicImage,
    ) -> ConsumerGroupDescribeMember {
        let text = |text: &std::sync::Arc<str>| Text::from(&**text);
        // It is responsible for what it is giving up until it has.
        let mut held: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in member.held() {
            held.entry(topic).or_default().push(partition);
        }
        let target = self.target.get(&member.id).into_iter().flat_map(listed);
        ConsumerGroupDescribeMember {
            member_id: text(&member.id),
            instance_id: member.instance.as_ref().map(text),
            rack_id: member.rack.as_ref().map(text),
            member_epoch: member.epoch,
            client_id: text(&member.client_id),
            client_host: text(&member.client_host),
            subscribed_topic_names: member.topics.iter().map(text).collect(),
            subscribed_topic_regex: member.pattern.as_ref().map(text),
            assignment: shown(held.into_iter(), topics),
            target_assignment: shown(target, topics),
            member_type: match member.speaks_classic() {
                true => CLASSIC_MEMBER,
                false => CONSUMER_MEMBER,
            },
        }
    }
}

fn listed(partitions: &Partitions) -> impl Iterator<Item = (Uuid, Vec<i32>)> {
    let topics = partitions.iter();
    topics.map(|(topic, partitions)| (*topic, partitions.iter().copied().collect()))
}

/// Topics that are gone have no name to be shown under.
fn shown(
    partitions: impl Iterator<Item = (Uuid, Vec<i32>)>,
    topics: &dyn TopicImage,
) -> ConsumerGroupDescribeAssignment {
    let named = |(topic_id, partitions)| {
        Some(ConsumerGroupDescribeTopicPartitions {
            topic_id,
            topic_name: topics.name(topic_id)?,
            partitions,
        })
    };
    ConsumerGroupDescribeAssignment {
        topic_partitions: partitions.filter_map(named).collect(),
    }
}

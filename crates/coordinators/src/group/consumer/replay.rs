//! What each record makes of a group. The only place where it changes.
//!
//! Compaction may leave records in any order, so each of them makes what it speaks of. Kafka gives
//! up a partition whose tombstones come in an order that it would not write; here a tombstone takes
//! away what it names.

use std::sync::Arc;

use crate::group::assign::Partitions;
use crate::group::records::ConsumerRecord;
use crate::group::records::consumer::{
    ConsumerGroupRegularExpressionValue, ConsumerGroupTargetAssignmentMemberValue,
};

use super::member::Member;
use super::subscribe::SubscriptionCount;
use super::{ConsumerGroup, NO_TARGET_EPOCH, Resolved};

impl ConsumerGroup {
    /// Takes in a record of this group. A tombstone of the group itself is its host's to see.
    pub(in crate::group) fn replay(&mut self, record: &ConsumerRecord) {
        match record {
            ConsumerRecord::Group { value, .. } => {
                if let Some(value) = value {
                    self.epoch = value.epoch;
                    self.metadata_hash = value.metadata_hash;
                }
            }
            ConsumerRecord::Topics { value, .. } => self.has_topics_record = value.is_some(),
            ConsumerRecord::Member { key, value } => match value {
                Some(value) => self.change(&key.member_id, |member| member.replay_metadata(value)),
                None => self.drop_member(&key.member_id),
            },
            ConsumerRecord::TargetEpoch { value, .. } => {
                let reached = value.as_ref();
                let reached = reached.map(|it| (it.assignment_epoch, it.assignment_timestamp));
                (self.target_epoch, self.target_at_ms) = reached.unwrap_or((NO_TARGET_EPOCH, 0));
            }
            ConsumerRecord::Target { key, value } => match value {
                Some(value) => {
                    self.target
                        .insert((*key.member_id).into(), partitions(value));
                }
                None => {
                    self.target.remove(&*key.member_id);
                }
            },
            ConsumerRecord::Current { key, value } => match value {
                Some(value) => self.change(&key.member_id, |member| member.replay_current(value)),
                None if self.members.contains_key(&*key.member_id) => {
                    self.change(&key.member_id, Member::forget_current);
                }
                None => {}
            },
            ConsumerRecord::Pattern { key, value } => {
                self.resolve(&key.regular_expression, value.as_ref().map(resolved));
            }
        }
    }

    fn change(&mut self, member_id: &str, change: impl FnOnce(&mut Member)) {
        let mut member = match self.take(member_id) {
            Some(member) => member,
            None => Member::new(member_id.into()),
        };
        change(&mut member);
        self.put(member);
    }

    fn drop_member(&mut self, member_id: &str) {
        self.take(member_id);
        self.target.remove(member_id);
    }

    pub(super) fn take(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        self.owners.remove(member.held());
        if let Some(classic) = &member.classic {
            self.support.remove(classic);
        }
        for topic in member.topics.iter() {
            SubscriptionCount::change(&mut self.subscribed, topic, |count| count.by_name -= 1);
        }
        if let Some(pattern) = member.pattern()
            && let Some(n) = self.patterns.get_mut(pattern)
        {
            *n -= 1;
            if *n == 0 {
                self.patterns.remove(pattern);
            }
        }
        if let Some(instance) = &member.instance
            && self.statics.get(instance) == Some(&member.id)
        {
            self.statics.remove(instance);
        }
        Some(member)
    }

    pub(super) fn put(&mut self, mut member: Member) {
        if let Some(other) = self.members.values().next()
            && other.topics == member.topics
        {
            member.topics = other.topics.clone();
        }
        self.owners.add(member.held());
        if let Some(classic) = &member.classic {
            self.support.add(classic);
        }
        for topic in member.topics.iter() {
            SubscriptionCount::change(&mut self.subscribed, topic, |count| count.by_name += 1);
        }
        if let Some(pattern) = member.pattern() {
            *self.patterns.entry(pattern.clone()).or_default() += 1;
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    pub(super) fn resolve(&mut self, pattern: &str, resolved: Option<Resolved>) {
        let pattern: Arc<str> = pattern.into();
        if let Some(before) = self.resolved.remove(&pattern) {
            for topic in &before.topics {
                SubscriptionCount::change(&mut self.subscribed, topic, |it| it.by_pattern -= 1);
            }
        }
        if let Some(resolved) = resolved {
            for topic in &resolved.topics {
                SubscriptionCount::change(&mut self.subscribed, topic, |it| it.by_pattern += 1);
            }
            self.resolved.insert(pattern, resolved);
        }
    }
}

fn partitions(value: &ConsumerGroupTargetAssignmentMemberValue) -> Partitions {
    let topics = value.topic_partitions.iter();
    topics
        .filter(|topic| !topic.partitions.is_empty())
        .map(|topic| (topic.topic_id, topic.partitions.iter().copied().collect()))
        .collect()
}

fn resolved(value: &ConsumerGroupRegularExpressionValue) -> Resolved {
    Resolved {
        topics: value.topics.iter().map(|topic| (**topic).into()).collect(),
        version: value.version,
        at_ms: value.timestamp,
    }
}

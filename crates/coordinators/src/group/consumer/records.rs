//! The records that a group writes.

use std::sync::Arc;

use ottla_protocol::Text;

use super::{ConsumerGroup, Member, Resolved};
use crate::group::assign::Partitions;
use crate::group::records::consumer::{
    ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMetadataKey, ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue,
    TargetTopicPartitions,
};
use crate::group::records::{ConsumerRecord, GroupRecord};

impl ConsumerGroup {
    pub(super) fn epoch_record(&self, epoch: i32, metadata_hash: i64) -> GroupRecord {
        let group_id = Text::from(&*self.id);
        GroupRecord::Consumer(ConsumerRecord::Group {
            key: ConsumerGroupMetadataKey { group_id },
            value: Some(ConsumerGroupMetadataValue {
                epoch,
                metadata_hash,
            }),
        })
    }

    pub(super) fn topics_tombstone(&self) -> GroupRecord {
        let group_id = Text::from(&*self.id);
        let key = ConsumerGroupPartitionMetadataKey { group_id };
        GroupRecord::Consumer(ConsumerRecord::Topics { key, value: None })
    }

    pub(super) fn member_record(&self, member: &Member) -> GroupRecord {
        self.member_written(&member.id, Some(member))
    }

    fn member_written(&self, id: &str, member: Option<&Member>) -> GroupRecord {
        GroupRecord::Consumer(ConsumerRecord::Member {
            key: ConsumerGroupMemberMetadataKey {
                group_id: Text::from(&*self.id),
                member_id: Text::from(id),
            },
            value: member.map(Member::metadata_value),
        })
    }

    pub(super) fn current_record(&self, member: &Member) -> GroupRecord {
        self.current_written(&member.id, Some(member))
    }

    fn current_written(&self, id: &str, member: Option<&Member>) -> GroupRecord {
        GroupRecord::Consumer(ConsumerRecord::Current {
            key: ConsumerGroupCurrentMemberAssignmentKey {
                group_id: Text::from(&*self.id),
                member_id: Text::from(id),
            },
            value: member.map(Member::current_value),
        })
    }

    pub(super) fn target_record(&self, member_id: &str, target: &Partitions) -> GroupRecord {
        self.target_written(member_id, Some(target))
    }

    fn target_written(&self, id: &str, target: Option<&Partitions>) -> GroupRecord {
        let value = |target: &Partitions| ConsumerGroupTargetAssignmentMemberValue {
            topic_partitions: target
                .iter()
                .map(|(topic_id, partitions)| TargetTopicPartitions {
                    topic_id: *topic_id,
                    partitions: partitions.iter().copied().collect(),
                })
                .collect(),
        };
        GroupRecord::Consumer(ConsumerRecord::Target {
            key: ConsumerGroupTargetAssignmentMemberKey {
                group_id: Text::from(&*self.id),
                member_id: Text::from(id),
            },
            value: target.map(value),
        })
    }

    pub(super) fn target_epoch_record(&self, reached: Option<(i32, i64)>) -> GroupRecord {
        let group_id = Text::from(&*self.id);
        let value = |(epoch, at_ms)| ConsumerGroupTargetAssignmentMetadataValue {
            assignment_epoch: epoch,
            assignment_timestamp: at_ms,
        };
        GroupRecord::Consumer(ConsumerRecord::TargetEpoch {
            key: ConsumerGroupTargetAssignmentMetadataKey { group_id },
            value: reached.map(value),
        })
    }

    pub(super) fn pattern_record(
        &self,
        pattern: &Arc<str>,
        resolved: Option<&Resolved>,
    ) -> GroupRecord {
        let value = |resolved: &Resolved| ConsumerGroupRegularExpressionValue {
            topics: resolved.topics.iter().map(|it| Text::from(&**it)).collect(),
            version: resolved.version,
            timestamp: resolved.at_ms,
        };
        GroupRecord::Consumer(ConsumerRecord::Pattern {
            key: ConsumerGroupRegularExpressionKey {
                group_id: Text::from(&*self.id),
                regular_expression: Text::from(&**pattern),
            },
            value: resolved.map(value),
        })
    }

    /// Tombstones for all of a member: Kafka loads them in this order only.
    pub(super) fn member_tombstones(&self, id: &str) -> [GroupRecord; 3] {
        [
            self.current_written(id, None),
            self.target_written(id, None),
            self.member_written(id, None),
        ]
    }

    /// Tombstones for all of the group, from the leaves to the root: Kafka loads no other order.
    pub(in crate::group) fn tombstones(&self) -> Vec<GroupRecord> {
        self.tombstones_renamed(None)
    }

    /// The same, if a member (the first) stands under another id (the second) by now.
    pub(super) fn tombstones_renamed(&self, renamed: Option<(&str, &str)>) -> Vec<GroupRecord> {
        let ids = || {
            self.members.keys().map(move |id| match renamed {
                Some((old, new)) if *old == **id => new,
                _ => &**id,
            })
        };
        let patterns = self.resolved.keys();
        let group_id = Text::from(&*self.id);
        let key = ConsumerGroupMetadataKey { group_id };
        let mut records: Vec<GroupRecord> =
            ids().map(|id| self.current_written(id, None)).collect();
        records.extend(ids().map(|id| self.target_written(id, None)));
        records.push(self.target_epoch_record(None));
        records.extend(ids().map(|id| self.member_written(id, None)));
        records.extend(patterns.map(|pattern| self.pattern_record(pattern, None)));
        records.push(self.topics_tombstone());
        records.push(GroupRecord::Consumer(ConsumerRecord::Group {
            key,
            value: None,
        }));
        records
    }
}

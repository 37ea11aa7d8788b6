//! Offsets go: by request (OffsetDelete, key 47), with their topic, or because they are too old.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_protocol::messages::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::{NONE, Refusal, Text, Uuid};

use super::Committed;
use crate::group::classic::{ClassicGroup, ClassicState};
use crate::group::records::{GroupMetadataKey, GroupRecord, OffsetCommitKey};
use crate::group::reply::GroupReply;
use crate::group::timers::Timer;
use crate::group::{GroupDecision, GroupLedger};
use crate::ledger::{Answer, Batch, Now, Origin, When};

/// Tombstones per batch when many offsets expire at once, so that a batch stays far below the
/// smallest `max.message.bytes` anybody sets (a tombstone is some hundred bytes at most).
const TOMBSTONES_PER_BATCH: usize = 500;

impl GroupLedger {
    // ---- by request ----

    /// OffsetDelete: offsets of topics that nobody in the group is subscribed to.
    pub fn delete_offsets(&mut self, request: &OffsetDeleteRequest, _now: Now) -> GroupDecision {
        if let Err(refusal) = self.may_delete_offsets(&request.group_id) {
            let error_code = refusal.code();
            let response = OffsetDeleteResponse {
                error_code,
                ..OffsetDeleteResponse::default()
            };
            let when = self.seen(&request.group_id);
            let reply = Answer::Now(GroupReply::DeleteOffsets(response), when);
            return self.plain_decision(Vec::new(), reply);
        }
        let mut records = Vec::new();
        let topics = request.topics.iter();
        let topics = topics.map(|topic| self.delete_topic(&request.group_id, topic, &mut records));
        let response = OffsetDeleteResponse {
            topics: topics.collect(),
            ..OffsetDeleteResponse::default()
        };
        self.counts.offset_deletions += records.len() as u64;
        let when = if records.is_empty() {
            self.seen(&request.group_id)
        } else {
            When::AfterAppend
        };
        self.plain_decision(
            records,
            Answer::Now(GroupReply::DeleteOffsets(response), when),
        )
    }

    fn may_delete_offsets(&self, group_id: &str) -> Result<(), Refusal> {
        if group_id.is_empty() {
            return Err(Refusal::InvalidGroupId);
        }
        // Of consumers we know what they are subscribed to, and refuse topic by topic.
        if self.consumers.contains_key(group_id) {
            return Ok(());
        }
        match (self.live.get(group_id), self.others.get(group_id)) {
            (Some(group), _) if group.state() == ClassicState::Empty => Ok(()),
            (Some(group), _) if group.speaks_consumer() => Ok(()),
            (None, Some(other)) if other.is_empty() => Ok(()),
            (None, None) => Err(Refusal::GroupIdNotFound),
            _ => Err(Refusal::NonEmptyGroup),
        }
    }

    fn delete_topic(
        &self,
        group_id: &Text,
        topic: &OffsetDeleteRequestTopic,
        records: &mut Vec<GroupRecord>,
    ) -> OffsetDeleteResponseTopic {
        let group = self.live.get(&**group_id);
        let consumers = self.consumers.get(&**group_id);
        let subscribed = group.is_some_and(|group| group.is_subscribed_to(&topic.name))
            || consumers.is_some_and(|group| group.is_subscribed_to(&topic.name));
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let exists = self.offsets.get(group_id, &topic.name, index).is_some()
                || self.offsets.is_pending(group_id, &topic.name, index);
            if exists && !subscribed {
                records.push(tombstone(group_id, &topic.name, index));
            }
            let refusal = subscribed.then_some(Refusal::GroupSubscribedToTopic);
            OffsetDeleteResponsePartition {
                partition_index: index,
                error_code: refusal.map_or(NONE, Refusal::code),
            }
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic {
            name: topic.name.clone(),
            partitions,
        }
    }

    /// Tombstones for everything a group has committed, or may still commit.
    pub(crate) fn all_offset_tombstones(&self, group_id: &str) -> Vec<GroupRecord> {
        let committed = self.offsets.of_group(group_id).into_iter().flatten();
        let committed = committed.flat_map(|(topic, partitions)| {
            partitions.keys().map(move |partition| (topic, *partition))
        });
        let all: BTreeSet<_> = committed.chain(self.offsets.pending_of(group_id)).collect();
        all.into_iter()
            .map(|(topic, partition)| tombstone(group_id, topic, partition))
            .collect()
    }

    // ---- with their topic ----

    /// A topic is gone: forget what was committed for it. A topic of the same name that is made
    /// later has another id, and starts without offsets.
    pub fn topic_deleted(&mut self, name: &str, id: Uuid) -> GroupDecision {
        let gone = self.offsets.of_topic(name).into_iter();
        let gone = gone.filter(|(_, _, committed)| committed.is_zero() || *committed == id);
        let records = gone.map(|(group, partition, _)| tombstone(&group, name, partition));
        let records = records.collect();
        self.batched_decision(records)
    }

    // ---- because they are too old ----

    /// Offsets and empty groups that nobody has touched for `offsets.retention.minutes`.
    pub(crate) fn expire(&mut self, now: Now) -> GroupDecision {
        let interval_ms = self.settings.offsets_retention_check_interval_ms;
        self.timers.set(Timer::Retention, now, interval_ms);
        let mut records = Vec::new();
        for (group_id, group) in &self.live {
            let before = records.len();
            let is_subscribed = |topic: &str| group.is_subscribed_to(topic);
            let clock = Clock::of(group);
            let all_gone = self.expire_group(group_id, clock, is_subscribed, now, &mut records);
            self.counts.offset_expirations += (records.len() - before) as u64;
            if all_gone && group.state() == ClassicState::Empty {
                records.push(group_tombstone(group_id));
            }
        }
        for (group_id, group) in &self.consumers {
            let before = records.len();
            let is_subscribed = |topic: &str| group.is_subscribed_to(topic);
            let clock = Some(Clock::Committed);
            let all_gone = self.expire_group(group_id, clock, is_subscribed, now, &mut records);
            self.counts.offset_expirations += (records.len() - before) as u64;
            if all_gone && group.is_empty() {
                records.extend(group.tombstones());
            }
        }
        self.batched_decision(records)
    }

    /// Whether nothing will be left of the group's offsets.
    fn expire_group(
        &self,
        group_id: &str,
        clock: Option<Clock>,
        is_subscribed: impl Fn(&str) -> bool,
        now: Now,
        records: &mut Vec<GroupRecord>,
    ) -> bool {
        let has_pending = self.offsets.has_pending(group_id);
        let Some(topics) = self.offsets.of_group(group_id) else {
            return !has_pending;
        };
        let Some(clock) = clock else {
            return false;
        };
        let mut all_gone = !has_pending;
        for (topic, partitions) in topics {
            for (partition, committed) in partitions {
                let is_old = !is_subscribed(topic)
                    && clock.is_over(committed, now.wall_ms, self.settings.offsets_retention_ms)
                    && !self.offsets.is_pending(group_id, topic, *partition);
                if is_old {
                    records.push(tombstone(group_id, topic, *partition));
                }
                all_gone &= is_old;
            }
        }
        all_gone
    }

    /// Records of many groups, in batches of bounded size; nobody waits for them.
    fn batched_decision(&self, records: Vec<GroupRecord>) -> GroupDecision {
        let mut decision = self.plain_decision(Vec::new(), Answer::Nobody);
        let batches = records.chunks(TOMBSTONES_PER_BATCH);
        decision.batches = batches
            .map(|records| Batch {
                records: records.to_vec(),
                origin: Origin::Plain,
            })
            .collect();
        decision
    }
}

/// From when on the retention of a group's offsets is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// Since the group became empty; in records of old brokers unknown, then since the commit.
    Emptied(Option<i64>),
    /// Since each commit: clients without membership, groups of the consumer protocol, and topics
    /// that a stable group has left.
    Committed,
}

impl Clock {
    /// `None`: nothing of the group expires now.
    fn of(group: &ClassicGroup) -> Option<Self> {
        if group.protocol_type().is_none() {
            return Some(Self::Committed);
        }
        match group.state() {
            ClassicState::Empty => Some(Self::Emptied(group.since_ms())),
            ClassicState::Stable if group.speaks_consumer() && group.knows_subscriptions() => {
                Some(Self::Committed)
            }
            _ => None,
        }
    }

    fn is_over(self, committed: &Committed, now_ms: i64, retention_ms: i64) -> bool {
        if let Some(expire_ms) = committed.expire_ms {
            return now_ms >= expire_ms;
        }
        let since = match self {
            Self::Emptied(Some(emptied_ms)) => emptied_ms,
            Self::Emptied(None) | Self::Committed => committed.commit_ms,
        };
        now_ms.saturating_sub(since) >= retention_ms
    }
}

fn tombstone(group_id: &str, topic: &str, partition: i32) -> GroupRecord {
    let key = OffsetCommitKey {
        group_id: Text::from(group_id),
        topic: Text::from(topic),
        partition,
    };
    GroupRecord::OffsetCommit { key, value: None }
}

pub(crate) fn group_tombstone(group_id: &Arc<str>) -> GroupRecord {
    let key = GroupMetadataKey {
        group_id: Text::from(&**group_id),
    };
    GroupRecord::GroupMetadata { key, value: None }
}

//! OffsetCommit (key 8): a member, or a client outside of any group, stores where it has got to.
//! v2–4 may ask for an expiry · v7 static members · v9 other errors for a missing group · v10
//! topic ids.

use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use ottla_protocol::{NONE, Refusal, Text, Uuid};

use crate::group::classic::ClassicState;
use crate::group::consumer::Committer;
use crate::group::records::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use crate::group::reply::GroupReply;
use crate::group::{GroupDecision, GroupLedger, Topics};
use crate::ledger::{Answer, Now, When};

/// From here on topics are named by their ids.
const TOPIC_IDS_FROM: i16 = 10;
/// From here on a missing group is called that.
const GROUP_ID_NOT_FOUND_FROM: i16 = 9;
/// From here on members of the consumer protocol can say their epoch.
const MEMBER_EPOCHS_FROM: i16 = 9;
/// What a client says that is no member.
const NO_GENERATION: i32 = -1;

impl GroupLedger {
    /// OffsetCommit. Topics that do not exist are refused one by one, and if none is left, the
    /// group is not even looked at, as in Kafka.
    pub fn commit_offsets(
        &mut self,
        request: &OffsetCommitRequest,
        version: i16,
        topics: &dyn Topics,
        now: Now,
    ) -> GroupDecision {
        let mut commit = Commit {
            version,
            topics,
            group: Err(Refusal::UnknownServerError),
            now,
        };
        let known = request.topics.iter().any(|topic| {
            let Ok((name, _)) = commit.resolve(topic) else {
                return false;
            };
            topic
                .partitions
                .iter()
                .any(|p| topics.has_partition(&name, p.partition_index))
        });
        if known {
            commit.group = self.may_commit(request, version, &commit);
            if commit.group.is_ok() {
                self.keep_session(request, now);
            }
        }
        let (response, records) = commit.run(request, self.settings.offset_metadata_max);
        self.counts.offset_commits += records.len() as u64;
        let when = if records.is_empty() {
            When::AtOnce
        } else {
            When::AfterAppend
        };
        let reply = Answer::Now(GroupReply::CommitOffsets(response), when);
        self.plain_decision(records, reply)
    }

    /// The group may be missing (a client without membership makes it by committing), empty, or in
    /// the midst of a generation, which only its members may commit in.
    fn may_commit(
        &self,
        request: &OffsetCommitRequest,
        version: i16,
        commit: &Commit<'_>,
    ) -> Result<(), Refusal> {
        let generation = request.generation_id_or_member_epoch;
        if let Some(group) = self.consumers.get(&*request.group_id) {
            let committer = Committer {
                member_id: &request.member_id,
                epoch: generation,
                speaks_consumer: version >= MEMBER_EPOCHS_FROM,
            };
            let metadata_max = self.settings.offset_metadata_max;
            return group.may_commit(&committer, commit.stored(request, metadata_max));
        }
        if let Some(other) = self.others.get(&*request.group_id) {
            return match other.is_empty() && generation <= NO_GENERATION {
                true => Ok(()),
                false => Err(Refusal::UnknownMemberId),
            };
        }
        let Some(group) = self.live.get(&*request.group_id) else {
            return match generation {
                ..=NO_GENERATION => Ok(()),
                _ if version >= GROUP_ID_NOT_FOUND_FROM => Err(Refusal::GroupIdNotFound),
                _ => Err(Refusal::IllegalGeneration),
            };
        };
        let is_empty = group.state() == ClassicState::Empty;
        let instance = request.group_instance_id.as_deref();
        if generation < 0 && is_empty {
            return Ok(());
        }
        if generation < 0 && request.member_id.is_empty() && instance.is_none() {
            return Err(Refusal::UnknownMemberId);
        }
        group.check_member(&request.member_id, instance)?;
        if generation != group.generation() {
            return Err(Refusal::IllegalGeneration);
        }
        if group.state() == ClassicState::CompletingRebalance {
            return Err(Refusal::RebalanceInProgress);
        }
        Ok(())
    }

    /// A commit shows that the member lives.
    fn keep_session(&mut self, request: &OffsetCommitRequest, now: Now) {
        let Self {
            live,
            settings,
            timers,
            tickets,
            ..
        } = self;
        if let Some(group) = live.get(&*request.group_id)
            && group.state() != ClassicState::CompletingRebalance
        {
            let seen = When::AtOnce;
            let mut turn = crate::group::turn::Turn::new(now, settings, timers, tickets, seen);
            group.saw(&request.member_id, &mut turn);
        }
    }
}

/// One OffsetCommit on its way through the rules.
struct Commit<'a> {
    version: i16,
    topics: &'a dyn Topics,
    /// Whether the group lets the client commit at all.
    group: Result<(), Refusal>,
    now: Now,
}

impl Commit<'_> {
    fn run(
        &self,
        request: &OffsetCommitRequest,
        metadata_max: usize,
    ) -> (OffsetCommitResponse, Vec<GroupRecord>) {
        let mut records = Vec::new();
        let mut response = OffsetCommitResponse::default();
        for topic in &request.topics {
            let resolved = self.resolve(topic);
            if resolved.is_ok() && topic.partitions.is_empty() {
                // Kafka answers by what it stored or refused, and here is neither.
                continue;
            }
            let (name, topic_id) = match &resolved {
                Ok(resolved) => resolved.clone(),
                Err(_) => (topic.name.clone(), topic.topic_id),
            };
            let partitions = topic.partitions.iter().map(|partition| {
                let fate = resolved
                    .as_ref()
                    .map_err(|refusal| *refusal)
                    .and_then(|_| self.may_store(&name, partition, metadata_max));
                if fate.is_ok() {
                    records.push(self.record(request, &name, topic_id, partition));
                }
                OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: fate.map_or_else(Refusal::code, |()| NONE),
                }
            });
            let partitions = partitions.collect();
            response.topics.push(OffsetCommitResponseTopic {
                name,
                topic_id,
                partitions,
            });
        }
        (response, records)
    }

    /// The partitions that would be stored if the group allowed it.
    fn stored(
        &self,
        request: &OffsetCommitRequest,
        metadata_max: usize,
    ) -> impl Iterator<Item = (Uuid, i32)> {
        request
            .topics
            .iter()
            .filter_map(|topic| Some((self.resolve(topic).ok()?, &topic.partitions)))
            .flat_map(move |((name, id), partitions)| {
                let exists = move |it: &&OffsetCommitRequestPartition| {
                    self.topics.has_partition(&name, it.partition_index)
                        && !is_too_long(it, metadata_max)
                };
                let partitions = partitions.iter().filter(exists);
                partitions.map(move |partition| (id, partition.partition_index))
            })
    }

    /// Name and id of a topic that exists.
    fn resolve(&self, topic: &OffsetCommitRequestTopic) -> Result<(Text, Uuid), Refusal> {
        if self.version >= TOPIC_IDS_FROM {
            let name = self
                .topics
                .name(topic.topic_id)
                .ok_or(Refusal::UnknownTopicId)?;
            Ok((name, topic.topic_id))
        } else {
            let id = self
                .topics
                .id(&topic.name)
                .ok_or(Refusal::UnknownTopicOrPartition)?;
            Ok((topic.name.clone(), id))
        }
    }

    fn may_store(
        &self,
        topic: &str,
        partition: &OffsetCommitRequestPartition,
        metadata_max: usize,
    ) -> Result<(), Refusal> {
        if !self.topics.has_partition(topic, partition.partition_index) {
            return Err(Refusal::UnknownTopicOrPartition);
        }
        self.group?;
        match is_too_long(partition, metadata_max) {
            true => Err(Refusal::OffsetMetadataTooLarge),
            false => Ok(()),
        }
    }

    fn record(
        &self,
        request: &OffsetCommitRequest,
        topic: &Text,
        topic_id: Uuid,
        partition: &OffsetCommitRequestPartition,
    ) -> GroupRecord {
        let expire_timestamp = match request.retention_time_ms {
            OffsetCommitValue::NEVER => OffsetCommitValue::NEVER,
            retention => self.now.wall_ms.saturating_add(retention),
        };
        GroupRecord::OffsetCommit {
            key: OffsetCommitKey {
                group_id: request.group_id.clone(),
                topic: topic.clone(),
                partition: partition.partition_index,
            },
            value: Some(OffsetCommitValue {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.committed_metadata.clone().unwrap_or_default(),
                commit_timestamp: self.now.wall_ms,
                expire_timestamp,
                topic_id,
            }),
        }
    }
}

/// In Java's characters, as the setting counts them.
fn is_too_long(partition: &OffsetCommitRequestPartition, metadata_max: usize) -> bool {
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    metadata.len() > metadata_max && metadata.encode_utf16().count() > metadata_max
}

#[cfg(test)]
mod tests {
    use super::super::one_topic::OneTopic;
    use super::*;

    #[test]
    fn topics_without_partitions_are_told_only_where_they_do_not_exist() {
        let topic = |name| OffsetCommitRequestTopic {
            name: Text::from_static(name),
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            topics: vec![topic("a"), topic("b")],
            ..Default::default()
        };
        let commit = Commit {
            version: 9,
            topics: &OneTopic,
            group: Ok(()),
            now: Now {
                monotonic: std::time::Duration::ZERO,
                wall_ms: 0,
            },
        };
        let (response, records) = commit.run(&request, 4096);
        let told: Vec<&str> = response.topics.iter().map(|topic| &*topic.name).collect();
        assert_eq!((told, records.len()), (vec!["b"], 0));
    }
}

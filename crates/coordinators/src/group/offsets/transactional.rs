//! TxnOffsetCommit (key 28): a transaction stores how far its reader has got. The offsets count
//! once the transaction's commit marker is in this partition, and never if it aborts.
//! v3 members are checked as in OffsetCommit, if the request names one (KIP-447).

use ottla_protocol::messages::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use ottla_protocol::{NONE, Offset, ProducerId, Refusal, Text, Uuid};

use crate::group::classic::ClassicState;
use crate::group::consumer::Committer;
use crate::group::records::{GroupRecord, OffsetCommitKey, OffsetCommitValue};
use crate::group::reply::GroupReply;
use crate::group::{GroupDecision, GroupLedger, Topics};
use crate::ledger::{Answer, Batch, Now, Origin, When};

/// What a client says that is no member.
const NO_GENERATION: i32 = -1;

impl GroupLedger {
    /// TxnOffsetCommit. Topics that do not exist are refused one by one, as in OffsetCommit.
    pub fn commit_offsets_in_transaction(
        &mut self,
        request: &TxnOffsetCommitRequest,
        topics: &dyn Topics,
        now: Now,
    ) -> GroupDecision {
        let group = self.may_commit_in_transaction(request, topics);
        let metadata_max = self.settings.offset_metadata_max;
        let mut records = Vec::new();
        let response = txn_offset_commit_response(request, topics, |topic, partition| {
            group?;
            if metadata_len(partition) > metadata_max {
                return Err(Refusal::OffsetMetadataTooLarge);
            }
            records.push(record(&request.group_id, topic, partition, now));
            Ok(())
        });
        self.counts.offset_commits += records.len() as u64;
        let when = if records.is_empty() {
            When::AtOnce
        } else {
            When::AfterAppend
        };
        let reply = Answer::Now(GroupReply::CommitOffsetsInTransaction(response), when);
        let mut decision = self.plain_decision(Vec::new(), reply);
        if !records.is_empty() {
            let origin = Origin::Transactional {
                producer: request.producer_id,
                epoch: request.producer_epoch,
            };
            decision.batches.push(Batch { records, origin });
        }
        decision
    }

    /// Whoever names a member must name one of the present generation; old clients name none.
    fn may_commit_in_transaction(
        &self,
        request: &TxnOffsetCommitRequest,
        topics: &dyn Topics,
    ) -> Result<(), Refusal> {
        if request.group_id.is_empty() {
            return Err(Refusal::InvalidGroupId);
        }
        let generation = request.generation_id;
        let instance = request.group_instance_id.as_deref();
        let names_nobody = request.member_id.is_empty() && instance.is_none();
        if let Some(group) = self.consumers.get(&*request.group_id) {
            if generation == NO_GENERATION && names_nobody {
                return Ok(());
            }
            let committer = Committer {
                member_id: &request.member_id,
                epoch: generation,
                speaks_consumer: true,
            };
            let stored = request.topics.iter().flat_map(|topic| {
                let id = topics.id(&topic.name).unwrap_or_default();
                let partitions = topic.partitions.iter();
                partitions.map(move |partition| (id, partition.partition_index))
            });
            let may = group.may_commit(&committer, stored);
            // The request does not know the error of the newer protocol.
            return may.map_err(|refusal| match refusal {
                Refusal::StaleMemberEpoch => Refusal::IllegalGeneration,
                other => other,
            });
        }
        if let Some(other) = self.others.get(&*request.group_id) {
            let may = (generation < 0 && other.is_empty())
                || (generation == NO_GENERATION && names_nobody);
            return may.then_some(()).ok_or(Refusal::UnknownMemberId);
        }
        let Some(group) = self.live.get(&*request.group_id) else {
            let may = generation < 0;
            return may.then_some(()).ok_or(Refusal::IllegalGeneration);
        };
        let is_empty = group.state() == ClassicState::Empty;
        if generation < 0 && (is_empty || names_nobody) {
            return Ok(());
        }
        group.check_member(&request.member_id, instance)?;
        if generation != group.generation() {
            return Err(Refusal::IllegalGeneration);
        }
        Ok(())
    }

    /// A producer's transaction has ended in this partition: its marker stands at `offset`.
    pub fn end_transaction(&mut self, offset: Offset, producer: ProducerId, committed: bool) {
        for group in self.offsets.end_transaction(producer, committed) {
            self.uncommitted.appended(&group, offset);
        }
    }
}

/// The answer to a TxnOffsetCommit of which `verdict` judges every partition that exists.
pub fn txn_offset_commit_response(
    request: &TxnOffsetCommitRequest,
    topics: &dyn Topics,
    mut verdict: impl FnMut(&Text, &TxnOffsetCommitRequestPartition) -> Result<(), Refusal>,
) -> TxnOffsetCommitResponse {
    // A topic without partitions is told only where there is no such topic, as in Kafka.
    let is_told = |topic: &&TxnOffsetCommitRequestTopic| {
        !topic.partitions.is_empty() || topics.id(&topic.name).is_none()
    };
    let told = request.topics.iter().filter(is_told);
    let topics = told.map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let fate = match topics.has_partition(&topic.name, partition.partition_index) {
                true => verdict(&topic.name, partition),
                false => Err(Refusal::UnknownTopicOrPartition),
            };
            TxnOffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: fate.map_or_else(Refusal::code, |()| NONE),
            }
        });
        TxnOffsetCommitResponseTopic {
            name: topic.name.clone(),
            partitions: partitions.collect(),
        }
    });
    TxnOffsetCommitResponse {
        topics: topics.collect(),
        ..TxnOffsetCommitResponse::default()
    }
}

/// In Java's characters, as the setting counts them.
fn metadata_len(partition: &TxnOffsetCommitRequestPartition) -> usize {
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    metadata.encode_utf16().count()
}

fn record(
    group_id: &Text,
    topic: &Text,
    partition: &TxnOffsetCommitRequestPartition,
    now: Now,
) -> GroupRecord {
    GroupRecord::OffsetCommit {
        key: OffsetCommitKey {
            group_id: group_id.clone(),
            topic: topic.clone(),
            partition: partition.partition_index,
        },
        value: Some(OffsetCommitValue {
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.committed_metadata.clone().unwrap_or_default(),
            commit_timestamp: now.wall_ms,
            expire_timestamp: OffsetCommitValue::NEVER,
            // The request knows no topic ids, and Kafka writes none here either.
            topic_id: Uuid::ZERO,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_topic::OneTopic;
    use super::*;

    #[test]
    fn topics_without_partitions_are_told_only_where_they_do_not_exist() {
        let topic = |name| TxnOffsetCommitRequestTopic {
            name: Text::from_static(name),
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            topics: vec![topic("a"), topic("b")],
            ..Default::default()
        };
        let response = txn_offset_commit_response(&request, &OneTopic, |_, _| Ok(()));
        let told: Vec<&str> = response.topics.iter().map(|topic| &*topic.name).collect();
        assert_eq!(told, ["b"]);
    }
}

//! Offsets: where a partition begins, ends, or was at a moment; and what a group has committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ottla_protocol::messages::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic, OffsetCommitRequest,
    OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetFetchRequest,
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use ottla_protocol::{NodeId, Offset, Refusal, Text, TopicPartition};
use tokio::time::{Instant, sleep};

use crate::cluster::{Ask, Cluster};
use crate::error::ClientError;
use crate::pool::Lane;
use crate::settings::pause;

/// OffsetCommit and OffsetFetch name topics up to this version, and have their ids after it.
const LAST_WITH_NAMES: i16 = 9;
/// OffsetFetch asks for several groups from this version on.
const MANY_GROUPS_FROM: i16 = 8;
/// OffsetFetch can leave out what a transaction has pending from this version on.
const STABLE_FROM: i16 = 7;

/// Which offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Earliest,
    Latest,
    /// That of the newest timestamp.
    MaxTimestamp,
    /// The first on the broker's own disk, the last that lies in remote storage, and the first that
    /// is yet to go there.
    EarliestLocal,
    LatestTiered,
    EarliestPendingUpload,
    /// The first at or after this time.
    Timestamp(i64),
}

impl At {
    fn number(self) -> i64 {
        match self {
            Self::Earliest => ListOffsetsRequest::EARLIEST,
            Self::Latest => ListOffsetsRequest::LATEST,
            Self::MaxTimestamp => ListOffsetsRequest::MAX_TIMESTAMP,
            Self::EarliestLocal => ListOffsetsRequest::EARLIEST_LOCAL,
            Self::LatestTiered => ListOffsetsRequest::LATEST_TIERED,
            Self::EarliestPendingUpload => ListOffsetsRequest::EARLIEST_PENDING_UPLOAD,
            Self::Timestamp(time) => time,
        }
    }
}

/// What may be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    #[default]
    ReadUncommitted,
    ReadCommitted,
}

impl Isolation {
    /// As Fetch and ListOffsets say it.
    pub fn number(self) -> i8 {
        self as i8
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// -1 if no record is that new.
    pub offset: Offset,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

/// What a group has committed of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub offset: Offset,
    pub leader_epoch: i32,
    pub metadata: String,
}

/// Who commits: a member in its generation, or somebody from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committer {
    pub generation: i32,
    pub member: String,
    pub instance: Option<String>,
}

impl Committer {
    /// Allowed while the group has no members.
    pub fn outsider() -> Self {
        Self {
            generation: -1,
            member: String::new(),
            instance: None,
        }
    }
}

pub type OffsetAnswers<T> = BTreeMap<TopicPartition, Result<T, ClientError>>;

impl Cluster {
    /// Ask the leaders. Partitions whose leader has moved are asked again until the time for one
    /// call is over; what then still fails is the partition's answer.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, At)],
        isolation: Isolation,
    ) -> OffsetAnswers<FoundOffset> {
        let mut answers = OffsetAnswers::new();
        let mut open: Vec<_> = wanted.to_vec();
        let deadline = Instant::now() + self.settings().api_timeout;
        let mut n = 0;
        loop {
            let mut again = Vec::new();
            for (partition, answer) in self.list_once(&open, isolation).await {
                let is_open = answer.as_ref().is_err_and(ClientError::is_retriable);
                if is_open && let Some(at) = open.iter().find(|(p, _)| *p == partition) {
                    again.push((partition.clone(), at.1));
                }
                answers.insert(partition, answer);
            }
            let wait = pause(self.settings().retry_backoff, n);
            n += 1;
            if again.is_empty() || Instant::now() + wait >= deadline {
                return answers;
            }
            sleep(wait).await;
            open = again;
            let topics: BTreeSet<_> = open.iter().map(|(p, _)| Arc::clone(&p.topic)).collect();
            let topics: Vec<_> = topics.into_iter().collect();
            if let Err(error) = self.refresh(Ask::Named(&topics)).await {
                tracing::debug!(%error, "metadata was not refreshed");
            }
        }
    }

    async fn list_once(
        &self,
        wanted: &[(TopicPartition, At)],
        isolation: Isolation,
    ) -> OffsetAnswers<FoundOffset> {
        let mut answers = OffsetAnswers::new();
        let topics: BTreeSet<_> = wanted.iter().map(|(p, _)| Arc::clone(&p.topic)).collect();
        let topics: Vec<_> = topics.into_iter().collect();
        let view = match self.topics(&topics).await {
            Ok(view) => view,
            Err(error) => {
                let failed = wanted.iter().map(|(p, _)| (p.clone(), Err(error.clone())));
                return failed.collect();
            }
        };
        let mut by_leader: BTreeMap<NodeId, Vec<(TopicPartition, At)>> = BTreeMap::new();
        for (partition, at) in wanted {
            match view.leader(partition) {
                Some(leader) => by_leader
                    .entry(leader.id)
                    .or_default()
                    .push((partition.clone(), *at)),
                None => {
                    let known = view.topics.get(&partition.topic);
                    let exists =
                        known.is_some_and(|t| t.partitions.contains_key(&partition.partition));
                    let refusal = if exists {
                        Refusal::LeaderNotAvailable
                    } else {
                        Refusal::UnknownTopicOrPartition
                    };
                    answers.insert(partition.clone(), Err(offsets_unknown(partition, refusal)));
                }
            }
        }
        for (leader, partitions) in by_leader {
            match self.list_at(leader, &partitions, isolation).await {
                Ok(found) => answers.extend(found),
                Err(error) => {
                    answers.extend(partitions.into_iter().map(|(p, _)| (p, Err(error.clone()))))
                }
            }
        }
        answers
    }

    async fn list_at(
        &self,
        leader: NodeId,
        partitions: &[(TopicPartition, At)],
        isolation: Isolation,
    ) -> Result<OffsetAnswers<FoundOffset>, ClientError> {
        let mut topics: BTreeMap<&Arc<str>, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for (partition, at) in partitions {
            topics
                .entry(&partition.topic)
                .or_default()
                .push(ListOffsetsPartition {
                    partition_index: partition.partition,
                    timestamp: at.number(),
                    ..ListOffsetsPartition::default()
                });
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsTopic {
                name: Text::from(&**name),
                partitions,
            });
        let patience = self.patience();
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: isolation.number(),
            topics: topics.collect(),
            timeout_ms: i32::try_from(patience.as_millis()).unwrap_or(i32::MAX),
        };
        let connection = self.node(leader, Lane::Calls).await?;
        let answer = connection.ask(&request, patience).await?;
        let mut found = OffsetAnswers::new();
        for topic in answer.topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            for partition in topic.partitions {
                let key = TopicPartition::new(Arc::clone(&name), partition.partition_index);
                let result = match Refusal::from_code(partition.error_code) {
                    Some(refusal) => Err(offsets_unknown(&key, refusal)),
                    None => Ok(FoundOffset {
                        offset: partition.offset,
                        timestamp: partition.timestamp,
                        leader_epoch: partition.leader_epoch,
                    }),
                };
                found.insert(key, result);
            }
        }
        Ok(found)
    }

    /// What a group has committed, of these partitions, to go on from there; or of all, to look.
    pub async fn committed(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, Committed>, ClientError> {
        self.retry("fetching committed offsets", async || {
            let answer = self.committed_once(group, partitions).await;
            self.heed(group, answer)
        })
        .await
    }

    async fn committed_once(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, Committed>, ClientError> {
        let connection = self.coordinator(group, Lane::Calls).await?;
        let version = connection
            .versions()
            .newest::<OffsetFetchRequest>(LAST_WITH_NAMES)?;
        let request = committed_request(version, group, partitions);
        let answer = connection
            .ask_up_to(&request, version, self.patience())
            .await?;
        read_committed(group, answer)
    }

    /// Commit, and learn of each partition whether it was.
    pub async fn commit(
        &self,
        group: &str,
        committer: &Committer,
        offsets: &BTreeMap<TopicPartition, Committed>,
    ) -> Result<OffsetAnswers<()>, ClientError> {
        self.retry("committing offsets", async || {
            let answer = self.commit_once(group, committer, offsets).await;
            self.heed(group, answer)
        })
        .await
    }

    /// Fails as a whole where trying again as a whole helps.
    async fn commit_once(
        &self,
        group: &str,
        committer: &Committer,
        offsets: &BTreeMap<TopicPartition, Committed>,
    ) -> Result<OffsetAnswers<()>, ClientError> {
        let connection = self.coordinator(group, Lane::Calls).await?;
        let mut topics: BTreeMap<&Arc<str>, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for (partition, committed) in offsets {
            topics
                .entry(&partition.topic)
                .or_default()
                .push(OffsetCommitRequestPartition {
                    partition_index: partition.partition,
                    committed_offset: committed.offset,
                    committed_leader_epoch: committed.leader_epoch,
                    committed_metadata: Some(Text::from(committed.metadata.as_str())),
                });
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| OffsetCommitRequestTopic {
                name: Text::from(&**name),
                partitions,
                ..OffsetCommitRequestTopic::default()
            });
        let request = OffsetCommitRequest {
            group_id: Text::from(group),
            generation_id_or_member_epoch: committer.generation,
            member_id: Text::from(committer.member.as_str()),
            group_instance_id: committer.instance.as_deref().map(Text::from),
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        };
        let answer = connection
            .ask_up_to(&request, LAST_WITH_NAMES, self.patience())
            .await?;
        let mut answers = OffsetAnswers::new();
        for topic in answer.topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            for partition in topic.partitions {
                let key = TopicPartition::new(Arc::clone(&name), partition.partition_index);
                let what = format!("the offset of {key} was not committed for group {group}");
                let result = ClientError::from_code(&what, partition.error_code, None);
                if let Err(error) = &result
                    && is_of_coordinator(error)
                {
                    return Err(error.clone());
                }
                answers.insert(key, result);
            }
        }
        Ok(answers)
    }

    /// Look for the coordinator anew where the answer says that it has moved.
    pub(crate) fn heed<T>(
        &self,
        group: &str,
        answer: Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        if let Err(error) = &answer
            && (is_of_coordinator(error) || !matches!(error, ClientError::Refused { .. }))
        {
            self.forget_coordinator(group);
        }
        answer
    }
}

fn is_of_coordinator(error: &ClientError) -> bool {
    matches!(
        error.refusal(),
        Some(
            Refusal::NotCoordinator
                | Refusal::CoordinatorNotAvailable
                | Refusal::CoordinatorLoadInProgress
        )
    )
}

fn offsets_unknown(partition: &TopicPartition, refusal: Refusal) -> ClientError {
    ClientError::refused(format!("the offsets of {partition} are not known"), refusal)
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<Text, Vec<i32>> {
    let mut topics: HashMap<&str, Vec<i32>> = HashMap::new();
    for partition in partitions {
        topics
            .entry(&partition.topic)
            .or_default()
            .push(partition.partition);
    }
    topics
        .into_iter()
        .map(|(name, numbers)| (Text::from(name), numbers))
        .collect()
}

/// A reader who goes on from these partitions must not go on from what a transaction is about to
/// replace; who only looks (all partitions) is not kept waiting. Both as Kafka's clients do it.
fn committed_request(
    version: i16,
    group: &str,
    partitions: Option<&[TopicPartition]>,
) -> OffsetFetchRequest {
    let by_topic = partitions.map(by_topic);
    let mut request = OffsetFetchRequest {
        require_stable: version >= STABLE_FROM && partitions.is_some(),
        ..OffsetFetchRequest::default()
    };
    if version >= MANY_GROUPS_FROM {
        let topics = by_topic.map(|topics| {
            let topics = topics.into_iter();
            let topic = topics.map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                name,
                partition_indexes,
                ..OffsetFetchRequestTopics::default()
            });
            topic.collect()
        });
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: Text::from(group),
            topics,
            ..OffsetFetchRequestGroup::default()
        }];
    } else {
        request.group_id = Text::from(group);
        request.topics = by_topic.map(|topics| {
            let topics = topics.into_iter();
            let topic = topics.map(|(name, partition_indexes)| OffsetFetchRequestTopic {
                name,
                partition_indexes,
            });
            topic.collect()
        });
    }
    request
}

fn read_committed(
    group: &str,
    answer: OffsetFetchResponse,
) -> Result<BTreeMap<TopicPartition, Committed>, ClientError> {
    let what = format!("the offsets of group {group} were not given");
    ClientError::from_code(&what, answer.error_code, None)?;
    let mut all = BTreeMap::new();
    let mut keep =
        |topic: &str, partition: i32, offset, leader_epoch, metadata: Option<Text>, code| {
            let key = TopicPartition::new(topic, partition);
            ClientError::from_code(&format!("the offset of {key} was not given"), code, None)?;
            if offset >= 0 {
                let metadata = metadata.as_deref().unwrap_or_default().to_owned();
                all.insert(
                    key,
                    Committed {
                        offset,
                        leader_epoch,
                        metadata,
                    },
                );
            }
            Ok(())
        };
    for topic in answer.topics {
        for p in topic.partitions {
            let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
            keep(
                &topic.name,
                p.partition_index,
                offset,
                epoch,
                p.metadata,
                p.error_code,
            )?;
        }
    }
    for group in answer.groups {
        ClientError::from_code(&what, group.error_code, None)?;
        for topic in group.topics {
            for p in topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                keep(
                    &topic.name,
                    p.partition_index,
                    offset,
                    epoch,
                    p.metadata,
                    p.error_code,
                )?;
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::{
        OffsetFetchRequest, OffsetFetchResponse, OffsetFetchResponsePartition,
        OffsetFetchResponseTopic,
    };
    use ottla_protocol::{Refusal, Text, TopicPartition, Versioned, encode_body};

    use super::{LAST_WITH_NAMES, committed_request, read_committed};

    #[test]
    fn who_goes_on_from_an_offset_waits_for_pending_transactions_and_who_looks_does_not() {
        let partitions = [TopicPartition::new("orders", 0)];
        for version in OffsetFetchRequest::VERSIONS.0..=LAST_WITH_NAMES {
            let request = committed_request(version, "g", Some(&partitions));
            assert_eq!(request.require_stable, version >= 7, "version {version}");
            encode_body(&request, version).expect("nothing that the version cannot carry");
        }
        let looks = committed_request(LAST_WITH_NAMES, "g", None);
        assert!(!looks.require_stable);
    }

    #[test]
    fn an_offset_that_a_transaction_has_pending_is_asked_for_again() {
        let answer = OffsetFetchResponse {
            topics: vec![OffsetFetchResponseTopic {
                name: Text::from("orders"),
                partitions: vec![OffsetFetchResponsePartition {
                    error_code: Refusal::UnstableOffsetCommit.code(),
                    ..OffsetFetchResponsePartition::default()
                }],
            }],
            ..OffsetFetchResponse::default()
        };
        let refused = read_committed("g", answer).expect_err("it is pending");
        assert!(refused.is_retriable(), "{refused}");
    }
}

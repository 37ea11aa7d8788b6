//! Topics: create, describe, grow, delete; and which partitions are being moved.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreatePartitionsAssignment,
    CreatePartitionsRequest, CreatePartitionsTopic, CreateTopicsRequest, DeleteTopicState,
    DeleteTopicsRequest, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponseTopic,
    DescribeTopicPartitionsTopicRequest, ListPartitionReassignmentsRequest,
};
use ottla_protocol::{NodeId, Refusal, Text, TopicPartition, Uuid};

use super::lacks;
use crate::cluster::{Ask, Cluster, TopicView, serves};
use crate::error::ClientError;
use crate::pool::Lane;

/// DeleteTopics lists bare names up to this version.
const LAST_WITH_BARE_NAMES: i16 = 5;
/// Partitions in one answer of DescribeTopicPartitions, as Kafka's tools ask.
const PARTITIONS_PER_ANSWER: i32 = 2000;

/// A topic to make. Without counts the cluster's defaults apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewTopic {
    pub name: String,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    /// The replicas of each partition; instead of the counts.
    pub assignment: Vec<Vec<NodeId>>,
    pub configs: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    pub name: Arc<str>,
    pub id: Uuid,
    pub is_internal: bool,
    pub partitions: Vec<PartitionDescription>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    pub number: i32,
    pub leader: Option<NodeId>,
    pub replicas: Vec<NodeId>,
    pub in_sync: Vec<NodeId>,
    /// `None` where the broker does not tell.
    pub eligible: Option<Vec<NodeId>>,
    pub last_known_eligible: Option<Vec<NodeId>>,
}

/// A partition on its way to other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    pub replicas: Vec<NodeId>,
    pub adding: Vec<NodeId>,
    pub removing: Vec<NodeId>,
}

impl Cluster {
    /// All topics by name, or why they cannot be seen.
    pub async fn list_topics(&self) -> Result<BTreeMap<Arc<str>, TopicView>, ClientError> {
        self.retry("listing topics", async || {
            let view = self.refresh(Ask::All).await?;
            Ok(view.topics.clone())
        })
        .await
    }

    pub async fn create_topic(&self, topic: &NewTopic) -> Result<Uuid, ClientError> {
        let assignments = (0..).zip(&topic.assignment);
        let configs = topic.configs.iter();
        let by_hand = !topic.assignment.is_empty();
        let counted = |n: Option<i32>| if by_hand { -1 } else { n.unwrap_or(-1) };
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Text::from(topic.name.as_str()),
                num_partitions: counted(topic.partitions),
                replication_factor: counted(topic.replication_factor.map(i32::from)) as i16,
                assignments: assignments
                    .map(|(partition_index, replicas)| CreatableReplicaAssignment {
                        partition_index,
                        broker_ids: replicas.clone(),
                    })
                    .collect(),
                configs: configs
                    .map(|(name, value)| CreatableTopicConfig {
                        name: Text::from(name.as_str()),
                        value: Some(Text::from(value.as_str())),
                    })
                    .collect(),
            }],
            timeout_ms: self.request_timeout_ms(),
            validate_only: false,
        };
        let what = format!("topic {} was not created", topic.name);
        self.retry("creating a topic", async || {
            let connection = self.controller().await?;
            let answer = connection.ask(&request, self.patience()).await?;
            let answer = answer
                .topics
                .into_iter()
                .next()
                .ok_or_else(|| lacks("CreateTopics"))?;
            ClientError::from_code(&what, answer.error_code, answer.error_message.as_deref())?;
            Ok(answer.topic_id)
        })
        .await
    }

    /// More partitions: the new number, and the replicas of those that are new, if the caller
    /// chooses them.
    pub async fn create_partitions(
        &self,
        topic: &str,
        count: i32,
        assignment: Option<&[Vec<NodeId>]>,
    ) -> Result<(), ClientError> {
        let assignments = assignment.map(|assignment| {
            let each = assignment.iter();
            each.map(|replicas| CreatePartitionsAssignment {
                broker_ids: replicas.clone(),
            })
            .collect()
        });
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: Text::from(topic),
                count,
                assignments,
            }],
            timeout_ms: self.request_timeout_ms(),
            validate_only: false,
        };
        let what = format!("topic {topic} got no more partitions");
        let connection = self.controller().await?;
        let answer = connection.ask(&request, self.patience()).await?;
        let answer = answer
            .results
            .into_iter()
            .next()
            .ok_or_else(|| lacks("CreatePartitions"))?;
        ClientError::from_code(&what, answer.error_code, answer.error_message.as_deref())
    }

    pub async fn delete_topics(&self, names: &[Arc<str>]) -> Result<(), ClientError> {
        if names.is_empty() {
            return Ok(());
        }
        let connection = self.controller().await?;
        let version = connection
            .versions()
            .newest::<DeleteTopicsRequest>(i16::MAX)?;
        let mut request = DeleteTopicsRequest {
            timeout_ms: self.request_timeout_ms(),
            ..DeleteTopicsRequest::default()
        };
        let names = names.iter().map(|name| Text::from(&**name));
        if version <= LAST_WITH_BARE_NAMES {
            request.topic_names = names.collect();
        } else {
            let by_name = |name| DeleteTopicState {
                name: Some(name),
                ..DeleteTopicState::default()
            };
            request.topics = names.map(by_name).collect();
        }
        let answer = connection.ask(&request, self.patience()).await?;
        for topic in answer.responses {
            let what = format!("topic {} was not deleted", topic.name.unwrap_or_default());
            ClientError::from_code(&what, topic.error_code, topic.error_message.as_deref())?;
        }
        Ok(())
    }

    /// Describe these topics, in the order of their names.
    pub async fn describe_topics(
        &self,
        names: &[Arc<str>],
        per_answer: Option<i32>,
    ) -> Result<Vec<TopicDescription>, ClientError> {
        let connection = self.any(Lane::Calls).await?;
        if serves::<DescribeTopicPartitionsRequest>(&connection) {
            let limit = per_answer.unwrap_or(PARTITIONS_PER_ANSWER);
            return self.describe_in_pages(names, limit).await;
        }
        let view = self.refresh(Ask::Named(names)).await?;
        let described = names.iter().map(|name| {
            let topic = view.topics.get(name);
            let refusal = topic.map_or(Some(Refusal::UnknownTopicOrPartition), |t| t.refusal);
            match (topic, refusal) {
                (Some(topic), None) => Ok(from_view(name, topic)),
                (_, refusal) => {
                    let refusal = refusal.unwrap_or(Refusal::UnknownTopicOrPartition);
                    Err(not_described(name, refusal))
                }
            }
        });
        described.collect()
    }

    async fn describe_in_pages(
        &self,
        names: &[Arc<str>],
        response_partition_limit: i32,
    ) -> Result<Vec<TopicDescription>, ClientError> {
        let topics = names
            .iter()
            .map(|name| DescribeTopicPartitionsTopicRequest {
                name: Text::from(&**name),
            });
        let mut request = DescribeTopicPartitionsRequest {
            topics: topics.collect(),
            response_partition_limit,
            cursor: None,
        };
        let mut described: BTreeMap<Arc<str>, TopicDescription> = BTreeMap::new();
        loop {
            let connection = self.any(Lane::Calls).await?;
            let answer = connection.ask(&request, self.patience()).await?;
            for topic in answer.topics {
                let page = from_page(topic)?;
                match described.get_mut(&page.name) {
                    // It began on the page before.
                    Some(begun) => begun.partitions.extend(page.partitions),
                    None => {
                        described.insert(Arc::clone(&page.name), page);
                    }
                }
            }
            match answer.next_cursor {
                Some(next) if request.cursor.as_ref() != Some(&next) => {
                    // IMPORTANT: what lies before the cursor must not be asked for again.
                    request.topics.retain(|topic| topic.name >= next.topic_name);
                    request.cursor = Some(next);
                }
                _ => return Ok(described.into_values().collect()),
            }
        }
    }

    /// Partitions that are being moved. Brokers that cannot tell are taken to move none.
    pub async fn reassignments(
        &self,
    ) -> Result<BTreeMap<TopicPartition, Reassignment>, ClientError> {
        let request = ListPartitionReassignmentsRequest {
            timeout_ms: self.request_timeout_ms(),
            topics: None,
        };
        let connection = self.controller().await?;
        let answer = match connection.ask(&request, self.patience()).await {
            Err(ClientError::Unserved { .. }) => return Ok(BTreeMap::new()),
            answer => answer?,
        };
        let message = answer.error_message.as_deref();
        ClientError::from_code("reassignments were not listed", answer.error_code, message)?;
        let mut moving = BTreeMap::new();
        for topic in answer.topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            for partition in topic.partitions {
                let key = TopicPartition::new(Arc::clone(&name), partition.partition_index);
                let reassignment = Reassignment {
                    replicas: partition.replicas,
                    adding: partition.adding_replicas,
                    removing: partition.removing_replicas,
                };
                moving.insert(key, reassignment);
            }
        }
        Ok(moving)
    }

    pub(super) fn request_timeout_ms(&self) -> i32 {
        i32::try_from(self.patience().as_millis()).unwrap_or(i32::MAX)
    }
}

fn not_described(name: &str, refusal: Refusal) -> ClientError {
    ClientError::refused(format!("topic {name} cannot be described"), refusal)
}

fn from_page(topic: DescribeTopicPartitionsResponseTopic) -> Result<TopicDescription, ClientError> {
    let name: Arc<str> = Arc::from(&*topic.name.unwrap_or_default());
    if let Some(refusal) = Refusal::from_code(topic.error_code) {
        return Err(not_described(&name, refusal));
    }
    let partitions = topic.partitions.into_iter();
    let partitions = partitions.map(|partition| PartitionDescription {
        number: partition.partition_index,
        leader: some_node(partition.leader_id),
        replicas: partition.replica_nodes,
        in_sync: partition.isr_nodes,
        eligible: partition.eligible_leader_replicas,
        last_known_eligible: partition.last_known_elr,
    });
    Ok(TopicDescription {
        name,
        id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions: partitions.collect(),
    })
}

fn from_view(name: &Arc<str>, topic: &TopicView) -> TopicDescription {
    let partitions = topic.partitions.iter();
    let partitions = partitions.map(|(&number, partition)| PartitionDescription {
        number,
        leader: some_node(partition.leader),
        replicas: partition.replicas.clone(),
        in_sync: partition.in_sync.clone(),
        eligible: None,
        last_known_eligible: None,
    });
    TopicDescription {
        name: Arc::clone(name),
        id: topic.id,
        is_internal: topic.is_internal,
        partitions: partitions.collect(),
    }
}

fn some_node(id: NodeId) -> Option<NodeId> {
    (id >= 0).then_some(id)
}

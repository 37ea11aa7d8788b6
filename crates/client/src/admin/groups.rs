//! Groups: list, describe, delete, forget offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::{
    ConsumerGroupDescribeAssignment, ConsumerGroupDescribeRequest, DeleteGroupsRequest,
    DescribeGroupsRequest, ListGroupsRequest, OffsetDeleteRequest, OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
};
use ottla_protocol::{NodeId, Refusal, Text, TopicPartition};

use super::lacks;
use crate::cluster::{Ask, Cluster};
use crate::consume::read_assignment;
use crate::error::ClientError;
use crate::offsets::OffsetAnswers;
use crate::pool::Lane;

/// ListGroups filters by state from this version on, by type from the next.
const STATES_FROM: i16 = 4;
const TYPES_FROM: i16 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupListing {
    pub id: String,
    pub protocol_type: String,
    /// Empty where the broker does not tell.
    pub state: String,
    pub kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    pub id: String,
    pub state: String,
    pub protocol_type: String,
    /// The assignor, once one is chosen.
    pub protocol: String,
    pub coordinator: NodeId,
    /// Of a group of the consumer protocol.
    pub epochs: Option<GroupEpochs>,
    pub members: Vec<MemberDescription>,
}

/// How far a group of the consumer protocol is, and its target assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupEpochs {
    pub group: i32,
    pub target: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberDescription {
    pub id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub host: String,
    pub share: Share,
    /// Of a member of the consumer protocol: its epoch, and what it is to have.
    pub target: Option<(i32, BTreeSet<TopicPartition>)>,
    /// In a group of the consumer protocol: whether the member speaks that, too, or still the
    /// classic one.
    pub is_upgraded: Option<bool>,
}

/// What a member has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// In the words of the group's own protocol, which need not be that of consumers.
    Embedded(Bytes),
    Partitions(BTreeSet<TopicPartition>),
}

impl Share {
    pub fn partitions(&self) -> Result<BTreeSet<TopicPartition>, ClientError> {
        match self {
            Self::Embedded(bytes) => read_assignment(bytes.clone()),
            Self::Partitions(partitions) => Ok(partitions.clone()),
        }
    }
}

impl Cluster {
    /// All groups of all nodes.
    pub async fn list_groups(
        &self,
        states: &[String],
        kinds: &[String],
    ) -> Result<Vec<GroupListing>, ClientError> {
        self.refresh(Ask::Named(&[])).await?;
        let nodes: Vec<NodeId> = self.view().nodes.keys().copied().collect();
        let mut groups = BTreeMap::new();
        for node in nodes {
            let listed = self
                .retry("listing groups", async || {
                    self.list_at_node(node, states, kinds).await
                })
                .await?;
            groups.extend(listed.into_iter().map(|group| (group.id.clone(), group)));
        }
        Ok(groups.into_values().collect())
    }

    async fn list_at_node(
        &self,
        node: NodeId,
        states: &[String],
        kinds: &[String],
    ) -> Result<Vec<GroupListing>, ClientError> {
        let connection = self.node(node, Lane::Calls).await?;
        let version = connection
            .versions()
            .newest::<ListGroupsRequest>(i16::MAX)?;
        let needed = match (states.is_empty(), kinds.is_empty()) {
            (_, false) => TYPES_FROM,
            (false, true) => STATES_FROM,
            (true, true) => 0,
        };
        if version < needed {
            let why = format!("version {needed} is needed to choose, {version} is served");
            return Err(ClientError::Unserved {
                api: "ListGroups",
                why,
            });
        }
        let texts = |words: &[String]| words.iter().map(|word| Text::from(word.as_str())).collect();
        let request = ListGroupsRequest {
            states_filter: texts(states),
            types_filter: texts(kinds),
        };
        let answer = connection.ask(&request, self.patience()).await?;
        ClientError::from_code("groups were not listed", answer.error_code, None)?;
        let groups = answer.groups.into_iter();
        let groups = groups.map(|group| GroupListing {
            id: group.group_id.to_string(),
            protocol_type: group.protocol_type.to_string(),
            state: group.group_state.to_string(),
            kind: group.group_type.to_string(),
        });
        Ok(groups.collect())
    }

    /// A group of consumers, by whichever protocol. One that nobody knows is refused with
    /// GROUP_ID_NOT_FOUND by new brokers, and is `Dead` to old ones.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        self.retry("describing a group", async || {
            let described = match self.describe_consumers_once(group).await {
                Err(why) if is_other(&why) => self.describe_classic_once(group).await,
                described => described,
            };
            self.heed(group, described)
        })
        .await
    }

    async fn describe_consumers_once(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let connection = self.coordinator(group, Lane::Calls).await?;
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![Text::from(group)],
            include_authorized_operations: false,
        };
        let answer = connection.ask(&request, self.patience()).await?;
        let described = answer.groups.into_iter().next();
        let described = described.ok_or_else(|| lacks("ConsumerGroupDescribe"))?;
        let what = format!("group {group} cannot be described");
        let message = described.error_message.as_deref();
        ClientError::from_code(&what, described.error_code, message)?;
        let members = described.members.into_iter();
        let members = members.map(|member| MemberDescription {
            id: member.member_id.to_string(),
            instance: member.instance_id.map(|instance| instance.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            share: Share::Partitions(partitions(&member.assignment)),
            target: Some((member.member_epoch, partitions(&member.target_assignment))),
            is_upgraded: match member.member_type {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            },
        });
        Ok(GroupDescription {
            id: group.to_owned(),
            state: described.group_state.to_string(),
            protocol_type: "consumer".to_owned(),
            protocol: described.assignor_name.to_string(),
            coordinator: self.coordinator_of(group).unwrap_or(-1),
            epochs: Some(GroupEpochs {
                group: described.group_epoch,
                target: described.assignment_epoch,
            }),
            members: members.collect(),
        })
    }

    async fn describe_classic_once(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let connection = self.coordinator(group, Lane::Calls).await?;
        let request = DescribeGroupsRequest {
            groups: vec![Text::from(group)],
            include_authorized_operations: false,
        };
        let answer = connection.ask(&request, self.patience()).await?;
        let what = format!("group {group} cannot be described");
        let not_found = || ClientError::refused(what.clone(), Refusal::GroupIdNotFound);
        let described = answer.groups.into_iter().next().ok_or_else(not_found)?;
        let message = described.error_message.as_deref();
        ClientError::from_code(&what, described.error_code, message)?;
        let members = described.members.into_iter();
        let members = members.map(|member| MemberDescription {
            id: member.member_id.to_string(),
            instance: member
                .group_instance_id
                .map(|instance| instance.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            share: Share::Embedded(member.member_assignment),
            target: None,
            is_upgraded: None,
        });
        Ok(GroupDescription {
            id: group.to_owned(),
            state: described.group_state.to_string(),
            protocol_type: described.protocol_type.to_string(),
            protocol: described.protocol_data.to_string(),
            coordinator: self.coordinator_of(group).unwrap_or(-1),
            epochs: None,
            members: members.collect(),
        })
    }

    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        self.retry("deleting a group", async || {
            let deleted = self.delete_once(group).await;
            self.heed(group, deleted)
        })
        .await
    }

    async fn delete_once(&self, group: &str) -> Result<(), ClientError> {
        let connection = self.coordinator(group, Lane::Calls).await?;
        let request = DeleteGroupsRequest {
            groups_names: vec![Text::from(group)],
        };
        let answer = connection.ask(&request, self.patience()).await?;
        let answer = answer
            .results
            .first()
            .ok_or_else(|| lacks("DeleteGroups"))?;
        let what = format!("group {group} was not deleted");
        ClientError::from_code(&what, answer.error_code, None)
    }

    /// Forget what a group committed of these partitions.
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<OffsetAnswers<()>, ClientError> {
        self.retry("deleting offsets", async || {
            let deleted = self.delete_offsets_once(group, partitions).await;
            self.heed(group, deleted)
        })
        .await
    }

    async fn delete_offsets_once(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<OffsetAnswers<()>, ClientError> {
        let connection = self.coordinator(group, Lane::Calls).await?;
        let mut topics: BTreeMap<&Arc<str>, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for partition in partitions {
            topics
                .entry(&partition.topic)
                .or_default()
                .push(OffsetDeleteRequestPartition {
                    partition_index: partition.partition,
                });
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| OffsetDeleteRequestTopic {
                name: Text::from(&**name),
                partitions,
            });
        let request = OffsetDeleteRequest {
            group_id: Text::from(group),
            topics: topics.collect(),
        };
        let answer = connection.ask(&request, self.patience()).await?;
        let what = format!("offsets of group {group} were not deleted");
        ClientError::from_code(&what, answer.error_code, None)?;
        let mut answers = OffsetAnswers::new();
        for topic in answer.topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            for partition in topic.partitions {
                let key = TopicPartition::new(Arc::clone(&name), partition.partition_index);
                let what = format!("the offset of {key} was not deleted");
                let answer = ClientError::from_code(&what, partition.error_code, None);
                answers.insert(key, answer);
            }
        }
        Ok(answers)
    }
}

/// Whether the group may be there and speak the classic protocol.
fn is_other(why: &ClientError) -> bool {
    let refusals = [Refusal::GroupIdNotFound, Refusal::UnsupportedVersion];
    matches!(why, ClientError::Unserved { .. })
        || why
            .refusal()
            .is_some_and(|refusal| refusals.contains(&refusal))
}

fn partitions(assignment: &ConsumerGroupDescribeAssignment) -> BTreeSet<TopicPartition> {
    let topics = assignment.topic_partitions.iter();
    topics
        .flat_map(|topic| {
            let name: Arc<str> = Arc::from(&*topic.topic_name);
            let numbers = topic.partitions.iter();
            numbers.map(move |number| TopicPartition::new(Arc::clone(&name), *number))
        })
        .collect()
}

//! Groups: list, describe, delete; their offsets: read, set, delete.

use std::collections::BTreeMap;

use ottla_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, DescribedGroup, ListGroupsRequest, ListedGroup,
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse,
};
use ottla_protocol::{LeaderEpoch, NodeId, Offset, Refusal, Text, TopicPartition};

use crate::cluster::Cluster;
use crate::fault::Fault;

/// The last versions of OffsetCommit and OffsetFetch that name topics.
const NAMES_UP_TO: i16 = 9;
/// OffsetFetch names groups in a list from here on.
const SEVERAL_GROUPS_FROM: i16 = 8;
/// ListGroups filters by state, and by type, from here on.
const STATES_FROM: i16 = 4;
const TYPES_FROM: i16 = 5;

/// A group as one broker lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedAt {
    pub broker: NodeId,
    pub group: ListedGroup,
}

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    pub offset: Offset,
    /// -1 unknown.
    pub leader_epoch: LeaderEpoch,
    pub metadata: String,
}

/// ListGroups of every broker. Filters that a broker does not know are left out.
pub async fn list_groups(
    cluster: &Cluster,
    states: &[String],
    types: &[String],
) -> Result<Vec<ListedAt>, Fault> {
    let texts = |all: &[String]| all.iter().map(|one| Text::from(one.as_str())).collect();
    let mut listed = Vec::new();
    for broker in cluster.view().brokers.keys() {
        let answer = cluster
            .until_it_passes(|| async {
                let connection = cluster.node(*broker).await?;
                let version = connection.version_of::<ListGroupsRequest>()?;
                let request = ListGroupsRequest {
                    states_filter: if version >= STATES_FROM {
                        texts(states)
                    } else {
                        Vec::new()
                    },
                    types_filter: if version >= TYPES_FROM {
                        texts(types)
                    } else {
                        Vec::new()
                    },
                };
                let answer = connection.ask_at(&request, version).await?;
                Fault::check(answer.error_code, None)?;
                Ok(answer)
            })
            .await?;
        listed.extend(answer.groups.into_iter().map(|group| ListedAt {
            broker: *broker,
            group,
        }));
    }
    Ok(listed)
}

/// DescribeGroups: one group, from its coordinator, whose id comes with it.
pub async fn describe_groups(
    cluster: &Cluster,
    group: &str,
) -> Result<(DescribedGroup, NodeId), Fault> {
    let request = DescribeGroupsRequest {
        groups: vec![Text::from(group)],
        ..DescribeGroupsRequest::default()
    };
    let code = |answer: &ottla_protocol::messages::DescribeGroupsResponse| {
        answer.groups.first().map_or(0, |group| group.error_code)
    };
    let answer = cluster.ask_coordinator(group, &request, code).await?;
    let coordinator = cluster
        .until_it_passes(|| cluster.coordinator_id(group))
        .await?;
    let described = answer.groups.into_iter().next();
    let described = described.ok_or(Fault::from(Refusal::UnknownServerError))?;
    Fault::check(described.error_code, described.error_message.as_deref())?;
    Ok((described, coordinator))
}

/// DeleteGroups: one group.
pub async fn delete_groups(cluster: &Cluster, group: &str) -> Result<(), Fault> {
    let request = DeleteGroupsRequest {
        groups_names: vec![Text::from(group)],
    };
    let code = |answer: &ottla_protocol::messages::DeleteGroupsResponse| {
        answer.results.first().map_or(0, |result| result.error_code)
    };
    let answer = cluster.ask_coordinator(group, &request, code).await?;
    Fault::check(code(&answer), None)
}

/// OffsetFetch: everything a group has committed.
pub async fn committed_offsets(
    cluster: &Cluster,
    group: &str,
) -> Result<BTreeMap<TopicPartition, GroupOffset>, Fault> {
    let answer = cluster
        .until_it_passes(|| async {
            let connection = cluster.coordinator(group).await?;
            let version = connection.version_up_to::<OffsetFetchRequest>(NAMES_UP_TO)?;
            let answer = connection.ask_at(&all_of(group, version), version).await?;
            Fault::check(group_error(&answer), None)?;
            Ok(answer)
        })
        .await?;
    offsets_in(answer)
}

fn all_of(group: &str, version: i16) -> OffsetFetchRequest {
    if version >= SEVERAL_GROUPS_FROM {
        let group = OffsetFetchRequestGroup {
            group_id: Text::from(group),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        };
        OffsetFetchRequest {
            groups: vec![group],
            require_stable: true,
            ..Default::default()
        }
    } else {
        OffsetFetchRequest {
            group_id: Text::from(group),
            topics: None,
            ..Default::default()
        }
    }
}

fn group_error(answer: &OffsetFetchResponse) -> i16 {
    answer
        .groups
        .first()
        .map_or(answer.error_code, |group| group.error_code)
}

fn offsets_in(answer: OffsetFetchResponse) -> Result<BTreeMap<TopicPartition, GroupOffset>, Fault> {
    let mut found = BTreeMap::new();
    let mut add = |topic: &str, partition: i32, code: i16, offset: GroupOffset| {
        Fault::check(code, None)?;
        if offset.offset >= 0 {
            found.insert(TopicPartition::new(topic, partition), offset);
        }
        Ok::<(), Fault>(())
    };
    let offset = |offset: i64, leader_epoch: i32, metadata: &Option<Text>| GroupOffset {
        offset,
        leader_epoch,
        metadata: metadata.as_deref().unwrap_or_default().to_owned(),
    };
    for topic in answer.groups.iter().flat_map(|group| &group.topics) {
        for p in &topic.partitions {
            let known = offset(p.committed_offset, p.committed_leader_epoch, &p.metadata);
            add(&topic.name, p.partition_index, p.error_code, known)?;
        }
    }
    for topic in &answer.topics {
        for p in &topic.partitions {
            let known = offset(p.committed_offset, p.committed_leader_epoch, &p.metadata);
            add(&topic.name, p.partition_index, p.error_code, known)?;
        }
    }
    Ok(found)
}

/// Whose commit it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Committer<'a> {
    pub(crate) generation: i32,
    pub(crate) member: &'a str,
    pub(crate) instance: Option<&'a str>,
}

/// OffsetCommit from outside of the group, which must be empty.
pub async fn commit_offsets(
    cluster: &Cluster,
    group: &str,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<(), Fault> {
    let nobody = Committer {
        generation: -1,
        member: "",
        instance: None,
    };
    commit_as(cluster, group, nobody, offsets).await
}

pub(crate) async fn commit_as(
    cluster: &Cluster,
    group: &str,
    who: Committer<'_>,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<(), Fault> {
    let mut topics: BTreeMap<&str, OffsetCommitRequestTopic> = BTreeMap::new();
    for (at, offset) in offsets {
        let topic = topics.entry(&at.topic).or_default();
        topic.name = Text::from(&*at.topic);
        topic.partitions.push(OffsetCommitRequestPartition {
            partition_index: at.partition,
            committed_offset: *offset,
            ..OffsetCommitRequestPartition::default()
        });
    }
    let request = OffsetCommitRequest {
        group_id: Text::from(group),
        generation_id_or_member_epoch: who.generation,
        member_id: Text::from(who.member),
        group_instance_id: who.instance.map(Text::from),
        topics: topics.into_values().collect(),
        ..OffsetCommitRequest::default()
    };
    cluster
        .until_it_passes(|| async {
            let connection = cluster.coordinator(group).await?;
            let version = connection.version_up_to::<OffsetCommitRequest>(NAMES_UP_TO)?;
            let answer = connection.ask_at(&request, version).await?;
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            partitions
                .map(|partition| Fault::check(partition.error_code, None))
                .collect()
        })
        .await
}

/// OffsetDelete: by partition, or why not at all.
pub async fn delete_offsets(
    cluster: &Cluster,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, Result<(), Fault>>, Fault> {
    let mut topics: BTreeMap<&str, OffsetDeleteRequestTopic> = BTreeMap::new();
    for at in partitions {
        let topic = topics.entry(&at.topic).or_default();
        topic.name = Text::from(&*at.topic);
        let partition_index = at.partition;
        topic
            .partitions
            .push(OffsetDeleteRequestPartition { partition_index });
    }
    let request = OffsetDeleteRequest {
        group_id: Text::from(group),
        topics: topics.into_values().collect(),
    };
    let answer = cluster
        .ask_coordinator(group, &request, |answer| answer.error_code)
        .await?;
    Fault::check(answer.error_code, None)?;
    let mut outcome = BTreeMap::new();
    for topic in answer.topics {
        for partition in topic.partitions {
            let at = TopicPartition::new(&*topic.name, partition.partition_index);
            outcome.insert(at, Fault::check(partition.error_code, None));
        }
    }
    Ok(outcome)
}

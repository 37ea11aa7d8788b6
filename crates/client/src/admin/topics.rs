//! Topics: create, describe, grow, delete.

use std::collections::BTreeMap;

use ottla_protocol::messages::{
    CreatableTopic, CreatePartitionsRequest, CreatePartitionsTopic, CreateTopicsRequest,
    DeleteTopicState, DeleteTopicsRequest, DescribeConfigsRequest, DescribeConfigsResource,
    DescribeConfigsResourceResult, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsTopicRequest,
};
use ottla_protocol::{NodeId, Refusal, Text, Uuid};

use crate::cluster::{Cluster, Which};
use crate::fault::Fault;

/// DescribeConfigs: the type of a topic.
const TOPIC: i8 = 2;

/// A topic with its partitions, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    pub name: String,
    pub id: Uuid,
    pub partitions: Vec<PartitionDescription>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    pub partition: i32,
    /// `None`: nobody leads.
    pub leader: Option<NodeId>,
    pub replicas: Vec<NodeId>,
    pub in_sync: Vec<NodeId>,
    /// `None`: the broker does not say.
    pub eligible: Option<Vec<NodeId>>,
    pub last_known_eligible: Option<Vec<NodeId>>,
}

/// CreateTopics for one topic.
pub async fn create_topic(cluster: &Cluster, topic: CreatableTopic) -> Result<(), Fault> {
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: timeout_ms(cluster),
        ..CreateTopicsRequest::default()
    };
    let answer = cluster.ask(&request).await?;
    let created = answer
        .topics
        .first()
        .ok_or(Fault::from(Refusal::UnknownServerError))?;
    Fault::check(created.error_code, created.error_message.as_deref())
}

/// DeleteTopics for one topic.
pub async fn delete_topic(cluster: &Cluster, name: &str) -> Result<(), Fault> {
    let connection = cluster.any().await?;
    let version = connection.version_of::<DeleteTopicsRequest>()?;
    let state = DeleteTopicState {
        name: Some(Text::from(name)),
        topic_id: Uuid::ZERO,
    };
    let mut request = DeleteTopicsRequest {
        timeout_ms: timeout_ms(cluster),
        ..DeleteTopicsRequest::default()
    };
    if version >= 6 {
        request.topics = vec![state];
    } else {
        request.topic_names = vec![Text::from(name)];
    }
    let answer = connection.ask_at(&request, version).await?;
    let deleted = answer
        .responses
        .first()
        .ok_or(Fault::from(Refusal::UnknownServerError))?;
    Fault::check(deleted.error_code, deleted.error_message.as_deref())
}

/// CreatePartitions for one topic: it then has `count`.
pub async fn create_partitions(
    cluster: &Cluster,
    topic: CreatePartitionsTopic,
) -> Result<(), Fault> {
    let request = CreatePartitionsRequest {
        topics: vec![topic],
        timeout_ms: timeout_ms(cluster),
        validate_only: false,
    };
    let answer = cluster.ask(&request).await?;
    let grown = answer
        .results
        .first()
        .ok_or(Fault::from(Refusal::UnknownServerError))?;
    Fault::check(grown.error_code, grown.error_message.as_deref())
}

/// DescribeConfigs for topics.
pub async fn describe_configs(
    cluster: &Cluster,
    topics: &[String],
) -> Result<BTreeMap<String, Vec<DescribeConfigsResourceResult>>, Fault> {
    let resource = |name: &String| DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: Text::from(name.as_str()),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: topics.iter().map(resource).collect(),
        ..DescribeConfigsRequest::default()
    };
    let answer = cluster.ask(&request).await?;
    let mut found = BTreeMap::new();
    for result in answer.results {
        Fault::check(result.error_code, result.error_message.as_deref())?;
        found.insert(result.resource_name.to_string(), result.configs);
    }
    Ok(found)
}

/// Topics with their partitions; those that do not exist are refused one by one. `limit` bounds the
/// partitions of one answer.
pub async fn describe_topics(
    cluster: &Cluster,
    names: &[String],
    limit: i32,
) -> Result<BTreeMap<String, Result<TopicDescription, Fault>>, Fault> {
    let connection = cluster.any().await?;
    if connection
        .version_of::<DescribeTopicPartitionsRequest>()
        .is_err()
    {
        return describe_by_metadata(cluster, names).await;
    }
    let mut found: BTreeMap<String, Result<TopicDescription, Fault>> = BTreeMap::new();
    let topic = |name: &String| DescribeTopicPartitionsTopicRequest {
        name: Text::from(name.as_str()),
    };
    let mut request = DescribeTopicPartitionsRequest {
        topics: names.iter().map(topic).collect(),
        response_partition_limit: limit,
        cursor: None,
    };
    loop {
        let answer = cluster.ask(&request).await?;
        for topic in answer.topics {
            let name = topic.name.as_deref().unwrap_or_default().to_owned();
            if let Err(fault) = Fault::check(topic.error_code, None) {
                found.insert(name, Err(fault));
                continue;
            }
            let partitions = topic
                .partitions
                .into_iter()
                .map(|partition| PartitionDescription {
                    partition: partition.partition_index,
                    leader: (partition.leader_id >= 0).then_some(partition.leader_id),
                    replicas: partition.replica_nodes,
                    in_sync: partition.isr_nodes,
                    eligible: partition.eligible_leader_replicas,
                    last_known_eligible: partition.last_known_elr,
                });
            // A topic that did not fit into one answer goes on in the next.
            let known = found.entry(name.clone()).or_insert_with(|| {
                Ok(TopicDescription {
                    name,
                    id: topic.topic_id,
                    partitions: Vec::new(),
                })
            });
            if let Ok(known) = known {
                known.partitions.extend(partitions);
            }
        }
        match answer.next_cursor {
            Some(cursor) => request.cursor = Some(cursor),
            None => return Ok(found),
        }
    }
}

async fn describe_by_metadata(
    cluster: &Cluster,
    names: &[String],
) -> Result<BTreeMap<String, Result<TopicDescription, Fault>>, Fault> {
    let view = cluster.refresh(Which::Named(names)).await?;
    let describe = |name: &String| {
        let topic = view.topics.get(name).ok_or_else(|| {
            let refusal = view.refused.get(name).copied();
            Fault::from(refusal.unwrap_or(Refusal::UnknownTopicOrPartition))
        })?;
        let partitions = topic
            .partitions
            .iter()
            .map(|(index, partition)| PartitionDescription {
                partition: *index,
                leader: (partition.leader >= 0).then_some(partition.leader),
                replicas: partition.replicas.clone(),
                in_sync: partition.in_sync.clone(),
                eligible: None,
                last_known_eligible: None,
            });
        Ok(TopicDescription {
            name: name.clone(),
            id: topic.id,
            partitions: partitions.collect(),
        })
    };
    Ok(names
        .iter()
        .map(|name| (name.clone(), describe(name)))
        .collect())
}

fn timeout_ms(cluster: &Cluster) -> i32 {
    i32::try_from(cluster.request_timeout().as_millis()).unwrap_or(i32::MAX)
}

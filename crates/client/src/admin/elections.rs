//! Leaders and replicas: elections, and moving partitions between brokers.

use std::collections::BTreeMap;

use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, ElectLeadersRequest, ElectLeadersTopicPartitions,
    ReassignablePartition, ReassignableTopic,
};
use ottla_protocol::{NodeId, Text, TopicPartition};

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::offsets::OffsetAnswers;

/// By Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    Preferred = 0,
    Unclean = 1,
}

impl Cluster {
    /// Elect leaders of these partitions, or of all; of all, only those are answered for which
    /// something happened.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<OffsetAnswers<()>, ClientError> {
        let topic_partitions = partitions.map(|partitions| {
            let topics = super::by_topic(partitions).into_iter();
            let topic =
                topics.map(|(topic, partitions)| ElectLeadersTopicPartitions { topic, partitions });
            topic.collect()
        });
        let request = ElectLeadersRequest {
            election_type: election as i8,
            topic_partitions,
            timeout_ms: self.request_timeout_ms(),
        };
        let answer = self.ask_controller(&request).await?;
        ClientError::from_code("no leader was elected", answer.error_code, None)?;
        let mut answers = OffsetAnswers::new();
        for topic in answer.replica_election_results {
            for partition in topic.partition_result {
                let key = TopicPartition::new(&*topic.topic, partition.partition_id);
                let what = format!("no leader was elected for {key}");
                let message = partition.error_message.as_deref();
                let answer = ClientError::from_code(&what, partition.error_code, message);
                answers.insert(key, answer);
            }
        }
        Ok(answers)
    }

    /// Move partitions to these replicas; with none, stop moving.
    pub async fn reassign(
        &self,
        targets: &BTreeMap<TopicPartition, Option<Vec<NodeId>>>,
        allow_factor_change: bool,
    ) -> Result<OffsetAnswers<()>, ClientError> {
        let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
        for (partition, replicas) in targets {
            let topic = topics.entry(&partition.topic).or_default();
            topic.push(ReassignablePartition {
                partition_index: partition.partition,
                replicas: replicas.clone(),
            });
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| ReassignableTopic {
                name: Text::from(name),
                partitions,
            });
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.request_timeout_ms(),
            allow_replication_factor_change: allow_factor_change,
            topics: topics.collect(),
        };
        let answer = self.ask_controller(&request).await?;
        let message = answer.error_message.as_deref();
        ClientError::from_code("nothing was reassigned", answer.error_code, message)?;
        let mut answers = OffsetAnswers::new();
        for topic in answer.responses {
            for partition in topic.partitions {
                let key = TopicPartition::new(&*topic.name, partition.partition_index);
                let what = format!("{key} was not reassigned");
                let message = partition.error_message.as_deref();
                let answer = ClientError::from_code(&what, partition.error_code, message);
                answers.insert(key, answer);
            }
        }
        Ok(answers)
    }
}

//! Log directories: what lies where, and moving replicas between those of one broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest, DescribeLogDirsRequest,
};
use ottla_protocol::{NodeId, Refusal, Text, TopicPartition};

use crate::cluster::Cluster;
use crate::error::ClientError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirectory {
    pub path: String,
    /// Why nothing is known of it.
    pub refusal: Option<Refusal>,
    pub replicas: Vec<LogDirReplica>,
    /// Of the volume, in bytes; `None` where the broker does not tell.
    pub total: Option<i64>,
    pub usable: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDirReplica {
    pub partition: TopicPartition,
    pub size: i64,
    pub lag: i64,
    /// It will replace the one that is served, once it has caught up.
    pub is_future: bool,
}

impl Cluster {
    pub async fn log_directories(&self, node: NodeId) -> Result<Vec<LogDirectory>, ClientError> {
        let request = DescribeLogDirsRequest { topics: None };
        let answer = self.ask_node(node, &request).await?;
        let what = format!("the log directories of broker {node} were not described");
        ClientError::from_code(&what, answer.error_code, None)?;
        let known = |bytes: i64| (bytes >= 0).then_some(bytes);
        let directories = answer.results.into_iter().map(|directory| {
            let mut replicas = Vec::new();
            for topic in directory.topics {
                let name: Arc<str> = Arc::from(&*topic.name);
                replicas.extend(topic.partitions.into_iter().map(|partition| LogDirReplica {
                    partition: TopicPartition::new(Arc::clone(&name), partition.partition_index),
                    size: partition.partition_size,
                    lag: partition.offset_lag,
                    is_future: partition.is_future_key,
                }));
            }
            LogDirectory {
                path: directory.log_dir.to_string(),
                refusal: Refusal::from_code(directory.error_code),
                replicas,
                total: known(directory.total_bytes),
                usable: known(directory.usable_bytes),
            }
        });
        Ok(directories.collect())
    }

    /// Move replicas of one broker to these directories.
    pub async fn move_replicas(
        &self,
        node: NodeId,
        targets: &BTreeMap<TopicPartition, String>,
    ) -> Result<BTreeMap<TopicPartition, Result<(), ClientError>>, ClientError> {
        let mut dirs: BTreeMap<&str, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
        for (partition, path) in targets {
            let topics = dirs.entry(path).or_default();
            let numbers = topics.entry(&partition.topic).or_default();
            numbers.push(partition.partition);
        }
        let dirs = dirs.into_iter().map(|(path, topics)| AlterReplicaLogDir {
            path: Text::from(path),
            topics: topics
                .into_iter()
                .map(|(name, partitions)| AlterReplicaLogDirTopic {
                    name: Text::from(name),
                    partitions,
                })
                .collect(),
        });
        let request = AlterReplicaLogDirsRequest {
            dirs: dirs.collect(),
        };
        let answer = self.ask_node(node, &request).await?;
        let mut results = BTreeMap::new();
        for topic in answer.results {
            for partition in topic.partitions {
                let key = TopicPartition::new(&*topic.topic_name, partition.partition_index);
                let what = format!("{key} is not moved on broker {node}");
                let result = ClientError::from_code(&what, partition.error_code, None);
                results.insert(key, result);
            }
        }
        Ok(results)
    }
}

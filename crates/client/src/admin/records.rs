//! Records: forgetting those before an offset.

use std::collections::BTreeMap;

use ottla_protocol::messages::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use ottla_protocol::{NodeId, Offset, Refusal, Text, TopicPartition};

use crate::cluster::{Ask, Cluster};
use crate::error::ClientError;
use crate::offsets::OffsetAnswers;

impl Cluster {
    /// The new start of each partition; -1 as an offset means its high watermark.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<OffsetAnswers<Offset>, ClientError> {
        let mut answers = OffsetAnswers::new();
        for (node, partitions) in self.by_leader(before.keys(), &mut answers).await? {
            let mut topics: BTreeMap<&str, Vec<DeleteRecordsPartition>> = BTreeMap::new();
            for partition in &partitions {
                let Some(&offset) = before.get(partition) else {
                    continue;
                };
                let topic = topics.entry(&partition.topic).or_default();
                topic.push(DeleteRecordsPartition {
                    partition_index: partition.partition,
                    offset,
                });
            }
            let topics = topics
                .into_iter()
                .map(|(name, partitions)| DeleteRecordsTopic {
                    name: Text::from(name),
                    partitions,
                });
            let request = DeleteRecordsRequest {
                topics: topics.collect(),
                timeout_ms: self.request_timeout_ms(),
            };
            let answer = self.ask_node(node, &request).await?;
            for topic in answer.topics {
                for partition in topic.partitions {
                    let key = TopicPartition::new(&*topic.name, partition.partition_index);
                    let what = format!("records of {key} were not deleted");
                    let result = ClientError::from_code(&what, partition.error_code, None);
                    answers.insert(key, result.map(|()| partition.low_watermark));
                }
            }
        }
        Ok(answers)
    }

    /// Partitions by their leaders; those without one are answered at once.
    pub(super) async fn by_leader<T>(
        &self,
        partitions: impl Iterator<Item = &TopicPartition> + Clone,
        answers: &mut OffsetAnswers<T>,
    ) -> Result<BTreeMap<NodeId, Vec<TopicPartition>>, ClientError> {
        let mut topics: Vec<_> = partitions.clone().map(|p| p.topic.clone()).collect();
        topics.sort_unstable();
        topics.dedup();
        let view = self.refresh(Ask::Named(&topics)).await?;
        let mut led: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            let topic = view.topics.get(&partition.topic);
            let known = topic.and_then(|topic| topic.partitions.get(&partition.partition));
            let refusal = match (known, view.leader(partition)) {
                (_, Some(leader)) => {
                    led.entry(leader.id).or_default().push(partition.clone());
                    continue;
                }
                (Some(_), None) => Refusal::LeaderNotAvailable,
                (None, None) => topic
                    .and_then(|topic| topic.refusal)
                    .unwrap_or(Refusal::UnknownTopicOrPartition),
            };
            let what = format!("{partition} cannot be asked");
            answers.insert(partition.clone(), Err(ClientError::refused(what, refusal)));
        }
        Ok(led)
    }
}

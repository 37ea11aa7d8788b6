//! DescribeTopicPartitions (key 75, version 0): partitions of topics, page by page, with those who
//! may lead although they are not in sync (KIP-966).
//! A page ends at `max.request.partition.size.limit` partitions, or earlier if the client says so;
//! the cursor names the partition that comes next.

use std::collections::BTreeSet;

use ottla_metadata::image::{Partition, Topic};
use ottla_node::{Services, is_internal_topic};
use ottla_protocol::messages::{
    DescribeTopicPartitionsCursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
    DescribeTopicPartitionsTopicRequest,
};
use ottla_protocol::{Refusal, Text, Uuid};

use super::picture::{NOBODY, Picture, missing};
use crate::api::count_errors;
use crate::authorized;
use crate::endpoints::Endpoints;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let endpoints = Endpoints::new(services, call);
    let image = services.image();
    let picture = Picture {
        image: &image,
        listener: endpoints.listener(),
    };
    let limit = services.configured().settings.logs.max_request_partitions;
    let response = match Page::new(&request, limit) {
        Ok(page) => page.fill(&picture),
        Err(refusal) => refused(request.topics, refusal),
    };
    count_errors(
        services,
        call,
        response.topics.iter().map(|topic| topic.error_code),
    );
    response
}

/// What one answer may hold.
struct Page {
    /// `None`: all topics there are.
    names: Option<BTreeSet<Text>>,
    from: DescribeTopicPartitionsCursor,
    partitions_max: usize,
}

impl Page {
    fn new(request: &DescribeTopicPartitionsRequest, limit: i32) -> Result<Self, Refusal> {
        let from = request.cursor.clone().unwrap_or_default();
        let wants_all = request.topics.is_empty();
        let names = request.topics.iter().map(|topic| topic.name.clone());
        let names: BTreeSet<Text> = names.filter(|name| *name >= from.topic_name).collect();
        if request.cursor.is_some() {
            let is_lost = !wants_all && !names.contains(&from.topic_name);
            if is_lost || from.partition_index < 0 {
                return Err(Refusal::InvalidRequest);
            }
        }
        let partitions_max = request.response_partition_limit.min(limit).max(1);
        Ok(Self {
            names: (!wants_all).then_some(names),
            from,
            partitions_max: usize::try_from(partitions_max).unwrap_or(1),
        })
    }

    fn fill(&self, picture: &Picture<'_>) -> DescribeTopicPartitionsResponse {
        let mut response = DescribeTopicPartitionsResponse::default();
        let mut left = self.partitions_max;
        match &self.names {
            None => {
                for topic in picture.image.topics.from_name(&self.from.topic_name) {
                    if !self.add(picture, &topic.name, Some(topic), &mut left, &mut response) {
                        break;
                    }
                }
            }
            Some(names) => {
                for name in names {
                    let topic = picture.image.topics.find(name).map(|topic| &**topic);
                    if !self.add(picture, name, topic, &mut left, &mut response) {
                        break;
                    }
                }
            }
        }
        response
    }

    /// Adds one topic; false when the page is full and its cursor set.
    fn add(
        &self,
        picture: &Picture<'_>,
        name: &str,
        topic: Option<&Topic>,
        left: &mut usize,
        response: &mut DescribeTopicPartitionsResponse,
    ) -> bool {
        let cursor = |partition_index| {
            Some(DescribeTopicPartitionsCursor {
                topic_name: name.into(),
                partition_index,
            })
        };
        if *left == 0 {
            response.next_cursor = cursor(0);
            return false;
        }
        let Some(topic) = topic else {
            response
                .topics
                .push(described(name, Uuid::ZERO, Some(missing(name)), Vec::new()));
            return true;
        };
        let start = if *name == *self.from.topic_name {
            self.from.partition_index
        } else {
            0
        };
        let mut from_start = topic.partitions.range(start..);
        let partitions: Vec<_> = from_start
            .by_ref()
            .take(*left)
            .map(|(index, partition)| described_partition(picture, *index, partition))
            .collect();
        *left -= partitions.len();
        response
            .topics
            .push(described(name, topic.id, None, partitions));
        match from_start.next() {
            Some((next, _)) => {
                response.next_cursor = cursor(*next);
                false
            }
            None => true,
        }
    }
}

fn refused(
    topics: Vec<DescribeTopicPartitionsTopicRequest>,
    refusal: Refusal,
) -> DescribeTopicPartitionsResponse {
    let topics = topics
        .into_iter()
        .map(|topic| DescribeTopicPartitionsResponseTopic {
            error_code: refusal.code(),
            name: Some(topic.name),
            ..Default::default()
        });
    DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..Default::default()
    }
}

fn described(
    name: &str,
    topic_id: Uuid,
    refusal: Option<Refusal>,
    partitions: Vec<DescribeTopicPartitionsResponsePartition>,
) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: refusal.map_or(0, Refusal::code),
        name: Some(name.into()),
        topic_id,
        is_internal: is_internal_topic(name),
        partitions,
        topic_authorized_operations: authorized::ON_TOPIC,
    }
}

fn described_partition(
    picture: &Picture<'_>,
    index: i32,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition {
        partition_index: index,
        leader_id: picture.leader(partition).unwrap_or(NOBODY),
        leader_epoch: partition.leader_epoch,
        replica_nodes: partition.replicas.clone(),
        isr_nodes: partition.in_sync.clone(),
        eligible_leader_replicas: Some(partition.eligible_leaders.clone()),
        last_known_elr: Some(partition.last_known_eligible.clone()),
        offline_replicas: picture.offline(partition),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::image::{Delta, Image};
    use ottla_metadata::records::{PartitionRecord, Record, TopicRecord};

    use super::*;

    fn image() -> Image {
        let empty = Image::default();
        let mut delta = Delta::new(&empty);
        for (id, name, n_partitions) in [(1000, "a", 2), (1001, "b", 3)] {
            let topic_id = Uuid::from_u128(id);
            let record: Record = TopicRecord {
                name: name.into(),
                topic_id,
            }
            .into();
            delta.replay(&record).expect("topic");
            for partition_id in 0..n_partitions {
                let record: Record = PartitionRecord {
                    partition_id,
                    topic_id,
                    replicas: vec![1],
                    isr: vec![1],
                    leader: 1,
                    ..Default::default()
                }
                .into();
                delta.replay(&record).expect("partition");
            }
        }
        delta.image().clone()
    }

    fn check(
        names: &[&'static str],
        cursor: Option<(&'static str, i32)>,
        limit: i32,
        expected: &str,
    ) {
        let request = DescribeTopicPartitionsRequest {
            topics: names
                .iter()
                .map(|name| DescribeTopicPartitionsTopicRequest {
                    name: Text::from_static(name),
                })
                .collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(name, partition_index)| DescribeTopicPartitionsCursor {
                topic_name: Text::from_static(name),
                partition_index,
            }),
        };
        let image = image();
        let picture = Picture {
            image: &image,
            listener: "PLAINTEXT",
        };
        let found = match Page::new(&request, 2000) {
            Err(refusal) => refusal.name().to_owned(),
            Ok(page) => {
                let response = page.fill(&picture);
                let mut parts: Vec<String> = Vec::new();
                for topic in &response.topics {
                    let indexes = topic.partitions.iter().map(|one| one.partition_index);
                    let name = topic.name.as_deref().unwrap_or("?");
                    parts.push(format!("{name}{:?}", indexes.collect::<Vec<_>>()));
                }
                let next = response.next_cursor;
                parts.extend(
                    next.map(|next| format!("-> {}-{}", next.topic_name, next.partition_index)),
                );
                parts.join(" ")
            }
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn pages_follow_one_another() {
        check(&[], None, 100, "a[0, 1] b[0, 1, 2]");
        check(&[], None, 1, "a[0] -> a-1");
        check(&[], None, 2, "a[0, 1] -> b-0");
        check(&[], Some(("a", 1)), 2, "a[1] b[0] -> b-1");
        check(&[], Some(("b", 1)), 2, "b[1, 2]");
        check(&[], Some(("b", 9)), 2, "b[]");
    }

    #[test]
    fn topics_that_are_named_must_hold_the_cursor() {
        check(&["b", "c"], Some(("b", 0)), 100, "b[0, 1, 2] c[]");
        check(&["b"], Some(("a", 0)), 100, "INVALID_REQUEST");
        check(&["b"], Some(("b", -1)), 100, "INVALID_REQUEST");
        check(&["a", "b"], None, 0, "a[0] -> a-1");
    }
}

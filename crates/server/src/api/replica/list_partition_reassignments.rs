//! ListPartitionReassignments (key 46, version 0): which partitions are moving (KIP-455).

use ottla_metadata::image::{Image, Partition, Topic};
use ottla_node::Services;
use ottla_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};

use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    _: &Call,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse {
        error_message: None,
        topics: moving(&services.image(), &request),
        ..Default::default()
    }
}

/// Those that are asked for, each as often as it is named; all if nobody names any.
fn moving(
    image: &Image,
    request: &ListPartitionReassignmentsRequest,
) -> Vec<OngoingTopicReassignment> {
    let found: Vec<OngoingTopicReassignment> = match &request.topics {
        None => {
            let all = image.topics.iter();
            all.map(|topic| ongoing(topic, topic.partitions.keys()))
                .collect()
        }
        Some(named) => {
            let named = named.iter().filter_map(|asked| {
                let topic = image.topics.find(&asked.name)?;
                Some(ongoing(topic, asked.partition_indexes.iter()))
            });
            named.collect()
        }
    };
    let found = found.into_iter();
    found.filter(|topic| !topic.partitions.is_empty()).collect()
}

fn ongoing<'a>(topic: &Topic, indexes: impl Iterator<Item = &'a i32>) -> OngoingTopicReassignment {
    let is_moving =
        |partition: &Partition| !partition.adding.is_empty() || !partition.removing.is_empty();
    OngoingTopicReassignment {
        name: (*topic.name).into(),
        partitions: indexes
            .filter_map(|index| {
                let partition = topic.partition(*index)?;
                if !is_moving(partition) {
                    return None;
                }
                Some(OngoingPartitionReassignment {
                    partition_index: *index,
                    replicas: partition.replicas.clone(),
                    adding_replicas: partition.adding.clone(),
                    removing_replicas: partition.removing.clone(),
                })
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::image::Delta;
    use ottla_metadata::records::{PartitionRecord, TopicRecord};
    use ottla_protocol::Uuid;
    use ottla_protocol::messages::ListPartitionReassignmentsTopics;

    use super::*;

    fn image() -> Image {
        let mut delta = Delta::new(&Image::default());
        let topic_id = Uuid::from_u128(5);
        let topic = TopicRecord {
            name: "t".into(),
            topic_id,
        };
        delta.replay(&topic.into()).unwrap();
        for (partition_id, adding) in [(0, Vec::new()), (1, vec![2])] {
            let partition = PartitionRecord {
                partition_id,
                topic_id,
                replicas: vec![1, 2],
                isr: vec![1],
                adding_replicas: adding,
                leader: 1,
                ..PartitionRecord::default()
            };
            delta.replay(&partition.into()).unwrap();
        }
        delta.apply(Default::default()).0
    }

    #[test]
    fn what_moves_is_listed_and_nothing_else() {
        let ask = |topics: Option<Vec<(&'static str, Vec<i32>)>>| {
            let named = |(name, partition_indexes): (&'static str, Vec<i32>)| {
                ListPartitionReassignmentsTopics {
                    name: name.into(),
                    partition_indexes,
                }
            };
            let request = ListPartitionReassignmentsRequest {
                topics: topics.map(|topics| topics.into_iter().map(named).collect()),
                ..Default::default()
            };
            let moving = moving(&image(), &request);
            let indexes = moving.iter().flat_map(|topic| &topic.partitions);
            indexes.map(|one| one.partition_index).collect::<Vec<_>>()
        };
        assert_eq!(ask(None), [1]);
        assert_eq!(ask(Some(vec![("t", vec![0, 1, 7])])), [1]);
        assert!(ask(Some(vec![("t", vec![0]), ("absent", vec![0])])).is_empty());
        assert!(ask(Some(Vec::new())).is_empty());
    }
}

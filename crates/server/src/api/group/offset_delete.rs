//! OffsetDelete (key 47, version 0): forget committed offsets of a group (KIP-496).
//! Topics and partitions that do not exist are refused here; an error of the group replaces all.

use std::collections::HashMap;

use ottla_node::{GroupTopics, Pace, Services};
use ottla_protocol::messages::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use ottla_protocol::{Refusal, Text};

use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let (known, unknown) = split(request.topics, &services.groups().topics());
    let request = OffsetDeleteRequest {
        group_id: request.group_id,
        topics: known,
    };
    let response = merge(delete(services, request).await, unknown);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let codes = partitions.map(|partition| partition.error_code);
    count_errors(services, call, codes.chain([response.error_code]));
    response
}

async fn delete(services: &Services, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let refused = |refusal: Refusal| OffsetDeleteResponse {
        error_code: refusal.code(),
        ..Default::default()
    };
    if request.group_id.is_empty() {
        return refused(Refusal::InvalidGroupId);
    }
    let group_id = request.group_id.clone();
    let deleted = services
        .groups()
        .decide(&group_id, Pace::InLine, move |ledger, now| {
            ledger.delete_offsets(&request, now)
        });
    deleted.await.unwrap_or_else(refused)
}

/// What exists goes to the coordinator, the rest is answered here.
fn split(
    topics: Vec<OffsetDeleteRequestTopic>,
    known: &dyn GroupTopics,
) -> (
    Vec<OffsetDeleteRequestTopic>,
    Vec<OffsetDeleteResponseTopic>,
) {
    let (mut existing, mut missing) = (Vec::new(), Vec::new());
    for topic in topics {
        let exists = |index| known.has_partition(&topic.name, index);
        let (there, away): (Vec<_>, Vec<_>) = topic
            .partitions
            .into_iter()
            .partition(|partition| exists(partition.partition_index));
        if !there.is_empty() {
            let name = topic.name.clone();
            existing.push(OffsetDeleteRequestTopic {
                name,
                partitions: there,
            });
        }
        if !away.is_empty() {
            let partitions = away
                .into_iter()
                .map(|partition| OffsetDeleteResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: Refusal::UnknownTopicOrPartition.code(),
                });
            let partitions = partitions.collect();
            missing.push(OffsetDeleteResponseTopic {
                name: topic.name,
                partitions,
            });
        }
    }
    (existing, missing)
}

fn merge(
    mut response: OffsetDeleteResponse,
    missing: Vec<OffsetDeleteResponseTopic>,
) -> OffsetDeleteResponse {
    if response.error_code != 0 {
        return response;
    }
    let mut places: HashMap<Text, usize> = HashMap::new();
    for (place, topic) in response.topics.iter().enumerate() {
        places.entry(topic.name.clone()).or_insert(place);
    }
    for topic in missing {
        let next = response.topics.len();
        let place = *places.entry(topic.name.clone()).or_insert(next);
        match response.topics.get_mut(place) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => response.topics.push(topic),
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: String, indexes: &[i32]) -> OffsetDeleteResponseTopic {
        let partition = |index: &i32| OffsetDeleteResponsePartition {
            partition_index: *index,
            error_code: 0,
        };
        OffsetDeleteResponseTopic {
            name: name.into(),
            partitions: indexes.iter().map(partition).collect(),
        }
    }

    fn merged(
        known: Vec<OffsetDeleteResponseTopic>,
        missing: Vec<OffsetDeleteResponseTopic>,
    ) -> Vec<(String, Vec<i32>)> {
        let response = OffsetDeleteResponse {
            topics: known,
            ..Default::default()
        };
        let topics = merge(response, missing).topics.into_iter();
        topics
            .map(|topic| {
                let partitions = topic.partitions.iter();
                let indexes = partitions.map(|it| it.partition_index).collect();
                (topic.name.to_string(), indexes)
            })
            .collect()
    }

    #[test]
    fn what_is_missing_of_a_topic_is_told_with_what_is_there() {
        let known = ["a", "b", "a"].map(|name| topic(name.into(), &[0])).into();
        let missing = [("c", 5), ("a", 6), ("c", 7)];
        let missing = missing.map(|(name, index)| topic(name.into(), &[index]));
        let told = [
            ("a".to_owned(), vec![0, 6]),
            ("b".to_owned(), vec![0]),
            ("a".to_owned(), vec![0]),
            ("c".to_owned(), vec![5, 7]),
        ];
        assert_eq!(merged(known, missing.into()), told);
    }

    #[test]
    fn a_great_many_topics_may_be_missing() {
        const N: usize = 100_000;
        let topics = |kind: &str| {
            let names = (0..N).map(|n| format!("{kind}{n:06}"));
            names.map(|name| topic(name, &[0])).collect::<Vec<_>>()
        };
        assert_eq!(merged(topics("known"), topics("other")).len(), 2 * N);
    }
}

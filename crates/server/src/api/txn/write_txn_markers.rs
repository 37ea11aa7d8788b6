//! WriteTxnMarkers (key 27, versions 1-2): a transaction coordinator has transactions end in
//! partitions that are led here. v2 says by which rule the epoch is checked (KIP-1228).
//! Every marker is answered for every partition it was sent for: Kafka's coordinator ends its
//! process where one is missing.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_node::{Marked, Marker, Services};
use ottla_protocol::messages::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use ottla_protocol::{NONE, Refusal};

use crate::api::{code_of, count_errors};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let mut response = WriteTxnMarkersResponse::default();
    for asked in request.markers {
        let marker = Marker {
            producer_id: asked.producer_id,
            producer_epoch: asked.producer_epoch,
            coordinator_epoch: asked.coordinator_epoch,
            is_commit: asked.transaction_result,
            transaction_version: asked.transaction_version,
        };
        let marked = match is_sound(&marker) {
            true => services.markers().write(marker, places(&asked)).await,
            false => refused(&asked),
        };
        count_errors(
            services,
            call,
            marked.iter().map(|(_, outcome)| code_of(outcome)),
        );
        let result = result(&asked, &marked);
        // Kafka tells of partitions: a marker for none is not answered.
        if !result.topics.is_empty() {
            response.markers.push(result);
        }
    }
    response
}

/// No producer is without an id or an epoch. Nobody but a coordinator sends markers, and a log must not
/// hold one that nobody can have begun; Kafka stumbles over it in so many words.
fn is_sound(marker: &Marker) -> bool {
    marker.producer_id >= 0 && marker.producer_epoch >= 0 && marker.transaction_version >= 0
}

fn refused(asked: &WritableTxnMarker) -> Vec<Marked> {
    let refused = |place| (place, Err(Refusal::UnknownServerError));
    places(asked).into_iter().map(refused).collect()
}

fn places(asked: &WritableTxnMarker) -> Vec<(Arc<str>, i32)> {
    let topics = asked.topics.iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(&*topic.name);
        let indexes = topic.partition_indexes.iter();
        indexes.map(move |index| (name.clone(), *index))
    });
    let mut places: Vec<_> = topics.collect();
    // Asked twice, written once: the second would be an end without a beginning.
    places.sort_unstable();
    places.dedup();
    places
}

fn result(asked: &WritableTxnMarker, marked: &[Marked]) -> WritableTxnMarkerResult {
    let outcomes = marked.iter();
    let outcomes: HashMap<(&str, i32), _> = outcomes
        .map(|((name, index), outcome)| ((&**name, *index), outcome))
        .collect();
    let with_partitions = asked.topics.iter();
    let with_partitions = with_partitions.filter(|topic| !topic.partition_indexes.is_empty());
    let topics = with_partitions.map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let found = outcomes.get(&(&*topic.name, *index));
            WritableTxnMarkerPartitionResult {
                partition_index: *index,
                error_code: found.map_or(NONE, |outcome| code_of(outcome)),
            }
        });
        WritableTxnMarkerTopicResult {
            name: topic.name.clone(),
            partitions: partitions.collect(),
        }
    });
    WritableTxnMarkerResult {
        producer_id: asked.producer_id,
        topics: topics.collect(),
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Text;
    use ottla_protocol::messages::WritableTxnMarkerTopic;

    use super::*;

    #[test]
    fn a_marker_of_no_producer_is_not_written() {
        let marker = |producer_id, producer_epoch, transaction_version| Marker {
            producer_id,
            producer_epoch,
            coordinator_epoch: 0,
            is_commit: true,
            transaction_version,
        };
        assert!(is_sound(&marker(0, 0, 0)));
        assert!(!is_sound(&marker(-1, 0, 0)));
        assert!(!is_sound(&marker(7, -1, 0)));
        assert!(!is_sound(&marker(7, 0, -1)));
        let asked = WritableTxnMarker {
            topics: vec![WritableTxnMarkerTopic {
                name: Text::from_static("a"),
                partition_indexes: vec![0, 1],
            }],
            ..Default::default()
        };
        let codes: Vec<i16> = refused(&asked).iter().map(|(_, it)| code_of(it)).collect();
        assert_eq!(codes, [-1, -1]);
    }

    #[test]
    fn every_partition_is_answered() {
        let topic = |name, partition_indexes| WritableTxnMarkerTopic {
            name: Text::from_static(name),
            partition_indexes,
        };
        let asked = WritableTxnMarker {
            producer_id: 7,
            topics: vec![
                topic("b", vec![2, 0, 2]),
                topic("c", vec![]),
                topic("a", vec![0]),
            ],
            ..Default::default()
        };
        let places = places(&asked);
        let named: Vec<_> = places
            .iter()
            .map(|(name, index)| (&**name, *index))
            .collect();
        assert_eq!(named, [("a", 0), ("b", 0), ("b", 2)]);
        let marked: Vec<Marked> = places
            .into_iter()
            .map(|place| {
                let is_here = &*place.0 == "b";
                (
                    place,
                    is_here
                        .then_some(())
                        .ok_or(Refusal::UnknownTopicOrPartition),
                )
            })
            .collect();
        let result = result(&asked, &marked);
        assert_eq!(
            result.topics.len(),
            2,
            "a topic without partitions is not told"
        );
        let codes = result.topics.iter().flat_map(|topic| &topic.partitions);
        let codes: Vec<_> = codes
            .map(|it| (it.partition_index, it.error_code))
            .collect();
        assert_eq!(codes, [(2, 0), (0, 0), (2, 0), (0, 3)]);
    }

    #[test]
    fn a_marker_may_go_to_a_great_many_partitions() {
        let asked = WritableTxnMarker {
            topics: vec![WritableTxnMarkerTopic {
                name: Text::from_static("a"),
                partition_indexes: (0..100_000).collect(),
            }],
            ..Default::default()
        };
        let result = result(&asked, &refused(&asked));
        let partitions = result.topics[0].partitions.iter();
        assert_eq!(
            partitions.filter(|it| it.error_code != NONE).count(),
            100_000
        );
    }
}

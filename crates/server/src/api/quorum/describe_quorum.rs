//! DescribeQuorum (key 55, versions 0-2): leader, voters and observers of the metadata log, and how
//! far each is (KIP-595).
//! v1 times of fetches · v2 error messages, directory ids, the listeners of voters.

use ottla_node::Services;
use ottla_protocol::messages::{
    DescribeQuorumListener, DescribeQuorumNode, DescribeQuorumReplicaState, DescribeQuorumRequest,
    DescribeQuorumRequestTopicData, DescribeQuorumResponse, DescribeQuorumResponsePartitionData,
    DescribeQuorumResponseTopicData,
};
use ottla_protocol::{NodeId, Offset, Refusal, Text, Uuid};

use crate::api::count_errors;
use crate::session::Call;

const TOPIC: &str = "__cluster_metadata";
const PARTITION: i32 = 0;
const DIRECTORIES_AND_NODES_SINCE: i16 = 2;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let response = if !names_the_quorum(&request.topics) {
        refused(request.topics, Refusal::UnknownTopicOrPartition)
    } else if let Some(described) = described(services, call.version) {
        described
    } else {
        refused(request.topics, Refusal::NotLeaderOrFollower)
    };
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    count_errors(
        services,
        call,
        partitions.map(|partition| partition.error_code),
    );
    response
}

/// There is one partition to ask about, and it is asked for alone.
fn names_the_quorum(topics: &[DescribeQuorumRequestTopicData]) -> bool {
    match topics {
        [topic] => {
            let is_one =
                matches!(&topic.partitions[..], [only] if only.partition_index == PARTITION);
            &*topic.topic_name == TOPIC && is_one
        }
        _ => false,
    }
}

/// None while the quorum is led elsewhere.
fn described(services: &Services, version: i16) -> Option<DescribeQuorumResponse> {
    let quorum = services.controller().describe()?;
    let has_newest = version >= DIRECTORIES_AND_NODES_SINCE;
    let now_ms = services.clock().wall_ms();
    let replica =
        |id: NodeId, directory_id: Uuid, log_end: Offset, fetched: i64, caught_up: i64| {
            // The leader is never late.
            let is_leader = id == quorum.leader_id;
            DescribeQuorumReplicaState {
                replica_id: id,
                replica_directory_id: if has_newest { directory_id } else { Uuid::ZERO },
                log_end_offset: log_end,
                last_fetch_timestamp: if is_leader { now_ms } else { fetched },
                last_caught_up_timestamp: if is_leader { now_ms } else { caught_up },
            }
        };
    let voters = quorum.voters.iter().map(|it| {
        replica(
            it.id,
            it.directory_id,
            it.log_end,
            it.last_fetch_ms,
            it.last_caught_up_ms,
        )
    });
    let observers = quorum.observers.iter().map(|it| {
        replica(
            it.id,
            it.directory_id,
            it.log_end,
            it.last_fetch_ms,
            it.last_caught_up_ms,
        )
    });
    let partition = DescribeQuorumResponsePartitionData {
        partition_index: PARTITION,
        leader_id: quorum.leader_id,
        leader_epoch: quorum.leader_epoch,
        high_watermark: quorum.high_watermark,
        current_voters: voters.collect(),
        observers: observers.collect(),
        ..Default::default()
    };
    let nodes = quorum.nodes.iter().filter(|_| has_newest).map(|voter| {
        let listeners = voter
            .endpoints
            .iter()
            .map(|endpoint| DescribeQuorumListener {
                name: endpoint.listener.as_str().into(),
                host: endpoint.host.as_str().into(),
                port: endpoint.port,
            });
        DescribeQuorumNode {
            node_id: voter.id,
            listeners: listeners.collect(),
        }
    });
    let topic = DescribeQuorumResponseTopicData {
        topic_name: Text::from_static(TOPIC),
        partitions: vec![partition],
    };
    let nodes = nodes.collect();
    Some(DescribeQuorumResponse {
        topics: vec![topic],
        nodes,
        ..Default::default()
    })
}

fn refused(
    topics: Vec<DescribeQuorumRequestTopicData>,
    refusal: Refusal,
) -> DescribeQuorumResponse {
    let topic = |topic: DescribeQuorumRequestTopicData| {
        let partitions = topic
            .partitions
            .iter()
            .map(|asked| DescribeQuorumResponsePartitionData {
                partition_index: asked.partition_index,
                error_code: refusal.code(),
                error_message: Some(refusal.message().into()),
                ..Default::default()
            });
        let partitions = partitions.collect();
        DescribeQuorumResponseTopicData {
            topic_name: topic.topic_name,
            partitions,
        }
    };
    DescribeQuorumResponse {
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::DescribeQuorumRequestPartitionData;

    use super::*;

    #[test]
    fn only_the_metadata_partition_has_a_quorum() {
        let topic = |name, indexes: &[i32]| DescribeQuorumRequestTopicData {
            topic_name: Text::from_static(name),
            partitions: indexes
                .iter()
                .map(|index| DescribeQuorumRequestPartitionData {
                    partition_index: *index,
                })
                .collect(),
        };
        assert!(names_the_quorum(&[topic(TOPIC, &[0])]));
        assert!(!names_the_quorum(&[topic(TOPIC, &[0, 1])]));
        assert!(!names_the_quorum(&[topic(TOPIC, &[1])]));
        assert!(!names_the_quorum(&[topic("a", &[0])]));
        assert!(!names_the_quorum(&[topic(TOPIC, &[0]), topic("a", &[0])]));
        let response = refused(vec![topic("a", &[7])], Refusal::UnknownTopicOrPartition);
        assert_eq!(response.topics[0].partitions[0].error_code, 3);
    }
}

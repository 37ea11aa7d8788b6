//! OffsetForLeaderEpoch (key 23, versions 2-4): where an epoch ended in the leader's log, which tells
//! the asker whether its own records are still there.
//! v3 the replica that asks · v4 flexible.

use ottla_node::Services;
use ottla_protocol::Refusal;
use ottla_protocol::messages::{
    OffsetForLeaderEpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopic, OffsetForLeaderTopicResult,
};

use super::fetch::{check_epoch, make_way};
use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut n_done = 0;
    for OffsetForLeaderTopic { topic, partitions } in request.topics {
        let mut ends = Vec::with_capacity(partitions.len());
        for asked in &partitions {
            ends.push(end(services, &topic, asked));
            n_done += 1;
            make_way(n_done).await;
        }
        topics.push(OffsetForLeaderTopicResult {
            partitions: ends,
            topic,
        });
    }
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    count_errors(
        services,
        call,
        partitions.map(|partition| partition.error_code),
    );
    OffsetForLeaderEpochResponse {
        topics,
        ..Default::default()
    }
}

fn end(
    services: &Services,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> OffsetForLeaderEpochEndOffset {
    let found = services
        .leader_of(topic, asked.partition)
        .and_then(|partition| {
            check_epoch(&partition, asked.current_leader_epoch)?;
            Ok(partition.view().end_offset_for(asked.leader_epoch))
        });
    let end = OffsetForLeaderEpochEndOffset {
        partition: asked.partition,
        error_code: found
            .as_ref()
            .err()
            .map_or(0, |refusal: &Refusal| refusal.code()),
        ..Default::default()
    };
    match found {
        Ok(found) if found.end_offset >= 0 => OffsetForLeaderEpochEndOffset {
            leader_epoch: found.epoch,
            end_offset: found.end_offset,
            ..end
        },
        // The epoch is older or newer than anything in the log.
        _ => end,
    }
}

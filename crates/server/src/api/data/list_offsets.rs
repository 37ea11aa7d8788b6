//! ListOffsets (key 2, versions 1-11): the offset that belongs to a timestamp, or to a special
//! position that stands in its place.
//! v2 isolation · v4 leader epochs · v5 OFFSET_NOT_AVAILABLE · v6 flexible · v7 largest timestamp ·
//! v8 earliest here · v9 last in remote storage · v10 a timeout for remote storage · v11 earliest
//! that is not there yet.
//! There is no remote storage: earliest here is the earliest, and the two others are unknown.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_node::{Isolation, LogView, OffsetQuery, Partition, Services};
use ottla_protocol::messages::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use ottla_protocol::{LeaderEpoch, Offset, Refusal};

use super::by_topic::ByTopic;
use super::fetch::{check_epoch, is_isolation, make_way};
use crate::api::count_errors;
use crate::session::Call;

const READ_COMMITTED: i8 = 1;
const CONSUMER: i32 = -1;
const LEADER_EPOCH_SINCE: i16 = 4;
const NOT_AVAILABLE_SINCE: i16 = 5;
const UNKNOWN: i64 = -1;

/// Where a question points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Earliest,
    Latest,
    MaxTimestamp,
    /// What lies in remote storage, of which there is none.
    Remote,
    At(i64),
}

/// Offset, timestamp and epoch of what was found; all unknown where nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answered {
    offset: Offset,
    timestamp: i64,
    leader_epoch: LeaderEpoch,
}

const NOTHING: Answered = Answered {
    offset: UNKNOWN,
    timestamp: UNKNOWN,
    leader_epoch: -1,
};

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let isolation = match is_isolation(request.isolation_level) {
        true => Ok(isolation(request.replica_id, request.isolation_level)),
        // Kafka stumbles over it, and says so of every partition.
        false => Err(Refusal::UnknownServerError),
    };
    let mut asked: HashMap<(&str, i32), usize> = HashMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *asked
                .entry((&topic.name, partition.partition_index))
                .or_default() += 1;
        }
    }
    let mut by_topic = ByTopic::default();
    let mut n_done = 0;
    for topic in &request.topics {
        for partition in &topic.partitions {
            n_done += 1;
            make_way(n_done).await;
            let answered = match asked.get_mut(&(&*topic.name, partition.partition_index)) {
                Some(1) => match isolation {
                    Ok(level) => {
                        answer(services, call.version, &topic.name, partition, level).await
                    }
                    Err(refusal) => Err(refusal),
                },
                // Named twice: refused once.
                Some(n) if *n > 1 => {
                    *n = 0;
                    Err(isolation.err().unwrap_or(Refusal::InvalidRequest))
                }
                _ => continue,
            };
            // A lookup by time may open a batch.
            if matches!(partition.timestamp, ListOffsetsRequest::MAX_TIMESTAMP | 0..) {
                tokio::task::yield_now().await;
            }
            let written = written(partition.partition_index, answered, call.version);
            by_topic.put(&topic.name, written);
        }
    }
    let topic = |name, partitions| ListOffsetsTopicResponse { name, partitions };
    let response = ListOffsetsResponse {
        topics: by_topic.lay_out(topic),
        ..Default::default()
    };
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    count_errors(
        services,
        call,
        partitions.map(|partition| partition.error_code),
    );
    response
}

/// Consumers see what their isolation lets them; replicas and tools see everything.
fn isolation(replica_id: i32, level: i8) -> Isolation {
    match (replica_id, level) {
        (CONSUMER, READ_COMMITTED) => Isolation::LastStable,
        (CONSUMER, _) => Isolation::HighWatermark,
        _ => Isolation::LogEnd,
    }
}

/// Each special position came with its version.
fn position(timestamp: i64, version: i16) -> Result<Position, Refusal> {
    let (position, since) = match timestamp {
        ListOffsetsRequest::LATEST => (Position::Latest, 1),
        ListOffsetsRequest::EARLIEST => (Position::Earliest, 1),
        ListOffsetsRequest::MAX_TIMESTAMP => (Position::MaxTimestamp, 7),
        ListOffsetsRequest::EARLIEST_LOCAL => (Position::Earliest, 8),
        ListOffsetsRequest::LATEST_TIERED => (Position::Remote, 9),
        ListOffsetsRequest::EARLIEST_PENDING_UPLOAD => (Position::Remote, 11),
        ..0 => return Err(Refusal::UnsupportedVersion),
        timestamp => (Position::At(timestamp), 1),
    };
    if version < since {
        return Err(Refusal::UnsupportedVersion);
    }
    Ok(position)
}

async fn answer(
    services: &Services,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Answered, Refusal> {
    let position = position(asked.timestamp, version)?;
    let partition = services.leader_of(topic, asked.partition_index)?;
    check_epoch(&partition, asked.current_leader_epoch)?;
    let lagging = || match version {
        ..NOT_AVAILABLE_SINCE => Err(Refusal::LeaderNotAvailable),
        _ => Err(Refusal::OffsetNotAvailable),
    };
    let leader_epoch = partition
        .leader_epoch()
        .ok_or(Refusal::NotLeaderOrFollower)?;
    let query = match position {
        Position::Latest => {
            let view = partition.view();
            if is_behind(&view, leader_epoch, isolation) {
                return lagging();
            }
            let offset = view.bound(isolation);
            return Ok(Answered {
                offset,
                leader_epoch,
                ..NOTHING
            });
        }
        Position::Remote => return Ok(NOTHING),
        Position::Earliest => OffsetQuery::Earliest,
        Position::MaxTimestamp => OffsetQuery::MaxTimestamp,
        Position::At(timestamp) => OffsetQuery::At(timestamp),
    };
    find(&partition, query, isolation).await?.map_or_else(
        || match is_behind(&partition.view(), leader_epoch, isolation) {
            true => lagging(),
            false => Ok(NOTHING),
        },
        Ok,
    )
}

async fn find(
    partition: &Arc<Partition>,
    query: OffsetQuery,
    isolation: Isolation,
) -> Result<Option<Answered>, Refusal> {
    let found = partition
        .find_offset(query, isolation)
        .await
        .map_err(|refused| refused.refusal)?;
    Ok(found.map(|found| Answered {
        offset: found.offset,
        timestamp: found.timestamp,
        leader_epoch: found.leader_epoch.unwrap_or(-1),
    }))
}

/// A new leader whose high watermark has not reached the start of its epoch does not know yet what
/// consumers may see.
fn is_behind(view: &LogView, leader_epoch: LeaderEpoch, isolation: Isolation) -> bool {
    let newest = view.epochs().latest();
    let start = newest
        .filter(|newest| newest.epoch == leader_epoch)
        .map(|it| it.start_offset);
    isolation != Isolation::LogEnd && start.is_some_and(|start| start > view.high_watermark())
}

fn written(
    partition_index: i32,
    answered: Result<Answered, Refusal>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let error_code = answered.as_ref().err().map_or(0, |refusal| refusal.code());
    let Answered {
        offset,
        timestamp,
        leader_epoch,
    } = answered.unwrap_or(NOTHING);
    let has_epoch = version >= LEADER_EPOCH_SINCE;
    ListOffsetsPartitionResponse {
        partition_index,
        error_code,
        timestamp,
        offset,
        leader_epoch: if has_epoch { leader_epoch } else { -1 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_positions_come_with_their_versions() {
        for (timestamp, since) in [
            (-1, 1),
            (-2, 1),
            (-3, 7),
            (-4, 8),
            (-5, 9),
            (-6, 11),
            (0, 1),
        ] {
            assert!(position(timestamp, since).is_ok(), "{timestamp}");
            assert_eq!(
                position(timestamp, since - 1),
                Err(Refusal::UnsupportedVersion)
            );
        }
        assert_eq!(position(-7, 11), Err(Refusal::UnsupportedVersion));
        assert_eq!(position(-4, 11), Ok(Position::Earliest));
        assert_eq!(position(5, 1), Ok(Position::At(5)));
    }

    #[test]
    fn only_consumers_are_held_back() {
        assert_eq!(isolation(-1, 0), Isolation::HighWatermark);
        assert_eq!(isolation(-1, 1), Isolation::LastStable);
        assert_eq!(isolation(-2, 1), Isolation::LogEnd);
        assert_eq!(isolation(3, 0), Isolation::LogEnd);
    }

    #[test]
    fn epochs_are_written_where_there_is_a_place_for_them() {
        let found = Answered {
            offset: 7,
            timestamp: -1,
            leader_epoch: 2,
        };
        assert_eq!(written(0, Ok(found), 3).leader_epoch, -1);
        assert_eq!(written(0, Ok(found), 4).leader_epoch, 2);
        let refused = written(0, Err(Refusal::NotLeaderOrFollower), 4);
        assert_eq!(
            (refused.error_code, refused.offset, refused.timestamp),
            (6, -1, -1)
        );
    }
}

//! One file per API: decode is done, so each file says what the request means and what is answered.

pub(crate) mod cluster;
pub(crate) mod data;
pub(crate) mod group;
pub(crate) mod topic;
pub(crate) mod config;
pub(crate) mod quota;
pub(crate) mod access;
pub(crate) mod replica;
pub(crate) mod telemetry;
pub(crate) mod txn;
pub(crate) mod quorum;

mod room;

use std::future::Future;
use std::time::Duration;

use ottla_node::Services;
use ottla_protocol::messages::{FetchRequest, ProduceRequest};
use ottla_protocol::{LeaderEpoch, NONE, NodeId, Refusal, Refused, Text, Uuid, Versioned};

use crate::endpoints::{Endpoints, Place};
use crate::session::Call;
pub(crate) use room::{Repeats, Room};

/// Who leads a partition instead, for answers that say so (KIP-951).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaderHint {
    pub(crate) leader: NodeId,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) rack: Option<String>,
}

/// What to say besides NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH, from Produce 10 and Fetch 16
/// on. The topic is the one with the name, or with the id where the name is empty.
pub(crate) fn leader_hint(
    services: &Services,
    call: &Call,
    error_code: i16,
    topic: &str,
    topic_id: Uuid,
    partition: i32,
) -> Option<LeaderHint> {
    const PRODUCE_SINCE: i16 = 10;
    const FETCH_SINCE: i16 = 16;
    let has_place = match call.key {
        ProduceRequest::KEY => call.version >= PRODUCE_SINCE,
        FetchRequest::KEY => call.version >= FETCH_SINCE,
        _ => false,
    };
    let asks_for_it = match Refusal::from_code(error_code) {
        Some(Refusal::NotLeaderOrFollower | Refusal::FencedLeaderEpoch) => has_place,
        _ => false,
    };
    if !asks_for_it {
        return None;
    }
    let image = services.image();
    let topic = match topic {
        "" => image.topics.find_by_id(topic_id)?,
        name => image.topics.find(name)?,
    };
    let partition = topic.partition(partition)?;
    let leader = image
        .nodes
        .broker(partition.leader?)
        .filter(|broker| !broker.is_fenced)?;
    let Place { host, port } = Endpoints::new(services, call).of(leader)?;
    Some(LeaderHint {
        leader: leader.id,
        leader_epoch: partition.leader_epoch,
        host,
        port,
        rack: leader.rack.as_deref().map(str::to_owned),
    })
}

/// The code of an outcome.
pub(crate) fn code<T>(outcome: &Result<T, Refused>) -> i16 {
    outcome.as_ref().map_or_else(Refused::code, |_| NONE)
}

/// The code of an outcome that has no words.
pub(crate) fn code_of<T>(outcome: &Result<T, Refusal>) -> i16 {
    outcome
        .as_ref()
        .map_or_else(|refusal| refusal.code(), |_| NONE)
}

/// The words of a refusal, where success has none; a quota that is used up says no more than that.
pub(crate) fn words<T>(outcome: &Result<T, Refused>) -> Option<Text> {
    let refused = outcome.as_ref().err()?;
    let is_quota = refused.refusal == Refusal::ThrottlingQuotaExceeded;
    (!is_quota).then(|| refused.words().into())
}

/// Counts what went wrong (Kafka's ErrorsPerSec).
pub(crate) fn count_errors(services: &Services, call: &Call, codes: impl Iterator<Item = i16>) {
    for code in codes.filter(|code| *code != NONE) {
        services.metrics().request_erred(call.key, code);
    }
}

/// Waits for the controller as long as the client does; what was asked may still happen later. Where
/// there is no time at all it is not asked: Kafka's controller, too, finds the time over before it begins.
pub(crate) async fn within<T>(
    timeout_ms: i32,
    answer: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    match u64::try_from(timeout_ms) {
        Ok(ms) if ms > 0 => tokio::time::timeout(Duration::from_millis(ms), answer)
            .await
            .unwrap_or(Err(Refusal::RequestTimedOut)),
        _ => Err(Refusal::RequestTimedOut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_no_time_gets_nothing_done() {
        for timeout_ms in [0, -1, i32::MIN] {
            let mut is_asked = false;
            let answer = async {
                is_asked = true;
                Ok(())
            };
            let refused = within(timeout_ms, answer).await;
            assert_eq!((refused, is_asked), (Err(Refusal::RequestTimedOut), false));
        }
        assert_eq!(within(10_000, async { Ok(7) }).await, Ok(7));
    }
}

//! FindCoordinator (key 10, versions 0-6): which broker keeps a group.
//! v1 other kinds of key, error message · v3 flexible · v4 several keys at once · v6 share
//! partitions.
//! Transactions and share groups have no coordinator here: they are refused at once, by name, and
//! no topic of theirs is made.

use ottla_node::{GROUP_METADATA_TOPIC, Services, create_group_topic, partition_for_group};
use ottla_protocol::messages::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};
use ottla_protocol::{NONE, NodeId, Refusal, Refused};

use crate::api::{code, count_errors, words};
use crate::endpoints::{Endpoints, Place};
use crate::session::Call;

const SEVERAL_KEYS_SINCE: i16 = 4;
const NOBODY: NodeId = -1;
/// What Kafka puts where older versions have a place for words and there is nothing to say.
const NO_WORDS: &str = "NONE";

type Found = Result<(NodeId, Place), Refused>;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let served = check_key_type(request.key_type);
    if served.is_ok() {
        // Whoever asks for a group wants one: its topic is made now, and answered at once.
        if let Err(refused) = create_group_topic(services).await {
            tracing::warn!(%refused, "{GROUP_METADATA_TOPIC} cannot be created");
        }
    }
    let find = |key: &str| {
        served
            .clone()
            .and_then(|()| coordinator(services, call, key))
    };
    if call.version < SEVERAL_KEYS_SINCE {
        let found = find(&request.key);
        count_errors(services, call, [code(&found)].into_iter());
        return single(found);
    }
    let coordinators: Vec<Coordinator> = request
        .coordinator_keys
        .into_iter()
        .map(|key| {
            let found = find(&key);
            let (error_code, error_message) = (code(&found), words(&found));
            let (node_id, place) = found.unwrap_or_else(|_| nobody());
            let (host, port) = (place.host.into(), place.port);
            let error_message = Some(error_message.unwrap_or_default());
            Coordinator {
                key,
                node_id,
                host,
                port,
                error_code,
                error_message,
            }
        })
        .collect();
    count_errors(
        services,
        call,
        coordinators
            .iter()
            .map(|coordinator| coordinator.error_code),
    );
    FindCoordinatorResponse {
        coordinators,
        ..Default::default()
    }
}

fn check_key_type(key_type: i8) -> Result<(), Refused> {
    let why = match key_type {
        FindCoordinatorRequest::GROUP => return Ok(()),
        FindCoordinatorRequest::TRANSACTION => {
            "transactions are not served yet (transaction coordinator)".to_owned()
        }
        FindCoordinatorRequest::SHARE => {
            "share groups are not served yet (share coordinator)".to_owned()
        }
        unknown => format!("Unknown coordinator type received: {unknown}"),
    };
    Err(Refused::new(Refusal::InvalidRequest, why))
}

/// The leader of the group's partition of `__consumer_offsets`.
fn coordinator(services: &Services, call: &Call, group_id: &str) -> Found {
    let image = services.image();
    let found = || {
        let topic = image.topics.find(GROUP_METADATA_TOPIC)?;
        let n_partitions = i32::try_from(topic.partitions.len())
            .ok()
            .filter(|n| *n > 0)?;
        let partition = topic.partition(partition_for_group(group_id, n_partitions))?;
        let leader = image
            .nodes
            .broker(partition.leader?)
            .filter(|broker| !broker.is_fenced)?;
        // Named too early, a client would be sent away at its first JoinGroup, and some clients
        // then pause for seconds.
        if leader.id == services.node_id() && !services.groups().is_seated(group_id) {
            return None;
        }
        Some((leader.id, Endpoints::new(services, call).of(leader)?))
    };
    found().ok_or_else(|| Refusal::CoordinatorNotAvailable.into())
}

fn single(found: Found) -> FindCoordinatorResponse {
    let error_code = code(&found);
    let message = words(&found).unwrap_or(NO_WORDS.into());
    let (node_id, place) = found.unwrap_or_else(|_| nobody());
    debug_assert!(error_code == NONE || node_id == NOBODY);
    FindCoordinatorResponse {
        error_code,
        error_message: Some(message),
        node_id,
        host: place.host.into(),
        port: place.port,
        ..Default::default()
    }
}

fn nobody() -> (NodeId, Place) {
    (
        NOBODY,
        Place {
            host: String::new(),
            port: -1,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_served_is_named() {
        let why = |key_type| check_key_type(key_type).map_err(|refused| refused.to_string());
        assert_eq!(why(FindCoordinatorRequest::GROUP), Ok(()));
        assert!(
            why(FindCoordinatorRequest::TRANSACTION).is_err_and(|why| why.contains("transaction"))
        );
        assert!(why(FindCoordinatorRequest::SHARE).is_err_and(|why| why.contains("share")));
        assert!(why(9).is_err_and(|why| why.starts_with("INVALID_REQUEST: Unknown")));
    }

    #[test]
    fn nobody_is_told_as_kafka_tells_it() {
        let response = single(Err(Refusal::CoordinatorNotAvailable.into()));
        assert_eq!(
            (response.node_id, &*response.host, response.port),
            (-1, "", -1)
        );
        let place = Place {
            host: "h".to_owned(),
            port: 9092,
        };
        let response = single(Ok((1, place)));
        assert_eq!(response.error_message.as_deref(), Some("NONE"));
    }
}

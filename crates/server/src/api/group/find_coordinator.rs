//! FindCoordinator (key 10, versions 0-6): which broker keeps a group, or a transactional id.
//! v1 other kinds of key, error message · v3 flexible · v4 several keys at once · v6 share
//! partitions.
//! Share groups have no coordinator here: they are refused at once, by name, and no topic of theirs
//! is made.

use ottla_node::{
    GROUP_METADATA_TOPIC, Services, TRANSACTION_STATE_TOPIC, create_group_topic,
    create_transaction_topic, partition_for_group, partition_for_transaction,
};
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
    let kind = check_key_type(request.key_type);
    if let Ok(kind) = kind {
        // Whoever asks for a coordinator wants one: its topic is made now, and answered at once.
        if let Err(refused) = kind.create_topic(services).await {
            tracing::warn!(%refused, "{} cannot be created", kind.topic());
        }
    }
    let find = |key: &str| {
        kind.clone()
            .and_then(|kind| coordinator(services, call, kind, key))
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

/// What is coordinated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Group,
    Transaction,
}

impl Kind {
    fn topic(self) -> &'static str {
        match self {
            Self::Group => GROUP_METADATA_TOPIC,
            Self::Transaction => TRANSACTION_STATE_TOPIC,
        }
    }

    async fn create_topic(self, services: &Services) -> Result<(), Refused> {
        match self {
            Self::Group => create_group_topic(services).await,
            Self::Transaction => create_transaction_topic(services).await,
        }
    }

    fn partition_for(self, key: &str, n_partitions: i32) -> i32 {
        match self {
            Self::Group => partition_for_group(key, n_partitions),
            Self::Transaction => partition_for_transaction(key, n_partitions),
        }
    }

    fn is_seated(self, services: &Services, key: &str) -> bool {
        match self {
            Self::Group => services.groups().is_seated(key),
            Self::Transaction => services.transactions().is_seated(key),
        }
    }
}

fn check_key_type(key_type: i8) -> Result<Kind, Refused> {
    let why = match key_type {
        FindCoordinatorRequest::GROUP => return Ok(Kind::Group),
        FindCoordinatorRequest::TRANSACTION => return Ok(Kind::Transaction),
        FindCoordinatorRequest::SHARE => {
            "share groups are not served yet (share coordinator)".to_owned()
        }
        unknown => format!("Unknown coordinator type received: {unknown}"),
    };
    Err(Refused::new(Refusal::InvalidRequest, why))
}

/// The leader of the key's partition of the topic.
fn coordinator(services: &Services, call: &Call, kind: Kind, key: &str) -> Found {
    let image = services.image();
    let found = || {
        let topic = image.topics.find(kind.topic())?;
        let n_partitions = i32::try_from(topic.partitions.len())
            .ok()
            .filter(|n| *n > 0)?;
        let partition = topic.partition(kind.partition_for(key, n_partitions))?;
        let leader = image
            .nodes
            .broker(partition.leader?)
            .filter(|broker| !broker.is_fenced)?;
        // Named too early, a client would be sent away at its first request, and some clients
        // then pause for seconds.
        if leader.id == services.node_id() && !kind.is_seated(services, key) {
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
        assert_eq!(why(FindCoordinatorRequest::GROUP), Ok(Kind::Group));
        assert_eq!(
            why(FindCoordinatorRequest::TRANSACTION),
            Ok(Kind::Transaction)
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

//! DeleteTopics (key 20, versions 1-6): remove topics.
//! v3 TOPIC_DELETION_DISABLED · v4 flexible · v5 error messages, quotas refuse · v6 topics by name or by id.

use ottla_metadata::controller::{Decision, DeleteTarget, DeletedTopic};
use ottla_node::Services;
use ottla_protocol::messages::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use ottla_protocol::{Refusal, Refused, Uuid};

use crate::api::{code, count_errors, within, words};
use crate::session::Call;

const DISABLED_SINCE: i16 = 3;
/// Older clients do not know that a quota can refuse.
const STRICT_SINCE: i16 = 5;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let asked = asked(&request);
    let mut throttle_time_ms = 0;
    let responses = if services.configured().settings.topics.delete_enable {
        let (responses, pause_ms) = delete(services, call, asked, request.timeout_ms).await;
        throttle_time_ms = pause_ms;
        responses
    } else {
        let refusal = match call.version {
            ..DISABLED_SINCE => Refusal::InvalidRequest,
            _ => Refusal::TopicDeletionDisabled,
        };
        asked
            .into_iter()
            .map(|topic| refused(topic, refusal))
            .collect()
    };
    count_errors(
        services,
        call,
        responses.iter().map(|topic| topic.error_code),
    );
    DeleteTopicsResponse {
        throttle_time_ms,
        responses,
    }
}

/// The topics of a request of any version.
fn asked(request: &DeleteTopicsRequest) -> Vec<DeleteTopicState> {
    let names = request.topic_names.iter().cloned();
    let named = names.map(|name| DeleteTopicState {
        name: Some(name),
        topic_id: Uuid::ZERO,
    });
    named.chain(request.topics.iter().cloned()).collect()
}

/// The answers, and for how long the client must pause.
async fn delete(
    services: &Services,
    call: &Call,
    asked: Vec<DeleteTopicState>,
    timeout_ms: i32,
) -> (Vec<DeletableTopicResult>, i32) {
    let (targets, mut responses) = targets(&asked);
    let mut meter = services.mutation_meter(call.client(), call.version >= STRICT_SINCE);
    let deleted = services.controller().decide(move |ledger, _| {
        let Decision { batches, reply } = ledger.delete_topics(&targets, &mut meter);
        let reply = (reply, meter);
        Decision { batches, reply }
    });
    match within(timeout_ms, deleted).await {
        Ok((deleted, meter)) => {
            responses.extend(deleted.into_iter().map(result));
            (responses, meter.pause_ms())
        }
        Err(refusal) => {
            let refused = |topic| refused(topic, refusal);
            (asked.into_iter().map(refused).collect(), 0)
        }
    }
}

/// What goes to the controller, and what is wrong at first sight.
fn targets(asked: &[DeleteTopicState]) -> (Vec<DeleteTarget>, Vec<DeletableTopicResult>) {
    let (mut targets, mut responses) = (Vec::new(), Vec::new());
    for topic in asked {
        match &topic.name {
            Some(name) if topic.topic_id.is_zero() => {
                targets.push(DeleteTarget::Name(name.to_string()));
            }
            None if !topic.topic_id.is_zero() => targets.push(DeleteTarget::Id(topic.topic_id)),
            name => {
                let why = match name {
                    Some(_) => "You may not specify both topic name and topic id.",
                    None => "Neither topic name nor id were specified.",
                };
                let outcome: Result<(), _> = Err(Refused::new(Refusal::InvalidRequest, why));
                responses.push(DeletableTopicResult {
                    name: name.clone(),
                    topic_id: topic.topic_id,
                    error_code: code(&outcome),
                    error_message: words(&outcome),
                });
            }
        }
    }
    (targets, responses)
}

fn result(deleted: DeletedTopic) -> DeletableTopicResult {
    DeletableTopicResult {
        name: deleted.name.as_deref().map(Into::into),
        topic_id: deleted.id,
        error_code: code(&deleted.outcome),
        error_message: words(&deleted.outcome),
    }
}

fn refused(topic: DeleteTopicState, refusal: Refusal) -> DeletableTopicResult {
    DeletableTopicResult {
        name: topic.name,
        topic_id: topic.topic_id,
        error_code: refusal.code(),
        error_message: None,
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Text;

    use super::*;

    #[test]
    fn a_topic_is_named_by_name_or_by_id_and_not_by_both() {
        let state = |name: Option<&'static str>, id| DeleteTopicState {
            name: name.map(Text::from_static),
            topic_id: Uuid::from_u128(id),
        };
        let asked = [
            state(Some("a"), 0),
            state(None, 1000),
            state(Some("b"), 1001),
            state(None, 0),
        ];
        let (targets, responses) = targets(&asked);
        assert_eq!(
            targets,
            [
                DeleteTarget::Name("a".to_owned()),
                DeleteTarget::Id(Uuid::from_u128(1000))
            ]
        );
        let codes: Vec<i16> = responses.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [42, 42]);
    }
}

//! AlterPartitionReassignments (key 45, versions 0-1): move partitions to other replicas, or stop
//! (KIP-455). v1 the number of replicas may have to stay (KIP-860).

use ottla_metadata::controller::{Outcome, Reassigned, Reassignment};
use ottla_node::Services;
use ottla_protocol::Refusal;
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse, ReassignableTopic, ReassignableTopicResponse,
};

use crate::api::{code, code_of, count_errors, within};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    if request.topics.is_empty() {
        return AlterPartitionReassignmentsResponse::default();
    }
    let may_resize = request.allow_replication_factor_change;
    let topics: Vec<(String, Vec<Reassignment>)> =
        request.topics.into_iter().map(reassignments).collect();
    let asked = topics.clone();
    let altered = services
        .controller()
        .decide(move |ledger, _| ledger.alter_reassignments(&asked, may_resize));
    let altered = within(request.timeout_ms, altered).await;
    let (error_code, error_message) = (code_of(&altered), altered.as_ref().err());
    let error_message = error_message.map(|refusal| refusal.message().into());
    let responses: Vec<ReassignableTopicResponse> = altered
        .unwrap_or_else(|refusal| refuse_all(topics, refusal))
        .into_iter()
        .map(response)
        .collect();
    let partitions = responses.iter().flat_map(|topic| &topic.partitions);
    count_errors(services, call, partitions.map(|one| one.error_code));
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_resize,
        error_code,
        error_message,
        responses,
        ..Default::default()
    }
}

fn reassignments(topic: ReassignableTopic) -> (String, Vec<Reassignment>) {
    let partitions = topic.partitions.into_iter();
    let partitions = partitions.map(|partition| Reassignment {
        index: partition.partition_index,
        replicas: partition.replicas,
    });
    (topic.name.to_string(), partitions.collect())
}

fn refuse_all(topics: Vec<(String, Vec<Reassignment>)>, refusal: Refusal) -> Reassigned {
    let topics = topics.into_iter();
    topics
        .map(|(topic, partitions)| {
            let outcomes = partitions.into_iter();
            let outcomes = outcomes.map(|one| (one.index, Err(refusal.into())));
            (topic, outcomes.collect())
        })
        .collect()
}

fn response((topic, outcomes): (String, Vec<(i32, Outcome<()>)>)) -> ReassignableTopicResponse {
    let outcomes = outcomes.into_iter();
    ReassignableTopicResponse {
        name: topic.into(),
        partitions: outcomes
            .map(|(partition_index, outcome)| ReassignablePartitionResponse {
                partition_index,
                error_code: code(&outcome),
                // The code alone where there is nothing to add to it, as Kafka has it here.
                error_message: outcome
                    .err()
                    .and_then(|refused| refused.message)
                    .map(Into::into),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_as_a_whole_is_refused_everywhere() {
        let one = |index| Reassignment {
            index,
            replicas: None,
        };
        let topics = vec![("t".to_owned(), vec![one(0), one(3)])];
        let refused = refuse_all(topics, Refusal::RequestTimedOut);
        let answer = response(refused.into_iter().next().unwrap());
        let told: Vec<(i32, i16)> = answer
            .partitions
            .iter()
            .map(|one| (one.partition_index, one.error_code))
            .collect();
        assert_eq!(told, [(0, 7), (3, 7)]);
    }
}

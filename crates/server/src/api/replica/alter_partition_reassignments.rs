//! AlterPartitionReassignments (key 45, versions 0-1): move partitions to other replicas, or stop
//! (KIP-455). v1 the number of replicas may have to stay (KIP-860).

use ottla_metadata::controller::{Outcome, Reassignment, check_number};
use ottla_node::Services;
use ottla_protocol::Refused;
use ottla_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse, ReassignableTopic, ReassignableTopicResponse,
};

use super::by_partition::{codes, lay_out, refuse_each};
use crate::api::{code, count_errors, within};
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
    let altered = match check_number(&topics) {
        Ok(()) => {
            let asked = topics.clone();
            let altered = services
                .controller()
                .decide(move |ledger, _| ledger.alter_reassignments(&asked, may_resize));
            let altered = within(request.timeout_ms, altered).await;
            altered.map_err(Refused::from)
        }
        Err(refused) => Err(refused),
    };
    let error_code = code(&altered);
    let error_message = altered.as_ref().err();
    let error_message = error_message.map(|refused| refused.words().into());
    // The words stand above: each partition has the code alone.
    let altered = altered
        .unwrap_or_else(|refused| refuse_each(topics, |one| one.index, &refused.refusal.into()));
    count_errors(services, call, codes(&altered));
    let topic = |name, partitions| ReassignableTopicResponse { name, partitions };
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_resize,
        error_code,
        error_message,
        responses: lay_out(altered, response, topic),
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

fn response(partition_index: i32, outcome: Outcome<()>) -> ReassignablePartitionResponse {
    ReassignablePartitionResponse {
        partition_index,
        error_code: code(&outcome),
        // The code alone where there is nothing to add to it, as Kafka has it here.
        error_message: outcome
            .err()
            .and_then(|refused| refused.message)
            .map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Refusal;

    use super::*;

    #[test]
    fn a_refusal_has_words_only_where_they_add_to_its_code() {
        let told = |refused: Refused| {
            let response = response(3, Err(refused));
            (response.error_code, response.error_message)
        };
        assert_eq!(told(Refusal::NotController.into()), (41, None));
        let refused = Refused::new(Refusal::InvalidReplicaAssignment, "no replicas");
        assert_eq!(told(refused), (39, Some("no replicas".into())));
    }
}

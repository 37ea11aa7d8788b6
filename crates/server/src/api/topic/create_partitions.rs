//! CreatePartitions (key 37, versions 0-3): give topics more partitions.
//! v2 flexible · v3 quotas refuse. The count is the total afterwards.

use ottla_metadata::controller::{Decision, NewPartitions};
use ottla_node::Services;
use ottla_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};
use ottla_protocol::{Refused, Text};

use crate::api::{code, count_errors, within};
use crate::session::Call;

/// Older clients do not know that a quota can refuse.
const STRICT_SINCE: i16 = 3;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let names: Vec<Text> = request
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    let new: Vec<NewPartitions> = request.topics.into_iter().map(new_partitions).collect();
    let validate_only = request.validate_only;
    let mut meter = services.mutation_meter(call.client(), call.version >= STRICT_SINCE);
    let created = services.controller().decide(move |ledger, _| {
        let Decision { batches, reply } = ledger.create_partitions(&new, validate_only, &mut meter);
        let reply = (reply, meter);
        Decision { batches, reply }
    });
    let mut throttle_time_ms = 0;
    let results: Vec<CreatePartitionsTopicResult> = match within(request.timeout_ms, created).await
    {
        Ok((created, meter)) => {
            throttle_time_ms = meter.pause_ms();
            created
                .into_iter()
                .map(|(name, outcome)| result(name.into(), outcome))
                .collect()
        }
        Err(refusal) => names
            .into_iter()
            .map(|name| result(name, Err(refusal.into())))
            .collect(),
    };
    count_errors(services, call, results.iter().map(|topic| topic.error_code));
    CreatePartitionsResponse {
        throttle_time_ms,
        results,
    }
}

fn new_partitions(topic: CreatePartitionsTopic) -> NewPartitions {
    let assignments = topic.assignments.map(|assignments| {
        assignments
            .into_iter()
            .map(|assignment| assignment.broker_ids)
            .collect()
    });
    NewPartitions {
        topic: topic.name.to_string(),
        count: topic.count,
        assignments,
    }
}

fn result(name: Text, outcome: Result<(), Refused>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        name,
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
    fn a_code_that_says_it_all_comes_without_words() {
        let absent = result("t".into(), Err(Refusal::UnknownTopicOrPartition.into()));
        assert_eq!((absent.error_code, absent.error_message), (3, None));
        let refused = Refused::new(
            Refusal::InvalidPartitions,
            "Topic already has 1 partition(s).",
        );
        let present = result("t".into(), Err(refused));
        assert_eq!(
            present.error_message.as_deref(),
            Some("Topic already has 1 partition(s).")
        );
    }
}

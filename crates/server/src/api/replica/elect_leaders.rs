//! ElectLeaders (key 43, versions 0-2): give partitions their preferred leader, or any (KIP-183).
//! v1 unclean elections, an error for the whole answer (KIP-460) · v2 flexible.

use ottla_metadata::controller::{ByPartition, Outcome, Wanted, check_number};
use ottla_node::Services;
use ottla_protocol::messages::{
    ElectLeadersPartitionResult, ElectLeadersRequest, ElectLeadersResponse, ReplicaElectionResult,
};
use ottla_protocol::{NONE, Refusal, Refused};

use super::by_partition::{codes, lay_out, refuse_each};
use crate::api::{code, count_errors, within, words};
use crate::session::Call;

/// v0 has no room for an error of the whole.
const ERROR_SINCE: i16 = 1;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let named: Option<Vec<(String, Vec<i32>)>> = request.topic_partitions.map(|topics| {
        let topics = topics.into_iter();
        topics
            .map(|topic| (topic.topic.to_string(), topic.partitions))
            .collect()
    });
    // Nothing is asked for, whatever kind of leader.
    if named.as_ref().is_some_and(Vec::is_empty) {
        return ElectLeadersResponse::default();
    }
    if let Err(refused) = check_number(named.as_deref().unwrap_or_default()) {
        let refused = refuse_each(
            named.unwrap_or_default(),
            |index| index,
            &refused.refusal.into(),
        );
        count_errors(services, call, codes(&refused));
        return response(call, Refusal::PolicyViolation.code(), refused, bare);
    }
    let asked = named.clone();
    let elected = match wanted(request.election_type) {
        Ok(wanted) => {
            let elected = services
                .controller()
                .decide(move |ledger, _| ledger.elect_leaders(wanted, asked.as_deref()));
            let elected = within(request.timeout_ms, elected).await;
            elected.map_err(Refused::from)
        }
        Err(refused) => Err(refused),
    };
    let whole = code(&elected);
    let elections = elected
        .unwrap_or_else(|refused| refuse_each(named.unwrap_or_default(), |index| index, &refused));
    count_errors(services, call, codes(&elections));
    response(call, whole, elections, result)
}

fn response(
    call: &Call,
    whole: i16,
    elections: ByPartition,
    result: impl Fn(i32, Outcome<()>) -> ElectLeadersPartitionResult,
) -> ElectLeadersResponse {
    let topic = |topic, partition_result| ReplicaElectionResult {
        topic,
        partition_result,
    };
    ElectLeadersResponse {
        error_code: if call.version >= ERROR_SINCE {
            whole
        } else {
            NONE
        },
        replica_election_results: lay_out(elections, result, topic),
        ..Default::default()
    }
}

fn wanted(election_type: i8) -> Result<Wanted, Refused> {
    match election_type {
        0 => Ok(Wanted::Preferred),
        1 => Ok(Wanted::Unclean),
        other => Err(Refused::new(
            Refusal::InvalidRequest,
            format!("Unknown election type {other}"),
        )),
    }
}

fn result(partition_id: i32, outcome: Outcome<()>) -> ElectLeadersPartitionResult {
    ElectLeadersPartitionResult {
        partition_id,
        error_code: code(&outcome),
        error_message: words(&outcome),
    }
}

/// Without words: where very many are refused, they would outweigh the request.
fn bare(partition_id: i32, outcome: Outcome<()>) -> ElectLeadersPartitionResult {
    ElectLeadersPartitionResult {
        partition_id,
        error_code: code(&outcome),
        error_message: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_two_kinds_of_elections() {
        assert_eq!(wanted(0), Ok(Wanted::Preferred));
        assert_eq!(wanted(1), Ok(Wanted::Unclean));
        let refused = wanted(-1).unwrap_err();
        assert_eq!(
            (refused.code(), refused.words()),
            (42, "Unknown election type -1")
        );
    }
}

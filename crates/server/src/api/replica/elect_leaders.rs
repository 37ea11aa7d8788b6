//! ElectLeaders (key 43, versions 0-2): give partitions their preferred leader, or any (KIP-183).
//! v1 unclean elections, an error for the whole answer (KIP-460) · v2 flexible.

use ottla_metadata::controller::{Elections, Outcome, Wanted};
use ottla_node::Services;
use ottla_protocol::messages::{
    ElectLeadersPartitionResult, ElectLeadersRequest, ElectLeadersResponse, ReplicaElectionResult,
};
use ottla_protocol::{NONE, Refusal, Refused};

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
    let elections = elected.unwrap_or_else(|refused| refuse_all(named, &refused));
    let results: Vec<ReplicaElectionResult> = elections.into_iter().map(result).collect();
    let codes = results.iter().flat_map(|topic| &topic.partition_result);
    count_errors(services, call, codes.map(|partition| partition.error_code));
    ElectLeadersResponse {
        error_code: if call.version >= ERROR_SINCE {
            whole
        } else {
            NONE
        },
        replica_election_results: results,
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

fn refuse_all(named: Option<Vec<(String, Vec<i32>)>>, refused: &Refused) -> Elections {
    let topics = named.unwrap_or_default().into_iter();
    topics
        .map(|(topic, indexes)| {
            let outcomes = indexes.into_iter();
            let outcomes = outcomes.map(|index| (index, Err(refused.clone())));
            (topic, outcomes.collect())
        })
        .collect()
}

fn result((topic, outcomes): (String, Vec<(i32, Outcome<()>)>)) -> ReplicaElectionResult {
    let outcomes = outcomes.into_iter();
    ReplicaElectionResult {
        topic: topic.into(),
        partition_result: outcomes
            .map(|(partition_id, outcome)| ElectLeadersPartitionResult {
                partition_id,
                error_code: code(&outcome),
                error_message: words(&outcome),
            })
            .collect(),
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

    #[test]
    fn what_is_refused_as_a_whole_is_refused_everywhere() {
        let named = Some(vec![("t".to_owned(), vec![0, 1])]);
        let elections = refuse_all(named, &Refusal::NotController.into());
        let result = result(elections.into_iter().next().unwrap());
        let codes: Vec<i16> = result
            .partition_result
            .iter()
            .map(|one| one.error_code)
            .collect();
        assert_eq!(codes, [41, 41]);
        assert!(refuse_all(None, &Refusal::NotController.into()).is_empty());
    }
}

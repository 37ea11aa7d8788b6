//! TxnOffsetCommit (key 28, versions 0-5): a transaction stores how far its reader has got.
//! v2 leader epochs · v3 flexible, members (KIP-447) · v4 TRANSACTION_ABORTABLE · v5 joins the
//! transaction by itself (KIP-890).

use ottla_node::{
    GROUP_METADATA_TOPIC, GroupTopics, JoinAs, Joined, Joining, JoiningProducer, Services,
    Verified, txn_offset_commit_response,
};
use ottla_protocol::Refusal;
use ottla_protocol::batch::NO_SEQUENCE;
use ottla_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use crate::api::count_errors;
use crate::session::Call;

/// Older producers stumble over COORDINATOR_LOAD_IN_PROGRESS.
const KNOWS_LOADING_SINCE: i16 = 2;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let known = services.groups().topics();
    let asked = request.clone();
    let response = match commit(services, call, request).await {
        Ok(response) => response,
        Err(refusal) => {
            let refusal = told(refusal, call.version);
            txn_offset_commit_response(&asked, &known, |_, _| Err(refusal))
        }
    };
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    count_errors(
        services,
        call,
        partitions.map(|partition| partition.error_code),
    );
    response
}

async fn commit(
    services: &Services,
    call: &Call,
    request: TxnOffsetCommitRequest,
) -> Result<TxnOffsetCommitResponse, Refusal> {
    let known = services.groups().topics();
    let has_any = request.topics.iter().any(|topic| {
        let mut partitions = topic.partitions.iter();
        partitions.any(|partition| known.has_partition(&topic.name, partition.partition_index))
    });
    if !has_any {
        // Every partition is refused, and no transaction is touched.
        return Ok(txn_offset_commit_response(&request, &known, |_, _| Ok(())));
    }
    if request.group_id.is_empty() {
        return Err(Refusal::InvalidGroupId);
    }
    let verified = join(services, call, &request).await?;
    let group_id = request.group_id.clone();
    services
        .groups()
        .decide_in_transaction(&group_id, verified, move |ledger, now| {
            ledger.commit_offsets_in_transaction(&request, &known, now)
        })
        .await
}

/// The partition of `__consumer_offsets` is one that the transaction writes to.
async fn join(services: &Services, call: &Call, request: &TxnOffsetCommitRequest) -> Joined {
    let index = services
        .groups()
        .partition_of(&request.group_id)
        .ok_or(Refusal::NotCoordinator)?;
    let partition = services
        .leader_of(GROUP_METADATA_TOPIC, index)
        .map_err(|_| Refusal::NotCoordinator)?;
    let producer = JoiningProducer {
        transactional_id: request.transactional_id.clone(),
        producer_id: request.producer_id,
        producer_epoch: request.producer_epoch,
        joins: JoinAs::txn_offset_commit(call.version),
    };
    let write = Joining {
        partition,
        base_sequence: NO_SEQUENCE,
    };
    let questions = services.begin_joining(producer, vec![write], true).await;
    let joined = services.ask_once(&questions).await;
    joined
        .into_iter()
        .next()
        .unwrap_or(Ok(Verified::Under(None)))
}

/// What could not be asked may be asked again, in words that clients of this version know.
fn told(refusal: Refusal, version: i16) -> Refusal {
    match refusal {
        Refusal::NetworkException => told(Refusal::CoordinatorLoadInProgress, version),
        Refusal::CoordinatorLoadInProgress if version < KNOWS_LOADING_SINCE => {
            Refusal::CoordinatorNotAvailable
        }
        Refusal::NotLeaderOrFollower | Refusal::KafkaStorageError => Refusal::NotCoordinator,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_in_words_of_the_version() {
        let loading = Refusal::CoordinatorLoadInProgress;
        assert_eq!(told(Refusal::NetworkException, 3), loading);
        assert_eq!(told(loading, 1), Refusal::CoordinatorNotAvailable);
        assert_eq!(
            told(Refusal::NotLeaderOrFollower, 5),
            Refusal::NotCoordinator
        );
        assert_eq!(
            told(Refusal::InvalidProducerEpoch, 0),
            Refusal::InvalidProducerEpoch
        );
    }
}

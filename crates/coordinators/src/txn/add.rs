//! AddPartitionsToTxn (key 24) and AddOffsetsToTxn (key 25): partitions join a transaction, or are
//! looked up in it. v2 knows `PRODUCER_FENCED` · AddPartitionsToTxn v4 comes from brokers only, for
//! clients of `transaction.version` 2 or to verify what an older client writes.

use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};
use ottla_protocol::{NONE, ProducerEpoch, ProducerId, Refusal};

use super::partitions::Partitions;
use super::settings::TransactionVersion;
use super::states::TransactionState;
use super::transaction::{Transaction, fenced_before};
use super::{TxnDecision, TxnLedger, TxnReply};
use crate::ledger::Now;

/// From here on clients know `PRODUCER_FENCED`.
const PRODUCER_FENCED_FROM: i16 = 2;
/// From here on AddPartitionsToTxn carries several transactions, and comes from brokers.
const BATCHED_FROM: i16 = 4;
/// The topic that a group's offsets are in.
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The one transaction of a client's request (v0-3), in the shape of v4.
pub fn single_transaction(request: &AddPartitionsToTxnRequest) -> AddPartitionsToTxnTransaction {
    AddPartitionsToTxnTransaction {
        transactional_id: request.v3_and_below_transactional_id.clone(),
        producer_id: request.v3_and_below_producer_id,
        producer_epoch: request.v3_and_below_producer_epoch,
        verify_only: false,
        topics: request.v3_and_below_topics.clone(),
    }
}

/// One transaction's results, from an error code for each of its partitions. A partition that is
/// named twice is answered once.
pub fn add_partitions_result(
    transaction: &AddPartitionsToTxnTransaction,
    code_of: impl Fn(&str, i32) -> i16,
) -> AddPartitionsToTxnResult {
    let asked = partitions_of(transaction);
    let topic_results = asked.topics().map(|(topic, indexes)| {
        let results = indexes
            .iter()
            .map(|index| AddPartitionsToTxnPartitionResult {
                partition_index: *index,
                partition_error_code: code_of(topic, *index),
            });
        AddPartitionsToTxnTopicResult {
            name: (&**topic).into(),
            results_by_partition: results.collect(),
        }
    });
    AddPartitionsToTxnResult {
        transactional_id: transaction.transactional_id.clone(),
        topic_results: topic_results.collect(),
    }
}

/// The response of a version, from the results of all its transactions.
pub fn add_partitions_response(
    results: Vec<AddPartitionsToTxnResult>,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let mut response = AddPartitionsToTxnResponse::default();
    if version >= BATCHED_FROM {
        response.results_by_transaction = results;
    } else {
        let topics = results.into_iter().flat_map(|result| result.topic_results);
        response.results_by_topic_v3_and_below = topics.collect();
    }
    response
}

/// Who asks for partitions to join.
struct Joining<'a> {
    transactional_id: &'a str,
    producer_id: ProducerId,
    epoch: ProducerEpoch,
    client_version: TransactionVersion,
}

impl TxnLedger {
    /// AddPartitionsToTxn, one of its transactions: `verify_only` looks its partitions up
    /// (`TRANSACTION_ABORTABLE` for those that are not in the transaction), else they join it. That
    /// they exist and that the client may write to them is the caller's to check beforehand: if one
    /// fails, none joins.
    pub fn add_partitions(
        &mut self,
        transaction: &AddPartitionsToTxnTransaction,
        version: i16,
        level: TransactionVersion,
        now: Now,
    ) -> TxnDecision {
        let partitions = partitions_of(transaction);
        if transaction.verify_only {
            return self.verify(transaction, &partitions);
        }
        let joining = Joining {
            transactional_id: &transaction.transactional_id,
            producer_id: transaction.producer_id,
            epoch: transaction.producer_epoch,
            client_version: if version >= BATCHED_FROM {
                TransactionVersion::V2
            } else {
                TransactionVersion::V0
            },
        };
        self.join(&joining, &partitions, version, level, now, |code| {
            TxnReply::AddPartitions(add_partitions_result(transaction, |_, _| code))
        })
    }

    /// AddOffsetsToTxn: the partition of `__consumer_offsets` that the group lives in joins the
    /// transaction.
    pub fn add_offsets(
        &mut self,
        request: &AddOffsetsToTxnRequest,
        version: i16,
        offsets_partition: i32,
        level: TransactionVersion,
        now: Now,
    ) -> TxnDecision {
        let joining = Joining {
            transactional_id: &request.transactional_id,
            producer_id: request.producer_id,
            epoch: request.producer_epoch,
            // A client of `transaction.version` 2 does not send this.
            client_version: TransactionVersion::V0,
        };
        let partitions = Partitions::from_iter([(OFFSETS_TOPIC, offsets_partition)]);
        self.join(&joining, &partitions, version, level, now, |error_code| {
            TxnReply::AddOffsets(AddOffsetsToTxnResponse {
                error_code,
                ..AddOffsetsToTxnResponse::default()
            })
        })
    }

    fn join(
        &mut self,
        joining: &Joining<'_>,
        partitions: &Partitions,
        version: i16,
        level: TransactionVersion,
        now: Now,
        reply: impl Fn(i16) -> TxnReply,
    ) -> TxnDecision {
        let id = joining.transactional_id;
        match self.check_join(joining) {
            Ok(current) if is_joined(current, partitions) => {
                self.answer(reply(NONE), self.seen(id))
            }
            Ok(current) => {
                let next = current.joined_by(partitions, joining.client_version, now);
                let record = self.record(id, next, level);
                self.write(vec![record], reply(NONE))
            }
            Err(refusal) => {
                let refusal = fenced_before(PRODUCER_FENCED_FROM, version, refusal);
                self.answer(reply(refusal.code()), self.when_refused(id, refusal))
            }
        }
    }

    fn check_join(&self, joining: &Joining<'_>) -> Result<&Transaction, Refusal> {
        let current = self.known(joining.transactional_id)?;
        // First of all: while it is prepared, its producer id may be about to change.
        if current.state.is_prepared() {
            return Err(Refusal::ConcurrentTransactions);
        }
        current.check_producer(joining.producer_id, joining.epoch)?;
        Ok(current)
    }

    fn verify(
        &mut self,
        transaction: &AddPartitionsToTxnTransaction,
        partitions: &Partitions,
    ) -> TxnDecision {
        let id = &transaction.transactional_id;
        let checked = self.known(id).and_then(|current| {
            current.check_producer(transaction.producer_id, transaction.producer_epoch)?;
            if current.state.is_prepared() {
                return Err(Refusal::ConcurrentTransactions);
            }
            Ok(current)
        });
        let result = match &checked {
            Ok(current) => add_partitions_result(transaction, |topic, partition| {
                if current.partitions.contains(topic, partition) {
                    NONE
                } else {
                    Refusal::TransactionAbortable.code()
                }
            }),
            Err(refusal) => add_partitions_result(transaction, |_, _| refusal.code()),
        };
        let is_verified = checked.is_ok_and(|current| current.partitions.contains_all(partitions));
        self.counts.failed_verifications += u64::from(!is_verified);
        self.answer(TxnReply::AddPartitions(result), self.seen(id))
    }
}

fn is_joined(current: &Transaction, partitions: &Partitions) -> bool {
    current.state == TransactionState::Ongoing && current.partitions.contains_all(partitions)
}

fn partitions_of(transaction: &AddPartitionsToTxnTransaction) -> Partitions {
    let topics = transaction.topics.iter();
    topics
        .flat_map(|topic| topic.partitions.iter().map(|index| (&*topic.name, *index)))
        .collect()
}

#[cfg(test)]
mod tests {
    use ottla_protocol::messages::AddPartitionsToTxnTopic;

    use super::*;

    #[test]
    fn old_and_new_shapes_carry_the_same() {
        let topics = vec![AddPartitionsToTxnTopic {
            name: "t".into(),
            partitions: vec![2, 0, 2],
        }];
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: "x".into(),
            v3_and_below_producer_id: 7,
            v3_and_below_producer_epoch: 3,
            v3_and_below_topics: topics,
            ..AddPartitionsToTxnRequest::default()
        };
        let transaction = single_transaction(&request);
        assert_eq!(
            (transaction.producer_id, transaction.producer_epoch),
            (7, 3)
        );
        assert!(!transaction.verify_only);
        let result = add_partitions_result(&transaction, |topic, index| {
            assert_eq!(topic, "t");
            index as i16
        });
        let codes = |topics: &[AddPartitionsToTxnTopicResult]| -> Vec<(i32, i16)> {
            let partitions = topics[0].results_by_partition.iter();
            partitions
                .map(|one| (one.partition_index, one.partition_error_code))
                .collect()
        };
        let old = add_partitions_response(vec![result.clone()], 3);
        assert_eq!(codes(&old.results_by_topic_v3_and_below), [(0, 0), (2, 2)]);
        assert!(old.results_by_transaction.is_empty());
        let new = add_partitions_response(vec![result], 4);
        assert_eq!(
            codes(&new.results_by_transaction[0].topic_results),
            [(0, 0), (2, 2)]
        );
        assert!(new.results_by_topic_v3_and_below.is_empty());
    }
}

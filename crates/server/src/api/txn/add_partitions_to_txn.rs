//! AddPartitionsToTxn (key 24, versions 0-5): partitions join a transaction.
//! v2 PRODUCER_FENCED · v3 flexible · v4 brokers only: several transactions at once, and checks
//! that add nothing (KIP-890) · v5 TRANSACTION_ABORTABLE.

use std::collections::HashMap;

use ottla_metadata::image::Image;
use ottla_node::{
    Services, add_partitions_response, add_partitions_result, is_internal_topic, single_transaction,
};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult, AddPartitionsToTxnTransaction,
};

use super::check_id;
use crate::api::count_errors;
use crate::session::Call;

/// From here on a request has several transactions.
const SEVERAL_SINCE: i16 = 4;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    let transactions = match call.version {
        SEVERAL_SINCE.. => request.transactions,
        _ => vec![single_transaction(&request)],
    };
    let mut results = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        results.push(add(services, call, transaction).await);
    }
    let codes = results.iter().flat_map(|result| &result.topic_results);
    let codes = codes.flat_map(|topic| &topic.results_by_partition);
    count_errors(
        services,
        call,
        codes.map(|partition| partition.partition_error_code),
    );
    add_partitions_response(results, call.version)
}

async fn add(
    services: &Services,
    call: &Call,
    transaction: AddPartitionsToTxnTransaction,
) -> AddPartitionsToTxnResult {
    let image = services.image();
    if let Some(refused) = refuse_some(&image, &transaction, call.version) {
        return refused;
    }
    let asked = transaction.clone();
    let added = match check_id(&transaction.transactional_id) {
        Ok(()) => {
            let transactions = services.transactions();
            transactions.add_partitions(transaction, call.version).await
        }
        Err(refusal) => Err(refusal),
    };
    let added =
        added.unwrap_or_else(|refusal| add_partitions_result(&asked, |_, _| refusal.code()));
    as_asked(&asked, &added)
}

/// The coordinator answers in the words of the request, as Kafka's does: what was named twice is told
/// twice, and a topic without partitions is told, too.
fn as_asked(
    asked: &AddPartitionsToTxnTransaction,
    added: &AddPartitionsToTxnResult,
) -> AddPartitionsToTxnResult {
    let results = added.topic_results.iter().flat_map(|topic| {
        let partitions = topic.results_by_partition.iter();
        partitions.map(move |result| ((&*topic.name, result.partition_index), result))
    });
    let results: HashMap<_, _> = results.collect();
    let topics = asked.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let told = partitions.filter_map(|index| results.get(&(&*topic.name, *index)));
        AddPartitionsToTxnTopicResult {
            name: topic.name.clone(),
            results_by_partition: told.map(|result| (*result).clone()).collect(),
        }
    });
    AddPartitionsToTxnResult {
        transactional_id: added.transactional_id.clone(),
        topic_results: topics.collect(),
    }
}

/// If one partition may not join, none does. To the coordinators' own topics nobody writes but them: a
/// marker among the records of `__transaction_state` is one that Kafka's coordinator cannot load.
fn refuse_some(
    image: &Image,
    transaction: &AddPartitionsToTxnTransaction,
    version: i16,
) -> Option<AddPartitionsToTxnResult> {
    let is_client = version < SEVERAL_SINCE;
    let refusal = |topic: &str, partition| match image.topics.partition(topic, partition) {
        _ if is_client && is_internal_topic(topic) => Some(Refusal::TopicAuthorizationFailed),
        Some(_) => None,
        None => Some(Refusal::UnknownTopicOrPartition),
    };
    let mut asked = transaction.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(move |partition| (&*topic.name, *partition))
    });
    if asked.all(|(topic, partition)| refusal(topic, partition).is_none()) {
        return None;
    }
    Some(add_partitions_result(transaction, |topic, partition| {
        refusal(topic, partition)
            .unwrap_or(Refusal::OperationNotAttempted)
            .code()
    }))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Text;
    use ottla_protocol::messages::AddPartitionsToTxnTopic;

    use super::*;

    #[test]
    fn the_answer_has_the_shape_of_the_question() {
        let topic = |name, partitions| AddPartitionsToTxnTopic {
            name: Text::from_static(name),
            partitions,
        };
        let asked = AddPartitionsToTxnTransaction {
            topics: vec![
                topic("a", vec![1, 0, 1]),
                topic("b", vec![]),
                topic("a", vec![1]),
            ],
            ..Default::default()
        };
        let added = add_partitions_result(&asked, |_, partition| partition as i16);
        let told = as_asked(&asked, &added).topic_results;
        let told: Vec<_> = told
            .iter()
            .map(|topic| {
                let results = topic.results_by_partition.iter();
                let codes: Vec<i16> = results.map(|it| it.partition_error_code).collect();
                (&*topic.name, codes)
            })
            .collect();
        let expected = [("a", vec![1, 0, 1]), ("b", vec![]), ("a", vec![1])];
        assert_eq!(told, expected);
    }
}

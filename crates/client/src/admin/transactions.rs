//! Transactions: who has one open, where, and ending those that nobody ends.

use std::collections::BTreeMap;

use ottla_protocol::messages::{
    DescribeProducersRequest, DescribeProducersTopicRequest, DescribeTransactionsRequest,
    InitProducerIdRequest, ListTransactionsRequest, WritableTxnMarker, WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
};
use ottla_protocol::{NodeId, Offset, Refusal, Text, TopicPartition};

use super::lacks;
use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::offsets::OffsetAnswers;
use crate::pool::Lane;

/// ListTransactions filters by duration from this version on, by a pattern from the next.
const DURATIONS_FROM: i16 = 1;
const PATTERNS_FROM: i16 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionListing {
    pub id: String,
    pub coordinator: NodeId,
    pub producer_id: i64,
    pub state: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionDescription {
    pub coordinator: NodeId,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub state: String,
    pub timeout_ms: i32,
    /// Milliseconds since 1970, while one is open.
    pub started: Option<i64>,
    pub partitions: Vec<TopicPartition>,
}

/// A producer that a partition remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerDescription {
    pub id: i64,
    pub epoch: i32,
    pub last_sequence: i32,
    pub last_timestamp: i64,
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins.
    pub open_since: Option<Offset>,
}

/// Which transactions to tell of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    pub producer_ids: Vec<i64>,
    /// Open for longer than so many milliseconds.
    pub open_ms_min: Option<i64>,
    pub pattern: Option<String>,
}

impl Cluster {
    /// The transactional ids of all coordinators, by coordinator.
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<Vec<TransactionListing>, ClientError> {
        let nodes: Vec<NodeId> = self.view().nodes.keys().copied().collect();
        let mut all = Vec::new();
        for node in nodes {
            let listed = self
                .retry("listing transactions", async || {
                    self.list_transactions_at(node, filter).await
                })
                .await?;
            all.extend(listed);
        }
        Ok(all)
    }

    async fn list_transactions_at(
        &self,
        node: NodeId,
        filter: &TransactionFilter,
    ) -> Result<Vec<TransactionListing>, ClientError> {
        let connection = self.node(node, Lane::Calls).await?;
        let version = connection
            .versions()
            .newest::<ListTransactionsRequest>(i16::MAX)?;
        let needed = match (filter.open_ms_min, &filter.pattern) {
            (_, Some(_)) => PATTERNS_FROM,
            (Some(_), None) => DURATIONS_FROM,
            (None, None) => 0,
        };
        if version < needed {
            let why = format!("version {needed} is needed to choose, {version} is served");
            let api = "ListTransactions";
            return Err(ClientError::Unserved { api, why });
        }
        let request = ListTransactionsRequest {
            state_filters: Vec::new(),
            producer_id_filters: filter.producer_ids.clone(),
            duration_filter: filter.open_ms_min.unwrap_or(-1),
            transactional_id_pattern: filter.pattern.as_deref().map(Text::from),
        };
        let answer = connection.ask(&request, self.patience()).await?;
        ClientError::from_code("transactions were not listed", answer.error_code, None)?;
        let states = answer.transaction_states.into_iter();
        let listed = states.map(|state| TransactionListing {
            id: state.transactional_id.to_string(),
            coordinator: node,
            producer_id: state.producer_id,
            state: state.transaction_state.to_string(),
        });
        Ok(listed.collect())
    }

    pub async fn describe_transaction(
        &self,
        id: &str,
    ) -> Result<TransactionDescription, ClientError> {
        self.retry("describing a transaction", async || {
            self.describe_transaction_once(id).await
        })
        .await
    }

    async fn describe_transaction_once(
        &self,
        id: &str,
    ) -> Result<TransactionDescription, ClientError> {
        let node = self.find_transaction_coordinator(id).await?;
        let connection = self.node(node, Lane::Calls).await?;
        let request = DescribeTransactionsRequest {
            transactional_ids: vec![Text::from(id)],
        };
        let answer = connection.ask(&request, self.patience()).await?;
        let state = answer.transaction_states.into_iter().next();
        let state = state.ok_or_else(|| lacks("DescribeTransactions"))?;
        let what = format!("the transaction of {id} cannot be described");
        ClientError::from_code(&what, state.error_code, None)?;
        let mut partitions = Vec::new();
        for topic in state.topics {
            let numbers = topic.partitions.into_iter();
            partitions.extend(numbers.map(|n| TopicPartition::new(&*topic.topic, n)));
        }
        let started = state.transaction_start_time_ms;
        Ok(TransactionDescription {
            coordinator: node,
            producer_id: state.producer_id,
            producer_epoch: state.producer_epoch,
            state: state.transaction_state.to_string(),
            timeout_ms: state.transaction_timeout_ms,
            started: (started >= 0).then_some(started),
            partitions,
        })
    }

    /// The producers that each partition remembers, as its leader or this broker knows them.
    pub async fn describe_producers(
        &self,
        partitions: &[TopicPartition],
        broker: Option<NodeId>,
    ) -> Result<OffsetAnswers<Vec<ProducerDescription>>, ClientError> {
        let mut answers = OffsetAnswers::new();
        let asked = match broker {
            Some(node) => BTreeMap::from([(node, partitions.to_vec())]),
            None => self.by_leader(partitions.iter(), &mut answers).await?,
        };
        for (node, partitions) in asked {
            let topics = super::by_topic(&partitions).into_iter();
            let topics = topics.map(|(name, partition_indexes)| DescribeProducersTopicRequest {
                name,
                partition_indexes,
            });
            let request = DescribeProducersRequest {
                topics: topics.collect(),
            };
            let answer = self.ask_node(node, &request).await?;
            for topic in answer.topics {
                for partition in topic.partitions {
                    let key = TopicPartition::new(&*topic.name, partition.partition_index);
                    let what = format!("the producers of {key} cannot be described");
                    let message = partition.error_message.as_deref();
                    let result = ClientError::from_code(&what, partition.error_code, message);
                    let producers = partition.active_producers.into_iter().map(producer);
                    answers.insert(key, result.map(|()| producers.collect()));
                }
            }
        }
        Ok(answers)
    }

    /// Have the leader of one partition write the marker that its open transaction waits for.
    pub async fn abort_transaction(
        &self,
        partition: &TopicPartition,
        producer_id: i64,
        producer_epoch: i16,
        coordinator_epoch: i32,
    ) -> Result<(), ClientError> {
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id,
                producer_epoch,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: Text::from(&*partition.topic),
                    partition_indexes: vec![partition.partition],
                }],
                coordinator_epoch,
                ..WritableTxnMarker::default()
            }],
        };
        let mut answers = OffsetAnswers::<()>::new();
        let led = self
            .by_leader([partition].into_iter(), &mut answers)
            .await?;
        if let Some(refused) = answers.into_values().next() {
            return refused;
        }
        let node = led.into_keys().next().ok_or_else(|| lacks("Metadata"))?;
        let answer = self.ask_node(node, &request).await?;
        let result = answer.markers.into_iter().flat_map(|marker| marker.topics);
        let result = result.flat_map(|topic| topic.partitions).next();
        let result = result.ok_or_else(|| lacks("WriteTxnMarkers"))?;
        let what = format!("the transaction in {partition} was not aborted");
        ClientError::from_code(&what, result.error_code, None)
    }

    /// Begin anew with this transactional id: whoever used it is fenced, and what it left open is
    /// aborted.
    pub async fn fence_producer(&self, id: &str) -> Result<(), ClientError> {
        self.retry("fencing a producer", async || self.fence_once(id).await)
            .await
    }

    async fn fence_once(&self, id: &str) -> Result<(), ClientError> {
        let node = self.find_transaction_coordinator(id).await?;
        let connection = self.node(node, Lane::Calls).await?;
        let request = InitProducerIdRequest {
            transactional_id: Some(Text::from(id)),
            transaction_timeout_ms: self.request_timeout_ms(),
            producer_id: -1,
            producer_epoch: -1,
        };
        let answer = connection.ask(&request, self.patience()).await?;
        let what = format!("the producer of {id} was not fenced");
        ClientError::from_code(&what, answer.error_code, None)
    }
}

fn producer(
    state: ottla_protocol::messages::DescribeProducersProducerState,
) -> ProducerDescription {
    let epoch = state.coordinator_epoch;
    let start = state.current_txn_start_offset;
    ProducerDescription {
        id: state.producer_id,
        epoch: state.producer_epoch,
        last_sequence: state.last_sequence,
        last_timestamp: state.last_timestamp,
        coordinator_epoch: (epoch >= 0).then_some(epoch),
        open_since: (start >= 0).then_some(start),
    }
}

/// Whether a transactional id is not known.
pub fn is_unknown_transaction(error: &ClientError) -> bool {
    error.refusal() == Some(Refusal::TransactionalIdNotFound)
}

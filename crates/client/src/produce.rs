//! Records into batches, batches to leaders.
//!
//! One batch per partition is open; `flush` closes all and sends them, one request per leader at a
//! time, so that records of a partition keep their order. Not idempotent: a batch whose answer was
//! lost is sent again and may be stored twice.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::batch_builder::{BatchBuilder, NewHeader};
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla_protocol::{NodeId, Refusal, Text, TopicPartition, Uuid};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::{Cluster, Which};
use crate::connection::Connection;
use crate::fault::Fault;
use crate::partition::partition_for_key;

/// The last version that names topics.
const NAMES_UP_TO: i16 = 12;

/// Who must have a record before it counts as sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: not even errors come back.
    None,
    /// The leader.
    Leader,
    /// All replicas in sync.
    All,
}

#[derive(Debug, Clone)]
pub struct ProducerSettings {
    pub acks: Acks,
    pub codec: Codec,
    /// A batch of this size is sent.
    pub batch_size: usize,
    /// All open batches together; then they are sent.
    pub buffer_size: usize,
    /// How often a batch is sent again.
    pub retries: u32,
    pub retry_after: Duration,
    /// How long the leader may wait for its followers.
    pub timeout: Duration,
}

/// A record to send.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    pub topic: &'a str,
    /// `None`: by key, or any.
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [NewHeader<'a>],
    pub timestamp: i64,
}

/// A batch that could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    pub at: TopicPartition,
    pub n_records: i32,
    pub fault: Fault,
}

/// Sends records to the leaders of a cluster.
#[derive(Debug)]
pub struct Producer {
    cluster: Cluster,
    settings: ProducerSettings,
    open: BTreeMap<TopicPartition, BatchBuilder>,
    /// Moves on with each flush: records without keys fill one batch, then another partition's.
    turn: usize,
}

/// A batch on its way.
#[derive(Debug, Clone)]
struct Sealed {
    at: TopicPartition,
    topic_id: Uuid,
    n_records: i32,
    records: Bytes,
}

impl Producer {
    pub fn new(cluster: Cluster, settings: ProducerSettings) -> Self {
        Self {
            cluster,
            settings,
            open: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Puts a record into its batch, and sends what is full.
    pub async fn send(&mut self, record: NewRecord<'_>) -> Result<Vec<Undelivered>, Fault> {
        let partition = self.place(&record).await?;
        let at = TopicPartition::new(record.topic, partition);
        let codec = self.settings.codec;
        let batch = self
            .open
            .entry(at)
            .or_insert_with(|| BatchBuilder::data(codec));
        batch.push_with_headers(record.timestamp, record.key, record.value, record.headers);
        let buffered: usize = self.open.values().map(BatchBuilder::size).sum();
        let is_full = self
            .open
            .values()
            .any(|batch| batch.size() >= self.settings.batch_size);
        if is_full || buffered >= self.settings.buffer_size {
            return Ok(self.flush().await);
        }
        Ok(Vec::new())
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    async fn place(&self, record: &NewRecord<'_>) -> Result<i32, Fault> {
        if let Some(partition) = record.partition {
            return Ok(partition);
        }
        let n = self.partitions_of(record.topic).await?;
        Ok(match record.key {
            Some(key) => partition_for_key(key, n),
            None => (self.turn % n) as i32,
        })
    }

    /// How many partitions a topic has; it may be made by asking.
    async fn partitions_of(&self, topic: &str) -> Result<usize, Fault> {
        let known = |view: &crate::View| view.topics.get(topic).map(|t| t.partitions.len());
        if let Some(n) = known(&self.cluster.view()).filter(|n| *n > 0) {
            return Ok(n);
        }
        let names = [topic.to_owned()];
        self.cluster
            .until_it_passes(|| async {
                let view = self.cluster.refresh(Which::OrMade(&names)).await?;
                let refusal = view.refused.get(topic).copied();
                let refusal = refusal.unwrap_or(Refusal::UnknownTopicOrPartition);
                known(&view).filter(|n| *n > 0).ok_or(refusal.into())
            })
            .await
    }

    /// Sends all open batches, again where that may help, and says which could not be delivered.
    pub async fn flush(&mut self) -> Vec<Undelivered> {
        self.turn = self.turn.wrapping_add(1);
        let open = std::mem::take(&mut self.open);
        let mut left: Vec<Sealed> = open
            .into_iter()
            .map(|(at, batch)| Sealed {
                at,
                topic_id: Uuid::ZERO,
                n_records: batch.n_records(),
                records: batch.finish(),
            })
            .collect();
        let mut undelivered = Vec::new();
        let mut tries = 0;
        while !left.is_empty() {
            let mut again = Vec::new();
            for (sealed, fault) in self.try_all(left).await {
                if fault.may_pass() && tries < self.settings.retries {
                    tracing::debug!(partition = %sealed.at, %fault, "sending again");
                    again.push(sealed);
                } else {
                    let Sealed { at, n_records, .. } = sealed;
                    undelivered.push(Undelivered {
                        at,
                        n_records,
                        fault,
                    });
                }
            }
            left = again;
            if !left.is_empty() {
                tries += 1;
                sleep(self.settings.retry_after).await;
                self.refresh(&left).await;
            }
        }
        undelivered
    }

    async fn refresh(&self, batches: &[Sealed]) {
        let mut topics: Vec<String> = batches.iter().map(|b| b.at.topic.to_string()).collect();
        topics.dedup();
        if let Err(fault) = self.cluster.refresh(Which::Named(&topics)).await {
            tracing::debug!(%fault, "no news of the cluster");
        }
    }

    /// Sends each batch once; returns those that did not arrive.
    async fn try_all(&self, batches: Vec<Sealed>) -> Vec<(Sealed, Fault)> {
        let mut failed = Vec::new();
        let mut by_leader: BTreeMap<NodeId, Vec<Sealed>> = BTreeMap::new();
        for sealed in batches {
            match self.cluster.partition(&sealed.at).await {
                Ok((partition, topic_id)) => {
                    by_leader
                        .entry(partition.leader)
                        .or_default()
                        .push(Sealed { topic_id, ..sealed });
                }
                Err(fault) => failed.push((sealed, fault)),
            }
        }
        let mut requests = JoinSet::new();
        for (leader, batches) in by_leader {
            let (cluster, settings) = (self.cluster.clone(), self.settings.clone());
            requests.spawn(async move { send_to(&cluster, leader, &settings, batches).await });
        }
        while let Some(finished) = requests.join_next().await {
            failed.extend(finished.unwrap_or_default());
        }
        failed
    }
}

/// One request to one leader; what did not arrive.
async fn send_to(
    cluster: &Cluster,
    leader: NodeId,
    settings: &ProducerSettings,
    batches: Vec<Sealed>,
) -> Vec<(Sealed, Fault)> {
    let answer = async {
        let connection = cluster.node(leader).await?;
        ask(&connection, settings, &batches).await
    };
    match answer.await {
        Ok(None) => Vec::new(),
        Ok(Some(answer)) => failures(batches, &answer),
        Err(fault) => batches
            .into_iter()
            .map(|sealed| (sealed, fault.clone()))
            .collect(),
    }
}

/// `None` if no answer was asked for.
async fn ask(
    connection: &Connection,
    settings: &ProducerSettings,
    batches: &[Sealed],
) -> Result<Option<ProduceResponse>, Fault> {
    let has_ids = batches.iter().all(|sealed| !sealed.topic_id.is_zero());
    let at_most = if has_ids { i16::MAX } else { NAMES_UP_TO };
    let version = connection.version_up_to::<ProduceRequest>(at_most)?;
    let mut topics: BTreeMap<&str, TopicProduceData> = BTreeMap::new();
    for sealed in batches {
        let topic = topics.entry(&sealed.at.topic).or_default();
        topic.name = Text::from(&*sealed.at.topic);
        topic.topic_id = sealed.topic_id;
        topic.partition_data.push(PartitionProduceData {
            index: sealed.at.partition,
            records: Some(sealed.records.clone()),
        });
    }
    let request = ProduceRequest {
        acks: match settings.acks {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        },
        timeout_ms: i32::try_from(settings.timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: topics.into_values().collect(),
        ..ProduceRequest::default()
    };
    if settings.acks == Acks::None {
        connection.tell_at(&request, version).await?;
        return Ok(None);
    }
    connection.ask_at(&request, version).await.map(Some)
}

fn failures(batches: Vec<Sealed>, answer: &ProduceResponse) -> Vec<(Sealed, Fault)> {
    let outcome = |sealed: &Sealed| {
        let is_mine = |name: &Text, id: Uuid| {
            **name == *sealed.at.topic || (!id.is_zero() && id == sealed.topic_id)
        };
        let topic = answer
            .responses
            .iter()
            .find(|topic| is_mine(&topic.name, topic.topic_id));
        let partitions = topic
            .into_iter()
            .flat_map(|topic| &topic.partition_responses);
        let mut partitions = partitions.filter(|answered| answered.index == sealed.at.partition);
        match partitions.next() {
            Some(answered) => {
                let record = answered.record_errors.first();
                let record = record.and_then(|error| error.batch_index_error_message.as_deref());
                let message = record.or(answered.error_message.as_deref());
                Fault::check(answered.error_code, message)
            }
            None => Err(Refusal::UnknownServerError.into()),
        }
    };
    let with_fault = |sealed: Sealed| outcome(&sealed).err().map(|fault| (sealed, fault));
    batches.into_iter().filter_map(with_fault).collect()
}

//! The fetch loop: positions, leaders, and what to do when an offset is not there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::messages::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use ottla_protocol::{LeaderEpoch, NodeId, Offset, Refusal, Text, TopicPartition, Uuid};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::admin::{self, At};
use crate::cluster::{Cluster, RETRY_AFTER, Which};
use crate::fault::Fault;
use crate::fetched::{self, Consumed};

/// The last version that names topics.
const NAMES_UP_TO: i16 = 12;

/// Which records are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

/// What to do where there is no position, or one that the log does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    Earliest,
    Latest,
    /// Say so.
    Fail,
}

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    At(Offset),
    Earliest,
    Latest,
    /// As `Reset` says.
    Anywhere,
}

#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    pub isolation: Isolation,
    pub reset: Reset,
    /// A fetch is answered when this much is there,
    pub min_bytes: i32,
    /// or after this time.
    pub max_wait: Duration,
    /// Of one fetch,
    pub max_bytes: i32,
    /// and of one partition in it.
    pub partition_max_bytes: i32,
}

impl Default for ConsumerSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            isolation: Isolation::ReadUncommitted,
            reset: Reset::Latest,
            min_bytes: 1,
            max_wait: Duration::from_millis(500),
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
        }
    }
}

/// Reads partitions from where it stands.
#[derive(Debug)]
pub struct Consumer {
    cluster: Cluster,
    settings: ConsumerSettings,
    positions: BTreeMap<TopicPartition, Start>,
}

/// One partition in one fetch.
#[derive(Debug, Clone)]
struct Ask {
    at: TopicPartition,
    topic_id: Uuid,
    offset: Offset,
    leader_epoch: LeaderEpoch,
}

impl Consumer {
    pub fn new(cluster: Cluster, settings: ConsumerSettings) -> Self {
        Self {
            cluster,
            settings,
            positions: BTreeMap::new(),
        }
    }

    /// These partitions, and no others.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, Start)>) {
        self.positions = partitions.into_iter().collect();
    }

    pub fn seek(&mut self, at: &TopicPartition, offset: Offset) {
        if let Some(position) = self.positions.get_mut(at) {
            *position = Start::At(offset);
        }
    }

    /// The next offset of each partition that has been read from.
    pub fn positions(&self) -> BTreeMap<TopicPartition, Offset> {
        let known = |(at, start): (&TopicPartition, &Start)| match start {
            Start::At(offset) => Some((at.clone(), *offset)),
            _ => None,
        };
        self.positions.iter().filter_map(known).collect()
    }

    /// The next records, or none after a while.
    pub async fn poll(&mut self) -> Result<Vec<Consumed>, Fault> {
        self.find_positions().await?;
        let asks = self.asks().await?;
        if asks.is_empty() {
            sleep(self.settings.max_wait).await;
            return Ok(Vec::new());
        }
        let mut fetches = JoinSet::new();
        for (leader, asks) in asks {
            let (cluster, settings) = (self.cluster.clone(), self.settings.clone());
            fetches.spawn(async move {
                let answer = fetch(&cluster, leader, &settings, &asks).await;
                (asks, answer)
            });
        }
        let mut records = Vec::new();
        while let Some(Ok((asks, answer))) = fetches.join_next().await {
            match answer {
                Ok(answer) => self.take(&asks, answer, &mut records).await?,
                Err(fault) => self.ask_anew(&asks, fault).await?,
            }
        }
        Ok(records)
    }

    /// Turns "earliest" and its like into offsets.
    async fn find_positions(&mut self) -> Result<(), Fault> {
        let mut wanted = BTreeMap::new();
        for (at, start) in &self.positions {
            let special = match (start, self.settings.reset) {
                (Start::At(_), _) => continue,
                (Start::Earliest, _) | (Start::Anywhere, Reset::Earliest) => At::Earliest,
                (Start::Latest, _) | (Start::Anywhere, Reset::Latest) => At::Latest,
                (Start::Anywhere, Reset::Fail) => {
                    return Err(Fault::Invalid {
                        why: format!("{at} has no committed offset"),
                    });
                }
            };
            wanted.insert(at.clone(), special);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let found = admin::list_offsets(&self.cluster, &wanted, self.settings.isolation).await?;
        for (at, offset) in found {
            self.positions.insert(at, Start::At(offset?.offset));
        }
        Ok(())
    }

    async fn asks(&self) -> Result<BTreeMap<NodeId, Vec<Ask>>, Fault> {
        let mut asks: BTreeMap<NodeId, Vec<Ask>> = BTreeMap::new();
        for (at, start) in &self.positions {
            let Start::At(offset) = *start else { continue };
            let (partition, topic_id) = self.cluster.partition(at).await?;
            let leader_epoch = partition.leader_epoch;
            let ask = Ask {
                at: at.clone(),
                topic_id,
                offset,
                leader_epoch,
            };
            asks.entry(partition.leader).or_default().push(ask);
        }
        Ok(asks)
    }

    async fn take(
        &mut self,
        asks: &[Ask],
        answer: FetchResponse,
        records: &mut Vec<Consumed>,
    ) -> Result<(), Fault> {
        Fault::check(answer.error_code, None)?;
        let by_place: HashMap<(&str, i32), &Ask> = asks
            .iter()
            .map(|ask| ((&*ask.at.topic, ask.at.partition), ask))
            .collect();
        let name_of = |id: Uuid| {
            asks.iter()
                .find(|ask| ask.topic_id == id)
                .map(|ask| &*ask.at.topic)
        };
        for topic in &answer.responses {
            let name = if topic.topic_id.is_zero() {
                Some(&*topic.topic)
            } else {
                name_of(topic.topic_id)
            };
            let Some(name) = name else { continue };
            for partition in &topic.partitions {
                let Some(ask) = by_place.get(&(name, partition.partition_index)) else {
                    continue;
                };
                match Fault::check(partition.error_code, None) {
                    Err(fault) => self.refused(ask, fault).await?,
                    Ok(()) => {
                        let aborted = match self.settings.isolation {
                            Isolation::ReadCommitted => Some(
                                partition
                                    .aborted_transactions
                                    .as_deref()
                                    .unwrap_or_default(),
                            ),
                            Isolation::ReadUncommitted => None,
                        };
                        let bytes = partition.records.as_deref().unwrap_or_default();
                        let topic: &Arc<str> = &ask.at.topic;
                        let read =
                            fetched::records(topic, ask.at.partition, bytes, ask.offset, aborted);
                        let (found, next) = read.map_err(|why| Fault::BadAnswer {
                            api: "Fetch",
                            why: format!("{} at {}: {why:?}", ask.at, ask.offset),
                        })?;
                        records.extend(found);
                        self.seek(&ask.at, next);
                    }
                }
            }
        }
        Ok(())
    }

    async fn refused(&mut self, ask: &Ask, fault: Fault) -> Result<(), Fault> {
        if fault.refusal() == Some(Refusal::OffsetOutOfRange) && self.settings.reset != Reset::Fail
        {
            tracing::warn!(partition = %ask.at, offset = ask.offset, "the offset is out of range");
            self.positions.insert(ask.at.clone(), Start::Anywhere);
            return Ok(());
        }
        self.ask_anew(std::slice::from_ref(ask), fault).await
    }

    /// The leader may have moved.
    async fn ask_anew(&self, asks: &[Ask], fault: Fault) -> Result<(), Fault> {
        if !fault.may_pass() {
            return Err(fault);
        }
        tracing::debug!(%fault, "asking who leads");
        let mut topics: Vec<String> = asks.iter().map(|ask| ask.at.topic.to_string()).collect();
        topics.dedup();
        sleep(RETRY_AFTER).await;
        if let Err(fault) = self.cluster.refresh(Which::Named(&topics)).await {
            tracing::debug!(%fault, "no news of the cluster");
        }
        Ok(())
    }
}

async fn fetch(
    cluster: &Cluster,
    leader: NodeId,
    settings: &ConsumerSettings,
    asks: &[Ask],
) -> Result<FetchResponse, Fault> {
    let connection = cluster.node(leader).await?;
    let has_ids = asks.iter().all(|ask| !ask.topic_id.is_zero());
    let at_most = if has_ids { i16::MAX } else { NAMES_UP_TO };
    let version = connection.version_up_to::<FetchRequest>(at_most)?;
    let mut topics: BTreeMap<&str, FetchTopic> = BTreeMap::new();
    for ask in asks {
        let topic = topics.entry(&ask.at.topic).or_default();
        topic.topic = Text::from(&*ask.at.topic);
        topic.topic_id = ask.topic_id;
        topic.partitions.push(FetchPartition {
            partition: ask.at.partition,
            current_leader_epoch: ask.leader_epoch,
            fetch_offset: ask.offset,
            partition_max_bytes: settings.partition_max_bytes,
            ..FetchPartition::default()
        });
    }
    let request = FetchRequest {
        max_wait_ms: i32::try_from(settings.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: settings.min_bytes,
        max_bytes: settings.max_bytes,
        isolation_level: match settings.isolation {
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        },
        topics: topics.into_values().collect(),
        ..FetchRequest::default()
    };
    connection.ask_at(&request, version).await
}

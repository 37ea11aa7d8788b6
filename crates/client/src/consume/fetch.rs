//! One Fetch at one leader, without a session: what is asked fits into every request.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::{FetchPartition, FetchPartitionData, FetchRequest, FetchTopic};
use ottla_protocol::{NodeId, Offset, Refusal, Text, TopicPartition, Uuid};

use super::ConsumerSettings;
use crate::cluster::{Ask, Cluster};
use crate::error::ClientError;
use crate::pool::Lane;

/// Fetch names topics up to this version, and has their ids after it.
const LAST_WITH_NAMES: i16 = 12;
/// In place of a node, where none was asked.
pub(super) const NOBODY: NodeId = -1;
/// Of a request without a session.
const NO_SESSION_EPOCH: i32 = -1;

#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) partition: TopicPartition,
    pub(super) topic_id: Uuid,
    pub(super) offset: Offset,
    pub(super) leader_epoch: i32,
}

type Answers = Vec<(Wanted, FetchPartitionData<Bytes>)>;

#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) node: NodeId,
    pub(super) answer: Result<Answers, ClientError>,
}

pub(super) async fn fetch(
    cluster: Arc<Cluster>,
    settings: Arc<ConsumerSettings>,
    node: NodeId,
    wanted: Vec<Wanted>,
) -> Fetched {
    let answer = ask(&cluster, &settings, node, &wanted).await;
    if answer.is_err() {
        // The leader may be gone; who leads now?
        refresh(cluster, topics_of(&wanted)).await;
    }
    Fetched { node, answer }
}

/// Learn anew who leads these topics.
pub(super) async fn refresh(cluster: Arc<Cluster>, topics: Vec<Arc<str>>) -> Fetched {
    let refreshed = cluster.refresh(Ask::Named(&topics)).await;
    Fetched {
        node: NOBODY,
        answer: refreshed.map(|_| Vec::new()),
    }
}

fn topics_of(wanted: &[Wanted]) -> Vec<Arc<str>> {
    let mut topics: Vec<_> = wanted
        .iter()
        .map(|w| Arc::clone(&w.partition.topic))
        .collect();
    topics.sort();
    topics.dedup();
    topics
}

async fn ask(
    cluster: &Cluster,
    settings: &ConsumerSettings,
    node: NodeId,
    wanted: &[Wanted],
) -> Result<Answers, ClientError> {
    let connection = cluster.node(node, Lane::Fetch).await?;
    let has_ids = wanted.iter().all(|wanted| !wanted.topic_id.is_zero());
    let limit = if has_ids { i16::MAX } else { LAST_WITH_NAMES };
    let patience = cluster.patience() + settings.max_wait;
    let answer = connection
        .ask_up_to(&request(settings, wanted), limit, patience)
        .await?;
    ClientError::from_code("records were not given", answer.error_code, None)?;
    let mut by_key: HashMap<(Text, Uuid, i32), &Wanted> = HashMap::new();
    for wanted in wanted {
        let (name, n) = (
            Text::from(&*wanted.partition.topic),
            wanted.partition.partition,
        );
        by_key.insert((name, Uuid::ZERO, n), wanted);
        by_key.insert((Text::new(), wanted.topic_id, n), wanted);
    }
    let mut answers = Vec::new();
    for topic in answer.responses {
        for partition in topic.partitions {
            let key = (
                topic.topic.clone(),
                topic.topic_id,
                partition.partition_index,
            );
            if let Some(&wanted) = by_key.get(&key) {
                answers.push((wanted.clone(), partition));
            }
        }
    }
    if answers.is_empty() && !wanted.is_empty() {
        return Err(ClientError::refused(
            "no records were given",
            Refusal::UnknownTopicId,
        ));
    }
    Ok(answers)
}

fn request(settings: &ConsumerSettings, wanted: &[Wanted]) -> FetchRequest {
    let mut topics: BTreeMap<&Arc<str>, FetchTopic> = BTreeMap::new();
    for wanted in wanted {
        let topic = &wanted.partition.topic;
        let entry = topics.entry(topic).or_insert_with(|| FetchTopic {
            topic: Text::from(&**topic),
            topic_id: wanted.topic_id,
            partitions: Vec::new(),
        });
        entry.partitions.push(FetchPartition {
            partition: wanted.partition.partition,
            current_leader_epoch: wanted.leader_epoch,
            fetch_offset: wanted.offset,
            partition_max_bytes: settings.max_partition_bytes,
            ..FetchPartition::default()
        });
    }
    FetchRequest {
        max_wait_ms: i32::try_from(settings.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: settings.min_bytes,
        max_bytes: settings.max_bytes,
        isolation_level: settings.isolation.number(),
        session_epoch: NO_SESSION_EPOCH,
        topics: topics.into_values().collect(),
        ..FetchRequest::default()
    }
}

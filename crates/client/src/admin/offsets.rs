//! ListOffsets: where partitions begin, end, or were at a time.

use std::collections::BTreeMap;

use ottla_protocol::messages::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla_protocol::{LeaderEpoch, NodeId, Offset, Refusal, Text, TopicPartition};
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Which};
use crate::consume::Isolation;
use crate::fault::Fault;

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Earliest,
    Latest,
    /// The first record at or after this time.
    Time(i64),
}

impl At {
    /// Kafka's numbers for the special places.
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::Time(ms) => ms,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// -1: no record is that late.
    pub offset: Offset,
    pub timestamp: i64,
    pub leader_epoch: LeaderEpoch,
}

/// Asks each leader; what may pass is tried again.
pub async fn list_offsets(
    cluster: &Cluster,
    wanted: &BTreeMap<TopicPartition, At>,
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, Result<FoundOffset, Fault>>, Fault> {
    cluster
        .until_it_passes(|| async {
            let found = ask_all(cluster, wanted, isolation).await?;
            match found
                .values()
                .find_map(|one| one.as_ref().err().filter(|f| f.may_pass()))
            {
                Some(fault) => {
                    let fault = fault.clone();
                    let mut topics: Vec<String> =
                        wanted.keys().map(|at| at.topic.to_string()).collect();
                    topics.dedup();
                    cluster.refresh(Which::Named(&topics)).await?;
                    Err(fault)
                }
                None => Ok(found),
            }
        })
        .await
}

async fn ask_all(
    cluster: &Cluster,
    wanted: &BTreeMap<TopicPartition, At>,
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, Result<FoundOffset, Fault>>, Fault> {
    let mut by_leader: BTreeMap<NodeId, BTreeMap<&str, ListOffsetsTopic>> = BTreeMap::new();
    for (at, place) in wanted {
        let (partition, _) = cluster.partition(at).await?;
        let topics = by_leader.entry(partition.leader).or_default();
        let topic = topics.entry(&at.topic).or_default();
        topic.name = Text::from(&*at.topic);
        topic.partitions.push(ListOffsetsPartition {
            partition_index: at.partition,
            current_leader_epoch: partition.leader_epoch,
            timestamp: place.timestamp(),
        });
    }
    let mut requests = JoinSet::new();
    for (leader, topics) in by_leader {
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: i8::from(isolation == Isolation::ReadCommitted),
            topics: topics.into_values().collect(),
            timeout_ms: i32::try_from(cluster.request_timeout().as_millis()).unwrap_or(i32::MAX),
        };
        let cluster = cluster.clone();
        requests.spawn(async move { cluster.node(leader).await?.ask(&request).await });
    }
    let mut found = BTreeMap::new();
    while let Some(answer) = requests.join_next().await {
        let answer = answer.map_err(|_| Fault::from(Refusal::UnknownServerError))??;
        for topic in answer.topics {
            for partition in topic.partitions {
                let at = TopicPartition::new(&*topic.name, partition.partition_index);
                let one = Fault::check(partition.error_code, None).map(|()| FoundOffset {
                    offset: partition.offset,
                    timestamp: partition.timestamp,
                    leader_epoch: partition.leader_epoch,
                });
                found.insert(at, one);
            }
        }
    }
    Ok(found)
}

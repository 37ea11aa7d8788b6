//! What is put under load: brokers, a topic and its leaders. Asked with the ordinary client,
//! before the clock of the run is started.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use ottla_client::{
    Address, Ask, At, ClientError, ClientSettings, Cluster, Isolation, Lane, TopicView, View,
    is_retriable,
};
use ottla_protocol::messages::InitProducerIdRequest;
use ottla_protocol::{NodeId, Offset, Refusal, Request, Text, TopicPartition, Uuid, frame};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::{Instant, sleep};

use super::asker::question;
use super::assign::{Share, assign};
use super::fetcher::Position;
use super::wire::Wire;
use crate::commands::connect::{Connect, Way};

pub(super) const CLIENT_ID: &str = "ottla-bench";

/// A topic that was just made may be news to the broker that is asked.
const NEW_TOPIC_PATIENCE: Duration = Duration::from_secs(3);
const NEW_TOPIC_LOOK: Duration = Duration::from_millis(50);
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Until a connection that was just opened has answered.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// What Metadata about no topic is at most, on the largest of clusters.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// What is open besides the connections of the load.
const OTHER_FILES: usize = 32;

#[derive(Debug)]
pub(super) struct Target {
    cluster: Arc<Cluster>,
    view: Arc<View>,
    pub(super) topic: Arc<str>,
    /// Of each partition that is used, by number.
    leaders: Vec<(i32, NodeId)>,
}

/// The producer of a transactional id.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) coordinator: NodeId,
    pub(super) address: Address,
    /// Id and epoch.
    pub(super) producer: (i64, i16),
}

pub(super) async fn cluster(connect: &Connect) -> anyhow::Result<Arc<Cluster>> {
    let settings = ClientSettings {
        client_id: CLIENT_ID.to_owned(),
        connect_timeout: CONNECT_PATIENCE,
        ..ClientSettings::default()
    };
    connect.cluster(settings).await
}

impl Target {
    /// The first `n_partitions` of a topic, or all.
    pub(super) async fn find(
        connect: &Connect,
        topic: &str,
        n_partitions: Option<usize>,
    ) -> anyhow::Result<Self> {
        let cluster = cluster(connect).await?;
        let topic: Arc<str> = Arc::from(topic);
        let deadline = Instant::now() + NEW_TOPIC_PATIENCE;
        loop {
            let view = cluster
                .refresh(Ask::Named(std::slice::from_ref(&topic)))
                .await?;
            match leaders(&topic, view.topics.get(&topic), n_partitions)? {
                Ok(leaders) => {
                    let target = Self {
                        cluster,
                        view,
                        topic,
                        leaders,
                    };
                    // A leader may be named before it has made its log.
                    let isolation = Isolation::ReadUncommitted;
                    target.offsets(At::Latest, isolation).await?;
                    return Ok(target);
                }
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(NEW_TOPIC_LOOK).await,
            }
        }
    }

    pub(super) fn n_partitions(&self) -> usize {
        self.leaders.len()
    }

    pub(super) fn topic_id(&self) -> anyhow::Result<Uuid> {
        let view = self.view.topics.get(&self.topic);
        let id = view.map(|view| view.id).filter(|id| !id.is_zero());
        id.with_context(|| format!("the broker tells no id of topic {}", self.topic))
    }

    pub(super) fn n_leaders(&self) -> usize {
        let mut nodes: Vec<_> = self.leaders.iter().map(|(_, node)| *node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len()
    }

    /// The brokers must know just this version: what is sent is built for it.
    pub(super) async fn must_serve<R: Request>(&self, version: i16) -> anyhow::Result<()> {
        let connection = self.cluster.any(Lane::Calls).await?;
        let newest = connection.versions().newest::<R>(version)?;
        ensure!(
            newest == version,
            "the broker does not serve {} in version {version}",
            R::NAME
        );
        Ok(())
    }

    /// So many connections, each to a broker that leads what it is for.
    pub(super) fn open_all(
        &self,
        n_connections: usize,
    ) -> anyhow::Result<Vec<(Share<NodeId>, Wire)>> {
        make_room(n_connections)?;
        let shares = assign(&self.leaders, n_connections).map_err(|n_nodes| {
            anyhow::anyhow!(
                "{n_connections} connections are too few: the partitions of {} are led by {n_nodes} brokers",
                self.topic
            )
        })?;
        let opened = shares.into_iter().map(|share| {
            let node = self.view.nodes.get(&share.node);
            let node =
                node.with_context(|| format!("broker {} is not in the cluster", share.node))?;
            Ok((share, open_served(&node.address)?))
        });
        opened.collect()
    }

    /// Who coordinates each of these groups.
    pub(super) async fn coordinators(&self, groups: &[String]) -> anyhow::Result<Vec<Address>> {
        let mut found = Vec::with_capacity(groups.len());
        for group in groups {
            found.push(coordinator(&self.cluster, group).await?);
        }
        Ok(found)
    }

    /// An id of its own for an idempotent producer.
    pub(super) async fn identity(&self) -> anyhow::Result<(i64, i16)> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        };
        let asked = self.cluster.retry("getting a producer id", async || {
            let connection = self.cluster.any(Lane::Calls).await?;
            let answer = connection.ask(&request, self.cluster.patience()).await?;
            ClientError::from_code("no producer id was given", answer.error_code, None)?;
            Ok((answer.producer_id, answer.producer_epoch))
        });
        Ok(asked.await?)
    }

    /// A level that the cluster has agreed on: what is sent rests on it.
    pub(super) async fn must_have(&self, feature: &str, level: i16) -> anyhow::Result<()> {
        let features = self.cluster.features(None).await?;
        let found = features.finalized.get(feature).copied().unwrap_or_default();
        ensure!(
            found >= level,
            "the cluster's {feature} is {found}, and {level} is needed"
        );
        Ok(())
    }

    /// Become the producer of a transactional id; whoever was it is fenced.
    pub(super) async fn transactional(&self, id: &str, timeout_ms: i32) -> anyhow::Result<Begun> {
        let request = InitProducerIdRequest {
            transactional_id: Some(Text::from(id)),
            transaction_timeout_ms: timeout_ms,
            ..InitProducerIdRequest::default()
        };
        let asked = self.cluster.retry("becoming a producer", async || {
            let node = self.cluster.find_transaction_coordinator(id).await?;
            let connection = self.cluster.node(node, Lane::Calls).await?;
            let answer = connection.ask(&request, self.cluster.patience()).await?;
            let what = format!("no producer was made for transactional id {id}");
            ClientError::from_code(&what, answer.error_code, None)?;
            Ok(Begun {
                coordinator: node,
                address: connection.address().clone(),
                producer: (answer.producer_id, answer.producer_epoch),
            })
        });
        Ok(asked.await?)
    }

    /// The partitions that a node leads, of those that are used.
    pub(super) fn led_by(&self, node: NodeId) -> Vec<i32> {
        let led = self.leaders.iter().filter(|(_, leader)| *leader == node);
        led.map(|(partition, _)| *partition).collect()
    }

    /// Where the partitions begin now, and where what this isolation reads ends.
    pub(super) async fn positions(&self, isolation: Isolation) -> anyhow::Result<Vec<Position>> {
        let begins = self.offsets(At::Earliest, isolation).await?;
        let ends = self.offsets(At::Latest, isolation).await?;
        let both = begins.into_iter().zip(ends);
        Ok(both
            .map(|((partition, begin), (_, end))| Position {
                partition,
                next: begin,
                begin,
                end,
            })
            .collect())
    }

    /// By partition, in their order; waits for leaders that are not ready.
    async fn offsets(&self, at: At, isolation: Isolation) -> anyhow::Result<Vec<(i32, Offset)>> {
        let named = self.leaders.iter().map(|(partition, _)| {
            let name = TopicPartition::new(Arc::clone(&self.topic), *partition);
            (name, at)
        });
        let named: Vec<_> = named.collect();
        let answers = self.cluster.list_offsets(&named, isolation).await;
        let found = answers.into_iter().map(|(partition, answer)| {
            let found =
                answer.with_context(|| format!("the offsets of {partition} are not known"))?;
            Ok((partition.partition, found.offset))
        });
        found.collect()
    }
}

/// Who coordinates a group; the first one of a cluster may have to wait for the topic of all groups.
pub(super) async fn coordinator(cluster: &Cluster, group: &str) -> anyhow::Result<Address> {
    let asked = cluster.retry("finding a coordinator", async || {
        let connection = cluster.coordinator(group, Lane::Calls).await?;
        Ok(connection.address().clone())
    });
    Ok(asked.await?)
}

/// The outer error does not pass; the inner one may.
fn leaders(
    topic: &str,
    view: Option<&TopicView>,
    n_partitions: Option<usize>,
) -> anyhow::Result<anyhow::Result<Vec<(i32, NodeId)>>> {
    let Some(view) = view else {
        bail!("the broker says nothing of topic {topic}");
    };
    match view.refusal {
        Some(Refusal::UnknownTopicOrPartition) => {
            return Ok(Err(anyhow::anyhow!(
                "there is no topic {topic}; `ottla topics --create --topic {topic}` makes it"
            )));
        }
        Some(refusal) => {
            let error = ClientError::refused(format!("topic {topic} cannot be used"), refusal);
            return if is_retriable(refusal) {
                Ok(Err(error.into()))
            } else {
                Err(error.into())
            };
        }
        None => {}
    }
    let n_there = view.partitions.len();
    let n = n_partitions.unwrap_or(n_there);
    ensure!(
        n <= n_there,
        "topic {topic} has {n_there} partitions, and not {n}"
    );
    let used = view.partitions.iter().take(n);
    if let Some((partition, _)) = used.clone().find(|(_, view)| view.leader < 0) {
        return Ok(Err(anyhow::anyhow!("{topic}-{partition} has no leader")));
    }
    Ok(Ok(used
        .map(|(partition, view)| (*partition, view.leader))
        .collect()))
}

/// Raise the limit of open files as far as it goes; a sentence if that is not enough.
pub(super) fn make_room(n_connections: usize) -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let needed = (n_connections + OTHER_FILES) as u64;
    if limit.current.is_none_or(|soft| soft >= needed) {
        return Ok(());
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let is_enough = limit.maximum.is_none_or(|hard| hard >= needed);
    ensure!(
        is_enough && setrlimit(Resource::Nofile, raised).is_ok(),
        "{n_connections} connections need {needed} open files, and {} are allowed (ulimit -n)",
        limit.maximum.unwrap_or_default()
    );
    Ok(())
}

/// So many connections to one broker.
pub(super) fn open_many(address: &Address, n: usize) -> anyhow::Result<Vec<Wire>> {
    let open = |at| {
        let what = || format!("connection {at} of {n}");
        open_served(address).with_context(what)
    };
    (1..=n).map(open).collect()
}

/// Open a connection and have one answer: then the broker has really taken it, and the next one finds
/// room in the listener's backlog (50 by default; who finds none tries again after seconds).
pub(super) fn open_served(address: &Address) -> anyhow::Result<Wire> {
    let mut stream = open(address)?;
    let hung_up = || format!("the broker at {address} does not answer on a new connection");
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream
        .write_all(&question(CLIENT_ID)?)
        .with_context(hung_up)?;
    let mut prefix = [0; frame::LENGTH_BYTES];
    stream.read_exact(&mut prefix).with_context(hung_up)?;
    let n = frame::length(prefix, ANSWER_BYTES_MAX).with_context(hung_up)?;
    ensure!(n >= frame::LENGTH_BYTES, "{}", hung_up());
    let mut answer = vec![0; n];
    stream.read_exact(&mut answer).with_context(hung_up)?;
    Wire::new(stream, address.clone())
}

fn open(address: &Address) -> anyhow::Result<TcpStream> {
    let what = || format!("the broker at {address} cannot be reached");
    let mut last = None;
    for at in (address.host.as_str(), address.port)
        .to_socket_addrs()
        .with_context(what)?
    {
        match TcpStream::connect_timeout(&at, CONNECT_PATIENCE) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error).with_context(what),
        None => bail!("{}: its name has no address", what()),
    }
}

//! What the cluster looks like, who leads what, and how to ask the right node.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ottla_protocol::messages::{
    FindCoordinatorRequest, MetadataRequest, MetadataRequestTopic, MetadataResponse,
};
use ottla_protocol::{LeaderEpoch, NodeId, Refusal, Request, Text, TopicPartition, Uuid};
use tokio::time::{Instant, sleep};

use crate::connection::Connection;
use crate::fault::Fault;
use crate::pool::Pool;

/// Between two tries of something that may pass.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(100);
/// FindCoordinator names several keys from here on.
const SEVERAL_KEYS_FROM: i16 = 4;

/// How to reach a cluster.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// `host:port`, any of them.
    pub bootstrap: Vec<String>,
    pub client_id: String,
    /// For one request, and for everything that is tried again until it passes.
    pub request_timeout: Duration,
}

/// A cluster; clones share connections and what is known.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: ClusterSettings,
    pool: Pool,
    view: RwLock<Arc<View>>,
}

/// What was known when it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub cluster_id: Option<String>,
    pub controller: NodeId,
    pub brokers: BTreeMap<NodeId, Broker>,
    /// Topics that were asked for and exist.
    pub topics: BTreeMap<String, Topic>,
    /// Topics that were asked for and are refused.
    pub refused: BTreeMap<String, Refusal>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topic {
    pub id: Uuid,
    pub is_internal: bool,
    pub partitions: BTreeMap<i32, Partition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// -1 if there is none.
    pub leader: NodeId,
    pub leader_epoch: LeaderEpoch,
    pub replicas: Vec<NodeId>,
    pub in_sync: Vec<NodeId>,
    pub offline: Vec<NodeId>,
}

/// Which topics a refresh asks for.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    All,
    Named(&'a [String]),
    /// As `Named`, and topics that are missing may be made.
    OrMade(&'a [String]),
}

impl Cluster {
    /// Finds the cluster through the first broker that answers.
    pub async fn connect(settings: ClusterSettings) -> Result<Self, Fault> {
        if settings.bootstrap.is_empty() {
            return Err(Fault::Invalid {
                why: "no bootstrap server is given".into(),
            });
        }
        let pool = Pool::new(settings.client_id.clone(), settings.request_timeout);
        let cluster = Self(Arc::new(Inner {
            settings,
            pool,
            view: RwLock::default(),
        }));
        cluster
            .until_it_passes(|| cluster.refresh(Which::Named(&[])))
            .await?;
        Ok(cluster)
    }

    pub fn request_timeout(&self) -> Duration {
        self.0.settings.request_timeout
    }

    /// What is known.
    pub fn view(&self) -> Arc<View> {
        self.0
            .view
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks anew. Topics that were not asked for stay as they were.
    pub async fn refresh(&self, which: Which<'_>) -> Result<Arc<View>, Fault> {
        let (names, may_make) = match which {
            Which::All => (None, false),
            Which::Named(names) => (Some(names), false),
            Which::OrMade(names) => (Some(names), true),
        };
        let topic = |name: &String| MetadataRequestTopic {
            name: Some(Text::from(name.as_str())),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: names.map(|names| names.iter().map(topic).collect()),
            allow_auto_topic_creation: may_make,
            ..MetadataRequest::default()
        };
        let answer = self.any().await?.ask(&request).await?;
        let mut view = self.0.view.write().unwrap_or_else(PoisonError::into_inner);
        *view = Arc::new(view.merged(answer, names.is_none()));
        Ok(view.clone())
    }

    /// A connection to some broker: one that is known, or else a bootstrap server.
    pub async fn any(&self) -> Result<Connection, Fault> {
        let known = self.view();
        let addresses = known.brokers.values().map(|broker| broker.address());
        let mut last = Fault::Invalid {
            why: "no broker is known".into(),
        };
        for address in addresses.chain(self.0.settings.bootstrap.iter().cloned()) {
            match self.0.pool.to(&address).await {
                Ok(connection) => return Ok(connection),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }

    /// A connection to this node.
    pub async fn node(&self, node: NodeId) -> Result<Connection, Fault> {
        let address = self.view().brokers.get(&node).map(Broker::address);
        let address = address.ok_or(Fault::from(Refusal::BrokerNotAvailable))?;
        self.0.pool.to(&address).await
    }

    /// Asks any broker, again until it passes.
    pub async fn ask<R: Request>(&self, request: &R) -> Result<R::Response, Fault> {
        self.until_it_passes(|| async { self.any().await?.ask(request).await })
            .await
    }

    /// Asks the coordinator of a group; `code` finds the error that says it has moved.
    pub async fn ask_coordinator<R: Request>(
        &self,
        group: &str,
        request: &R,
        code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, Fault> {
        self.until_it_passes(|| async {
            let answer = self.coordinator(group).await?.ask(request).await?;
            match Fault::check(code(&answer), None) {
                Err(fault) if fault.may_pass() => Err(fault),
                _ => Ok(answer),
            }
        })
        .await
    }

    /// A connection to the coordinator of a group.
    pub async fn coordinator(&self, group: &str) -> Result<Connection, Fault> {
        let node = self.until_it_passes(|| self.coordinator_id(group)).await?;
        self.node(node).await
    }

    /// Which node coordinates a group.
    pub async fn coordinator_id(&self, group: &str) -> Result<NodeId, Fault> {
        let connection = self.any().await?;
        let version = connection.version_of::<FindCoordinatorRequest>()?;
        let mut request = FindCoordinatorRequest::default();
        if version >= SEVERAL_KEYS_FROM {
            request.coordinator_keys = vec![Text::from(group)];
        } else {
            request.key = Text::from(group);
        }
        let answer = connection.ask_at(&request, version).await?;
        let (code, node, message) = match answer.coordinators.first() {
            Some(found) => (found.error_code, found.node_id, &found.error_message),
            None => (answer.error_code, answer.node_id, &answer.error_message),
        };
        Fault::check(code, message.as_deref())?;
        if !self.view().brokers.contains_key(&node) {
            self.refresh(Which::Named(&[])).await?;
        }
        Ok(node)
    }

    /// The partition and its topic's id; asks anew if it is not known, or has no leader.
    pub async fn partition(&self, at: &TopicPartition) -> Result<(Partition, Uuid), Fault> {
        let names = [at.topic.to_string()];
        self.until_it_passes(|| async {
            if let Some(found) = self.view().led(at) {
                return Ok(found);
            }
            let view = self.refresh(Which::Named(&names)).await?;
            if let Some(refusal) = view.refused.get(&*at.topic) {
                return Err((*refusal).into());
            }
            view.led(at).ok_or(Refusal::LeaderNotAvailable.into())
        })
        .await
    }

    /// Tries again, a little later, what may pass, up to the request timeout.
    pub(crate) async fn until_it_passes<T, Try>(
        &self,
        mut attempt: impl FnMut() -> Try,
    ) -> Result<T, Fault>
    where
        Try: Future<Output = Result<T, Fault>>,
    {
        let deadline = Instant::now() + self.request_timeout();
        loop {
            match attempt().await {
                Err(fault) if fault.may_pass() && Instant::now() < deadline => {
                    tracing::debug!(%fault, "trying again");
                    sleep(RETRY_AFTER).await;
                }
                outcome => return outcome,
            }
        }
    }
}

impl Broker {
    pub fn address(&self) -> String {
        // An IPv6 address needs brackets before a port.
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl View {
    fn led(&self, at: &TopicPartition) -> Option<(Partition, Uuid)> {
        let topic = self.topics.get(&*at.topic)?;
        let partition = topic.partitions.get(&at.partition)?;
        (partition.leader >= 0).then(|| (partition.clone(), topic.id))
    }

    /// Every partition of a topic, in order.
    pub fn partitions_of(&self, topic: &str) -> Vec<TopicPartition> {
        let partitions = self
            .topics
            .get(topic)
            .into_iter()
            .flat_map(|t| t.partitions.keys());
        partitions
            .map(|partition| TopicPartition::new(topic, *partition))
            .collect()
    }

    fn merged(&self, answer: MetadataResponse, is_all: bool) -> Self {
        let mut view = Self {
            cluster_id: answer.cluster_id.as_deref().map(str::to_owned),
            controller: answer.controller_id,
            brokers: BTreeMap::new(),
            topics: if is_all {
                BTreeMap::new()
            } else {
                self.topics.clone()
            },
            refused: BTreeMap::new(),
        };
        for broker in answer.brokers {
            let known = Broker {
                host: broker.host.to_string(),
                port: broker.port,
                rack: broker.rack.as_deref().map(str::to_owned),
            };
            view.brokers.insert(broker.node_id, known);
        }
        for topic in answer.topics {
            let name = topic.name.as_deref().unwrap_or_default().to_owned();
            if let Some(refusal) = Refusal::from_code(topic.error_code) {
                view.topics.remove(&name);
                view.refused.insert(name, refusal);
                continue;
            }
            let partitions: HashMap<i32, Partition> = topic
                .partitions
                .into_iter()
                .map(|partition| {
                    let known = Partition {
                        leader: partition.leader_id,
                        leader_epoch: partition.leader_epoch,
                        replicas: partition.replica_nodes,
                        in_sync: partition.isr_nodes,
                        offline: partition.offline_replicas,
                    };
                    (partition.partition_index, known)
                })
                .collect();
            let partitions = partitions.into_iter().collect();
            let known = Topic {
                id: topic.topic_id,
                is_internal: topic.is_internal,
                partitions,
            };
            view.topics.insert(name, known);
        }
        view
    }
}

//! What the cluster looks like, and how to reach the node that can answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_protocol::messages::{
    DescribeClusterRequest, FindCoordinatorRequest, MetadataRequest, MetadataRequestTopic,
    MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};
use ottla_protocol::{NodeId, Refusal, Request, Text, TopicPartition, Uuid};
use tokio::time::{Instant, sleep};

use crate::address::Address;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::pool::{Lane, Pool};
use crate::settings::{ClientSettings, pause};

/// FindCoordinator asks for several keys from this version on.
const MANY_COORDINATORS_FROM: i16 = 4;

#[derive(Debug)]
pub struct Cluster {
    settings: Arc<ClientSettings>,
    bootstrap: Vec<Address>,
    pool: Pool,
    view: Mutex<Arc<View>>,
    coordinators: Mutex<HashMap<String, NodeId>>,
    doors: Doors,
}

/// Whose listeners we were given: controllers know no topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doors {
    Brokers,
    Controllers,
}

/// The cluster at one moment. Topics are those that somebody asked for.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub cluster_id: Option<String>,
    pub controller: NodeId,
    pub nodes: BTreeMap<NodeId, Node>,
    pub topics: BTreeMap<Arc<str>, TopicView>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub address: Address,
    pub rack: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct TopicView {
    pub id: Uuid,
    pub is_internal: bool,
    /// Why the cluster tells nothing of it.
    pub refusal: Option<Refusal>,
    pub partitions: BTreeMap<i32, PartitionView>,
    /// Where it stood in the broker's answer.
    pub place: usize,
    pub seen: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionView {
    /// -1 while there is none.
    pub leader: NodeId,
    pub leader_epoch: i32,
    pub replicas: Vec<NodeId>,
    pub in_sync: Vec<NodeId>,
    pub offline: Vec<NodeId>,
}

/// Which topics to ask about.
#[derive(Debug, Clone, Copy)]
pub enum Ask<'a> {
    All,
    Named(&'a [Arc<str>]),
    /// The same, and let the cluster create what it lacks, if it does that.
    Created(&'a [Arc<str>]),
}

impl View {
    /// The leader of a partition, if there is one that we can reach.
    pub fn leader(&self, partition: &TopicPartition) -> Option<&Node> {
        let topic = self.topics.get(&partition.topic)?;
        let leader = topic.partitions.get(&partition.partition)?.leader;
        self.nodes.get(&leader)
    }
}

impl Cluster {
    /// Learn the nodes from the first of these that answers.
    pub async fn connect(
        bootstrap: Vec<Address>,
        settings: ClientSettings,
    ) -> Result<Arc<Self>, ClientError> {
        Self::connect_to(Doors::Brokers, bootstrap, settings).await
    }

    pub async fn connect_to(
        doors: Doors,
        bootstrap: Vec<Address>,
        settings: ClientSettings,
    ) -> Result<Arc<Self>, ClientError> {
        let settings = Arc::new(settings);
        let cluster = Arc::new(Self {
            pool: Pool::new(Arc::clone(&settings)),
            settings,
            bootstrap,
            view: Mutex::default(),
            coordinators: Mutex::default(),
            doors,
        });
        let deadline = Instant::now() + cluster.settings.connect_timeout;
        let mut n = 0;
        while let Err(error) = cluster.refresh(Ask::Named(&[])).await {
            let wait = pause(cluster.settings.retry_backoff, n);
            n += 1;
            if !error.is_retriable() || Instant::now() + wait >= deadline {
                return Err(error);
            }
            sleep(wait).await;
        }
        Ok(cluster)
    }

    pub fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ask again. Topics that were asked for replace what was known of them; `All` replaces all.
    pub async fn refresh(&self, ask: Ask<'_>) -> Result<Arc<View>, ClientError> {
        if self.doors == Doors::Controllers {
            return self.refresh_controllers().await;
        }
        let (names, allow_auto_topic_creation) = match ask {
            Ask::All => (None, false),
            Ask::Named(names) => (Some(names), false),
            Ask::Created(names) => (Some(names), true),
        };
        let request = MetadataRequest {
            topics: names.map(|names| names.iter().map(|name| by_name(name)).collect()),
            allow_auto_topic_creation,
            ..MetadataRequest::default()
        };
        let connection = self.any(Lane::Calls).await?;
        let patience = self.settings.request_timeout;
        let answer = connection.ask(&request, patience).await?;
        ClientError::from_code("metadata was refused", answer.error_code, None)?;
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = View::clone(&view);
        next.take(answer, matches!(ask, Ask::All), Instant::now());
        *view = Arc::new(next);
        Ok(Arc::clone(&view))
    }

    /// The controllers, of which one leads. It is they who are then called nodes.
    async fn refresh_controllers(&self) -> Result<Arc<View>, ClientError> {
        let request = DescribeClusterRequest {
            endpoint_type: self.endpoint_type(),
            ..DescribeClusterRequest::default()
        };
        let connection = self.any(Lane::Calls).await?;
        let answer = connection.ask(&request, self.patience()).await?;
        let message = answer.error_message.as_deref();
        ClientError::from_code("the controllers are not told", answer.error_code, message)?;
        let nodes = answer.brokers.into_iter().map(|node| Node {
            id: node.broker_id,
            address: Address::told(&node.host, node.port),
            rack: None,
        });
        let next = View {
            cluster_id: Some(answer.cluster_id.to_string()),
            controller: answer.controller_id,
            nodes: nodes.map(|node| (node.id, node)).collect(),
            topics: BTreeMap::new(),
        };
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        *view = Arc::new(next);
        Ok(Arc::clone(&view))
    }

    /// What DescribeCluster calls those that we are connected to.
    pub(crate) fn endpoint_type(&self) -> i8 {
        match self.doors {
            Doors::Brokers => DescribeClusterRequest::BROKERS,
            Doors::Controllers => DescribeClusterRequest::CONTROLLERS,
        }
    }

    /// These topics, asked for again only if they are unknown, without a leader, or old news.
    pub async fn topics(&self, names: &[Arc<str>]) -> Result<Arc<View>, ClientError> {
        let view = self.view();
        let max_age = self.settings.metadata_max_age;
        let is_fresh = |name| {
            let known: Option<&TopicView> = view.topics.get(name);
            known.is_some_and(|topic| topic.is_usable(max_age))
        };
        if names.iter().all(is_fresh) {
            return Ok(view);
        }
        self.refresh(Ask::Named(names)).await
    }

    /// Any node that answers: known ones first, then those that we started with.
    pub async fn any(&self, lane: Lane) -> Result<Arc<Connection>, ClientError> {
        let view = self.view();
        let known = view.nodes.values().map(|node| (node.id, &node.address));
        // Bootstrap servers have no id yet; Kafka's clients number them from -1 down, too.
        let first = (1..).map(|n: NodeId| -n).zip(&self.bootstrap);
        let mut last = None;
        for (id, address) in known.chain(first) {
            match self.pool.connection(id, address, lane).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        let last = last.unwrap_or_else(|| ClientError::Invalid("no broker is named".to_owned()));
        if self.bootstrap.len() == 1 {
            return Err(last);
        }
        Err(ClientError::NobodyAnswers {
            addresses: self.bootstrap.clone(),
            last: Box::new(last),
        })
    }

    pub async fn node(&self, id: NodeId, lane: Lane) -> Result<Arc<Connection>, ClientError> {
        let view = self.view();
        let node = view.nodes.get(&id).ok_or_else(|| {
            ClientError::refused(
                format!("node {id} is not in the cluster"),
                Refusal::BrokerNotAvailable,
            )
        })?;
        self.pool.connection(id, &node.address, lane).await
    }

    /// Who may change the cluster. With KRaft any broker passes the request on.
    pub async fn controller(&self) -> Result<Arc<Connection>, ClientError> {
        let controller = self.view().controller;
        match self.node(controller, Lane::Calls).await {
            Ok(connection) => Ok(connection),
            Err(_) => self.any(Lane::Calls).await,
        }
    }

    /// The coordinator of a group, remembered until [`Self::forget_coordinator`].
    pub async fn coordinator(
        &self,
        group: &str,
        lane: Lane,
    ) -> Result<Arc<Connection>, ClientError> {
        let known = self.coordinators().get(group).copied();
        let id = match known {
            Some(id) => id,
            None => {
                let id = self
                    .find_coordinator(FindCoordinatorRequest::GROUP, group)
                    .await?;
                self.coordinators().insert(group.to_owned(), id);
                id
            }
        };
        let connection = self.node(id, lane).await;
        if connection.is_err() {
            self.forget_coordinator(group);
        }
        connection
    }

    /// Who coordinates a group, if we have asked.
    pub fn coordinator_of(&self, group: &str) -> Option<NodeId> {
        self.coordinators().get(group).copied()
    }

    pub fn forget_coordinator(&self, group: &str) {
        self.coordinators().remove(group);
    }

    /// Do something until it is done, it cannot be done, or the time for one call is over.
    pub async fn retry<T, E>(&self, what: &str, mut attempt: E) -> Result<T, ClientError>
    where
        E: AsyncFnMut() -> Result<T, ClientError>,
    {
        let deadline = Instant::now() + self.settings.api_timeout;
        let mut n = 0;
        loop {
            let error = match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) if error.is_retriable() => error,
                Err(error) => return Err(error),
            };
            let wait = pause(self.settings.retry_backoff, n);
            n += 1;
            if Instant::now() + wait >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, "{what}: trying again");
            sleep(wait).await;
        }
    }

    pub fn patience(&self) -> Duration {
        self.settings.request_timeout
    }

    fn coordinators(&self) -> std::sync::MutexGuard<'_, HashMap<String, NodeId>> {
        self.coordinators
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Who coordinates the transactions of an id.
    pub async fn find_transaction_coordinator(&self, id: &str) -> Result<NodeId, ClientError> {
        self.find_coordinator(FindCoordinatorRequest::TRANSACTION, id)
            .await
    }

    async fn find_coordinator(&self, key_type: i8, key: &str) -> Result<NodeId, ClientError> {
        let connection = self.any(Lane::Calls).await?;
        let version = connection
            .versions()
            .newest::<FindCoordinatorRequest>(i16::MAX)?;
        let what = match key_type {
            FindCoordinatorRequest::GROUP => format!("group {key}"),
            _ => format!("transactional id {key}"),
        };
        let what = format!("the coordinator of {what} cannot be found");
        let key = Text::from(key);
        let mut request = FindCoordinatorRequest {
            key_type,
            ..FindCoordinatorRequest::default()
        };
        if version >= MANY_COORDINATORS_FROM {
            request.coordinator_keys = vec![key];
        } else {
            request.key = key;
        }
        let answer = connection.ask(&request, self.patience()).await?;
        let (code, message, node) = match answer.coordinators.into_iter().next() {
            Some(one) => {
                let address = Address::told(&one.host, one.port);
                (one.error_code, one.error_message, (one.node_id, address))
            }
            None if version >= MANY_COORDINATORS_FROM => {
                return Err(ClientError::BadAnswer {
                    api: "FindCoordinatorRequest",
                    why: "it names no coordinator".to_owned(),
                });
            }
            None => {
                let address = Address::told(&answer.host, answer.port);
                (
                    answer.error_code,
                    answer.error_message,
                    (answer.node_id, address),
                )
            }
        };
        ClientError::from_code(&what, code, message.as_deref())?;
        let (id, address) = node;
        self.learn(id, address);
        Ok(id)
    }

    /// A coordinator may be news to us.
    fn learn(&self, id: NodeId, address: Address) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if view
            .nodes
            .get(&id)
            .is_some_and(|node| node.address == address)
        {
            return;
        }
        let mut next = View::clone(&view);
        let rack = None;
        next.nodes.insert(id, Node { id, address, rack });
        *view = Arc::new(next);
    }
}

/// Whether this connection serves an API at all.
pub fn serves<R: Request>(connection: &Connection) -> bool {
    connection.versions().serves::<R>()
}

fn by_name(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic {
        topic_id: Uuid::ZERO,
        name: Some(Text::from(name)),
    }
}

impl TopicView {
    fn is_usable(&self, max_age: Duration) -> bool {
        let is_fresh = self.seen.is_some_and(|seen| seen.elapsed() < max_age);
        let has_leaders = self
            .partitions
            .values()
            .all(|partition| partition.leader >= 0);
        is_fresh && self.refusal.is_none() && has_leaders
    }
}

impl View {
    fn take(&mut self, answer: MetadataResponse, is_all: bool, now: Instant) {
        self.cluster_id = answer.cluster_id.map(|id| id.to_string());
        self.controller = answer.controller_id;
        self.nodes = answer
            .brokers
            .into_iter()
            .map(|broker| {
                let node = Node {
                    id: broker.node_id,
                    address: Address::told(&broker.host, broker.port),
                    rack: broker.rack.map(|rack| rack.to_string()),
                };
                (node.id, node)
            })
            .collect();
        if is_all {
            self.topics.clear();
        }
        for (place, topic) in answer.topics.into_iter().enumerate() {
            let Some(name) = topic.name.as_deref() else {
                continue;
            };
            let name = Arc::from(name);
            self.topics.insert(name, TopicView::of(topic, place, now));
        }
    }
}

impl TopicView {
    fn of(topic: MetadataResponseTopic, place: usize, now: Instant) -> Self {
        Self {
            place,
            id: topic.topic_id,
            is_internal: topic.is_internal,
            refusal: Refusal::from_code(topic.error_code),
            partitions: topic.partitions.into_iter().map(partition_view).collect(),
            seen: Some(now),
        }
    }
}

fn partition_view(partition: MetadataResponsePartition) -> (i32, PartitionView) {
    let view = PartitionView {
        leader: partition.leader_id,
        leader_epoch: partition.leader_epoch,
        replicas: partition.replica_nodes,
        in_sync: partition.isr_nodes,
        offline: partition.offline_replicas,
    };
    (partition.partition_index, view)
}

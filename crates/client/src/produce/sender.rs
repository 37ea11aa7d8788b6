//! The task that owns the queues: it gathers, sends, and reads the answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::messages::{
    ApiVersionsRequest, InitProducerIdRequest, PartitionProduceData, PartitionProduceResponse,
    ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla_protocol::{NodeId, Refusal, Text, TopicPartition, Uuid};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::queue::{Identity, Pending, Queue, Waiter};
use super::{Acks, NewRecord, Placed, ProducerSettings};
use crate::cluster::{Ask, Cluster, View};
use crate::connection::Connection;
use crate::error::ClientError;
use crate::pool::Lane;
use crate::settings::pause;

/// Produce names topics up to this version, and has their ids after it.
const LAST_WITH_NAMES: i16 = 12;
/// How long a queue without a known leader waits before it is looked at again.
const LEADERLESS_WAIT: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) enum Command {
    Append {
        partition: TopicPartition,
        record: NewRecord,
        size: usize,
        waiter: Waiter,
    },
    Flush(oneshot::Sender<()>),
}

pub(super) struct Sender {
    cluster: Arc<Cluster>,
    settings: Arc<ProducerSettings>,
    room: Arc<Semaphore>,
    queues: BTreeMap<TopicPartition, Queue>,
    identity: Option<Identity>,
    /// The identity is spoiled: take another once nothing is in flight.
    needs_identity: bool,
    n_in_flight: HashMap<NodeId, usize>,
    answers: JoinSet<Settled>,
    flushing: Vec<oneshot::Sender<()>>,
    is_closing: bool,
    /// Not before this moment is there any use in trying again.
    pause_until: Option<Instant>,
    n_failures: u32,
    /// When it was last seen what can be sent.
    looked_at: Instant,
}

/// The batches of one request.
type Sent = Vec<(TopicPartition, u64)>;

struct Settled {
    node: NodeId,
    sent: Sent,
    ids: HashMap<Uuid, Arc<str>>,
    answer: Result<ProduceResponse, ClientError>,
}

impl Sender {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        settings: Arc<ProducerSettings>,
        room: Arc<Semaphore>,
    ) -> Self {
        Self {
            needs_identity: settings.is_idempotent && settings.acks == Acks::All,
            cluster,
            settings,
            room,
            queues: BTreeMap::new(),
            identity: None,
            n_in_flight: HashMap::new(),
            answers: JoinSet::new(),
            flushing: Vec::new(),
            is_closing: false,
            pause_until: None,
            n_failures: 0,
            looked_at: Instant::now(),
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let wake = self.next_wake();
            let idle = async {
                match wake {
                    Some(moment) => sleep_until(moment).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv(), if !self.is_closing => match command {
                    Some(command) => {
                        self.command(command);
                        // Take what is there already: batches fill before they are looked at.
                        while let Ok(more) = commands.try_recv() {
                            self.command(more);
                        }
                    }
                    None => self.is_closing = true,
                },
                Some(settled) = self.answers.join_next() => {
                    if let Ok(settled) = settled {
                        self.settle(settled).await;
                    }
                }
                () = idle => {}
            }
            self.expire();
            self.drain().await;
            self.forget_empty();
            if self.is_idle() {
                self.all_gone().await;
                if self.is_closing {
                    return;
                }
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Append {
                partition,
                record,
                size,
                waiter,
            } => {
                let queue = self.queues.entry(partition).or_default();
                let ProducerSettings {
                    compression,
                    batch_size,
                    ..
                } = *self.settings;
                queue.push(
                    &record,
                    size,
                    waiter,
                    compression,
                    batch_size,
                    Instant::now(),
                );
            }
            Command::Flush(done) => self.flushing.push(done),
        }
    }

    /// When time alone will make something due. What was due when we last looked waits for an
    /// answer, and that wakes us.
    fn next_wake(&self) -> Option<Instant> {
        let linger = self.settings.linger;
        let due = self.queues.values().filter_map(|queue| queue.due(linger));
        // Whatever the linger time says, a pause is a pause.
        let due = due.map(|due| self.pause_until.map_or(due, |until| due.max(until)));
        due.filter(|due| *due > self.looked_at).min()
    }

    /// Nothing waits. Without acks the last request may still be in our socket: an exchange behind
    /// it proves that the broker has read it.
    async fn all_gone(&mut self) {
        if self.settings.acks == Acks::None && (self.is_closing || !self.flushing.is_empty()) {
            let nodes: Vec<NodeId> = self.cluster.view().nodes.keys().copied().collect();
            for node in nodes {
                if let Ok(connection) = self.cluster.node(node, Lane::Produce).await {
                    let request = ApiVersionsRequest::default();
                    let _ = connection
                        .ask_up_to(&request, 0, self.cluster.patience())
                        .await;
                }
            }
        }
        for done in self.flushing.drain(..) {
            let _ = done.send(());
        }
    }

    /// A queue that is empty and has given out no sequence can go; with an identity the next
    /// sequence must be remembered.
    fn forget_empty(&mut self) {
        if self.identity.is_none() {
            self.queues.retain(|_, queue| !queue.is_empty());
        }
    }

    fn is_idle(&self) -> bool {
        self.queues.values().all(Queue::is_empty)
    }

    fn expire(&mut self) {
        let Some(before) = Instant::now().checked_sub(self.settings.delivery_timeout) else {
            return;
        };
        let late = ClientError::TimedOut {
            what: "delivering records".to_owned(),
            after: self.settings.delivery_timeout,
        };
        for queue in self.queues.values_mut() {
            for name in queue.overdue(before) {
                // IMPORTANT: a batch that was sent before may be in the log; what follows with the
                // next sequence would look like a gap.
                self.needs_identity |= self.identity.is_some() && queue.n_attempts(name) > 0;
                self.room.add_permits(queue.settle(name, Err(late.clone())));
            }
        }
    }

    async fn drain(&mut self) {
        self.looked_at = Instant::now();
        if self.is_idle() || self.pause_until.is_some_and(|until| self.looked_at < until) {
            return;
        }
        self.pause_until = None;
        if self.needs_identity && !self.take_identity().await {
            return;
        }
        for (node, partitions) in self.by_leader().await {
            while self.n_in_flight.get(&node).copied().unwrap_or_default()
                < self.settings.max_in_flight
            {
                if !self.send_one(node, &partitions).await {
                    break;
                }
            }
        }
    }

    /// Queues by the node that leads their partition. Those without a leader make us ask again.
    async fn by_leader(&mut self) -> BTreeMap<NodeId, Vec<TopicPartition>> {
        let view = self.cluster.view();
        let mut led: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        let mut lost: Vec<Arc<str>> = Vec::new();
        for (partition, _) in self.queues.iter().filter(|(_, queue)| !queue.is_empty()) {
            match view.leader(partition) {
                Some(leader) => led.entry(leader.id).or_default().push(partition.clone()),
                None => lost.push(Arc::clone(&partition.topic)),
            }
        }
        if !lost.is_empty() {
            lost.dedup();
            if let Err(error) = self.cluster.refresh(Ask::Named(&lost)).await {
                tracing::debug!(%error, "metadata was not refreshed");
            }
            self.pause_until = Some(Instant::now() + LEADERLESS_WAIT);
        }
        led
    }

    /// Send one request of at most one batch per partition. False if there is nothing to send.
    async fn send_one(&mut self, node: NodeId, partitions: &[TopicPartition]) -> bool {
        let mut batches: Vec<(TopicPartition, u64, Bytes)> = Vec::new();
        let mut size = 0;
        let now = Instant::now();
        let is_pressed = self.is_closing || !self.flushing.is_empty();
        let (linger, batch_size) = (self.settings.linger, self.settings.batch_size);
        let is_ready = |batch: &Pending, has_more: bool| match batch.not_before {
            Some(moment) => now >= moment,
            None => {
                let is_full = has_more || batch.memory >= batch_size;
                is_full || is_pressed || now >= batch.since + linger
            }
        };
        for partition in partitions {
            if size >= self.settings.max_request_size {
                break;
            }
            let Some(queue) = self.queues.get_mut(partition) else {
                continue;
            };
            if let Some((name, bytes)) =
                queue.take(self.identity, self.settings.max_in_flight, is_ready)
            {
                size += bytes.len();
                batches.push((partition.clone(), name, bytes));
            }
        }
        if batches.is_empty() {
            return false;
        }
        let sent: Sent = batches
            .iter()
            .map(|(partition, name, _)| (partition.clone(), *name))
            .collect();
        let view = self.cluster.view();
        let (request, limit, ids) = self.request(&view, batches);
        let started = self.start(node, &request, limit).await;
        *self.n_in_flight.entry(node).or_default() += 1;
        let patience = self.cluster.patience() + self.settings.ack_timeout;
        match started {
            Ok(Some(answer)) => {
                self.answers.spawn(async move {
                    let answer = answer.wait(patience).await;
                    Settled {
                        node,
                        sent,
                        ids,
                        answer,
                    }
                });
            }
            Ok(None) => self.count_as_done(node, sent),
            Err(error) => {
                let answer = Err(error);
                self.settle(Settled {
                    node,
                    sent,
                    ids,
                    answer,
                })
                .await;
                return false;
            }
        }
        true
    }

    async fn start(
        &self,
        node: NodeId,
        request: &ProduceRequest,
        limit: i16,
    ) -> Result<Option<crate::connection::Answer<ProduceRequest>>, ClientError> {
        let connection: Arc<Connection> = self.cluster.node(node, Lane::Produce).await?;
        let version = connection.versions().newest::<ProduceRequest>(limit)?;
        let patience = self.cluster.patience();
        if self.settings.acks == Acks::None {
            connection.tell(request, version, patience).await?;
            return Ok(None);
        }
        connection.start(request, version, patience).await.map(Some)
    }

    /// The request, the highest version that can say it, and the names of its ids.
    fn request(
        &self,
        view: &View,
        batches: Vec<(TopicPartition, u64, Bytes)>,
    ) -> (ProduceRequest, i16, HashMap<Uuid, Arc<str>>) {
        let mut topics: BTreeMap<Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
        for (partition, _, bytes) in batches {
            topics
                .entry(partition.topic)
                .or_default()
                .push(PartitionProduceData {
                    index: partition.partition,
                    records: Some(bytes),
                });
        }
        let id = |topic: &Arc<str>| view.topics.get(topic).map_or(Uuid::ZERO, |topic| topic.id);
        let ids: HashMap<_, _> = topics
            .keys()
            .map(|topic| (id(topic), Arc::clone(topic)))
            .collect();
        let limit = if ids.contains_key(&Uuid::ZERO) {
            LAST_WITH_NAMES
        } else {
            i16::MAX
        };
        let topic_data = topics
            .into_iter()
            .map(|(topic, partition_data)| TopicProduceData {
                topic_id: id(&topic),
                name: Text::from(&*topic),
                partition_data,
            });
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.settings.acks.number(),
            timeout_ms: i32::try_from(self.settings.ack_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: topic_data.collect(),
        };
        (request, limit, ids)
    }

    /// Without acks, sent is done.
    fn count_as_done(&mut self, node: NodeId, sent: Sent) {
        self.landed(node);
        for (partition, name) in sent {
            let placed = Placed {
                partition: partition.partition,
                offset: -1,
            };
            self.finish(&partition, name, Ok(placed));
        }
    }

    async fn settle(&mut self, settled: Settled) {
        let Settled {
            node,
            sent,
            ids,
            answer,
        } = settled;
        self.landed(node);
        let answers = answer.map(|answer| by_partition(answer, &ids));
        let mut failed = false;
        for (partition, name) in sent {
            let result = match &answers {
                Err(error) => Err(error.clone()),
                Ok(answers) => match answers.get(&partition) {
                    Some(answer) => read_answer(&partition, answer),
                    None => Err(ClientError::BadAnswer {
                        api: "ProduceRequest",
                        why: format!("it says nothing of {partition}"),
                    }),
                },
            };
            failed |= self.settle_one(&partition, name, result);
        }
        if failed {
            self.after_failure().await;
        } else {
            self.n_failures = 0;
        }
    }

    /// True if the batch goes again.
    fn settle_one(
        &mut self,
        partition: &TopicPartition,
        name: u64,
        result: Result<Placed, ClientError>,
    ) -> bool {
        let error = match result {
            Ok(placed) => {
                self.finish(partition, name, Ok(placed));
                return false;
            }
            Err(error) => error,
        };
        let Some(queue) = self.queues.get_mut(partition) else {
            return false;
        };
        let n_attempts = queue.n_attempts(name);
        let is_out_of_order = error.refusal() == Some(Refusal::OutOfOrderSequenceNumber);
        // Behind one that failed, a gap is only what had to be expected.
        let may_retry = error.is_retriable() || is_out_of_order && !queue.is_front(name);
        if error.refusal() == Some(Refusal::MessageTooLarge) {
            let limit = self.settings.buffer_memory;
            if queue.split(name, self.settings.compression, limit) {
                return false;
            }
        }
        if may_retry && n_attempts <= self.settings.retries {
            tracing::debug!(%error, %partition, "a batch is sent again");
            let wait = pause(
                self.cluster.settings().retry_backoff,
                n_attempts.saturating_sub(1),
            );
            queue.again(name, Instant::now() + wait);
            return true;
        }
        // IMPORTANT: whatever failed for good leaves a gap in the sequences behind it.
        self.needs_identity |= self.identity.is_some();
        self.finish(partition, name, Err(error));
        false
    }

    async fn after_failure(&mut self) {
        let wait = pause(self.cluster.settings().retry_backoff, self.n_failures);
        self.n_failures = self.n_failures.saturating_add(1);
        self.pause_until = Some(Instant::now() + wait);
        let mut topics: Vec<_> = self.queues.keys().map(|p| Arc::clone(&p.topic)).collect();
        topics.dedup();
        if let Err(error) = self.cluster.refresh(Ask::Named(&topics)).await {
            tracing::debug!(%error, "metadata was not refreshed");
        }
    }

    fn finish(
        &mut self,
        partition: &TopicPartition,
        name: u64,
        result: Result<Placed, ClientError>,
    ) {
        if let Some(queue) = self.queues.get_mut(partition) {
            self.room.add_permits(queue.settle(name, result));
        }
    }

    fn landed(&mut self, node: NodeId) {
        if let Some(n) = self.n_in_flight.get_mut(&node) {
            *n = n.saturating_sub(1);
        }
    }

    /// Become somebody, or somebody else. Sequences start again, so everything that carries old
    /// ones must be back and is given up.
    async fn take_identity(&mut self) -> bool {
        if self.queues.values().any(|queue| queue.n_in_flight() > 0) {
            return false;
        }
        match self.init_producer_id().await {
            Ok(identity) => {
                let gone = ClientError::refused(
                    "records before these were lost, so their order cannot be kept",
                    Refusal::OutOfOrderSequenceNumber,
                );
                for queue in self.queues.values_mut() {
                    for name in queue.sealed() {
                        self.room.add_permits(queue.settle(name, Err(gone.clone())));
                    }
                    queue.restart_sequences();
                }
                self.identity = Some(identity);
                self.needs_identity = false;
                true
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, "no producer id yet");
                self.pause_until = Some(
                    Instant::now() + pause(self.cluster.settings().retry_backoff, self.n_failures),
                );
                self.n_failures = self.n_failures.saturating_add(1);
                false
            }
            Err(error) => {
                for queue in self.queues.values_mut() {
                    for name in queue.all() {
                        self.room
                            .add_permits(queue.settle(name, Err(error.clone())));
                    }
                }
                false
            }
        }
    }

    async fn init_producer_id(&self) -> Result<Identity, ClientError> {
        let connection = self.cluster.any(Lane::Calls).await?;
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            ..InitProducerIdRequest::default()
        };
        let answer = connection.ask(&request, self.cluster.patience()).await?;
        ClientError::from_code("no producer id was given", answer.error_code, None)?;
        Ok(Identity {
            id: answer.producer_id,
            epoch: answer.producer_epoch,
        })
    }
}

fn by_partition(
    answer: ProduceResponse,
    ids: &HashMap<Uuid, Arc<str>>,
) -> HashMap<TopicPartition, PartitionProduceResponse> {
    let mut found = HashMap::new();
    for topic in answer.responses {
        let name = if topic.name.is_empty() {
            ids.get(&topic.topic_id).cloned()
        } else {
            Some(Arc::from(&*topic.name))
        };
        let Some(name) = name else {
            continue;
        };
        for partition in topic.partition_responses {
            found.insert(
                TopicPartition::new(Arc::clone(&name), partition.index),
                partition,
            );
        }
    }
    found
}

fn read_answer(
    partition: &TopicPartition,
    answer: &PartitionProduceResponse,
) -> Result<Placed, ClientError> {
    let placed = Placed {
        partition: partition.partition,
        offset: answer.base_offset,
    };
    // It is there already: an answer got lost.
    if answer.error_code == Refusal::DuplicateSequenceNumber.code() {
        return Ok(placed);
    }
    let of_record = answer.record_errors.first();
    let of_record = of_record.and_then(|error| error.batch_index_error_message.as_deref());
    let message = of_record.or(answer.error_message.as_deref());
    let what = format!("records were not written to {partition}");
    ClientError::from_code(&what, answer.error_code, message)?;
    Ok(placed)
}

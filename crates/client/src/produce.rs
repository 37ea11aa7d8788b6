//! Produce: choose a partition, gather batches, send them, and send them again until they are
//! there, exactly once if idempotent.
//!
//! [`Producer::send`] waits for metadata and for room, then hands the record to one task that owns
//! all queues (`sender`). What a partition's queue does is a value of its own (`queue`).

mod partition;
mod queue;
mod sender;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::compress::Compression;
use ottla_protocol::{Refusal, TopicPartition};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep};

use self::partition::Sticky;
pub use self::partition::{keyed, murmur2};
use self::sender::{Command, Sender};
use crate::cluster::{Ask, Cluster, TopicView};
use crate::error::ClientError;
use crate::settings::{MAX_IN_FLIGHT, pause};

/// Records on their way from callers to the sending task. Their memory is bounded besides.
const QUEUED_COMMANDS: usize = 1024;

/// What a record may take in a batch beyond its key, value and headers: Kafka's upper bound.
const RECORD_OVERHEAD: usize = 21;

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// When it is sent.
    None,
    /// When the leader has it.
    Leader,
    /// When all in-sync replicas have it.
    All,
}

impl Acks {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "0" => Some(Self::None),
            "1" => Some(Self::Leader),
            "-1" | "all" => Some(Self::All),
            _ => None,
        }
    }

    fn number(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// The defaults are those of Kafka's producer.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    pub acks: Acks,
    pub compression: Compression,
    /// A batch that has grown to this many bytes is sent.
    pub batch_size: usize,
    /// A batch that has waited this long is sent.
    pub linger: Duration,
    /// Nothing larger is sent at once, nor taken as one record.
    pub max_request_size: usize,
    /// Of records that wait; `send` waits for room.
    pub buffer_memory: usize,
    /// How long `send` waits for metadata and room.
    pub max_block: Duration,
    /// From `send` to the answer, retries included.
    pub delivery_timeout: Duration,
    /// What the broker is given to get acks.
    pub ack_timeout: Duration,
    pub retries: u32,
    /// Takes effect with `Acks::All` only.
    pub is_idempotent: bool,
    /// Requests in flight per broker, at most [`MAX_IN_FLIGHT`].
    pub max_in_flight: usize,
}

impl Default for ProducerSettings {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            compression: Compression::default(),
            batch_size: 16 << 10,
            linger: Duration::from_millis(5),
            max_request_size: 1 << 20,
            buffer_memory: 32 << 20,
            max_block: Duration::from_secs(60),
            delivery_timeout: Duration::from_secs(120),
            ack_timeout: Duration::from_secs(30),
            retries: u32::MAX,
            is_idempotent: true,
            max_in_flight: MAX_IN_FLIGHT,
        }
    }
}

/// A record to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewRecord {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// `None`: by the key, or any.
    pub partition: Option<i32>,
}

impl NewRecord {
    /// What it takes in a batch at most, uncompressed.
    fn size(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter();
        let headers = headers.map(|(key, value)| key.len() + length(value) + 10);
        RECORD_OVERHEAD + length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }
}

/// Where a record went. The offset is -1 where the broker does not tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    pub partition: i32,
    pub offset: i64,
}

/// What became of a record.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Placed, ClientError>>);

impl Delivery {
    pub async fn wait(self) -> Result<Placed, ClientError> {
        self.0.await.unwrap_or_else(|_| Err(closed()))
    }
}

fn closed() -> ClientError {
    ClientError::Invalid("the producer is closed".to_owned())
}

/// Cheap to share; dropping the last one sends what waits and ends.
#[derive(Debug)]
pub struct Producer {
    cluster: Arc<Cluster>,
    settings: Arc<ProducerSettings>,
    commands: mpsc::Sender<Command>,
    room: Arc<Semaphore>,
    sticky: Mutex<HashMap<Arc<str>, Sticky>>,
}

impl Producer {
    /// Start the sending task; it ends with the producer.
    pub fn start(cluster: Arc<Cluster>, settings: ProducerSettings) -> Self {
        let settings = Arc::new(settings);
        let (commands, received) = mpsc::channel(QUEUED_COMMANDS);
        let room = settings.buffer_memory.min(Semaphore::MAX_PERMITS);
        let room = Arc::new(Semaphore::new(room));
        let sender = Sender::new(
            Arc::clone(&cluster),
            Arc::clone(&settings),
            Arc::clone(&room),
        );
        tokio::spawn(sender.run(received));
        Self {
            cluster,
            settings,
            commands,
            room,
            sticky: Mutex::default(),
        }
    }

    /// Hand a record over. The delivery tells what became of it.
    pub async fn send(&self, topic: &Arc<str>, record: NewRecord) -> Result<Delivery, ClientError> {
        let size = record.size();
        if size
            > self
                .settings
                .max_request_size
                .min(self.settings.buffer_memory)
        {
            return Err(ClientError::refused(
                format!("a record of {size} bytes is larger than max.request.size"),
                Refusal::MessageTooLarge,
            ));
        }
        let deadline = Instant::now() + self.settings.max_block;
        let partition = self.place(topic, &record, size, deadline).await?;
        self.reserve(size, deadline).await?;
        let (waiter, delivery) = oneshot::channel();
        let command = Command::Append {
            partition: TopicPartition::new(Arc::clone(topic), partition),
            record,
            size,
            waiter,
        };
        self.commands.send(command).await.map_err(|_| closed())?;
        Ok(Delivery(delivery))
    }

    /// Wait until everything that was handed over has been delivered or has failed.
    pub async fn flush(&self) -> Result<(), ClientError> {
        let (done, waiting) = oneshot::channel();
        self.commands
            .send(Command::Flush(done))
            .await
            .map_err(|_| closed())?;
        waiting.await.map_err(|_| closed())
    }

    /// The number of partitions, once the topic is there.
    async fn place(
        &self,
        topic: &Arc<str>,
        record: &NewRecord,
        size: usize,
        deadline: Instant,
    ) -> Result<i32, ClientError> {
        if let Some(partition) = self.known(topic, record, size)? {
            return Ok(partition);
        }
        let names = [Arc::clone(topic)];
        let mut n = 0;
        loop {
            let error = match self.cluster.refresh(Ask::Created(&names)).await {
                Ok(_) => match self.known(topic, record, size)? {
                    Some(partition) => return Ok(partition),
                    None => self.lack(topic, record),
                },
                Err(error) => error,
            };
            let wait = pause(self.cluster.settings().retry_backoff, n);
            n += 1;
            if !error.is_retriable() || Instant::now() + wait >= deadline {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    /// The partition of a record by what we know now.
    fn known(
        &self,
        topic: &Arc<str>,
        record: &NewRecord,
        size: usize,
    ) -> Result<Option<i32>, ClientError> {
        let view = self.cluster.view();
        let max_age = self.cluster.settings().metadata_max_age;
        let is_current = |topic: &&TopicView| {
            let is_fresh = topic.seen.is_some_and(|seen| seen.elapsed() < max_age);
            is_fresh && topic.refusal.is_none() && !topic.partitions.is_empty()
        };
        let Some(known) = view.topics.get(topic).filter(is_current) else {
            return Ok(None);
        };
        if let Some(partition) = record.partition {
            return Ok(known
                .partitions
                .contains_key(&partition)
                .then_some(partition));
        }
        if let Some(key) = &record.key {
            return Ok(Some(keyed(key, known.partitions.len())));
        }
        let mut sticky = self.sticky.lock().unwrap_or_else(PoisonError::into_inner);
        let sticky = sticky.entry(Arc::clone(topic)).or_default();
        Ok(Some(sticky.place(known, size, self.settings.batch_size)))
    }

    fn lack(&self, topic: &Arc<str>, record: &NewRecord) -> ClientError {
        let view = self.cluster.view();
        let refusal = view.topics.get(topic).and_then(|topic| topic.refusal);
        let what = match record.partition {
            Some(partition) if refusal.is_none() => {
                format!("topic {topic} has no partition {partition}")
            }
            _ => format!("topic {topic} cannot be written"),
        };
        ClientError::refused(what, refusal.unwrap_or(Refusal::UnknownTopicOrPartition))
    }

    async fn reserve(&self, size: usize, deadline: Instant) -> Result<(), ClientError> {
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        let room = tokio::time::timeout_at(deadline, self.room.acquire_many(permits)).await;
        match room {
            Ok(Ok(permit)) => {
                // Given back when the batch is settled.
                permit.forget();
                Ok(())
            }
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(ClientError::TimedOut {
                what: "waiting for room in the producer's buffer".to_owned(),
                after: self.settings.max_block,
            }),
        }
    }
}

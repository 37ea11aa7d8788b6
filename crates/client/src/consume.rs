//! Consume: know where to read, keep one fetch in flight at every leader, and give records out in
//! the order of their partitions; as a member of a group if there is one.
//!
//! Everything happens within [`Consumer::poll`], except the heartbeats, which a task of their own
//! sends. A consumer that is not polled for longer than `max_poll_interval` is not protected from
//! losing its partitions: there is no watchdog.

mod aborted;
mod assign;
mod fetch;
mod member;
mod membership;
mod modern;
mod read;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::batch::TimestampKind;
use ottla_protocol::{NodeId, Offset, Refusal, TopicPartition};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub use self::aborted::Aborted;
pub use self::assign::{AssignedTo, Subscriber, range, read_assignment};
use self::fetch::{Fetched, Wanted};
use self::member::Pulse;
use self::membership::Membership;
use crate::cluster::{Ask, Cluster};
use crate::error::ClientError;
use crate::offsets::{At, Committed, Committer, Isolation};
use crate::settings::pause;

/// The defaults are those of Kafka's consumer.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    pub group: Option<String>,
    pub protocol: GroupProtocol,
    /// The assignor that the coordinator is to use, by the consumer protocol.
    pub remote_assignor: Option<String>,
    /// A static member's name.
    pub instance: Option<String>,
    pub reset: Reset,
    pub isolation: Isolation,
    pub max_wait: Duration,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub max_partition_bytes: i32,
    pub session_timeout: Duration,
    pub heartbeat_interval: Duration,
    pub max_poll_interval: Duration,
    pub auto_commit: bool,
    pub auto_commit_interval: Duration,
    pub check_crcs: bool,
    pub allow_auto_create: bool,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self {
            group: None,
            protocol: GroupProtocol::Classic,
            remote_assignor: None,
            instance: None,
            reset: Reset::Latest,
            isolation: Isolation::ReadUncommitted,
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 << 20,
            max_partition_bytes: 1 << 20,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            check_crcs: true,
            allow_auto_create: true,
        }
    }
}

/// How a group shares out: its members among themselves, or the coordinator (KIP-848).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupProtocol {
    Classic,
    Consumer,
}

/// Where to start without a committed offset, or when the offset is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    Earliest,
    Latest,
    /// The first record that is at most this old.
    ByDuration(Duration),
    /// Fail.
    None,
}

/// Where to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    At(At),
    Offset(Offset),
}

/// Which topics.
pub enum Subscription {
    Topics(Vec<Arc<str>>),
    Matching(Box<dyn Fn(&str) -> bool + Send + Sync>),
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topics(topics) => f.debug_tuple("Topics").field(topics).finish(),
            Self::Matching(_) => f.write_str("Matching"),
        }
    }
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedRecord {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: Offset,
    pub leader_epoch: i32,
    pub timestamp: i64,
    pub timestamp_kind: TimestampKind,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

#[derive(Debug)]
pub struct Consumer {
    cluster: Arc<Cluster>,
    settings: Arc<ConsumerSettings>,
    subscription: Option<Subscription>,
    member: Option<Membership>,
    partitions: BTreeMap<TopicPartition, Position>,
    fetches: JoinSet<Fetched>,
    busy: HashSet<NodeId>,
    next_commit: Instant,
    next_look: Instant,
    n_failures: u32,
    pause_until: Option<Instant>,
}

/// Where a partition is read next.
#[derive(Debug, Clone)]
struct Position {
    /// `None` until it is known.
    next: Option<Offset>,
    /// How to find out, where no committed offset says it.
    start: Option<Start>,
    /// Of the last record that was given out.
    leader_epoch: i32,
    /// Where records that may be read end, as the last fetch told it.
    end: Option<Offset>,
}

impl Position {
    fn starting(start: Option<Start>) -> Self {
        Self {
            next: None,
            start,
            leader_epoch: -1,
            end: None,
        }
    }
}

impl Consumer {
    pub fn new(cluster: Arc<Cluster>, settings: ConsumerSettings) -> Self {
        let now = Instant::now();
        let settings = Arc::new(settings);
        Self {
            next_commit: now + settings.auto_commit_interval,
            next_look: now,
            cluster,
            settings,
            subscription: None,
            member: None,
            partitions: BTreeMap::new(),
            fetches: JoinSet::new(),
            busy: HashSet::new(),
            n_failures: 0,
            pause_until: None,
        }
    }

    /// Read just these, whoever else does.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, Start)>) {
        let partitions = partitions.into_iter();
        self.partitions = partitions
            .map(|(partition, start)| (partition, Position::starting(Some(start))))
            .collect();
    }

    /// Read all partitions of these topics, or this group's share of them.
    pub fn subscribe(&mut self, subscription: Subscription) {
        self.subscription = Some(subscription);
        if let Some(group) = &self.settings.group {
            self.member = Some(Membership::new(group.clone(), Arc::clone(&self.settings)));
        }
    }

    pub fn assignment(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    /// Go on reading here.
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) {
        if let Some(position) = self.partitions.get_mut(partition) {
            position.next = Some(offset);
        }
    }

    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.partitions.get(partition)?.next
    }

    /// How many records are yet to be read, as far as fetches have told.
    pub fn lag(&self) -> i64 {
        let each = self.partitions.values().filter_map(|position| {
            let left = position.end? - position.next?;
            Some(left.max(0))
        });
        each.sum()
    }

    /// The records that came next, or none if none came in time.
    pub async fn poll(&mut self, patience: Duration) -> Result<Vec<ConsumedRecord>, ClientError> {
        let deadline = Instant::now().checked_add(patience);
        loop {
            match self.prepare().await {
                Ok(()) => {}
                Err(error) if error.is_retriable() => self.stumble(&error),
                Err(error) => return Err(error),
            }
            self.send_fetches();
            let records = self.next_records(deadline).await?;
            if !records.is_empty() {
                // Ask for the next ones while the caller works on these.
                self.send_fetches();
                return Ok(records);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(records);
            }
        }
    }

    /// Commit what was given out. Without a group there is nothing to do.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        self.next_commit = Instant::now() + self.settings.auto_commit_interval;
        let Some(group) = &self.settings.group else {
            return Ok(());
        };
        let known = self.partitions.iter().filter_map(|(partition, position)| {
            let committed = Committed {
                offset: position.next?,
                leader_epoch: position.leader_epoch,
                metadata: String::new(),
            };
            Some((partition.clone(), committed))
        });
        let offsets: BTreeMap<_, _> = known.collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let committer = self
            .member
            .as_ref()
            .map_or_else(Committer::outsider, Membership::committer);
        let answers = self.cluster.commit(group, &committer, &offsets).await?;
        answers.into_values().collect()
    }

    /// Commit if that is automatic, and leave the group.
    pub async fn close(mut self) -> Result<(), ClientError> {
        let committed = if self.settings.auto_commit {
            self.commit().await
        } else {
            Ok(())
        };
        self.fetches.abort_all();
        if let Some(mut member) = self.member.take() {
            member.leave(&self.cluster).await;
        }
        committed
    }

    fn stumble(&mut self, error: &ClientError) {
        tracing::debug!(%error, "consuming: trying again");
        let wait = pause(self.cluster.settings().retry_backoff, self.n_failures);
        self.n_failures = self.n_failures.saturating_add(1);
        self.pause_until = Some(Instant::now() + wait);
    }

    /// Everything that must be so before we fetch: membership, partitions, positions.
    async fn prepare(&mut self) -> Result<(), ClientError> {
        if self.pause_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        self.pause_until = None;
        if self.settings.auto_commit
            && Instant::now() >= self.next_commit
            && let Err(error) = self.commit().await
        {
            tracing::warn!(%error, "offsets were not committed");
        }
        self.look_at_topics().await?;
        self.keep_membership().await?;
        self.find_positions().await?;
        self.n_failures = 0;
        Ok(())
    }

    /// Which topics there are now: at first, then as often as metadata ages.
    async fn look_at_topics(&mut self) -> Result<(), ClientError> {
        let now = Instant::now();
        let Some(subscription) = self.subscription.as_ref().filter(|_| now >= self.next_look)
        else {
            return Ok(());
        };
        let settings = self.cluster.settings();
        let max_age = settings.metadata_max_age;
        let view = match subscription {
            Subscription::Topics(names) if self.settings.allow_auto_create => {
                self.cluster.refresh(Ask::Created(names)).await?
            }
            Subscription::Topics(names) => self.cluster.refresh(Ask::Named(names)).await?,
            Subscription::Matching(_) => self.cluster.refresh(Ask::All).await?,
        };
        let matched: Vec<Arc<str>> = match subscription {
            Subscription::Topics(names) => names.clone(),
            Subscription::Matching(matches) => {
                let visible = view.topics.iter().filter(|(_, topic)| !topic.is_internal);
                visible
                    .map(|(name, _)| Arc::clone(name))
                    .filter(|name| matches(name))
                    .collect()
            }
        };
        let mut found = BTreeSet::new();
        let mut is_complete = true;
        for name in &matched {
            match view.topics.get(name) {
                Some(topic) if topic.refusal.is_none() => found.extend(
                    topic
                        .partitions
                        .keys()
                        .map(|&n| TopicPartition::new(Arc::clone(name), n)),
                ),
                other => {
                    is_complete = false;
                    let refusal = other.and_then(|topic| topic.refusal);
                    let refusal = refusal.unwrap_or(Refusal::UnknownTopicOrPartition);
                    if !crate::error::is_retriable(refusal) {
                        let what = format!("topic {name} cannot be read");
                        return Err(ClientError::refused(what, refusal));
                    }
                }
            }
        }
        // A topic that is not there yet is looked for soon.
        let soon = settings.retry_backoff.1;
        self.next_look = now + if is_complete { max_age } else { soon };
        match &mut self.member {
            Some(member) => member.subscribe(matched, &found),
            None => self.take_partitions(found, Some(self.settings.reset)),
        }
        Ok(())
    }

    /// Keep the positions of what stays, forget what goes.
    fn take_partitions(&mut self, now: BTreeSet<TopicPartition>, reset: Option<Reset>) {
        self.partitions
            .retain(|partition, _| now.contains(partition));
        for partition in now {
            self.partitions
                .entry(partition)
                .or_insert_with(|| Position::starting(reset.and_then(Reset::start)));
        }
    }

    async fn keep_membership(&mut self) -> Result<(), ClientError> {
        let Some(member) = &self.member else {
            return Ok(());
        };
        let pulse = member.pulse();
        if pulse == Pulse::Steady {
            return Ok(());
        }
        if pulse == Pulse::Rejoin && self.settings.auto_commit && member.is_joined() {
            // What is taken from us should go on where we stopped.
            if let Err(error) = self.commit().await {
                tracing::warn!(%error, "offsets were not committed before the rebalance");
            }
        }
        let Some(member) = &mut self.member else {
            return Ok(());
        };
        let (assigned, is_anew) = member.join(&self.cluster).await?;
        if is_anew {
            // The eager protocol: everything was given up, everything is looked up again.
            self.partitions.clear();
            self.fetches.abort_all();
            self.fetches = JoinSet::new();
            self.busy.clear();
        }
        self.take_partitions(assigned, None);
        Ok(())
    }

    async fn find_positions(&mut self) -> Result<(), ClientError> {
        let open = |partitions: &BTreeMap<TopicPartition, Position>| -> Vec<TopicPartition> {
            let open = partitions
                .iter()
                .filter(|(_, position)| position.next.is_none());
            open.map(|(partition, _)| partition.clone()).collect()
        };
        let lacking = open(&self.partitions);
        if lacking.is_empty() {
            return Ok(());
        }
        if let Some(group) = &self.settings.group
            && self.member.is_some()
        {
            let committed = self.cluster.committed(group, Some(&lacking)).await?;
            for (partition, committed) in committed {
                if let Some(position) = self.partitions.get_mut(&partition)
                    && position.start.is_none()
                {
                    position.next = Some(committed.offset);
                    position.leader_epoch = committed.leader_epoch;
                }
            }
        }
        let mut wanted = Vec::new();
        for partition in open(&self.partitions) {
            let Some(position) = self.partitions.get_mut(&partition) else {
                continue;
            };
            match position.start.or(self.settings.reset.start()) {
                Some(Start::Offset(offset)) => position.next = Some(offset),
                Some(Start::At(at)) => wanted.push((partition, at)),
                None => {
                    return Err(ClientError::refused(
                        format!("{partition} has no committed offset, and none is to be assumed"),
                        Refusal::OffsetOutOfRange,
                    ));
                }
            }
        }
        self.look_up(wanted).await
    }

    async fn look_up(&mut self, wanted: Vec<(TopicPartition, At)>) -> Result<(), ClientError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let mut answers = self
            .cluster
            .list_offsets(&wanted, self.settings.isolation)
            .await;
        // No record is that new: go on at the end.
        let beyond = answers
            .iter()
            .filter(|(_, answer)| answer.as_ref().is_ok_and(|found| found.offset < 0));
        let beyond: Vec<_> = beyond
            .map(|(partition, _)| (partition.clone(), At::Latest))
            .collect();
        if !beyond.is_empty() {
            answers.extend(
                self.cluster
                    .list_offsets(&beyond, self.settings.isolation)
                    .await,
            );
        }
        for (partition, answer) in answers {
            let found = answer?;
            if let Some(position) = self.partitions.get_mut(&partition) {
                position.next = Some(found.offset);
                position.leader_epoch = found.leader_epoch;
            }
        }
        Ok(())
    }

    /// One fetch at every leader that has none.
    fn send_fetches(&mut self) {
        if self.pause_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let view = self.cluster.view();
        let mut by_leader: BTreeMap<NodeId, Vec<Wanted>> = BTreeMap::new();
        let mut is_lost = false;
        for (partition, position) in &self.partitions {
            let Some(offset) = position.next else {
                continue;
            };
            let Some(leader) = view.leader(partition) else {
                is_lost = true;
                continue;
            };
            if self.busy.contains(&leader.id) {
                continue;
            }
            let topic = view.topics.get(&partition.topic);
            let known = topic.and_then(|topic| topic.partitions.get(&partition.partition));
            by_leader.entry(leader.id).or_default().push(Wanted {
                partition: partition.clone(),
                topic_id: topic.map(|topic| topic.id).unwrap_or_default(),
                offset,
                leader_epoch: known.map_or(-1, |known| known.leader_epoch),
            });
        }
        if is_lost && by_leader.is_empty() && self.busy.is_empty() {
            self.refresh_later();
        }
        for (leader, wanted) in by_leader {
            self.busy.insert(leader);
            let (cluster, settings) = (Arc::clone(&self.cluster), Arc::clone(&self.settings));
            self.fetches
                .spawn(fetch::fetch(cluster, settings, leader, wanted));
        }
    }

    /// Metadata is out of date: ask as a fetch does, so that nobody waits for it alone.
    fn refresh_later(&mut self) {
        let cluster = Arc::clone(&self.cluster);
        let topics: BTreeSet<_> = self
            .partitions
            .keys()
            .map(|p| Arc::clone(&p.topic))
            .collect();
        let topics: Vec<_> = topics.into_iter().collect();
        self.busy.insert(fetch::NOBODY);
        self.fetches.spawn(fetch::refresh(cluster, topics));
    }

    /// Wait for one fetch, the pulse of the group, or the end of patience.
    async fn next_records(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Vec<ConsumedRecord>, ClientError> {
        let wake = self.next_event();
        let wake = deadline.map_or(wake, |deadline| deadline.min(wake));
        let mut pulse = self.member.as_ref().map(Membership::watch);
        let disturbed = async {
            match &mut pulse {
                Some(pulse) => {
                    let _ = pulse.wait_for(|pulse| *pulse != Pulse::Steady).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = self.fetches.join_next(), if !self.fetches.is_empty() => match done {
                Ok(fetched) => self.take(fetched),
                Err(_) => Ok(Vec::new()),
            },
            () = disturbed => Ok(Vec::new()),
            () = sleep_until(wake) => Ok(Vec::new()),
        }
    }

    fn next_event(&self) -> Instant {
        let mut next = self.pause_until.unwrap_or(self.next_commit);
        if self.subscription.is_some() {
            next = next.min(
                self.next_look
                    .max(self.pause_until.unwrap_or(self.next_look)),
            );
        }
        if !self.settings.auto_commit && self.pause_until.is_none() {
            next = next.max(Instant::now() + self.settings.max_wait);
        }
        next
    }

    fn take(&mut self, fetched: Fetched) -> Result<Vec<ConsumedRecord>, ClientError> {
        self.busy.remove(&fetched.node);
        let mut records = Vec::new();
        let mut is_stale = false;
        let partitions = match fetched.answer {
            Ok(partitions) => partitions,
            Err(error) if error.is_retriable() => {
                self.stumble(&error);
                return Ok(records);
            }
            Err(error) => return Err(error),
        };
        for (asked, answer) in partitions {
            let Some(position) = self.partitions.get_mut(&asked.partition) else {
                continue;
            };
            if position.next != Some(asked.offset) {
                // Somebody sought elsewhere in the meantime.
                continue;
            }
            match Refusal::from_code(answer.error_code) {
                None => {
                    let read = read::records(&asked, &answer, &self.settings)?;
                    position.next = Some(read.next);
                    position.end = Some(match self.settings.isolation {
                        Isolation::ReadUncommitted => answer.high_watermark,
                        Isolation::ReadCommitted => answer.last_stable_offset,
                    });
                    position.leader_epoch = read.leader_epoch.unwrap_or(position.leader_epoch);
                    records.extend(read.records);
                }
                Some(Refusal::OffsetOutOfRange) => {
                    let start = self.settings.reset.start();
                    let start = start.ok_or_else(|| out_of_range(&asked))?;
                    tracing::info!(
                        "offset {} of {} is out of range, going on at {start:?}",
                        asked.offset,
                        asked.partition
                    );
                    *position = Position::starting(Some(start));
                }
                Some(refusal) if crate::error::is_retriable(refusal) => is_stale = true,
                Some(refusal) => {
                    let what = format!("{} cannot be read", asked.partition);
                    return Err(ClientError::refused(what, refusal));
                }
            }
        }
        if is_stale && records.is_empty() {
            let wait = pause(self.cluster.settings().retry_backoff, 0);
            self.pause_until = Some(Instant::now() + wait);
            self.refresh_later();
        }
        Ok(records)
    }
}

impl Reset {
    fn start(self) -> Option<Start> {
        match self {
            Self::Earliest => Some(Start::At(At::Earliest)),
            Self::Latest => Some(Start::At(At::Latest)),
            Self::ByDuration(age) => {
                let now = std::time::SystemTime::now();
                let since = now
                    .duration_since(std::time::UNIX_EPOCH)
                    .unwrap_or_default();
                let then = since.saturating_sub(age).as_millis();
                Some(Start::At(At::Timestamp(
                    i64::try_from(then).unwrap_or(i64::MAX),
                )))
            }
            Self::None => None,
        }
    }
}

fn out_of_range(asked: &Wanted) -> ClientError {
    ClientError::refused(
        format!(
            "{} cannot be read at offset {}",
            asked.partition, asked.offset
        ),
        Refusal::OffsetOutOfRange,
    )
}

//! Carries the end of a transaction to its partitions.
//!
//! A demand of the transaction ledger is repeated until every partition has its marker, or is no
//! more. Markers that a coordinator elsewhere sends (WriteTxnMarkers) go the same last steps.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinators::{Markers, Partitions as PartitionSet};
use ottla_protocol::batch_builder::EndMarker;
use ottla_protocol::{Offset, ProducerEpoch, ProducerId, Refusal};
use ottla_storage::producer::TransactionVersion;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::groups::GroupHost;
use super::internal_topics::GROUP_METADATA_TOPIC;
use super::transactions::{TxnErrand, TxnHost};
use crate::appends::{Appends, Turns};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::parked::Waiter;
use crate::partitions::{Partition, Partitions};
use crate::quorum::ImageFeed;

/// Markers of one transaction that are appended on the thread that carries them: with more it would
/// have no time for others.
const HERE_MAX: usize = 16;
/// Between two attempts at the partitions that could not take their marker.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// From this `transaction.version` on each transaction ends in an epoch of its own.
const BUMPED_SINCE: i8 = 2;

/// The end of one producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub coordinator_epoch: i32,
    pub is_commit: bool,
    /// Decides how the epoch is checked (KIP-1228).
    pub transaction_version: i8,
}

impl Marker {
    pub(super) fn batch(self, now_ms: i64) -> Bytes {
        let marker = EndMarker {
            is_commit: self.is_commit,
            coordinator_epoch: self.coordinator_epoch,
        };
        marker.batch(self.producer_id, self.producer_epoch, now_ms)
    }

    pub(super) fn rule(self) -> TransactionVersion {
        if self.transaction_version >= BUMPED_SINCE {
            TransactionVersion::BumpedEpoch
        } else {
            TransactionVersion::SameEpoch
        }
    }

    fn of(demand: &Markers) -> Self {
        Self {
            producer_id: demand.producer_id,
            producer_epoch: demand.producer_epoch,
            coordinator_epoch: demand.coordinator_epoch,
            is_commit: demand.committed,
            transaction_version: demand.transaction_version,
        }
    }
}

/// What became of a marker in one partition.
pub type Marked = ((Arc<str>, i32), Result<(), Refusal>);

/// Writes markers into the partitions of this node. To be used on the data plane.
pub struct MarkerWriter {
    partitions: Arc<Partitions>,
    groups: Arc<GroupHost>,
    clock: Clock,
    /// How long a marker may wait until it is committed.
    timeout: Duration,
}

impl MarkerWriter {
    pub(crate) fn new(
        partitions: Arc<Partitions>,
        groups: Arc<GroupHost>,
        clock: Clock,
        timeout: Duration,
    ) -> Self {
        Self {
            partitions,
            groups,
            clock,
            timeout,
        }
    }

    /// Writes the marker into each partition; resolves when all are committed or refused.
    pub async fn write(&self, marker: Marker, into: Vec<(Arc<str>, i32)>) -> Vec<Marked> {
        let (of_groups, of_data): (Vec<_>, Vec<_>) = into
            .into_iter()
            .partition(|(topic, _)| **topic == *GROUP_METADATA_TOPIC);
        let (mut marked, of_groups) = tokio::join!(
            self.write_data(marker, of_data),
            self.write_groups(marker, of_groups)
        );
        marked.extend(of_groups);
        marked
    }

    /// Groups must see the marker between the same records as the log does: it stands in their line.
    async fn write_groups(&self, marker: Marker, into: Vec<(Arc<str>, i32)>) -> Vec<Marked> {
        let mut marked = Vec::with_capacity(into.len());
        for (topic, index) in into {
            let outcome = match self.online(&topic, index) {
                Ok(_) => self.groups.mark(index, marker).await.map_err(not_ready),
                Err(refusal) => Err(refusal),
            };
            marked.push(((topic, index), outcome));
        }
        marked
    }

    async fn write_data(&self, marker: Marker, into: Vec<(Arc<str>, i32)>) -> Vec<Marked> {
        if into.is_empty() {
            return Vec::new();
        }
        // Who has many to write waits for nothing else, perhaps.
        tokio::task::consume_budget().await;
        let found: Vec<_> = into
            .iter()
            .map(|(topic, index)| self.online(topic, *index))
            .collect();
        let batch = marker.batch(self.clock.wall_ms());
        let appended: Vec<Result<(Arc<Partition>, Offset), Refusal>> =
            if let Some(_turns) = enter(&found) {
                let found = found.into_iter();
                let here = |one| append_here(one, &batch, marker);
                found.map(|found| found.and_then(here)).collect()
            } else {
                append_elsewhere(found, &batch, marker).await
            };
        let deadline = Instant::now() + self.timeout;
        let waiter = Waiter::new();
        let mut marked = Vec::with_capacity(into.len());
        for (place, appended) in into.into_iter().zip(appended) {
            let outcome = match appended {
                Ok((partition, end)) => committed(&partition, end, deadline, &waiter).await,
                Err(refusal) => Err(refusal),
            };
            marked.push((place, outcome));
        }
        marked
    }

    fn online(&self, topic: &str, index: i32) -> Result<Arc<Partition>, Refusal> {
        self.partitions
            .find(topic, index)
            .ok()
            .filter(|partition| partition.is_online())
            .ok_or(Refusal::UnknownTopicOrPartition)
    }
}

/// Turns to append all of it here and now, if that may be.
fn enter(found: &[Result<Arc<Partition>, Refusal>]) -> Option<Turns> {
    let mut turns = Turns::default();
    let mut online = found.iter().flatten();
    let may = found.len() <= HERE_MAX && online.all(|one| one.enter(&mut turns));
    may.then_some(turns)
}

/// A partition, and where in its list it stands.
type Placed = (usize, Arc<Partition>);

/// On the threads of the log directories, each of which waits for its own disk alone.
async fn append_elsewhere(
    found: Vec<Result<Arc<Partition>, Refusal>>,
    batch: &Bytes,
    marker: Marker,
) -> Vec<Result<(Arc<Partition>, Offset), Refusal>> {
    let refused = |found: &Result<_, Refusal>| found.as_ref().err().copied();
    // A storage error is for one whose thread panicked.
    let mut appended: Vec<_> = found
        .iter()
        .map(|found| Err(refused(found).unwrap_or(Refusal::KafkaStorageError)))
        .collect();
    let mut by_directory: Vec<(Arc<Appends>, Vec<Placed>)> = Vec::new();
    for (at, found) in found.into_iter().enumerate() {
        let Ok(partition) = found else { continue };
        let appends = partition.appends();
        match by_directory
            .iter_mut()
            .find(|(its, _)| Arc::ptr_eq(its, &appends))
        {
            Some((_, partitions)) => partitions.push((at, partition)),
            None => by_directory.push((appends, vec![(at, partition)])),
        }
    }
    let mut directories = JoinSet::new();
    for (appends, partitions) in by_directory {
        let batch = batch.clone();
        let append_all = move || -> Vec<_> {
            let partitions = partitions.into_iter();
            partitions
                .map(|(at, one)| (at, append(one, &batch, marker)))
                .collect()
        };
        directories.spawn(async move { appends.run(append_all).await });
    }
    while let Some(done) = directories.join_next().await {
        for (at, outcome) in done.ok().flatten().unwrap_or_default() {
            if let Some(appended) = appended.get_mut(at) {
                *appended = outcome;
            }
        }
    }
    appended
}

/// As [`append`], on this thread.
fn append_here(
    partition: Arc<Partition>,
    batch: &Bytes,
    marker: Marker,
) -> Result<(Arc<Partition>, Offset), Refusal> {
    let here = || append(partition, batch, marker);
    // IMPORTANT: a panic must not take along whoever carries the marker: nobody else has the demand.
    catch_unwind(AssertUnwindSafe(here)).unwrap_or(Err(Refusal::KafkaStorageError))
}

/// The end of the log behind the marker.
fn append(
    partition: Arc<Partition>,
    batch: &Bytes,
    marker: Marker,
) -> Result<(Arc<Partition>, Offset), Refusal> {
    match partition.append_marker(batch, marker.rule(), None) {
        Ok(appended) => Ok((partition, appended.end)),
        Err(refused) => Err(refused.refused.refusal),
    }
}

/// Resolves when everything before `end` is committed.
async fn committed(
    partition: &Partition,
    end: Offset,
    deadline: Instant,
    waiter: &Arc<Waiter>,
) -> Result<(), Refusal> {
    loop {
        // Parked first, looked at second: what happens in between wakes us.
        if partition.high_watermark() >= end {
            return Ok(());
        }
        partition.high_watermark_parking().park(waiter);
        if partition.high_watermark() >= end {
            return Ok(());
        }
        if let Some(refusal) = partition.append_fault() {
            return Err(refusal);
        }
        if timeout_at(deadline, waiter.woken()).await.is_err() {
            return Err(Refusal::RequestTimedOut);
        }
    }
}

/// A transaction coordinator knows no such errors: it shall ask again.
fn not_ready(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::CoordinatorNotAvailable
        | Refusal::CoordinatorLoadInProgress
        | Refusal::NotCoordinator => Refusal::NotLeaderOrFollower,
        other => other,
    }
}

/// What an answer means to the one who carries the marker.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Done,
    Again,
    /// Somebody else has gone on with this producer.
    GiveUp,
}

fn fate(outcome: Result<(), Refusal>) -> Fate {
    match outcome {
        Ok(()) | Err(Refusal::UnsupportedVersion | Refusal::UnsupportedForMessageFormat) => {
            Fate::Done
        }
        Err(Refusal::InvalidProducerEpoch | Refusal::TransactionCoordinatorFenced) => Fate::GiveUp,
        Err(_) => Fate::Again,
    }
}

/// Carries the demands of the transaction ledgers of this node: each transaction has one at most, and
/// they wait for nothing of each other's but the threads of the log directories.
pub(crate) struct Carrier {
    /// The data plane.
    runtime: Handle,
    writer: Arc<MarkerWriter>,
    feed: Arc<ImageFeed>,
    metrics: Arc<Metrics>,
    /// Whose demands these are. It holds us, so we do not hold it.
    host: OnceLock<Weak<TxnHost>>,
}

impl Carrier {
    pub(crate) fn new(
        runtime: Handle,
        writer: Arc<MarkerWriter>,
        feed: Arc<ImageFeed>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            writer,
            feed,
            metrics,
            host: OnceLock::new(),
        })
    }

    pub(crate) fn serve(&self, host: &Arc<TxnHost>) {
        let _ = self.host.set(Arc::downgrade(host));
    }

    pub(crate) fn carry(self: &Arc<Self>, errand: TxnErrand) {
        let carrier = self.clone();
        self.runtime.spawn(async move {
            if let Err(refusal) = carrier.run(&errand).await {
                // The ledger is gone, and whoever loads its log next has the demand again.
                tracing::debug!(refusal = refusal.name(), "markers are carried no further");
            }
        });
    }

    async fn run(&self, errand: &TxnErrand) -> Result<(), Refusal> {
        let demand = &errand.demand;
        let host = || {
            let host = self.host.get().and_then(Weak::upgrade);
            host.ok_or(Refusal::NotCoordinator)
        };
        let index = host()?
            .partition_of(&demand.transactional_id)
            .ok_or(Refusal::NotCoordinator)?;
        let mut left = demand.partitions.clone();
        let decided = Instant::now();
        loop {
            let (done, refused) = self.attempt(demand, &left).await;
            if !done.is_empty() {
                for (topic, partition) in done.iter() {
                    left.remove(topic, partition);
                }
                host()?.markers_done(index, demand.clone(), done).await?;
            }
            if let Some(refusal) = refused {
                tracing::warn!(
                    transactional_id = &*demand.transactional_id,
                    producer_id = demand.producer_id,
                    refusal = refusal.name(),
                    "a partition refuses the end of a transaction: another has gone on with its producer"
                );
                return host()?.markers_refused(index, demand.clone()).await;
            }
            if left.is_empty() {
                self.metrics.markers.observe(decided.elapsed());
                return Ok(());
            }
            tokio::time::sleep(RETRY_PAUSE).await;
            // IMPORTANT: what another demand for this transaction has ended, this one would end again, and
            // with it the next transaction of its producer.
            if errand.is_void() || !host()?.is_seated(&demand.transactional_id) {
                return Err(Refusal::NotCoordinator);
            }
        }
    }

    /// One round: what is done, and why it is to be given up.
    async fn attempt(
        &self,
        demand: &Markers,
        left: &PartitionSet,
    ) -> (PartitionSet, Option<Refusal>) {
        let mut done = PartitionSet::default();
        let mut into = Vec::new();
        let image = self.feed.image();
        for (topic, partition) in left.iter() {
            if image.topics.partition(topic, partition).is_some() {
                into.push((Arc::from(topic), partition));
            } else {
                // Deleted: there is nothing that could end. (Kafka takes a partition without a leader
                // for deleted, too; its transaction stays open there for ever.)
                done.insert(topic, partition);
            }
        }
        let mut given_up = None;
        for ((topic, partition), outcome) in self.writer.write(Marker::of(demand), into).await {
            match fate(outcome) {
                Fate::Done => {
                    done.insert(&topic, partition);
                }
                Fate::GiveUp => given_up = outcome.err(),
                Fate::Again => {
                    tracing::debug!(
                        transactional_id = &*demand.transactional_id,
                        topic = &*topic,
                        partition,
                        ?outcome,
                        "marker not written; trying again"
                    );
                }
            }
        }
        (done, given_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fenced_coordinator_gives_up() {
        assert_eq!(fate(Ok(())), Fate::Done);
        assert_eq!(fate(Err(Refusal::UnsupportedVersion)), Fate::Done);
        assert_eq!(
            fate(Err(Refusal::TransactionCoordinatorFenced)),
            Fate::GiveUp
        );
        assert_eq!(fate(Err(Refusal::InvalidProducerEpoch)), Fate::GiveUp);
        for again in [
            Refusal::UnknownTopicOrPartition,
            Refusal::NotLeaderOrFollower,
            Refusal::NotEnoughReplicas,
            Refusal::RequestTimedOut,
            Refusal::KafkaStorageError,
        ] {
            assert_eq!(fate(Err(again)), Fate::Again);
        }
    }

    #[test]
    fn the_version_decides_the_rule() {
        let marker = |transaction_version| Marker {
            producer_id: 1,
            producer_epoch: 0,
            coordinator_epoch: 0,
            is_commit: true,
            transaction_version,
        };
        assert_eq!(marker(1).rule(), TransactionVersion::SameEpoch);
        assert_eq!(marker(2).rule(), TransactionVersion::BumpedEpoch);
    }
}

//! Hosts of the group ledgers: one task for each `__consumer_offsets` partition led here.
//!
//! Runs on the control plane and never touches a disk itself: loads and appends go to blocking
//! threads. While an append is under way, heartbeats are still decided (they rest on soft state),
//! everything else of that partition waits in line; so a disk that stalls costs no member its
//! session.

mod shard;
mod internal_topics;
mod producer_ids;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ottla_coordinators::{
    GroupDecision, GroupLedger, GroupReply, GroupSettings, Now, Read, partition_for_group,
};
use ottla_protocol::Refusal;
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::partitions::Partition;
use shard::{Op, RELOAD_PAUSE, Shard, ShardState};

pub use internal_topics::{
    GROUP_METADATA_TOPIC, SHARE_STATE_TOPIC, TRANSACTION_STATE_TOPIC, create_group_topic,
    is_internal_topic,
};
pub use producer_ids::ProducerIds;
pub(crate) use shard::ShardCounts;

/// Requests that may wait in line for one partition of `__consumer_offsets`.
const QUEUE_MAX: usize = 10_000;

/// How a request may be decided while an append is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// In line, behind everything that came before.
    InLine,
    /// At once: it rests on soft state and writes nothing.
    AtOnce,
}

/// The group coordinators of this node.
pub struct GroupHost {
    control: Handle,
    settings: RwLock<GroupSettings>,
    clock: crate::Clock,
    commit_timeout: Duration,
    shards: RwLock<HashMap<i32, ShardHandle>>,
    /// How many partitions `__consumer_offsets` has; 0 while there is none.
    n_partitions: std::sync::atomic::AtomicI32,
}

struct ShardHandle {
    queue: mpsc::Sender<Op>,
    state: Arc<ShardState>,
}

impl ShardHandle {
    /// The queue of a partition that is loaded and has room.
    fn queue(&self, pace: Pace) -> Result<mpsc::Sender<Op>, Refusal> {
        if let Some(refusal) = self.state.refusal() {
            return Err(refusal);
        }
        if pace == Pace::InLine && self.state.n_in_line() >= QUEUE_MAX {
            return Err(Refusal::CoordinatorNotAvailable);
        }
        Ok(self.queue.clone())
    }
}

impl GroupHost {
    pub(crate) fn new(
        control: Handle,
        settings: GroupSettings,
        clock: crate::Clock,
        commit_timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            control,
            settings: RwLock::new(settings),
            clock,
            commit_timeout,
            shards: RwLock::default(),
            n_partitions: std::sync::atomic::AtomicI32::new(0),
        })
    }

    /// The partition of `__consumer_offsets` that coordinates a group, if there is one.
    pub fn partition_of(&self, group_id: &str) -> Option<i32> {
        match self.n_partitions.load(std::sync::atomic::Ordering::Acquire) {
            0 => None,
            n => Some(partition_for_group(group_id, n)),
        }
    }

    /// Whether this node has taken the chair for a group, loaded or not yet. A topic is in the
    /// image a moment before its partitions are taken in.
    pub fn is_seated(&self, group_id: &str) -> bool {
        self.partition_of(group_id)
            .is_some_and(|index| self.shards.read().contains_key(&index))
    }

    /// Takes the chair of a partition: its groups are loaded from the log.
    pub(crate) fn lead(self: &Arc<Self>, n_partitions: i32, partition: Arc<Partition>) {
        self.n_partitions
            .store(n_partitions, std::sync::atomic::Ordering::Release);
        let index = partition.id().partition;
        let mut shards = self.shards.write();
        if shards.contains_key(&index) {
            return;
        }
        let (handle, shard) = self.shard(partition.clone());
        let kept = keep(Arc::downgrade(self), partition, shard, handle.state.clone());
        shards.insert(index, handle);
        self.control.spawn(kept);
    }

    fn shard(&self, partition: Arc<Partition>) -> (ShardHandle, Shard) {
        let (queue, incoming) = mpsc::channel(QUEUE_MAX);
        let state = Arc::new(ShardState::default());
        let shard = Shard::new(
            partition,
            self.settings.read().clone(),
            incoming,
            state.clone(),
            self.clock.clone(),
            self.commit_timeout,
        );
        (ShardHandle { queue, state }, shard)
    }

    /// Another shard in the place of one that ended, unless the chair was left meanwhile.
    fn seat_again(
        &self,
        partition: &Arc<Partition>,
        ended: &Arc<ShardState>,
    ) -> Option<(Shard, Arc<ShardState>)> {
        let mut shards = self.shards.write();
        let seat = shards.get_mut(&partition.id().partition)?;
        if !Arc::ptr_eq(&seat.state, ended) {
            return None;
        }
        let (handle, shard) = self.shard(partition.clone());
        let state = handle.state.clone();
        *seat = handle;
        Some((shard, state))
    }

    /// Leaves the chair: everyone who waits is told to look elsewhere.
    pub(crate) fn resign(&self, index: i32) {
        // Dropping the queue's sender ends the task after it has answered everyone.
        self.shards.write().remove(&index);
    }

    /// Puts other settings in force.
    pub(crate) fn change_settings(&self, settings: GroupSettings) {
        if *self.settings.read() == settings {
            return;
        }
        *self.settings.write() = settings.clone();
        for shard in self.shards.read().values() {
            shard.state.tune(settings.clone());
        }
    }

    pub(crate) fn resign_all(&self) {
        self.shards.write().clear();
    }

    /// A topic was deleted: what groups committed for it is forgotten.
    pub(crate) fn topic_deleted(&self, name: &str, id: ottla_protocol::Uuid) {
        for shard in self.shards.read().values() {
            let name = name.to_owned();
            let op = Op::decide(Pace::InLine, move |ledger, _| {
                ledger.topic_deleted(&name, id)
            })
            .0;
            // A full queue means a disk that stalls: wait for it, but hold nobody up.
            if let Err(TrySendError::Full(op)) = shard.queue.try_send(op) {
                let queue = shard.queue.clone();
                self.control
                    .spawn(async move { drop(queue.send(op).await) });
            }
        }
    }

    /// Decides on a request of a group and gives its reply when that may leave.
    ///
    /// # Errors
    /// `NOT_COORDINATOR`, `COORDINATOR_LOAD_IN_PROGRESS`, `COORDINATOR_NOT_AVAILABLE`.
    pub async fn decide<Reply>(
        &self,
        group_id: &str,
        pace: Pace,
        run: impl FnOnce(&mut GroupLedger, Now) -> GroupDecision + Send + 'static,
    ) -> Result<Reply, Refusal>
    where
        Reply: TryFrom<GroupReply>,
    {
        if group_id.is_empty() && pace == Pace::AtOnce {
            return Err(Refusal::InvalidGroupId);
        }
        let index = self.partition_of(group_id).ok_or(Refusal::NotCoordinator)?;
        let queue = self.active(index, pace)?;
        let (op, reply) = Op::decide(pace, run);
        queue
            .try_send(op)
            .map_err(|_| Refusal::CoordinatorNotAvailable)?;
        let reply = reply.await.map_err(|_| Refusal::NotCoordinator)?;
        Reply::try_from(reply).map_err(|_| Refusal::UnknownServerError)
    }

    /// Looks at a group; the answer leaves when what it rests on is committed.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub async fn look<T: Send + 'static>(
        &self,
        group_id: &str,
        look: impl FnOnce(&GroupLedger) -> Read<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let index = self.partition_of(group_id).ok_or(Refusal::NotCoordinator)?;
        self.look_at(index, look).await
    }

    /// Looks at every partition led here.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS` if one of them is not loaded yet.
    pub async fn look_everywhere<T: Send + 'static>(
        &self,
        look: impl Fn(&GroupLedger) -> Read<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, Refusal> {
        let mut indexes: Vec<i32> = self.shards.read().keys().copied().collect();
        indexes.sort_unstable();
        let mut found = Vec::with_capacity(indexes.len());
        for index in indexes {
            found.push(self.look_at(index, look.clone()).await?);
        }
        Ok(found)
    }

    async fn look_at<T: Send + 'static>(
        &self,
        index: i32,
        look: impl FnOnce(&GroupLedger) -> Read<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let queue = self.active(index, Pace::InLine)?;
        let (sender, answer) = oneshot::channel();
        let op = Op::look(move |ledger| {
            let Read { reply, when } = look(ledger);
            (when, Box::new(move || drop(sender.send(reply))))
        });
        queue
            .try_send(op)
            .map_err(|_| Refusal::CoordinatorNotAvailable)?;
        answer.await.map_err(|_| Refusal::NotCoordinator)
    }

    fn active(&self, index: i32, pace: Pace) -> Result<mpsc::Sender<Op>, Refusal> {
        let shards = self.shards.read();
        let shard = shards.get(&index).ok_or(Refusal::NotCoordinator)?;
        shard.queue(pace)
    }

    /// What metrics show of the partitions led here.
    pub fn counts(&self) -> Vec<ShardCounts> {
        self.shards
            .read()
            .values()
            .map(|shard| shard.state.counts())
            .collect()
    }
}

/// Runs a partition's groups until the chair is left. A contradiction in them ends only what was
/// going on: the log, which knows all that counts, is read again.
async fn keep(
    host: Weak<GroupHost>,
    partition: Arc<Partition>,
    mut shard: Shard,
    mut state: Arc<ShardState>,
) {
    loop {
        match tokio::spawn(shard.run()).await {
            Err(ended) if ended.is_panic() => {
                tracing::error!(partition = %partition.id(), why = %ended, "the groups of a partition contradict themselves; they are loaded again");
            }
            _ => return,
        }
        tokio::time::sleep(RELOAD_PAUSE).await;
        let Some(host) = host.upgrade() else { return };
        match host.seat_again(&partition, &state) {
            Some(again) => (shard, state) = again,
            None => return,
        }
    }
}

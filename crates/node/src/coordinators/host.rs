//! One task for each partition of an internal topic that is led here, and the way to it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ottla_coordinators::{Decision, Now, Read};
use ottla_protocol::{LeaderEpoch, Refusal};
use ottla_storage::producer::Verified;
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::ledger::{Errands, Ledger};
use super::shard::{Op, Outcome, RELOAD_PAUSE, Shard, ShardState, Surroundings};
use super::txn_markers::Marker;
use crate::partitions::Partition;

/// Requests that may wait in line for one partition of an internal topic.
const QUEUE_MAX: usize = 10_000;

/// How a request may be decided while an append is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// In line, behind everything that came before.
    InLine,
    /// At once: it rests on soft state and writes nothing.
    AtOnce,
}

/// The coordinators of one kind on this node.
#[expect(
    private_bounds,
    reason = "what a ledger is to its host is the host's affair"
)]
pub struct Host<L: Ledger> {
    runtime: Handle,
    /// Whether that runtime's threads serve producers, too: then appends are done on them.
    appends_here: bool,
    settings: RwLock<L::Settings>,
    around: L::Around,
    errands: Errands<L>,
    clock: crate::Clock,
    commit_timeout: Duration,
    shards: RwLock<HashMap<i32, ShardHandle<L>>>,
    /// Partitions that are here and whose logs are not open yet.
    awaited: RwLock<HashSet<i32>>,
    /// How many partitions the topic has; 0 while there is none.
    n_partitions: AtomicI32,
}

struct ShardHandle<L: Ledger> {
    queue: mpsc::Sender<Op<L>>,
    state: Arc<ShardState<L>>,
    epoch: LeaderEpoch,
}

impl<L: Ledger> ShardHandle<L> {
    /// The queue of a partition that is loaded and has room.
    fn queue(&self, pace: Pace) -> Result<mpsc::Sender<Op<L>>, Refusal> {
        if let Some(refusal) = self.state.refusal() {
            return Err(refusal);
        }
        if pace == Pace::InLine && self.state.n_in_line() >= QUEUE_MAX {
            return Err(Refusal::CoordinatorNotAvailable);
        }
        Ok(self.queue.clone())
    }
}

/// What a host is made with.
pub(crate) struct NewHost<L: Ledger> {
    /// Where its tasks run.
    pub(crate) runtime: Handle,
    /// Whether that is the data plane, whose threads do appends themselves while the disk is fast.
    pub(crate) appends_here: bool,
    pub(crate) settings: L::Settings,
    pub(crate) around: L::Around,
    pub(crate) errands: Errands<L>,
    pub(crate) clock: crate::Clock,
    /// How long a reply may wait for its records to be committed.
    pub(crate) commit_timeout: Duration,
}

#[expect(
    private_bounds,
    reason = "what a ledger is to its host is the host's affair"
)]
impl<L: Ledger> Host<L> {
    pub(crate) fn new(new: NewHost<L>) -> Self {
        Self {
            runtime: new.runtime,
            appends_here: new.appends_here,
            settings: RwLock::new(new.settings),
            around: new.around,
            errands: new.errands,
            clock: new.clock,
            commit_timeout: new.commit_timeout,
            shards: RwLock::default(),
            awaited: RwLock::default(),
            n_partitions: AtomicI32::new(0),
        }
    }

    /// What its ledgers are lent.
    pub(super) fn around(&self) -> &L::Around {
        &self.around
    }

    /// The partition that coordinates a key (a group id, a transactional id), if there is one.
    pub fn partition_of(&self, key: &str) -> Option<i32> {
        match self.n_partitions.load(Ordering::Acquire) {
            0 => None,
            n => Some(L::partition_for(key, n)),
        }
    }

    /// Whether this node has taken the chair for a key, loaded or not yet. A topic is in the image
    /// a moment before its partitions are taken in.
    pub fn is_seated(&self, key: &str) -> bool {
        self.partition_of(key).is_some_and(|index| {
            self.shards.read().contains_key(&index) || self.awaited.read().contains(&index)
        })
    }

    /// These partitions are here, and are led once their logs are open.
    pub(crate) fn expect(&self, n_partitions: i32, indexes: impl Iterator<Item = i32>) {
        self.n_partitions.store(n_partitions, Ordering::Release);
        self.awaited.write().extend(indexes);
    }

    /// The log of a partition is open, or cannot be opened.
    pub(crate) fn came(&self, index: i32) {
        self.awaited.write().remove(&index);
    }

    /// Takes the chair of a partition that `find` says is led here, and one of how many it is: what it
    /// holds is loaded from the log. In another epoch it is loaded anew, since others may have written between the two.
    /// Leaves the chair if it finds none: everyone who waits is told to look elsewhere.
    pub(crate) fn settle(
        self: &Arc<Self>,
        index: i32,
        find: impl FnOnce() -> Option<(i32, Arc<Partition>)>,
    ) {
        settle(&self.shards, index, |seated| {
            // Dropping the queue's sender ends the task after it has answered everyone.
            let (n_partitions, partition) = find()?;
            self.n_partitions.store(n_partitions, Ordering::Release);
            if let Some(seated) = seated.filter(|seat| seat.epoch == epoch_of(&partition)) {
                return Some(seated);
            }
            let (handle, shard) = self.shard(partition.clone(), ShardState::new());
            let kept = keep(Arc::downgrade(self), partition, shard, handle.state.clone());
            self.runtime.spawn(kept);
            Some(handle)
        });
    }

    fn shard(&self, partition: Arc<Partition>, state: ShardState<L>) -> (ShardHandle<L>, Shard<L>) {
        let (queue, incoming) = mpsc::channel(QUEUE_MAX);
        let state = Arc::new(state);
        let with = Surroundings {
            settings: self.settings.read().clone(),
            around: self.around.clone(),
            errands: self.errands.clone(),
            clock: self.clock.clone(),
            commit_timeout: self.commit_timeout,
            appends_here: self.appends_here,
        };
        let epoch = epoch_of(&partition);
        let shard = Shard::new(partition, epoch, with, incoming, state.clone());
        let handle = ShardHandle {
            queue,
            state,
            epoch,
        };
        (handle, shard)
    }

    /// Another shard in the place of one that ended, unless the chair was left meanwhile.
    fn seat_again(
        &self,
        partition: &Arc<Partition>,
        ended: &Arc<ShardState<L>>,
    ) -> Option<(Shard<L>, Arc<ShardState<L>>)> {
        let mut shards = self.shards.write();
        let seat = shards.get_mut(&partition.id().partition)?;
        if !Arc::ptr_eq(&seat.state, ended) {
            return None;
        }
        let (handle, shard) = self.shard(partition.clone(), ended.next());
        let state = handle.state.clone();
        *seat = handle;
        Some((shard, state))
    }

    pub(crate) fn resign_all(&self) {
        self.shards.write().clear();
    }

    /// Puts other settings in force.
    pub(crate) fn change_settings(&self, settings: L::Settings) {
        if *self.settings.read() == settings {
            return;
        }
        *self.settings.write() = settings.clone();
        for shard in self.shards.read().values() {
            shard.state.tune(settings.clone());
        }
    }

    /// Puts something into the line of every partition that nobody waits for.
    pub(super) fn tell_all<Run>(&self, run: impl Fn() -> Run)
    where
        Run: FnOnce(&mut L, Now) -> Decision<L::Record, L::Reply> + Send + 'static,
    {
        for shard in self.shards.read().values() {
            let (op, _) = Op::decide(Pace::InLine, Verified::NotAsked, run());
            // A full queue means a disk that stalls: wait for it, but hold nobody up.
            if let Err(TrySendError::Full(op)) = shard.queue.try_send(op) {
                let queue = shard.queue.clone();
                self.runtime
                    .spawn(async move { drop(queue.send(op).await) });
            }
        }
    }

    /// Decides on a request and gives its reply when that may leave.
    ///
    /// # Errors
    /// `NOT_COORDINATOR`, `COORDINATOR_LOAD_IN_PROGRESS`, `COORDINATOR_NOT_AVAILABLE`.
    pub(super) async fn decide_on<Reply>(
        &self,
        key: &str,
        pace: Pace,
        verified: Verified,
        run: impl FnOnce(&mut L, Now) -> Decision<L::Record, L::Reply> + Send + 'static,
    ) -> Result<Reply, Refusal>
    where
        Reply: TryFrom<L::Reply>,
    {
        let index = self.partition_of(key).ok_or(Refusal::NotCoordinator)?;
        let (mut op, reply) = Op::decide(pace, verified, run);
        if verified == Verified::NotAsked {
            op = op.only_about(key);
        }
        let reply = self.ask(index, pace, op, reply).await?;
        Reply::try_from(reply).map_err(|_| Refusal::UnknownServerError)
    }

    /// As [`Self::decide_on`], about more than this key of its partition: what came before is
    /// written first, and what comes behind waits.
    pub(super) async fn decide_alone<Reply>(
        &self,
        key: &str,
        run: impl FnOnce(&mut L, Now) -> Decision<L::Record, L::Reply> + Send + 'static,
    ) -> Result<Reply, Refusal>
    where
        Reply: TryFrom<L::Reply>,
    {
        let index = self.partition_of(key).ok_or(Refusal::NotCoordinator)?;
        let (op, reply) = Op::decide(Pace::InLine, Verified::NotAsked, run);
        let reply = self.ask(index, Pace::InLine, op, reply).await?;
        Reply::try_from(reply).map_err(|_| Refusal::UnknownServerError)
    }

    /// Puts news into the line of one partition of this host, which may be about one key. They may
    /// not be lost while it is led here, so a full queue is waited for; nobody answers news.
    pub(super) async fn tell(
        &self,
        index: i32,
        about: Option<&str>,
        run: impl FnOnce(&mut L, Now) -> Decision<L::Record, L::Reply> + Send + 'static,
    ) -> Result<(), Refusal> {
        let (mut op, _) = Op::decide(Pace::InLine, Verified::NotAsked, run);
        if let Some(key) = about {
            op = op.only_about(key);
        }
        // They wait behind the line, however long it is.
        let queue = self.active(index, Pace::AtOnce)?;
        queue.send(op).await.map_err(|_| Refusal::NotCoordinator)
    }

    /// A transaction ends in one of the partitions; resolves when its marker is committed.
    ///
    /// # Errors
    /// As [`Self::decide_on`], and what the append says.
    pub(super) async fn mark(&self, index: i32, marker: Marker) -> Result<(), Refusal> {
        let (op, outcome) = Op::mark(marker);
        self.ask(index, Pace::InLine, op, outcome).await?
    }

    /// Looks at what there is of a key; the answer leaves when what it rests on is committed.
    ///
    /// # Errors
    /// As [`Self::decide_on`].
    pub async fn look<T: Send + 'static>(
        &self,
        key: &str,
        look: impl FnOnce(&L) -> Read<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let index = self.partition_of(key).ok_or(Refusal::NotCoordinator)?;
        self.look_at(index, |ledger, _| look(ledger)).await
    }

    /// Looks at every partition led here.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS` if one of them is not loaded yet, `COORDINATOR_NOT_AVAILABLE`
    /// if one does not answer in time.
    pub async fn look_everywhere<T: Send + 'static>(
        &self,
        look: impl Fn(&L, Now) -> Read<T> + Clone + Send + 'static,
    ) -> Result<Vec<T>, Refusal> {
        if !self.awaited.read().is_empty() {
            return Err(Refusal::CoordinatorLoadInProgress);
        }
        let mut indexes: Vec<i32> = self.shards.read().keys().copied().collect();
        indexes.sort_unstable();
        let mut found = Vec::with_capacity(indexes.len());
        for index in indexes {
            match self.look_at(index, look.clone()).await {
                // It has gone to another node since, which is asked as well, or it cannot be read.
                Err(Refusal::NotCoordinator) if !self.is_served(index) => {}
                // It is to be read again.
                Err(Refusal::NotCoordinator) => return Err(Refusal::CoordinatorNotAvailable),
                looked => found.push(looked?),
            }
        }
        Ok(found)
    }

    async fn look_at<T: Send + 'static>(
        &self,
        index: i32,
        look: impl FnOnce(&L, Now) -> Read<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, answer) = oneshot::channel();
        let op = Op::look(move |ledger, now| {
            let Read { reply, when } = look(ledger, now);
            let deliver = move |outcome| {
                let _ = sender.send(match outcome {
                    Outcome::Committed => Ok(reply),
                    Outcome::TimedOut => Err(Refusal::CoordinatorNotAvailable),
                });
            };
            (when, Box::new(deliver))
        });
        self.ask(index, Pace::InLine, op, answer).await?
    }

    async fn ask<T>(
        &self,
        index: i32,
        pace: Pace,
        op: Op<L>,
        answer: oneshot::Receiver<T>,
    ) -> Result<T, Refusal> {
        let queue = self.active(index, pace)?;
        queue.try_send(op).map_err(|unsent| match unsent {
            TrySendError::Full(_) => Refusal::CoordinatorNotAvailable,
            TrySendError::Closed(_) => L::UNAVAILABLE,
        })?;
        answer.await.map_err(|_| Refusal::NotCoordinator)
    }

    /// Whether somebody sits there who can answer, or soon will.
    fn is_served(&self, index: i32) -> bool {
        let shards = self.shards.read();
        shards
            .get(&index)
            .is_some_and(|seat| !seat.state.has_failed())
    }

    fn active(&self, index: i32, pace: Pace) -> Result<mpsc::Sender<Op<L>>, Refusal> {
        let shards = self.shards.read();
        let Some(shard) = shards.get(&index) else {
            return Err(match self.awaited.read().contains(&index) {
                true => Refusal::CoordinatorLoadInProgress,
                false => Refusal::NotCoordinator,
            });
        };
        shard.queue(pace)
    }

    /// How many partitions are led here and loaded, how many are not loaded yet, and what metrics
    /// show of each.
    pub(crate) fn counts(&self) -> (usize, usize, Vec<L::Counts>) {
        let shards = self.shards.read();
        let n_active = shards
            .values()
            .filter(|shard| shard.state.is_active())
            .count();
        let counts = shards.values().map(|shard| shard.state.counts()).collect();
        (n_active, shards.len() - n_active, counts)
    }
}

/// Says who is seated for a partition, given who was.
///
/// IMPORTANT: `choose` looks at the partition while nobody else settles its chair. The thread that opens
/// logs does so beside the one that takes in the metadata: what one saw before the other's turn would
/// throw out who sits there now.
fn settle<T>(
    seats: &RwLock<HashMap<i32, T>>,
    index: i32,
    choose: impl FnOnce(Option<T>) -> Option<T>,
) {
    let mut seats = seats.write();
    let seated = seats.remove(&index);
    if let Some(seated) = choose(seated) {
        seats.insert(index, seated);
    }
}

/// A partition that is no longer led here refuses every append, whatever epoch it had.
fn epoch_of(partition: &Partition) -> LeaderEpoch {
    partition.leader_epoch().unwrap_or_default()
}

/// Runs a partition's ledger until the chair is left. A contradiction in it ends only what was
/// going on: the log, which knows all that counts, is read again.
async fn keep<L: Ledger>(
    host: Weak<Host<L>>,
    partition: Arc<Partition>,
    mut shard: Shard<L>,
    mut state: Arc<ShardState<L>>,
) {
    loop {
        match tokio::spawn(shard.run()).await {
            Err(ended) if ended.is_panic() => {
                tracing::error!(partition = %partition.id(), why = %ended, "the {} of a partition contradict themselves; they are loaded again", L::WHAT);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::channel;

    #[test]
    fn who_settles_a_chair_last_has_seen_the_partition_last() {
        let (seats, is_led) = (RwLock::default(), AtomicBool::new(false));
        let look = |_: Option<()>| is_led.load(Ordering::Acquire).then_some(());
        let ((looked, has_looked), (settled, has_settled)) = (channel(), channel());
        let (seats, is_led) = (&seats, &is_led);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                settle(seats, 0, |seated| {
                    let found = look(seated);
                    looked.send(()).unwrap();
                    // The other one has its turn here, if it can.
                    let _ = has_settled.recv_timeout(Duration::from_millis(100));
                    found
                });
            });
            has_looked.recv().unwrap();
            is_led.store(true, Ordering::Release);
            settle(seats, 0, look);
            let _ = settled.send(());
        });
        assert!(seats.read().contains_key(&0));
    }
}

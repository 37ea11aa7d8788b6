//! The active controller's queue: decide, append, replay, publish, answer.
//!
//! One task on the control plane owns the quorum and the ledger. Requests that come together are
//! decided one after the other, each on what the former left, and share one append and one flush.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_metadata::controller::{Batch, Bootstrap, Controller, Decision};
use ottla_metadata::image::{Loader, Provenance};
use ottla_metadata::records::Record;
use ottla_protocol::{LeaderEpoch, Offset, Refusal};
use ottla_raft::snapshot::{Schedule, SnapshotId, SnapshotWriter};
use ottla_raft::{Command, Description, Quorum, fits_a_batch};
use ottla_storage::Fault;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::image_loader::ImageFeed;
use super::log::LogHandle;
use crate::clock::Clock;

/// Requests that may wait for the controller.
const QUEUE_MAX: usize = 1000;
/// Requests that share one append.
const TOGETHER_MAX: usize = 100;
/// Between two attempts to write to a full disk.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(500);
/// How often old snapshots are looked for, as in Kafka.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// Lets the reply go, or tells why nothing of it was done.
type Deliver = Box<dyn FnOnce(Result<(), Refusal>) + Send>;
type Reply = Box<dyn FnOnce() + Send>;
type Run = Box<dyn FnOnce(&Controller, Offset) -> (Vec<Batch>, Deliver) + Send>;

/// What the task needs besides the quorum.
pub(super) struct Host {
    pub(super) quorum: Quorum,
    pub(super) controller: Controller,
    pub(super) loader: Loader,
    pub(super) bootstrap: Bootstrap,
    pub(super) log: LogHandle,
    pub(super) feed: Arc<ImageFeed>,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
}

/// From the settings of the metadata log.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) idle_max: Option<Duration>,
    pub(super) snapshot_bytes: u64,
    pub(super) snapshot_interval: Option<Duration>,
    pub(super) retention_bytes: i64,
    pub(super) retention_ms: i64,
}

/// The way to the active controller.
#[derive(Clone)]
pub struct ControllerHandle {
    requests: mpsc::Sender<Run>,
    describe: Arc<Mutex<Option<Description>>>,
    is_active: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    kraft_version: Arc<AtomicI16>,
}

impl ControllerHandle {
    /// Decides on a request. The reply comes when the records are committed and this node has
    /// taken them in: whoever is told that a topic exists finds it here.
    ///
    /// # Errors
    /// `NOT_CONTROLLER` while no controller is active here, `RECORD_LIST_TOO_LARGE` for more than a
    /// batch of the metadata log may hold, `UNKNOWN_SERVER_ERROR` for what no record holds or what
    /// contradicts itself: then nothing is done.
    pub async fn decide<Reply: Send + 'static>(
        &self,
        run: impl FnOnce(&Controller, Offset) -> Decision<Reply> + Send + 'static,
    ) -> Result<Reply, Refusal> {
        if !*self.is_active.borrow() {
            return Err(Refusal::NotController);
        }
        let (sender, answer) = oneshot::channel();
        let run: Run = Box::new(move |controller, next_offset| {
            let Decision { batches, reply } = run(controller, next_offset);
            let deliver = move |done: Result<(), Refusal>| drop(sender.send(done.map(|()| reply)));
            (batches, Box::new(deliver))
        });
        self.requests
            .send(run)
            .await
            .map_err(|_| Refusal::NotController)?;
        answer.await.unwrap_or(Err(Refusal::NotController))
    }

    /// Resolves when this node's controller is active.
    pub(crate) async fn active(&self) -> Result<(), Refusal> {
        let mut is_active = self.is_active.clone();
        is_active
            .wait_for(|is_active| *is_active)
            .await
            .map(drop)
            .map_err(|_| Refusal::NotController)
    }

    /// Ends the controller once what was asked before is done.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub fn is_active(&self) -> bool {
        *self.is_active.borrow()
    }

    /// For DescribeQuorum and metrics; none while this node does not lead.
    pub fn describe(&self) -> Option<Description> {
        self.describe.lock().clone()
    }

    /// The finalized level of `kraft.version`, which the quorum keeps itself.
    pub fn kraft_version(&self) -> i16 {
        self.kraft_version.load(Ordering::Acquire)
    }
}

/// A batch that is appended, or on its way, and not committed yet.
pub(super) struct Uncommitted {
    pub(super) records: Vec<Record>,
    pub(super) through: Provenance,
    /// What it takes in the log, if it was read there: what is appended is counted as it is written.
    pub(super) n_bytes: u64,
}

pub(super) struct Running {
    host: Host,
    requests: mpsc::Receiver<Run>,
    describe: Arc<Mutex<Option<Description>>>,
    is_active: watch::Sender<bool>,
    stopping: watch::Receiver<bool>,
    kraft_version: Arc<AtomicI16>,
    uncommitted: VecDeque<Uncommitted>,
    /// Replies by the offset that must be committed first.
    replies: VecDeque<(Offset, Reply)>,
    schedule: Schedule,
    last_append: Instant,
    /// Set when `Command::Lead` came: the first records must be written.
    must_activate: bool,
}

/// Makes the controller's task; it must be spawned on the control plane. `uncommitted` is what the
/// log held at start: it is shown when the quorum says that it is committed.
pub(super) fn prepare(
    host: Host,
    uncommitted: VecDeque<Uncommitted>,
) -> (ControllerHandle, Running) {
    let (sender, requests) = mpsc::channel(QUEUE_MAX);
    let describe = Arc::new(Mutex::new(None));
    let (is_active, activity) = watch::channel(false);
    let (stop, stopping) = watch::channel(false);
    let kraft_version = Arc::new(AtomicI16::new(host.quorum.kraft_version()));
    let handle = ControllerHandle {
        requests: sender,
        describe: describe.clone(),
        is_active: activity,
        stop,
        kraft_version: kraft_version.clone(),
    };
    let schedule = Schedule::new(
        host.limits.snapshot_bytes,
        host.limits.snapshot_interval,
        host.clock.quorum_now(),
    );
    let running = Running {
        host,
        requests,
        describe,
        is_active,
        stopping,
        kraft_version,
        uncommitted,
        replies: VecDeque::new(),
        schedule,
        last_append: Instant::now(),
        must_activate: false,
    };
    (handle, running)
}

impl Running {
    /// Serves until every handle is gone. A fault of the metadata log ends it: nothing of what
    /// the controller believes may be told any more.
    pub(super) async fn run(mut self) -> Result<(), Fault> {
        let mut retention = tokio::time::interval(RETENTION_INTERVAL);
        retention.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.carry_out().await?;
            if std::mem::take(&mut self.must_activate) {
                self.activate()?;
                continue;
            }
            self.describe();
            self.snapshot_if_due().await;
            let idle = self.idle_deadline();
            let timeout = self
                .host
                .quorum
                .next_timeout()
                .map(|at| self.host.clock.instant(at));
            tokio::select! {
                run = self.requests.recv() => match run {
                    Some(run) => self.take_together(run)?,
                    None => break,
                },
                () = until(timeout) => {
                    let now = self.host.clock.quorum_now();
                    self.host.quorum.handle_timeout(now);
                }
                _ = self.stopping.changed() => break,
                () = until(idle) => self.say_nothing()?,
                _ = retention.tick() => {
                    let Limits { retention_bytes, retention_ms, .. } = self.host.limits;
                    self.host.log.retain(retention_bytes, retention_ms, self.host.clock.wall_ms()).await;
                }
            }
        }
        let now = self.host.clock.quorum_now();
        self.host.quorum.handle_shutdown(now);
        self.carry_out().await
    }

    fn take_together(&mut self, first: Run) -> Result<(), Fault> {
        self.take(first)?;
        for _ in 1..TOGETHER_MAX {
            match self.requests.try_recv() {
                Ok(run) => self.take(run)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, run: Run) -> Result<(), Fault> {
        let next_offset = self.host.quorum.next_offset();
        let (batches, deliver) = run(&self.host.controller, next_offset);
        let checked = self.host.controller.check(&batches);
        let checked = checked.map_err(|why| bug(&why.to_string()));
        let (last, done) = match checked.and_then(|()| encoded(batches)) {
            // Whoever asks says how much that is: it must not come to what the log cannot take.
            Ok(batches) if batches.iter().all(|(_, values)| fits_a_batch(values)) => {
                (self.append(batches)?, Ok(()))
            }
            Ok(_) => (None, Err(Refusal::RecordListTooLarge)),
            // Nothing has come of it yet: one who asks for what no record holds, or for what
            // contradicts itself, ends nobody else's node.
            Err(fault) => {
                tracing::error!(%fault, "a request is refused");
                (None, Err(Refusal::UnknownServerError))
            }
        };
        // A reply without records waits for all that it may have seen.
        let after = last.unwrap_or_else(|| self.host.quorum.next_offset() - 1);
        self.replies
            .push_back((after, Box::new(move || deliver(done))));
        Ok(())
    }

    /// Appends and replays; the offset of the last record.
    fn append(&mut self, batches: Vec<(Batch, Vec<Bytes>)>) -> Result<Option<Offset>, Fault> {
        let mut last = None;
        for (batch, values) in batches {
            let now = self.host.clock.quorum_now();
            if let Some(level) = batch.kraft_version {
                let raised = self.host.quorum.raise_kraft_version(level, now);
                raised.map_err(|why| bug(&format!("{why:?}")))?;
            }
            let offset = self
                .host
                .quorum
                .append(&values, now)
                .map_err(|why| bug(&format!("{why:?}")))?;
            let first = offset + 1 - values.len() as Offset;
            for (record, offset) in batch.records.iter().zip(first..) {
                self.host
                    .controller
                    .replay(record, offset)
                    .map_err(|why| bug(&why.to_string()))?;
            }
            let through = Provenance {
                end_offset: offset + 1,
                epoch: self.host.quorum.epoch(),
                timestamp_ms: now.wall_ms,
            };
            self.uncommitted.push_back(Uncommitted {
                records: batch.records,
                through,
                n_bytes: 0,
            });
            self.last_append = Instant::now();
            last = Some(offset);
        }
        Ok(last)
    }

    /// Does what the quorum says until it has nothing more to say.
    async fn carry_out(&mut self) -> Result<(), Fault> {
        let mut appends: Vec<Bytes> = Vec::new();
        let mut end = None;
        loop {
            match self.host.quorum.next_command() {
                Some(Command::Append {
                    end_offset, batch, ..
                }) => {
                    self.schedule.handle_applied(batch.len() as u64);
                    appends.push(batch);
                    end = Some(end_offset);
                    let now = self.host.clock.quorum_now();
                    self.host.quorum.handle_appended(end_offset, now);
                }
                Some(Command::SaveElection { text }) => self.host.log.save_election(text).await?,
                Some(Command::LeaderChanged { epoch, leader }) => {
                    tracing::info!(epoch, ?leader, "quorum leader");
                }
                Some(Command::Lead { epoch, .. }) => {
                    tracing::info!(epoch, "controller active");
                    self.must_activate = true;
                }
                Some(Command::HighWatermark(offset)) => self.committed(offset).await?,
                None => match end.take() {
                    Some(end) => {
                        let epoch = self.host.quorum.epoch();
                        let batches = std::mem::take(&mut appends);
                        let now_ms = self.host.clock.wall_ms();
                        self.append_with_patience(batches, epoch, now_ms).await?;
                        self.host
                            .quorum
                            .handle_flushed(end, self.host.clock.quorum_now());
                    }
                    None => {
                        self.release();
                        return Ok(());
                    }
                },
            }
        }
    }

    /// A full disk is waited out: nothing was written, and there may be room again. Requests wait
    /// as long; what they ask for is not refused, since it was decided. Only a stop does not wait.
    async fn append_with_patience(
        &mut self,
        batches: Vec<Bytes>,
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let mut is_told = false;
        loop {
            match self.host.log.append(batches.clone(), epoch, now_ms).await {
                Err(fault) if fault.is_passing() => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::error!(%fault, "the metadata log waits for room");
                    }
                    tokio::select! {
                        () = tokio::time::sleep(FULL_DISK_PAUSE) => {}
                        _ = self.stopping.wait_for(|is_stopping| *is_stopping) => return Err(fault),
                    }
                }
                appended => return appended,
            }
        }
    }

    /// Takes committed records into the image, shows it to the node, and frees the replies.
    async fn committed(&mut self, offset: Offset) -> Result<(), Fault> {
        while let Some(batch) = self.uncommitted.front() {
            if batch.through.end_offset > offset {
                break;
            }
            let Some(batch) = self.uncommitted.pop_front() else {
                break;
            };
            self.host
                .loader
                .replay(&batch.records, batch.through)
                .map_err(|why| bug(&why.to_string()))?;
            self.schedule.handle_applied(batch.n_bytes);
        }
        if let Some(published) = self.host.loader.publish() {
            self.host.feed.publish(published).await;
        }
        Ok(())
    }

    fn release(&mut self) {
        // First: whoever is told that the level has risen finds it risen.
        self.kraft_version
            .store(self.host.quorum.kraft_version(), Ordering::Release);
        let committed = self.host.quorum.high_watermark().unwrap_or(0);
        while self
            .replies
            .front()
            .is_some_and(|(after, _)| *after < committed)
        {
            if let Some((_, reply)) = self.replies.pop_front() {
                reply();
            }
        }
    }

    fn activate(&mut self) -> Result<(), Fault> {
        let decision = self.host.controller.activate(&self.host.bootstrap);
        self.append(encoded(decision.batches)?)?;
        self.is_active.send_replace(true);
        Ok(())
    }

    /// A record that says no more than that the controller is alive.
    fn say_nothing(&mut self) -> Result<(), Fault> {
        let decision = self.host.controller.no_op();
        self.append(encoded(decision.batches)?)?;
        self.last_append = Instant::now();
        Ok(())
    }

    fn idle_deadline(&self) -> Option<Instant> {
        let idle_max = self
            .host
            .limits
            .idle_max
            .filter(|_| *self.is_active.borrow())?;
        Some(self.last_append + idle_max)
    }

    fn describe(&self) {
        *self.describe.lock() = self.host.quorum.describe(self.host.clock.quorum_now());
    }

    async fn snapshot_if_due(&mut self) {
        let now = self.host.clock.quorum_now();
        if self.schedule.due(now).is_none() || self.host.loader.is_in_transaction() {
            return;
        }
        self.schedule.handle_taken(now);
        let image = self.host.loader.image().clone();
        let Provenance {
            end_offset,
            epoch,
            timestamp_ms,
        } = image.provenance;
        let mut writer = SnapshotWriter::new(
            epoch,
            timestamp_ms,
            self.host.quorum.kraft_version(),
            self.host.quorum.voters(),
            now.wall_ms,
        );
        let (records, level) = image.to_records();
        for record in &records {
            match record.encode(level) {
                Ok(value) => writer.push(value),
                Err(why) => return tracing::error!(%why, "no snapshot of the metadata"),
            }
        }
        let id = SnapshotId { end_offset, epoch };
        match self.host.log.snapshot(id, writer.finish()).await {
            Ok(()) => tracing::info!(
                end_offset,
                epoch,
                n_records = records.len(),
                "metadata snapshot written"
            ),
            Err(fault) => tracing::error!(%fault, "no snapshot of the metadata"),
        }
    }
}

/// Each with its values for the log.
fn encoded(batches: Vec<Batch>) -> Result<Vec<(Batch, Vec<Bytes>)>, Fault> {
    let encoded = batches.into_iter().map(|batch| {
        let values = batch.encode().map_err(|why| bug(&why.to_string()))?;
        Ok((batch, values))
    });
    encoded.collect()
}

/// A contradiction inside the controller: it must not go on.
fn bug(why: &str) -> Fault {
    let why = format!("the controller contradicts itself: {why}");
    Fault::corrupt(Path::new(super::log::TOPIC), why)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

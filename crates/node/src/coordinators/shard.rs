//! One partition of `__consumer_offsets`: its ledger, its line of requests, its log.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinators::{
    Answer, Freed, GroupDecision, GroupLedger, GroupReply, GroupSettings, Now, Origin, Ticket, When,
};
use ottla_protocol::batch::Payload;
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::{Offset, Refusal};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Pace;
use crate::Clock;
use crate::parked::Waiter;
use crate::partitions::{AppendRefused, Partition};

/// Between two attempts to load a partition whose log could not be read, or whose groups ended.
pub(super) const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// How often the groups of a partition are counted for metrics.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

type Decide = Box<dyn FnOnce(&mut GroupLedger, Now) -> GroupDecision + Send>;
type Deliver = Box<dyn FnOnce() + Send>;
type Look = Box<dyn FnOnce(&GroupLedger) -> (When, Deliver) + Send>;

/// Something to do with the ledger.
pub(super) enum Op {
    Decide {
        pace: Pace,
        run: Decide,
        reply: oneshot::Sender<GroupReply>,
    },
    Look(Look),
}

impl Op {
    pub(super) fn decide(
        pace: Pace,
        run: impl FnOnce(&mut GroupLedger, Now) -> GroupDecision + Send + 'static,
    ) -> (Self, oneshot::Receiver<GroupReply>) {
        let (reply, answer) = oneshot::channel();
        (
            Self::Decide {
                pace,
                run: Box::new(run),
                reply,
            },
            answer,
        )
    }

    pub(super) fn look(
        look: impl FnOnce(&GroupLedger) -> (When, Deliver) + Send + 'static,
    ) -> Self {
        Self::Look(Box::new(look))
    }
}

/// What others may know of a shard without asking its task.
#[derive(Debug, Default)]
pub(super) struct ShardState {
    stage: AtomicU8,
    /// Requests that wait behind an append.
    n_in_line: AtomicUsize,
    /// Settings that changed and are not in force yet.
    tuned: Mutex<Option<GroupSettings>>,
    counts: Mutex<ShardCounts>,
}

/// What metrics show of one partition of `__consumer_offsets`.
#[derive(Debug, Default, Clone)]
pub struct ShardCounts {
    pub is_active: bool,
    pub groups: Vec<(&'static str, usize)>,
    pub n_offsets: usize,
    pub n_rebalances: u64,
    pub n_commits: u64,
}

const LOADING: u8 = 0;
const ACTIVE: u8 = 1;
const FAILED: u8 = 2;

impl ShardState {
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self.stage.load(Ordering::Acquire) {
            LOADING => Some(Refusal::CoordinatorLoadInProgress),
            ACTIVE => None,
            _ => Some(Refusal::CoordinatorNotAvailable),
        }
    }

    pub(super) fn n_in_line(&self) -> usize {
        self.n_in_line.load(Ordering::Acquire)
    }

    /// Puts other settings in force with the next request or timer.
    pub(super) fn tune(&self, settings: GroupSettings) {
        *self.tuned.lock() = Some(settings);
    }

    pub(super) fn counts(&self) -> ShardCounts {
        let is_active = self.stage.load(Ordering::Acquire) == ACTIVE;
        ShardCounts {
            is_active,
            ..self.counts.lock().clone()
        }
    }
}

/// A reply whose records are not committed yet.
struct Parked {
    /// The offset that must be below the high watermark.
    after: Offset,
    until: Instant,
    deliver: Deliver,
    time_out: Deliver,
}

/// An append under way, and the decision that waits for it.
struct InFlight {
    task: JoinHandle<(GroupDecision, Written)>,
    reply: Option<oneshot::Sender<GroupReply>>,
}

pub(super) struct Shard {
    settings: GroupSettings,
    partition: Arc<Partition>,
    ledger: GroupLedger,
    incoming: mpsc::Receiver<Op>,
    line: VecDeque<Op>,
    owed: HashMap<Ticket, oneshot::Sender<GroupReply>>,
    parked: Vec<Parked>,
    in_flight: Option<InFlight>,
    waiter: Arc<Waiter>,
    state: Arc<ShardState>,
    clock: Clock,
    /// How long a reply may wait for its records to be committed (`offsets.commit.timeout.ms`).
    commit_timeout: Duration,
    counted: Instant,
}

impl Shard {
    pub(super) fn new(
        partition: Arc<Partition>,
        settings: GroupSettings,
        incoming: mpsc::Receiver<Op>,
        state: Arc<ShardState>,
        clock: Clock,
        commit_timeout: Duration,
    ) -> Self {
        Self {
            partition,
            ledger: GroupLedger::new(settings.clone()),
            settings,
            incoming,
            line: VecDeque::new(),
            owed: HashMap::new(),
            parked: Vec::new(),
            in_flight: None,
            waiter: Waiter::new(),
            state,
            clock,
            commit_timeout,
            counted: Instant::now(),
        }
    }

    /// Loads, serves until the queue's senders are gone, then tells everyone who waits.
    pub(super) async fn run(mut self) {
        if !self.load().await {
            return;
        }
        loop {
            self.take_settings();
            self.decide_next();
            self.release_committed();
            self.publish_counts();
            if !self.parked.is_empty() {
                self.partition.high_watermark_parking().park(&self.waiter);
                self.release_committed();
            }
            let timeout = self.next_timeout();
            tokio::select! {
                op = self.incoming.recv() => match op {
                    Some(op) => self.take(op),
                    None => break,
                },
                done = finished(&mut self.in_flight) => self.appended(done),
                () = self.waiter.woken() => {}
                () = until(timeout) => self.timed_out(),
            }
        }
        self.leave();
    }

    async fn load(&mut self) -> bool {
        loop {
            if self.incoming.is_closed() {
                return false;
            }
            self.take_settings();
            let mut ledger = GroupLedger::new(self.settings.clone());
            let partition = self.partition.clone();
            let loaded = tokio::task::spawn_blocking(move || {
                read_log(&partition, &mut ledger).map(|n_records| (ledger, n_records))
            })
            .await;
            match loaded {
                Ok(Ok((ledger, n_records))) => {
                    self.ledger = ledger;
                    // Sessions begin now: a long load costs nobody its membership.
                    let decision = self.ledger.loaded(self.clock.now());
                    self.carry_out(decision, None);
                    self.state.stage.store(ACTIVE, Ordering::Release);
                    if n_records > 0 {
                        tracing::info!(partition = %self.partition.id(), n_records, "groups loaded");
                    }
                    let n = self.ledger.sizes().others;
                    if n > 0 {
                        tracing::warn!(partition = %self.partition.id(), n, "the log has groups of other protocols (consumer, share, streams), which are kept but not served yet");
                    }
                    return true;
                }
                Ok(Err(LoadFailed::Corrupt(why))) => {
                    // The groups of this partition are unavailable, with the reason; nothing of
                    // the log is changed, so that another version may still read it.
                    tracing::error!(partition = %self.partition.id(), %why, "groups cannot be loaded");
                    self.state.stage.store(FAILED, Ordering::Release);
                    return false;
                }
                Ok(Err(LoadFailed::Io(why))) => {
                    tracing::warn!(partition = %self.partition.id(), %why, "groups cannot be read; trying again");
                    tokio::time::sleep(RELOAD_PAUSE).await;
                }
                Err(panic) => {
                    tracing::error!(partition = %self.partition.id(), %panic, "groups cannot be loaded");
                    self.state.stage.store(FAILED, Ordering::Release);
                    return false;
                }
            }
        }
    }

    /// Takes an operation from the queue: into the line, or past it.
    fn take(&mut self, op: Op) {
        match op {
            Op::Decide {
                pace: Pace::AtOnce,
                run,
                reply,
            } => {
                let decision = run(&mut self.ledger, self.clock.now());
                debug_assert!(decision.writes_nothing());
                self.carry_out(decision, Some(reply));
            }
            op => self.line.push_back(op),
        }
    }

    fn take_settings(&mut self) {
        if let Some(settings) = self.state.tuned.lock().take() {
            self.settings = settings.clone();
            self.ledger.change_settings(settings);
        }
    }

    /// Decides what stands at the head of the line, unless an append is under way.
    fn decide_next(&mut self) {
        while self.in_flight.is_none() {
            let Some(op) = self.line.pop_front() else {
                return;
            };
            match op {
                Op::Decide { run, reply, .. } => {
                    let decision = run(&mut self.ledger, self.clock.now());
                    self.carry_out(decision, Some(reply));
                }
                Op::Look(look) => {
                    let (when, deliver) = look(&self.ledger);
                    let after = match when {
                        When::AfterOffset(offset) => Some(offset),
                        When::AtOnce | When::AfterAppend => None,
                    };
                    // An answer that waits too long is dropped: the caller hears NOT_COORDINATOR.
                    self.send(after, deliver, Box::new(|| ()));
                }
            }
        }
    }

    fn carry_out(&mut self, decision: GroupDecision, reply: Option<oneshot::Sender<GroupReply>>) {
        if decision.writes_nothing() {
            return self.answer(decision, reply, None);
        }
        let partition = self.partition.clone();
        let now = self.clock.now();
        let task = tokio::task::spawn_blocking(move || {
            let written = append(&partition, &decision, now);
            (decision, written)
        });
        self.in_flight = Some(InFlight { task, reply });
    }

    fn appended(&mut self, done: Finished) {
        let (decision, written, reply) = done;
        let mut last = None;
        for (batch, first) in decision.batches.iter().zip(written.firsts) {
            for (record, offset) in batch.records.iter().zip(first..) {
                self.ledger.replay(offset, batch.origin, record);
                last = Some(offset);
            }
        }
        match written.refused {
            None => self.answer(decision, reply, last),
            Some(refused) => {
                let refusal = refused.refused.refusal;
                tracing::warn!(partition = %self.partition.id(), refusal = refusal.name(), "a decision about groups could not be written");
                let instead = self.ledger.abandoned(decision, refusal, self.clock.now());
                self.answer(instead, reply, None);
            }
        }
    }

    fn answer(
        &mut self,
        decision: GroupDecision,
        caller: Option<oneshot::Sender<GroupReply>>,
        last_appended: Option<Offset>,
    ) {
        match (decision.reply, caller) {
            (Answer::Now(reply, when), Some(caller)) => {
                self.reply(caller, reply, when, last_appended);
            }
            (Answer::Later(ticket), Some(caller)) => {
                self.owed.insert(ticket, caller);
            }
            _ => {}
        }
        for Freed {
            ticket,
            reply,
            when,
        } in decision.released
        {
            if let Some(caller) = self.owed.remove(&ticket) {
                self.reply(caller, reply, when, last_appended);
            }
        }
    }

    fn reply(
        &mut self,
        caller: oneshot::Sender<GroupReply>,
        reply: GroupReply,
        when: When,
        last_appended: Option<Offset>,
    ) {
        let after = match when {
            When::AtOnce => None,
            When::AfterOffset(offset) => Some(offset),
            When::AfterAppend => last_appended,
        };
        if after.is_none_or(|after| after < self.partition.high_watermark()) {
            let _ = caller.send(reply);
            return;
        }
        let caller = Arc::new(Mutex::new(Some(caller)));
        let refused = reply.clone().refused(Refusal::CoordinatorNotAvailable);
        let (first, second) = (caller.clone(), caller);
        let deliver = move || {
            if let Some(caller) = first.lock().take() {
                let _ = caller.send(reply);
            }
        };
        let time_out = move || {
            if let Some(caller) = second.lock().take() {
                let _ = caller.send(refused);
            }
        };
        self.send(after, Box::new(deliver), Box::new(time_out));
    }

    fn send(&mut self, after: Option<Offset>, deliver: Deliver, time_out: Deliver) {
        match after {
            Some(after) if after >= self.partition.high_watermark() => {
                let until = Instant::now() + self.commit_timeout;
                self.parked.push(Parked {
                    after,
                    until,
                    deliver,
                    time_out,
                });
            }
            _ => deliver(),
        }
    }

    fn release_committed(&mut self) {
        let committed = self.partition.high_watermark();
        self.ledger.committed(committed);
        for index in (0..self.parked.len()).rev() {
            if self.parked[index].after < committed {
                (self.parked.swap_remove(index).deliver)();
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let parked = self.parked.iter().map(|parked| parked.until).min();
        // No timer fires while an append is under way: what it would decide rests on its outcome.
        let ledger = self
            .ledger
            .next_timeout()
            .filter(|_| self.in_flight.is_none());
        let ledger = ledger.map(|deadline| self.clock.instant(deadline.0));
        match (parked, ledger) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn timed_out(&mut self) {
        let now = Instant::now();
        for index in (0..self.parked.len()).rev() {
            if self.parked[index].until <= now {
                (self.parked.swap_remove(index).time_out)();
            }
        }
        while self.in_flight.is_none() {
            match self.ledger.handle_timeout(self.clock.now()) {
                Some(decision) => self.carry_out(decision, None),
                None => return,
            }
        }
    }

    fn publish_counts(&mut self) {
        let state = self.state.clone();
        state.n_in_line.store(self.line.len(), Ordering::Release);
        let mut counts = state.counts.lock();
        // Walking all groups is for those who look, not for every request.
        if self.counted.elapsed() >= COUNT_INTERVAL {
            self.counted = Instant::now();
            let sizes = self.ledger.sizes();
            counts.n_offsets = sizes.offsets;
            counts.groups = sizes
                .classic
                .iter()
                .map(|(state, n)| (state.name(), *n))
                .collect();
            counts.groups.push(("Other", sizes.others));
        }
        counts.n_rebalances = self.ledger.counts().completed_rebalances;
        counts.n_commits = self.ledger.counts().offset_commits;
    }

    /// Everyone who waits is told that the coordinator is elsewhere now.
    fn leave(mut self) {
        self.state.stage.store(FAILED, Ordering::Release);
        for Freed { ticket, reply, .. } in self.ledger.unload(Refusal::NotCoordinator) {
            if let Some(caller) = self.owed.remove(&ticket) {
                let _ = caller.send(reply);
            }
        }
    }
}

type Finished = (GroupDecision, Written, Option<oneshot::Sender<GroupReply>>);

/// What an append came to.
struct Written {
    /// The first offset of each batch that stands in the log now.
    firsts: Vec<Offset>,
    /// Why the batch after these does not.
    refused: Option<AppendRefused>,
}

/// Resolves when the append under way is done. Never, if there is none.
async fn finished(in_flight: &mut Option<InFlight>) -> Finished {
    let Some(flight) = in_flight.as_mut() else {
        return std::future::pending().await;
    };
    let done = (&mut flight.task).await;
    let reply = in_flight.take().and_then(|flight| flight.reply);
    match done {
        Ok((decision, written)) => (decision, written, reply),
        // The append panicked: whatever it held is lost, and so is the truth about the log.
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Writes the batches of a decision, up to the first that is refused.
fn append(partition: &Arc<Partition>, decision: &GroupDecision, now: Now) -> Written {
    let mut written = Written {
        firsts: Vec::with_capacity(decision.batches.len()),
        refused: None,
    };
    for batch in &decision.batches {
        let mut builder = BatchBuilder::internal(0, 0);
        for record in &batch.records {
            let (key, value) = record.encode();
            builder.push(now.wall_ms, Some(&key), value.as_deref());
        }
        match partition.append_internal(builder.finish()) {
            Ok(appended) => written.firsts.push(appended.base_offset),
            Err(refused) => {
                written.refused = Some(refused);
                break;
            }
        }
    }
    written
}

enum LoadFailed {
    Io(String),
    Corrupt(String),
}

/// Replays a whole partition into its ledger.
fn read_log(partition: &Partition, ledger: &mut GroupLedger) -> Result<u64, LoadFailed> {
    let mut n_records = 0;
    partition
        .scan(|batch| {
            let header = batch.header();
            let payload: Payload<'_> = batch
                .payload(ottla_protocol::batch::OPENED_BYTES_MAX)
                .map_err(|why| format!("batch at {}: {why}", header.base_offset()))?;
            for record in payload.records() {
                let record =
                    record.map_err(|why| format!("batch at {}: {why}", header.base_offset()))?;
                let key = record.key.map(Bytes::copy_from_slice);
                let value = record.value.map(Bytes::copy_from_slice);
                let origin = origin(&batch, key.as_deref(), value.as_deref());
                let Some(origin) = origin else { continue };
                ledger
                    .load(record.offset, origin, key.as_ref(), value.as_ref())
                    .map_err(|why| format!("record at {}: {why}", record.offset))?;
                n_records += 1;
            }
            Ok(())
        })
        .map_err(|failed| match failed {
            crate::partitions::ScanFailed::Fault(why) => LoadFailed::Io(why),
            crate::partitions::ScanFailed::Refused(why) => LoadFailed::Corrupt(why),
        })?;
    Ok(n_records)
}

/// Whose record it is; none for control records that are no markers.
fn origin(
    batch: &ottla_protocol::batch::Batch<'_>,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Option<Origin> {
    let header = batch.header();
    let (producer, epoch) = (header.producer_id(), header.producer_epoch());
    if header.is_control() {
        let marker = EndMarker::parse(key?, value?)?;
        return Some(Origin::Marker {
            producer,
            committed: marker.is_commit,
        });
    }
    Some(if header.is_transactional() {
        Origin::Transactional { producer, epoch }
    } else {
        Origin::Plain
    })
}

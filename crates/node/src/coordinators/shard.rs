//! One partition of an internal topic: its ledger, its line of requests, its log.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ottla_coordinators::{Answer, Decision, Freed, Now, Origin, Ticket, When};
use ottla_protocol::batch::Payload;
use ottla_protocol::batch_builder::EndMarker;
use ottla_protocol::{LeaderEpoch, Offset, Refusal};
use ottla_storage::producer::Verified;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::Pace;
use super::gathered::Gathered;
use super::heard::Heard;
use super::ledger::{Errands, Ledger};
use super::readings::Readings;
use super::txn_markers::Marker;
use super::writing::{Written, append};
use crate::Clock;
use crate::appends::Turns;
use crate::parked::Waiter;
use crate::partitions::{AppendRefused, Partition};

/// Between two attempts to load a partition whose log could not be read, or whose ledger ended.
pub(super) const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// Operations taken from the queue before commits have their turn again.
const TAKEN_MAX: usize = 256;

/// Timers handled before the line has its turn again.
const TIMED_OUT_MAX: usize = 64;

/// How often what a ledger holds is counted for metrics.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// What a ledger decides.
pub(super) type DecisionOf<L> = Decision<<L as Ledger>::Record, <L as Ledger>::Reply>;
type Decide<L> = Box<dyn FnOnce(&mut L, Now) -> DecisionOf<L> + Send>;
type Deliver = Box<dyn FnOnce(Outcome) + Send>;
type Look<L> = Box<dyn FnOnce(&L, Now) -> (When, Deliver) + Send>;

/// What became of what an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    TimedOut,
}

/// Something to do with the ledger.
pub(super) enum Op<L: Ledger> {
    Decide {
        pace: Pace,
        run: Decide<L>,
        reply: oneshot::Sender<L::Reply>,
        /// What its records show, if they belong to a transaction.
        verified: Verified,
        /// What it is about, if nothing about anything else can change the outcome.
        about: Option<Box<str>>,
    },
    Look(Look<L>),
    /// A transaction ends in this partition.
    Mark {
        marker: Marker,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
}

impl<L: Ledger> Op<L> {
    pub(super) fn decide(
        pace: Pace,
        verified: Verified,
        run: impl FnOnce(&mut L, Now) -> DecisionOf<L> + Send + 'static,
    ) -> (Self, oneshot::Receiver<L::Reply>) {
        let (reply, answer) = oneshot::channel();
        (
            Self::Decide {
                pace,
                run: Box::new(run),
                reply,
                verified,
                about: None,
            },
            answer,
        )
    }

    /// It is decided and written together with others that are about something else.
    pub(super) fn only_about(mut self, key: &str) -> Self {
        if let Self::Decide { about, .. } = &mut self {
            *about = Some(key.into());
        }
        self
    }

    pub(super) fn look(look: impl FnOnce(&L, Now) -> (When, Deliver) + Send + 'static) -> Self {
        Self::Look(Box::new(look))
    }

    pub(super) fn mark(marker: Marker) -> (Self, oneshot::Receiver<Result<(), Refusal>>) {
        let (reply, answer) = oneshot::channel();
        (Self::Mark { marker, reply }, answer)
    }
}

/// What others may know of a shard without asking its task.
pub(super) struct ShardState<L: Ledger> {
    stage: AtomicU8,
    /// Requests that wait behind an append.
    n_in_line: AtomicUsize,
    /// Settings that changed and are not in force yet.
    tuned: Mutex<Option<L::Settings>>,
    counts: Mutex<L::Counts>,
    /// Of its log, by those that were in its place before, too.
    readings: Arc<Readings>,
}

impl<L: Ledger> ShardState<L> {
    /// Of the first in its place.
    pub(super) fn new() -> Self {
        Self::behind(Arc::default())
    }

    /// Of one that comes in the place of this one.
    pub(super) fn next(&self) -> Self {
        Self::behind(self.readings.clone())
    }

    fn behind(readings: Arc<Readings>) -> Self {
        Self {
            stage: AtomicU8::new(LOADING),
            n_in_line: AtomicUsize::new(0),
            tuned: Mutex::new(None),
            counts: Mutex::default(),
            readings,
        }
    }
}

const LOADING: u8 = 0;
const ACTIVE: u8 = 1;
const FAILED: u8 = 2;

impl<L: Ledger> ShardState<L> {
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self.stage.load(Ordering::Acquire) {
            LOADING => Some(Refusal::CoordinatorLoadInProgress),
            ACTIVE => None,
            _ => Some(L::UNAVAILABLE),
        }
    }

    /// Whether its log cannot be read, or the chair was left.
    pub(super) fn has_failed(&self) -> bool {
        self.stage.load(Ordering::Acquire) == FAILED
    }

    pub(super) fn is_active(&self) -> bool {
        self.stage.load(Ordering::Acquire) == ACTIVE
    }

    pub(super) fn n_in_line(&self) -> usize {
        self.n_in_line.load(Ordering::Acquire)
    }

    /// Puts other settings in force with the next request or timer.
    pub(super) fn tune(&self, settings: L::Settings) {
        *self.tuned.lock() = Some(settings);
    }

    pub(super) fn counts(&self) -> L::Counts {
        self.counts.lock().clone()
    }
}

/// A reply whose records are not committed yet.
struct Parked {
    /// The offset that must be below the high watermark.
    after: Offset,
    until: Instant,
    deliver: Deliver,
}

/// An append under way, and what waits for it.
enum InFlight<L: Ledger> {
    Decisions {
        task: JoinHandle<(Vec<DecisionOf<L>>, Vec<Written>)>,
        replies: Vec<Option<oneshot::Sender<L::Reply>>>,
    },
    Marker {
        task: JoinHandle<(Marker, Result<Offset, AppendRefused>)>,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
}

/// What every shard of a host is made with.
pub(super) struct Surroundings<L: Ledger> {
    pub(super) settings: L::Settings,
    pub(super) around: L::Around,
    pub(super) errands: Errands<L>,
    pub(super) clock: Clock,
    /// How long a reply may wait for its records to be committed.
    pub(super) commit_timeout: Duration,
    /// Whether its task runs where appends may be done, as long as the disk is fast.
    pub(super) appends_here: bool,
}

pub(super) struct Shard<L: Ledger> {
    with: Surroundings<L>,
    partition: Arc<Partition>,
    /// In which the log was read; what is decided is written in no other.
    epoch: LeaderEpoch,
    ledger: L,
    incoming: mpsc::Receiver<Op<L>>,
    line: VecDeque<Op<L>>,
    heard: Heard,
    owed: HashMap<Ticket, oneshot::Sender<L::Reply>>,
    parked: Vec<Parked>,
    in_flight: Option<InFlight<L>>,
    /// Something was appended on this thread since others had a turn on it.
    has_appended: bool,
    /// As which its log was read.
    reading: u64,
    waiter: Arc<Waiter>,
    state: Arc<ShardState<L>>,
    counted: Instant,
}

impl<L: Ledger> Shard<L> {
    pub(super) fn new(
        partition: Arc<Partition>,
        epoch: LeaderEpoch,
        with: Surroundings<L>,
        incoming: mpsc::Receiver<Op<L>>,
        state: Arc<ShardState<L>>,
    ) -> Self {
        let ledger = L::new(with.settings.clone(), &with.around, epoch);
        Self {
            with,
            partition,
            epoch,
            ledger,
            incoming,
            line: VecDeque::new(),
            heard: Heard::default(),
            owed: HashMap::new(),
            parked: Vec::new(),
            in_flight: None,
            has_appended: false,
            reading: Readings::NONE,
            waiter: Waiter::new(),
            state,
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
            if !self.parked.is_empty() || self.ledger.awaits_commit() {
                self.partition.high_watermark_parking().park(&self.waiter);
                self.release_committed();
            }
            if std::mem::take(&mut self.has_appended) {
                // Whoever was answered, and others of this thread, before the next append.
                tokio::task::yield_now().await;
            }
            let timeout = self.next_timeout();
            tokio::select! {
                op = self.incoming.recv() => match op {
                    Some(op) => self.take_all(op),
                    None => break,
                },
                done = finished(&mut self.in_flight) => self.finished(done),
                () = self.waiter.woken() => {}
                () = until(timeout) => self.timed_out(),
                () = std::future::ready(()), if self.is_behind() => {}
            }
        }
        self.leave();
    }

    /// Whether what stands in line waits for nothing.
    fn is_behind(&self) -> bool {
        self.in_flight.is_none() && !self.line.is_empty()
    }

    async fn load(&mut self) -> bool {
        loop {
            if self.incoming.is_closed() {
                return false;
            }
            self.take_settings();
            let mut ledger = L::new(self.with.settings.clone(), &self.with.around, self.epoch);
            let partition = self.partition.clone();
            let state = self.state.clone();
            let loaded = tokio::task::spawn_blocking(move || {
                let reading = state.readings.begin();
                read_log(&partition, &mut ledger).map(|n_records| (ledger, reading, n_records))
            })
            .await;
            match loaded {
                Ok(Ok((ledger, reading, n_records))) => {
                    (self.ledger, self.reading) = (ledger, reading);
                    // Sessions begin now: a long load costs nobody its membership.
                    let decision = self.ledger.loaded(self.with.clock.now());
                    self.carry_out(decision, None, Verified::NotAsked);
                    self.state.stage.store(ACTIVE, Ordering::Release);
                    if n_records > 0 {
                        tracing::info!(partition = %self.partition.id(), n_records, "{} loaded", L::WHAT);
                    }
                    self.ledger.note_loaded(&self.partition);
                    return true;
                }
                Ok(Err(LoadFailed::Corrupt(why))) => {
                    // What is in this partition is unavailable, with the reason; nothing of the
                    // log is changed, so that another version may still read it.
                    tracing::error!(partition = %self.partition.id(), %why, "{} cannot be loaded", L::WHAT);
                    self.state.stage.store(FAILED, Ordering::Release);
                    return false;
                }
                Ok(Err(LoadFailed::Io(why))) => {
                    tracing::warn!(partition = %self.partition.id(), %why, "{} cannot be read; trying again", L::WHAT);
                    tokio::time::sleep(RELOAD_PAUSE).await;
                }
                Err(panic) => {
                    tracing::error!(partition = %self.partition.id(), %panic, "{} cannot be loaded", L::WHAT);
                    self.state.stage.store(FAILED, Ordering::Release);
                    return false;
                }
            }
        }
    }

    /// Takes what is in the queue, this one first.
    fn take_all(&mut self, op: Op<L>) {
        self.take(op);
        self.take_queued(TAKEN_MAX - 1);
    }

    fn take_queued(&mut self, max: usize) {
        for _ in 0..max {
            match self.incoming.try_recv() {
                Ok(op) => self.take(op),
                Err(_) => return,
            }
        }
    }

    /// Takes an operation from the queue: into the line, or past it.
    fn take(&mut self, op: Op<L>) {
        match op {
            Op::Decide {
                pace: Pace::AtOnce,
                run,
                reply,
                verified,
                ..
            } => {
                let decision = run(&mut self.ledger, self.with.clock.now());
                debug_assert!(decision.writes_nothing());
                self.carry_out(decision, Some(reply), verified);
            }
            op => self.line.push_back(op),
        }
    }

    fn take_settings(&mut self) {
        if let Some(settings) = self.state.tuned.lock().take() {
            self.with.settings = settings.clone();
            self.ledger.change_settings(settings);
        }
    }

    /// Decides what stands at the head of the line, unless an append is under way: several at once
    /// as long as each is about something else, since then none can rest on another's records, or
    /// those records are foreseen.
    fn decide_next(&mut self) {
        let mut gathered = Gathered::default();
        while self.in_flight.is_none() && gathered.takes(self.line.front(), &mut self.ledger) {
            let Some(op) = self.line.pop_front() else {
                break;
            };
            self.heard.one();
            match op {
                Op::Decide {
                    run,
                    reply,
                    verified,
                    about,
                    ..
                } => {
                    let decision = run(&mut self.ledger, self.with.clock.now());
                    match about {
                        Some(key) if gathered.holds(&key, &decision) => {
                            gathered.push(key, decision, reply);
                        }
                        _ => self.carry_out(decision, Some(reply), verified),
                    }
                }
                Op::Mark { marker, reply } => self.mark(marker, reply),
                Op::Look(look) => {
                    let (when, deliver) = look(&self.ledger, self.with.clock.now());
                    let after = match when {
                        When::AfterOffset(offset) => Some(offset),
                        When::AtOnce | When::AfterAppend => None,
                    };
                    self.send(after, deliver);
                }
            }
        }
        if !gathered.is_empty() {
            self.write(gathered, Verified::NotAsked);
        }
    }

    fn carry_out(
        &mut self,
        decision: DecisionOf<L>,
        reply: Option<oneshot::Sender<L::Reply>>,
        verified: Verified,
    ) {
        if decision.writes_nothing() {
            return self.answer(decision, reply, None);
        }
        self.write(Gathered::alone(decision, reply), verified);
    }

    /// One append for all of them, on this thread if it may be.
    fn write(&mut self, gathered: Gathered<L>, verified: Verified) {
        let Gathered {
            decisions,
            rests_on,
            replies,
            ..
        } = gathered;
        let (partition, epoch) = (self.partition.clone(), self.epoch);
        let (state, reading) = (self.state.clone(), self.reading);
        let now = self.with.clock.now();
        let write = move || {
            let bytes_max = partition.batch_bytes_max();
            let written = append::<L>(&decisions, &rests_on, now, bytes_max, |batch| {
                let append = || partition.append_internal(batch, verified, epoch);
                match state.readings.append(reading, append) {
                    Ok(appended) => Ok(appended.base_offset),
                    Err(refused) => Err(refused.refused.refusal),
                }
            });
            (decisions, written)
        };
        let mut turns = Turns::default();
        if self.with.appends_here && self.partition.enter(&mut turns) {
            self.has_appended = true;
            let (decisions, written) = write();
            drop(turns);
            return self.all_appended(decisions, written, replies);
        }
        let task = tokio::task::spawn_blocking(write);
        self.in_flight = Some(InFlight::Decisions { task, replies });
    }

    fn mark(&mut self, marker: Marker, reply: oneshot::Sender<Result<(), Refusal>>) {
        let (partition, epoch) = (self.partition.clone(), self.epoch);
        let (state, reading) = (self.state.clone(), self.reading);
        let now_ms = self.with.clock.wall_ms();
        let task = tokio::task::spawn_blocking(move || {
            let batch = marker.batch(now_ms);
            let append = || partition.append_marker(&batch, marker.rule(), Some(epoch));
            let appended = state.readings.append(reading, append);
            (marker, appended.map(|appended| appended.base_offset))
        });
        self.in_flight = Some(InFlight::Marker { task, reply });
    }

    fn finished(&mut self, done: Finished<L>) {
        match done {
            Finished::Decisions(decisions, written, replies) => {
                let was_a_timer = replies.iter().all(Option::is_none);
                self.all_appended(decisions, written, replies);
                // The line has its turn between two timers, and they have theirs between it: a line
                // that is never empty must not keep sessions from ending.
                if !was_a_timer {
                    self.fire_timers();
                }
            }
            Finished::Marker(marker, result, reply) => {
                self.marked(&marker, result, reply);
                self.fire_timers();
            }
        }
    }

    fn all_appended(
        &mut self,
        decisions: Vec<DecisionOf<L>>,
        written: Vec<Written>,
        replies: Vec<Option<oneshot::Sender<L::Reply>>>,
    ) {
        if written.iter().any(|written| written.refused.is_some()) {
            self.ledger.take_back();
        }
        let mut last = None;
        let all = decisions.into_iter().zip(written).zip(replies);
        for ((decision, written), reply) in all {
            last = self.appended(decision, written, reply, last);
        }
    }

    fn marked(
        &mut self,
        marker: &Marker,
        result: Result<Offset, AppendRefused>,
        reply: oneshot::Sender<Result<(), Refusal>>,
    ) {
        let offset = match result {
            Ok(offset) => offset,
            Err(refused) => {
                let _ = reply.send(Err(refused.refused.refusal));
                return;
            }
        };
        self.ledger
            .end_transaction(offset, marker.producer_id, marker.is_commit);
        let deliver = move |outcome| {
            let _ = reply.send(match outcome {
                Outcome::Committed => Ok(()),
                Outcome::TimedOut => Err(Refusal::RequestTimedOut),
            });
        };
        self.send(Some(offset), Box::new(deliver));
    }

    /// `last` is the last record of the decisions before it; the last of all that is known then
    /// comes back.
    fn appended(
        &mut self,
        decision: DecisionOf<L>,
        written: Written,
        reply: Option<oneshot::Sender<L::Reply>>,
        mut last: Option<Offset>,
    ) -> Option<Offset> {
        for (batch, first) in decision.batches.iter().zip(written.firsts) {
            for (record, offset) in batch.records.iter().zip(first..) {
                self.ledger.replay(offset, batch.origin, record);
                last = Some(offset);
            }
        }
        match written.refused {
            None => self.answer(decision, reply, last),
            Some(refusal) => {
                tracing::warn!(partition = %self.partition.id(), refusal = refusal.name(), "a decision about {} could not be written", L::WHAT);
                let now = self.with.clock.now();
                // Who was to hear of what others have not written hears nothing, and asks again.
                let reply = reply.filter(|_| !decision.writes_nothing());
                let instead = self.ledger.abandoned(decision, refusal, now);
                self.answer(instead, reply, None);
            }
        }
        last
    }

    fn answer(
        &mut self,
        decision: DecisionOf<L>,
        caller: Option<oneshot::Sender<L::Reply>>,
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
        caller: oneshot::Sender<L::Reply>,
        reply: L::Reply,
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
        let deliver = move |outcome| {
            let _ = caller.send(match outcome {
                Outcome::Committed => reply,
                Outcome::TimedOut => L::refused(reply, Refusal::CoordinatorNotAvailable),
            });
        };
        self.send(after, Box::new(deliver));
    }

    fn send(&mut self, after: Option<Offset>, deliver: Deliver) {
        match after {
            Some(after) if after >= self.partition.high_watermark() => {
                let until = Instant::now() + self.with.commit_timeout;
                self.parked.push(Parked {
                    after,
                    until,
                    deliver,
                });
            }
            _ => deliver(Outcome::Committed),
        }
    }

    fn release_committed(&mut self) {
        let committed = self.partition.high_watermark();
        self.ledger.committed(committed);
        while let Some(errand) = self.ledger.next_errand() {
            (self.with.errands)(errand);
        }
        for index in (0..self.parked.len()).rev() {
            if self.parked[index].after < committed {
                (self.parked.swap_remove(index).deliver)(Outcome::Committed);
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
        let ledger = ledger.map(|deadline| self.with.clock.instant(deadline.0));
        match (parked, ledger) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn timed_out(&mut self) {
        let now = Instant::now();
        for index in (0..self.parked.len()).rev() {
            if self.parked[index].until <= now {
                (self.parked.swap_remove(index).deliver)(Outcome::TimedOut);
            }
        }
        self.fire_timers();
    }

    /// Decides what is due, up to the first thing that is to be written elsewhere.
    fn fire_timers(&mut self) {
        for _ in 0..TIMED_OUT_MAX {
            if self.in_flight.is_some() || !self.may_fire() {
                return;
            }
            match self.ledger.handle_timeout(self.with.clock.now()) {
                Some(decision) => self.carry_out(decision, None, Verified::NotAsked),
                None => return,
            }
        }
    }

    /// Whether a timer is due, and all that came before is decided.
    fn may_fire(&mut self) -> bool {
        let (Some(due), now) = (self.ledger.next_timeout(), self.with.clock.monotonic()) else {
            return false;
        };
        if due.0 > now {
            return false;
        }
        // A heartbeat that is still in the queue came before, too, and may move the timer.
        self.take_queued(self.incoming.len());
        let due = self.ledger.next_timeout();
        due.is_some_and(|due| self.heard.lets_fire(due, self.line.len(), now))
    }

    fn publish_counts(&mut self) {
        let state = self.state.clone();
        state.n_in_line.store(self.line.len(), Ordering::Release);
        let mut counts = state.counts.lock();
        // Walking all of it is for those who look, not for every request.
        let is_due = self.counted.elapsed() >= COUNT_INTERVAL;
        if is_due {
            self.counted = Instant::now();
        }
        self.ledger.count(&mut counts, is_due);
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

enum Finished<L: Ledger> {
    Decisions(
        Vec<DecisionOf<L>>,
        Vec<Written>,
        Vec<Option<oneshot::Sender<L::Reply>>>,
    ),
    Marker(
        Marker,
        Result<Offset, AppendRefused>,
        oneshot::Sender<Result<(), Refusal>>,
    ),
}

/// Resolves when the append under way is done. Never, if there is none.
async fn finished<L: Ledger>(in_flight: &mut Option<InFlight<L>>) -> Finished<L> {
    // IMPORTANT: the flight stays where it is until its task is done: this future may be dropped.
    match in_flight {
        None => std::future::pending().await,
        Some(InFlight::Decisions { task, replies }) => {
            let (decisions, written) = whole(task.await);
            let replies = std::mem::take(replies);
            *in_flight = None;
            Finished::Decisions(decisions, written, replies)
        }
        Some(InFlight::Marker { task, .. }) => {
            let (marker, appended) = whole(task.await);
            match in_flight.take() {
                Some(InFlight::Marker { reply, .. }) => Finished::Marker(marker, appended, reply),
                _ => std::future::pending().await,
            }
        }
    }
}

fn whole<T>(done: Result<T, JoinError>) -> T {
    match done {
        Ok(done) => done,
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

enum LoadFailed {
    Io(String),
    Corrupt(String),
}

/// Replays a whole partition into its ledger.
fn read_log<L: Ledger>(partition: &Partition, ledger: &mut L) -> Result<u64, LoadFailed> {
    let mut n_records = 0;
    partition
        .scan(|batch| {
            let header = batch.header();
            if L::CHECKS_SUMS {
                batch
                    .verify_crc()
                    .map_err(|why| format!("batch at {}: {why}", header.base_offset()))?;
            }
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

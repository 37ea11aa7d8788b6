//! One partition on this node: its log, its role, and the one append lock.
//!
//! A batch is checked before the lock is taken; under it the leader is asked, offsets are given
//! and the bytes are written. Readers use the log's published view and take no lock. This is the
//! only file that knows how appends, flushes and the high watermark meet. How records are read is
//! in `reading`, how its log changes the directory in `relocate`.

mod reading;
mod relocate;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use ottla_protocol::{
    LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Refusal, Refused, TopicPartition, Uuid,
};
use ottla_replication::{Acknowledgement, Assignment, Command, Durability, Leader, LogEnds};
use ottla_storage::producer::{Appender, Guard, TransactionVersion, Unverified, Verified};
use ottla_storage::validate::{self, Checked, RecordError, Rejected, Rules};
use ottla_storage::{
    Directory, Fault, FlushTarget, LeaderAppend, Log, LogConfig, LogReader, LogView, NotDone,
};
use parking_lot::{Mutex, MutexGuard, RwLock};

pub(crate) use self::reading::{ScanFailed, read_slice};
pub(crate) use self::relocate::Swapped;
use crate::appends::{Appends, Turns};
use crate::assignments::Assignments;
use crate::clock::Clock;
use crate::group_flush::{FlushTurn, GroupFlush};
use crate::metrics::{Metrics, TopicCounters};
use crate::news::News;
use crate::parked::Parking;

/// What an append came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    /// Exclusive.
    pub end: Offset,
    /// -1 where the records keep their producer's time.
    pub append_time_ms: i64,
    pub log_start: Offset,
}

/// Why an append did not happen.
#[derive(Debug, Clone)]
pub struct AppendRefused {
    pub refused: Refused,
    /// The records at fault, if it is single ones.
    pub record_errors: Vec<RecordError>,
    /// Where the log starts, or -1.
    pub log_start: Offset,
}

impl<R: Into<Refused>> From<R> for AppendRefused {
    fn from(refused: R) -> Self {
        Self {
            refused: refused.into(),
            record_errors: Vec::new(),
            log_start: -1,
        }
    }
}

impl AppendRefused {
    fn rejected(rejected: Rejected) -> Self {
        let Rejected {
            refusal,
            message,
            record_errors,
        } = rejected;
        Self {
            refused: Refused::new(refusal, message),
            record_errors,
            log_start: -1,
        }
    }
}

/// A producer that a partition remembers, as DescribeProducers tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
    pub last_sequence: i32,
    pub last_timestamp: i64,
    pub coordinator_epoch: i32,
    pub transaction_start: Option<Offset>,
}

/// What a node does with every partition that it has.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) node_id: NodeId,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) durability: Durability,
    pub(crate) news: Arc<News>,
    pub(crate) assignments: Arc<Assignments>,
}

/// Who appends, and what transactions make of it.
#[derive(Debug, Clone, Copy)]
struct InNameOf {
    appender: Appender,
    verified: Verified,
    /// Of the coordinator whose marker it is.
    transaction_version: TransactionVersion,
    /// What is written rests on what was read in this epoch, so it is refused in any other.
    decided_in: Option<LeaderEpoch>,
}

impl InNameOf {
    const COORDINATOR: Self = Self {
        appender: Appender::Coordinator,
        verified: Verified::NotAsked,
        transaction_version: TransactionVersion::SameEpoch,
        decided_in: None,
    };
}

struct Writer {
    log: Log,
    leader: Option<Leader>,
}

/// Where a log lies, and who flushes there.
pub(crate) struct Place {
    pub(crate) directory: Arc<Directory>,
    pub(crate) flush: Arc<GroupFlush>,
}

/// See the head of this file.
pub struct Partition {
    id: TopicPartition,
    topic_id: Uuid,
    /// Changes under the writer's lock, with the log.
    place: ArcSwap<Place>,
    /// A copy of the log is being made in another directory.
    is_moving: AtomicBool,
    turn: FlushTurn,
    around: Surroundings,
    counters: Arc<TopicCounters>,
    rules: RwLock<Arc<Rules>>,
    /// Settings that are not in force in the log yet, and `min.insync.replicas`.
    wanted: Mutex<Option<(LogConfig, i32)>>,
    writer: Mutex<Option<Writer>>,
    reader: LogReader,
    /// Kept beside the lock, so that readers see it without waiting for an append.
    leader_epoch: std::sync::atomic::AtomicI32,
    /// So is whether enough replicas are in sync for acks=all.
    has_enough_in_sync: AtomicBool,
    is_failed: AtomicBool,
    /// What was last said of bytes that went bad.
    told_corrupt: Mutex<Option<Box<str>>>,
    /// The page thread has been told that this partition wants room, and has not come yet.
    awaits_room: AtomicBool,
    moved: Parking,
}

/// How long the metadata waits for a log to put settings in force: longer than any append but one whose
/// disk stalls.
const CONFIGURE_PATIENCE: Duration = Duration::from_millis(100);

/// What `leader_epoch` holds while this node does not lead.
const NOT_LEADING: i32 = -1;

impl Partition {
    pub(crate) fn new(
        log: Log,
        topic_id: Uuid,
        directory: Arc<Directory>,
        flush: Arc<GroupFlush>,
        around: Surroundings,
    ) -> Arc<Self> {
        let id = log.partition().clone();
        Arc::new(Self {
            counters: around.metrics.topic(&id.topic),
            id,
            topic_id,
            place: ArcSwap::from_pointee(Place { directory, flush }),
            is_moving: AtomicBool::new(false),
            turn: FlushTurn::default(),
            around,
            rules: RwLock::new(Arc::new(log.config().rules())),
            wanted: Mutex::default(),
            reader: log.reader(),
            writer: Mutex::new(Some(Writer { log, leader: None })),
            leader_epoch: std::sync::atomic::AtomicI32::new(NOT_LEADING),
            has_enough_in_sync: AtomicBool::new(false),
            is_failed: AtomicBool::new(false),
            told_corrupt: Mutex::default(),
            awaits_room: AtomicBool::new(false),
            moved: Parking::default(),
        })
    }

    pub fn id(&self) -> &TopicPartition {
        &self.id
    }

    pub fn topic_id(&self) -> Uuid {
        self.topic_id
    }

    /// Where its log lies now.
    pub fn directory(&self) -> Arc<Directory> {
        self.place.load().directory.clone()
    }

    /// Whether its log lies there now.
    pub fn is_in(&self, directory: &Arc<Directory>) -> bool {
        Arc::ptr_eq(&self.place.load().directory, directory)
    }

    /// Whether its directory works.
    pub fn is_online(&self) -> bool {
        self.place.load().directory.is_online()
    }

    fn flush_of(&self) -> Arc<GroupFlush> {
        self.place.load().flush.clone()
    }

    pub fn counters(&self) -> &TopicCounters {
        &self.counters
    }

    pub(crate) fn news(&self) -> &News {
        &self.around.news
    }

    pub(crate) fn wall_ms(&self) -> i64 {
        self.around.clock.wall_ms()
    }

    pub(crate) fn flush_turn(&self) -> &FlushTurn {
        &self.turn
    }

    /// Where requests wait for the high watermark, which is also where fetches wait for records.
    pub fn high_watermark_parking(&self) -> &Parking {
        &self.moved
    }

    pub fn view(&self) -> LogView {
        self.reader.view()
    }

    pub fn high_watermark(&self) -> Offset {
        self.reader.view().high_watermark()
    }

    /// What its checkpoint is to say: not less than it said when the log was opened.
    pub(crate) fn checkpoint_high_watermark(&self) -> Offset {
        self.reader.checkpoint_high_watermark()
    }

    /// The epoch in which this node leads.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        Some(self.leader_epoch.load(Ordering::Acquire)).filter(|epoch| *epoch != NOT_LEADING)
    }

    /// Why nothing that waits for an acknowledgement will get one here: `NOT_LEADER_OR_FOLLOWER`
    /// once the partition is led elsewhere or deleted, `KAFKA_STORAGE_ERROR` once the disk has
    /// failed it.
    pub fn append_fault(&self) -> Option<Refusal> {
        if self.leader_epoch().is_none() {
            return Some(Refusal::NotLeaderOrFollower);
        }
        self.is_failed
            .load(Ordering::Acquire)
            .then_some(Refusal::KafkaStorageError)
    }

    // ---- the role ----

    /// Leads from here on, or learns what changed while it leads.
    pub(crate) fn lead(self: &Arc<Self>, assignment: Assignment) -> Result<(), Fault> {
        let mut guard = self.writer.lock();
        let Some(writer) = guard.as_mut() else {
            return Ok(());
        };
        let epoch = assignment.leader_epoch;
        match writer
            .leader
            .as_mut()
            .filter(|leader| leader.leader_epoch() == epoch)
        {
            Some(leader) => {
                let change = leader.handle_assignment(assignment);
                let metrics = &self.around.metrics;
                metrics.isr_shrinks.add(u64::from(change.has_shrunk));
                metrics.isr_expands.add(u64::from(change.has_grown));
            }
            None => {
                let ends = LogEnds {
                    end: writer.log.end(),
                    durable_end: writer.log.flushed(),
                    high_watermark: writer.log.high_watermark(),
                    first_unstable: None,
                };
                writer.leader = Some(Leader::new(assignment, ends, self.around.durability));
            }
        }
        self.note_in_sync(writer);
        let moved = writer.carry_out()?;
        let is_dirty = writer.log.flushed() < writer.log.end();
        // IMPORTANT: before anybody can append, who is then acknowledged by it.
        self.leader_epoch.store(epoch, Ordering::Release);
        drop(guard);
        self.after(moved, is_dirty);
        Ok(())
    }

    /// Puts settings in force; where somebody is at work in the log for long, because its disk stalls, when
    /// that is over: the metadata does not wait for it.
    pub(crate) fn configure(self: &Arc<Self>, config: LogConfig, min_in_sync: i32) {
        *self.rules.write() = Arc::new(config.rules());
        let is_awaited = self.wanted.lock().replace((config, min_in_sync)).is_some();
        match self.writer.try_lock_for(CONFIGURE_PATIENCE) {
            Some(guard) => self.take_settings(guard),
            // Who waits already takes these.
            None if is_awaited => {}
            None => {
                let partition = self.clone();
                tokio::task::spawn_blocking(move || {
                    partition.take_settings(partition.writer.lock());
                });
            }
        }
    }

    fn take_settings(self: &Arc<Self>, mut guard: MutexGuard<'_, Option<Writer>>) {
        let wanted = self.wanted.lock().take();
        let (Some(writer), Some((config, min_in_sync))) = (guard.as_mut(), wanted) else {
            return;
        };
        writer.log.set_config(config);
        if let Some(leader) = writer.leader.as_mut() {
            leader.handle_min_in_sync(min_in_sync);
        }
        self.note_in_sync(writer);
        let moved = self.noted(writer.carry_out());
        drop(guard);
        self.after(moved, false);
    }

    fn note_in_sync(&self, writer: &Writer) {
        let leader = writer.leader.as_ref();
        let is_enough = leader.is_some_and(|leader| leader.in_sync().is_enough());
        self.has_enough_in_sync.store(is_enough, Ordering::Release);
    }

    /// Another node leads, or none does.
    pub(crate) fn resign(&self) {
        if let Some(writer) = self.writer.lock().as_mut() {
            writer.leader = None;
        }
        self.leader_epoch.store(NOT_LEADING, Ordering::Release);
        self.moved.wake();
    }

    /// Takes the log away: deleted, or closed at the end of the node's life. Whoever waits is
    /// woken, and finds that nobody leads here.
    pub(crate) fn retire(&self) -> Option<Log> {
        let log = self.writer.lock().take().map(|writer| writer.log);
        self.leader_epoch.store(NOT_LEADING, Ordering::Release);
        self.is_failed.store(true, Ordering::Release);
        self.moved.wake();
        log
    }

    // ---- records in ----

    /// As [`Self::append`], as long as no more than `left` bytes need to be opened or encoded for it, which
    /// are then taken from it; `None`: others had better not wait for that, and nothing was done.
    pub fn append_within(
        self: &Arc<Self>,
        left: &mut usize,
        records: &Bytes,
        acks: i16,
        may_use_zstd: bool,
        verified: Verified,
    ) -> Option<Result<Appended, AppendRefused>> {
        let rules = self.rules.read().clone();
        let origin = validate::Origin::Client { may_use_zstd };
        let now = self.around.clock.wall_ms();
        let checked = validate::check_within(left, records, origin, &rules, now)?;
        let appended = self.append_from_client(records, checked, acks, verified);
        Some(appended.map_err(|refused| self.with_log_start(refused)))
    }

    /// Appends a producer's batch on this thread, as [`Self::enter`] has allowed.
    pub fn append(
        self: &Arc<Self>,
        records: &Bytes,
        acks: i16,
        may_use_zstd: bool,
        verified: Verified,
    ) -> Result<Appended, AppendRefused> {
        let rules = self.rules.read().clone();
        let origin = validate::Origin::Client { may_use_zstd };
        let checked = validate::check(records, origin, &rules, self.around.clock.wall_ms());
        let appended = self.append_from_client(records, checked, acks, verified);
        appended.map_err(|refused| self.with_log_start(refused))
    }

    /// Whether this thread may append, or otherwise wait for the log; else the request had better use
    /// [`Self::append_elsewhere`]: the disk is slow, or has enough threads waiting for it.
    pub fn enter(&self, turns: &mut Turns) -> bool {
        turns.enter(self.place.load().flush.appends())
    }

    /// Where this log directory's appends are done.
    pub(crate) fn appends(&self) -> Arc<Appends> {
        self.place.load().flush.appends().clone()
    }

    /// As [`Self::append`], on the thread of the log directory.
    ///
    /// IMPORTANT: the caller sees to the order of what it appends.
    pub async fn append_elsewhere(
        self: &Arc<Self>,
        records: Bytes,
        acks: i16,
        may_use_zstd: bool,
        verified: Verified,
    ) -> Result<Appended, AppendRefused> {
        let partition = self.clone();
        let append = move || partition.append(&records, acks, may_use_zstd, verified);
        let appended = self.appends().run(append).await;
        appended.unwrap_or_else(|| Err(Refusal::UnknownServerError.into()))
    }

    fn append_from_client(
        self: &Arc<Self>,
        records: &Bytes,
        checked: Result<Checked, Rejected>,
        acks: i16,
        verified: Verified,
    ) -> Result<Appended, AppendRefused> {
        let checked = checked.map_err(|rejected| self.rejected(rejected, records.len()))?;
        let (n_records, n_bytes) = (checked.n_records, checked.size);
        let name_of = InNameOf {
            appender: Appender::Client,
            verified,
            transaction_version: TransactionVersion::SameEpoch,
            decided_in: None,
        };
        let appended = self.append_checked(records, checked, acks, name_of)?;
        self.counters
            .messages_in
            .add(u64::try_from(n_records).unwrap_or(0));
        self.counters.bytes_in.add(n_bytes as u64);
        Ok(appended)
    }

    /// A producer wants to write into a transaction: the guard under which its coordinator must be
    /// asked first. None if the transaction is open here already. Waits for an append that is under
    /// way, so as [`Self::enter`] has allowed.
    ///
    /// # Errors
    /// `INVALID_PRODUCER_EPOCH`, `NOT_LEADER_OR_FOLLOWER`
    pub fn begin_verification(
        &self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_sequence: i32,
        bumps_epoch: bool,
    ) -> Result<Option<Guard>, Refused> {
        let mut guard = self.writer.lock();
        let writer = guard.as_mut().ok_or(Refusal::NotLeaderOrFollower)?;
        if writer.leader.is_none() {
            return Err(Refusal::NotLeaderOrFollower.into());
        }
        writer.log.begin_verification(Unverified {
            producer_id,
            producer_epoch,
            base_sequence,
            bumps_epoch,
            now_ms: self.around.clock.wall_ms(),
        })
    }

    /// Appends a batch of our own: records of a coordinator that has read the log in this epoch.
    pub(crate) fn append_internal(
        self: &Arc<Self>,
        batch: &Bytes,
        verified: Verified,
        decided_in: LeaderEpoch,
    ) -> Result<Appended, AppendRefused> {
        let name_of = InNameOf {
            verified,
            decided_in: Some(decided_in),
            ..InNameOf::COORDINATOR
        };
        self.append_own(batch, name_of)
    }

    /// What a batch may have (`max.message.bytes`), and a segment.
    pub(crate) fn batch_bytes_max(&self) -> usize {
        let rules = self.rules.read();
        rules.max_message_bytes.min(rules.segment_bytes)
    }

    /// Appends the end of a transaction; into a coordinator's own log if it has read it in this epoch.
    pub(crate) fn append_marker(
        self: &Arc<Self>,
        marker: &Bytes,
        transaction_version: TransactionVersion,
        decided_in: Option<LeaderEpoch>,
    ) -> Result<Appended, AppendRefused> {
        let name_of = InNameOf {
            transaction_version,
            decided_in,
            ..InNameOf::COORDINATOR
        };
        self.append_own(marker, name_of)
    }

    fn append_own(
        self: &Arc<Self>,
        batch: &Bytes,
        name_of: InNameOf,
    ) -> Result<Appended, AppendRefused> {
        let rules = self.rules.read().clone();
        let origin = validate::Origin::Coordinator;
        let checked = validate::check(batch, origin, &rules, self.around.clock.wall_ms())
            .map_err(AppendRefused::rejected)?;
        self.append_checked(batch, checked, -1, name_of)
    }

    fn append_checked(
        self: &Arc<Self>,
        records: &[u8],
        checked: Checked,
        acks: i16,
        name_of: InNameOf,
    ) -> Result<Appended, AppendRefused> {
        let appended = match self.try_append(records, &checked, acks, name_of) {
            // What fills the disk may be the room that we hold there.
            Err(NotDone::Fault(fault))
                if fault.is_passing() && self.place.load().flush.pages().room().give_back_all() =>
            {
                self.try_append(records, &checked, acks, name_of)
            }
            appended => appended,
        };
        appended.map_err(|not_done| self.not_done(not_done))
    }

    /// If it is not done, the log is as before, or poisoned.
    fn try_append(
        self: &Arc<Self>,
        records: &[u8],
        checked: &Checked,
        acks: i16,
        name_of: InNameOf,
    ) -> Result<Appended, NotDone> {
        let started = std::time::Instant::now();
        let now_ms = self.around.clock.wall_ms();
        let mut guard = self.writer.lock();
        let writer = guard.as_mut().ok_or(Refusal::NotLeaderOrFollower)?;
        let leader = writer.leader.as_mut().ok_or(Refusal::NotLeaderOrFollower)?;
        leader.may_append(acks)?;
        let leader_epoch = leader.leader_epoch();
        if name_of
            .decided_in
            .is_some_and(|epoch| epoch != leader_epoch)
        {
            return Err(Refusal::NotLeaderOrFollower.into());
        }
        let append = LeaderAppend {
            leader_epoch,
            appender: name_of.appender,
            transaction_version: name_of.transaction_version,
            verified: name_of.verified,
            now_ms,
        };
        let writing = std::time::Instant::now();
        let outcome = writer.log.append_as_leader(records, checked, append);
        let place = self.place.load();
        place.flush.appends().took(writing.elapsed());
        let outcome = outcome?;
        leader.handle_appended(writer.log.end());
        let moved = self.noted(writer.carry_out());
        self.around.metrics.log_bytes.add(outcome.n_bytes as u64);
        let window = writer.log.take_window();
        let wants_room = self.wants_room(&mut writer.log, now_ms);
        let is_dirty = !outcome.is_duplicate
            && (self.around.durability == Durability::Flushed || outcome.flush_is_due);
        drop(guard);
        self.news().tell();
        self.after(moved, is_dirty);
        if let Some(window) = window {
            place.flush.pages().written(window);
        }
        if wants_room && !self.awaits_room.swap(true, Ordering::AcqRel) {
            // The thread has much to do: with the next append.
            if !place.flush.pages().wants_room(self) {
                self.awaits_room.store(false, Ordering::Release);
            }
        }
        self.around.metrics.appends.observe(started.elapsed());
        Ok(Appended {
            base_offset: outcome.first_offset,
            end: outcome.last_offset + 1,
            append_time_ms: outcome.append_time_ms,
            log_start: outcome.log_start,
        })
    }

    fn wants_room(&self, log: &mut Log, now_ms: i64) -> bool {
        let place = self.place.load();
        let open = place.flush.pages().room().open();
        open.is_some_and(|bytes| log.wants_room(now_ms, bytes))
    }

    /// The page thread looks after this partition now; what it wants from here on, it says again.
    pub(crate) fn room_is_coming(&self) {
        self.awaits_room.store(false, Ordering::Release);
    }

    pub(crate) fn reserving_took(&self, took: Duration) {
        self.around.metrics.reservations.observe(took);
    }

    /// What can be said to a producer that wrote up to `required` (exclusive) with acks=all. Waits for
    /// no append.
    pub fn acknowledgement(&self, required: Offset) -> Acknowledgement {
        if self.leader_epoch.load(Ordering::Acquire) == NOT_LEADING {
            return Acknowledgement::Wait;
        }
        let high_watermark = self.high_watermark();
        let is_enough = self.has_enough_in_sync.load(Ordering::Acquire);
        Acknowledgement::of(required, high_watermark, is_enough)
    }

    // ---- upkeep ----

    /// Flushes what is not on the disk, and moves the high watermark if it waited for that.
    pub(crate) fn flush(self: &Arc<Self>) {
        let started = std::time::Instant::now();
        if let Some(target) = self.flush_plan() {
            self.synced(&target, target.sync());
            self.flush_took(started.elapsed());
        }
    }

    pub(crate) fn flush_took(&self, took: Duration) {
        self.around.metrics.flushes.observe(took);
    }

    /// What `flush` syncs, if there is anything.
    pub(crate) fn flush_plan(self: &Arc<Self>) -> Option<FlushTarget> {
        self.plan(|log| log.flush_plan())
    }

    /// What must be synced for recovery to start at the end of the log, if that is news.
    pub(crate) fn recovery_plan(self: &Arc<Self>) -> Option<FlushTarget> {
        self.plan(Log::recovery_plan)
    }

    fn plan(
        self: &Arc<Self>,
        plan: impl FnOnce(&mut Log) -> Result<Option<FlushTarget>, Fault>,
    ) -> Option<FlushTarget> {
        match self.with_log(plan)? {
            Ok(target) => target,
            Err(fault) => {
                self.failed(&fault);
                if fault.is_passing() {
                    self.flush_of().ask_again(self);
                }
                None
            }
        }
    }

    /// What was planned here has been synced, or has not.
    pub(crate) fn synced(self: &Arc<Self>, target: &FlushTarget, outcome: Result<(), Fault>) {
        let mut guard = self.writer.lock();
        // Whoever took the log away may have renamed or unlinked what was to be synced.
        let Some(writer) = guard.as_mut() else { return };
        if let Err(fault) = outcome {
            let is_current = writer.log.is_of(target);
            if is_current && !fault.is_passing() {
                // IMPORTANT: before anybody appends: a later sync would vouch for what this one did not.
                writer.log.poison(&fault);
            }
            drop(guard);
            // The log that this was planned for has moved, and what was to be synced has other names.
            if !is_current {
                return;
            }
            self.failed(&fault);
            if fault.is_passing() {
                self.flush_of().ask_again(self);
            }
            return;
        }
        let flushed = writer.log.flushed_to(target);
        if let Some(leader) = writer.leader.as_mut() {
            leader.handle_flushed(flushed);
        }
        let moved = self.noted(writer.carry_out());
        drop(guard);
        self.news().tell();
        self.after(moved, false);
    }

    /// DeleteRecords: raises the start; the new start.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE`, `NOT_LEADER_OR_FOLLOWER`, `KAFKA_STORAGE_ERROR`.
    pub fn delete_records(&self, to: Option<Offset>) -> Result<Offset, Refused> {
        let mut guard = self.writer.lock();
        let writer = guard.as_mut().ok_or(Refusal::NotLeaderOrFollower)?;
        let to = to.unwrap_or_else(|| writer.log.high_watermark());
        if let Err(not_done) = writer.log.raise_start(to) {
            drop(guard);
            return Err(self.not_done(not_done).refused);
        }
        self.news().tell();
        Ok(writer.log.start())
    }

    /// Where the log starts, if no segment's name says so.
    pub(crate) fn start_inside(&self) -> Option<Offset> {
        let start = self.with_log(|log| Ok(log.start_is_inside().then(|| log.start())))?;
        start.ok().flatten()
    }

    /// The producers that are remembered, by id.
    ///
    /// # Errors
    /// `NOT_LEADER_OR_FOLLOWER`
    pub fn active_producers(&self) -> Result<Vec<ActiveProducer>, Refusal> {
        let guard = self.writer.lock();
        let writer = guard.as_ref().ok_or(Refusal::NotLeaderOrFollower)?;
        let producers = writer
            .log
            .producers()
            .iter()
            .map(|producer| ActiveProducer {
                id: producer.id(),
                epoch: producer.epoch(),
                last_sequence: producer.last_sequence(),
                last_timestamp: producer.last_timestamp(),
                coordinator_epoch: producer.coordinator_epoch(),
                transaction_start: producer.transaction_start(),
            });
        let mut producers: Vec<ActiveProducer> = producers.collect();
        drop(guard);
        producers.sort_unstable_by_key(|producer| producer.id);
        Ok(producers)
    }

    /// Runs `work` on the log under its lock; nothing if the log is gone.
    pub(crate) fn with_log<T>(
        &self,
        work: impl FnOnce(&mut Log) -> Result<T, Fault>,
    ) -> Option<Result<T, Fault>> {
        self.writer
            .lock()
            .as_mut()
            .map(|writer| work(&mut writer.log))
    }

    /// Whether nobody is at work in the log any more before so long: where its disk stalls, who asks for
    /// it waits until that is over.
    pub(crate) fn is_free_within(&self, patience: Duration) -> bool {
        self.writer.try_lock_for(patience).is_some()
    }

    /// `cleanup.policy` contains `compact`.
    pub(crate) fn is_compacted(&self) -> bool {
        self.rules.read().is_compacted
    }

    // ---- what follows ----

    fn after(self: &Arc<Self>, watermark_moved: bool, is_dirty: bool) {
        if watermark_moved {
            self.news().tell();
            self.moved.wake();
        }
        if is_dirty {
            self.place.load().flush.ask(self);
        }
    }

    fn noted(&self, carried_out: Result<bool, Fault>) -> bool {
        carried_out.unwrap_or_else(|fault| {
            self.failed(&fault);
            false
        })
    }

    fn rejected(&self, mut rejected: Rejected, n_bytes: usize) -> AppendRefused {
        // Clients print these words as they are, and a batch does not know where it was to go.
        for error in &mut rejected.record_errors {
            error.message += &format!(" in topic partition {}", self.id);
        }
        match rejected.refusal {
            Refusal::MessageTooLarge | Refusal::RecordListTooLarge => {
                self.counters.bytes_rejected.add(n_bytes as u64);
            }
            Refusal::CorruptMessage => self.around.metrics.invalid_crc.add(1),
            Refusal::InvalidRecord if !rejected.record_errors.is_empty() => {
                self.around.metrics.no_key_compacted.add(1);
            }
            _ => {}
        }
        AppendRefused::rejected(rejected)
    }

    /// Kafka tells where the log starts with every refusal but those that say nothing about the log.
    fn with_log_start(&self, mut refused: AppendRefused) -> AppendRefused {
        refused.log_start = match refused.refused.refusal {
            Refusal::UnknownTopicOrPartition
            | Refusal::UnknownTopicId
            | Refusal::NotLeaderOrFollower
            | Refusal::MessageTooLarge
            | Refusal::RecordListTooLarge
            | Refusal::CorruptMessage
            | Refusal::UnsupportedCompressionType
            | Refusal::KafkaStorageError => -1,
            _ => self.view().start(),
        };
        refused
    }

    fn not_done(&self, not_done: NotDone) -> AppendRefused {
        match not_done {
            NotDone::Refused(refused) => refused.into(),
            NotDone::Fault(fault) => {
                let message = fault.to_string();
                if fault.is_passing() {
                    tracing::warn!(partition = %self.id, "{fault}");
                } else {
                    self.failed(&fault);
                }
                Refused::new(Refusal::KafkaStorageError, message).into()
            }
        }
    }

    /// The disk failed: nothing of this directory is acknowledged any more.
    pub(crate) fn failed(&self, fault: &Fault) {
        if fault.is_passing() {
            tracing::warn!(partition = %self.id, "{fault}");
            // What was not done now is to be done later.
            self.news().tell();
            return;
        }
        let directory = self.directory();
        if directory.take_offline(fault) {
            tracing::error!(partition = %self.id, directory = %directory.path().display(), "{fault}; the directory serves no more writes");
        }
        self.is_failed.store(true, Ordering::Release);
        if let Some(mut guard) = self.writer.try_lock()
            && let Some(writer) = guard.as_mut()
        {
            writer.log.poison(fault);
        }
        self.moved.wake();
    }
}

impl Writer {
    /// Does what the leader's rules say; whether the high watermark moved.
    fn carry_out(&mut self) -> Result<bool, Fault> {
        let mut moved = false;
        while let Some(command) = self.leader.as_mut().and_then(Leader::next_command) {
            match command {
                Command::AssignEpoch { epoch, start } => self.log.assign_epoch(epoch, start)?,
                Command::HighWatermark(offset) => {
                    self.log.set_high_watermark(offset);
                    moved = true;
                }
            }
        }
        Ok(moved)
    }
}

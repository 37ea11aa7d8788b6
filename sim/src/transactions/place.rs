//! One partition: its log, who leads it, and what its checkpoints say. The checkpoints are values
//! here; that their files survive a power cut is the crash run's affair.

use std::cell::RefCell;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::batch::{Batch, OPENED_BYTES_MAX, batches};
use ottla_protocol::{Offset, Refusal, Refused, TopicPartition, Uuid};
use ottla_storage::producer::{Appender, Guard, TransactionVersion, Unverified, Verified};
use ottla_storage::validate::{Origin, check};
use ottla_storage::{
    AppendOutcome, Disk, Fault, FetchSlice, Host, Isolation, LeaderAppend, Log, LogConfig, Newest,
    NoEvents, NotDone, OpenLog, Outcome, Picture, ReadFrom, Round, compact,
};

/// `__transaction_state`, `__consumer_offsets`, and behind them what clients write to.
pub(super) const PLACES: [(&str, i32); 5] = [
    ("__transaction_state", 0),
    ("__consumer_offsets", 0),
    ("out", 0),
    ("out", 1),
    ("audit", 0),
];
pub(super) const TRANSACTIONS: usize = 0;
pub(super) const OFFSETS: usize = 1;
pub(super) const FIRST_OUT: usize = 2;

/// Idle producers are forgotten sooner than by default, and later than the latest message comes.
pub(super) const PRODUCERS_EXPIRE_MS: i64 = 600_000;

pub(super) fn place_of(topic: &str, index: i32) -> usize {
    let found = PLACES.iter().position(|place| *place == (topic, index));
    found.unwrap_or_else(|| panic!("there is no {topic}-{index}"))
}

/// In whose name something is appended.
#[derive(Debug, Clone, Copy)]
pub(super) struct InNameOf {
    pub(super) appender: Appender,
    pub(super) verified: Verified,
    pub(super) version: TransactionVersion,
}

impl InNameOf {
    pub(super) fn client(verified: Verified) -> Self {
        Self {
            appender: Appender::Client,
            ..Self::coordinator(verified)
        }
    }

    pub(super) fn coordinator(verified: Verified) -> Self {
        Self {
            appender: Appender::Coordinator,
            verified,
            version: TransactionVersion::SameEpoch,
        }
    }

    pub(super) fn marker(version: TransactionVersion) -> Self {
        Self {
            version,
            ..Self::coordinator(Verified::NotAsked)
        }
    }
}

pub(super) struct Place {
    pub(super) topic: &'static str,
    pub(super) index: i32,
    /// `None` while nobody leads here.
    pub(super) log: Option<Log>,
    /// Another number whenever somebody begins or ceases to lead here.
    pub(super) life: u64,
    /// The leader's epoch.
    pub(super) epoch: i32,
    pub(super) config: LogConfig,
    /// What was appended waits to be committed.
    pub(super) is_advancing: bool,
    /// Nothing is committed before this moment.
    pub(super) stalled_until: i64,
    /// The highest high watermark there ever was, and the last stable offset then.
    pub(super) most: (Offset, Offset),
    /// The same while a coordinator stood on it. What the power left above it is committed by the next
    /// leader, and was promised to nobody: it need not be all there was.
    pub(super) promised: Offset,
    /// What is left is not all there was: records were deleted, compaction has been at work, or a
    /// power cut has made a hole in what was not flushed, which recovery takes for one of compaction's.
    pub(super) is_patchy: bool,
    disk: Disk,
    directory: PathBuf,
    // Checkpoints.
    start: Offset,
    recovery_point: Offset,
    high_watermark: Offset,
    cleaned: Option<Offset>,
    was_closed: bool,
}

/// Lends the log to a round of compaction.
struct Lender<'a>(RefCell<&'a mut Log>);

impl Host for Lender<'_> {
    fn with_log(
        &self,
        work: &mut dyn FnMut(&mut Log) -> Result<(), Fault>,
    ) -> Option<Result<(), Fault>> {
        let mut log = self.0.borrow_mut();
        Some(work(&mut log))
    }

    fn may_go_on(&self, _: usize) -> bool {
        true
    }
}

impl Place {
    /// A new partition, all of it on the disk.
    pub(super) fn create(
        disk: &Disk,
        root: &Path,
        (topic, index): (&'static str, i32),
        config: LogConfig,
        now_ms: i64,
    ) -> Self {
        let mut place = Self {
            topic,
            index,
            log: None,
            life: 0,
            epoch: 0,
            config,
            is_advancing: false,
            stalled_until: 0,
            most: (0, 0),
            promised: 0,
            is_patchy: false,
            disk: disk.clone(),
            directory: root.join(format!("{topic}-{index}")),
            start: 0,
            recovery_point: 0,
            high_watermark: 0,
            cleaned: None,
            was_closed: false,
        };
        let id = Uuid::from_u128(1000 + index as u128 + topic.len() as u128 * 10);
        let log = Log::create(place.how(now_ms), Some(id)).expect("a log can be made");
        place.lead(log).expect("a new log takes an epoch");
        place
            .advance(true, false)
            .expect("a new log can be flushed");
        let named = disk
            .sync_directory(&place.directory)
            .and_then(|()| disk.sync_directory(root));
        named.expect("a new log can be named");
        place
    }

    fn how(&self, now_ms: i64) -> OpenLog {
        OpenLog {
            disk: self.disk.clone(),
            directory: self.directory.clone(),
            partition: TopicPartition::new(self.topic, self.index),
            config: self.config.clone(),
            recovery_point: self.recovery_point,
            is_point_ours: true,
            start: self.start,
            high_watermark: self.high_watermark,
            is_clean: self.was_closed,
            now_ms,
            events: Arc::new(NoEvents),
        }
    }

    fn lead(&mut self, mut log: Log) -> Result<(), Fault> {
        self.epoch += 1;
        let end = log.end();
        log.assign_epoch(self.epoch, end)?;
        self.recovery_point = self.recovery_point.min(log.recovery_point());
        self.was_closed = false;
        self.log = Some(log);
        Ok(())
    }

    /// Whoever leads from here on finds what the disk has.
    pub(super) fn open(&mut self, now_ms: i64) -> Result<(), Fault> {
        assert!(self.log.is_none(), "a log is opened once");
        let log = Log::open(self.how(now_ms))?;
        self.lead(log)
    }

    /// Nobody leads here any more, from one moment to the next.
    pub(super) fn leave(&mut self) {
        self.log = None;
        self.life += 1;
        self.is_advancing = false;
        self.stalled_until = 0;
    }

    /// The same, in order.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        if let Some(log) = self.log.take() {
            let closed = log.close()?;
            self.recovery_point = closed.end;
            self.high_watermark = closed.high_watermark;
            self.was_closed = true;
        }
        self.leave();
        Ok(())
    }

    pub(super) fn log(&self) -> &Log {
        self.log.as_ref().expect("somebody leads here")
    }

    fn log_mut(&mut self) -> &mut Log {
        self.log.as_mut().expect("somebody leads here")
    }

    /// Whether it can go on: else what it knows is ahead of what it shows, and whoever opens it next
    /// finds out what is there.
    pub(super) fn takes_writes(&self) -> bool {
        self.log().flush_plan().is_ok()
    }

    pub(super) fn high(&self) -> Offset {
        self.log.as_ref().map_or(0, Log::high_watermark)
    }

    // ---- records in ----

    /// As a partition's leader does it: first what needs no lock, then the append.
    pub(super) fn append(
        &mut self,
        batch: &Bytes,
        name_of: InNameOf,
        now_ms: i64,
    ) -> Result<AppendOutcome, NotDone> {
        let origin = match name_of.appender {
            Appender::Client => Origin::Client { may_use_zstd: true },
            Appender::Coordinator => Origin::Coordinator,
        };
        let checked = check(batch, origin, &self.config.rules(), now_ms)
            .map_err(|rejected| Refused::new(rejected.refusal, rejected.message))?;
        let append = LeaderAppend {
            leader_epoch: self.epoch,
            appender: name_of.appender,
            transaction_version: name_of.version,
            verified: name_of.verified,
            now_ms,
        };
        self.log_mut().append_as_leader(batch, &checked, append)
    }

    pub(super) fn begin_verification(
        &mut self,
        asked: Unverified,
    ) -> Result<Option<Guard>, Refusal> {
        let log = self.log.as_mut().ok_or(Refusal::NotLeaderOrFollower)?;
        log.begin_verification(asked)
            .map_err(|refused| refused.refusal)
    }

    /// Flushes, as far as that is waited for, and moves the high watermark. `settles` moves the
    /// recovery point, too.
    pub(super) fn advance(&mut self, flushes: bool, settles: bool) -> Result<(), Fault> {
        let log = self.log_mut();
        if settles {
            if let Some(target) = log.recovery_plan()? {
                target.sync().inspect_err(|fault| log.poison(fault))?;
                log.flushed_to(&target);
            }
        } else if flushes {
            log.flush()?;
        }
        let to = if flushes { log.flushed() } else { log.end() };
        log.set_high_watermark(to.max(log.high_watermark()));
        if settles {
            self.recovery_point = self.log().recovery_point();
        }
        Ok(())
    }

    pub(super) fn write_checkpoint(&mut self) {
        self.high_watermark = self.log().checkpoint_high_watermark();
    }

    pub(super) fn roll(&mut self, now_ms: i64) -> Result<(), Fault> {
        self.log_mut().roll(now_ms)
    }

    /// Segments below the start go; how many.
    pub(super) fn retain(&mut self, now_ms: i64) -> Result<u64, Fault> {
        let log = self.log_mut();
        let gone = log.retain(now_ms)?;
        log.unlink_due(now_ms)?;
        Ok(gone.iter().map(|(_, n)| *n as u64).sum())
    }

    /// Nobody needs what is below any more; whether that is a change.
    pub(super) fn delete_records(&mut self, below: Offset) -> Result<bool, NotDone> {
        let log = self.log.as_mut().expect("somebody leads here");
        let below = below.min(log.high_watermark());
        if below <= log.start() {
            return Ok(false);
        }
        self.is_patchy = true;
        log.raise_start(below)?;
        self.start = below;
        Ok(true)
    }

    pub(super) fn expire_producers(&mut self, now_ms: i64) {
        self.log_mut().expire_producers(now_ms);
    }

    /// A round of compaction, as a node's cleaner does it; whether it did anything.
    pub(super) fn compact(&mut self, flushes: bool, now_ms: i64) -> Result<bool, Fault> {
        self.advance(flushes, true)?;
        let log = self.log.as_mut().expect("somebody leads here");
        let picture = Picture::take(log);
        let dirt = picture.dirt(self.cleaned, now_ms)?;
        if dirt.cleanable_bytes == 0 {
            return Ok(false);
        }
        self.is_patchy = true;
        let round = Round {
            picture,
            dirt,
            now_ms,
            io_bytes: 2000,
        };
        let lender = Lender(RefCell::new(log));
        let outcome = compact(&round, &mut Newest::new(1 << 16, 0.9), &lender)?;
        let Outcome::Done(done) = outcome else {
            return Ok(false);
        };
        self.cleaned = Some(done.end);
        Ok(true)
    }

    // ---- records out ----

    /// Every batch, committed or not.
    pub(super) fn scan(&self, mut visit: impl FnMut(Batch<'_>)) {
        let view = self.log().view();
        let (mut offset, end) = (view.start(), view.end());
        while offset < end {
            let from = ReadFrom {
                offset,
                isolation: Isolation::LogEnd,
                max_bytes: 1 << 20,
                at_least_one: true,
                with_aborted: false,
            };
            let fetched = view.read(from).expect("a sound log can be read");
            let Some(slice) = fetched.slice else { break };
            let bytes = bytes_of(&slice);
            let before = offset;
            for batch in batches(&bytes) {
                let batch = batch.expect("a sound log has sound batches");
                batch.verify_crc().expect("a batch is what it was");
                if batch.last_offset() >= before {
                    visit(batch);
                }
                offset = batch.next_offset();
            }
            assert!(offset > before, "{}: stuck at {offset}", self.topic);
        }
    }

    /// Every record with its batch: offset, key and value.
    pub(super) fn scan_records(
        &self,
        mut visit: impl FnMut(Batch<'_>, Offset, Option<Bytes>, Option<Bytes>),
    ) {
        self.scan(|batch| {
            let payload = batch.payload(OPENED_BYTES_MAX).expect("it can be opened");
            for record in payload.records() {
                let record = record.expect("a sound batch has sound records");
                let copied = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
                visit(
                    batch,
                    record.offset,
                    copied(record.key),
                    copied(record.value),
                );
            }
        });
    }
}

pub(super) fn bytes_of(slice: &FetchSlice) -> Vec<u8> {
    let mut bytes = vec![0; slice.length];
    let read = slice.file().read_exact_at(&mut bytes, slice.position);
    read.expect("a slice can be read");
    bytes
}

/// What both kinds of topics have: small segments, and nothing that goes for its age.
pub(super) fn config(segment_bytes: u32, index_interval_bytes: u32, compacts: bool) -> LogConfig {
    LogConfig {
        segment_bytes,
        index_interval_bytes,
        retention_ms: -1,
        cleanup_delete: false,
        cleanup_compact: compacts,
        delete_retention_ms: 2_000,
        file_delete_delay_ms: 500,
        producer_id_expiration_ms: PRODUCERS_EXPIRE_MS,
        ..LogConfig::default()
    }
}

//! Compaction against a model: whatever was written, and wherever it was cut off, a reader who
//! starts at the beginning ends up with the newest value of each key.

mod faults;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ottla_protocol::batch::batches;
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::compress::Codec;
use ottla_storage::producer::Appender;
use ottla_storage::{
    Cleaned, Disk, Fault, Host, Isolation, Log, LogConfig, LogView, Newest, OpenLog, Outcome,
    Picture, ReadFrom, Round, compact,
};

use crate::stand::*;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 200,
        cleanup_compact: true,
        cleanup_delete: false,
        delete_retention_ms: 1000,
        ..LogConfig::default()
    }
}

type Between<'a> = Box<dyn FnMut(&mut Log) + 'a>;

/// Owns a log, and does something to it whenever compaction takes the lock.
pub(crate) struct Owner<'a> {
    log: RefCell<Option<Log>>,
    between: RefCell<Between<'a>>,
    n_steps: AtomicUsize,
    stop_after: usize,
}

impl<'a> Owner<'a> {
    pub(crate) fn of(log: Log) -> Self {
        Self::with(log, |_| ())
    }

    fn with(log: Log, between: impl FnMut(&mut Log) + 'a) -> Self {
        Self {
            log: RefCell::new(Some(log)),
            between: RefCell::new(Box::new(between)),
            n_steps: AtomicUsize::new(0),
            stop_after: usize::MAX,
        }
    }

    pub(crate) fn take(self) -> Log {
        self.log.into_inner().unwrap()
    }
}

impl Host for Owner<'_> {
    fn with_log(
        &self,
        work: &mut dyn FnMut(&mut Log) -> Result<(), Fault>,
    ) -> Option<Result<(), Fault>> {
        let mut log = self.log.borrow_mut();
        let log = log.as_mut()?;
        (self.between.borrow_mut())(log);
        Some(work(log))
    }

    fn may_go_on(&self, _: usize) -> bool {
        self.n_steps.fetch_add(1, Ordering::Relaxed) < self.stop_after
    }
}

fn round(log: &Log, checkpoint: i64, now_ms: i64) -> Round {
    let picture = Picture::take(log);
    let dirt = picture.dirt(Some(checkpoint), now_ms).unwrap();
    Round {
        picture,
        dirt,
        now_ms,
        io_bytes: 700,
    }
}

/// Everything is on the disk, and a crash reads nothing again.
fn settle(log: &mut Log) -> Result<(), Fault> {
    if let Some(target) = log.recovery_plan()? {
        target.sync()?;
        log.flushed_to(&target);
    }
    Ok(())
}

fn keys() -> Newest {
    Newest::new(1 << 16, 0.9)
}

/// Compacts all that may be, and returns how far.
pub(crate) fn clean(owner: &Owner<'_>, checkpoint: i64, now_ms: i64) -> Result<Outcome, Fault> {
    let round = {
        let mut log = owner.log.borrow_mut();
        let log = log.as_mut().unwrap();
        let end = log.end();
        log.set_high_watermark(end);
        settle(log)?;
        round(log, checkpoint, now_ms)
    };
    if round.dirt.cleanable_bytes == 0 {
        return Ok(Outcome::GivenUp);
    }
    compact(&round, &mut keys(), owner)
}

fn cleaned(outcome: Outcome) -> Cleaned {
    match outcome {
        Outcome::Done(cleaned) => cleaned,
        Outcome::GivenUp => panic!("given up"),
    }
}

/// A record as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    key: String,
    value: Option<String>,
}

/// Everything that was ever written, and what became of it.
#[derive(Debug, Clone, Default)]
struct Model {
    committed: BTreeMap<i64, Written>,
    /// By producer: not decided yet.
    open: HashMap<i64, BTreeMap<i64, Written>>,
}

impl Model {
    fn newest(&self) -> BTreeMap<String, String> {
        replay(self.committed.values())
    }

    /// What a reader finds must be what was written, and lead to the same end.
    fn assert_fits(&self, view: &LogView, why: &str) -> BTreeMap<i64, Written> {
        let found = read_committed(view);
        for (offset, record) in &found {
            assert_eq!(
                self.committed.get(offset),
                Some(record),
                "{why}: offset {offset}"
            );
        }
        assert_eq!(replay(found.values()), self.newest(), "{why}");
        found
    }

    /// And what was compacted holds each key once.
    fn assert_compacted(&self, view: &LogView, end: i64, why: &str) {
        let found = self.assert_fits(view, why);
        let mut seen = BTreeSet::new();
        for (offset, record) in found.range(..end) {
            assert!(
                seen.insert(&record.key),
                "{why}: {} again at {offset}",
                record.key
            );
        }
        let expected: Vec<_> = self.committed.range(end..).collect();
        let behind: Vec<_> = found.range(end..).collect();
        assert_eq!(
            behind, expected,
            "{why}: what is not compacted is as it was"
        );
    }
}

fn replay<'a>(records: impl Iterator<Item = &'a Written>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for Written { key, value } in records {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
    map
}

/// As a consumer that reads committed does it.
fn read_committed(view: &LogView) -> BTreeMap<i64, Written> {
    let mut found = BTreeMap::new();
    let mut offset = view.start();
    loop {
        let from = ReadFrom {
            offset,
            isolation: Isolation::LastStable,
            max_bytes: usize::MAX,
            at_least_one: true,
            with_aborted: true,
        };
        let fetched = view.read(from).unwrap();
        let Some(slice) = fetched.slice else {
            return found;
        };
        let mut aborted = fetched.aborted;
        aborted.sort_by_key(|it| it.first_offset);
        let mut ahead = aborted.into_iter().peekable();
        let mut dropping = BTreeSet::new();
        for batch in batches(&bytes_of(&slice)) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            assert!(batch.base_offset() >= offset || batch.last_offset() >= offset);
            offset = batch.next_offset();
            while let Some(next) = ahead.next_if(|it| it.first_offset <= batch.last_offset()) {
                dropping.insert(next.producer_id);
            }
            let payload = batch.payload(1 << 20).unwrap();
            if batch.is_control() {
                dropping.remove(&batch.producer_id());
                assert!(payload.records().count() <= 1);
                continue;
            }
            if batch.is_transactional() && dropping.contains(&batch.producer_id()) {
                continue;
            }
            for record in payload.records() {
                let record = record.unwrap();
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let written = Written {
                    key: text(record.key.unwrap()),
                    value: record.value.map(text),
                };
                found.insert(record.offset, written);
            }
        }
    }
}

/// Numbers that look random, the same for each seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

const CODECS: [Codec; 4] = [Codec::None, Codec::Lz4, Codec::Zstd, Codec::Gzip];

/// Writes at random: several producers, some with transactions that end either way.
struct Writer {
    dice: Dice,
    sequences: HashMap<i64, i32>,
}

impl Writer {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            sequences: HashMap::new(),
        }
    }

    fn step(&mut self, log: &mut Log, model: &mut Model) {
        let id = self.dice.roll(5) as i64;
        let is_transactional = id >= 3;
        if is_transactional && model.open.contains_key(&id) && self.dice.roll(3) == 0 {
            return self.end(log, model, id);
        }
        let codec = CODECS[self.dice.roll(4) as usize];
        let mut builder = BatchBuilder::data(codec);
        let n = 1 + self.dice.roll(6) as i32;
        if id > 0 {
            let sequence = self.sequences.entry(id).or_default();
            builder = builder.producer(id, 0, *sequence);
            *sequence += n;
        }
        if is_transactional {
            builder = builder.transactional();
        }
        let first = log.end();
        let mut records = BTreeMap::new();
        for i in 0..i64::from(n) {
            let key = format!("key {}", self.dice.roll(20));
            let value = (self.dice.roll(4) > 0).then(|| format!("value of {}", first + i));
            let bytes = value.as_ref().map(|value| value.as_bytes());
            builder.push(NOW + first + i, Some(key.as_bytes()), bytes);
            records.insert(first + i, Written { key, value });
        }
        append(log, &builder.finish()).unwrap();
        if is_transactional {
            model.open.entry(id).or_default().extend(records);
        } else {
            model.committed.extend(records);
        }
    }

    fn end(&mut self, log: &mut Log, model: &mut Model, id: i64) {
        let is_commit = self.dice.roll(2) == 0;
        let marker = EndMarker {
            is_commit,
            coordinator_epoch: 0,
        };
        append_in(log, &marker.batch(id, 0, NOW), 0, Appender::Coordinator).unwrap();
        let records = model.open.remove(&id).unwrap_or_default();
        if is_commit {
            model.committed.extend(records);
        }
    }

    fn end_all(&mut self, log: &mut Log, model: &mut Model) {
        let mut open: Vec<i64> = model.open.keys().copied().collect();
        open.sort_unstable();
        for id in open {
            self.end(log, model, id);
        }
    }
}

fn keyed(key: &str, value: Option<&str>) -> Bytes {
    let mut builder = BatchBuilder::data(Codec::None);
    let filler = value.map(|value| format!("{value} {}", "x".repeat(100)));
    builder.push(
        NOW,
        Some(key.as_bytes()),
        filler.as_deref().map(str::as_bytes),
    );
    builder.finish()
}

/// Records of so many keys in turn.
fn fill_keys(log: &mut Log, n: i64, n_keys: i64) {
    for i in 0..n {
        let key = format!("k{}", i % n_keys);
        append(log, &keyed(&key, Some(&i.to_string()))).unwrap();
    }
}

#[test]
fn the_newest_record_of_each_key_stays_and_small_segments_become_one() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), config());
    fill_keys(&mut log, 100, 7);
    let n_before = log.n_segments();
    let owner = Owner::of(log);
    let first = cleaned(clean(&owner, 0, NOW).unwrap());
    assert!(first.figures.bytes_written * 5 < first.figures.bytes_read);
    // Segments are put together by the size that they had before.
    let mut log = owner.take();
    assert_eq!(log.n_segments(), n_before);
    log.roll(NOW).unwrap();
    let owner = Owner::of(log);
    let done = cleaned(clean(&owner, first.end, NOW).unwrap());
    let log = owner.take();
    assert!(n_before > 8 && log.n_segments() <= 3, "{n_before}");
    assert_eq!(done.figures.n_segments_before, n_before);
    let found = read_committed(&log.view());
    let below = found.keys().filter(|offset| **offset < done.end).count();
    assert_eq!(below, 7);
    assert_eq!(log.end(), 100);
    let names: Vec<String> = files(place.path()).into_keys().collect();
    let staged = |name: &&String| name.ends_with(".cleaned") || name.ends_with(".swap");
    assert_eq!(names.iter().find(staged), None);
    assert!(names.iter().any(|name| name.ends_with(".log.deleted")));
    // And again after a restart of either kind.
    for is_clean in [true, false] {
        let log = Log::open(OpenLog {
            is_clean,
            recovery_point: log.flushed(),
            ..how(place.path(), config(), Disk::new())
        });
        let mut log = log.unwrap();
        log.set_high_watermark(100);
        assert_eq!(read_committed(&log.view()), found);
        assert!(files_ending(place.path(), ".deleted").is_empty());
    }
}

#[test]
fn readers_keep_the_segments_that_they_hold() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), config());
    fill_keys(&mut log, 60, 3);
    settle(&mut log).unwrap();
    log.set_high_watermark(60);
    log = Log::open(OpenLog {
        is_clean: true,
        high_watermark: 60,
        ..how(place.path(), config(), Disk::new())
    })
    .unwrap();
    let before = log.view();
    let owner = Owner::of(log);
    cleaned(clean(&owner, 0, NOW).unwrap());
    let mut log = owner.take();
    log.unlink_due(i64::MAX).unwrap();
    assert_eq!(
        read_committed(&before).len(),
        60,
        "the old files, opened or not"
    );
    assert!(read_committed(&log.view()).len() < 20);
    // Reads that begin where nothing is any more, and in the middle of old segments.
    for offset in 0..60 {
        let from = ReadFrom {
            offset,
            isolation: Isolation::HighWatermark,
            max_bytes: 1,
            at_least_one: true,
            with_aborted: false,
        };
        for view in [&before, &log.view()] {
            let slice = view.read(from).unwrap().slice.unwrap();
            let bytes = bytes_of(&slice);
            let first = batches(&bytes).next().unwrap().unwrap();
            assert!(first.last_offset() >= offset);
        }
    }
}

#[test]
fn tombstones_go_once_their_time_has_come() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), config());
    append(&mut log, &keyed("gone", Some("1"))).unwrap();
    append(&mut log, &keyed("gone", None)).unwrap();
    append(&mut log, &keyed("last", Some("2"))).unwrap();
    log.roll(NOW).unwrap();
    let mut owner = Owner::of(log);
    let mut checkpoint = 0;
    for (now, expected) in [
        (NOW, vec![1, 2]),
        (NOW + 999, vec![1, 2]),
        (NOW + 1000, vec![2]),
    ] {
        // Something new, so that there is a reason.
        let mut log = owner.take();
        let offset = append(&mut log, &keyed("last", Some("3")))
            .unwrap()
            .first_offset;
        log.roll(NOW).unwrap();
        owner = Owner::of(log);
        checkpoint = cleaned(clean(&owner, checkpoint, now).unwrap()).end;
        let log = owner.log.borrow();
        let view = log.as_ref().unwrap().view();
        let found: Vec<i64> = read_committed(&view).into_keys().collect();
        let mut expected = expected;
        *expected.last_mut().unwrap() = offset;
        assert_eq!(found, expected, "at {}", now - NOW);
        assert_eq!(checkpoint, view.end());
    }
}

#[test]
fn keys_that_do_not_fit_take_several_rounds() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), config());
    let mut model = Model::default();
    for i in 0..200 {
        let (key, value) = (format!("k{}", i % 50), format!("{i} {}", "x".repeat(100)));
        append(&mut log, &keyed(&key, Some(&i.to_string()))).unwrap();
        let value = Some(value);
        model.committed.insert(i, Written { key, value });
    }
    log.roll(NOW).unwrap();
    log.set_high_watermark(200);
    settle(&mut log).unwrap();
    let owner = Owner::of(log);
    let (mut checkpoint, mut n_rounds) = (0, 0);
    while checkpoint < 200 {
        let round = round(owner.log.borrow().as_ref().unwrap(), checkpoint, NOW);
        let mut few = Newest::new(24 * 12, 0.9);
        let done = cleaned(compact(&round, &mut few, &owner).unwrap());
        assert!(done.end > checkpoint);
        checkpoint = done.end;
        n_rounds += 1;
        let log = owner.log.borrow();
        model.assert_fits(&log.as_ref().unwrap().view(), "between rounds");
    }
    assert!(n_rounds > 10, "{n_rounds}");
    let log = owner.take();
    let first_pass = read_committed(&log.view()).len();
    assert_eq!(first_pass, 50);
    // One batch with more keys than there is room for can never be compacted.
    let mut log = log;
    let mut builder = BatchBuilder::data(Codec::None);
    for i in 0..20 {
        builder.push(NOW, Some(format!("{i}").as_bytes()), Some(b"v"));
    }
    append(&mut log, &builder.finish()).unwrap();
    log.roll(NOW).unwrap();
    log.set_high_watermark(220);
    settle(&mut log).unwrap();
    let round = round(&log, 200, NOW);
    let fault = compact(&round, &mut Newest::new(24 * 12, 0.9), &Owner::of(log)).unwrap_err();
    assert!(fault.to_string().contains("dedupe.buffer.size"), "{fault}");
}

#[test]
fn the_log_goes_on_while_it_is_compacted() {
    for seed in 0..20 {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), config());
        let (mut model, mut writer) = (Model::default(), Writer::new(seed));
        for _ in 0..80 {
            writer.step(&mut log, &mut model);
        }
        writer.end_all(&mut log, &mut model);
        let shared = RefCell::new((model, writer));
        let owner = Owner::with(log, |log| {
            let (model, writer) = &mut *shared.borrow_mut();
            writer.step(log, model);
            let end = log.end();
            log.set_high_watermark(end);
        });
        let end = cleaned(clean(&owner, 0, NOW).unwrap()).end;
        let mut log = owner.take();
        let (mut model, mut writer) = shared.into_inner();
        writer.end_all(&mut log, &mut model);
        let high = log.end();
        log.set_high_watermark(high);
        model.assert_compacted(&log.view(), end, &format!("seed {seed}"));
    }
}

#[test]
fn a_log_that_changes_underneath_ends_the_round() {
    type Change = fn(&mut Log);
    let changes: [(&str, Change); 5] = [
        ("truncated", |log| {
            log.truncate(40, NOW).unwrap();
        }),
        ("anew", |log| log.start_anew(70, NOW).unwrap()),
        ("raised", |log| {
            log.raise_start(30).unwrap();
            log.retain(NOW).unwrap();
        }),
        ("not compacted any more", |log| {
            log.set_config(LogConfig {
                cleanup_compact: false,
                ..config()
            });
        }),
        ("poisoned", |log| {
            log.poison(&Fault::OutOfSpace { path: "x".into() });
        }),
    ];
    for (name, change) in changes {
        for at in 0..6 {
            let place = tempfile::tempdir().unwrap();
            let mut log = open(place.path(), config());
            for i in 0..60 {
                append(
                    &mut log,
                    &keyed(&format!("k{}", i % 3), Some(&i.to_string())),
                )
                .unwrap();
            }
            let mut n = 0;
            let owner = Owner::with(log, |log| {
                if n == at {
                    change(log);
                }
                n += 1;
            });
            let outcome = clean(&owner, 0, NOW);
            let log = owner.take();
            let is_through = matches!(outcome, Ok(Outcome::Done(_)));
            if name != "poisoned" {
                assert!(outcome.is_ok(), "{name} at {at}: {outcome:?}");
            }
            // Whichever it was, there is one log, and it opens as what it is.
            let (start, end) = (log.start(), log.end());
            let found: Vec<_> = read_all(&log.view(), Isolation::LogEnd);
            assert!(!is_through || found.len() < 30, "{name} at {at}");
            let (flushed, recovery_point) = (log.flushed(), log.recovery_point());
            drop(log);
            let log = Log::open(OpenLog {
                recovery_point,
                start,
                ..how(place.path(), config(), Disk::new())
            })
            .unwrap();
            assert!(flushed <= end);
            assert_eq!((log.start(), log.end()), (start, end), "{name} at {at}");
            assert_eq!(
                read_all(&log.view(), Isolation::LogEnd),
                found,
                "{name} at {at}"
            );
        }
    }
}

#[test]
fn a_round_that_is_stopped_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), config());
    fill_keys(&mut log, 60, 3);
    for stop_after in [0, 10, 60] {
        let owner = Owner {
            stop_after,
            ..Owner::of(log)
        };
        assert_eq!(clean(&owner, 0, NOW).unwrap(), Outcome::GivenUp);
        log = owner.take();
        assert!(files_ending(place.path(), ".cleaned").is_empty());
        assert_eq!(read_committed(&log.view()).len(), 60);
    }
}

fn filled(place: &Path, seed: u64) -> Model {
    let mut log = open(place, config());
    let (mut model, mut writer) = (Model::default(), Writer::new(seed));
    for _ in 0..36 {
        writer.step(&mut log, &mut model);
    }
    writer.end_all(&mut log, &mut model);
    let end = log.end();
    log.set_high_watermark(end);
    log.close().unwrap();
    model
}

#[test]
fn random_logs_compact_to_what_was_written_last() {
    for seed in 0..30 {
        let place = tempfile::tempdir().unwrap();
        let mut log = open(place.path(), config());
        let (mut model, mut writer) = (Model::default(), Writer::new(1000 + seed));
        let (mut checkpoint, mut now) = (0, NOW);
        for lap in 0..8 {
            for _ in 0..25 {
                writer.step(&mut log, &mut model);
            }
            now += 400;
            let why = format!("seed {seed}, lap {lap}");
            let before: HashMap<i64, i32> = sequences(&log);
            let owner = Owner::of(log);
            if let Outcome::Done(done) = clean(&owner, checkpoint, now).unwrap() {
                assert!(done.end >= checkpoint, "{why}");
                checkpoint = done.end;
            }
            log = owner.take();
            let stable = log.last_stable();
            let mut decided = Model {
                committed: model.committed.clone(),
                ..Model::default()
            };
            decided.committed.retain(|offset, _| *offset < stable);
            decided.assert_compacted(&log.view(), checkpoint, &why);
            // Producers are remembered, also by those who only have the files.
            assert_eq!(sequences(&log), before, "{why}");
            if lap % 3 == 2 {
                let end = log.end();
                for name in files_ending(place.path(), ".snapshot").keys() {
                    std::fs::remove_file(place.path().join(name)).unwrap();
                }
                drop(log);
                log = open(place.path(), config());
                assert_eq!(log.end(), end, "{why}");
                assert_eq!(sequences(&log), before, "{why}: from the batches alone");
                log.set_high_watermark(end);
            }
        }
        writer.end_all(&mut log, &mut model);
        let end = log.end();
        log.set_high_watermark(end);
        log.roll(now).unwrap();
        // Long after: no tombstones, no aborted records, no markers but those that must stay.
        let mut owner = Owner::of(log);
        for _ in 0..2 {
            now += 10_000;
            let mut log = owner.take();
            let offset = append(&mut log, &keyed("key 0", Some("end")))
                .unwrap()
                .first_offset;
            let value = Some(format!("end {}", "x".repeat(100)));
            let key = "key 0".to_owned();
            model.committed.insert(offset, Written { key, value });
            log.roll(now).unwrap();
            owner = Owner::of(log);
            checkpoint = cleaned(clean(&owner, checkpoint, now).unwrap()).end;
        }
        let log = owner.take();
        let found = read_committed(&log.view());
        model.assert_compacted(&log.view(), checkpoint, &format!("seed {seed}, at the end"));
        assert!(found.values().all(|it| it.value.is_some()), "seed {seed}");
    }
}

fn sequences(log: &Log) -> HashMap<i64, i32> {
    let producers = log.producers().iter();
    producers.map(|it| (it.id(), it.last_sequence())).collect()
}

#[test]
fn what_may_still_be_taken_back_is_not_compacted() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), config());
    for i in 0..60 {
        let batch = keyed(&format!("k{}", i % 3), Some(&i.to_string()));
        append(&mut log, &batch).unwrap();
    }
    log.close().unwrap();
    let mut log = Log::open(OpenLog {
        is_clean: true,
        high_watermark: 40,
        ..how(place.path(), config(), Disk::new())
    })
    .unwrap();
    let cleanable = |log: &Log| round(log, 0, NOW).dirt.cleanable_bytes;
    // A marker at 50 might be cut, and one that says the contrary written in its place.
    assert_eq!(cleanable(&log), 0);
    log.set_high_watermark(59);
    assert_eq!(cleanable(&log), 0);
    log.set_high_watermark(60);
    assert_ne!(cleanable(&log), 0);
    // What it learns later it remembers.
    append(&mut log, &keyed("k0", Some("60"))).unwrap();
    assert_ne!(cleanable(&log), 0);
    append(&mut log, &keyed("k0", Some("61"))).unwrap();
    assert!(log.truncate(61, NOW).unwrap());
    assert_eq!(cleanable(&log), 0);
    log.set_high_watermark(61);
    assert_ne!(cleanable(&log), 0);
}

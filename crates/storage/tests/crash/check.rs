//! What must hold: at each step, and all of it after each start.

mod files;
mod producers;

pub(crate) use files::inspect;
pub(crate) use producers::producers;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use bytes::Bytes;
use ottla_protocol::batch::{Header, TimestampKind, batches};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_storage::producer::{Appender, Producer, TransactionVersion, Verified};
use ottla_storage::validate::{Origin, check};
use ottla_storage::{
    AbortedTransaction, Fault, Isolation, LeaderAppend, LogView, NotDone, OffsetQuery, ReadFrom,
};

use crate::model::{Model, Remembered, Seen, Sent, Timeline, Writer};
use crate::work::{Batches, ISOLATIONS};
use crate::world::{EXPIRATION_MS, Ending, TIMESTAMP_SPREAD_MS, World, partition};

// ---- at each step ----

pub(crate) fn ends(world: &mut World) {
    let expected = world.end();
    let model_flushed = world.model.flushed;
    let high = world.log().high_watermark();
    let last_stable = world.model.remembered.last_stable(high);
    let log = world.log();
    assert_eq!(log.end(), expected, "the end");
    assert_eq!(log.start(), world.model.start, "the start");
    let log = world.log();
    assert!(
        log.flushed() <= expected,
        "flushed {} of {expected}",
        log.flushed()
    );
    assert!(
        log.flushed() >= model_flushed.min(expected),
        "flushed fell to {}",
        log.flushed()
    );
    // Of a transaction that is compacted in part the log knows what is left.
    let last_stable = match world.model.timeline.gone.is_empty() {
        true => last_stable,
        false => 0..=*last_stable.end(),
    };
    let log = world.log();
    assert!(
        is_within(log.last_stable(), &last_stable, log.start()),
        "the last stable offset is {}, not in {last_stable:?}",
        log.last_stable()
    );
}

fn is_within(found: i64, allowed: &RangeInclusive<i64>, start: i64) -> bool {
    ((*allowed.start()).max(start)..=(*allowed.end()).max(start)).contains(&found)
}

/// An operation failed, and the log goes on: then nothing of it has happened.
pub(crate) fn is_unchanged(world: &mut World, what: &dyn Debug) {
    let end = world.end();
    let log = world.log();
    assert_eq!(log.end(), end, "{what:?} failed and yet moved the end");
    // An epoch may have been noted for a batch that did not fit any more.
    world.model.epochs = world.log().epochs().clone();
}

/// After a poisonous fault nothing is taken, and nothing counts as flushed any more.
pub(crate) fn takes_no_writes(world: &mut World) {
    let mut builder = BatchBuilder::data(Codec::None);
    builder.push(world.now_ms, Some(b"key"), Some(b"value"));
    let bytes = builder.finish();
    let origin = Origin::Client { may_use_zstd: true };
    let rules = world.config.rules();
    let checked = check(&bytes, origin, &rules, world.now_ms).expect("a good batch");
    let (flushed, now_ms, epoch) = (world.log().flushed(), world.now_ms, world.epoch);
    let append = LeaderAppend {
        leader_epoch: epoch,
        appender: Appender::Client,
        transaction_version: TransactionVersion::SameEpoch,
        verified: Verified::NotAsked,
        now_ms,
    };
    let refused = world.log().append_as_leader(&bytes, &checked, append);
    assert!(
        matches!(refused, Err(NotDone::Fault(Fault::Poisoned { .. }))),
        "{refused:?}"
    );
    assert!(world.log().flush().is_err());
    if let Some((target, _)) = world.flushing.take() {
        world.log().flushed_to(&target);
    }
    assert_eq!(world.log().flushed(), flushed);
}

pub(crate) fn nothing_is_promised(model: &Model) {
    let promised = model
        .timeline
        .batches
        .iter()
        .filter(|batch| batch.last < model.flushed)
        .count();
    assert_eq!(promised, 0, "a log with flushed batches is gone");
}

// ---- after a start ----

pub(crate) fn reopened(world: &mut World, ending: Ending) {
    world.settle_compaction();
    world.model.may_gape = world.config.cleanup_compact && ending == Ending::PowerCut;
    let view = world.log().view();
    let (start, end) = (view.start(), view.end());
    if ending != Ending::PowerCut {
        world.model.flushed = world.model.timeline.end();
    }
    let model = &world.model;
    let is_start_allowed = (model.start_min..=model.start_max).contains(&start);
    assert!(
        is_start_allowed,
        "the start is {start}, not in [{}, {}]",
        model.start_min, model.start_max
    );
    let found = read_all(&view, world.is_compacted);
    let chosen = choose(model, &found, start, end);
    for batch in &model.timeline.batches {
        if batch.last < model.flushed && batch.last >= start {
            let at = chosen.at(batch.base);
            let is_there = chosen
                .batches
                .get(at)
                .is_some_and(|b| b.bytes == batch.bytes);
            assert!(
                is_there && batch.last < end,
                "[{}, {}] was flushed, and is not in [{start}, {end})",
                batch.base,
                batch.last
            );
        }
    }
    let flushed = world.log().flushed();
    let model = &mut world.model;
    // All of it was read back, but only what is known to be on the disk is promised.
    model.flushed = flushed;
    let before = std::mem::replace(&mut model.timeline, chosen);
    match ending {
        Ending::Clean => model.branches.clear(),
        Ending::Killed => model.may_be(before),
        Ending::PowerCut => {
            model.branches.clear();
            if model.timeline.batches.is_empty() {
                model.may_be(before);
            }
            model.start_max = start;
        }
    }
    model.start = start;
    model.deepest_start = model.deepest_start.max(start);
    producers(world);
    epochs(world);
    inspect(world);
    for _ in 0..3 {
        look_up_a_time(world);
        read_somewhere(world);
    }
}

/// Which of the things that the log may be it is.
fn choose(model: &Model, found: &[Bytes], start: i64, end: i64) -> Timeline {
    let candidates = [&model.timeline]
        .into_iter()
        .chain(model.branches.iter().rev());
    for candidate in candidates {
        if let Some(cut) = matching(candidate, model, found, (start, end)) {
            return cut;
        }
    }
    if found.is_empty() && start == end {
        return Timeline::from(start);
    }
    let spans: Vec<_> = found
        .iter()
        .filter_map(|bytes| Header::parse(bytes).ok())
        .map(|b| (b.base_offset(), b.last_offset(), b.leader_epoch()))
        .collect();
    let known: Vec<_> = model
        .timeline
        .batches
        .iter()
        .filter(|b| b.last >= start)
        .map(|b| (b.base, b.last, b.epoch))
        .collect();
    panic!("this was never the log: [{start}, {end}) {spans:?}, but it was {known:?}");
}

/// The part of `candidate` that was found. Where compaction may make holes, recovery cannot tell one
/// from the lost tail of a segment, and neither can Kafka's: what was not flushed may be missing.
fn matching(
    candidate: &Timeline,
    model: &Model,
    found: &[Bytes],
    (start, end): (i64, i64),
) -> Option<Timeline> {
    let at = candidate.at(start);
    let mut cut = candidate.clone();
    let rest = cut.batches.split_off(at);
    let may_miss = |batch: &Rc<Sent>| model.may_gape && batch.last >= model.flushed;
    let mut rest = rest.into_iter();
    for bytes in found {
        let next = rest.find(|batch| batch.bytes == *bytes || !may_miss(batch))?;
        if next.bytes != *bytes {
            return None;
        }
        let expected = cut
            .batches
            .last()
            .map_or(next.base, |before| before.last + 1);
        cut.is_gapped |= model.may_gape && next.base > expected;
        cut.batches.push(next);
    }
    cut.cut(end);
    if model.may_gape && cut.end() < end {
        (cut.end_min, cut.is_gapped) = (end, true);
    }
    (cut.end() == end).then_some(cut)
}

fn read_all(view: &LogView, may_gape: bool) -> Vec<Bytes> {
    let mut found = Vec::new();
    let mut offset = view.start();
    while offset < view.end() {
        let from = ReadFrom {
            offset,
            isolation: Isolation::LogEnd,
            max_bytes: usize::MAX,
            at_least_one: true,
            with_aborted: false,
        };
        let bytes = read(view, from).expect("a healthy log can be read").0;
        if bytes.is_empty() && may_gape {
            break;
        }
        assert!(!bytes.is_empty(), "nothing at {offset}, below the end");
        for batch in batches(&bytes) {
            let batch = batch.expect("what is read is whole batches");
            batch.verify_crc().expect("what is read is sound");
            assert!(batch.last_offset() >= offset, "what is read goes back");
            offset = batch.next_offset();
            found.push(Bytes::copy_from_slice(batch.bytes()));
        }
    }
    found
}

fn read(view: &LogView, from: ReadFrom) -> Result<(Vec<u8>, Vec<AbortedTransaction>), NotDone> {
    let fetched = view.read(from)?;
    let mut bytes = Vec::new();
    if let Some(slice) = fetched.slice {
        bytes.resize(slice.length, 0);
        slice
            .file()
            .read_exact_at(&mut bytes, slice.position)
            .expect("a slice is in its file");
    }
    Ok((bytes, fetched.aborted))
}

pub(crate) fn epochs(world: &mut World) {
    let (model, end) = (&world.model, world.end());
    let from = model.deepest_start;
    let log = &world.host.as_ref().expect("the host is up").log;
    let mut found = log.epochs().clone();
    if from < end && !model.timeline.is_gapped {
        found.truncate_from_start(from);
        assert_eq!(
            found,
            model.timeline.history().epochs(from),
            "leader epochs from {from}"
        );
    }
    world.model.epochs = world.log().epochs().clone();
}

// ---- reading ----

fn any_isolation(world: &mut World) -> Isolation {
    ISOLATIONS[world.dice.index(ISOLATIONS.len())]
}

/// What was just written comes back.
pub(crate) fn read_back(world: &mut World, offset: i64) {
    let view = world.log().view();
    let from = ReadFrom {
        offset,
        isolation: Isolation::LogEnd,
        max_bytes: 1,
        at_least_one: true,
        with_aborted: false,
    };
    match read(&view, from) {
        Ok((bytes, _)) => {
            let newest = world.model.timeline.batches.last().expect("just appended");
            assert!(bytes == newest.bytes, "another batch at {offset}");
        }
        Err(not_done) => world.not_done(&not_done, &"read back"),
    }
}

fn spans(bytes: &[u8]) -> Vec<(i64, i64)> {
    batches(bytes)
        .map_while(Result::ok)
        .map(|batch| (batch.base_offset(), batch.last_offset()))
        .collect()
}

pub(crate) fn read_somewhere(world: &mut World) {
    let view = world.log().view();
    let isolation = any_isolation(world);
    let offset = world.dice.within(view.start(), view.end());
    let from = ReadFrom {
        offset,
        isolation,
        max_bytes: world.dice.index(4000),
        at_least_one: world.dice.percent(70),
        with_aborted: isolation == Isolation::LastStable,
    };
    let (bytes, aborted) = match read(&view, from) {
        Ok(found) => found,
        Err(not_done) => return world.not_done(&not_done, &from),
    };
    world.totals.reads += 1;
    let bound = view.bound(isolation);
    let timeline = &world.model.timeline;
    let visible: Batches = timeline.batches[timeline.at(offset)..]
        .iter()
        .take_while(|batch| batch.last < bound)
        .cloned()
        .collect();
    let expected: Vec<u8> = visible
        .iter()
        .scan(0, |size, batch| {
            let goes_on = *size < bytes.len();
            *size += batch.bytes.len();
            goes_on.then_some(batch)
        })
        .flat_map(|batch| batch.bytes.to_vec())
        .collect();
    assert!(
        expected.starts_with(&bytes),
        "{from:?} got {} bytes, {:?}, written was {:?}, differs at {:?}",
        bytes.len(),
        spans(&bytes),
        spans(&expected),
        &bytes[expected.len().min(bytes.len())..]
    );
    let fits = visible
        .first()
        .is_some_and(|first| from.at_least_one || first.bytes.len() <= from.max_bytes);
    assert!(
        fits != bytes.is_empty() || offset >= bound,
        "{from:?} got {} bytes",
        bytes.len()
    );
    aborted_in(&world.model, &visible, &bytes, offset, &aborted, isolation);
}

/// Whoever reads committed records is told of each aborted transaction in what it gets.
fn aborted_in(
    model: &Model,
    visible: &[Rc<Sent>],
    bytes: &[u8],
    offset: i64,
    found: &[AbortedTransaction],
    isolation: Isolation,
) {
    if isolation != Isolation::LastStable || bytes.is_empty() || model.timeline.is_gapped {
        return;
    }
    let mut size = 0;
    let mut end = offset;
    for batch in visible {
        size += batch.bytes.len();
        if size > bytes.len() {
            break;
        }
        end = batch.last + 1;
    }
    for aborted in &model.remembered.aborted {
        // Compaction takes its first batches, and a copy knows it from those that are left.
        let range = aborted.first_offset..aborted.last_offset;
        let mut read = visible.iter().take_while(|batch| batch.base < end);
        let is_due = read.any(|batch| {
            !batch.is_control
                && !batch.records.is_empty()
                && batch.is_transactional
                && batch.producer.is_some_and(|it| it.0 == aborted.producer_id)
                && range.contains(&batch.base)
        });
        let is_listed = found.iter().any(|it| {
            (it.producer_id, it.last_offset) == (aborted.producer_id, aborted.last_offset)
        });
        assert!(
            is_listed || !is_due || aborted.first_offset < model.deepest_start,
            "{aborted:?} has batches in [{offset}, {end}) and is not listed in {found:?}"
        );
    }
    for it in found {
        let known = model.remembered.aborted.iter().chain(&model.forgotten);
        let is_real = known.into_iter().any(|aborted| {
            (it.producer_id, it.last_offset) == (aborted.producer_id, aborted.last_offset)
        });
        assert!(is_real, "{it:?} never happened");
    }
}

pub(crate) fn look_up_a_time(world: &mut World) {
    let view = world.log().view();
    let timeline = &world.model.timeline;
    let held = &timeline.batches[timeline.at(view.start())..];
    let timestamp = if held.is_empty() || world.dice.percent(10) {
        world.now_ms - world.dice.within(-1000, 100_000)
    } else {
        let batch = &held[world.dice.index(held.len())];
        let record = batch.records.get(world.dice.index(batch.records.len()));
        let time = record.map_or(batch.max_timestamp, |record| record.timestamp);
        time + world.dice.within(-3, 3)
    };
    let found = match view.find_offset(OffsetQuery::At(timestamp), Isolation::LogEnd) {
        Ok(found) => found.map(|found| (found.offset, found.timestamp)),
        Err(not_done) => return world.not_done(&not_done, &"look up a time"),
    };
    world.totals.lookups += 1;
    let expected = world.model.timeline.first_since(timestamp, view.start());
    // The segment that reaches the time may do so below the start: Kafka looks no further.
    let first_base = world
        .model
        .timeline
        .first_since(timestamp, i64::MIN)
        .map(|(offset, _)| offset);
    // Or an empty batch that compaction has left may have reached it.
    let is_below = first_base.is_some_and(|first| first < view.start());
    let is_hidden = found.is_none() && (is_below || world.is_compacted);
    assert!(
        found == expected || is_hidden,
        "the first record since {timestamp} is {expected:?}, not {found:?} ({:?})",
        TimestampKind::CreateTime
    );
}

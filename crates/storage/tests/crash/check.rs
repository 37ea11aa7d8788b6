//! What must hold: at each step, and all of it after each start.

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

/// Producers and transactions are those that the batches tell of; then the model knows no more
/// than the log.
pub(crate) fn producers(world: &mut World) {
    if world.model.timeline.is_gapped {
        return believe_producers(world);
    }
    let (now_ms, deepest) = (world.now_ms, world.model.deepest_start);
    let start = world.log().start();
    let timeline = &world.model.timeline;
    let history = timeline.history();
    let mut expected = history.replay();
    // What compaction has left; the log may have learnt the rest before.
    let left = timeline.replay();
    let lasting = |it: &AbortedTransaction| {
        (left.aborted.iter()).any(|aborted| aborted.last_offset == it.last_offset)
    };
    let (lasting, forgotten): (_, Vec<_>) = expected.aborted.drain(..).partition(lasting);
    expected.aborted = lasting;
    // Of a producer that wrote on both sides of the start the log may know one side.
    let visible = timeline.since(start).replay();
    let mut known = std::mem::take(&mut expected.writers);
    let host = world.host.as_ref().expect("the host is up");
    for producer in host.log.producers().iter() {
        let id = producer.id();
        let Some(writer) = known.get_mut(&id) else {
            panic!("producer {id} never wrote what is here");
        };
        let found = (producer.coordinator_epoch(), producer.transaction_start());
        let known_of = |writer: &Writer| (writer.coordinator_epoch, writer.open_since);
        let fits = |writer: &Writer| known_of(writer) == found;
        let straddles = |first: Option<i64>| first.is_some_and(|first| first < deepest);
        let is_straddling = straddles(found.1) || straddles(writer.open_since);
        // Or it was idle so long that its story begins anew with the transaction that is open.
        let idle_ms = now_ms - writer.coordinator_timestamp + TIMESTAMP_SPREAD_MS;
        let is_compacted = timeline.is_compacted(id);
        let is_new = (idle_ms >= EXPIRATION_MS || is_compacted) && found == (-1, writer.open_since);
        // Compacted away, or its first batches, while there was a marker, and the marker truncated
        // since.
        let is_late = found
            .1
            .is_none_or(|first| writer.open_since.is_some_and(|it| first > it));
        let is_new = is_new || is_compacted && is_late;
        let is_half_known =
            is_new || is_straddling && [-1, writer.coordinator_epoch].contains(&found.0);
        assert!(
            is_half_known || fits(writer) || visible.writers.get(&id).is_some_and(fits),
            "coordinator epoch and transaction of {id}: {found:?}, expected {writer:?}, or since \
             {start}: {:?}",
            visible.writers.get(&id)
        );
        let n = producer.seen().len();
        let left = left.writers.get(&id);
        let is_left = left.is_some_and(|left| left.seen.back() == writer.seen.back());
        // Idle so long that a snapshot of then is loaded without it: a marker tells of it again.
        let is_idle = |seen: &Seen| {
            let mut newest = history.batches.iter().rev();
            let newest = newest.find(|batch| batch.last == seen.last_offset);
            newest.is_none_or(|it| now_ms - it.max_timestamp + TIMESTAMP_SPREAD_MS >= EXPIRATION_MS)
        };
        assert!(
            n > 0
                || !is_left
                || writer
                    .seen
                    .back()
                    .is_none_or(|seen| seen.last_offset < deepest || is_idle(seen)),
            "batches of {id}"
        );
        writer.is_forgotten |= n == 0 && !writer.seen.is_empty();
        if is_compacted {
            compacted_producer(producer, writer, left, &history);
        } else {
            whole_producer(producer, writer, &history, deepest);
        }
        (writer.coordinator_epoch, writer.open_since) = found;
    }
    known.retain(|id, writer| {
        let is_there = host.log.producers().get(*id).is_some();
        let left = left.writers.get(id);
        let last_timestamp = left.map_or(i64::MIN, |left| left.last_timestamp);
        let is_expired = writer.open_since.is_none()
            && now_ms.saturating_sub(last_timestamp.min(writer.last_timestamp)) >= EXPIRATION_MS;
        let is_gone = left.is_none_or(|left| left.seen.back() != writer.seen.back());
        assert!(
            is_there || is_expired || is_gone || writer.last_heard < deepest,
            "producer {id} is forgotten: {writer:?}"
        );
        is_there
    });
    expected.writers = known;
    // Which ends were not replicated is not remembered over a start.
    let high = host.log.high_watermark();
    expected.ended_before = std::mem::take(&mut expected.ended);
    let allowed = match timeline.gone.is_empty() {
        true => expected.last_stable(high),
        false => 0..=high,
    };
    let (found, start) = (host.log.last_stable(), host.log.start());
    assert!(
        is_within(found, &allowed, start),
        "the last stable offset is {found}, not in {allowed:?}",
    );
    world.model.remembered = expected;
    world.model.forgotten = forgotten;
}

/// Snapshots may know of what was lost, or not.
fn believe_producers(world: &mut World) {
    let mut believed = Remembered::default();
    for producer in world.log().producers().iter() {
        let writer = Writer {
            epoch: producer.epoch(),
            seen: seen_by(producer).into(),
            coordinator_epoch: producer.coordinator_epoch(),
            coordinator_timestamp: producer.last_timestamp(),
            open_since: producer.transaction_start(),
            last_timestamp: producer.last_timestamp(),
            last_heard: producer.last_offset(),
            is_forgotten: producer.seen().is_empty(),
        };
        believed.writers.insert(producer.id(), writer);
    }
    believed.ended_before = world.model.timeline.replay().ended;
    world.model.remembered = believed;
}

fn seen_by(producer: &Producer) -> Vec<Seen> {
    let seen = producer.seen().iter().map(|seen| Seen {
        first_sequence: seen.first_sequence(),
        last_sequence: seen.last_sequence,
        last_offset: seen.last_offset,
    });
    seen.collect()
}

/// What lies below the start a power cut may have taken, and nobody looks for it there: of that the
/// log may know any, as far as it was written.
fn whole_producer(producer: &Producer, writer: &mut Writer, history: &Timeline, deepest: i64) {
    let (id, found) = (producer.id(), seen_by(producer));
    assert_eq!(producer.epoch(), writer.epoch, "epoch of {id}");
    let is_below = |seen: &Seen| seen.last_offset < deepest;
    let (below, above) = found.split_at(found.partition_point(is_below));
    for seen in below {
        let told = Some((id, producer.epoch(), seen.first_sequence));
        let is_real = |it: &Rc<Sent>| it.last == seen.last_offset && it.producer == told;
        assert!(
            history.batches.iter().any(is_real),
            "{seen:?} of {id} was never written"
        );
    }
    let n_below = writer.seen.iter().filter(|seen| is_below(seen)).count();
    writer.seen.drain(..n_below);
    let n_lacking = writer.seen.len().saturating_sub(above.len());
    // A snapshot knows only the newest of them.
    writer.seen.drain(..n_lacking);
    assert_eq!(writer.seen, above, "batches of {id}");
    writer.seen = found.into();
    assert_eq!(
        producer.last_timestamp(),
        writer.last_timestamp,
        "time of {id}"
    );
}

/// Compaction leaves the newest batch of a producer, if need be without records; what it has taken
/// of the others the log may still know, or not.
fn compacted_producer(
    producer: &Producer,
    writer: &mut Writer,
    left: Option<&Writer>,
    history: &Timeline,
) {
    let (id, found) = (producer.id(), seen_by(producer));
    let written = history
        .batches
        .iter()
        .filter(|batch| batch.producer.is_some_and(|(it, _, _)| it == id));
    for seen in &found {
        let is_real = written.clone().any(|batch| {
            !batch.is_control
                && batch.last == seen.last_offset
                && batch.producer == Some((id, producer.epoch(), seen.first_sequence))
        });
        assert!(is_real, "{seen:?} of {id} was never written");
    }
    assert!(
        found.is_sorted_by_key(|seen| seen.last_offset),
        "batches of {id}"
    );
    // Unless newer ones were truncated since: then it was not the newest, and may be gone.
    let is_left = left.is_some_and(|left| left.seen.back() == writer.seen.back());
    let epoch = producer.epoch();
    let is_known = [Some(writer.epoch), left.map(|left| left.epoch)].contains(&Some(epoch));
    // A snapshot may still know an older one.
    let mut told = written.clone().filter_map(|batch| batch.producer);
    assert!(
        is_known || !is_left && told.any(|(_, it, _)| it == epoch),
        "epoch of {id}: {epoch}, not {}, with {found:?}; left is {left:?}",
        writer.epoch
    );
    assert!(
        found.is_empty() || !is_left || found.last() == writer.seen.back(),
        "the newest batch of {id} is {:?}, not {:?}",
        found.last(),
        writer.seen.back()
    );
    let time = producer.last_timestamp();
    let left_at = left.map(|left| left.last_timestamp);
    assert!(
        left_at == Some(time) || written.clone().any(|batch| batch.max_timestamp == time),
        "time of {id}"
    );
    writer.epoch = producer.epoch();
    writer.seen = found.into();
    writer.last_timestamp = time;
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

// ---- the files ----

/// Batches of a file: position, last offset, largest timestamp.
fn walk(bytes: &[u8]) -> Vec<(u32, i64, i64)> {
    let mut found = Vec::new();
    let mut position = 0;
    while let Ok(header) = Header::parse(&bytes[position..]) {
        if position + header.size() > bytes.len() {
            break;
        }
        found.push((
            position as u32,
            header.last_offset(),
            header.max_timestamp(),
        ));
        position += header.size();
    }
    found
}

/// Every index entry points where it says.
pub(crate) fn inspect(world: &mut World) {
    let directory = world.home().join(format!("{}", partition()));
    let names = |ending: &str| -> BTreeSet<i64> {
        let entries = fs::read_dir(&directory).expect("the partition has a directory");
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(ending)?.parse().ok())
            .collect()
    };
    let bytes_of = |base: i64, ending: &str| {
        fs::read(directory.join(format!("{base:020}{ending}"))).unwrap_or_default()
    };
    let bases = names(".log");
    for ending in [".index", ".timeindex", ".txnindex"] {
        let strays: Vec<_> = names(ending).difference(&bases).copied().collect();
        assert!(strays.is_empty(), "{ending} of no segment: {strays:?}");
    }
    let size_before: u64 = world.log().size();
    let mut size = 0;
    for base in &bases {
        let heads = walk(&bytes_of(*base, ".log"));
        let is_active = bases.last() == Some(base);
        inspect_offsets(*base, &heads, &bytes_of(*base, ".index"));
        inspect_times(*base, &heads, &bytes_of(*base, ".timeindex"), is_active);
        size += heads.len();
        inspect_aborted(world, *base, &heads, &bytes_of(*base, ".txnindex"));
    }
    assert!(
        size > 0 || size_before == 0 || world.sim.is_dead(),
        "the log is empty"
    );
}

fn inspect_offsets(base: i64, heads: &[(u32, i64, i64)], index: &[u8]) {
    assert!(index.len().is_multiple_of(8), "offset index of {base}");
    let mut last = -1;
    for entry in index.chunks_exact(8) {
        let offset = base + i64::from(i32::from_be_bytes(entry[..4].try_into().expect("4 bytes")));
        let position = u32::from_be_bytes(entry[4..].try_into().expect("4 bytes"));
        assert!(
            offset > last,
            "offset index of {base} goes back at {offset}"
        );
        last = offset;
        assert!(
            heads
                .iter()
                .any(|head| (head.0, head.1) == (position, offset)),
            "offset index of {base}: no batch at {position} ends with {offset}"
        );
    }
}

fn inspect_times(base: i64, heads: &[(u32, i64, i64)], index: &[u8], is_active: bool) {
    assert!(index.len().is_multiple_of(12), "time index of {base}");
    let mut last = -1;
    for entry in index.chunks_exact(12) {
        let timestamp = i64::from_be_bytes(entry[..8].try_into().expect("8 bytes"));
        let offset = base + i64::from(i32::from_be_bytes(entry[8..].try_into().expect("4 bytes")));
        assert!(
            timestamp > last,
            "time index of {base} goes back at {timestamp}"
        );
        last = timestamp;
        assert!(
            heads
                .iter()
                .any(|head| (head.1, head.2) == (offset, timestamp)),
            "time index of {base}: no batch ends with {offset} and has {timestamp}"
        );
        assert!(
            heads
                .iter()
                .all(|head| head.1 > offset || head.2 <= timestamp),
            "time index of {base}: {timestamp} is not the largest up to {offset}"
        );
    }
    let largest = heads.iter().map(|head| head.2).max().unwrap_or(-1);
    assert!(
        is_active || last == largest,
        "time index of {base} ends with {last}, the largest timestamp is {largest}"
    );
}

/// Compaction may have left batches of it, but no records.
fn has_records(world: &World, aborted: &AbortedTransaction) -> bool {
    let mut batches = world.model.timeline.batches.iter();
    batches.any(|batch| {
        let is_its = batch.is_transactional
            && !batch.is_control
            && batch.producer.is_some_and(|it| it.0 == aborted.producer_id);
        is_its
            && !batch.records.is_empty()
            && (aborted.first_offset..aborted.last_offset).contains(&batch.base)
    })
}

fn inspect_aborted(world: &World, base: i64, heads: &[(u32, i64, i64)], index: &[u8]) {
    if world.model.timeline.is_gapped {
        return;
    }
    let last = heads.last().map_or(base - 1, |head| head.1);
    let deepest = world.model.deepest_start;
    let number = |entry: &[u8], at: usize| {
        i64::from_be_bytes(entry[at..at + 8].try_into().expect("8 bytes"))
    };
    let found: Vec<AbortedTransaction> = index
        .chunks_exact(34)
        .map(|entry| AbortedTransaction {
            producer_id: number(entry, 2),
            first_offset: number(entry, 10),
            last_offset: number(entry, 18),
            last_stable: number(entry, 26),
        })
        .collect();
    let expected: Vec<_> = world
        .model
        .remembered
        .aborted
        .iter()
        .filter(|aborted| (base..=last).contains(&aborted.last_offset))
        .collect();
    let find = |marker: i64| found.iter().find(|aborted| aborted.last_offset == marker);
    for aborted in &expected {
        let is_known = aborted.first_offset >= deepest;
        let is_whole = aborted.first_offset.min(aborted.last_stable) >= world.model.compacted;
        match find(aborted.last_offset) {
            Some(found) => assert!(
                found == *aborted || !is_known || !is_whole || aborted.last_stable <= deepest,
                "{found:?} should be {aborted:?}"
            ),
            None => assert!(
                !is_known || !has_records(world, aborted),
                "{aborted:?} is not in the index of {base}"
            ),
        }
    }
    // What lies below the start is nobody's business any more, and the model has dropped it.
    for aborted in found.iter().filter(|it| it.last_offset >= deepest) {
        assert!(
            (expected.iter().copied())
                .chain(&world.model.forgotten)
                .any(|it| it.last_offset == aborted.last_offset),
            "{aborted:?} of {base} never happened, but {expected:?} (all that is there: {found:?})"
        );
    }
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

//! The producers that a log knows after a start.

use super::*;

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

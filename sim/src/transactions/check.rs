//! What must be true at any time, and when all is quiet.

use std::collections::BTreeMap;

use ottla_coordinators::txn::TransactionState;
use ottla_protocol::Offset;
use ottla_protocol::batch::{Batch, OPENED_BYTES_MAX};
use ottla_protocol::batch_builder::EndMarker;
use ottla_storage::producer::{Producer, Producers};

use super::place::{FIRST_OUT, OFFSETS, PLACES, PRODUCERS_EXPIRE_MS, Place, TRANSACTIONS};
use super::reader::Reader;
use super::seats::{offset_in, read_groups, read_transactions};
use super::wire::Reply;
use super::world::{IDS, TIMEOUT_MAX_MS, Weather, World};

/// Until the last message has come, the longest time-out has passed, and been looked for.
const UNTIL_QUIET_MS: i64 = TIMEOUT_MAX_MS as i64 + 90_000;
/// Transactions that each id carries through in the end, in so much time.
const LAST_TRANSACTIONS: u64 = 3;
const LAST_TRANSACTIONS_MS: i64 = 60_000;

impl World {
    /// After every step: where readers of committed records may go never falls back.
    pub(super) fn check_ends(&mut self) {
        for place in &mut self.places {
            let Some(log) = &place.log else { continue };
            let (stable, high, end) = (log.last_stable(), log.high_watermark(), log.end());
            assert!(stable <= high && high <= end, "{stable} ≤ {high} ≤ {end}");
            let (most_high, most_stable) = place.most;
            if high >= most_high {
                assert!(
                    stable >= most_stable,
                    "{}-{}: the last stable offset went from {most_stable} back to {stable}",
                    place.topic,
                    place.index
                );
                place.most = (high, stable);
            }
        }
        if self.transactions.is_some() {
            let place = &mut self.places[TRANSACTIONS];
            place.promised = place.most.0;
        }
    }

    /// What was committed is there when somebody opens the log again.
    pub(super) fn check_kept(&self, at: usize) {
        let place = &self.places[at];
        let (end, promised) = (place.log().end(), place.most.0);
        assert!(
            end >= promised,
            "{at} ends at {end}, and promised {promised}"
        );
    }

    /// Everything that is there against its log.
    pub(super) fn check(&mut self) {
        if !self.is_up {
            return;
        }
        self.totals.count("checks");
        self.sim.heal();
        // Nobody can have been idle for long enough to be forgotten.
        let is_young = self.now_ms < PRODUCERS_EXPIRE_MS / 2;
        for at in OFFSETS..PLACES.len() {
            let place = &self.places[at];
            if place.log.is_some() && place.takes_writes() {
                check_log(place, at, is_young);
            }
        }
        self.check_transactions();
        self.check_groups();
    }

    /// The ledger is what its log says.
    fn check_transactions(&self) {
        let place = &self.places[TRANSACTIONS];
        let (Some(ledger), Some(_)) = (&self.transactions, &place.log) else {
            return;
        };
        let (again, latest) = read_transactions(place, &self.txn_settings);
        let there = latest.iter();
        let there = there.filter(|(_, (_, record))| record.transaction.is_some());
        let there: BTreeMap<_, _> = there
            .map(|(id, (offset, record))| (id.clone(), (*offset, record.encode())))
            .collect();
        let known = self.book.saved.iter();
        let known: BTreeMap<_, _> = known
            .map(|(id, saved)| (id.clone(), (saved.offset, saved.record.encode())))
            .collect();
        assert_eq!(
            there, known,
            "the log says otherwise than what was replayed"
        );
        for (id, saved) in &self.book.saved {
            let (mut live, mut read) = (ledger.describe(id).reply, again.describe(id).reply);
            let state = saved.record.transaction.as_ref().map(|it| it.state);
            if state.is_some_and(TransactionState::is_prepared) {
                // Those that still lack their marker: a load asks for all of them again.
                live.topics.clear();
                read.topics.clear();
            }
            assert_eq!(live, read, "{id} is not what its records say");
        }
        assert_eq!(ledger.sizes(), again.sizes());
        assert_eq!(ledger.n_open(), again.n_open());
    }

    /// The same of the groups' offsets, of those that are pending too.
    fn check_groups(&self) {
        let place = &self.places[OFFSETS];
        let (Some(ledger), Some(_)) = (&self.groups, &place.log) else {
            return;
        };
        let mut again = read_groups(place, &self.group_settings);
        let _ = again.loaded(self.now());
        for partition in 0..IDS.len() as i32 {
            for stable in [true, false] {
                let (live, _) = offset_in(ledger, partition, stable);
                let (read, _) = offset_in(&again, partition, stable);
                assert_eq!(
                    live, read,
                    "offsets of source {partition}, stable: {stable}"
                );
            }
        }
    }

    // ---- when all is quiet ----

    /// All processes are gone, the post comes, and time passes.
    pub(super) fn calm_down(&mut self) {
        let was_calm = std::mem::replace(&mut self.is_calm, true);
        let weather = std::mem::replace(&mut self.weather, Weather::FINE);
        self.ids_are_out = false;
        self.sim.heal();
        for client in &mut self.clients {
            client.is_alive = false;
        }
        for place in &mut self.places {
            place.stalled_until = 0;
        }
        self.trace(|_| "calm".into());
        self.post_all();
        self.pass(UNTIL_QUIET_MS);
        self.totals.count("calms");
        self.check_quiet();
        self.check();
        self.check_stories();
        self.is_calm = was_calm;
        self.weather = weather;
    }

    /// No transaction hangs, and nobody waits for one.
    fn check_quiet(&self) {
        let unfinished = self.book.unfinished();
        assert!(unfinished.is_empty(), "they hang: {unfinished:#?}");
        assert!(
            self.transactions.is_some() && self.groups.is_some(),
            "somebody is not back"
        );
        for place in &self.places {
            let log = place.log();
            let all = (log.last_stable(), log.high_watermark(), log.end());
            assert!(
                all.0 == all.2 && all.1 == all.2,
                "{}-{}: readers are held back: {all:?}",
                place.topic,
                place.index
            );
        }
    }

    /// Exactly once: for those who read on, and for one who reads all of it now.
    fn check_stories(&mut self) {
        for at in 0..self.readers.len() {
            let reader = &mut self.readers[at];
            let log = self.places[reader.place].log();
            while reader.read(log, 2_000) {}
            let mut anew = Reader::new(reader.place);
            while anew.read(log, 10_000) {}
            let start = log.start();
            let since = reader.values.partition_point(|(at, _)| *at < start);
            assert_eq!(
                reader.values[since..],
                anew.values,
                "place {}: who read on saw something else",
                reader.place
            );
        }
        let readers = self.readers.iter();
        let seen: Vec<(usize, Vec<String>)> = readers
            .map(|reader| {
                let values = reader.values.iter();
                (
                    reader.place,
                    values.map(|(_, value)| value.clone()).collect(),
                )
            })
            .collect();
        let groups = self.groups.as_ref().expect("it is there");
        let committed = (0..IDS.len() as i32).map(|partition| {
            let (reply, _) = offset_in(groups, partition, true);
            let Reply {
                refusal, offset, ..
            } = reply;
            assert_eq!(refusal, None, "the offset of source {partition} is pending");
            offset
        });
        let committed: Vec<i64> = committed.collect();
        self.book.check(&seen, &committed);
    }

    /// The end of a seed: all is quiet, everything is true, and everybody can go on.
    pub(super) fn come_to_rest(&mut self) {
        self.calm_down();
        self.is_calm = true;
        self.weather = Weather::FINE;
        let first = self.clients.len();
        for id in 0..IDS.len() {
            self.start_process(id);
        }
        self.post_all();
        let until = self.now_ms + LAST_TRANSACTIONS_MS;
        let is_done = |world: &Self| {
            let clients = &world.clients[first..];
            clients.iter().all(|it| it.n_done >= LAST_TRANSACTIONS)
        };
        while !is_done(self) {
            assert!(
                self.now_ms < until && self.clients[first..].iter().all(|it| it.is_alive),
                "somebody cannot go on: {:#?}",
                &self.clients[first..]
            );
            self.step();
        }
        self.calm_down();
    }
}

// ---- a log against itself ----

/// What the batches of a log say, taken together the simple way.
#[derive(Default)]
struct Truth {
    /// Transactions that have no marker: the first offset of each, and its values so far.
    open: BTreeMap<i64, (Offset, Vec<(Offset, String)>)>,
    /// Those that have: first offset, and the marker's.
    ended: Vec<(Offset, Offset)>,
    committed: Vec<(Offset, String)>,
    producers: Producers,
}

impl Truth {
    fn take(&mut self, batch: Batch<'_>) {
        if let Some(completed) = self.producers.apply(batch) {
            self.producers.complete(&completed);
        }
        let payload = batch.payload(OPENED_BYTES_MAX).expect("it can be opened");
        let records = payload.records();
        let records = records.map(|record| record.expect("a sound batch has sound records"));
        if batch.is_control() {
            for record in records {
                let (key, value) = (record.key.unwrap_or_default(), record.value);
                let marker = EndMarker::parse(key, value.unwrap_or_default());
                let ended = self.open.remove(&batch.producer_id());
                if let (Some(marker), Some((first, mut values))) = (marker, ended) {
                    self.ended.push((first, batch.base_offset()));
                    if marker.is_commit {
                        self.committed.append(&mut values);
                    }
                }
            }
            return;
        }
        let values = records.map(|record| {
            let value = record.value.unwrap_or_default();
            (record.offset, String::from_utf8_lossy(value).into_owned())
        });
        // Compaction leaves empty batches, for their sequences.
        if batch.is_transactional() && batch.n_records() > 0 {
            let open = self.open.entry(batch.producer_id());
            let open = open.or_insert_with(|| (batch.base_offset(), Vec::new()));
            open.1.extend(values);
        } else {
            self.committed.extend(values);
        }
    }

    fn first_open(&self) -> Option<Offset> {
        self.open.values().map(|(first, _)| *first).min()
    }
}

fn check_log(place: &Place, at: usize, is_young: bool) {
    let log = place.log();
    let mut truth = Truth::default();
    place.scan(|batch| truth.take(batch));
    let (high, stable) = (log.high_watermark(), log.last_stable());
    let most = truth.first_open().unwrap_or(high).min(high);
    // Of transactions whose marker is not committed a log that was opened anew knows nothing.
    let ended = truth.ended.iter();
    let ended = ended.filter(|(_, marker)| *marker >= high);
    let least = ended.map(|(first, _)| *first).min().unwrap_or(high);
    // A snapshot may know of a transaction that fell into a hole; its marker is still to come.
    let least = if place.is_patchy { 0 } else { least };
    assert!(
        (most.min(least)..=most).contains(&stable),
        "{at}: the last stable offset is {stable}, and should be {most}, or {least}"
    );
    if !place.is_patchy {
        check_producers(log.producers(), &truth.producers, at, is_young);
    }
    if at < FIRST_OUT {
        return;
    }
    let mut reader = Reader::new(at);
    while reader.read(log, 1_500) {}
    truth.committed.sort_unstable();
    let wanted = truth.committed.into_iter();
    let readable = log.start()..stable;
    let wanted = wanted.filter(|(offset, _)| readable.contains(offset));
    let wanted: Vec<_> = wanted.collect();
    assert_eq!(
        reader.values, wanted,
        "{at}: what is seen is not what is committed"
    );
}

/// What is remembered of producers is what their batches say, unless they were idle for too long.
fn check_producers(live: &Producers, read: &Producers, at: usize, is_young: bool) {
    // One that was forgotten and came back remembers nothing of before.
    let is_same = |live: &Producer, read: &Producer| {
        let rest = |it: &Producer| (it.coordinator_epoch(), it.last_sequence());
        let (live_rest, read_rest) = (rest(live), rest(read));
        let nothing = if is_young { read_rest } else { (-1, -1) };
        (live.epoch(), live.transaction_start()) == (read.epoch(), read.transaction_start())
            && [nothing.0, read_rest.0].contains(&live_rest.0)
            && [nothing.1, read_rest.1].contains(&live_rest.1)
    };
    for producer in live.iter() {
        let again = read.get(producer.id());
        assert!(
            again.is_some_and(|again| is_same(producer, again)),
            "{at}: {producer:?} is not what its batches say: {again:?}"
        );
    }
    for producer in read.iter() {
        assert!(
            producer.transaction_start().is_none() || live.get(producer.id()).is_some(),
            "{at}: producer {} is forgotten in a transaction",
            producer.id()
        );
    }
}

//! The two coordinators and their host: decide, append, replay, and let each answer go when what it
//! rests on is committed.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinators::group::TopicImage;
use ottla_coordinators::group::records::GroupRecord;
use ottla_coordinators::txn::{TransactionState, TxnRecord};
use ottla_coordinators::{
    Answer, GroupDecision, GroupLedger, GroupReply, GroupSettings, Now, Origin, Topics,
    TransactionVersion, TxnDecision, TxnLedger, TxnReply, TxnSettings, When,
};
use ottla_protocol::batch::{Batch, NO_SEQUENCE};
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::messages::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, TxnOffsetCommitRequest,
};
use ottla_protocol::{Offset, ProducerId, Refusal, Text, Uuid};
use ottla_storage::producer::Verified;

use super::client::{GROUP, SOURCE};
use super::place::{InNameOf, OFFSETS, Place, TRANSACTIONS};
use super::wire::{Asking, Call, Demand, Event, Reply};
use super::world::{IDS, World};

/// How long an answer waits for its records to be committed.
const COMMIT_TIMEOUT_MS: i64 = 5_000;
/// The version of OffsetFetch that clients speak here.
const FETCH_VERSION: i16 = 9;

/// What is owed to somebody.
#[derive(Debug)]
pub(super) enum Owed {
    Reply(Call, Reply),
    Told(Box<Asking>, Option<Refusal>),
    Marked(Rc<Demand>, usize, Option<Refusal>),
}

/// What waits until an offset is committed.
#[derive(Debug)]
pub(super) struct Parked {
    n: u64,
    pub(super) place: usize,
    after: Offset,
    owed: Owed,
    instead: Owed,
}

/// What groups know of topics: the source, with a partition for each transactional id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source;

impl Topics for Source {
    fn id(&self, name: &str) -> Option<Uuid> {
        (name == SOURCE).then_some(Uuid::from_u128(500))
    }

    fn name(&self, id: Uuid) -> Option<Text> {
        (id == Uuid::from_u128(500)).then_some(Text::from_static(SOURCE))
    }

    fn has_partition(&self, name: &str, partition: i32) -> bool {
        name == SOURCE && (0..IDS.len() as i32).contains(&partition)
    }
}

impl TopicImage for Source {
    fn n_partitions(&self, _: &str) -> i32 {
        IDS.len() as i32
    }

    fn racks(&self, _: &str, _: i32) -> Vec<Text> {
        Vec::new()
    }

    fn topics_version(&self) -> i64 {
        1
    }

    fn created_version(&self) -> i64 {
        1
    }
}

impl World {
    // ---- transactions ----

    /// The four steps; the reply, and the offset that must be committed first.
    pub(super) fn on_transactions(
        &mut self,
        decide: impl FnOnce(
            &mut TxnLedger,
            TransactionVersion,
            &mut Option<ProducerId>,
            Now,
        ) -> TxnDecision,
    ) -> Result<(TxnReply, Option<Offset>), Refusal> {
        let now = self.now();
        let mut hand = (!self.ids_are_out).then_some(self.next_id);
        let was_full = hand.is_some();
        let Some(ledger) = &mut self.transactions else {
            return Err(self.not_seated());
        };
        let decision = decide(ledger, self.level, &mut hand, now);
        if was_full && hand.is_none() {
            self.next_id += 1;
        }
        Ok(self.carry_out_transactions(decision))
    }

    pub(super) fn carry_out_transactions(
        &mut self,
        decision: TxnDecision,
    ) -> (TxnReply, Option<Offset>) {
        let (mut last, mut refused) = (None, None);
        for batch in &decision.batches {
            let bytes = encoded(
                &batch.records,
                batch.origin,
                self.wall_ms(),
                TxnRecord::encode,
            );
            let name_of = InNameOf::coordinator(Verified::NotAsked);
            match self.write(TRANSACTIONS, &bytes, name_of) {
                Ok(outcome) => {
                    for (record, offset) in batch.records.iter().zip(outcome.first_offset..) {
                        self.replay_transaction(offset, record);
                        last = Some(offset);
                    }
                }
                Err(refusal) => {
                    refused = Some(refusal);
                    break;
                }
            }
        }
        let now = self.now();
        let ledger = self.transactions.as_mut().expect("it has decided");
        let decision = match refused {
            None => decision,
            Some(refusal) => {
                self.totals
                    .count("fault: decision about transactions not written");
                ledger.abandoned(decision, refusal, now)
            }
        };
        // More often than it must be: what is not committed is not handed out.
        self.carry_demands();
        match decision.reply {
            Answer::Now(reply, when) => (reply, offset_of(when, last)),
            Answer::Later(_) | Answer::Nobody => (TxnReply::Done, None),
        }
    }

    fn carry_demands(&mut self) {
        let Some(ledger) = &mut self.transactions else {
            return;
        };
        let mut demands = Vec::new();
        while let Some(markers) = ledger.next_markers() {
            demands.push(markers);
        }
        for markers in demands {
            self.carry(markers);
        }
    }

    fn replay_transaction(&mut self, offset: Offset, record: &TxnRecord) {
        let places = &self.places;
        let is_there = |place: usize, offset: Offset| {
            let place: &Place = &places[place];
            offset < place.most.0.max(place.high())
        };
        let (from, to) = self.book.wrote(offset, record, is_there);
        self.totals.count(&format!("transition {from} > {to}"));
        if let Some(transaction) = &record.transaction {
            let level = transaction.client_version.level();
            if transaction.state.is_prepared() {
                self.totals.count(&format!("ended by version {level}"));
            }
            if transaction.state == TransactionState::Empty && transaction.epoch == 0 {
                self.totals.count("producer ids taken");
            }
        }
        self.trace(|_| format!("{offset}: {record:?}"));
        if let Some(ledger) = &mut self.transactions {
            ledger.replay(offset, record);
        }
    }

    pub(super) fn ask_transactions(
        &mut self,
        call: Call,
        name: &str,
        decide: impl FnOnce(
            &mut TxnLedger,
            TransactionVersion,
            &mut Option<ProducerId>,
            Now,
        ) -> TxnDecision,
    ) {
        match self.on_transactions(decide) {
            Ok((reply, after)) => {
                let instead = reply.clone().refused(Refusal::CoordinatorNotAvailable);
                let after = after.map(|after| (TRANSACTIONS, after));
                self.answer_after(call, name, reply_of(&reply), after, reply_of(&instead));
            }
            Err(refusal) => self.answer(call, name, Reply::refused(refusal)),
        }
    }

    /// Whoever is not there yet, or not any more, says so in either way.
    fn not_seated(&mut self) -> Refusal {
        match self.dice.percent(50) {
            true => Refusal::CoordinatorLoadInProgress,
            false => Refusal::NotCoordinator,
        }
    }

    // ---- groups ----

    fn on_groups(
        &mut self,
        verified: Verified,
        decide: impl FnOnce(&mut GroupLedger, Now) -> GroupDecision,
    ) -> Result<(GroupReply, Option<Offset>), Refusal> {
        let now = self.now();
        let Some(ledger) = &mut self.groups else {
            return Err(self.not_seated());
        };
        let decision = decide(ledger, now);
        Ok(self.carry_out_groups(decision, verified))
    }

    pub(super) fn carry_out_groups(
        &mut self,
        decision: GroupDecision,
        verified: Verified,
    ) -> (GroupReply, Option<Offset>) {
        let (mut last, mut refused) = (None, None);
        for batch in &decision.batches {
            let bytes = encoded(
                &batch.records,
                batch.origin,
                self.wall_ms(),
                GroupRecord::encode,
            );
            match self.write(OFFSETS, &bytes, InNameOf::coordinator(verified)) {
                Ok(outcome) => {
                    let ledger = self.groups.as_mut().expect("it has decided");
                    for (record, offset) in batch.records.iter().zip(outcome.first_offset..) {
                        ledger.replay(offset, batch.origin, record);
                        last = Some(offset);
                    }
                }
                Err(refusal) => {
                    refused = Some(refusal);
                    break;
                }
            }
        }
        let now = self.now();
        let ledger = self.groups.as_mut().expect("it has decided");
        let decision = match refused {
            None => decision,
            Some(refusal) => {
                self.totals
                    .count("fault: decision about groups not written");
                ledger.abandoned(decision, refusal, now)
            }
        };
        match decision.reply {
            Answer::Now(reply, when) => (reply, offset_of(when, last)),
            Answer::Later(_) | Answer::Nobody => (GroupReply::Done, None),
        }
    }

    pub(super) fn commit_offsets(
        &mut self,
        call: Call,
        request: &TxnOffsetCommitRequest,
        verified: Verified,
    ) {
        let name = "TxnOffsetCommit";
        let decided = self.on_groups(verified, |ledger, now| {
            ledger.commit_offsets_in_transaction(request, &Source, now)
        });
        match decided {
            Ok((reply, after)) => {
                let instead = reply.clone().refused(Refusal::CoordinatorNotAvailable);
                let after = after.map(|after| (OFFSETS, after));
                let (reply, instead) = (reply_of_commit(&reply), reply_of_commit(&instead));
                self.answer_after(call, name, reply, after, instead);
            }
            Err(refusal) => self.answer(call, name, Reply::refused(refusal)),
        }
    }

    pub(super) fn fetch_offset(&mut self, call: Call, name: &str, partition: i32) {
        let Some(ledger) = &self.groups else {
            let refusal = self.not_seated();
            return self.answer(call, name, Reply::refused(refusal));
        };
        let (reply, when) = offset_in(ledger, partition, true);
        let after = offset_of(when, None).map(|after| (OFFSETS, after));
        let instead = Reply::refused(Refusal::NotCoordinator);
        self.answer_after(call, name, reply, after, instead);
    }

    // ---- both ----

    /// When the next timer of a coordinator is due.
    pub(super) fn next_timer(&self) -> Option<i64> {
        let transactions = self.transactions.as_ref();
        let groups = self.groups.as_ref();
        let next = [
            transactions.and_then(TxnLedger::next_timeout),
            groups.and_then(GroupLedger::next_timeout),
        ];
        let next = next.into_iter().flatten().min()?;
        Some(i64::try_from(next.0.as_millis()).unwrap_or(i64::MAX))
    }

    pub(super) fn time_out(&mut self) {
        let now = self.now();
        loop {
            let mut hand = (!self.ids_are_out).then_some(self.next_id);
            let was_full = hand.is_some();
            let level = self.level;
            let Some(ledger) = &mut self.transactions else {
                break;
            };
            let before = ledger.counts();
            let Some(decision) = ledger.handle_timeout(level, &mut hand, now) else {
                break;
            };
            let n_timed_out = ledger.counts().timed_out - before.timed_out;
            self.totals.add("transactions timed out", n_timed_out);
            if was_full && hand.is_none() {
                self.next_id += 1;
            }
            let _ = self.carry_out_transactions(decision);
            if self.has_failed || self.sim.is_dead() {
                return;
            }
        }
        while let Some(ledger) = &mut self.groups {
            let Some(decision) = ledger.handle_timeout(&Source, now) else {
                break;
            };
            let _ = self.carry_out_groups(decision, Verified::NotAsked);
        }
    }

    /// Delivers when what stands at `after` is committed, or something else when that takes too long.
    pub(super) fn owe(&mut self, after: Option<(usize, Offset)>, owed: Owed, instead: Owed) {
        let waits = after.filter(|(place, after)| *after >= self.places[*place].high());
        let Some((place, after)) = waits else {
            return self.deliver(owed);
        };
        self.n_parked += 1;
        let n = self.n_parked;
        self.parked.push(Parked {
            n,
            place,
            after,
            owed,
            instead,
        });
        self.after(COMMIT_TIMEOUT_MS, Event::GiveUpWaiting { n });
    }

    fn deliver(&mut self, owed: Owed) {
        match owed {
            Owed::Reply(call, reply) => self.send(Event::Reply(call, reply)),
            Owed::Told(asking, refusal) => self.send(Event::Told(asking, refusal)),
            Owed::Marked(demand, place, refusal) => {
                self.send(Event::Marked(demand, place, refusal));
            }
        }
    }

    pub(super) fn give_up_waiting(&mut self, n: u64) {
        if let Some(at) = self.parked.iter().position(|parked| parked.n == n) {
            self.totals.count("fault: commit took too long");
            let parked = self.parked.remove(at);
            self.deliver(parked.instead);
        }
    }

    /// The high watermark of a place has moved.
    pub(super) fn committed(&mut self, place: usize) {
        let high = self.places[place].high();
        let parked = std::mem::take(&mut self.parked);
        for parked in parked {
            if parked.place == place && parked.after < high {
                self.deliver(parked.owed);
            } else {
                self.parked.push(parked);
            }
        }
        match place {
            TRANSACTIONS => {
                if let Some(ledger) = &mut self.transactions {
                    ledger.committed(high);
                }
                self.carry_demands();
            }
            OFFSETS => {
                if let Some(ledger) = &mut self.groups {
                    ledger.committed(high);
                }
            }
            _ => {}
        }
    }

    // ---- loading ----

    pub(super) fn load_transactions(&mut self) {
        let place = &self.places[TRANSACTIONS];
        let (ledger, latest) = read_transactions(place, &self.txn_settings);
        self.book.reloaded(&latest, place.promised);
        self.transactions = Some(ledger);
        self.totals.count("coordinator of transactions loaded");
        let (level, now) = (self.level, self.now());
        let ledger = self.transactions.as_mut().expect("it is there");
        let decision = ledger.loaded(level, now);
        let _ = self.carry_out_transactions(decision);
        self.committed(TRANSACTIONS);
    }

    pub(super) fn load_groups(&mut self) {
        let mut ledger = read_groups(&self.places[OFFSETS], &self.group_settings);
        self.totals.count("coordinator of groups loaded");
        let decision = ledger.loaded(self.now());
        self.groups = Some(ledger);
        let _ = self.carry_out_groups(decision, Verified::NotAsked);
        self.committed(OFFSETS);
    }
}

/// The latest record of each transactional id, and where it stands.
pub(super) type Latest = BTreeMap<Arc<str>, (Offset, TxnRecord)>;

/// A ledger that has read this log.
pub(super) fn read_transactions(place: &Place, settings: &TxnSettings) -> (TxnLedger, Latest) {
    let mut ledger = TxnLedger::new(settings.clone(), place.epoch);
    let mut latest = Latest::new();
    place.scan_records(|batch, offset, key, value| {
        assert!(!batch.is_control(), "nobody writes markers here");
        let loaded = ledger.load(offset, key.as_ref(), value.as_ref());
        assert_eq!(loaded, Ok(()), "what we wrote can be loaded");
        let key = key.expect("every record has a key");
        let record = TxnRecord::decode(&key, value.as_ref());
        let record = record.expect("it was loaded").expect("it is ours");
        latest.insert(record.transactional_id.clone(), (offset, record));
    });
    (ledger, latest)
}

/// A ledger that has read this log.
pub(super) fn read_groups(place: &Place, settings: &GroupSettings) -> GroupLedger {
    let mut ledger = GroupLedger::new(settings.clone());
    place.scan_records(|batch, offset, key, value| {
        let Some(origin) = origin(&batch, key.as_deref(), value.as_deref()) else {
            return;
        };
        let loaded = ledger.load(offset, origin, key.as_ref(), value.as_ref());
        assert_eq!(loaded, Ok(()), "what we wrote can be loaded");
    });
    ledger
}

/// Whose record it is.
fn origin(batch: &Batch<'_>, key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Origin> {
    let (producer, epoch) = (batch.producer_id(), batch.producer_epoch());
    if batch.is_control() {
        let marker = EndMarker::parse(key?, value?)?;
        return Some(Origin::Marker {
            producer,
            committed: marker.is_commit,
        });
    }
    Some(match batch.is_transactional() {
        true => Origin::Transactional { producer, epoch },
        false => Origin::Plain,
    })
}

/// How far the group has come with a partition of the source, and what that rests on.
pub(super) fn offset_in(ledger: &GroupLedger, partition: i32, stable: bool) -> (Reply, When) {
    let request = OffsetFetchRequestGroup {
        group_id: Text::from_static(GROUP),
        topics: Some(vec![OffsetFetchRequestTopics {
            name: Text::from_static(SOURCE),
            topic_id: Uuid::ZERO,
            partition_indexes: vec![partition],
        }]),
        ..OffsetFetchRequestGroup::default()
    };
    let read = ledger.fetch_offsets(&request, FETCH_VERSION, stable, &Source);
    assert_eq!(read.reply.error_code, 0, "the group may be asked");
    let found = &read.reply.topics[0].partitions[0];
    let reply = Reply {
        offset: found.committed_offset,
        ..Reply::of_code(found.error_code)
    };
    (reply, read.when)
}

fn offset_of(when: When, last: Option<Offset>) -> Option<Offset> {
    match when {
        When::AtOnce => None,
        When::AfterOffset(offset) => Some(offset),
        When::AfterAppend => last,
    }
}

/// Records that stand or fall together, as a batch.
fn encoded<Record>(
    records: &[Record],
    origin: Origin,
    now_ms: i64,
    encode: impl Fn(&Record) -> (Bytes, Option<Bytes>),
) -> Bytes {
    let mut builder = BatchBuilder::internal(0, 0);
    if let Origin::Transactional { producer, epoch } = origin {
        builder = builder
            .producer(producer, epoch, NO_SEQUENCE)
            .transactional();
    }
    for record in records {
        let (key, value) = encode(record);
        builder.push(now_ms, Some(&key), value.as_deref());
    }
    builder.finish()
}

pub(super) fn one_batch(record: &TxnRecord, now_ms: i64) -> Bytes {
    let records = std::slice::from_ref(record);
    encoded(records, Origin::Plain, now_ms, TxnRecord::encode)
}

pub(super) fn reply_of(reply: &TxnReply) -> Reply {
    match reply {
        TxnReply::Init(it) => Reply {
            producer: (it.producer_id, it.producer_epoch),
            ..Reply::of_code(it.error_code)
        },
        TxnReply::End(it) => Reply {
            producer: (it.producer_id, it.producer_epoch),
            ..Reply::of_code(it.error_code)
        },
        TxnReply::AddOffsets(it) => Reply::of_code(it.error_code),
        TxnReply::AddPartitions(it) => {
            let topics = it.topic_results.iter();
            let mut codes = topics
                .flat_map(|topic| &topic.results_by_partition)
                .map(|partition| partition.partition_error_code);
            Reply::of_code(codes.find(|code| *code != 0).unwrap_or(0))
        }
        TxnReply::Done => Reply::DONE,
    }
}

fn reply_of_commit(reply: &GroupReply) -> Reply {
    let GroupReply::CommitOffsetsInTransaction(response) = reply else {
        panic!("TxnOffsetCommit is answered {reply:?}");
    };
    Reply::of_code(response.topics[0].partitions[0].error_code)
}

//! What befalls all of them.

use bytes::Bytes;
use ottla_coordinators::txn::{
    Partitions, Transaction, TransactionState, TransactionVersion, TxnRecord,
};
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction, EndTxnRequest,
    InitProducerIdRequest,
};
use ottla_protocol::{ProducerEpoch, Text};
use ottla_storage::NotDone;
use ottla_storage::producer::{TransactionVersion as MarkerRule, Verified};

use super::client::GROUP;
use super::place::{FIRST_OUT, InNameOf, OFFSETS, PLACES, TRANSACTIONS};
use super::seats::{one_batch, reply_of};
use super::wire::{Call, Joins, Produce, Request};
use super::world::{ID_EXPIRES_MS, IDS, TIMEOUT_MAX_MS, Weather, World};

/// Who asks and does not listen.
const NOBODY: Call = Call {
    client: usize::MAX,
    n: 0,
};
/// The producer id of an id that has lived long.
const OLD_PRODUCER_ID: i64 = 900;
/// No producer has this id.
const STRANGER: i64 = 77;

impl World {
    pub(super) fn befall(&mut self) {
        self.totals.count("operations");
        self.keep_processes();
        self.read_somewhere();
        let place = self.dice.index(PLACES.len());
        match self.dice.below(1000) {
            0..90 => self.start_zombie(),
            90..160 => self.kill_process(),
            160..250 => self.put_to_sleep(),
            250..300 => self.restart_place(TRANSACTIONS, false),
            300..320 => self.restart_place(TRANSACTIONS, true),
            320..350 => self.restart_place(OFFSETS, false),
            350..360 => self.restart_place(OFFSETS, true),
            360..400 => self.restart_a_leader(false),
            400..430 => self.restart_a_leader(true),
            430..450 if self.is_up => self.crash(false),
            450..475 if self.is_up => self.crash(self.flushes_first),
            475..490 => self.die_soon(),
            490..530 => self.trouble(),
            530..600 => self.stall(place),
            600..640 => self.change_level(),
            640..665 => self.lose_producer_ids(),
            665..740 => self.change_weather(),
            740..800 => self.write_plainly(),
            800..830 => self.expire_producers(),
            830..860 => self.roll(place),
            860..880 => self.checkpoint(place),
            880..905 => self.compact(place),
            905..915 => self.delete_records(),
            915..960 => self.ask_nonsense(),
            960..970 => self.check(),
            970..974 => self.fall_silent(),
            974..977 => self.calm_down(),
            _ => {}
        }
    }

    // ---- processes ----

    /// Somebody restarts what has died, after a while.
    fn keep_processes(&mut self) {
        for id in 0..IDS.len() {
            let is_there = self.clients.iter().any(|it| it.id == id && it.is_alive);
            if !is_there && self.dice.percent(60) {
                self.start_process(id);
            }
        }
    }

    /// A second process of the same transactional id, while the first one goes on.
    fn start_zombie(&mut self) {
        let id = self.dice.index(IDS.len());
        let clients = self.clients.iter();
        let n_alive = clients.filter(|it| it.id == id && it.is_alive).count();
        if n_alive > 0 {
            self.totals.count("fault: process has a zombie");
        }
        self.start_process(id);
    }

    fn someone(&mut self) -> Option<usize> {
        let clients = self.clients.iter().enumerate();
        let alive: Vec<usize> = clients
            .filter(|(_, it)| it.is_alive)
            .map(|(at, _)| at)
            .collect();
        match alive.len() {
            0 => None,
            n => Some(alive[self.dice.index(n)]),
        }
    }

    fn kill_process(&mut self) {
        if let Some(at) = self.someone() {
            let is_open = self.clients[at].txn.is_some();
            self.totals.count(match is_open {
                true => "fault: process killed in a transaction",
                false => "fault: process killed",
            });
            self.clients[at].is_alive = false;
            self.trace(|_| format!("process {at} is killed"));
        }
    }

    fn put_to_sleep(&mut self) {
        if let Some(at) = self.someone() {
            let ms = match self.dice.below(4) {
                0 => self.dice.within(5_000, 90_000),
                _ => self.dice.within(50, 5_000),
            };
            self.clients[at].sleeps_until = self.now_ms + ms;
            self.totals.count("fault: process sleeps");
            self.trace(|_| format!("process {at} sleeps for {ms} ms"));
        }
    }

    /// Nobody says a word until ids are forgotten.
    fn fall_silent(&mut self) {
        let was_calm = std::mem::replace(&mut self.is_calm, true);
        let ms = ID_EXPIRES_MS + self.dice.within(0, 1_500_000);
        let until = self.now_ms + ms;
        for client in &mut self.clients {
            client.sleeps_until = until;
        }
        self.trace(|_| format!("silence for {ms} ms"));
        self.totals.count("long silences");
        self.sim.heal();
        self.post_all();
        self.pass(ms);
        self.is_calm = was_calm;
    }

    // ---- the broker ----

    fn restart_a_leader(&mut self, in_order: bool) {
        let at = FIRST_OUT + self.dice.index(PLACES.len() - FIRST_OUT);
        self.restart_place(at, in_order);
    }

    /// The process dies in the middle of something.
    fn die_soon(&mut self) {
        let n = self.dice.below(40);
        self.sim.die_in(n);
    }

    /// A disk that fills up, or writes in pieces; where a power cut does no harm, one that fails.
    fn trouble(&mut self) {
        match self.dice.below(7) {
            0 | 1 => {
                let percent = self.dice.within(20, 100) as u64;
                self.sim.fill_up(percent);
            }
            2 => {
                let n = self.dice.within(1, 100) as usize;
                self.sim.write_short(n);
            }
            3 if self.flushes_first => {
                let n = self.dice.below(40);
                self.sim.fail_in(n);
            }
            4 if self.flushes_first => {
                let n = self.dice.below(6);
                self.sim.fail_sync_in(n);
            }
            _ => self.sim.heal(),
        }
    }

    fn stall(&mut self, place: usize) {
        let ms = match self.dice.below(5) {
            0 => self.dice.within(3_000, 9_000),
            _ => self.dice.within(50, 3_000),
        };
        self.places[place].stalled_until = self.now_ms + ms;
        self.totals.count("fault: commits stall");
    }

    pub(super) fn change_level(&mut self) {
        self.level = match self.dice.below(6) {
            0 => TransactionVersion::V0,
            1 => TransactionVersion::V1,
            _ => TransactionVersion::V2,
        };
        let level = self.level.level();
        self.totals
            .count(&format!("transaction.version set to {level}"));
    }

    fn lose_producer_ids(&mut self) {
        self.ids_are_out = !self.ids_are_out && self.dice.percent(60);
        if self.ids_are_out {
            self.totals.count("fault: no producer id at hand");
        }
    }

    fn change_weather(&mut self) {
        let dice = &mut self.dice;
        let loses = [0, 0, 2, 12, 35];
        let doubles = [0, 3, 20];
        let slow = [0, 2, 10, 30];
        self.weather = Weather {
            loses: loses[dice.index(loses.len())],
            doubles: doubles[dice.index(doubles.len())],
            slow: slow[dice.index(slow.len())],
        };
    }

    // ---- logs ----

    fn has_log(&self, place: usize) -> bool {
        self.is_up && self.places[place].log.is_some()
    }

    /// Records of no transaction, between all the others.
    fn write_plainly(&mut self) {
        let place = FIRST_OUT + self.dice.index(PLACES.len() - FIRST_OUT);
        if !self.has_log(place) {
            return;
        }
        // One that was refused may be there nevertheless, and compaction keeps one of each key.
        self.totals.count("plain records tried");
        let n = self.totals.n("plain records tried");
        let mut builder = BatchBuilder::data(Codec::None);
        let value = format!("plain {n}");
        builder.push(
            self.wall_ms(),
            Some(value.as_bytes()),
            Some(value.as_bytes()),
        );
        let batch = builder.finish();
        if self
            .write(place, &batch, InNameOf::client(Verified::NotAsked))
            .is_ok()
        {
            self.totals.count("plain records");
        }
    }

    fn expire_producers(&mut self) {
        let now_ms = self.wall_ms();
        for at in 0..PLACES.len() {
            if self.has_log(at) {
                let before = self.places[at].log().producers().len();
                self.places[at].expire_producers(now_ms);
                let after = self.places[at].log().producers().len();
                self.totals
                    .add("producers forgotten", (before - after) as u64);
            }
        }
    }

    fn roll(&mut self, place: usize) {
        if self.has_log(place) {
            let now_ms = self.wall_ms();
            match self.places[place].roll(now_ms) {
                Ok(()) => self.totals.count("rolls"),
                Err(fault) => self.failed(&fault),
            }
        }
    }

    fn checkpoint(&mut self, place: usize) {
        if self.has_log(place) {
            self.places[place].write_checkpoint();
            let now_ms = self.wall_ms();
            match self.places[place].retain(now_ms) {
                Ok(n) => self.totals.add("segments deleted", n),
                Err(fault) => self.failed(&fault),
            }
        }
    }

    fn compact(&mut self, place: usize) {
        let is_due = self.has_log(place) && self.places[place].config.cleanup_compact;
        if !is_due {
            return;
        }
        let (flushes, now_ms) = (self.flushes_first, self.wall_ms());
        match self.places[place].compact(flushes, now_ms) {
            Ok(true) => self.totals.count(match place {
                TRANSACTIONS => "compactions of transactions",
                OFFSETS => "compactions of offsets",
                _ => "compactions of records",
            }),
            Ok(false) => {}
            Err(fault) => return self.failed(&fault),
        }
        self.committed(place);
    }

    /// What all readers have read may go.
    fn delete_records(&mut self) {
        let reader = &self.readers[self.dice.index(self.readers.len())];
        let (place, position) = (reader.place, reader.position);
        if !self.has_log(place) {
            return;
        }
        let below = self.dice.within(0, position);
        match self.places[place].delete_records(below) {
            Ok(true) => self.totals.count("records deleted"),
            Ok(false) => {}
            Err(NotDone::Refused(refused)) => panic!("records are not deleted: {refused:?}"),
            Err(NotDone::Fault(fault)) => self.failed(&fault),
        }
    }

    // ---- readers ----

    pub(super) fn read_somewhere(&mut self) {
        let max_bytes = 100 + self.dice.index(3_000);
        let at = self.dice.index(self.readers.len());
        let reader = &mut self.readers[at];
        if let Some(log) = &self.places[reader.place].log {
            let before = reader.n_skipped;
            if reader.read(log, max_bytes) {
                self.totals.count("reads");
            }
            let n_skipped = reader.n_skipped - before;
            self.totals.add("aborted batches skipped", n_skipped);
        }
    }

    // ---- beginnings ----

    /// An id that has lived long: its epochs are about to run out.
    pub(super) fn write_old_id(&mut self) {
        let old = Transaction {
            producer_id: OLD_PRODUCER_ID,
            previous_producer_id: OLD_PRODUCER_ID,
            next_producer_id: -1,
            epoch: ProducerEpoch::MAX - 2 - self.dice.below(12) as i16,
            last_epoch: -1,
            timeout_ms: TIMEOUT_MAX_MS,
            state: TransactionState::Empty,
            partitions: Partitions::default(),
            start_ms: -1,
            update_ms: self.wall_ms(),
            client_version: TransactionVersion::V0,
        };
        let record = TxnRecord {
            transactional_id: IDS[0].into(),
            transaction: Some(old),
            value_version: 1,
        };
        let batch = one_batch(&record, self.wall_ms());
        let name_of = InNameOf::coordinator(Verified::NotAsked);
        let written = self.write(TRANSACTIONS, &batch, name_of);
        written.expect("nothing is wrong yet");
    }

    // ---- strangers ----

    /// Requests that no well-behaved client sends: each is refused, and changes nothing.
    fn ask_nonsense(&mut self) {
        if !self.is_up {
            return;
        }
        self.totals.count("nonsense asked");
        let at = self.dice.index(IDS.len());
        let id = Text::from_static(IDS[at]);
        match self.dice.below(8) {
            0 => self.init_nonsense(id),
            1 => self.must_refuse(Request::AddPartitions(self.stranger(id), 5)),
            2 => {
                let verify_only = AddPartitionsToTxnTransaction {
                    verify_only: true,
                    ..self.stranger(id)
                };
                self.must_refuse(Request::AddPartitions(verify_only, 5));
            }
            3 => {
                let request = AddOffsetsToTxnRequest {
                    transactional_id: id,
                    producer_id: STRANGER,
                    producer_epoch: 0,
                    group_id: Text::from_static(GROUP),
                };
                self.must_refuse(Request::AddOffsets(request, 4));
            }
            4 | 5 => self.end_in_a_wrong_epoch(at),
            6 => self.produce_as_a_stranger(id),
            _ => self.mark_as_a_stranger(),
        }
    }

    fn must_refuse(&mut self, request: Request) {
        let name = request.name();
        let decided = match &request {
            Request::Init(it, version) => self.on_transactions(|ledger, level, fresh, now| {
                ledger.init(it, *version, level, fresh, now)
            }),
            Request::AddPartitions(it, version) => self.on_transactions(|ledger, level, _, now| {
                ledger.add_partitions(it, *version, level, now)
            }),
            Request::AddOffsets(it, version) => self.on_transactions(|ledger, level, _, now| {
                ledger.add_offsets(it, *version, PLACES[OFFSETS].1, level, now)
            }),
            Request::End(it, version) => self.on_transactions(|ledger, level, fresh, now| {
                ledger.end(it, *version, level, fresh, now)
            }),
            other => panic!("{other:?} is asked otherwise"),
        };
        if let Ok((reply, _)) = decided {
            let told = reply_of(&reply).refusal;
            assert!(told.is_some(), "{request:?} is granted");
            let told = told.map_or("ok", |refusal| refusal.name());
            self.totals.count(&format!("nonsense: {name} {told}"));
        }
    }

    fn stranger(&self, id: Text) -> AddPartitionsToTxnTransaction {
        let (name, index) = PLACES[FIRST_OUT];
        AddPartitionsToTxnTransaction {
            transactional_id: id,
            producer_id: STRANGER,
            producer_epoch: 0,
            verify_only: false,
            topics: vec![AddPartitionsToTxnTopic {
                name: Text::from_static(name),
                partitions: vec![index],
            }],
        }
    }

    fn init_nonsense(&mut self, id: Text) {
        let mut request = InitProducerIdRequest {
            transactional_id: Some(id),
            transaction_timeout_ms: TIMEOUT_MAX_MS,
            producer_id: -1,
            producer_epoch: -1,
        };
        match self.dice.below(4) {
            0 => request.transactional_id = Some(Text::default()),
            1 => request.transaction_timeout_ms = 0,
            2 => request.transaction_timeout_ms = TIMEOUT_MAX_MS + 1,
            _ => request.producer_id = 5,
        }
        self.must_refuse(Request::Init(request, 5));
    }

    /// An epoch that nobody has any more, or not yet.
    fn end_in_a_wrong_epoch(&mut self, at: usize) {
        let Some(saved) = self.book.saved.get(IDS[at]) else {
            return;
        };
        let Some(transaction) = saved.record.transaction.clone() else {
            return;
        };
        let epoch = match self.dice.percent(50) {
            true => transaction.epoch.checked_add(3),
            false => transaction.epoch.checked_sub(3),
        };
        let Some(producer_epoch) = epoch else { return };
        let request = EndTxnRequest {
            transactional_id: Text::from_static(IDS[at]),
            producer_id: transaction.producer_id,
            producer_epoch,
            committed: self.dice.percent(50),
        };
        let version = [1, 3, 4, 5][self.dice.index(4)];
        self.must_refuse(Request::End(request, version));
    }

    /// A producer that no coordinator knows writes into a transaction.
    fn produce_as_a_stranger(&mut self, id: Text) {
        let mut builder = BatchBuilder::data(Codec::None)
            .producer(STRANGER, 0, 0)
            .transactional();
        builder.push(self.wall_ms(), Some(b"nobody"), Some(b"nobody"));
        let batch: Bytes = builder.finish();
        let place = FIRST_OUT + self.dice.index(PLACES.len() - FIRST_OUT);
        let joins = [Joins::Verify, Joins::VerifyAbortable, Joins::Add][self.dice.index(3)];
        let produce = Produce {
            transactional_id: id,
            place,
            batch,
            joins,
        };
        // What readers see will tell whether it was refused.
        self.serve(NOBODY, Request::Produce(produce));
    }

    /// A marker of the new rules that comes when its producer is in another transaction already, or
    /// one of an older epoch.
    fn mark_as_a_stranger(&mut self) {
        let place = FIRST_OUT + self.dice.index(PLACES.len() - FIRST_OUT);
        if !self.has_log(place) {
            return;
        }
        let producers = self.places[place].log().producers();
        let mut open: Vec<(i64, i16)> = producers
            .iter()
            .filter(|it| it.transaction_start().is_some() && it.epoch() < ProducerEpoch::MAX)
            .map(|it| (it.id(), it.epoch()))
            .collect();
        open.sort_unstable();
        if open.is_empty() {
            return;
        }
        let (id, epoch) = open[self.dice.index(open.len())];
        let (epoch, rule) = match self.dice.below(3) {
            0 => (epoch - 1, MarkerRule::SameEpoch),
            1 => (epoch - 1, MarkerRule::BumpedEpoch),
            _ => (epoch, MarkerRule::BumpedEpoch),
        };
        if epoch < 0 {
            return;
        }
        let marker = EndMarker {
            is_commit: self.dice.percent(50),
            coordinator_epoch: self.places[TRANSACTIONS].epoch,
        };
        let batch = marker.batch(id, epoch, self.wall_ms());
        let written = self.write(place, &batch, InNameOf::marker(rule));
        let told = written.expect_err("a marker of a stranger is refused");
        self.totals
            .count(&format!("nonsense: marker {}", told.name()));
    }
}

//! The clock, the post, and who is there. One thing happens at a time; what it sends is posted when
//! it is over, or never, if the process died in the midst of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ottla_coordinators::{
    GroupLedger, GroupSettings, Now, TransactionVersion, TxnLedger, TxnSettings,
};
use ottla_protocol::ProducerId;

use super::book::Book;
use super::client::Client;
use super::markers::Carried;
use super::place::{FIRST_OUT, PLACES, Place, config};
use super::reader::Reader;
use super::seats::Parked;
use super::wire::{Demand, Event, Way};
use crate::chance::Chance;
use crate::disk::SimulatedDisk;
use crate::totals::Totals;

/// When the simulated clock shows 0.
const BEGINNING_MS: i64 = 1_700_000_000_000;
/// Transactional ids; each reads a partition of the source of its own.
pub(super) const IDS: [&str; 3] = ["x", "y", "z"];
/// The longest time-out that a producer may ask for.
pub(super) const TIMEOUT_MAX_MS: i32 = 60_000;
/// After so long without a word an id is forgotten.
pub(super) const ID_EXPIRES_MS: i64 = 3_600_000;
/// The first producer id that is given out; those below are of before.
const FIRST_PRODUCER_ID: ProducerId = 1_000;
const FATE_EVERY_MS: i64 = 300;
/// Far more than any seed takes: somebody asks, or waits, for ever.
const EVENTS_MAX: u64 = 3_000_000;

/// How bad the network is, in percent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    pub(super) loses: u64,
    pub(super) doubles: u64,
    pub(super) slow: u64,
}

impl Weather {
    pub(super) const FINE: Self = Self {
        loses: 0,
        doubles: 0,
        slow: 0,
    };
}

pub(super) struct World {
    pub(super) dice: Chance,
    pub(super) sim: Arc<SimulatedDisk>,
    pub(super) totals: Totals,
    pub(super) traces: bool,
    /// Nothing befalls anybody, and the post comes.
    pub(super) is_calm: bool,
    // Time and post.
    pub(super) now_ms: i64,
    /// The wall clock against the other.
    pub(super) skew_ms: i64,
    pub(super) weather: Weather,
    queue: BTreeMap<(i64, u64), Event>,
    n_queued: u64,
    pub(super) mail: Vec<(Way, Event)>,
    // The broker.
    pub(super) is_up: bool,
    pub(super) places: Vec<Place>,
    pub(super) transactions: Option<TxnLedger>,
    pub(super) groups: Option<GroupLedger>,
    pub(super) txn_settings: TxnSettings,
    pub(super) group_settings: GroupSettings,
    pub(super) level: TransactionVersion,
    /// What the controller gives next, if it answers.
    pub(super) next_id: ProducerId,
    pub(super) ids_are_out: bool,
    /// The high watermark waits for the flush; else the power never fails.
    pub(super) flushes_first: bool,
    /// The disk failed, and the process ends when the present step is over.
    pub(super) has_failed: bool,
    pub(super) parked: Vec<Parked>,
    pub(super) n_parked: u64,
    pub(super) carried: Vec<Carried>,
    pub(super) n_demands: u64,
    /// Markers of the old rules of which the coordinator has heard: demand and place.
    pub(super) settled: BTreeSet<(u64, usize)>,
    /// News of a marker that comes a second time when the next transaction of the id ends.
    pub(super) held_up: BTreeMap<Arc<str>, (Rc<Demand>, usize)>,
    // Around it.
    pub(super) clients: Vec<Client>,
    pub(super) readers: Vec<Reader>,
    pub(super) book: Book,
}

impl World {
    pub(super) fn new(root: &Path, seed: u64, traces: bool) -> Self {
        let mut dice = Chance::from_seed(seed);
        let sim = SimulatedDisk::new(root, dice.fork());
        let disk = sim.disk();
        let compacts = dice.percent(35);
        let places = PLACES.iter().enumerate().map(|(at, place)| {
            let is_internal = at < FIRST_OUT;
            let segment_bytes = dice.within(900, 6000) as u32;
            let interval = dice.within(50, 1000) as u32;
            let config = config(segment_bytes, interval, is_internal || compacts);
            Place::create(&disk, root, *place, config, BEGINNING_MS)
        });
        let places = places.collect();
        let txn_settings = TxnSettings {
            max_timeout_ms: TIMEOUT_MAX_MS,
            id_expiration_ms: ID_EXPIRES_MS,
            remove_expired_interval_ms: 600_000,
            ..TxnSettings::default()
        };
        let group_settings = GroupSettings {
            // No offset is forgotten: that is another story.
            offsets_retention_ms: 1 << 50,
            ..GroupSettings::default()
        };
        let mut world = Self {
            sim,
            totals: Totals::default(),
            traces,
            is_calm: false,
            now_ms: 0,
            skew_ms: 0,
            weather: Weather::FINE,
            queue: BTreeMap::new(),
            n_queued: 0,
            mail: Vec::new(),
            is_up: true,
            places,
            transactions: None,
            groups: None,
            txn_settings,
            group_settings,
            level: TransactionVersion::V2,
            next_id: FIRST_PRODUCER_ID,
            ids_are_out: false,
            flushes_first: dice.percent(60),
            has_failed: false,
            parked: Vec::new(),
            n_parked: 0,
            carried: Vec::new(),
            n_demands: 0,
            settled: BTreeSet::new(),
            held_up: BTreeMap::new(),
            clients: Vec::new(),
            readers: (FIRST_OUT..PLACES.len()).map(Reader::new).collect(),
            book: Book::default(),
            dice,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.change_level();
        if self.dice.percent(40) {
            self.write_old_id();
        }
        self.load_transactions();
        self.load_groups();
        for id in 0..IDS.len() {
            self.start_process(id);
        }
        self.mail.push((Way::After(FATE_EVERY_MS), Event::Fate));
        self.post_all();
    }

    pub(super) fn run(&mut self, n_operations: u64) {
        while self.totals.n("operations") < n_operations {
            self.step();
        }
    }

    pub(super) fn into_totals(mut self) -> Totals {
        let of_the_disk = self.sim.take_totals();
        self.totals += of_the_disk;
        self.totals
    }

    // ---- time ----

    pub(super) fn now(&self) -> Now {
        Now {
            monotonic: Duration::from_millis(self.now_ms.unsigned_abs()),
            wall_ms: self.wall_ms(),
        }
    }

    pub(super) fn wall_ms(&self) -> i64 {
        BEGINNING_MS + self.now_ms + self.skew_ms
    }

    /// The next thing that happens: a message, a moment that somebody waited for, or a timer of a
    /// coordinator.
    pub(super) fn step(&mut self) {
        assert!(
            self.n_queued < EVENTS_MAX,
            "this seed never comes to an end"
        );
        let timer = self.next_timer();
        let next = self.queue.first_key_value().map(|((at, _), _)| *at);
        match (timer, next) {
            (Some(due), next) if next.is_none_or(|next| due <= next) => {
                self.now_ms = self.now_ms.max(due);
                self.time_out();
            }
            (_, Some(at)) => {
                let event = self.queue.pop_first().map(|(_, event)| event);
                self.now_ms = self.now_ms.max(at);
                self.happen(event.expect("it is there"));
            }
            _ => panic!("nothing will ever happen again"),
        }
        self.end_step();
    }

    fn end_step(&mut self) {
        if self.sim.is_dead() || self.has_failed {
            // Nothing of what it was about to say has left.
            let is_power_cut = self.flushes_first && self.dice.percent(60);
            self.crash(is_power_cut);
        }
        self.post_all();
        self.check_ends();
    }

    /// Until this moment, with all that happens.
    pub(super) fn pass(&mut self, ms: i64) {
        let until = self.now_ms + ms;
        self.queue_at(until, Event::Wake { client: 0, n: 0 });
        while self.now_ms < until {
            self.step();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Request(call, request) => self.arrive(call, request),
            Event::Reply(call, reply) => self.hear(call, reply),
            Event::Wake { client, n } => self.wake(client, n),
            Event::Ask(asking) => self.ask(asking),
            Event::Told(asking, refusal) => self.told(*asking, refusal),
            Event::Advance { place, life } => self.advance(place, life),
            Event::GiveUpWaiting { n } => self.give_up_waiting(n),
            Event::Marker(demand, place) => self.marker_arrives(&demand, place),
            Event::Marked(demand, place, refusal) => self.marked(&demand, place, refusal),
            Event::Remind { n } => self.remind(n),
            Event::Up { place, life } => self.come_up(place, life),
            Event::Load { place, life } => self.load(place, life),
            Event::Fate => {
                let next = self.dice.within(1, 2 * FATE_EVERY_MS);
                self.mail.push((Way::After(next), Event::Fate));
                if !self.is_calm {
                    self.befall();
                }
            }
        }
    }

    // ---- post ----

    fn queue_at(&mut self, at: i64, event: Event) {
        self.n_queued += 1;
        self.queue.insert((at, self.n_queued), event);
    }

    pub(super) fn send(&mut self, event: Event) {
        self.mail.push((Way::Post, event));
    }

    pub(super) fn after(&mut self, ms: i64, event: Event) {
        self.mail.push((Way::After(ms), event));
    }

    pub(super) fn post_all(&mut self) {
        for (way, event) in std::mem::take(&mut self.mail) {
            match way {
                Way::After(ms) => self.queue_at(self.now_ms + ms, event),
                Way::Post => self.post(event),
            }
        }
    }

    fn post(&mut self, event: Event) {
        let Weather { loses, doubles, .. } = self.weather;
        let what = match &event {
            Event::Request(..) => "request",
            Event::Reply(..) => "answer",
            Event::Ask(_) | Event::Told(..) => "question",
            Event::Marker(..) | Event::Marked(..) => "marker",
            other => panic!("{other:?} is no letter"),
        };
        if self.dice.percent(loses) {
            self.totals.count(&format!("fault: {what} lost"));
            return;
        }
        let may_double = match &event {
            Event::Request(..) | Event::Reply(..) => true,
            // The old rules take a marker at its word, whenever it comes.
            Event::Marker(demand, _) => demand.markers.transaction_version >= 2,
            Event::Marked(..) => true,
            _ => false,
        };
        if may_double && self.dice.percent(doubles) {
            self.totals.count(&format!("fault: {what} doubled"));
            let ms = self.delay(what);
            self.queue_at(self.now_ms + ms, event.clone());
        }
        let ms = self.delay(what);
        self.queue_at(self.now_ms + ms, event);
    }

    fn delay(&mut self, what: &str) -> i64 {
        if self.dice.percent(self.weather.slow) {
            self.totals.count(&format!("fault: {what} late"));
            return match self.dice.below(10) {
                0 => self.dice.within(3_000, 40_000),
                _ => self.dice.within(20, 2_500),
            };
        }
        self.dice.within(0, 6)
    }

    pub(super) fn trace(&self, what: impl FnOnce(&Self) -> String) {
        if self.traces {
            eprintln!("[{:>8}] {}", self.now_ms, what(self));
        }
    }
}

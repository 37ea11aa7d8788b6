//! How coordinators, leaders and the broker as a whole end, and begin again.

use ottla_storage::Fault;

use super::place::{OFFSETS, PLACES, TRANSACTIONS};
use super::wire::Event;
use super::world::World;

/// Stands for the broker as a whole where a place is named.
const ALL: usize = PLACES.len();
/// After a flush that failed.
const ADVANCE_AGAIN_MS: i64 = 40;
/// How often each seed starts something anew, at least.
const STARTS_MIN: u64 = 5;

impl World {
    /// What a fault of the disk means: it will pass, or the process cannot go on.
    pub(super) fn failed(&mut self, fault: &Fault) {
        self.trace(|_| format!("fault: {fault}"));
        if !fault.is_passing() {
            self.has_failed = true;
        }
    }

    /// The broker is gone from one moment to the next; then, perhaps, the power too.
    pub(super) fn crash(&mut self, is_power_cut: bool) {
        let is_in_doubt = self.sim.is_in_doubt();
        let is_power_cut = is_power_cut || is_in_doubt;
        assert!(
            !is_power_cut || self.flushes_first,
            "what is not flushed is not to be lost"
        );
        self.trace(|_| format!("the broker crashes, power cut: {is_power_cut}"));
        self.sim.heal();
        // Clients go on; nothing of what the broker was about to say has left.
        self.mail
            .retain(|(_, event)| matches!(event, Event::Fate | Event::Wake { .. }));
        self.parked.clear();
        self.carried.clear();
        self.transactions = None;
        self.groups = None;
        self.is_up = false;
        self.has_failed = false;
        for place in &mut self.places {
            place.leave();
        }
        if is_power_cut {
            self.sim.cut_power();
            for place in &mut self.places {
                place.is_patchy |= place.config.cleanup_compact;
            }
            self.totals.count("restart: broker, power cut");
        } else {
            self.totals.count("restart: broker, killed");
        }
        self.totals.count("starts");
        let ms = self.dice.within(20, 800);
        let life = self.places[TRANSACTIONS].life;
        self.after(ms, Event::Up { place: ALL, life });
    }

    /// A partition's leader ends, and with it the coordinator that stands on it.
    pub(super) fn restart_place(&mut self, at: usize, in_order: bool) {
        if !self.is_up || self.places[at].log.is_none() {
            return;
        }
        if in_order {
            self.sim.heal();
        }
        let in_order = in_order && self.places[at].takes_writes();
        let place = &mut self.places[at];
        if in_order {
            if let Err(fault) = place.close() {
                panic!("a sound log does not close: {fault}");
            }
        } else {
            place.leave();
        }
        self.parked.retain(|parked| parked.place != at);
        match at {
            TRANSACTIONS => {
                self.transactions = None;
                self.carried.clear();
                self.totals.count("restart: coordinator of transactions");
            }
            OFFSETS => {
                self.groups = None;
                self.totals.count("restart: coordinator of groups");
            }
            _ => self.totals.count("restart: leader"),
        }
        self.totals.count(match in_order {
            true => "restart: in order",
            false => "restart: at once",
        });
        self.totals.count("starts");
        self.trace(|_| format!("{at} restarts, in order: {in_order}"));
        let ms = self.dice.within(0, 300);
        let life = self.places[at].life;
        self.after(ms, Event::Up { place: at, life });
    }

    pub(super) fn come_up(&mut self, at: usize, life: u64) {
        if at < ALL {
            let is_meant = self.is_up && self.places[at].life == life;
            if is_meant {
                self.open(at);
            }
            return;
        }
        if self.is_up || self.places[TRANSACTIONS].life != life {
            return;
        }
        self.is_up = true;
        // Another machine's clock, perhaps.
        self.skew_ms = self.dice.within(-1_500, 1_500);
        for at in 0..ALL {
            self.open(at);
        }
    }

    fn open(&mut self, at: usize) {
        self.sim.heal();
        let now_ms = self.wall_ms();
        let place = &mut self.places[at];
        if let Err(fault) = place.open(now_ms) {
            panic!("{at} does not open: {fault}");
        }
        let life = place.life;
        self.trace(|world| {
            let log = world.places[at].log();
            format!("{at} is open: {} {}", log.high_watermark(), log.end())
        });
        self.check_kept(at);
        self.advance_soon(at);
        if at == TRANSACTIONS || at == OFFSETS {
            let ms = self.dice.within(0, 200);
            self.after(ms, Event::Load { place: at, life });
        }
    }

    pub(super) fn load(&mut self, at: usize, life: u64) {
        if !self.is_up || self.places[at].life != life {
            return;
        }
        self.sim.heal();
        if at == TRANSACTIONS {
            self.load_transactions();
        } else {
            self.load_groups();
        }
    }

    /// What was appended is to be committed soon.
    pub(super) fn advance_soon(&mut self, at: usize) {
        let place = &mut self.places[at];
        if place.is_advancing {
            return;
        }
        place.is_advancing = true;
        let life = place.life;
        let ms = match self.flushes_first {
            true => self.dice.within(0, 15),
            false => self.dice.within(0, 3),
        };
        self.after(ms, Event::Advance { place: at, life });
    }

    pub(super) fn advance(&mut self, at: usize, life: u64) {
        let (flushes, settles) = (self.flushes_first, self.dice.percent(6));
        let place = &mut self.places[at];
        if !self.is_up || place.life != life || place.log.is_none() {
            return;
        }
        if place.stalled_until > self.now_ms {
            let ms = place.stalled_until - self.now_ms;
            return self.after(ms, Event::Advance { place: at, life });
        }
        place.is_advancing = false;
        let advanced = place.advance(flushes, settles);
        self.trace(|world| {
            let high = world.places[at].high();
            format!("{at} is committed below {high}: {advanced:?}")
        });
        match advanced {
            Ok(()) => self.committed(at),
            Err(fault) => {
                self.places[at].is_advancing = true;
                self.failed(&fault);
                self.after(ADVANCE_AGAIN_MS, Event::Advance { place: at, life });
            }
        }
    }

    pub(super) fn start_anew_often_enough(&mut self) {
        while self.totals.n("starts") < STARTS_MIN {
            match self.dice.below(3) {
                0 => self.restart_place(TRANSACTIONS, false),
                1 => self.restart_place(OFFSETS, true),
                _ if self.is_up => self.crash(self.flushes_first),
                _ => {}
            }
            let n = self.totals.n("operations") + 30;
            self.run(n);
        }
    }
}

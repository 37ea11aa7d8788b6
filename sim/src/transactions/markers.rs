//! The ends of transactions on their way to the partitions, and how the coordinator's side sees to
//! it that they arrive.

use std::collections::BTreeSet;
use std::rc::Rc;

use ottla_coordinators::{Markers, Partitions};
use ottla_protocol::batch_builder::EndMarker;
use ottla_protocol::{Offset, Refusal};
use ottla_storage::producer::TransactionVersion;

use super::place::{InNameOf, OFFSETS, PLACES, place_of};
use super::seats::Owed;
use super::wire::{Demand, Event, Way};
use super::world::World;

/// After so long without news a marker is sent again.
const REMIND_MS: i64 = 700;
/// Between two attempts at a partition that could not take it.
const AGAIN_MS: i64 = 100;
/// So much of the news of markers comes a second time, when the next transaction ends.
const HELD_UP_PERCENT: u64 = 10;
/// From this version on each transaction ends in an epoch of its own.
const BUMPED_SINCE: i8 = 2;

/// A demand that this coordinator sees to.
#[derive(Debug)]
pub(super) struct Carried {
    demand: Rc<Demand>,
    /// Of whom it has not heard.
    left: BTreeSet<usize>,
}

impl World {
    /// The transaction's coordinator demands markers.
    pub(super) fn carry(&mut self, markers: Markers) {
        self.n_demands += 1;
        let n = self.n_demands;
        let left = markers.partitions.iter();
        let left = left.map(|(topic, index)| place_of(topic, index)).collect();
        self.totals.count("demands for markers");
        self.trace(|_| format!("demand {n}: {markers:?}"));
        if let Some((demand, place)) = self.held_up.remove(&markers.transactional_id) {
            self.totals.count("fault: news held up until the next end");
            let ms = self.dice.within(0, 15);
            self.after(ms, Event::Marked(demand, place, None));
        }
        self.carried.push(Carried {
            demand: Rc::new(Demand { n, markers }),
            left,
        });
        self.remind(n);
    }

    /// Sends the markers of which nothing was heard.
    pub(super) fn remind(&mut self, n: u64) {
        let Some(carried) = self.carried.iter().find(|it| it.demand.n == n) else {
            return;
        };
        for place in carried.left.clone() {
            let demand = carried.demand.clone();
            self.mail.push((Way::Post, Event::Marker(demand, place)));
        }
        self.after(REMIND_MS, Event::Remind { n });
    }

    /// A marker reaches its partition's leader.
    pub(super) fn marker_arrives(&mut self, demand: &Rc<Demand>, place: usize) {
        if !self.is_up || self.places[place].log.is_none() {
            return;
        }
        if self.settled.contains(&(demand.n, place)) {
            return self.totals.count("fault: dropped with its connection");
        }
        let written = self.write_marker(&demand.markers, place);
        self.count_marker(written.err());
        match written {
            Ok(offset) => self.owe(
                Some((place, offset)),
                Owed::Marked(demand.clone(), place, None),
                Owed::Marked(demand.clone(), place, Some(Refusal::RequestTimedOut)),
            ),
            Err(refusal) => self.send(Event::Marked(demand.clone(), place, Some(refusal))),
        }
    }

    fn count_marker(&mut self, refusal: Option<Refusal>) {
        let told = refusal.map_or("ok", Refusal::name);
        self.totals.count(&format!("answer WriteTxnMarkers {told}"));
    }

    /// Groups must see the marker between the same records as the log does.
    fn write_marker(&mut self, markers: &Markers, place: usize) -> Result<Offset, Refusal> {
        if place == OFFSETS && self.groups.is_none() {
            return Err(Refusal::NotLeaderOrFollower);
        }
        let marker = EndMarker {
            is_commit: markers.committed,
            coordinator_epoch: markers.coordinator_epoch,
        };
        let (id, epoch) = (markers.producer_id, markers.producer_epoch);
        let batch = marker.batch(id, epoch, self.wall_ms());
        let rule = match markers.transaction_version >= BUMPED_SINCE {
            true => TransactionVersion::BumpedEpoch,
            false => TransactionVersion::SameEpoch,
        };
        let was_open = self.is_open(place, id);
        let outcome = self.write(place, &batch, InNameOf::marker(rule))?;
        let offset = outcome.first_offset;
        self.book
            .marked((id, epoch), markers.committed, place, offset);
        self.totals.count(match (was_open, markers.committed) {
            (true, true) => "markers that commit",
            (true, false) => "markers that abort",
            (false, _) => "markers that end nothing",
        });
        if place == OFFSETS
            && let Some(groups) = &mut self.groups
        {
            groups.end_transaction(offset, id, markers.committed);
        }
        Ok(offset)
    }

    pub(super) fn is_open(&self, place: usize, producer_id: i64) -> bool {
        let producer = self.places[place].log().producers().get(producer_id);
        producer.is_some_and(|producer| producer.transaction_start().is_some())
    }

    /// The coordinator hears of a marker; it may be another than the one that sent it.
    pub(super) fn marked(&mut self, demand: &Rc<Demand>, place: usize, refusal: Option<Refusal>) {
        let at = self.carried.iter().position(|it| it.demand.n == demand.n);
        match refusal {
            None => {
                if demand.markers.transaction_version < BUMPED_SINCE && at.is_some() {
                    self.settled.insert((demand.n, place));
                }
                if let Some(at) = at {
                    self.carried[at].left.remove(&place);
                    if self.carried[at].left.is_empty() {
                        self.carried.remove(at);
                    }
                }
                self.marker_is_there(demand, place);
                // A marker that was sent twice is answered twice.
                if self.dice.percent(HELD_UP_PERCENT) {
                    let id = demand.markers.transactional_id.clone();
                    self.held_up.insert(id, (demand.clone(), place));
                }
            }
            Some(
                refusal @ (Refusal::InvalidProducerEpoch | Refusal::TransactionCoordinatorFenced),
            ) => {
                // Whoever is still responsible is never refused: its transaction would hang.
                let is_left = at.is_some_and(|at| self.carried[at].left.contains(&place));
                assert!(
                    !is_left,
                    "{} for {demand:?} at {place}, which is owed",
                    refusal.name()
                );
                if let Some(ledger) = &mut self.transactions {
                    ledger.handle_markers_refused(&demand.markers);
                }
                self.totals.count("markers refused to former coordinators");
            }
            Some(_) if at.is_some_and(|at| self.carried[at].left.contains(&place)) => {
                let again = Event::Marker(demand.clone(), place);
                self.after(AGAIN_MS, again);
            }
            Some(_) => {}
        }
    }

    fn marker_is_there(&mut self, demand: &Rc<Demand>, place: usize) {
        let done = Partitions::from_iter([PLACES[place]]);
        let decided = self.on_transactions(|ledger, level, _, now| {
            ledger.handle_markers_done(&demand.markers, &done, level, now)
        });
        if decided.is_err() {
            self.totals.count("news of a marker, and no coordinator");
        }
    }
}

//! Room that is reserved for what this log is about to write. The rules are in `ahead`.
//!
//! IMPORTANT: room goes back by setting the file to the length that it has, and only under the
//! log's lock: set to a length that is no longer true, it would lose records. Reserving changes no
//! length and is done without the lock.

use std::sync::Arc;

use ottla_protocol::Offset;

use super::Log;
use crate::ahead::{self, NoRoom, Pace, StepBytes, Stretch};
use crate::log_view::Segments;
use crate::segment::Segment;

/// What is reserved, as far as this log knows: what it does not, the next opening finds.
#[derive(Debug, Default)]
pub(super) struct Room {
    pace: Pace,
    /// The segment that was given room, and up to where.
    reserved: Option<(Offset, u32)>,
    /// Complete ones that did not need all of it.
    left: Segments,
}

impl Room {
    pub(super) fn wrote(&mut self, n_bytes: usize, now_ms: i64) {
        self.pace.wrote(n_bytes, now_ms);
    }

    pub(super) fn completed(&mut self, segment: &Arc<Segment>) {
        if self.end_in(segment) > segment.size() {
            self.left.push(Arc::clone(segment));
        }
        self.reserved = None;
    }

    fn end_in(&self, segment: &Segment) -> u32 {
        let reserved = self.reserved.filter(|(base, _)| *base == segment.base());
        reserved.map_or(0, |(_, to)| to)
    }
}

impl Log {
    /// Whether the host should come for `plan_room`. Cheap.
    pub fn wants_room(&mut self, now_ms: i64, bytes: &StepBytes) -> bool {
        !self.room.left.is_empty() || self.next_room(now_ms, bytes).is_some()
    }

    /// What is to be reserved now, with no lock held.
    pub fn plan_room(&mut self, now_ms: i64, bytes: &StepBytes) -> Option<Stretch> {
        let (from, to) = self.next_room(now_ms, bytes)?;
        let active = self.active();
        Some(Stretch {
            file: active.log_file().get().ok()?,
            base: active.base(),
            from,
            to,
        })
    }

    fn next_room(&mut self, now_ms: i64, bytes: &StepBytes) -> Option<(u32, u32)> {
        // With Kafka's own `preallocate` the file has its full length from the start.
        if self.config.preallocate || self.poisoned.is_some() {
            return None;
        }
        let step = ahead::step(self.room.pace.lately(now_ms), bytes);
        let active = self.active();
        let (end, reserved_to) = (active.size(), self.room.end_in(active));
        ahead::next(end, reserved_to, self.config.segment_bytes, step)
    }

    /// The stretch was reserved, or at most a part of it. One that the log has left behind
    /// meanwhile goes back at once.
    pub fn took_room(&mut self, stretch: &Stretch, outcome: Result<(), NoRoom>) {
        let is_its = |segment: &&Arc<Segment>| {
            segment.base() == stretch.base && segment.log_file().is_of(&stretch.file)
        };
        let Some(segment) = self.segments.iter().find(is_its).cloned() else {
            // Its names are gone: the blocks go with them.
            return;
        };
        let is_active = Arc::ptr_eq(&segment, self.active());
        if outcome.is_ok() && is_active {
            let to = stretch.to.max(self.room.end_in(&segment));
            self.room.reserved = Some((stretch.base, to));
            return;
        }
        if is_active {
            self.room.reserved = None;
        }
        self.free(&segment);
    }

    /// Gives back what complete segments have left over, and what is far more than this log needs
    /// at its pace of now.
    pub fn tidy_room(&mut self, now_ms: i64, bytes: &StepBytes) {
        let step = ahead::step(self.room.pace.lately(now_ms), bytes);
        if ahead::is_surplus(self.n_bytes_in_active(), step) {
            self.give_back_room();
        } else {
            self.give_back_left();
        }
    }

    /// Gives back everything; how much that was, as far as is known.
    pub fn give_back_room(&mut self) -> u64 {
        let n_bytes = self.n_bytes_ahead();
        self.give_back_left();
        if self.n_bytes_in_active() > 0 {
            self.free(self.active());
        }
        self.room.reserved = None;
        n_bytes
    }

    fn give_back_left(&mut self) {
        for segment in std::mem::take(&mut self.room.left) {
            // One without names goes as a whole.
            if !segment.is_retired() {
                self.free(&segment);
            }
        }
    }

    /// Bytes that are reserved and not written yet.
    pub fn n_bytes_ahead(&self) -> u64 {
        // What complete segments have left over is not known, and gone soon.
        self.n_bytes_in_active() + self.room.left.len() as u64
    }

    fn n_bytes_in_active(&self) -> u64 {
        let active = self.active();
        self.room
            .end_in(active)
            .saturating_sub(active.size())
            .into()
    }

    /// Nothing rests on it: what stays reserved is found at the next opening.
    fn free(&self, segment: &Segment) {
        // What is on the disk is uncertain: nothing is touched any more.
        if self.poisoned.is_some() {
            return;
        }
        if let Err(fault) = segment.free_behind_end() {
            tracing::debug!(%fault, "reserved room was not given back");
        }
    }
}

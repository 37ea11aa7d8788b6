//! Room that is reserved on the disk for what a log is about to write: how much, for whom, and when
//! it goes back. Rules only; a log applies them in `log/room`, its host does the waiting.
//!
//! Blocks are reserved behind the end of a file without making it longer, so nothing that reads it
//! can tell, whatever happens to the process. A log gets as much as it wrote in the last seconds,
//! hence nothing at first and nothing again when it rests; never more than its segment takes; and
//! all logs of a disk together a share of what is free.

use std::ops::RangeInclusive;

use ottla_protocol::Offset;

use crate::disk::DiskFile;

/// How long "lately" is: one span that is over, and the one that has begun.
const SPAN_MS: i64 = 2000;
/// One part in so many of what is free may be reserved: little enough that nobody misses it, enough
/// for hundreds of busy logs on a disk with room.
const SHARE: u64 = 16;
/// A log whose pace has fallen keeps up to so many times what it would get now.
const SURPLUS: u64 = 4;

/// How much may be reserved for one log at a time: from the least that is worth a call to the most
/// that one log may hold.
pub type StepBytes = RangeInclusive<u64>;

/// How much was written lately.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    began_ms: i64,
    n_bytes: u64,
    n_bytes_before: u64,
}

impl Pace {
    pub(crate) fn wrote(&mut self, n_bytes: usize, now_ms: i64) {
        self.turn(now_ms);
        self.n_bytes = self.n_bytes.saturating_add(n_bytes as u64);
    }

    /// Bytes of the last two to four seconds.
    pub(crate) fn lately(&mut self, now_ms: i64) -> u64 {
        self.turn(now_ms);
        self.n_bytes.saturating_add(self.n_bytes_before)
    }

    /// A clock that went back, or far ahead, makes everything long ago.
    fn turn(&mut self, now_ms: i64) {
        let since = now_ms.saturating_sub(self.began_ms);
        if (0..SPAN_MS).contains(&since) {
            return;
        }
        let goes_on = (SPAN_MS..2 * SPAN_MS).contains(&since);
        self.n_bytes_before = if goes_on { self.n_bytes } else { 0 };
        self.n_bytes = 0;
        self.began_ms = if goes_on {
            self.began_ms + SPAN_MS
        } else {
            now_ms
        };
    }
}

/// What a log that wrote so much lately may hold.
pub(crate) fn step(lately: u64, bytes: &StepBytes) -> u64 {
    match lately.min(*bytes.end()) {
        step if step < *bytes.start() => 0,
        step => step,
    }
}

/// What to reserve next, as from and to: up to a step ahead of the end, once half of that is used
/// up, within the segment.
pub(crate) fn next(end: u32, reserved_to: u32, limit: u32, step: u64) -> Option<(u32, u32)> {
    let from = reserved_to.max(end);
    if u64::from(from - end) > step / 2 {
        return None;
    }
    let to = u64::from(end).saturating_add(step).min(limit.into()) as u32;
    (to > from).then_some((from, to))
}

/// Whether a log holds so much more than it would get now that it goes back.
pub(crate) fn is_surplus(n_bytes_ahead: u64, step: u64) -> bool {
    n_bytes_ahead > step.saturating_mul(SURPLUS)
}

/// What all logs of a disk may hold, on which `usable` bytes are free besides the `held` ones.
pub fn room_allowed(usable: u64, held: u64) -> u64 {
    usable.saturating_add(held) / SHARE
}

/// How much of what is wanted is given; `None`: less than is worth a call.
pub fn room_granted(wanted: u64, held: u64, usable: u64, bytes: &StepBytes) -> Option<u64> {
    let left = room_allowed(usable, held).saturating_sub(held);
    let granted = wanted.min(left);
    (granted >= wanted.min(*bytes.start()))
        .then_some(granted)
        .filter(|granted| *granted > 0)
}

/// Why no room was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// There is none.
    Full,
    /// This file system does not do it.
    Unsupported,
}

/// A stretch behind the end of a segment's file that is to be reserved.
#[derive(Debug)]
pub struct Stretch {
    pub(crate) file: DiskFile,
    pub(crate) base: Offset,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Stretch {
    pub fn n_bytes(&self) -> u64 {
        u64::from(self.to - self.from)
    }

    /// Its first bytes.
    #[must_use]
    pub fn shortened(mut self, n_bytes: u64) -> Self {
        let to = u64::from(self.from).saturating_add(n_bytes);
        self.to = to.min(self.to.into()) as u32;
        self
    }

    /// Takes the blocks. May wait for the disk; to be told to `Log::took_room`, whatever it came to.
    pub fn reserve(&self) -> Result<(), NoRoom> {
        self.file.reserve(self.from.into(), self.n_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const BYTES: StepBytes = MIB..=64 * MIB;

    #[test]
    fn lately_is_two_to_four_seconds() {
        let mut pace = Pace::default();
        pace.wrote(100, 10_000);
        assert_eq!(pace.lately(11_999), 100);
        pace.wrote(10, 12_000);
        assert_eq!(pace.lately(13_999), 110);
        assert_eq!(pace.lately(14_000), 10);
        assert_eq!(pace.lately(16_000), 0);
    }

    #[test]
    fn a_rest_and_a_clock_that_goes_back_forget() {
        let mut pace = Pace::default();
        pace.wrote(100, 10_000);
        assert_eq!(pace.lately(14_000), 0);
        pace.wrote(100, 14_000);
        assert_eq!(pace.lately(5_000), 0);
        pace.wrote(7, 5_000);
        assert_eq!(pace.lately(5_500), 7);
        pace.wrote(usize::MAX, i64::MAX);
        assert_eq!(pace.lately(i64::MIN), 0);
    }

    #[test]
    fn a_step_is_what_was_written_from_nothing_to_the_most() {
        let steps = [0, MIB - 1, MIB, 5 * MIB, 64 * MIB, u64::MAX].map(|n| step(n, &BYTES));
        assert_eq!(steps, [0, 0, MIB, 5 * MIB, 64 * MIB, 64 * MIB]);
        assert_eq!(step(u64::MAX, &StepBytes::new(MIB, 0)), 0, "switched off");
    }

    #[test]
    fn more_is_reserved_once_half_is_used_up() {
        assert_eq!(next(0, 0, 1000, 0), None, "a log that rests");
        assert_eq!(next(10, 0, 1000, 100), Some((10, 110)));
        assert_eq!(next(10, 110, 1000, 100), None);
        assert_eq!(next(59, 110, 1000, 100), None);
        assert_eq!(next(60, 110, 1000, 100), Some((110, 160)));
        assert_eq!(next(200, 110, 1000, 100), Some((200, 300)), "overtaken");
    }

    #[test]
    fn never_past_the_segment() {
        assert_eq!(next(950, 960, 1000, 100), Some((960, 1000)));
        assert_eq!(next(990, 1000, 1000, 100), None);
        assert_eq!(
            next(1200, 0, 1000, 100),
            None,
            "it is larger than it may be by now"
        );
        assert_eq!(next(u32::MAX, 0, u32::MAX, 100), None);
    }

    #[test]
    fn what_is_far_too_much_goes_back() {
        assert!(!is_surplus(0, 0));
        assert!(is_surplus(1, 0), "idle");
        assert!(!is_surplus(64, 16));
        assert!(is_surplus(65, 16));
    }

    #[test]
    fn all_together_get_a_share_of_what_is_free() {
        let granted =
            |wanted, held, usable| room_granted(wanted * MIB, held * MIB, usable * MIB, &BYTES);
        assert_eq!(granted(64, 0, 1 << 20), Some(64 * MIB));
        assert_eq!(granted(64, 0, 160), Some(10 * MIB));
        assert_eq!(granted(64, 10, 150), None, "all is given out");
        assert_eq!(granted(64, 0, 8), None, "half a MiB is not worth it");
        assert_eq!(granted(64, 0, 0), None);
        assert_eq!(granted(0, 0, 1000), None);
        assert_eq!(
            room_granted(1000, 0, u64::MAX, &BYTES),
            Some(1000),
            "up to the segment's end"
        );
        // When others fill the disk, what is held is soon more than is allowed.
        assert!(room_allowed(100 * MIB, 10 * MIB) < 10 * MIB);
    }
}

//! Stretches of a log that were written lately: what the page cache is relieved of in good time.
//!
//! Left alone, the kernel collects dirty pages for half a minute, writes them in bursts that appends
//! wait behind, and keeps every page until memory runs out. So each log hands out what it wrote in
//! windows: the write-out of a window is begun when it is full, and its pages are given back when
//! it has left the hot tail, unless somebody who reads far behind the end may come for them.
//! None of this makes anything durable, and nothing depends on it.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ottla_protocol::Offset;

use crate::disk;

/// What is written out at a time: large enough that a call costs nothing per byte, small enough that
/// a disk takes it in some milliseconds.
const WINDOW_LEN: u32 = 8 << 20;
/// Who reads within this distance of the end follows it, and will have passed before pages go.
const NEAR_THE_END: u32 = 4 * WINDOW_LEN;
/// The unit in which the kernel keeps files.
const PAGE: u32 = 4096;

/// Counts reads far behind the end of one log.
#[derive(Debug, Clone, Default)]
pub(crate) struct FarReads(Arc<AtomicU64>);

impl FarReads {
    /// A read at `place` of a log that ends at `end`, each a segment's base and a position.
    pub(crate) fn note(&self, place: (Offset, u32), end: (Offset, u32)) {
        let is_near = place.0 == end.0 && end.1.saturating_sub(place.1) <= NEAR_THE_END;
        if !is_near {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn n(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far one log has handed out its windows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandedOut {
    base: Offset,
    position: u32,
}

impl HandedOut {
    /// What was there before belongs to nobody's window.
    pub(crate) fn new((base, position): (Offset, u32)) -> Self {
        Self { base, position }
    }

    /// The window that is full now that the log ends at `end`, as from and length.
    pub(crate) fn next(&mut self, (base, size): (Offset, u32)) -> Option<(u32, u32)> {
        if base != self.base {
            // The little that the segment before had left is the kernel's.
            *self = Self { base, position: 0 };
        }
        // After a truncation, on from the new end.
        self.position = self.position.min(size);
        if size - self.position < WINDOW_LEN {
            return None;
        }
        let from = self.position - self.position % PAGE;
        // The last page is still being written to.
        self.position = size - size % PAGE;
        Some((from, self.position - from))
    }
}

/// A stretch of a segment's file. It does not keep the file open.
#[derive(Debug)]
pub struct Window {
    file: Weak<File>,
    from: u32,
    length: u32,
    far_reads: FarReads,
    n_far_before: u64,
}

impl Window {
    pub(crate) fn new(file: &Arc<File>, (from, length): (u32, u32), far_reads: &FarReads) -> Self {
        Self {
            file: Arc::downgrade(file),
            from,
            length,
            far_reads: far_reads.clone(),
            n_far_before: far_reads.n(),
        }
    }

    /// Has the disk begin with it. May wait for a disk that has much to do.
    pub fn begin_write_out(&self) {
        if let Some(file) = self.file.upgrade() {
            disk::begin_write_out(&file, self.from.into(), self.length.into());
        }
    }

    /// Whether a reader was seen, since this was written, who has yet to come here or may return.
    pub fn is_awaited(&self) -> bool {
        self.far_reads.n() != self.n_far_before
    }

    /// Takes its pages out of memory, those that are on the disk.
    pub fn give_back(&self) {
        if let Some(file) = self.file.upgrade() {
            disk::give_back_pages(&file, self.from.into(), self.length.into());
        }
    }
}

/// The newest windows of one disk, which stay in memory.
#[derive(Debug)]
pub struct HotTail {
    windows: VecDeque<Window>,
    n_bytes: u64,
    n_bytes_max: u64,
}

impl HotTail {
    pub fn new(n_bytes_max: u64) -> Self {
        Self {
            windows: VecDeque::new(),
            n_bytes: 0,
            n_bytes_max,
        }
    }

    pub fn push(&mut self, window: Window) {
        self.n_bytes += u64::from(window.length);
        self.windows.push_back(window);
    }

    /// The oldest window, while there are more than may stay.
    pub fn pop_surplus(&mut self) -> Option<Window> {
        if self.n_bytes <= self.n_bytes_max {
            return None;
        }
        let window = self.windows.pop_front()?;
        self.n_bytes -= u64::from(window.length);
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const MIB: u32 = 1 << 20;

    #[test]
    fn windows_follow_each_other_without_a_gap_and_end_on_a_page() {
        let mut handed_out = HandedOut::new((0, 0));
        assert_eq!(handed_out.next((0, 8 * MIB - 1)), None);
        assert_eq!(handed_out.next((0, 8 * MIB + 100)), Some((0, 8 * MIB)));
        assert_eq!(handed_out.next((0, 9 * MIB)), None);
        assert_eq!(
            handed_out.next((0, 20 * MIB + 1)),
            Some((8 * MIB, 12 * MIB))
        );
    }

    #[test]
    fn what_was_there_before_the_open_is_left_alone() {
        let mut handed_out = HandedOut::new((7, 100 * MIB + 5));
        assert_eq!(handed_out.next((7, 101 * MIB)), None);
        assert_eq!(handed_out.next((7, 109 * MIB)), Some((100 * MIB, 9 * MIB)));
    }

    #[test]
    fn a_roll_starts_anew_and_a_truncation_goes_back() {
        let mut handed_out = HandedOut::new((0, 0));
        assert!(handed_out.next((0, 16 * MIB)).is_some());
        assert_eq!(handed_out.next((1000, 8 * MIB)), Some((0, 8 * MIB)));
        assert_eq!(handed_out.next((1000, MIB)), None, "cut");
        assert_eq!(handed_out.next((1000, 9 * MIB)), Some((MIB, 8 * MIB)));
    }

    #[test]
    fn only_reads_far_behind_the_end_count() {
        let far = FarReads::default();
        far.note((0, 0), (0, NEAR_THE_END));
        assert_eq!(far.n(), 0);
        far.note((0, 0), (0, NEAR_THE_END + 1));
        far.note((0, 5), (9, 6));
        assert_eq!(far.n(), 2);
    }

    #[test]
    fn the_oldest_windows_leave_the_tail_first() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let far = FarReads::default();
        let mut tail = HotTail::new(20);
        for from in [0, 10, 20] {
            tail.push(Window::new(&file, (from, 10), &far));
        }
        assert_eq!(tail.pop_surplus().unwrap().from, 0);
        assert!(tail.pop_surplus().is_none(), "the others may stay");
    }

    #[test]
    fn a_window_is_awaited_once_somebody_has_read_far_behind() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let far = FarReads::default();
        far.note((0, 0), (9, 0));
        let window = Window::new(&file, (0, 10), &far);
        assert!(!window.is_awaited(), "that was before");
        far.note((0, 0), (9, 0));
        assert!(window.is_awaited());
    }

    /// The whole of it on a real file: the bytes are there afterwards, and a file that is gone is no trouble.
    #[test]
    fn what_is_given_back_is_still_read() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 3 * PAGE as usize]).unwrap();
        let file = Arc::new(file);
        let window = Window::new(&file, (0, 2 * PAGE), &FarReads::default());
        window.begin_write_out();
        window.give_back();
        let mut bytes = [0; 3 * PAGE as usize];
        std::os::unix::fs::FileExt::read_exact_at(&*file, &mut bytes, 0).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
        drop(file);
        window.begin_write_out();
        window.give_back();
    }
}

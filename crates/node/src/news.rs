//! Whether something has happened since somebody looked: with thousands of partitions, looking at
//! each of them to learn that nothing has is work, too. Telling costs a load where it was told
//! already.

use std::sync::atomic::{AtomicU8, Ordering};

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum For {
    HighWatermarks = 1,
    RecoveryPoints = 2,
    LogStarts = 4,
    Unlinking = 8,
    Flushing = 16,
}

const ALL: u8 = 31;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct News(AtomicU8);

impl Default for News {
    fn default() -> Self {
        Self(AtomicU8::new(ALL))
    }
}

impl News {
    /// Something has happened, to any partition. To be told behind the change.
    pub(crate) fn tell(&self) {
        if self.0.load(Ordering::Acquire) != ALL {
            self.0.store(ALL, Ordering::Release);
        }
    }

    /// There is something left to do for one of them.
    pub(crate) fn remind(&self, one: For) {
        self.0.fetch_or(one as u8, Ordering::AcqRel);
    }

    /// Whether there is news for `one`, who looks from here on.
    pub(crate) fn take(&self, one: For) -> bool {
        self.0.fetch_and(!(one as u8), Ordering::AcqRel) & one as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_learns_of_it_once() {
        let news = News::default();
        assert!(news.take(For::HighWatermarks), "a start is news");
        assert!(!news.take(For::HighWatermarks));
        assert!(news.take(For::Unlinking));
        news.tell();
        assert!(news.take(For::HighWatermarks));
        assert!(news.take(For::Unlinking));
        news.remind(For::Unlinking);
        assert!(!news.take(For::HighWatermarks));
        assert!(news.take(For::Unlinking));
    }
}

//! Which requests of one connection may be worked on while others before them wait.
//!
//! Kafka reads the next request of a connection when the last one has been answered. So must the
//! outcome look: what requests do takes place in the order in which they were sent, and what they
//! see includes what was done before them. Only waiting may overlap:
//!
//! | waits ↓, comes → | Produce | Fetch | a look | behind fetches | anything else |
//! |---|---|---|---|---|---|
//! | Produce, for the disk or replicas | starts | stands | starts | stands | stands |
//! | Fetch, for records | starts | stands | starts | starts | stands |
//! | a look | starts | starts | starts | starts | stands |
//! | behind fetches, anything else | stands | stands | stands | stands | stands |
//!
//! - A Produce has been appended when it waits, so another one comes after it in every log. A
//!   power cut may keep the second and lose the first if they went to different partitions; neither
//!   was acknowledged then, and answers leave in order.
//! - A Fetch behind a Produce would not see what the Produce wrote, which becomes visible with its
//!   acknowledgement; ListOffsets neither. An OffsetCommit behind a Produce could outlive it.
//! - A Fetch that waits has changed nothing, and sees what is written while it waits, by whomever.
//!   Two fetches of one session would mix up what the session knows that the client has been told.
//! - A request that may take away what a waiting Fetch reads (DeleteRecords, DeleteTopics, settings)
//!   would turn its empty answer into an error: it stands.
//! - Whatever waits for a coordinator or the controller is alone, as everything is in Kafka.

/// What a request has to do with those before and behind it on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// It waits for all before it, and all behind it wait for it.
    Alone,
    /// Produce: its work is done at once, in order; then it waits.
    Append,
    /// Fetch: it changes nothing and waits for records.
    LongPoll,
    /// It rests on what no request of a connection changes unnoticed, and waits for nothing long.
    Look,
    /// It has nothing to do with a fetch that waits.
    BehindFetches,
}

impl Overlap {
    /// Whether a request of this kind may be worked on while one of kind `ahead` waits.
    pub const fn may_start_behind(self, ahead: Self) -> bool {
        match (ahead, self) {
            (_, Self::Alone) | (Self::Alone | Self::BehindFetches, _) => false,
            (Self::LongPoll, Self::LongPoll) => false,
            (Self::LongPoll | Self::Look, _) => true,
            (Self::Append, Self::Append | Self::Look) => true,
            (Self::Append, Self::LongPoll | Self::BehindFetches) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Overlap::{self, *};

    /// The table at the head of this file.
    #[test]
    fn only_waiting_overlaps() {
        const KINDS: [Overlap; 5] = [Append, LongPoll, Look, BehindFetches, Alone];
        let row = |ahead| KINDS.map(|kind| kind.may_start_behind(ahead));
        assert_eq!(row(Append), [true, false, true, false, false]);
        assert_eq!(row(LongPoll), [true, false, true, true, false]);
        assert_eq!(row(Look), [true, true, true, true, false]);
        assert_eq!(row(BehindFetches), [false; 5]);
        assert_eq!(row(Alone), [false; 5]);
    }
}

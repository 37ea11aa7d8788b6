//! A picture of a log that readers take without a lock.
//!
//! The log publishes; a `LogReader` is the handle that readers keep; `LogReader::view` takes the
//! picture of this moment. Publishing an append is a few stores: the list of segments is replaced
//! only at a roll, a truncation or a deletion, and the ends are guarded by a sequence number (a
//! reader that was overtaken looks again), so that they always belong together and to the list.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering, fence};

use arc_swap::ArcSwap;
use ottla_protocol::epochs::{EpochCache, EpochEnd};
use ottla_protocol::{LeaderEpoch, Offset, TopicPartition};

use crate::producer::Producers;
use crate::segment::Segment;
use crate::written::FarReads;

/// How far a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// All there is: replicas.
    LogEnd,
    /// What is replicated (and durable, where the policy says so): consumers.
    HighWatermark,
    /// What is decided besides: consumers that read committed.
    LastStable,
}

/// The segments of a log, by base offset. Never empty once a log is open.
pub(crate) type Segments = Vec<Arc<Segment>>;

/// An offset, and where in the files it is, if that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) offset: Offset,
    /// (base of the segment, position)
    pub(crate) place: Option<(Offset, u32)>,
}

impl Mark {
    pub(crate) fn unplaced(offset: Offset) -> Self {
        Self {
            offset,
            place: None,
        }
    }
}

/// `start ≤ last_stable ≤ high_watermark ≤ end` and `flushed ≤ end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) start: Offset,
    pub(crate) last_stable: Mark,
    pub(crate) high_watermark: Mark,
    pub(crate) end: Mark,
    pub(crate) flushed: Offset,
}

impl Ends {
    pub(crate) fn validate(&self) {
        let Self {
            start,
            last_stable,
            high_watermark,
            end,
            flushed,
        } = self;
        let (stable, high, end) = (last_stable.offset, high_watermark.offset, end.offset);
        assert!(
            *start <= stable,
            "the log starts at {start}, behind the last stable {stable}"
        );
        assert!(
            stable <= high,
            "the last stable {stable} is behind the high watermark {high}"
        );
        assert!(
            high <= end,
            "the high watermark {high} is behind the end {end}"
        );
        assert!(
            *flushed <= end,
            "flushed up to {flushed}, behind the end {end}"
        );
    }
}

/// What the writer publishes and all readers share.
#[derive(Debug)]
pub(crate) struct Published {
    partition: TopicPartition,
    /// Odd while a change is under way.
    sequence: AtomicU64,
    segments: ArcSwap<Segments>,
    epochs: ArcSwap<EpochCache>,
    start: AtomicI64,
    flushed: AtomicI64,
    last_stable: AtomicMark,
    high_watermark: AtomicMark,
    end: AtomicMark,
    far_reads: FarReads,
    n_producers: AtomicUsize,
    /// See `LogView::open_since`; -1: no transaction is open.
    open_since: AtomicI64,
    /// See `LogReader::checkpoint_high_watermark`.
    checkpointed_high: AtomicI64,
}

#[derive(Debug, Default)]
struct AtomicMark {
    offset: AtomicI64,
    base: AtomicI64,
    /// -1: the place is not known.
    position: AtomicI64,
}

impl AtomicMark {
    fn store(&self, mark: Mark) {
        let (base, position) = mark.place.map_or((-1, -1), |(b, p)| (b, i64::from(p)));
        self.offset.store(mark.offset, Ordering::Relaxed);
        self.base.store(base, Ordering::Relaxed);
        self.position.store(position, Ordering::Relaxed);
    }

    fn load(&self) -> Mark {
        let position = self.position.load(Ordering::Relaxed);
        let base = self.base.load(Ordering::Relaxed);
        Mark {
            offset: self.offset.load(Ordering::Relaxed),
            place: u32::try_from(position)
                .ok()
                .map(|position| (base, position)),
        }
    }
}

impl Published {
    pub(crate) fn new(
        partition: TopicPartition,
        segments: Segments,
        epochs: EpochCache,
        ends: Ends,
    ) -> Self {
        let published = Self {
            partition,
            sequence: AtomicU64::new(0),
            segments: ArcSwap::from_pointee(segments),
            epochs: ArcSwap::from_pointee(epochs),
            start: AtomicI64::default(),
            flushed: AtomicI64::default(),
            last_stable: AtomicMark::default(),
            high_watermark: AtomicMark::default(),
            end: AtomicMark::default(),
            far_reads: FarReads::default(),
            n_producers: AtomicUsize::new(0),
            open_since: AtomicI64::new(-1),
            checkpointed_high: AtomicI64::new(0),
        };
        published.store_ends(&ends);
        published
    }

    /// Only the writer calls this, so changes do not overlap.
    pub(crate) fn publish(&self, ends: &Ends, segments: Option<&Segments>) {
        ends.validate();
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        // IMPORTANT: the odd number must be seen before any of the stores below.
        fence(Ordering::Release);
        if let Some(segments) = segments {
            self.segments.store(Arc::new(segments.clone()));
        }
        self.store_ends(ends);
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }

    pub(crate) fn far_reads(&self) -> &FarReads {
        &self.far_reads
    }

    /// For who counts them, and depends on nothing.
    pub(crate) fn publish_producers(&self, producers: &Producers) {
        self.n_producers.store(producers.len(), Ordering::Relaxed);
        let since = producers.oldest_transaction_wrote_at().unwrap_or(-1);
        self.open_since.store(since, Ordering::Relaxed);
    }

    /// The high watermark that was checkpointed when the log was opened.
    pub(crate) fn checkpointed_high(&self, offset: Offset) {
        self.checkpointed_high.store(offset, Ordering::Relaxed);
    }

    /// The log ends at `to` again, and that was not the high watermark of what comes now.
    pub(crate) fn cut_checkpointed_high(&self, to: Offset) {
        self.checkpointed_high.fetch_min(to, Ordering::Relaxed);
    }

    pub(crate) fn publish_epochs(&self, epochs: &EpochCache) {
        self.epochs.store(Arc::new(epochs.clone()));
    }

    fn store_ends(&self, ends: &Ends) {
        self.start.store(ends.start, Ordering::Relaxed);
        self.flushed.store(ends.flushed, Ordering::Relaxed);
        self.last_stable.store(ends.last_stable);
        self.high_watermark.store(ends.high_watermark);
        self.end.store(ends.end);
    }

    fn load(&self) -> (Arc<Segments>, Ends) {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            let segments = self.segments.load_full();
            let ends = Ends {
                start: self.start.load(Ordering::Relaxed),
                last_stable: self.last_stable.load(),
                high_watermark: self.high_watermark.load(),
                end: self.end.load(),
                flushed: self.flushed.load(Ordering::Relaxed),
            };
            // IMPORTANT: all loads above must be done before the number is read again.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && before == self.sequence.load(Ordering::Relaxed) {
                return (segments, ends);
            }
            // The writer is in the middle of a few stores, or was descheduled there.
            std::thread::yield_now();
        }
    }
}

/// A handle on a log for who reads it. Clone, send, share; it never blocks the writer.
#[derive(Debug, Clone)]
pub struct LogReader {
    published: Arc<Published>,
}

impl LogReader {
    pub(crate) fn new(published: Arc<Published>) -> Self {
        Self { published }
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.published.partition
    }

    /// What `replication-offset-checkpoint` is to say. After a crash a leader may begin at less than
    /// what the file said before, because only what is flushed counts; that is nothing to write down,
    /// or another crash, or a stop before the flush, would leave less known than there was.
    pub fn checkpoint_high_watermark(&self) -> Offset {
        let known = self.published.checkpointed_high.load(Ordering::Relaxed);
        let (_, ends) = self.published.load();
        ends.high_watermark.offset.max(known.min(ends.end.offset))
    }

    /// The log as it is now.
    pub fn view(&self) -> LogView {
        let (segments, ends) = self.published.load();
        LogView {
            published: Arc::clone(&self.published),
            segments,
            ends,
        }
    }
}

/// A log as it was when the picture was taken. Files in it stay readable as long as it is kept.
#[derive(Debug, Clone)]
pub struct LogView {
    published: Arc<Published>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) ends: Ends,
}

impl LogView {
    pub fn partition(&self) -> &TopicPartition {
        &self.published.partition
    }

    /// The first offset that may be read.
    pub fn start(&self) -> Offset {
        self.ends.start
    }

    pub fn high_watermark(&self) -> Offset {
        self.ends.high_watermark.offset
    }

    pub fn last_stable(&self) -> Offset {
        self.ends.last_stable.offset
    }

    /// The offset that the next record gets.
    pub fn end(&self) -> Offset {
        self.ends.end.offset
    }

    /// Everything below survives a power cut.
    pub fn flushed(&self) -> Offset {
        self.ends.flushed
    }

    pub fn bound(&self, isolation: Isolation) -> Offset {
        self.mark(isolation).offset
    }

    /// Producers that are remembered. Not part of the picture: as it is now.
    pub fn n_producers(&self) -> usize {
        self.published.n_producers.load(Ordering::Relaxed)
    }

    /// When the producer of the oldest open transaction wrote last. Not part of the picture, either.
    pub fn open_since(&self) -> Option<i64> {
        let since = self.published.open_since.load(Ordering::Relaxed);
        (since >= 0).then_some(since)
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| u64::from(segment.size()))
            .sum()
    }

    pub fn n_segments(&self) -> usize {
        self.segments.len()
    }

    /// Whether the names of its files are gone: the log was deleted, or moved to another directory.
    /// What is not open yet cannot be read by this picture any more.
    pub fn is_retired(&self) -> bool {
        self.segments
            .last()
            .is_some_and(|active| active.is_retired())
    }

    /// Which leader epoch started where. Not part of the picture: as it is now.
    pub fn epochs(&self) -> Arc<EpochCache> {
        self.published.epochs.load_full()
    }

    /// For OffsetForLeaderEpoch and for diverging fetches.
    pub fn end_offset_for(&self, epoch: LeaderEpoch) -> EpochEnd {
        self.published
            .epochs
            .load()
            .end_offset_for(epoch, self.end())
    }

    /// Somebody reads at this place.
    pub(crate) fn note_read(&self, place: (Offset, u32)) {
        if let Some(end) = self.ends.end.place {
            self.published.far_reads.note(place, end);
        }
    }

    pub(crate) fn mark(&self, isolation: Isolation) -> Mark {
        match isolation {
            Isolation::LogEnd => self.ends.end,
            Isolation::HighWatermark => self.ends.high_watermark,
            Isolation::LastStable => self.ends.last_stable,
        }
    }
}

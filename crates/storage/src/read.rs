//! Reading a log: an offset becomes a slice of a file, a timestamp becomes an offset.
//! Records are never copied here; only a lookup by timestamp looks into them.

use std::ops::ControlFlow;
use std::sync::Arc;

use ottla_protocol::batch::legacy::LegacyBatch;
use ottla_protocol::batch::{Batch, CorruptBatch, OPENED_BYTES_MAX, TimestampKind, scan_until};
use ottla_protocol::compress::BadCompression;
use ottla_protocol::{LeaderEpoch, Offset, Refusal, Refused};

use crate::error::{Fault, NotDone};
use crate::fetch_slice::FetchSlice;
use crate::heads::Head;
use crate::in_memory::{in_memory_only, is_required};
use crate::index::AbortedTransaction;
use crate::log_view::{Isolation, LogView, Mark};
use crate::segment::Segment;

/// What a lookup by timestamp opens of a batch where others wait for the thread: beyond that, it is left
/// to one that may take its time, as if it had to wait for the disk.
const OPENED_IN_PASSING_MAX: usize = 4 << 20;

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadFrom {
    pub offset: Offset,
    pub isolation: Isolation,
    pub max_bytes: usize,
    /// Return the first batch even if it is larger than `max_bytes`.
    pub at_least_one: bool,
    /// Also find the aborted transactions in the slice (for `Isolation::LastStable`).
    pub with_aborted: bool,
}

/// What a read found.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    /// `None`: nothing to read now, or not even the first batch fits.
    pub slice: Option<FetchSlice>,
    pub aborted: Vec<AbortedTransaction>,
}

/// What ListOffsets can ask of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    Earliest,
    /// The end, as far as the isolation lets one see.
    Latest,
    /// The first record with the largest timestamp.
    MaxTimestamp,
    /// The first record with at least this timestamp.
    At(i64),
}

/// An answer to an `OffsetQuery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// -1 where the query was not about time.
    pub timestamp: i64,
    pub offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
}

impl LogView {
    /// As `read`, as long as all that must be looked at is in memory; `None`: it is not. The
    /// slice itself may be elsewhere still.
    pub fn read_in_memory(&self, from: ReadFrom) -> Option<Result<Fetched, NotDone>> {
        match in_memory_only(|| self.read(from)) {
            Err(NotDone::Fault(Fault::NotInMemory { .. })) => None,
            done => Some(done),
        }
    }

    /// The batches from the one that holds `from.offset` on, out of one segment. The slice may end
    /// in the middle of a batch, as Kafka's may.
    ///
    /// Refused with `OFFSET_OUT_OF_RANGE` below the start and above the end.
    pub fn read(&self, from: ReadFrom) -> Result<Fetched, NotDone> {
        if from.offset < self.start() || from.offset > self.end() {
            return Err(self.out_of_range(from.offset).into());
        }
        let bound = self.mark(from.isolation);
        if from.offset >= bound.offset {
            return Ok(Fetched::default());
        }
        if from.max_bytes == 0 && !from.at_least_one {
            return Ok(Fetched::default());
        }
        for at in self.segment_of(from.offset)..self.segments.len() {
            let Some(segment) = self.segments.get(at) else {
                break;
            };
            let Some(limit) = self.limit_in(at, segment, bound)? else {
                break;
            };
            let Some(first) = segment.find(from.offset)? else {
                continue;
            };
            if first.position >= limit {
                break;
            }
            return self.slice(at, segment, &first, limit, from);
        }
        Ok(Fetched::default())
    }

    fn slice(
        &self,
        at: usize,
        segment: &Segment,
        first: &Head,
        limit: u32,
        from: ReadFrom,
    ) -> Result<Fetched, NotDone> {
        let size = first.size as usize;
        if from.max_bytes < size && !from.at_least_one {
            return Ok(Fetched::default());
        }
        let length = ((limit - first.position) as usize).min(from.max_bytes.max(size));
        let aborted = if from.with_aborted {
            self.aborted(at, segment, first, length, from)?
        } else {
            Vec::new()
        };
        self.note_read((segment.base(), first.position));
        let file = segment.log_file().get()?;
        let slice = FetchSlice::new(file, first.position.into(), length);
        Ok(Fetched {
            slice: Some(slice),
            aborted,
        })
    }

    /// The aborted transactions that touch the slice. Like Kafka, the end of the slice is taken
    /// from the offset index, which may name one or two transactions too many.
    fn aborted(
        &self,
        at: usize,
        segment: &Segment,
        first: &Head,
        length: usize,
        from: ReadFrom,
    ) -> Result<Vec<AbortedTransaction>, Fault> {
        let next_base = self.segments.get(at + 1).map(|next| next.base());
        let bound = self.bound(from.isolation);
        let end_position = u64::from(first.position) + length as u64;
        let end = segment
            .offset_behind(end_position)?
            .or(next_base)
            .map_or(bound, |end| end.min(bound));
        let mut found = Vec::new();
        for segment in self.segments.iter().skip(at) {
            if segment.txns.collect(from.offset, end, &mut found)? {
                break;
            }
        }
        Ok(found)
    }

    /// As `find_offset`, as long as all that must be looked at is in memory; `None`: it is not.
    pub fn find_offset_in_memory(
        &self,
        query: OffsetQuery,
        isolation: Isolation,
    ) -> Option<Result<Option<FoundOffset>, NotDone>> {
        match in_memory_only(|| self.find_offset(query, isolation)) {
            Err(NotDone::Fault(Fault::NotInMemory { .. })) => None,
            done => Some(done),
        }
    }

    /// Answers a query; `None` where there is no such record below the isolation's bound.
    pub fn find_offset(
        &self,
        query: OffsetQuery,
        isolation: Isolation,
    ) -> Result<Option<FoundOffset>, NotDone> {
        let bound = self.bound(isolation);
        let untimed = |offset, leader_epoch| FoundOffset {
            timestamp: -1,
            offset,
            leader_epoch,
        };
        match query {
            OffsetQuery::Earliest => {
                let earliest = self.epochs().earliest();
                let epoch = earliest.filter(|first| first.start_offset <= self.start());
                Ok(Some(untimed(self.start(), epoch.map(|first| first.epoch))))
            }
            OffsetQuery::Latest => Ok(Some(untimed(bound, self.epochs().latest_epoch()))),
            OffsetQuery::MaxTimestamp => Ok(self
                .find_max_timestamp()?
                .filter(|found| found.offset < bound)),
            OffsetQuery::At(timestamp) => Ok(self
                .find_timestamp(timestamp)?
                .filter(|found| found.offset < bound)),
        }
    }

    /// In the first segment that reaches `timestamp`, the first record that does.
    fn find_timestamp(&self, timestamp: i64) -> Result<Option<FoundOffset>, Fault> {
        for segment in self.segments.iter() {
            if segment.age_mark_ms()? >= timestamp {
                return find_in(segment, timestamp, self.start());
            }
        }
        Ok(None)
    }

    fn find_max_timestamp(&self) -> Result<Option<FoundOffset>, Fault> {
        let mut newest: Option<(&Arc<Segment>, i64, Offset)> = None;
        for segment in self.segments.iter() {
            let largest = segment.largest()?;
            if newest.is_none_or(|(_, timestamp, _)| largest.timestamp > timestamp) {
                newest = Some((segment, largest.timestamp, largest.offset));
            }
        }
        let Some((segment, timestamp, offset)) = newest else {
            return Ok(None);
        };
        for head in segment.heads(segment.index_position(offset)?) {
            let head = head?;
            if head.max_timestamp == timestamp {
                // As Kafka has it, magic 0 has no times, and so no largest.
                return match head.magic {
                    0 => Ok(None),
                    _ => first_at(segment, &head, timestamp, Offset::MIN),
                };
            }
        }
        Ok(None)
    }

    /// The last segment whose base is at most `offset`.
    pub(crate) fn segment_of(&self, offset: Offset) -> usize {
        self.segments
            .partition_point(|segment| segment.base() <= offset)
            .saturating_sub(1)
    }

    /// Up to which position of this segment a reader may see; `None`: nothing of it.
    fn limit_in(&self, at: usize, segment: &Segment, bound: Mark) -> Result<Option<u32>, Fault> {
        if let Some((base, position)) = bound.place {
            return Ok(match segment.base().cmp(&base) {
                std::cmp::Ordering::Less => Some(segment.size()),
                std::cmp::Ordering::Equal => Some(position),
                std::cmp::Ordering::Greater => None,
            });
        }
        let next = self.segments.get(at + 1);
        if next.is_some_and(|next| next.base() <= bound.offset) {
            return Ok(Some(segment.size()));
        }
        if segment.base() >= bound.offset {
            return Ok(None);
        }
        let found = segment.find(bound.offset)?;
        Ok(Some(found.map_or(segment.size(), |head| head.position)))
    }

    fn out_of_range(&self, offset: Offset) -> Refused {
        let (start, end) = (self.start(), self.end());
        let message = format!("offset {offset} is not in the log, which spans [{start}, {end}]");
        Refused::new(Refusal::OffsetOutOfRange, message)
    }
}

/// The first record of a segment at or behind `start` with at least this timestamp.
fn find_in(segment: &Segment, timestamp: i64, start: Offset) -> Result<Option<FoundOffset>, Fault> {
    let indexed = segment.times.lookup(timestamp)?;
    let position = segment.index_position(indexed.offset.max(start))?;
    for head in segment.heads(position) {
        let head = head?;
        if head.max_timestamp >= timestamp
            && head.last_offset >= start
            && let Some(found) = first_at(segment, &head, timestamp, start)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The first record of a batch with at least this timestamp, at or behind `start`.
fn first_at(
    segment: &Segment,
    head: &Head,
    timestamp: i64,
    start: Offset,
) -> Result<Option<FoundOffset>, Fault> {
    let leader_epoch = Some(head.leader_epoch).filter(|epoch| *epoch >= 0);
    let corrupt = |why| Fault::corrupt_batch(segment.path(), head.position, &why);
    let bytes = segment.read_batch(head)?;
    let limit = match is_required() {
        true => OPENED_IN_PASSING_MAX,
        false => OPENED_BYTES_MAX,
    };
    let found = match head.magic {
        ..2 => first_of_legacy(&bytes, limit, timestamp, start),
        _ => first_of(&bytes, limit, timestamp, start),
    };
    match found {
        Ok(found) => Ok(found.map(|(timestamp, offset)| FoundOffset {
            timestamp,
            offset,
            leader_epoch,
        })),
        Err(CorruptBatch::Compression(BadCompression::TooLarge { .. })) if is_required() => {
            Err(Fault::NotInMemory {
                path: segment.path().to_owned(),
            })
        }
        Err(why) => Err(corrupt(why)),
    }
}

/// Time and offset of a record.
type Found = Option<(i64, Offset)>;

fn first_of(
    bytes: &[u8],
    limit: usize,
    timestamp: i64,
    start: Offset,
) -> Result<Found, CorruptBatch> {
    let batch = Batch::parse(bytes)?;
    let append_time = match batch.timestamp_kind() {
        TimestampKind::CreateTime => None,
        TimestampKind::LogAppendTime => Some(batch.max_timestamp()),
    };
    let mut found = None;
    scan_until(batch, limit, |record| {
        let time = append_time.unwrap_or(record.timestamp);
        let offset = batch
            .base_offset()
            .saturating_add(i64::from(record.offset_delta));
        if time >= timestamp && offset >= start {
            found = Some((time, offset));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The same of a message of an old format.
fn first_of_legacy(
    bytes: &[u8],
    limit: usize,
    timestamp: i64,
    start: Offset,
) -> Result<Found, CorruptBatch> {
    let payload = LegacyBatch::parse(bytes)?.payload(limit)?;
    for record in payload.records() {
        let record = record?;
        if record.timestamp >= timestamp && record.offset >= start {
            return Ok(Some((record.timestamp, record.offset)));
        }
    }
    Ok(None)
}

//! The records of a batch: the walk over their layout, and the view of one record.
//!
//! There is one description of the layout, [`shape`], used over a slice that holds everything and
//! over a window on a stream that does not.

use std::borrow::Cow;
use std::ops::Range;

use super::{Batch, CorruptBatch, TimestampKind};
use crate::compress::{Codec, decompress};

/// The opened records of a batch.
#[derive(Debug, Clone)]
pub struct Payload<'a> {
    bytes: Cow<'a, [u8]>,
    frame: Frame,
}

/// What of the header is needed to read a record.
#[derive(Debug, Clone, Copy)]
struct Frame {
    base_offset: i64,
    base_timestamp: i64,
    /// The one time of all records, if the leader set it.
    append_time: Option<i64>,
    n_records: i32,
}

impl<'a> Payload<'a> {
    pub(super) fn open(batch: Batch<'a>, limit: usize) -> Result<Self, CorruptBatch> {
        let bytes = match batch.codec()? {
            Codec::None => Cow::Borrowed(batch.body()),
            codec => {
                let mut opened = Vec::new();
                decompress(codec, batch.body(), limit, &mut opened)?;
                Cow::Owned(opened)
            }
        };
        let append_time = match batch.timestamp_kind() {
            TimestampKind::CreateTime => None,
            TimestampKind::LogAppendTime => Some(batch.max_timestamp()),
        };
        let frame = Frame {
            base_offset: batch.base_offset(),
            base_timestamp: batch.base_timestamp(),
            append_time,
            n_records: batch.n_records(),
        };
        Ok(Self { bytes, frame })
    }

    /// The records as they lie there, uncompressed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Walk the records. A record that breaks the layout, or a wrong count, is the last item.
    pub fn records(&self) -> Records<'_> {
        Records {
            source: Slice {
                bytes: &self.bytes,
                position: 0,
            },
            frame: self.frame,
            index: 0,
        }
    }
}

/// One record, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: i64,
    pub offset_delta: i32,
    /// What a consumer sees: the append time if the leader set it, else the producer's.
    pub timestamp: i64,
    /// The producer's, as encoded; the metadata log insists on zero.
    pub timestamp_delta: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
    /// All bytes of the record, its length field included.
    pub size: usize,
}

/// The headers of a record, in order, duplicates included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    /// Walked once already by [`shape`], so iteration cannot fail.
    bytes: &'a [u8],
    n: usize,
}

/// One header. Kafka's key is text, but nobody checks it on the way in: `key_text` replaces what
/// is no UTF-8, as Java does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

impl<'a> RecordHeader<'a> {
    pub fn key_text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.key)
    }
}

impl<'a> Headers<'a> {
    pub fn len(self) -> usize {
        self.n
    }

    pub fn is_empty(self) -> bool {
        self.n == 0
    }

    pub fn iter(self) -> impl ExactSizeIterator<Item = RecordHeader<'a>> + Clone {
        let mut source = Slice {
            bytes: self.bytes,
            position: 0,
        };
        (0..self.n).map(move |_| {
            // These bytes were walked before, so the shape is always there.
            let (key, value) = header_shape(&mut source, usize::MAX).unwrap_or_default();
            RecordHeader {
                key: source.slice(&key),
                value: value.map(|range| source.slice(&range)),
            }
        })
    }
}

/// The records of a [`Payload`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    source: Slice<'a>,
    frame: Frame,
    index: i32,
}

impl<'a> Records<'a> {
    fn read(&mut self) -> Result<Record<'a>, &'static str> {
        let shape = shape(&mut self.source)?;
        let frame = self.frame;
        let slice = |range: &Range<usize>| self.source.slice(range);
        Ok(Record {
            offset: frame
                .base_offset
                .saturating_add(i64::from(shape.offset_delta)),
            offset_delta: shape.offset_delta,
            timestamp: frame
                .append_time
                .unwrap_or_else(|| frame.base_timestamp.wrapping_add(shape.timestamp_delta)),
            timestamp_delta: shape.timestamp_delta,
            key: shape.key.as_ref().map(slice),
            value: shape.value.as_ref().map(slice),
            headers: Headers {
                bytes: slice(&shape.headers),
                n: shape.n_headers,
            },
            size: shape.size,
        })
    }

    /// After the last record: does the header's count fit what was there?
    fn check_end(&mut self) -> Option<CorruptBatch> {
        let claimed = self.frame.n_records;
        let is_over = self.source.position >= self.source.bytes.len();
        self.finish();
        if claimed < 0 {
            Some(CorruptBatch::Count {
                claimed,
                why: "a count is not negative",
            })
        } else if !is_over {
            Some(CorruptBatch::Count {
                claimed,
                why: "bytes are left behind the last",
            })
        } else {
            None
        }
    }

    fn finish(&mut self) {
        self.source.position = self.source.bytes.len();
        self.frame.n_records = 0;
        self.index = 0;
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, CorruptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.frame.n_records {
            return self.check_end().map(Err);
        }
        match self.read() {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(why) => {
                let index = self.index;
                self.finish();
                Some(Err(CorruptBatch::Record { index, why }))
            }
        }
    }
}

/// Where the parts of a record lie, as positions in its source.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) size: usize,
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Option<Range<usize>>,
    pub(super) headers: Range<usize>,
    pub(super) n_headers: usize,
}

/// Bytes to walk: all at hand, or arriving.
pub(super) trait Source {
    /// What goes wrong when bytes are asked for: nothing but the end, or the stream's own failure.
    type Failure: From<&'static str>;

    /// How many bytes were passed.
    fn position(&self) -> usize;

    /// The next bytes: as many as the longest number has, unless the end is nearer.
    fn window(&mut self) -> Result<&[u8], Self::Failure>;

    /// Pass `n` bytes, all of which must exist.
    fn skip(&mut self, n: usize) -> Result<(), Self::Failure>;
}

pub(super) const NUMBER_LEN_MAX: usize = 10;
const ENDS_EARLY: &str = "ends before it should";

/// Walk one record, checking every length against the record's own.
pub(super) fn shape<S: Source>(source: &mut S) -> Result<Shape, S::Failure> {
    let start = source.position();
    let length = length(varint(source)?).ok_or("has a negative length")?;
    let body = source.position();
    // One byte each for attributes, time, offset, key, value and header count.
    if length < 6 {
        return Err("is shorter than any record".into());
    }
    let end = body.checked_add(length).ok_or("has an impossible length")?;
    source.skip(1)?;
    let timestamp_delta = varlong(source)?;
    let offset_delta = varint(source)?;
    let key = field(source, end)?;
    let value = field(source, end)?;
    let n_headers = length_of_headers(source, end)?;
    let headers = source.position();
    for _ in 0..n_headers {
        header_shape(source, end)?;
    }
    if source.position() != end {
        return Err("has another length than its fields".into());
    }
    let size = end - start;
    Ok(Shape {
        size,
        timestamp_delta,
        offset_delta,
        key,
        value,
        headers: headers..end,
        n_headers,
    })
}

/// Each header has at least two bytes, so their number is bounded before they are walked.
fn length_of_headers<S: Source>(source: &mut S, end: usize) -> Result<usize, S::Failure> {
    let n = length(varint(source)?).ok_or("has a negative number of headers")?;
    if n > end.saturating_sub(source.position()) / 2 {
        return Err("has more headers than bytes".into());
    }
    Ok(n)
}

type HeaderShape = (Range<usize>, Option<Range<usize>>);

fn header_shape<S: Source>(source: &mut S, end: usize) -> Result<HeaderShape, S::Failure> {
    let key = field(source, end)?.ok_or("has a header without a key")?;
    let value = field(source, end)?;
    Ok((key, value))
}

/// A length and as many bytes; -1 is null. (Java takes any negative length of a key or a value for
/// null; so do we.)
fn field<S: Source>(source: &mut S, end: usize) -> Result<Option<Range<usize>>, S::Failure> {
    let Some(length) = length(varint(source)?) else {
        return Ok(None);
    };
    let start = source.position();
    if length > end.saturating_sub(start) {
        return Err("has a field longer than itself".into());
    }
    source.skip(length)?;
    Ok(Some(start..start + length))
}

fn length(claimed: i32) -> Option<usize> {
    usize::try_from(claimed).ok()
}

fn varint<S: Source>(source: &mut S) -> Result<i32, S::Failure> {
    let (raw, n) = leb128(source.window()?, 5)?;
    source.skip(n)?;
    // Bits beyond the 32nd are dropped, as Java's reader drops them.
    let raw = raw as u32;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

fn varlong<S: Source>(source: &mut S) -> Result<i64, S::Failure> {
    let (raw, n) = leb128(source.window()?, NUMBER_LEN_MAX)?;
    source.skip(n)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[inline]
fn leb128(window: &[u8], len_max: usize) -> Result<(u64, usize), &'static str> {
    let mut raw = 0_u64;
    for (index, byte) in window.iter().take(len_max).enumerate() {
        raw |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((raw, index + 1));
        }
    }
    Err(if window.len() < len_max {
        ENDS_EARLY
    } else {
        "has a number that does not end"
    })
}

/// The source that has everything.
#[derive(Debug, Clone)]
pub(super) struct Slice<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) position: usize,
}

impl<'a> Slice<'a> {
    fn slice(&self, range: &Range<usize>) -> &'a [u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

impl Source for Slice<'_> {
    type Failure = &'static str;

    #[inline]
    fn position(&self) -> usize {
        self.position
    }

    #[inline]
    fn window(&mut self) -> Result<&[u8], &'static str> {
        self.bytes.get(self.position..).ok_or(ENDS_EARLY)
    }

    #[inline]
    fn skip(&mut self, n: usize) -> Result<(), &'static str> {
        if n > self.bytes.len() - self.position {
            return Err(ENDS_EARLY);
        }
        self.position += n;
        Ok(())
    }
}

//! Walk every record of a batch without keeping any: what a leader does with each batch it takes.
//!
//! Compressed records pass through a small window, so that a batch costs the memory of that window
//! whatever it decompresses to.

use std::cell::Cell;
use std::ops::ControlFlow;

use super::record::{NUMBER_LEN_MAX, Shape, Slice, Source, shape};
use super::{Batch, CorruptBatch};
use crate::compress::{BadCompression, Codec, Opened, open};

/// What the walk tells of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordShape {
    pub index: i32,
    pub offset_delta: i32,
    /// The producer's: base timestamp plus delta, whatever the batch's timestamp kind.
    pub timestamp: i64,
    pub has_key: bool,
}

/// Walk all records, calling `seen` for each, reading at most `limit` decompressed bytes.
///
/// The layout, the claimed count and the absence of surplus bytes are checked; returns how many
/// bytes the records have uncompressed.
pub fn scan(
    batch: Batch<'_>,
    limit: usize,
    mut seen: impl FnMut(RecordShape),
) -> Result<usize, CorruptBatch> {
    scan_until(batch, limit, |record| {
        seen(record);
        ControlFlow::Continue(())
    })
}

/// As [`scan`], until `seen` has seen enough: what follows is neither opened nor checked.
pub fn scan_until(
    batch: Batch<'_>,
    limit: usize,
    seen: impl FnMut(RecordShape) -> ControlFlow<()>,
) -> Result<usize, CorruptBatch> {
    match batch.codec()? {
        Codec::None => walk(
            batch,
            &mut Slice {
                bytes: batch.body(),
                position: 0,
            },
            seen,
        ),
        codec => open(codec, batch.body(), limit, |stream| {
            walk(batch, &mut Window::over(stream), seen)
        })?,
    }
}

fn walk<S: Source>(
    batch: Batch<'_>,
    source: &mut S,
    mut seen: impl FnMut(RecordShape) -> ControlFlow<()>,
) -> Result<usize, CorruptBatch>
where
    Failure: From<S::Failure>,
{
    let claimed = batch.n_records();
    if claimed < 0 {
        return Err(CorruptBatch::Count {
            claimed,
            why: "a count is not negative",
        });
    }
    let base_timestamp = batch.base_timestamp();
    for index in 0..claimed {
        let shape: Shape = shape(source).map_err(|failure| failed(index, failure.into()))?;
        let record = RecordShape {
            index,
            offset_delta: shape.offset_delta,
            timestamp: base_timestamp.wrapping_add(shape.timestamp_delta),
            has_key: shape.key.is_some(),
        };
        if seen(record).is_break() {
            return Ok(source.position());
        }
    }
    let rest = source
        .window()
        .map_err(|failure| failed(claimed, failure.into()))?;
    if !rest.is_empty() {
        return Err(CorruptBatch::Count {
            claimed,
            why: "bytes are left behind the last",
        });
    }
    Ok(source.position())
}

/// A record that breaks the layout, or the stream under it.
#[derive(Debug)]
pub(super) enum Failure {
    Layout(&'static str),
    Stream(BadCompression),
}

impl From<&'static str> for Failure {
    fn from(why: &'static str) -> Self {
        Self::Layout(why)
    }
}

impl From<BadCompression> for Failure {
    fn from(why: BadCompression) -> Self {
        Self::Stream(why)
    }
}

fn failed(index: i32, failure: Failure) -> CorruptBatch {
    match failure {
        Failure::Layout(why) => CorruptBatch::Record { index, why },
        Failure::Stream(why) => CorruptBatch::Compression(why),
    }
}

/// How much of a stream is held at a time: a block of lz4 (64 KiB) is opened straight into it,
/// behind the few bytes of a number that its block before had left.
const WINDOW_LEN: usize = 64 * 1024 + NUMBER_LEN_MAX;

thread_local! {
    /// One window a thread, kept: making it anew for each small batch would cost more than the walk.
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A stream seen through a window that moves on.
struct Window<'s, 'a> {
    stream: &'s mut Opened<'a>,
    buffer: Vec<u8>,
    /// What is held and not passed: `start ≤ end ≤ buffer.len()`.
    start: usize,
    end: usize,
    /// Bytes that left the buffer, plus `start`, is the position.
    n_gone: usize,
    is_over: bool,
}

impl<'s, 'a> Window<'s, 'a> {
    fn over(stream: &'s mut Opened<'a>) -> Self {
        let mut buffer = KEPT.take();
        buffer.resize(WINDOW_LEN, 0);
        Self {
            stream,
            buffer,
            start: 0,
            end: 0,
            n_gone: 0,
            is_over: false,
        }
    }

    fn n_held(&self) -> usize {
        self.end - self.start
    }

    /// Move what is held to the front and read on, until `least` bytes are held or the end comes.
    fn fill(&mut self, least: usize) -> Result<(), BadCompression> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.n_gone += self.start;
        self.end -= self.start;
        self.start = 0;
        while self.end < least && !self.is_over {
            let n = self
                .stream
                .read(self.buffer.get_mut(self.end..).unwrap_or_default())?;
            self.end += n;
            self.is_over = n == 0;
        }
        Ok(())
    }
}

impl Drop for Window<'_, '_> {
    fn drop(&mut self) {
        KEPT.set(std::mem::take(&mut self.buffer));
    }
}

impl Source for Window<'_, '_> {
    type Failure = Failure;

    fn position(&self) -> usize {
        self.n_gone + self.start
    }

    #[inline]
    fn window(&mut self) -> Result<&[u8], Failure> {
        if self.n_held() < NUMBER_LEN_MAX && !self.is_over {
            self.fill(NUMBER_LEN_MAX)?;
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    #[inline]
    fn skip(&mut self, mut n: usize) -> Result<(), Failure> {
        while n > self.n_held() {
            n -= self.n_held();
            self.start = self.end;
            self.fill(1)?;
            if self.n_held() == 0 {
                return Err(Failure::Layout("ends before it should"));
            }
        }
        self.start += n;
        Ok(())
    }
}

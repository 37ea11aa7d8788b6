//! A segment that reaches further than its indexes can say becomes several.
//!
//! Brokers before 2.0 let compaction merge segments whose offsets lie further apart than the 31 bits
//! of an index entry. As in Kafka, each new segment holds what is in reach of its first batch, and is
//! named by it. They are written as `.cleaned`, synced, and named `.swap` from the highest one down;
//! from there on `leftovers` carries the replacement through, now or after a crash.
//!
//! Indexes are not made here: a segment without is read when it is opened, and gets all of them, the
//! index of aborted transactions included (which Kafka's new segments lack).

use std::path::Path;

use ottla_protocol::Offset;
use ottla_protocol::batch::OPENED_BYTES_MAX;
use ottla_protocol::batch::legacy::LegacyBatch;

use crate::disk::{Disk, DiskFile};
use crate::error::Fault;
use crate::file_names::{FileKind, Stage, staged_file};
use crate::heads::{Head, Heads};
use crate::open_files::LazyFile;
use crate::segment::Segment;

/// What is copied at a time.
const COPY_BYTES: u32 = 1 << 20;

/// A stretch of the old file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    base: Offset,
    start: u32,
    end: u32,
}

/// Whether an index of a segment with this base can name this batch.
pub(crate) fn is_in_reach(base: Offset, head: &Head) -> bool {
    head.last_offset
        .checked_sub(base)
        .is_some_and(|relative| relative <= i64::from(i32::MAX))
}

/// Whether the batch, which is out of reach, is one of many that were merged, and not a wrong number:
/// offsets go on to grow behind it, and stay below the next segment.
pub(crate) fn is_overflow(
    segment: &Segment,
    far: &Head,
    next: Option<Offset>,
) -> Result<bool, Fault> {
    let mut last = far.base_offset - 1;
    for head in segment.heads(far.position) {
        let head = match head {
            // What is torn is cut, once this is split.
            Err(Fault::Corrupt { .. }) => break,
            head => head?,
        };
        let is_below_next = next.is_none_or(|next| head.last_offset < next);
        if head.base_offset <= last || !is_below_next {
            return Ok(false);
        }
        last = head.last_offset;
    }
    Ok(true)
}

/// Writes the new segments, up to the point from which on they are the log. The directory is to be
/// opened again.
pub(crate) fn split(disk: &Disk, directory: &Path, segment: &Segment) -> Result<(), Fault> {
    let parts = parts(segment)?;
    tracing::warn!(
        "{}: its offsets are further apart than an index can say; it is split into {}",
        segment.path().display(),
        parts.len()
    );
    let name = |part: &Part, stage| staged_file(directory, part.base, FileKind::Log, stage);
    let modified_ms = segment.modified_ms()?;
    for part in &parts {
        let target = disk.create(&name(part, Stage::Cleaned))?;
        copy(&segment.log_file().get()?, *part, &target)?;
        target.set_modified_ms(modified_ms)?;
        target.sync_all()?;
    }
    disk.sync_directory(directory)?;
    for part in parts.iter().rev() {
        disk.rename(&name(part, Stage::Cleaned), &name(part, Stage::Swap))?;
    }
    disk.sync_directory(directory)
}

fn parts(segment: &Segment) -> Result<Vec<Part>, Fault> {
    let mut parts: Vec<Part> = Vec::new();
    let mut last = segment.base() - 1;
    for head in segment.heads(0) {
        let head = match head {
            Err(Fault::Corrupt { .. }) => break,
            head => head?,
        };
        match parts.last_mut() {
            Some(part) if is_in_reach(part.base, &head) => {}
            _ => {
                // Whatever the batch says, it is in reach of the base, or there would be no end to it.
                let lowest = head.last_offset.saturating_sub(i32::MAX.into());
                let first = first_offset(segment.log_file(), &head)?;
                parts.push(Part {
                    base: first.max(lowest).max(last.saturating_add(1)),
                    start: head.position,
                    end: 0,
                });
            }
        }
        last = last.max(head.last_offset);
        if let Some(part) = parts.last_mut() {
            part.end = head.position + head.size;
        }
    }
    if let Some(last) = parts.last_mut() {
        last.end = segment.size();
    }
    Ok(parts)
}

/// As Kafka has it: of a compressed message of an old format the offset of the first one in it.
fn first_offset(file: &LazyFile, head: &Head) -> Result<Offset, Fault> {
    if head.magic >= 2 {
        return Ok(head.base_offset);
    }
    let mut bytes = vec![0; head.size as usize];
    let n_read = file.with(|file| file.read_at(&mut bytes, u64::from(head.position)))?;
    bytes.truncate(n_read);
    let payload = LegacyBatch::parse(&bytes).and_then(|it| it.payload(OPENED_BYTES_MAX));
    let first = payload
        .ok()
        .and_then(|it| Some(it.records().next()?.ok()?.offset));
    Ok(first.unwrap_or(head.base_offset).min(head.last_offset))
}

/// By what a segment that this file was split into would be named.
pub(crate) fn base_of_first_part(file: &LazyFile, size: u32) -> Result<Option<Offset>, Fault> {
    match Heads::new(file, 0, size).next() {
        None | Some(Err(Fault::Corrupt { .. })) => Ok(None),
        Some(head) => Ok(Some(first_offset(file, &head?)?)),
    }
}

fn copy(source: &DiskFile, part: Part, target: &DiskFile) -> Result<(), Fault> {
    let mut bytes = vec![0; COPY_BYTES.min(part.end - part.start) as usize];
    let mut position = part.start;
    while position < part.end {
        let n_bytes = bytes.len().min((part.end - position) as usize);
        let chunk = bytes.get_mut(..n_bytes).unwrap_or_default();
        let n_read = source.read_at(chunk, u64::from(position))?;
        if n_read == 0 {
            let why = format!("it ends at {position}, before {}", part.end);
            return Err(Fault::corrupt(source.path(), why));
        }
        let read = chunk.get(..n_read).unwrap_or_default();
        target.write_all_at(read, u64::from(position - part.start))?;
        position += n_read as u32;
    }
    Ok(())
}

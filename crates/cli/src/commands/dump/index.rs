//! `.index` and `.timeindex` files: their entries, and whether they agree with the log.
//!
//! An entry of zeros behind the first one ends the index: Kafka sets room aside, and a crash leaves
//! it there.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use ottla_protocol::batch::{Batch, OPENED_BYTES_MAX};
use serde_json::json;

use super::batches::BatchFile;
use super::{Args, Findings, base_offset, objects};
use crate::output::Output;

const OFFSET_ENTRY: usize = 8;
const TIME_ENTRY: usize = 12;
const NO_TIMESTAMP: i64 = -1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OffsetEntry {
    offset: i64,
    position: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TimeEntry {
    timestamp: i64,
    offset: i64,
}

pub(super) fn offsets(
    args: &Args,
    path: &Path,
    output: &mut Output,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let base = base_offset(path)?;
    let bytes = std::fs::read(path)?;
    let entries = offset_entries(&bytes, base);
    if entries.is_empty() {
        let json = objects::of_file(path, json!({ "isEmpty": true }));
        output.say(format_args!("{} is empty.", path.display()), &json)?;
        return Ok(());
    }
    if args.index_sanity_check {
        expect_whole(&bytes, OFFSET_ENTRY)?;
        let last = entries.last().map_or(base, |entry| entry.offset);
        ensure!(
            last >= base,
            "the last entry is of offset {last}, before {base}"
        );
        return say_sane(path, output);
    }
    let mut log = open_log(path)?;
    let mut wrong = Vec::new();
    for entry in used(&entries, |entry| entry.offset == base) {
        log.window(entry.position.into(), args.max_message_size)?;
        let found = log
            .next()?
            .and_then(|placed| Some(placed.batch()?.last_offset()));
        if found != Some(entry.offset) {
            wrong.push(format!(
                "  Index offset: {}, log offset: {}",
                entry.offset,
                found.unwrap_or(-1)
            ));
        }
        if !args.verify_index_only {
            let OffsetEntry { offset, position } = entry;
            let json = json!({ "offset": offset, "position": position });
            output.say(
                format_args!("offset: {offset} position: {position}"),
                &objects::of_file(path, json),
            )?;
        }
    }
    findings.add("Mismatches in :", path, wrong)
}

pub(super) fn times(
    args: &Args,
    path: &Path,
    output: &mut Output,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let base = base_offset(path)?;
    let bytes = std::fs::read(path)?;
    let entries = time_entries(&bytes, base);
    if args.index_sanity_check {
        expect_whole(&bytes, TIME_ENTRY)?;
        if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
            ensure!(
                last.offset >= base,
                "the last entry is of offset {}, before {base}",
                last.offset
            );
            ensure!(
                last.timestamp >= first.timestamp,
                "the last entry is of time {}, before the first",
                last.timestamp
            );
        }
        return say_sane(path, output);
    }
    let offsets = std::fs::read(path.with_extension("index"))
        .with_context(|| "the offset index beside it cannot be read")?;
    let offsets = offset_entries(&offsets, base);
    let mut log = open_log(path)?;
    let mut previous = NO_TIMESTAMP;
    let (mut mismatched, mut unordered, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for entry in used(&entries, |entry| entry.offset == base) {
        match behind(
            &mut log,
            position_of(&offsets, base, entry.offset),
            entry.offset,
        )? {
            Some((last, newest)) if last == entry.offset => {
                if newest != entry.timestamp {
                    mismatched.push(format!(
                        "  Index timestamp: {}, log timestamp: {newest}",
                        entry.timestamp
                    ));
                }
                if previous >= entry.timestamp {
                    unordered.push(format!(
                        "  Index timestamp: {}, Previously indexed timestamp: {previous}",
                        entry.timestamp
                    ));
                }
            }
            other => missing.push(format!(
                "Indexed offset: {}, found log offset: {}",
                entry.offset,
                other.map_or(-1, |(last, _)| last)
            )),
        }
        if !args.verify_index_only {
            let TimeEntry { timestamp, offset } = entry;
            let json = json!({ "timestamp": timestamp, "offset": offset });
            output.say(
                format_args!("timestamp: {timestamp} offset: {offset}"),
                &objects::of_file(path, json),
            )?;
        }
        previous = entry.timestamp;
    }
    findings.add("Found timestamp mismatch in :", path, mismatched)?;
    findings.add("Found out of order timestamp in :", path, unordered)?;
    findings.add(
        "The following indexed offsets are not found in :",
        path,
        missing,
    )
}

impl Findings {
    fn add(&mut self, what: &str, path: &Path, lines: Vec<String>) -> anyhow::Result<()> {
        if !lines.is_empty() {
            self.is_wrong = true;
            let absolute = std::path::absolute(path)?;
            self.lines.push(format!("{what}{}", absolute.display()));
            self.lines.extend(lines);
        }
        Ok(())
    }
}

fn say_sane(path: &Path, output: &mut Output) -> anyhow::Result<()> {
    let json = objects::of_file(path, json!({ "isSane": true }));
    Ok(output.say(
        format_args!("{} passed sanity check.", path.display()),
        &json,
    )?)
}

fn open_log(index: &Path) -> anyhow::Result<BatchFile> {
    let log = index.with_extension("log");
    BatchFile::open(&log).with_context(|| format!("{} cannot be read", log.display()))
}

/// The first batch from `position` on that reaches `offset`: its last offset, and its newest time.
fn behind(log: &mut BatchFile, position: u64, offset: i64) -> anyhow::Result<Option<(i64, i64)>> {
    log.window(position, u64::MAX)?;
    while let Some(placed) = log.next()? {
        let Some(batch) = placed.batch() else {
            bail!(
                "position {} of the log holds no batch of format 2",
                placed.position
            );
        };
        if batch.last_offset() >= offset {
            return Ok(Some((batch.last_offset(), newest(batch)?)));
        }
    }
    Ok(None)
}

fn newest(batch: Batch<'_>) -> anyhow::Result<i64> {
    let mut newest = NO_TIMESTAMP;
    for record in batch.payload(OPENED_BYTES_MAX)?.records() {
        newest = newest.max(record?.timestamp);
    }
    Ok(newest)
}

/// Where to begin looking for an offset.
fn position_of(entries: &[OffsetEntry], base: i64, offset: i64) -> u64 {
    let used = used(entries, |entry| entry.offset == base);
    let before = used.take_while(|entry| entry.offset <= offset).last();
    before.map_or(0, |entry| entry.position.into())
}

/// Entries up to the room that was never filled.
fn used<E: Copy>(entries: &[E], is_at_base: impl Fn(&E) -> bool) -> impl Iterator<Item = E> {
    let mut place = 0;
    entries.iter().copied().take_while(move |entry| {
        place += 1;
        place == 1 || !is_at_base(entry)
    })
}

fn expect_whole(bytes: &[u8], width: usize) -> anyhow::Result<()> {
    ensure!(
        bytes.len().is_multiple_of(width),
        "its {} bytes are no multiple of the {width} that an entry takes",
        bytes.len()
    );
    Ok(())
}

fn offset_entries(bytes: &[u8], base: i64) -> Vec<OffsetEntry> {
    let (entries, _) = bytes.as_chunks::<OFFSET_ENTRY>();
    let read = |&[a, b, c, d, e, f, g, h]: &[u8; OFFSET_ENTRY]| OffsetEntry {
        offset: base.wrapping_add(i32::from_be_bytes([a, b, c, d]).into()),
        position: u32::from_be_bytes([e, f, g, h]),
    };
    entries.iter().map(read).collect()
}

fn time_entries(bytes: &[u8], base: i64) -> Vec<TimeEntry> {
    let (entries, _) = bytes.as_chunks::<TIME_ENTRY>();
    let read = |&[a, b, c, d, e, f, g, h, i, j, k, l]: &[u8; TIME_ENTRY]| TimeEntry {
        timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        offset: base.wrapping_add(i32::from_be_bytes([i, j, k, l]).into()),
    };
    entries.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_ends_where_its_room_was_never_filled() {
        let bytes: Vec<u8> = [[0, 0], [7, 100], [0, 0], [0, 0]]
            .iter()
            .flatten()
            .flat_map(|n: &u32| n.to_be_bytes())
            .collect();
        let entries = offset_entries(&bytes, 40);
        assert_eq!(entries.len(), 4);
        let offsets: Vec<_> = used(&entries, |e| e.offset == 40)
            .map(|e| e.offset)
            .collect();
        assert_eq!(offsets, [40, 47]);
        assert_eq!(position_of(&entries, 40, 46), 0);
        assert_eq!(position_of(&entries, 40, 47), 100);
        assert!(expect_whole(&bytes, OFFSET_ENTRY).is_ok());
        assert!(expect_whole(&bytes[1..], OFFSET_ENTRY).is_err());
    }
}

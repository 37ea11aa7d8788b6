//! What a crash leaves half done in a partition directory, and what is there once that is resolved.
//!
//! A replacement of segments (compaction, a split) writes `.cleaned` files, renames them to `.swap`
//! once they are whole, and then lets them take the final names. So `.cleaned` is thrown away,
//! `.swap` is carried through, except beside a `.cleaned` at or below it: then its split was not
//! finished.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ottla_protocol::Offset;

use crate::disk::{Disk, Entry};
use crate::error::Fault;
use crate::file_names::{FileKind, OffsetName, Stage, is_of_a_log};
use crate::heads::Heads;
use crate::open_files::LazyFile;
use crate::segment::{Lengths, SEGMENT_BYTES_MAX};
use crate::split::base_of_first_part;

/// The files of one segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SegmentFiles {
    pub(crate) lengths: Lengths,
    pub(crate) has_offsets: bool,
    pub(crate) has_times: bool,
    /// What is reserved behind the end of its log file.
    pub(crate) n_bytes_behind: u64,
}

/// A partition directory without leftovers.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) segments: BTreeMap<Offset, SegmentFiles>,
    pub(crate) snapshots: BTreeSet<Offset>,
    /// Names were changed to get here.
    pub(crate) has_changed: bool,
}

/// Resolves what was half done, then lists.
pub(crate) fn resolve(disk: &Disk, directory: &Path) -> Result<Listed, Fault> {
    let entries = files(disk, directory)?;
    let deleted = remove_deleted(disk, directory, &entries)?;
    let named: Vec<OffsetName> = entries
        .iter()
        .filter_map(|entry| OffsetName::parse(&entry.name))
        .collect();
    let of_stage = |stage| {
        named
            .iter()
            .copied()
            .filter(move |name| name.stage == stage)
    };
    let first_cleaned = of_stage(Stage::Cleaned).map(|name| name.offset).min();
    let (broken, swaps): (Vec<_>, Vec<_>) = of_stage(Stage::Swap)
        .partition(|swap| first_cleaned.is_some_and(|cleaned| swap.offset >= cleaned));
    let unfinished: Vec<OffsetName> = broken.into_iter().chain(of_stage(Stage::Cleaned)).collect();
    for name in &unfinished {
        disk.remove(&directory.join(name.format()))?;
    }
    let finals: Vec<OffsetName> = of_stage(Stage::Final).collect();
    complete_swaps(disk, directory, &swaps, &finals)?;
    let mut listed = list(disk, directory)?;
    listed.has_changed |= deleted || !unfinished.is_empty() || !swaps.is_empty();
    Ok(listed)
}

fn files(disk: &Disk, directory: &Path) -> Result<Vec<Entry>, Fault> {
    let mut entries = disk.list(directory)?;
    entries.retain(|entry| !entry.is_directory);
    Ok(entries)
}

/// The snapshots of the metadata log are not ours to judge.
fn remove_deleted(disk: &Disk, directory: &Path, entries: &[Entry]) -> Result<bool, Fault> {
    let is_deleted = |entry: &&Entry| {
        entry.name.ends_with(Stage::Deleted.suffix())
            && !entry.name.ends_with(".checkpoint.deleted")
    };
    let mut any = false;
    for entry in entries.iter().filter(is_deleted) {
        disk.remove(&directory.join(&entry.name))?;
        any = true;
    }
    Ok(any)
}

/// IMPORTANT: what is replaced is gone for good before its place is taken: once no `.swap` is left,
/// nothing tells that it was.
fn complete_swaps(
    disk: &Disk,
    directory: &Path,
    swaps: &[OffsetName],
    finals: &[OffsetName],
) -> Result<(), Fault> {
    let mut replaced: Option<(Offset, Offset)> = None;
    for swap in swaps.iter().filter(|swap| swap.kind == FileKind::Log) {
        // Nothing may be left in it; the segment that it replaces goes all the same.
        let end = end_of(disk, directory, *swap)?.max(swap.offset.saturating_add(1));
        let (low, high) = replaced.unwrap_or((swap.offset, end));
        replaced = Some((low.min(swap.offset), high.max(end)));
    }
    if let Some((low, high)) = replaced {
        let split = split_into(disk, directory, low, finals)?;
        let is_replaced =
            |old: &&OffsetName| (low..high).contains(&old.offset) || Some(old.offset) == split;
        for old in finals.iter().filter(is_replaced) {
            disk.remove(&directory.join(old.format()))?;
        }
        disk.sync_directory(directory)?;
    }
    for swap in swaps {
        let target = OffsetName::new(swap.offset, swap.kind);
        disk.rename(
            &directory.join(swap.format()),
            &directory.join(target.format()),
        )?;
    }
    if swaps.is_empty() {
        Ok(())
    } else {
        disk.sync_directory(directory)
    }
}

/// The base of the segment of which a split made those from `low` on, if it is still there: it is
/// named by an offset that its first batch need not have.
fn split_into(
    disk: &Disk,
    directory: &Path,
    low: Offset,
    finals: &[OffsetName],
) -> Result<Option<Offset>, Fault> {
    let logs = finals.iter().filter(|old| old.kind == FileKind::Log);
    let Some(before) = logs
        .filter(|old| old.offset < low)
        .max_by_key(|old| old.offset)
    else {
        return Ok(None);
    };
    let file = LazyFile::closed(disk, directory.join(before.format()));
    let size = file
        .with(|file| file.length())?
        .min(u64::from(SEGMENT_BYTES_MAX)) as u32;
    let is_it = base_of_first_part(&file, size)? == Some(low);
    Ok(is_it.then_some(before.offset))
}

/// The offset behind the last batch of a segment that has not got its name yet.
fn end_of(disk: &Disk, directory: &Path, name: OffsetName) -> Result<Offset, Fault> {
    let file = LazyFile::closed(disk, directory.join(name.format()));
    let size = file
        .with(|file| file.length())?
        .min(u64::from(SEGMENT_BYTES_MAX)) as u32;
    let mut end = name.offset;
    for head in Heads::new(&file, 0, size) {
        end = head?.last_offset.saturating_add(1);
    }
    Ok(end)
}

fn list(disk: &Disk, directory: &Path) -> Result<Listed, Fault> {
    let mut listed = Listed::default();
    let mut bases = BTreeSet::new();
    let mut indexes = Vec::new();
    for entry in files(disk, directory)? {
        let Some(name) = OffsetName::parse(&entry.name) else {
            if !is_of_a_log(&entry.name) {
                let path = directory.join(&entry.name);
                tracing::warn!("{}: no file of a log; it is left alone", path.display());
            }
            continue;
        };
        let segment = || -> SegmentFiles { SegmentFiles::default() };
        match name.kind {
            FileKind::ProducerSnapshot => {
                listed.snapshots.insert(name.offset);
                continue;
            }
            FileKind::Log => {
                bases.insert(name.offset);
            }
            _ => indexes.push(name),
        }
        let files = listed.segments.entry(name.offset).or_insert_with(segment);
        match name.kind {
            FileKind::Log => {
                files.lengths.log = entry.n_bytes;
                files.n_bytes_behind = entry.n_bytes_held.saturating_sub(entry.n_bytes);
            }
            FileKind::OffsetIndex => {
                (files.has_offsets, files.lengths.offsets) = (true, entry.n_bytes);
            }
            FileKind::TimeIndex => (files.has_times, files.lengths.times) = (true, entry.n_bytes),
            FileKind::TxnIndex => files.lengths.txns = entry.n_bytes,
            FileKind::ProducerSnapshot => {}
        }
    }
    for orphan in indexes
        .iter()
        .filter(|index| !bases.contains(&index.offset))
    {
        let path = directory.join(orphan.format());
        tracing::warn!("{} belongs to no segment and is removed", path.display());
        disk.remove(&path)?;
        listed.has_changed = true;
    }
    listed.segments.retain(|base, _| bases.contains(base));
    Ok(listed)
}

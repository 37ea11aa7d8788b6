//! What segments and their indexes hold.

use super::*;

/// Batches of a file: position, last offset, largest timestamp.
fn walk(bytes: &[u8]) -> Vec<(u32, i64, i64)> {
    let mut found = Vec::new();
    let mut position = 0;
    while let Ok(header) = Header::parse(&bytes[position..]) {
        if position + header.size() > bytes.len() {
            break;
        }
        found.push((
            position as u32,
            header.last_offset(),
            header.max_timestamp(),
        ));
        position += header.size();
    }
    found
}

/// Every index entry points where it says.
pub(crate) fn inspect(world: &mut World) {
    let directory = world.home().join(format!("{}", partition()));
    let names = |ending: &str| -> BTreeSet<i64> {
        let entries = fs::read_dir(&directory).expect("the partition has a directory");
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| name.strip_suffix(ending)?.parse().ok())
            .collect()
    };
    let bytes_of = |base: i64, ending: &str| {
        fs::read(directory.join(format!("{base:020}{ending}"))).unwrap_or_default()
    };
    let bases = names(".log");
    for ending in [".index", ".timeindex", ".txnindex"] {
        let strays: Vec<_> = names(ending).difference(&bases).copied().collect();
        assert!(strays.is_empty(), "{ending} of no segment: {strays:?}");
    }
    let size_before: u64 = world.log().size();
    let mut size = 0;
    for base in &bases {
        let heads = walk(&bytes_of(*base, ".log"));
        let is_active = bases.last() == Some(base);
        inspect_offsets(*base, &heads, &bytes_of(*base, ".index"));
        inspect_times(*base, &heads, &bytes_of(*base, ".timeindex"), is_active);
        size += heads.len();
        inspect_aborted(world, *base, &heads, &bytes_of(*base, ".txnindex"));
    }
    assert!(
        size > 0 || size_before == 0 || world.sim.is_dead(),
        "the log is empty"
    );
}

fn inspect_offsets(base: i64, heads: &[(u32, i64, i64)], index: &[u8]) {
    assert!(index.len().is_multiple_of(8), "offset index of {base}");
    let mut last = -1;
    for entry in index.chunks_exact(8) {
        let offset = base + i64::from(i32::from_be_bytes(entry[..4].try_into().expect("4 bytes")));
        let position = u32::from_be_bytes(entry[4..].try_into().expect("4 bytes"));
        assert!(
            offset > last,
            "offset index of {base} goes back at {offset}"
        );
        last = offset;
        assert!(
            heads
                .iter()
                .any(|head| (head.0, head.1) == (position, offset)),
            "offset index of {base}: no batch at {position} ends with {offset}"
        );
    }
}

fn inspect_times(base: i64, heads: &[(u32, i64, i64)], index: &[u8], is_active: bool) {
    assert!(index.len().is_multiple_of(12), "time index of {base}");
    let mut last = -1;
    for entry in index.chunks_exact(12) {
        let timestamp = i64::from_be_bytes(entry[..8].try_into().expect("8 bytes"));
        let offset = base + i64::from(i32::from_be_bytes(entry[8..].try_into().expect("4 bytes")));
        assert!(
            timestamp > last,
            "time index of {base} goes back at {timestamp}"
        );
        last = timestamp;
        assert!(
            heads
                .iter()
                .any(|head| (head.1, head.2) == (offset, timestamp)),
            "time index of {base}: no batch ends with {offset} and has {timestamp}"
        );
        assert!(
            heads
                .iter()
                .all(|head| head.1 > offset || head.2 <= timestamp),
            "time index of {base}: {timestamp} is not the largest up to {offset}"
        );
    }
    let largest = heads.iter().map(|head| head.2).max().unwrap_or(-1);
    assert!(
        is_active || last == largest,
        "time index of {base} ends with {last}, the largest timestamp is {largest}"
    );
}

/// Compaction may have left batches of it, but no records.
fn has_records(world: &World, aborted: &AbortedTransaction) -> bool {
    let mut batches = world.model.timeline.batches.iter();
    batches.any(|batch| {
        let is_its = batch.is_transactional
            && !batch.is_control
            && batch.producer.is_some_and(|it| it.0 == aborted.producer_id);
        is_its
            && !batch.records.is_empty()
            && (aborted.first_offset..aborted.last_offset).contains(&batch.base)
    })
}

fn inspect_aborted(world: &World, base: i64, heads: &[(u32, i64, i64)], index: &[u8]) {
    if world.model.timeline.is_gapped {
        return;
    }
    let last = heads.last().map_or(base - 1, |head| head.1);
    let deepest = world.model.deepest_start;
    let number = |entry: &[u8], at: usize| {
        i64::from_be_bytes(entry[at..at + 8].try_into().expect("8 bytes"))
    };
    let found: Vec<AbortedTransaction> = index
        .chunks_exact(34)
        .map(|entry| AbortedTransaction {
            producer_id: number(entry, 2),
            first_offset: number(entry, 10),
            last_offset: number(entry, 18),
            last_stable: number(entry, 26),
        })
        .collect();
    let expected: Vec<_> = world
        .model
        .remembered
        .aborted
        .iter()
        .filter(|aborted| (base..=last).contains(&aborted.last_offset))
        .collect();
    let find = |marker: i64| found.iter().find(|aborted| aborted.last_offset == marker);
    for aborted in &expected {
        let is_known = aborted.first_offset >= deepest;
        let is_whole = aborted.first_offset.min(aborted.last_stable) >= world.model.compacted;
        match find(aborted.last_offset) {
            Some(found) => assert!(
                found == *aborted || !is_known || !is_whole || aborted.last_stable <= deepest,
                "{found:?} should be {aborted:?}"
            ),
            None => assert!(
                !is_known || !has_records(world, aborted),
                "{aborted:?} is not in the index of {base}"
            ),
        }
    }
    // What lies below the start is nobody's business any more, and the model has dropped it.
    for aborted in found.iter().filter(|it| it.last_offset >= deepest) {
        assert!(
            (expected.iter().copied())
                .chain(&world.model.forgotten)
                .any(|it| it.last_offset == aborted.last_offset),
            "{aborted:?} of {base} never happened, but {expected:?} (all that is there: {found:?})"
        );
    }
}

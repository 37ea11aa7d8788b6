//! The small text files: offsets of partitions, and leader epochs.
//! Version line, count line, then exactly that many lines. Replaced whole, never written in place.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use ottla_protocol::epochs::{EpochCache, EpochStart};
use ottla_protocol::{Offset, TopicPartition};

use crate::disk::Disk;
use crate::error::Fault;

/// The only version of these files there ever was.
const VERSION: &str = "0";

/// What `recovery-point-offset-checkpoint` and its siblings hold.
pub type Offsets = BTreeMap<TopicPartition, Offset>;

/// A file that is not there, or empty, holds nothing.
pub(crate) fn read_offsets(disk: &Disk, path: &Path) -> Result<Offsets, Fault> {
    read_lines(disk, path, parse_offset)
}

pub(crate) fn write_offsets(disk: &Disk, path: &Path, offsets: &Offsets) -> Result<(), Fault> {
    disk.replace(path, format_offsets(offsets, "").as_bytes())
}

/// Ends each line of recovery points that we wrote. Kafka reads over it, and writes none.
const OURS: &str = " ";

/// Recovery points, and whether it was us who wrote them: another's promise less.
pub(crate) fn read_points(disk: &Disk, path: &Path) -> Result<(Offsets, bool), Fault> {
    let points: Vec<_> = read_lines(disk, path, |line| {
        Some((parse_offset(line)?, line.ends_with(OURS)))
    })?;
    let are_ours = points.iter().all(|(_, is_ours)| *is_ours);
    Ok((
        points.into_iter().map(|(point, _)| point).collect(),
        are_ours,
    ))
}

pub(crate) fn write_points(
    disk: &Disk,
    path: &Path,
    points: &Offsets,
    are_ours: bool,
) -> Result<(), Fault> {
    let end = if are_ours { OURS } else { "" };
    disk.replace(path, format_offsets(points, end).as_bytes())
}

fn format_offsets(offsets: &Offsets, end: &str) -> String {
    let mut lines = String::new();
    for (partition, offset) in offsets {
        let TopicPartition { topic, partition } = partition;
        let _ = writeln!(lines, "{topic} {partition} {offset}{end}");
    }
    format_lines(offsets.len(), &lines)
}

pub(crate) fn read_epochs(disk: &Disk, path: &Path) -> Result<EpochCache, Fault> {
    let entries: Vec<EpochStart> = read_lines(disk, path, parse_epoch)?;
    Ok(EpochCache::from_entries(entries))
}

pub(crate) fn write_epochs(disk: &Disk, path: &Path, epochs: &EpochCache) -> Result<(), Fault> {
    disk.replace(path, format_epochs(epochs).as_bytes())
}

pub(crate) fn format_epochs(epochs: &EpochCache) -> String {
    let mut lines = String::new();
    for EpochStart {
        epoch,
        start_offset,
    } in epochs.entries()
    {
        let _ = writeln!(lines, "{epoch} {start_offset}");
    }
    format_lines(epochs.entries().len(), &lines)
}

fn parse_offset(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut words = line.split_whitespace();
    let topic: Arc<str> = Arc::from(words.next()?);
    let partition = words.next()?.parse().ok()?;
    let offset = words.next()?.parse().ok()?;
    words
        .next()
        .is_none()
        .then_some((TopicPartition { topic, partition }, offset))
}

fn parse_epoch(line: &str) -> Option<EpochStart> {
    let (epoch, start_offset) = line.split_once(' ')?;
    Some(EpochStart {
        epoch: epoch.parse().ok()?,
        start_offset: start_offset.parse().ok()?,
    })
}

fn read_lines<T, All: FromIterator<T>>(
    disk: &Disk,
    path: &Path,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<All, Fault> {
    let bytes = disk.read_if_exists(path)?.unwrap_or_default();
    let corrupt = |why: String| Fault::corrupt(path, why);
    let text = String::from_utf8(bytes).map_err(|e| corrupt(e.to_string()))?;
    let mut lines = text.lines();
    let Some(version) = lines.next() else {
        return Ok(All::from_iter([]));
    };
    if version.trim() != VERSION {
        return Err(corrupt(format!(
            "its first line is {version:?}, not a version that we know"
        )));
    }
    let claimed = lines.next().unwrap_or_default();
    let Ok(n_entries) = claimed.trim().parse::<usize>() else {
        return Err(corrupt(format!(
            "its second line is {claimed:?}, not a count"
        )));
    };
    let mut n_read = 0;
    let entries = lines.map(|line| {
        n_read += 1;
        parse(line).ok_or_else(|| corrupt(format!("line {} is {line:?}", n_read + 2)))
    });
    let all = entries.collect::<Result<All, Fault>>()?;
    if n_read == n_entries {
        Ok(all)
    } else {
        Err(corrupt(format!(
            "it claims {n_entries} entries and has {n_read}"
        )))
    }
}

fn format_lines(n_entries: usize, lines: &str) -> String {
    format!("{VERSION}\n{n_entries}\n{lines}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn points_say_who_wrote_them() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, path) = (Disk::new(), directory.path().join("x"));
        let points = Offsets::from([(TopicPartition::new("a-b", 3), 17)]);
        for (are_ours, text) in [(true, "0\n1\na-b 3 17 \n"), (false, "0\n1\na-b 3 17\n")] {
            write_points(&disk, &path, &points, are_ours).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(
                read_points(&disk, &path).unwrap(),
                (points.clone(), are_ours)
            );
        }
        fs::write(&path, "0\n2\na 3 17 \na 4 17\n").unwrap();
        assert!(!read_points(&disk, &path).unwrap().1, "not all of them");
    }

    fn read(text: &str) -> Result<Offsets, Fault> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        fs::write(&path, text).unwrap();
        read_offsets(&Disk::new(), &path)
    }

    #[test]
    fn offsets_go_both_ways() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("recovery-point-offset-checkpoint");
        let disk = Disk::new();
        assert!(read_offsets(&disk, &path).unwrap().is_empty());
        let offsets = Offsets::from([
            (TopicPartition::new("a", 10), 7),
            (TopicPartition::new("b.c", 0), 0),
        ]);
        write_offsets(&disk, &path, &offsets).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "0\n2\na 10 7\nb.c 0 0\n"
        );
        assert_eq!(read_offsets(&disk, &path).unwrap(), offsets);
        assert!(
            !disk.exists(
                &directory
                    .path()
                    .join("recovery-point-offset-checkpoint.tmp")
            )
        );
    }

    #[test]
    fn epochs_go_both_ways() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leader-epoch-checkpoint");
        let disk = Disk::new();
        let mut epochs = EpochCache::default();
        epochs.assign(0, 0);
        epochs.assign(4, 17);
        write_epochs(&disk, &path, &epochs).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n2\n0 0\n4 17\n");
        assert_eq!(read_epochs(&disk, &path).unwrap(), epochs);
    }

    #[test]
    fn a_file_that_is_not_whole_is_refused() {
        for (text, why) in [
            ("1\n0\n", "its first line"),
            ("0\n", "its second line"),
            ("0\nx\n", "its second line"),
            ("0\n2\na 0 0\n", "claims 2 entries and has 1"),
            ("0\n1\na 0 0\nb 0 0\n", "claims 1 entries and has 2"),
            ("0\n1\na 0\n", "line 3"),
            ("0\n1\na 0 0 0\n", "line 3"),
            ("0\n1\na 0 z\n", "line 3"),
        ] {
            let fault = read(text).unwrap_err().to_string();
            assert!(fault.contains(why), "{text:?}: {fault}");
        }
        assert!(read("").unwrap().is_empty());
    }
}

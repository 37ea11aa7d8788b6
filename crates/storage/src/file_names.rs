//! The names of files and directories in a log directory: parsed, formatted, ordered. Pure.
//! Offsets are padded to 20 digits, so that names sort as offsets do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::{LeaderEpoch, Offset, TopicPartition};

pub(crate) const LOCK: &str = ".lock";
pub(crate) const META_PROPERTIES: &str = "meta.properties";
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub(crate) const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
pub(crate) const CLEANED: &str = "cleaner-offset-checkpoint";
pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";
const REMOTE_INDEX_CACHE: &str = "remote-log-index-cache";
const QUORUM_STATE: &str = "quorum-state";
const BOOTSTRAP: &str = "bootstrap.checkpoint";
/// Of a file that was to take another's place.
const TEMPORARY: &str = ".tmp";
/// Digits of an offset in a name.
const OFFSET_DIGITS: usize = 20;

/// The longest name that the usual file systems take.
const NAME_BYTES_MAX: usize = 255;

/// Which of a segment's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    TxnIndex,
    ProducerSnapshot,
}

impl FileKind {
    pub(crate) const OF_SEGMENT: [Self; 4] = [
        Self::Log,
        Self::OffsetIndex,
        Self::TimeIndex,
        Self::TxnIndex,
    ];

    fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::OffsetIndex => ".index",
            Self::TimeIndex => ".timeindex",
            Self::TxnIndex => ".txnindex",
            Self::ProducerSnapshot => ".snapshot",
        }
    }
}

/// A step of a replacement that a crash may leave half done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In use.
    Final,
    /// Being written by compaction or a split.
    Cleaned,
    /// Complete, about to take its final name.
    Swap,
    /// To be unlinked.
    Deleted,
}

impl Stage {
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Final => "",
            Self::Cleaned => ".cleaned",
            Self::Swap => ".swap",
            Self::Deleted => ".deleted",
        }
    }
}

/// A file name of a partition directory that begins with an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetName {
    pub(crate) offset: Offset,
    pub(crate) kind: FileKind,
    pub(crate) stage: Stage,
}

impl OffsetName {
    pub(crate) fn new(offset: Offset, kind: FileKind) -> Self {
        Self {
            offset,
            kind,
            stage: Stage::Final,
        }
    }

    pub(crate) fn format(self) -> String {
        format!(
            "{:020}{}{}",
            self.offset,
            self.kind.suffix(),
            self.stage.suffix()
        )
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (name, stage) = [Stage::Cleaned, Stage::Swap, Stage::Deleted]
            .into_iter()
            .find_map(|stage| Some((name.strip_suffix(stage.suffix())?, stage)))
            .unwrap_or((name, Stage::Final));
        let dot = name.find('.')?;
        let (digits, suffix) = name.split_at(dot);
        if digits.len() != OFFSET_DIGITS {
            return None;
        }
        let kind = FileKind::OF_SEGMENT
            .into_iter()
            .chain([FileKind::ProducerSnapshot])
            .find(|kind| kind.suffix() == suffix)?;
        Some(Self {
            offset: parse_digits(digits)?,
            kind,
            stage,
        })
    }
}

/// Whether a file of this name has a place in the directory of a log, the metadata log's included.
pub(crate) fn is_of_a_log(name: &str) -> bool {
    OffsetName::parse(name).is_some()
        || SnapshotId::parse(name).is_some()
        || [LEADER_EPOCHS, PARTITION_METADATA, QUORUM_STATE].contains(&name)
        || name.ends_with(TEMPORARY)
}

/// The same for a log directory itself.
pub(crate) fn is_of_a_directory(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        LOCK,
        META_PROPERTIES,
        CLEAN_SHUTDOWN,
        RECOVERY_POINTS,
        LOG_STARTS,
        HIGH_WATERMARKS,
        CLEANED,
        BOOTSTRAP,
    ];
    NAMES.contains(&name) || name.ends_with(TEMPORARY)
}

/// The path of a segment's file.
pub(crate) fn segment_file(directory: &Path, base: Offset, kind: FileKind) -> PathBuf {
    directory.join(OffsetName::new(base, kind).format())
}

/// The path of a segment's file at a step of its replacement.
pub(crate) fn staged_file(directory: &Path, base: Offset, kind: FileKind, stage: Stage) -> PathBuf {
    let name = OffsetName {
        offset: base,
        kind,
        stage,
    };
    directory.join(name.format())
}

/// A snapshot of the metadata log: what is contained, and the epoch of the last record in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId {
    /// Exclusive.
    pub end_offset: Offset,
    pub epoch: LeaderEpoch,
}

/// What a file name of a metadata snapshot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SnapshotName {
    Whole(SnapshotId),
    Part,
    Deleted(SnapshotId),
}

impl SnapshotId {
    pub(crate) fn file_name(self) -> String {
        format!("{:020}-{:010}.checkpoint", self.end_offset, self.epoch)
    }

    pub(crate) fn parse(name: &str) -> Option<SnapshotName> {
        if name.ends_with(".checkpoint.part") {
            return Some(SnapshotName::Part);
        }
        let (name, is_deleted) = match name.strip_suffix(".deleted") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (offset, epoch) = name.strip_suffix(".checkpoint")?.split_once('-')?;
        let id = Self {
            end_offset: parse_digits(offset)?,
            epoch: i32::try_from(parse_digits(epoch)?).ok()?,
        };
        Some(if is_deleted {
            SnapshotName::Deleted(id)
        } else {
            SnapshotName::Whole(id)
        })
    }
}

/// What a directory inside a log directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DirectoryName {
    /// A live replica.
    Partition(TopicPartition),
    /// Scheduled for deletion.
    Delete,
    /// Found at start, and not assigned here: kept, not served.
    Stray(TopicPartition),
    /// The target of a move between directories.
    Future(TopicPartition),
    /// The metadata log, which the partition loader leaves alone.
    MetadataLog,
    RemoteIndexCache,
}

impl DirectoryName {
    /// `None`: not in the form topic-partition, which Kafka takes as a reason not to start.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if name == REMOTE_INDEX_CACHE {
            return Some(Self::RemoteIndexCache);
        }
        if name == metadata_log_directory() {
            return Some(Self::MetadataLog);
        }
        if let Some(cut) = cut_marked(name, "-delete") {
            return parse_partition(cut).map(|_| Self::Delete);
        }
        if let Some(cut) = cut_marked(name, "-stray") {
            return parse_partition(cut).map(Self::Stray);
        }
        if let Some(cut) = cut_marked(name, "-future") {
            return parse_partition(cut).map(Self::Future);
        }
        parse_partition(name).map(Self::Partition)
    }
}

/// `<topic>-<partition>`
pub(crate) fn partition_directory(partition: &TopicPartition) -> String {
    partition.to_string()
}

pub fn metadata_log_directory() -> &'static str {
    "__cluster_metadata-0"
}

/// `<topic>-<partition>.<32 hex>-delete`: the topic is cut so that the name is short enough.
pub(crate) fn delete_directory(partition: &TopicPartition, unique: u128) -> String {
    marked_directory(partition, unique, "-delete")
}

/// `<topic>-<partition>.<32 hex>-stray`
pub(crate) fn stray_directory(partition: &TopicPartition, unique: u128) -> String {
    marked_directory(partition, unique, "-stray")
}

/// `<topic>-<partition>.<32 hex>-future`: never cut, since a move must find the topic's name in it.
/// `None`: the name would be too long.
pub(crate) fn future_directory(partition: &TopicPartition, unique: u128) -> Option<String> {
    let name = format!("{partition}.{unique:032x}-future");
    (name.len() <= NAME_BYTES_MAX).then_some(name)
}

/// Whether a partition can be moved: Kafka cannot where the name of the copy would be too long.
pub fn can_be_moved(partition: &TopicPartition) -> bool {
    future_directory(partition, 0).is_some()
}

fn marked_directory(partition: &TopicPartition, unique: u128, mark: &str) -> String {
    let tail = format!("-{}.{unique:032x}{mark}", partition.partition);
    let room = NAME_BYTES_MAX.saturating_sub(tail.len());
    let topic: String = partition.topic.chars().take(room).collect();
    topic + &tail
}

/// The part before `.<32 hex><mark>`.
fn cut_marked<'a>(name: &'a str, mark: &str) -> Option<&'a str> {
    let (before, unique) = name.strip_suffix(mark)?.rsplit_once('.')?;
    let is_hex = unique.len() == 32 && unique.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then_some(before)
}

fn parse_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    if topic.is_empty() || partition.is_empty() || !partition.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(TopicPartition {
        topic: Arc::from(topic),
        partition: partition.parse().ok()?,
    })
}

fn parse_digits(digits: &str) -> Option<i64> {
    let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: Arc::from(topic),
            partition,
        }
    }

    #[test]
    fn segment_names_go_both_ways() {
        for (name, offset, kind, stage) in [
            ("00000000000000000042.log", 42, FileKind::Log, Stage::Final),
            (
                "00000000000000000000.index",
                0,
                FileKind::OffsetIndex,
                Stage::Final,
            ),
            (
                "09223372036854775807.snapshot",
                i64::MAX,
                FileKind::ProducerSnapshot,
                Stage::Final,
            ),
            (
                "00000000000000000007.timeindex.swap",
                7,
                FileKind::TimeIndex,
                Stage::Swap,
            ),
            (
                "00000000000000000007.txnindex.deleted",
                7,
                FileKind::TxnIndex,
                Stage::Deleted,
            ),
            (
                "00000000000000000007.log.cleaned",
                7,
                FileKind::Log,
                Stage::Cleaned,
            ),
        ] {
            let parsed = OffsetName::parse(name).unwrap();
            assert_eq!(
                parsed,
                OffsetName {
                    offset,
                    kind,
                    stage
                }
            );
            assert_eq!(parsed.format(), name);
        }
        for name in [
            "leader-epoch-checkpoint",
            ".log",
            "x.log",
            "00000000000000000001.logs",
            "-0000000000000000001.log",
            "00000000000000000001.log.tmp",
            "1.log",
            "000000000000000000001.log",
        ] {
            assert_eq!(OffsetName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn foreign_files_are_told_apart() {
        for own in [
            "00000000000000000001.index",
            "00000000000000000012-0000000003.checkpoint",
            "partition.metadata",
            "leader-epoch-checkpoint.tmp",
        ] {
            assert!(is_of_a_log(own), "{own}");
        }
        assert!(is_of_a_directory("bootstrap.checkpoint"));
        for foreign in ["notes.txt", "1.log", "abc.index", ""] {
            assert!(
                !is_of_a_log(foreign) && !is_of_a_directory(foreign),
                "{foreign}"
            );
        }
    }

    #[test]
    fn snapshot_names_go_both_ways() {
        let id = SnapshotId {
            end_offset: 12,
            epoch: 3,
        };
        assert_eq!(id.file_name(), "00000000000000000012-0000000003.checkpoint");
        assert_eq!(
            SnapshotId::parse(&id.file_name()),
            Some(SnapshotName::Whole(id))
        );
        assert_eq!(
            SnapshotId::parse("00000000000000000012-0000000003.checkpoint.deleted"),
            Some(SnapshotName::Deleted(id))
        );
        assert_eq!(
            SnapshotId::parse("00000000000000000012-00000000034711.checkpoint.part"),
            Some(SnapshotName::Part)
        );
        assert_eq!(SnapshotId::parse("leader-epoch-checkpoint"), None);
    }

    #[test]
    fn directories_are_told_apart() {
        let hex = "0123456789abcdef0123456789abcdef";
        let parse = |name: &str| DirectoryName::parse(name);
        assert_eq!(
            parse("a-b-3"),
            Some(DirectoryName::Partition(partition("a-b", 3)))
        );
        assert_eq!(
            parse("__cluster_metadata-0"),
            Some(DirectoryName::MetadataLog)
        );
        assert_eq!(
            parse("remote-log-index-cache"),
            Some(DirectoryName::RemoteIndexCache)
        );
        assert_eq!(
            parse(&format!("a.b-3.{hex}-delete")),
            Some(DirectoryName::Delete)
        );
        assert_eq!(
            parse(&format!("a.b-3.{hex}-stray")),
            Some(DirectoryName::Stray(partition("a.b", 3)))
        );
        // A topic may be called like this; it is no deletion.
        assert_eq!(
            parse("x-delete-0"),
            Some(DirectoryName::Partition(partition("x-delete", 0)))
        );
        for name in [
            "lost+found",
            "topic",
            "topic-",
            "-1",
            "topic-x",
            "topic--delete",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_copy_is_named_after_its_partition_or_not_made() {
        let id = partition("a.b", 3);
        let name = future_directory(&id, 0xabc).unwrap();
        assert_eq!(name, "a.b-3.00000000000000000000000000000abc-future");
        assert_eq!(DirectoryName::parse(&name), Some(DirectoryName::Future(id)));
        assert!(can_be_moved(&partition(&"t".repeat(213), 0)));
        assert!(!can_be_moved(&partition(&"t".repeat(214), 0)));
    }

    #[test]
    fn a_long_topic_is_cut_to_fit_the_mark() {
        let name = delete_directory(&partition(&"t".repeat(249), 17), 0xabc);
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert!(name.ends_with("t-17.00000000000000000000000000000abc-delete"));
        assert_eq!(DirectoryName::parse(&name), Some(DirectoryName::Delete));
    }
}

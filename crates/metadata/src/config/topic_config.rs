//! What the code that keeps one topic's logs reads, typed.

use super::catalogue::Catalogue;
use super::definition::Scope;
use super::typed::{Typed, Values, settings};
use super::value::{BadValue, split_list};

/// `cleanup.policy`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

impl Typed for CleanupPolicy {
    fn read(_name: &'static str, text: Option<String>) -> Result<Self, BadValue> {
        let items = split_list(&text.unwrap_or_default());
        let has = |word: &str| items.iter().any(|item| item == word);
        Ok(Self {
            delete: has("delete"),
            compact: has("compact"),
        })
    }
}

/// `message.timestamp.type`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampKind {
    CreateTime,
    LogAppendTime,
}

impl Typed for TimestampKind {
    fn read(name: &'static str, text: Option<String>) -> Result<Self, BadValue> {
        match text.as_deref() {
            Some("CreateTime") => Ok(Self::CreateTime),
            Some("LogAppendTime") => Ok(Self::LogAppendTime),
            other => Err(BadValue::new(
                name,
                other,
                "String must be one of: CreateTime, LogAppendTime",
            )),
        }
    }
}

/// `compression.type`, without the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompressionKind {
    /// Keep what the producer sent.
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Typed for CompressionKind {
    fn read(name: &'static str, text: Option<String>) -> Result<Self, BadValue> {
        match text.as_deref() {
            Some("producer") => Ok(Self::Producer),
            Some("uncompressed") => Ok(Self::Uncompressed),
            Some("gzip") => Ok(Self::Gzip),
            Some("snappy") => Ok(Self::Snappy),
            Some("lz4") => Ok(Self::Lz4),
            Some("zstd") => Ok(Self::Zstd),
            other => Err(BadValue::new(name, other, "not a codec")),
        }
    }
}

/// What a topic asks of a batch's codec, with the level where the codec has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicCompression {
    /// Keep what the producer sent.
    Producer,
    Uncompressed,
    /// −1 is the codec's own default.
    Gzip {
        level: i32,
    },
    Snappy,
    Lz4 {
        level: i32,
    },
    Zstd {
        level: i32,
    },
}

/// The typed settings of one topic. Build with [`super::BrokerConfig::topic_config`].
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `segment.bytes`, or `internal.segment.bytes` where set
    pub segment_bytes: i32,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`
    pub segment_index_bytes: i32,
    /// `index.interval.bytes`
    pub index_interval_bytes: i32,
    /// `flush.messages`
    pub flush_messages: i64,
    /// `flush.ms`
    pub flush_ms: i64,
    /// `retention.bytes`; −1: no limit
    pub retention_bytes: i64,
    /// `retention.ms`; −1: for ever
    pub retention_ms: i64,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// `max.message.bytes`
    pub max_message_bytes: i32,
    /// `message.timestamp.type`
    pub timestamp_kind: TimestampKind,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `compression.type` and the level of that codec
    pub compression: TopicCompression,
    /// `min.insync.replicas`
    pub min_insync_replicas: i32,
    /// `unclean.leader.election.enable`
    pub unclean_leader_election: bool,
    /// `preallocate`
    pub preallocate: bool,
}

settings! {
    /// The settings behind `TopicConfig`, one by one.
    pub(super) struct TopicValues {
        segment_bytes: i32 = "segment.bytes",
        internal_segment_bytes: Option<i32> = "internal.segment.bytes",
        segment_ms: i64 = "segment.ms",
        segment_jitter_ms: i64 = "segment.jitter.ms",
        segment_index_bytes: i32 = "segment.index.bytes",
        index_interval_bytes: i32 = "index.interval.bytes",
        flush_messages: i64 = "flush.messages",
        flush_ms: i64 = "flush.ms",
        retention_bytes: i64 = "retention.bytes",
        retention_ms: i64 = "retention.ms",
        file_delete_delay_ms: i64 = "file.delete.delay.ms",
        cleanup_policy: CleanupPolicy = "cleanup.policy",
        delete_retention_ms: i64 = "delete.retention.ms",
        min_compaction_lag_ms: i64 = "min.compaction.lag.ms",
        max_compaction_lag_ms: i64 = "max.compaction.lag.ms",
        min_cleanable_dirty_ratio: f64 = "min.cleanable.dirty.ratio",
        max_message_bytes: i32 = "max.message.bytes",
        timestamp_kind: TimestampKind = "message.timestamp.type",
        timestamp_before_max_ms: i64 = "message.timestamp.before.max.ms",
        timestamp_after_max_ms: i64 = "message.timestamp.after.max.ms",
        compression_kind: CompressionKind = "compression.type",
        gzip_level: i32 = "compression.gzip.level",
        lz4_level: i32 = "compression.lz4.level",
        zstd_level: i32 = "compression.zstd.level",
        min_insync_replicas: i32 = "min.insync.replicas",
        unclean_leader_election: bool = "unclean.leader.election.enable",
        preallocate: bool = "preallocate",
    }
}

impl TopicConfig {
    pub(super) fn read(values: &impl Values) -> Result<Self, BadValue> {
        Ok(TopicValues::read(values)?.into())
    }
}

impl From<TopicValues> for TopicConfig {
    fn from(values: TopicValues) -> Self {
        let compression = match values.compression_kind {
            CompressionKind::Producer => TopicCompression::Producer,
            CompressionKind::Uncompressed => TopicCompression::Uncompressed,
            CompressionKind::Gzip => TopicCompression::Gzip {
                level: values.gzip_level,
            },
            CompressionKind::Snappy => TopicCompression::Snappy,
            CompressionKind::Lz4 => TopicCompression::Lz4 {
                level: values.lz4_level,
            },
            CompressionKind::Zstd => TopicCompression::Zstd {
                level: values.zstd_level,
            },
        };
        Self {
            segment_bytes: values
                .internal_segment_bytes
                .unwrap_or(values.segment_bytes),
            segment_ms: values.segment_ms,
            segment_jitter_ms: values.segment_jitter_ms,
            segment_index_bytes: values.segment_index_bytes,
            index_interval_bytes: values.index_interval_bytes,
            flush_messages: values.flush_messages,
            flush_ms: values.flush_ms,
            retention_bytes: values.retention_bytes,
            retention_ms: values.retention_ms,
            file_delete_delay_ms: values.file_delete_delay_ms,
            cleanup_policy: values.cleanup_policy,
            delete_retention_ms: values.delete_retention_ms,
            min_compaction_lag_ms: values.min_compaction_lag_ms,
            max_compaction_lag_ms: values.max_compaction_lag_ms,
            min_cleanable_dirty_ratio: values.min_cleanable_dirty_ratio,
            max_message_bytes: values.max_message_bytes,
            timestamp_kind: values.timestamp_kind,
            timestamp_before_max_ms: values.timestamp_before_max_ms,
            timestamp_after_max_ms: values.timestamp_after_max_ms,
            compression,
            min_insync_replicas: values.min_insync_replicas,
            unclean_leader_election: values.unclean_leader_election,
            preallocate: values.preallocate,
        }
    }
}

/// For tests and for callers that have no broker: every setting at its default.
impl Default for TopicConfig {
    fn default() -> Self {
        struct Defaults;
        impl Values for Defaults {
            fn value(&self, name: &'static str) -> Option<String> {
                Catalogue::find(Scope::Topic, name)?.canonical_default()
            }
        }
        Self::read(&Defaults).expect("the catalogue's own defaults are sound")
    }
}

//! From a topic's settings to what its log and its batches must keep.

use ottla_metadata::config::{MetadataLogSettings, TimestampKind, TopicCompression, TopicConfig};
use ottla_protocol::batch;
use ottla_protocol::compress::{Codec, Compression};
use ottla_storage::LogConfig;

pub(crate) fn log_config(topic: &TopicConfig, producer_expiration_ms: Option<i64>) -> LogConfig {
    let mut config = LogConfig {
        segment_bytes: unsigned(topic.segment_bytes),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: topic.segment_jitter_ms,
        segment_index_bytes: unsigned(topic.segment_index_bytes),
        index_interval_bytes: unsigned(topic.index_interval_bytes),
        retention_ms: topic.retention_ms,
        retention_bytes: topic.retention_bytes,
        max_message_bytes: unsigned(topic.max_message_bytes),
        timestamp_kind: match topic.timestamp_kind {
            TimestampKind::CreateTime => batch::TimestampKind::CreateTime,
            TimestampKind::LogAppendTime => batch::TimestampKind::LogAppendTime,
        },
        message_timestamp_before_max_ms: topic.timestamp_before_max_ms,
        message_timestamp_after_max_ms: topic.timestamp_after_max_ms,
        cleanup_delete: topic.cleanup_policy.delete,
        cleanup_compact: topic.cleanup_policy.compact,
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: topic.max_compaction_lag_ms,
        min_cleanable_dirty_ratio: topic.min_cleanable_dirty_ratio,
        delete_retention_ms: topic.delete_retention_ms,
        flush_messages: topic.flush_messages,
        flush_ms: topic.flush_ms,
        file_delete_delay_ms: topic.file_delete_delay_ms,
        preallocate: topic.preallocate,
        ..LogConfig::default()
    };
    if let Some(expiration_ms) = producer_expiration_ms {
        config.producer_id_expiration_ms = expiration_ms;
    }
    config.compression = match topic.compression {
        TopicCompression::Producer => None,
        TopicCompression::Uncompressed => Some(Codec::None.into()),
        TopicCompression::Snappy => Some(Codec::Snappy.into()),
        TopicCompression::Gzip { level } => Some(at_level(Codec::Gzip, level)),
        TopicCompression::Lz4 { level } => Some(at_level(Codec::Lz4, level)),
        TopicCompression::Zstd { level } => Some(at_level(Codec::Zstd, level)),
    };
    config
}

fn at_level(codec: Codec, level: i32) -> Compression {
    Compression {
        codec,
        level: Some(level),
    }
}

/// The settings validate sizes as not negative.
fn unsigned(size: i32) -> u32 {
    u32::try_from(size).unwrap_or(0)
}

pub(crate) fn metadata_log_config(settings: &MetadataLogSettings) -> LogConfig {
    let bytes = settings
        .internal_segment_bytes
        .unwrap_or(settings.segment_bytes);
    LogConfig::metadata(unsigned(bytes), settings.segment_ms)
}

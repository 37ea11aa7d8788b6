//! The settings of one log, as typed values. Where they come from (topic, broker, default) is the
//! caller's affair; they may be replaced while the log is open.

use ottla_protocol::batch::TimestampKind;
use ottla_protocol::compress::Compression;

use crate::validate::Rules;

/// See the topic settings of the same names.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: an index that reaches this makes its segment roll.
    pub segment_index_bytes: u32,
    pub index_interval_bytes: u32,
    /// -1: no limit.
    pub retention_ms: i64,
    /// -1: no limit.
    pub retention_bytes: i64,
    pub max_message_bytes: u32,
    pub timestamp_kind: TimestampKind,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_after_max_ms: i64,
    /// `compression.type` with its codec's level; `None` is `producer`.
    pub compression: Option<Compression>,
    /// `cleanup.policy` contains `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub cleanup_compact: bool,
    pub min_compaction_lag_ms: i64,
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// How long compaction keeps a tombstone or a marker once it came upon it.
    pub delete_retention_ms: i64,
    /// `flush.messages`: a flush is due after that many unflushed records.
    pub flush_messages: i64,
    /// `flush.ms`: a flush is due when the oldest unflushed record is that old.
    pub flush_ms: i64,
    pub file_delete_delay_ms: i64,
    pub preallocate: bool,
    /// `producer.id.expiration.ms` of the broker.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    /// Kafka's defaults for a topic.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            max_message_bytes: (1 << 20) + 12,
            timestamp_kind: TimestampKind::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 3_600_000,
            compression: None,
            cleanup_delete: true,
            cleanup_compact: false,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            delete_retention_ms: 86_400_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            preallocate: false,
            producer_id_expiration_ms: 86_400_000,
        }
    }
}

impl LogConfig {
    /// The metadata log: never cleaned by time or size, larger batches.
    pub fn metadata(segment_bytes: u32, segment_ms: i64) -> Self {
        Self {
            segment_bytes,
            segment_ms,
            retention_ms: -1,
            retention_bytes: -1,
            max_message_bytes: 8 << 20,
            cleanup_delete: false,
            ..Self::default()
        }
    }

    /// What a batch must fulfil, for `validate::check`.
    pub fn rules(&self) -> Rules {
        Rules {
            max_message_bytes: self.max_message_bytes as usize,
            segment_bytes: self.segment_bytes as usize,
            compression: self.compression,
            is_compacted: self.cleanup_compact,
            timestamp_kind: self.timestamp_kind,
            before_max_ms: self.message_timestamp_before_max_ms,
            after_max_ms: self.message_timestamp_after_max_ms,
        }
    }

    /// How long a segment may stay active: compaction must come to it in time.
    pub(crate) fn roll_after_ms(&self) -> i64 {
        if self.cleanup_compact {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }
}

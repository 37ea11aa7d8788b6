//! What a node's code reads, typed.
//!
//! Built again whenever a dynamic value changes; a holder compares and takes what it can change.

use super::listeners::{Advertised, Listener};
use super::typed::settings;

/// The typed settings of one node. Build with [`super::BrokerConfig::node_settings`].
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSettings {
    /// `node.id`
    pub node_id: i32,
    /// `process.roles`
    pub roles: Roles,
    /// `listeners`, controller listeners included.
    pub listeners: Vec<Listener>,
    /// `advertised.listeners`, one per client listener, in the order of `listeners`.
    pub advertised: Vec<Advertised>,
    /// `controller.listener.names`, upper case.
    pub controller_listener_names: Vec<String>,
    /// `inter.broker.listener.name`, or the listener of `security.inter.broker.protocol`; upper case.
    pub inter_broker_listener: String,
    /// `controller.quorum.voters` or `controller.quorum.bootstrap.servers`
    pub quorum: QuorumForm,
    /// `log.dirs`, else `log.dir`; absolute or relative as written.
    pub log_dirs: Vec<String>,
    /// `metadata.log.dir`, else the first of `log_dirs`.
    pub metadata_log_dir: String,
    /// `broker.rack`
    pub rack: Option<String>,
    pub connections: ConnectionSettings,
    pub logs: LogSettings,
    pub topics: TopicCreationSettings,
    pub groups: GroupSettings,
    pub producers: ProducerSettings,
    pub metadata: MetadataLogSettings,
    pub ottla: OttlaSettings,
}

/// `process.roles`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
}

/// How the quorum is named: this decides the `kraft.version` of a fresh directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuorumForm {
    /// Nothing set: this node alone.
    Unset,
    /// `controller.quorum.voters`: fixed, `kraft.version` 0.
    Static(Vec<Voter>),
    /// `controller.quorum.bootstrap.servers` as `(host, port)`: voters are in the log, `kraft.version` 1.
    Bootstrap(Vec<(String, u16)>),
}

/// One entry of `controller.quorum.voters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    pub id: i32,
    pub host: String,
    pub port: u16,
}

settings! {
    /// Connections and frames.
    pub struct ConnectionSettings {
        request_max_bytes: i32 = "socket.request.max.bytes",
        /// −1 leaves it to the system.
        send_buffer_bytes: i32 = "socket.send.buffer.bytes",
        receive_buffer_bytes: i32 = "socket.receive.buffer.bytes",
        listen_backlog: i32 = "socket.listen.backlog.size",
        max: i32 = "max.connections",
        max_per_ip: i32 = "max.connections.per.ip",
        /// `host:count` entries.
        max_per_ip_overrides: Vec<String> = "max.connections.per.ip.overrides",
        max_creation_rate: i32 = "max.connection.creation.rate",
        /// Negative: never.
        max_idle_ms: i64 = "connections.max.idle.ms",
    }
}

settings! {
    /// What concerns all logs of the node. What one topic may override is in `TopicConfig`.
    pub struct LogSettings {
        recovery_threads_per_dir: i32 = "num.recovery.threads.per.data.dir",
        retention_check_interval_ms: i64 = "log.retention.check.interval.ms",
        flush_scheduler_interval_ms: i64 = "log.flush.scheduler.interval.ms",
        flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms",
        flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms",
        high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms",
        initial_task_delay_ms: i64 = "log.initial.task.delay.ms",
        fetch_max_bytes: i32 = "fetch.max.bytes",
        fetch_session_slots: i32 = "max.incremental.fetch.session.cache.slots",
        max_request_partitions: i32 = "max.request.partition.size.limit",
    }
}

settings! {
    /// What a new topic gets, and whether topics may come and go.
    pub struct TopicCreationSettings {
        num_partitions: i32 = "num.partitions",
        default_replication_factor: i32 = "default.replication.factor",
        auto_create: bool = "auto.create.topics.enable",
        delete_enable: bool = "delete.topic.enable",
    }
}

settings! {
    /// Groups and their topic.
    pub struct GroupSettings {
        offsets_topic_partitions: i32 = "offsets.topic.num.partitions",
        offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor",
        offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes",
        offsets_retention_minutes: i32 = "offsets.retention.minutes",
        offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms",
        offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms",
        offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes",
        min_session_timeout_ms: i32 = "group.min.session.timeout.ms",
        max_session_timeout_ms: i32 = "group.max.session.timeout.ms",
        initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms",
        max_size: i32 = "group.max.size",
    }
}

settings! {
    /// Idempotent producers.
    pub struct ProducerSettings {
        id_expiration_ms: i32 = "producer.id.expiration.ms",
        id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms",
    }
}

settings! {
    /// The metadata log and the node's life in the quorum.
    pub struct MetadataLogSettings {
        segment_bytes: i32 = "metadata.log.segment.bytes",
        internal_segment_bytes: Option<i32> = "internal.metadata.log.segment.bytes",
        segment_ms: i64 = "metadata.log.segment.ms",
        max_record_bytes_between_snapshots: i64 = "metadata.log.max.record.bytes.between.snapshots",
        max_snapshot_interval_ms: i64 = "metadata.log.max.snapshot.interval.ms",
        max_retention_bytes: i64 = "metadata.max.retention.bytes",
        max_retention_ms: i64 = "metadata.max.retention.ms",
        max_idle_interval_ms: i32 = "metadata.max.idle.interval.ms",
        election_timeout_ms: i32 = "controller.quorum.election.timeout.ms",
        fetch_timeout_ms: i32 = "controller.quorum.fetch.timeout.ms",
        election_backoff_max_ms: i32 = "controller.quorum.election.backoff.max.ms",
        append_linger_ms: i32 = "controller.quorum.append.linger.ms",
        broker_heartbeat_interval_ms: i32 = "broker.heartbeat.interval.ms",
        broker_session_timeout_ms: i32 = "broker.session.timeout.ms",
    }
}

settings! {
    /// Settings of our own.
    pub struct OttlaSettings {
        flush_before_ack: bool = "ottla.flush.before.ack",
        /// `host:port`; empty switches HTTP off.
        http_listener: String = "ottla.http.listener",
        auto_format: bool = "ottla.auto.format",
    }
}

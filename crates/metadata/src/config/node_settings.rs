//! What a node's code reads, typed.
//!
//! Built again whenever a dynamic value changes; a holder compares and takes what it can change.

use super::listeners::{
    Advertised, Listener, ProtocolMap, SecurityProtocol, parse_advertised, parse_host_port,
    parse_listeners, parse_voter,
};
use super::typed::{Typed, Values, settings};
use super::value::{BadValue, split_list};

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
    /// Where other nodes find this controller, one per controller listener that is listened on.
    pub advertised_controllers: Vec<Advertised>,
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
    pub cleaner: CleanerSettings,
    pub topics: TopicCreationSettings,
    pub quotas: QuotaSettings,
    pub groups: GroupSettings,
    pub consumer_groups: ConsumerGroupSettings,
    pub producers: ProducerSettings,
    pub transactions: TransactionSettings,
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

/// What `NodeSettings` reads itself, besides its parts: fields and settings.
const FIELDS: &[(&str, &str)] = &[
    ("node_id", "node.id"),
    ("node_id", "broker.id"),
    ("roles", "process.roles"),
    ("listeners", "listeners"),
    ("listeners", "listener.security.protocol.map"),
    ("advertised", "advertised.listeners"),
    ("controller_listener_names", "controller.listener.names"),
    ("inter_broker_listener", "inter.broker.listener.name"),
    ("inter_broker_listener", "security.inter.broker.protocol"),
    ("quorum", "controller.quorum.voters"),
    ("quorum", "controller.quorum.bootstrap.servers"),
    ("log_dirs", "log.dirs"),
    ("log_dirs", "log.dir"),
    ("metadata_log_dir", "metadata.log.dir"),
    ("rack", "broker.rack"),
];

impl NodeSettings {
    /// Every field of this struct and its parts, with the setting behind it.
    pub(super) fn fields() -> impl Iterator<Item = (&'static str, &'static str)> {
        let parts = [
            ConnectionSettings::FIELDS,
            LogSettings::FIELDS,
            CleanerSettings::FIELDS,
            TopicCreationSettings::FIELDS,
            QuotaSettings::FIELDS,
            GroupSettings::FIELDS,
            ConsumerGroupSettings::FIELDS,
            ProducerSettings::FIELDS,
            TransactionSettings::FIELDS,
            MetadataLogSettings::FIELDS,
            OttlaSettings::FIELDS,
        ];
        FIELDS.iter().chain(parts.into_iter().flatten()).copied()
    }

    pub(super) fn read(values: &impl Values, map_is_set: bool) -> Result<Self, BadValue> {
        let text = |name| values.value(name);
        let node_id = read_node_id(values)?;
        let roles = split_list(&text("process.roles").unwrap_or_default());
        let controllers: Vec<String> =
            split_list(&text("controller.listener.names").unwrap_or_default())
                .iter()
                .map(|name| name.to_ascii_uppercase())
                .collect();
        let listen = String::read("listeners", text("listeners"))?;
        let map = text("listener.security.protocol.map").unwrap_or_default();
        let mut protocols = ProtocolMap::parse(&map)?;
        if !map_is_set {
            protocols = protocols.with_plaintext_controllers(&controllers, &listen);
        }
        let listeners = parse_listeners(&listen, &protocols, &controllers)?;
        let quorum = read_quorum(values)?;
        let told = parse_advertised(text("advertised.listeners").as_deref(), &listeners)?;
        let advertised_controllers =
            advertise_controllers(node_id, &told, &listeners, &controllers, &quorum);
        let of_clients = told
            .into_iter()
            .filter(|one| !controllers.contains(&one.name));
        let advertised = of_clients.collect();
        let inter_broker_listener = read_inter_broker(values, &listeners)?;
        let log_dirs = read_log_dirs(values)?;
        let settings = Self {
            node_id,
            roles: Roles {
                broker: roles.iter().any(|role| role == "broker"),
                controller: roles.iter().any(|role| role == "controller"),
            },
            listeners,
            advertised,
            advertised_controllers,
            controller_listener_names: controllers,
            inter_broker_listener,
            quorum,
            metadata_log_dir: text("metadata.log.dir").unwrap_or_else(|| log_dirs[0].clone()),
            log_dirs,
            rack: text("broker.rack"),
            connections: ConnectionSettings::read(values)?,
            logs: LogSettings::read(values)?,
            cleaner: CleanerSettings::read(values)?,
            topics: TopicCreationSettings::read(values)?,
            quotas: QuotaSettings::read(values)?,
            groups: GroupSettings::read(values)?,
            consumer_groups: ConsumerGroupSettings::read(values)?,
            producers: ProducerSettings::read(values)?,
            transactions: TransactionSettings::read(values)?,
            metadata: MetadataLogSettings::read(values)?,
            ottla: OttlaSettings::read(values)?,
        };
        settings.validate()?;
        Ok(settings)
    }

    /// What must hold between settings.
    fn validate(&self) -> Result<(), BadValue> {
        self.validate_controller()?;
        self.validate_broker()?;
        self.connections.validate()?;
        self.consumer_groups.validate()?;
        self.metadata.validate()
    }

    fn validate_controller(&self) -> Result<(), BadValue> {
        if !self.roles.controller {
            return Ok(());
        }
        let names = &self.controller_listener_names;
        let is_listened = |name: &String| self.listeners.iter().any(|one| one.name == *name);
        if names.is_empty() || !names.iter().all(is_listened) {
            let allowed = "must only contain names that appear in `listeners` when the node has the controller role";
            return Err(BadValue::new(
                "controller.listener.names",
                Some(&names.join(",")),
                allowed,
            ));
        }
        if let QuorumForm::Static(voters) = &self.quorum
            && !voters.iter().any(|voter| voter.id == self.node_id)
        {
            let voters: Vec<_> = voters
                .iter()
                .map(|voter| format!("{}@{}:{}", voter.id, voter.host, voter.port))
                .collect();
            let allowed = format!(
                "the node id {} must be among the voters when the node has the controller role",
                self.node_id
            );
            return Err(BadValue::new(
                "controller.quorum.voters",
                Some(&voters.join(",")),
                allowed,
            ));
        }
        Ok(())
    }

    fn validate_broker(&self) -> Result<(), BadValue> {
        if !self.roles.broker {
            return Ok(());
        }
        if self.advertised.is_empty() {
            let names: Vec<_> = self.listeners.iter().map(|one| one.name.as_str()).collect();
            let allowed = "there must be at least one listener for clients; perhaps all of them are in `controller.listener.names`";
            return Err(BadValue::new("listeners", Some(&names.join(",")), allowed));
        }
        let name = &self.inter_broker_listener;
        if !self.advertised.iter().any(|one| one.name == *name) {
            let names: Vec<_> = self
                .advertised
                .iter()
                .map(|one| one.name.as_str())
                .collect();
            let allowed = format!(
                "must be the name of an advertised listener: {}",
                names.join(",")
            );
            return Err(BadValue::new(
                "inter.broker.listener.name",
                Some(name),
                allowed,
            ));
        }
        Ok(())
    }
}

fn read_node_id(values: &impl Values) -> Result<i32, BadValue> {
    let text = values.value("node.id");
    if text.is_none() {
        let allowed = "must be set to a number of at least 0";
        return Err(BadValue::new("node.id", None, allowed));
    }
    let node_id = i32::read("node.id", text)?;
    let broker_id = i32::read("broker.id", values.value("broker.id"))?;
    if broker_id != node_id {
        let allowed = format!("must be the same as `node.id`, which is {node_id}");
        return Err(BadValue::new(
            "broker.id",
            Some(&broker_id.to_string()),
            allowed,
        ));
    }
    Ok(node_id)
}

fn read_log_dirs(values: &impl Values) -> Result<Vec<String>, BadValue> {
    let several = values.value("log.dirs").map(|text| split_list(&text));
    let dirs = several.unwrap_or_else(|| split_list(&values.value("log.dir").unwrap_or_default()));
    if dirs.is_empty() || dirs.iter().any(String::is_empty) {
        let allowed = "at least one log directory must be set, and none may be empty";
        return Err(BadValue::new("log.dirs", Some(&dirs.join(",")), allowed));
    }
    Ok(dirs)
}

/// An advertised address, else the one that is bound. A wildcard on the first controller listener gives way
/// to what `controller.quorum.voters` says of this node.
fn advertise_controllers(
    node_id: i32,
    told: &[Advertised],
    listeners: &[Listener],
    controllers: &[String],
    quorum: &QuorumForm,
) -> Vec<Advertised> {
    let voter = match quorum {
        QuorumForm::Static(voters) => voters.iter().find(|voter| voter.id == node_id),
        _ => None,
    };
    let address = |(position, name): (usize, &String)| {
        if let Some(told) = told
            .iter()
            .find(|one| one.name == *name && one.host.is_some())
        {
            return Some(told.clone());
        }
        let bound = listeners
            .iter()
            .find(|one| one.name == *name)
            .map(Advertised::as_bound)?;
        match voter.filter(|_| position == 0 && bound.host.is_none()) {
            Some(Voter { host, port, .. }) => Some(Advertised {
                name: bound.name,
                host: Some(host.clone()),
                port: *port,
            }),
            None => Some(bound),
        }
    };
    controllers.iter().enumerate().filter_map(address).collect()
}

/// The listener's name is set, or the first listener of the protocol's own name is meant.
fn read_inter_broker(values: &impl Values, listeners: &[Listener]) -> Result<String, BadValue> {
    if let Some(name) = values.value("inter.broker.listener.name") {
        return Ok(name.to_ascii_uppercase());
    }
    let name = values
        .value("security.inter.broker.protocol")
        .unwrap_or_default();
    let protocol = SecurityProtocol::from_name(&name).unwrap_or(SecurityProtocol::Plaintext);
    let has_name = listeners.iter().any(|one| one.name == protocol.name());
    // A node with one listener for clients needs no name to find it.
    let mut clients = listeners
        .iter()
        .filter(|one| !one.is_controller && one.protocol == protocol);
    match (has_name, clients.next(), clients.next()) {
        (false, Some(only), None) => Ok(only.name.clone()),
        _ => Ok(protocol.name().to_owned()),
    }
}

fn read_quorum(values: &impl Values) -> Result<QuorumForm, BadValue> {
    let voters = split_list(&values.value("controller.quorum.voters").unwrap_or_default());
    if !voters.is_empty() {
        let voters: Result<Vec<_>, _> = voters.iter().map(|entry| parse_voter(entry)).collect();
        return Ok(QuorumForm::Static(voters?));
    }
    let name = "controller.quorum.bootstrap.servers";
    let servers = split_list(&values.value(name).unwrap_or_default());
    if servers.is_empty() {
        return Ok(QuorumForm::Unset);
    }
    let servers: Result<Vec<_>, _> = servers
        .iter()
        .map(|entry| parse_host_port(name, entry))
        .collect();
    Ok(QuorumForm::Bootstrap(servers?))
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
        /// Not positive: a bound of our own.
        queued_request_bytes: i64 = "queued.max.request.bytes",
    }
}

settings! {
    /// What concerns all logs of the node. What one topic may override is in `TopicConfig`.
    pub struct LogSettings {
        recovery_threads_per_dir: i32 = "num.recovery.threads.per.data.dir",
        /// None: one for each directory.
        n_move_threads: Option<i32> = "num.replica.alter.log.dirs.threads",
        move_bytes_per_second_max: Option<i64> = "replica.alter.log.dirs.io.max.bytes.per.second",
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
    /// Compaction. What one topic may override is in `TopicConfig`.
    pub struct CleanerSettings {
        is_enabled: bool = "log.cleaner.enable",
        n_threads: i32 = "log.cleaner.threads",
        io_bytes_per_second_max: f64 = "log.cleaner.io.max.bytes.per.second",
        dedupe_buffer_bytes: i64 = "log.cleaner.dedupe.buffer.size",
        io_buffer_bytes: i32 = "log.cleaner.io.buffer.size",
        load_factor: f64 = "log.cleaner.io.buffer.load.factor",
        backoff_ms: i64 = "log.cleaner.backoff.ms",
    }
}

settings! {
    /// Over which time client quotas are measured, and what clients may push.
    pub struct QuotaSettings {
        window_num: i32 = "quota.window.num",
        window_seconds: i32 = "quota.window.size.seconds",
        controller_window_num: i32 = "controller.quota.window.num",
        controller_window_seconds: i32 = "controller.quota.window.size.seconds",
        telemetry_bytes_max: i32 = "telemetry.max.bytes",
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
    /// Groups of the consumer protocol. What one group sets for itself stays within the bounds.
    pub struct ConsumerGroupSettings {
        /// Which protocols are offered; for others than `consumer` it makes no difference.
        protocols: Vec<String> = "group.coordinator.rebalance.protocols",
        session_timeout_ms: i32 = "group.consumer.session.timeout.ms",
        session_timeout_ms_min: i32 = "group.consumer.min.session.timeout.ms",
        session_timeout_ms_max: i32 = "group.consumer.max.session.timeout.ms",
        heartbeat_interval_ms: i32 = "group.consumer.heartbeat.interval.ms",
        heartbeat_interval_ms_min: i32 = "group.consumer.min.heartbeat.interval.ms",
        heartbeat_interval_ms_max: i32 = "group.consumer.max.heartbeat.interval.ms",
        assignment_interval_ms: i32 = "group.consumer.assignment.interval.ms",
        assignment_interval_ms_min: i32 = "group.consumer.min.assignment.interval.ms",
        assignment_interval_ms_max: i32 = "group.consumer.max.assignment.interval.ms",
        max_size: i32 = "group.consumer.max.size",
        assignors: Vec<String> = "group.consumer.assignors",
        regex_refresh_interval_ms: i32 = "group.consumer.regex.refresh.interval.ms",
        migration_policy: String = "group.consumer.migration.policy",
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
    /// Transactions and their topic.
    pub struct TransactionSettings {
        state_log_partitions: i32 = "transaction.state.log.num.partitions",
        state_log_replication_factor: i16 = "transaction.state.log.replication.factor",
        state_log_min_in_sync: i32 = "transaction.state.log.min.isr",
        state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes",
        verification_enable: bool = "transaction.partition.verification.enable",
        timeout_ms_max: i32 = "transaction.max.timeout.ms",
        transactional_id_expiration_ms: i32 = "transactional.id.expiration.ms",
        abort_timed_out_interval_ms: i32 = "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        remove_expired_interval_ms: i32 = "transaction.remove.expired.transaction.cleanup.interval.ms",
        /// Also of a marker, until it is committed.
        request_timeout_ms: i32 = "request.timeout.ms",
        join_retry_backoff_ms: i32 = "add.partitions.to.txn.retry.backoff.ms",
        join_retry_backoff_ms_max: i32 = "add.partitions.to.txn.retry.backoff.max.ms",
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
        registration_timeout_ms: i32 = "initial.broker.registration.timeout.ms",
        broker_heartbeat_interval_ms: i32 = "broker.heartbeat.interval.ms",
        broker_session_timeout_ms: i32 = "broker.session.timeout.ms",
    }
}

settings! {
    /// Settings of our own.
    pub struct OttlaSettings {
        flush_before_ack: bool = "ottla.flush.before.ack",
        /// Negative: all.
        page_cache_bytes: i64 = "ottla.page.cache.bytes",
        /// Zero: nothing is reserved.
        preallocate_bytes: i64 = "ottla.preallocate.bytes",
        /// Zero: they are not told from others.
        cold_read_threads: i32 = "ottla.cold.read.threads",
        append_mode: String = "ottla.append.mode",
        client_telemetry: bool = "ottla.client.telemetry",
        /// `host:port`; empty switches HTTP off.
        http_listener: String = "ottla.http.listener",
        auto_format: bool = "ottla.auto.format",
    }
}

impl ConnectionSettings {
    /// Exceptions to `max_per_ip`, as `(host, most)`.
    pub fn per_ip_overrides(&self) -> Result<Vec<(String, i32)>, BadValue> {
        let read = |entry: &String| {
            let pair = entry.rsplit_once(':').and_then(|(host, most)| {
                Some((
                    host.trim().to_owned(),
                    most.trim().parse().ok().filter(|most| *most >= 0)?,
                ))
            });
            pair.filter(|(host, _)| !host.is_empty()).ok_or_else(|| {
                let allowed = "Each entry must be host:count";
                BadValue::new("max.connections.per.ip.overrides", Some(entry), allowed)
            })
        };
        self.max_per_ip_overrides.iter().map(read).collect()
    }

    fn validate(&self) -> Result<(), BadValue> {
        let overrides = self.per_ip_overrides()?;
        if self.max_per_ip == 0 && overrides.is_empty() {
            let words = "requirement failed: max.connections.per.ip can be set to zero only if \
                         max.connections.per.ip.overrides property is set.";
            let name = "max.connections.per.ip";
            return Err(BadValue::sentence(name, Some("0"), words));
        }
        Ok(())
    }
}

impl ConsumerGroupSettings {
    /// Least ≤ value ≤ most, and several heartbeats in a session.
    fn validate(&self) -> Result<(), BadValue> {
        let bounds = [
            (
                "session.timeout.ms",
                self.session_timeout_ms_min..=self.session_timeout_ms_max,
                self.session_timeout_ms,
            ),
            (
                "heartbeat.interval.ms",
                self.heartbeat_interval_ms_min..=self.heartbeat_interval_ms_max,
                self.heartbeat_interval_ms,
            ),
            (
                "assignment.interval.ms",
                self.assignment_interval_ms_min..=self.assignment_interval_ms_max,
                self.assignment_interval_ms,
            ),
        ];
        for (name, bounds, value) in bounds {
            if !bounds.contains(&value) {
                let (min, max) = (bounds.start(), bounds.end());
                let allowed = format!(
                    "must be between `group.consumer.min.{name}`, which is {min}, and \
                     `group.consumer.max.{name}`, which is {max}"
                );
                let name = format!("group.consumer.{name}");
                return Err(BadValue::new(&name, Some(&value.to_string()), allowed));
            }
        }
        if self.heartbeat_interval_ms >= self.session_timeout_ms {
            let allowed = format!(
                "must be less than `group.consumer.session.timeout.ms`, which is {}",
                self.session_timeout_ms
            );
            let value = self.heartbeat_interval_ms.to_string();
            let name = "group.consumer.heartbeat.interval.ms";
            return Err(BadValue::new(name, Some(&value), allowed));
        }
        Ok(())
    }
}

impl MetadataLogSettings {
    fn validate(&self) -> Result<(), BadValue> {
        if self.internal_segment_bytes.is_some_and(|bytes| bytes <= 0) {
            let allowed = "Value must be at least 1";
            return Err(BadValue::new(
                "internal.metadata.log.segment.bytes",
                None,
                allowed,
            ));
        }
        Ok(())
    }
}

//! Which settings stand for one another: the broker's side of a topic or group setting, the same time in
//! other units, and a listener's own value of a common setting.

/// How a broker's number becomes a topic's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Same,
    Minutes,
    Hours,
}

impl Unit {
    pub(super) fn to_topic(self, value: String) -> String {
        let millis = match self {
            Self::Same => return value,
            Self::Minutes => 60_000,
            Self::Hours => 3_600_000,
        };
        match value.trim().parse::<i64>() {
            Ok(number) => number.saturating_mul(millis).to_string(),
            Err(_) => value,
        }
    }
}

/// One broker setting behind a topic setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopicSynonym {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
}

macro_rules! synonyms {
    ($($topic:literal => [$($name:literal $unit:ident),+];)*) => {
        /// The broker settings behind a topic setting, the one that wins first.
        pub(super) fn of_topic(topic: &str) -> &'static [TopicSynonym] {
            match topic {
                $($topic => &[$(TopicSynonym { name: $name, unit: Unit::$unit }),+],)*
                _ => &[],
            }
        }
    };
}

synonyms! {
    "segment.bytes" => ["log.segment.bytes" Same];
    "segment.ms" => ["log.roll.ms" Same, "log.roll.hours" Hours];
    "segment.jitter.ms" => ["log.roll.jitter.ms" Same, "log.roll.jitter.hours" Hours];
    "segment.index.bytes" => ["log.index.size.max.bytes" Same];
    "flush.messages" => ["log.flush.interval.messages" Same];
    "flush.ms" => ["log.flush.interval.ms" Same, "log.flush.scheduler.interval.ms" Same];
    "retention.bytes" => ["log.retention.bytes" Same];
    "retention.ms" => ["log.retention.ms" Same, "log.retention.minutes" Minutes, "log.retention.hours" Hours];
    "max.message.bytes" => ["message.max.bytes" Same];
    "index.interval.bytes" => ["log.index.interval.bytes" Same];
    "delete.retention.ms" => ["log.cleaner.delete.retention.ms" Same];
    "min.compaction.lag.ms" => ["log.cleaner.min.compaction.lag.ms" Same];
    "max.compaction.lag.ms" => ["log.cleaner.max.compaction.lag.ms" Same];
    "file.delete.delay.ms" => ["log.segment.delete.delay.ms" Same];
    "min.cleanable.dirty.ratio" => ["log.cleaner.min.cleanable.ratio" Same];
    "cleanup.policy" => ["log.cleanup.policy" Same];
    "unclean.leader.election.enable" => ["unclean.leader.election.enable" Same];
    "min.insync.replicas" => ["min.insync.replicas" Same];
    "compression.type" => ["compression.type" Same];
    "compression.gzip.level" => ["compression.gzip.level" Same];
    "compression.lz4.level" => ["compression.lz4.level" Same];
    "compression.zstd.level" => ["compression.zstd.level" Same];
    "preallocate" => ["log.preallocate" Same];
    "message.timestamp.type" => ["log.message.timestamp.type" Same];
    "message.timestamp.before.max.ms" => ["log.message.timestamp.before.max.ms" Same];
    "message.timestamp.after.max.ms" => ["log.message.timestamp.after.max.ms" Same];
    "local.retention.ms" => ["log.local.retention.ms" Same];
    "local.retention.bytes" => ["log.local.retention.bytes" Same];
}

/// The broker setting behind a group setting.
pub(super) fn of_group(name: &str) -> Option<String> {
    let has_none = [
        "share.auto.offset.reset",
        "share.isolation.level",
        "share.renew.acknowledge.enable",
    ];
    (!has_none.contains(&name)).then(|| format!("group.{name}"))
}

/// Settings that say the same thing as `name`, `name` among them, the one that wins first. A dynamic
/// value of one pushes aside static values of the others.
pub(super) fn same_meaning(name: &str) -> Vec<&str> {
    const ROLL: [&str; 2] = ["log.roll.ms", "log.roll.hours"];
    const JITTER: [&str; 2] = ["log.roll.jitter.ms", "log.roll.jitter.hours"];
    const RETENTION: [&str; 3] = [
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
    ];
    match name {
        // The scheduler's interval stands in for the flush interval, not the other way round.
        "log.flush.interval.ms" => vec![name, "log.flush.scheduler.interval.ms"],
        _ if ROLL.contains(&name) => ROLL.to_vec(),
        _ if JITTER.contains(&name) => JITTER.to_vec(),
        _ if RETENTION.contains(&name) => RETENTION.to_vec(),
        _ => vec![name],
    }
}

/// As `same_meaning`; a listener's own setting is followed by the common one.
pub(super) fn of_broker(name: &str) -> Vec<&str> {
    match without_listener(name) {
        Some(common) => vec![name, common],
        None => same_meaning(name),
    }
}

/// Whether this is a listener's own setting that a cluster cannot have as a default: nearly all of them.
pub(super) fn is_of_one_broker(name: &str) -> bool {
    const CLUSTER_WIDE: [&str; 3] = [
        "max.connections",
        "max.connection.creation.rate",
        "num.network.threads",
    ];
    without_listener(name).is_some_and(|common| !CLUSTER_WIDE.contains(&common))
}

/// `ssl.keystore.type` of `listener.name.internal.ssl.keystore.type`, and `sasl.jaas.config` of
/// `listener.name.internal.plain.sasl.jaas.config`.
pub(super) fn without_listener(name: &str) -> Option<&str> {
    const PER_MECHANISM: [&str; 5] = [
        "sasl.jaas.config",
        "sasl.login.callback.handler.class",
        "sasl.login.class",
        "sasl.server.callback.handler.class",
        "connections.max.reauth.ms",
    ];
    let (_, rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
    let per_mechanism = PER_MECHANISM.iter().find(|one| rest.ends_with(**one));
    Some(per_mechanism.map_or(rest, |one| &rest[rest.len() - one.len()..]))
}

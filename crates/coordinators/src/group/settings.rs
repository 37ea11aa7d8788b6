//! What a broker's settings say about groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::assign::Assignor;

/// Settings of the group ledger; the names in the comments are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub max_size: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
    /// `offset.metadata.max.bytes`; Kafka counts UTF-16 units, and so do we.
    pub offset_metadata_max: usize,
    /// `group.consumer.…`
    pub consumer: ConsumerSettings,
}

/// Settings of groups of the consumer protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// Of groups that have none of their own.
    pub default: OneGroup,
    /// `group.consumer.max.size`
    pub max_size: usize,
    /// `group.consumer.assignors`; the first is the default.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.regex.refresh.interval.ms`
    pub regex_refresh_interval_ms: i32,
    /// `group.consumer.migration.policy`
    pub migration: MigrationPolicy,
    /// By group.
    pub own: Arc<BTreeMap<Arc<str>, OwnSettings>>,
}

/// Whether a group may change its protocol while it has members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// To either protocol.
    Bidirectional,
    /// To the consumer protocol only.
    Upgrade,
    /// To the classic protocol only.
    Downgrade,
    /// No; and no classic member may enter a group of the consumer protocol.
    Disabled,
}

impl MigrationPolicy {
    /// By Kafka's word, in any case; what is no such word disables it.
    pub fn from_name(name: &str) -> Self {
        match &*name.to_ascii_lowercase() {
            "bidirectional" => Self::Bidirectional,
            "upgrade" => Self::Upgrade,
            "downgrade" => Self::Downgrade,
            _ => Self::Disabled,
        }
    }

    pub(crate) fn upgrades(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    pub(crate) fn downgrades(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }
}

/// What counts for one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneGroup {
    /// `group.consumer.session.timeout.ms`
    pub session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`
    pub assignment_interval_ms: i32,
}

/// What a group sets for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnSettings {
    /// `consumer.session.timeout.ms`
    pub session_timeout_ms: Option<i32>,
    /// `consumer.heartbeat.interval.ms`
    pub heartbeat_interval_ms: Option<i32>,
    /// `consumer.assignment.interval.ms`
    pub assignment_interval_ms: Option<i32>,
}

impl ConsumerSettings {
    /// What counts for this group.
    pub(crate) fn of(&self, group_id: &str) -> OneGroup {
        let own = self.own.get(group_id).copied().unwrap_or_default();
        let OneGroup {
            session_timeout_ms,
            heartbeat_interval_ms,
            assignment_interval_ms,
        } = self.default;
        OneGroup {
            session_timeout_ms: own.session_timeout_ms.unwrap_or(session_timeout_ms),
            heartbeat_interval_ms: own.heartbeat_interval_ms.unwrap_or(heartbeat_interval_ms),
            assignment_interval_ms: own.assignment_interval_ms.unwrap_or(assignment_interval_ms),
        }
    }
}

impl Default for ConsumerSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            default: OneGroup {
                session_timeout_ms: 45_000,
                heartbeat_interval_ms: 5_000,
                assignment_interval_ms: 1_000,
            },
            max_size: i32::MAX as usize,
            assignors: vec![Assignor::Uniform, Assignor::Range],
            regex_refresh_interval_ms: 600_000,
            migration: MigrationPolicy::Bidirectional,
            own: Arc::default(),
        }
    }
}

/// How long a member that has never had an answer may wait in a JoinGroup. It cannot send
/// heartbeats yet, and a client that gave up would stay in the rebalance forever. Kafka's constant.
pub(crate) const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;

impl Default for GroupSettings {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX as usize,
            offsets_retention_ms: 10_080 * 60 * 1000,
            offsets_retention_check_interval_ms: 600_000,
            offset_metadata_max: 4096,
            consumer: ConsumerSettings::default(),
        }
    }
}

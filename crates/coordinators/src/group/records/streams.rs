//! Streams groups (KIP-1071): types 17 and 19 to 23. Checked and kept, not served.

use ottla_protocol::{Message, Text};

/// Type 17, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 17, versions = "0", flexible = "none")]
pub struct StreamsGroupMetadataKey {
    /// Which group.
    pub group_id: Text,
}

/// Type 17, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 17, versions = "0", flexible = "0+")]
pub struct StreamsGroupMetadataValue {
    /// Counts the changes.
    pub epoch: i32,
    /// Of the topics it was computed for.
    pub metadata_hash: i64,
    /// The topology last found valid.
    #[field(tag = 0, default = -1)]
    pub validated_topology_epoch: i32,
    /// Settings of the last assignment.
    #[field(nullable = "0+", tag = 1)]
    pub last_assignment_configs: Option<Vec<LastAssignmentConfig>>,
    /// Kafka 4.4.
    #[field(tag = 2, default = -1)]
    pub stored_description_topology_epoch: i32,
    /// Kafka 4.4.
    #[field(tag = 3, default = -1)]
    pub failed_description_topology_epoch: i32,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct LastAssignmentConfig {
    /// Its key.
    pub key: Text,
    /// Its value.
    pub value: Text,
}

/// Type 19, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 19, versions = "0", flexible = "none")]
pub struct StreamsGroupMemberMetadataKey {
    /// Which group.
    pub group_id: Text,
    /// Which member.
    pub member_id: Text,
}

/// Type 19, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 19, versions = "0", flexible = "0+")]
pub struct StreamsGroupMemberMetadataValue {
    /// Set for a static member.
    #[field(nullable = "0+")]
    pub instance_id: Option<Text>,
    /// Where it runs.
    #[field(nullable = "0+")]
    pub rack_id: Option<Text>,
    /// From the request header.
    pub client_id: Text,
    /// Where it came from.
    pub client_host: Text,
    /// How long it may take to give up partitions.
    #[field(default = -1)]
    pub rebalance_timeout_ms: i32,
    /// Which topology it runs.
    pub topology_epoch: i32,
    /// Which process.
    pub process_id: Text,
    /// Where queries go.
    #[field(nullable = "0+", default = None)]
    pub user_endpoint: Option<StreamsEndpoint>,
    /// Its tags.
    pub client_tags: Vec<StreamsTag>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct StreamsEndpoint {
    /// Which host.
    pub host: Text,
    /// Which port.
    pub port: u16,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct StreamsTag {
    /// Its key.
    pub key: Text,
    /// Its value.
    pub value: Text,
}

/// Type 20, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 20, versions = "0", flexible = "none")]
pub struct StreamsGroupTargetAssignmentMetadataKey {
    /// Which group.
    pub group_id: Text,
}

/// Type 20, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 20, versions = "0", flexible = "0+")]
pub struct StreamsGroupTargetAssignmentMetadataValue {
    /// The group epoch it was computed for.
    pub assignment_epoch: i32,
    /// When it was computed.
    #[field(tag = 0)]
    pub assignment_timestamp: i64,
}

/// Type 21, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 21, versions = "0", flexible = "none")]
pub struct StreamsGroupTargetAssignmentMemberKey {
    /// Which group.
    pub group_id: Text,
    /// Which member.
    pub member_id: Text,
}

/// Type 21, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 21, versions = "0", flexible = "0+")]
pub struct StreamsGroupTargetAssignmentMemberValue {
    /// Active tasks.
    pub active_tasks: Vec<TargetTasks>,
    /// Standby tasks.
    pub standby_tasks: Vec<TargetTasks>,
    /// Warm-up tasks.
    pub warmup_tasks: Vec<TargetTasks>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct TargetTasks {
    /// Which part of the topology.
    pub subtopology_id: Text,
    /// Which partitions.
    pub partitions: Vec<i32>,
}

/// Type 22, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 22, versions = "0", flexible = "none")]
pub struct StreamsGroupCurrentMemberAssignmentKey {
    /// Which group.
    pub group_id: Text,
    /// Which member.
    pub member_id: Text,
}

/// Type 22, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 22, versions = "0", flexible = "0+")]
pub struct StreamsGroupCurrentMemberAssignmentValue {
    /// What the member has reached.
    pub member_epoch: i32,
    /// What it had before.
    pub previous_member_epoch: i32,
    /// Where it stands in the reconciliation.
    pub state: i8,
    /// Active tasks.
    pub active_tasks: Vec<CurrentTasks>,
    /// Standby tasks.
    pub standby_tasks: Vec<CurrentTasks>,
    /// Warm-up tasks.
    pub warmup_tasks: Vec<CurrentTasks>,
    /// Active tasks to give up.
    pub active_tasks_pending_revocation: Vec<CurrentTasks>,
    /// Standby tasks to give up.
    pub standby_tasks_pending_revocation: Vec<CurrentTasks>,
    /// Warm-up tasks to give up.
    pub warmup_tasks_pending_revocation: Vec<CurrentTasks>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CurrentTasks {
    /// Which part of the topology.
    pub subtopology_id: Text,
    /// Which partitions.
    pub partitions: Vec<i32>,
    /// When each was assigned.
    #[field(nullable = "0+", tag = 0)]
    pub assignment_epochs: Option<Vec<i32>>,
}

/// Type 23, key.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 23, versions = "0", flexible = "none")]
pub struct StreamsGroupTopologyKey {
    /// Which group.
    pub group_id: Text,
}

/// Type 23, value.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 23, versions = "0", flexible = "0+")]
pub struct StreamsGroupTopologyValue {
    /// Counts the changes.
    pub epoch: i32,
    /// Its parts.
    pub subtopologies: Vec<Subtopology>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct Subtopology {
    /// Which part of the topology.
    pub subtopology_id: Text,
    /// What it reads.
    pub source_topics: Vec<Text>,
    /// What it reads, as patterns.
    pub source_topic_regex: Vec<Text>,
    /// Where it keeps state.
    pub state_changelog_topics: Vec<StreamsTopic>,
    /// What it writes for others.
    pub repartition_sink_topics: Vec<Text>,
    /// What others write for it.
    pub repartition_source_topics: Vec<StreamsTopic>,
    /// Topics that must have equal partition counts.
    pub copartition_groups: Vec<CopartitionGroup>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct CopartitionGroup {
    /// What it reads.
    pub source_topics: Vec<i16>,
    /// What it reads, as patterns.
    pub source_topic_regex: Vec<i16>,
    /// What others write for it.
    pub repartition_source_topics: Vec<i16>,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct StreamsTopicConfig {
    /// Its key.
    pub key: Text,
    /// Its value.
    pub value: Text,
}

/// Part of the records above.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct StreamsTopic {
    /// Its name.
    pub name: Text,
    /// Which partitions.
    pub partitions: i32,
    /// How many copies; 0 the default.
    pub replication_factor: i16,
    /// Settings of the topic.
    pub topic_configs: Vec<StreamsTopicConfig>,
}

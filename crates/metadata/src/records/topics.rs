//! Topics and partitions: full state, changes, removal.

use ottla_protocol::{LeaderEpoch, Message, NodeId, Text, Uuid};

/// A topic is there from now on.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 2, versions = "0", flexible = "0+")]
pub struct TopicRecord {
    pub name: Text,
    pub topic_id: Uuid,
}

/// The whole state of one partition.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 3, versions = "0-2", flexible = "0+")]
pub struct PartitionRecord {
    #[field(default = -1)]
    pub partition_id: i32,
    pub topic_id: Uuid,
    pub replicas: Vec<NodeId>,
    pub isr: Vec<NodeId>,
    pub removing_replicas: Vec<NodeId>,
    pub adding_replicas: Vec<NodeId>,
    #[field(default = -1)]
    pub leader: NodeId,
    #[field(tag = 0)]
    pub leader_recovery_state: i8,
    #[field(default = -1)]
    pub leader_epoch: LeaderEpoch,
    #[field(default = -1)]
    pub partition_epoch: i32,
    #[field(versions = "1+")]
    pub directories: Vec<Uuid>,
    #[field(versions = "2+", nullable = "2+", tag = 1, default = None)]
    pub eligible_leader_replicas: Option<Vec<NodeId>>,
    #[field(versions = "2+", nullable = "2+", tag = 2, default = None)]
    pub last_known_elr: Option<Vec<NodeId>>,
}

/// What changed in one partition; absent fields stay. The partition epoch rises by one with every
/// such record, the leader epoch whenever `leader` is present.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 5, versions = "0-2", flexible = "0+")]
pub struct PartitionChangeRecord {
    #[field(default = -1)]
    pub partition_id: i32,
    pub topic_id: Uuid,
    #[field(nullable = "0+", tag = 0, default = None)]
    pub isr: Option<Vec<NodeId>>,
    /// -2 unchanged, -1 nobody.
    #[field(tag = 1, default = -2)]
    pub leader: NodeId,
    #[field(nullable = "0+", tag = 2, default = None)]
    pub replicas: Option<Vec<NodeId>>,
    #[field(nullable = "0+", tag = 3, default = None)]
    pub removing_replicas: Option<Vec<NodeId>>,
    #[field(nullable = "0+", tag = 4, default = None)]
    pub adding_replicas: Option<Vec<NodeId>>,
    /// -1 unchanged, 0 recovered, 1 recovering.
    #[field(tag = 5, default = -1)]
    pub leader_recovery_state: i8,
    #[field(versions = "2+", nullable = "2+", tag = 6, default = None)]
    pub eligible_leader_replicas: Option<Vec<NodeId>>,
    #[field(versions = "2+", nullable = "2+", tag = 7, default = None)]
    pub last_known_elr: Option<Vec<NodeId>>,
    #[field(versions = "1+", nullable = "1+", tag = 8, default = None)]
    pub directories: Option<Vec<Uuid>>,
}

/// A topic and its configuration are gone.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 9, versions = "0", flexible = "0+")]
pub struct RemoveTopicRecord {
    pub topic_id: Uuid,
}

/// No partition of this topic (of any topic, if the name is empty) has eligible leaders outside
/// its in-sync set any more.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 28, versions = "0", flexible = "0+")]
pub struct ClearElrRecord {
    pub topic_name: Text,
}

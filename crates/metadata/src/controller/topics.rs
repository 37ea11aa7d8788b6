//! Create, delete, add partitions.

use std::sync::Arc;

use ottla_protocol::{NodeId, Refused, Uuid};

use super::{ConfigRules, Controller, Decision, Outcome};
use crate::config::Overrides;

/// One topic of a CreateTopics request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewTopic {
    pub name: String,
    /// -1: the default.
    pub num_partitions: i32,
    /// -1: the default.
    pub replication_factor: i16,
    /// Partition index and its replicas; empty: we choose.
    pub assignments: Vec<(i32, Vec<NodeId>)>,
    /// `None` asks for a null value, which no topic setting takes.
    pub configs: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreatedTopic {
    pub id: Uuid,
    pub num_partitions: i32,
    pub replication_factor: i16,
    /// What is set on it; what is in force follows from the catalogue.
    pub overrides: Overrides,
}

/// In the order of the request.
pub type CreateTopicsReply = Vec<Outcome<CreatedTopic>>;

/// How a topic to be deleted is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteTarget {
    Name(String),
    Id(Uuid),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    pub id: Uuid,
    pub name: Arc<str>,
}

/// One topic of a CreatePartitions request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewPartitions {
    pub topic: String,
    /// How many there shall be in all.
    pub count: i32,
    /// The replicas of each new partition; `None`: we choose.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// Whether Kafka takes this as a topic name, and if not, why.
pub fn check_topic_name(name: &str) -> Result<(), Refused> {
    let _ = name;
    todo!()
}

impl Controller {
    /// `next_id` gives a fresh random topic id each time it is called.
    pub fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
        rules: &dyn ConfigRules,
        next_id: &mut dyn FnMut() -> Uuid,
    ) -> Decision<CreateTopicsReply> {
        let _ = (topics, validate_only, rules, next_id);
        todo!()
    }

    pub fn delete_topics(&self, targets: &[DeleteTarget]) -> Decision<Vec<Outcome<DeletedTopic>>> {
        let _ = targets;
        todo!()
    }

    pub fn create_partitions(
        &self,
        topics: &[NewPartitions],
        validate_only: bool,
    ) -> Decision<Vec<Outcome<()>>> {
        let _ = (topics, validate_only);
        todo!()
    }
}

//! Create topics: check name, settings and numbers, then write topic, settings and partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::{NodeId, Refusal, Refused, Uuid};

use super::{ByName, by_name, check_topic_name, duplicates, refuse_all, too_many_records};
use crate::config::{ConfigChange, ConfigOperation, Overrides, Scope};
use crate::controller::{
    ConfigRules, Controller, Decision, Mutations, Outcome, RECORDS_PER_REQUEST_MAX,
};
use crate::image::Resource;
use crate::records::{Record, TopicRecord};

/// The most partitions that one CreateTopics request may ask for, as in Kafka.
pub const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

/// The metadata log looks like a topic but is none.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// "You choose" in a request.
pub(super) const DEFAULT: i32 = -1;

/// One topic of a CreateTopics request.
#[derive(Debug, Clone, PartialEq)]
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

impl Default for NewTopic {
    /// All is left to the node.
    fn default() -> Self {
        Self {
            name: String::new(),
            num_partitions: DEFAULT,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreatedTopic {
    pub id: Uuid,
    pub num_partitions: i32,
    pub replication_factor: i16,
    /// What is set on it; what is in force follows from the catalogue.
    pub overrides: Overrides,
}

impl Controller {
    /// `next_id` gives a fresh random topic id each time it is called.
    pub fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
        rules: &dyn ConfigRules,
        next_id: &mut dyn FnMut() -> Uuid,
        quota: &mut dyn Mutations,
    ) -> Decision<ByName<CreatedTopic>> {
        let (once, twice) = by_name(topics, |topic| &topic.name);
        let similar = self.similar_names(&once);
        let mut records = Vec::new();
        let mut reply: ByName<CreatedTopic> = match self.check_total(&once) {
            Err(refused) => refuse_all(&once, |topic| &topic.name, &refused),
            Ok(()) => once
                .iter()
                .map(|topic| {
                    let planned = self.create_topic(topic, &similar, rules, next_id);
                    let outcome = planned.and_then(|(created, planned)| {
                        quota.take(usize::try_from(created.num_partitions).unwrap_or(0))?;
                        records.extend(planned);
                        Ok(created)
                    });
                    (topic.name.clone(), outcome)
                })
                .collect(),
        };
        if records.len() > RECORDS_PER_REQUEST_MAX {
            records.clear();
            reply = refuse_all(&once, |topic| &topic.name, &too_many_records());
        }
        reply.extend(duplicates(twice));
        if validate_only {
            records.clear();
        }
        self.decide(records, reply)
    }

    /// Too much at once is refused as a whole, before anything is planned.
    fn check_total(&self, topics: &[&NewTopic]) -> Result<(), Refused> {
        let total: i64 = topics
            .iter()
            .map(|topic| match topic.num_partitions {
                _ if !topic.assignments.is_empty() => topic.assignments.len() as i64,
                DEFAULT => i64::from(self.settings().num_partitions),
                n => i64::from(n.max(0)),
            })
            .sum();
        if total > PARTITIONS_PER_REQUEST_MAX {
            return Err(Refused::new(
                Refusal::PolicyViolation,
                "Excessively large number of partitions per request.",
            ));
        }
        Ok(())
    }

    fn create_topic(
        &self,
        topic: &NewTopic,
        similar: &SimilarNames,
        rules: &dyn ConfigRules,
        next_id: &mut dyn FnMut() -> Uuid,
    ) -> Outcome<(CreatedTopic, Vec<Record>)> {
        let mut records = Vec::new();
        self.check_new_name(&topic.name, similar)?;
        let overrides = new_overrides(topic, rules)?;
        let id = next_id();
        let partitions = self.plan(topic, id)?;
        let replication_factor = partitions.first().map_or(0, |first| first.replicas.len());
        let created = CreatedTopic {
            id,
            num_partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(replication_factor).unwrap_or(i16::MAX),
            overrides,
        };

        records.push(
            TopicRecord {
                name: topic.name.as_str().into(),
                topic_id: id,
            }
            .into(),
        );
        let resource = Resource::topic(&topic.name);
        let set = created
            .overrides
            .iter()
            .map(|(name, value)| (name, Some(value)));
        self.push_configs(&resource, set, &mut records);
        for (index, partition) in (0..).zip(&partitions) {
            records.push(partition.to_record(id, index, self.level()).into());
        }
        Ok((created, records))
    }

    fn check_new_name(&self, name: &str, similar: &SimilarNames) -> Result<(), Refused> {
        if name == METADATA_TOPIC {
            return Err(Refused::new(
                Refusal::InvalidRequest,
                format!("Creation of internal topic {METADATA_TOPIC} is prohibited."),
            ));
        }
        if self.image().topics.find(name).is_some() {
            return Err(Refused::new(
                Refusal::TopicAlreadyExists,
                format!("Topic '{name}' already exists."),
            ));
        }
        check_topic_name(name)?;
        if let Some(other) = similar
            .get(&name.replace('.', "_"))
            .filter(|_| has_collision_char(name))
        {
            return Err(Refused::new(
                Refusal::InvalidTopicException,
                format!("Topic '{name}' collides with existing topic: {other}"),
            ));
        }
        Ok(())
    }

    /// The topics whose metrics have names that another could get: '.' and '_' are one there.
    /// Looked up once per request, and only if it matters.
    fn similar_names(&self, new: &[&NewTopic]) -> SimilarNames {
        if !new.iter().any(|topic| has_collision_char(&topic.name)) {
            return SimilarNames::new();
        }
        self.image()
            .topics
            .iter()
            .filter(|topic| has_collision_char(&topic.name))
            .map(|topic| (topic.name.replace('.', "_"), topic.name.clone()))
            .collect()
    }
}

/// From the name with every '.' made '_' to the topic.
type SimilarNames = BTreeMap<String, Arc<str>>;

fn has_collision_char(name: &str) -> bool {
    name.contains(['.', '_'])
}

fn new_overrides(topic: &NewTopic, rules: &dyn ConfigRules) -> Result<Overrides, Refused> {
    let nulls: Vec<&str> = topic
        .configs
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if !nulls.is_empty() {
        return Err(Refused::new(
            Refusal::InvalidConfig,
            format!(
                "Null value not supported for topic configs: {}",
                nulls.join(",")
            ),
        ));
    }
    // What is said twice counts as it was said last.
    let configs: BTreeMap<&String, &Option<String>> = topic
        .configs
        .iter()
        .map(|(name, value)| (name, value))
        .collect();
    let changes: Vec<ConfigChange> = configs
        .into_iter()
        .map(|(name, value)| ConfigChange {
            name: name.clone(),
            operation: ConfigOperation::Set,
            value: value.clone(),
        })
        .collect();
    if changes.is_empty() {
        return Ok(Overrides::new());
    }
    rules.alter(Scope::Topic, &topic.name, &Overrides::new(), &changes)
}

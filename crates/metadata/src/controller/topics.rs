//! Create, delete, add partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::{NodeId, Refusal, Refused, Uuid};

use super::place::{first_state, place};
use super::{ConfigRules, Controller, Decision, Outcome, RECORDS_PER_REQUEST_MAX};
use crate::config::{ConfigChange, ConfigOperation, Overrides, Scope};
use crate::image::{Partition, Resource, Topic};
use crate::records::{Record, RemoveTopicRecord, TopicRecord};

/// The most partitions that one CreateTopics request may ask for, as in Kafka.
pub const PARTITIONS_PER_REQUEST_MAX: i64 = 10_000;

/// The metadata log looks like a topic but is none.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// "You choose" in a request.
const DEFAULT: i32 = -1;

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

/// By name: each name once, in the order of the request, names that came twice last.
pub type ByName<T> = Vec<(String, Outcome<T>)>;

/// How a topic to be deleted is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeleteTarget {
    Name(String),
    Id(Uuid),
}

/// The verdict on one topic of a DeleteTopics request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    pub name: Option<Arc<str>>,
    /// Zero where it is not known.
    pub id: Uuid,
    pub outcome: Outcome<()>,
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
    /// A directory name must hold it, a dash and a partition number.
    const LENGTH_MAX: usize = 249;
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let why = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.encode_utf16().count() > LENGTH_MAX {
        format!("the length of '{name}' is longer than the max allowed length {LENGTH_MAX}")
    } else if !name.bytes().all(is_legal) {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' \
             and '-'"
        )
    } else {
        return Ok(());
    };
    Err(Refused::new(
        Refusal::InvalidTopicException,
        format!("Topic name is invalid: {why}"),
    ))
}

impl Controller {
    /// `next_id` gives a fresh random topic id each time it is called.
    pub fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
        rules: &dyn ConfigRules,
        next_id: &mut dyn FnMut() -> Uuid,
    ) -> Decision<ByName<CreatedTopic>> {
        let (once, twice) = by_name(topics, |topic| &topic.name);
        let mut records = Vec::new();
        let mut reply: ByName<CreatedTopic> = match self.check_total(&once) {
            Err(refused) => refuse_all(&once, |topic| &topic.name, &refused),
            Ok(()) => once
                .iter()
                .map(|topic| {
                    let outcome = self.create_topic(topic, rules, next_id, &mut records);
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
        rules: &dyn ConfigRules,
        next_id: &mut dyn FnMut() -> Uuid,
        records: &mut Vec<Record>,
    ) -> Outcome<CreatedTopic> {
        self.check_new_name(&topic.name)?;
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
        self.push_configs(&resource, set, records);
        for (index, partition) in (0..).zip(&partitions) {
            records.push(partition.to_record(id, index, self.level()).into());
        }
        Ok(created)
    }

    fn check_new_name(&self, name: &str) -> Result<(), Refused> {
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
        if let Some(other) = self.colliding(name) {
            return Err(Refused::new(
                Refusal::InvalidTopicException,
                format!("Topic '{name}' collides with existing topic: {other}"),
            ));
        }
        Ok(())
    }

    /// A topic whose metrics would have the same name: '.' and '_' are one there.
    fn colliding(&self, name: &str) -> Option<&str> {
        if !name.contains(['.', '_']) {
            return None;
        }
        let unified = name.replace('.', "_");
        self.image()
            .topics
            .iter()
            .map(|topic| &*topic.name)
            .find(|other| other.len() == name.len() && other.replace('.', "_") == unified)
    }

    fn plan(&self, topic: &NewTopic, id: Uuid) -> Result<Vec<Partition>, Refused> {
        if !topic.assignments.is_empty() {
            return self.plan_by_hand(topic);
        }
        let replication_factor = match topic.replication_factor {
            -1 => self.settings().default_replication_factor,
            n if n > 0 => n,
            _ => {
                return Err(Refused::new(
                    Refusal::InvalidReplicationFactor,
                    "Replication factor must be larger than 0, or -1 to use the default value.",
                ));
            }
        };
        let n = match topic.num_partitions {
            DEFAULT => self.settings().num_partitions,
            n if n > 0 => n,
            _ => {
                return Err(Refused::new(
                    Refusal::InvalidPartitions,
                    "Number of partitions was set to an invalid non-positive value.",
                ));
            }
        };
        let nodes = &self.image().nodes;
        place(nodes, 0, n, replication_factor, id.as_u128())?
            .into_iter()
            .map(|replicas| self.first_state_placed(replicas))
            .collect()
    }

    fn first_state_placed(&self, replicas: Vec<NodeId>) -> Result<Partition, Refused> {
        let n = replicas.len();
        first_state(&self.image().nodes, replicas).ok_or_else(|| {
            Refused::new(
                Refusal::InvalidReplicationFactor,
                format!(
                    "Unable to replicate the partition {n} time(s): All brokers are currently \
                     fenced or in controlled shutdown."
                ),
            )
        })
    }

    fn plan_by_hand(&self, topic: &NewTopic) -> Result<Vec<Partition>, Refused> {
        if topic.replication_factor != -1 {
            return Err(Refused::new(
                Refusal::InvalidRequest,
                "A manual partition assignment was specified, but replication factor was not set \
                 to -1.",
            ));
        }
        if topic.num_partitions != DEFAULT {
            return Err(Refused::new(
                Refusal::InvalidRequest,
                "A manual partition assignment was specified, but numPartitions was not set to -1.",
            ));
        }
        let mut planned = BTreeMap::new();
        let mut replication_factor = None;
        for (index, replicas) in &topic.assignments {
            if planned.contains_key(index) {
                return Err(bad_assignment(format!(
                    "Found multiple manual partition assignments for partition {index}"
                )));
            }
            let partition = self.first_state_by_hand(*index, replicas, replication_factor)?;
            replication_factor = Some(replicas.len());
            planned.insert(*index, partition);
        }
        let is_dense = planned.keys().copied().eq((0..).take(planned.len()));
        if !is_dense {
            return Err(bad_assignment(
                "partitions should be a consecutive 0-based integer sequence".to_owned(),
            ));
        }
        Ok(planned.into_values().collect())
    }

    fn first_state_by_hand(
        &self,
        index: i32,
        replicas: &[NodeId],
        replication_factor: Option<usize>,
    ) -> Result<Partition, Refused> {
        self.check_assignment(replicas, replication_factor)?;
        first_state(&self.image().nodes, replicas.to_vec()).ok_or_else(|| {
            bad_assignment(format!(
                "All brokers specified in the manual partition assignment for partition {index} \
                 are fenced or in controlled shutdown."
            ))
        })
    }

    fn check_assignment(
        &self,
        replicas: &[NodeId],
        replication_factor: Option<usize>,
    ) -> Result<(), Refused> {
        if replicas.is_empty() {
            return Err(bad_assignment(
                "The manual partition assignment includes an empty replica list.".to_owned(),
            ));
        }
        let mut sorted = replicas.to_vec();
        sorted.sort_unstable();
        let mut previous = None;
        for id in sorted {
            if self.image().nodes.broker(id).is_none() {
                return Err(bad_assignment(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is \
                     registered."
                )));
            }
            if previous.replace(id) == Some(id) {
                return Err(bad_assignment(format!(
                    "The manual partition assignment includes the broker {id} more than once."
                )));
            }
        }
        match replication_factor {
            Some(expected) if expected != replicas.len() => Err(bad_assignment(format!(
                "The manual partition assignment includes a partition with {} replica(s), but \
                 this is not consistent with previous partitions, which have {expected} \
                 replica(s).",
                replicas.len()
            ))),
            _ => Ok(()),
        }
    }

    /// Each topic named by name or id, once. Kafka shuffles the answers; here names that came
    /// twice are last. A topic named both ways is not deleted, and answered by its name only.
    pub fn delete_topics(&self, targets: &[DeleteTarget]) -> Decision<Vec<DeletedTopic>> {
        let mut counts: BTreeMap<&DeleteTarget, usize> = BTreeMap::new();
        for target in targets {
            *counts.entry(target).or_default() += 1;
        }
        let both: BTreeSet<Uuid> = self.named_both_ways(&counts).collect();
        let mut records = Vec::new();
        let mut reply: Vec<DeletedTopic> = Vec::new();
        for target in targets
            .iter()
            .filter(|target| counts.get(target) == Some(&1))
        {
            if matches!(target, DeleteTarget::Id(id) if both.contains(id)) {
                continue;
            }
            let deleted = self.delete_topic(target, &both);
            if deleted.outcome.is_ok() {
                records.push(
                    RemoveTopicRecord {
                        topic_id: deleted.id,
                    }
                    .into(),
                );
            }
            reply.push(deleted);
        }
        let twice = counts
            .iter()
            .filter(|(_, n)| **n > 1)
            .map(|(target, _)| duplicate(target));
        reply.extend(twice);
        if records.len() > RECORDS_PER_REQUEST_MAX {
            records.clear();
            for deleted in &mut reply {
                deleted.outcome = Err(too_many_records());
            }
        }
        self.decide(records, reply)
    }

    fn named_both_ways(
        &self,
        counts: &BTreeMap<&DeleteTarget, usize>,
    ) -> impl Iterator<Item = Uuid> {
        counts.keys().filter_map(|target| match target {
            DeleteTarget::Id(_) => None,
            DeleteTarget::Name(name) => {
                let id = self.image().topics.find(name)?.id;
                counts.contains_key(&DeleteTarget::Id(id)).then_some(id)
            }
        })
    }

    fn delete_topic(&self, target: &DeleteTarget, both: &BTreeSet<Uuid>) -> DeletedTopic {
        let topics = &self.image().topics;
        let topic = match target {
            DeleteTarget::Name(name) => match topics.find(name) {
                None => {
                    let refused = Refusal::UnknownTopicOrPartition.into();
                    return refuse_deletion(Some(name), Uuid::ZERO, refused);
                }
                Some(topic) if both.contains(&topic.id) => {
                    let refused = Refused::new(
                        Refusal::InvalidRequest,
                        "The provided topic name maps to an ID that was already supplied.",
                    );
                    return refuse_deletion(Some(name), topic.id, refused);
                }
                Some(topic) => topic,
            },
            DeleteTarget::Id(id) if id.is_zero() => {
                let refused = Refused::new(
                    Refusal::InvalidRequest,
                    "Neither topic name nor id were specified.",
                );
                return refuse_deletion(None, *id, refused);
            }
            DeleteTarget::Id(id) => match topics.find_by_id(*id) {
                None => return refuse_deletion(None, *id, Refusal::UnknownTopicId.into()),
                Some(topic) => topic,
            },
        };
        DeletedTopic {
            name: Some(topic.name.clone()),
            id: topic.id,
            outcome: Ok(()),
        }
    }

    pub fn create_partitions(
        &self,
        topics: &[NewPartitions],
        validate_only: bool,
    ) -> Decision<ByName<()>> {
        let (once, twice) = by_name(topics, |new| &new.topic);
        let mut records = Vec::new();
        let mut reply: ByName<()> = once
            .iter()
            .map(|new| (new.topic.clone(), self.add_partitions(new, &mut records)))
            .collect();
        if records.len() > RECORDS_PER_REQUEST_MAX {
            records.clear();
            reply = refuse_all(&once, |new| &new.topic, &too_many_records());
        }
        reply.extend(duplicates(twice));
        if validate_only {
            records.clear();
        }
        self.decide(records, reply)
    }

    fn add_partitions(&self, new: &NewPartitions, records: &mut Vec<Record>) -> Outcome<()> {
        let topic = self
            .image()
            .topics
            .find(&new.topic)
            .ok_or(Refused::from(Refusal::UnknownTopicOrPartition))?;
        let present = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let additional = additional(new, present)?;
        if i64::from(additional) > PARTITIONS_PER_REQUEST_MAX {
            return Err(too_many_records());
        }
        let replication_factor = topic.partition(0).map_or(0, |first| first.replicas.len());
        let planned = match &new.assignments {
            None => self.plan_more(topic, present, additional, replication_factor)?,
            Some(assignments) => (present..)
                .zip(assignments)
                .map(|(index, replicas)| {
                    self.first_state_by_hand(index, replicas, Some(replication_factor))
                })
                .collect::<Result<_, _>>()?,
        };
        for (index, partition) in (present..).zip(&planned) {
            records.push(partition.to_record(topic.id, index, self.level()).into());
        }
        Ok(())
    }

    fn plan_more(
        &self,
        topic: &Topic,
        first: i32,
        n: i32,
        replication_factor: usize,
    ) -> Result<Vec<Partition>, Refused> {
        let factor = i16::try_from(replication_factor).unwrap_or(i16::MAX);
        place(&self.image().nodes, first, n, factor, topic.id.as_u128())?
            .into_iter()
            .map(|replicas| self.first_state_placed(replicas))
            .collect()
    }
}

fn additional(new: &NewPartitions, present: i32) -> Result<i32, Refused> {
    let refuse = |why: String| Err(Refused::new(Refusal::InvalidPartitions, why));
    if new.count == present {
        return refuse(format!("Topic already has {present} partition(s)."));
    }
    if new.count < present {
        return refuse(format!(
            "The topic {} currently has {present} partition(s); {} would not be an increase.",
            new.topic, new.count
        ));
    }
    let additional = new.count - present;
    match &new.assignments {
        Some(assignments) if i32::try_from(assignments.len()) != Ok(additional) => {
            Err(bad_assignment(format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) \
                 were specified.",
                assignments.len()
            )))
        }
        _ => Ok(additional),
    }
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
    let changes: Vec<ConfigChange> = topic
        .configs
        .iter()
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

/// What was named once, in order, and the names that were named more often.
fn by_name<'a, T>(all: &'a [T], name: impl Fn(&T) -> &String) -> (Vec<&'a T>, Vec<String>) {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for one in all {
        *counts.entry(name(one)).or_default() += 1;
    }
    let twice = counts
        .iter()
        .filter(|(_, n)| **n > 1)
        .map(|(name, _)| (*name).clone())
        .collect();
    let once = all
        .iter()
        .filter(|one| counts.get(name(one)) == Some(&1))
        .collect();
    (once, twice)
}

fn duplicates<T>(names: Vec<String>) -> impl Iterator<Item = (String, Outcome<T>)> {
    names.into_iter().map(|name| {
        (
            name,
            Err(Refused::new(
                Refusal::InvalidRequest,
                "Duplicate topic name.",
            )),
        )
    })
}

fn refuse_all<T, R>(all: &[&T], name: impl Fn(&T) -> &String, refused: &Refused) -> ByName<R> {
    all.iter()
        .map(|one| (name(one).clone(), Err(refused.clone())))
        .collect()
}

fn duplicate(target: &DeleteTarget) -> DeletedTopic {
    let refuse = |why| Refused::new(Refusal::InvalidRequest, why);
    match target {
        DeleteTarget::Name(name) => {
            refuse_deletion(Some(name), Uuid::ZERO, refuse("Duplicate topic name."))
        }
        DeleteTarget::Id(id) => refuse_deletion(None, *id, refuse("Duplicate topic id.")),
    }
}

fn refuse_deletion(name: Option<&str>, id: Uuid, refused: Refused) -> DeletedTopic {
    DeletedTopic {
        name: name.map(Arc::from),
        id,
        outcome: Err(refused),
    }
}

fn too_many_records() -> Refused {
    Refused::new(
        Refusal::PolicyViolation,
        "Unable to perform excessively large batch operation.",
    )
}

fn bad_assignment(why: String) -> Refused {
    Refused::new(Refusal::InvalidReplicaAssignment, why)
}

//! Delete topics, named by name or by id.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::{Refusal, Refused, Uuid};

use super::too_many_records;
use crate::controller::{Controller, Decision, Mutations, Outcome, RECORDS_PER_REQUEST_MAX};
use crate::records::RemoveTopicRecord;

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

impl Controller {
    /// Each topic named by name or id, once. Kafka shuffles the answers; here names that came
    /// twice are last. A topic named both ways is not deleted, and answered by its name only.
    pub fn delete_topics(
        &self,
        targets: &[DeleteTarget],
        quota: &mut dyn Mutations,
    ) -> Decision<Vec<DeletedTopic>> {
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
            let mut deleted = self.delete_topic(target, &both);
            if deleted.outcome.is_ok() {
                let topic = self.image().topics.find_by_id(deleted.id);
                deleted.outcome = quota.take(topic.map_or(0, |topic| topic.partitions.len()));
            }
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

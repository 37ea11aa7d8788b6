//! Move partitions to other replicas, and stop moving (KIP-455).
//!
//! A reassignment is complete when all that are added are in sync; `partitions.rs` looks at that
//! whenever it writes a change, so one that needs nobody new is complete at once.

use ottla_protocol::{NodeId, Refusal, Refused};

use super::partitions::Election;
use super::topics::cut;
use super::{ByPartition, Controller, Decision, refuse_if_too_many};
use crate::image::{Partition, Topic};
use crate::records::Record;

/// One partition of an AlterPartitionReassignments request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    pub index: i32,
    /// `None` gives up the reassignment under way.
    pub replicas: Option<Vec<NodeId>>,
}

impl Controller {
    /// `may_resize`: whether a partition may get more or fewer replicas (KIP-860).
    pub fn alter_reassignments(
        &self,
        topics: &[(String, Vec<Reassignment>)],
        may_resize: bool,
    ) -> Decision<ByPartition> {
        let mut records = Vec::new();
        let mut reassign = |topic: &Topic, one: &Reassignment| {
            let planned = self.plan_reassignment(topic, one, may_resize);
            planned.map(|record| records.extend(record))
        };
        let mut reply: ByPartition = topics
            .iter()
            .map(|(name, partitions)| {
                let found = self.image().topics.find(name);
                let outcomes = partitions.iter().map(|one| match found {
                    Some(topic) => (one.index, reassign(topic, one)),
                    None => (one.index, Err(no_such_topic(name))),
                });
                (name.clone(), outcomes.collect())
            })
            .collect();
        refuse_if_too_many(&mut records, &mut reply);
        self.decide(records, reply)
    }

    fn plan_reassignment(
        &self,
        topic: &Topic,
        wanted: &Reassignment,
        may_resize: bool,
    ) -> Result<Option<Record>, Refused> {
        let index = wanted.index;
        let partition = topic
            .partition(index)
            .ok_or_else(|| unknown(format!("Unable to find partition {}:{index}.", topic.name)))?;
        match &wanted.replicas {
            Some(replicas) => self.plan_move(topic, index, partition, replicas, may_resize),
            None => self.plan_return(topic, index, partition),
        }
    }

    fn plan_move(
        &self,
        topic: &Topic,
        index: i32,
        partition: &Partition,
        replicas: &[NodeId],
        may_resize: bool,
    ) -> Result<Option<Record>, Refused> {
        self.check_assignment(replicas, None)?;
        if !may_resize {
            check_size(partition, replicas)?;
        }
        let may_lead = |node| self.may_lead(partition, node);
        let mut change = self.change(topic, index, partition, &may_lead);
        change.election = Election::Online;
        change.removing = missing(&partition.replicas, replicas);
        change.adding = missing(replicas, &partition.replicas);
        change.replicas = replicas.iter().chain(&change.removing).copied().collect();
        Ok(change.record().map(Record::from))
    }

    /// Back to the replicas from before, without those that were being added.
    fn plan_return(
        &self,
        topic: &Topic,
        index: i32,
        partition: &Partition,
    ) -> Result<Option<Record>, Refused> {
        if !is_moving(partition) {
            return Err(Refusal::NoReassignmentInProgress.into());
        }
        let may_lead = |node| self.may_lead(partition, node);
        let mut change = self.change(topic, index, partition, &may_lead);
        change.replicas = missing_in_order(&partition.replicas, &partition.adding);
        change.in_sync = missing_in_order(&partition.in_sync, &partition.adding);
        change.removing = Vec::new();
        change.adding = Vec::new();
        if change.in_sync.is_empty() {
            let refuse = |why: String| Err(Refused::new(Refusal::InvalidReplicaAssignment, why));
            let Some(first) = change.replicas.first().copied() else {
                return refuse(
                    "Invalid replica assignment: addingReplicas contains all replicas.".to_owned(),
                );
            };
            if change.election != Election::Unclean {
                return refuse(format!(
                    "Unable to revert partition assignment for {}:{index} because it would require \
                     an unclean leader election.",
                    topic.name
                ));
            }
            change.in_sync = vec![first];
        }
        Ok(change.record().map(Record::from))
    }
}

fn no_such_topic(name: &str) -> Refused {
    unknown(format!("Unable to find a topic named {}.", cut(name)))
}

fn unknown(why: String) -> Refused {
    Refused::new(Refusal::UnknownTopicOrPartition, why)
}

pub(super) fn is_moving(partition: &Partition) -> bool {
    !partition.removing.is_empty() || !partition.adding.is_empty()
}

/// What `all` has and `others` has not, in ascending order.
fn missing(all: &[NodeId], others: &[NodeId]) -> Vec<NodeId> {
    let mut missing = missing_in_order(all, others);
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn missing_in_order(all: &[NodeId], others: &[NodeId]) -> Vec<NodeId> {
    let all = all.iter().copied();
    all.filter(|node| !others.contains(node)).collect()
}

fn check_size(partition: &Partition, replicas: &[NodeId]) -> Result<(), Refused> {
    let n_now = missing_in_order(&partition.replicas, &partition.removing).len();
    if n_now == replicas.len() {
        return Ok(());
    }
    Err(Refused::new(
        Refusal::InvalidReplicationFactor,
        format!(
            "The replication factor is changed from {n_now} to {}",
            replicas.len()
        ),
    ))
}

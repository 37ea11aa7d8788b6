//! Which brokers hold a new partition: those of the request, or those that we choose.

use std::collections::BTreeMap;

use ottla_protocol::{NodeId, Refusal, Refused, Uuid};

use super::create::{DEFAULT, NewTopic};
use crate::controller::Controller;
use crate::controller::place::{first_state, place};
use crate::image::{Partition, Topic};

impl Controller {
    pub(super) fn plan(&self, topic: &NewTopic, id: Uuid) -> Result<Vec<Partition>, Refused> {
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

    pub(super) fn plan_more(
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

    pub(super) fn first_state_by_hand(
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

    pub(in crate::controller) fn check_assignment(
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
}

pub(super) fn bad_assignment(why: String) -> Refused {
    Refused::new(Refusal::InvalidReplicaAssignment, why)
}

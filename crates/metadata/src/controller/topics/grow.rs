//! Add partitions to topics.

use ottla_protocol::{NodeId, Refusal, Refused};

use super::assign::bad_assignment;
use super::create::PARTITIONS_PER_REQUEST_MAX;
use super::{ByName, by_name, duplicates, refuse_all, too_many_records};
use crate::controller::{Controller, Decision, Mutations, Outcome, RECORDS_PER_REQUEST_MAX};
use crate::records::Record;

/// One topic of a CreatePartitions request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NewPartitions {
    pub topic: String,
    /// How many there shall be in all.
    pub count: i32,
    /// The replicas of each new partition; `None`: we choose.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

impl Controller {
    pub fn create_partitions(
        &self,
        topics: &[NewPartitions],
        validate_only: bool,
        quota: &mut dyn Mutations,
    ) -> Decision<ByName<()>> {
        let (once, twice) = by_name(topics, |new| &new.topic);
        let mut records = Vec::new();
        let mut reply: ByName<()> = Vec::new();
        for new in &once {
            let outcome = self.add_partitions(new, quota, &mut records);
            reply.push((new.topic.clone(), outcome));
            // Nothing more is planned: a short request could name thousands of topics.
            if records.len() > RECORDS_PER_REQUEST_MAX {
                records.clear();
                reply = refuse_all(&once, |new| &new.topic, &too_many_records());
                break;
            }
        }
        reply.extend(duplicates(twice));
        if validate_only {
            records.clear();
        }
        self.decide(records, reply)
    }

    fn add_partitions(
        &self,
        new: &NewPartitions,
        quota: &mut dyn Mutations,
        records: &mut Vec<Record>,
    ) -> Outcome<()> {
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
        quota.take(usize::try_from(additional).unwrap_or(0))?;
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

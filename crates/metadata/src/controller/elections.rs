//! Leaders that an administrator asks for: the preferred one, or anybody alive.

use ottla_protocol::{Refusal, Refused};

use super::partitions::Election;
use super::topics::cut;
use super::{ByPartition, Controller, Decision, Outcome, refuse_if_too_many};
use crate::image::Topic;
use crate::records::Record;

/// Which leader is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The first of the replicas.
    Preferred,
    /// Anybody alive, where nobody leads; what only others had is lost.
    Unclean,
}

impl Controller {
    /// Elections in the named partitions, or in all of them: then those that need none are not told.
    pub fn elect_leaders(
        &self,
        wanted: Wanted,
        partitions: Option<&[(String, Vec<i32>)]>,
    ) -> Decision<ByPartition> {
        let mut records = Vec::new();
        let mut elect = |topic: &Topic, index: i32| {
            let outcome = self.elect_leader(wanted, topic, index);
            outcome.map(|record| records.push(record))
        };
        let mut elections: ByPartition = match partitions {
            Some(named) => named
                .iter()
                .map(|(name, indexes)| {
                    let found = self.image().topics.find(name);
                    let indexes = indexes.iter();
                    let elected = indexes.map(|index| match found {
                        Some(topic) => (*index, elect(topic, *index)),
                        None => (*index, Err(no_such_topic(name))),
                    });
                    (name.clone(), elected.collect())
                })
                .collect(),
            None => {
                let is_told = |outcome: &Outcome<()>| !matches!(outcome, Err(refused) if refused.refusal == Refusal::ElectionNotNeeded);
                let topics = self.image().topics.iter();
                topics
                    .map(|topic| {
                        let indexes = topic.partitions.keys();
                        let elected = indexes.map(|index| (*index, elect(topic, *index)));
                        let told = elected.filter(|(_, outcome)| is_told(outcome));
                        (topic.name.to_string(), told.collect())
                    })
                    .collect()
            }
        };
        refuse_if_too_many(&mut records, &mut elections);
        self.decide(records, elections)
    }

    fn elect_leader(&self, wanted: Wanted, topic: &Topic, index: i32) -> Result<Record, Refused> {
        let partition = topic.partition(index);
        let partition = partition.ok_or_else(|| no_such_partition(&topic.name, index))?;
        let is_led = match wanted {
            Wanted::Preferred => {
                partition.leader.is_some()
                    && partition.leader == partition.replicas.first().copied()
            }
            Wanted::Unclean => partition.leader.is_some(),
        };
        if is_led {
            return Err(Refusal::ElectionNotNeeded.into());
        }
        let may_lead = |node| self.may_lead(partition, node);
        let mut change = self.change(topic, index, partition, &may_lead);
        change.election = match wanted {
            Wanted::Preferred => Election::Preferred,
            Wanted::Unclean => Election::Unclean,
        };
        change.record().map(Record::from).ok_or_else(|| {
            match wanted {
                Wanted::Preferred => Refusal::PreferredLeaderNotAvailable,
                Wanted::Unclean => Refusal::EligibleLeadersNotAvailable,
            }
            .into()
        })
    }
}

fn no_such_topic(name: &str) -> Refused {
    unknown(format!("No such topic as {}", cut(name)))
}

fn no_such_partition(topic: &str, index: i32) -> Refused {
    unknown(format!("No such partition as {topic}-{index}"))
}

fn unknown(why: String) -> Refused {
    Refused::new(Refusal::UnknownTopicOrPartition, why)
}

//! Topics by name and by id; of every partition its leader, in-sync set, epochs and directories.

use std::sync::Arc;

use imbl::{HashMap, OrdMap};
use ottla_protocol::{LeaderEpoch, NodeId, Uuid};

use super::Corrupt;
use crate::records::{
    MetadataVersion, PartitionChangeRecord, PartitionRecord, Record, RemoveTopicRecord, TopicRecord,
};

/// Where a replica lies when nobody has said so yet, as reserved directory ids.
pub mod directory {
    use ottla_protocol::Uuid;

    /// From a time before directories were assigned.
    pub const MIGRATING: Uuid = Uuid::ZERO;
    /// The broker may choose, and reports its choice.
    pub const UNASSIGNED: Uuid = Uuid::from_u128(1);
    /// It was in a directory that is offline.
    pub const LOST: Uuid = Uuid::from_u128(2);
}

/// The number that stands for "nobody" in records.
const NO_LEADER: NodeId = -1;
/// In a change record: the leader stays, and so does its epoch.
const LEADER_UNCHANGED: NodeId = -2;
/// In a change record: the recovery state stays.
const RECOVERY_UNCHANGED: i8 = -1;

/// Whether the log of a partition may have holes because its leader was elected uncleanly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(i8)]
pub enum RecoveryState {
    #[default]
    Recovered = 0,
    Recovering = 1,
}

/// Invariant: `directories` is as long as `replicas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub replicas: Vec<NodeId>,
    /// Parallel to `replicas`.
    pub directories: Vec<Uuid>,
    pub in_sync: Vec<NodeId>,
    pub removing: Vec<NodeId>,
    pub adding: Vec<NodeId>,
    pub leader: Option<NodeId>,
    pub recovery: RecoveryState,
    pub leader_epoch: LeaderEpoch,
    /// Rises with every change.
    pub partition_epoch: i32,
    /// Not in sync, but known to have everything that was acknowledged (KIP-966).
    pub eligible_leaders: Vec<NodeId>,
    pub last_known_eligible: Vec<NodeId>,
}

impl Partition {
    /// The directory that a replica is assigned to.
    pub fn directory_of(&self, node: NodeId) -> Option<Uuid> {
        let position = self.replicas.iter().position(|replica| *replica == node)?;
        self.directories.get(position).copied()
    }

    /// The first replica: who should lead when all is well.
    pub fn preferred_leader(&self) -> Option<NodeId> {
        self.replicas.first().copied()
    }

    fn from_record(record: &PartitionRecord) -> Result<Self, Corrupt> {
        Ok(Self {
            directories: parallel(&record.replicas, record.directories.clone())?,
            replicas: record.replicas.clone(),
            in_sync: record.isr.clone(),
            removing: record.removing_replicas.clone(),
            adding: record.adding_replicas.clone(),
            leader: leader_of(record.leader),
            recovery: recovery_of(record.leader_recovery_state)?,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            eligible_leaders: record.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_eligible: record.last_known_elr.clone().unwrap_or_default(),
        })
    }

    /// What this partition is after a change record.
    pub fn merge(&self, change: &PartitionChangeRecord) -> Result<Self, Corrupt> {
        let or = |new: &Option<Vec<NodeId>>, old: &Vec<NodeId>| {
            new.clone().unwrap_or_else(|| old.clone())
        };
        let replicas = or(&change.replicas, &self.replicas);
        let directories = change
            .directories
            .clone()
            .unwrap_or_else(|| self.directories.clone());
        let has_leader = change.leader != LEADER_UNCHANGED;
        Ok(Self {
            directories: parallel(&replicas, directories)?,
            replicas,
            in_sync: or(&change.isr, &self.in_sync),
            removing: or(&change.removing_replicas, &self.removing),
            adding: or(&change.adding_replicas, &self.adding),
            leader: if has_leader {
                leader_of(change.leader)
            } else {
                self.leader
            },
            // Even the same leader begins a new epoch when it is named.
            leader_epoch: self.leader_epoch.saturating_add(i32::from(has_leader)),
            recovery: match change.leader_recovery_state {
                RECOVERY_UNCHANGED => self.recovery,
                state => recovery_of(state)?,
            },
            partition_epoch: self.partition_epoch.saturating_add(1),
            eligible_leaders: or(&change.eligible_leader_replicas, &self.eligible_leaders),
            last_known_eligible: or(&change.last_known_elr, &self.last_known_eligible),
        })
    }

    /// The whole state as a record that a cluster at `level` may write.
    pub fn to_record(&self, topic: Uuid, index: i32, level: MetadataVersion) -> PartitionRecord {
        let filled =
            |list: &Vec<NodeId>| (level.has_elr() && !list.is_empty()).then(|| list.clone());
        PartitionRecord {
            partition_id: index,
            topic_id: topic,
            replicas: self.replicas.clone(),
            isr: self.in_sync.clone(),
            removing_replicas: self.removing.clone(),
            adding_replicas: self.adding.clone(),
            leader: self.leader.unwrap_or(NO_LEADER),
            leader_recovery_state: self.recovery as i8,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories: if level.has_directories() {
                self.directories.clone()
            } else {
                Vec::new()
            },
            eligible_leader_replicas: filled(&self.eligible_leaders),
            last_known_elr: filled(&self.last_known_eligible),
        }
    }
}

/// Directories that nobody has assigned are as many as there are replicas: records from before
/// directories change the replicas alone.
fn parallel(replicas: &[NodeId], directories: Vec<Uuid>) -> Result<Vec<Uuid>, Corrupt> {
    if directories.iter().all(|id| *id == directory::MIGRATING) {
        return Ok(vec![directory::MIGRATING; replicas.len()]);
    }
    if directories.len() != replicas.len() {
        return Err(Corrupt::new(format!(
            "{} directories for {} replicas",
            directories.len(),
            replicas.len()
        )));
    }
    Ok(directories)
}

fn leader_of(leader: NodeId) -> Option<NodeId> {
    (leader != NO_LEADER).then_some(leader)
}

fn recovery_of(state: i8) -> Result<RecoveryState, Corrupt> {
    match state {
        0 => Ok(RecoveryState::Recovered),
        1 => Ok(RecoveryState::Recovering),
        other => Err(Corrupt::new(format!("leader recovery state {other}"))),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub id: Uuid,
    pub name: Arc<str>,
    pub partitions: OrdMap<i32, Arc<Partition>>,
}

impl Topic {
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(&index)
    }
}

/// Invariant: both maps hold the same topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topics {
    by_name: OrdMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

impl Topics {
    pub fn find(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub fn find_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    pub fn partition(&self, name: &str, index: i32) -> Option<&Arc<Partition>> {
        self.find(name)?.partition(index)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// The topics whose name is `from` or comes after it, in order.
    pub fn from_name<'a>(&'a self, from: &'a str) -> impl Iterator<Item = &'a Arc<Topic>> {
        use std::ops::Bound::{Included, Unbounded};
        self.by_name
            .range::<(std::ops::Bound<&str>, std::ops::Bound<&str>), str>((
                Included(from),
                Unbounded,
            ))
            .map(|(_, topic)| topic)
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(super) fn replay_topic(&mut self, record: &TopicRecord) -> Result<(), Corrupt> {
        if self.find(&record.name).is_some() {
            return Err(Corrupt::new(format!(
                "topic {} exists already",
                record.name
            )));
        }
        if self.find_by_id(record.topic_id).is_some() {
            return Err(Corrupt::new(format!(
                "topic id {} exists already",
                record.topic_id
            )));
        }
        self.put(Topic {
            id: record.topic_id,
            name: Arc::from(&*record.name),
            partitions: OrdMap::new(),
        });
        Ok(())
    }

    pub(super) fn replay_partition(&mut self, record: &PartitionRecord) -> Result<(), Corrupt> {
        let partition = Partition::from_record(record)?;
        self.put_partition(record.topic_id, record.partition_id, partition)
    }

    pub(super) fn replay_change(&mut self, record: &PartitionChangeRecord) -> Result<(), Corrupt> {
        let before = self
            .known(record.topic_id)?
            .partition(record.partition_id)
            .ok_or_else(|| unknown_partition(record.topic_id, record.partition_id))?;
        let after = before.merge(record)?;
        self.put_partition(record.topic_id, record.partition_id, after)
    }

    /// Returns the topic that is gone.
    pub(super) fn replay_removal(
        &mut self,
        record: &RemoveTopicRecord,
    ) -> Result<Arc<Topic>, Corrupt> {
        let topic = self.known(record.topic_id)?.clone();
        self.by_id.remove(&topic.id);
        self.by_name.remove(&topic.name);
        Ok(topic)
    }

    /// Forget eligible leaders of one topic, or of all. Returns what changed.
    pub(super) fn replay_clear_elr(&mut self, name: &str) -> Result<Vec<(Uuid, i32)>, Corrupt> {
        let topics: Vec<Arc<Topic>> = if name.is_empty() {
            self.iter().cloned().collect()
        } else {
            let topic = self
                .find(name)
                .ok_or_else(|| Corrupt::new(format!("unknown topic {name}")))?;
            vec![topic.clone()]
        };
        let mut changed = Vec::new();
        for topic in topics {
            for (index, partition) in &topic.partitions {
                if partition.eligible_leaders.is_empty() && partition.last_known_eligible.is_empty()
                {
                    continue;
                }
                let mut cleared = Partition::clone(partition);
                cleared.eligible_leaders.clear();
                cleared.last_known_eligible.clear();
                self.put_partition(topic.id, *index, cleared)?;
                changed.push((topic.id, *index));
            }
        }
        Ok(changed)
    }

    pub(super) fn write(&self, level: MetadataVersion, records: &mut Vec<Record>) {
        for topic in self.iter() {
            let name = (*topic.name).into();
            records.push(
                TopicRecord {
                    name,
                    topic_id: topic.id,
                }
                .into(),
            );
            for (index, partition) in &topic.partitions {
                records.push(partition.to_record(topic.id, *index, level).into());
            }
        }
    }

    fn known(&self, id: Uuid) -> Result<&Arc<Topic>, Corrupt> {
        self.find_by_id(id)
            .ok_or_else(|| Corrupt::new(format!("unknown topic id {id}")))
    }

    fn put_partition(&mut self, id: Uuid, index: i32, partition: Partition) -> Result<(), Corrupt> {
        let mut topic = Topic::clone(self.known(id)?);
        topic.partitions.insert(index, Arc::new(partition));
        self.put(topic);
        Ok(())
    }

    fn put(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        self.by_id.insert(topic.id, topic.clone());
        self.by_name.insert(topic.name.clone(), topic);
    }
}

fn unknown_partition(id: Uuid, index: i32) -> Corrupt {
    Corrupt::new(format!("topic id {id} has no partition {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_replicas(replicas: &[NodeId], directories: &[Uuid]) -> Result<Partition, Corrupt> {
        Partition::from_record(&PartitionRecord {
            replicas: replicas.to_vec(),
            directories: directories.to_vec(),
            ..PartitionRecord::default()
        })
    }

    fn to_replicas(replicas: &[NodeId]) -> PartitionChangeRecord {
        PartitionChangeRecord {
            replicas: Some(replicas.to_vec()),
            ..PartitionChangeRecord::default()
        }
    }

    #[test]
    fn replicas_from_before_directories_may_become_more_or_fewer() {
        let three = with_replicas(&[1, 2, 3], &[]).unwrap();
        let four = three.merge(&to_replicas(&[1, 2, 3, 4])).unwrap();
        assert_eq!(four.directories, [directory::MIGRATING; 4]);
        let one = four.merge(&to_replicas(&[4])).unwrap();
        assert_eq!(one.directories, [directory::MIGRATING]);
    }

    #[test]
    fn replicas_in_directories_change_with_their_directories_only() {
        let (first, second) = (Uuid::from_u128(101), Uuid::from_u128(102));
        let two = with_replicas(&[1, 2], &[first, second]).unwrap();
        let refused = two.merge(&to_replicas(&[1])).unwrap_err();
        assert_eq!(refused.why, "2 directories for 1 replicas");
        let one = PartitionChangeRecord {
            directories: Some(vec![first]),
            ..to_replicas(&[1])
        };
        assert_eq!(two.merge(&one).unwrap().directories, [first]);
        assert!(with_replicas(&[1, 2], &[first]).is_err());
    }
}

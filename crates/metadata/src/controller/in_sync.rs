//! AlterPartition: a leader proposes who is in sync, or says that it has recovered.

use ottla_protocol::{LeaderEpoch, NodeId, Refusal, Refused, Uuid};

use super::{Controller, Decision, Outcome};
use crate::image::{Partition, RecoveryState};
use crate::records::Record;

/// One partition of an AlterPartition request: the leader proposes an in-sync set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InSyncProposal {
    pub topic: Uuid,
    pub partition: i32,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    /// Members, each with the broker epoch that the leader knows (-1: unknown).
    pub in_sync: Vec<(NodeId, i64)>,
    pub recovery: RecoveryState,
}

/// A partition after an accepted proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredPartition {
    pub leader: Option<NodeId>,
    pub leader_epoch: LeaderEpoch,
    pub in_sync: Vec<NodeId>,
    pub recovery: RecoveryState,
    pub partition_epoch: i32,
}

impl Controller {
    /// AlterPartition: what a leader says about who is in sync, and that it has recovered.
    pub fn alter_partitions(
        &self,
        broker: NodeId,
        broker_epoch: i64,
        proposals: &[InSyncProposal],
    ) -> Decision<Outcome<Vec<Outcome<AlteredPartition>>>> {
        if let Err(refused) = self.check_broker_epoch(broker, broker_epoch) {
            return Decision::reply(Err(refused));
        }
        let mut records = Vec::new();
        let outcomes = proposals
            .iter()
            .map(|proposal| self.alter_partition(broker, proposal, &mut records))
            .collect();
        self.decide(records, Ok(outcomes))
    }

    fn alter_partition(
        &self,
        broker: NodeId,
        proposal: &InSyncProposal,
        records: &mut Vec<Record>,
    ) -> Outcome<AlteredPartition> {
        let topic = self
            .image()
            .topics
            .find_by_id(proposal.topic)
            .ok_or(Refusal::UnknownTopicId)?;
        let partition = topic
            .partition(proposal.partition)
            .ok_or(Refusal::UnknownTopicOrPartition)?;
        self.check_proposal(broker, partition, proposal)?;

        let may_lead = |node| self.may_lead(partition, node);
        let mut change = self.change(topic, proposal.partition, partition, &may_lead);
        change.in_sync = proposal.in_sync.iter().map(|(node, _)| *node).collect();
        change.recovery = proposal.recovery;
        let after = match change.record() {
            None => Partition::clone(partition),
            Some(record) => {
                let after = partition
                    .merge(&record)
                    .map_err(|corrupt| Refused::new(Refusal::UnknownServerError, corrupt.why))?;
                records.push(record.into());
                after
            }
        };
        Ok(AlteredPartition {
            leader: after.leader,
            leader_epoch: after.leader_epoch,
            in_sync: after.in_sync,
            recovery: after.recovery,
            partition_epoch: after.partition_epoch,
        })
    }

    /// Kafka's checks, in its order: the first that fails is the answer.
    fn check_proposal(
        &self,
        broker: NodeId,
        partition: &Partition,
        proposal: &InSyncProposal,
    ) -> Result<(), Refusal> {
        let in_sync: Vec<NodeId> = proposal.in_sync.iter().map(|(node, _)| *node).collect();
        if proposal.leader_epoch > partition.leader_epoch
            || proposal.partition_epoch > partition.partition_epoch
        {
            return Err(Refusal::NotController);
        }
        if proposal.leader_epoch < partition.leader_epoch {
            return Err(Refusal::FencedLeaderEpoch);
        }
        if partition.leader != Some(broker) {
            return Err(Refusal::InvalidRequest);
        }
        if proposal.partition_epoch < partition.partition_epoch {
            return Err(Refusal::InvalidUpdateVersion);
        }
        let replicas = &partition.replicas;
        let is_recovering = proposal.recovery == RecoveryState::Recovering;
        let is_sound = in_sync.len() <= replicas.len()
            && in_sync.iter().all(|node| replicas.contains(node))
            && (1..in_sync.len()).all(|end| !in_sync[..end].contains(&in_sync[end]))
            && in_sync.contains(&broker)
            && !(is_recovering && in_sync.len() > 1)
            && !(is_recovering && partition.recovery == RecoveryState::Recovered);
        if !is_sound {
            return Err(Refusal::InvalidRequest);
        }
        let is_eligible = |(node, epoch): &(NodeId, i64)| {
            self.image().nodes.broker(*node).is_some_and(|registered| {
                registered.is_active() && (*epoch == -1 || *epoch == registered.epoch)
            })
        };
        if !proposal.in_sync.iter().all(is_eligible) {
            return Err(Refusal::IneligibleReplica);
        }
        Ok(())
    }
}

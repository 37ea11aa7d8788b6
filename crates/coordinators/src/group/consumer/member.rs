//! A member of a group of the consumer protocol, as its records say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::{Text, Uuid};

use crate::group::records::consumer::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataValue, CurrentTopicPartitions,
};

/// The epoch with which a member joins.
pub(crate) const JOIN_EPOCH: i32 = 0;
/// The epoch with which a member leaves; the epoch of one that has no current record.
pub(crate) const LEAVE_EPOCH: i32 = -1;
/// The epoch with which a static member leaves for a while, and that it has until it is back.
pub(crate) const AWAY_EPOCH: i32 = -2;

/// Partitions by topic, each with the member epoch at which it was assigned.
pub(crate) type Held = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// How far a member is on the way to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has what it shall have.
    Stable,
    /// It must give something up first.
    UnrevokedPartitions,
    /// It waits for partitions that others have not given up.
    UnreleasedPartitions,
    /// Written by a newer Kafka.
    Unknown(i8),
}

impl MemberState {
    fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            other => Self::Unknown(other),
        }
    }

    fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown(code) => code,
        }
    }
}

/// * what is in `assigned` is not in `revoking`
/// * `revoking` is empty unless the state is `UnrevokedPartitions`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) id: Arc<str>,
    pub(crate) epoch: i32,
    pub(crate) previous_epoch: i32,
    pub(crate) state: MemberState,
    pub(crate) instance: Option<Arc<str>>,
    pub(crate) rack: Option<Arc<str>>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    /// Shared by members that want the same.
    pub(crate) topics: Arc<BTreeSet<Arc<str>>>,
    /// Empty for none; null in records that somebody else wrote.
    pub(crate) pattern: Option<Arc<str>>,
    pub(crate) assignor: Option<Arc<str>>,
    /// What it may use.
    pub(crate) assigned: Held,
    /// What it must give up.
    pub(crate) revoking: Held,
    /// Set if it speaks the classic protocol.
    pub(crate) classic: Option<ClassicMemberMetadata>,
}

impl Member {
    /// One of whom nothing is known but the id.
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            instance: None,
            rack: None,
            rebalance_timeout_ms: -1,
            client_id: "".into(),
            client_host: "".into(),
            topics: Arc::default(),
            pattern: Some("".into()),
            assignor: None,
            assigned: Held::new(),
            revoking: Held::new(),
            classic: None,
        }
    }

    /// The pattern that it is subscribed to, if any.
    pub(crate) fn pattern(&self) -> Option<&Arc<str>> {
        self.pattern.as_ref().filter(|pattern| !pattern.is_empty())
    }

    pub(crate) fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    pub(crate) fn speaks_classic(&self) -> bool {
        self.classic.is_some()
    }

    /// Its next epoch; the one before is remembered in case the answer gets lost.
    pub(crate) fn advance_to(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// When the partition was assigned, if the member has it or is giving it up.
    pub(crate) fn assignment_epoch(&self, topic: Uuid, partition: i32) -> Option<i32> {
        let in_held = |held: &Held| held.get(&topic)?.get(&partition).copied();
        in_held(&self.assigned).or_else(|| in_held(&self.revoking))
    }

    /// Everything that nobody else may have.
    pub(crate) fn held(&self) -> impl Iterator<Item = (Uuid, i32)> {
        self.assigned
            .iter()
            .chain(&self.revoking)
            .flat_map(|(topic, partitions)| partitions.keys().map(move |p| (*topic, *p)))
    }

    // ---- as records ----

    pub(crate) fn metadata_value(&self) -> ConsumerGroupMemberMetadataValue {
        let text = |text: &Arc<str>| Text::from(&**text);
        ConsumerGroupMemberMetadataValue {
            instance_id: self.instance.as_ref().map(text),
            rack_id: self.rack.as_ref().map(text),
            client_id: text(&self.client_id),
            client_host: text(&self.client_host),
            subscribed_topic_names: self.topics.iter().map(text).collect(),
            subscribed_topic_regex: self.pattern.as_ref().map(text),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: self.assignor.as_ref().map(text),
            classic_member_metadata: self.classic.clone(),
        }
    }

    pub(crate) fn replay_metadata(&mut self, value: &ConsumerGroupMemberMetadataValue) {
        // Copied: the slices would keep the whole batch, or request, alive.
        let copy = |text: &Text| Arc::<str>::from(&**text);
        self.instance = value.instance_id.as_ref().map(copy);
        self.rack = value.rack_id.as_ref().map(copy);
        self.client_id = copy(&value.client_id);
        self.client_host = copy(&value.client_host);
        self.topics = Arc::new(value.subscribed_topic_names.iter().map(copy).collect());
        self.pattern = value.subscribed_topic_regex.as_ref().map(copy);
        self.rebalance_timeout_ms = value.rebalance_timeout_ms;
        self.assignor = value.server_assignor.as_ref().map(copy);
        self.classic = value.classic_member_metadata.as_ref().map(detached);
    }

    pub(crate) fn current_value(&self) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.code(),
            assigned_partitions: written(&self.assigned),
            partitions_pending_revocation: written(&self.revoking),
        }
    }

    pub(crate) fn replay_current(&mut self, value: &ConsumerGroupCurrentMemberAssignmentValue) {
        self.epoch = value.member_epoch;
        self.previous_epoch = value.previous_member_epoch;
        self.state = MemberState::from_code(value.state);
        self.assigned = read(&value.assigned_partitions, value.member_epoch);
        self.revoking = read(&value.partitions_pending_revocation, value.member_epoch);
    }

    /// Its current record is gone.
    pub(crate) fn forget_current(&mut self) {
        self.epoch = LEAVE_EPOCH;
        self.previous_epoch = LEAVE_EPOCH;
        self.assigned.clear();
        self.revoking.clear();
    }
}

fn written(held: &Held) -> Vec<CurrentTopicPartitions> {
    held.iter()
        .map(|(topic_id, partitions)| CurrentTopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        })
        .collect()
}

/// Brokers before 4.3 wrote no epochs: such partitions count as assigned at the member's.
fn read(topics: &[CurrentTopicPartitions], member_epoch: i32) -> Held {
    let default = member_epoch.max(0);
    let partitions = |topic: &CurrentTopicPartitions| {
        let epochs = topic.assignment_epochs.as_deref().unwrap_or_default();
        let is_whole = epochs.len() == topic.partitions.len();
        let epoch = |at: usize| epochs.get(at).copied().filter(|_| is_whole);
        let partitions = topic.partitions.iter().enumerate();
        partitions
            .map(|(at, partition)| (*partition, epoch(at).unwrap_or(default)))
            .collect()
    };
    topics
        .iter()
        .map(|topic| (topic.topic_id, partitions(topic)))
        .collect()
}

fn detached(classic: &ClassicMemberMetadata) -> ClassicMemberMetadata {
    let protocol = |protocol: &ClassicProtocol| ClassicProtocol {
        name: Text::from(&*protocol.name),
        metadata: bytes::Bytes::copy_from_slice(&protocol.metadata),
    };
    ClassicMemberMetadata {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: classic.supported_protocols.iter().map(protocol).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_without_epochs_were_assigned_at_the_members() {
        let topic = |assignment_epochs| CurrentTopicPartitions {
            topic_id: Uuid::from_u128(1),
            partitions: vec![4, 2],
            assignment_epochs,
        };
        let held = |pairs: [(i32, i32); 2]| Held::from([(Uuid::from_u128(1), pairs.into())]);
        assert_eq!(read(&[topic(None)], 7), held([(2, 7), (4, 7)]));
        assert_eq!(read(&[topic(None)], AWAY_EPOCH), held([(2, 0), (4, 0)]));
        assert_eq!(read(&[topic(Some(vec![5, 6]))], 7), held([(4, 5), (2, 6)]));
        assert_eq!(read(&[topic(Some(vec![5]))], 7), held([(2, 7), (4, 7)]));
    }

    #[test]
    fn records_give_the_member_back() {
        let mut member = Member::new("m".into());
        member.instance = Some("i".into());
        member.topics = Arc::new(BTreeSet::from(["t".into()]));
        member.assignor = Some("range".into());
        member.state = MemberState::UnrevokedPartitions;
        member.advance_to(3);
        member.revoking = Held::from([(Uuid::from_u128(1), [(0, 2)].into())]);
        let mut again = Member::new("m".into());
        again.replay_metadata(&member.metadata_value());
        again.replay_current(&member.current_value());
        assert_eq!(again, member);
        assert_eq!(member.assignment_epoch(Uuid::from_u128(1), 0), Some(2));
        again.forget_current();
        assert_eq!((again.epoch, again.held().count()), (LEAVE_EPOCH, 0));
    }
}

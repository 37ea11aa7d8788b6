//! Leader and in-sync changes: the one place that writes `PartitionChangeRecord`.
//!
//! Kafka's rules (its PartitionChangeBuilder): who may lead, when the in-sync set may become empty,
//! what is remembered of those who fell out of it (KIP-966), and when a reassignment is complete
//! (KIP-455).

use ottla_protocol::{NodeId, Refusal, Refused, Uuid};

use super::Controller;
use super::place::default_directory;
use crate::image::{Image, Nodes, Partition, RecoveryState, Resource, Topic};
use crate::records::{MetadataVersion, PartitionChangeRecord, Record};

const NO_LEADER: NodeId = -1;
const LEADER_UNCHANGED: NodeId = -2;

/// Who may be elected when nobody in sync can lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Election {
    /// The first replica if it can; else as `Online`.
    Preferred,
    /// Somebody in sync, or nobody.
    Online,
    /// Anybody alive: loses what only others had.
    Unclean,
}

/// A partition as it is, and what it shall become.
pub(super) struct Change<'a> {
    topic: Uuid,
    index: i32,
    partition: &'a Partition,
    level: MetadataVersion,
    has_elr: bool,
    min_in_sync: usize,
    nodes: &'a Nodes,
    pub(super) election: Election,
    may_lead: &'a dyn Fn(NodeId) -> bool,
    /// Restarted without a clean shutdown: may have lost what it once acknowledged.
    unclean: Option<NodeId>,
    pub(super) replicas: Vec<NodeId>,
    pub(super) removing: Vec<NodeId>,
    pub(super) adding: Vec<NodeId>,
    pub(super) in_sync: Vec<NodeId>,
    /// Of the replicas that there are now.
    pub(super) directories: Vec<Uuid>,
    pub(super) recovery: RecoveryState,
    eligible: Vec<NodeId>,
}

struct Elected {
    leader: NodeId,
    is_unclean: bool,
}

impl Change<'_> {
    /// The record that brings it about, or nothing if nothing changes.
    pub(super) fn record(mut self) -> Option<PartitionChangeRecord> {
        self.complete_reassignment();
        self.find_eligible();
        let mut record = PartitionChangeRecord {
            partition_id: self.index,
            topic_id: self.topic,
            ..PartitionChangeRecord::default()
        };
        self.elect(&mut record);
        self.bump_on_removal(&mut record);
        self.note_eligible(&mut record);
        self.note_in_sync(&mut record);
        self.bump_on_shrink(&mut record);
        self.note_last_leader(&mut record);
        self.note_assignment(&mut record);
        if self.recovery != self.partition.recovery {
            record.leader_recovery_state = self.recovery as i8;
        }
        let nothing = PartitionChangeRecord {
            partition_id: self.index,
            topic_id: self.topic,
            ..PartitionChangeRecord::default()
        };
        (record != nothing).then_some(record)
    }

    /// Once all that are added are in sync, and with fewer replicas than before all of them, those
    /// that are to be removed are gone.
    fn complete_reassignment(&mut self) {
        if self.removing.is_empty() && self.adding.is_empty() {
            return;
        }
        let stays = |node: &NodeId| !self.removing.contains(node);
        let staying =
            |all: &[NodeId]| -> Vec<NodeId> { all.iter().copied().filter(stays).collect() };
        let (in_sync, replicas) = (staying(&self.in_sync), staying(&self.replicas));
        let has = |wanted: &[NodeId]| wanted.iter().all(|node| in_sync.contains(node));
        let is_shrinking = self.adding.len() < self.removing.len();
        let is_emptied = !self.removing.is_empty() && (in_sync.is_empty() || replicas.is_empty());
        if is_emptied || !has(&self.adding) || (is_shrinking && !has(&replicas)) {
            return;
        }
        self.in_sync = in_sync;
        self.replicas = replicas;
        self.removing.clear();
        self.adding.clear();
    }

    /// A new epoch tells a replica that is gone that it is.
    fn bump_on_removal(&self, record: &mut PartitionChangeRecord) {
        let mut before = self.partition.replicas.iter();
        if record.leader == LEADER_UNCHANGED && !before.all(|node| self.replicas.contains(node)) {
            record.leader = self.leader();
        }
    }

    fn note_assignment(&self, record: &mut PartitionChangeRecord) {
        let partition = self.partition;
        let directory = |node: &NodeId| {
            let place = partition.replicas.iter().position(|one| one == node);
            let known = place.and_then(|place| self.directories.get(place)).copied();
            known.unwrap_or_else(|| default_directory(self.nodes, *node))
        };
        let directories: Vec<Uuid> = self.replicas.iter().map(directory).collect();
        if self.level.has_directories() && directories != partition.directories {
            record.directories = Some(directories);
        }
        let changed = |now: &[NodeId], before: &[NodeId]| (now != before).then(|| now.to_vec());
        record.replicas = changed(&self.replicas, &partition.replicas);
        record.removing_replicas = changed(&self.removing, &partition.removing);
        record.adding_replicas = changed(&self.adding, &partition.adding);
    }

    /// Whoever leaves a set that has become too small stays eligible, unless its last shutdown
    /// was unclean.
    fn find_eligible(&mut self) {
        if !self.has_elr {
            return;
        }
        if self.in_sync.len() >= self.min_in_sync {
            self.eligible.clear();
            return;
        }
        for node in &self.partition.in_sync {
            if !self.eligible.contains(node) {
                self.eligible.push(*node);
            }
        }
        let (in_sync, unclean) = (&self.in_sync, self.unclean);
        self.eligible
            .retain(|node| !in_sync.contains(node) && Some(*node) != unclean);
        self.eligible.sort_unstable();
    }

    fn elect(&mut self, record: &mut PartitionChangeRecord) {
        let elected = self.choose();
        if elected.leader == self.leader() {
            return;
        }
        if self.eligible.contains(&elected.leader) {
            self.in_sync = vec![elected.leader];
            self.eligible.retain(|node| *node != elected.leader);
        }
        record.leader = elected.leader;
        if elected.is_unclean {
            record.isr = Some(vec![elected.leader]);
            if self.partition.recovery != RecoveryState::Recovering {
                record.leader_recovery_state = RecoveryState::Recovering as i8;
                self.recovery = RecoveryState::Recovering;
            }
        }
    }

    fn choose(&self) -> Elected {
        let clean = |leader| Elected {
            leader,
            is_unclean: false,
        };
        let unclean = |leader| Elected {
            leader,
            is_unclean: true,
        };
        let preferred = self.replicas.first().copied();
        if let Some(preferred) = preferred.filter(|node| self.is_valid(*node))
            && self.election == Election::Preferred
        {
            return clean(preferred);
        }
        if self.is_valid(self.leader()) {
            return clean(self.leader());
        }
        let mut replicas = self.replicas.iter().copied();
        if let Some(leader) = replicas.find(|node| self.is_valid(*node)) {
            return clean(leader);
        }
        if let Some(leader) = self.last_known_leader() {
            return unclean(leader);
        }
        let mut replicas = self.replicas.iter().copied();
        match self.election {
            Election::Unclean => replicas.find(|node| (self.may_lead)(*node)).map(unclean),
            Election::Online | Election::Preferred => None,
        }
        .unwrap_or_else(|| clean(NO_LEADER))
    }

    /// In sync, or eligible when nobody is in sync any more; and alive.
    fn is_valid(&self, node: NodeId) -> bool {
        let is_in = self.in_sync.contains(&node)
            || (self.in_sync.is_empty() && self.eligible.contains(&node));
        is_in && (self.may_lead)(node)
    }

    /// When nobody is left in any set, the one that led last is the best there is.
    fn last_known_leader(&self) -> Option<NodeId> {
        if !self.has_elr || !self.in_sync.is_empty() || !self.eligible.is_empty() {
            return None;
        }
        match self.partition.last_known_eligible[..] {
            [last] if (self.may_lead)(last) => Some(last),
            _ => None,
        }
    }

    fn note_eligible(&mut self, record: &mut PartitionChangeRecord) {
        let is_clean = record.isr.is_none();
        if !is_clean || !self.has_elr {
            self.eligible.clear();
        }
        if self.eligible != self.partition.eligible_leaders {
            record.eligible_leader_replicas = Some(self.eligible.clone());
        }
    }

    fn note_in_sync(&self, record: &mut PartitionChangeRecord) {
        // Without eligible leaders, the last member stays on the books when it dies.
        let may_be_set = !self.in_sync.is_empty() || self.has_elr;
        if record.isr.is_none() && may_be_set && self.in_sync != self.partition.in_sync {
            record.isr = Some(self.in_sync.clone());
        }
    }

    /// Before 3.6 brokers needed a new leader epoch when the in-sync set shrank.
    fn bump_on_shrink(&self, record: &mut PartitionChangeRecord) {
        if self.level.skips_epoch_bump_on_shrink() || record.leader != LEADER_UNCHANGED {
            return;
        }
        if let Some(in_sync) = &record.isr
            && self
                .partition
                .in_sync
                .iter()
                .any(|node| !in_sync.contains(node))
        {
            record.leader = self.leader();
        }
    }

    fn note_last_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.has_elr {
            return;
        }
        let is_known = !self.partition.last_known_eligible.is_empty();
        if record.leader == NO_LEADER && !is_known {
            record.last_known_elr = Some(vec![self.leader()]);
        } else if record.leader >= 0 && is_known {
            record.last_known_elr = Some(Vec::new());
        }
    }

    fn leader(&self) -> NodeId {
        self.partition.leader.unwrap_or(NO_LEADER)
    }
}

/// What happened to one broker, as far as leadership is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It may not lead and leaves every in-sync set.
    Leaves(NodeId),
    /// The same, and it may have lost what it had.
    LeavesUncleanly(NodeId),
    /// It may lead again.
    Returns(NodeId),
}

impl News {
    fn concerns(self, partition: &Partition) -> bool {
        match self {
            Self::Leaves(node) => partition.in_sync.contains(&node),
            Self::LeavesUncleanly(node) => {
                partition.in_sync.contains(&node) || partition.eligible_leaders.contains(&node)
            }
            Self::Returns(_) => partition.leader.is_none(),
        }
    }

    fn leaver(self) -> Option<NodeId> {
        match self {
            Self::Leaves(node) | Self::LeavesUncleanly(node) => Some(node),
            Self::Returns(_) => None,
        }
    }
}

impl Controller {
    /// The leader and in-sync changes that follow from what happened to a broker.
    pub(super) fn changes_after(&self, news: News) -> Vec<Record> {
        let mut records = Vec::new();
        for topic in self.image().topics.iter() {
            for (index, partition) in &topic.partitions {
                if news.concerns(partition) {
                    records.extend(self.change_after(news, topic, *index, partition));
                }
            }
        }
        records
    }

    /// The same for the partitions whose replica on the broker lies in one directory.
    pub(super) fn changes_after_loss(&self, broker: NodeId, directory: Uuid) -> Vec<Record> {
        let news = News::Leaves(broker);
        let mut records = Vec::new();
        for topic in self.image().topics.iter() {
            for (index, partition) in &topic.partitions {
                if partition.directory_of(broker) == Some(directory) && news.concerns(partition) {
                    records.extend(self.change_after(news, topic, *index, partition));
                }
            }
        }
        records
    }

    /// A replica lies in `directory` of `broker` from now on.
    pub(super) fn directory_change(
        &self,
        topic: &Topic,
        index: i32,
        partition: &Partition,
        broker: NodeId,
        directory: Uuid,
    ) -> Option<Record> {
        let is_online = self
            .image()
            .nodes
            .broker(broker)
            .is_some_and(|node| node.has_online(directory));
        let may_lead = |node| {
            if node == broker {
                is_online
            } else {
                self.may_lead(partition, node)
            }
        };
        let mut change = self.change(topic, index, partition, &may_lead);
        for (replica, assigned) in partition.replicas.iter().zip(&mut change.directories) {
            if *replica == broker {
                *assigned = directory;
            }
        }
        if !is_online {
            change.in_sync.retain(|node| *node != broker);
        }
        change.record().map(Record::from)
    }

    fn change_after(
        &self,
        news: News,
        topic: &Topic,
        index: i32,
        partition: &Partition,
    ) -> Option<Record> {
        let may_lead = |node| match news {
            News::Leaves(leaver) | News::LeavesUncleanly(leaver) if leaver == node => false,
            // It is still on the books as fenced while this is decided.
            News::Returns(returned) if returned == node => is_online(self.image(), partition, node),
            _ => self.may_lead(partition, node),
        };
        let mut change = self.change(topic, index, partition, &may_lead);
        if let Some(leaver) = news.leaver() {
            change.in_sync.retain(|node| *node != leaver);
        }
        if let News::LeavesUncleanly(node) = news {
            change.unclean = Some(node);
        }
        change.record().map(Record::from)
    }

    pub(super) fn change<'a>(
        &'a self,
        topic: &Topic,
        index: i32,
        partition: &'a Partition,
        may_lead: &'a dyn Fn(NodeId) -> bool,
    ) -> Change<'a> {
        let unclean = self.topic_setting(&topic.name, "unclean.leader.election.enable");
        let is_unclean = unclean.map_or(self.settings().unclean_election, |value| {
            value.trim().eq_ignore_ascii_case("true")
        });
        Change {
            topic: topic.id,
            index,
            partition,
            level: self.level(),
            has_elr: self.image().features.has_elr(),
            nodes: &self.image().nodes,
            min_in_sync: self.min_in_sync(&topic.name).min(partition.replicas.len()),
            election: if is_unclean {
                Election::Unclean
            } else {
                Election::Online
            },
            may_lead,
            unclean: None,
            replicas: partition.replicas.clone(),
            removing: partition.removing.clone(),
            adding: partition.adding.clone(),
            in_sync: partition.in_sync.clone(),
            directories: partition.directories.clone(),
            recovery: partition.recovery,
            eligible: partition.eligible_leaders.clone(),
        }
    }

    pub(super) fn may_lead(&self, partition: &Partition, node: NodeId) -> bool {
        self.image().nodes.is_active(node) && is_online(self.image(), partition, node)
    }

    /// `min.insync.replicas` in force for a topic.
    fn min_in_sync(&self, topic: &str) -> usize {
        let value = self.topic_setting(topic, "min.insync.replicas");
        let value = value
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(self.settings().min_in_sync);
        usize::try_from(value).unwrap_or(1)
    }

    /// A topic's setting: its own, else the controller node's own dynamic value, else the
    /// cluster's.
    fn topic_setting(&self, topic: &str, name: &str) -> Option<&str> {
        let layers = [
            Resource::topic(topic),
            Resource::broker(self.settings().node_id),
            Resource::cluster(),
        ];
        layers
            .iter()
            .find_map(|layer| self.image().configs.value(layer, name))
            .map(|value| &**value)
    }

    pub(super) fn check_broker_epoch(&self, id: NodeId, epoch: i64) -> Result<(), Refused> {
        let broker = self.image().nodes.broker(id).ok_or_else(|| {
            Refused::new(
                Refusal::StaleBrokerEpoch,
                format!("No broker registration found for broker id {id}"),
            )
        })?;
        if broker.epoch != epoch {
            return Err(Refused::new(
                Refusal::StaleBrokerEpoch,
                format!(
                    "Expected broker epoch {}, but got broker epoch {epoch}",
                    broker.epoch
                ),
            ));
        }
        Ok(())
    }
}

fn is_online(image: &Image, partition: &Partition, node: NodeId) -> bool {
    let directory = partition.directory_of(node);
    image
        .nodes
        .broker(node)
        .is_some_and(|broker| directory.is_some_and(|id| broker.has_online(id)))
}

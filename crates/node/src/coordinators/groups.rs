//! The group ledger in its host's hands.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinators::group::records::GroupRecord;
use ottla_coordinators::group::{PatternErrand, ResolvedPatterns};
use ottla_coordinators::{
    Corrupt, Deadline, Freed, GroupDecision, GroupLedger, GroupReply, GroupSettings, Now, Origin,
    partition_for_group,
};
use ottla_protocol::{LeaderEpoch, Offset, ProducerId, Refusal};
use ottla_storage::producer::Verified;

use super::group_topics::{KnownTopics, TopicVersions};
use super::host::{Host, Pace};
use super::internal_topics::GROUP_METADATA_TOPIC;
use super::ledger::Ledger;
use crate::partitions::Partition;
use crate::quorum::ImageFeed;

/// The group coordinators of this node.
pub type GroupHost = Host<Groups>;

/// What every group ledger of a node is lent.
#[derive(Clone)]
pub(crate) struct GroupAround {
    pub(crate) feed: Arc<ImageFeed>,
    pub(crate) versions: Arc<TopicVersions>,
}

impl GroupAround {
    fn topics(&self) -> KnownTopics {
        self.versions.picture(|| self.feed.image())
    }
}

/// The groups of one partition of `__consumer_offsets`.
pub struct Groups {
    ledger: GroupLedger,
    around: GroupAround,
}

/// For what only looks.
impl Deref for Groups {
    type Target = GroupLedger;

    fn deref(&self) -> &GroupLedger {
        &self.ledger
    }
}

impl GroupHost {
    /// Decides on a request of a group and gives its reply when that may leave.
    ///
    /// # Errors
    /// `NOT_COORDINATOR`, `COORDINATOR_LOAD_IN_PROGRESS`, `COORDINATOR_NOT_AVAILABLE`.
    pub async fn decide<Reply>(
        &self,
        group_id: &str,
        pace: Pace,
        run: impl FnOnce(&mut GroupLedger, Now) -> GroupDecision + Send + 'static,
    ) -> Result<Reply, Refusal>
    where
        Reply: TryFrom<GroupReply>,
    {
        if group_id.is_empty() && pace == Pace::AtOnce {
            return Err(Refusal::InvalidGroupId);
        }
        let run = move |it: &mut Groups, now| run(&mut it.ledger, now);
        self.decide_on(group_id, pace, Verified::NotAsked, run)
            .await
    }

    /// As [`Self::decide`], about several groups of the partition that the named one is in.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub async fn decide_on_several<Reply>(
        &self,
        group_id: &str,
        run: impl FnOnce(&mut GroupLedger, Now) -> GroupDecision + Send + 'static,
    ) -> Result<Reply, Refusal>
    where
        Reply: TryFrom<GroupReply>,
    {
        let run = move |it: &mut Groups, now| run(&mut it.ledger, now);
        self.decide_alone(group_id, run).await
    }

    /// As [`Self::decide`], for records that belong to a transaction.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub async fn decide_in_transaction<Reply>(
        &self,
        group_id: &str,
        verified: Verified,
        run: impl FnOnce(&mut GroupLedger, Now) -> GroupDecision + Send + 'static,
    ) -> Result<Reply, Refusal>
    where
        Reply: TryFrom<GroupReply>,
    {
        let run = move |it: &mut Groups, now| run(&mut it.ledger, now);
        self.decide_on(group_id, Pace::InLine, verified, run).await
    }

    /// A topic was deleted: what groups committed for it is forgotten. Where the line is full, the
    /// retention of offsets forgets it later.
    pub(crate) fn topic_deleted(&self, name: &str, id: ottla_protocol::Uuid) {
        self.tell_all(|| {
            let name = name.to_owned();
            move |it: &mut Groups, _| it.ledger.topic_deleted(&name, id)
        });
    }

    /// The topics of this moment.
    pub fn topics(&self) -> KnownTopics {
        self.around().topics()
    }

    pub(super) async fn patterns_resolved(
        &self,
        resolved: ResolvedPatterns,
    ) -> Result<(), Refusal> {
        let index = self.partition_of(&resolved.group);
        let index = index.ok_or(Refusal::NotCoordinator)?;
        let run = move |it: &mut Groups, now| {
            let topics = it.around.topics();
            it.ledger.patterns_resolved(&resolved, &topics, now)
        };
        self.tell(index, None, run).await
    }
}

/// What metrics show of one partition of `__consumer_offsets`.
#[derive(Debug, Default, Clone)]
pub(crate) struct GroupCounts {
    pub groups: Vec<(&'static str, usize)>,
    pub consumer_groups: Vec<(&'static str, usize)>,
    pub n_offsets: usize,
    pub n_rebalances: u64,
    pub n_consumer_rebalances: u64,
    pub n_commits: u64,
}

impl Ledger for Groups {
    type Record = GroupRecord;
    type Reply = GroupReply;
    type Settings = GroupSettings;
    type Around = GroupAround;
    type Errand = PatternErrand;
    type Counts = GroupCounts;

    const WHAT: &'static str = "groups";
    const TOPIC: &'static str = GROUP_METADATA_TOPIC;
    /// As in Kafka: one group's offset is no reason to refuse all.
    const CHECKS_SUMS: bool = false;
    /// As in Kafka: what is neither loaded nor being loaded counts as if it were elsewhere.
    const UNAVAILABLE: Refusal = Refusal::NotCoordinator;

    fn partition_for(key: &str, n_partitions: i32) -> i32 {
        partition_for_group(key, n_partitions)
    }

    fn new(settings: GroupSettings, around: &GroupAround, _epoch: LeaderEpoch) -> Self {
        Self {
            ledger: GroupLedger::new(settings),
            around: around.clone(),
        }
    }

    fn load(
        &mut self,
        offset: Offset,
        origin: Origin,
        key: Option<&Bytes>,
        value: Option<&Bytes>,
    ) -> Result<(), Corrupt> {
        self.ledger.load(offset, origin, key, value)
    }

    fn loaded(&mut self, now: Now) -> GroupDecision {
        self.ledger.loaded(now)
    }

    fn note_loaded(&self, partition: &Partition) {
        let n = self.sizes().others;
        if n > 0 {
            tracing::warn!(partition = %partition.id(), n, "the log has groups of other protocols (share, streams), which are kept but not served yet");
        }
    }

    fn foresee(&mut self, decision: &GroupDecision) -> bool {
        self.ledger.foresee(decision)
    }

    fn take_back(&mut self) {
        self.ledger.take_back();
    }

    fn encode(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
        record.encode()
    }

    fn replay(&mut self, offset: Offset, origin: Origin, record: &GroupRecord) {
        self.ledger.replay(offset, origin, record);
    }

    fn end_transaction(&mut self, offset: Offset, producer: ProducerId, committed: bool) {
        self.ledger.end_transaction(offset, producer, committed);
    }

    fn committed(&mut self, end: Offset) {
        self.ledger.committed(end);
    }

    fn awaits_commit(&self) -> bool {
        false
    }

    fn next_errand(&mut self) -> Option<PatternErrand> {
        self.ledger.next_errand()
    }

    fn next_timeout(&self) -> Option<Deadline> {
        self.ledger.next_timeout()
    }

    fn handle_timeout(&mut self, now: Now) -> Option<GroupDecision> {
        let topics = self.around.topics();
        self.ledger.handle_timeout(&topics, now)
    }

    fn abandoned(&mut self, decision: GroupDecision, cause: Refusal, now: Now) -> GroupDecision {
        self.ledger.abandoned(decision, cause, now)
    }

    fn unload(self, refusal: Refusal) -> Vec<Freed<GroupReply>> {
        self.ledger.unload(refusal)
    }

    fn change_settings(&mut self, settings: GroupSettings) {
        self.ledger.change_settings(settings);
    }

    fn refused(reply: GroupReply, refusal: Refusal) -> GroupReply {
        reply.refused(refusal)
    }

    fn count(&self, counts: &mut GroupCounts, walk: bool) {
        if walk {
            let sizes = self.sizes();
            counts.n_offsets = sizes.offsets;
            let by_state = sizes.classic.iter();
            counts.groups = by_state.map(|(state, n)| (state.name(), *n)).collect();
            counts.groups.push(("Other", sizes.others));
            let by_state = sizes.consumer.iter();
            counts.consumer_groups = by_state.map(|(state, n)| (state.name(), *n)).collect();
        }
        counts.n_rebalances = self.counts().completed_rebalances;
        counts.n_consumer_rebalances = self.counts().consumer_rebalances;
        counts.n_commits = self.counts().offset_commits;
    }
}

//! All groups of one `__consumer_offsets` partition.
//!
//! Durable state (`saved`, `offsets`, `others`) changes in `replay` only. Who is joining, what is
//! being agreed on and which timers run is soft state (`live`, `timers`): it is rebuilt from the
//! durable state by `loaded`, and a restart costs members no more than a rebalance.

pub mod records;
mod settings;
mod placement;
mod timers;
mod reply;

use bytes::Bytes;
use ottla_protocol::messages::{
    DescribedGroup, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    ListedGroup, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequestGroup,
    OffsetFetchResponseGroup, SyncGroupRequest,
};
use ottla_protocol::{Offset, Refusal, Text, Uuid};

pub use placement::partition_for_group;
pub use reply::GroupReply;
pub use settings::GroupSettings;

use crate::ledger::{Deadline, Decision, Freed, Now, Origin, Read};
use records::{Corrupt, GroupRecord};

/// What the group ledger decides.
pub type GroupDecision = Decision<GroupRecord, GroupReply>;

/// Who sent a request, as far as groups remember it.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// From the request header.
    pub id: &'a str,
    /// Its address as Java prints it: a slash, then the IP address.
    pub host: &'a str,
}

/// What the caller knows about topics; the ledger itself sees none.
pub trait Topics {
    /// The id of a topic that exists.
    fn id(&self, name: &str) -> Option<Uuid>;
    /// The name of a topic that exists.
    fn name(&self, id: Uuid) -> Option<Text>;
    /// Whether the topic has this partition.
    fn has_partition(&self, name: &str, partition: i32) -> bool;
}

/// All groups of one `__consumer_offsets` partition.
#[derive(Debug)]
pub struct GroupLedger {}

impl GroupLedger {
    /// Empty: load it next.
    pub fn new(_settings: GroupSettings) -> Self {
        todo!()
    }

    // ---- the log ----

    /// One record of the log while loading, from its start to its end. Of a control batch, one call
    /// with `Origin::Marker` (key and value are not looked at).
    pub fn load(
        &mut self,
        _offset: Offset,
        _origin: Origin,
        _key: Option<&Bytes>,
        _value: Option<&Bytes>,
    ) -> Result<(), Corrupt> {
        todo!()
    }

    /// The log has been read to its end: members get their sessions back.
    pub fn loaded(&mut self, _now: Now) -> GroupDecision {
        todo!()
    }

    /// A record of a decision has been appended at `offset`.
    pub fn replay(&mut self, _offset: Offset, _origin: Origin, _record: &GroupRecord) {
        todo!()
    }

    /// Everything before `end` is committed.
    pub fn committed(&mut self, _end: Offset) {
        todo!()
    }

    /// The append of this decision failed. Takes its place; appends nothing.
    pub fn abandoned(
        &mut self,
        _decision: GroupDecision,
        _cause: Refusal,
        _now: Now,
    ) -> GroupDecision {
        todo!()
    }

    /// The partition moves away or stops: everyone who waits is told.
    pub fn unload(self, _refusal: Refusal) -> Vec<Freed<GroupReply>> {
        todo!()
    }

    /// Settings changed while running.
    pub fn change_settings(&mut self, _settings: GroupSettings) {
        todo!()
    }

    // ---- time ----

    /// When `handle_timeout` is due.
    pub fn next_timeout(&self) -> Option<Deadline> {
        todo!()
    }

    /// Handles one timer that is due. Call it until it says `None`.
    pub fn handle_timeout(&mut self, _now: Now) -> Option<GroupDecision> {
        todo!()
    }

    // ---- the classic protocol ----

    /// JoinGroup. `fresh_id` becomes part of the member id, if one is given out.
    pub fn join_group(
        &mut self,
        _request: &JoinGroupRequest,
        _version: i16,
        _client: Client<'_>,
        _fresh_id: Uuid,
        _now: Now,
    ) -> GroupDecision {
        todo!()
    }

    /// SyncGroup.
    pub fn sync_group(
        &mut self,
        _request: &SyncGroupRequest,
        _version: i16,
        _now: Now,
    ) -> GroupDecision {
        todo!()
    }

    /// Heartbeat.
    pub fn heartbeat(&mut self, _request: &HeartbeatRequest, _now: Now) -> GroupDecision {
        todo!()
    }

    /// LeaveGroup.
    pub fn leave_group(
        &mut self,
        _request: &LeaveGroupRequest,
        _version: i16,
        _now: Now,
    ) -> GroupDecision {
        todo!()
    }

    // ---- offsets ----

    /// OffsetCommit.
    pub fn commit_offsets(
        &mut self,
        _request: &OffsetCommitRequest,
        _version: i16,
        _topics: &dyn Topics,
        _now: Now,
    ) -> GroupDecision {
        todo!()
    }

    /// OffsetFetch of one group; `offset_fetch_groups` and `offset_fetch_response` translate the
    /// versions that ask for one group only.
    pub fn fetch_offsets(
        &self,
        _request: &OffsetFetchRequestGroup,
        _version: i16,
        _require_stable: bool,
        _topics: &dyn Topics,
    ) -> Read<OffsetFetchResponseGroup> {
        todo!()
    }

    /// OffsetDelete.
    pub fn delete_offsets(&mut self, _request: &OffsetDeleteRequest, _now: Now) -> GroupDecision {
        todo!()
    }

    /// A topic is gone: forget what was committed for it.
    pub fn topic_deleted(&mut self, _name: &str, _id: Uuid) -> GroupDecision {
        todo!()
    }

    // ---- looking ----

    /// ListGroups: the groups of this partition that pass the filters.
    pub fn list_groups(&self, _request: &ListGroupsRequest) -> Read<Vec<ListedGroup>> {
        todo!()
    }

    /// DescribeGroups: one group.
    pub fn describe_group(&self, _group_id: &str, _version: i16) -> Read<DescribedGroup> {
        todo!()
    }

    /// DeleteGroups: those of this partition.
    pub fn delete_groups(&mut self, _group_ids: &[Text], _now: Now) -> GroupDecision {
        todo!()
    }
}

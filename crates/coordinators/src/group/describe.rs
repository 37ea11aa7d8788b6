//! Looking at groups from outside: ListGroups, DescribeGroups, DeleteGroups.

use ottla_protocol::messages::{
    DeletableGroupResult, DescribedGroup, DescribedGroupMember, ListGroupsRequest, ListedGroup,
};
use ottla_protocol::{NONE, Refusal, Text};

use super::classic::{ClassicGroup, ClassicState, Member};
use super::consumer::CONSUMER;
use super::offsets::group_tombstone;
use super::others::OtherKind;
use super::records::GroupRecord;
use super::reply::GroupReply;
use super::{GroupDecision, GroupLedger};
use crate::ledger::{Answer, Now, Read, When};

/// DescribeGroups calls a missing group that from here on; before it was "Dead", without an error.
const GROUP_ID_NOT_FOUND_FROM: i16 = 6;
/// What answers call a group that is not there.
const DEAD: &str = "Dead";

impl GroupLedger {
    /// ListGroups: the groups of this partition that pass the filters. Filters do not mind case.
    pub fn list_groups(&self, request: &ListGroupsRequest) -> Read<Vec<ListedGroup>> {
        let passes = |group: &ListedGroup| {
            let state = |asked: &Text| asked.trim().eq_ignore_ascii_case(&group.group_state);
            let kind = |asked: &Text| asked.eq_ignore_ascii_case(&group.group_type);
            (request.states_filter.is_empty() || request.states_filter.iter().any(state))
                && (request.types_filter.is_empty() || request.types_filter.iter().any(kind))
        };
        let classic = self.live.iter().map(|(id, group)| ListedGroup {
            group_id: Text::from(&**id),
            protocol_type: Text::from(group.protocol_type().unwrap_or_default()),
            group_state: Text::from_static(group.state().name()),
            group_type: Text::from_static("classic"),
        });
        let consumers = self.consumers.iter().map(|(id, group)| ListedGroup {
            group_id: Text::from(&**id),
            protocol_type: Text::from_static(CONSUMER),
            group_state: Text::from_static(group.state().name()),
            group_type: Text::from_static(CONSUMER),
        });
        let others = self.others.iter().map(|(id, other)| ListedGroup {
            group_id: Text::from(&**id),
            protocol_type: Text::from_static(other.kind.type_name()),
            group_state: Text::from_static(other.state()),
            group_type: Text::from_static(other.kind.type_name()),
        });
        let reply = classic.chain(consumers).chain(others);
        let reply = reply.filter(passes).collect();
        Read {
            reply,
            when: self.uncommitted.when_all(),
        }
    }

    /// DescribeGroups: one group.
    pub fn describe_group(&self, group_id: &str, version: i16) -> Read<DescribedGroup> {
        let reply = match self.live.get(group_id) {
            Some(group) => described(group_id, group),
            None => self.not_described(group_id, version),
        };
        Read {
            reply,
            when: self.seen(group_id),
        }
    }

    fn not_described(&self, group_id: &str, version: i16) -> DescribedGroup {
        let mut dead = DescribedGroup {
            group_id: Text::from(group_id),
            group_state: Text::from_static(DEAD),
            ..DescribedGroup::default()
        };
        if version >= GROUP_ID_NOT_FOUND_FROM {
            let is_other =
                self.consumers.contains_key(group_id) || self.others.contains_key(group_id);
            let why = match is_other {
                true => format!("Group {group_id} is not a classic group."),
                false => format!("Group {group_id} not found."),
            };
            dead.error_code = Refusal::GroupIdNotFound.code();
            dead.error_message = Some(why.into());
        }
        dead
    }

    /// DeleteGroups: those of this partition, with all their offsets.
    pub fn delete_groups(&mut self, group_ids: &[Text], _now: Now) -> GroupDecision {
        let mut records = Vec::new();
        let results = group_ids.iter().map(|group_id| DeletableGroupResult {
            group_id: group_id.clone(),
            error_code: self
                .delete_group(group_id, &mut records)
                .map_or_else(Refusal::code, |()| NONE),
        });
        let reply = GroupReply::DeleteGroups(results.collect());
        let when = if records.is_empty() {
            When::AtOnce
        } else {
            When::AfterAppend
        };
        self.plain_decision(records, Answer::Now(reply, when))
    }

    fn delete_group(&self, group_id: &str, records: &mut Vec<GroupRecord>) -> Result<(), Refusal> {
        if let Some(group) = self.consumers.get(group_id) {
            if !group.is_empty() {
                return Err(Refusal::NonEmptyGroup);
            }
            records.extend(self.all_offset_tombstones(group_id));
            records.extend(group.tombstones());
            return Ok(());
        }
        match (self.live.get_key_value(group_id), self.others.get(group_id)) {
            (Some((id, group)), _) if group.state() == ClassicState::Empty => {
                records.extend(self.all_offset_tombstones(group_id));
                records.push(group_tombstone(id));
                Ok(())
            }
            // A share group's state is kept by another coordinator, which has to agree.
            (None, Some(other)) if other.is_empty() && other.kind != OtherKind::Share => {
                records.extend(self.all_offset_tombstones(group_id));
                records.extend(other.tombstones(group_id));
                Ok(())
            }
            (None, None) => Err(Refusal::GroupIdNotFound),
            _ => Err(Refusal::NonEmptyGroup),
        }
    }
}

fn described(group_id: &str, group: &ClassicGroup) -> DescribedGroup {
    // During a rebalance the protocol of the next generation is open, and metadata with it.
    let protocol = group
        .protocol()
        .filter(|_| group.state() == ClassicState::Stable);
    DescribedGroup {
        group_id: Text::from(group_id),
        group_state: Text::from_static(group.state().name()),
        protocol_type: Text::from(group.protocol_type().unwrap_or_default()),
        protocol_data: Text::from(protocol.unwrap_or_default()),
        members: group
            .members()
            .map(|member| described_member(member, protocol))
            .collect(),
        ..DescribedGroup::default()
    }
}

fn described_member(member: &Member, protocol: Option<&str>) -> DescribedGroupMember {
    DescribedGroupMember {
        member_id: Text::from(&*member.id),
        group_instance_id: member.instance.as_deref().map(Text::from),
        client_id: Text::from(&*member.client_id),
        client_host: Text::from(&*member.client_host),
        member_metadata: protocol
            .map(|name| member.metadata(Some(name)))
            .unwrap_or_default(),
        member_assignment: member.assignment.clone(),
    }
}

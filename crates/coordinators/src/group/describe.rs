//! Looking at groups from outside: ListGroups, DescribeGroups, DeleteGroups.

use std::collections::HashSet;

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

/// What a ListGroups asks for, ready to be held against every group. It does not mind case.
#[derive(Debug, Clone, Default)]
pub struct GroupFilter {
    /// Empty lets all states pass.
    states: HashSet<String>,
    /// Empty lets all types pass.
    types: HashSet<String>,
}

impl GroupFilter {
    /// Reads the request.
    pub fn new(request: &ListGroupsRequest) -> Self {
        let states = request.states_filter.iter();
        let types = request.types_filter.iter();
        Self {
            states: states.map(|it| it.trim().to_ascii_lowercase()).collect(),
            types: types.map(|it| it.to_ascii_lowercase()).collect(),
        }
    }

    fn lets_pass(&self, group: &ListedGroup) -> bool {
        let has = |asked: &HashSet<String>, is: &str| {
            asked.is_empty() || asked.contains(&is.to_ascii_lowercase())
        };
        has(&self.states, &group.group_state) && has(&self.types, &group.group_type)
    }
}

impl GroupLedger {
    /// ListGroups: the groups of this partition that pass the filter.
    pub fn list_groups(&self, filter: &GroupFilter) -> Read<Vec<ListedGroup>> {
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
        let reply = reply.filter(|group| filter.lets_pass(group)).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(states: Vec<Text>, types: Vec<Text>) -> GroupFilter {
        GroupFilter::new(&ListGroupsRequest {
            states_filter: states,
            types_filter: types,
        })
    }

    fn stable() -> ListedGroup {
        ListedGroup {
            group_state: Text::from_static("Stable"),
            group_type: Text::from_static("classic"),
            ..ListedGroup::default()
        }
    }

    #[test]
    fn filters_do_not_mind_case() {
        let passes = |states: &[&'static str], types: &[&'static str]| {
            let texts = |all: &[&'static str]| all.iter().map(|it| Text::from_static(it)).collect();
            filter(texts(states), texts(types)).lets_pass(&stable())
        };
        assert!(passes(&[], &[]));
        assert!(passes(&["Empty", " sTABLE "], &["Classic"]));
        assert!(!passes(&["Empty"], &[]));
        assert!(!passes(&[""], &[]));
        assert!(!passes(&["stable"], &["consumer"]));
        assert!(!passes(&[], &[" classic"]));
    }

    #[test]
    fn a_great_many_filters_meet_a_great_many_groups() {
        let odd = |kind| (0..100_000).map(move |n| Text::from(format!("{kind}{n:05}")));
        let states = odd("s").chain([Text::from_static("stable")]);
        let filter = filter(states.collect(), odd("cl").collect());
        let mut groups = std::iter::repeat_with(stable).take(100_000);
        assert!(!groups.any(|group| filter.lets_pass(&group)));
    }
}

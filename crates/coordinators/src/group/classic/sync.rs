//! SyncGroup: the leader hands out the assignment, the others ask for theirs.
//! v3 static members · v5 names the protocol, which must be the group's.

use std::collections::HashMap;

use bytes::Bytes;
use ottla_protocol::Refusal;
use ottla_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::member::text;
use super::{ClassicGroup, ClassicState, Reply, at_once, sync_refused};
use crate::group::reply::GroupReply;
use crate::group::turn::Turn;
use crate::ledger::{Answer, When};

impl ClassicGroup {
    pub(crate) fn sync(&mut self, request: &SyncGroupRequest, turn: &mut Turn<'_>) -> Reply {
        if let Err(refusal) = self.check_sync(request) {
            return at_once(sync_refused(refusal));
        }
        match self.state {
            ClassicState::Empty => at_once(sync_refused(Refusal::UnknownMemberId)),
            ClassicState::PreparingRebalance => at_once(sync_refused(Refusal::RebalanceInProgress)),
            ClassicState::CompletingRebalance => self.park_sync(request, turn),
            ClassicState::Stable => {
                self.has_synced(&request.member_id, turn);
                let member = self.members.get(&*request.member_id);
                let assignment = member.map(|member| member.assignment.clone());
                Answer::Now(self.assigned(assignment.unwrap_or_default()), turn.seen)
            }
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), Refusal> {
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(Refusal::IllegalGeneration);
        }
        let differs = |asked: Option<&str>, is: Option<&str>| {
            asked.zip(is).is_some_and(|(asked, is)| asked != is)
        };
        if differs(request.protocol_type.as_deref(), self.protocol_type())
            || differs(request.protocol_name.as_deref(), self.protocol())
        {
            return Err(Refusal::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn park_sync(&mut self, request: &SyncGroupRequest, turn: &mut Turn<'_>) -> Reply {
        let ticket = turn.ticket();
        if let Some(member) = self.members.get_mut(&*request.member_id) {
            member.park_sync(ticket, turn);
        }
        self.has_synced(&request.member_id, turn);
        if self.is_leader(&request.member_id) {
            self.assign(request, turn);
        }
        Answer::Later(ticket)
    }

    /// The leader has spoken. Its word counts once it is stored: the group becomes stable when the
    /// record is replayed, and the replies wait for it.
    fn assign(&mut self, request: &SyncGroupRequest, turn: &mut Turn<'_>) {
        let given: HashMap<&str, &Bytes> = request
            .assignments
            .iter()
            .map(|assignment| (&*assignment.member_id, &assignment.assignment))
            .collect();
        // Copied: a slice would keep the whole request alive. Who was forgotten gets nothing.
        let assignment_of = |id: &str| {
            given
                .get(id)
                .map(|bytes| Bytes::copy_from_slice(bytes))
                .unwrap_or_default()
        };
        turn.write(self.record(|member| assignment_of(&member.id)));
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let reply = self.assigned(assignment_of(&id));
            let waiting = self
                .members
                .get_mut(&id)
                .and_then(|member| member.syncing.take());
            if let Some(ticket) = waiting {
                turn.release(ticket, reply, When::AfterAppend);
                // Its session may have run out while it waited, which was forgiven once.
                self.saw(&id, turn);
            }
        }
    }

    fn assigned(&self, assignment: Bytes) -> GroupReply {
        GroupReply::Sync(SyncGroupResponse {
            protocol_type: text(self.protocol_type.as_ref()),
            protocol_name: text(self.protocol.as_ref()),
            assignment,
            ..SyncGroupResponse::default()
        })
    }
}

//! Heartbeat, LeaveGroup, and members that fall silent.
//! LeaveGroup v3: several members, static ones by instance id · v5 gives a reason.

use ottla_protocol::messages::{MemberIdentity, MemberResponse};
use ottla_protocol::{NONE, Refusal};

use super::{ClassicGroup, ClassicState};
use crate::group::turn::Turn;

impl ClassicGroup {
    /// Whether the member may go on. It never waits for the log.
    pub(crate) fn heartbeat(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
        turn: &mut Turn<'_>,
    ) -> Result<(), Refusal> {
        self.check_member(member_id, instance)?;
        if generation != self.generation {
            return Err(Refusal::IllegalGeneration);
        }
        self.saw(member_id, turn);
        match self.state {
            ClassicState::Empty => Err(Refusal::UnknownMemberId),
            ClassicState::PreparingRebalance => Err(Refusal::RebalanceInProgress),
            // A consumer beats from its join on, before it has its assignment.
            ClassicState::CompletingRebalance | ClassicState::Stable => Ok(()),
        }
    }

    pub(crate) fn leave(
        &mut self,
        leaving: &[MemberIdentity],
        turn: &mut Turn<'_>,
    ) -> Vec<MemberResponse> {
        let responses: Vec<MemberResponse> = leaving
            .iter()
            .map(|identity| MemberResponse {
                member_id: identity.member_id.clone(),
                group_instance_id: identity.group_instance_id.clone(),
                error_code: self
                    .leave_one(identity, turn)
                    .map_or_else(Refusal::code, |()| NONE),
            })
            .collect();
        if responses.iter().any(|response| response.error_code == NONE)
            && self.state != ClassicState::Empty
        {
            self.rebalance(turn);
        }
        responses
    }

    fn leave_one(&mut self, who: &MemberIdentity, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        let instance = who.group_instance_id.as_deref();
        let member_id = if who.member_id.is_empty() {
            // An operator removes a static member, whose member id only the group knows.
            let known = instance.and_then(|instance| self.static_members.get(instance));
            known.cloned().ok_or(Refusal::UnknownMemberId)?
        } else {
            if !self.pending_joins.contains(&*who.member_id) {
                self.check_member(&who.member_id, instance)?;
            }
            (*who.member_id).into()
        };
        self.remove(&member_id, turn);
        Ok(())
    }

    /// A member has been silent for as long as its session allows.
    pub(crate) fn session_timed_out(&mut self, member_id: &str, turn: &mut Turn<'_>) {
        let is_pending = self.pending_joins.contains(member_id);
        match self.members.get(member_id) {
            Some(member) if member.counts_as_alive() => return,
            None if !is_pending => return,
            _ => self.remove(member_id, turn),
        }
        match self.state {
            ClassicState::Stable | ClassicState::CompletingRebalance if !is_pending => {
                self.prepare_rebalance(turn);
            }
            // Also in the first rebalance of a group: there is nobody left to wait for.
            ClassicState::PreparingRebalance if self.all_have_joined() => self.complete_join(turn),
            _ => {}
        }
    }
}

//! From one generation to the next: everybody joins, one protocol is chosen, the leader assigns.

use ottla_protocol::Refusal;

use super::{ClassicGroup, ClassicState, FirstRebalance};
use crate::group::timers::Timer;
use crate::group::turn::Turn;
use crate::ledger::When;

impl ClassicGroup {
    /// Something has changed: start a rebalance, or go on with the one under way.
    pub(super) fn rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == ClassicState::PreparingRebalance {
            self.complete_join_if_all_are_in(turn);
        } else {
            self.prepare_rebalance(turn);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, turn: &mut Turn<'_>) {
        if self.state == ClassicState::CompletingRebalance {
            self.cancel_syncs(Refusal::RebalanceInProgress, turn);
        }
        self.pending_syncs.clear();
        turn.timers.cancel(&Timer::Sync(self.id.clone()));
        let is_first = self.state == ClassicState::Empty;
        self.move_to(ClassicState::PreparingRebalance, turn.now);
        if is_first {
            self.wait_for_company(turn);
        } else if self.all_have_joined() {
            self.complete_join(turn);
        } else {
            self.join_within(self.rebalance_timeout_ms(), turn);
        }
    }

    /// Those who wait for an assignment have to join again instead.
    fn cancel_syncs(&mut self, refusal: Refusal, turn: &mut Turn<'_>) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.assignment = bytes::Bytes::new();
            if let Some(ticket) = member.syncing.take() {
                turn.release(ticket, super::sync_refused(refusal), When::AtOnce);
                self.saw(&id, turn);
            }
        }
    }

    fn join_within(&self, timeout_ms: i32, turn: &mut Turn<'_>) {
        turn.timers
            .set(Timer::Join(self.id.clone()), turn.now, timeout_ms.into());
    }

    // ---- the first rebalance of an empty group ----

    fn wait_for_company(&mut self, turn: &mut Turn<'_>) {
        let delay_ms = turn.settings.initial_rebalance_delay_ms;
        let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms).max(0);
        self.first_rebalance = Some(FirstRebalance {
            delay_ms,
            remaining_ms,
            joined_meanwhile: false,
        });
        self.join_within(delay_ms, turn);
    }

    /// The time to join is over, or the first part of it.
    pub(crate) fn join_timed_out(&mut self, turn: &mut Turn<'_>) {
        match &mut self.first_rebalance {
            Some(first) if first.joined_meanwhile && first.remaining_ms > 0 => {
                first.joined_meanwhile = false;
                let delay_ms = turn
                    .settings
                    .initial_rebalance_delay_ms
                    .min(first.remaining_ms);
                first.remaining_ms = (first.remaining_ms - first.delay_ms).max(0);
                first.delay_ms = delay_ms;
                self.join_within(delay_ms, turn);
            }
            _ if self.state == ClassicState::PreparingRebalance => self.complete_join(turn),
            _ => {}
        }
    }

    // ---- the end of joining ----

    /// The first rebalance is not cut short: who comes within the delay saves everyone another.
    pub(super) fn complete_join_if_all_are_in(&mut self, turn: &mut Turn<'_>) {
        let waits_for_more = self.first_rebalance.is_some();
        if self.state == ClassicState::PreparingRebalance
            && !waits_for_more
            && self.all_have_joined()
        {
            self.complete_join(turn);
        }
    }

    /// Whoever has joined makes the next generation.
    pub(super) fn complete_join(&mut self, turn: &mut Turn<'_>) {
        turn.timers.cancel(&Timer::Join(self.id.clone()));
        self.remove_absent_dynamic_members(turn);
        if !self.elect_joined_leader() && !self.members.is_empty() {
            // Only static members are left, and none of them is here: their sessions decide.
            return self.join_within(self.rebalance_timeout_ms(), turn);
        }
        self.first_rebalance = None;
        self.generation = self.generation.wrapping_add(1);
        self.pending_syncs.clear();
        if self.members.is_empty() {
            self.become_empty(turn);
        } else {
            self.await_assignment(turn);
        }
    }

    /// Static members may be away for as long as their session lasts.
    fn remove_absent_dynamic_members(&mut self, turn: &mut Turn<'_>) {
        let absent = self
            .members
            .values()
            .filter(|member| member.joining.is_none() && member.instance.is_none());
        for id in absent.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.remove(&id, turn);
        }
    }

    /// A leader that has not come back is succeeded by someone who has. Whether one leads now.
    fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else {
            return false;
        };
        if self
            .members
            .get(leader)
            .is_some_and(|member| member.joining.is_some())
        {
            return true;
        }
        let Some(joined) = self
            .members
            .values()
            .find(|member| member.joining.is_some())
        else {
            return false;
        };
        self.leader = Some(joined.id.clone());
        true
    }

    fn become_empty(&mut self, turn: &mut Turn<'_>) {
        self.protocol = None;
        self.subscribed = self.subscribed_topics();
        self.move_to(ClassicState::Empty, turn.now);
        turn.write(self.record_of(Vec::new()));
    }

    /// The members have no protocol in common. None of them is in the wrong, so all are told and
    /// may come again.
    fn send_all_away(&mut self, turn: &mut Turn<'_>) {
        self.refuse_all(Refusal::InconsistentGroupProtocol, turn);
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.remove(&id, turn);
        }
        self.become_empty(turn);
    }

    fn await_assignment(&mut self, turn: &mut Turn<'_>) {
        let Some(protocol) = self.next_protocol() else {
            return self.send_all_away(turn);
        };
        self.protocol = Some(protocol);
        self.subscribed = self.subscribed_topics();
        self.move_to(ClassicState::CompletingRebalance, turn.now);
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let reply = self.generation_as_seen_by(&id);
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.is_new = false;
            if let Some(parked) = member.joining.take() {
                turn.release(parked.ticket, reply, When::AtOnce);
            }
            self.saw(&id, turn);
            self.pending_syncs.insert(id);
        }
        let timer = Timer::Sync(self.id.clone());
        turn.timers
            .set(timer, turn.now, self.rebalance_timeout_ms().into());
    }

    // ---- the end of syncing ----

    /// Members who have not asked for their assignment in all that time are gone.
    pub(crate) fn sync_timed_out(&mut self, turn: &mut Turn<'_>) {
        let assigning = matches!(
            self.state,
            ClassicState::CompletingRebalance | ClassicState::Stable
        );
        if !assigning || self.pending_syncs.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.pending_syncs) {
            self.remove(&id, turn);
        }
        self.prepare_rebalance(turn);
    }

    /// A member has asked for its assignment.
    pub(super) fn has_synced(&mut self, member_id: &str, turn: &mut Turn<'_>) {
        self.pending_syncs.remove(member_id);
        if self.pending_syncs.is_empty() {
            turn.timers.cancel(&Timer::Sync(self.id.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ottla_protocol::Uuid;
    use ottla_protocol::messages::{JoinGroupRequest, JoinGroupRequestProtocol};

    use super::super::{Joining, protocols};
    use super::*;
    use crate::group::reply::GroupReply;
    use crate::group::settings::GroupSettings;
    use crate::group::timers::Timers;
    use crate::group::{Client, records::GroupRecord};
    use crate::ledger::{Answer, Now};

    /// Nobody gets in like that: a group that has gone wrong all the same must go on.
    #[test]
    fn members_without_a_common_protocol_are_told_and_may_come_again() {
        let now = Now {
            monotonic: Duration::ZERO,
            wall_ms: 7,
        };
        let (settings, mut timers, mut tickets) = (GroupSettings::default(), Timers::default(), 0);
        let mut turn = Turn::new(now, &settings, &mut timers, &mut tickets, When::AtOnce);
        let mut group = ClassicGroup::new("g".into(), now);
        let range = JoinGroupRequestProtocol {
            name: "range".into(),
            ..Default::default()
        };
        let request = JoinGroupRequest {
            protocol_type: "consumer".into(),
            protocols: vec![range],
            ..Default::default()
        };
        for n in 1..=2 {
            let joining = Joining {
                request: &request,
                version: 3,
                client: Client { id: "c", host: "/" },
                fresh_id: Uuid::from_u128(n),
            };
            assert!(matches!(group.join(joining, &mut turn), Answer::Later(_)));
        }
        let odd = group.members.values_mut().next().unwrap();
        protocols::uncount(&mut group.support, odd);
        odd.protocols = vec![(Arc::from("sticky"), bytes::Bytes::new())];
        protocols::count(&mut group.support, odd);

        group.complete_join(&mut turn);
        group.validate();
        assert_eq!(group.state(), ClassicState::Empty);
        let outcome = turn.done();
        let codes = outcome.released.iter().map(|freed| match &freed.reply {
            GroupReply::Join(response) => response.error_code,
            other => panic!("{other:?}"),
        });
        let refused = Refusal::InconsistentGroupProtocol.code();
        assert_eq!(codes.collect::<Vec<_>>(), [refused, refused]);
        assert!(matches!(
            &outcome.records[..],
            [GroupRecord::GroupMetadata { value: Some(value), .. }] if value.members.is_empty()
        ));
    }
}

//! The classic protocol from a client's side: join, ask for the assignment, beat.

use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
    LeaveGroupRequest, MemberIdentity, SyncGroupRequest, SyncGroupRequestAssignment,
    SyncGroupResponse,
};
use ottla_protocol::{NONE, Refusal, Text};

use super::client::{Fellow, Stage};
use super::leader;
use super::world::{GROUP, World};
use crate::group::{Client as Caller, GroupReply};

const SESSION_TIMEOUT_MS: i32 = 12_000;
const REBALANCE_TIMEOUT_MS: i32 = 20_000;
/// The version in which clients sync and join.
const JOIN_VERSION: i16 = 9;
/// One whose newcomers are given no id first.
const OLD_JOIN_VERSION: i16 = 3;

impl World {
    /// The next thing that a classic client does.
    pub(super) fn act_classic(&mut self, at: usize, is_heard: bool) {
        match self.clients[at].stage.clone() {
            Stage::Out => self.join(at),
            // It waits; now and then it loses patience.
            Stage::Joining(_) if self.chance.once_in(12) => self.join(at),
            Stage::Syncing(_) if self.chance.once_in(12) => self.join(at),
            Stage::Joining(_) | Stage::Syncing(_) => {}
            Stage::Joined(fellows) => self.sync(at, &fellows),
            Stage::In if self.sees_other_topics(at) => {
                self.clients[at].asks_anew_in = Some(self.clients[at].epoch);
                self.join(at);
            }
            Stage::In if self.wants_other(at) => self.join(at),
            Stage::In => self.heartbeat(at, is_heard),
        }
    }

    fn wants_other(&self, at: usize) -> bool {
        self.clients[at].topics != self.clients[at].joined_for
    }

    /// Only the leader of a generation looks.
    fn sees_other_topics(&mut self, at: usize) -> bool {
        let now = self.host.topics.version();
        let is_other = self.clients[at].leads_at.is_some_and(|led| led != now);
        if is_other {
            self.totals.count("leader joins again");
        }
        is_other
    }

    pub(super) fn join(&mut self, at: usize) {
        if !self.clients[at].is_cooperative || self.clients[at].epoch < 0 {
            // It gives everything up before it joins.
            self.clients[at].using.clear();
            self.clients[at].is_unsettled = false;
        }
        // Thrown out without hearing of it, it comes back under its id: a consumer group takes it in
        // as a new member (as Kafka's does), and it drops what it reads with its new assignment.
        // So does a static one that a generation of a classic group has passed over.
        let client = &self.clients[at];
        let is_behind = !self.knows(&client.id) || self.was_passed_over(client);
        self.clients[at].is_unsettled |= is_behind && !self.clients[at].using.is_empty();
        let client = &self.clients[at];
        let topics = self.host.topics.clone();
        let metadata = leader::metadata(client, &topics);
        let names: &[&'static str] = match client.is_cooperative {
            true => &["cooperative-sticky"],
            false => &["range", "roundrobin"],
        };
        let protocols = names.iter().map(|name| JoinGroupRequestProtocol {
            name: Text::from_static(name),
            metadata: metadata.clone(),
        });
        let request = JoinGroupRequest {
            group_id: Text::from_static(GROUP),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            protocol_type: Text::from_static("consumer"),
            protocols: protocols.collect(),
            reason: None,
        };
        self.trace(&format!(
            "{} joins as {:?} with {:?}",
            client.number, client.id, client.using
        ));
        let is_old = client.instance.is_none() && client.number.is_multiple_of(5);
        let version = if is_old {
            OLD_JOIN_VERSION
        } else {
            JOIN_VERSION
        };
        // Whatever an earlier request is answered, nobody listens.
        self.clients[at].stage = Stage::Out;
        self.clients[at].joined_for = self.clients[at].topics.clone();
        let step = self.host.step(|ledger, now, fresh| {
            let caller = Caller {
                id: "c",
                host: "/::1",
            };
            ledger.join_group(&request, version, caller, fresh, &topics, now)
        });
        if let Some(ticket) = step.waits {
            self.clients[at].stage = Stage::Joining(ticket);
        }
        let is_static = self.clients[at].instance.is_some();
        if let Some(GroupReply::Join(response)) = self.asked(at, step) {
            self.is_behind_wishes |= is_static && response.error_code == NONE;
            self.hear_join(at, &response);
        }
    }

    pub(super) fn hear_join(&mut self, at: usize, response: &JoinGroupResponse) {
        let refusal = Refusal::from_code(response.error_code);
        let client = &mut self.clients[at];
        client.last_refusal = refusal;
        client.stage = Stage::Out;
        let asked_in = client.asks_anew_in.take();
        match refusal {
            None => {
                client.id = response.member_id.clone();
                client.epoch = response.generation_id;
                let fellow = |it: &ottla_protocol::messages::JoinGroupResponseMember| Fellow {
                    id: it.member_id.clone(),
                    metadata: it.metadata.clone(),
                };
                let leads = response.leader == response.member_id;
                assert!(
                    !leads || response.skip_assignment || asked_in != Some(client.epoch),
                    "the leader {} asked to assign anew, and is told of what was",
                    client.id
                );
                // Who skips the assignment does not know what it was made for.
                let version = match response.skip_assignment {
                    true => 0,
                    false => self.host.topics.version(),
                };
                client.leads_at = leads.then_some(version);
                let fellows = match leads && !response.skip_assignment {
                    true => response.members.iter().map(fellow).collect(),
                    false => Vec::new(),
                };
                if response.skip_assignment {
                    self.totals.count("skipped assignment");
                }
                client.stage = Stage::Joined(fellows);
            }
            Some(Refusal::MemberIdRequired) => client.id = response.member_id.clone(),
            Some(refusal) => self.classic_refused(at, refusal),
        }
        if let Some(refusal) = refusal {
            self.totals.count(refusal.name());
        }
    }

    /// As Kafka's client: what it had is lost where its membership is.
    fn classic_refused(&mut self, at: usize, refusal: Refusal) {
        let client = &mut self.clients[at];
        match refusal {
            Refusal::RebalanceInProgress => client.stage = Stage::Out,
            Refusal::UnknownMemberId => {
                client.start_over();
                client.id = Text::default();
            }
            Refusal::FencedInstanceId => client.stop(),
            // Also where Kafka's client would end: it tries again later.
            _ => client.start_over(),
        }
    }

    fn sync(&mut self, at: usize, fellows: &[Fellow]) {
        let client = &self.clients[at];
        let topics = self.host.topics.clone();
        let assigned = leader::assign(fellows, client.is_cooperative, &topics);
        let one = |(member_id, assignment)| SyncGroupRequestAssignment {
            member_id,
            assignment,
        };
        let request = SyncGroupRequest {
            group_id: Text::from_static(GROUP),
            generation_id: client.epoch,
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            protocol_type: None,
            protocol_name: None,
            assignments: assigned.into_iter().map(one).collect(),
        };
        let step = self
            .host
            .step(|ledger, now, _| ledger.sync_group(&request, 4, &topics, now));
        if let Some(ticket) = step.waits {
            self.clients[at].stage = Stage::Syncing(ticket);
        }
        if let Some(GroupReply::Sync(response)) = self.asked(at, step) {
            self.hear_sync(at, &response);
        }
    }

    pub(super) fn hear_sync(&mut self, at: usize, response: &SyncGroupResponse) {
        let refusal = Refusal::from_code(response.error_code);
        self.clients[at].last_refusal = refusal;
        if let Some(refusal) = refusal {
            self.totals.count(refusal.name());
            self.clients[at].stage = Stage::Out;
            return self.classic_refused(at, refusal);
        }
        let client = &mut self.clients[at];
        let given = leader::using(&response.assignment, &self.host.topics);
        let gives_up = client
            .reads()
            .any(|(topic, it)| !given.get(&topic).is_some_and(|given| given.contains(&it)));
        client.using = given;
        client.is_unsettled = false;
        // A cooperative client that has given something up joins again at once.
        client.stage = match gives_up && client.is_cooperative {
            true => Stage::Out,
            false => Stage::In,
        };
    }

    fn heartbeat(&mut self, at: usize, is_heard: bool) {
        let client = &self.clients[at];
        let request = HeartbeatRequest {
            group_id: Text::from_static(GROUP),
            generation_id: client.epoch,
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.heartbeat(&request, &topics, now));
        let Some(GroupReply::Heartbeat(response)) = self.asked(at, step) else {
            panic!("a heartbeat never waits");
        };
        if !is_heard || response.error_code == NONE {
            return;
        }
        if let Some(refusal) = Refusal::from_code(response.error_code) {
            self.totals.count(refusal.name());
            self.classic_refused(at, refusal);
        }
    }

    pub(super) fn leave_classic(&mut self, at: usize) {
        let client = &self.clients[at];
        let identity = MemberIdentity {
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            reason: None,
        };
        self.clients[at].stop();
        self.remove(at, identity);
    }

    /// LeaveGroup, from a client or from an operator.
    pub(super) fn remove(&mut self, at: usize, identity: MemberIdentity) {
        let request = LeaveGroupRequest {
            group_id: Text::from_static(GROUP),
            members: vec![identity],
            ..LeaveGroupRequest::default()
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.leave_group(&request, 5, &topics, now));
        self.asked(at, step);
    }
}

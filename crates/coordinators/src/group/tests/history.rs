//! Random histories: whatever members, clients, time and the log do, nobody is forgotten, nobody is
//! answered twice, and the log alone says what is durable.
//!
//! The host asserts after every step that replies are owed once and that all invariants hold.

use bytes::Bytes;
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, LeaveGroupRequest,
    MemberIdentity, OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    SyncGroupRequest, SyncGroupRequestAssignment,
};
use ottla_protocol::{NONE, Refusal, Text};
use proptest::prelude::*;

use super::host::{Host, Step, To};
use crate::group::{Client, GroupReply, GroupSettings};
use crate::ledger::Ticket;

const ACTORS: usize = 5;

#[derive(Debug, Clone)]
enum Event {
    Join {
        actor: usize,
        version: i16,
        protocols: u8,
        metadata: u8,
    },
    /// It has restarted and forgotten its member id.
    Forget {
        actor: usize,
    },
    Sync {
        actor: usize,
    },
    Heartbeat {
        actor: usize,
    },
    Leave {
        actor: usize,
    },
    Commit {
        actor: usize,
        as_member: bool,
    },
    DeleteGroup,
    Pass {
        ms: u64,
    },
    FailNext,
    Restart,
    Resize {
        max_size: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let actor = 0..ACTORS;
    prop_oneof![
        8 => (actor.clone(), prop_oneof![Just(3i16), Just(8), Just(9)], 1u8..8, 0u8..2)
            .prop_map(|(actor, version, protocols, metadata)| Event::Join {
                actor, version, protocols, metadata
            }),
        1 => actor.clone().prop_map(|actor| Event::Forget { actor }),
        8 => actor.clone().prop_map(|actor| Event::Sync { actor }),
        2 => actor.clone().prop_map(|actor| Event::Heartbeat { actor }),
        2 => actor.clone().prop_map(|actor| Event::Leave { actor }),
        2 => (actor, any::<bool>())
            .prop_map(|(actor, as_member)| Event::Commit { actor, as_member }),
        1 => Just(Event::DeleteGroup),
        4 => prop_oneof![Just(0u64), Just(100), Just(3_000), Just(7_000), Just(700_000)]
            .prop_map(|ms| Event::Pass { ms }),
        1 => Just(Event::FailNext),
        1 => Just(Event::Restart),
        1 => (1usize..6).prop_map(|max_size| Event::Resize { max_size }),
    ]
}

#[derive(Default, Clone)]
struct Actor {
    member: Text,
    generation: i32,
    is_leader: bool,
    members: Vec<Text>,
}

struct History {
    host: Host,
    actors: Vec<Actor>,
    /// Who waits, and the member id it asked under.
    waiting: Vec<(Ticket, usize, Text)>,
    last_generation: i32,
}

impl History {
    fn new() -> Self {
        let settings = GroupSettings {
            initial_rebalance_delay_ms: 500,
            ..GroupSettings::default()
        };
        Self {
            host: Host::new(settings),
            actors: vec![Actor::default(); ACTORS],
            waiting: Vec::new(),
            last_generation: 0,
        }
    }

    /// The last two actors are static members.
    fn instance(actor: usize) -> Option<Text> {
        (actor >= ACTORS - 2).then(|| Text::from(format!("i{actor}")))
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Join {
                actor,
                version,
                protocols,
                metadata,
            } => {
                self.join(*actor, *version, *protocols, *metadata);
            }
            Event::Forget { actor } => self.actors[*actor] = Actor::default(),
            Event::Sync { actor } => self.sync(*actor),
            Event::Heartbeat { actor } => self.heartbeat(*actor),
            Event::Leave { actor } => self.leave(*actor),
            Event::Commit { actor, as_member } => self.commit(*actor, *as_member),
            Event::DeleteGroup => {
                let groups = [Text::from_static("g")];
                let step = self
                    .host
                    .step(|ledger, now, _| ledger.delete_groups(&groups, now));
                self.told(0, step);
            }
            Event::Pass { ms } => {
                for step in self.host.pass(*ms) {
                    self.told(0, step);
                }
            }
            Event::FailNext => self.host.fail = Some(Refusal::NotEnoughReplicas),
            Event::Restart => {
                let step = self.host.restart();
                self.waiting.clear();
                self.last_generation = 0;
                self.told(0, step);
            }
            Event::Resize { max_size } => {
                self.host.settings.max_size = *max_size;
                self.host.ledger.change_settings(self.host.settings.clone());
            }
        }
    }

    fn join(&mut self, actor: usize, version: i16, protocols: u8, metadata: u8) {
        let supported = ["range", "sticky", "roundrobin"].iter().enumerate();
        let supported = supported.filter(|(bit, _)| protocols & (1 << bit) != 0);
        let protocol = |(_, name): (usize, &&'static str)| JoinGroupRequestProtocol {
            name: Text::from_static(name),
            metadata: Bytes::from(vec![metadata]),
        };
        let request = JoinGroupRequest {
            group_id: Text::from_static("g"),
            session_timeout_ms: 6_000 + 1_000 * actor as i32,
            rebalance_timeout_ms: 4_000 + 2_000 * actor as i32,
            member_id: self.actors[actor].member.clone(),
            group_instance_id: Self::instance(actor),
            protocol_type: Text::from_static("consumer"),
            protocols: supported.map(protocol).collect(),
            reason: None,
        };
        let topics = self.host.topics.clone();
        let step = self.host.step(|ledger, now, fresh| {
            let client = Client {
                id: "c",
                host: "/::1",
            };
            ledger.join_group(&request, version, client, fresh, &topics, now)
        });
        self.told(actor, step);
    }

    fn sync(&mut self, actor: usize) {
        let me = &self.actors[actor];
        let members = if me.is_leader {
            me.members.clone()
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest {
            group_id: Text::from_static("g"),
            generation_id: me.generation,
            member_id: me.member.clone(),
            group_instance_id: Self::instance(actor),
            assignments: members
                .into_iter()
                .map(|id| SyncGroupRequestAssignment {
                    assignment: Bytes::copy_from_slice(id.as_bytes()),
                    member_id: id,
                })
                .collect(),
            ..SyncGroupRequest::default()
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.sync_group(&request, 4, &topics, now));
        self.told(actor, step);
    }

    fn heartbeat(&mut self, actor: usize) {
        let me = &self.actors[actor];
        let request = HeartbeatRequest {
            group_id: Text::from_static("g"),
            generation_id: me.generation,
            member_id: me.member.clone(),
            group_instance_id: Self::instance(actor),
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.heartbeat(&request, &topics, now));
        assert!(
            step.records.is_empty() && step.waits.is_none(),
            "a beat never waits"
        );
        self.told(actor, step);
    }

    fn leave(&mut self, actor: usize) {
        let identity = MemberIdentity {
            member_id: self.actors[actor].member.clone(),
            group_instance_id: Self::instance(actor),
            reason: None,
        };
        let group_id = Text::from_static("g");
        let request = LeaveGroupRequest {
            group_id,
            members: vec![identity],
            ..LeaveGroupRequest::default()
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.leave_group(&request, 5, &topics, now));
        self.told(actor, step);
    }

    fn commit(&mut self, actor: usize, as_member: bool) {
        let me = &self.actors[actor];
        let request = OffsetCommitRequest {
            group_id: Text::from_static("g"),
            generation_id_or_member_epoch: if as_member { me.generation } else { -1 },
            member_id: if as_member {
                me.member.clone()
            } else {
                Text::default()
            },
            group_instance_id: if as_member {
                Self::instance(actor)
            } else {
                None
            },
            topics: vec![OffsetCommitRequestTopic {
                name: Text::from_static("t1"),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: actor as i32,
                    committed_offset: 1,
                    ..OffsetCommitRequestPartition::default()
                }],
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.commit_offsets(&request, 8, &topics, now));
        self.told(actor, step);
    }

    fn told(&mut self, asker: usize, step: Step) {
        if let Some(ticket) = step.waits {
            let asked_as = self.actors[asker].member.clone();
            self.waiting.push((ticket, asker, asked_as));
        }
        for (to, reply) in step.replies {
            let (actor, asked_as) = match to {
                To::Asker => (asker, self.actors[asker].member.clone()),
                To::Ticket(ticket) => {
                    let mut waiting = self.waiting.iter();
                    let at = waiting.position(|(waiting, ..)| *waiting == ticket);
                    let (_, actor, asked_as) = self
                        .waiting
                        .swap_remove(at.expect("someone has this ticket"));
                    (actor, asked_as)
                }
            };
            match reply {
                GroupReply::Join(response) => self.joined(actor, &response),
                GroupReply::Sync(response) if response.error_code == NONE => {
                    let to_me = response.assignment.is_empty()
                        || response.assignment == asked_as.as_bytes()
                        || Self::instance(actor).is_some();
                    assert!(to_me, "an assignment reaches the member it was made for");
                }
                GroupReply::DeleteGroups(results) if results[0].error_code == NONE => {
                    self.last_generation = 0;
                }
                _ => {}
            }
        }
        let deleted =
            |key: &Bytes, value: &Option<Bytes>| value.is_none() && key.starts_with(b"\0\x02");
        if step.records.iter().any(|(key, value)| deleted(key, value)) {
            self.last_generation = 0;
        }
    }

    fn joined(&mut self, actor: usize, response: &ottla_protocol::messages::JoinGroupResponse) {
        let me = &mut self.actors[actor];
        match Refusal::from_code(response.error_code) {
            None => {
                assert!(
                    response.generation_id >= self.last_generation,
                    "generations go up"
                );
                self.last_generation = response.generation_id;
                me.member = response.member_id.clone();
                me.generation = response.generation_id;
                me.is_leader = response.leader == response.member_id;
                me.members = response
                    .members
                    .iter()
                    .map(|m| m.member_id.clone())
                    .collect();
                assert!(
                    me.members.is_empty() || me.is_leader,
                    "only the leader sees the others"
                );
            }
            Some(Refusal::MemberIdRequired) => me.member = response.member_id.clone(),
            Some(Refusal::UnknownMemberId | Refusal::FencedInstanceId) => *me = Actor::default(),
            Some(_) => {}
        }
    }

    /// The log, read again, gives the same durable state.
    fn compare_with_log(&self) {
        let again = self.host.reload();
        assert_eq!(
            format!("{:?}", again.durable()),
            format!("{:?}", self.host.ledger.durable())
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_forgotten_and_the_log_knows_it_all(
        events in proptest::collection::vec(event(), 1..150)
    ) {
        let mut history = History::new();
        for event in &events {
            history.happen(event);
        }
        history.compare_with_log();
        // Whoever waits is answered in the end: the newest member after five minutes at most.
        history.host.fail = None;
        for _ in 0..40 {
            history.happen(&Event::Pass { ms: 60_000 });
        }
        prop_assert!(history.waiting.is_empty(), "{:?}", history.waiting);
        history.compare_with_log();
        history.happen(&Event::Restart);
        history.compare_with_log();
    }
}

//! Stories in `testdata/stories`: one directive and what comes of it. `REWRITE=1 cargo test` writes the
//! outcome anew.
//!
//! Actors have names; each remembers its member id and generation. Fresh parts of member ids are
//! printed as `#n`.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use datadriven::{TestCase, walk};
use ottla_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, LeaveGroupRequest,
    ListGroupsRequest, MemberIdentity, OffsetCommitRequest, OffsetCommitRequestPartition,
    OffsetCommitRequestTopic, OffsetDeleteRequest, OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic, OffsetFetchRequestGroup, OffsetFetchRequestTopics, SyncGroupRequest,
    SyncGroupRequestAssignment, TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
};
use ottla_protocol::{Refusal, Text, Uuid};

use super::host::{Host, Step, To};
use super::mixed::{
    Reads, assignment, beat_shown, given, given_shown, reads, record_shown, subscription,
};
use crate::group::records::GroupRecord;
use crate::group::{Client, GroupFilter, GroupReply, GroupSettings};
use crate::ledger::Ticket;
use crate::story::Args;

#[test]
fn stories() {
    walk("testdata/stories", |file| {
        let mut story = Story::new();
        file.run(|case| story.tell(case));
    });
}

#[derive(Default, Clone)]
pub(super) struct Actor {
    pub(super) member: String,
    pub(super) generation: i32,
    pub(super) reads: Reads,
}

pub(super) struct Story {
    pub(super) host: Host,
    pub(super) actors: BTreeMap<String, Actor>,
    waiting: BTreeMap<Ticket, String>,
}

impl Story {
    fn new() -> Self {
        Self {
            host: Host::new(GroupSettings::default()),
            actors: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    fn tell(&mut self, case: &TestCase) -> String {
        let mut args = Args::of(case);
        if let Some(refusal) = args.take("append-fails") {
            self.host.fail = Some(refusal_named(&refusal));
        }
        let told = match case.directive.as_str() {
            "settings" => self.settings(&mut args),
            "pass" => self.pass(&mut args),
            "restart" => self.restart(),
            "beat" => self.beat(&mut args),
            "describe-consumers" => self.describe_consumers(&mut args),
            "topic" => self.topic(&mut args),
            "join" => self.join(&mut args),
            "sync" => self.sync(&mut args),
            "heartbeat" => self.heartbeat(&mut args),
            "leave" => self.leave(&mut args),
            "commit" => self.commit(&mut args),
            "txn-commit" => self.txn_commit(&mut args),
            "txn-end" => self.txn_end(&mut args),
            "fetch" => self.fetch(&mut args),
            "delete-offsets" => self.delete_offsets(&mut args),
            "delete-topic" => self.delete_topic(&mut args),
            "delete-group" => self.delete_group(&mut args),
            "describe" => self.describe(&mut args),
            "list" => self.list(&mut args),
            other => panic!("no such directive: {other}"),
        };
        args.finish();
        assert_eq!(self.host.fail, None, "nothing was appended that could fail");
        if told.is_empty() { "ok\n".into() } else { told }
    }

    fn settings(&mut self, args: &mut Args) -> String {
        let settings = &mut self.host.settings;
        if let Some(size) = args.number("max-size") {
            settings.max_size = size as usize;
        }
        if let Some(delay) = args.number("initial-delay") {
            settings.initial_rebalance_delay_ms = delay as i32;
        }
        if let Some(minutes) = args.number("retention-minutes") {
            settings.offsets_retention_ms = minutes * 60_000;
        }
        self.consumer_settings(args);
        self.host.ledger.change_settings(self.host.settings.clone());
        String::new()
    }

    fn pass(&mut self, args: &mut Args) -> String {
        let ms = args.number("ms").unwrap_or_default() as u64;
        let steps = self.host.pass(ms);
        steps
            .into_iter()
            .map(|step| self.outcome("", step))
            .collect()
    }

    fn restart(&mut self) -> String {
        let step = self.host.restart();
        self.waiting.clear();
        self.outcome("", step)
    }

    fn join(&mut self, args: &mut Args) -> String {
        let name = args.name();
        let actor = self.actors.entry(name.clone()).or_default();
        if args.take("anew").is_some() {
            *actor = Actor::default();
        }
        let metadata = args.take("metadata").unwrap_or_default();
        let topics = args.take("topics");
        let owned = actor.reads.clone();
        let protocol = |name: &str| JoinGroupRequestProtocol {
            name: Text::from(name),
            metadata: match &topics {
                Some(topics) => subscription(topics, &owned),
                None => Bytes::from(metadata.clone()),
            },
        };
        let protocols = args.take("protocols").unwrap_or("range".into());
        let request = JoinGroupRequest {
            group_id: Text::from(args.take("group").unwrap_or("g".into())),
            session_timeout_ms: args.number("session").unwrap_or(10_000) as i32,
            rebalance_timeout_ms: args.number("rebalance").unwrap_or(60_000) as i32,
            member_id: Text::from(args.take("member").unwrap_or(actor.member.clone())),
            group_instance_id: args.take("instance").map(Text::from),
            protocol_type: Text::from(args.take("type").unwrap_or("consumer".into())),
            protocols: protocols
                .split(',')
                .filter(|p| !p.is_empty())
                .map(protocol)
                .collect(),
            reason: None,
        };
        let version = args.version(9);
        let topics = self.host.topics.clone();
        let step = self.host.step(|ledger, now, fresh| {
            let client = Client {
                id: &name,
                host: "/127.0.0.1",
            };
            ledger.join_group(&request, version, client, fresh, &topics, now)
        });
        self.outcome(&name, step)
    }

    fn sync(&mut self, args: &mut Args) -> String {
        let name = args.name();
        let actor = self.actors.get(&name).cloned().unwrap_or_default();
        let assignments = args.take("assign").unwrap_or_default();
        let given_to = |one: &str| {
            let (who, what) = one.split_once('.').unwrap_or((one, ""));
            let member = self.actors.get(who).map(|actor| actor.member.clone());
            SyncGroupRequestAssignment {
                member_id: Text::from(member.unwrap_or(who.into())),
                assignment: match what.contains('_') {
                    true => assignment(&reads(what)),
                    false => Bytes::from(what.to_owned()),
                },
            }
        };
        let request = SyncGroupRequest {
            group_id: Text::from(args.take("group").unwrap_or("g".into())),
            generation_id: args.number("generation").unwrap_or(actor.generation.into()) as i32,
            member_id: Text::from(actor.member),
            group_instance_id: args.take("instance").map(Text::from),
            protocol_type: Some(Text::from(args.take("type").unwrap_or("consumer".into()))),
            protocol_name: Some(Text::from(args.take("protocol").unwrap_or("range".into()))),
            assignments: assignments
                .split(',')
                .filter(|a| !a.is_empty())
                .map(given_to)
                .collect(),
        };
        let version = args.version(5);
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.sync_group(&request, version, &topics, now));
        self.outcome(&name, step)
    }

    fn heartbeat(&mut self, args: &mut Args) -> String {
        let name = args.name();
        let actor = self.actors.get(&name).cloned().unwrap_or_default();
        let request = HeartbeatRequest {
            group_id: Text::from(args.take("group").unwrap_or("g".into())),
            generation_id: args.number("generation").unwrap_or(actor.generation.into()) as i32,
            member_id: Text::from(actor.member),
            group_instance_id: args.take("instance").map(Text::from),
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.heartbeat(&request, &topics, now));
        self.outcome(&name, step)
    }

    fn leave(&mut self, args: &mut Args) -> String {
        let names = args.name();
        let instance = args.take("instance").map(Text::from);
        let members: Vec<MemberIdentity> = names
            .split(',')
            .map(|name| MemberIdentity {
                member_id: Text::from(self.actors.get(name).map_or("", |a| &a.member)),
                group_instance_id: instance.clone(),
                reason: None,
            })
            .collect();
        let version = args.version(5);
        let request = LeaveGroupRequest {
            group_id: Text::from(args.take("group").unwrap_or("g".into())),
            member_id: members[0].member_id.clone(),
            members,
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.leave_group(&request, version, &topics, now));
        self.outcome(&names, step)
    }

    fn commit(&mut self, args: &mut Args) -> String {
        let name = args.name();
        let actor = self.actors.get(&name).cloned();
        let generation = actor.as_ref().map_or(-1, |actor| actor.generation);
        let topic = args.take("topic").unwrap_or("t1".into());
        let version = args.version(9);
        let request = OffsetCommitRequest {
            group_id: Text::from(args.take("group").unwrap_or("g".into())),
            generation_id_or_member_epoch: args.number("generation").unwrap_or(generation.into())
                as i32,
            member_id: Text::from(actor.map_or(String::new(), |actor| actor.member)),
            group_instance_id: args.take("instance").map(Text::from),
            retention_time_ms: args.number("retention").unwrap_or(-1),
            topics: vec![OffsetCommitRequestTopic {
                name: Text::from(if version < 10 { topic } else { String::new() }),
                topic_id: Uuid::from_u128(args.number("id").unwrap_or_default() as u128),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: args.number("partition").unwrap_or_default() as i32,
                    committed_offset: args.number("offset").unwrap_or_default(),
                    committed_leader_epoch: 3,
                    committed_metadata: args.take("metadata").map(Text::from),
                }],
            }],
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.commit_offsets(&request, version, &topics, now));
        self.outcome(&name, step)
    }

    fn fetch(&mut self, args: &mut Args) -> String {
        let version = args.version(9);
        let asked = args.take("topics").map(|topics| {
            let topic = |name: &str| OffsetFetchRequestTopics {
                name: Text::from(if version < 10 { name } else { "" }),
                topic_id: Uuid::from_u128(if version < 10 {
                    0
                } else {
                    name.parse().unwrap_or_default()
                }),
                partition_indexes: vec![0, 1],
            };
            topics.split(',').map(topic).collect()
        });
        let request = OffsetFetchRequestGroup {
            group_id: Text::from(args.take("group").unwrap_or("g".into())),
            topics: asked,
            ..OffsetFetchRequestGroup::default()
        };
        let stable = args.take("unstable").is_none();
        let read = self
            .host
            .ledger
            .fetch_offsets(&request, version, stable, &self.host.topics);
        let mut told = String::new();
        if read.reply.error_code != 0 {
            let _ = writeln!(told, "{}", error(read.reply.error_code));
        }
        for topic in &read.reply.topics {
            for partition in &topic.partitions {
                let _ = writeln!(
                    told,
                    "{}({})-{}: offset={} epoch={} metadata={:?} {}",
                    &*topic.name,
                    topic.topic_id.as_u128(),
                    partition.partition_index,
                    partition.committed_offset,
                    partition.committed_leader_epoch,
                    partition.metadata.as_deref().unwrap_or("null"),
                    error(partition.error_code),
                );
            }
        }
        told
    }

    fn txn_commit(&mut self, args: &mut Args) -> String {
        let name = args.name();
        let actor = self.actors.get(&name).cloned().unwrap_or(Actor {
            generation: -1,
            ..Actor::default()
        });
        let generation = args.number("generation").map(|number| number as i32);
        let metadata = "m".repeat(args.number("metadata-len").unwrap_or_default() as usize);
        let request = TxnOffsetCommitRequest {
            group_id: Text::from(args.take("group").unwrap_or("g".into())),
            producer_id: args.number("producer").unwrap_or(9),
            generation_id: generation.unwrap_or(actor.generation),
            member_id: Text::from(actor.member),
            group_instance_id: args.take("instance").map(Text::from),
            topics: vec![TxnOffsetCommitRequestTopic {
                name: Text::from(args.take("topic").unwrap_or("t1".into())),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: args.number("partition").unwrap_or(0) as i32,
                    committed_offset: args.number("offset").unwrap_or_default(),
                    committed_metadata: Some(Text::from(metadata)),
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.commit_offsets_in_transaction(&request, &topics, now));
        self.outcome(&name, step)
    }

    fn txn_end(&mut self, args: &mut Args) -> String {
        let producer = args.number("producer").unwrap_or(9);
        let committed = args.take("abort").is_none();
        self.host.end_transaction(producer, committed);
        String::new()
    }

    fn delete_offsets(&mut self, args: &mut Args) -> String {
        let request = OffsetDeleteRequest {
            group_id: Text::from(args.take("group").unwrap_or("g".into())),
            topics: vec![OffsetDeleteRequestTopic {
                name: Text::from(args.take("topic").unwrap_or("t1".into())),
                partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
            }],
        };
        let step = self
            .host
            .step(|ledger, now, _| ledger.delete_offsets(&request, now));
        self.outcome("", step)
    }

    fn delete_topic(&mut self, args: &mut Args) -> String {
        let name = args.name();
        let id = self.host.topics.remove(&name);
        let step = self
            .host
            .step(|ledger, _, _| ledger.topic_deleted(&name, id));
        self.outcome("", step)
    }

    fn delete_group(&mut self, args: &mut Args) -> String {
        let names: Vec<Text> = args.name().split(',').map(Text::from).collect();
        let step = self
            .host
            .step(|ledger, now, _| ledger.delete_groups(&names, now));
        self.outcome("", step)
    }

    fn describe(&mut self, args: &mut Args) -> String {
        let group = args.take("group").unwrap_or("g".into());
        let described = self
            .host
            .ledger
            .describe_group(&group, args.version(6))
            .reply;
        let mut told = format!(
            "{} type={:?} protocol={:?} {}",
            &*described.group_state,
            &*described.protocol_type,
            &*described.protocol_data,
            error(described.error_code),
        );
        if let Some(message) = &described.error_message {
            let _ = write!(told, " {message}");
        }
        for member in &described.members {
            let _ = write!(
                told,
                "\n  {} instance={} client={}@{} metadata={:?} assignment={:?}",
                short(&member.member_id),
                member.group_instance_id.as_deref().unwrap_or("null"),
                &*member.client_id,
                &*member.client_host,
                member.member_metadata,
                member.member_assignment,
            );
        }
        told + "\n"
    }

    fn list(&mut self, args: &mut Args) -> String {
        let list = |asked: Option<String>| -> Vec<Text> {
            asked
                .iter()
                .flat_map(|all| all.split(','))
                .map(Text::from)
                .collect()
        };
        let request = ListGroupsRequest {
            states_filter: list(args.take("states")),
            types_filter: list(args.take("types")),
        };
        let listed = self
            .host
            .ledger
            .list_groups(&GroupFilter::new(&request))
            .reply;
        let line = |group: &ottla_protocol::messages::ListedGroup| {
            format!(
                "{} {} {} {:?}\n",
                &*group.group_id, &*group.group_type, &*group.group_state, &*group.protocol_type
            )
        };
        let told: String = listed.iter().map(line).collect();
        if told.is_empty() {
            "none\n".into()
        } else {
            told
        }
    }

    // ---- what came of it ----

    pub(super) fn outcome(&mut self, asker: &str, step: Step) -> String {
        let mut told = String::new();
        for (key, value) in &step.records {
            let _ = writeln!(told, "log: {}", record(key, value.as_ref()));
        }
        if let Some(ticket) = step.waits {
            self.waiting.insert(ticket, asker.into());
            if self.host.is_owed(ticket) {
                let _ = writeln!(told, "{asker} waits");
            }
        }
        for (to, reply) in step.replies {
            let name = match to {
                To::Asker => asker.to_owned(),
                To::Ticket(ticket) => self.waiting.remove(&ticket).unwrap_or_default(),
            };
            self.learn(&name, &reply);
            let _ = writeln!(told, "{name}: {}", self.reply(&reply));
        }
        told
    }

    fn learn(&mut self, name: &str, reply: &GroupReply) {
        if let GroupReply::Sync(response) = reply
            && response.error_code == 0
            && let Some(actor) = self.actors.get_mut(name)
        {
            actor.reads = given(&response.assignment).unwrap_or_default();
        }
        if let GroupReply::Join(response) = reply {
            let actor = self.actors.entry(name.into()).or_default();
            match Refusal::from_code(response.error_code) {
                None => {
                    actor.member = response.member_id.to_string();
                    actor.generation = response.generation_id;
                }
                Some(Refusal::MemberIdRequired) => actor.member = response.member_id.to_string(),
                Some(Refusal::UnknownMemberId) => actor.member = String::new(),
                Some(_) => {}
            }
        }
    }

    fn reply(&self, reply: &GroupReply) -> String {
        match reply {
            GroupReply::Join(r) if r.error_code != 0 => {
                format!("{} member={}", error(r.error_code), short(&r.member_id))
            }
            GroupReply::Join(r) => {
                let members: Vec<String> = r
                    .members
                    .iter()
                    .map(|member| short(&member.member_id))
                    .collect();
                format!(
                    "joined generation={} protocol={} leader={} member={} members=[{}]{}",
                    r.generation_id,
                    r.protocol_name.as_deref().unwrap_or("null"),
                    short(&r.leader),
                    short(&r.member_id),
                    members.join(" "),
                    if r.skip_assignment {
                        " skip-assignment"
                    } else {
                        ""
                    },
                )
            }
            GroupReply::Sync(r) if r.error_code != 0 => error(r.error_code),
            GroupReply::Sync(r) => format!("assigned {}", given_shown(&r.assignment)),
            GroupReply::Heartbeat(r) => error(r.error_code),
            GroupReply::Leave(r) => {
                let members: Vec<String> = r
                    .members
                    .iter()
                    .map(|m| format!("{} {}", short(&m.member_id), error(m.error_code)))
                    .collect();
                format!("{} [{}]", error(r.error_code), members.join(", "))
            }
            GroupReply::ConsumerHeartbeat(r) => beat_shown(r, &self.host.topics),
            GroupReply::CommitOffsets(r) => {
                let all = r.topics.iter().flat_map(|topic| &topic.partitions);
                all.map(|partition| error(partition.error_code))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            GroupReply::CommitOffsetsInTransaction(r) => {
                let all = r.topics.iter().flat_map(|topic| &topic.partitions);
                all.map(|partition| error(partition.error_code))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            GroupReply::DeleteOffsets(r) => {
                let all = r.topics.iter().flat_map(|topic| &topic.partitions);
                let all: Vec<String> = all.map(|p| error(p.error_code)).collect();
                format!("{} [{}]", error(r.error_code), all.join(" "))
            }
            GroupReply::DeleteGroups(results) => {
                let all = results.iter();
                all.map(|result| error(result.error_code))
                    .collect::<Vec<_>>()
                    .join(" ")
            }
            GroupReply::Done => "done".into(),
        }
    }
}

fn record(key: &Bytes, value: Option<&Bytes>) -> String {
    match GroupRecord::decode(key, value) {
        Ok(Ok(GroupRecord::OffsetCommit { key, value })) => {
            let place = format!(
                "offset {} {}-{}",
                &*key.group_id, &*key.topic, key.partition
            );
            match value {
                None => format!("{place} forgotten"),
                Some(value) => format!(
                    "{place} = {} expires={} topic={}",
                    value.offset,
                    value.expire_timestamp,
                    value.topic_id.as_u128()
                ),
            }
        }
        Ok(Ok(GroupRecord::GroupMetadata { key, value: None })) => {
            format!("group {} deleted", &*key.group_id)
        }
        Ok(Ok(GroupRecord::GroupMetadata {
            key,
            value: Some(value),
        })) => {
            let members: Vec<String> = value
                .members
                .iter()
                .map(|m| {
                    format!(
                        "{}={}",
                        short(&m.member_id),
                        match m.assignment.first() {
                            Some(0) => given_shown(&m.assignment),
                            _ => String::from_utf8_lossy(&m.assignment).into(),
                        }
                    )
                })
                .collect();
            format!(
                "group {} generation={} type={:?} protocol={} leader={} members=[{}]",
                &*key.group_id,
                value.generation,
                &*value.protocol_type,
                value.protocol.as_deref().unwrap_or("null"),
                value.leader.as_deref().map_or("null".into(), short),
                members.join(" "),
            )
        }
        Ok(Ok(GroupRecord::Consumer(record))) => record_shown(&record),
        other => format!("{other:?}"),
    }
}

/// Fresh ids are small numbers here.
pub(super) fn short(member_id: &str) -> String {
    match member_id.split_once("-00000000-0000-0000-0000-") {
        Some((prefix, number)) => format!("{prefix}#{}", number.trim_start_matches('0')),
        None => format!("{member_id:?}"),
    }
}

pub(super) fn error(code: i16) -> String {
    match Refusal::from_code(code) {
        None => "ok".into(),
        Some(refusal) => refusal.name().into(),
    }
}

fn refusal_named(name: &str) -> Refusal {
    let found = Refusal::ALL.iter().find(|refusal| refusal.name() == name);
    *found.unwrap_or_else(|| panic!("no such error: {name}"))
}

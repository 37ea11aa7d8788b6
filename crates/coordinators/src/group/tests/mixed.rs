//! The directives of stories that are about groups of the consumer protocol, and what such a story
//! shows: members that speak it, and members that speak the classic one among them.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::messages::{
    ConsumerGroupDescribeGroup, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    ConsumerGroupHeartbeatTopicPartitions as TopicPartitions, ConsumerProtocolAssignment,
    ConsumerProtocolSubscription, ConsumerProtocolTopicPartition,
};
use ottla_protocol::{Refusal, Text, Uuid, Versioned, encode_body};

use super::host::{SomeTopics, To};
use super::script::{Story, error, short};
use crate::group::records::ConsumerRecord;
use crate::group::records::consumer::CurrentTopicPartitions;
use crate::group::{Client, GroupReply, MigrationPolicy, Topics, embedded};
use crate::story::Args;

/// What an actor reads from, by the names of topics.
pub(super) type Reads = BTreeMap<Text, Vec<i32>>;

impl Story {
    /// ConsumerGroupHeartbeat: the actor's name is its id. It says everything when it joins, else
    /// what it reads from.
    pub(super) fn beat(&mut self, args: &mut Args) -> String {
        let name = args.name();
        let actor = self.actors.entry(name.clone()).or_default();
        actor.member.clone_from(&name);
        let epoch = args.number("epoch").map(|epoch| epoch as i32);
        let epoch = epoch.unwrap_or(actor.generation);
        if epoch <= 0 {
            actor.reads.clear();
        }
        let instance = args.take("instance").map(Text::from);
        // A story has no brackets to write.
        let regex = args.take("regex");
        let regex = regex.map(|it| Text::from(if it == "unclosed" { "(" } else { &*it }));
        let names = args.take("topics");
        let says_all = epoch == 0 || names.is_some() || regex.is_some();
        let names = names.unwrap_or("t1".into());
        let names = names.split(',').filter(|it| !it.is_empty()).map(Text::from);
        let ids = |(name, partitions): (&Text, &Vec<i32>)| {
            let topic_id = self.host.topics.id(name)?;
            let partitions = partitions.clone();
            Some(TopicPartitions {
                topic_id,
                partitions,
            })
        };
        let owned = self.actors[&name].reads.iter().filter_map(ids);
        let request = ConsumerGroupHeartbeatRequest {
            group_id: Text::from(args.take("group").unwrap_or("g".into())),
            member_id: Text::from(name.clone()),
            member_epoch: epoch,
            instance_id: instance,
            rebalance_timeout_ms: if says_all { 60_000 } else { -1 },
            subscribed_topic_names: (says_all && regex.is_none()).then(|| names.collect()),
            subscribed_topic_regex: regex,
            topic_partitions: (args.take("silent").is_none()).then(|| owned.collect()),
            server_assignor: args.take("assignor").map(Text::from),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let topics = self.host.topics.clone();
        let step = self.host.step(|ledger, now, fresh| {
            let client = Client {
                id: &name,
                host: "/127.0.0.1",
            };
            ledger.consumer_group_heartbeat(&request, 1, client, fresh, &topics, now)
        });
        for (to, reply) in &step.replies {
            if let (To::Asker, GroupReply::ConsumerHeartbeat(response)) = (to, reply) {
                self.hear(&name, response);
            }
        }
        let mut told = self.outcome(&name, step);
        while let Some(errand) = self.host.ledger.next_errand() {
            let names = topics.all().map(|(name, ..)| &**name);
            let resolved = errand.resolve(names, topics.version(), self.host.now.wall_ms);
            let step = self
                .host
                .step(|ledger, now, _| ledger.patterns_resolved(&resolved, &topics, now));
            told += &self.outcome("", step);
        }
        told
    }

    fn hear(&mut self, name: &str, response: &ConsumerGroupHeartbeatResponse) {
        let topics = &self.host.topics;
        let Some(actor) = self.actors.get_mut(name) else {
            return;
        };
        match Refusal::from_code(response.error_code) {
            None if response.member_epoch < 0 => actor.generation = 0,
            None => {
                actor.generation = response.member_epoch;
                if let Some(assignment) = &response.assignment {
                    actor.reads = named(&assignment.topic_partitions, topics);
                }
            }
            Some(Refusal::FencedMemberEpoch | Refusal::UnknownMemberId) => actor.generation = 0,
            Some(_) => {}
        }
    }

    pub(super) fn describe_consumers(&mut self, args: &mut Args) -> String {
        let group = args.take("group").unwrap_or("g".into());
        let topics = &self.host.topics;
        let described = self.host.ledger.describe_consumer_group(&group, topics);
        shown(&described.reply)
    }

    /// Makes a topic, or partitions of one.
    pub(super) fn topic(&mut self, args: &mut Args) -> String {
        let name = args.name();
        let n = args.number("partitions").unwrap_or(1) as i32;
        match self.host.topics.id(&name) {
            Some(_) => self.host.topics.grow(&name, n),
            None => drop(self.host.topics.create(&name, n)),
        }
        String::new()
    }

    pub(super) fn consumer_settings(&mut self, args: &mut Args) {
        let settings = &mut self.host.settings.consumer;
        if let Some(policy) = args.take("migration") {
            settings.migration = MigrationPolicy::from_name(&policy);
        }
        if let Some(ms) = args.number("assignment-interval") {
            settings.default.assignment_interval_ms = ms as i32;
        }
        if let Some(size) = args.number("consumer-max-size") {
            settings.max_size = size as usize;
        }
    }
}

fn shown(group: &ConsumerGroupDescribeGroup) -> String {
    let mut told = format!(
        "{} epoch={} target={} assignor={} {}",
        &*group.group_state,
        group.group_epoch,
        group.assignment_epoch,
        &*group.assignor_name,
        error(group.error_code),
    );
    let partitions = |assignment: &ottla_protocol::messages::ConsumerGroupDescribeAssignment| {
        let topics = assignment.topic_partitions.iter();
        let reads = topics.map(|it| (it.topic_name.clone(), it.partitions.clone()));
        reads_shown(&reads.collect())
    };
    for member in &group.members {
        let kind = ["classic", "consumer"].get(member.member_type as usize);
        let _ = write!(
            told,
            "\n  {} {} instance={} epoch={} has {} shall have {}",
            short(&member.member_id),
            kind.unwrap_or(&"?"),
            member.instance_id.as_deref().unwrap_or("null"),
            member.member_epoch,
            partitions(&member.assignment),
            partitions(&member.target_assignment),
        );
    }
    told + "\n"
}

fn named(topics: &[TopicPartitions], known: &SomeTopics) -> Reads {
    let name = |it: &TopicPartitions| Some((known.name(it.topic_id)?, it.partitions.clone()));
    topics.iter().filter_map(name).collect()
}

/// `t1:0-4+t2:1`, or `nothing`.
fn reads_shown(reads: &Reads) -> String {
    let topic =
        |(name, partitions): (&Text, &Vec<i32>)| format!("{}:{}", &**name, runs(partitions));
    match reads.is_empty() {
        true => "nothing".into(),
        false => reads.iter().map(topic).collect::<Vec<_>>().join("+"),
    }
}

fn runs(partitions: &[i32]) -> String {
    let mut partitions = partitions.to_vec();
    partitions.sort_unstable();
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for partition in partitions {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == partition => *last = partition,
            _ => runs.push((partition, partition)),
        }
    }
    let run = |(first, last): &(i32, i32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}

/// From a story, where it is written `t1_0-4_7.t2_1`.
pub(super) fn reads(text: &str) -> Reads {
    let range = |run: &str| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        first.parse::<i32>().unwrap()..=last.parse::<i32>().unwrap()
    };
    let topic = |it: &str| {
        let (name, runs) = it.split_once('_')?;
        Some((Text::from(name), runs.split('_').flat_map(range).collect()))
    };
    text.split('.').filter_map(topic).collect()
}

fn listed(reads: &Reads) -> Vec<ConsumerProtocolTopicPartition> {
    let topics = reads.iter();
    topics
        .map(|(topic, partitions)| ConsumerProtocolTopicPartition {
            topic: topic.clone(),
            partitions: partitions.clone(),
        })
        .collect()
}

/// What a classic consumer says of itself.
pub(super) fn subscription(topics: &str, owned: &Reads) -> Bytes {
    let names = topics.split(',').filter(|it| !it.is_empty());
    let said = ConsumerProtocolSubscription {
        topics: names.map(Text::from).collect(),
        owned_partitions: listed(owned),
        ..ConsumerProtocolSubscription::default()
    };
    versioned(&said, 1)
}

/// What a leader gives.
pub(super) fn assignment(reads: &Reads) -> Bytes {
    let given = ConsumerProtocolAssignment {
        assigned_partitions: listed(reads),
        user_data: None,
    };
    versioned(&given, 1)
}

fn versioned<M: Versioned>(message: &M, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.put_slice(&encode_body(message, version).unwrap());
    bytes.freeze()
}

/// What a member was given, if these bytes say so.
pub(super) fn given(bytes: &Bytes) -> Option<Reads> {
    let read = embedded::assignment(bytes).filter(|_| bytes.first() == Some(&0))?;
    let topics = read.assigned_partitions.iter();
    Some(
        topics
            .map(|it| (it.topic.clone(), it.partitions.clone()))
            .collect(),
    )
}

pub(super) fn given_shown(bytes: &Bytes) -> String {
    given(bytes).map_or_else(|| format!("{bytes:?}"), |reads| reads_shown(&reads))
}

pub(super) fn beat_shown(r: &ConsumerGroupHeartbeatResponse, topics: &SomeTopics) -> String {
    if r.error_code != 0 {
        let why = r.error_message.as_deref().unwrap_or_default();
        return format!("{} {why}", error(r.error_code));
    }
    let assignment = r.assignment.as_ref();
    let assignment = assignment.map(|it| reads_shown(&named(&it.topic_partitions, topics)));
    let assignment = assignment.map(|it| format!(" reads {it}"));
    format!("epoch={}{}", r.member_epoch, assignment.unwrap_or_default())
}

/// A record of a group of the consumer protocol, in short.
pub(super) fn record_shown(record: &ConsumerRecord) -> String {
    let held = |topics: &[CurrentTopicPartitions]| {
        let topics = topics.iter().map(|it| (it.topic_id, &it.partitions));
        ids_shown(topics)
    };
    let gone = |what: String| format!("{what} gone");
    match record {
        ConsumerRecord::Group { value, .. } => match value {
            Some(value) => format!("group epoch {}", value.epoch),
            None => gone("group epoch".into()),
        },
        ConsumerRecord::Topics { value, .. } => match value {
            Some(_) => "topics".into(),
            None => gone("topics".into()),
        },
        ConsumerRecord::Member { key, value } => {
            let who = format!("member {}", short(&key.member_id));
            let Some(value) = value else {
                return gone(who);
            };
            let topics: Vec<&str> = value
                .subscribed_topic_names
                .iter()
                .map(|it| &**it)
                .collect();
            let classic = value.classic_member_metadata.as_ref().map(|classic| {
                let names = classic.supported_protocols.iter();
                let names: Vec<&str> = names.map(|it| &*it.name).collect();
                format!(
                    " classic {} session={}",
                    names.join(","),
                    classic.session_timeout_ms
                )
            });
            format!(
                "{who} topics={} regex={:?} instance={}{}",
                topics.join(","),
                value.subscribed_topic_regex.as_deref().unwrap_or("null"),
                value.instance_id.as_deref().unwrap_or("null"),
                classic.unwrap_or_default(),
            )
        }
        ConsumerRecord::TargetEpoch { value, .. } => match value {
            Some(value) => {
                let is_timed = value.assignment_timestamp != 0;
                let at = if is_timed { "" } else { " at no time" };
                format!("target epoch {}{at}", value.assignment_epoch)
            }
            None => gone("target epoch".into()),
        },
        ConsumerRecord::Target { key, value } => {
            let who = format!("target {}", short(&key.member_id));
            let Some(value) = value else {
                return gone(who);
            };
            let topics = value.topic_partitions.iter();
            format!(
                "{who} = {}",
                ids_shown(topics.map(|it| (it.topic_id, &it.partitions)))
            )
        }
        ConsumerRecord::Current { key, value } => {
            let who = format!("current {}", short(&key.member_id));
            let Some(value) = value else {
                return gone(who);
            };
            format!(
                "{who} epoch={} after {} state={} has {} gives up {}",
                value.member_epoch,
                value.previous_member_epoch,
                value.state,
                held(&value.assigned_partitions),
                held(&value.partitions_pending_revocation),
            )
        }
        ConsumerRecord::Pattern { key, value } => {
            let what = format!("regex {:?}", &*key.regular_expression);
            let Some(value) = value else {
                return gone(what);
            };
            let topics: Vec<&str> = value.topics.iter().map(|it| &**it).collect();
            format!("{what} = {}", topics.join(","))
        }
    }
}

fn ids_shown<'a>(topics: impl Iterator<Item = (Uuid, &'a Vec<i32>)>) -> String {
    let named = |(id, it): (Uuid, &Vec<i32>)| (Text::from(id.as_u128().to_string()), it.clone());
    reads_shown(&topics.map(named).collect())
}

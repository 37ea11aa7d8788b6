//! Members of the consumer protocol as clients play them, for tests.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    ConsumerGroupHeartbeatTopicPartitions as TopicPartitions,
};
use ottla_protocol::{NONE, Refusal, Text, Uuid};

use super::host::{Host, Step, To};
use crate::group::{Client, GroupReply, GroupSettings};

pub(super) const GROUP: &str = "g";

/// What a client reads from.
pub(super) type Using = BTreeMap<Uuid, BTreeSet<i32>>;

/// One client.
#[derive(Debug, Clone)]
pub(super) struct Consumer {
    pub(super) id: Text,
    pub(super) instance: Option<Text>,
    pub(super) epoch: i32,
    pub(super) using: Using,
    pub(super) topics: Vec<&'static str>,
    pub(super) pattern: Option<&'static str>,
    pub(super) assignor: Option<&'static str>,
    pub(super) rebalance_timeout_ms: i32,
    /// It takes part; otherwise it is dead, or has left.
    pub(super) is_up: bool,
    /// It says everything the next time: it joins, or the last answer was lost.
    says_all: bool,
}

impl Consumer {
    pub(super) fn new(name: &str, topics: &[&'static str]) -> Self {
        Self {
            id: Text::from(name),
            instance: None,
            epoch: 0,
            using: Using::new(),
            topics: topics.to_vec(),
            pattern: None,
            assignor: None,
            rebalance_timeout_ms: 30_000,
            is_up: true,
            says_all: true,
        }
    }

    /// It starts over, with nothing.
    pub(super) fn restart(&mut self) {
        self.epoch = 0;
        self.using.clear();
        self.is_up = true;
        self.says_all = true;
    }

    pub(super) fn subscribe(&mut self, topics: &[&'static str]) {
        self.topics = topics.to_vec();
        self.says_all = true;
    }

    pub(super) fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let using = self
            .using
            .iter()
            .map(|(topic_id, partitions)| TopicPartitions {
                topic_id: *topic_id,
                partitions: partitions.iter().copied().collect(),
            });
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: Text::from_static(GROUP),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            topic_partitions: Some(using.collect()),
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if self.says_all {
            let topics = self.topics.iter().map(|topic| Text::from_static(topic));
            request.rebalance_timeout_ms = self.rebalance_timeout_ms;
            request.subscribed_topic_names = Some(topics.collect());
            request.subscribed_topic_regex = self.pattern.map(Text::from_static);
            request.server_assignor = self.assignor.map(Text::from_static);
        }
        request
    }

    /// Takes in an answer: gives up what is not in it, and starts what is new.
    fn hear(&mut self, response: &ConsumerGroupHeartbeatResponse) {
        match Refusal::from_code(response.error_code) {
            None => {
                self.epoch = response.member_epoch;
                self.says_all = false;
                if let Some(assignment) = &response.assignment {
                    let topics = assignment.topic_partitions.iter();
                    self.using = topics
                        .map(|it| (it.topic_id, it.partitions.iter().copied().collect()))
                        .collect();
                }
            }
            // With its group deleted, an application has to start anew.
            Some(
                Refusal::FencedMemberEpoch | Refusal::UnknownMemberId | Refusal::GroupIdNotFound,
            ) => self.restart(),
            Some(_) => self.says_all = true,
        }
    }

    /// How many partitions it reads from.
    pub(super) fn n_using(&self) -> usize {
        self.using.values().map(BTreeSet::len).sum()
    }
}

/// A group's clients, and their coordinator.
pub(super) struct Crowd {
    pub(super) host: Host,
    pub(super) consumers: Vec<Consumer>,
}

impl Crowd {
    pub(super) fn new(settings: GroupSettings, consumers: Vec<Consumer>) -> Self {
        Self {
            host: Host::new(settings),
            consumers,
        }
    }

    /// Sends a request as it is.
    pub(super) fn ask(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        self.ask_at(request, 1).1
    }

    pub(super) fn ask_at(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        version: i16,
    ) -> (Step, ConsumerGroupHeartbeatResponse) {
        let topics = self.host.topics.clone();
        let client = Client {
            id: "client",
            host: "/127.0.0.1",
        };
        let mut step = self.host.step(|ledger, now, fresh| {
            ledger.consumer_group_heartbeat(request, version, client, fresh, &topics, now)
        });
        match step.replies.pop() {
            Some((To::Asker, GroupReply::ConsumerHeartbeat(response))) => (step, response),
            other => panic!("a heartbeat is answered at once: {other:?}"),
        }
    }

    /// A heartbeat of one client, who hears the answer.
    pub(super) fn beat(&mut self, at: usize) -> ConsumerGroupHeartbeatResponse {
        let response = self.ask(&self.consumers[at].request());
        self.consumers[at].hear(&response);
        response
    }

    /// The answer is lost: the client asks again, with everything.
    pub(super) fn beat_unheard(&mut self, at: usize) {
        self.ask(&self.consumers[at].request());
        self.consumers[at].says_all = true;
    }

    /// It says that it goes, with -1 or -2, and is gone.
    pub(super) fn leave(&mut self, at: usize, epoch: i32) -> Option<Refusal> {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: Text::from_static(GROUP),
            member_id: self.consumers[at].id.clone(),
            instance_id: self.consumers[at].instance.clone(),
            member_epoch: epoch,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let consumer = &mut self.consumers[at];
        consumer.using.clear();
        consumer.is_up = false;
        Refusal::from_code(self.ask(&request).error_code)
    }

    /// All who are up, one after the other.
    pub(super) fn beat_all(&mut self) {
        for at in 0..self.consumers.len() {
            if self.consumers[at].is_up {
                self.beat(at);
                self.run_errands();
            }
        }
    }

    /// What the host does elsewhere.
    pub(super) fn run_errands(&mut self) {
        while let Some(errand) = self.host.ledger.next_errand() {
            let topics = self.host.topics.clone();
            let names = topics.all().map(|(name, ..)| &**name);
            let resolved = errand.resolve(names, topics.version(), self.host.now.wall_ms);
            self.host
                .step(|ledger, now, _| ledger.patterns_resolved(&resolved, &topics, now));
        }
    }

    /// Rounds of heartbeats, a second apart.
    pub(super) fn settle(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.beat_all();
            self.host.pass(1_000);
        }
    }

    /// How many partitions each client reads from.
    pub(super) fn loads(&self) -> Vec<usize> {
        self.consumers.iter().map(Consumer::n_using).collect()
    }

    pub(super) fn state(&self) -> &'static str {
        let topics = &self.host.topics;
        let described = self.host.ledger.describe_consumer_group(GROUP, topics);
        match described.reply.error_code {
            NONE => crate::group::ConsumerState::ALL
                .iter()
                .map(|state| state.name())
                .find(|name| *name == &*described.reply.group_state)
                .unwrap_or_default(),
            _ => "Dead",
        }
    }

    /// What a client reads from, the coordinator knows it to have; nobody else has it then.
    pub(super) fn check(&self) {
        let topics = &self.host.topics;
        let described = self
            .host
            .ledger
            .describe_consumer_group(GROUP, topics)
            .reply;
        let mut owners: BTreeMap<(Uuid, i32), Text> = BTreeMap::new();
        for member in &described.members {
            for topic in &member.assignment.topic_partitions {
                for partition in &topic.partitions {
                    let owner =
                        owners.insert((topic.topic_id, *partition), member.member_id.clone());
                    assert_eq!(owner, None, "{topic:?} has two owners");
                }
            }
        }
        for consumer in self.consumers.iter().filter(|consumer| consumer.is_up) {
            let member = described
                .members
                .iter()
                .find(|it| it.member_id == consumer.id);
            // Who has been thrown out learns it with the next heartbeat, as in Kafka.
            if consumer.epoch == 0 || member.is_none() {
                continue;
            }
            for (topic, partitions) in &consumer.using {
                // Of a topic that is gone nobody can read.
                if crate::group::Topics::name(topics, *topic).is_none() {
                    continue;
                }
                for partition in partitions {
                    let owner = owners.get(&(*topic, *partition));
                    assert_eq!(
                        owner,
                        Some(&consumer.id),
                        "{topic:?}-{partition} is read by {consumer:?}"
                    );
                }
            }
        }
    }
}

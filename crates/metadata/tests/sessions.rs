//! Sessions with a controller, told in `testdata/controller/*.txt`: each directive is a request,
//! and the records and the reply are the answer. `REWRITE=1 cargo test` writes the answers anew.

mod one_node;

use std::fmt::Write;

use datadriven::{TestCase, walk};
use ottla_metadata::config::{ConfigChange, ConfigOperation, Overrides, Scope};
use ottla_metadata::controller::{
    Bootstrap, BrokerHeartbeat, BrokerRegistration, ConfigAlteration, ConfigReplacement,
    ConfigRules, Controller, Decision, DeleteTarget, InSyncProposal, NewPartitions, NewTopic,
    Outcome, Settings, Unmetered,
};
use ottla_metadata::image::{FeatureRange, Image, RecoveryState, Resource, SUPPORTED};
use ottla_metadata::records::{MetadataVersion, Record};
use ottla_protocol::{Refusal, Refused, Uuid};

#[test]
fn sessions() {
    walk("testdata/controller", |file| {
        let mut session = Session::new();
        file.run(|case| session.run(case));
    });
}

struct Session {
    controller: Controller,
    next_offset: i64,
    next_id: u128,
}

/// Lists may be appended to; a value that says "bad" is refused.
struct Rules;

impl ConfigRules for Rules {
    fn alter(
        &self,
        scope: Scope,
        name: &str,
        now: &Overrides,
        changes: &[ConfigChange],
    ) -> Result<Overrides, Refused> {
        let mut after = now.clone();
        for change in changes {
            let value = change.value.clone().unwrap_or_default();
            match change.operation {
                ConfigOperation::Set => after.insert(change.name.clone(), value),
                ConfigOperation::Delete => after.remove(&change.name),
                _ => after.insert(
                    change.name.clone(),
                    format!("{},{value}", now[&change.name]),
                ),
            };
        }
        self.check(scope, name, now, &after).map(|()| after)
    }

    fn check(&self, _: Scope, _: &str, _: &Overrides, next: &Overrides) -> Result<(), Refused> {
        match next.iter().find(|(_, value)| *value == "bad") {
            Some((name, _)) => Err(Refused::new(
                Refusal::InvalidConfig,
                format!("Invalid value for {name}"),
            )),
            None => Ok(()),
        }
    }
}

impl Session {
    fn new() -> Self {
        let settings = Settings {
            cluster_id: "cluster".into(),
            num_partitions: 2,
            ..one_node::settings()
        };
        let controller = Controller::new(settings, Image::default());
        Self {
            controller,
            next_offset: 0,
            next_id: 1000,
        }
    }

    fn run(&mut self, case: &TestCase) -> String {
        match case.directive.as_str() {
            "bootstrap" => self.bootstrap(case),
            "register" => self.register(case),
            "heartbeat" => self.heartbeat(case),
            "fence" => {
                let decision = self.controller.fence_broker(number(case, "id"));
                self.settle(decision, |()| String::new())
            }
            "unregister" => {
                let decision = self.controller.unregister_broker(number(case, "id"));
                self.settle(decision, told)
            }
            "create" => self.create(case),
            "delete" => self.delete(case),
            "grow" => self.grow(case),
            "alter" => self.alter(case),
            "replace" => self.replace(case),
            "ids" => {
                let (broker, epoch) = (number(case, "id"), self.epoch(case));
                let decision = self.controller.allocate_producer_ids(broker, epoch);
                self.settle(decision, |outcome| told(&outcome.as_ref().map(|b| b.first)))
            }
            "in-sync" => self.in_sync(case),
            "assign" => self.assign(case),
            "topics" => self.topics(),
            other => panic!("unknown directive {other}"),
        }
    }

    fn bootstrap(&mut self, case: &TestCase) -> String {
        let level = MetadataVersion::from_name(&text(case, "level")).unwrap();
        let decision = self.controller.activate(&Bootstrap::for_level(level));
        self.settle(decision, |()| String::new())
    }

    fn register(&mut self, case: &TestCase) -> String {
        let ids = |name: &str| {
            numbers(case, name)
                .into_iter()
                .map(|n| Uuid::from_u128(n as u128))
        };
        let level = optional(case, "max-level").unwrap_or(30);
        let features = SUPPORTED.iter().map(|feature| FeatureRange {
            name: feature.name.into(),
            min: feature.min,
            max: if feature.name == MetadataVersion::FEATURE {
                level
            } else {
                feature.max
            },
        });
        let registration = BrokerRegistration {
            cluster_id: optional(case, "cluster").unwrap_or("cluster".to_owned()),
            id: number(case, "id"),
            incarnation_id: Uuid::from_u128(number(case, "life")),
            endpoints: vec![],
            features: features.collect(),
            rack: None,
            directories: ids("directories").collect(),
            previous_epoch: optional(case, "previous").unwrap_or(-1),
        };
        let has_session = case.args.contains_key("has-session");
        let decision =
            self.controller
                .register_broker(&registration, self.next_offset, has_session);
        self.settle(decision, told)
    }

    fn heartbeat(&mut self, case: &TestCase) -> String {
        let flag = |name: &str| case.args.contains_key(name);
        let offline = numbers(case, "offline").into_iter();
        let heartbeat = BrokerHeartbeat {
            id: number(case, "id"),
            epoch: self.epoch(case),
            metadata_offset: optional(case, "offset").unwrap_or(self.next_offset - 1),
            wants_fence: flag("fence"),
            wants_shutdown: flag("leave"),
            offline_directories: offline.map(|n| Uuid::from_u128(n as u128)).collect(),
            cordoned_directories: None,
        };
        let decision = self.controller.broker_heartbeat(&heartbeat);
        self.settle(decision, |outcome| match outcome {
            Err(refused) => format!("{refused}\n"),
            Ok(reply) => format!(
                "{}{}{}\n",
                if reply.is_caught_up {
                    "caught up"
                } else {
                    "behind"
                },
                if reply.is_fenced { ", fenced" } else { "" },
                if reply.should_shut_down {
                    ", shut down now"
                } else {
                    ""
                },
            ),
        })
    }

    /// A topic per line: `name partitions=n factor=n replicas=1,2;2,1 setting=value`.
    fn create(&mut self, case: &TestCase) -> String {
        let topics: Vec<NewTopic> = case.input.lines().map(new_topic).collect();
        let mut last = self.next_id;
        let mut next_id = || {
            last += 1;
            Uuid::from_u128(last)
        };
        let is_dry = case.args.contains_key("validate");
        let decision =
            self.controller
                .create_topics(&topics, is_dry, &Rules, &mut next_id, &mut Unmetered);
        self.next_id = last;
        self.settle(decision, |outcomes| {
            by_name(outcomes, |topic| {
                format!(
                    "{} partitions of {} replicas, {:?}",
                    topic.num_partitions, topic.replication_factor, topic.overrides
                )
            })
        })
    }

    fn delete(&mut self, case: &TestCase) -> String {
        let targets: Vec<DeleteTarget> = case
            .input
            .lines()
            .map(|line| match line.strip_prefix("id=") {
                Some(id) => DeleteTarget::Id(Uuid::from_u128(id.parse().unwrap())),
                None => DeleteTarget::Name(line.to_owned()),
            })
            .collect();
        let decision = self.controller.delete_topics(&targets, &mut Unmetered);
        self.settle(decision, |deleted| {
            let line = |one: &ottla_metadata::controller::DeletedTopic| {
                let name = one.name.as_deref().unwrap_or("?");
                format!("{name} {}: {}", one.id.as_u128(), told(&one.outcome))
            };
            deleted.iter().map(line).collect()
        })
    }

    /// A topic per line: `name count [1;1,2]`.
    fn grow(&mut self, case: &TestCase) -> String {
        let parse = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            NewPartitions {
                topic: words[0].to_owned(),
                count: words[1].parse().unwrap(),
                assignments: words.get(2).map(|text| assignments(text)),
            }
        };
        let topics: Vec<NewPartitions> = case.input.lines().map(parse).collect();
        let is_dry = case.args.contains_key("validate");
        let decision = self
            .controller
            .create_partitions(&topics, is_dry, &mut Unmetered);
        self.settle(decision, |outcomes| by_name(outcomes, |()| "ok".to_owned()))
    }

    /// A change per line: `set name value`, `delete name`, `append name value`.
    fn alter(&mut self, case: &TestCase) -> String {
        let parse = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let operation = match words[0] {
                "set" => ConfigOperation::Set,
                "delete" => ConfigOperation::Delete,
                _ => ConfigOperation::Append,
            };
            let value = words.get(2).map(|value| (*value).to_owned());
            ConfigChange {
                name: words[1].to_owned(),
                operation,
                value,
            }
        };
        let changes = case.input.lines().map(parse).collect();
        let alteration = ConfigAlteration {
            resource: resource(case),
            changes,
        };
        let is_dry = case.args.contains_key("validate");
        let decision = self
            .controller
            .incremental_alter_configs(&[alteration], is_dry, &Rules);
        self.settle(decision, |outcomes| outcomes.iter().map(told).collect())
    }

    /// A setting per line: `name value`, or a null value without one.
    fn replace(&mut self, case: &TestCase) -> String {
        let parse = |line: &str| match line.split_once(' ') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (line.to_owned(), None),
        };
        let values = case.input.lines().map(parse).collect();
        let replacement = ConfigReplacement {
            resource: resource(case),
            values,
        };
        let decision = self.controller.alter_configs(&[replacement], false, &Rules);
        self.settle(decision, |outcomes| outcomes.iter().map(told).collect())
    }

    fn in_sync(&mut self, case: &TestCase) -> String {
        let name = text(case, "topic");
        let topic = self
            .controller
            .image()
            .topics
            .find(&name)
            .map_or(Uuid::ZERO, |topic| topic.id);
        let proposal = InSyncProposal {
            topic,
            partition: number(case, "partition"),
            leader_epoch: number(case, "leader-epoch"),
            partition_epoch: number(case, "partition-epoch"),
            in_sync: numbers(case, "members")
                .into_iter()
                .map(|id| (id, -1))
                .collect(),
            recovery: RecoveryState::Recovered,
        };
        let (broker, epoch) = (number(case, "id"), self.epoch(case));
        let decision = self.controller.alter_partitions(broker, epoch, &[proposal]);
        self.settle(decision, |outcome| match outcome {
            Err(refused) => format!("{refused}\n"),
            Ok(all) => {
                let epoch = |one: &Outcome<ottla_metadata::controller::AlteredPartition>| {
                    told(&one.as_ref().map(|after| after.partition_epoch))
                };
                all.iter().map(epoch).collect()
            }
        })
    }

    fn assign(&mut self, case: &TestCase) -> String {
        let topic = self
            .controller
            .image()
            .topics
            .find(&text(case, "topic"))
            .unwrap()
            .id;
        let directory = Uuid::from_u128(number(case, "directory"));
        let assignment = (topic, number(case, "partition"), directory);
        let (broker, epoch) = (number(case, "id"), self.epoch(case));
        let decision = self
            .controller
            .assign_directories(broker, epoch, &[assignment]);
        self.settle(decision, |outcome| match outcome {
            Err(refused) => format!("{refused}\n"),
            Ok(all) => all.iter().map(told).collect(),
        })
    }

    /// The broker's epoch, or another on purpose.
    fn epoch(&self, case: &TestCase) -> i64 {
        let broker = self.controller.image().nodes.broker(number(case, "id"));
        optional(case, "epoch").unwrap_or_else(|| broker.map_or(-1, |broker| broker.epoch))
    }

    fn topics(&self) -> String {
        let mut text = String::new();
        for topic in self.controller.image().topics.iter() {
            for (index, partition) in &topic.partitions {
                writeln!(
                    text,
                    "{}-{index} replicas {:?} in sync {:?} leader {:?} epochs {}/{} {:?} eligible {:?} last {:?}",
                    topic.name,
                    partition.replicas,
                    partition.in_sync,
                    partition.leader,
                    partition.leader_epoch,
                    partition.partition_epoch,
                    partition.recovery,
                    partition.eligible_leaders,
                    partition.last_known_eligible,
                )
                .unwrap();
            }
        }
        text
    }

    /// Append and replay as the host would; the reply after the records.
    fn settle<R>(&mut self, decision: Decision<R>, reply: impl Fn(&R) -> String) -> String {
        let mut text = String::new();
        for batch in &decision.batches {
            assert!(batch.encode().is_ok(), "{batch:?}");
            for record in &batch.records {
                writeln!(text, "{} {}", self.next_offset, brief(record)).unwrap();
                self.controller.replay(record, self.next_offset).unwrap();
                self.next_offset += 1;
            }
        }
        text + &reply(&decision.reply)
    }
}

/// The record without its names of types and its empty fields.
fn brief(record: &Record) -> String {
    let debug = format!("{record:?}");
    let inner = debug.split_once('{').map_or("", |(_, inner)| inner);
    let inner = inner.strip_suffix("})").unwrap_or(inner).trim();
    let mut fields = Vec::new();
    let mut depth = 0;
    let mut field = String::new();
    for char in inner.chars() {
        depth +=
            i32::from(matches!(char, '[' | '{' | '(')) - i32::from(matches!(char, ']' | '}' | ')'));
        if char == ',' && depth == 0 {
            fields.push(std::mem::take(&mut field).trim().to_owned());
        } else {
            field.push(char);
        }
    }
    fields.push(field.trim().to_owned());
    let is_telling = |field: &&String| {
        ![
            "None",
            ": []",
            ": false",
            "leader: -2",
            "recovery_state: -1",
        ]
        .iter()
        .any(|empty| field.ends_with(empty))
            && !field.starts_with("features: ")
            && !field.starts_with("fenced: 0")
            && !field.starts_with("in_controlled_shutdown: 0")
            && !field.starts_with("leader_recovery_state: 0")
    };
    let fields: Vec<String> = fields.iter().filter(is_telling).cloned().collect();
    format!(
        "{} {}",
        record.name().trim_end_matches("Record"),
        fields.join(", ")
    )
}

fn told<T: std::fmt::Debug, E: std::fmt::Display>(outcome: &Result<T, E>) -> String {
    match outcome {
        Ok(value) => match format!("{value:?}").as_str() {
            "()" => "ok\n".to_owned(),
            value => format!("{value}\n"),
        },
        Err(refused) => format!("{refused}\n"),
    }
}

fn by_name<T>(outcomes: &[(String, Outcome<T>)], show: impl Fn(&T) -> String) -> String {
    let line = |(name, outcome): &(String, Outcome<T>)| match outcome {
        Ok(value) => format!("{name}: {}\n", show(value)),
        Err(refused) => format!("{name}: {refused}\n"),
    };
    outcomes.iter().map(line).collect()
}

fn new_topic(line: &str) -> NewTopic {
    let mut words = line.split(' ');
    let name = words
        .next()
        .unwrap_or_default()
        .trim_matches('\'')
        .to_owned();
    let mut topic = NewTopic {
        name,
        num_partitions: -1,
        replication_factor: -1,
        ..NewTopic::default()
    };
    for word in words {
        match word.split_once('=') {
            Some(("partitions", n)) => topic.num_partitions = n.parse().unwrap(),
            Some(("factor", n)) => topic.replication_factor = n.parse().unwrap(),
            Some(("replicas", text)) => {
                topic.assignments = (0..).zip(assignments(text)).collect();
            }
            Some(("replicas-from", text)) => {
                let (first, text) = text.split_once(':').unwrap();
                topic.assignments = (first.parse::<i32>().unwrap()..)
                    .zip(assignments(text))
                    .collect();
            }
            Some((setting, value)) => {
                topic
                    .configs
                    .push((setting.to_owned(), Some(value.to_owned())));
            }
            None => topic.configs.push((word.to_owned(), None)),
        }
    }
    topic
}

fn assignments(text: &str) -> Vec<Vec<i32>> {
    let replicas = |text: &str| text.split(',').filter_map(|id| id.parse().ok()).collect();
    text.split(';').map(replicas).collect()
}

fn resource(case: &TestCase) -> Resource {
    if let Some(topic) = optional::<String>(case, "topic") {
        Resource::topic(&topic)
    } else if let Some(broker) = optional(case, "broker") {
        Resource::broker(broker)
    } else {
        Resource::cluster()
    }
}

fn optional<T: std::str::FromStr>(case: &TestCase, name: &str) -> Option<T> {
    case.args.get(name)?.first()?.parse().ok()
}

fn number<T: std::str::FromStr>(case: &TestCase, name: &str) -> T {
    optional(case, name).unwrap_or_else(|| panic!("{} needs {name}=", case.directive))
}

fn text(case: &TestCase, name: &str) -> String {
    number(case, name)
}

fn numbers(case: &TestCase, name: &str) -> Vec<i32> {
    case.args
        .get(name)
        .into_iter()
        .flatten()
        .map(|text| text.parse().unwrap())
        .collect()
}

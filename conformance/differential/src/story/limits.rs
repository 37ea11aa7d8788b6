//! What each setting refuses, and in which words: every setting of a topic and of a broker, with
//! values inside and outside of its bounds, one at a time and only tried; then those that must agree
//! with each other, and who wins where a value is set in several places.
//!
//! The names are the ones that the broker describes, so nothing here repeats a catalogue.

use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::settings::{change, describe};
use super::{Story, settle};

const TOPIC: i8 = DescribeConfigsRequest::TOPIC;
const BROKER: i8 = DescribeConfigsRequest::BROKER;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// For whatever kind a setting is of: about the bounds that settings have, and what is no value.
const VALUES: &[&str] = &[
    "",
    " ",
    "x",
    "null",
    " 5 ",
    "+5",
    "1.5",
    "true",
    "TRUE",
    "False",
    "yes",
    "-3",
    "-2",
    "-1",
    "0",
    "1",
    "2",
    "3",
    "4",
    "9",
    "10",
    "17",
    "18",
    "22",
    "23",
    "-131072",
    "-131073",
    "1048575",
    "1048576",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "0.9",
    "1.1",
    "NaN",
    "1e3",
    "delete",
    "compact",
    "compact,delete",
    "delete,delete",
    "delete, compact",
    "Delete",
    "delete,",
    ",",
    "none",
    "gzip",
    "GZIP",
    "zstd",
    "producer",
    "CreateTime",
    "createtime",
    "LogAppendTime",
    "1:1",
    "1:1,2:1",
    "*",
    "*,1:1",
    "1:x",
];

/// Settings that say where the broker is, how it is protected and which Java classes it loads: they have
/// words of their own at each broker, and are nothing to a log.
const APART: &[&str] = &[
    "listener",
    "ssl.",
    "sasl.",
    "principal.",
    "metric.reporters",
    "config.providers",
    "max.connections.per.ip.overrides",
    "group.",
];

impl Story<'_> {
    pub fn limits(&mut self) {
        let topic = self.name("limits");
        self.make_topic(&topic, 1);
        let node = self.node.to_string();
        let of_topic = self.described(TOPIC, &topic);
        for (name, _) in &of_topic {
            for value in VALUES {
                self.try_setting(TOPIC, &topic, &[(name, SET, Some(value))]);
            }
            self.try_new_topic(&[(name, "x")]);
            self.try_new_topic(&[(name, "-3")]);
            for operation in [DELETE, APPEND, SUBTRACT] {
                self.try_setting(TOPIC, &topic, &[(name, operation, Some("1:1"))]);
            }
        }
        for (name, is_read_only) in self.described(BROKER, &node) {
            if APART.iter().any(|start| name.starts_with(start)) {
                continue;
            }
            let values = if is_read_only { &VALUES[2..3] } else { VALUES };
            for value in values {
                self.try_setting(BROKER, "", &[(&name, SET, Some(value))]);
                self.try_setting(BROKER, &node, &[(&name, SET, Some(value))]);
            }
            if !is_read_only {
                for operation in [DELETE, APPEND, SUBTRACT] {
                    self.try_setting(BROKER, "", &[(&name, operation, Some("delete"))]);
                }
            }
        }
        self.limits_together(&topic, &node);
        self.precedence(&topic, &node);
    }

    /// Names of what can be set, and whether it is read only.
    fn described(&mut self, kind: i8, name: &str) -> Vec<(String, bool)> {
        let request = describe(4, kind, Text::from(name), None);
        let answer = self.prepare(4, &request);
        let configs = answer.into_iter().flat_map(|answer| answer.results);
        let named = configs.flat_map(|result| result.configs);
        let mut named: Vec<_> = named
            .map(|config| (config.name.to_string(), config.read_only))
            .filter(|(name, _)| !name.starts_with("ottla."))
            .collect();
        named.sort();
        named
    }

    fn try_setting(&mut self, kind: i8, name: &str, settings: &[(&str, i8, Option<&str>)]) {
        let of = match kind {
            TOPIC => "topic",
            _ if name.is_empty() => "cluster",
            _ => "broker",
        };
        let label = format!("{of} {settings:?}");
        let request = IncrementalAlterConfigsRequest {
            resources: vec![change(kind, name, settings)],
            validate_only: true,
        };
        self.ask_in_words(&label, 1, &request);
    }

    fn try_new_topic(&mut self, settings: &[(&str, &str)]) {
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: Text::from(*name),
            value: Some(Text::from(*value)),
        };
        let topic = CreatableTopic {
            name: self.name("limits-new"),
            num_partitions: 1,
            replication_factor: 1,
            configs: settings.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            validate_only: true,
            ..Default::default()
        };
        self.ask_in_words(&format!("new topic {settings:?}"), 7, &request);
    }

    /// Settings that bound each other.
    fn limits_together(&mut self, topic: &Text, node: &str) {
        let pairs: &[&[(&str, &str)]] = &[
            &[
                ("min.compaction.lag.ms", "10"),
                ("max.compaction.lag.ms", "9"),
            ],
            &[
                ("min.compaction.lag.ms", "9"),
                ("max.compaction.lag.ms", "9"),
            ],
            &[("local.retention.ms", "-1"), ("retention.ms", "5")],
            &[("local.retention.ms", "6"), ("retention.ms", "5")],
            &[("local.retention.bytes", "6"), ("retention.bytes", "5")],
            &[
                ("remote.storage.enable", "true"),
                ("cleanup.policy", "compact"),
            ],
            &[("retention.bytes", "-9"), ("retention.ms", "-1")],
            &[("internal.segment.bytes", "1"), ("segment.bytes", "1")],
            &[("internal.segment.bytes", "100")],
            &[("internal.segment.bytes", "-5")],
            &[("internal.segment.bytes", "x")],
            &[
                ("compression.type", "gzip"),
                ("compression.gzip.level", "12"),
            ],
            &[("compression.type", "none")],
            &[("max.message.bytes", "0")],
            &[("retention.ms", "1"), ("retention.ms", "2")],
            &[("no.such.setting", "1"), ("retention.ms", "x")],
        ];
        for settings in pairs {
            self.try_new_topic(settings);
            let set: Vec<_> = settings
                .iter()
                .map(|(name, value)| (*name, SET, Some(*value)))
                .collect();
            self.try_setting(TOPIC, topic, &set);
        }
        let of_broker: &[&[(&str, &str)]] = &[
            &[("log.retention.ms", "5"), ("log.local.retention.ms", "6")],
            &[("log.retention.ms", "5"), ("log.local.retention.ms", "-1")],
            &[("log.retention.ms", "5"), ("log.local.retention.ms", "-2")],
            &[("log.retention.ms", "-1"), ("log.local.retention.ms", "-1")],
            &[
                ("log.retention.bytes", "5"),
                ("log.local.retention.bytes", "6"),
            ],
            &[
                ("log.retention.bytes", "5"),
                ("log.local.retention.bytes", "-1"),
            ],
            &[("log.retention.ms", "0")],
            &[("log.retention.ms", "-7")],
            &[
                ("log.cleaner.min.compaction.lag.ms", "10"),
                ("log.cleaner.max.compaction.lag.ms", "9"),
            ],
            &[
                ("log.cleaner.threads", "2"),
                ("log.cleaner.dedupe.buffer.size", "2097152"),
            ],
            &[
                ("log.cleaner.threads", "2"),
                ("log.cleaner.dedupe.buffer.size", "2097154"),
            ],
            &[("log.cleaner.dedupe.buffer.size", "1048576")],
            &[("log.cleaner.dedupe.buffer.size", "1048577")],
            &[("log.cleaner.threads", "0")],
            &[("log.cleaner.threads", "3")],
            &[("log.roll.ms", "0")],
            &[("log.roll.hours", "1")],
            &[("log.retention.hours", "1")],
            &[("log.retention.minutes", "1")],
            &[("log.roll.jitter.hours", "1")],
            &[("log.flush.scheduler.interval.ms", "1")],
            &[("log.flush.interval.ms", "0")],
            &[("log.flush.interval.ms", "-1")],
            &[("num.io.threads", "3")],
            &[("num.io.threads", "4")],
            &[("num.io.threads", "16")],
            &[("num.io.threads", "17")],
            &[("num.network.threads", "7")],
            &[("num.replica.fetchers", "3")],
            &[("num.recovery.threads.per.data.dir", "5")],
            &[("background.threads", "4")],
            &[("background.threads", "21")],
            &[("no.such.setting", "1")],
            &[("retention.ms", "1")],
            &[("segment.bytes", "1")],
            &[("listener.name.x.max.connections", "5")],
            &[("log.segment.bytes", "1048576"), ("log.dirs", "/x")],
            &[("log.dirs", "/x"), ("log.retention.ms", "x")],
            &[("ssl.keystore.type", "x"), ("log.retention.ms", "x")],
            &[("max.connections.per.ip.overrides", "h")],
            &[("listener.name.x.ssl.keystore.type", "JKS")],
            &[("sasl.login.refresh.buffer.seconds", "x")],
        ];
        for settings in of_broker {
            let set: Vec<_> = settings
                .iter()
                .map(|(name, value)| (*name, SET, Some(*value)))
                .collect();
            for name in ["", node] {
                self.try_setting(BROKER, name, &set);
            }
        }
        let replaced = AlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: BROKER,
                resource_name: Text::new(),
                configs: vec![AlterableConfig {
                    name: Text::from("log.segment.bytes"),
                    value: Some(Text::from("5")),
                }],
            }],
            validate_only: true,
        };
        self.ask_in_words("cluster, replaced", 2, &replaced);
    }

    /// One value in ever more places, and taken away again from each.
    fn precedence(&mut self, topic: &Text, node: &str) {
        const PAIRS: &[(&str, &str)] = &[
            ("retention.ms", "log.retention.ms"),
            ("segment.ms", "log.roll.ms"),
            ("segment.jitter.ms", "log.roll.jitter.ms"),
            ("flush.ms", "log.flush.interval.ms"),
            ("segment.bytes", "log.segment.bytes"),
            ("max.message.bytes", "message.max.bytes"),
            ("compression.zstd.level", "compression.zstd.level"),
        ];
        let number = |one: i32| {
            if one < 100 {
                (one % 20).to_string()
            } else {
                one.to_string()
            }
        };
        for operation in [SET, DELETE] {
            for (at, (kind, name)) in (1..).zip([(BROKER, ""), (BROKER, node), (TOPIC, &**topic)]) {
                let value = number(at);
                let large = (1_048_576 + at).to_string();
                let set: Vec<_> = PAIRS
                    .iter()
                    .map(|(of_topic, of_broker)| {
                        let name = if kind == TOPIC { of_topic } else { of_broker };
                        let value = if name.ends_with("bytes") {
                            &large
                        } else {
                            &value
                        };
                        (*name, operation, Some(value.as_str()))
                    })
                    .collect();
                let request = IncrementalAlterConfigsRequest {
                    resources: vec![change(kind, name, &set)],
                    validate_only: false,
                };
                self.ask_in_words(&format!("{operation} in place {at}"), 1, &request);
                settle();
                for (kind, name) in [(BROKER, ""), (BROKER, node), (TOPIC, &**topic)] {
                    let label = format!(
                        "kind {kind} '{}' after {operation} in place {at}",
                        name.len()
                    );
                    self.ask(&label, 4, &describe(4, kind, Text::from(name), None));
                }
            }
        }
    }
}

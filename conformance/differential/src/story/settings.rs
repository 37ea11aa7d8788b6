//! Settings of topics, brokers, groups and metric subscriptions; the log directories.

use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::{Story, settle, versions};

const TOPIC: i8 = DescribeConfigsRequest::TOPIC;
const BROKER: i8 = DescribeConfigsRequest::BROKER;
const LOGGER: i8 = DescribeConfigsRequest::BROKER_LOGGER;
const METRICS: i8 = DescribeConfigsRequest::CLIENT_METRICS;
const GROUP: i8 = DescribeConfigsRequest::GROUP;
/// No kind of resource has this number.
const NO_KIND: i8 = 99;

impl Story<'_> {
    pub fn settings(&mut self) {
        let topic = self.name("settings");
        self.make_topic(&topic, 1);
        self.write(&topic, 10);
        self.incremental_alter_configs(&topic);
        self.alter_configs(&topic);
        settle();
        self.describe_configs(&topic);
        self.list_config_resources();
        self.describe_log_dirs(&topic);
    }

    fn incremental_alter_configs(&mut self, topic: &Text) {
        let node = self.node.to_string();
        for version in versions::<IncrementalAlterConfigsRequest>() {
            let resources = vec![
                change(TOPIC, topic, &[("retention.ms", 0, Some("86400000"))]),
                change(
                    TOPIC,
                    &self.name("absent"),
                    &[("retention.ms", 0, Some("1"))],
                ),
                change(BROKER, "", &[("log.cleaner.threads", 0, Some("2"))]),
                change(BROKER, &node, &[("log.retention.ms", 0, Some("777777"))]),
                change(
                    METRICS,
                    &self.name("metrics"),
                    &[("interval.ms", 0, Some("60000"))],
                ),
                change(
                    GROUP,
                    &self.name("group"),
                    &[("consumer.session.timeout.ms", 0, Some("50000"))],
                ),
                change(NO_KIND, "x", &[("x", 0, Some("x"))]),
            ];
            let mut request = IncrementalAlterConfigsRequest {
                resources,
                validate_only: true,
            };
            self.ask("validate only", version, &request);
            request.validate_only = false;
            self.ask("set", version, &request);
            request.resources = vec![change(
                TOPIC,
                topic,
                &[("cleanup.policy", 2, Some("compact"))],
            )];
            self.ask("append", version, &request);
            request.resources = vec![change(
                TOPIC,
                topic,
                &[("cleanup.policy", 3, Some("compact"))],
            )];
            self.ask("subtract", version, &request);
            request.resources = vec![change(TOPIC, topic, &[("segment.ms", 1, None)])];
            self.ask("delete", version, &request);
            request.resources = vec![change(TOPIC, topic, &[("retention.ms", 0, Some("soon"))])];
            self.ask("bad value", version, &request);
            request.resources = vec![change(TOPIC, topic, &[("no.such.setting", 0, Some("1"))])];
            self.ask("unknown setting", version, &request);
            request.resources = vec![change(TOPIC, topic, &[("retention.ms", 9, Some("1"))])];
            self.ask("unknown operation", version, &request);
            request.resources = vec![change(BROKER, &node, &[("broker.rack", 0, Some("r"))])];
            self.ask("setting that is not dynamic", version, &request);
            request.resources = vec![change(LOGGER, &node, &[("kafka.server", 0, Some("LOUD"))])];
            self.ask("bad level of a logger", version, &request);
        }
    }

    fn alter_configs(&mut self, topic: &Text) {
        for version in versions::<AlterConfigsRequest>() {
            let set = |name: &str, value: &str| AlterableConfig {
                name: Text::from(name),
                value: Some(Text::from(value)),
            };
            let resource = |resource_type, name: &str, config| AlterConfigsResource {
                resource_type,
                resource_name: Text::from(name),
                configs: vec![config],
            };
            let resources = vec![
                resource(TOPIC, topic, set("retention.ms", "3600000")),
                resource(TOPIC, "not/a/name", set("retention.ms", "1")),
                resource(NO_KIND, "x", set("x", "x")),
            ];
            let mut request = AlterConfigsRequest {
                resources,
                validate_only: true,
            };
            self.ask("validate only", version, &request);
            request.validate_only = false;
            self.ask("replace", version, &request);
            request.resources = vec![resource(TOPIC, topic, set("retention.ms", "soon"))];
            self.ask("bad value", version, &request);
        }
    }

    fn describe_configs(&mut self, topic: &Text) {
        for version in versions::<DescribeConfigsRequest>() {
            for (label, kind, name) in [
                ("topic", TOPIC, topic.clone()),
                ("topic that is not there", TOPIC, self.name("absent")),
                ("topic with a bad name", TOPIC, Text::from("not/a/name")),
                ("broker", BROKER, Text::from(self.node.to_string())),
                ("another broker", BROKER, Text::from("4711")),
                ("cluster default", BROKER, Text::new()),
                ("metrics", METRICS, self.name("metrics")),
                ("group", GROUP, self.name("group")),
                ("unknown kind", NO_KIND, Text::from("x")),
            ] {
                self.ask(label, version, &describe(version, kind, name, None));
            }
            let keys = vec![Text::from("retention.ms"), Text::from("no.such.setting")];
            self.ask(
                "two keys",
                version,
                &describe(version, TOPIC, topic.clone(), Some(keys)),
            );
            // Loggers differ from broker to broker: proof, but no comparison.
            self.prove(
                "loggers",
                version,
                &describe(version, LOGGER, Text::from(self.node.to_string()), None),
            );
        }
    }

    fn list_config_resources(&mut self) {
        for version in versions::<ListConfigResourcesRequest>() {
            self.prove("all", version, &ListConfigResourcesRequest::default());
            // Names of earlier stories stand here too.
            if version >= 1 {
                for kinds in [vec![METRICS], vec![BROKER, GROUP], vec![NO_KIND]] {
                    let label = format!("kinds {kinds:?}");
                    let request = ListConfigResourcesRequest {
                        resource_types: kinds,
                    };
                    self.ask(&label, version, &request);
                }
            }
        }
    }

    fn describe_log_dirs(&mut self, topic: &Text) {
        let moved = self.name("moved");
        self.make_topic(&moved, 1);
        for _ in 0..20 {
            self.write(&moved, 10);
        }
        self.begin_a_move(&moved);
        for version in versions::<DescribeLogDirsRequest>() {
            let one = |name: &Text| DescribableLogDirTopic {
                topic: name.clone(),
                partitions: vec![0],
            };
            let mut request = DescribeLogDirsRequest {
                topics: Some(vec![one(topic), one(&moved), one(&self.name("absent"))]),
            };
            self.ask("one topic", version, &request);
            request.topics = None;
            self.prove("all", version, &request);
        }
    }

    /// Starts to move a replica, too slowly to ever arrive, and closes a directory to new replicas:
    /// then there is a future replica that lags, and a directory that is cordoned.
    fn begin_a_move(&mut self, topic: &Text) {
        let Some(answer) = self.prepare(4, &DescribeLogDirsRequest { topics: None }) else {
            return;
        };
        let holds = |dir: &DescribeLogDirsResult| dir.topics.iter().any(|t| t.name == *topic);
        let Some(target) = answer.results.iter().find(|dir| !holds(dir)) else {
            return;
        };
        let node = self.node.to_string();
        let slow = "replica.alter.log.dirs.io.max.bytes.per.second";
        let resources = vec![change(BROKER, &node, &[(slow, 0, Some("1"))])];
        self.prepare(
            1,
            &IncrementalAlterConfigsRequest {
                resources,
                validate_only: false,
            },
        );
        settle();
        let topics = vec![AlterReplicaLogDirTopic {
            name: topic.clone(),
            partitions: vec![0],
        }];
        let dirs = vec![AlterReplicaLogDir {
            path: target.log_dir.clone(),
            topics,
        }];
        if let Some(answer) = self.prepare(2, &AlterReplicaLogDirsRequest { dirs }) {
            settle();
            note_if(
                answer.results[0].partitions[0].error_code != 0,
                "no replica moves",
            );
        }
        let cordon = [("cordoned.log.dirs", 0, Some(&*target.log_dir))];
        let resources = vec![change(BROKER, &node, &cordon)];
        let request = IncrementalAlterConfigsRequest {
            resources,
            validate_only: false,
        };
        if let Some(answer) = self.prepare(1, &request) {
            note_if(
                answer.responses[0].error_code != 0,
                "no directory is cordoned",
            );
        }
        settle();
    }
}

fn note_if(failed: bool, what: &str) {
    if failed {
        println!("note: {what}");
    }
}

pub(super) fn change(
    kind: i8,
    name: &str,
    settings: &[(&str, i8, Option<&str>)],
) -> IncrementalAlterConfigsResource {
    let setting =
        |(name, operation, value): &(&str, i8, Option<&str>)| IncrementalAlterableConfig {
            name: Text::from(*name),
            config_operation: *operation,
            value: value.map(Text::from),
        };
    IncrementalAlterConfigsResource {
        resource_type: kind,
        resource_name: Text::from(name),
        configs: settings.iter().map(setting).collect(),
    }
}

pub(super) fn describe(
    version: i16,
    kind: i8,
    name: Text,
    keys: Option<Vec<Text>>,
) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name,
        configuration_keys: keys,
    };
    DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: version >= 3,
    }
}

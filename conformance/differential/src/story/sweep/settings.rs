//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources, DescribeLogDirs and
//! AlterReplicaLogDirs.

use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::super::settings::{change, describe};
use super::{
    ENORMOUS_LIST, ENORMOUS_TEXT, GROWN, Story, Swept, TOO_LONG_FOR_A_TOPIC, long, many, settle,
    text, twice, versions,
};

const UNKNOWN: i8 = 0;
const TOPIC: i8 = DescribeConfigsRequest::TOPIC;
const BROKER: i8 = DescribeConfigsRequest::BROKER;
const LOGGER: i8 = DescribeConfigsRequest::BROKER_LOGGER;
const METRICS: i8 = DescribeConfigsRequest::CLIENT_METRICS;
const GROUP: i8 = DescribeConfigsRequest::GROUP;
/// No kind of resource has this number.
const NO_KIND: i8 = 99;
const SET: i8 = IncrementalAlterConfigsRequest::SET;
const DELETE: i8 = IncrementalAlterConfigsRequest::DELETE;
const APPEND: i8 = IncrementalAlterConfigsRequest::APPEND;
const SUBTRACT: i8 = IncrementalAlterConfigsRequest::SUBTRACT;

impl Story<'_> {
    pub(super) fn sweep_settings(&mut self, swept: &Swept) {
        let topic = self.name("sweep-set");
        self.make_topic(&topic, 1);
        self.sweep_incremental_alter_configs(&topic);
        self.sweep_alter_configs(&topic);
        settle();
        self.sweep_describe_configs(&topic);
        self.sweep_list_config_resources();
        self.sweep_describe_log_dirs(swept);
        self.sweep_alter_replica_log_dirs(swept);
    }

    fn sweep_incremental_alter_configs(&mut self, topic: &Text) {
        let node = self.node.to_string();
        let (absent, group) = (self.name("absent"), self.name("sweep-group"));
        let metrics = self.name("sweep-metrics");
        for version in versions::<IncrementalAlterConfigsRequest>() {
            let good = IncrementalAlterConfigsRequest {
                resources: vec![change(
                    TOPIC,
                    topic,
                    &[("retention.ms", SET, Some("86400000"))],
                )],
                validate_only: false,
            };
            let of = |kind: i8, name: &str, settings: &[(&str, i8, Option<&str>)]| {
                let resources = vec![change(kind, name, settings)];
                move |it: &mut IncrementalAlterConfigsRequest| it.resources = resources.clone()
            };
            let on = |name: &str, operation: i8, value: Option<&str>| {
                of(TOPIC, topic, &[(name, operation, value)])
            };
            let one = |kind: i8, name: &str, setting: &str, value: &str| {
                of(kind, name, &[(setting, SET, Some(value))])
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.resources)),
                    (GROWN, &|it| twice(&mut it.resources[0].configs)),
                    ("nothing", &|it| it.resources.clear()),
                    ("no settings", &|it| it.resources[0].configs.clear()),
                    ("resource twice", &|it| twice(&mut it.resources)),
                    ("setting twice", &|it| twice(&mut it.resources[0].configs)),
                    (
                        "setting twice, unlike",
                        &of(
                            TOPIC,
                            topic,
                            &[
                                ("retention.ms", SET, Some("1")),
                                ("retention.ms", DELETE, None),
                            ],
                        ),
                    ),
                    ("absent topic", &one(TOPIC, &absent, "retention.ms", "1")),
                    ("bad name", &one(TOPIC, "no/name", "retention.ms", "1")),
                    ("empty name", &one(TOPIC, "", "retention.ms", "1")),
                    (
                        "too long",
                        &one(TOPIC, &long(TOO_LONG_FOR_A_TOPIC), "retention.ms", "1"),
                    ),
                    ("null value", &on("retention.ms", SET, None)),
                    ("empty value", &on("retention.ms", SET, Some(""))),
                    ("no number", &on("retention.ms", SET, Some("soon"))),
                    ("below the bound", &on("retention.ms", SET, Some("-2"))),
                    (
                        "above the bound",
                        &on("retention.ms", SET, Some("9223372036854775808")),
                    ),
                    (
                        "a share above 1",
                        &on("min.cleanable.dirty.ratio", SET, Some("1.1")),
                    ),
                    (
                        "an int above its bound",
                        &on("max.message.bytes", SET, Some("2147483648")),
                    ),
                    ("a negative int", &on("max.message.bytes", SET, Some("-1"))),
                    ("no yes and no no", &on("preallocate", SET, Some("maybe"))),
                    ("no such policy", &on("cleanup.policy", SET, Some("shrink"))),
                    ("no such codec", &on("compression.type", SET, Some("rar"))),
                    (
                        "an enormous value",
                        &on("retention.ms", SET, Some(&"1".repeat(ENORMOUS_TEXT))),
                    ),
                    ("unknown setting", &on("no.such.setting", SET, Some("1"))),
                    ("nameless setting", &on("", SET, Some("1"))),
                    (
                        "a broker's setting",
                        &on("log.retention.ms", SET, Some("1")),
                    ),
                    (
                        "unknown setting, taken away",
                        &on("no.such.setting", DELETE, None),
                    ),
                    (
                        "taken away, with a value",
                        &on("segment.ms", DELETE, Some("x")),
                    ),
                    (
                        "added to what is no list",
                        &on("retention.ms", APPEND, Some("1")),
                    ),
                    (
                        "taken from what is no list",
                        &on("retention.ms", SUBTRACT, Some("1")),
                    ),
                    ("added, null", &on("cleanup.policy", APPEND, None)),
                    (
                        "added, unknown",
                        &on("cleanup.policy", APPEND, Some("shrink")),
                    ),
                    (
                        "taken from a list, not there",
                        &on("cleanup.policy", SUBTRACT, Some("shrink")),
                    ),
                    ("unknown operation", &on("retention.ms", 9, Some("1"))),
                    ("negative operation", &on("retention.ms", -1, Some("1"))),
                    ("unknown kind", &one(NO_KIND, "x", "x", "x")),
                    ("kind 0", &one(UNKNOWN, "x", "x", "x")),
                    ("negative kind", &one(-1, "x", "x", "x")),
                    (
                        "another broker",
                        &one(BROKER, "7777", "log.retention.ms", "1"),
                    ),
                    (
                        "a broker without a number",
                        &one(BROKER, "seven", "log.retention.ms", "1"),
                    ),
                    (
                        "a broker of -1",
                        &one(BROKER, "-1", "log.retention.ms", "1"),
                    ),
                    (
                        "what a broker cannot change",
                        &one(BROKER, &node, "broker.rack", "r"),
                    ),
                    (
                        "what one broker cannot change",
                        &one(BROKER, &node, "log.cleaner.threads", "0"),
                    ),
                    (
                        "a bad value of all brokers",
                        &one(BROKER, "", "log.cleaner.threads", "none"),
                    ),
                    (
                        "unknown level of a logger",
                        &one(LOGGER, &node, "kafka", "LOUD"),
                    ),
                    (
                        "unknown logger",
                        &one(LOGGER, &node, "no.such.logger", "INFO"),
                    ),
                    ("loggers of nobody", &one(LOGGER, "", "kafka", "INFO")),
                    ("loggers of another", &one(LOGGER, "7777", "kafka", "INFO")),
                    (
                        "added to a logger",
                        &of(LOGGER, &node, &[("kafka", APPEND, Some("INFO"))]),
                    ),
                    (
                        "root logger, taken away",
                        &of(LOGGER, &node, &[("root", DELETE, None)]),
                    ),
                    (
                        "a group without a name",
                        &one(GROUP, "", "consumer.session.timeout.ms", "1"),
                    ),
                    (
                        "a session too short",
                        &one(GROUP, &group, "consumer.session.timeout.ms", "1"),
                    ),
                    (
                        "a session too long",
                        &one(GROUP, &group, "consumer.session.timeout.ms", "60001"),
                    ),
                    (
                        "a group's unknown setting",
                        &one(GROUP, &group, "no.such.setting", "1"),
                    ),
                    (
                        "metrics without a name",
                        &one(METRICS, "", "interval.ms", "60000"),
                    ),
                    (
                        "too small an interval",
                        &one(METRICS, &metrics, "interval.ms", "99"),
                    ),
                    (
                        "too great an interval",
                        &one(METRICS, &metrics, "interval.ms", "3600001"),
                    ),
                    (
                        "no pattern",
                        &one(METRICS, &metrics, "match", "client_id=("),
                    ),
                    (
                        "an unknown selector",
                        &one(METRICS, &metrics, "match", "shoe_size=9"),
                    ),
                    (
                        "a selector without a value",
                        &one(METRICS, &metrics, "match", "client_id"),
                    ),
                    (
                        "metrics' unknown setting",
                        &one(METRICS, &metrics, "no.such.setting", "1"),
                    ),
                    ("good and bad", &|it| {
                        it.resources.push(change(
                            TOPIC,
                            "no/name",
                            &[("retention.ms", SET, Some("1"))],
                        ));
                        it.validate_only = true;
                    }),
                    ("many", &|it| {
                        let of =
                            |name: Text| change(TOPIC, &name, &[("retention.ms", SET, Some("1"))]);
                        it.resources = many().map(of).collect();
                    }),
                ],
            );
        }
    }

    fn sweep_alter_configs(&mut self, topic: &Text) {
        let node = self.node.to_string();
        let (absent, group) = (self.name("absent"), self.name("sweep-group"));
        let metrics = self.name("sweep-metrics");
        let resource = |kind, name: &str, settings: &[(&str, Option<&str>)]| AlterConfigsResource {
            resource_type: kind,
            resource_name: Text::from(name),
            configs: settings
                .iter()
                .map(|(name, value)| AlterableConfig {
                    name: Text::from(*name),
                    value: value.map(Text::from),
                })
                .collect(),
        };
        for version in versions::<AlterConfigsRequest>() {
            let good = AlterConfigsRequest {
                resources: vec![resource(TOPIC, topic, &[("retention.ms", Some("3600000"))])],
                validate_only: false,
            };
            let one = |kind: i8, name: &str, setting: &str, value: Option<&str>| {
                let resources = vec![resource(kind, name, &[(setting, value)])];
                move |it: &mut AlterConfigsRequest| it.resources = resources.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.resources)),
                    (GROWN, &|it| twice(&mut it.resources[0].configs)),
                    ("nothing", &|it| it.resources.clear()),
                    // Apache never answers: once is enough.
                    ("resource twice", &|it| {
                        if version == *versions::<AlterConfigsRequest>().end() {
                            twice(&mut it.resources);
                        }
                    }),
                    ("setting twice", &|it| twice(&mut it.resources[0].configs)),
                    (
                        "absent topic",
                        &one(TOPIC, &absent, "retention.ms", Some("1")),
                    ),
                    (
                        "bad name",
                        &one(TOPIC, "no/name", "retention.ms", Some("1")),
                    ),
                    ("empty name", &one(TOPIC, "", "retention.ms", Some("1"))),
                    ("null value", &one(TOPIC, topic, "retention.ms", None)),
                    ("empty value", &one(TOPIC, topic, "retention.ms", Some(""))),
                    (
                        "no number",
                        &one(TOPIC, topic, "retention.ms", Some("soon")),
                    ),
                    (
                        "below the bound",
                        &one(TOPIC, topic, "retention.ms", Some("-2")),
                    ),
                    (
                        "no such policy",
                        &one(TOPIC, topic, "cleanup.policy", Some("shrink")),
                    ),
                    (
                        "unknown setting",
                        &one(TOPIC, topic, "no.such.setting", Some("1")),
                    ),
                    ("nameless setting", &one(TOPIC, topic, "", Some("1"))),
                    ("unknown kind", &one(NO_KIND, "x", "x", Some("x"))),
                    ("kind 0", &one(UNKNOWN, "x", "x", Some("x"))),
                    ("negative kind", &one(-1, "x", "x", Some("x"))),
                    (
                        "another broker",
                        &one(BROKER, "7777", "log.retention.ms", Some("1")),
                    ),
                    (
                        "a broker without a number",
                        &one(BROKER, "seven", "log.retention.ms", Some("1")),
                    ),
                    (
                        "what a broker cannot change",
                        &one(BROKER, &node, "broker.rack", Some("r")),
                    ),
                    ("a logger", &one(LOGGER, &node, "kafka", Some("INFO"))),
                    (
                        "a session too short",
                        &one(GROUP, &group, "consumer.session.timeout.ms", Some("1")),
                    ),
                    (
                        "too small an interval",
                        &one(METRICS, &metrics, "interval.ms", Some("99")),
                    ),
                    ("good and bad", &|it| {
                        it.resources.push(resource(
                            TOPIC,
                            "no/name",
                            &[("retention.ms", Some("1"))],
                        ));
                        it.validate_only = true;
                    }),
                    ("many", &|it| {
                        let of =
                            |name: Text| resource(TOPIC, &name, &[("retention.ms", Some("1"))]);
                        it.resources = many().map(of).collect();
                    }),
                ],
            );
        }
    }

    fn sweep_describe_configs(&mut self, topic: &Text) {
        let node = self.node.to_string();
        let (absent, group) = (self.name("absent"), self.name("sweep-group"));
        for version in versions::<DescribeConfigsRequest>() {
            let good = describe(version, TOPIC, topic.clone(), None);
            let of = |kind: i8, name: &str| {
                let asked = describe(version, kind, Text::from(name), None);
                move |it: &mut DescribeConfigsRequest| *it = asked.clone()
            };
            let keys = |keys: &'static [&'static str]| {
                move |it: &mut DescribeConfigsRequest| {
                    let keys = keys.iter().copied().map(text).collect();
                    it.resources[0].configuration_keys = Some(keys);
                }
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.resources)),
                    ("nothing", &|it| it.resources.clear()),
                    ("resource twice", &|it| twice(&mut it.resources)),
                    ("absent topic", &of(TOPIC, &absent)),
                    ("bad name", &of(TOPIC, "no/name")),
                    ("empty name", &of(TOPIC, "")),
                    ("too long", &of(TOPIC, &long(TOO_LONG_FOR_A_TOPIC))),
                    ("another broker", &of(BROKER, "7777")),
                    ("a broker without a number", &of(BROKER, "seven")),
                    ("a broker of -1", &of(BROKER, "-1")),
                    ("a broker beyond an int", &of(BROKER, "2147483648")),
                    ("loggers of nobody", &of(LOGGER, "")),
                    ("loggers of another", &of(LOGGER, "7777")),
                    ("loggers without a number", &of(LOGGER, "seven")),
                    ("a group without a name", &of(GROUP, "")),
                    ("a group that is not set", &of(GROUP, &group)),
                    ("metrics without a name", &of(METRICS, "")),
                    ("metrics that are not there", &of(METRICS, &absent)),
                    ("unknown kind", &of(NO_KIND, "x")),
                    ("kind 0", &of(UNKNOWN, "x")),
                    ("negative kind", &of(-1, "x")),
                    ("no keys", &keys(&[])),
                    ("unknown key", &keys(&["no.such.setting"])),
                    ("a nameless key", &keys(&[""])),
                    ("key twice", &keys(&["retention.ms", "retention.ms"])),
                    ("a broker's key", &keys(&["log.retention.ms"])),
                    ("good and bad", &|it| {
                        let bad = describe(version, TOPIC, text("no/name"), None).resources;
                        it.resources.extend(bad);
                    }),
                    ("a broker's unknown key", &|it| {
                        *it = describe(
                            version,
                            BROKER,
                            Text::from(node.as_str()),
                            Some(vec![text("no.such.setting")]),
                        );
                    }),
                    ("many", &|it| {
                        let of = |name: Text| describe(version, TOPIC, name, None).resources;
                        it.resources = many().flat_map(of).collect();
                    }),
                ],
            );
        }
    }

    /// Every name that was ever set: two brokers that have heard the same have the same.
    fn sweep_list_config_resources(&mut self) {
        for version in versions::<ListConfigResourcesRequest>() {
            let of = |kinds: &'static [i8]| {
                move |it: &mut ListConfigResourcesRequest| it.resource_types = kinds.to_vec()
            };
            self.questions(
                version,
                &ListConfigResourcesRequest::default(),
                &[
                    (GROWN, &|it| it.resource_types.push(TOPIC)),
                    ("unknown kind", &of(&[NO_KIND])),
                    ("kind 0", &of(&[UNKNOWN])),
                    ("negative kind", &of(&[-1])),
                    ("least kind", &of(&[i8::MIN])),
                    ("kind twice", &of(&[METRICS, METRICS])),
                    ("good and bad", &of(&[METRICS, NO_KIND])),
                    ("many", &|it| {
                        it.resource_types = vec![METRICS; ENORMOUS_LIST]
                    }),
                ],
            );
        }
    }

    fn sweep_describe_log_dirs(&mut self, swept: &Swept) {
        let absent = self.name("absent");
        let of = |topic: &Text, partitions: Vec<i32>| DescribableLogDirTopic {
            topic: topic.clone(),
            partitions,
        };
        for version in versions::<DescribeLogDirsRequest>() {
            let good = DescribeLogDirsRequest {
                topics: Some(vec![of(&swept.topic, vec![0])]),
            };
            let to = |topics: Vec<DescribableLogDirTopic>| {
                move |it: &mut DescribeLogDirsRequest| it.topics = Some(topics.clone())
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| it.topics.iter_mut().for_each(twice)),
                    ("nothing", &to(Vec::new())),
                    ("no partitions", &to(vec![of(&swept.topic, Vec::new())])),
                    ("absent topic", &to(vec![of(&absent, vec![0])])),
                    ("bad name", &to(vec![of(&text("no/name"), vec![0])])),
                    ("empty name", &to(vec![of(&Text::new(), vec![0])])),
                    (
                        "too long",
                        &to(vec![of(&long(TOO_LONG_FOR_A_TOPIC), vec![0])]),
                    ),
                    ("absent partition", &to(vec![of(&swept.topic, vec![44])])),
                    ("negative partition", &to(vec![of(&swept.topic, vec![-1])])),
                    ("partition twice", &to(vec![of(&swept.topic, vec![0, 0])])),
                    ("topic twice", &|it| it.topics.iter_mut().for_each(twice)),
                    (
                        "good and bad",
                        &to(vec![of(&swept.topic, vec![0, 44]), of(&absent, vec![0])]),
                    ),
                    ("many", &to(many().map(|name| of(&name, vec![0])).collect())),
                ],
            );
        }
    }

    fn sweep_alter_replica_log_dirs(&mut self, swept: &Swept) {
        let ask = DescribeLogDirsRequest {
            topics: Some(vec![DescribableLogDirTopic {
                topic: swept.topic.clone(),
                partitions: vec![0],
            }]),
        };
        let Some(answer) = self.prepare(4, &ask) else {
            return;
        };
        let holds = |dir: &&DescribeLogDirsResult| dir.topics.iter().any(|t| t.name == swept.topic);
        let Some(dir) = answer.results.iter().find(holds) else {
            println!("note: the topic lies in no directory");
            return;
        };
        let here = dir.log_dir.clone();
        let absent = self.name("absent");
        let topic = |name: &Text, partitions: Vec<i32>| AlterReplicaLogDirTopic {
            name: name.clone(),
            partitions,
        };
        let to = |path: &Text, topics: Vec<AlterReplicaLogDirTopic>| AlterReplicaLogDir {
            path: path.clone(),
            topics,
        };
        for version in versions::<AlterReplicaLogDirsRequest>() {
            let good = AlterReplicaLogDirsRequest {
                dirs: vec![to(&here, vec![topic(&swept.topic, vec![0])])],
            };
            let stay = |topics: Vec<AlterReplicaLogDirTopic>| {
                let dirs = vec![to(&here, topics)];
                move |it: &mut AlterReplicaLogDirsRequest| it.dirs = dirs.clone()
            };
            let go = |path: Text| {
                move |it: &mut AlterReplicaLogDirsRequest| it.dirs[0].path = path.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.dirs)),
                    (GROWN, &|it| twice(&mut it.dirs[0].topics)),
                    ("nothing", &|it| it.dirs.clear()),
                    ("no topics", &stay(Vec::new())),
                    (
                        "no partitions",
                        &stay(vec![topic(&swept.topic, Vec::new())]),
                    ),
                    ("absent topic", &stay(vec![topic(&absent, vec![0])])),
                    ("bad name", &stay(vec![topic(&text("no/name"), vec![0])])),
                    ("empty name", &stay(vec![topic(&Text::new(), vec![0])])),
                    (
                        "absent partition",
                        &stay(vec![topic(&swept.topic, vec![44])]),
                    ),
                    (
                        "negative partition",
                        &stay(vec![topic(&swept.topic, vec![-1])]),
                    ),
                    ("no directory", &go(Text::new())),
                    ("unknown directory", &go(text("/no/such/directory"))),
                    ("a directory that is none", &go(text("here"))),
                    ("enormous directory", &go(long(ENORMOUS_TEXT))),
                    (
                        "partition twice",
                        &stay(vec![topic(&swept.topic, vec![0, 0])]),
                    ),
                    ("topic twice", &|it| twice(&mut it.dirs[0].topics)),
                    ("directory twice", &|it| twice(&mut it.dirs)),
                    ("to two directories", &|it| {
                        it.dirs.push(to(
                            &text("/no/such/directory"),
                            vec![topic(&swept.topic, vec![0])],
                        ));
                    }),
                    ("absent topic to an unknown directory", &|it| {
                        it.dirs = vec![to(
                            &text("/no/such/directory"),
                            vec![topic(&absent, vec![0])],
                        )];
                    }),
                ],
            );
        }
    }
}

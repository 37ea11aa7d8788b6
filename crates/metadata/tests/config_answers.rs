//! Our answers about settings, line by line against those of a real Kafka (`testdata/config`).

mod one_node;

use std::collections::BTreeMap;
use std::fmt::Write;

use expect_test::expect;
use ottla_metadata::config::{
    BrokerConfig, ConfigChange, ConfigOperation, Described, Kind, Overrides, Scope, Source,
};
use ottla_metadata::controller::{ConfigAlteration, Controller, Outcome, Settings};
use ottla_metadata::image::{Image, Provenance, Resource, ResourceKind};
use ottla_metadata::records::{
    ConfigRecord, FeatureLevelRecord, MetadataVersion, Record, RegisterBrokerRecord,
};

const ANSWERS: &str = include_str!("../testdata/config/kafka-4.3.1-answers.txt");
const STATIC: &str = include_str!("../testdata/config/broker.properties");

/// Everything that is set in the cluster, by resource.
#[derive(Default)]
struct Cluster {
    set: BTreeMap<(String, String), Overrides>,
}

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self::default();
        // A fresh 4.3 cluster writes this down, because eligible leader replicas are on.
        cluster
            .overrides("BROKER", "")
            .insert("min.insync.replicas".into(), "1".into());
        cluster
    }

    fn overrides(&mut self, kind: &str, name: &str) -> &mut Overrides {
        self.set
            .entry((kind.to_owned(), name.to_owned()))
            .or_default()
    }

    fn broker(&mut self) -> BrokerConfig {
        let lines = STATIC
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        // As java.util.Properties: spaces before a value go, those behind stay.
        let pairs = lines.filter_map(|line| line.split_once('='));
        let fixed = pairs
            .map(|(name, value)| (name.into(), value.trim_start().into()))
            .collect();
        let cluster = self.overrides("BROKER", "").clone();
        let own = self.overrides("BROKER", "0").clone();
        BrokerConfig::new(fixed).with_dynamic(cluster, own)
    }

    fn describe(&mut self, kind: &str, name: &str) -> Vec<Described> {
        let broker = self.broker();
        let overrides = self.overrides(kind, name);
        match (kind, name) {
            ("BROKER", "") => broker.describe_cluster_default(None),
            ("BROKER", _) => broker.describe_broker(None),
            ("TOPIC", _) => broker.describe_topic(overrides, None),
            ("GROUP", _) => broker.describe_group(overrides, None),
            _ => broker.describe_client_metrics(overrides, None),
        }
    }

    fn alter(&mut self, kind: &str, name: &str, changes: &str) -> String {
        let broker = self.broker();
        let now = self.overrides(kind, name);
        let changes: Vec<_> = split_changes(changes)
            .iter()
            .map(|text| change(text))
            .collect();
        let judged = match kind {
            "BROKER" => judged_by_controller(&broker, name, now, &changes),
            _ => Ok(()),
        };
        match judged.and_then(|()| broker.alter(scope(kind), name, now, &changes)) {
            Ok(next) => {
                *now = next;
                "OK".to_owned()
            }
            Err(refused) => format!("{}: {}", exception(refused.code()), refused.words()),
        }
    }

    fn create(&mut self, topic: &str, configs: &str) -> String {
        let broker = self.broker();
        let configs: Overrides = split_changes(configs)
            .iter()
            .filter_map(|text| text.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        match broker.check_overrides(Scope::Topic, topic, &Overrides::new(), &configs) {
            Ok(()) => {
                *self.overrides("TOPIC", topic) = configs;
                "OK".to_owned()
            }
            Err(refused) => format!("{}: {}", exception(refused.code()), refused.words()),
        }
    }
}

/// What the controller of the cluster that answered says of a broker's settings: eligible leader
/// replicas are on there, and broker 0 is registered.
fn judged_by_controller(
    broker: &BrokerConfig,
    name: &str,
    now: &Overrides,
    changes: &[ConfigChange],
) -> Outcome<()> {
    let feature = |name: &str, feature_level| -> Record {
        FeatureLevelRecord {
            name: name.into(),
            feature_level,
        }
        .into()
    };
    let resource = Resource::new(ResourceKind::Broker, name);
    let set = now.iter().map(|(setting, value)| -> Record {
        ConfigRecord {
            resource_type: resource.kind.code(),
            resource_name: name.into(),
            name: setting.as_str().into(),
            value: Some(value.as_str().into()),
        }
        .into()
    });
    let records: Vec<Record> = [
        feature(MetadataVersion::FEATURE, MetadataVersion::MAX.level()),
        feature("eligible.leader.replicas.version", 1),
        RegisterBrokerRecord::default().into(),
    ]
    .into_iter()
    .chain(set)
    .collect();
    let image = Image::from_records(&records, Provenance::default()).unwrap();
    let settings = Settings {
        cluster_id: "cluster".into(),
        node_id: 0,
        ..one_node::settings()
    };
    let alteration = ConfigAlteration {
        resource,
        changes: changes.to_vec(),
    };
    let decision =
        Controller::new(settings, image).incremental_alter_configs(&[alteration], true, broker);
    decision.reply.into_iter().next().unwrap()
}

/// Changes stand side by side with one space between; a value may have spaces around it.
fn split_changes(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match parts.last_mut() {
            Some(last) if !word.contains('=') => *last += &format!(" {word}"),
            _ => parts.push(word.to_owned()),
        }
    }
    parts
}

fn change(text: &str) -> ConfigChange {
    let (operation, rest) = text.split_at(1);
    let (name, value) = rest.split_once('=').expect("a change has a value");
    let operation = match operation {
        "=" => ConfigOperation::Set,
        "+" => ConfigOperation::Append,
        "-" => ConfigOperation::Subtract,
        _ => ConfigOperation::Delete,
    };
    ConfigChange {
        name: name.to_owned(),
        operation,
        value: Some(value.to_owned()),
    }
}

fn scope(kind: &str) -> Scope {
    match kind {
        "BROKER" => Scope::Node,
        "TOPIC" => Scope::Topic,
        "GROUP" => Scope::Group,
        _ => Scope::ClientMetrics,
    }
}

fn exception(code: i16) -> &'static str {
    match code {
        40 => "InvalidConfigurationException",
        42 => "InvalidRequestException",
        _ => "another",
    }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Topic => "DYNAMIC_TOPIC_CONFIG",
        Source::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
        Source::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        Source::StaticBroker => "STATIC_BROKER_CONFIG",
        Source::Default => "DEFAULT_CONFIG",
        Source::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
        Source::Group => "DYNAMIC_GROUP_CONFIG",
    }
}

fn line(one: &Described) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonyms: Vec<_> = one
        .synonyms
        .iter()
        .map(|synonym| {
            format!(
                "{}={} {}",
                synonym.name,
                text(&synonym.value),
                source(synonym.source)
            )
        })
        .collect();
    let kind = one
        .definition
        .map_or("UNKNOWN".to_owned(), |definition| kind(definition.kind));
    [
        one.name.clone(),
        text(&one.value),
        source(one.source).to_owned(),
        if one.read_only { "ro" } else { "rw" }.to_owned(),
        if one.is_sensitive { "secret" } else { "open" }.to_owned(),
        kind,
        synonyms.join(" ; "),
    ]
    .join("\t")
}

fn kind(kind: Kind) -> String {
    kind.name().to_uppercase()
}

/// One resource as Kafka described it, and what comes out different from us.
fn compare(kind: &str, name: &str, kafka: &[String], ours: &[Described], out: &mut String) {
    let ours: BTreeMap<_, _> = ours
        .iter()
        .map(|one| (one.name.clone(), line(one)))
        .collect();
    let kafka: BTreeMap<_, _> = kafka
        .iter()
        .map(|line| {
            (
                line.split('\t').next().unwrap_or_default().to_owned(),
                line.clone(),
            )
        })
        .collect();
    for setting in kafka
        .keys()
        .chain(ours.keys().filter(|name| !kafka.contains_key(*name)))
    {
        let (theirs, mine) = (kafka.get(setting), ours.get(setting));
        if theirs != mine {
            let none = "(none)".to_owned();
            writeln!(out, "{kind} {name:?}").unwrap();
            writeln!(out, "  kafka {}", theirs.unwrap_or(&none)).unwrap();
            writeln!(out, "  ottla {}", mine.unwrap_or(&none)).unwrap();
        }
    }
}

fn differences() -> String {
    let mut cluster = Cluster::new();
    let mut out = String::new();
    let mut lines = ANSWERS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .peekable();
    while let Some(text) = lines.next() {
        let parts: Vec<&str> = text.splitn(4, '\t').collect();
        match parts[..] {
            ["ENTRY", kind, name, entry] => {
                let prefix = format!("ENTRY\t{kind}\t{name}\t");
                let mut entries = vec![entry.to_owned()];
                while let Some(entry) = lines.peek().and_then(|line| line.strip_prefix(&prefix)) {
                    entries.push(entry.to_owned());
                    lines.next();
                }
                let ours = cluster.describe(kind, name);
                compare(kind, name, &entries, &ours, &mut out);
            }
            ["ALTER", kind, name, rest] => {
                let (changes, kafka) = rest.split_once('\t').expect("an answer");
                let kafka = kafka.trim_end();
                // Whether a topic exists is not for this crate to say.
                if kafka.contains("does not exist") {
                    continue;
                }
                let ours = cluster.alter(kind, name, changes);
                if ours != kafka {
                    writeln!(out, "alter {kind} {name:?} {changes}").unwrap();
                    writeln!(out, "  kafka {kafka}\n  ottla {ours}").unwrap();
                }
            }
            ["CREATE", topic, configs, kafka] => {
                let ours = cluster.create(topic, configs);
                if ours != kafka.trim_end() {
                    writeln!(out, "create {configs}\n  kafka {kafka}\n  ottla {ours}").unwrap();
                }
            }
            _ => {}
        }
    }
    out
}

/// Codes are always Kafka's. Different on purpose: words that are an accident of the Java program
/// ("/ by zero", the order of a hash set), and our own settings, which never become dynamic.
#[test]
fn answers_are_kafkas_except_for_these() {
    expect![[r#"
        alter BROKER "0" =num.partitions=4 =default.replication.factor=2
          kafka InvalidRequestException: Cannot update these configs dynamically: [num.partitions, default.replication.factor]
          ottla InvalidRequestException: Cannot update these configs dynamically: [default.replication.factor, num.partitions]
        alter BROKER "0" =ottla.x=5
          kafka OK
          ottla InvalidRequestException: Cannot update these configs dynamically: [ottla.x]
        alter BROKER "0" =max.connections.per.ip.overrides=a:b:c
          kafka InvalidRequestException: For input string: "c"
          ottla InvalidRequestException: Invalid value a:b:c for configuration max.connections.per.ip.overrides: Each entry must be host:count
        alter BROKER "0" =log.cleaner.threads=0
          kafka InvalidRequestException: / by zero
          ottla InvalidRequestException: Invalid value 0 for configuration log.cleaner.threads: Value must be at least 1
        BROKER "0"
          kafka ottla.x	null	DYNAMIC_BROKER_CONFIG	ro	secret	UNKNOWN	ottla.x=null DYNAMIC_BROKER_CONFIG
          ottla (none)
    "#]].assert_eq(&differences());
}

//! All definitions, found by name.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use super::definition::{Definition, Scope};
use super::group::{CLIENT_METRICS, GROUP};
use super::node::NODE;
use super::node_settings::NodeSettings;
use super::ottla::OTTLA;
use super::synonyms;
use super::topic::TOPIC;
use super::topic_config::TopicValues;

/// The catalogue of settings. It is static; this type only gives it a name.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue;

impl Catalogue {
    /// The definition of exactly this name.
    pub fn find(scope: Scope, name: &str) -> Option<&'static Definition> {
        match scope {
            Scope::Node => NODE_BY_NAME
                .binary_search_by(|one| one.name.cmp(name))
                .ok()
                .map(|at| NODE_BY_NAME[at]),
            _ => Self::all(scope).find(|definition| definition.name == name),
        }
    }

    /// As `find`, and for a broker also through `listener.name.<listener>.[<mechanism>.]`.
    pub fn find_for_listener(name: &str) -> Option<&'static Definition> {
        Self::find(Scope::Node, name)
            .or_else(|| Self::find(Scope::Node, synonyms::without_listener(name)?))
    }

    /// Every definition of a scope, in the catalogue's order. `Scope::Node` ends with `ottla.*`.
    pub fn all(scope: Scope) -> impl Iterator<Item = &'static Definition> {
        Self::parts(scope).into_iter().flat_map(|(_, part)| part)
    }

    /// The same in parts, each with its heading.
    pub fn parts(scope: Scope) -> Vec<(&'static str, &'static [Definition])> {
        match scope {
            Scope::Node => NODE
                .iter()
                .copied()
                .chain([("Ottla's own", OTTLA)])
                .collect(),
            Scope::Topic => vec![("Topics", TOPIC)],
            Scope::Group => vec![("Groups", GROUP)],
            Scope::ClientMetrics => vec![("Client metrics subscriptions", CLIENT_METRICS)],
        }
    }

    /// True if code reads the typed value.
    pub fn is_honoured(scope: Scope, name: &str) -> bool {
        match scope {
            Scope::Node => HONOURED_BY_NODE.contains(name),
            Scope::Topic => honoured_by_topic().any(|honoured| honoured == name),
            Scope::Group => HONOURED_BY_GROUPS.contains(&name),
            Scope::ClientMetrics => true,
        }
    }

    /// The fields of the typed structs with the settings behind them: `(scope, field, setting)`.
    pub fn typed_fields() -> impl Iterator<Item = (Scope, &'static str, &'static str)> {
        let node = NodeSettings::fields().map(|(field, name)| (Scope::Node, field, name));
        let topic = TopicValues::FIELDS.iter();
        node.chain(topic.map(|(field, name)| (Scope::Topic, *field, *name)))
    }
}

/// What a group may set for itself, and is read.
const HONOURED_BY_GROUPS: &[&str] = &[
    "consumer.session.timeout.ms",
    "consumer.heartbeat.interval.ms",
    "consumer.assignment.interval.ms",
];

/// Settings that have a typed field which nothing reads yet, or which makes no difference (our lz4 knows one
/// level): until then they are not honoured. A test holds this list against the sources.
const UNREAD: &[&str] = &[
    "inter.broker.listener.name",
    "security.inter.broker.protocol",
    "controller.quorum.election.timeout.ms",
    "controller.quorum.fetch.timeout.ms",
    "controller.quorum.election.backoff.max.ms",
    "broker.heartbeat.interval.ms",
    "broker.session.timeout.ms",
    "unclean.leader.election.enable",
    "compression.lz4.level",
];

/// Read where settings are gathered or the start is judged, not through a typed field.
const READ_AT_START: &[&str] = &["config.providers", "authorizer.class.name"];

fn honoured_by_topic() -> impl Iterator<Item = &'static str> {
    let names = TopicValues::FIELDS.iter().map(|(_, name)| *name);
    names.filter(|name| !UNREAD.contains(name))
}

static NODE_BY_NAME: LazyLock<Vec<&'static Definition>> = LazyLock::new(|| {
    let mut all: Vec<_> = Catalogue::all(Scope::Node).collect();
    all.sort_by_key(|definition| definition.name);
    all
});

/// What typed readers read, and the broker's side of topic settings that are read.
static HONOURED_BY_NODE: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let behind_topics = honoured_by_topic().flat_map(synonyms::of_topic);
    NodeSettings::fields()
        .map(|(_, name)| name)
        .filter(|name| !UNREAD.contains(name))
        .chain(behind_topics.map(|synonym| synonym.name))
        .chain(READ_AT_START.iter().copied())
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPES: [Scope; 4] = [
        Scope::Node,
        Scope::Topic,
        Scope::Group,
        Scope::ClientMetrics,
    ];

    #[test]
    fn every_setting_is_named_once_documented_and_has_a_sound_default() {
        for scope in SCOPES {
            let mut seen = BTreeSet::new();
            for definition in Catalogue::all(scope) {
                assert!(seen.insert(definition.name), "{} twice", definition.name);
                assert!(
                    definition.doc.ends_with('.'),
                    "{} is not documented",
                    definition.name
                );
                if let Some(default) = definition.default() {
                    let printed = definition.canonical(default).expect(definition.name);
                    assert_eq!(printed, default, "{}", definition.name);
                }
            }
        }
    }

    #[test]
    fn all_of_kafka_is_there() {
        let count = |scope| Catalogue::all(scope).count();
        // Kafka 4.3.1: 340 public and 20 internal broker settings, 3 throttle rates; ours besides.
        assert_eq!(count(Scope::Node), 363 + OTTLA.len());
        assert_eq!(count(Scope::Topic), 34);
        assert_eq!(count(Scope::Group), 17);
        assert_eq!(count(Scope::ClientMetrics), 3);
    }

    #[test]
    fn readers_read_only_what_the_catalogue_knows() {
        for name in HONOURED_BY_NODE.iter() {
            assert!(Catalogue::find(Scope::Node, name).is_some(), "{name}");
        }
        for (_, name) in TopicValues::FIELDS {
            assert!(Catalogue::find(Scope::Topic, name).is_some(), "{name}");
        }
    }
}

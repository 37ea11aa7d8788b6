//! From override to dynamic to file to default.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::catalogue::Catalogue;
use super::definition::{Dynamic, Scope};
use super::node_settings::NodeSettings;
use super::ottla::OTTLA_PREFIX;
use super::synonyms;
use super::topic_config::TopicConfig;
use super::typed::Values;
use super::value::BadValue;

/// What somebody set, by name: a topic's overrides, a broker's dynamic values, a file's lines.
pub type Overrides = BTreeMap<String, String>;

/// The layers that decide a node's values. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct BrokerConfig {
    /// What file, environment and flags say, with `node.id` and `broker.id` standing in for each other.
    fixed: Arc<Overrides>,
    /// Dynamic values of the whole cluster, without those that Kafka would ignore.
    cluster: Arc<Overrides>,
    /// Dynamic values of this broker, likewise.
    own: Arc<Overrides>,
    /// The three, one over the other: own, cluster, fixed.
    merged: Arc<Overrides>,
}

impl BrokerConfig {
    /// From what file, environment and flags say, nothing dynamic yet.
    pub fn new(mut fixed: Overrides) -> Self {
        match (
            fixed.get("node.id").cloned(),
            fixed.get("broker.id").cloned(),
        ) {
            (Some(id), None) => fixed.insert("broker.id".to_owned(), id),
            (None, Some(id)) => fixed.insert("node.id".to_owned(), id),
            _ => None,
        };
        let fixed = Arc::new(fixed);
        Self {
            merged: fixed.clone(),
            fixed,
            ..Self::default()
        }
    }

    /// The same with these dynamic values: the cluster's default ones and this broker's own. Values that
    /// cannot be dynamic, or are bad, are left out, as Kafka leaves them out.
    pub fn with_dynamic(&self, mut cluster: Overrides, mut own: Overrides) -> Self {
        cluster.retain(|name, value| can_apply(name, value, false));
        own.retain(|name, value| can_apply(name, value, true));
        let mut merged = Overrides::clone(&self.fixed);
        for layer in [&cluster, &own] {
            for (name, value) in layer {
                for synonym in synonyms::same_meaning(name) {
                    merged.remove(synonym);
                }
                merged.insert(name.clone(), value.clone());
            }
        }
        Self {
            fixed: self.fixed.clone(),
            cluster: Arc::new(cluster),
            own: Arc::new(own),
            merged: Arc::new(merged),
        }
    }

    /// What file, environment and flags say.
    pub fn fixed(&self) -> &Overrides {
        &self.fixed
    }

    /// What the cluster says dynamically.
    pub fn cluster(&self) -> &Overrides {
        &self.cluster
    }

    /// What is said dynamically for this broker alone.
    pub fn own(&self) -> &Overrides {
        &self.own
    }

    /// All names that are set anywhere, with the text in force.
    pub fn merged(&self) -> &Overrides {
        &self.merged
    }

    /// The names whose text in force is another than in `before`, in their order.
    pub fn changed_since(&self, before: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.merged.keys().chain(before.merged.keys()).collect();
        names
            .into_iter()
            .filter(|name| self.merged.get(*name) != before.merged.get(*name))
            .cloned()
            .collect()
    }

    /// The value in force; `None` is null, or a name nobody set and the catalogue does not know.
    pub fn value(&self, name: &str) -> Option<String> {
        let definition = Catalogue::find_for_listener(name);
        match (self.merged.get(name), definition) {
            (Some(text), Some(definition)) => {
                Some(definition.canonical(text).unwrap_or_else(|_| text.clone()))
            }
            (Some(text), None) => Some(text.clone()),
            (None, Some(definition)) => definition.canonical_default(),
            (None, None) => None,
        }
    }

    /// Checks every known value by itself; unknown names are not looked at.
    pub fn check_values(&self) -> Result<(), BadValue> {
        for (name, text) in self.merged.iter() {
            if let Some(definition) = Catalogue::find_for_listener(name) {
                definition.canonical(text)?;
            }
        }
        Ok(())
    }

    /// Everything that a node's code reads, typed and checked against each other.
    pub fn node_settings(&self) -> Result<NodeSettings, BadValue> {
        self.check_values()?;
        let map_is_set = self.merged.contains_key("listener.security.protocol.map");
        let settings = NodeSettings::read(self, map_is_set)?;
        self.check_log_times()?;
        Ok(settings)
    }

    /// A topic's settings in force: its overrides over this broker's defaults.
    pub fn topic_config(&self, overrides: &Overrides) -> Result<TopicConfig, BadValue> {
        TopicConfig::read(&TopicLayer {
            broker: self,
            overrides,
        })
    }

    /// The text of a topic setting that this broker's settings imply; `None` where it is null.
    pub(super) fn topic_default(&self, topic_setting: &str) -> Option<String> {
        let synonyms = synonyms::of_topic(topic_setting);
        let definition = Catalogue::find(Scope::Topic, topic_setting);
        if synonyms.is_empty() {
            return definition.and_then(|definition| definition.canonical_default());
        }
        // The first name that has a value decides: what is set pushed its synonyms out when the layers
        // were merged, and the plainest unit has a default.
        let found = synonyms.iter().find_map(|synonym| {
            let set = self.merged.get(synonym.name)?;
            Some(synonym.unit.to_topic(set.clone()))
        });
        let text = found.or_else(|| {
            synonyms.iter().find_map(|synonym| {
                let default = Catalogue::find(Scope::Node, synonym.name)?.canonical_default()?;
                Some(synonym.unit.to_topic(default))
            })
        })?;
        let is_forever = topic_setting == "retention.ms" && text.trim().starts_with('-');
        Some(if is_forever {
            "-1".to_owned()
        } else {
            text.trim().to_owned()
        })
    }

    fn check_log_times(&self) -> Result<(), BadValue> {
        let rules = [
            (
                "segment.ms",
                "log.roll.ms",
                "must be greater than or equal to 1",
            ),
            (
                "segment.jitter.ms",
                "log.roll.jitter.ms",
                "must be greater than or equal to 0",
            ),
            (
                "retention.ms",
                "log.retention.ms",
                "must be unlimited (-1) or, greater than or equal to 1",
            ),
        ];
        for (of_topic, name, rule) in rules {
            let text = self.topic_default(of_topic);
            let number = text.as_deref().and_then(|text| text.parse::<i64>().ok());
            let is_wrong = number.is_some_and(|ms| match of_topic {
                "segment.ms" => ms < 1,
                "segment.jitter.ms" => ms < 0,
                _ => ms == 0 || ms < -1,
            });
            if is_wrong {
                let words = format!("requirement failed: {name} {rule}");
                return Err(BadValue::sentence(name, text.as_deref(), words));
            }
        }
        Ok(())
    }
}

impl Values for BrokerConfig {
    fn value(&self, name: &'static str) -> Option<String> {
        Self::value(self, name)
    }
}

/// A topic's overrides over a broker.
struct TopicLayer<'a> {
    broker: &'a BrokerConfig,
    overrides: &'a Overrides,
}

impl Values for TopicLayer<'_> {
    fn value(&self, name: &'static str) -> Option<String> {
        let definition = Catalogue::find(Scope::Topic, name)?;
        match self.overrides.get(name) {
            Some(text) => Some(definition.canonical(text).unwrap_or_else(|_| text.clone())),
            None => self.broker.topic_default(name),
        }
    }
}

/// Whether a stored dynamic value has any effect.
fn can_apply(name: &str, value: &str, per_broker: bool) -> bool {
    let may_be_dynamic = match Catalogue::find(Scope::Node, name) {
        _ if is_bare_security(name) || name.starts_with(OTTLA_PREFIX) => false,
        Some(definition) => match definition.dynamic {
            Dynamic::ReadOnly => false,
            Dynamic::PerBroker => per_broker,
            Dynamic::ClusterWide => true,
        },
        None => per_broker || !synonyms::is_of_one_broker(name),
    };
    let is_sound = Catalogue::find_for_listener(name)
        .is_none_or(|definition| definition.canonical(value).is_ok());
    may_be_dynamic && is_sound
}

/// Key and trust stores change while the node runs only with a listener's prefix.
pub(super) fn is_bare_security(name: &str) -> bool {
    const RELOADED: [&str; 10] = [
        "ssl.keystore.type",
        "ssl.keystore.location",
        "ssl.keystore.password",
        "ssl.key.password",
        "ssl.keystore.key",
        "ssl.keystore.certificate.chain",
        "ssl.truststore.type",
        "ssl.truststore.location",
        "ssl.truststore.password",
        "ssl.truststore.certificates",
    ];
    RELOADED.contains(&name)
}

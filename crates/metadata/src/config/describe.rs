//! DescribeConfigs: every value with the reason shown, as Kafka's ConfigHelper answers it.

use std::collections::{BTreeSet, HashSet};

use super::catalogue::Catalogue;
use super::definition::{Definition, Dynamic, Scope, Shown};
use super::ottla::OTTLA_PREFIX;
use super::resolve::{BrokerConfig, Overrides};
use super::synonyms;

/// Where a value comes from; the numbers are DescribeConfigs'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    ClientMetrics = 7,
    Group = 8,
}

/// One entry of a DescribeConfigs answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    pub name: String,
    /// `None` where the value is null or a secret.
    pub value: Option<String>,
    pub read_only: bool,
    pub source: Source,
    pub is_sensitive: bool,
    /// Highest precedence first.
    pub synonyms: Vec<Synonym>,
    /// `None` for a name that the catalogue does not know.
    pub definition: Option<&'static Definition>,
}

impl Described {
    /// The number of the type in the answer; 0 is unknown.
    pub fn kind_code(&self) -> i8 {
        self.definition
            .map_or(0, |definition| definition.kind.code())
    }

    pub fn documentation(&self) -> Option<&'static str> {
        self.definition.map(|definition| definition.doc)
    }

    fn new(name: &str, definition: Option<&'static Definition>) -> Self {
        Self {
            name: name.to_owned(),
            value: None,
            read_only: false,
            source: Source::Default,
            // What we cannot judge may be a secret.
            is_sensitive: definition.is_none_or(Definition::is_sensitive),
            synonyms: Vec::new(),
            definition,
        }
    }

    /// Hides secrets and takes the source from the strongest synonym.
    fn finish(mut self) -> Self {
        if self.is_sensitive {
            self.value = None;
            for synonym in &mut self.synonyms {
                synonym.value = None;
            }
        }
        self.source = self
            .synonyms
            .first()
            .map_or(Source::Default, |synonym| synonym.source);
        self
    }
}

/// Another name or place that gives the same setting a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
}

impl Synonym {
    fn new(name: &str, value: String, source: Source) -> Self {
        Self {
            name: name.to_owned(),
            value: Some(value),
            source,
        }
    }
}

impl BrokerConfig {
    /// DescribeConfigs of this broker. `only`: the names asked for, `None` for all.
    pub fn describe_broker(&self, only: Option<&[&str]>) -> Vec<Described> {
        let set = self.merged().keys().map(String::as_str);
        names(Scope::Node, set, only)
            .into_iter()
            .map(|name| self.describe_broker_one(name))
            .collect()
    }

    fn describe_broker_one(&self, name: &str) -> Described {
        let mut described = Described::new(name, Catalogue::find_for_listener(name));
        described.value = self.value(name);
        described.read_only = is_read_only(name);
        described.synonyms = self.broker_synonyms(name);
        described.finish()
    }

    /// DescribeConfigs of the cluster default (empty resource name): only what is set there.
    pub fn describe_cluster_default(&self, only: Option<&[&str]>) -> Vec<Described> {
        let asked = asked(only);
        let is_asked = |name: &str| asked.as_ref().is_none_or(|asked| asked.contains(name));
        let entries = self.cluster().iter().filter(|(name, _)| is_asked(name));
        let describe = |(name, text): (&String, &String)| {
            let mut described = Described::new(name, Catalogue::find_for_listener(name));
            described.value = Some(text.clone());
            described.read_only = is_read_only(name);
            described.synonyms = self.broker_synonyms(name);
            described
                .synonyms
                .retain(|one| one.source == Source::DynamicDefaultBroker);
            described.finish()
        };
        entries.map(describe).collect()
    }

    /// DescribeConfigs of a topic with these overrides.
    pub fn describe_topic(&self, overrides: &Overrides, only: Option<&[&str]>) -> Vec<Described> {
        let set = overrides.keys().map(String::as_str);
        let describe = |name: &str| {
            let definition = Catalogue::find(Scope::Topic, name);
            let own = overrides.get(name).map(|text| canonical(definition, text));
            let mut described = Described::new(name, definition);
            described.value = own.clone().or_else(|| self.topic_default(name));
            let strongest = synonyms::of_topic(name).first();
            described.synonyms = own
                .map(|value| Synonym::new(name, value, Source::Topic))
                .into_iter()
                .chain(
                    strongest
                        .into_iter()
                        .flat_map(|one| self.broker_synonyms(one.name)),
                )
                .collect();
            described.finish()
        };
        names(Scope::Topic, set, only)
            .into_iter()
            .map(describe)
            .collect()
    }

    /// DescribeConfigs of a group with these overrides.
    pub fn describe_group(&self, overrides: &Overrides, only: Option<&[&str]>) -> Vec<Described> {
        let set = overrides.keys().map(String::as_str);
        let describe = |name: &str| {
            let definition = Catalogue::find(Scope::Group, name);
            let own = overrides.get(name).map(|text| canonical(definition, text));
            let mut described = Described::new(name, definition);
            described.value = own.clone().or_else(|| self.group_default(name));
            let behind = match (synonyms::of_group(name), definition) {
                (Some(broker_name), Some(_)) => self.broker_synonyms(&broker_name),
                (None, Some(definition)) => default_synonym(definition).into_iter().collect(),
                (_, None) => Vec::new(),
            };
            let own = own.map(|value| Synonym::new(name, value, Source::Group));
            described.synonyms = own.into_iter().chain(behind).collect();
            described.finish()
        };
        names(Scope::Group, set, only)
            .into_iter()
            .map(describe)
            .collect()
    }

    /// What a group has that sets nothing.
    pub(super) fn group_default(&self, name: &str) -> Option<String> {
        match synonyms::of_group(name) {
            Some(broker_name) => self.value(&broker_name),
            None => Catalogue::find(Scope::Group, name)?.canonical_default(),
        }
    }

    /// DescribeConfigs of a client metrics subscription.
    pub fn describe_client_metrics(
        &self,
        overrides: &Overrides,
        only: Option<&[&str]>,
    ) -> Vec<Described> {
        let set = overrides.keys().map(String::as_str);
        let describe = |name: &str| {
            let definition = Catalogue::find(Scope::ClientMetrics, name);
            let own = overrides.get(name).map(|text| canonical(definition, text));
            let mut described = Described::new(name, definition);
            described.value = own
                .clone()
                .or_else(|| definition.and_then(Definition::canonical_default));
            let own = own.map(|value| Synonym::new(name, value, Source::ClientMetrics));
            described.synonyms = own.into_iter().collect();
            described.finish()
        };
        names(Scope::ClientMetrics, set, only)
            .into_iter()
            .map(describe)
            .collect()
    }

    /// Everything that could give a broker setting its value, the strongest first, as it was written.
    fn broker_synonyms(&self, name: &str) -> Vec<Synonym> {
        let names = synonyms::of_broker(name);
        let layers = [
            (self.own(), Source::DynamicBroker),
            (self.cluster(), Source::DynamicDefaultBroker),
            (self.fixed(), Source::StaticBroker),
        ];
        let set = layers.into_iter().flat_map(|(layer, source)| {
            let in_layer = names.iter().filter_map(move |name| {
                layer
                    .get(*name)
                    .map(|text| Synonym::new(name, text.clone(), source))
            });
            in_layer.collect::<Vec<_>>()
        });
        let defaults = names
            .iter()
            // Our own settings stay out of sight until they are set, defaults included.
            .filter(|name| !name.starts_with(OTTLA_PREFIX))
            .filter_map(|name| default_synonym(Catalogue::find(Scope::Node, name)?));
        // Kafka shows nothing that stands before the setting's own name: a listener's own value says
        // nothing about the common one.
        set.chain(defaults)
            .skip_while(|synonym| synonym.name != name)
            .collect()
    }
}

fn default_synonym(definition: &'static Definition) -> Option<Synonym> {
    let value = definition.canonical_default()?;
    Some(Synonym::new(definition.name, value, Source::Default))
}

fn canonical(definition: Option<&Definition>, text: &str) -> String {
    let printed = definition.and_then(|definition| definition.canonical(text).ok());
    printed.unwrap_or_else(|| text.to_owned())
}

/// Only the bare name counts: Kafka says read-only of a listener's own settings.
fn is_read_only(name: &str) -> bool {
    Catalogue::find(Scope::Node, name)
        .is_none_or(|definition| definition.dynamic == Dynamic::ReadOnly)
}

/// The catalogue's names and whatever else is set, in that order, as far as they are asked for.
fn names<'a>(
    scope: Scope,
    set: impl Iterator<Item = &'a str>,
    only: Option<&[&str]>,
) -> Vec<&'a str> {
    let listed: Vec<&'static str> = Catalogue::all(scope)
        .filter(|definition| definition.shown == Shown::Always)
        .map(|definition| definition.name)
        .collect();
    let known: BTreeSet<&str> = listed.iter().copied().collect();
    let besides = set.filter(|name| !known.contains(name));
    let all = listed.iter().copied().chain(besides);
    let asked = asked(only);
    all.filter(|name| asked.as_ref().is_none_or(|asked| asked.contains(name)))
        .collect()
}

fn asked<'a>(only: Option<&[&'a str]>) -> Option<HashSet<&'a str>> {
    only.map(|only| only.iter().copied().collect())
}

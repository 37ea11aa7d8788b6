//! From override to dynamic to file to default, with the reason shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::definition::Definition;
use super::node_settings::NodeSettings;
use super::topic_config::TopicConfig;
use super::value::BadValue;

/// What somebody set, by name: a topic's overrides, a broker's dynamic values, a file's lines.
pub type Overrides = BTreeMap<String, String>;

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
}

/// Another name or place that gives the same setting a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
}

/// The layers that decide a node's values. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct BrokerConfig {
    fixed: Arc<Overrides>,
    cluster: Arc<Overrides>,
    own: Arc<Overrides>,
}

impl BrokerConfig {
    /// From what file, environment and flags say, nothing dynamic yet.
    pub fn new(fixed: Overrides) -> Self {
        Self {
            fixed: Arc::new(fixed),
            ..Self::default()
        }
    }

    /// The same with these dynamic values: the cluster's default ones and this broker's own.
    pub fn with_dynamic(&self, cluster: Overrides, own: Overrides) -> Self {
        Self {
            fixed: self.fixed.clone(),
            cluster: Arc::new(cluster),
            own: Arc::new(own),
        }
    }

    /// The value in force; `None` is null, or a name nobody set and the catalogue does not know.
    pub fn value(&self, name: &str) -> Option<String> {
        let _ = (name, &self.cluster, &self.own);
        todo!()
    }

    /// Everything that a node's code reads, typed and checked against each other.
    pub fn node_settings(&self) -> Result<NodeSettings, BadValue> {
        todo!()
    }

    /// A topic's settings in force: its overrides over this broker's defaults.
    pub fn topic_config(&self, overrides: &Overrides) -> Result<TopicConfig, BadValue> {
        let _ = overrides;
        todo!()
    }

    /// DescribeConfigs of this broker. `only`: the names asked for, `None` for all.
    pub fn describe_broker(&self, only: Option<&[&str]>) -> Vec<Described> {
        let _ = only;
        todo!()
    }

    /// DescribeConfigs of the cluster default (empty resource name).
    pub fn describe_cluster_default(&self, only: Option<&[&str]>) -> Vec<Described> {
        let _ = only;
        todo!()
    }

    /// DescribeConfigs of a topic with these overrides.
    pub fn describe_topic(&self, overrides: &Overrides, only: Option<&[&str]>) -> Vec<Described> {
        let _ = (overrides, only);
        todo!()
    }

    /// DescribeConfigs of a group with these overrides.
    pub fn describe_group(&self, overrides: &Overrides, only: Option<&[&str]>) -> Vec<Described> {
        let _ = (overrides, only);
        todo!()
    }

    /// DescribeConfigs of a client metrics subscription.
    pub fn describe_client_metrics(
        &self,
        overrides: &Overrides,
        only: Option<&[&str]>,
    ) -> Vec<Described> {
        let _ = (overrides, only);
        todo!()
    }
}

//! Configurations of topics, brokers, loggers, groups and metric subscriptions: what holds, where it
//! comes from, and how it is changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResult, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource,
    IncrementalAlterableConfig, ListConfigResourcesRequest,
};
use ottla_protocol::{NodeId, Text};

use super::lacks;
use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::pool::Lane;

/// ListConfigResources tells of other kinds than metric subscriptions from this version on.
const KINDS_FROM: i16 = 1;

/// What has configurations of its own, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    Topic = DescribeConfigsRequest::TOPIC as isize,
    Broker = DescribeConfigsRequest::BROKER as isize,
    BrokerLogger = DescribeConfigsRequest::BROKER_LOGGER as isize,
    ClientMetrics = DescribeConfigsRequest::CLIENT_METRICS as isize,
    Group = DescribeConfigsRequest::GROUP as isize,
}

impl ConfigKind {
    fn number(self) -> i8 {
        self as i8
    }
}

/// The topic, broker, group or subscription. Of brokers, an empty name means the default of all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigResource {
    pub kind: ConfigKind,
    pub name: String,
}

impl ConfigResource {
    pub fn new(kind: ConfigKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }

    /// Only the broker itself knows its own settings and loggers.
    fn node(&self) -> Option<NodeId> {
        match self.kind {
            ConfigKind::Broker | ConfigKind::BrokerLogger => self.name.parse().ok(),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_sensitive: bool,
    pub is_read_only: bool,
    /// What would hold without the one before it; the first is what holds.
    pub synonyms: Vec<ConfigSynonym>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// Where a value comes from, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigSource(pub i8);

impl ConfigSource {
    pub const DYNAMIC_TOPIC: Self = Self(1);
    pub const DYNAMIC_BROKER: Self = Self(2);
    pub const DYNAMIC_DEFAULT_BROKER: Self = Self(3);
    pub const STATIC_BROKER: Self = Self(4);
    pub const DEFAULT: Self = Self(5);
    pub const DYNAMIC_BROKER_LOGGER: Self = Self(6);
    pub const CLIENT_METRICS: Self = Self(7);
    pub const GROUP: Self = Self(8);

    /// As Kafka's tools print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DYNAMIC_TOPIC => "DYNAMIC_TOPIC_CONFIG",
            Self::DYNAMIC_BROKER => "DYNAMIC_BROKER_CONFIG",
            Self::DYNAMIC_DEFAULT_BROKER => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::STATIC_BROKER => "STATIC_BROKER_CONFIG",
            Self::DEFAULT => "DEFAULT_CONFIG",
            Self::DYNAMIC_BROKER_LOGGER => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::CLIENT_METRICS => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::GROUP => "DYNAMIC_GROUP_CONFIG",
            _ => "UNKNOWN",
        }
    }
}

/// A change of one configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigChange {
    Set(String),
    Delete,
}

impl Cluster {
    /// What holds for these topics, by topic and in the broker's order.
    pub async fn topic_configs(
        &self,
        topics: &[Arc<str>],
    ) -> Result<BTreeMap<Arc<str>, Vec<ConfigEntry>>, ClientError> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let resources = topics
            .iter()
            .map(|topic| ask_for(DescribeConfigsRequest::TOPIC, topic));
        let request = DescribeConfigsRequest {
            resources: resources.collect(),
            ..DescribeConfigsRequest::default()
        };
        let answer = self.ask_any(&request).await?;
        let mut all = BTreeMap::new();
        for result in answer.results {
            let name = Arc::from(&*result.resource_name);
            all.insert(name, entries(result)?);
        }
        Ok(all)
    }

    /// What holds for a resource, in the broker's order.
    pub async fn describe_configs(
        &self,
        resource: &ConfigResource,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let request = DescribeConfigsRequest {
            resources: vec![ask_for(resource.kind.number(), &resource.name)],
            include_synonyms: true,
            ..DescribeConfigsRequest::default()
        };
        let answer = self.ask_that_or_any(resource.node(), &request).await?;
        let result = answer.results.into_iter().next();
        entries(result.ok_or_else(|| lacks("DescribeConfigs"))?)
    }

    /// Change some configurations of each resource and leave the others; all are answered.
    pub async fn alter_configs(
        &self,
        changes: &BTreeMap<ConfigResource, Vec<(String, ConfigChange)>>,
    ) -> Result<(), ClientError> {
        let mut by_node: BTreeMap<Option<NodeId>, Vec<IncrementalAlterConfigsResource>> =
            BTreeMap::new();
        for (resource, changes) in changes {
            let written = IncrementalAlterConfigsResource {
                resource_type: resource.kind.number(),
                resource_name: Text::from(resource.name.as_str()),
                configs: changes.iter().map(written).collect(),
            };
            by_node.entry(resource.node()).or_default().push(written);
        }
        for (node, resources) in by_node {
            let request = IncrementalAlterConfigsRequest {
                resources,
                validate_only: false,
            };
            let answer = match node {
                Some(_) => self.ask_that_or_any(node, &request).await?,
                None => self.ask_controller(&request).await?,
            };
            for result in answer.responses {
                let what = format!(
                    "the configuration of {} was not changed",
                    result.resource_name
                );
                ClientError::from_code(&what, result.error_code, result.error_message.as_deref())?;
            }
        }
        Ok(())
    }

    /// The resources of one kind that have configurations of their own.
    pub async fn config_resources(&self, kind: ConfigKind) -> Result<Vec<String>, ClientError> {
        let connection = self.any(Lane::Calls).await?;
        let version = connection
            .versions()
            .newest::<ListConfigResourcesRequest>(i16::MAX)?;
        if version < KINDS_FROM && kind != ConfigKind::ClientMetrics {
            return Err(ClientError::Unserved {
                api: "ListConfigResources",
                why: format!("version {KINDS_FROM} is needed, {version} is served"),
            });
        }
        let has_kinds = version >= KINDS_FROM;
        let request = ListConfigResourcesRequest {
            resource_types: has_kinds.then(|| kind.number()).into_iter().collect(),
        };
        let answer = connection.ask(&request, self.patience()).await?;
        ClientError::from_code("configurations were not listed", answer.error_code, None)?;
        let found = answer.config_resources.into_iter();
        let found = found.filter(|found| found.resource_type == kind.number());
        Ok(found.map(|found| found.resource_name.to_string()).collect())
    }
}

fn ask_for(resource_type: i8, name: &str) -> DescribeConfigsResource {
    DescribeConfigsResource {
        resource_type,
        resource_name: Text::from(name),
        configuration_keys: None,
    }
}

fn entries(result: DescribeConfigsResult) -> Result<Vec<ConfigEntry>, ClientError> {
    let what = format!(
        "the configuration of {} was not given",
        result.resource_name
    );
    ClientError::from_code(&what, result.error_code, result.error_message.as_deref())?;
    Ok(result.configs.into_iter().map(entry).collect())
}

fn entry(config: DescribeConfigsResourceResult) -> ConfigEntry {
    let text = |text: Text| text.to_string();
    let synonyms = config.synonyms.into_iter();
    ConfigEntry {
        name: config.name.to_string(),
        value: config.value.map(text),
        source: ConfigSource(config.config_source),
        is_sensitive: config.is_sensitive,
        is_read_only: config.read_only,
        synonyms: synonyms
            .map(|synonym| ConfigSynonym {
                name: synonym.name.to_string(),
                value: synonym.value.map(text),
                source: ConfigSource(synonym.source),
            })
            .collect(),
    }
}

fn written((name, change): &(String, ConfigChange)) -> IncrementalAlterableConfig {
    let (config_operation, value) = match change {
        ConfigChange::Set(value) => (IncrementalAlterConfigsRequest::SET, value.as_str()),
        ConfigChange::Delete => (IncrementalAlterConfigsRequest::DELETE, ""),
    };
    IncrementalAlterableConfig {
        name: Text::from(name.as_str()),
        config_operation,
        value: Some(Text::from(value)),
    }
}

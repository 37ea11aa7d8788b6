//! Configurations: what holds for a topic, and where it comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::Text;
use ottla_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResource};

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::pool::Lane;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// Where a value comes from, by Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigSource(pub i8);

impl ConfigSource {
    pub const DEFAULT: Self = Self(5);
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
        let resources = topics.iter().map(|topic| DescribeConfigsResource {
            resource_type: DescribeConfigsRequest::TOPIC,
            resource_name: Text::from(&**topic),
            configuration_keys: None,
        });
        let request = DescribeConfigsRequest {
            resources: resources.collect(),
            ..DescribeConfigsRequest::default()
        };
        let connection = self.any(Lane::Calls).await?;
        let answer = connection.ask(&request, self.patience()).await?;
        let mut all = BTreeMap::new();
        for result in answer.results {
            let what = format!(
                "the configuration of {} was not given",
                result.resource_name
            );
            ClientError::from_code(&what, result.error_code, result.error_message.as_deref())?;
            let entries = result.configs.into_iter().map(|config| ConfigEntry {
                name: config.name.to_string(),
                value: config.value.map(|value| value.to_string()),
                source: ConfigSource(config.config_source),
            });
            all.insert(Arc::from(&*result.resource_name), entries.collect());
        }
        Ok(all)
    }
}

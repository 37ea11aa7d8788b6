//! DescribeConfigs (key 32, versions 1-4): the settings of topics, brokers, loggers, groups and
//! metric subscriptions, and where each value comes from.
//! v3 type and documentation · v4 flexible.
//! What is in force and why is said by the catalogue (`metadata/config`); here it is written down.

use ottla_metadata::config::{BrokerConfig, Described, Synonym};
use ottla_metadata::controller::check_topic_name;
use ottla_metadata::image::{Image, Resource, ResourceKind};
use ottla_node::Services;
use ottla_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use ottla_protocol::{Refusal, Refused, Text};

use super::loggers;
use crate::api::{Room, count_errors};
use crate::session::Call;

/// The source that only loggers have.
const FROM_LOGGER: i8 = 6;

/// What one request wants to see of every setting.
#[derive(Clone, Copy)]
struct Wanted {
    synonyms: bool,
    documentation: bool,
}

/// Whose settings these are, and the names that are asked for.
struct Describer<'a> {
    config: &'a BrokerConfig,
    image: &'a Image,
    node_id: i32,
    wanted: Wanted,
}

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let (config, image) = (services.config(), services.image());
    let wanted = Wanted {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let node_id = services.node_id();
    let describer = Describer {
        config: &config,
        image: &image,
        node_id,
        wanted,
    };
    let judged = check_kinds(&request.resources);
    let (mut results, mut bound) = (Vec::new(), Bound::default());
    for resource in &request.resources {
        results.push(match &judged {
            // One kind that nobody knows spoils the whole request, as in Kafka.
            Err(refused) => bound.refusal(resource, refused),
            Ok(()) => bound.result(resource, &describer),
        });
        // Others are served in between: what is asked here for a few bytes takes long.
        tokio::task::yield_now().await;
    }
    let response = DescribeConfigsResponse {
        results,
        ..Default::default()
    };
    count_errors(
        services,
        call,
        response.results.iter().map(|result| result.error_code),
    );
    response
}

/// What one answer may take, however many resources are named and however often.
struct Bound {
    described: Room,
    words: Room,
}

impl Default for Bound {
    fn default() -> Self {
        const DESCRIBED_BYTES_MAX: usize = 160 << 20;
        const WORDS_BYTES_MAX: usize = 1 << 20;
        Self {
            described: Room::of(DESCRIBED_BYTES_MAX),
            words: Room::of(WORDS_BYTES_MAX),
        }
    }
}

impl Bound {
    fn result(
        &mut self,
        resource: &DescribeConfigsResource,
        describer: &Describer<'_>,
    ) -> DescribeConfigsResult {
        if self.described.is_used_up() {
            let words = "The answer would be too large: describe fewer resources at a time.";
            return self.refusal(resource, &Refused::new(Refusal::PolicyViolation, words));
        }
        let result = describer.result(resource);
        self.described.take(weight(&result));
        result
    }

    fn refusal(
        &mut self,
        resource: &DescribeConfigsResource,
        refused: &Refused,
    ) -> DescribeConfigsResult {
        let words = (!self.words.is_used_up()).then(|| refused.words().into());
        let words = words.and_then(|words| self.words.words(&words));
        refusal(resource, refused, words)
    }
}

/// What is kept of it until it is written.
fn weight(result: &DescribeConfigsResult) -> usize {
    let text = |text: &Option<Text>| text.as_ref().map_or(0, |text| text.len());
    let synonym =
        |one: &DescribeConfigsSynonym| size_of_val(one) + one.name.len() + text(&one.value);
    let config = |one: &DescribeConfigsResourceResult| {
        let synonyms: usize = one.synonyms.iter().map(synonym).sum();
        size_of_val(one) + one.name.len() + text(&one.value) + synonyms
    };
    let configs: usize = result.configs.iter().map(config).sum();
    size_of_val(result) + text(&result.error_message) + configs
}

fn check_kinds(resources: &[DescribeConfigsResource]) -> Result<(), Refused> {
    let known = [
        DescribeConfigsRequest::TOPIC,
        DescribeConfigsRequest::BROKER,
        DescribeConfigsRequest::BROKER_LOGGER,
        DescribeConfigsRequest::CLIENT_METRICS,
        DescribeConfigsRequest::GROUP,
    ];
    match resources
        .iter()
        .find(|resource| !known.contains(&resource.resource_type))
    {
        None => Ok(()),
        Some(resource) => Err(invalid(format!(
            "Unexpected resource type {} for resource {}",
            resource.resource_type, resource.resource_name
        ))),
    }
}

impl Describer<'_> {
    fn result(&self, resource: &DescribeConfigsResource) -> DescribeConfigsResult {
        match self.configs(resource) {
            Ok(configs) => DescribeConfigsResult {
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                configs,
                ..Default::default()
            },
            Err(refused) => refusal(resource, &refused, Some(refused.words().into())),
        }
    }

    fn configs(
        &self,
        resource: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
        let asked = resource.configuration_keys.as_ref();
        let asked: Option<Vec<&str>> = asked
            .filter(|keys| !keys.is_empty())
            .map(|keys| keys.iter().map(|key| &**key).collect());
        let (name, only) = (&*resource.resource_name, asked.as_deref());
        let described = match resource.resource_type {
            DescribeConfigsRequest::TOPIC => self.topic(name, only)?,
            DescribeConfigsRequest::BROKER => self.broker(name, only)?,
            DescribeConfigsRequest::BROKER_LOGGER => return self.loggers(name, only),
            DescribeConfigsRequest::CLIENT_METRICS if name.is_empty() => {
                return Err(invalid(
                    "Client metrics subscription name must not be empty",
                ));
            }
            DescribeConfigsRequest::CLIENT_METRICS => {
                let overrides = self.overrides(ResourceKind::ClientMetrics, name);
                self.config.describe_client_metrics(&overrides, only)
            }
            _ if name.is_empty() => return Err(invalid("Group name must not be empty")),
            _ => {
                let overrides = self.overrides(ResourceKind::Group, name);
                self.config.describe_group(&overrides, only)
            }
        };
        Ok(described
            .into_iter()
            .map(|described| self.wanted.write(described))
            .collect())
    }

    fn overrides(&self, kind: ResourceKind, name: &str) -> ottla_metadata::config::Overrides {
        self.image.configs.overrides(&Resource::new(kind, name))
    }

    fn topic(&self, name: &str, only: Option<&[&str]>) -> Result<Vec<Described>, Refused> {
        check_topic_name(name)?;
        if self.image.topics.find(name).is_none() {
            // Kafka finds no words for this one.
            return Err(Refused::new(Refusal::UnknownTopicOrPartition, ""));
        }
        let overrides = self.overrides(ResourceKind::Topic, name);
        Ok(self.config.describe_topic(&overrides, only))
    }

    fn broker(&self, name: &str, only: Option<&[&str]>) -> Result<Vec<Described>, Refused> {
        if name.is_empty() {
            return Ok(self.config.describe_cluster_default(only));
        }
        let node_id = self.node_id;
        match broker_id(name)? {
            id if id == node_id => Ok(self.config.describe_broker(only)),
            _ => Err(invalid(format!(
                "Unexpected broker id, expected {node_id} or empty string, but received {name}"
            ))),
        }
    }

    fn loggers(
        &self,
        name: &str,
        only: Option<&[&str]>,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
        if name.is_empty() {
            return Err(invalid("Broker id must not be empty"));
        }
        let node_id = self.node_id;
        if broker_id(name)? != node_id {
            return Err(invalid(format!(
                "Unexpected broker id, expected {node_id} but received {name}"
            )));
        }
        let asked = |(logger, _): &(&str, &str)| only.is_none_or(|only| only.contains(logger));
        let levels = loggers::levels().into_iter().filter(asked);
        let result =
            |(logger, level): (&'static str, &'static str)| DescribeConfigsResourceResult {
                name: Text::from_static(logger),
                value: Some(Text::from_static(level)),
                config_source: FROM_LOGGER,
                ..Default::default()
            };
        Ok(levels.map(result).collect())
    }
}

impl Wanted {
    fn write(self, described: Described) -> DescribeConfigsResourceResult {
        let documentation = described.documentation().filter(|_| self.documentation);
        let config_type = described.kind_code();
        let synonyms = match self.synonyms {
            true => described.synonyms.into_iter().map(synonym).collect(),
            false => Vec::new(),
        };
        DescribeConfigsResourceResult {
            name: described.name.into(),
            value: described.value.map(Into::into),
            read_only: described.read_only,
            config_source: described.source as i8,
            is_sensitive: described.is_sensitive,
            synonyms,
            config_type,
            documentation: documentation.map(Text::from_static),
        }
    }
}

fn synonym(synonym: Synonym) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: synonym.name.into(),
        value: synonym.value.map(Into::into),
        source: synonym.source as i8,
    }
}

fn broker_id(name: &str) -> Result<i32, Refused> {
    name.parse()
        .map_err(|_| invalid(format!("Broker id must be an integer, but it is: {name}")))
}

fn invalid(why: impl Into<String>) -> Refused {
    Refused::new(Refusal::InvalidRequest, why)
}

fn refusal(
    resource: &DescribeConfigsResource,
    refused: &Refused,
    error_message: Option<Text>,
) -> DescribeConfigsResult {
    DescribeConfigsResult {
        error_code: refused.code(),
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use ottla_metadata::config::Overrides;

    use super::*;

    fn describe(
        kind: i8,
        name: &'static str,
        keys: &[&'static str],
        all: bool,
    ) -> DescribeConfigsResult {
        let fixed = Overrides::from([
            ("node.id".to_owned(), "1".to_owned()),
            ("log.retention.hours".to_owned(), "1".to_owned()),
            ("ottla.auto.format".to_owned(), "false".to_owned()),
        ]);
        let (config, image) = (BrokerConfig::new(fixed), Image::default());
        let wanted = Wanted {
            synonyms: all,
            documentation: all,
        };
        let describer = Describer {
            config: &config,
            image: &image,
            node_id: 1,
            wanted,
        };
        let keys = keys.iter().map(|key| Text::from_static(key)).collect();
        describer.result(&DescribeConfigsResource {
            resource_type: kind,
            resource_name: Text::from_static(name),
            configuration_keys: Some(keys),
        })
    }

    fn why(kind: i8, name: &'static str) -> String {
        let result = describe(kind, name, &[], false);
        format!(
            "{} {}",
            result.error_code,
            result.error_message.unwrap_or_default()
        )
    }

    #[test]
    fn an_answer_has_an_end_however_often_a_resource_is_named() {
        let (config, image) = (BrokerConfig::new(Overrides::default()), Image::default());
        let wanted = Wanted {
            synonyms: true,
            documentation: true,
        };
        let describer = Describer {
            config: &config,
            image: &image,
            node_id: 1,
            wanted,
        };
        let resource = DescribeConfigsResource {
            resource_type: DescribeConfigsRequest::GROUP,
            resource_name: Text::from_static("g"),
            configuration_keys: None,
        };
        let whole = describer.result(&resource);
        let n_bytes = weight(&whole);
        let mut bound = Bound {
            described: Room::of(n_bytes + 1),
            words: Room::of(1),
        };
        let told = [0; 4].map(|_| bound.result(&resource, &describer));
        assert_eq!(told[..2], [whole.clone(), whole]);
        let refused = told[2..].iter();
        let refused = refused.map(|one| (one.error_code, one.error_message.is_some()));
        assert_eq!(refused.collect::<Vec<_>>(), [(44, true), (44, false)]);
    }

    #[test]
    fn resources_that_are_not_there_are_refused_in_kafkas_words() {
        assert_eq!(why(2, "a"), "3 ");
        assert!(why(2, "a b").starts_with("17 "));
        assert_eq!(why(4, "x"), "42 Broker id must be an integer, but it is: x");
        assert_eq!(
            why(4, "2"),
            "42 Unexpected broker id, expected 1 or empty string, but received 2"
        );
        assert_eq!(why(8, ""), "42 Broker id must not be empty");
        assert_eq!(
            why(16, ""),
            "42 Client metrics subscription name must not be empty"
        );
        assert_eq!(why(32, ""), "42 Group name must not be empty");
        assert_eq!(why(4, ""), "0 ");
    }

    #[test]
    fn what_is_asked_for_is_shown_and_nothing_else() {
        let plain = describe(4, "1", &["log.retention.hours"], false);
        let [setting] = &plain.configs[..] else {
            panic!("one setting: {:?}", plain.configs)
        };
        assert_eq!(setting.value.as_deref(), Some("1"));
        assert_eq!((setting.config_source, setting.synonyms.len()), (4, 0));
        assert_eq!(
            (setting.config_type, setting.documentation.as_deref()),
            (3, None)
        );
        let full = describe(4, "1", &["log.retention.hours"], true);
        assert_eq!(full.configs[0].synonyms.len(), 2);
        assert!(full.configs[0].documentation.is_some());
    }

    #[test]
    fn our_own_settings_show_once_they_are_set() {
        let all = describe(4, "1", &[], false);
        let ours = all
            .configs
            .iter()
            .filter(|setting| setting.name.starts_with("ottla."));
        let ours: Vec<&str> = ours.map(|setting| &*setting.name).collect();
        assert_eq!(ours, ["ottla.auto.format"]);
    }

    #[test]
    fn loggers_are_our_targets() {
        let loggers = describe(8, "1", &["root", "kafka.server.KafkaApis"], true);
        let [root] = &loggers.configs[..] else {
            panic!("root alone: {:?}", loggers.configs)
        };
        assert_eq!((&*root.name, root.config_source), ("root", FROM_LOGGER));
    }
}

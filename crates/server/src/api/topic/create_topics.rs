//! CreateTopics (key 19, versions 2-7): make topics.
//! v4 -1 takes the default · v5 flexible, size and settings of what was made · v6 quotas refuse ·
//! v7 topic ids.

use ottla_metadata::config::{BrokerConfig, Described, Overrides};
use ottla_metadata::controller::{CreatedTopic, NewTopic};
use ottla_node::Services;
use ottla_protocol::messages::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use ottla_protocol::{Refused, Text};

use crate::api::{code, count_errors, within, words};
use crate::session::Call;

/// Older clients do not know that a quota can refuse.
const STRICT_SINCE: i16 = 6;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let names: Vec<Text> = request
        .topics
        .iter()
        .map(|topic| topic.name.clone())
        .collect();
    let new = request.topics.into_iter().map(new_topic).collect();
    let meter = services.mutation_meter(call.client(), call.version >= STRICT_SINCE);
    let created = services.create_metered(new, request.validate_only, meter);
    let config = services.config();
    let mut throttle_time_ms = 0;
    let topics: Vec<CreatableTopicResult> = match within(request.timeout_ms, created).await {
        Ok((created, meter)) => {
            throttle_time_ms = meter.pause_ms();
            created
                .into_iter()
                .map(|(name, outcome)| result(&config, name.into(), outcome))
                .collect()
        }
        Err(refusal) => {
            let refused = |name| result(&config, name, Err(refusal.into()));
            names.into_iter().map(refused).collect()
        }
    };
    count_errors(services, call, topics.iter().map(|topic| topic.error_code));
    CreateTopicsResponse {
        throttle_time_ms,
        topics,
    }
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    let assignments = topic.assignments.into_iter();
    let configs = topic.configs.into_iter();
    NewTopic {
        name: topic.name.to_string(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments
            .map(|one| (one.partition_index, one.broker_ids))
            .collect(),
        configs: configs
            .map(|config| {
                (
                    config.name.to_string(),
                    config.value.map(|value| value.to_string()),
                )
            })
            .collect(),
    }
}

fn result(
    config: &BrokerConfig,
    name: Text,
    outcome: Result<CreatedTopic, Refused>,
) -> CreatableTopicResult {
    let result = CreatableTopicResult {
        name,
        error_code: code(&outcome),
        error_message: words(&outcome),
        ..Default::default()
    };
    match outcome {
        Ok(created) => CreatableTopicResult {
            topic_id: created.id,
            num_partitions: created.num_partitions,
            replication_factor: created.replication_factor,
            configs: Some(settings(config, &created.overrides)),
            ..result
        },
        Err(_) => result,
    }
}

/// What is in force on the new topic, by name.
fn settings(config: &BrokerConfig, overrides: &Overrides) -> Vec<CreatableTopicConfigs> {
    let mut described = config.describe_topic(overrides, None);
    described.sort_by(|a, b| a.name.cmp(&b.name));
    let setting = |described: Described| CreatableTopicConfigs {
        name: described.name.into(),
        value: described.value.map(Into::into),
        read_only: described.read_only,
        config_source: described.source as i8,
        is_sensitive: described.is_sensitive,
    };
    described.into_iter().map(setting).collect()
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{NONE, Refusal, Uuid};

    use super::*;

    #[test]
    fn a_new_topic_is_answered_with_its_settings() {
        let overrides = Overrides::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        let created = CreatedTopic {
            id: Uuid::from_u128(1000),
            num_partitions: 3,
            replication_factor: 1,
            overrides,
        };
        let result = result(&BrokerConfig::default(), "a".into(), Ok(created));
        assert_eq!((result.error_code, &result.error_message), (NONE, &None));
        let configs = result.configs.expect("settings");
        assert!(configs.is_sorted_by(|a, b| a.name < b.name));
        let policy = configs
            .iter()
            .find(|config| &*config.name == "cleanup.policy");
        let policy = policy.expect("cleanup.policy");
        assert_eq!(
            (policy.value.as_deref(), policy.config_source),
            (Some("compact"), 1)
        );
    }

    #[test]
    fn a_refused_topic_has_the_words_and_no_size() {
        let refused = Refused::new(Refusal::TopicAlreadyExists, "Topic 'a' already exists.");
        let result = result(&BrokerConfig::default(), "a".into(), Err(refused));
        assert_eq!(result.error_code, 36);
        assert_eq!(
            result.error_message.as_deref(),
            Some("Topic 'a' already exists.")
        );
        assert_eq!((result.num_partitions, result.replication_factor), (-1, -1));
        assert_eq!(result.configs, Some(Vec::new()));
    }
}

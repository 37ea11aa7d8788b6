//! Settings of topics, brokers, loggers, groups and metric subscriptions.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use ottla_client::admin::{ConfigEntry, ConfigKind, ConfigResource, ConfigSource};
use ottla_client::{ClientError, Cluster};
use ottla_protocol::Refusal;
use serde_json::{Value, json};

use super::changes::Changes;
use super::entity::{Entities, Kind};
use crate::kafkas;
use crate::output::{self, Output};

pub(super) async fn alter(
    cluster: &Cluster,
    entities: &Entities,
    changes: &Changes,
) -> anyhow::Result<()> {
    let kind = entities.head().resource().context("it has no settings")?;
    let resource = ConfigResource::new(kind, entities.head_name().unwrap_or_default());
    if kind == ConfigKind::BrokerLogger {
        let known = cluster.describe_configs(&resource).await?;
        let is_known = |name: &&String| known.iter().any(|entry| entry.name == **name);
        let all = changes.delete.iter().chain(changes.set.keys());
        let unknown: Vec<_> = all.filter(|name| !is_known(name)).cloned().collect();
        ensure!(
            unknown.is_empty(),
            "Invalid broker logger(s): {}",
            unknown.join(",")
        );
    }
    let changes = BTreeMap::from([(resource, changes.of_settings())]);
    Ok(cluster.alter_configs(&changes).await?)
}

pub(super) async fn describe(
    cluster: &Cluster,
    entities: &Entities,
    is_all: bool,
    output: &mut Output,
) -> anyhow::Result<()> {
    let kind = entities.head();
    let resource = kind.resource().context("it has no settings")?;
    if let Some(name) = entities.head_name()
        && !is_all
        && !exists(cluster, kind, name).await?
    {
        let sentence = format!(
            "The {} '{name}' doesn't exist and doesn't have dynamic config.",
            kind.singular()
        );
        return Ok(output.say(sentence, &json!({ "type": kind.name(), "name": name }))?);
    }
    let names = match entities.head_name() {
        Some(name) => vec![name.to_owned()],
        None => all(cluster, kind).await?,
    };
    for name in names {
        let asked = ConfigResource::new(resource, name.as_str());
        let mut entries = cluster.describe_configs(&asked).await?;
        let source = dynamic(kind, &name);
        entries.retain(|entry| is_all || source.is_none_or(|source| entry.source == source));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let lines = std::iter::once(title(kind, &name, is_all)).chain(entries.iter().map(line));
        output.rows(lines, [object(kind, &name, &entries)])?;
    }
    Ok(())
}

/// Where a setting comes from that was set for just this one.
fn dynamic(kind: Kind, name: &str) -> Option<ConfigSource> {
    match kind {
        Kind::Topics => Some(ConfigSource::DYNAMIC_TOPIC),
        Kind::Brokers if name.is_empty() => Some(ConfigSource::DYNAMIC_DEFAULT_BROKER),
        Kind::Brokers => Some(ConfigSource::DYNAMIC_BROKER),
        Kind::ClientMetrics => Some(ConfigSource::CLIENT_METRICS),
        Kind::Groups => Some(ConfigSource::GROUP),
        _ => None,
    }
}

async fn all(cluster: &Cluster, kind: Kind) -> anyhow::Result<Vec<String>> {
    Ok(match kind {
        Kind::Topics => {
            let topics = cluster.list_topics().await?;
            let mut topics: Vec<_> = topics.into_iter().collect();
            if output::is_kafkas_manner() {
                topics.sort_by_key(|(_, topic)| topic.place);
            }
            let names: Vec<_> = topics.iter().map(|(name, _)| name.to_string()).collect();
            if output::is_kafkas_manner() {
                kafkas::hash_order(names)
            } else {
                names
            }
        }
        Kind::Brokers | Kind::BrokerLoggers => {
            let view = cluster.view();
            let brokers = view.nodes.keys().map(ToString::to_string);
            brokers.chain([String::new()]).collect()
        }
        Kind::ClientMetrics => cluster.config_resources(ConfigKind::ClientMetrics).await?,
        Kind::Groups => {
            let listed = cluster.list_groups(&[], &[]).await?;
            let mut names: BTreeSet<_> = listed.into_iter().map(|group| group.id).collect();
            names.extend(groups_with_settings(cluster).await?.unwrap_or_default());
            names.into_iter().collect()
        }
        _ => Vec::new(),
    })
}

async fn exists(cluster: &Cluster, kind: Kind, name: &str) -> anyhow::Result<bool> {
    Ok(match kind {
        Kind::Brokers | Kind::BrokerLoggers if name.is_empty() => true,
        Kind::Groups => {
            let listed = cluster.list_groups(&[], &[]).await?;
            if listed.iter().any(|group| group.id == name) {
                return Ok(true);
            }
            // A broker that cannot tell is asked for the settings themselves.
            let known = groups_with_settings(cluster).await?;
            known.is_none_or(|known| known.iter().any(|known| known == name))
        }
        _ => all(cluster, kind).await?.iter().any(|known| known == name),
    })
}

/// `None` from brokers that are too old for it, or may not tell.
async fn groups_with_settings(cluster: &Cluster) -> Result<Option<Vec<String>>, ClientError> {
    match cluster.config_resources(ConfigKind::Group).await {
        Err(ClientError::Unserved { .. }) => Ok(None),
        Err(error) if error.refusal() == Some(Refusal::ClusterAuthorizationFailed) => Ok(None),
        listed => listed.map(Some),
    }
}

fn title(kind: Kind, name: &str, is_all: bool) -> String {
    if name.is_empty() {
        return format!("Default configs for {} in the cluster are:", kind.name());
    }
    let which = if is_all { "All" } else { "Dynamic" };
    format!("{which} configs for {} {name} are:", kind.singular())
}

fn line(entry: &ConfigEntry) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonyms = entry.synonyms.iter().map(|synonym| {
        let value = shown(&synonym.value);
        format!("{}:{}={value}", synonym.source.name(), synonym.name)
    });
    format!(
        "  {}={} sensitive={} synonyms={{{}}}",
        entry.name,
        shown(&entry.value),
        entry.is_sensitive,
        synonyms.collect::<Vec<_>>().join(", ")
    )
}

fn object(kind: Kind, name: &str, entries: &[ConfigEntry]) -> Value {
    let configs = entries.iter().map(|entry| {
        let synonyms = entry.synonyms.iter().map(|synonym| {
            json!({
                "name": synonym.name,
                "value": synonym.value,
                "source": synonym.source.name(),
            })
        });
        json!({
            "name": entry.name,
            "value": entry.value,
            "source": entry.source.name(),
            "isSensitive": entry.is_sensitive,
            "isReadOnly": entry.is_read_only,
            "synonyms": synonyms.collect::<Vec<_>>(),
        })
    });
    json!({
        "type": kind.name(),
        "name": Some(name).filter(|name| !name.is_empty()),
        "configs": configs.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_client::admin::ConfigSynonym;

    #[test]
    fn settings_are_laid_out_as_kafkas() {
        let synonym = |name: &str, value: Option<&str>, source| ConfigSynonym {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            source,
        };
        let entry = ConfigEntry {
            name: "retention.ms".to_owned(),
            value: Some("1".to_owned()),
            source: ConfigSource::DYNAMIC_TOPIC,
            is_sensitive: false,
            is_read_only: false,
            synonyms: vec![
                synonym("retention.ms", Some("1"), ConfigSource::DYNAMIC_TOPIC),
                synonym("log.retention.hours", None, ConfigSource::DEFAULT),
            ],
        };
        assert_eq!(
            line(&entry),
            "  retention.ms=1 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=1, \
             DEFAULT_CONFIG:log.retention.hours=null}"
        );
        assert_eq!(
            title(Kind::Groups, "g", true),
            "All configs for group g are:"
        );
        assert_eq!(
            title(Kind::Brokers, "", false),
            "Default configs for brokers in the cluster are:"
        );
    }
}

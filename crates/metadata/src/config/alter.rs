//! What an alter request may do to a resource's settings. Kafka: ConfigAdminManager, then the controller's
//! ConfigurationControlManager; the codes are theirs, for brokers INVALID_REQUEST instead of INVALID_CONFIG.

use std::collections::{BTreeSet, HashMap, HashSet};

use ottla_protocol::{Refusal, Refused};

use super::catalogue::Catalogue;
use super::definition::{Kind, Scope};
use super::resolve::{BrokerConfig, Overrides};
use super::value::{BadValue, split_list};

/// The longest value that a record of the metadata log can carry.
const MAX_VALUE_BYTES: usize = i16::MAX as usize;

/// `set`, `delete`, `append` or `subtract`; the numbers are IncrementalAlterConfigs'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigOperation {
    Set = 0,
    Delete = 1,
    Append = 2,
    Subtract = 3,
}

impl ConfigOperation {
    pub fn from_code(code: i8) -> Option<Self> {
        Some(match code {
            0 => Self::Set,
            1 => Self::Delete,
            2 => Self::Append,
            3 => Self::Subtract,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Delete => "DELETE",
            Self::Append => "APPEND",
            Self::Subtract => "SUBTRACT",
        }
    }
}

/// One line of an IncrementalAlterConfigs request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    pub name: String,
    pub operation: ConfigOperation,
    /// Ignored by `Delete`.
    pub value: Option<String>,
}

impl BrokerConfig {
    /// Applies an IncrementalAlterConfigs resource to what is set now and returns what will be set.
    /// `name` is the resource's (a topic, a broker id or "", a group, a subscription).
    pub fn alter(
        &self,
        scope: Scope,
        name: &str,
        now: &Overrides,
        changes: &[ConfigChange],
    ) -> Result<Overrides, Refused> {
        check_changes(changes)?;
        let mut next = now.clone();
        for change in changes {
            apply(scope, change, &mut next)?;
        }
        self.check(scope, name, now, &next)?;
        Ok(next)
    }

    /// Checks a whole set of overrides: AlterConfigs, and CreateTopics' configs. `now` is what is set
    /// before (empty for a new topic).
    pub fn check_overrides(
        &self,
        scope: Scope,
        name: &str,
        now: &Overrides,
        overrides: &Overrides,
    ) -> Result<(), Refused> {
        self.check(scope, name, now, overrides)
    }

    fn check(
        &self,
        scope: Scope,
        name: &str,
        now: &Overrides,
        next: &Overrides,
    ) -> Result<(), Refused> {
        if next.values().any(|value| value.len() > MAX_VALUE_BYTES) {
            return Err(invalid_config(format!(
                "The configuration value cannot be added because it exceeds the maximum value size \
                 of {MAX_VALUE_BYTES} bytes."
            )));
        }
        match scope {
            Scope::Node => self.check_broker(name, next),
            Scope::Topic => self.check_topic(name, now, next),
            Scope::Group => self.check_group(name, next),
            Scope::ClientMetrics => check_client_metrics(name, next),
        }
    }

    fn check_topic(&self, name: &str, now: &Overrides, next: &Overrides) -> Result<(), Refused> {
        if name.is_empty() {
            return Err(invalid_request("Default topic resources are not allowed."));
        }
        check_known(Scope::Topic, "topic config name", next)?;
        check_each(Scope::Topic, next).map_err(|bad| invalid_config(bad.to_string()))?;
        let number = |setting: &str| -> i64 {
            let text = next
                .get(setting)
                .cloned()
                .or_else(|| self.topic_default(setting));
            text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        };
        let (least, most) = (
            number("min.compaction.lag.ms"),
            number("max.compaction.lag.ms"),
        );
        if least > most {
            return Err(invalid_config(format!(
                "conflict topic config setting min.compaction.lag.ms ({least}) > \
                 max.compaction.lag.ms ({most})"
            )));
        }
        check_remote_storage(now, next)
    }

    fn check_group(&self, name: &str, next: &Overrides) -> Result<(), Refused> {
        if name.is_empty() {
            return Err(invalid_request("Default group resources are not allowed."));
        }
        check_known(Scope::Group, "group config name", next)?;
        check_each(Scope::Group, next).map_err(|bad| invalid_config(bad.to_string()))?;
        self.check_group_bounds(next)?;
        self.check_group_sessions(next)
    }

    /// A group stays between the broker's `group.….min.…` and `group.….max.…`.
    fn check_group_bounds(&self, next: &Overrides) -> Result<(), Refused> {
        for (setting, text) in next {
            let Ok(value) = text.trim().parse::<i64>() else {
                continue;
            };
            let Some((kind, rest)) = setting.split_once('.') else {
                continue;
            };
            // The one name that has no place for the word between.
            let rest = if rest == "num.standby.replicas" {
                "standby.replicas"
            } else {
                rest
            };
            let bound = |word: &str| {
                let name = format!("group.{kind}.{word}.{rest}");
                let bound = self.value(&name).and_then(|text| text.parse::<i64>().ok());
                bound.map(|bound| (name, bound))
            };
            if let Some((name, _)) = bound("min").filter(|(_, least)| value < *least) {
                let words = format!("{setting} must be greater than or equal to {name}");
                return Err(invalid_config(words));
            }
            if let Some((name, _)) = bound("max").filter(|(_, most)| value > *most) {
                let words = format!("{setting} must be less than or equal to {name}");
                return Err(invalid_config(words));
            }
        }
        Ok(())
    }

    fn check_group_sessions(&self, next: &Overrides) -> Result<(), Refused> {
        for kind in ["consumer", "share", "streams"] {
            let number = |setting: &str| -> i64 {
                let text = next
                    .get(setting)
                    .cloned()
                    .or_else(|| self.group_default(setting));
                text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
            };
            let session = format!("{kind}.session.timeout.ms");
            let heartbeat = format!("{kind}.heartbeat.interval.ms");
            if number(&session) <= number(&heartbeat) {
                return Err(invalid_config(format!(
                    "{session} must be greater than {heartbeat}"
                )));
            }
        }
        Ok(())
    }
}

fn check_changes(changes: &[ConfigChange]) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    if !changes.iter().all(|change| seen.insert(&change.name)) {
        return Err(invalid_request("Error due to duplicate config keys"));
    }
    let without_value: Vec<_> = changes
        .iter()
        .filter(|change| change.operation != ConfigOperation::Delete && change.value.is_none())
        .map(|change| change.name.as_str())
        .collect();
    if !without_value.is_empty() {
        let names = without_value.join(", ");
        return Err(invalid_request(format!(
            "Null value not supported for : {names}"
        )));
    }
    Ok(())
}

fn apply(scope: Scope, change: &ConfigChange, next: &mut Overrides) -> Result<(), Refused> {
    let value = change.value.as_deref().unwrap_or_default();
    match change.operation {
        ConfigOperation::Set => {
            next.insert(change.name.clone(), value.to_owned());
        }
        ConfigOperation::Delete => {
            next.remove(&change.name);
        }
        ConfigOperation::Append | ConfigOperation::Subtract => {
            let now = list_now(scope, change, next)?;
            let items = match change.operation {
                ConfigOperation::Append => appended(&now, value),
                _ => subtracted(&now, value),
            };
            next.insert(change.name.clone(), items.join(","));
        }
    }
    Ok(())
}

fn appended<'a>(now: &'a [String], value: &'a str) -> Vec<&'a str> {
    let mut items: Vec<&str> = now.iter().map(String::as_str).collect();
    let mut known: HashSet<&str> = items.iter().copied().collect();
    items.extend(value.split(',').filter(|item| known.insert(item)));
    items
}

/// Each naming takes one away, the first that is there.
fn subtracted<'a>(now: &'a [String], value: &'a str) -> Vec<&'a str> {
    let mut named: HashMap<&str, usize> = HashMap::new();
    for item in value.split(',') {
        *named.entry(item).or_default() += 1;
    }
    let stays = |item: &&'a str| match named.get_mut(item) {
        Some(n_left) if *n_left > 0 => {
            *n_left -= 1;
            false
        }
        _ => true,
    };
    now.iter().map(String::as_str).filter(stays).collect()
}

/// The list that is appended to: what is set, or the setting's own default.
fn list_now(scope: Scope, change: &ConfigChange, next: &Overrides) -> Result<Vec<String>, Refused> {
    let name = &change.name;
    let definition = Catalogue::find(scope, name);
    // Kafka's controller knows no lists of client metrics.
    let is_list = definition.is_some_and(|definition| definition.kind == Kind::List)
        && scope != Scope::ClientMetrics;
    if !is_list {
        return Err(match (scope, definition) {
            (Scope::Node, None) => invalid_config(format!("Unknown config name: {name}")),
            (Scope::Node, Some(_)) => invalid_config(format!(
                "Config value {} is not allowed for config key: {name}",
                change.operation.name().to_ascii_lowercase()
            )),
            _ => invalid_config(format!(
                "Can't {} to key {name} because its type is not LIST.",
                change.operation.name()
            )),
        });
    }
    let default = definition
        .and_then(|definition| definition.default())
        .unwrap_or_default();
    let text = next.get(name).map_or(default, String::as_str);
    Ok(text
        .split(',')
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect())
}

fn check_known(scope: Scope, what: &str, next: &Overrides) -> Result<(), Refused> {
    match next
        .keys()
        .find(|name| Catalogue::find(scope, name).is_none())
    {
        Some(name) => Err(invalid_config(format!("Unknown {what}: {name}"))),
        None => Ok(()),
    }
}

fn check_each(scope: Scope, next: &Overrides) -> Result<(), BadValue> {
    for (name, text) in next {
        if let Some(definition) = Catalogue::find(scope, name) {
            definition.canonical(text)?;
        }
    }
    Ok(())
}

/// We have no remote store: a topic cannot begin to use one, and leaving one loses nothing silently.
fn check_remote_storage(now: &Overrides, next: &Overrides) -> Result<(), Refused> {
    let is_true = |overrides: &Overrides, name: &str| {
        overrides
            .get(name)
            .is_some_and(|text| text.trim().eq_ignore_ascii_case("true"))
    };
    if is_true(next, "remote.storage.enable") {
        return Err(invalid_config(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with \
             remote log storage.",
        ));
    }
    if is_true(now, "remote.storage.enable") && !is_true(next, "remote.log.delete.on.disable") {
        return Err(invalid_config(
            "Remote storage cannot be disabled without deleting the remote data: set \
             remote.log.delete.on.disable=true too.",
        ));
    }
    Ok(())
}

fn check_client_metrics(name: &str, next: &Overrides) -> Result<(), Refused> {
    const LEAST_MS: i64 = 100;
    const MOST_MS: i64 = 3_600_000;
    if name.is_empty() {
        return Err(invalid_request("Subscription name can't be empty"));
    }
    if let Some(name) = next
        .keys()
        .find(|name| Catalogue::find(Scope::ClientMetrics, name).is_none())
    {
        return Err(invalid_request(format!(
            "Unknown client metrics configuration: {name}"
        )));
    }
    check_each(Scope::ClientMetrics, next).map_err(|bad| invalid_config(bad.to_string()))?;
    let interval = next
        .get("interval.ms")
        .and_then(|text| text.trim().parse::<i64>().ok());
    if let Some(interval) = interval.filter(|ms| !(LEAST_MS..=MOST_MS).contains(ms)) {
        return Err(invalid_request(format!(
            "Invalid value {interval} for interval.ms, interval must be between {LEAST_MS} and \
             {MOST_MS} (1 hour)"
        )));
    }
    let patterns = split_list(next.get("match").map_or("", String::as_str));
    match patterns.iter().find(|pattern| !is_client_match(pattern)) {
        Some(pattern) => Err(invalid_config(format!(
            "Illegal client matching pattern: {pattern}"
        ))),
        None => Ok(()),
    }
}

/// `attribute=pattern`. The pattern is a Java regular expression, which we do not compile: only brackets
/// that do not close are refused.
fn is_client_match(pattern: &str) -> bool {
    const ATTRIBUTES: [&str; 6] = [
        "client_instance_id",
        "client_id",
        "client_software_name",
        "client_software_version",
        "client_source_address",
        "client_source_port",
    ];
    let Some((attribute, expression)) = pattern.split_once('=') else {
        return false;
    };
    ATTRIBUTES.contains(&attribute.trim())
        && !expression.trim().is_empty()
        && !expression.contains('=')
        && is_balanced(expression)
}

fn is_balanced(expression: &str) -> bool {
    let mut open = Vec::new();
    let mut characters = expression.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '[' | '(' if open.last() != Some(&'[') => open.push(character),
            ']' if open.last() == Some(&'[') => drop(open.pop()),
            ')' if open.last() == Some(&'(') => drop(open.pop()),
            ')' if open.last() != Some(&'[') => return false,
            _ => {}
        }
    }
    open.is_empty()
}

pub(super) fn invalid_config(words: impl Into<String>) -> Refused {
    Refused::new(Refusal::InvalidConfig, words)
}

pub(super) fn invalid_request(words: impl Into<String>) -> Refused {
    Refused::new(Refusal::InvalidRequest, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_keep_their_order() {
        let items: Vec<String> = (0..10_000).map(|number| number.to_string()).collect();
        let (low, high) = items.split_at(6_000);
        assert_eq!(appended(low, &items[3_000..].join(",")), items);
        assert_eq!(subtracted(&items, &high.join(",")), low);
    }

    #[test]
    fn what_is_there_twice_is_taken_away_twice() {
        let now = ["a", "b", "a", "a"].map(str::to_owned);
        assert_eq!(subtracted(&now, "a,c"), ["b", "a", "a"]);
        assert_eq!(subtracted(&now, "a,b,a"), ["a"]);
        assert_eq!(appended(&now, "c,a,c"), ["a", "b", "a", "a", "c"]);
    }
}

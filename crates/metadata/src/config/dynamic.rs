//! What a broker refuses to take while it runs. Kafka: ConfigAdminManager and DynamicBrokerConfig; names
//! first, then values, then what the values must be to each other, then whether the running node can go
//! from what it has to that. Only what a change touches is asked the last question.

use std::collections::BTreeSet;

use ottla_protocol::Refused;

use super::alter::invalid_request;
use super::catalogue::Catalogue;
use super::definition::{Dynamic, Scope};
use super::node_settings::NodeSettings;
use super::ottla::OTTLA_PREFIX;
use super::resolve::{BrokerConfig, Overrides, is_bare_security};
use super::synonyms;
use super::value::{BadValue, split_list};

/// Pools of threads, which grow and shrink by a factor of two at most.
const POOLS: [&str; 9] = [
    "num.io.threads",
    "num.network.threads",
    "num.replica.fetchers",
    "num.recovery.threads.per.data.dir",
    "background.threads",
    "remote.log.reader.threads",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.follower.thread.pool.size",
];

impl BrokerConfig {
    pub(super) fn check_broker(&self, name: &str, next: &Overrides) -> Result<(), Refused> {
        let per_broker = !name.is_empty();
        if per_broker {
            self.check_broker_id(name)?;
        }
        check_names(per_broker, next)?;
        let changed = match per_broker {
            true => self.with_dynamic(self.cluster().clone(), next.clone()),
            false => self.with_dynamic(next.clone(), self.own().clone()),
        };
        let bad_value = |bad: BadValue| invalid_request(bad.to_string());
        let settings = changed.node_settings().map_err(bad_value)?;
        check_cordoned(&changed, &settings).map_err(bad_value)?;
        check_key_table(&changed).map_err(bad_value)?;
        self.check_step(&changed).map_err(|why| {
            // Kafka hands the reason over in the place of the value.
            invalid_request(format!(
                "Invalid value org.apache.kafka.common.config.ConfigException: {why} for configuration \
                 Invalid dynamic configuration"
            ))
        })
    }

    fn check_broker_id(&self, name: &str) -> Result<(), Refused> {
        let Ok(id) = name.parse::<i32>() else {
            return Err(invalid_request(format!(
                "Node id must be an integer, but it is: {name}"
            )));
        };
        let own = self.value("node.id").unwrap_or_default();
        if id.to_string() != own {
            return Err(invalid_request(format!(
                "Unexpected broker id, expected {own}, but received {name}"
            )));
        }
        Ok(())
    }

    /// From what is in force to what would be.
    fn check_step(&self, changed: &Self) -> Result<(), String> {
        self.check_pools(changed)?;
        self.check_local_retention(changed)?;
        self.check_connections(changed)?;
        self.check_cleaner_threads(changed)
    }

    /// Before and after, where it changes.
    fn step(&self, changed: &Self, name: &str) -> Option<(i64, i64)> {
        let (before, after) = (self.number(name)?, changed.number(name)?);
        (before != after).then_some((before, after))
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.value(name)?.parse().ok()
    }

    fn check_pools(&self, changed: &Self) -> Result<(), String> {
        for pool in POOLS {
            let Some((before, after)) = self.step(changed, pool) else {
                continue;
            };
            let wrong = if after < before / 2 {
                "value should be at least half the current value"
            } else if after > before.saturating_mul(2) {
                "value should not be greater than double the current value"
            } else {
                continue;
            };
            return Err(format!(
                "Dynamic thread count update validation failed for {pool}={after}, {wrong} {before}"
            ));
        }
        Ok(())
    }

    fn check_cleaner_threads(&self, changed: &Self) -> Result<(), String> {
        let is_running = self.value("log.cleaner.enable").as_deref() == Some("true");
        match self.step(changed, "log.cleaner.threads") {
            Some((before, after)) if is_running && after < before / 2 => Err(format!(
                "Log cleaner threads cannot be reduced to less than half the current value {before}"
            )),
            Some((before, after)) if is_running && after > before.saturating_mul(2) => {
                Err(format!(
                    "Log cleaner threads cannot be increased to more than double the current value {before}"
                ))
            }
            _ => Ok(()),
        }
    }

    /// A node that takes no connections could never be told to take some again.
    fn check_connections(&self, changed: &Self) -> Result<(), String> {
        for name in ["max.connections", "max.connection.creation.rate"] {
            if let Some((_, 0)) = self.step(changed, name) {
                return Err(format!("Invalid {name} 0"));
            }
        }
        Ok(())
    }

    /// What stays here is a part of the whole.
    fn check_local_retention(&self, changed: &Self) -> Result<(), String> {
        if !self.changes_logs(changed) {
            return Ok(());
        }
        let pairs = [
            ("log.local.retention.ms", "retention.ms", "log.retention.ms"),
            (
                "log.local.retention.bytes",
                "retention.bytes",
                "log.retention.bytes",
            ),
        ];
        for (local, of_topic, whole) in pairs {
            let all = changed.topic_default(of_topic);
            let all = all.and_then(|text| text.parse::<i64>().ok());
            let (Some(here), Some(all)) = (changed.number(local), all) else {
                continue;
            };
            if all < 0 || here == -2 || (0..=all).contains(&here) {
                continue;
            }
            let allowed = match here {
                -1 => format!("Value must not be -1 as {whole} value is set as {all}."),
                _ => format!("Value must not be more than {whole} property value: {all}"),
            };
            return Err(BadValue::new(local, Some(&here.to_string()), allowed).to_string());
        }
        Ok(())
    }

    /// Whether a default of topics changes.
    fn changes_logs(&self, changed: &Self) -> bool {
        let behind_topics = Catalogue::all(Scope::Topic)
            .flat_map(|definition| synonyms::of_topic(definition.name))
            .map(|synonym| synonym.name);
        let mut names = behind_topics.chain(["cordoned.log.dirs"]);
        names.any(|name| self.merged().get(name) != changed.merged().get(name))
    }
}

/// Settings that never change, that only a listener can change, values that are none, and settings that
/// each broker has for itself.
fn check_names(per_broker: bool, next: &Overrides) -> Result<(), Refused> {
    let dynamic = |name: &str| Catalogue::find(Scope::Node, name).map(|one| one.dynamic);
    refuse_any(
        "Cannot update these configs dynamically",
        next.keys().filter(|name| {
            dynamic(name) == Some(Dynamic::ReadOnly) || name.starts_with(OTTLA_PREFIX)
        }),
    )?;
    refuse_any(
        "These security configs can be dynamically updated only per-listener using the listener prefix",
        next.keys().filter(|name| is_bare_security(name)),
    )?;
    for (setting, text) in next {
        if let Some(definition) = Catalogue::find_for_listener(setting) {
            let sound = definition.canonical(text);
            sound.map_err(|bad| invalid_request(bad.to_string()))?;
        }
    }
    if per_broker {
        return Ok(());
    }
    refuse_any(
        "Cannot update these configs at default cluster level, broker id must be specified",
        next.keys().filter(|name| {
            dynamic(name) == Some(Dynamic::PerBroker) || synonyms::is_of_one_broker(name)
        }),
    )
}

fn refuse_any<'a>(why: &str, names: impl Iterator<Item = &'a String>) -> Result<(), Refused> {
    let names: Vec<&str> = names.map(String::as_str).collect();
    match names.is_empty() {
        true => Ok(()),
        false => Err(invalid_request(format!("{why}: [{}]", names.join(", ")))),
    }
}

/// Only directories that the node has can be cordoned, or all of them.
fn check_cordoned(config: &BrokerConfig, settings: &NodeSettings) -> Result<(), BadValue> {
    const ALL: &str = "*";
    let name = "cordoned.log.dirs";
    let text = config.value(name).unwrap_or_default();
    let dirs = split_list(&text);
    let refuse = |words: String| Err(BadValue::sentence(name, Some(&text), words));
    if dirs.iter().any(|dir| dir == ALL) {
        return match dirs.len() {
            1 => Ok(()),
            _ => refuse(format!(
                "requirement failed: When {name} is set to {ALL}, it must not contain other values"
            )),
        };
    }
    let known: BTreeSet<&String> = settings.log_dirs.iter().collect();
    let missing: Vec<&str> = dirs
        .iter()
        .filter(|dir| !known.contains(dir))
        .map(String::as_str)
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => refuse(format!(
            "requirement failed: All entries in {name} must be present in log.dirs or log.dir. \
             Missing entries : {}",
            missing.join(", ")
        )),
    }
}

/// Every thread that compacts needs a table of keys worth having.
fn check_key_table(config: &BrokerConfig) -> Result<(), BadValue> {
    const LEAST_PER_THREAD: i64 = 1024 * 1024;
    let number = |name| config.number(name).unwrap_or(0);
    let threads = number("log.cleaner.threads");
    if threads == 0 {
        // Kafka divides by it.
        let allowed = "Value must be at least 1";
        return Err(BadValue::new("log.cleaner.threads", Some("0"), allowed));
    }
    let name = "log.cleaner.dedupe.buffer.size";
    let buffer = number(name);
    if buffer / threads > LEAST_PER_THREAD {
        return Ok(());
    }
    let words = format!("requirement failed: {name} must be at least 1MB per cleaner thread.");
    Err(BadValue::sentence(name, Some(&buffer.to_string()), words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[(&str, &str)]) -> Overrides {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        values.iter().map(owned).collect()
    }

    fn broker(fixed: &[(&str, &str)]) -> BrokerConfig {
        let mut all = set(&[
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("controller.listener.names", "CONTROLLER"),
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093"),
        ]);
        all.extend(set(fixed));
        BrokerConfig::new(all)
    }

    fn answer(broker: &BrokerConfig, name: &str, values: &[(&str, &str)]) -> String {
        match broker.check_broker(name, &set(values)) {
            Ok(()) => "fine".to_owned(),
            Err(refused) => refused.words().to_owned(),
        }
    }

    #[test]
    fn cleaner_threads_grow_and_shrink_by_a_factor_of_two() {
        let four = broker(&[("log.cleaner.threads", "4")]);
        for (threads, is_fine) in [("2", true), ("8", true), ("1", false), ("9", false)] {
            let said = answer(&four, "", &[("log.cleaner.threads", threads)]);
            assert_eq!(said == "fine", is_fine, "{threads}: {said}");
        }
        let none = broker(&[("log.cleaner.enable", "false")]);
        assert_eq!(answer(&none, "1", &[("log.cleaner.threads", "9")]), "fine");
    }

    #[test]
    fn what_was_wrong_before_does_not_stop_other_changes() {
        let odd = broker(&[("log.retention.ms", "5"), ("log.local.retention.ms", "6")]);
        assert_eq!(answer(&odd, "", &[("log.cleaner.threads", "2")]), "fine");
        let said = answer(&odd, "", &[("log.segment.bytes", "2000000")]);
        assert!(
            said.contains("Value must not be more than log.retention.ms"),
            "{said}"
        );
    }

    #[test]
    fn a_listeners_limits_may_be_the_clusters() {
        let broker = broker(&[]);
        let limit = [("listener.name.plaintext.max.connections", "5")];
        assert_eq!(answer(&broker, "", &limit), "fine");
        let merged = broker.with_dynamic(set(&limit), Overrides::new());
        assert_eq!(merged.value(limit[0].0).as_deref(), Some("5"));
        let said = answer(
            &broker,
            "",
            &[("listener.name.plaintext.ssl.keystore.type", "JKS")],
        );
        assert!(
            said.starts_with("Cannot update these configs at default cluster level"),
            "{said}"
        );
    }

    #[test]
    fn a_value_that_is_none_is_told_before_whose_it_is() {
        let said = answer(
            &broker(&[]),
            "",
            &[("sasl.login.refresh.buffer.seconds", "x")],
        );
        assert!(said.ends_with("Not a number of type SHORT"), "{said}");
    }
}

//! What is set and taken back: `NAME=VALUE,NAME=[VALUE,VALUE]`, a file, names.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use ottla_client::admin::ConfigChange;

use crate::commands::connect::Properties;

/// Quotas of users and clients.
const CLIENT_QUOTAS: [&str; 4] = [
    "consumer_byte_rate",
    "controller_mutation_rate",
    "producer_byte_rate",
    "request_percentage",
];
const IP_QUOTA: &str = "connection_creation_rate";
pub(super) const SCRAM: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) set: BTreeMap<String, String>,
    pub(super) delete: Vec<String>,
}

/// What changes of users and clients are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForClients {
    Quotas,
    Credentials,
}

impl Changes {
    pub(super) fn read(
        typed: Option<&str>,
        file: Option<&Path>,
        delete: &[String],
    ) -> anyhow::Result<Self> {
        ensure!(
            typed.is_some() || file.is_some() || !delete.is_empty(),
            "At least one of --add-config, --add-config-file, or --delete-config must be specified \
             with --alter"
        );
        let mut set = BTreeMap::new();
        if file.is_some() {
            set.extend(Properties::gather(file, &[])?.into_pairs());
        }
        for part in typed.map(parts).unwrap_or_default() {
            let (name, value) = pair(&part)?;
            set.insert(name, value);
        }
        for name in set.keys() {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "$._-".contains(c);
            ensure!(
                name.chars().all(is_plain),
                "Invalid character found for config key: {name}"
            );
        }
        let delete = delete.iter().map(|name| name.trim().to_owned()).collect();
        Ok(Self { set, delete })
    }

    /// Taking back comes first, as Kafka's tool orders it.
    pub(super) fn of_settings(&self) -> Vec<(String, ConfigChange)> {
        let deleted = self.delete.iter().cloned();
        let deleted = deleted.map(|name| (name, ConfigChange::Delete));
        let set = self.set.iter();
        let set = set.map(|(name, value)| (name.clone(), ConfigChange::Set(value.clone())));
        deleted.chain(set).collect()
    }

    pub(super) fn of_quotas(&self) -> anyhow::Result<Vec<(String, Option<f64>)>> {
        let mut changes = Vec::new();
        for (name, value) in &self.set {
            let number = value.trim().parse().ok().with_context(|| {
                format!("Cannot parse quota configuration value for {name}: {value}")
            })?;
            changes.push((name.clone(), Some(number)));
        }
        changes.extend(self.delete.iter().map(|name| (name.clone(), None)));
        Ok(changes)
    }

    /// Quotas and credentials are not changed together, and credentials belong to users alone.
    pub(super) fn sorted_for_clients(&self, is_of_user: bool) -> anyhow::Result<ForClients> {
        let is_quota = |name: &&str| CLIENT_QUOTAS.contains(name);
        let is_scram = |name: &&str| SCRAM.contains(name);
        let added: Vec<&str> = self.set.keys().map(String::as_str).collect();
        let deleted: Vec<&str> = self.delete.iter().map(String::as_str).collect();
        for (names, done) in [(&added, "added"), (&deleted, "deleted")] {
            let is_known = |name: &&str| is_quota(name) || is_of_user && is_scram(name);
            let unknown: Vec<_> = names.iter().copied().filter(|it| !is_known(it)).collect();
            if unknown.is_empty() {
                continue;
            }
            let unknown = unknown.join(", ");
            if is_of_user {
                bail!(
                    "Only quota and SCRAM credential configs can be {done} for 'users' using \
                     --bootstrap-server. Unexpected config names: Set({unknown})"
                );
            }
            bail!(
                "Only quota configs can be {done} for 'clients' using --bootstrap-server. \
                 Unexpected config names: Set({unknown})"
            );
        }
        let mut all = added.iter().chain(&deleted);
        let has_scram = all.clone().any(is_scram);
        let has_quota = all.any(is_quota);
        ensure!(
            !(has_scram && has_quota),
            "Cannot alter both quota and SCRAM credential configs simultaneously for 'users' using \
             --bootstrap-server."
        );
        Ok(if has_scram {
            ForClients::Credentials
        } else {
            ForClients::Quotas
        })
    }

    pub(super) fn check_for_ips(&self) -> anyhow::Result<()> {
        let all = self.set.keys().chain(&self.delete);
        let unknown: Vec<_> = all.filter(|name| *name != IP_QUOTA).cloned().collect();
        ensure!(
            unknown.is_empty(),
            "Only connection quota configs can be added for 'ips' using --bootstrap-server. \
             Unexpected config names: {}",
            unknown.join(",")
        );
        Ok(())
    }
}

/// Between commas that stand outside of brackets.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_inside = false;
    for c in text.chars() {
        match c {
            ',' if !is_inside => {
                parts.push(String::new());
                continue;
            }
            '[' => is_inside = true,
            ']' => is_inside = false,
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    // As Kafka's: what is empty at the end does not count.
    while parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    parts
}

/// Brackets only group, and are left out. Outside of them there is one equals sign.
fn pair(part: &str) -> anyhow::Result<(String, String)> {
    let Some((name, value)) = part.split_once('=') else {
        bail!("{} `{part}` is not", FORMAT);
    };
    let outside = value.split_once('[').map_or(value, |(outside, _)| outside);
    ensure!(!outside.contains('='), "{FORMAT} `{part}` is not");
    let value = value.replace(['[', ']'], "");
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

const FORMAT: &str = "requirement failed: Invalid entity config: all configs to be added must be in \
     the format \"key=val\" or  \"key=[val1,val2]\" to group values which contain commas.";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(typed: &str) -> anyhow::Result<Changes> {
        Changes::read(Some(typed), None, &[])
    }

    #[test]
    fn values_with_commas_stand_in_brackets() {
        let changes = read("a=1, b = [x,y],c=,d=[iterations=8192,password=p=q],").unwrap();
        let pairs: Vec<_> = changes
            .set
            .iter()
            .map(|(k, v)| format!("{k}:{v}"))
            .collect();
        assert_eq!(
            pairs,
            ["a:1", "b:x,y", "c:", "d:iterations=8192,password=p=q"]
        );
        for bad in ["a", "a=b=c", "a b=1", "a=1,,b=2"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(Changes::read(None, None, &[]).is_err());
    }

    #[test]
    fn clients_have_quotas_and_users_have_credentials_too() {
        let sorted = |typed: &str, is_of_user| read(typed).unwrap().sorted_for_clients(is_of_user);
        assert_eq!(
            sorted("producer_byte_rate=1", false).unwrap(),
            ForClients::Quotas
        );
        assert_eq!(
            sorted("SCRAM-SHA-256=[password=a]", true).unwrap(),
            ForClients::Credentials
        );
        let told = sorted("shouting_rate=5", false).unwrap_err().to_string();
        assert_eq!(
            told,
            "Only quota configs can be added for 'clients' using --bootstrap-server. Unexpected \
             config names: Set(shouting_rate)"
        );
        assert!(sorted("SCRAM-SHA-256=[password=a]", false).is_err());
        assert!(sorted("SCRAM-SHA-256=[password=a],request_percentage=5", true).is_err());
        assert!(
            read("connection_creation_rate=5")
                .unwrap()
                .check_for_ips()
                .is_ok()
        );
        assert!(
            read("request_percentage=5")
                .unwrap()
                .check_for_ips()
                .is_err()
        );
        assert!(
            read("request_percentage=much")
                .unwrap()
                .of_quotas()
                .is_err()
        );
    }
}

//! Settings that protect or join, and that we cannot honour yet: with them the node must not start, because
//! it would look safer or larger than it is.

use super::listeners::SecurityProtocol;
use super::node_settings::{NodeSettings, QuorumForm};
use super::resolve::BrokerConfig;
use super::value::BadValue;

/// Who a client is that shows no identity.
const ANYBODY: &str = "User:ANONYMOUS";

impl BrokerConfig {
    /// Refuses what this version cannot do safely; the setting and the reason are named.
    pub fn check_served(&self, settings: &NodeSettings) -> Result<(), BadValue> {
        self.check_authorizer()?;
        check_roles(settings)?;
        check_listeners(settings)?;
        check_assignors(settings)?;
        check_voters(settings)
    }

    /// Without access control, an authorizer is harmless only where anybody who can connect may do all.
    fn check_authorizer(&self) -> Result<(), BadValue> {
        let class = self.value("authorizer.class.name").unwrap_or_default();
        let super_users = self.value("super.users").unwrap_or_default();
        if class.is_empty() || super_users.split(';').any(|user| user.trim() == ANYBODY) {
            return Ok(());
        }
        let allowed = "access control is not served yet: leave it empty, or put User:ANONYMOUS into \
                       `super.users` if anybody who can connect may do everything";
        Err(BadValue::new(
            "authorizer.class.name",
            Some(&class),
            allowed,
        ))
    }
}

fn check_roles(settings: &NodeSettings) -> Result<(), BadValue> {
    let roles = settings.roles;
    if roles.broker && roles.controller {
        return Ok(());
    }
    let value = if roles.broker { "broker" } else { "controller" };
    let allowed = "a role alone is not served yet: set broker,controller";
    Err(BadValue::new("process.roles", Some(value), allowed))
}

fn check_listeners(settings: &NodeSettings) -> Result<(), BadValue> {
    let secured = settings
        .listeners
        .iter()
        .find(|one| one.protocol != SecurityProtocol::Plaintext);
    match secured {
        None => Ok(()),
        Some(listener) => {
            let value = format!("{}:{}", listener.name, listener.protocol.name());
            let allowed = "TLS and SASL are not served yet: map every listener to PLAINTEXT";
            Err(BadValue::new(
                "listener.security.protocol.map",
                Some(&value),
                allowed,
            ))
        }
    }
}

/// Whoever brought an assignor of their own relies on it.
fn check_assignors(settings: &NodeSettings) -> Result<(), BadValue> {
    let mut assignors = settings.consumer_groups.assignors.iter();
    match assignors.find(|name| !matches!(name.as_str(), "uniform" | "range")) {
        None => Ok(()),
        Some(other) => {
            let allowed = "Java classes are not loaded here: name `uniform`, `range` or both";
            Err(BadValue::new(
                "group.consumer.assignors",
                Some(other),
                allowed,
            ))
        }
    }
}

fn check_voters(settings: &NodeSettings) -> Result<(), BadValue> {
    match &settings.quorum {
        QuorumForm::Static(voters) if voters.len() > 1 => {
            let entries: Vec<_> = voters
                .iter()
                .map(|voter| format!("{}@{}:{}", voter.id, voter.host, voter.port))
                .collect();
            let allowed = "a quorum of several voters is not served yet: name this node alone";
            Err(BadValue::new(
                "controller.quorum.voters",
                Some(&entries.join(",")),
                allowed,
            ))
        }
        _ => Ok(()),
    }
}

/// What the value of a setting is worth to a log line at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Honoured,
    /// Known, and not honoured yet.
    Unhonoured,
    /// Nobody knows the name.
    Unknown,
}

/// Settings outside the catalogue that belong to a part we know: they are neither unknown nor honoured.
const FREE_PREFIXES: &[&str] = &[
    "config.providers.",
    "rsm.config.",
    "rlmm.config.",
    "confluent.",
    "metrics.jmx.",
];
/// Settings that are read with the prefix of a listener, too.
const PER_LISTENER: &[&str] = &["max.connections", "max.connection.creation.rate"];
const FREE_NAMES: &[&str] = &["super.users", "allow.everyone.if.no.acl.found"];

impl Standing {
    /// How a node's setting of this name stands.
    pub fn of(name: &str) -> Self {
        use super::{Catalogue, Scope, synonyms};
        let of_listener = synonyms::without_listener(name);
        // Super users are read when the authorizer is judged.
        if name == "super.users"
            || of_listener.is_some_and(|name| PER_LISTENER.contains(&name))
            || name.starts_with("config.providers.")
            || Catalogue::is_honoured(Scope::Node, name)
        {
            Self::Honoured
        } else if Catalogue::find_for_listener(name).is_some()
            || FREE_NAMES.contains(&name)
            || FREE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        {
            Self::Unhonoured
        } else {
            Self::Unknown
        }
    }
}

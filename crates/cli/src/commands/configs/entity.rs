//! What is described or altered: types and names, in the flags' old form (--entity-type,
//! --entity-name, --entity-default, in the order in which they are typed) and in the new one.

use std::net::ToSocketAddrs;

use anyhow::{Context, bail, ensure};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use ottla_client::admin::ConfigKind;
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Topics,
    Clients,
    Users,
    Brokers,
    BrokerLoggers,
    Ips,
    ClientMetrics,
    Groups,
}

impl Kind {
    const ALL: [(Self, &'static str, &'static str); 8] = [
        (Self::Topics, "topics", "topic"),
        (Self::Clients, "clients", "client"),
        (Self::Users, "users", "user"),
        (Self::Brokers, "brokers", "broker"),
        (Self::BrokerLoggers, "broker-loggers", "broker-logger"),
        (Self::Ips, "ips", "ip"),
        (Self::ClientMetrics, "client-metrics", "client-metrics"),
        (Self::Groups, "groups", "group"),
    ];

    /// As --entity-type names it.
    pub(super) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(kind, ..)| *kind == self);
        found.map_or("", |(_, name, _)| name)
    }

    /// The name without its last letter: so Kafka's tool makes a singular of every plural.
    pub(super) fn singular(self) -> &'static str {
        let name = self.name();
        name.get(..name.len().saturating_sub(1)).unwrap_or(name)
    }

    /// What it is among resources; quotas are for others.
    pub(super) fn resource(self) -> Option<ConfigKind> {
        match self {
            Self::Topics => Some(ConfigKind::Topic),
            Self::Brokers => Some(ConfigKind::Broker),
            Self::BrokerLoggers => Some(ConfigKind::BrokerLogger),
            Self::ClientMetrics => Some(ConfigKind::ClientMetrics),
            Self::Groups => Some(ConfigKind::Group),
            Self::Clients | Self::Users | Self::Ips => None,
        }
    }

    fn has_default(self) -> bool {
        matches!(
            self,
            Self::Clients | Self::Users | Self::Brokers | Self::Ips
        )
    }
}

/// The flags as they were typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Named {
    types: Vec<String>,
    /// An empty name is the default; in the order in which they were typed.
    names: Vec<String>,
    has_default_flag: bool,
    /// --topic and the like.
    short: Vec<(Kind, String)>,
}

impl clap::Args for Named {
    fn augment_args(command: Command) -> Command {
        let text = |id: &'static str, value: &'static str, help: &'static str| {
            Arg::new(id).long(id).value_name(value).help(help)
        };
        let flag = |id: &'static str, help: &'static str| {
            Arg::new(id).long(id).action(ArgAction::SetTrue).help(help)
        };
        command
            .arg(
                text("entity-type", "TYPE", "The type: topics, clients, users, brokers, broker-loggers, ips, client-metrics or groups; users and clients together")
                    .action(ArgAction::Append),
            )
            .arg(
                text("entity-name", "NAME", "The name, of each type one")
                    .action(ArgAction::Append)
                    .allow_hyphen_values(true),
            )
            .arg(
                Arg::new("entity-default")
                    .long("entity-default")
                    .help("The default of a type, instead of a name")
                    .action(ArgAction::Append)
                    .num_args(0)
                    .default_missing_value(""),
            )
            .arg(text("topic", "NAME", "The topic"))
            .arg(text("client", "ID", "The client's id"))
            .arg(text("user", "NAME", "The user's principal name"))
            .arg(text("broker", "ID", "The broker's id"))
            .arg(text("broker-logger", "ID", "The id of the broker whose loggers are meant"))
            .arg(text("ip", "ADDRESS", "The address"))
            .arg(text("client-metrics", "NAME", "The subscription of client metrics"))
            .arg(text("group", "NAME", "The group"))
            .arg(flag("client-defaults", "The defaults of all clients"))
            .arg(flag("user-defaults", "The defaults of all users"))
            .arg(flag("broker-defaults", "The defaults of all brokers"))
            .arg(flag("ip-defaults", "The defaults of all addresses"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Named {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut typed: Vec<(usize, String)> = Vec::new();
        for id in ["entity-name", "entity-default"] {
            if matches.value_source(id) == Some(ValueSource::CommandLine) {
                let places = matches.indices_of(id).into_iter().flatten();
                let values = matches.get_many::<String>(id).into_iter().flatten();
                typed.extend(places.zip(values.cloned()));
            }
        }
        typed.sort_unstable();
        let types = matches.get_many::<String>("entity-type");
        let mut short = Vec::new();
        for (kind, _, flag) in Kind::ALL {
            if let Some(name) = matches.get_one::<String>(flag) {
                short.push((kind, name.clone()));
            }
        }
        for (kind, flag) in [
            (Kind::Clients, "client-defaults"),
            (Kind::Users, "user-defaults"),
            (Kind::Brokers, "broker-defaults"),
            (Kind::Ips, "ip-defaults"),
        ] {
            if matches.get_flag(flag) {
                short.push((kind, String::new()));
            }
        }
        Ok(Self {
            types: types.into_iter().flatten().cloned().collect(),
            names: typed.into_iter().map(|(_, name)| name).collect(),
            has_default_flag: matches.value_source("entity-default").is_some(),
            short,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Types, and as many names as were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entities {
    pub(super) kinds: Vec<Kind>,
    pub(super) names: Vec<String>,
    has_default_flag: bool,
}

impl Named {
    pub(super) fn entities(&self) -> anyhow::Result<Entities> {
        ensure!(
            self.short.is_empty()
                || self.types.is_empty() && self.names.is_empty() && !self.has_default_flag,
            "--entity-{{type,name,default}} should not be used in conjunction with specific entity \
             flags"
        );
        let mut kinds = Vec::new();
        for text in &self.types {
            let found = Kind::ALL.iter().find(|(_, name, _)| name == text);
            let (kind, ..) = found.with_context(|| {
                let valid: Vec<_> = Kind::ALL.iter().map(|(_, name, _)| *name).collect();
                format!(
                    "Invalid entity type {text}, the entity type must be one of {}",
                    valid.join(", ")
                )
            })?;
            kinds.push(*kind);
        }
        kinds.extend(self.short.iter().map(|(kind, _)| *kind));
        for (n, kind) in kinds.iter().enumerate() {
            ensure!(
                !kinds.iter().take(n).any(|before| before == kind),
                "Duplicate entity type(s) specified: {}",
                kind.name()
            );
        }
        match &kinds[..] {
            [] => bail!("At least one entity type must be specified"),
            [_] | [Kind::Users, Kind::Clients] | [Kind::Clients, Kind::Users] => {}
            _ => bail!("Only 'users' and 'clients' entity types may be specified together"),
        }
        let short = self.short.iter().map(|(_, name)| name.clone());
        let entities = Entities {
            kinds,
            names: self.names.iter().cloned().chain(short).collect(),
            has_default_flag: self.has_default_flag,
        };
        entities.check_names()?;
        Ok(entities)
    }
}

impl Entities {
    pub(super) fn head(&self) -> Kind {
        self.kinds.first().copied().unwrap_or(Kind::Topics)
    }

    pub(super) fn head_name(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    pub(super) fn has_default(&self) -> bool {
        self.names.iter().any(String::is_empty)
    }

    /// A user alone, whose credentials may be meant.
    pub(super) fn is_one_user(&self) -> bool {
        self.kinds == [Kind::Users]
    }

    fn has_name(&self) -> bool {
        self.names.iter().any(|name| !name.is_empty())
    }

    fn list(&self) -> String {
        let kinds: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
        kinds.join(",")
    }

    fn check_names(&self) -> anyhow::Result<()> {
        let names = self.names.iter().filter(|name| !name.is_empty());
        let kind = self.head();
        for name in names {
            match kind {
                Kind::Brokers | Kind::BrokerLoggers => ensure!(
                    name.parse::<i32>().is_ok(),
                    "The entity name for {} must be a valid integer broker id, but it is: {name}",
                    kind.name()
                ),
                Kind::Ips => ensure!(
                    (name.as_str(), 0).to_socket_addrs().is_ok(),
                    "The entity name for {} must be a valid IP or resolvable host, but it is: {name}",
                    kind.name()
                ),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn check_to_describe(&self) -> anyhow::Result<()> {
        let list = self.list();
        ensure!(
            !self.has_default_flag || self.kinds.iter().any(|kind| kind.has_default()),
            "--entity-default must not be specified with --describe of {list}"
        );
        ensure!(
            self.head() != Kind::BrokerLoggers || self.has_name(),
            "An entity name must be specified with --describe of {list}"
        );
        Ok(())
    }

    pub(super) fn check_to_alter(&self) -> anyhow::Result<()> {
        if self.kinds.iter().any(|kind| kind.has_default()) {
            ensure!(
                !self.names.is_empty(),
                "An entity-name or default entity must be specified with --alter of users, \
                 clients, brokers or ips"
            );
        } else {
            ensure!(
                self.has_name(),
                "An entity name must be specified with --alter of {}",
                self.list()
            );
        }
        ensure!(
            self.kinds.len() == self.names.len(),
            "An entity name must be specified for every entity type"
        );
        Ok(())
    }

    /// Kafka's tool speaks of the first alone.
    pub(super) fn completed(&self) -> String {
        let kind = self.head();
        match self.head_name().unwrap_or_default() {
            "" => format!(
                "Completed updating default config for {} in the cluster.",
                kind.name()
            ),
            name => format!("Completed updating config for {} {name}.", kind.singular()),
        }
    }

    pub(super) fn json(&self) -> Value {
        let name = |n: usize| self.names.get(n).filter(|name| !name.is_empty());
        let kinds = self.kinds.iter().enumerate();
        kinds
            .map(|(n, kind)| json!({ "type": kind.name(), "name": name(n) }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        named: Named,
    }

    fn typed(flags: &str) -> anyhow::Result<Entities> {
        let flags = ["configs"].into_iter().chain(flags.split_whitespace());
        Alone::try_parse_from(flags)?.named.entities()
    }

    #[test]
    fn names_belong_to_types_in_the_order_in_which_they_are_typed() {
        for (flags, kinds, names) in [
            ("--topic a", vec![Kind::Topics], vec!["a"]),
            ("--entity-type topics", vec![Kind::Topics], vec![]),
            (
                "--entity-type users --entity-default --entity-type clients --entity-name c",
                vec![Kind::Users, Kind::Clients],
                vec!["", "c"],
            ),
            (
                "--entity-type users --entity-type clients --entity-name u --entity-default",
                vec![Kind::Users, Kind::Clients],
                vec!["u", ""],
            ),
            ("--broker-defaults", vec![Kind::Brokers], vec![""]),
            (
                "--user u --client-defaults",
                vec![Kind::Users, Kind::Clients],
                vec!["u", ""],
            ),
        ] {
            let found = typed(flags).unwrap();
            assert_eq!(
                (found.kinds, found.names),
                (kinds, names.into_iter().map(str::to_owned).collect()),
                "{flags}"
            );
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for flags in [
            "",
            "--entity-type things",
            "--topic a --broker 0",
            "--topic a --entity-type topics",
            "--entity-type topics --entity-type topics",
            "--broker one",
            "--ip 999.1.1.1",
        ] {
            assert!(typed(flags).is_err(), "{flags}");
        }
        assert!(typed("--topic a").unwrap().check_to_alter().is_ok());
        assert!(
            typed("--entity-type topics")
                .unwrap()
                .check_to_alter()
                .is_err()
        );
        assert!(
            typed("--entity-type users --entity-type clients --entity-name u")
                .unwrap()
                .check_to_alter()
                .is_err()
        );
        assert!(
            typed("--entity-type topics --entity-default")
                .unwrap()
                .check_to_describe()
                .is_err()
        );
        assert!(
            typed("--entity-type broker-loggers")
                .unwrap()
                .check_to_describe()
                .is_err()
        );
    }

    #[test]
    fn what_was_done_is_told_of_the_first() {
        let told = |flags| typed(flags).unwrap().completed();
        assert_eq!(
            told("--client-metrics m"),
            "Completed updating config for client-metric m."
        );
        assert_eq!(
            told("--user-defaults"),
            "Completed updating default config for users in the cluster."
        );
    }
}

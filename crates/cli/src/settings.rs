//! What the user means: defaults, then the file, then the environment, then `--override`.
//!
//! Every value keeps where it comes from, so that an error can say it in one sentence.

mod environment;
pub(crate) mod properties;
mod providers;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ottla_metadata::config::{BadValue, BrokerConfig, Catalogue, NodeSettings, Scope, Standing};

use providers::Providers;

/// What the command line and the process were given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    /// `server.properties`; without one the node gets defaults that work at once.
    pub(crate) file: Option<PathBuf>,
    /// `--override NAME=VALUE`, in their order.
    pub(crate) overrides: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// The process's variables; what is no UTF-8 cannot be a setting, and must not end the process.
pub(crate) fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Settings that a node can start with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) broker: BrokerConfig,
    pub(crate) node: NodeSettings,
    /// Said once at start.
    pub(crate) notes: Vec<Note>,
    /// `CLUSTER_ID` or `KAFKA_KRAFT_CLUSTER_ID`.
    pub(crate) cluster_id: Option<String>,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// What a node without a file gets.
    Builtin,
    File {
        path: PathBuf,
        line: usize,
    },
    Environment {
        variable: String,
    },
    Override,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => write!(f, "default"),
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Override => write!(f, "--override"),
        }
    }
}

/// A setting that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) name: String,
    pub(crate) origin: Origin,
    pub(crate) standing: Standing,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.standing {
            Standing::Unknown => "is no setting that Kafka or Ottla knows",
            _ => "is known and not honoured yet",
        };
        write!(f, "{} {what} ({})", self.name, self.origin)
    }
}

/// Why the node cannot start, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SettingsError {
    Unreadable {
        path: PathBuf,
        why: String,
    },
    Malformed {
        path: PathBuf,
        why: String,
    },
    /// `--override` without `=`.
    BadOverride {
        text: String,
    },
    Missing {
        name: &'static str,
        path: PathBuf,
    },
    Bad {
        bad: BadValue,
        origin: Option<Origin>,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => write!(f, "{} cannot be read: {why}", path.display()),
            Self::Malformed { path, why } => write!(f, "{} {why}", path.display()),
            Self::BadOverride { text } => write!(f, "--override {text}: must be NAME=VALUE"),
            Self::Missing { name, path } => {
                write!(
                    f,
                    "{}: {name} must be set, it has no default",
                    path.display()
                )
            }
            Self::Bad { bad, origin } => {
                if let Some(origin) = origin {
                    write!(f, "{origin}: ")?;
                }
                match &bad.value {
                    Some(value) => {
                        write!(f, "{}={value} is not allowed: {}", bad.name, bad.allowed)
                    }
                    None => write!(f, "{} {}", bad.name, bad.allowed),
                }
            }
        }
    }
}

impl std::error::Error for SettingsError {}

/// Reads, resolves and checks everything. What this returns can be served.
pub(crate) fn load(given: &Given) -> Result<Settings, SettingsError> {
    let checked = read(given)?;
    checked
        .broker
        .check_served(&checked.node)
        .map_err(|bad| checked.written.bad(bad))?;
    Ok(checked.settings(given))
}

/// As `load`, also for a node that this version could not start: `format` prepares those too.
pub(crate) fn load_to_format(given: &Given) -> Result<Settings, SettingsError> {
    read(given).map(|checked| checked.settings(given))
}

struct Checked {
    written: Written,
    broker: BrokerConfig,
    node: NodeSettings,
}

impl Checked {
    fn settings(self, given: &Given) -> Settings {
        Settings {
            notes: self.written.notes(),
            broker: self.broker,
            node: self.node,
            cluster_id: environment::cluster_id(&given.environment),
        }
    }
}

fn read(given: &Given) -> Result<Checked, SettingsError> {
    let mut written = Written::default();
    written.add_file(given)?;
    for one in environment::settings(&given.environment) {
        written.set(
            one.name,
            one.value,
            Origin::Environment {
                variable: one.variable,
            },
        );
    }
    for text in &given.overrides {
        let bad = || SettingsError::BadOverride { text: text.clone() };
        let (name, value) = text.split_once('=').ok_or_else(bad)?;
        written.set(name.trim().to_owned(), value.to_owned(), Origin::Override);
    }
    if given.file.is_none() {
        written.add_builtin();
    }
    written.resolve_references(&given.environment)?;
    written.require_names(given.file.as_deref())?;
    let broker = BrokerConfig::new(written.values());
    let node = broker.node_settings().map_err(|bad| written.bad(bad))?;
    Ok(Checked {
        written,
        broker,
        node,
    })
}

/// Everything that somebody wrote, the strongest value of each name, with its origin.
#[derive(Debug, Default)]
struct Written {
    by_name: BTreeMap<String, (String, Origin)>,
}

impl Written {
    fn set(&mut self, name: String, value: String, origin: Origin) {
        self.by_name.insert(name, (value, origin));
    }

    fn add_file(&mut self, given: &Given) -> Result<(), SettingsError> {
        let Some(path) = &given.file else {
            return Ok(());
        };
        let bytes = fs::read(path).map_err(|error| SettingsError::Unreadable {
            path: path.clone(),
            why: error.to_string(),
        })?;
        let entries = properties::parse(&bytes).map_err(|malformed| SettingsError::Malformed {
            path: path.clone(),
            why: malformed.to_string(),
        })?;
        for entry in entries {
            let origin = Origin::File {
                path: path.clone(),
                line: entry.line,
            };
            self.set(entry.name, entry.value, origin);
        }
        Ok(())
    }

    /// A node without a file stands alone and works at once.
    fn add_builtin(&mut self) {
        const BUILTIN: &[(&str, &str, &[&str])] = &[
            ("process.roles", "broker,controller", &[]),
            ("node.id", "1", &["broker.id"]),
            ("listeners", "PLAINTEXT://:9092,CONTROLLER://:9093", &[]),
            ("controller.listener.names", "CONTROLLER", &[]),
            ("log.dirs", "./ottla-data", &["log.dir"]),
            ("offsets.topic.replication.factor", "1", &[]),
            ("transaction.state.log.replication.factor", "1", &[]),
            ("transaction.state.log.min.isr", "1", &[]),
            ("share.coordinator.state.topic.replication.factor", "1", &[]),
            ("share.coordinator.state.topic.min.isr", "1", &[]),
        ];
        for (name, value, or) in BUILTIN {
            let is_set = |name: &&str| self.by_name.contains_key(*name);
            if !is_set(name) && !or.iter().any(is_set) {
                self.set((*name).to_owned(), (*value).to_owned(), Origin::Builtin);
            }
        }
    }

    fn resolve_references(
        &mut self,
        environment: &[(String, String)],
    ) -> Result<(), SettingsError> {
        let providers = Providers::new(&self.values(), environment)
            .map_err(|bad| self.bad(BadValue::new(&bad.name, Some(&bad.value), bad.why)))?;
        for (value, _) in self.by_name.values_mut() {
            if value.contains("${") {
                *value = providers.resolve(value);
            }
        }
        Ok(())
    }

    fn require_names(&self, file: Option<&Path>) -> Result<(), SettingsError> {
        // `broker.id` is the older name of `node.id`.
        let required: [&[&'static str]; 3] = [
            &["process.roles"],
            &["node.id", "broker.id"],
            &["controller.listener.names"],
        ];
        for names in required {
            if !names.iter().any(|name| self.by_name.contains_key(*name)) {
                let path = file.unwrap_or(Path::new("the settings")).to_owned();
                return Err(SettingsError::Missing {
                    name: names[0],
                    path,
                });
            }
        }
        Ok(())
    }

    fn values(&self) -> BTreeMap<String, String> {
        self.by_name
            .iter()
            .map(|(name, (value, _))| (name.clone(), value.clone()))
            .collect()
    }

    /// Settings without effect, in the order of their names.
    fn notes(&self) -> Vec<Note> {
        let written = self
            .by_name
            .iter()
            .filter(|(_, (_, origin))| *origin != Origin::Builtin);
        written
            .filter_map(|(name, (_, origin))| {
                let standing = Standing::of(name);
                (standing != Standing::Honoured).then(|| Note {
                    name: name.clone(),
                    origin: origin.clone(),
                    standing,
                })
            })
            .collect()
    }

    fn bad(&self, mut bad: BadValue) -> SettingsError {
        let origin = self
            .by_name
            .get(&bad.name)
            .map(|(_, origin)| origin.clone());
        let is_secret = Catalogue::find(Scope::Node, &bad.name)
            .is_none_or(|definition| definition.is_sensitive());
        // What was written says more than what was understood of it.
        if let Some((written, _)) = self.by_name.get(&bad.name)
            && !is_secret
        {
            bad.value = Some(written.trim().to_owned());
        }
        SettingsError::Bad { bad, origin }
    }
}

#[cfg(test)]
mod tests;

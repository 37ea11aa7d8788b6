//! `ottla storage`: prepare log directories, or look at them; the commands of `kafka-storage.sh`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use ottla_storage::{Disk, MetaProperties, new_id};
use serde_json::{Value, json};

use super::{features::levels, format};
use crate::output::{self, Output, Shape};
use crate::settings::{Given, load_to_format, process_environment};

/// Prepare log directories, or look at them
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prepare empty log directories
    Format(format::Flags),
    /// What the log directories are
    Info {
        /// Kafka's server.properties
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Make up an id, for a cluster or a directory
    RandomUuid,
    /// The levels that belong to a release
    VersionMapping(levels::Mapping),
    /// What a level needs of other features
    FeatureDependencies(levels::Dependencies),
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut output = Output::shaped(args.shape);
    let done = match args.action {
        Action::Format(flags) => format::tell(&flags, &mut output).map(|()| ExitCode::SUCCESS),
        Action::Info { config } => info(config, &mut output),
        Action::RandomUuid => {
            let id = new_id().to_string();
            let said = output.say(&id, &json!({ "uuid": id }));
            said.map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
        Action::VersionMapping(mapping) => mapping.print(&mut output).map(|()| ExitCode::SUCCESS),
        Action::FeatureDependencies(dependencies) => {
            dependencies.print(&mut output).map(|()| ExitCode::SUCCESS)
        }
    };
    let flushed = output.flush();
    output::finished(done.and_then(|code| Ok(flushed.map(|()| code)?)))
}

fn info(config: Option<PathBuf>, output: &mut Output) -> anyhow::Result<ExitCode> {
    let given = Given {
        file: config,
        environment: process_environment(),
        ..Given::default()
    };
    let node = load_to_format(&given)?.node;
    let mut directories: BTreeSet<PathBuf> = node.log_dirs.iter().map(PathBuf::from).collect();
    directories.insert(PathBuf::from(node.metadata_log_dir));
    let found = Found::of(&directories, &Disk::new());
    output.rows(found.lines(), [found.json()])?;
    Ok(if found.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What there is in log directories.
#[derive(Debug, Default)]
struct Found {
    directories: Vec<String>,
    identity: Option<MetaProperties>,
    problems: Vec<String>,
}

impl Found {
    fn of(directories: &BTreeSet<PathBuf>, disk: &Disk) -> Self {
        let mut found = Self::default();
        directories.iter().for_each(|it| found.look(it, disk));
        found
    }

    fn look(&mut self, directory: &Path, disk: &Disk) {
        let shown = directory.display();
        if !directory.is_dir() {
            let how = if directory.exists() {
                "is not a directory"
            } else {
                "does not exist"
            };
            self.problems.push(format!("{shown} {how}"));
            return;
        }
        self.directories.push(shown.to_string());
        let identity = match MetaProperties::read(disk, directory) {
            Ok(Some(identity)) => identity,
            Ok(None) => {
                self.problems.push(format!("{shown} is not formatted."));
                return;
            }
            Err(why) => {
                self.problems.push(why.to_string());
                return;
            }
        };
        let Some(first) = &self.identity else {
            self.identity = Some(identity);
            return;
        };
        let mismatched = |what| format!("Mismatched {what} IDs between storage directories.");
        if first.cluster_id != identity.cluster_id {
            self.problems.push(mismatched("cluster"));
        } else if first.node_id != identity.node_id {
            self.problems.push(mismatched("node"));
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = titled("Found log director", ["y:", "ies:"], &self.directories);
        if let Some(identity) = &self.identity {
            lines.push(format!("Found metadata: {{{}}}", shown(identity)));
            lines.push(String::new());
        }
        lines.extend(titled("Found problem", [":", "s:"], &self.problems));
        lines
    }

    fn json(&self) -> Value {
        let identity = self.identity.as_ref();
        json!({
            "directories": self.directories,
            "clusterId": identity.map(|it| &it.cluster_id),
            "nodeId": identity.map(|it| it.node_id),
            "problems": self.problems,
        })
    }
}

/// A list under its title, which ends in the first way for one item; nothing for none.
fn titled(title: &str, [one, many]: [&str; 2], items: &[String]) -> Vec<String> {
    if items.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!(
        "{title}{}",
        if items.len() == 1 { one } else { many }
    )];
    lines.extend(items.iter().map(|item| format!("  {item}")));
    lines.push(String::new());
    lines
}

fn shown(identity: &MetaProperties) -> String {
    let directory = identity
        .directory_id
        .map(|id| format!("directory.id={id}, "));
    format!(
        "cluster.id={}, {}node.id={}, version=1",
        identity.cluster_id,
        directory.unwrap_or_default(),
        identity.node_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_what_is_wrong_is_listed() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let disk = Disk::new();
        for (name, cluster_id) in [("a", "x"), ("b", "y"), ("c", "")] {
            std::fs::create_dir(path(name)).unwrap();
            let identity = MetaProperties {
                cluster_id: cluster_id.to_owned(),
                node_id: 3,
                directory_id: None,
            };
            if !cluster_id.is_empty() {
                identity.write(&disk, &path(name)).unwrap();
            }
        }
        let all = ["a", "b", "c", "d"].map(path).into();
        let lines = Found::of(&all, &disk).lines().join("\n");
        let lines = lines.replace(&format!("{}/", root.path().display()), "");
        let expected = "Found log directories:\n  a\n  b\n  c\n\n\
            Found metadata: {cluster.id=x, node.id=3, version=1}\n\n\
            Found problems:\n  Mismatched cluster IDs between storage directories.\n  \
            c is not formatted.\n  d does not exist\n";
        assert_eq!(lines, expected);
        let one = Found::of(&[path("a")].into(), &disk);
        assert!(one.problems.is_empty() && one.lines()[0] == "Found log directory:");
    }
}

//! `ottla format`: prepare empty log directories, with the flags of `kafka-storage.sh format`; and the same by
//! itself when `ottla server` starts on directories that nobody has used.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ottla_metadata::config::{NodeSettings, QuorumForm};
use ottla_metadata::records::{MetadataVersion, Record};
use ottla_node::{Format, Formatted, InitialController, InitialVoters, auto_format, standalone};
use ottla_protocol::Uuid;
use ottla_storage::{Disk, new_id};
use serde_json::{Map, Value, json};

use super::duration::now_ms;
use crate::output::{self, Output, Shape};
use crate::settings::{Given, Settings, load_to_format, process_environment};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    shape: Shape,
}

/// What `ottla storage format` takes, too.
#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Kafka's server.properties; without it the defaults of `ottla server`.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// The cluster's id; without it CLUSTER_ID, or a new one.
    #[arg(short = 't', long)]
    cluster_id: Option<String>,
    /// Leave formatted directories as they are and format the others.
    #[arg(short = 'g', long)]
    ignore_formatted: bool,
    /// The release whose feature levels the cluster starts with: 3.3 to 4.3.
    #[arg(short, long)]
    release_version: Option<String>,
    /// A feature at a level: `group.version=1`.
    #[arg(short, long, value_name = "NAME=LEVEL")]
    feature: Vec<String>,
    /// This node is the first and only voter of a dynamic quorum.
    #[arg(short, long, group = "quorum")]
    standalone: bool,
    /// The bootstrap servers know who votes.
    #[arg(short = 'N', long, group = "quorum")]
    no_initial_controllers: bool,
    /// The first voters of a dynamic quorum: `id@host:port:directory`, separated by commas.
    #[arg(short = 'I', long, group = "quorum", value_name = "VOTERS")]
    initial_controllers: Option<String>,
    /// Not served yet: SCRAM credentials for the first start.
    #[arg(short = 'S', long, value_name = "CREDENTIAL")]
    add_scram: Vec<String>,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut output = Output::shaped(args.shape);
    let told = tell(&args.flags, &mut output).and_then(|()| Ok(output.flush()?));
    output::finished(told.map(|()| ExitCode::SUCCESS))
}

pub(super) fn tell(flags: &Flags, output: &mut Output) -> anyhow::Result<()> {
    let report = format(flags, process_environment())?;
    Ok(output.rows(report.lines(), [report.json()])?)
}

/// Does the work and returns what came of it.
fn format(args: &Flags, environment: Vec<(String, String)>) -> anyhow::Result<Report> {
    if !args.add_scram.is_empty() {
        bail!("--add-scram: SASL/SCRAM is not served yet, so no credential can be prepared.");
    }
    let given = Given {
        file: args.config.clone(),
        environment,
        ..Given::default()
    };
    let settings = load_to_format(&given)?;
    let (level, features) = levels(args)?;
    let format = Format {
        cluster_id: args
            .cluster_id
            .clone()
            .or(settings.cluster_id)
            .unwrap_or_else(|| new_id().to_string()),
        node_id: settings.node.node_id,
        directories: settings.node.log_dirs.iter().map(PathBuf::from).collect(),
        metadata_directory: PathBuf::from(&settings.node.metadata_log_dir),
        controller_listener: settings
            .node
            .controller_listener_names
            .first()
            .cloned()
            .unwrap_or_default(),
        voters: voters(args, &settings.node)?,
        level,
        features,
        ignore_formatted: args.ignore_formatted,
    };
    let done = format.run(&Disk::new(), now_ms(), new_id)?;
    Ok(Report { format, done })
}

/// At the start of a node: prepares its directories if nothing can be lost or confused by it.
pub(crate) fn prepare_if_empty(settings: &Settings) -> anyhow::Result<()> {
    let own_hosts = [ottla_node::node_name(), ottla_node::host_name()];
    let disk = Disk::new();
    let cluster_id = settings.cluster_id.clone();
    let Some(format) = auto_format(&settings.node, cluster_id, &own_hosts, &disk, new_id)? else {
        return Ok(());
    };
    let done = format.run(&disk, now_ms(), new_id)?;
    for (path, role) in &done.directories {
        tracing::info!(
            cluster_id = format.cluster_id,
            directory = %path.display(),
            "formatted an empty {role} with metadata.version {}",
            format.level
        );
    }
    Ok(())
}

/// The metadata.version and the other features that were asked for.
fn levels(args: &Flags) -> anyhow::Result<(MetadataVersion, Vec<(String, i16)>)> {
    let mut level = match &args.release_version {
        None => MetadataVersion::MAX,
        Some(text) => MetadataVersion::from_name(text).with_context(|| {
            format!(
                "Unknown metadata.version '{text}'. Supported are {} to {}.",
                MetadataVersion::MIN,
                MetadataVersion::MAX
            )
        })?,
    };
    let mut features = Vec::new();
    for text in &args.feature {
        let pair = text.split_once('=').and_then(|(name, level)| {
            Some((name.trim().to_owned(), level.trim().parse::<i16>().ok()?))
        });
        let (name, asked) =
            pair.with_context(|| format!("--feature {text}: must be NAME=LEVEL"))?;
        if name != MetadataVersion::FEATURE {
            features.push((name, asked));
            continue;
        }
        if args.release_version.is_some() {
            bail!(
                "Use --release-version instead of --feature metadata.version=X to avoid ambiguity."
            );
        }
        level = MetadataVersion::from_level(asked)
            .with_context(|| format!("Unknown metadata.version {asked}"))?;
    }
    Ok((level, features))
}

/// Who votes at first, by flags and settings together.
fn voters(args: &Flags, node: &NodeSettings) -> anyhow::Result<InitialVoters> {
    if matches!(node.quorum, QuorumForm::Static(_)) {
        if args.standalone || args.initial_controllers.is_some() {
            bail!(
                "controller.quorum.voters is set, so the quorum is fixed: --standalone and \
                 --initial-controllers are for controller.quorum.bootstrap.servers."
            );
        }
        return Ok(InitialVoters::Static);
    }
    if let Some(text) = &args.initial_controllers {
        let voters: anyhow::Result<Vec<_>> = text.split(',').map(initial_controller).collect();
        return Ok(InitialVoters::Known(voters?));
    }
    if args.standalone {
        if !node.roles.controller {
            bail!("You can only use --standalone on a controller.");
        }
        return Ok(InitialVoters::Known(vec![standalone(node, new_id())]));
    }
    if node.roles.controller && !args.no_initial_controllers {
        bail!(
            "Because controller.quorum.voters is not set on this controller, you must specify one of \
             the following: --standalone, --initial-controllers, or --no-initial-controllers."
        );
    }
    Ok(InitialVoters::Elsewhere)
}

/// `id@host:port:directory`, an IPv6 host in brackets.
fn initial_controller(text: &str) -> anyhow::Result<InitialController> {
    let parse = || {
        let (id, rest) = text.trim().split_once('@')?;
        let (address, directory) = rest.rsplit_once(':')?;
        let (host, port) = address.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            None => host,
        };
        let directory_id: Uuid = directory.parse().ok()?;
        let id: i32 = id.parse().ok()?;
        let is_sound = id >= 0 && !host.is_empty() && !directory_id.is_reserved();
        let host = host.to_owned();
        is_sound.then_some(InitialController {
            id,
            host,
            port: port.parse().ok()?,
            directory_id,
        })
    };
    parse().with_context(|| {
        format!("--initial-controllers {text}: each voter must be id@host:port:directory")
    })
}

/// What was to be done, and what was.
#[derive(Debug)]
struct Report {
    format: Format,
    done: Formatted,
}

impl Report {
    /// What `kafka-storage.sh format` says, without the insides of its Java objects.
    fn lines(&self) -> Vec<String> {
        let Self { format, done } = self;
        let ignored = done.ignored.iter().map(|(path, why)| {
            format!(
                "I/O error trying to read log directory {}. Ignoring... ({why})",
                path.display()
            )
        });
        let mut lines: Vec<String> = ignored.collect();
        if done.directories.is_empty() {
            lines.push("All of the log directories are already formatted.".to_owned());
            return lines;
        }
        let levels = self.levels().map(|(name, level)| format!("{name}={level}"));
        let levels: Vec<_> = levels.collect();
        lines.push(format!("Cluster id: {}", format.cluster_id));
        lines.push(format!("Bootstrap metadata: {}", levels.join(", ")));
        lines.extend(done.directories.iter().map(|(path, role)| {
            format!(
                "Formatting {role} {} with metadata.version {}.",
                path.display(),
                format.level
            )
        }));
        lines
    }

    fn json(&self) -> Value {
        let Self { format, done } = self;
        let features: Map<String, Value> = self
            .levels()
            .map(|(name, level)| (name.to_owned(), level.into()))
            .collect();
        let formatted = done.directories.iter().map(|(path, role)| {
            json!({ "directory": path.display().to_string(), "role": role.to_string() })
        });
        let ignored = done
            .ignored
            .iter()
            .map(|(path, why)| json!({ "directory": path.display().to_string(), "error": why }));
        json!({
            "clusterId": format.cluster_id,
            "metadataVersion": format.level.to_string(),
            "features": features,
            "formatted": formatted.collect::<Vec<_>>(),
            "ignored": ignored.collect::<Vec<_>>(),
        })
    }

    /// The features of the first start, in the order of their records.
    fn levels(&self) -> impl Iterator<Item = (&str, i16)> {
        let records = self.done.bootstrap.records.iter();
        records.filter_map(|record| match record {
            Record::FeatureLevel(record) => Some((&*record.name, record.feature_level)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use expect_test::{Expect, expect};

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        flags: Flags,
    }

    /// Writes a file of settings, and says where it and the data directory are.
    fn settings_file(root: &std::path::Path, settings: &str) -> (String, String) {
        let file = root.join("server.properties");
        let least = "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\n\
                     controller.listener.names=CONTROLLER\n";
        let data = root.join("data").display().to_string();
        std::fs::write(&file, format!("{least}log.dirs={data}\n{settings}")).unwrap();
        (file.display().to_string(), data)
    }

    /// Runs the command on a directory of its own and shows what it prints.
    fn check(root: &std::path::Path, settings: &str, flags: &[&str], expect: Expect) {
        let (config, data) = settings_file(root, settings);
        let flags = ["format", "-c", &config]
            .into_iter()
            .chain(flags.iter().copied());
        let shown = match Alone::try_parse_from(flags) {
            Err(error) => error
                .to_string()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
            Ok(Alone { flags }) => match format(&flags, Vec::new()) {
                Ok(report) => report.lines().join("\n"),
                Err(error) => format!("{error:#}"),
            },
        };
        expect.assert_eq(&shown.replace(&data, "DATA"));
    }

    const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";
    const SERVERS: &str = "controller.quorum.bootstrap.servers=localhost:9093\n";

    #[test]
    fn a_directory_is_prepared_once() {
        let root = tempfile::tempdir().unwrap();
        check(
            root.path(),
            SERVERS,
            &["-t", CLUSTER, "--standalone"],
            expect![[r#"
                Cluster id: MkU3OEVBNTcwNTJENDM2Qg
                Bootstrap metadata: metadata.version=30, eligible.leader.replicas.version=1, group.version=1, share.version=1, streams.version=1, transaction.version=2
                Formatting dynamic metadata voter directory DATA with metadata.version 4.3-IV0."#]],
        );
        check(
            root.path(),
            SERVERS,
            &["-t", CLUSTER, "-s"],
            expect![
                "Log directory DATA is already formatted. Use --ignore-formatted to ignore this directory and format the others."
            ],
        );
        check(
            root.path(),
            SERVERS,
            &["-t", CLUSTER, "-s", "-g"],
            expect!["All of the log directories are already formatted."],
        );
        check(
            root.path(),
            SERVERS,
            &["-t", "another", "-s", "-g"],
            expect![
                "Log directory DATA belongs to cluster MkU3OEVBNTcwNTJENDM2Qg, not to another."
            ],
        );
    }

    #[test]
    fn the_report_is_an_object_too() {
        let root = tempfile::tempdir().unwrap();
        let (config, data) = settings_file(root.path(), SERVERS);
        let flags = ["format", "-c", &config, "-t", CLUSTER, "-s", "-r", "4.0"];
        let flags = Alone::try_parse_from(flags).unwrap().flags;
        let json = format(&flags, Vec::new()).unwrap().json();
        assert_eq!(json["clusterId"], CLUSTER);
        assert_eq!(json["metadataVersion"], "4.0-IV3");
        assert_eq!(json["features"]["metadata.version"], 25);
        let role = "dynamic metadata voter directory";
        assert_eq!(
            json["formatted"],
            json!([{ "directory": data, "role": role }])
        );
        assert_eq!(json["ignored"], json!([]));
    }

    #[test]
    fn releases_and_features_are_chosen() {
        let root = tempfile::tempdir().unwrap();
        check(
            root.path(),
            "controller.quorum.voters=1@localhost:9093\n",
            &["-t", CLUSTER, "-r", "4.0", "-f", "transaction.version=1"],
            expect![[r#"
                Cluster id: MkU3OEVBNTcwNTJENDM2Qg
                Bootstrap metadata: metadata.version=25, group.version=1, transaction.version=1
                Formatting metadata directory DATA with metadata.version 4.0-IV3."#]],
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let check = |settings: &str, flags: &[&str], expect| {
            let flags: Vec<_> = ["-t", CLUSTER].iter().chain(flags).copied().collect();
            check(root.path(), settings, &flags, expect);
        };
        check(
            SERVERS,
            &[],
            expect![
                "Because controller.quorum.voters is not set on this controller, you must specify one of the following: --standalone, --initial-controllers, or --no-initial-controllers."
            ],
        );
        check(
            SERVERS,
            &["-s", "-N"],
            expect![
                "error: the argument '--standalone' cannot be used with '--no-initial-controllers'"
            ],
        );
        check(
            "controller.quorum.voters=1@localhost:9093\n",
            &["-s"],
            expect![
                "controller.quorum.voters is set, so the quorum is fixed: --standalone and --initial-controllers are for controller.quorum.bootstrap.servers."
            ],
        );
        check(
            SERVERS,
            &["-s", "-r", "4.9"],
            expect!["Unknown metadata.version '4.9'. Supported are 3.3-IV3 to 4.3-IV0."],
        );
        check(
            SERVERS,
            &["-s", "-r", "4.0", "-f", "metadata.version=25"],
            expect![
                "Use --release-version instead of --feature metadata.version=X to avoid ambiguity."
            ],
        );
        check(
            SERVERS,
            &["-s", "-f", "group.version"],
            expect!["--feature group.version: must be NAME=LEVEL"],
        );
        check(
            SERVERS,
            &["-s", "-S", "SCRAM-SHA-256=[name=a,password=b]"],
            expect!["--add-scram: SASL/SCRAM is not served yet, so no credential can be prepared."],
        );
        check(
            SERVERS,
            &["-I", "1@localhost:9093"],
            expect![
                "--initial-controllers 1@localhost:9093: each voter must be id@host:port:directory"
            ],
        );
        assert!(!root.path().join("data").exists());
    }
}

//! What the user typed.

use std::pin::Pin;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::{commands, links, output};

/// An event streaming platform that is Apache Kafka to everything that touches it.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node.
    Server(commands::server::Args),
    /// Prepare empty log directories (kafka-storage.sh format).
    Format(commands::format::Args),
    /// Prepare log directories, or look at them (kafka-storage.sh).
    Storage(commands::storage::Args),
    /// Print log, index, snapshot and metadata files (kafka-dump-log.sh).
    Dump(commands::dump::Args),
    /// Create, list, describe, alter or delete topics (kafka-topics.sh).
    Topics(commands::topics::Args),
    /// Describe or alter settings and quotas (kafka-configs.sh).
    Configs(commands::configs::Args),
    /// Publish lines of standard input (kafka-console-producer.sh).
    Produce(commands::produce::Args),
    /// Print the records of topics (kafka-console-consumer.sh).
    Consume(commands::consume::Args),
    /// List, describe, reset or delete consumer groups (kafka-consumer-groups.sh).
    Groups(commands::groups::Args),
    /// List groups of all types (kafka-groups.sh).
    ListGroups(commands::list_groups::Args),
    /// Where partitions begin and end (kafka-get-offsets.sh).
    GetOffsets(commands::get_offsets::Args),
    /// Forget records before an offset (kafka-delete-records.sh).
    DeleteRecords(commands::delete_records::Args),
    /// What lies in which log directory (kafka-log-dirs.sh).
    LogDirs(commands::log_dirs::Args),
    /// The cluster's id and nodes, and forgetting a broker (kafka-cluster.sh).
    Cluster(commands::cluster::Args),
    /// Describe or change feature levels (kafka-features.sh).
    Features(commands::features::Args),
    /// The metadata quorum (kafka-metadata-quorum.sh).
    Quorum(commands::quorum::Args),
    /// Which metrics clients are to send (kafka-client-metrics.sh).
    ClientMetrics(commands::client_metrics::Args),
    /// List, describe and end transactions (kafka-transactions.sh).
    Transactions(commands::transactions::Args),
    /// Elect leaders of partitions (kafka-leader-election.sh).
    ElectLeaders(commands::elect_leaders::Args),
    /// Move partitions between brokers and log directories (kafka-reassign-partitions.sh).
    Reassign(commands::reassign::Args),
    /// The APIs and versions that brokers serve (kafka-broker-api-versions.sh).
    ApiVersions(commands::api_versions::Args),
    /// Put a broker under load and measure it.
    Bench(commands::bench::Args),
    /// Completions for a shell, manual pages, and links named as Kafka's scripts.
    Install(commands::install::Args),
}

/// The one command of a node. Parsed by itself: a node keeps in memory what its start has touched of the binary, and the flags of
/// twenty tools are most of a MB of that.
#[derive(Debug, Parser)]
#[command(name = "ottla", version)]
struct Node {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    Server(commands::server::Args),
}

/// All commands with their flags, for completions and manual pages.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

/// Parses the command line and runs the command.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let (arguments, script) = links::arguments(std::env::args_os());
    if script.is_some() {
        output::take_kafkas_manner();
    }
    // Help and errors are those of the whole.
    if let Ok(Node { command }) = Node::try_parse_from(&arguments) {
        let NodeCommand::Server(args) = command;
        return commands::server::run(args);
    }
    let typed = match Cli::try_parse_from(arguments) {
        Ok(typed) => typed,
        Err(error) => {
            if let Some(script) = script.filter(|_| error.kind() == ErrorKind::DisplayVersion) {
                return say_version(script);
            }
            // Help and the version are asked for; everything else ends as Kafka's tools end.
            let is_wrong = error.use_stderr();
            error.print()?;
            return Ok(if is_wrong {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
    };
    match typed.command {
        Command::Server(args) => commands::server::run(args),
        Command::Format(args) => commands::format::run(args),
        Command::Storage(args) => commands::storage::run(args),
        Command::Dump(args) => commands::dump::run(args),
        Command::Topics(args) => on_runtime(commands::topics::run(args)),
        Command::Configs(args) => on_runtime(commands::configs::run(args)),
        Command::Produce(args) => on_runtime(commands::produce::run(args)),
        Command::Consume(args) => on_runtime(commands::consume::run(args)),
        Command::Groups(args) => on_runtime(commands::groups::run(args)),
        Command::ListGroups(args) => on_runtime(commands::list_groups::run(args)),
        Command::GetOffsets(args) => on_runtime(commands::get_offsets::run(args)),
        Command::DeleteRecords(args) => on_runtime(commands::delete_records::run(args)),
        Command::LogDirs(args) => on_runtime(commands::log_dirs::run(args)),
        Command::Cluster(args) => on_runtime(commands::cluster::run(args)),
        Command::Features(args) => on_runtime(commands::features::run(args)),
        Command::Quorum(args) => on_runtime(commands::quorum::run(args)),
        Command::ClientMetrics(args) => on_runtime(commands::client_metrics::run(args)),
        Command::Transactions(args) => on_runtime(commands::transactions::run(args)),
        Command::ElectLeaders(args) => on_runtime(commands::elect_leaders::run(args)),
        Command::Reassign(args) => on_runtime(commands::reassign::run(args)),
        Command::ApiVersions(args) => on_runtime(commands::api_versions::run(args)),
        Command::Bench(args) => commands::bench::run(args),
        Command::Install(args) => commands::install::run(args),
    }
}

/// Whoever asks a script asks which Kafka it belongs to.
fn say_version(script: &str) -> anyhow::Result<ExitCode> {
    let Some(version) = links::version_of(script) else {
        output::note("unrecognized arguments: '--version'");
        return Ok(ExitCode::FAILURE);
    };
    let mut output = output::Output::new();
    output.line(version)?;
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A few requests at a time: one thread is enough. Boxed, since the runtime would otherwise be compiled anew for every command, and a
/// broker maps what lies in its binary.
fn on_runtime(
    command: impl Future<Output = anyhow::Result<ExitCode>> + 'static,
) -> anyhow::Result<ExitCode> {
    let command: Pin<Box<dyn Future<Output = anyhow::Result<ExitCode>>>> = Box::pin(command);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_parsed_without_the_tools() {
        let parsed = |words: &[&str]| Node::try_parse_from(words).is_ok();
        assert!(parsed(&["ottla", "server"]));
        assert!(parsed(&["ottla", "server", "--override", "node.id=7"]));
        // What the whole has better words for.
        assert!(!parsed(&["ottla", "topics", "--list"]));
        assert!(!parsed(&["ottla", "server", "--help"]));
        assert!(!parsed(&["ottla"]));
    }

    #[test]
    fn every_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn every_command_that_prints_prints_objects_too() {
        let has_json = |command: &clap::Command| {
            let mut flags = command.get_arguments();
            flags.any(|flag| flag.get_long() == Some("json"))
        };
        let definition = definition();
        let commands = definition.get_subcommands();
        for command in commands.filter(|command| command.get_name() != "server") {
            let is_below = command.has_subcommands() && command.get_subcommands().all(has_json);
            assert!(has_json(command) || is_below, "{}", command.get_name());
        }
    }

    #[test]
    fn every_script_has_a_command() {
        let definition = definition();
        for (script, command) in links::SCRIPTS {
            let found = definition.find_subcommand(command);
            let about = found
                .and_then(clap::Command::get_about)
                .map(ToString::to_string);
            let named = about.is_some_and(|about| about.contains(&format!("{script}.sh")));
            assert!(named, "{script}: {command}");
        }
    }
}

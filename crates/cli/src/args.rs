//! What the user typed.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands;

/// An event streaming platform that is Apache Kafka to everything that touches it.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, about)]
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
    /// Print log, index, snapshot and metadata files (kafka-dump-log.sh).
    Dump(commands::dump::Args),
    /// List, describe, reset or delete consumer groups (kafka-consumer-groups.sh).
    Groups(commands::groups::Args),
    /// Print the records of topics (kafka-console-consumer.sh).
    Consume(commands::consume::Args),
    /// Publish lines of standard input (kafka-console-producer.sh).
    Produce(commands::produce::Args),
    /// Create, list, describe, alter or delete topics (kafka-topics.sh).
    Topics(commands::topics::Args),
    /// Put a broker under load and measure it.
    Bench(commands::bench::Args),
}

/// Parses the command line and runs the command.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let typed = match Cli::try_parse() {
        Ok(typed) => typed,
        Err(error) => {
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
        Command::Dump(args) => commands::dump::run(args),
        Command::Groups(args) => on_runtime(commands::groups::run(args)),
        Command::Consume(args) => on_runtime(commands::consume::run(args)),
        Command::Produce(args) => on_runtime(commands::produce::run(args)),
        Command::Topics(args) => on_runtime(commands::topics::run(args)),
        Command::Bench(args) => commands::bench::run(args),
    }
}

/// A few requests at a time: one thread is enough.
fn on_runtime(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(command)
}

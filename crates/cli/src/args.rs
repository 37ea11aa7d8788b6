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
}

/// Parses the command line and runs the command.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Server(args) => commands::server::run(args),
        Command::Format(args) => commands::format::run(args),
    }
}

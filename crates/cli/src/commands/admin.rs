//! What the commands of administration share: their flags, the way to the cluster that these name,
//! and how a command runs that tells what went wrong.

use std::path::PathBuf;
use std::process::{ExitCode, Termination};
use std::sync::Arc;

use ottla_client::{ClientError, ClientSettings, Cluster};

use super::connect::{Connect, Properties, Way};
use crate::output::{self, Output, Shape};

/// Where to ask, with which properties, and how to print the answer.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Admin<To: Way = Connect> {
    #[command(flatten)]
    pub(crate) to: To,
    #[command(flatten)]
    pub(crate) config_file: CommandConfig,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

/// Properties of an administration command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CommandConfig {
    /// A file of client properties
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) command_config: Option<PathBuf>,
}

impl CommandConfig {
    pub(crate) fn properties(&self) -> anyhow::Result<Properties> {
        Properties::gather(self.command_config.as_deref(), &[])
    }

    /// The same, where the file may also be named by an older flag.
    pub(crate) fn or(&self, older: Option<&PathBuf>) -> Self {
        let command_config = self.command_config.as_ref().or(older).cloned();
        Self { command_config }
    }
}

impl<To: Way> Admin<To> {
    /// The settings of a client that is called so unless its file says otherwise.
    pub(crate) fn settings(&self, client_id: &str) -> anyhow::Result<ClientSettings> {
        self.config_file.properties()?.client(client_id)
    }

    pub(crate) async fn cluster(&self, client_id: &str) -> anyhow::Result<Arc<Cluster>> {
        self.cluster_with(self.settings(client_id)?).await
    }

    pub(crate) async fn cluster_with(
        &self,
        settings: ClientSettings,
    ) -> anyhow::Result<Arc<Cluster>> {
        self.to.cluster(settings).await
    }

    /// Runs a command whose failure is one sentence on standard error, in either manner.
    pub(crate) async fn run<Done: Termination>(
        &self,
        act: impl AsyncFnOnce(&mut Output) -> anyhow::Result<Done>,
    ) -> anyhow::Result<ExitCode> {
        output::plain_command(self.shape, act).await
    }

    /// Runs a command whose failure Kafka's script tells in a line of what it prints, as
    /// `Error while executing topic command : why`.
    pub(crate) async fn run_as<Done: Termination>(
        &self,
        name: &str,
        act: impl AsyncFnOnce(&mut Output) -> anyhow::Result<Done>,
    ) -> anyhow::Result<ExitCode> {
        let complain = |error: &anyhow::Error, output: &mut Output| {
            let why = words(error);
            output.complain(format_args!("Error while executing {name} command : {why}"))?;
            output::advise(error);
            Ok(ExitCode::FAILURE)
        };
        output::command(self.shape, act, complain).await
    }
}

/// The broker's own words where it gave some, else our sentence.
pub(crate) fn words(error: &anyhow::Error) -> String {
    match error.downcast_ref() {
        Some(ClientError::Refused { refused, .. }) if refused.message.is_some() => {
            refused.words().to_owned()
        }
        _ => format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::commands::connect::ConnectAny;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        admin: Admin<ConnectAny>,
    }

    #[test]
    fn flags_say_where_and_how() {
        let flags = ["x", "--bootstrap-controller", "a:1", "--json"];
        let admin = Alone::try_parse_from(flags).unwrap().admin;
        assert!(admin.to.is_to_controllers() && admin.shape.json);
        assert_eq!(admin.settings("me").unwrap().client_id, "me");
        let older = PathBuf::from("old.properties");
        let file = admin.config_file.or(Some(&older));
        assert_eq!(file.command_config, Some(older));
        let typed = ["x", "--command-config", "new.properties"];
        let typed = Alone::try_parse_from(typed).unwrap().admin.config_file;
        let file = typed.or(Some(&PathBuf::from("old.properties")));
        assert_eq!(file.command_config, typed.command_config);
    }
}

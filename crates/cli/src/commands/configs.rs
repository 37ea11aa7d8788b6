//! `ottla configs`: describe and alter settings of topics, brokers, loggers, groups and metric
//! subscriptions, and quotas and credentials; the flags and the layout of `kafka-configs.sh`.

mod changes;
mod credentials;
mod entity;
mod quotas;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use ottla_client::ClientError;
use serde_json::json;

use self::changes::Changes;
use self::entity::{Kind, Named};
use super::admin::Admin;
use super::connect::ConnectAny;
use crate::kafkas;
use crate::output::{self, Output};

/// Describe or alter settings and quotas
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true))]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin<ConnectAny>,

    /// Alter settings of the entity
    #[arg(long, group = "action")]
    alter: bool,
    /// Describe the settings of the entity
    #[arg(long, group = "action")]
    describe: bool,
    /// All settings, also those that nobody has set
    #[arg(long, conflicts_with = "alter")]
    all: bool,

    /// Settings to set, as NAME=VALUE,NAME=[VALUE,VALUE]
    #[arg(
        long,
        value_name = "SETTINGS",
        conflicts_with_all = ["describe", "add_config_file"]
    )]
    add_config: Option<String>,
    /// A file of settings to set
    #[arg(long, value_name = "FILE", conflicts_with = "describe")]
    add_config_file: Option<PathBuf>,
    /// Settings to take back, as NAME,NAME
    #[arg(
        long,
        value_name = "NAMES",
        conflicts_with = "describe",
        value_delimiter = ','
    )]
    delete_config: Vec<String>,

    #[command(flatten)]
    entity: Named,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| act(&args, output).await;
    let complain = |error: &anyhow::Error, output: &mut Output| {
        output.flush()?;
        match error.downcast_ref::<ClientError>() {
            Some(told) if output::is_kafkas_manner() => {
                let typed: Vec<_> = std::env::args().skip(1).collect();
                output::note(format_args!(
                    "Error while executing config command with args '{}'\n\
                     java.util.concurrent.ExecutionException: {}",
                    typed.join(" "),
                    kafkas::exception(told)
                ));
            }
            _ => output::error(error),
        }
        Ok(ExitCode::FAILURE)
    };
    output::command(args.admin.shape, act, complain).await
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    let entities = args.entity.entities()?;
    let changes = if args.alter {
        entities.check_to_alter()?;
        let changes = Changes::read(
            args.add_config.as_deref(),
            args.add_config_file.as_deref(),
            &args.delete_config,
        )?;
        Some(changes)
    } else {
        entities.check_to_describe()?;
        None
    };
    let cluster = args.admin.cluster("ottla-configs").await?;
    let Some(changes) = changes else {
        return match entities.head() {
            Kind::Users | Kind::Clients => {
                quotas::describe(&cluster, &entities, output).await?;
                credentials::describe(&cluster, &entities, output).await
            }
            Kind::Ips => quotas::describe(&cluster, &entities, output).await,
            _ => settings::describe(&cluster, &entities, args.all, output).await,
        };
    };
    match entities.head() {
        Kind::Users | Kind::Clients => {
            let is_of_user = entities.is_one_user();
            match changes.sorted_for_clients(is_of_user)? {
                changes::ForClients::Quotas => {
                    quotas::alter(&cluster, &entities, &changes).await?;
                }
                changes::ForClients::Credentials => {
                    ensure!(
                        !entities.has_default(),
                        "The use of --entity-default or --user-defaults is not allowed with User \
                         SCRAM Credentials using --bootstrap-server."
                    );
                    credentials::alter(&cluster, &entities, &changes).await?;
                }
            }
        }
        Kind::Ips => {
            changes.check_for_ips()?;
            quotas::alter(&cluster, &entities, &changes).await?;
        }
        _ => settings::alter(&cluster, &entities, &changes).await?,
    }
    let json = json!({ "entity": entities.json(), "isAltered": true });
    Ok(output.say(entities.completed(), &json)?)
}

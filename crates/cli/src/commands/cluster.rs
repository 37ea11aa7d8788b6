//! `ottla cluster`: the cluster's id, its nodes, forgetting a broker; the flags and the layout of
//! `kafka-cluster.sh`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use clap::Subcommand;
use ottla_client::admin::NodeDescription;
use ottla_client::{ClientError, Cluster};
use ottla_protocol::NodeId;
use serde_json::json;

use super::admin::{Admin, CommandConfig};
use super::connect::{Connect, ConnectAny};
use super::table::{Column, Table};
use crate::output::{self, Output, Shape};

/// Describe the cluster, or forget a broker
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,

    /// Brokers to ask first, as HOST1:PORT1,HOST2:PORT2 [default: localhost:9092]
    #[arg(short = 'b', long, value_name = "SERVERS", global = true)]
    bootstrap_server: Option<String>,
    /// Controllers to ask instead
    #[arg(
        short = 'C',
        long,
        value_name = "SERVERS",
        global = true,
        conflicts_with = "bootstrap_server"
    )]
    bootstrap_controller: Option<String>,
    /// A file of client properties
    #[arg(short = 'c', long, value_name = "FILE", global = true)]
    command_config: Option<PathBuf>,
    /// The old name of --command-config
    #[arg(
        long,
        value_name = "FILE",
        global = true,
        hide = true,
        conflicts_with = "command_config"
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The id of the cluster
    ClusterId,
    /// Forget a broker that will not come back
    Unregister {
        /// The id of the broker
        #[arg(short, long)]
        id: NodeId,
    },
    /// The nodes and where they listen
    ListEndpoints {
        /// Brokers that are fenced, too
        #[arg(long)]
        include_fenced_brokers: bool,
    },
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| act(&args, output).await;
    args.admin().run(act).await
}

impl Args {
    /// The flags that are elsewhere without short names.
    fn admin(&self) -> Admin<ConnectAny> {
        let brokers = Connect {
            bootstrap_server: self.bootstrap_server.clone(),
        };
        let bootstrap_controller = self.bootstrap_controller.clone();
        let command_config = self.command_config.clone();
        Admin {
            to: ConnectAny {
                brokers,
                bootstrap_controller,
            },
            config_file: CommandConfig { command_config }.or(self.config.as_ref()),
            shape: self.shape,
        }
    }

    async fn cluster(&self) -> anyhow::Result<Arc<Cluster>> {
        self.admin().cluster("ottla-cluster").await
    }
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    if args.config.is_some() {
        output.complain(
            "Option --config has been deprecated and will be removed in a future version. Use \
             --command-config instead.",
        )?;
    }
    match &args.action {
        Action::ClusterId => {
            let cluster = args.cluster().await?;
            let id = cluster.view().cluster_id.clone();
            let sentence = match &id {
                Some(id) => format!("Cluster ID: {id}"),
                None => "No cluster ID found. The Kafka version is probably too old.".to_owned(),
            };
            Ok(output.say(sentence, &json!({ "clusterId": id }))?)
        }
        Action::Unregister { id } => {
            let cluster = args.cluster().await?;
            match cluster.unregister_broker(*id).await {
                Err(ClientError::Unserved { .. }) if output::is_kafkas_manner() => Ok(output
                    .line("The target cluster does not support the broker unregistration API.")?),
                done => {
                    done?;
                    let sentence = format!("Broker {id} is no longer registered.");
                    Ok(output.say(sentence, &json!({ "unregistered": id }))?)
                }
            }
        }
        Action::ListEndpoints {
            include_fenced_brokers,
        } => {
            let is_controllers = args.admin().to.is_to_controllers();
            ensure!(
                !(*include_fenced_brokers && is_controllers),
                "The option --include-fenced-brokers is only supported with --bootstrap-server \
                 option"
            );
            let cluster = args.cluster().await?;
            let described = cluster.describe_cluster(*include_fenced_brokers).await?;
            let table = endpoints(&described.nodes, is_controllers);
            Ok(output.rows(table.lines(), table.objects())?)
        }
    }
}

fn endpoints(nodes: &[NodeDescription], is_controllers: bool) -> Table {
    let hosts = nodes.iter().map(|node| node.host.chars().count());
    let racks = nodes
        .iter()
        .filter_map(|node| Some(node.rack.as_ref()?.chars().count()));
    let mut columns = vec![
        Column::fixed("ID", 10).number(),
        Column::fixed("HOST", hosts.max().unwrap_or(100)),
        Column::fixed("PORT", 10).number(),
        Column::fixed("RACK", racks.max().unwrap_or(10)),
    ];
    columns.extend((!is_controllers).then(|| Column::fixed("STATE", 10)));
    columns.push(Column::fixed("ENDPOINT_TYPE", 15));
    let mut table = Table::new(columns);
    for node in nodes {
        let mut row = vec![
            node.id.to_string(),
            node.host.clone(),
            node.port.to_string(),
            node.rack.clone().unwrap_or_else(|| "null".to_owned()),
        ];
        let state = if node.is_fenced { "fenced" } else { "unfenced" };
        row.extend((!is_controllers).then(|| state.to_owned()));
        row.push(
            if is_controllers {
                "controller"
            } else {
                "broker"
            }
            .to_owned(),
        );
        table.push(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_laid_out_as_kafkas() {
        let node = |id, host: &str, rack: Option<&str>| NodeDescription {
            id,
            host: host.to_owned(),
            port: 9092,
            rack: rack.map(str::to_owned),
            is_fenced: id == 1,
        };
        let nodes = [node(0, "localhost", Some("R1")), node(1, "b", None)];
        let lines: Vec<_> = endpoints(&nodes, false).lines().collect();
        assert_eq!(
            lines,
            [
                "ID         HOST      PORT       RACK STATE      ENDPOINT_TYPE  ",
                "0          localhost 9092       R1 unfenced   broker         ",
                "1          b         9092       null fenced     broker         ",
            ]
        );
        let titles = endpoints(&nodes, true).lines().next().unwrap();
        assert!(!titles.contains("STATE"), "{titles}");
    }
}

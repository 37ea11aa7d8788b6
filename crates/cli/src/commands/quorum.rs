//! `ottla quorum`: the metadata quorum; the flags and the layout of `kafka-metadata-quorum.sh`.

mod controller;

use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::Subcommand;
use ottla_client::admin::{QuorumDescription, QuorumEndpoint, QuorumReplica};
use ottla_protocol::{NodeId, Uuid};
use serde_json::{Value, json};

use self::controller::NewController;
use super::admin::Admin;
use super::connect::ConnectAny;
use super::duration::now_ms;
use super::table::{Column, Table};
use crate::output::Output;

/// Describe the metadata quorum, and who belongs to it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    admin: Admin<ConnectAny>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Describe the quorum
    Describe {
        /// A summary
        #[arg(long)]
        status: bool,
        /// How far each voter and observer is
        #[arg(long)]
        replication: bool,
        /// Times as ages
        #[arg(long)]
        human_readable: bool,
    },
    /// Make the controller with the settings in --command-config a voter
    AddController {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a controller out of the quorum
    RemoveController {
        /// The controller's node id
        #[arg(short = 'i', long, value_name = "ID", allow_negative_numbers = true)]
        controller_id: NodeId,
        /// The id of its metadata directory
        #[arg(short = 'd', long, value_name = "ID", allow_hyphen_values = true)]
        controller_directory_id: String,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| act(&args, output).await;
    args.admin.run(act).await
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<()> {
    let config_file = &args.admin.config_file;
    let properties = config_file.properties()?;
    let settings = properties.client("ottla-quorum")?;
    match &args.action {
        Action::Describe {
            status,
            replication,
            human_readable,
        } => {
            match (status, replication, human_readable) {
                (true, true, _) => bail!(
                    "Only one of --status or --replication should be specified with describe \
                     sub-command"
                ),
                (true, _, true) => {
                    bail!("The option --human-readable is only supported along with --replication")
                }
                (false, false, _) => bail!(
                    "One of --status or --replication must be specified with describe sub-command"
                ),
                _ => {}
            }
            let cluster = args.admin.cluster_with(settings).await?;
            let quorum = cluster.describe_quorum().await?;
            if *replication {
                let now = human_readable.then(now_ms);
                let table = replication_table(&quorum, now);
                return Ok(output.rows(table.lines(), table.objects())?);
            }
            let id = cluster.view().cluster_id.clone().unwrap_or_default();
            let status = Status::of(&quorum);
            Ok(output.say(status.text(&id, &quorum), &status.json(&id, &quorum))?)
        }
        Action::AddController { dry_run } => {
            ensure!(
                config_file.command_config.is_some(),
                "You must supply the configuration file of the controller you are adding when \
                 using add-controller."
            );
            let new = NewController::of(&properties)?;
            if !dry_run {
                let cluster = args.admin.cluster_with(settings).await?;
                cluster
                    .add_voter(new.id, new.directory, &new.endpoints)
                    .await?;
            }
            let json = json!({
                "controller": new.id,
                "directoryId": new.directory.to_string(),
                "endpoints": new.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
                "isDone": !dry_run,
            });
            Ok(output.say(new.told(*dry_run), &json)?)
        }
        Action::RemoveController {
            controller_id,
            controller_directory_id,
            dry_run,
        } => {
            ensure!(
                *controller_id >= 0,
                "Invalid negative --controller-id: {controller_id}"
            );
            let Ok(directory) = controller_directory_id.parse::<Uuid>() else {
                bail!(
                    "Failed to parse --controller-directory-id: {controller_directory_id} is no id \
                     of a directory"
                );
            };
            if !dry_run {
                let cluster = args.admin.cluster_with(settings).await?;
                cluster.remove_voter(*controller_id, directory).await?;
            }
            // Two spaces in the one case: so does Kafka's tool.
            let done = if *dry_run {
                "DRY RUN of removing "
            } else {
                "Removed "
            };
            let sentence =
                format!("{done} KRaft controller {controller_id} with directory id {directory}");
            let json = json!({
                "controller": controller_id,
                "directoryId": directory.to_string(),
                "isDone": !dry_run,
            });
            Ok(output.say(sentence, &json)?)
        }
    }
}

/// How far the slowest voter is behind the leader.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    lag: i64,
    /// -1 where nobody knows.
    lag_ms: i64,
}

impl Status {
    fn of(quorum: &QuorumDescription) -> Self {
        let leader = quorum.voters.iter().find(|voter| voter.id == quorum.leader);
        let slowest = quorum.voters.iter().min_by_key(|voter| voter.end);
        let (Some(leader), Some(slowest)) = (leader, slowest) else {
            return Self { lag: 0, lag_ms: -1 };
        };
        let lag_ms = match (leader.last_caught_up, slowest.last_caught_up) {
            _ if leader == slowest => 0,
            (Some(leader), Some(slowest)) => leader - slowest,
            _ => -1,
        };
        Self {
            lag: leader.end - slowest.end,
            lag_ms,
        }
    }

    fn text(&self, cluster: &str, quorum: &QuorumDescription) -> String {
        format!(
            "ClusterId:              {cluster}\n\
             LeaderId:               {}\n\
             LeaderEpoch:            {}\n\
             HighWatermark:          {}\n\
             MaxFollowerLag:         {}\n\
             MaxFollowerLagTimeMs:   {}\n\
             CurrentVoters:          {}\n\
             CurrentObservers:       {}",
            quorum.leader,
            quorum.leader_epoch,
            quorum.high_watermark,
            self.lag,
            self.lag_ms,
            replicas(&quorum.voters),
            replicas(&quorum.observers)
        )
    }

    fn json(&self, cluster: &str, quorum: &QuorumDescription) -> Value {
        let all = |replicas: &[QuorumReplica]| {
            let each = replicas.iter().map(|replica| {
                json!({
                    "id": replica.id,
                    "directoryId": replica.directory.to_string(),
                    "endpoints": replica.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
                })
            });
            each.collect::<Vec<_>>()
        };
        json!({
            "clusterId": cluster,
            "leaderId": quorum.leader,
            "leaderEpoch": quorum.leader_epoch,
            "highWatermark": quorum.high_watermark,
            "maxFollowerLag": self.lag,
            "maxFollowerLagTimeMs": self.lag_ms,
            "currentVoters": all(&quorum.voters),
            "currentObservers": all(&quorum.observers),
        })
    }
}

/// `[{"id": 0, "directoryId": "…", "endpoints": ["CONTROLLER://host:port"]}]`, spaced as Kafka's.
fn replicas(replicas: &[QuorumReplica]) -> String {
    let each = replicas.iter().map(|replica| {
        let mut fields = vec![format!("\"id\": {}", replica.id)];
        if !replica.directory.is_zero() {
            fields.push(format!("\"directoryId\": \"{}\"", replica.directory));
        }
        if !replica.endpoints.is_empty() {
            let endpoints = replica.endpoints.iter();
            let endpoints = endpoints.map(|it| format!("\"{}\"", endpoint(it)));
            let endpoints = endpoints.collect::<Vec<_>>().join(", ");
            fields.push(format!("\"endpoints\": [{endpoints}]"));
        }
        format!("{{{}}}", fields.join(", "))
    });
    format!("[{}]", each.collect::<Vec<_>>().join(", "))
}

fn endpoint(endpoint: &QuorumEndpoint) -> String {
    let QuorumEndpoint {
        listener,
        host,
        port,
    } = endpoint;
    if host.contains(':') {
        format!("{listener}://[{host}]:{port}")
    } else {
        format!("{listener}://{host}:{port}")
    }
}

/// The leader, the other voters, the observers; with the time of now, times are ages.
fn replication_table(quorum: &QuorumDescription, now: Option<i64>) -> Table {
    let mut table = Table::tabbed(vec![
        Column::last("NodeId").number(),
        Column::last("DirectoryId"),
        Column::last("LogEndOffset").number(),
        Column::last("Lag").number(),
        Column::last("LastFetchTimestamp"),
        Column::last("LastCaughtUpTimestamp"),
        Column::last("Status"),
    ]);
    let (leaders, followers): (Vec<_>, Vec<_>) = quorum
        .voters
        .iter()
        .partition(|voter| voter.id == quorum.leader);
    let end = leaders.first().map_or(0, |leader| leader.end);
    let time = |time: Option<i64>| match (time, now) {
        (None, _) => "-1".to_owned(),
        (Some(time), None) => time.to_string(),
        (Some(time), Some(now)) => format!("{} ms ago", now - time),
    };
    let mut push = |replica: &QuorumReplica, status: &str| {
        table.push(vec![
            replica.id.to_string(),
            replica.directory.to_string(),
            replica.end.to_string(),
            (end - replica.end).to_string(),
            time(replica.last_fetch),
            time(replica.last_caught_up),
            status.to_owned(),
        ]);
    };
    leaders.into_iter().for_each(|it| push(it, "Leader"));
    followers.into_iter().for_each(|it| push(it, "Follower"));
    quorum.observers.iter().for_each(|it| push(it, "Observer"));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(id: i32, end: i64, time: Option<i64>) -> QuorumReplica {
        QuorumReplica {
            id,
            directory: Uuid::ZERO,
            end,
            last_fetch: time,
            last_caught_up: time,
            endpoints: vec![QuorumEndpoint {
                listener: "CONTROLLER".to_owned(),
                host: "::1".to_owned(),
                port: 9093,
            }],
        }
    }

    fn quorum() -> QuorumDescription {
        QuorumDescription {
            leader: 2,
            leader_epoch: 4,
            high_watermark: 90,
            voters: vec![replica(1, 80, Some(1000)), replica(2, 100, Some(1500))],
            observers: vec![replica(3, 70, None)],
        }
    }

    #[test]
    fn lag_is_that_of_the_slowest_voter() {
        let status = Status::of(&quorum());
        assert_eq!(
            status,
            Status {
                lag: 20,
                lag_ms: 500
            }
        );
        let text = status.text("id", &quorum());
        assert!(text.contains("\nMaxFollowerLag:         20\n"), "{text}");
        assert!(
            text.ends_with("CurrentObservers:       [{\"id\": 3, \"endpoints\": [\"CONTROLLER://[::1]:9093\"]}]"),
            "{text}"
        );
    }

    #[test]
    fn the_leader_comes_first() {
        let table = replication_table(&quorum(), Some(2000));
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[1].starts_with("2     \t"), "{lines:?}");
        assert!(lines[1].contains("500 ms ago") && lines[1].ends_with("Leader  \t"));
        assert!(lines[3].contains("-1") && lines[3].ends_with("Observer\t"));
    }
}

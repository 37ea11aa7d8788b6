//! `ottla reassign --execute`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};
use ottla_client::{ClientError, Cluster};
use ottla_protocol::{NodeId, Refusal, TopicPartition};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::moves::{Places, by_broker};
use super::plan::{self, Directories, Plan};
use super::throttle::{self, Moves};
use super::verify::replicas_of;
use super::{Args, Terse, plural};
use crate::kafkas;
use crate::output::Output;

/// Between two attempts to begin a move for which the replica is not there yet.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn execute(
    args: &Args,
    cluster: &Cluster,
    plan: &Plan,
    output: &mut Output,
) -> anyhow::Result<()> {
    let moving = cluster.reassignments().await?;
    if !args.additional && !moving.is_empty() {
        return Err(Terse(
            "Cannot execute because there is an existing partition assignment.  Use --additional \
             to override this and create a new partition assignment in addition to the existing \
             one. The --additional flag can also be used to change the throttle by resubmitting \
             the current reassignment."
                .to_owned(),
        )
        .into());
    }
    let view = cluster.view();
    let mut named = plan.replicas.values().flatten();
    if let Some(unknown) = named.find(|id| !view.nodes.contains_key(id)) {
        anyhow::bail!("Unknown broker id {unknown}");
    }
    let current = replicas_of(cluster, plan.replicas.keys()).await?;
    let missing = plan.replicas.keys().filter(|it| !current.contains_key(it));
    let missing: Vec<_> = missing.map(ToString::to_string).collect();
    if !missing.is_empty() {
        let what = format!("Unable to find partition: {}", missing.join(", "));
        let refused = Refusal::UnknownTopicOrPartition;
        return Err(ClientError::refused(what, refused).into());
    }
    let places = Places::of(cluster, &current).await?;
    let before = plan::format(&current, places.current());
    let json: Value = serde_json::from_str(&before).context("what was written is JSON")?;
    output.say(
        format_args!(
            "Current partition replica assignment\n\n{before}\n\nSave this to use as the \
             --reassignment-json-file option during rollback"
        ),
        &json!({ "current": json }),
    )?;
    throttle(
        args,
        cluster,
        plan,
        &Moves::of(&moving, &current, &plan.replicas),
        output,
    )
    .await?;
    reassign(args, cluster, plan, output).await?;
    if plan.directories.is_empty() {
        return Ok(());
    }
    begin_moves(args, cluster, plan.directories.clone(), output).await
}

async fn throttle(
    args: &Args,
    cluster: &Cluster,
    plan: &Plan,
    moves: &Moves,
    output: &mut Output,
) -> anyhow::Result<()> {
    if args.throttle < 0 && args.replica_alter_log_dirs_throttle < 0 {
        return Ok(());
    }
    if !output.is_json() {
        output.line(
            "Warning: You must run --verify periodically, until the reassignment completes, to \
             ensure the throttle is removed.",
        )?;
    }
    if args.throttle >= 0 {
        throttle::between_brokers(cluster, moves, args.throttle, output).await?;
    }
    if args.replica_alter_log_dirs_throttle >= 0 {
        let brokers: BTreeSet<NodeId> = plan.directories.keys().map(|(id, _)| *id).collect();
        let rate = args.replica_alter_log_dirs_throttle;
        throttle::between_directories(cluster, &brokers, rate, output).await?;
    }
    Ok(())
}

async fn reassign(
    args: &Args,
    cluster: &Cluster,
    plan: &Plan,
    output: &mut Output,
) -> anyhow::Result<()> {
    let targets = plan.replicas.iter();
    let targets = targets.map(|(partition, replicas)| (partition.clone(), Some(replicas.clone())));
    let may_change = !args.disallow_replication_factor_change;
    let answers = cluster.reassign(&targets.collect(), may_change).await?;
    let failed = failures(answers);
    if !failed.is_empty() {
        let failed = failed.join("\n");
        return Err(Terse(format!("Error reassigning partition(s):\n{failed}")).into());
    }
    let names: Vec<_> = plan.replicas.keys().map(ToString::to_string).collect();
    let sentence = format!(
        "Successfully started partition reassignment{} for {}",
        plural(names.len()),
        names.join(",")
    );
    Ok(output.say(sentence, &json!({ "started": names }))?)
}

/// `partition: why`
pub(super) fn failures(
    answers: impl IntoIterator<Item = (TopicPartition, Result<(), ClientError>)>,
) -> Vec<String> {
    let failed = answers.into_iter().filter_map(|(partition, answer)| {
        let why = match answer.err()? {
            ClientError::Refused { refused, .. } => kafkas::words(&refused).to_owned(),
            other => other.to_string(),
        };
        Some(format!("{partition}: {why}"))
    });
    failed.collect()
}

/// A replica that is only being made cannot be moved yet: it is tried again for a while.
pub(super) async fn begin_moves(
    args: &Args,
    cluster: &Cluster,
    mut pending: Directories,
    output: &mut Output,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_millis(args.timeout);
    loop {
        let mut begun = Vec::new();
        for (broker, targets) in by_broker(&pending) {
            for (partition, answer) in cluster.move_replicas(broker, &targets).await? {
                let replica = (broker, partition);
                match answer {
                    Ok(()) => begun.push(replica),
                    Err(error) if error.refusal() == Some(Refusal::ReplicaNotAvailable) => {}
                    Err(error) => {
                        let (broker, partition) = replica;
                        let what = format!("Failed to alter dir for {partition}-{broker}");
                        return Err(anyhow::Error::from(error).context(what));
                    }
                }
            }
        }
        for replica in begun {
            let Some(path) = pending.remove(&replica) else {
                continue;
            };
            let (broker, partition) = replica;
            // A space at the end: so does Kafka's tool.
            let sentence = format!(
                "Successfully started moving log directory to {path} for replica {partition} with \
                 broker {broker} "
            );
            let json = json!({
                "moving": { "partition": partition.to_string(), "broker": broker, "logDir": path }
            });
            output.say(sentence, &json)?;
        }
        if pending.is_empty() {
            return Ok(());
        }
        let left: Vec<_> = pending
            .keys()
            .map(|(broker, partition)| format!("{partition}-{broker}"))
            .collect();
        ensure!(
            Instant::now() < deadline,
            Terse(format!(
                "Timed out before log directory move{} could be started for: {}",
                plural(left.len()),
                left.join(",")
            ))
        );
        sleep(PAUSE).await;
    }
}

//! `ottla reassign --cancel`.

use std::collections::BTreeSet;

use ottla_client::Cluster;
use ottla_protocol::NodeId;
use serde_json::json;

use super::execute::{begin_moves, failures};
use super::moves::{Move, Places};
use super::plan::{Directories, Plan};
use super::{Args, Terse, plural, throttle};
use crate::output::Output;

pub(super) async fn cancel(
    args: &Args,
    cluster: &Cluster,
    plan: &Plan,
    output: &mut Output,
) -> anyhow::Result<()> {
    let moving = cluster.reassignments().await?;
    let active = moving.into_iter().filter(|(partition, moving)| {
        let has_moves = !moving.adding.is_empty() || !moving.removing.is_empty();
        has_moves && plan.replicas.contains_key(partition)
    });
    let active: Vec<_> = active.map(|(partition, _)| partition).collect();
    if active.is_empty() {
        let none = "None of the specified partition reassignments are active.";
        output.say(none, &json!({ "cancelled": [] }))?;
    } else {
        let targets = active.iter().map(|partition| (partition.clone(), None));
        let failed = failures(cluster.reassign(&targets.collect(), true).await?);
        if !failed.is_empty() {
            let what = format!(
                "Error cancelling partition reassignment{} for:\n{}",
                plural(failed.len()),
                failed.join("\n")
            );
            return Err(Terse(what).into());
        }
        let names: Vec<_> = active.iter().map(ToString::to_string).collect();
        let sentence = format!(
            "Successfully cancelled partition reassignment{} for: {}",
            plural(names.len()),
            names.join(",")
        );
        output.say(sentence, &json!({ "cancelled": names }))?;
    }
    let brokers: BTreeSet<NodeId> = plan.directories.keys().map(|(id, _)| *id).collect();
    let places = Places::look(cluster, brokers).await?;
    // Moved to where it is: that ends a move.
    let mut back = Directories::new();
    for (replica, target) in &plan.directories {
        if let Move::Moving { current, .. } = places.state(replica, target) {
            back.insert(replica.clone(), current);
        }
    }
    if back.is_empty() {
        if !output.is_json() {
            // Without an end of line: so does Kafka's tool.
            output.bytes(b"None of the specified partition moves are active.")?;
        }
    } else {
        begin_moves(args, cluster, back, output).await?;
    }
    if !args.preserve_throttles {
        throttle::clear(cluster, &plan.replicas, output).await?;
    }
    Ok(())
}

//! Choose the brokers of new partitions.
//!
//! Brokers that are alive come first, each partition starting one broker further, so that leaders
//! and copies spread evenly.

use ottla_protocol::{NodeId, Refusal, Refused, Uuid};

use crate::image::{Broker, Nodes, Partition, RecoveryState, directory};

/// The replicas of `n` partitions from index `first` on. `seed` shifts the start, so that small
/// topics do not all begin at the same broker.
pub(super) fn place(
    nodes: &Nodes,
    first: i32,
    n: i32,
    replication_factor: i16,
    seed: u128,
) -> Result<Vec<Vec<NodeId>>, Refused> {
    let refuse = |why: String| {
        Refused::new(
            Refusal::InvalidReplicationFactor,
            format!("Unable to replicate the partition {replication_factor} time(s): {why}"),
        )
    };
    let (alive, fenced): (Vec<&Broker>, Vec<&Broker>) = nodes
        .brokers
        .values()
        .map(|broker| &**broker)
        .filter(|broker| has_uncordoned(broker))
        .partition(|broker| !broker.is_fenced);
    let wanted = usize::try_from(replication_factor).unwrap_or(0);
    let total = alive.len() + fenced.len();
    if wanted == 0 {
        return Err(refuse(format!(
            "Invalid replication factor {replication_factor}: the replication factor must be \
             positive."
        )));
    }
    if alive.is_empty() {
        return Err(refuse(
            "All brokers are currently fenced, or have all their log directories cordoned."
                .to_owned(),
        ));
    }
    if wanted > total {
        return Err(refuse(format!(
            "The target replication factor of {replication_factor} cannot be reached because only \
             {total} broker(s) are registered or some brokers have all their log directories \
             cordoned."
        )));
    }
    // Both fit: there are fewer brokers than partitions can be.
    let shift = (seed % alive.len() as u128) as usize;
    let one = |index: i32| {
        let start = shift + usize::try_from(index).unwrap_or(0);
        rotated(&alive, start)
            .chain(rotated(&fenced, start))
            .take(wanted)
            .collect()
    };
    Ok((first..first.saturating_add(n)).map(one).collect())
}

fn rotated<'a>(brokers: &'a [&Broker], start: usize) -> impl Iterator<Item = NodeId> + 'a {
    let shift = start % brokers.len().max(1);
    brokers
        .iter()
        .cycle()
        .skip(shift)
        .take(brokers.len())
        .map(|broker| broker.id)
}

fn has_uncordoned(broker: &Broker) -> bool {
    let cordoned = broker.cordoned_directories.as_deref().unwrap_or_default();
    broker.directories.is_empty()
        || broker
            .directories
            .iter()
            .any(|directory| !cordoned.contains(directory))
}

/// A partition that was never there before; `None` if none of its brokers is alive.
pub(super) fn first_state(nodes: &Nodes, replicas: Vec<NodeId>) -> Option<Partition> {
    let in_sync: Vec<NodeId> = replicas
        .iter()
        .copied()
        .filter(|node| nodes.is_active(*node))
        .collect();
    Some(Partition {
        directories: replicas
            .iter()
            .map(|node| default_directory(nodes, *node))
            .collect(),
        replicas,
        leader: Some(*in_sync.first()?),
        in_sync,
        removing: Vec::new(),
        adding: Vec::new(),
        recovery: RecoveryState::Recovered,
        leader_epoch: 0,
        partition_epoch: 0,
        eligible_leaders: Vec::new(),
        last_known_eligible: Vec::new(),
    })
}

/// With one directory there is no choice; with several the broker chooses.
pub(super) fn default_directory(nodes: &Nodes, id: NodeId) -> Uuid {
    match nodes.broker(id).map(|broker| &broker.directories[..]) {
        None | Some([]) => directory::MIGRATING,
        Some([only]) => *only,
        Some(_) => directory::UNASSIGNED,
    }
}

//! Where replicas may go: spread over racks first, then over brokers, so that leaders and followers
//! come out even.
//!
//! Brokers stand in a line in which racks alternate. Each partition begins one further along; its
//! replicas follow in the line, a rack already taken being passed over while others are left.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use ottla_protocol::NodeId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Brokers {
    /// Racks alternate.
    line: Vec<(NodeId, Option<String>)>,
    n_racks: usize,
}

impl Brokers {
    pub(super) fn new(brokers: Vec<(NodeId, Option<String>)>) -> Self {
        let mut racks: BTreeMap<Option<String>, Vec<NodeId>> = BTreeMap::new();
        for (id, rack) in brokers {
            racks.entry(rack).or_default().push(id);
        }
        let n_racks = racks.len();
        let deepest = racks.values().map(Vec::len).max().unwrap_or_default();
        let mut line = Vec::new();
        for depth in 0..deepest {
            for (rack, ids) in &racks {
                line.extend(ids.get(depth).map(|id| (*id, rack.clone())));
            }
        }
        Self { line, n_racks }
    }
}

/// The replicas of each partition, first its leader. The seed says where to begin.
pub(super) fn place(
    brokers: &Brokers,
    n_partitions: usize,
    n_replicas: usize,
    seed: u128,
) -> anyhow::Result<Vec<Vec<NodeId>>> {
    let n = brokers.line.len();
    ensure!(
        n_replicas <= n,
        "The target replication factor of {n_replicas} cannot be reached because only {n} \
         broker(s) are registered."
    );
    if n_replicas == 0 {
        return Ok(vec![Vec::new(); n_partitions]);
    }
    let start = usize::try_from(seed % n as u128)?;
    let placed = (0..n_partitions).map(|partition| {
        // Once around, followers shift, so that a broker's followers are not always the same.
        let shift = partition / n;
        replicas(brokers, start + partition, shift, n_replicas)
    });
    Ok(placed.collect())
}

fn replicas(brokers: &Brokers, leader: usize, shift: usize, n_replicas: usize) -> Vec<NodeId> {
    let n = brokers.line.len();
    let followers = n - 1;
    let others = (0..followers).map(|step| leader + 1 + (step + shift) % followers.max(1));
    let order: Vec<_> = std::iter::once(leader)
        .chain(others)
        .filter_map(|place| brokers.line.get(place % n))
        .collect();
    let (mut chosen, mut racks) = (Vec::new(), BTreeSet::new());
    let mut passed = Vec::new();
    for (id, rack) in order {
        let is_new = racks.insert(rack);
        if is_new || racks.len() == brokers.n_racks {
            chosen.push(*id);
        } else {
            passed.push(*id);
        }
    }
    chosen.extend(passed);
    chosen.truncate(n_replicas);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(racks: &[&str]) -> Brokers {
        let racks = (0..).zip(racks).map(|(id, rack)| {
            let rack = Some((*rack).to_owned()).filter(|rack| !rack.is_empty());
            (id, rack)
        });
        Brokers::new(racks.collect())
    }

    #[test]
    fn leaders_come_out_even_and_no_broker_has_two() {
        let brokers = brokers(&["", "", "", ""]);
        for seed in 0..9 {
            let placed = place(&brokers, 12, 3, seed).unwrap();
            for id in 0..4 {
                let leads = placed.iter().filter(|replicas| replicas[0] == id).count();
                let has = placed
                    .iter()
                    .filter(|replicas| replicas.contains(&id))
                    .count();
                assert_eq!((leads, has), (3, 9), "broker {id} in {placed:?}");
            }
            for replicas in placed {
                let distinct: BTreeSet<_> = replicas.iter().collect();
                assert_eq!(distinct.len(), 3);
            }
        }
    }

    #[test]
    fn racks_are_used_before_brokers() {
        let racks = ["a", "a", "b", "b", "c", "c"];
        for replicas in place(&brokers(&racks), 30, 3, 5).unwrap() {
            let used: BTreeSet<_> = replicas.iter().map(|id| racks[*id as usize]).collect();
            assert_eq!(used.len(), 3, "{replicas:?}");
        }
    }

    #[test]
    fn one_broker_takes_what_one_can() {
        assert_eq!(place(&brokers(&["r"]), 2, 1, 7).unwrap(), [[0], [0]]);
        assert!(place(&brokers(&["r"]), 2, 2, 7).is_err());
        assert!(place(&brokers(&[]), 2, 1, 7).is_err());
    }
}

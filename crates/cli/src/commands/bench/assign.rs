//! Which connection speaks of which partitions. Pure.
//!
//! A connection goes to one broker, and a broker is asked only for what it leads. Every partition
//! has a connection, every connection a partition: where there are more partitions they are dealt
//! out, where there are more connections some partitions have several.

use std::collections::BTreeMap;

/// What one connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share<N> {
    pub(super) node: N,
    pub(super) partitions: Vec<i32>,
}

/// `leaders`: each partition and who leads it. `Err` is the number of brokers, if that is more
/// than there are connections.
pub(super) fn assign<N: Ord + Copy>(
    leaders: &[(i32, N)],
    n_connections: usize,
) -> Result<Vec<Share<N>>, usize> {
    let mut by_node: BTreeMap<N, Vec<i32>> = BTreeMap::new();
    for &(partition, node) in leaders {
        by_node.entry(node).or_default().push(partition);
    }
    if by_node.len() > n_connections {
        return Err(by_node.len());
    }
    // One connection each, and the rest where most partitions share one.
    let mut nodes: Vec<(N, Vec<i32>, usize)> = by_node
        .into_iter()
        .map(|(node, led)| (node, led, 1))
        .collect();
    for _ in nodes.len()..n_connections {
        let busiest = nodes
            .iter_mut()
            .min_by(|(_, a, n), (_, b, m)| (n * b.len()).cmp(&(m * a.len())));
        if let Some((_, _, n)) = busiest {
            *n += 1;
        }
    }
    Ok(nodes
        .into_iter()
        .flat_map(|(node, led, n)| deal(node, &led, n))
        .collect())
}

fn deal<N: Copy>(node: N, led: &[i32], n_connections: usize) -> Vec<Share<N>> {
    (0..n_connections)
        .map(|connection| {
            let partitions = if led.len() >= n_connections {
                led.iter()
                    .copied()
                    .skip(connection)
                    .step_by(n_connections)
                    .collect()
            } else {
                led.iter()
                    .copied()
                    .cycle()
                    .skip(connection)
                    .take(1)
                    .collect()
            };
            Share { node, partitions }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_and_every_connection_has_work() {
        for n_nodes in 1..4 {
            for n_partitions in n_nodes..12 {
                for n_connections in n_nodes as usize..20 {
                    let leaders: Vec<_> = (0..n_partitions).map(|p| (p, p % n_nodes)).collect();
                    let shares = assign(&leaders, n_connections).unwrap();
                    assert_eq!(shares.len(), n_connections);
                    let mut seen = vec![0; n_partitions as usize];
                    for share in &shares {
                        assert!(!share.partitions.is_empty());
                        for &partition in &share.partitions {
                            assert_eq!(partition % n_nodes, share.node);
                            seen[partition as usize] += 1;
                        }
                    }
                    assert!(seen.iter().all(|n| *n > 0));
                    if n_nodes == 1 {
                        let times: usize = seen.iter().sum();
                        assert_eq!(times, n_connections.max(n_partitions as usize));
                    }
                    let sizes = shares.iter().map(|share| share.partitions.len());
                    let (most, least) = (sizes.clone().max().unwrap(), sizes.min().unwrap());
                    assert!(n_nodes > 1 || most - least <= 1);
                }
            }
        }
    }

    #[test]
    fn a_connection_goes_to_one_broker() {
        assert_eq!(assign(&[(0, 'a'), (1, 'b'), (2, 'c')], 2), Err(3));
        let shares = assign(&[(0, 'a'), (1, 'a'), (2, 'a'), (3, 'b')], 3).unwrap();
        let nodes: Vec<_> = shares
            .iter()
            .map(|share| (share.node, share.partitions.len()))
            .collect();
        assert_eq!(nodes, [('a', 2), ('a', 1), ('b', 1)]);
    }
}

//! The settings of a cluster whose only node is 1.

use ottla_metadata::controller::Settings;

pub(crate) fn settings() -> Settings {
    Settings {
        cluster_id: "c".to_owned(),
        node_id: 1,
        num_partitions: 1,
        default_replication_factor: 1,
        min_in_sync: 1,
        unclean_election: false,
    }
}

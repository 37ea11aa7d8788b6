//! Topics, configurations, offsets and groups: one call each.

mod groups;
mod offsets;
mod topics;

pub(crate) use groups::{Committer, commit_as};
pub use groups::{
    GroupOffset, ListedAt, commit_offsets, committed_offsets, delete_groups, delete_offsets,
    describe_groups, list_groups,
};
pub use offsets::{At, FoundOffset, list_offsets};
pub use topics::{
    PartitionDescription, TopicDescription, create_partitions, create_topic, delete_topic,
    describe_configs, describe_topics,
};

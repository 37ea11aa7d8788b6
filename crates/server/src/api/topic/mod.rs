//! Topics come, grow and go. The controller decides; each file translates.

pub(crate) mod create_topics;
pub(crate) mod delete_topics;
pub(crate) mod create_partitions;

//! Records in and out.

pub(crate) mod produce;
pub(crate) mod fetch;
pub(crate) mod list_offsets;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod delete_records;
pub(crate) mod describe_producers;
mod by_topic;
mod last_words;

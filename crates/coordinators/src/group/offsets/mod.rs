//! Offsets: what a group has read, as it says itself.

mod store;
mod commit;
mod transactional;
mod fetch;
mod forget;
#[cfg(test)]
mod one_topic;

pub(crate) use forget::group_tombstone;
pub(crate) use store::{Committed, GroupOffsets, OffsetStore};

pub use fetch::{offset_fetch_groups, offset_fetch_refused, offset_fetch_response};
pub use transactional::txn_offset_commit_response;

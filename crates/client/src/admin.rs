//! Administration: one call each, on [`Cluster`](crate::Cluster).
//!
//! A call that names several things answers for each of them. What may pass (a coordinator that
//! loads, a node that restarts) is tried again until the time for one call is over.

mod configs;
mod groups;
mod topics;

pub use self::configs::{ConfigEntry, ConfigSource};
pub use self::groups::{GroupDescription, GroupEpochs, GroupListing, MemberDescription, Share};
pub use self::topics::{NewTopic, PartitionDescription, Reassignment, TopicDescription};

use crate::error::ClientError;

/// The broker left out what it was asked for: that is no success.
fn lacks(api: &'static str) -> ClientError {
    let why = "it does not say what was asked".to_owned();
    ClientError::BadAnswer { api, why }
}

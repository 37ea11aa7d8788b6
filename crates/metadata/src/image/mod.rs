//! What is true: an immutable picture of the cluster, cheap to clone and to keep.
//!
//! ```text
//!   Image ──Delta::new──> Delta ──replay(record)*──> Delta ──apply──> Image' + Changes
//! ```
//!
//! [`Loader`] does that along the log and holds open metadata transactions back.

mod topics;
mod nodes;
mod configs;
mod quotas;
mod acls;
mod credentials;
mod features;
mod producer_ids;
mod delta;
mod loader;
mod snapshot;

pub use acls::Acls;
pub use configs::{Configs, Resource, ResourceKind};
pub use credentials::Credentials;
pub use delta::{Changes, Delta};
pub use features::{Features, SUPPORTED, Supported};
pub use loader::{Loader, Published};
pub use nodes::{Broker, ControllerNode, Endpoint, FeatureRange, Nodes};
pub use producer_ids::ProducerIds;
pub use quotas::{Entity, EntityFilter, NameFilter, Quotas};
pub use topics::{Partition, RecoveryState, Topic, Topics, directory};

pub(crate) use features::{ELR_VERSION, KRAFT_VERSION};
pub(crate) use nodes::{broker_endpoint, broker_feature, controller_endpoint, controller_feature};

use ottla_protocol::{LeaderEpoch, Offset, Versioned, decode_body, encode_body};

/// Up to where in the log an image goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Exclusive.
    pub end_offset: Offset,
    /// Of the last record below `end_offset`.
    pub epoch: LeaderEpoch,
    /// Append time of that record's batch.
    pub timestamp_ms: i64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    pub provenance: Provenance,
    pub features: Features,
    pub nodes: Nodes,
    pub topics: Topics,
    pub configs: Configs,
    pub quotas: Quotas,
    pub producer_ids: ProducerIds,
    pub acls: Acls,
    pub credentials: Credentials,
}

impl Image {
    /// What the image carries for features that are not served: kept, and worth a log line.
    pub fn unserved(&self) -> Vec<(&'static str, usize)> {
        let all = [
            ("access control entries", self.acls.by_id.len()),
            ("SCRAM credentials", self.credentials.scram.len()),
            ("delegation tokens", self.credentials.tokens.len()),
        ];
        all.into_iter().filter(|(_, n)| *n > 0).collect()
    }
}

/// A record that contradicts what is already true: the log is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupt {
    pub why: String,
}

impl Corrupt {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Corrupt {}

/// A copy whose texts do not keep the batch alive that the record came in.
fn detached<M: Versioned>(message: &M) -> Result<M, Corrupt> {
    let version = M::VERSIONS.1;
    let bytes = encode_body(message, version).map_err(|error| Corrupt::new(error.to_string()))?;
    decode_body(bytes, version).map_err(|error| Corrupt::new(error.to_string()))
}

//! What may change: a request and what is true become records and a reply.
//!
//! ```text
//!   request ──decide(&self)──> Decision { batches, reply }
//!   batches ──append to the quorum──> replay(record)* ──> the reply leaves once all is committed
//! ```
//!
//! Deciding never changes anything; [`Controller::replay`] is the only change, and it is the same
//! code that builds every other node's image. Each decision passes [`Controller::check`] before it
//! is appended: one bad record would stop every controller of the cluster.
//!
//! Losing leadership means dropping the ledger and building it again from the log.

mod topics;
mod partitions;
mod in_sync;
mod elections;
mod reassign;
mod features;
mod place;
mod nodes;
mod configs;
mod quotas;
mod credentials;
mod mutations;
mod producer_ids;
mod timers;
mod bootstrap;

pub use bootstrap::Bootstrap;
pub use configs::{ConfigAlteration, ConfigReplacement, ConfigRules};
pub use credentials::{ScramDeletion, ScramUpsertion};
pub use elections::Wanted;
pub use features::{FeatureUpdate, UpgradeType};
pub use in_sync::{AlteredPartition, InSyncProposal};
pub use mutations::{Mutations, Unmetered};
pub use nodes::{BrokerHeartbeat, BrokerRegistration, ControllerRegistration, HeartbeatReply};
pub use producer_ids::ProducerIdBlock;
pub use quotas::QuotaAlteration;
pub use reassign::Reassignment;
pub use timers::Idle;
pub use topics::{
    ByName, CreatedTopic, DeleteTarget, DeletedTopic, NewPartitions, NewTopic,
    PARTITIONS_PER_REQUEST_MAX, check_number, check_topic_name,
};

use bytes::Bytes;
use imbl::OrdMap;
use ottla_protocol::{NodeId, Offset, Refused, Unsupported};

use crate::image::{Corrupt, Delta, Image};
use crate::records::{MetadataVersion, Record};

/// The most records that one request of a user may cause, as in Kafka.
pub const RECORDS_PER_REQUEST_MAX: usize = 10_000;

/// The most records of a batch when a decision is appended in parts, as in Kafka.
pub const RECORDS_PER_BATCH_MAX: usize = 10_000;

/// Both clocks: one for timers, one for what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since some moment that does not matter.
    pub monotonic: std::time::Duration,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
}

/// A verdict: what to append, and what to say once it is committed.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Decision<Reply> {
    /// To append in this order, each all or nothing.
    pub batches: Vec<Batch>,
    /// May leave when the last of `batches` is committed; without any, when all that was
    /// replayed so far is.
    pub reply: Reply,
}

impl<Reply> Decision<Reply> {
    /// Nothing changes.
    pub(crate) fn reply(reply: Reply) -> Self {
        Self {
            batches: Vec::new(),
            reply,
        }
    }
}

/// Records that are appended together or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub records: Vec<Record>,
    /// The level that the records are encoded at.
    pub level: MetadataVersion,
    /// The quorum's kraft.version is to be this before the records: it has records of its own.
    pub kraft_version: Option<i16>,
}

impl Batch {
    /// The framed values for the quorum.
    pub fn encode(&self) -> Result<Vec<Bytes>, Unsupported> {
        self.records
            .iter()
            .map(|record| record.encode(self.level))
            .collect()
    }
}

/// What the controller takes from its own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `min.insync.replicas` of this node's file, where no override says otherwise.
    pub min_in_sync: i32,
    /// `unclean.leader.election.enable`
    pub unclean_election: bool,
}

#[cfg(test)]
impl Settings {
    /// A cluster whose only node is 1.
    pub(crate) fn of_one_node() -> Self {
        Self {
            cluster_id: "c".to_owned(),
            node_id: 1,
            num_partitions: 1,
            default_replication_factor: 1,
            min_in_sync: 1,
            unclean_election: false,
        }
    }
}

/// The ledger: exactly what the records say.
///
/// Invariant: `image` is what [`crate::image::Loader`] would publish from the same records, except
/// inside a metadata transaction, where this one is ahead.
#[derive(Debug, Clone)]
pub struct Controller {
    settings: Settings,
    image: Image,
    /// The image before the open metadata transaction.
    before: Option<Image>,
    /// Where each broker's registration stands: it may be unfenced once it has read that far.
    registered_at: OrdMap<NodeId, Offset>,
}

impl Controller {
    /// Begin with an image from a snapshot, or an empty one, then replay the log behind it.
    pub fn new(settings: Settings, image: Image) -> Self {
        // Every broker has read a registration that a snapshot contains: it cannot be behind it.
        let end = image.provenance.end_offset.max(1) - 1;
        let registered_at = image.nodes.brokers.keys().map(|id| (*id, end)).collect();
        Self {
            settings,
            image,
            before: None,
            registered_at,
        }
    }

    /// What is true, decisions that are not yet committed included.
    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn is_in_transaction(&self) -> bool {
        self.before.is_some()
    }

    /// Take in a record that was appended at `offset`.
    pub fn replay(&mut self, record: &Record, offset: Offset) -> Result<(), Corrupt> {
        match record {
            Record::BeginTransaction(_) if self.before.is_some() => {
                return Err(Corrupt::new("a metadata transaction begins inside another"));
            }
            Record::BeginTransaction(_) => self.before = Some(self.image.clone()),
            Record::EndTransaction(_) => drop(self.close_transaction()?),
            Record::AbortTransaction(_) => self.image = self.close_transaction()?,
            record => {
                let mut delta = Delta::new(&self.image);
                delta.replay(record)?;
                let mut provenance = self.image.provenance;
                provenance.end_offset = offset + 1;
                self.image = delta.apply(provenance).0;
            }
        }
        match record {
            Record::RegisterBroker(record) => {
                self.registered_at.insert(record.broker_id, offset);
            }
            Record::UnregisterBroker(record) => {
                self.registered_at.remove(&record.broker_id);
            }
            _ => {}
        }
        Ok(())
    }

    /// The image without what an open metadata transaction has said so far.
    fn image_before_transaction(&self) -> &Image {
        self.before.as_ref().unwrap_or(&self.image)
    }

    fn close_transaction(&mut self) -> Result<Image, Corrupt> {
        self.before
            .take()
            .ok_or_else(|| Corrupt::new("no metadata transaction is open"))
    }

    /// The level that records are written at.
    fn level(&self) -> MetadataVersion {
        self.image
            .features
            .metadata_version()
            .unwrap_or(MetadataVersion::MIN)
    }

    /// Whether the records of a decision agree with what is true and with each other: tried on a
    /// copy.
    pub fn check(&self, batches: &[Batch]) -> Result<(), Corrupt> {
        let mut delta = Delta::new(&self.image);
        batches
            .iter()
            .flat_map(|batch| &batch.records)
            .try_for_each(|record| delta.replay(record))
    }

    /// Finish a decision: one batch of `records`, or none.
    fn decide<Reply>(&self, records: Vec<Record>, reply: Reply) -> Decision<Reply> {
        let batches = match records.is_empty() {
            true => Vec::new(),
            false => vec![self.batch(records)],
        };
        Decision { batches, reply }
    }

    /// The same for what grows with the partitions that there are: in batches that the log takes.
    /// After each of them what is true is consistent, and if it ends there, whoever asks again
    /// gets the rest.
    fn decide_in_parts<Reply>(&self, records: Vec<Record>, reply: Reply) -> Decision<Reply> {
        let mut records = records.into_iter().peekable();
        let mut batches = Vec::new();
        while records.peek().is_some() {
            let part = records.by_ref().take(RECORDS_PER_BATCH_MAX);
            batches.push(self.batch(part.collect()));
        }
        Decision { batches, reply }
    }

    fn batch(&self, records: Vec<Record>) -> Batch {
        Batch {
            records,
            level: self.level(),
            kraft_version: None,
        }
    }
}

/// The verdict on one of several things asked for together.
pub type Outcome<T> = Result<T, Refused>;

/// By topic, what became of each partition, in the order of the request.
pub type ByPartition = Vec<(String, Vec<(i32, Outcome<()>)>)>;

/// Asked for too much at once: then nothing is done, and each partition is told so.
fn refuse_if_too_many(records: &mut Vec<Record>, outcomes: &mut ByPartition) {
    if records.len() > RECORDS_PER_REQUEST_MAX {
        records.clear();
        for (_, outcome) in outcomes.iter_mut().flat_map(|(_, outcomes)| outcomes) {
            *outcome = Err(topics::too_many_records());
        }
    }
}

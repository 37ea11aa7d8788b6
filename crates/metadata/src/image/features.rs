//! Finalized feature levels.

use std::sync::Arc;

use imbl::OrdMap;

use super::Corrupt;
use crate::records::{FeatureLevelRecord, MetadataVersion, Record};

/// A feature that this node knows, and the levels at which it can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supported {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
}

/// The features of Kafka 4.3 that are finalized by record. kraft.version is not: it lives in a
/// control record of the quorum.
pub const SUPPORTED: [Supported; 6] = [
    Supported {
        name: ELR_VERSION,
        min: 0,
        max: 1,
    },
    Supported {
        name: "group.version",
        min: 0,
        max: 1,
    },
    Supported {
        name: MetadataVersion::FEATURE,
        min: MetadataVersion::MIN.level(),
        max: MetadataVersion::MAX.level(),
    },
    Supported {
        name: "share.version",
        min: 0,
        max: 1,
    },
    Supported {
        name: "streams.version",
        min: 0,
        max: 1,
    },
    Supported {
        name: "transaction.version",
        min: 0,
        max: 2,
    },
];

/// A level of this in a record was a mistake of some Kafka versions; it means nothing.
pub(crate) const KRAFT_VERSION: &str = "kraft.version";
pub(crate) const ELR_VERSION: &str = "eligible.leader.replicas.version";

/// Levels above 0, metadata.version apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    metadata_version: Option<MetadataVersion>,
    levels: OrdMap<Arc<str>, i16>,
}

impl Features {
    /// `None` until the bootstrap records are there.
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.metadata_version
    }

    /// The finalized level of any feature, 0 if it is off.
    pub fn level(&self, name: &str) -> i16 {
        if name == MetadataVersion::FEATURE {
            return self.metadata_version.map_or(0, MetadataVersion::level);
        }
        self.levels.get(name).copied().unwrap_or(0)
    }

    /// All finalized features with a level above 0, by name.
    pub fn finalized(&self) -> impl Iterator<Item = (&str, i16)> {
        let metadata = self
            .metadata_version
            .map(|level| (MetadataVersion::FEATURE, level.level()));
        metadata
            .into_iter()
            .chain(self.levels.iter().map(|(name, level)| (&**name, *level)))
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    pub fn has_elr(&self) -> bool {
        self.level(ELR_VERSION) >= 1
    }

    pub(super) fn replay(&mut self, record: &FeatureLevelRecord) -> Result<(), Corrupt> {
        let name = &*record.name;
        let level = record.feature_level;
        if name == KRAFT_VERSION {
            return Ok(());
        }
        let known = SUPPORTED.iter().find(|supported| supported.name == name);
        let (min, max) = known.map_or((0, 0), |supported| (supported.min, supported.max));
        if !(min..=max).contains(&level) {
            return Err(Corrupt::new(format!(
                "{name} is at level {level}, this node runs {min} to {max}"
            )));
        }
        if name == MetadataVersion::FEATURE {
            self.metadata_version = MetadataVersion::from_level(level);
        } else if level == 0 {
            self.levels.remove(name);
        } else {
            self.levels.insert(Arc::from(name), level);
        }
        Ok(())
    }

    pub(super) fn write(&self, records: &mut Vec<Record>) {
        // metadata.version first: it says how to read what follows.
        records.extend(self.finalized().map(|(name, level)| {
            FeatureLevelRecord {
                name: name.into(),
                feature_level: level,
            }
            .into()
        }));
    }
}

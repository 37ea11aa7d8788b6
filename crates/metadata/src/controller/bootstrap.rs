//! The first records of a cluster, and the repair of a log whose controller died in the middle.

use super::{Batch, Controller, Decision};
use crate::image::{ELR_VERSION, Resource};
use crate::records::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord,
    FeatureLevelRecord, MetadataVersion, Record,
};

/// What the format tool prepared (`bootstrap.checkpoint`), or the default.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap {
    pub level: MetadataVersion,
    /// In order; the metadata.version first.
    pub records: Vec<Record>,
}

/// Features, their level by default, and the metadata.version from which a fresh cluster has it.
const DEFAULTS: [(&str, i16, i16); 5] = [
    (ELR_VERSION, 1, 26),
    ("group.version", 1, 22),
    ("share.version", 1, 28),
    ("streams.version", 1, 29),
    ("transaction.version", 2, 24),
];

impl Default for Bootstrap {
    /// Without a file, Kafka starts at its own level and with no other feature.
    fn default() -> Self {
        Self {
            level: MetadataVersion::MAX,
            records: vec![level_of(MetadataVersion::MAX)],
        }
    }
}

impl Bootstrap {
    /// What `kafka-storage.sh format` of 4.3.1 gives a fresh cluster at `level`: the level, then
    /// every feature that is on by default there, by name.
    pub fn for_level(level: MetadataVersion) -> Self {
        let defaults = DEFAULTS
            .iter()
            .filter(|(_, _, since)| level.level() >= *since)
            .map(|(name, default, _)| feature(name, *default));
        Self {
            level,
            records: std::iter::once(level_of(level)).chain(defaults).collect(),
        }
    }

    /// The same with some features at other levels, as `--feature` asks for; level 0 leaves one
    /// out.
    pub fn with_features(mut self, features: &[(String, i16)]) -> Self {
        let is_other = |record: &Record| {
            !matches!(record, Record::FeatureLevel(record)
                if features.iter().any(|(name, _)| **name == *record.name))
        };
        let (first, rest) = (level_of(self.level), self.records.split_off(1));
        let mut levels: Vec<Record> = rest.into_iter().filter(is_other).collect();
        levels.extend(
            features
                .iter()
                .filter(|(_, level)| *level > 0)
                .map(|(name, level)| feature(name, *level)),
        );
        levels.sort_by_key(|record| match record {
            Record::FeatureLevel(record) => record.name.to_string(),
            _ => String::new(),
        });
        self.records = std::iter::once(first).chain(levels).collect();
        self
    }

    /// From the records of a `bootstrap.checkpoint`; `None` without a metadata.version that we
    /// can write.
    pub fn from_records(records: Vec<Record>) -> Option<Self> {
        let level = records.iter().find_map(|record| match record {
            Record::FeatureLevel(record) if *record.name == *MetadataVersion::FEATURE => {
                MetadataVersion::from_level(record.feature_level)
            }
            _ => None,
        })?;
        Some(Self { level, records })
    }

    fn has_elr(&self) -> bool {
        self.records.iter().any(|record| {
            matches!(record, Record::FeatureLevel(record)
                if *record.name == *ELR_VERSION && record.feature_level > 0)
        })
    }
}

impl Controller {
    /// What a controller writes first when it becomes active: the bootstrap records into an empty
    /// log, the end of a transaction that its predecessor left open, or nothing.
    pub fn activate(&self, bootstrap: &Bootstrap) -> Decision<()> {
        let level = self.image_before_transaction().features.metadata_version();
        let mut records = Vec::new();
        if self.is_in_transaction() {
            records.push(
                AbortTransactionRecord {
                    reason: Some("Controller failover".into()),
                }
                .into(),
            );
        }
        if level.is_none() {
            self.push_bootstrap(bootstrap, &mut records);
        }
        if records.is_empty() {
            return Decision::reply(());
        }
        let level = level.unwrap_or(bootstrap.level);
        Decision {
            batches: vec![Batch {
                records,
                level,
                kraft_version: None,
            }],
            reply: (),
        }
    }

    fn push_bootstrap(&self, bootstrap: &Bootstrap, records: &mut Vec<Record>) {
        let is_transaction = bootstrap.level.has_transactions();
        if is_transaction {
            let name = Some("Bootstrap records".into());
            records.push(BeginTransactionRecord { name }.into());
        }
        records.extend(bootstrap.records.iter().cloned());
        if bootstrap.has_elr() {
            // Eligible leaders rest on one minimum for the whole cluster: it is pinned.
            let cluster = Resource::cluster();
            records.push(
                ConfigRecord {
                    resource_type: cluster.kind.code(),
                    resource_name: (*cluster.name).into(),
                    name: "min.insync.replicas".into(),
                    value: Some(self.settings().min_in_sync.to_string().into()),
                }
                .into(),
            );
        }
        if is_transaction {
            records.push(EndTransactionRecord {}.into());
        }
    }
}

fn level_of(level: MetadataVersion) -> Record {
    feature(MetadataVersion::FEATURE, level.level())
}

fn feature(name: &str, level: i16) -> Record {
    FeatureLevelRecord {
        name: name.into(),
        feature_level: level,
    }
    .into()
}

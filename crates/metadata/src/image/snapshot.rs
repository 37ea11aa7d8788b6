//! Image → records → image: what stands in a snapshot, in the order of Kafka's own.
//!
//! One final record per thing, no changes and no transaction markers. A reader needs
//! metadata.version first and a topic before its partitions; the rest is habit.

use super::{Corrupt, Delta, Image, Provenance};
use crate::records::{MetadataVersion, Record};

impl Image {
    /// The records of a snapshot, and the level to encode them at.
    pub fn to_records(&self) -> (Vec<Record>, MetadataVersion) {
        // Without a level nothing but a bootstrap can have been written.
        let level = self
            .features
            .metadata_version()
            .unwrap_or(MetadataVersion::MIN);
        let mut records = Vec::new();
        self.features.write(&mut records);
        self.nodes.write_brokers(level, &mut records);
        self.nodes.write_controllers(level, &mut records);
        self.topics.write(level, &mut records);
        self.configs.write(&mut records);
        self.quotas.write(&mut records);
        self.producer_ids.write(&mut records);
        self.acls.write(&mut records);
        self.credentials.write(level, &mut records);
        (records, level)
    }

    /// The image that a snapshot stands for.
    pub fn from_records<'a>(
        records: impl IntoIterator<Item = &'a Record>,
        provenance: Provenance,
    ) -> Result<Self, Corrupt> {
        let mut delta = Delta::new(&Self::default());
        for record in records {
            delta.replay(record)?;
        }
        Ok(delta.apply(provenance).0)
    }
}

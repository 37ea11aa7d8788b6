//! Access control entries, kept as their records until they are served.

use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::Uuid;

use super::{Corrupt, detached};
use crate::records::{AccessControlEntryRecord, Record, RemoveAccessControlEntryRecord};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acls {
    pub by_id: OrdMap<Uuid, Arc<AccessControlEntryRecord>>,
}

impl Acls {
    pub(super) fn replay(&mut self, record: &AccessControlEntryRecord) -> Result<(), Corrupt> {
        self.by_id.insert(record.id, Arc::new(detached(record)?));
        Ok(())
    }

    pub(super) fn replay_removal(
        &mut self,
        record: &RemoveAccessControlEntryRecord,
    ) -> Result<(), Corrupt> {
        let removed = self.by_id.remove(&record.id);
        removed
            .map(|_| ())
            .ok_or_else(|| Corrupt::new(format!("no access control entry {}", record.id)))
    }

    pub(super) fn write(&self, records: &mut Vec<Record>) {
        records.extend(
            self.by_id
                .values()
                .map(|entry| Record::from(entry.as_ref().clone())),
        );
    }
}

//! Client quotas by entity.

use std::sync::Arc;

use imbl::OrdMap;

use crate::records::{ClientQuotaRecord, QuotaEntity, Record};

/// Kinds and names (none: the default of that kind), in the order of the kinds.
pub type Entity = Vec<(Arc<str>, Option<Arc<str>>)>;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quotas {
    pub by_entity: OrdMap<Entity, OrdMap<Arc<str>, f64>>,
}

impl Quotas {
    pub(super) fn replay(&mut self, record: &ClientQuotaRecord) {
        let mut entity: Entity = record
            .entity
            .iter()
            .map(|part| {
                (
                    Arc::from(&*part.entity_type),
                    part.entity_name.as_deref().map(Arc::from),
                )
            })
            .collect();
        entity.sort();
        let mut limits = self.by_entity.get(&entity).cloned().unwrap_or_default();
        if record.remove {
            limits.remove(&*record.key);
        } else {
            limits.insert(Arc::from(&*record.key), record.value);
        }
        if limits.is_empty() {
            self.by_entity.remove(&entity);
        } else {
            self.by_entity.insert(entity, limits);
        }
    }

    pub(super) fn write(&self, records: &mut Vec<Record>) {
        for (entity, limits) in &self.by_entity {
            for (key, value) in limits {
                let part = |(kind, name): &(Arc<str>, Option<Arc<str>>)| QuotaEntity {
                    entity_type: (**kind).into(),
                    entity_name: name.as_deref().map(Into::into),
                };
                records.push(
                    ClientQuotaRecord {
                        entity: entity.iter().map(part).collect(),
                        key: (**key).into(),
                        value: *value,
                        remove: false,
                    }
                    .into(),
                );
            }
        }
    }
}

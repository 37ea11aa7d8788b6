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

/// Which names of one kind are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameFilter {
    Exactly(Arc<str>),
    /// The default alone.
    Default,
    Any,
}

/// Which entities are meant: those that name each of these kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityFilter {
    pub kinds: Vec<(Arc<str>, NameFilter)>,
    /// And no other kind.
    pub strict: bool,
}

impl EntityFilter {
    fn matches(&self, entity: &Entity) -> bool {
        let is_named = |(kind, wanted): &(Arc<str>, NameFilter)| {
            let found = entity.iter().find(|(one, _)| one == kind);
            found.is_some_and(|(_, name)| match wanted {
                NameFilter::Exactly(wanted) => name.as_ref() == Some(wanted),
                NameFilter::Default => name.is_none(),
                NameFilter::Any => true,
            })
        };
        (!self.strict || entity.len() == self.kinds.len()) && self.kinds.iter().all(is_named)
    }
}

impl Quotas {
    /// The entities that a filter means, and their limits.
    pub fn find<'a>(
        &'a self,
        filter: &'a EntityFilter,
    ) -> impl Iterator<Item = (&'a Entity, impl Iterator<Item = (&'a str, f64)>)> {
        let all = self.by_entity.iter();
        all.filter(|(entity, _)| filter.matches(entity))
            .map(|(entity, limits)| {
                let limits = limits.iter().map(|(key, value)| (&**key, *value));
                (entity, limits)
            })
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas() -> Quotas {
        let mut quotas = Quotas::default();
        for parts in [
            vec![("user", Some("u"))],
            vec![("user", None)],
            vec![("user", Some("u")), ("client-id", Some("c"))],
            vec![("ip", None)],
        ] {
            let part = |(kind, name): (&str, Option<&str>)| QuotaEntity {
                entity_type: kind.into(),
                entity_name: name.map(Into::into),
            };
            quotas.replay(&ClientQuotaRecord {
                entity: parts.into_iter().map(part).collect(),
                key: "request_percentage".into(),
                value: 1.0,
                remove: false,
            });
        }
        quotas
    }

    fn n_found(kinds: &[(&str, NameFilter)], strict: bool) -> usize {
        let kinds = kinds.iter().cloned();
        let filter = EntityFilter {
            kinds: kinds.map(|(kind, name)| (Arc::from(kind), name)).collect(),
            strict,
        };
        quotas().find(&filter).count()
    }

    #[test]
    fn a_filter_names_kinds_and_a_strict_one_all_of_them() {
        let exactly = |name: &str| NameFilter::Exactly(Arc::from(name));
        assert_eq!(n_found(&[], false), 4);
        assert_eq!(n_found(&[], true), 0);
        assert_eq!(n_found(&[("user", NameFilter::Any)], false), 3);
        assert_eq!(n_found(&[("user", NameFilter::Any)], true), 2);
        assert_eq!(n_found(&[("user", exactly("u"))], false), 2);
        assert_eq!(n_found(&[("user", exactly("u"))], true), 1);
        assert_eq!(n_found(&[("user", NameFilter::Default)], false), 1);
        let both = [("user", NameFilter::Any), ("client-id", exactly("c"))];
        assert_eq!(n_found(&both, true), 1);
        assert_eq!(n_found(&[("user", exactly("x"))], false), 0);
    }
}

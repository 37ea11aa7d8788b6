//! Overrides by resource.

use std::sync::Arc;

use imbl::OrdMap;

use crate::config::Overrides;
use crate::records::{ConfigRecord, Record};

/// What a setting can be set on, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    Topic,
    Broker,
    ClientMetrics,
    Group,
    /// Of a later Kafka; kept as it is.
    Other(i8),
}

impl ResourceKind {
    pub fn from_code(code: i8) -> Self {
        match code {
            2 => Self::Topic,
            4 => Self::Broker,
            16 => Self::ClientMetrics,
            32 => Self::Group,
            other => Self::Other(other),
        }
    }

    pub fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::ClientMetrics => 16,
            Self::Group => 32,
            Self::Other(code) => code,
        }
    }
}

/// One thing that has settings. A broker without a name is the cluster-wide default.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    pub kind: ResourceKind,
    pub name: Arc<str>,
}

impl Resource {
    pub fn new(kind: ResourceKind, name: &str) -> Self {
        Self {
            kind,
            name: Arc::from(name),
        }
    }

    pub fn topic(name: &str) -> Self {
        Self::new(ResourceKind::Topic, name)
    }

    /// The cluster-wide default of all brokers.
    pub fn cluster() -> Self {
        Self::new(ResourceKind::Broker, "")
    }

    pub fn broker(id: i32) -> Self {
        Self::new(ResourceKind::Broker, &id.to_string())
    }
}

type Values = OrdMap<Arc<str>, Arc<str>>;

/// Invariant: no resource without values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configs {
    by_resource: OrdMap<Resource, Values>,
}

impl Configs {
    /// What is set on a resource, in the shape that the catalogue takes.
    pub fn overrides(&self, resource: &Resource) -> Overrides {
        self.by_resource
            .get(resource)
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    pub fn value(&self, resource: &Resource, name: &str) -> Option<&Arc<str>> {
        self.by_resource.get(resource)?.get(name)
    }

    /// Every resource that has anything set.
    pub fn resources(&self) -> impl Iterator<Item = &Resource> {
        self.by_resource.keys()
    }

    pub(super) fn replay(&mut self, record: &ConfigRecord) -> Resource {
        let resource = Resource::new(
            ResourceKind::from_code(record.resource_type),
            &record.resource_name,
        );
        let mut values = self.by_resource.get(&resource).cloned().unwrap_or_default();
        match &record.value {
            Some(value) => values.insert(Arc::from(&*record.name), Arc::from(&**value)),
            None => values.remove(&*record.name),
        };
        if values.is_empty() {
            self.by_resource.remove(&resource);
        } else {
            self.by_resource.insert(resource.clone(), values);
        }
        resource
    }

    /// A topic is gone, and its settings with it. True if it had any.
    pub(super) fn remove(&mut self, resource: &Resource) -> bool {
        self.by_resource.remove(resource).is_some()
    }

    pub(super) fn write(&self, records: &mut Vec<Record>) {
        for (resource, values) in &self.by_resource {
            for (name, value) in values {
                records.push(
                    ConfigRecord {
                        resource_type: resource.kind.code(),
                        resource_name: (*resource.name).into(),
                        name: (**name).into(),
                        value: Some((**value).into()),
                    }
                    .into(),
                );
            }
        }
    }
}

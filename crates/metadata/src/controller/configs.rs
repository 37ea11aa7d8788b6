//! Validate and alter dynamic configuration.

use std::collections::BTreeSet;

use ottla_protocol::{Refusal, Refused};

use super::{Controller, Decision, Outcome, RECORDS_PER_REQUEST_MAX, check_topic_name};
use crate::config::{BrokerConfig, ConfigChange, Overrides, Scope};
use crate::image::{Resource, ResourceKind};
use crate::records::{ClearElrRecord, ConfigRecord, Record};

/// The one setting that eligible leaders depend on.
const MIN_IN_SYNC: &str = "min.insync.replicas";
const CORDONED: &str = "cordoned.log.dirs";

/// What the catalogue of settings knows and the controller does not: types, limits, lists.
pub trait ConfigRules {
    /// What is set after `changes`, or why they are refused.
    fn alter(
        &self,
        scope: Scope,
        name: &str,
        now: &Overrides,
        changes: &[ConfigChange],
    ) -> Result<Overrides, Refused>;

    /// Whether a whole set of overrides may stand in the place of `now`.
    fn check(
        &self,
        scope: Scope,
        name: &str,
        now: &Overrides,
        overrides: &Overrides,
    ) -> Result<(), Refused>;
}

impl ConfigRules for BrokerConfig {
    fn alter(
        &self,
        scope: Scope,
        name: &str,
        now: &Overrides,
        changes: &[ConfigChange],
    ) -> Result<Overrides, Refused> {
        Self::alter(self, scope, name, now, changes)
    }

    fn check(
        &self,
        scope: Scope,
        name: &str,
        now: &Overrides,
        overrides: &Overrides,
    ) -> Result<(), Refused> {
        self.check_overrides(scope, name, now, overrides)
    }
}

/// One resource of an IncrementalAlterConfigs request.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigAlteration {
    pub resource: Resource,
    pub changes: Vec<ConfigChange>,
}

/// One resource of an AlterConfigs request: all that shall be set on it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigReplacement {
    pub resource: Resource,
    /// A null value was asked for where `None`.
    pub values: Vec<(String, Option<String>)>,
}

impl Controller {
    /// Per resource, in order: changed, or why not. Broker loggers are not here.
    pub fn incremental_alter_configs(
        &self,
        alterations: &[ConfigAlteration],
        validate_only: bool,
        rules: &dyn ConfigRules,
    ) -> Decision<Vec<Outcome<()>>> {
        let plan = |alteration: &ConfigAlteration| self.plan_alteration(alteration, rules);
        self.alter_each(alterations, validate_only, plan)
    }

    /// The older request: what it does not name is taken away.
    pub fn alter_configs(
        &self,
        replacements: &[ConfigReplacement],
        validate_only: bool,
        rules: &dyn ConfigRules,
    ) -> Decision<Vec<Outcome<()>>> {
        let plan = |replacement: &ConfigReplacement| self.plan_replacement(replacement, rules);
        self.alter_each(replacements, validate_only, plan)
    }

    fn alter_each<T>(
        &self,
        all: &[T],
        validate_only: bool,
        plan: impl Fn(&T) -> Result<(Resource, Vec<Planned>), Refused>,
    ) -> Decision<Vec<Outcome<()>>> {
        let mut records = Vec::new();
        let mut outcomes: Vec<Outcome<()>> = Vec::new();
        let mut touched = BTreeSet::new();
        for one in all {
            outcomes.push(plan(one).map(|(resource, planned)| {
                let set = planned.iter().map(|(name, value)| (name, value.as_ref()));
                for (name, value) in set {
                    records.push(config_record(&resource, name, value));
                }
                if planned.iter().any(|(name, _)| name == MIN_IN_SYNC) {
                    touched.insert(cleared_by(&resource));
                }
            }));
        }
        if self.image().features.has_elr() {
            records.extend(touched.into_iter().map(clear_elr));
        }
        if records.len() > RECORDS_PER_REQUEST_MAX {
            records.clear();
            let refused = Refused::new(
                Refusal::PolicyViolation,
                "Unable to perform excessively large batch operation.",
            );
            outcomes = vec![Err(refused); all.len()];
        }
        if validate_only {
            records.clear();
        }
        self.decide(records, outcomes)
    }

    fn plan_alteration(
        &self,
        alteration: &ConfigAlteration,
        rules: &dyn ConfigRules,
    ) -> Result<(Resource, Vec<Planned>), Refused> {
        let resource = &alteration.resource;
        let scope = scope_of(resource)?;
        let now = self.image().configs.overrides(resource);
        let after = rules.alter(scope, &resource.name, &now, &alteration.changes)?;
        // Kafka repeats an unchanged value of a broker: it makes brokers load files again.
        let is_broker = resource.kind == ResourceKind::Broker;
        let planned: Vec<Planned> = alteration
            .changes
            .iter()
            .map(|change| (change.name.clone(), after.get(&change.name).cloned()))
            .filter(|(name, value)| is_broker || now.get(name) != value.as_ref())
            .collect();
        self.check_planned(resource, &planned)?;
        self.check_exists(resource)?;
        Ok((resource.clone(), planned))
    }

    fn plan_replacement(
        &self,
        replacement: &ConfigReplacement,
        rules: &dyn ConfigRules,
    ) -> Result<(Resource, Vec<Planned>), Refused> {
        let resource = &replacement.resource;
        let scope = scope_of(resource)?;
        let now = self.image().configs.overrides(resource);
        let mut after = Overrides::new();
        for (name, value) in &replacement.values {
            let value = value.clone().ok_or_else(|| null_value(name))?;
            after.insert(name.clone(), value);
        }
        rules.check(scope, &resource.name, &now, &after)?;
        let is_broker = resource.kind == ResourceKind::Broker;
        let set = after
            .iter()
            .filter(|(name, value)| is_broker || now.get(*name) != Some(value))
            .map(|(name, value)| (name.clone(), Some(value.clone())));
        let unset = now
            .keys()
            .filter(|name| !after.contains_key(*name))
            .map(|name| (name.clone(), None));
        let planned: Vec<Planned> = set.chain(unset).collect();
        self.check_planned(resource, &planned)?;
        self.check_exists(resource)?;
        Ok((resource.clone(), planned))
    }

    /// What the cluster as a whole forbids, whatever the value's type.
    fn check_planned(&self, resource: &Resource, planned: &[Planned]) -> Result<(), Refused> {
        let refuse = |why: String| Err(Refused::new(Refusal::InvalidConfig, why));
        let is_broker = resource.kind == ResourceKind::Broker;
        let has_elr = self.image().features.has_elr();
        for (name, value) in planned {
            if is_broker && name == MIN_IN_SYNC && has_elr {
                if !resource.name.is_empty() {
                    return refuse(format!(
                        "Broker-level {MIN_IN_SYNC} cannot be altered while ELR is enabled."
                    ));
                }
                if value.is_none() {
                    return refuse(format!(
                        "Cluster-level {MIN_IN_SYNC} cannot be removed while ELR is enabled."
                    ));
                }
            }
            if is_broker && name == CORDONED && !self.level().has_cordoned_directories() {
                return refuse(format!(
                    "The {CORDONED} configuration value cannot be set because it requires \
                     metadata.version >= 4.3-IV0"
                ));
            }
        }
        Ok(())
    }

    fn check_exists(&self, resource: &Resource) -> Result<(), Refused> {
        let name = &*resource.name;
        match resource.kind {
            ResourceKind::Topic if self.image().topics.find(name).is_none() => Err(Refused::new(
                Refusal::UnknownTopicOrPartition,
                format!("The topic '{name}' does not exist."),
            )),
            ResourceKind::Broker if !name.is_empty() => {
                let id = name.parse().map_err(|_| {
                    Refused::new(
                        Refusal::InvalidRequest,
                        format!("Invalid broker name {name}"),
                    )
                })?;
                let nodes = &self.image().nodes;
                if nodes.broker(id).is_none() && !nodes.controllers.contains_key(&id) {
                    return Err(Refused::new(
                        Refusal::BrokerIdNotRegistered,
                        format!("No node with id {id} found."),
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The records that set a new topic's configuration.
    pub(super) fn push_configs<'a>(
        &self,
        resource: &Resource,
        values: impl Iterator<Item = (&'a String, Option<&'a String>)>,
        records: &mut Vec<Record>,
    ) {
        let mut touches_elr = false;
        for (name, value) in values {
            records.push(config_record(resource, name, value));
            touches_elr |= name == MIN_IN_SYNC;
        }
        if touches_elr && self.image().features.has_elr() {
            records.push(clear_elr(cleared_by(resource)));
        }
    }
}

/// A setting's name and its value, `None` to take it away.
type Planned = (String, Option<String>);

/// The names that Kafka takes, by kind.
fn scope_of(resource: &Resource) -> Result<Scope, Refused> {
    let refuse = |why: String| Err(Refused::new(Refusal::InvalidRequest, why));
    let name = &*resource.name;
    match resource.kind {
        ResourceKind::Topic if name.is_empty() => {
            refuse("Default topic resources are not allowed.".to_owned())
        }
        ResourceKind::Topic => check_topic_name(name).map(|()| Scope::Topic),
        ResourceKind::Broker if name.is_empty() => Ok(Scope::Node),
        ResourceKind::Broker => match name.parse::<i32>() {
            Ok(id) if id >= 0 => Ok(Scope::Node),
            Ok(_) => refuse("Invalid negative broker ID.".to_owned()),
            Err(_) => refuse("Unable to parse broker name as a base 10 number.".to_owned()),
        },
        ResourceKind::Group if name.is_empty() => {
            refuse("Default group resources are not allowed.".to_owned())
        }
        ResourceKind::Group => Ok(Scope::Group),
        ResourceKind::ClientMetrics if name.is_empty() => {
            refuse("Subscription name can't be empty".to_owned())
        }
        ResourceKind::ClientMetrics => Ok(Scope::ClientMetrics),
        ResourceKind::Other(code) => refuse(format!("Unknown resource type {code}")),
    }
}

/// The topic whose eligible leaders a new minimum makes void; empty for all.
fn cleared_by(resource: &Resource) -> String {
    match resource.kind {
        ResourceKind::Topic => resource.name.to_string(),
        _ => String::new(),
    }
}

fn clear_elr(topic: String) -> Record {
    ClearElrRecord {
        topic_name: topic.into(),
    }
    .into()
}

fn config_record(resource: &Resource, name: &str, value: Option<&String>) -> Record {
    ConfigRecord {
        resource_type: resource.kind.code(),
        resource_name: (*resource.name).into(),
        name: name.into(),
        value: value.map(|value| value.as_str().into()),
    }
    .into()
}

fn null_value(name: &str) -> Refused {
    Refused::new(
        Refusal::InvalidConfig,
        format!("Null value not supported for configs: {name}"),
    )
}

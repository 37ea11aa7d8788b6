//! Validate and alter dynamic configuration.

use ottla_protocol::Refused;

use super::{Controller, Decision, Outcome};
use crate::config::{BrokerConfig, ConfigChange, Overrides, Scope};
use crate::image::{Resource, ResourceKind};

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

    /// Whether a whole set of overrides may stand.
    fn check(&self, scope: Scope, name: &str, overrides: &Overrides) -> Result<(), Refused>;
}

impl ConfigRules for BrokerConfig {
    fn alter(
        &self,
        scope: Scope,
        name: &str,
        now: &Overrides,
        changes: &[ConfigChange],
    ) -> Result<Overrides, Refused> {
        let _ = (scope, name, now, changes);
        todo!()
    }

    fn check(&self, scope: Scope, name: &str, overrides: &Overrides) -> Result<(), Refused> {
        let _ = (scope, name, overrides);
        todo!()
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
        let _ = (alterations, validate_only, rules, ResourceKind::Topic);
        todo!()
    }

    pub fn alter_configs(
        &self,
        replacements: &[ConfigReplacement],
        validate_only: bool,
        rules: &dyn ConfigRules,
    ) -> Decision<Vec<Outcome<()>>> {
        let _ = (replacements, validate_only, rules);
        todo!()
    }
}

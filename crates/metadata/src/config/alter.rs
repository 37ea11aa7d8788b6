//! What an alter request may do to a resource's settings.

use super::definition::Scope;
use super::resolve::{BrokerConfig, Overrides};

/// `set`, `delete`, `append` or `subtract`; the numbers are IncrementalAlterConfigs'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigOperation {
    Set = 0,
    Delete = 1,
    Append = 2,
    Subtract = 3,
}

impl ConfigOperation {
    pub fn from_code(code: i8) -> Option<Self> {
        Some(match code {
            0 => Self::Set,
            1 => Self::Delete,
            2 => Self::Append,
            3 => Self::Subtract,
            _ => return None,
        })
    }
}

/// One line of an IncrementalAlterConfigs request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    pub name: String,
    pub operation: ConfigOperation,
    /// Ignored by `Delete`.
    pub value: Option<String>,
}

/// Why a change is not taken, with Kafka's error code. `Refused` of the protocol crate once it is there.
pub type ConfigRefused = (i16, String);

impl BrokerConfig {
    /// Applies an IncrementalAlterConfigs resource to what is set now and returns what will be set.
    /// `name` is the resource's (a topic, a broker id or "", a group, a subscription).
    pub fn alter(
        &self,
        scope: Scope,
        name: &str,
        now: &Overrides,
        changes: &[ConfigChange],
    ) -> Result<Overrides, ConfigRefused> {
        let _ = (scope, name, now, changes);
        todo!()
    }

    /// Checks a whole set of overrides: AlterConfigs, and CreateTopics' configs.
    pub fn check_overrides(
        &self,
        scope: Scope,
        name: &str,
        overrides: &Overrides,
    ) -> Result<(), ConfigRefused> {
        let _ = (scope, name, overrides);
        todo!()
    }
}

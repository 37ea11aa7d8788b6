//! Text to value and back, as Kafka's ConfigDef does it.

use std::fmt;

use super::definition::Definition;

/// A value that its setting cannot take. Displays as Kafka's ConfigException does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    pub name: String,
    pub value: Option<String>,
    /// What would have been allowed.
    pub allowed: String,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().unwrap_or("null");
        write!(
            f,
            "Invalid value {value} for configuration {}: {}",
            self.name, self.allowed
        )
    }
}

impl std::error::Error for BadValue {}

impl Definition {
    /// Checks `text` against type and allowed values and returns it as Kafka would print it.
    pub fn canonical(&self, text: &str) -> Result<String, BadValue> {
        let _ = text;
        todo!()
    }
}

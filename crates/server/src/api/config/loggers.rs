//! Loggers as a resource that has settings (KIP-412). Ours are the targets of `tracing`, one for
//! each crate; their levels are set at start and only shown here.

use ottla_protocol::{Refusal, Refused};
use tracing::level_filters::LevelFilter;

use ottla_metadata::config::ConfigOperation;

/// What Kafka calls the logger of everything.
const ROOT: &str = "root";
/// Kafka's levels, as its message lists them.
const LEVELS: [&str; 6] = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"];

/// Every logger and its level.
pub(super) fn levels() -> Vec<(&'static str, &'static str)> {
    /// The highest level at which a target speaks; macros want the target as a literal.
    macro_rules! level_of {
        ($target:literal) => {{
            let level = if tracing::enabled!(target: $target, tracing::Level::TRACE) {
                "TRACE"
            } else if tracing::enabled!(target: $target, tracing::Level::DEBUG) {
                "DEBUG"
            } else if tracing::enabled!(target: $target, tracing::Level::INFO) {
                "INFO"
            } else if tracing::enabled!(target: $target, tracing::Level::WARN) {
                "WARN"
            } else if tracing::enabled!(target: $target, tracing::Level::ERROR) {
                "ERROR"
            } else {
                "OFF"
            };
            ($target, level)
        }};
    }
    vec![
        level_of!("ottla_metadata"),
        level_of!("ottla_node"),
        level_of!("ottla_server"),
        level_of!("ottla_storage"),
        (ROOT, name_of(LevelFilter::current())),
    ]
}

fn name_of(level: LevelFilter) -> &'static str {
    match level.into_level() {
        Some(tracing::Level::TRACE) => "TRACE",
        Some(tracing::Level::DEBUG) => "DEBUG",
        Some(tracing::Level::INFO) => "INFO",
        Some(tracing::Level::WARN) => "WARN",
        Some(tracing::Level::ERROR) => "ERROR",
        None => "OFF",
    }
}

/// Whether the name is that of this node, in Kafka's words for loggers.
pub(super) fn check_node(name: &str, node_id: i32) -> Result<(), Refused> {
    let refuse = |why: String| Err(Refused::new(Refusal::InvalidRequest, why));
    match name.parse::<i32>() {
        Ok(id) if id == node_id => Ok(()),
        Ok(id) => refuse(format!(
            "Unexpected node id. Expected {node_id}, but received {id}"
        )),
        Err(_) => refuse(format!("Node id must be an integer, but it is: {name}")),
    }
}

/// Judges a change of one logger, in Kafka's order. None succeeds: what would be left is to do it.
pub(super) fn check_change(
    logger: &str,
    operation: Option<ConfigOperation>,
    value: Option<&str>,
) -> Result<(), Refused> {
    let invalid_request = |why: String| Err(Refused::new(Refusal::InvalidRequest, why));
    let invalid_config = |why: String| Err(Refused::new(Refusal::InvalidConfig, why));
    let exists = levels().iter().any(|(name, _)| *name == logger);
    match operation {
        Some(ConfigOperation::Set | ConfigOperation::Delete) if !exists => {
            invalid_config(format!("Logger {logger} does not exist!"))
        }
        Some(ConfigOperation::Set) => {
            let level = value.unwrap_or_default();
            if !LEVELS.contains(&level) {
                return invalid_config(format!(
                    "Cannot set the log level of {logger} to {level} as it is not a supported log \
                     level. Valid log levels are {}",
                    LEVELS.join(", ")
                ));
            }
            invalid_request(format!(
                "the level of {logger} cannot be changed while the node runs (log levels)"
            ))
        }
        Some(ConfigOperation::Delete) if logger == ROOT => invalid_request(format!(
            "Removing the log level of the {ROOT} logger is not allowed"
        )),
        Some(ConfigOperation::Delete) => invalid_request(format!(
            "the level of {logger} cannot be changed while the node runs (log levels)"
        )),
        Some(ConfigOperation::Append) => invalid_request(
            "APPEND operation is not allowed for the BROKER_LOGGER resource".to_owned(),
        ),
        Some(ConfigOperation::Subtract) => invalid_request(
            "SUBTRACT operation is not allowed for the BROKER_LOGGER resource".to_owned(),
        ),
        None => invalid_request(
            "Unknown operation type is not allowed for the BROKER_LOGGER resource".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loggers_of_java_do_not_exist_here() {
        let set = |logger, level| {
            let refused = check_change(logger, Some(ConfigOperation::Set), Some(level));
            refused.expect_err("nothing can be set").to_string()
        };
        assert_eq!(
            set("kafka.server.KafkaApis", "INFO"),
            "INVALID_CONFIG: Logger kafka.server.KafkaApis does not exist!"
        );
        assert!(set("root", "LOUD").starts_with("INVALID_CONFIG: Cannot set the log level"));
        assert!(set("root", "INFO").starts_with("INVALID_REQUEST"));
    }

    #[test]
    fn every_logger_has_a_level() {
        for (name, level) in levels() {
            assert!(LEVELS.contains(&level) || level == "OFF", "{name} {level}");
        }
        assert!(check_node("1", 1).is_ok());
        assert!(check_node("2", 1).is_err() && check_node("", 1).is_err());
    }
}

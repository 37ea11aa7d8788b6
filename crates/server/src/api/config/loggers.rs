//! Loggers as a resource that has settings (KIP-412). Ours are the targets of `tracing`: one for
//! each crate that says anything, and one for all of them. A change lasts as long as the process.

use ottla_metadata::config::ConfigOperation;
use ottla_node::{LogLevel, LogLevels, ROOT_LOGGER};
use ottla_protocol::{Refusal, Refused};

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
        // The others begin with this name, so that it speaks for those without a level of their own.
        level_of!("ottla"),
        level_of!("ottla_node"),
        level_of!("ottla_server"),
        level_of!("ottla_storage"),
        // No target has this name: it has what is left for all that is not named.
        level_of!("root"),
    ]
}

/// One change of a level, `None` to take back what was changed.
pub(super) type Change = (String, Option<LogLevel>);

/// tracing has nothing worse than an error.
fn level(name: &str) -> Option<LogLevel> {
    Some(match name {
        "FATAL" | "ERROR" => LogLevel::Error,
        "WARN" => LogLevel::Warn,
        "INFO" => LogLevel::Info,
        "DEBUG" => LogLevel::Debug,
        "TRACE" => LogLevel::Trace,
        _ => return None,
    })
}

/// Does what was judged.
pub(super) fn change(log: Option<&dyn LogLevels>, changes: &[Change]) -> Result<(), Refused> {
    let refuse = |why: String| Refused::new(Refusal::InvalidRequest, why);
    let log = log.ok_or_else(|| refuse("the log of this process cannot be changed".to_owned()))?;
    log.set(changes).map_err(refuse)?;
    for (logger, level) in changes {
        match level {
            Some(level) => tracing::warn!("updated the log level of {logger} to {level}"),
            None => tracing::warn!("unset the log level of {logger}"),
        }
    }
    Ok(())
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

/// Judges a change of one logger, in Kafka's order.
pub(super) fn check_change(
    logger: &str,
    operation: Option<ConfigOperation>,
    value: Option<&str>,
) -> Result<Change, Refused> {
    let invalid_request = |why: String| Err(Refused::new(Refusal::InvalidRequest, why));
    let invalid_config = |why: String| Err(Refused::new(Refusal::InvalidConfig, why));
    let exists = levels().iter().any(|(name, _)| *name == logger);
    match operation {
        Some(ConfigOperation::Set | ConfigOperation::Delete) if !exists => {
            invalid_config(format!("Logger {logger} does not exist!"))
        }
        Some(ConfigOperation::Set) => {
            let name = value.unwrap_or_default();
            match level(name) {
                Some(level) => Ok((logger.to_owned(), Some(level))),
                None => invalid_config(format!(
                    "Cannot set the log level of {logger} to {name} as it is not a supported log \
                     level. Valid log levels are {}",
                    LEVELS.join(", ")
                )),
            }
        }
        Some(ConfigOperation::Delete) if logger == ROOT_LOGGER => invalid_request(format!(
            "Removing the log level of the {ROOT_LOGGER} logger is not allowed"
        )),
        Some(ConfigOperation::Delete) => Ok((logger.to_owned(), None)),
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
    fn changes_are_judged_in_kafkas_words() {
        use ConfigOperation::{Append, Delete, Set};
        let judged = |logger, operation, level| {
            check_change(logger, Some(operation), Some(level)).map_err(|why| why.to_string())
        };
        assert_eq!(
            judged("kafka.server.KafkaApis", Set, "INFO").unwrap_err(),
            "INVALID_CONFIG: Logger kafka.server.KafkaApis does not exist!"
        );
        let refused = judged("root", Set, "LOUD").unwrap_err();
        assert!(refused.starts_with("INVALID_CONFIG: Cannot set the log level"));
        let refused = judged("root", Delete, "").unwrap_err();
        assert!(refused.starts_with("INVALID_REQUEST: Removing the log level"));
        assert!(judged("root", Append, "INFO").is_err());
        let set = ("ottla_node".to_owned(), Some(LogLevel::Error));
        assert_eq!(judged("ottla_node", Set, "FATAL"), Ok(set.clone()));
        let unset = ("ottla_node".to_owned(), None);
        assert_eq!(judged("ottla_node", Delete, ""), Ok(unset));
        assert!(change(None, &[set]).is_err());
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

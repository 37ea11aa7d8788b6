//! What this process writes to its log, as something that an API may change. Whoever has set the
//! log up (the binary) hands it over; a node in a test has none.

use std::fmt;

/// The level up to which a logger speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// The levels of loggers, by the names of targets; `root` stands for all that have none of their own.
pub trait LogLevels: Send + Sync {
    /// `None`: as at the start of the process.
    ///
    /// # Errors
    /// A sentence, if the log cannot be changed.
    fn set(&self, changes: &[(String, Option<LogLevel>)]) -> Result<(), String>;
}

/// The logger of everything, as Kafka calls it.
pub const ROOT_LOGGER: &str = "root";

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

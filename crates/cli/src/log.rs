//! The log of the process: lines on stderr, filtered by target and level; the filter can be changed
//! while the node runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use ottla_node::{LogLevel, LogLevels, ROOT_LOGGER};
use tracing_subscriber::EnvFilter;

/// Which log lines are shown; `OTTLA_LOG` in the notation of `tracing` overrides.
const LOG_VARIABLE: &str = "OTTLA_LOG";
const LOG_DEFAULT: &str = "info";

/// Starts the log; the levels are for whoever may change them.
pub(crate) fn start() -> anyhow::Result<Levels> {
    let at_start = at_start(std::env::var_os(LOG_VARIABLE))?;
    let stderr = std::io::stderr;
    let log = tracing_subscriber::fmt()
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .with_env_filter(EnvFilter::new(&at_start))
        .with_filter_reloading();
    let handle = log.reload_handle();
    log.init();
    Ok(Levels {
        at_start,
        set: Mutex::default(),
        reload: Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())),
    })
}

fn at_start(written: Option<OsString>) -> anyhow::Result<String> {
    let text = written.unwrap_or_default().to_string_lossy().into_owned();
    if text.trim().is_empty() {
        return Ok(LOG_DEFAULT.to_owned());
    }
    EnvFilter::try_new(&text).with_context(|| {
        format!(
            "{LOG_VARIABLE}={text} is not usable: a level, or TARGET=LEVEL pairs with commas, is"
        )
    })?;
    Ok(text)
}

type Reload = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// What was asked for since the start, over what the start said.
pub(crate) struct Levels {
    at_start: String,
    set: Mutex<BTreeMap<String, LogLevel>>,
    reload: Reload,
}

impl LogLevels for Levels {
    fn set(&self, changes: &[(String, Option<LogLevel>)]) -> Result<(), String> {
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = set.clone();
        for (logger, level) in changes {
            match level {
                Some(level) => next.insert(logger.clone(), *level),
                None => next.remove(logger),
            };
        }
        (self.reload)(filter(&self.at_start, &next)?)?;
        *set = next;
        Ok(())
    }
}

/// Later directives take the place of earlier ones for the same target.
fn filter(at_start: &str, set: &BTreeMap<String, LogLevel>) -> Result<EnvFilter, String> {
    let mut text = at_start.to_owned();
    for (logger, level) in set {
        if logger == ROOT_LOGGER {
            text += &format!(",{level}");
        } else {
            text += &format!(",{logger}={level}");
        }
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_told_and_none_is_info() {
        let start = |text: &str| at_start(Some(text.into()));
        assert_eq!(at_start(None).unwrap(), "info");
        assert_eq!(start(" ").unwrap(), "info");
        assert_eq!(start("ottla_node=debug").unwrap(), "ottla_node=debug");
        let why = start("ottla_node=loud").unwrap_err().to_string();
        assert!(
            why.starts_with("OTTLA_LOG=ottla_node=loud is not usable"),
            "{why}"
        );
    }

    #[test]
    fn what_is_set_stands_over_what_the_start_said() {
        let set = |levels: &[(&str, LogLevel)]| {
            let levels = levels
                .iter()
                .map(|(name, level)| ((*name).to_owned(), *level));
            let filter = filter("info,ottla_node=warn", &levels.collect()).unwrap();
            let text = filter.to_string();
            let mut directives: Vec<&str> = text.split(',').collect();
            directives.sort_unstable();
            directives.join(",")
        };
        assert_eq!(set(&[]), "info,ottla_node=warn");
        assert_eq!(
            set(&[("ottla_node", LogLevel::Trace), ("root", LogLevel::Error)]),
            "error,ottla_node=trace"
        );
        assert_eq!(
            set(&[("ottla_server", LogLevel::Debug)]),
            "info,ottla_node=warn,ottla_server=debug"
        );
    }
}

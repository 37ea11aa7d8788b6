//! The only file that prints.

/// One sentence on standard error: why the command did not do what it was asked to.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("ottla: {error:#}");
}

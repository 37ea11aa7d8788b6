//! The only file that prints: what was asked for on standard output, everything else on standard
//! error. Who reads our output may stop reading at any time; that is no error.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::process::ExitCode;

/// Standard output, gathered until `flush`.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<Stdout>,
}

impl Output {
    /// As much as a few screens: written at once, and seldom more at a time.
    const GATHERED: usize = 64 << 10;

    pub(crate) fn new() -> Self {
        Self {
            out: BufWriter::with_capacity(Self::GATHERED, io::stdout()),
        }
    }

    pub(crate) fn line(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether somebody sits at both ends.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Where a line is awaited, as Kafka's console producer does.
pub(crate) fn prompt() {
    let mut out = io::stdout();
    let _ = out.write_all(b">").and_then(|()| out.flush());
}

/// One line on standard error. If nobody listens there either, nobody is told.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// One sentence on standard error: why the command did not do what it was asked to.
pub(crate) fn error(error: &anyhow::Error) {
    note(format_args!("ottla: {error:#}"));
}

/// Nobody reads what we print any more.
pub(crate) fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Runs a command that prints. What goes wrong is told by `complain`, in the words of the tool that
/// the command stands for, after what was printed before.
pub(crate) async fn command(
    act: impl AsyncFnOnce(&mut Output) -> anyhow::Result<ExitCode>,
    complain: impl FnOnce(&anyhow::Error),
) -> anyhow::Result<ExitCode> {
    let mut output = Output::new();
    let done = act(&mut output).await;
    let flushed = output.flush();
    finished(match done {
        Err(error) if !error.is::<io::Error>() => {
            flushed?;
            complain(&error);
            Ok(ExitCode::FAILURE)
        }
        Ok(code) => flushed.map(|()| code).map_err(Into::into),
        error => error,
    })
}

/// A command that stopped because nobody reads what it prints has done all that was asked of it.
pub(crate) fn finished(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    result.or_else(|error| match error.downcast_ref::<io::Error>() {
        Some(io) if is_closed_pipe(io) => Ok(ExitCode::SUCCESS),
        _ => Err(error),
    })
}

//! The only file that prints: what was asked for on standard output, everything else on standard
//! error. Who reads our output may stop reading at any time; that is no error.
//!
//! Two manners: ours, where failures are told on standard error and end with status 1; and that of
//! Kafka's script, where a link with its name was called, to the letter of standard output and
//! status.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::process::{ExitCode, Termination};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::advice;

/// Set once, before anything is printed.
static IS_KAFKAS: AtomicBool = AtomicBool::new(false);

/// From now on we are one of Kafka's scripts.
pub(crate) fn take_kafkas_manner() {
    IS_KAFKAS.store(true, Ordering::Relaxed);
}

pub(crate) fn is_kafkas_manner() -> bool {
    IS_KAFKAS.load(Ordering::Relaxed)
}

/// How what was asked for is printed.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Shape {
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Standard output, gathered until `flush`.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<Stdout>,
    is_json: bool,
}

impl Output {
    /// As much as a few screens: written at once, and seldom more at a time.
    const GATHERED: usize = 64 << 10;

    pub(crate) fn new() -> Self {
        Self {
            out: BufWriter::with_capacity(Self::GATHERED, io::stdout()),
            is_json: false,
        }
    }

    pub(crate) fn shaped(shape: Shape) -> Self {
        Self {
            is_json: shape.json,
            ..Self::new()
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// A sentence for a person; in JSON, the object that says the same.
    pub(crate) fn say(&mut self, sentence: impl Display, json: &Value) -> io::Result<()> {
        if self.is_json {
            self.line(json)
        } else {
            self.line(sentence)
        }
    }

    /// The lines of a layout; in JSON, an object for each row.
    pub(crate) fn rows(
        &mut self,
        lines: impl IntoIterator<Item = String>,
        objects: impl IntoIterator<Item = Value>,
    ) -> io::Result<()> {
        if self.is_json {
            objects.into_iter().try_for_each(|object| self.line(object))
        } else {
            lines.into_iter().try_for_each(|line| self.line(line))
        }
    }

    /// The next picture takes the place of this one.
    pub(crate) fn clear_screen(&mut self) -> io::Result<()> {
        self.bytes(b"\x1b[H\x1b[2J\x1b[3J")
    }

    /// What failed: Kafka's scripts say it where they say everything else.
    pub(crate) fn complain(&mut self, text: impl Display) -> io::Result<()> {
        if is_kafkas_manner() {
            return self.line(text);
        }
        self.flush()?;
        note(text);
        Ok(())
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

/// Whether somebody looks at what we print.
pub(crate) fn is_screen() -> bool {
    io::stdout().is_terminal()
}

/// A line on standard error that is written over by the next: how far something is that takes long.
/// Only a person at a terminal sees it.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    next: Instant,
    is_written: bool,
}

impl Progress {
    /// As often as eyes follow.
    const PAUSE: Duration = Duration::from_millis(200);

    pub(crate) fn new() -> Self {
        Self {
            is_shown: io::stderr().is_terminal() && !is_kafkas_manner(),
            // What is done at once needs no progress.
            next: Instant::now() + Self::PAUSE,
            is_written: false,
        }
    }

    pub(crate) fn is_due(&self) -> bool {
        self.is_shown && Instant::now() >= self.next
    }

    pub(crate) fn show(&mut self, text: impl Display) {
        if self.is_due() {
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
            self.next = Instant::now() + Self::PAUSE;
            self.is_written = true;
        }
    }

    /// Make room for what is printed where the line stands.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_written) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
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

/// One sentence on standard error: why the command did not do what it was asked to; and what to do
/// about it.
pub(crate) fn error(error: &anyhow::Error) {
    if is_kafkas_manner() {
        return note(format_args!("{error:#}"));
    }
    note(format_args!("ottla: {error:#}"));
    advise(error);
}

/// What may be done next.
pub(crate) fn advise(error: &anyhow::Error) {
    if !is_kafkas_manner()
        && let Some(advice) = advice::on(error)
    {
        note(format_args!("hint: {advice}"));
    }
}

/// Nobody reads what we print any more.
pub(crate) fn is_closed_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// What was typed is wrong: that is said on standard error in either manner.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Runs a command that prints. What goes wrong is told by `complain`, in the words of the tool that
/// the command stands for, after what was printed before; it says how the command ends.
pub(crate) async fn command<Done: Termination>(
    shape: Shape,
    act: impl AsyncFnOnce(&mut Output) -> anyhow::Result<Done>,
    complain: impl FnOnce(&anyhow::Error, &mut Output) -> io::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let mut output = Output::shaped(shape);
    let done = match act(&mut output).await.map(Done::report) {
        Err(wrong) if wrong.is::<Usage>() => {
            error(&wrong);
            Ok(ExitCode::FAILURE)
        }
        Err(error) if !error.is::<io::Error>() => complain(&error, &mut output).map_err(Into::into),
        done => done,
    };
    let flushed = output.flush();
    finished(done.and_then(|code| Ok(flushed.map(|()| code)?)))
}

/// The same for commands whose failure is one sentence on standard error, in either manner.
pub(crate) async fn plain_command<Done: Termination>(
    shape: Shape,
    act: impl AsyncFnOnce(&mut Output) -> anyhow::Result<Done>,
) -> anyhow::Result<ExitCode> {
    let complain = |error_of_act: &anyhow::Error, output: &mut Output| {
        output.flush()?;
        error(error_of_act);
        Ok(ExitCode::FAILURE)
    };
    command(shape, act, complain).await
}

/// A command that stopped because nobody reads what it prints has done all that was asked of it.
pub(crate) fn finished(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    result.or_else(|error| match error.downcast_ref::<io::Error>() {
        Some(io) if is_closed_pipe(io) => Ok(ExitCode::SUCCESS),
        _ => Err(error),
    })
}

//! A signal ends a command in order: what is under way is finished, then it exits with the status
//! that shells expect.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell adds to the signal's number.
const SIGNALLED: u8 = 128;

#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    Interrupted,
    Terminated,
}

impl Stop {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn wait(&mut self) -> Stopped {
        tokio::select! {
            _ = self.interrupt.recv() => Stopped::Interrupted,
            _ = self.terminate.recv() => Stopped::Terminated,
        }
    }
}

impl Stopped {
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(
            SIGNALLED
                + match self {
                    Self::Interrupted => 2,
                    Self::Terminated => 15,
                },
        )
    }
}

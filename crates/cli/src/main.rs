//! The binary `ottla`: parse, run, exit code.

mod advice;
mod args;
mod commands;
mod kafkas;
mod links;
mod log;
mod output;
mod settings;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match args::run() {
        Ok(code) => code,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

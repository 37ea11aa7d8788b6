//! Chores of this repository: `cargo xtask CHORE`.

use std::process::ExitCode;

mod tidy;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("tidy") => report(tidy::check(&tidy::repository())),
        _ => {
            eprintln!("cargo xtask tidy    the structural checks that `cargo test` runs too");
            ExitCode::from(2)
        }
    }
}

fn report(findings: anyhow::Result<Vec<tidy::Finding>>) -> ExitCode {
    match findings {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            for finding in findings {
                eprintln!("{finding}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy could not look: {error:#}");
            ExitCode::FAILURE
        }
    }
}

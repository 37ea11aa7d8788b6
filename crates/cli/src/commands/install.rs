//! `ottla install`: what belongs beside the binary: completions for shells, manual pages, and links
//! named as Kafka's scripts. All come from the definitions that also read the command line.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Command, Subcommand};
use clap_complete::Shell;

use crate::args::definition;
use crate::links::SCRIPTS;
use crate::output::{self, Output, Shape};

const NAME: &str = "ottla";

/// Write what belongs beside the binary
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a manual page for each command
    Man {
        /// Where to, as /usr/local/share/man/man1
        directory: PathBuf,
    },
    /// Make links to this binary, each named as one of Kafka's scripts
    Links {
        /// Where to, as /opt/kafka/bin
        directory: PathBuf,
        /// Hard links, which last when the binary is moved
        #[arg(long)]
        hard: bool,
    },
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut output = Output::shaped(args.shape);
    let done = match args.what {
        What::Completions { shell } => output.bytes(&completions(shell)).map_err(Into::into),
        What::Man { directory } => man(&directory, &mut output),
        What::Links { directory, hard } => links(&directory, hard, &mut output),
    };
    let flushed = output.flush();
    output::finished(done.and_then(|()| Ok(flushed.map(|()| ExitCode::SUCCESS)?)))
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition(), NAME, &mut script);
    script
}

fn man(directory: &Path, output: &mut Output) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| cannot_write(directory))?;
    for (name, page) in pages()? {
        let path = directory.join(format!("{name}.1"));
        fs::write(&path, page).with_context(|| cannot_write(&path))?;
        tell(&path, output)?;
    }
    Ok(())
}

/// One for ottla, and one for each command that it has, and so on.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut definition = definition();
    definition.build();
    let mut pages = Vec::new();
    let mut open = vec![(NAME.to_owned(), definition)];
    while let Some((name, command)) = open.pop() {
        let visible = command.get_subcommands().filter(|it| !it.is_hide_set());
        let visible = visible.filter(|it| it.get_name() != "help").cloned();
        let visible: Vec<Command> = visible.collect();
        open.extend(
            visible
                .into_iter()
                .map(|sub| (format!("{name}-{}", sub.get_name()), sub)),
        );
        let mut page = Vec::new();
        clap_mangen::Man::new(command.display_name(name.clone())).render(&mut page)?;
        page.flush()?;
        pages.push((name, page));
    }
    Ok(pages)
}

fn links(directory: &Path, is_hard: bool, output: &mut Output) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("where this binary lies cannot be told")?;
    fs::create_dir_all(directory).with_context(|| cannot_write(directory))?;
    for (script, _) in SCRIPTS {
        let link = directory.join(format!("{script}.sh"));
        if fs::symlink_metadata(&link).is_ok() {
            fs::remove_file(&link).with_context(|| cannot_write(&link))?;
        }
        let made = if is_hard {
            fs::hard_link(&program, &link)
        } else {
            std::os::unix::fs::symlink(&program, &link)
        };
        made.with_context(|| cannot_write(&link))?;
        tell(&link, output)?;
    }
    Ok(())
}

fn tell(path: &Path, output: &mut Output) -> io::Result<()> {
    let shown = path.display().to_string();
    output.say(&shown, &serde_json::json!({ "written": shown }))
}

fn cannot_write(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_can_complete_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(shell)).unwrap();
            for (_, command) in SCRIPTS {
                assert!(script.contains(command), "{shell}: {command}");
            }
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let pages = pages().unwrap();
        let page = |name: &str| pages.iter().find(|(page, _)| page == name);
        for name in ["ottla", "ottla-topics", "ottla-transactions-find-hanging"] {
            let (_, page) = page(name).unwrap_or_else(|| panic!("{name}"));
            assert!(
                String::from_utf8_lossy(page).contains(".SH OPTIONS"),
                "{name}"
            );
        }
        assert!(page("ottla-help").is_none());
    }
}

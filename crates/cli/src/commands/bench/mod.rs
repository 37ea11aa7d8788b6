//! `ottla bench`: a load generator for any Kafka broker, so cheap that the broker is the limit.
//!
//! | file | what lives there |
//! |---|---|
//! | `histogram`, `schedule`, `assign`, `skim` | pure: latencies, moments, who goes where, answers without their records |
//! | `member`, `assembly` | pure: what a member of a group says, and when a group is complete |
//! | `wire`, `turns`, `tally` | sockets that do not wait, many on one thread; what they see |
//! | `batch`, `producer`, `fetcher`, `asker` | what is said on a connection |
//! | `dialogue`, `attendee`, `joiner`, `committer` | the same, by members of groups |
//! | `broker_cpu` | what the broker's process used |
//! | `target` | the brokers and the topic, asked with the ordinary client |
//! | `transactor` | what a transactional producer says |
//! | `produce`, `consume`, `end_to_end`, `connections`, `groups`, `commits`, `transactions` | one mode each |
//! | `report` | the outcome |
//!
//! The ordinary client is not used for the load: it copies every record, hands each request through
//! three tasks, and its runtime's timers count milliseconds.

mod histogram;
mod schedule;
mod assign;
mod skim;

mod wire;
mod tally;
mod turns;

mod batch;
mod producer;
mod fetcher;
mod asker;

mod member;
mod classic_member;
mod consumer_member;
mod assembly;
mod dialogue;
mod broker_cpu;
mod attendee;
mod joiner;
mod committer;
mod transactor;

mod target;
mod report;

mod produce;
mod consume;
mod end_to_end;
mod connections;
mod groups;
mod commits;
mod transactions;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use self::report::Report;
use self::schedule::{Nanos, SECOND, Window};
use self::turns::{Clock, nanos};
use super::connect::Connect;
use crate::output::{self, Output};

/// From the first connection being ready to the first request: all threads are up by then.
const LEAD: Nanos = SECOND / 50;
/// How long answers are awaited when everything is sent.
const PATIENCE: Nanos = 30 * SECOND;
/// Nobody measures longer in one go, and moments stay far from the end of their range.
const SECONDS_MAX: f64 = 7.0 * 86_400.0;

/// Put a broker under load and measure it
///
/// Works with any Kafka broker. Latencies are told in microseconds; with a rate they count from the
/// moment at which a request was due, whether the broker kept up or not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, clap::Subcommand)]
enum Mode {
    /// Write batches, as fast as it goes or at a rate.
    Produce(produce::Args),
    /// Read from the beginning or the end.
    Consume(consume::Args),
    /// Write at a rate, read at the same time: from the moment a record is due until it is read.
    EndToEnd(end_to_end::Args),
    /// Open many connections and hold them; what one client that asks sees of it.
    Connections(connections::Args),
    /// Let groups of many members come together: from the last that joins to the last assignment.
    Groups(groups::Args),
    /// Commit offsets of many groups.
    Commits(commits::Args),
    /// Write transactions, each a batch and its end, by producers with transactional ids.
    Transactions(transactions::Args),
}

/// What all modes take.
#[derive(Debug, clap::Args)]
struct Run {
    #[command(flatten)]
    connect: Connect,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    duration: Duration,
    /// How long to run before that, uncounted
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds_or_none)]
    warm_up: Duration,
    /// Print one line of JSON in place of the table
    #[arg(long)]
    json: bool,
}

impl Run {
    fn window(&self, clock: &Clock) -> Window {
        let start = clock.now() + LEAD;
        let from = start + nanos(self.warm_up);
        let until = from + nanos(self.duration);
        let give_up = until + PATIENCE;
        Window {
            start,
            from,
            until,
            give_up,
        }
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (is_json, report) = match args.mode {
        Mode::Produce(args) => (args.run.json, produce::run(&args)?),
        Mode::Consume(args) => (args.run.json, consume::run(&args)?),
        Mode::EndToEnd(args) => (args.run.json, end_to_end::run(&args)?),
        Mode::Connections(args) => (args.run.json, connections::run(&args)?),
        Mode::Groups(args) => (args.run.json, groups::run(&args)?),
        Mode::Commits(args) => (args.run.json, commits::run(&args)?),
        Mode::Transactions(args) => (args.run.json, transactions::run(&args)?),
    };
    output::finished(print(is_json, &report))
}

fn print(is_json: bool, report: &Report) -> anyhow::Result<ExitCode> {
    let mut output = Output::new();
    if is_json {
        output.line(report.json())?;
    } else {
        output.line(report.table())?;
    }
    output.flush()?;
    if let Some(sentence) = report.shortfall() {
        output::note(format_args!("ottla: {sentence}"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// What is asked before the run, with the ordinary client.
fn before<T>(ask: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(ask)
}

fn seconds(text: &str) -> Result<Duration, String> {
    match seconds_or_none(text)? {
        Duration::ZERO => Err("there is no measuring in no time".to_owned()),
        duration => Ok(duration),
    }
}

fn seconds_or_none(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "it is no number of seconds".to_owned())?;
    if !(0.0..=SECONDS_MAX).contains(&seconds) {
        return Err(format!("it is not between 0 and {SECONDS_MAX} seconds"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds_or_none("0"), Ok(Duration::ZERO));
        for bad in ["0", "-1", "NaN", "inf", "1e30", "soon", "1e-12"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}

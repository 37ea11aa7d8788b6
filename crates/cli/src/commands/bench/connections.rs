//! `ottla bench connections`.

use std::time::Instant;

use anyhow::Context;
use ottla_client::Lane;

use super::Run;
use super::asker::Asker;
use super::histogram::Histogram;
use super::report::Report;
use super::schedule::{Pace, Schedule, Window};
use super::tally::Tally;
use super::target::{self, CLIENT_ID};
use super::turns::{self, Clock, Line, nanos};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) run: Run,
    /// How many connections to open and hold, besides the one that asks
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(0..=50_000))]
    connections: u32,
    /// Threads that hold them
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Each of them asks for Metadata this often [default: never]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    idle_ask_ms: Option<u64>,
    /// Requests a second of the one client whose latency is measured
    #[arg(long, value_name = "REQUESTS", default_value = "100", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    ask_rate: u64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Report> {
    let address = super::before(async {
        let cluster = target::cluster(&args.run.connect).await?;
        let connection = cluster.any(Lane::Calls).await?;
        Ok(connection.address().clone())
    })?;
    let n_connections = args.connections as usize;
    target::make_room(n_connections + 1)?;
    let mut opened = Histogram::new();
    let started = Instant::now();
    let mut held = Vec::with_capacity(n_connections);
    for n in 1..=n_connections {
        let began = Instant::now();
        let what = || format!("connection {n} of {n_connections}");
        held.push(target::open_served(&address).with_context(what)?);
        opened.record(nanos(began.elapsed()));
    }
    let took = started.elapsed();
    let asking = target::open_served(&address)?;

    let clock = Clock::start();
    let window = args.run.window(&clock);
    let lines = held
        .into_iter()
        .enumerate()
        .map(|(n, wire)| -> anyhow::Result<Line> {
            let pace = args
                .idle_ask_ms
                .map(|ms| slow(ms, &window, (n, n_connections)));
            Ok((wire, Box::new(Asker::new(CLIENT_ID, pace, false)?)))
        });
    let lines = lines.collect::<anyhow::Result<_>>()?;
    let mut threads = turns::over_threads(lines, args.threads as usize);
    let pace = Pace::Fixed(Schedule::new(args.ask_rate, 1, &window, (0, 1)));
    threads.push(vec![(
        asking,
        Box::new(Asker::new(CLIENT_ID, Some(pace), true)?),
    )]);
    let tally: Tally = turns::run(&clock, window, threads)?;

    Ok(Report::new("connections", &tally)
        .fact("connections", n_connections)
        .fact("opened_in_ms", took.as_millis() as u64)
        .rate(
            "requests/s",
            "requests_per_s",
            tally.counted.requests as f64,
        )
        .latency("one opened", "open_us", &opened)
        .latency("one client asks", "latency_us", &tally.latency)
        .latency("sent late", "late_us", &tally.late))
}

/// One of many that asks each so many milliseconds; they take turns.
fn slow(ms: u64, window: &Window, (n, n_connections): (usize, usize)) -> Pace {
    // As a rate of all: `n_connections` in `ms` are a thousand times that many in `ms` seconds.
    Pace::Fixed(Schedule::new(
        n_connections as u64 * 1000,
        ms,
        window,
        (n, n_connections),
    ))
}

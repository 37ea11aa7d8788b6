//! `ottla bench consume`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::ensure;
use clap::ValueEnum;
use ottla_client::Isolation;
use ottla_protocol::messages::FetchRequest;

use super::Run;
use super::fetcher::{End, Fetcher, Position, Reading};
use super::report::Report;
use super::schedule::Nanos;
use super::skim::{FETCH_VERSION, Skim};
use super::target::{CLIENT_ID, Target};
use super::turns::{self, Clock, Line};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) run: Run,
    /// The topic to read; it must exist
    #[arg(long)]
    topic: String,
    /// Use the first N partitions of the topic [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// How many connections read; more than partitions read some of them several times
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    connections: u32,
    /// Threads of the load generator
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Bytes of an answer, and of what one partition gives to it
    #[arg(long, value_name = "BYTES", default_value = "1048576", value_parser = clap::value_parser!(i32).range(1..=FETCH_BYTES_MAX))]
    fetch_size: i32,
    /// Where to start; who starts at the beginning and has read all begins anew
    #[arg(long, value_enum, default_value = "beginning")]
    from: From,
    /// What is read: everything, or what is committed, up to the first transaction that is open
    #[arg(long, value_enum, default_value = "read_uncommitted")]
    isolation_level: IsolationLevel,
    /// End when all that was there is read, instead of after --duration; everything counts
    #[arg(long, conflicts_with_all = ["duration", "warm_up"])]
    once: bool,
    /// Read every record and check every checksum; without it records are thrown away unread, and those of aborted transactions count, too
    #[arg(long)]
    decode: bool,
}

/// An answer is kept in memory while records are looked at.
const FETCH_BYTES_MAX: i64 = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    Beginning,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
}

impl IsolationLevel {
    fn isolation(self) -> Isolation {
        match self {
            Self::ReadUncommitted => Isolation::ReadUncommitted,
            Self::ReadCommitted => Isolation::ReadCommitted,
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Report> {
    ensure!(
        !args.once || args.from == From::Beginning,
        "--once reads what is there from the beginning: it does not go with --from end"
    );
    let (target, mut positions) = super::before(async {
        let n_partitions = args.partitions.map(|n| n as usize);
        let target = Target::find(&args.run.connect, &args.topic, n_partitions).await?;
        target.must_serve::<FetchRequest>(FETCH_VERSION).await?;
        let positions = target.positions(args.isolation_level.isolation()).await?;
        Ok((target, positions))
    })?;
    match args.from {
        From::Beginning => {
            positions.retain(|position| position.begin < position.end);
            ensure!(
                !positions.is_empty(),
                "topic {} is empty: there is nothing to read",
                args.topic
            );
        }
        From::End => positions
            .iter_mut()
            .for_each(|position| position.next = position.end),
    }
    let n_connections = args.connections as usize;
    let opened = target.open_all(n_connections)?;
    let clock = Clock::start();
    let mut window = args.run.window(&clock);
    if args.once {
        window.from = window.start.min(clock.now());
        window.until = Nanos::MAX;
        window.give_up = Nanos::MAX;
    }
    let lines = opened.into_iter().map(|(share, wire)| -> Line {
        let of_share = positions
            .iter()
            .filter(|position| share.partitions.contains(&position.partition));
        let of_share: Vec<Position> = of_share.copied().collect();
        (wire, Box::new(fetcher(args, of_share)))
    });
    let threads = turns::over_threads(lines.collect(), args.threads as usize);
    let tally = turns::run(&clock, window, threads)?;

    let mut report = Report::new("consume", &tally);
    if args.once {
        report = report.took(clock.now() - window.from);
    }
    Ok(report
        .fact("connections", n_connections)
        .fact("partitions", target.n_partitions())
        .fact("fetch_bytes", args.fetch_size)
        .throughput(tally.counted)
        .latency("fetched", "latency_us", &tally.latency))
}

fn fetcher(args: &Args, positions: Vec<Position>) -> Fetcher {
    let reading = if args.decode {
        Reading::Records
    } else {
        Reading::Skim(Skim::new())
    };
    let end = match args.from {
        _ if positions.is_empty() => End::All {
            n_expected: 0,
            n_received: Arc::new(AtomicU64::new(0)),
        },
        From::Beginning if args.once => End::Once,
        From::Beginning => End::Again,
        From::End => End::Follow,
    };
    Fetcher::new(
        (CLIENT_ID, &args.topic),
        positions,
        args.fetch_size,
        args.isolation_level.isolation(),
        reading,
        end,
    )
}

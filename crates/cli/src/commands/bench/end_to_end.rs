//! `ottla bench end-to-end`: producers and consumers of one process, and so of one clock. Each
//! record says when it was due.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use ottla_client::Isolation;
use ottla_protocol::messages::{FetchRequest, ProduceRequest};

use super::Run;
use super::batch::{
    BATCH_BYTES_MAX, Cargo, PRODUCE_VERSION, RECORD_OVERHEAD, STAMP_BYTES, StampedRecords,
};
use super::fetcher::{End, Fetcher, Position, Reading};
use super::produce::Sender;
use super::report::Report;
use super::schedule::{Nanos, Pace, Schedule};
use super::skim::FETCH_VERSION;
use super::target::{CLIENT_ID, Target};
use super::turns::{self, Clock, Line};

/// An answer to a consumer that keeps up is far from full.
const FETCH_BYTES: i32 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) run: Run,
    #[command(flatten)]
    load: Sender,
    /// The topic to write to and to read; it must exist
    #[arg(long)]
    topic: String,
    /// Use the first N partitions of the topic [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// Bytes of a record's value; the first 16 say when it was due
    #[arg(long, value_name = "BYTES", default_value = "1024")]
    record_size: usize,
    /// Records of a batch; they are due together
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    records_per_batch: u32,
    /// Records a second, over all connections
    #[arg(long, value_name = "RECORDS", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rate: u64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Report> {
    check_sizes(args)?;
    let sending = args.load.sending(&args.topic)?;
    let (target, identities, positions) = super::before(async {
        let n_partitions = args.partitions.map(|n| n as usize);
        let target = Target::find(&args.run.connect, &args.topic, n_partitions).await?;
        target.must_serve::<ProduceRequest>(PRODUCE_VERSION).await?;
        target.must_serve::<FetchRequest>(FETCH_VERSION).await?;
        let identities = args.load.identities(&target).await?;
        let positions = target.positions(Isolation::ReadUncommitted).await?;
        Ok((target, identities, positions))
    })?;
    let n_connections = args.load.connections as usize;
    let writing = target.open_all(n_connections)?;
    let reading = target.open_all(target.n_leaders())?;
    let clock = Clock::start();
    let window = args.run.window(&clock);
    // Nobody else can have this number: the time at which we started, and who we are.
    let run = (clock.wall_ms(0) as u64) << 22 ^ u64::from(std::process::id());
    let n_records = u64::from(args.records_per_batch);
    let cargo = || {
        let records = StampedRecords::new(sending.clone(), run, args.record_size, n_records);
        Ok(Cargo::Stamped(records))
    };
    let pace = |n| {
        Pace::Fixed(Schedule::new(
            args.rate,
            n_records,
            &window,
            (n, n_connections),
        ))
    };
    let n_sends: usize = (0..n_connections)
        .map(|n| pace(n).overdue(Nanos::MAX).count())
        .sum();
    let n_expected = n_sends as u64 * n_records;
    let n_received = Arc::new(AtomicU64::new(0));

    let lines = args
        .load
        .lines(&target, &identities, writing, cargo, pace)?;
    let mut threads = turns::over_threads(lines, args.load.threads as usize);
    // Readers have a thread of their own: a consumer does not wait for a producer.
    let readers = reading.into_iter().map(|(share, wire)| -> Line {
        let of_share = positions
            .iter()
            .filter(|position| share.partitions.contains(&position.partition));
        let of_share = of_share.map(|position| Position {
            next: position.end,
            ..*position
        });
        let end = End::All {
            n_expected,
            n_received: Arc::clone(&n_received),
        };
        let topic = (CLIENT_ID, args.topic.as_str());
        let fetcher = Fetcher::new(
            topic,
            of_share.collect(),
            FETCH_BYTES,
            Isolation::ReadUncommitted,
            Reading::Stamps { run },
            end,
        );
        (wire, Box::new(fetcher))
    });
    threads.push(readers.collect());
    let tally = turns::run(&clock, window, threads)?;

    let n_received = n_received.load(Ordering::Relaxed);
    Ok(Report::new("end-to-end", &tally)
        .fact("connections", n_connections)
        .fact("partitions", target.n_partitions())
        .fact("acks", args.load.acks.as_str())
        .fact("rate", args.rate)
        .fact("sent", n_expected)
        .fact("received", n_received)
        .missing(n_expected.saturating_sub(n_received))
        .latency("end to end", "end_to_end_us", &tally.end_to_end)
        .latency("acknowledged", "latency_us", &tally.latency)
        .latency("sent late", "late_us", &tally.late))
}

fn check_sizes(args: &Args) -> anyhow::Result<()> {
    let size = args.record_size;
    ensure!(
        size >= STAMP_BYTES,
        "a record of {size} bytes is too small: {STAMP_BYTES} say when it was due"
    );
    let n_records = args.records_per_batch as usize;
    let bytes = size
        .saturating_add(RECORD_OVERHEAD)
        .saturating_mul(n_records);
    ensure!(
        bytes <= BATCH_BYTES_MAX,
        "a batch of {bytes} bytes is too large: at most {BATCH_BYTES_MAX} go into one"
    );
    Ok(())
}

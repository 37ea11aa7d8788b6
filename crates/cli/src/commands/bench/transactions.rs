//! `ottla bench transactions`: producers, each with a transactional id, that write small transactions.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::ensure;
use ottla_protocol::Text;
use ottla_protocol::messages::{EndTxnRequest, ProduceRequest};

use super::Run;
use super::batch::Load;
use super::broker_cpu::{BrokerCpu, CpuWatch};
use super::report::Report;
use super::schedule::{Pace, Schedule, Window};
use super::target::{self, Begun, Target};
use super::transactor::{END_VERSION, PRODUCE_VERSION, Parts, Steps, Transactor};
use super::turns::{self, Clock, Line};

/// The protocol in which a write adds its partition, and each end raises the epoch.
const FEATURE: &str = "transaction.version";
const FEATURE_LEVEL: i16 = 2;
/// How long a transaction may be open (`transaction.timeout.ms` of Kafka's producer).
const TIMEOUT_MS: i32 = 60_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) run: Run,
    /// The topic to write to; it must exist
    #[arg(long)]
    topic: String,
    /// Use the first N partitions of the topic; each transaction writes to one of them [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// What the transactional ids begin with
    #[arg(long, value_name = "ID", default_value = "ottla-bench")]
    transactional_id: String,
    /// Producers, each with a transactional id and a connection of its own
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    producers: u32,
    /// Bytes of a record's value
    #[arg(long, value_name = "BYTES", default_value = "100")]
    record_size: usize,
    /// Records of a transaction, in one batch
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    records: u64,
    /// Abort every Nth transaction of a producer [default: none]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    abort_every: Option<u64>,
    /// Transactions a second, over all producers [default: as fast as it goes]
    #[arg(long, value_name = "TRANSACTIONS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rate: Option<u64>,
    /// Threads of the load generator
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Process id of a broker on this machine: tells how much CPU it used for a transaction
    #[arg(long, value_name = "PID")]
    broker_pid: Option<u32>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Report> {
    let cpu = args.broker_pid.map(BrokerCpu::of).transpose()?;
    let load = Load::transactional(args.record_size, args.records)?;
    let n_bytes = load.batch.len();
    target::make_room(args.producers as usize)?;
    let ids = ids(args, &Clock::start());
    let (target, begun) = begin(args, &ids)?;
    let opened = begun
        .iter()
        .map(|begun| target::open_served(&begun.address));
    let wires: Vec<_> = opened.collect::<anyhow::Result<_>>()?;

    let clock = Clock::start();
    let window = args.run.window(&clock);
    let cpu = CpuWatch::new(cpu, window);
    let steps = Arc::new(Mutex::new(Steps::new()));
    let both = ids.iter().zip(begun).zip(wires).enumerate();
    let lines = both.map(|(n, ((id, begun), wire))| -> anyhow::Result<Line> {
        let partitions = target.led_by(begun.coordinator);
        ensure!(
            !partitions.is_empty(),
            "broker {} coordinates transactional id {id} and leads no partition of {}: one connection does not do",
            begun.coordinator,
            args.topic
        );
        let transactor = Transactor::new(Parts {
            transactional_id: Text::from(id.as_str()),
            producer: begun.producer,
            topic: Text::from(args.topic.as_str()),
            partitions,
            first: n,
            load: load.clone(),
            abort_every: args.abort_every,
            pace: pace(args, &window, n),
            cpu: cpu.clone(),
            steps: Arc::clone(&steps),
        });
        Ok((wire, Box::new(transactor)))
    });
    let lines = lines.collect::<anyhow::Result<_>>()?;
    let threads = turns::over_threads(lines, args.threads as usize);
    let tally = turns::run(&clock, window, threads)?;

    let steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
    let n_transactions = tally.counted.requests;
    let report = Report::new("transactions", &tally)
        .fact("producers", args.producers)
        .fact("partitions", target.n_partitions())
        .fact("records_per_transaction", args.records)
        .fact("batch_bytes", n_bytes)
        .fact("aborted", steps.n_aborted)
        .fact("repeated", steps.n_repeated);
    let report = match cpu.micros_for_each(n_transactions) {
        Some(micros) => report.fact("broker_cpu_us_per_transaction", micros),
        None => report,
    };
    let megabytes = tally.counted.bytes as f64 / 1e6;
    Ok(report
        .rate(
            "transactions/s",
            "transactions_per_s",
            n_transactions as f64,
        )
        .rate("MB/s", "mb_per_s", megabytes)
        .latency("a transaction", "latency_us", &tally.latency)
        .latency("its write", "written_us", &steps.written)
        .latency("its end", "ended_us", &steps.ended)
        .latency("sent late", "late_us", &tally.late))
}

/// Nobody else's transactional ids: who begins with one fences the producer that has it.
fn ids(args: &Args, clock: &Clock) -> Vec<String> {
    let run = format!("{}-{}", clock.wall_ms(0), std::process::id());
    let id = |n| format!("{}-{run}-{n}", args.transactional_id);
    (0..args.producers).map(id).collect()
}

fn begin(args: &Args, ids: &[String]) -> anyhow::Result<(Target, Vec<Begun>)> {
    super::before(async {
        let n_partitions = args.partitions.map(|n| n as usize);
        let target = Target::find(&args.run.connect, &args.topic, n_partitions).await?;
        target.must_serve::<ProduceRequest>(PRODUCE_VERSION).await?;
        target.must_serve::<EndTxnRequest>(END_VERSION).await?;
        target.must_have(FEATURE, FEATURE_LEVEL).await?;
        let mut begun = Vec::with_capacity(ids.len());
        for id in ids {
            begun.push(target.transactional(id, TIMEOUT_MS).await?);
        }
        Ok((target, begun))
    })
}

fn pace(args: &Args, window: &Window, n: usize) -> Pace {
    match args.rate {
        Some(rate) => Pace::Fixed(Schedule::new(rate, 1, window, (n, args.producers as usize))),
        None => Pace::AsFastAsItGoes {
            until: window.until,
        },
    }
}

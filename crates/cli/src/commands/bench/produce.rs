//! `ottla bench produce`.

use std::sync::Arc;

use anyhow::{Context, ensure};
use ottla_client::produce::Acks;
use ottla_protocol::batch::HEADER_LEN;
use ottla_protocol::compress::{Codec, Compression};
use ottla_protocol::messages::ProduceRequest;
use ottla_protocol::{NodeId, Text};

use super::Run;
use super::assign::Share;
use super::batch::{Cargo, Load, PRODUCE_VERSION, SameRecords, Sending};
use super::producer::{Parts, Producer};
use super::report::Report;
use super::schedule::{Pace, Schedule};
use super::target::{CLIENT_ID, Target};
use super::turns::{self, Clock, Line};
use super::wire::Wire;

/// What the broker is given to get acks.
const ACK_TIMEOUT_MS: i32 = 30_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) run: Run,
    #[command(flatten)]
    load: Sender,
    /// The topic to write to; it must exist
    #[arg(long)]
    topic: String,
    /// Use the first N partitions of the topic [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    partitions: Option<u32>,
    /// Bytes of a record's value
    #[arg(long, value_name = "BYTES", default_value = "1024")]
    record_size: usize,
    /// Bytes of a batch: as many records as fit before compression, at least one
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    batch_size: usize,
    /// none, gzip, snappy, lz4 or zstd; the batch is compressed once, before the run
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: String,
    /// Records a second, over all connections [default: as fast as it goes]
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rate: Option<u64>,
}

/// What both modes that write take.
#[derive(Debug, clap::Args)]
pub(super) struct Sender {
    /// How many connections write
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(super) connections: u32,
    /// Threads of the load generator
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) threads: u32,
    /// 0: do not wait, 1: for the leader, -1 or all: for all replicas in sync
    #[arg(
        long,
        value_name = "ACKS",
        default_value = "all",
        allow_hyphen_values = true
    )]
    pub(super) acks: String,
    /// Each connection is an idempotent producer
    #[arg(long)]
    pub(super) idempotent: bool,
    /// Requests of a connection that may wait for their answers
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) in_flight: u32,
}

impl Sender {
    pub(super) fn acks(&self) -> anyhow::Result<Acks> {
        let text = &self.acks;
        let acks = Acks::parse(text)
            .with_context(|| format!("--acks {text} is not usable: 0, 1, -1 or all is"))?;
        ensure!(
            !self.idempotent || acks == Acks::All,
            "--idempotent needs --acks all: without it a broker refuses such a producer"
        );
        Ok(acks)
    }

    pub(super) fn sending(&self, topic: &str) -> anyhow::Result<Sending> {
        Ok(Sending {
            client_id: Text::from(CLIENT_ID),
            topic: Text::from(topic),
            acks: match self.acks()? {
                Acks::None => 0,
                Acks::Leader => 1,
                Acks::All => -1,
            },
            timeout_ms: ACK_TIMEOUT_MS,
        })
    }

    /// Who each connection is, if it has to be somebody.
    pub(super) async fn identities(
        &self,
        target: &Target,
    ) -> anyhow::Result<Vec<Option<(i64, i16)>>> {
        let mut all = Vec::new();
        for _ in 0..self.connections {
            all.push(if self.idempotent {
                Some(target.identity().await?)
            } else {
                None
            });
        }
        Ok(all)
    }

    /// The connections that write: `cargo` and `pace` for each by its number.
    pub(super) fn lines(
        &self,
        target: &Target,
        identities: &[Option<(i64, i16)>],
        opened: Vec<(Share<NodeId>, Wire)>,
        cargo: impl Fn() -> anyhow::Result<Cargo>,
        pace: impl Fn(usize) -> Pace,
    ) -> anyhow::Result<Vec<Line>> {
        let is_answered = self.acks()? != Acks::None;
        let lines = opened.into_iter().zip(identities).enumerate();
        let lines = lines.map(|(n, ((share, wire), identity))| -> anyhow::Result<Line> {
            let parts = Parts {
                cargo: cargo()?,
                topic: Arc::clone(&target.topic),
                partitions: share.partitions,
                identity: *identity,
                pace: pace(n),
                is_answered,
                n_in_flight_max: self.in_flight as usize,
            };
            Ok((wire, Box::new(Producer::new(parts))))
        });
        lines.collect()
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<Report> {
    let compression = compression(&args.compression)?;
    let load = Load::build(args.record_size, args.batch_size, compression)?;
    let sending = args.load.sending(&args.topic)?;
    let (target, identities) = super::before(async {
        let n_partitions = args.partitions.map(|n| n as usize);
        let target = Target::find(&args.run.connect, &args.topic, n_partitions).await?;
        target.must_serve::<ProduceRequest>(PRODUCE_VERSION).await?;
        let identities = args.load.identities(&target).await?;
        Ok((target, identities))
    })?;
    let n_connections = args.load.connections as usize;
    let opened = target.open_all(n_connections)?;
    let clock = Clock::start();
    let window = args.run.window(&clock);
    let records: Arc<[u8]> = load.batch.get(HEADER_LEN..).unwrap_or_default().into();
    let cargo = || Ok(Cargo::Same(SameRecords::new(&sending, &load, &records)?));
    let pace = |n| match args.rate {
        Some(rate) => {
            let lane = (n, n_connections);
            Pace::Fixed(Schedule::new(rate, load.n_records, &window, lane))
        }
        None => Pace::AsFastAsItGoes {
            until: window.until,
        },
    };
    let lines = args.load.lines(&target, &identities, opened, cargo, pace)?;
    let threads = turns::over_threads(lines, args.load.threads as usize);
    let tally = turns::run(&clock, window, threads)?;

    let values = tally.counted.value_bytes as f64 / 1e6;
    Ok(Report::new("produce", &tally)
        .fact("connections", n_connections)
        .fact("partitions", target.n_partitions())
        .fact("acks", args.load.acks.as_str())
        .fact("batch_bytes", load.batch.len())
        .fact("records_per_batch", load.n_records)
        .throughput(tally.counted)
        .rate("MB/s of values", "value_mb_per_s", values)
        .latency("acknowledged", "latency_us", &tally.latency)
        .latency("sent late", "late_us", &tally.late))
}

fn compression(name: &str) -> anyhow::Result<Compression> {
    let codec = Codec::from_name(name).with_context(|| {
        format!("the codec {name} is not known: none, gzip, snappy, lz4 or zstd is")
    })?;
    Ok(codec.into())
}

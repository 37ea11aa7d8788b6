//! `ottla produce`: standard input to a topic, a line a record; the flags of
//! `kafka-console-producer.sh`.
//!
//! Kafka's tool ends with status 0 although records were lost; ours with 1, unless it is called by
//! that name. Its defaults give up
//! after 1.5 seconds and three attempts; ours are as patient as Kafka's producer itself.

mod lines;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ottla_client::ClientError;
use ottla_client::produce::{Acks, Delivery, Placed, Producer, ProducerSettings};
use ottla_protocol::Refusal;
use ottla_protocol::compress::{Codec, Compression};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::lines::LineFormat;
use super::admin::words;
use super::connect::{Connect, Properties, Way};
use super::duration::now_ms;
use super::stop::{Stop, Stopped};
use crate::output::{self, Output, Progress, Shape};

/// Lines read ahead of what is sent.
const LINES_AHEAD: usize = 256;
/// Deliveries that wait to be looked at; the memory of their records is bounded by the producer.
const DELIVERIES_AHEAD: usize = 64 << 10;

/// Read lines from standard input and publish them to Kafka
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    shape: Shape,

    /// The topic to produce to
    #[arg(long)]
    topic: String,
    /// Send one record after the other, each when the one before is there
    #[arg(long)]
    sync: bool,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(long, value_name = "CODEC", num_args = 0..=1, default_missing_value = "gzip")]
    compression_codec: Option<String>,
    /// 0: do not wait, 1: for the leader, -1 or all: for all replicas in sync
    #[arg(long, value_name = "ACKS", allow_hyphen_values = true)]
    request_required_acks: Option<String>,

    /// How to read a line, as NAME=VALUE:
    /// parse.key=false, key.separator=\t, parse.headers=false, headers.delimiter=\t,
    /// headers.separator=`,`, headers.key.separator=:, null.marker=, ignore.error=false.
    /// Lines are `headers delimiter key separator value`
    #[arg(
        long,
        value_name = "PROPERTY",
        alias = "property",
        verbatim_doc_comment
    )]
    reader_property: Vec<String>,
    /// A file of such properties
    #[arg(long, value_name = "FILE")]
    reader_config: Option<PathBuf>,
    /// A property of the producer, as NAME=VALUE
    #[arg(long, value_name = "PROPERTY", alias = "producer-property")]
    command_property: Vec<String>,
    /// A file of such properties
    #[arg(long, value_name = "FILE", alias = "producer.config")]
    command_config: Option<PathBuf>,
    /// The class that reads lines; ours is the only one
    #[arg(long, value_name = "CLASS", hide = true)]
    line_reader: Option<String>,

    /// Bytes of a batch (batch.size)
    #[arg(long, value_name = "BYTES", alias = "max-partition-memory-bytes")]
    batch_size: Option<usize>,
    /// How long a batch waits for more records (linger.ms)
    #[arg(long, value_name = "MS")]
    timeout: Option<u64>,
    /// How often a batch is sent again (retries)
    #[arg(long, value_name = "N")]
    message_send_max_retries: Option<u32>,
    /// How long to wait before that (retry.backoff.ms)
    #[arg(long, value_name = "MS")]
    retry_backoff_ms: Option<u64>,
    /// How long to wait for an answer (request.timeout.ms)
    #[arg(long, value_name = "MS")]
    request_timeout_ms: Option<u64>,
    /// How old the picture of the cluster may be (metadata.max.age.ms)
    #[arg(long, value_name = "MS")]
    metadata_expiry_ms: Option<u64>,
    /// How long reading may be held up by sending (max.block.ms)
    #[arg(long, value_name = "MS")]
    max_block_ms: Option<u64>,
    /// Bytes of records that wait (buffer.memory)
    #[arg(long, value_name = "BYTES")]
    max_memory_bytes: Option<usize>,
    /// Taken for compatibility: the system chooses
    #[arg(long, value_name = "BYTES", hide = true)]
    socket_buffer_size: Option<usize>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    output::finished(produce(args).await)
}

async fn produce(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(class) = args.line_reader.as_deref()
        && !class.ends_with("LineMessageReader")
    {
        bail!("--line-reader {class} is not available: lines are read as LineMessageReader does");
    }
    let reader = Properties::gather(args.reader_config.as_deref(), &args.reader_property)?;
    let format = LineFormat::from_properties(&reader)?;
    let properties = Properties::gather(args.command_config.as_deref(), &args.command_property)?;
    let settings = settings(&args, &properties)?;
    let mut client = properties.client("console-producer")?;
    let or = |flag: Option<u64>, other| flag.map_or(other, Duration::from_millis);
    client.request_timeout = or(args.request_timeout_ms, client.request_timeout);
    client.retry_backoff.0 = or(args.retry_backoff_ms, client.retry_backoff.0);
    client.metadata_max_age = or(args.metadata_expiry_ms, client.metadata_max_age);

    let cluster = args.connect.cluster(client).await?;
    let mut stop = Stop::new()?;
    let producer = Producer::start(cluster, settings);
    let topic: Arc<str> = Arc::from(args.topic.as_str());
    let (deliveries, watch) = watch_deliveries(Arc::clone(&topic), args.shape);
    let sending = Sending {
        producer: &producer,
        topic: &topic,
        format: &format,
        deliveries,
        is_sync: args.sync,
        output: Output::shaped(args.shape),
        n_lost: 0,
        progress: Progress::new(),
    };
    let ended = sending.all(&mut stop).await;
    // Whatever went wrong, what was read before it goes out.
    tokio::select! {
        flushed = producer.flush() => flushed?,
        signal = stop.wait() => return Ok(signal.code()),
    }
    let n_lost = watch.await?;
    let (stopped, n_refused) = ended?;
    Ok(match stopped {
        Some(signal) => signal.code(),
        None if n_lost + n_refused > 0 && !output::is_kafkas_manner() => ExitCode::FAILURE,
        None => ExitCode::SUCCESS,
    })
}

struct Sending<'a> {
    producer: &'a Producer,
    topic: &'a Arc<str>,
    format: &'a LineFormat,
    deliveries: mpsc::Sender<Delivery>,
    is_sync: bool,
    output: Output,
    n_lost: usize,
    progress: Progress,
}

impl Sending<'_> {
    /// Send line by line, until there are no more or a signal comes; how many records were not even
    /// taken.
    async fn all(mut self, stop: &mut Stop) -> anyhow::Result<(Option<Stopped>, usize)> {
        let mut lines = read_lines();
        let mut n = 0;
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                signal = stop.wait() => return Ok((Some(signal), self.n_lost)),
            };
            let Some(line) = line else {
                return Ok((None, self.n_lost));
            };
            n += 1;
            self.one(&line.context("standard input cannot be read")?, n)
                .await?;
            if !output::is_interactive() {
                self.progress.show(format_args!("{n} lines read"));
            }
        }
    }

    async fn one(&mut self, line: &[u8], number: u64) -> anyhow::Result<()> {
        let mut record = self.format.read(line, number)?;
        record.timestamp = now_ms();
        let delivery = match self.producer.send(self.topic, record).await {
            Ok(delivery) => delivery,
            // The next line may be shorter.
            Err(error) if !self.is_sync && error.refusal() == Some(Refusal::MessageTooLarge) => {
                self.n_lost += 1;
                say_lost(self.topic, error);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if !self.is_sync {
            return Ok(self.deliveries.send(delivery).await?);
        }
        let placed = delivery.wait().await?;
        Ok(tell_placed(&mut self.output, self.topic, placed)?)
    }
}

/// In JSON, where each record went.
fn tell_placed(output: &mut Output, topic: &str, placed: Placed) -> std::io::Result<()> {
    if !output.is_json() {
        return Ok(());
    }
    let Placed { partition, offset } = placed;
    output.line(json!({ "topic": topic, "partition": partition, "offset": offset }))?;
    output.flush()
}

fn say_lost(topic: &str, error: ClientError) {
    let error = error.into();
    output::note(format_args!(
        "Error when sending message to topic {topic}: {}",
        words(&error)
    ));
}

fn settings(args: &Args, properties: &Properties) -> anyhow::Result<ProducerSettings> {
    let defaults = ProducerSettings::default();
    let acks = args
        .request_required_acks
        .as_deref()
        .or(properties.text("acks"));
    let acks = match acks {
        Some(text) => Acks::parse(text)
            .with_context(|| format!("acks={text} is not usable: 0, 1, -1 or all is"))?,
        None => defaults.acks,
    };
    let codec = args
        .compression_codec
        .as_deref()
        .or(properties.text("compression.type"));
    let codec = codec.filter(|codec| !codec.is_empty()).unwrap_or("none");
    let compression = Compression {
        codec: Codec::from_name(codec).with_context(|| {
            format!("the codec {codec} is not known: none, gzip, snappy, lz4 or zstd is")
        })?,
        level: properties.read(&format!("compression.{codec}.level"))?,
    };
    let millis = |flag: Option<u64>, name| match flag {
        Some(ms) => Ok(Some(Duration::from_millis(ms))),
        None => properties.millis(name),
    };
    let size = |flag: Option<usize>, name| match flag {
        Some(bytes) => Ok(Some(bytes)),
        None => properties.read(name),
    };
    let linger = if args.sync {
        Duration::ZERO
    } else {
        defaults.linger
    };
    let retries = match args.message_send_max_retries {
        Some(n) => Some(n),
        None => properties.read("retries")?,
    };
    Ok(ProducerSettings {
        acks,
        compression,
        batch_size: size(args.batch_size, "batch.size")?.unwrap_or(defaults.batch_size),
        // One record at a time has no company to wait for.
        linger: millis(args.timeout, "linger.ms")?.unwrap_or(linger),
        max_request_size: size(None, "max.request.size")?.unwrap_or(defaults.max_request_size),
        buffer_memory: size(args.max_memory_bytes, "buffer.memory")?
            .unwrap_or(defaults.buffer_memory),
        max_block: millis(args.max_block_ms, "max.block.ms")?.unwrap_or(defaults.max_block),
        delivery_timeout: millis(None, "delivery.timeout.ms")?.unwrap_or(defaults.delivery_timeout),
        ack_timeout: millis(args.request_timeout_ms, "request.timeout.ms")?
            .unwrap_or(defaults.ack_timeout),
        retries: retries.unwrap_or(defaults.retries),
        is_idempotent: properties.is_true("enable.idempotence").unwrap_or(true),
        max_in_flight: size(None, "max.in.flight.requests.per.connection")?
            .unwrap_or(defaults.max_in_flight)
            .clamp(1, ottla_client::MAX_IN_FLIGHT),
    })
}

/// Lines come from a thread of their own: a read from a terminal cannot be called off, and must not
/// hold up the end of the command.
fn read_lines() -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    let is_interactive = output::is_interactive();
    std::thread::spawn(move || {
        let mut input = BufReader::new(std::io::stdin());
        loop {
            if is_interactive {
                output::prompt();
            }
            let mut line = Vec::new();
            let line = match input.read_until(b'\n', &mut line) {
                Ok(0) => return,
                Ok(_) => Ok(without_end(line)),
                Err(error) => Err(error),
            };
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    lines
}

fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    line.pop_if(|byte| *byte == b'\n');
    line.pop_if(|byte| *byte == b'\r');
    line
}

/// Say what was lost as it is lost; the number of lost records in the end.
fn watch_deliveries(topic: Arc<str>, shape: Shape) -> (mpsc::Sender<Delivery>, JoinHandle<usize>) {
    let (sender, mut deliveries) = mpsc::channel::<Delivery>(DELIVERIES_AHEAD);
    let watch = tokio::spawn(async move {
        let mut output = Output::shaped(shape);
        let mut n_lost = 0;
        let mut last: Option<ClientError> = None;
        while let Some(delivery) = deliveries.recv().await {
            let error = match delivery.wait().await {
                Ok(placed) => {
                    // Who does not read where they went does not lose the records.
                    let _ = tell_placed(&mut output, &topic, placed);
                    continue;
                }
                Err(error) => error,
            };
            n_lost += 1;
            // A batch fails as a whole; its reason is told once.
            if last.as_ref() != Some(&error) {
                say_lost(&topic, last.insert(error).clone());
            }
        }
        n_lost
    });
    (sender, watch)
}

//! `ottla consume`: a topic to standard output; the flags of `kafka-console-consumer.sh`.
//!
//! Without `--group` we are a member of no group: nothing is left behind in the cluster. What fails
//! ends the command with status 1; called by the name of Kafka's tool, with 0, as that does.

mod format;
mod group_records;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use ottla_client::consume::{
    ConsumedRecord, Consumer, ConsumerSettings, GroupProtocol, Reset, Start, Subscription,
};
use ottla_client::{At, Cluster, Isolation};
use ottla_protocol::{Offset, TopicPartition};
use tokio::time::{Instant, timeout_at};

use self::format::RecordFormat;
use self::group_records::GroupRecords;
use super::connect::{Connect, Properties, Way, topic_pattern};
use super::stop::{Stop, Stopped};
use crate::output::{self, Output, Progress, Shape};

/// How long one wait for records is, where the user sets no end to it.
const POLL: Duration = Duration::from_secs(60);

/// Read records from topics and write them to standard output
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    shape: Shape,

    /// The topic to read
    #[arg(long, required_unless_present = "include", conflicts_with = "include")]
    topic: Option<String>,
    /// A regular expression of topics to read
    #[arg(long, value_name = "REGEX", alias = "whitelist")]
    include: Option<String>,
    /// Only this partition; from its end, unless --offset says otherwise
    #[arg(long, value_name = "N", requires = "topic", conflicts_with = "group")]
    partition: Option<i32>,
    /// The offset to start at, or earliest, or latest
    #[arg(
        long,
        value_name = "OFFSET",
        requires = "partition",
        conflicts_with = "from_beginning"
    )]
    offset: Option<String>,
    /// Start at the earliest record, unless the group has been further
    #[arg(long)]
    from_beginning: bool,
    /// End after so many records
    #[arg(long, value_name = "N")]
    max_messages: Option<u64>,
    /// End when no record came for so long
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    timeout_ms: Option<i64>,
    /// Read as a member of this consumer group, and commit
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// read_uncommitted, or read_committed to see nothing of open or aborted transactions
    #[arg(long, value_name = "LEVEL")]
    isolation_level: Option<String>,

    /// What to print of a record, as NAME=VALUE:
    /// print.timestamp, print.partition, print.offset, print.epoch, print.headers, print.key,
    /// print.value (true or false), key.separator, line.separator, headers.separator,
    /// null.literal, key.deserializer, value.deserializer, headers.deserializer
    #[arg(
        long,
        value_name = "PROPERTY",
        alias = "property",
        verbatim_doc_comment
    )]
    formatter_property: Vec<String>,
    /// A file of such properties
    #[arg(long, value_name = "FILE")]
    formatter_config: Option<PathBuf>,
    /// A property of the consumer, as NAME=VALUE
    #[arg(long, value_name = "PROPERTY", alias = "consumer-property")]
    command_property: Vec<String>,
    /// A file of such properties
    #[arg(long, value_name = "FILE", alias = "consumer.config")]
    command_config: Option<PathBuf>,
    /// The formatter's class: DefaultMessageFormatter or NoOpMessageFormatter; for
    /// __consumer_offsets, OffsetsMessageFormatter or GroupMetadataMessageFormatter
    #[arg(long, value_name = "CLASS")]
    formatter: Option<String>,
    /// The class that reads keys
    #[arg(long, value_name = "CLASS")]
    key_deserializer: Option<String>,
    /// The class that reads values
    #[arg(long, value_name = "CLASS")]
    value_deserializer: Option<String>,
    /// Go on behind a record that cannot be printed
    #[arg(long)]
    skip_message_on_error: bool,
    /// Taken for compatibility: events of Kafka's own system tests
    #[arg(long, hide = true)]
    enable_systest_events: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let properties = Properties::gather(args.command_config.as_deref(), &args.command_property)?;
    let settings = settings(&args, &properties)?;
    let format = record_format(&args)?;
    let client = properties.client("console-consumer")?;
    let start = start(&args)?;
    let cluster = args.connect.cluster(client).await?;
    let mut stop = Stop::new()?;
    let mut consumer = consumer(&args, cluster, settings, start)?;
    let mut printed = Printed {
        output: Output::new(),
        format,
        skips_errors: args.skip_message_on_error,
        n: 0,
        limit: args.max_messages.unwrap_or(u64::MAX),
        progress: Progress::new(),
    };
    let ended = read(&args, &mut consumer, &mut printed, &mut stop).await;
    let closed = tokio::select! {
        closed = consumer.close() => closed,
        // Asked twice, we go at once.
        _ = stop.wait() => Ok(()),
    };
    printed.progress.clear();
    let flushed = printed.output.flush();
    output::note(format_args!("Processed a total of {} messages", printed.n));
    let ended = match ended {
        Err(error) if output::is_kafkas_manner() => {
            output::error(&error);
            return Ok(ExitCode::SUCCESS);
        }
        ended => ended?,
    };
    closed?;
    match flushed {
        Err(error) if !output::is_closed_pipe(&error) => return Err(error.into()),
        _ => {}
    }
    Ok(ended.map_or(ExitCode::SUCCESS, Stopped::code))
}

/// Read until there is nothing more to do; by which signal, if by one.
async fn read(
    args: &Args,
    consumer: &mut Consumer,
    printed: &mut Printed,
    stop: &mut Stop,
) -> anyhow::Result<Option<Stopped>> {
    let patience = args
        .timeout_ms
        .and_then(|ms| u64::try_from(ms).ok())
        .map(Duration::from_millis);
    let mut last = Instant::now();
    while printed.n < printed.limit {
        let deadline = patience.map(|patience| last + patience);
        let poll = async {
            match deadline {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    timeout_at(deadline, consumer.poll(left))
                        .await
                        .unwrap_or(Ok(Vec::new()))
                }
                None => consumer.poll(POLL).await,
            }
        };
        let records = tokio::select! {
            records = poll => records?,
            stopped = stop.wait() => return Ok(Some(stopped)),
        };
        if records.is_empty() {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(None);
            }
            continue;
        }
        let result = printed.print(consumer, &records);
        match result {
            Err(error) if error.downcast_ref().is_some_and(output::is_closed_pipe) => {
                output::note("Unable to write to standard out, closing consumer.");
                return Ok(None);
            }
            result => result?,
        }
        last = Instant::now();
    }
    Ok(None)
}

/// What is printed of a record.
enum Format {
    Record(RecordFormat),
    Group(GroupRecords),
    Json,
}

impl Format {
    fn write(&self, record: &ConsumedRecord, out: &mut Vec<u8>) -> anyhow::Result<()> {
        match self {
            Self::Record(format) => format.write(record, out),
            Self::Group(kind) => kind.write(record, out),
            Self::Json => {
                out.extend(format::json(record).to_string().into_bytes());
                out.push(b'\n');
                Ok(())
            }
        }
    }
}

struct Printed {
    output: Output,
    format: Format,
    skips_errors: bool,
    n: u64,
    limit: u64,
    /// Where somebody looks: how many there are still to come.
    progress: Progress,
}

impl Printed {
    /// Print records up to the limit. What is not printed has not been read: the group goes on there.
    fn print(&mut self, consumer: &mut Consumer, records: &[ConsumedRecord]) -> anyhow::Result<()> {
        self.progress.clear();
        let mut line = Vec::new();
        let mut unread: Vec<(TopicPartition, Offset)> = Vec::new();
        let mut failure = None;
        for record in records {
            if self.n >= self.limit || failure.is_some() {
                let partition = TopicPartition::new(Arc::clone(&record.topic), record.partition);
                if !unread.iter().any(|(seen, _)| *seen == partition) {
                    unread.push((partition, record.offset));
                }
                continue;
            }
            self.n += 1;
            line.clear();
            match self.format.write(record, &mut line) {
                Ok(()) => failure = self.output.bytes(&line).err().map(anyhow::Error::from),
                Err(error) if self.skips_errors => {
                    output::note(format_args!(
                        "Error processing message, skipping this message: {error:#}"
                    ));
                }
                Err(error) => failure = Some(error),
            }
        }
        for (partition, offset) in unread {
            consumer.seek(&partition, offset);
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.output.flush()?;
        if self.progress.is_due() {
            let lag = consumer.lag();
            self.progress
                .show(format_args!("{} records, lag {lag}", self.n));
        }
        Ok(())
    }
}

fn consumer(
    args: &Args,
    cluster: Arc<Cluster>,
    settings: ConsumerSettings,
    start: Start,
) -> anyhow::Result<Consumer> {
    let mut consumer = Consumer::new(cluster, settings);
    match (&args.topic, &args.include, args.partition) {
        (Some(topic), _, Some(partition)) => {
            consumer.assign([(TopicPartition::new(topic.as_str(), partition), start)]);
        }
        (Some(topic), _, None) => {
            consumer.subscribe(Subscription::Topics(vec![Arc::from(topic.as_str())]));
        }
        (None, Some(include), _) => {
            let pattern = topic_pattern(include)?;
            let matches = move |name: &str| pattern.is_match(name);
            consumer.subscribe(Subscription::Matching(Box::new(matches)));
        }
        (None, None, _) => bail!("--topic or --include is required"),
    }
    Ok(consumer)
}

fn start(args: &Args) -> anyhow::Result<Start> {
    let Some(text) = args.offset.as_deref() else {
        let at = if args.from_beginning {
            At::Earliest
        } else {
            At::Latest
        };
        return Ok(Start::At(at));
    };
    match text.to_ascii_lowercase().as_str() {
        "earliest" => Ok(Start::At(At::Earliest)),
        "latest" => Ok(Start::At(At::Latest)),
        _ => match text.parse() {
            Ok(offset) if offset >= 0 => Ok(Start::Offset(offset)),
            _ => bail!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', \
                 'latest', or a non-negative long."
            ),
        },
    }
}

fn settings(args: &Args, properties: &Properties) -> anyhow::Result<ConsumerSettings> {
    let defaults = ConsumerSettings::default();
    let group = group(args, properties)?;
    let protocol = match properties
        .text("group.protocol")
        .map(str::to_ascii_lowercase)
    {
        None => GroupProtocol::Classic,
        Some(text) if text == "classic" => GroupProtocol::Classic,
        Some(text) if text == "consumer" => GroupProtocol::Consumer,
        Some(other) => bail!("group.protocol={other} is not usable: classic or consumer is"),
    };
    let isolation = args
        .isolation_level
        .as_deref()
        .or(properties.text("isolation.level"));
    let isolation = match isolation {
        None | Some("read_uncommitted") => Isolation::ReadUncommitted,
        Some("read_committed") => Isolation::ReadCommitted,
        Some(other) => {
            bail!("isolation.level={other} is not usable: read_committed or read_uncommitted is")
        }
    };
    let millis =
        |name, default| Ok::<_, anyhow::Error>(properties.millis(name)?.unwrap_or(default));
    let bytes = |name, default| Ok::<_, anyhow::Error>(properties.read(name)?.unwrap_or(default));
    Ok(ConsumerSettings {
        auto_commit: properties
            .is_true("enable.auto.commit")
            .unwrap_or(group.is_some()),
        group,
        protocol,
        remote_assignor: properties.text("group.remote.assignor").map(str::to_owned),
        instance: properties.text("group.instance.id").map(str::to_owned),
        reset: reset(args, properties)?,
        isolation,
        max_wait: millis("fetch.max.wait.ms", defaults.max_wait)?,
        min_bytes: bytes("fetch.min.bytes", defaults.min_bytes)?,
        max_bytes: bytes("fetch.max.bytes", defaults.max_bytes)?,
        max_partition_bytes: bytes("max.partition.fetch.bytes", defaults.max_partition_bytes)?,
        session_timeout: millis("session.timeout.ms", defaults.session_timeout)?,
        heartbeat_interval: millis("heartbeat.interval.ms", defaults.heartbeat_interval)?,
        max_poll_interval: millis("max.poll.interval.ms", defaults.max_poll_interval)?,
        auto_commit_interval: millis("auto.commit.interval.ms", defaults.auto_commit_interval)?,
        check_crcs: properties.is_true("check.crcs").unwrap_or(true),
        allow_auto_create: properties
            .is_true("allow.auto.create.topics")
            .unwrap_or(true),
    })
}

/// The group may be named in three places, which must agree.
fn group(args: &Args, properties: &Properties) -> anyhow::Result<Option<String>> {
    let (flag, property) = (args.group.as_deref(), properties.text("group.id"));
    if let (Some(flag), Some(property)) = (flag, property) {
        ensure!(
            flag == property,
            "The group ids provided in different places do not match. Detected group ids: \
             '{flag}', '{property}'"
        );
    }
    let group = flag.or(property).map(str::to_owned);
    ensure!(
        group.is_none() || args.partition.is_none(),
        "Options group and partition cannot be specified together."
    );
    Ok(group)
}

fn reset(args: &Args, properties: &Properties) -> anyhow::Result<Reset> {
    let default = if args.from_beginning {
        "earliest"
    } else {
        "latest"
    };
    let text = properties.text("auto.offset.reset").unwrap_or(default);
    ensure!(
        !args.from_beginning || text == "earliest",
        "Can't simultaneously specify --from-beginning and 'auto.offset.reset={text}', please \
         remove one option"
    );
    match text {
        "earliest" => Ok(Reset::Earliest),
        "latest" => Ok(Reset::Latest),
        "none" => Ok(Reset::None),
        other => match other
            .strip_prefix("by_duration:")
            .map(super::duration::parse)
        {
            Some(Some(age)) => Ok(Reset::ByDuration(age)),
            _ => bail!(
                "auto.offset.reset={other} is not usable: earliest, latest, none or \
                 by_duration:<ISO duration> is"
            ),
        },
    }
}

fn record_format(args: &Args) -> anyhow::Result<Format> {
    let mut typed = Vec::new();
    let classes = [
        ("key.deserializer", &args.key_deserializer),
        ("value.deserializer", &args.value_deserializer),
    ];
    for (name, class) in classes {
        typed.extend(class.as_ref().map(|class| format!("{name}={class}")));
    }
    typed.extend(args.formatter_property.iter().cloned());
    let properties = Properties::gather(args.formatter_config.as_deref(), &typed)?;
    match args
        .formatter
        .as_deref()
        .map(|class| class.rsplit('.').next().unwrap_or(class))
    {
        None if args.shape.json => Ok(Format::Json),
        None | Some("DefaultMessageFormatter") => {
            RecordFormat::from_properties(&properties).map(Format::Record)
        }
        Some("NoOpMessageFormatter") => Ok(Format::Record(RecordFormat::nothing())),
        Some("OffsetsMessageFormatter") => Ok(Format::Group(GroupRecords::Offsets)),
        Some("GroupMetadataMessageFormatter") => Ok(Format::Group(GroupRecords::Metadata)),
        Some(other) => bail!(
            "--formatter {other} is not available: DefaultMessageFormatter, NoOpMessageFormatter, \
             OffsetsMessageFormatter and GroupMetadataMessageFormatter are"
        ),
    }
}

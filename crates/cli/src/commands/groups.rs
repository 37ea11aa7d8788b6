//! `ottla groups`: list, describe, reset and delete consumer groups; the flags and the layout of
//! `kafka-consumer-groups.sh`.
//!
//! What goes wrong is said on standard error and ends with status 1; called by the name of Kafka's
//! tool, we say it on standard output with status 0, as that does.

mod datetime;
mod delete;
mod describe;
mod plan;
mod reset;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use ottla_client::admin::GroupListing;
use ottla_client::{ClientError, Cluster};
use ottla_protocol::TopicPartition;
use serde_json::json;

use super::admin::{Admin, words};
use super::table::{Column, Table};
use crate::kafkas;
use crate::output::{self, Output};

/// In a column that has no value.
const MISSING: &str = "-";
const STATES: [&str; 7] = [
    "PreparingRebalance",
    "CompletingRebalance",
    "Stable",
    "Dead",
    "Empty",
    "Assigning",
    "Reconciling",
];
const KINDS: [&str; 2] = ["Classic", "Consumer"];

/// List all consumer groups, describe, reset or delete one
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("action").required(true))]
#[command(group = clap::ArgGroup::new("reset_to"))]
pub(crate) struct Args {
    #[command(flatten)]
    admin: Admin,

    /// List all consumer groups
    #[arg(long, group = "action")]
    list: bool,
    /// Describe groups: their offsets and lag, or --members, or --state
    #[arg(long, group = "action")]
    describe: bool,
    /// Delete whole groups
    #[arg(long, group = "action")]
    delete: bool,
    /// Set the offsets of a group that has no members
    #[arg(long, group = "action")]
    reset_offsets: bool,
    /// Forget a group's offsets of topics that it does not read any more
    #[arg(long, group = "action", requires = "group", requires = "topic")]
    delete_offsets: bool,
    /// Say whether a regular expression is one
    #[arg(long, value_name = "REGEX", group = "action")]
    validate_regex: Option<String>,

    /// The group; may be given several times
    #[arg(long, value_name = "GROUP", conflicts_with = "list")]
    group: Vec<String>,
    /// All groups
    #[arg(long, conflicts_with_all = ["group", "list"])]
    all_groups: bool,
    /// A topic, or topic:0,1,2 for some of its partitions; may be given several times
    #[arg(long, value_name = "TOPIC", conflicts_with_all = ["list", "describe", "delete"])]
    topic: Vec<String>,
    /// All topics of which the group has offsets
    #[arg(long, conflicts_with_all = ["topic", "list", "describe", "delete", "delete_offsets"])]
    all_topics: bool,
    /// How long to wait for an answer
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    timeout: u64,

    /// Describe the members
    #[arg(long, conflicts_with_all = ["offsets", "state", "list", "delete", "reset_offsets", "delete_offsets"])]
    members: bool,
    /// Describe the offsets; this is what is done without a word
    #[arg(long, conflicts_with_all = ["state", "list", "delete", "reset_offsets", "delete_offsets"])]
    offsets: bool,
    /// Describe the state; with --list: show the state, or only groups in these states
    #[arg(
        long,
        value_name = "STATES",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["delete", "reset_offsets", "delete_offsets"]
    )]
    state: Option<String>,
    /// With --list: show the type, or only groups of these types
    #[arg(
        long = "type",
        value_name = "TYPES",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["describe", "delete", "reset_offsets", "delete_offsets"]
    )]
    kind: Option<String>,
    /// Tell more
    #[arg(long, conflicts_with_all = ["list", "delete", "reset_offsets", "delete_offsets"])]
    verbose: bool,
    /// Describe again and again, every so many seconds, until interrupted
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "2",
        conflicts_with_all = ["members", "state", "list", "delete", "reset_offsets", "delete_offsets"]
    )]
    watch: Option<f64>,

    /// Only show what would be set; this is what is done without a word
    #[arg(long, conflicts_with_all = ["execute", "list", "describe", "delete", "delete_offsets"])]
    dry_run: bool,
    /// Set the offsets
    #[arg(long, conflicts_with_all = ["list", "describe", "delete", "delete_offsets"])]
    execute: bool,
    /// Print the offsets as CSV
    #[arg(long, conflicts_with_all = ["list", "describe", "delete", "delete_offsets"])]
    export: bool,
    /// Reset to this offset
    #[arg(
        long,
        value_name = "OFFSET",
        group = "reset_to",
        conflicts_with_all = ["list", "describe", "delete", "delete_offsets"]
    )]
    to_offset: Option<i64>,
    /// Reset by so many records, back if negative
    #[arg(
        long,
        value_name = "N",
        group = "reset_to",
        conflicts_with_all = ["list", "describe", "delete", "delete_offsets"],
        allow_negative_numbers = true
    )]
    shift_by: Option<i64>,
    /// Reset to a moment, as YYYY-MM-DDThh:mm:ss.sss
    #[arg(
        long,
        value_name = "MOMENT",
        group = "reset_to",
        conflicts_with_all = ["list", "describe", "delete", "delete_offsets"]
    )]
    to_datetime: Option<String>,
    /// Reset to so long ago, as PnDTnHnMnS
    #[arg(
        long,
        value_name = "DURATION",
        group = "reset_to",
        conflicts_with_all = ["list", "describe", "delete", "delete_offsets"]
    )]
    by_duration: Option<String>,
    /// Reset to the earliest offset
    #[arg(long, group = "reset_to", conflicts_with_all = ["list", "describe", "delete", "delete_offsets"])]
    to_earliest: bool,
    /// Reset to the latest offset
    #[arg(long, group = "reset_to", conflicts_with_all = ["list", "describe", "delete", "delete_offsets"])]
    to_latest: bool,
    /// Reset to the current offset
    #[arg(long, group = "reset_to", conflicts_with_all = ["list", "describe", "delete", "delete_offsets"])]
    to_current: bool,
    /// Reset to the offsets in a CSV file, as --export writes it
    #[arg(
        long,
        value_name = "FILE",
        group = "reset_to",
        conflicts_with_all = ["list", "describe", "delete", "delete_offsets"]
    )]
    from_file: Option<PathBuf>,
}

/// Whether everything that was asked for was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    All,
    NotAll,
}

impl Done {
    fn and(self, other: Self) -> Self {
        if other == Self::NotAll { other } else { self }
    }

    /// Kafka's tool has said what failed, and ends as if nothing had.
    fn code(self) -> ExitCode {
        match self {
            Self::NotAll if !output::is_kafkas_manner() => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        }
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let act = async |output: &mut Output| Ok(act(&args, output).await?.code());
    let failed = |error: &anyhow::Error, output: &mut Output| {
        let told = error.downcast_ref::<ClientError>();
        let why = match told {
            // What was typed is wrong.
            None if output::is_kafkas_manner() => {
                output.flush()?;
                output::error(error);
                return Ok(ExitCode::FAILURE);
            }
            Some(told) if output::is_kafkas_manner() => why_kafka_failed(&args, told),
            _ => words(error),
        };
        complain(
            output,
            format_args!("Executing consumer group command failed due to {why}"),
        )?;
        output::advise(error);
        Ok(Done::NotAll.code())
    };
    output::command(args.admin.shape, act, failed).await
}

/// While it resets, Kafka's tool unwraps an exception and leaves its class out.
fn why_kafka_failed(args: &Args, error: &ClientError) -> String {
    match error {
        ClientError::Refused { refused, .. } if args.reset_offsets => {
            kafkas::words(refused).to_owned()
        }
        _ => kafkas::exception(error),
    }
}

fn complain(output: &mut Output, what: impl std::fmt::Display) -> std::io::Result<()> {
    output.complain(format_args!("\nError: {what}"))
}

async fn act(args: &Args, output: &mut Output) -> anyhow::Result<Done> {
    if let Some(regex) = &args.validate_regex {
        let verdict = regex_lite::Regex::new(regex);
        let json = json!({ "regex": regex, "isValid": verdict.is_ok() });
        let sentence = match verdict {
            Ok(_) => format!("The regular expression `{regex}` is valid."),
            Err(why) => format!("The regular expression `{regex}` is invalid: {why}."),
        };
        output.say(sentence, &json)?;
        return Ok(Done::All);
    }
    if !args.list {
        ensure!(
            args.all_groups || !args.group.is_empty(),
            "no group is named: use --group or --all-groups"
        );
    }
    let planned = args
        .reset_offsets
        .then(|| plan::Reset::from_args(args))
        .transpose()?;
    let mut settings = args.admin.settings("ottla-groups")?;
    settings.api_timeout = Duration::from_millis(args.timeout);
    settings.request_timeout = settings.request_timeout.min(settings.api_timeout);
    let cluster = args.admin.cluster_with(settings).await?;
    if args.list {
        list(args, &cluster, output).await
    } else if let Some(seconds) = args.watch {
        watch::watch(args, seconds, &cluster, output).await
    } else if args.describe {
        describe::describe(args, &cluster, output).await
    } else if args.delete {
        delete::groups(args, &cluster, output).await
    } else if args.delete_offsets {
        delete::offsets(args, &cluster, output).await
    } else if let Some(planned) = planned {
        reset::reset(args, planned, &cluster, output).await
    } else {
        bail!("no action was named")
    }
}

async fn list(args: &Args, cluster: &Cluster, output: &mut Output) -> anyhow::Result<Done> {
    let states = chosen(args.state.as_deref(), &STATES, "state")?;
    let kinds = chosen(args.kind.as_deref(), &KINDS, "types")?;
    let groups = consumer_groups(cluster, &states, &kinds).await?;
    let (shows_kind, shows_state) = if output.is_json() {
        (true, true)
    } else {
        (args.kind.is_some(), args.state.is_some())
    };
    if !shows_kind && !shows_state {
        groups.iter().try_for_each(|group| output.line(&group.id))?;
        return Ok(Done::All);
    }
    let longest = groups
        .iter()
        .map(|group| group.id.chars().count())
        .max()
        .unwrap_or_default();
    let mut columns = vec![Column::fixed("GROUP", longest.max(15) + 10)];
    columns.extend(shows_kind.then(|| Column::fixed("TYPE", 20)));
    columns.extend(shows_state.then(|| Column::fixed("STATE", 20)));
    let mut table = Table::new(columns);
    for group in groups {
        let mut row = vec![group.id];
        row.extend(shows_kind.then_some(group.kind));
        row.extend(shows_state.then_some(group.state));
        table.push(row);
    }
    output.rows(table.lines(), table.objects())?;
    Ok(Done::All)
}

/// Words of a list, in Kafka's spelling.
fn chosen(list: Option<&str>, valid: &[&str], what: &str) -> anyhow::Result<Vec<String>> {
    let Some(list) = list.filter(|list| !list.is_empty()) else {
        return Ok(Vec::new());
    };
    let known = |word: &str| {
        valid
            .iter()
            .find(|valid| valid.eq_ignore_ascii_case(word.trim()))
    };
    let words: Option<Vec<_>> = list.split(',').map(|word| known(word).copied()).collect();
    match words {
        Some(words) => Ok(words.into_iter().map(str::to_owned).collect()),
        None => bail!(
            "Invalid {what} list '{list}'. Valid {what} are: {}",
            valid.join(", ")
        ),
    }
}

/// Groups of consumers, of either protocol; share and streams groups have tools of their own.
async fn consumer_groups(
    cluster: &Cluster,
    states: &[String],
    kinds: &[String],
) -> anyhow::Result<Vec<GroupListing>> {
    let mut groups = cluster.list_groups(states, kinds).await?;
    groups.retain_mut(|group| {
        // Brokers write types in lower case, Kafka's tools do not.
        let known = KINDS
            .iter()
            .find(|kind| kind.eq_ignore_ascii_case(&group.kind));
        let is_ours = group.kind.is_empty() || known.is_some();
        group.kind = known.copied().unwrap_or("Unknown").to_owned();
        is_ours && matches!(group.protocol_type.as_str(), "" | "consumer")
    });
    Ok(groups)
}

/// The groups that were meant, each once.
async fn meant(args: &Args, cluster: &Cluster) -> anyhow::Result<BTreeSet<String>> {
    if args.all_groups {
        let groups = consumer_groups(cluster, &[], &[]).await?;
        return Ok(groups.into_iter().map(|group| group.id).collect());
    }
    Ok(args.group.iter().cloned().collect())
}

/// `topic:0,1,2`, or a whole topic.
fn scope(text: &str) -> anyhow::Result<(Arc<str>, Option<Vec<TopicPartition>>)> {
    let Some((topic, numbers)) = text.split_once(':') else {
        return Ok((Arc::from(text), None));
    };
    let topic: Arc<str> = Arc::from(topic);
    ensure!(
        !numbers.contains(':') && !numbers.is_empty(),
        "Invalid topic arg '{text}', expected topic name and partitions"
    );
    let partitions = numbers.split(',').map(|number| match number.parse() {
        Ok(number) => Ok(TopicPartition::new(Arc::clone(&topic), number)),
        Err(_) => bail!("Invalid partition '{number}' specified in topic arg '{text}'"),
    });
    let partitions = partitions.collect::<Result<_, _>>()?;
    Ok((topic, Some(partitions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_topics_or_some_of_their_partitions() {
        let read = |text| {
            scope(text).map(|(topic, partitions)| {
                let partitions =
                    partitions.map(|all| all.iter().map(ToString::to_string).collect());
                (topic.to_string(), partitions)
            })
        };
        let some = |list: &[&str]| Some(list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read("t").unwrap(), ("t".to_owned(), None));
        assert_eq!(
            read("t:0,2").unwrap(),
            ("t".to_owned(), some(&["t-0", "t-2"]))
        );
        for bad in ["t:", "t:a", "t:0:1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn states_are_read_in_any_case() {
        assert_eq!(
            chosen(Some("stable, EMPTY"), &STATES, "state").unwrap(),
            ["Stable", "Empty"]
        );
        assert_eq!(
            chosen(Some(""), &STATES, "state").unwrap(),
            Vec::<String>::new()
        );
        let error = chosen(Some("busy"), &KINDS, "types")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "Invalid types list 'busy'. Valid types are: Classic, Consumer"
        );
    }
}

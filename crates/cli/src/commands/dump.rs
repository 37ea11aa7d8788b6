//! `ottla dump`: what is in the files of a log directory; the flags and the layout of
//! `kafka-dump-log.sh`.
//!
//! Findings (an index that does not agree with its log) end with status 1, where Kafka's tool says
//! 0. Nothing here changes a file.

mod batches;
pub(super) mod groups;
mod index;
pub(super) mod json;
mod log;
mod metadata;
mod objects;
mod producers;
mod shown;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::output::{self, Output, Shape};

/// The largest record that is looked for behind an index entry.
const MAX_MESSAGE_SIZE: u64 = 5 << 20;

/// Print the content of log, index, snapshot and checkpoint files
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    shape: Shape,
    /// The files: .log, .index, .timeindex, .txnindex, .snapshot and .checkpoint
    #[arg(long, value_name = "FILE,...", required = true, value_delimiter = ',', num_args = 1..)]
    files: Vec<PathBuf>,
    /// Print keys and values, too
    #[arg(long)]
    print_data_log: bool,
    /// Look into batches, too; --print-data-log and the decoders do so
    #[arg(long)]
    deep_iteration: bool,
    /// Read values as records of the cluster's metadata
    #[arg(long)]
    cluster_metadata_decoder: bool,
    /// Read keys and values as records of __consumer_offsets
    #[arg(long)]
    offsets_decoder: bool,
    /// Only say whether indexes would be taken as they are at start
    #[arg(long)]
    index_sanity_check: bool,
    /// Compare indexes with their logs, and print nothing but what is wrong
    #[arg(long)]
    verify_index_only: bool,
    /// Print keys and values only
    #[arg(long)]
    skip_record_metadata: bool,
    /// Read at most so many bytes of a log
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
    /// The size of the largest record
    #[arg(long, value_name = "BYTES", default_value_t = MAX_MESSAGE_SIZE)]
    max_message_size: u64,
    /// The class that reads keys; text is read
    #[arg(long, value_name = "CLASS", num_args = 0..=1, default_missing_value = "StringDecoder")]
    key_decoder_class: Option<String>,
    /// The class that reads values; text is read
    #[arg(long, value_name = "CLASS", num_args = 0..=1, default_missing_value = "StringDecoder")]
    value_decoder_class: Option<String>,
    #[arg(long, hide = true)]
    transaction_log_decoder: bool,
    #[arg(long, hide = true)]
    share_group_state_decoder: bool,
    #[arg(long, hide = true)]
    remote_log_metadata_decoder: bool,
}

/// How keys and values are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Text,
    Metadata,
    Offsets,
}

/// What does not agree, told at the end.
#[derive(Debug, Default)]
struct Findings {
    lines: Vec<String>,
    /// Some of it is an error.
    is_wrong: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let reading = args.reading()?;
    let mut output = Output::shaped(args.shape);
    let mut findings = Findings::default();
    let files = args.files.iter();
    let dumped = files.into_iter().try_for_each(|file| {
        if !output.is_json() {
            output.line(format_args!("Dumping {}", file.display()))?;
        }
        dump(&args, reading, file, &mut output, &mut findings)
    });
    let flushed = output.flush();
    findings.lines.iter().for_each(output::note);
    let dumped = dumped.and_then(|()| Ok(flushed?));
    output::finished(dumped.map(|()| match findings.is_wrong {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }))
}

fn dump(
    args: &Args,
    reading: Reading,
    file: &Path,
    output: &mut Output,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let suffix = file
        .extension()
        .and_then(|suffix| suffix.to_str())
        .unwrap_or_default();
    let result = match suffix {
        "log" | "checkpoint" => log::dump(args, reading, file, output, findings),
        "index" => index::offsets(args, file, output, findings),
        "timeindex" => index::times(args, file, output, findings),
        "txnindex" => producers::aborted(file, output),
        "snapshot" => producers::snapshot(file, output),
        _ => {
            output.flush()?;
            output::note(format_args!("Ignoring unknown file {}", file.display()));
            Ok(())
        }
    };
    result.with_context(|| file.display().to_string())
}

impl Args {
    fn reading(&self) -> anyhow::Result<Reading> {
        let unread = [
            (self.transaction_log_decoder, "--transaction-log-decoder"),
            (
                self.share_group_state_decoder,
                "--share-group-state-decoder",
            ),
            (
                self.remote_log_metadata_decoder,
                "--remote-log-metadata-decoder",
            ),
        ];
        if let Some((_, flag)) = unread.iter().find(|(is_set, _)| *is_set) {
            bail!("{flag} is not available yet");
        }
        for class in [&self.key_decoder_class, &self.value_decoder_class]
            .into_iter()
            .flatten()
        {
            if !class.ends_with("StringDecoder") {
                bail!("the decoder {class} is not available: StringDecoder is");
            }
        }
        Ok(if self.offsets_decoder {
            Reading::Offsets
        } else if self.cluster_metadata_decoder {
            Reading::Metadata
        } else {
            Reading::Text
        })
    }

    fn prints_content(&self) -> bool {
        self.print_data_log
            || self.offsets_decoder
            || self.cluster_metadata_decoder
            || self.key_decoder_class.is_some()
            || self.value_decoder_class.is_some()
    }

    fn is_deep(&self) -> bool {
        self.deep_iteration || self.prints_content()
    }
}

/// The number at the start of a file's name.
fn base_offset(file: &Path) -> anyhow::Result<i64> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let number = name
        .split('.')
        .next()
        .and_then(|number| number.parse().ok());
    number.with_context(|| format!("{name} does not begin with an offset"))
}

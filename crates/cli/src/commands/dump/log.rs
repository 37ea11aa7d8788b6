//! `.log` and `.checkpoint` files: batches, and the records in them.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use ottla_protocol::batch::{
    Batch, NO_SEQUENCE, OPENED_BYTES_MAX, TimestampKind, advance_sequence,
};

use super::batches::BatchFile;
use super::{Args, Findings, Reading, base_offset, groups, metadata};
use crate::output::Output;

const BOOTSTRAP: &str = "bootstrap.checkpoint";

pub(super) fn dump(
    args: &Args,
    reading: Reading,
    path: &Path,
    output: &mut Output,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    output.line(heading(path)?)?;
    let mut file = BatchFile::open(path)?;
    file.window(0, args.max_bytes.unwrap_or(u64::MAX))?;
    let mut walk = Walk {
        args,
        reading,
        last_offset: -1,
        gaps: Vec::new(),
    };
    while let Some(placed) = file.next()? {
        let Some(batch) = placed.batch() else {
            output.line(format_args!(
                "position: {} holds no batch of format 2",
                placed.position
            ))?;
            continue;
        };
        output.line(batch_line(batch, placed.position))?;
        if args.is_deep() {
            walk.records(batch, output)?;
        }
    }
    if file.left() > 0 && args.max_bytes.is_none() {
        let name = path.file_name().unwrap_or_default().display();
        output.line(format_args!(
            "Found {} invalid bytes at the end of {name}",
            file.left()
        ))?;
    }
    if !walk.gaps.is_empty() {
        let absolute = std::path::absolute(path)?;
        findings
            .lines
            .push(format!("Non-consecutive offsets in {}", absolute.display()));
        findings.lines.append(&mut walk.gaps);
    }
    Ok(())
}

fn heading(path: &Path) -> anyhow::Result<String> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if name == BOOTSTRAP {
        return Ok("KRaft bootstrap snapshot".to_owned());
    }
    let Some(snapshot) = name.strip_suffix(".checkpoint") else {
        return Ok(format!("Log starting offset: {}", base_offset(path)?));
    };
    let numbers = snapshot.split_once('-');
    let numbers = numbers.and_then(|(end, epoch)| Some((end.parse().ok()?, epoch.parse().ok()?)));
    let (end, epoch): (i64, i32) =
        numbers.with_context(|| format!("{name} is no name of a snapshot"))?;
    Ok(format!("Snapshot end offset: {end}, epoch: {epoch}"))
}

fn batch_line(batch: Batch<'_>, position: u64) -> String {
    let horizon = match batch.delete_horizon() {
        Some(ms) => format!("OptionalLong[{ms}]"),
        None => "OptionalLong.empty".to_owned(),
    };
    let codec = batch.codec().map_or("unknown", |codec| codec.name());
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
         producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} \
         deleteHorizonMs: {horizon} position: {position} {}: {} size: {} magic: {} compresscodec: \
         {codec} crc: {} isvalid: {}",
        batch.base_offset(),
        batch.last_offset(),
        batch.n_records(),
        batch.base_sequence(),
        batch.last_sequence(),
        batch.producer_id(),
        batch.producer_epoch(),
        batch.leader_epoch(),
        batch.is_transactional(),
        batch.is_control(),
        kind(batch),
        batch.max_timestamp(),
        batch.size(),
        batch.magic(),
        batch.crc(),
        batch.verify_crc().is_ok(),
    )
}

fn kind(batch: Batch<'_>) -> &'static str {
    match batch.timestamp_kind() {
        TimestampKind::CreateTime => "CreateTime",
        TimestampKind::LogAppendTime => "LogAppendTime",
    }
}

struct Walk<'a> {
    args: &'a Args,
    reading: Reading,
    last_offset: i64,
    gaps: Vec<String>,
}

impl Walk<'_> {
    fn records(&mut self, batch: Batch<'_>, output: &mut Output) -> anyhow::Result<()> {
        let base = batch.base_offset();
        let broken = || format!("the records of the batch at offset {base} cannot be read");
        let payload = batch.payload(OPENED_BYTES_MAX).with_context(broken)?;
        for record in payload.records() {
            let record = record.with_context(broken)?;
            if record.offset != self.last_offset.wrapping_add(1) {
                let gap = format!("  {} is followed by {}", self.last_offset, record.offset);
                self.gaps.push(gap);
            }
            self.last_offset = record.offset;
            let mut line = String::new();
            if !self.args.skip_record_metadata {
                self.describe(batch, &record, &mut line)?;
            }
            if self.args.prints_content() && !batch.is_control() {
                let mark = if self.args.skip_record_metadata {
                    "| "
                } else {
                    " "
                };
                line.push_str(&self.content(&record, mark));
            }
            output.line(line)?;
        }
        Ok(())
    }

    fn describe(
        &self,
        batch: Batch<'_>,
        record: &ottla_protocol::batch::Record<'_>,
        line: &mut String,
    ) -> anyhow::Result<()> {
        let size = |field: Option<&[u8]>| {
            field.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
        };
        let sequence = match batch.base_sequence() {
            NO_SEQUENCE => NO_SEQUENCE,
            base => advance_sequence(base, record.offset_delta),
        };
        let headers = record
            .headers
            .iter()
            .map(|header| header.key_text().into_owned());
        let headers: Vec<_> = headers.collect();
        write!(
            line,
            "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
            record.offset,
            kind(batch),
            record.timestamp,
            size(record.key),
            size(record.value),
            headers.join(","),
        )?;
        if batch.is_control() {
            let (key, value) = (
                record.key.unwrap_or_default(),
                record.value.unwrap_or_default(),
            );
            line.push(' ');
            line.push_str(&metadata::control(key, value));
        }
        Ok(())
    }

    fn content(&self, record: &ottla_protocol::batch::Record<'_>, mark: &str) -> String {
        let (key, value) = match self.reading {
            Reading::Text => (record.key.map(text), record.value.map(text)),
            Reading::Metadata => {
                let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
                (None, Some(metadata::record(&value, record.offset)))
            }
            Reading::Offsets => groups::record(record.key, record.value, record.offset),
        };
        let mut content = String::new();
        let mut mark = mark;
        for (name, part) in [("key", key), ("payload", value)] {
            if let Some(part) = part {
                content.push_str(&format!("{mark}{name}: {part}"));
                mark = " ";
            }
        }
        content
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

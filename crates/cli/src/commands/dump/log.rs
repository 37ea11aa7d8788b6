//! `.log` and `.checkpoint` files: batches, and the records in them.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;
use ottla_protocol::batch::{
    Batch, NO_SEQUENCE, OPENED_BYTES_MAX, Record, TimestampKind, advance_sequence,
};
use serde_json::{Value, json};

use super::batches::BatchFile;
use super::{Args, Findings, Reading, base_offset, groups, metadata, objects};
use crate::output::Output;

const BOOTSTRAP: &str = "bootstrap.checkpoint";

pub(super) fn dump(
    args: &Args,
    reading: Reading,
    path: &Path,
    output: &mut Output,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let heading = heading(path)?;
    if !output.is_json() {
        output.line(heading)?;
    }
    let mut file = BatchFile::open(path)?;
    file.window(0, args.max_bytes.unwrap_or(u64::MAX))?;
    let mut walk = Walk {
        args,
        path,
        reading,
        last_offset: -1,
        gaps: Vec::new(),
    };
    while let Some(placed) = file.next()? {
        let position = placed.position;
        let Some(batch) = placed.batch() else {
            let json = json!({ "type": "unreadable", "position": position });
            let sentence = format!("position: {position} holds no batch of format 2");
            output.say(sentence, &objects::of_file(path, json))?;
            continue;
        };
        if output.is_json() {
            let object = objects::batch(batch, position, kind(batch));
            output.line(objects::of_file(path, object))?;
        } else {
            output.line(batch_line(batch, position))?;
        }
        if args.is_deep() {
            walk.records(batch, output)?;
        }
    }
    if file.left() > 0 && args.max_bytes.is_none() {
        let name = path.file_name().unwrap_or_default().display();
        let n_bytes = file.left();
        let json = json!({ "type": "invalid", "size": n_bytes });
        output.say(
            format_args!("Found {n_bytes} invalid bytes at the end of {name}"),
            &objects::of_file(path, json),
        )?;
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

/// A record's key and payload, as far as they are printed.
type Content = (Option<String>, Option<String>);

struct Walk<'a> {
    args: &'a Args,
    path: &'a Path,
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
            if output.is_json() {
                output.line(objects::of_file(self.path, self.object(batch, &record)))?;
                continue;
            }
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
        record: &Record<'_>,
        line: &mut String,
    ) -> anyhow::Result<()> {
        let size = |field: Option<&[u8]>| {
            field.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
        };
        let sequence = sequence(batch, record);
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
            line.push(' ');
            line.push_str(&control(record));
        }
        Ok(())
    }

    fn object(&self, batch: Batch<'_>, record: &Record<'_>) -> Value {
        let mut object = match self.args.skip_record_metadata {
            true => json!({ "type": "record", "offset": record.offset }),
            false => objects::record(record, sequence(batch, record)),
        };
        if batch.is_control() {
            object["control"] = objects::control(&control(record));
        } else if self.args.prints_content() {
            let (key, value) = self.read(record);
            for (name, part) in [("key", key), ("value", value)] {
                // What is text stays text, whatever it looks like.
                let part = part.map(|part| match self.reading {
                    Reading::Text => Value::from(part),
                    Reading::Metadata | Reading::Offsets => objects::decoded(&part),
                });
                object[name] = Value::from(part);
            }
        }
        object
    }

    fn read(&self, record: &Record<'_>) -> Content {
        match self.reading {
            Reading::Text => (record.key.map(text), record.value.map(text)),
            Reading::Metadata => {
                let value = Bytes::copy_from_slice(record.value.unwrap_or_default());
                (None, Some(metadata::record(&value, record.offset)))
            }
            Reading::Offsets => groups::record(record.key, record.value, record.offset),
        }
    }

    fn content(&self, record: &Record<'_>, mark: &str) -> String {
        let (key, value) = self.read(record);
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

fn sequence(batch: Batch<'_>, record: &Record<'_>) -> i32 {
    match batch.base_sequence() {
        NO_SEQUENCE => NO_SEQUENCE,
        base => advance_sequence(base, record.offset_delta),
    }
}

fn control(record: &Record<'_>) -> String {
    let (key, value) = (record.key, record.value);
    metadata::control(key.unwrap_or_default(), value.unwrap_or_default())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

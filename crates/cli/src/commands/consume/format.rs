//! A record as text, as Kafka's `DefaultMessageFormatter` prints it.

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ottla_client::consume::ConsumedRecord;
use ottla_protocol::batch::TimestampKind;
use serde_json::{Value, json};

use crate::commands::connect::Properties;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordFormat {
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    read_key: Reading,
    read_value: Reading,
    read_headers: Reading,
}

impl RecordFormat {
    pub(super) fn from_properties(properties: &Properties) -> anyhow::Result<Self> {
        let flag = |name, default| properties.is_true(name).unwrap_or(default);
        let text =
            |name, default: &str| properties.text(name).unwrap_or(default).as_bytes().to_vec();
        let reading = |name| {
            properties
                .text(name)
                .map_or(Ok(Reading::Bytes), Reading::of)
        };
        Ok(Self {
            timestamp: flag("print.timestamp", false),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            delivery: flag("print.delivery", false),
            epoch: flag("print.epoch", false),
            headers: flag("print.headers", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            read_key: reading("key.deserializer")?,
            read_value: reading("value.deserializer")?,
            read_headers: reading("headers.deserializer")?,
        })
    }

    /// Read, and say nothing.
    pub(super) fn nothing() -> Self {
        let plain = Self::from_properties(&Properties::default());
        let mut nothing = plain.unwrap_or_else(|_| unreachable!("no property is wrong"));
        nothing.value = false;
        nothing
    }

    /// Add a record to `out`. Every part but the value is followed by the key separator if another
    /// part comes, else by the line separator.
    pub(super) fn write(&self, record: &ConsumedRecord, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            parts.push(timestamp(record).into_bytes());
        }
        if self.partition {
            parts.push(format!("Partition:{}", record.partition).into_bytes());
        }
        if self.offset {
            parts.push(format!("Offset:{}", record.offset).into_bytes());
        }
        if self.delivery {
            // Counted in share groups only.
            parts.push(b"Delivery:NOT_PRESENT".to_vec());
        }
        if self.epoch {
            parts.push(epoch(record).into_bytes());
        }
        if self.headers {
            parts.push(self.headers(record)?);
        }
        if self.key {
            parts.push(self.field(self.read_key, record.key.as_deref())?);
        }
        if self.value {
            parts.push(self.field(self.read_value, record.value.as_deref())?);
        }
        if parts.is_empty() {
            return Ok(());
        }
        out.extend(parts.join(&self.key_separator[..]));
        out.extend_from_slice(&self.line_separator);
        Ok(())
    }

    fn headers(&self, record: &ConsumedRecord) -> anyhow::Result<Vec<u8>> {
        if record.headers.is_empty() {
            return Ok(b"NO_HEADERS".to_vec());
        }
        let mut parts = Vec::new();
        for (key, value) in &record.headers {
            let mut part = key.to_vec();
            part.push(b':');
            part.extend(self.field(self.read_headers, value.as_deref())?);
            parts.push(part);
        }
        Ok(parts.join(&self.headers_separator[..]))
    }

    fn field(&self, reading: Reading, bytes: Option<&[u8]>) -> anyhow::Result<Vec<u8>> {
        match bytes {
            None => Ok(self.null_literal.clone()),
            Some(bytes) => reading.text(bytes),
        }
    }
}

/// A record with all that is known of it. Text that is no UTF-8 is base64, and said to be.
pub(super) fn json(record: &ConsumedRecord) -> Value {
    let headers = record.headers.iter().map(|(key, value)| {
        json!({ "key": String::from_utf8_lossy(key), "value": text(value.as_deref()) })
    });
    let kind = match record.timestamp_kind {
        TimestampKind::CreateTime => "CreateTime",
        TimestampKind::LogAppendTime => "LogAppendTime",
    };
    json!({
        "topic": &*record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "timestampType": kind,
        "headers": headers.collect::<Vec<_>>(),
        "key": text(record.key.as_deref()),
        "value": text(record.value.as_deref()),
    })
}

fn text(bytes: Option<&[u8]>) -> Value {
    match bytes.map(std::str::from_utf8) {
        None => Value::Null,
        Some(Ok(text)) => Value::from(text),
        Some(Err(_)) => json!({ "base64": STANDARD.encode(bytes.unwrap_or_default()) }),
    }
}

fn timestamp(record: &ConsumedRecord) -> String {
    let kind = match record.timestamp_kind {
        TimestampKind::CreateTime => "CreateTime",
        TimestampKind::LogAppendTime => "LogAppendTime",
    };
    format!("{kind}:{}", record.timestamp)
}

/// Kafka's console consumer drops the epoch on its way to the formatter; so do we, since its output
/// is what scripts know.
fn epoch(_: &ConsumedRecord) -> String {
    "Epoch:NOT_PRESENT".to_owned()
}

/// What bytes mean: Kafka's deserializers by the last part of their class names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Bytes,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Boolean,
    Uuid,
}

impl Reading {
    fn of(class: &str) -> anyhow::Result<Self> {
        let name = class.rsplit('.').next().unwrap_or(class);
        Ok(match name.trim_end_matches("Deserializer") {
            "String" | "ByteArray" | "Bytes" | "ByteBuffer" | "" => Self::Bytes,
            "Short" => Self::Short,
            "Integer" => Self::Integer,
            "Long" => Self::Long,
            "Float" => Self::Float,
            "Double" => Self::Double,
            "Boolean" => Self::Boolean,
            "UUID" => Self::Uuid,
            _ => bail!(
                "the deserializer {class} is not available: String, ByteArray, Short, Integer, \
                 Long, Float, Double, Boolean and UUID are"
            ),
        })
    }

    fn text(self, bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
        let text = match self {
            Self::Bytes | Self::Uuid => return Ok(bytes.to_vec()),
            Self::Short => i16::from_be_bytes(exactly(bytes)?).to_string(),
            Self::Integer => i32::from_be_bytes(exactly(bytes)?).to_string(),
            Self::Long => i64::from_be_bytes(exactly(bytes)?).to_string(),
            Self::Float => format!("{:?}", f32::from_be_bytes(exactly(bytes)?)),
            Self::Double => format!("{:?}", f64::from_be_bytes(exactly(bytes)?)),
            Self::Boolean => (u8::from_be_bytes(exactly(bytes)?) != 0).to_string(),
        };
        Ok(text.into_bytes())
    }
}

fn exactly<const N: usize>(bytes: &[u8]) -> anyhow::Result<[u8; N]> {
    let found = bytes.try_into();
    found.with_context(|| format!("{} bytes are no value of {N} bytes", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;

    fn check(properties: &[&str], expected: &str) {
        let record = ConsumedRecord {
            topic: Arc::from("t"),
            partition: 3,
            offset: 42,
            leader_epoch: 1,
            timestamp: 1000,
            timestamp_kind: TimestampKind::CreateTime,
            key: None,
            value: Some(Bytes::from_static(&[0, 0, 0, 65])),
            headers: vec![
                (Bytes::from_static(b"a"), Some(Bytes::from_static(b"1"))),
                (Bytes::from_static(b"b"), None),
            ],
        };
        let typed: Vec<_> = properties.iter().map(ToString::to_string).collect();
        let properties = Properties::gather(None, &typed).unwrap();
        let mut out = Vec::new();
        let written = RecordFormat::from_properties(&properties)
            .and_then(|format| format.write(&record, &mut out));
        let shown = match written {
            Ok(()) => String::from_utf8(out).unwrap(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn parts_come_in_kafkas_order() {
        let int = "value.deserializer=org.apache.kafka.common.serialization.IntegerDeserializer";
        let all = [
            "print.key=true",
            "print.headers=true",
            "print.epoch=true",
            "print.offset=true",
            "print.partition=true",
            "print.timestamp=true",
            "null.literal=NIL",
            int,
        ];
        let expected =
            "CreateTime:1000\tPartition:3\tOffset:42\tEpoch:NOT_PRESENT\ta:1,b:NIL\tNIL\t65\n";
        check(&all, expected);
        check(
            &["print.value=false", "print.offset=true", "line.separator=;"],
            "Offset:42;",
        );
        check(&["print.value=false"], "");
    }

    #[test]
    fn bytes_that_are_no_text_are_base64_in_json() {
        assert_eq!(text(Some(b"a")), "a");
        assert_eq!(text(Some(&[0xff]))["base64"], "/w==");
        assert!(text(None).is_null());
    }

    #[test]
    fn what_is_no_such_value_is_told() {
        check(
            &["value.deserializer=LongDeserializer"],
            "4 bytes are no value of 8 bytes",
        );
        check(
            &["value.deserializer=my.Avro"],
            "the deserializer my.Avro is not available: String, ByteArray, Short, Integer, Long, \
             Float, Double, Boolean and UUID are",
        );
    }
}

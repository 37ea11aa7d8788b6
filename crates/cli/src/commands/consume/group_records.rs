//! Records of `__consumer_offsets`, as Kafka's formatters for that topic print them: JSON without an
//! end of line between.

use anyhow::anyhow;
use ottla_client::consume::ConsumedRecord;

use crate::commands::dump::groups;
use crate::commands::dump::json::Json;
use crate::output;

/// Offsets, in the form of today and in the one of long ago.
const OFFSETS: [i16; 2] = [0, 1];
/// What a classic group is.
const METADATA: [i16; 1] = [2];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupRecords {
    Offsets,
    Metadata,
}

impl GroupRecords {
    /// Records of other types are passed over.
    pub(super) fn write(self, record: &ConsumedRecord, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let kinds: &[i16] = match self {
            Self::Offsets => &OFFSETS,
            Self::Metadata => &METADATA,
        };
        if record.key.is_none() {
            return Ok(());
        }
        let read = groups::read(record.key.as_deref(), record.value.as_deref());
        let read = read
            .map_err(|why| anyhow!("Could not read record at offset {}: {why}", record.offset))?;
        let Some(known) = read.filter(|known| kinds.contains(&known.kind)) else {
            return Ok(());
        };
        let value = match known.value {
            None => Json::Null,
            Some((version, data)) => {
                Json::object([("version", Json::number(version)), ("data", data)])
            }
        };
        let key = Json::object([("type", Json::number(known.kind)), ("data", known.key)]);
        let json = Json::object([("key", key), ("value", value)]);
        out.extend(json.to_string().into_bytes());
        // Kafka's formatter lets lines run into each other.
        if !output::is_kafkas_manner() {
            out.push(b'\n');
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_coordinators::group::records::{GroupRecord, OffsetCommitKey};
    use ottla_protocol::Text;
    use ottla_protocol::batch::TimestampKind;

    use super::*;

    #[test]
    fn offsets_are_objects_and_other_records_nothing() {
        let (key, value) = GroupRecord::OffsetCommit {
            key: OffsetCommitKey {
                group_id: Text::from_static("g"),
                topic: Text::from_static("t"),
                partition: 1,
            },
            value: None,
        }
        .encode();
        let record = ConsumedRecord {
            topic: Arc::from("__consumer_offsets"),
            partition: 0,
            offset: 0,
            leader_epoch: 0,
            timestamp: 0,
            timestamp_kind: TimestampKind::CreateTime,
            key: Some(key),
            value,
            headers: Vec::new(),
        };
        let shown = |kind: GroupRecords| {
            let mut out = Vec::new();
            kind.write(&record, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            shown(GroupRecords::Offsets),
            "{\"key\":{\"type\":1,\"data\":{\"group\":\"g\",\"topic\":\"t\",\"partition\":1}},\"value\":null}\n"
        );
        assert_eq!(shown(GroupRecords::Metadata), "");
    }
}

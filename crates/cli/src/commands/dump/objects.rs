//! What files hold as JSON, an object for each entry, batch and record. What decoders tell of keys
//! and values is an object where it can be one, not text that looks like one.

use std::path::Path;

use ottla_protocol::batch::{Batch, Record};
use serde_json::{Value, json};

use super::groups;

/// `entry`, and in which file it stands.
pub(super) fn of_file(path: &Path, mut entry: Value) -> Value {
    entry["file"] = path.display().to_string().into();
    entry
}

pub(super) fn batch(batch: Batch<'_>, position: u64, kind: &str) -> Value {
    let mut object = json!({
        "type": "batch",
        "position": position,
        "baseOffset": batch.base_offset(),
        "lastOffset": batch.last_offset(),
        "count": batch.n_records(),
        "partitionLeaderEpoch": batch.leader_epoch(),
        "timestampType": kind,
        "maxTimestamp": batch.max_timestamp(),
        "deleteHorizonMs": batch.delete_horizon(),
        "size": batch.size(),
        "magic": batch.magic(),
        "compression": batch.codec().ok().map(|codec| codec.name()),
        "crc": batch.crc(),
        "isValid": batch.verify_crc().is_ok(),
    });
    object["producer"] = json!({
        "id": batch.producer_id(),
        "epoch": batch.producer_epoch(),
        "baseSequence": batch.base_sequence(),
        "lastSequence": batch.last_sequence(),
        "isTransactional": batch.is_transactional(),
        "isControl": batch.is_control(),
    });
    object
}

/// A record without its key and value.
pub(super) fn record(record: &Record<'_>, sequence: i32) -> Value {
    let headers = record.headers.iter();
    let headers: Vec<String> = headers
        .map(|header| header.key_text().into_owned())
        .collect();
    json!({
        "type": "record",
        "offset": record.offset,
        "timestamp": record.timestamp,
        "keySize": record.key.map(<[u8]>::len),
        "valueSize": record.value.map(<[u8]>::len),
        "sequence": sequence,
        "headerKeys": headers,
    })
}

/// `LeaderChange: {…}` and its like: the kind, and what is told of it.
pub(super) fn control(told: &str) -> Value {
    let data = told.find('{').map(|start| told.split_at(start));
    match data.map(|(kind, data)| (kind, decoded(data))) {
        Some((kind, data @ Value::Object(_))) => {
            json!({ "kind": kind.trim_end_matches([':', ' ']), "data": data })
        }
        _ => json!({ "kind": told }),
    }
}

/// A decoder's object, or its sentence; null for what a record takes away.
pub(super) fn decoded(told: &str) -> Value {
    match serde_json::from_str(told) {
        _ if told == groups::TOMBSTONE => Value::Null,
        Ok(object @ Value::Object(_)) => object,
        _ => told.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decoders_tell_is_an_object_where_it_can_be() {
        assert_eq!(decoded("{\"a\":1}"), json!({ "a": 1 }));
        assert_eq!(decoded(groups::TOMBSTONE), Value::Null);
        for sentence in ["7", "{", "Error at 3, skipping. {}"] {
            assert_eq!(decoded(sentence), json!(sentence));
        }
        assert_eq!(
            control("LeaderChange: {\"leaderId\":1}"),
            json!({ "kind": "LeaderChange", "data": { "leaderId": 1 } })
        );
        assert_eq!(
            control("KRaftVersion {\"kRaftVersion\":1}"),
            json!({ "kind": "KRaftVersion", "data": { "kRaftVersion": 1 } })
        );
        let marker = "endTxnMarker: COMMIT coordinatorEpoch: 9";
        assert_eq!(control(marker), json!({ "kind": marker }));
        let placed = of_file(Path::new("/a.log"), json!({ "offset": 1 }));
        assert_eq!(placed, json!({ "file": "/a.log", "offset": 1 }));
    }
}

//! Records of `__cluster_metadata`, and the control records of any log.

use bytes::Bytes;
use ottla_metadata::records::Record;
use ottla_protocol::batch_builder::{ControlKind, EndMarker};
use ottla_protocol::messages::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
    VotersRecord,
};
use ottla_protocol::{Versioned, decode_body};

use super::json::Json;
use super::shown;

/// `{"type":"TOPIC_RECORD","version":0,"data":{…}}`
pub(super) fn record(value: &Bytes, offset: i64) -> String {
    match Record::decode(value) {
        Ok((record, version)) => Json::object([
            ("type", Json::Text(large_snake(record.name()))),
            ("version", Json::number(version)),
            ("data", data(&record, version)),
        ])
        .to_string(),
        Err(unreadable) => format!("Error at {offset}, skipping. {unreadable}"),
    }
}

/// The record itself is shown, not the variant around it.
macro_rules! inner {
    ($record:expr, $version:expr, $($variant:ident)*) => {
        match $record {
            $(Record::$variant(inner) => shown::json(inner, $version),)*
        }
    };
}

fn data(record: &Record, version: i16) -> Json {
    inner!(
        record, version,
        RegisterBroker UnregisterBroker Topic Partition Config PartitionChange FenceBroker
        UnfenceBroker RemoveTopic DelegationToken UserScramCredential FeatureLevel ClientQuota
        ProducerIds BrokerRegistrationChange AccessControlEntry RemoveAccessControlEntry NoOp
        ZkMigrationState RemoveUserScramCredential BeginTransaction EndTransaction AbortTransaction
        RemoveDelegationToken RegisterController ClearElr
    )
}

/// `RegisterBrokerRecord` as `REGISTER_BROKER_RECORD`.
fn large_snake(name: &str) -> String {
    let mut snake = String::new();
    for (place, c) in name.chars().enumerate() {
        if place > 0 && c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_uppercase());
    }
    snake
}

/// What a control record says.
pub(super) fn control(key: &[u8], value: &[u8]) -> String {
    let body = Bytes::copy_from_slice(value);
    match ControlKind::from_key(key) {
        Some(ControlKind::Abort | ControlKind::Commit) => match EndMarker::parse(key, value) {
            Some(marker) => {
                let kind = if marker.is_commit { "COMMIT" } else { "ABORT" };
                format!(
                    "endTxnMarker: {kind} coordinatorEpoch: {}",
                    marker.coordinator_epoch
                )
            }
            None => "endTxnMarker: (unreadable)".to_owned(),
        },
        Some(ControlKind::LeaderChange) => {
            format!("LeaderChange: {}", body_json::<LeaderChangeMessage>(body))
        }
        Some(ControlKind::SnapshotHeader) => {
            format!("SnapshotHeader {}", body_json::<SnapshotHeaderRecord>(body))
        }
        Some(ControlKind::SnapshotFooter) => {
            format!("SnapshotFooter {}", body_json::<SnapshotFooterRecord>(body))
        }
        Some(ControlKind::KraftVersion) => {
            format!("KRaftVersion {}", body_json::<KRaftVersionRecord>(body))
        }
        Some(ControlKind::KraftVoters) => {
            format!("KRaftVoters {}", body_json::<VotersRecord>(body))
        }
        Some(ControlKind::Unknown(number)) => format!("controlType: UNKNOWN({number})"),
        None => "controlType: (unreadable)".to_owned(),
    }
}

/// The version stands in the body, and is always 0 (see `ottla_protocol::messages`).
fn body_json<M: Versioned + std::fmt::Debug>(body: Bytes) -> String {
    match decode_body::<M>(body, 0) {
        Ok(message) => shown::json(&message, 0).to_string(),
        Err(malformed) => format!("({malformed})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::records::{NoOpRecord, TopicRecord};

    #[test]
    fn records_are_shown_with_type_and_version() {
        let topic = Record::from(TopicRecord::default()).encode_at(0).unwrap();
        assert_eq!(
            record(&topic, 7),
            "{\"type\":\"TOPIC_RECORD\",\"version\":0,\"data\":{\"name\":\"\",\"topicId\":\
             \"AAAAAAAAAAAAAAAAAAAAAA\"}}"
        );
        let nothing = Record::from(NoOpRecord::default()).encode_at(0).unwrap();
        assert!(record(&nothing, 7).contains("\"NO_OP_RECORD\""));
        assert!(record(&Bytes::from_static(b"?"), 7).starts_with("Error at 7, skipping. "));
    }

    #[test]
    fn markers_are_told_in_kafkas_words() {
        let commit = ControlKind::Commit.key();
        assert_eq!(
            control(&commit, &[0, 0, 0, 0, 0, 9]),
            "endTxnMarker: COMMIT coordinatorEpoch: 9"
        );
        assert_eq!(control(&[0, 0, 0, 99], &[]), "controlType: UNKNOWN(99)");
    }
}

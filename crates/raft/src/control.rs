//! Control records of the metadata log: who leads, which kraft.version, who votes, and what stands
//! around a snapshot.
//!
//! Kafka writes and reads all of them at schema version 0, though LeaderChangeMessage has a
//! newer one.

use bytes::Bytes;
use ottla_protocol::batch::{Batch, CorruptBatch, OPENED_BYTES_MAX, Record};
use ottla_protocol::batch_builder::{BatchBuilder, ControlKind};
use ottla_protocol::messages::{
    KRaftVersionRecord, LeaderChangeMessage, SnapshotFooterRecord, SnapshotHeaderRecord,
    VotersRecord,
};
use ottla_protocol::{Reader, Versioned, Writer};

/// One control record, read.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    LeaderChange(LeaderChangeMessage),
    SnapshotHeader(SnapshotHeaderRecord),
    SnapshotFooter(SnapshotFooterRecord),
    KraftVersion(KRaftVersionRecord),
    Voters(VotersRecord),
}

/// A control record that the metadata log must not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptControl {
    pub offset: i64,
    pub why: String,
}

impl std::fmt::Display for CorruptControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "control record at offset {}: {}", self.offset, self.why)
    }
}

impl std::error::Error for CorruptControl {}

/// The version in which all of them are written and read, whatever they know besides.
const SCHEMA: i16 = 0;

impl Control {
    fn kind(&self) -> ControlKind {
        match self {
            Self::LeaderChange(_) => ControlKind::LeaderChange,
            Self::SnapshotHeader(_) => ControlKind::SnapshotHeader,
            Self::SnapshotFooter(_) => ControlKind::SnapshotFooter,
            Self::KraftVersion(_) => ControlKind::KraftVersion,
            Self::Voters(_) => ControlKind::KraftVoters,
        }
    }

    fn value(&self) -> Bytes {
        match self {
            Self::LeaderChange(record) => encode(record),
            Self::SnapshotHeader(record) => encode(record),
            Self::SnapshotFooter(record) => encode(record),
            Self::KraftVersion(record) => encode(record),
            Self::Voters(record) => encode(record),
        }
    }

    /// Put this record into a control batch.
    pub(crate) fn push_to(&self, batch: &mut BatchBuilder, wall_ms: i64) {
        batch.push_control(wall_ms, self.kind(), &self.value());
    }

    /// The control records of a batch, each with its offset; none if it is a batch of data.
    pub fn of_batch(batch: Batch<'_>) -> Result<Vec<(i64, Self)>, CorruptControl> {
        if !batch.is_control() {
            return Ok(Vec::new());
        }
        let at = batch.base_offset();
        let payload = batch
            .payload(OPENED_BYTES_MAX)
            .map_err(|error| broken(at, &error))?;
        payload
            .records()
            .map(|record| {
                let record = record.map_err(|error: CorruptBatch| broken(at, &error))?;
                Ok((record.offset, Self::read(&record)?))
            })
            .collect()
    }

    fn read(record: &Record<'_>) -> Result<Self, CorruptControl> {
        let refuse = |why: &str| CorruptControl {
            offset: record.offset,
            why: why.to_owned(),
        };
        let key = record.key.ok_or_else(|| refuse("no key"))?;
        let value = record.value.ok_or_else(|| refuse("no value"))?;
        let kind = ControlKind::from_key(key).ok_or_else(|| refuse("short key"))?;
        let offset = record.offset;
        Ok(match kind {
            ControlKind::LeaderChange => Self::LeaderChange(decode(offset, value)?),
            ControlKind::SnapshotHeader => Self::SnapshotHeader(decode(offset, value)?),
            ControlKind::SnapshotFooter => Self::SnapshotFooter(decode(offset, value)?),
            ControlKind::KraftVersion => Self::KraftVersion(decode(offset, value)?),
            ControlKind::KraftVoters => Self::Voters(decode(offset, value)?),
            ControlKind::Abort | ControlKind::Commit => {
                return Err(refuse(
                    "a transaction marker has no place in the metadata log",
                ));
            }
            ControlKind::Unknown(number) => {
                return Err(refuse(&format!("unknown kind {number}")));
            }
        })
    }
}

fn encode<M: Versioned>(message: &M) -> Bytes {
    let mut writer = Writer::new();
    let written = message.encode(&mut writer, M::version(SCHEMA));
    assert!(
        written.is_ok(),
        "every field exists in version 0: {written:?}"
    );
    writer.finish()
}

fn decode<M: Versioned>(offset: i64, value: &[u8]) -> Result<M, CorruptControl> {
    let mut reader = Reader::new(Bytes::copy_from_slice(value));
    M::decode(&mut reader, M::version(SCHEMA)).map_err(|malformed| CorruptControl {
        offset,
        why: malformed.to_string(),
    })
}

fn broken(offset: i64, error: &CorruptBatch) -> CorruptControl {
    CorruptControl {
        offset,
        why: error.to_string(),
    }
}

//! Make record batches: data, control records, and the internal records of logs that we own.
//!
//! Records are encoded as they are pushed; [`BatchBuilder::finish`] compresses, fills the header in
//! and seals it. Offsets are dense unless a caller says otherwise.

mod converted;
mod survivors;

use bytes::Bytes;

pub use self::converted::{converted, hollow, modern};
pub use self::survivors::{emptied, survivors};

use crate::batch::{
    APPEND_TIME_BIT, Batch, CONTROL_BIT, CorruptBatch, HEADER_LEN, HeaderFields, NO_LEADER_EPOCH,
    NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TRANSACTIONAL_BIT, TimestampKind,
};
use crate::compress::{Codec, Compression, compress};

/// A header to write: its key, and its value or null.
pub type NewHeader<'a> = (&'a [u8], Option<&'a [u8]>);

/// A batch in the making.
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
    /// Room for the header, then the records, uncompressed.
    bytes: Vec<u8>,
    fields: HeaderFields,
    append_time: Option<i64>,
    /// What timestamps count from; else the first record's.
    base_timestamp: Option<i64>,
}

impl BatchBuilder {
    /// Records of a user's topic: base offset 0, no leader epoch, until stamped.
    pub fn data(compression: impl Into<Compression>) -> Self {
        Self {
            compression: compression.into(),
            bytes: vec![0; HEADER_LEN],
            fields: HeaderFields {
                base_offset: 0,
                leader_epoch: NO_LEADER_EPOCH,
                attributes: 0,
                last_offset_delta: -1,
                base_timestamp: NO_TIMESTAMP,
                max_timestamp: NO_TIMESTAMP,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                base_sequence: NO_SEQUENCE,
                n_records: 0,
            },
            append_time: None,
            base_timestamp: None,
        }
    }

    /// Records of a log that we write ourselves (metadata, coordinators): plain, offset and epoch known.
    pub fn internal(base_offset: i64, leader_epoch: i32) -> Self {
        Self::data(Codec::None)
            .base_offset(base_offset)
            .leader_epoch(leader_epoch)
    }

    /// Control records, never compressed. Push them with [`Self::push_control`].
    pub fn control(base_offset: i64, leader_epoch: i32) -> Self {
        let mut builder = Self::internal(base_offset, leader_epoch);
        builder.fields.attributes |= CONTROL_BIT;
        builder
    }

    pub fn base_offset(mut self, base_offset: i64) -> Self {
        self.fields.base_offset = base_offset;
        self
    }

    pub fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.fields.leader_epoch = leader_epoch;
        self
    }

    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.fields.producer_id = id;
        self.fields.producer_epoch = epoch;
        self.fields.base_sequence = base_sequence;
        self
    }

    pub fn transactional(mut self) -> Self {
        self.fields.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// All records get this one time, the leader's (LogAppendTime).
    pub fn append_time(mut self, time: i64) -> Self {
        self.append_time = Some(time);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.fields.n_records == 0
    }

    pub fn n_records(&self) -> i32 {
        self.fields.n_records
    }

    /// The offset that the next pushed record gets.
    pub fn next_offset(&self) -> i64 {
        self.fields.base_offset + i64::from(self.fields.last_offset_delta) + 1
    }

    /// The size of the batch if it were finished now without compression.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn push(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.push_with_headers(timestamp, key, value, &[]);
    }

    pub fn push_with_headers(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[NewHeader<'_>],
    ) {
        let delta = self.fields.last_offset_delta + 1;
        self.push_at(delta, timestamp, key, value, headers.iter().copied());
    }

    /// Push at a place of its own, not before the last: what compaction leaves has gaps.
    pub fn push_at<'h>(
        &mut self,
        offset_delta: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = NewHeader<'h>> + Clone,
    ) {
        let fields = &mut self.fields;
        if fields.n_records == 0 {
            fields.base_timestamp = self.base_timestamp.unwrap_or(timestamp);
        }
        fields.n_records += 1;
        fields.last_offset_delta = fields.last_offset_delta.max(offset_delta);
        fields.max_timestamp = fields.max_timestamp.max(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(fields.base_timestamp);
        let length = 1
            + varint_len(timestamp_delta)
            + varint_len(offset_delta.into())
            + field_len(key)
            + field_len(value)
            + varint_len(headers.len() as i64)
            + headers
                .clone()
                .map(|(key, value)| field_len(Some(key)) + field_len(value))
                .sum::<usize>();
        let out = &mut self.bytes;
        put_varint(out, length as i64);
        out.push(0);
        put_varint(out, timestamp_delta);
        put_varint(out, offset_delta.into());
        put_field(out, key);
        put_field(out, value);
        put_varint(out, headers.len() as i64);
        for (key, value) in headers {
            put_field(out, Some(key));
            put_field(out, value);
        }
    }

    /// A control record of a [`Self::control`] batch. `value` is the encoded message of that kind.
    pub fn push_control(&mut self, timestamp: i64, kind: ControlKind, value: &[u8]) {
        self.push(timestamp, Some(&kind.key()), Some(value));
    }

    /// Compress, fill in the header, seal.
    pub fn finish(self) -> Bytes {
        let Self {
            compression,
            mut bytes,
            mut fields,
            append_time,
            base_timestamp: _,
        } = self;
        fields.attributes |= compression.codec.bits();
        if let Some(time) = append_time {
            fields.attributes |= APPEND_TIME_BIT;
            fields.max_timestamp = time;
        }
        if compression.codec != Codec::None {
            let mut compressed = vec![0; HEADER_LEN];
            compress(compression, &bytes[HEADER_LEN..], &mut compressed);
            bytes = compressed;
        }
        fields.write(&mut bytes);
        Bytes::from(bytes)
    }
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn varint_len(number: i64) -> usize {
    let bits = 64 - (zigzag(number) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut rest = zigzag(number);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn field_len(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| varint_len(bytes.len() as i64) + bytes.len())
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

/// What a control record says; the second half of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlKind {
    Abort,
    Commit,
    LeaderChange,
    SnapshotHeader,
    SnapshotFooter,
    KraftVersion,
    KraftVoters,
    /// Of a later Kafka: consumers skip it, the metadata log must not have it.
    Unknown(i16),
}

impl ControlKind {
    pub fn from_number(number: i16) -> Self {
        match number {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KraftVersion,
            6 => Self::KraftVoters,
            other => Self::Unknown(other),
        }
    }

    pub fn number(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KraftVersion => 5,
            Self::KraftVoters => 6,
            Self::Unknown(other) => other,
        }
    }

    /// Read the key of a control record; `None` if it is shorter than any.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let [_, _, high, low] = *key.first_chunk()?;
        Some(Self::from_number(i16::from_be_bytes([high, low])))
    }

    /// Version 0, then the number.
    pub fn key(self) -> [u8; 4] {
        let [high, low] = self.number().to_be_bytes();
        [0, 0, high, low]
    }
}

/// The end of a transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndMarker {
    pub is_commit: bool,
    pub coordinator_epoch: i32,
}

impl EndMarker {
    /// Read key and value of a control record; `None` if it is no transaction marker or broken.
    pub fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let is_commit = match ControlKind::from_key(key)? {
            ControlKind::Abort => false,
            ControlKind::Commit => true,
            _ => return None,
        };
        let [_, _, epoch @ ..]: [u8; 6] = *value.first_chunk()?;
        Some(Self {
            is_commit,
            coordinator_epoch: i32::from_be_bytes(epoch),
        })
    }

    /// A whole control batch, offset and leader epoch to be stamped at the append.
    pub fn batch(self, producer_id: i64, producer_epoch: i16, timestamp: i64) -> Bytes {
        let mut builder = BatchBuilder::control(0, NO_LEADER_EPOCH)
            .producer(producer_id, producer_epoch, NO_SEQUENCE)
            .transactional();
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let kind = if self.is_commit {
            ControlKind::Commit
        } else {
            ControlKind::Abort
        };
        builder.push_control(timestamp, kind, &value);
        builder.finish()
    }
}

/// The same records with another codec: producer fields and the transactional flag stay, offsets
/// become dense from 0, the leader epoch is gone. Opens at most `limit` bytes.
pub fn rebuild(
    batch: Batch<'_>,
    compression: Compression,
    limit: usize,
) -> Result<Bytes, CorruptBatch> {
    let payload = batch.payload(limit)?;
    let mut builder = BatchBuilder::data(compression).producer(
        batch.producer_id(),
        batch.producer_epoch(),
        batch.base_sequence(),
    );
    builder.fields.attributes |= batch.attributes() & TRANSACTIONAL_BIT;
    if batch.timestamp_kind() == TimestampKind::LogAppendTime {
        builder.append_time = Some(batch.max_timestamp());
    }
    builder.bytes.reserve(payload.bytes().len());
    for record in payload.records() {
        let record = record?;
        let delta = builder.fields.last_offset_delta + 1;
        let headers = record
            .headers
            .iter()
            .map(|header| (header.key, header.value));
        builder.push_at(delta, record.timestamp, record.key, record.value, headers);
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests;

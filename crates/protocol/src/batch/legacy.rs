//! Messages of magic 0 and 1, which logs of before Kafka 0.11 hold and nobody writes any more.
//!
//! An outer message is what batches are otherwise: it lies in the log, and its offset is that of the
//! last record in it. If it is compressed its value is a run of inner messages; in magic 1 these count
//! their offsets from the first one, in magic 0 they have them. If not, it is the one record itself.

use std::borrow::Cow;

use super::{
    APPEND_TIME_BIT, CODEC_BITS, CorruptBatch, LEGACY_LENGTH_MIN, LOG_OVERHEAD, NO_TIMESTAMP,
    PREFIX_LEN, Prefix, TimestampKind, peek, truncated, verify_legacy_crc,
};
use crate::compress::{Codec, decompress, decompress_old_lz4};

const AT_ATTRIBUTES: usize = 17;
const AT_TIMESTAMP: usize = 18;

/// A whole outer message.
#[derive(Debug, Clone, Copy)]
pub struct LegacyBatch<'a> {
    bytes: &'a [u8],
    last_offset: i64,
    magic: i8,
    attributes: u8,
    timestamp: i64,
}

type Field<'a> = Option<&'a [u8]>;

/// One record of it, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegacyRecord<'a> {
    pub offset: i64,
    /// What a consumer sees; -1 in magic 0, which has none.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

impl<'a> LegacyBatch<'a> {
    /// The message at the start of `bytes`. Its checksum and its fields are not looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CorruptBatch> {
        let prefix = peek(bytes).ok_or_else(|| truncated(PREFIX_LEN, bytes))??;
        let Prefix {
            offset: last_offset,
            size,
            magic,
        } = prefix;
        if !(0..=1).contains(&magic) {
            return Err(CorruptBatch::Magic { magic });
        }
        let short = || truncated(size, bytes);
        let bytes = bytes.get(..size).ok_or_else(short)?;
        let timestamp = bytes.get(AT_TIMESTAMP..).and_then(<[u8]>::first_chunk);
        Ok(Self {
            bytes,
            last_offset,
            magic,
            attributes: *bytes.get(AT_ATTRIBUTES).ok_or_else(short)?,
            timestamp: match magic {
                0 => NO_TIMESTAMP,
                _ => i64::from_be_bytes(*timestamp.ok_or_else(short)?),
            },
        })
    }

    /// Key and value, if their lengths are within the message.
    fn fields(self) -> Result<(Field<'a>, Field<'a>), CorruptBatch> {
        let at = match self.magic {
            0 => AT_TIMESTAMP,
            _ => AT_TIMESTAMP + 8,
        };
        let mut rest = self.bytes.get(at..).unwrap_or_default();
        let too_long = wrong("a field is longer than the message");
        let key = take_field(&mut rest).ok_or(too_long.clone())?;
        let value = take_field(&mut rest).ok_or(too_long)?;
        Ok((key, value))
    }

    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub fn magic(self) -> i8 {
        self.magic
    }

    pub fn last_offset(self) -> i64 {
        self.last_offset
    }

    /// The largest of its records; -1 in magic 0.
    pub fn max_timestamp(self) -> i64 {
        self.timestamp
    }

    /// Magic 0 has none, and is taken for the producer's.
    pub fn timestamp_kind(self) -> TimestampKind {
        match self.magic {
            1 if self.attributes & APPEND_TIME_BIT != 0 => TimestampKind::LogAppendTime,
            _ => TimestampKind::CreateTime,
        }
    }

    pub fn codec(self) -> Result<Codec, CorruptBatch> {
        let bits = self.attributes & CODEC_BITS;
        // Zstandard came later.
        let codec = Codec::from_bits(bits).filter(|codec| *codec != Codec::Zstd);
        codec.ok_or(CorruptBatch::Codec { bits })
    }

    pub fn verify_crc(self) -> Result<(), CorruptBatch> {
        verify_legacy_crc(self.bytes)
    }

    /// Opens what is in it: at most `limit` bytes.
    pub fn payload(self, limit: usize) -> Result<LegacyPayload<'a>, CorruptBatch> {
        let codec = self.codec()?;
        let bytes = match codec {
            Codec::None => Cow::Borrowed(self.bytes),
            _ => {
                let (_, value) = self.fields()?;
                let packed = value.ok_or(wrong("a compressed message is empty"))?;
                let mut opened = Vec::new();
                match (codec, self.magic) {
                    (Codec::Lz4, 0) => decompress_old_lz4(packed, limit, &mut opened)?,
                    _ => decompress(codec, packed, limit, &mut opened)?,
                }
                Cow::Owned(opened)
            }
        };
        let mut payload = LegacyPayload {
            bytes,
            outer: self,
            is_packed: codec != Codec::None,
            base: 0,
        };
        payload.find_base()?;
        Ok(payload)
    }
}

/// The opened records of an outer message.
#[derive(Debug, Clone)]
pub struct LegacyPayload<'a> {
    bytes: Cow<'a, [u8]>,
    outer: LegacyBatch<'a>,
    is_packed: bool,
    /// What is added to the offsets of inner messages.
    base: i64,
}

impl LegacyPayload<'_> {
    /// In order. A message that cannot be is the last item.
    pub fn records(&self) -> impl Iterator<Item = Result<LegacyRecord<'_>, CorruptBatch>> {
        let mut messages = self.messages();
        let mut is_over = false;
        std::iter::from_fn(move || {
            let message = messages.next().filter(|_| !is_over)?;
            let record = message.and_then(|message| self.record(message));
            is_over = record.is_err();
            Some(record)
        })
    }

    fn record<'p>(&self, inner: LegacyBatch<'p>) -> Result<LegacyRecord<'p>, CorruptBatch> {
        if self.is_packed && inner.codec()? != Codec::None {
            return Err(wrong("an inner message is compressed"));
        }
        let (key, value) = inner.fields()?;
        let offset = inner.last_offset.checked_add(self.base);
        let timestamp = match self.outer.timestamp_kind() {
            TimestampKind::LogAppendTime if inner.magic == 1 => self.outer.timestamp,
            _ => inner.timestamp,
        };
        Ok(LegacyRecord {
            offset: offset.ok_or(wrong("its offset cannot be"))?,
            timestamp,
            key,
            value,
        })
    }

    fn messages(&self) -> Messages<'_> {
        Messages { rest: &self.bytes }
    }

    fn find_base(&mut self) -> Result<(), CorruptBatch> {
        if !self.is_packed {
            return Ok(());
        }
        let mut last = None;
        for message in self.messages() {
            last = Some(message?.last_offset);
        }
        let last = last.ok_or(wrong("a compressed message holds none"))?;
        self.base = match (self.outer.magic, self.outer.last_offset) {
            // Some producers left the outer offset 0.
            (0, _) | (_, 0) => 0,
            (_, outer) if outer < last => {
                return Err(wrong("the last inner offset is beyond the outer one"));
            }
            (_, outer) => outer
                .checked_sub(last)
                .ok_or(wrong("its offsets cannot be"))?,
        };
        Ok(())
    }
}

/// Messages one behind the other; a trailing part of one is left out, as Kafka leaves it.
struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<LegacyBatch<'a>, CorruptBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = i32::from_be_bytes(*self.rest.get(8..)?.first_chunk()?);
        if length < LEGACY_LENGTH_MIN {
            self.rest = &[];
            return Some(Err(CorruptBatch::Length { claimed: length }));
        }
        let size = LOG_OVERHEAD + length as usize;
        let message = self.rest.get(..size)?;
        self.rest = self.rest.get(size..).unwrap_or_default();
        Some(LegacyBatch::parse(message))
    }
}

fn wrong(why: &'static str) -> CorruptBatch {
    CorruptBatch::Record { index: 0, why }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(taken)
}

/// Outer `None`: it is not there.
fn take_field<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    match usize::try_from(i32::from_be_bytes(*take(rest)?)) {
        Err(_) => Some(None),
        Ok(length) => {
            let (taken, behind) = rest.split_at_checked(length)?;
            *rest = behind;
            Some(Some(taken))
        }
    }
}

/// Messages as brokers before 0.11 wrote them: for tests.
#[cfg(any(test, feature = "testing"))]
pub mod written {
    use super::*;
    use crate::compress::{Compression, compress};
    use crc_fast::CrcAlgorithm::Crc32IsoHdlc;

    /// One message. Magic 0 leaves the timestamp out.
    pub fn message(
        magic: i8,
        attributes: u8,
        (offset, timestamp): (i64, i64),
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Vec<u8> {
        let mut covered = vec![magic as u8, attributes];
        if magic == 1 {
            covered.extend(timestamp.to_be_bytes());
        }
        for field in [key, value] {
            let length = field.map_or(-1, |field| field.len() as i32);
            covered.extend(length.to_be_bytes());
            covered.extend(field.unwrap_or_default());
        }
        let crc = crc_fast::checksum(Crc32IsoHdlc, &covered) as u32;
        let mut bytes = offset.to_be_bytes().to_vec();
        bytes.extend((covered.len() as i32 + 4).to_be_bytes());
        bytes.extend(crc.to_be_bytes());
        bytes.extend(covered);
        bytes
    }

    /// Gives a message the checksum that its bytes have.
    pub fn repair(message: &mut [u8]) {
        if let Some((_, rest)) = message.split_at_mut_checked(LOG_OVERHEAD)
            && let Some((stored, covered)) = rest.split_first_chunk_mut()
        {
            *stored = (crc_fast::checksum(Crc32IsoHdlc, covered) as u32).to_be_bytes();
        }
    }

    /// Inner messages in an outer one, which has the offset and the time of the last of them.
    pub fn packed(
        magic: i8,
        codec: Codec,
        (offset, timestamp): (i64, i64),
        inner: &[u8],
    ) -> Vec<u8> {
        let mut value = Vec::new();
        compress(Compression::from(codec), inner, &mut value);
        message(magic, codec.bits(), (offset, timestamp), None, Some(&value))
    }
}

#[cfg(test)]
mod tests {
    use super::written::{message, packed};
    use super::*;

    /// Offset, time, key, value.
    type Told = (i64, i64, String, Option<String>);

    fn records(bytes: &[u8]) -> Result<Vec<Told>, CorruptBatch> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let batch = LegacyBatch::parse(bytes)?;
        batch.verify_crc()?;
        let payload = batch.payload(1 << 20)?;
        let all = payload.records().map(|record| {
            let LegacyRecord {
                offset,
                timestamp,
                key,
                value,
            } = record?;
            Ok((
                offset,
                timestamp,
                text(key.unwrap_or(b"-")),
                value.map(text),
            ))
        });
        all.collect()
    }

    #[test]
    fn a_message_is_its_own_record() {
        let bytes = message(0, 0, (7, 99), Some(b"k"), Some(b"v"));
        assert_eq!(bytes.len(), 28);
        assert_eq!(
            records(&bytes).unwrap(),
            [(7, -1, "k".into(), Some("v".into()))]
        );
        let bytes = message(1, 0, (7, 99), None, None);
        assert_eq!(records(&bytes).unwrap(), [(7, 99, "-".into(), None)]);
        let batch = LegacyBatch::parse(&bytes).unwrap();
        assert_eq!(
            (batch.magic(), batch.last_offset(), batch.max_timestamp()),
            (1, 7, 99)
        );
        assert_eq!(batch.timestamp_kind(), TimestampKind::CreateTime);
    }

    #[test]
    fn inner_offsets_count_from_the_first_one_in_magic_1() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            for (magic, outer, expected) in [(1, 12, [10, 12]), (1, 0, [0, 2]), (0, 12, [0, 2])] {
                let mut inner = message(magic, 0, (0, 50), Some(b"a"), Some(b"1"));
                inner.extend(message(magic, 0, (2, 60), Some(b"b"), None));
                // Of a third one there is only a part.
                inner.extend(&message(magic, 0, (3, 60), None, None)[..20]);
                let bytes = packed(magic, codec, (outer, 60), &inner);
                let found = records(&bytes).unwrap();
                assert_eq!(found.iter().map(|it| it.0).collect::<Vec<_>>(), expected);
                let times: Vec<i64> = found.iter().map(|it| it.1).collect();
                assert_eq!(times, if magic == 1 { [50, 60] } else { [-1, -1] });
            }
        }
    }

    #[test]
    fn the_leader_s_time_is_that_of_all() {
        let inner = message(1, 0, (0, 50), Some(b"a"), Some(b"1"));
        let mut value = Vec::new();
        crate::compress::compress(Codec::Gzip.into(), &inner, &mut value);
        let bits = APPEND_TIME_BIT | Codec::Gzip.bits();
        let bytes = message(1, bits, (4, 777), None, Some(&value));
        assert_eq!(records(&bytes).unwrap()[0].1, 777);
    }

    /// The first producers computed the checksum of the frame's header over the wrong bytes.
    #[test]
    fn lz4_of_magic_0_has_any_checksum_in_its_header() {
        let inner = message(0, 0, (4, 0), Some(b"a"), Some(b"1"));
        let mut value = Vec::new();
        crate::compress::compress(Codec::Lz4.into(), &inner, &mut value);
        value[6] ^= 0xff;
        let of = |magic| message(magic, Codec::Lz4.bits(), (4, 0), None, Some(&value));
        assert_eq!(records(&of(0)).unwrap().len(), 1);
        assert!(records(&of(1)).is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let good = message(1, 0, (7, 99), Some(b"key"), Some(b"value"));
        for length in 0..good.len() {
            assert!(records(&good[..length]).is_err(), "{length}");
        }
        let mut long_key = good.clone();
        long_key[26..30].copy_from_slice(&1000i32.to_be_bytes());
        let long_key = LegacyBatch::parse(&long_key).unwrap();
        assert!(
            long_key
                .payload(1000)
                .unwrap()
                .records()
                .next()
                .unwrap()
                .is_err()
        );
        let in_packed = |inner: &[u8]| packed(1, Codec::Gzip, (5, 0), inner);
        assert!(records(&in_packed(b"")).is_err());
        assert!(records(&in_packed(&message(1, 0, (6, 0), None, None))).is_err());
        assert!(records(&in_packed(&message(1, 1, (1, 0), None, None))).is_err());
        assert!(records(&message(1, 4, (1, 0), None, Some(b"zstd"))).is_err());
        assert!(records(&message(1, 1, (1, 0), None, None)).is_err());
        assert!(matches!(
            LegacyBatch::parse(&[0; 40]),
            Err(CorruptBatch::Length { .. })
        ));
    }
}

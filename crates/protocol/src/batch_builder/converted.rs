//! What compaction makes of messages of magic 0 and 1: batches of magic 2, as Kafka does.
//!
//! Records keep offset, time, key and value, and the codec stays.

use std::borrow::Cow;

use bytes::Bytes;

use super::BatchBuilder;
use crate::batch::legacy::{LegacyBatch, LegacyPayload, LegacyRecord};
use crate::batch::{CorruptBatch, DELETE_HORIZON_BIT, OPENED_BYTES_MAX, TimestampKind, peek};
use crate::compress::Codec;

/// A batch of those of its records that `keep` picks; `None` if it picks none. With a
/// `delete_horizon` its tombstones may go from that time on. `payload` is the message's own.
pub fn converted(
    batch: LegacyBatch<'_>,
    payload: &LegacyPayload<'_>,
    delete_horizon: Option<i64>,
    mut keep: impl FnMut(&LegacyRecord<'_>) -> bool,
) -> Result<Option<Bytes>, CorruptBatch> {
    let mut builder: Option<BatchBuilder> = None;
    for (index, record) in (0..).zip(payload.records()) {
        let record = record?;
        if !keep(&record) {
            continue;
        }
        let builder = match &mut builder {
            Some(builder) => builder,
            none => none.insert(begin(batch, record.offset, delete_horizon)?),
        };
        let delta = record.offset.checked_sub(builder.fields.base_offset);
        let follows = |delta: &i32| *delta > builder.fields.last_offset_delta;
        let delta = delta
            .and_then(|delta| i32::try_from(delta).ok())
            .filter(follows)
            .ok_or(CorruptBatch::Record {
                index,
                why: "its offset does not follow the one before",
            })?;
        let none = std::iter::empty();
        builder.push_at(delta, record.timestamp, record.key, record.value, none);
    }
    Ok(builder.map(BatchBuilder::finish))
}

/// A run of batches with its messages of old formats as batches of magic 2, for those who read records.
/// Of what is not whole at its end nothing is changed.
pub fn modern(bytes: &[u8]) -> Result<Cow<'_, [u8]>, CorruptBatch> {
    let mut all = Cow::Borrowed(bytes);
    let mut at = 0;
    while let Some(Ok(prefix)) = peek(bytes.get(at..).unwrap_or_default()) {
        let Some(whole) = bytes.get(at..at + prefix.size) else {
            break;
        };
        if prefix.magic < 2 {
            let batch = LegacyBatch::parse(whole)?;
            let payload = batch.payload(OPENED_BYTES_MAX)?;
            let before = bytes.get(..at).unwrap_or_default();
            let all = match &mut all {
                Cow::Owned(all) => all,
                borrowed => {
                    *borrowed = Cow::Owned(before.to_vec());
                    borrowed.to_mut()
                }
            };
            all.extend(converted(batch, &payload, None, |_| true)?.unwrap_or_default());
        } else if let Cow::Owned(all) = &mut all {
            all.extend_from_slice(whole);
        }
        at += prefix.size;
    }
    if let Cow::Owned(all) = &mut all {
        all.extend_from_slice(bytes.get(at..).unwrap_or_default());
    }
    Ok(all)
}

fn begin(
    batch: LegacyBatch<'_>,
    base_offset: i64,
    delete_horizon: Option<i64>,
) -> Result<BatchBuilder, CorruptBatch> {
    let mut builder = BatchBuilder::data(batch.codec()?).base_offset(base_offset);
    if batch.timestamp_kind() == TimestampKind::LogAppendTime {
        builder = builder.append_time(batch.max_timestamp());
    }
    if let Some(horizon) = delete_horizon {
        builder.fields.attributes |= DELETE_HORIZON_BIT;
        builder.base_timestamp = Some(horizon);
    }
    Ok(builder)
}

/// An empty batch in the place of the last record of a message.
pub fn hollow(batch: LegacyBatch<'_>) -> Bytes {
    let mut builder = BatchBuilder::data(Codec::None).base_offset(batch.last_offset());
    builder.fields.last_offset_delta = 0;
    builder.fields.max_timestamp = batch.max_timestamp();
    if batch.timestamp_kind() == TimestampKind::LogAppendTime {
        builder = builder.append_time(batch.max_timestamp());
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::batch::legacy::written::{message, packed};

    fn convert(bytes: &[u8], horizon: Option<i64>, keeps: impl Fn(i64) -> bool) -> Option<Bytes> {
        let batch = LegacyBatch::parse(bytes).unwrap();
        let payload = batch.payload(1 << 20).unwrap();
        converted(batch, &payload, horizon, |record| keeps(record.offset)).unwrap()
    }

    fn inner() -> Vec<u8> {
        let mut inner = message(1, 0, (0, 50), Some(b"a"), Some(b"1"));
        inner.extend(message(1, 0, (1, 70), Some(b"b"), None));
        inner.extend(message(1, 0, (4, 60), Some(b"c"), Some(b"3")));
        inner
    }

    #[test]
    fn records_are_where_and_when_they_were() {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let bytes = packed(1, codec, (104, 70), &inner());
            let bytes = convert(&bytes, None, |offset| offset != 100).unwrap();
            let batch = Batch::parse(&bytes).unwrap();
            batch.verify_crc().unwrap();
            assert_eq!(batch.codec().unwrap(), codec);
            assert_eq!((batch.base_offset(), batch.last_offset()), (101, 104));
            assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (70, 70));
            assert_eq!((batch.leader_epoch(), batch.producer_id()), (-1, -1));
            let payload = batch.payload(1 << 20).unwrap();
            let found: Vec<_> = payload.records().map(Result::unwrap).collect();
            assert_eq!(
                (found[0].offset, found[0].timestamp, found[0].value),
                (101, 70, None)
            );
            assert_eq!((found[1].offset, found[1].timestamp), (104, 60));
            assert_eq!(found[1].key, Some(&b"c"[..]));
        }
        assert_eq!(
            convert(&message(1, 0, (7, 1), None, None), None, |_| false),
            None
        );
    }

    #[test]
    fn what_has_no_time_gets_none() {
        let bytes = message(0, 0, (7, 99), Some(b"a"), Some(b"1"));
        let bytes = convert(&bytes, None, |_| true).unwrap();
        let batch = Batch::parse(&bytes).unwrap();
        assert_eq!(batch.timestamp_kind(), TimestampKind::CreateTime);
        assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (-1, -1));
        assert_eq!((batch.base_offset(), batch.last_offset()), (7, 7));
    }

    #[test]
    fn tombstones_get_a_horizon_and_the_leader_s_time_stays() {
        let bytes = message(1, 0b1000, (7, 99), Some(b"a"), None);
        let bytes = convert(&bytes, Some(5000), |_| true).unwrap();
        let batch = Batch::parse(&bytes).unwrap();
        assert_eq!(batch.delete_horizon(), Some(5000));
        assert_eq!(batch.timestamp_kind(), TimestampKind::LogAppendTime);
        assert_eq!(batch.max_timestamp(), 99);
        let empty = hollow(LegacyBatch::parse(&message(1, 0, (7, 99), None, None)).unwrap());
        let empty = Batch::parse(&empty).unwrap();
        empty.verify_crc().unwrap();
        assert_eq!(
            (empty.base_offset(), empty.last_offset(), empty.n_records()),
            (7, 7, 0)
        );
        assert_eq!(empty.max_timestamp(), 99);
    }

    #[test]
    fn offsets_that_go_back_are_refused() {
        let mut inner = message(0, 0, (9, 0), None, Some(b"1"));
        inner.extend(message(0, 0, (8, 0), None, Some(b"2")));
        let bytes = packed(0, Codec::Gzip, (9, 0), &inner);
        let batch = LegacyBatch::parse(&bytes).unwrap();
        let payload = batch.payload(1 << 20).unwrap();
        assert!(converted(batch, &payload, None, |_| true).is_err());
        assert!(converted(batch, &payload, None, |record| record.offset == 8).is_ok());
    }

    #[test]
    fn a_run_of_all_formats_is_read_as_one() {
        let old = [
            message(0, 0, (3, 0), Some(b"a"), Some(b"1")),
            packed(1, Codec::Gzip, (8, 60), &inner()),
        ];
        let new = convert(&message(1, 0, (9, 5), None, Some(b"2")), None, |_| true).unwrap();
        let plain = [&new[..], &new[..7]].concat();
        assert!(matches!(modern(&plain), Ok(Cow::Borrowed(same)) if same == plain));
        for run in [
            [&old[0][..], &old[1], &new, &new[..30]].concat(),
            [&new[..], &old[0], &old[1], &new[..30]].concat(),
        ] {
            let made = modern(&run).unwrap();
            assert!(made.ends_with(&new[..30]));
            let found = crate::batch::batches(&made).map(Result::unwrap);
            let n_records: i32 = found.map(|batch| batch.n_records()).sum();
            assert_eq!(n_records, 5);
        }
        let mut broken = old[1].clone();
        broken.truncate(40);
        broken[8..12].copy_from_slice(&28i32.to_be_bytes());
        assert!(modern(&broken).is_err());
    }
}

//! What compaction leaves of a batch: some of its records, or nothing but its header.
//!
//! Offsets, sequences, codec and flags stay what they were, so that a reader finds every record
//! under the offset that it always had, and a producer's last sequence outlives its records.

use bytes::Bytes;

use super::BatchBuilder;
use crate::batch::{
    APPEND_TIME_BIT, Batch, CONTROL_BIT, CorruptBatch, DELETE_HORIZON_BIT, HEADER_LEN, Header,
    HeaderFields, NO_TIMESTAMP, Payload, Record, TRANSACTIONAL_BIT, TimestampKind,
};

/// The flags that every rewrite keeps.
const KEPT_BITS: u8 = APPEND_TIME_BIT | TRANSACTIONAL_BIT | CONTROL_BIT;

/// The batch with those of its records that `keep` picks, at their offsets, in its codec.
///
/// With a `delete_horizon` its tombstones or its marker may go from that time on: the header says
/// so in place of the base timestamp. `payload` is the batch's own.
pub fn survivors(
    batch: Batch<'_>,
    payload: &Payload<'_>,
    delete_horizon: Option<i64>,
    mut keep: impl FnMut(&Record<'_>) -> bool,
) -> Result<Bytes, CorruptBatch> {
    let mut builder = BatchBuilder::data(batch.codec()?)
        .base_offset(batch.base_offset())
        .leader_epoch(batch.leader_epoch())
        .producer(
            batch.producer_id(),
            batch.producer_epoch(),
            batch.base_sequence(),
        );
    builder.fields.attributes |= batch.attributes() & KEPT_BITS;
    if batch.timestamp_kind() == TimestampKind::LogAppendTime {
        builder.append_time = Some(batch.max_timestamp());
    }
    if let Some(horizon) = delete_horizon {
        builder.fields.attributes |= DELETE_HORIZON_BIT;
        builder.base_timestamp = Some(horizon);
    }
    for record in payload.records() {
        let record = record?;
        if keep(&record) {
            let headers = record
                .headers
                .iter()
                .map(|header| (header.key, header.value));
            let (delta, timestamp) = (record.offset_delta, record.timestamp);
            builder.push_at(delta, timestamp, record.key, record.value, headers);
        }
    }
    builder.fields.last_offset_delta = batch.last_offset_delta();
    Ok(builder.finish())
}

/// The batch without any record: what keeps a producer's last sequence, or the end of a log, known.
pub fn emptied(batch: Header<'_>) -> Bytes {
    let mut bytes = vec![0; HEADER_LEN];
    let fields = HeaderFields {
        base_offset: batch.base_offset(),
        leader_epoch: batch.leader_epoch(),
        attributes: batch.attributes() & KEPT_BITS,
        last_offset_delta: batch.last_offset_delta(),
        base_timestamp: NO_TIMESTAMP,
        max_timestamp: batch.max_timestamp(),
        producer_id: batch.producer_id(),
        producer_epoch: batch.producer_epoch(),
        base_sequence: batch.base_sequence(),
        n_records: 0,
    };
    fields.write(&mut bytes);
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compress::Codec;

    fn batch(codec: Codec) -> Bytes {
        let mut builder = BatchBuilder::data(codec)
            .base_offset(100)
            .leader_epoch(7)
            .producer(5, 2, 40)
            .transactional();
        for i in 0..10 {
            let key = format!("k{i}");
            let value = format!("v{i}");
            let value = (i != 3).then_some(value.as_bytes());
            let headers: &[super::super::NewHeader<'_>] = &[(b"h", Some(b"x")), (b"n", None)];
            builder.push_with_headers(1000 + i, Some(key.as_bytes()), value, headers);
        }
        builder.finish()
    }

    fn rebuilt(bytes: &[u8], horizon: Option<i64>, keep: impl Fn(i64) -> bool) -> Bytes {
        let batch = Batch::parse(bytes).unwrap();
        let payload = batch.payload(1 << 20).unwrap();
        survivors(batch, &payload, horizon, |record| keep(record.offset)).unwrap()
    }

    #[test]
    fn what_survives_is_where_it_was() {
        for codec in [
            Codec::None,
            Codec::Gzip,
            Codec::Snappy,
            Codec::Lz4,
            Codec::Zstd,
        ] {
            let original = batch(codec);
            let bytes = rebuilt(&original, None, |offset| offset == 103 || offset == 105);
            let (before, after) = (
                Batch::parse(&original).unwrap(),
                Batch::parse(&bytes).unwrap(),
            );
            after.verify_crc().unwrap();
            assert_eq!(after.codec().unwrap(), codec);
            assert_eq!((after.base_offset(), after.last_offset()), (100, 109));
            assert_eq!(after.last_sequence(), before.last_sequence());
            assert_eq!((after.leader_epoch(), after.n_records()), (7, 2));
            assert_eq!(
                (after.base_timestamp(), after.max_timestamp()),
                (1003, 1005)
            );
            assert!(after.is_transactional() && !after.has_delete_horizon());
            let payload = after.payload(1 << 20).unwrap();
            let records: Vec<_> = payload.records().map(Result::unwrap).collect();
            let (first, second) = (records[0], records[1]);
            assert_eq!(
                (first.offset, first.timestamp, first.value),
                (103, 1003, None)
            );
            assert_eq!((second.offset, second.key), (105, Some(&b"k5"[..])));
            assert_eq!(second.headers.len(), 2);
        }
    }

    #[test]
    fn a_delete_horizon_takes_the_place_of_the_base_timestamp_only() {
        let bytes = rebuilt(&batch(Codec::None), Some(999_999), |offset| offset < 105);
        let after = Batch::parse(&bytes).unwrap();
        assert_eq!(after.delete_horizon(), Some(999_999));
        assert_eq!(after.max_timestamp(), 1004);
        let payload = after.payload(1 << 20).unwrap();
        let times: Vec<i64> = payload.records().map(|it| it.unwrap().timestamp).collect();
        assert_eq!(times, [1000, 1001, 1002, 1003, 1004]);
        // Once set it is kept by later rewrites, and goes with the last record.
        let again = rebuilt(&bytes, after.delete_horizon(), |offset| offset == 103);
        assert_eq!(
            Batch::parse(&again).unwrap().delete_horizon(),
            Some(999_999)
        );
        let empty = emptied(after.header());
        let empty = Batch::parse(&empty).unwrap();
        empty.verify_crc().unwrap();
        assert!(!empty.has_delete_horizon());
    }

    #[test]
    fn an_emptied_batch_is_its_header() {
        let original = batch(Codec::Zstd);
        let before = Batch::parse(&original).unwrap();
        let bytes = emptied(before.header());
        assert_eq!(bytes.len(), HEADER_LEN);
        let after = Batch::parse(&bytes).unwrap();
        after.verify_crc().unwrap();
        assert_eq!(after.codec().unwrap(), Codec::None);
        assert_eq!((after.base_offset(), after.last_offset()), (100, 109));
        assert_eq!((after.n_records(), after.base_timestamp()), (0, -1));
        assert_eq!(after.max_timestamp(), before.max_timestamp());
        assert_eq!(after.last_sequence(), before.last_sequence());
        assert_eq!((after.producer_id(), after.producer_epoch()), (5, 2));
        assert_eq!(after.payload(1).unwrap().records().count(), 0);
    }

    #[test]
    fn append_time_stays_one_time_for_all() {
        let mut builder = BatchBuilder::data(Codec::None).append_time(5000);
        builder.push(1, Some(b"a"), Some(b"1"));
        builder.push(2, Some(b"b"), None);
        let bytes = rebuilt(&builder.finish(), Some(9000), |offset| offset == 1);
        let after = Batch::parse(&bytes).unwrap();
        assert_eq!(after.timestamp_kind(), TimestampKind::LogAppendTime);
        assert_eq!(after.max_timestamp(), 5000);
        let payload = after.payload(1 << 20).unwrap();
        assert_eq!(payload.records().next().unwrap().unwrap().timestamp, 5000);
    }
}

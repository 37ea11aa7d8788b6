//! The Produce requests of a connection. [`SameRecords`]: one batch, built once; what changes from
//! one request to the next is stamped into its first bytes, and the records are shared by all
//! connections. [`StampedRecords`]: small ones, built anew each time, that tell when they were due.
//!
//! Sent as version 8, the last without fields of changing width: everything that is stamped has a
//! fixed place, and nothing follows the records. Every broker from 2.4 on takes it.

use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use ottla_protocol::batch::{HEADER_LEN, stamp_producer};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::{Codec, Compression};
use ottla_protocol::header::request_frame;
use ottla_protocol::messages::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla_protocol::{Text, Uuid};

use super::schedule::Nanos;
use super::tally::Amount;
use super::wire::Outgoing;

pub(super) const PRODUCE_VERSION: i16 = 8;

/// What a record takes in a batch beside its value: lengths, attributes, offset, time.
pub(super) const RECORD_OVERHEAD: usize = 21;
/// A batch is one message to the broker, and nobody's limit is larger than this (1 GiB would be
/// the protocol's).
pub(super) const BATCH_BYTES_MAX: usize = 64 << 20;

const AT_CORRELATION_ID: usize = 8;
/// Before the batch: its length, and before that the partition.
const PARTITION_BEFORE_BATCH: usize = 8;

/// Records as the broker gets them, and what is in them.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) batch: Bytes,
    pub(super) n_records: u64,
    /// Bytes of the values, before compression.
    pub(super) value_bytes: u64,
}

impl Load {
    /// As many records of this size as fit into a batch before it is compressed, at least one.
    pub(super) fn build(
        record_size: usize,
        batch_size: usize,
        compression: Compression,
    ) -> anyhow::Result<Self> {
        let largest = batch_size.max(record_size.saturating_add(HEADER_LEN + RECORD_OVERHEAD));
        check_size(largest)?;
        let mut letters = Letters::new();
        let mut builder = BatchBuilder::data(compression);
        let mut value = vec![0; record_size];
        let mut n_records = 0;
        while n_records == 0 || builder.size() + record_size + RECORD_OVERHEAD <= batch_size {
            letters.fill(&mut value);
            builder.push(0, None, Some(&value));
            n_records += 1;
        }
        Ok(Self {
            batch: builder.finish(),
            n_records,
            value_bytes: n_records * record_size as u64,
        })
    }

    /// So many records of this size, which belong to a transaction.
    pub(super) fn transactional(record_size: usize, n_records: u64) -> anyhow::Result<Self> {
        let each = record_size.saturating_add(RECORD_OVERHEAD);
        let n = usize::try_from(n_records).unwrap_or(usize::MAX);
        check_size(each.saturating_mul(n).saturating_add(HEADER_LEN))?;
        let mut letters = Letters::new();
        let mut builder = BatchBuilder::data(Codec::None).transactional();
        let mut value = vec![0; record_size];
        for _ in 0..n_records {
            letters.fill(&mut value);
            builder.push(0, None, Some(&value));
        }
        Ok(Self {
            batch: builder.finish(),
            n_records,
            value_bytes: n_records * record_size as u64,
        })
    }
}

fn check_size(n_bytes: usize) -> anyhow::Result<()> {
    ensure!(
        n_bytes <= BATCH_BYTES_MAX,
        "a batch of {n_bytes} bytes is too large: at most {BATCH_BYTES_MAX} go into one"
    );
    Ok(())
}

/// Capital letters by chance, as Kafka's own load tool sends them: what compresses to half. The
/// same in each run.
#[derive(Debug)]
pub(super) struct Letters {
    state: u64,
}

impl Letters {
    pub(super) fn new() -> Self {
        Self {
            state: 0x9e37_79b9_7f4a_7c15,
        }
    }

    pub(super) fn fill(&mut self, value: &mut [u8]) {
        for byte in value {
            // Marsaglia's xorshift.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            *byte = b'A' + (self.state >> 33) as u8 % 26;
        }
    }
}

/// What all requests of a connection say.
#[derive(Debug, Clone)]
pub(super) struct Sending {
    pub(super) client_id: Text,
    pub(super) topic: Text,
    pub(super) acks: i16,
    pub(super) timeout_ms: i32,
}

impl Sending {
    fn frame(&self, correlation_id: i32, partition: i32, batch: Bytes) -> anyhow::Result<Bytes> {
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.acks,
            timeout_ms: self.timeout_ms,
            topic_data: vec![TopicProduceData {
                name: self.topic.clone(),
                topic_id: Uuid::ZERO,
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Some(batch),
                }],
            }],
        };
        let client_id = Some(self.client_id.clone());
        request_frame(&request, PRODUCE_VERSION, correlation_id, client_id)
            .context("the request cannot be written")
    }
}

/// What changes from one request to the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) correlation_id: i32,
    pub(super) partition: i32,
    /// When it is due, on the clock of the run and on that of the world.
    pub(super) due: Nanos,
    pub(super) wall_ms: i64,
    /// Id, epoch, and the sequence of the first record.
    pub(super) producer: (i64, i16, i32),
}

/// Where the requests of a connection come from.
#[derive(Debug)]
pub(super) enum Cargo {
    Same(SameRecords),
    Stamped(StampedRecords),
}

impl Cargo {
    /// Put the next request on its way; how much it is.
    pub(super) fn load(
        &mut self,
        outgoing: &mut Outgoing,
        stamp: &Stamp,
    ) -> anyhow::Result<Amount> {
        match self {
            Self::Same(same) => Ok(same.load(outgoing, stamp)),
            Self::Stamped(stamped) => stamped.load(outgoing, stamp),
        }
    }

    pub(super) fn n_records(&self) -> u64 {
        match self {
            Self::Same(same) => same.amount.records,
            Self::Stamped(stamped) => stamped.n_records,
        }
    }
}

/// The same records again and again.
#[derive(Debug)]
pub(super) struct SameRecords {
    /// Everything up to the records, the batch's header included.
    head: Vec<u8>,
    records: Arc<[u8]>,
    amount: Amount,
}

impl SameRecords {
    /// `records` is the batch without its header, shared by all connections.
    pub(super) fn new(sending: &Sending, load: &Load, records: &Arc<[u8]>) -> anyhow::Result<Self> {
        let frame = sending.frame(0, 0, load.batch.clone())?;
        let n_head = frame.len() - records.len();
        Ok(Self {
            head: frame.get(..n_head).unwrap_or_default().to_vec(),
            records: Arc::clone(records),
            amount: Amount {
                requests: 1,
                records: load.n_records,
                bytes: load.batch.len() as u64,
                value_bytes: load.value_bytes,
            },
        })
    }

    fn load(&mut self, outgoing: &mut Outgoing, stamp: &Stamp) -> Amount {
        let at_batch = self.head.len().saturating_sub(HEADER_LEN);
        put(&mut self.head, AT_CORRELATION_ID, stamp.correlation_id);
        let at_partition = at_batch.saturating_sub(PARTITION_BEFORE_BATCH);
        put(&mut self.head, at_partition, stamp.partition);
        if let Some(header) = self.head.get_mut(at_batch..) {
            stamp_producer(header, stamp.wall_ms, stamp.producer);
        }
        outgoing.load(&self.head, Some(&self.records));
        self.amount
    }
}

/// Records that say when they were due, and in which run: each batch is built anew.
#[derive(Debug)]
pub(super) struct StampedRecords {
    sending: Sending,
    run: u64,
    value: Vec<u8>,
    n_records: u64,
}

/// Of the run, and of the moment.
pub(super) const STAMP_BYTES: usize = 16;

impl StampedRecords {
    /// A record has at least [`STAMP_BYTES`].
    pub(super) fn new(sending: Sending, run: u64, record_size: usize, n_records: u64) -> Self {
        let mut value = vec![0; record_size.max(STAMP_BYTES)];
        Letters::new().fill(&mut value);
        Self {
            sending,
            run,
            value,
            n_records,
        }
    }

    fn load(&mut self, outgoing: &mut Outgoing, stamp: &Stamp) -> anyhow::Result<Amount> {
        let stamps = [self.run.to_be_bytes(), stamp.due.to_be_bytes()].concat();
        if let Some(place) = self.value.get_mut(..STAMP_BYTES) {
            place.copy_from_slice(&stamps);
        }
        let (id, epoch, sequence) = stamp.producer;
        let mut builder = BatchBuilder::data(Codec::None).producer(id, epoch, sequence);
        for _ in 0..self.n_records {
            builder.push(stamp.wall_ms, None, Some(&self.value));
        }
        let batch = builder.finish();
        let amount = Amount {
            requests: 1,
            records: self.n_records,
            bytes: batch.len() as u64,
            value_bytes: self.n_records * self.value.len() as u64,
        };
        let frame = self
            .sending
            .frame(stamp.correlation_id, stamp.partition, batch)?;
        outgoing.load(&frame, None);
        Ok(amount)
    }
}

/// When a record was due, if it is one of this run.
pub(super) fn read_stamp(value: &[u8], run: u64) -> Option<Nanos> {
    let (its_run, rest) = value.split_first_chunk()?;
    let due = rest.first_chunk()?;
    (u64::from_be_bytes(*its_run) == run).then(|| u64::from_be_bytes(*due))
}

fn put(bytes: &mut [u8], at: usize, value: i32) {
    if let Some(place) = bytes.get_mut(at..at + size_of::<i32>()) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::batch::{Batch, OPENED_BYTES_MAX};
    use ottla_protocol::header::RequestStart;
    use ottla_protocol::{Message, Reader, Versioned};

    #[test]
    fn batches_are_as_full_as_they_may_be() {
        for (record_size, batch_size, n_records) in [
            (100, 0, 1),
            (100, 1000, 8),
            (1024, 65536, 63),
            (100_000, 1000, 1),
            (1, 0, 1),
        ] {
            let load = Load::build(record_size, batch_size, Codec::None.into()).unwrap();
            assert_eq!(load.n_records, n_records, "{record_size} {batch_size}");
            assert_eq!(load.value_bytes, n_records * record_size as u64);
            let batch = Batch::parse(&load.batch).unwrap();
            batch.verify_crc().unwrap();
            assert_eq!(batch.n_records() as u64, n_records);
            assert!(load.batch.len() <= batch_size.max(record_size + 100));
        }
    }

    #[test]
    fn compressed_batches_shrink_by_what_letters_allow() {
        let plain = Load::build(1024, 65536, Codec::None.into()).unwrap();
        for codec in [Codec::Gzip, Codec::Zstd] {
            let load = Load::build(1024, 65536, codec.into()).unwrap();
            assert_eq!(load.n_records, plain.n_records);
            let (small, large) = (load.batch.len(), plain.batch.len());
            assert!(
                small < large * 8 / 10 && small > large / 2,
                "{codec:?}: {small}"
            );
        }
    }

    #[test]
    fn what_no_broker_takes_is_not_built() {
        for (record_size, batch_size) in [(usize::MAX, 0), (0, usize::MAX), (BATCH_BYTES_MAX, 0)] {
            let why = Load::build(record_size, batch_size, Codec::None.into()).unwrap_err();
            assert!(why.to_string().contains("is too large"), "{why}");
        }
    }

    #[test]
    fn a_transactions_batch_has_as_many_records_as_it_should() {
        for (record_size, n_records) in [(100, 1), (0, 7), (1000, 64)] {
            let load = Load::transactional(record_size, n_records).unwrap();
            assert_eq!(load.value_bytes, n_records * record_size as u64);
            let batch = Batch::parse(&load.batch).unwrap();
            batch.verify_crc().unwrap();
            assert!(batch.is_transactional());
            assert_eq!(batch.n_records() as u64, n_records);
        }
        for (record_size, n_records) in [(1 << 20, 64), (usize::MAX, 1), (1, u64::MAX)] {
            let why = Load::transactional(record_size, n_records).unwrap_err();
            assert!(why.to_string().contains("is too large"), "{why}");
        }
    }

    fn sending() -> Sending {
        Sending {
            client_id: Text::from_static("me"),
            topic: Text::from_static("t"),
            acks: -1,
            timeout_ms: 30_000,
        }
    }

    /// The batch that a broker finds in what goes out.
    fn arrived(outgoing: &Outgoing, stamp: &Stamp) -> Bytes {
        let sent = Bytes::from(outgoing.bytes());
        let mut reader = Reader::new(sent.slice(4..));
        let start = RequestStart::decode(&mut reader).unwrap();
        let version = ProduceRequest::version(PRODUCE_VERSION);
        assert_eq!((start.api_key, start.api_version), (0, 8));
        assert_eq!(start.correlation_id, stamp.correlation_id);
        start.rest(&mut reader, version.flexible).unwrap();
        let request = ProduceRequest::decode(&mut reader, version).unwrap();
        reader.end("ProduceRequest").unwrap();
        assert_eq!((request.acks, request.timeout_ms), (-1, 30_000));
        let topic = &request.topic_data[0];
        let partition = &topic.partition_data[0];
        assert_eq!((&*topic.name, partition.index), ("t", stamp.partition));
        let bytes = partition.records.clone().unwrap();
        let batch = Batch::parse(&bytes).unwrap();
        batch.verify_crc().unwrap();
        let (id, epoch, sequence) = stamp.producer;
        assert_eq!((batch.producer_id(), batch.producer_epoch()), (id, epoch));
        assert_eq!(batch.base_sequence(), sequence);
        let payload = batch.payload(OPENED_BYTES_MAX).unwrap();
        assert!(
            payload
                .records()
                .all(|record| record.unwrap().timestamp == stamp.wall_ms)
        );
        bytes
    }

    fn stamps() -> impl Iterator<Item = Stamp> {
        (1..4).map(|n| Stamp {
            correlation_id: n,
            partition: 10 + n,
            due: 5_000 + n as u64,
            wall_ms: 1_000 + i64::from(n),
            producer: (7, 3, n * 100),
        })
    }

    #[test]
    fn the_same_records_go_again_with_another_stamp() {
        let load = Load::build(50, 1000, Codec::Lz4.into()).unwrap();
        let records: Arc<[u8]> = load.batch.slice(HEADER_LEN..).to_vec().into();
        let mut cargo = Cargo::Same(SameRecords::new(&sending(), &load, &records).unwrap());
        let mut outgoing = Outgoing::default();
        for stamp in stamps() {
            let amount = cargo.load(&mut outgoing, &stamp).unwrap();
            let bytes = arrived(&outgoing, &stamp);
            assert_eq!(amount.bytes, bytes.len() as u64);
            assert_eq!(
                (amount.records, amount.value_bytes),
                (load.n_records, load.value_bytes)
            );
            assert_eq!(bytes.slice(HEADER_LEN..), load.batch.slice(HEADER_LEN..));
        }
    }

    #[test]
    fn stamped_records_tell_when_they_were_due() {
        let mut cargo = Cargo::Stamped(StampedRecords::new(sending(), 99, 40, 2));
        let mut outgoing = Outgoing::default();
        for stamp in stamps() {
            let amount = cargo.load(&mut outgoing, &stamp).unwrap();
            let bytes = arrived(&outgoing, &stamp);
            assert_eq!((amount.records, amount.value_bytes), (2, 80));
            assert_eq!(amount.bytes, bytes.len() as u64);
            let batch = Batch::parse(&bytes).unwrap();
            for record in batch.payload(OPENED_BYTES_MAX).unwrap().records() {
                let value = record.unwrap().value.unwrap().to_vec();
                assert_eq!(read_stamp(&value, 99), Some(stamp.due));
                assert_eq!(read_stamp(&value, 98), None);
                assert_eq!(read_stamp(&value[..15], 99), None);
            }
        }
    }
}

//! Check a batch before it enters a log as its leader, and stamp it when it does.
//!
//! Two steps, because one lock guards a partition: [`check`] does everything that needs no lock and
//! reads each byte once for the CRC and once for the records; [`assign`], under the lock, writes
//! offsets, epoch and time into the batch's own 61 bytes of header and touches nothing else. Only a
//! batch whose records must be encoded anew (another codec, offsets with gaps) is copied.
//!
//! What followers append is the leader's, verbatim, and does not pass here.

#[cfg(test)]
mod tests;

use bytes::BytesMut;
use ottla_protocol::Refusal;
use ottla_protocol::batch::{
    self, Batch, CorruptBatch, NO_TIMESTAMP, OPENED_BYTES_MAX, RecordShape, TimestampKind, scan,
};
use ottla_protocol::batch_builder::rebuild;
use ottla_protocol::compress::{BadCompression, Codec, Compression};

/// Who writes to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A producer, whose every word is doubted.
    Client {
        /// From version 7 of Produce on; older clients cannot read it back.
        may_use_zstd: bool,
    },
    /// A coordinator of ours: markers and internal records.
    Coordinator,
}

/// What the topic asks of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// `max.message.bytes`: of a whole batch, as it is written.
    pub max_message_bytes: usize,
    /// `segment.bytes`: a batch must fit into one segment.
    pub segment_bytes: usize,
    /// `compression.type`; `None` is `producer`: leave it as it came.
    pub compression: Option<Compression>,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub is_compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_kind: TimestampKind,
    /// `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`.
    pub before_max_ms: i64,
    pub after_max_ms: i64,
}

/// A batch that may be appended.
#[derive(Debug)]
pub struct Checked {
    /// Instead of the producer's bytes, where its records had to be encoded anew.
    pub rebuilt: Option<BytesMut>,
    /// Bytes of the batch to write; what follows it in the request is a torn rest.
    pub size: usize,
    pub n_records: i32,
    pub timestamp_kind: TimestampKind,
    /// Largest of the producer's, found by looking at each record.
    pub max_timestamp: i64,
}

/// Why a batch may not be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub refusal: Refusal,
    pub message: String,
    /// Which records are at fault, if it is single ones; the whole batch is rejected nevertheless.
    pub record_errors: Vec<RecordError>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    pub batch_index: i32,
    pub message: String,
}

/// A record error takes ten times the bytes of the smallest record, and the first ones tell the
/// story: more are counted but not listed.
const RECORD_ERRORS_MAX: usize = 1000;

impl Rejected {
    fn new(refusal: Refusal, message: impl Into<String>) -> Self {
        Self {
            refusal,
            message: message.into(),
            record_errors: Vec::new(),
        }
    }
}

/// Everything about a batch that needs no lock. `records` is what a Produce request carries for one
/// partition, `now` the time that records are compared with.
pub fn check(records: &[u8], origin: Origin, rules: &Rules, now: i64) -> Result<Checked, Rejected> {
    check_up_to(OPENED_BYTES_MAX, records, origin, rules, now, &mut 0)
}

/// As [`check`], as long as no more than `left` bytes need to be opened or encoded for it, which are
/// then taken from it. `None`: more, or they do not open; then nothing is left.
pub fn check_within(
    left: &mut usize,
    records: &[u8],
    origin: Origin,
    rules: &Rules,
    now: i64,
) -> Option<Result<Checked, Rejected>> {
    let encodes = rules.compression.is_some_and(|it| it.codec != Codec::None);
    let opens = only_batch(records).is_ok_and(|batch| batch.codec() != Ok(Codec::None));
    if *left == 0 && (opens || encodes) {
        return None;
    }
    let limit = OPENED_BYTES_MAX.min(*left);
    let mut n_coded = 0;
    let checked = check_up_to(limit, records, origin, rules, now, &mut n_coded);
    *left = left.saturating_sub(n_coded);
    let is_undecided = checked.is_err() && *left == 0;
    (!is_undecided).then_some(checked)
}

/// `n_coded` becomes the bytes that were opened or encoded; `usize::MAX` if they do not open.
fn check_up_to(
    limit: usize,
    records: &[u8],
    origin: Origin,
    rules: &Rules,
    now: i64,
    n_coded: &mut usize,
) -> Result<Checked, Rejected> {
    let batch = only_batch(records)?;
    check_header(batch, origin)?;
    check_size(batch.size(), rules)?;
    batch.verify_crc().map_err(|corrupt| rejected(&corrupt))?;
    if let Origin::Client { .. } = origin {
        check_claims(batch)?;
    }
    let opens = batch.codec() != Ok(Codec::None);
    if opens {
        *n_coded = usize::MAX;
    }
    let walk = walk(batch, limit, rules, now)?;
    *n_coded = if opens { walk.n_bytes } else { 0 };
    walk.faults.finish()?;
    let rebuilt = match target(batch, rules, walk.is_dense)? {
        None => None,
        Some(compression) => {
            *n_coded = n_coded.saturating_add(walk.n_bytes);
            Some(encode_anew(batch, compression, rules)?)
        }
    };
    let size = rebuilt.as_ref().map_or(batch.size(), BytesMut::len);
    if size > rules.segment_bytes {
        let message = format!("a batch of {size} bytes does not fit into a segment");
        return Err(Rejected::new(Refusal::RecordListTooLarge, message));
    }
    Ok(Checked {
        rebuilt,
        size,
        n_records: batch.n_records(),
        timestamp_kind: rules.timestamp_kind,
        max_timestamp: walk.max_timestamp,
    })
}

/// A produce request holds one batch of magic 2 for a partition, not less and not more.
fn only_batch(records: &[u8]) -> Result<Batch<'_>, Rejected> {
    let mut batches = batch::batches(records);
    let Some(first) = batches.next() else {
        return Err(invalid("there is no whole batch"));
    };
    let first = first.map_err(|corrupt| rejected(&corrupt))?;
    if batches.next().is_some() {
        return Err(invalid("there is more than one batch"));
    }
    Ok(first)
}

fn check_header(batch: Batch<'_>, origin: Origin) -> Result<(), Rejected> {
    let codec = batch.codec().map_err(|corrupt| rejected(&corrupt))?;
    let Origin::Client { may_use_zstd } = origin else {
        return Ok(());
    };
    if codec == Codec::Zstd && !may_use_zstd {
        let message = "zstd needs version 7 of Produce or later";
        return Err(Rejected::new(Refusal::UnsupportedCompressionType, message));
    }
    if batch.base_offset() != 0 {
        return Err(invalid(format!(
            "base offset is {}, not 0",
            batch.base_offset()
        )));
    }
    Ok(())
}

fn check_size(size: usize, rules: &Rules) -> Result<(), Rejected> {
    if size <= rules.max_message_bytes {
        return Ok(());
    }
    let message = format!(
        "a batch of {size} bytes is above the maximum of {}",
        rules.max_message_bytes
    );
    Err(Rejected::new(Refusal::MessageTooLarge, message))
}

/// What a producer says about its batch must fit together.
fn check_claims(batch: Batch<'_>) -> Result<(), Rejected> {
    let (n_offsets, n_records) = (batch.n_offsets(), batch.n_records());
    if n_offsets <= 0 {
        return Err(invalid(format!(
            "last offset delta is {}",
            batch.last_offset_delta()
        )));
    }
    if n_records <= 0 {
        return Err(invalid(format!("the batch claims {n_records} records")));
    }
    if n_offsets != i64::from(n_records) {
        return Err(invalid(format!(
            "{n_offsets} offsets for {n_records} records"
        )));
    }
    if batch.is_control() {
        return Err(invalid("clients may not write control records"));
    }
    if batch.has_producer_id() && batch.base_sequence() < 0 {
        return Err(invalid(format!(
            "sequence {} with a producer id",
            batch.base_sequence()
        )));
    }
    Ok(())
}

/// What is learnt from looking at each record.
struct Walk {
    max_timestamp: i64,
    /// Each record's offset delta is its index, so the batch can stay as it is.
    is_dense: bool,
    /// Of the records, uncompressed.
    n_bytes: usize,
    faults: Faults,
}

fn walk(batch: Batch<'_>, limit: usize, rules: &Rules, now: i64) -> Result<Walk, Rejected> {
    let is_flagged = batch.timestamp_kind() == TimestampKind::LogAppendTime;
    let mut walk = Walk {
        max_timestamp: NO_TIMESTAMP,
        is_dense: true,
        n_bytes: 0,
        faults: Faults::default(),
    };
    let n_bytes = scan(batch, limit, |record| {
        walk.max_timestamp = walk.max_timestamp.max(record.timestamp);
        walk.is_dense &= record.offset_delta == record.index;
        if let Some(fault) = fault(record, rules, is_flagged, now) {
            walk.faults.add(record, fault, rules, now);
        }
    });
    walk.n_bytes = n_bytes.map_err(|corrupt| rejected(&corrupt))?;
    Ok(walk)
}

/// What can be wrong with a single record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoKey,
    OutOfTime,
    NotItsTime,
}

fn fault(record: RecordShape, rules: &Rules, is_flagged: bool, now: i64) -> Option<Fault> {
    if rules.is_compacted && !record.has_key {
        return Some(Fault::NoKey);
    }
    if rules.timestamp_kind == TimestampKind::CreateTime && record.timestamp != NO_TIMESTAMP {
        // Wider than the fields, so that no timestamp can overflow into the allowed range.
        let age = i128::from(now) - i128::from(record.timestamp);
        let is_within =
            age <= i128::from(rules.before_max_ms) && -age <= i128::from(rules.after_max_ms);
        (!is_within).then_some(Fault::OutOfTime)
    } else {
        is_flagged.then_some(Fault::NotItsTime)
    }
}

/// The record errors of one batch.
#[derive(Default)]
struct Faults {
    listed: Vec<RecordError>,
    n: usize,
    is_time: bool,
}

impl Faults {
    fn add(&mut self, record: RecordShape, fault: Fault, rules: &Rules, now: i64) {
        self.n += 1;
        self.is_time |= fault != Fault::NoKey;
        if self.listed.len() < RECORD_ERRORS_MAX {
            let message = match fault {
                Fault::NoKey => "Compacted topic cannot accept message without key".to_owned(),
                Fault::NotItsTime => "a producer may not set LogAppendTime".to_owned(),
                Fault::OutOfTime => format!(
                    "timestamp {} is not within [{}, {}]",
                    record.timestamp,
                    now.saturating_sub(rules.before_max_ms),
                    now.saturating_add(rules.after_max_ms),
                ),
            };
            self.listed.push(RecordError {
                batch_index: record.index,
                message,
            });
        }
    }

    fn finish(self) -> Result<(), Rejected> {
        if self.n == 0 {
            return Ok(());
        }
        let refusal = match self.is_time {
            true => Refusal::InvalidTimestamp,
            false => Refusal::InvalidRecord,
        };
        let first = self.listed.first().map_or("", |error| &error.message);
        let message = format!("{} records are rejected; the first: {first}", self.n);
        Err(Rejected {
            refusal,
            message,
            record_errors: self.listed,
        })
    }
}

/// What the records must be encoded anew with; `None` if they stay as they are.
fn target(
    batch: Batch<'_>,
    rules: &Rules,
    is_dense: bool,
) -> Result<Option<Compression>, Rejected> {
    let source = batch.codec().map_err(|corrupt| rejected(&corrupt))?;
    if batch.is_control() && source == Codec::None {
        return Ok(None);
    }
    let target = rules.compression.unwrap_or(Compression::from(source));
    let is_kept = target.codec == source && is_dense;
    Ok((!is_kept).then_some(target))
}

fn encode_anew(
    batch: Batch<'_>,
    compression: Compression,
    rules: &Rules,
) -> Result<BytesMut, Rejected> {
    // What is written plain must fit as it is, so there is no use in opening more than that.
    let limit = match compression.codec {
        Codec::None => rules.max_message_bytes.min(OPENED_BYTES_MAX),
        _ => OPENED_BYTES_MAX,
    };
    let bytes = rebuild(batch, compression, limit).map_err(|why| rejected(&why))?;
    check_size(bytes.len(), rules)?;
    Ok(BytesMut::from(bytes))
}

/// What an append answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    pub base_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
    /// The time that replaced the producer's, if the topic wants that.
    pub append_time: Option<i64>,
}

/// Write offsets, epoch and time into the checked batch. `bytes` starts with it (or with
/// `checked.rebuilt`); its first [`batch::HEADER_LEN`] bytes are enough, and all that is touched.
/// The CRC is corrected where time or its kind change.
pub fn assign(
    bytes: &mut [u8],
    checked: &Checked,
    base_offset: i64,
    leader_epoch: i32,
    now: i64,
) -> Assigned {
    let (max_timestamp, append_time) = match checked.timestamp_kind {
        TimestampKind::CreateTime => (checked.max_timestamp, None),
        TimestampKind::LogAppendTime => (now, Some(now)),
    };
    batch::stamp(bytes, base_offset, leader_epoch);
    batch::stamp_timestamp(bytes, checked.timestamp_kind, max_timestamp);
    let last_offset = base_offset + (i64::from(checked.n_records) - 1);
    Assigned {
        base_offset,
        last_offset,
        max_timestamp,
        append_time,
    }
}

fn invalid(message: impl Into<String>) -> Rejected {
    Rejected::new(Refusal::InvalidRecord, message)
}

fn rejected(corrupt: &CorruptBatch) -> Rejected {
    Rejected::new(code_for(corrupt), corrupt.to_string())
}

/// Kafka's code for bytes that are no batch.
pub(crate) fn code_for(corrupt: &CorruptBatch) -> Refusal {
    match corrupt {
        CorruptBatch::Length { .. } | CorruptBatch::Crc { .. } | CorruptBatch::Offsets { .. } => {
            Refusal::CorruptMessage
        }
        CorruptBatch::Magic { magic: 0 | 1 } => Refusal::InvalidRecord,
        CorruptBatch::Magic { .. } => Refusal::CorruptMessage,
        CorruptBatch::Truncated { .. }
        | CorruptBatch::Record { .. }
        | CorruptBatch::Count { .. }
        | CorruptBatch::Compression(BadCompression::EndsEarly) => Refusal::InvalidRecord,
        // Kafka fails with an unknown error here; this one says what is wrong.
        CorruptBatch::Codec { .. } => Refusal::UnsupportedCompressionType,
        // A producer may split its batch and try again, which helps one that compresses very well.
        CorruptBatch::Compression(BadCompression::TooLarge { .. }) => Refusal::MessageTooLarge,
        CorruptBatch::Compression(BadCompression::Corrupt { .. }) => Refusal::UnknownServerError,
    }
}

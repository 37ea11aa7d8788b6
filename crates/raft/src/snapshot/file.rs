//! The batches of a snapshot file: header, voters, records, footer. `bootstrap.checkpoint` has
//! the same form.
//!
//! Offsets count from 0 and have nothing to do with the log's.

use bytes::Bytes;
use ottla_protocol::LeaderEpoch;
use ottla_protocol::batch::{Batch, CorruptBatch, OPENED_BYTES_MAX, batches};
use ottla_protocol::messages::{KRaftVersionRecord, SnapshotFooterRecord, SnapshotHeaderRecord};

use crate::accumulate::Accumulator;
use crate::control::Control;
use crate::quorum::Now;
use crate::voters::VoterSet;

/// Records per batch, as Kafka writes them: a reader holds one batch at a time.
const MAX_BATCH_RECORDS: usize = 1024;

/// How large a batch grows if no single record is larger: enough to be efficient, little enough
/// to be held in memory by everybody.
const SOFT_BATCH_BYTES: usize = 1024 * 1024;

/// Turns records into the batches of a snapshot file.
#[derive(Debug)]
pub struct SnapshotWriter {
    accumulator: Accumulator,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    now: Now,
}

impl SnapshotWriter {
    /// `last_contained_timestamp` is the append time of the last batch that the snapshot stands
    /// for; `kraft_version` and `voters` are written from level 1 on.
    pub fn new(
        epoch: LeaderEpoch,
        last_contained_timestamp: i64,
        kraft_version: i16,
        voters: &VoterSet,
        wall_ms: i64,
    ) -> Self {
        let now = Now {
            monotonic: std::time::Duration::ZERO,
            wall_ms,
        };
        let mut accumulator = Accumulator::new(epoch, 0, std::time::Duration::ZERO);
        let mut header = vec![Control::SnapshotHeader(SnapshotHeaderRecord {
            version: 0,
            last_contained_log_timestamp: last_contained_timestamp,
        })];
        if kraft_version > 0 {
            header.push(Control::KraftVersion(KRaftVersionRecord {
                version: 0,
                kraft_version,
            }));
            if !voters.is_empty() {
                header.push(Control::Voters(voters.to_record()));
            }
        }
        accumulator.append_control(&header, now);
        Self {
            accumulator,
            pending: Vec::new(),
            pending_bytes: 0,
            now,
        }
    }

    /// One framed record. A finished batch may be taken with `next_batch`.
    pub fn push(&mut self, value: Bytes) {
        // A large record gets a batch to itself: it may be as large as a batch can be.
        let is_full = self.pending.len() >= MAX_BATCH_RECORDS
            || self.pending_bytes + value.len() > SOFT_BATCH_BYTES;
        if is_full {
            self.close();
        }
        self.pending_bytes += value.len();
        self.pending.push(value);
    }

    /// A batch that is ready for the file.
    pub fn next_batch(&mut self) -> Option<Bytes> {
        self.accumulator
            .next(true, self.now)
            .map(|ready| ready.bytes)
    }

    /// The footer, and what is left.
    pub fn finish(mut self) -> Vec<Bytes> {
        self.close();
        let footer = Control::SnapshotFooter(SnapshotFooterRecord { version: 0 });
        self.accumulator.append_control(&[footer], self.now);
        std::iter::from_fn(|| self.next_batch()).collect()
    }

    fn close(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        self.accumulator.append_alone(&self.pending, self.now);
        self.pending.clear();
        self.pending_bytes = 0;
    }
}

/// A snapshot file, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotContent {
    pub last_contained_timestamp: i64,
    pub kraft_version: Option<i16>,
    pub voters: Option<VoterSet>,
    /// The framed records, in order.
    pub records: Vec<Bytes>,
}

/// The file is not a whole snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorruptSnapshot {
    pub why: String,
}

impl std::fmt::Display for CorruptSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the snapshot is unreadable: {}", self.why)
    }
}

impl std::error::Error for CorruptSnapshot {}

impl SnapshotContent {
    /// Read a whole file. The header must be first and the footer last: without it the writer
    /// did not finish.
    pub fn read(file: &Bytes) -> Result<Self, CorruptSnapshot> {
        let mut content = Self {
            last_contained_timestamp: 0,
            kraft_version: None,
            voters: None,
            records: Vec::new(),
        };
        let mut progress = Progress::Nothing;
        let mut all = batches(file);
        for batch in &mut all {
            let batch = batch.map_err(|error| refuse(error.to_string()))?;
            batch
                .verify_crc()
                .map_err(|error| refuse(error.to_string()))?;
            if progress == Progress::Footer {
                return Err(refuse("something follows the footer".to_owned()));
            }
            if batch.is_control() {
                content.take_control(batch, &mut progress)?;
            } else if progress == Progress::Header {
                content.take_records(batch, file)?;
            } else {
                return Err(refuse("records before the header".to_owned()));
            }
        }
        if progress != Progress::Footer || all.position() != file.len() {
            return Err(refuse("it ends without a footer".to_owned()));
        }
        Ok(content)
    }

    fn take_control(
        &mut self,
        batch: Batch<'_>,
        progress: &mut Progress,
    ) -> Result<(), CorruptSnapshot> {
        for (_, control) in Control::of_batch(batch).map_err(|error| refuse(error.to_string()))? {
            match (control, &progress) {
                (Control::SnapshotHeader(header), Progress::Nothing) => {
                    self.last_contained_timestamp = header.last_contained_log_timestamp;
                    *progress = Progress::Header;
                }
                (Control::SnapshotFooter(_), Progress::Header) => *progress = Progress::Footer,
                (Control::KraftVersion(record), Progress::Header) => {
                    self.kraft_version = Some(record.kraft_version);
                }
                (Control::Voters(record), Progress::Header) => {
                    self.voters = Some(VoterSet::from_record(&record));
                }
                (other, _) => return Err(refuse(format!("{other:?} out of place"))),
            }
        }
        Ok(())
    }

    fn take_records(&mut self, batch: Batch<'_>, file: &Bytes) -> Result<(), CorruptSnapshot> {
        let broken = |error: CorruptBatch| refuse(error.to_string());
        let payload = batch.payload(OPENED_BYTES_MAX).map_err(broken)?;
        for record in payload.records() {
            let value = record.map_err(broken)?.value;
            let value = value.ok_or_else(|| refuse("a record without a value".to_owned()))?;
            self.records.push(shared(file, value));
        }
        Ok(())
    }
}

/// How far into the file a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Nothing,
    Header,
    Footer,
}

/// A slice of the file where the batch was plain, a copy where it had to be decompressed.
fn shared(file: &Bytes, value: &[u8]) -> Bytes {
    if file.as_ptr_range().contains(&value.as_ptr()) && !value.is_empty() {
        file.slice_ref(value)
    } else {
        Bytes::copy_from_slice(value)
    }
}

fn refuse(why: String) -> CorruptSnapshot {
    CorruptSnapshot { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_fills_its_batch_to_the_last_byte_is_written() {
        // 61 bytes of header, 13 around the value.
        let value = Bytes::from(vec![7; crate::accumulate::MAX_BATCH_BYTES - 61 - 13]);
        let mut writer = SnapshotWriter::new(1, 0, 0, &VoterSet::default(), 0);
        writer.push(value.clone());
        let written = writer.finish();
        assert_eq!(written[1].len(), crate::accumulate::MAX_BATCH_BYTES);
        let content = SnapshotContent::read(&written.concat().into()).unwrap();
        assert_eq!(content.records, [value]);
    }

    #[test]
    fn batches_stay_small_and_a_large_record_stands_alone() {
        let mut writer = SnapshotWriter::new(1, 0, 0, &VoterSet::default(), 0);
        let sizes = [vec![10; 2500], vec![5 * 1024 * 1024, 10, 700_000, 700_000]].concat();
        for size in &sizes {
            writer.push(vec![7; *size].into());
        }
        let written = writer.finish();
        let n_records: Vec<i32> = written
            .iter()
            .map(|bytes| Batch::parse(bytes).unwrap())
            .map(|batch| batch.n_records())
            .collect();
        assert_eq!(n_records, [1, 1024, 1024, 452, 1, 2, 1, 1]);
        let content = SnapshotContent::read(&written.concat().into()).unwrap();
        assert_eq!(content.records.len(), sizes.len());
    }
}

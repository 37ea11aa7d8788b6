//! A Fetch answer, read without its records: where each batch ends, and what offset comes next.
//! Of the records nothing is copied out of the kernel, so that reading costs us next to nothing. Pure.
//!
//! Fetched as version 11, the last in which every field has a width that is known beforehand.

use std::fmt;

use ottla_protocol::batch::{HEADER_LEN, Header};

pub(super) const FETCH_VERSION: i16 = 11;

/// Correlation id, throttle time, error, session, number of topics.
const START: usize = 4 + 4 + 2 + 4 + 4;
/// Number, error, high watermark, stable offset, start offset, number of aborted transactions.
const PARTITION: usize = 4 + 2 + 8 + 8 + 8 + 4;
const ABORTED: usize = 16;
/// Preferred replica, length of the records.
const BEFORE_RECORDS: usize = 4 + 4;

/// What one partition gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) partition: i32,
    pub(super) error_code: i16,
    /// `None` if no whole batch came.
    pub(super) next_offset: Option<i64>,
    pub(super) n_batches: u64,
    pub(super) n_records: u64,
    /// Of whole batches.
    pub(super) bytes: u64,
}

/// What to do after a look at what is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// More must be here to go on: what was not used, and behind it so many in all.
    Need(usize),
    /// Nothing of the next so many bytes matters.
    Discard(usize),
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadAnswer(&'static str);

impl fmt::Display for BadAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an answer to Fetch cannot be read: {}", self.0)
    }
}

impl std::error::Error for BadAnswer {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Length,
    Start,
    Topic,
    Partition,
    Aborted(usize),
    BeforeRecords,
    Batch,
    Skip(usize),
    Done,
}

/// One answer in the reading.
#[derive(Debug)]
pub(super) struct Skim {
    at: At,
    /// Bytes of the frame that are still to come; `records_left ≤ frame_left`.
    frame_left: usize,
    topics_left: usize,
    partitions_left: usize,
    records_left: usize,
    pub(super) correlation_id: i32,
    pub(super) error_code: i16,
    pub(super) found: Vec<Fetched>,
    /// Of the last batch: what comes is likely alike.
    last_batch: usize,
}

impl Skim {
    pub(super) fn new() -> Self {
        Self {
            at: At::Length,
            frame_left: 4,
            topics_left: 0,
            partitions_left: 0,
            records_left: 0,
            correlation_id: 0,
            error_code: 0,
            found: Vec::new(),
            last_batch: 0,
        }
    }

    /// Be ready for the next answer.
    pub(super) fn reset(&mut self) {
        let last_batch = self.last_batch;
        *self = Self {
            last_batch,
            found: std::mem::take(&mut self.found),
            ..Self::new()
        };
        self.found.clear();
    }

    /// How large the last batch was.
    pub(super) fn last_batch(&self) -> usize {
        self.last_batch
    }

    /// Read on in what is here: how many of these bytes are done with, and what then.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Result<(usize, Then), BadAnswer> {
        let mut rest = bytes;
        let then = loop {
            match self.at {
                At::Done => break Then::Done,
                At::Skip(n) => {
                    let here = n.min(rest.len());
                    rest = rest.get(here..).unwrap_or_default();
                    if here < n {
                        self.at = At::Skip(n - here);
                        break Then::Discard(n - here);
                    }
                    self.at = self.after_batch()?;
                }
                at => {
                    let n = self.width(at, rest)?;
                    let Some((here, behind)) = rest.split_at_checked(n) else {
                        break Then::Need(n);
                    };
                    self.spend(n)?;
                    self.at = self.read(at, here)?;
                    rest = behind;
                }
            }
        };
        Ok((bytes.len() - rest.len(), then))
    }

    /// So many bytes were thrown away.
    pub(super) fn discarded(&mut self, n: usize) -> Result<(), BadAnswer> {
        let At::Skip(left) = self.at else {
            return Err(BadAnswer("more was thrown away than was useless"));
        };
        self.at = match left.checked_sub(n) {
            Some(0) => self.after_batch()?,
            Some(left) => At::Skip(left),
            None => return Err(BadAnswer("more was thrown away than was useless")),
        };
        Ok(())
    }

    /// How many bytes the next thing takes, as far as the beginning tells.
    fn width(&self, at: At, rest: &[u8]) -> Result<usize, BadAnswer> {
        let n = match at {
            At::Length => 4,
            At::Start => START,
            At::Topic => {
                let length = rest
                    .first_chunk()
                    .map_or(0, |bytes| i16::from_be_bytes(*bytes));
                let length =
                    usize::try_from(length).map_err(|_| BadAnswer("a topic has no name"))?;
                2 + length + 4
            }
            At::Partition => PARTITION,
            At::Aborted(n) => n,
            At::BeforeRecords => BEFORE_RECORDS,
            At::Batch => HEADER_LEN,
            At::Skip(_) | At::Done => 0,
        };
        if n > self.frame_left {
            return Err(BadAnswer("it ends too early"));
        }
        Ok(n)
    }

    fn spend(&mut self, n: usize) -> Result<(), BadAnswer> {
        self.frame_left = self
            .frame_left
            .checked_sub(n)
            .ok_or(BadAnswer("it ends too early"))?;
        Ok(())
    }

    fn read(&mut self, at: At, bytes: &[u8]) -> Result<At, BadAnswer> {
        match at {
            At::Length => {
                self.frame_left = count(i32_at(bytes, 0), "its length is negative")?;
                Ok(At::Start)
            }
            At::Start => {
                self.correlation_id = i32_at(bytes, 0);
                self.error_code = i16_at(bytes, 8);
                self.topics_left = count(i32_at(bytes, START - 4), "it has no topics")?;
                self.after_partition()
            }
            At::Topic => {
                self.topics_left -= 1;
                let n = i32_at(bytes, bytes.len().saturating_sub(4));
                self.partitions_left = count(n, "a topic has no partitions")?;
                self.after_partition()
            }
            At::Partition => {
                self.partitions_left -= 1;
                self.found.push(Fetched {
                    partition: i32_at(bytes, 0),
                    error_code: i16_at(bytes, 4),
                    ..Fetched::default()
                });
                // Null is -1, and means none.
                let n = usize::try_from(i32_at(bytes, PARTITION - 4)).unwrap_or_default();
                Ok(At::Aborted(n.saturating_mul(ABORTED)))
            }
            At::Aborted(_) => Ok(At::BeforeRecords),
            At::BeforeRecords => {
                self.records_left = usize::try_from(i32_at(bytes, 4)).unwrap_or_default();
                if self.records_left > self.frame_left {
                    return Err(BadAnswer("records reach beyond its end"));
                }
                self.after_batch()
            }
            At::Batch => self.batch(bytes),
            At::Skip(_) | At::Done => Ok(at),
        }
    }

    /// The header of a batch is here.
    fn batch(&mut self, bytes: &[u8]) -> Result<At, BadAnswer> {
        let header = Header::parse(bytes).map_err(|_| BadAnswer("a batch is not of magic 2"))?;
        let size = header.size();
        let here = size.min(self.records_left);
        self.records_left -= here;
        // Brokers cut the last batch off where the answer is full.
        if let Some(found) = self.found.last_mut()
            && here == size
        {
            found.next_offset = Some(header.next_offset());
            found.n_batches += 1;
            found.n_records += u64::try_from(header.n_records()).unwrap_or_default();
            found.bytes += size as u64;
            self.last_batch = size;
        }
        self.skip(here.saturating_sub(HEADER_LEN))
    }

    fn after_batch(&mut self) -> Result<At, BadAnswer> {
        match self.records_left {
            0 => self.after_partition(),
            1..HEADER_LEN => {
                let n = std::mem::take(&mut self.records_left);
                self.skip(n)
            }
            _ => Ok(At::Batch),
        }
    }

    fn skip(&mut self, n: usize) -> Result<At, BadAnswer> {
        self.spend(n)?;
        Ok(At::Skip(n))
    }

    fn after_partition(&mut self) -> Result<At, BadAnswer> {
        if self.partitions_left > 0 {
            Ok(At::Partition)
        } else if self.topics_left > 0 {
            Ok(At::Topic)
        } else if self.frame_left == 0 {
            Ok(At::Done)
        } else {
            Err(BadAnswer("something follows its end"))
        }
    }
}

fn count(n: i32, why: &'static str) -> Result<usize, BadAnswer> {
    usize::try_from(n).map_err(|_| BadAnswer(why))
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk).copied();
    i32::from_be_bytes(field.unwrap_or_default())
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    let field = bytes.get(at..).and_then(<[u8]>::first_chunk).copied();
    i16::from_be_bytes(field.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ottla_protocol::Text;
    use ottla_protocol::batch_builder::BatchBuilder;
    use ottla_protocol::compress::Codec;
    use ottla_protocol::header::response_frame;
    use ottla_protocol::messages::{
        AbortedTransaction, FetchPartitionData, FetchResponse, FetchableTopicResponse,
    };

    fn batch(base_offset: i64, n: usize) -> Bytes {
        let mut builder = BatchBuilder::data(Codec::None).base_offset(base_offset);
        (0..n).for_each(|_| builder.push(1, None, Some(&[b'x'; 100])));
        builder.finish()
    }

    fn partition(partition_index: i32, records: Option<Vec<u8>>) -> FetchPartitionData<Bytes> {
        FetchPartitionData {
            partition_index,
            records: records.map(Bytes::from),
            ..FetchPartitionData::default()
        }
    }

    fn answer() -> Bytes {
        let whole = [&batch(10, 3)[..], &batch(13, 2)].concat();
        let cut_header = [&batch(0, 1)[..], &batch(1, 1)[..30]].concat();
        let cut_body = [&batch(5, 4)[..], &batch(9, 4)[..200]].concat();
        let mut aborted = partition(3, Some(whole.clone()));
        aborted.aborted_transactions = Some(vec![
            AbortedTransaction {
                producer_id: 1,
                first_offset: 2
            };
            2
        ]);
        let refused = FetchPartitionData {
            error_code: 3,
            ..partition(4, None)
        };
        let of = |topic, partitions| FetchableTopicResponse {
            topic: Text::from_static(topic),
            partitions,
            ..FetchableTopicResponse::default()
        };
        let answer = FetchResponse {
            responses: vec![
                of(
                    "topic",
                    vec![
                        partition(0, Some(whole)),
                        partition(1, Some(cut_header)),
                        partition(2, Some(cut_body)),
                        aborted,
                        refused,
                    ],
                ),
                of("another", vec![partition(7, Some(Vec::new()))]),
            ],
            ..FetchResponse::default()
        };
        response_frame(&answer, FETCH_VERSION, 77).unwrap()
    }

    fn expected() -> Vec<(i32, i16, Option<i64>, u64, u64)> {
        vec![
            (0, 0, Some(15), 2, 5),
            (1, 0, Some(1), 1, 1),
            (2, 0, Some(9), 1, 4),
            (3, 0, Some(15), 2, 5),
            (4, 3, None, 0, 0),
            (7, 0, None, 0, 0),
        ]
    }

    /// Read, given `chunk` bytes more at a time; throwing away what may be if so.
    fn read(bytes: &[u8], chunk: usize, throw_away: bool) -> Result<Skim, BadAnswer> {
        let mut skim = Skim::new();
        let (mut from, mut to) = (0, 0);
        loop {
            let (used, then) = skim.look(&bytes[from..to])?;
            from += used;
            match then {
                Then::Done => return Ok(skim),
                Then::Discard(n) if throw_away => {
                    assert_eq!(from, to, "all that is here is used before");
                    let n = n.min(chunk).min(bytes.len() - to);
                    if n == 0 {
                        return Err(BadAnswer("over"));
                    }
                    skim.discarded(n)?;
                    from += n;
                    to = from;
                }
                Then::Need(_) | Then::Discard(_) if to == bytes.len() => {
                    return Err(BadAnswer("over"));
                }
                Then::Need(n) => {
                    assert!(n > to - from);
                    to = (to + chunk).min(bytes.len());
                }
                Then::Discard(_) => to = (to + chunk).min(bytes.len()),
            }
        }
    }

    #[test]
    fn an_answer_is_read_however_it_comes() {
        let bytes = answer();
        for chunk in [1, 7, 61, 100, 1000, bytes.len()] {
            for throw_away in [false, true] {
                let skim = read(&bytes, chunk, throw_away).unwrap();
                let found = skim.found.iter();
                let found = found.map(|f| {
                    (
                        f.partition,
                        f.error_code,
                        f.next_offset,
                        f.n_batches,
                        f.n_records,
                    )
                });
                assert_eq!(
                    found.collect::<Vec<_>>(),
                    expected(),
                    "{chunk} {throw_away}"
                );
                assert_eq!(
                    skim.found[0].bytes,
                    (batch(10, 3).len() + batch(13, 2).len()) as u64
                );
                assert_eq!((skim.correlation_id, skim.error_code), (77, 0));
            }
        }
    }

    #[test]
    fn the_next_answer_is_read_like_the_first() {
        let bytes = answer();
        let mut skim = read(&bytes, 1000, false).unwrap();
        skim.reset();
        assert_eq!(skim.look(&bytes), Ok((bytes.len(), Then::Done)));
        assert_eq!(skim.found.len(), expected().len());
    }

    #[test]
    fn an_answer_that_is_cut_or_changed_is_no_panic() {
        let bytes = answer();
        for n in 0..bytes.len() {
            assert_eq!(read(&bytes[..n], 64, false).err(), Some(BadAnswer("over")));
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = bytes.to_vec();
                changed[at] = value;
                for throw_away in [false, true] {
                    let _ = read(&changed, 50, throw_away);
                }
            }
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        longer[..4].copy_from_slice(&(bytes.len() as i32 - 3).to_be_bytes());
        assert!(read(&longer, 1000, false).is_err());
    }
}

//! One partition: where it starts and ends, what it answers to Fetch and to timestamps, who wrote.

use std::collections::BTreeSet;

use bytes::Bytes;
use ottla_protocol::Text;
use ottla_protocol::batch::{Header, peek};
use ottla_protocol::messages::*;

use super::{Held, said};

/// By name, which every version of a broker's metadata knows.
const FETCH: i16 = 12;
/// A size that ends in the middle of batches and of what the indexes say, and one that takes a
/// segment at once.
const SIZES: [i32; 2] = [20_000, 1 << 20];
/// Of offsets and of timestamps: more say nothing new.
const N_POINTS: usize = 300;
/// Higher than any leader epoch of a directory that was started a few times.
const EPOCHS_END: i32 = 12;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Isolation {
    Uncommitted,
    Committed,
}

impl Isolation {
    const ALL: [Self; 2] = [Self::Uncommitted, Self::Committed];

    fn code(self) -> i8 {
        i8::from(self == Self::Committed)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Uncommitted => "uncommitted",
            Self::Committed => "committed",
        }
    }
}

pub(super) struct Log<'a> {
    held: &'a mut Held,
    topic: Text,
    partition: i32,
}

impl<'a> Log<'a> {
    pub(super) fn new(held: &'a mut Held, topic: Text, partition: i32) -> Self {
        Self {
            held,
            topic,
            partition,
        }
    }

    fn name(&self) -> String {
        format!("{}-{}", self.topic, self.partition)
    }

    fn say(&mut self, fact: &str) {
        let name = self.name();
        self.held.say(&format!("{name} {fact}"));
    }

    pub(super) fn tell(mut self) -> Result<(), String> {
        let start = self.offset(Isolation::Uncommitted, ListOffsetsRequest::EARLIEST)?;
        let end = self.offset(Isolation::Uncommitted, ListOffsetsRequest::LATEST)?;
        for isolation in Isolation::ALL {
            self.offset(isolation, ListOffsetsRequest::LATEST)?;
            self.offset(isolation, ListOffsetsRequest::MAX_TIMESTAMP)?;
            self.offset(isolation, ListOffsetsRequest::EARLIEST_LOCAL)?;
        }
        let mut timestamps = BTreeSet::new();
        for isolation in Isolation::ALL {
            for size in SIZES {
                self.walk(isolation, size, (start, end), &mut timestamps)?;
            }
            self.points(isolation, start, end)?;
        }
        self.timestamps(&timestamps)?;
        self.producers()?;
        self.epochs()
    }

    fn offset(&mut self, isolation: Isolation, timestamp: i64) -> Result<i64, String> {
        let (topic, code) = (self.topic.clone(), isolation.code());
        let found = self.held.offset(&topic, self.partition, code, timestamp)?;
        self.say(&format!(
            "at {timestamp} {}: {} of {} epoch={} error={}",
            isolation.name(),
            found.offset,
            found.timestamp,
            found.leader_epoch,
            found.error_code
        ));
        Ok(found.offset)
    }

    fn fetch(
        &mut self,
        isolation: Isolation,
        offset: i64,
        size: i32,
    ) -> Result<(Bytes, i16), String> {
        let request = FetchRequest {
            min_bytes: 1,
            isolation_level: isolation.code(),
            topics: vec![FetchTopic {
                topic: self.topic.clone(),
                partitions: vec![FetchPartition {
                    partition: self.partition,
                    fetch_offset: offset,
                    partition_max_bytes: size,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = self.held.line.ask(FETCH, &request).map_err(said)?;
        let got = answer
            .responses
            .into_iter()
            .find_map(|topic| topic.partitions.into_iter().next())
            .ok_or_else(|| format!("Fetch answers nothing, error {}", answer.error_code))?;
        let records = got.records.unwrap_or_default();
        let aborted = got.aborted_transactions.map(|list| {
            let one = |a: &AbortedTransaction| format!("{}@{}", a.producer_id, a.first_offset);
            list.iter().map(one).collect::<Vec<_>>().join(",")
        });
        self.say(&format!(
            "fetch {} {offset} {size}: {} bytes error={} high={} stable={} start={} aborted={}",
            isolation.name(),
            records.len(),
            got.error_code,
            got.high_watermark,
            got.last_stable_offset,
            got.log_start_offset,
            aborted.as_deref().unwrap_or("null"),
        ));
        Ok((records, got.error_code))
    }

    /// From the start to the end, each fetch where the one before stopped.
    fn walk(
        &mut self,
        isolation: Isolation,
        size: i32,
        (start, end): (i64, i64),
        timestamps: &mut BTreeSet<i64>,
    ) -> Result<(), String> {
        let mut all = Vec::new();
        let mut offset = start;
        loop {
            let (records, error) = self.fetch(isolation, offset, size)?;
            all.extend_from_slice(&records);
            let next = next_offset(&records, timestamps);
            match next {
                Some(next) if next > offset && next <= end => offset = next,
                Some(next) => {
                    self.say(&format!("stuck at {offset}: next is {next} of {end}"));
                    break;
                }
                // The end, or nothing that can be read.
                None if error == 0 && records.is_empty() => break,
                None => {
                    self.say(&format!("unreadable at {offset}"));
                    break;
                }
            }
        }
        let name = format!("{}.{}.{size}", self.name(), isolation.name());
        self.held.file(&name, &all)
    }

    /// The first batch at many offsets, in gaps and outside of the log too.
    fn points(&mut self, isolation: Isolation, start: i64, end: i64) -> Result<(), String> {
        let step = usize::try_from(end - start).unwrap_or(0) / N_POINTS + 1;
        let mut all = Vec::new();
        for offset in (start..end)
            .step_by(step)
            .chain([-1, 0, start - 1, end, end + 1])
        {
            all.extend_from_slice(&self.fetch(isolation, offset, 1)?.0);
        }
        let name = format!("{}.{}.points", self.name(), isolation.name());
        self.held.file(&name, &all)
    }

    fn timestamps(&mut self, known: &BTreeSet<i64>) -> Result<(), String> {
        let step = known.len() / N_POINTS + 1;
        for timestamp in known.iter().step_by(step).chain(known.last()) {
            for near in [timestamp - 1, *timestamp, timestamp + 1] {
                // Below zero are the special positions.
                if near >= 0 {
                    self.offset(Isolation::Uncommitted, near)?;
                    self.offset(Isolation::Committed, near)?;
                }
            }
        }
        self.offset(Isolation::Uncommitted, 0)?;
        self.offset(Isolation::Uncommitted, i64::MAX)?;
        Ok(())
    }

    fn producers(&mut self) -> Result<(), String> {
        let request = DescribeProducersRequest {
            topics: vec![DescribeProducersTopicRequest {
                name: self.topic.clone(),
                partition_indexes: vec![self.partition],
            }],
        };
        let answer = self.held.line.ask(0, &request).map_err(said)?;
        let mut found: Vec<_> = answer
            .topics
            .into_iter()
            .flat_map(|topic| topic.partitions)
            .flat_map(|partition| partition.active_producers)
            .collect();
        found.sort_by_key(|producer| producer.producer_id);
        for producer in found {
            self.say(&format!("{producer:?}"));
        }
        Ok(())
    }

    fn epochs(&mut self) -> Result<(), String> {
        for epoch in 0..EPOCHS_END {
            let request = OffsetForLeaderEpochRequest {
                replica_id: -1,
                topics: vec![OffsetForLeaderTopic {
                    topic: self.topic.clone(),
                    partitions: vec![OffsetForLeaderPartition {
                        partition: self.partition,
                        leader_epoch: epoch,
                        ..Default::default()
                    }],
                }],
            };
            let answer = self.held.line.ask(4, &request).map_err(said)?;
            for found in answer.topics.iter().flat_map(|topic| &topic.partitions) {
                let (error, of, end) = (found.error_code, found.leader_epoch, found.end_offset);
                self.say(&format!(
                    "epoch {epoch} ends at {end} of {of} error={error}"
                ));
            }
        }
        Ok(())
    }
}

/// Behind the last whole batch; also learns what timestamps there are.
fn next_offset(records: &[u8], timestamps: &mut BTreeSet<i64>) -> Option<i64> {
    let mut next = None;
    let mut at = 0;
    while let Some(Ok(prefix)) = peek(records.get(at..)?) {
        let bytes = records.get(at..)?;
        if prefix.size > bytes.len() {
            break;
        }
        next = Some(match Header::parse(bytes) {
            Ok(batch) => {
                timestamps.extend([batch.base_timestamp(), batch.max_timestamp()]);
                batch.next_offset()
            }
            // Of the old formats: the offset of the last message in it.
            Err(_) => prefix.offset + 1,
        });
        at += prefix.size;
    }
    next
}

#[cfg(test)]
mod tests {
    use ottla_protocol::batch::stamp;
    use ottla_protocol::batch_builder::BatchBuilder;
    use ottla_protocol::compress::Codec;

    use super::*;

    #[test]
    fn the_next_offset_is_behind_the_last_whole_batch() {
        let batch = |offset, timestamp| {
            let mut batch = BatchBuilder::data(Codec::None);
            batch.push(timestamp, None, Some(b"a"));
            batch.push(timestamp + 5, None, Some(b"b"));
            let mut bytes = batch.finish().to_vec();
            stamp(&mut bytes, offset, 0);
            bytes
        };
        let mut records = batch(10, 1000);
        records.extend(batch(20, 2000));
        let mut timestamps = BTreeSet::new();
        assert_eq!(next_offset(&records, &mut timestamps), Some(22));
        assert_eq!(timestamps, BTreeSet::from([1000, 1005, 2000, 2005]));
        let cut = records.len() - 1;
        assert_eq!(next_offset(&records[..cut], &mut timestamps), Some(12));
        assert_eq!(next_offset(&records[..30], &mut timestamps), None);
        assert_eq!(next_offset(&[], &mut timestamps), None);
    }
}

//! What the logs of a broker hold, as far as it can be asked: a line for each answer in the file
//! `facts`, and the records of every Fetch, byte for byte, in a file for each partition, isolation
//! and size. Two brokers on copies of the same directories write the same files.
//!
//! Nothing is appended, no group is touched, and topics that brokers write to by themselves are
//! left out.

mod log;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ottla_protocol::Text;
use ottla_protocol::messages::*;

use self::log::Log;
use crate::broker::{Broken, Broker, Line};

/// How long a broker may take until it leads all its partitions.
const PATIENCE: Duration = Duration::from_secs(60);
/// Answers that only say: not yet. The last one is that of a log that was read back after a crash
/// and waits for the disk.
const NOT_YET: [i16; 5] = [3, 5, 6, 7, 78];
const PAUSE: Duration = Duration::from_millis(100);
const METADATA: i16 = 12;
const LIST_OFFSETS: i16 = 7;

/// Asks everything and writes it below `folder`.
pub fn write(address: &str, folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let line = Broker::new(address, "held").stay().map_err(said)?;
    let mut held = Held {
        line,
        folder: folder.to_owned(),
        facts: String::new(),
    };
    let partitions = held.partitions()?;
    for (topic, partition) in &partitions {
        held.wait_for(topic, *partition)?;
    }
    for (topic, partition) in partitions {
        Log::new(&mut held, topic, partition).tell()?;
    }
    held.sizes()?;
    let facts = std::mem::take(&mut held.facts);
    held.file("facts", facts.as_bytes())?;
    println!("{} facts", facts.lines().count());
    Ok(())
}

fn said(why: Broken) -> String {
    why.to_string()
}

/// What is being written.
struct Held {
    line: Line,
    folder: PathBuf,
    facts: String,
}

impl Held {
    fn say(&mut self, fact: &str) {
        // A String takes everything.
        let _ = writeln!(self.facts, "{fact}");
    }

    fn file(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let path = self.folder.join(name);
        fs::write(&path, bytes).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Of all topics that are not internal, in order.
    fn partitions(&mut self) -> Result<Vec<(Text, i32)>, String> {
        let request = MetadataRequest {
            topics: None,
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let answer = self.line.ask(METADATA, &request).map_err(said)?;
        let mut found = Vec::new();
        for topic in answer.topics.iter().filter(|topic| !topic.is_internal) {
            let name = topic.name.clone().unwrap_or_default();
            let of = |p: &MetadataResponsePartition| (name.clone(), p.partition_index);
            found.extend(topic.partitions.iter().map(of));
        }
        found.sort();
        if found.is_empty() {
            return Err("the broker knows no topic".to_owned());
        }
        Ok(found)
    }

    /// Until the partition answers, or says for good that it does not.
    fn wait_for(&mut self, topic: &Text, partition: i32) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let found = self.offset(topic, partition, 0, ListOffsetsRequest::LATEST)?;
            if !NOT_YET.contains(&found.error_code) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                let error = found.error_code;
                self.say(&format!("{topic}-{partition} is not there: error {error}"));
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn offset(
        &mut self,
        topic: &Text,
        partition: i32,
        isolation: i8,
        timestamp: i64,
    ) -> Result<ListOffsetsPartitionResponse, String> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: isolation,
            topics: vec![ListOffsetsTopic {
                name: topic.clone(),
                partitions: vec![ListOffsetsPartition {
                    partition_index: partition,
                    timestamp,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let answer = self.line.ask(LIST_OFFSETS, &request).map_err(said)?;
        let found = answer
            .topics
            .into_iter()
            .find_map(|topic| topic.partitions.into_iter().next());
        found.ok_or_else(|| "ListOffsets answers nothing".to_owned())
    }

    /// How large each log is, and in which directory.
    fn sizes(&mut self) -> Result<(), String> {
        let request = DescribeLogDirsRequest { topics: None };
        let answer = self.line.ask(4, &request).map_err(said)?;
        let mut lines = Vec::new();
        for directory in answer.results {
            let place = Path::new(&*directory.log_dir).file_name();
            let place = place.map(|name| name.to_string_lossy().into_owned());
            let place = place.unwrap_or_default();
            lines.push(format!("directory {place} error={}", directory.error_code));
            for topic in directory
                .topics
                .iter()
                .filter(|t| !t.name.starts_with("__"))
            {
                for log in &topic.partitions {
                    let (name, at) = (&topic.name, log.partition_index);
                    let (size, lag) = (log.partition_size, log.offset_lag);
                    lines.push(format!("size {place} {name}-{at} {size} lag={lag}"));
                }
            }
        }
        lines.sort();
        lines.iter().for_each(|line| self.say(line));
        Ok(())
    }
}

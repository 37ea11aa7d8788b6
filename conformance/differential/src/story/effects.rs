//! What a changed setting does to a log that is there: what the next batches are told, what of the old
//! ones stays, and in which shape. Records of 1970, of 2100 and without a time are among them.
//!
//! Needs `log.retention.check.interval.ms` and `log.initial.task.delay.ms` of about half a second
//! (`broker.properties`); compaction is hurried by a dynamic setting.

mod cases;

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::batch::{TimestampKind, batches};
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::fetch::fetch_request;
use super::records::produce_request;
use super::settings::change;
use super::{Kind, NOW, Step, Story, settle};
use crate::leaves::Leaf;
use cases::{
    Case, HOUR, New, SMALL, YEAR_2100, at, by_compaction, by_refusal, by_retention, by_roll,
};

const TOPIC: i8 = DescribeConfigsRequest::TOPIC;
const BROKER: i8 = DescribeConfigsRequest::BROKER;
const SET: i8 = 0;
const DELETE: i8 = 1;
/// Several times the interval of retention, and of the hurried cleaner.
const AT_WORK: Duration = Duration::from_secs(5);
/// So that four batches fill a small segment.
const VALUE_BYTES: usize = 4_500;
/// The answer has no log start, which retention moves at a moment of its own; but knows no zstd.
const PRODUCE: i16 = 4;
const PRODUCE_ZSTD: i16 = 7;
const FETCH: i16 = 12;

fn batch((time, key, codec): New) -> Bytes {
    let mut batch = BatchBuilder::data(codec);
    batch.push(time, key.map(str::as_bytes), Some(&[b'v'; VALUE_BYTES]));
    batch.finish()
}

impl Story<'_> {
    pub fn effects(&mut self) {
        let hurry = ("log.cleaner.backoff.ms", SET, Some("100"));
        self.alter("hurry", vec![change(BROKER, "", &[hurry])]);
        let all: Vec<Case> = [by_retention(), by_roll(), by_compaction(), by_refusal()]
            .into_iter()
            .flatten()
            .collect();
        for case in &all {
            self.make_with(case.name, case.made);
            self.write_each(case.name, "first", &case.first);
        }
        let changed = all
            .iter()
            .filter(|case| !case.changed.is_empty())
            .map(|case| {
                let set: Vec<_> = case
                    .changed
                    .iter()
                    .map(|(name, value)| (*name, SET, Some(*value)))
                    .collect();
                change(TOPIC, &self.topic_of(case.name), &set)
            });
        let changed = changed.collect();
        self.alter("what the cases change", changed);
        settle();
        for case in &all {
            self.write_each(case.name, "then", &case.then);
        }
        std::thread::sleep(AT_WORK);
        for case in &all {
            self.tell_what_is_held(case.name, case.name);
        }
        self.effects_of_the_broker();
        let calm = ("log.cleaner.backoff.ms", DELETE, None);
        self.alter("calm", vec![change(BROKER, "", &[calm])]);
    }

    /// The same from further off: the cluster's default, the broker's own value, the topic's.
    fn effects_of_the_broker(&mut self) {
        let (plain, own) = ("plain", "has its own");
        self.make_with(plain, &[SMALL]);
        self.make_with(
            own,
            &[
                SMALL,
                ("max.message.bytes", "1000000"),
                ("retention.bytes", "-1"),
                ("message.timestamp.type", "CreateTime"),
            ],
        );
        let node = self.node.to_string();
        let steps: [(&str, &str, i8, Option<&str>); 8] = [
            ("", "message.max.bytes", SET, Some("3000")),
            (&node, "message.max.bytes", SET, Some("900000")),
            (&node, "message.max.bytes", DELETE, None),
            ("", "message.max.bytes", DELETE, None),
            ("", "log.message.timestamp.type", SET, Some("LogAppendTime")),
            ("", "log.message.timestamp.type", DELETE, None),
            ("", "compression.type", SET, Some("gzip")),
            ("", "compression.type", DELETE, None),
        ];
        for (place, name, operation, value) in steps {
            let label = format!("{name} {value:?} for '{}'", place.len());
            self.alter(
                &label,
                vec![change(BROKER, place, &[(name, operation, value)])],
            );
            settle();
            for topic in [plain, own] {
                self.write_each(topic, &label, &at(*NOW - HOUR, 2));
            }
        }
        let fewer = ("log.retention.bytes", SET, Some("12000"));
        self.alter("fewer bytes", vec![change(BROKER, "", &[fewer])]);
        std::thread::sleep(AT_WORK / 2);
        for topic in [plain, own] {
            self.tell_what_is_held(topic, "what the broker's settings left");
        }
        self.alter(
            "the end",
            vec![change(BROKER, "", &[("log.retention.bytes", DELETE, None)])],
        );
    }

    fn topic_of(&self, case: &str) -> Text {
        self.name(&case.replace(' ', "-"))
    }

    fn alter(&mut self, label: &str, resources: Vec<IncrementalAlterConfigsResource>) {
        let request = IncrementalAlterConfigsRequest {
            resources,
            validate_only: false,
        };
        self.ask_in_words(label, 1, &request);
    }

    fn make_with(&mut self, case: &str, settings: &[(&str, &str)]) {
        let name = self.topic_of(case);
        let config = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: Text::from(*name),
            value: Some(Text::from(*value)),
        };
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: 1,
            replication_factor: 1,
            configs: settings.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        self.ask_in_words(&format!("make '{case}'"), 7, &request);
        self.wait_for_topic(&name);
        settle();
    }

    fn write_each(&mut self, case: &str, when: &str, all: &[New]) {
        let topic = self.topic_of(case);
        for (n, new) in all.iter().enumerate() {
            let version = match new.2 {
                Codec::Zstd => PRODUCE_ZSTD,
                _ => PRODUCE,
            };
            let request = produce_request(version, &topic, Uuid::ZERO, 0, batch(*new));
            let broker = self.unthrottled.clone();
            self.ask_at(&broker, &format!("{case}, {when} {n}"), version, &request);
        }
    }

    /// Start and end, every batch with its offsets, codec and time, and what is found by time.
    fn tell_what_is_held(&mut self, case: &str, label: &str) {
        let topic = self.topic_of(case);
        let (start, end) = (self.offset_at(&topic, -2), self.offset_at(&topic, -1));
        let mut facts = vec![
            ("start".to_owned(), start.to_string()),
            ("end".to_owned(), end.to_string()),
        ];
        let mut offset = start;
        while offset < end {
            let request = fetch_request(FETCH, &topic, Uuid::ZERO, 0, offset);
            let Some(answer) = self.prepare(FETCH, &request) else {
                break;
            };
            let records = answer
                .responses
                .into_iter()
                .flat_map(|topic| topic.partitions);
            let bytes: Vec<u8> = records
                .filter_map(|partition| partition.records)
                .flat_map(|records| records.to_vec())
                .collect();
            let before = offset;
            for batch in batches(&bytes).flatten() {
                let header = batch.header();
                let time = match header.timestamp_kind() {
                    TimestampKind::CreateTime => header.max_timestamp().to_string(),
                    TimestampKind::LogAppendTime => "of the append".to_owned(),
                };
                let codec = header.codec().map_or("?", Codec::name);
                let (first, last) = (header.base_offset(), header.last_offset());
                let n = header.n_records();
                facts.push((
                    format!("batch {first}"),
                    format!("to {last}, {n} records in {codec}, {time}"),
                ));
                offset = header.next_offset();
            }
            if offset == before {
                break;
            }
        }
        // Which of several appended at once has the largest time is chance.
        let is_stamped = facts
            .iter()
            .any(|(_, fact)| fact.ends_with("of the append"));
        let latest = (!is_stamped).then_some(ListOffsetsRequest::MAX_TIMESTAMP);
        let times = [0, *NOW - HOUR, *NOW, YEAR_2100].into_iter().chain(latest);
        for time in times {
            let found = self.offset_at(&topic, time);
            facts.push((format!("at {time}"), found.to_string()));
        }
        let leaf = |(path, value)| Leaf {
            path,
            place: (String::new(), String::new()),
            value,
        };
        self.steps.push(Step {
            kind: Kind::Told,
            key: -1,
            api: "what is held",
            version: 0,
            label: format!("{case}: {label}"),
            is_compared: true,
            has_words: false,
            outcome: Ok(facts.into_iter().map(leaf).collect()),
        });
    }

    fn offset_at(&mut self, topic: &Text, timestamp: i64) -> i64 {
        let partition = ListOffsetsPartition {
            timestamp,
            ..Default::default()
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.clone(),
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        let answer = self.prepare(7, &request);
        let found =
            answer.and_then(|answer| Some(answer.topics.first()?.partitions.first()?.offset));
        found.unwrap_or(-1)
    }
}
